/*
 * owner.c
 *		Doing something with the rights of the extension's owner.
 *
 * Most functions that need them are SECURITY DEFINER.  This is for the others:
 * those that must run a caller's code too, or that run as parts of a type.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "utils/syscache.h"

#include "owner.h"

void
owner_enter(OwnerScope *scope)
{
	HeapTuple schema = SearchSysCache1(NAMESPACENAME, CStringGetDatum("memory_store"));

	if (!HeapTupleIsValid(schema))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA), errmsg("schema memory_store does not exist"),
				 errhint("Run CREATE EXTENSION memory_ext in this database.")));
	GetUserIdAndSecContext(&scope->user, &scope->context);
	SetUserIdAndSecContext(((Form_pg_namespace) GETSTRUCT(schema))->nspowner,
						   scope->context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	ReleaseSysCache(schema);
}

/* Gives the caller of owner_enter his user and security context back. */
void
owner_leave(const OwnerScope *scope)
{
	SetUserIdAndSecContext(scope->user, scope->context);
}
