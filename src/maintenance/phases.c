/*
 * phases.c
 *		The phases of maintenance, batch by batch.
 *
 * memory_store.maintenance_phases names a function of SQL for each phase; a call
 * of memory.maintain_step runs it once, for one batch, and says where to go on.
 * memory.maintain() and the background worker are loops around it that commit.
 *
 * The phase's row is written in the batch's own transaction, as its last lock, and
 * only by batches that did something: so others see how far it has come, and an
 * idle run writes each row once.  Two runs at a time take turns at it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "account.h"
#include "compat.h"
#include "phases.h"
#include "sql_text.h"

/* How often a run by hand says how far a phase has come. */
#define SECONDS_BETWEEN_MESSAGES 5

PhasePause phase_pause = NULL;
PhaseNextRun phase_next_run = NULL;
bool phase_begins_durably = false;

/* How far this session's phase has come, and when that was said. */
static int64 phase_done = 0;
static TimestampTz phase_said_at = 0;

/* What the row of a phase says, in the calling function's memory context. */
typedef struct Phase
{
	char *name;
	char *step;
	char *message; /* NULL: none */
	char *backlog; /* NULL: not known beforehand */
} Phase;

/* Runs a statement of a text and an integer at most; returns how many rows it gave. */
static uint64
run(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "a statement of maintenance failed: %s", sql);
	return SPI_processed;
}

static char *
column(int n)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, n);
}

/* The phase of that name, or the first one behind it; false: there is none. */
static bool
read_phase(const char *name, bool next, Phase *phase)
{
	Oid types[1] = {TEXTOID};
	Datum values[1] = {name != NULL ? CStringGetTextDatum(name) : (Datum) 0};
	/* clang-format off */
	const char *sql = next
		? "SELECT p.phase, p.step, p.message, p.backlog"
		  " FROM memory_store.maintenance_phases p"
		  " WHERE p.position" OP(>) "COALESCE((SELECT q.position"
		  " FROM memory_store.maintenance_phases q WHERE q.phase" OP(=) "$1), 0)"
		  " ORDER BY p.position LIMIT 1"
		: "SELECT p.phase, p.step, p.message, p.backlog"
		  " FROM memory_store.maintenance_phases p"
		  " WHERE p.phase" OP(=) "$1";
	/* clang-format on */

	if (run(sql, 1, types, values, name != NULL ? NULL : "n") == 0)
		return false;
	phase->name = column(1);
	phase->step = column(2);
	phase->message = column(3);
	phase->backlog = column(4);
	return true;
}

static void
begin_phase(const Phase *phase)
{
	Oid types[3] = {TEXTOID, BOOLOID, INT4OID};
	Datum values[3] = {CStringGetTextDatum(phase->name), BoolGetDatum(phase_pause != NULL),
					   Int32GetDatum(MyProcPid)};
	const char *backlog = phase->backlog == NULL
							  ? "NULL"
							  : psprintf("memory_store.%s()", quote_identifier(phase->backlog));

	phase_done = 0;
	phase_said_at = GetCurrentTimestamp();
	/* clang-format off */
	run(psprintf("UPDATE memory_store.maintenance_phases"
				 " SET by_worker = $2, pid = $3, started_at = pg_catalog.clock_timestamp(),"
				 " updated_at = pg_catalog.clock_timestamp(), finished_at = NULL, done = 0,"
				 " total = %s"
				 " WHERE phase" OP(=) "$1",
				 backlog),
		3, types, values, NULL);
	/* clang-format on */
	if (phase_begins_durably)
		ForceSyncCommit();
}

static void
note_progress(const Phase *phase, bool over)
{
	Oid types[3] = {TEXTOID, INT8OID, BOOLOID};
	Datum values[3] = {CStringGetTextDatum(phase->name), Int64GetDatum(phase_done),
					   BoolGetDatum(over)};

	/* clang-format off */
	run("UPDATE memory_store.maintenance_phases"
		" SET done = $2, updated_at = pg_catalog.clock_timestamp(),"
		" pid = CASE WHEN $3 THEN NULL ELSE pid END,"
		" finished_at = CASE WHEN $3 THEN pg_catalog.clock_timestamp() END,"
		" failures = CASE WHEN $3 THEN 0 ELSE failures END,"
		" retry_at = CASE WHEN $3 THEN NULL ELSE retry_at END"
		" WHERE phase" OP(=) "$1",
		3, types, values, NULL);
	/* clang-format on */
}

/* A run by hand says what was done: at the end of a phase, and now and then before. */
static void
say_progress(const Phase *phase, const char *message, bool over)
{
	if (message != NULL)
		ereport(INFO, (errmsg("%s", message)));
	if (over && phase_done > 0 && phase->message != NULL)
	{
		char *number = psprintf(INT64_FORMAT, phase_done);
		char *sign = strchr(phase->message, '%');

		if (sign == NULL)
			ereport(INFO, (errmsg("%s", phase->message)));
		else
			ereport(INFO, (errmsg("%.*s%s%s", (int) (sign - phase->message), phase->message, number,
								  sign + 1)));
	}
	else if (!over && TimestampDifferenceExceeds(phase_said_at, GetCurrentTimestamp(),
												 SECONDS_BETWEEN_MESSAGES * 1000))
	{
		ereport(INFO, (errmsg("%s: " INT64_FORMAT " so far", phase->name, phase_done)));
		phase_said_at = GetCurrentTimestamp();
	}
}

/* One batch; returns the place of the next one, NULL: the phase is over. */
static char *
run_step(const Phase *phase, const char *place, Datum batch_size, bool no_limit, int64 *done)
{
	Oid types[2] = {TEXTOID, INT4OID};
	Datum values[2] = {place != NULL ? CStringGetTextDatum(place) : (Datum) 0, batch_size};
	char nulls[3] = {place != NULL ? ' ' : 'n', no_limit ? 'n' : ' ', '\0'};
	char *next;
	bool isnull;

	if (phase_pause != NULL)
		phase_pause(phase->name, phase_done);
	if (run(psprintf("SELECT place, done, message FROM memory_store.%s($1, $2)",
					 quote_identifier(phase->step)),
			2, types, values, nulls) != 1)
		elog(ERROR, "memory_store.%s returned no row", phase->step);
	next = column(1);
	*done = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	if (isnull)
		*done = 0;
	phase_done += *done;
	say_progress(phase, column(3), next == NULL);
	return next;
}

/* The errors of a call by hand. */
static void
check_arguments(FunctionCallInfo fcinfo)
{
	if (!PG_ARGISNULL(2) && PG_GETARG_INT32(2) < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("batch_size must be positive, it is %d", PG_GETARG_INT32(2)),
						errhint("NULL is no limit.")));
	account_check_unconfined();
}

static void
refuse_phase(const char *name)
{
	run("SELECT pg_catalog.string_agg(phase, ', ' ORDER BY position) FROM"
		" memory_store.maintenance_phases",
		0, NULL, NULL, NULL);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("there is no phase \"%s\" of maintenance", name),
					errhint("The phases are: %s.", column(1))));
}

PG_FUNCTION_INFO_V1(memory_maintain_step);

/*
 * memory_maintain_step(phase text, place text, batch_size integer, only_phase text)
 *		→ (phase text, place text, done bigint)
 *		One batch of maintenance.  phase NULL begins: with only_phase, or with the
 *		first one.  batch_size NULL: no limit.  Returns with what to call it next,
 *		after a commit, phase NULL: nothing is left; and how many items the batch
 *		did.  Errors: 22023 no such phase, batch_size below 1; 42501 the session
 *		is confined; those of the phases.
 */
Datum
memory_maintain_step(PG_FUNCTION_ARGS)
{
	char *only = PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3));
	char *name = PG_ARGISNULL(0) ? only : text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *place = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	MemoryContext caller = CurrentMemoryContext;
	TupleDesc descriptor;
	Datum values[3] = {0};
	bool nulls[3] = {true, true, false};
	int64 done = 0;
	Phase phase;

	check_arguments(fcinfo);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "memory.maintain_step returns no record");
	SPI_connect();
	if (!read_phase(name, name == NULL, &phase))
		refuse_phase(name);
	if (PG_ARGISNULL(0))
		begin_phase(&phase);
	else
	{
		place = run_step(&phase, place, PG_GETARG_DATUM(2), PG_ARGISNULL(2), &done);
		if (done > 0 || place == NULL)
			note_progress(&phase, place == NULL);
		if (place == NULL && (only != NULL || !read_phase(phase.name, true, &phase)))
			phase.name = NULL;
		else if (place == NULL)
			begin_phase(&phase);
	}
	MemoryContextSwitchTo(caller);
	if (phase.name != NULL)
		values[0] = CStringGetTextDatum(phase.name);
	if (place != NULL)
		values[1] = CStringGetTextDatum(place);
	values[2] = Int64GetDatum(done);
	nulls[0] = phase.name == NULL;
	nulls[1] = place == NULL;
	SPI_finish();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

PG_FUNCTION_INFO_V1(memory_phase_is_running);

/*
 * memory_phase_is_running(pid integer, started_at timestamptz) → boolean
 *		Whether the process is in a statement that it began before that time: a
 *		run that was cancelled has left its row as it was.
 */
Datum
memory_phase_is_running(PG_FUNCTION_ARGS)
{
	int pid = PG_GETARG_INT32(0);
	int count = pgstat_fetch_stat_numbackends();

	for (int i = 1; i <= count; i++)
	{
		PgBackendStatus *entry = compat_backend_status(i);

		if (entry != NULL && entry->st_procpid == pid)
			PG_RETURN_BOOL(entry->st_state == STATE_RUNNING &&
						   entry->st_activity_start_timestamp <= PG_GETARG_TIMESTAMPTZ(1));
	}
	PG_RETURN_BOOL(false);
}

PG_FUNCTION_INFO_V1(memory_phase_next_run);

/*
 * memory_phase_next_run() → timestamptz
 *		When a worker begins with this database next; NULL: none does, since
 *		memory_ext is not preloaded, memory_ext.worker is off, or the database is
 *		not one of memory_ext.worker_databases.
 */
Datum
memory_phase_next_run(PG_FUNCTION_ARGS)
{
	TimestampTz next = phase_next_run != NULL ? phase_next_run() : DT_NOEND;

	if (next == DT_NOEND)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(next);
}
