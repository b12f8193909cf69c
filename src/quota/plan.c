/*
 * plan.c
 *		Plans and their limits, as DBAs have written them, cached.
 *
 * The cache lives as long as the backend and is emptied when memory.plans or
 * memory.plan_limits change: their statement triggers send the invalidation
 * that a change of the table memory.plans itself would send.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "quota.h"
#include "statements.h"

static const char *const meter_names[QUOTA_NMETERS] = {"conversations", "messages", "tokens",
													   "content_bytes"};
static const char *const period_names[QUOTA_NPERIODS] = {"hour", "day", "month", "lifetime",
														 "current"};

typedef struct PlanCacheEntry
{
	QuotaPlan *plan;
	struct PlanCacheEntry *next;
} PlanCacheEntry;

static MemoryContext cache_context = NULL;
static PlanCacheEntry *cached_plans = NULL;
static Oid plans_relation = InvalidOid;
static bool active_known = false;
static bool active = false;

const char *
quota_meter_name(QuotaMeter meter)
{
	return meter_names[meter];
}

const char *
quota_period_name(QuotaPeriod period)
{
	return period_names[period];
}

QuotaMeter
quota_meter_by_name(const char *name)
{
	for (int i = 0; i < QUOTA_NMETERS; i++)
		if (strcmp(name, meter_names[i]) == 0)
			return (QuotaMeter) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("meter \"%s\" is not known", name),
			 errhint("The meters are conversations, messages, tokens and content_bytes.")));
	return QUOTA_NMETERS; /* keep compilers quiet */
}

/* messages by period, tokens by period, conversations, content_bytes */
int
quota_slot(QuotaMeter meter, QuotaPeriod period)
{
	switch (meter)
	{
		case QUOTA_MESSAGES:
			return (int) period;
		case QUOTA_TOKENS:
			return QUOTA_CURRENT + (int) period;
		case QUOTA_CONVERSATIONS:
			return QUOTA_NSLOTS - 2;
		default:
			return QUOTA_NSLOTS - 1;
	}
}

static void
plans_invalidated(Datum arg, Oid relation)
{
	if (relation != InvalidOid && relation != plans_relation)
		return;
	if (cache_context != NULL)
		MemoryContextReset(cache_context);
	cached_plans = NULL;
	active_known = false;
	plans_relation = InvalidOid;
}

/* Called once, from _PG_init. */
void
quota_init(void)
{
	CacheRegisterRelcacheCallback(plans_invalidated, (Datum) 0);
}

static Oid
find_plans(void)
{
	if (!OidIsValid(plans_relation))
		plans_relation = get_relname_relid("plans", get_namespace_oid("memory", false));
	return plans_relation;
}

/* Tells all backends, at commit, to read plans anew. */
void
quota_changed(void)
{
	CacheInvalidateRelcacheByRelid(find_plans());
	active_known = false; /* here at once */
}

PG_FUNCTION_INFO_V1(memory_plans_changed);

/*
 * memory_plans_changed() → trigger
 *		AFTER STATEMENT on memory.plans and memory.plan_limits.
 */
Datum
memory_plans_changed(PG_FUNCTION_ARGS)
{
	quota_changed();
	PG_RETURN_POINTER(NULL);
}

bool
quota_active(void)
{
	bool isnull;

	if (active_known)
		return active;
	(void) find_plans();
	quota_execute(QUOTA_ANY, NULL, NULL, false);
	active = DatumGetBool(quota_column(0, 1, &isnull));
	active_known = true;
	return active;
}

static QuotaPeriod
period_by_name(const char *name)
{
	for (int i = 0; i < QUOTA_NPERIODS; i++)
		if (strcmp(name, period_names[i]) == 0)
			return (QuotaPeriod) i;
	elog(ERROR, "unknown period \"%s\"", name);
	return QUOTA_NPERIODS; /* keep compilers quiet */
}

static void
read_thresholds(Datum value, QuotaLimit *limit)
{
	Datum *elements;
	bool *nulls;
	int n;

	deconstruct_array(DatumGetArrayTypeP(value), NUMERICOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	for (int i = 0; i < n && limit->nthresholds < lengthof(limit->thresholds); i++)
		if (!nulls[i])
			limit->thresholds[limit->nthresholds++] =
				DatumGetFloat8(DirectFunctionCall1(numeric_float8, elements[i]));
}

static QuotaPlan *
read_plan(const char *plan_id)
{
	Datum values[1] = {CStringGetTextDatum(plan_id)};
	MemoryContext old;
	QuotaPlan *plan;
	uint64 n;

	n = quota_execute(QUOTA_PLAN_LIMITS, values, NULL, false);
	old = MemoryContextSwitchTo(cache_context);
	plan = palloc0(sizeof(QuotaPlan));
	plan->plan_id = pstrdup(plan_id);
	MemoryContextSwitchTo(old);
	for (uint64 i = 0; i < n && plan->nlimits < QUOTA_NSLOTS; i++)
	{
		QuotaLimit *limit = &plan->limits[plan->nlimits++];
		bool isnull;

		limit->meter = quota_meter_by_name(quota_string(i, 1));
		limit->period = period_by_name(quota_string(i, 2));
		limit->slot = quota_slot(limit->meter, limit->period);
		limit->limit = DatumGetInt64(quota_column(i, 3, &isnull));
		limit->hard = strcmp(quota_string(i, 4), "hard") == 0;
		read_thresholds(quota_column(i, 5, &isnull), limit);
	}
	return plan;
}

/* The plan's limits, in the cache: valid until the next statement. */
QuotaPlan *
quota_read_plan(const char *plan_id)
{
	PlanCacheEntry *cached;
	QuotaPlan *plan;

	(void) find_plans();
	for (cached = cached_plans; cached != NULL; cached = cached->next)
		if (strcmp(cached->plan->plan_id, plan_id) == 0)
			return cached->plan;

	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(TopMemoryContext, "memory_ext plans",
											  ALLOCSET_DEFAULT_SIZES);
	plan = read_plan(plan_id);
	cached = MemoryContextAlloc(cache_context, sizeof(PlanCacheEntry));
	cached->plan = plan;
	cached->next = cached_plans;
	cached_plans = cached;
	return plan;
}
