-- Who may do what: access levels, confinement to one account, and callers that
-- put objects of their own in the way.
SET memory_ext.job_retention = 0;
SELECT memory_store.trim_jobs() >= 0 AS jobs_of_other_tests_are_gone;
RESET memory_ext.job_retention;
SET TIME ZONE 'UTC';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'
\set c1 '00000000-0000-0000-0000-000000000001'
\set c2 '00000000-0000-0000-0000-000000000002'
\set c3 '00000000-0000-0000-0000-000000000003'
\set c7 '00000000-0000-0000-0000-000000000007'
\set c9 '00000000-0000-0000-0000-000000000009'

--
-- Nothing is for everybody
--
-- what the extension has and grant_access does not know: for its owner only
SELECT p.oid::regprocedure AS of_the_owner FROM pg_proc p
	WHERE pronamespace = 'memory'::regnamespace AND NOT EXISTS (SELECT FROM memory_store.grants g
		WHERE g.privilege LIKE 'EXECUTE ON %' AND to_regprocedure(regexp_replace(g.privilege, '^EXECUTE ON (FUNCTION|PROCEDURE) ', '')) = p.oid)
	ORDER BY proname;
SELECT c.oid::regclass AS forgotten FROM pg_class c
	WHERE relnamespace = 'memory'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND NOT EXISTS (SELECT FROM memory_store.grants g
		WHERE to_regclass(substring(g.privilege FROM ' ON (memory\.\w+)$')) = c.oid);
-- granted to PUBLIC: schemas, relations, functions, types (a view's row type goes with the view)
SELECT 'schema' AS kind, nspname::text AS name FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a
	WHERE nspname IN ('memory', 'memory_store') AND a.grantee = 0
UNION ALL
SELECT 'relation', oid::regclass::text FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner))) a
	WHERE relnamespace IN ('memory'::regnamespace, 'memory_store'::regnamespace) AND a.grantee = 0
UNION ALL
SELECT 'function', oid::regprocedure::text FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
	WHERE pronamespace IN ('memory'::regnamespace, 'memory_store'::regnamespace) AND a.grantee = 0
UNION ALL
SELECT 'type', oid::regtype::text FROM pg_type t, aclexplode(coalesce(typacl, acldefault('T', typowner))) a
	WHERE typnamespace IN ('memory'::regnamespace, 'memory_store'::regnamespace) AND a.grantee = 0 AND typcategory <> 'A'
		AND (typrelid = 0 OR (SELECT relkind FROM pg_class c WHERE c.oid = t.typrelid) = 'c');
-- what runs with the owner's rights has no search_path to be led astray by: C that
-- qualifies all names, or one of its own
SELECT p.oid::regprocedure AS careless FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE pronamespace IN ('memory'::regnamespace, 'memory_store'::regnamespace) AND prosecdef AND lanname <> 'c'
		AND NOT coalesce(proconfig::text LIKE '%search\_path=pg\_catalog, pg\_temp%', false);

--
-- Levels
--
CREATE ROLE regress_nobody LOGIN;
CREATE ROLE regress_reader LOGIN;
CREATE ROLE regress_writer LOGIN;
CREATE ROLE regress_operator LOGIN;
SELECT memory.grant_access('regress_reader', 'reader'), memory.grant_access('regress_writer', 'writer'), memory.grant_access('regress_operator', 'operator');
SELECT memory.append('ann', :'c1', 'user', 'ann''s text', tokens => 1), memory.append('bob', :'c2', 'user', 'bob''s text', tokens => 1);
SELECT memory.seal();
SELECT memory.append('ann', :'c1', 'user', 'ann''s tail', tokens => 1), memory.append('bob', :'c2', 'user', 'bob''s tail', tokens => 1);

-- what a confined session is refused: nothing else is, and nothing that reaches the store goes round the refusal
SELECT p.oid::regprocedure AS careless FROM pg_proc p JOIN memory_store.grants g
		ON p.oid = CASE WHEN g.privilege LIKE 'EXECUTE %' THEN to_regprocedure(regexp_replace(g.privilege, '^EXECUTE ON (FUNCTION|PROCEDURE) ', '')) END
	WHERE NOT g.confined AND NOT prosecdef ORDER BY 1;
SELECT p.oid::regprocedure AS careless FROM pg_proc p JOIN pg_language l ON l.oid = prolang JOIN memory_store.grants g
		ON p.oid = CASE WHEN g.privilege LIKE 'EXECUTE %' THEN to_regprocedure(regexp_replace(g.privilege, '^EXECUTE ON (FUNCTION|PROCEDURE) ', '')) END
	WHERE NOT g.confined AND prosecdef AND lanname <> 'c' AND p.prosrc NOT LIKE '%memory_store.outbox_check_consumer(%';

CREATE SCHEMA security_test;
-- Whether a role may run a statement, whose effects are undone.
CREATE FUNCTION security_test.may(role name, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE statement;
	RAISE EXCEPTION USING ERRCODE = 'XXYES';
EXCEPTION
	WHEN SQLSTATE 'XXYES' OR invalid_transaction_termination THEN
		RETURN 'yes';
	WHEN insufficient_privilege THEN
		RETURN '-';
END $$;
SELECT replace(replace(statement, '00000000-0000-0000-0000-00000000000', 'c'), 'memory.', '') AS statement,
	security_test.may('regress_nobody', statement) AS nobody, security_test.may('regress_reader', statement) AS reader,
	security_test.may('regress_writer', statement) AS writer, security_test.may('regress_operator', statement) AS operator
FROM unnest(ARRAY[
	$$SELECT * FROM memory.messages$$, $$SELECT * FROM memory.conversations$$, $$SELECT * FROM memory.storage$$,
	$$SELECT memory.history('ann', '00000000-0000-0000-0000-000000000001')$$,
	$$SELECT memory.context('ann', '00000000-0000-0000-0000-000000000001', 100)$$,
	$$SELECT memory.message('ann', '00000000-0000-0000-0000-000000000001', 1)$$,
	$$SELECT memory.recent_conversations('ann')$$, $$SELECT memory.uuid_v7()$$, $$SELECT memory.estimate_tokens('x')$$,
	$$SELECT '[]'::memory.transcript$$, $$SELECT memory.transcript('user', 'x')$$, $$CREATE TEMP TABLE t (t memory.transcript)$$,
	$$SELECT memory.append('ann', '00000000-0000-0000-0000-000000000001', 'user', 'x')$$,
	$$SELECT memory.append('ann', '00000000-0000-0000-0000-000000000001', '[]'::jsonb)$$,
	$$SELECT memory.create_conversation('ann')$$, $$SELECT memory.update_conversation('ann', '00000000-0000-0000-0000-000000000001')$$,
	$$SELECT memory.delete_conversation('ann', '00000000-0000-0000-0000-000000000001')$$,
	$$SELECT memory.edit_message('ann', '00000000-0000-0000-0000-000000000001', 1, 'x')$$,
	$$SELECT memory.delete_message('ann', '00000000-0000-0000-0000-000000000001', 1)$$,
	$$INSERT INTO memory.messages (conversation_id, role, content) VALUES ('00000000-0000-0000-0000-000000000001', 'user', 'x')$$,
	$$UPDATE memory.messages SET content = 'x'$$, $$DELETE FROM memory.messages$$,
	$$INSERT INTO memory.conversations (account_id) VALUES ('ann')$$, $$UPDATE memory.conversations SET title = 'x'$$,
	$$DELETE FROM memory.conversations$$,
	$$SELECT memory.seal()$$, $$SELECT memory.maintain_step(NULL, NULL, 1)$$, $$CALL memory.maintain()$$, $$SELECT * FROM memory.verify()$$,
	$$SELECT memory.forget('ann')$$, $$SELECT memory.set_retention('ann', '1 year')$$, $$SELECT memory.train_dictionary()$$,
	$$SELECT * FROM memory.dictionaries$$,
	$$SELECT memory.grant_access('regress_nobody', 'reader')$$, $$SELECT memory.revoke_access('regress_reader')$$,
	$$SELECT * FROM memory_store.accounts$$, $$SELECT * FROM memory_store.grants$$, $$SELECT * FROM memory_store.tail$$,
	$$INSERT INTO memory_store.grants VALUES ('SELECT ON memory_store.tail', 'reader')$$, $$TRUNCATE memory_store.tail$$,
	$$SELECT memory_store.relation_handler()$$, $$CREATE TABLE memory.t ()$$, $$CREATE TABLE memory_store.t ()$$,
	$$CREATE TRIGGER t AFTER INSERT ON memory.messages FOR EACH ROW EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()$$,
	$$CREATE FOREIGN TABLE security_test.mine (conversation_id uuid) SERVER memory_ext OPTIONS (relation 'messages')$$,
	$$SET session_replication_role = replica$$, $$SET memory_ext.account = 'ann'$$]) WITH ORDINALITY AS x (statement, n) ORDER BY n;
-- of the schema memory_store nothing at all
SELECT r.rolname, has_schema_privilege(r.oid, 'memory_store', 'USAGE, CREATE') AS schema,
	count(*) FILTER (WHERE has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')) AS relations,
	(SELECT count(*) FROM pg_proc p WHERE pronamespace = 'memory_store'::regnamespace AND has_function_privilege(r.oid, p.oid, 'EXECUTE')) AS functions
	FROM pg_roles r, pg_class c WHERE r.rolname LIKE 'regress\_%' AND c.relnamespace = 'memory_store'::regnamespace AND c.relkind IN ('r', 'v', 'S')
	GROUP BY r.oid, r.rolname ORDER BY 1;
-- a lower level does not take away; revoke_access takes all
SELECT memory.grant_access('regress_operator', 'reader');
SELECT security_test.may('regress_operator', 'SELECT memory.seal()') AS still;
SELECT memory.revoke_access('regress_operator');
SELECT security_test.may('regress_operator', 'SELECT memory.seal()') AS seal, security_test.may('regress_operator', 'SELECT * FROM memory.messages') AS read,
	has_schema_privilege('regress_operator', 'memory', 'USAGE') AS schema;
SELECT count(*) AS left_over FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = 'regress_operator'::regrole;
SELECT memory.grant_access('regress_operator', 'operator');
SELECT memory.grant_access('regress_operator', 'admin');
SELECT memory.grant_access('no such role', 'reader');
SELECT memory.grant_access('public', 'reader');
-- a name that needs quotes
CREATE ROLE "regress; DROP ROLE regress_reader; --";
SELECT memory.grant_access('regress; DROP ROLE regress_reader; --', 'writer');
SELECT memory.revoke_access('regress; DROP ROLE regress_reader; --');
DROP ROLE "regress; DROP ROLE regress_reader; --";

--
-- A monitor: numbers, no texts
--
CREATE ROLE regress_monitor LOGIN;
SELECT memory.grant_access('regress_monitor', 'monitor');
-- what it may read, with all that is not a number, a time or a yes or no
SELECT c.oid::regclass AS relation, string_agg(a.attname || ' ' || format_type(a.atttypid, NULL), ', ' ORDER BY attnum)
		FILTER (WHERE t.typcategory NOT IN ('N', 'D', 'B', 'T')) AS others
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 JOIN pg_type t ON t.oid = a.atttypid
	WHERE relnamespace = 'memory'::regnamespace AND relkind IN ('r', 'v', 'f', 'S') AND has_column_privilege('regress_monitor', c.oid, attnum, 'SELECT')
	GROUP BY c.oid ORDER BY relname;
SELECT p.oid::regprocedure AS function FROM pg_proc p
	WHERE pronamespace = 'memory'::regnamespace AND has_function_privilege('regress_monitor', p.oid, 'EXECUTE') ORDER BY proname;
-- it can; and what has texts, or changes anything, it cannot
SELECT statement, security_test.may('regress_monitor', 'SELECT ' || statement) AS monitor FROM (
	SELECT format('%s FROM %s', string_agg(quote_ident(attname), ', ' ORDER BY attnum), c.oid::regclass) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		WHERE relnamespace = 'memory'::regnamespace AND relkind IN ('r', 'v', 'f') AND has_column_privilege('regress_monitor', c.oid, attnum, 'SELECT') GROUP BY c.oid, relname
	UNION ALL SELECT unnest(ARRAY['memory.check_quota(''ann'', ''messages'')', 'memory.upgrade_required(''ann'')'])) x (statement)
	WHERE security_test.may('regress_monitor', 'SELECT ' || statement) <> 'yes';
SELECT statement, security_test.may('regress_monitor', statement) AS monitor FROM unnest(ARRAY[
	'SELECT * FROM memory.messages', 'SELECT title FROM memory.conversations', 'SELECT error FROM memory.jobs', 'SELECT * FROM memory.job_errors',
	'SELECT memory.history(''ann'', NULL)', 'SELECT memory.export(''native'')', 'SELECT * FROM memory.verify()', 'SELECT memory.append(''ann'', NULL, ''[]''::jsonb)',
	'UPDATE memory.plans SET title = title', 'CALL memory.maintain()', 'SELECT * FROM memory_store.tail']) statement;
-- no other level has all of it, and it does not take away from one
SELECT security_test.may('regress_reader', 'SELECT * FROM memory.usage_drift') AS reader;
SELECT memory.grant_access('regress_operator', 'monitor');
SELECT security_test.may('regress_operator', 'SELECT memory.seal()') AS still;
SELECT memory.revoke_access('regress_monitor');
SELECT count(*) AS left_over FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = 'regress_monitor'::regrole;
DROP ROLE regress_monitor;

--
-- One account only
--
CREATE ROLE regress_ann LOGIN;
CREATE ROLE regress_gateway LOGIN;
SELECT memory.grant_access('regress_ann', 'operator'), memory.grant_access('regress_gateway', 'gateway');
GRANT CREATE ON SCHEMA security_test TO regress_ann;
GRANT USAGE ON SCHEMA security_test TO regress_ann, regress_gateway;
ALTER ROLE regress_ann SET memory_ext.account = 'ann';
\c -
SET memory_ext.account = 'ann';
SET SESSION AUTHORIZATION regress_ann;
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
SHOW memory_ext.account;
-- all views show ann's
SELECT account_id, seq, content FROM memory.messages ORDER BY 1, 2;
SELECT account_id, message_count FROM memory.conversations;
SELECT account_id, conversations, messages FROM memory.storage;
SELECT count(*) FROM memory.messages WHERE account_id = 'bob';
SELECT count(*) FROM memory.messages WHERE conversation_id = :'c2';
-- functions: left out it is ann's, another is not available, its conversations are not found, and their ids are free
SELECT seq, content FROM memory.history(NULL, :'c1');
SELECT count(*) FROM memory.context(NULL, :'c1', NULL);
SELECT content FROM memory.message(NULL, :'c1', 1);
SELECT conversation_id, message_count FROM memory.recent_conversations(NULL);
CREATE FUNCTION security_test.raises(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RAISE EXCEPTION 'no error' USING ERRCODE = 'ZZ000';	-- and no effect
EXCEPTION WHEN OTHERS THEN
	RETURN CASE WHEN SQLSTATE = 'ZZ000' THEN '' ELSE SQLSTATE || ' ' END || SQLERRM;
END $$;
-- a value for an argument
CREATE FUNCTION security_test.some(type oid, name text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN name IN ('account_id', 'subscription_id') THEN quote_literal('bob') WHEN name = 'format' THEN quote_literal('native')
		WHEN type = 'text'::regtype THEN quote_literal('x') WHEN type = 'uuid'::regtype THEN quote_literal('00000000-0000-0000-0000-000000000002')
		WHEN type IN ('integer'::regtype, 'bigint'::regtype, 'real'::regtype) THEN '1' WHEN type = 'boolean'::regtype THEN 'false'
		WHEN type = 'jsonb'::regtype THEN quote_literal('[]') ELSE 'NULL' END || '::' || format_type(type, NULL)
$$;
SELECT replace(f, '00000000-0000-0000-0000-00000000000', 'c') AS function, security_test.raises(format('SELECT memory.%s', f)) FROM unnest(ARRAY[
	$$history('bob', '00000000-0000-0000-0000-000000000002')$$, $$history(NULL, '00000000-0000-0000-0000-000000000002')$$,
	$$context('bob', '00000000-0000-0000-0000-000000000002', 1)$$, $$context(NULL, '00000000-0000-0000-0000-000000000002', 1)$$,
	$$message('bob', '00000000-0000-0000-0000-000000000002', 1)$$, $$message(NULL, '00000000-0000-0000-0000-000000000002', 1)$$,
	$$recent_conversations('bob')$$, $$append('bob', '00000000-0000-0000-0000-000000000002', 'user', 'x')$$,
	$$append(NULL, '00000000-0000-0000-0000-000000000002', 'user', 'x')$$,
	$$append('bob', '00000000-0000-0000-0000-000000000009', '[]'::jsonb)$$,
	$$append(NULL, '00000000-0000-0000-0000-000000000002', '[{"role": "user", "content": "x"}]'::jsonb)$$,
	$$create_conversation('bob')$$, $$create_conversation(NULL, '00000000-0000-0000-0000-000000000002')$$,
	$$update_conversation('bob', '00000000-0000-0000-0000-000000000002', 'x')$$,
	$$update_conversation(NULL, '00000000-0000-0000-0000-000000000002', 'x')$$,
	$$delete_conversation('bob', '00000000-0000-0000-0000-000000000002')$$, $$delete_conversation(NULL, '00000000-0000-0000-0000-000000000002')$$,
	$$edit_message('bob', '00000000-0000-0000-0000-000000000002', 1, 'x')$$, $$edit_message(NULL, '00000000-0000-0000-0000-000000000002', 1, 'x')$$,
	$$delete_message('bob', '00000000-0000-0000-0000-000000000002', 1)$$, $$delete_message(NULL, '00000000-0000-0000-0000-000000000002', 1)$$,
	$$seal('bob')$$, $$forget('bob')$$, $$set_retention('bob', '1 day')$$, $$train_dictionary()$$,
	$$maintain_step(NULL, NULL, 1)$$]) f;
SELECT * FROM memory.verify('bob');
SELECT memory.account_visible('ann') AS ann, memory.account_visible('bob') AS bob;
\set SHOW_CONTEXT never
CALL memory.maintain();
\set SHOW_CONTEXT errors
-- sealing is for ann's only
SET memory_ext.seal_after = 0;
SELECT memory.seal() AS idle;
SELECT memory.append(NULL, :'c1', 'user', 'one more', tokens => 1);
SELECT memory.seal(), memory.seal(NULL, :'c2');
-- what concerns all accounts: every function of an operator that is not known to keep to one, with whatever
-- arguments, and every change of a table that all plans and prices are read from
SELECT p.oid::regprocedure AS all_accounts, security_test.raises(format('%s %s(%s)',
		CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.oid::regproc,
		(SELECT string_agg(security_test.some(t, name), ', ' ORDER BY n) FROM unnest(p.proargtypes::oid[], p.proargnames) WITH ORDINALITY a(t, name, n)
			WHERE n <= p.pronargs))) AS raises
	FROM pg_proc p WHERE pronamespace = 'memory'::regnamespace AND has_function_privilege('regress_ann', oid, 'EXECUTE')
		AND NOT has_function_privilege('regress_writer', oid, 'EXECUTE') ORDER BY proname, pronargs;
SELECT c.oid::regclass || ': ' || what AS all_accounts, security_test.raises(format(statement, c.oid::regclass, a.attname)) AS raises
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND attnum = 1,
		(VALUES ('INSERT', 'INSERT INTO %s SELECT * FROM %1$s WHERE false'), ('UPDATE', 'UPDATE %s SET %I = %2$I WHERE false'), ('DELETE', 'DELETE FROM %s WHERE false')) s(what, statement)
	WHERE relnamespace = 'memory'::regnamespace AND relkind = 'r' AND has_table_privilege('regress_ann', c.oid, what)
		AND NOT has_table_privilege('regress_writer', c.oid, what) ORDER BY 1;
SELECT relation, security_test.raises(format('SELECT FROM %s', relation)), (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %s', relation), false, true, '')))[1]::text AS rows
	FROM unnest(ARRAY['memory.outbox_consumers', 'memory.dictionaries']) relation;
-- writing through the relations
INSERT INTO memory.messages (account_id, conversation_id, role, content) VALUES ('bob', :'c2', 'user', 'x');
BEGIN;
INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c2', 'user', 'x') RETURNING account_id, seq;
ROLLBACK;
INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c3', 'user', 'a new conversation of ann''s') RETURNING account_id, seq;
INSERT INTO memory.conversations (account_id) VALUES ('bob');
BEGIN;
INSERT INTO memory.conversations (conversation_id, title) VALUES (:'c2', 'x') RETURNING account_id;
ROLLBACK;
INSERT INTO memory.conversations (conversation_id, title) VALUES (:'c9', 'ann''s, too') RETURNING account_id;
COPY memory.messages (conversation_id, account_id, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000003	ann	user	x
00000000-0000-0000-0000-000000000002	bob	user	x
\.
BEGIN;
COPY memory.messages (conversation_id, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000003	user	x
00000000-0000-0000-0000-000000000002	user	x
\.
ROLLBACK;
COPY memory.messages (conversation_id, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000003	user	copied
\.
COPY (SELECT account_id, conversation_id, seq, content FROM memory.messages ORDER BY 2, 3) TO STDOUT;
UPDATE memory.messages SET content = 'overwritten' WHERE conversation_id = :'c2' RETURNING seq;
UPDATE memory.messages SET content = content || '!' WHERE seq = 1 RETURNING account_id, content;
UPDATE memory.conversations SET title = 'overwritten' WHERE account_id = 'bob' RETURNING title;
UPDATE memory.conversations SET title = 'a title' RETURNING account_id;
DELETE FROM memory.messages WHERE account_id = 'bob' RETURNING seq;
DELETE FROM memory.conversations WHERE conversation_id <> :'c1' RETURNING account_id;
-- a caller's function in WHERE, however cheap, does not see other accounts' rows, nor does an error tell of them
CREATE FUNCTION security_test.peep(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 0.0000001 AS $$
BEGIN
	RAISE NOTICE 'saw %', what;
	RETURN true;
END $$;
CREATE FUNCTION security_test.peep(a text, b text) RETURNS boolean LANGUAGE sql IMMUTABLE COST 0.0000001 AS 'SELECT security_test.peep(a)';
CREATE OPERATOR security_test.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = security_test.peep);
SELECT count(*) FROM memory.messages WHERE security_test.peep(content);
SELECT count(*) FROM memory.messages WHERE security_test.peep(account_id) AND conversation_id = :'c2';
SELECT count(*) FROM memory.messages WHERE content OPERATOR(security_test.===) 'x';
SELECT count(*) FROM memory.conversations WHERE security_test.peep(account_id);
SELECT count(*) FROM memory.storage WHERE security_test.peep(account_id);
SELECT count(*) FROM memory.messages WHERE content::integer = 1;
SELECT count(*) FROM memory.conversations WHERE account_id::integer = 1;
SELECT count(*) FROM memory.conversations c JOIN memory.messages m USING (conversation_id) WHERE security_test.peep(c.account_id || ': ' || m.content);
UPDATE memory.messages SET content = 'seen' WHERE security_test.peep(content);
DELETE FROM memory.messages WHERE security_test.peep(content);
-- the setting is not the role's to change (test/t/025_login.pl has sessions that begin as the role)
SET memory_ext.account = 'bob';
SET memory_ext.account TO DEFAULT;
RESET memory_ext.account;
SELECT set_config('memory_ext.account', 'bob', true);
CREATE FUNCTION security_test.bob() RETURNS bigint LANGUAGE sql SET memory_ext.account = 'bob' AS 'SELECT count(*) FROM memory.messages';
ALTER ROLE regress_ann SET memory_ext.account = 'bob';
ALTER ROLE regress_ann RESET memory_ext.account;
ALTER ROLE regress_ann RESET ALL;
RESET ALL;
SHOW memory_ext.account;
UPDATE pg_settings SET setting = 'bob' WHERE name = 'memory_ext.account';
-- a function with the right to do so gives the session another value, which RESET takes back; the
-- function uses the extension first, so that the setting is known to be protected
\c -
ALTER ROLE regress_ann SET memory_ext.account = 'nobody';
CREATE FUNCTION security_test.enter(account text) RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$ SELECT memory.account_visible('') IS NOT NULL AND set_config('memory_ext.account', account, false) = account $$;
\c -
SET SESSION AUTHORIZATION regress_ann;
SELECT security_test.enter('bob');
SELECT DISTINCT account_id FROM memory.conversations;
SET memory_ext.account = '';
RESET memory_ext.account;
RESET ALL;
SHOW memory_ext.account;
-- the gateway has been granted the setting; until it uses it, each function that it may call finds nothing or is refused
\c -
SET SESSION AUTHORIZATION regress_gateway;
SELECT p.oid::regprocedure AS nameless, security_test.raises(format('%s %s(%s)',
		CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.oid::regproc,
		(SELECT string_agg(security_test.some(t, name), ', ' ORDER BY n) FROM unnest(p.proargtypes::oid[], p.proargnames) WITH ORDINALITY a(t, name, n)
			WHERE n <= p.pronargs))) AS raises
	FROM pg_proc p WHERE pronamespace = 'memory'::regnamespace AND has_function_privilege('regress_gateway', oid, 'EXECUTE')
		AND (prosecdef OR prokind = 'p') ORDER BY proname, pronargs;
SELECT c.oid::regclass AS nameless FROM pg_class c WHERE relnamespace = 'memory'::regnamespace AND relkind IN ('v', 'f')
	AND relname <> 'import_documents' AND has_table_privilege('regress_gateway', oid, 'SELECT')
	AND (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %s', c.oid::regclass), false, true, '')))[1]::text <> '0';
BEGIN;
SET LOCAL memory_ext.account = 'bob';
SELECT DISTINCT account_id FROM memory.conversations;
COMMIT;
SELECT DISTINCT account_id FROM memory.conversations ORDER BY 1;
SET memory_ext.account = 'nobody';
SELECT count(*) FROM memory.messages;
-- what bob has is as it was
\c -
SET memory_ext.account = 'bob';
SELECT account_id, seq, content FROM memory.messages ORDER BY 2;
SELECT title, message_count FROM memory.conversations;
SELECT tail_count FROM memory_store.conversations WHERE account_id = 'bob';
RESET memory_ext.account;
SELECT account_id, revision FROM memory_store.accounts ORDER BY 1;

--
-- Callers that put objects of their own in the way
--
CREATE ROLE regress_evil LOGIN;
SELECT memory.grant_access('regress_evil', 'operator');
CREATE SCHEMA evil AUTHORIZATION regress_evil;
\c -
SET SESSION AUTHORIZATION regress_evil;
SET TIME ZONE 'UTC';
-- operators and functions that tell who runs them
CREATE FUNCTION evil.tell(what text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
	RAISE NOTICE 'evil % ran as %', what, current_user;
END $$;
DO $$
DECLARE
	type text;
	name text;
BEGIN
	FOREACH type IN ARRAY '{text,uuid,int8,int4,bool,timestamptz,interval,jsonb,name,oid}'::text[] LOOP
		FOREACH name IN ARRAY '{=,<>,<,<=,>,>=,+,-,>>,||,~}'::text[] LOOP
			EXECUTE format('CREATE FUNCTION evil.%1$I(a %2$s, b %2$s) RETURNS %3$s LANGUAGE plpgsql AS
				$f$ BEGIN PERFORM evil.tell(%1$L); RETURN NULL; END $f$', name || ' of ' || type, type,
				CASE WHEN name IN ('+', '-', '>>', '||') THEN type ELSE 'bool' END);
			EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.%I)', name, type, type, name || ' of ' || type);
		END LOOP;
	END LOOP;
	FOREACH name IN ARRAY '{now(),clock_timestamp(),unnest(anyarray),array_position(anyarray\,anyelement),octet_length(text),
		account_visible(text),unpack(memory.transcript),stored_bytes(memory.transcript),estimate_tokens(text),seal_idle(integer),
		expire_batch(integer),purge(),current_setting(text),round(numeric\,integer),format(text\,text),format(text\,bigint)}'::text[] LOOP
		EXECUTE format('CREATE FUNCTION evil.%s RETURNS bool LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.tell(%L); RETURN NULL; END $f$', name, name);
	END LOOP;
	FOREACH type IN ARRAY '{text,uuid,int8,int4,timestamptz}'::text[] LOOP
		EXECUTE format('CREATE FUNCTION evil.step(state %1$s, value %1$s) RETURNS %1$s LANGUAGE plpgsql AS
			$f$ BEGIN PERFORM evil.tell(%2$L); RETURN NULL; END $f$', type, 'aggregate of ' || type);
		FOREACH name IN ARRAY '{max,min,count,sum}'::text[] LOOP
			EXECUTE format('CREATE AGGREGATE evil.%I(%s) (SFUNC = evil.step, STYPE = %s)', name, type, type);
		END LOOP;
	END LOOP;
END $$;
-- the casts of the system's types are not to be had
CREATE CAST (uuid AS text) WITH INOUT AS IMPLICIT;
-- tables as the store's, with triggers, and types as the system's
CREATE FUNCTION evil.trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM evil.tell('trigger on ' || tg_relid::regclass);
	RETURN NULL;
END $$;
DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY '{accounts,conversations,segments,tail,tombstones,grants,dictionaries,retention,messages}'::text[] LOOP
		EXECUTE format('CREATE TABLE evil.%I (account_id text, conversation_id uuid, seq bigint, role text, content text, body memory.transcript)', name);
		EXECUTE format('CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON evil.%I FOR EACH ROW EXECUTE FUNCTION evil.trigger()', name);
	END LOOP;
END $$;
CREATE DOMAIN evil.uuid AS integer;
CREATE DOMAIN evil.jsonb AS integer;
CREATE DOMAIN evil.timestamptz AS integer;
CREATE DOMAIN evil.name AS integer;
CREATE DOMAIN evil.interval AS integer;
CREATE DOMAIN evil.message AS integer;
CREATE DOMAIN evil.transcript AS integer;
CREATE DOMAIN evil.text AS integer;

-- In a new session all statements of the store are yet to be planned, and all that
-- the caller writes without a schema is evil.
\c -
SET SESSION AUTHORIZATION regress_evil;
SET TIME ZONE 'UTC';
SET search_path = evil, pg_catalog;
SELECT 'a'::pg_catalog.text = 'a'::pg_catalog.text AS evil_works;
SELECT pg_catalog.count(*) FROM messages;
-- yet the extension does what it should, and none of it is called
SET memory_ext.segment_messages = 4;
SELECT memory.append('eve', :'c7', 'user', 'one', tokens => 1, created_at => '2026-01-01Z', metadata => '{"a": 1}');
SELECT memory.append('eve', :'c7', '[{"role": "user", "content": "two"}, {"role": "user", "content": "three"}, {"role": "user", "content": "four"}, {"role": "user", "content": "five"}]');
INSERT INTO memory.messages (account_id, conversation_id, role, content) VALUES ('eve', :'c7', 'user', 'six'), ('eve', :'c7', 'user', 'seven') RETURNING seq;
INSERT INTO memory.messages (conversation_id, seq, role, content) VALUES (:'c7', 10, 'user', 'ten');
INSERT INTO memory.messages (conversation_id, seq, role, content) VALUES (:'c7', 9, 'user', 'late');
COPY memory.messages (conversation_id, account_id, role, content) FROM STDIN;
00000000-0000-0000-0000-000000000007	eve	user	eleven
00000000-0000-0000-0000-000000000008	eve	user	1
00000000-0000-0000-0000-000000000008	eve	user	2
00000000-0000-0000-0000-000000000008	eve	user	3
00000000-0000-0000-0000-000000000008	eve	user	4
00000000-0000-0000-0000-000000000008	eve	user	5
\.
SELECT memory.edit_message('eve', :'c7', 2, 'two!');
SELECT memory.delete_message('eve', :'c7', 3);
UPDATE memory.messages SET content = 'seven!' WHERE conversation_id OPERATOR(pg_catalog.=) :'c7' AND seq OPERATOR(pg_catalog.=) 7;
DELETE FROM memory.messages WHERE conversation_id OPERATOR(pg_catalog.=) :'c7' AND seq OPERATOR(pg_catalog.=) 4;
SELECT seq, parent_seq, content FROM memory.history('eve', :'c7');
SELECT seq, content FROM memory.context('eve', :'c7', NULL, 2);
SELECT content, metadata FROM memory.message('eve', :'c7', 1);
SELECT memory.create_conversation('eve', '00000000-0000-0000-0000-000000000004', 'title', '{"a": 1}');
SELECT memory.update_conversation('eve', '00000000-0000-0000-0000-000000000004', 'another');
INSERT INTO memory.conversations (conversation_id, account_id, title) VALUES ('00000000-0000-0000-0000-000000000005', 'eve', 'five');
UPDATE memory.conversations SET title = 'fünf' WHERE conversation_id OPERATOR(pg_catalog.=) '00000000-0000-0000-0000-000000000005';
SELECT conversation_id, title, message_count FROM memory.recent_conversations('eve');
SELECT memory.delete_conversation('eve', '00000000-0000-0000-0000-000000000004');
DELETE FROM memory.conversations WHERE conversation_id OPERATOR(pg_catalog.=) '00000000-0000-0000-0000-000000000005';
SELECT account_id, conversations, messages FROM memory.storage ORDER BY account_id;
SELECT memory.seal('eve', :'c7'), memory.seal('eve'), memory.seal();
SET memory_ext.seal_after = 0;
SET memory_ext.compact_after = 0;
SET memory_ext.purge_after = 0;
SET memory_ext.auto_dictionary = off;
SELECT memory.append('eve', :'c7', 'user', 'last', created_at => '2026-01-01Z');
SELECT memory.set_retention('nobody', '1 day');
CALL memory.maintain();
SELECT * FROM memory.verify();
SELECT (memory.train_dictionary()).dictionary_id AS too_little_for_one;
SELECT is_current FROM memory.dictionaries;
SELECT memory.forget('nobody') IS NOT NULL AS receipt;
SELECT memory.message_count(body) FROM (SELECT memory.transcript('user', 'x') AS body) t;
-- documents: one that is new, and that has grown; one that is refused, whose excerpt an erasure takes along
SELECT state FROM memory.import_document('eve', '{"title": "t", "current_node": "a", "mapping": {"a": {"message":
	{"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["hi"]}}, "parent": null, "children": []}}}', 'chatgpt');
SELECT state FROM memory.import_document('eve', '{"id": "00000000-0000-0000-0000-000000000006", "title": "t", "current_node": "a", "mapping": {"a": {"message":
	{"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["hi"]}}, "parent": null, "children": []}}}', 'chatgpt');
SELECT state FROM memory.import_document('eve', '{"id": "00000000-0000-0000-0000-000000000006", "title": "t", "current_node": "b", "mapping": {"a": {"message":
	{"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["hi"]}}, "parent": null, "children": ["b"]}, "b": {"message":
	{"author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["ho"]}}, "parent": "a", "children": []}}, "more": 1}', 'chatgpt');
SET client_min_messages = warning; -- the job's number differs
SET memory_ext.import_on_error = skip;
COPY memory.import_documents FROM STDIN;
{"no": "document"}
\.
RESET client_min_messages;
SELECT memory.forget('nobody') IS NOT NULL AS receipt;
SET memory_ext.job_retention = 0;
CALL memory.maintain(phase => 'trim jobs');
-- usage and quotas
SELECT memory.record_usage('eve', 'm', 1, request_id => 'r'), memory.record_usage('eve', 'm', 1, request_id => 'r');
CALL memory.maintain(phase => 'roll up calls');
SELECT memory.load_example_plans();
SELECT memory.subscribe('eve', 'free', '2026-01-01Z'), memory.set_subscription('mallory', 'eve');
SELECT (memory.check_quota('eve', 'tokens')).allowed, (memory.enforce_limit('eve', 'tokens', 5)).used, (memory.reserve_usage('eve', 'r1', 10)).reserved;
SELECT memory.settle_usage('eve', 'r1', 3), memory.upgrade_required('eve') IS NULL AS fits, memory.change_plan('eve', 'pro', 'now') IS NOT NULL AS changed;
SELECT memory.append('eve', :'c7', 'user', 'charged', tokens => 1);
SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>) 0 AS told FROM memory.outbox_read('evil');
-- temporary objects come before all others, even before the system's
\c -
SET SESSION AUTHORIZATION regress_evil;
SET TIME ZONE 'UTC';
CREATE TEMP TABLE accounts (account_id text, subscription_id text, revision bigint, created_at timestamptz);
CREATE TEMP TABLE conversations (LIKE memory.conversations);
CREATE TEMP TABLE segments (conversation_id uuid, account_id text, body memory.transcript);
CREATE TEMP TABLE tail (conversation_id uuid, account_id text, seq bigint);
CREATE TEMP TABLE messages (LIKE memory.messages);
CREATE DOMAIN pg_temp.uuid AS integer;
CREATE DOMAIN pg_temp.timestamptz AS integer;
CREATE DOMAIN pg_temp.text AS integer;
SELECT memory.append('eve', :'c7', 'user', 'with temporary tables');
INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c7', 'user', 'and again') RETURNING seq;
SELECT seq, content FROM memory.history('eve', :'c7', max_messages => 2);
SELECT conversation_id, message_count FROM memory.recent_conversations('eve') LIMIT 1;
SELECT memory.seal();
SET memory_ext.compact_after = '10000d';
SET memory_ext.auto_dictionary = off;
CALL memory.maintain();
SELECT * FROM memory.verify();
SELECT count(*) FROM conversations;
-- a superuser who grants while all this is in the way
\c -
SET search_path = evil, pg_catalog;
SELECT memory.grant_access('regress_nobody', 'writer');
SELECT memory.revoke_access('regress_nobody');
RESET search_path;

--
-- A view of one's own over the relations, for a role that has no level: its owner's rights are enough
--
SELECT memory.append('ann', :'c9', 'user', 'sealed') AS ann, memory.append('bob', :'c3', 'user', 'of bob') AS bob;
SELECT memory.seal('ann', :'c9');
SELECT memory.append('ann', :'c9', 'user', 'in the tail');
CREATE VIEW security_test.of_ann WITH (security_barrier) AS
	SELECT * FROM memory.messages WHERE account_id = 'ann' AND conversation_id = :'c9' WITH LOCAL CHECK OPTION;
GRANT USAGE ON SCHEMA security_test TO regress_nobody;
GRANT SELECT, INSERT, UPDATE, DELETE ON security_test.of_ann TO regress_nobody;
SET ROLE regress_nobody;
SELECT seq, content FROM security_test.of_ann ORDER BY seq;
INSERT INTO security_test.of_ann (conversation_id, role, content) VALUES (:'c9', 'user', 'through the view') RETURNING seq;
INSERT INTO security_test.of_ann (conversation_id, role, content) VALUES (:'c3', 'user', 'to bob');
UPDATE security_test.of_ann SET content = 'changed' WHERE seq = 1;
UPDATE security_test.of_ann SET account_id = 'bob';
DELETE FROM security_test.of_ann WHERE seq = 2;
SELECT seq, content FROM security_test.of_ann ORDER BY seq;
SELECT count(*) FROM memory.messages;
RESET ROLE;
SELECT seq, content FROM memory.messages WHERE account_id = 'bob' AND conversation_id = :'c3';

--
-- Triggers switched off: for superusers only
--
-- all is stored all the same
SET session_replication_role = replica;
SELECT memory.append('ann', :'c1', 'user', 'stored');
INSERT INTO memory.messages (account_id, conversation_id, role, content) VALUES ('ann', :'c1', 'user', 'stored, too');
COPY memory.messages (account_id, conversation_id, role, content) FROM stdin;
ann	00000000-0000-0000-0000-000000000001	user	copied
\.
UPDATE memory.messages SET content = 'changed' WHERE conversation_id = :'c1' AND seq = 2;
RESET session_replication_role;
SELECT seq, content FROM memory.history('ann', :'c1');

\i :empty
SET client_min_messages = warning;
TRUNCATE memory_store.subscriptions, memory_store.subscription_plans, memory_store.reservations, memory_store.usage_daily,
	memory_store.usage_calls, memory_store.usage_requests, memory_store.outbox, memory_store.outbox_consumers;
DELETE FROM memory.plans;
DROP SCHEMA security_test CASCADE;
DROP SCHEMA evil CASCADE;
DROP OWNED BY regress_nobody, regress_reader, regress_writer, regress_operator, regress_ann, regress_gateway, regress_evil;
DROP ROLE regress_nobody, regress_reader, regress_writer, regress_operator, regress_ann, regress_gateway, regress_evil;
