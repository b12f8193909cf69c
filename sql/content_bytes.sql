-- What is stored counts as content_bytes, by every way in: content, metadata and titles.
SET TIME ZONE 'UTC';
DELETE FROM memory.conversations;
TRUNCATE memory_store.accounts, memory_store.conversations, memory_store.segments, memory_store.tail, memory_store.tombstones,
	memory_store.usage_daily, memory_store.usage_calls, memory_store.subscriptions, memory_store.reservations;
DELETE FROM memory.plans;
\pset null '(null)'
\set c1 '00000000-0000-0000-0000-000000000001'
\set c2 '00000000-0000-0000-0000-000000000002'
CREATE SCHEMA bytes_test;
SET search_path = bytes_test, public;

CREATE FUNCTION raises(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
-- The bytes that can be read, and what the counters say; no row: all agree.
CREATE VIEW faults AS
	WITH readable AS (
		SELECT account_id, conversation_id, COALESCE(octet_length(title), 0) + COALESCE(octet_length(metadata::text), 0)
			+ COALESCE((SELECT sum(octet_length(m.content) + COALESCE(octet_length(m.metadata::text), 0))
				FROM memory.messages m WHERE (m.account_id, m.conversation_id) = (c.account_id, c.conversation_id)), 0) AS bytes, content_bytes
		FROM memory.conversations c
	)
	SELECT 'conversation' AS fault, account_id, bytes, content_bytes FROM readable WHERE bytes <> content_bytes
	UNION ALL
	SELECT 'subscription', subscription_id, r.bytes, s.content_bytes FROM memory_store.subscriptions s
		LEFT JOIN (SELECT account_id AS subscription_id, sum(bytes) AS bytes FROM readable GROUP BY 1) r USING (subscription_id)
		WHERE s.content_bytes <> COALESCE(r.bytes, 0)
	UNION ALL
	SELECT 'verify: ' || problem, account_id, NULL, NULL FROM memory.verify()
	UNION ALL
	SELECT 'drift: ' || meter, COALESCE(account_id, subscription_id), stored, metered FROM memory.usage_drift;

--
-- The attack: nothing was counted but contents
--
INSERT INTO memory.plans (plan_id, is_default) VALUES ('small', true);
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES
	('small', 'content_bytes', 'current', 1000), ('small', 'tokens', 'month', 1000);
CREATE FUNCTION blob(bytes integer) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('note', repeat('x', bytes)) $$;
CREATE TABLE ways (way integer GENERATED ALWAYS AS IDENTITY, statement text);
INSERT INTO ways (statement) VALUES
	($$SELECT memory.append('mallory', '00000000-0000-0000-0000-000000000001', 'user', '', tokens => 0, metadata => blob(%1$s))$$),
	($$SELECT memory.append('mallory', '00000000-0000-0000-0000-000000000001', jsonb_build_array(jsonb_build_object('role', 'user', 'content', '', 'metadata', blob(%1$s))))$$),
	($$SELECT memory.edit_message('mallory', '00000000-0000-0000-0000-000000000001', 1, metadata => blob(%1$s))$$),
	($$SELECT memory.create_conversation('mallory', metadata => blob(%1$s))$$),
	($$SELECT memory.update_conversation('mallory', '00000000-0000-0000-0000-000000000001', metadata => blob(%1$s))$$),
	($$SELECT memory.update_conversation('mallory', '00000000-0000-0000-0000-000000000001', title => repeat('x', %1$s))$$),
	($$SELECT memory.upsert_conversation('mallory', '00000000-0000-0000-0000-000000000001', metadata => blob(%1$s))$$),
	($$SELECT memory.upsert_conversation('mallory', '00000000-0000-0000-0000-000000000009', repeat('x', %1$s))$$),
	($$INSERT INTO memory.messages (account_id, conversation_id, role, content, metadata) VALUES ('mallory', '00000000-0000-0000-0000-000000000001', 'user', '', blob(%1$s))$$),
	($$UPDATE memory.messages SET metadata = blob(%1$s) WHERE account_id = 'mallory'$$),
	($$INSERT INTO memory.conversations (account_id, metadata) VALUES ('mallory', blob(%1$s))$$),
	($$INSERT INTO memory.conversations (account_id, title) VALUES ('mallory', repeat('x', %1$s)), ('mallory', 'second')$$),
	($$UPDATE memory.conversations SET metadata = blob(%1$s) WHERE account_id = 'mallory'$$),
	($$UPDATE memory.conversations SET title = repeat('x', %1$s) WHERE account_id = 'mallory'$$),
	($$SELECT memory.import_document('mallory', jsonb_build_object('title', repeat('x', %1$s), 'messages', '[{"role": "user", "content": ""}]'::jsonb)::text, 'native')$$),
	($$SELECT memory.import_document('mallory', jsonb_build_object('messages', jsonb_build_array(jsonb_build_object('role', 'user', 'content', '', 'metadata', blob(%1$s))))::text, 'native')$$);
SELECT memory.append('mallory', :'c1', 'user', 'hello');
-- a title has at most 1024 bytes
SELECT way, raises(format(statement, 1010)) FROM ways ORDER BY 1;
SELECT * FROM faults;
SELECT used, limit_value FROM memory.quota_usage WHERE subscription_id = 'mallory' AND meter = 'content_bytes';
-- each of them within the limit, and counted
SELECT way, raises(format(statement, 20)) FROM ways ORDER BY 1;
SELECT * FROM faults;
COPY memory.messages (account_id, conversation_id, role, content, metadata) FROM stdin;
mallory	00000000-0000-0000-0000-000000000001	user	copied	{"note": "copied, too"}
\.
COPY memory.conversations (account_id, title) FROM stdin;
mallory	copied
\.
SELECT memory.push('mallory', 'conversations', jsonb_build_array(jsonb_build_object('newDocumentState',
	jsonb_build_object('id', :'c2', 'title', 'pushed', 'metadata', blob(20))))) #>> '{stored,0,title}' AS stored;
SELECT memory.push('mallory', 'conversations', jsonb_build_array(jsonb_build_object('newDocumentState',
	jsonb_build_object('id', :'c2', 'title', 'pushed again', 'metadata', blob(10)),
	'assumedMasterState', jsonb_build_object('id', :'c2', 'title', 'pushed', 'metadata', blob(20))))) #>> '{stored,0,title}' AS stored;
SELECT title, content_bytes FROM memory.conversations WHERE conversation_id = :'c2';
SELECT memory.push('mallory', 'conversations', jsonb_build_array(jsonb_build_object('newDocumentState',
	jsonb_build_object('id', '00000000-0000-0000-0000-000000000003', 'metadata', blob(1010))))) #>> '{refusals,0,message}' AS refused;
SELECT * FROM faults;
-- the counters go down again
SELECT memory.edit_message('mallory', :'c1', 1, metadata => '{}') > 0 AS edited;
UPDATE memory.conversations SET title = NULL, metadata = NULL WHERE conversation_id = :'c1';
SELECT content_bytes < 200 AS fewer FROM memory.conversations WHERE conversation_id = :'c1';
SELECT memory.delete_message('mallory', :'c1', 2) > 0 AS deleted;
SELECT * FROM faults;
SELECT memory.seal() > 0 AS sealed;
SELECT memory.edit_message('mallory', :'c1', 1, metadata => '{"sealed": true}') > 0 AS edited;
SELECT * FROM faults;
DELETE FROM memory.conversations WHERE account_id = 'mallory';
SELECT * FROM faults;
SELECT used FROM memory.quota_usage WHERE subscription_id = 'mallory' AND meter = 'content_bytes';

-- imports, of today and of long ago, prepared as segments and not
DELETE FROM memory.plans;
SELECT (memory.import_document('mallory', jsonb_build_object('title', 'a title', 'metadata', blob(5), 'created_at', day, 'messages',
	(SELECT jsonb_agg(jsonb_build_object('role', 'user', 'content', 'x' || n, 'metadata', blob(n), 'created_at', day)) FROM generate_series(1, messages) n))::text, 'native')).state
FROM (VALUES ('2020-01-01T00:00:00Z', 3), ('2020-01-01T00:00:00Z', 400), (NULL, 3), (NULL, 400)) v (day, messages);
SELECT count(*), sum(content_bytes) > 160000 AS counted FROM memory.conversations WHERE account_id = 'mallory';
SELECT * FROM faults;
SELECT day < CURRENT_DATE AS before, messages = 0 AS imported, sum(content_bytes) AS content_bytes, sum(imported_bytes) AS imported_bytes
FROM memory.usage_daily WHERE account_id = 'mallory' AND imported_messages > 0 GROUP BY 1, 2;
SELECT (memory.forget('mallory') ->> 'content_bytes')::bigint > 160000 AS forgotten;
SELECT * FROM faults;

--
-- RETURNING shows what will be stored
--
INSERT INTO memory.conversations (account_id, conversation_id, title, metadata) VALUES ('ann', :'c1', 'four', '{"a": 1}')
	RETURNING content_bytes;
UPDATE memory.conversations SET title = 'fours', metadata = NULL WHERE conversation_id = :'c1' RETURNING content_bytes;
SELECT content_bytes FROM memory.conversations WHERE conversation_id = :'c1';

--
-- Tokens: what is sent to a model counts, and no more when it is gone
--
DELETE FROM memory.plans;
\set calls '{"tool_calls": [{"id": "c", "name": "f", "arguments": "{\\"city\\": \\"Rome\\"}"}]}'
SELECT memory.append('ann', :'c1', 'assistant', 'one'), memory.append('ann', :'c1', 'assistant', 'two', tokens => 7);
UPDATE memory.messages SET metadata = :'calls' WHERE account_id = 'ann';
SELECT seq, tokens FROM memory.messages WHERE account_id = 'ann' ORDER BY 1;
UPDATE memory.messages SET metadata = NULL WHERE account_id = 'ann';
SELECT seq, tokens FROM memory.messages WHERE account_id = 'ann' ORDER BY 1;
SELECT * FROM faults;
DELETE FROM memory.conversations;
SET client_min_messages = warning;
DROP SCHEMA bytes_test CASCADE;
