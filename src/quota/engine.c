/*
 * engine.c
 *		The row engine: a subscription's counters in one row.
 *
 * The row is locked before anything of the subscription's accounts, and written
 * once a statement; its lock, held to commit, makes limits exact under any
 * concurrency: whoever comes next sees what was committed.  Nothing is indexed
 * that changes with the counters, so that updates stay HOT.
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
#include "miscadmin.h"
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
	return PointerGetDatum(construct_array(elements, n, type, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
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
	hold->subscription_id = quota_string(0, 10);
	for (int i = 0; i < QUOTA_NSTANDING; i++)
		hold->outside[i] = DatumGetInt64(quota_column(0, 11 + i, &isnull));
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
					  : TextDatumGetCString(
							DirectFunctionCall2(timestamp_to_char,
												DirectFunctionCall2(timestamptz_zone,
																	CStringGetTextDatum("UTC"),
																	TimestampTzGetDatum(value)),
												CStringGetTextDatum(
													"YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\""))));
}

/* What the event of a month's end says. */
static char *
closed_json(const QuotaHold *hold)
{
	char *plan_id = hold->plan_id != NULL ? hold->plan_id : quota_default_plan();
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	add_json_text(&json, "subscription_id", hold->subscription_id);
	add_json_text(&json, "plan_id", plan_id);
	add_json_time(&json, "period_start", hold->period_start[QUOTA_MONTH]);
	add_json_time(&json, "period_end", hold->period_end[QUOTA_MONTH]);
	appendStringInfo(&json, ", \"messages\": " INT64_FORMAT ", \"tokens\": " INT64_FORMAT "}",
					 hold->used[quota_slot(QUOTA_MESSAGES, QUOTA_MONTH)],
					 hold->used[quota_slot(QUOTA_TOKENS, QUOTA_MONTH)]);
	return json.data;
}

static void
begin_period(QuotaHold *hold, QuotaPeriod period, TimestampTz moment)
{
	quota_period_bounds(period, hold->starts_at, hold->time_zone, moment,
						&hold->period_start[period], &hold->period_end[period]);
	hold->used[quota_slot(QUOTA_MESSAGES, period)] = 0;
	hold->used[quota_slot(QUOTA_TOKENS, period)] = 0;
}

/* A plan that was to change by then has changed. */
static void
change_if_due(QuotaHold *hold, TimestampTz moment)
{
	if (hold->next_plan_id == NULL || hold->next_plan_at > moment)
		return;
	hold->plan_id = hold->next_plan_id;
	hold->next_plan_id = NULL;
}

/* Each month that has ended is told, also those without use; each has its plan. */
static void
close_months(QuotaHold *hold)
{
	while (hold->period_end[QUOTA_MONTH] <= hold->now)
	{
		CHECK_FOR_INTERRUPTS();
		hold->closed = lappend(hold->closed, closed_json(hold));
		begin_period(hold, QUOTA_MONTH, hold->period_end[QUOTA_MONTH]);
		change_if_due(hold, hold->period_start[QUOTA_MONTH]);
	}
}

/*
 * Periods that have ended begin anew.  A clock that is set back ends none:
 * counters would be lost.  An empty period is a new subscription's.
 */
static void
roll_periods(QuotaHold *hold)
{
	for (int period = 0; period < QUOTA_NBOUNDS; period++)
	{
		if (hold->period_start[period] == hold->period_end[period])
			begin_period(hold, (QuotaPeriod) period, hold->now);
		else if (period == QUOTA_MONTH)
			close_months(hold);
		else if (hold->period_end[period] <= hold->now)
			begin_period(hold, (QuotaPeriod) period, hold->now);
	}
}

/* Brings what was read to the present and looks up its plan. */
static void
refresh(QuotaHold *hold)
{
	char *plan_id;

	roll_periods(hold);
	change_if_due(hold, hold->now);
	plan_id = hold->plan_id != NULL ? hold->plan_id : quota_default_plan();
	if (plan_id != NULL)
		quota_read_plan(plan_id, &hold->plan);
}

/* An account's subscription: its own unless it was given another. */
char *
quota_subscription_of(const char *account_id, bool read_only)
{
	Datum values[1] = {CStringGetTextDatum(account_id)};

	if (quota_execute(QUOTA_SUBSCRIPTION_OF, values, NULL, read_only) > 0)
		return quota_string(0, 1);
	return pstrdup(account_id);
}

static QuotaHold *
new_hold(const char *account_id)
{
	QuotaHold *hold = palloc0(sizeof(QuotaHold));

	hold->account_id = pstrdup(account_id);
	hold->now = GetCurrentTimestamp();
	return hold;
}

/* The row that a statement has found, as a hold. */
static QuotaHold *
found_hold(const char *account_id)
{
	QuotaHold *hold = new_hold(account_id);

	read_row(hold);
	refresh(hold);
	return hold;
}

static QuotaStanding count_standing = NULL;

void
quota_set_standing(QuotaStanding standing)
{
	count_standing = standing;
}

bool
quota_create(const char *subscription_id, const char *plan_id, TimestampTz starts_at,
			 const char *time_zone)
{
	int64 nothing[QUOTA_NSLOTS] = {0};
	TimestampTz start[QUOTA_NBOUNDS];
	TimestampTz end[QUOTA_NBOUNDS];
	Datum values[8];
	char nulls[] = "        ";
	QuotaAmounts standing;

	for (int i = 0; i < QUOTA_NBOUNDS; i++)
		quota_period_bounds((QuotaPeriod) i, starts_at, time_zone, GetCurrentTimestamp(), &start[i],
							&end[i]);
	values[0] = CStringGetTextDatum(subscription_id);
	nulls[1] = plan_id == NULL ? 'n' : ' ';
	values[1] = plan_id == NULL ? (Datum) 0 : CStringGetTextDatum(plan_id);
	values[2] = TimestampTzGetDatum(starts_at);
	values[3] = CStringGetTextDatum(time_zone);
	values[4] = write_array(start, QUOTA_NBOUNDS, TIMESTAMPTZOID);
	values[5] = write_array(end, QUOTA_NBOUNDS, TIMESTAMPTZOID);
	values[6] = write_array(nothing, QUOTA_NSLOTS, INT8OID);
	values[7] = values[6];
	if (quota_execute(QUOTA_SUBSCRIPTION_CREATE, values, nulls, false) == 0)
		return false;
	if (plan_id != NULL)
		quota_note_plan(subscription_id, plan_id, starts_at);

	standing = count_standing(subscription_id);
	if (standing.by_meter[QUOTA_CONVERSATIONS] != 0 || standing.by_meter[QUOTA_CONTENT_BYTES] != 0)
	{
		QuotaHold *hold = quota_begin_on(subscription_id, subscription_id);

		quota_consume_held(hold, &standing);
		quota_save(hold);
	}
	return true;
}

/* Locks the row, which is made for the default plan; false: there is none. */
static bool
lock_row(const char *subscription_id)
{
	Datum values[1] = {CStringGetTextDatum(subscription_id)};

	/* again, when somebody else has just made it, or has just removed it */
	while (quota_execute(QUOTA_SUBSCRIPTION_LOCK, values, NULL, false) == 0)
	{
		if (quota_default_plan() == NULL)
			return false;
		(void) quota_create(subscription_id, NULL, GetCurrentTimestamp(), "UTC");
	}
	return true;
}

QuotaHold *
quota_begin_on(const char *subscription_id, const char *account_id)
{
	if (!quota_active() || !lock_row(subscription_id))
		return NULL;
	return found_hold(account_id);
}

QuotaHold *
quota_begin(const char *account_id)
{
	const char *hint;
	Datum values[1];

	if (!quota_active())
		return NULL;
	hint = quota_subscription_hint(account_id);
	values[0] = CStringGetTextDatum(hint != NULL ? hint : account_id);
	if (quota_execute(hint != NULL ? QUOTA_SUBSCRIPTION_LOCK : QUOTA_ACCOUNT_LOCK, values, NULL,
					  false) > 0)
	{
		QuotaHold *hold = found_hold(account_id);

		if (hint == NULL)
			quota_remember_subscription(account_id, hold->subscription_id);
		return hold;
	}
	if (quota_default_plan() == NULL)
		return NULL;
	return quota_begin_on(quota_subscription_of(account_id, false), account_id);
}

void
quota_moved(const char *account_id)
{
	quota_forget_plans(); /* the hint was wrong, perhaps */
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("account \"%s\" has been given another subscription meanwhile", account_id),
			 errhint("Run the transaction again.")));
}

QuotaHold *
quota_begin_settled(const char *account_id)
{
	QuotaHold *hold = quota_begin(account_id);

	if (hold != NULL &&
		strcmp(hold->subscription_id, quota_subscription_of(account_id, false)) != 0)
		quota_moved(account_id);
	return hold;
}

bool
quota_lock(const char *subscription_id)
{
	return quota_active() && lock_row(subscription_id);
}

bool
quota_exists(const char *subscription_id)
{
	Datum values[1] = {CStringGetTextDatum(subscription_id)};

	return quota_execute(QUOTA_SUBSCRIPTION_READ, values, NULL, false) > 0;
}

bool
quota_account_exists(const char *account_id)
{
	Datum values[1] = {CStringGetTextDatum(account_id)};

	return quota_execute(QUOTA_SUBSCRIPTION_OF, values, NULL, false) > 0;
}

void
quota_drop_unused(const char *subscription_id)
{
	Datum values[1] = {CStringGetTextDatum(subscription_id)};

	quota_execute(QUOTA_DROP_UNUSED, values, NULL, false);
}

void
quota_change_reserved(QuotaHold *hold, QuotaMeter meter, int64 amount)
{
	bool flows = meter == QUOTA_MESSAGES || meter == QUOTA_TOKENS;

	for (int period = flows ? QUOTA_HOUR : QUOTA_CURRENT;
		 period <= (flows ? QUOTA_LIFETIME : QUOTA_CURRENT); period++)
	{
		int slot = quota_slot(meter, (QuotaPeriod) period);

		if (pg_add_s64_overflow(hold->reserved[slot], amount, &hold->reserved[slot]))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("what is reserved of %s is out of range", quota_meter_name(meter))));
	}
	hold->changed = true;
}

/* Adds the rows of (meter, amount) that a statement has returned, or takes them off. */
static void
change_reserved_by(QuotaHold *hold, uint64 rows, int sign)
{
	bool isnull;

	for (uint64 i = 0; i < rows; i++)
		quota_change_reserved(hold, quota_meter_by_name(quota_string(i, 1)),
							  sign * DatumGetInt64(quota_column(i, 2, &isnull)));
}

/* What reservations hold that have expired: without a lock they cannot be ended. */
static void
pass_over_expired(QuotaHold *hold)
{
	Datum values[2] = {CStringGetTextDatum(hold->subscription_id), TimestampTzGetDatum(hold->now)};
	bool any = false;

	for (int i = 0; i < QUOTA_NSLOTS; i++)
		any |= hold->reserved[i] != 0;
	if (!any)
		return;
	change_reserved_by(hold, quota_execute(QUOTA_RESERVATION_EXPIRED, values, NULL, true), -1);
}

QuotaHold *
quota_peek(const char *account_id)
{
	const char *hint;
	Datum values[1];
	QuotaHold *hold;

	if (!quota_active())
		return NULL;
	hint = quota_subscription_hint(account_id);
	values[0] = CStringGetTextDatum(hint != NULL ? hint : account_id);
	if (quota_execute(hint != NULL ? QUOTA_SUBSCRIPTION_READ : QUOTA_ACCOUNT_READ, values, NULL,
					  true) > 0)
	{
		hold = found_hold(account_id);
		pass_over_expired(hold);
		return hold;
	}
	if (quota_default_plan() == NULL)
		return NULL;
	hold = new_hold(account_id);
	hold->subscription_id = quota_subscription_of(account_id, true);
	hold->starts_at = hold->now;
	hold->time_zone = pstrdup("UTC");
	refresh(hold);
	return hold;
}

void
quota_save(QuotaHold *hold)
{
	ListCell *cell;
	Datum values[10];
	char nulls[] = "          ";

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
	for (int i = 0; i < QUOTA_NSTANDING; i++)
		values[8 + i] = Int64GetDatum(hold->outside[i]);
	quota_execute(QUOTA_SUBSCRIPTION_SAVE, values, nulls, false);
	hold->changed = false;
	foreach (cell, hold->closed)
		metering_emit("period.closed", hold->subscription_id, hold->subscription_id,
					  (char *) lfirst(cell));
	hold->closed = NIL;
}

uint64
quota_close_periods(int64 limit)
{
	Datum values[2] = {TimestampTzGetDatum(GetCurrentTimestamp()), Int64GetDatum(limit)};
	uint64 n = quota_execute(QUOTA_PERIODS_ENDED, values, NULL, false);
	char **ids = palloc(mul_size(Max(n, 1), sizeof(char *)));

	for (uint64 i = 0; i < n; i++)
		ids[i] = quota_string(i, 1);
	for (uint64 i = 0; i < n; i++)
	{
		QuotaHold *hold;

		CHECK_FOR_INTERRUPTS();
		hold = quota_begin_on(ids[i], ids[i]);
		if (hold != NULL)
			quota_save(hold);
	}
	return n;
}

void
quota_note_plan(const char *subscription_id, const char *plan_id, TimestampTz from)
{
	Datum values[3] = {CStringGetTextDatum(subscription_id), TimestampTzGetDatum(from),
					   CStringGetTextDatum(plan_id)};

	quota_execute(QUOTA_HISTORY_CLEAR, values, NULL, false);
	quota_execute(QUOTA_HISTORY_NOTE, values, NULL, false);
}

void
quota_tell_change(const QuotaHold *hold, const char *plan_id, TimestampTz from)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	add_json_text(&json, "subscription_id", hold->subscription_id);
	add_json_text(&json, "previous_plan_id", hold->plan.plan_id);
	add_json_text(&json, "plan_id", plan_id);
	add_json_time(&json, "effective_at", from);
	appendStringInfoChar(&json, '}');
	metering_emit("plan.changed", hold->subscription_id, hold->subscription_id, json.data);
}

/* ---- holds of calls ---- */

void
quota_reap(QuotaHold *hold)
{
	Datum values[2] = {CStringGetTextDatum(hold->subscription_id), TimestampTzGetDatum(hold->now)};

	change_reserved_by(hold, quota_execute(QUOTA_RESERVATION_EXPIRE, values, NULL, false), -1);
}

void
quota_move_reservations(QuotaHold *from, QuotaHold *to, const char *account_id, const char *to_id)
{
	Datum values[2] = {CStringGetTextDatum(account_id), CStringGetTextDatum(to_id)};
	uint64 n;

	n = quota_execute(QUOTA_RESERVATION_MOVE, values, NULL, false);
	if (from != NULL)
		change_reserved_by(from, n, -1);
	if (to != NULL)
		change_reserved_by(to, n, 1);
}

/* ---- limits ---- */

int64
quota_remaining(const QuotaHold *hold, const QuotaLimit *limit)
{
	int64 taken;

	if (pg_add_s64_overflow(hold->used[limit->slot], hold->reserved[limit->slot], &taken))
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
					   plan.limits[j].limit - hold->reserved[plan.limits[j].slot];
		if (!over && quota_exceeded(hold, &plan, amounts, true) == NULL)
			return names[i];
	}
	return NULL;
}

/* What a refusal and an event say of a limit: a stable interface. */
static StringInfo
limit_json(const QuotaHold *hold, const char *account_id, const QuotaLimit *limit, int64 requested)
{
	TimestampTz end = limit->period < QUOTA_NBOUNDS ? hold->period_end[limit->period] : DT_NOEND;
	StringInfo json = makeStringInfo();

	appendStringInfoChar(json, '{');
	add_json_text(json, "subscription_id", hold->subscription_id);
	add_json_text(json, "account_id", account_id);
	add_json_text(json, "plan_id", hold->plan.plan_id);
	add_json_text(json, "meter", quota_meter_name(limit->meter));
	add_json_text(json, "period", quota_period_name(limit->period));
	appendStringInfo(json,
					 ", \"limit\": " INT64_FORMAT ", \"used\": " INT64_FORMAT
					 ", \"reserved\": " INT64_FORMAT ", \"requested\": " INT64_FORMAT,
					 limit->limit, hold->used[limit->slot], hold->reserved[limit->slot], requested);
	add_json_time(json, "period_end", end);
	return json;
}

static void
refuse(const QuotaHold *hold, const char *account_id, const QuotaLimit *limit,
	   const QuotaAmounts *amounts)
{
	char *upgrade = quota_upgrade_for(hold, amounts);
	int64 requested = amounts->by_meter[limit->meter];
	StringInfo json = limit_json(hold, account_id, limit, requested);

	add_json_text(json, "upgrade_to", upgrade);
	appendStringInfoChar(json, '}');
	ereport(ERROR, (errcode(MX001),
					errmsg("account \"%s\" has " INT64_FORMAT " of " INT64_FORMAT
						   " %s left, " INT64_FORMAT " are needed",
						   account_id, quota_remaining(hold, limit), limit->limit,
						   quota_meter_name(limit->meter), requested),
					errdetail_internal("%s", json->data),
					upgrade != NULL
						? errhint("Plan \"%s\" would allow it: see memory.change_plan.", upgrade)
						: errhint("No plan that is offered would allow it.")));
}

/* An event of a limit; threshold 0: none was passed. */
static void
tell_limit(const char *type, const QuotaHold *hold, const char *account_id, const QuotaLimit *limit,
		   int64 amount, double threshold)
{
	StringInfo json = limit_json(hold, account_id, limit, amount);

	if (threshold > 0)
		appendStringInfo(json, ", \"threshold\": %.15g", threshold);
	appendStringInfoChar(json, '}');
	metering_emit(type, hold->subscription_id, account_id, json->data);
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
			tell_limit("quota.threshold", hold, account_id, limit, amount, limit->thresholds[i]);
	}
	if (!limit->hard && before <= limit->limit && after > limit->limit)
		tell_limit("quota.exceeded", hold, account_id, limit, amount, 0);
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
quota_require(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts)
{
	const QuotaLimit *limit = quota_exceeded(hold, &hold->plan, amounts, true);

	if (limit == NULL)
		return;
	quota_reap(hold);
	limit = quota_exceeded(hold, &hold->plan, amounts, true);
	if (limit != NULL)
		refuse(hold, account_id, limit, amounts);
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

void
quota_forget_account(QuotaHold *hold, const char *account_id)
{
	Datum values[1] = {CStringGetTextDatum(account_id)};
	uint64 n = quota_execute(QUOTA_FORGET_RESERVATIONS, values, NULL, false);
	bool isnull;

	for (uint64 i = 0; i < n && hold != NULL; i++)
		if (strcmp(quota_string(i, 3), "held") == 0)
			quota_change_reserved(hold, quota_meter_by_name(quota_string(i, 1)),
								  -DatumGetInt64(quota_column(i, 2, &isnull)));
	if (hold != NULL)
		quota_save(hold);
	quota_execute(QUOTA_FORGET_SUBSCRIPTION, values, NULL, false);
	quota_execute(QUOTA_FORGET_HISTORY, values, NULL, false);
}

uint64
quota_purge(TimestampTz before)
{
	Datum values[1] = {TimestampTzGetDatum(before)};

	return quota_execute(QUOTA_RESERVATION_PURGE, values, NULL, false);
}
