-- Imports and exports as jobs: what is to be done, how far it has come, what
-- was rejected.  A COPY into memory.import_documents is a job too, whose row is
-- written when it ends.

CREATE SEQUENCE memory_store.job_ids;

CREATE TABLE memory_store.jobs (
	job_id bigint NOT NULL DEFAULT pg_catalog.nextval('memory_store.job_ids'),
	kind text NOT NULL CHECK (kind IN ('import', 'export')),
	source text NOT NULL CHECK (source IN ('copy', 'file', 'staged', 'redis')),
	format text NOT NULL,
	account_id text COLLATE "C",
	target text,
	options jsonb NOT NULL,
	state text NOT NULL CHECK (state IN ('queued', 'running', 'finished', 'failed', 'cancelled')),
	cancel_requested boolean NOT NULL DEFAULT false,
	workers integer NOT NULL DEFAULT 1,
	total_bytes bigint,
	started_by regrole NOT NULL,
	created_at timestamptz NOT NULL,
	started_at timestamptz,
	finished_at timestamptz,
	sqlstate text,
	error text,
	PRIMARY KEY (job_id)
);
COMMENT ON TABLE memory_store.jobs IS 'imports and exports, one row each';
COMMENT ON COLUMN memory_store.jobs.account_id IS
	'NULL: the documents name theirs, or all accounts';
COMMENT ON COLUMN memory_store.jobs.target IS 'a path, or a URL without its password';

-- A job's worker writes its own row, in the transaction of each batch, so that
-- workers do not wait for each other.
CREATE TABLE memory_store.job_parts (
	job_id bigint NOT NULL,
	part integer NOT NULL,
	state text NOT NULL CHECK (state IN ('queued', 'running', 'finished', 'failed', 'cancelled')),
	pid integer,
	first_offset bigint NOT NULL DEFAULT 0,
	end_offset bigint,
	checkpoint jsonb,
	bytes bigint NOT NULL DEFAULT 0,
	documents bigint NOT NULL DEFAULT 0,
	imported bigint NOT NULL DEFAULT 0,
	extended bigint NOT NULL DEFAULT 0,
	unchanged bigint NOT NULL DEFAULT 0,
	rejected bigint NOT NULL DEFAULT 0,
	messages bigint NOT NULL DEFAULT 0,
	updated_at timestamptz NOT NULL,
	PRIMARY KEY (job_id, part)
) WITH (fillfactor = 50);
COMMENT ON TABLE memory_store.job_parts IS
	'what each worker of a job has done, and where it continues';
COMMENT ON COLUMN memory_store.job_parts.checkpoint IS
	'where to resume: the position of an import in its input, or what the source needs';

CREATE TABLE memory_store.job_errors (
	job_id bigint NOT NULL,
	part integer NOT NULL,
	document bigint NOT NULL,
	line bigint NOT NULL,
	byte_offset bigint NOT NULL,
	account_id text COLLATE "C",
	conversation_id uuid,
	reason text NOT NULL,
	path text NOT NULL,
	message text NOT NULL,
	excerpt text NOT NULL,
	rejected_at timestamptz NOT NULL,
	rejected boolean NOT NULL DEFAULT true,
	PRIMARY KEY (job_id, part, document)
);
COMMENT ON TABLE memory_store.job_errors IS
	'documents that an import rejected, or stored although they had a defect';
COMMENT ON COLUMN memory_store.job_errors.rejected IS
	'false: the document is stored, and message says how its defect was handled';
COMMENT ON COLUMN memory_store.job_errors.account_id IS
	'NULL: unknown, because the document could not be read that far';

-- Rows of an import that name neither their number nor an id are known by their place; it goes when
-- the job is finished.
CREATE TABLE memory_store.job_places (
	job_id bigint NOT NULL,
	conversation_id uuid NOT NULL,
	account_id text COLLATE "C" NOT NULL,
	rows bigint NOT NULL,
	PRIMARY KEY (job_id, conversation_id, account_id)
);
COMMENT ON TABLE memory_store.job_places IS
	'how many rows of each conversation an import has stored';

SELECT pg_catalog.pg_extension_config_dump('memory_store.job_ids', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.jobs', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.job_parts', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.job_errors', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.job_places', '');

-- as in the store's tables: no statistics of what people wrote, nor of who they are
ALTER TABLE memory_store.jobs ALTER COLUMN account_id SET STATISTICS 0, ALTER COLUMN target
	SET STATISTICS 0,
	ALTER COLUMN options SET STATISTICS 0, ALTER COLUMN error SET STATISTICS 0;
ALTER TABLE memory_store.job_parts ALTER COLUMN checkpoint SET STATISTICS 0;
ALTER TABLE memory_store.job_places ALTER COLUMN account_id SET STATISTICS 0;
ALTER TABLE memory_store.job_errors ALTER COLUMN account_id SET STATISTICS 0, ALTER COLUMN path
	SET STATISTICS 0,
	ALTER COLUMN message SET STATISTICS 0, ALTER COLUMN excerpt SET STATISTICS 0;

CREATE VIEW memory.jobs WITH (security_barrier = true) AS
	SELECT j.job_id, j.kind, j.source, j.format, j.account_id, j.target,
		CASE WHEN j.source IN ('file', 'staged')
			-- a worker that has just been asked for may not run yet
			AND (j.state = 'running' OR j.state = 'queued'
				AND j.created_at < now() - interval '1 minute') AND NOT EXISTS (
			-- the lock that workers hold, see job_worker.c
			SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 77
				AND l.database = (SELECT d.oid FROM pg_database d
					WHERE d.datname = current_database())
				AND l.classid = (j.job_id >> 32)::oid AND l.objid = (j.job_id & 4294967295)::oid)
			THEN 'interrupted' ELSE j.state END AS state,
		CASE WHEN j.state = 'finished' THEN 100.0
			WHEN j.total_bytes > 0 THEN LEAST(round(100.0 * p.bytes / j.total_bytes, 1), 100.0) END
				AS percent,
		p.documents, p.imported, p.extended, p.unchanged, p.rejected, p.messages, p.bytes,
			j.total_bytes,
		round(p.messages / p.seconds)::bigint AS rows_per_second,
		round(p.bytes / p.seconds)::bigint AS bytes_per_second,
		CASE WHEN j.state = 'running' AND p.bytes > 0 AND j.total_bytes >= p.bytes
			THEN make_interval(secs =>
				round((j.total_bytes - p.bytes) * p.seconds / p.bytes)::double precision) END
				AS time_left,
		j.workers, j.started_by::text AS started_by, j.started_at, j.finished_at, j.options,
			j.sqlstate, j.error
	FROM memory_store.jobs j CROSS JOIN LATERAL (
		SELECT COALESCE(sum(q.documents), 0)::bigint AS documents,
			COALESCE(sum(q.imported), 0)::bigint AS imported,
			COALESCE(sum(q.extended), 0)::bigint AS extended, COALESCE(sum(q.unchanged), 0)::bigint
				AS unchanged,
			COALESCE(sum(q.rejected), 0)::bigint AS rejected, COALESCE(sum(q.messages), 0)::bigint
				AS messages,
			COALESCE(sum(q.bytes), 0)::bigint AS bytes,
			NULLIF(extract(epoch FROM COALESCE(j.finished_at, max(q.updated_at)) - j.started_at), 0)
				AS seconds
		FROM memory_store.job_parts q WHERE q.job_id = j.job_id
	) p
	WHERE memory.account_visible(COALESCE(j.account_id, ''));
COMMENT ON VIEW memory.jobs IS 'imports and exports: their progress, and how they ended';

CREATE VIEW memory.job_errors WITH (security_barrier = true) AS
	SELECT e.job_id, e.document, e.line, e.byte_offset, e.reason, e.path, e.message,
		-- text of a document is for who imported it
		CASE WHEN pg_has_role(j.started_by, 'USAGE') THEN e.excerpt END AS excerpt,
		e.account_id, e.conversation_id, e.rejected_at, e.rejected
	FROM memory_store.job_errors e LEFT JOIN memory_store.jobs j USING (job_id)
	WHERE memory.account_visible(COALESCE(e.account_id, ''));
COMMENT ON VIEW memory.job_errors IS
	'documents that imports rejected, or stored although they had a defect: where, why, and, for '
	'who imported them, their beginning';

CREATE FUNCTION memory_store.trim_jobs() RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_trim_jobs' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.trim_jobs() IS
	'removes jobs that ended long ago; a step of maintain()';

CREATE FUNCTION memory_store.trim_jobs_step(INOUT place text, batch_size integer, OUT done bigint,
	OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT NULL, memory_store.trim_jobs(), NULL
$$;
COMMENT ON FUNCTION memory_store.trim_jobs_step(text, integer) IS
	'a step of maintain(): ended jobs';
INSERT INTO memory_store.maintenance_phases (phase, position, step, message)
	VALUES ('trim jobs', 1300, 'trim_jobs_step', 'removed % jobs');

INSERT INTO memory_store.grants VALUES
	('SELECT ON memory.jobs', 'reader'),
	('SELECT ON memory.job_errors', 'reader'),
	-- an error, an option or the name of a file can hold somebody's text
	('SELECT (job_id, kind, format, account_id, state, percent, documents, imported, extended, '
		'unchanged, rejected, messages, bytes, total_bytes, rows_per_second, bytes_per_second, '
		'time_left, workers, started_by, started_at, finished_at, sqlstate) ON memory.jobs',
			'monitor');
