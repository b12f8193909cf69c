-- Metering: usage by day and model, exact at any moment: the views are compared
-- with sums over the raw messages, before and after sealing, deleting, editing
-- and importing.
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'

CREATE SCHEMA metering_test;
SET search_path = metering_test, public;
CREATE FUNCTION c(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;

-- Usage as the raw messages say it; the tests stay within what is not backdated.
CREATE VIEW raw AS
	SELECT account_id, (created_at AT TIME ZONE 'UTC')::date AS day, COALESCE(model, '') AS model,
		count(*) AS messages, COALESCE(sum(tokens) FILTER (WHERE role <> 'assistant'), 0) AS input_tokens,
		COALESCE(sum(tokens) FILTER (WHERE role = 'assistant'), 0) AS output_tokens,
		sum(octet_length(content)) AS content_bytes
	FROM memory.messages GROUP BY 1, 2, 3;
-- Must be empty as long as nothing is deleted, edited or imported.
CREATE VIEW difference AS
	SELECT account_id, day - CURRENT_DATE AS day, model, r.messages AS raw, u.messages, r.input_tokens AS raw_input,
		u.input_tokens, r.output_tokens AS raw_output, u.output_tokens, r.content_bytes AS raw_bytes, u.content_bytes
	FROM raw r FULL JOIN memory.usage_daily u USING (account_id, day, model)
	WHERE (r.messages, r.input_tokens, r.output_tokens, r.content_bytes)
		IS DISTINCT FROM (u.messages, u.input_tokens, u.output_tokens, u.content_bytes);
-- The sums of one account, whatever the day.
CREATE FUNCTION total(account text) RETURNS TABLE (messages numeric, input numeric, output numeric, bytes numeric,
	imported numeric, imported_tokens numeric, imported_bytes numeric) LANGUAGE sql AS $$
	SELECT sum(messages), sum(input_tokens), sum(output_tokens), sum(content_bytes),
		sum(imported_messages), sum(imported_tokens), sum(imported_bytes)
	FROM memory.usage_daily WHERE account_id = account
$$;

--
-- An append costs metering nothing: the tail is the ledger.
--
SELECT memory.append('a', c(1), 'system', 'be brief', tokens => 2),
	memory.append('a', c(1), 'user', 'question', tokens => 10),
	memory.append('a', c(1), 'assistant', 'answer', model => 'm1', tokens => 30),
	memory.append('a', c(1), 'tool', 'result', model => 'm2', tokens => 7);
SELECT count(*) FROM memory_store.usage_daily;
SELECT day = CURRENT_DATE AS today, model, messages, input_tokens, output_tokens, content_bytes
FROM memory.usage_daily WHERE account_id = 'a' ORDER BY model;
SELECT * FROM difference;

-- Sealing rolls up, and changes no number.
SELECT memory.seal('a');
SELECT model, messages, input_tokens, output_tokens, content_bytes FROM memory_store.usage_daily ORDER BY model;
SELECT * FROM difference;
SELECT memory.append('a', c(1), 'user', 'more', tokens => 5);
SELECT * FROM difference;
SELECT * FROM memory.usage_drift;

-- Inline sealing, bulk loads, several days, models and accounts; numbers that
-- come late; created_at just before, at and after midnight.
SET memory_ext.segment_messages = 4;
SELECT count(memory.append('b', c(2 + n % 2), CASE n % 3 WHEN 0 THEN 'assistant' ELSE 'user' END, repeat('x', n),
	model => CASE WHEN n % 3 = 0 THEN 'm' || n % 2 END, tokens => n))
FROM generate_series(1, 23) n;
SELECT * FROM difference;
INSERT INTO memory.messages (account_id, conversation_id, role, content, model, tokens, created_at)
SELECT 'c' || n % 3, c(100 + n % 3 * 10 + n % 7), 'assistant', repeat('y', n % 13), 'm' || n % 4, n, now() - interval '1 hour' * (n % 20)
FROM generate_series(1, 300) n;
SELECT * FROM difference;
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content, tokens, created_at) VALUES
	('d', c(20), 10, 'user', 'tenth', 1, CURRENT_DATE - interval '1 microsecond'),
	('d', c(20), 20, 'user', 'twentieth', 2, CURRENT_DATE),
	('d', c(20), 21, 'user', 'twenty-first', 3, CURRENT_DATE + interval '1 microsecond');
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content, tokens) VALUES
	('d', c(20), 15, 'user', 'between', 4), ('d', c(20), 5, 'user', 'before all', 5);
SELECT * FROM difference;
SELECT memory.append('d', c(20), '[{"role": "user", "content": "batch 1"}, {"role": "assistant", "content": "batch 2", "model": "m"}]');
SELECT * FROM difference;
SELECT memory.seal();
SELECT * FROM difference;
SET memory_ext.compact_after = 0;
SELECT segments > 0 AS compacted FROM memory_store.compact_batch('00000000-0000-0000-0000-000000000000', '');
SELECT * FROM difference;
SELECT * FROM memory.usage_drift;
SELECT * FROM memory.verify();
SELECT count(*) FROM memory_store.tail WHERE NOT counted;

-- A statement writes each of its rows once, however many conversations it touches.
CREATE FUNCTION writes() RETURNS bigint LANGUAGE sql AS $$
	SELECT n_tup_ins + n_tup_upd FROM pg_stat_xact_all_tables WHERE relid = 'memory_store.usage_daily'::regclass
$$;
BEGIN;
SELECT writes() AS before \gset
INSERT INTO memory.messages (account_id, conversation_id, role, content, tokens)
SELECT 'e', c(1000 + n), 'user', 'x', 1 FROM generate_series(1, 500) n;
SELECT writes() - :before AS writes;
DELETE FROM memory.conversations WHERE account_id = 'e';
SELECT writes() - :before AS writes;
COMMIT;
SELECT * FROM total('e');
SELECT * FROM memory.usage_drift;

-- A statement that fails counts nothing; neither does one that is rolled back.
SELECT * FROM total('d');
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content) VALUES ('d', c(20), NULL, 'user', 'x'), ('d', c(20), 20, 'user', 'x');
BEGIN;
SELECT memory.append('d', c(20), 'user', 'x') > 0, memory.seal('d');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT memory.append('d', c(20), 'user', 'x') > 0, memory.seal('d');
ROLLBACK TO s;
COMMIT;
SELECT * FROM total('d');
SELECT * FROM difference WHERE account_id <> 'e';

--
-- Usage outlives deletion.
--
CREATE TABLE before AS SELECT * FROM memory.usage_daily;
CREATE VIEW changed AS
	SELECT * FROM before EXCEPT SELECT * FROM memory.usage_daily
	UNION ALL (SELECT * FROM memory.usage_daily EXCEPT SELECT * FROM before);
SELECT memory.delete_message('a', c(1), 2) > 0, memory.delete_message('a', c(1), 5) > 0;
DELETE FROM memory.messages WHERE account_id = 'b' AND seq % 2 = 0;
SELECT memory.delete_conversation('d', c(20)) > 0;
DELETE FROM memory.conversations WHERE account_id LIKE 'c%';
SELECT * FROM changed;
SELECT * FROM memory.usage_drift;
SELECT memory.set_retention('a', '1 microsecond'), memory_store.expire_batch();
SELECT memory.set_retention('a', NULL);
SELECT * FROM changed;
SELECT * FROM memory.usage_drift;
SELECT account_id, added_messages, removed_messages, messages, content_bytes
FROM memory.storage_daily WHERE account_id IN ('a', 'e') ORDER BY account_id, day;

--
-- Edits: what an edit adds is used, what it takes away stays used.
--
SELECT memory.append('f', c(30), 'assistant', '', model => 'm', tokens => 0);
SELECT * FROM total('f');
-- an answer that is written as it comes
SELECT memory.edit_message('f', c(30), 1, content => 'The', tokens => 1) > 0,
	memory.edit_message('f', c(30), 1, content => 'The answer', tokens => 2) > 0;
SELECT * FROM total('f');
SELECT * FROM difference WHERE account_id = 'f';
SELECT count(*) FROM memory_store.usage_daily WHERE account_id = 'f';
-- a placeholder takes its model along
SELECT memory.append('f', c(30), 'assistant', '', tokens => 0) > 0,
	memory.edit_message('f', c(30), 2, content => '42', model => 'n', tokens => 5) > 0;
SELECT * FROM difference WHERE account_id = 'f';
-- redacted, in the tail and in a segment
SELECT memory.edit_message('f', c(30), 1, content => 'T', tokens => 1) > 0;
SELECT * FROM total('f');
SELECT memory.seal('f');
SELECT memory.edit_message('f', c(30), 2, content => '', tokens => 0) > 0;
SELECT * FROM total('f');
SELECT * FROM memory.usage_drift;
-- grown again in the segment; another role and model
SELECT memory.edit_message('f', c(30), 2, content => '4242', tokens => 9, role => 'user', model => 'o') > 0;
SELECT model, messages, input_tokens, output_tokens, content_bytes FROM memory.usage_daily WHERE account_id = 'f' ORDER BY 1;
-- what was counted at its old model is not counted at the new one
SELECT memory.append('f', c(30), 'assistant', 'abc', model => 'p', tokens => 3) > 0;
UPDATE memory.messages SET model = 'q', created_at = created_at - interval '3 days' WHERE account_id = 'f' AND seq = 3;
SELECT model, messages, input_tokens, output_tokens, content_bytes FROM memory.usage_daily
WHERE account_id = 'f' AND model IN ('p', 'q') ORDER BY 1;
SELECT memory.seal('f');
SELECT * FROM total('f');
SELECT * FROM memory.usage_drift;

--
-- Imports: storage, not usage.
--
INSERT INTO memory.messages (account_id, conversation_id, role, content, model, tokens, created_at)
SELECT 'g', c(40), 'user', 'old', 'm', 10, now() - interval '1 day' * n FROM generate_series(2, 11) n;
SELECT memory.append('g', c(41), 'assistant', 'older', tokens => 5, created_at => '2020-02-29 23:59:59.999999+00') > 0;
SELECT * FROM total('g');
SELECT day, model, messages, imported_messages, imported_tokens, imported_bytes FROM memory.usage_daily
WHERE account_id = 'g' AND day < '2021-01-01';
SELECT memory.seal('g');
SELECT * FROM total('g');
SELECT count(*) FROM memory.usage_current WHERE account_id = 'g' AND messages > 0;
SELECT * FROM memory.usage_drift;
-- times before the epoch
SELECT memory.append('g', c(41), 'user', 'x', tokens => 1, created_at => '1999-12-31 23:59:59+00') > 0;
SELECT day, imported_messages FROM memory.usage_daily WHERE account_id = 'g' AND day < '2001-01-01';
-- unless they are to count
SET memory_ext.count_backdated = on;
SELECT memory.append('h', c(50), 'user', 'old', tokens => 10, created_at => '2021-03-04 12:00+00') > 0;
RESET memory_ext.count_backdated;
SELECT memory.append('h', c(50), 'user', 'old', tokens => 10, created_at => '2021-03-05 12:00+00') > 0;
SELECT day, messages, input_tokens, imported_messages, imported_tokens FROM memory.usage_daily WHERE account_id = 'h' ORDER BY day;
SELECT memory.seal('h');
SELECT day, messages, input_tokens, imported_messages, imported_tokens FROM memory.usage_daily WHERE account_id = 'h' ORDER BY day;
SET memory_ext.backdated_after = '1h';
SELECT memory.append('h', c(51), 'user', 'x', tokens => 1, created_at => now() - interval '59 min') > 0,
	memory.append('h', c(51), 'user', 'x', tokens => 2, created_at => now() - interval '61 min') > 0;
RESET memory_ext.backdated_after;
SELECT * FROM total('h');
-- nobody puts usage off to the future
SELECT memory.append('i', c(60), 'user', 'later', tokens => 4, created_at => '2150-01-01') > 0;
SELECT day = CURRENT_DATE AS today, messages, input_tokens FROM memory.usage_daily WHERE account_id = 'i';
SELECT memory.seal('i');
SELECT day = CURRENT_DATE AS today, messages, input_tokens FROM memory.usage_daily WHERE account_id = 'i';
SELECT * FROM memory.usage_drift;

--
-- Calls that store no message
--
SELECT memory.record_usage('j', 'm1', 100, 900, 50, cache_creation_tokens => 7, request_id => 'r1'),
	memory.record_usage('j', 'm1', 100, 900, 50, cache_creation_tokens => 7, request_id => 'r1'),
	memory.record_usage('j', 'm1', 1), memory.record_usage('j', NULL, NULL, NULL, 2);
SELECT memory.append('j', c(70), 'user', 'x', model => 'm1', tokens => 1000) > 0;
SELECT model, messages, requests, input_tokens, cached_input_tokens, cache_creation_tokens, output_tokens
FROM memory.usage_daily WHERE account_id = 'j' ORDER BY model;
SELECT memory_store.roll_up_usage(), memory_store.roll_up_usage();
SELECT model, messages, requests, input_tokens, cached_input_tokens, cache_creation_tokens, output_tokens
FROM memory.usage_daily WHERE account_id = 'j' ORDER BY model;
SELECT memory.record_usage('j', 'm1', 100, request_id => 'r1'), memory.record_usage('j', 'm1', 10, request_id => 'r2'),
	memory.record_usage('k', 'm1', 100, request_id => 'r1');
SELECT memory_store.roll_up_usage(1), memory_store.roll_up_usage(1), memory_store.roll_up_usage(1);
SELECT account_id, sum(requests) AS requests, sum(input_tokens) AS input FROM memory.usage_daily
WHERE account_id IN ('j', 'k') GROUP BY 1 ORDER BY 1;
-- a call that is told late counts today: closed days stay as they are
SELECT memory.record_usage('l', 'm', 1, occurred_at => now() - interval '1 year'),
	memory.record_usage('l', 'm', 2, occurred_at => now() + interval '1 year');
SELECT day = CURRENT_DATE AS today, requests, input_tokens FROM memory.usage_daily WHERE account_id = 'l';
SELECT memory.record_usage('l', 'm', -1);
SELECT memory.record_usage('l', 'm', 1, output_tokens => -5);
SELECT memory.record_usage(NULL, 'm', 1);
SELECT memory.record_usage('l', repeat('m', 256), 1);
SELECT memory.record_usage('l', 'm', 1, request_id => repeat('r', 256));
SELECT memory.record_usage('l', 'm', 1, occurred_at => 'infinity');
SELECT * FROM memory.usage_drift;

--
-- The other views
--
SELECT month = date_trunc('month', now())::date AS this_month, messages, requests, input_tokens, cached_input_tokens, cache_creation_tokens, output_tokens, tokens
FROM memory.usage_current WHERE account_id = 'j';
SELECT month = date_trunc('month', now())::date AS this_month, model, messages, requests, input_tokens, output_tokens
FROM memory.usage_by_model WHERE account_id = 'j' ORDER BY model;

-- A confined session sees its own, and nothing of the others.
SET memory_ext.account = 'j';
SELECT DISTINCT account_id FROM memory.usage_daily;
SELECT DISTINCT account_id FROM memory.usage_by_model;
SELECT DISTINCT account_id FROM memory.storage_daily;
SELECT memory.record_usage(NULL, 'm1', 1), (SELECT sum(requests) FROM memory.usage_current);
SELECT memory.record_usage('k', 'm1', 1);
RESET memory_ext.account;
SELECT memory_store.roll_up_usage(-1);

--
-- Forgetting erases usage, unless it is to be kept.
--
SELECT memory.append('j', c(71), 'user', 'x', tokens => 3) > 0;
SELECT memory.forget('j') ->> 'messages';
SELECT (SELECT count(*) FROM memory.usage_daily WHERE account_id = 'j') AS usage,
	(SELECT count(*) FROM memory_store.usage_calls WHERE account_id = 'j') AS calls,
	(SELECT count(*) FROM memory_store.usage_requests WHERE account_id = 'j') AS requests;
SET memory_ext.keep_usage_of_forgotten = on;
SELECT memory.append('f', c(30), 'user', 'in the tail', model => 'm', tokens => 3) > 0;
TRUNCATE before;
INSERT INTO before SELECT * FROM memory.usage_daily;
SELECT memory.forget('f') ->> 'messages';
RESET memory_ext.keep_usage_of_forgotten;
SELECT * FROM changed;
SELECT * FROM memory.usage_drift;

-- usage_drift notices
UPDATE memory_store.usage_daily SET messages = messages + 1 WHERE account_id = 'k';
SELECT * FROM memory.usage_drift;
UPDATE memory_store.usage_daily SET messages = messages - 1 WHERE account_id = 'k';

-- Settings that change a bill are not everybody's.
CREATE ROLE metering_writer;
SELECT memory.grant_access('metering_writer', 'writer');
SET ROLE metering_writer;
SET memory_ext.count_backdated = on;
SET memory_ext.backdated_after = '10 years';
SELECT memory.record_usage('k', 'm', 1), (SELECT sum(requests) FROM memory.usage_daily WHERE account_id = 'k');
SELECT count(*) FROM memory_store.usage_daily;
CALL memory.maintain(phase => 'roll up calls');
SELECT * FROM memory.usage_drift;
RESET ROLE;
SELECT memory.revoke_access('metering_writer');
DROP ROLE metering_writer;

RESET memory_ext.segment_messages;
RESET memory_ext.compact_after;
DROP SCHEMA metering_test CASCADE;
DELETE FROM memory.conversations;
TRUNCATE memory_store.accounts, memory_store.conversations, memory_store.tombstones, memory_store.usage_daily,
	memory_store.usage_calls, memory_store.usage_requests;
