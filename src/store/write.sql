-- Writing: messages of one conversation, and conversations themselves.

CREATE FUNCTION memory.uuid_v7() RETURNS uuid
	AS 'MODULE_PATHNAME', 'memory_uuid_v7' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION memory.uuid_v7() IS 'a new version 7 UUID, as a conversation_id';

CREATE FUNCTION memory.estimate_tokens(content text) RETURNS integer
	AS 'MODULE_PATHNAME', 'memory_estimate_tokens' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.estimate_tokens(text) IS
	'an estimate of the tokens that a language model counts in a text';

CREATE FUNCTION memory.create_conversation(
	account_id text,
	conversation_id uuid DEFAULT NULL,
	title text DEFAULT NULL,
	metadata jsonb DEFAULT NULL,
	created_at timestamptz DEFAULT NULL
) RETURNS uuid
	AS 'MODULE_PATHNAME', 'memory_create_conversation' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.create_conversation(text, uuid, text, jsonb, timestamptz) IS
	'creates an empty conversation and returns its id';

CREATE FUNCTION memory.update_conversation(
	account_id text,
	conversation_id uuid,
	title text DEFAULT NULL,
	metadata jsonb DEFAULT NULL,
	archived boolean DEFAULT NULL,
	head_seq bigint DEFAULT NULL
) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_update_conversation' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.update_conversation(text, uuid, text, jsonb, boolean, bigint) IS
	'sets the fields that are not null and returns the account''s new revision';

CREATE FUNCTION memory.upsert_conversation(
	account_id text,
	conversation_id uuid,
	title text DEFAULT NULL,
	metadata jsonb DEFAULT NULL,
	archived boolean DEFAULT NULL,
	head_seq bigint DEFAULT NULL
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'memory_upsert_conversation' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.upsert_conversation(text, uuid, text, jsonb, boolean, bigint) IS
	'creates a conversation, or sets the fields that are not null if it exists; returns whether '
	'it was created';

CREATE FUNCTION memory.delete_conversation(account_id text, conversation_id uuid) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_delete_conversation' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.delete_conversation(text, uuid) IS
	'deletes a conversation with all its messages and returns the account''s new revision';

CREATE FUNCTION memory.append(
	account_id text,
	conversation_id uuid,
	role text,
	content text,
	model text DEFAULT NULL,
	tokens integer DEFAULT NULL,
	metadata jsonb DEFAULT NULL,
	message_id text DEFAULT NULL,
	parent_seq bigint DEFAULT NULL,
	created_at timestamptz DEFAULT NULL
) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_append' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.append(text, uuid, text, text, text, integer, jsonb, text, bigint,
	timestamptz) IS
	'appends a message and returns its seq; unknown accounts and conversations are created';

CREATE FUNCTION memory.append(account_id text, conversation_id uuid, messages jsonb)
	RETURNS bigint[]
	AS 'MODULE_PATHNAME', 'memory_append_batch' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.append(text, uuid, jsonb) IS
	'appends a JSON array of messages as one statement and returns their seqs';

CREATE FUNCTION memory.edit_message(
	account_id text,
	conversation_id uuid,
	seq bigint,
	content text DEFAULT NULL,
	role text DEFAULT NULL,
	model text DEFAULT NULL,
	tokens integer DEFAULT NULL,
	metadata jsonb DEFAULT NULL
) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_edit_message' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.edit_message(text, uuid, bigint, text, text, text, integer, jsonb) IS
	'changes the fields of a message that are not null and returns the account''s new revision';

CREATE FUNCTION memory.delete_message(account_id text, conversation_id uuid, seq bigint)
	RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_delete_message' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.delete_message(text, uuid, bigint) IS
	'deletes a message and returns the account''s new revision; its answers become answers to '
	'its parent';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.uuid_v7()', 'reader'),
	('EXECUTE ON FUNCTION memory.estimate_tokens(text)', 'reader'),
	('EXECUTE ON FUNCTION memory.create_conversation(text, uuid, text, jsonb, timestamptz)',
		'writer'),
	('EXECUTE ON FUNCTION memory.update_conversation(text, uuid, text, jsonb, boolean, bigint)',
		'writer'),
	('EXECUTE ON FUNCTION memory.upsert_conversation(text, uuid, text, jsonb, boolean, bigint)',
		'writer'),
	('EXECUTE ON FUNCTION memory.delete_conversation(text, uuid)', 'writer'),
	('EXECUTE ON FUNCTION memory.append(text, uuid, text, text, text, integer, jsonb, text, '
		'bigint, timestamptz)', 'writer'),
	('EXECUTE ON FUNCTION memory.append(text, uuid, jsonb)', 'writer'),
	('EXECUTE ON FUNCTION memory.edit_message(text, uuid, bigint, text, text, text, integer, '
		'jsonb)', 'writer'),
	('EXECUTE ON FUNCTION memory.delete_message(text, uuid, bigint)', 'writer');
