/*
 * snippet.h
 *		The part of a text that shows why it was found.
 *
 * Pure C: no PostgreSQL header, no allocation, no global state, so that a
 * fuzzer can drive it.
 */
#ifndef SEARCH_SNIPPET_H
#define SEARCH_SNIPPET_H

#include "query.h"

#define SNIPPET_MAX_CHARACTERS 1000
#define SNIPPET_MAX_HIGHLIGHTS 64

/* Text is looked through in slices of so many bytes, which overlap. */
#define SNIPPET_SLICE_BYTES (16 * 1024)
#define SNIPPET_OVERLAP_BYTES 1024

/* An ellipsis at either end, of three bytes. */
#define SNIPPET_MAX_BYTES (SNIPPET_MAX_CHARACTERS * 4 + 6)

/* A highlighted part of the snippet, in characters from 0; end is behind it. */
typedef struct SnippetHighlight
{
	int begin;
	int end;
} SnippetHighlight;

typedef struct Snippet
{
	char text[SNIPPET_MAX_BYTES];
	size_t length;
	SnippetHighlight highlights[SNIPPET_MAX_HIGHLIGHTS];
	int nhighlights;
} Snippet;

/* Memory to work in, which the caller owns. */
typedef struct SnippetSpace
{
	char folded[SEARCH_FOLD_SPACE(SNIPPET_SLICE_BYTES)];
	uint32_t origin[SEARCH_FOLD_SPACE(SNIPPET_SLICE_BYTES) + 1];
} SnippetSpace;

/*
 * Makes a snippet of at most characters of the text (1 to
 * SNIPPET_MAX_CHARACTERS, ellipses not counted) around the words that the query
 * finds first; query NULL, or found nowhere: its beginning.
 */
extern void snippet_make(const SearchQuery *query, const char *text, size_t length, int characters,
						 SnippetSpace *space, Snippet *snippet);

#endif /* SEARCH_SNIPPET_H */
