-- A message_id is unique within a conversation, which makes appends repeatable.
\set VERBOSITY default
\set SHOW_CONTEXT errors
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
SET TIME ZONE 'UTC';
SET memory_ext.segment_messages = 4;
SET memory_ext.auto_dictionary = off;
CREATE FUNCTION c(n integer) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION told(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	detail text;
	hint text;
BEGIN
	EXECUTE statement INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', SQLSTATE, SQLERRM, detail, hint);
END $$;
-- all that an account's writers change
CREATE VIEW state AS
	SELECT a.account_id, a.revision, c.conversation_id, c.revision AS changed, c.message_count, c.token_count, c.updated_at,
		(SELECT count(*) FROM memory_store.tail t WHERE t.conversation_id = c.conversation_id AND t.account_id = c.account_id) AS tail,
		(SELECT sum(messages) FROM memory.usage_daily u WHERE u.account_id = a.account_id) AS used,
		(SELECT concat_ws(' ', s.messages_lifetime, s.tokens_lifetime, s.content_bytes) FROM memory_store.subscriptions s WHERE s.subscription_id = a.subscription_id) AS charged
	FROM memory_store.accounts a LEFT JOIN memory_store.conversations c USING (account_id);
CREATE FUNCTION unchanged(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	before text;
	result text;
BEGIN
	SELECT string_agg(s::text, ' ' ORDER BY s.account_id, s.conversation_id) INTO before FROM state s;
	result := told(statement);
	IF before IS DISTINCT FROM (SELECT string_agg(s::text, ' ' ORDER BY s.account_id, s.conversation_id) FROM state s) THEN
		result := 'changed something: ' || coalesce(result, '');
	END IF;
	RETURN result;
END $$;

--
-- append: a reply that was lost, and the same sent again
--
SELECT memory.append('ann', c(1), 'user', 'one', message_id => 'm1');
SELECT unchanged($$SELECT memory.append('ann', c(1), 'user', 'one', message_id => 'm1')$$);
-- fields that are not compared
SELECT unchanged($$SELECT memory.append('ann', c(1), 'user', 'one', 'model', 77, '{"k": 1}', 'm1', 0, '2020-01-01')$$);
-- other words, another role
SELECT unchanged($$SELECT memory.append('ann', c(1), 'user', 'One', message_id => 'm1')$$);
SELECT unchanged($$SELECT memory.append('ann', c(1), 'user', '', message_id => 'm1')$$);
SELECT unchanged($$SELECT memory.append('ann', c(1), 'assistant', 'one', message_id => 'm1')$$);
-- other conversations, accounts and ids; the empty one is an id, too
SELECT memory.append('ann', c(2), 'user', 'other', message_id => 'm1'), memory.append('bob', c(1), 'user', 'bob''s', message_id => 'm1'),
	memory.append('ann', c(1), 'user', 'one', message_id => 'M1'), memory.append('ann', c(1), 'user', 'one', message_id => ''),
	memory.append('ann', c(1), 'user', 'one'), memory.append('ann', c(1), 'user', 'one');
SELECT unchanged($$SELECT memory.append('ann', c(1), 'user', 'one', message_id => '')$$);
-- each of them in a segment or in the tail
SELECT memory.append('ann', c(1), 'user', 'n' || i, message_id => 'n' || i) FROM generate_series(1, 13) i;
SELECT (SELECT count(*) FROM memory_store.segments WHERE account_id = 'ann' AND conversation_id = c(1)) AS segments,
	(SELECT count(*) FROM memory_store.tail WHERE account_id = 'ann' AND conversation_id = c(1)) AS tail;
SELECT i, unchanged(format($$SELECT memory.append('ann', c(1), 'user', %L, message_id => %1$L)$$, 'n' || i)) FROM generate_series(1, 13) i;
SELECT unchanged($$SELECT memory.append('ann', c(1), 'user', 'n2!', message_id => 'n2')$$), unchanged($$SELECT memory.append('ann', c(1), 'user', 'n13!', message_id => 'n13')$$);
-- branches and old times do not go the short way
SELECT memory.append('ann', c(1), 'user', 'branch', message_id => 'b1', parent_seq => 3), memory.append('ann', c(1), 'user', 'old', message_id => 'o1', created_at => '2001-01-01');
SELECT unchanged($$SELECT memory.append('ann', c(1), 'user', 'branch', message_id => 'b1', parent_seq => 3)$$),
	unchanged($$SELECT memory.append('ann', c(1), 'user', 'branch', message_id => 'b1', parent_seq => 4711)$$),
	unchanged($$SELECT memory.append('ann', c(1), 'user', 'old', message_id => 'o1', created_at => '2001-01-01')$$),
	unchanged($$SELECT memory.append('ann', c(1), 'user', 'older', message_id => 'o1', created_at => '2001-01-01')$$);
SELECT * FROM memory.verify();

--
-- The array
--
SELECT memory.append('ann', c(3), '[{"role": "user", "content": "a", "message_id": "a"}, {"role": "user", "content": "b", "message_id": "b"},
	{"role": "user", "content": "a", "message_id": "a"}, {"role": "user", "content": "none"}, {"role": "user", "content": "b", "message_id": "b"}]');
SELECT unchanged($$SELECT memory.append('ann', c(3), '[{"role": "user", "content": "b", "message_id": "b"}, {"role": "user", "content": "a", "message_id": "a"}]')$$);
SELECT memory.append('ann', c(3), '[{"role": "user", "content": "b", "message_id": "b"}, {"role": "user", "content": "c", "message_id": "c"}, {"role": "user", "content": "a", "message_id": "a", "seq": 1}]');
SELECT unchanged($$SELECT memory.append('ann', c(3), '[{"role": "user", "content": "d", "message_id": "d"}, {"role": "user", "content": "!", "message_id": "a"}]')$$);
SELECT unchanged($$SELECT memory.append('ann', c(3), '[{"role": "user", "content": "d", "message_id": "d"}, {"role": "user", "content": "!", "message_id": "d"}]')$$);
SELECT unchanged($$SELECT memory.append('ann', c(3), '[{"role": "user", "content": "a", "message_id": "a", "seq": 2}]')$$);
SELECT memory.append('ann', c(3), '[{"role": "user", "content": "a", "message_id": "a"}, {"role": "user", "content": "!", "message_id": "b"}]');
SELECT seq, content, message_id FROM memory.messages WHERE account_id = 'ann' AND conversation_id = c(3) ORDER BY 1;
-- longer than a segment, and than two
SELECT cardinality(memory.append('ann', c(4), jsonb_agg(jsonb_build_object('role', 'user', 'content', 'm' || i % 50, 'message_id', 'm' || i % 50)))) FROM generate_series(0, 99) i;
SELECT message_count, (SELECT count(*) FROM memory_store.segments s WHERE s.conversation_id = c(4)) AS segments FROM memory.conversations WHERE conversation_id = c(4);
SELECT unchanged(format($$SELECT memory.append('ann', c(4), %L)$$, (SELECT jsonb_agg(jsonb_build_object('role', 'user', 'content', 'm' || i, 'message_id', 'm' || i) ORDER BY i DESC) FROM generate_series(0, 49) i))) ~ '^\{50,49,48,.*,2,1\}$' AS all_there;

--
-- INSERT and COPY
--
INSERT INTO memory.messages (account_id, conversation_id, role, content, message_id) VALUES ('ann', c(3), 'user', 'a', 'a'), ('ann', c(3), 'user', 'e', 'e'),
	('ann', c(3), 'user', 'b', 'b'), ('ann', c(3), 'user', 'e', 'e'), ('ann', c(3), 'user', 'f', 'f') RETURNING seq, content;
INSERT INTO memory.messages (account_id, conversation_id, role, content, message_id) VALUES ('ann', c(3), 'user', '!', 'a');
INSERT INTO memory.messages (account_id, conversation_id, role, content, message_id) VALUES ('ann', c(3), 'user', 'g', 'g'), ('ann', c(3), 'user', '!', 'g');
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content, message_id) VALUES ('ann', c(3), 1, 'user', 'a', 'a');
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content, message_id) VALUES ('ann', c(3), 2, 'user', 'a', 'a');
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content, message_id) VALUES ('ann', c(3), 100, 'user', 'a', 'a');
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content, message_id) VALUES ('ann', c(3), 1, 'user', 'a', 'another');
-- many rows: in a new conversation, in one that is there, and again
INSERT INTO memory.messages (account_id, conversation_id, role, content, message_id) SELECT 'ann', c(5), 'user', 'm' || i % 60, 'm' || i % 60 FROM generate_series(0, 199) i;
INSERT INTO memory.messages (account_id, conversation_id, role, content, message_id) SELECT 'ann', c(5), 'user', 'm' || i % 80, 'm' || i % 80 FROM generate_series(0, 199) i;
SELECT count(*), count(DISTINCT message_id), max(seq), bool_and(parent_seq = seq - 1) FROM memory.messages WHERE account_id = 'ann' AND conversation_id = c(5);
CREATE TABLE file AS SELECT c(6) AS conversation_id, 'ann' AS account_id, i AS seq, 'user' AS role, 'm' || i AS content, CASE WHEN i % 10 > 0 THEN 'id ' || i END AS message_id FROM generate_series(1, 30) i;
CREATE FUNCTION load(columns text, condition text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO memory.messages (%s) SELECT %1$s FROM file WHERE %s ORDER BY seq DESC', columns, condition);
	RETURN (SELECT concat_ws(' ', count(*), max(seq), count(message_id)) FROM memory.messages WHERE account_id = 'ann' AND conversation_id = c(6));
END $$;
SELECT load('conversation_id, account_id, seq, role, content, message_id', 'seq <= 20');
SELECT load('conversation_id, account_id, seq, role, content, message_id', 'seq <= 20 AND message_id IS NOT NULL');
SELECT load('conversation_id, account_id, seq, role, content, message_id', 'message_id IS NOT NULL');
COPY memory.messages (conversation_id, account_id, role, content, message_id) FROM STDIN;
00000000-0000-0000-0000-000000000007	ann	user	x1	x1
00000000-0000-0000-0000-000000000007	ann	user	x2	x2
00000000-0000-0000-0000-000000000007	ann	user	x1	x1
00000000-0000-0000-0000-000000000007	ann	user	x3	x3
00000000-0000-0000-0000-000000000007	ann	user	x4	x4
00000000-0000-0000-0000-000000000007	ann	user	x5	x5
00000000-0000-0000-0000-000000000007	ann	user	x6	x6
00000000-0000-0000-0000-000000000006	ann	user	m3	id 3
\.
CREATE TEMP TABLE before AS SELECT * FROM memory_store.conversations;
-- the same again: no conversation has changed
COPY memory.messages (conversation_id, account_id, role, content, message_id) FROM STDIN;
00000000-0000-0000-0000-000000000007	ann	user	x1	x1
00000000-0000-0000-0000-000000000007	ann	user	x2	x2
00000000-0000-0000-0000-000000000007	ann	user	x1	x1
00000000-0000-0000-0000-000000000007	ann	user	x3	x3
00000000-0000-0000-0000-000000000007	ann	user	x4	x4
00000000-0000-0000-0000-000000000007	ann	user	x5	x5
00000000-0000-0000-0000-000000000007	ann	user	x6	x6
00000000-0000-0000-0000-000000000006	ann	user	m3	id 3
\.
SELECT count(*) FROM (TABLE before EXCEPT TABLE memory_store.conversations) d;
SELECT seq, parent_seq, content FROM memory.messages WHERE conversation_id = c(7) ORDER BY seq;
COPY memory.messages (conversation_id, account_id, role, content, message_id) FROM STDIN;
00000000-0000-0000-0000-000000000007	ann	user	x7	x7
00000000-0000-0000-0000-000000000007	ann	assistant	x2	x2
\.
COPY memory.messages (conversation_id, account_id, seq, role, content, message_id) FROM STDIN;
00000000-0000-0000-0000-000000000007	ann	7	user	x7	x7
00000000-0000-0000-0000-000000000007	ann	8	user	x7	x7
\.
SELECT * FROM memory.verify();

--
-- Deleted ids, and ids that are changed
--
SELECT memory.delete_message('ann', c(7), 2) IS NOT NULL, memory.delete_message('ann', c(7), 6) IS NOT NULL;
SELECT memory.append('ann', c(7), 'user', 'x2 is another one now', message_id => 'x2'), memory.append('ann', c(7), 'user', 'x6 again', message_id => 'x6');
SELECT unchanged($$SELECT memory.append('ann', c(7), 'user', 'x2 is another one now', message_id => 'x2')$$);
UPDATE memory.messages SET message_id = 'x3' WHERE account_id = 'ann' AND conversation_id = c(7) AND seq = 1;
UPDATE memory.messages SET message_id = 'same' WHERE account_id = 'ann' AND conversation_id = c(7) AND seq IN (1, 5);
UPDATE memory.messages SET message_id = 'x6' WHERE account_id = 'ann' AND conversation_id = c(7) AND seq = 7;
-- what counts is what the statement leaves: two change places, one takes what another one gives up
UPDATE memory.messages SET message_id = CASE seq WHEN 1 THEN 'x3' ELSE 'x1' END WHERE account_id = 'ann' AND conversation_id = c(7) AND seq IN (1, 3);
UPDATE memory.messages SET message_id = CASE seq WHEN 5 THEN 'x4' END WHERE account_id = 'ann' AND conversation_id = c(7) AND seq IN (4, 5);
UPDATE memory.messages SET message_id = 'new ' || seq WHERE account_id = 'ann' AND conversation_id = c(7) AND seq > 5;
SELECT seq, content, message_id FROM memory.messages WHERE conversation_id = c(7) ORDER BY seq;
SELECT unchanged($$SELECT memory.append('ann', c(7), 'user', 'x1', message_id => 'x3')$$), unchanged($$SELECT memory.append('ann', c(7), 'user', 'x1', message_id => 'x1')$$),
	unchanged($$SELECT memory.append('ann', c(7), 'user', 'x2 is another one now', message_id => 'new 7')$$);
SELECT memory.append('ann', c(7), 'user', 'free', message_id => 'x2'), memory.append('ann', c(7), 'user', 'free', message_id => 'x6'), memory.append('ann', c(7), 'user', 'free', message_id => 'x5');
-- an edit is what the next append compares with
SELECT memory.edit_message('ann', c(7), 1, 'edited') IS NOT NULL;
SELECT unchanged($$SELECT memory.append('ann', c(7), 'user', 'x1', message_id => 'x3')$$), unchanged($$SELECT memory.append('ann', c(7), 'user', 'edited', message_id => 'x3')$$);
SELECT memory.delete_conversation('ann', c(7)) IS NOT NULL;
SELECT told($$SELECT memory.append('ann', c(7), 'user', 'edited', message_id => 'x3')$$);
SELECT * FROM memory.verify();

--
-- Rolled back, nested, forgotten
--
BEGIN;
SELECT memory.append('ann', c(8), 'user', 'kept', message_id => 'kept');
SAVEPOINT s;
SELECT memory.append('ann', c(8), 'user', 'lost', message_id => 'lost');
ROLLBACK TO s;
SELECT memory.append('ann', c(8), 'user', 'kept', message_id => 'kept'), memory.append('ann', c(8), 'user', 'again', message_id => 'lost');
SELECT memory.append('ann', c(8), 'user', 'again', message_id => 'lost');
COMMIT;
INSERT INTO memory.messages (account_id, conversation_id, role, content, message_id)
	SELECT 'ann', c(9), 'user', 'seq ' || memory.append('ann', c(8), 'user', 'again', message_id => 'lost'), 'i' || i FROM generate_series(1, 6) i;
SELECT conversation_id, seq, content FROM memory.messages WHERE account_id = 'ann' AND conversation_id IN (c(8), c(9)) ORDER BY 1, 2;
SELECT memory.append('cat', c(1), 'user', 'cat''s', message_id => 'm1');
SELECT memory.forget('cat') -> 'messages' AS forgotten;
SELECT memory.append('cat', c(1), 'user', 'another cat''s', message_id => 'm1');
SET memory_ext.purge_after = 0;
SELECT memory_store.purge() > 0 AS purged;
SELECT memory.append('ann', c(7), 'user', 'anew', message_id => 'x3');
RESET memory_ext.purge_after;

--
-- Only compacted segments have it
--
SELECT memory.append('ann', c(12), 'user', 'no id');
SET memory_ext.compact_after = 0;
SELECT memory.seal('ann') > 0 AS sealed;
SELECT segments > 0 AS compacted FROM memory_store.compact_batch(c(0), '', 1000);
SELECT conversation_id, count(*) AS segments, bool_and(message_ids IS NOT NULL) AS filtered, bool_and(octet_length(message_ids) = 2 * c.message_count) AS of_all
	FROM memory_store.segments s JOIN memory_store.conversations c USING (conversation_id, account_id)
	WHERE account_id = 'ann' AND conversation_id IN (c(4), c(5)) GROUP BY 1 ORDER BY 1;
SELECT unchanged($$SELECT memory.append('ann', c(4), 'user', 'm7', message_id => 'm7')$$), unchanged($$SELECT memory.append('ann', c(5), 'user', 'm79', message_id => 'm79')$$),
	unchanged($$SELECT memory.append('ann', c(5), 'user', 'm79!', message_id => 'm79')$$);
SELECT load('conversation_id, account_id, seq, role, content, message_id', 'message_id IS NOT NULL');
SELECT memory.append('ann', c(4), 'user', 'new', message_id => 'new');
SELECT * FROM memory.verify();

--
-- Imports: by number, by id, by place
--
CREATE FUNCTION import(conversation integer, messages text) RETURNS TABLE (state text, messages bigint, reason text, message text) LANGUAGE sql AS $$
	SELECT i.state, i.messages, i.reason, i.message
	FROM memory.import_document('imp', format('{"conversation_id": "%s", "messages": [%s]}', c(conversation), messages), 'native') i $$;
-- all have an id
SELECT * FROM import(1, '{"role": "user", "content": "a", "message_id": "a"}, {"role": "user", "content": "b", "message_id": "b"}');
SELECT * FROM import(1, '{"role": "user", "content": "a", "message_id": "a"}, {"role": "user", "content": "b", "message_id": "b"}, {"role": "user", "content": "c", "message_id": "c"}');
SELECT * FROM import(1, '{"role": "user", "content": "a", "message_id": "a"}, {"role": "user", "content": "other", "message_id": "b"}');
-- one has none, so that places count: an id that comes again is the same message, or a contradiction
CREATE FUNCTION import_chat(conversation integer, ids text) RETURNS TABLE (state text, messages bigint, reason text, message text) LANGUAGE sql AS $$
	SELECT i.state, i.messages, i.reason, i.message
	FROM memory.import_document('imp', jsonb_build_object('id', c(conversation), 'messages', (SELECT jsonb_agg(
		jsonb_strip_nulls(jsonb_build_object('id', CASE WHEN id <> '-' THEN left(id, 1) END, 'role', 'user', 'parts', jsonb_build_array(jsonb_build_object('type', 'text', 'text', id)))) ORDER BY n)
		FROM string_to_table(ids, ' ') WITH ORDINALITY u (id, n)))::text, 'vercel') i $$;
SELECT * FROM import_chat(2, 'a - a d');
SELECT * FROM import_chat(2, 'a - a d');
SELECT * FROM import_chat(2, 'a - a d d e');
SELECT * FROM import_chat(2, 'a - a d d e d-other');
SELECT * FROM import_chat(3, 'a - a-other');
SELECT * FROM import_chat(3, 'a b a');
-- numbers: another number is a contradiction
SELECT * FROM import(4, '{"seq": 1, "role": "user", "content": "a", "message_id": "a"}, {"seq": 3, "role": "user", "content": "c", "message_id": "c"}');
SELECT * FROM import(4, '{"seq": 1, "role": "user", "content": "a", "message_id": "a"}, {"seq": 3, "role": "user", "content": "c", "message_id": "c"}, {"seq": 4, "role": "user", "content": "d", "message_id": "d"}');
SELECT * FROM import(4, '{"seq": 1, "role": "user", "content": "a", "message_id": "a"}, {"seq": 5, "role": "user", "content": "c", "message_id": "c"}');
SELECT * FROM import(5, '{"seq": 1, "role": "user", "content": "a", "message_id": "a"}, {"seq": 2, "role": "user", "content": "a", "message_id": "a"}');
-- and many at once, which are made ready before the lock
SET memory_ext.import_on_error = skip;
INSERT INTO memory.import_documents SELECT format('{"account_id": "imp", "conversation_id": "%s", "messages": [%s]}', c(100 + i),
	(SELECT string_agg(format('{"role": "user", "content": "m%s", "message_id": "%s"}', j, CASE WHEN i % 10 = 0 AND j = 9 THEN 1 ELSE j END), ', ' ORDER BY j) FROM generate_series(1, 9) j))
	FROM generate_series(1, 30) i, generate_series(1, 2);
RESET memory_ext.import_on_error;
SELECT documents, imported, unchanged, rejected, messages FROM memory.jobs ORDER BY job_id DESC LIMIT 1;
SELECT reason, message, count(*) FROM memory.job_errors WHERE job_id = (SELECT max(job_id) FROM memory.jobs) AND conversation_id = c(110) GROUP BY 1, 2;
SELECT conversation_id, seq, content, message_id FROM memory.messages WHERE account_id = 'imp' AND conversation_id < c(100) ORDER BY 1, 2;
-- the numbers of the import are found by an append
SELECT memory.append('imp', c(101), 'user', 'm3', message_id => '3'), memory.append('imp', c(101), 'user', 'm10', message_id => '10');
SELECT * FROM memory.verify();

--
-- A full plan refuses new messages, not ones that are there
--
SELECT memory.append('dan', c(1), 'user', 'one', message_id => 'one');
INSERT INTO memory.plans (plan_id) VALUES ('tiny');
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('tiny', 'messages', 'lifetime', 1);
SELECT memory.subscribe('dan', 'tiny');
SELECT memory.append('dan', c(1), 'user', 'two', message_id => 'two');
SELECT told($$SELECT memory.append('dan', c(1), 'user', 'three', message_id => 'three')$$) ~ '^MX001' AS refused;
SELECT unchanged($$SELECT memory.append('dan', c(1), 'user', 'two', message_id => 'two')$$), unchanged($$SELECT memory.append('dan', c(1), 'user', 'one', message_id => 'one', created_at => now())$$),
	unchanged($$SELECT memory.append('dan', c(1), '[{"role": "user", "content": "two", "message_id": "two"}]')$$);
SELECT charged FROM state WHERE account_id = 'dan';

--
-- Without direct access, by statements
--
CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER pass BEFORE INSERT ON memory_store.tail FOR EACH ROW EXECUTE FUNCTION pass();
SELECT memory.append('eve', c(1), 'user', 'e' || i, message_id => 'e' || i) FROM generate_series(1, 6) i;
SELECT i, unchanged(format($$SELECT memory.append('eve', c(1), 'user', %L, message_id => %1$L)$$, 'e' || i)) FROM generate_series(1, 6) i;
SELECT unchanged($$SELECT memory.append('eve', c(1), 'user', '!', message_id => 'e1')$$), unchanged($$SELECT memory.append('eve', c(1), 'user', '!', message_id => 'e6')$$);
DROP TRIGGER pass ON memory_store.tail;
DROP FUNCTION pass;

--
-- Filters: an id that is there is always found; one that is not is not, even where a filter says that it may be
--
RESET memory_ext.segment_messages;
SELECT cardinality(memory.append('fay', c(1), jsonb_agg(jsonb_build_object('role', 'user', 'content', 'c', 'message_id', md5(i::text)) ORDER BY i))) FROM generate_series(1, 5000) i;
SELECT count(*) AS segments, count(message_ids) AS filters FROM memory_store.segments WHERE account_id = 'fay';
-- each of 79 filters says "perhaps" to one new id in 1700: of 2000 some ninety are searched for
SELECT bool_and(memory.append('fay', c(1), 'user', 'new ' || i, message_id => 'new ' || i) = 5000 + i) AS all_new FROM generate_series(1, 2000) i;
SELECT bool_and(memory.append('fay', c(1), 'user', 'c', message_id => md5(i::text)) = i) AS all_found FROM generate_series(1, 5000, 7) i;
SELECT bool_and(memory.append('fay', c(1), 'user', 'new ' || i, message_id => 'new ' || i) = 5000 + i) AS all_found FROM generate_series(1, 2000, 3) i;
INSERT INTO memory.messages (account_id, conversation_id, role, content, message_id) SELECT 'fay', c(1), 'user', 'c', md5(i::text) FROM generate_series(1, 6000) i ORDER BY random();
SELECT message_count FROM memory.conversations WHERE account_id = 'fay';
-- a filter that is too large for its row, moved with the segment's other values
SELECT segments > 0 AS compacted FROM memory_store.compact_batch(c(0), '', 1000);
SELECT octet_length(message_ids) AS filter, memory_store.toast_value(message_ids) IS NOT NULL AS toasted FROM memory_store.segments WHERE account_id = 'fay' ORDER BY 1 DESC LIMIT 1;
CREATE TEMP TABLE toasted AS SELECT memory_store.toast_value(message_ids) AS value, message_ids FROM memory_store.segments WHERE memory_store.toast_value(message_ids) IS NOT NULL;
SELECT moved > 0 AS moved FROM memory_store.reclaim_batch('toast', 0, 1000);
SELECT bool_and(memory_store.toast_value(s.message_ids) IS NOT NULL AND memory_store.toast_value(s.message_ids) <> t.value) AS moved
	FROM memory_store.segments s JOIN toasted t USING (message_ids);
SELECT bool_and(memory.append('fay', c(1), 'user', 'c', message_id => md5(i::text)) = i) AS all_found FROM generate_series(1, 5000, 99) i;
-- a filter's bits are on disk: the same everywhere
SELECT memory_store.message_ids('[{"seq": 1, "role": "user", "content": "c", "message_id": "a"}, {"seq": 2, "role": "user", "content": "c"}, {"seq": 3, "role": "user", "content": "c", "message_id": "漢"}]');
SELECT memory_store.message_ids('[{"seq": 1, "role": "user", "content": "c", "message_id": ""}]'), memory_store.message_ids('[{"seq": 1, "role": "user", "content": "c"}]'), memory_store.message_ids('[]');
SELECT * FROM memory.verify();

-- what verify says of a filter that lacks an id, or is not wanted, or missing; of an id that is there twice
CREATE FUNCTION problems(statement text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	found text[];
BEGIN
	BEGIN
		EXECUTE statement;
		SELECT array_agg(v.problem ORDER BY 1) INTO found FROM memory.verify('ann') v;
		RAISE EXCEPTION 'back';
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
	RETURN found;
END $$;
SELECT problems($$UPDATE memory_store.segments SET message_ids = set_bit(message_ids, i, 0) FROM generate_series(0, 63) i WHERE account_id = 'ann' AND conversation_id = c(4) AND first_seq = 1 AND get_bit(message_ids, i) = 1$$);
SELECT problems($$UPDATE memory_store.segments SET message_ids = NULL WHERE account_id = 'ann' AND conversation_id = c(4) AND first_seq = 1$$);
SELECT problems($$UPDATE memory_store.segments SET message_ids = message_ids || '\xff' WHERE account_id = 'ann' AND conversation_id = c(4) AND first_seq = 1$$);
SELECT problems($$UPDATE memory_store.segments SET message_ids = '\xffff' WHERE account_id = 'ann' AND conversation_id = c(12) AND message_ids IS NULL$$);
SELECT problems($$UPDATE memory_store.tail SET message_id = 'm3' WHERE account_id = 'ann' AND conversation_id = c(4)$$);
SELECT * FROM memory.verify();

DROP VIEW state;
DROP TABLE file;
DROP FUNCTION c, told, unchanged, load, problems, import, import_chat;
DELETE FROM memory.plan_limits WHERE plan_id = 'tiny';
TRUNCATE memory_store.subscriptions;
DELETE FROM memory.plans WHERE plan_id = 'tiny';
