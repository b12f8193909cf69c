/*
 * worker_shared.c
 *		The databases that are looked after, in shared memory.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "phases.h"
#include "worker.h"
#include "worker_private.h"

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

/* What the postmaster reserves for it. */
Size
worker_shared_bytes(void)
{
	return MAXALIGN(sizeof(WorkerShared));
}

/* Makes the shared state, or attaches to it; AddinShmemInitLock is held. */
void
worker_shared_start(LWLock *lock)
{
	bool found;

	shared = ShmemInitStruct("memory_ext worker", sizeof(WorkerShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(*shared));
		shared->lock = lock;
	}
	phase_next_run = worker_next_run;
}

/* Once, when the library is preloaded. */
void
worker_shared_init(void)
{
	RegisterXactCallback(worker_at_transaction_end, NULL);
}
