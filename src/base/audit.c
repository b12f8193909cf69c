/*
 * audit.c
 *		Telling auditing extensions what a function reads or writes.
 *
 * Functions get at the store's tables by statements of their own and past the
 * executor, in the name of the extension's owner.  Neither is what an auditor asks
 * about: extensions such as pgaudit skip what a SECURITY DEFINER function does, and
 * the tables are no API.  So a function names the relation that a statement for the
 * same work would name, to the hook that the executor calls for each statement.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lockdefs.h"
#include "tcop/pquery.h"
#include "utils/lsyscache.h"

#include "audit.h"

/* The relation as an entry of a statement's range table. */
static RangeTblEntry *
make_entry(Oid relation, AclMode mode)
{
	RangeTblEntry *entry = makeNode(RangeTblEntry);

	entry->rtekind = RTE_RELATION;
	entry->relid = relation;
	entry->relkind = get_rel_relkind(relation);
	entry->rellockmode = mode == ACL_SELECT ? AccessShareLock : RowExclusiveLock;
	entry->inFromCl = true;
	return entry;
}

static void
call_hook(Oid relation, AclMode mode, Oid user)
{
	RangeTblEntry *entry = make_entry(relation, mode);
#if PG_VERSION_NUM >= 160000
	RTEPermissionInfo *permissions = makeNode(RTEPermissionInfo);

	permissions->relid = relation;
	permissions->inh = true;
	permissions->requiredPerms = mode;
	permissions->checkAsUser = user;
	entry->perminfoindex = 1;
	(void) (*ExecutorCheckPerms_hook)(list_make1(entry), list_make1(permissions), true);
#else
	entry->requiredPerms = mode;
	entry->checkAsUser = user;
	(void) (*ExecutorCheckPerms_hook)(list_make1(entry), true);
#endif
}

void
audit_access(const char *relation, AclMode mode)
{
	Oid user = GetOuterUserId();
	Oid definer;
	int context;

	/* without a portal there is no statement that the access is part of, as hooks expect */
	if (ExecutorCheckPerms_hook == NULL || ActivePortal == NULL)
		return;
	GetUserIdAndSecContext(&definer, &context);
	SetUserIdAndSecContext(user, context & ~SECURITY_LOCAL_USERID_CHANGE);
	call_hook(get_relname_relid(relation, get_namespace_oid("memory", false)), mode, user);
	SetUserIdAndSecContext(definer, context);
}
