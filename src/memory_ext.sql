-- The install script's opening: the schemas are made, the database is checked.

-- Both schemas are the extension's own.  One that is there already has an owner who could drop
-- it, with every conversation, or put a function there for a superuser to call.
DO $$
DECLARE
	name pg_catalog.name;
BEGIN
	SELECT n.nspname INTO name FROM pg_catalog.pg_namespace n
		WHERE n.nspname OPERATOR(pg_catalog.=) ANY ('{memory,memory_store}'::pg_catalog.name[]);
	IF FOUND THEN
		RAISE EXCEPTION 'schema "%" already exists', name USING ERRCODE = '42P06',
			DETAIL =
				'memory_ext makes its schemas memory and memory_store itself and trusts no other.',
			HINT =
				pg_catalog.format('See what is in it, then drop it or give it another name: '
					'ALTER SCHEMA %s RENAME TO ...', name);
	END IF;
END
$$;
CREATE SCHEMA memory;
CREATE SCHEMA memory_store;
COMMENT ON SCHEMA memory IS 'conversations: the views, functions and types that applications use';
COMMENT ON SCHEMA memory_store IS 'what memory_ext stores; accessed only through schema memory';

CREATE FUNCTION memory.check_database() RETURNS void
	AS 'MODULE_PATHNAME', 'memory_ext_check_database' LANGUAGE C;
SELECT memory.check_database();
DROP FUNCTION memory.check_database();

-- What memory.grant_access grants; each room enters its own.
CREATE TABLE memory_store.grants (
	privilege text NOT NULL,
	level text NOT NULL CHECK (level IN ('monitor', 'reader', 'writer', 'operator', 'gateway')),
	PRIMARY KEY (privilege, level)
);
COMMENT ON TABLE memory_store.grants IS 'the privileges of each access level, as GRANT takes them';
INSERT INTO memory_store.grants VALUES ('USAGE ON SCHEMA memory', 'monitor'),
	('USAGE ON SCHEMA memory', 'reader');

-- The phases of memory.maintain(), in their order; each room enters its own.  A step is a function
-- of memory_store (place text, batch_size integer) that does one batch from that place on (NULL:
-- from the beginning) and returns where the next one goes on (NULL: the phase is over), how many
-- items it did, and what there is to be said of it.  The other columns are the phase's progress,
-- which is this database's alone: they are not dumped.
CREATE TABLE memory_store.maintenance_phases (
	phase text NOT NULL,
	position integer NOT NULL UNIQUE,
	step text NOT NULL,
	message text,
	backlog text,
	by_worker boolean NOT NULL DEFAULT false,
	pid integer,
	started_at timestamptz,
	updated_at timestamptz,
	finished_at timestamptz,
	done bigint,
	total bigint,
	failures integer NOT NULL DEFAULT 0,
	retry_at timestamptz,
	failed_at timestamptz,
	error_state text,
	error text,
	PRIMARY KEY (phase)
) WITH (fillfactor = 50);
COMMENT ON TABLE memory_store.maintenance_phases IS
	'the phases of memory.maintain(): which function does a batch, and how far the phase has come';
COMMENT ON COLUMN memory_store.maintenance_phases.message IS
	'what is said of a phase that did something; % stands for how many items';
COMMENT ON COLUMN memory_store.maintenance_phases.backlog IS
	'the function of memory_store that counts what the phase has to look at; null: that is not '
	'known beforehand';
COMMENT ON COLUMN memory_store.maintenance_phases.retry_at IS
	'a worker does not begin the phase before, since it failed';
