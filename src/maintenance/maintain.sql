-- Sealing and maintenance.

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
COMMENT ON FUNCTION memory.train_dictionary(bigint, real) IS 'trains a zstd dictionary from the sealed segments and makes it the current one if held-out samples shrink by min_gain percent; dictionary_id is null if it was not kept';

CREATE FUNCTION memory.forget(account_id text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'memory_forget' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.forget(text) IS 'erases an account with everything it has and returns a receipt; maintain() does what is pending';

CREATE FUNCTION memory.set_retention(account_id text, keep interval) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_set_retention' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.set_retention(text, interval) IS 'how long maintain() keeps conversations after their last change; null account_id: the default; null keep: no limit';

CREATE VIEW memory.dictionaries AS
	SELECT d.dictionary_id, d.is_current, d.stale_at, d.created_at,
		COALESCE(d.raw_bytes, octet_length(d.body))::integer AS dictionary_bytes, d.samples, d.sample_bytes,
		round(100.0 * (1 - d.holdout_after::numeric / NULLIF(d.holdout_before, 0)), 1) AS gain,
		(SELECT count(*) FROM memory_store.segments s WHERE memory.dictionary_id(s.body) = d.dictionary_id) AS segments
	FROM memory_store.dictionaries d;
COMMENT ON VIEW memory.dictionaries IS 'the dictionaries of this database: size, percent saved on held-out samples, segments that need them';

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

-- A procedure that commits cannot be SECURITY DEFINER nor have a search_path of
-- its own; the functions it calls are the former, its names are qualified.
-- It says nothing of a step that found nothing to do: cron mails what it prints.
CREATE PROCEDURE memory.maintain(batch_size integer DEFAULT 100) LANGUAGE plpgsql AS $$
DECLARE
	done bigint;
	total bigint;
	told pg_catalog.timestamptz := pg_catalog.clock_timestamp();
	dictionary bigint;
	conversation pg_catalog.uuid;
	account pg_catalog.text;
	compression pg_catalog.text;
	compacted bigint := 0;
	part pg_catalog.text;
	cut bigint;
	from_block bigint;
	to_block bigint;
BEGIN
	IF batch_size OPERATOR(pg_catalog.<) 1 THEN
		RAISE EXCEPTION 'batch_size must be positive, it is %', batch_size USING ERRCODE = '22023',
			HINT = 'NULL is no limit.';
	END IF;
	total := 0;
	LOOP
		done := memory.expire_batch(batch_size);
		COMMIT;
		EXIT WHEN done OPERATOR(pg_catalog.=) 0;
		total := total OPERATOR(pg_catalog.+) done;
	END LOOP;
	IF total OPERATOR(pg_catalog.>) 0 THEN
		RAISE INFO 'deleted % conversations whose retention has passed', total;
	END IF;

	total := 0;
	conversation := '00000000-0000-0000-0000-000000000000';
	account := '';
	LOOP
		SELECT b.conversation_id, b.account_id, b.sealed INTO conversation, account, done
			FROM memory.seal_batch(conversation, account, batch_size) b;
		COMMIT;
		EXIT WHEN conversation IS NULL;
		total := total OPERATOR(pg_catalog.+) done;
	END LOOP;
	IF total OPERATOR(pg_catalog.>) 0 THEN
		RAISE INFO 'sealed the tails of % conversations', total;
	END IF;

	-- accounts that record calls all the time must not keep this loop going
	FOR batch IN 1..1000 LOOP
		done := memory.roll_up_usage(batch_size);
		COMMIT;
		EXIT WHEN (done OPERATOR(pg_catalog.<) batch_size) IS NOT FALSE;
	END LOOP;

	LOOP
		done := memory.close_periods(batch_size);
		COMMIT;
		EXIT WHEN (done OPERATOR(pg_catalog.<) batch_size) IS NOT FALSE;
	END LOOP;

	dictionary := memory.train_if_due();
	COMMIT;
	IF dictionary IS NOT NULL THEN
		RAISE INFO 'trained dictionary %', dictionary;
	END IF;

	-- first what an erasure waits for, then what rests
	compression := memory.compact_begin();
	FOR only_stale IN REVERSE 1..0 LOOP
		total := 0;
		conversation := '00000000-0000-0000-0000-000000000000';
		account := '';
		LOOP
			SELECT b.conversation_id, b.account_id, b.segments INTO conversation, account, done
				FROM memory.compact_batch(conversation, account, 20, only_stale OPERATOR(pg_catalog.=) 1) b;
			COMMIT;
			EXIT WHEN conversation IS NULL;
			total := total OPERATOR(pg_catalog.+) done;
			compacted := compacted OPERATOR(pg_catalog.+) done;
			IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) told OPERATOR(pg_catalog.>) '5 s'::pg_catalog.interval THEN
				RAISE INFO 'compacting: % segments so far', total;
				told := pg_catalog.clock_timestamp();
			END IF;
		END LOOP;
		IF only_stale OPERATOR(pg_catalog.=) 0 THEN
			PERFORM memory.compact_end(compression);
			COMMIT;
		END IF;
		IF total OPERATOR(pg_catalog.>) 0 AND only_stale OPERATOR(pg_catalog.=) 0 THEN
			RAISE INFO 'compacted % segments', total;
		ELSIF total OPERATOR(pg_catalog.>) 0 THEN
			RAISE INFO 'recompressed % segments of stale dictionaries', total;
		END IF;
	END LOOP;

	done := memory.drop_dictionaries();
	COMMIT;
	IF done OPERATOR(pg_catalog.>) 0 THEN
		RAISE INFO 'dropped % dictionaries', done;
	END IF;
	FOREACH part IN ARRAY ARRAY['segments', 'toast', 'conversations'] LOOP
		total := 0;
		cut := NULL;
		FOR pass IN 1..4 LOOP
			SELECT b.from_block, b.to_block INTO from_block, to_block FROM memory.settle_begin(part, compacted, cut) b;
			COMMIT;
			EXIT WHEN from_block IS NULL;
			cut := from_block;
			LOOP
				SELECT b.next_block, b.moved INTO from_block, done FROM memory.settle_batch(part, from_block, to_block) b;
				COMMIT;
				total := total OPERATOR(pg_catalog.+) done;
				EXIT WHEN from_block IS NULL;
			END LOOP;
		END LOOP;
		IF total OPERATOR(pg_catalog.>) 0 THEN
			-- autovacuum may be at work there
			FOR attempt IN 1..20 LOOP
				EXIT WHEN memory.settle_end(part);
				COMMIT;
				PERFORM pg_catalog.pg_sleep(0.2);
			END LOOP;
			COMMIT;
			RAISE INFO 'moved % % into free space: VACUUM can shorten the file', total,
				CASE WHEN part OPERATOR(pg_catalog.=) 'toast' THEN 'large segments' ELSE part END;
		END IF;
	END LOOP;
	done := memory.purge();
	COMMIT;
	IF done OPERATOR(pg_catalog.>) 0 THEN
		RAISE INFO 'purged % tombstones', done;
	END IF;

	LOOP
		done := memory.report_usage(batch_size);
		COMMIT;
		EXIT WHEN done OPERATOR(pg_catalog.=) 0;
	END LOOP;
	done := memory.trim_outbox();
	COMMIT;
	IF done OPERATOR(pg_catalog.>) 0 THEN
		RAISE INFO 'removed % events', done;
	END IF;
	done := memory.trim_jobs();
	COMMIT;
	IF done OPERATOR(pg_catalog.>) 0 THEN
		RAISE INFO 'removed % jobs', done;
	END IF;
END
$$;
COMMENT ON PROCEDURE memory.maintain(integer) IS 'retention, idle tails, usage, dictionaries, compaction, free space, tombstones, outbox: in short transactions';

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
COMMENT ON FUNCTION memory.protect() IS 'makes a plain DROP EXTENSION fail, with the view memory.protection, which depends on the data';
CREATE FUNCTION memory.unprotect() RETURNS void LANGUAGE sql AS $$
	DROP VIEW IF EXISTS memory.protection
$$;
COMMENT ON FUNCTION memory.unprotect() IS 'removes what memory.protect() has created';

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
	('SELECT ON memory.dictionaries', 'monitor'),
	('EXECUTE ON PROCEDURE memory.maintain(integer)', 'operator');
