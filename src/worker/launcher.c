/*
 * launcher.c
 *		Which database is visited next, and whom a worker stands in the way of.
 *
 * The launcher has no database: it reads pg_database only, and finds out
 * whether a database has the extension by a visit.  One that has none is not
 * visited again before somebody installs it there or the server restarts.
 *
 * DROP DATABASE, ALTER DATABASE … SET TABLESPACE and CREATE DATABASE …
 * TEMPLATE lock the database and then wait for its sessions, five seconds at
 * most.  While workers run the launcher looks for such a lock twice a second,
 * and cancels the worker of that database.  It does so, too, when somebody has
 * waited for deadlock_timeout for a lock that the worker holds, as PostgreSQL
 * cancels an autovacuum worker: most batches are over long before.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"

#include "worker_private.h"

PGDLLEXPORT void memory_launcher_main(Datum main_arg);

/* How often the locks of databases are looked at while workers run. */
#define LAUNCHER_WATCH_MS 500
/* How long a database rests whose worker died, doubled with each death: a crash is no loop. */
#define LAUNCHER_FIRST_PAUSE_SECONDS 60
#define LAUNCHER_LONGEST_PAUSE_SECONDS 86400

/* A worker that was started and has not been seen to end. */
typedef struct RunningWorker
{
	Oid database;
	bool pokes; /* it notifies; else it maintains */
	BackgroundWorkerHandle *handle;
} RunningWorker;

/* memory_ext.worker_max_workers is at most 64, and there may be as many that notify. */
static RunningWorker running[128];
static int nrunning = 0;

/* Whether accounts are marked somewhere for whom no worker could be started. */
static bool pokes_wait = false;

/* The names of memory_ext.worker_databases, in the current memory context; NIL: all. */
static List *
wanted_databases(void)
{
	List *names = NIL;
	char *copy = pstrdup(worker_databases != NULL ? worker_databases : "");

	if (!SplitIdentifierString(copy, ',', &names))
		ereport(LOG, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					  errmsg("memory_ext.worker_databases is not a list of names: \"%s\"",
							 worker_databases)));
	return names;
}

static bool
is_wanted(List *names, const char *name)
{
	ListCell *cell;

	foreach (cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return names == NIL;
}

/*
 * The databases that are to be looked after: that may be connected to and are no
 * templates, as a list of Oids; and all there are.  Both live in the context.
 */
static List *
read_databases(MemoryContext context, List **existing)
{
	List *wanted;
	List *found = NIL;
	Relation catalog;
	TableScanDesc scan;
	HeapTuple row;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	wanted = wanted_databases();
	catalog = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(catalog, 0, NULL);
	*existing = NIL;
	while ((row = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(row);
		MemoryContext old = MemoryContextSwitchTo(context);

		*existing = lappend_oid(*existing, database->oid);
		if (database->datallowconn && !database->datistemplate &&
			is_wanted(wanted, NameStr(database->datname)))
			found = lappend_oid(found, database->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(catalog, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return found;
}

/* Slots of databases that are gone or not wanted any more become free. */
static void
forget_others(List *databases)
{
	worker_lock(true);
	for (int i = 0; i < WORKER_MAX_DATABASES; i++)
	{
		WorkerDatabase *slot = worker_nth_database(i);

		if (slot->database != InvalidOid && !list_member_oid(databases, slot->database))
			slot->database = InvalidOid;
	}
	worker_unlock();
}

/* Whether a worker of the database is at work that maintains, or (pokes) that notifies. */
static bool
is_running(Oid database, bool pokes)
{
	for (int i = 0; i < nrunning; i++)
		if (running[i].database == database && running[i].pokes == pokes)
			return true;
	return false;
}

/* How many workers of a kind are at work. */
static int
count_running(bool pokes)
{
	int n = 0;

	for (int i = 0; i < nrunning; i++)
		if (running[i].pokes == pokes)
			n++;
	return n;
}

/* False: max_worker_processes is used up. */
static bool
start_worker(Oid database, bool pokes)
{
	const char *name = pokes ? "memory_ext poke worker" : "memory_ext worker";
	BackgroundWorker worker = {0};
	MemoryContext old;
	bool registered;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	strlcpy(worker.bgw_library_name, "memory_ext", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name,
			pokes ? "memory_poke_worker_main" : "memory_database_worker_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, name, BGW_MAXLEN);
	strlcpy(worker.bgw_type, name, BGW_MAXLEN);

	old = MemoryContextSwitchTo(TopMemoryContext);
	registered = RegisterDynamicBackgroundWorker(&worker, &running[nrunning].handle);
	MemoryContextSwitchTo(old);
	if (registered)
	{
		running[nrunning].database = database;
		running[nrunning++].pokes = pokes;
	}
	return registered;
}

/* When the database is due again, after a visit that ended, told or not. */
static void
note_end(WorkerDatabase *slot)
{
	TimestampTz now = GetCurrentTimestamp();
	int64 pause = worker_naptime_seconds;

	if (slot->result == WORKER_UNKNOWN && !slot->stop)
	{
		slot->failures = Min(slot->failures + 1, 16);
		pause = Max(pause, (int64) LAUNCHER_FIRST_PAUSE_SECONDS << (slot->failures - 1));
		pause = Min(pause, LAUNCHER_LONGEST_PAUSE_SECONDS);
	}
	else
		slot->failures = 0;
	slot->stop = false;
	if (slot->next_start == DT_NOBEGIN && slot->failures == 0)
		return; /* it has been installed meanwhile */
	slot->next_start = slot->result == WORKER_ABSENT ? DT_NOEND : now + pause * USECS_PER_SEC;
}

/* Takes the workers that have ended from the list. */
static void
reap_workers(void)
{
	for (int i = nrunning - 1; i >= 0; i--)
	{
		WorkerDatabase *slot;
		pid_t pid;

		if (GetBackgroundWorkerPid(running[i].handle, &pid) != BGWH_STOPPED)
			continue;
		if (!running[i].pokes)
		{
			worker_lock(true);
			slot = worker_find_database(running[i].database, false);
			if (slot != NULL)
				note_end(slot);
			worker_unlock();
		}
		pfree(running[i].handle);
		running[i] = running[--nrunning];
	}
}

/* Whether somebody holds, or waits for, a lock on the database that keeps new sessions out. */
static bool
is_locked(Oid database)
{
	LOCKTAG tag;
	bool locked;

	StartTransactionCommand();
	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, database, 0);
	locked = LockAcquire(&tag, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL;
	CommitTransactionCommand();
	return locked;
}

/* Whether the process waits for a lock that the worker holds. */
static bool
is_blocked_by(int waiting, pid_t worker)
{
	Datum result = DirectFunctionCall1(pg_blocking_pids, Int32GetDatum(waiting));
	ArrayType *blocking = DatumGetArrayTypeP(result);
	const int32 *pids = (const int32 *) ARR_DATA_PTR(blocking);
	int count = ArrayGetNItems(ARR_NDIM(blocking), ARR_DIMS(blocking));
	bool blocked = false;

	for (int i = 0; i < count && !blocked; i++)
		blocked = pids[i] == worker;
	pfree(blocking);
	return blocked;
}

/*
 * Whether somebody in the database has waited for deadlock_timeout for the
 * worker.  The processes are looked at without a lock: who looks like waiting
 * too long is then asked for properly, which takes the lock manager's locks.
 */
static bool
is_waited_for(Oid database, pid_t worker)
{
	TimestampTz since = GetCurrentTimestamp() - (int64) DeadlockTimeout * 1000;

	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		PGPROC *proc = &ProcGlobal->allProcs[i];
		TimestampTz start = (TimestampTz) pg_atomic_read_u64(&proc->waitStart);
		int pid = proc->pid;

		if (start != 0 && start <= since && pid != 0 && proc->databaseId == database &&
			is_blocked_by(pid, worker))
			return true;
	}
	return false;
}

/* Cancels the workers that somebody waits for, or all of them. */
static void
stop_workers(bool all)
{
	for (int i = 0; i < nrunning; i++)
	{
		WorkerDatabase *slot;
		pid_t pid;
		bool started = GetBackgroundWorkerPid(running[i].handle, &pid) == BGWH_STARTED;

		if (!all && !is_locked(running[i].database) &&
			!(started && is_waited_for(running[i].database, pid)))
			continue;
		if (!running[i].pokes)
		{
			worker_lock(true);
			slot = worker_find_database(running[i].database, true);
			if (slot != NULL)
				slot->stop = true;
			worker_unlock();
		}
		if (started)
			kill(pid, SIGINT);
	}
}

/* Logs that no worker could be started, once until one can be. */
static void
tell_start(bool started)
{
	static bool told = false;

	if (!started && !told)
		ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					  errmsg("memory_ext could not start a worker for a database"),
					  errhint("Raise max_worker_processes; it is tried again after some time.")));
	told = !started;
}

/* Starts workers that notify, where accounts were marked and nobody has locked the database. */
static void
start_poke_workers(List *databases)
{
	List *unserved = NIL;
	ListCell *cell;
	Oid database;

	foreach (cell, databases)
		if (!is_running(lfirst_oid(cell), true))
			unserved = lappend_oid(unserved, lfirst_oid(cell));
	while (count_running(true) < worker_max_workers &&
		   OidIsValid(database = poke_find_due(unserved, false)))
	{
		/* until it is there: should it never come, this keeps it from being started in a loop */
		poke_pause(database);
		if (is_locked(database))
			continue;
		if (!start_worker(database, true))
		{
			tell_start(false);
			break;
		}
		tell_start(true);
		unserved = list_delete_oid(unserved, database);
	}
	pokes_wait = OidIsValid(poke_find_due(unserved, true));
}

/* Starts workers for the databases that are due, the longest waiting first. */
static void
start_due_workers(List *databases)
{
	while (count_running(false) < worker_max_workers)
	{
		TimestampTz now = GetCurrentTimestamp();
		WorkerDatabase *due = NULL;
		Oid database = InvalidOid;
		ListCell *cell;

		worker_lock(true);
		foreach (cell, databases)
		{
			WorkerDatabase *slot = worker_find_database(lfirst_oid(cell), true);

			if (slot != NULL && slot->next_start <= now && !is_running(slot->database, false) &&
				(due == NULL || slot->next_start < due->next_start))
				due = slot;
		}
		if (due != NULL)
		{
			database = due->database;
			due->result = WORKER_UNKNOWN;
			due->stop = false;
			due->last_start = now;
			due->next_start = now + worker_naptime_seconds * USECS_PER_SEC;
		}
		worker_unlock();
		if (due == NULL)
			return;
		if (!start_worker(database, false))
		{
			tell_start(false);
			return;
		}
		tell_start(true);
	}
}

/* How long the launcher may sleep, in milliseconds. */
static long
time_to_sleep(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = now + worker_naptime_seconds * USECS_PER_SEC;

	if (nrunning > 0 || pokes_wait)
		return LAUNCHER_WATCH_MS;
	worker_lock(false);
	for (int i = 0; i < WORKER_MAX_DATABASES; i++)
	{
		WorkerDatabase *slot = worker_nth_database(i);

		if (slot->database != InvalidOid && slot->next_start < next)
			next = slot->next_start;
	}
	worker_unlock();
	/* one that is due already could not be started: not at once again */
	return Max(TimestampDifferenceMilliseconds(now, next), 1000);
}

static void
launcher_round(MemoryContext context)
{
	static bool pokes_were_on = true;

	reap_workers();
	if (poke_is_on() && !pokes_were_on)
		poke_mark_all(InvalidOid); /* nobody knows what has changed meanwhile */
	pokes_were_on = poke_is_on();
	pokes_wait = false;
	if (worker_enabled)
	{
		List *existing;
		List *databases = read_databases(context, &existing);

		forget_others(databases);
		poke_forget_others(existing);
		start_due_workers(databases);
		if (poke_is_on())
			start_poke_workers(databases);
	}
	if (nrunning > 0)
		stop_workers(!worker_enabled);
}

static void
launcher_exit(int code, Datum arg)
{
	worker_set_launcher(false);
}

/* The entry point that the postmaster looks up by name. */
void
memory_launcher_main(Datum main_arg)
{
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(launcher_exit, (Datum) 0);
	worker_set_launcher(true);
	context =
		AllocSetContextCreate(TopMemoryContext, "memory_ext launcher", ALLOCSET_DEFAULT_SIZES);
	pgstat_report_appname("memory_ext launcher");

	for (;;)
	{
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		launcher_round(context);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, time_to_sleep(),
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}
