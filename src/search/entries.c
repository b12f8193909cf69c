/*
 * entries.c
 *		Entries made from the messages of a conversation.
 *
 * The elements of a range's messages gather in a hash table, which stays from
 * entry to entry; the filters live in the context the builder was made in.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "search_private.h"

#define INITIAL_ELEMENTS 4096
/* Reading so much for nothing costs more than a bit more for each element. */
#define LONG_ENTRY_BYTES (128 * 1024)

struct SearchEntryBuilder
{
	MemoryContext context;
	StoreScan *scan;
	SearchEntry *entries;
	int count;
	int space;
	Size filter_bytes;
	Size content_bytes; /* that were read, in all */

	/* the entry that is made */
	SearchEntry entry;
	bool begun;
	Size bytes; /* of content */
	uint64 *elements;
	uint32 nelements;
	uint32 element_space;
	uint32 *table; /* places in elements, from 1; twice as many as these */
	uint32 table_size;
	char *folded;
	Size folded_space;
};

/* A builder of entries in the current memory context. */
SearchEntryBuilder *
search_entry_builder(StoreScan *scan)
{
	SearchEntryBuilder *builder = palloc0(sizeof(SearchEntryBuilder));

	builder->context = CurrentMemoryContext;
	builder->scan = scan;
	builder->space = 64;
	builder->entries = palloc(builder->space * sizeof(SearchEntry));
	builder->element_space = INITIAL_ELEMENTS;
	builder->elements = palloc(INITIAL_ELEMENTS * sizeof(uint64));
	builder->table_size = 2 * INITIAL_ELEMENTS;
	builder->table = palloc0(builder->table_size * sizeof(uint32));
	return builder;
}

/* ---- elements, each once ---- */

static void
enter(SearchEntryBuilder *builder, uint32 place)
{
	uint32 at = (uint32) (builder->elements[place] >> 32) & (builder->table_size - 1);

	while (builder->table[at] != 0)
		at = (at + 1) & (builder->table_size - 1);
	builder->table[at] = place + 1;
}

static void
grow(SearchEntryBuilder *builder)
{
	builder->element_space *= 2;
	builder->table_size *= 2;
	builder->elements =
		repalloc_huge(builder->elements, mul_size(builder->element_space, sizeof(uint64)));
	pfree(builder->table);
	builder->table =
		MemoryContextAllocExtended(builder->context, mul_size(builder->table_size, sizeof(uint32)),
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < builder->nelements; i++)
		enter(builder, i);
}

static void
add_element(void *arg, uint64_t element)
{
	SearchEntryBuilder *builder = arg;
	uint32 at = (uint32) (element >> 32) & (builder->table_size - 1);

	for (; builder->table[at] != 0; at = (at + 1) & (builder->table_size - 1))
		if (builder->elements[builder->table[at] - 1] == element)
			return;
	if (builder->nelements == builder->element_space)
	{
		grow(builder);
		builder->elements[builder->nelements++] = element;
		enter(builder, builder->nelements - 1);
		return;
	}
	builder->elements[builder->nelements++] = element;
	builder->table[at] = builder->nelements;
}

static void
forget_elements(SearchEntryBuilder *builder)
{
	for (uint32 i = 0; i < builder->nelements; i++)
	{
		uint32 at = (uint32) (builder->elements[i] >> 32) & (builder->table_size - 1);

		for (; builder->table[at] != 0; at = (at + 1) & (builder->table_size - 1))
			builder->table[at] = 0;
	}
	builder->nelements = 0;
}

static void
add_text(SearchEntryBuilder *builder, const char *text, Size length)
{
	Size space = SEARCH_FOLD_SPACE(length);

	if (space > builder->folded_space)
	{
		if (builder->folded != NULL)
			pfree(builder->folded);
		builder->folded_space = Max(space, 64 * 1024);
		builder->folded = MemoryContextAllocHuge(builder->context, builder->folded_space);
	}
	search_elements(builder->folded, search_fold(text, length, builder->folded), add_element,
					builder);
}

/* ---- entries ---- */

/* Adds an entry that was made before; its filter is copied. */
void
search_entry_carry(SearchEntryBuilder *builder, const SearchEntry *entry)
{
	SearchEntry *copy;

	if (builder->count == builder->space)
	{
		builder->space *= 2;
		builder->entries =
			repalloc_huge(builder->entries, mul_size(builder->space, sizeof(SearchEntry)));
	}
	copy = &builder->entries[builder->count++];
	*copy = *entry;
	if (entry->filter_bytes > 0)
	{
		uint8 *filter = MemoryContextAllocHuge(builder->context, entry->filter_bytes);

		memcpy(filter, entry->filter, entry->filter_bytes);
		copy->filter = filter;
	}
	builder->filter_bytes += entry->filter_bytes;
}

static void
begin_entry(SearchEntryBuilder *builder, const StoreListed *listed, int64 first_seq)
{
	memset(&builder->entry, 0, sizeof(SearchEntry));
	memcpy(builder->entry.id, &listed->id, UUID_LEN);
	builder->entry.first_seq = first_seq;
	builder->entry.last_seq = first_seq - 1;
	builder->entry.last_at = DT_NOBEGIN;
	builder->entry.updated_at = listed->updated_at;
	builder->begun = true;
	builder->bytes = 0;
	if (first_seq == 1)
	{
		builder->entry.flags |= SEARCH_ENTRY_TITLED;
		if (listed->has_title)
		{
			text *title = DatumGetTextPP(listed->title);

			add_text(builder, VARDATA_ANY(title), VARSIZE_ANY_EXHDR(title));
		}
	}
}

/* The filter is made, and the entry ends with this seq. */
static void
end_entry(SearchEntryBuilder *builder, int64 last_seq)
{
	SearchEntry *entry = &builder->entry;
	uint8 *filter;

	entry->last_seq = last_seq;
	entry->extra = builder->bytes >= LONG_ENTRY_BYTES ? 1 : 0;
	entry->filter_bytes = search_filter_bytes(builder->elements, builder->nelements, entry->extra);
	filter = MemoryContextAllocExtended(builder->context, entry->filter_bytes,
										MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < builder->nelements; i++)
		search_filter_add(filter, entry->filter_bytes, entry->extra, builder->elements[i]);
	entry->filter = filter;
	search_entry_carry(builder, entry);
	pfree(filter);
	forget_elements(builder);
	builder->begun = false;
}

static void
add_messages(SearchEntryBuilder *builder, const StoreListed *listed, const StoreRange *range,
			 const StoreMessages *messages)
{
	for (uint32 i = 0; i < messages->count; i++)
	{
		const TranscriptMessage *message = &messages->messages[i];

		if (message->seq < range->first_seq || message->seq > range->last_seq)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (builder->bytes >= SEARCH_ENTRY_BYTES)
		{
			int64 last_seq = message->seq - 1;

			end_entry(builder, last_seq);
			begin_entry(builder, listed, last_seq + 1);
		}
		add_text(builder, message->content, message->content_len);
		builder->bytes += message->content_len;
		builder->content_bytes += message->content_len;
		if (message->has_created_at)
			builder->entry.last_at = Max(builder->entry.last_at, message->created_at);
	}
}

/* Adds entries for the messages of a range, at least one; account_id stays meanwhile. */
void
search_entry_build(SearchEntryBuilder *builder, text *account_id, const StoreListed *listed,
				   int64 first_seq, int64 last_seq)
{
	StoreRange range = {.first_seq = first_seq,
						.last_seq = last_seq,
						.after_revision = -1,
						.first_at = DT_NOBEGIN,
						.last_at = DT_NOEND};
	StoreMessages messages;

	begin_entry(builder, listed, first_seq);
	store_scan_messages(builder->scan, account_id, &listed->id, &range);
	while (store_scan_next_messages(builder->scan, &messages))
		add_messages(builder, listed, &range, &messages);
	end_entry(builder, last_seq);
}

static int
compare_entries(const void *a, const void *b)
{
	const SearchEntry *left = a;
	const SearchEntry *right = b;
	int order = memcmp(left->id, right->id, sizeof(left->id));

	if (order != 0)
		return order;
	return left->first_seq < right->first_seq ? -1 : left->first_seq > right->first_seq;
}

/* All entries, in order of conversation and seq. */
SearchEntry *
search_entries(SearchEntryBuilder *builder, int *count)
{
	qsort(builder->entries, builder->count, sizeof(SearchEntry), compare_entries);
	*count = builder->count;
	return builder->entries;
}

/* Bytes of content that entries were made from. */
Size
search_entry_content(const SearchEntryBuilder *builder)
{
	return builder->content_bytes;
}
