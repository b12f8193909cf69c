-- memory.messages and memory.conversations as planner and executor see them: what scans read, in which
-- order, what statements write and when, what a confined session can find out.
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'

CREATE SCHEMA relation_test;
SET search_path = relation_test, public;
\set c1 '00000000-0000-0000-0000-000000000001'
\set c2 '00000000-0000-0000-0000-000000000002'
\set c3 '00000000-0000-0000-0000-000000000003'
\set c4 '00000000-0000-0000-0000-000000000004'

-- 20 accounts, 400 conversations of 20 messages: two segments of 8 and a tail of 4; one message a minute
SET memory_ext.segment_messages = 8;
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content, created_at, metadata)
	SELECT 'account ' || lpad((c % 20)::text, 2, '0'), ('00000000-0000-0000-0001-' || lpad(c::text, 12, '0'))::uuid, m,
		CASE m % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, 'message ' || m, '2026-01-01Z'::timestamptz + m * interval '1 min',
		CASE WHEN m % 5 = 0 THEN jsonb_build_object('n', m) END
	FROM generate_series(0, 399) c, generate_series(1, 16) m;
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content, created_at)
	SELECT 'account ' || lpad((c % 20)::text, 2, '0'), ('00000000-0000-0000-0001-' || lpad(c::text, 12, '0'))::uuid, m,
		'user', 'message ' || m, '2026-01-01Z'::timestamptz + m * interval '1 min'
	FROM generate_series(0, 399) c, generate_series(17, 20) m;
RESET memory_ext.segment_messages;
ANALYZE memory_store.conversations, memory_store.segments, memory_store.tail;
SELECT (SELECT count(*) FROM memory_store.segments) AS segments, (SELECT count(*) FROM memory_store.tail) AS tail_rows;
CREATE TABLE chats (id integer PRIMARY KEY, conversation_id uuid, account_id text, note text);
INSERT INTO chats SELECT c, ('00000000-0000-0000-0001-' || lpad(c::text, 12, '0'))::uuid, 'account ' || lpad((c % 20)::text, 2, '0'), 'note ' || c
	FROM generate_series(0, 399) c;
ANALYZE chats;
-- Each scan of a query's plan: conversations, segments opened and passed over, rows given or thrown away.
CREATE FUNCTION scans(query text) RETURNS TABLE (scan text, conversations bigint, opened bigint, skipped bigint, rows_read bigint) LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query INTO plan;
	RETURN QUERY SELECT p->>'Relation Name', (p->>'Conversations')::bigint, (p->>'Segments Opened')::bigint, (p->>'Segments Skipped')::bigint,
			((coalesce((p->>'Actual Rows')::numeric, 0) + coalesce((p->>'Rows Removed by Filter')::numeric, 0))
			* (p->>'Actual Loops')::numeric)::bigint
		FROM jsonb_path_query(plan, 'strict $.**') p
		WHERE jsonb_typeof(p) = 'object' AND p ? 'Conversations';
END $$;
-- The kinds of nodes of a plan, from the top.
CREATE FUNCTION nodes(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON, COSTS OFF) ' || query INTO plan;
	RETURN (SELECT string_agg(n #>> '{}', ', ') FROM jsonb_path_query(plan, 'strict $.**."Node Type"') n);
END $$;

--
-- Joins give their values to the scan
--
SELECT * FROM scans('SELECT m.* FROM chats c JOIN memory.messages m USING (conversation_id, account_id) WHERE c.id = 7');
SELECT * FROM scans('SELECT m.* FROM chats c JOIN memory.messages m USING (conversation_id) WHERE c.id = 7');
SELECT * FROM scans('SELECT m.* FROM chats c JOIN memory.conversations m USING (conversation_id, account_id) WHERE c.id = 7');
SELECT * FROM scans('SELECT * FROM chats c LEFT JOIN memory.messages m ON m.conversation_id = c.conversation_id AND m.account_id = c.account_id AND m.seq > 16 WHERE c.id = 7');
SELECT * FROM scans('SELECT * FROM memory.messages WHERE (conversation_id, account_id) IN (SELECT conversation_id, account_id FROM chats WHERE id IN (3, 4))');
SELECT * FROM scans('SELECT * FROM chats c WHERE id < 3 AND EXISTS (SELECT FROM memory.messages m WHERE m.conversation_id = c.conversation_id AND m.account_id = c.account_id AND m.seq = 20)');
-- an account by a join
SELECT * FROM scans($$SELECT m.* FROM (VALUES ('account 07')) v (a) JOIN memory.conversations m ON m.account_id = v.a$$);
-- the last conversations of an account with their last messages
SELECT * FROM scans($$SELECT c.conversation_id, m.seq FROM (SELECT * FROM memory.conversations WHERE account_id = 'account 03'
	ORDER BY updated_at DESC, conversation_id LIMIT 3) c CROSS JOIN LATERAL (SELECT seq FROM memory.messages WHERE conversation_id = c.conversation_id
	AND account_id = c.account_id ORDER BY seq DESC LIMIT 2) m$$);
SELECT c.conversation_id, m.seq FROM (SELECT * FROM memory.conversations WHERE account_id = 'account 03'
	ORDER BY updated_at DESC, conversation_id LIMIT 3) c CROSS JOIN LATERAL (SELECT seq FROM memory.messages WHERE conversation_id = c.conversation_id
	AND account_id = c.account_id ORDER BY seq DESC LIMIT 2) m ORDER BY 1, 2;
-- all of them: one pass over everything is cheaper
SELECT nodes('SELECT count(m.content) FROM chats c JOIN memory.messages m USING (conversation_id, account_id)') ~ 'Hash' AS by_hash;
SELECT count(m.content), sum(m.seq) FROM chats c JOIN memory.messages m USING (conversation_id, account_id);
-- UPDATE and DELETE by a join read what they change
BEGIN;
SELECT * FROM scans('UPDATE memory.messages m SET model = c.note FROM chats c WHERE c.id = 9 AND m.conversation_id = c.conversation_id AND m.account_id = c.account_id AND m.seq <= 3');
SELECT * FROM scans('DELETE FROM memory.messages m USING chats c WHERE c.id = 9 AND m.conversation_id = c.conversation_id AND m.account_id = c.account_id AND m.seq > 17');
SELECT seq, model FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000009' ORDER BY seq DESC LIMIT 2;
SELECT seq, model FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000009' ORDER BY seq LIMIT 4;
ROLLBACK;
-- a generic plan does the same
SET plan_cache_mode = force_generic_plan;
PREPARE join_one(integer) AS SELECT count(m.content) FROM chats c JOIN memory.messages m USING (conversation_id, account_id) WHERE c.id = $1;
SELECT * FROM scans('EXECUTE join_one(5)');
EXECUTE join_one(5);
DEALLOCATE join_one;
RESET plan_cache_mode;

--
-- Ranges, order, columns
--
\set conversation '''00000000-0000-0000-0001-000000000005'' AND account_id = ''account 05'''
SELECT * FROM scans($$SELECT content FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000005' AND seq > 8 AND seq <= 10$$);
SELECT array_agg(seq) FROM memory.messages WHERE conversation_id = :conversation AND seq > 8 AND 10 >= seq;
SELECT array_agg(seq) FROM memory.messages WHERE conversation_id = :conversation AND seq BETWEEN 7::smallint AND 9::bigint;
SELECT array_agg(seq) FROM memory.messages WHERE conversation_id = :conversation AND seq = 17;
SELECT array_agg(seq) FROM memory.messages WHERE conversation_id = :conversation AND (seq < -9223372036854775808 OR seq > 9223372036854775807);
SELECT array_agg(seq) FROM memory.messages WHERE conversation_id = :conversation AND seq < '-9223372036854775808'::bigint;
SELECT array_agg(seq) FROM memory.messages WHERE conversation_id = :conversation AND seq > 3 AND seq < NULL;
-- times: segments by their headers
SELECT * FROM scans($$SELECT content FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000005' AND created_at >= '2026-01-01 00:12Z'$$);
SELECT array_agg(seq) FROM memory.messages WHERE conversation_id = :conversation AND created_at > '2026-01-01 00:14Z' AND created_at <= '2026-01-01 00:18Z';
-- an ordered scan needs no sort and stops early, from either end
SELECT nodes($$SELECT content FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000005' ORDER BY seq DESC LIMIT 3$$),
	nodes($$SELECT content FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000005' AND account_id = 'account 05' ORDER BY conversation_id, seq$$);
SELECT * FROM scans($$SELECT content FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000005' ORDER BY seq DESC LIMIT 3$$);
SELECT * FROM scans($$SELECT content FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000005' ORDER BY seq DESC LIMIT 6$$);
SELECT * FROM scans($$SELECT content FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000005' ORDER BY seq LIMIT 3$$);
SELECT array_agg(seq) FROM (SELECT seq FROM memory.messages WHERE conversation_id = :conversation ORDER BY seq DESC LIMIT 15) x;
SELECT array_agg(seq) FROM (SELECT seq FROM memory.messages WHERE conversation_id = :conversation AND seq < 18 AND seq >= 6 ORDER BY seq DESC) x;
SELECT array_agg(seq) FROM (SELECT seq FROM memory.messages WHERE conversation_id = :conversation ORDER BY seq) x;
-- rows are counted without being opened
SELECT * FROM scans($$SELECT count(*) FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000005'$$);
SELECT * FROM scans($$SELECT count(*) FROM memory.messages$$);
SELECT * FROM scans($$SELECT account_id, count(*) FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000005' AND seq <= 8 GROUP BY 1$$);
SELECT count(*) FROM memory.messages;
-- conversations of several accounts that have one id are merged, sealed and in the tail
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content)
	SELECT a, :'c4', m, 'user', a || ' ' || m || ' ' || repeat('long ', 1000 * (m % 2)) FROM unnest(ARRAY['one', 'two', 'three']) a, generate_series(1, 6) m WHERE m % 3 <> length(a) % 3;
SELECT memory.seal('two', :'c4');
SELECT account_id, seq, length(content) FROM memory.messages WHERE conversation_id = :'c4' ORDER BY seq DESC LIMIT 7;
SELECT string_agg(seq::text, ' ') FROM (SELECT seq FROM memory.messages WHERE conversation_id = :'c4' AND seq > 1 ORDER BY seq) x;
SELECT nodes($$SELECT seq FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0000-000000000004' ORDER BY seq DESC$$);
SELECT account_id, string_agg(seq::text, ' ' ORDER BY seq) FROM memory.messages WHERE conversation_id = :'c4' AND account_id IN ('one', 'three') GROUP BY 1 ORDER BY 1;
DELETE FROM memory.conversations WHERE conversation_id = :'c4' AND account_id <> 'wes';
-- lists, with duplicates and nulls; no conversation, no account
SELECT count(*) FROM memory.messages WHERE conversation_id = ANY (ARRAY['00000000-0000-0000-0001-000000000005', NULL, '00000000-0000-0000-0001-000000000005',
	'00000000-0000-0000-0001-000000000006']::uuid[]);
SELECT count(*), count(DISTINCT account_id) FROM memory.conversations WHERE account_id IN ('account 01', 'account 01', 'account 03', 'nobody');
SELECT count(*) FROM memory.messages WHERE conversation_id = ANY ('{}'::uuid[]);
SELECT count(*) FROM memory.messages WHERE account_id = NULL;
SELECT count(*) FROM memory.conversations WHERE account_id = repeat('x', 10000);
SELECT count(*) FROM memory.messages WHERE conversation_id = :conversation AND account_id IN ('account 05', 'account 06');
-- processes that share a scan give the same rows as one
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT nodes('SELECT sum(length(content)), count(metadata) FROM memory.messages') ~ 'Gather' AS is_parallel;
SELECT sum(length(content)), count(metadata), sum(seq) FROM memory.messages;
SELECT count(*), sum(message_count) FROM memory.conversations WHERE archived IS FALSE;
SELECT sum(opened) FROM scans('SELECT sum(length(content)) FROM memory.messages');
SELECT count(*), count(content) FROM memory.messages m JOIN chats c USING (conversation_id) WHERE c.id % 2 = 0;
SET max_parallel_workers_per_gather = 0;
SELECT sum(length(content)), count(metadata), sum(seq) FROM memory.messages;
RESET ALL;
SET search_path = relation_test, public;
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
-- cursors, forward and back, and one that outlives its transaction
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT seq, content FROM memory.messages WHERE conversation_id = :conversation ORDER BY seq;
FETCH 2 FROM c;
MOVE 15 FROM c;
FETCH 2 FROM c;
SAVEPOINT s;
FETCH BACKWARD 2 FROM c;
DELETE FROM memory.messages WHERE conversation_id = :conversation;
FETCH 2 FROM c;
ROLLBACK TO s;
FETCH ALL FROM c;
DECLARE h CURSOR WITH HOLD FOR SELECT seq FROM memory.messages WHERE conversation_id = :conversation AND seq > 18;
COMMIT;
FETCH ALL FROM h;
CLOSE h;

--
-- Writing
--
-- conversations, their messages and the answers to them in one statement
WITH c AS (INSERT INTO memory.conversations (conversation_id, account_id, title) VALUES (:'c1', 'wes', 'first') RETURNING conversation_id, account_id),
	q AS (INSERT INTO memory.messages (conversation_id, account_id, role, content) SELECT conversation_id, account_id, 'user', 'question ' || i
		FROM c, generate_series(1, 2) i RETURNING conversation_id, account_id, seq)
	INSERT INTO memory.messages (conversation_id, account_id, parent_seq, role, content) SELECT conversation_id, account_id, seq, 'assistant', 'answer to ' || seq FROM q
	RETURNING seq, parent_seq, content;
SELECT title, message_count, head_seq FROM memory.conversations WHERE account_id = 'wes';
-- what takes the place of a message that the same statement deletes answers what that answered
WITH d AS (DELETE FROM memory.messages WHERE conversation_id = :'c1' AND seq = 4 RETURNING *)
	INSERT INTO memory.messages (conversation_id, account_id, role, content) SELECT conversation_id, account_id, role, 'another answer' FROM d RETURNING seq, parent_seq;
WITH d AS (DELETE FROM memory.messages WHERE conversation_id = :'c1' AND seq = 5 RETURNING *)
	INSERT INTO memory.messages (conversation_id, account_id, role, content) SELECT conversation_id, account_id, role, 'a third' FROM d;
SELECT seq, parent_seq, content FROM memory.messages WHERE conversation_id = :'c1' ORDER BY seq;
-- a number that was free again, given, is what the next one answers
INSERT INTO memory.messages (conversation_id, account_id, seq, role, content) VALUES (:'c2', 'wes', 1, 'user', 'one'), (:'c2', 'wes', 2, 'user', 'two'), (:'c2', 'wes', 3, 'user', 'three');
DELETE FROM memory.messages WHERE conversation_id = :'c2' AND seq > 1;
INSERT INTO memory.messages (conversation_id, account_id, seq, role, content) VALUES (:'c2', 'wes', 2, 'user', 'two again'), (:'c2', 'wes', NULL, 'user', 'next')
	RETURNING seq, content;
SELECT seq, parent_seq, content FROM memory.messages WHERE conversation_id = :'c2' ORDER BY seq;
-- ON CONFLICT DO NOTHING: rows of before and of the statement itself are skipped, and not returned
INSERT INTO memory.messages (conversation_id, account_id, seq, role, content) VALUES (:'c2', 'wes', 1, 'user', 'x'), (:'c2', 'wes', 7, 'user', 'seven'),
	(:'c2', 'wes', 7, 'user', 'y'), (:'c2', 'wes', NULL, 'user', 'eight') ON CONFLICT DO NOTHING RETURNING seq, content;
INSERT INTO memory.messages (conversation_id, account_id, seq, role, content) VALUES (:'c2', 'wes', 1, 'user', 'x') ON CONFLICT DO NOTHING;
INSERT INTO memory.conversations (conversation_id, account_id, title) VALUES (:'c2', 'wes', 'x'), (:'c3', 'wes', 'third'), (:'c3', 'wes', 'y')
	ON CONFLICT DO NOTHING RETURNING conversation_id, title;
INSERT INTO memory.messages (conversation_id, account_id, role, content, message_id) VALUES (:'c2', 'wes', 'user', 'with an id', 'id'), (:'c2', 'wes', 'user', 'another', 'id'),
	(:'c2', 'wes', 'user', 'a second', 'id 2') ON CONFLICT DO NOTHING RETURNING seq, content, message_id;
SELECT seq, content FROM memory.messages WHERE conversation_id = :'c2' ORDER BY seq;
SELECT conversation_id, title FROM memory.conversations WHERE account_id = 'wes' ORDER BY 1;
-- upsert, for those who need DO UPDATE
SELECT memory.upsert_conversation('wes', :'c3', title => 'changed', metadata => '{"a": 1}') AS made;
SELECT memory.upsert_conversation('wes', :'c4', title => 'made', archived => true) AS made;
SELECT conversation_id, title, metadata, archived FROM memory.conversations WHERE account_id = 'wes' AND conversation_id IN (:'c3', :'c4') ORDER BY 1;
SELECT memory.delete_conversation('wes', :'c4') > 0 AS deleted;
SELECT memory.upsert_conversation('wes', :'c4');
-- the whole row in RETURNING, also of what is deleted
UPDATE memory.conversations c SET title = 'once more' WHERE conversation_id = :'c3' RETURNING c.title, (c).metadata;
DELETE FROM memory.conversations c WHERE conversation_id = :'c3' RETURNING (c).title, account_id;
-- a column that is set but does not change, and one that is set from another
UPDATE memory.messages SET model = role, tokens = seq::int WHERE conversation_id = :'c2' AND seq <= 2 RETURNING seq, model, tokens;
-- keys cannot be changed
UPDATE memory.messages SET seq = 100 WHERE conversation_id = :'c2' AND seq = 1;
UPDATE memory.conversations SET account_id = 'other' WHERE conversation_id = :'c2';
-- triggers of one's own: before a row they change it or leave it out, after it they see it
CREATE TABLE seen (n serial, what text);
CREATE FUNCTION before_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.content = 'leave out' THEN RETURN NULL; END IF;
	NEW.content := NEW.content || '!';
	RETURN NEW;
END $$;
CREATE FUNCTION after_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO relation_test.seen (what) SELECT TG_OP || ' ' || TG_LEVEL || ' ' || coalesce(NEW.seq, OLD.seq, 0) || ': ' || coalesce(string_agg(seq || ' ' || content, ', ' ORDER BY seq), 'nothing')
		FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0000-000000000002';
	RETURN NULL;
END $$;
CREATE FUNCTION after_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO relation_test.seen (what) SELECT TG_OP || ' ' || TG_LEVEL || ': ' || count(*) FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0000-000000000002';
	RETURN NULL;
END $$;
DELETE FROM memory.messages WHERE conversation_id = :'c2' AND seq > 2;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE ON memory.messages FOR EACH ROW EXECUTE FUNCTION before_row();
INSERT INTO memory.messages (conversation_id, account_id, role, content) VALUES (:'c2', 'wes', 'user', 'leave out'), (:'c2', 'wes', 'user', 'kept') RETURNING content;
CREATE TRIGGER after_row AFTER INSERT OR UPDATE OR DELETE ON memory.messages FOR EACH ROW EXECUTE FUNCTION after_row();
CREATE TRIGGER after_all AFTER INSERT OR UPDATE OR DELETE ON memory.messages FOR EACH STATEMENT EXECUTE FUNCTION after_all();
INSERT INTO memory.messages (conversation_id, account_id, role, content) VALUES (:'c2', 'wes', 'user', 'a'), (:'c2', 'wes', 'user', 'b');
COPY memory.messages (conversation_id, account_id, role, content) FROM stdin;
00000000-0000-0000-0000-000000000002	wes	user	copied
\.
UPDATE memory.messages SET content = 'changed' WHERE conversation_id = :'c2' AND seq = 1;
DELETE FROM memory.messages WHERE conversation_id = :'c2' AND seq <= 2;
SELECT what FROM seen ORDER BY n;
DROP TRIGGER before_row ON memory.messages;
DROP TRIGGER after_row ON memory.messages;
DROP TRIGGER after_all ON memory.messages;
-- a statement that fails leaves nothing behind, wherever in the transaction
BEGIN;
INSERT INTO memory.messages (conversation_id, account_id, role, content) VALUES (:'c2', 'wes', 'user', 'kept');
SAVEPOINT s;
INSERT INTO memory.messages (conversation_id, account_id, seq, role, content) VALUES (:'c2', 'wes', 50, 'user', 'fifty'), (:'c2', 'wes', 50, 'user', 'twice');
ROLLBACK TO s;
INSERT INTO memory.messages (conversation_id, account_id, role, content) VALUES (:'c2', 'wes', 'user', 'kept, too');
COMMIT;
SELECT max(seq), count(*) FILTER (WHERE content LIKE 'kept,%') FROM memory.messages WHERE conversation_id = :'c2';
-- a table of somebody else's on the server is not a relation
CREATE FOREIGN TABLE mine (conversation_id uuid) SERVER memory_ext OPTIONS (relation 'messages');
SELECT * FROM mine;
INSERT INTO mine VALUES (:'c1');
CREATE FOREIGN TABLE other (a int) SERVER memory_ext OPTIONS (relation 'accounts');
CREATE FOREIGN TABLE other (a int) SERVER memory_ext OPTIONS (name 'messages');
CREATE SERVER another FOREIGN DATA WRAPPER memory_ext OPTIONS (host 'x');
-- import_documents gives no rows, and takes none back
SELECT * FROM memory.import_documents;
UPDATE memory.import_documents SET line = 'x';
DELETE FROM memory.import_documents;

--
-- A confined session
--
CREATE ROLE regress_confined LOGIN;
SELECT memory.grant_access('regress_confined', 'writer');
GRANT USAGE ON SCHEMA relation_test TO regress_confined;
GRANT SELECT ON relation_test.chats TO regress_confined;
-- What EXPLAIN tells of a query, with all its numbers but times.
CREATE FUNCTION told(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	lines text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		lines := lines || line || E'\n';
	END LOOP;
	RETURN lines;
END $$;
SET memory_ext.account = 'account 07';
SET ROLE regress_confined;
-- only its own rows are read, whatever is asked
SELECT * FROM scans('SELECT * FROM memory.messages');
SELECT * FROM scans($$SELECT * FROM memory.messages WHERE account_id = 'account 08'$$);
SELECT * FROM scans($$SELECT * FROM memory.messages WHERE account_id > 'account 00' AND content <> 'x'$$);
SELECT * FROM scans('SELECT m.* FROM relation_test.chats c JOIN memory.messages m USING (conversation_id) WHERE c.id IN (6, 7)');
SELECT count(*) FROM memory.conversations;
SELECT count(*), min(account_id), max(account_id) FROM memory.messages WHERE account_id = ANY (ARRAY['account 06', 'account 07', 'account 08']);
-- another's conversation looks like none, in the plan's estimates and counts too
SELECT replace(told($$SELECT * FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000008'$$), '-000000000008', '-N')
	= replace(told($$SELECT * FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000009999'$$), '-000000009999', '-N') AS same;
SELECT replace(told($$SELECT * FROM memory.conversations WHERE account_id = 'account 08'$$), 'account 08', 'N')
	= replace(told($$SELECT * FROM memory.conversations WHERE account_id = 'nobody'$$), 'nobody', 'N') AS same;
SELECT told($$SELECT * FROM memory.messages WHERE account_id < 'account 07'$$) AS told \gset before_
RESET ROLE;
RESET memory_ext.account;
-- and what others have does not show in its estimates
DELETE FROM memory.conversations WHERE account_id < 'account 05';
ANALYZE memory_store.conversations, memory_store.segments, memory_store.tail;
SET memory_ext.account = 'account 07';
SET ROLE regress_confined;
SELECT told($$SELECT * FROM memory.messages WHERE account_id < 'account 07'$$) = :'before_told' AS same;
-- in parallel, one process does all
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
RESET ROLE;
RESET memory_ext.account;
PREPARE all_messages AS SELECT count(content) FROM memory.messages;
SET plan_cache_mode = force_generic_plan;
EXECUTE all_messages;
SET memory_ext.account = 'account 07';
EXECUTE all_messages;
SET parallel_leader_participation = off;
EXECUTE all_messages;
RESET parallel_leader_participation;
-- nobody can be kept waiting by a lock on the table
SET ROLE regress_confined;
BEGIN;
LOCK TABLE memory.messages IN ACCESS EXCLUSIVE MODE;
ROLLBACK;
RESET ROLE;
RESET ALL;

DELETE FROM memory.conversations;
SET client_min_messages = warning;
DROP SCHEMA relation_test CASCADE;
DROP OWNED BY regress_confined;
DROP ROLE regress_confined;
