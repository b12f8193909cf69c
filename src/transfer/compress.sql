-- Bytes compressed with the codecs of the transcripts, for columns of one's own.

CREATE FUNCTION memory.compress(data bytea, method text DEFAULT 'zstd') RETURNS bytea
	AS 'MODULE_PATHNAME', 'memory_compress' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION memory.compress(bytea, text) IS
	'the data compressed as zstd:level, lz4 or none, in a frame with a checksum';

CREATE FUNCTION memory.decompress(data bytea) RETURNS bytea
	AS 'MODULE_PATHNAME', 'memory_decompress' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION memory.decompress(bytea) IS 'the data that memory.compress was given';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.compress(bytea, text)', 'reader'),
	('EXECUTE ON FUNCTION memory.decompress(bytea)', 'reader');
