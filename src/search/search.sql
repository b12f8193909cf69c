-- Search: messages and conversations that hold words.

CREATE FUNCTION memory.search(
	account_id text,
	query text DEFAULT NULL,
	max_results integer DEFAULT 20,
	conversation_id uuid DEFAULT NULL,
	roles text[] DEFAULT NULL,
	models text[] DEFAULT NULL,
	created_from timestamptz DEFAULT NULL,
	created_to timestamptz DEFAULT NULL,
	include_archived boolean DEFAULT false,
	order_by text DEFAULT 'newest',
	page_key text DEFAULT NULL,
	per_conversation integer DEFAULT NULL,
	snippet_length integer DEFAULT 160,
	all_branches boolean DEFAULT false,
	OUT account_id text,
	OUT conversation_id uuid,
	OUT seq bigint,
	OUT role text,
	OUT model text,
	OUT created_at timestamptz,
	OUT title text,
	OUT score double precision,
	OUT snippet text,
	OUT highlights integer[],
	OUT page_key text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'memory_search' LANGUAGE C STABLE SECURITY DEFINER ROWS 20;
COMMENT ON FUNCTION memory.search(text, text, integer, uuid, text[], text[], timestamptz,
	timestamptz, boolean, text, text, integer, integer, boolean) IS
	'the messages of an account that hold the words of a query, with snippets; the last row''s '
	'page_key gives the next page';

CREATE FUNCTION memory.search_conversations(
	account_id text,
	query text,
	max_results integer DEFAULT 20,
	include_archived boolean DEFAULT false,
	page_key text DEFAULT NULL,
	snippet_length integer DEFAULT 160,
	all_branches boolean DEFAULT false,
	OUT conversation_id uuid,
	OUT title text,
	OUT title_highlights integer[],
	OUT updated_at timestamptz,
	OUT message_count bigint,
	OUT hits bigint,
	OUT seq bigint,
	OUT role text,
	OUT created_at timestamptz,
	OUT snippet text,
	OUT highlights integer[],
	OUT page_key text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'memory_search_conversations' LANGUAGE C STABLE SECURITY DEFINER ROWS 20;
COMMENT ON FUNCTION memory.search_conversations(text, text, integer, boolean, text, integer,
	boolean) IS
	'the conversations whose messages and title together hold the words of a query, last changed '
	'first, with the number of messages that hold any, and the best of these';

CREATE FUNCTION memory.list_conversations(
	account_id text,
	title text DEFAULT NULL,
	roles text[] DEFAULT NULL,
	models text[] DEFAULT NULL,
	min_tokens bigint DEFAULT NULL,
	max_tokens bigint DEFAULT NULL,
	updated_from timestamptz DEFAULT NULL,
	updated_to timestamptz DEFAULT NULL,
	archived boolean DEFAULT false,
	metadata jsonb DEFAULT NULL,
	order_by text DEFAULT 'changed',
	max_conversations integer DEFAULT 50,
	page_key text DEFAULT NULL,
	OUT conversation_id uuid,
	OUT title text,
	OUT metadata jsonb,
	OUT archived boolean,
	OUT head_seq bigint,
	OUT message_count bigint,
	OUT token_count bigint,
	OUT content_bytes bigint,
	OUT created_at timestamptz,
	OUT updated_at timestamptz,
	OUT revision bigint,
	OUT page_key text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'memory_list_conversations' LANGUAGE C STABLE SECURITY DEFINER ROWS 50;
COMMENT ON FUNCTION memory.list_conversations(text, text, text[], text[], bigint, bigint,
	timestamptz, timestamptz, boolean, jsonb, text, integer, text) IS
	'an account''s conversations by words of the title, roles, models, tokens, time, metadata; '
	'sorted by change, creation, title or size';

CREATE FUNCTION memory.highlight(
	snippet text,
	highlights integer[],
	start text DEFAULT '<mark>',
	stop text DEFAULT '</mark>',
	escape_html boolean DEFAULT true
) RETURNS text
	AS 'MODULE_PATHNAME', 'memory_highlight' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION memory.highlight(text, integer[], text, text, boolean) IS
	'a snippet with start before and stop behind each highlighted part, the rest escaped for HTML';

CREATE FUNCTION memory_store.build_search_blocks(
	after_account_id text,
	OUT account_id text,
	OUT accounts bigint,
	OUT content_bytes bigint
) RETURNS record
	AS 'MODULE_PATHNAME', 'memory_build_blocks' LANGUAGE C VOLATILE STRICT SECURITY DEFINER;
COMMENT ON FUNCTION memory_store.build_search_blocks(text) IS
	'builds search blocks for the next accounts behind one; returns the account to go on behind '
	'(null: done), how many were worked on, and the bytes that were read';

CREATE FUNCTION memory_store.search_blocks_step(INOUT place text, batch_size integer,
	OUT done bigint, OUT message text) LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT b.account_id, COALESCE(b.content_bytes, 0), NULL
		FROM memory_store.build_search_blocks(COALESCE(place, '')) b
$$;
COMMENT ON FUNCTION memory_store.search_blocks_step(text, integer) IS
	'a step of maintain(): search blocks';
INSERT INTO memory_store.maintenance_phases (phase, position, step, message) VALUES
	('search blocks', 850, 'search_blocks_step', 'built search blocks for % bytes of messages');

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.search(text, text, integer, uuid, text[], text[], timestamptz, '
		'timestamptz, boolean, text, text, integer, integer, boolean)', 'reader'),
	('EXECUTE ON FUNCTION memory.search_conversations(text, text, integer, boolean, text, '
		'integer, boolean)', 'reader'),
	('EXECUTE ON FUNCTION memory.list_conversations(text, text, text[], text[], bigint, bigint, '
		'timestamptz, timestamptz, boolean, jsonb, text, integer, text)', 'reader'),
	('EXECUTE ON FUNCTION memory.highlight(text, integer[], text, text, boolean)', 'reader');
