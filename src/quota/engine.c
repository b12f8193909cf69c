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

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "metering.h"
#include "quota_private.h"
#include "sql_text.h"
#include "statement.h"

/* ---- what was read, brought to the present ---- */

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

/* clang-format off */
static PlanStatement subscription_of_statement = {
	"SELECT subscription_id FROM memory_store.accounts WHERE account_id" OP(=) "$1",
	1,
	{TEXTOID},
};
/* clang-format on */

/* An account's subscription: its own unless it was given another. */
char *
quota_subscription_of(const char *account_id, bool read_only)
{
	Datum values[] = {CStringGetTextDatum(account_id)};

	if (plan_execute(&subscription_of_statement, values, NULL, read_only) > 0)
		return plan_string(0, 1);
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

	quota_read_row(hold);
	refresh(hold);
	return hold;
}

static QuotaClaim claim_name = NULL;
static QuotaCount count_standing = NULL;

/*
 * Tells the engine whom to ask for what stands in a subscription's accounts;
 * called once, from _PG_init.
 */
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
	int64 outside[QUOTA_NSTANDING];
	QuotaHold *hold;

	if (!quota_find_row(QUOTA_ROW_LOCKED, subscription_id, false))
		elog(ERROR, "subscription \"%s\" is gone", subscription_id);
	hold = found_hold(subscription_id);
	quota_consume_held(hold, standing);
	quota_sum_outside(subscription_id, outside);
	count_outside(hold, outside, 1);
	if (hold->changed)
		quota_save(hold);
}

/* clang-format off */
static PlanStatement history_clear_statement = {
	"DELETE FROM memory_store.subscription_plans"
	" WHERE subscription_id" OP(=) "$1 AND valid_from" OP(>=) "$2",
	2,
	{TEXTOID, TIMESTAMPTZOID},
};

static PlanStatement history_note_statement = {
	"INSERT INTO memory_store.subscription_plans (subscription_id, valid_from, plan_id)"
	" VALUES ($1, $2, $3)",
	3,
	{TEXTOID, TIMESTAMPTZOID, TEXTOID},
};
/* clang-format on */

void
quota_note_plan(const char *subscription_id, const char *plan_id, TimestampTz from)
{
	Datum values[] = {CStringGetTextDatum(subscription_id), TimestampTzGetDatum(from),
					  CStringGetTextDatum(plan_id)};

	plan_execute(&history_clear_statement, values, NULL, false);
	plan_execute(&history_note_statement, values, NULL, false);
}

/* Makes the row; false: it exists. */
static bool
insert_row(const char *subscription_id, const char *plan_id, TimestampTz starts_at,
		   const char *time_zone)
{
	if (!quota_insert_row(subscription_id, plan_id, starts_at, time_zone))
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
	/* again, when somebody else has just made it, or has just removed it */
	while (!quota_find_row(QUOTA_ROW_LOCKED, subscription_id, false))
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

	if (!quota_active())
		return NULL;
	hint = quota_subscription_hint(account_id);
	if (hint != NULL ? quota_find_row(QUOTA_ROW_LOCKED, hint, false)
					 : quota_find_row(QUOTA_ROW_OF_ACCOUNT_LOCKED, account_id, false))
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

/* Charges the row ahead and locks it so; NULL: there is more to do, or no row. */
static QuotaHold *
charge_ahead(const char *subscription_id, const char *account_id, const QuotaAmounts *amounts)
{
	QuotaHold *hold = new_hold(account_id);

	if (!quota_charge_row(hold, subscription_id, amounts))
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
			 errmsg("account \"%s\" was given another subscription by a concurrent transaction",
					account_id),
			 errhint("Retry the transaction.")));
}

/*
 * quota_begin, and the look whether the account still has this subscription.
 * Error: 40001 it has not.
 */
QuotaHold *
quota_begin_confirmed(const char *account_id)
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
	return quota_find_row(QUOTA_ROW, subscription_id, false);
}

bool
quota_account_exists(const char *account_id)
{
	Datum values[] = {CStringGetTextDatum(account_id)};

	return plan_execute(&subscription_of_statement, values, NULL, false) > 0;
}

/* clang-format off */
/* only what a write made by itself, and has not used */
static PlanStatement drop_unused_statement = {
	"DELETE FROM memory_store.subscriptions s"
	" WHERE s.subscription_id" OP(=) "$1"
	" AND s.plan_id IS NULL AND s.next_plan_id IS NULL"
	" AND 0" OP(=) "ALL (ARRAY[s.messages_lifetime, s.tokens_lifetime,"
	"   s.conversations, s.content_bytes,"
	"   s.reserved_conversations, s.reserved_messages, s.reserved_tokens,"
	"   s.reserved_content_bytes])"
	" AND NOT EXISTS ("
	"   SELECT FROM memory_store.accounts a WHERE a.account_id" OP(=) "$1)"
	" AND NOT EXISTS ("
	"   SELECT FROM memory_store.accounts a"
	"   WHERE a.subscription_id" OP(=) "$1 AND a.subscription_id" OP(<>) "a.account_id)",
	1,
	{TEXTOID},
};
/* clang-format on */

void
quota_drop_unused(const char *subscription_id)
{
	Datum values[] = {CStringGetTextDatum(subscription_id)};

	plan_execute(&drop_unused_statement, values, NULL, false);
}

QuotaHold *
quota_peek(const char *account_id)
{
	const char *hint;
	QuotaHold *hold;

	if (!quota_active())
		return NULL;
	hint = quota_subscription_hint(account_id);
	if (hint != NULL ? quota_find_row(QUOTA_ROW, hint, true)
					 : quota_find_row(QUOTA_ROW_OF_ACCOUNT, account_id, true))
	{
		hold = found_hold(account_id);
		quota_pass_over_expired(hold);
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

	hold->changed = false;
	if (hold->ahead && memcmp(hold->row_used, hold->used, sizeof(hold->used)) == 0)
		return;
	hold->ahead = false;
	quota_update_row(hold);
	foreach (cell, hold->closed)
		metering_emit("period.closed", hold->subscription_id, hold->subscription_id,
					  (char *) lfirst(cell));
	hold->closed = NIL;
}

/* clang-format off */
/* which ones come first does not matter; in order of the locks they are taken in */
static PlanStatement periods_ended_statement = {
	"SELECT e.subscription_id"
	" FROM (SELECT subscription_id FROM memory_store.subscriptions"
	"   WHERE month_end" OP(<=) "$1 ORDER BY month_end LIMIT $2) e"
	" ORDER BY e.subscription_id",
	2,
	{TIMESTAMPTZOID, INT8OID},
	.ordered = true,
};
/* clang-format on */

uint64
quota_close_periods(int64 limit)
{
	Datum values[] = {TimestampTzGetDatum(GetCurrentTimestamp()), Int64GetDatum(limit)};
	uint64 n = plan_execute(&periods_ended_statement, values, NULL, false);
	char **ids = palloc(mul_size(Max(n, 1), sizeof(char *)));

	for (uint64 i = 0; i < n; i++)
		ids[i] = plan_string(i, 1);
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
	QuotaHold before;

	quota_reap(hold);
	before = *hold;
	quota_sum_outside(hold->subscription_id, hold->outside);
	for (int i = 0; i < QUOTA_NSTANDING; i++)
	{
		QuotaMeter meter = quota_standing_meter(i);

		if (pg_add_s64_overflow(standing->by_meter[meter], hold->outside[i],
								&hold->used[quota_slot(meter, QUOTA_CURRENT)]))
			ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
							errmsg("usage of %s is out of range", quota_meter_name(meter))));
	}
	quota_sum_reserved(hold);
	return memcmp(before.used, hold->used, sizeof(before.used)) != 0 ||
		   memcmp(before.outside, hold->outside, sizeof(before.outside)) != 0 ||
		   memcmp(before.reserved, hold->reserved, sizeof(before.reserved)) != 0;
}

/* clang-format off */
static PlanStatement forget_subscription_statement = {
	"DELETE FROM memory_store.subscriptions s"
	" WHERE s.subscription_id" OP(=) "$1"
	" AND NOT EXISTS ("
	"   SELECT FROM memory_store.accounts a"
	"   WHERE a.subscription_id" OP(=) "$1 AND a.subscription_id" OP(<>) "a.account_id)",
	1,
	{TEXTOID},
};

static PlanStatement forget_history_statement = {
	"DELETE FROM memory_store.subscription_plans p"
	" WHERE p.subscription_id" OP(=) "$1"
	" AND NOT EXISTS ("
	"   SELECT FROM memory_store.subscriptions s WHERE s.subscription_id" OP(=) "$1)",
	1,
	{TEXTOID},
};
/* clang-format on */

void
quota_forget_account(QuotaHold *hold, const char *account_id)
{
	Datum values[] = {CStringGetTextDatum(account_id)};
	int64 outside[QUOTA_NSTANDING];

	quota_forget_reservations(hold, account_id);
	quota_forget_outside(account_id, outside);
	count_outside(hold, outside, -1);
	if (hold != NULL)
		quota_save(hold);
	plan_execute(&forget_subscription_statement, values, NULL, false);
	plan_execute(&forget_history_statement, values, NULL, false);
}
