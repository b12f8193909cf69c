-- Appends and reads that go past the executor: same results as by statements, which are used as
-- soon as a table is not as the extension made it; indexes that a DBA adds are kept.
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'

CREATE SCHEMA direct_test;
SET search_path = direct_test, public;
CREATE FUNCTION c(who text, n integer) RETURNS uuid IMMUTABLE LANGUAGE sql AS
	$$ SELECT (CASE who WHEN 'direct' THEN '1' WHEN 'statements' THEN '2' WHEN 'indexed' THEN '3' ELSE '4' END || lpad(n::text, 31, '0'))::uuid $$;

-- What an application does with one conversation that grows past a segment.
CREATE PROCEDURE live(who text) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 150 LOOP
		PERFORM memory.append(who, c(who, 1), CASE WHEN i % 2 = 1 THEN 'user' ELSE 'assistant' END, 'message ' || i,
			model => CASE WHEN i % 2 = 0 THEN 'small' END, metadata => CASE WHEN i % 10 = 0 THEN '{"ten": true}'::jsonb END,
			message_id => CASE WHEN i % 3 = 0 THEN who || i END, created_at => '2026-01-01'::timestamptz + i * interval '1 min');
	END LOOP;
	-- long ones, out of line; one that is older than the last
	PERFORM memory.append(who, c(who, 2), 'user', repeat('long ', 10000), created_at => '2026-01-02');
	PERFORM memory.append(who, c(who, 2), 'assistant', string_agg(md5(n::text), ''), created_at => '2026-01-03') FROM generate_series(1, 500) n;
	PERFORM memory.append(who, c(who, 2), 'user', 'from the past', created_at => '2025-01-01');
	-- a branch
	PERFORM memory.append(who, c(who, 3), 'user', 'question', created_at => '2026-01-01');
	PERFORM memory.append(who, c(who, 3), 'assistant', 'answer', created_at => '2026-01-01');
	PERFORM memory.append(who, c(who, 3), 'assistant', 'another answer', parent_seq => 1, created_at => '2026-01-01');
	PERFORM memory.append(who, c(who, 3), 'user', 'thanks', created_at => '2026-01-01');
	-- deleted, and begun anew
	PERFORM memory.append(who, c(who, 4), 'user', 'gone', created_at => '2026-01-01');
	PERFORM memory.delete_conversation(who, c(who, 4));
	-- many at once: conversations without messages, then messages for half of these and for new
	-- ones, conversation by conversation and all mixed, and for those of above
	INSERT INTO memory.conversations (conversation_id, account_id, title, metadata, created_at, updated_at)
		SELECT c(who, 100 + n), who, CASE WHEN n % 3 > 0 THEN 'number ' || n END, CASE WHEN n % 5 = 0 THEN '{"five": true}'::jsonb END,
			'2026-01-01', '2026-01-02' FROM generate_series(1, 300) n;
	INSERT INTO memory.messages (conversation_id, account_id, seq, role, content, created_at)
		SELECT c(who, 100 + k), who, n, 'user', 'many ' || k || ' ' || n, '2026-01-03'
		FROM generate_series(2, 600, 2) k, generate_series(1, 5) n;
	INSERT INTO memory.messages (conversation_id, account_id, seq, role, content, created_at)
		SELECT c(who, 1000 + k), who, n, 'user', 'mixed ' || k || ' ' || n, '2026-01-03'
		FROM generate_series(100, 1, -1) n, generate_series(1, 10) k;
	INSERT INTO memory.messages (conversation_id, account_id, role, content, created_at)
		SELECT c(who, k), who, 'user', 'later ' || n, '2026-01-04' FROM generate_series(1, 3) k, generate_series(1, 100) n;
END
$$;
-- Everything that is read of it; who it was is left out.
CREATE FUNCTION seen(who text) RETURNS TABLE (what text, n bigint, hash text) LANGUAGE sql AS $$
	SELECT 'history ' || k, count(*), md5(string_agg(replace(h::text, who, ''), '|' ORDER BY seq))
		FROM generate_series(1, 3) k, memory.history(who, c(who, k), NULL, NULL) h GROUP BY k
	UNION ALL SELECT 'page ' || b, count(*), md5(string_agg(replace(h::text, who, ''), '|' ORDER BY seq))
		FROM unnest(ARRAY[1, 2, 64, 65, 100, 151]) b, memory.history(who, c(who, 1), b, 40) h GROUP BY b
	UNION ALL SELECT 'context', count(*), md5(string_agg(replace(x::text, who, ''), '|' ORDER BY seq))
		FROM memory.context(who, c(who, 1), 300) x
	UNION ALL SELECT 'view', count(*), md5(string_agg(replace((seq, parent_seq, role, content, model, tokens, created_at, metadata, message_id)::text, who, ''), '|'
			ORDER BY conversation_id, seq))
		FROM memory.messages WHERE account_id = who
	UNION ALL SELECT 'conversations', count(*), md5(string_agg(replace(
			(next_seq, head_seq, message_count, token_count, content_bytes, tail_bytes, tail_count,
				branched, revision, revision_bucket, updated_at)::text, who, ''), '|' ORDER BY conversation_id))
		FROM memory_store.conversations WHERE account_id = who
	UNION ALL SELECT 'titles', count(*), md5(string_agg((title, metadata, archived, created_at, deleted_at IS NULL)::text, '|'
			ORDER BY conversation_id))
		FROM memory_store.conversations WHERE account_id = who
	UNION ALL SELECT 'segments', count(*), md5(string_agg((first_seq, last_seq, revision)::text, '|' ORDER BY conversation_id, first_seq))
		FROM memory_store.segments WHERE account_id = who
	ORDER BY 1
$$;

CALL live('direct');
SELECT what, n FROM seen('direct');

-- Triggers of somebody's are fired by each append: then it is statements.
CREATE TABLE fired (place text, n bigint DEFAULT 0);
INSERT INTO fired VALUES ('accounts'), ('conversations'), ('segments'), ('tail');
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE direct_test.fired SET n = n + 1 WHERE place = TG_TABLE_NAME;
	RETURN NEW;
END
$$;
CREATE TRIGGER fire BEFORE INSERT OR UPDATE ON memory_store.tail FOR EACH ROW EXECUTE FUNCTION fire();
SELECT memory.append('other', c('other', 1), 'user', 'makes the account');
SELECT memory.append('other', c('other', 1), 'user', 'one');
SELECT place, n FROM fired ORDER BY place;
DROP TRIGGER fire ON memory_store.tail;
CREATE TRIGGER fire BEFORE INSERT OR UPDATE ON memory_store.accounts FOR EACH ROW EXECUTE FUNCTION fire();
SELECT memory.append('other', c('other', 1), 'user', 'two');
SELECT place, n FROM fired ORDER BY place;
DROP TRIGGER fire ON memory_store.accounts;
CREATE TRIGGER fire BEFORE INSERT OR UPDATE ON memory_store.conversations FOR EACH ROW EXECUTE FUNCTION fire();
SELECT memory.append('other', c('other', 1), 'user', 'three');
SELECT place, n FROM fired ORDER BY place;
CREATE TRIGGER fire BEFORE INSERT OR UPDATE ON memory_store.segments FOR EACH ROW EXECUTE FUNCTION fire();
CALL live('statements');
SELECT what, n FROM seen('statements') WHERE what = 'view';
SELECT place, n > 100 AS often, n > 0 AS ever FROM fired WHERE place IN ('conversations', 'segments') ORDER BY place;
CREATE TEMPORARY TABLE by_statements AS SELECT * FROM seen('statements');
DROP TRIGGER fire ON memory_store.conversations;
DROP TRIGGER fire ON memory_store.segments;

-- Indexes that were added: on what each append changes, on an expression, on a part.
CREATE EXTENSION amcheck SCHEMA direct_test;
CREATE INDEX added_updated ON memory_store.conversations (updated_at);
CREATE INDEX added_part ON memory_store.conversations (next_seq) WHERE next_seq % 2 = 0;
CREATE INDEX added_role ON memory_store.tail (upper(role));
CREATE INDEX added_revision ON memory_store.accounts (revision);
CREATE INDEX added_brin ON memory_store.conversations USING brin (revision);
CALL live('indexed');
SELECT c.relname, bt_index_check(c.oid, true) IS NOT NULL AS checked
	FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
	WHERE i.indrelid::regclass::text IN ('memory_store.accounts', 'memory_store.conversations', 'memory_store.segments', 'memory_store.tail') AND amname = 'btree'
	ORDER BY c.relname COLLATE "C";
SET enable_seqscan = off;
SELECT next_seq, count(*) FROM memory_store.conversations WHERE account_id = 'indexed' AND next_seq % 2 = 0 AND next_seq > 2 GROUP BY next_seq ORDER BY next_seq;
SELECT count(*) FROM memory_store.conversations WHERE revision > 100 AND account_id = 'indexed';
RESET enable_seqscan;
DROP INDEX memory_store.added_updated, memory_store.added_part, memory_store.added_role, memory_store.added_revision,
	memory_store.added_brin;

-- All three have written, and read, the same.
SELECT what, d.n, s.n, i.n FROM seen('direct') d FULL JOIN by_statements s USING (what) FULL JOIN seen('indexed') i USING (what)
	WHERE (d.n, d.hash) IS DISTINCT FROM (s.n, s.hash) OR (d.n, d.hash) IS DISTINCT FROM (i.n, i.hash);

-- What is refused, by a check of somebody's too, changes nothing.
SELECT memory.append('direct', c('direct', 4), 'user', 'more');
SELECT memory.history('direct', c('direct', 4));
SELECT memory.history('direct', c('direct', 5));
SELECT memory.history('other', c('direct', 1));
ALTER TABLE memory_store.tail ADD CONSTRAINT polite CHECK (content NOT LIKE '%damn%');
\set VERBOSITY sqlstate
SELECT memory.append('direct', c('direct', 1), 'user', 'damn');
ALTER TABLE memory_store.tail DROP CONSTRAINT polite;
BEGIN READ ONLY;
SELECT memory.append('direct', c('direct', 1), 'user', 'refused');
ROLLBACK;
\set VERBOSITY default
SELECT max(seq) FROM memory.history('direct', c('direct', 1));

-- A savepoint takes back; a transaction sees what it has changed, a statement what it has.
BEGIN;
SELECT memory.append('direct', c('direct', 1), 'user', 'kept');
SAVEPOINT s;
SELECT memory.append('direct', c('direct', 1), 'user', 'taken back');
ROLLBACK TO s;
SELECT memory.append('direct', c('direct', 1), 'user', 'after it');
SELECT seq, content FROM memory.history('direct', c('direct', 1), NULL, 2);
COMMIT;
SELECT n, memory.append('direct', c('direct', 6), 'user', 'in one statement ' || n) FROM generate_series(1, 3) n;
SELECT * FROM memory.verify();

DELETE FROM memory.conversations;
SET client_min_messages = warning;
DROP SCHEMA direct_test CASCADE;

-- unnest() of several arguments, in FROM, is the parser's own: no search_path gives it another meaning
CREATE SCHEMA hijack;
CREATE FUNCTION hijack.unnest(integer[], integer[]) RETURNS SETOF integer LANGUAGE sql AS 'SELECT -1';
SET search_path = hijack, pg_catalog;
SELECT * FROM unnest(ARRAY[1, 2], ARRAY[3, 4]) u (a, b);
RESET search_path;
DROP SCHEMA hijack CASCADE;
