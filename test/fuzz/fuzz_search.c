/*
 * fuzz_search.c
 *		libFuzzer's target for search: folding, queries, filters, blocks and
 *		snippets, without PostgreSQL.
 *
 * The first line of an input is a query, the rest the text.  Whatever is folded
 * is folded to the same again, with and without origins; what matches a text has
 * its elements in the text's filter; a snippet is within its bounds.  The input
 * is read as a block, too.  Each buffer is an allocation of its own size, so the
 * sanitizer sees the first byte past its end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/block.h"
#include "search/snippet.h"

#define FILTER_BYTES 4096

#define require(condition)                                                                         \
	do                                                                                             \
	{                                                                                              \
		if (!(condition))                                                                          \
		{                                                                                          \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
			abort();                                                                               \
		}                                                                                          \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *
allocate(size_t size)
{
	void *result = malloc(size > 0 ? size : 1);

	require(result != NULL);
	return result;
}

/* A text folded into a buffer of the size that the header asks for; it is folded to itself. */
static char *
fold(const char *text, size_t length, size_t *folded_length)
{
	char *folded = allocate(SEARCH_FOLD_SPACE(length));
	char *mapped = allocate(SEARCH_FOLD_SPACE(length));
	uint32_t *origin = allocate((SEARCH_FOLD_SPACE(length) + 1) * sizeof(uint32_t));
	size_t i;

	*folded_length = search_fold(text, length, folded);
	require(*folded_length <= SEARCH_FOLD_SPACE(length));
	require(search_fold_mapped(text, length, mapped, origin) == *folded_length);
	require(memcmp(folded, mapped, *folded_length) == 0);
	for (i = 0; i < *folded_length; i++)
		require(origin[i] <= origin[i + 1] && origin[i + 1] <= length);
	free(mapped);
	free(origin);
	return folded;
}

static void
add_to_filter(void *filter, uint64_t element)
{
	search_filter_add(filter, FILTER_BYTES, 1, element);
}

static void
look_in_filter(void *filter, uint64_t element)
{
	require(search_filter_has(filter, FILTER_BYTES, 1, element));
}

/* What is found in the text is let through by the text's filter. */
static void
check_terms(const SearchQuery *query, const char *folded, size_t length)
{
	uint8_t *filter = calloc(FILTER_BYTES, 1);
	SearchPlace place;
	int i;

	require(filter != NULL);
	search_elements(folded, length, add_to_filter, filter);
	for (i = 0; i < query->nterms; i++)
		if (search_find_term(&query->terms[i], folded, length, 0, &place))
		{
			require(place.begin < place.end && place.end <= length);
			require(search_may_have(&query->terms[i], folded, length));
			search_term_elements(&query->terms[i], look_in_filter, filter);
		}
	if (search_matches(query, folded, length))
		require(search_may_match(query, folded, length));
	free(filter);
}

static void
check_snippet(const SearchQuery *query, const char *text, size_t length)
{
	SnippetSpace *space = allocate(sizeof(SnippetSpace));
	Snippet *snippet = allocate(sizeof(Snippet));
	int i;

	snippet_make(query, text, length, 1 + (int) (length % 40), space, snippet);
	require(snippet->length <= SNIPPET_MAX_BYTES);
	require(snippet->nhighlights <= SNIPPET_MAX_HIGHLIGHTS);
	for (i = 0; i < snippet->nhighlights; i++)
	{
		require(snippet->highlights[i].begin < snippet->highlights[i].end);
		require(i == 0 || snippet->highlights[i - 1].end <= snippet->highlights[i].begin);
		require((size_t) snippet->highlights[i].end <= snippet->length);
	}
	free(space);
	free(snippet);
}

static void
read_block(const uint8_t *data, size_t size)
{
	SearchBlockReader reader;
	SearchEntry entry;

	if (!search_block_open(&reader, data, size))
		return;
	while (search_block_next(&reader, &entry))
		if (entry.filter_bytes > 0)
			(void) search_filter_has(entry.filter, entry.filter_bytes, entry.extra,
									 UINT64_C(0x123456789ABCDEF3));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line = memchr(data, '\n', size);
	size_t query_length = line != NULL ? (size_t) (line - data) : size;
	size_t length = line != NULL ? size - query_length - 1 : 0;
	SearchQuery *query = allocate(sizeof(SearchQuery));
	char *typed = allocate(query_length);
	char *text = allocate(length);
	size_t folded_length;
	char *folded;

	if (query_length > 0)
		memcpy(typed, data, query_length);
	if (length > 0)
		memcpy(text, line + 1, length);
	read_block(data, size);
	folded = fold(text, length, &folded_length);
	if (search_parse(typed, query_length, query) == SEARCH_PARSED)
	{
		require(query->nterms > 0 && query->ngroups > 0);
		check_terms(query, folded, folded_length);
		check_snippet(query, text, length);
	}
	free(folded);
	free(text);
	free(typed);
	free(query);
	return 0;
}
