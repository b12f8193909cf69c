/*
 * reclaim.c
 *		Gives disk space back that compaction has freed.
 *
 * Compaction writes segments anew, behind what is there; so do bulk loads with
 * the rows of conversations.  VACUUM can only cut off a file's end: what lies
 * there is moved into the free space before it, and the next VACUUM makes the
 * file short.  Indexes do not become short by that: those that are small are
 * made anew at the end.
 *
 * How much is free where is known from the free space map, which VACUUM writes.
 * After a compaction that has rewritten much, the pages are pruned and the map
 * is brought up to date here.  A pass moves less than what seems to fit, lest
 * the file grows at its end; the next one is for what is left, and for what got
 * to the end nonetheless because somebody else was at work.
 *
 * What is out of line moves by whole values: chunks of theirs that lie before
 * the end are written once more, too, and need space there (see fit_values).
 *
 * A batch holds the locks of the accounts whose rows it moves, in key order, to
 * its transaction's end.  A row keeps its bytes and its key; who holds an older
 * snapshot still sees the old one.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/freespace.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "sql_text.h"
#include "statement.h"
#include "store.h"

/*
 * Fewer blocks are not worth the trouble, unless they are a large part of a
 * small file; less is, where the file becomes short in any case.
 */
#define WORTHWHILE_BLOCKS 32
#define SMALL_BLOCKS 8
#define SMALL_PART 4
#define FURTHER_BLOCKS 8
#define FURTHER_PART 64
/* Rows do not fill free space without gaps. */
#define FILL_PERCENT 85
/* Pages are pruned here if so many rows have changed: a part of the file's blocks. */
#define CHANGED_PART 16
/* The free space map knows a page's free space in steps; it rounds down. */
#define MAP_STEP (BLCKSZ / 256)
/* A row of a TOAST table: chunk_id, chunk_seq, and as much of the value as goes into one. */
#define CHUNK_ROW                                                                                  \
	MAXALIGN(MAXALIGN(SizeofHeapTupleHeader) + 2 * sizeof(int32) + VARHDRSZ + TOAST_MAX_CHUNK_SIZE)
/* An index that is larger would keep writers waiting for too long. */
#define MAX_REINDEX_BLOCKS ((BlockNumber) (64 * 1024 * 1024 / BLCKSZ))

/* A table whose rows are moved, and how. */
typedef struct ReclaimTarget
{
	const char *part; /* as callers name it */
	const char *table;
	bool toast; /* not the table itself, but what it keeps out of line */
	BlockNumber batch_blocks;
	uint64 (*list)(Relation relation, Datum *bounds);
	BlockNumber share; /* the part of the file that is worth the trouble */
	Size row_bytes;    /* where the table has no statistics */
	bool (*move)(Datum *values);
} ReclaimTarget;

/* The table, or its TOAST table; NULL: there is none. */
static Relation
open_table(const ReclaimTarget *target)
{
	Oid oid = get_relname_relid(target->table, get_namespace_oid("memory_store", false));
	Relation relation = table_open(oid, RowExclusiveLock);

	if (!target->toast)
		return relation;
	oid = relation->rd_rel->reltoastrelid;
	table_close(relation, NoLock);
	return OidIsValid(oid) ? table_open(oid, RowExclusiveLock) : NULL;
}

/*
 * Prunes the pages before end, and tells the free space map what is free there.
 * A page is pruned only when it seems to need it: it is marked as full.
 */
static void
refresh_free_space(Relation relation, BlockNumber end)
{
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);

	for (BlockNumber block = 0; block < end; block++)
	{
		Buffer buffer;
		Page page;
		Size space;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBufferExtended(relation, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
		page = BufferGetPage(buffer);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		if (!PageIsNew(page) && TransactionIdIsValid(((PageHeader) page)->pd_prune_xid))
		{
			PageSetFull(page);
			MarkBufferDirtyHint(buffer, true);
		}
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		heap_page_prune_opt(relation, buffer);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		space = PageIsNew(page) ? 0 : PageGetHeapFreeSpace(page);
		UnlockReleaseBuffer(buffer);
		RecordPageWithFreeSpace(relation, block, space);
	}
	FreeSpaceMapVacuumRange(relation, 0, end);
	FreeAccessStrategy(strategy);
}

/* The bytes that a row of the table takes in a page, about. */
static Size
average_row(Relation relation, BlockNumber blocks, Size otherwise)
{
	uint64 used = 0;

	if (relation->rd_rel->reltuples < 1)
		return otherwise;
	for (BlockNumber block = 0; block < blocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		used += BLCKSZ - GetRecordedFreeSpace(relation, block);
	}
	return (Size) Min(Max(used / relation->rd_rel->reltuples, 32.0), BLCKSZ / 2);
}

/* How many whole chunks fit into a page of a TOAST table, by the map: all are of one size. */
static uint64
free_chunks(Relation relation, BlockNumber block)
{
	Size space = GetRecordedFreeSpace(relation, block);

	if (space < TYPEALIGN(MAP_STEP, CHUNK_ROW))
		return 0;
	return (space + MAP_STEP - 1 + sizeof(ItemIdData)) / (CHUNK_ROW + sizeof(ItemIdData));
}

/* What rows of this size can use of a page's free space. */
static uint64
usable_space(Relation relation, BlockNumber block, Size row_bytes)
{
	Size reserved = RelationGetTargetPageFreeSpace(relation, HEAP_DEFAULT_FILLFACTOR);
	Size space = GetRecordedFreeSpace(relation, block);

	if (relation->rd_rel->relkind == RELKIND_TOASTVALUE)
		return free_chunks(relation, block) * CHUNK_ROW;
	if (space < reserved + row_bytes + row_bytes / 4)
		return 0;
	return (space - reserved) / row_bytes * row_bytes;
}

/* The first block of the end that would fit into the free space before it. */
static BlockNumber
find_cut(Relation relation, BlockNumber blocks, Size row_bytes)
{
	uint64 free_before = 0;
	uint64 used_behind = 0;
	BlockNumber cut = blocks;

	for (BlockNumber block = 0; block < blocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		free_before += usable_space(relation, block, row_bytes);
	}
	while (cut > 0)
	{
		CHECK_FOR_INTERRUPTS();
		free_before -= usable_space(relation, cut - 1, row_bytes);
		used_behind += BLCKSZ - GetRecordedFreeSpace(relation, cut - 1);
		if (used_behind > free_before / 100 * FILL_PERCENT)
			break;
		cut--;
	}
	return cut;
}

static char *
relation_name(Relation relation)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
									  RelationGetRelationName(relation));
}

/* The block behind the last row from this block on; the block itself: there is none. */
static BlockNumber
live_end(Relation relation, BlockNumber from)
{
	static Oid types[] = {TIDOID};
	char *query = psprintf("SELECT pg_catalog.max(ctid) FROM %s WHERE ctid" OP(>=) "$1",
						   relation_name(relation));
	ItemPointerData bound;
	Datum values[1] = {PointerGetDatum(&bound)};
	Datum last;
	bool isnull;

	ItemPointerSet(&bound, from, 0);
	if (SPI_execute_with_args(query, 1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read %s", RelationGetRelationName(relation));
	last = plan_column(0, 1, &isnull);
	return isnull ? from : ItemPointerGetBlockNumber((ItemPointer) DatumGetPointer(last)) + 1;
}

/* The values that have a chunk behind the cut: the last one, and how many they have anywhere. */
static Portal
open_values(Relation relation, BlockNumber cut)
{
	static Oid types[] = {TIDOID};
	char *name = relation_name(relation);
	/* clang-format off */
	char *query = psprintf(
		"SELECT pg_catalog.max(ctid), pg_catalog.count(*) FROM %s"
		" WHERE chunk_id" OP(=) "ANY (SELECT chunk_id FROM %s WHERE ctid" OP(>=) "$1)"
		" GROUP BY chunk_id ORDER BY 1 DESC",
		name, name);
	/* clang-format on */
	ItemPointerData bound;
	Datum values[1] = {PointerGetDatum(&bound)};

	ItemPointerSet(&bound, cut, 0);
	return SPI_cursor_open_with_args(NULL, query, 1, types, values, NULL, true, 0);
}

/*
 * The first block, not before the cut, such that all values with a chunk from
 * there on fit into the free space before it, whole.
 */
static BlockNumber
fit_values(Relation relation, BlockNumber cut, BlockNumber blocks)
{
	Portal portal = open_values(relation, cut);
	BlockNumber fitting = blocks;
	BlockNumber lower = blocks;
	uint64 free_before = 0;
	uint64 needed = 0;

	for (BlockNumber block = 0; block < blocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		free_before += free_chunks(relation, block);
	}
	for (;;)
	{
		BlockNumber next = cut;
		ItemPointer last;
		bool isnull;
		int64 chunks = 0;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, 1);
		if (SPI_processed > 0)
		{
			last = (ItemPointer) DatumGetPointer(plan_column(0, 1, &isnull));
			next = Min(lower, ItemPointerGetBlockNumber(last) + 1);
			chunks = DatumGetInt64(plan_column(0, 2, &isnull));
		}
		SPI_freetuptable(SPI_tuptable);
		while (lower > next)
			free_before -= free_chunks(relation, --lower);
		if (needed * 100 > free_before * FILL_PERCENT)
			break;
		fitting = next;
		if (chunks == 0)
			break;
		needed += chunks;
	}
	SPI_cursor_close(portal);
	return fitting;
}

/* Nobody shall find free space behind the cut: the map is no more than a hint. */
static void
hide_free_space(Relation relation, BlockNumber cut, BlockNumber blocks)
{
	for (BlockNumber block = cut; block < blocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		RecordPageWithFreeSpace(relation, block, 0);
	}
	FreeSpaceMapVacuumRange(relation, cut, blocks);
}

/* Whether the file, of which so many blocks are in use, is to end at the cut. */
static bool
is_worthwhile(const ReclaimTarget *target, BlockNumber cut, BlockNumber blocks, bool further)
{
	if (blocks <= cut)
		return false;
	if (further)
		return blocks - cut >= FURTHER_BLOCKS && blocks - cut >= blocks / FURTHER_PART;
	if (blocks - cut < WORTHWHILE_BLOCKS)
		return blocks - cut >= SMALL_BLOCKS && blocks - cut >= blocks / SMALL_PART;
	return blocks - cut >= blocks / target->share;
}

/* What segments keep out of line is written anew with them: it shall go to the front as well. */
static void
hide_toast_space(const ReclaimTarget *target, bool refresh)
{
	ReclaimTarget toast = *target;
	Relation relation;
	BlockNumber blocks;
	BlockNumber cut;

	toast.toast = true;
	relation = open_table(&toast);
	if (relation == NULL)
		return;
	blocks = RelationGetNumberOfBlocks(relation);
	if (refresh)
		refresh_free_space(relation, blocks);
	cut = find_cut(relation, blocks, BLCKSZ / 4);
	if (is_worthwhile(target, cut, blocks, false))
		hide_free_space(relation, cut, blocks);
	table_close(relation, NoLock);
}

/* This session's last insertions were at the end of the file; the next ones shall not be. */
static void
forget_target(const ReclaimTarget *target)
{
	ReclaimTarget table = *target;
	ReclaimTarget toast = *target;
	Relation relation;

	table.toast = false;
	toast.toast = true;
	relation = open_table(&table);
	RelationSetTargetBlock(relation, InvalidBlockNumber);
	table_close(relation, NoLock);
	relation = open_table(&toast);
	if (relation == NULL)
		return;
	RelationSetTargetBlock(relation, InvalidBlockNumber);
	table_close(relation, NoLock);
}

/* A row in the blocks at hand, under a key that orders by account. */
typedef struct ReclaimRow
{
	text *account_id;
	pg_uuid_t id;
	int64 first_seq; /* of a segment */
} ReclaimRow;

/* clang-format off */
static PlanStatement segment_move_statement = {
	"WITH s AS (DELETE"
	" FROM memory_store.segments"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" AND first_seq" OP(=) "$3 AND (ctid" OP(>=) "$4 AND ctid" OP(<) "$5) IS TRUE"
	" RETURNING *)"
	" INSERT INTO memory_store.segments"
	" SELECT *"
	" FROM s",
	5,
	{UUIDOID, TEXTOID, INT8OID, TIDOID, TIDOID},
};
/* clang-format on */

/*
 * Moves the segment unless it has gone, or has been written anew, meanwhile.
 * values: id, account_id, first_seq, and the bounds of the blocks.
 */
static bool
move_segment(Datum *values)
{
	return plan_execute(&segment_move_statement, values, NULL, false) > 0;
}

/* clang-format off */
static PlanStatement conversation_move_statement = {
	"WITH c AS (DELETE"
	" FROM memory_store.conversations"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" AND (ctid" OP(>=) "$3 AND ctid" OP(<) "$4) IS TRUE"
	" RETURNING *)"
	" INSERT INTO memory_store.conversations"
	" SELECT *"
	" FROM c",
	4,
	{UUIDOID, TEXTOID, TIDOID, TIDOID},
};
/* clang-format on */

/* The same for a conversation's row. */
static bool
move_conversation(Datum *values)
{
	Datum keys[4] = {values[0], values[1], values[3], values[4]};

	return plan_execute(&conversation_move_statement, keys, NULL, false) > 0;
}

/* in order of the accounts' locks */
/* clang-format off */
static PlanStatement segments_lying_statement = {
	"SELECT account_id, conversation_id, first_seq"
	" FROM memory_store.segments"
	" WHERE ctid" OP(>=) "$1 AND ctid" OP(<) "$2"
	" ORDER BY 1, 2, 3",
	2,
	{TIDOID, TIDOID},
};
/* clang-format on */

static uint64
list_segments(Relation relation, Datum *bounds)
{
	return plan_execute(&segments_lying_statement, bounds, NULL, false);
}

/* clang-format off */
static PlanStatement conversations_lying_statement = {
	"SELECT account_id, conversation_id, 0::pg_catalog.int8"
	" FROM memory_store.conversations"
	" WHERE ctid" OP(>=) "$1 AND ctid" OP(<) "$2"
	" ORDER BY 1, 2",
	2,
	{TIDOID, TIDOID},
};
/* clang-format on */

static uint64
list_conversations(Relation relation, Datum *bounds)
{
	return plan_execute(&conversations_lying_statement, bounds, NULL, false);
}

/* clang-format off */
static PlanStatement segments_toasted_statement = {
	"SELECT account_id, conversation_id, first_seq"
	" FROM memory_store.segments"
	" WHERE memory_store.toast_value(body)" OP(=) "ANY ($1)"
	" OR memory_store.toast_value(message_ids)" OP(=) "ANY ($1)"
	" ORDER BY 1, 2, 3",
	1,
	{INT8ARRAYOID},
};
/* clang-format on */

/* The segments that have values in these blocks of the TOAST table; reads all segments' rows. */
static uint64
list_toasted(Relation relation, Datum *bounds)
{
	static Oid types[] = {TIDOID, TIDOID};
	/* clang-format off */
	char *query = psprintf(
		"SELECT pg_catalog.array_agg(DISTINCT chunk_id::pg_catalog.int8) FROM %s"
		" WHERE ctid" OP(>=) "$1 AND ctid" OP(<) "$2",
		relation_name(relation));
	/* clang-format on */
	Datum values[1];
	bool isnull;

	if (SPI_execute_with_args(query, 2, types, bounds, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read %s", RelationGetRelationName(relation));
	values[0] = plan_column(0, 1, &isnull);
	if (isnull)
		return 0;
	values[0] = datumCopy(values[0], false, -1);
	return plan_execute(&segments_toasted_statement, values, NULL, false);
}

/* clang-format off */
static PlanStatement segment_retoast_statement = {
	"UPDATE memory_store.segments"
	" SET body = memory_store.in_line(body),"
	" message_ids = memory_store.in_line(message_ids)"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" AND first_seq" OP(=) "$3",
	3,
	{UUIDOID, TEXTOID, INT8OID},
};
/* clang-format on */

/* Writes what a segment has out of line anew; its row stays in its page, as a rule. */
static bool
move_toasted(Datum *values)
{
	return plan_execute(&segment_retoast_statement, values, NULL, false) > 0;
}

static const ReclaimTarget targets[] = {
	{"segments", "segments", false, 64, list_segments, 16, 1024, move_segment},
	{"toast", "segments", true, 2048, list_toasted, 16, BLCKSZ / 4, move_toasted},
	/* appends leave space free in it all the time, and use it */
	{"conversations", "conversations", false, 64, list_conversations, 4, 256, move_conversation},
};

static const ReclaimTarget *
find_target(FunctionCallInfo fcinfo)
{
	char *part = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));

	for (int i = 0; i < lengthof(targets); i++)
		if (strcmp(targets[i].part, part) == 0)
			return &targets[i];
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("nothing can be moved in \"%s\"", part),
					errhint("It is segments, toast or conversations.")));
	return NULL; /* keep compilers quiet */
}

/* Moves the rows of the blocks from..to-1; returns how many. */
static int64
move_rows(const ReclaimTarget *target, Relation relation, BlockNumber from, BlockNumber to)
{
	ItemPointerData bounds[2];
	Datum values[2] = {PointerGetDatum(&bounds[0]), PointerGetDatum(&bounds[1])};
	text *locked = NULL;
	bool living = false;
	ReclaimRow *rows;
	text **accounts;
	int64 moved = 0;
	bool isnull;
	uint64 n;

	ItemPointerSet(&bounds[0], from, 0);
	ItemPointerSet(&bounds[1], to, 0);
	n = target->list(relation, values);
	rows = palloc(mul_size(Max(n, 1), sizeof(ReclaimRow)));
	accounts = palloc(mul_size(Max(n, 1), sizeof(text *)));
	for (uint64 i = 0; i < n; i++)
	{
		rows[i].account_id = accounts[i] = DatumGetTextPCopy(plan_column(i, 1, &isnull));
		rows[i].id = *DatumGetUUIDP(plan_column(i, 2, &isnull));
		rows[i].first_seq = DatumGetInt64(plan_column(i, 3, &isnull));
	}
	store_lock_before_moving(accounts, n, true);
	for (uint64 i = 0; i < n; i++)
	{
		Datum key[5] = {UUIDPGetDatum(&rows[i].id), PointerGetDatum(rows[i].account_id),
						Int64GetDatum(rows[i].first_seq), values[0], values[1]};

		CHECK_FOR_INTERRUPTS();
		if (locked == NULL || !account_same(locked, rows[i].account_id))
		{
			locked = rows[i].account_id;
			living = store_hold_account(locked);
		}
		if (living && target->move(key))
			moved++;
	}
	return moved;
}

/*
 * Makes the table's indexes anew, if they are small and nobody uses the table
 * at this moment: writers that wait behind a lock which is waited for would
 * stand still.  False: somebody does.
 */
static bool
reindex(const ReclaimTarget *target)
{
	Relation relation = open_table(target);
	List *indexes;
	ListCell *cell;
	bool locked;

	if (relation == NULL)
		return true;
	indexes = RelationGetIndexList(relation);
	locked = ConditionalLockRelationOid(RelationGetRelid(relation), ShareLock);
	table_close(relation, NoLock);
	foreach (cell, indexes)
	{
		Oid oid = lfirst_oid(cell);
		Relation index;
		bool small;
		char *name;

		locked = locked && ConditionalLockRelationOid(oid, AccessExclusiveLock);
		if (!locked)
			break;
		index = index_open(oid, NoLock);
		small = RelationGetNumberOfBlocks(index) <= MAX_REINDEX_BLOCKS;
		name = relation_name(index);
		index_close(index, NoLock);
		if (small && SPI_execute(psprintf("REINDEX INDEX %s", name), false, 0) != SPI_OK_UTILITY)
			elog(ERROR, "could not reindex %s", name);
	}
	return locked;
}

/* A block number that a caller gives; NULL is otherwise.  Error: 22023. */
static BlockNumber
block_argument(FunctionCallInfo fcinfo, int n, BlockNumber otherwise)
{
	int64 block = PG_ARGISNULL(n) ? otherwise : PG_GETARG_INT64(n);

	if (block < 0 || block > MaxBlockNumber)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there is no block " INT64_FORMAT, block),
						errhint("Give what the batch before has returned, or NULL.")));
	return (BlockNumber) block;
}

/*
 * Finds where the file could end, and how far it is in use; false: it is not
 * worth it.  end: an earlier pass has moved the rows from there on, 0: there was
 * none.  What that has freed of a TOAST table lies anywhere in it.
 */
static bool
find_range(const ReclaimTarget *target, Relation relation, bool refresh, BlockNumber end,
		   BlockNumber *from, BlockNumber *to)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(relation);
	bool further = end > 0;

	end = further && !target->toast ? Min(end, blocks) : blocks;
	if (refresh)
		refresh_free_space(relation, end);
	*from = find_cut(relation, end, average_row(relation, end, target->row_bytes));
	if (!is_worthwhile(target, *from, blocks, further))
		return false;
	if (target->toast)
		*from = fit_values(relation, *from, blocks);
	*to = live_end(relation, *from);
	if (!is_worthwhile(target, *from, *to, further))
		return false;
	hide_free_space(relation, *from, blocks);
	return true;
}

PG_FUNCTION_INFO_V1(memory_reclaim_begin);

/*
 * memory_reclaim_begin(part text, changed bigint, end_block bigint)
 *		→ (from_block bigint, to_block bigint)
 *		The blocks at the end of the table of that name whose rows fit into the
 *		free space before them; NULL: it is not worth it.  changed: how many rows
 *		were written anew; where these are many, or with an end_block, before
 *		which an earlier pass has moved rows, pages are pruned and the free space
 *		map is written anew.  A step of maintain().  Errors: 22023, 42501 the
 *		session is confined.
 */
Datum
memory_reclaim_begin(PG_FUNCTION_ARGS)
{
	const ReclaimTarget *target = find_target(fcinfo);
	int64 changed = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);
	BlockNumber end = block_argument(fcinfo, 2, 0);
	Relation relation;
	TupleDesc descriptor;
	Datum values[2] = {0};
	bool nulls[2] = {true, true};

	account_check_unconfined();
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "reclaim_begin does not return a row");
	relation = open_table(target);
	if (relation != NULL)
	{
		BlockNumber blocks = RelationGetNumberOfBlocks(relation);
		bool refresh = end > 0 || changed > blocks / CHANGED_PART;
		BlockNumber from;
		BlockNumber to;

		SPI_connect();
		if (find_range(target, relation, refresh, end, &from, &to))
		{
			if (!target->toast && end == 0)
				hide_toast_space(target, refresh);
			values[0] = Int64GetDatum((int64) from);
			values[1] = Int64GetDatum((int64) to);
			nulls[0] = nulls[1] = false;
		}
		SPI_finish();
		table_close(relation, NoLock);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

PG_FUNCTION_INFO_V1(memory_reclaim_batch);

/*
 * memory_reclaim_batch(part text, from_block bigint, to_block bigint)
 *		→ (next_block bigint, moved bigint)
 *		Moves the rows of some blocks into free space before them.  Returns where
 *		the next batch goes on, NULL at the end, and how many rows were moved.  A
 *		step of maintain().  Errors: 22023, 42501 the session is confined.
 */
Datum
memory_reclaim_batch(PG_FUNCTION_ARGS)
{
	const ReclaimTarget *target = find_target(fcinfo);
	BlockNumber from = block_argument(fcinfo, 1, 0);
	BlockNumber to = block_argument(fcinfo, 2, 0);
	Relation relation;
	TupleDesc descriptor;
	Datum values[2] = {0};
	bool nulls[2] = {true, false};

	account_check_unconfined();
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "reclaim_batch does not return a row");
	if (to < from)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there are no blocks %u to %u", from, to),
				 errhint(
					 "Give what memory_store.reclaim_begin or the batch before has returned.")));
	relation = open_table(target);
	to = relation == NULL ? 0 : Min(to, RelationGetNumberOfBlocks(relation));
	if (from < to)
	{
		BlockNumber next = Min(from + target->batch_blocks, to);

		forget_target(target);
		SPI_connect();
		values[1] = Int64GetDatum(move_rows(target, relation, from, next));
		SPI_finish();
		values[0] = Int64GetDatum((int64) next);
		nulls[0] = next == to;
	}
	if (relation != NULL)
		table_close(relation, NoLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

PG_FUNCTION_INFO_V1(memory_reclaim_end);

/*
 * memory_reclaim_end(part text) → boolean
 *		Makes the indexes of the table of that name anew, unless they are large:
 *		what was moved has left them half empty.  False: somebody uses them.  A
 *		step of maintain().  Errors: 22023, 42501 the session is confined.
 */
Datum
memory_reclaim_end(PG_FUNCTION_ARGS)
{
	const ReclaimTarget *target = find_target(fcinfo);
	bool done;

	account_check_unconfined();
	SPI_connect();
	done = reindex(target);
	SPI_finish();
	PG_RETURN_BOOL(done);
}

PG_FUNCTION_INFO_V1(memory_toast_value);

/*
 * memory_toast_value(value transcript or bytea) → bigint
 *		The number under which TOAST keeps the value; NULL: it is in its row.
 */
Datum
memory_toast_value(PG_FUNCTION_ARGS)
{
	struct varlena *body = (struct varlena *) PG_GETARG_POINTER(0);
	struct varatt_external pointer;

	if (!VARATT_IS_EXTERNAL_ONDISK(body))
		PG_RETURN_NULL();
	VARATT_EXTERNAL_GET_POINTER(pointer, body);
	PG_RETURN_INT64((int64) pointer.va_valueid);
}

PG_FUNCTION_INFO_V1(memory_in_line);

/*
 * memory_in_line(value transcript or bytea) → the same type
 *		The same value, as one that TOAST has not seen.
 */
Datum
memory_in_line(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
}
