-- Redis: conversations out of a live server and into it, and the same as commands.

-- Passwords are nobody's but the owner's, who may grant it; a dump does not have them.
CREATE TABLE memory.redis_servers (
	name text NOT NULL PRIMARY KEY CHECK (name <> '' AND pg_catalog.strpos(name, '://') = 0),
	url text NOT NULL
);
ALTER TABLE memory.redis_servers ALTER COLUMN url SET STATISTICS 0;
COMMENT ON TABLE memory.redis_servers IS
	'addresses of Redis servers with their passwords, by the name that memory.redis_import and '
	'redis_export take';
COMMENT ON COLUMN memory.redis_servers.url IS
	'redis://user:password@host:port/database or unix://user:password@/path?db=N';

CREATE FUNCTION memory.redis_import(
	url text,
	layout text,
	account_id text,
	match text DEFAULT NULL,
	prefix text DEFAULT NULL,
	on_error text DEFAULT NULL,
	on_conflict text DEFAULT NULL,
	timeout_ms integer DEFAULT 10000,
	OUT job_id bigint,
	OUT imported bigint,
	OUT extended bigint,
	OUT unchanged bigint,
	OUT rejected bigint,
	OUT messages bigint
) AS 'MODULE_PATHNAME', 'memory_redis_import' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.redis_import(text, text, text, text, text, text, text, integer) IS
	'imports the conversations of a live Redis: layout langchain, langchain-redis or agents';

CREATE FUNCTION memory.redis_import_commands(
	commands bytea,
	layout text,
	account_id text,
	match text DEFAULT NULL,
	prefix text DEFAULT NULL,
	on_error text DEFAULT NULL,
	on_conflict text DEFAULT NULL,
	OUT job_id bigint,
	OUT imported bigint,
	OUT extended bigint,
	OUT unchanged bigint,
	OUT rejected bigint,
	OUT messages bigint
) AS 'MODULE_PATHNAME', 'memory_redis_import_commands' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.redis_import_commands(bytea, text, text, text, text, text, text) IS
	'imports the conversations that Redis commands create: an append-only file, or input for '
	'redis-cli --pipe';

CREATE FUNCTION memory.redis_export(
	url text,
	layout text,
	account_id text DEFAULT NULL,
	conversation_id uuid DEFAULT NULL,
	since timestamptz DEFAULT NULL,
	prefix text DEFAULT NULL,
	if_exists text DEFAULT 'skip',
	timeout_ms integer DEFAULT 10000,
	OUT exported bigint,
	OUT skipped bigint,
	OUT expired bigint,
	OUT messages bigint
) AS 'MODULE_PATHNAME', 'memory_redis_export' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.redis_export(text, text, text, uuid, timestamptz, text, text, integer) IS
	'writes conversations to a live Redis; existing keys are skipped or replaced';

CREATE FUNCTION memory.redis_commands(
	layout text,
	account_id text DEFAULT NULL,
	conversation_id uuid DEFAULT NULL,
	since timestamptz DEFAULT NULL,
	prefix text DEFAULT NULL
) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'memory_redis_commands' LANGUAGE C STABLE SECURITY DEFINER ROWS 1000;
COMMENT ON FUNCTION memory.redis_commands(text, text, uuid, timestamptz, text) IS
	'the commands that create conversations in Redis, for redis-cli --pipe; one row per '
	'conversation';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.redis_import(text, text, text, text, text, text, text, integer)',
		'operator'),
	('EXECUTE ON FUNCTION memory.redis_import_commands(bytea, text, text, text, text, text, text)',
		'operator'),
	('EXECUTE ON FUNCTION memory.redis_export(text, text, text, uuid, timestamptz, text, text, '
		'integer)', 'operator'),
	('EXECUTE ON FUNCTION memory.redis_commands(text, text, uuid, timestamptz, text)', 'operator');
