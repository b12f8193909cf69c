/*
 * reservation.c
 *		What is reserved for calls of models: rows of memory_store.reservations.
 *
 * A reservation counts in its subscription's row while it is held, so each
 * function that ends one changes the hold as well; who began the hold saves it.
 * One that has expired is given back by quota_reap, by whoever needs the amount
 * first.  All functions need an SPI connection.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "utils/builtins.h"

#include "quota_private.h"
#include "sql_text.h"
#include "statement.h"

void
quota_change_reserved(QuotaHold *hold, QuotaMeter meter, int64 amount)
{
	if (pg_add_s64_overflow(hold->reserved[meter], amount, &hold->reserved[meter]))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("reserved %s are out of range", quota_meter_name(meter))));
	hold->changed = true;
	hold->ahead = false;
}

/* The first columns of what the statements on several reservations return. */
enum
{
	AMOUNT_METER = 1,
	AMOUNT_AMOUNT,
	AMOUNT_STATE
};

/* Adds the amounts that a statement has returned, or takes them off (sign -1). */
static void
change_by_rows(QuotaHold *hold, uint64 rows, int sign)
{
	for (uint64 i = 0; i < rows; i++)
		quota_change_reserved(hold, quota_meter_by_name(plan_string(i, AMOUNT_METER)),
							  sign * plan_int64(i, AMOUNT_AMOUNT));
}

/* ---- those that have expired ---- */

/* clang-format off */
#define EXPIRED "subscription_id" OP(=) "$1 AND state" OP(=) "'held' AND expires_at" OP(<=) "$2"

static PlanStatement expire_statement = {
	"UPDATE memory_store.reservations SET state = 'expired'"
	" WHERE " EXPIRED
	" RETURNING meter, amount",
	2,
	{TEXTOID, TIMESTAMPTZOID},
};

static PlanStatement expired_statement = {
	"SELECT meter, amount FROM memory_store.reservations WHERE " EXPIRED,
	2,
	{TEXTOID, TIMESTAMPTZOID},
};
/* clang-format on */

void
quota_reap(QuotaHold *hold)
{
	Datum values[] = {CStringGetTextDatum(hold->subscription_id), TimestampTzGetDatum(hold->now)};

	change_by_rows(hold, plan_execute(&expire_statement, values, NULL, false), -1);
}

void
quota_pass_over_expired(QuotaHold *hold)
{
	Datum values[] = {CStringGetTextDatum(hold->subscription_id), TimestampTzGetDatum(hold->now)};
	bool any = false;

	for (int i = 0; i < QUOTA_NMETERS; i++)
		any |= hold->reserved[i] != 0;
	if (any)
		change_by_rows(hold, plan_execute(&expired_statement, values, NULL, true), -1);
}

/* clang-format off */
static PlanStatement purge_statement = {
	"DELETE FROM memory_store.reservations"
	" WHERE state" OP(<>) "'held' AND expires_at" OP(<) "$1",
	1,
	{TIMESTAMPTZOID},
};
/* clang-format on */

uint64
quota_purge(TimestampTz before)
{
	Datum values[] = {TimestampTzGetDatum(before)};

	return plan_execute(&purge_statement, values, NULL, false);
}

/* ---- all of a subscription, or of an account ---- */

/* clang-format off */
static PlanStatement sum_statement = {
	"SELECT meter, pg_catalog.sum(amount)::pg_catalog.int8"
	" FROM memory_store.reservations"
	" WHERE subscription_id" OP(=) "$1 AND state" OP(=) "'held'"
	" GROUP BY meter",
	1,
	{TEXTOID},
};

static PlanStatement move_statement = {
	"UPDATE memory_store.reservations SET subscription_id = $2"
	" WHERE account_id" OP(=) "$1 AND state" OP(=) "'held'"
	" RETURNING meter, amount",
	2,
	{TEXTOID, TEXTOID},
};

static PlanStatement forget_statement = {
	"DELETE FROM memory_store.reservations WHERE account_id" OP(=) "$1"
	" RETURNING meter, amount, state",
	1,
	{TEXTOID},
};
/* clang-format on */

void
quota_sum_reserved(QuotaHold *hold)
{
	Datum values[] = {CStringGetTextDatum(hold->subscription_id)};

	memset(hold->reserved, 0, sizeof(hold->reserved));
	change_by_rows(hold, plan_execute(&sum_statement, values, NULL, false), 1);
}

void
quota_move_reservations(QuotaHold *from, QuotaHold *to, const char *account_id, const char *to_id)
{
	Datum values[] = {CStringGetTextDatum(account_id), CStringGetTextDatum(to_id)};
	uint64 n = plan_execute(&move_statement, values, NULL, false);

	if (from != NULL)
		change_by_rows(from, n, -1);
	if (to != NULL)
		change_by_rows(to, n, 1);
}

void
quota_forget_reservations(QuotaHold *hold, const char *account_id)
{
	Datum values[] = {CStringGetTextDatum(account_id)};
	uint64 n = plan_execute(&forget_statement, values, NULL, false);

	for (uint64 i = 0; i < n && hold != NULL; i++)
		if (strcmp(plan_string(i, AMOUNT_STATE), "held") == 0)
			quota_change_reserved(hold, quota_meter_by_name(plan_string(i, AMOUNT_METER)),
								  -plan_int64(i, AMOUNT_AMOUNT));
}

/* ---- one of them ---- */

/* clang-format off */
#define THIS_ONE "account_id" OP(=) "$1 AND reservation_id" OP(=) "$2"

enum
{
	FOUND_METER = 1,
	FOUND_AMOUNT,
	FOUND_STATE,
	FOUND_SETTLED
};

static PlanStatement find_statement = {
	"SELECT meter, amount, state, settled FROM memory_store.reservations WHERE " THIS_ONE,
	2,
	{TEXTOID, TEXTOID},
};

enum
{
	NEW_ACCOUNT_ID,
	NEW_RESERVATION_ID,
	NEW_SUBSCRIPTION_ID,
	NEW_METER,
	NEW_AMOUNT,
	NEW_EXPIRES_AT,
	NEW_NPARAMETERS
};

static PlanStatement insert_statement = {
	"INSERT INTO memory_store.reservations"
	" (account_id, reservation_id, subscription_id, meter, amount, expires_at, state)"
	" VALUES ($1, $2, $3, $4, $5, $6, 'held')",
	NEW_NPARAMETERS,
	{TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID},
};

enum
{
	END_ACCOUNT_ID,
	END_RESERVATION_ID,
	END_STATE,
	END_SETTLED,
	END_NPARAMETERS
};

static PlanStatement end_statement = {
	"UPDATE memory_store.reservations SET state = $3, settled = $4 WHERE " THIS_ONE,
	END_NPARAMETERS,
	{TEXTOID, TEXTOID, TEXTOID, INT8OID},
};
/* clang-format on */

bool
quota_find_reservation(const QuotaHold *hold, const char *id, QuotaReservation *reservation)
{
	Datum values[] = {CStringGetTextDatum(hold->account_id), CStringGetTextDatum(id)};
	Datum settled;
	bool isnull;

	if (plan_execute(&find_statement, values, NULL, false) == 0)
		return false;
	reservation->meter = quota_meter_by_name(plan_string(0, FOUND_METER));
	reservation->amount = plan_int64(0, FOUND_AMOUNT);
	reservation->state = plan_string(0, FOUND_STATE);
	settled = plan_column(0, FOUND_SETTLED, &isnull);
	reservation->settled = isnull ? -1 : DatumGetInt64(settled);
	return true;
}

void
quota_insert_reservation(const QuotaHold *hold, const char *id, QuotaMeter meter, int64 amount,
						 TimestampTz expires_at)
{
	Datum values[NEW_NPARAMETERS] = {
		[NEW_ACCOUNT_ID] = CStringGetTextDatum(hold->account_id),
		[NEW_RESERVATION_ID] = CStringGetTextDatum(id),
		[NEW_SUBSCRIPTION_ID] = CStringGetTextDatum(hold->subscription_id),
		[NEW_METER] = CStringGetTextDatum(quota_meter_name(meter)),
		[NEW_AMOUNT] = Int64GetDatum(amount),
		[NEW_EXPIRES_AT] = TimestampTzGetDatum(expires_at),
	};

	plan_execute(&insert_statement, values, NULL, false);
}

void
quota_end_reservation(const QuotaHold *hold, const char *id, const char *state, int64 settled)
{
	Datum values[END_NPARAMETERS] = {
		[END_ACCOUNT_ID] = CStringGetTextDatum(hold->account_id),
		[END_RESERVATION_ID] = CStringGetTextDatum(id),
		[END_STATE] = CStringGetTextDatum(state),
		[END_SETTLED] = Int64GetDatum(settled),
	};
	char nulls[END_NPARAMETERS] = {' ', ' ', ' ', settled < 0 ? 'n' : ' '};

	plan_execute(&end_statement, values, nulls, false);
}
