-- Exporting documents, and taking them in again.
INSERT INTO memory.conversations (conversation_id, account_id, title, metadata, archived, head_seq, created_at, updated_at) VALUES
	('00000000-0000-0000-0000-0000000000e1', 'exp', E'quotes " and \\ and \t', '{"k": ["ü", 1.50, null], "import": {"format": "other", "source_id": "x"}}', true, 2, '2024-01-01 00:00+00', '2024-01-05 00:00+00'),
	('00000000-0000-0000-0000-0000000000e2', 'exp', NULL, NULL, false, NULL, '2024-01-02 00:00+00', '2024-01-02 00:00+00'),
	('00000000-0000-0000-0000-0000000000e3', 'exp two', '', '{}', false, NULL, '2024-01-03 00:00+00', '2024-01-03 00:00+00');
INSERT INTO memory.messages (conversation_id, account_id, seq, parent_seq, role, content, model, tokens, created_at, message_id, metadata) VALUES
	('00000000-0000-0000-0000-0000000000e1', 'exp', 1, 0, 'user', E'line\nand \r\n and \x01\x1f\x7f \\u0041 "', 'm', 3, '2024-01-01 10:00:00.000001+00', 'id 1', '{"a": {"b": [1, 2.0]}}'),
	('00000000-0000-0000-0000-0000000000e1', 'exp', 2, 1, 'assistant', '', NULL, 0, '2024-01-01 10:00+00', NULL, NULL),
	('00000000-0000-0000-0000-0000000000e1', 'exp', 5, 1, 'assistant', U&'\+01F600 \4F60\597D', NULL, 2147483647, '0044-03-15 10:00+00 BC', NULL, '{}'),
	('00000000-0000-0000-0000-0000000000e1', 'exp', 6, 0, 'x', 'root', NULL, 1, '12000-01-01 10:00+00', NULL, NULL),
	('00000000-0000-0000-0000-0000000000e3', 'exp two', 1, 0, 'user', 'short', NULL, 1, '2024-01-03 10:00+00', NULL, NULL);
INSERT INTO memory.messages (conversation_id, account_id, role, content, created_at)
SELECT '00000000-0000-0000-0000-0000000000e4', 'exp two', 'user', 'message ' || n, '2024-01-04 00:00+00' FROM generate_series(1, 150) n;

\pset format unaligned
\pset tuples_only on
SELECT memory.export('native', 'exp');
\pset format aligned
\pset tuples_only off
SELECT length(e), e::jsonb -> 'messages' -> 149 FROM memory.export(account_id => 'exp two', since => '2024-01-04 00:00+00') e;
SELECT e::jsonb ->> 'conversation_id' FROM memory.export(conversation_id => '00000000-0000-0000-0000-0000000000e2') e;
SELECT count(*) FROM memory.export(account_id => 'nobody');
SELECT count(*) FROM memory.export('native', 'exp', '00000000-0000-0000-0000-0000000000e3');
SELECT count(*) FROM memory.export(NULL);
\set VERBOSITY terse
SELECT count(*) FROM memory.export('word');
\set VERBOSITY default

SET client_min_messages = warning;
-- what was exported is there; what was taken away comes back as it was
CREATE TEMP TABLE before AS SELECT memory.export() AS document;
CREATE TEMP TABLE rows_before AS SELECT * FROM memory.messages WHERE account_id LIKE 'exp%';
CREATE TEMP TABLE conversations_before AS SELECT * FROM memory.conversations WHERE account_id LIKE 'exp%';
INSERT INTO memory.import_documents SELECT document FROM before WHERE document LIKE '%"account_id":"exp%';
SELECT account_id, (memory.forget(account_id) ->> 'messages')::int AS messages FROM (VALUES ('exp'), ('exp two')) a (account_id);
INSERT INTO memory.import_documents SELECT document FROM before WHERE document LIKE '%"account_id":"exp%';
(TABLE rows_before EXCEPT SELECT * FROM memory.messages) UNION ALL (SELECT * FROM memory.messages WHERE account_id LIKE 'exp%' EXCEPT TABLE rows_before);
(TABLE conversations_before EXCEPT SELECT * FROM memory.conversations) UNION ALL (SELECT * FROM memory.conversations WHERE account_id LIKE 'exp%' EXCEPT TABLE conversations_before);
SELECT document FROM before WHERE document LIKE '%"account_id":"exp%' EXCEPT SELECT memory.export();

-- text and jsonb of the native format say the same
SELECT count(*) FROM before WHERE memory.convert(document::jsonb, 'native', 'native') IS DISTINCT FROM document::jsonb;

-- a format that is written as text says the same as through jsonb
SET memory_ext.import_account = 'exp openai';
INSERT INTO memory.import_documents VALUES
	('{"id": "o1", "tools": [{"a": 1}], "~note": "x", "messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}], "name": "n"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c", "content": "r \u0007\b\f\n\r\t\\ \" \u007f 1234567\n12345678\"1234567812345678"}]}'),
	('{"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "é你好😀 \u0001\u001f"}]}'),
	('{"id": "o3", "metadata": {"messages": 1}, "messages": [{"role": "user", "content": "one", "weight": 0}, {"role": "assistant", "content": "two"}]}');
RESET memory_ext.import_account;
INSERT INTO memory.conversations (conversation_id, account_id, metadata) VALUES
	('00000000-0000-0000-0000-0000000000f1', 'exp openai', '{"openai": {"messages": "not these", "store": true, "~~k": 1, "~k": 2}}'),
	('00000000-0000-0000-0000-0000000000f2', 'exp openai', '{"openai": {"~array": true, "store": true}}');
INSERT INTO memory.messages (conversation_id, account_id, seq, parent_seq, role, content) VALUES
	('00000000-0000-0000-0000-0000000000f1', 'exp openai', 1, 0, 'user', 'root'),
	('00000000-0000-0000-0000-0000000000f1', 'exp openai', 2, 1, 'assistant', 'one branch'),
	('00000000-0000-0000-0000-0000000000f1', 'exp openai', 3, 1, 'somebody', 'the other'),
	('00000000-0000-0000-0000-0000000000f2', 'exp openai', 1, 0, 'user', 'an array');
SELECT memory.export('openai', 'exp openai', '00000000-0000-0000-0000-0000000000f1');
SELECT account_id, count(*), count(*) FILTER (WHERE o = memory.convert(n, 'native', 'openai')) AS same
FROM (SELECT c.account_id, memory.export('openai', c.account_id, c.conversation_id)::jsonb AS o,
	memory.export('native', c.account_id, c.conversation_id)::jsonb AS n
	FROM memory.conversations c WHERE c.account_id LIKE 'exp%') d
GROUP BY 1 ORDER BY 1;
SELECT e FROM memory.export('openai', 'exp openai') e WHERE e LIKE '%"id": "o3"%';

-- more conversations than are fetched at once: of several segments, with tails, deleted
SET memory_ext.segment_messages = 3;
INSERT INTO memory.messages (conversation_id, account_id, role, content)
SELECT md5((n / 7)::text)::uuid, 'exp many ' || n / 7 % 3, 'user', 'message ' || n FROM generate_series(7, 7 * 130 - 1) n WHERE n % 7 <= n / 7 % 8;
RESET memory_ext.segment_messages;
DO $$ BEGIN PERFORM memory.append('exp many ' || n % 3, md5(n::text)::uuid, 'user', 'tail ' || n) FROM generate_series(1, 129, 4) n; END $$;
DELETE FROM memory.conversations WHERE account_id LIKE 'exp many%' AND conversation_id IN (SELECT md5(n::text)::uuid FROM generate_series(1, 129, 5) n);
SELECT count(*), count(*) FILTER (WHERE c.tail_count > 0) AS with_tail, max(s.n) AS most_segments
FROM memory_store.conversations c CROSS JOIN LATERAL (SELECT count(*) AS n FROM memory_store.segments s WHERE s.conversation_id = c.conversation_id) s
WHERE c.account_id LIKE 'exp many%' AND c.deleted_at IS NULL;
CREATE TEMP TABLE exported (scope text, n bigint GENERATED ALWAYS AS IDENTITY, d jsonb);
INSERT INTO exported (scope, d) SELECT 'all', memory.export()::jsonb;
INSERT INTO exported (scope, d) SELECT 'account', memory.export('native', 'exp many ' || a)::jsonb FROM generate_series(0, 2) a;
INSERT INTO exported (scope, d) SELECT 'since', memory.export(since => '2000-01-01')::jsonb;
INSERT INTO exported (scope, d) SELECT 'both', memory.export(account_id => 'exp many ' || a, since => '2000-01-01')::jsonb FROM generate_series(0, 2) a;
INSERT INTO exported (scope, d) SELECT 'each', memory.export('native', account_id, conversation_id)::jsonb FROM memory.conversations WHERE account_id LIKE 'exp many%';
DELETE FROM exported WHERE d ->> 'account_id' NOT LIKE 'exp many%';
WITH stored AS (
	SELECT conversation_id, account_id, COALESCE(jsonb_agg(content ORDER BY seq) FILTER (WHERE seq > 0), '[]') AS contents
	FROM memory.conversations LEFT JOIN memory.messages USING (conversation_id, account_id) WHERE account_id LIKE 'exp many%' GROUP BY 1, 2
)
SELECT scope, count(*), count(*) FILTER (WHERE s.contents = jsonb_path_query_array(d, '$.messages[*].content')) AS same
FROM exported JOIN stored s ON s.conversation_id::text = d ->> 'conversation_id' AND s.account_id = d ->> 'account_id' GROUP BY 1 ORDER BY 1;
SELECT scope, count(*), bool_and(k > before) AS in_order
FROM (SELECT scope, k, lag(k) OVER (PARTITION BY scope ORDER BY n) AS before
	FROM (SELECT scope, n, ROW((d ->> 'conversation_id')::uuid, (d ->> 'account_id') COLLATE "C") AS k FROM exported WHERE scope IN ('all', 'since')) e) o
GROUP BY 1 ORDER BY 1;

-- one snapshot: what the statement itself writes is not in it
BEGIN;
SELECT count(*), count(memory.append('exp', '00000000-0000-0000-0000-0000000000e2', 'user', 'while exporting'))
FROM (SELECT memory.export(conversation_id => '00000000-0000-0000-0000-0000000000e2') AS e OFFSET 0) s
WHERE e::jsonb -> 'messages' = '[]';
SELECT 1 FROM (SELECT memory.export('native', 'exp')) e LIMIT 1;
SELECT count(*) FROM pg_cursors;
ROLLBACK;

-- a confined session has its account only
SET memory_ext.account = 'exp two';
SELECT DISTINCT e::jsonb ->> 'account_id' FROM memory.export() e;
SELECT count(*) FROM memory.export(conversation_id => '00000000-0000-0000-0000-0000000000e1');
SELECT count(*) FROM memory.export(account_id => 'exp');
RESET memory_ext.account;

-- the commands for Redis, row by row while the session does other things
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'redis', lpad((7000 + n)::text, 32, '0')::uuid, 'user', 'line ' || i FROM generate_series(1, 3) n, generate_series(1, 2) i;
BEGIN;
DECLARE commands CURSOR FOR SELECT regexp_count(memory.redis_commands('langchain', 'redis'), 'line');
FETCH 1 FROM commands;
DO $$ BEGIN PERFORM count(content) FROM memory.messages; PERFORM memory.seal('redis'); END $$;
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'others', lpad((8000 + n)::text, 32, '0')::uuid, 'user', 'x' FROM generate_series(1, 300) n;
FETCH 2 FROM commands;
ROLLBACK;
SELECT count(*) FROM memory.forget('redis');

-- convert
SELECT memory.convert('{"account_id": "x", "messages": [{"role": "r", "content": "c", "created_at": "2024-02-29T23:59:60+05:30"}]}', 'auto', 'native');
SELECT memory.convert('{"account_id": "x", "messages": [{"role": "r", "content": "c", "created_at": "2024-02-30"}]}', 'auto', 'native');
SELECT memory.convert('[]', 'auto', 'native');
SELECT d, memory.convert(jsonb_build_object('account_id', 'x', 'messages', '[]'::jsonb, 'created_at', d), 'native', 'native') ->> 'created_at'
FROM unnest('{2024-02-29,2024-01-01T10:00,2024-01-01 10:00:01Z,2024-01-01T10:00:01.1234567+01,2024-01-01T10:00:01-0130,"0044-03-15T00:00:00+00:00 BC",12000-01-01T00:00:00Z,1883-11-18T12:00:00-04:56:02}'::text[]) d;
DO $$
DECLARE
	d text;
BEGIN
	FOREACH d IN ARRAY '{2023-02-29,2024-13-01,2024-01-01T24:00:00,2024-01-01T10,now,infinity,"",2024-1-1,2024-01-01T10:00:00+25:00,2024-01-01T10:00:00 PST,300000-01-01,0000-01-01,20240101}'::text[] LOOP
		BEGIN
			PERFORM memory.convert(jsonb_build_object('account_id', 'x', 'messages', '[]'::jsonb, 'created_at', d), 'native', 'native');
			RAISE WARNING 'accepted: %', d;
		EXCEPTION WHEN invalid_parameter_value THEN
			NULL;
		END;
	END LOOP;
END
$$;
DELETE FROM memory.conversations WHERE account_id LIKE 'exp%';
-- A cursor whose first row was fetched in a savepoint that was rolled back says so
SELECT count(memory.append('exp', lpad(i::text, 32, '0')::uuid, 'user', 'hi')) FROM generate_series(1, 60) i;
BEGIN;
DECLARE documents CURSOR FOR SELECT left(memory.export('openai', 'exp'), 10);
SAVEPOINT s;
FETCH documents;
ROLLBACK TO s;
MOVE 49 FROM documents;
FETCH documents;
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM memory.conversations WHERE account_id = 'exp';
