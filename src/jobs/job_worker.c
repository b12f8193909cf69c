/*
 * job_worker.c
 *		The background workers of a job: how they are started, and what they do.
 *
 * A worker logs in as the user whose session asked for the job, takes on the
 * job's role and settings, takes a part of the job and works batch by batch
 * until nothing is left, or it is told to stop.  It is never restarted: a job
 * that lost its workers is taken up again by memory.resume_job.  SIGTERM ends it
 * at the next interrupt check, so that neither a shutdown nor DROP DATABASE
 * (FORCE) waits for it.
 *
 * A session that waits keeps the workers' handles in TopMemoryContext.  When
 * its transaction aborts, because it was cancelled or terminated, it stops
 * them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "job.h"
#include "statement.h"

/* The workers that this session waits for. */
static BackgroundWorkerHandle *handles[JOB_MAX_WORKERS];
static int nhandles = 0;

/* What a worker works on. */
typedef struct JobWorker
{
	MemoryContext context; /* as long as the worker */
	OwnerScope scope;      /* of the transaction at hand */
	int64 job_id;
	Job job;
	JobImport *import; /* one of them, by the kind of the job */
	JobExport *export;
} JobWorker;

PGDLLEXPORT void memory_job_worker_main(Datum main_arg);

/* ---------- a worker ---------- */

static void
begin_transaction(JobWorker *worker, const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
	owner_enter(&worker->scope);
	MemoryContextSwitchTo(worker->context);
}

static void
end_transaction(const JobWorker *worker)
{
	owner_leave(&worker->scope);
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
	MemoryContextSwitchTo(worker->context);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* The settings of the session that asked for the job, but the confinement, which is below. */
static void
take_settings(const Job *job)
{
	/* clang-format off */
	static PlanStatement pairs = {
		"SELECT key, value FROM pg_catalog.json_each_text($1::pg_catalog.json)",
		1, {TEXTOID}};
	/* clang-format on */
	Datum values[1] = {CStringGetTextDatum(job->settings != NULL ? job->settings : "{}")};
	uint64 rows = plan_execute(&pairs, values, NULL, true);
	SPITupleTable *table = SPI_tuptable;

	for (uint64 i = 0; i < rows; i++)
		SetConfigOption(SPI_getvalue(table->vals[i], table->tupdesc, 1),
						SPI_getvalue(table->vals[i], table->tupdesc, 2), PGC_SUSET, PGC_S_SESSION);
	SetConfigOption("memory_ext.account", job->confined != NULL ? job->confined : "", PGC_SUSET,
					PGC_S_SESSION);
}

/* Reads the job, takes on its role and settings and a part of it; false: there is nothing to do. */
static bool
take_job(JobWorker *worker)
{
	Job *job = &worker->job;
	bool taken;

	begin_transaction(worker, "taking a part of a job");
	taken = job_read(worker->job_id, job) && job_take_part(job);
	if (taken)
		take_settings(job);
	end_transaction(worker);
	if (!taken)
		return false;

	/* as SET ROLE would, with its check that the user may */
	StartTransactionCommand();
	SetConfigOption("role", job_role_name(job), PGC_USERSET, PGC_S_SESSION);
	CommitTransactionCommand();
	MemoryContextSwitchTo(worker->context);
	if (strcmp(job->kind, "export") == 0)
		worker->export = job_export_begin(job);
	else
		worker->import = job_import_begin(job);
	return true;
}

/* The next batch, in its two transactions; false: nothing is left. */
static bool
work_batch(JobWorker *worker)
{
	bool more;

	begin_transaction(worker, "claiming a batch of a job");
	job_check_files(&worker->job, worker->job.role);
	more = worker->export != NULL ? job_export_claim(worker->export)
								  : job_import_claim(worker->import);
	end_transaction(worker);
	if (!more)
		return false;
	begin_transaction(worker, "storing a batch of a job");
	if (worker->export != NULL)
		job_export_write(worker->export);
	else
		job_import_write(worker->import);
	end_transaction(worker);
	return true;
}

/* All batches, and the end of the worker's part. */
static void
work(JobWorker *worker)
{
	const Job *job = &worker->job;
	char *state;
	Job now;

	while (work_batch(worker))
		CHECK_FOR_INTERRUPTS();
	begin_transaction(worker, "ending a job");
	state = job_read(job->id, &now) && now.cancel_requested ? "cancelled" : "finished";
	job_leave_part(job, state);
	if (job_read(job->id, &now) && strcmp(now.state, "finished") == 0)
	{
		job_clear_places(job->id);
		if (strcmp(job->source, "staged") == 0)
			job_stage_clear(job);
	}
	end_transaction(worker);
}

/* An error ends the job: it is written down where memory.jobs shows it. */
static void
record_failure(JobWorker *worker, const ErrorData *failure)
{
	StringInfoData message;

	begin_transaction(worker, "recording the failure of a job");
	initStringInfo(&message);
	appendStringInfoString(&message, failure->message != NULL ? failure->message : "");
	if (failure->detail != NULL)
		appendStringInfo(&message, "\nDETAIL:  %s", failure->detail);
	if (failure->hint != NULL)
		appendStringInfo(&message, "\nHINT:  %s", failure->hint);
	job_fail(worker->job_id, worker->job.part, unpack_sql_state(failure->sqlerrcode), message.data);
	end_transaction(worker);
}

/*
 * A database's or a role's defaults for the statements of people do not fit a
 * job, which waits for other workers' locks and has to see what they stored.
 * Autovacuum's workers do the same.
 */
static void
set_defaults(void)
{
	static const char *const defaults[][2] = {{"search_path", "pg_catalog, pg_temp"},
											  {"default_transaction_isolation", "read committed"},
											  {"default_transaction_read_only", "off"},
											  {"lock_timeout", "0"},
											  {"statement_timeout", "0"}};

	for (int i = 0; i < lengthof(defaults); i++)
		SetConfigOption(defaults[i][0], defaults[i][1], PGC_USERSET, PGC_S_SESSION);
	compat_no_transaction_timeout();
}

/* The entry point that the postmaster looks up by name. */
void
memory_job_worker_main(Datum main_arg)
{
	JobWorkerArgs args;
	MemoryContext context;
	JobWorker *worker;

	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(args));
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(args.database, args.session_user, 0);
	SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_USERSET, PGC_S_SESSION);
	set_defaults();
	context = AllocSetContextCreate(TopMemoryContext, "memory_ext job", ALLOCSET_DEFAULT_SIZES);
	worker = MemoryContextAllocZero(context, sizeof(JobWorker));
	worker->context = context;
	worker->job_id = args.job_id;

	StartTransactionCommand();
	job_hold(args.job_id);
	job_take_slot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);

	PG_TRY();
	{
		if (take_job(worker))
			work(worker);
	}
	PG_CATCH();
	{
		ErrorData *failure;

		MemoryContextSwitchTo(context);
		failure = CopyErrorData();
		HOLD_INTERRUPTS();
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		RESUME_INTERRUPTS();
		record_failure(worker, failure);
		proc_exit(1);
	}
	PG_END_TRY();
	proc_exit(0);
}

/* ---------- starting and waiting ---------- */

static void
forget_handles(void)
{
	for (int i = 0; i < nhandles; i++)
		pfree(handles[i]);
	nhandles = 0;
}

static void
job_at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_ABORT || nhandles == 0)
		return;
	for (int i = 0; i < nhandles; i++)
		TerminateBackgroundWorker(handles[i]);
	forget_handles();
}

/* Defines the room's settings, and has a session that fails stop the workers it waits for. */
void
job_init(void)
{
	DefineCustomIntVariable("memory_ext.max_workers_per_job",
							"A job has at most so many background workers.", NULL,
							&job_max_workers_per_job, 4, 1, JOB_MAX_WORKERS, PGC_SUSET, 0, NULL,
							NULL, NULL);
	DefineCustomIntVariable("memory_ext.max_job_workers",
							"All jobs of the server have at most so many background workers.",
							"max_worker_processes limits them as well.", &job_max_workers, 4, 1,
							JOB_MAX_WORKERS, PGC_SIGHUP, 0, NULL, NULL, NULL);
	RegisterXactCallback(job_at_transaction_end, NULL);
	job_erase_init();
}

/*
 * Starts background workers for a job and returns how many there are.  keep:
 * this session waits for them and stops them when it fails.  0: the
 * server has no worker left.
 */
int
job_launch(int64 job_id, int workers, bool keep)
{
	JobWorkerArgs args = {MyDatabaseId, GetSessionUserId(), job_id};
	BackgroundWorker worker = {0};
	int started = 0;
	int allowed = Min(Min(workers, job_max_workers_per_job), job_free_slots());

	StaticAssertStmt(sizeof(args) <= BGW_EXTRALEN, "a worker's arguments fit");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "memory_ext", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "memory_job_worker_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, BGW_MAXLEN, "memory_ext job " INT64_FORMAT, job_id);
	strlcpy(worker.bgw_type, "memory_ext job", BGW_MAXLEN);
	memcpy(worker.bgw_extra, &args, sizeof(args));

	forget_handles();
	while (started < Min(allowed, JOB_MAX_WORKERS))
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		BackgroundWorkerHandle *handle;
		bool registered = RegisterDynamicBackgroundWorker(&worker, &handle);

		MemoryContextSwitchTo(old);
		if (!registered)
			break;
		started++;
		if (keep)
			handles[nhandles++] = handle;
		else
			pfree(handle);
	}
	return started;
}

/* How many of the workers that this session waits for have not ended. */
int
job_running_workers(void)
{
	int running = 0;

	for (int i = 0; i < nhandles; i++)
	{
		pid_t pid;

		if (GetBackgroundWorkerPid(handles[i], &pid) != BGWH_STOPPED)
			running++;
	}
	if (running == 0)
		forget_handles();
	return running;
}
