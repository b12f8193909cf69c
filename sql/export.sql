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
