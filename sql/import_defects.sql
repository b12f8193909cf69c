-- Documents with small defects, and messages that come one by one in any order: what can be kept is
-- kept, and what was mended is told.
\set VERBOSITY default
SET timezone = 'UTC';
SET client_min_messages = warning;
SET memory_ext.import_account = 'defects';

CREATE FUNCTION pg_temp.tree(account text DEFAULT 'defects') RETURNS TABLE (seq bigint, parent bigint, role text, content text, message_id text) LANGUAGE sql AS
	$$ SELECT m.seq, m.parent_seq, m.role, m.content, m.message_id FROM memory.messages m WHERE m.account_id = account ORDER BY m.conversation_id, m.seq $$;
CREATE VIEW pg_temp.outcome AS
	SELECT state, documents, imported, extended, unchanged, rejected, messages FROM memory.jobs ORDER BY job_id DESC LIMIT 1;
CREATE VIEW pg_temp.notes AS
	SELECT line, reason, path, message, rejected FROM memory.job_errors WHERE job_id = (SELECT max(job_id) FROM memory.jobs) ORDER BY document;
CREATE FUNCTION pg_temp.clear(account text DEFAULT 'defects') RETURNS boolean LANGUAGE sql AS $$ SELECT memory.forget(account) IS NOT NULL $$;

-- ---- rows that name what they answer ----
CREATE FUNCTION pg_temp.row(id text, parent text, minute int DEFAULT NULL, conversation text DEFAULT 'rows 1') RETURNS text LANGUAGE sql AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('messageId', id, 'conversationId', conversation, 'parentMessageId', COALESCE(parent, '00000000-0000-0000-0000-000000000000'),
		'isCreatedByUser', id ~ 'q', 'sender', CASE WHEN id ~ 'q' THEN 'User' ELSE 'Bot' END, 'text', 'text ' || id,
		'createdAt', '2024-03-01T10:00:00Z'::timestamptz + minute * interval '1 min'))::text
$$;
-- two roots, and an answer to an earlier message
INSERT INTO memory.import_documents VALUES (pg_temp.row('q1', NULL, 1)), (pg_temp.row('a2', 'q1', 2)), (pg_temp.row('q3', NULL, 3)),
	(pg_temp.row('a4', 'q3', 4)), (pg_temp.row('q5', 'a2', 5));
TABLE pg_temp.outcome;
SELECT * FROM pg_temp.tree();
-- an answer to what is stored already, in another statement; the same again
INSERT INTO memory.import_documents VALUES (pg_temp.row('a6', 'q3', 6));
INSERT INTO memory.import_documents VALUES (pg_temp.row('a6', 'q3', 6)), (pg_temp.row('a4', 'q3', 4));
TABLE pg_temp.outcome;
SELECT * FROM pg_temp.tree() WHERE seq > 4;
-- each comes back as it was
SELECT count(*) AS rows, count(*) FILTER (WHERE e::jsonb ->> 'parentMessageId' ~ '^(0{8}|q|a)') AS with_parents FROM memory.export('librechat', 'defects') e;
SELECT pg_temp.clear();

-- whatever the order of the rows, the tree is the same
CREATE TEMP TABLE shuffled AS SELECT i, CASE WHEN i % 3 = 1 THEN 'q' ELSE 'a' END || i AS id, nullif(CASE WHEN i / 2 % 3 = 1 THEN 'q' ELSE 'a' END || i / 2, 'a0') AS parent FROM generate_series(1, 60) i;
INSERT INTO memory.import_documents SELECT pg_temp.row(id, parent, i, 'sorted') FROM shuffled ORDER BY i;
INSERT INTO memory.import_documents SELECT pg_temp.row(id, parent, i, 'reversed') FROM shuffled ORDER BY i DESC;
INSERT INTO memory.import_documents SELECT pg_temp.row(id, parent, i, 'shuffled') FROM shuffled ORDER BY md5(i::text);
INSERT INTO memory.import_documents SELECT pg_temp.row(id, parent, NULL, 'without times') FROM shuffled ORDER BY md5(i::text);
CREATE FUNCTION pg_temp.edges(source text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat(m.message_id, '<', p.message_id), ' ' ORDER BY m.message_id) FROM memory.conversations c JOIN memory.messages m USING (conversation_id, account_id)
	LEFT JOIN memory.messages p ON p.conversation_id = m.conversation_id AND p.account_id = m.account_id AND p.seq = m.parent_seq WHERE c.account_id = 'defects' AND c.metadata #>> '{import,source_id}' = source
$$;
SELECT source, pg_temp.edges(source) = (SELECT string_agg(concat(id, '<', parent), ' ' ORDER BY id) FROM shuffled) AS right,
	(SELECT m.message_id FROM memory.conversations c JOIN memory.messages m ON m.conversation_id = c.conversation_id AND m.account_id = c.account_id AND m.seq = c.head_seq WHERE c.metadata #>> '{import,source_id}' = source) AS head
FROM unnest('{sorted,reversed,shuffled}'::text[]) source UNION ALL SELECT 'without times', pg_temp.edges('without times') = pg_temp.edges('sorted'), NULL;
SELECT pg_temp.clear();

-- a parent that is nowhere, one that was deleted here, a circle, an id that is none
INSERT INTO memory.import_documents VALUES (pg_temp.row('q1', 'gone')), (pg_temp.row('a2', 'q1'));
TABLE pg_temp.outcome;
TABLE pg_temp.notes;
SELECT memory.delete_message('defects', (SELECT conversation_id FROM memory.conversations WHERE account_id = 'defects'), 1) IS NOT NULL AS deleted;
INSERT INTO memory.import_documents VALUES (pg_temp.row('a3', 'q1'));
TABLE pg_temp.notes;
SET memory_ext.import_on_error = skip;
INSERT INTO memory.import_documents VALUES (pg_temp.row('a5', 'q4')), (pg_temp.row('q4', 'a5')), (pg_temp.row('a6', 'a2')), (pg_temp.row('a7', 'a7')), (replace(pg_temp.row('a8', 'a6'), '"a6"', '6'));
TABLE pg_temp.outcome;
TABLE pg_temp.notes;
RESET memory_ext.import_on_error;
SELECT * FROM pg_temp.tree();
SELECT state, messages, reason, path, message FROM memory.import_document('defects', pg_temp.row('a9', 'nowhere'));
SELECT pg_temp.clear();
