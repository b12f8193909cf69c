/*
 * subscription.c
 *		Subscriptions as the store sees them: what stands in their accounts is
 *		counted into them.
 *
 * Locks: subscriptions in key order, then the account.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "store.h"

/* What stands in a subscription's accounts (account false) or in one account. */
static QuotaAmounts
standing(const char *id, bool account)
{
	Datum values[1] = {CStringGetTextDatum(id)};
	QuotaAmounts amounts = {{0}};
	bool isnull;

	store_execute(account ? STORE_FORGET_COUNTS : STORE_SUBSCRIPTION_COUNTS, values, NULL, false);
	amounts.by_meter[QUOTA_CONVERSATIONS] = DatumGetInt64(store_column(0, 1, &isnull));
	amounts.by_meter[QUOTA_CONTENT_BYTES] = DatumGetInt64(store_column(0, 3, &isnull));
	if (isnull)
		amounts.by_meter[QUOTA_CONTENT_BYTES] = 0;
	return amounts;
}

static void
add_standing(QuotaHold *hold, const QuotaAmounts *amounts, int sign)
{
	int64 *conversations = &hold->used[quota_slot(QUOTA_CONVERSATIONS, QUOTA_CURRENT)];
	int64 *bytes = &hold->used[quota_slot(QUOTA_CONTENT_BYTES, QUOTA_CURRENT)];

	*conversations = Max(*conversations + sign * amounts->by_meter[QUOTA_CONVERSATIONS], 0);
	*bytes = Max(*bytes + sign * amounts->by_meter[QUOTA_CONTENT_BYTES], 0);
	quota_save(hold);
}

static char *
argument_id(FunctionCallInfo fcinfo, int n)
{
	return text_to_cstring(account_check(PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n)));
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
	char *subscription_id = argument_id(fcinfo, 0);
	TimestampTz starts_at = PG_ARGISNULL(2) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(2);
	char *time_zone = PG_ARGISNULL(3) ? "UTC" : text_to_cstring(PG_GETARG_TEXT_PP(3));
	QuotaAmounts amounts;
	QuotaHold *hold;

	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("plan_id must not be null"),
						errhint("See memory.plans.")));
	if (TIMESTAMP_NOT_FINITE(starts_at))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("starts_at must be a finite time")));

	SPI_connect();
	quota_check_plan(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	/* refuses an unknown zone before anything is written */
	(void) DirectFunctionCall2(timestamptz_zone, CStringGetTextDatum(time_zone),
							   TimestampTzGetDatum(starts_at));
	if (!quota_create(subscription_id, text_to_cstring(PG_GETARG_TEXT_PP(1)), starts_at, time_zone))
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("subscription \"%s\" exists already", subscription_id),
						errhint("Use memory.change_plan to change its plan.")));
	hold = quota_begin(subscription_id, subscription_id);
	amounts = standing(subscription_id, false);
	add_standing(hold, &amounts, 1);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(memory_set_subscription);

/*
 * memory_set_subscription(account_id text, subscription_id text) → void
 *		Has the account share a subscription.  What stands in it moves along;
 *		what it used stays with the subscription it used it under.
 */
Datum
memory_set_subscription(PG_FUNCTION_ARGS)
{
	char *account_id = argument_id(fcinfo, 0);
	char *to_id = argument_id(fcinfo, 1);
	char *from_id;
	QuotaHold *from;
	QuotaHold *to;
	QuotaAmounts amounts;
	Datum values[3];

	SPI_connect();
	from_id = quota_subscription_of(account_id);
	if (strcmp(from_id, to_id) != 0)
	{
		bool from_first = strcmp(from_id, to_id) < 0;

		quota_lock(from_first ? from_id : to_id);
		quota_lock(from_first ? to_id : from_id);
		from = quota_begin(from_id, account_id);
		to = quota_begin(to_id, account_id);
		(void) store_hold_account(cstring_to_text(account_id));
		amounts = standing(account_id, true);
		if (from != NULL)
			add_standing(from, &amounts, -1);
		if (to != NULL)
			add_standing(to, &amounts, 1);
		values[0] = CStringGetTextDatum(account_id);
		values[1] = CStringGetTextDatum(to_id);
		values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
		store_execute(STORE_ACCOUNT_SUBSCRIBE, values, NULL, false);
	}
	SPI_finish();
	PG_RETURN_VOID();
}
