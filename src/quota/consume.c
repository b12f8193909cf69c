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

static void
add_to(int64 *counter, int64 amount, QuotaMeter meter)
{
	if (pg_add_s64_overflow(*counter, amount, counter))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("usage of %s is out of range", quota_meter_name(meter))));
}

/* What was used was used: an amount that is given back counts nothing. */
static void
add_flow(QuotaHold *hold, QuotaMeter meter, int64 amount)
{
	for (int period = QUOTA_HOUR; period <= QUOTA_LIFETIME && amount > 0; period++)
		add_to(&hold->used[quota_slot(meter, (QuotaPeriod) period)], amount, meter);
}

/*
 * What stands goes down as well.  Somebody's own trigger may give back more
 * than it took; that must not lower what stands in the store.
 */
static void
add_standing(QuotaHold *hold, QuotaMeter meter, const QuotaAmounts *amounts)
{
	int slot = quota_slot(meter, QUOTA_CURRENT);
	int64 *outside = &hold->outside[slot - (QUOTA_NSLOTS - QUOTA_NSTANDING)];
	int64 amount = amounts->by_meter[meter];

	if (amounts->outside)
	{
		amount = Max(amount, -*outside);
		add_to(outside, amount, meter);
	}
	add_to(&hold->used[slot], amount, meter);
	hold->used[slot] = Max(hold->used[slot], *outside);
}

void
quota_count(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts)
{
	int64 before[QUOTA_NSLOTS];

	memcpy(before, hold->used, sizeof(before));
	add_flow(hold, QUOTA_MESSAGES, amounts->by_meter[QUOTA_MESSAGES]);
	add_flow(hold, QUOTA_TOKENS, amounts->by_meter[QUOTA_TOKENS]);
	add_standing(hold, QUOTA_CONVERSATIONS, amounts);
	add_standing(hold, QUOTA_CONTENT_BYTES, amounts);
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
