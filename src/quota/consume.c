/*
 * consume.c
 *		Counting what is used, and telling of the limits that it passes.
 *
 * Works on a hold in memory; who began it saves it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "utils/builtins.h"

#include "quota_private.h"
#include "sql_text.h"
#include "statement.h"

/* Events for the thresholds that a limit's counter has passed, and a soft limit. */
static void
tell_crossings(const QuotaHold *hold, const char *account_id, const QuotaLimit *limit, int64 before,
			   int64 amount)
{
	int64 after = hold->used[limit->slot];

	for (int i = 0; i < limit->nthresholds; i++)
	{
		/* 0.07 of 100 is 7, also in binary */
		double at = limit->thresholds[i] * (double) limit->limit * (1 - 1e-12);

		if ((double) before < at && (double) after >= at)
			quota_tell_limit("quota.threshold", hold, account_id, limit, amount,
							 limit->thresholds[i]);
	}
	if (!limit->hard && before <= limit->limit && after > limit->limit)
		quota_tell_limit("quota.exceeded", hold, account_id, limit, amount, 0);
}

/* A counter stops at its end: an error would refuse all that share the subscription. */
static void
add_to(int64 *counter, int64 amount)
{
	if (pg_add_s64_overflow(*counter, amount, counter))
		*counter = amount > 0 ? PG_INT64_MAX : PG_INT64_MIN;
}

/* What was used was used: an amount that is given back counts nothing. */
static void
add_flow(QuotaHold *hold, QuotaMeter meter, int64 amount)
{
	for (int period = QUOTA_HOUR; period <= QUOTA_LIFETIME && amount > 0; period++)
		add_to(&hold->used[quota_slot(meter, (QuotaPeriod) period)], amount);
}

/* ---- what stands outside the store ---- */

/* clang-format off */
/* All of them return conversations and content_bytes, the order of quota_standing_meter. */
static PlanStatement read_outside_statement = {
	"SELECT conversations, content_bytes FROM memory_store.outside_usage"
	" WHERE account_id" OP(=) "$1",
	1,
	{TEXTOID},
};

static PlanStatement forget_outside_statement = {
	"DELETE FROM memory_store.outside_usage WHERE account_id" OP(=) "$1"
	" RETURNING conversations, content_bytes",
	1,
	{TEXTOID},
};

/* of the accounts that share the subscription, and of the one of its name */
static PlanStatement sum_outside_statement = {
	"SELECT COALESCE(pg_catalog.sum(o.conversations), 0)::pg_catalog.int8,"
	"   COALESCE(pg_catalog.sum(o.content_bytes), 0)::pg_catalog.int8"
	" FROM ("
	"   SELECT a.account_id FROM memory_store.accounts a"
	"   WHERE a.subscription_id" OP(=) "$1 AND a.subscription_id" OP(<>) "a.account_id"
	"   UNION ALL"
	"   SELECT $1 WHERE COALESCE(("
	"     SELECT a.subscription_id FROM memory_store.accounts a"
	"     WHERE a.account_id" OP(=) "$1), $1)" OP(=) "$1) u"
	" JOIN memory_store.outside_usage o ON o.account_id" OP(=) "u.account_id",
	1,
	{TEXTOID},
};

enum
{
	OUTSIDE_ACCOUNT_ID,
	OUTSIDE_STANDING, /* by quota_standing_meter */
	OUTSIDE_NPARAMETERS = OUTSIDE_STANDING + QUOTA_NSTANDING
};

static PlanStatement write_outside_statement = {
	"INSERT INTO memory_store.outside_usage (account_id, conversations, content_bytes)"
	" VALUES ($1, $2, $3)"
	" ON CONFLICT (account_id) DO UPDATE"
	" SET conversations = excluded.conversations, content_bytes = excluded.content_bytes",
	OUTSIDE_NPARAMETERS,
	{TEXTOID, INT8OID, INT8OID},
};
/* clang-format on */

/* Runs one of the statements that return what stands outside; no row: nothing does. */
static void
get_outside(PlanStatement *statement, const char *id, int64 *outside)
{
	Datum values[] = {CStringGetTextDatum(id)};
	bool found = plan_execute(statement, values, NULL, false) > 0;

	for (int i = 0; i < QUOTA_NSTANDING; i++)
		outside[i] = found ? plan_int64(0, i + 1) : 0;
}

void
quota_read_outside(const char *account_id, int64 *outside)
{
	get_outside(&read_outside_statement, account_id, outside);
}

void
quota_forget_outside(const char *account_id, int64 *outside)
{
	get_outside(&forget_outside_statement, account_id, outside);
}

void
quota_sum_outside(const char *subscription_id, int64 *outside)
{
	get_outside(&sum_outside_statement, subscription_id, outside);
}

/* ---- counting ---- */

/* What stands goes down as well. */
static void
add_standing(QuotaHold *hold, QuotaMeter meter, int64 amount)
{
	int slot = quota_slot(meter, QUOTA_CURRENT);

	add_to(&hold->used[slot], amount);
	hold->used[slot] =
		Max(hold->used[slot], hold->outside[slot - (QUOTA_NSLOTS - QUOTA_NSTANDING)]);
}

/*
 * What stands of the account outside the store changes.  Somebody's own trigger
 * may give back more than it took; that must not lower what stands in the store,
 * or outside of it of other accounts.
 */
static void
add_outside(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts)
{
	int64 has[QUOTA_NSTANDING];
	Datum values[OUTSIDE_NPARAMETERS] = {[OUTSIDE_ACCOUNT_ID] = CStringGetTextDatum(account_id)};

	if (amounts->by_meter[QUOTA_CONVERSATIONS] == 0 && amounts->by_meter[QUOTA_CONTENT_BYTES] == 0)
		return;
	quota_read_outside(account_id, has);
	for (int i = 0; i < QUOTA_NSTANDING; i++)
	{
		QuotaMeter meter = quota_standing_meter(i);
		int64 amount = Max(amounts->by_meter[meter], -has[i]);

		add_to(&has[i], amount);
		add_to(&hold->outside[i], amount);
		add_standing(hold, meter, amount);
		values[OUTSIDE_STANDING + i] = Int64GetDatum(has[i]);
	}
	plan_execute(&write_outside_statement, values, NULL, false);
}

void
quota_count(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts)
{
	int64 before[QUOTA_NSLOTS];

	memcpy(before, hold->used, sizeof(before));
	add_flow(hold, QUOTA_MESSAGES, amounts->by_meter[QUOTA_MESSAGES]);
	add_flow(hold, QUOTA_TOKENS, amounts->by_meter[QUOTA_TOKENS]);
	if (amounts->outside)
		add_outside(hold, account_id, amounts);
	for (int i = 0; i < QUOTA_NSTANDING && !amounts->outside; i++)
		add_standing(hold, quota_standing_meter(i), amounts->by_meter[quota_standing_meter(i)]);
	hold->changed = true;

	for (int i = 0; i < hold->plan.nlimits; i++)
	{
		const QuotaLimit *limit = &hold->plan.limits[i];

		tell_crossings(hold, account_id, limit, before[limit->slot],
					   amounts->by_meter[limit->meter]);
	}
}

void
quota_consume_held(QuotaHold *hold, const QuotaAmounts *amounts)
{
	quota_count(hold, hold->account_id, amounts);
}
