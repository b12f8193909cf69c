-- Rating: what usage costs.  All in numeric; only an invoice rounds.  A missing
-- price is null, never 0.  Prices are versioned by the day from which they hold,
-- and usage is rated by the price of its day; so a rated day keeps its price.

CREATE TABLE memory.model_prices (
	model text COLLATE "C" NOT NULL,
	valid_from date NOT NULL,
	input_cost_per_token numeric CHECK (input_cost_per_token >= 0),
	output_cost_per_token numeric CHECK (output_cost_per_token >= 0),
	cached_input_cost_per_token numeric CHECK (cached_input_cost_per_token >= 0),
	cache_creation_cost_per_token numeric CHECK (cache_creation_cost_per_token >= 0),
	provider text,
	mode text,
	other_costs jsonb,
	PRIMARY KEY (model, valid_from)
);
COMMENT ON TABLE memory.model_prices IS
	'what a model''s tokens cost from a UTC day on, until a later row of the model; null: unknown';
COMMENT ON COLUMN memory.model_prices.other_costs IS
	'other prices that an import found: batches, audio, long contexts; rating does not use them';

-- Half-open tiers: each begins where the one before ends, so there are no gaps.
CREATE FUNCTION memory_store.check_tiers(tiers jsonb) RETURNS boolean
	LANGUAGE sql IMMUTABLE STRICT
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_typeof(tiers) = 'array' AND count(*) > 0
		AND bool_and(jsonb_typeof(t) = 'object'
			AND COALESCE(jsonb_typeof(t -> 'unit_price') IN ('number', 'null'), true)
			AND COALESCE(jsonb_typeof(t -> 'flat_price') IN ('number', 'null'), true)
			AND CASE WHEN next IS NULL THEN COALESCE(jsonb_typeof(t -> 'up_to') = 'null', true)
				ELSE jsonb_typeof(t -> 'up_to') = 'number'
					AND (t ->> 'up_to')::numeric > before END)
	FROM (
		SELECT t, lead(n) OVER (ORDER BY n) AS next,
			COALESCE(CASE WHEN jsonb_typeof(lag(t) OVER (ORDER BY n) -> 'up_to') = 'number'
				THEN (lag(t) OVER (ORDER BY n) ->> 'up_to')::numeric END, 0) AS before
		FROM jsonb_array_elements(CASE WHEN jsonb_typeof(tiers) = 'array' THEN tiers ELSE '[]' END)
			WITH ORDINALITY e (t, n)
	) tier
$$;
COMMENT ON FUNCTION memory_store.check_tiers(jsonb) IS
	'whether tiers are an array of objects with unit_price and flat_price, and an increasing '
	'up_to that only the last one lacks';

CREATE TABLE memory.plan_prices (
	plan_id text COLLATE "C" NOT NULL,
	component text COLLATE "C" NOT NULL CHECK (component <> 'total'),
	valid_from date NOT NULL,
	kind text NOT NULL CHECK (kind IN ('flat', 'unit', 'graduated', 'volume', 'package', 'model')),
	meter text CHECK (meter IN ('messages', 'requests', 'input_tokens', 'cached_input_tokens',
		'cache_creation_tokens', 'output_tokens', 'tokens', 'content_bytes')),
	model text COLLATE "C",
	price numeric,
	package_size numeric CHECK (package_size > 0),
	tiers jsonb CHECK (memory_store.check_tiers(tiers)),
	description text,
	PRIMARY KEY (plan_id, component, valid_from),
	CHECK ((meter IS NULL) = (kind IN ('flat', 'model'))),
	CHECK ((package_size IS NULL) = (kind <> 'package')),
	CHECK ((tiers IS NULL) = (kind NOT IN ('graduated', 'volume')))
);
COMMENT ON TABLE memory.plan_prices IS
	'the components of a plan''s price, from a UTC day on; plan_id empty: for subscriptions '
	'without a plan';
COMMENT ON COLUMN memory.plan_prices.kind IS
	'flat: a fee per period; unit: by quantity; package: for each package begun; graduated: each '
	'tier''s part at its price; volume: everything at the price of the tier reached; model: the '
	'models'' own prices, times price';
COMMENT ON COLUMN memory.plan_prices.model IS 'counts this model''s usage only; null: all';

SELECT pg_catalog.pg_extension_config_dump('memory.model_prices', '');
SELECT pg_catalog.pg_extension_config_dump('memory.plan_prices', '');

CREATE FUNCTION memory.rate(
	kind text,
	quantity numeric,
	price numeric DEFAULT NULL,
	package_size numeric DEFAULT NULL,
	tiers jsonb DEFAULT NULL
) RETURNS numeric
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE kind
		WHEN 'flat' THEN price
		WHEN 'unit' THEN quantity * price
		WHEN 'package' THEN ceil(quantity / package_size) * price
		WHEN 'graduated' THEN CASE WHEN quantity > 0 THEN (
			SELECT CASE WHEN bool_and(g.amount IS NOT NULL) THEN sum(g.amount) END
			FROM (
				SELECT CASE WHEN t.unit_price IS NOT NULL OR t.flat_price IS NOT NULL THEN
					COALESCE(t.flat_price, 0) + (least(quantity, t.up_to) - t.before) *
						COALESCE(t.unit_price, 0) END AS amount
				FROM (
					SELECT (e.tier ->> 'up_to')::numeric AS up_to,
						(e.tier ->> 'unit_price')::numeric AS unit_price,
						(e.tier ->> 'flat_price')::numeric AS flat_price,
						COALESCE(lag((e.tier ->> 'up_to')::numeric) OVER (ORDER BY e.n), 0)
							AS before
					FROM jsonb_array_elements(tiers) WITH ORDINALITY e (tier, n)
				) t
				WHERE quantity > t.before
			) g)
			ELSE quantity * 0 END
		WHEN 'volume' THEN CASE WHEN quantity > 0 THEN (
			SELECT CASE WHEN e.tier ->> 'unit_price' IS NOT NULL OR e.tier ->> 'flat_price'
				IS NOT NULL THEN
				COALESCE((e.tier ->> 'flat_price')::numeric, 0) + quantity *
					COALESCE((e.tier ->> 'unit_price')::numeric, 0) END
			FROM jsonb_array_elements(tiers) WITH ORDINALITY e (tier, n)
			WHERE e.tier ->> 'up_to' IS NULL OR quantity <= (e.tier ->> 'up_to')::numeric
			ORDER BY e.n LIMIT 1)
			ELSE quantity * 0 END
	END;
END;
COMMENT ON FUNCTION memory.rate(text, numeric, numeric, numeric, jsonb) IS
	'what a quantity costs, not rounded: flat, unit, package, graduated or volume; null: a price '
	'is missing';

-- Each product is computed once, in the subquery: its LIMIT keeps it from being
-- copied to where it is used.
CREATE VIEW memory.cost_daily WITH (security_barrier = true) AS
	SELECT u.account_id, u.day, u.model,
		CASE WHEN u.input_tokens > 0 THEN p.input_cost ELSE 0 END AS input_cost,
		CASE WHEN u.cached_input_tokens > 0 THEN p.cached_input_cost ELSE 0 END
			AS cached_input_cost,
		CASE WHEN u.cache_creation_tokens > 0 THEN p.cache_creation_cost ELSE 0 END
			AS cache_creation_cost,
		CASE WHEN u.output_tokens > 0 THEN p.output_cost ELSE 0 END AS output_cost,
		CASE WHEN u.input_tokens > 0 THEN p.input_cost ELSE 0 END
			+ CASE WHEN u.cached_input_tokens > 0 THEN p.cached_input_cost ELSE 0 END
			+ CASE WHEN u.cache_creation_tokens > 0 THEN p.cache_creation_cost ELSE 0 END
			+ CASE WHEN u.output_tokens > 0 THEN p.output_cost ELSE 0 END AS cost
	FROM memory.usage_daily u
	LEFT JOIN LATERAL (
		SELECT CASE WHEN u.input_tokens > 0 THEN u.input_tokens * m.input_cost_per_token END
			AS input_cost,
			CASE WHEN u.cached_input_tokens > 0
				THEN u.cached_input_tokens * m.cached_input_cost_per_token END AS cached_input_cost,
			CASE WHEN u.cache_creation_tokens > 0
				THEN u.cache_creation_tokens * m.cache_creation_cost_per_token END
				AS cache_creation_cost,
			CASE WHEN u.output_tokens > 0 THEN u.output_tokens * m.output_cost_per_token END
				AS output_cost
		FROM memory.model_prices m
		WHERE m.model = u.model AND m.valid_from <= u.day
		ORDER BY m.valid_from DESC LIMIT 1
	) p ON true
	WHERE greatest(u.messages, u.requests, u.input_tokens, u.cached_input_tokens,
		u.cache_creation_tokens, u.output_tokens) > 0;
COMMENT ON VIEW memory.cost_daily IS
	'usage_daily at the prices of the day, not rounded; null: a price is missing';

-- LiteLLM's model_prices_and_context_window.json, a row for each model that has any cost.
CREATE FUNCTION memory_store.parse_model_prices(prices jsonb) RETURNS TABLE (
	model text, input numeric, output numeric, cached numeric, creation numeric, provider text,
		mode text, other jsonb)
	LANGUAGE sql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT m.key, c.input, c.output, c.cached, c.creation, m.value ->> 'litellm_provider',
		m.value ->> 'mode', c.other
	FROM jsonb_each(prices) m
	CROSS JOIN LATERAL (
		SELECT
			max((k.value #>> '{}')::numeric) FILTER (WHERE k.key = 'input_cost_per_token'
				AND jsonb_typeof(k.value) = 'number') AS input,
			max((k.value #>> '{}')::numeric) FILTER (WHERE k.key = 'output_cost_per_token'
				AND jsonb_typeof(k.value) = 'number') AS output,
			max((k.value #>> '{}')::numeric) FILTER (WHERE k.key = 'cache_read_input_token_cost'
				AND jsonb_typeof(k.value) = 'number') AS cached,
			max((k.value #>> '{}')::numeric) FILTER (WHERE k.key = 'cache_creation_input_token_cost'
				AND jsonb_typeof(k.value) = 'number') AS creation,
			jsonb_object_agg(k.key, k.value) FILTER (WHERE k.key LIKE '%cost%'
				AND k.key NOT IN ('input_cost_per_token',
				'output_cost_per_token', 'cache_read_input_token_cost',
					'cache_creation_input_token_cost')) AS other
		FROM jsonb_each(CASE jsonb_typeof(m.value) WHEN 'object' THEN m.value ELSE '{}' END) k
	) c
	WHERE m.key <> 'sample_spec'
		AND (COALESCE(c.input, c.output, c.cached, c.creation) IS NOT NULL OR c.other IS NOT NULL)
$$;
COMMENT ON FUNCTION memory_store.parse_model_prices(jsonb) IS
	'a price map as rows, without sample_spec and models that have no cost';

CREATE FUNCTION memory.import_model_prices(prices jsonb, valid_from date DEFAULT NULL)
	RETURNS bigint
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
	from_day date := COALESCE($2, today);
	rated text;
	imported bigint;
BEGIN
	PERFORM memory_store.outbox_check_consumer('prices');
	IF jsonb_typeof($1) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'prices must be a JSON object' USING ERRCODE = '22023',
			HINT =
				'Its keys are models, its values objects with input_cost_per_token, '
				'output_cost_per_token and the like.';
	END IF;
	SELECT n.model INTO rated FROM memory_store.parse_model_prices($1) n
		WHERE least(n.input, n.output, n.cached, n.creation) < 0 ORDER BY 1 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'model "%" has a negative price', rated USING ERRCODE = '22023';
	END IF;
	IF from_day < today THEN
		SELECT n.model INTO rated FROM memory_store.parse_model_prices($1) n
			WHERE EXISTS (SELECT FROM memory.model_prices p WHERE p.model = n.model
				AND p.valid_from < today)
			ORDER BY 1 LIMIT 1;
		IF FOUND THEN
			RAISE EXCEPTION 'model "%" has a price already, which a day in the past keeps', rated
				USING ERRCODE = '22023',
				HINT = 'Give a valid_from that is today or later.';
		END IF;
	END IF;

	-- only what differs from the price that would hold anyway is a new version
	INSERT INTO memory.model_prices
		AS m (model, valid_from, input_cost_per_token, output_cost_per_token,
			cached_input_cost_per_token, cache_creation_cost_per_token, provider, mode, other_costs)
		SELECT n.model, from_day, n.input, n.output, n.cached, n.creation, n.provider,
			n.mode, n.other
		FROM memory_store.parse_model_prices($1) n
		LEFT JOIN LATERAL (SELECT p.* FROM memory.model_prices p
			WHERE p.model = n.model AND p.valid_from <= from_day ORDER BY p.valid_from DESC LIMIT 1)
				p ON true
		WHERE p.model IS NULL
			OR (p.input_cost_per_token, p.output_cost_per_token, p.cached_input_cost_per_token,
				p.cache_creation_cost_per_token, p.provider, p.mode, p.other_costs)
			IS DISTINCT FROM (n.input, n.output, n.cached, n.creation, n.provider, n.mode, n.other)
		ORDER BY n.model
		ON CONFLICT (model, valid_from) DO UPDATE
			SET input_cost_per_token = excluded.input_cost_per_token,
			output_cost_per_token = excluded.output_cost_per_token,
			cached_input_cost_per_token = excluded.cached_input_cost_per_token,
			cache_creation_cost_per_token = excluded.cache_creation_cost_per_token,
			provider = excluded.provider, mode = excluded.mode, other_costs = excluded.other_costs;
	GET DIAGNOSTICS imported = ROW_COUNT;
	RETURN imported;
END
$$;
COMMENT ON FUNCTION memory.import_model_prices(jsonb, date) IS
	'reads a price map with the keys of LiteLLM, valid from a UTC day on (null: today), and '
	'returns how many models have a new price';

CREATE FUNCTION memory_store.subscription_plan(subscription_id text, day date) RETURNS text
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT COALESCE((SELECT p.plan_id FROM memory_store.subscription_plans p
			WHERE p.subscription_id = subscription_plan.subscription_id
				AND p.valid_from < (subscription_plan.day + 1)::timestamp AT TIME ZONE 'UTC'
			ORDER BY p.valid_from DESC LIMIT 1),
		(SELECT p.plan_id FROM memory.plans p WHERE p.is_default));
END;
COMMENT ON FUNCTION memory_store.subscription_plan(text, date) IS
	'the plan that a subscription has on a day; null: none';

CREATE FUNCTION memory.invoice(
	subscription_id text,
	from_day date,
	to_day date,
	plan_id text DEFAULT NULL,
	decimals integer DEFAULT 2
) RETURNS TABLE (
	line integer, component text, description text, model text, line_from date, line_to date,
	quantity numeric, price numeric, amount numeric)
	LANGUAGE sql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH usage AS MATERIALIZED (
		SELECT u.day, u.model, v.meter, sum(v.quantity) AS quantity
		FROM memory_store.accounts a
		JOIN memory.usage_daily u ON u.account_id = a.account_id
		CROSS JOIN LATERAL (VALUES ('messages', u.messages), ('requests', u.requests),
			('input_tokens', u.input_tokens),
			('cached_input_tokens', u.cached_input_tokens),
				('cache_creation_tokens', u.cache_creation_tokens),
			('output_tokens', u.output_tokens),
			('tokens', u.input_tokens::numeric + u.cached_input_tokens + u.cache_creation_tokens +
				u.output_tokens),
			('content_bytes', u.content_bytes)) v (meter, quantity)
		WHERE (a.subscription_id = $1 AND (a.account_id = $1 OR a.subscription_id <> a.account_id))
			AND u.day >= $2 AND u.day < $3
		GROUP BY u.day, u.model, v.meter
	), cost AS MATERIALIZED (
		SELECT c.day, c.model, CASE WHEN bool_and(c.cost IS NOT NULL) THEN sum(c.cost) END AS cost
		FROM memory_store.accounts a
		JOIN memory.cost_daily c ON c.account_id = a.account_id
		WHERE (a.subscription_id = $1 AND (a.account_id = $1 OR a.subscription_id <> a.account_id))
			AND c.day >= $2 AND c.day < $3
		GROUP BY c.day, c.model
	), part AS (
		-- a component's price may change within the period: each version rates its days
		SELECT p.*, greatest(p.valid_from, $2) AS part_from, least(p.valid_to, $3) AS part_to,
			row_number() OVER (PARTITION BY p.component ORDER BY p.valid_from) AS version
		FROM (
			SELECT p.*,
				COALESCE(lead(p.valid_from) OVER (PARTITION BY p.component ORDER BY p.valid_from),
				'infinity') AS valid_to
			FROM memory.plan_prices p
			WHERE p.plan_id = COALESCE($4, memory_store.subscription_plan($1, $2), '')
		) p
		WHERE p.valid_from < $3 AND p.valid_to > $2
	), item AS (
		SELECT p.component, p.description, NULL::text AS model, p.part_from, $3 AS part_to,
			1::numeric AS quantity,
			p.price, memory.rate('flat', 1, p.price) AS amount
		FROM part p WHERE p.kind = 'flat' AND p.version = 1
		UNION ALL
		SELECT p.component, p.description, p.model, p.part_from, p.part_to, q.quantity, p.price,
			memory.rate(p.kind, q.quantity, p.price, p.package_size, p.tiers)
		FROM part p
		CROSS JOIN LATERAL (SELECT COALESCE(sum(u.quantity), 0) AS quantity FROM usage u
			WHERE u.meter = p.meter AND u.day >= p.part_from AND u.day < p.part_to
				AND (p.model IS NULL OR u.model = p.model)) q
		WHERE p.kind NOT IN ('flat', 'model')
		UNION ALL
		SELECT p.component, p.description, c.model, p.part_from, p.part_to, q.quantity, p.price,
			CASE WHEN bool_and(c.cost IS NOT NULL) THEN sum(c.cost) END * COALESCE(p.price, 1)
		FROM part p
		JOIN cost c ON c.day >= p.part_from AND c.day < p.part_to
			AND (p.model IS NULL OR c.model = p.model)
		CROSS JOIN LATERAL (SELECT COALESCE(sum(u.quantity), 0) AS quantity FROM usage u
			WHERE u.meter = 'tokens' AND u.model = c.model AND u.day >= p.part_from
				AND u.day < p.part_to) q
		WHERE p.kind = 'model'
		GROUP BY p.component, p.description, c.model, p.part_from, p.part_to, p.price, q.quantity
		HAVING q.quantity > 0
	), rounded AS (
		SELECT row_number() OVER (ORDER BY i.component, i.part_from, i.model)::integer AS line, i.*,
			round(i.amount, $5) AS rounded
		FROM item i
	)
	SELECT r.line, r.component, r.description, r.model, r.part_from, r.part_to, r.quantity, r.price,
		r.rounded
	FROM rounded r
	UNION ALL
	SELECT (count(*) + 1)::integer, 'total', NULL, NULL, $2, $3, NULL, NULL,
		CASE WHEN COALESCE(bool_and(r.rounded IS NOT NULL), true)
			THEN round(COALESCE(sum(r.rounded), 0), $5) END
	FROM rounded r
	ORDER BY 1
$$;
COMMENT ON FUNCTION memory.invoice(text, date, date, text, integer) IS
	'what a subscription owes for the UTC days from from_day to before to_day: a rounded line '
	'for each component, and a line total with their sum; null: a price is missing';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.rate(text, numeric, numeric, numeric, jsonb)', 'reader'),
	('SELECT ON memory.cost_daily', 'reader'),
	('SELECT ON memory.cost_daily', 'monitor'),
	('SELECT ON memory.model_prices', 'operator'),
	('SELECT ON memory.plan_prices', 'operator'),
	('EXECUTE ON FUNCTION memory.import_model_prices(jsonb, date)', 'operator'),
	('EXECUTE ON FUNCTION memory.invoice(text, date, date, text, integer)', 'operator');
