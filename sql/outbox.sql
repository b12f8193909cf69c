-- The outbox: events in the causing transaction, at least once, in order.
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'
CREATE FUNCTION outbox_emit(n integer, at timestamptz DEFAULT '2026-01-02 03:04:05.678901Z') RETURNS void LANGUAGE sql AS $$
	INSERT INTO memory_store.outbox (type, subscription_id, account_id, occurred_at, data)
	VALUES ('memory.test', 's' || n, 'a' || n, at + interval '1 s' * n, jsonb_build_object('n', n, 'share', 0.5))
$$;

-- Nothing is there; a consumer is made by its first read.
SELECT * FROM memory.outbox_read('billing');
SELECT * FROM memory.outbox_consumers;
SELECT memory.outbox_ack('billing', 0), memory.outbox_ack('billing', 1);

-- Read, read again, acknowledge
SELECT outbox_emit(n) FROM generate_series(1, 5) n;
BEGIN;
SELECT outbox_emit(6);
ROLLBACK;
SELECT position, type, subscription_id, account_id, occurred_at, data FROM memory.outbox_read('billing', 2);
SELECT position, data FROM memory.outbox_read('billing', 3);
SELECT consumer, position, waiting FROM memory.outbox_consumers;
SELECT memory.outbox_ack('billing', 2);
SELECT position, data FROM memory.outbox_read('billing');
SELECT memory.outbox_ack('billing', 5), memory.outbox_ack('billing', 1);
SELECT * FROM memory.outbox_read('billing');
SELECT position, data FROM memory.outbox_read('mail', 1);
-- what was caused earlier but is committed later comes later
SELECT outbox_emit(7, '2020-01-01Z');
SELECT position, data FROM memory.outbox_read('billing');
SELECT consumer, position, waiting FROM memory.outbox_consumers ORDER BY 1;

-- Errors
SELECT memory.outbox_ack('billing', 7);
SELECT memory.outbox_ack('billing', -1);
SELECT memory.outbox_ack('billing', NULL);
SELECT * FROM memory.outbox_read(NULL);
SELECT * FROM memory.outbox_read('');
SELECT * FROM memory.outbox_read(repeat('x', 256));
SELECT memory_store.trim_outbox(), memory_store.report_usage();
SET memory_ext.account = 'a1';
SELECT * FROM memory.outbox_read('billing');
-- also where the session had not been confined when it planned them
SELECT memory_store.trim_outbox();
SELECT memory_store.report_usage();
RESET memory_ext.account;
SELECT memory_store.report_usage(0);

-- Formats
UPDATE memory_store.outbox SET event_id = '01994a10-5c00-7000-8000-00000000000a' WHERE position = 6;
SELECT jsonb_pretty(memory.to_cloudevent(e)) FROM memory.outbox_read('billing') e;
SELECT memory.to_cloudevent(e, '/chat/eu') ->> 'source' FROM memory.outbox_read('billing') e;
SELECT jsonb_pretty(memory.to_stripe_meter_event(e, 'n', 'llm_tokens', 'cus_123')) FROM memory.outbox_read('billing') e;
SELECT memory.to_stripe_meter_event(e, 'share', 'x', 'cus_123') -> 'payload' AS whole,
	memory.to_stripe_meter_event(e, 'none', 'x', 'cus_123') AS none,
	length(memory.to_stripe_meter_event(e, repeat('n', 1000), repeat('x', 1000), 'cus_123') ->> 'identifier') AS length,
	length(memory.to_stripe_meter_event(e, 'n', repeat('x', 1000), 'cus_123') ->> 'identifier') <= 100 AS short,
	memory.to_stripe_meter_event(e, 'n', 'x', 'cus_123') ->> 'identifier' <> memory.to_stripe_meter_event(e, 'n', 'y', 'cus_123') ->> 'identifier' AS distinct
FROM memory.outbox_read('billing') e;

-- Retention: what all have acknowledged, once it is old enough
SELECT memory_store.trim_outbox();
SELECT memory.outbox_drop_consumer('mail'), memory.outbox_drop_consumer('mail');
SET memory_ext.outbox_retention = '1000d';
SELECT memory_store.trim_outbox();
RESET memory_ext.outbox_retention;
SELECT memory_store.trim_outbox();
SELECT position FROM memory_store.outbox;
SELECT position, data FROM memory.outbox_read('late');
SELECT memory.outbox_drop_consumer('late'), memory.outbox_drop_consumer('billing');
SELECT outbox_emit(8, clock_timestamp());
SELECT memory_store.trim_outbox();
SELECT count(*) FROM memory_store.outbox;
-- positions go on
SELECT position > 6 AS later, data -> 'n' AS n FROM memory.outbox_read('billing');

-- Usage events: off unless asked for, one for each account and closed day
SELECT count(memory.record_usage('u' || n, 'm' || n % 2, n, 10 * n, n, request_id => 'r')) FROM generate_series(1, 5) n;
SELECT memory.append('u1', '00000000-0000-0000-0000-0000000000a1', 'assistant', 'hello', model => 'm1', tokens => 7) > 0;
UPDATE memory_store.usage_calls SET day = day - 3;
UPDATE memory_store.tail SET created_at = created_at - interval '3 days';
SELECT memory_store.report_usage();
SET memory_ext.usage_events = on;
INSERT INTO memory_store.usage_reported VALUES (CURRENT_DATE - 3, '');
SELECT memory_store.report_usage(2), memory_store.report_usage(2), memory_store.report_usage(2), memory_store.report_usage(2) >= 0;
SELECT memory_store.report_usage(NULL) >= 0, memory_store.report_usage(NULL) >= 0, memory_store.report_usage();
SELECT subscription_id, account_id, occurred_at::date = CURRENT_DATE - 3 AS on_its_day, data - 'day'
FROM memory_store.outbox WHERE type = 'usage.day' ORDER BY account_id;
SELECT day >= CURRENT_DATE - 2 AS next_day FROM memory_store.usage_reported;
-- a request that is remembered no longer
UPDATE memory_store.usage_requests SET recorded_at = recorded_at - interval '8 days' WHERE account_id = 'u1';
SELECT memory_store.trim_outbox();
SELECT memory.record_usage('u1', 'm', 1, request_id => 'r'), memory.record_usage('u2', 'm', 1, request_id => 'r');
-- forgetting takes the events along
SELECT memory.forget('u1') IS NOT NULL;
SELECT count(*) FROM memory_store.outbox WHERE account_id = 'u1';
RESET memory_ext.usage_events;

-- Operators only
CREATE ROLE outbox_role;
SELECT memory.grant_access('outbox_role', 'writer');
SET ROLE outbox_role;
SELECT * FROM memory.outbox_read('billing');
RESET ROLE;
SELECT memory.grant_access('outbox_role', 'operator');
SET ROLE outbox_role;
SELECT count(memory.to_cloudevent(e)) FROM memory.outbox_read('billing') e;
SELECT consumer, waiting FROM memory.outbox_consumers;
RESET ROLE;
SELECT memory.revoke_access('outbox_role');
DROP ROLE outbox_role;

DROP FUNCTION outbox_emit;
TRUNCATE memory_store.accounts, memory_store.conversations, memory_store.tail, memory_store.usage_daily, memory_store.usage_calls,
	memory_store.usage_requests, memory_store.outbox, memory_store.outbox_consumers, memory_store.usage_reported;
