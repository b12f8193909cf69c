-- Rating: prices, versions, invoices, and the charts of a dashboard.
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'

--
-- One quantity
--
SELECT q, memory.rate('flat', q, 9.99) AS flat, memory.rate('unit', q, 0.015) AS unit, memory.rate('package', q, 5, 1000) AS package,
	memory.rate('graduated', q, tiers => t) AS graduated, memory.rate('volume', q, tiers => t) AS volume
FROM unnest('{0,0.5,1,999,1000,1000.5,1001,2000,2001,1000000}'::numeric[]) q,
	(VALUES ('[{"up_to": 1000, "unit_price": 0.10}, {"up_to": 2000, "unit_price": 0.05, "flat_price": 7}, {"unit_price": 0.01}]'::jsonb)) v (t);
-- no binary fractions: a million times 0.1 is 100000
SELECT sum(memory.rate('unit', 1, 0.1)) = 100000 AS exact FROM generate_series(1, 1000000);
SELECT memory.rate('unit', 922337203685477580700, 0.00000125);
-- a missing price is null, never 0
SELECT memory.rate('flat', 1), memory.rate('unit', 5), memory.rate('unit', NULL, 1), memory.rate('package', 5, NULL, 10),
	memory.rate('graduated', 5, tiers => '[{"up_to": 3, "unit_price": 1}, {}]'),
	memory.rate('graduated', 3, tiers => '[{"up_to": 3, "unit_price": 1}, {}]') AS below,
	memory.rate('volume', 5, tiers => '[{"up_to": 3, "unit_price": 1}, {}]'),
	memory.rate('volume', 3, tiers => '[{"up_to": 3, "unit_price": 1}, {}]') AS below,
	memory.rate('other', 1, 1);

-- What a plan's price must be
INSERT INTO memory.plan_prices (plan_id, component, valid_from, kind, meter, tiers) VALUES
	('x', 'a', '2020-01-01', 'graduated', 'tokens', '[]');
INSERT INTO memory.plan_prices (plan_id, component, valid_from, kind, meter, tiers) VALUES
	('x', 'a', '2020-01-01', 'graduated', 'tokens', '[{"up_to": 2, "unit_price": 1}, {"up_to": 2, "unit_price": 1}, {}]');
INSERT INTO memory.plan_prices (plan_id, component, valid_from, kind, meter, tiers) VALUES
	('x', 'a', '2020-01-01', 'volume', 'tokens', '[{"up_to": 2, "unit_price": "1"}, {}]');
INSERT INTO memory.plan_prices (plan_id, component, valid_from, kind, meter, tiers) VALUES
	('x', 'a', '2020-01-01', 'volume', 'tokens', '[{"up_to": 2, "unit_price": 1}]');
INSERT INTO memory.plan_prices (plan_id, component, valid_from, kind, meter) VALUES ('x', 'a', '2020-01-01', 'volume', 'tokens');
INSERT INTO memory.plan_prices (plan_id, component, valid_from, kind, meter, price) VALUES ('x', 'a', '2020-01-01', 'package', 'tokens', 1);
INSERT INTO memory.plan_prices (plan_id, component, valid_from, kind, price) VALUES ('x', 'a', '2020-01-01', 'unit', 1);
INSERT INTO memory.plan_prices (plan_id, component, valid_from, kind, meter, price) VALUES ('x', 'a', '2020-01-01', 'flat', 'tokens', 1);

--
-- LiteLLM's price map
--
SELECT memory.import_model_prices('{
	"sample_spec": {"input_cost_per_token": 0, "mode": "one of: chat, embedding"},
	"gpt-4o": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06,
		"input_cost_per_token_batches": 1.25e-06, "litellm_provider": "openai", "mode": "chat", "max_tokens": 16384},
	"claude": {"input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05, "cache_creation_input_token_cost": 3.75e-06,
		"cache_read_input_token_cost": 3e-07, "search_context_cost_per_query": {"search_context_size_low": 0.01},
		"litellm_provider": "anthropic", "mode": "chat"},
	"embed": {"input_cost_per_token": 2e-08, "output_cost_per_token": 0.0, "mode": "embedding"},
	"image": {"output_cost_per_image": 0.04, "mode": "image_generation"},
	"free": {"mode": "chat"},
	"odd": {"input_cost_per_token": "unknown"}
}', '2020-01-01');
SELECT model, input_cost_per_token AS input, output_cost_per_token AS output, cached_input_cost_per_token AS cached,
	cache_creation_cost_per_token AS creation, provider, mode, other_costs
FROM memory.model_prices ORDER BY model;
-- again: nothing new; a price of a day in the past stays as it is
SELECT memory.import_model_prices('{"embed": {"input_cost_per_token": 2e-08, "output_cost_per_token": 0.0, "mode": "embedding"}}');
SELECT memory.import_model_prices('{"embed": {"input_cost_per_token": 5e-08}}', '2020-02-01');
SELECT memory.import_model_prices('{"embed": {"input_cost_per_token": 5e-08}}'),
	memory.import_model_prices('{"embed": {"input_cost_per_token": 6e-08}}');
SELECT count(*), count(*) FILTER (WHERE valid_from = (now() AT TIME ZONE 'UTC')::date AND input_cost_per_token = 6e-08) AS today
FROM memory.model_prices WHERE model = 'embed';
SELECT memory.import_model_prices('[]');
SELECT memory.import_model_prices(NULL);
SELECT memory.import_model_prices('{"x": {"input_cost_per_token": -1}}');
SELECT memory.import_model_prices('{}');

--
-- Usage at its day's prices
--
INSERT INTO memory.model_prices (model, valid_from, input_cost_per_token, output_cost_per_token) VALUES
	('gpt-4o', '2020-02-01', 2e-06, NULL);
INSERT INTO memory_store.accounts (account_id, subscription_id, revision, created_at) VALUES
	('a', 's', 1, '2020-01-01Z'), ('b', 's', 1, '2020-01-01Z'), ('c', 'c', 1, '2020-01-01Z');
INSERT INTO memory_store.usage_daily (account_id, day, model, messages, input_tokens, output_tokens, requests,
	request_input_tokens, request_cached_input_tokens, request_cache_creation_tokens, request_output_tokens) VALUES
	('a', '2019-12-31', 'gpt-4o', 1, 1000, 0, 0, 0, 0, 0, 0),
	('a', '2020-01-01', 'gpt-4o', 1, 1000, 500, 0, 0, 0, 0, 0),
	('a', '2020-01-31', 'gpt-4o', 0, 0, 0, 3, 1001, 9000, 0, 77),
	('a', '2020-01-31', 'claude', 0, 0, 0, 1, 10, 1000, 200, 30),
	('a', '2020-02-01', 'gpt-4o', 1, 1000, 0, 0, 0, 0, 0, 0),
	('a', '2020-02-02', 'gpt-4o', 1, 1000, 1, 0, 0, 0, 0, 0),
	('b', '2020-01-15', 'local', 5, 100, 100, 0, 0, 0, 0, 0),
	('b', '2020-01-15', '', 5, 0, 0, 0, 0, 0, 0, 0),
	('c', '2020-01-15', 'gpt-4o', 5, 100000, 100, 0, 0, 0, 0, 0);
SELECT account_id, day, model, input_cost, cached_input_cost, cache_creation_cost, output_cost, cost
FROM memory.cost_daily ORDER BY 1, 2, 3;

--
-- Invoices
--
INSERT INTO memory.plan_prices (plan_id, component, valid_from, kind, meter, model, price, package_size, tiers, description) VALUES
	('pro', 'base', '2019-01-01', 'flat', NULL, NULL, 20, NULL, NULL, 'Pro plan'),
	('pro', 'base', '2020-01-10', 'flat', NULL, NULL, 25, NULL, NULL, 'Pro plan'),
	('pro', 'messages', '2019-01-01', 'package', 'messages', NULL, 0.333, 5, NULL, 'messages, by 5'),
	('pro', 'requests', '2019-01-01', 'unit', 'requests', NULL, 0.005, NULL, NULL, NULL),
	('pro', 'requests', '2020-01-31', 'unit', 'requests', NULL, 0.006, NULL, NULL, NULL),
	('pro', 'tokens', '2019-01-01', 'graduated', 'tokens', NULL, NULL, NULL, '[{"up_to": 5000, "unit_price": 0}, {"unit_price": 0.001}]', 'tokens'),
	('pro', 'claude', '2019-01-01', 'volume', 'output_tokens', 'claude', NULL, NULL, '[{"up_to": 10, "unit_price": 1}, {"unit_price": 0.011}]', NULL),
	('cost', 'models', '2019-01-01', 'model', NULL, NULL, 1.2, NULL, NULL, 'models, 20 % on top'),
	('gpt', 'models', '2019-01-01', 'model', NULL, 'gpt-4o', NULL, NULL, NULL, NULL);
SELECT * FROM memory.invoice('s', '2020-01-01', '2020-02-01', 'pro');
SELECT sum(amount) FILTER (WHERE component <> 'total') = sum(amount) FILTER (WHERE component = 'total') AS adds_up
FROM memory.invoice('s', '2020-01-01', '2020-02-01', 'pro');
SELECT * FROM memory.invoice('s', '2020-01-01', '2020-02-01', 'pro', 4) WHERE component IN ('messages', 'total');
-- the period's end is excluded, and the next begins there
SELECT component, quantity FROM memory.invoice('s', '2020-02-01', '2020-03-01', 'pro') WHERE component = 'messages';
-- a model without a price leaves the total open
SELECT line, component, model, quantity, price, amount FROM memory.invoice('s', '2020-01-01', '2020-02-01', 'cost', 6);
SELECT line, component, model, quantity, price, amount FROM memory.invoice('s', '2020-01-01', '2020-02-01', 'gpt', 6);
SELECT line, component, model, quantity, price, amount FROM memory.invoice('c', '2020-01-01', '2020-02-01', 'gpt');
-- nothing to pay; no plan; no such subscription
SELECT line, component, amount FROM memory.invoice('c', '2024-01-01', '2024-02-01', 'pro');
SELECT line, component, amount FROM memory.invoice('c', '2020-01-01', '2020-02-01');
SELECT line, component, amount FROM memory.invoice('none', '2020-01-01', '2020-02-01', 'cost');
-- a later price changes nothing that was invoiced
SELECT memory.import_model_prices('{"gpt-4o": {"input_cost_per_token": 1}}');
SELECT line, component, model, quantity, price, amount FROM memory.invoice('c', '2020-01-01', '2020-02-01', 'gpt');

--
-- A dashboard: one account among 100,000, with a year of usage.  Each view reads
-- the account's rows only.
--
TRUNCATE memory_store.accounts, memory_store.usage_daily;
INSERT INTO memory_store.accounts SELECT 'account ' || n, 'account ' || n, 1, now() FROM generate_series(1, 100000) n;
INSERT INTO memory_store.usage_daily (account_id, day, model, messages, input_tokens, output_tokens, content_bytes)
	SELECT 'account ' || n, '2020-01-01', 'gpt-4o', 1, 2, 3, 4 FROM generate_series(1, 100000) n;
INSERT INTO memory_store.usage_daily (account_id, day, model, messages, input_tokens, output_tokens, content_bytes)
	SELECT 'account 777', d, m, 10, 2000, 3000, 40000
	FROM generate_series('2020-01-02'::date, '2020-12-31', '1 day') d, unnest('{gpt-4o,claude,embed}'::text[]) m;
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'account ' || n % 500 + 500, lpad((n % 500)::text, 32, '0')::uuid, 'user', 'x' FROM generate_series(1, 3000) n;
SELECT count(memory.append('account ' || n, lpad((n - 500)::text, 32, '0')::uuid, 'user', 'in the tail')) FROM generate_series(500, 999) n;
VACUUM ANALYZE memory_store.usage_daily, memory_store.usage_calls, memory_store.accounts, memory_store.conversations, memory_store.tail,
	memory_store.segments, memory.model_prices;
-- Whether the scans of a query, prices apart, read few rows, and whether any is sequential.
CREATE FUNCTION rows_read(query text) RETURNS TABLE (few boolean, sequential boolean) LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ' || query INTO plan;
	RETURN QUERY
		SELECT sum(((n ->> 'Actual Rows')::numeric + COALESCE((n ->> 'Rows Removed by Filter')::numeric, 0)) * (n ->> 'Actual Loops')::numeric) < 5000,
			bool_or(n ->> 'Node Type' LIKE '%Seq Scan' AND n ->> 'Relation Name' <> 'usage_calls')
		FROM jsonb_path_query(plan, 'strict $.**?(@."Relation Name" != null)') n
		WHERE n ->> 'Relation Name' <> 'model_prices';
END
$$;
SELECT v, r.* FROM unnest('{usage_daily,usage_by_model,usage_current,cost_daily,storage,storage_daily}'::text[]) v,
	rows_read(format('SELECT * FROM memory.%I WHERE account_id = ''account 777''', v)) r;
SELECT r.* FROM rows_read('SELECT * FROM memory.usage_daily WHERE account_id = ''account 777'' AND day >= ''2020-12-01''') r;
SELECT count(*), sum(messages) FROM memory.usage_daily WHERE account_id = 'account 777';
SELECT count(*), sum(cost) FROM memory.cost_daily WHERE account_id = 'account 777' AND model = 'claude';

-- Not for writers
CREATE ROLE rating_role;
SELECT memory.grant_access('rating_role', 'writer');
SET ROLE rating_role;
SELECT count(*) FROM memory.cost_daily WHERE account_id = 'account 1';
SELECT count(*) FROM memory.model_prices;
SELECT * FROM memory.invoice('account 1', '2020-01-01', '2020-02-01');
RESET ROLE;
SELECT memory.revoke_access('rating_role');
DROP ROLE rating_role;

DROP FUNCTION rows_read;
\i :empty
