-- Values that would go in and not come out: as text, out of a dump, through maintenance or sums.
SET TIME ZONE 'UTC';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'
\set c1 '00000000-0000-0000-0000-000000000001'
\set c2 '00000000-0000-0000-0000-000000000002'
\set c3 '00000000-0000-0000-0000-000000000003'
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.nested(levels integer) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT (repeat('{"a":', levels - 1) || '{}' || repeat('}', levels - 1))::jsonb $$;
CREATE FUNCTION hostile.raises(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RAISE EXCEPTION 'no error' USING ERRCODE = 'ZZ000';	-- and no effect
EXCEPTION WHEN OTHERS THEN
	RETURN CASE WHEN SQLSTATE = 'ZZ000' THEN '' ELSE SQLSTATE || ' ' END || SQLERRM;
END $$;
SELECT memory.append('mallory', :'c1', 'user', 'hello', metadata => '{"a": 1}');

--
-- Metadata, by every way in
--
CREATE TABLE hostile.ways (way integer GENERATED ALWAYS AS IDENTITY, statement text);
INSERT INTO hostile.ways (statement) VALUES
	($$SELECT memory.append('mallory', '00000000-0000-0000-0000-000000000001', 'user', 'x', metadata => %s)$$),
	($$SELECT memory.append('mallory', '00000000-0000-0000-0000-000000000001', jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'x', 'metadata', %s)))$$),
	($$SELECT memory.edit_message('mallory', '00000000-0000-0000-0000-000000000001', 1, metadata => %s)$$),
	($$SELECT memory.create_conversation('mallory', metadata => %s)$$),
	($$SELECT memory.update_conversation('mallory', '00000000-0000-0000-0000-000000000001', metadata => %s)$$),
	($$SELECT memory.upsert_conversation('mallory', '00000000-0000-0000-0000-000000000001', metadata => %s)$$),
	($$INSERT INTO memory.messages (account_id, conversation_id, role, content, metadata) VALUES ('mallory', '00000000-0000-0000-0000-000000000001', 'user', 'x', %s)$$),
	($$UPDATE memory.messages SET metadata = %s WHERE account_id = 'mallory'$$),
	($$INSERT INTO memory.conversations (account_id, metadata) VALUES ('mallory', %s)$$),
	($$UPDATE memory.conversations SET metadata = %s WHERE account_id = 'mallory'$$),
	($$SELECT jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'x', 'metadata', %s))::memory.transcript$$),
	($$SELECT memory.transcript(ARRAY[(NULL, NULL, 'user', 'x', NULL, NULL, NULL, NULL, %s, NULL)::memory.message])$$);
SELECT count(*), hostile.raises(format(statement, 'hostile.nested(500)')) FROM hostile.ways GROUP BY 2;
SELECT way, hostile.raises(format(statement, 'hostile.nested(501)')) FROM hostile.ways ORDER BY 1;
-- deeper than PostgreSQL's own parser reads under the default max_stack_depth
SELECT way, hostile.raises(format(statement, 'hostile.nested(6000)')) FROM hostile.ways ORDER BY 1;
-- a few bytes that are many as text
SELECT way, hostile.raises(format(statement, $$'{"a": 1e1000}'$$ || '::jsonb')) FROM hostile.ways ORDER BY 1;
SELECT way, hostile.raises(format(statement, $$jsonb_build_object('a', (SELECT jsonb_agg(1e131000) FROM generate_series(1, 120)))$$)) FROM hostile.ways ORDER BY 1;
SELECT count(*), hostile.raises(format(statement, $$'{"a": 1.7976931348623157e308, "b": 5e-324}'$$ || '::jsonb')) FROM hostile.ways GROUP BY 2;
SELECT way, hostile.raises(format(statement, $$jsonb_build_object('a', repeat(U&'\0001', 3000000))$$)) FROM hostile.ways ORDER BY 1;
-- documents
SELECT state, reason, message FROM memory.import_document('mallory', jsonb_build_object('conversation_id', '00000000-0000-0000-0000-000000000003', 'metadata', hostile.nested(501),
	'messages', '[{"role": "user", "content": "x"}]'::jsonb)::text, 'native');
SELECT state, reason, message FROM memory.import_document('mallory', jsonb_build_object('conversation_id', '00000000-0000-0000-0000-000000000003',
	'messages', jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'x', 'metadata', '{"a": 1e131000}'::jsonb)))::text, 'native');
SELECT state, reason, message FROM memory.import_document('mallory', '{"conversation_id": "00000000-0000-0000-0000-000000000003", "metadata": {"a": 1e131000}, "messages": [{"role": "user", "content": "x"}]}', 'native');
-- what was accepted comes out, and goes in again
SELECT memory.append('mallory', :'c1', 'user', 'deep', metadata => hostile.nested(500));
SELECT memory.create_conversation('mallory', :'c2', metadata => hostile.nested(500));
SELECT sum(length(metadata::text)) FROM memory.messages;
SELECT state, reason FROM memory.export('native', 'mallory', :'c1') document, memory.import_document('mallory 2', document, 'native');
SELECT memory.seal();
SELECT sum(length(metadata::text)) FROM memory.messages;

--
-- Titles, batches, staged lines
--
SELECT hostile.raises(statement) FROM unnest(ARRAY[
	$$SELECT memory.create_conversation('mallory', title => repeat('x', 1025))$$,
	$$SELECT memory.update_conversation('mallory', '00000000-0000-0000-0000-000000000001', repeat('é', 513))$$,
	$$SELECT memory.upsert_conversation('mallory', '00000000-0000-0000-0000-000000000001', repeat('x', 1025))$$,
	$$INSERT INTO memory.conversations (account_id, title) VALUES ('mallory', repeat('x', 1025))$$,
	$$UPDATE memory.conversations SET title = repeat('x', 1025) WHERE account_id = 'mallory'$$,
	$$SELECT memory.create_conversation('mallory', title => repeat('é', 512))$$]) statement;
-- a document's is shortened, at the end of a character, and that is told
SELECT state, reason, path, message FROM memory.import_document('mallory', jsonb_build_object('conversation_id', '00000000-0000-0000-0000-000000000003',
	'title', 'x' || repeat('é', 600), 'messages', '[{"role": "user", "content": "x"}]'::jsonb)::text, 'native');
SELECT octet_length(title), right(title, 1) FROM memory.conversations WHERE conversation_id = :'c3';
SELECT hostile.raises($$SELECT memory.append('mallory', '00000000-0000-0000-0000-000000000002', (SELECT jsonb_agg('{"role": "user", "content": ""}'::jsonb) FROM generate_series(1, 100001)))$$);

--
-- One bad row does not stop maintenance of the others
--
SELECT memory.append(a, :'c2', 'user', 'x') FROM unnest('{ann,bad,zoe}'::text[]) a;
UPDATE memory_store.tail SET parent_seq = seq + 7 WHERE account_id = 'bad';
SET memory_ext.seal_after = 0;
SELECT memory_store.seal_idle(NULL);
SELECT account_id, tail_count FROM memory_store.conversations WHERE account_id IN ('ann', 'bad', 'zoe') ORDER BY 1;
SELECT account_id, conversation_id, step, sqlstate, message, attempts FROM memory.maintenance_problems;
SET client_min_messages = error;
SELECT memory_store.seal_idle(NULL);
RESET client_min_messages;
SELECT account_id, step, attempts FROM memory.maintenance_problems;
-- it is the account's, and is gone when the step has worked
SET memory_ext.account = 'ann';
SELECT count(*) FROM memory.maintenance_problems;
SET memory_ext.account = '';
UPDATE memory_store.tail SET parent_seq = 0 WHERE account_id = 'bad';
SELECT memory_store.seal_idle(NULL);
SELECT count(*) FROM memory.maintenance_problems;
RESET memory_ext.account;
SELECT * FROM memory.verify();

--
-- Counts
--
SELECT hostile.raises(statement) FROM unnest(ARRAY[
	$$SELECT memory.record_usage('mallory', 'm', 9223372036854775807)$$, $$SELECT memory.record_usage('mallory', 'm', 1000000000001)$$,
	$$SELECT memory.record_usage('mallory', 'm', 0, 1000000000001)$$, $$SELECT memory.record_usage('mallory', 'm', 0, 0, 1000000000001)$$,
	$$SELECT memory.record_usage('mallory', 'm', 0, 0, 0, 1000000000001)$$, $$SELECT memory.record_usage('mallory', 'm', 1000000000000)$$,
	$$SELECT memory.enforce_limit('mallory', 'tokens', 9223372036854775807)$$, $$SELECT memory.check_quota('mallory', 'tokens', 1000000000000001)$$,
	$$SELECT memory.reserve_usage('mallory', 'r', 9223372036854775807)$$]) statement;
-- calls that came before there was a limit, or by many: sums stop at their end
INSERT INTO memory_store.usage_calls SELECT a, (now() AT TIME ZONE 'UTC')::date, 'm', n, n, n, n FROM unnest('{mallory,mallory,ann}'::text[], '{9223372036854775807,9223372036854775807,5}'::bigint[]) u(a, n);
CREATE VIEW hostile.numbers AS
	SELECT 'daily' AS view, account_id, input_tokens, output_tokens, NULL::bigint AS tokens FROM memory.usage_daily WHERE model = 'm'
	UNION ALL SELECT 'by_model', account_id, input_tokens, output_tokens, NULL FROM memory.usage_by_model WHERE model = 'm'
	UNION ALL SELECT 'current', account_id, cached_input_tokens, cache_creation_tokens, tokens FROM memory.usage_current WHERE cached_input_tokens > 0;
SELECT * FROM hostile.numbers ORDER BY 1, 2;
SELECT count(*) FROM memory.cost_daily WHERE model = 'm';
SELECT memory_store.roll_up_usage(NULL);
INSERT INTO memory_store.usage_calls SELECT 'mallory', (now() AT TIME ZONE 'UTC')::date, 'm', 9223372036854775807, 1, 1, 1;
SELECT * FROM hostile.numbers ORDER BY 1, 2;
SET client_min_messages = warning;
CALL memory.maintain(phase => 'roll up calls');
RESET client_min_messages;
SELECT * FROM hostile.numbers ORDER BY 1, 2;
SELECT quantity FROM memory.invoice('mallory', '2000-01-01', '2100-01-01') WHERE component = 'total';
SELECT count(*) FROM memory.usage_drift WHERE account_id = 'ann';
-- a subscription without a hard limit, shared: the others go on
INSERT INTO memory.plans (plan_id) VALUES ('soft');
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value, enforcement) VALUES ('soft', 'tokens', 'lifetime', 10, 'soft');
SELECT memory.subscribe('shared', 'soft'), memory.set_subscription('mallory', 'shared'), memory.set_subscription('ann', 'shared');
UPDATE memory_store.subscriptions SET tokens_hour = 9223372036854775807, tokens_day = 9223372036854775807, tokens_month = 9223372036854775807, tokens_lifetime = 9223372036854775807;
SELECT (memory.enforce_limit('mallory', 'tokens', 1000000000000000)).used;
SELECT memory.append('ann', :'c2', 'user', 'goes on', tokens => 5);
SELECT used FROM memory.quota_usage;

-- what is sent to a model has tokens, also where it is not content
SELECT memory.append('tools', :'c1', 'assistant', '', metadata => jsonb_build_object('tool_calls', jsonb_build_array(jsonb_build_object('id', 'c', 'name', 'f', 'arguments', repeat('word ', 13000))))) AS seq,
	memory.append('tools', :'c1', 'assistant', '', metadata => jsonb_build_object('note', repeat('word ', 13000))) AS seq,
	memory.append('tools', :'c1', 'assistant', 'x', tokens => 7, metadata => jsonb_build_object('parts', repeat('word ', 13000))) AS seq,
	memory.append('tools', :'c1', '[{"role": "assistant", "content": "", "metadata": {"function_call": {"name": "f", "arguments": "one two three four"}}}]') AS seqs;
INSERT INTO memory.messages (account_id, conversation_id, role, content, metadata) VALUES ('tools', :'c1', 'tool', '', jsonb_build_object('tool_results', repeat('word ', 13000)));
SELECT seq, tokens, tokens > 10000 AS many FROM memory.history('tools', :'c1');
SELECT count(*) FROM memory.context('tools', :'c1', 5000);
-- an edit does not get round it
SELECT memory.edit_message('tools', :'c1', 2, metadata => jsonb_build_object('tool_calls', repeat('word ', 13000))) > 0 AS edited,
	memory.edit_message('tools', :'c1', 1, metadata => '{}') > 0 AS edited, memory.edit_message('tools', :'c1', 1, content => 'one two') > 0 AS edited;
SELECT seq, tokens, tokens > 10000 AS many FROM memory.history('tools', :'c1');
SELECT * FROM memory.verify('tools');
UPDATE memory_store.subscriptions SET plan_id = NULL;
TRUNCATE memory_store.subscription_plans;
DELETE FROM memory.plan_limits;
DELETE FROM memory.plans;
DELETE FROM memory.conversations;
DROP SCHEMA hostile CASCADE;
\i :empty
