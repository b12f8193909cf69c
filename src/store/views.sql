-- How much an account keeps.

-- By conversation, so that one account's numbers are found by its conversations.
CREATE VIEW memory.storage WITH (security_barrier = true) AS
	SELECT c.account_id, count(*) AS conversations,
		sum(c.message_count)::bigint AS messages,
		sum(s.segments)::bigint AS segments,
		sum(c.tail_count)::bigint AS tail_messages,
		sum(c.content_bytes)::bigint AS raw_bytes,
		(sum(s.stored_bytes) + sum(t.stored_bytes))::bigint AS stored_bytes,
		round(sum(c.content_bytes) / NULLIF(sum(s.stored_bytes) + sum(t.stored_bytes), 0), 2)
			AS ratio
	FROM memory_store.conversations c
	CROSS JOIN LATERAL (
		SELECT count(*) AS segments, COALESCE(sum(memory.stored_bytes(s.body)), 0) AS stored_bytes
		FROM memory_store.segments s
		WHERE s.conversation_id = c.conversation_id AND s.account_id = c.account_id
	) s
	CROSS JOIN LATERAL (
		SELECT COALESCE(sum(pg_column_size(t.content)), 0) AS stored_bytes
		FROM memory_store.tail t
		WHERE c.tail_count > 0 AND t.conversation_id = c.conversation_id
			AND t.account_id = c.account_id
	) t
	WHERE c.deleted_at IS NULL AND memory.account_visible(c.account_id)
	GROUP BY c.account_id;
COMMENT ON VIEW memory.storage IS
	'per account: conversations, messages, the bytes of their contents, and the bytes they take '
	'in the store';

INSERT INTO memory_store.grants VALUES
	('SELECT ON memory.storage', 'reader'),
	('SELECT ON memory.storage', 'monitor');
