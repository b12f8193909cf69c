/*
 * job_table.c
 *		The rows of memory_store.jobs and job_parts: every statement on them that
 *		a job makes.  job.h says how cursor and claims fit together.
 *
 * Locks: a claim locks the cursor's row only, and for as long as it takes to
 * read a batch; a worker's own row is written by nobody else.  The job's row is
 * written when it begins and ends.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "job.h"
#include "statement.h"

#define EQUAL " OPERATOR(pg_catalog.=) "

static PlanStatement insert_job =
	{"WITH j AS (INSERT INTO memory_store.jobs (kind, source, format, account_id, target, options,"
	 " state, workers, total_bytes, started_by, created_at)"
	 " VALUES ($1, $2, $3, $4, $5, $6, 'queued', $7, $8, $9, $10) RETURNING job_id)"
	 " INSERT INTO memory_store.job_parts (job_id, part, state, updated_at)"
	 " SELECT job_id, 0, 'queued', $10 FROM j RETURNING job_id",
	 10,
	 {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, INT4OID, INT8OID, TEXTOID,
	  TIMESTAMPTZOID},
	 NULL};

static PlanStatement read_job =
	{"SELECT kind, source, format, account_id, target, state, started_by, cancel_requested,"
	 " total_bytes, options, options OPERATOR(pg_catalog.->>) 'batch_size',"
	 " options OPERATOR(pg_catalog.->>) 'on_error', options OPERATOR(pg_catalog.->>) 'confined',"
	 " options OPERATOR(pg_catalog.->>) 'settings',"
	 " (options OPERATOR(pg_catalog.->>) 'last_row')::pg_catalog.int8,"
	 " options OPERATOR(pg_catalog.->>) 'since', options OPERATOR(pg_catalog.->>) 'columns',"
	 " options OPERATOR(pg_catalog.->>) 'on_conflict'"
	 " FROM memory_store.jobs WHERE job_id" EQUAL "$1",
	 1,
	 {INT8OID},
	 NULL};

/* A part that nobody has, or a new one; the cursor's row lets one at a time do this. */
static PlanStatement lock_part_0 = {"SELECT part FROM memory_store.job_parts WHERE job_id" EQUAL
									"$1 AND part" EQUAL "0 FOR UPDATE",
									1,
									{INT8OID},
									NULL};

static PlanStatement take_part =
	{"WITH free AS (SELECT COALESCE(pg_catalog.min(part) FILTER (WHERE state" EQUAL "'queued'),"
	 " pg_catalog.max(part) OPERATOR(pg_catalog.+) 1) AS part"
	 " FROM (SELECT part, CASE WHEN part" EQUAL "0 THEN 'cursor' ELSE state END AS state"
	 " FROM memory_store.job_parts WHERE job_id" EQUAL "$1) p)"
	 " INSERT INTO memory_store.job_parts AS p (job_id, part, state, pid, updated_at)"
	 " SELECT $1, part, 'running', $2, $3 FROM free"
	 " ON CONFLICT (job_id, part) DO UPDATE SET state = 'running', pid = excluded.pid,"
	 " updated_at = excluded.updated_at RETURNING part",
	 3,
	 {INT8OID, INT4OID, TIMESTAMPTZOID},
	 NULL};

static PlanStatement begin_job =
	{"UPDATE memory_store.jobs SET state = 'running', started_at = COALESCE(started_at, $2)"
	 " WHERE job_id" EQUAL "$1 AND state OPERATOR(pg_catalog.<>) 'running'",
	 2,
	 {INT8OID, TIMESTAMPTZOID},
	 NULL};

#define CHECKPOINT(key, type) "(p.checkpoint OPERATOR(pg_catalog.->>) '" key "')::pg_catalog." type
#define NEXT(key, type) ", " CHECKPOINT(key, type)
#define MARK(prefix)                                                                               \
	CHECKPOINT(prefix "offset", "int8")                                                            \
	NEXT(prefix "line", "int8")                                                                    \
	NEXT(prefix "documents", "int8")                                                               \
	NEXT(prefix "array", "bool")                                                                   \
	NEXT(prefix "value", "bool")                                                                   \
	NEXT(prefix "lines", "bool")                                                                   \
	NEXT(prefix "column", "int4")                                                                  \
	NEXT(prefix "indent", "int4") NEXT(prefix "row", "int8") NEXT(prefix "skip", "int8")

static PlanStatement lock_cursor =
	{"SELECT j.state" EQUAL "'running' AND NOT j.cancel_requested, p.checkpoint IS NOT NULL,"
	 " p.state" EQUAL "'finished', " MARK(
		 "to_") " FROM memory_store.job_parts p JOIN memory_store.jobs j ON j.job_id" EQUAL
				"p.job_id"
				" WHERE p.job_id" EQUAL "$1 AND p.part" EQUAL "0 FOR UPDATE OF p",
	 1,
	 {INT8OID},
	 NULL};

static PlanStatement write_part =
	{"UPDATE memory_store.job_parts SET checkpoint = $3, state = $4, updated_at = $5"
	 " WHERE job_id" EQUAL "$1 AND part" EQUAL "$2",
	 5,
	 {INT8OID, INT4OID, JSONBOID, TEXTOID, TIMESTAMPTZOID},
	 NULL};

/* A claim whose worker is gone. */
static PlanStatement find_orphan =
	{"SELECT p.part, " MARK("from_") ", " MARK(
		 "to_") ", " CHECKPOINT("end", "bool") " FROM memory_store.job_parts p WHERE p.job_id" EQUAL
											   "$1 AND p.part OPERATOR(pg_catalog.>) 0"
											   " AND p.checkpoint IS NOT NULL AND (p.state" EQUAL
											   "'queued' OR p.part" EQUAL "$2)"
											   " ORDER BY " CHECKPOINT("from_offset",
																	   "int8") " LIMIT 1",
	 2,
	 {INT8OID, INT4OID},
	 NULL};

/* A worker's own part may have a claim too, from before: it is left in the other's place. */
static PlanStatement give_claim =
	{"UPDATE memory_store.job_parts p SET checkpoint = own.checkpoint, state ="
	 " CASE WHEN own.checkpoint IS NULL THEN 'finished' ELSE 'queued' END"
	 " FROM memory_store.job_parts own WHERE p.job_id" EQUAL "$1 AND p.part" EQUAL
	 "$2 AND own.job_id" EQUAL "$1 AND own.part" EQUAL "$3",
	 3,
	 {INT8OID, INT4OID, INT4OID},
	 NULL};

static PlanStatement find_earlier =
	{"SELECT p.pid FROM memory_store.job_parts p WHERE p.job_id" EQUAL "$1"
	 " AND p.part OPERATOR(pg_catalog.>) 0 AND p.part OPERATOR(pg_catalog.<>) $2"
	 " AND " CHECKPOINT("from_offset", "int8") " OPERATOR(pg_catalog.<) $3 LIMIT 1",
	 3,
	 {INT8OID, INT4OID, INT8OID},
	 NULL};

#define ADD(column, n) #column " = " #column " OPERATOR(pg_catalog.+) " n
static PlanStatement add_counts = {
	"UPDATE memory_store.job_parts SET checkpoint = NULL, updated_at = $3, " ADD(bytes, "$4") ", " ADD(
		documents,
		"$5") ", " ADD(imported,
					   "$6") ", " ADD(extended,
									  "$7") ", " ADD(unchanged,
													 "$8") ", " ADD(rejected,
																	"$9") ", " ADD(messages,
																				   "$10") " WHERE job_id" EQUAL
																						  "$1 AND part" EQUAL
																						  "$2",
	10,
	{INT8OID, INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
	 INT8OID},
	NULL};

static PlanStatement leave_part =
	{"UPDATE memory_store.job_parts SET state = $3, pid = NULL, updated_at = $4"
	 " WHERE job_id" EQUAL "$1 AND part" EQUAL "$2",
	 4,
	 {INT8OID, INT4OID, TEXTOID, TIMESTAMPTZOID},
	 NULL};

/* The last worker to leave ends the job. */
static PlanStatement end_job =
	{"UPDATE memory_store.jobs SET state = $2, finished_at = $3 WHERE job_id" EQUAL
	 "$1 AND state" EQUAL "'running' AND NOT EXISTS (SELECT FROM memory_store.job_parts p"
	 " WHERE p.job_id" EQUAL "$1 AND p.part OPERATOR(pg_catalog.>) 0"
	 " AND (p.state" EQUAL "'running' OR $2" EQUAL "'finished' AND p.checkpoint IS NOT NULL))",
	 3,
	 {INT8OID, TEXTOID, TIMESTAMPTZOID},
	 NULL};

static PlanStatement fail_job =
	{"UPDATE memory_store.jobs SET state = 'failed', sqlstate = $2, error = $3, finished_at = $4"
	 " WHERE job_id" EQUAL "$1 AND state" EQUAL "'running'",
	 4,
	 {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID},
	 NULL};

static PlanStatement cancel_job = {"UPDATE memory_store.jobs SET cancel_requested = true,"
								   " state = CASE WHEN $2 THEN 'cancelled' ELSE state END,"
								   " finished_at = CASE WHEN $2 THEN $3 ELSE finished_at END"
								   " WHERE job_id" EQUAL "$1 AND state" EQUAL
								   "ANY ('{queued,running}')",
								   3,
								   {INT8OID, BOOLOID, TIMESTAMPTZOID},
								   NULL};

static PlanStatement reopen_job =
	{"WITH p AS (UPDATE memory_store.job_parts SET state = 'queued', pid = NULL"
	 " WHERE job_id" EQUAL "$1 AND part OPERATOR(pg_catalog.>) 0)"
	 " UPDATE memory_store.jobs SET state = 'queued', cancel_requested = false,"
	 " workers = CASE WHEN $2 OPERATOR(pg_catalog.>) 0 THEN $2 ELSE workers END,"
	 " sqlstate = NULL, error = NULL, finished_at = NULL"
	 " WHERE job_id" EQUAL "$1 AND state OPERATOR(pg_catalog.<>) 'finished' RETURNING workers",
	 2,
	 {INT8OID, INT4OID},
	 NULL};

/* ---------- values ---------- */

static Datum
column(int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, isnull);
}

/* A text column, in the caller's context; NULL for NULL. */
static char *
text_column(int number)
{
	bool isnull;
	Datum value = column(number, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static int64
int_column(int number)
{
	bool isnull;
	Datum value = column(number, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

static bool
bool_column(int number)
{
	bool isnull;
	Datum value = column(number, &isnull);

	return !isnull && DatumGetBool(value);
}

/* MARK_COLUMNS columns from number on, as MARK has them. */
#define MARK_COLUMNS 10
static void
mark_columns(int number, SplitterMark *mark, int64 *row, int64 *skip)
{
	bool isnull;
	Datum value;

	mark->offset = (uint64) int_column(number);
	mark->line = (uint64) int_column(number + 1);
	mark->documents = (uint64) int_column(number + 2);
	mark->in_array = bool_column(number + 3);
	mark->value_next = bool_column(number + 4);
	mark->lines = bool_column(number + 5);
	value = column(number + 6, &isnull);
	mark->column = isnull ? -1 : DatumGetInt32(value);
	value = column(number + 7, &isnull);
	mark->indent = isnull ? 0 : DatumGetInt32(value);
	*row = int_column(number + 8);
	*skip = int_column(number + 9);
}

static void
append_mark(StringInfo out, const char *prefix, const SplitterMark *mark, int64 row, int64 skip)
{
	appendStringInfo(
		out,
		"\"%soffset\": " UINT64_FORMAT ", \"%sline\": " UINT64_FORMAT
		", \"%sdocuments\": " UINT64_FORMAT ", \"%sarray\": %s, \"%svalue\": %s,"
		" \"%slines\": %s, \"%scolumn\": %d, \"%sindent\": %d, \"%srow\": " INT64_FORMAT
		", \"%sskip\": " INT64_FORMAT,
		prefix, mark->offset, prefix, mark->line, prefix, mark->documents, prefix,
		mark->in_array ? "true" : "false", prefix, mark->value_next ? "true" : "false", prefix,
		mark->lines ? "true" : "false", prefix, mark->column, prefix, mark->indent, prefix, row,
		prefix, skip);
}

static Datum
claim_jsonb(const JobClaim *claim)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	append_mark(&out, "from_", &claim->from, claim->from_row, claim->from_skip);
	appendStringInfoString(&out, ", ");
	append_mark(&out, "to_", &claim->to, claim->to_row, claim->to_skip);
	appendStringInfo(&out, ", \"end\": %s}", claim->end ? "true" : "false");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
}

/* ---------- the job ---------- */

/* Returns its id. */
int64
job_create(const Job *job, int32 workers)
{
	Datum values[10];
	char nulls[11] = "          ";
	bool isnull;

	values[0] = CStringGetTextDatum(job->kind);
	values[1] = CStringGetTextDatum(job->source);
	values[2] = CStringGetTextDatum(job->format);
	values[3] = PointerGetDatum(job->account_id);
	nulls[3] = job->account_id == NULL ? 'n' : ' ';
	values[4] = CStringGetTextDatum(job->target);
	values[5] = job->options;
	values[6] = Int32GetDatum(workers);
	values[7] = Int64GetDatum(job->total_bytes);
	nulls[7] = job->total_bytes < 0 ? 'n' : ' ';
	values[8] = CStringGetTextDatum(job->role);
	values[9] = TimestampTzGetDatum(GetCurrentTimestamp());
	plan_execute(&insert_job, values, nulls, false);
	return DatumGetInt64(column(1, &isnull));
}

/* False: there is no such job. */
bool
job_read(int64 job_id, Job *job)
{
	Datum values[1] = {Int64GetDatum(job_id)};
	bool isnull;
	Datum value;
	char *batch_size;
	char *on_error;

	if (plan_execute(&read_job, values, NULL, false) == 0)
		return false;
	memset(job, 0, sizeof(*job));
	job->id = job_id;
	job->kind = text_column(1);
	job->source = text_column(2);
	job->format = text_column(3);
	value = column(4, &isnull);
	job->account_id = isnull ? NULL : DatumGetTextPCopy(value);
	job->target = text_column(5);
	job->state = text_column(6);
	job->role = text_column(7);
	job->cancel_requested = bool_column(8);
	value = column(9, &isnull);
	job->total_bytes = isnull ? -1 : DatumGetInt64(value);
	job->options = PointerGetDatum(DatumGetJsonbPCopy(column(10, &isnull)));
	batch_size = text_column(11);
	job->batch_size = batch_size != NULL ? pg_strtoint32(batch_size) : 1000;
	on_error = text_column(12);
	job->skip = on_error != NULL && strcmp(on_error, "skip") == 0;
	job->confined = text_column(13);
	job->settings = text_column(14);
	job->last_row = int_column(15);
	job->since = text_column(16);
	job->columns = text_column(17);
	job->on_conflict = text_column(18);
	return true;
}

/* A worker takes a part of the job.  False: the job is not to be worked on. */
bool
job_take_part(Job *job)
{
	Datum values[3];
	bool isnull;

	values[0] = Int64GetDatum(job->id);
	if (plan_execute(&lock_part_0, values, NULL, false) == 0 || job->cancel_requested ||
		(strcmp(job->state, "queued") != 0 && strcmp(job->state, "running") != 0))
		return false;
	values[1] = Int32GetDatum(MyProcPid);
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	plan_execute(&take_part, values, NULL, false);
	job->part = DatumGetInt32(column(1, &isnull));
	values[1] = values[2];
	plan_execute(&begin_job, values, NULL, false);
	return true;
}

/*
 * Locks the cursor until the transaction ends.  False: nothing is left, or
 * nobody is to go on.
 */
bool
job_lock_cursor(const Job *job, JobClaim *cursor)
{
	Datum values[1] = {Int64GetDatum(job->id)};

	memset(cursor, 0, sizeof(*cursor));
	cursor->to.line = 1;
	cursor->to.column = -1;
	if (plan_execute(&lock_cursor, values, NULL, false) == 0 || !bool_column(1))
		return false;
	if (bool_column(2))
		mark_columns(4, &cursor->to, &cursor->to_row, &cursor->to_skip);
	cursor->end = bool_column(3);
	return true;
}

static void
write_checkpoint(const Job *job, int32 part, const JobClaim *claim, const char *state)
{
	Datum values[5];

	values[0] = Int64GetDatum(job->id);
	values[1] = Int32GetDatum(part);
	values[2] = claim_jsonb(claim);
	values[3] = CStringGetTextDatum(state);
	values[4] = TimestampTzGetDatum(GetCurrentTimestamp());
	plan_execute(&write_part, values, NULL, false);
}

/* The cursor goes to the claim's end. */
void
job_move_cursor(const Job *job, const JobClaim *claim)
{
	write_checkpoint(job, 0, claim, claim->end ? "finished" : "running");
}

/*
 * The claim of another part is taken over: that part gets the one that this
 * worker's has, if any, for whoever comes next.  The cursor is locked.
 */
void
job_give_claim(const Job *job, int32 part)
{
	Datum values[3];

	if (part == job->part)
		return;
	values[0] = Int64GetDatum(job->id);
	values[1] = Int32GetDatum(part);
	values[2] = Int32GetDatum(job->part);
	plan_execute(&give_claim, values, NULL, false);
}

/* Takes over a claim whose worker is gone; the cursor is locked. */
bool
job_adopt(const Job *job, JobClaim *claim)
{
	Datum values[2];
	bool isnull;
	int32 part;

	values[0] = Int64GetDatum(job->id);
	values[1] = Int32GetDatum(job->part);
	if (plan_execute(&find_orphan, values, NULL, false) == 0)
		return false;
	part = DatumGetInt32(column(1, &isnull));
	mark_columns(2, &claim->from, &claim->from_row, &claim->from_skip);
	mark_columns(2 + MARK_COLUMNS, &claim->to, &claim->to_row, &claim->to_skip);
	claim->end = bool_column(2 + 2 * MARK_COLUMNS);
	job_give_claim(job, part);
	return true;
}

void
job_claim(const Job *job, const JobClaim *claim)
{
	write_checkpoint(job, job->part, claim, "running");
}

/* Whether a batch before this one is still claimed, and by which process. */
bool
job_earlier_claim(const Job *job, const JobClaim *claim, int32 *pid)
{
	Datum values[3];
	bool found;
	bool isnull;

	values[0] = Int64GetDatum(job->id);
	values[1] = Int32GetDatum(job->part);
	values[2] = Int64GetDatum((int64) claim->from.offset);
	found = plan_execute(&find_earlier, values, NULL, false) > 0;
	if (found)
		*pid = DatumGetInt32(column(1, &isnull));
	/* this is asked again and again */
	SPI_freetuptable(SPI_tuptable);
	SPI_tuptable = NULL;
	return found;
}

/* The claimed batch is done; in the transaction of its rows. */
void
job_done(const Job *job, const ImportCounts *counts)
{
	Datum values[10];

	values[0] = Int64GetDatum(job->id);
	values[1] = Int32GetDatum(job->part);
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[3] = Int64GetDatum(counts->bytes);
	values[4] = Int64GetDatum(counts->documents);
	values[5] = Int64GetDatum(counts->imported);
	values[6] = Int64GetDatum(counts->extended);
	values[7] = Int64GetDatum(counts->unchanged);
	values[8] = Int64GetDatum(counts->rejected);
	values[9] = Int64GetDatum(counts->messages);
	plan_execute(&add_counts, values, NULL, false);
}

/* A worker goes: nothing is left for it, or it is told to. */
void
job_leave_part(const Job *job, const char *state)
{
	Datum values[4];

	values[0] = Int64GetDatum(job->id);
	plan_execute(&lock_part_0, values, NULL, false);
	values[1] = Int32GetDatum(job->part);
	values[2] = CStringGetTextDatum(state);
	values[3] = TimestampTzGetDatum(GetCurrentTimestamp());
	plan_execute(&leave_part, values, NULL, false);
	values[1] = values[2];
	values[2] = values[3];
	plan_execute(&end_job, values, NULL, false);
}

/* An error ends the job; the claim stays, for who resumes it. */
void
job_fail(int64 job_id, int32 part, const char *sqlstate, const char *message)
{
	Datum values[4];

	values[0] = Int64GetDatum(job_id);
	values[1] = Int32GetDatum(part);
	values[2] = CStringGetTextDatum("failed");
	values[3] = TimestampTzGetDatum(GetCurrentTimestamp());
	if (part > 0)
		plan_execute(&leave_part, values, NULL, false);
	values[1] = CStringGetTextDatum(sqlstate);
	values[2] = CStringGetTextDatum(message);
	plan_execute(&fail_job, values, NULL, false);
}

/* idle: nobody works on it.  False: it has ended already. */
bool
job_cancel(int64 job_id, bool idle)
{
	Datum values[3];

	values[0] = Int64GetDatum(job_id);
	values[1] = BoolGetDatum(idle);
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	return plan_execute(&cancel_job, values, NULL, false) > 0;
}

/*
 * For workers to go on; nobody works on it.  *workers 0 becomes as many as
 * before.  False: it is finished.
 */
bool
job_reopen(int64 job_id, int32 *workers)
{
	Datum values[2];
	bool isnull;

	values[0] = Int64GetDatum(job_id);
	values[1] = Int32GetDatum(*workers);
	if (plan_execute(&reopen_job, values, NULL, false) == 0)
		return false;
	*workers = DatumGetInt32(column(1, &isnull));
	return true;
}

void
job_set_options(int64 job_id, const char *on_error, const char *on_conflict)
{
	static PlanStatement set =
		{"UPDATE memory_store.jobs SET options = options OPERATOR(pg_catalog.||)"
		 " pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('on_error', $2,"
		 " 'on_conflict', $3)) WHERE job_id" EQUAL "$1",
		 3,
		 {INT8OID, TEXTOID, TEXTOID},
		 NULL};
	Datum values[3] = {Int64GetDatum(job_id)};
	char nulls[] = "   ";

	nulls[1] = on_error == NULL ? 'n' : ' ';
	nulls[2] = on_conflict == NULL ? 'n' : ' ';
	if (on_error != NULL)
		values[1] = CStringGetTextDatum(on_error);
	if (on_conflict != NULL)
		values[2] = CStringGetTextDatum(on_conflict);
	plan_execute(&set, values, nulls, false);
}

/* What a finished import of rows has kept of their places. */
void
job_clear_places(int64 job_id)
{
	static PlanStatement clear = {"DELETE FROM memory_store.job_places WHERE job_id" EQUAL "$1",
								  1,
								  {INT8OID},
								  NULL};
	Datum values[1] = {Int64GetDatum(job_id)};

	plan_execute(&clear, values, NULL, false);
}
