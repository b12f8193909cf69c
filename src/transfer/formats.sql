-- Documents of chat formats, without the store.

CREATE FUNCTION memory.convert(document jsonb, from_format text, to_format text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'memory_convert' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.convert(jsonb, text, text) IS 'a document of one chat format as one of another';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.convert(jsonb, text, text)', 'reader');
