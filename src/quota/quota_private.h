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

/* What stands of the account outside the store, by quota_standing_meter. */
extern void quota_read_outside(const char *account_id, int64 *outside);

/* The same, which is no longer counted from now on. */
extern void quota_forget_outside(const char *account_id, int64 *outside);

/* The same of all of the subscription's accounts. */
extern void quota_sum_outside(const char *subscription_id, int64 *outside);

/* Consumes the amounts, whatever the limits say, and tells of the limits that they pass. */
extern void quota_count(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts);

/* ---- subscription_row.c ---- */

/* Which row of memory_store.subscriptions is looked for, by an id of which kind; and locked. */
typedef enum QuotaRow
{
	QUOTA_ROW,
	QUOTA_ROW_LOCKED,
	QUOTA_ROW_OF_ACCOUNT,
	QUOTA_ROW_OF_ACCOUNT_LOCKED
} QuotaRow;

/* Finds the row, for quota_read_row; false: there is none. */
extern bool quota_find_row(QuotaRow which, const char *id, bool read_only);

/* Fills in the hold with the row that was found last, as it is stored. */
extern void quota_read_row(QuotaHold *hold);

/* Makes a row without usage; plan_id NULL: the default plan.  False: there is one. */
extern bool quota_insert_row(const char *subscription_id, const char *plan_id,
							 TimestampTz starts_at, const char *time_zone);

/* Writes the hold's plan, periods and counters. */
extern void quota_update_row(const QuotaHold *hold);

/*
 * Adds messages, tokens and content_bytes to the row's counters and fills in the
 * hold with the result, which locks the row.  False: there is no row, a period or
 * the plan has ended by hold->now, or a counter would overflow; nothing is changed.
 */
extern bool
quota_charge_row(QuotaHold *hold, const char *subscription_id, const QuotaAmounts *amounts);

/* ---- reservation.c ---- */

typedef struct QuotaReservation
{
	QuotaMeter meter;
	int64 amount;
	char *state;   /* held, settled, released or expired; palloc'd */
	int64 settled; /* -1: it was not */
} QuotaReservation;

/* Changes what is reserved of a meter, in all its periods.  Error: 22003. */
extern void quota_change_reserved(QuotaHold *hold, QuotaMeter meter, int64 amount);

/* Has the subscription's expired reservations given back, so that they refuse nobody. */
extern void quota_reap(QuotaHold *hold);

/* Takes off what they hold in the hold only: without the row's lock they cannot be ended. */
extern void quota_pass_over_expired(QuotaHold *hold);

/* Counts what is reserved anew. */
extern void quota_sum_reserved(QuotaHold *hold);

/* Erases the account's reservations; hold: its subscription's, NULL: it has none. */
extern void quota_forget_reservations(QuotaHold *hold, const char *account_id);

/* The reservation with this id of the hold's account; false: there is none. */
extern bool
quota_find_reservation(const QuotaHold *hold, const char *id, QuotaReservation *reservation);

/* Writes a held one; the caller counts it. */
extern void quota_insert_reservation(const QuotaHold *hold, const char *id, QuotaMeter meter,
									 int64 amount, TimestampTz expires_at);

/* Writes that it has ended; settled: what was used, negative: nothing is known of that. */
extern void
quota_end_reservation(const QuotaHold *hold, const char *id, const char *state, int64 settled);

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

/* ---- admit.c ---- */

/* quota_consume for the hold's own account, and quota_save. */
extern void quota_charge(QuotaHold *hold, const QuotaAmounts *amounts);

/* Raises MX001 unless the amounts fit; consumes nothing. */
extern void quota_require(QuotaHold *hold, const char *account_id, const QuotaAmounts *amounts);

#endif /* QUOTA_PRIVATE_H */
