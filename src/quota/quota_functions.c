/*
 * quota_functions.c
 *		What SQL calls: asking for, enforcing and reserving quota, and changing
 *		plans.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "account.h"
#include "arguments.h"
#include "memory_limits.h"
#include "quota_private.h"
#include "sql_text.h"
#include "statement.h"

static QuotaMeter
argument_meter(FunctionCallInfo fcinfo, int n)
{
	argument_require(fcinfo, n, "meter",
					 "The meters are conversations, messages, tokens and content_bytes.");
	return quota_meter_by_name(text_to_cstring(PG_GETARG_TEXT_PP(n)));
}

static int64
argument_amount(FunctionCallInfo fcinfo, int n, int64 by_default)
{
	int64 amount = PG_ARGISNULL(n) ? by_default : PG_GETARG_INT64(n);

	if (amount < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("amount must not be negative, it is " INT64_FORMAT, amount)));
	if (amount > MEMORY_MAX_AMOUNT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("amount is " INT64_FORMAT ", more than the limit of " INT64_FORMAT,
							   amount, MEMORY_MAX_AMOUNT)));
	return amount;
}

/* The columns of memory.quota_status. */
enum
{
	STATUS_ALLOWED,
	STATUS_USED,
	STATUS_RESERVED,
	STATUS_LIMIT,
	STATUS_REMAINING,
	STATUS_PERIOD,
	STATUS_PERIOD_START,
	STATUS_PERIOD_END,
	STATUS_ENFORCEMENT,
	STATUS_REASON,
	STATUS_NCOLUMNS
};

/*
 * A quota_status of the limit that refuses the amount, or else of the one that
 * leaves least.
 */
static Datum
status_datum(FunctionCallInfo fcinfo, const QuotaHold *hold, QuotaMeter meter, int64 amount)
{
	const QuotaLimit *refusing = NULL;
	const QuotaLimit *limit = NULL;
	TupleDesc descriptor;
	Datum values[STATUS_NCOLUMNS] = {0};
	bool nulls[STATUS_NCOLUMNS] = {0};

	if (hold != NULL)
	{
		QuotaAmounts amounts = {{0}};

		amounts.by_meter[meter] = amount;
		refusing = quota_exceeded(hold, &hold->plan, &amounts, true);
		limit = refusing != NULL ? refusing : quota_tightest(hold, meter);
	}
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "memory.quota_status is not a composite type");
	descriptor = BlessTupleDesc(descriptor);

	values[STATUS_ALLOWED] = BoolGetDatum(refusing == NULL);
	if (limit == NULL)
	{
		for (int i = STATUS_USED; i < STATUS_REASON; i++)
			nulls[i] = true;
		values[STATUS_REASON] = CStringGetTextDatum(
			hold == NULL || hold->plan.plan_id == NULL ? "no plan" : "no limit");
	}
	else
	{
		int64 used = hold->used[limit->slot];
		int64 reserved = hold->reserved[limit->meter];
		bool within = used <= limit->limit && reserved <= limit->limit - used &&
					  amount <= quota_remaining(hold, limit);

		values[STATUS_USED] = Int64GetDatum(used);
		values[STATUS_RESERVED] = Int64GetDatum(reserved);
		values[STATUS_LIMIT] = Int64GetDatum(limit->limit);
		values[STATUS_REMAINING] = Int64GetDatum(quota_remaining(hold, limit));
		values[STATUS_PERIOD] = CStringGetTextDatum(quota_period_name(limit->period));
		nulls[STATUS_PERIOD_START] = nulls[STATUS_PERIOD_END] = limit->period >= QUOTA_NBOUNDS;
		if (!nulls[STATUS_PERIOD_START])
		{
			values[STATUS_PERIOD_START] = TimestampTzGetDatum(hold->period_start[limit->period]);
			values[STATUS_PERIOD_END] = TimestampTzGetDatum(hold->period_end[limit->period]);
		}
		values[STATUS_ENFORCEMENT] = CStringGetTextDatum(limit->hard ? "hard" : "soft");
		values[STATUS_REASON] = CStringGetTextDatum(within ? "within limit" : "limit exceeded");
	}
	return HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
}

PG_FUNCTION_INFO_V1(memory_check_quota);

/*
 * memory_check_quota(account_id text, meter text, amount bigint) → memory.quota_status
 *		Whether the amount (NULL: 1) would be admitted now, by the limit that
 *		refuses it or leaves least.  Takes no lock: another session may be faster.  Errors:
 *		22004, 22023, 42501.
 */
Datum
memory_check_quota(PG_FUNCTION_ARGS)
{
	char *account_id = text_to_cstring(argument_account(fcinfo, 0));
	QuotaMeter meter = argument_meter(fcinfo, 1);
	int64 amount = argument_amount(fcinfo, 2, 1);
	QuotaHold *hold;
	Datum status;

	SPI_connect();
	hold = quota_peek(account_id);
	status = SPI_datumTransfer(status_datum(fcinfo, hold, meter, amount), false, -1);
	SPI_finish();
	PG_RETURN_DATUM(status);
}

PG_FUNCTION_INFO_V1(memory_enforce_limit);

/*
 * memory_enforce_limit(account_id text, meter text, amount bigint) → memory.quota_status
 *		Consumes the amount (NULL: 1), or raises MX001.  For what is used
 *		outside the store; the store's own writes enforce by themselves.
 */
Datum
memory_enforce_limit(PG_FUNCTION_ARGS)
{
	char *account_id = text_to_cstring(argument_account(fcinfo, 0));
	QuotaMeter meter = argument_meter(fcinfo, 1);
	QuotaAmounts amounts = {{0}};
	QuotaHold *hold;
	Datum status;

	amounts.by_meter[meter] = argument_amount(fcinfo, 2, 1);
	amounts.outside = true;
	SPI_connect();
	hold = quota_begin_confirmed(account_id);
	if (hold != NULL)
		quota_charge(hold, &amounts);
	status = SPI_datumTransfer(status_datum(fcinfo, hold, meter, 0), false, -1);
	SPI_finish();
	PG_RETURN_DATUM(status);
}

PG_FUNCTION_INFO_V1(memory_upgrade_required);

/*
 * memory_upgrade_required(account_id text) → text
 *		The cheapest offered plan that would hold what the account's
 *		subscription has used so far and one more of each meter; NULL when the
 *		present plan does, or none would that costs no less.
 */
Datum
memory_upgrade_required(PG_FUNCTION_ARGS)
{
	char *account_id = text_to_cstring(argument_account(fcinfo, 0));
	QuotaAmounts one = {{1, 1, 1, 1}};
	QuotaHold *hold;
	text *plan = NULL;

	SPI_connect();
	hold = quota_peek(account_id);
	if (hold != NULL)
	{
		if (quota_exceeded(hold, &hold->plan, &one, true) != NULL)
		{
			char *name = quota_upgrade_for(hold, &one);

			if (name != NULL)
				plan = (text *) DatumGetPointer(
					SPI_datumTransfer(CStringGetTextDatum(name), false, -1));
		}
	}
	SPI_finish();
	if (plan == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(plan);
}

/* clang-format off */
/* who puts a subscription on a plan keeps it from being deleted meanwhile */
static PlanStatement price_statement = {
	"SELECT price FROM memory.plans WHERE plan_id" OP(=) "$1 FOR KEY SHARE",
	1,
	{TEXTOID},
};
/* clang-format on */

/* A plan's price.  Error: 42704 there is no such plan. */
static Datum
plan_price(const char *plan_id)
{
	Datum values[] = {CStringGetTextDatum(plan_id)};
	bool isnull;

	if (plan_execute(&price_statement, values, NULL, false) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("plan \"%s\" does not exist", plan_id),
				 errhint("See memory.plans.")));
	return SPI_datumTransfer(plan_column(0, 1, &isnull), false, -1);
}

void
quota_check_plan(const char *plan_id)
{
	(void) plan_price(plan_id);
}

static bool
is_upgrade(const char *from, const char *to)
{
	if (from == NULL)
		return true;
	return DatumGetBool(DirectFunctionCall2(numeric_ge, plan_price(to), plan_price(from)));
}

PG_FUNCTION_INFO_V1(memory_change_plan);

/*
 * memory_change_plan(subscription_id text, plan_id text, timing text) → timestamptz
 *		Changes the plan and returns when that takes effect: timing 'now',
 *		'next_period', or 'auto' (NULL): a plan that costs at least as much now,
 *		a cheaper one when the month's period ends.  Usage is never reset.
 *		Errors: P0002 no such subscription, 42704 no such plan, 22023.
 */
Datum
memory_change_plan(PG_FUNCTION_ARGS)
{
	char *subscription_id = text_to_cstring(argument_account(fcinfo, 0));
	char *plan_id;
	char *timing = PG_ARGISNULL(2) ? "auto" : text_to_cstring(PG_GETARG_TEXT_PP(2));
	QuotaHold *hold = NULL;
	bool at_once;
	TimestampTz effective;

	argument_require(fcinfo, 1, "plan_id", "See memory.plans.");
	plan_id = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (strcmp(timing, "auto") != 0 && strcmp(timing, "now") != 0 &&
		strcmp(timing, "next_period") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown timing \"%s\"", timing),
				 errhint("Use auto, now or next_period.")));

	SPI_connect();
	/* the default plan would make a subscription for any name */
	if (quota_exists(subscription_id) || quota_account_exists(subscription_id))
		hold = quota_begin_on(subscription_id, subscription_id);
	if (hold == NULL)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("subscription \"%s\" does not exist", subscription_id),
						errhint("Use memory.subscribe to create it.")));
	at_once = is_upgrade(hold->plan.plan_id, plan_id);
	if (strcmp(timing, "auto") != 0)
	{
		quota_check_plan(plan_id);
		at_once = strcmp(timing, "now") == 0;
	}
	effective = at_once ? hold->now : hold->period_end[QUOTA_MONTH];
	quota_note_plan(subscription_id, plan_id, effective);
	hold->next_plan_id = at_once ? NULL : plan_id;
	hold->next_plan_at = effective;
	if (at_once)
		hold->plan_id = plan_id;
	quota_save(hold);

	quota_tell_change(hold, plan_id, effective);
	SPI_finish();
	PG_RETURN_TIMESTAMPTZ(effective);
}

PG_FUNCTION_INFO_V1(memory_close_periods);

/*
 * memory_close_periods(max_subscriptions integer) → bigint
 *		Has so many (NULL: all) of the subscriptions whose month has ended begin
 *		the next one, with an event period.closed each; returns how many.  The
 *		first use after the end does the same.  A batch of maintain().  Errors:
 *		22023, 42501 the session is confined.
 */
Datum
memory_close_periods(PG_FUNCTION_ARGS)
{
	int64 limit = argument_limit(fcinfo, 0, "max_subscriptions");
	uint64 closed;

	account_check_unconfined();
	SPI_connect();
	closed = quota_close_periods(limit);
	SPI_finish();
	PG_RETURN_INT64((int64) closed);
}

/* ---- reservations ---- */

static char *
argument_reservation(FunctionCallInfo fcinfo, int n)
{
	char *id;

	argument_require(fcinfo, n, "reservation_id", "Give an id of your own, the same for a retry.");
	id = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (id[0] == '\0' || strlen(id) > 255)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("reservation_id has %zu bytes", strlen(id)),
						errhint("A reservation_id has 1 to 255 bytes.")));
	return id;
}

/* A reservation whose id is given again must be the same one, and hold what it held. */
static void
check_repeated(const QuotaReservation *found, const char *id, QuotaMeter meter, int64 amount)
{
	if (found->meter != meter || found->amount != amount)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("reservation \"%s\" already exists with " INT64_FORMAT " %s", id,
							   found->amount, quota_meter_name(found->meter)),
						errhint("Use a new id for another call.")));
	if (strcmp(found->state, "held") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("reservation \"%s\" %s already and holds nothing", id,
						strcmp(found->state, "expired") == 0 ? "has expired"
															 : psprintf("was %s", found->state)),
				 errhint("Use a new id for another call.")));
}

PG_FUNCTION_INFO_V1(memory_reserve_usage);

/*
 * memory_reserve_usage(account_id text, reservation_id text, amount bigint,
 *						meter text, keep_for interval) → memory.quota_status
 *		Holds an amount for a call whose usage is not known yet: it counts as
 *		used until it is settled, released or keep_for has passed.  The same id
 *		again changes nothing.  Errors: MX001 a limit, 22023 the id was used for
 *		something else, 55000 what it held was settled or released, or has expired.
 */
Datum
memory_reserve_usage(PG_FUNCTION_ARGS)
{
	char *account_id = text_to_cstring(argument_account(fcinfo, 0));
	char *id = argument_reservation(fcinfo, 1);
	int64 amount = argument_amount(fcinfo, 2, 0);
	QuotaMeter meter = argument_meter(fcinfo, 3);
	Interval *keep_for;
	Interval zero = {0};
	QuotaHold *hold;
	QuotaReservation found;
	Datum status;

	argument_require(fcinfo, 2, "amount", NULL);
	argument_require(fcinfo, 4, "keep_for", NULL);
	keep_for = PG_GETARG_INTERVAL_P(4);
	if (!DatumGetBool(DirectFunctionCall2(interval_gt, IntervalPGetDatum(keep_for),
										  IntervalPGetDatum(&zero))))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("keep_for must be a positive interval")));

	SPI_connect();
	hold = quota_begin_confirmed(account_id);
	if (hold != NULL)
		quota_reap(hold);
	if (hold != NULL && quota_find_reservation(hold, id, &found))
	{
		check_repeated(&found, id, meter, amount);
		if (hold->changed)
			quota_save(hold);
	}
	else if (hold != NULL)
	{
		QuotaAmounts wanted = {{0}};
		Datum expires_at;

		wanted.by_meter[meter] = amount;
		quota_require(hold, account_id, &wanted);
		quota_change_reserved(hold, meter, amount);
		quota_save(hold);
		expires_at = DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(hold->now),
										 IntervalPGetDatum(keep_for));
		quota_insert_reservation(hold, id, meter, amount, DatumGetTimestampTz(expires_at));
	}
	status = SPI_datumTransfer(status_datum(fcinfo, hold, meter, 0), false, -1);
	SPI_finish();
	PG_RETURN_DATUM(status);
}

/* Ends a held reservation; an expired one was given back already. */
static void
end_reservation(QuotaHold *hold, const char *id, const char *state, int64 actual)
{
	QuotaReservation found;

	if (!quota_find_reservation(hold, id, &found))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("reservation \"%s\" of account \"%s\" does not exist", id,
							   hold->account_id),
						errhint("Use memory.reserve_usage to create it.")));
	if (strcmp(found.state, state) == 0 && (actual < 0 || found.settled == actual))
		return; /* a retry */
	if (strcmp(found.state, "settled") == 0 || strcmp(found.state, "released") == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("reservation \"%s\" was %s already", id, found.state)));
	if (actual > found.amount)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("reservation \"%s\" holds " INT64_FORMAT " %s, " INT64_FORMAT
							   " cannot be settled",
							   id, found.amount, quota_meter_name(found.meter), actual),
						errhint("Reserve the most that a call may use.")));

	if (strcmp(found.state, "held") == 0)
		quota_change_reserved(hold, found.meter, -found.amount);
	quota_end_reservation(hold, id, state, actual);
	if (actual > 0)
	{
		QuotaAmounts amounts = {{0}};

		amounts.by_meter[found.meter] = actual;
		amounts.outside = true;
		if (strcmp(found.state, "held") == 0)
			quota_consume_held(hold, &amounts);
		else
			quota_consume(hold, hold->account_id, &amounts);
	}
	if (hold->changed)
		quota_save(hold);
}

static void
end_for_account(FunctionCallInfo fcinfo, const char *state, int64 actual)
{
	char *account_id = text_to_cstring(argument_account(fcinfo, 0));
	char *id = argument_reservation(fcinfo, 1);
	QuotaHold *hold;

	SPI_connect();
	hold = quota_begin_confirmed(account_id);
	if (hold != NULL)
		end_reservation(hold, id, state, actual);
	SPI_finish();
}

PG_FUNCTION_INFO_V1(memory_settle_usage);

/*
 * memory_settle_usage(account_id text, reservation_id text, actual bigint) → void
 *		Ends a reservation and counts what was really used, at most what was
 *		held, whatever the limit is by now.  The same again changes nothing.  An
 *		expired one is settled as long as the limit allows it.  Errors: P0002,
 *		22023 more than was held, 55000 released already, MX001.
 */
Datum
memory_settle_usage(PG_FUNCTION_ARGS)
{
	argument_require(fcinfo, 2, "actual", NULL);
	end_for_account(fcinfo, "settled", argument_amount(fcinfo, 2, 0));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(memory_release_usage);

/*
 * memory_release_usage(account_id text, reservation_id text) → void
 *		Ends a reservation without use.  Errors: P0002, 55000 settled already.
 */
Datum
memory_release_usage(PG_FUNCTION_ARGS)
{
	end_for_account(fcinfo, "released", -1);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(memory_period_bounds);

/*
 * memory_period_bounds(period text, anchor timestamptz, time_zone text,
 *						moment timestamptz) → record
 *		The bounds of the period that holds the moment.  Error: 22023.
 */
Datum
memory_period_bounds(PG_FUNCTION_ARGS)
{
	static const QuotaPeriod periods[] = {QUOTA_HOUR, QUOTA_DAY, QUOTA_MONTH};
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TimestampTz anchor = PG_GETARG_TIMESTAMPTZ(1);
	TimestampTz moment = PG_GETARG_TIMESTAMPTZ(3);
	TupleDesc descriptor;
	TimestampTz start;
	TimestampTz end;
	enum
	{
		PERIOD_START,
		PERIOD_END,
		NCOLUMNS
	};
	Datum values[NCOLUMNS];
	bool nulls[NCOLUMNS] = {false};
	int i = 0;

	while (i < lengthof(periods) && strcmp(name, quota_period_name(periods[i])) != 0)
		i++;
	if (i == lengthof(periods))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("period \"%s\" has no bounds", name), errhint("Use hour, day or month.")));
	if (TIMESTAMP_NOT_FINITE(anchor) || TIMESTAMP_NOT_FINITE(moment))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("anchor and moment must be finite")));
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "memory.period_bounds returns no record");
	quota_period_bounds(periods[i], anchor, text_to_cstring(PG_GETARG_TEXT_PP(2)), moment, &start,
						&end);
	values[PERIOD_START] = TimestampTzGetDatum(start);
	values[PERIOD_END] = TimestampTzGetDatum(end);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
