-- Documents in: memory.import_documents takes the lines of a file, as COPY
-- brings them, memory.import_document one document.

CREATE FOREIGN TABLE memory.import_documents (
	line text
) SERVER memory_ext OPTIONS (relation 'import_documents');
COMMENT ON FOREIGN TABLE memory.import_documents IS
	'COPY the lines of a file with JSON documents here: conversations of any known format';
COMMENT ON COLUMN memory.import_documents.line IS
	'a line of the file; documents may have many lines';

CREATE FUNCTION memory.import_document(
	account_id text,
	document text,
	format text DEFAULT 'auto',
	OUT conversation_id uuid,
	OUT state text,
	OUT messages bigint,
	OUT reason text,
	OUT path text,
	OUT message text
) AS 'MODULE_PATHNAME', 'memory_import_document' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.import_document(text, text, text) IS
	'imports one document and returns the result: imported, extended, unchanged or rejected';

INSERT INTO memory_store.grants VALUES
	('INSERT ON memory.import_documents', 'writer'),
	('EXECUTE ON FUNCTION memory.import_document(text, text, text)', 'writer');

CREATE FUNCTION memory_store.split_documents(
	input text,
	chunk integer DEFAULT 65536,
	max_document integer DEFAULT 1048576,
	resume boolean DEFAULT false,
	OUT kind text,
	OUT document text,
	OUT line bigint,
	OUT byte_offset bigint,
	OUT bytes bigint,
	OUT problem text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'memory_split_documents' LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION memory_store.split_documents(text, integer, integer, boolean) IS
	'the documents that the import''s splitter finds in a text that is passed in chunks';
