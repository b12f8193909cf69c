/*
 * audit.h
 *		Telling auditing extensions what a function reads or writes.
 */
#ifndef MEMORY_AUDIT_H
#define MEMORY_AUDIT_H

#include "postgres.h"

#include "nodes/parsenodes.h"

#define AUDIT_MESSAGES "messages"
#define AUDIT_CONVERSATIONS "conversations"

/*
 * The calling SQL function reads or writes (ACL_SELECT, ACL_INSERT, ACL_UPDATE, ACL_DELETE) rows of
 * a relation of schema memory.  Errors: those of the hook, which may refuse it.
 */
extern void audit_access(const char *relation, AclMode mode);

#endif /* MEMORY_AUDIT_H */
