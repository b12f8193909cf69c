-- A year of usage: account-1 on every day, with three models, and with conversations of which the
-- newest messages are not sealed; the others on one day in ten, with one of the models.  In order of
-- days, as usage comes.
--
--	psql -v accounts=100000 -f dashboard.sql

INSERT INTO memory_store.accounts (account_id, subscription_id, revision, created_at)
SELECT 'account-' || n, 'account-' || n, 1, now() FROM generate_series(1, :accounts) n;
INSERT INTO memory_store.usage_daily (account_id, day, model, messages, input_tokens, output_tokens, content_bytes)
SELECT 'account-' || n, current_date - d, 'model-' || m, 20, 3000, 5000, 30000
FROM generate_series(365, 1, -1) d, generate_series(1, :accounts) n, generate_series(1, 3) m
WHERE n = 1 OR (n + d) % 10 = 0 AND m = 1 + n % 3;

-- 300 models that have had three prices each
INSERT INTO memory.model_prices (model, valid_from, input_cost_per_token, output_cost_per_token)
SELECT 'model-' || m, current_date - 150 * v, 0.0000025 + v * 0.000001, 0.00001
FROM generate_series(1, 300) m, generate_series(1, 3) v;

SELECT memory.load_example_plans();
UPDATE memory.plans SET is_default = true WHERE plan_id = 'pro';
INSERT INTO memory_store.subscriptions (subscription_id, starts_at, time_zone, hour_start, hour_end, day_start, day_end, month_start, month_end)
SELECT 'account-' || n, now(), 'UTC', now(), now() + interval '1 hour', now(), now() + interval '1 day', now(), now() + interval '1 month'
FROM generate_series(2, :accounts) n;
INSERT INTO memory.messages (conversation_id, account_id, role, content, model, tokens)
SELECT bench.id(n), 'account-' || n, 'user', (bench.texts())[1 + n % 256], 'model-1', 50
FROM generate_series(1, :accounts) n WHERE n % 10 = 2;
INSERT INTO memory.messages (conversation_id, account_id, role, content, model, tokens)
SELECT bench.id(1000000 + c), 'account-1', 'user', (bench.texts())[1 + m], 'model-1', 50
FROM generate_series(1, 40) c, generate_series(1, 25) m;
VACUUM (ANALYZE);
CHECKPOINT;
