-- What metering keeps.  No triggers and no foreign keys, as in the store.  New
-- columns always go last.

CREATE TABLE memory_store.usage_daily (
	account_id text COLLATE "C" NOT NULL,
	day date NOT NULL,
	model text COLLATE "C" NOT NULL,
	messages bigint NOT NULL DEFAULT 0,
	input_tokens bigint NOT NULL DEFAULT 0,
	output_tokens bigint NOT NULL DEFAULT 0,
	content_bytes bigint NOT NULL DEFAULT 0,
	imported_messages bigint NOT NULL DEFAULT 0,
	imported_tokens bigint NOT NULL DEFAULT 0,
	imported_bytes bigint NOT NULL DEFAULT 0,
	removed_messages bigint NOT NULL DEFAULT 0,
	removed_tokens bigint NOT NULL DEFAULT 0,
	removed_bytes bigint NOT NULL DEFAULT 0,
	requests bigint NOT NULL DEFAULT 0,
	request_input_tokens bigint NOT NULL DEFAULT 0,
	request_cached_input_tokens bigint NOT NULL DEFAULT 0,
	request_cache_creation_tokens bigint NOT NULL DEFAULT 0,
	request_output_tokens bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (account_id, day, model)
) WITH (fillfactor = 80);
COMMENT ON TABLE memory_store.usage_daily IS
	'usage by UTC day and model (empty: none named), as far as it is aggregated; tail rows that '
	'are not counted and usage_calls are added to it';
COMMENT ON COLUMN memory_store.usage_daily.imported_messages IS
	'messages that were backdated when they were added: storage, not usage';
COMMENT ON COLUMN memory_store.usage_daily.removed_messages IS
	'deleted on that day, under the empty model: counted and imported messages less these are '
	'what is stored';
COMMENT ON COLUMN memory_store.usage_daily.requests IS
	'calls of memory.record_usage, with their tokens in the columns that follow';

-- Calls are recorded without a lock; maintain() rolls them up.
CREATE TABLE memory_store.usage_calls (
	account_id text COLLATE "C" NOT NULL,
	day date NOT NULL,
	model text COLLATE "C" NOT NULL,
	input_tokens bigint NOT NULL,
	cached_input_tokens bigint NOT NULL,
	cache_creation_tokens bigint NOT NULL,
	output_tokens bigint NOT NULL
);
CREATE INDEX usage_calls_account ON memory_store.usage_calls (account_id, day);
-- without a key of its own it could not be deleted from while a publication has all tables
ALTER TABLE memory_store.usage_calls REPLICA IDENTITY FULL;
COMMENT ON TABLE memory_store.usage_calls IS 'recorded calls that are not aggregated yet';

CREATE TABLE memory_store.usage_requests (
	account_id text COLLATE "C" NOT NULL,
	request_id text COLLATE "C" NOT NULL,
	recorded_at timestamptz NOT NULL,
	PRIMARY KEY (account_id, request_id)
);
CREATE INDEX usage_requests_recorded ON memory_store.usage_requests USING brin (recorded_at);
COMMENT ON TABLE memory_store.usage_requests IS
	'request ids that were recorded; recording one again counts nothing';

-- An event gets its position when it is first read, which is after its commit.
CREATE TABLE memory_store.outbox (
	event_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
	position bigint,
	occurred_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	type text NOT NULL,
	subscription_id text COLLATE "C",
	account_id text COLLATE "C",
	data jsonb NOT NULL,
	PRIMARY KEY (event_id)
);
CREATE INDEX outbox_new ON memory_store.outbox (occurred_at, event_id) WHERE position IS NULL;
CREATE UNIQUE INDEX outbox_position ON memory_store.outbox (position) WHERE position IS NOT NULL;
CREATE INDEX outbox_occurred ON memory_store.outbox (occurred_at);
CREATE INDEX outbox_account ON memory_store.outbox (account_id);
COMMENT ON TABLE memory_store.outbox IS
	'billing events, written in the transaction that caused them';
COMMENT ON COLUMN memory_store.outbox.position IS
	'the position in the order of delivery; null: never read';

CREATE TABLE memory_store.outbox_consumers (
	consumer text COLLATE "C" NOT NULL,
	acknowledged bigint NOT NULL,
	acknowledged_at timestamptz,
	PRIMARY KEY (consumer)
);
COMMENT ON TABLE memory_store.outbox_consumers IS
	'the last position that each consumer has acknowledged; for the consumer with the empty '
	'name, the last position that was assigned';

CREATE TABLE memory_store.usage_reported (
	day date NOT NULL,
	account_id text COLLATE "C" NOT NULL
);
ALTER TABLE memory_store.usage_reported REPLICA IDENTITY FULL;
COMMENT ON TABLE memory_store.usage_reported IS
	'one row: the day whose usage events are being written, and the last account that was done';

-- of what people wrote the planner's statistics shall hold none, and account ids only where plans
-- need it (see the store's tables)
ALTER TABLE memory_store.usage_daily ALTER COLUMN model SET STATISTICS 0;
ALTER TABLE memory_store.usage_calls ALTER COLUMN model SET STATISTICS 0;
ALTER TABLE memory_store.usage_requests ALTER COLUMN request_id SET STATISTICS 0;
ALTER TABLE memory_store.outbox ALTER COLUMN subscription_id SET STATISTICS 0, ALTER COLUMN data
	SET STATISTICS 0;
ALTER TABLE memory_store.usage_reported ALTER COLUMN account_id SET STATISTICS 0;

SELECT pg_catalog.pg_extension_config_dump('memory_store.usage_daily', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.usage_calls', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.usage_requests', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.outbox', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.outbox_consumers', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.usage_reported', '');
