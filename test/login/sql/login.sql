-- What only a session shows that began as the role: settings of roles, and DISCARD ALL, which ends
-- SET SESSION AUTHORIZATION.  Run by test/t/025_login.pl; sql/security.sql has the rest.
SELECT current_user AS owner \gset
CREATE ROLE regress_ann LOGIN;
CREATE ROLE regress_gateway LOGIN;
SELECT memory.grant_access('regress_ann', 'operator'), memory.grant_access('regress_gateway', 'gateway');
CREATE SCHEMA security_test;
GRANT USAGE, CREATE ON SCHEMA security_test TO regress_ann;
SELECT memory.append('ann', '00000000-0000-0000-0000-000000000001', 'user', 'ann''s text'),
	memory.append('bob', '00000000-0000-0000-0000-000000000002', 'user', 'bob''s text');
ALTER ROLE regress_ann SET memory_ext.account = 'ann';
\c - regress_ann
SHOW memory_ext.account;
SELECT account_id, content FROM memory.messages;
SELECT account_id FROM memory.conversations;
SELECT seq, content FROM memory.history(NULL, '00000000-0000-0000-0000-000000000001');
SELECT content FROM memory.message('bob', '00000000-0000-0000-0000-000000000002', 1);
-- the setting is not the role's to change
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
DISCARD ALL;
SHOW memory_ext.account;
SELECT DISTINCT account_id FROM memory.conversations;
UPDATE pg_settings SET setting = 'bob' WHERE name = 'memory_ext.account';
\c - regress_ann
SELECT DISTINCT account_id FROM memory.conversations;
-- a function with the right to do so gives the session another value, which RESET takes back; the
-- function uses the extension first, so that the setting is known to be protected
\c - :owner
ALTER ROLE regress_ann SET memory_ext.account = 'nobody';
CREATE FUNCTION security_test.enter(account text) RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$ SELECT memory.account_visible('') IS NOT NULL AND set_config('memory_ext.account', account, false) = account $$;
\c - regress_ann
SELECT security_test.enter('bob');
SELECT DISTINCT account_id FROM memory.conversations;
SET memory_ext.account = '';
RESET memory_ext.account;
RESET ALL;
SHOW memory_ext.account;
SELECT DISTINCT account_id FROM memory.conversations;
SELECT security_test.enter('bob');
DISCARD ALL;
SHOW memory_ext.account;
SELECT DISTINCT account_id FROM memory.conversations;
-- the gateway may choose, and has nothing until it does, or when it has begun anew
\c - regress_gateway
SELECT count(*) FROM memory.conversations;
SELECT memory.append('bob', '00000000-0000-0000-0000-000000000002', 'user', 'x');
BEGIN;
SET LOCAL memory_ext.account = 'bob';
SELECT DISTINCT account_id FROM memory.conversations;
COMMIT;
SELECT DISTINCT account_id FROM memory.conversations ORDER BY 1;
SET memory_ext.account = 'nobody';
SELECT count(*) FROM memory.messages;
SET memory_ext.account = 'bob';
SELECT content FROM memory.messages;
RESET memory_ext.account;
SELECT content FROM memory.messages;
SET memory_ext.account = 'bob';
RESET ALL;
SELECT content FROM memory.messages;
SET memory_ext.account = 'bob';
DISCARD ALL;
SELECT content FROM memory.messages;
-- the same where the library is not loaded yet
\c - regress_gateway
SET memory_ext.account = 'bob';
RESET ALL;
SELECT content FROM memory.messages;
\c - regress_gateway
SET memory_ext.account = 'bob';
DISCARD ALL;
SELECT content FROM memory.messages;
\c - regress_gateway
SET memory_ext.account = 'bob';
SELECT content FROM memory.messages;
-- whoever has been granted the setting by other ways is confined as well; a member of the gateway, too
\c - :owner
ALTER ROLE regress_ann RESET memory_ext.account;
\c - regress_ann
SELECT count(*) FROM memory.conversations;
\c - :owner
GRANT SET ON PARAMETER memory_ext.account TO regress_ann;
\c - regress_ann
SELECT count(*) FROM memory.conversations;
\c - :owner
REVOKE SET ON PARAMETER memory_ext.account FROM regress_ann;
GRANT regress_gateway TO regress_ann;
\c - regress_ann
SELECT count(*) FROM memory.conversations;
\c - :owner
SET ROLE regress_gateway;
SELECT count(*) FROM memory.conversations;
RESET ROLE;
SELECT count(*) FROM memory.conversations;
SELECT account_id, content FROM memory.messages ORDER BY 1;
DROP SCHEMA security_test CASCADE;
DROP OWNED BY regress_ann, regress_gateway;
DROP ROLE regress_ann, regress_gateway;
