-- The views of usage.  A view adds up the rolled-up rows,
-- the tail's rows that are not counted (each is the ledger of its own usage),
-- and the recorded calls that wait; so it is exact at any moment.  A condition
-- on account_id reaches the index of each part.  Sums stop at the largest bigint: an error would
-- take everybody's numbers away for one account's.

-- The tail's part.  By conversation, so that one account's rows are found by
-- its conversations: the tail has no index on account_id.
CREATE VIEW memory_store.usage_ledger WITH (security_barrier = true) AS
	SELECT c.account_id, (t.created_at AT TIME ZONE 'UTC')::date AS day,
		COALESCE(t.model, '') COLLATE "C" AS model,
		CASE WHEN t.role = 'assistant' THEN 0 ELSE t.tokens END::bigint AS input_tokens,
		CASE WHEN t.role = 'assistant' THEN t.tokens ELSE 0 END::bigint AS output_tokens,
		octet_length(t.content)::bigint + COALESCE(octet_length(t.metadata), 0) AS content_bytes
	FROM memory_store.conversations c
	JOIN memory_store.tail t ON t.conversation_id = c.conversation_id
		AND t.account_id = c.account_id
	WHERE c.tail_count > 0 AND NOT t.counted AND memory.account_visible(c.account_id);
COMMENT ON VIEW memory_store.usage_ledger IS 'usage of messages that are not aggregated yet';

CREATE VIEW memory_store.usage_rolled WITH (security_barrier = true) AS
	SELECT u.* FROM memory_store.usage_daily u WHERE memory.account_visible(u.account_id);
COMMENT ON VIEW memory_store.usage_rolled IS
	'the rows of memory_store.usage_daily that the session may see';

CREATE VIEW memory_store.usage_waiting WITH (security_barrier = true) AS
	SELECT u.* FROM memory_store.usage_calls u WHERE memory.account_visible(u.account_id);
COMMENT ON VIEW memory_store.usage_waiting IS 'recorded calls that are not aggregated yet';

CREATE VIEW memory.usage_daily WITH (security_barrier = true) AS
	SELECT u.account_id, u.day, u.model,
		least(sum(u.messages), 9223372036854775807)::bigint AS messages,
		least(sum(u.requests), 9223372036854775807)::bigint AS requests,
		least(sum(u.input_tokens), 9223372036854775807)::bigint AS input_tokens,
		least(sum(u.cached_input_tokens), 9223372036854775807)::bigint AS cached_input_tokens,
		least(sum(u.cache_creation_tokens), 9223372036854775807)::bigint AS cache_creation_tokens,
		least(sum(u.output_tokens), 9223372036854775807)::bigint AS output_tokens,
		least(sum(u.content_bytes), 9223372036854775807)::bigint AS content_bytes,
		least(sum(u.imported_messages), 9223372036854775807)::bigint AS imported_messages,
		least(sum(u.imported_tokens), 9223372036854775807)::bigint AS imported_tokens,
		least(sum(u.imported_bytes), 9223372036854775807)::bigint AS imported_bytes
	FROM (
		SELECT r.account_id, r.day, r.model, r.messages, r.requests,
			r.input_tokens::numeric + r.request_input_tokens AS input_tokens,
			r.request_cached_input_tokens AS cached_input_tokens,
			r.request_cache_creation_tokens AS cache_creation_tokens,
			r.output_tokens::numeric + r.request_output_tokens AS output_tokens,
			r.content_bytes, r.imported_messages, r.imported_tokens, r.imported_bytes
		FROM memory_store.usage_rolled r
		WHERE greatest(r.messages, r.requests, r.imported_messages, r.content_bytes, r.input_tokens,
			r.output_tokens, r.imported_bytes) > 0
		UNION ALL
		SELECT l.account_id, l.day, l.model, count(*), 0,
			least(sum(l.input_tokens), 9223372036854775807)::bigint, 0, 0,
			least(sum(l.output_tokens), 9223372036854775807)::bigint,
			least(sum(l.content_bytes), 9223372036854775807)::bigint, 0, 0, 0
		FROM memory_store.usage_ledger l
		GROUP BY l.account_id, l.day, l.model
		UNION ALL
		SELECT w.account_id, w.day, w.model, 0, count(*),
			least(sum(w.input_tokens), 9223372036854775807)::bigint,
			least(sum(w.cached_input_tokens), 9223372036854775807)::bigint,
			least(sum(w.cache_creation_tokens), 9223372036854775807)::bigint,
				least(sum(w.output_tokens), 9223372036854775807)::bigint, 0, 0, 0, 0
		FROM memory_store.usage_waiting w
		GROUP BY w.account_id, w.day, w.model
	) u
	GROUP BY u.account_id, u.day, u.model;
COMMENT ON VIEW memory.usage_daily IS
	'usage by account, UTC day and model (empty: none named); token counts are disjoint; '
	'imported_ columns count backdated messages, which are not usage';

CREATE VIEW memory.usage_by_model WITH (security_barrier = true) AS
	SELECT u.account_id, date_trunc('month', u.day::timestamp)::date AS month, u.model,
		least(sum(u.messages), 9223372036854775807)::bigint AS messages,
		least(sum(u.requests), 9223372036854775807)::bigint AS requests,
		least(sum(u.input_tokens), 9223372036854775807)::bigint AS input_tokens,
		least(sum(u.cached_input_tokens), 9223372036854775807)::bigint AS cached_input_tokens,
		least(sum(u.cache_creation_tokens), 9223372036854775807)::bigint AS cache_creation_tokens,
		least(sum(u.output_tokens), 9223372036854775807)::bigint AS output_tokens,
		least(sum(u.content_bytes), 9223372036854775807)::bigint AS content_bytes
	FROM memory.usage_daily u
	GROUP BY 1, 2, 3;
COMMENT ON VIEW memory.usage_by_model IS
	'usage by account, calendar month (UTC; its first day) and model';

CREATE VIEW memory.usage_current WITH (security_barrier = true) AS
	SELECT u.account_id, min(p.month) AS month,
		least(sum(u.messages), 9223372036854775807)::bigint AS messages,
		least(sum(u.requests), 9223372036854775807)::bigint AS requests,
		least(sum(u.input_tokens), 9223372036854775807)::bigint AS input_tokens,
		least(sum(u.cached_input_tokens), 9223372036854775807)::bigint AS cached_input_tokens,
		least(sum(u.cache_creation_tokens), 9223372036854775807)::bigint AS cache_creation_tokens,
		least(sum(u.output_tokens), 9223372036854775807)::bigint AS output_tokens,
		least(sum(u.input_tokens::numeric + u.cached_input_tokens + u.cache_creation_tokens +
			u.output_tokens), 9223372036854775807)::bigint AS tokens,
		least(sum(u.content_bytes), 9223372036854775807)::bigint AS content_bytes
	FROM (SELECT date_trunc('month', CURRENT_TIMESTAMP AT TIME ZONE 'UTC')::date AS month) p
	CROSS JOIN memory.usage_daily u
	WHERE u.day >= date_trunc('month', CURRENT_TIMESTAMP AT TIME ZONE 'UTC')::date
		AND u.day <
			(date_trunc('month', CURRENT_TIMESTAMP AT TIME ZONE 'UTC') + interval '1 month')::date
	GROUP BY u.account_id;
COMMENT ON VIEW memory.usage_current IS 'usage of the current calendar month (UTC) by account';

-- What is stored, day by day: all that came, imports included, less what was deleted.
CREATE VIEW memory.storage_daily WITH (security_barrier = true) AS
	SELECT d.account_id, d.day, d.added_messages, d.removed_messages, d.added_bytes,
		d.removed_bytes,
		sum(d.added_messages - d.removed_messages) OVER days::bigint AS messages,
		sum(d.added_bytes - d.removed_bytes) OVER days::bigint AS content_bytes
	FROM (
		SELECT u.account_id, u.day,
			least(sum(u.added_messages), 9223372036854775807)::bigint AS added_messages,
				least(sum(u.removed_messages), 9223372036854775807)::bigint AS removed_messages,
			least(sum(u.added_bytes), 9223372036854775807)::bigint AS added_bytes,
				least(sum(u.removed_bytes), 9223372036854775807)::bigint AS removed_bytes
		FROM (
			SELECT r.account_id, r.day, r.messages + r.imported_messages AS added_messages,
				r.removed_messages,
				r.content_bytes + r.imported_bytes AS added_bytes, r.removed_bytes
			FROM memory_store.usage_rolled r
			UNION ALL
			SELECT l.account_id, l.day, 1, 0, l.content_bytes, 0 FROM memory_store.usage_ledger l
		) u
		GROUP BY u.account_id, u.day
	) d
	WINDOW days AS (PARTITION BY d.account_id ORDER BY d.day);
COMMENT ON VIEW memory.storage_daily IS
	'messages and bytes that were added and removed, by UTC day, and how many were '
	'stored at its end; imports are listed on the day they were created';

-- Must be empty.  The data's side are the conversations' counters, which
-- memory.verify() compares with the messages.  A subscription's counter, less
-- what stands outside the store, is compared with what its accounts hold, and
-- what it has reserved with its reservations.
CREATE VIEW memory.usage_drift WITH (security_barrier = true) AS
	WITH stored AS (
		SELECT c.account_id, count(*) FILTER (WHERE c.deleted_at IS NULL) AS conversations,
			least(sum(c.message_count), 9223372036854775807)::bigint AS messages,
				least(sum(c.token_count), 9223372036854775807)::bigint AS tokens,
			least(sum(c.content_bytes), 9223372036854775807)::bigint AS content_bytes
		FROM memory_store.conversations c
		WHERE memory.account_visible(c.account_id)
		GROUP BY c.account_id
	)
	SELECT account_id, v.meter, v.metered, v.stored, NULL::text AS subscription_id
	FROM (
		SELECT u.account_id, least(sum(u.messages), 9223372036854775807)::bigint AS messages,
			least(sum(u.tokens), 9223372036854775807)::bigint AS tokens,
			least(sum(u.content_bytes), 9223372036854775807)::bigint AS content_bytes
		FROM (
			SELECT r.account_id, r.messages + r.imported_messages - r.removed_messages AS messages,
				r.input_tokens + r.output_tokens + r.imported_tokens - r.removed_tokens AS tokens,
				r.content_bytes + r.imported_bytes - r.removed_bytes AS content_bytes
			FROM memory_store.usage_rolled r
			UNION ALL
			SELECT l.account_id, 1, l.input_tokens + l.output_tokens, l.content_bytes
			FROM memory_store.usage_ledger l
		) u
		GROUP BY u.account_id
	) m
	FULL JOIN stored s USING (account_id)
	CROSS JOIN LATERAL (VALUES
		('messages', COALESCE(m.messages, 0), COALESCE(s.messages, 0)),
		('tokens', COALESCE(m.tokens, 0), COALESCE(s.tokens, 0)),
		('content_bytes', COALESCE(m.content_bytes, 0), COALESCE(s.content_bytes, 0))
	) v (meter, metered, stored)
	WHERE v.metered <> v.stored
	UNION ALL
	SELECT NULL, v.meter, v.metered, v.stored, s.subscription_id
	FROM memory_store.subscriptions s
	LEFT JOIN (
		SELECT a.subscription_id, least(sum(d.conversations), 9223372036854775807)::bigint
			AS conversations, least(sum(d.content_bytes), 9223372036854775807)::bigint
			AS content_bytes
		FROM memory_store.accounts a JOIN stored d USING (account_id)
		GROUP BY 1
	) d USING (subscription_id)
	LEFT JOIN (
		SELECT r.subscription_id, sum(r.amount) FILTER (WHERE r.meter = 'messages') AS messages,
			sum(r.amount) FILTER (WHERE r.meter = 'tokens') AS tokens,
			sum(r.amount) FILTER (WHERE r.meter = 'conversations') AS conversations,
			sum(r.amount) FILTER (WHERE r.meter = 'content_bytes') AS content_bytes
		FROM memory_store.reservations r WHERE r.state = 'held'
		GROUP BY 1
	) r USING (subscription_id)
	CROSS JOIN LATERAL (VALUES
		('conversations', s.conversations - s.outside_conversations, COALESCE(d.conversations, 0)),
		('content_bytes', s.content_bytes - s.outside_content_bytes, COALESCE(d.content_bytes, 0)),
		('reserved messages', s.reserved_messages, COALESCE(r.messages, 0)::bigint),
		('reserved tokens', s.reserved_tokens, COALESCE(r.tokens, 0)::bigint),
		('reserved conversations', s.reserved_conversations, COALESCE(r.conversations, 0)::bigint),
		('reserved content_bytes', s.reserved_content_bytes, COALESCE(r.content_bytes, 0)::bigint)
	) v (meter, metered, stored)
	WHERE v.metered <> v.stored AND memory.account_visible(s.subscription_id)
		-- a confined session sees one account, the subscription may have others
		AND NOT EXISTS (SELECT FROM memory_store.accounts a
			WHERE a.subscription_id = s.subscription_id AND a.subscription_id <> a.account_id
				AND NOT memory.account_visible(a.account_id));
COMMENT ON VIEW memory.usage_drift IS
	'must be empty: accounts whose usage, less what was removed, differs from their '
	'conversations; subscriptions whose counters differ from their levels and reservations';

INSERT INTO memory_store.grants VALUES
	('SELECT ON memory.usage_daily', 'reader'),
	('SELECT ON memory.usage_by_model', 'reader'),
	('SELECT ON memory.usage_current', 'reader'),
	('SELECT ON memory.storage_daily', 'reader'),
	('SELECT ON memory.usage_drift', 'operator'),
	('SELECT ON memory.usage_daily', 'monitor'),
	('SELECT ON memory.usage_by_model', 'monitor'),
	('SELECT ON memory.usage_current', 'monitor'),
	('SELECT ON memory.storage_daily', 'monitor'),
	('SELECT ON memory.usage_drift', 'monitor');
