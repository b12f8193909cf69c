/*
 * quota.h
 *		Plans, limits, and what subscriptions have used.
 *
 * The room knows numbers, not conversations.  Who writes calls quota_begin
 * before it locks an account (subscription → account → conversation), and
 * quota_charge once it knows the amounts; both in one transaction.
 *
 * Files: quota_functions.c and trigger.c are what SQL calls; engine.c has the rows and
 * their locks, limits.c what plans allow, events.c what is told of it; all of
 * them use plan_cache.c and period.c.
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

/* ---- period.c ---- */

/*
 * The period of the kind (hour, day, month) that holds the moment: anchor + k
 * units of local time in the zone, half-open.  Error: 22008 out of range.
 */
extern void quota_period_bounds(QuotaPeriod period, TimestampTz anchor, const char *time_zone,
								TimestampTz moment, TimestampTz *start, TimestampTz *end);

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

extern const char *quota_meter_name(QuotaMeter meter);
extern const char *quota_period_name(QuotaPeriod period);
extern QuotaMeter quota_meter_by_name(const char *name);
extern int quota_slot(QuotaMeter meter, QuotaPeriod period);

/* The plan's limits; none, when there is no such plan. */
extern void quota_read_plan(const char *plan_id, QuotaPlan *plan);

/* Whether there is any plan: without, nothing is counted. */
extern bool quota_active(void);

/*
 * The subscription that an account had when it was last seen, NULL: not known;
 * valid until the next call.  An account may be given another at any time.
 */
extern const char *quota_subscription_hint(const char *account_id);
extern void quota_remember_subscription(const char *account_id, const char *subscription_id);
extern void quota_changed(void);
extern void quota_forget_plans(void);

/* The plan of subscriptions that were given none, palloc'd; NULL: none. */
extern char *quota_default_plan(void);
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
 * locks the account's row afterwards compares; quota_begin_settled does so
 * without that lock.  Error of both: 40001.
 */
extern QuotaHold *quota_begin(const char *account_id);
extern QuotaHold *quota_begin_settled(const char *account_id);

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
extern QuotaHold *quota_begin_on_expecting(const char *subscription_id, const char *account_id,
										   const QuotaAmounts *amounts);

/* The same lock, without reading what it covers; false: it has no plan. */
extern bool quota_lock(const char *subscription_id);

/* Whether the subscription has a row that others see, too. */
extern bool quota_exists(const char *subscription_id);

/* Whether there is such an account. */
extern bool quota_account_exists(const char *account_id);

/*
 * Takes a locked subscription back that the default plan has made for an
 * account that turns out not to exist.
 */
extern void quota_drop_unused(const char *subscription_id);

/* Raises 40001: the account's subscription is not what it was. */
pg_noreturn extern void quota_moved(const char *account_id);

/*
 * Has so many of the subscriptions whose month has ended begin the next one, in
 * key order; returns how many.
 */
extern uint64 quota_close_periods(int64 limit);

/* The counters as they are, without a lock; NULL likewise. */
extern QuotaHold *quota_peek(const char *account_id);

/* Writes the hold's counters. */
extern void quota_save(QuotaHold *hold);

/* quota_consume for the hold's own account, and quota_save. */
extern void quota_charge(QuotaHold *hold, const QuotaAmounts *amounts);

/*
 * Makes a subscription's row and counts what stands in its accounts; false: it
 * exists.  plan_id NULL: the default plan, whatever it is.
 */
extern bool quota_create(const char *subscription_id, const char *plan_id, TimestampTz starts_at,
						 const char *time_zone);

/*
 * What stands in a subscription's accounts is known to the store only.  It
 * locks them before it counts: whoever writes holds one of these locks.
 */
typedef QuotaAmounts (*QuotaStanding)(const char *subscription_id);
extern void quota_set_standing(QuotaStanding standing);

/* Notes from when on the subscription has the plan; a later change that was noted is not to be. */
extern void quota_note_plan(const char *subscription_id, const char *plan_id, TimestampTz from);

/* Error 42704 when there is no such plan. */
extern void quota_check_plan(const char *plan_id);

/* Changes what is held of a meter, in all its periods. */
extern void quota_change_reserved(QuotaHold *hold, QuotaMeter meter, int64 amount);

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

/* Has expired holds of calls given back, so that they refuse nobody. */
extern void quota_reap(QuotaHold *hold);

/* ---- limits.c ---- */

/*
 * Consumes the amounts in the hold, for one of the subscription's accounts;
 * quota_save writes it.  Error: MX001 when a hard limit would be exceeded,
 * naming the account.
 */
extern void quota_consume(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts);

/* Consumes what was held for it: no limit refuses what has been promised. */
extern void quota_consume_held(QuotaHold *hold, const QuotaAmounts *amounts);

/* Raises MX001 unless the amounts fit; consumes nothing. */
extern void quota_require(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts);

/* What a limit leaves. */
extern int64 quota_remaining(const QuotaHold *hold, const QuotaLimit *limit);

/* The limit that leaves least of a meter, NULL if the plan has none. */
extern const QuotaLimit *quota_tightest(const QuotaHold *hold, QuotaMeter meter);

/* The first limit that the amounts would exceed, hard or of any kind; NULL: none. */
extern const QuotaLimit *quota_exceeded(const QuotaHold *hold, const QuotaPlan *plan,
										const QuotaAmounts *amounts, bool only_hard);

/*
 * The cheapest plan under which the amounts would fit, of those that are
 * offered and cost no less than the present one; NULL: none.
 */
extern char *quota_upgrade_for(const QuotaHold *hold, const QuotaAmounts *amounts);

/* ---- events.c ---- */

/* Raises MX001; the limit is the one that is exceeded. */
pg_noreturn extern void quota_refuse(const QuotaHold *hold, const char *account_id,
									 const QuotaLimit *limit, const QuotaAmounts *amounts);

/* Puts an event of a limit into the outbox; threshold 0: it is of none. */
extern void quota_tell_limit(const char *type, const QuotaHold *hold, const char *account_id,
							 const QuotaLimit *limit, int64 amount, double threshold);

/* The event of a change, from the plan that the hold was read with. */
extern void quota_tell_change(const QuotaHold *hold, const char *plan_id, TimestampTz from);

/* The data of the event that the hold's month has ended, palloc'd. */
extern char *quota_closed_json(const QuotaHold *hold);

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
