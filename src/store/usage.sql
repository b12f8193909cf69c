-- Recording calls of models that store no message, and rolling them up.

CREATE FUNCTION memory.record_usage(
	account_id text,
	model text,
	input_tokens bigint,
	cached_input_tokens bigint DEFAULT 0,
	output_tokens bigint DEFAULT 0,
	cache_creation_tokens bigint DEFAULT 0,
	request_id text DEFAULT NULL,
	occurred_at timestamptz DEFAULT NULL
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'memory_record_usage' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.record_usage(text, text, bigint, bigint, bigint, bigint, text,
	timestamptz) IS
	'records a call of a model that stores no message; false: the request_id was recorded before';

CREATE FUNCTION memory_store.roll_up_usage(max_accounts integer DEFAULT 100) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_roll_up_usage' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.roll_up_usage(integer) IS
	'rolls up the recorded calls of some (NULL: all) accounts; returns how many had some';

-- Accounts that record calls all the time must not keep maintenance in this phase.
CREATE FUNCTION memory_store.roll_up_step(INOUT place text, batch_size integer, OUT done bigint,
	OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN b >= batch_size AND n < 1000 THEN n::text END, b, NULL
	FROM memory_store.roll_up_usage(batch_size) b, (SELECT COALESCE(place::integer, 0) + 1) c(n)
$$;
COMMENT ON FUNCTION memory_store.roll_up_step(text, integer) IS
	'a step of maintain(): recorded calls';
INSERT INTO memory_store.maintenance_phases (phase, position, step, message)
	VALUES ('roll up calls', 300, 'roll_up_step', NULL);

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.record_usage(text, text, bigint, bigint, bigint, bigint, text, '
		'timestamptz)', 'writer');
