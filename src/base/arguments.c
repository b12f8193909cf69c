/*
 * arguments.c
 *		The arguments of SQL functions, and arrays as parameters of statements.
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "account.h"
#include "arguments.h"

void
argument_require(FunctionCallInfo fcinfo, int n, const char *name, const char *hint)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name),
				 hint != NULL ? errhint("%s", hint) : 0));
}

char *
argument_string(FunctionCallInfo fcinfo, int n, const char *name)
{
	argument_require(fcinfo, n, name, NULL);
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

char *
argument_optional_string(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

text *
argument_account(FunctionCallInfo fcinfo, int n)
{
	return account_check(PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n));
}

int64
argument_within(const char *name, int64 value, int64 smallest, int64 largest)
{
	if (value < smallest || value > largest)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be from " INT64_FORMAT " to " INT64_FORMAT ", it is " INT64_FORMAT,
						name, smallest, largest, value),
				 errhint("Leave it out for the default.")));
	return value;
}

int32
argument_int32(FunctionCallInfo fcinfo, int n, const char *name, int32 smallest, int32 largest)
{
	argument_require(fcinfo, n, name, "Leave it out for the default.");
	return (int32) argument_within(name, PG_GETARG_INT32(n), smallest, largest);
}

int64
argument_limit(FunctionCallInfo fcinfo, int n, const char *name)
{
	int64 limit = PG_ARGISNULL(n) ? PG_INT64_MAX : PG_GETARG_INT32(n);

	argument_check_limit(name, limit);
	return limit;
}

void
argument_check_limit(const char *name, int64 limit)
{
	if (limit < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must not be negative, it is " INT64_FORMAT, name, limit),
						errhint("Leave it out for the default.")));
}

Datum
array_datum(Oid element_type, Datum *elements, bool *nulls, int n)
{
	int lower = 1;
	int16 length;
	bool by_value;
	char alignment;

	get_typlenbyvalalign(element_type, &length, &by_value, &alignment);
	return PointerGetDatum(construct_md_array(elements, nulls, 1, &n, &lower, element_type, length,
											  by_value, alignment));
}
