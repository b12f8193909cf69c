-- The relations that applications read and write, and COPY copies: foreign tables of
-- a wrapper of the extension's own.  Nobody is granted its use, so nobody makes others.

CREATE FUNCTION memory_store.relation_handler() RETURNS fdw_handler
	AS 'MODULE_PATHNAME', 'memory_relation_handler' LANGUAGE C;
CREATE FUNCTION memory_store.relation_validator(options text[], catalog oid) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_relation_validator' LANGUAGE C;

CREATE FOREIGN DATA WRAPPER memory_ext HANDLER memory_store.relation_handler
	VALIDATOR memory_store.relation_validator;
CREATE SERVER memory_ext FOREIGN DATA WRAPPER memory_ext;
COMMENT ON FOREIGN DATA WRAPPER memory_ext IS
	'gives the planner and the executor access to memory.messages and memory.conversations';
COMMENT ON SERVER memory_ext IS 'the store of this database';

CREATE FOREIGN TABLE memory.messages (
	conversation_id uuid,
	account_id text COLLATE "C",
	seq bigint,
	parent_seq bigint,
	role text,
	content text,
	model text,
	tokens integer,
	created_at timestamptz,
	message_id text,
	metadata jsonb
) SERVER memory_ext OPTIONS (relation 'messages');
COMMENT ON FOREIGN TABLE memory.messages IS
	'every message; INSERT, COPY, UPDATE and DELETE go through the store';
COMMENT ON COLUMN memory.messages.conversation_id IS
	'the conversation; one that does not exist is created';
COMMENT ON COLUMN memory.messages.account_id IS
	'who owns the conversation; can be left out for a conversation that exists';
COMMENT ON COLUMN memory.messages.seq IS
	'the message''s number in its conversation, from 1; left out: the next one';
COMMENT ON COLUMN memory.messages.parent_seq IS
	'the message that this one answers, 0: none; left out: the one before it';
COMMENT ON COLUMN memory.messages.role IS 'who speaks: user, assistant, system, tool, or any other';
COMMENT ON COLUMN memory.messages.content IS 'the text';
COMMENT ON COLUMN memory.messages.model IS 'the model that wrote it';
COMMENT ON COLUMN memory.messages.tokens IS 'how many tokens it has; left out: estimated';
COMMENT ON COLUMN memory.messages.created_at IS 'when it was written; left out: now';
COMMENT ON COLUMN memory.messages.message_id IS 'the application''s own id of the message';
COMMENT ON COLUMN memory.messages.metadata IS
	'anything else, as a JSON object: tool calls, attachments';

CREATE FOREIGN TABLE memory.conversations (
	conversation_id uuid,
	account_id text COLLATE "C",
	title text,
	metadata jsonb,
	archived boolean,
	head_seq bigint,
	created_at timestamptz,
	updated_at timestamptz,
	message_count bigint,
	token_count bigint,
	content_bytes bigint
) SERVER memory_ext OPTIONS (relation 'conversations');
COMMENT ON FOREIGN TABLE memory.conversations IS
	'every conversation; the last three columns are derived, INSERT and COPY ignore them';
COMMENT ON COLUMN memory.conversations.conversation_id IS
	'the conversation; left out: a new version 7 UUID';
COMMENT ON COLUMN memory.conversations.account_id IS 'who owns it';
COMMENT ON COLUMN memory.conversations.title IS 'its title';
COMMENT ON COLUMN memory.conversations.metadata IS 'anything else, as a JSON object';
COMMENT ON COLUMN memory.conversations.archived IS
	'whether memory.recent_conversations leaves it out';
COMMENT ON COLUMN memory.conversations.head_seq IS
	'the last message of the current branch, which the next one answers; NULL: it has no message';
COMMENT ON COLUMN memory.conversations.created_at IS 'when it was created';
COMMENT ON COLUMN memory.conversations.updated_at IS 'when it was last changed';
COMMENT ON COLUMN memory.conversations.message_count IS 'how many messages it has, on all branches';
COMMENT ON COLUMN memory.conversations.token_count IS 'how many tokens these have';
COMMENT ON COLUMN memory.conversations.content_bytes IS
	'how many bytes are stored: of contents, metadata and title';

INSERT INTO memory_store.grants VALUES
	('SELECT ON memory.messages', 'reader'),
	('SELECT ON memory.conversations', 'reader'),
	('INSERT, UPDATE, DELETE ON memory.messages', 'writer'),
	('INSERT, UPDATE, DELETE ON memory.conversations', 'writer');
