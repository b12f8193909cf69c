-- The views that applications read and write, and COPY copies.  A condition on
-- conversation_id or account_id reaches segments and tail; security_barrier
-- keeps a caller's functions from rows that the session may not see.

-- PostgreSQL takes a UNION ALL apart and forgets that it was a barrier, so each
-- arm is a barrier of its own.
CREATE VIEW memory_store.sealed_messages WITH (security_barrier = true) AS
	SELECT s.conversation_id, s.account_id, m.seq, m.parent_seq, m.role, m.content, m.model,
		m.tokens, m.created_at, m.message_id, m.metadata
	FROM memory_store.segments s CROSS JOIN LATERAL memory.unpack(s.body) m
	WHERE memory.account_visible(s.account_id);
COMMENT ON VIEW memory_store.sealed_messages IS 'the messages of segments, as memory.messages shows them';

CREATE VIEW memory_store.tail_messages WITH (security_barrier = true) AS
	SELECT t.conversation_id, t.account_id, t.seq, t.parent_seq, t.role, t.content, t.model,
		t.tokens, t.created_at, t.message_id, t.metadata::jsonb AS metadata
	FROM memory_store.tail t
	WHERE memory.account_visible(t.account_id);
COMMENT ON VIEW memory_store.tail_messages IS 'the messages of tails, likewise';

CREATE VIEW memory.messages WITH (security_barrier = true) AS
	SELECT * FROM memory_store.sealed_messages
UNION ALL
	SELECT * FROM memory_store.tail_messages;
COMMENT ON VIEW memory.messages IS 'every message; INSERT, COPY, UPDATE and DELETE go through the store';

CREATE VIEW memory.conversations WITH (security_barrier = true) AS
	SELECT c.conversation_id, c.account_id, c.title, c.metadata, c.archived,
		NULLIF(c.head_seq, 0) AS head_seq, c.created_at, c.updated_at,
		c.message_count, c.token_count, c.content_bytes
	FROM memory_store.conversations c
	WHERE c.deleted_at IS NULL AND memory.account_visible(c.account_id);
COMMENT ON VIEW memory.conversations IS 'every conversation; the last three columns are derived, INSERT and COPY ignore them';

-- By conversation, so that one account's numbers are found by its conversations.
CREATE VIEW memory.storage WITH (security_barrier = true) AS
	SELECT c.account_id, count(*) AS conversations,
		sum(c.message_count)::bigint AS messages,
		sum(s.segments)::bigint AS segments,
		sum(c.tail_count)::bigint AS tail_messages,
		sum(c.content_bytes)::bigint AS raw_bytes,
		(sum(s.stored_bytes) + sum(t.stored_bytes))::bigint AS stored_bytes,
		round(sum(c.content_bytes) / NULLIF(sum(s.stored_bytes) + sum(t.stored_bytes), 0), 2) AS ratio
	FROM memory_store.conversations c
	CROSS JOIN LATERAL (
		SELECT count(*) AS segments, COALESCE(sum(memory.stored_bytes(s.body)), 0) AS stored_bytes
		FROM memory_store.segments s
		WHERE s.conversation_id = c.conversation_id AND s.account_id = c.account_id
	) s
	CROSS JOIN LATERAL (
		SELECT COALESCE(sum(pg_column_size(t.content)), 0) AS stored_bytes
		FROM memory_store.tail t
		WHERE c.tail_count > 0 AND t.conversation_id = c.conversation_id AND t.account_id = c.account_id
	) t
	WHERE c.deleted_at IS NULL AND memory.account_visible(c.account_id)
	GROUP BY c.account_id;
COMMENT ON VIEW memory.storage IS 'an account''s conversations, the bytes of their contents, and the bytes those take in the store';

CREATE FUNCTION memory_store.statement_begin() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_statement_begin' LANGUAGE C;
CREATE FUNCTION memory_store.messages_insert() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_messages_insert' LANGUAGE C SECURITY DEFINER;
CREATE FUNCTION memory_store.messages_update() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_messages_update' LANGUAGE C;
CREATE FUNCTION memory_store.messages_delete() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_messages_delete' LANGUAGE C;
CREATE FUNCTION memory_store.messages_end() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_messages_end' LANGUAGE C SECURITY DEFINER;
CREATE FUNCTION memory_store.conversations_insert() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_conversations_insert' LANGUAGE C;
CREATE FUNCTION memory_store.conversations_update() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_conversations_update' LANGUAGE C;
CREATE FUNCTION memory_store.conversations_delete() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_conversations_delete' LANGUAGE C;
CREATE FUNCTION memory_store.conversations_end() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_conversations_end' LANGUAGE C SECURITY DEFINER;

CREATE TRIGGER a_begin BEFORE INSERT OR UPDATE OR DELETE ON memory.messages
	FOR EACH STATEMENT EXECUTE FUNCTION memory_store.statement_begin();
CREATE TRIGGER b_insert INSTEAD OF INSERT ON memory.messages
	FOR EACH ROW EXECUTE FUNCTION memory_store.messages_insert();
CREATE TRIGGER b_update INSTEAD OF UPDATE ON memory.messages
	FOR EACH ROW EXECUTE FUNCTION memory_store.messages_update();
CREATE TRIGGER b_delete INSTEAD OF DELETE ON memory.messages
	FOR EACH ROW EXECUTE FUNCTION memory_store.messages_delete();
CREATE TRIGGER c_end AFTER INSERT OR UPDATE OR DELETE ON memory.messages
	FOR EACH STATEMENT EXECUTE FUNCTION memory_store.messages_end();

CREATE TRIGGER a_begin BEFORE INSERT OR UPDATE OR DELETE ON memory.conversations
	FOR EACH STATEMENT EXECUTE FUNCTION memory_store.statement_begin();
CREATE TRIGGER b_insert INSTEAD OF INSERT ON memory.conversations
	FOR EACH ROW EXECUTE FUNCTION memory_store.conversations_insert();
CREATE TRIGGER b_update INSTEAD OF UPDATE ON memory.conversations
	FOR EACH ROW EXECUTE FUNCTION memory_store.conversations_update();
CREATE TRIGGER b_delete INSTEAD OF DELETE ON memory.conversations
	FOR EACH ROW EXECUTE FUNCTION memory_store.conversations_delete();
CREATE TRIGGER c_end AFTER INSERT OR UPDATE OR DELETE ON memory.conversations
	FOR EACH STATEMENT EXECUTE FUNCTION memory_store.conversations_end();

INSERT INTO memory_store.grants VALUES
	('SELECT ON memory.messages', 'reader'),
	('SELECT ON memory.conversations', 'reader'),
	('SELECT ON memory.storage', 'reader'),
	('SELECT ON memory.storage', 'monitor'),
	('INSERT, UPDATE, DELETE ON memory.messages', 'writer'),
	('INSERT, UPDATE, DELETE ON memory.conversations', 'writer');
