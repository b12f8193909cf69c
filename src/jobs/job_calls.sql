-- Imports and exports by background workers.  The procedures commit, so they run with the caller's
-- rights; the tables of jobs are in jobs.sql.

CREATE PROCEDURE memory.import_file(
	path text,
	format text DEFAULT 'auto',
	account_id text DEFAULT NULL,
	workers integer DEFAULT 1,
	batch_size integer DEFAULT NULL,
	on_error text DEFAULT NULL,
	on_conflict text DEFAULT NULL,
	wait boolean DEFAULT true,
	INOUT job_id bigint DEFAULT NULL
) AS 'MODULE_PATHNAME', 'memory_import_file' LANGUAGE C;
COMMENT ON PROCEDURE memory.import_file(text, text, text, integer, integer, text, text, boolean,
	bigint) IS 'imports a file on the server with background workers, in batches; returns job_id';

-- What a client copies here is the input of import_staged.
CREATE TABLE memory.import_stage (
	line_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
	staged_by regrole NOT NULL DEFAULT pg_catalog.to_regrole(pg_catalog.quote_ident(CURRENT_USER)),
	account_id text COLLATE "C" NOT NULL DEFAULT
		COALESCE(pg_catalog.current_setting('memory_ext.account', true), ''),
	-- a dump could not read it
	line text NOT NULL CHECK (pg_catalog.octet_length(line) <= 268435456),
	PRIMARY KEY (staged_by, account_id, line_id)
);
ALTER TABLE memory.import_stage ALTER COLUMN line SET STORAGE EXTERNAL, ALTER COLUMN line
	SET STATISTICS 0, ALTER COLUMN account_id SET STATISTICS 0;
COMMENT ON TABLE memory.import_stage IS
	'COPY the lines of a file here for memory.import_staged, which deletes them';
SELECT pg_catalog.pg_extension_config_dump('memory.import_stage', '');
SELECT pg_catalog.pg_extension_config_dump('memory.import_stage_line_id_seq', '');

CREATE PROCEDURE memory.import_staged(
	format text DEFAULT 'auto',
	account_id text DEFAULT NULL,
	workers integer DEFAULT 1,
	batch_size integer DEFAULT NULL,
	on_error text DEFAULT NULL,
	on_conflict text DEFAULT NULL,
	wait boolean DEFAULT true,
	INOUT job_id bigint DEFAULT NULL
) AS 'MODULE_PATHNAME', 'memory_import_staged' LANGUAGE C;
COMMENT ON PROCEDURE memory.import_staged(text, text, integer, integer, text, text, boolean, bigint)
	IS
	'imports the lines that the role has copied into memory.import_stage with background workers';

CREATE FUNCTION memory.clear_stage() RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_clear_stage' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.clear_stage() IS
	'deletes the lines that the role has copied into memory.import_stage; returns how many';

CREATE PROCEDURE memory.export_file(
	path text,
	format text DEFAULT 'native',
	account_id text DEFAULT NULL,
	since timestamptz DEFAULT NULL,
	workers integer DEFAULT 1,
	batch_size integer DEFAULT 1000,
	wait boolean DEFAULT true,
	INOUT job_id bigint DEFAULT NULL
) AS 'MODULE_PATHNAME', 'memory_export_file' LANGUAGE C;
COMMENT ON PROCEDURE memory.export_file(text, text, text, timestamptz, integer, integer, boolean,
	bigint) IS
	'writes conversations to a file on the server with background workers, in batches and in '
	'order; returns job_id';

CREATE PROCEDURE memory.resume_job(
	job_id bigint,
	workers integer DEFAULT NULL,
	on_error text DEFAULT NULL,
	on_conflict text DEFAULT NULL,
	wait boolean DEFAULT true
) AS 'MODULE_PATHNAME', 'memory_resume_job' LANGUAGE C;
COMMENT ON PROCEDURE memory.resume_job(bigint, integer, text, text, boolean) IS
	'continues a job that failed, was cancelled or lost its workers, from its checkpoint';

CREATE FUNCTION memory.cancel_job(job_id bigint) RETURNS boolean
	AS 'MODULE_PATHNAME', 'memory_cancel_job' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory.cancel_job(bigint) IS
	'asks a job to stop after the current batches of its workers; false: it has already ended';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON PROCEDURE memory.import_file(text, text, text, integer, integer, text, text, '
		'boolean, bigint)', 'writer'),
	('EXECUTE ON PROCEDURE memory.import_staged(text, text, integer, integer, text, text, '
		'boolean, bigint)', 'writer'),
	('EXECUTE ON PROCEDURE memory.export_file(text, text, text, timestamptz, integer, integer, '
		'boolean, bigint)', 'writer'),
	('EXECUTE ON FUNCTION memory.clear_stage()', 'writer'),
	('INSERT (line) ON memory.import_stage', 'writer'),
	('SELECT ON memory.import_stage_line_id_seq', 'operator'),
	('EXECUTE ON PROCEDURE memory.resume_job(bigint, integer, text, text, boolean)', 'writer'),
	('EXECUTE ON FUNCTION memory.cancel_job(bigint)', 'writer');
