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
 * The levels.  From reader on each includes the ones before; monitor stands
 * alone, since it sees numbers of all accounts that a reader does not.
 */
static const char *const access_levels[] = {"monitor", "reader", "writer", "operator"};

#define ACCESS_MONITOR 0
#define ACCESS_READER 1

static int
access_level(const char *name)
{
	for (int i = 0; i < lengthof(access_levels); i++)
		if (strcmp(name, access_levels[i]) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown access level \"%s\"", name),
			 errhint("The levels are \"monitor\", \"reader\", \"writer\" and \"operator\".")));
	return -1; /* keep compilers quiet */
}

/*
 * Runs verb (GRANT or REVOKE) with each privilege of the levels from first to
 * last.  The role is quoted; the privileges are the extension's own text.
 */
static void
change_privileges(const char *verb, const char *preposition, Name role, int first, int last)
{
	static const char query[] = "SELECT DISTINCT g.privilege FROM memory_store.grants g"
								" WHERE g.level OPERATOR(pg_catalog.=) ANY ($1) ORDER BY 1";
	Oid types[1] = {TEXTARRAYOID};
	Datum levels[lengthof(access_levels)];
	Datum values[1];
	SPITupleTable *privileges;
	StringInfoData statement;

	for (int i = first; i <= last; i++)
		levels[i] = CStringGetTextDatum(access_levels[i]);
	values[0] = PointerGetDatum(
		construct_array(levels + first, last - first + 1, TEXTOID, -1, false, TYPALIGN_INT));
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
		if (SPI_execute(statement.data, false, 0) != SPI_OK_UTILITY)
			elog(ERROR, "could not run: %s", statement.data);
	}
	SPI_finish();
}

PG_FUNCTION_INFO_V1(memory_grant_access);

/*
 * memory_grant_access(role name, level text) → void
 *		Grants a role what a monitor, reader, writer or operator needs.  Errors:
 *		42704 unknown role, 22023 unknown level, 42501 the caller cannot grant.
 */
Datum
memory_grant_access(PG_FUNCTION_ARGS)
{
	int level = access_level(text_to_cstring(PG_GETARG_TEXT_PP(1)));

	change_privileges("GRANT", "TO", PG_GETARG_NAME(0), Min(level, ACCESS_READER), level);
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
	change_privileges("REVOKE", "FROM", PG_GETARG_NAME(0), ACCESS_MONITOR,
					  lengthof(access_levels) - 1);
	PG_RETURN_VOID();
}
