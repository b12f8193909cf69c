/*
 * subscription.c
 *		Subscriptions as the store sees them: what stands in their accounts is
 *		counted into them, and they are locked before accounts are.
 *
 * Locks: subscriptions in key order, then the account.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "sql_text.h"
#include "statement.h"
#include "store_private.h"

/* clang-format off */
PlanStatement store_forget_counts_statement = {
	"SELECT pg_catalog.count(*), pg_catalog.sum(message_count)::pg_catalog.int8,"
	" pg_catalog.sum(content_bytes)::pg_catalog.int8,"
	" pg_catalog.sum(token_count)::pg_catalog.int8"
	" FROM memory_store.conversations"
	" WHERE account_id" OP(=) "$1 AND deleted_at IS NULL",
	1,
	{TEXTOID},
};
/* clang-format on */

static void
add_standing(QuotaAmounts *amounts, const char *account_id)
{
	Datum values[1] = {CStringGetTextDatum(account_id)};
	Datum bytes;
	bool isnull;

	plan_execute(&store_forget_counts_statement, values, NULL, false);
	amounts->by_meter[QUOTA_CONVERSATIONS] += DatumGetInt64(plan_column(0, 1, &isnull));
	bytes = plan_column(0, 3, &isnull);
	if (!isnull)
		amounts->by_meter[QUOTA_CONTENT_BYTES] += DatumGetInt64(bytes);
}

/* the account of that name, and those that share the subscription: by two indexes */
/* clang-format off */
static PlanStatement subscription_accounts_statement = {
	"SELECT account_id"
	" FROM memory_store.accounts"
	" WHERE subscription_id" OP(=) "$1"
	" AND account_id" OP(=) "$1 OR subscription_id" OP(=) "$1"
	" AND subscription_id" OP(<>) "account_id"
	" ORDER BY account_id FOR NO KEY UPDATE",
	1,
	{TEXTOID},
};

PlanStatement store_forget_account_statement = {
	"DELETE"
	" FROM memory_store.accounts"
	" WHERE account_id" OP(=) "$1",
	1,
	{TEXTOID},
};
/* clang-format on */

/* clang-format off */
static PlanStatement subscription_shared_statement = {
	"SELECT"
	" FROM memory_store.accounts"
	" WHERE subscription_id" OP(=) "$1 AND subscription_id" OP(<>) "account_id"
	" LIMIT 1",
	1,
	{TEXTOID},
};
/* clang-format on */

/*
 * Whether the account of this name is new and nobody shares its subscription.
 * To make the account waits for whoever makes it, and keeps others from it: it
 * is made and taken away again, so that only who writes leaves an account.
 */
static bool
claim(const char *subscription_id)
{
	Datum values[2] = {CStringGetTextDatum(subscription_id)};

	values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
	if (plan_execute(&store_account_know_statement, values, NULL, false) == 0)
		return false;
	plan_execute(&store_forget_account_statement, values, NULL, false);
	return plan_execute(&subscription_shared_statement, values, NULL, false) == 0;
}

/*
 * What stands in a subscription's accounts.  They are locked first: what a
 * transaction wrote that began before the subscription is counted once it has
 * committed.
 */
static QuotaAmounts
standing(const char *subscription_id)
{
	Datum values[1] = {CStringGetTextDatum(subscription_id)};
	QuotaAmounts amounts = {{0}};
	char **accounts;
	uint64 n;
	bool isnull;

	n = plan_execute(&subscription_accounts_statement, values, NULL, false);
	accounts = palloc(mul_size(Max(n, 1), sizeof(char *)));
	for (uint64 i = 0; i < n; i++)
		accounts[i] = TextDatumGetCString(plan_column(i, 1, &isnull));
	for (uint64 i = 0; i < n; i++)
		add_standing(&amounts, accounts[i]);
	return amounts;
}

/* Called once, from _PG_init. */
void
subscription_init(void)
{
	quota_set_standing(claim, standing);
}

static int
compare_charges(const void *a, const void *b)
{
	return strcmp((*(StoreCharge *const *) a)->subscription_id,
				  (*(StoreCharge *const *) b)->subscription_id);
}

/*
 * store_lock_charges
 *		Locks the subscriptions of accounts, in key order, before the first
 *		account is locked.  Those that have no plan become NULL.  Needs an SPI
 *		connection.
 */
void
store_lock_charges(StoreCharge *charges, uint64 n)
{
	StoreCharge **sorted;
	const char *last = NULL;
	bool charged = false;

	if (!quota_active())
		return;
	sorted = palloc(mul_size(Max(n, 1), sizeof(*sorted)));
	for (uint64 i = 0; i < n; i++)
	{
		charges[i].subscription_id =
			quota_subscription_of(text_to_cstring(charges[i].account_id), false);
		sorted[i] = &charges[i];
	}
	qsort(sorted, n, sizeof(*sorted), compare_charges);
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (last == NULL || strcmp(sorted[i]->subscription_id, last) != 0)
		{
			last = sorted[i]->subscription_id;
			charged = quota_lock(last);
		}
		if (!charged)
			sorted[i]->subscription_id = NULL;
	}
	pfree(sorted);
}

/*
 * store_lock_before_moving
 *		The same for work that moves the data of accounts, which are given in
 *		order, and charges nothing: the transaction may go on to write.  A step
 *		of maintain(), which commits behind each, leaves it out: the accounts'
 *		locks are enough then, and those who share a subscription do not wait for
 *		maintenance.
 */
void
store_lock_before_moving(text **accounts, uint64 n, bool step)
{
	StoreCharge *charges;
	uint64 count = 0;

	if (step && !IsTransactionBlock())
		return;
	charges = palloc0(mul_size(Max(n, 1), sizeof(StoreCharge)));
	for (uint64 i = 0; i < n; i++)
		if (count == 0 || !account_same(accounts[i], charges[count - 1].account_id))
			charges[count++].account_id = accounts[i];
	store_lock_charges(charges, count);
	pfree(charges);
}

PG_FUNCTION_INFO_V1(memory_subscribe);

/*
 * memory_subscribe(subscription_id text, plan_id text, starts_at timestamptz,
 *					time_zone text) → void
 *		Makes a subscription; its periods are counted from starts_at (NULL: now)
 *		in the time zone (NULL: UTC).  What stands in its accounts is counted
 *		from the first moment.  Errors: 23505 exists, 42704 no such plan, 22023.
 */
Datum
memory_subscribe(PG_FUNCTION_ARGS)
{
	char *subscription_id = text_to_cstring(argument_account(fcinfo, 0));
	TimestampTz starts_at = PG_ARGISNULL(2) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(2);
	char *time_zone = PG_ARGISNULL(3) ? "UTC" : text_to_cstring(PG_GETARG_TEXT_PP(3));

	argument_require(fcinfo, 1, "plan_id", "See memory.plans.");
	if (TIMESTAMP_NOT_FINITE(starts_at))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("starts_at must be a finite time")));

	SPI_connect();
	/* refuses an unknown zone before anything is written */
	(void) DirectFunctionCall2(timestamptz_zone, CStringGetTextDatum(time_zone),
							   TimestampTzGetDatum(starts_at));
	if (!quota_create(subscription_id, text_to_cstring(PG_GETARG_TEXT_PP(1)), starts_at, time_zone))
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("subscription \"%s\" already exists", subscription_id),
						errhint("Use memory.change_plan to change its plan.")));
	/* locks the plan: behind the subscription, as memory.change_plan does */
	quota_check_plan(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(memory_set_subscription);

/* clang-format off */
static PlanStatement account_subscribe_statement = {
	"INSERT INTO memory_store.accounts (account_id, subscription_id, revision,"
	" created_at)"
	" VALUES ($1, $2, 0, $3)"
	" ON CONFLICT (account_id) DO UPDATE"
	" SET subscription_id = excluded.subscription_id",
	3,
	{TEXTOID, TEXTOID, TIMESTAMPTZOID},
};
/* clang-format on */

/*
 * memory_set_subscription(account_id text, subscription_id text) → void
 *		Has the account share a subscription.  What stands in it and what it has
 *		reserved move along; what it used stays with the subscription it used it
 *		under.  Error: 40001 somebody else has moved it at the same time.
 */
Datum
memory_set_subscription(PG_FUNCTION_ARGS)
{
	char *account_id = text_to_cstring(argument_account(fcinfo, 0));
	char *to_id = text_to_cstring(argument_account(fcinfo, 1));
	char *from_id;
	QuotaHold *from;
	QuotaHold *to;
	QuotaAmounts amounts = {{0}};
	Datum values[3];

	SPI_connect();
	from_id = quota_subscription_of(account_id, false);
	if (strcmp(from_id, to_id) != 0)
	{
		(void) quota_lock(strcmp(from_id, to_id) < 0 ? from_id : to_id);
		from = quota_begin_on(from_id, account_id);
		to = quota_begin_on(to_id, account_id);
		(void) store_hold_account(cstring_to_text(account_id));
		if (strcmp(from_id, quota_subscription_of(account_id, false)) != 0)
			quota_moved(account_id);
		add_standing(&amounts, account_id);
		quota_move_reservations(from, to, account_id, to_id);
		quota_move_outside(from, to, account_id);
		if (to != NULL)
		{
			quota_consume_held(to, &amounts);
			quota_save(to);
		}
		for (int i = 0; i < QUOTA_NMETERS; i++)
			amounts.by_meter[i] = -amounts.by_meter[i];
		if (from != NULL)
		{
			quota_consume_held(from, &amounts);
			quota_save(from);
		}
		quota_changed();
		values[0] = CStringGetTextDatum(account_id);
		values[1] = CStringGetTextDatum(to_id);
		values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
		plan_execute(&account_subscribe_statement, values, NULL, false);
	}
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(memory_recount);

/*
 * memory_recount(subscription_id text) → boolean
 *		Counts anew what stands in the subscription's accounts, in the store and
 *		outside of it, and what its reservations hold; returns whether the
 *		counters were wrong.  What flows (messages, tokens) stays as it is: it
 *		cannot be told from what is stored.  Errors: 22004, 42501, P0002 there is
 *		no such subscription.
 */
Datum
memory_recount(PG_FUNCTION_ARGS)
{
	char *subscription_id = text_to_cstring(argument_account(fcinfo, 0));
	QuotaHold *hold = NULL;
	QuotaAmounts amounts;
	bool wrong;

	SPI_connect();
	if (quota_exists(subscription_id))
		hold = quota_begin_on(subscription_id, subscription_id);
	if (hold == NULL)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("subscription \"%s\" does not exist", subscription_id),
						errhint("Use memory.subscribe to create it.")));
	amounts = standing(subscription_id);
	wrong = quota_recount(hold, &amounts);
	quota_save(hold);
	SPI_finish();
	PG_RETURN_BOOL(wrong);
}
