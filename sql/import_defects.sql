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

-- ---- a parent that is not there makes a root, in every format that names parents ----
CREATE TEMP TABLE orphans (format text, doc text);
INSERT INTO orphans VALUES
('native', '{"conversation_id": "00000000-0000-0000-0000-0000000000d1", "account_id": "x", "head_seq": 9, "messages": [{"seq": 5, "parent_seq": 4, "role": "user", "content": "q"}, {"seq": 6, "parent_seq": 5, "role": "assistant", "content": "a"}]}'),
('chatgpt', '{"conversation_id": "o", "current_node": "b", "mapping": {"a": {"id": "a", "parent": "gone", "children": ["b"], "message": {"id": "a", "author": {"role": "user"}, "content": {"content_type": "text", "parts": ["q"]}}}, "b": {"id": "b", "parent": "a", "children": [], "message": {"id": "b", "author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["a"]}}}}}'),
('claude', '{"uuid": "o", "chat_messages": [{"uuid": "a", "sender": "human", "text": "q", "parent_message_uuid": "gone"}, {"uuid": "b", "sender": "assistant", "text": "a", "parent_message_uuid": "a"}]}'),
('librechat', '{"conversationId": "o", "messages": [{"messageId": "a", "parentMessageId": "gone", "isCreatedByUser": true, "text": "q"}, {"messageId": "b", "parentMessageId": "a", "sender": "Bot", "text": "a"}]}'),
('openwebui', '{"id": "o", "chat": {"history": {"currentId": "b", "messages": {"a": {"id": "a", "parentId": "gone", "role": "user", "content": "q"}, "b": {"id": "b", "parentId": "a", "role": "assistant", "content": "a"}}}}}');
SELECT o.format, i.state, i.messages, i.reason, i.path, i.message, memory.convert(doc::jsonb, format, format) = doc::jsonb AS lossless
FROM orphans o, memory.import_document('defects', o.doc) i WHERE format <> 'native';
SELECT i.state, i.messages, i.reason, i.path, i.message FROM orphans o, memory.import_document('defects', o.doc) i WHERE format = 'native';
SELECT c.metadata #>> '{import,format}' AS format, string_agg(m.seq || '<' || m.parent_seq || ' ' || m.content, ', ' ORDER BY m.seq) AS tree, max(c.head_seq) AS head
FROM memory.conversations c JOIN memory.messages m USING (conversation_id, account_id) WHERE account_id = 'defects' GROUP BY c.conversation_id, 1 ORDER BY 1;
INSERT INTO memory.import_documents SELECT doc FROM orphans;
TABLE pg_temp.outcome;
SELECT count(*) AS noted, bool_and(NOT rejected) AS stored FROM pg_temp.notes;
-- a node that names a parent that is not there, and is listed by another, answers that one
SELECT e ->> 'content' AS content, e -> 'parent_seq' AS parent FROM jsonb_array_elements(memory.convert('{"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": ["q"]}}, "children": ["b"]}, "b": {"parent": "gone", "message": {"author": {"role": "assistant"}, "content": {"parts": ["a"]}}}}}', 'chatgpt', 'native') -> 'messages') e;
SELECT pg_temp.clear();

-- ---- halves of surrogate pairs ----
CREATE TEMP TABLE halves (n int, doc text);
INSERT INTO halves VALUES (1, '{"account_id": "x", "title": "low \uDE00 first \ud83d\ude00", "messages": [{"role": "user", "content": "\\ud83d is text, \ud83d\ud83d is not"}]}'),
	(2, '{"account_id": "x", "title": "\ud83dx \u0000 \ude00", "messages": []}'),
	(3, '{"session_id": "wrapped", "id": 1, "message": "{\"type\": \"human\", \"data\": {\"content\": \"half \\ud83d and \\u0000\"}}"}'),
	(4, '{"account_id": "x", "title": "\ud83d", "messages": [}');
SELECT n, i.state, i.reason, i.path, i.message FROM halves h, memory.import_document('defects', h.doc) i ORDER BY n;
INSERT INTO memory.import_documents SELECT doc FROM halves WHERE n = 1;
SET memory_ext.import_on_surrogate = replace;
SELECT n, i.state, i.reason, i.message FROM halves h, memory.import_document('defects', h.doc) i ORDER BY n;
SET memory_ext.import_on_nul = replace;
SELECT n, i.state, i.reason, i.message FROM halves h, memory.import_document('defects', h.doc) i ORDER BY n;
RESET memory_ext.import_on_nul;
RESET memory_ext.import_on_surrogate;
SELECT c.title, m.content FROM memory.conversations c LEFT JOIN memory.messages m USING (conversation_id, account_id) WHERE account_id = 'defects' ORDER BY 1, 2;
-- the document's own text comes back
SELECT e::jsonb ->> 'message' AS wrapped FROM memory.export('langchain', 'defects', (SELECT conversation_id FROM memory.messages WHERE account_id = 'defects' AND content ~ '^half')) e;
SELECT pg_temp.clear();

-- ---- on_conflict ----
CREATE FUNCTION pg_temp.chat(second text, more text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT '{"uuid": "00000000-0000-4000-8000-0000000000c1", "name": "Chat", "chat_messages": [{"uuid": "m1", "sender": "human", "text": "one"},
		{"uuid": "m2", "sender": "assistant", "text": "' || second || '"}' || more || ']}'
$$;
CREATE FUNCTION pg_temp.import(document text, on_conflict text) RETURNS TABLE (state text, messages bigint, reason text, message text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('memory_ext.import_on_conflict', on_conflict, true);
	RETURN QUERY SELECT i.state, i.messages, i.reason, i.message FROM memory.import_document('defects', document) i;
END $$;
CREATE FUNCTION pg_temp.shown() RETURNS TABLE (copy_of text, messages text) LANGUAGE sql AS $$
	SELECT c.metadata ->> 'copy_of', string_agg(m.seq || '<' || m.parent_seq || ' ' || m.content, ', ' ORDER BY m.seq) FROM memory.conversations c JOIN memory.messages m USING (conversation_id, account_id)
	WHERE account_id = 'defects' GROUP BY c.conversation_id, 1 ORDER BY 1 NULLS FIRST, 2
$$;
SELECT * FROM pg_temp.import(pg_temp.chat('two'), 'error');
INSERT INTO memory.import_documents VALUES (pg_temp.chat('two, edited'));
SELECT * FROM pg_temp.import(pg_temp.chat('two, edited', ', {"uuid": "m3", "sender": "human", "text": "three"}'), 'error');
SELECT * FROM pg_temp.import(replace(pg_temp.chat('two'), '"assistant"', '"human"'), 'error');
SELECT * FROM pg_temp.shown();
-- keep: what is new is stored all the same
SELECT * FROM pg_temp.import(pg_temp.chat('two, edited', ', {"uuid": "m3", "sender": "human", "text": "three"}'), 'keep');
SELECT * FROM pg_temp.import(pg_temp.chat('two, edited', ', {"uuid": "m3", "sender": "human", "text": "three"}'), 'keep');
SELECT * FROM pg_temp.shown();
-- copy: a conversation of its own, the same one each time, which grows like others
SELECT * FROM pg_temp.import(pg_temp.chat('2, copied'), 'copy');
SELECT * FROM pg_temp.import(pg_temp.chat('2, copied'), 'copy');
SELECT * FROM pg_temp.import(pg_temp.chat('2, copied', ', {"uuid": "m3", "sender": "human", "text": "3"}'), 'copy');
SELECT * FROM pg_temp.import(pg_temp.chat('2, another'), 'copy');
SELECT * FROM pg_temp.import(pg_temp.chat('two'), 'copy');
SELECT * FROM pg_temp.shown();
SELECT metadata -> 'import' AS import FROM memory.conversations WHERE account_id = 'defects' AND metadata ? 'copy_of' LIMIT 1;
-- several in one file
SET memory_ext.import_on_conflict = copy;
INSERT INTO memory.import_documents VALUES (pg_temp.chat('2, copied')), (pg_temp.chat('2, third')), (pg_temp.chat('two')), (pg_temp.chat('2, third')), (pg_temp.chat('2, fourth'));
TABLE pg_temp.outcome;
SELECT line, reason, rejected FROM pg_temp.notes;
SELECT options FROM memory.jobs ORDER BY job_id DESC LIMIT 1;
-- replace: in its place, with its tokens
SET memory_ext.import_on_conflict = replace;
INSERT INTO memory.import_documents VALUES (pg_temp.chat('two, a much longer text than before')), (pg_temp.chat('two, a much longer text than before', ', {"uuid": "m3", "sender": "human", "text": "three!"}, {"uuid": "m4", "sender": "human", "text": "four"}'));
TABLE pg_temp.outcome;
TABLE pg_temp.notes;
SELECT seq, parent_seq, role, content, tokens, message_id, metadata FROM memory.messages WHERE conversation_id = '00000000-0000-4000-8000-0000000000c1' ORDER BY seq;
INSERT INTO memory.import_documents VALUES (pg_temp.chat('two, a much longer text than before'));
TABLE pg_temp.outcome;
SELECT pg_temp.clear();
-- messages that come by themselves
SET memory_ext.import_on_error = skip;
SET memory_ext.import_on_conflict = error;
INSERT INTO memory.import_documents VALUES (pg_temp.row('q1', NULL, 1)), (pg_temp.row('a2', 'q1', 2));
INSERT INTO memory.import_documents VALUES (replace(pg_temp.row('a2', 'q1', 2), 'text a2', 'text A2')), (pg_temp.row('q3', 'a2', 3));
SELECT reason, message, rejected FROM pg_temp.notes;
SET memory_ext.import_on_conflict = keep;
INSERT INTO memory.import_documents VALUES (replace(pg_temp.row('a2', 'q1', 2), 'text a2', 'text A2')), (pg_temp.row('a4', 'q3', 4));
SELECT reason, message, rejected FROM pg_temp.notes;
SET memory_ext.import_on_conflict = copy;
INSERT INTO memory.import_documents VALUES (replace(pg_temp.row('a2', 'q1', 2), 'text a2', 'text A2'));
SELECT reason, message, rejected FROM pg_temp.notes;
SET memory_ext.import_on_conflict = replace;
INSERT INTO memory.import_documents VALUES (replace(pg_temp.row('a2', 'q1', 2), 'text a2', 'text A2')), (pg_temp.row('a5', 'q3', 5)), (replace(pg_temp.row('a5', 'q3', 5), 'text a5', 'text A5')), (replace(pg_temp.row('a2', 'q1', 2), 'text a2', 'text B2'));
SELECT reason, message, rejected FROM pg_temp.notes;
TABLE pg_temp.outcome;
SELECT * FROM pg_temp.tree();
-- of what is new in one batch, too
INSERT INTO memory.import_documents SELECT pg_temp.row('a' || i, NULL, i, 'many') FROM generate_series(1, 200) i UNION ALL SELECT replace(pg_temp.row('a7', NULL, 7, 'many'), 'text a7', 'TEXT a7');
SELECT count(*), count(*) FILTER (WHERE content = 'TEXT a7') AS replaced FROM memory.messages WHERE account_id = 'defects' AND content ~* 'text a\d+$' AND conversation_id <> (SELECT conversation_id FROM memory.messages WHERE account_id = 'defects' AND message_id = 'q1');
SELECT count(*) AS problems FROM memory.verify();
RESET memory_ext.import_on_conflict;
RESET memory_ext.import_on_error;
SELECT pg_temp.clear();

-- ---- told apart by what they are ----
-- a native document without ids keeps its title, times and tokens
SELECT memory.document_format(doc::jsonb), doc FROM (VALUES ('{"title": "T", "messages": [{"role": "user", "content": "c"}]}'), ('{"messages": [{"role": "user", "content": "c", "tokens": 3, "created_at": "2024-05-01T12:00:00Z"}]}'),
	('{"messages": [{"role": "user", "content": "c"}]}'), ('{"metadata": {}, "messages": [{"role": "user", "content": "c"}]}'), ('{"title": "T", "tools": [], "messages": [{"role": "user", "content": "c"}]}'), ('{"model": "m", "messages": [{"role": "user", "content": "c"}]}')) v (doc);
SELECT state FROM memory.import_document('defects', '{"title": "T", "created_at": "2024-05-01T00:00:00Z", "messages": [{"role": "user", "content": "c", "tokens": 3, "created_at": "2024-05-01T12:00:00Z"}]}');
SELECT c.title, m.tokens, m.created_at FROM memory.conversations c JOIN memory.messages m USING (conversation_id, account_id) WHERE account_id = 'defects';
-- models that the document says once; the other key of lists
CREATE TEMP TABLE models (format text, doc jsonb);
INSERT INTO models VALUES ('chatgpt', '{"conversation_id": "c1", "default_model_slug": "gpt-x", "current_node": "c", "mapping": {"a": {"id": "a", "message": {"id": "a", "author": {"role": "user"}, "content": {"content_type": "text", "parts": ["q"]}}}, "b": {"id": "b", "parent": "a", "message": {"id": "b", "author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["1"]}, "metadata": {"model_slug": "gpt-y"}}}, "c": {"id": "c", "parent": "b", "message": {"id": "c", "author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["2"]}}}}}'),
	('openai', '{"model": "gpt-z", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'),
	('openai', '{"conversation_id": "33f0", "model": "vicuna", "conversation": [{"content": "q", "role": "user"}, {"content": "a", "role": "assistant"}], "turn": 1, "language": "English"}'),
	('openai', '{"messages": [{"role": "human", "content": "q"}, {"role": "ai", "content": "a"}]}');
SELECT format, memory.document_format(doc) = format AS told, memory.convert(doc, format, format) = doc AS lossless, (SELECT string_agg(concat(e ->> 'role', ' ', e ->> 'model'), ', ' ORDER BY e -> 'seq') FROM jsonb_array_elements(memory.convert(doc, format, 'native') -> 'messages') e) AS models FROM models;
CREATE TEMP TABLE imported AS SELECT m.*, i.conversation_id FROM models m, memory.import_document('models', m.doc::text) i;
SELECT i.format, i.doc = e::jsonb AS lossless FROM imported i, memory.export(i.format, 'models', i.conversation_id) e ORDER BY i.doc::text;
SELECT memory.forget('models') IS NOT NULL AS forgotten;
-- others, which resemble ours, are refused by name
SELECT i.state, i.reason, i.message, memory.document_format(doc::jsonb) FROM (VALUES ('{"mapping": {"1": {"id": "1", "message": {"model": "d", "fragments": [{"type": "REQUEST", "content": "hi"}]}}}}'),
	('{"conversations": [{"conversation": {"id": "x"}, "responses": []}]}'), ('{"conversation": {"id": "x"}, "responses": [{"response": {}}]}'), ('{"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}'),
	('{"header": "Gemini Apps", "title": "Prompted hi"}'), ('{"chunkedPrompt": {"chunks": []}}'), ('{"composerId": "x", "conversation": [{"type": 1, "bubbleId": "y"}]}')) v (doc), memory.import_document('defects', doc) i;
SELECT memory.convert('{"chunkedPrompt": {}}', 'auto', 'openai');
-- a history without times: usage of today, or history
SELECT state FROM memory.import_document('defects', '{"messages": [{"role": "user", "content": "now"}]}');
SET memory_ext.import_as_history = on;
SELECT state FROM memory.import_document('defects', '{"messages": [{"role": "user", "content": "then"}, {"role": "assistant", "content": "then, too"}]}');
RESET memory_ext.import_as_history;
SELECT m.content, m.created_at < now() - interval '1 day' AS history, c.created_at < now() - interval '1 day' AS conversation FROM memory.messages m JOIN memory.conversations c USING (conversation_id, account_id) WHERE account_id = 'defects' AND m.content ~ 'now|then' ORDER BY m.content;
SELECT sum(messages) FILTER (WHERE day = (now() AT TIME ZONE 'UTC')::date) AS usage_of_today, sum(imported_messages) AS imported FROM memory.usage_daily WHERE account_id = 'defects';
SELECT pg_temp.clear();
