-- The install script's opening: the database is checked, the second schema made.
-- (The first, memory, is made by CREATE EXTENSION from the control file.)

CREATE FUNCTION memory.check_database() RETURNS void
	AS 'MODULE_PATHNAME', 'memory_ext_check_database' LANGUAGE C;
SELECT memory.check_database();
DROP FUNCTION memory.check_database();

CREATE SCHEMA memory_store;
COMMENT ON SCHEMA memory IS 'conversations: the views, functions and types that applications use';
COMMENT ON SCHEMA memory_store IS 'what memory_ext stores; accessed only through schema memory';

-- What memory.grant_access grants; each room enters its own.
CREATE TABLE memory_store.grants (
	privilege text NOT NULL,
	level text NOT NULL CHECK (level IN ('monitor', 'reader', 'writer', 'operator')),
	PRIMARY KEY (privilege, level)
);
COMMENT ON TABLE memory_store.grants IS 'the privileges of each access level, as GRANT takes them';
INSERT INTO memory_store.grants VALUES ('USAGE ON SCHEMA memory', 'monitor'), ('USAGE ON SCHEMA memory', 'reader');
