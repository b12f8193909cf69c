-- The type memory.transcript: forms, functions, codecs, limits, and bytes that
-- no writer makes.
SET client_min_messages = warning;
\pset format unaligned
CREATE EXTENSION IF NOT EXISTS memory_ext;
RESET client_min_messages;
CREATE SCHEMA transcript_test;
SET search_path = transcript_test, memory, public;
SET timezone = 'America/New_York';
SET datestyle = 'German';

-- What a statement gives: its value, or the error in one line.
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	detail text;
	hint text;
BEGIN
	EXECUTE statement INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	-- the JSON parser's own details differ between versions
	IF SQLSTATE = '22P02' THEN
		detail := '';
	END IF;
	RETURN SQLSTATE || ' ' || SQLERRM || coalesce(' / ' || nullif(detail, ''), '')
		|| coalesce(' / ' || nullif(hint, ''), '');
END $$;
CREATE FUNCTION try_in(input text) RETURNS text LANGUAGE sql AS
	$$ SELECT try(format('SELECT %L::memory.transcript', input)) $$;

--
-- Text form
--
SELECT '[{"role":"user","content":"hi"}]'::transcript;
SELECT '[]'::transcript, E' [\n] '::transcript;
-- seq and parent_seq appear where they are not what they would be anyway
SELECT '[{"seq": 1, "parent_seq": 0, "role": "user", "content": "a"},
	{"seq": 2, "parent_seq": 1, "role": "assistant", "content": "b"}]'::transcript;
SELECT '[{"seq":7,"role":"user","content":"first parent is 6"},{"role":"assistant","content":"8"},
	{"seq":11,"role":"tool","content":"gap"},{"parent_seq":7,"role":"x","content":"sibling"},
	{"parent_seq":0,"role":"x","content":"root"},{"parent_seq":0,"role":"x","content":"root"}]'::transcript;
-- every column, and a second message without any
CREATE TABLE samples (name text, t transcript);
INSERT INTO samples VALUES
	('empty', '[]'),
	('one', '[{"role":"user","content":"hi"}]'),
	('all', '[{"seq":3,"parent_seq":1,"role":"user","content":"tab\t\"quote\" \\ \u0001 \u00e9 \ud83d\ude00",
		"model":"m-1","tokens":12,"created_at":"2025-01-02 03:04:05.123456+01","message_id":"id 1",
		"metadata":{"b":[1,{"c":null}],"a":"ü"},"revision":9007199254740993},
		{"role":"assistant","content":""}]'),
	('times', '[{"role":"a","content":"","created_at":"-infinity"},{"role":"b","content":"","created_at":"infinity"},
		{"role":"c","content":"","created_at":"2000-01-01T00:00:00Z"},{"role":"d","content":"","created_at":"-infinity"},
		{"role":"e","content":"","created_at":"0044-03-15 12:00:00+00 BC"},{"role":"f","content":"","created_at":"294276-12-31 23:59:59.999999+00"},
		{"role":"g","content":""},{"role":"h","content":"","created_at":"4714-11-24 00:00:00+00 BC"}]'),
	('numbers', '[{"seq":9223372036854775806,"parent_seq":1,"role":"x","content":"1","tokens":0,"revision":9223372036854775807},
		{"parent_seq":0,"role":"x","content":"2","tokens":2147483647,"revision":1}]'),
	('nulls', '[{"role":"x","content":"","model":null,"tokens":null,"created_at":null,"message_id":null,"metadata":null,"revision":null,"seq":null}]'),
	('emptiness', '[{"role":"x","content":"","model":"","message_id":"","metadata":{}}]'),
	('unicode', '[{"role":"ユーザー","content":"漢字 здравствуйте مرحبا 👩‍👩‍👧"},{"role":"助手","content":"é"}]');
INSERT INTO samples SELECT 'long', transcript_agg(
	row(CASE WHEN i = 1 THEN 5 END, CASE WHEN i % 7 = 0 THEN 5 END, 'role ' || i % 90, repeat('message ' || i || ' ', i % 50),
		CASE WHEN i % 3 = 0 THEN 'model ' || i % 80 END, CASE WHEN i % 5 > 0 THEN i END,
		CASE WHEN i % 4 > 0 THEN timestamptz '2025-01-01 00:00:00Z' + i * interval '7.000001 s' END,
		CASE WHEN i % 2 = 0 THEN md5(i::text) END, CASE WHEN i % 6 = 0 THEN jsonb_build_object('i', i) END,
		i % 11)::message ORDER BY i)
	FROM generate_series(1, 1000) i;
SELECT name, t FROM samples WHERE name <> 'long' ORDER BY name;
-- text and jsonb round trips, under other settings than those that wrote it
SET timezone = 'Asia/Kolkata';
SET datestyle = 'SQL, DMY';
SELECT bool_and(t::text::transcript::text = t::text) AS text_round_trip,
	bool_and(transcript_send(t::text::transcript) = transcript_send(t)) AS binary_same,
	bool_and(t::jsonb::transcript::text = t::text) AS jsonb_round_trip,
	bool_and(t::jsonb = t::text::jsonb) AS same_jsonb, bool_and(verify(t)) AS verified
	FROM samples;
-- unpacked and made again, both ways
SELECT bool_and(a.t::text = s.t::text) AS agg_round_trip, bool_and(transcript(a.m)::text = s.t::text) AS array_round_trip
	FROM samples s, LATERAL (SELECT transcript_agg(m ORDER BY m.seq) t, array_agg(m ORDER BY m.seq) m FROM unpack(s.t) m) a
	WHERE s.name <> 'empty';
SELECT transcript('{}'::message[]);
-- assignment casts
CREATE TEMP TABLE j (j jsonb, t transcript);
INSERT INTO j SELECT t, t::jsonb FROM samples WHERE name = 'one';
SELECT * FROM j;

-- JSON that is not
SELECT try_in(i) FROM unnest(ARRAY['', '[', '[{}', 'x', '[{"role":"user","content":"a"},]', '[{"role":"user","content":"a"}] x',
	'[{"role":"user","content":"a]', '[{"role":"user","content":"a",}]', '[,]', '[{"role":"user","content":"\']) i;
-- JSON that is not messages
SELECT try_in(i) FROM unnest(ARRAY['null', '1', '"x"', '{"role":"user","content":"a"}', '[1]', '[null]', '[[]]', '["x"]',
	'[{}]', '[{"role":"user"}]', '[{"content":"a"}]', '[{"role":"user","content":null}]', '[{"role":null,"content":"x"}]',
	'[{"role":1,"content":"x"}]', '[{"role":"u","content":{"a":1}}]', '[{"role":"","content":"x"}]',
	'[{"role":"u","content":"x"},{"role":"u","content":"x","name":"y"}]',
	'[{"role":"u","content":"x","tokens":-1}]', '[{"role":"u","content":"x","tokens":1.5}]', '[{"role":"u","content":"x","tokens":"1"}]',
	'[{"role":"u","content":"x","tokens":2147483648}]', '[{"role":"u","content":"x","metadata":[1]}]', '[{"role":"u","content":"x","metadata":"x"}]',
	'[{"role":"u","content":"x","created_at":1}]', '[{"role":"u","content":"x","created_at":"never"}]',
	'[{"role":"u","content":"x","seq":0}]', '[{"role":"u","content":"x","seq":9223372036854775808}]', '[{"role":"u","content":"x","revision":0}]',
	'[{"role":"u","content":"x","model":1}]', '[{"role":"u","content":"x","message_id":1}]',
	'[{"role":"u","content":"x","seq":5},{"role":"u","content":"x","seq":5}]', '[{"role":"u","content":"x","seq":5},{"role":"u","content":"x","seq":4}]',
	'[{"role":"u","content":"x","seq":5,"parent_seq":5}]', '[{"role":"u","content":"x","parent_seq":-1}]',
	'[{"role":"u","content":"x","seq":9223372036854775807},{"role":"u","content":"x"}]']) i;
SELECT try(format('SELECT %L::jsonb::memory.transcript', i)) FROM unnest(ARRAY['null', '1', '{}', '[1]', '[{"role":"u"}]', '[{"role":"u","content":"x","y":1}]']) i;
-- limits
SELECT try_in(format('[{"role":"%s","content":"x"}]', repeat('r', 64))) LIKE '[{"role":"rrr%' AS ok, try_in(format('[{"role":"%s","content":"x"}]', repeat('r', 65)));
SELECT try_in(format('[{"role":"u","content":"x","model":"%s"}]', repeat('m', 256)));
SELECT try_in(format('[{"role":"u","content":"x","message_id":"%s"}]', repeat('m', 256)));
SELECT message_count(t), content_bytes(t) FROM transcript('user', repeat('x', 64 * 1024 * 1024)) t;
SELECT try($$SELECT memory.transcript('user', repeat('x', 64 * 1024 * 1024 + 1))$$);
SELECT try($$SELECT memory.transcript('user', repeat('x', 64 * 1024 * 1024)) || memory.transcript('user', repeat('x', 64 * 1024 * 1024))$$);
SELECT try($$SELECT memory.transcript_agg('user', repeat('x', 32 * 1024 * 1024)) FROM generate_series(1, 5)$$);

--
-- Messages
--
SELECT * FROM samples, unpack(t) WHERE name IN ('all', 'nulls') ORDER BY name, seq;
SELECT count(*), sum(length(content)) FROM samples, unpack(t);
SELECT (unpack(t)).role FROM samples WHERE name = 'unicode';
SELECT count(*) FROM unpack(NULL);
SELECT transcript_agg(role, content) FROM (VALUES ('user', 'a'), ('assistant', 'b')) v (role, content);
SELECT transcript_agg(role, content) FROM (VALUES ('user', 'a')) v (role, content) WHERE false;
-- NULL rows are skipped, NULL numbers assigned
SELECT transcript_agg(m) FROM (VALUES (NULL::message), (row(NULL, NULL, 'u', 'a', NULL, NULL, NULL, NULL, NULL, NULL)::message),
	(row(4, 0, 'u', 'b', NULL, NULL, NULL, NULL, NULL, NULL)::message), (row(NULL, NULL, 'u', 'c', NULL, NULL, NULL, NULL, NULL, NULL)::message)) v (m);
SELECT transcript_agg(role, content) OVER (ORDER BY n) FROM (VALUES (1, 'user', 'a'), (2, 'assistant', 'b')) v (n, role, content);
SELECT try($$SELECT memory.transcript_agg(m ORDER BY m.seq DESC) FROM memory.unpack('[{"role":"u","content":"x"},{"role":"u","content":"x"}]') m$$);
SELECT try($$SELECT memory.transcript_agg(NULL, 'x')$$);
SELECT try($$SELECT memory.transcript_agg('u', NULL)$$);
SELECT try($$SELECT memory.transcript(ARRAY[NULL::memory.message])$$);
SELECT try(format($$SELECT memory.transcript(ARRAY[row(%s)::memory.message])$$, r)) FROM unnest(ARRAY[
	$$0,0,'u','x',NULL,NULL,NULL,NULL,NULL,NULL$$, $$1,1,'u','x',NULL,NULL,NULL,NULL,NULL,NULL$$, $$1,-1,'u','x',NULL,NULL,NULL,NULL,NULL,NULL$$,
	$$1,0,NULL,'x',NULL,NULL,NULL,NULL,NULL,NULL$$, $$1,0,'u',NULL,NULL,NULL,NULL,NULL,NULL,NULL$$, $$1,0,'u','x',NULL,-1,NULL,NULL,NULL,NULL$$,
	$$1,0,'u','x',NULL,NULL,NULL,NULL,'[]',NULL$$, $$1,0,'u','x',NULL,NULL,NULL,NULL,NULL,-1$$, $$1,0,'u','x',NULL,NULL,NULL,NULL,'{"a":1}',NULL$$]) r;
SELECT try($$SELECT memory.transcript(ARRAY[ARRAY[row(1,0,'u','x',NULL,NULL,NULL,NULL,NULL,NULL)::memory.message]])::text$$) AS one_of_one;

--
-- The header
--
SELECT name, message_count(t), token_count(t), content_bytes(t), first_at(t) AT TIME ZONE 'UTC' AS first_at, last_at(t) AT TIME ZONE 'UTC' AS last_at
	FROM samples ORDER BY name;
SELECT raw_bytes('[]'), content_bytes('[]'), stored_bytes('[]'), compression('[]');
SELECT stored_bytes(t) = pg_column_size(t) AS same, stored_bytes(t) < raw_bytes(t) AS smaller FROM samples WHERE name = 'long';
-- it is read without the payload: compare the buffers
CREATE TABLE toasted AS SELECT recompress(transcript_agg('user', md5(i::text)), 'none') AS t FROM generate_series(1, 20000) i;
CREATE FUNCTION buffers(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || query INTO plan;
	RETURN (plan->0->'Plan'->>'Shared Hit Blocks')::bigint + (plan->0->'Plan'->>'Shared Read Blocks')::bigint;
END $$;
SELECT buffers('SELECT memory.verify(t) FROM toasted') > 80 AS payload;
SELECT f, buffers(format('SELECT memory.%s(t) FROM toasted', f)) < 12 AS header_only
	FROM unnest(ARRAY['message_count', 'token_count', 'raw_bytes', 'content_bytes', 'stored_bytes', 'compression', 'first_at', 'last_at']) f;

--
-- Row estimates
--
CREATE FUNCTION estimate(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
	RETURN plan->0->'Plan'->>'Plan Rows';
END $$;
SELECT estimate($$SELECT * FROM memory.unpack('[{"role":"u","content":"x"},{"role":"u","content":"x"}]')$$) AS constant,
	estimate($$SELECT * FROM (SELECT '[]'::memory.transcript t OFFSET 0) s, memory.unpack(t)$$) AS unknown;

--
-- Codecs
--
SELECT c, count(*) AS same FROM samples, unnest(ARRAY['none', 'lz4', 'zstd', 'zstd:1', 'zstd:19', 'ZSTD:22']) c
	WHERE recompress(t, c)::text = t::text AND verify(recompress(t, c)) GROUP BY c ORDER BY c;
SELECT c, compression(recompress(t, c)), raw_bytes(recompress(t, c)) = raw_bytes(t) AS same_raw
	FROM samples, unnest(ARRAY['none', 'lz4', 'zstd', 'zstd:1', 'zstd:19']) c WHERE name = 'long' ORDER BY c;
-- what would grow is stored as it is
SELECT compression(recompress('[{"role":"user","content":"hi"}]', 'zstd:19'));
SELECT try(format('SELECT memory.recompress(%L, %L)', '[]', c)) FROM unnest(ARRAY['gzip', 'zstd:0', 'zstd:23', 'zstd:', 'zstd:3x', 'zstd:-1', 'lz4:1', 'none:0', '', 'zstd:99999999999999999999']) c;
SET memory_ext.compression = 'zstd:19';
SELECT compression(transcript('user', repeat('hello ', 100)));
SET memory_ext.compression = 'lz4';
SELECT compression(transcript('user', repeat('hello ', 100)));
SELECT bool_and(t::text::transcript::text = t::text) FROM samples;
SET memory_ext.compression = 'none';
SELECT compression(transcript('user', repeat('hello ', 100)));
SET memory_ext.compression = 'brotli';
SET memory_ext.compression = 'zstd:100';
RESET memory_ext.compression;
SHOW memory_ext.compression;
-- more than one chunk
SELECT compression(t), verify(t), content_bytes(t) FROM (SELECT transcript_agg('user', repeat(md5(i::text), 100)) t FROM generate_series(1, 2000) i) s;

--
-- ||, slice
--
SELECT '[]'::transcript || '[]', '[{"role":"u","content":"a"}]'::transcript || '[]', '[]'::transcript || '[{"seq":4,"role":"u","content":"a"}]';
-- greater numbers stay
SELECT '[{"role":"u","content":"a"}]'::transcript || '[{"seq":4,"parent_seq":0,"role":"u","content":"b"}]';
-- else all are renumbered; what answers nothing in b answers a's last
SELECT '[{"role":"u","content":"a"},{"role":"v","content":"b"}]'::transcript ||
	'[{"seq":2,"role":"u","content":"c"},{"seq":4,"role":"v","content":"d"},{"parent_seq":2,"role":"v","content":"e"},{"parent_seq":0,"role":"u","content":"f"}]';
SELECT try($$SELECT '[{"seq":9223372036854775807,"role":"u","content":"a"}]'::memory.transcript OPERATOR(memory.||) '[{"role":"u","content":"a"}]'$$);
SELECT slice(t, 6, 8), slice(t, 9, 1), slice(t, -5, 5), slice(t, 8, 9223372036854775807)
	FROM (SELECT '[{"seq":5,"role":"u","content":"a"},{"role":"v","content":"b"},{"seq":8,"parent_seq":5,"role":"u","content":"c"},{"role":"v","content":"d"}]'::transcript t) s;
SELECT (slice(t, 5, 300) || slice(t, 301, 2000))::text = t::text AS put_together FROM samples WHERE name = 'long';

--
-- Parallel workers
--
CREATE TABLE many AS SELECT i, transcript('user', 'message ' || i) || transcript('assistant', repeat('answer ', i % 100)) AS t FROM generate_series(1, 2000) i;
ANALYZE many;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT count(*), sum(length(content)) FROM many, unpack(t);
SELECT count(*), sum(length(content)) FROM many, unpack(t);
SELECT sum(message_count(t)), bool_and(verify(recompress(t, 'lz4'))) FROM many;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

--
-- Bytes that no writer makes.  A superuser may look at the bytes through a cast.
--
SET bytea_output = 'hex';
CREATE CAST (bytea AS memory.transcript) WITHOUT FUNCTION;
CREATE CAST (memory.transcript AS bytea) WITHOUT FUNCTION;
-- the example of the format's documentation
SELECT encode(recompress('[{"seq":4,"parent_seq":1,"role":"user","content":"hi","tokens":1},{"role":"critic","content":"é","model":"m","created_at":"2000-01-01T00:00:01Z"}]', 'none')::bytea, 'hex');

CREATE FUNCTION le(value bigint, bytes int) RETURNS bytea LANGUAGE sql AS $$
	SELECT decode(string_agg(lpad(to_hex((value >> (8 * i)) & 255), 2, '0'), '' ORDER BY i), 'hex') FROM generate_series(0, bytes - 1) i $$;
CREATE FUNCTION varint(value numeric) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	rest numeric := CASE WHEN value < 0 THEN value + 18446744073709551616 ELSE value END;
	result bytea := '';
BEGIN
	WHILE rest >= 128 LOOP
		result := result || le((rest % 128)::bigint + 128, 1);
		rest := div(rest, 128);
	END LOOP;
	RETURN result || le(rest::bigint, 1);
END $$;
CREATE FUNCTION crc_32c(data bytea) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	crc bigint := 4294967295;
BEGIN
	FOR i IN 0 .. length(data) - 1 LOOP
		crc := crc # get_byte(data, i);
		FOR k IN 1 .. 8 LOOP
			crc := CASE WHEN crc & 1 = 1 THEN (crc >> 1) # 2197175160 ELSE crc >> 1 END;
		END LOOP;
	END LOOP;
	RETURN crc # 4294967295;
END $$;
-- A transcript with a given header and a given payload, its checksum right.
CREATE FUNCTION craft(payload text, flags int DEFAULT 0, n bigint DEFAULT 1, content bigint DEFAULT 0, tokens bigint DEFAULT 0,
	first_at bigint DEFAULT 0, last_at bigint DEFAULT 0, version int DEFAULT 1, codec int DEFAULT 0, level int DEFAULT 0,
	reserved int DEFAULT 0, dictionary bigint DEFAULT 0, raw bigint DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT try(format('SELECT verify(%L::bytea::memory.transcript)', le(version, 1) || le(codec, 1) || le(level, 1) || le(reserved, 1)
		|| le(flags, 4) || le(dictionary, 4) || le(crc_32c(bytes), 4) || varint(n) || varint(coalesce(raw, length(bytes))) || varint(content) || varint(tokens)
		|| CASE WHEN flags & 4 = 4 THEN le(first_at, 8) || varint(last_at::numeric - first_at) ELSE '' END || bytes)) FROM decode(payload, 'hex') bytes $$;
-- role, content length, content: lengths 1 1 2, then 02, 02, 'hi'
SELECT craft('01010202026869', content => 2);
SELECT craft('00000000', n => 0), craft('000000', n => 0), craft('', n => 0), craft('0000', n => 0), craft('808080', n => 0);
-- the header
SELECT try($$SELECT memory.message_count('\x'::bytea::memory.transcript)$$), try($$SELECT memory.message_count('\x01'::bytea::memory.transcript)$$),
	try($$SELECT memory.message_count('\x02'::bytea::memory.transcript)$$);
-- it ends within each of its numbers
SELECT try(format('SELECT memory.message_count(%L::bytea::memory.transcript)', substr(h, 1, length(h) - i))) AS cut, count(*)
	FROM (SELECT le(1, 1) || le(0, 3) || le(4, 4) || le(0, 8) || varint(1) || varint(9) || varint(2) || varint(300) || le(0, 8) || varint(300) AS h) h, generate_series(1, length(h) - 1) i GROUP BY 1 ORDER BY 1;
SELECT unnest(ARRAY[craft('01010202026869', content => 2, version => 2), craft('01010202026869', content => 2, version => 0),
	craft('01010202026869', content => 2, codec => 3), craft('01010202026869', content => 2, codec => 1), craft('01010202026869', content => 2, codec => 2, level => 3),
	craft('01010202026869', content => 2, codec => 2, level => 23), craft('01010202026869', content => 2, level => 1), craft('01010202026869', content => 2, reserved => 1),
	craft('01010202026869', content => 2, flags => 512), craft('01010202026869', content => 2, flags => 256), craft('01010202026869', content => 2, dictionary => 77), craft('01010202026869', content => 2, codec => 2, level => 3, dictionary => 77),
	craft('01010202026869', content => 2, n => 1048577), craft('01010202026869', content => 2, n => 4), craft('01010202026869', content => 2, raw => 134217729),
	craft('01010202026869', content => 2, raw => 8), craft('01010202026869', content => 8), craft('01010202026869', content => 3),
	craft('01010202026869', content => 2, tokens => -1), craft('01010202026869', content => 2, tokens => 1),
	craft('01010202026869', content => 2, n => 4294967297), craft('01010202026869', content => 4294967298), craft('01010202026869', content => 2, raw => 4294967303),
	craft('01010202026869', content => 2, n => 0), craft('01010202026869', content => 2, n => 2)]);
-- a time column: 03 is +1 µs
SELECT unnest(ARRAY[craft('0101010203000200', flags => 4), craft('010101000203' || '00', flags => 4, first_at => 1, last_at => 1),
	craft('01010100020300', flags => 4, first_at => 1, last_at => 2), craft('01010100020300', flags => 4, first_at => 2, last_at => 1),
	craft('01010100020000', flags => 4), craft('01010100028000', flags => 4), craft('010a010002ffffffffffffffffff0300', flags => 4),
	craft('010a010002808080808080808080' || '0200', flags => 4, first_at => (-9223372036854775808)::bigint, last_at => (-9223372036854775808)::bigint),
	craft('010a010002ffffffffffffffffff0100', flags => 4, first_at => 9223372036854775807, last_at => 9223372036854775807),
	craft('010a010002feffffffffffffffff0100', flags => 4, first_at => (-9223372036854775807)::bigint, last_at => (-9223372036854775807)::bigint)]);
-- columns: role
SELECT unnest(ARRAY[craft('0101000000'), craft('010100' || '0600'), craft('010100' || '0100'), craft('03010001017800'), craft('02010001000' || '0'), craft('0301000102' || '7800'),
	craft('0301000101ff00'), craft('01010080' || '00'), craft('02010002' || '0200'), craft('0a01008080808080808080800200'), craft('03010001ffff00')]);
-- seq, parent_seq, tokens, revision
SELECT unnest(ARRAY[craft('0101010002' || '0500', flags => 1), craft('0101010002' || '0000', flags => 1), craft('0101020' || '00202050000', flags => 1, n => 2),
	craft('0203020002020500' || '000000', flags => 1, n => 2), craft('020202000202050000' || '00', flags => 1, n => 2), craft('010a010002ffffffffffffffffff0000', flags => 1),
	craft('0109010002ffffffffffffffff7f00', flags => 1), craft('020902000202ffffffffffffffff7f0000', flags => 1, n => 2),
	craft('01010100020000', flags => 2), craft('01010100020100', flags => 2),
	craft('01010100020500', flags => 8, tokens => 4), craft('0105010002808080800800', flags => 8, tokens => 2147483647), craft('0105010002818080800800', flags => 8, tokens => 2147483648),
	craft('01010100020400', flags => 64), craft('01010100020100', flags => 64)]);
-- model, message_id, metadata: what is too long, not UTF-8, not JSON
SELECT unnest(ARRAY[craft('0103010002' || '01016d00', flags => 16), craft('01030100020101ff00', flags => 16), craft('0103010002' || '01026d00', flags => 16), craft('01010100020200', flags => 16),
	craft('0102010002027800', flags => 32), craft('010201000202ff00', flags => 32), craft('0102010002057800', flags => 32),
	craft('010100010202' || '00037b7d', flags => 128), craft('0101000102020002' || '7b', flags => 128), craft('01010001020200037b7b', flags => 128),
	craft('0101000102' || '0200035b5d', flags => 128), craft('01010001020200047b7d', flags => 128), craft('0101000102020003' || 'ffff', flags => 128)]);
-- content: beyond its column, not UTF-8, a character cut in two
SELECT unnest(ARRAY[craft('01010202036869', content => 2), craft('01010202016869', content => 1), craft('010102020' || '2ff61', content => 2), craft('0101010' || '20100', content => 1),
	craft('0202020202' || '0101c3a9', n => 2, content => 2), craft('02020202020002c3a9', n => 2, content => 2)]);

-- Change each bit of a value: it is noticed, or the messages are the same (as for the level's byte).
CREATE FUNCTION flips(value bytea, OUT noticed text, OUT changed int) LANGUAGE plpgsql AS $$
DECLARE
	states text[] := '{}';
	flipped transcript;
BEGIN
	changed := 0;
	FOR i IN 0 .. 8 * length(value) - 1 LOOP
		flipped := set_bit(value, i, 1 - get_bit(value, i))::transcript;
		BEGIN
			PERFORM verify(flipped);
			IF transcript_send(flipped) <> transcript_send(value::transcript) OR message_count(flipped) <> message_count(value::transcript)
				OR token_count(flipped) <> token_count(value::transcript) THEN
				changed := changed + 1;
			END IF;
		EXCEPTION WHEN data_corrupted OR feature_not_supported THEN
			states := states || SQLSTATE::text;
		END;
	END LOOP;
	SELECT string_agg(DISTINCT s, ' ' ORDER BY s) INTO noticed FROM unnest(states) s;
END $$;
CREATE FUNCTION cuts(value bytea, OUT cut int, OUT noticed int) LANGUAGE plpgsql AS $$
BEGIN
	cut := length(value);
	noticed := 0;
	FOR i IN 0 .. length(value) - 1 LOOP
		BEGIN
			PERFORM verify(substr(value, 1, i)::transcript);
		EXCEPTION WHEN data_corrupted THEN
			noticed := noticed + 1;
		END;
	END LOOP;
END $$;
SELECT c, compression(t), f.noticed, f.changed, cut = k.noticed AS cuts_noticed
	FROM unnest(ARRAY['none', 'lz4', 'zstd:3']) c,
	LATERAL (SELECT recompress(transcript_agg(row(i, 0, 'user', repeat('hello ', i), 'm', i, timestamptz '2025-01-01Z', i, '{"k": 1}', i)::message ORDER BY i), c) t FROM generate_series(2, 9) i) s,
	cuts(t::bytea) k, flips(t::bytea) f;
-- every function that reads says so
WITH bad AS (SELECT format('%L::bytea::memory.transcript', set_byte(t::bytea, 60, 255)) AS t FROM samples WHERE name = 'all')
SELECT f, try('SELECT ' || replace(f, '$', t)) FROM bad, unnest(ARRAY['message_count($)', '($)::text', 'verify($)', 'count(*) FROM unpack($)', 'recompress($, ''lz4'')', 'slice($, 1, 2)',
	'$ || $', 'to_jsonb($)', 'transcript_send($)']) f;

DROP CAST (bytea AS memory.transcript);
DROP CAST (memory.transcript AS bytea);
-- nothing is without a comment
SELECT p.oid::regprocedure FROM pg_proc p WHERE pronamespace = 'memory'::regnamespace AND prosrc LIKE 'memory\_transcript\_%' AND obj_description(p.oid, 'pg_proc') IS NULL;
SET client_min_messages = warning;
DROP SCHEMA transcript_test CASCADE;
RESET client_min_messages;
RESET search_path;
\pset format aligned
