/*
 * quota_statements.c
 *		The SQL statements of the quota room, prepared once a backend.
 *
 * Operators are named with their schema; see plan_cache.c for how they are run.
 *
 * What is cached beyond the transaction is read with the latest snapshot: a
 * transaction may see an older state, which it must not leave to the next.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "quota_statements.h"
#include "statement.h"

#define EQ " OPERATOR(pg_catalog.=) "

#define NO_PLAN_OF_LIMIT "NOT EXISTS (SELECT FROM memory.plans p WHERE p.plan_id" EQ "l.plan_id)"
#define THIS_RESERVATION "account_id" EQ "$1 AND reservation_id" EQ "$2"
#define EXPIRED                                                                                    \
	"subscription_id" EQ "$1 AND state" EQ "'held' AND expires_at OPERATOR(pg_catalog.<=) $2"

#define PLUS " OPERATOR(pg_catalog.+) "
#define GT " OPERATOR(pg_catalog.>) "

#define COLUMNS                                                                                    \
	"subscription_id, plan_id, starts_at, time_zone, next_plan_id, next_plan_at, hour_start,"      \
	" hour_end, day_start, day_end, month_start, month_end, messages_hour, messages_day,"          \
	" messages_month, messages_lifetime, tokens_hour, tokens_day, tokens_month, tokens_lifetime,"  \
	" conversations, content_bytes, reserved_conversations, reserved_messages, reserved_tokens,"   \
	" reserved_content_bytes, outside_conversations, outside_content_bytes"

#define SUBSCRIPTION "SELECT " COLUMNS " FROM memory_store.subscriptions WHERE subscription_id" EQ

/* An account's subscription: its own unless it was given another. */
#define OF_ACCOUNT                                                                                 \
	"COALESCE((SELECT a.subscription_id FROM memory_store.accounts a WHERE a.account_id" EQ        \
	"$1), $1)"

static PlanStatement statements[QUOTA_NSTATEMENTS] = {
	/* what subscriptions have is counted on where all plans are deleted: they may come back */
	[QUOTA_STATE] = {"SELECT EXISTS (SELECT FROM memory.plans)"
					 " OR EXISTS (SELECT FROM memory_store.subscriptions),"
					 " (SELECT plan_id FROM memory.plans WHERE is_default),"
					 " EXISTS (SELECT FROM memory_store.accounts"
					 " WHERE subscription_id OPERATOR(pg_catalog.<>) account_id)",
					 0,
					 {0},
					 .latest = true},
	[QUOTA_SUBSCRIPTION_OF] = {"SELECT subscription_id FROM memory_store.accounts"
							   " WHERE account_id" EQ "$1",
							   1,
							   {TEXTOID}},
	[QUOTA_PLAN_LIMITS] = {"SELECT meter, period, limit_value, enforcement, thresholds"
						   " FROM memory.plan_limits WHERE plan_id" EQ
						   "$1 AND limit_value IS NOT NULL ORDER BY meter, period",
						   1,
						   {TEXTOID},
						   .latest = true},
	/* who puts a subscription on a plan keeps it from being deleted meanwhile */
	[QUOTA_PLAN_EXISTS] = {"SELECT price FROM memory.plans WHERE plan_id" EQ "$1 FOR KEY SHARE",
						   1,
						   {TEXTOID}},
	/* no cheaper than the present one: going up is at once, going down is not */
	[QUOTA_PLANS_BY_PRICE] =
		{"SELECT plan_id FROM memory.plans WHERE offered AND ($1 IS NULL OR price"
		 " OPERATOR(pg_catalog.>=) COALESCE((SELECT p.price FROM memory.plans p WHERE p.plan_id" EQ
		 "$1), 0)) ORDER BY price, plan_id",
		 1,
		 {TEXTOID},
		 .latest = true},
	[QUOTA_PLAN_MISSING] =
		{"SELECT u.plan_id, u.subscription_id FROM ("
		 "SELECT plan_id, subscription_id FROM memory_store.subscriptions"
		 " UNION ALL SELECT next_plan_id, subscription_id FROM memory_store.subscriptions) u"
		 " WHERE u.plan_id IS NOT NULL AND NOT EXISTS"
		 " (SELECT FROM memory.plans p WHERE p.plan_id" EQ "u.plan_id) ORDER BY 2, 1 LIMIT 1",
		 0,
		 {0}},
	/* while there is no plan at all, a restore may be under way */
	[QUOTA_LIMIT_MISSING] = {"SELECT plan_id FROM memory.plan_limits l WHERE " NO_PLAN_OF_LIMIT
							 " AND EXISTS (SELECT FROM memory.plans) ORDER BY 1 LIMIT 1",
							 0,
							 {0}},
	[QUOTA_LIMITS_CLEAN] = {"DELETE FROM memory.plan_limits l WHERE " NO_PLAN_OF_LIMIT, 0, {0}},
	[QUOTA_SUBSCRIPTION_READ] = {SUBSCRIPTION "$1", 1, {TEXTOID}},
	[QUOTA_ACCOUNT_READ] = {SUBSCRIPTION OF_ACCOUNT, 1, {TEXTOID}},
	[QUOTA_ACCOUNT_LOCK] = {SUBSCRIPTION OF_ACCOUNT " FOR NO KEY UPDATE", 1, {TEXTOID}},
	[QUOTA_SUBSCRIPTION_LOCK] = {SUBSCRIPTION "$1 FOR NO KEY UPDATE", 1, {TEXTOID}},
	/* where nothing else is to be done: no period has ended, no plan is to change */
	[QUOTA_SUBSCRIPTION_CHARGE] =
		{"UPDATE memory_store.subscriptions SET messages_hour = messages_hour" PLUS
		 "$3, messages_day = messages_day" PLUS "$3, messages_month = messages_month" PLUS
		 "$3, messages_lifetime = messages_lifetime" PLUS "$3, tokens_hour = tokens_hour" PLUS
		 "$4, tokens_day = tokens_day" PLUS "$4, tokens_month = tokens_month" PLUS
		 "$4, tokens_lifetime = tokens_lifetime" PLUS "$4, content_bytes = content_bytes" PLUS
		 "$5 WHERE subscription_id" EQ "$1 AND hour_end" GT "$2 AND day_end" GT
		 "$2 AND month_end" GT "$2 AND (next_plan_at IS NULL OR next_plan_at" GT
		 "$2) RETURNING " COLUMNS,
		 5,
		 {TEXTOID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID}},
	/* where there is one, ON CONFLICT would wait for whoever charges it, with accounts locked */
	[QUOTA_SUBSCRIPTION_CREATE] =
		{"INSERT INTO memory_store.subscriptions (subscription_id, plan_id, starts_at, time_zone,"
		 " hour_start, hour_end, day_start, day_end, month_start, month_end)"
		 " SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 WHERE NOT EXISTS ("
		 "SELECT FROM memory_store.subscriptions WHERE subscription_id" EQ "$1)"
		 " ON CONFLICT (subscription_id) DO NOTHING",
		 10,
		 {TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		  TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID}},
	[QUOTA_SUBSCRIPTION_SAVE] =
		{"UPDATE memory_store.subscriptions SET plan_id = $2, next_plan_id = $3,"
		 " next_plan_at = $4, hour_start = $5, hour_end = $6, day_start = $7, day_end = $8,"
		 " month_start = $9, month_end = $10, messages_hour = $11, messages_day = $12,"
		 " messages_month = $13, messages_lifetime = $14, tokens_hour = $15, tokens_day = $16,"
		 " tokens_month = $17, tokens_lifetime = $18, conversations = $19, content_bytes = $20,"
		 " reserved_conversations = $21, reserved_messages = $22, reserved_tokens = $23,"
		 " reserved_content_bytes = $24, outside_conversations = $25, outside_content_bytes = $26"
		 " WHERE subscription_id" EQ "$1",
		 26,
		 {TEXTOID,        TEXTOID,        TEXTOID,        TIMESTAMPTZOID, TIMESTAMPTZOID,
		  TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		  INT8OID,        INT8OID,        INT8OID,        INT8OID,        INT8OID,
		  INT8OID,        INT8OID,        INT8OID,        INT8OID,        INT8OID,
		  INT8OID,        INT8OID,        INT8OID,        INT8OID,        INT8OID,
		  INT8OID}},
	/* which ones come first does not matter; in order of the locks they are taken in */
	[QUOTA_PERIODS_ENDED] = {"SELECT e.subscription_id FROM ("
							 "SELECT subscription_id FROM memory_store.subscriptions"
							 " WHERE month_end OPERATOR(pg_catalog.<=) $1"
							 " ORDER BY month_end LIMIT $2) e ORDER BY e.subscription_id",
							 2,
							 {TIMESTAMPTZOID, INT8OID},
							 .ordered = true},
	[QUOTA_HISTORY_CLEAR] = {"DELETE FROM memory_store.subscription_plans WHERE subscription_id" EQ
							 "$1 AND valid_from OPERATOR(pg_catalog.>=) $2",
							 2,
							 {TEXTOID, TIMESTAMPTZOID}},
	[QUOTA_HISTORY_NOTE] = {"INSERT INTO memory_store.subscription_plans"
							" (subscription_id, valid_from, plan_id) VALUES ($1, $2, $3)",
							3,
							{TEXTOID, TIMESTAMPTZOID, TEXTOID}},
	[QUOTA_FORGET_HISTORY] =
		{"DELETE FROM memory_store.subscription_plans p WHERE p.subscription_id" EQ
		 "$1 AND NOT EXISTS (SELECT FROM memory_store.subscriptions s WHERE s.subscription_id" EQ
		 "$1)",
		 1,
		 {TEXTOID}},
	[QUOTA_RESERVATION_EXPIRE] = {"UPDATE memory_store.reservations SET state = 'expired'"
								  " WHERE " EXPIRED " RETURNING meter, amount",
								  2,
								  {TEXTOID, TIMESTAMPTZOID}},
	[QUOTA_RESERVATION_EXPIRED] = {"SELECT meter, amount FROM memory_store.reservations"
								   " WHERE " EXPIRED,
								   2,
								   {TEXTOID, TIMESTAMPTZOID}},
	[QUOTA_RESERVATION_READ] =
		{"SELECT meter, amount, expires_at, state, settled FROM memory_store.reservations"
		 " WHERE " THIS_RESERVATION,
		 2,
		 {TEXTOID, TEXTOID}},
	[QUOTA_RESERVATION_INSERT] =
		{"INSERT INTO memory_store.reservations (subscription_id, reservation_id, account_id,"
		 " meter, amount, expires_at, state) VALUES ($1, $2, $3, $4, $5, $6, 'held')",
		 6,
		 {TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID}},
	[QUOTA_RESERVATION_END] = {"UPDATE memory_store.reservations SET state = $3, settled = $4"
							   " WHERE " THIS_RESERVATION,
							   4,
							   {TEXTOID, TEXTOID, TEXTOID, INT8OID}},
	[QUOTA_RESERVATION_PURGE] =
		{"DELETE FROM memory_store.reservations WHERE state OPERATOR(pg_catalog.<>) 'held'"
		 " AND expires_at OPERATOR(pg_catalog.<) $1",
		 1,
		 {TIMESTAMPTZOID}},
	[QUOTA_RESERVATION_MOVE] = {"UPDATE memory_store.reservations SET subscription_id = $2"
								" WHERE account_id" EQ "$1 AND state" EQ
								"'held' RETURNING meter, amount",
								2,
								{TEXTOID, TEXTOID}},
	[QUOTA_FORGET_RESERVATIONS] = {"DELETE FROM memory_store.reservations WHERE account_id" EQ
								   "$1 RETURNING meter, amount, state",
								   1,
								   {TEXTOID}},
	[QUOTA_FORGET_SUBSCRIPTION] =
		{"DELETE FROM memory_store.subscriptions s WHERE s.subscription_id" EQ
		 "$1 AND NOT EXISTS (SELECT FROM memory_store.accounts a WHERE a.subscription_id" EQ
		 "$1 AND a.subscription_id OPERATOR(pg_catalog.<>) a.account_id)",
		 1,
		 {TEXTOID}},
	[QUOTA_OUTSIDE_READ] = {"SELECT conversations, content_bytes FROM memory_store.outside_usage"
							" WHERE account_id" EQ "$1",
							1,
							{TEXTOID}},
	[QUOTA_OUTSIDE_WRITE] =
		{"INSERT INTO memory_store.outside_usage (account_id, conversations, content_bytes)"
		 " VALUES ($1, $2, $3) ON CONFLICT (account_id) DO UPDATE"
		 " SET conversations = excluded.conversations, content_bytes = excluded.content_bytes",
		 3,
		 {TEXTOID, INT8OID, INT8OID}},
	/* of the accounts that share the subscription, and of the one of its name */
	[QUOTA_OUTSIDE_SUM] =
		{"SELECT COALESCE(pg_catalog.sum(o.conversations), 0)::pg_catalog.int8,"
		 " COALESCE(pg_catalog.sum(o.content_bytes), 0)::pg_catalog.int8 FROM ("
		 "SELECT a.account_id FROM memory_store.accounts a WHERE a.subscription_id" EQ
		 "$1 AND a.subscription_id OPERATOR(pg_catalog.<>) a.account_id"
		 " UNION ALL SELECT $1 WHERE " OF_ACCOUNT EQ "$1) u"
		 " JOIN memory_store.outside_usage o ON o.account_id" EQ "u.account_id",
		 1,
		 {TEXTOID}},
	[QUOTA_OUTSIDE_FORGET] = {"DELETE FROM memory_store.outside_usage WHERE account_id" EQ
							  "$1 RETURNING conversations, content_bytes",
							  1,
							  {TEXTOID}},
	[QUOTA_RESERVED_SUM] = {"SELECT meter, pg_catalog.sum(amount)::pg_catalog.int8"
							" FROM memory_store.reservations WHERE subscription_id" EQ
							"$1 AND state" EQ "'held' GROUP BY meter",
							1,
							{TEXTOID}},
	/* only what a write made by itself, and has not used */
	[QUOTA_DROP_UNUSED] =
		{"DELETE FROM memory_store.subscriptions s WHERE s.subscription_id" EQ
		 "$1 AND s.plan_id IS NULL AND s.next_plan_id IS NULL"
		 " AND 0" EQ "ALL (ARRAY[s.messages_lifetime, s.tokens_lifetime, s.conversations,"
		 " s.content_bytes, s.reserved_conversations, s.reserved_messages, s.reserved_tokens,"
		 " s.reserved_content_bytes])"
		 " AND NOT EXISTS (SELECT FROM memory_store.accounts a WHERE a.account_id" EQ
		 "$1) AND NOT EXISTS (SELECT FROM memory_store.accounts a WHERE a.subscription_id" EQ
		 "$1 AND a.subscription_id OPERATOR(pg_catalog.<>) a.account_id)",
		 1,
		 {TEXTOID}},
};

uint64
quota_execute(QuotaStatement id, Datum *values, const char *nulls, bool read_only)
{
	return plan_execute(&statements[id], values, nulls, read_only);
}

char *
quota_string(uint64 row, int column)
{
	bool isnull;
	Datum value = plan_column(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}
