-- Documents of chat formats, without the store.

CREATE FUNCTION memory.convert(document jsonb, from_format text, to_format text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'memory_convert' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.convert(jsonb, text, text) IS 'a document of one chat format as one of another';

CREATE FUNCTION memory.document_format(document jsonb) RETURNS text
	AS 'MODULE_PATHNAME', 'memory_document_format' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.document_format(jsonb) IS 'the chat format that a document looks like; null: no known one';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.document_format(jsonb)', 'reader'),
	('EXECUTE ON FUNCTION memory.convert(jsonb, text, text)', 'reader');
