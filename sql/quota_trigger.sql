-- memory.quota_trigger: limits on anybody's own tables.
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '-'
\pset format unaligned
CREATE SCHEMA quota_trigger_test;
SET search_path = quota_trigger_test, public;
CREATE FUNCTION raises(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	detail := regexp_replace(detail, '"period_end": "[^"]*"', '"period_end": "*"');
	RETURN concat_ws(E'\n', SQLSTATE || ' ' || SQLERRM, '  ' || nullif(detail, ''), '  ' || nullif(hint, ''));
END $$;
CREATE VIEW used AS
	SELECT subscription_id, messages_lifetime AS messages, tokens_lifetime AS tokens, conversations, content_bytes
	FROM memory_store.subscriptions ORDER BY 1;

INSERT INTO memory.plans (plan_id) VALUES ('p');
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES
	('p', 'messages', 'day', 30000), ('p', 'tokens', 'month', 100), ('p', 'content_bytes', 'current', 1000), ('p', 'conversations', 'current', 3);
SELECT memory.subscribe('a', 'p'), memory.subscribe('b', 'p'), memory.subscribe('team', 'p');

--
-- What flows: one a row, or a column's value
--
CREATE TABLE calls (id integer PRIMARY KEY, account text, n bigint);
CREATE TRIGGER calls_added AFTER INSERT ON calls REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('messages', 'account');
CREATE TRIGGER calls_tokens AFTER INSERT ON calls REFERENCING NEW TABLE AS "New ""rows"
	FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('tokens', 'account', 'n');
CREATE TRIGGER calls_removed AFTER DELETE ON calls REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('tokens', 'account', 'n');
CREATE TRIGGER calls_changed AFTER UPDATE ON calls REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('tokens', 'account', 'n');
INSERT INTO calls VALUES (1, 'a', 10), (2, 'b', 20), (3, 'a', 30), (4, NULL, 1000), (5, 'free', 7000), (6, 'b', NULL);
TABLE used;
-- refused as a whole, by account and meter
SELECT raises($$INSERT INTO calls VALUES (7, 'b', 1), (8, 'a', 61)$$);
SELECT count(*) FROM calls;
TABLE used;
COPY calls FROM STDIN;
7	a	50
\.
-- an UPDATE counts what it adds, a DELETE gives nothing back
UPDATE calls SET n = n + 2 WHERE id IN (2, 6);
UPDATE calls SET n = 1 WHERE id = 2;
UPDATE calls SET account = 'b' WHERE id = 3;
TABLE used;
SELECT raises($$UPDATE calls SET n = n * 10$$);
UPDATE memory.plan_limits SET limit_value = 200 WHERE meter = 'tokens';
DELETE FROM calls;
INSERT INTO calls VALUES (1, 'a', 10) ON CONFLICT DO NOTHING;
INSERT INTO calls VALUES (1, 'a', 1000) ON CONFLICT (id) DO UPDATE SET n = 11;
INSERT INTO calls SELECT 1, 'a', 1 WHERE false;
TABLE used;

--
-- What stands: an account's rows and bytes in this table
--
CREATE TABLE files (account varchar(10), size integer, content text);
CREATE TRIGGER files_added AFTER INSERT ON files REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('content_bytes', 'account', 'size');
CREATE TRIGGER files_changed AFTER UPDATE ON files REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('content_bytes', 'account', 'size');
CREATE TRIGGER files_removed AFTER DELETE ON files REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('content_bytes', 'account', 'size');
CREATE TRIGGER files_emptied AFTER TRUNCATE ON files FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('content_bytes', 'account', 'size');
INSERT INTO files VALUES ('a', 400), ('a', 500), ('b', 1);
SELECT raises($$INSERT INTO files VALUES ('a', 101)$$);
UPDATE files SET size = 300 WHERE size = 400;
SELECT subscription_id, content_bytes FROM used;
UPDATE files SET account = 'b' WHERE size = 500;
SELECT subscription_id, content_bytes FROM used;
SELECT raises($$UPDATE files SET account = 'b'; UPDATE files SET size = size + 100$$);
DELETE FROM files WHERE account = 'b';
SELECT subscription_id, content_bytes FROM used;
SELECT raises($$TRUNCATE files$$);
DROP TABLE files;

--
-- A trigger of the wrong kind is refused when it is first used
--
CREATE TABLE t (account text, n integer);
CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION memory.quota_trigger('messages', 'account');
SELECT raises($$INSERT INTO t VALUES ('a', 1)$$);
DROP TRIGGER t ON t;
CREATE TRIGGER t BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('messages', 'account');
SELECT raises($$INSERT INTO t VALUES ('a', 1)$$);
DROP TRIGGER t ON t;
CREATE TRIGGER t AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('messages', 'account');
SELECT raises($$INSERT INTO t VALUES ('a', 1)$$);
DROP TRIGGER t ON t;
CREATE TRIGGER t AFTER UPDATE ON t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('messages', 'account');
SELECT raises($$UPDATE t SET n = 1$$);
DROP TRIGGER t ON t;
CREATE TRIGGER t AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('messages');
SELECT raises($$INSERT INTO t VALUES ('a', 1)$$);
DROP TRIGGER t ON t;
CREATE TRIGGER t AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger();
SELECT raises($$INSERT INTO t VALUES ('a', 1)$$);
DROP TRIGGER t ON t;
CREATE TRIGGER t AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('messages', 'account', 'n', 'x');
SELECT raises($$INSERT INTO t VALUES ('a', 1)$$);
DROP TRIGGER t ON t;
CREATE TRIGGER t AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('hours', 'account');
SELECT raises($$INSERT INTO t VALUES ('a', 1)$$);
DROP TRIGGER t ON t;
CREATE TRIGGER t AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('messages', 'acount');
SELECT raises($$INSERT INTO t VALUES ('a', 1)$$);
DROP TRIGGER t ON t;
CREATE TRIGGER t AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('messages', 'account', 'account');
SELECT raises($$INSERT INTO t VALUES ('a', 1)$$);
-- accounts must be such
SELECT raises($$INSERT INTO t VALUES ('', 1)$$);
DROP TRIGGER t ON t;
CREATE TRIGGER t AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('messages', 'account');
SELECT raises($$INSERT INTO t VALUES ('', 1)$$);
SELECT raises($$INSERT INTO t VALUES (repeat('x', 256), 1)$$);
SELECT raises($$SELECT memory.quota_trigger()$$);
-- a session that is confined charges its own account only
SET memory_ext.account = 'a';
INSERT INTO t VALUES ('a', 1);
SELECT raises($$INSERT INTO t VALUES ('a', 1), ('b', 1)$$);
RESET memory_ext.account;
SELECT subscription_id, messages FROM used;
DROP TABLE t;

--
-- Many accounts of one subscription, in one statement
--
SELECT count(memory.set_subscription('member ' || i, 'team')) FROM generate_series(1, 300) i;
INSERT INTO calls SELECT i + 1000, 'member ' || 1 + i % 300, 0 FROM generate_series(1, 20000) i;
SELECT subscription_id, messages FROM used;
SELECT raises($$INSERT INTO calls SELECT i + 100000, 'member ' || 1 + i % 300, 0 FROM generate_series(1, 10001) i$$) ~ '^MX001 quota exceeded for account "member [0-9]+": [0-9]+ messages requested, [0-9]+ of 30000 left';
INSERT INTO calls SELECT i + 100000, 'member ' || 1 + i % 300, 0 FROM generate_series(1, 10000) i;
SELECT subscription_id, messages FROM used;
-- the store counts into the same subscription
SELECT raises($$SELECT memory.append('member 7', '00000000-0000-0000-0000-000000000001', 'user', 'x')$$);
-- two accounts that a collation takes for one are two
CREATE TABLE folded (account text);
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') THEN
		CREATE COLLATION ignore_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		ALTER TABLE folded ALTER account TYPE text COLLATE ignore_case;
	END IF;
END $$;
CREATE TRIGGER folded AFTER INSERT ON folded REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('conversations', 'account');
INSERT INTO folded VALUES ('b'), ('B'), ('b');
SELECT subscription_id, conversations FROM used;

--
-- A role without any right on the store; and casts of its own
--
CREATE ROLE quota_owner;
CREATE ROLE quota_writer;
GRANT CREATE, USAGE ON SCHEMA quota_trigger_test TO quota_owner;
GRANT USAGE ON SCHEMA quota_trigger_test TO quota_writer;
GRANT SELECT ON used TO quota_owner, quota_writer;
SET ROLE quota_owner;
CREATE TABLE notes (account text);
GRANT INSERT, SELECT ON notes TO quota_writer;
-- attaching is the operators' privilege
SELECT raises($$CREATE TRIGGER notes AFTER INSERT ON notes REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('conversations', 'account')$$);
RESET ROLE;
GRANT USAGE ON SCHEMA memory TO quota_owner;
GRANT EXECUTE ON FUNCTION memory.quota_trigger() TO quota_owner;
SET ROLE quota_owner;
CREATE TRIGGER notes AFTER INSERT ON notes REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('conversations', 'account');
SET ROLE quota_writer;
INSERT INTO notes VALUES ('b');
SELECT raises($$INSERT INTO notes VALUES ('b')$$);
SELECT raises($$SELECT count(*) FROM memory_store.subscriptions$$);
SELECT raises($$SELECT memory.enforce_limit('b', 'conversations')$$);
RESET ROLE;
SELECT subscription_id, conversations FROM used;
-- the cast of an account column runs as who writes to the table, never as the extension's owner
SET ROLE quota_owner;
CREATE TABLE seen (who name);
GRANT INSERT ON seen TO PUBLIC;
CREATE TYPE sly AS (account text);
CREATE FUNCTION sly_text(sly) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO quota_trigger_test.seen VALUES (current_user);
	RETURN ($1).account;
END $$;
CREATE CAST (sly AS text) WITH FUNCTION sly_text(sly);
CREATE FUNCTION sly_number(sly) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO quota_trigger_test.seen VALUES (current_user);
	RETURN 0.4;
END $$;
CREATE CAST (sly AS numeric) WITH FUNCTION sly_number(sly);
-- nor do operators and functions that a search_path puts before PostgreSQL's
CREATE FUNCTION trap(numeric, numeric) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO quota_trigger_test.seen VALUES ('trap');
	RETURN true;
END $$;
CREATE OPERATOR <> (FUNCTION = trap, LEFTARG = numeric, RIGHTARG = numeric);
CREATE FUNCTION trap_minus(integer, numeric) RETURNS numeric LANGUAGE sql AS 'SELECT 1.0';
CREATE OPERATOR - (FUNCTION = trap_minus, LEFTARG = integer, RIGHTARG = numeric);
CREATE TABLE cast_notes (account sly, amount numeric);
CREATE TRIGGER cast_notes AFTER INSERT ON cast_notes REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
	EXECUTE FUNCTION memory.quota_trigger('tokens', 'account', 'amount');
GRANT INSERT ON cast_notes TO quota_writer;
SET ROLE quota_writer;
SET search_path = quota_trigger_test, pg_catalog;
INSERT INTO cast_notes VALUES (ROW ('b'), 2);
SELECT raises($$INSERT INTO cast_notes VALUES (ROW ('b'), 1000)$$) ~ '^MX001';
RESET ROLE;
SET search_path = quota_trigger_test, public;
SELECT who, count(*) FROM seen GROUP BY 1;
-- the rights are the writer's again afterwards, also when an error was caught
SET ROLE quota_writer;
DO $$
BEGIN
	BEGIN
		INSERT INTO quota_trigger_test.notes VALUES ('b');
	EXCEPTION WHEN SQLSTATE 'MX001' THEN
		RAISE NOTICE 'refused, as %', current_user;
	END;
	RAISE NOTICE 'still %', current_user;
END $$;
RESET ROLE;

-- on a partitioned table
CREATE TABLE parted (account text, d integer) PARTITION BY RANGE (d);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (10);
CREATE TRIGGER parted AFTER INSERT ON parted REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('tokens', 'account', 'd');
INSERT INTO parted VALUES ('a', 1), ('a', 2);
SELECT subscription_id, tokens FROM used;

-- without a plan it does nothing
TRUNCATE memory_store.subscriptions;
DELETE FROM memory.plans;
INSERT INTO calls VALUES (-1, 'a', 1000000);
TABLE used;

SET client_min_messages = warning;
TRUNCATE memory_store.accounts;
DROP SCHEMA quota_trigger_test CASCADE;
REVOKE USAGE ON SCHEMA memory FROM quota_owner;
REVOKE EXECUTE ON FUNCTION memory.quota_trigger() FROM quota_owner;
DROP ROLE quota_owner, quota_writer;
