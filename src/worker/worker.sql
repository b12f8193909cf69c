-- What monitoring asks: numbers that are cheap, of a store of any size.

-- Of a large table a sample of so many pages is read, always of the same ones, so that the numbers
-- do not jump.  A table that has no more is read whole, and what is said of it is exact.  Rows are
-- counted by the cumulative statistics, or, where those were lost or never gathered (after a crash,
-- on a standby), by the planner's.
CREATE VIEW memory.metrics WITH (security_barrier = true) AS
	WITH sizes AS (
		SELECT c.relname, c.oid, CASE
			WHEN COALESCE(pg_stat_get_last_analyze_time(c.oid),
				pg_stat_get_last_autoanalyze_time(c.oid), pg_stat_get_last_vacuum_time(c.oid),
				pg_stat_get_last_autovacuum_time(c.oid)) IS NULL
			THEN greatest(pg_stat_get_live_tuples(c.oid), c.reltuples)
			ELSE pg_stat_get_live_tuples(c.oid) END::double precision AS rows,
			pg_relation_size(c.oid) / current_setting('block_size')::integer AS pages,
			pg_total_relation_size(c.oid) AS bytes
		FROM pg_class c
		WHERE c.relnamespace = 'memory_store'::regnamespace AND c.relkind = 'r'
	), conversations AS (
		SELECT s.conversations, s.messages, s.content_bytes,
			CASE WHEN z.pages <= 2000 THEN 1
				ELSE COALESCE(z.rows / NULLIF(s.rows, 0), 0) END AS factor
		FROM sizes z CROSS JOIN (
			SELECT count(*) AS rows, count(*) FILTER (WHERE c.deleted_at IS NULL) AS conversations,
				COALESCE(sum(c.message_count), 0) AS messages,
				COALESCE(sum(c.content_bytes), 0) AS content_bytes
			FROM memory_store.conversations c TABLESAMPLE system ((
				SELECT least(100, 200000.0 / greatest(z.pages, 1)) FROM sizes z
				WHERE z.oid = 'memory_store.conversations'::regclass)) REPEATABLE (0)
		) s
		WHERE z.oid = 'memory_store.conversations'::regclass
	), tails AS (
		SELECT s.conversations, s.messages, s.oldest,
			CASE WHEN z.pages <= 500 THEN 1
				ELSE COALESCE(z.rows / NULLIF(s.messages, 0), 0) END AS factor
		FROM sizes z CROSS JOIN (
			SELECT count(*) AS conversations, COALESCE(sum(t.messages), 0) AS messages,
				-- a subquery, so that it is never a join that reads all conversations
				min((SELECT c.updated_at FROM memory_store.conversations c
					WHERE c.conversation_id = t.conversation_id AND c.account_id = t.account_id))
					AS oldest
			FROM (
				SELECT t.conversation_id, t.account_id, count(*) AS messages
				FROM memory_store.tail t TABLESAMPLE system ((
					SELECT least(100, 50000.0 / greatest(z.pages, 1)) FROM sizes z
					WHERE z.oid = 'memory_store.tail'::regclass)) REPEATABLE (0)
				GROUP BY t.conversation_id, t.account_id
			) t
		) s
		WHERE z.oid = 'memory_store.tail'::regclass
	), fresh AS (
		SELECT CASE WHEN n.segments <= 10000 THEN n.segments
			ELSE greatest(n.segments, i.reltuples) END AS segments
		FROM pg_class i CROSS JOIN (
			SELECT count(*) AS segments FROM (
				SELECT FROM memory_store.segments s WHERE s.compact IS NULL
				ORDER BY s.conversation_id, s.account_id LIMIT 10001
			) s
		) n
		WHERE i.oid = 'memory_store.segments_fresh'::regclass
	), unread AS (
		SELECT (SELECT count(*) FROM (
				SELECT FROM memory_store.outbox o WHERE o.position IS NULL
				ORDER BY o.occurred_at, o.event_id LIMIT 10001) o) AS events,
			(SELECT o.occurred_at FROM memory_store.outbox o WHERE o.position IS NULL
				ORDER BY o.occurred_at, o.event_id LIMIT 1) AS oldest,
			COALESCE((SELECT c.acknowledged FROM memory_store.outbox_consumers c
				WHERE c.consumer = ''), 0) AS last_position
	), consumers AS (
		SELECT c.consumer, u.last_position - c.acknowledged + u.events AS events,
			COALESCE((SELECT o.occurred_at FROM memory_store.outbox o
				WHERE o.position > c.acknowledged ORDER BY o.position LIMIT 1), u.oldest) AS oldest
		FROM memory_store.outbox_consumers c CROSS JOIN unread u
		WHERE c.consumer <> ''
	)
	SELECT m.name, m.labels, m.value::double precision AS value
	FROM (
		SELECT v.name, '{}'::jsonb AS labels, v.value
		FROM conversations c CROSS JOIN tails t CROSS JOIN LATERAL (VALUES
			('memory_ext_conversations', round(c.conversations * c.factor)),
			('memory_ext_messages', round(c.messages * c.factor)),
			('memory_ext_content_bytes', round(c.content_bytes * c.factor)),
			('memory_ext_tail_conversations', round(t.conversations * t.factor)),
			('memory_ext_tail_messages', round(t.messages * t.factor)),
			('memory_ext_oldest_unsealed_seconds',
				COALESCE(greatest(extract(epoch FROM now() - t.oldest), 0), 0))
		) v (name, value)
		UNION ALL
		SELECT 'memory_ext_stored_bytes', jsonb_build_object('relation', z.relname), z.bytes
		FROM sizes z
		UNION ALL
		SELECT 'memory_ext_backlog_items', jsonb_build_object('phase', b.phase), b.items
		FROM (
			SELECT 'seal', round(t.conversations * t.factor) FROM tails t
			UNION ALL
			SELECT 'compact', f.segments FROM fresh f
			UNION ALL
			SELECT 'roll up calls', z.rows FROM sizes z
			WHERE z.oid = 'memory_store.usage_calls'::regclass
		) b (phase, items)
		UNION ALL
		SELECT 'memory_ext_maintenance_failures', jsonb_build_object('phase', p.phase), p.failures
		FROM memory_store.maintenance_phases p
		UNION ALL
		SELECT 'memory_ext_quota_refused_total', '{}',
			CASE WHEN r.is_called THEN r.last_value ELSE 0 END
		FROM memory_store.quota_refusals r
		UNION ALL
		SELECT 'memory_ext_transfer_jobs', jsonb_build_object('state', s.state), count(j.state)
		FROM unnest('{queued,running,interrupted,finished,failed,cancelled}'::text[]) s (state)
		LEFT JOIN memory.jobs j ON j.state = s.state
		GROUP BY s.state
		UNION ALL
		SELECT v.name, jsonb_build_object('consumer', c.consumer), v.value
		FROM consumers c CROSS JOIN LATERAL (VALUES
			('memory_ext_outbox_waiting_events', c.events::numeric),
			('memory_ext_outbox_lag_seconds',
				COALESCE(greatest(extract(epoch FROM now() - c.oldest), 0), 0))
		) v (name, value)
	) m
	WHERE memory.account_visible('');
COMMENT ON VIEW memory.metrics IS
	'numbers of this database for Prometheus; cheap in a store of any size: _conversations, '
	'_messages and _content_bytes are estimates from a sample beyond 16 MB of '
	'memory_store.conversations, those of tails beyond 4 MB of memory_store.tail, backlogs beyond '
	'10,000 items; the backlog of "roll up calls" is always one';
COMMENT ON COLUMN memory.metrics.name IS
	'the metric; those in _total only grow, the others go up and down';
COMMENT ON COLUMN memory.metrics.labels IS
	'relation, phase, state or consumer, where the metric has one value for each; {}: it has not';
COMMENT ON COLUMN memory.metrics.value IS 'in the unit that the name ends in';

INSERT INTO memory_store.grants VALUES
	('SELECT ON memory.metrics', 'operator'),
	('SELECT ON memory.metrics', 'monitor');
