-- Documents in: memory.import_documents takes the lines of a file, as COPY
-- brings them, memory.import_document one document.

CREATE VIEW memory.import_documents AS SELECT NULL::text AS line WHERE false;
COMMENT ON VIEW memory.import_documents IS 'COPY the lines of a file with JSON documents here: conversations of any known format';

CREATE FUNCTION memory_store.import_lines() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_import_lines' LANGUAGE C SECURITY DEFINER;
CREATE FUNCTION memory_store.import_end() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_import_end' LANGUAGE C SECURITY DEFINER;

CREATE TRIGGER a_begin BEFORE INSERT ON memory.import_documents
	FOR EACH STATEMENT EXECUTE FUNCTION memory_store.statement_begin();
CREATE TRIGGER b_insert INSTEAD OF INSERT ON memory.import_documents
	FOR EACH ROW EXECUTE FUNCTION memory_store.import_lines();
CREATE TRIGGER c_end AFTER INSERT ON memory.import_documents
	FOR EACH STATEMENT EXECUTE FUNCTION memory_store.import_end();

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
COMMENT ON FUNCTION memory.import_document(text, text, text) IS 'imports one document and says what became of it: imported, extended, unchanged or rejected';

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
COMMENT ON FUNCTION memory_store.split_documents(text, integer, integer, boolean) IS 'what the import''s splitter makes of a text that comes in chunks';
