-- The outbox: billing events, at least once, in an order that a late commit
-- does not disturb.
--
-- An event is written in the transaction that causes it, without a position.
-- Reading gives positions to all events that have been committed and have
-- none, one reader at a time; so whatever commits later stands behind whatever
-- was read before, and an offset never skips it.  (An order by transaction id,
-- read up to the oldest running transaction, would do as well, but holds all
-- events back while any transaction of the server runs, such as a long import,
-- and does not survive a dump, after which transactions are numbered anew.)

CREATE TYPE memory.outbox_event AS (
	"position" bigint,
	event_id uuid,
	type text,
	subscription_id text,
	account_id text,
	occurred_at timestamptz,
	data jsonb
);
COMMENT ON TYPE memory.outbox_event IS 'a billing event, as memory.outbox_read returns it';

CREATE FUNCTION memory_store.outbox_check_consumer(consumer text) RETURNS text
	AS 'MODULE_PATHNAME', 'memory_outbox_check_consumer' LANGUAGE C STABLE;
COMMENT ON FUNCTION memory_store.outbox_check_consumer(text) IS
	'the name; an error when it is null, empty or too long, or the session is confined';

-- The row of the empty name holds the last position; its lock lets readers
-- number one by one.  A reader with nothing to number does not wait.
CREATE FUNCTION memory_store.outbox_number() RETURNS void LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	last bigint;
	numbered bigint;
BEGIN
	IF NOT EXISTS (SELECT FROM memory_store.outbox WHERE position IS NULL) THEN
		RETURN;
	END IF;
	INSERT INTO memory_store.outbox_consumers (consumer, acknowledged)
		VALUES ('', 0) ON CONFLICT DO NOTHING;
	SELECT acknowledged INTO last FROM memory_store.outbox_consumers WHERE consumer = '' FOR UPDATE;
	WITH unread AS (
		SELECT event_id, row_number() OVER (ORDER BY occurred_at, event_id) AS n
		FROM memory_store.outbox WHERE position IS NULL
	)
	UPDATE memory_store.outbox o SET position = last + u.n FROM unread u
		WHERE o.event_id = u.event_id;
	GET DIAGNOSTICS numbered = ROW_COUNT;
	UPDATE memory_store.outbox_consumers SET acknowledged = last + numbered WHERE consumer = '';
END
$$;
COMMENT ON FUNCTION memory_store.outbox_number() IS
	'assigns the next positions to committed events that have none';

CREATE FUNCTION memory.outbox_read(consumer text, max_events integer DEFAULT 100)
	RETURNS SETOF memory.outbox_event LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 100
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM memory_store.outbox_check_consumer($1);
	INSERT INTO memory_store.outbox_consumers (consumer, acknowledged)
		VALUES ($1, 0) ON CONFLICT DO NOTHING;
	PERFORM memory_store.outbox_number();
	RETURN QUERY
		SELECT o.position, o.event_id, o.type, o.subscription_id, o.account_id,
			o.occurred_at, o.data
		FROM memory_store.outbox o
		WHERE o.position > (SELECT c.acknowledged FROM memory_store.outbox_consumers c
			WHERE c.consumer = $1)
		ORDER BY o.position
		LIMIT $2;
END
$$;
COMMENT ON FUNCTION memory.outbox_read(text, integer) IS
	'the next events that the consumer has not acknowledged, in order of position; a new '
	'consumer begins with the oldest event kept';

CREATE FUNCTION memory.outbox_ack(consumer text, "position" bigint) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	last bigint;
	result bigint;
BEGIN
	PERFORM memory_store.outbox_check_consumer($1);
	IF $2 IS NULL THEN
		RAISE EXCEPTION 'position must not be null' USING ERRCODE = '22004',
			HINT = 'Give the position of the last event that was handled.';
	END IF;
	SELECT c.acknowledged INTO last FROM memory_store.outbox_consumers c WHERE c.consumer = '';
	IF $2 < 0 OR $2 > COALESCE(last, 0) THEN
		RAISE EXCEPTION 'position % was never given', $2 USING ERRCODE = '22023',
			HINT = 'Give the position of the last event that was handled.';
	END IF;
	INSERT INTO memory_store.outbox_consumers AS c (consumer, acknowledged, acknowledged_at)
		VALUES ($1, $2, clock_timestamp())
		ON CONFLICT (consumer) DO UPDATE
			SET acknowledged = greatest(c.acknowledged, excluded.acknowledged),
			acknowledged_at = excluded.acknowledged_at
		RETURNING c.acknowledged INTO result;
	RETURN result;
END
$$;
COMMENT ON FUNCTION memory.outbox_ack(text, bigint) IS
	'acknowledges all events up to a position, and returns the position that the consumer has '
	'reached; it never goes back';

CREATE FUNCTION memory.outbox_drop_consumer(consumer text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM memory_store.outbox_check_consumer($1);
	DELETE FROM memory_store.outbox_consumers c WHERE c.consumer = $1;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION memory.outbox_drop_consumer(text) IS
	'removes a consumer; events are no longer kept for it; false: there was none';

CREATE VIEW memory.outbox_consumers AS
	SELECT c.consumer, c.acknowledged AS "position", c.acknowledged_at,
		(SELECT count(*) FROM memory_store.outbox o WHERE o.position > c.acknowledged
			OR o.position IS NULL) AS waiting
	FROM memory_store.outbox_consumers c
	WHERE c.consumer <> '' AND memory.account_visible('');
COMMENT ON VIEW memory.outbox_consumers IS
	'the last position that each consumer has acknowledged, and how many events are waiting';

-- A step of maintain(): an event goes when every consumer has acknowledged it
-- and it is old enough; without any consumer, when it is old enough.
CREATE FUNCTION memory_store.trim_outbox() RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	old timestamptz;
	trimmed bigint;
BEGIN
	-- first this, which loads the library and with it the setting
	PERFORM memory_store.outbox_check_consumer('maintenance');
	old := clock_timestamp() - current_setting('memory_ext.outbox_retention')::interval;
	DELETE FROM memory_store.outbox o
		WHERE o.occurred_at < old
			AND (NOT EXISTS (SELECT FROM memory_store.outbox_consumers c WHERE c.consumer <> '')
			OR o.position <= (SELECT min(c.acknowledged) FROM memory_store.outbox_consumers c
				WHERE c.consumer <> ''));
	GET DIAGNOSTICS trimmed = ROW_COUNT;
	DELETE FROM memory_store.usage_requests r WHERE r.recorded_at < old;
	RETURN trimmed;
END
$$;
COMMENT ON FUNCTION memory_store.trim_outbox() IS
	'removes events that every consumer has acknowledged, and request ids, if they are older '
	'than memory_ext.outbox_retention; returns how many events';

CREATE FUNCTION memory_store.trim_outbox_step(INOUT place text, batch_size integer, OUT done bigint,
	OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT NULL, memory_store.trim_outbox(), NULL
$$;
COMMENT ON FUNCTION memory_store.trim_outbox_step(text, integer) IS
	'a step of maintain(): acknowledged events';
INSERT INTO memory_store.maintenance_phases (phase, position, step, message)
	VALUES ('trim outbox', 1200, 'trim_outbox_step', 'removed % events');

-- Usage events: one for each account and closed day.  A day is closed when no
-- message can come that counts on it any more.
CREATE FUNCTION memory_store.report_usage(max_accounts integer DEFAULT 100) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off
		SET jit = off
AS $$
DECLARE
	closed date;
	at_day date;
	at_account text;
	next_account text;
	accounts bigint;
BEGIN
	PERFORM memory_store.outbox_check_consumer('maintenance');
	IF max_accounts < 1 THEN
		RAISE EXCEPTION 'max_accounts must be positive, it is %', max_accounts
			USING ERRCODE = '22023';
	END IF;
	IF NOT current_setting('memory_ext.usage_events')::boolean THEN
		RETURN 0;
	END IF;
	-- an hour for statements that began before, and end after
	closed :=
		(clock_timestamp() - interval '1 hour' -
		current_setting('memory_ext.backdated_after')::interval)::date - 1;
	-- only one session reports at a time
	LOCK TABLE memory_store.usage_reported IN EXCLUSIVE MODE;
	SELECT r.day, r.account_id INTO at_day, at_account FROM memory_store.usage_reported r;
	IF NOT FOUND THEN
		at_day := closed;
		at_account := '';
		INSERT INTO memory_store.usage_reported VALUES (at_day, at_account);
	END IF;
	IF at_day > closed THEN
		RETURN 0;
	END IF;

	SELECT max(a.account_id), count(*) INTO next_account, accounts FROM (
		SELECT account_id FROM memory_store.accounts
		WHERE account_id > at_account ORDER BY account_id LIMIT max_accounts) a;
	INSERT INTO memory_store.outbox (type, subscription_id, account_id, occurred_at, data)
		SELECT 'usage.day', a.subscription_id, a.account_id,
			at_day + interval '1 day' - interval '1 second',
			jsonb_build_object('day', at_day, 'messages', sum(u.messages), 'requests',
				sum(u.requests),
				'input_tokens', sum(u.input_tokens), 'cached_input_tokens',
					sum(u.cached_input_tokens),
				'cache_creation_tokens', sum(u.cache_creation_tokens), 'output_tokens',
					sum(u.output_tokens),
				'tokens',
					sum(u.input_tokens::numeric + u.cached_input_tokens + u.cache_creation_tokens +
					u.output_tokens),
				'content_bytes', sum(u.content_bytes),
				'models',
					jsonb_agg(to_jsonb(u) -
					'{account_id,day,imported_messages,imported_tokens,imported_bytes}'::text[]
					ORDER BY u.model))
		FROM memory_store.accounts a
		-- the range reaches the indexes below the view, as a.account_id does not
		CROSS JOIN LATERAL (SELECT * FROM memory.usage_daily d WHERE d.account_id = a.account_id
			AND d.account_id > at_account AND d.account_id <= next_account AND d.day = at_day) u
		WHERE a.account_id > at_account AND a.account_id <= next_account
		GROUP BY a.account_id, a.subscription_id
		HAVING max(greatest(u.messages, u.requests, u.input_tokens, u.output_tokens)) > 0
		ORDER BY a.account_id;
	IF accounts < max_accounts OR max_accounts IS NULL THEN
		UPDATE memory_store.usage_reported SET day = at_day + 1, account_id = '';
		RETURN accounts + 1;
	END IF;
	UPDATE memory_store.usage_reported SET account_id = next_account;
	RETURN accounts;
END
$$;
COMMENT ON FUNCTION memory_store.report_usage(integer) IS
	'writes the usage of the next accounts on the next final day to the outbox, if '
	'memory_ext.usage_events is on; 0: nothing is left to report';

CREATE FUNCTION memory_store.report_usage_step(INOUT place text, batch_size integer,
	OUT done bigint, OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN b > 0 THEN '' END, b, NULL FROM memory_store.report_usage(batch_size) b
$$;
COMMENT ON FUNCTION memory_store.report_usage_step(text, integer) IS
	'a step of maintain(): events of usage';
INSERT INTO memory_store.maintenance_phases (phase, position, step, message)
	VALUES ('report usage', 1100, 'report_usage_step', NULL);

-- https://cloudevents.io, version 1.0, in its JSON form
CREATE FUNCTION memory.to_cloudevent(event memory.outbox_event, source text DEFAULT 'memory_ext')
	RETURNS jsonb
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN jsonb_strip_nulls(jsonb_build_object(
		'specversion', '1.0',
		'id', (event).event_id,
		'source', source,
		'type', (event).type,
		'subject', COALESCE((event).subscription_id, (event).account_id),
		'time', to_char((event).occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
		'datacontenttype', 'application/json'))
		|| jsonb_build_object('data', (event).data
			|| jsonb_build_object('account_id', (event).account_id, 'subscription_id',
				(event).subscription_id));
COMMENT ON FUNCTION memory.to_cloudevent(memory.outbox_event, text) IS
	'the event as a CloudEvent 1.0; it has the id of the event, so that a repeated delivery can '
	'be recognized';

-- https://docs.stripe.com/api/billing/meter-event
CREATE FUNCTION memory.to_stripe_meter_event(
	event memory.outbox_event,
	meter text,
	event_name text,
	stripe_customer_id text
) RETURNS jsonb
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN CASE WHEN jsonb_typeof((event).data -> meter) = 'number' THEN jsonb_build_object(
		'event_name', event_name,
		'identifier',
			(event).event_id::text || '-' ||
			left(encode(sha256(convert_to(event_name || ' ' || meter, 'UTF8')), 'hex'), 12),
		'timestamp', floor(extract(epoch FROM (event).occurred_at))::bigint,
		'payload', jsonb_build_object(
			'stripe_customer_id', stripe_customer_id,
			'value', trunc(((event).data ->> meter)::numeric)::text)) END;
COMMENT ON FUNCTION memory.to_stripe_meter_event(memory.outbox_event, text, text, text) IS
	'a number of the event''s data as a Stripe meter event, truncated to an integer; null: the '
	'event has no such number';

INSERT INTO memory_store.grants VALUES
	('USAGE ON TYPE memory.outbox_event', 'operator'),
	('EXECUTE ON FUNCTION memory.outbox_read(text, integer)', 'operator'),
	('EXECUTE ON FUNCTION memory.outbox_ack(text, bigint)', 'operator'),
	('EXECUTE ON FUNCTION memory.outbox_drop_consumer(text)', 'operator'),
	('EXECUTE ON FUNCTION memory.to_cloudevent(memory.outbox_event, text)', 'operator'),
	('EXECUTE ON FUNCTION memory.to_stripe_meter_event(memory.outbox_event, text, text, text)',
		'operator'),
	('SELECT ON memory.outbox_consumers', 'operator'),
	('SELECT ON memory.outbox_consumers', 'monitor');
