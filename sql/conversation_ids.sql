-- Conversation ids are unique within an account: the same id of two accounts is two conversations,
-- whichever way they are written, and neither is a reason for the other to fail.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
SET TIME ZONE 'UTC';
SET memory_ext.segment_messages = 4;
SET memory_ext.auto_dictionary = off;
CREATE FUNCTION c(n integer) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE VIEW contents AS
	SELECT account_id, conversation_id, count(*) AS messages, string_agg(content, ' ' ORDER BY seq) AS contents
	FROM memory.messages GROUP BY 1, 2 ORDER BY 1, 2;

--
-- Functions
--
SELECT memory.create_conversation('ann', c(1), 'ann''s') = memory.create_conversation('bob', c(1), 'bob''s') AS same_id;
SELECT memory.create_conversation('bob', c(1));
SELECT memory.append('ann', c(1), 'user', 'a' || i), memory.append('bob', c(1), 'user', 'b' || i) FROM generate_series(1, 5) i;
SELECT memory.append('ann', c(1), '[{"role": "user", "content": "a6"}]'), memory.append('cat', c(1), '[{"role": "user", "content": "c1"}]');
TABLE contents;
SELECT account_id, title, message_count FROM memory.conversations ORDER BY 1;
SELECT content FROM memory.history('ann', c(1), max_messages => 2);
SELECT content FROM memory.context('bob', c(1), NULL, 2);
SELECT (memory.message('bob', c(1), 5)).content, (memory.message('cat', c(1), 1)).content;
SELECT memory.edit_message('bob', c(1), 2, 'b2!') IS NOT NULL, memory.delete_message('ann', c(1), 6) IS NOT NULL,
	memory.update_conversation('bob', c(1), head_seq => 4) IS NOT NULL;
SELECT memory.delete_message('bob', c(1), 6);
SELECT memory.edit_message('dot', c(1), 1, 'x');
SELECT memory.update_conversation('dot', c(1), 'x');
SELECT memory.delete_conversation('dot', c(1));
SELECT * FROM memory.history('dot', c(1));
TABLE contents;
SELECT * FROM memory.verify();

--
-- Views: one statement for both accounts, small and as a bulk statement
--
INSERT INTO memory.messages (account_id, conversation_id, role, content) VALUES
	('bob', c(2), 'user', 'b1'), ('ann', c(2), 'user', 'a1'), ('bob', c(2), 'user', 'b2'), ('ann', c(1), 'user', 'a7')
	RETURNING account_id, seq, content;
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT CASE WHEN i % 3 = 0 THEN 'ann' ELSE 'bob' END, c(3 + i % 2), 'user', i::text FROM generate_series(1, 30) i;
INSERT INTO memory.conversations (account_id, conversation_id, title) VALUES ('bob', c(5), 'bob''s'), ('ann', c(5), 'ann''s');
INSERT INTO memory.conversations (account_id, conversation_id) VALUES ('bob', c(6)), ('ann', c(6)), ('bob', c(6));
COPY memory.conversations (conversation_id, account_id, title) FROM STDIN;
00000000-0000-0000-0000-000000000007	bob	bob's
00000000-0000-0000-0000-000000000007	ann	ann's
00000000-0000-0000-0000-000000000008	bob	bob's
\.
COPY memory.messages (conversation_id, account_id, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000007	bob	user	b1
00000000-0000-0000-0000-000000000007	ann	user	a1
00000000-0000-0000-0000-000000000007	bob	user	b2
00000000-0000-0000-0000-000000000007	ann	user	a2
00000000-0000-0000-0000-000000000007	ann	user	a3
00000000-0000-0000-0000-000000000008	ann	user	a1
00000000-0000-0000-0000-000000000008	bob	user	b1
00000000-0000-0000-0000-000000000002	ann	user	a2
\.
SELECT * FROM contents WHERE conversation_id > c(1);
SELECT account_id, title FROM memory.conversations WHERE conversation_id IN (c(5), c(7), c(8)) ORDER BY conversation_id, account_id;
SELECT * FROM memory.verify();
-- more conversations than are looked up at once, each of two accounts
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT account, c(1000 + i), 'user', account || j FROM generate_series(1, 600) i, unnest('{ann, bob}'::text[]) account, generate_series(1, 2) j;
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content)
	SELECT account, c(1000 + i), 3, 'user', account || 3 FROM generate_series(1, 600) i, unnest('{bob, ann}'::text[]) account;
SELECT account_id, count(*) AS messages, count(DISTINCT conversation_id) AS conversations, string_agg(DISTINCT content, ' ') AS contents
	FROM memory.messages WHERE conversation_id > c(1000) GROUP BY 1 ORDER BY 1;
UPDATE memory.messages SET content = upper(content) WHERE conversation_id IN (c(1), c(7)) AND account_id = 'ann';
UPDATE memory.conversations SET title = 'changed' WHERE conversation_id = c(7) AND account_id = 'bob';
DELETE FROM memory.messages WHERE conversation_id = c(7) AND account_id = 'bob' AND seq = 1;
DELETE FROM memory.conversations WHERE conversation_id = c(2) AND account_id = 'ann';
SELECT * FROM contents WHERE conversation_id IN (c(1), c(2), c(7));
SELECT account_id, title FROM memory.conversations WHERE conversation_id = c(7) ORDER BY 1;
-- one of them is deleted: that keeps its own account from it only
SELECT memory.append('ann', c(2), 'user', 'again');
SELECT memory.append('bob', c(2), 'user', 'b3');
INSERT INTO memory.conversations (account_id, conversation_id) VALUES ('cat', c(2));

--
-- No account named: found where one has the id
--
INSERT INTO memory.messages (conversation_id, role, content) VALUES (c(1), 'user', 'whose?');
COPY memory.messages (conversation_id, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000001	user	whose?
\.
SELECT memory.append('ann', c(9), 'user', 'only ann''s');
INSERT INTO memory.messages (conversation_id, role, content) VALUES (c(9), 'user', 'found') RETURNING account_id, seq;
COPY memory.messages (conversation_id, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000009	user	found
\.
SELECT * FROM contents WHERE conversation_id = c(9);

--
-- Usage, export, seal
--
SELECT account_id, sum(messages) AS messages FROM memory.usage_daily GROUP BY 1 ORDER BY 1;
SELECT account_id, conversations, messages FROM memory.storage ORDER BY 1;
SELECT d::jsonb ->> 'account_id' AS account, d::jsonb -> 'messages' -> 0 ->> 'content' AS first FROM memory.export('native', NULL, c(7)) d ORDER BY 1;
SELECT d::jsonb ->> 'account_id' AS account, d::jsonb -> 'messages' -> 0 ->> 'content' AS first FROM memory.export('native', 'bob', c(7)) d;
SELECT memory.append('ann', c(10), 'user', 'a1'), memory.append('bob', c(10), 'user', 'b1');
SELECT memory.seal('ann', c(10));
SELECT account_id, count(*) FROM memory_store.tail WHERE conversation_id = c(10) GROUP BY 1;
SELECT memory_store.roll_up_usage() > 0 AS rolled_up;
SELECT * FROM memory.usage_drift;
SELECT * FROM memory.verify();

--
-- Imports: an id that another account has, also one that was computed from the document
--
SET memory_ext.import_account = 'eve';
INSERT INTO memory.import_documents VALUES ('{"conversation_id": "no uuid", "messages": [{"role": "user", "content": "eve''s"}]}');
-- what fay's next import will compute, somebody else takes first
SELECT memory.append('mal', i.conversation_id, 'user', 'taken')
	FROM memory.import_document('fay', '{"conversation_id": "no uuid", "messages": [{"role": "user", "content": "fay''s"}]}') i;
SELECT memory.forget('fay') -> 'conversations' AS forgotten;
SET memory_ext.import_account = 'fay';
INSERT INTO memory.import_documents VALUES ('{"conversation_id": "no uuid", "messages": [{"role": "user", "content": "fay''s"}]}');
SELECT account_id, content FROM memory.messages WHERE account_id IN ('fay', 'mal') ORDER BY 1;
SELECT count(DISTINCT conversation_id) AS ids FROM memory.conversations WHERE account_id IN ('fay', 'mal');
-- two accounts' documents of one id in one statement, then grown; small and many
RESET memory_ext.import_account;
INSERT INTO memory.import_documents VALUES
	('{"account_id": "gus", "conversation_id": "00000000-0000-0000-0000-000000000001", "messages": [{"role": "user", "content": "g1"}]}'),
	('{"account_id": "hal", "conversation_id": "00000000-0000-0000-0000-000000000001", "messages": [{"role": "user", "content": "h1"}]}');
INSERT INTO memory.import_documents SELECT format('{"account_id": "%s", "conversation_id": "%s", "messages": [{"role": "user", "content": "%s1"}, {"role": "user", "content": "%s2"}]}',
	a, c(i), left(a, 1), left(a, 1)) FROM generate_series(1, 20) i, unnest('{gus, hal}'::text[]) a;
SELECT account_id, count(*), min(contents), max(contents) FROM contents WHERE account_id IN ('gus', 'hal') GROUP BY 1 ORDER BY 1;
SELECT state, documents, imported, extended, rejected FROM memory.jobs ORDER BY job_id DESC LIMIT 1;
SELECT * FROM memory.verify();

--
-- Erasing one leaves the other
--
SELECT memory.forget('ann') -> 'conversations' AS forgotten;
SELECT account_id, count(*) AS conversations, sum(messages) AS messages FROM contents GROUP BY 1 ORDER BY 1;
SELECT * FROM contents WHERE conversation_id = c(1);
SELECT memory.append('ann', c(1), 'user', 'anew');
SELECT * FROM memory.verify();

--
-- A confined writer does the same, and is told the same, whether another account has the id (c(1)) or nobody (c(50))
--
CREATE FUNCTION told(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	detail text;
	hint text;
BEGIN
	EXECUTE statement INTO result;
	RAISE EXCEPTION '%', coalesce(result, 'nothing') USING ERRCODE = 'ZZ000';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', SQLSTATE, SQLERRM, detail, hint);
END $$;
SET memory_ext.account = 'spy';
SELECT s AS statement, replace(told(format(s, c(1))), c(1)::text, 'c') = replace(told(format(s, c(50))), c(50)::text, 'c') AS same,
	left(replace(told(format(s, c(50))), c(50)::text, 'c'), 60) AS told
FROM unnest(ARRAY[
	$$SELECT memory.append(NULL, %L, 'user', 'x')$$, $$SELECT memory.append(NULL, %L, 'user', 'x', message_id => 'm')$$,
	$$SELECT memory.append(NULL, %L, '[{"role": "user", "content": "x"}]')$$,
	$$SELECT memory.create_conversation(NULL, %L)$$, $$SELECT memory.update_conversation(NULL, %L, 'x')$$,
	$$SELECT memory.delete_conversation(NULL, %L)$$, $$SELECT memory.edit_message(NULL, %L, 1, 'x')$$, $$SELECT memory.delete_message(NULL, %L, 1)$$,
	$$SELECT count(*) FROM memory.history(NULL, %L)$$, $$SELECT count(*) FROM memory.context(NULL, %L, NULL)$$, $$SELECT memory.message(NULL, %L, 1)$$,
	$$INSERT INTO memory.messages (conversation_id, role, content) VALUES (%L, 'user', 'x') RETURNING seq$$,
	$$INSERT INTO memory.messages (conversation_id, seq, role, content) VALUES (%L, 7, 'user', 'x') RETURNING seq$$,
	$$INSERT INTO memory.messages (conversation_id, seq, parent_seq, role, content) VALUES (%L, 7, 3, 'user', 'x') RETURNING seq$$,
	$$INSERT INTO memory.conversations (conversation_id) VALUES (%L) RETURNING account_id$$,
	$$WITH i AS (INSERT INTO memory.messages (conversation_id, role, content) SELECT %L, 'user', 'x' FROM generate_series(1, 100) RETURNING seq) SELECT max(seq) FROM i$$,
	$$UPDATE memory.messages SET content = 'x' WHERE conversation_id = %L RETURNING seq$$, $$DELETE FROM memory.conversations WHERE conversation_id = %L RETURNING account_id$$,
	$$SELECT state FROM memory.import_document(NULL, format('{"conversation_id": "%%s", "messages": [{"role": "user", "content": "x"}]}', %L))$$,
	$$SELECT count(*) FROM memory.export('native', NULL, %L)$$, $$SELECT memory.seal(NULL, %L)$$]) s;
RESET memory_ext.account;
SELECT count(*) FROM memory.conversations WHERE account_id = 'spy';

-- other accounts' rows of these ids are not read: bob has them all
CREATE FUNCTION index_reads() RETURNS bigint LANGUAGE sql AS $$
	SELECT pg_stat_get_xact_tuples_fetched('memory_store.conversations'::regclass) + pg_stat_get_xact_tuples_returned('memory_store.conversations'::regclass) $$;
BEGIN;
SET LOCAL memory_ext.account = 'ann';
CREATE TEMP TABLE before AS SELECT index_reads() AS reads;
INSERT INTO memory.messages (conversation_id, role, content) SELECT c(1000 + i), 'user', 'new to ann, again' FROM generate_series(1, 100) i;
SELECT index_reads() - reads AS rows_read FROM before;
ROLLBACK;

DROP VIEW contents;
DROP FUNCTION c, told, index_reads;
