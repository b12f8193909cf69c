-- Dictionaries: trained over many accounts, kept when they save enough, used by what is sealed, compacted and
-- named; and what is said when one is missing.  Ids and sizes depend on the version of libzstd: none is shown.
SET TIME ZONE 'UTC';
-- level 19 gains little here, and takes its time
SET memory_ext.compact_compression = 'zstd:9';
-- what depends on whose text it is; see common_text.sql for the default
SET memory_ext.dictionary_min_accounts = 1;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'

CREATE SCHEMA dictionary_test;
SET search_path = dictionary_test, public;
-- n words of a vocabulary, the same for the same seed
CREATE FUNCTION say(vocabulary text, seed integer, n integer DEFAULT 14) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(words[1 + abs(hashint4(seed * 31 + i)) % cardinality(words)], ' ')
	FROM string_to_array(vocabulary, ' ') words, generate_series(1, n) i $$;
\set planner 'the index is scanned because planner expects few rows and statistics say otherwise vacuum should run before analyze table grows quickly replication slot keeps segment until standby has read it checkpoint writes dirty buffers to disk then transaction commits lock waits for another session'
\set kitchen 'Mehl und Butter in eine vorgewärmte Schüssel geben Zucker Eier langsam unterrühren Teig zugedeckt ruhen lassen Ofen vorheizen Form einfetten Äpfel schälen vierteln entkernen darauf verteilen goldbraun backen abkühlen'
CREATE FUNCTION conversation(account integer, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS $$ SELECT lpad(to_char(account, 'FM000') || to_char(n, 'FM000'), 32, '0')::uuid $$;
-- what a statement fails with
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	hint text;
BEGIN
	EXECUTE statement INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || SQLERRM || coalesce(' / ' || nullif(hint, ''), '');
END $$;
-- the whole store, compacted
CREATE FUNCTION compact(only_stale boolean DEFAULT false) RETURNS bigint LANGUAGE plpgsql SET memory_ext.compact_after = 0 AS $$
DECLARE
	batch record;
	total bigint := 0;
BEGIN
	batch := ('00000000-0000-0000-0000-000000000000'::uuid, ''::text, 0::bigint);
	LOOP
		batch := memory_store.compact_batch(batch.f1, batch.f2, 20, only_stale);
		EXIT WHEN batch.conversation_id IS NULL;
		total := total + batch.segments;
		batch := (batch.conversation_id, batch.account_id, 0::bigint);
	END LOOP;
	RETURN total;
END $$;
CREATE VIEW dictionaries AS
	SELECT is_current, stale_at IS NOT NULL AS stale, created_at <= now() + interval '1 min' AS created,
		dictionary_bytes BETWEEN 10000 AND 1024 * 1024 AS has_size, samples >= 100 AS enough_samples, sample_bytes > samples AS has_bytes,
		gain >= 5 AS gain, segments
	FROM memory.dictionaries ORDER BY memory.dictionaries.created_at;
CREATE VIEW stored AS
	SELECT count(*) AS segments, count(memory.dictionary_id(body)) AS with_dictionary,
		count(DISTINCT memory.dictionary_id(body)) AS dictionaries, string_agg(DISTINCT regexp_replace(memory.compression(body), '@\d+$', '@ID'), ' ') AS compression
	FROM memory_store.segments;

--
-- Training
--
-- nothing to learn from
SELECT * FROM memory.train_dictionary();
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'account ' || a, conversation(a, c), CASE i % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, say(:'planner', a * 10000 + c * 100 + i), timestamptz '2020-01-01Z' + i * interval '1 min'
	FROM generate_series(1, 24) a, generate_series(1, 2) c, generate_series(1, 64) i;
-- too little
SELECT dictionary_id, dictionary_bytes, samples < 100 AS few, accounts, gain FROM memory.train_dictionary();
SELECT count(*) FROM memory.dictionaries;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'account ' || a, conversation(a, c), CASE i % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, say(:'planner', a * 10000 + c * 100 + i), timestamptz '2020-01-01Z' + i * interval '1 min'
	FROM generate_series(1, 24) a, generate_series(3, 11) c, generate_series(1, 64) i;
CREATE TABLE before AS SELECT * FROM memory.messages;
-- what cannot be asked
SELECT try('SELECT memory.train_dictionary(1024 * 1024 - 1)');
SELECT try('SELECT memory.train_dictionary(1024 * 1024 * 1024 + 1)');
-- it saves less than is wanted: nothing is kept
SELECT dictionary_id, dictionary_bytes, samples >= 100 AS enough, accounts, gain BETWEEN 5 AND 98 AS gain FROM memory.train_dictionary(min_gain => 99);
SET memory_ext.dictionary_min_gain = 99;
SELECT dictionary_id, gain BETWEEN 5 AND 98 AS gain FROM memory.train_dictionary(2 * 1024 * 1024);
RESET memory_ext.dictionary_min_gain;
SELECT count(*) FROM memory.dictionaries;
-- undone
BEGIN;
SELECT dictionary_id IS NOT NULL AS kept FROM memory.train_dictionary(2 * 1024 * 1024);
ROLLBACK;
SELECT memory.append('account 1', conversation(1, 999), 'user', say(:'planner', 1)), memory.seal('account 1', conversation(1, 999));
SELECT memory.dictionary_id(body) FROM memory_store.segments WHERE conversation_id = conversation(1, 999);
SELECT memory.forget('nobody') -> 'stale_dictionaries' AS stale;
DELETE FROM memory.conversations WHERE conversation_id = conversation(1, 999);
-- a sample of all; no account has more than its share of a smaller one
SELECT dictionary_id IS NOT NULL AS kept, dictionary_bytes > 10000 AS has_size, samples >= 100 AS enough, accounts, gain > 5 AS gain
	FROM memory.train_dictionary(1024 * 1024);
SELECT * FROM dictionaries;
-- the id is that of its bytes
SELECT dictionary_id = ('x' || left(encode(sha256(memory_store.dictionary_content(dictionary_id)), 'hex'), 8))::bit(32)::bigint AS content_addressed,
	samples = (SELECT d.samples FROM memory.dictionaries d) AS same FROM memory_store.dictionaries;
-- whose text it holds
SELECT count(*) AS accounts, count(DISTINCT dictionary_id) AS dictionaries FROM memory_store.dictionary_accounts;
-- the same text again: nothing is left to gain
SELECT dictionary_id, gain < 5 AS little FROM memory.train_dictionary(2 * 1024 * 1024);

--
-- Who uses it
--
SELECT * FROM stored;
-- what is sealed
SELECT memory.append('account 1', conversation(1, 100), 'user', say(:'planner', i)) > 0 AS ok FROM generate_series(1, 3) i;
SELECT memory.seal('account 1');
SELECT memory.compression(s.body) = 'zstd:3@' || d.dictionary_id AS with_dictionary, memory.dictionary_id(s.body) = d.dictionary_id AS same
	FROM memory_store.segments s, memory.dictionaries d WHERE conversation_id = conversation(1, 100);
-- what a bulk statement writes
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'account 1', conversation(1, 101), 'user', say(:'planner', i) FROM generate_series(1, 70) i;
-- what is edited
SELECT memory.edit_message('account 2', conversation(2, 1), 5, say(:'planner', 5)) > 0 AS edited;
SELECT * FROM stored;
SELECT segments FROM memory.dictionaries;
-- not where it is switched off, or cannot be used
SET memory_ext.use_dictionary = off;
SELECT memory.append('account 1', conversation(1, 102), 'user', say(:'planner', 1)), memory.seal('account 1');
RESET memory_ext.use_dictionary;
SET memory_ext.compression = 'lz4';
SELECT memory.append('account 1', conversation(1, 103), 'user', say(:'planner', 1, 100)), memory.seal('account 1');
RESET memory_ext.compression;
SELECT try('SET memory_ext.compression = ''zstd:3@1''');
SELECT try('SET memory_ext.compact_compression = ''zstd:19@1''');
SELECT memory.compression(body), memory.dictionary_id(body) FROM memory_store.segments
	WHERE conversation_id IN (conversation(1, 102), conversation(1, 103)) ORDER BY conversation_id;
-- what is compacted, all of it; the large ones do without
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'account 3', conversation(3, 100), 'user', say(:'planner', i), '2020-01-01Z' FROM generate_series(1, 3200) i;
SELECT sum(memory.stored_bytes(body)) AS bytes FROM memory_store.segments WHERE conversation_id < conversation(100, 1) \gset
SELECT compact() > 0 AS compacted;
SELECT compact() AS nothing_left;
SELECT memory.raw_bytes(body) > 256 * 1024 AS large, memory.dictionary_id(body) IS NOT NULL AS with_dictionary, count(*) FROM memory_store.segments GROUP BY 1, 2 ORDER BY 1;
SELECT sum(memory.stored_bytes(body)) < :bytes AS smaller FROM memory_store.segments;
SELECT segments = (SELECT with_dictionary FROM stored) AS all_are_users FROM memory.dictionaries;
SELECT count(*) AS messages, count(*) FILTER (WHERE b.content = m.content) AS same FROM before b LEFT JOIN memory.messages m USING (account_id, conversation_id, seq)
	WHERE (conversation_id, seq) <> (conversation(2, 1), 5);
SELECT * FROM memory.verify();
-- what names it, in anybody's table
SELECT dictionary_id AS id FROM memory.dictionaries \gset
CREATE TABLE mine AS SELECT memory.transcript_agg('user', say(:'planner', i)) AS t FROM generate_series(1, 20) i;
SELECT memory.compression(r) = 'zstd:19@' || :id AS named, memory.stored_bytes(r) < memory.stored_bytes(memory.recompress(t, 'zstd:19')) AS smaller, r::text = t::text AS same
	FROM mine, memory.recompress(t, 'zstd:19@' || :id) r;
SELECT memory.compression(memory.recompress(t, 'zstd@' || :id)) = 'zstd:3@' || :id AS default_level FROM mine;
-- one that grows is stored as it is
SELECT memory.compression(memory.recompress('[{"role":"u","content":"x"}]', 'zstd:19@' || :id));
SELECT try(format('SELECT memory.recompress(t, %L) FROM mine', c)) FROM unnest(ARRAY['zstd:19@1', 'lz4@1', 'none@1', 'zstd:19@', 'zstd:19@x', 'zstd@1:19', 'zstd:19@4294967296', 'zstd:19@-1', 'zstd:19@1 ', '@1']) c;
SELECT memory.compression(memory.recompress(t, 'zstd:19@0')) AS none FROM mine;

--
-- One that is missing
--
CREATE CAST (bytea AS memory.transcript) WITHOUT FUNCTION;
CREATE CAST (memory.transcript AS bytea) WITHOUT FUNCTION;
-- the header's field: four bytes at 8
UPDATE mine SET t = overlay(memory.recompress(t, 'zstd:19@' || :id)::bytea PLACING '\x4d000000' FROM 9)::memory.transcript;
SELECT memory.dictionary_id(t), memory.compression(t), memory.message_count(t) FROM mine;
SELECT try(s) FROM unnest(ARRAY['SELECT t::text FROM mine', 'SELECT count(*) FROM mine, memory.unpack(t)', 'SELECT memory.verify(t) FROM mine', 'SELECT memory.recompress(t, ''lz4'') FROM mine']) s;
-- the frame needs the dictionary that the header names
UPDATE mine SET t = overlay(t::bytea PLACING '\x00000000' FROM 9)::memory.transcript;
SELECT try('SELECT memory.verify(t) FROM mine');
DROP CAST (bytea AS memory.transcript);
DROP CAST (memory.transcript AS bytea);

--
-- Another takes its place
--
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'cook ' || a, conversation(500 + a, c), 'user', say(:'kitchen', a * 10000 + c * 100 + i), '2020-01-01Z'
	FROM generate_series(1, 20) a, generate_series(1, 20) c, generate_series(1, 40) i;
SELECT dictionary_id IS NOT NULL AND dictionary_id <> :id AS kept, accounts FROM memory.train_dictionary(4 * 1024 * 1024, min_gain => -100);
SELECT is_current, segments > 0 AS used FROM memory.dictionaries ORDER BY created_at;
SELECT memory_store.drop_dictionaries() AS still_used;
SELECT compact() > 0 AS compacted;
SELECT is_current, segments > 0 AS used FROM memory.dictionaries ORDER BY created_at;
SELECT memory_store.drop_dictionaries() AS dropped;
SELECT * FROM memory.verify();
SELECT count(DISTINCT dictionary_id) AS dictionaries FROM memory_store.dictionary_accounts;
-- one that is gone is not written with, though this session knows it
SELECT replace(try(format('SELECT memory.recompress(%L, ''zstd:19@%s'')', jsonb_build_array(jsonb_build_object('role', 'user', 'content', say(:'planner', 1, 100))), :id)), :'id', 'ID');

--
-- When maintain() trains
--
\i :empty
INSERT INTO memory.messages SELECT * FROM before;
-- there is not enough, by default
SELECT memory_store.train_if_due();
SELECT count(*) FROM memory_store.trainings;
SET memory_ext.dictionary_min_size = '1MB';
SET memory_ext.auto_dictionary = off;
SELECT memory_store.train_if_due();
RESET memory_ext.auto_dictionary;
-- enough, but it does not save what is wanted: not tried again until the store has grown
SET memory_ext.dictionary_min_gain = 99;
SELECT memory_store.train_if_due();
RESET memory_ext.dictionary_min_gain;
SELECT memory_store.train_if_due();
SELECT count(*) FROM memory_store.trainings;
UPDATE memory_store.trainings SET content_bytes = content_bytes / 8 + 1;
SELECT memory_store.train_if_due();
UPDATE memory_store.trainings SET content_bytes = content_bytes - 1;
SELECT memory_store.train_if_due() AS id \gset
SELECT dictionary_id = :id AS trained FROM memory.dictionaries WHERE is_current;
SELECT * FROM dictionaries;
SELECT memory_store.train_if_due();
-- whoever is forgotten takes it along, and another is trained at once
SELECT jsonb_array_length(memory.forget('account 7') -> 'stale_dictionaries') AS stale;
SELECT is_current, stale FROM dictionaries;
SELECT memory_store.train_if_due() IS NOT NULL AS trained;
SELECT is_current, stale FROM dictionaries;
SELECT count(*) FROM memory_store.dictionary_accounts WHERE account_id = 'account 7';
RESET memory_ext.dictionary_min_size;

--
-- A segment whose header cannot be read may need any dictionary: none is dropped, and all else goes on
--
SELECT memory.seal('account 1', conversation(1, 1)) IS NOT NULL AS sealed;
CREATE CAST (bytea AS memory.transcript) WITHOUT FUNCTION;
CREATE CAST (memory.transcript AS bytea) WITHOUT FUNCTION;
UPDATE memory_store.segments SET body = overlay(body::bytea PLACING '\xff' FROM 1)::memory.transcript
	WHERE account_id = 'account 1' AND (conversation_id, first_seq) = (SELECT conversation_id, first_seq FROM memory_store.segments WHERE account_id = 'account 1' ORDER BY 1, 2 LIMIT 1);
SELECT account_id, conversation_id, problem FROM memory.verify() ORDER BY problem;
SELECT dictionary_id IS NOT NULL AS kept FROM memory.train_dictionary(min_gain => -100);
SELECT jsonb_array_length(memory.forget('account 8') -> 'stale_dictionaries') >= 1 AS stale;
SELECT compact(true) >= 0 AS recompressed;
SELECT count(*) AS dictionaries FROM memory_store.dictionaries \gset
SELECT memory_store.drop_dictionaries();
SELECT count(*) = :dictionaries AS all_there FROM memory_store.dictionaries;
-- when it is gone, so are they
SELECT memory.delete_conversation('account 1', conversation(1, 1));
SELECT memory_store.drop_dictionaries() = :dictionaries AS all_dropped;
SELECT * FROM memory.verify();
DROP CAST (bytea AS memory.transcript);
DROP CAST (memory.transcript AS bytea);

--
-- What was deleted is in a dictionary until that is replaced
--
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'account ' || a, conversation(a, 99), 'user', say(:'planner', a * 10000 + i) || ' the word is Quittenbrotkrümel-4711', '2020-01-01Z'
	FROM generate_series(1, 6) a, generate_series(1, 2000) i;
CREATE VIEW telling AS SELECT count(*) FILTER (WHERE position(convert_to('Quittenbrotkrümel-4711', 'UTF8') IN memory_store.dictionary_content(dictionary_id)) > 0) AS telling, count(*) AS dictionaries FROM memory_store.dictionaries;
SELECT dictionary_id IS NOT NULL AS kept FROM memory.train_dictionary(min_gain => -1000);
SELECT compact() > 0 AS compacted;
SELECT * FROM telling;
SELECT count(memory.delete_conversation('account ' || a, conversation(a, 99))) FROM generate_series(1, 6) a;
SELECT memory_store.drop_dictionaries();
SELECT * FROM telling;
SELECT dictionary_id IS NOT NULL AS kept FROM memory.train_dictionary(min_gain => -1000);
SELECT compact() > 0 AS compacted;
SELECT memory_store.drop_dictionaries();
SELECT * FROM telling;
SELECT * FROM memory.verify();

--
-- A load into a database without one
--
\i :empty
SET memory_ext.dictionary_min_size = '1MB';
CREATE FUNCTION vocabulary() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'the index is scanned because planner expects few rows and statistics say otherwise vacuum should run before analyze table grows quickly replication slot keeps segment until standby'::text $$;
CREATE FUNCTION load(first integer DEFAULT 1, last integer DEFAULT 20, n integer DEFAULT 900) RETURNS void LANGUAGE sql AS $$
	INSERT INTO memory.messages (account_id, conversation_id, seq, role, content, created_at)
		SELECT 'account ' || a, dictionary_test.conversation(a, 200 + i / 50), 1 + i % 50, 'user', dictionary_test.say(dictionary_test.vocabulary(), a * 10000 + i), '2020-01-01Z'
		FROM generate_series(first, last) a, generate_series(0, n - 1) i $$;
-- less than that: none
SELECT load(n => 500);
SELECT * FROM stored;
SELECT count(memory.delete_conversation(account_id, conversation_id)) AS deleted FROM memory.conversations;
SELECT memory_store.purge() >= 0 AS purged FROM set_config('memory_ext.purge_after', '0', false);
RESET memory_ext.purge_after;
-- where it is switched off, not wanted, of no use, or of one account only
SET memory_ext.auto_dictionary = off;
BEGIN; SELECT load(); SELECT * FROM stored; ROLLBACK;
RESET memory_ext.auto_dictionary;
SET memory_ext.use_dictionary = off;
BEGIN; SELECT load(); SELECT * FROM stored; ROLLBACK;
RESET memory_ext.use_dictionary;
SET memory_ext.compression = 'lz4';
BEGIN; SELECT load(); SELECT * FROM stored; ROLLBACK;
RESET memory_ext.compression;
SET memory_ext.dictionary_min_gain = 99;
BEGIN; SELECT load(); SELECT * FROM stored; ROLLBACK;
RESET memory_ext.dictionary_min_gain;
SET memory_ext.account = 'account 1';
BEGIN; SELECT load(1, 1, 18000); SELECT * FROM stored; ROLLBACK;
RESET memory_ext.account;
-- one that was tried and not kept is not tried again
INSERT INTO memory_store.trainings VALUES (now(), 1);
BEGIN; SELECT load(); SELECT * FROM stored; ROLLBACK;
DELETE FROM memory_store.trainings;
-- all of its segments have it, and what the same transaction writes after it
BEGIN;
SAVEPOINT s;
SELECT load();
SELECT * FROM stored;
ROLLBACK TO s;
-- it goes with the savepoint
SELECT memory.append('account 1', conversation(1, 300), 'user', say(:'planner', 1, 100)), memory.seal('account 1');
SELECT count(*) FROM memory_store.dictionaries;
SELECT * FROM stored;
SELECT load();
SELECT memory.append('account 1', conversation(1, 301), 'user', say(:'planner', 1, 100)), memory.seal('account 1');
SELECT * FROM stored;
COMMIT;
SELECT is_current, stale, created, has_size, enough_samples, has_bytes, gain FROM dictionaries;
SELECT count(*) AS accounts, count(DISTINCT dictionary_id) AS dictionaries FROM memory_store.dictionary_accounts;
SELECT * FROM memory.verify();
SELECT account_id, count(*) AS messages, count(*) FILTER (WHERE content = say(vocabulary(), 10000 * split_part(account_id, ' ', 2)::integer + (right(conversation_id::text, 3)::integer - 200) * 50 + seq::integer - 1)) AS same
	FROM memory.messages WHERE account_id IN ('account 3', 'account 20') GROUP BY 1 ORDER BY 1;
-- maintain() has yet to train its own
SELECT count(*) FROM memory_store.trainings;
-- there is one: no other
SELECT dictionary_id AS id FROM memory.dictionaries \gset
SELECT load(21, 40);
SELECT count(*) AS dictionaries, bool_and(dictionary_id = :id) AS same FROM memory.dictionaries;
SELECT * FROM stored;
-- it is known whose text is in it
SELECT jsonb_array_length(memory.forget('account 7') -> 'stale_dictionaries') AS stale;
SELECT is_current, stale FROM dictionaries;
RESET memory_ext.dictionary_min_size;
-- what the table has may be packed or not; and nothing of it is trusted
UPDATE memory_store.dictionaries SET body = memory_store.dictionary_content(dictionary_id), raw_bytes = NULL;
\c -
SET search_path = dictionary_test, public;
SELECT count(content) AS readable FROM memory.messages;
SELECT octet_length(memory_store.dictionary_content(dictionary_id)) = dictionary_bytes AS same FROM memory.dictionaries;
SELECT try(format('SELECT memory_store.dictionary_content(%s)', id)) FROM unnest('{0,-1,4294967296,77}'::bigint[]) id;
CREATE FUNCTION corrupt(bytes text, raw text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO memory_store.dictionaries VALUES (nextval('ids'), now(), 1, 1, 2, 1, false, NULL, decode(bytes, 'hex'), raw::bigint);
	RETURN try(format('SELECT memory_store.dictionary_content(%s)', currval('ids')));
END $$;
CREATE SEQUENCE ids;
SELECT corrupt('28b52ffd', '10'), corrupt('28b52ffd200161', '10'), corrupt('', '1'), corrupt('00', '0'), corrupt('00', '-1'), corrupt('00', '67108865'), corrupt('', NULL), corrupt('6162', NULL);

--
-- A session that is confined to an account
--
SET memory_ext.account = 'account 1';
SELECT try('SELECT memory.train_dictionary()');
SELECT try('SELECT memory_store.train_if_due()');
SELECT try('SELECT memory_store.drop_dictionaries()');
RESET memory_ext.account;

SET client_min_messages = warning;
\i :empty
DROP SCHEMA dictionary_test CASCADE;
