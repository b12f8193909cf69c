/*
 * explain.c
 *		What EXPLAIN shows to a session that is confined to one account.
 *
 * The scans of memory.messages and memory.conversations know the session's account
 * and look at nothing else.  The other views are queries on tables of all accounts:
 * their rows come out right, but a plan's estimates are made from the statistics of
 * all rows, and EXPLAIN ANALYZE counts those that a filter has removed.  So no plan
 * that reads a table of schema memory_store is shown to such a session.  This is
 * asked where every plan begins to be executed, which EXPLAIN of all kinds does.
 *
 * In a session that has not loaded the library yet, the planner does: it asks the
 * support function of memory.account_visible, which is in all these views.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "utils/lsyscache.h"

#include "account.h"
#include "explain.h"

static ExecutorStart_hook_type previous_start_hook = NULL;

/* Whether a statement's plan is going to be shown: only EXPLAIN sends its rows nowhere. */
static bool
is_explained(const QueryDesc *query, int eflags)
{
	CommandDest dest = query->dest != NULL ? query->dest->mydest : DestNone;

	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) != 0)
		return true;
	if (query->instrument_options == 0)
		return false;
#if PG_VERSION_NUM >= 170000
	if (dest == DestExplainSerialize)
		return true;
#endif
	return dest == DestNone || dest == DestIntoRel || dest == DestTransientRel;
}

static bool
reads_store(const PlannedStmt *plan)
{
	Oid store = get_namespace_oid("memory_store", true);
	ListCell *cell;

	foreach (cell, plan->rtable)
	{
		const RangeTblEntry *entry = lfirst(cell);

		if (entry->rtekind == RTE_RELATION && OidIsValid(store) &&
			get_rel_namespace(entry->relid) == store)
			return true;
	}
	return false;
}

/* ExecutorStart_hook.  Error: 42501. */
static void
refuse_explain(QueryDesc *query, int eflags)
{
	if (is_explained(query, eflags) && account_confined() != NULL &&
		reads_store(query->plannedstmt))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("the session is confined to one account and cannot explain this "
							   "statement"),
						errdetail("Its plan shows numbers of other accounts."),
						errhint("memory.messages and memory.conversations can be explained; for "
								"other views use a session that is not confined.")));
	if (previous_start_hook != NULL)
		previous_start_hook(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

/* Sets the hook; called once, from _PG_init. */
void
explain_init(void)
{
	previous_start_hook = ExecutorStart_hook;
	ExecutorStart_hook = refuse_explain;
}

PG_FUNCTION_INFO_V1(memory_account_visible_support);

/*
 * memory_account_visible_support(internal) → internal
 *		The planner's support function of memory.account_visible: it knows nothing
 *		better, but to ask it loads the library.
 */
Datum
memory_account_visible_support(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(NULL);
}
