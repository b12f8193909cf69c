/*
 * job_call.c
 *		What SQL calls to import and export by jobs: procedures that make a job,
 *		start its workers and wait for them, and the functions to stop it and go on.
 *
 * The procedures commit: the job's row must be there for its workers, and each
 * look at their progress is a transaction of its own.  So they cannot be
 * SECURITY DEFINER; they take on the owner's rights for single statements.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "account.h"
#include "arguments.h"
#include "job.h"
#include "sql_text.h"
#include "statement.h"

/* How often a session that waits says how far its job has come. */
#define TELL_SECONDS 5
#define LOOK_MILLISECONDS 200

static void
refuse_unknown(int64 job_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND), errmsg("job " INT64_FORMAT " does not exist", job_id),
			 errhint("See memory.jobs.")));
}

/* ---------- making a job ---------- */

/* on_error and on_conflict, the arguments from n on; NULL: as the settings say. */
static void
set_options(Job *job, FunctionCallInfo fcinfo, int n)
{
	ImportOptions options;

	import_options(&options);
	job->on_conflict = argument_optional_string(fcinfo, n + 1);
	import_arguments(&options, argument_optional_string(fcinfo, n), job->on_conflict);
	job->skip = options.skip;
}

/* So many documents, or ten times as many rows, which are messages. */
static int32
batch_argument(FunctionCallInfo fcinfo, int n, const Job *job)
{
	if (PG_ARGISNULL(n))
		return strcmp(job->format, csv_format.name) == 0 ? 10000 : 1000;
	return argument_int32(fcinfo, n, "batch_size", 1, 1000000);
}

/* What is imported: documents of a format, or rows. */
static char *
format_argument(FunctionCallInfo fcinfo, int n)
{
	char *format = argument_string(fcinfo, n, "format");

	if (strcmp(format, csv_format.name) != 0)
		(void) transfer_format_argument(format, false);
	return format;
}

/* Whose documents; NULL: as memory_ext.import_account says, or they name theirs. */
static text *
account_argument(FunctionCallInfo fcinfo, int n)
{
	ImportOptions settings;

	if (!PG_ARGISNULL(n))
		return account_check(PG_GETARG_TEXT_PP(n));
	import_options(&settings);
	if (settings.account_id == NULL && account_confined() != NULL)
		return account_check(NULL);
	return settings.account_id;
}

/* clang-format off */
enum
{
	OPTIONS_BATCH_SIZE, OPTIONS_ON_ERROR, OPTIONS_CONFINED, OPTIONS_LAST_ROW, OPTIONS_SINCE,
	OPTIONS_COLUMNS, OPTIONS_ON_CONFLICT, OPTIONS_PARAMETERS
};
static PlanStatement make_options = {
	"SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object("
	"   'batch_size', $1, 'on_error', $2, 'confined', $3, 'last_row', $4, 'since', $5,"
	"   'columns', $6, 'on_conflict', $7, 'settings', ("
	"       SELECT pg_catalog.jsonb_object_agg(name, pg_catalog.current_setting(name))"
	"       FROM pg_catalog.pg_settings"
	"       WHERE (pg_catalog.starts_with(name, 'memory_ext.')"
	"                  AND name" OP(<>) "'memory_ext.account'"
	"              OR $6 IS NOT NULL AND name" OP(=) "ANY ('{DateStyle,TimeZone}'))"
	"       AND context" OP(<>) "'sighup'"
	"       AND source" OP(<>) "ALL ('{default,configuration file}'))))",
	OPTIONS_PARAMETERS, {INT4OID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TEXTOID}};
/* clang-format on */

/* What a worker has to know besides, with all that the caller has set of memory_ext. */
static Datum
job_options(const Job *job)
{
	const char *texts[OPTIONS_PARAMETERS] = {
		[OPTIONS_ON_ERROR] = job->skip ? "skip" : "stop",
		[OPTIONS_CONFINED] = job->confined,
		[OPTIONS_SINCE] = job->since,
		[OPTIONS_COLUMNS] = job->columns,
		[OPTIONS_ON_CONFLICT] = job->on_conflict,
	};
	Datum values[OPTIONS_PARAMETERS];
	char nulls[OPTIONS_PARAMETERS];
	bool isnull;

	for (int i = 0; i < OPTIONS_PARAMETERS; i++)
	{
		nulls[i] = texts[i] == NULL ? 'n' : ' ';
		values[i] = texts[i] == NULL ? (Datum) 0 : CStringGetTextDatum(texts[i]);
	}
	values[OPTIONS_BATCH_SIZE] = Int32GetDatum(job->batch_size);
	nulls[OPTIONS_BATCH_SIZE] = ' ';
	values[OPTIONS_LAST_ROW] = Int64GetDatum(job->last_row);
	nulls[OPTIONS_LAST_ROW] = job->last_row == 0 ? 'n' : ' ';
	plan_execute(&make_options, values, nulls, false);
	return PointerGetDatum(DatumGetJsonbPCopy(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)));
}

/* Those of a call of import_file, import_staged or export_file. */
static void
begin_job(Job *job, FunctionCallInfo fcinfo, const char *kind, const char *source)
{
	memset(job, 0, sizeof(*job));
	job->kind = pstrdup(kind);
	job->source = pstrdup(source);
	job->role = GetOuterUserId();
	job->confined = account_confined() != NULL ? text_to_cstring(account_check(NULL)) : NULL;
	job->total_bytes = -1;
}

/* A file that is there; total_bytes is its size. */
static void
measure_file(Job *job)
{
	struct stat status;

	if (stat(job->target, &status) != 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", job->target)));
	if (!S_ISREG(status.st_mode))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a regular file", job->target),
						errhint("A job must be able to resume in the middle of its input, "
								"which requires a regular file.")));
	job->total_bytes = status.st_size;
}

static void
check_path(const Job *job)
{
	if (!is_absolute_path(job->target))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("path \"%s\" is not absolute", job->target),
						errhint("Give the absolute path of a file on the server.")));
}

/* ---------- transactions of a procedure ---------- */

static void
check_nonatomic(FunctionCallInfo fcinfo, const char *name)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("%s cannot run inside a transaction block", name),
						errhint("It commits transactions. Call it outside a transaction block.")));
}

/* ---------- waiting ---------- */

/* clang-format off */
static PlanStatement describe_progress = {
	"SELECT pg_catalog.concat_ws(', ',"
	"   percent" OP(||) "' %',"
	"   documents" OP(||) "' documents',"
	"   rows_per_second" OP(||) "' messages/s',"
	"   pg_catalog.round(bytes_per_second" OP(/) "1e6, 1)" OP(||) "' MB/s',"
	"   CASE WHEN rejected" OP(>) "0 THEN rejected" OP(||) "' rejected' END,"
	"   time_left" OP(||) "' left')"
	" FROM memory.jobs"
	" WHERE job_id" OP(=) "$1",
	1, {INT8OID}};
/* clang-format on */

/* A line about a job that runs. */
static void
tell_progress(int64 job_id)
{
	Datum values[1] = {Int64GetDatum(job_id)};

	if (plan_execute(&describe_progress, values, NULL, false) == 1)
		ereport(INFO, (errmsg("job " INT64_FORMAT ": %s", job_id,
							  SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1))));
}

static int
sqlstate_number(const char *state)
{
	if (strlen(state) != 5)
		return ERRCODE_INTERNAL_ERROR;
	return MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]);
}

/* clang-format off */
enum
{
	RESULT_STATE, RESULT_KIND, RESULT_SQLSTATE, RESULT_ERROR, RESULT_IMPORT, RESULT_EXPORT,
	RESULT_COLUMNS
};
static PlanStatement describe_result = {
	"SELECT state, kind, COALESCE(sqlstate, ''), COALESCE(error, ''),"
	"   pg_catalog.concat_ws(', ',"
	"       documents" OP(||) "' documents',"
	"       imported" OP(||) "' imported',"
	"       CASE WHEN extended" OP(>) "0 THEN extended" OP(||) "' extended' END,"
	"       CASE WHEN unchanged" OP(>) "0 THEN unchanged" OP(||) "' unchanged' END,"
	"       CASE WHEN rejected" OP(>) "0 THEN rejected" OP(||) "' rejected' END,"
	"       messages" OP(||) "' messages'),"
	"   pg_catalog.concat_ws(', ',"
	"       documents" OP(||) "' documents',"
	"       messages" OP(||) "' messages',"
	"       bytes" OP(||) "' bytes',"
	"       'left out: '" OP(||) "(SELECT pg_catalog.string_agg("
	"           l.value" OP(||) "' '" OP(||) "l.key, ', ' ORDER BY l.key)"
	"           FROM pg_catalog.jsonb_each_text(options" OP(->) "'left_out') l))"
	" FROM memory.jobs"
	" WHERE job_id" OP(=) "$1",
	1, {INT8OID}};
/* clang-format on */

/* What became of it; the workers have ended. */
static void
tell_end(int64 job_id)
{
	Datum values[1] = {Int64GetDatum(job_id)};
	char *fields[RESULT_COLUMNS];

	if (plan_execute(&describe_result, values, NULL, false) == 0)
		refuse_unknown(job_id);
	for (int i = 0; i < RESULT_COLUMNS; i++)
		fields[i] = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1);

	if (strcmp(fields[RESULT_STATE], "finished") == 0)
		ereport(INFO, (errmsg("job " INT64_FORMAT " is finished: %s", job_id,
							  strcmp(fields[RESULT_KIND], "import") == 0 ? fields[RESULT_IMPORT]
																		 : fields[RESULT_EXPORT])));
	else if (strcmp(fields[RESULT_STATE], "failed") == 0)
		ereport(ERROR, (errcode(sqlstate_number(fields[RESULT_SQLSTATE])),
						errmsg("job " INT64_FORMAT " has failed: %s", job_id, fields[RESULT_ERROR]),
						errhint("What it has stored is kept. CALL memory.resume_job(" INT64_FORMAT
								") to continue from its checkpoint.",
								job_id)));
	else
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 strcmp(fields[RESULT_STATE], "cancelled") == 0
					 ? errmsg("job " INT64_FORMAT " was cancelled", job_id)
					 : errmsg("the workers of job " INT64_FORMAT " ended before it was complete",
							  job_id),
				 errhint("What it has stored is kept. CALL memory.resume_job(" INT64_FORMAT
						 ") to continue from its checkpoint.",
						 job_id)));
}

/* Until all workers have ended; each look is a transaction. */
static void
wait_for_job(int64 job_id)
{
	TimestampTz told = GetCurrentTimestamp();

	SPI_commit();
	while (job_running_workers() > 0)
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LOOK_MILLISECONDS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		if (TimestampDifferenceExceeds(told, GetCurrentTimestamp(), TELL_SECONDS * 1000))
		{
			tell_progress(job_id);
			SPI_commit();
			told = GetCurrentTimestamp();
		}
	}
	tell_end(job_id);
}

#define LIMITS_HINT                                                                                \
	"memory_ext.max_workers_per_job, memory_ext.max_job_workers and max_worker_processes limit "   \
	"them."

/* No worker could be started: so the job has failed, in a transaction of its own.  Error: 53000. */
static void
refuse_job(int64 job_id)
{
	OwnerScope scope;

	owner_enter(&scope);
	job_refuse(job_id, "53000", "no background worker is free");
	owner_leave(&scope);
	SPI_commit();
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("no background worker is free for job " INT64_FORMAT, job_id),
			 errdetail(LIMITS_HINT),
			 errhint("CALL memory.resume_job(" INT64_FORMAT ") when others have ended.", job_id)));
}

/*
 * Starts the workers of a job whose row is written; returns the procedure's
 * result, if it has one.
 */
static Datum
run_job(FunctionCallInfo fcinfo, int64 job_id, int32 workers, bool wait)
{
	TupleDesc descriptor;
	Datum values[1] = {Int64GetDatum(job_id)};
	bool nulls[1] = {false};
	int started;

	SPI_commit();
	started = job_launch(job_id, workers, wait);
	if (started == 0)
		refuse_job(job_id);
	if (started < workers)
		ereport(WARNING, (errmsg("only %d of %d background workers are free", started, workers),
						  errhint(LIMITS_HINT)));
	if (wait)
		wait_for_job(job_id);
	SPI_finish();
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		return (Datum) 0;
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

/* Rows of messages instead of documents. */
static bool
is_csv(const Job *job)
{
	return strcmp(job->format, csv_format.name) == 0 && strcmp(job->kind, "import") == 0;
}

/* Makes the job's row and runs it. */
static Datum
start_job(FunctionCallInfo fcinfo, Job *job, int32 workers, bool wait)
{
	OwnerScope scope;
	int64 job_id;

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	owner_enter(&scope);
	if (strcmp(job->source, "staged") == 0)
		job_stage_measure(job);
	if (is_csv(job))
		job_import_header(job);
	job->options = job_options(job);
	job_id = job_create(job, workers);
	owner_leave(&scope);
	return run_job(fcinfo, job_id, workers, wait);
}

/* ---------- the procedures ---------- */

PG_FUNCTION_INFO_V1(memory_import_file);

/*
 * memory.import_file(path text, format text, account_id text, workers integer,
 * batch_size integer, on_error text, on_conflict text, wait boolean, INOUT job_id
 * bigint)
 *		Imports a file of the server by background workers.  NULL account_id:
 *		the documents name theirs; NULL batch_size: 1000 documents or 10000 rows
 *		of CSV; NULL on_error or on_conflict: as the settings say.  Errors: 22023,
 *		2D000, 42501, 53000, those of the file, and when it waits those of the
 *		import.
 */
Datum
memory_import_file(PG_FUNCTION_ARGS)
{
	Job job;
	int32 workers;

	check_nonatomic(fcinfo, "memory.import_file");
	begin_job(&job, fcinfo, "import", "file");
	job.target = argument_string(fcinfo, 0, "path");
	job.format = format_argument(fcinfo, 1);
	job.account_id = account_argument(fcinfo, 2);
	workers = argument_int32(fcinfo, 3, "workers", 1, JOB_MAX_WORKERS);
	job.batch_size = batch_argument(fcinfo, 4, &job);
	set_options(&job, fcinfo, 5);
	job_check_files(&job, GetOuterUserId());
	check_path(&job);
	measure_file(&job);
	return start_job(fcinfo, &job, workers, PG_ARGISNULL(7) || PG_GETARG_BOOL(7));
}

PG_FUNCTION_INFO_V1(memory_import_staged);

/*
 * memory.import_staged(format text, account_id text, workers integer,
 * batch_size integer, on_error text, on_conflict text, wait boolean, INOUT job_id
 * bigint)
 *		The same with the lines that the caller's role has copied into
 *		memory.import_stage, which are deleted as they are imported.
 */
Datum
memory_import_staged(PG_FUNCTION_ARGS)
{
	Job job;
	int32 workers;

	check_nonatomic(fcinfo, "memory.import_staged");
	begin_job(&job, fcinfo, "import", "staged");
	job.target = job_role_name(&job);
	job.format = format_argument(fcinfo, 0);
	job.account_id = account_argument(fcinfo, 1);
	workers = argument_int32(fcinfo, 2, "workers", 1, JOB_MAX_WORKERS);
	job.batch_size = batch_argument(fcinfo, 3, &job);
	set_options(&job, fcinfo, 4);
	return start_job(fcinfo, &job, workers, PG_ARGISNULL(6) || PG_GETARG_BOOL(6));
}

PG_FUNCTION_INFO_V1(memory_clear_stage);

/*
 * memory.clear_stage() → bigint
 *		Deletes the lines that the caller's role has staged, and returns how many
 *		there were.  SECURITY DEFINER.
 */
Datum
memory_clear_stage(PG_FUNCTION_ARGS)
{
	Job job;
	uint64 lines;

	begin_job(&job, fcinfo, "import", "staged");
	job.last_row = PG_INT64_MAX;
	SPI_connect();
	lines = job_stage_clear(&job);
	SPI_finish();
	PG_RETURN_INT64((int64) lines);
}

PG_FUNCTION_INFO_V1(memory_export_file);

/*
 * memory.export_file(path text, format text, account_id text, since timestamptz,
 * workers integer, batch_size integer, wait boolean, INOUT job_id bigint)
 *		Writes conversations into a file of the server, which must not exist, by
 *		background workers.  NULL account_id or since: all.  Errors: 22023,
 *		2D000, 42501, 53000, 58P02 the file exists, those of the file.
 */
Datum
memory_export_file(PG_FUNCTION_ARGS)
{
	Job job;
	int32 workers;
	struct stat status;

	check_nonatomic(fcinfo, "memory.export_file");
	begin_job(&job, fcinfo, "export", "file");
	job.target = argument_string(fcinfo, 0, "path");
	job.format = argument_string(fcinfo, 1, "format");
	(void) transfer_format_argument(job.format, true);
	if (!PG_ARGISNULL(2) || account_confined() != NULL)
		job.account_id = argument_account(fcinfo, 2);
	if (!PG_ARGISNULL(3))
		job.since = transfer_time_string(PG_GETARG_TIMESTAMPTZ(3));
	workers = argument_int32(fcinfo, 4, "workers", 1, JOB_MAX_WORKERS);
	job.batch_size = argument_int32(fcinfo, 5, "batch_size", 1, 1000000);
	job_check_files(&job, GetOuterUserId());
	check_path(&job);
	if (stat(job.target, &status) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_FILE), errmsg("file \"%s\" already exists", job.target),
				 errhint("Choose another name.")));
	/* what another export has left unfinished */
	if (unlink(psprintf("%s.part", job.target)) != 0 && errno != ENOENT)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not remove file \"%s.part\": %m", job.target)));
	return start_job(fcinfo, &job, workers, PG_ARGISNULL(6) || PG_GETARG_BOOL(6));
}

PG_FUNCTION_INFO_V1(memory_resume_job);

/*
 * memory.resume_job(job_id bigint, workers integer, on_error text, on_conflict
 * text, wait boolean)
 *		Goes on with a job that failed, was cancelled or lost its workers, where
 *		it was.  NULL workers, on_error or on_conflict: as before.  Errors: P0002,
 *		42501, 55000 finished, 55006 being worked on.
 */
Datum
memory_resume_job(PG_FUNCTION_ARGS)
{
	OwnerScope scope;
	Job job;
	ImportOptions options;
	char *on_error = argument_optional_string(fcinfo, 2);
	char *on_conflict = argument_optional_string(fcinfo, 3);
	int64 job_id;
	int32 workers = PG_ARGISNULL(1) ? 0 : argument_int32(fcinfo, 1, "workers", 1, JOB_MAX_WORKERS);

	check_nonatomic(fcinfo, "memory.resume_job");
	argument_require(fcinfo, 0, "job_id", NULL);
	job_id = PG_GETARG_INT64(0);

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	owner_enter(&scope);
	if (!job_read(job_id, &job) || strcmp(job.source, "copy") == 0)
		refuse_unknown(job_id);
	owner_leave(&scope);
	job_check_owner(&job);
	job_check_files(&job, GetOuterUserId());
	if (!job_idle(job_id, true))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("job " INT64_FORMAT " is being worked on", job_id),
						errhint("SELECT memory.cancel_job(" INT64_FORMAT ") stops it.", job_id)));
	owner_enter(&scope);
	import_options(&options);
	import_arguments(&options, on_error, on_conflict);
	job_set_options(job_id, on_error, on_conflict);
	if (!job_reopen(job_id, &workers))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("job " INT64_FORMAT " is finished", job_id)));
	owner_leave(&scope);
	return run_job(fcinfo, job_id, workers, PG_ARGISNULL(4) || PG_GETARG_BOOL(4));
}

PG_FUNCTION_INFO_V1(memory_cancel_job);

/*
 * memory.cancel_job(job_id bigint) → boolean
 *		Lets a job's workers stop behind the batch that they are at.  False: it
 *		has ended already.  Strict, SECURITY DEFINER.  Errors: P0002, 42501.
 */
Datum
memory_cancel_job(PG_FUNCTION_ARGS)
{
	int64 job_id = PG_GETARG_INT64(0);
	Job job;
	bool cancelled;

	SPI_connect();
	if (!job_read(job_id, &job) || strcmp(job.source, "copy") == 0)
		refuse_unknown(job_id);
	job_check_owner(&job);
	cancelled = job_cancel(job_id, job_idle(job_id, false));
	SPI_finish();
	PG_RETURN_BOOL(cancelled);
}
