-- Copies that devices keep of an account's conversations, and the feed of changes.

CREATE FUNCTION memory.pull(
	account_id text,
	collection text,
	checkpoint jsonb DEFAULT NULL,
	max_documents integer DEFAULT 100,
	max_bytes integer DEFAULT NULL,
	since timestamptz DEFAULT NULL,
	max_conversations integer DEFAULT NULL
) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'memory_pull' LANGUAGE C STABLE SECURITY DEFINER;
COMMENT ON FUNCTION memory.pull(text, text, jsonb, integer, integer, timestamptz, integer) IS
	'the documents of a collection (conversations, messages) that have changed since a '
	'checkpoint, and the next checkpoint';

CREATE FUNCTION memory.pull_conversation(
	account_id text,
	conversation_id uuid,
	after_seq bigint DEFAULT NULL,
	max_documents integer DEFAULT 1000,
	max_bytes integer DEFAULT NULL
) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'memory_pull_conversation' LANGUAGE C STABLE SECURITY DEFINER;
COMMENT ON FUNCTION memory.pull_conversation(text, uuid, bigint, integer, integer) IS
	'the documents of one conversation and its messages, for a device that has not pulled them';

CREATE FUNCTION memory.push(account_id text, collection text, rows jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'memory_push' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.push(text, text, jsonb) IS
	'stores the documents that a device has changed; returns the stored ones of those in '
	'conflict, and what was refused';

CREATE FUNCTION memory.current_revision(account_id text) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_current_revision' LANGUAGE C STABLE SECURITY DEFINER;
COMMENT ON FUNCTION memory.current_revision(text) IS
	'the revision of the account''s last change; 0: there is no such account';

CREATE FUNCTION memory.changes(
	account_id text,
	after_revision bigint DEFAULT 0,
	max_rows integer DEFAULT 1000,
	OUT revision bigint,
	OUT conversation_id uuid,
	OUT deleted boolean,
	OUT title text,
	OUT archived boolean,
	OUT head_seq bigint,
	OUT message_count bigint,
	OUT created_at timestamptz,
	OUT updated_at timestamptz
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'memory_changes' LANGUAGE C STABLE SECURITY DEFINER ROWS 100;
COMMENT ON FUNCTION memory.changes(text, bigint, integer) IS
	'the conversations that were changed or deleted after a revision, in order of revision; the '
	'last row''s revision goes on from there';

CREATE FUNCTION memory.renew_epoch() RETURNS uuid
	AS 'MODULE_PATHNAME', 'memory_renew_epoch' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.renew_epoch() IS
	'makes all devices start over, for a server that was restored from an older backup';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.pull(text, text, jsonb, integer, integer, timestamptz, integer)',
		'reader'),
	('EXECUTE ON FUNCTION memory.pull_conversation(text, uuid, bigint, integer, integer)',
		'reader'),
	('EXECUTE ON FUNCTION memory.push(text, text, jsonb)', 'writer'),
	('EXECUTE ON FUNCTION memory.current_revision(text)', 'reader'),
	('EXECUTE ON FUNCTION memory.changes(text, bigint, integer)', 'reader'),
	('EXECUTE ON FUNCTION memory.renew_epoch()', 'operator');
