/*
 * access.c
 *		memory.grant_access and memory.revoke_access: who may use the API.
 *
 * Each room's SQL enters its functions and views into memory_store.grants at
 * the level they belong to; the grants are made from there.  Both functions
 * run with the caller's rights, who must be able to grant (the extension's
 * owner or a superuser).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"

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
								" WHERE g.level OPERATOR(pg_catalog.=) ANY ($1) ORDER BY 1";
	Oid types[1] = {TEXTARRAYOID};
	Datum levels[lengthof(access_levels)];
	Datum values[1];
	int nlevels = 0;
	SPITupleTable *privileges;
	StringInfoData statement;

	for (int i = 0; i < lengthof(access_levels); i++)
		if (included & (1 << i))
			levels[nlevels++] = CStringGetTextDatum(access_levels[i].name);
	values[0] =
		PointerGetDatum(construct_array(levels, nlevels, TEXTOID, -1, false, TYPALIGN_INT));
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
