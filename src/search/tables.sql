-- Which words may be in which messages: derived from the store, so neither table is dumped, and
-- either may be emptied at any time.  No plain text is in them.

-- A row an account that has blocks, or is about to.
CREATE TABLE memory_store.search_accounts (
	account_id text COLLATE "C" NOT NULL,
	revision bigint NOT NULL,
	blocks integer NOT NULL,
	next_block integer NOT NULL,
	version bigint NOT NULL,
	building_revision bigint,
	building_after uuid,
	PRIMARY KEY (account_id)
);
COMMENT ON TABLE memory_store.search_accounts IS
	'how far the blocks of an account go; without a row, or with fewer blocks than it says, all '
	'messages are scanned';
COMMENT ON COLUMN memory_store.search_accounts.revision IS
	'messages up to this revision of the account are in its blocks';
COMMENT ON COLUMN memory_store.search_accounts.blocks IS
	'how many there are: where any is missing, none is relied on';
COMMENT ON COLUMN memory_store.search_accounts.version IS
	'counts changes of the row, by those who erase and those who build';
COMMENT ON COLUMN memory_store.search_accounts.building_revision IS
	'the revision that the blocks will go to when those being built are complete; null: none are';
COMMENT ON COLUMN memory_store.search_accounts.building_after IS
	'the last conversation that has been gone through for it';

-- The body is what src/search/block.c writes; half of a filter's bits are set, so nothing of it can
-- be compressed.
CREATE TABLE memory_store.search_blocks (
	account_id text COLLATE "C" NOT NULL,
	block_no integer NOT NULL,
	entries integer NOT NULL,
	erased integer NOT NULL,
	first_id uuid NOT NULL,
	last_id uuid NOT NULL,
	body bytea NOT NULL,
	PRIMARY KEY (account_id, block_no)
);
ALTER TABLE memory_store.search_blocks ALTER COLUMN body SET STORAGE EXTERNAL;
COMMENT ON TABLE memory_store.search_blocks IS
	'for ranges of an account''s messages, Bloom filters over their words; '
	'memory_store.search_accounts says how far they go';
COMMENT ON COLUMN memory_store.search_blocks.erased IS
	'how many of the entries have lost their filter, because a message was changed or deleted';
COMMENT ON COLUMN memory_store.search_blocks.first_id IS
	'the smallest id of a conversation that the block has entries of';

ALTER TABLE memory_store.search_accounts ALTER COLUMN account_id SET STATISTICS 0;
ALTER TABLE memory_store.search_blocks ALTER COLUMN account_id SET STATISTICS 0, ALTER COLUMN body
	SET STATISTICS 0,
	ALTER COLUMN first_id SET STATISTICS 0, ALTER COLUMN last_id SET STATISTICS 0;
