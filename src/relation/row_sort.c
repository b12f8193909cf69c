/*
 * row_sort.c
 *		A statement's rows, sorted by account, conversation, seq and place.
 *
 * What is sorted is not the rows but runs of them: rows of one conversation that
 * come behind each other with the next number, or with none, as most loads have
 * them.  Such runs overlap only where a number comes twice, which is refused:
 * see put_first_before.  Rows that may come twice (those of UPDATE and DELETE)
 * are not bundled: each is a run.
 *
 * Memory is bounded: tuplesort goes to temporary files past buffer_size.
 *
 *	RowSort *sort = row_sort_begin(descriptor, bundled);
 *	row_sort_put(sort, values, nulls) for each row
 *	while (row_sort_next(sort, &slot)) ...
 *	row_sort_end(sort);
 *
 * A sort owns a context below the one that was current at row_sort_begin.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

#include "account.h"
#include "memory_limits.h"
#include "row_sort.h"
#include "store.h"

#define RUN_BYTES (32 * 1024) /* a run of so many takes no more rows */

/* Columns of a run in the sort: a row's leading ones, then the rows. */
#define RUN_ROWS ROW_SORT_COLUMNS
#define RUN_NCOLUMNS (RUN_ROWS + 1)

/* The run that the last row belongs to. */
typedef struct OpenRun
{
	StringInfoData rows; /* as a bytea: begins with its length word; that alone: no run is open */
	union
	{
		text id;
		char bytes[VARHDRSZ + MEMORY_MAX_ACCOUNT_ID_BYTES];
	} account;
	pg_uuid_t conversation_id;
	bool numbered;
	int64 first_seq;
	int64 last_seq;
	int64 ordinal; /* of the first row */
} OpenRun;

struct RowSort
{
	MemoryContext context;
	Tuplesortstate *sort;
	bool bundled;
	bool sorted;
	TupleTableSlot *row_in;
	TupleTableSlot *run_in;
	TupleTableSlot *run_out;
	TupleTableSlot *row_out;
	OpenRun open;
	RowRun at; /* whose rows row_sort_next gives out */
	MemoryContext at_context;
};

static Oid
less_than(Oid type)
{
	return lookup_type_cache(type, TYPECACHE_LT_OPR)->lt_opr;
}

/* No run is open.  In the sort's context. */
static void
reset_run(OpenRun *run)
{
	if (run->rows.maxlen > 2 * RUN_BYTES)
		pfree(run->rows.data);
	if (run->rows.maxlen == 0 || run->rows.maxlen > 2 * RUN_BYTES)
		initStringInfo(&run->rows);
	run->rows.len = VARHDRSZ;
}

static TupleDesc
describe_run(void)
{
	static const Oid types[RUN_NCOLUMNS] = {TEXTOID, UUIDOID, INT8OID, INT8OID, BYTEAOID};
	TupleDesc descriptor = CreateTemplateTupleDesc(RUN_NCOLUMNS);

	for (int i = 0; i < RUN_NCOLUMNS; i++)
		TupleDescInitEntry(descriptor, i + 1, "column", types[i], -1, 0);
	return descriptor;
}

static Tuplesortstate *
begin_sort(TupleDesc run)
{
	AttrNumber columns[] = {ROW_ACCOUNT + 1, ROW_CONVERSATION + 1, ROW_SEQ + 1, ROW_ORDINAL + 1};
	Oid operators[] = {less_than(TEXTOID), less_than(UUIDOID), less_than(INT8OID),
					   less_than(INT8OID)};
	Oid collations[] = {C_COLLATION_OID, InvalidOid, InvalidOid, InvalidOid};
	bool nulls_first[] = {false, false, false, false};

	return tuplesort_begin_heap(run, lengthof(columns), columns, operators, collations, nulls_first,
								store_buffer_kb < 0 ? work_mem : Max(store_buffer_kb, 64), NULL,
								TUPLESORT_NONE);
}

/* A sort of rows, whose first columns are those of RowSortColumn. */
RowSort *
row_sort_begin(TupleDesc row, bool bundled)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext rows", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	RowSort *sort = palloc0(sizeof(RowSort));
	TupleDesc run = describe_run();

	sort->context = context;
	sort->bundled = bundled;
	sort->row_in = MakeSingleTupleTableSlot(row, &TTSOpsVirtual);
	sort->run_in = MakeSingleTupleTableSlot(run, &TTSOpsVirtual);
	sort->run_out = MakeSingleTupleTableSlot(run, &TTSOpsMinimalTuple);
	sort->row_out = MakeSingleTupleTableSlot(row, &TTSOpsMinimalTuple);
	reset_run(&sort->open);
	sort->at_context =
		AllocSetContextCreate(context, "memory_ext run of rows", ALLOCSET_DEFAULT_SIZES);
	sort->sort = begin_sort(run);
	MemoryContextSwitchTo(old);
	return sort;
}

/* Frees the sort and its temporary files. */
void
row_sort_end(RowSort *sort)
{
	tuplesort_end(sort->sort);
	MemoryContextDelete(sort->context);
}

/* ---- rows in ---- */

/* Gives the open run to the sort. */
static void
close_run(RowSort *sort)
{
	OpenRun *run = &sort->open;
	TupleTableSlot *slot = sort->run_in;

	if (run->rows.len == VARHDRSZ)
		return;
	SET_VARSIZE(run->rows.data, run->rows.len);
	ExecClearTuple(slot);
	memset(slot->tts_isnull, false, RUN_NCOLUMNS * sizeof(bool));
	slot->tts_values[ROW_ACCOUNT] = PointerGetDatum(&run->account.id);
	slot->tts_values[ROW_CONVERSATION] = UUIDPGetDatum(&run->conversation_id);
	slot->tts_values[ROW_SEQ] = Int64GetDatum(run->first_seq);
	slot->tts_isnull[ROW_SEQ] = !run->numbered;
	slot->tts_values[ROW_ORDINAL] = Int64GetDatum(run->ordinal);
	slot->tts_values[RUN_ROWS] = PointerGetDatum(run->rows.data);
	tuplesort_puttupleslot(sort->sort, ExecStoreVirtualTuple(slot));
	ExecClearTuple(slot);
	reset_run(run);
}

/* Whether a row with this number, of this conversation, goes on with the open run. */
static bool
continues_run(const RowSort *sort, const text *account_id, const pg_uuid_t *id, bool numbered,
			  int64 seq)
{
	const OpenRun *run = &sort->open;

	return sort->bundled && run->rows.len > VARHDRSZ && run->rows.len < RUN_BYTES &&
		   run->numbered == numbered && (!numbered || seq == run->last_seq + 1) &&
		   memcmp(&run->conversation_id, id, UUID_LEN) == 0 &&
		   account_same(account_id, &run->account.id);
}

static void
open_run(RowSort *sort, const text *account_id, const pg_uuid_t *id, bool numbered, int64 seq,
		 int64 ordinal)
{
	OpenRun *run = &sort->open;
	Size length = VARSIZE_ANY_EXHDR(account_id);

	if (length > MEMORY_MAX_ACCOUNT_ID_BYTES)
		elog(ERROR, "account_id of %zu bytes in a sort", length);
	close_run(sort);
	SET_VARSIZE(&run->account.id, VARHDRSZ + length);
	memcpy(VARDATA(&run->account.id), VARDATA_ANY(account_id), length);
	run->conversation_id = *id;
	run->numbered = numbered;
	run->first_seq = seq;
	run->ordinal = ordinal;
}

static void
append_row(OpenRun *run, TupleTableSlot *slot)
{
	MinimalTuple row = ExecCopySlotMinimalTuple(slot);
	Size length = MAXALIGN(row->t_len);

	enlargeStringInfo(&run->rows, length);
	memset(run->rows.data + run->rows.len, 0, length);
	memcpy(run->rows.data + run->rows.len, row, row->t_len);
	run->rows.len += length;
	pfree(row);
}

/* Adds a row, which is copied. */
void
row_sort_put(RowSort *sort, const Datum *values, const bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(sort->context);
	TupleTableSlot *slot = sort->row_in;
	const text *account_id = DatumGetTextPP(values[ROW_ACCOUNT]);
	const pg_uuid_t *id = DatumGetUUIDP(values[ROW_CONVERSATION]);
	bool numbered = !nulls[ROW_SEQ];
	int64 seq = numbered ? DatumGetInt64(values[ROW_SEQ]) : 0;

	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, slot->tts_tupleDescriptor->natts * sizeof(Datum));
	memcpy(slot->tts_isnull, nulls, slot->tts_tupleDescriptor->natts * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	if (!continues_run(sort, account_id, id, numbered, seq))
		open_run(sort, account_id, id, numbered, seq, DatumGetInt64(values[ROW_ORDINAL]));
	sort->open.last_seq = seq;
	append_row(&sort->open, slot);
	ExecClearTuple(slot);
	MemoryContextSwitchTo(old);
}

/* ---- rows out ---- */

/*
 * Looks at the next run in order: whose it is, valid until it is taken.  False:
 * there is none.
 */
bool
row_sort_peek(RowSort *sort, text **account_id, pg_uuid_t *id)
{
	TupleTableSlot *slot = sort->run_out;
	MemoryContext old = MemoryContextSwitchTo(sort->context);

	if (!sort->sorted)
	{
		close_run(sort);
		tuplesort_performsort(sort->sort);
		sort->sorted = true;
	}
	if (TTS_EMPTY(slot))
		(void) tuplesort_gettupleslot(sort->sort, true, false, slot, NULL);
	MemoryContextSwitchTo(old);
	if (TTS_EMPTY(slot))
		return false;
	slot_getallattrs(slot);
	*account_id = DatumGetTextPP(slot->tts_values[ROW_ACCOUNT]);
	*id = *DatumGetUUIDP(slot->tts_values[ROW_CONVERSATION]);
	return true;
}

/* The bytes of the run that was looked at. */
static struct varlena *
run_bytes(const RowSort *sort)
{
	return (struct varlena *) DatumGetPointer(sort->run_out->tts_values[RUN_ROWS]);
}

static MinimalTuple
row_at(const RowRun *run, Size at)
{
	return (MinimalTuple) (run->rows + at);
}

static int64
row_ordinal(RowSort *sort, MinimalTuple row)
{
	bool isnull;

	ExecStoreMinimalTuple(row, sort->row_out, false);
	return DatumGetInt64(slot_getattr(sort->row_out, ROW_ORDINAL + 1, &isnull));
}

/*
 * A number that comes twice is refused in the row that comes second.  The run
 * at hand, which begins with seq, may have that one, and the run behind it, in
 * run_out, begin with the first: then the first is put before it.
 */
static void
put_first_before(RowSort *sort, RowRun *run, int64 seq)
{
	int64 number = DatumGetInt64(sort->run_out->tts_values[ROW_SEQ]);
	int64 ordinal = DatumGetInt64(sort->run_out->tts_values[ROW_ORDINAL]);
	const char *first = VARDATA_ANY(run_bytes(sort));
	Size at = 0;
	uint32 length;
	char *rows;

	for (; at < run->size && seq < number; seq++)
		at += MAXALIGN(row_at(run, at)->t_len);
	if (at == run->size || row_ordinal(sort, row_at(run, at)) < ordinal)
		return;

	memcpy(&length, first + offsetof(MinimalTupleData, t_len), sizeof(length));
	length = MAXALIGN(length);
	rows = palloc(add_size(run->size, length));
	memcpy(rows, run->rows, at);
	memcpy(rows + at, first, length);
	memcpy(rows + at + length, run->rows + at, run->size - at);
	pfree(run->rows);
	run->rows = rows;
	run->size += length;
}

/* Takes the run that was looked at, into the current memory context. */
void
row_sort_take(RowSort *sort, RowRun *run)
{
	TupleTableSlot *slot = sort->run_out;
	text *account_id = DatumGetTextPCopy(slot->tts_values[ROW_ACCOUNT]);
	pg_uuid_t id = *DatumGetUUIDP(slot->tts_values[ROW_CONVERSATION]);
	bool numbered = !slot->tts_isnull[ROW_SEQ];
	int64 seq = DatumGetInt64(slot->tts_values[ROW_SEQ]);
	text *next_account;
	pg_uuid_t next_id;

	run->size = VARSIZE_ANY_EXHDR(run_bytes(sort));
	run->rows = palloc(run->size); /* aligned, which a bytea's bytes are not */
	memcpy(run->rows, VARDATA_ANY(run_bytes(sort)), run->size);
	run->next = 0;
	ExecClearTuple(slot);
	if (numbered && row_sort_peek(sort, &next_account, &next_id) && !slot->tts_isnull[ROW_SEQ] &&
		memcmp(&id, &next_id, UUID_LEN) == 0 && account_same(account_id, next_account))
		put_first_before(sort, run, seq);
	pfree(account_id);
}

/* The run's next row, until the next call; false at its end. */
bool
row_sort_next_of(RowSort *sort, RowRun *run, TupleTableSlot **slot)
{
	MinimalTuple row;

	if (run->next == run->size)
		return false;
	row = row_at(run, run->next);
	run->next += MAXALIGN(row->t_len);
	*slot = ExecStoreMinimalTuple(row, sort->row_out, false);
	slot_getallattrs(*slot);
	return true;
}

/* The next row in order, until the next call; false at the end. */
bool
row_sort_next(RowSort *sort, TupleTableSlot **slot)
{
	MemoryContext old;
	text *account_id;
	pg_uuid_t id;

	if (sort->at.rows != NULL && row_sort_next_of(sort, &sort->at, slot))
		return true;
	sort->at.rows = NULL;
	if (!row_sort_peek(sort, &account_id, &id))
		return false;
	MemoryContextReset(sort->at_context);
	old = MemoryContextSwitchTo(sort->at_context);
	row_sort_take(sort, &sort->at);
	MemoryContextSwitchTo(old);
	return row_sort_next_of(sort, &sort->at, slot);
}
