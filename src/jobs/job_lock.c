/*
 * job_lock.c
 *		Who works on a job, and whose turn it is.
 *
 * While it works, a worker holds a lock of its own kind on the job, shared, to
 * its end: who can have it exclusively knows that nobody works on the job.  The
 * lock is an advisory one with a fourth field that pg_advisory_lock never uses.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/wait_event.h"

#include "job.h"

int job_max_workers_per_job = 4;
int job_max_workers = 4;

/* The fourth field of the lock; PostgreSQL itself uses 1 and 2. */
#define JOB_LOCK_KIND 77

static void
set_lock_tag(LOCKTAG *tag, int64 job_id)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (job_id >> 32), (uint32) job_id,
						 JOB_LOCK_KIND);
}

/* Whether nobody works on the job; hold: nobody can begin to before the transaction ends. */
bool
job_idle(int64 job_id, bool hold)
{
	LOCKTAG tag;

	set_lock_tag(&tag, job_id);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	if (!hold)
		LockRelease(&tag, ExclusiveLock, false);
	return true;
}

/* Holds the job, shared with its other workers, until the process ends. */
void
job_hold(int64 job_id)
{
	LOCKTAG tag;

	set_lock_tag(&tag, job_id);
	(void) LockAcquire(&tag, ShareLock, true, false);
}

/*
 * Each worker of a job, of whatever database, holds one of so many slots as the
 * server may have such workers: a lock of no database, to the process's end.
 */
#define SLOT_LOCK_KIND 78

static void
set_slot_tag(LOCKTAG *tag, int slot)
{
	SET_LOCKTAG_ADVISORY(*tag, InvalidOid, 0, (uint32) slot, SLOT_LOCK_KIND);
}

/* How many slots nobody has at the moment. */
int
job_free_slots(void)
{
	int free = 0;
	LOCKTAG tag;

	for (int slot = 0; slot < job_max_workers; slot++)
	{
		set_slot_tag(&tag, slot);
		if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
			continue;
		LockRelease(&tag, ExclusiveLock, false);
		free++;
	}
	return free;
}

/* Takes one; waits where others were faster since the worker was asked for. */
void
job_take_slot(void)
{
	LOCKTAG tag;

	for (int slot = 0; slot < job_max_workers; slot++)
	{
		set_slot_tag(&tag, slot);
		if (LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL)
			return;
	}
	set_slot_tag(&tag, MyProcPid % job_max_workers);
	(void) LockAcquire(&tag, ExclusiveLock, true, false);
}

/*
 * Waits until no claim before the caller's own is open, as earlier says of
 * batch.  Error: 55000 who had it has ended.
 */
void
job_wait_for_turn(const Job *job, JobEarlier earlier, void *batch, long milliseconds)
{
	int32 pid;

	while (earlier(batch, &pid))
	{
		/* asked once more: it may have been done just before its process ended */
		if (BackendPidGetProc(pid) == NULL && earlier(batch, &pid) &&
			BackendPidGetProc(pid) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("another worker of the job ended in the middle of a batch"),
					 errhint("CALL memory.resume_job(" INT64_FORMAT ") to continue.", job->id)));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}
