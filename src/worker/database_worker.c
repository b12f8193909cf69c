/*
 * database_worker.c
 *		One visit of a database: the phases of maintenance, each by its procedure.
 *
 * Every phase is a CALL at top level, which commits as it goes; its transactions
 * are as short as those of a CALL memory.maintain() by hand.  A phase that fails
 * does not keep the others from their work: its error is noted in
 * memory_store.maintenance_phases, logged unless the same one was logged before,
 * and the phase is tried again after a pause that doubles with each failure.
 *
 * A phase whose process died, and with it perhaps all others, has left its row
 * behind as begun.  The next visit counts that as a failure, too, so that a crash
 * is not repeated at once for ever.  On the first visit since the server started,
 * or started again after a crash, the row is flushed before the phase begins; on
 * later ones it is not, so that an idle database costs no flushes.  A crash within
 * a second of the row may then go uncounted, but only once: the next visit is a
 * first one again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "sql_text.h"
#include "worker_private.h"

PGDLLEXPORT void memory_database_worker_main(Datum main_arg);

static MemoryContext visit_context = NULL;

/* ---------- statements ---------- */

static void
begin_transaction(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
}

static void
end_transaction(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(visit_context);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* A statement with at most four texts as parameters, in a transaction that is open. */
static uint64
run(const char *sql, int nargs, const char *const *args)
{
	Oid types[4];
	Datum values[4];
	char nulls[5] = "    ";

	for (int i = 0; i < nargs; i++)
	{
		types[i] = TEXTOID;
		values[i] = args[i] != NULL ? CStringGetTextDatum(args[i]) : (Datum) 0;
		nulls[i] = args[i] != NULL ? ' ' : 'n';
	}
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "a statement of the worker failed: %s", sql);
	return SPI_processed;
}

/*
 * CALLs a procedure that commits, as a client's simple query would: the
 * statement's trees live in the visit's context, beyond the transactions.
 */
static void
call(const char *sql)
{
	RawStmt *raw;
	List *queries;
	List *plans;
	Portal portal;
	QueryCompletion completion;

	debug_query_string = sql;
	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, sql);
	StartTransactionCommand();
	MemoryContextSwitchTo(visit_context);
	raw = linitial_node(RawStmt, pg_parse_query(sql));
	PushActiveSnapshot(GetTransactionSnapshot());
	queries = pg_analyze_and_rewrite_fixedparams(raw, sql, NULL, 0, NULL);
	plans = pg_plan_queries(queries, sql, CURSOR_OPT_PARALLEL_OK, NULL);
	PopActiveSnapshot();

	portal = CreatePortal("", true, true);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, sql, CreateCommandTag(raw->stmt), plans, NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	compat_portal_run(portal, &completion);
	PortalDrop(portal, false);
	CommitTransactionCommand();
	MemoryContextSwitchTo(visit_context);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	debug_query_string = NULL;
}

/* ---------- phases ---------- */

/* The phases that are due, in their order; NIL: the extension is not here. */
static List *
read_phases(void)
{
	List *phases = NIL;

	begin_transaction("looking for what is due");
	if (OidIsValid(get_extension_oid("memory_ext", true)))
	{
		run("SELECT memory_store.note_dead_phases()", 0, NULL);
		/* clang-format off */
		run("SELECT phase FROM memory_store.maintenance_phases"
			" WHERE retry_at IS NULL OR retry_at" OP(<=) "pg_catalog.now()"
			" ORDER BY position",
			0, NULL);
		/* clang-format on */
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			char *phase = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
			MemoryContext old = MemoryContextSwitchTo(visit_context);

			phases = lappend(phases, pstrdup(phase));
			MemoryContextSwitchTo(old);
		}
	}
	end_transaction();
	return phases;
}

/* Whether the extension is still here: DROP EXTENSION may have come between two phases. */
static bool
is_installed(void)
{
	bool installed;

	StartTransactionCommand();
	installed = OidIsValid(get_extension_oid("memory_ext", true));
	CommitTransactionCommand();
	MemoryContextSwitchTo(visit_context);
	return installed;
}

/* Notes the error where memory.maintenance shows it; logs it unless it is the last one again. */
static void
note_failure(const char *phase, const ErrorData *error)
{
	const char *args[3];
	char *database;
	bool isnull;
	bool new;

	args[0] = phase;
	args[1] = unpack_sql_state(error->sqlerrcode);
	args[2] = error->message != NULL ? error->message : "";
	begin_transaction("noting an error");
	run("SELECT memory_store.phase_failed($1, $2, $3)", 3, args);
	new = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	database = MemoryContextStrdup(visit_context, get_database_name(MyDatabaseId));
	end_transaction();
	if (new)
		ereport(LOG, (errcode(error->sqlerrcode),
					  errmsg("maintenance of database \"%s\" failed in phase \"%s\": %s", database,
							 phase, args[2]),
					  error->detail != NULL ? errdetail_internal("%s", error->detail) : 0,
					  errhint("It is tried again; see memory.maintenance.")));
}

/* The worker has been told to end: that is no failure of the phase. */
static void
note_interruption(const char *phase)
{
	begin_transaction("noting an interruption");
	run("SELECT memory_store.phase_interrupted($1)", 1, &phase);
	end_transaction();
}

/* False: it failed. */
static bool
run_phase(const char *phase)
{
	volatile bool succeeded = false;
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		call(psprintf("CALL memory.maintain(phase => %s)", quote_literal_cstr(phase)));
		succeeded = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(visit_context);
		error = CopyErrorData();
		HOLD_INTERRUPTS();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		PortalErrorCleanup();
		RESUME_INTERRUPTS();
		MemoryContextSwitchTo(visit_context);
		debug_query_string = NULL;
	}
	PG_END_TRY();
	if (succeeded)
		return true;

	/* The launcher may cancel again at any time: what is to be noted is noted all the same. */
	HOLD_CANCEL_INTERRUPTS();
	if (is_installed())
	{
		if (worker_must_stop())
			note_interruption(phase);
		else
			note_failure(phase, error);
	}
	QueryCancelPending = false;
	RESUME_CANCEL_INTERRUPTS();
	return false;
}

/* ---------- the visit ---------- */

static void
end_visit(WorkerResult result)
{
	WorkerDatabase *slot;

	worker_lock(true);
	slot = worker_find_database(MyDatabaseId, false);
	if (slot != NULL)
	{
		slot->result = result;
		slot->visited = slot->visited || !slot->stop;
	}
	worker_unlock();
}

static void
visit(void)
{
	List *phases = read_phases();
	WorkerResult result = WORKER_DONE;
	ListCell *cell;

	/* a crash loses the marks of accounts that had changed */
	if (phases != NIL && worker_is_first_visit())
		poke_mark_all(MyDatabaseId);
	foreach (cell, phases)
	{
		CHECK_FOR_INTERRUPTS();
		if (worker_must_stop() || !is_installed())
			break;
		if (!run_phase(lfirst(cell)))
			result = WORKER_FAILED;
	}
	end_visit(is_installed() ? result : WORKER_ABSENT);
}

/* Defaults that a database or a role has for people's statements do not fit the worker's. */
static void
set_defaults(void)
{
	static const char *const defaults[][2] = {{"search_path", "pg_catalog, pg_temp"},
											  {"default_transaction_isolation", "read committed"},
											  {"default_transaction_read_only", "off"},
											  {"lock_timeout", "0"},
											  {"statement_timeout", "0"},
											  {"idle_in_transaction_session_timeout", "0"},
											  {"client_min_messages", "error"}};

	for (int i = 0; i < lengthof(defaults); i++)
		SetConfigOption(defaults[i][0], defaults[i][1], PGC_USERSET, PGC_S_SESSION);
	compat_no_transaction_timeout();
	SetConfigOption("memory_ext.account", "", PGC_SUSET, PGC_S_SESSION);
}

/* The entry point that the postmaster looks up by name. */
void
memory_database_worker_main(Datum main_arg)
{
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, StatementCancelHandler);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(main_arg), InvalidOid, 0);
	pgstat_report_appname("memory_ext worker");
	set_defaults();
	worker_begin_visit();
	visit_context =
		AllocSetContextCreate(TopMemoryContext, "memory_ext worker", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(visit_context);
	visit();
	proc_exit(0);
}
