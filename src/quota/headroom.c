/*
 * headroom.c
 *		What a plan's limits leave, and which plan would leave enough.
 *
 * Works on a hold in memory, and changes nothing.
 */
#include "postgres.h"

#include "common/int.h"

#include "utils/builtins.h"

#include "quota_private.h"
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
