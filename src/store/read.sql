-- Reading one conversation or account.

CREATE FUNCTION memory.history(
	account_id text,
	conversation_id uuid,
	before_seq bigint DEFAULT NULL,
	max_messages integer DEFAULT 50
) RETURNS SETOF memory.message
	AS 'MODULE_PATHNAME', 'memory_history' LANGUAGE C STABLE SECURITY DEFINER ROWS 50;
COMMENT ON FUNCTION memory.history(text, uuid, bigint, integer) IS
	'the newest messages of the current branch, oldest first; before_seq pages backwards';

CREATE FUNCTION memory.context(
	account_id text,
	conversation_id uuid,
	max_tokens integer,
	max_messages integer DEFAULT NULL,
	include_system boolean DEFAULT true
) RETURNS SETOF memory.message
	AS 'MODULE_PATHNAME', 'memory_context' LANGUAGE C STABLE SECURITY DEFINER ROWS 50;
COMMENT ON FUNCTION memory.context(text, uuid, integer, integer, boolean) IS
	'the context window for a model: system messages, then the newest of the current branch that '
	'fit max_tokens; never begins with the result of a tool call';

CREATE FUNCTION memory.message(account_id text, conversation_id uuid, seq bigint)
	RETURNS memory.message
	AS 'MODULE_PATHNAME', 'memory_message' LANGUAGE C STABLE SECURITY DEFINER;
COMMENT ON FUNCTION memory.message(text, uuid, bigint) IS 'one message of any branch';

CREATE FUNCTION memory.recent_conversations(
	account_id text,
	before_revision bigint DEFAULT NULL,
	before_updated_at timestamptz DEFAULT NULL,
	before_conversation_id uuid DEFAULT NULL,
	max_conversations integer DEFAULT 50,
	include_archived boolean DEFAULT false,
	OUT conversation_id uuid,
	OUT title text,
	OUT metadata jsonb,
	OUT archived boolean,
	OUT head_seq bigint,
	OUT message_count bigint,
	OUT token_count bigint,
	OUT content_bytes bigint,
	OUT created_at timestamptz,
	OUT updated_at timestamptz,
	OUT revision bigint
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'memory_recent_conversations' LANGUAGE C STABLE SECURITY DEFINER ROWS 50;
COMMENT ON FUNCTION memory.recent_conversations(text, bigint, timestamptz, uuid, integer, boolean)
	IS
	'an account''s conversations, most recently changed first; the last row''s revision, '
	'updated_at and conversation_id give the next page';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.history(text, uuid, bigint, integer)', 'reader'),
	('EXECUTE ON FUNCTION memory.context(text, uuid, integer, integer, boolean)', 'reader'),
	('EXECUTE ON FUNCTION memory.message(text, uuid, bigint)', 'reader'),
	('EXECUTE ON FUNCTION memory.recent_conversations(text, bigint, timestamptz, uuid, integer, '
		'boolean)', 'reader');
