-- Plans before any conversation: a default plan with four limits, which nobody reaches; so every
-- account gets a subscription of its own.  Beside it what a bare counter would be.
--
--	psql -v accounts=1000 -f quotas.sql

INSERT INTO memory.plans (plan_id, is_default) VALUES ('bench', true);
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES
	('bench', 'messages', 'day', 1000000000), ('bench', 'tokens', 'month', 1000000000000),
	('bench', 'conversations', 'current', 1000000000), ('bench', 'content_bytes', 'current', 1000000000000);

CREATE TABLE plain.counters (
	account_id text COLLATE "C" PRIMARY KEY,
	used bigint NOT NULL,
	limit_value bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO plain.counters SELECT 'account-' || n, 0, 1000000000 FROM generate_series(0, :accounts - 1) n;
