-- Plans, limits and subscriptions: what is refused, what is counted, and what
-- asking, enforcing, reserving and changing plans do.
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '-'
\pset format unaligned
\set c1 '00000000-0000-0000-0000-000000000001'
\set c2 '00000000-0000-0000-0000-000000000002'
\set c3 '00000000-0000-0000-0000-000000000003'

CREATE SCHEMA quota_test;
SET search_path = quota_test, public;
-- What a statement raises; the one thing that depends on the day is masked.
CREATE FUNCTION raises(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	detail := regexp_replace(detail, '"period_end": "[^"]*"', '"period_end": "*"');
	RETURN concat_ws(E'\n', SQLSTATE || ' ' || SQLERRM, '  ' || nullif(detail, ''), '  ' || nullif(hint, ''));
END $$;
-- What a subscription has used and holds.
CREATE FUNCTION slots(id text, OUT messages bigint, OUT tokens bigint, OUT conversations bigint, OUT content_bytes bigint,
	OUT reserved text) LANGUAGE sql AS $$
	SELECT messages_lifetime, tokens_lifetime, conversations, content_bytes, concat_ws(' ', reserved_messages, reserved_tokens, reserved_conversations, reserved_content_bytes) FROM memory_store.subscriptions WHERE subscription_id = id
$$;

--
-- Without any plan nothing is limited and nothing is counted
--
SELECT memory.append('ann', :'c1', 'user', 'hello');
SELECT (memory.check_quota('ann', 'messages', 1000000)).*;
SELECT (memory.enforce_limit('ann', 'tokens', 1000000)).reason;
SELECT (memory.reserve_usage('ann', 'call', 1000000)).reason;
SELECT memory.settle_usage('ann', 'call', 1000000), memory.release_usage('ann', 'other');
SELECT memory.upgrade_required('ann');
SELECT count(*) AS plans FROM memory.plans;
SELECT count(*) AS subscriptions FROM memory_store.subscriptions;
SELECT count(*) AS reservations FROM memory_store.reservations;
-- an example is loaded by one call; what exists is left alone
SELECT memory.load_example_plans();
UPDATE memory.plans SET price = 25 WHERE plan_id = 'pro';
SELECT memory.load_example_plans();
SELECT plan_id, title, price, offered, is_default FROM memory.plans ORDER BY price;
SELECT plan_id, meter, period, limit_value, enforcement, thresholds FROM memory.plan_limits ORDER BY 1, 2, 3;
-- plans alone limit nobody
SELECT memory.append('ann', :'c1', 'user', 'hello');
SELECT (memory.check_quota('ann', 'messages')).reason;
SELECT count(*) AS subscriptions FROM memory_store.subscriptions;
-- what a DBA may write
SELECT raises($$INSERT INTO memory.plans (plan_id) VALUES ('')$$);
SELECT raises($$INSERT INTO memory.plan_limits (plan_id, meter, period) VALUES ('pro', 'hours', 'day')$$);
SELECT raises($$INSERT INTO memory.plan_limits (plan_id, meter, period) VALUES ('pro', 'messages', 'current')$$);
SELECT raises($$INSERT INTO memory.plan_limits (plan_id, meter, period) VALUES ('pro', 'conversations', 'day')$$);
SELECT raises($$INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('pro', 'messages', 'hour', -1)$$);
SELECT raises($$UPDATE memory.plans SET is_default = true$$);
SELECT raises($$INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('prp', 'messages', 'hour', 1)$$);
SELECT raises($$UPDATE memory.plan_limits SET plan_id = 'prp' WHERE plan_id = 'pro'$$);
SELECT raises($$UPDATE memory.plans SET plan_id = 'prp' WHERE plan_id = 'pro'$$);
DELETE FROM memory.plans;
SELECT count(*) FROM memory.plan_limits;

--
-- A subscription's limits
--
INSERT INTO memory.plans (plan_id, price, offered) VALUES ('small', 1, true), ('secret', 2, false), ('large', 10, true), ('none', 99, true);
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES
	('small', 'messages', 'day', 6), ('small', 'conversations', 'current', 2), ('small', 'content_bytes', 'current', 40),
	('small', 'tokens', 'lifetime', NULL), ('large', 'messages', 'day', 12), ('large', 'content_bytes', 'current', 1000),
	('large', 'tokens', 'month', 5000);
-- (its day begins now, so that no other begins during the test)
SELECT memory.subscribe('ann', 'small', now() - interval '1000 days', 'Etc/UTC');
SELECT subscription_id, plan_id, starts_at < now() AS before, time_zone, next_plan_id, next_plan_at FROM memory.subscriptions;
-- what stood there already is counted, what was used before is not
SELECT * FROM slots('ann');
SELECT raises($$SELECT memory.subscribe('ann', 'small')$$);
SELECT raises($$SELECT memory.subscribe('bob', 'tiny')$$);
SELECT raises($$SELECT memory.subscribe('bob', NULL)$$);
SELECT raises($$SELECT memory.subscribe('bob', 'small', 'infinity')$$);
SELECT raises($$SELECT memory.subscribe('bob', 'small', now(), 'Europe/Atlantis')$$);
-- functions and views, a message at a time and many, are counted alike
SELECT memory.append('ann', :'c1', 'user', 'hi', tokens => 7);
SELECT memory.append('ann', :'c1', '[{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]');
INSERT INTO memory.messages (account_id, conversation_id, role, content) VALUES ('ann', :'c2', 'user', 'three');
SELECT messages, conversations, content_bytes FROM slots('ann');
SELECT meter, period, used, limit_value, enforcement, percent, period_start <= now() AND period_end > now() AS now
FROM memory.quota_usage WHERE subscription_id = 'ann' ORDER BY meter;
-- two messages are left: three are refused, as a whole, by every way in
SELECT raises(format($$SELECT memory.append('ann', %L, '[{"role": "user", "content": "1"}, {"role": "user", "content": "2"}, {"role": "user", "content": "3"}]')$$, :'c1'));
SELECT raises(format($$INSERT INTO memory.messages (account_id, conversation_id, role, content) SELECT 'ann', %L, 'user', i::text FROM generate_series(1, 3) i$$, :'c1'));
\set VERBOSITY terse
COPY memory.messages (account_id, conversation_id, role, content) FROM STDIN;
ann	00000000-0000-0000-0000-000000000001	user	1
ann	00000000-0000-0000-0000-000000000001	user	2
ann	00000000-0000-0000-0000-000000000001	user	3
\.
-- ... and so are accounts that have no limit, when they are in the same COPY
COPY memory.messages (account_id, conversation_id, role, content) FROM STDIN;
aaa	00000000-0000-0000-0000-0000000000aa	user	1
ann	00000000-0000-0000-0000-000000000001	user	1
ann	00000000-0000-0000-0000-000000000001	user	2
ann	00000000-0000-0000-0000-000000000001	user	3
zoe	00000000-0000-0000-0000-0000000000bb	user	1
\.
\set VERBOSITY default
SELECT account_id, conversation_id, count(*) FROM memory.messages GROUP BY 1, 2 ORDER BY 1, 2;
SELECT messages, conversations, content_bytes FROM slots('ann');
SELECT count(*) AS accounts FROM memory_store.accounts;
-- the last two are admitted
COPY memory.messages (account_id, conversation_id, role, content) FROM STDIN;
ann	00000000-0000-0000-0000-000000000001	user	1
ann	00000000-0000-0000-0000-000000000001	user	2
\.
SELECT raises(format($$SELECT memory.append('ann', %L, 'user', '')$$, :'c1'));
-- no quota of the period is given back: deleting lowers what stands, not what flows
DELETE FROM memory.messages WHERE account_id = 'ann' AND content IN ('1', '2');
SELECT messages, conversations, content_bytes FROM slots('ann');
SELECT raises(format($$SELECT memory.append('ann', %L, 'user', '')$$, :'c1'));
SELECT memory.delete_conversation('ann', :'c2') > 0;
SELECT messages, conversations, content_bytes FROM slots('ann');
-- a savepoint gives back what it took
UPDATE memory.plan_limits SET limit_value = 7 WHERE plan_id = 'small' AND meter = 'messages';
BEGIN;
SAVEPOINT s;
SELECT memory.append('ann', :'c1', 'user', '');
ROLLBACK TO s;
SELECT memory.append('ann', :'c1', 'user', '');
SELECT raises(format($$SELECT memory.append('ann', %L, 'user', '')$$, :'c1'));
ROLLBACK;
SELECT messages FROM slots('ann');
-- conversations
SELECT memory.create_conversation('ann', :'c3');
SELECT raises($$SELECT memory.create_conversation('ann')$$);
SELECT raises($$INSERT INTO memory.conversations (account_id, conversation_id) VALUES ('ann', '00000000-0000-0000-0000-000000000009')$$);
DELETE FROM memory.conversations WHERE conversation_id = :'c3';
INSERT INTO memory.conversations (account_id, conversation_id) VALUES ('ann', '00000000-0000-0000-0000-000000000004');
SELECT conversations FROM slots('ann');
-- content_bytes: an edit may make a message longer
UPDATE memory.messages SET content = repeat('x', 25) WHERE account_id = 'ann' AND seq = 1;
SELECT conversations, content_bytes FROM slots('ann');
SELECT raises(format($$SELECT memory.edit_message('ann', %L, 2, repeat('x', 8))$$, :'c1'));
SELECT raises($$UPDATE memory.messages SET content = content || 'yy' WHERE account_id = 'ann'$$);
SELECT memory.edit_message('ann', :'c1', 1, 'short') > 0;
SELECT conversations, content_bytes FROM slots('ann');
-- what is imported with its own, older time is stored, and was not used now
SELECT memory.append('ann', :'c1', 'user', 'old', created_at => '2020-01-01');
SELECT messages, content_bytes FROM slots('ann');
-- maintenance and its deletions
SELECT memory.set_retention('ann', '1 year');
UPDATE memory_store.conversations SET updated_at = '2020-01-01' WHERE account_id = 'ann' AND conversation_id = :'c1';
SELECT memory.seal('ann', :'c1');
SELECT memory_store.expire_batch(100);
SELECT messages, conversations, content_bytes FROM slots('ann');
SELECT memory.set_retention('ann', NULL);
SELECT subscription_id FROM memory.usage_drift;

--
-- check_quota and enforce_limit
--
INSERT INTO memory.plans (plan_id) VALUES ('mixed');
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value, enforcement) VALUES
	('mixed', 'tokens', 'hour', 10, 'soft'), ('mixed', 'tokens', 'day', 15, 'hard'), ('mixed', 'tokens', 'month', 100, 'hard'),
	('mixed', 'messages', 'day', 2, 'soft');
SELECT memory.subscribe('mia', 'mixed');
-- it shows the limit that leaves least, or the one that refuses
SELECT n, q.allowed, q.used, q.limit_value, q.remaining, q.period, q.enforcement, q.reason, q.period_end - q.period_start AS length
FROM unnest('{0,10,11,15,16,101}'::bigint[]) n, memory.check_quota('mia', 'tokens', n) q WHERE q.period <> 'month';
SELECT q.allowed, q.used, q.remaining, q.period, q.reason FROM memory.enforce_limit('mia', 'tokens', 9) q;
-- soft limits admit
SELECT q.allowed, q.used, q.remaining, q.period, q.reason FROM memory.enforce_limit('mia', 'tokens', 4) q;
SELECT memory.append('mia', '00000000-0000-0000-0000-000000000011', 'user', 'x', tokens => 0) FROM generate_series(1, 3);
SELECT q.allowed, q.used, q.remaining, q.enforcement, q.reason FROM memory.check_quota('mia', 'messages') q;
SELECT raises($$SELECT memory.enforce_limit('mia', 'tokens', 3)$$);
SELECT (memory.enforce_limit('mia', 'tokens', 2)).reason;
SELECT (memory.check_quota('mia', 'tokens')).allowed, (memory.check_quota('mia', 'tokens', 0)).allowed;
SELECT (memory.check_quota('mia', 'conversations')).reason;
SELECT messages, tokens, conversations, content_bytes FROM slots('mia');
SELECT raises($$SELECT memory.check_quota('mia', 'hours')$$);
SELECT raises($$SELECT memory.check_quota('mia', NULL)$$);
SELECT raises($$SELECT memory.check_quota(NULL, 'tokens')$$);
SELECT raises($$SELECT memory.enforce_limit('mia', 'tokens', -1)$$);
-- so much at once, and no more
SELECT (memory.enforce_limit('mia', 'content_bytes', 1000000000000000)).reason;
SELECT raises($$SELECT memory.enforce_limit('mia', 'content_bytes', 1000000000000001)$$);
UPDATE memory_store.subscriptions SET content_bytes = 3, outside_content_bytes = 0 WHERE subscription_id = 'mia';

--
-- Plans change: upgrades now, downgrades next period
--
SELECT memory.upgrade_required('ann');
SELECT (memory.enforce_limit('ann', 'messages', 1)).remaining;
SELECT raises($$SELECT memory.enforce_limit('ann', 'messages', 1)$$);
SELECT memory.upgrade_required('ann');
SELECT raises($$SELECT memory.change_plan('ann', 'tiny')$$);
SELECT raises($$SELECT memory.change_plan('nobody', 'large')$$);
SELECT raises($$SELECT memory.change_plan('ann', 'large', 'later')$$);
SELECT raises($$SELECT memory.change_plan('ann', NULL)$$);
SELECT (memory.change_plan('ann', 'large') - now()) < '1 minute' AS at_once;
SELECT q.used, q.limit_value FROM memory.check_quota('ann', 'messages') q;
SELECT (memory.enforce_limit('ann', 'messages', 2)).remaining;
SELECT memory.upgrade_required('ann') AS none_is_needed;
-- the only plan with room has no limits at all; a cheaper one is none to go up to
SELECT raises($$SELECT memory.enforce_limit('ann', 'messages', 4)$$);
UPDATE memory.plans SET offered = false WHERE plan_id = 'none';
SELECT raises($$SELECT memory.enforce_limit('ann', 'messages', 4)$$);
-- a cheaper one comes when the month ends: a month from the anchor
SELECT memory.change_plan('ann', 'small') = 
	(SELECT b.period_end FROM memory.subscriptions s, memory.period_bounds('month', s.starts_at, s.time_zone, now()) b WHERE s.subscription_id = 'ann') AS next_period;
SELECT plan_id, next_plan_id, next_plan_at > now() AS later FROM memory.subscriptions WHERE subscription_id = 'ann';
-- the same plan again takes that back
SELECT memory.change_plan('ann', 'large') < now() + '1 minute';
SELECT plan_id, next_plan_id, next_plan_at FROM memory.subscriptions WHERE subscription_id = 'ann';
-- when its time has come it is in force for all who look, also before the row is written again
SELECT memory.change_plan('ann', 'small') > now();
UPDATE memory_store.subscriptions SET next_plan_at = now() - interval '1 second' WHERE subscription_id = 'ann';
SELECT plan_id, next_plan_id, next_plan_at FROM memory.subscriptions WHERE subscription_id = 'ann';
SELECT DISTINCT plan_id FROM memory.quota_usage WHERE subscription_id = 'ann';
SELECT q.allowed, q.used, q.limit_value, q.remaining, q.reason FROM memory.check_quota('ann', 'messages', 0) q;
-- over the limit after a downgrade: reads go on, writes stop, and nothing was forgotten
SELECT raises($$SELECT memory.append('ann', '00000000-0000-0000-0000-000000000004', 'user', '')$$);
SELECT count(*) FROM memory.recent_conversations('ann');
SELECT count(*) FROM memory.history('ann', '00000000-0000-0000-0000-000000000004');
DELETE FROM memory.conversations WHERE account_id = 'ann';
SELECT messages, tokens, conversations, content_bytes FROM slots('ann');
SELECT plan_id, next_plan_id FROM memory_store.subscriptions WHERE subscription_id = 'ann';
SELECT memory.change_plan('ann', 'large', 'next_period') > now(), memory.change_plan('ann', 'mixed', 'now') < now() + '1 minute';
-- a plan in use cannot be taken away
SELECT raises($$DELETE FROM memory.plans WHERE plan_id = 'mixed'$$);
SELECT raises($$UPDATE memory.plans SET plan_id = 'mixed 2' WHERE plan_id = 'mixed'$$);
SELECT raises($$TRUNCATE memory.plans, memory.plan_limits$$);
SELECT memory.change_plan('ann', 'small', 'next_period') > now();
SELECT raises($$DELETE FROM memory.plans WHERE plan_id = 'small'$$);
DELETE FROM memory.plans WHERE plan_id = 'secret';

--
-- Reservations
--
SELECT memory.change_plan('ann', 'large', 'now') < now() + '1 minute';
UPDATE memory_store.subscriptions SET messages_day = 0, messages_lifetime = 0, tokens_month = 0, tokens_lifetime = 0, conversations = 0, content_bytes = 0 WHERE subscription_id = 'ann';
SELECT q.allowed, q.used, q.reserved, q.remaining FROM memory.reserve_usage('ann', 'call 1', 3000) q;
-- the same id again changes nothing; for something else it is refused
SELECT q.allowed, q.used, q.reserved, q.remaining FROM memory.reserve_usage('ann', 'call 1', 3000) q;
SELECT raises($$SELECT memory.reserve_usage('ann', 'call 1', 3001)$$);
SELECT raises($$SELECT memory.reserve_usage('ann', 'call 1', 3000, 'messages')$$);
-- what is held counts as used
SELECT raises($$SELECT memory.reserve_usage('ann', 'call 2', 2001)$$);
SELECT q.reserved, q.remaining FROM memory.reserve_usage('ann', 'call 2', 2000, keep_for => '1 hour') q;
SELECT raises($$SELECT memory.enforce_limit('ann', 'tokens', 1)$$);
SELECT tokens, reserved FROM slots('ann');
SELECT used, reserved, percent FROM memory.quota_usage WHERE subscription_id = 'ann' AND meter = 'tokens';
SELECT raises($$SELECT memory.settle_usage('ann', 'call 1', 3001)$$);
SELECT memory.settle_usage('ann', 'call 1', 1200);
SELECT memory.settle_usage('ann', 'call 1', 1200);
SELECT raises($$SELECT memory.settle_usage('ann', 'call 1', 1201)$$);
SELECT raises($$SELECT memory.release_usage('ann', 'call 1')$$);
SELECT tokens, reserved FROM slots('ann');
SELECT memory.release_usage('ann', 'call 2');
SELECT memory.release_usage('ann', 'call 2');
SELECT raises($$SELECT memory.settle_usage('ann', 'call 2', 1)$$);
SELECT raises($$SELECT memory.settle_usage('ann', 'call 3', 1)$$);
SELECT raises($$SELECT memory.release_usage('ann', 'call 3')$$);
SELECT tokens, reserved FROM slots('ann');
-- one that has expired refuses nobody
SELECT (memory.reserve_usage('ann', 'call 4', 3800)).remaining;
UPDATE memory_store.reservations SET expires_at = now() - interval '1 second' WHERE reservation_id = 'call 4';
SELECT q.allowed, q.reserved, q.remaining FROM memory.check_quota('ann', 'tokens', 3000) q;
SELECT used, reserved FROM memory.quota_usage WHERE subscription_id = 'ann' AND meter = 'tokens';
SELECT q.reserved, q.remaining FROM memory.enforce_limit('ann', 'tokens', 3000) q;
SELECT state FROM memory_store.reservations WHERE reservation_id = 'call 4';
-- it is settled all the same, as long as there is room; released in any case
SELECT raises($$SELECT memory.settle_usage('ann', 'call 4', 801)$$);
SELECT memory.settle_usage('ann', 'call 4', 800);
SELECT tokens, reserved FROM slots('ann');
-- one that is held is settled even if the limit has been lowered since
UPDATE memory.plan_limits SET limit_value = 6000 WHERE plan_id = 'large' AND meter = 'tokens';
SELECT (memory.reserve_usage('ann', 'call 5', 1000)).remaining;
UPDATE memory.plan_limits SET limit_value = 100 WHERE plan_id = 'large' AND meter = 'tokens';
SELECT memory.settle_usage('ann', 'call 5', 900);
SELECT tokens, reserved FROM slots('ann');
SELECT q.allowed, q.used, q.limit_value, q.remaining, q.reason FROM memory.check_quota('ann', 'tokens', 0) q;
-- the id of one that has ended holds nothing again: its state is named
SELECT raises($$SELECT memory.reserve_usage('ann', 'call 1', 3000)$$);
SELECT (memory.reserve_usage('ann', 'call 7', 10, 'content_bytes')).reason, memory.release_usage('ann', 'call 7');
SELECT raises($$SELECT memory.reserve_usage('ann', 'call 7', 10, 'content_bytes')$$);
SELECT (memory.reserve_usage('ann', 'call 8', 10, 'content_bytes')).reserved;
UPDATE memory_store.reservations SET expires_at = now() - interval '1 second' WHERE reservation_id = 'call 8';
SELECT raises($$SELECT memory.reserve_usage('ann', 'call 8', 10, 'content_bytes')$$);
SELECT memory.release_usage('ann', 'call 8');
-- one that has expired makes room for an append, and is gone then
SELECT memory.change_plan('ann', 'large', 'now') IS NOT NULL;
UPDATE memory.plan_limits SET limit_value = 6000 WHERE plan_id = 'large' AND meter = 'tokens';
SELECT (memory.reserve_usage('ann', 'call 6', 100)).remaining;
SELECT raises($$SELECT memory.append('ann', '00000000-0000-0000-0000-000000000051', 'user', 'x', tokens => 1)$$);
UPDATE memory_store.reservations SET expires_at = now() - interval '1 second' WHERE reservation_id = 'call 6';
SELECT memory.append('ann', '00000000-0000-0000-0000-000000000051', 'user', 'x', tokens => 1);
SELECT memory.append('ann', '00000000-0000-0000-0000-000000000051', 'user', 'y', tokens => 2);
SELECT tokens, reserved, conversations, content_bytes FROM slots('ann');
-- what is not used now, though it was said to be, is not counted
SELECT memory.append('ann', '00000000-0000-0000-0000-000000000051', 'user', '', tokens => 1, created_at => '2020-01-01');
SELECT memory.append('ann', '00000000-0000-0000-0000-000000000052', 'user', '', tokens => 0);
SELECT messages, tokens, conversations, content_bytes FROM slots('ann');
SELECT memory.delete_conversation('ann', '00000000-0000-0000-0000-000000000051') > 0, memory.delete_conversation('ann', '00000000-0000-0000-0000-000000000052') > 0;
SELECT tokens_month - tokens_lifetime, tokens_hour = tokens_day, conversations, content_bytes FROM memory_store.subscriptions WHERE subscription_id = 'ann';
UPDATE memory.plan_limits SET limit_value = 100 WHERE plan_id = 'large' AND meter = 'tokens';
-- any meter may be reserved
SELECT (memory.reserve_usage('ann', 'm', 3, 'messages')).remaining, (memory.reserve_usage('ann', 'b', 400, 'content_bytes')).remaining;
SELECT raises($$SELECT memory.append('ann', '00000000-0000-0000-0000-000000000005', 'user', repeat('x', 601), tokens => 0)$$);
SELECT reserved FROM slots('ann');
SELECT memory.settle_usage('ann', 'm', 0), memory.release_usage('ann', 'b');
SELECT messages, content_bytes, reserved FROM slots('ann');
SELECT raises($$SELECT memory.reserve_usage('ann', NULL, 1)$$);
SELECT raises($$SELECT memory.reserve_usage('ann', '', 1)$$);
SELECT raises($$SELECT memory.reserve_usage('ann', 'x', NULL)$$);
SELECT raises($$SELECT memory.reserve_usage('ann', 'x', -1)$$);
SELECT raises($$SELECT memory.reserve_usage('ann', 'x', 1, keep_for => '0')$$);
SELECT raises($$SELECT memory.reserve_usage('ann', 'x', 1, keep_for => NULL)$$);
SELECT raises($$SELECT memory.settle_usage('ann', 'x', NULL)$$);
-- what nothing limits can be reserved
SELECT memory.change_plan('ann', 'none') < now() + '1 minute';
SELECT (memory.reserve_usage('ann', 'all', 1000000000000000)).reason;
SELECT raises($$SELECT memory.reserve_usage('ann', 'more', 1000000000000001)$$);
SELECT memory.release_usage('ann', 'all');
SELECT subscription_id FROM memory.usage_drift;
-- maintenance removes what has ended long ago, nothing else
UPDATE memory_store.reservations SET expires_at = now() - interval '1 year' WHERE reservation_id IN ('call 1', 'call 2');
SELECT memory_store.purge() >= 0;
SELECT reservation_id, state, settled FROM memory_store.reservations ORDER BY 1;

--
-- Accounts that share a subscription
--
INSERT INTO memory.plans (plan_id) VALUES ('shared');
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES
	('shared', 'messages', 'day', 5), ('shared', 'conversations', 'current', 3), ('shared', 'tokens', 'day', 100);
SELECT memory.append('tom', '00000000-0000-0000-0000-000000000021', 'user', 'tom''s own');
SELECT memory.subscribe('tom', 'large');
SELECT memory.subscribe('team', 'shared');
SELECT memory.set_subscription('tom', 'team'), memory.set_subscription('tia', 'team'), memory.set_subscription('new', 'team');
SELECT conversations, content_bytes FROM slots('tom');
SELECT conversations, content_bytes FROM slots('team');
SELECT memory.append('tom', '00000000-0000-0000-0000-000000000021', 'user', '1'), memory.append('tia', '00000000-0000-0000-0000-000000000022', 'user', '2');
-- a bulk statement on several accounts of one subscription
INSERT INTO memory.messages (account_id, conversation_id, role, content) VALUES
	('tom', '00000000-0000-0000-0000-000000000021', 'user', '3'), ('new', '00000000-0000-0000-0000-000000000023', 'user', '4');
SELECT messages, conversations, content_bytes FROM slots('team');
SELECT raises($$INSERT INTO memory.messages (account_id, conversation_id, role, content) VALUES
	('tia', '00000000-0000-0000-0000-000000000022', 'user', '5'), ('tom', '00000000-0000-0000-0000-000000000021', 'user', '6')$$);
SELECT raises($$INSERT INTO memory.conversations (account_id, conversation_id) VALUES ('tia', '00000000-0000-0000-0000-000000000024')$$);
SELECT messages, conversations, content_bytes FROM slots('team');
-- the same id of another account is another reservation
SELECT (memory.reserve_usage('tom', 'call', 60)).remaining, (memory.reserve_usage('tia', 'call', 30)).remaining;
SELECT raises($$SELECT memory.release_usage('new', 'call')$$);
SELECT memory.settle_usage('tia', 'call', 10);
SELECT tokens, reserved FROM slots('team');
-- away again, with what stands and what it has reserved, but not with what it has used
SELECT memory.set_subscription('tom', 'tom');
SELECT * FROM slots('team');
SELECT * FROM slots('tom');
SELECT memory.settle_usage('tom', 'call', 50);
SELECT tokens, reserved FROM slots('tom');
SELECT subscription_id FROM memory.usage_drift;
-- a subscription that has no plan yet may be shared, too
SELECT memory.set_subscription('new', 'later');
SELECT * FROM slots('team');
SELECT memory.append('new', '00000000-0000-0000-0000-000000000023', 'user', 'free');
SELECT memory.subscribe('later', 'shared');
SELECT * FROM slots('later');
SELECT memory.set_subscription('new', 'new');
SELECT * FROM slots('later');
SELECT subscription_id FROM memory.usage_drift;

--
-- The default plan
--
SELECT memory.append('old', '00000000-0000-0000-0000-000000000031', 'user', 'before');
INSERT INTO memory.plans (plan_id, is_default) VALUES ('start', true);
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('start', 'messages', 'lifetime', 2), ('start', 'conversations', 'current', 2);
SELECT raises($$INSERT INTO memory.plans (plan_id, is_default) VALUES ('second', true)$$);
SELECT q.allowed, q.used, q.limit_value, q.period FROM memory.check_quota('old', 'messages') q;
SELECT count(*) FROM memory_store.subscriptions WHERE subscription_id = 'old';
SELECT memory.append('old', '00000000-0000-0000-0000-000000000031', 'user', '1');
-- what stood there before is counted
SELECT messages, conversations, content_bytes FROM slots('old');
SELECT memory.append('old', '00000000-0000-0000-0000-000000000032', 'user', '2');
SELECT raises($$SELECT memory.append('old', '00000000-0000-0000-0000-000000000032', 'user', '3')$$);
SELECT subscription_id, plan_id, time_zone FROM memory.subscriptions WHERE subscription_id = 'old';
-- a name that nobody has is no subscription
SELECT raises($$SELECT memory.change_plan('odl', 'small')$$);
SELECT count(*) FROM memory_store.subscriptions WHERE subscription_id = 'odl';
-- another default is theirs at once, unless they were given one by name
UPDATE memory.plans SET is_default = false;
UPDATE memory.plans SET is_default = true WHERE plan_id = 'mixed';
SELECT memory.append('old', '00000000-0000-0000-0000-000000000032', 'user', '3');
SELECT subscription_id, plan_id FROM memory.subscriptions ORDER BY 1;
SELECT memory.change_plan('old', 'small') IS NOT NULL;
UPDATE memory.plans SET is_default = false;
-- without one, who has no plan is free again
SELECT memory.append('tim', '00000000-0000-0000-0000-000000000033', 'user', '1');
SELECT count(*) FROM memory_store.subscriptions WHERE subscription_id = 'tim';
SELECT subscription_id FROM memory.usage_drift;

--
-- Erasure
--
SELECT (memory.reserve_usage('tia', 'never settled', 40)).reserved;
SELECT memory.set_subscription('una', 'team');
SELECT memory.append('una', '00000000-0000-0000-0000-000000000041', 'user', 'of una');
SELECT * FROM slots('team');
SELECT memory.forget('tia') -> 'conversations' AS conversations;
SELECT * FROM slots('team');
SELECT account_id, reservation_id FROM memory_store.reservations WHERE account_id = 'tia';
-- its own subscription goes, unless another account uses it
SELECT memory.forget('old') -> 'conversations' AS conversations, memory.forget('nobody') -> 'conversations' AS nothing;
SELECT memory.set_subscription('eve', 'mia');
SELECT memory.forget('mia') -> 'conversations' AS conversations;
SELECT subscription_id FROM memory_store.subscriptions ORDER BY 1;
SELECT memory.forget('eve') -> 'conversations' AS conversations;
SELECT subscription_id FROM memory.usage_drift;
SELECT * FROM memory.verify();

--
-- Who may
--
-- a session that is confined to one account
UPDATE memory.plan_limits SET limit_value = 7 WHERE plan_id = 'shared' AND meter = 'messages';
SET memory_ext.account = 'una';
SELECT (memory.check_quota(NULL, 'messages')).reason;
SELECT raises($$SELECT memory.check_quota('ann', 'messages')$$);
SELECT raises($$SELECT memory.enforce_limit('ann', 'messages')$$);
SELECT raises($$SELECT memory.reserve_usage('ann', 'x', 1)$$);
SELECT raises($$SELECT memory.settle_usage('ann', 'x', 1)$$);
SELECT raises($$SELECT memory.release_usage('ann', 'x')$$);
SELECT raises($$SELECT memory.upgrade_required('ann')$$);
SELECT raises($$SELECT memory.change_plan('ann', 'none')$$);
SELECT raises($$SELECT memory.subscribe('ann', 'none')$$);
SELECT raises($$SELECT memory.set_subscription('ann', 'una')$$);
SELECT raises($$SELECT memory.set_subscription('una', 'ann')$$);
-- it sees the subscription of its account, which others share, and no other
SELECT subscription_id, plan_id FROM memory.subscriptions;
SELECT subscription_id, meter, used, limit_value FROM memory.quota_usage ORDER BY meter;
SELECT q.used, q.limit_value FROM memory.check_quota(NULL, 'messages') q;
SELECT raises($$SELECT memory_store.close_periods()$$);
-- what it writes counts there; NULL is its account
SELECT memory.append(NULL, '00000000-0000-0000-0000-000000000041', 'user', 'in the team');
INSERT INTO memory.messages (conversation_id, role, content) VALUES ('00000000-0000-0000-0000-000000000041', 'user', 'by the view');
SELECT (memory.reserve_usage(NULL, 'confined', 5)).reserved, memory.settle_usage(NULL, 'confined', 3), (memory.enforce_limit(NULL, 'tokens', 1)).used;
SELECT raises($$SELECT memory.enforce_limit(NULL, 'messages', 1000)$$);
SELECT subscription_id, meter, used, limit_value FROM memory.quota_usage ORDER BY meter;
RESET memory_ext.account;
-- a role of each level
CREATE ROLE quota_reader;
CREATE ROLE quota_writer;
CREATE ROLE quota_operator;
CREATE ROLE quota_nobody;
SELECT memory.grant_access('quota_reader', 'reader'), memory.grant_access('quota_writer', 'writer'), memory.grant_access('quota_operator', 'operator');
SELECT p.proname, string_agg(replace(r.rolname, 'quota_', ''), ' ' ORDER BY r.oid) FILTER (WHERE has_function_privilege(r.oid, p.oid, 'EXECUTE')) AS may
FROM pg_proc p, pg_roles r
WHERE r.rolname LIKE 'quota\_%' AND p.pronamespace = 'memory'::regnamespace
	AND p.proname ~ 'quota|usage|enforce|upgrade|change_plan|subscri|period_bounds|plans' GROUP BY 1 ORDER BY 1;
SELECT c.relname, string_agg(replace(r.rolname, 'quota_', '') || ' ' || v, ', ' ORDER BY r.oid, v) AS may
FROM pg_class c, pg_roles r, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) v
WHERE r.rolname LIKE 'quota\_%' AND c.oid IN ('memory.plans'::regclass, 'memory.plan_limits'::regclass, 'memory.subscriptions'::regclass, 'memory.quota_usage'::regclass)
	AND has_table_privilege(r.oid, c.oid, v) GROUP BY 1 ORDER BY 1;
GRANT USAGE ON SCHEMA quota_test TO PUBLIC;
SET ROLE quota_writer;
SELECT (memory.enforce_limit('ann', 'messages')).reason;
SELECT memory.append('ann', '00000000-0000-0000-0000-000000000042', 'user', 'by a writer');
RESET ROLE;
-- an operator edits plans, and is refused what subscriptions need, without rights on them
SET ROLE quota_operator;
INSERT INTO memory.plans (plan_id) VALUES ('passing');
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('passing', 'messages', 'day', 1);
DELETE FROM memory.plans WHERE plan_id = 'passing';
SELECT raises($$DELETE FROM memory.plans WHERE plan_id = 'shared'$$);
SELECT memory.subscribe('ops', 'shared');
RESET ROLE;
SELECT memory.revoke_access('quota_reader'), memory.revoke_access('quota_writer'), memory.revoke_access('quota_operator');
DROP ROLE quota_reader, quota_writer, quota_operator, quota_nobody;

-- plans that were read in a savepoint that was rolled back are not kept
BEGIN;
SAVEPOINT s;
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('none', 'messages', 'day', 0);
SELECT (memory.check_quota('ann', 'messages')).reason;
ROLLBACK TO s;
SELECT (memory.check_quota('ann', 'messages')).reason;
COMMIT;
SELECT (memory.check_quota('ann', 'messages')).reason;

-- nothing is left for the next test
SET client_min_messages = warning;
DELETE FROM memory.conversations;
TRUNCATE memory_store.subscriptions, memory_store.reservations;
DELETE FROM memory.plans;
DROP SCHEMA quota_test CASCADE;
