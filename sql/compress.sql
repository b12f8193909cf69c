-- memory.compress and memory.decompress: round trips, the bytes of the frame, and bytes that no
-- compress made.
CREATE SCHEMA compress_test;
SET search_path = compress_test, public;
-- SQLSTATE, message, detail and hint of what an expression raises
CREATE FUNCTION raises(expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE 'SELECT ' || expression;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE || ' ' || SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;

-- round trips: empty, one byte, every byte, what shrinks and what does not, more than a chunk
CREATE TABLE samples (name text, data bytea);
INSERT INTO samples VALUES ('empty', ''), ('one', '\x00'),
	('all bytes', (SELECT string_agg(set_byte('\x00', 0, i), '' ORDER BY i) FROM generate_series(0, 255) i)),
	('text', convert_to(repeat('The index is scanned. ', 1000), 'UTF8')),
	('hashes', (SELECT string_agg(sha256(i::text::bytea), '' ORDER BY i) FROM generate_series(1, 1000) i)),
	('large', convert_to(repeat('A conversation of three megabytes. ', 90000), 'UTF8'));
CREATE TABLE methods (method text);
INSERT INTO methods VALUES ('zstd'), ('zstd:1'), ('zstd:19'), ('lz4'), ('none'), ('ZSTD:3');
SELECT name, method, memory.decompress(c) = data AS same, octet_length(c) < octet_length(data) AS smaller,
	octet_length(c) <= octet_length(data) + 16 AS at_most_16_more, get_byte(c, 5) AS codec
FROM samples, methods, memory.compress(data, method) c ORDER BY octet_length(data), name, method;
SELECT bool_and(memory.compress(data) = memory.compress(data, 'zstd:3')) AS "default" FROM samples;
SELECT memory.compress(NULL) IS NULL AS no_data, memory.compress('x', NULL) IS NULL AS no_method, memory.decompress(NULL) IS NULL AS no_frame;
-- the bytes are fixed
SELECT memory.compress('hello', 'none'), memory.compress('', 'lz4');
SELECT convert_from(memory.decompress('\x4d585acf010100006400000012d451cb1f6101004b506161616161'), 'UTF8') = repeat('a', 100) AS lz4;
-- of a column that is stored compressed or out of line
CREATE TABLE kept (data bytea);
INSERT INTO kept SELECT data FROM samples WHERE name IN ('text', 'hashes');
ALTER TABLE samples ALTER data SET STORAGE EXTERNAL;
CREATE TABLE frames AS SELECT name, memory.compress(data) AS frame FROM samples;
SELECT count(*), bool_and(memory.decompress(frame) = data) FROM frames JOIN samples USING (name);
SELECT count(*) FROM kept WHERE memory.decompress(memory.compress(data, 'lz4')) = data;

-- methods that are none
SELECT method, raises(format('memory.compress(%L, %L)', 'x', method))
FROM unnest('{gzip,zstd:0,zstd:23,zstd:,lz4:1,none:0,"",zstd:3@1,zstd@1,zstd:-1}'::text[]) method;

-- what is no frame
SELECT data, raises(format('memory.decompress(%L)', data))
FROM unnest('{"","\\x4d","\\x4d585a","\\x4d585acf","\\x00000000000000000000000000000000","\\x4d585acf010000000000000000000000"}'::bytea[]) data;
-- cut anywhere, or with something behind it
CREATE TABLE good AS SELECT method, memory.compress(convert_to(repeat('The index is scanned. ', 20), 'UTF8'), method) AS frame FROM methods WHERE method IN ('zstd', 'lz4', 'none');
SELECT method, left(e, 5) AS state, count(*) > 10 AS many, count(*) FILTER (WHERE n < 4) AS before_magic, count(*) FILTER (WHERE n BETWEEN 4 AND 15) AS in_header
FROM good, generate_series(0, octet_length(frame) - 1) n, raises(format('memory.decompress(%L)', substr(frame, 1, n))) e
GROUP BY 1, 2 ORDER BY 1, 2;
SELECT method, raises(format('memory.decompress(%L)', frame || '\x00'::bytea)) FROM good ORDER BY 1;
-- each single bit: noticed, by an error that says so
CREATE TABLE flipped AS SELECT method, n, octet_length(frame) AS bytes, left(e, 5) AS state
FROM good, generate_series(0, 8 * octet_length(frame) - 1) n, raises(format('memory.decompress(%L)', set_bit(frame, n, 1 - get_bit(frame, n)))) e;
SELECT method, state, min(n) / 8 AS first_byte, max(n) / 8 = max(bytes) - 1 AS last_byte, count(*) > 8 * max(bytes) - 128 AS most
FROM flipped GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) = (SELECT sum(8 * octet_length(frame)) FROM good) AS "each", bool_and(state <> 'no er') AS noticed FROM flipped;

-- With a checksum that fits, to reach what is behind it: CRC-32C, bit by bit.
CREATE FUNCTION crc32c(data bytea) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	crc bigint := 4294967295;
BEGIN
	FOR i IN 0 .. octet_length(data) - 1 LOOP
		crc := crc # get_byte(data, i);
		FOR b IN 1 .. 8 LOOP
			crc := (crc >> 1) # (CASE WHEN crc & 1 = 1 THEN 2197175160 ELSE 0 END);
		END LOOP;
	END LOOP;
	RETURN crc # 4294967295;
END $$;
CREATE FUNCTION little(n bigint) RETURNS bytea LANGUAGE sql
	AS $$ SELECT decode(string_agg(lpad(to_hex((n >> (8 * i)) & 255), 2, '0'), '' ORDER BY i), 'hex') FROM generate_series(0, 3) i $$;
CREATE FUNCTION frame(version int, codec int, reserved bytea, raw_size bigint, payload bytea) RETURNS bytea LANGUAGE sql AS $$
	SELECT h || little(crc32c(h || payload)) || payload
	FROM (SELECT '\x4d585acf'::bytea || set_byte('\x00', 0, version) || set_byte('\x00', 0, codec) || reserved || little(raw_size)) x (h)
$$;
SELECT frame(1, 0, '\x0000', 5, 'hello') = memory.compress('hello', 'none') AS same;
SELECT what, raises(format('memory.decompress(%L)', f)) FROM (VALUES
	('version 0', frame(0, 0, '\x0000', 5, 'hello')),
	('version 2', frame(2, 0, '\x0000', 5, 'hello')),
	('codec 3', frame(1, 3, '\x0000', 5, 'hello')),
	('codec 255', frame(1, 255, '\x0000', 5, 'hello')),
	('reserved', frame(1, 0, '\x0001', 5, 'hello')),
	('none: too long', frame(1, 0, '\x0000', 4, 'hello')),
	('none: too short', frame(1, 0, '\x0000', 6, 'hello')),
	('none: 4 GB', frame(1, 0, '\x0000', 4294967295, 'hello')),
	('lz4: not lz4', frame(1, 1, '\x0000', 5, '\xffffffffff')),
	('lz4: nothing', frame(1, 1, '\x0000', 5, '')),
	('lz4: 128 MB of 5 bytes', frame(1, 1, '\x0000', 134217728, 'hello')),
	('lz4: over the limit', frame(1, 1, '\x0000', 134217729, 'hello')),
	('zstd: not zstd', frame(1, 2, '\x0000', 5, 'hello')),
	('zstd: nothing', frame(1, 2, '\x0000', 0, '')),
	('zstd: other size', frame(1, 2, '\x0000', 441, (SELECT substr(good.frame, 17) FROM good WHERE method = 'zstd'))),
	('zstd: cut', frame(1, 2, '\x0000', 440, (SELECT substr(good.frame, 17, octet_length(good.frame) - 17) FROM good WHERE method = 'zstd'))),
	('zstd: two frames', frame(1, 2, '\x0000', 440, (SELECT substr(good.frame, 17) || substr(good.frame, 17) FROM good WHERE method = 'zstd'))),
	('zstd: as it was', frame(1, 2, '\x0000', 440, (SELECT substr(good.frame, 17) FROM good WHERE method = 'zstd')))
) v (what, f);

-- the limit
SELECT octet_length(memory.decompress(memory.compress(convert_to(repeat('x', 134217728), 'UTF8'), 'lz4')));
SELECT raises($$memory.compress(convert_to(repeat('x', 134217729), 'UTF8'))$$);

-- what the catalog promises
SELECT proname, provolatile, proparallel, proisstrict, prosecdef FROM pg_proc
WHERE pronamespace = 'memory'::regnamespace AND proname IN ('compress', 'decompress') ORDER BY 1;
CREATE INDEX ON kept (octet_length(memory.compress(data, 'lz4')));

\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA compress_test CASCADE;
