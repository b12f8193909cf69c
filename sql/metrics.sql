-- memory.metrics: what Prometheus is told.
SET TIME ZONE 'UTC';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
-- jobs of other tests
TRUNCATE memory_store.jobs, memory_store.job_parts, memory_store.job_errors, memory_store.job_places;
CREATE SCHEMA metrics_test;
SET search_path = metrics_test, public;
-- sizes and sequences are this server's: only what differs from the beginning is shown
CREATE TEMP TABLE refused AS SELECT value FROM memory.metrics WHERE name = 'memory_ext_quota_refused_total';
CREATE VIEW shown AS
	SELECT name, labels, CASE name WHEN 'memory_ext_quota_refused_total' THEN value - (SELECT value FROM refused) ELSE value END
	FROM memory.metrics
	WHERE name NOT IN ('memory_ext_stored_bytes', 'memory_ext_maintenance_failures', 'memory_ext_oldest_unsealed_seconds', 'memory_ext_outbox_lag_seconds')
		AND labels <> '{"phase": "roll up calls"}'
	ORDER BY name COLLATE "C", labels;

-- an empty store
SELECT * FROM shown;
SELECT count(*) FROM memory.metrics WHERE name ~ '_seconds$' AND value <> 0;
-- each series once, each value a number
SELECT count(*) = count(DISTINCT (name, labels)) AS once, bool_and(value >= 0) AS numbers, bool_and(name ~ '^memory_ext_[a-z_]+$') AS named
FROM memory.metrics;
-- each relation of the store, each phase of maintenance
SELECT count(*) AS missing FROM pg_class c WHERE c.relnamespace = 'memory_store'::regnamespace AND c.relkind = 'r'
	AND NOT EXISTS (SELECT FROM memory.metrics m WHERE m.name = 'memory_ext_stored_bytes' AND m.labels = jsonb_build_object('relation', c.relname)
		AND m.value = pg_total_relation_size(c.oid));
SELECT count(*) AS missing FROM memory.maintenance p
	WHERE NOT EXISTS (SELECT FROM memory.metrics m WHERE m.name = 'memory_ext_maintenance_failures' AND m.labels = jsonb_build_object('phase', p.phase)
		AND m.value = p.failures);

-- two conversations with a tail, one sealed, one deleted
SELECT memory.append('ann', lpad(c::text, 32, '0')::uuid, 'user', repeat('x', 100)) FROM generate_series(1, 4) c, generate_series(1, c);
SELECT memory.seal('ann', lpad('3', 32, '0')::uuid);
SELECT memory.delete_conversation('ann', lpad('4', 32, '0')::uuid);
SELECT * FROM shown WHERE value <> 0;
SELECT conversations, messages, tail_messages, raw_bytes FROM memory.storage;
-- how long the oldest has waited
UPDATE memory_store.conversations SET updated_at = now() - interval '1 hour' WHERE conversation_id = lpad('2', 32, '0')::uuid;
UPDATE memory_store.conversations SET updated_at = now() - interval '2 hours' WHERE conversation_id = lpad('3', 32, '0')::uuid;
BEGIN;
SELECT value FROM memory.metrics WHERE name = 'memory_ext_oldest_unsealed_seconds' AND value BETWEEN 3600 AND 3660 IS NOT TRUE;
ROLLBACK;

-- a refusal is counted although it rolls back
INSERT INTO memory.plans (plan_id) VALUES ('metrics');
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('metrics', 'messages', 'day', 1);
SELECT memory.subscribe('bob', 'metrics');
SELECT memory.append('bob', lpad('5', 32, '0')::uuid, 'user', 'one');
\set VERBOSITY sqlstate
SELECT memory.append('bob', lpad('5', 32, '0')::uuid, 'user', 'two');
BEGIN;
SAVEPOINT s;
SELECT memory.append('bob', lpad('5', 32, '0')::uuid, 'user', 'two');
ROLLBACK TO s;
ROLLBACK;
\set VERBOSITY default
SELECT * FROM shown WHERE name = 'memory_ext_quota_refused_total';

-- jobs
INSERT INTO memory_store.jobs (job_id, kind, source, format, options, state, started_by, created_at)
	SELECT 900000 + n, 'import', 'copy', 'jsonl', '{}', CASE WHEN n < 3 THEN 'failed' ELSE 'finished' END, current_user::regrole, now() FROM generate_series(1, 5) n;
SELECT * FROM shown WHERE name = 'memory_ext_transfer_jobs';
DELETE FROM memory_store.jobs WHERE job_id > 900000;

-- the outbox: what was never read waits, too
TRUNCATE memory_store.outbox, memory_store.outbox_consumers;
INSERT INTO memory_store.outbox (type, occurred_at, data) SELECT 'memory.test', now() - interval '1 s' * (1000 - n), '{}' FROM generate_series(1, 5) n;
SELECT count(*) FROM memory.outbox_read('billing', 2);
SELECT count(*) FROM memory.outbox_read('mail', 2);
SELECT memory.outbox_ack('billing', 2), memory.outbox_ack('mail', 5);
SELECT name, labels, CASE WHEN name ~ 'lag' THEN (value > 900)::integer ELSE value END AS value FROM memory.metrics WHERE name ~ 'outbox' ORDER BY 1, 2;
INSERT INTO memory_store.outbox (type, occurred_at, data) VALUES ('memory.test', now() - interval '500 s', '{}');
SELECT name, labels, CASE WHEN name ~ 'lag' THEN (value > 400)::integer + (value > 900)::integer ELSE value END AS value
FROM memory.metrics WHERE name ~ 'outbox' ORDER BY 1, 2;
SELECT m.value = c.waiting AS same FROM memory.outbox_consumers c
	JOIN memory.metrics m ON m.name = 'memory_ext_outbox_waiting_events' AND m.labels = jsonb_build_object('consumer', c.consumer);

-- who may read it, and what a confined session sees
CREATE ROLE metrics_monitor;
CREATE ROLE metrics_operator;
CREATE ROLE metrics_reader;
SELECT memory.grant_access('metrics_monitor', 'monitor'), memory.grant_access('metrics_operator', 'operator'), memory.grant_access('metrics_reader', 'reader');
SET ROLE metrics_monitor;
SELECT value FROM memory.metrics WHERE name = 'memory_ext_conversations';
SET ROLE metrics_operator;
SELECT value FROM memory.metrics WHERE name = 'memory_ext_conversations';
SET ROLE metrics_reader;
SELECT value FROM memory.metrics WHERE name = 'memory_ext_conversations';
RESET ROLE;
SET memory_ext.account = 'ann';
SELECT count(*) FROM memory.metrics;
RESET memory_ext.account;

-- In a large store neither all conversations nor all segments are read: a sample of 2,000 pages.
INSERT INTO memory_store.conversations (conversation_id, next_seq, head_seq, message_count, token_count, content_bytes, tail_bytes, created_at, updated_at,
		revision, revision_bucket, tail_count, branched, archived, account_id, metadata)
	SELECT md5(n::text)::uuid, 3, 2, 2, 10, 100, 0, now(), now(), 1, 0, 0, false, false, 'large' || n % 100, jsonb_build_object('t', repeat('x', 1500))
	FROM generate_series(1, 16000) n;
SELECT pg_stat_force_next_flush();
ANALYZE memory_store.conversations;
CREATE FUNCTION pages_read(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT json) ' || statement INTO plan;
	RETURN (plan->0->'Plan'->>'Shared Hit Blocks')::bigint + (plan->0->'Plan'->>'Shared Read Blocks')::bigint;
END $$;
SELECT pg_relation_size('memory_store.conversations') / 8192 > 3000 AS large,
	pages_read('SELECT * FROM memory.metrics') < 2800 AS sampled;
SELECT name, abs(value / CASE name WHEN 'memory_ext_conversations' THEN 16000 WHEN 'memory_ext_messages' THEN 32000 ELSE 1600000 END - 1) < 0.05 AS near
FROM memory.metrics WHERE name IN ('memory_ext_conversations', 'memory_ext_messages', 'memory_ext_content_bytes') ORDER BY 1;

\i :empty
DELETE FROM memory.plans WHERE plan_id = 'metrics';
SELECT memory.revoke_access('metrics_monitor'), memory.revoke_access('metrics_operator'), memory.revoke_access('metrics_reader');
DROP ROLE metrics_monitor, metrics_operator, metrics_reader;
SET client_min_messages = warning;
DROP SCHEMA metrics_test CASCADE;
