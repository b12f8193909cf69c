/*
 * compat.h
 *		Differences between the supported PostgreSQL versions (15 to 18).
 *
 * Nothing else in the source tests PG_VERSION_NUM.
 */
#ifndef MEMORY_COMPAT_H
#define MEMORY_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "memory_ext needs PostgreSQL 15 or newer"
#endif

/* 16 moved varlena's macros out of postgres.h */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 18 says before a declaration that a function does not return, with C11's word */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/*
 * 16 hides the table of settings behind a hash table.  Where a setting's value
 * comes from:
 */
#include "utils/guc_tables.h"

static inline GucSource
compat_setting_source(const char *name)
{
#if PG_VERSION_NUM >= 160000
	struct config_generic *setting = find_option(name, false, true, ERROR);

	return setting != NULL ? setting->source : PGC_S_DEFAULT;
#else
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
		if (strcmp(settings[i]->name, name) == 0)
			return settings[i]->source;
	return PGC_S_DEFAULT;
#endif
}

/* 17 takes the memory of a lexer of JSON from the caller if that has some. */
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"

static inline JsonLexContext *
compat_json_lexer(char *text, int length)
{
#if PG_VERSION_NUM >= 170000
	return makeJsonLexContextCstringLen(NULL, text, length, PG_UTF8, true);
#else
	return makeJsonLexContextCstringLen(text, length, PG_UTF8, true);
#endif
}

/*
 * 16 tells indexes that only summarize (BRIN) from others when a row gets a
 * new version; 18 counts index scans for EXPLAIN.
 */
#include "access/genam.h"
#include "access/tableam.h"
#include "executor/executor.h"

static inline IndexScanDesc
compat_index_beginscan(Relation table, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(table, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(table, index, snapshot, nkeys, 0);
#endif
}

/* indexes: the row is to be put into them, or (only_summarizing) into those. */
static inline TM_Result
compat_tuple_update(Relation table, ItemPointer place, TupleTableSlot *row, CommandId command,
					Snapshot snapshot, TM_FailureData *failure, LockTupleMode *mode, bool *indexes,
					bool *only_summarizing)
{
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes which = TU_None;
	TM_Result result = table_tuple_update(table, place, row, command, snapshot, InvalidSnapshot,
										  true, failure, mode, &which);

	*indexes = which != TU_None;
	*only_summarizing = which == TU_Summarizing;
	return result;
#else
	*only_summarizing = false;
	return table_tuple_update(table, place, row, command, snapshot, InvalidSnapshot, true, failure,
							  mode, indexes);
#endif
}

static inline void
compat_insert_index_tuples(ResultRelInfo *result, TupleTableSlot *row, EState *state, bool update,
						   bool only_summarizing)
{
#if PG_VERSION_NUM >= 160000
	list_free(
		ExecInsertIndexTuples(result, row, state, update, false, NULL, NIL, only_summarizing));
#else
	list_free(ExecInsertIndexTuples(result, row, state, update, false, NULL, NIL));
#endif
}

/*
 * 17 gives paths of foreign scans the conditions of a join, 18 a count of
 * disabled nodes.
 */
#include "optimizer/pathnode.h"

static inline ForeignPath *
compat_create_foreignscan_path(PlannerInfo *root, RelOptInfo *rel, double rows, Cost startup_cost,
							   Cost total_cost, List *pathkeys, Relids outer, List *private)
{
#if PG_VERSION_NUM >= 180000
	return create_foreignscan_path(root, rel, NULL, rows, 0, startup_cost, total_cost, pathkeys,
								   outer, NULL, NIL, private);
#elif PG_VERSION_NUM >= 170000
	return create_foreignscan_path(root, rel, NULL, rows, startup_cost, total_cost, pathkeys, outer,
								   NULL, NIL, private);
#else
	return create_foreignscan_path(root, rel, NULL, rows, startup_cost, total_cost, pathkeys, outer,
								   NULL, private);
#endif
}

/* 18 has what EXPLAIN prints with in headers of its own. */
#include "commands/explain.h"
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/* 18 names the direction of an order apart from the strategies of B-trees. */
static inline bool
compat_is_descending(const PathKey *key)
{
#if PG_VERSION_NUM >= 180000
	return key->pk_cmptype == COMPARE_GT;
#else
	return key->pk_strategy == BTGreaterStrategyNumber;
#endif
}

/* 16 gave the function that reads the sessions' states another name. */
#include "utils/backend_status.h"

static inline PgBackendStatus *
compat_backend_status(int n)
{
#if PG_VERSION_NUM >= 160000
	LocalPgBackendStatus *status = pgstat_get_local_beentry_by_index(n);
#else
	LocalPgBackendStatus *status = pgstat_fetch_stat_local_beentry(n);
#endif

	return status != NULL ? &status->backendStatus : NULL;
}

/* 18 runs a portal once without being told; what it returns goes nowhere. */
#include "tcop/pquery.h"

static inline void
compat_portal_run(Portal portal, QueryCompletion *completion)
{
#if PG_VERSION_NUM >= 180000
	(void) PortalRun(portal, FETCH_ALL, true, None_Receiver, None_Receiver, completion);
#else
	(void) PortalRun(portal, FETCH_ALL, true, true, None_Receiver, None_Receiver, completion);
#endif
}

/* 17 can limit how long a transaction lasts; a background worker's are not to be. */
#include "utils/guc.h"

static inline void
compat_no_transaction_timeout(void)
{
#if PG_VERSION_NUM >= 170000
	SetConfigOption("transaction_timeout", "0", PGC_USERSET, PGC_S_SESSION);
#endif
}

/* 16 has one function for the privileges of every kind of object. */
#include "catalog/pg_proc.h"
#include "utils/acl.h"

static inline bool
compat_may_execute(Oid function, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK;
#else
	return pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK;
#endif
}

#endif /* MEMORY_COMPAT_H */
