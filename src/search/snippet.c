/*
 * snippet.c
 *		Makes snippets: which part of a text is shown, and what in it is
 *		highlighted.
 *
 * The text is folded slice by slice, with the origin of each folded byte, until
 * words of the query are found; the window that has most different ones of them
 * is shown, the first of several.  Owns no memory and takes no locks.
 */
#include <string.h>

#include "snippet.h"

/* Places of all terms in a slice, in the order of the text. */
#define MAX_PLACES 128

typedef struct Place
{
	size_t begin; /* in the text */
	size_t end;
	int group;
} Place;

typedef struct Places
{
	Place places[MAX_PLACES];
	int count;
} Places;

static bool
is_continuation(char byte)
{
	return ((unsigned char) byte & 0xC0) == 0x80;
}

static void
add_place(Places *places, size_t begin, size_t end, int group)
{
	int at = places->count;

	if (at == MAX_PLACES)
		return;
	places->count++;
	while (at > 0 && places->places[at - 1].begin > begin)
	{
		places->places[at] = places->places[at - 1];
		at--;
	}
	places->places[at].begin = begin;
	places->places[at].end = end;
	places->places[at].group = group;
}

/* The places in a slice of the text that begins at offset. */
static void
find_places(const SearchQuery *query, const char *text, size_t length, size_t offset,
			SnippetSpace *space, Places *places)
{
	size_t folded = search_fold_mapped(text + offset, length, space->folded, space->origin);
	int each = MAX_PLACES / (query->nterms > 0 ? query->nterms : 1);
	int i;

	places->count = 0;
	for (i = 0; i < query->nterms; i++)
	{
		const SearchTerm *term = &query->terms[i];
		SearchPlace place = {0, 0};
		int n;

		if (term->group < 0)
			continue;
		for (n = 0; n < each && place.end < folded &&
					search_find_term(term, space->folded, folded, place.end, &place);
			 n++)
		{
			size_t end = place.end;

			/* a character that was folded to several is highlighted as a whole */
			while (end < folded && space->origin[end] == space->origin[place.end - 1])
				end++;
			add_place(places, offset + space->origin[place.begin], offset + space->origin[end],
					  term->group);
		}
	}
}

/* The end of a slice that begins at offset, at a character's end. */
static size_t
slice_end(const char *text, size_t length, size_t offset)
{
	size_t end = offset + SNIPPET_SLICE_BYTES;
	size_t at;

	if (length - offset <= SNIPPET_SLICE_BYTES)
		return length;
	for (at = end; at > end - 4; at--)
		if (!is_continuation(text[at]))
			return at;
	return end;
}

static size_t
back(const char *text, size_t at, size_t begin, int characters)
{
	for (; characters > 0 && at > begin; characters--)
	{
		do
			at--;
		while (at > begin && is_continuation(text[at]));
	}
	return at;
}

static size_t
forth(const char *text, size_t at, size_t end, int characters)
{
	for (; characters > 0 && at < end; characters--)
	{
		do
			at++;
		while (at < end && is_continuation(text[at]));
	}
	return at;
}

static int
count_groups(const Places *places, int first, size_t end)
{
	uint64_t groups = 0;
	int count = 0;
	int i;

	for (i = first; i < places->count && places->places[i].end <= end; i++)
		groups |= UINT64_C(1) << (places->places[i].group & 63);
	for (; groups != 0; groups &= groups - 1)
		count++;
	return count;
}

/* The place from which a window of so many characters has most different words. */
static int
best_place(const Places *places, const char *text, size_t length, int characters)
{
	int best = 0;
	int most = 0;
	int i;

	for (i = 0; i < places->count; i++)
	{
		size_t end = forth(text, places->places[i].begin, length, characters);
		int count = count_groups(places, i, end);

		if (count > most)
		{
			most = count;
			best = i;
		}
	}
	return best;
}

/* Where the window begins: some characters before a place, at a word's beginning if one is near. */
static size_t
window_begin(const char *text, size_t at, int before)
{
	size_t begin = back(text, at, 0, before);
	size_t i;

	if (begin == 0)
		return 0;
	for (i = begin; i < at; i++)
		if (text[i] == ' ' || text[i] == '\n' || text[i] == '\t')
			return i + 1;
	return begin;
}

static void
put_ellipsis(Snippet *snippet)
{
	memcpy(snippet->text + snippet->length, "\xE2\x80\xA6", 3);
	snippet->length += 3;
}

/* Copies the window; white space of whatever kind becomes a space. */
static void
copy_window(const char *text, size_t length, size_t begin, size_t end, Snippet *snippet)
{
	size_t i;

	snippet->length = 0;
	if (begin > 0)
		put_ellipsis(snippet);
	for (i = begin; i < end; i++)
		snippet->text[snippet->length++] = text[i] >= '\t' && text[i] <= '\r' ? ' ' : text[i];
	if (end < length)
		put_ellipsis(snippet);
}

static int
count_characters(const char *text, size_t begin, size_t end)
{
	int count = 0;

	for (; begin < end; begin++)
		count += !is_continuation(text[begin]);
	return count;
}

/* Highlights the places inside the window; those that touch become one. */
static void
highlight(const Places *places, const char *text, size_t begin, size_t end, Snippet *snippet)
{
	size_t counted = begin;
	int characters = begin > 0 ? 1 : 0; /* the ellipsis */
	size_t last_end = 0;
	int i;

	for (i = 0; i < places->count; i++)
	{
		const Place *place = &places->places[i];
		int length;

		if (place->begin < begin || place->end > end ||
			(snippet->nhighlights > 0 && place->end <= last_end))
			continue;
		characters += count_characters(text, counted, place->begin);
		counted = place->begin;
		length = count_characters(text, place->begin, place->end);
		if (length == 0)
			continue; /* bytes that are not UTF-8 */
		if (snippet->nhighlights > 0 && place->begin <= last_end)
			snippet->highlights[snippet->nhighlights - 1].end = characters + length;
		else if (snippet->nhighlights < SNIPPET_MAX_HIGHLIGHTS)
		{
			snippet->highlights[snippet->nhighlights].begin = characters;
			snippet->highlights[snippet->nhighlights++].end = characters + length;
		}
		else
			return;
		last_end = place->end;
	}
}

/* The places of the first slice that has any; none: no slice has. */
static void
find_first_places(const SearchQuery *query, const char *text, size_t length, SnippetSpace *space,
				  Places *places)
{
	size_t offset = 0;

	places->count = 0;
	while (query != NULL && offset < length)
	{
		size_t end = slice_end(text, length, offset);

		find_places(query, text, end - offset, offset, space, places);
		if (places->count > 0 || end == length)
			return;
		offset = back(text, end, offset + 1, SNIPPET_OVERLAP_BYTES / 4);
	}
}

void
snippet_make(const SearchQuery *query, const char *text, size_t length, int characters,
			 SnippetSpace *space, Snippet *snippet)
{
	Places places;
	size_t begin = 0;
	size_t end;

	snippet->nhighlights = 0;
	find_first_places(query, text, length, space, &places);
	if (places.count > 0)
	{
		const Place *place = &places.places[best_place(&places, text, length, characters * 3 / 4)];

		begin = window_begin(text, place->begin, characters / 4);
	}
	end = forth(text, begin, length, characters);
	/* a text that ends early leaves space before */
	if (end == length && begin > 0)
		begin = back(text, length, 0, characters);
	copy_window(text, length, begin, end, snippet);
	highlight(&places, text, begin, end, snippet);
}
