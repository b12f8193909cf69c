-- Reading: what the relations' conditions reach, history, context windows, single
-- messages, recent conversations page by page, and the storage view.
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'

CREATE SCHEMA read_test;
SET search_path = read_test, public;
\set c1 '00000000-0000-0000-0000-000000000001'
\set c2 '00000000-0000-0000-0000-000000000002'
\set c3 '00000000-0000-0000-0000-000000000003'
\set c4 '00000000-0000-0000-0000-000000000004'
\set c5 '00000000-0000-0000-0000-000000000005'
\set c6 '00000000-0000-0000-0000-000000000006'
\set c7 '00000000-0000-0000-0000-000000000007'

--
-- Conditions on the relations
--
-- 50 accounts, 1000 conversations of 10 messages: one segment and a tail each
SET memory_ext.segment_messages = 8;
INSERT INTO memory.messages (account_id, conversation_id, role, content, tokens)
	SELECT 'account ' || c % 50, ('00000000-0000-0000-0001-' || lpad(c::text, 12, '0'))::uuid, 'user', 'message ' || m, 1
	FROM generate_series(1, 8) m, generate_series(0, 999) c;
INSERT INTO memory.messages (conversation_id, role, content, tokens)
	SELECT ('00000000-0000-0000-0001-' || lpad(c::text, 12, '0'))::uuid, 'user', 'message ' || m, 1
	FROM generate_series(9, 10) m, generate_series(0, 999) c;
RESET memory_ext.segment_messages;
ANALYZE memory_store.conversations, memory_store.segments, memory_store.tail;
SELECT (SELECT count(*) FROM memory_store.segments) AS segments, (SELECT count(*) FROM memory_store.tail) AS tail_rows;

-- The conditions that the scans of a query's plan work by.
CREATE FUNCTION keys(query text) RETURNS TABLE (relation text, key text) LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON, COSTS OFF) ' || query INTO plan;
	RETURN QUERY SELECT p->>'Relation Name', p->>'Key' FROM jsonb_path_query(plan, 'strict $.**') p
		WHERE jsonb_typeof(p) = 'object' AND p ? 'Key';
END $$;
-- Each scan of a query's plan: the conversations and segments that it opens, and how many rows it
-- gives or throws away, in all of its loops.
CREATE FUNCTION scans(query text) RETURNS TABLE (scan text, conversations bigint, segments bigint, rows_read bigint) LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query INTO plan;
	RETURN QUERY SELECT p->>'Relation Name', (p->>'Conversations')::bigint, (p->>'Segments Opened')::bigint,
			((coalesce((p->>'Actual Rows')::numeric, 0) + coalesce((p->>'Rows Removed by Filter')::numeric, 0))
			* (p->>'Actual Loops')::numeric)::bigint
		FROM jsonb_path_query(plan, 'strict $.**') p
		WHERE jsonb_typeof(p) = 'object' AND p ? 'Conversations';
END $$;
-- conversation_id is looked up
SELECT * FROM keys($$SELECT * FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000007'$$);
-- so nothing else is read: one segment with 8 messages, and 2 rows of the tail
SELECT * FROM scans($$SELECT * FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000007'$$);
SELECT * FROM scans($$SELECT * FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000007'
	AND account_id = 'account 7' AND seq > 8$$);
SELECT * FROM scans($$SELECT * FROM memory.messages WHERE conversation_id IN ('00000000-0000-0000-0001-000000000007',
	'00000000-0000-0000-0001-000000000008') AND content LIKE '%9'$$);
-- a list of conversations out of a subselect, as an array or as it is
SELECT * FROM scans($$SELECT * FROM memory.messages WHERE conversation_id = ANY (ARRAY(
	SELECT conversation_id FROM memory.conversations WHERE account_id = 'account 7' ORDER BY conversation_id LIMIT 2))$$);
SELECT * FROM scans($$SELECT * FROM memory.messages WHERE conversation_id IN (
	SELECT conversation_id FROM memory.conversations WHERE account_id = 'account 7' ORDER BY conversation_id LIMIT 2)$$);
-- account_id reaches them, too: only the account's 20 segments are opened
SELECT * FROM scans($$SELECT * FROM memory.messages WHERE account_id = 'account 7'$$);
SELECT * FROM keys($$SELECT * FROM memory.messages WHERE account_id = 'account 7'$$);
-- UPDATE and DELETE likewise
SELECT * FROM scans($$UPDATE memory.messages SET model = 'm' WHERE conversation_id = '00000000-0000-0000-0001-000000000007' AND seq = 3$$);
SELECT * FROM scans($$DELETE FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000007' AND seq = 3$$);
SELECT seq, model FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0001-000000000007' AND seq BETWEEN 2 AND 4 ORDER BY 1;
SELECT * FROM keys($$SELECT * FROM memory.conversations WHERE account_id = 'account 7' AND conversation_id = '00000000-0000-0000-0001-000000000007'$$);
SELECT count(*), min(account_id), max(account_id) FROM memory.conversations WHERE account_id = 'account 7';
-- a prepared statement's parameters do the same as constants
PREPARE one(uuid) AS SELECT count(*) FROM memory.messages WHERE conversation_id = $1;
SET plan_cache_mode = force_generic_plan;
SELECT * FROM scans($$EXECUTE one('00000000-0000-0000-0001-000000000008')$$);
RESET plan_cache_mode;
DEALLOCATE one;

--
-- The storage view
--
SELECT account_id, conversations, messages, segments, tail_messages, raw_bytes, stored_bytes > 0 AS stored, ratio > 0 AS has_ratio
	FROM memory.storage WHERE account_id IN ('account 7', 'account 8') ORDER BY 1;
SELECT count(*), sum(conversations), sum(messages), sum(segments), sum(tail_messages),
	sum(raw_bytes) = (SELECT sum(octet_length(content)) FROM memory.messages) AS raw_bytes_right FROM memory.storage;
SELECT bool_and(s.stored_bytes = (SELECT sum(memory.stored_bytes(body)) FROM memory_store.segments g WHERE g.account_id = s.account_id)
	+ (SELECT sum(pg_column_size(content)) FROM memory_store.tail t WHERE t.account_id = s.account_id)) AS stored_bytes_right,
	bool_and(ratio = round(raw_bytes::numeric / stored_bytes, 2)) AS ratio_right FROM memory.storage s;
-- without messages; and deleted conversations do not count
SELECT memory.create_conversation('empty', :'c1');
SELECT * FROM memory.storage WHERE account_id = 'empty';
SELECT memory.delete_conversation('empty', :'c1');
SELECT count(*) FROM memory.storage WHERE account_id = 'empty';
DELETE FROM memory.conversations;
TRUNCATE memory_store.conversations;

--
-- History
--
SET memory_ext.segment_messages = 4;
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content, tokens, created_at)
	SELECT 'ann', :'c1', seq, CASE seq % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, 'm' || seq, 10, timestamptz '2026-01-01Z' + seq * interval '1 min'
	FROM unnest('{1,2,3,4,5,6,7,8,9,11,14,15}'::bigint[]) seq;
SELECT memory.append('ann', :'c1', 'assistant', 'm16', model => 'm-1', tokens => 10, metadata => '{"a": 1}', message_id => 'id', created_at => '2026-01-02Z');
-- all columns; the newest ones, oldest first
SELECT * FROM memory.history('ann', :'c1', max_messages => 3);
-- the pages before, each before the first seq of the one after
SELECT array_agg(seq) FROM memory.history('ann', :'c1', before_seq => 14, max_messages => 3);
SELECT array_agg(seq) FROM memory.history('ann', :'c1', before_seq => 8, max_messages => 3);
SELECT array_agg(seq) FROM memory.history('ann', :'c1', before_seq => 5, max_messages => 3);
SELECT array_agg(seq) FROM memory.history('ann', :'c1', before_seq => 2, max_messages => 3);
SELECT array_agg(seq) FROM memory.history('ann', :'c1', before_seq => 1, max_messages => 3);
-- before_seq need not exist; and limits at their ends
SELECT array_agg(seq) FROM memory.history('ann', :'c1', before_seq => 13, max_messages => 2);
SELECT array_agg(seq) FROM memory.history('ann', :'c1', before_seq => 9223372036854775807, max_messages => 2);
SELECT array_agg(seq) FROM memory.history('ann', :'c1', before_seq => 0);
SELECT array_agg(seq) FROM memory.history('ann', :'c1', before_seq => (-9223372036854775807 - 1));
SELECT array_agg(seq) FROM memory.history('ann', :'c1', max_messages => 0);
SELECT array_agg(seq) FROM memory.history('ann', :'c1', max_messages => NULL);
SELECT count(*) AS fifty_is_the_default FROM (SELECT memory.append('ann', :'c2', 'user', 'm') FROM generate_series(1, 60)) x;
SELECT count(*), min(seq) FROM memory.history('ann', :'c2');
-- pages of every size, put together, are the whole
CREATE FUNCTION pages(account text, conversation uuid, size integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	page bigint[];
	whole bigint[] := '{}';
BEGIN
	LOOP
		SELECT array_agg(seq) INTO page FROM memory.history(account, conversation, whole[1], size);
		EXIT WHEN page IS NULL;
		whole := page || whole;
	END LOOP;
	RETURN array_to_string(whole, ' ');
END $$;
SELECT DISTINCT pages('ann', :'c1', size) FROM generate_series(1, 15) size;
-- after deletes
DELETE FROM memory.messages WHERE conversation_id = :'c1' AND seq IN (1, 4, 5, 16);
SELECT DISTINCT pages('ann', :'c1', size) FROM generate_series(1, 15) size;
SELECT seq, parent_seq FROM memory.history('ann', :'c1', before_seq => 8);
-- along branches: the head names the branch, pages stay on it
SELECT memory.append('ann', :'c1', 'assistant', 'another answer to 7', tokens => 10, parent_seq => 7);
SELECT memory.append('ann', :'c1', 'user', 'and on', tokens => 10);
SELECT DISTINCT pages('ann', :'c1', size) FROM generate_series(1, 15) size;
SELECT array_agg(seq) FROM memory.history('ann', :'c1', before_seq => 15, max_messages => 2);
SELECT memory.update_conversation('ann', :'c1', head_seq => 11) AS revision;
SELECT DISTINCT pages('ann', :'c1', size) FROM generate_series(1, 15) size;
SELECT memory.seal('ann', :'c1');
SELECT DISTINCT pages('ann', :'c1', size) FROM generate_series(1, 15) size;
-- an empty conversation has no history
SELECT memory.create_conversation('ann', :'c3');
SELECT count(*) FROM memory.history('ann', :'c3');
SELECT count(*) FROM memory.context('ann', :'c3', 100);

--
-- One message, of any branch
--
SELECT seq, parent_seq, role, content FROM memory.message('ann', :'c1', 9);
SELECT seq, parent_seq, role, content FROM memory.message('ann', :'c1', 18);
SELECT (memory.message('ann', :'c1', 17)).content;

--
-- Context windows
--
RESET memory_ext.segment_messages;
SELECT memory.append('bob', :'c4', '[
	{"role": "system", "content": "s", "tokens": 5}, {"role": "user", "content": "u", "tokens": 10},
	{"role": "assistant", "content": "call", "tokens": 10}, {"role": "tool", "content": "r", "tokens": 10},
	{"role": "tool", "content": "r", "tokens": 10}, {"role": "assistant", "content": "a", "tokens": 10},
	{"role": "user", "content": "u", "tokens": 10}, {"role": "assistant", "content": "call", "tokens": 10},
	{"role": "function", "content": "r", "tokens": 10}, {"role": "assistant", "content": "a", "tokens": 10}]');
CREATE FUNCTION window_of(conversation uuid, max_tokens integer, max_messages integer DEFAULT NULL, include_system boolean DEFAULT true)
	RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(seq || ' ' || role, ', ') || ' (' || sum(tokens) || ')'
	FROM memory.context('bob', conversation, max_tokens, max_messages, include_system)
$$;
-- every budget: it is kept, but for the system message, and no window begins with a result
SELECT max_tokens, window_of(:'c4', max_tokens) FROM generate_series(0, 100, 5) max_tokens;
SELECT window_of(:'c4', NULL) AS no_limit;
SELECT window_of(:'c4', 2147483647) AS largest;
-- max_messages counts those besides the system's
SELECT n, window_of(:'c4', NULL, n) FROM generate_series(0, 10) n;
SELECT window_of(:'c4', 35, 2), window_of(:'c4', 25, 5);
-- without the system message, all of the budget is for the others
SELECT max_tokens, window_of(:'c4', max_tokens, include_system => false) FROM generate_series(80, 100, 5) max_tokens;
SELECT window_of(:'c4', NULL, 4, false);
-- sealed or not, it is the same
SELECT memory.seal('bob', :'c4');
SELECT window_of(:'c4', 35), window_of(:'c4', 45);
SELECT window_of(:'c4', NULL);
-- other names of results; a result at the very end
SELECT memory.append('bob', :'c5', '[
	{"role": "developer", "content": "s", "tokens": 1}, {"role": "user", "content": "u", "tokens": 1},
	{"role": "assistant", "content": "call", "tokens": 1}, {"role": "observation", "content": "r", "tokens": 1},
	{"role": "function_call_output", "content": "r", "tokens": 1}, {"role": "tool_result", "content": "r", "tokens": 1}]');
SELECT max_tokens, window_of(:'c5', max_tokens) FROM generate_series(1, 6) max_tokens;
-- several system messages, in several segments; one in the middle is a message as any other
SET memory_ext.segment_messages = 1;
SELECT memory.append('bob', :'c6', '[
	{"role": "system", "content": "s", "tokens": 10}, {"role": "developer", "content": "s", "tokens": 10},
	{"role": "system", "content": "s", "tokens": 10}, {"role": "user", "content": "u", "tokens": 1},
	{"role": "system", "content": "s", "tokens": 1}, {"role": "user", "content": "u", "tokens": 1}]');
SELECT max_tokens, window_of(:'c6', max_tokens) FROM generate_series(29, 34) max_tokens;
SELECT window_of(:'c6', 2, include_system => false), window_of(:'c6', NULL, include_system => false);
RESET memory_ext.segment_messages;
-- nothing but a system message; none at all
SELECT memory.append('bob', :'c7', 'system', 's', tokens => 10);
SELECT window_of(:'c7', 0), window_of(:'c7', 0, include_system => false);
DELETE FROM memory.messages WHERE conversation_id = :'c4' AND seq = 1;
SELECT window_of(:'c4', 20), window_of(:'c4', NULL);
-- branches with system messages of their own
SELECT memory.append('bob', :'c7', '[{"role": "user", "content": "u", "tokens": 1}, {"role": "assistant", "content": "a", "tokens": 1},
	{"role": "system", "content": "another", "tokens": 20, "parent_seq": 0}, {"role": "developer", "content": "and one more", "tokens": 1},
	{"role": "user", "content": "u", "tokens": 1}, {"role": "assistant", "content": "a", "tokens": 1},
	{"role": "user", "content": "no system message", "tokens": 1, "parent_seq": 0}]');
SELECT window_of(:'c7', 1);
SELECT memory.update_conversation('bob', :'c7', head_seq => 7) > 0 AS back;
SELECT window_of(:'c7', 1), window_of(:'c7', 22), window_of(:'c7', 100), window_of(:'c7', 100, include_system => false);
SELECT memory.update_conversation('bob', :'c7', head_seq => 3) > 0 AS back;
SELECT window_of(:'c7', 1), window_of(:'c7', 11), window_of(:'c7', 100);

--
-- Recent conversations
--
DELETE FROM memory.conversations;
TRUNCATE memory_store.conversations;
-- an account's own, last changed first; archived ones only when asked for
SELECT memory.create_conversation('cat', :'c1', 'one', '{"k": 1}', '2026-01-01Z'), memory.create_conversation('cat', :'c2', 'two', NULL, '2026-01-02Z'),
	memory.create_conversation('cat', :'c3', 'three', NULL, '2026-01-03Z'), memory.create_conversation('dan', :'c4', 'not cat''s');
SELECT * FROM memory.recent_conversations('cat');
SELECT memory.append('cat', :'c1', 'user', 'hello', tokens => 1, created_at => '2026-01-04Z');
SELECT memory.update_conversation('cat', :'c2', archived => true) > 0 AS archived;
SELECT memory.append('cat', :'c2', 'user', 'archived', tokens => 1, created_at => '2026-01-05Z');
SELECT title, archived, head_seq, message_count, token_count, content_bytes, revision FROM memory.recent_conversations('cat');
SELECT title, archived, head_seq, message_count, token_count, content_bytes, revision FROM memory.recent_conversations('cat', include_archived => true);
SELECT title FROM memory.recent_conversations('cat', max_conversations => 1);
SELECT count(*) FROM memory.recent_conversations('cat', max_conversations => 0);
SELECT count(*) FROM memory.recent_conversations('nobody');
SELECT memory.delete_conversation('cat', :'c1') > 0 AS deleted;
SELECT title FROM memory.recent_conversations('cat', max_conversations => NULL, include_archived => true);

-- Pages, each behind the last row of the one before: they neither repeat nor skip,
-- whatever the size.
CREATE FUNCTION listed(account text, size integer, OUT pages bigint, OUT conversations bigint, OUT different bigint, OUT in_order boolean)
	LANGUAGE plpgsql AS $$
DECLARE
	last record;
	row record;
	before record;
	all_ids uuid[] := '{}';
	n bigint;
BEGIN
	pages := 0;
	in_order := true;
	SELECT NULL::bigint AS revision, NULL::timestamptz AS updated_at, NULL::uuid AS conversation_id INTO last;
	LOOP
		n := 0;
		before := last;
		FOR row IN SELECT r.revision, r.updated_at, r.conversation_id
			FROM memory.recent_conversations(account, before.revision, before.updated_at, before.conversation_id, size) r
		LOOP
			n := n + 1;
			in_order := in_order AND (last.revision IS NULL
				OR (row.revision, row.updated_at, row.conversation_id) < (last.revision, last.updated_at, last.conversation_id));
			all_ids := all_ids || row.conversation_id;
			last := row;
		END LOOP;
		EXIT WHEN n = 0;
		pages := pages + 1;
	END LOOP;
	conversations := cardinality(all_ids);
	SELECT count(DISTINCT id) INTO different FROM unnest(all_ids) id;
END $$;
-- 1000 conversations of one revision with few different times, 500 of another with
-- one time, each in a bucket of its own; then 1500 revisions of a single conversation each
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'eve', ('00000000-0000-0000-0002-' || lpad(c::text, 12, '0'))::uuid, 'user', 'm', timestamptz '2026-01-01Z' + c % 10 * interval '1 s'
	FROM generate_series(1, 1000) c;
INSERT INTO memory.conversations (account_id, conversation_id, title, created_at)
	SELECT 'eve', ('00000000-0000-0000-0003-' || lpad(c::text, 12, '0'))::uuid, 'title', '2026-01-01Z' FROM generate_series(1, 500) c;
DO $$
BEGIN
	FOR i IN 1..1500 LOOP
		PERFORM memory.append('eve', ('00000000-0000-0000-0002-' || lpad((i * 7 % 300 + 1)::text, 12, '0'))::uuid, 'user', 'm');
	END LOOP;
END $$;
SELECT count(*), count(DISTINCT revision), count(DISTINCT revision_bucket), max(revision) FROM memory_store.conversations WHERE account_id = 'eve';
SELECT size, (listed('eve', size)).* FROM unnest('{1,3,10,100,499,500,501,1499,1500,1501}'::int[]) size;
-- a revision alone: all conversations of that revision are passed over
SELECT revision, count(*) FROM memory.recent_conversations('eve', 1025, max_conversations => NULL) GROUP BY 1 ORDER BY 1;
SELECT revision, count(*) FROM memory.recent_conversations('eve', 1024, max_conversations => NULL) GROUP BY 1 ORDER BY 1;
-- a page behind a row, while conversations change: what is changed moves to the front, the others stay
CREATE TEMP TABLE first_page AS SELECT * FROM memory.recent_conversations('eve', max_conversations => 10);
SELECT memory.append('eve', conversation_id, 'user', 'changed') > 1 AS changed FROM first_page ORDER BY revision LIMIT 1;
SELECT memory.append('eve', conversation_id, 'user', 'changed') > 1 AS changed FROM memory.recent_conversations('eve', max_conversations => 1000)
	ORDER BY revision LIMIT 1;
SELECT count(*), count(*) FILTER (WHERE r.conversation_id IN (SELECT conversation_id FROM first_page)) AS repeated
	FROM (SELECT * FROM first_page ORDER BY revision LIMIT 1) last,
	memory.recent_conversations('eve', last.revision, last.updated_at, last.conversation_id, NULL) r;

\i :empty
SET client_min_messages = warning;
DROP SCHEMA read_test CASCADE;
