/*
 * worker_init.c
 *		What runs by itself, when the library is loaded: the settings, and with
 *		preloading the shared memory and the launcher.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#include "worker.h"
#include "worker_private.h"

/* two locks: of the databases, and of what was marked */
#define WORKER_TRANCHE "memory_ext"

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static void
worker_request_shared_memory(void)
{
	if (previous_request_hook != NULL)
		previous_request_hook();
	RequestAddinShmemSpace(worker_shared_bytes());
	RequestAddinShmemSpace(poke_shared_bytes());
	RequestNamedLWLockTranche(WORKER_TRANCHE, 2);
}

static void
worker_start_shared_memory(void)
{
	if (previous_startup_hook != NULL)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	worker_shared_start(&GetNamedLWLockTranche(WORKER_TRANCHE)[0].lock);
	poke_start_shared_memory(&GetNamedLWLockTranche(WORKER_TRANCHE)[1].lock);
	LWLockRelease(AddinShmemInitLock);
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
	DefineCustomIntVariable("memory_ext.poke_delay",
							"How often the worker notifies channel memory_changes at most.",
							"-1: never.", &poke_delay_ms, 50, -1, 60000, PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
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
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = worker_request_shared_memory;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = worker_start_shared_memory;
	worker_shared_init();
	poke_init();
	worker_register_launcher();
}
