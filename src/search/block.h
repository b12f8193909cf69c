/*
 * block.h
 *		Blocks: for ranges of messages, which words may be in them.
 *
 * An entry is a range of a conversation's messages with a Bloom filter over
 * the beginnings of its words (of 2, 3, 4, 5, 7 and 10 letters) and over its
 * signs and pairs of signs.  A block is a row with up to SEARCH_BLOCK_ENTRIES
 * of them.
 *
 * Pure C: no PostgreSQL header, no allocation, no global state, so that a
 * fuzzer can drive it.  What is read here is derived data, yet not trusted.
 */
#ifndef SEARCH_BLOCK_H
#define SEARCH_BLOCK_H

#include "query.h"

/* To be raised whenever elements, filters, entries or fold_table.h change. */
#define SEARCH_BLOCK_VERSION 1

#define SEARCH_BLOCK_ENTRIES 128

/* An entry has about so many bytes of content at most. */
#define SEARCH_ENTRY_BYTES (1024 * 1024)

/* ---- elements: what is entered into filters (filter.c) ---- */

typedef void (*SearchEmit)(void *arg, uint64_t element);

/* Those of a folded text, some more than once. */
extern void search_elements(const char *text, size_t length, SearchEmit emit, void *arg);

/* Those that a text must have which has the term; none where nothing is known of it. */
extern void search_term_elements(const SearchTerm *term, SearchEmit emit, void *arg);

/* How many bytes a filter of n different elements takes; extra: bits beyond the usual for each. */
extern uint32_t search_filter_bytes(const uint64_t *elements, size_t n, uint32_t extra);

/* Enters an element into a filter of bytes > 0. */
extern void search_filter_add(uint8_t *filter, uint32_t bytes, uint32_t extra, uint64_t element);

/* Whether the element may have been entered. */
extern bool
search_filter_has(const uint8_t *filter, uint32_t bytes, uint32_t extra, uint64_t element);

/* ---- blocks (block.c) ---- */

#define SEARCH_ENTRY_ERASED 1 /* the filter was taken out: anything may be in the range */
#define SEARCH_ENTRY_TITLED 2 /* the conversation's title is in the filter, too */
#define SEARCH_ENTRY_FLAGS 3

typedef struct SearchEntry
{
	uint8_t id[16];    /* of the conversation */
	int64_t first_seq; /* the range; empty: last_seq is smaller */
	int64_t last_seq;
	int64_t last_at;    /* the largest created_at in the range */
	int64_t updated_at; /* the conversation's */
	uint32_t flags;
	uint32_t extra;
	uint32_t filter_bytes;
	const uint8_t *filter;
} SearchEntry;

/* At most so many bytes are written for a block of these entries. */
extern size_t search_block_space(const SearchEntry *entries, int n);

/* Writes a block of n entries, 1 to SEARCH_BLOCK_ENTRIES; returns its bytes. */
extern size_t search_block_write(const SearchEntry *entries, int n, uint8_t *out);

/* A block that is read, entry by entry. */
typedef struct SearchBlockReader
{
	const uint8_t *next;
	const uint8_t *filters; /* of the entries that are left */
	const uint8_t *end;
	int left;
} SearchBlockReader;

/* False: it is not a block, or one of another version. */
extern bool search_block_open(SearchBlockReader *reader, const uint8_t *data, size_t size);

/* The next entry; false: there is none, or (left > 0) it is not one. */
extern bool search_block_next(SearchBlockReader *reader, SearchEntry *entry);

#endif /* SEARCH_BLOCK_H */
