/*
 * quota_private.h
 *		What the files of the quota room share; see quota.h for what calls what.
 */
#ifndef QUOTA_PRIVATE_H
#define QUOTA_PRIVATE_H

#include "quota.h"

/* ---- period.c ---- */

/*
 * The period of the kind (hour, day, month) that holds the moment: anchor + k
 * units of local time in the zone, half-open.  Error: 22008 out of range.
 */
extern void quota_period_bounds(QuotaPeriod period, TimestampTz anchor, const char *time_zone,
								TimestampTz moment, TimestampTz *start, TimestampTz *end);

/* ---- plan_cache.c ---- */

/* The names of meters and periods, as SQL has them. */
extern const char *quota_meter_name(QuotaMeter meter);
extern const char *quota_period_name(QuotaPeriod period);

/* Error: 22023 no meter has the name. */
extern QuotaMeter quota_meter_by_name(const char *name);

/* The slot of a meter in a period; what stands has one, QUOTA_CURRENT. */
extern int quota_slot(QuotaMeter meter, QuotaPeriod period);

/* The meters of what stands, in the order of QuotaHold's outside. */
extern QuotaMeter quota_standing_meter(int i);

/* The plan's limits; none, when there is no such plan. */
extern void quota_read_plan(const char *plan_id, QuotaPlan *plan);

/* The plan of subscriptions that were given none, palloc'd; NULL: none. */
extern char *quota_default_plan(void);

/*
 * The subscription that an account had when it was last seen, NULL: not known;
 * valid until the next call.  An account may be given another at any time.
 */
extern const char *quota_subscription_hint(const char *account_id);
extern void quota_remember_subscription(const char *account_id, const char *subscription_id);

/* Has this backend read the plans anew. */
extern void quota_forget_plans(void);

/* ---- headroom.c ---- */

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

/* ---- consume.c ---- */

/* What stands outside the store as the row of the last statement says; without a row nothing. */
extern void quota_outside_columns(uint64 rows, int64 *outside);

/* What stands of the account outside the store, by quota_standing_meter. */
extern void quota_read_outside(const char *account_id, int64 *outside);

/* Consumes the amounts, whatever the limits say, and tells of the limits that they pass. */
extern void quota_count(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts);

/* ---- engine.c ---- */

/* quota_begin_expecting by the subscription's name. */
extern QuotaHold *quota_begin_on_expecting(const char *subscription_id, const char *account_id,
										   const QuotaAmounts *amounts);

/*
 * Has so many of the subscriptions whose month has ended begin the next one, in
 * key order; returns how many.
 */
extern uint64 quota_close_periods(int64 limit);

/* The counters as they are, without a lock; NULL likewise. */
extern QuotaHold *quota_peek(const char *account_id);

/* Notes from when on the subscription has the plan; a later change that was noted is not to be. */
extern void quota_note_plan(const char *subscription_id, const char *plan_id, TimestampTz from);

/* Changes what is held of a meter, in all its periods. */
extern void quota_change_reserved(QuotaHold *hold, QuotaMeter meter, int64 amount);

/* Has expired holds of calls given back, so that they refuse nobody. */
extern void quota_reap(QuotaHold *hold);

/* ---- admit.c ---- */

/* quota_consume for the hold's own account, and quota_save. */
extern void quota_charge(QuotaHold *hold, const QuotaAmounts *amounts);

/* Raises MX001 unless the amounts fit; consumes nothing. */
extern void quota_require(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts);

#endif /* QUOTA_PRIVATE_H */
