-- Plans and what they limit: edited by DBAs.  Subscriptions and what they have
-- used: kept by the extension.

CREATE TABLE memory.plans (
	plan_id text COLLATE "C" NOT NULL PRIMARY KEY CHECK (plan_id <> ''),
	title text NOT NULL DEFAULT '',
	price numeric NOT NULL DEFAULT 0 CHECK (price >= 0),
	offered boolean NOT NULL DEFAULT true,
	is_default boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX plans_default ON memory.plans (is_default) WHERE is_default;
COMMENT ON TABLE memory.plans IS
	'the plans that a subscription may have; without any plan nothing is limited';
COMMENT ON COLUMN memory.plans.price IS
	'determines which plan is cheaper: upgrade_required proposes the cheapest that fits';
COMMENT ON COLUMN memory.plans.offered IS 'false: never proposed as an upgrade';
COMMENT ON COLUMN memory.plans.is_default IS
	'the plan of every subscription that was not assigned one; true for at most one plan';

-- No foreign key: pg_restore loads tables in any order.  The statement triggers
-- check instead (src/quota/plan_cache.c).
CREATE TABLE memory.plan_limits (
	plan_id text COLLATE "C" NOT NULL,
	meter text NOT NULL CHECK (meter IN ('conversations', 'messages', 'tokens', 'content_bytes')),
	period text NOT NULL CHECK (period IN ('hour', 'day', 'month', 'lifetime', 'current')),
	limit_value bigint CHECK (limit_value >= 0),
	enforcement text NOT NULL DEFAULT 'hard' CHECK (enforcement IN ('hard', 'soft')),
	thresholds numeric[] NOT NULL DEFAULT '{0.8,1}',
	PRIMARY KEY (plan_id, meter, period),
	CHECK ((period = 'current') = (meter IN ('conversations', 'content_bytes')))
);
COMMENT ON TABLE memory.plan_limits IS
	'how much of a meter a plan allows in a period; levels (conversations, content_bytes) have '
	'the period current';
COMMENT ON COLUMN memory.plan_limits.limit_value IS 'null: no limit';
COMMENT ON COLUMN memory.plan_limits.enforcement IS
	'hard: refused with SQLSTATE MX001; soft: allowed, with an event';
COMMENT ON COLUMN memory.plan_limits.thresholds IS
	'fractions of the limit at which an event is written';

-- One row a subscription: its lock orders all who use the subscription, and all
-- its counters are changed by one update, which should stay HOT: the index is on
-- what changes once a month.  What stands is counted with what stands outside
-- the store (memory.enforce_limit and memory.quota_trigger), which is also kept
-- by itself.
CREATE TABLE memory_store.subscriptions (
	subscription_id text COLLATE "C" NOT NULL PRIMARY KEY,
	plan_id text COLLATE "C",
	starts_at timestamptz NOT NULL,
	time_zone text NOT NULL,
	next_plan_id text COLLATE "C",
	next_plan_at timestamptz,
	hour_start timestamptz NOT NULL,
	hour_end timestamptz NOT NULL,
	day_start timestamptz NOT NULL,
	day_end timestamptz NOT NULL,
	month_start timestamptz NOT NULL,
	month_end timestamptz NOT NULL,
	messages_hour bigint NOT NULL DEFAULT 0,
	messages_day bigint NOT NULL DEFAULT 0,
	messages_month bigint NOT NULL DEFAULT 0,
	messages_lifetime bigint NOT NULL DEFAULT 0,
	tokens_hour bigint NOT NULL DEFAULT 0,
	tokens_day bigint NOT NULL DEFAULT 0,
	tokens_month bigint NOT NULL DEFAULT 0,
	tokens_lifetime bigint NOT NULL DEFAULT 0,
	conversations bigint NOT NULL DEFAULT 0,
	content_bytes bigint NOT NULL DEFAULT 0,
	reserved_conversations bigint NOT NULL DEFAULT 0,
	reserved_messages bigint NOT NULL DEFAULT 0,
	reserved_tokens bigint NOT NULL DEFAULT 0,
	reserved_content_bytes bigint NOT NULL DEFAULT 0,
	outside_conversations bigint NOT NULL DEFAULT 0,
	outside_content_bytes bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE INDEX subscriptions_closing ON memory_store.subscriptions (month_end);
COMMENT ON TABLE memory_store.subscriptions IS
	'who pays: the plan, the anchor and time zone of the periods, and what is used and reserved';

CREATE TABLE memory_store.reservations (
	account_id text COLLATE "C" NOT NULL,
	reservation_id text COLLATE "C" NOT NULL,
	subscription_id text COLLATE "C" NOT NULL,
	meter text NOT NULL,
	amount bigint NOT NULL,
	expires_at timestamptz NOT NULL,
	state text NOT NULL,
	settled bigint,
	PRIMARY KEY (account_id, reservation_id)
);
CREATE INDEX reservations_expiry ON memory_store.reservations (subscription_id, expires_at)
	WHERE state = 'held';
CREATE INDEX reservations_ended ON memory_store.reservations (expires_at) WHERE state <> 'held';
COMMENT ON TABLE memory_store.reservations IS
	'reservations for calls of models: held, then settled, released or expired';

-- A refusal rolls back what it is in, and only a sequence's value stays.  memory.metrics shows it.
CREATE SEQUENCE memory_store.quota_refusals;
COMMENT ON SEQUENCE memory_store.quota_refusals IS
	'counts the requests that hard limits have refused; a crash may add up to 32';

-- So that it moves along with the account, is forgotten with it, and counted again.
CREATE TABLE memory_store.outside_usage (
	account_id text COLLATE "C" NOT NULL PRIMARY KEY,
	conversations bigint NOT NULL,
	content_bytes bigint NOT NULL
);
COMMENT ON TABLE memory_store.outside_usage IS
	'what stands of an account outside the store: charged by memory.enforce_limit, '
	'memory.quota_trigger and settled reservations';

-- An invoice of a month that has passed goes by the plan of that time.
CREATE TABLE memory_store.subscription_plans (
	subscription_id text COLLATE "C" NOT NULL,
	valid_from timestamptz NOT NULL,
	plan_id text COLLATE "C" NOT NULL,
	PRIMARY KEY (subscription_id, valid_from)
);
COMMENT ON TABLE memory_store.subscription_plans IS
	'which plan a subscription has had, and since when';

SELECT pg_catalog.pg_extension_config_dump('memory.plans', '');
SELECT pg_catalog.pg_extension_config_dump('memory.plan_limits', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.subscriptions', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.subscription_plans', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.reservations', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.outside_usage', '');

-- the planner's statistics shall not hold account ids (see the store's tables)
ALTER TABLE memory_store.subscriptions ALTER COLUMN subscription_id SET STATISTICS 0;
ALTER TABLE memory_store.subscription_plans ALTER COLUMN subscription_id SET STATISTICS 0;
ALTER TABLE memory_store.outside_usage ALTER COLUMN account_id SET STATISTICS 0;
ALTER TABLE memory_store.reservations ALTER COLUMN account_id SET STATISTICS 0,
	ALTER COLUMN reservation_id SET STATISTICS 0,
	ALTER COLUMN subscription_id SET STATISTICS 0;

INSERT INTO memory_store.grants VALUES
	('SELECT ON memory.plans', 'reader'),
	('SELECT ON memory.plan_limits', 'reader'),
	('SELECT ON memory.plans', 'monitor'),
	('SELECT ON memory.plan_limits', 'monitor'),
	('INSERT, UPDATE, DELETE ON memory.plans', 'operator'),
	('INSERT, UPDATE, DELETE ON memory.plan_limits', 'operator');
