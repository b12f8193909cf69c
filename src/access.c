/*
 * access.c
 *		memory.grant_access and memory.revoke_access: who may use the API.
 *
 * Each room's SQL enters its functions and views into memory_store.grants at
 * the level they belong to; the grants are made from there.  Both functions
 * run with the caller's rights, who must be able to grant (the extension's
 * owner or a superuser).
 *
 * The same table says what a session that is confined to one account may use;
 * what it does not name is refused here, before the function runs.  Whatever
 * reaches the store is SECURITY DEFINER, and PostgreSQL has a hook before each
 * such call.  It is in place once the library is loaded, which loading the
 * function does; one that is written in SQL or PL/pgSQL checks by itself as
 * well (memory_store.outbox_check_consumer), because the library may be loaded
 * by nothing but that.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "access.h"
#include "account.h"
#include "arguments.h"
#include "owner.h"
#include "sql_text.h"

/*
 * The levels, and of which of them each has the privileges.  monitor stands
 * alone, since it sees numbers of all accounts that a reader does not; a gateway
 * is a writer that may choose its account.
 */
typedef enum AccessLevel
{
	ACCESS_MONITOR,
	ACCESS_READER,
	ACCESS_WRITER,
	ACCESS_OPERATOR,
	ACCESS_GATEWAY
} AccessLevel;

#define LEVEL(level) (1 << ACCESS_##level)
#define ALL_LEVELS                                                                                 \
	(LEVEL(MONITOR) | LEVEL(READER) | LEVEL(WRITER) | LEVEL(OPERATOR) | LEVEL(GATEWAY))

static const struct
{
	const char *name;
	int includes;
} access_levels[] = {
	[ACCESS_MONITOR] = {"monitor", LEVEL(MONITOR)},
	[ACCESS_READER] = {"reader", LEVEL(READER)},
	[ACCESS_WRITER] = {"writer", LEVEL(READER) | LEVEL(WRITER)},
	[ACCESS_OPERATOR] = {"operator", LEVEL(READER) | LEVEL(WRITER) | LEVEL(OPERATOR)},
	[ACCESS_GATEWAY] = {"gateway", LEVEL(READER) | LEVEL(WRITER) | LEVEL(GATEWAY)},
};

static AccessLevel
access_level(const char *name)
{
	for (int i = 0; i < lengthof(access_levels); i++)
		if (strcmp(name, access_levels[i].name) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown access level \"%s\"", name),
			 errhint("The levels are \"monitor\", \"reader\", \"writer\", "
					 "\"operator\" and \"gateway\".")));
	return ACCESS_READER; /* keep compilers quiet */
}

static void
run_utility(const char *statement)
{
	if (SPI_execute(statement, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not run: %s", statement);
}

/*
 * Runs verb (GRANT or REVOKE) with each privilege of a set of levels.  The role
 * is quoted; the privileges are the extension's own text.
 */
static void
change_privileges(const char *verb, const char *preposition, Name role, int included)
{
	static const char query[] = "SELECT DISTINCT g.privilege FROM memory_store.grants g"
								" WHERE g.level" OP(=) "ANY ($1) ORDER BY 1";
	Oid types[1] = {TEXTARRAYOID};
	Datum levels[lengthof(access_levels)];
	Datum values[1];
	int nlevels = 0;
	SPITupleTable *privileges;
	StringInfoData statement;

	for (int i = 0; i < lengthof(access_levels); i++)
		if (included & (1 << i))
			levels[nlevels++] = CStringGetTextDatum(access_levels[i].name);
	values[0] = array_datum(TEXTOID, levels, NULL, nlevels);
	get_role_oid(NameStr(*role), false);
	initStringInfo(&statement);
	SPI_connect();
	if (SPI_execute_with_args(query, 1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read memory_store.grants");
	privileges = SPI_tuptable;
	for (uint64 i = 0; i < privileges->numvals; i++)
	{
		CHECK_FOR_INTERRUPTS();
		resetStringInfo(&statement);
		appendStringInfo(&statement, "%s %s %s %s", verb,
						 SPI_getvalue(privileges->vals[i], privileges->tupdesc, 1), preposition,
						 quote_identifier(NameStr(*role)));
		run_utility(statement.data);
	}
	SPI_finish();
}

PG_FUNCTION_INFO_V1(memory_grant_access);

/*
 * memory_grant_access(role name, level text) → void
 *		Grants a role what a monitor, reader, writer, operator or gateway needs.
 *		A gateway's sessions begin without an account, whatever ALTER DATABASE or
 *		an earlier ALTER ROLE says.  Errors: 42704 unknown role, 22023 unknown
 *		level, 42501 the caller cannot grant.
 */
Datum
memory_grant_access(PG_FUNCTION_ARGS)
{
	Name role = PG_GETARG_NAME(0);
	AccessLevel level = access_level(text_to_cstring(PG_GETARG_TEXT_PP(1)));

	change_privileges("GRANT", "TO", role, access_levels[level].includes);
	if (level == ACCESS_GATEWAY)
	{
		SPI_connect();
		run_utility(psprintf("ALTER ROLE %s SET memory_ext.account = ''",
							 quote_identifier(NameStr(*role))));
		SPI_finish();
	}
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(memory_revoke_access);

/*
 * memory_revoke_access(role name) → void
 *		Takes everything back that grant_access can give.  Errors: 42704 unknown
 *		role, 42501 the caller cannot revoke.
 */
Datum
memory_revoke_access(PG_FUNCTION_ARGS)
{
	change_privileges("REVOKE", "FROM", PG_GETARG_NAME(0), ALL_LEVELS);
	PG_RETURN_VOID();
}

/* ---- confined sessions ---- */

/* The functions that a confined session may use, as of the last look, and whose schema memory. */
static struct
{
	Oid schema;
	int count;
	Oid *functions;
} confinable;

static fmgr_hook_type previous_fmgr_hook = NULL;

/*
 * Reads them again.  Runs with the owner's rights, as the function that is
 * about to be called does.
 */
static void
read_confinable(Oid schema)
{
	static const char query[] =
		"SELECT DISTINCT f.id FROM (SELECT pg_catalog.to_regprocedure(pg_catalog.regexp_replace("
		"g.privilege, '^EXECUTE ON (FUNCTION|PROCEDURE) ', ''))::pg_catalog.oid AS id"
		" FROM memory_store.grants g WHERE g.confined"
		" AND pg_catalog.starts_with(g.privilege, 'EXECUTE ON ')) f WHERE f.id IS NOT NULL";
	OwnerScope scope;
	bool isnull;

	owner_enter(&scope);
	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read memory_store.grants");
	confinable.count = 0;
	if (confinable.functions != NULL)
		pfree(confinable.functions);
	confinable.functions =
		MemoryContextAlloc(TopMemoryContext, Max(SPI_processed, 1) * sizeof(Oid));
	for (uint64 i = 0; i < SPI_processed; i++)
		confinable.functions[confinable.count++] = DatumGetObjectId(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	confinable.schema = schema;
	SPI_finish();
	owner_leave(&scope);
}

static bool
is_confinable(Oid schema, Oid function)
{
	if (confinable.schema != schema)
		return false;
	for (int i = 0; i < confinable.count; i++)
		if (confinable.functions[i] == function)
			return true;
	return false;
}

/* Before a SECURITY DEFINER function runs, of whatever schema. */
static void
refuse_all_accounts(FmgrHookEventType event, FmgrInfo *function, Datum *private)
{
	Oid schema;

	if (event == FHET_START && account_confined() != NULL)
	{
		schema = get_func_namespace(function->fn_oid);
		if (OidIsValid(schema) && schema == get_namespace_oid("memory", true) &&
			!is_confinable(schema, function->fn_oid))
		{
			/* perhaps it is new */
			read_confinable(schema);
			if (!is_confinable(schema, function->fn_oid))
				account_check_unconfined();
		}
	}
	if (previous_fmgr_hook != NULL)
		previous_fmgr_hook(event, function, private);
}

void
access_init(void)
{
	previous_fmgr_hook = fmgr_hook;
	fmgr_hook = refuse_all_accounts;
}

PG_FUNCTION_INFO_V1(memory_refuse_confined);

/*
 * memory_refuse_confined() → trigger
 *		Refuses changes of a table that concerns all accounts to a confined
 *		session.  Error: 42501.
 */
Datum
memory_refuse_confined(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("memory_store.refuse_confined is a trigger")));
	account_check_unconfined();
	PG_RETURN_POINTER(NULL);
}
