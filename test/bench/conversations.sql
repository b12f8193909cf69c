-- Conversations to append to, numbered as the pgbench scripts address them.  All have one message;
-- with -v tails=on number n has n % 64 more, not yet sealed, so that of 64 appends one seals a
-- segment, as it is in the long run.
--
--	psql -v conversations=10000 -v accounts=1000 -v tails=on -f conversations.sql

INSERT INTO memory.messages (conversation_id, account_id, role, content)
SELECT bench.id(n), 'account-' || n % :accounts, 'user', (bench.texts())[1 + n % 256]
FROM generate_series(1, :conversations) n;

INSERT INTO plain.conversations (id, account_id)
SELECT bench.id(n), 'account-' || n % :accounts
FROM generate_series(1, :conversations) n;
INSERT INTO plain.messages (conversation_id, seq, role, content)
SELECT bench.id(n), 1, 'user', (bench.texts())[1 + n % 256]
FROM generate_series(1, :conversations) n;

\if :tails
	INSERT INTO memory.messages (conversation_id, account_id, role, content)
	SELECT bench.id(n), 'account-' || n % :accounts, 'user', (bench.texts())[1 + (n + m) % 256]
	FROM generate_series(1, :conversations) n, generate_series(1, n % 64) m;

	INSERT INTO plain.messages (conversation_id, seq, role, content)
	SELECT bench.id(n), 1 + m, 'user', (bench.texts())[1 + (n + m) % 256]
	FROM generate_series(1, :conversations) n, generate_series(1, n % 64) m;
\endif

VACUUM (ANALYZE);
CHECKPOINT;
