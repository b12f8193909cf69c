/*
 * erase.c
 *		Erasure: forgetting an account, retention, and what maintenance removes
 *		for good: tombstones, dictionaries.
 *
 * A dictionary holds text of the accounts it was trained on.  Forgetting one
 * of them makes the dictionary stale: it is not written with any more,
 * maintain() recompresses the segments that need it (of whatever account) and
 * then drops it.  Training and forgetting exclude each other
 * (dictionary_lock_training), and what decides about an erasure is read with a
 * snapshot of that moment, whatever the transaction's.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "audit.h"
#include "dictionary.h"
#include "erase.h"
#include "problems.h"
#include "sql_text.h"
#include "statement.h"
#include "store.h"

#define MAX_FORGETS 4

static EraseElsewhere forgets_elsewhere[MAX_FORGETS];
static int nforgets = 0;

/* What rooms above this one keep of accounts is erased with them, by a function of each. */
void
erase_set_elsewhere(EraseElsewhere forget)
{
	if (nforgets == MAX_FORGETS)
		elog(ERROR, "too many rooms forget");
	forgets_elsewhere[nforgets++] = forget;
}

static int64
column_or_zero(int column)
{
	bool isnull;
	Datum value = plan_column(0, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/*
 * Locks subscription and account.  What stands goes from the subscription's
 * counters; a subscription of the account's own goes altogether.  An account
 * that does not exist is made, to be erased in the end: without its row's lock
 * somebody else could make it meanwhile, and lose a part.
 */
static void
charge_forgotten(text *account_id)
{
	char *name = text_to_cstring(account_id);
	QuotaHold *hold = quota_begin_confirmed(name);

	if (!store_hold_account(account_id))
		(void) store_lock_account(account_id, hold == NULL ? NULL : hold->subscription_id, true);
	if (hold != NULL)
	{
		Datum values[1] = {PointerGetDatum(account_id)};
		QuotaAmounts amounts = {{0}};

		plan_execute(&store_forget_counts_statement, values, NULL, false);
		amounts.by_meter[QUOTA_CONVERSATIONS] = -column_or_zero(1);
		amounts.by_meter[QUOTA_CONTENT_BYTES] = -column_or_zero(3);
		quota_consume(hold, name, &amounts);
	}
	quota_forget_account(hold, name);
}

/* A count of rows, by the first column, as they are at this moment. */
static int64
count_now(PlanStatement *statement, Datum *values)
{
	int64 count;

	PushActiveSnapshot(GetLatestSnapshot());
	plan_execute(statement, values, NULL, true);
	count = column_or_zero(1);
	PopActiveSnapshot();
	return count;
}

/* clang-format off */
static PlanStatement forget_seen_statement = {
	"SELECT (SELECT pg_catalog.count(*)"
	" FROM memory_store.accounts"
	" WHERE account_id" OP(=) "$1)" OP(+) "(SELECT pg_catalog.count(*)"
	" FROM memory_store.dictionary_accounts"
	" WHERE account_id" OP(=) "$1)",
	1,
	{TEXTOID},
};
/* clang-format on */

/*
 * A transaction with an old snapshot would pass over an account, or a
 * dictionary trained on it, that came later, and report an erasure that is
 * none.  (What has changed since is refused by its row.)  Error: 40001.
 */
static void
refuse_old_snapshot(Datum *values)
{
	if (!IsolationUsesXactSnapshot())
		return;
	plan_execute(&forget_seen_statement, values, NULL, false);
	if (column_or_zero(1) != count_now(&forget_seen_statement, values))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not serialize access due to concurrent update"),
						errhint("Retry the transaction.")));
}

/* clang-format off */
/* the columns of STORE_TAIL_MESSAGE */
static PlanStatement forget_ledger_statement = {
	"SELECT t.seq, t.parent_seq, t.revision, t.created_at, t.tokens, t.role, t.content,"
	"   t.model, t.message_id, t.metadata, t.counted"
	" FROM memory_store.tail t"
	" JOIN memory_store.conversations c ON t.conversation_id" OP(=) "c.conversation_id"
	" WHERE c.account_id" OP(=) "$1 AND t.account_id" OP(=) "$1 AND NOT t.counted",
	1,
	{TEXTOID},
};
/* clang-format on */

/*
 * Usage is numbers without text, but they stand under the account's name: they
 * go with it, unless memory_ext.keep_usage_of_forgotten is on.  Then the tail's
 * rows, the ledger of theirs, are counted before they go.
 */
static void
keep_or_forget_usage(text *account_id)
{
	Datum values[1] = {PointerGetDatum(account_id)};
	MeteringBatch *usage;
	uint64 n;

	if (!metering_keep_forgotten)
	{
		metering_forget(account_id);
		return;
	}
	usage = metering_batch_create(account_id);
	n = plan_execute(&forget_ledger_statement, values, NULL, false);
	for (uint64 i = 0; i < n; i++)
	{
		StoreConversation ledger = {.account_id = account_id, .usage = usage};
		TranscriptMessage message;

		CHECK_FOR_INTERRUPTS();
		store_tail_row(i, &message);
		store_usage_taken(&ledger, &message, 1);
	}
	plan_execute(&store_forget_counts_statement, values, NULL, false);
	metering_batch_removed(usage, column_or_zero(2), column_or_zero(4), column_or_zero(3));
	metering_batch_end(usage);
}

PG_FUNCTION_INFO_V1(memory_forget);

/* clang-format off */
static PlanStatement dictionaries_stale_statement = {
	"WITH d AS (DELETE"
	" FROM memory_store.dictionary_accounts"
	" WHERE account_id" OP(=) "$1"
	" RETURNING dictionary_id) UPDATE memory_store.dictionaries"
	" SET is_current = false, stale_at = COALESCE(stale_at,"
	" pg_catalog.clock_timestamp())"
	" WHERE dictionary_id" OP(=) "ANY (SELECT dictionary_id"
	" FROM d)"
	" RETURNING dictionary_id",
	1,
	{TEXTOID},
};

static PlanStatement training_clear_statement = {
	"DELETE"
	" FROM memory_store.trainings",
	0,
	{0},
};

static PlanStatement forget_segments_statement = {
	"DELETE"
	" FROM memory_store.segments t"
	" USING memory_store.conversations c"
	" WHERE c.account_id" OP(=) "$1 AND t.account_id" OP(=) "$1"
	" AND t.conversation_id" OP(=) "c.conversation_id",
	1,
	{TEXTOID},
};

static PlanStatement forget_tail_statement = {
	"DELETE"
	" FROM memory_store.tail t"
	" USING memory_store.conversations c"
	" WHERE c.account_id" OP(=) "$1 AND t.account_id" OP(=) "$1"
	" AND t.conversation_id" OP(=) "c.conversation_id",
	1,
	{TEXTOID},
};

static PlanStatement forget_tombstones_statement = {
	"DELETE"
	" FROM memory_store.tombstones t"
	" USING memory_store.conversations c"
	" WHERE c.account_id" OP(=) "$1 AND t.account_id" OP(=) "$1"
	" AND t.conversation_id" OP(=) "c.conversation_id",
	1,
	{TEXTOID},
};

static PlanStatement forget_conversations_statement = {
	"DELETE"
	" FROM memory_store.conversations"
	" WHERE account_id" OP(=) "$1",
	1,
	{TEXTOID},
};

static PlanStatement forget_purged_statement = {
	"DELETE FROM memory_store.purged"
	" WHERE account_id" OP(=) "$1",
	1,
	{TEXTOID},
};

static PlanStatement forget_retention_statement = {
	"DELETE"
	" FROM memory_store.retention"
	" WHERE account_id" OP(=) "$1",
	1,
	{TEXTOID},
};

static PlanStatement erasure_note_statement = {
	"INSERT INTO memory_store.erasures (erased_at)"
	" VALUES (pg_catalog.clock_timestamp())"
	" ON CONFLICT DO NOTHING",
	0,
	{0},
};
/* clang-format on */

/*
 * memory_forget(account_id text) → jsonb
 *		Erases the account with all it has, and returns the receipt: what was
 *		erased, which dictionaries became stale, and that maintain() has to drop
 *		these, behind recompressing what (of other accounts) needs them.  Usage
 *		is erased, too, unless memory_ext.keep_usage_of_forgotten is on.  An
 *		unknown account gives a receipt of zeros.
 */
Datum
memory_forget(PG_FUNCTION_ARGS)
{
	text *account_id = argument_account(fcinfo, 0);
	Datum values[1] = {PointerGetDatum(account_id)};
	StringInfoData receipt;
	uint64 stale;
	bool isnull;

	initStringInfo(&receipt);
	audit_access(AUDIT_CONVERSATIONS, ACL_DELETE);
	audit_access(AUDIT_MESSAGES, ACL_DELETE);
	SPI_connect();
	dictionary_lock_training(false);
	charge_forgotten(account_id);
	refuse_old_snapshot(values);
	keep_or_forget_usage(account_id);
	plan_execute(&store_forget_counts_statement, values, NULL, false);
	appendStringInfoString(&receipt, "{\"account_id\": ");
	escape_json(&receipt, text_to_cstring(account_id));
	appendStringInfo(&receipt,
					 ", \"erased_at\": \"%s\", \"conversations\": " INT64_FORMAT
					 ", \"messages\": " INT64_FORMAT ", \"content_bytes\": " INT64_FORMAT,
					 timestamptz_to_str(GetCurrentTimestamp()), column_or_zero(1),
					 column_or_zero(2), column_or_zero(3));
	appendStringInfo(&receipt, ", \"segments\": " UINT64_FORMAT,
					 plan_execute(&forget_segments_statement, values, NULL, false));
	appendStringInfo(&receipt, ", \"tail_messages\": " UINT64_FORMAT,
					 plan_execute(&forget_tail_statement, values, NULL, false));
	appendStringInfo(&receipt, ", \"tombstones\": " UINT64_FORMAT,
					 plan_execute(&forget_tombstones_statement, values, NULL, false));
	plan_execute(&forget_conversations_statement, values, NULL, false);
	plan_execute(&forget_retention_statement, values, NULL, false);
	plan_execute(&forget_purged_statement, values, NULL, false);
	problems_forget(account_id);
	store_mark_changed(account_id, 0);
	for (int i = 0; i < nforgets; i++)
		forgets_elsewhere[i](account_id);
	plan_execute(&store_forget_account_statement, values, NULL, false);

	stale = plan_execute(&dictionaries_stale_statement, values, NULL, false);
	appendStringInfoString(&receipt, ", \"stale_dictionaries\": [");
	for (uint64 i = 0; i < stale; i++)
		appendStringInfo(&receipt, "%s" INT64_FORMAT, i > 0 ? ", " : "",
						 DatumGetInt64(plan_column(i, 1, &isnull)));
	appendStringInfo(&receipt, "], \"pending\": {\"dictionaries\": " UINT64_FORMAT "}}", stale);
	if (stale > 0)
		plan_execute(&training_clear_statement, NULL, NULL, false); /* maintain() trains anew */
	plan_execute(&erasure_note_statement, NULL, NULL, false);
	SPI_finish();
	dictionary_changed();
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(receipt.data)));
}

/*
 * An account's retention is erased under the account's locks, and set under
 * them.  One that does not exist is made and taken away again, which keeps
 * others from making it to the end of the transaction.
 */
static void
lock_before_retention(text *account_id)
{
	StoreCharge charge = {.account_id = account_id};
	char *name = text_to_cstring(account_id);
	Datum values[2] = {PointerGetDatum(account_id), TimestampTzGetDatum(GetCurrentTimestamp())};

	if (name[0] == '\0')
		return; /* the default of all accounts */
	if (quota_account_exists(name) || quota_exists(name))
		store_lock_charges(&charge, 1);
	if (store_hold_account(account_id))
		return;
	if (plan_execute(&store_account_know_statement, values, NULL, false) > 0)
		plan_execute(&store_forget_account_statement, values, NULL, false);
	else
		(void) store_hold_account(account_id);
}

PG_FUNCTION_INFO_V1(memory_set_retention);

/* clang-format off */
static PlanStatement retention_set_statement = {
	"INSERT INTO memory_store.retention (account_id, keep)"
	" VALUES ($1, $2)"
	" ON CONFLICT (account_id) DO UPDATE"
	" SET keep = excluded.keep",
	2,
	{TEXTOID, INTERVALOID},
};

static PlanStatement retention_clear_statement = {
	"DELETE"
	" FROM memory_store.retention"
	" WHERE account_id" OP(=) "$1",
	1,
	{TEXTOID},
};
/* clang-format on */

/*
 * memory_set_retention(account_id text, keep interval) → void
 *		How long maintain() keeps a conversation after its last change; NULL
 *		account_id: the default of all accounts, NULL keep: no limit of its own.
 *		Errors: 22023 not a positive interval, 22008 longer than the calendar.
 */
Datum
memory_set_retention(PG_FUNCTION_ARGS)
{
	text *account_id = PG_ARGISNULL(0) && account_confined() == NULL ? cstring_to_text("")
																	 : argument_account(fcinfo, 0);
	Datum values[2] = {PointerGetDatum(account_id), (Datum) 0};

	SPI_connect();
	lock_before_retention(account_id);
	if (PG_ARGISNULL(1))
		plan_execute(&retention_clear_statement, values, NULL, false);
	else
	{
		Interval *keep = PG_GETARG_INTERVAL_P(1);
		Interval zero = {0};

		if (!DatumGetBool(DirectFunctionCall2(interval_gt, IntervalPGetDatum(keep),
											  IntervalPGetDatum(&zero))))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("keep must be a positive interval, it is %s",
								   DatumGetCString(
									   DirectFunctionCall1(interval_out, IntervalPGetDatum(keep)))),
							errhint("Give NULL to keep conversations without limit.")));
		/* an interval that leads out of the calendar would fail in maintain() */
		(void) DirectFunctionCall2(timestamptz_mi_interval,
								   TimestampTzGetDatum(GetCurrentTimestamp()),
								   IntervalPGetDatum(keep));
		values[1] = IntervalPGetDatum(keep);
		plan_execute(&retention_set_statement, values, NULL, false);
	}
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * The accounts of rows that are in order of account.  Their subscriptions are
 * locked, in key order, before the first account is.
 */
static StoreCharge *
lock_due_subscriptions(SPITupleTable *due, uint64 n)
{
	StoreCharge *accounts = palloc0(mul_size(Max(n, 1), sizeof(StoreCharge)));
	uint64 count = 0;
	bool isnull;

	for (uint64 i = 0; i < n; i++)
	{
		text *account_id = DatumGetTextPP(SPI_getbinval(due->vals[i], due->tupdesc, 1, &isnull));

		if (count > 0 && account_same(account_id, accounts[count - 1].account_id))
			continue;
		accounts[count++].account_id = account_id;
	}
	store_lock_charges(accounts, count);
	return accounts;
}

/* Deletes a conversation unless it was resumed while the account's lock was waited for. */
static bool
expire_conversation(StoreAccount *account, const pg_uuid_t *id, TimestampTz updated_at,
					MeteringBatch *usage)
{
	StoreConversation *conversation = store_open_conversation(account, id, STORE_PROBE);

	if (conversation == NULL || conversation->updated_at != updated_at)
		return false;
	conversation->usage = usage;
	store_delete_conversation(conversation);
	return true;
}

/* Deletes the rows' conversations; returns how many. */
static int64
expire_due(SPITupleTable *due, uint64 n)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch =
		AllocSetContextCreate(caller, "memory_ext expire", ALLOCSET_DEFAULT_SIZES);
	StoreCharge *current = NULL;
	StoreCharge *next = lock_due_subscriptions(due, n);
	StoreAccount *account = NULL;
	MeteringBatch *usage = NULL;
	int64 expired = 0;
	bool isnull;

	for (uint64 i = 0; i < n; i++)
	{
		text *account_id = DatumGetTextPP(SPI_getbinval(due->vals[i], due->tupdesc, 1, &isnull));
		pg_uuid_t *id = DatumGetUUIDP(SPI_getbinval(due->vals[i], due->tupdesc, 2, &isnull));
		TimestampTz updated_at =
			DatumGetTimestampTz(SPI_getbinval(due->vals[i], due->tupdesc, 3, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (current == NULL || !account_same(account_id, current->account_id))
		{
			if (account != NULL)
				store_end_account(account);
			current = next++;
			usage = metering_batch_follow(usage, account_id);
			account = store_lock_account(current->account_id, current->subscription_id, false);
		}
		MemoryContextSwitchTo(scratch);
		if (account != NULL && expire_conversation(account, id, updated_at, usage))
			expired++;
		MemoryContextSwitchTo(caller);
		MemoryContextReset(scratch);
	}
	if (account != NULL)
		store_end_account(account);
	metering_batch_end(usage);
	return expired;
}

PG_FUNCTION_INFO_V1(memory_expire_batch);

/* clang-format off */
static PlanStatement retention_due_statement = {
	"SELECT c.account_id, c.conversation_id, c.updated_at"
	" FROM memory_store.conversations c"
	" LEFT JOIN memory_store.retention own ON own.account_id" OP(=) "c.account_id"
	" LEFT JOIN memory_store.retention other ON other.account_id" OP(=) "''"
	" WHERE EXISTS (SELECT"
	" FROM memory_store.retention) AND c.deleted_at IS NULL"
	" AND c.updated_at" OP(<) "($1" OP(-) "COALESCE(own.keep, other.keep))"
	" ORDER BY 1, 2 LIMIT $2",
	2,
	{TIMESTAMPTZOID, INT8OID},
};
/* clang-format on */

/*
 * memory_expire_batch(max_conversations integer) → bigint
 *		Deletes so many (NULL: all) of the conversations whose retention has
 *		passed, in order of account; returns how many.  A batch of maintain().
 *		Errors: 22023, 42501 the session is confined.
 */
Datum
memory_expire_batch(PG_FUNCTION_ARGS)
{
	int64 limit = argument_limit(fcinfo, 0, "max_conversations");
	Datum values[2] = {TimestampTzGetDatum(GetCurrentTimestamp()), Int64GetDatum(limit)};
	SPITupleTable *due;
	uint64 n;
	int64 expired;

	account_check_unconfined();
	SPI_connect();
	n = plan_execute(&retention_due_statement, values, NULL, false);
	due = SPI_tuptable;
	SPI_tuptable = NULL; /* kept while others come and go */
	expired = expire_due(due, n);
	SPI_finish();
	PG_RETURN_INT64(expired);
}

/* clang-format off */
static PlanStatement erasures_done_statement = {
	"DELETE"
	" FROM memory_store.erasures",
	0,
	{0},
};
/* clang-format on */

/*
 * After an erasure, new statistics of account ids where there are any.  The old
 * ones go before: ANALYZE leaves those of an empty table as they are.
 */
static void
purge_statistics(void)
{
	static const char *const tables[] = {"conversations", "segments",       "usage_daily",
										 "usage_calls",   "usage_requests", "outbox"};
	Oid schema = get_namespace_oid("memory_store", false);
	StringInfoData analyze;

	if (plan_execute(&erasures_done_statement, NULL, NULL, false) == 0)
		return;
	initStringInfo(&analyze);
	appendStringInfoString(&analyze, "ANALYZE");
	for (int i = 0; i < lengthof(tables); i++)
	{
		Oid table = get_relname_relid(tables[i], schema);

		LockRelationOid(table, ShareUpdateExclusiveLock); /* as ANALYZE does */
		RemoveStatistics(table, get_attnum(table, "account_id"));
		appendStringInfo(&analyze, "%s memory_store.%s (account_id)", i == 0 ? "" : ",", tables[i]);
	}
	CommandCounterIncrement();
	if (SPI_execute(analyze.data, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not analyze the store's tables");
	pfree(analyze.data);
}

PG_FUNCTION_INFO_V1(memory_purge);

/* clang-format off */
/* In one statement: what it removes is all locked before the first note is written. */
static PlanStatement purge_statement = {
	"WITH t AS (DELETE FROM memory_store.tombstones"
	" WHERE deleted_at" OP(<) "$1 RETURNING account_id, revision),"
	" c AS (DELETE FROM memory_store.conversations"
	" WHERE deleted_at" OP(<) "$1 RETURNING account_id, revision),"
	" p AS (INSERT INTO memory_store.purged AS p (account_id, revision)"
	" SELECT r.account_id, pg_catalog.max(r.revision)"
	" FROM (SELECT * FROM t UNION ALL SELECT * FROM c) r"
	" GROUP BY r.account_id ORDER BY 1"
	" ON CONFLICT (account_id) DO UPDATE"
	" SET revision = GREATEST(p.revision, excluded.revision))"
	" SELECT (SELECT pg_catalog.count(*) FROM t)" OP(+) "(SELECT pg_catalog.count(*) FROM c)",
	1,
	{TIMESTAMPTZOID},
};
/* clang-format on */

/*
 * memory_purge() → bigint
 *		Removes the tombstones, and the reservations that have ended, older than
 *		memory_ext.purge_after; returns how many tombstones.  Removes the ids of
 *		forgotten accounts from the planner's statistics.  A step of maintain().
 *		Error: 42501 the session is confined.
 */
Datum
memory_purge(PG_FUNCTION_ARGS)
{
	Datum values[1] = {
		TimestampTzGetDatum(GetCurrentTimestamp() - store_purge_after * INT64CONST(1000) * 1000)};
	int64 purged;

	account_check_unconfined();
	SPI_connect();
	plan_execute(&purge_statement, values, NULL, false);
	purged = column_or_zero(1);
	(void) quota_purge(DatumGetTimestampTz(values[0]));
	purge_statistics();
	SPI_finish();
	PG_RETURN_INT64(purged);
}

/* 0: which one it needs cannot be read */
/* clang-format off */
static PlanStatement dictionary_used_statement = {
	"SELECT EXISTS (SELECT"
	" FROM memory_store.segments"
	" WHERE memory_store.needed_dictionary(body)" OP(=) "ANY (ARRAY[$1,"
	" 0]))::pg_catalog.int4::pg_catalog.int8",
	1,
	{INT8OID},
};

static PlanStatement dictionary_drop_statement = {
	"WITH d AS (DELETE"
	" FROM memory_store.dictionaries"
	" WHERE dictionary_id" OP(=) "$1 AND NOT is_current"
	" RETURNING dictionary_id), a AS (DELETE"
	" FROM memory_store.dictionary_accounts"
	" WHERE dictionary_id" OP(=) "ANY (SELECT dictionary_id"
	" FROM d))"
	" SELECT"
	" FROM d",
	1,
	{INT8OID},
};
/* clang-format on */

/*
 * Drops a dictionary unless a segment needs it; its lock keeps writers out, and
 * with the lock what they have written is to be seen.
 */
static bool
drop_dictionary(int64 dictionary_id)
{
	Datum values[1] = {Int64GetDatum(dictionary_id)};

	dictionary_lock((uint32) dictionary_id, true);
	if (count_now(&dictionary_used_statement, values) > 0)
		return false;
	return plan_execute(&dictionary_drop_statement, values, NULL, false) > 0;
}

PG_FUNCTION_INFO_V1(memory_drop_dictionaries);

/* clang-format off */
static PlanStatement dictionaries_droppable_statement = {
	"SELECT dictionary_id"
	" FROM memory_store.dictionaries"
	" WHERE NOT is_current"
	" ORDER BY 1",
	0,
	{0},
};

static PlanStatement segments_unreadable_statement = {
	"SELECT pg_catalog.count(*)"
	" FROM memory_store.segments"
	" WHERE memory_store.needed_dictionary(body)" OP(=) "0",
	0,
	{0},
};
/* clang-format on */

/*
 * memory_drop_dictionaries() → bigint
 *		Drops the dictionaries that are neither current nor needed by any
 *		segment; returns how many.  None, with a warning, while there is a
 *		segment whose header cannot be read.  A step of maintain().
 *		Error: 42501 the session is confined.
 */
Datum
memory_drop_dictionaries(PG_FUNCTION_ARGS)
{
	int64 *ids;
	uint64 n;
	int64 unreadable;
	int64 dropped = 0;
	bool isnull;

	account_check_unconfined();
	SPI_connect();
	n = plan_execute(&dictionaries_droppable_statement, NULL, NULL, false);
	ids = palloc(mul_size(Max(n, 1), sizeof(int64)));
	for (uint64 i = 0; i < n; i++)
		ids[i] = DatumGetInt64(plan_column(i, 1, &isnull));
	unreadable = n > 0 ? count_now(&segments_unreadable_statement, NULL) : 0;
	if (unreadable > 0)
	{
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("no dictionary is dropped, a corrupt segment may need it"),
				 errdetail("Segments with a corrupt header: " INT64_FORMAT ".", unreadable),
				 errhint("memory.verify() names them. Restore them from a backup, or delete their "
						 "conversations.")));
		n = 0;
	}
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		dropped += drop_dictionary(ids[i]);
	}
	SPI_finish();
	PG_RETURN_INT64(dropped);
}
