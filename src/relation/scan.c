/*
 * scan.c
 *		Scans of the relations, as the executor calls them.
 *
 * All state belongs to the node and lives in the query's memory context.  The
 * bounds are computed when the first row is asked for, and again after each
 * rescan, with the values that a join gives by then; tables and index scans stay
 * open in between.
 *
 * In a parallel scan each process reads a part of the files.  A session that is
 * confined to an account has no such part: whichever process comes first does
 * all, the others nothing.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "account.h"
#include "compat.h"
#include "relation_private.h"
#include "tables.h"

static DirectTable *const parallel_tables[] = {&store_conversations, &store_segments, &store_tail};

/* Makes the node's state; nothing is read yet. */
void
scan_begin(ForeignScanState *node, int flags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	List *how = lsecond(plan->fdw_private);
	RelationScan *scan;

	if (flags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	scan = palloc0(sizeof(RelationScan));
	scan->kind = (RelationKind) linitial_int(how);
	scan->columns = (uint32) lsecond_int(how);
	scan->ordered = lthird_int(how) != 0;
	scan->backward = lthird_int(how) < 0;
	scan->key_kinds = linitial(plan->fdw_private);
	scan->key_values = ExecInitExprList(plan->fdw_exprs, &node->ss.ps);
	scan->context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext bounds", ALLOCSET_SMALL_SIZES);
	node->fdw_state = scan;
}

/* Computes the bounds, and prepares to read by them.  In the query's memory context. */
static void
start(ForeignScanState *node, RelationScan *scan)
{
	Snapshot snapshot = node->ss.ps.state->es_snapshot;
	MemoryContext old;

	MemoryContextReset(scan->context);
	old = MemoryContextSwitchTo(scan->context);
	key_bounds(scan->key_kinds, scan->key_values, node->ss.ps.ps_ExprContext, &scan->bounds);
	MemoryContextSwitchTo(old);
	scan->idle = scan->parallel != NULL && scan->bounds.has_accounts &&
				 !pg_atomic_test_set_flag(&scan->parallel->confined);
	walk_init(&scan->walk, &scan->bounds, snapshot, scan_shared(scan, 0));
	if (scan->kind == RELATION_MESSAGES)
		messages_scan_init(scan, snapshot);
	scan->started = true;
}

/* The next row, or an empty slot; the current context is the row's, and gets what it needs. */
TupleTableSlot *
scan_iterate(ForeignScanState *node)
{
	RelationScan *scan = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	MemoryContext old = MemoryContextSwitchTo(node->ss.ps.state->es_query_cxt);
	bool found = false;

	ExecClearTuple(slot);
	scan->row_context = old;
	if (!scan->started)
		start(node, scan);
	if (scan->idle)
		found = false;
	else if (scan->kind == RELATION_MESSAGES)
		found = messages_scan_next(scan, slot);
	else if (scan->kind == RELATION_CONVERSATIONS)
		found = conversations_scan_next(scan, slot);
	MemoryContextSwitchTo(old);
	return found ? slot : ExecClearTuple(slot);
}

/* ReScanForeignScan: the next row begins the scan anew, with the parameters of then. */
void
scan_rescan(ForeignScanState *node)
{
	((RelationScan *) node->fdw_state)->started = false;
}

/* EndForeignScan: closes tables and files; the executor's memory context frees the rest. */
void
scan_end(ForeignScanState *node)
{
	RelationScan *scan = node->fdw_state;

	if (scan == NULL)
		return;
	messages_scan_end(scan);
	walk_end(&scan->walk);
}

/* ---- EXPLAIN ---- */

static void
explain_keys(ForeignScanState *node, ExplainState *es)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	bool prefix = list_length(es->rtable) > 1 || es->verbose;
	List *context;

	if (plan->fdw_recheck_quals == NIL)
		return;
	context = set_deparse_context_plan(es->deparse_cxt, &plan->scan.plan, NIL);
	ExplainPropertyText("Key",
						deparse_expression((Node *) make_ands_explicit(plan->fdw_recheck_quals),
										   context, prefix, false),
						es);
}

/* The conditions that the scan works by and, after execution, what it has read. */
void
scan_explain(ForeignScanState *node, ExplainState *es)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	List *how = lsecond(plan->fdw_private);
	RelationScan *scan = node->fdw_state;

	explain_keys(node, es);
	if (lthird_int(how) != 0)
		ExplainPropertyText("Order", lthird_int(how) < 0 ? "seq DESC" : "seq", es);
	if (!es->analyze || scan == NULL)
		return;
	ExplainPropertyUInteger("Conversations", NULL, scan->counters.conversations, es);
	if (scan->kind != RELATION_MESSAGES)
		return;
	ExplainPropertyUInteger("Segments Opened", NULL, scan->counters.segments_opened, es);
	ExplainPropertyUInteger("Segments Skipped", NULL, scan->counters.segments_skipped, es);
	ExplainPropertyUInteger("Decompressed", "kB", (scan->counters.bytes_decompressed + 1023) / 1024,
							es);
}

/* ---- parallel scans ---- */

static uint64 *
counter(ReaderCounters *counters, int n)
{
	uint64 *const all[] = {&counters->conversations, &counters->segments_opened,
						   &counters->segments_skipped, &counters->bytes_decompressed};

	return all[n];
}

static Relation
open_parallel_table(int table, Snapshot snapshot)
{
	DirectRows rows;

	direct_open_reading(&rows, parallel_tables[table], snapshot, NULL, 0);
	index_close(rows.index, NoLock);
	return rows.table;
}

/* EstimateDSMForeignScan: the bytes that scan_initialize_dsm will fill. */
Size
scan_estimate_dsm(ForeignScanState *node, ParallelContext *context)
{
	Snapshot snapshot = node->ss.ps.state->es_snapshot;
	Size size = MAXALIGN(sizeof(RelationParallel));

	for (int i = 0; i < (int) lengthof(parallel_tables); i++)
	{
		Relation table = open_parallel_table(i, snapshot);

		size = add_size(size, MAXALIGN(table_parallelscan_estimate(table, snapshot)));
		table_close(table, NoLock);
	}
	return size;
}

/*
 * InitializeDSMForeignScan: lays out the state that the processes of a parallel
 * scan share, in coordinate.
 */
void
scan_initialize_dsm(ForeignScanState *node, ParallelContext *context, void *coordinate)
{
	RelationScan *scan = node->fdw_state;
	RelationParallel *parallel = coordinate;
	Snapshot snapshot = node->ss.ps.state->es_snapshot;
	Size offset = MAXALIGN(sizeof(RelationParallel));

	pg_atomic_init_flag(&parallel->confined);
	for (int i = 0; i < (int) lengthof(parallel->counters); i++)
		pg_atomic_init_u64(&parallel->counters[i], 0);
	for (int i = 0; i < (int) lengthof(parallel_tables); i++)
	{
		Relation table = open_parallel_table(i, snapshot);

		parallel->offsets[i] = offset;
		table_parallelscan_initialize(table, (ParallelTableScanDesc) ((char *) parallel + offset),
									  snapshot);
		offset = add_size(offset, MAXALIGN(table_parallelscan_estimate(table, snapshot)));
		table_close(table, NoLock);
	}
	scan->parallel = parallel;
}

/* ReInitializeDSMForeignScan: the parallel scan of the tables begins anew. */
void
scan_reinitialize_dsm(ForeignScanState *node, ParallelContext *context, void *coordinate)
{
	RelationScan *scan = node->fdw_state;

	scan->parallel = coordinate;
	pg_atomic_clear_flag(&scan->parallel->confined);
	for (int i = 0; i < (int) lengthof(parallel_tables); i++)
	{
		Relation table = open_parallel_table(i, node->ss.ps.state->es_snapshot);

		table_parallelscan_reinitialize(table, scan_shared(scan, i));
		table_close(table, NoLock);
	}
}

/* InitializeWorkerForeignScan: a worker takes the state that the leader has laid out. */
void
scan_initialize_worker(ForeignScanState *node, shm_toc *toc, void *coordinate)
{
	((RelationScan *) node->fdw_state)->parallel = coordinate;
}

/*
 * scan_shutdown
 *		The workers add what they have counted to what is shared; the leader,
 *		which comes last, takes it over for EXPLAIN.  The shared memory may be
 *		gone afterwards.
 */
void
scan_shutdown(ForeignScanState *node)
{
	RelationScan *scan = node->fdw_state;

	if (scan == NULL || scan->parallel == NULL)
		return;
	for (int i = 0; i < (int) lengthof(scan->parallel->counters); i++)
	{
		if (IsParallelWorker())
			pg_atomic_fetch_add_u64(&scan->parallel->counters[i], *counter(&scan->counters, i));
		else
			*counter(&scan->counters, i) += pg_atomic_exchange_u64(&scan->parallel->counters[i], 0);
	}
	/* a table scan in progress refers to it; nothing is read after this */
	messages_scan_close(scan);
	walk_end(&scan->walk);
	scan->parallel = NULL;
}
