-- Dictionaries hold only text that accounts have in common, so that nobody finds another account's
-- text by how well a guess compresses.  Ids and sizes depend on the version of libzstd: none is shown.
SET TIME ZONE 'UTC';
-- level 19 gains little here, and takes its time
SET memory_ext.compact_compression = 'zstd:9';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'

CREATE SCHEMA common_text_test;
SET search_path = common_text_test, public;
-- n words of a vocabulary, the same for the same seed
CREATE FUNCTION say(vocabulary text, seed integer, n integer DEFAULT 14) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(words[1 + abs(hashint4(seed * 31 + i)) % cardinality(words)], ' ')
	FROM string_to_array(vocabulary, ' ') words, generate_series(1, n) i $$;
\set planner 'the index is scanned because planner expects few rows and statistics say otherwise vacuum should run before analyze table grows quickly replication slot keeps segment until standby has read it'
-- a text of an account's own, of letters that say nothing about each other
CREATE FUNCTION secret(account integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(chr(97 + ('x' || substr(md5(account || ' ' || i), 1, 7))::bit(28)::integer % 26), '' ORDER BY i)
	FROM generate_series(1, 60) i $$;
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
-- whether 16 bytes of a text that follow each other are in a dictionary
CREATE FUNCTION has_window(dictionary bytea, t text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
	SELECT bool_or(position(substr(t, i, 16)::bytea IN dictionary) > 0) FROM generate_series(1, length(t) - 15) i $$;
-- how many letters of a secret are found one after the other, when those before them are known: the letter with which
-- the guess compresses best is taken for the next one
CREATE FUNCTION guessed(dictionary_id bigint, t text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FILTER (WHERE best = substr(t, n + 1, 1)) FROM generate_series(24, 43) n CROSS JOIN LATERAL (
		SELECT min(letter) AS best, count(*) AS bests FROM (
			SELECT letter, rank() OVER (ORDER BY memory.stored_bytes(memory.recompress(
				memory.transcript('user', left(t, n) || letter || repeat(letter, 3)), 'zstd:19@' || dictionary_id)))
			FROM (SELECT chr(96 + c) AS letter FROM generate_series(1, 26) c) l) r WHERE rank = 1) b
	WHERE bests = 1 $$;

--
-- A store of 12 accounts.  Each says its own secret in every conversation, after what all are told; accounts 1 and 2
-- share a text, and accounts 3, 4 and 5.
--
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'account ' || a, conversation(a, c), r.role, r.content
	FROM generate_series(1, 12) a, generate_series(1, 90) c, LATERAL (VALUES
		(1, 'system', 'You are a careful assistant of the Example Company; answer in a few sentences, and never make numbers up.'),
		(2, 'user', 'my password is ' || secret(a) || ', ' || say(:'planner', a * 1000 + c)),
		(3, 'assistant', say(:'planner', a * 1000 + c + 500, 100)
			|| CASE WHEN a <= 2 THEN ' ' || secret(101) WHEN a <= 5 THEN ' ' || secret(102) ELSE '' END)) r(n, role, content)
	ORDER BY a, c, r.n;
SELECT count(memory.seal('account ' || a, conversation(a, c))) FROM generate_series(1, 12) a, generate_series(1, 90) c;

-- without the rule, a dictionary has the secrets, and gives one away letter by letter
SET memory_ext.dictionary_min_accounts = 1;
SELECT dictionary_id IS NOT NULL AS trained, dictionary_id AS id FROM memory.train_dictionary() \gset
SELECT :'trained' AS trained, has_window(memory_store.dictionary_content(:id), secret(7)) AS has_secret, guessed(:id, secret(7)) > 5 AS gives_it_away;
SELECT count(*) AS accounts FROM memory_store.dictionary_accounts;
RESET memory_ext.dictionary_min_accounts;

-- with it
TRUNCATE memory_store.dictionaries, memory_store.dictionary_accounts;
\c -
SET search_path = common_text_test, public;
SET memory_ext.compact_compression = 'zstd:9';
SELECT dictionary_id IS NOT NULL AS trained, dictionary_id AS id, accounts FROM memory.train_dictionary() \gset
SHOW memory_ext.dictionary_min_accounts;
SELECT :'trained' AS trained, :accounts AS accounts;
SELECT has_window(memory_store.dictionary_content(:id), 'You are a careful assistant of the Example Company') AS has_common_text;
SELECT count(*) FILTER (WHERE has_window(memory_store.dictionary_content(:id), secret(a))) AS secrets FROM generate_series(1, 12) a;
SELECT has_window(memory_store.dictionary_content(:id), secret(101)) AS of_two_accounts, has_window(memory_store.dictionary_content(:id), secret(102)) AS of_three_accounts;
SELECT sum(guessed(:id, secret(a))) <= 4 AS nothing_gained FROM generate_series(6, 9) a;
-- it is nobody's: an erasure leaves it as it is
SELECT count(*) AS accounts FROM memory_store.dictionary_accounts;
SELECT jsonb_array_length(memory.forget('account 7') -> 'stale_dictionaries') AS stale;
SELECT is_current, stale_at FROM memory.dictionaries;
SELECT * FROM memory.verify();

-- of fewer accounts than that there is none, and maintain() does not try
SELECT count(memory.forget('account ' || a)) FROM generate_series(3, 12) a;
TRUNCATE memory_store.dictionaries;
\c -
SET search_path = common_text_test, public;
SET memory_ext.compact_compression = 'zstd:9';
SELECT dictionary_id, accounts FROM memory.train_dictionary();
SET memory_ext.dictionary_min_size = '1MB';
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'account 1', conversation(1, 100 + c), 'user', say(:'planner', c, 1000) FROM generate_series(1, 200) c;
SELECT sum(content_bytes) > 1024 * 1024 AS enough FROM memory_store.conversations;
SELECT memory_store.train_if_due();
SELECT count(*) FROM memory_store.trainings;
SET memory_ext.dictionary_min_accounts = 2;
SELECT memory_store.train_if_due() IS NOT NULL AS trained;
SELECT count(*) FROM memory_store.trainings;
RESET memory_ext.dictionary_min_accounts;

--
-- Whoever is no operator names no dictionary, and does not change the rule
--
SELECT dictionary_id AS id FROM memory.dictionaries \gset
CREATE ROLE common_text_reader;
CREATE ROLE common_text_operator;
GRANT USAGE ON SCHEMA common_text_test TO common_text_reader, common_text_operator;
SELECT memory.grant_access('common_text_reader', 'reader'), memory.grant_access('common_text_operator', 'operator');
SET ROLE common_text_reader;
SELECT replace(try(format('SELECT memory.recompress(memory.transcript(''user'', ''x''), ''zstd:19@%s'')', :id)), :'id', 'ID');
SELECT try('SET memory_ext.dictionary_min_accounts = 1');
SET ROLE common_text_operator;
SELECT try(format('SELECT memory.message_count(memory.recompress(memory.transcript(''user'', ''x''), ''zstd:19@%s''))', :id));
RESET ROLE;
SET memory_ext.account = 'account 1';
SET ROLE common_text_operator;
SELECT replace(try(format('SELECT memory.recompress(memory.transcript(''user'', ''x''), ''zstd:19@%s'')', :id)), :'id', 'ID');
RESET ROLE;
RESET memory_ext.account;
SELECT try('SET memory_ext.dictionary_min_accounts = 0');
SELECT try('SET memory_ext.dictionary_min_accounts = 61');

SELECT memory.revoke_access('common_text_reader'), memory.revoke_access('common_text_operator');
DROP SCHEMA common_text_test CASCADE;
DROP ROLE common_text_reader, common_text_operator;
TRUNCATE memory_store.accounts, memory_store.conversations, memory_store.segments, memory_store.tail, memory_store.tombstones,
	memory_store.dictionaries, memory_store.dictionary_accounts, memory_store.trainings, memory_store.retention;
