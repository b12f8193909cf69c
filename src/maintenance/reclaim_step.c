/*
 * reclaim_step.c
 *		The phase of maintenance that gives free space back, batch by batch.
 *
 * Each part of the store is gone through in up to four passes, each of which
 * moves the rows of some blocks at the end of a file; then its indexes are made
 * anew, which has to wait for a moment when nobody uses the table.  Where the
 * phase stands is written down as numbers in one line of text.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/wait_event.h"

#include "sql_text.h"

/* How often a part is gone through. */
#define RECLAIM_PASSES 4
/* Autovacuum may be at work on the table: how often, and how long, that is waited for. */
#define REINDEX_ATTEMPTS 20
#define REINDEX_PAUSE_MS 200

static const char *const parts[] = {"segments", "toast", "conversations"};
static const char *const part_names[] = {"segments", "large segments", "conversations"};

typedef struct ReclaimPlace
{
	int part;
	int pass;     /* passes that have begun */
	int64 from;   /* the next block of this pass; -1: the next pass is to begin */
	int64 to;     /* the pass' end */
	int64 cut;    /* where the pass before began; -1: there was none */
	int64 moved;  /* rows of this part */
	int attempts; /* to make the indexes anew; -1: not yet at it */
} ReclaimPlace;

static const ReclaimPlace part_begin = {.from = -1, .cut = -1, .attempts = -1};

static ReclaimPlace
read_place(const char *text)
{
	ReclaimPlace place = part_begin;

	if (text != NULL &&
		(sscanf(text,
				"%d %d " INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT " %d",
				&place.part, &place.pass, &place.from, &place.to, &place.cut, &place.moved,
				&place.attempts) != 7 ||
		 place.part < 0 || place.part >= lengthof(parts)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is no place of this phase", text),
						errhint("Give what the batch before has returned.")));
	return place;
}

/* The part's function of that name and the given blocks, -1: NULL; false: its first column is. */
static bool
call_part(const char *function, const ReclaimPlace *place, int64 a, int64 b, int64 *first,
		  int64 *second)
{
	Oid types[3] = {TEXTOID, INT8OID, INT8OID};
	Datum values[3] = {CStringGetTextDatum(parts[place->part]), Int64GetDatum(a), Int64GetDatum(b)};
	char nulls[4] = {' ', a < 0 ? 'n' : ' ', b < 0 ? 'n' : ' ', '\0'};
	bool isnull;

	if (SPI_execute_with_args(psprintf("SELECT * FROM memory_store.%s($1, $2, $3)", function), 3,
							  types, values, nulls, false, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "memory_store.%s returned no row", function);
	*second =
		DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	if (isnull)
		*second = 0;
	*first = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	return !isnull;
}

/* How many segments the last compaction has written anew. */
static int64
read_compacted(void)
{
	bool isnull;
	Datum done;

	/* clang-format off */
	SPI_execute(
		"SELECT COALESCE(pg_catalog.sum(p.done), 0)::pg_catalog.int8"
		" FROM memory_store.maintenance_phases p"
		" WHERE p.phase" OP(=) "ANY ('{compact,recompress}')",
		true, 1);
	/* clang-format on */
	done = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? 0 : DatumGetInt64(done);
}

static bool
reindex_part(const ReclaimPlace *place)
{
	Oid types[1] = {TEXTOID};
	Datum values[1] = {CStringGetTextDatum(parts[place->part])};
	bool isnull;

	if (place->attempts > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, REINDEX_PAUSE_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_execute_with_args("SELECT memory_store.reclaim_end($1)", 1, types, values, NULL, false, 1);
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* The next pass of a part, or what comes after its last one. */
static void
begin_pass(ReclaimPlace *place)
{
	int64 from;
	int64 to;

	if (place->pass < RECLAIM_PASSES &&
		call_part("reclaim_begin", place, read_compacted(), place->cut, &from, &to))
	{
		place->pass++;
		place->from = place->cut = from;
		place->to = to;
	}
	else
		place->attempts = 0;
}

PG_FUNCTION_INFO_V1(memory_reclaim_step);

/*
 * memory_reclaim_step(place text, batch_size integer)
 *		→ (place text, done bigint, message text)
 *		A batch of the phase: see memory_store.maintenance_phases.  batch_size is
 *		not looked at, since the batches are of blocks.  Error: 22023 the place is
 *		none.
 */
Datum
memory_reclaim_step(PG_FUNCTION_ARGS)
{
	ReclaimPlace place = read_place(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)));
	TupleDesc descriptor;
	Datum values[3] = {0};
	bool nulls[3] = {false, false, true};
	int64 moved = 0;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "memory_store.reclaim_step returns no record");
	SPI_connect();
	if (place.attempts < 0 && place.from < 0)
		begin_pass(&place);
	else if (place.attempts < 0)
	{
		if (!call_part("reclaim_batch", &place, place.from, place.to, &place.from, &moved))
			place.from = -1;
		place.moved += moved;
	}
	else if (place.moved == 0 || reindex_part(&place) || ++place.attempts == REINDEX_ATTEMPTS)
		place.part = ~place.part; /* this one is done */
	SPI_finish();

	if (place.part < 0)
	{
		place.part = ~place.part;
		if (place.moved > 0)
		{
			nulls[2] = false;
			values[2] = PointerGetDatum(cstring_to_text(
				psprintf("moved " INT64_FORMAT " %s into free space: VACUUM can shorten the file",
						 place.moved, part_names[place.part])));
		}
		moved = 0;
		nulls[0] = place.part + 1 == lengthof(parts);
		place = (ReclaimPlace){.part = place.part + 1, .from = -1, .cut = -1, .attempts = -1};
	}
	if (!nulls[0])
		values[0] = CStringGetTextDatum(psprintf("%d %d " INT64_FORMAT " " INT64_FORMAT
												 " " INT64_FORMAT " " INT64_FORMAT " %d",
												 place.part, place.pass, place.from, place.to,
												 place.cut, place.moved, place.attempts));
	values[1] = Int64GetDatum(moved);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
