/*
 * progress.c
 *		What the phases of maintenance call between their batches, and when a
 *		database is visited next.
 *
 * The phases' progress itself is a row each of memory_store.maintenance_phases,
 * see phases.c.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/ps_status.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "phases.h"
#include "worker_private.h"

static bool visiting = false;

bool
worker_must_stop(void)
{
	WorkerDatabase *slot;
	bool stop;

	if (!visiting)
		return false;
	worker_lock(false);
	slot = worker_find_database(MyDatabaseId, false);
	stop = slot == NULL || slot->stop;
	worker_unlock();
	return stop;
}

/*
 * Whether another session is in a statement.  Read without a lock: a session
 * that begins or ends at this moment may be missed.
 */
static bool
others_are_busy(void)
{
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		PGPROC *proc = &ProcGlobal->allProcs[i];

		if (proc != MyProc && proc->pid != 0 && OidIsValid(proc->databaseId) &&
			(TransactionIdIsValid(proc->xmin) || TransactionIdIsValid(proc->xid)))
			return true;
	}
	return false;
}

/*
 * Between two batches, before the next one takes a lock: shows the phase and how
 * many items are done as the process title, and waits for
 * memory_ext.worker_delay while other sessions are in statements.  Error: 57014
 * the worker stands in somebody's way.
 */
static void
pause_worker(const char *phase, int64 done)
{
	char *title = psprintf("%s: " INT64_FORMAT " done", phase, done);

	set_ps_display(title);
	pgstat_report_activity(STATE_RUNNING, title);
	if (worker_delay_ms > 0 && others_are_busy())
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, worker_delay_ms,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	CHECK_FOR_INTERRUPTS();
	if (worker_must_stop())
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("the worker of this database has been told to stop")));
}

bool
worker_is_first_visit(void)
{
	WorkerDatabase *slot;
	bool first;

	worker_lock(false);
	slot = worker_find_database(MyDatabaseId, false);
	first = slot == NULL || !slot->visited;
	worker_unlock();
	return first;
}

void
worker_begin_visit(void)
{
	visiting = true;
	phase_pause = pause_worker;
	phase_begins_durably = worker_is_first_visit();
}
