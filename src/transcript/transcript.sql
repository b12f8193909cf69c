-- The type memory.transcript: a compressed, ordered run of messages.
--
-- Volatility: what reads a transcript is immutable.  What makes one is stable,
-- because memory_ext.compression decides how it is stored; and in the text form
-- and in jsonb, a time without an offset is read in the session's time zone.

CREATE TYPE memory.transcript;

CREATE FUNCTION memory.transcript_in(cstring) RETURNS memory.transcript
	AS 'MODULE_PATHNAME', 'memory_transcript_in' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.transcript_in(cstring) IS 'input function of transcript';

CREATE FUNCTION memory.transcript_out(memory.transcript) RETURNS cstring
	AS 'MODULE_PATHNAME', 'memory_transcript_out' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION memory.transcript_out(memory.transcript) IS 'output function of transcript';

CREATE FUNCTION memory.transcript_recv(internal) RETURNS memory.transcript
	AS 'MODULE_PATHNAME', 'memory_transcript_recv' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.transcript_recv(internal) IS 'binary input function of transcript';

CREATE FUNCTION memory.transcript_send(memory.transcript) RETURNS bytea
	AS 'MODULE_PATHNAME', 'memory_transcript_send' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION memory.transcript_send(memory.transcript) IS
	'binary output function of transcript';

-- storage external: PostgreSQL does not try to compress it again, and the header
-- can be read by slice.
CREATE TYPE memory.transcript (
	INPUT = memory.transcript_in,
	OUTPUT = memory.transcript_out,
	RECEIVE = memory.transcript_recv,
	SEND = memory.transcript_send,
	INTERNALLENGTH = variable,
	ALIGNMENT = int4,
	STORAGE = external
);
COMMENT ON TYPE memory.transcript IS
	'a compressed, ordered list of messages; its text form is a JSON array';

CREATE TYPE memory.message AS (
	seq bigint,
	parent_seq bigint,
	role text,
	content text,
	model text,
	tokens integer,
	created_at timestamptz,
	message_id text,
	metadata jsonb,
	revision bigint
);
COMMENT ON TYPE memory.message IS
	'one message of a transcript; parent_seq: 0 is a root; NULL on input: the message before';

-- What the header says; the payload is not read.

CREATE FUNCTION memory.message_count(memory.transcript) RETURNS integer
	AS 'MODULE_PATHNAME', 'memory_transcript_message_count'
		LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.message_count(memory.transcript) IS 'number of messages';

CREATE FUNCTION memory.token_count(memory.transcript) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_transcript_token_count' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.token_count(memory.transcript) IS 'sum of the messages'' known tokens';

CREATE FUNCTION memory.raw_bytes(memory.transcript) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_transcript_raw_bytes' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.raw_bytes(memory.transcript) IS
	'bytes of the payload before compression';

CREATE FUNCTION memory.content_bytes(memory.transcript) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_transcript_content_bytes'
		LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.content_bytes(memory.transcript) IS 'bytes of all messages'' content';

CREATE FUNCTION memory.stored_bytes(memory.transcript) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_transcript_stored_bytes' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.stored_bytes(memory.transcript) IS 'bytes that the stored value takes';

CREATE FUNCTION memory.compression(memory.transcript) RETURNS text
	AS 'MODULE_PATHNAME', 'memory_transcript_compression' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.compression(memory.transcript) IS
	'how the payload is compressed: zstd:level, lz4 or none';

CREATE FUNCTION memory.dictionary_id(memory.transcript) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_transcript_dictionary_id'
		LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.dictionary_id(memory.transcript) IS
	'the dictionary that the payload needs, null for none; read from the header';

CREATE FUNCTION memory.first_at(memory.transcript) RETURNS timestamptz
	AS 'MODULE_PATHNAME', 'memory_transcript_first_at' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.first_at(memory.transcript) IS
	'the earliest created_at; NULL if there is none';

CREATE FUNCTION memory.last_at(memory.transcript) RETURNS timestamptz
	AS 'MODULE_PATHNAME', 'memory_transcript_last_at' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.last_at(memory.transcript) IS
	'the latest created_at; NULL if there is none';

-- Reading messages.

CREATE FUNCTION memory.unpack_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'memory_transcript_unpack_support'
		LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.unpack_support(internal) IS 'planner support function of unpack';

CREATE FUNCTION memory.unpack(memory.transcript) RETURNS SETOF memory.message
	AS 'MODULE_PATHNAME', 'memory_transcript_unpack' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 100 ROWS 32 SUPPORT memory.unpack_support;
COMMENT ON FUNCTION memory.unpack(memory.transcript) IS 'the messages, as rows in order of seq';

CREATE FUNCTION memory.verify(memory.transcript) RETURNS boolean
	AS 'MODULE_PATHNAME', 'memory_transcript_verify'
		LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION memory.verify(memory.transcript) IS
	'true, or an error XX001 that says what is corrupt';

-- Making transcripts.

CREATE FUNCTION memory.transcript(memory.message[]) RETURNS memory.transcript
	AS 'MODULE_PATHNAME', 'memory_transcript_from_messages'
		LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION memory.transcript(memory.message[]) IS 'a transcript of these messages';

CREATE FUNCTION memory.transcript(role text, content text) RETURNS memory.transcript
	AS 'MODULE_PATHNAME', 'memory_transcript_from_text'
		LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION memory.transcript(text, text) IS 'a transcript of one message';

CREATE FUNCTION memory.transcript(jsonb) RETURNS memory.transcript
	AS 'MODULE_PATHNAME', 'memory_transcript_from_jsonb'
		LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION memory.transcript(jsonb) IS 'a transcript of a JSON array of messages';

CREATE FUNCTION memory.to_jsonb(memory.transcript) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'memory_transcript_to_jsonb'
		LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION memory.to_jsonb(memory.transcript) IS 'the messages as a JSON array';

-- Assignment: a transcript fits a jsonb column and the other way round, but no
-- expression converts silently, since that decompresses.
CREATE CAST (jsonb AS memory.transcript) WITH FUNCTION memory.transcript(jsonb) AS ASSIGNMENT;
COMMENT ON CAST (jsonb AS memory.transcript) IS 'a JSON array of messages to a transcript';

CREATE CAST (memory.transcript AS jsonb) WITH FUNCTION memory.to_jsonb(memory.transcript)
	AS ASSIGNMENT;
COMMENT ON CAST (memory.transcript AS jsonb) IS 'a transcript to a JSON array of messages';

CREATE FUNCTION memory.recompress(memory.transcript, compression text) RETURNS memory.transcript
	AS 'MODULE_PATHNAME', 'memory_transcript_recompress'
		LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION memory.recompress(memory.transcript, text) IS
	'the same messages, compressed as zstd:level, lz4 or none';

CREATE FUNCTION memory.slice(memory.transcript, from_seq bigint, to_seq bigint)
	RETURNS memory.transcript
	AS 'MODULE_PATHNAME', 'memory_transcript_slice' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION memory.slice(memory.transcript, bigint, bigint) IS
	'the messages with seq from from_seq to to_seq, both included';

CREATE FUNCTION memory.concat(memory.transcript, memory.transcript) RETURNS memory.transcript
	AS 'MODULE_PATHNAME', 'memory_transcript_concat'
		LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION memory.concat(memory.transcript, memory.transcript) IS
	'implementation of || operator';

CREATE OPERATOR memory.|| (
	LEFTARG = memory.transcript,
	RIGHTARG = memory.transcript,
	FUNCTION = memory.concat
);
COMMENT ON OPERATOR memory.|| (memory.transcript, memory.transcript) IS
	'the second transcript appended to the first, renumbered if necessary';

-- Aggregates.

CREATE FUNCTION memory.transcript_agg_step(internal, memory.message) RETURNS internal
	AS 'MODULE_PATHNAME', 'memory_transcript_agg_message' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION memory.transcript_agg_step(internal, memory.message) IS
	'transition function of transcript_agg';

CREATE FUNCTION memory.transcript_agg_step(internal, role text, content text) RETURNS internal
	AS 'MODULE_PATHNAME', 'memory_transcript_agg_text' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION memory.transcript_agg_step(internal, text, text) IS
	'transition function of transcript_agg';

CREATE FUNCTION memory.transcript_agg_final(internal) RETURNS memory.transcript
	AS 'MODULE_PATHNAME', 'memory_transcript_agg_final' LANGUAGE C STABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION memory.transcript_agg_final(internal) IS 'final function of transcript_agg';

CREATE AGGREGATE memory.transcript_agg(memory.message) (
	SFUNC = memory.transcript_agg_step,
	STYPE = internal,
	FINALFUNC = memory.transcript_agg_final,
	FINALFUNC_MODIFY = READ_ONLY,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE memory.transcript_agg(memory.message) IS
	'a transcript of the rows, which must be in order of seq';

CREATE AGGREGATE memory.transcript_agg(role text, content text) (
	SFUNC = memory.transcript_agg_step,
	STYPE = internal,
	FINALFUNC = memory.transcript_agg_final,
	FINALFUNC_MODIFY = READ_ONLY,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE memory.transcript_agg(text, text) IS
	'a transcript of the rows, numbered in their order';

-- Dictionaries.  What reads the bytes of a transcript may have to look one up
-- here: such functions are STABLE, although a dictionary never changes.
CREATE TABLE memory_store.dictionaries (
	dictionary_id bigint NOT NULL PRIMARY KEY CHECK (dictionary_id BETWEEN 1 AND 4294967295),
	created_at timestamptz NOT NULL,
	samples bigint NOT NULL,
	sample_bytes bigint NOT NULL,
	holdout_before bigint NOT NULL,
	holdout_after bigint NOT NULL,
	is_current boolean NOT NULL,
	stale_at timestamptz,
	body bytea NOT NULL,
	raw_bytes bigint
);
ALTER TABLE memory_store.dictionaries ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX dictionaries_current ON memory_store.dictionaries (is_current) WHERE is_current;
COMMENT ON TABLE memory_store.dictionaries IS
	'zstd dictionaries trained in this database; the id is taken from the SHA-256 of its bytes, '
	'which never change';
COMMENT ON COLUMN memory_store.dictionaries.raw_bytes IS
	'the size of the dictionary; body is a zstd frame of it; null: body is the dictionary itself';
COMMENT ON COLUMN memory_store.dictionaries.stale_at IS
	'when an account that it was trained on was erased: maintain() rewrites the segments that '
	'need it and drops it';
SELECT pg_catalog.pg_extension_config_dump('memory_store.dictionaries', '');
CREATE FUNCTION memory_store.dictionary_content(dictionary_id bigint) RETURNS bytea
	AS 'MODULE_PATHNAME', 'memory_dictionary_content' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION memory_store.dictionary_content(bigint) IS
	'the bytes of a dictionary, as zstd uses them';

-- The type is of use to every reader.
INSERT INTO memory_store.grants VALUES
	('USAGE ON TYPE memory.transcript', 'reader'),
	('USAGE ON TYPE memory.message', 'reader'),
	-- what views of numbers call
	('EXECUTE ON FUNCTION memory.stored_bytes(memory.transcript)', 'monitor'),
	('EXECUTE ON FUNCTION memory.dictionary_id(memory.transcript)', 'monitor');
INSERT INTO memory_store.grants
	SELECT 'EXECUTE ON FUNCTION ' || p.oid::regprocedure::text, 'reader'
	FROM pg_proc p WHERE p.pronamespace = 'memory'::regnamespace;
