-- 200 long conversations made of the corpus's messages, cyclically: number n has the id
-- md5('long' || n), the account 'long' and 268 to 331 messages, 300 on average, so that each
-- number of messages behind the last full segment occurs as often as any other.
-- Both sides count the same tokens, so that their context windows are the same.

CREATE TEMPORARY TABLE corpus AS
SELECT row_number() OVER (ORDER BY conversation_id, seq) - 1 AS place, role, content
FROM plain.messages WHERE role IN ('user', 'assistant');
CREATE UNIQUE INDEX ON corpus (place);
ANALYZE corpus;

INSERT INTO memory.messages (conversation_id, account_id, seq, role, content)
SELECT md5('long' || n)::uuid, 'long', m, c.role, c.content
FROM generate_series(1, 200) n, generate_series(1, 268 + n % 64) m, corpus c
WHERE c.place = (n * 332 + m) % (SELECT count(*) FROM corpus);

INSERT INTO plain.conversations (id, account_id, created_at, updated_at)
SELECT conversation_id, account_id, created_at, updated_at
FROM memory.conversations WHERE account_id = 'long';
INSERT INTO plain.messages (conversation_id, seq, role, content, tokens, created_at)
SELECT conversation_id, seq, role, content, tokens, created_at
FROM memory.messages WHERE account_id = 'long';

VACUUM (ANALYZE);
CHECKPOINT;
