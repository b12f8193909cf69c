-- Documents out.  In a SELECT list the function gives a document at a time.

CREATE FUNCTION memory.export(
	format text DEFAULT 'native',
	account_id text DEFAULT NULL,
	conversation_id uuid DEFAULT NULL,
	since timestamptz DEFAULT NULL
) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'memory_export' LANGUAGE C STABLE SECURITY DEFINER;
COMMENT ON FUNCTION memory.export(text, text, uuid, timestamptz) IS
	'conversations as documents of a format; streams if it is used in the SELECT list';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.export(text, text, uuid, timestamptz)', 'reader');
