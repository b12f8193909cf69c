-- memory.verify(): compares everything the store keeps with itself.

CREATE FUNCTION memory_store.segment_problem(body memory.transcript) RETURNS text
	AS 'MODULE_PATHNAME', 'memory_segment_problem' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION memory_store.segment_problem(memory.transcript) IS
	'the error that memory.verify(transcript) would raise, as a text; null: there is none';

CREATE FUNCTION memory_store.needed_dictionary(body memory.transcript) RETURNS bigint
	AS 'MODULE_PATHNAME', 'memory_needed_dictionary' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory_store.needed_dictionary(memory.transcript) IS
	'like memory.dictionary_id, but 0, which is no dictionary, if the header cannot be read';

CREATE FUNCTION memory_store.message_ids(body memory.transcript) RETURNS bytea
	AS 'MODULE_PATHNAME', 'memory_message_ids' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory_store.message_ids(memory.transcript) IS
	'the filter over the message_ids of a segment with this body; null: no message has one';

CREATE FUNCTION memory.verify(account text DEFAULT NULL)
	RETURNS TABLE (account_id text, conversation_id uuid, problem text)
	LANGUAGE sql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	-- the planner knows nothing of what comes out of a transcript
	SET enable_nestloop = off SET jit = off
AS $$
	WITH conversation AS MATERIALIZED (
		SELECT c.*, coalesce(octet_length(c.title), 0)
				+ coalesce(octet_length(c.metadata::text), 0) AS field_bytes
			FROM memory_store.conversations c
		WHERE ($1 IS NULL OR c.account_id = $1) AND memory.account_visible(c.account_id)
	), segment AS MATERIALIZED (
		SELECT s.*, memory_store.segment_problem(s.body) AS problem FROM memory_store.segments s
		WHERE ($1 IS NULL OR s.account_id = $1) AND memory.account_visible(s.account_id)
	), message AS MATERIALIZED (
		SELECT s.account_id, s.conversation_id, m.seq, m.parent_seq, m.tokens,
			octet_length(m.content) AS bytes, coalesce(octet_length(m.metadata::text), 0) AS extra,
			coalesce(m.revision, s.revision) AS revision, s.first_seq, m.message_id
		FROM segment s
			CROSS JOIN LATERAL memory.unpack(CASE WHEN s.problem IS NULL THEN s.body END) m
		UNION ALL
		SELECT t.account_id, t.conversation_id, t.seq, t.parent_seq, t.tokens,
			octet_length(t.content), coalesce(octet_length(t.metadata), 0), t.revision, NULL,
			t.message_id
		FROM memory_store.tail t
		WHERE ($1 IS NULL OR t.account_id = $1) AND memory.account_visible(t.account_id)
	), total AS MATERIALIZED (
		SELECT m.account_id, m.conversation_id, count(*) AS messages, sum(m.tokens) AS tokens,
			sum(m.bytes + m.extra) AS bytes,
			count(*) FILTER (WHERE m.first_seq IS NULL) AS tail,
				sum(m.bytes) FILTER (WHERE m.first_seq IS NULL) AS tail_bytes,
			max(m.seq) AS last_seq, max(m.revision) AS revision, count(DISTINCT m.seq) AS seqs,
			min(m.seq) FILTER (WHERE m.first_seq IS NULL) AS tail_first,
			max(m.seq) FILTER (WHERE m.first_seq IS NOT NULL) AS sealed_last
		FROM message m GROUP BY 1, 2
	), chain AS (
		SELECT m.*, lag(m.seq, 1, 0) OVER (PARTITION BY m.account_id, m.conversation_id
			ORDER BY m.seq) AS before
		FROM message m
	)
	SELECT s.account_id, s.conversation_id, format('segment %s: %s', s.first_seq, s.problem)
		FROM segment s WHERE s.problem IS NOT NULL
	UNION ALL
	SELECT s.account_id, s.conversation_id,
		format('segment %s: range or revision differ from its messages', s.first_seq)
		FROM segment s LEFT JOIN message m USING (account_id, conversation_id, first_seq)
		WHERE s.problem IS NULL
		GROUP BY s.account_id, s.conversation_id, s.first_seq, s.last_seq, s.revision
		HAVING (min(m.seq), max(m.seq), max(m.revision))
			IS DISTINCT FROM (s.first_seq, s.last_seq, s.revision)
	UNION ALL
	SELECT s.account_id, s.conversation_id,
		format('segment %s: the filter is not that of its message_ids', s.first_seq)
		FROM segment s
		WHERE CASE WHEN s.problem IS NULL THEN s.message_ids
			IS DISTINCT FROM memory_store.message_ids(s.body) END
	UNION ALL
	SELECT m.account_id, m.conversation_id,
		format('messages %s have the same message_id', string_agg(m.seq::text, ', ' ORDER BY m.seq))
		FROM message m WHERE m.message_id IS NOT NULL
		GROUP BY m.account_id, m.conversation_id, m.message_id HAVING count(*) > 1
	UNION ALL
	SELECT a.account_id, a.conversation_id,
		format('segments %s and %s overlap', a.first_seq, a.next_first)
		FROM (SELECT s.*, lead(s.first_seq) OVER (PARTITION BY s.account_id, s.conversation_id
			ORDER BY s.first_seq) AS next_first
			FROM segment s) a
		WHERE a.next_first <= a.last_seq
	UNION ALL
	SELECT t.account_id, t.conversation_id, 'a seq occurs twice' FROM total t
		WHERE t.seqs <> t.messages
	UNION ALL
	SELECT t.account_id, t.conversation_id, 'the tail begins before the segments end'
		FROM total t WHERE t.tail_first <= t.sealed_last
	UNION ALL
	SELECT account_id, conversation_id, 'messages without a living conversation'
		FROM total t LEFT JOIN conversation c USING (account_id, conversation_id)
		WHERE c.conversation_id IS NULL OR c.deleted_at IS NOT NULL
	UNION ALL
	SELECT account_id, conversation_id, format('counters differ: %s',
			concat_ws(', ',
				CASE WHEN c.message_count <> coalesce(t.messages, 0)
					THEN format('message_count %s, not %s', c.message_count,
					coalesce(t.messages, 0)) END,
				CASE WHEN c.token_count <> coalesce(t.tokens, 0)
					THEN format('token_count %s, not %s', c.token_count, coalesce(t.tokens, 0)) END,
				CASE WHEN c.content_bytes <> coalesce(t.bytes, 0) + c.field_bytes
					THEN format('content_bytes %s, not %s', c.content_bytes,
					coalesce(t.bytes, 0) + c.field_bytes) END,
				CASE WHEN c.tail_count <> coalesce(t.tail, 0)
					THEN format('tail_count %s, not %s', c.tail_count, coalesce(t.tail, 0)) END,
				CASE WHEN c.tail_bytes <> coalesce(t.tail_bytes, 0)
					THEN format('tail_bytes %s, not %s', c.tail_bytes,
					coalesce(t.tail_bytes, 0)) END))
		FROM conversation c LEFT JOIN total t USING (account_id, conversation_id)
		WHERE (c.message_count, c.token_count, c.content_bytes, c.tail_count, c.tail_bytes)
			<> (coalesce(t.messages, 0), coalesce(t.tokens, 0),
				coalesce(t.bytes, 0) + c.field_bytes,
				coalesce(t.tail, 0), coalesce(t.tail_bytes, 0))
	UNION ALL
	SELECT account_id, conversation_id,
		format('next_seq is %s, the last message %s', c.next_seq, t.last_seq)
		FROM conversation c JOIN total t USING (account_id, conversation_id)
			WHERE t.last_seq >= c.next_seq
	UNION ALL
	SELECT c.account_id, c.conversation_id, format('head_seq %s does not exist', c.head_seq)
		FROM conversation c
		WHERE c.deleted_at IS NULL AND c.head_seq < c.next_seq
			AND (c.head_seq <> 0 OR c.message_count > 0)
			AND NOT EXISTS (SELECT FROM message m
				WHERE (m.account_id, m.conversation_id, m.seq) = (c.account_id, c.conversation_id,
					c.head_seq))
	UNION ALL
	SELECT m.account_id, m.conversation_id,
		format('parent_seq %s of message %s does not exist', m.parent_seq, m.seq)
		FROM message m
		WHERE m.parent_seq <> 0 AND (m.parent_seq >= m.seq OR NOT EXISTS (SELECT FROM message p
			WHERE (p.account_id, p.conversation_id, p.seq) = (m.account_id, m.conversation_id,
				m.parent_seq)))
	UNION ALL
	SELECT account_id, conversation_id,
		format('message %s branches off %s, but the conversation is not marked as branched', m.seq,
		m.parent_seq)
		FROM chain m JOIN conversation c USING (account_id, conversation_id)
		WHERE NOT c.branched AND m.parent_seq <> m.before
	UNION ALL
	SELECT account_id, conversation_id,
		format('revision %s is less than its messages'' %s', c.revision, t.revision)
		FROM conversation c JOIN total t USING (account_id, conversation_id)
			WHERE t.revision > c.revision
	UNION ALL
	SELECT account_id, c.conversation_id,
		format('revision %s is not one of its account''s %s', c.revision, coalesce(a.revision, 0))
		FROM conversation c LEFT JOIN memory_store.accounts a USING (account_id)
		WHERE a.revision IS NULL OR c.revision > a.revision
	UNION ALL
	SELECT account_id, conversation_id, 'tombstones without a living conversation'
		FROM memory_store.tombstones x LEFT JOIN memory_store.conversations c
			USING (account_id, conversation_id)
		WHERE ($1 IS NULL OR account_id = $1) AND memory.account_visible(account_id)
			AND (c.conversation_id IS NULL OR c.deleted_at IS NOT NULL)
	UNION ALL
	SELECT m.account_id, m.conversation_id, format('message %s has a tombstone', m.seq)
		FROM message m JOIN memory_store.tombstones x USING (account_id, conversation_id, seq)
	UNION ALL
	SELECT x.account_id, x.conversation_id,
		format('revision %s of tombstone %s is greater than the conversation''s %s', x.revision,
		x.seq, c.revision)
		FROM memory_store.tombstones x JOIN conversation c USING (account_id, conversation_id)
			WHERE x.revision > c.revision
	UNION ALL
	SELECT s.account_id, s.conversation_id,
		format('segment %s needs dictionary %s, which is not there', s.first_seq, s.dictionary_id)
		FROM (SELECT *, CASE WHEN problem IS NULL THEN memory.dictionary_id(body) END
			AS dictionary_id FROM segment) s
		WHERE s.dictionary_id IS NOT NULL AND NOT EXISTS (
			SELECT FROM memory_store.dictionaries d WHERE d.dictionary_id = s.dictionary_id)
	UNION ALL
	SELECT x.account_id, NULL,
		format('dictionary %s holds text of an account that does not exist', d.dictionary_id)
		FROM memory_store.dictionary_accounts x JOIN memory_store.dictionaries d
			USING (dictionary_id)
			LEFT JOIN memory_store.accounts a USING (account_id)
		WHERE d.stale_at IS NULL AND a.account_id IS NULL
			AND ($1 IS NULL OR x.account_id = $1) AND memory.account_visible(x.account_id)
$$;
COMMENT ON FUNCTION memory.verify(text) IS
	'checks everything that is stored, of one account or of all (null): transcripts, counters, '
	'ranges of seq, heads, parents, revisions, dictionaries; no row: all is well';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.verify(text)', 'operator');
