/*
 * quota.h
 *		Plans, limits, and what subscriptions have used.
 *
 * The room knows numbers, not conversations.  Who writes calls quota_begin
 * before it locks an account (subscription → account → conversation), and
 * quota_consume and quota_save once it knows the amounts; both in one transaction.
 *
 * Calls inside the room go downward: quota_functions.c and trigger.c, which SQL
 * calls → admit.c (what hard limits refuse) → engine.c (counters and their
 * locks) → subscription_row.c and reservation.c (rows), consume.c (counting) →
 * events.c (what is told) → headroom.c (what limits leave) → plan_cache.c and
 * period.c.  What only they share is in quota_private.h.
 */
#ifndef QUOTA_H
#define QUOTA_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/timestamp.h"

#include "compat.h"

typedef enum QuotaMeter
{
	QUOTA_CONVERSATIONS,
	QUOTA_MESSAGES,
	QUOTA_TOKENS,
	QUOTA_CONTENT_BYTES,
	QUOTA_NMETERS
} QuotaMeter;

typedef enum QuotaPeriod
{
	QUOTA_HOUR,
	QUOTA_DAY,
	QUOTA_MONTH,
	QUOTA_LIFETIME,
	QUOTA_CURRENT,
	QUOTA_NPERIODS
} QuotaPeriod;

/* The periods that end; a subscription's row has their bounds. */
#define QUOTA_NBOUNDS 3

/* A slot of a subscription's counters: a meter in a period; what stands comes last. */
#define QUOTA_NSLOTS 10
#define QUOTA_NSTANDING 2

/* Amounts by meter; negative ones lower what stands and never what flows. */
typedef struct QuotaAmounts
{
	int64 by_meter[QUOTA_NMETERS];
	bool outside; /* what stands of it is not in the store */
} QuotaAmounts;

/* ---- plan_cache.c ---- */
typedef struct QuotaLimit
{
	QuotaMeter meter;
	QuotaPeriod period;
	int slot;
	int64 limit;
	bool hard;
	int nthresholds;
	double thresholds[8];
} QuotaLimit;

typedef struct QuotaPlan
{
	char *plan_id;
	int nlimits;
	QuotaLimit limits[QUOTA_NSLOTS];
} QuotaPlan;

/* Has all backends look anew at the plans, and at the subscriptions that accounts have. */
extern void quota_changed(void);

/* Whether there is any plan: without, nothing is counted. */
extern bool quota_active(void);

/* Defines the room's settings; called once, from _PG_init. */
extern void quota_init(void);

/* ---- engine.c: the interface to the counters; another engine may replace it ---- */
typedef struct QuotaHold QuotaHold;

/*
 * Locks the account's subscription to the end of the transaction; NULL: it has
 * no plan, and nothing is counted.  A subscription that is met for the first
 * time is put on the default plan.  The hold lives in the current context.  All
 * functions here need an SPI connection.
 *
 * The account may be given another subscription while quota_begin waits.  Who
 * locks the account's row afterwards compares; quota_begin_confirmed does so
 * without that lock.  Error of both: 40001.
 */
extern QuotaHold *quota_begin(const char *account_id);
extern QuotaHold *quota_begin_confirmed(const char *account_id);

/*
 * quota_begin for who knows already what he will most likely use: lock, read
 * and write are one statement then, unless there is more to do.  The amounts
 * are messages, tokens and content_bytes.  He consumes as ever, these amounts
 * or others, or nothing, and saves in any case.
 */
extern QuotaHold *quota_begin_expecting(const char *account_id, const QuotaAmounts *amounts);

/*
 * The same by the subscription's name.  Who needs several takes them in order
 * of subscription_id (byte order).
 */
extern QuotaHold *quota_begin_on(const char *subscription_id, const char *account_id);

/* The same lock, without reading what it covers; false: it has no plan. */
extern bool quota_lock(const char *subscription_id);

/* Whether the subscription has a row that others see, too. */
extern bool quota_exists(const char *subscription_id);

/*
 * Takes a locked subscription back that the default plan has made for an
 * account that turns out not to exist.
 */
extern void quota_drop_unused(const char *subscription_id);

/* Raises 40001: the account's subscription is not what it was. */
pg_noreturn extern void quota_moved(const char *account_id);

/* Writes the hold's counters. */
extern void quota_save(QuotaHold *hold);

/*
 * Makes a subscription's row and counts what stands in its accounts; false: it
 * exists.  plan_id NULL: the default plan, whatever it is.
 */
extern bool quota_create(const char *subscription_id, const char *plan_id, TimestampTz starts_at,
						 const char *time_zone);

/*
 * What stands in a subscription's accounts is known to the store only.
 *
 * claim: keeps everybody else from making the account of this name, to the end
 * of the transaction; true: it did not exist, and nobody shares the
 * subscription, so that nothing stands.
 *
 * count: what stands in the accounts, which it locks before: whoever writes
 * holds one of these locks.
 */
typedef bool (*QuotaClaim)(const char *subscription_id);
typedef QuotaAmounts (*QuotaCount)(const char *subscription_id);
extern void quota_set_standing(QuotaClaim claim, QuotaCount count);

/* Error 42704 when there is no such plan. */
extern void quota_check_plan(const char *plan_id);

/* Whether there is such an account. */
extern bool quota_account_exists(const char *account_id);

/* Takes what stands of the account outside the store along to another subscription. */
extern void quota_move_outside(QuotaHold *from, QuotaHold *to, const char *account_id);

/*
 * Counts the hold anew, where standing is what its accounts have in the store:
 * this, what stands outside of it, and what is reserved.  True: something was
 * wrong; quota_save writes it.
 */
extern bool quota_recount(QuotaHold *hold, const QuotaAmounts *standing);

/* Takes the account's held reservations along to another subscription. */
extern void
quota_move_reservations(QuotaHold *from, QuotaHold *to, const char *account_id, const char *to_id);

/*
 * Erases the account's reservations, and a subscription of its own that no
 * other account uses.  hold: its subscription's, NULL: it has none.
 */
extern void quota_forget_account(QuotaHold *hold, const char *account_id);

/* Removes reservations that have ended and expired before a time; how many. */
extern uint64 quota_purge(TimestampTz before);

/* An account's subscription_id, palloc'd. */
extern char *quota_subscription_of(const char *account_id, bool read_only);

/* ---- admit.c, consume.c ---- */

/*
 * Consumes the amounts in the hold, for one of the subscription's accounts;
 * quota_save writes it.  Error: MX001 when a hard limit would be exceeded,
 * naming the account.
 */
extern void quota_consume(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts);

/* Consumes what was held for it: no limit refuses what has been promised. */
extern void quota_consume_held(QuotaHold *hold, const QuotaAmounts *amounts);

struct QuotaHold
{
	char *subscription_id;
	char *account_id;
	char *plan_id;  /* as its row says; NULL: the default plan */
	QuotaPlan plan; /* in force, its plan_id NULL: none */
	TimestampTz starts_at;
	char *time_zone;
	char *next_plan_id; /* NULL: none */
	TimestampTz next_plan_at;
	TimestampTz period_start[QUOTA_NBOUNDS];
	TimestampTz period_end[QUOTA_NBOUNDS];
	int64 used[QUOTA_NSLOTS];
	int64 reserved[QUOTA_NMETERS];  /* in any period */
	int64 outside[QUOTA_NSTANDING]; /* of what stands: conversations, content_bytes */
	TimestampTz now;
	bool changed; /* since it was read or saved */

	/* the row has been charged with what is expected: if that comes true, nothing is to be saved */
	bool ahead;
	int64 row_used[QUOTA_NSLOTS];

	/* months that have ended since the row was written: the events' data, told when it is saved */
	List *closed;
};

#endif /* QUOTA_H */
