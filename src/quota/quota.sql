-- Quotas: asking, enforcing, reserving, changing plans; the trigger for
-- anybody's tables; the view.

CREATE TYPE memory.quota_status AS (
	allowed boolean,
	used bigint,
	reserved bigint,
	limit_value bigint,
	remaining bigint,
	period text,
	period_start timestamptz,
	period_end timestamptz,
	enforcement text,
	reason text
);
COMMENT ON TYPE memory.quota_status IS
	'the state of a meter, according to the limit that leaves least; nulls: no limit';

CREATE FUNCTION memory_store.plans_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_plans_changed' LANGUAGE C;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON memory.plans
	FOR EACH STATEMENT EXECUTE FUNCTION memory_store.plans_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON memory.plan_limits
	FOR EACH STATEMENT EXECUTE FUNCTION memory_store.plans_changed();

CREATE FUNCTION memory.check_quota(account_id text, meter text, amount bigint DEFAULT 1)
	RETURNS memory.quota_status
	AS 'MODULE_PATHNAME', 'memory_check_quota' LANGUAGE C STABLE SECURITY DEFINER;
COMMENT ON FUNCTION memory.check_quota(text, text, bigint) IS
	'whether an amount would be allowed now; takes no lock, so another session may use it up first';

CREATE FUNCTION memory.enforce_limit(account_id text, meter text, amount bigint DEFAULT 1)
	RETURNS memory.quota_status
	AS 'MODULE_PATHNAME', 'memory_enforce_limit' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.enforce_limit(text, text, bigint) IS
	'consumes an amount or raises MX001; the store''s own writes do this automatically';

CREATE FUNCTION memory.upgrade_required(account_id text) RETURNS text
	AS 'MODULE_PATHNAME', 'memory_upgrade_required' LANGUAGE C STABLE SECURITY DEFINER;
COMMENT ON FUNCTION memory.upgrade_required(text) IS
	'the cheapest offered plan that allows what the account uses and one more of each meter; '
	'null: the present plan does, or no plan does';

CREATE FUNCTION memory.change_plan(subscription_id text, plan_id text, timing text DEFAULT 'auto')
	RETURNS timestamptz
	AS 'MODULE_PATHNAME', 'memory_change_plan' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.change_plan(text, text, text) IS
	'changes the plan of a subscription; timing auto: an upgrade takes effect now, a downgrade at '
	'the end of the month''s period; returns when it takes effect';

CREATE FUNCTION memory_store.close_periods(max_subscriptions integer DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_close_periods' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.close_periods(integer) IS
	'starts the next month of subscriptions whose month has ended, each with an event '
	'period.closed, and returns how many; a batch of maintain()';

CREATE FUNCTION memory_store.close_periods_step(INOUT place text, batch_size integer,
	OUT done bigint, OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN b >= batch_size THEN '' END, b, NULL
		FROM memory_store.close_periods(batch_size) b
$$;
COMMENT ON FUNCTION memory_store.close_periods_step(text, integer) IS
	'a step of maintain(): months that have ended';
INSERT INTO memory_store.maintenance_phases (phase, position, step, message)
	VALUES ('close periods', 400, 'close_periods_step', NULL);

CREATE FUNCTION memory.reserve_usage(account_id text, reservation_id text, amount bigint,
	meter text DEFAULT 'tokens', keep_for interval DEFAULT '15 minutes') RETURNS memory.quota_status
	AS 'MODULE_PATHNAME', 'memory_reserve_usage' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.reserve_usage(text, text, bigint, text, interval) IS
	'reserves the most that a call may use, or raises MX001; the same id again changes nothing';

CREATE FUNCTION memory.settle_usage(account_id text, reservation_id text, actual bigint)
	RETURNS void
	AS 'MODULE_PATHNAME', 'memory_settle_usage' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.settle_usage(text, text, bigint) IS
	'ends a reservation and counts what was used, at most what was reserved';

CREATE FUNCTION memory.release_usage(account_id text, reservation_id text) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_release_usage' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.release_usage(text, text) IS 'ends a reservation without use';

CREATE FUNCTION memory.quota_trigger() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_quota_trigger' LANGUAGE C;
COMMENT ON FUNCTION memory.quota_trigger() IS
	'statement trigger (meter, account column [, amount column]) that charges what a statement '
	'on any table adds or removes';

CREATE FUNCTION memory.period_bounds(period text, anchor timestamptz, time_zone text,
	moment timestamptz, OUT period_start timestamptz, OUT period_end timestamptz) RETURNS record
	AS 'MODULE_PATHNAME', 'memory_period_bounds' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.period_bounds(text, timestamptz, text, timestamptz) IS
	'the hour, day or month that contains a moment, counted from an anchor in a time zone; the '
	'end is excluded';

INSERT INTO memory_store.grants VALUES
	('USAGE ON TYPE memory.quota_status', 'reader'),
	('USAGE ON TYPE memory.quota_status', 'monitor'),
	('EXECUTE ON FUNCTION memory.check_quota(text, text, bigint)', 'monitor'),
	('EXECUTE ON FUNCTION memory.upgrade_required(text)', 'monitor'),
	('EXECUTE ON FUNCTION memory.check_quota(text, text, bigint)', 'reader'),
	('EXECUTE ON FUNCTION memory.upgrade_required(text)', 'reader'),
	('EXECUTE ON FUNCTION memory.period_bounds(text, timestamptz, text, timestamptz)', 'reader'),
	('EXECUTE ON FUNCTION memory.enforce_limit(text, text, bigint)', 'writer'),
	('EXECUTE ON FUNCTION memory.reserve_usage(text, text, bigint, text, interval)', 'writer'),
	('EXECUTE ON FUNCTION memory.settle_usage(text, text, bigint)', 'writer'),
	('EXECUTE ON FUNCTION memory.release_usage(text, text)', 'writer'),
	('EXECUTE ON FUNCTION memory.quota_trigger()', 'operator'),
	('EXECUTE ON FUNCTION memory.change_plan(text, text, text)', 'operator');
