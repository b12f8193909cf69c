-- The account that a call works on, and the one that a session is confined to.

CREATE FUNCTION memory_store.account_visible_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'memory_account_visible_support' LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION memory_store.account_visible_support(internal) IS
	'planner support of memory.account_visible: loads the library before a plan is shown';

CREATE FUNCTION memory.account_visible(account_id text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'memory_account_visible' LANGUAGE C STABLE STRICT PARALLEL SAFE LEAKPROOF
	SUPPORT memory_store.account_visible_support;
COMMENT ON FUNCTION memory.account_visible(text) IS
	'whether this session may see the account: false when memory_ext.account confines it to '
	'another';

CREATE FUNCTION memory_store.check_account(account_id text) RETURNS text
	AS 'MODULE_PATHNAME', 'memory_check_account' LANGUAGE C STABLE;
COMMENT ON FUNCTION memory_store.check_account(text) IS
	'the account a call works on; null: the session''s; an error when it is not this session''s';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON FUNCTION memory.account_visible(text)', 'reader'),
	('EXECUTE ON FUNCTION memory.account_visible(text)', 'monitor');
