-- The same 20,000 rows of 100 accounts without and with the trigger: the last two statements.

DROP TABLE IF EXISTS plain.calls, plain.limited_calls;
CREATE TABLE plain.calls (call_id bigint PRIMARY KEY, account_id text NOT NULL, tokens bigint NOT NULL);
CREATE TABLE plain.limited_calls (LIKE plain.calls INCLUDING ALL);
CREATE TRIGGER quota AFTER INSERT ON plain.limited_calls REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('tokens', 'account_id', 'tokens');
INSERT INTO plain.calls SELECT n, 'account-' || n % 100, n % 1000 FROM generate_series(1, 20000) n;
INSERT INTO plain.limited_calls SELECT n, 'account-' || n % 100, n % 1000 FROM generate_series(1, 20000) n;
