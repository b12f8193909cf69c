/*
 * owner.h
 *		Doing something with the rights of the extension's owner.
 */
#ifndef MEMORY_OWNER_H
#define MEMORY_OWNER_H

#include "postgres.h"

typedef struct OwnerScope
{
	Oid user;
	int context;
} OwnerScope;

/*
 * From here on the current user is the owner of schema memory_store.  Nothing
 * that a caller has written (operators, casts, functions) may run inside.  An
 * error in between restores the user with the (sub)transaction.
 */
extern void owner_enter(OwnerScope *scope);
extern void owner_leave(const OwnerScope *scope);

#endif /* MEMORY_OWNER_H */
