/*
 * quota.h
 *		Plans, limits, and what subscriptions have used.
 *
 * The room knows numbers, not conversations.  Who writes calls quota_begin
 * before it locks an account (subscription → account → conversation), and
 * quota_charge once it knows the amounts; both in one transaction.
 *
 * Files, each calling only those below it: functions.c, trigger.c → engine.c →
 * plan.c, period.c.
 */
#ifndef QUOTA_H
#define QUOTA_H

#include "postgres.h"

#include "utils/timestamp.h"

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

/* A slot of a subscription's counters: a meter in a period. */
#define QUOTA_NSLOTS 10

/* Amounts by meter; negative ones lower what stands and never what flows. */
typedef struct QuotaAmounts
{
	int64 by_meter[QUOTA_NMETERS];
} QuotaAmounts;

/* ---- period.c ---- */

/*
 * The period of the kind (hour, day, month) that holds the moment: anchor + k
 * units of local time in the zone, half-open.
 */
extern void quota_period_bounds(QuotaPeriod period, TimestampTz anchor, const char *time_zone,
								TimestampTz moment, TimestampTz *start, TimestampTz *end);

/* ---- plan.c ---- */
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

/* The plan's limits, in the current context; NULL: there is no such plan. */
extern QuotaPlan *quota_read_plan(const char *plan_id);

/* Whether any subscription or default plan exists: without, nothing is counted. */
extern bool quota_active(void);
extern void quota_changed(void);
extern void quota_init(void);

/* ---- engine.c: the interface to the counters; another engine may replace it ---- */
typedef struct QuotaHold QuotaHold;

/*
 * Locks a subscription, for an account's statement, to the end of the
 * transaction; NULL: it has no plan, and nothing is counted.  A subscription
 * that is met for the first time is put on the default plan.  The hold lives
 * in the current context.  All functions here need an SPI connection.
 */
extern QuotaHold *quota_begin(const char *subscription_id, const char *account_id);

/*
 * Takes the lock only, where the amounts come later.  Who needs several locks
 * takes them in order of subscription_id (byte order).
 */
extern void quota_lock(const char *subscription_id);

/* The counters as they are, without a lock; NULL likewise. */
extern QuotaHold *quota_peek(const char *subscription_id, const char *account_id);

/*
 * Consumes the amounts and writes the counters.  Error: MX001 when a hard limit
 * would be exceeded, naming the account.
 */
extern void quota_charge(QuotaHold *hold, const QuotaAmounts *amounts);

/* Makes a subscription's row; false: it exists.  plan_id NULL: the default plan. */
extern bool quota_create(const char *subscription_id, const char *plan_id, TimestampTz starts_at,
						 const char *time_zone);

/* Error 42704 when there is no such plan. */
extern void quota_check_plan(const char *plan_id);

/* When a limit's period ends; DT_NOEND: never. */
extern TimestampTz quota_limit_end(const QuotaHold *hold, const QuotaLimit *limit);

/* Changes what is held of a meter, in all its periods. */
extern void quota_change_reserved(QuotaHold *hold, QuotaMeter meter, int64 amount);

/* Raises MX001 unless the amounts fit; consumes nothing. */
extern void quota_require(QuotaHold *hold, const QuotaAmounts *amounts);

/*
 * Erases the account's reservations, and a subscription of its own that no
 * other account uses.
 */
extern void quota_forget_account(const char *account_id);

/* An account's subscription_id, palloc'd. */
extern char *quota_subscription_of(const char *account_id);

/* Writes the hold's counters; quota_charge does so itself. */
extern void quota_save(QuotaHold *hold);

/* Has expired holds of calls given back, so that they refuse nobody. */
extern void quota_reap(QuotaHold *hold);

/* What a limit leaves; PG_INT64_MAX: no limit. */
extern int64 quota_remaining(const QuotaHold *hold, const QuotaLimit *limit);

/* The limit that leaves least of a meter, NULL if the plan has none. */
extern const QuotaLimit *quota_tightest(const QuotaHold *hold, QuotaMeter meter);

/* The cheapest offered plan under which the amounts would fit; NULL: none. */
extern char *quota_upgrade_for(const QuotaHold *hold, const QuotaAmounts *amounts);

struct QuotaHold
{
	char *subscription_id;
	char *account_id;
	char *plan_id;	 /* in force */
	QuotaPlan *plan; /* its limits */
	TimestampTz starts_at;
	char *time_zone;
	char *next_plan_id; /* NULL: none */
	TimestampTz next_plan_at;
	TimestampTz period_start[QUOTA_NBOUNDS];
	TimestampTz period_end[QUOTA_NBOUNDS];
	int64 used[QUOTA_NSLOTS];
	int64 reserved[QUOTA_NSLOTS];
	TimestampTz now;
};

#endif /* QUOTA_H */
