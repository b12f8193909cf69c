/*
 * poke_worker.c
 *		Notifies channel memory_changes of the accounts that have changed.
 *
 * Only a session of the same database can notify its listeners, so that the
 * launcher starts one such worker in a database in which accounts were marked.
 * It notifies at once, then at most every memory_ext.poke_delay, and ends when
 * nothing has been marked for a while.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "store.h"
#include "worker_private.h"

PGDLLEXPORT void memory_poke_worker_main(Datum main_arg);

/* It stays for so long after the last poke, to be there for the next one. */
#define LINGER_MS 10000
/* After an error, doubled with each further one. */
#define FIRST_PAUSE_MS 1000
#define LONGEST_PAUSE_DOUBLINGS 6

static bool unsent = false; /* marks were taken, and their transaction has not been committed */

/* Sleeps, woken early by nothing but the order to end. */
static void
sleep_for(long milliseconds)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
	long left = milliseconds;

	while (left > 0 && !ShutdownRequestPending)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
	}
}

/* Waits for marks; false: there were none for LINGER_MS, or the worker is to end. */
static bool
wait_for_marks(void)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LINGER_MS);

	for (;;)
	{
		long left;

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (ShutdownRequestPending || !poke_is_on())
			return false;
		if (poke_is_due())
			return true;
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
		if (left <= 0)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Notifies of all that is marked, in a transaction of its own. */
static void
notify_marked(void)
{
	PokeAccount *accounts;
	StringInfoData payload;
	int n;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	pgstat_report_activity(STATE_RUNNING, "notifying memory_changes");
	initStringInfo(&payload);
	unsent = true;
	n = poke_take(&accounts);
	for (int i = 0; i < n; i++)
		store_notify_account(&payload, accounts[i].key.account_id, accounts[i].revision);
	if (n < 0 || payload.len > 0)
		store_notify_rest(&payload);
	CommitTransactionCommand();
	unsent = false;
	pgstat_report_activity(STATE_IDLE, NULL);
}

/*
 * The same, where an error, as of a full queue of notifications, is no reason to
 * end: everything is marked again.  False: there was one; only the first in a
 * row is logged.
 */
static bool
try_to_notify(bool log)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool succeeded = false;

	PG_TRY();
	{
		notify_marked();
		succeeded = true;
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		if (log)
			EmitErrorReport();
		AbortOutOfAnyTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	if (!succeeded)
		poke_mark_all(MyDatabaseId);
	return succeeded;
}

static void
poke_worker_exit(int code, Datum arg)
{
	poke_detach(unsent);
}

/* The entry point that the postmaster looks up by name. */
void
memory_poke_worker_main(Datum main_arg)
{
	int failures = 0;

	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, SignalHandlerForShutdownRequest);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(main_arg), InvalidOid, 0);
	pgstat_report_appname("memory_ext poke worker");
	/* a poke that a crash loses is made up for after it */
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_SESSION);
	before_shmem_exit(poke_worker_exit, (Datum) 0);
	poke_attach();
	while (wait_for_marks())
	{
		if (try_to_notify(failures == 0))
		{
			failures = 0;
			sleep_for(poke_delay_ms);
		}
		else
		{
			sleep_for((long) FIRST_PAUSE_MS << failures);
			failures = Min(failures + 1, LONGEST_PAUSE_DOUBLINGS);
		}
	}
	proc_exit(0);
}
