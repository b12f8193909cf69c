-- What becomes of limits and months: events, the plans that a subscription had,
-- invoices by them, and what erasure leaves of it all.
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '-'
\pset format unaligned
CREATE SCHEMA quota_events_test;
SET search_path = quota_events_test, public;

-- The events since the last look, without what depends on the day.
CREATE FUNCTION events() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	e record;
BEGIN
	FOR e IN SELECT * FROM memory.outbox_read('test', 1000) LOOP
		RETURN NEXT concat_ws(' ', e.type, e.subscription_id, e.account_id,
			regexp_replace(e.data::text, '"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"', '"*"', 'g'));
		PERFORM memory.outbox_ack('test', e.position);
	END LOOP;
END $$;
CREATE FUNCTION raises(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
-- As if the day or month that a subscription is in were the one so long ago.
CREATE FUNCTION set_back(id text, period text, by interval) RETURNS void LANGUAGE sql AS $$
	UPDATE memory_store.subscriptions s SET day_start = CASE period WHEN 'day' THEN b.period_start ELSE s.day_start END,
		day_end = CASE period WHEN 'day' THEN b.period_end ELSE s.day_end END,
		month_start = CASE period WHEN 'month' THEN b.period_start ELSE s.month_start END,
		month_end = CASE period WHEN 'month' THEN b.period_end ELSE s.month_end END
	FROM memory_store.subscriptions t,
		memory.period_bounds(period, t.starts_at, t.time_zone, CASE period WHEN 'day' THEN t.day_start ELSE t.month_start END - by) b
	WHERE s.subscription_id = id AND t.subscription_id = id
$$;

--
-- Thresholds: once in a period, in the transaction that crosses them
--
INSERT INTO memory.plans (plan_id, price) VALUES ('p', 1), ('q', 2), ('r', 3);
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value, thresholds) VALUES
	('p', 'messages', 'day', 10, '{0.5,0.8,1}'), ('p', 'conversations', 'current', 2, '{1}');
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value, enforcement, thresholds) VALUES
	('p', 'tokens', 'month', 100, 'soft', '{0.07,0.57,NULL}');
SELECT memory.subscribe('ann', 'p');
SELECT * FROM events();
SELECT count(memory.append('ann', '00000000-0000-0000-0000-000000000001', 'user', 'x', tokens => 0)) FROM generate_series(1, 4);
SELECT * FROM events();
SELECT memory.append('ann', '00000000-0000-0000-0000-000000000001', 'user', 'x', tokens => 0);
SELECT * FROM events();
-- not again above it, and not for what is rolled back
SELECT memory.append('ann', '00000000-0000-0000-0000-000000000001', 'user', 'x', tokens => 0);
BEGIN;
SELECT (memory.enforce_limit('ann', 'messages', 3)).remaining;
ROLLBACK;
SELECT * FROM events();
-- one step may cross several; by a view, as well; who crosses them is named
SELECT memory.set_subscription('ben', 'ann');
INSERT INTO memory.messages (account_id, conversation_id, role, content, tokens)
SELECT 'ben', '00000000-0000-0000-0000-000000000002', 'user', 'x', 0 FROM generate_series(1, 4);
SELECT * FROM events();
-- a refusal changes nothing, so it leaves no event either
SELECT raises($$SELECT memory.enforce_limit('ben', 'messages')$$);
SELECT * FROM events();
-- in the next period they are armed again
SELECT set_back('ann', 'day', '1 day');
SELECT (memory.enforce_limit('ben', 'messages', 4)).remaining;
SELECT * FROM events();
SELECT (memory.enforce_limit('ben', 'messages', 1)).remaining;
SELECT * FROM events();
-- what stands arms them again when it goes down
DELETE FROM memory.conversations WHERE account_id = 'ben';
SELECT * FROM events();
SELECT memory.create_conversation('ben', '00000000-0000-0000-0000-000000000003');
SELECT * FROM events();
-- 7 of 100 are 0.07, and 57 are 0.57
SELECT (memory.enforce_limit('ann', 'tokens', 6)).used;
SELECT * FROM events();
SELECT (memory.enforce_limit('ann', 'tokens', 1)).used;
SELECT * FROM events();
SELECT (memory.enforce_limit('ann', 'tokens', 50)).used;
SELECT * FROM events();
-- a soft limit admits, and tells once that it was passed
SELECT (memory.enforce_limit('ann', 'tokens', 43)).used;
SELECT * FROM events();
SELECT (memory.enforce_limit('ann', 'tokens', 1)).used, (memory.enforce_limit('ann', 'tokens', 1000)).reason;
SELECT * FROM events();
-- what is settled counts when it is settled
SELECT memory.change_plan('ann', 'q') IS NOT NULL;
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value, thresholds) VALUES ('q', 'tokens', 'lifetime', 2000, '{0.6}');
SELECT (memory.reserve_usage('ann', 'call', 200)).reserved;
SELECT * FROM events();
SELECT memory.settle_usage('ann', 'call', 150);
SELECT * FROM events();

--
-- The end of a month is told once, for each month, with its plan and use
--
-- whether the events of a subscription's months are whole months, one after the other, up to the present one
CREATE FUNCTION closed(id text) RETURNS TABLE (n bigint, whole boolean, contiguous boolean, present boolean, plans text, messages text, tokens text)
LANGUAGE sql AS $$
	WITH e AS (
		SELECT (data ->> 'period_start')::timestamptz AS first, (data ->> 'period_end')::timestamptz AS last, data
		FROM memory_store.outbox WHERE type = 'period.closed' AND subscription_id = id
	)
	SELECT count(*), bool_and(EXISTS (SELECT FROM memory.period_bounds('month', s.starts_at, s.time_zone, e.first) b
			WHERE b.period_start = e.first AND b.period_end = e.last)),
		count(DISTINCT first) = count(*) AND bool_and(EXISTS (SELECT FROM e f WHERE f.first = e.last) OR e.last = s.month_start),
		max(last) = max(s.month_start) AND max(s.month_start) <= now() AND max(s.month_end) > now(),
		string_agg(data ->> 'plan_id', ' ' ORDER BY first), string_agg(data ->> 'messages', ' ' ORDER BY first),
		string_agg(data ->> 'tokens', ' ' ORDER BY first)
	FROM e, memory_store.subscriptions s WHERE s.subscription_id = id
$$;
-- periods of a subscription that began long ago are its present ones: nothing is to be told
SELECT memory.subscribe('old', 'p', '2020-01-31 23:30+00', 'Europe/Berlin');
SELECT memory_store.close_periods();
SELECT memory.append('old', '00000000-0000-0000-0000-000000000011', 'user', 'x', tokens => 7);
SELECT * FROM closed('old');
-- by the first use: months without use between are told, too
SELECT set_back('old', 'month', '75 days');
SELECT memory.append('old', '00000000-0000-0000-0000-000000000011', 'user', 'x', tokens => 0);
SELECT n > 1 AS several, whole, contiguous, present, plans ~ '^p( p)+$' AS plans, messages ~ '^1( 0)+$' AS messages, tokens ~ '^7( 0)+$' AS tokens
FROM closed('old');
SELECT messages_month AS messages, messages_lifetime AS ever FROM memory_store.subscriptions WHERE subscription_id = 'old';
SELECT memory_store.close_periods();
SELECT count(*) > 1 AS several FROM memory_store.outbox WHERE type = 'period.closed' AND subscription_id = 'old';
-- asking does not tell it, being refused neither
TRUNCATE memory_store.outbox;
SELECT set_back('old', 'month', '1 day');
SELECT (memory.check_quota('old', 'tokens')).used;
SELECT used, period_start IS NULL AND period_end IS NULL AS ended FROM memory.quota_usage WHERE subscription_id = 'old' AND period = 'month';
SELECT left(raises($$SELECT memory.enforce_limit('old', 'messages', 100)$$), 5);
SELECT n FROM closed('old');
-- by close_periods, which has nothing to do then
SELECT memory_store.close_periods();
SELECT * FROM closed('old');
SELECT memory_store.close_periods(), memory_store.close_periods(NULL), memory_store.close_periods(0);
SELECT memory.append('old', '00000000-0000-0000-0000-000000000011', 'user', 'x', tokens => 0);
SELECT n FROM closed('old');
-- ... some at a time, in order; one that was never used ends as well
SELECT memory.subscribe('never ' || i, 'p') FROM generate_series(1, 5) i;
SELECT set_back('never ' || i, 'month', '1 day') FROM generate_series(1, 5) i;
SELECT memory_store.close_periods(2);
SELECT string_agg(subscription_id, ', ' ORDER BY subscription_id) FROM memory_store.outbox WHERE type = 'period.closed' AND subscription_id LIKE 'never%';
SELECT memory_store.close_periods(2), memory_store.close_periods(2), memory_store.close_periods(2);
SELECT subscription_id, count(*) FROM memory_store.outbox WHERE type = 'period.closed' AND subscription_id LIKE 'never%' GROUP BY 1 ORDER BY 1;
SELECT raises($$SELECT memory_store.close_periods(-1)$$);
-- a month ends with the plan that it had: the change is at its end
TRUNCATE memory_store.outbox;
SELECT memory.subscribe('down', 'q');
SELECT memory.change_plan('down', 'p') > now();
UPDATE memory_store.subscriptions s SET next_plan_at = b.period_end
FROM memory_store.subscriptions t, memory.period_bounds('month', t.starts_at, t.time_zone, t.month_start - interval '40 days') b
WHERE s.subscription_id = 'down' AND t.subscription_id = 'down';
SELECT set_back('down', 'month', '40 days');
SELECT memory_store.close_periods();
SELECT n > 1 AS several, whole, contiguous, present, plans ~ '^q( p)+$' AS plans FROM closed('down');
SELECT plan_id, next_plan_id FROM memory_store.subscriptions WHERE subscription_id = 'down';
-- the default plan is named, too
UPDATE memory.plans SET is_default = true WHERE plan_id = 'r';
SELECT memory.append('dan', '00000000-0000-0000-0000-000000000012', 'user', 'x', tokens => 0);
SELECT set_back('dan', 'month', '1 day');
SELECT memory_store.close_periods();
SELECT n, plans, messages FROM closed('dan');
-- maintain() does it
SELECT set_back('dan', 'month', '1 day');
SET client_min_messages = warning;
CALL memory.maintain();
RESET client_min_messages;
SELECT n FROM closed('dan');
UPDATE memory.plans SET is_default = false;

--
-- Which plan a subscription had, and invoices by it
--
TRUNCATE memory_store.outbox;
INSERT INTO memory.plan_prices (plan_id, component, valid_from, kind, meter, price) VALUES
	('', 'nothing', '2020-01-01', 'flat', NULL, 0), ('p', 'fee', '2020-01-01', 'flat', NULL, 10), ('q', 'fee', '2020-01-01', 'flat', NULL, 20),
	('r', 'fee', '2020-01-01', 'flat', NULL, 30), ('p', 'messages', '2020-01-01', 'unit', 'messages', 1), ('q', 'messages', '2020-01-01', 'unit', 'messages', 2);
CREATE FUNCTION plan_on(id text, day date) RETURNS text LANGUAGE sql AS 'SELECT memory_store.subscription_plan(id, day)';
CREATE FUNCTION owed(id text, day date, length integer DEFAULT 1) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(component || ' ' || amount, ', ' ORDER BY line) FROM memory.invoice(id, day, day + length)
$$;
CREATE VIEW today AS SELECT (now() AT TIME ZONE 'UTC')::date AS day;
CREATE FUNCTION changes() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', e.data ->> 'previous_plan_id', e.data ->> 'plan_id', CASE WHEN (e.data ->> 'effective_at')::timestamptz > now() THEN 'later' ELSE 'now' END)
	FROM memory_store.outbox e WHERE e.type = 'plan.changed' ORDER BY e.occurred_at
$$;
SELECT memory.subscribe('eve', 'p', '2024-01-15 22:00+00', 'Asia/Kathmandu');
SELECT d, plan_on('eve', d) FROM unnest('{2024-01-14,2024-01-15,2024-01-16,2024-06-01}'::date[]) d;
SELECT memory.append('eve', '00000000-0000-0000-0000-000000000021', 'user', 'x', tokens => 0, created_at => now() - interval '12 hours');
SELECT owed('eve', '2024-02-01', 29), owed('eve', '2023-01-01'), owed('nobody', '2024-02-01');
-- an upgrade is at once, today; yesterday keeps its plan
SELECT memory.change_plan('eve', 'q') <= clock_timestamp();
SELECT plan_on('eve', day - 1), plan_on('eve', day), plan_on('eve', day + 100), owed('eve', '2024-02-01', 29) FROM today;
SELECT owed('eve', '2024-02-01', 10000) AS "by the plan of the first day", owed('eve', day) LIKE 'fee 20.00%' AS "and today" FROM today;
-- a downgrade is at the month's end
SELECT memory.change_plan('eve', 'p') > clock_timestamp();
SELECT plan_on('eve', day), plan_on('eve', day + 32), owed('eve', day + 32) FROM today;
-- ... and is not to be, when it is taken back before
SELECT memory.change_plan('eve', 'q') <= clock_timestamp();
SELECT plan_on('eve', day), plan_on('eve', day + 32) FROM today;
SELECT next_plan_id, next_plan_at FROM memory.subscriptions WHERE subscription_id = 'eve';
-- ... or another takes its place
SELECT memory.change_plan('eve', 'p') > clock_timestamp(), memory.change_plan('eve', 'r', 'next_period') > clock_timestamp();
SELECT plan_on('eve', day), plan_on('eve', day + 32) FROM today;
-- or comes before it; the last of a day counts
SELECT memory.change_plan('eve', 'r') <= clock_timestamp(), memory.change_plan('eve', 'p', 'now') <= clock_timestamp();
SELECT plan_on('eve', day - 1), plan_on('eve', day), plan_on('eve', day + 32) FROM today;
SELECT * FROM changes();
SELECT count(*) AS changes_that_are_known, bool_and(valid_from <= now() + interval '1 minute') AS none_is_to_come
FROM memory_store.subscription_plans WHERE subscription_id = 'eve';
-- who was given no plan had the default one, as it is now
SELECT plan_on('dan', day) FROM today;
UPDATE memory.plans SET is_default = true WHERE plan_id = 'r';
SELECT plan_on('dan', day), plan_on('dan', '2024-01-01'), owed('dan', '2024-01-01') FROM today;
SELECT memory.change_plan('dan', 'p', 'now') <= clock_timestamp();
SELECT plan_on('dan', day), plan_on('dan', day - 1) FROM today;
UPDATE memory.plans SET is_default = false;
-- what is rolled back was never
BEGIN;
SELECT memory.change_plan('dan', 'r') <= clock_timestamp();
ROLLBACK;
SELECT plan_on('dan', day) FROM today;

--
-- What stands outside the store does not get mixed up with what stands in it
--
CREATE TABLE files (account text, bytes bigint);
CREATE TRIGGER added AFTER INSERT ON files REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('content_bytes', 'account', 'bytes');
CREATE TRIGGER removed AFTER DELETE ON files REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('content_bytes', 'account', 'bytes');
CREATE VIEW bytes AS SELECT content_bytes AS used, outside_content_bytes AS outside FROM memory_store.subscriptions WHERE subscription_id = 'eve';
INSERT INTO files VALUES ('eve', 100), ('eve', 50);
TABLE bytes;
SELECT * FROM memory.usage_drift;
-- what was there before the trigger gives back what was never charged
ALTER TABLE files DISABLE TRIGGER added;
INSERT INTO files VALUES ('eve', 1000);
ALTER TABLE files ENABLE TRIGGER added;
DELETE FROM files WHERE bytes = 1000;
TABLE bytes;
SELECT memory.append('eve', '00000000-0000-0000-0000-000000000021', 'user', repeat('x', 20), tokens => 0);
INSERT INTO files VALUES ('eve', 7);
SELECT (memory.enforce_limit('eve', 'content_bytes', 3)).reason, (memory.reserve_usage('eve', 'upload', 30, 'content_bytes')).reason;
SELECT memory.settle_usage('eve', 'upload', 25);
TABLE bytes;
SELECT * FROM memory.usage_drift;
-- an account that moves takes along what stands, in the store and outside of it
SELECT memory.set_subscription('eve', 'ann');
TABLE bytes;
SELECT * FROM memory.usage_drift;
SELECT memory.set_subscription('eve', 'eve');
TABLE bytes;
-- counters that are wrong, whyever, are counted anew; what flows stays
SELECT memory.recount('eve');
UPDATE memory_store.subscriptions SET conversations = 9, content_bytes = 9, outside_content_bytes = 9, reserved_tokens = 9
WHERE subscription_id = 'eve';
SELECT memory.recount('eve');
TABLE bytes;
SELECT * FROM memory.usage_drift;
SELECT memory.recount('nobody');
-- what is deleted while there is no plan is deleted also where the plans come back
CREATE TABLE kept AS TABLE memory.plans;
CREATE TABLE kept_limits AS TABLE memory.plan_limits;
CREATE TABLE kept_subscriptions AS SELECT subscription_id, plan_id FROM memory_store.subscriptions;
UPDATE memory_store.subscriptions SET plan_id = NULL, next_plan_id = NULL;
DELETE FROM memory.plans;
SELECT memory.delete_conversation('eve', '00000000-0000-0000-0000-000000000021') > 0 AS deleted;
DELETE FROM files WHERE bytes = 7;
SELECT (memory.check_quota('eve', 'content_bytes')).reason;
INSERT INTO memory.plans TABLE kept;
INSERT INTO memory.plan_limits TABLE kept_limits;
UPDATE memory_store.subscriptions s SET plan_id = k.plan_id FROM kept_subscriptions k WHERE k.subscription_id = s.subscription_id;
TABLE bytes;
SELECT * FROM memory.usage_drift;
SELECT memory.append('eve', '00000000-0000-0000-0000-000000000022', 'user', repeat('x', 21), tokens => 0);
-- usage_drift sees what should not be
UPDATE memory_store.subscriptions SET conversations = conversations + 1, content_bytes = content_bytes - 2, reserved_tokens = 5, reserved_messages = 1 WHERE subscription_id = 'eve';
SELECT * FROM memory.usage_drift ORDER BY meter;
SET memory_ext.account = 'eve';
SELECT count(*) FROM memory.usage_drift;
SET memory_ext.account = 'ann';
SELECT count(*) FROM memory.usage_drift;
RESET memory_ext.account;
UPDATE memory_store.subscriptions SET conversations = conversations - 1, content_bytes = content_bytes + 2, reserved_tokens = 0, reserved_messages = 0 WHERE subscription_id = 'eve';
SELECT * FROM memory.usage_drift;

--
-- Erasure
--
CREATE FUNCTION left_of(id text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', 'subscriptions', (SELECT count(*) FROM memory_store.subscriptions WHERE subscription_id = id),
		'plans', (SELECT count(*) FROM memory_store.subscription_plans WHERE subscription_id = id) > 0,
		'reservations', (SELECT count(*) FROM memory_store.reservations WHERE account_id = id),
		'events', (SELECT count(*) FROM memory_store.outbox WHERE account_id = id) > 0)
$$;
SELECT left_of('eve');
SELECT memory.forget('eve') ->> 'conversations' AS conversations;
SELECT left_of('eve');
-- a subscription that others share stays, with its plans
SELECT (memory.enforce_limit('ann', 'tokens', 1)).reason;
SELECT left_of('ann');
SELECT memory.forget('ann') ->> 'conversations' AS conversations;
SELECT left_of('ann');
SELECT plan_on('ann', day) FROM today;
SELECT memory.forget('ben') ->> 'conversations' AS conversations;
SELECT memory.forget('ann') ->> 'conversations' AS conversations;
SELECT left_of('ann');
SELECT * FROM memory.usage_drift;
SELECT * FROM memory.verify();
-- an account that does not exist is not given a subscription by looking for it
UPDATE memory.plans SET is_default = true WHERE plan_id = 'r';
SELECT raises($$SELECT memory.edit_message('ghost', '00000000-0000-0000-0000-000000000099', 1, 'x')$$);
SELECT memory.forget('ghost') ->> 'conversations' AS conversations;
SELECT memory.set_retention('ghost', '1 day'), memory_store.expire_batch(), memory.seal('ghost');
DELETE FROM memory.messages WHERE account_id = 'ghost';
SELECT left_of('ghost');

-- nothing is left for the next test
SET client_min_messages = warning;
SELECT memory.set_retention('ghost', NULL);
DELETE FROM memory.conversations;
TRUNCATE memory_store.accounts, memory_store.conversations, memory_store.tombstones, memory_store.subscriptions, memory_store.subscription_plans,
	memory_store.reservations, memory_store.usage_daily, memory_store.outbox, memory_store.outbox_consumers, memory.plan_prices;
DELETE FROM memory.plans;
DROP SCHEMA quota_events_test CASCADE;
