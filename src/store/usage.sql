-- Recording calls of models that store no message.

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
COMMENT ON FUNCTION memory.record_usage(text, text, bigint, bigint, bigint, bigint, text, timestamptz) IS 'records a call of a model that stores no message; false: the request_id was recorded before';

CREATE FUNCTION memory.roll_up_usage(max_accounts integer DEFAULT 100) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_roll_up_usage' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.roll_up_usage(integer) IS 'rolls up the recorded calls of some (NULL: all) accounts; returns how many had some';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.record_usage(text, text, bigint, bigint, bigint, bigint, text, timestamptz)', 'writer'),
	('EXECUTE ON FUNCTION memory.roll_up_usage(integer)', 'operator');
