/*
 * subscription_row.c
 *		A subscription's row in memory_store.subscriptions, to a hold and back.
 *
 * Nothing here knows what a counter means; engine.c brings what was read to the
 * present.  All functions need an SPI connection.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "direct.h"
#include "quota_private.h"
#include "sql_text.h"
#include "statement.h"

/*
 * The table's columns, in its order.  They are also the parameters of the
 * statements that write a row: column n is $(n + 1).
 */
enum
{
	SUBSCRIPTION_ID,
	PLAN_ID,
	STARTS_AT,
	TIME_ZONE,
	NEXT_PLAN_ID,
	NEXT_PLAN_AT,
	BOUNDS,                            /* start and end of hour, day and month */
	USED = BOUNDS + 2 * QUOTA_NBOUNDS, /* by slot */
	RESERVED = USED + QUOTA_NSLOTS,    /* by meter */
	OUTSIDE = RESERVED + QUOTA_NMETERS,
	NCOLUMNS = OUTSIDE + QUOTA_NSTANDING
};

/* clang-format off */
#define COLUMNS \
	"subscription_id, plan_id, starts_at, time_zone, next_plan_id, next_plan_at," \
	" hour_start, hour_end, day_start, day_end, month_start, month_end," \
	" messages_hour, messages_day, messages_month, messages_lifetime," \
	" tokens_hour, tokens_day, tokens_month, tokens_lifetime," \
	" conversations, content_bytes," \
	" reserved_conversations, reserved_messages, reserved_tokens, reserved_content_bytes," \
	" outside_conversations, outside_content_bytes"

static const char *const column_names[NCOLUMNS] = {
	"subscription_id", "plan_id", "starts_at", "time_zone", "next_plan_id", "next_plan_at",
	"hour_start", "hour_end", "day_start", "day_end", "month_start", "month_end",
	"messages_hour", "messages_day", "messages_month", "messages_lifetime",
	"tokens_hour", "tokens_day", "tokens_month", "tokens_lifetime",
	"conversations", "content_bytes",
	"reserved_conversations", "reserved_messages", "reserved_tokens", "reserved_content_bytes",
	"outside_conversations", "outside_content_bytes",
};

static DirectTable subscriptions = {
	"subscriptions", NCOLUMNS, column_names, 1, {SUBSCRIPTION_ID}, InvalidOid,
};

#define OF_SUBSCRIPTION \
	"SELECT " COLUMNS " FROM memory_store.subscriptions WHERE subscription_id" OP(=) "$1"

/* An account's subscription is its own unless it was given another. */
#define OF_ACCOUNT \
	"SELECT " COLUMNS " FROM memory_store.subscriptions" \
	" WHERE subscription_id" OP(=) "COALESCE((" \
	"   SELECT a.subscription_id FROM memory_store.accounts a" \
	"   WHERE a.account_id" OP(=) "$1), $1)"

static PlanStatement find_statements[] = {
	[QUOTA_ROW] = {OF_SUBSCRIPTION, 1, {TEXTOID}},
	[QUOTA_ROW_LOCKED] = {OF_SUBSCRIPTION " FOR NO KEY UPDATE", 1, {TEXTOID}},
	[QUOTA_ROW_OF_ACCOUNT] = {OF_ACCOUNT, 1, {TEXTOID}},
	[QUOTA_ROW_OF_ACCOUNT_LOCKED] = {OF_ACCOUNT " FOR NO KEY UPDATE", 1, {TEXTOID}},
};
/* clang-format on */

static void
read_columns(QuotaHold *hold, const Datum *values, const bool *nulls)
{
	hold->subscription_id = TextDatumGetCString(values[SUBSCRIPTION_ID]);
	hold->plan_id = nulls[PLAN_ID] ? NULL : TextDatumGetCString(values[PLAN_ID]);
	hold->starts_at = DatumGetTimestampTz(values[STARTS_AT]);
	hold->time_zone = TextDatumGetCString(values[TIME_ZONE]);
	hold->next_plan_id = nulls[NEXT_PLAN_ID] ? NULL : TextDatumGetCString(values[NEXT_PLAN_ID]);
	hold->next_plan_at = DatumGetTimestampTz(values[NEXT_PLAN_AT]);
	for (int i = 0; i < QUOTA_NBOUNDS; i++)
	{
		hold->period_start[i] = DatumGetTimestampTz(values[BOUNDS + 2 * i]);
		hold->period_end[i] = DatumGetTimestampTz(values[BOUNDS + 2 * i + 1]);
	}
	for (int i = 0; i < QUOTA_NSLOTS; i++)
		hold->used[i] = DatumGetInt64(values[USED + i]);
	for (int i = 0; i < QUOTA_NMETERS; i++)
		hold->reserved[i] = DatumGetInt64(values[RESERVED + i]);
	for (int i = 0; i < QUOTA_NSTANDING; i++)
		hold->outside[i] = DatumGetInt64(values[OUTSIDE + i]);
}

bool
quota_find_row(QuotaRow which, const char *id, bool read_only)
{
	Datum values[] = {CStringGetTextDatum(id)};

	return plan_execute(&find_statements[which], values, NULL, read_only) > 0;
}

void
quota_read_row(QuotaHold *hold)
{
	Datum values[NCOLUMNS];
	bool nulls[NCOLUMNS];

	if (SPI_tuptable->tupdesc->natts != NCOLUMNS)
		elog(ERROR, "a subscription has %d columns", SPI_tuptable->tupdesc->natts);
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values, nulls);
	read_columns(hold, values, nulls);
}

/* A text parameter, NULL as NULL. */
static void
set_text(Datum *values, char *nulls, int column, const char *value)
{
	nulls[column] = value == NULL ? 'n' : ' ';
	values[column] = value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/* clang-format off */
/* where there is one, ON CONFLICT would wait for whoever charges it, with accounts locked */
static PlanStatement insert_statement = {
	"INSERT INTO memory_store.subscriptions (subscription_id, plan_id, starts_at, time_zone,"
	"   hour_start, hour_end, day_start, day_end, month_start, month_end)"
	" SELECT $1, $2, $3, $4, $7, $8, $9, $10, $11, $12"
	" WHERE NOT EXISTS ("
	"   SELECT FROM memory_store.subscriptions WHERE subscription_id" OP(=) "$1)"
	" ON CONFLICT (subscription_id) DO NOTHING",
	USED,
	{TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TIMESTAMPTZOID,
	 TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	 TIMESTAMPTZOID},
};
/* clang-format on */

bool
quota_insert_row(const char *subscription_id, const char *plan_id, TimestampTz starts_at,
				 const char *time_zone)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum values[USED] = {0};
	char nulls[USED];

	memset(nulls, ' ', sizeof(nulls));
	set_text(values, nulls, SUBSCRIPTION_ID, subscription_id);
	set_text(values, nulls, PLAN_ID, plan_id);
	values[STARTS_AT] = TimestampTzGetDatum(starts_at);
	set_text(values, nulls, TIME_ZONE, time_zone);
	nulls[NEXT_PLAN_ID] = nulls[NEXT_PLAN_AT] = 'n';
	for (int i = 0; i < QUOTA_NBOUNDS; i++)
	{
		TimestampTz start;
		TimestampTz end;

		quota_period_bounds((QuotaPeriod) i, starts_at, time_zone, now, &start, &end);
		values[BOUNDS + 2 * i] = TimestampTzGetDatum(start);
		values[BOUNDS + 2 * i + 1] = TimestampTzGetDatum(end);
	}
	return plan_execute(&insert_statement, values, nulls, false) > 0;
}

/* clang-format off */
/* starts_at and time_zone, $3 and $4, stay what they are */
static PlanStatement update_statement = {
	"UPDATE memory_store.subscriptions"
	" SET plan_id = $2, next_plan_id = $5, next_plan_at = $6,"
	"   hour_start = $7, hour_end = $8, day_start = $9, day_end = $10,"
	"   month_start = $11, month_end = $12,"
	"   messages_hour = $13, messages_day = $14, messages_month = $15, messages_lifetime = $16,"
	"   tokens_hour = $17, tokens_day = $18, tokens_month = $19, tokens_lifetime = $20,"
	"   conversations = $21, content_bytes = $22,"
	"   reserved_conversations = $23, reserved_messages = $24, reserved_tokens = $25,"
	"   reserved_content_bytes = $26,"
	"   outside_conversations = $27, outside_content_bytes = $28"
	" WHERE subscription_id" OP(=) "$1",
	NCOLUMNS,
	{TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TIMESTAMPTZOID,
	 TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	 TIMESTAMPTZOID,
	 INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
	 INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID},
};
/* clang-format on */

void
quota_update_row(const QuotaHold *hold)
{
	Datum values[NCOLUMNS] = {0};
	char nulls[NCOLUMNS];

	memset(nulls, ' ', sizeof(nulls));
	set_text(values, nulls, SUBSCRIPTION_ID, hold->subscription_id);
	set_text(values, nulls, PLAN_ID, hold->plan_id);
	nulls[STARTS_AT] = nulls[TIME_ZONE] = 'n';
	set_text(values, nulls, NEXT_PLAN_ID, hold->next_plan_id);
	values[NEXT_PLAN_AT] = TimestampTzGetDatum(hold->next_plan_at);
	nulls[NEXT_PLAN_AT] = hold->next_plan_id == NULL ? 'n' : ' ';
	for (int i = 0; i < QUOTA_NBOUNDS; i++)
	{
		values[BOUNDS + 2 * i] = TimestampTzGetDatum(hold->period_start[i]);
		values[BOUNDS + 2 * i + 1] = TimestampTzGetDatum(hold->period_end[i]);
	}
	for (int i = 0; i < QUOTA_NSLOTS; i++)
		values[USED + i] = Int64GetDatum(hold->used[i]);
	for (int i = 0; i < QUOTA_NMETERS; i++)
		values[RESERVED + i] = Int64GetDatum(hold->reserved[i]);
	for (int i = 0; i < QUOTA_NSTANDING; i++)
		values[OUTSIDE + i] = Int64GetDatum(hold->outside[i]);
	plan_execute(&update_statement, values, nulls, false);
}

/* ---- charging a row that nothing else is to be done with ---- */

typedef struct ChargeAhead
{
	QuotaHold *hold;
	const QuotaAmounts *amounts;
} ChargeAhead;

/* Adds the amount to a slot; false: it would overflow. */
static bool
add_to_slot(TupleTableSlot *row, QuotaMeter meter, QuotaPeriod period, int64 amount)
{
	Datum *value = &row->tts_values[USED + quota_slot(meter, period)];
	int64 sum;

	if (pg_add_s64_overflow(DatumGetInt64(*value), amount, &sum))
		return false;
	*value = Int64GetDatum(sum);
	return true;
}

/* charge_statement on a row: refused when a period or the plan has ended. */
static bool
charge_row(TupleTableSlot *row, void *arg)
{
	QuotaHold *hold = ((ChargeAhead *) arg)->hold;
	const QuotaAmounts *amounts = ((ChargeAhead *) arg)->amounts;

	if (!row->tts_isnull[NEXT_PLAN_AT] &&
		DatumGetTimestampTz(row->tts_values[NEXT_PLAN_AT]) <= hold->now)
		return false;
	for (int i = 0; i < QUOTA_NBOUNDS; i++)
		if (DatumGetTimestampTz(row->tts_values[BOUNDS + 2 * i + 1]) <= hold->now)
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

enum
{
	CHARGE_SUBSCRIPTION_ID,
	CHARGE_NOW,
	CHARGE_MESSAGES,
	CHARGE_TOKENS,
	CHARGE_CONTENT_BYTES,
	CHARGE_NPARAMETERS
};

/* clang-format off */
/* where nothing else is to be done: no period has ended, no plan is to change */
static PlanStatement charge_statement = {
	"UPDATE memory_store.subscriptions"
	" SET messages_hour = messages_hour" OP(+) "$3,"
	"   messages_day = messages_day" OP(+) "$3,"
	"   messages_month = messages_month" OP(+) "$3,"
	"   messages_lifetime = messages_lifetime" OP(+) "$3,"
	"   tokens_hour = tokens_hour" OP(+) "$4,"
	"   tokens_day = tokens_day" OP(+) "$4,"
	"   tokens_month = tokens_month" OP(+) "$4,"
	"   tokens_lifetime = tokens_lifetime" OP(+) "$4,"
	"   content_bytes = content_bytes" OP(+) "$5"
	" WHERE subscription_id" OP(=) "$1"
	" AND hour_end" OP(>) "$2 AND day_end" OP(>) "$2 AND month_end" OP(>) "$2"
	" AND (next_plan_at IS NULL OR next_plan_at" OP(>) "$2)"
	" RETURNING " COLUMNS,
	CHARGE_NPARAMETERS,
	{TEXTOID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID},
};
/* clang-format on */

static bool
charge_by_statement(QuotaHold *hold, text *subscription_id, const QuotaAmounts *amounts)
{
	Datum values[CHARGE_NPARAMETERS] = {
		[CHARGE_SUBSCRIPTION_ID] = PointerGetDatum(subscription_id),
		[CHARGE_NOW] = TimestampTzGetDatum(hold->now),
		[CHARGE_MESSAGES] = Int64GetDatum(amounts->by_meter[QUOTA_MESSAGES]),
		[CHARGE_TOKENS] = Int64GetDatum(amounts->by_meter[QUOTA_TOKENS]),
		[CHARGE_CONTENT_BYTES] = Int64GetDatum(amounts->by_meter[QUOTA_CONTENT_BYTES]),
	};

	if (plan_execute(&charge_statement, values, NULL, false) == 0)
		return false;
	quota_read_row(hold);
	return true;
}

bool
quota_charge_row(QuotaHold *hold, const char *subscription_id, const QuotaAmounts *amounts)
{
	text *key = cstring_to_text(subscription_id);

	return charge_directly(hold, key, amounts) || charge_by_statement(hold, key, amounts);
}
