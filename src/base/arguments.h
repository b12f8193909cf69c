/*
 * arguments.h
 *		The arguments of SQL functions, and arrays as parameters of statements.
 *
 * n is an argument's number, from 0, and name what SQL calls it.
 */
#ifndef MEMORY_ARGUMENTS_H
#define MEMORY_ARGUMENTS_H

#include "postgres.h"

#include "fmgr.h"

/* Refuses NULL; hint NULL: there is none.  Error: 22004. */
extern void argument_require(FunctionCallInfo fcinfo, int n, const char *name, const char *hint);

/* A text, palloc'd, which must not be NULL.  Error: 22004. */
extern char *argument_string(FunctionCallInfo fcinfo, int n, const char *name);

/* A text, palloc'd; NULL for NULL. */
extern char *argument_optional_string(FunctionCallInfo fcinfo, int n);

/* The account that the function works on; NULL is the session's.  Errors: account_check's. */
extern text *argument_account(FunctionCallInfo fcinfo, int n);

/* A number within bounds, which it returns.  Error: 22023. */
extern int64 argument_within(const char *name, int64 value, int64 smallest, int64 largest);

/* An integer within bounds, which must not be NULL.  Errors: 22004, 22023. */
extern int32
argument_int32(FunctionCallInfo fcinfo, int n, const char *name, int32 smallest, int32 largest);

/* An integer that limits how much is done, NULL: no limit.  Error: 22023 it is negative. */
extern int64 argument_limit(FunctionCallInfo fcinfo, int n, const char *name);

/* The check of such a number.  Error: 22023 it is negative. */
extern void argument_check_limit(const char *name, int64 limit);

/* n elements as an array of the type in the current memory context; nulls NULL: none is. */
extern Datum array_datum(Oid element_type, Datum *elements, bool *nulls, int n);

#endif /* MEMORY_ARGUMENTS_H */
