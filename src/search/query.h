/*
 * query.h
 *		What somebody has typed into a search box, and whether a text is meant.
 *
 * A query is words: each is to be in the text.  "…" is a phrase, -without what
 * must not be there, A OR B either, =whole a whole word, *inside anywhere in a
 * word.  Whatever else it holds is searched as words.
 *
 * Pure C: no PostgreSQL header, no allocation, no global state, so that a
 * fuzzer can drive it.  A query is parsed into one struct, which owns its text.
 */
#ifndef SEARCH_QUERY_H
#define SEARCH_QUERY_H

#include "fold.h"

#define SEARCH_MAX_QUERY_BYTES 2000
#define SEARCH_MAX_TERMS 32
#define SEARCH_MAX_PIECES 512

/*
 * A run of letters, or of signs.  spaced: separators, however many, are between
 * it and the piece before; else it follows at once.
 */
typedef struct SearchPiece
{
	const char *text; /* folded */
	uint32_t length;
	SearchKind kind;
	bool spaced;
} SearchPiece;

/* A word or a phrase. */
typedef struct SearchTerm
{
	const SearchPiece *pieces;
	int npieces;
	int group;     /* terms of one group are alternatives; -1: it must not be there */
	bool inside;   /* may begin in the middle of a word */
	bool whole;    /* must end with a word's end */
	bool anchored; /* begins with a letter, at the beginning of a word */
} SearchTerm;

typedef struct SearchQuery
{
	SearchTerm terms[SEARCH_MAX_TERMS];
	int nterms;
	int ngroups; /* numbered from 0 in order of terms */
	SearchPiece pieces[SEARCH_MAX_PIECES];
	int npieces;
	char text[SEARCH_FOLD_SPACE(SEARCH_MAX_QUERY_BYTES)];
	size_t length;
} SearchQuery;

typedef enum SearchParsed
{
	SEARCH_PARSED,
	SEARCH_EMPTY,    /* there is no word in it */
	SEARCH_TOO_LONG, /* more than SEARCH_MAX_QUERY_BYTES */
	SEARCH_TOO_MANY  /* more terms or pieces than a query may have */
} SearchParsed;

extern SearchParsed search_parse(const char *text, size_t length, SearchQuery *query);

/* Where a term was found in a folded text. */
typedef struct SearchPlace
{
	size_t begin;
	size_t end;
} SearchPlace;

/* The first place at from or later where the folded text has the term; false: none. */
extern bool search_find_term(const SearchTerm *term, const char *text, size_t length, size_t from,
							 SearchPlace *place);

/* Whether the folded text has a word of each group, and none that must not be there. */
extern bool search_matches(const SearchQuery *query, const char *text, size_t length);

/*
 * Whether a text that contains this folded one, with anything before and
 * behind, may match: a quick check of many messages at once.
 */
extern bool search_may_match(const SearchQuery *query, const char *text, size_t length);

/* The same of a single term. */
extern bool search_may_have(const SearchTerm *term, const char *text, size_t length);

#endif /* SEARCH_QUERY_H */
