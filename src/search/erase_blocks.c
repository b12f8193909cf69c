/*
 * erase_blocks.c
 *		What is erased from the store is erased from the blocks, in the same
 *		transaction.
 *
 * An entry whose messages or title were changed loses its filter: from then on
 * its messages are read by every search, until maintain() builds a new one.  The
 * entries of a deleted conversation go altogether.
 *
 * The account's row in memory_store.search_accounts is changed first.  Whoever
 * builds blocks meanwhile either has done so, and they are found here, or finds
 * the row changed and gives his up: see build.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "erase.h"
#include "search_private.h"
#include "sorted.h"
#include "sql_text.h"
#include "statement.h"

/* clang-format off */
static PlanStatement touch_account = {
	"UPDATE memory_store.search_accounts SET version = version" OP(+) "1"
	" WHERE account_id" OP(=) "$1",
	1,
	{TEXTOID},
};

static PlanStatement find_blocks = {
	"SELECT block_no, first_id, last_id FROM memory_store.search_blocks"
	" WHERE account_id" OP(=) "$1 AND first_id" OP(<=) "$3 AND last_id" OP(>=) "$2",
	3,
	{TEXTOID, UUIDOID, UUIDOID},
};

static PlanStatement read_block = {
	"SELECT body FROM memory_store.search_blocks"
	" WHERE account_id" OP(=) "$1 AND block_no" OP(=) "$2",
	2,
	{TEXTOID, INT4OID},
};

static PlanStatement update_block = {
	"UPDATE memory_store.search_blocks SET entries = $3, erased = $4, body = $5"
	" WHERE account_id" OP(=) "$1 AND block_no" OP(=) "$2",
	5,
	{TEXTOID, INT4OID, INT4OID, INT4OID, BYTEAOID},
};

static PlanStatement delete_block = {
	"DELETE FROM memory_store.search_blocks"
	" WHERE account_id" OP(=) "$1 AND block_no" OP(=) "$2",
	2,
	{TEXTOID, INT4OID},
};

static PlanStatement count_down = {
	"UPDATE memory_store.search_accounts SET blocks = blocks" OP(-) "1"
	" WHERE account_id" OP(=) "$1",
	1,
	{TEXTOID},
};

static PlanStatement forget_blocks = {
	"DELETE FROM memory_store.search_blocks WHERE account_id" OP(=) "$1",
	1,
	{TEXTOID},
};

static PlanStatement forget_cover = {
	"DELETE FROM memory_store.search_accounts WHERE account_id" OP(=) "$1",
	1,
	{TEXTOID},
};
/* clang-format on */

/* What is erased of one account, in order of id. */
typedef struct Erasing
{
	text *account_id;
	StoreErased *erased;
	int count;
} Erasing;

static int
compare_erased(const void *a, const void *b)
{
	const StoreErased *left = a;
	const StoreErased *right = b;
	int order = memcmp(&left->id, &right->id, UUID_LEN);

	if (order != 0)
		return order;
	return left->seq < right->seq ? -1 : left->seq > right->seq;
}

static int
compare_with_id(const void *id, const void *erased)
{
	return memcmp(id, &((const StoreErased *) erased)->id, UUID_LEN);
}

/* The first of those erased whose id is not smaller. */
static int
first_erased(const Erasing *erasing, const void *id)
{
	return (int) sorted_place(id, erasing->erased, erasing->count, sizeof(StoreErased),
							  compare_with_id);
}

typedef enum EntryFate
{
	ENTRY_STAYS,
	ENTRY_IS_ERASED,
	ENTRY_GOES
} EntryFate;

static EntryFate
entry_fate(const Erasing *erasing, const SearchEntry *entry)
{
	EntryFate fate = ENTRY_STAYS;

	for (int i = first_erased(erasing, entry->id);
		 i < erasing->count && memcmp(&erasing->erased[i].id, entry->id, UUID_LEN) == 0; i++)
	{
		int64 seq = erasing->erased[i].seq;

		if (seq < 0)
			return ENTRY_GOES;
		if (seq == 0 ? (entry->flags & SEARCH_ENTRY_TITLED) != 0
					 : seq >= entry->first_seq && seq <= entry->last_seq)
			fate = ENTRY_IS_ERASED;
	}
	return fate;
}

/* Writes a block anew, or deletes it where nothing is left in it. */
static void
write_block(const Erasing *erasing, int32 number, const SearchEntry *entries, int n)
{
	Datum values[5] = {PointerGetDatum(erasing->account_id), Int32GetDatum(number)};
	int32 erased = 0;
	bytea *body;

	if (n == 0)
	{
		plan_execute(&delete_block, values, NULL, false);
		plan_execute(&count_down, values, NULL, false);
		return;
	}
	for (int i = 0; i < n; i++)
		erased += (entries[i].flags & SEARCH_ENTRY_ERASED) != 0;
	body = palloc(add_size(VARHDRSZ, search_block_space(entries, n)));
	SET_VARSIZE(body, VARHDRSZ + search_block_write(entries, n, (uint8 *) VARDATA(body)));
	values[2] = Int32GetDatum(n);
	values[3] = Int32GetDatum(erased);
	values[4] = PointerGetDatum(body);
	plan_execute(&update_block, values, NULL, false);
}

static void
erase_in_block(const Erasing *erasing, int32 number)
{
	Datum values[2] = {PointerGetDatum(erasing->account_id), Int32GetDatum(number)};
	SearchEntry entries[SEARCH_BLOCK_ENTRIES];
	SearchBlockReader reader;
	bool changed = false;
	bool isnull;
	bytea *body;
	int n = 0;

	if (plan_execute(&read_block, values, NULL, false) == 0)
		return;
	body =
		DatumGetByteaPCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (search_block_open(&reader, (const uint8 *) VARDATA(body), VARSIZE_ANY_EXHDR(body)))
		while (search_block_next(&reader, &entries[n]))
		{
			EntryFate fate = entry_fate(erasing, &entries[n]);

			changed |= fate != ENTRY_STAYS;
			if (fate == ENTRY_IS_ERASED)
			{
				entries[n].flags |= SEARCH_ENTRY_ERASED;
				entries[n].filter_bytes = 0;
			}
			n += fate != ENTRY_GOES;
			if (n == SEARCH_BLOCK_ENTRIES)
				break;
		}
	else
		changed = true; /* what cannot be read is not kept */
	if (changed)
		write_block(erasing, number, entries, n);
}

/* The numbers of the blocks that may have what is erased. */
static List *
list_blocks(const Erasing *erasing)
{
	Datum values[3] = {PointerGetDatum(erasing->account_id), UUIDPGetDatum(&erasing->erased[0].id),
					   UUIDPGetDatum(&erasing->erased[erasing->count - 1].id)};
	uint64 n = plan_execute(&find_blocks, values, NULL, false);
	List *numbers = NIL;
	bool isnull;

	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc descriptor = SPI_tuptable->tupdesc;
		int first =
			first_erased(erasing, DatumGetUUIDP(SPI_getbinval(row, descriptor, 2, &isnull)));

		if (first < erasing->count &&
			memcmp(&erasing->erased[first].id,
				   DatumGetUUIDP(SPI_getbinval(row, descriptor, 3, &isnull)), UUID_LEN) <= 0)
			numbers =
				lappend_int(numbers, DatumGetInt32(SPI_getbinval(row, descriptor, 1, &isnull)));
	}
	return numbers;
}

/* Called by the store at the end of a statement, in an SPI connection. */
static void
erase(text *account_id, const StoreErased *erased, int n)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext erase", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	Datum values[1] = {PointerGetDatum(account_id)};
	Erasing erasing = {.account_id = account_id, .count = n};

	if (plan_execute(&touch_account, values, NULL, false) > 0)
	{
		MemoryContext block =
			AllocSetContextCreate(scratch, "memory_ext block", ALLOCSET_DEFAULT_SIZES);
		Size size = mul_size(n, sizeof(StoreErased));
		ListCell *cell;
		List *numbers;

		erasing.erased = MemoryContextAllocHuge(scratch, size);
		memcpy(erasing.erased, erased, size);
		qsort(erasing.erased, n, sizeof(StoreErased), compare_erased);
		numbers = list_blocks(&erasing);
		MemoryContextSwitchTo(block);
		foreach (cell, numbers)
		{
			CHECK_FOR_INTERRUPTS();
			erase_in_block(&erasing, lfirst_int(cell));
			MemoryContextReset(block);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

/* Called by memory.forget, in an SPI connection. */
static void
forget(text *account_id)
{
	Datum values[1] = {PointerGetDatum(account_id)};

	plan_execute(&forget_cover, values, NULL, false);
	plan_execute(&forget_blocks, values, NULL, false);
}

/* Has the store and memory.forget tell what they erase; called once, from search_init. */
void
search_erase_init(void)
{
	store_set_erase(erase);
	erase_set_elsewhere(forget);
}
