/*
 * engine.c
 *		The row engine: a subscription's counters in one row.
 *
 * The row is locked before anything of the subscription's accounts (a row that is
 * still to be made: after them), and written once a statement; its lock, held to
 * commit, makes limits exact under any concurrency: whoever comes next sees what
 * was committed.  Nothing is indexed that changes with the counters, so that
 * updates stay HOT.
 *
 * A counter belongs to a period; a row is brought to the present when it is
 * read: periods that have ended begin anew at zero, a plan that was to change
 * has changed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/xact.h"
#include "common/int.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "direct.h"
#include "metering.h"
#include "quota_private.h"
#include "quota_statements.h"
#include "statement.h"

/* ---- rows to holds and back ---- */

/* How many columns a subscription's row has in quota_statements.c's COLUMNS. */
#define NCOLUMNS (6 + 2 * QUOTA_NBOUNDS + QUOTA_NSLOTS + QUOTA_NMETERS + QUOTA_NSTANDING)

static void
read_columns(QuotaHold *hold, const Datum *values, const bool *nulls)
{
	int n = 6;

	hold->subscription_id = TextDatumGetCString(values[0]);
	hold->plan_id = nulls[1] ? NULL : TextDatumGetCString(values[1]);
	hold->starts_at = DatumGetTimestampTz(values[2]);
	hold->time_zone = TextDatumGetCString(values[3]);
	hold->next_plan_id = nulls[4] ? NULL : TextDatumGetCString(values[4]);
	hold->next_plan_at = DatumGetTimestampTz(values[5]);
	for (int i = 0; i < QUOTA_NBOUNDS; i++)
	{
		hold->period_start[i] = DatumGetTimestampTz(values[n++]);
		hold->period_end[i] = DatumGetTimestampTz(values[n++]);
	}
	for (int i = 0; i < QUOTA_NSLOTS; i++)
		hold->used[i] = DatumGetInt64(values[n++]);
	for (int i = 0; i < QUOTA_NMETERS; i++)
		hold->reserved[i] = DatumGetInt64(values[n++]);
	for (int i = 0; i < QUOTA_NSTANDING; i++)
		hold->outside[i] = DatumGetInt64(values[n++]);
}

/* The first row of the last statement. */
static void
read_row(QuotaHold *hold)
{
	Datum values[NCOLUMNS];
	bool nulls[NCOLUMNS];

	if (SPI_tuptable->tupdesc->natts != NCOLUMNS)
		elog(ERROR, "a subscription has %d columns", SPI_tuptable->tupdesc->natts);
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values, nulls);
	read_columns(hold, values, nulls);
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
		hold->closed = lappend(hold->closed, quota_closed_json(hold));
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

static QuotaClaim claim_name = NULL;
static QuotaCount count_standing = NULL;

void
quota_set_standing(QuotaClaim claim, QuotaCount count)
{
	claim_name = claim;
	count_standing = count;
}

/* ---- what stands outside the store ---- */

/* What the account has outside goes from a subscription's counters (sign -1), or to them. */
static void
count_outside(QuotaHold *hold, const int64 *outside, int sign)
{
	QuotaAmounts amounts = {{0}};

	if (hold == NULL)
		return;
	for (int i = 0; i < QUOTA_NSTANDING; i++)
	{
		amounts.by_meter[quota_standing_meter(i)] = sign * outside[i];
		hold->outside[i] = Max(hold->outside[i] + sign * outside[i], 0);
	}
	quota_consume_held(hold, &amounts);
}

/*
 * Counts what stands into a row that was just made; also if somebody has deleted
 * all plans meanwhile: they may come back.
 */
static void
add_standing(const char *subscription_id, const QuotaAmounts *standing)
{
	Datum values[1] = {CStringGetTextDatum(subscription_id)};
	int64 outside[QUOTA_NSTANDING];
	QuotaHold *hold;

	if (quota_execute(QUOTA_SUBSCRIPTION_LOCK, values, NULL, false) == 0)
		elog(ERROR, "subscription \"%s\" is gone", subscription_id);
	hold = found_hold(subscription_id);
	quota_consume_held(hold, standing);
	quota_outside_columns(quota_execute(QUOTA_OUTSIDE_SUM, values, NULL, false), outside);
	count_outside(hold, outside, 1);
	if (hold->changed)
		quota_save(hold);
}

/* Puts the row into the table; false: it exists. */
static bool
insert_row(const char *subscription_id, const char *plan_id, TimestampTz starts_at,
		   const char *time_zone)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz start;
	TimestampTz end;
	Datum values[4 + 2 * QUOTA_NBOUNDS];
	char nulls[] = "          ";

	values[0] = CStringGetTextDatum(subscription_id);
	nulls[1] = plan_id == NULL ? 'n' : ' ';
	values[1] = plan_id == NULL ? (Datum) 0 : CStringGetTextDatum(plan_id);
	values[2] = TimestampTzGetDatum(starts_at);
	values[3] = CStringGetTextDatum(time_zone);
	for (int i = 0; i < QUOTA_NBOUNDS; i++)
	{
		quota_period_bounds((QuotaPeriod) i, starts_at, time_zone, now, &start, &end);
		values[4 + 2 * i] = TimestampTzGetDatum(start);
		values[5 + 2 * i] = TimestampTzGetDatum(end);
	}
	if (quota_execute(QUOTA_SUBSCRIPTION_CREATE, values, nulls, false) == 0)
		return false;
	if (plan_id != NULL)
		quota_note_plan(subscription_id, plan_id, starts_at);
	return true;
}

/*
 * The same for accounts that exist.  They are locked before the row is made,
 * against the order of locks, which needs a row to begin with: who has locked
 * one of them without it, and makes the row now, waits for nobody.  If somebody
 * else has made the row meanwhile, the subtransaction gives the accounts' locks
 * back, so that the caller can begin with the row.
 */
static bool
insert_counted_row(const char *subscription_id, const char *plan_id, TimestampTz starts_at,
				   const char *time_zone)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool made = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		QuotaAmounts standing = count_standing(subscription_id);

		made = insert_row(subscription_id, plan_id, starts_at, time_zone);
		if (made)
			add_standing(subscription_id, &standing);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		RollbackAndReleaseCurrentSubTransaction();
		CurrentResourceOwner = owner;
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (made)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return made;
}

bool
quota_create(const char *subscription_id, const char *plan_id, TimestampTz starts_at,
			 const char *time_zone)
{
	if (quota_exists(subscription_id))
		return false;
	/* a bulk statement's new accounts do without a subtransaction each */
	if (claim_name(subscription_id))
		return insert_row(subscription_id, plan_id, starts_at, time_zone);
	return insert_counted_row(subscription_id, plan_id, starts_at, time_zone);
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

/* Takes off what the row has been charged ahead. */
static void
set_ahead(QuotaHold *hold, const QuotaAmounts *amounts)
{
	memcpy(hold->row_used, hold->used, sizeof(hold->row_used));
	hold->ahead = true;
	for (int period = QUOTA_HOUR; period <= QUOTA_LIFETIME; period++)
	{
		hold->used[quota_slot(QUOTA_MESSAGES, (QuotaPeriod) period)] -=
			amounts->by_meter[QUOTA_MESSAGES];
		hold->used[quota_slot(QUOTA_TOKENS, (QuotaPeriod) period)] -=
			amounts->by_meter[QUOTA_TOKENS];
	}
	hold->used[quota_slot(QUOTA_CONTENT_BYTES, QUOTA_CURRENT)] -=
		amounts->by_meter[QUOTA_CONTENT_BYTES];
}

/* memory_store.subscriptions: quota_statements.c reads the same columns in the same order. */
static const char *const subscription_columns[NCOLUMNS] = {"subscription_id",
														   "plan_id",
														   "starts_at",
														   "time_zone",
														   "next_plan_id",
														   "next_plan_at",
														   "hour_start",
														   "hour_end",
														   "day_start",
														   "day_end",
														   "month_start",
														   "month_end",
														   "messages_hour",
														   "messages_day",
														   "messages_month",
														   "messages_lifetime",
														   "tokens_hour",
														   "tokens_day",
														   "tokens_month",
														   "tokens_lifetime",
														   "conversations",
														   "content_bytes",
														   "reserved_conversations",
														   "reserved_messages",
														   "reserved_tokens",
														   "reserved_content_bytes",
														   "outside_conversations",
														   "outside_content_bytes"};
static DirectTable subscriptions = {"subscriptions", NCOLUMNS, subscription_columns, 1, {0},
									InvalidOid};

/* The columns that a charge reads and changes. */
#define NEXT_PLAN_AT 5
#define FIRST_BOUND 6
#define FIRST_SLOT (FIRST_BOUND + 2 * QUOTA_NBOUNDS)

typedef struct ChargeAhead
{
	QuotaHold *hold;
	const QuotaAmounts *amounts;
} ChargeAhead;

/* Adds the amount to a slot; false: it would overflow. */
static bool
add_to_slot(TupleTableSlot *row, QuotaMeter meter, QuotaPeriod period, int64 amount)
{
	Datum *value = &row->tts_values[FIRST_SLOT + quota_slot(meter, period)];
	int64 sum;

	if (pg_add_s64_overflow(DatumGetInt64(*value), amount, &sum))
		return false;
	*value = Int64GetDatum(sum);
	return true;
}

/* QUOTA_SUBSCRIPTION_CHARGE on a row: refused when a period or the plan has ended. */
static bool
charge_row(TupleTableSlot *row, void *arg)
{
	QuotaHold *hold = ((ChargeAhead *) arg)->hold;
	const QuotaAmounts *amounts = ((ChargeAhead *) arg)->amounts;

	if (!row->tts_isnull[NEXT_PLAN_AT] &&
		DatumGetTimestampTz(row->tts_values[NEXT_PLAN_AT]) <= hold->now)
		return false;
	for (int i = 0; i < QUOTA_NBOUNDS; i++)
		if (DatumGetTimestampTz(row->tts_values[FIRST_BOUND + 2 * i + 1]) <= hold->now)
			return false;
	for (int period = QUOTA_HOUR; period <= QUOTA_LIFETIME; period++)
		if (!add_to_slot(row, QUOTA_MESSAGES, (QuotaPeriod) period,
						 amounts->by_meter[QUOTA_MESSAGES]) ||
			!add_to_slot(row, QUOTA_TOKENS, (QuotaPeriod) period, amounts->by_meter[QUOTA_TOKENS]))
			return false;
	if (!add_to_slot(row, QUOTA_CONTENT_BYTES, QUOTA_CURRENT,
					 amounts->by_meter[QUOTA_CONTENT_BYTES]))
		return false;
	read_columns(hold, row->tts_values, row->tts_isnull);
	return true;
}

/* false: no row, or refused, or not possible without a statement. */
static bool
charge_directly(QuotaHold *hold, text *subscription_id, const QuotaAmounts *amounts)
{
	ChargeAhead charge = {hold, amounts};
	DirectRows rows;
	ScanKeyData key;
	bool charged;

	if (!direct_may_write() || !direct_open(&rows, &subscriptions, RowExclusiveLock))
		return false;
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(subscription_id));
	charged = direct_change(&rows, &key, 1, charge_row, &charge);
	direct_close(&rows);
	return charged;
}

static bool
charge_by_statement(QuotaHold *hold, text *subscription_id, const QuotaAmounts *amounts)
{
	Datum values[5];

	values[0] = PointerGetDatum(subscription_id);
	values[1] = TimestampTzGetDatum(hold->now);
	values[2] = Int64GetDatum(amounts->by_meter[QUOTA_MESSAGES]);
	values[3] = Int64GetDatum(amounts->by_meter[QUOTA_TOKENS]);
	values[4] = Int64GetDatum(amounts->by_meter[QUOTA_CONTENT_BYTES]);
	if (quota_execute(QUOTA_SUBSCRIPTION_CHARGE, values, NULL, false) == 0)
		return false;
	read_row(hold);
	return true;
}

/* Charges the row ahead and locks it so; NULL: there is more to do, or no row. */
static QuotaHold *
charge_ahead(const char *subscription_id, const char *account_id, const QuotaAmounts *amounts)
{
	QuotaHold *hold = new_hold(account_id);
	text *key = cstring_to_text(subscription_id);

	if (!charge_directly(hold, key, amounts) && !charge_by_statement(hold, key, amounts))
		return NULL;
	refresh(hold);
	set_ahead(hold, amounts);
	return hold;
}

QuotaHold *
quota_begin_expecting(const char *account_id, const QuotaAmounts *amounts)
{
	const char *hint;
	QuotaHold *hold = NULL;

	if (!quota_active())
		return NULL;
	hint = quota_subscription_hint(account_id);
	if (hint != NULL)
		hold = charge_ahead(hint, account_id, amounts);
	return hold != NULL ? hold : quota_begin(account_id);
}

QuotaHold *
quota_begin_on_expecting(const char *subscription_id, const char *account_id,
						 const QuotaAmounts *amounts)
{
	QuotaHold *hold;

	if (!quota_active())
		return NULL;
	hold = charge_ahead(subscription_id, account_id, amounts);
	return hold != NULL ? hold : quota_begin_on(subscription_id, account_id);
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
	if (pg_add_s64_overflow(hold->reserved[meter], amount, &hold->reserved[meter]))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("what is reserved of %s is out of range", quota_meter_name(meter))));
	hold->changed = true;
	hold->ahead = false;
}

/* Adds the rows of (meter, amount) that a statement has returned, or takes them off. */
static void
change_reserved_by(QuotaHold *hold, uint64 rows, int sign)
{
	bool isnull;

	for (uint64 i = 0; i < rows; i++)
		quota_change_reserved(hold, quota_meter_by_name(quota_string(i, 1)),
							  sign * DatumGetInt64(plan_column(i, 2, &isnull)));
}

/* What reservations hold that have expired: without a lock they cannot be ended. */
static void
pass_over_expired(QuotaHold *hold)
{
	Datum values[2] = {CStringGetTextDatum(hold->subscription_id), TimestampTzGetDatum(hold->now)};
	bool any = false;

	for (int i = 0; i < QUOTA_NMETERS; i++)
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
	Datum values[NCOLUMNS];
	char nulls[NCOLUMNS + 1];
	int n = 0;

	hold->changed = false;
	if (hold->ahead && memcmp(hold->row_used, hold->used, sizeof(hold->used)) == 0)
		return;
	hold->ahead = false;
	memset(nulls, ' ', NCOLUMNS);
	values[n++] = CStringGetTextDatum(hold->subscription_id);
	nulls[n] = hold->plan_id == NULL ? 'n' : ' ';
	values[n++] = hold->plan_id == NULL ? (Datum) 0 : CStringGetTextDatum(hold->plan_id);
	nulls[n] = nulls[n + 1] = hold->next_plan_id == NULL ? 'n' : ' ';
	values[n++] = hold->next_plan_id == NULL ? (Datum) 0 : CStringGetTextDatum(hold->next_plan_id);
	values[n++] = TimestampTzGetDatum(hold->next_plan_at);
	for (int i = 0; i < QUOTA_NBOUNDS; i++)
	{
		values[n++] = TimestampTzGetDatum(hold->period_start[i]);
		values[n++] = TimestampTzGetDatum(hold->period_end[i]);
	}
	for (int i = 0; i < QUOTA_NSLOTS; i++)
		values[n++] = Int64GetDatum(hold->used[i]);
	for (int i = 0; i < QUOTA_NMETERS; i++)
		values[n++] = Int64GetDatum(hold->reserved[i]);
	for (int i = 0; i < QUOTA_NSTANDING; i++)
		values[n++] = Int64GetDatum(hold->outside[i]);
	quota_execute(QUOTA_SUBSCRIPTION_SAVE, values, nulls, false);
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
quota_move_outside(QuotaHold *from, QuotaHold *to, const char *account_id)
{
	int64 outside[QUOTA_NSTANDING];

	quota_read_outside(account_id, outside);
	count_outside(from, outside, -1);
	count_outside(to, outside, 1);
}

bool
quota_recount(QuotaHold *hold, const QuotaAmounts *standing)
{
	Datum values[1] = {CStringGetTextDatum(hold->subscription_id)};
	QuotaHold before;
	uint64 n;

	quota_reap(hold);
	before = *hold;
	quota_outside_columns(quota_execute(QUOTA_OUTSIDE_SUM, values, NULL, false), hold->outside);
	for (int i = 0; i < QUOTA_NSTANDING; i++)
	{
		QuotaMeter meter = quota_standing_meter(i);

		if (pg_add_s64_overflow(standing->by_meter[meter], hold->outside[i],
								&hold->used[quota_slot(meter, QUOTA_CURRENT)]))
			ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
							errmsg("usage of %s is out of range", quota_meter_name(meter))));
	}
	memset(hold->reserved, 0, sizeof(hold->reserved));
	n = quota_execute(QUOTA_RESERVED_SUM, values, NULL, false);
	change_reserved_by(hold, n, 1);
	return memcmp(before.used, hold->used, sizeof(before.used)) != 0 ||
		   memcmp(before.outside, hold->outside, sizeof(before.outside)) != 0 ||
		   memcmp(before.reserved, hold->reserved, sizeof(before.reserved)) != 0;
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

void
quota_forget_account(QuotaHold *hold, const char *account_id)
{
	Datum values[1] = {CStringGetTextDatum(account_id)};
	uint64 n = quota_execute(QUOTA_FORGET_RESERVATIONS, values, NULL, false);
	int64 outside[QUOTA_NSTANDING];
	bool isnull;

	for (uint64 i = 0; i < n && hold != NULL; i++)
		if (strcmp(quota_string(i, 3), "held") == 0)
			quota_change_reserved(hold, quota_meter_by_name(quota_string(i, 1)),
								  -DatumGetInt64(plan_column(i, 2, &isnull)));
	quota_outside_columns(quota_execute(QUOTA_OUTSIDE_FORGET, values, NULL, false), outside);
	count_outside(hold, outside, -1);
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
