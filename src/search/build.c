/*
 * build.c
 *		Blocks are built for what is in none yet: a step of maintain().
 *
 * An account is due when it has rested, or has changed much, since its blocks
 * were built.  Its changed conversations are gone through in order of their
 * ids, some at a time.  Of a short conversation all is read anew, of a long one
 * what is in no entry, or in one that has changed.  Blocks that had entries of
 * these are written anew, with the entries that stay; so are small ones.
 *
 * Nobody waits: all is read under one snapshot and without locks.  Only then the
 * account's row in memory_store.search_accounts is updated, if it is still as
 * it was and nobody has it; it is locked until the blocks are written, which is
 * committed at once.  Whoever erases something updates that row first: what he
 * has erased meanwhile makes this work void, and what is built he finds.  That
 * row must be committed before anything is read, so it is made in a call of its
 * own.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "arguments.h"
#include "search_private.h"
#include "sorted.h"
#include "sql_text.h"
#include "statement.h"

/* An account is due, resting or not, when it has so many statements behind its blocks. */
#define DUE_REVISIONS 256
/* So much is read in one transaction, about, or so many conversations that have entries. */
#define SLICE_BYTES (64 * 1024 * 1024)
#define SLICE_CONVERSATIONS 500
#define CALL_BYTES (16 * 1024 * 1024)
#define CALL_ACCOUNTS 100
#define MADE_ACCOUNTS 1000
/* A block ends when it is so large, and is written anew when it is much smaller. */
#define BLOCK_BYTES (256 * 1024)
#define SMALL_BLOCK_BYTES (128 * 1024)
#define SMALL_BLOCK_ENTRIES 64

/* clang-format off */
static PlanStatement make_account = {
	"INSERT INTO memory_store.search_accounts"
	" (account_id, revision, blocks, next_block, version)"
	" VALUES ($1, -1, 0, 1, 0)"
	" ON CONFLICT (account_id) DO NOTHING",
	1,
	{TEXTOID},
};

enum
{
	CLAIM_ACCOUNT_ID,
	CLAIM_VERSION,
	CLAIM_REVISION,
	CLAIM_BLOCKS,
	CLAIM_NEXT_BLOCK,
	CLAIM_BUILDING_REVISION,
	CLAIM_BUILDING_AFTER,
	CLAIM_NPARAMETERS
};

static PlanStatement claim_account = {
	"UPDATE memory_store.search_accounts"
	" SET revision = $3, blocks = $4, next_block = $5, version = version" OP(+) "1,"
	"   building_revision = $6, building_after = $7"
	" WHERE account_id" OP(=) "("
	"   SELECT a.account_id FROM memory_store.search_accounts a"
	"   WHERE a.account_id" OP(=) "$1 AND a.version" OP(=) "$2"
	"   FOR UPDATE SKIP LOCKED)"
	" AND version" OP(=) "$2",
	CLAIM_NPARAMETERS,
	{TEXTOID, INT8OID, INT8OID, INT4OID, INT4OID, INT8OID, UUIDOID},
};

static PlanStatement delete_blocks = {
	"DELETE FROM memory_store.search_blocks"
	" WHERE account_id" OP(=) "$1 AND block_no" OP(=) "ANY ($2)",
	2,
	{TEXTOID, INT4ARRAYOID},
};

enum
{
	NEW_ACCOUNT_ID,
	NEW_BLOCK_NO,
	NEW_ENTRIES,
	NEW_ERASED,
	NEW_FIRST_ID,
	NEW_LAST_ID,
	NEW_BODY,
	NEW_NPARAMETERS
};

static PlanStatement insert_block = {
	"INSERT INTO memory_store.search_blocks"
	" (account_id, block_no, entries, erased, first_id, last_id, body)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7)",
	NEW_NPARAMETERS,
	{TEXTOID, INT4OID, INT4OID, INT4OID, UUIDOID, UUIDOID, BYTEAOID},
};
/* clang-format on */

/* A conversation that has changed, and what is known of its entries. */
typedef struct Changed
{
	pg_uuid_t id;
	int64 content_bytes;
	List *entries; /* KnownEntry */
} Changed;

/* An entry of a changed conversation, without its filter. */
typedef struct KnownEntry
{
	int64 first_seq;
	int64 last_seq;
	bool stays;
	bool erased;
} KnownEntry;

/* What is built of one account. */
typedef struct Build
{
	SearchBlocks *blocks;
	StoreScan *scan;
	text *account_id;
	bool known;        /* the account has a row */
	SearchCover cover; /* as it was found */
	int64 base;        /* the revision that the blocks go to; -1: there are none */
	int64 target;      /* and will go to */
	int32 count;       /* of its blocks */
	Changed *changed;  /* in order of id */
	int nchanged;
	bool complete;    /* no other is left */
	Datum *dissolved; /* numbers of blocks that are written anew */
	int ndissolved;
	SearchEntryBuilder *builder;
} Build;

/* ---- which accounts are due ---- */

static int32
count_blocks(SearchBlocks *blocks, text *account_id)
{
	SearchBlockRow row;
	int32 count = 0;

	search_blocks_find(blocks, account_id);
	while (search_blocks_next(blocks, &row))
		count++;
	return count;
}

/* Whether none of the conversations that have changed since may change again soon. */
static bool
has_rested(StoreScan *scan, text *account_id, int64 revision)
{
	TimestampTz before = GetCurrentTimestamp() - store_compact_after * INT64CONST(1000) * 1000;
	StoreListed listed;

	store_scan_conversations(scan, account_id, revision);
	while (store_scan_next_conversation(scan, &listed))
		if (listed.updated_at > before)
			return false;
	return true;
}

/* Whether the account's blocks are to be built; fills in what is known of them. */
static bool
is_due(Build *build, int64 revision)
{
	build->known = search_blocks_cover(build->blocks, build->account_id, &build->cover);
	build->count = count_blocks(build->blocks, build->account_id);
	if (!build->known)
	{
		memset(&build->cover, 0, sizeof(build->cover));
		build->cover.revision = -1;
	}
	build->base = build->cover.revision;
	if (build->cover.revision > revision || build->cover.blocks != build->count)
	{
		build->base = -1; /* not of this account's life, or not complete: anew */
		build->cover.building = false;
	}
	build->target = build->cover.building ? build->cover.building_revision : revision;
	if (build->cover.building || (build->known && build->base < 0))
		return true;
	return build->base < revision && (revision - build->base >= DUE_REVISIONS ||
									  has_rested(build->scan, build->account_id, build->base));
}

/* ---- what is read ---- */

static int
compare_changed(const void *a, const void *b)
{
	return memcmp(&((const Changed *) a)->id, &((const Changed *) b)->id, UUID_LEN);
}

/* Lists the changed conversations, in order, as far as they are for this slice. */
static void
list_changed(Build *build)
{
	int space = 64;
	int64 bytes = 0;
	int n = 0;
	StoreListed listed;

	build->changed = palloc(space * sizeof(Changed));
	build->nchanged = 0;
	store_scan_conversations(build->scan, build->account_id, build->base);
	while (store_scan_next_conversation(build->scan, &listed))
	{
		Changed *changed;

		if (build->cover.building &&
			memcmp(&listed.id, &build->cover.building_after, UUID_LEN) <= 0)
			continue;
		if (build->nchanged == space)
		{
			space *= 2;
			build->changed = repalloc_huge(build->changed, mul_size(space, sizeof(Changed)));
		}
		changed = &build->changed[build->nchanged++];
		changed->id = listed.id;
		changed->content_bytes = listed.content_bytes;
		changed->entries = NIL;
	}
	qsort(build->changed, build->nchanged, sizeof(Changed), compare_changed);
	while (n < build->nchanged && bytes < SLICE_BYTES &&
		   (build->count == 0 || build->base < 0 || n < SLICE_CONVERSATIONS))
		bytes += build->changed[n++].content_bytes;
	build->complete = n == build->nchanged;
	build->nchanged = n;
}

static Changed *
find_changed(const Build *build, const void *id)
{
	Changed key;

	memcpy(&key.id, id, UUID_LEN);
	return sorted_find(&key, build->changed, build->nchanged, sizeof(Changed), compare_changed);
}

/* Where a conversation lies, compared with the range of a block. */
static int
compare_with_block(const void *row, const void *changed)
{
	const pg_uuid_t *id = &((const Changed *) changed)->id;

	if (memcmp(&((const SearchBlockRow *) row)->last_id, id, UUID_LEN) < 0)
		return -1;
	return memcmp(&((const SearchBlockRow *) row)->first_id, id, UUID_LEN) > 0;
}

/* Whether the block may have entries of conversations of this slice. */
static bool
may_have_changed(const Build *build, const SearchBlockRow *row)
{
	return sorted_find(row, build->changed, build->nchanged, sizeof(Changed), compare_with_block) !=
		   NULL;
}

/* Finds out which entries the changed conversations have. */
static void
list_entries(Build *build)
{
	SearchBlockReader reader;
	SearchBlockRow row;
	SearchEntry entry;

	search_blocks_find(build->blocks, build->account_id);
	while (search_blocks_next(build->blocks, &row))
	{
		CHECK_FOR_INTERRUPTS();
		if (!may_have_changed(build, &row) || !search_blocks_read(build->blocks, &reader))
			continue;
		while (search_block_next(&reader, &entry))
		{
			Changed *changed = find_changed(build, entry.id);
			KnownEntry *known;

			if (changed == NULL)
				continue;
			known = palloc(sizeof(KnownEntry));
			known->first_seq = entry.first_seq;
			known->last_seq = entry.last_seq;
			known->erased = (entry.flags & SEARCH_ENTRY_ERASED) != 0;
			known->stays = false;
			changed->entries = lappend(changed->entries, known);
		}
	}
}

/* Of a long conversation, entries stay that are not the first or last, erased, or changed. */
static void
choose_entries(Build *build, Changed *changed, const StoreListed *listed)
{
	StoreRange range = {.first_seq = 1,
						.last_seq = listed->next_seq - 1,
						.after_revision = build->base,
						.first_at = DT_NOBEGIN,
						.last_at = DT_NOEND};
	KnownEntry *last = NULL;
	StoreMessages messages;
	ListCell *cell;

	foreach (cell, changed->entries)
	{
		KnownEntry *known = lfirst(cell);

		known->stays = !known->erased && known->first_seq > 1;
		if (last == NULL || known->first_seq > last->first_seq)
			last = known;
	}
	if (last != NULL)
		last->stays = false;
	store_scan_messages(build->scan, build->account_id, &changed->id, &range);
	while (store_scan_next_messages(build->scan, &messages))
		for (uint32 i = 0; i < messages.count; i++)
			foreach (cell, changed->entries)
			{
				KnownEntry *known = lfirst(cell);

				if (messages.messages[i].revision > build->base &&
					messages.messages[i].seq >= known->first_seq &&
					messages.messages[i].seq <= known->last_seq)
					known->stays = false;
			}
}

static int
compare_known(const ListCell *a, const ListCell *b)
{
	const KnownEntry *left = lfirst(a);
	const KnownEntry *right = lfirst(b);

	return left->first_seq < right->first_seq ? -1 : left->first_seq > right->first_seq;
}

/* Makes entries for what of a conversation is not in an entry that stays. */
static void
build_conversation(Build *build, Changed *changed)
{
	int64 next_seq = 1;
	StoreListed listed;
	ListCell *cell;

	if (!store_scan_conversation(build->scan, build->account_id, &changed->id, &listed))
		return;
	if (changed->content_bytes > SEARCH_ENTRY_BYTES && changed->entries != NIL)
	{
		choose_entries(build, changed, &listed);
		list_sort(changed->entries, compare_known);
	}
	foreach (cell, changed->entries)
	{
		const KnownEntry *known = lfirst(cell);

		if (!known->stays)
			continue;
		if (known->first_seq > next_seq)
			search_entry_build(build->builder, build->account_id, &listed, next_seq,
							   known->first_seq - 1);
		next_seq = known->last_seq + 1;
	}
	if (next_seq < listed.next_seq || next_seq == 1)
		search_entry_build(build->builder, build->account_id, &listed, next_seq,
						   listed.next_seq - 1);
}

/* ---- blocks that are written anew ---- */

static bool
entry_stays(const Build *build, const SearchEntry *entry)
{
	const Changed *changed = find_changed(build, entry->id);
	ListCell *cell;

	if (changed == NULL)
		return true;
	foreach (cell, changed->entries)
	{
		const KnownEntry *known = lfirst(cell);

		if (known->first_seq == entry->first_seq && known->last_seq == entry->last_seq)
			return known->stays;
	}
	return false;
}

/* Whether a block has an entry that does not stay; its body is read. */
static bool
loses_entries(const Build *build, SearchBlockReader reader)
{
	SearchEntry entry;

	while (search_block_next(&reader, &entry))
		if (!entry_stays(build, &entry))
			return true;
	return reader.left > 0;
}

/* Takes over the entries that stay of blocks that lose some, are small, or not to be read. */
static void
dissolve_blocks(Build *build)
{
	SearchBlockReader reader;
	SearchBlockRow row;
	SearchEntry entry;

	build->dissolved = palloc(mul_size(Max(build->count, 1), sizeof(Datum)));
	search_blocks_find(build->blocks, build->account_id);
	while (search_blocks_next(build->blocks, &row))
	{
		bool is_small = row.entries < SMALL_BLOCK_ENTRIES && row.bytes < SMALL_BLOCK_BYTES;

		CHECK_FOR_INTERRUPTS();
		if (build->base >= 0 || build->cover.building)
		{
			if (!is_small && !may_have_changed(build, &row))
				continue;
			if (!search_blocks_read(build->blocks, &reader))
				elog(ERROR, "block %d cannot be read", row.number);
			if (!is_small && !loses_entries(build, reader))
				continue;
			while (search_block_next(&reader, &entry))
				if (entry_stays(build, &entry))
					search_entry_carry(build->builder, &entry);
		}
		build->dissolved[build->ndissolved++] = Int32GetDatum(row.number);
	}
}

/* ---- writing ---- */

static void
write_block(Build *build, const SearchEntry *entries, int n, int32 number)
{
	bytea *body = MemoryContextAllocHuge(CurrentMemoryContext,
										 add_size(VARHDRSZ, search_block_space(entries, n)));
	int32 erased = 0;
	Datum values[NEW_NPARAMETERS];

	for (int i = 0; i < n; i++)
		erased += (entries[i].flags & SEARCH_ENTRY_ERASED) != 0;
	SET_VARSIZE(body, VARHDRSZ + search_block_write(entries, n, (uint8 *) VARDATA(body)));
	values[NEW_ACCOUNT_ID] = PointerGetDatum(build->account_id);
	values[NEW_BLOCK_NO] = Int32GetDatum(number);
	values[NEW_ENTRIES] = Int32GetDatum(n);
	values[NEW_ERASED] = Int32GetDatum(erased);
	values[NEW_FIRST_ID] = UUIDPGetDatum((const pg_uuid_t *) entries[0].id);
	values[NEW_LAST_ID] = UUIDPGetDatum((const pg_uuid_t *) entries[n - 1].id);
	values[NEW_BODY] = PointerGetDatum(body);
	plan_execute(&insert_block, values, NULL, false);
	pfree(body);
}

/* How many of the entries make the next block. */
static int
block_share(const SearchEntry *entries, int n)
{
	Size bytes = 0;
	int share = 0;

	while (share < n && share < SEARCH_BLOCK_ENTRIES && (share == 0 || bytes < BLOCK_BYTES))
		bytes += entries[share++].filter_bytes;
	return share;
}

static int
count_shares(const SearchEntry *entries, int n)
{
	int count = 0;

	for (int at = 0; at < n; at += block_share(entries + at, n - at))
		count++;
	return count;
}

/* Writes what was built; false: somebody has erased something, or has built himself, meanwhile. */
static bool
write_blocks(Build *build)
{
	int n;
	SearchEntry *entries = search_entries(build->builder, &n);
	int32 number = Max(build->cover.next_block, 1);
	int32 blocks = count_shares(entries, n);
	int64 revision = build->complete ? build->target : build->base;
	Datum values[CLAIM_NPARAMETERS];

	values[CLAIM_ACCOUNT_ID] = PointerGetDatum(build->account_id);
	values[CLAIM_VERSION] = Int64GetDatum(build->cover.version);
	values[CLAIM_REVISION] = Int64GetDatum(revision);
	values[CLAIM_BLOCKS] = Int32GetDatum(build->count - build->ndissolved + blocks);
	values[CLAIM_NEXT_BLOCK] = Int32GetDatum(number + blocks);
	values[CLAIM_BUILDING_REVISION] = Int64GetDatum(build->target);
	if (build->nchanged > 0)
		values[CLAIM_BUILDING_AFTER] = UUIDPGetDatum(&build->changed[build->nchanged - 1].id);
	if (plan_execute(&claim_account, values, build->complete ? "     nn" : NULL, false) != 1)
		return false;
	if (build->ndissolved > 0)
	{
		Datum dissolved[] = {PointerGetDatum(build->account_id),
							 array_datum(INT4OID, build->dissolved, NULL, build->ndissolved)};

		plan_execute(&delete_blocks, dissolved, NULL, false);
	}
	for (int at = 0; at < n;)
	{
		int share = block_share(entries + at, n - at);

		CHECK_FOR_INTERRUPTS();
		write_block(build, entries + at, share, number++);
		at += share;
	}
	return true;
}

/* Builds a slice; returns the bytes of content that were read. */
static Size
build_slice(Build *build)
{
	build->builder = search_entry_builder(build->scan);
	list_changed(build);
	if (build->base >= 0 || build->cover.building)
		list_entries(build);
	for (int i = 0; i < build->nchanged; i++)
	{
		CHECK_FOR_INTERRUPTS();
		build_conversation(build, &build->changed[i]);
	}
	dissolve_blocks(build);
	if (!write_blocks(build))
		build->complete = true; /* another time */
	return search_entry_content(build->builder);
}

/* ---- a call ---- */

/* Where a call is. */
typedef struct BuildCall
{
	SearchBlocks blocks;
	StoreScan *scan;
	MemoryContext context; /* of one account */
	text *last;            /* the account to go on behind; NULL: none is left */
	int made;              /* rows of accounts that had none */
	int64 bytes;
	int built;
} BuildCall;

/* Makes a row for an account that has none; what follows is for another transaction. */
static void
make_account_row(BuildCall *call, text *account_id, text *after)
{
	Datum values[1] = {PointerGetDatum(account_id)};

	plan_execute(&make_account, values, NULL, false);
	if (call->made++ == 0)
		call->last = after;
}

/*
 * Builds accounts behind one, in order, until it is enough.  Once a row had to be
 * made, only others are.
 */
static void
build_accounts(BuildCall *call, text *after)
{
	MemoryContext caller = CurrentMemoryContext;
	int64 revision;
	text *account_id;

	call->last = NULL;
	store_scan_accounts(call->scan, after);
	while (store_scan_next_account(call->scan, &account_id, &revision))
	{
		Build build = {.blocks = &call->blocks, .scan = call->scan};
		bool complete = true;

		MemoryContextSwitchTo(call->context);
		build.account_id = DatumGetTextPCopy(PointerGetDatum(account_id));
		if (is_due(&build, revision))
		{
			if (!build.known)
				make_account_row(call, build.account_id, after);
			else if (call->made == 0)
			{
				call->bytes += build_slice(&build);
				call->built++;
				complete = build.complete;
			}
		}
		MemoryContextSwitchTo(caller);
		if (complete)
			after = DatumGetTextPCopy(PointerGetDatum(build.account_id));
		MemoryContextReset(call->context);
		if (call->made == MADE_ACCOUNTS)
			return;
		if (!complete || call->bytes >= CALL_BYTES || call->built >= CALL_ACCOUNTS)
		{
			call->last = after;
			return;
		}
	}
}

PG_FUNCTION_INFO_V1(memory_build_blocks);

/*
 * memory_build_blocks(after_account_id text) → record
 *		Builds blocks for the next accounts behind the given one that are due.
 *		Returns the account to go on behind (NULL: none is left), how many
 *		accounts were worked on, and how many bytes of content were read.  A
 *		batch of maintain().  Error: 42501 the session is confined.
 */
Datum
memory_build_blocks(PG_FUNCTION_ARGS)
{
	text *after = PG_GETARG_TEXT_PP(0);
	MemoryContext caller = CurrentMemoryContext;
	BuildCall call = {0};
	TupleDesc descriptor;
	Datum values[3];
	bool nulls[3] = {0};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "memory_store.build_search_blocks returns no record");
	descriptor = BlessTupleDesc(descriptor);
	account_check_unconfined();
	SPI_connect();
	search_blocks_open(&call.blocks);
	call.scan = store_scan_begin(true);
	call.context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext build", ALLOCSET_DEFAULT_SIZES);
	build_accounts(&call, after);
	store_scan_end(call.scan);
	search_blocks_close(&call.blocks);
	nulls[0] = call.last == NULL;
	if (call.last != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		values[0] = PointerGetDatum(DatumGetTextPCopy(PointerGetDatum(call.last)));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	values[1] = Int64GetDatum(call.built);
	values[2] = Int64GetDatum(call.bytes);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}
