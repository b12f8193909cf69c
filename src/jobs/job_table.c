/*
 * job_table.c
 *		The rows of memory_store.jobs and job_parts: every statement on them that
 *		a job makes.  job.h says how cursor and claims fit together.
 *
 * Each statement stands before the function that runs it; the names of its
 * parameters and columns, if there are several, are those of an enum.
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
#include "sql_text.h"
#include "statement.h"

/* ---------- checkpoints ---------- */

/* What a part's checkpoint, an object, has under a key. */
#define CHECKPOINT(key, type) "(p.checkpoint" OP(->>) "'" key "')::pg_catalog." type

/* A place in the input, as mark_columns reads it: MARK_COLUMNS columns. */
/* clang-format off */
#define MARK_COLUMNS 10
#define MARK(prefix) \
	CHECKPOINT(prefix "offset", "int8") ", " \
	CHECKPOINT(prefix "line", "int8") ", " \
	CHECKPOINT(prefix "documents", "int8") ", " \
	CHECKPOINT(prefix "array", "bool") ", " \
	CHECKPOINT(prefix "value", "bool") ", " \
	CHECKPOINT(prefix "lines", "bool") ", " \
	CHECKPOINT(prefix "column", "int4") ", " \
	CHECKPOINT(prefix "indent", "int4") ", " \
	CHECKPOINT(prefix "row", "int8") ", " \
	CHECKPOINT(prefix "skip", "int8")
/* clang-format on */

/* A column of the statement's only row, in SPI's memory. */
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

/* The columns from number on, as MARK has them. */
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

/* clang-format off */
enum
{
	INSERT_KIND, INSERT_SOURCE, INSERT_FORMAT, INSERT_ACCOUNT, INSERT_TARGET, INSERT_OPTIONS,
	INSERT_WORKERS, INSERT_TOTAL_BYTES, INSERT_ROLE, INSERT_NOW, INSERT_PARAMETERS
};
static PlanStatement insert_job = {
	"WITH j AS ("
	"   INSERT INTO memory_store.jobs (kind, source, format, account_id, target, options,"
	"       state, workers, total_bytes, started_by, created_at)"
	"   VALUES ($1, $2, $3, $4, $5, $6, 'queued', $7, $8, $9, $10)"
	"   RETURNING job_id)"
	" INSERT INTO memory_store.job_parts (job_id, part, state, updated_at)"
	" SELECT job_id, 0, 'queued', $10 FROM j"
	" RETURNING job_id",
	INSERT_PARAMETERS,
	{TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID,
	 INT4OID, INT8OID, OIDOID, TIMESTAMPTZOID}};
/* clang-format on */

/* Makes a job's row, and that of its cursor; returns its id. */
int64
job_create(const Job *job, int32 workers)
{
	Datum values[INSERT_PARAMETERS];
	char nulls[INSERT_PARAMETERS];
	bool isnull;

	memset(nulls, ' ', sizeof(nulls));
	values[INSERT_KIND] = CStringGetTextDatum(job->kind);
	values[INSERT_SOURCE] = CStringGetTextDatum(job->source);
	values[INSERT_FORMAT] = CStringGetTextDatum(job->format);
	values[INSERT_ACCOUNT] = PointerGetDatum(job->account_id);
	nulls[INSERT_ACCOUNT] = job->account_id == NULL ? 'n' : ' ';
	values[INSERT_TARGET] = CStringGetTextDatum(job->target);
	values[INSERT_OPTIONS] = job->options;
	values[INSERT_WORKERS] = Int32GetDatum(workers);
	values[INSERT_TOTAL_BYTES] = Int64GetDatum(job->total_bytes);
	nulls[INSERT_TOTAL_BYTES] = job->total_bytes < 0 ? 'n' : ' ';
	values[INSERT_ROLE] = ObjectIdGetDatum(job->role);
	values[INSERT_NOW] = TimestampTzGetDatum(GetCurrentTimestamp());
	plan_execute(&insert_job, values, nulls, false);
	return DatumGetInt64(column(1, &isnull));
}

/* clang-format off */
enum
{
	READ_KIND = 1, READ_SOURCE, READ_FORMAT, READ_ACCOUNT, READ_TARGET, READ_STATE, READ_ROLE,
	READ_CANCEL_REQUESTED, READ_TOTAL_BYTES, READ_OPTIONS, READ_BATCH_SIZE, READ_ON_ERROR,
	READ_CONFINED, READ_SETTINGS, READ_LAST_ROW, READ_SINCE, READ_COLUMNS, READ_ON_CONFLICT
};
static PlanStatement read_job = {
	"SELECT kind, source, format, account_id, target, state, started_by,"
	"       cancel_requested, total_bytes, options,"
	"       options" OP(->>) "'batch_size',"
	"       options" OP(->>) "'on_error',"
	"       options" OP(->>) "'confined',"
	"       options" OP(->>) "'settings',"
	"       (options" OP(->>) "'last_row')::pg_catalog.int8,"
	"       options" OP(->>) "'since',"
	"       options" OP(->>) "'columns',"
	"       options" OP(->>) "'on_conflict'"
	" FROM memory_store.jobs"
	" WHERE job_id" OP(=) "$1",
	1, {INT8OID}};
/* clang-format on */

/* Reads a job's row, in the current context.  False: there is no such job. */
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
	job->kind = text_column(READ_KIND);
	job->source = text_column(READ_SOURCE);
	job->format = text_column(READ_FORMAT);
	value = column(READ_ACCOUNT, &isnull);
	job->account_id = isnull ? NULL : DatumGetTextPCopy(value);
	job->target = text_column(READ_TARGET);
	job->state = text_column(READ_STATE);
	job->role = DatumGetObjectId(column(READ_ROLE, &isnull));
	job->cancel_requested = bool_column(READ_CANCEL_REQUESTED);
	value = column(READ_TOTAL_BYTES, &isnull);
	job->total_bytes = isnull ? -1 : DatumGetInt64(value);
	job->options = PointerGetDatum(DatumGetJsonbPCopy(column(READ_OPTIONS, &isnull)));
	batch_size = text_column(READ_BATCH_SIZE);
	job->batch_size = batch_size != NULL ? pg_strtoint32(batch_size) : 1000;
	on_error = text_column(READ_ON_ERROR);
	job->skip = on_error != NULL && strcmp(on_error, "skip") == 0;
	job->confined = text_column(READ_CONFINED);
	job->settings = text_column(READ_SETTINGS);
	job->last_row = int_column(READ_LAST_ROW);
	job->since = text_column(READ_SINCE);
	job->columns = text_column(READ_COLUMNS);
	job->on_conflict = text_column(READ_ON_CONFLICT);
	return true;
}

/* ---------- a worker's part ---------- */

/* clang-format off */
static PlanStatement lock_part_0 = {
	"SELECT part FROM memory_store.job_parts"
	" WHERE job_id" OP(=) "$1 AND part" OP(=) "0"
	" FOR UPDATE",
	1, {INT8OID}};

/* A part that nobody has, or a new one; the cursor's row lets one at a time do this. */
enum { TAKE_JOB, TAKE_PID, TAKE_NOW, TAKE_PARAMETERS };
static PlanStatement take_part = {
	"WITH free AS ("
	"   SELECT COALESCE(pg_catalog.min(part) FILTER (WHERE state" OP(=) "'queued'),"
	"       pg_catalog.max(part)" OP(+) "1) AS part"
	"   FROM (SELECT part, CASE WHEN part" OP(=) "0 THEN 'cursor' ELSE state END AS state"
	"       FROM memory_store.job_parts WHERE job_id" OP(=) "$1) p)"
	" INSERT INTO memory_store.job_parts AS p (job_id, part, state, pid, updated_at)"
	" SELECT $1, part, 'running', $2, $3 FROM free"
	" ON CONFLICT (job_id, part) DO UPDATE"
	" SET state = 'running', pid = excluded.pid, updated_at = excluded.updated_at"
	" RETURNING part",
	TAKE_PARAMETERS, {INT8OID, INT4OID, TIMESTAMPTZOID}};

enum { BEGIN_JOB, BEGIN_NOW, BEGIN_PARAMETERS };
static PlanStatement begin_job = {
	"UPDATE memory_store.jobs"
	" SET state = 'running', started_at = COALESCE(started_at, $2)"
	" WHERE job_id" OP(=) "$1 AND state" OP(<>) "'running'",
	BEGIN_PARAMETERS, {INT8OID, TIMESTAMPTZOID}};
/* clang-format on */

/* A worker takes a part of the job.  False: the job is not to be worked on. */
bool
job_take_part(Job *job)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum job_id = Int64GetDatum(job->id);
	Datum take[TAKE_PARAMETERS] = {[TAKE_JOB] = job_id,
								   [TAKE_PID] = Int32GetDatum(MyProcPid),
								   [TAKE_NOW] = TimestampTzGetDatum(now)};
	Datum begin[BEGIN_PARAMETERS] = {[BEGIN_JOB] = job_id, [BEGIN_NOW] = TimestampTzGetDatum(now)};
	bool isnull;

	if (plan_execute(&lock_part_0, &job_id, NULL, false) == 0 || job->cancel_requested ||
		(strcmp(job->state, "queued") != 0 && strcmp(job->state, "running") != 0))
		return false;
	plan_execute(&take_part, take, NULL, false);
	job->part = DatumGetInt32(column(1, &isnull));
	plan_execute(&begin_job, begin, NULL, false);
	return true;
}

/* ---------- cursor and claims ---------- */

/* clang-format off */
enum { CURSOR_GOES_ON = 1, CURSOR_HAS_CHECKPOINT, CURSOR_IS_FINISHED, CURSOR_MARK };
static PlanStatement lock_cursor = {
	"SELECT j.state" OP(=) "'running' AND NOT j.cancel_requested,"
	"       p.checkpoint IS NOT NULL,"
	"       p.state" OP(=) "'finished', "
	MARK("to_")
	" FROM memory_store.job_parts p JOIN memory_store.jobs j ON j.job_id" OP(=) "p.job_id"
	" WHERE p.job_id" OP(=) "$1 AND p.part" OP(=) "0"
	" FOR UPDATE OF p",
	1, {INT8OID}};
/* clang-format on */

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
	if (plan_execute(&lock_cursor, values, NULL, false) == 0 || !bool_column(CURSOR_GOES_ON))
		return false;
	if (bool_column(CURSOR_HAS_CHECKPOINT))
		mark_columns(CURSOR_MARK, &cursor->to, &cursor->to_row, &cursor->to_skip);
	cursor->end = bool_column(CURSOR_IS_FINISHED);
	return true;
}

/* clang-format off */
enum { WRITE_JOB, WRITE_PART, WRITE_CHECKPOINT, WRITE_STATE, WRITE_NOW, WRITE_PARAMETERS };
static PlanStatement write_part = {
	"UPDATE memory_store.job_parts"
	" SET checkpoint = $3, state = $4, updated_at = $5"
	" WHERE job_id" OP(=) "$1 AND part" OP(=) "$2",
	WRITE_PARAMETERS, {INT8OID, INT4OID, JSONBOID, TEXTOID, TIMESTAMPTZOID}};
/* clang-format on */

static void
write_checkpoint(const Job *job, int32 part, const JobClaim *claim, const char *state)
{
	Datum values[WRITE_PARAMETERS] = {
		[WRITE_JOB] = Int64GetDatum(job->id),
		[WRITE_PART] = Int32GetDatum(part),
		[WRITE_CHECKPOINT] = claim_jsonb(claim),
		[WRITE_STATE] = CStringGetTextDatum(state),
		[WRITE_NOW] = TimestampTzGetDatum(GetCurrentTimestamp()),
	};

	plan_execute(&write_part, values, NULL, false);
}

/* The cursor goes to the claim's end. */
void
job_move_cursor(const Job *job, const JobClaim *claim)
{
	write_checkpoint(job, 0, claim, claim->end ? "finished" : "running");
}

/* clang-format off */
/* A worker's own part may have a claim too, from before: it is left in the other's place. */
enum { GIVE_JOB, GIVE_PART, GIVE_OWN_PART, GIVE_PARAMETERS };
static PlanStatement give_claim = {
	"UPDATE memory_store.job_parts p"
	" SET checkpoint = own.checkpoint,"
	"     state = CASE WHEN own.checkpoint IS NULL THEN 'finished' ELSE 'queued' END"
	" FROM memory_store.job_parts own"
	" WHERE p.job_id" OP(=) "$1 AND p.part" OP(=) "$2"
	" AND own.job_id" OP(=) "$1 AND own.part" OP(=) "$3",
	GIVE_PARAMETERS, {INT8OID, INT4OID, INT4OID}};
/* clang-format on */

/*
 * The claim of another part is taken over: that part gets the one that this
 * worker's has, if any, for whoever comes next.  The cursor is locked.
 */
void
job_give_claim(const Job *job, int32 part)
{
	Datum values[GIVE_PARAMETERS] = {
		[GIVE_JOB] = Int64GetDatum(job->id),
		[GIVE_PART] = Int32GetDatum(part),
		[GIVE_OWN_PART] = Int32GetDatum(job->part),
	};

	if (part != job->part)
		plan_execute(&give_claim, values, NULL, false);
}

/* clang-format off */
/* A claim whose worker is gone. */
enum { ORPHAN_JOB, ORPHAN_OWN_PART, ORPHAN_PARAMETERS };
enum
{
	ORPHAN_PART = 1,
	ORPHAN_FROM,
	ORPHAN_TO = ORPHAN_FROM + MARK_COLUMNS,
	ORPHAN_END = ORPHAN_TO + MARK_COLUMNS
};
static PlanStatement find_orphan = {
	"SELECT p.part, "
	MARK("from_") ", "
	MARK("to_") ", "
	CHECKPOINT("end", "bool")
	" FROM memory_store.job_parts p"
	" WHERE p.job_id" OP(=) "$1 AND p.part" OP(>) "0 AND p.checkpoint IS NOT NULL"
	" AND (p.state" OP(=) "'queued' OR p.part" OP(=) "$2)"
	" ORDER BY " CHECKPOINT("from_offset", "int8")
	" LIMIT 1",
	ORPHAN_PARAMETERS, {INT8OID, INT4OID}};
/* clang-format on */

/* Takes over a claim whose worker is gone; the cursor is locked. */
bool
job_adopt(const Job *job, JobClaim *claim)
{
	Datum values[ORPHAN_PARAMETERS] =
		{[ORPHAN_JOB] = Int64GetDatum(job->id), [ORPHAN_OWN_PART] = Int32GetDatum(job->part)};
	bool isnull;
	int32 part;

	if (plan_execute(&find_orphan, values, NULL, false) == 0)
		return false;
	part = DatumGetInt32(column(ORPHAN_PART, &isnull));
	mark_columns(ORPHAN_FROM, &claim->from, &claim->from_row, &claim->from_skip);
	mark_columns(ORPHAN_TO, &claim->to, &claim->to_row, &claim->to_skip);
	claim->end = bool_column(ORPHAN_END);
	job_give_claim(job, part);
	return true;
}

/* The worker's part has claimed a range of the input. */
void
job_claim(const Job *job, const JobClaim *claim)
{
	write_checkpoint(job, job->part, claim, "running");
}

/* clang-format off */
enum { EARLIER_JOB, EARLIER_OWN_PART, EARLIER_OFFSET, EARLIER_PARAMETERS };
static PlanStatement find_earlier = {
	"SELECT p.pid FROM memory_store.job_parts p"
	" WHERE p.job_id" OP(=) "$1 AND p.part" OP(>) "0 AND p.part" OP(<>) "$2"
	" AND " CHECKPOINT("from_offset", "int8") OP(<) "$3"
	" LIMIT 1",
	EARLIER_PARAMETERS, {INT8OID, INT4OID, INT8OID}};
/* clang-format on */

/* Whether a batch before this one is still claimed, and by which process. */
bool
job_earlier_claim(const Job *job, const JobClaim *claim, int32 *pid)
{
	Datum values[EARLIER_PARAMETERS] = {
		[EARLIER_JOB] = Int64GetDatum(job->id),
		[EARLIER_OWN_PART] = Int32GetDatum(job->part),
		[EARLIER_OFFSET] = Int64GetDatum((int64) claim->from.offset),
	};
	bool found;
	bool isnull;

	found = plan_execute(&find_earlier, values, NULL, false) > 0;
	if (found)
		*pid = DatumGetInt32(column(1, &isnull));
	/* this is asked again and again */
	SPI_freetuptable(SPI_tuptable);
	SPI_tuptable = NULL;
	return found;
}

/* clang-format off */
enum
{
	COUNT_JOB, COUNT_PART, COUNT_NOW, COUNT_BYTES, COUNT_DOCUMENTS, COUNT_IMPORTED,
	COUNT_EXTENDED, COUNT_UNCHANGED, COUNT_REJECTED, COUNT_MESSAGES, COUNT_PARAMETERS
};
static PlanStatement add_counts = {
	"UPDATE memory_store.job_parts"
	" SET checkpoint = NULL, updated_at = $3,"
	"     bytes = bytes" OP(+) "$4,"
	"     documents = documents" OP(+) "$5,"
	"     imported = imported" OP(+) "$6,"
	"     extended = extended" OP(+) "$7,"
	"     unchanged = unchanged" OP(+) "$8,"
	"     rejected = rejected" OP(+) "$9,"
	"     messages = messages" OP(+) "$10"
	" WHERE job_id" OP(=) "$1 AND part" OP(=) "$2",
	COUNT_PARAMETERS,
	{INT8OID, INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID,
	 INT8OID, INT8OID, INT8OID, INT8OID}};
/* clang-format on */

/* The claimed batch is done; in the transaction of its rows. */
void
job_done(const Job *job, const ImportCounts *counts)
{
	Datum values[COUNT_PARAMETERS] = {
		[COUNT_JOB] = Int64GetDatum(job->id),
		[COUNT_PART] = Int32GetDatum(job->part),
		[COUNT_NOW] = TimestampTzGetDatum(GetCurrentTimestamp()),
		[COUNT_BYTES] = Int64GetDatum(counts->bytes),
		[COUNT_DOCUMENTS] = Int64GetDatum(counts->documents),
		[COUNT_IMPORTED] = Int64GetDatum(counts->imported),
		[COUNT_EXTENDED] = Int64GetDatum(counts->extended),
		[COUNT_UNCHANGED] = Int64GetDatum(counts->unchanged),
		[COUNT_REJECTED] = Int64GetDatum(counts->rejected),
		[COUNT_MESSAGES] = Int64GetDatum(counts->messages),
	};

	plan_execute(&add_counts, values, NULL, false);
}

/* ---------- how a job ends, and goes on ---------- */

/* clang-format off */
enum { LEAVE_JOB, LEAVE_PART, LEAVE_STATE, LEAVE_NOW, LEAVE_PARAMETERS };
static PlanStatement leave_part = {
	"UPDATE memory_store.job_parts"
	" SET state = $3, pid = NULL, updated_at = $4"
	" WHERE job_id" OP(=) "$1 AND part" OP(=) "$2",
	LEAVE_PARAMETERS, {INT8OID, INT4OID, TEXTOID, TIMESTAMPTZOID}};

/* The last worker to leave ends the job. */
enum { END_JOB, END_STATE, END_NOW, END_PARAMETERS };
static PlanStatement end_job = {
	"UPDATE memory_store.jobs"
	" SET state = $2, finished_at = $3"
	" WHERE job_id" OP(=) "$1 AND state" OP(=) "'running'"
	" AND NOT EXISTS (SELECT FROM memory_store.job_parts p"
	"   WHERE p.job_id" OP(=) "$1 AND p.part" OP(>) "0"
	"   AND (p.state" OP(=) "'running'"
	"       OR $2" OP(=) "'finished' AND p.checkpoint IS NOT NULL))",
	END_PARAMETERS, {INT8OID, TEXTOID, TIMESTAMPTZOID}};
/* clang-format on */

static void
leave(int64 job_id, int32 part, const char *state, TimestampTz now)
{
	Datum values[LEAVE_PARAMETERS] = {
		[LEAVE_JOB] = Int64GetDatum(job_id),
		[LEAVE_PART] = Int32GetDatum(part),
		[LEAVE_STATE] = CStringGetTextDatum(state),
		[LEAVE_NOW] = TimestampTzGetDatum(now),
	};

	plan_execute(&leave_part, values, NULL, false);
}

/* A worker goes: nothing is left for it, or it is told to. */
void
job_leave_part(const Job *job, const char *state)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum job_id = Int64GetDatum(job->id);
	Datum values[END_PARAMETERS] = {
		[END_JOB] = job_id,
		[END_STATE] = CStringGetTextDatum(state),
		[END_NOW] = TimestampTzGetDatum(now),
	};

	plan_execute(&lock_part_0, &job_id, NULL, false);
	leave(job->id, job->part, state, now);
	plan_execute(&end_job, values, NULL, false);
}

/* clang-format off */
enum { FAIL_JOB, FAIL_SQLSTATE, FAIL_MESSAGE, FAIL_NOW, FAIL_PARAMETERS };
static PlanStatement fail_job = {
	"UPDATE memory_store.jobs"
	" SET state = 'failed', sqlstate = $2, error = $3, finished_at = $4"
	" WHERE job_id" OP(=) "$1 AND state" OP(=) "'running'",
	FAIL_PARAMETERS, {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID}};
/* clang-format on */

/* clang-format off */
enum { REFUSE_JOB, REFUSE_SQLSTATE, REFUSE_MESSAGE, REFUSE_NOW, REFUSE_PARAMETERS };
static PlanStatement refuse_job = {
	"UPDATE memory_store.jobs"
	" SET state = 'failed', sqlstate = $2, error = $3, finished_at = $4"
	" WHERE job_id" OP(=) "$1 AND state" OP(=) "'queued'",
	REFUSE_PARAMETERS, {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID}};
/* clang-format on */

/* A job that gets no worker has failed, rather than to stay queued for ever. */
void
job_refuse(int64 job_id, const char *sqlstate, const char *message)
{
	Datum values[REFUSE_PARAMETERS] = {
		[REFUSE_JOB] = Int64GetDatum(job_id),
		[REFUSE_SQLSTATE] = CStringGetTextDatum(sqlstate),
		[REFUSE_MESSAGE] = CStringGetTextDatum(message),
		[REFUSE_NOW] = TimestampTzGetDatum(GetCurrentTimestamp()),
	};

	plan_execute(&refuse_job, values, NULL, false);
}

/* An error ends the job; the claim stays, for who resumes it. */
void
job_fail(int64 job_id, int32 part, const char *sqlstate, const char *message)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum values[FAIL_PARAMETERS] = {
		[FAIL_JOB] = Int64GetDatum(job_id),
		[FAIL_SQLSTATE] = CStringGetTextDatum(sqlstate),
		[FAIL_MESSAGE] = CStringGetTextDatum(message),
		[FAIL_NOW] = TimestampTzGetDatum(now),
	};

	if (part > 0)
		leave(job_id, part, "failed", now);
	plan_execute(&fail_job, values, NULL, false);
}

/* clang-format off */
enum { CANCEL_JOB, CANCEL_IDLE, CANCEL_NOW, CANCEL_PARAMETERS };
static PlanStatement cancel_job = {
	"UPDATE memory_store.jobs"
	" SET cancel_requested = true,"
	"     state = CASE WHEN $2 THEN 'cancelled' ELSE state END,"
	"     finished_at = CASE WHEN $2 THEN $3 ELSE finished_at END"
	" WHERE job_id" OP(=) "$1 AND state" OP(=) "ANY ('{queued,running}')",
	CANCEL_PARAMETERS, {INT8OID, BOOLOID, TIMESTAMPTZOID}};
/* clang-format on */

/* A job is to stop; idle: nobody works on it.  False: it has ended already. */
bool
job_cancel(int64 job_id, bool idle)
{
	Datum values[CANCEL_PARAMETERS] = {
		[CANCEL_JOB] = Int64GetDatum(job_id),
		[CANCEL_IDLE] = BoolGetDatum(idle),
		[CANCEL_NOW] = TimestampTzGetDatum(GetCurrentTimestamp()),
	};

	return plan_execute(&cancel_job, values, NULL, false) > 0;
}

/* clang-format off */
enum { REOPEN_JOB, REOPEN_WORKERS, REOPEN_PARAMETERS };
static PlanStatement reopen_job = {
	"WITH p AS ("
	"   UPDATE memory_store.job_parts SET state = 'queued', pid = NULL"
	"   WHERE job_id" OP(=) "$1 AND part" OP(>) "0)"
	" UPDATE memory_store.jobs"
	" SET state = 'queued', cancel_requested = false,"
	"     workers = CASE WHEN $2" OP(>) "0 THEN $2 ELSE workers END,"
	"     sqlstate = NULL, error = NULL, finished_at = NULL"
	" WHERE job_id" OP(=) "$1 AND state" OP(<>) "'finished'"
	" RETURNING workers",
	REOPEN_PARAMETERS, {INT8OID, INT4OID}};
/* clang-format on */

/*
 * For workers to go on; nobody works on it.  *workers 0 becomes as many as
 * before.  False: it is finished.
 */
bool
job_reopen(int64 job_id, int32 *workers)
{
	Datum values[REOPEN_PARAMETERS] =
		{[REOPEN_JOB] = Int64GetDatum(job_id), [REOPEN_WORKERS] = Int32GetDatum(*workers)};
	bool isnull;

	if (plan_execute(&reopen_job, values, NULL, false) == 0)
		return false;
	*workers = DatumGetInt32(column(1, &isnull));
	return true;
}

/* clang-format off */
enum { OPTIONS_JOB, OPTIONS_ON_ERROR, OPTIONS_ON_CONFLICT, OPTIONS_PARAMETERS };
static PlanStatement set_options = {
	"UPDATE memory_store.jobs"
	" SET options = options" OP(||) "pg_catalog.jsonb_strip_nulls("
	"     pg_catalog.jsonb_build_object('on_error', $2, 'on_conflict', $3))"
	" WHERE job_id" OP(=) "$1",
	OPTIONS_PARAMETERS, {INT8OID, TEXTOID, TEXTOID}};
/* clang-format on */

/* How a job goes on; NULL: as before. */
void
job_set_options(int64 job_id, const char *on_error, const char *on_conflict)
{
	Datum values[OPTIONS_PARAMETERS] = {[OPTIONS_JOB] = Int64GetDatum(job_id)};
	char nulls[OPTIONS_PARAMETERS];

	memset(nulls, ' ', sizeof(nulls));
	if (on_error != NULL)
		values[OPTIONS_ON_ERROR] = CStringGetTextDatum(on_error);
	else
		nulls[OPTIONS_ON_ERROR] = 'n';
	if (on_conflict != NULL)
		values[OPTIONS_ON_CONFLICT] = CStringGetTextDatum(on_conflict);
	else
		nulls[OPTIONS_ON_CONFLICT] = 'n';
	plan_execute(&set_options, values, nulls, false);
}

/* clang-format off */
static PlanStatement clear_places = {
	"DELETE FROM memory_store.job_places WHERE job_id" OP(=) "$1",
	1, {INT8OID}};
/* clang-format on */

/* What a finished import of rows has kept of their places. */
void
job_clear_places(int64 job_id)
{
	Datum values[1] = {Int64GetDatum(job_id)};

	plan_execute(&clear_places, values, NULL, false);
}
