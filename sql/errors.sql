-- Errors of the store: SQLSTATE, message, detail, hint and place; and that
-- nothing is left behind.
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset format unaligned
\pset tuples_only on

CREATE SCHEMA errors_test;
SET search_path = errors_test, public;
-- What a statement raises, a line for each part.
CREATE FUNCTION raises(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
	context text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	-- the first line of the context, where it is the store's
	context := substring(context from '^(row [^\n]*|message [^\n]*)');
	RETURN concat_ws(E'\n', SQLSTATE || ' ' || SQLERRM, '  detail: ' || nullif(detail, ''), '  hint: ' || nullif(hint, ''),
		'  context: ' || context);
END $$;
-- How many rows the store has, of every table.
CREATE VIEW rows AS SELECT (SELECT count(*) FROM memory_store.accounts) AS accounts,
	(SELECT count(*) FROM memory_store.conversations) AS conversations, (SELECT count(*) FROM memory_store.segments) AS segments,
	(SELECT count(*) FROM memory_store.tail) AS tail, (SELECT count(*) FROM memory_store.tombstones) AS tombstones,
	(SELECT sum(revision) FROM memory_store.accounts) AS revisions;

\set c1 '00000000-0000-0000-0000-000000000001'
\set c2 '00000000-0000-0000-0000-000000000002'
\set c9 '00000000-0000-0000-0000-000000000009'
-- ann has a conversation with a segment, a gap and a tail, and a deleted one; bob has one
SET memory_ext.segment_messages = 4;
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content)
	SELECT 'ann', :'c1', seq, 'user', 'm' || seq FROM unnest('{1,2,3,5,6}'::bigint[]) seq;
SELECT memory.append('ann', '00000000-0000-0000-0000-000000000003', 'user', 'x');
SELECT memory.delete_conversation('ann', '00000000-0000-0000-0000-000000000003');
SELECT memory.append('bob', :'c2', 'user', 'm1');
TABLE rows;

--
-- Accounts
--
SELECT raises($$SELECT memory.append(NULL, '00000000-0000-0000-0000-000000000001', 'user', 'x')$$);
SELECT raises($$SELECT memory.append('', '00000000-0000-0000-0000-000000000001', 'user', 'x')$$);
SELECT raises(format('SELECT memory.append(%L, %L, %L, %L)', repeat('a', 256), '00000000-0000-0000-0000-000000000009', 'user', 'x'));
-- bytes count: 128 characters of two bytes are too many; the message cuts between characters
SELECT raises(format('SELECT memory.append(%L, %L, %L, %L)', repeat('ü', 128), '00000000-0000-0000-0000-000000000009', 'user', 'x'));
SELECT raises(format('SELECT memory.append(%L, %L, %L, %L)', 'x' || repeat('漢', 85), '00000000-0000-0000-0000-000000000009', 'user', 'x'));
-- 255 bytes are none too many
BEGIN;
SELECT memory.append(repeat('漢', 85), :'c9', 'user', 'x');
ROLLBACK;
SELECT raises($$SELECT memory.create_conversation(NULL)$$);
SELECT raises($$INSERT INTO memory.conversations (account_id) VALUES ('')$$);
SELECT raises($$SELECT * FROM memory.recent_conversations('')$$);
-- left out, it is the existing conversation's; there must be one
SELECT raises($$INSERT INTO memory.messages (conversation_id, role, content) VALUES ('00000000-0000-0000-0000-000000000009', 'user', 'x')$$);

--
-- Conversations
--
-- unknown, another account's, deleted
SELECT f, raises(format('SELECT memory.%s', f)) FROM unnest(ARRAY[
	$$history('ann', '00000000-0000-0000-0000-000000000009')$$, $$history('ann', '00000000-0000-0000-0000-000000000002')$$,
	$$history('ann', '00000000-0000-0000-0000-000000000003')$$, $$context('ann', '00000000-0000-0000-0000-000000000009', 100)$$,
	$$message('ann', '00000000-0000-0000-0000-000000000009', 1)$$,
	$$edit_message('ann', '00000000-0000-0000-0000-000000000009', 1, 'x')$$, $$delete_message('ann', '00000000-0000-0000-0000-000000000009', 1)$$,
	$$update_conversation('ann', '00000000-0000-0000-0000-000000000009')$$, $$delete_conversation('ann', '00000000-0000-0000-0000-000000000009')$$,
	$$edit_message('ann', '00000000-0000-0000-0000-000000000002', 1, 'x')$$, $$delete_conversation('ann', '00000000-0000-0000-0000-000000000002')$$,
	$$append('ann', '00000000-0000-0000-0000-000000000003', 'user', 'x')$$, $$delete_conversation('ann', '00000000-0000-0000-0000-000000000003')$$,
	$$update_conversation('ann', '00000000-0000-0000-0000-000000000003')$$, $$create_conversation('ann', '00000000-0000-0000-0000-000000000003')$$,
	$$create_conversation('ann', '00000000-0000-0000-0000-000000000001')$$, $$history('ann', NULL)$$, $$append('ann', NULL, 'user', 'x')$$]) f;
SELECT raises($$INSERT INTO memory.messages (account_id, role, content) VALUES ('ann', 'user', 'x')$$);
SELECT raises($$INSERT INTO memory.messages (conversation_id, role, content) VALUES ('00000000-0000-0000-0000-000000000003', 'user', 'x')$$);
SELECT raises($$INSERT INTO memory.conversations (account_id, conversation_id) VALUES ('ann', '00000000-0000-0000-0000-000000000009'),
	('ann', '00000000-0000-0000-0000-000000000009')$$);
SELECT raises($$INSERT INTO memory.conversations (account_id, conversation_id) VALUES ('ann', '00000000-0000-0000-0000-000000000003')$$);
-- fields
SELECT raises($$SELECT memory.create_conversation('ann', metadata => '[1]')$$);
SELECT raises($$SELECT memory.update_conversation('ann', '00000000-0000-0000-0000-000000000001', metadata => '"x"')$$);
SELECT raises($$INSERT INTO memory.conversations (account_id, metadata) VALUES ('ann', 'null')$$);
SELECT raises($$SELECT memory.create_conversation('ann', created_at => 'infinity')$$);
SELECT raises($$UPDATE memory.conversations SET updated_at = '-infinity'$$);
SELECT raises($$SELECT memory.update_conversation('ann', '00000000-0000-0000-0000-000000000001', head_seq => 4)$$);
SELECT raises($$SELECT memory.update_conversation('ann', '00000000-0000-0000-0000-000000000001', head_seq => 7)$$);
SELECT raises($$SELECT memory.update_conversation('ann', '00000000-0000-0000-0000-000000000001', head_seq => 0)$$);
SELECT raises($$UPDATE memory.conversations SET head_seq = -1 WHERE account_id = 'ann'$$);
SELECT raises($$INSERT INTO memory.conversations (conversation_id, account_id, head_seq) VALUES ('00000000-0000-0000-0000-000000000009', 'ann', -1)$$);
SELECT column_name, raises(format('UPDATE memory.conversations SET %I = NULL WHERE account_id = ''ann''', column_name))
	FROM information_schema.columns WHERE table_schema = 'memory' AND table_name = 'conversations' AND column_name NOT IN ('title', 'metadata')
	ORDER BY ordinal_position;

--
-- Messages
--
CREATE FUNCTION appending(arguments text) RETURNS text LANGUAGE sql AS $$
	SELECT raises('SELECT memory.append(''ann'', ''00000000-0000-0000-0000-000000000001'', ' || arguments || ')') $$;
CREATE FUNCTION inserting(seq text, parent_seq text) RETURNS text LANGUAGE sql AS $$
	SELECT raises(format('INSERT INTO memory.messages (conversation_id, seq, parent_seq, role, content) VALUES (%L, %s, %s, %L, %L)',
	'00000000-0000-0000-0000-000000000001', seq, parent_seq, 'user', 'x')) $$;
SELECT appending($$NULL, 'x'$$);
SELECT appending($$'', 'x'$$);
SELECT appending($$repeat('r', 65), 'x'$$);
SELECT appending($$repeat('é', 33), 'x'$$);
SELECT appending($$'user', NULL$$);
SELECT appending($$'user', repeat('x', 64 * 1024 * 1024 + 1)$$);
SELECT appending($$'user', 'x', model => repeat('m', 256)$$);
SELECT appending($$'user', 'x', message_id => repeat('m', 256)$$);
SELECT appending($$'user', 'x', metadata => '[]'$$);
SELECT appending($$'user', 'x', metadata => jsonb_build_object('k', repeat('x', 16 * 1024 * 1024))$$);
SELECT appending($$'user', 'x', tokens => -1$$);
SELECT appending($$'user', 'x', created_at => 'infinity'$$);
SELECT appending($$'user', 'x', created_at => '-infinity'$$);
SELECT appending($$'user', 'x', parent_seq => 4$$);
SELECT appending($$'user', 'x', parent_seq => 7$$);
SELECT appending($$'user', 'x', parent_seq => 99$$);
SELECT appending($$'user', 'x', parent_seq => -1$$);
SELECT appending($$'user', 'x', parent_seq => -2$$);
SELECT inserting('0', 'NULL');
SELECT inserting('-1', 'NULL');
SELECT inserting('9223372036854775807', 'NULL');
SELECT inserting('3', 'NULL');
SELECT inserting('6', 'NULL');
SELECT inserting('9', '9');
SELECT inserting('9', '10');
SELECT inserting('9', '7');
SELECT inserting('4', '5');
SELECT inserting('4', '-1');
-- behind the largest number there is no other, whichever way it would be assigned
BEGIN;
INSERT INTO memory.messages (conversation_id, account_id, seq, role, content) VALUES (:'c9', 'ann', 4611686018427387903, 'user', 'x');
SELECT raises($$SELECT memory.append('ann', '00000000-0000-0000-0000-000000000009', 'user', 'x')$$);
SELECT raises($$SELECT memory.append('ann', '00000000-0000-0000-0000-000000000009', 'user', 'x', parent_seq => 0)$$);
SELECT raises($$SELECT memory.append('ann', '00000000-0000-0000-0000-000000000009', '[{"role": "user", "content": "x"}]')$$);
SELECT raises($$INSERT INTO memory.messages (conversation_id, role, content) VALUES ('00000000-0000-0000-0000-000000000009', 'user', 'x')$$);
ROLLBACK;
SELECT raises($$INSERT INTO memory.conversations (account_id, head_seq) VALUES ('ann', 4611686018427387904)$$) ~ '^22023 head_seq 4611686018427387904 does not exist';
-- in one statement: the number given and the one assigned
SELECT raises($$INSERT INTO memory.messages (conversation_id, seq, role, content) VALUES ('00000000-0000-0000-0000-000000000001', NULL, 'user', 'x'),
	('00000000-0000-0000-0000-000000000001', 8, 'user', 'x'), ('00000000-0000-0000-0000-000000000001', 7, 'user', 'x') RETURNING seq$$);
-- the checks of a row of the relation are the same
SELECT raises($$INSERT INTO memory.messages (conversation_id, content) VALUES ('00000000-0000-0000-0000-000000000001', 'x')$$);
SELECT raises($$INSERT INTO memory.messages (conversation_id, role) VALUES ('00000000-0000-0000-0000-000000000001', 'user')$$);
SELECT raises($$INSERT INTO memory.messages (conversation_id, role, content, tokens) VALUES ('00000000-0000-0000-0000-000000000001', 'user', 'x', -5)$$);
SELECT raises($$INSERT INTO memory.messages (conversation_id, role, content, metadata) VALUES ('00000000-0000-0000-0000-000000000001', 'user', 'x', '3')$$);
SELECT raises($$INSERT INTO memory.messages (conversation_id, role, content, created_at) VALUES ('00000000-0000-0000-0000-000000000001', 'user', 'x', 'infinity')$$);
-- a function that the statement calls must not write to the same conversation: its next number is given away
CREATE FUNCTION answers(question text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO memory.messages (conversation_id, role, content) VALUES ('00000000-0000-0000-0000-000000000001', 'assistant', question || '!');
	RETURN question;
END $$;
SELECT raises($$INSERT INTO memory.messages (conversation_id, role, content)
	SELECT '00000000-0000-0000-0000-000000000001', 'user', errors_test.answers('x') FROM generate_series(1, 2) RETURNING seq$$);
-- nor may a session that only reads
BEGIN READ ONLY;
SELECT raises($$SELECT memory.append('ann', '00000000-0000-0000-0000-000000000001', 'user', 'x')$$);
ROLLBACK;
-- keys cannot be changed, nor other columns to what they must not be
SELECT raises($$UPDATE memory.messages SET seq = seq + 100$$);
SELECT raises($$UPDATE memory.messages SET account_id = 'bob' WHERE account_id = 'ann'$$);
SELECT raises($$UPDATE memory.messages SET conversation_id = '00000000-0000-0000-0000-000000000002' WHERE account_id = 'ann'$$);
SELECT raises($$UPDATE memory.messages SET role = NULL$$);
SELECT raises($$UPDATE memory.messages SET content = NULL$$);
SELECT raises($$UPDATE memory.messages SET parent_seq = seq WHERE seq = 3$$);
SELECT raises($$UPDATE memory.messages SET parent_seq = 4 WHERE seq = 6$$);
SELECT raises($$UPDATE memory.messages SET tokens = -1 WHERE seq = 3$$);
SELECT raises($$SELECT memory.edit_message('ann', '00000000-0000-0000-0000-000000000001', 4, 'x')$$);
SELECT raises($$SELECT memory.edit_message('ann', '00000000-0000-0000-0000-000000000001', 99, 'x')$$);
SELECT raises($$SELECT memory.edit_message('ann', '00000000-0000-0000-0000-000000000001', 3, role => '')$$);
SELECT raises($$SELECT memory.edit_message('ann', '00000000-0000-0000-0000-000000000001', 3, tokens => -1)$$);
SELECT raises($$SELECT memory.edit_message('ann', '00000000-0000-0000-0000-000000000001', 6, metadata => '1')$$);
SELECT raises($$SELECT memory.edit_message('ann', '00000000-0000-0000-0000-000000000001', NULL, 'x')$$);
SELECT raises($$SELECT memory.delete_message('ann', '00000000-0000-0000-0000-000000000001', 0)$$);
SELECT raises($$SELECT memory.delete_message('ann', '00000000-0000-0000-0000-000000000001', NULL)$$);
SELECT raises($$SELECT memory.message('ann', '00000000-0000-0000-0000-000000000001', 4)$$);
SELECT raises($$SELECT memory.message('ann', '00000000-0000-0000-0000-000000000001', NULL)$$);
-- limits
SELECT raises($$SELECT memory.history('ann', '00000000-0000-0000-0000-000000000001', max_messages => -1)$$);
SELECT raises($$SELECT memory.context('ann', '00000000-0000-0000-0000-000000000001', -1)$$);
SELECT raises($$SELECT memory.context('ann', '00000000-0000-0000-0000-000000000001', 1, -1)$$);
SELECT raises($$SELECT memory.recent_conversations('ann', max_conversations => -1)$$);
SELECT raises($$SELECT memory_store.seal_idle(-1)$$);
SELECT raises($$SELECT memory.seal('')$$);
SELECT raises($$SET memory_ext.segment_messages = 0$$);
SELECT left(raises(format('SET memory_ext.account = %L', repeat('a', 256))), 60);

--
-- Functions of triggers, called by anybody else
--
SELECT p.proname, raises(format('SELECT %s', p.oid::regprocedure)) FROM pg_proc p
	WHERE p.pronamespace IN ('memory'::regnamespace, 'memory_store'::regnamespace) AND p.prorettype = 'trigger'::regtype ORDER BY 1;
--
-- Batches
--
CREATE FUNCTION batch(messages text) RETURNS text LANGUAGE sql AS $$
	SELECT raises(format('SELECT memory.append(%L, %L, %L::jsonb)', 'ann', '00000000-0000-0000-0000-000000000001', messages)) $$;
SELECT raises($$SELECT memory.append('ann', '00000000-0000-0000-0000-000000000001', NULL::jsonb)$$);
SELECT batch('{"role": "user", "content": "x"}');
SELECT batch('"x"');
SELECT batch('[{"role": "user", "content": "x"}, 1]');
SELECT batch('[{"role": "user", "content": "x"}, {"content": "x"}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user"}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": null}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "x"}]}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "", "content": "x"}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "name": "y"}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "tokens": -1}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "tokens": 1.5}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "metadata": []}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "created_at": "yesterday evening"}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "created_at": "infinity"}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "seq": 0}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "seq": 9223372036854775807}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "seq": 6}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "seq": 7}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "parent_seq": 8}]');
SELECT batch('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "parent_seq": 4}]');
SELECT batch(format('[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "model": "%s"}]', repeat('m', 256)));

--
-- The text form of a transcript: the position is a message's
--
SELECT raises($$SELECT 'x'::memory.transcript$$) ~ '^22P02 ';
SELECT raises($$SELECT '[{"role": "user", "content": "x"}, {"role": "user", "content": "x", "key": 1}]'::memory.transcript$$);
SELECT raises($$SELECT '[{"role": "user", "content": "x", "seq": 5}, {"role": "user", "content": "x", "seq": 5}]'::memory.transcript$$);
SELECT raises($$SELECT '[{"role": "user", "content": "x"}, {"role": "user", "content": 1}]'::memory.transcript$$);
SELECT raises($$SELECT '[{"role": "user", "content": "x"}'::memory.transcript$$) ~ '^22P02 ';

-- nothing of all this has changed anything
TABLE rows;
SELECT * FROM memory.verify();

--
-- COPY
--
-- found at the row: the line of the input
COPY memory.messages (conversation_id, account_id, role, content) FROM STDIN (FORMAT csv, HEADER);
conversation_id,account_id,role,content
00000000-0000-0000-0000-000000000009,dot,user,first
00000000-0000-0000-0000-000000000009,dot,,second
00000000-0000-0000-0000-000000000009,dot,user,third
\.
COPY memory.messages (conversation_id, account_id, seq, role, content) FROM STDIN (FORMAT csv);
00000000-0000-0000-0000-000000000009,dot,1,user,first
00000000-0000-0000-0000-000000000009,dot,0,user,second
\.
COPY memory.messages (conversation_id, account_id, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000009	dot	user	first
not a uuid	dot	user	second
\.
-- a conversation that no account is known of
COPY memory.messages (conversation_id, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000001	user	first
00000000-0000-0000-0000-000000000009	user	second
\.
-- found at the end, when the rows are in order: still the line of the input
COPY memory.messages (conversation_id, account_id, seq, role, content) FROM STDIN (FORMAT csv, HEADER);
conversation_id,account_id,seq,role,content
00000000-0000-0000-0000-000000000009,dot,2,user,second
00000000-0000-0000-0000-000000000008,dot,2,user,second
00000000-0000-0000-0000-000000000009,dot,1,user,first
00000000-0000-0000-0000-000000000009,dot,2,user,again
\.
COPY memory.messages (conversation_id, account_id, seq, parent_seq, role, content) FROM STDIN (FORMAT csv, HEADER);
conversation_id,account_id,seq,parent_seq,role,content
00000000-0000-0000-0000-000000000009,dot,3,9,user,third
00000000-0000-0000-0000-000000000009,dot,2,1,user,second
00000000-0000-0000-0000-000000000009,dot,1,,user,first
\.
COPY memory.messages (conversation_id, account_id, seq, parent_seq, role, content) FROM STDIN (FORMAT csv, HEADER);
conversation_id,account_id,seq,parent_seq,role,content
00000000-0000-0000-0000-000000000008,dot,1,,user,"over
two lines"
00000000-0000-0000-0000-000000000009,dot,1,5,user,first
\.
COPY memory.messages (conversation_id, account_id, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000009	dot	user	first
00000000-0000-0000-0000-000000000003	ann	user	deleted
\.
COPY memory.messages (conversation_id, account_id, seq, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000009	dot	1	user	first
00000000-0000-0000-0000-000000000001	ann	3	user	there already
\.
-- conversations
COPY memory.conversations (conversation_id, account_id, title, created_at) FROM STDIN (FORMAT csv);
00000000-0000-0000-0000-000000000009,dot,first,2026-01-01Z
00000000-0000-0000-0000-000000000008,dot,second,infinity
\.
COPY memory.conversations (conversation_id, account_id, title) FROM STDIN (FORMAT csv);
00000000-0000-0000-0000-000000000009,dot,first
00000000-0000-0000-0000-000000000001,ann,there already
\.
-- nothing is left behind, and the next COPY is not disturbed
TABLE rows;
BEGIN;
SAVEPOINT s;
COPY memory.messages (conversation_id, account_id, seq, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000009	dot	1	user	first
00000000-0000-0000-0000-000000000009	dot	1	user	again
\.
ROLLBACK TO s;
COPY memory.messages (conversation_id, account_id, seq, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000009	dot	1	user	first
00000000-0000-0000-0000-000000000009	dot	2	user	second
\.
COMMIT;
SELECT seq, content FROM memory.messages WHERE conversation_id = :'c9' ORDER BY seq;
SELECT * FROM memory.verify();

\i :empty
SET client_min_messages = warning;
DROP SCHEMA errors_test CASCADE;
