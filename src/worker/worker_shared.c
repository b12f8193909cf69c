/*
 * worker_shared.c
 *		The databases that are looked after, in shared memory, and the settings
 *		of what runs by itself.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "phases.h"
#include "worker.h"
#include "worker_private.h"

#define WORKER_TRANCHE "memory_ext"

typedef struct WorkerShared
{
	LWLock *lock;
	Latch *launcher; /* of the launcher's process; NULL: it does not run */
	WorkerDatabase databases[WORKER_MAX_DATABASES];
} WorkerShared;

bool worker_enabled = true;
int worker_naptime_seconds = 60;
int worker_max_workers = 2;
int worker_delay_ms = 10;
char *worker_databases = NULL;

static WorkerShared *shared = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;
static bool installed_here = false;

bool
worker_is_preloaded(void)
{
	return shared != NULL;
}

/* Takes the lock under which the shared state is read, or (exclusive) written. */
void
worker_lock(bool exclusive)
{
	LWLockAcquire(shared->lock, exclusive ? LW_EXCLUSIVE : LW_SHARED);
}

/* Gives the lock of worker_lock back. */
void
worker_unlock(void)
{
	LWLockRelease(shared->lock);
}

/* Slot n of WORKER_MAX_DATABASES, used or not; the caller holds the lock. */
WorkerDatabase *
worker_nth_database(int n)
{
	return &shared->databases[n];
}

WorkerDatabase *
worker_find_database(Oid database, bool create)
{
	WorkerDatabase *free_slot = NULL;

	for (int i = 0; i < WORKER_MAX_DATABASES; i++)
	{
		WorkerDatabase *slot = &shared->databases[i];

		if (slot->database == database)
			return slot;
		if (free_slot == NULL && slot->database == InvalidOid)
			free_slot = slot;
	}
	if (!create || free_slot == NULL)
		return NULL;
	memset(free_slot, 0, sizeof(*free_slot));
	free_slot->database = database;
	free_slot->next_start = DT_NOBEGIN;
	return free_slot;
}

void
worker_set_launcher(bool here)
{
	worker_lock(true);
	shared->launcher = here ? MyLatch : NULL;
	worker_unlock();
}

/* Has the launcher look at once for what is due; does nothing where none runs. */
void
worker_wake_launcher(void)
{
	worker_lock(false);
	if (shared->launcher != NULL)
		SetLatch(shared->launcher);
	worker_unlock();
}

TimestampTz
worker_next_run(void)
{
	WorkerDatabase *slot;
	TimestampTz next = DT_NOEND;

	if (!worker_enabled)
		return next;
	worker_lock(false);
	slot = worker_find_database(MyDatabaseId, false);
	if (slot != NULL)
		next = slot->next_start;
	worker_unlock();
	return next == DT_NOBEGIN ? GetCurrentTimestamp() : next;
}

static void
worker_at_transaction_end(XactEvent event, void *arg)
{
	if (!installed_here || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT))
		return;
	installed_here = false;
	if (event == XACT_EVENT_COMMIT)
	{
		WorkerDatabase *slot;

		worker_lock(true);
		slot = worker_find_database(MyDatabaseId, true);
		if (slot != NULL)
			slot->next_start = DT_NOBEGIN;
		worker_unlock();
		worker_wake_launcher();
	}
}

void
worker_note_installation(void)
{
	installed_here = worker_is_preloaded();
}

static void
worker_request_shared_memory(void)
{
	if (previous_request_hook != NULL)
		previous_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(WorkerShared)));
	RequestNamedLWLockTranche(WORKER_TRANCHE, 1);
}

static void
worker_start_shared_memory(void)
{
	bool found;

	if (previous_startup_hook != NULL)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("memory_ext worker", sizeof(WorkerShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(*shared));
		shared->lock = &GetNamedLWLockTranche(WORKER_TRANCHE)->lock;
	}
	LWLockRelease(AddinShmemInitLock);
	phase_next_run = worker_next_run;
}

static void
worker_define_settings(void)
{
	DefineCustomBoolVariable("memory_ext.worker",
							 "Whether a background worker maintains each database.",
							 "It needs memory_ext in shared_preload_libraries.", &worker_enabled,
							 true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("memory_ext.worker_naptime",
							"How long a database is left alone between two visits of the worker.",
							NULL, &worker_naptime_seconds, 60, 1, 86400, PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("memory_ext.worker_max_workers",
							"How many databases are maintained at the same time.", NULL,
							&worker_max_workers, 2, 1, 64, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("memory_ext.worker_delay",
							"How long a worker waits between two batches while others are at work.",
							NULL, &worker_delay_ms, 10, 0, 10000, PGC_SIGHUP, GUC_UNIT_MS, NULL,
							NULL, NULL);
	DefineCustomStringVariable("memory_ext.worker_databases",
							   "The databases that are maintained, as a comma-separated list.",
							   "Empty: all of them.", &worker_databases, "", PGC_SIGHUP,
							   GUC_LIST_INPUT, NULL, NULL, NULL);
}

static void
worker_register_launcher(void)
{
	BackgroundWorker launcher = {0};

	/* not on a hot standby: it starts when recovery ends, by promotion, too */
	launcher.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	launcher.bgw_start_time = BgWorkerStart_RecoveryFinished;
	launcher.bgw_restart_time = 10;
	strlcpy(launcher.bgw_library_name, "memory_ext", sizeof(launcher.bgw_library_name));
	strlcpy(launcher.bgw_function_name, "memory_launcher_main", sizeof(launcher.bgw_function_name));
	strlcpy(launcher.bgw_name, "memory_ext launcher", BGW_MAXLEN);
	strlcpy(launcher.bgw_type, "memory_ext launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&launcher);
}

void
worker_init(void)
{
	worker_define_settings();
	RegisterXactCallback(worker_at_transaction_end, NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = worker_request_shared_memory;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = worker_start_shared_memory;
	worker_register_launcher();
}
