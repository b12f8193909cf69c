/*
 * statement.c
 *		Running prepared statements, for every room.
 *
 * Plans are generic and kept until the backend ends.  Each operator in a
 * statement is named with its schema, so that no search_path of a caller
 * changes what the statement means.  Callers hold an SPI connection; rows
 * belong to it and are gone after SPI_finish.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "jit/jit.h"
#include "optimizer/cost.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "statement.h"

/* The planner's settings that plans are made without. */
typedef struct PlannerSettings
{
	bool seqscan;
	bool bitmapscan;
	bool sort;
	bool hashagg;
	bool jit;
} PlannerSettings;

static PlannerSettings
planner_settings(void)
{
	PlannerSettings settings;

	settings.seqscan = enable_seqscan;
	settings.bitmapscan = enable_bitmapscan;
	settings.sort = enable_sort;
	settings.hashagg = enable_hashagg;
	settings.jit = jit_enabled;
	return settings;
}

static void
set_planner(PlannerSettings settings)
{
	enable_seqscan = settings.seqscan;
	enable_bitmapscan = settings.bitmapscan;
	enable_sort = settings.sort;
	enable_hashagg = settings.hashagg;
	jit_enabled = settings.jit;
}

/*
 * A generic plan may be made while a table is empty, when a sequential scan
 * looks as good as any; it would then be kept while the table grows.  Every
 * statement here has its index, so sequential scans are off while they are
 * planned, which may be at any execution.  Where one is needed all the same it
 * looks so dear that the plan would be compiled at each execution, for longer
 * than it runs; so that is off, too.
 *
 * A statement that is ordered gives the first rows behind a key, or gives its
 * rows one after the other: it reads them in an index's own order, because a
 * sort or a hash table would read all that are left, again in each batch.
 */
static void
set_planner_by_index(bool ordered)
{
	enable_seqscan = false;
	jit_enabled = false;
	if (ordered)
		enable_bitmapscan = enable_sort = enable_hashagg = false;
}

static int
execute_by_index(PlanStatement *statement, Datum *values, const char *nulls, bool read_only)
{
	PlannerSettings saved = planner_settings();
	int result;

	PG_TRY();
	{
		set_planner_by_index(statement->ordered);
		if (statement->latest)
			result = SPI_execute_snapshot(statement->plan, values, nulls, GetLatestSnapshot(),
										  InvalidSnapshot, true, false, 0);
		else
			result = SPI_execute_plan(statement->plan, values, nulls, read_only, 0);
	}
	PG_FINALLY();
	{
		set_planner(saved);
	}
	PG_END_TRY();
	return result;
}

/* The type memory.transcript; schema memory is the extension's own.  Error: 42704. */
Oid
statement_transcript_type(void)
{
	Oid namespace = get_namespace_oid("memory", false);
	Oid type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("transcript"),
							   ObjectIdGetDatum(namespace));

	if (!OidIsValid(type))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("type memory.transcript does not exist"),
				 errhint("Run CREATE EXTENSION memory_ext in this database.")));
	return type;
}

/* Prepares a statement for good, unless it is already. */
static void
prepare(PlanStatement *statement)
{
	MemoryContext context = CurrentMemoryContext;
	Oid types[PLAN_MAX_ARGS];
	Oid transcript = InvalidOid;

	for (int i = 0; i < statement->nargs; i++)
	{
		types[i] = statement->argtypes[i];
		if (types[i] != STATEMENT_TRANSCRIPT && types[i] != STATEMENT_TRANSCRIPT_ARRAY)
			continue;
		transcript = statement_transcript_type();
		types[i] = types[i] == STATEMENT_TRANSCRIPT ? transcript : get_array_type(transcript);
	}
	if (statement->plan != NULL && statement->transcript == transcript)
		return;
	if (statement->plan != NULL)
	{
		SPI_freeplan(statement->plan);
		statement->plan = NULL;
	}

	statement->plan =
		SPI_prepare_cursor(statement->sql, statement->nargs, types, CURSOR_OPT_GENERIC_PLAN);
	if (statement->plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", statement->sql,
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(statement->plan);
	statement->transcript = transcript;
	MemoryContextSwitchTo(context); /* SPI leaves its own behind */
}

/*
 * Runs the statement, prepared when it is new to the backend; nulls as SPI takes
 * them, or NULL.  Returns SPI_processed; rows are in SPI_tuptable until the next
 * call.
 */
uint64
plan_execute(PlanStatement *statement, Datum *values, const char *nulls, bool read_only)
{
	MemoryContext context = CurrentMemoryContext;
	int result;

	prepare(statement);

	/* SPI keeps every result until SPI_finish, which may be a million rows away */
	if (SPI_tuptable != NULL)
		SPI_freetuptable(SPI_tuptable);

	result = execute_by_index(statement, values, nulls, read_only);

	/* SPI leaves its own context behind, whose contents stay until SPI_finish */
	MemoryContextSwitchTo(context);

	if (result < 0)
		elog(ERROR, "a prepared statement failed: %s", SPI_result_code_string(result));
	return SPI_processed;
}

/* A column, counted from 1, of a row of SPI_tuptable. */
Datum
plan_column(uint64 row, int column, bool *isnull)
{
	Assert(row < SPI_tuptable->numvals);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

char *
plan_string(uint64 row, int column)
{
	bool isnull;
	Datum value = plan_column(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

int64
plan_int64(uint64 row, int column)
{
	bool isnull;
	Datum value = plan_column(row, column, &isnull);

	Assert(!isnull);
	return DatumGetInt64(value);
}

/*
 * A cursor on the statement, under the caller's snapshot; it lives to the
 * transaction's end.  It is to give its first rows at once and to need no memory
 * for the others, so it is planned as one that is ordered.
 */
Portal
plan_open(PlanStatement *statement, Datum *values, const char *nulls)
{
	PlannerSettings saved = planner_settings();
	MemoryContext context = CurrentMemoryContext;
	Portal portal;

	prepare(statement);
	PG_TRY();
	{
		set_planner_by_index(true);
		portal = SPI_cursor_open(NULL, statement->plan, values, nulls, true);
	}
	PG_FINALLY();
	{
		set_planner(saved);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context); /* SPI leaves its own behind */
	return portal;
}
