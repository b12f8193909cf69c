/*
 * kind.c
 *		Which relation a foreign table is.
 *
 * Only the extension's own tables, in schema memory, are relations: a table that
 * somebody else makes with the server is refused when it is used.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "utils/lsyscache.h"

#include "relation_private.h"

#define MAX_INTAKES 4

static const RelationIntake *intakes[MAX_INTAKES];
static int nintakes = 0;

void
relation_register_intake(const RelationIntake *intake)
{
	if (nintakes == MAX_INTAKES)
		elog(ERROR, "too many relations");
	intakes[nintakes++] = intake;
}

/* The kind that the option's value names; false: none. */
bool
relation_find_kind(const char *name, RelationKind *kind, const RelationIntake **intake)
{
	*intake = NULL;
	if (strcmp(name, "messages") == 0)
		*kind = RELATION_MESSAGES;
	else if (strcmp(name, "conversations") == 0)
		*kind = RELATION_CONVERSATIONS;
	else
	{
		*kind = RELATION_INTAKE;
		for (int i = 0; i < nintakes; i++)
			if (strcmp(name, intakes[i]->name) == 0)
				*intake = intakes[i];
		return *intake != NULL;
	}
	return true;
}

/*
 * relation_kind
 *		Which relation a foreign table is; *intake, unless it is NULL, is set to
 *		what takes its rows, or to NULL.  Error: 42809 it is none of the
 *		extension's.
 */
RelationKind
relation_kind(Oid relid, const RelationIntake **intake)
{
	ForeignTable *table = GetForeignTable(relid);
	Oid schema = get_rel_namespace(relid);
	const RelationIntake *found;
	RelationKind kind;
	ListCell *cell;

	foreach (cell, table->options)
	{
		DefElem *option = lfirst(cell);

		if (strcmp(option->defname, OPTION_RELATION) == 0 &&
			schema == get_namespace_oid("memory", true) &&
			relation_find_kind(defGetString(option), &kind, &found))
		{
			if (intake != NULL)
				*intake = found;
			return kind;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("foreign table \"%s\" does not belong to memory_ext", get_rel_name(relid)),
			 errhint("Use memory.messages and memory.conversations.")));
	return RELATION_MESSAGES; /* keep compilers quiet */
}
