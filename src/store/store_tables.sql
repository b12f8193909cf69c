-- What the store keeps.  No triggers and no foreign keys: rules live in the
-- write path, so that a dump restores exactly what was dumped.  New columns
-- always go last.

CREATE TABLE memory_store.accounts (
	account_id text COLLATE "C" NOT NULL,
	subscription_id text COLLATE "C" NOT NULL,
	revision bigint NOT NULL,
	created_at timestamptz NOT NULL,
	PRIMARY KEY (account_id)
) WITH (fillfactor = 50);
CREATE INDEX accounts_sharing ON memory_store.accounts (subscription_id)
	WHERE subscription_id <> account_id;
COMMENT ON TABLE memory_store.accounts IS
	'who owns conversations; the lock of the row serializes the writers of an account';
COMMENT ON COLUMN memory_store.accounts.revision IS
	'the last revision taken; every statement that changes the account takes the next one';

-- Fixed-width columns first: the row is rewritten at each append.  The index
-- on revision_bucket changes every 1024 revisions only, so that appends stay
-- HOT; it serves the list of recent conversations and the change feed.  The
-- keys of resting conversations do not change: their pages are filled.
CREATE TABLE memory_store.conversations (
	conversation_id uuid NOT NULL,
	next_seq bigint NOT NULL,
	head_seq bigint NOT NULL,
	message_count bigint NOT NULL,
	token_count bigint NOT NULL,
	content_bytes bigint NOT NULL,
	tail_bytes bigint NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL,
	revision bigint NOT NULL,
	revision_bucket integer NOT NULL,
	tail_count integer NOT NULL,
	branched boolean NOT NULL,
	archived boolean NOT NULL,
	account_id text COLLATE "C" NOT NULL,
	title text,
	metadata jsonb,
	deleted_at timestamptz,
	PRIMARY KEY (conversation_id, account_id) WITH (fillfactor = 100)
) WITH (fillfactor = 95);
CREATE INDEX conversations_recent ON memory_store.conversations (account_id, revision_bucket);
-- of tombstones, for maintain() to purge: appends do not change what it is on
CREATE INDEX conversations_deleted ON memory_store.conversations (deleted_at)
	WHERE deleted_at IS NOT NULL;
COMMENT ON TABLE memory_store.conversations IS
	'one row per conversation, with its counters; a deleted one stays as a tombstone';
COMMENT ON COLUMN memory_store.conversations.head_seq IS
	'the current leaf; 0: there is none; next_seq or more: a message that a restore has yet to '
	'load';
COMMENT ON COLUMN memory_store.conversations.revision_bucket IS
	'revision >> 10; set by the write path, because a generated column would slow down each append';
COMMENT ON COLUMN memory_store.conversations.branched IS
	'false: the current branch is all messages, in order of seq';

-- Short conversations take up to 4 kB: in the row they are read, and kept, for less than out of
-- line.
CREATE TABLE memory_store.segments (
	conversation_id uuid NOT NULL,
	first_seq bigint NOT NULL,
	last_seq bigint NOT NULL,
	revision bigint NOT NULL,
	account_id text COLLATE "C" NOT NULL,
	body memory.transcript NOT NULL,
	message_ids bytea,
	compact boolean,
	PRIMARY KEY (conversation_id, account_id, first_seq) WITH (fillfactor = 100)
) WITH (toast_tuple_target = 4080);
-- half of the bits are set: nothing to compress
ALTER TABLE memory_store.segments ALTER COLUMN message_ids SET STORAGE EXTERNAL;
-- what compaction has to look at; nothing of it is left in a store at rest
CREATE INDEX segments_fresh ON memory_store.segments (conversation_id, account_id)
	WHERE compact IS NULL;
COMMENT ON TABLE memory_store.segments IS
	'sealed messages: transcripts whose ranges of seq never overlap within a conversation';
COMMENT ON COLUMN memory_store.segments.compact IS
	'true: compaction has processed it, as memory_store.compaction says; null: not yet';
COMMENT ON COLUMN memory_store.segments.revision IS
	'the largest revision of its messages, and the revision of those that have none of their own';
COMMENT ON COLUMN memory_store.segments.message_ids IS
	'a Bloom filter over its message_ids (message_ids.c); null: there are none';

CREATE TABLE memory_store.tail (
	conversation_id uuid NOT NULL,
	seq bigint NOT NULL,
	parent_seq bigint NOT NULL,
	revision bigint NOT NULL,
	created_at timestamptz NOT NULL,
	tokens integer NOT NULL,
	account_id text COLLATE "C" NOT NULL,
	role text NOT NULL,
	content text NOT NULL,
	model text,
	message_id text,
	metadata text,
	counted boolean NOT NULL DEFAULT false,
	PRIMARY KEY (conversation_id, account_id, seq)
);
COMMENT ON TABLE memory_store.tail IS
	'messages that are not sealed, one row each; always later than the conversation''s segments';
COMMENT ON COLUMN memory_store.tail.counted IS
	'false: the row itself is the record of its usage; true: memory_store.usage_daily has it';
COMMENT ON COLUMN memory_store.tail.metadata IS 'jsonb in its text form, as transcripts hold it';

CREATE TABLE memory_store.tombstones (
	conversation_id uuid NOT NULL,
	seq bigint NOT NULL,
	revision bigint NOT NULL,
	deleted_at timestamptz NOT NULL,
	account_id text COLLATE "C" NOT NULL,
	message_id text,
	PRIMARY KEY (conversation_id, account_id, seq)
);
CREATE INDEX tombstones_deleted ON memory_store.tombstones (deleted_at);
COMMENT ON TABLE memory_store.tombstones IS
	'deleted messages of existing conversations, so that other devices learn of the deletion';

-- What devices that come back are told: a checkpoint is of an epoch, and no older than what was
-- purged.
CREATE TABLE memory_store.epochs (
	epoch uuid NOT NULL,
	renewed_at timestamptz NOT NULL,
	PRIMARY KEY (epoch)
);
COMMENT ON TABLE memory_store.epochs IS
	'at most one row: what memory.renew_epoch() made; with an account''s created_at it is part '
	'of the account''s epoch';

CREATE TABLE memory_store.purged (
	account_id text COLLATE "C" NOT NULL,
	revision bigint NOT NULL,
	PRIMARY KEY (account_id)
);
COMMENT ON TABLE memory_store.purged IS
	'the last revision of an account''s tombstones that maintain() has removed: a device that '
	'knows no later one starts anew';

SELECT pg_catalog.pg_extension_config_dump('memory_store.accounts', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.epochs', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.purged', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.conversations', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.segments', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.tail', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.tombstones', '');

CREATE TABLE memory_store.dictionary_accounts (
	dictionary_id bigint NOT NULL,
	account_id text COLLATE "C" NOT NULL,
	PRIMARY KEY (account_id, dictionary_id)
);
COMMENT ON TABLE memory_store.dictionary_accounts IS
	'the accounts whose own text may be in a dictionary, which was trained with '
	'memory_ext.dictionary_min_accounts = 1';

CREATE TABLE memory_store.trainings (
	trained_at timestamptz NOT NULL,
	content_bytes bigint NOT NULL,
	PRIMARY KEY (trained_at)
);
COMMENT ON TABLE memory_store.trainings IS
	'how much content there was when maintain() last tried to train a dictionary';

CREATE TABLE memory_store.compaction (
	compression text NOT NULL,
	PRIMARY KEY (compression)
);
COMMENT ON TABLE memory_store.compaction IS
	'one row: how the segments marked as compact are compressed; if another compression or '
	'dictionary is wanted, all are examined once';

CREATE TABLE memory_store.retention (
	account_id text COLLATE "C" NOT NULL,
	keep interval NOT NULL,
	PRIMARY KEY (account_id)
);
COMMENT ON TABLE memory_store.retention IS
	'how long conversations are kept after their last change; account_id empty: the default';

CREATE TABLE memory_store.erasures (
	erased_at timestamptz NOT NULL,
	PRIMARY KEY (erased_at)
);
COMMENT ON TABLE memory_store.erasures IS
	'when accounts were erased whose ids the planner''s statistics may still contain; emptied by '
	'maintain()';

SELECT pg_catalog.pg_extension_config_dump('memory_store.dictionary_accounts', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.trainings', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.compaction', '');
SELECT pg_catalog.pg_extension_config_dump('memory_store.retention', '');

-- The planner's statistics hold values of the rows.  Of what people wrote they shall hold none, and
-- account ids only where plans need it: maintain() has these analyzed anew after an erasure
-- (erase.c).
ALTER TABLE memory_store.accounts ALTER COLUMN account_id SET STATISTICS 0,
	ALTER COLUMN subscription_id SET STATISTICS 0;
ALTER TABLE memory_store.conversations ALTER COLUMN title SET STATISTICS 0, ALTER COLUMN metadata
	SET STATISTICS 0;
ALTER TABLE memory_store.tail ALTER COLUMN account_id SET STATISTICS 0, ALTER COLUMN role
	SET STATISTICS 0, ALTER COLUMN content SET STATISTICS 0,
	ALTER COLUMN model SET STATISTICS 0, ALTER COLUMN message_id SET STATISTICS 0,
		ALTER COLUMN metadata SET STATISTICS 0;
ALTER TABLE memory_store.segments ALTER COLUMN message_ids SET STATISTICS 0;
ALTER TABLE memory_store.tombstones ALTER COLUMN account_id SET STATISTICS 0,
	ALTER COLUMN message_id SET STATISTICS 0;
ALTER TABLE memory_store.dictionary_accounts ALTER COLUMN account_id SET STATISTICS 0;
ALTER TABLE memory_store.retention ALTER COLUMN account_id SET STATISTICS 0;
ALTER TABLE memory_store.purged ALTER COLUMN account_id SET STATISTICS 0;
