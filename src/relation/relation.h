/*
 * relation.h
 *		The relations memory.messages, memory.conversations and those of rooms
 *		above: foreign tables of a wrapper of the extension's own.
 *
 * PostgreSQL's interface for foreign tables lets planner and executor see the
 * store as they see a table: paths with the values of a join, own estimates,
 * own lines in EXPLAIN, and state that lives and dies with the executor's node.
 */
#ifndef RELATION_H
#define RELATION_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"

/*
 * A relation that takes rows by INSERT and COPY and gives none: what a room
 * above does with them.  begin is called before the first row, in a memory
 * context that lives as long as the statement; put for each row; end when the
 * statement has no more rows, also if it had none.  All run with the rights of
 * the extension's owner.
 */
typedef struct RelationIntake
{
	const char *name; /* as the table's option "relation" gives it */
	void *(*begin)(void);
	void (*put)(void *state, TupleTableSlot *row);
	void (*end)(void *state);
} RelationIntake;

/* Makes the intake known; called once, from _PG_init. */
extern void relation_register_intake(const RelationIntake *intake);

#endif /* RELATION_H */
