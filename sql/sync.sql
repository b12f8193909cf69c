-- What devices pull and push, and the feed of changes.
SET TIME ZONE 'UTC';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '-'
\pset format unaligned
\set c1 '00000000-0000-0000-0000-000000000001'
\set c2 '00000000-0000-0000-0000-000000000002'
CREATE SCHEMA sync_test;
SET search_path = sync_test, public;

-- Documents without times, a line each.
CREATE FUNCTION documents(answer jsonb, list text DEFAULT 'documents') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT (d - 'created_at' - 'updated_at')::text FROM jsonb_array_elements(answer -> list) WITH ORDINALITY t (d, n) ORDER BY n
$$;
-- What a push answers: the lists' names before their members.
CREATE FUNCTION push(account_id text, collection text, rows jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb := memory.push(account_id, collection, rows);
BEGIN
	RETURN QUERY SELECT 'stored ' || d FROM documents(answer, 'stored') d;
	RETURN QUERY SELECT 'conflict ' || d FROM documents(answer, 'conflicts') d;
	RETURN QUERY SELECT concat_ws(' ', 'refused', r ->> 'row', r ->> 'id', r ->> 'sqlstate', r ->> 'message') FROM jsonb_array_elements(answer -> 'refusals') r;
END $$;
-- All pages of a pull: how many there were, how many documents they had, and what.
CREATE FUNCTION pages(account_id text, collection text, size integer, bytes integer DEFAULT NULL, since timestamptz DEFAULT NULL, newest integer DEFAULT NULL,
	OUT pages integer, OUT documents integer, OUT different integer, OUT short integer) LANGUAGE plpgsql AS $$
DECLARE
	checkpoint jsonb;
	answer jsonb;
	ids text[] := '{}';
BEGIN
	pages := 0;
	short := 0;
	LOOP
		answer := memory.pull(account_id, collection, checkpoint, size, bytes, since, newest);
		pages := pages + 1;
		ids := ids || ARRAY(SELECT d ->> 'id' FROM jsonb_array_elements(answer -> 'documents') d);
		checkpoint := answer -> 'checkpoint';
		EXIT WHEN NOT (answer -> 'more')::boolean;
		IF jsonb_array_length(answer -> 'documents') < size THEN
			short := short + 1;
		END IF;
	END LOOP;
	documents := cardinality(ids);
	SELECT count(DISTINCT id) INTO different FROM unnest(ids) id;
END $$;
CREATE FUNCTION raises(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', SQLSTATE || ' ' || SQLERRM, '  ' || nullif(hint, ''));
END $$;
CREATE FUNCTION kept(name text) RETURNS jsonb LANGUAGE sql AS $$ SELECT current_setting('kept.' || name)::jsonb $$;

-- an account that is not there
SELECT memory.pull('ann', 'messages');
SELECT memory.current_revision('ann'), (SELECT count(*) FROM memory.changes('ann'));
-- messages into a conversation that is not there, the answer before what it answers
SELECT push('ann', 'messages', format('[
	{"newDocumentState": {"id": "m2", "conversation_id": "%1$s", "parent": "m1", "role": "assistant", "content": "yes", "_deleted": false}},
	{"newDocumentState": {"id": "m1", "conversation_id": "%1$s", "parent": null, "role": "user", "content": "well?", "model": null, "metadata": {"a": [1]}, "tokens": 3}}]', :'c1')::jsonb);
SELECT memory.current_revision('ann');
-- the answer was lost: the same again takes no revision
SELECT push('ann', 'messages', format('[
	{"newDocumentState": {"id": "m2", "conversation_id": "%1$s", "parent": "m1", "role": "assistant", "content": "yes", "_deleted": false}},
	{"newDocumentState": {"id": "m1", "conversation_id": "%1$s", "parent": null, "role": "user", "content": "well?", "model": null, "metadata": {"a": [1]}, "tokens": 3}}]', :'c1')::jsonb);
SELECT memory.current_revision('ann');
SELECT documents(memory.pull('ann', 'messages'));
SELECT documents(memory.pull('ann', 'conversations'));
-- a message without an id
SELECT memory.append('ann', :'c1', 'user', 'and?', tokens => 1);
SELECT set_config('kept.messages', memory.pull('ann', 'messages', NULL, 1) ->> 'checkpoint', false) IS NOT NULL AS kept;
SELECT documents(memory.pull('ann', 'messages', kept('messages')));

-- edits name what they replace
SELECT push('ann', 'messages', format('[
	{"assumedMasterState": {"id": "m1", "content": "well?", "role": "user"}, "newDocumentState": {"id": "m1", "conversation_id": "%1$s", "role": "user", "content": "well, what?"}},
	{"assumedMasterState": {"id": "m2", "content": "perhaps"}, "newDocumentState": {"id": "m2", "conversation_id": "%1$s", "content": "no"}},
	{"newDocumentState": {"id": "m2", "conversation_id": "%1$s", "role": "user", "content": "mine"}},
	{"assumedMasterState": {"id": "%1$s:3", "content": "and?", "model": null}, "newDocumentState": {"id": "%1$s:3", "conversation_id": "%1$s", "content": "and?", "model": "m"}}]', :'c1')::jsonb);
-- the first edit again
SELECT push('ann', 'messages', format('[
	{"assumedMasterState": {"id": "m1", "content": "well?", "role": "user"}, "newDocumentState": {"id": "m1", "conversation_id": "%1$s", "role": "user", "content": "well, what?"}}]', :'c1')::jsonb);
-- deleting is final; an answer to a deleted message answers what is before it
SELECT push('ann', 'messages', format('[
	{"assumedMasterState": {"id": "m2"}, "newDocumentState": {"id": "m2", "conversation_id": "%1$s", "_deleted": true}},
	{"newDocumentState": {"id": "m9", "conversation_id": "%1$s", "_deleted": true}}]', :'c1')::jsonb);
SELECT push('ann', 'messages', format('[
	{"newDocumentState": {"id": "m2", "conversation_id": "%1$s", "role": "assistant", "content": "yes"}},
	{"assumedMasterState": {"id": "m8"}, "newDocumentState": {"id": "m8", "conversation_id": "%1$s", "role": "user", "content": "purged"}},
	{"newDocumentState": {"id": "m4", "conversation_id": "%1$s", "parent": "m2", "role": "user", "content": "late"}}]', :'c1')::jsonb);
SELECT documents(memory.pull('ann', 'messages', kept('messages')));
SELECT seq, parent_seq, message_id, content FROM memory.messages WHERE account_id = 'ann' ORDER BY seq;

-- what is refused, and what is not because of it
SELECT push('ann', 'messages', format('[
	{"newDocumentState": {"id": "n1", "conversation_id": "%1$s", "role": "", "content": "x"}},
	{"newDocumentState": {"id": "n2", "conversation_id": "%1$s", "role": "user", "content": "stored"}},
	{"newDocumentState": {"id": "n3", "conversation_id": "%1$s", "role": "user"}},
	{"newDocumentState": {"id": "n4", "conversation_id": "%1$s", "role": "user", "content": 7}},
	{"newDocumentState": {"id": "n5", "conversation_id": "%1$s", "role": "user", "content": "x", "parent": "nobody"}},
	{"newDocumentState": {"id": "n6", "conversation_id": "%1$s", "role": "user", "content": "x", "parent": "n6"}},
	{"newDocumentState": {"id": "n7", "conversation_id": "no uuid", "role": "user", "content": "x"}},
	{"newDocumentState": {"id": "%1$s:77", "conversation_id": "%1$s", "role": "user", "content": "x"}},
	{"newDocumentState": {"id": "", "conversation_id": "%1$s"}},
	{"newDocumentState": {"id": "%2$s", "conversation_id": "%1$s"}},
	{"newDocumentState": {"id": "n8", "conversation_id": "%1$s", "role": "user", "content": "x", "tokens": -1}},
	{"newDocumentState": {"id": "n9", "conversation_id": "%1$s", "role": "user", "content": "x", "metadata": [1]}},
	{"newDocumentState": {"id": "n10", "conversation_id": "%1$s", "role": "user", "content": "x", "created_at": "whenever"}},
	{"newDocumentState": {"id": "n11", "conversation_id": "%1$s", "role": "user", "content": "x", "metadata": %3$s}},
	{"newDocumentState": 7}, 7]', :'c1', repeat('i', 256), repeat('{"a":', 100) || '1' || repeat('}', 100))::jsonb);
SELECT raises($$SELECT memory.push('ann', 'messages', '{}')$$);
SELECT raises($$SELECT memory.push('ann', 'messages', (SELECT jsonb_agg(1) FROM generate_series(1, 10001)))$$);
SELECT raises($$SELECT memory.push('ann', 'letters', '[]')$$);
SELECT raises($$SELECT memory.push('ann', 'messages', NULL)$$);
-- a clock that is ahead is not believed, and time that passed before the push does not escape the meters
SELECT push('ann', 'messages', format('[{"newDocumentState": {"id": "o1", "conversation_id": "%1$s", "role": "user", "content": "x", "created_at": "2999-01-01T00:00:00Z"}},
	{"newDocumentState": {"id": "o2", "conversation_id": "%1$s", "role": "user", "content": "x", "created_at": "2001-01-01T00:00:00Z"}}]', :'c1')::jsonb) IS NOT NULL AS pushed;
SELECT message_id, created_at <= now() AS past, created_at < '2002-01-01' AS long_ago FROM memory.messages WHERE account_id = 'ann' AND message_id IN ('o1', 'o2');
SELECT sum(imported_messages) AS imported, sum(messages) AS messages FROM memory.usage_daily WHERE account_id = 'ann';

-- conversations are merged field by field
SELECT push('ann', 'conversations', format('[{"newDocumentState": {"id": "%1$s", "title": "One", "archived": false, "metadata": null, "_deleted": false}},
	{"newDocumentState": {"id": "%2$s", "title": "Two", "metadata": {"k": 1}, "archived": true, "created_at": "2026-01-01T00:00:00Z"}}]', :'c1', :'c2')::jsonb);
SELECT memory.update_conversation('ann', :'c1', title => 'Uno') AS revision;
SELECT push('ann', 'conversations', format('[{"assumedMasterState": {"id": "%1$s", "title": "One", "archived": false, "metadata": null},
	"newDocumentState": {"id": "%1$s", "title": "One", "archived": true, "metadata": {"m": 1}}}]', :'c1')::jsonb);
SELECT push('ann', 'conversations', format('[{"assumedMasterState": {"id": "%1$s", "title": "One", "archived": true},
	"newDocumentState": {"id": "%1$s", "title": "Eins", "archived": false}}]', :'c1')::jsonb);
-- head names a message; one that is not there yet is a conflict
SELECT push('ann', 'conversations', format('[{"assumedMasterState": {"id": "%1$s", "head": "o2"}, "newDocumentState": {"id": "%1$s", "head": "m1"}}]', :'c1')::jsonb);
SELECT push('ann', 'conversations', format('[{"assumedMasterState": {"id": "%1$s", "head": "m1"}, "newDocumentState": {"id": "%1$s", "head": "m99"}}]', :'c1')::jsonb);
SELECT push('ann', 'conversations', format('[{"newDocumentState": {"id": "no uuid", "title": "x"}}, {"newDocumentState": {"id": "%1$s", "title": 1}},
	{"assumedMasterState": {"id": "%1$s", "title": "Two"}, "newDocumentState": {"id": "%1$s", "title": "%2$s"}}]', :'c2', repeat('t', 16385))::jsonb);
SELECT set_config('kept.conversations', memory.pull('ann', 'conversations') ->> 'checkpoint', false) IS NOT NULL AS kept;
SELECT push('ann', 'conversations', format('[{"assumedMasterState": {"id": "%1$s"}, "newDocumentState": {"id": "%1$s", "_deleted": true}}]', :'c2')::jsonb);
SELECT documents(memory.pull('ann', 'conversations', kept('conversations')));
SELECT push('ann', 'conversations', format('[{"newDocumentState": {"id": "%1$s", "title": "back"}}]', :'c2')::jsonb);
SELECT push('ann', 'messages', format('[{"newDocumentState": {"id": "p1", "conversation_id": "%1$s", "role": "user", "content": "x"}},
	{"newDocumentState": {"id": "p2", "conversation_id": "%1$s", "_deleted": true}}]', :'c2')::jsonb);
SELECT revision, conversation_id, deleted, title, archived, head_seq, message_count FROM memory.changes('ann');
SELECT conversation_id FROM memory.changes('ann', memory.current_revision('ann') - 1);
SELECT documents(memory.pull_conversation('ann', :'c1', 3, 2), 'messages'), documents(memory.pull_conversation('ann', :'c1', 3, 2), 'conversations');
SELECT memory.pull_conversation('ann', :'c1', 3, 2) -> 'after_seq' AS more, memory.pull_conversation('ann', :'c1', 3) -> 'after_seq' AS all;
SELECT raises($$SELECT memory.pull_conversation('ann', '00000000-0000-0000-0000-000000000009')$$);

-- checkpoints
SELECT raises($$SELECT memory.pull('ann', 'messages', '{"epoch": "x"}')$$);
SELECT raises($$SELECT memory.pull('ann', 'messages', '[]')$$);
SELECT raises($$SELECT memory.pull('ann', 'messages', sync_test.kept('messages') || '{"seq": -1}')$$);
SELECT raises($$SELECT memory.pull('ann', 'messages', sync_test.kept('messages') || '{"conversation_id": "x"}')$$);
SELECT raises($$SELECT memory.pull('ann', 'messages', sync_test.kept('messages') || '{"epoch": "other"}')$$);
SELECT raises($$SELECT memory.pull('ann', 'messages', sync_test.kept('messages') || '{"revision": 999999}')$$);
SELECT raises($$SELECT memory.pull('bob', 'messages', sync_test.kept('messages'))$$);
SELECT raises($$SELECT * FROM memory.changes('ann', 999999)$$);
SELECT raises($$SELECT memory.pull('ann', 'messages', max_documents => 0)$$);
SELECT raises($$SELECT memory.pull('ann', 'messages', max_documents => 10001)$$);
SELECT jsonb_array_length(memory.pull('ann', 'messages', 'null') -> 'documents') > 0 AS from_the_beginning;
-- purged: who has pulled the deletion goes on, who has not begins anew
SELECT set_config('kept.newest', memory.pull('ann', 'messages') ->> 'checkpoint', false) IS NOT NULL AS kept;
SET memory_ext.purge_after = 0;
SET client_min_messages = error;
CALL memory.maintain(phase => 'purge');
RESET client_min_messages;
RESET memory_ext.purge_after;
SELECT raises($$SELECT memory.pull('ann', 'messages', sync_test.kept('messages'))$$);
SELECT raises($$SELECT * FROM memory.changes('ann', 1)$$);
SELECT raises($$SELECT memory.pull('ann', 'messages', sync_test.kept('newest'))$$);
SELECT count(*) FROM documents(memory.pull('ann', 'messages')) d WHERE d::jsonb -> '_deleted' = 'true';
SELECT memory.renew_epoch() IS NOT NULL AS renewed;
SELECT raises($$SELECT memory.pull('ann', 'messages', sync_test.kept('newest'))$$);
SELECT set_config('kept.newest', memory.pull('ann', 'messages') ->> 'checkpoint', false) IS NOT NULL AS kept;
SELECT memory.forget('ann') IS NOT NULL AS forgotten;
SELECT raises($$SELECT memory.pull('ann', 'messages', sync_test.kept('newest'))$$);
SELECT memory.append('ann', :'c1', 'user', 'again');
SELECT raises($$SELECT memory.pull('ann', 'messages', sync_test.kept('newest'))$$);

-- one statement, read in pages of whatever size: nothing twice, nothing left out
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'dan', ('00000000-0000-0000-0001-' || lpad((m % 5000)::text, 12, '0'))::uuid, 'user', 'message ' || m FROM generate_series(1, 6000) m;
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'dan', '00000000-0000-0000-0002-000000000000', 'user', 'long ' || m FROM generate_series(1, 3000) m;
SELECT size, (pages('dan', 'messages', size)).* FROM unnest('{700,3000,10000}'::int[]) size;
SELECT size, (pages('dan', 'conversations', size)).* FROM unnest('{900,5001,10000}'::int[]) size;
SELECT documents, different, short > 0 AS short, pages > 50 AS many FROM pages('dan', 'messages', 10000, 50000);
SELECT count(*), count(DISTINCT revision), bool_and(rows <= 4096) AS small FROM (
	SELECT max(revision) AS revision, revision_bucket, count(*) AS rows FROM memory_store.conversations WHERE account_id = 'dan' GROUP BY 2) b;
-- a round that is under way when a conversation changes behind and before it
CREATE TEMP TABLE copy (id text PRIMARY KEY, document jsonb);
DO $$
DECLARE
	checkpoint jsonb;
	answer jsonb;
	page integer := 0;
BEGIN
	LOOP
		answer := memory.pull('dan', 'messages', checkpoint, 500);
		INSERT INTO copy SELECT d ->> 'id', d FROM jsonb_array_elements(answer -> 'documents') d
			ON CONFLICT (id) DO UPDATE SET document = excluded.document;
		checkpoint := answer -> 'checkpoint';
		page := page + 1;
		IF page IN (3, 8) THEN
			PERFORM memory.append('dan', '00000000-0000-0000-0001-000000000001', 'user', 'again');
			PERFORM memory.edit_message('dan', '00000000-0000-0000-0001-000000004999', 1, content => 'edited ' || page);
			PERFORM memory.delete_message('dan', '00000000-0000-0000-0002-000000000000', 10 + page);
		END IF;
		EXIT WHEN NOT (answer -> 'more')::boolean;
	END LOOP;
END $$;
SELECT count(*) AS differences FROM (
	(SELECT document ->> 'content' AS content, (document ->> 'seq')::bigint AS seq, (document ->> 'conversation_id')::uuid AS id FROM copy WHERE document -> '_deleted' = 'false'
		EXCEPT SELECT content, seq, conversation_id FROM memory.messages WHERE account_id = 'dan')
	UNION ALL
	(SELECT content, seq, conversation_id FROM memory.messages WHERE account_id = 'dan'
		EXCEPT SELECT document ->> 'content', (document ->> 'seq')::bigint, (document ->> 'conversation_id')::uuid FROM copy WHERE document -> '_deleted' = 'false')) d;
-- a phone that wants the newest only, or what is not old
SELECT (pages('dan', 'conversations', 100, newest => n)).documents, (pages('dan', 'messages', 1000, newest => n)).documents AS messages FROM unnest('{1,3,5001,9999}'::int[]) n;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'eva', gen_random_uuid(), 'user', 'm', timestamptz '2020-01-01' + y * interval '1 year' FROM generate_series(0, 5) y;
SELECT (pages('eva', 'conversations', 100, since => '2024-06-01')).documents, (pages('eva', 'messages', 100, since => '2022-01-01')).documents AS messages;

-- a subscription with no room left refuses what is too much, and stores the rest
INSERT INTO memory.plans (plan_id, title, price) VALUES ('sync_small', 'Small', 0);
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('sync_small', 'messages', 'day', 2);
SELECT memory.subscribe('fay', 'sync_small');
SELECT push('fay', 'messages', format('[{"newDocumentState": {"id": "q1", "conversation_id": "%1$s", "role": "user", "content": "x"}},
	{"newDocumentState": {"id": "q2", "conversation_id": "%1$s", "role": "user", "content": "x", "created_at": "2001-01-01T00:00:00Z"}},
	{"newDocumentState": {"id": "q3", "conversation_id": "%1$s", "role": "user", "content": "x"}}]', :'c1')::jsonb);
SELECT messages_day FROM (SELECT used AS messages_day FROM memory.quota_usage WHERE subscription_id = 'fay') u;
DELETE FROM memory.plan_limits WHERE plan_id = 'sync_small';

-- a confined session has its own account, and cannot tell which ids others have
SET memory_ext.account = 'gus';
SELECT raises($$SELECT memory.pull('dan', 'messages')$$);
SELECT raises($$SELECT memory.push('dan', 'messages', '[]')$$);
SELECT raises($$SELECT memory.current_revision('dan')$$);
SELECT raises($$SELECT * FROM memory.changes('dan')$$);
SELECT raises($$SELECT memory.pull_conversation('dan', '00000000-0000-0000-0002-000000000000')$$);
SELECT raises($$SELECT memory.renew_epoch()$$);
SELECT raises($$SELECT memory.pull_conversation(NULL, '00000000-0000-0000-0002-000000000000')$$);
SELECT push(NULL, 'messages', '[{"newDocumentState": {"id": "r1", "conversation_id": "00000000-0000-0000-0002-000000000000", "role": "user", "content": "own"}},
	{"newDocumentState": {"id": "00000000-0000-0000-0002-000000000000:1", "conversation_id": "00000000-0000-0000-0002-000000000000", "role": "user", "content": "own"}}]');
SELECT documents(memory.pull(NULL, 'messages'));
RESET memory_ext.account;

\i :empty
DELETE FROM memory.plans WHERE plan_id = 'sync_small';
SET client_min_messages = warning;
DROP SCHEMA sync_test CASCADE;
