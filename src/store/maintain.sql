-- Sealing and maintenance.

CREATE FUNCTION memory.seal(account_id text DEFAULT NULL, conversation_id uuid DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_seal' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.seal(text, uuid) IS 'seals the tails of a conversation, an account, or all; returns how many conversations had one';

CREATE FUNCTION memory.seal_idle(max_conversations integer DEFAULT 100) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_seal_idle' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.seal_idle(integer) IS 'seals some (NULL: all) of the tails that have rested for memory_ext.seal_after; returns how many';

-- A procedure that commits cannot be SECURITY DEFINER; the functions it calls are.
CREATE PROCEDURE memory.maintain(batch_size integer DEFAULT 100) LANGUAGE plpgsql AS $$
DECLARE
	sealed bigint;
	total bigint := 0;
BEGIN
	LOOP
		sealed := memory.seal_idle(batch_size);
		COMMIT;
		EXIT WHEN sealed OPERATOR(pg_catalog.=) 0;
		total := total OPERATOR(pg_catalog.+) sealed;
	END LOOP;
	RAISE INFO 'sealed % idle conversations', total;
END
$$;
COMMENT ON PROCEDURE memory.maintain(integer) IS 'seals idle tails, a transaction a batch';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.seal(text, uuid)', 'operator'),
	('EXECUTE ON FUNCTION memory.seal_idle(integer)', 'operator'),
	('EXECUTE ON PROCEDURE memory.maintain(integer)', 'operator');
