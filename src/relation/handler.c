/*
 * handler.c
 *		The foreign data wrapper memory_ext: what planner and executor call for
 *		its tables.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/namespace.h"
#include "catalog/pg_foreign_table.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "relation_private.h"

static bool
scan_is_parallel_safe(PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *entry)
{
	return true;
}

static int
updatable_commands(Relation relation)
{
	int insert = 1 << CMD_INSERT;

	return relation_kind(RelationGetRelid(relation), NULL) == RELATION_INTAKE
			   ? insert
			   : insert | 1 << CMD_UPDATE | 1 << CMD_DELETE;
}

PG_FUNCTION_INFO_V1(memory_relation_handler);

/*
 * memory_relation_handler() → fdw_handler
 *		The functions that planner and executor call.
 */
Datum
memory_relation_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->GetForeignRelSize = paths_size;
	routine->GetForeignPaths = paths_add;
	routine->GetForeignPlan = paths_plan;
	routine->IsForeignScanParallelSafe = scan_is_parallel_safe;

	routine->BeginForeignScan = scan_begin;
	routine->IterateForeignScan = scan_iterate;
	routine->ReScanForeignScan = scan_rescan;
	routine->EndForeignScan = scan_end;
	routine->ExplainForeignScan = scan_explain;
	routine->EstimateDSMForeignScan = scan_estimate_dsm;
	routine->InitializeDSMForeignScan = scan_initialize_dsm;
	routine->ReInitializeDSMForeignScan = scan_reinitialize_dsm;
	routine->InitializeWorkerForeignScan = scan_initialize_worker;
	routine->ShutdownForeignScan = scan_shutdown;

	routine->AddForeignUpdateTargets = modify_add_targets;
	routine->IsForeignRelUpdatable = updatable_commands;
	routine->BeginForeignModify = modify_begin;
	routine->BeginForeignInsert = modify_begin_insert;
	routine->ExecForeignInsert = modify_insert;
	routine->ExecForeignUpdate = modify_update;
	routine->ExecForeignDelete = modify_delete;
	routine->EndForeignModify = modify_end;
	routine->EndForeignInsert = modify_end;
	PG_RETURN_POINTER(routine);
}

PG_FUNCTION_INFO_V1(memory_relation_validator);

/*
 * memory_relation_validator(options text[], catalog oid) → void
 *		A foreign table has the option relation, which names one; nothing else
 *		has options.  Error: HV00D.
 */
Datum
memory_relation_validator(PG_FUNCTION_ARGS)
{
	List *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid catalog = PG_GETARG_OID(1);
	const RelationIntake *intake;
	RelationKind kind;
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst(cell);

		if (catalog != ForeignTableRelationId || strcmp(option->defname, OPTION_RELATION) != 0)
			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
							errmsg("invalid option \"%s\"", option->defname),
							errhint("A foreign table of memory_ext has the option \"%s\".",
									OPTION_RELATION)));
		if (!relation_find_kind(defGetString(option), &kind, &intake))
			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
							errmsg("memory_ext has no relation \"%s\"", defGetString(option)),
							errhint("The relations are messages and conversations.")));
	}
	PG_RETURN_VOID();
}
