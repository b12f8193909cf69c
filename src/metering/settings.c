/*
 * settings.c
 *		The settings of metering, and what depends on the clock: the day that a
 *		message counts on, and whether it is backdated.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "utils/guc.h"

#include "metering.h"

bool metering_keep_forgotten = false;

static int backdated_after = 86400;
static bool count_backdated = false;
static int outbox_retention = 7 * 86400;
static bool usage_events = false;

/*
 * What changes a bill is for superusers: whoever may set it could hide usage.
 */
void
metering_init(void)
{
	DefineCustomIntVariable("memory_ext.backdated_after",
							"A message whose created_at is older is an import: it counts as "
							"storage, not as this period's usage.",
							NULL, &backdated_after, 86400, 60, INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL,
							NULL, NULL);
	DefineCustomBoolVariable("memory_ext.count_backdated",
							 "Backdated messages count as usage of the day they were created.",
							 NULL, &count_backdated, false, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("memory_ext.keep_usage_of_forgotten",
							 "memory.forget keeps the numbers of an account's usage.",
							 "They stay under its account_id.", &metering_keep_forgotten, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("memory_ext.outbox_retention",
							"maintain() keeps events that every consumer has acknowledged, and "
							"the request ids of recorded calls, for so long.",
							NULL, &outbox_retention, 7 * 86400, 0, INT_MAX, PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("memory_ext.usage_events",
							 "maintain() puts each account's usage of each closed day into the "
							 "outbox.",
							 NULL, &usage_events, false, PGC_SUSET, 0, NULL, NULL, NULL);
}

/* The UTC day. */
DateADT
metering_day(TimestampTz at)
{
	int64 day = at / USECS_PER_DAY;

	if (at % USECS_PER_DAY < 0)
		day--;
	return (DateADT) day;
}

/*
 * How a message that a statement adds now is counted.  A time yet to come
 * would otherwise put usage off for as long as somebody likes.
 */
MeteringKind
metering_classify(TimestampTz created_at)
{
	int64 age = GetCurrentStatementStartTimestamp() - created_at;
	int64 limit = backdated_after * USECS_PER_SEC;

	if (age < -limit)
		return METERING_FLOW_NOW;
	if (age > limit && !count_backdated)
		return METERING_IMPORTED;
	return METERING_FLOW;
}

TimestampTz
metering_backdated_time(TimestampTz now)
{
	return now - (int64) backdated_after * USECS_PER_SEC - USECS_PER_DAY;
}
