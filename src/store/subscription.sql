-- Subscriptions: who pays, and where a subscription stands.

CREATE FUNCTION memory.subscribe(subscription_id text, plan_id text,
	starts_at timestamptz DEFAULT NULL, time_zone text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_subscribe' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.subscribe(text, text, timestamptz, text) IS
	'creates a subscription with a plan; its periods are counted from starts_at in its time zone';

CREATE FUNCTION memory.set_subscription(account_id text, subscription_id text) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_set_subscription' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.set_subscription(text, text) IS
	'assigns an account to a subscription; the levels of its conversations move with it';

CREATE FUNCTION memory.recount(subscription_id text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'memory_recount' LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION memory.recount(text) IS
	'counts anew what stands in a subscription''s accounts and what is reserved; returns whether '
	'the counters were wrong';

-- A session that is confined to one account sees where the account's
-- subscription stands, as memory.check_quota tells it, too.
--
-- A row is brought to the present when it is next written; the views show the
-- present before: a plan that was to change has changed, a period that has
-- ended counts 0, an expired reservation holds nothing.
CREATE VIEW memory.subscriptions WITH (security_barrier = true) AS
	SELECT s.subscription_id,
		COALESCE(CASE WHEN s.next_plan_at <= now() THEN s.next_plan_id END, s.plan_id,
			(SELECT p.plan_id FROM memory.plans p WHERE p.is_default)) AS plan_id,
		s.starts_at, s.time_zone,
		CASE WHEN s.next_plan_at > now() THEN s.next_plan_id END AS next_plan_id,
		CASE WHEN s.next_plan_at > now() THEN s.next_plan_at END AS next_plan_at
	FROM memory_store.subscriptions s
	WHERE memory.account_visible(s.subscription_id)
		OR s.subscription_id = (SELECT a.subscription_id FROM memory_store.accounts a
			WHERE a.account_id = current_setting('memory_ext.account', true)
				AND memory.account_visible(a.account_id));
COMMENT ON VIEW memory.subscriptions IS
	'who pays: plan, anchor of the periods, and the next change of plan';

CREATE VIEW memory.quota_usage WITH (security_barrier = true) AS
	SELECT s.subscription_id, l.plan_id, l.meter, l.period, u.used, u.reserved, l.limit_value,
		l.enforcement,
		round(100 * (u.used::numeric + u.reserved) / NULLIF(l.limit_value, 0), 2) AS percent,
		CASE WHEN b.period_end > now() THEN b.period_start END AS period_start,
		CASE WHEN b.period_end > now() THEN b.period_end END AS period_end
	FROM memory_store.subscriptions s
	JOIN memory.plan_limits l
		ON l.plan_id = COALESCE(CASE WHEN s.next_plan_at <= now() THEN s.next_plan_id END,
		s.plan_id,
		(SELECT p.plan_id FROM memory.plans p WHERE p.is_default))
	CROSS JOIN LATERAL (
		SELECT CASE l.period WHEN 'hour' THEN s.hour_start WHEN 'day' THEN s.day_start
			WHEN 'month' THEN s.month_start END AS period_start,
			CASE l.period WHEN 'hour' THEN s.hour_end WHEN 'day' THEN s.day_end
				WHEN 'month' THEN s.month_end END AS period_end,
			CASE l.meter
				WHEN 'messages' THEN CASE l.period WHEN 'hour' THEN s.messages_hour
					WHEN 'day' THEN s.messages_day
					WHEN 'month' THEN s.messages_month ELSE s.messages_lifetime END
				WHEN 'tokens' THEN CASE l.period WHEN 'hour' THEN s.tokens_hour
					WHEN 'day' THEN s.tokens_day
					WHEN 'month' THEN s.tokens_month ELSE s.tokens_lifetime END
				WHEN 'conversations' THEN s.conversations ELSE s.content_bytes END AS used,
			CASE l.meter WHEN 'messages' THEN s.reserved_messages
				WHEN 'tokens' THEN s.reserved_tokens
				WHEN 'conversations' THEN s.reserved_conversations ELSE s.reserved_content_bytes END
					AS reserved
	) b
	CROSS JOIN LATERAL (
		SELECT CASE WHEN b.period_end <= now() THEN 0 ELSE b.used END AS used,
			(b.reserved - COALESCE((SELECT sum(r.amount) FROM memory_store.reservations r
				WHERE r.subscription_id = s.subscription_id AND r.state = 'held'
					AND r.expires_at <= now() AND r.meter = l.meter), 0))::bigint AS reserved
	) u
	WHERE memory.account_visible(s.subscription_id)
		OR s.subscription_id = (SELECT a.subscription_id FROM memory_store.accounts a
			WHERE a.account_id = current_setting('memory_ext.account', true)
				AND memory.account_visible(a.account_id));
COMMENT ON VIEW memory.quota_usage IS
	'percent of each limit that a subscription has used in the period';

CREATE FUNCTION memory.load_example_plans() RETURNS void LANGUAGE sql VOLATILE
BEGIN ATOMIC
	INSERT INTO memory.plans (plan_id, title, price) VALUES
		('free', 'Free', 0), ('pro', 'Pro', 20), ('team', 'Team', 100)
		ON CONFLICT DO NOTHING;
	INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES
		('free', 'messages', 'day', 100), ('free', 'tokens', 'month', 200000),
		('free', 'conversations', 'current', 50), ('free', 'content_bytes', 'current', 10485760),
		('pro', 'messages', 'day', 2000), ('pro', 'tokens', 'month', 10000000),
		('pro', 'conversations', 'current', 5000), ('pro', 'content_bytes', 'current', 1073741824),
		('team', 'tokens', 'month', 100000000), ('team', 'content_bytes', 'current', 10737418240)
		ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION memory.load_example_plans() IS
	'inserts example plans free, pro and team with limits; existing ones are not changed';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.subscribe(text, text, timestamptz, text)', 'operator'),
	('EXECUTE ON FUNCTION memory.set_subscription(text, text)', 'operator'),
	('EXECUTE ON FUNCTION memory.recount(text)', 'operator'),
	('EXECUTE ON FUNCTION memory.load_example_plans()', 'operator'),
	('SELECT ON memory.subscriptions', 'reader'),
	('SELECT ON memory.quota_usage', 'reader'),
	('SELECT ON memory.subscriptions', 'monitor'),
	('SELECT ON memory.quota_usage', 'monitor');
