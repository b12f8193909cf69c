-- The corpus on both sides, with times, so that each account has last conversations: a conversation
-- begins 10 seconds behind the one before it, and its messages are a second apart.  Besides the
-- corpus's accounts there are 40 with 50 conversations each, which are the corpus's first again.
-- my_chats is a table of the application's that knows conversations by their keys; the id of
-- conversation number n is n.
--
--	psql -v conversations=conversations.csv -v messages=messages.csv -f relation/corpus.sql

\set load_conversations '\\copy loaded (conversation_id, account_id, title) from ''' :conversations ''' csv header'
\set load_messages '\\copy loaded_messages (conversation_id, account_id, seq, role, content) from ''' :messages ''' csv header'

CREATE TEMPORARY TABLE loaded (
	n bigint GENERATED ALWAYS AS IDENTITY,
	conversation_id uuid,
	account_id text,
	title text
);
CREATE TEMPORARY TABLE loaded_messages (
	conversation_id uuid,
	account_id text,
	seq bigint,
	role text,
	content text
);
:load_conversations
:load_messages
CREATE TEMPORARY TABLE chats AS
SELECT *, timestamptz '2025-01-01 00:00+00' + n * interval '10 seconds' AS began FROM (
	SELECT n, conversation_id, account_id, title, conversation_id AS source FROM loaded
	UNION ALL
	SELECT 1000000 + k, bench.id(1000000 + k), 'fifty-' || k % 40, title, conversation_id
	FROM generate_series(1, 2000) k
	JOIN loaded ON loaded.n = 1 + (k - 1) % (SELECT count(*) FROM loaded)
) c;
ANALYZE loaded_messages, chats;

INSERT INTO memory.conversations (conversation_id, account_id, title, created_at, updated_at)
SELECT conversation_id, account_id, title, began, began FROM chats ORDER BY n;
INSERT INTO memory.messages (conversation_id, account_id, seq, role, content, created_at)
SELECT c.conversation_id, c.account_id, m.seq, m.role, m.content, c.began + m.seq * interval '1 second'
FROM chats c JOIN loaded_messages m ON m.conversation_id = c.source
ORDER BY c.n, m.seq;

INSERT INTO plain.conversations (id, account_id, title, created_at, updated_at)
SELECT conversation_id, account_id, m.title, m.created_at, m.updated_at
FROM chats c JOIN memory.conversations m USING (conversation_id, account_id)
ORDER BY c.n;
INSERT INTO plain.messages (conversation_id, seq, role, content, tokens, created_at)
SELECT conversation_id, m.seq, m.role, m.content, m.tokens, m.created_at
FROM chats c JOIN memory.messages m USING (conversation_id, account_id)
ORDER BY c.n, m.seq;

CREATE TABLE plain.my_chats (
	id bigint PRIMARY KEY,
	conversation_id uuid NOT NULL,
	account_id text NOT NULL
);
INSERT INTO plain.my_chats SELECT n, conversation_id, account_id FROM chats ORDER BY n;

VACUUM (ANALYZE);
CHECKPOINT;
