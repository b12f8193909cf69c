-- Maintenance: compaction, retention, tombstones, forgetting, protection.
SET TIME ZONE 'UTC';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'

CREATE SCHEMA maintain_test;
SET search_path = maintain_test, public;
CREATE FUNCTION c(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;
-- a text of so many bytes, which compresses
CREATE FUNCTION say(n bigint, bytes integer DEFAULT 1000) RETURNS text LANGUAGE sql IMMUTABLE
	AS $$ SELECT rpad('message ' || n || ': ', bytes, 'vacuum before you analyze, ') $$;
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	hint text;
BEGIN
	EXECUTE statement INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || SQLERRM || coalesce(' / ' || nullif(hint, ''), '');
END $$;
CREATE VIEW segments AS
	SELECT conversation_id, string_agg(first_seq || '-' || last_seq || ' ' || memory.compression(body), ', ' ORDER BY first_seq) AS segments
	FROM memory_store.segments GROUP BY 1 ORDER BY 1;
-- one batch, behind a conversation
CREATE FUNCTION batch(behind uuid, n integer DEFAULT 20, OUT conversation_id uuid, OUT segments bigint) LANGUAGE sql
	AS $$ SELECT b.conversation_id, b.segments FROM memory_store.compact_batch(behind, chr(1114111), n) b $$;

--
-- Compaction
--
-- 300 messages of a kilobyte: segments of 64
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'ann', c(1), 'user', say(i), '2020-01-01Z' FROM generate_series(1, 300) i;
-- a short one, one that changed just now, and one that does not compress
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'ann', c(2), 'user', say(i), '2020-01-01Z' FROM generate_series(1, 5) i;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'bob', c(3), 'user', say(i), now() FROM generate_series(1, 100) i;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'bob', c(4), 'user', (SELECT string_agg(chr(33 + abs(hashint4(i * 1000 + k)) % 90), '') FROM generate_series(1, 70) k), '2020-01-01Z' FROM generate_series(1, 2) i;
CREATE TABLE before AS SELECT * FROM memory.messages;
SELECT account_id, revision FROM memory_store.accounts ORDER BY 1;
CALL memory.maintain();
SELECT * FROM segments;
-- no message has changed, no revision was taken
SELECT count(*) AS messages, count(*) FILTER (WHERE b = m) AS same FROM before b FULL JOIN memory.messages m USING (account_id, conversation_id, seq);
SELECT account_id, revision FROM memory_store.accounts ORDER BY 1;
SELECT * FROM memory.verify();
-- nothing is left to do, at any isolation level
CALL memory.maintain();
SET default_transaction_isolation = 'serializable';
CALL memory.maintain(1);
RESET default_transaction_isolation;
-- what has rested for less
SET memory_ext.compact_after = 0;
CALL memory.maintain();
SELECT * FROM segments WHERE conversation_id = c(3);
-- up to the size that is set: by 64 kB
SET memory_ext.compact_size = '64kB';
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'ann', c(5), 'user', say(i, 10000), '2020-01-01Z' FROM generate_series(1, 20) i;
CALL memory.maintain();
-- neither 7 + 7 nor 7 + 6 fit
SELECT * FROM segments WHERE conversation_id = c(5);
RESET memory_ext.compact_size;
-- larger groups are not a reason to write them anew
CALL memory.maintain();
-- as it is to be compressed by now
SET memory_ext.compact_compression = 'lz4';
CALL memory.maintain();
SELECT * FROM segments;
SET memory_ext.compact_compression = 'none';
CALL memory.maintain();
SELECT * FROM segments;
SET memory_ext.compact_compression = 'zstd:5';
CALL memory.maintain();
SELECT * FROM segments;
RESET memory_ext.compact_compression;
CALL memory.maintain();
SELECT count(*) AS messages, count(*) FILTER (WHERE b = m) AS same FROM before b LEFT JOIN memory.messages m USING (account_id, conversation_id, seq);
SELECT try(format('SET memory_ext.compact_compression = %L', v)) FROM unnest(ARRAY['', 'gzip', 'zstd:0', 'zstd:23', 'lz4:1']) v;
-- newer PostgreSQLs print the range with units, so it is left out
SELECT split_part(try(format('SET memory_ext.%s', v)), ' (', 1) AS try
FROM unnest(ARRAY[$$compact_size = '63kB'$$, $$compact_size = '33MB'$$, 'compact_after = -1', 'purge_after = -1', 'dictionary_min_gain = 100']) v;

-- a conversation that is resumed again and again: how much of it is written anew each time
CREATE TABLE written (resumption integer, first_seq bigint, raw_bytes bigint);
DO $$
BEGIN
	PERFORM memory.append('ann', '00000000-0000-0000-0000-000000000010', 'user', maintain_test.say(i, 4000), created_at => '2020-01-01Z') FROM generate_series(1, 100) i;
END $$;
SELECT memory.seal('ann', c(10));
SELECT * FROM batch(c(9));
CREATE PROCEDURE resume(times integer) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. times LOOP
		PERFORM memory.append('ann', '00000000-0000-0000-0000-000000000010', 'user', maintain_test.say(k, 4000), created_at => '2020-01-01Z') FROM generate_series(1, 5) k;
		PERFORM memory.seal('ann', '00000000-0000-0000-0000-000000000010');
		PERFORM maintain_test.batch('00000000-0000-0000-0000-000000000009');
		INSERT INTO maintain_test.written SELECT i, first_seq, memory.raw_bytes(body) FROM memory_store.segments
			WHERE conversation_id = '00000000-0000-0000-0000-000000000010' AND age(xmin) <= age(pg_current_xact_id()::xid);	-- or of a subtransaction
		COMMIT;
	END LOOP;
END $$;
CALL resume(32);
SELECT segments FROM segments WHERE conversation_id = c(10);
-- each byte is written a few times, not once for each resumption
SELECT sum(w.raw_bytes) < 5 * min(s.raw_bytes) AS few, count(DISTINCT resumption) AS resumptions, sum((w.first_seq = 1)::integer) AS whole
	FROM written w, (SELECT sum(memory.raw_bytes(body)) AS raw_bytes FROM memory_store.segments WHERE conversation_id = c(10)) s;
SELECT count(*), bool_and(content = say(CASE WHEN seq <= 100 THEN seq ELSE (seq - 101) % 5 + 1 END, 4000)) AS same FROM memory.messages WHERE conversation_id = c(10);

-- batches: each returns the key that the next goes on behind
SET memory_ext.segment_messages = 2;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'cat', c(20 + n), 'user', say(i), '2020-01-01Z' FROM generate_series(1, 5) n, generate_series(1, 4) i;
RESET memory_ext.segment_messages;
SELECT * FROM batch(c(20), 2);
SELECT * FROM batch(c(22), 2);
SELECT count(*) FROM memory_store.segments WHERE account_id = 'cat';
SELECT * FROM batch(c(24), 2);
SELECT * FROM batch(c(25), 2);
SELECT * FROM batch(c(20), 0);
SELECT try('SELECT memory_store.compact_batch(''00000000-0000-0000-0000-000000000000'', '''', -1)');
SELECT memory_store.compact_batch(NULL, '', 1);
-- not inside a transaction
BEGIN;
CALL memory.maintain();
ROLLBACK;
-- a corrupt segment keeps its conversation from being compacted, and no other
CREATE CAST (bytea AS memory.transcript) WITHOUT FUNCTION;
CREATE CAST (memory.transcript AS bytea) WITHOUT FUNCTION;
SET memory_ext.segment_messages = 2;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'eve', c(40 + n), 'user', say(i), '2020-01-01Z' FROM generate_series(1, 3) n, generate_series(1, 4) i;
RESET memory_ext.segment_messages;
UPDATE memory_store.segments SET body = overlay(body::bytea PLACING '\xff' FROM 60)::memory.transcript WHERE conversation_id = c(41) AND first_seq = 3;
UPDATE memory_store.segments SET body = overlay(body::bytea PLACING '\xff' FROM 1)::memory.transcript WHERE conversation_id = c(42) AND first_seq = 3;
CALL memory.maintain();
SELECT conversation_id, count(*) AS segments FROM memory_store.segments WHERE account_id = 'eve' GROUP BY 1 ORDER BY 1;
DROP CAST (bytea AS memory.transcript);
DROP CAST (memory.transcript AS bytea);
SELECT memory.forget('eve') -> 'segments' AS segments;
SELECT * FROM memory.verify();

--
-- Retention
--
SELECT try(format('SELECT memory.set_retention(''ann'', %L)', i)) FROM unnest(ARRAY['0', '-1 day', '1 month -40 days', '1000000 years']) i;
SELECT try('SELECT memory.set_retention('''', ''1 day'')');
SELECT memory.set_retention(NULL, '30 days'), memory.set_retention('bob', '1 year'), memory.set_retention('nobody yet', '5000 years');
SELECT * FROM memory_store.retention ORDER BY 1;
TRUNCATE memory_store.accounts, memory_store.conversations, memory_store.segments, memory_store.tail, memory_store.tombstones;
CREATE FUNCTION ago(account text, n integer, days integer) RETURNS void LANGUAGE sql AS $$
	SELECT memory.append(account, c(n), 'user', say(i), created_at => now() - days * interval '1 day') FROM generate_series(1, 3) i;
	SELECT memory.update_conversation(account, c(n), title => 'title of ' || n, metadata => '{"a": 1}');
	SELECT memory.seal(account, c(n));
	SELECT memory.append(account, c(n), 'user', 'tail', created_at => now() - days * interval '1 day');
	SELECT memory.delete_message(account, c(n), 2);
	UPDATE memory_store.conversations SET updated_at = now() - days * interval '1 day' WHERE conversation_id = c(n);
$$;
SELECT ago('ann', 1, 40), ago('ann', 2, 20), ago('bob', 3, 40), ago('bob', 4, 400), ago('cat', 5, 40);
-- resumed
SELECT memory.append('cat', c(5), 'user', 'now');
CALL memory.maintain();
SELECT conversation_id, title FROM memory.conversations ORDER BY 1;
-- nothing is left of the others but that they were
SELECT conversation_id, deleted_at IS NOT NULL AS deleted, title, metadata, message_count, revision FROM memory_store.conversations ORDER BY 1;
SELECT conversation_id FROM memory_store.segments UNION SELECT conversation_id FROM memory_store.tail UNION SELECT conversation_id FROM memory_store.tombstones ORDER BY 1;
SELECT * FROM memory.verify();
-- an account's own comes before the default, also if it is longer; without one, the default counts again
SELECT memory.set_retention('bob', NULL);
CALL memory.maintain();
SELECT conversation_id FROM memory.conversations ORDER BY 1;
-- no limit
SELECT memory.set_retention(NULL, NULL);
SELECT * FROM memory_store.retention ORDER BY 1;
SELECT ago('ann', 6, 2000);
CALL memory.maintain();
SELECT conversation_id FROM memory.conversations ORDER BY 1;
-- batches
SELECT ago('ann', 10 + i, 40) FROM generate_series(1, 5) i;
SELECT memory.set_retention('ann', '30 days');
SELECT memory_store.expire_batch(2), memory_store.expire_batch(0);
SELECT try('SELECT memory_store.expire_batch(-1)');
SELECT memory_store.expire_batch(NULL);
SELECT memory_store.expire_batch();

--
-- Tombstones
--
SELECT count(*) AS messages FROM memory_store.tombstones;
SELECT count(*) AS conversations FROM memory_store.conversations WHERE deleted_at IS NOT NULL;
SELECT memory_store.purge();
UPDATE memory_store.tombstones SET deleted_at = now() - interval '29 days' WHERE account_id = 'cat';
UPDATE memory_store.conversations SET deleted_at = now() - interval '31 days' WHERE deleted_at IS NOT NULL AND account_id = 'ann';
SELECT memory_store.purge();
SELECT account_id, count(*) FROM memory_store.conversations WHERE deleted_at IS NOT NULL GROUP BY 1;
SET memory_ext.purge_after = '28d';
CALL memory.maintain();
SELECT account_id, count(*) FROM memory_store.tombstones GROUP BY 1;
SET memory_ext.purge_after = 0;
CALL memory.maintain();
SELECT count(*) FROM memory_store.tombstones;
SELECT count(*) FROM memory_store.conversations WHERE deleted_at IS NOT NULL;
RESET memory_ext.purge_after;
-- the living are untouched
SELECT * FROM memory.verify();
SELECT conversation_id, message_count FROM memory.conversations ORDER BY 1;
-- an id that is free again
SELECT memory.append('ann', c(1), 'user', 'again');

--
-- Forgetting
--
SELECT memory.set_retention('ann', '1 day');
SELECT memory.append('ann', c(7), 'user', 'x'), memory.append('ann', c(8), 'user', 'y');
SELECT memory.delete_message('ann', c(7), 1), memory.delete_conversation('ann', c(8)), memory.seal('ann', c(1));
SELECT key, CASE key WHEN 'erased_at' THEN to_jsonb(abs(extract(epoch FROM (value #>> '{}')::timestamptz - now())) < 60) ELSE value END AS value
	FROM jsonb_each(memory.forget('ann')) ORDER BY 1;
SELECT account_id FROM memory_store.accounts UNION SELECT account_id FROM memory_store.conversations UNION SELECT account_id FROM memory_store.retention ORDER BY 1;
SELECT memory.forget('ann') - 'erased_at' AS again;
SELECT memory.forget('"quoted" \ ünïcode') ->> 'account_id' AS account_id;
SELECT try('SELECT memory.forget(NULL)'), try('SELECT memory.forget('''')');
-- undone
BEGIN;
SELECT memory.forget('cat') -> 'conversations' AS conversations;
SELECT memory.append('cat', c(50), 'user', 'new');
SELECT seq, content FROM memory.messages WHERE account_id = 'cat';
ROLLBACK;
SELECT * FROM memory.verify();
-- it may come back, and begins anew
SELECT memory.append('ann', c(1), 'user', 'back');
SELECT revision FROM memory_store.accounts WHERE account_id = 'ann';
-- a session that is confined to an account
SET memory_ext.account = 'ann';
SELECT try(s) FROM unnest(ARRAY['SELECT memory.forget(''cat'')', 'SELECT memory.set_retention(''cat'', ''1 day'')', 'SELECT memory_store.expire_batch()', 'SELECT memory_store.purge()',
	'SELECT memory_store.compact_batch(''00000000-0000-0000-0000-000000000000'', '''')']) s;
SELECT memory.set_retention(NULL, '2 days');
CALL memory.maintain();
SELECT memory.forget(NULL) ->> 'account_id' AS account_id;
RESET memory_ext.account;
SELECT * FROM memory_store.retention ORDER BY 1;
SELECT count(*) FROM memory_store.erasures;
SELECT memory_store.purge();
SELECT count(*) FROM memory_store.erasures;

--
-- Protection
--
SELECT memory.unprotect();
SELECT memory.protect();
SELECT memory.protect();
SELECT * FROM memory.protection;
DROP VIEW segments;
\set VERBOSITY terse
DROP EXTENSION memory_ext;
\set VERBOSITY default
SELECT count(*) > 0 AS still_there FROM memory.conversations;
SELECT memory.unprotect();
BEGIN;
DROP EXTENSION memory_ext;
ROLLBACK;
SELECT memory.append('fay', c(60), 'user', 'all works');
CALL memory.maintain();
-- batches of nothing would never come to an end
CALL memory.maintain(0);
CALL memory.maintain(-1);
CALL memory.maintain(NULL);

SET client_min_messages = warning;
\i :empty
DROP SCHEMA maintain_test CASCADE;
