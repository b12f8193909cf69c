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

CREATE VIEW memory.storage WITH (security_barrier = true) AS
	SELECT c.account_id, c.conversations, c.messages,
		COALESCE(s.segments, 0) AS segments,
		COALESCE(t.tail_messages, 0) AS tail_messages,
		c.raw_bytes,
		COALESCE(s.stored_bytes, 0) + COALESCE(t.stored_bytes, 0) AS stored_bytes,
		round(c.raw_bytes::numeric / NULLIF(COALESCE(s.stored_bytes, 0) + COALESCE(t.stored_bytes, 0), 0), 2) AS ratio
	FROM (
		SELECT account_id, count(*) AS conversations, sum(message_count)::bigint AS messages,
			sum(content_bytes)::bigint AS raw_bytes
		FROM memory_store.conversations WHERE deleted_at IS NULL GROUP BY account_id
	) c
	LEFT JOIN (
		SELECT account_id, count(*) AS segments, sum(memory.stored_bytes(body))::bigint AS stored_bytes
		FROM memory_store.segments GROUP BY account_id
	) s USING (account_id)
	LEFT JOIN (
		SELECT account_id, count(*) AS tail_messages, sum(pg_column_size(content))::bigint AS stored_bytes
		FROM memory_store.tail GROUP BY account_id
	) t USING (account_id)
	WHERE memory.account_visible(c.account_id);
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
	('INSERT, UPDATE, DELETE ON memory.messages', 'writer'),
	('INSERT, UPDATE, DELETE ON memory.conversations', 'writer');
