-- memory.verify(): each kind of damage, done to the tables by hand, is reported; nothing else is.
SET TIME ZONE 'UTC';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'
\pset format unaligned
\pset fieldsep ' | '

CREATE SCHEMA verify_test;
SET search_path = verify_test, public;
CREATE CAST (bytea AS memory.transcript) WITHOUT FUNCTION;
CREATE CAST (memory.transcript AS bytea) WITHOUT FUNCTION;
CREATE FUNCTION c(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;
CREATE FUNCTION say(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'message ' || n || repeat(', compressible', 10) $$;
-- does some damage, shows what is reported, and undoes it
CREATE FUNCTION report(damage text, OUT account_id text, OUT c integer, OUT problem text) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	found text[];
BEGIN
	BEGIN
		EXECUTE damage;
		found := array(SELECT v::text FROM memory.verify() v ORDER BY v.conversation_id, v.problem);
		RAISE EXCEPTION 'undo' USING ERRCODE = 'ZZZZZ';
	EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
		NULL;
	END;
	IF found = '{}' THEN
		problem := '*** not found: ' || damage;
		RETURN NEXT;
	END IF;
	-- which check of the payload fails depends on the version of libzstd
	RETURN QUERY SELECT v.account_id, right(v.conversation_id::text, 12)::integer, regexp_replace(v.problem, ': the payload .*', '')
		FROM (SELECT (jsonb_populate_record(NULL::verify_test.line, to_jsonb(l))).* FROM unnest(found::verify_test.line[]) l) v;
END $$;
CREATE TYPE line AS (account_id text, conversation_id uuid, problem text);

-- c(1): segments 1-4, 5-8 and a tail 9-10, straight; c(2): the same with a branch, an edit and a deleted message;
-- c(3): deleted; c(4): without messages; c(5): another account's
SET memory_ext.segment_messages = 4;
INSERT INTO memory.messages (account_id, conversation_id, role, content, tokens, created_at)
	SELECT 'ann', c(n), 'user', say(i), 10, timestamptz '2020-01-01Z' + i * interval '1 min' FROM generate_series(1, 3) n, generate_series(1, 8) i;
RESET memory_ext.segment_messages;
SELECT memory.append('ann', c(n), 'user', say(i), tokens => 10, created_at => timestamptz '2020-01-01Z' + i * interval '1 min') FROM generate_series(1, 2) n, generate_series(9, 10) i;
SELECT memory.append('ann', c(2), 'assistant', 'another answer', tokens => 10, parent_seq => 5, created_at => '2020-01-01Z');
SELECT memory.edit_message('ann', c(2), 3, 'edited', tokens => 10), memory.delete_message('ann', c(2), 7), memory.delete_conversation('ann', c(3)),
	memory.create_conversation('ann', c(4)) = c(4) AS created, memory.append('bob', c(5), 'user', 'x', created_at => '2020-01-01Z');
SELECT * FROM memory.verify();
SELECT * FROM memory.verify('ann');
SELECT * FROM memory.verify('nobody');

--
-- Counters, heads and numbers
--
SELECT * FROM report($$UPDATE memory_store.conversations SET message_count = message_count + 1 WHERE conversation_id = c(1)$$);
SELECT * FROM report($$UPDATE memory_store.conversations SET token_count = token_count - 1 WHERE conversation_id = c(1)$$);
SELECT * FROM report($$UPDATE memory_store.conversations SET content_bytes = 0 WHERE conversation_id = c(2)$$);
SELECT * FROM report($$UPDATE memory_store.conversations SET tail_count = 1, tail_bytes = tail_bytes + 1 WHERE conversation_id = c(1)$$);
SELECT * FROM report($$UPDATE memory_store.conversations SET message_count = 1 WHERE conversation_id = c(4)$$);
SELECT * FROM report($$UPDATE memory_store.conversations SET message_count = 1 WHERE conversation_id = c(3)$$);
SELECT * FROM report($$UPDATE memory_store.conversations SET next_seq = 10 WHERE conversation_id = c(1)$$);
SELECT * FROM report($$UPDATE memory_store.conversations SET head_seq = 7 WHERE conversation_id = c(2)$$);
SELECT * FROM report($$UPDATE memory_store.conversations SET head_seq = 0 WHERE conversation_id = c(1)$$);
SELECT * FROM report($$UPDATE memory_store.conversations SET head_seq = 3, next_seq = 9 WHERE conversation_id = c(4)$$);
SELECT * FROM report($$UPDATE memory_store.conversations SET branched = false WHERE conversation_id = c(2)$$);
SELECT * FROM report($$UPDATE memory_store.tail SET parent_seq = 7 WHERE conversation_id = c(2) AND seq = 9$$);
SELECT * FROM report($$UPDATE memory_store.tail SET parent_seq = 10 WHERE conversation_id = c(2) AND seq = 9$$);
SELECT * FROM report($$UPDATE memory_store.tail SET parent_seq = 3 WHERE conversation_id = c(1) AND seq = 9$$);
SELECT * FROM report($$UPDATE memory_store.tail SET content = content || 'x' WHERE conversation_id = c(1) AND seq = 9$$);

--
-- Revisions
--
SELECT * FROM report($$UPDATE memory_store.accounts SET revision = 3 WHERE account_id = 'ann'$$);
SELECT * FROM report($$DELETE FROM memory_store.accounts WHERE account_id = 'bob'$$);
SELECT * FROM report($$UPDATE memory_store.conversations SET revision = 1 WHERE conversation_id = c(1)$$);
SELECT * FROM report($$UPDATE memory_store.tail SET revision = 1000 WHERE conversation_id = c(1) AND seq = 10$$);
SELECT * FROM report($$UPDATE memory_store.segments SET revision = revision + 1 WHERE conversation_id = c(2) AND first_seq = 1$$);
-- of messages without one of their own the row says it
SELECT * FROM report($$UPDATE memory_store.segments SET revision = 1000 WHERE conversation_id = c(1) AND first_seq = 1$$);
SELECT * FROM report($$UPDATE memory_store.tombstones SET revision = 1000$$);

--
-- Segments
--
SELECT * FROM report($$UPDATE memory_store.segments SET last_seq = 5 WHERE conversation_id = c(1) AND first_seq = 1$$);
SELECT * FROM report($$UPDATE memory_store.segments SET first_seq = 2 WHERE conversation_id = c(1) AND first_seq = 1$$);
SELECT * FROM report($$UPDATE memory_store.segments SET body = '[]' WHERE conversation_id = c(1) AND first_seq = 1$$);
SELECT * FROM report($$INSERT INTO memory_store.segments VALUES (c(4), 1, 1, 1, 'ann', '[]')$$);
SELECT * FROM report($$INSERT INTO memory_store.segments SELECT conversation_id, 3, 6, revision, account_id, memory.concat(memory.slice(body, 3, 4), memory.slice((SELECT body FROM memory_store.segments WHERE conversation_id = c(1) AND first_seq = 5), 5, 6))
	FROM memory_store.segments WHERE conversation_id = c(1) AND first_seq = 1$$);
SELECT * FROM report($$INSERT INTO memory_store.tail SELECT conversation_id, 6, parent_seq, revision, created_at, tokens, account_id, role, content FROM memory_store.tail WHERE conversation_id = c(1) AND seq = 9$$);
SELECT * FROM report($$DELETE FROM memory_store.segments WHERE conversation_id = c(1) AND first_seq = 5$$);
SELECT * FROM report($$DELETE FROM memory_store.tail WHERE conversation_id = c(1) AND seq = 10$$);
-- bytes: of the payload, of the checksum, of the header, too few, too many
SELECT * FROM report($$UPDATE memory_store.segments SET body = overlay(body::bytea PLACING '\xff' FROM 70)::memory.transcript WHERE conversation_id = c(2) AND first_seq = 5$$) WHERE problem LIKE 'segment%';
SELECT * FROM report($$UPDATE memory_store.segments SET body = set_bit(body::bytea, 100, 1 - get_bit(body::bytea, 100))::memory.transcript WHERE conversation_id = c(2) AND first_seq = 5$$) WHERE problem LIKE 'segment%';
SELECT * FROM report($$UPDATE memory_store.segments SET body = overlay(body::bytea PLACING '\x09' FROM 1)::memory.transcript WHERE conversation_id = c(2) AND first_seq = 5$$) WHERE problem LIKE 'segment%';
SELECT * FROM report($$UPDATE memory_store.segments SET body = overlay(body::bytea PLACING '\x07' FROM 2)::memory.transcript WHERE conversation_id = c(2) AND first_seq = 5$$) WHERE problem LIKE 'segment%';
SELECT * FROM report($$UPDATE memory_store.segments SET body = substr(body::bytea, 1, 60)::memory.transcript WHERE conversation_id = c(2) AND first_seq = 5$$) WHERE problem LIKE 'segment%';
SELECT * FROM report($$UPDATE memory_store.segments SET body = '\x'::bytea::memory.transcript WHERE conversation_id = c(2) AND first_seq = 5$$) WHERE problem LIKE 'segment%';
SELECT * FROM report($$UPDATE memory_store.segments SET body = (body::bytea || '\x00')::memory.transcript WHERE conversation_id = c(2) AND first_seq = 5$$) WHERE problem LIKE 'segment%';
-- every bit of one: noticed, or without effect on the messages
CREATE TABLE bits AS SELECT body::bytea AS body FROM memory_store.segments WHERE conversation_id = c(1) AND first_seq = 1;
SELECT count(*) FILTER (WHERE problem IS NULL) < 20 AS few_unnoticed, count(*) FILTER (WHERE CASE WHEN problem IS NULL THEN t::text <> body::memory.transcript::text END) AS changed
	FROM bits, generate_series(0, 8 * length(body) - 1) i, LATERAL (SELECT set_bit(body, i, 1 - get_bit(body, i))::memory.transcript AS t) t,
		LATERAL (SELECT memory_store.segment_problem(t) AS problem) p;

--
-- Dictionaries
--
INSERT INTO memory_store.dictionaries VALUES (77, now(), 1, 1, 2, 1, true, NULL, convert_to(say(1), 'UTF8')), (78, now(), 1, 1, 2, 1, false, NULL, convert_to(say(2), 'UTF8'));
INSERT INTO memory_store.dictionary_accounts VALUES (77, 'ann'), (78, 'bob');
UPDATE memory_store.segments SET body = memory.recompress(body, 'zstd:3@77') WHERE conversation_id = c(1);
SELECT * FROM memory.verify();
SELECT * FROM report($$DELETE FROM memory_store.dictionaries WHERE dictionary_id = 77$$);
-- as the next session sees it, which has not read it yet
SELECT * FROM report($$UPDATE memory_store.segments SET body = overlay(body::bytea PLACING '\x4f000000' FROM 9)::memory.transcript WHERE conversation_id = c(1) AND first_seq = 1$$) WHERE problem LIKE 'segment%';
-- not the one that it was written with
SELECT * FROM report($$UPDATE memory_store.segments SET body = overlay(body::bytea PLACING '\x4e000000' FROM 9)::memory.transcript WHERE conversation_id = c(1) AND first_seq = 1$$) WHERE problem LIKE 'segment%';
-- it holds text that was to be erased
SELECT * FROM report($$INSERT INTO memory_store.dictionary_accounts VALUES (77, 'forgotten')$$);
SELECT count(*) FROM (SELECT memory.forget('bob')) x;
SELECT * FROM memory.verify();

--
-- Rows without owners
--
SELECT * FROM report($$DELETE FROM memory_store.conversations WHERE conversation_id = c(1)$$);
SELECT * FROM report($$INSERT INTO memory_store.tail SELECT c(3), 1, 0, 1, now(), 1, 'ann', 'user', 'x'$$);
SELECT * FROM report($$INSERT INTO memory_store.tail SELECT c(9), 1, 0, 1, now(), 1, 'ann', 'user', 'x'$$);
SELECT * FROM report($$UPDATE memory_store.segments SET account_id = 'cat' WHERE conversation_id = c(1) AND first_seq = 5$$);
SELECT * FROM report($$UPDATE memory_store.tombstones SET conversation_id = c(3)$$);
SELECT * FROM report($$UPDATE memory_store.tombstones SET conversation_id = c(9)$$);
SELECT * FROM report($$UPDATE memory_store.tombstones SET seq = 8$$);

--
-- Of one account only
--
UPDATE memory_store.conversations SET message_count = 9 WHERE conversation_id = c(1);
INSERT INTO memory_store.tail SELECT c(8), 1, 0, 1, now(), 1, 'bob', 'user', 'x';
SELECT account_id, problem FROM memory.verify('ann');
SELECT account_id, problem FROM memory.verify('bob');
SELECT account_id, problem FROM memory.verify() ORDER BY 1;
SET memory_ext.account = 'bob';
SELECT account_id, problem FROM memory.verify();
SELECT account_id, problem FROM memory.verify('ann');
RESET memory_ext.account;
-- a cancel goes through
SET statement_timeout = '300ms';
DO $$
BEGIN
	LOOP
		PERFORM memory_store.segment_problem(body) FROM memory_store.segments;
	END LOOP;
EXCEPTION WHEN query_canceled THEN
	RAISE NOTICE 'cancelled';
END $$;
RESET statement_timeout;

DROP CAST (bytea AS memory.transcript);
DROP CAST (memory.transcript AS bytea);
SET client_min_messages = warning;
\i :empty
DROP SCHEMA verify_test CASCADE;
