/*
 * query.c
 *		Parses queries, and finds them in folded text.
 *
 * Text is letters, signs and separators (fold.h).  A term is found where its
 * pieces follow each other: directly, or behind separators where the query has
 * some, and not in the middle of a word unless it says so.
 *
 * Owns no memory and takes no locks.
 */
#include <string.h>

#include "query.h"

/* ---- parsing ---- */

static bool
is_at(const char *at, const char *end, const char *what)
{
	size_t length = strlen(what);

	return (size_t) (end - at) >= length && memcmp(at, what, length) == 0;
}

/* Bytes of white space at this place: of ASCII, no-break and ideographic space; 0: none. */
static int
space_at(const char *at, const char *end)
{
	if (at < end && (*at == ' ' || (*at >= '\t' && *at <= '\r')))
		return 1;
	if (is_at(at, end, "\xC2\xA0"))
		return 2;
	return is_at(at, end, "\xE3\x80\x80") ? 3 : 0;
}

/* Bytes of a quotation mark, straight or as telephones write it; 0: there is none. */
static int
quote_at(const char *at, const char *end)
{
	if (at < end && *at == '"')
		return 1;
	return is_at(at, end, "\xE2\x80\x9C") || is_at(at, end, "\xE2\x80\x9D") ||
				   is_at(at, end, "\xE2\x80\x9E")
			   ? 3
			   : 0;
}

/* A word or phrase as it was typed. */
typedef struct Typed
{
	const char *begin;
	const char *end;
	bool quoted;
	bool negative;
	bool inside;
	bool whole;
} Typed;

/* The end of the phrase whose text begins here; NULL: it is not closed. */
static const char *
phrase_end(const char *at, const char *end)
{
	while (at < end && quote_at(at, end) == 0)
		at++;
	return at < end ? at : NULL;
}

/* Takes the next word or phrase; false: there is none. */
static bool
next_typed(const char **at, const char *end, Typed *typed)
{
	const char *p = *at;
	const char *close;
	int quote;

	memset(typed, 0, sizeof(*typed));
	while (space_at(p, end) > 0)
		p += space_at(p, end);
	if (p == end)
		return false;
	if (*p == '-' && p + 1 < end && space_at(p + 1, end) == 0)
	{
		typed->negative = true;
		p++;
	}
	for (; p < end && ((*p == '=' && !typed->whole) || (*p == '*' && !typed->inside)); p++)
	{
		typed->whole |= *p == '=';
		typed->inside |= *p == '*';
	}
	quote = quote_at(p, end);
	close = quote > 0 ? phrase_end(p + quote, end) : NULL;
	if (close != NULL)
	{
		typed->quoted = true;
		typed->begin = p + quote;
		typed->end = close;
		*at = close + quote_at(close, end);
		return true;
	}
	typed->begin = p;
	while (p < end && space_at(p, end) == 0)
		p++;
	typed->end = p;
	*at = p;
	return true;
}

/* Divides folded text into the pieces of a term; false: there are too many. */
static bool
cut_pieces(SearchQuery *query, const char *text, const char *end, SearchTerm *term)
{
	SearchKind before = SEARCH_SEPARATOR;
	bool spaced = false;
	SearchPiece *piece = NULL;

	term->pieces = &query->pieces[query->npieces];
	while (text < end)
	{
		uint32_t character;
		int bytes = search_decode(text, end, &character);
		SearchKind kind = search_kind(character);

		if (kind == SEARCH_SEPARATOR)
			spaced = true;
		else if (kind == before)
			piece->length += bytes;
		else
		{
			if (query->npieces == SEARCH_MAX_PIECES)
				return false;
			piece = &query->pieces[query->npieces++];
			piece->text = text;
			piece->length = bytes;
			piece->kind = kind;
			piece->spaced = spaced && term->npieces > 0;
			term->npieces++;
			spaced = false;
		}
		before = kind;
		text += bytes;
	}
	return true;
}

/* Adds a term, unless there is nothing in it; joined: it is an alternative of the one before. */
static SearchParsed
add_term(SearchQuery *query, const Typed *typed, bool joined)
{
	SearchTerm term = {0};
	char *folded = query->text + query->length;
	size_t length = search_fold(typed->begin, typed->end - typed->begin, folded);

	if (!cut_pieces(query, folded, folded + length, &term))
		return SEARCH_TOO_MANY;
	if (term.npieces == 0)
		return SEARCH_PARSED;
	if (query->nterms == SEARCH_MAX_TERMS)
		return SEARCH_TOO_MANY;
	query->length += length;
	term.inside = typed->inside;
	term.whole = typed->whole;
	term.anchored = !typed->inside && term.pieces[0].kind == SEARCH_LETTER;
	if (typed->negative)
		term.group = -1;
	else
		term.group = joined && query->ngroups > 0 ? query->ngroups - 1 : query->ngroups++;
	query->terms[query->nterms++] = term;
	return SEARCH_PARSED;
}

/* Where every term must not be there, there is nothing to search: they are words, then. */
static void
turn_all_positive(SearchQuery *query)
{
	int i;

	for (i = 0; i < query->nterms; i++)
		query->terms[i].group = i;
	query->ngroups = query->nterms;
}

static bool
is_or(const Typed *typed)
{
	return !typed->quoted && !typed->negative && typed->end - typed->begin == 2 &&
		   memcmp(typed->begin, "OR", 2) == 0;
}

/* Whether a positive word or phrase follows, which OR can join. */
static bool
alternative_follows(const char *at, const char *end)
{
	Typed typed;

	return next_typed(&at, end, &typed) && !typed.negative && !is_or(&typed);
}

/*
 * Parses a query in UTF-8 of so many bytes; if it is not SEARCH_PARSED, the
 * query is not to be used.  Allocates nothing.
 */
SearchParsed
search_parse(const char *text, size_t length, SearchQuery *query)
{
	const char *end = text + length;
	bool joined = false;
	bool may_join = false; /* a positive term is behind us */
	SearchParsed result;
	Typed typed;

	query->nterms = query->ngroups = query->npieces = 0;
	query->length = 0;
	if (length > SEARCH_MAX_QUERY_BYTES)
		return SEARCH_TOO_LONG;
	while (next_typed(&text, end, &typed))
	{
		int before = query->nterms;

		if (is_or(&typed) && may_join && alternative_follows(text, end))
		{
			joined = true;
			continue;
		}
		result = add_term(query, &typed, joined);
		if (result != SEARCH_PARSED)
			return result;
		joined = false;
		may_join = query->nterms > before && !typed.negative;
	}
	if (query->nterms == 0)
		return SEARCH_EMPTY;
	if (query->ngroups == 0)
		turn_all_positive(query);
	return SEARCH_PARSED;
}

/* ---- finding ---- */

static const char *
find_bytes(const char *text, size_t length, const char *what, size_t what_length)
{
	return memmem(text, length, what, what_length);
}

/* The kind of the character that ends before at; separator at the beginning. */
static SearchKind
kind_before(const char *begin, const char *at)
{
	const char *end = at;
	uint32_t character;

	if (at == begin)
		return SEARCH_SEPARATOR;
	do
		at--;
	while (at > begin && ((unsigned char) *at & 0xC0) == 0x80);
	(void) search_decode(at, end, &character);
	return search_kind(character);
}

static SearchKind
kind_at(const char *at, const char *end)
{
	uint32_t character;

	if (at == end)
		return SEARCH_SEPARATOR;
	(void) search_decode(at, end, &character);
	return search_kind(character);
}

static const char *
skip_separators(const char *at, const char *end)
{
	while (at < end)
	{
		uint32_t character;
		int bytes = search_decode(at, end, &character);

		if (search_kind(character) != SEARCH_SEPARATOR)
			break;
		at += bytes;
	}
	return at;
}

/* Whether the pieces behind the first follow at this place; the end of them, or NULL. */
static const char *
match_rest(const SearchTerm *term, const char *at, const char *end)
{
	int i;

	for (i = 1; i < term->npieces; i++)
	{
		const SearchPiece *piece = &term->pieces[i];

		if (piece->spaced)
		{
			const char *behind = skip_separators(at, end);

			if (behind == at)
				return NULL;
			at = behind;
		}
		if ((size_t) (end - at) < piece->length || memcmp(at, piece->text, piece->length) != 0)
			return NULL;
		at += piece->length;
	}
	return at;
}

bool
search_find_term(const SearchTerm *term, const char *text, size_t length, size_t from,
				 SearchPlace *place)
{
	const SearchPiece *first = &term->pieces[0];
	const SearchPiece *last = &term->pieces[term->npieces - 1];
	const char *end = text + length;
	const char *at = text + from;

	while ((at = find_bytes(at, end - at, first->text, first->length)) != NULL)
	{
		const char *behind;

		if (!term->anchored || kind_before(text, at) != SEARCH_LETTER)
		{
			behind = match_rest(term, at + first->length, end);
			if (behind != NULL && (!term->whole || last->kind != SEARCH_LETTER ||
								   kind_at(behind, end) != SEARCH_LETTER))
			{
				place->begin = at - text;
				place->end = behind - text;
				return true;
			}
		}
		at++;
	}
	return false;
}

bool
search_matches(const SearchQuery *query, const char *text, size_t length)
{
	int found = -1; /* the last group of which a term was found */
	SearchPlace place;
	int i;

	for (i = 0; i < query->nterms; i++)
	{
		const SearchTerm *term = &query->terms[i];

		if (term->group >= 0 && (term->group == found || term->group > found + 1))
			continue;
		if (!search_find_term(term, text, length, 0, &place))
			continue;
		if (term->group < 0)
			return false;
		found = term->group;
	}
	return found == query->ngroups - 1;
}

bool
search_may_have(const SearchTerm *term, const char *text, size_t length)
{
	int i;

	for (i = 0; i < term->npieces; i++)
		if (find_bytes(text, length, term->pieces[i].text, term->pieces[i].length) == NULL)
			return false;
	return true;
}

bool
search_may_match(const SearchQuery *query, const char *text, size_t length)
{
	int found = -1;
	int i;

	for (i = 0; i < query->nterms; i++)
	{
		const SearchTerm *term = &query->terms[i];

		if (term->group == found + 1 && search_may_have(term, text, length))
			found = term->group;
	}
	return found == query->ngroups - 1;
}
