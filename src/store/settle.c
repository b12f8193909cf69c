/*
 * settle.c
 *		Gives disk space back that compaction has freed.
 *
 * Compaction writes segments anew, at the end of their table's file; VACUUM
 * then finds the old ones' space free, but can only cut off a file's end.  So
 * what lies at the end is moved into the free space before it, and the next
 * VACUUM makes the file short.  How much is free where is known from the free
 * space map, which VACUUM writes: without one since the last compaction there
 * is nothing to do yet.
 *
 * A batch holds the locks of the accounts whose segments it moves, in key
 * order, to its transaction's end.  A segment keeps its bytes, its key and its
 * revision; who holds an older snapshot still sees the old row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/freespace.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "store.h"

#define BATCH_BLOCKS 64
/* Fewer blocks, or a smaller part of the file, are not worth the trouble. */
#define WORTHWHILE_BLOCKS 32
#define WORTHWHILE_PART 16
/* Rows do not fill free space without gaps, and less than this in a block not at all. */
#define FILL_PERCENT 80
#define USABLE_BYTES (BLCKSZ / 4)

static Relation
open_segments(void)
{
	Oid schema = get_namespace_oid("memory_store", false);

	return table_open(get_relname_relid("segments", schema), RowExclusiveLock);
}

static uint64
usable_space(Relation relation, BlockNumber block)
{
	Size space = GetRecordedFreeSpace(relation, block);

	return space < USABLE_BYTES ? 0 : space;
}

/* The first block of the end that would fit into the free space before it. */
static BlockNumber
find_cut(Relation relation, BlockNumber blocks)
{
	uint64 free_before = 0;
	uint64 used_behind = 0;
	BlockNumber cut = blocks;

	for (BlockNumber block = 0; block < blocks; block++)
		free_before += usable_space(relation, block);
	while (cut > 0)
	{
		CHECK_FOR_INTERRUPTS();
		free_before -= usable_space(relation, cut - 1);
		used_behind += BLCKSZ - GetRecordedFreeSpace(relation, cut - 1);
		if (used_behind > free_before / 100 * FILL_PERCENT)
			break;
		cut--;
	}
	return cut;
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

static bool
is_worthwhile(BlockNumber cut, BlockNumber blocks)
{
	return blocks - cut >= WORTHWHILE_BLOCKS && blocks - cut >= blocks / WORTHWHILE_PART;
}

/* The same for what the table keeps out of line; its rows go where the segments go. */
static void
hide_toast_space(Relation relation)
{
	Relation toast;
	BlockNumber blocks;
	BlockNumber cut;

	if (!OidIsValid(relation->rd_rel->reltoastrelid))
		return;
	toast = table_open(relation->rd_rel->reltoastrelid, RowExclusiveLock);
	blocks = RelationGetNumberOfBlocks(toast);
	cut = find_cut(toast, blocks);
	if (is_worthwhile(cut, blocks))
		hide_free_space(toast, cut, blocks);
	table_close(toast, NoLock);
}

/* A segment in the blocks at hand, under a key that orders by account. */
typedef struct SettleRow
{
	text *account_id;
	pg_uuid_t id;
	int64 first_seq;
} SettleRow;

/* Moves the segment unless it has gone, or has been written anew, meanwhile. */
static bool
move_segment(const SettleRow *row, Datum from, Datum to)
{
	Datum values[5] = {UUIDPGetDatum(&row->id), PointerGetDatum(row->account_id),
					   Int64GetDatum(row->first_seq), from, to};
	Datum columns[STORE_SEGMENT_COLUMNS];
	SPITupleTable *taken;
	bool isnull;

	if (store_execute(STORE_SEGMENT_TAKE, values, NULL, false) == 0)
		return false;
	taken = SPI_tuptable;
	SPI_tuptable = NULL; /* has the body: must outlive the next statement */
	columns[0] = values[0];
	columns[1] = values[1];
	columns[2] = values[2];
	for (int i = 3; i < STORE_SEGMENT_COLUMNS; i++)
		columns[i] = SPI_getbinval(taken->vals[0], taken->tupdesc, i - 2, &isnull);
	store_execute(STORE_SEGMENT_INSERT, columns, NULL, false);
	SPI_freetuptable(taken);
	return true;
}

/* Moves the segments of the blocks from..to-1; returns how many. */
static int64
settle_blocks(BlockNumber from, BlockNumber to)
{
	ItemPointerData bounds[2];
	Datum values[2] = {PointerGetDatum(&bounds[0]), PointerGetDatum(&bounds[1])};
	text *locked = NULL;
	bool living = false;
	SettleRow *rows;
	int64 moved = 0;
	bool isnull;
	uint64 n;

	ItemPointerSet(&bounds[0], from, 0);
	ItemPointerSet(&bounds[1], to, 0);
	n = store_execute(STORE_SEGMENTS_LYING, values, NULL, false);
	rows = palloc(mul_size(Max(n, 1), sizeof(SettleRow)));
	for (uint64 i = 0; i < n; i++)
	{
		rows[i].account_id = DatumGetTextPCopy(store_column(i, 1, &isnull));
		rows[i].id = *DatumGetUUIDP(store_column(i, 2, &isnull));
		rows[i].first_seq = DatumGetInt64(store_column(i, 3, &isnull));
	}
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (locked == NULL || !account_same(locked, rows[i].account_id))
		{
			locked = rows[i].account_id;
			living = store_hold_account(locked);
		}
		if (living && move_segment(&rows[i], values[0], values[1]))
			moved++;
	}
	return moved;
}

PG_FUNCTION_INFO_V1(memory_settle_batch);

/*
 * memory_settle_batch(from_block bigint, to_block bigint)
 *		→ (next_block bigint, last_block bigint, segments bigint)
 *		Moves the segments of some blocks into free space before them.  NULL
 *		from_block: looks for an end of the file that is worth it.  The result's
 *		blocks are where the next batch goes on, NULL at the end.  A step of
 *		maintain().  Errors: 22023, 42501 the session is confined.
 */
Datum
memory_settle_batch(PG_FUNCTION_ARGS)
{
	Relation relation;
	TupleDesc descriptor;
	BlockNumber blocks;
	BlockNumber from;
	BlockNumber to;
	Datum values[3] = {0};
	bool nulls[3] = {true, true, false};

	account_check_unconfined();
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "settle_batch does not return a row");
	relation = open_segments();
	blocks = RelationGetNumberOfBlocks(relation);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
	{
		from = find_cut(relation, blocks);
		to = blocks;
		if (is_worthwhile(from, to))
		{
			hide_free_space(relation, from, to);
			hide_toast_space(relation);
		}
		else
			from = to;
	}
	else
	{
		if (PG_GETARG_INT64(0) < 0 || PG_GETARG_INT64(1) < PG_GETARG_INT64(0) ||
			PG_GETARG_INT64(1) > MaxBlockNumber)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("there are no blocks " INT64_FORMAT " to " INT64_FORMAT,
								   PG_GETARG_INT64(0), PG_GETARG_INT64(1)),
							errhint("Give what the batch before has returned, or NULL.")));
		from = (BlockNumber) PG_GETARG_INT64(0);
		to = Min((BlockNumber) PG_GETARG_INT64(1), blocks);
	}
	if (from < to)
	{
		BlockNumber next = Min(from + BATCH_BLOCKS, to);

		SPI_connect();
		values[2] = Int64GetDatum(settle_blocks(from, next));
		SPI_finish();
		values[0] = Int64GetDatum((int64) next);
		values[1] = Int64GetDatum((int64) to);
		nulls[0] = nulls[1] = next == to;
	}
	table_close(relation, NoLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
