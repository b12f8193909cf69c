-- Who may use what.  PUBLIC may nothing; memory.grant_access gives a role the
-- privileges of its level.

CREATE FUNCTION memory.grant_access(role name, level text) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_grant_access' LANGUAGE C VOLATILE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION memory.grant_access(name, text) IS
	'grants a role the privileges of a monitor, reader, writer, operator or gateway';

CREATE FUNCTION memory.revoke_access(role name) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_revoke_access' LANGUAGE C VOLATILE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION memory.revoke_access(name) IS 'revokes everything that grant_access can grant';

-- What a session may use that is confined to one account.  A function, or a right to change a
-- table, of an operator concerns all accounts unless it is named here: these work on the session's
-- account, or on nothing that is stored.  access.c refuses the other functions, a trigger the other
-- changes.
ALTER TABLE memory_store.grants ADD COLUMN confined boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN memory_store.grants.confined IS
	'whether a session that is confined to one account may use it';
CREATE FUNCTION memory_store.refuse_confined() RETURNS trigger
	AS 'MODULE_PATHNAME', 'memory_refuse_confined' LANGUAGE C;
COMMENT ON FUNCTION memory_store.refuse_confined() IS
	'statement trigger that refuses a session which is confined to one account';
DO $$
DECLARE
	of_one_account pg_catalog.text[] := ARRAY[
		'memory.seal(text, uuid)', 'memory.forget(text)', 'memory.verify(text)',
			'memory.set_retention(text, interval)',
		'memory.subscribe(text, text, timestamptz, text)', 'memory.set_subscription(text, text)',
		'memory.change_plan(text, text, text)', 'memory.invoice(text, date, date, text, integer)',
		'memory.quota_trigger()', 'memory.next_maintenance()',
		'memory.maintenance_is_running(integer, timestamptz)',
			'memory.to_cloudevent(memory.outbox_event, text)',
		'memory.to_stripe_meter_event(memory.outbox_event, text, text, text)'];
	name pg_catalog.text;
BEGIN
	UPDATE memory_store.grants SET confined = false
		WHERE level OPERATOR(pg_catalog.=) 'operator'
			AND privilege OPERATOR(pg_catalog.~) '^(EXECUTE|INSERT|UPDATE|DELETE)'
			AND pg_catalog.regexp_replace(privilege, '^EXECUTE ON (FUNCTION|PROCEDURE) ', '')
				OPERATOR(pg_catalog.<>) ALL (of_one_account);
	FOR name IN
		SELECT pg_catalog.regexp_replace(privilege, '^.* ON ', '') FROM memory_store.grants
		WHERE NOT confined AND privilege OPERATOR(pg_catalog.~) '^(INSERT|UPDATE|DELETE)'
	LOOP
		EXECUTE
			pg_catalog.format('CREATE TRIGGER all_accounts BEFORE INSERT OR UPDATE OR DELETE OR '
				'TRUNCATE ON %s'
			' FOR EACH STATEMENT EXECUTE FUNCTION memory_store.refuse_confined()', name);
	END LOOP;
END
$$;

-- who may choose it sees nothing until it has (base/account.c)
INSERT INTO memory_store.grants VALUES ('SET ON PARAMETER memory_ext.account', 'gateway');

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA memory FROM PUBLIC;
REVOKE ALL ON ALL PROCEDURES IN SCHEMA memory FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA memory_store FROM PUBLIC;
REVOKE ALL ON SCHEMA memory FROM PUBLIC;
REVOKE ALL ON SCHEMA memory_store FROM PUBLIC;
REVOKE ALL ON TYPE memory.transcript FROM PUBLIC;
REVOKE ALL ON TYPE memory.message FROM PUBLIC;
REVOKE ALL ON TYPE memory.outbox_event FROM PUBLIC;
REVOKE ALL ON TYPE memory.quota_status FROM PUBLIC;
