/*
 * headroom.c
 *		What a plan's limits leave, and which plan would leave enough.
 *
 * Works on a hold in memory, and changes nothing.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "utils/builtins.h"

#include "quota_private.h"
#include "sql_text.h"
#include "statement.h"

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

/* clang-format off */
/* no cheaper than the present one ($1): going up is at once, going down is not */
static PlanStatement plans_by_price_statement = {
	"SELECT plan_id FROM memory.plans"
	" WHERE offered"
	" AND ($1 IS NULL OR price" OP(>=) "COALESCE(("
	"   SELECT p.price FROM memory.plans p WHERE p.plan_id" OP(=) "$1), 0))"
	" ORDER BY price, plan_id",
	1,
	{TEXTOID},
	.latest = true,
};
/* clang-format on */

char *
quota_upgrade_for(const QuotaHold *hold, const QuotaAmounts *amounts)
{
	const char *present = hold->plan.plan_id;
	Datum values[] = {present == NULL ? (Datum) 0 : CStringGetTextDatum(present)};
	uint64 n = plan_execute(&plans_by_price_statement, values, present == NULL ? "n" : " ", true);
	char **names;

	names = palloc(mul_size(Max(n, 1), sizeof(char *)));
	for (uint64 i = 0; i < n; i++)
		names[i] = plan_string(i, 1);
	for (uint64 i = 0; i < n; i++)
	{
		QuotaPlan plan;
		bool over = false;

		if (present != NULL && strcmp(names[i], present) == 0)
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
