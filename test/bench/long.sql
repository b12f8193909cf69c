-- 200 long conversations made of a corpus's messages, cyclically: number n, of account 'long', has
-- 268 to 331 messages, 300 on average, so that each number of messages behind the last full
-- segment occurs as often as any other.
-- Both sides count the same tokens, so that their context windows are the same.  Only users and
-- assistants speak: memory.context keeps system prompts, and tools' results beside their calls.
--
--	psql -v messages=messages.csv -f long.sql

\set load_corpus '\\copy loaded (conversation_id, account_id, seq, role, content) from ''' :messages ''' csv header'

CREATE TEMPORARY TABLE loaded (
	line bigint GENERATED ALWAYS AS IDENTITY,
	conversation_id uuid,
	account_id text,
	seq bigint,
	role text,
	content text
);
:load_corpus
CREATE TEMPORARY TABLE corpus AS
SELECT row_number() OVER (ORDER BY line) - 1 AS place, role, content
FROM loaded WHERE role IN ('user', 'assistant');
CREATE UNIQUE INDEX ON corpus (place);
ANALYZE corpus;

INSERT INTO memory.messages (conversation_id, account_id, seq, role, content)
SELECT bench.id(n), 'long', m, c.role, c.content
FROM generate_series(1, 200) n, generate_series(1, 268 + n % 64) m, corpus c
WHERE c.place = (n * 332 + m) % (SELECT count(*) FROM corpus);

INSERT INTO plain.conversations (id, account_id, created_at, updated_at)
SELECT conversation_id, account_id, created_at, updated_at FROM memory.conversations;
INSERT INTO plain.messages (conversation_id, seq, role, content, tokens, created_at)
SELECT conversation_id, seq, role, content, tokens, created_at FROM memory.messages;

VACUUM (ANALYZE);
CHECKPOINT;
