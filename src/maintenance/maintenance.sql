-- Sealing and maintenance.

CREATE FUNCTION memory.seal(account_id text DEFAULT NULL, conversation_id uuid DEFAULT NULL)
	RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_seal' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.seal(text, uuid) IS
	'seals the tails of a conversation, an account, or all; returns how many conversations had one';

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
COMMENT ON FUNCTION memory.train_dictionary(bigint, real) IS
	'trains a zstd dictionary from text that accounts have in common and makes it the current '
	'one if held-out samples shrink by min_gain percent; dictionary_id is null if it was not kept';

CREATE FUNCTION memory.forget(account_id text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'memory_forget' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.forget(text) IS
	'erases an account with everything it has and returns a receipt; maintain() does what is '
	'pending';

CREATE FUNCTION memory.set_retention(account_id text, keep interval) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_set_retention' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.set_retention(text, interval) IS
	'how long maintain() keeps conversations after their last change; null account_id: the '
	'default; null keep: no limit';

CREATE VIEW memory.dictionaries AS
	SELECT d.dictionary_id, d.is_current, d.stale_at, d.created_at,
		COALESCE(d.raw_bytes, octet_length(d.body))::integer AS dictionary_bytes, d.samples,
			d.sample_bytes,
		round(100.0 * (1 - d.holdout_after::numeric / NULLIF(d.holdout_before, 0)), 1) AS gain,
		(SELECT count(*) FROM memory_store.segments s
			WHERE memory.dictionary_id(s.body) = d.dictionary_id) AS segments
	FROM memory_store.dictionaries d
	WHERE memory.account_visible(''); -- an empty id is nobody's: only who sees all accounts
COMMENT ON VIEW memory.dictionaries IS
	'the dictionaries of this database: size, percent saved on held-out samples, segments that '
	'need them';

-- What maintain() had to leave alone, so that it could go on with the rest.
CREATE TABLE memory_store.maintenance_problems (
	account_id text COLLATE "C" NOT NULL,
	conversation_id uuid NOT NULL,
	step text NOT NULL,
	sqlstate text NOT NULL,
	message text NOT NULL,
	noted_at timestamptz NOT NULL,
	attempts bigint NOT NULL DEFAULT 1,
	PRIMARY KEY (account_id, conversation_id, step)
);
COMMENT ON TABLE memory_store.maintenance_problems IS
	'conversations that maintenance could not deal with; a row goes when the step works';
ALTER TABLE memory_store.maintenance_problems ALTER COLUMN account_id SET STATISTICS 0,
	ALTER COLUMN message SET STATISTICS 0;

CREATE VIEW memory.maintenance_problems WITH (security_barrier = true) AS
	SELECT p.account_id, p.conversation_id, p.step, p.sqlstate, p.message, p.attempts, p.noted_at
	FROM memory_store.maintenance_problems p
	JOIN memory_store.conversations c ON c.conversation_id = p.conversation_id
		AND c.account_id = p.account_id
	WHERE c.deleted_at IS NULL AND memory.account_visible(p.account_id);
COMMENT ON VIEW memory.maintenance_problems IS
	'conversations that maintain() could not seal or compact: it goes on with the others, and '
	'tries again each time';

-- The steps of maintain(): a transaction each.
CREATE FUNCTION memory_store.seal_idle(max_conversations integer DEFAULT 100) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_seal_idle' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.seal_idle(integer) IS
	'seals some (NULL: all) of the tails that have rested for memory_ext.seal_after; returns how '
	'many';

CREATE FUNCTION memory_store.seal_batch(
	after_conversation_id uuid,
	after_account_id text,
	max_conversations integer DEFAULT 100,
	OUT conversation_id uuid,
	OUT account_id text,
	OUT sealed bigint
) RETURNS record
	AS 'MODULE_PATHNAME', 'memory_seal_batch' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.seal_batch(uuid, text, integer) IS
	'seals the next idle tails behind a key; returns the key to go on behind (null: done) and '
	'how many were sealed';

CREATE FUNCTION memory_store.expire_batch(max_conversations integer DEFAULT 100) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_expire_batch' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.expire_batch(integer) IS
	'deletes some (NULL: all) of the conversations whose retention has passed; returns how many';

CREATE FUNCTION memory_store.purge() RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_purge' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.purge() IS
	'removes the tombstones older than memory_ext.purge_after; returns how many';

CREATE FUNCTION memory_store.train_if_due() RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_train_if_due' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.train_if_due() IS
	'trains a dictionary if memory_ext.auto_dictionary is on and enough has gathered; returns '
	'its id';

CREATE FUNCTION memory_store.compact_batch(
	after_conversation_id uuid,
	after_account_id text,
	max_conversations integer DEFAULT 20,
	only_stale boolean DEFAULT false,
	OUT conversation_id uuid,
	OUT account_id text,
	OUT segments bigint
) RETURNS record
	AS 'MODULE_PATHNAME', 'memory_compact_batch' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.compact_batch(uuid, text, integer, boolean) IS
	'compacts the next resting conversations behind a key; returns the key to go on behind '
	'(null: done) and how many segments were replaced';

CREATE FUNCTION memory_store.compact_begin() RETURNS text
	AS 'MODULE_PATHNAME', 'memory_compact_begin' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.compact_begin() IS
	'how segments are to be compressed by now, for memory_store.compact_end';

CREATE FUNCTION memory_store.compact_end(compression text) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_compact_end' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.compact_end(text) IS
	'notes that all conversations were walked through with memory_store.compact_batch since '
	'compact_begin, so that the next walk is over what is new only';

CREATE FUNCTION memory_store.drop_dictionaries() RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_drop_dictionaries' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.drop_dictionaries() IS
	'drops the dictionaries that are neither current nor needed; returns how many';

CREATE FUNCTION memory_store.reclaim_begin(
	part text,
	changed bigint DEFAULT NULL,
	end_block bigint DEFAULT NULL,
	OUT from_block bigint,
	OUT to_block bigint
) RETURNS record
	AS 'MODULE_PATHNAME', 'memory_reclaim_begin' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.reclaim_begin(text, bigint, bigint) IS
	'the blocks at the end of segments, their toast, or conversations whose rows fit into free '
	'space before them; null: it is not worth it';

CREATE FUNCTION memory_store.reclaim_batch(
	part text,
	from_block bigint,
	to_block bigint,
	OUT next_block bigint,
	OUT moved bigint
) RETURNS record
	AS 'MODULE_PATHNAME', 'memory_reclaim_batch' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.reclaim_batch(text, bigint, bigint) IS
	'moves rows of segments, their toast, or conversations from the end of the file into free '
	'space before it, so that VACUUM can shorten the file; returns where to go on (null: done) '
	'and how many were moved';

CREATE FUNCTION memory_store.reclaim_end(part text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'memory_reclaim_end' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.reclaim_end(text) IS
	'makes the indexes of segments, their toast, or conversations anew, after rows were moved, '
	'unless they are large; false: somebody uses them';

CREATE FUNCTION memory_store.compact_backlog() RETURNS bigint LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT count(*) FROM memory_store.segments s WHERE s.compact IS NULL
$$;
COMMENT ON FUNCTION memory_store.compact_backlog() IS
	'how many segments compaction has not dealt with yet, those of conversations in use included';

CREATE FUNCTION memory_store.expire_step(INOUT place text, batch_size integer, OUT done bigint,
	OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN b > 0 THEN '' END, b, NULL FROM memory_store.expire_batch(batch_size) b
$$;
COMMENT ON FUNCTION memory_store.expire_step(text, integer) IS 'a step of maintain(): retention';

CREATE FUNCTION memory_store.seal_step(INOUT place text, batch_size integer, OUT done bigint,
	OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN b.conversation_id IS NOT NULL
		THEN json_build_array(b.conversation_id, b.account_id)::text END,
		COALESCE(b.sealed, 0), NULL
	FROM memory_store.seal_batch(COALESCE(place::json ->> 0,
		'00000000-0000-0000-0000-000000000000')::uuid,
		COALESCE(place::json ->> 1, ''), batch_size) b
$$;
COMMENT ON FUNCTION memory_store.seal_step(text, integer) IS 'a step of maintain(): idle tails';

CREATE FUNCTION memory_store.train_step(INOUT place text, batch_size integer, OUT done bigint,
	OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT NULL, count(t.id), max('trained dictionary ' || t.id)
		FROM memory_store.train_if_due() t(id)
$$;
COMMENT ON FUNCTION memory_store.train_step(text, integer) IS 'a step of maintain(): dictionaries';

CREATE FUNCTION memory_store.recompress_step(INOUT place text, batch_size integer, OUT done bigint,
	OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN b.conversation_id IS NOT NULL
		THEN json_build_array(b.conversation_id, b.account_id)::text END,
		COALESCE(b.segments, 0), NULL
	FROM memory_store.compact_batch(COALESCE(place::json ->> 0,
		'00000000-0000-0000-0000-000000000000')::uuid,
		COALESCE(place::json ->> 1, ''), 20, true) b
$$;
COMMENT ON FUNCTION memory_store.recompress_step(text, integer) IS
	'a step of maintain(): segments that an erasure waits for';

-- the place's third part is what compact_begin has said
CREATE FUNCTION memory_store.compact_step(INOUT place text, batch_size integer, OUT done bigint,
	OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH p AS MATERIALIZED (
		SELECT COALESCE(place::json,
			json_build_array('00000000-0000-0000-0000-000000000000', '',
			memory_store.compact_begin())) AS v
	), b AS MATERIALIZED (
		SELECT b.* FROM p, memory_store.compact_batch((p.v ->> 0)::uuid, p.v ->> 1, 20, false) b
	)
	SELECT CASE WHEN b.conversation_id IS NOT NULL
		THEN json_build_array(b.conversation_id, b.account_id, p.v ->> 2)::text
			ELSE (SELECT NULL::text FROM memory_store.compact_end(p.v ->> 2)) END,
		COALESCE(b.segments, 0), NULL
	FROM p, b
$$;
COMMENT ON FUNCTION memory_store.compact_step(text, integer) IS 'a step of maintain(): compaction';

CREATE FUNCTION memory_store.drop_step(INOUT place text, batch_size integer, OUT done bigint,
	OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT NULL, memory_store.drop_dictionaries(), NULL
$$;
COMMENT ON FUNCTION memory_store.drop_step(text, integer) IS
	'a step of maintain(): dictionaries that nothing needs any more';

CREATE FUNCTION memory_store.reclaim_step(INOUT place text, batch_size integer, OUT done bigint,
	OUT message text)
	AS 'MODULE_PATHNAME', 'memory_reclaim_step' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION memory_store.reclaim_step(text, integer) IS 'a step of maintain(): free space';

CREATE FUNCTION memory_store.purge_step(INOUT place text, batch_size integer, OUT done bigint,
	OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT NULL, memory_store.purge(), NULL
$$;
COMMENT ON FUNCTION memory_store.purge_step(text, integer) IS 'a step of maintain(): tombstones';

INSERT INTO memory_store.maintenance_phases (phase, position, step, message, backlog) VALUES
	('expire', 100, 'expire_step', 'deleted % conversations whose retention has passed', NULL),
	('seal', 200, 'seal_step', 'sealed the tails of % conversations', NULL),
	('train', 500, 'train_step', NULL, NULL),
	('recompress', 600, 'recompress_step', 'recompressed % segments of stale dictionaries', NULL),
	('compact', 700, 'compact_step', 'compacted % segments', 'compact_backlog'),
	('drop dictionaries', 800, 'drop_step', 'dropped % dictionaries', NULL),
	('reclaim', 900, 'reclaim_step', NULL, NULL),
	('purge', 1000, 'purge_step', 'purged % tombstones', NULL);

-- How the phases are gone through; see phases.c.
CREATE FUNCTION memory.maintain_step(
	INOUT phase text,
	INOUT place text,
	batch_size integer,
	only_phase text DEFAULT NULL,
	OUT done bigint
) RETURNS record
	AS 'MODULE_PATHNAME', 'memory_maintain_step' LANGUAGE C VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION memory.maintain_step(text, text, integer, text) IS
	'one batch of maintain(); returns with which phase and place the next one goes on (null '
	'phase: done), and how many items it did';

-- A procedure that commits cannot be SECURITY DEFINER nor have a search_path of its own; the
-- function that it calls is the former, its names are qualified.  A batch that did nothing need not
-- wait for the disk.
CREATE PROCEDURE memory.maintain(batch_size integer DEFAULT 100, phase text DEFAULT NULL)
	LANGUAGE plpgsql AS $$
DECLARE
	at_phase pg_catalog.text;
	at_place pg_catalog.text;
	batch_done pg_catalog.int8;
BEGIN
	LOOP
		SELECT s.phase, s.place, s.done INTO at_phase, at_place, batch_done
			FROM memory.maintain_step(at_phase, at_place, batch_size, phase) s;
		IF batch_done OPERATOR(pg_catalog.=) 0 THEN
			PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
		END IF;
		COMMIT;
		EXIT WHEN at_phase IS NULL;
	END LOOP;
END
$$;
COMMENT ON PROCEDURE memory.maintain(integer, text) IS
	'retention, idle tails, usage, dictionaries, compaction, free space, tombstones, outbox: in '
	'short transactions; with a phase, that one only';

CREATE FUNCTION memory_store.phase_failed(failed_phase text, state text, what text) RETURNS boolean
	LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH old AS MATERIALIZED (
		SELECT p.failures, p.error_state, p.error FROM memory_store.maintenance_phases p
			WHERE p.phase = failed_phase FOR UPDATE
	), new AS (
		UPDATE memory_store.maintenance_phases p SET pid = NULL, finished_at = clock_timestamp(),
			failed_at = clock_timestamp(),
			failures = LEAST(p.failures + 1, 1000), error_state = state, error = what,
			retry_at = clock_timestamp() + LEAST(interval '1 day',
				interval '1 minute' * 2 ^ LEAST(p.failures, 20))
		WHERE p.phase = failed_phase
	)
	SELECT old.failures = 0 OR (old.error_state, old.error) IS DISTINCT FROM (state, what) FROM old
$$;
COMMENT ON FUNCTION memory_store.phase_failed(text, text, text) IS
	'notes the error of a phase and when a worker tries again; returns whether it is another '
	'error than the last time';

CREATE FUNCTION memory_store.note_dead_phases() RETURNS bigint LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT count(memory_store.phase_failed(p.phase, '57P01', 'the process ended within the phase'))
	FROM (
		SELECT d.phase FROM memory_store.maintenance_phases d
		WHERE d.by_worker AND d.pid IS NOT NULL AND d.started_at >= pg_postmaster_start_time()
			AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = d.pid)
		ORDER BY d.position -- as maintain() locks the phases' rows
	) p
$$;
COMMENT ON FUNCTION memory_store.note_dead_phases() IS
	'counts as failed what workers had begun that died; a shutdown of the server is no failure';

CREATE FUNCTION memory_store.phase_interrupted(interrupted_phase text) RETURNS void
	LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE memory_store.maintenance_phases p SET pid = NULL WHERE p.phase = interrupted_phase
$$;
COMMENT ON FUNCTION memory_store.phase_interrupted(text) IS
	'notes that a worker was told to end within the phase, which is no failure';

CREATE FUNCTION memory.maintenance_is_running(pid integer, started_at timestamptz) RETURNS boolean
	AS 'MODULE_PATHNAME', 'memory_phase_is_running' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION memory.maintenance_is_running(integer, timestamptz) IS
	'whether the process is in a statement that it began before that time';

CREATE FUNCTION memory.next_maintenance() RETURNS timestamptz
	AS 'MODULE_PATHNAME', 'memory_phase_next_run' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION memory.next_maintenance() IS
	'when the worker visits this database next; null: it does not';

CREATE VIEW memory.maintenance AS
	SELECT p.phase,
		CASE WHEN p.pid IS NOT NULL AND memory.maintenance_is_running(p.pid, p.started_at)
			THEN 'running'
			WHEN p.retry_at > now() THEN 'waiting to try again'
			WHEN p.started_at IS NULL THEN 'never run'
			WHEN p.finished_at IS NULL THEN 'interrupted'
			WHEN p.failed_at >= p.started_at THEN 'failed'
			ELSE 'done' END AS state,
		p.by_worker, p.started_at AS last_start, p.finished_at AS last_end, p.done, p.total,
		round((p.done /
			NULLIF(extract(epoch FROM COALESCE(p.finished_at, p.updated_at) - p.started_at),
			0))::numeric, 1) AS per_second,
		CASE WHEN p.finished_at IS NULL AND p.done > 0 AND p.total >= p.done
			THEN (p.updated_at - p.started_at) * ((p.total - p.done)::double precision / p.done) END
				AS time_left,
		GREATEST(p.retry_at, memory.next_maintenance()) AS next_run,
		p.failures, p.failed_at, p.error_state AS error_sqlstate, p.error
	FROM memory_store.maintenance_phases p
	WHERE memory.account_visible('')
	ORDER BY p.position;
COMMENT ON VIEW memory.maintenance IS
	'the phases of maintenance in this database, by a worker or by hand: state, progress, last '
	'and next run, last error';
COMMENT ON COLUMN memory.maintenance.state IS
	'running, done, failed, waiting to try again (a worker does, at next_run), interrupted '
	'(cancelled, or its process died), never run';
COMMENT ON COLUMN memory.maintenance.done IS
	'items of the last run so far: conversations, segments, rows or events, as the phase has it';
COMMENT ON COLUMN memory.maintenance.total IS
	'at most so many items there were to look at; null: that is not known beforehand';
COMMENT ON COLUMN memory.maintenance.next_run IS
	'when a worker begins the phase again; null: no worker does';

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
		SELECT
			'keeps DROP EXTENSION memory_ext from deleting every conversation; see '
			'memory.unprotect()'::pg_catalog.text AS purpose,
			(SELECT pg_catalog.count(*) FROM memory.conversations) AS conversations
$$;
COMMENT ON FUNCTION memory.protect() IS
	'makes a plain DROP EXTENSION refuse, by a view memory.protection that depends on the data';
CREATE FUNCTION memory.unprotect() RETURNS void LANGUAGE sql AS $$
	DROP VIEW IF EXISTS memory.protection
$$;
COMMENT ON FUNCTION memory.unprotect() IS 'removes what memory.protect() has created';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.seal(text, uuid)', 'operator'),
	('EXECUTE ON FUNCTION memory.train_dictionary(bigint, real)', 'operator'),
	('EXECUTE ON FUNCTION memory.forget(text)', 'operator'),
	('EXECUTE ON FUNCTION memory.set_retention(text, interval)', 'operator'),
	('SELECT ON memory.dictionaries', 'operator'),
	('SELECT ON memory.maintenance_problems', 'operator'),
	('SELECT ON memory.dictionaries', 'monitor'),
	('EXECUTE ON FUNCTION memory.maintain_step(text, text, integer, text)', 'operator'),
	('EXECUTE ON PROCEDURE memory.maintain(integer, text)', 'operator'),
	('EXECUTE ON FUNCTION memory.maintenance_is_running(integer, timestamptz)', 'operator'),
	('EXECUTE ON FUNCTION memory.maintenance_is_running(integer, timestamptz)', 'monitor'),
	('EXECUTE ON FUNCTION memory.next_maintenance()', 'operator'),
	('EXECUTE ON FUNCTION memory.next_maintenance()', 'monitor'),
	('SELECT ON memory.maintenance', 'operator'),
	-- an error can hold somebody's text
	('SELECT (phase, state, by_worker, last_start, last_end, done, total, per_second, time_left, '
		'next_run, failures, failed_at, error_sqlstate) ON memory.maintenance', 'monitor');
