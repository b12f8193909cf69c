-- Who may use what.  PUBLIC may nothing; memory.grant_access gives a role the
-- privileges of its level.

CREATE FUNCTION memory.grant_access(role name, level text) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_grant_access' LANGUAGE C VOLATILE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION memory.grant_access(name, text) IS 'grants a role the privileges of a monitor, reader, writer or operator';

CREATE FUNCTION memory.revoke_access(role name) RETURNS void
	AS 'MODULE_PATHNAME', 'memory_revoke_access' LANGUAGE C VOLATILE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION memory.revoke_access(name) IS 'revokes everything that grant_access can grant';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA memory FROM PUBLIC;
REVOKE ALL ON ALL PROCEDURES IN SCHEMA memory FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA memory_store FROM PUBLIC;
REVOKE ALL ON SCHEMA memory FROM PUBLIC;
REVOKE ALL ON SCHEMA memory_store FROM PUBLIC;
REVOKE ALL ON TYPE memory.transcript FROM PUBLIC;
REVOKE ALL ON TYPE memory.message FROM PUBLIC;
REVOKE ALL ON TYPE memory.outbox_event FROM PUBLIC;
REVOKE ALL ON TYPE memory.quota_status FROM PUBLIC;
