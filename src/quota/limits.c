/*
 * limits.c
 *		What a plan's limits leave, refuse and tell; consuming what they admit.
 *
 * Works on a hold in memory; who began it saves it.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/builtins.h"

#include "quota.h"
#include "quota_statements.h"

int64
quota_remaining(const QuotaHold *hold, const QuotaLimit *limit)
{
	int64 taken;

	if (pg_add_s64_overflow(hold->used[limit->slot], hold->reserved[limit->meter], &taken))
		return 0;
	return Max(limit->limit - taken, 0);
}

const QuotaLimit *
quota_tightest(const QuotaHold *hold, QuotaMeter meter)
{
	const QuotaLimit *tightest = NULL;

	for (int i = 0; i < hold->plan.nlimits; i++)
	{
		const QuotaLimit *limit = &hold->plan.limits[i];

		if (limit->meter == meter &&
			(tightest == NULL || quota_remaining(hold, limit) < quota_remaining(hold, tightest)))
			tightest = limit;
	}
	return tightest;
}

const QuotaLimit *
quota_exceeded(const QuotaHold *hold, const QuotaPlan *plan, const QuotaAmounts *amounts,
			   bool only_hard)
{
	for (int i = 0; i < plan->nlimits; i++)
	{
		const QuotaLimit *limit = &plan->limits[i];
		int64 amount = amounts->by_meter[limit->meter];

		if ((limit->hard || !only_hard) && amount > 0 && amount > quota_remaining(hold, limit))
			return limit;
	}
	return NULL;
}

char *
quota_upgrade_for(const QuotaHold *hold, const QuotaAmounts *amounts)
{
	Datum values[1] = {(Datum) 0};
	char nulls[1] = {'n'};
	char **names;
	uint64 n;

	if (hold->plan.plan_id != NULL)
	{
		values[0] = CStringGetTextDatum(hold->plan.plan_id);
		nulls[0] = ' ';
	}
	n = quota_execute(QUOTA_PLANS_BY_PRICE, values, nulls, true);
	names = palloc(mul_size(Max(n, 1), sizeof(char *)));
	for (uint64 i = 0; i < n; i++)
		names[i] = quota_string(i, 1);
	for (uint64 i = 0; i < n; i++)
	{
		QuotaPlan plan;
		bool over = false;

		if (hold->plan.plan_id != NULL && strcmp(names[i], hold->plan.plan_id) == 0)
			continue;
		quota_read_plan(names[i], &plan);
		for (int j = 0; j < plan.nlimits && !over; j++)
			over = plan.limits[j].hard &&
				   hold->used[plan.limits[j].slot] >
					   plan.limits[j].limit - hold->reserved[plan.limits[j].meter];
		if (!over && quota_exceeded(hold, &plan, amounts, true) == NULL)
			return names[i];
	}
	return NULL;
}

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
		add_to(outside, amount);
	}
	add_to(&hold->used[slot], amount);
	hold->used[slot] = Max(hold->used[slot], *outside);
}

void
quota_require(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts)
{
	const QuotaLimit *limit = quota_exceeded(hold, &hold->plan, amounts, true);

	if (limit == NULL)
		return;
	quota_reap(hold);
	limit = quota_exceeded(hold, &hold->plan, amounts, true);
	if (limit != NULL)
		quota_refuse(hold, account_id, limit, amounts);
}

static void
add_amounts(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts)
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
quota_consume(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts)
{
	quota_require(hold, account_id, amounts);
	add_amounts(hold, account_id, amounts);
}

void
quota_consume_held(QuotaHold *hold, const QuotaAmounts *amounts)
{
	add_amounts(hold, hold->account_id, amounts);
}

void
quota_charge(QuotaHold *hold, const QuotaAmounts *amounts)
{
	quota_consume(hold, hold->account_id, amounts);
	quota_save(hold);
}
