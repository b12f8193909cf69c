/*
 * engine.c
 *		The row engine: a subscription's counters in one row.
 *
 * The row is locked before anything of the subscription's accounts, and written
 * once a statement; its lock, held to commit, makes limits exact under any
 * concurrency: whoever comes next sees what was committed.  Nothing that
 * changes is indexed, so that updates stay HOT.
 *
 * A counter belongs to a period; a row is brought to the present when it is
 * read: periods that have ended begin anew at zero, a plan that was to change
 * has changed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "metering.h"
#include "quota.h"
#include "statements.h"

#define MX001 MAKE_SQLSTATE('M', 'X', '0', '0', '1')

/* ---- rows to holds and back ---- */

static void
read_array(int column, int n, int64 *values)
{
	bool isnull;
	ArrayType *array = DatumGetArrayTypeP(quota_column(0, column, &isnull));

	/* both bigint and timestamptz are eight bytes, passed by value */
	if (ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] != n || ARR_HASNULL(array))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("a row of memory_store.subscriptions has a bad array"),
						errdetail("Column %d must have %d elements.", column, n)));
	memcpy(values, ARR_DATA_PTR(array), n * sizeof(int64));
}

static Datum
write_array(const int64 *values, int n, Oid type)
{
	Datum elements[QUOTA_NSLOTS];

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(values[i]);
	return PointerGetDatum(
		construct_array(elements, n, type, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static char *
default_plan(void)
{
	return quota_execute(QUOTA_DEFAULT_PLAN, NULL, NULL, false) > 0 ? quota_string(0, 1) : NULL;
}

static void
read_row(QuotaHold *hold)
{
	bool isnull;

	hold->plan_id = quota_string(0, 1);
	hold->starts_at = DatumGetTimestampTz(quota_column(0, 2, &isnull));
	hold->time_zone = quota_string(0, 3);
	hold->next_plan_id = quota_string(0, 4);
	hold->next_plan_at = DatumGetTimestampTz(quota_column(0, 5, &isnull));
	read_array(6, QUOTA_NBOUNDS, hold->period_start);
	read_array(7, QUOTA_NBOUNDS, hold->period_end);
	read_array(8, QUOTA_NSLOTS, hold->used);
	read_array(9, QUOTA_NSLOTS, hold->reserved);
}

/* Periods that have ended begin anew. */
static void
roll_periods(QuotaHold *hold)
{
	for (int period = 0; period < QUOTA_NBOUNDS; period++)
	{
		if (hold->now >= hold->period_start[period] && hold->now < hold->period_end[period])
			continue;
		quota_period_bounds((QuotaPeriod) period, hold->starts_at, hold->time_zone, hold->now,
							&hold->period_start[period], &hold->period_end[period]);
		hold->used[quota_slot(QUOTA_MESSAGES, (QuotaPeriod) period)] = 0;
		hold->used[quota_slot(QUOTA_TOKENS, (QuotaPeriod) period)] = 0;
	}
}

/* Brings what was read to the present and looks up its plan. */
static void
refresh(QuotaHold *hold)
{
	char *plan_id;

	roll_periods(hold);
	if (hold->next_plan_id != NULL && hold->next_plan_at <= hold->now)
	{
		hold->plan_id = hold->next_plan_id;
		hold->next_plan_id = NULL;
	}
	plan_id = hold->plan_id != NULL ? hold->plan_id : default_plan();
	hold->plan = palloc0(sizeof(QuotaPlan));
	if (plan_id != NULL)
		*hold->plan = *quota_read_plan(plan_id); /* a copy: the cache may be emptied */
	hold->plan->plan_id = plan_id;
}

static QuotaHold *
new_hold(const char *subscription_id, const char *account_id)
{
	QuotaHold *hold = palloc0(sizeof(QuotaHold));

	hold->subscription_id = pstrdup(subscription_id);
	hold->account_id = pstrdup(account_id);
	hold->now = GetCurrentTimestamp();
	return hold;
}

bool
quota_create(const char *subscription_id, const char *plan_id, TimestampTz starts_at,
			 const char *time_zone)
{
	int64 nothing[QUOTA_NSLOTS] = {0};
	TimestampTz never[QUOTA_NBOUNDS];
	Datum values[8];
	char nulls[8] = "        ";

	for (int i = 0; i < QUOTA_NBOUNDS; i++)
		never[i] = starts_at; /* an empty period: has always ended */
	values[0] = CStringGetTextDatum(subscription_id);
	nulls[1] = plan_id == NULL ? 'n' : ' ';
	values[1] = plan_id == NULL ? (Datum) 0 : CStringGetTextDatum(plan_id);
	values[2] = TimestampTzGetDatum(starts_at);
	values[3] = CStringGetTextDatum(time_zone);
	values[4] = write_array(never, QUOTA_NBOUNDS, TIMESTAMPTZOID);
	values[5] = values[4];
	values[6] = write_array(nothing, QUOTA_NSLOTS, INT8OID);
	values[7] = values[6];
	if (quota_execute(QUOTA_SUBSCRIPTION_CREATE, values, nulls, false) == 0)
		return false;
	quota_changed();
	return true;
}

QuotaHold *
quota_begin(const char *subscription_id, const char *account_id)
{
	Datum values[1] = {CStringGetTextDatum(subscription_id)};
	QuotaHold *hold;

	if (!quota_active())
		return NULL;
	if (quota_execute(QUOTA_SUBSCRIPTION_LOCK, values, NULL, false) == 0)
	{
		if (default_plan() == NULL)
			return NULL;
		(void) quota_create(subscription_id, NULL, GetCurrentTimestamp(), "UTC");
		quota_execute(QUOTA_SUBSCRIPTION_LOCK, values, NULL, false);
	}
	hold = new_hold(subscription_id, account_id);
	read_row(hold);
	refresh(hold);
	return hold;
}

void
quota_lock(const char *subscription_id)
{
	Datum values[1] = {CStringGetTextDatum(subscription_id)};

	if (quota_active())
		quota_execute(QUOTA_SUBSCRIPTION_LOCK, values, NULL, false);
}

QuotaHold *
quota_peek(const char *subscription_id, const char *account_id)
{
	Datum values[1] = {CStringGetTextDatum(subscription_id)};
	QuotaHold *hold;

	if (!quota_active())
		return NULL;
	hold = new_hold(subscription_id, account_id);
	if (quota_execute(QUOTA_SUBSCRIPTION_READ, values, NULL, true) > 0)
		read_row(hold);
	else if (default_plan() != NULL)
	{
		hold->starts_at = hold->now;
		hold->time_zone = pstrdup("UTC");
	}
	else
		return NULL;
	refresh(hold);
	return hold;
}

void
quota_save(QuotaHold *hold)
{
	Datum values[8];
	char nulls[8] = "        ";

	values[0] = CStringGetTextDatum(hold->subscription_id);
	nulls[1] = hold->plan_id == NULL ? 'n' : ' ';
	values[1] = hold->plan_id == NULL ? (Datum) 0 : CStringGetTextDatum(hold->plan_id);
	nulls[2] = hold->next_plan_id == NULL ? 'n' : ' ';
	values[2] = hold->next_plan_id == NULL ? (Datum) 0 : CStringGetTextDatum(hold->next_plan_id);
	nulls[3] = hold->next_plan_id == NULL ? 'n' : ' ';
	values[3] = TimestampTzGetDatum(hold->next_plan_at);
	values[4] = write_array(hold->period_start, QUOTA_NBOUNDS, TIMESTAMPTZOID);
	values[5] = write_array(hold->period_end, QUOTA_NBOUNDS, TIMESTAMPTZOID);
	values[6] = write_array(hold->used, QUOTA_NSLOTS, INT8OID);
	values[7] = write_array(hold->reserved, QUOTA_NSLOTS, INT8OID);
	quota_execute(QUOTA_SUBSCRIPTION_SAVE, values, nulls, false);
}

/* ---- holds of calls ---- */

void
quota_change_reserved(QuotaHold *hold, QuotaMeter meter, int64 amount)
{
	if (meter == QUOTA_MESSAGES || meter == QUOTA_TOKENS)
		for (int period = QUOTA_HOUR; period <= QUOTA_LIFETIME; period++)
			hold->reserved[quota_slot(meter, (QuotaPeriod) period)] += amount;
	else
		hold->reserved[quota_slot(meter, QUOTA_CURRENT)] += amount;
}

void
quota_reap(QuotaHold *hold)
{
	Datum values[2] = {CStringGetTextDatum(hold->subscription_id),
					   TimestampTzGetDatum(hold->now)};
	uint64 expired = quota_execute(QUOTA_RESERVATION_EXPIRED, values, NULL, false);
	bool isnull;

	for (uint64 i = 0; i < expired; i++)
		quota_change_reserved(hold, quota_meter_by_name(quota_string(i, 1)),
							  -DatumGetInt64(quota_column(i, 2, &isnull)));
}

/* ---- limits ---- */

int64
quota_remaining(const QuotaHold *hold, const QuotaLimit *limit)
{
	int64 taken = hold->used[limit->slot] + hold->reserved[limit->slot];

	return Max(limit->limit - taken, 0);
}

const QuotaLimit *
quota_tightest(const QuotaHold *hold, QuotaMeter meter)
{
	const QuotaLimit *tightest = NULL;

	for (int i = 0; i < hold->plan->nlimits; i++)
	{
		const QuotaLimit *limit = &hold->plan->limits[i];

		if (limit->meter == meter &&
			(tightest == NULL || quota_remaining(hold, limit) < quota_remaining(hold, tightest)))
			tightest = limit;
	}
	return tightest;
}

/* The first limit of the plan that the amounts would exceed, hard or of any kind. */
static const QuotaLimit *
exceeded(const QuotaHold *hold, const QuotaPlan *plan, const QuotaAmounts *amounts, bool only_hard)
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
	uint64 n = quota_execute(QUOTA_PLANS_BY_PRICE, NULL, NULL, false);
	char **names = palloc(Max(n, 1) * sizeof(char *));

	for (uint64 i = 0; i < n; i++)
		names[i] = quota_string(i, 1);
	for (uint64 i = 0; i < n; i++)
	{
		QuotaPlan plan = *quota_read_plan(names[i]);
		bool over = false;

		for (int j = 0; j < plan.nlimits && !over; j++)
			over = plan.limits[j].hard &&
				   hold->used[plan.limits[j].slot] + hold->reserved[plan.limits[j].slot] >
					   plan.limits[j].limit;
		if (!over && exceeded(hold, &plan, amounts, true) == NULL &&
			(hold->plan->plan_id == NULL || strcmp(names[i], hold->plan->plan_id) != 0))
			return names[i];
	}
	return NULL;
}

static void
add_json_text(StringInfo json, const char *key, const char *value)
{
	appendStringInfo(json, "%s\"%s\": ", json->len > 1 ? ", " : "", key);
	if (value == NULL)
		appendStringInfoString(json, "null");
	else
		escape_json(json, value);
}

static void
add_json_time(StringInfo json, const char *key, TimestampTz value)
{
	add_json_text(json, key,
				  value == DT_NOEND
					  ? NULL
					  : TextDatumGetCString(DirectFunctionCall2(
							timestamptz_to_char, TimestampTzGetDatum(value),
							CStringGetTextDatum("YYYY-MM-DD\"T\"HH24:MI:SSOF"))));
}

TimestampTz
quota_limit_end(const QuotaHold *hold, const QuotaLimit *limit)
{
	return limit->period < QUOTA_NBOUNDS ? hold->period_end[limit->period] : DT_NOEND;
}

/* What a refusal and an event say of a limit: a stable interface. */
static char *
limit_json(const QuotaHold *hold, const QuotaLimit *limit, int64 requested, const char *upgrade)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	add_json_text(&json, "subscription_id", hold->subscription_id);
	add_json_text(&json, "account_id", hold->account_id);
	add_json_text(&json, "plan_id", hold->plan->plan_id);
	add_json_text(&json, "meter", quota_meter_name(limit->meter));
	add_json_text(&json, "period", quota_period_name(limit->period));
	appendStringInfo(&json,
					 ", \"limit\": " INT64_FORMAT ", \"used\": " INT64_FORMAT
					 ", \"reserved\": " INT64_FORMAT ", \"requested\": " INT64_FORMAT,
					 limit->limit, hold->used[limit->slot], hold->reserved[limit->slot],
					 requested);
	add_json_time(&json, "period_end", quota_limit_end(hold, limit));
	add_json_text(&json, "upgrade_to", upgrade);
	appendStringInfoChar(&json, '}');
	return json.data;
}

static void
refuse(const QuotaHold *hold, const QuotaLimit *limit, const QuotaAmounts *amounts)
{
	char *upgrade = quota_upgrade_for(hold, amounts);
	int64 requested = amounts->by_meter[limit->meter];

	ereport(ERROR,
			(errcode(MX001),
			 errmsg("account \"%s\" has " INT64_FORMAT " of " INT64_FORMAT
					" %s left, " INT64_FORMAT " are needed",
					hold->account_id, quota_remaining(hold, limit), limit->limit,
					quota_meter_name(limit->meter), requested),
			 errdetail_internal("%s", limit_json(hold, limit, requested, upgrade)),
			 upgrade != NULL
				 ? errhint("Plan \"%s\" would allow it: see memory.change_plan.", upgrade)
				 : errhint("No plan that is offered would allow it.")));
}

/* Events for the thresholds that a limit's counter has passed, and a soft limit. */
static void
tell_crossings(const QuotaHold *hold, const QuotaLimit *limit, int64 before, int64 amount)
{
	int64 after = hold->used[limit->slot];

	for (int i = 0; i < limit->nthresholds; i++)
	{
		double at = limit->thresholds[i] * (double) limit->limit;

		if ((double) before < at && (double) after >= at)
			metering_emit("quota.threshold", hold->subscription_id, hold->account_id,
						  limit_json(hold, limit, amount, NULL));
	}
	if (!limit->hard && before <= limit->limit && after > limit->limit)
		metering_emit("quota.exceeded", hold->subscription_id, hold->account_id,
					  limit_json(hold, limit, amount, NULL));
}

static void
consume(QuotaHold *hold, QuotaMeter meter, QuotaPeriod period, int64 amount)
{
	int slot = quota_slot(meter, period);
	bool flows = period != QUOTA_CURRENT;

	if (flows && amount < 0)
		return; /* what was used was used */
	if (pg_add_s64_overflow(hold->used[slot], amount, &hold->used[slot]))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("usage of %s is out of range", quota_meter_name(meter))));
	/* a count that began before the subscription did may go below zero */
	hold->used[slot] = Max(hold->used[slot], 0);
}

void
quota_require(QuotaHold *hold, const QuotaAmounts *amounts)
{
	const QuotaLimit *limit = exceeded(hold, hold->plan, amounts, true);

	if (limit == NULL)
		return;
	quota_reap(hold);
	limit = exceeded(hold, hold->plan, amounts, true);
	if (limit != NULL)
		refuse(hold, limit, amounts);
}

void
quota_charge(QuotaHold *hold, const QuotaAmounts *amounts)
{
	int64 before[QUOTA_NSLOTS];

	quota_require(hold, amounts);
	memcpy(before, hold->used, sizeof(before));
	for (int period = QUOTA_HOUR; period <= QUOTA_LIFETIME; period++)
	{
		consume(hold, QUOTA_MESSAGES, (QuotaPeriod) period, amounts->by_meter[QUOTA_MESSAGES]);
		consume(hold, QUOTA_TOKENS, (QuotaPeriod) period, amounts->by_meter[QUOTA_TOKENS]);
	}
	consume(hold, QUOTA_CONVERSATIONS, QUOTA_CURRENT, amounts->by_meter[QUOTA_CONVERSATIONS]);
	consume(hold, QUOTA_CONTENT_BYTES, QUOTA_CURRENT, amounts->by_meter[QUOTA_CONTENT_BYTES]);
	quota_save(hold);

	for (int i = 0; i < hold->plan->nlimits; i++)
		tell_crossings(hold, &hold->plan->limits[i], before[hold->plan->limits[i].slot],
					   amounts->by_meter[hold->plan->limits[i].meter]);
}

void
quota_forget_account(const char *account_id)
{
	Datum values[1] = {CStringGetTextDatum(account_id)};

	quota_execute(QUOTA_FORGET_RESERVATIONS, values, NULL, false);
	quota_execute(QUOTA_FORGET_SUBSCRIPTION, values, NULL, false);
}
