-- Documents of chat formats, without the store.

CREATE FUNCTION memory.convert(document jsonb, from_format text, to_format text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'memory_convert' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.convert(jsonb, text, text) IS
	'converts a document from one chat format to another';

CREATE FUNCTION memory.document_format(document jsonb) RETURNS text
	AS 'MODULE_PATHNAME', 'memory_document_format' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.document_format(jsonb) IS
	'the chat format of a document, as it is detected; null: unknown';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.document_format(jsonb)', 'reader'),
	('EXECUTE ON FUNCTION memory.convert(jsonb, text, text)', 'reader');
