-- Sealing, and the steps of maintenance.

CREATE FUNCTION memory.seal(account_id text DEFAULT NULL, conversation_id uuid DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_seal' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.seal(text, uuid) IS 'seals the tails of a conversation, an account, or all; returns how many conversations had one';

CREATE FUNCTION memory.train_dictionary(
	max_sample_bytes bigint DEFAULT NULL,
	min_gain real DEFAULT NULL,
	OUT dictionary_id bigint,
	OUT dictionary_bytes bigint,
	OUT samples bigint,
	OUT accounts bigint,
	OUT gain real
) RETURNS record
	AS 'MODULE_PATHNAME', 'memory_train_dictionary' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.train_dictionary(bigint, real) IS 'trains a zstd dictionary from the sealed segments and makes it the current one if a hold-out shrinks by min_gain percent; dictionary_id is null when it was not kept';

CREATE FUNCTION memory.forget(account_id text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'memory_forget' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.forget(text) IS 'erases an account with all it has and returns the receipt; what is pending is done by maintain()';

CREATE FUNCTION memory.set_retention(account_id text, keep interval) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_set_retention' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.set_retention(text, interval) IS 'how long maintain() keeps conversations after their last change; null account_id: the default, null keep: no limit';

CREATE VIEW memory.dictionaries AS
	SELECT d.dictionary_id, d.is_current, d.stale_at, d.created_at,
		COALESCE(d.raw_bytes, octet_length(d.body))::integer AS dictionary_bytes, d.samples, d.sample_bytes,
		round(100.0 * (1 - d.holdout_after::numeric / NULLIF(d.holdout_before, 0)), 1) AS gain,
		(SELECT count(*) FROM memory_store.segments s WHERE memory.dictionary_id(s.body) = d.dictionary_id) AS segments
	FROM memory_store.dictionaries d;
COMMENT ON VIEW memory.dictionaries IS 'the dictionaries of this database: size, percent saved on the hold-out, segments that need them';

-- The steps of maintain(): a transaction each.
CREATE FUNCTION memory.seal_idle(max_conversations integer DEFAULT 100) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_seal_idle' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.seal_idle(integer) IS 'seals some (NULL: all) of the tails that have rested for memory_ext.seal_after; returns how many';

CREATE FUNCTION memory.seal_batch(
	after_conversation_id uuid,
	after_account_id text,
	max_conversations integer DEFAULT 100,
	OUT conversation_id uuid,
	OUT account_id text,
	OUT sealed bigint
) RETURNS record
	AS 'MODULE_PATHNAME', 'memory_seal_batch' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory.seal_batch(uuid, text, integer) IS 'seals the next idle tails behind a key; returns the key to go on behind (null: done) and how many were sealed';

CREATE FUNCTION memory.expire_batch(max_conversations integer DEFAULT 100) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_expire_batch' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.expire_batch(integer) IS 'deletes some (NULL: all) of the conversations whose retention has passed; returns how many';

CREATE FUNCTION memory.purge() RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_purge' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory.purge() IS 'removes the tombstones older than memory_ext.purge_after; returns how many';

CREATE FUNCTION memory.train_if_due() RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_train_if_due' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory.train_if_due() IS 'trains a dictionary if memory_ext.auto_dictionary is on and enough has gathered; returns its id';

CREATE FUNCTION memory.compact_batch(
	after_conversation_id uuid,
	after_account_id text,
	max_conversations integer DEFAULT 20,
	only_stale boolean DEFAULT false,
	OUT conversation_id uuid,
	OUT account_id text,
	OUT segments bigint
) RETURNS record
	AS 'MODULE_PATHNAME', 'memory_compact_batch' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory.compact_batch(uuid, text, integer, boolean) IS 'compacts the next resting conversations behind a key; returns the key to go on behind (null: done) and how many segments were replaced';

CREATE FUNCTION memory.compact_begin() RETURNS text
	AS 'MODULE_PATHNAME', 'memory_compact_begin' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory.compact_begin() IS 'how segments are to be compressed by now, for memory.compact_end';

CREATE FUNCTION memory.compact_end(compression text) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_compact_end' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory.compact_end(text) IS 'notes that all conversations were walked through with memory.compact_batch since compact_begin, so that the next walk is over what is new only';

CREATE FUNCTION memory.drop_dictionaries() RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_drop_dictionaries' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory.drop_dictionaries() IS 'drops the dictionaries that are neither current nor needed; returns how many';

CREATE FUNCTION memory.settle_begin(
	part text,
	changed bigint DEFAULT NULL,
	end_block bigint DEFAULT NULL,
	OUT from_block bigint,
	OUT to_block bigint
) RETURNS record
	AS 'MODULE_PATHNAME', 'memory_settle_begin' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.settle_begin(text, bigint, bigint) IS 'the blocks at the end of segments, their toast, or conversations whose rows fit into free space before them; null: it is not worth it';

CREATE FUNCTION memory.settle_batch(
	part text,
	from_block bigint,
	to_block bigint,
	OUT next_block bigint,
	OUT moved bigint
) RETURNS record
	AS 'MODULE_PATHNAME', 'memory_settle_batch' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory.settle_batch(text, bigint, bigint) IS 'moves rows of segments, their toast, or conversations from the end of the file into free space before it, so that VACUUM can shorten the file; returns where to go on (null: done) and how many were moved';

CREATE FUNCTION memory.settle_end(part text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'memory_settle_end' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory.settle_end(text) IS 'makes the indexes of segments, their toast, or conversations anew, after rows were moved, unless they are large; false: somebody uses them';

CREATE FUNCTION memory_store.toast_value(memory.transcript) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_toast_value' LANGUAGE C STABLE STRICT PARALLEL SAFE;

CREATE FUNCTION memory_store.toast_value(bytea) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_toast_value' LANGUAGE C STABLE STRICT PARALLEL SAFE;

CREATE FUNCTION memory_store.in_line(bytea) RETURNS bytea
	AS 'MODULE_PATHNAME', 'memory_in_line' LANGUAGE C STABLE STRICT PARALLEL SAFE;

CREATE FUNCTION memory_store.in_line(memory.transcript) RETURNS memory.transcript
	AS 'MODULE_PATHNAME', 'memory_in_line' LANGUAGE C STABLE STRICT PARALLEL SAFE;

CREATE FUNCTION memory_store.is_compact(memory.transcript) RETURNS boolean
	AS 'MODULE_PATHNAME', 'memory_is_compact' LANGUAGE C STABLE STRICT;

-- In the extension's own schema, where nobody else can have made a view of this name.
CREATE FUNCTION memory.protect() RETURNS void LANGUAGE sql AS $$
	CREATE OR REPLACE VIEW memory.protection AS
		SELECT 'keeps DROP EXTENSION memory_ext from deleting every conversation; see memory.unprotect()'::pg_catalog.text AS purpose,
			(SELECT pg_catalog.count(*) FROM memory.conversations) AS conversations
$$;
COMMENT ON FUNCTION memory.protect() IS 'makes a plain DROP EXTENSION refuse, by a view memory.protection that depends on the data';
CREATE FUNCTION memory.unprotect() RETURNS void LANGUAGE sql AS $$
	DROP VIEW IF EXISTS memory.protection
$$;
COMMENT ON FUNCTION memory.unprotect() IS 'takes memory.protect() back';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.seal(text, uuid)', 'operator'),
	('EXECUTE ON FUNCTION memory.seal_idle(integer)', 'operator'),
	('EXECUTE ON FUNCTION memory.seal_batch(uuid, text, integer)', 'operator'),
	('EXECUTE ON FUNCTION memory.train_dictionary(bigint, real)', 'operator'),
	('EXECUTE ON FUNCTION memory.forget(text)', 'operator'),
	('EXECUTE ON FUNCTION memory.set_retention(text, interval)', 'operator'),
	('EXECUTE ON FUNCTION memory.expire_batch(integer)', 'operator'),
	('EXECUTE ON FUNCTION memory.purge()', 'operator'),
	('EXECUTE ON FUNCTION memory.train_if_due()', 'operator'),
	('EXECUTE ON FUNCTION memory.compact_batch(uuid, text, integer, boolean)', 'operator'),
	('EXECUTE ON FUNCTION memory.compact_begin()', 'operator'),
	('EXECUTE ON FUNCTION memory.compact_end(text)', 'operator'),
	('EXECUTE ON FUNCTION memory.drop_dictionaries()', 'operator'),
	('EXECUTE ON FUNCTION memory.settle_begin(text, bigint, bigint)', 'operator'),
	('EXECUTE ON FUNCTION memory.settle_batch(text, bigint, bigint)', 'operator'),
	('EXECUTE ON FUNCTION memory.settle_end(text)', 'operator'),
	('SELECT ON memory.dictionaries', 'operator'),
	('SELECT ON memory.dictionaries', 'monitor');
