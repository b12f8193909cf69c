/*
 * consume.c
 *		Counting what is used, and telling of the limits that it passes.
 *
 * Works on a hold in memory; who began it saves it.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/builtins.h"

#include "quota_private.h"
#include "quota_statements.h"

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

void
quota_outside_columns(uint64 rows, int64 *outside)
{
	bool isnull;

	for (int i = 0; i < QUOTA_NSTANDING; i++)
		outside[i] = rows == 0 ? 0 : DatumGetInt64(plan_column(0, i + 1, &isnull));
}

void
quota_read_outside(const char *account_id, int64 *outside)
{
	Datum values[1] = {CStringGetTextDatum(account_id)};

	quota_outside_columns(quota_execute(QUOTA_OUTSIDE_READ, values, NULL, false), outside);
}

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
	Datum values[3] = {CStringGetTextDatum(account_id)};

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
		values[i + 1] = Int64GetDatum(has[i]);
	}
	quota_execute(QUOTA_OUTSIDE_WRITE, values, NULL, false);
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
