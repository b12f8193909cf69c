/*
 * admit.c
 *		What a plan's hard limits admit, and consuming it.
 *
 * Works on a hold in memory; who began it saves it.
 */
#include "postgres.h"

#include "quota_private.h"

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

void
quota_consume(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts)
{
	quota_require(hold, account_id, amounts);
	quota_count(hold, account_id, amounts);
}

void
quota_charge(QuotaHold *hold, const QuotaAmounts *amounts)
{
	quota_consume(hold, hold->account_id, amounts);
	quota_save(hold);
}
