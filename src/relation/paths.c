/*
 * paths.c
 *		Paths and plans of the relations.
 *
 * A relation has one path by the conditions that stand in the query; one for
 * each set of other relations that give conversation_id, account_id or both by a
 * join; one in either direction of seq, where the conditions name one
 * conversation and the order is of use; and one for parallel processes, where
 * all rows are read.
 *
 * What a plan hands to the executor, in fdw_private: a list of the kinds of its
 * keys, whose values are in fdw_exprs; and (kind of relation, columns, order).
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_opfamily.h"
#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"

#include "compat.h"
#include "relation_private.h"

/* Orders of a path, in its fdw_private and the plan's. */
enum
{
	ORDER_NONE = 0,
	ORDER_FORWARD = 1,
	ORDER_BACKWARD = -1
};

/* More sets of relations that give keys by joins are not tried. */
#define MAX_PARAMETERIZATIONS 16

/* What is known of the relation while its paths are made; in rel->fdw_private. */
typedef struct PathState
{
	RelationKind kind;
	RelationSizes sizes;
	uint32 columns;
} PathState;

/* ---- size ---- */

static uint32
add_columns(uint32 columns, Node *node, Index relid)
{
	Bitmapset *attributes = NULL;
	int attribute = -1;

	pull_varattnos(node, relid, &attributes);
	while ((attribute = bms_next_member(attributes, attribute)) >= 0)
	{
		int number = attribute + FirstLowInvalidHeapAttributeNumber;

		if (number == 0)
			return ALL_COLUMNS;
		if (number > 0)
			columns |= COLUMN_BIT(number - 1);
	}
	return columns;
}

/* Bits of the columns that the query wants of the relation, besides its keys. */
static uint32
wanted_columns(RelOptInfo *rel, List *clauses, List *keys)
{
	uint32 columns = add_columns(0, (Node *) rel->reltarget->exprs, rel->relid);
	ListCell *cell;

	foreach (cell, clauses)
	{
		bool exact = false;
		ListCell *key;

		foreach (key, keys)
			exact |= ((RelationKey *) lfirst(key))->clause == lfirst(cell) &&
					 ((RelationKey *) lfirst(key))->exact;
		if (!exact)
			columns = add_columns(columns, lfirst(cell), rel->relid);
	}
	return columns;
}

/* The selectivity of the conditions that are no exact keys. */
static Selectivity
rest_selectivity(PlannerInfo *root, RelOptInfo *rel, List *restrictions, List *keys)
{
	List *rest = NIL;
	ListCell *cell;

	foreach (cell, restrictions)
	{
		RestrictInfo *info = lfirst(cell);
		bool exact = false;
		ListCell *key;

		foreach (key, keys)
			exact |= ((RelationKey *) lfirst(key))->clause == info->clause &&
					 ((RelationKey *) lfirst(key))->exact;
		if (!exact)
			rest = lappend(rest, info);
	}
	return clauselist_selectivity(root, rest, rel->relid, JOIN_INNER, NULL);
}

/* Rows and cost of a scan under the given restrictions, of which *keys are taken. */
static void
estimate(PlannerInfo *root, RelOptInfo *rel, List *restrictions, RelationEstimate *estimate,
		 List **keys)
{
	PathState *state = rel->fdw_private;
	List *clauses = extract_actual_clauses(restrictions, false);

	*keys = key_choose(state->kind, rel->relid, clauses);
	size_estimate(root, state->kind, &state->sizes, *keys, wanted_columns(rel, clauses, *keys),
				  estimate);
	estimate->rows =
		clamp_row_est(estimate->rows * rest_selectivity(root, rel, restrictions, *keys));
}

/*
 * paths_size
 *		Sets the relation's rows, as GetForeignRelSize does.
 */
void
paths_size(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	PathState *state = palloc0(sizeof(PathState));
	RelationEstimate scan;
	List *keys;

	state->kind = relation_kind(relid, NULL);
	rel->fdw_private = state;
	if (state->kind == RELATION_INTAKE)
	{
		rel->rows = 1;
		rel->tuples = 0;
		return;
	}
	size_read(&state->sizes);
	estimate(root, rel, rel->baserestrictinfo, &scan, &keys);
	rel->tuples =
		state->sizes.conversations * (state->kind == RELATION_MESSAGES ? state->sizes.messages : 1);
	if (account_confined() != NULL)
		rel->tuples = scan.rows;
	rel->rows = scan.rows;
}

/* ---- paths ---- */

/* Whether the query is ordered by seq alone, once the keys are constant; sets *backward. */
static bool
order_of_use(PlannerInfo *root, RelOptInfo *rel, bool *backward)
{
	PathKey *key;
	ListCell *cell;

	if (list_length(root->query_pathkeys) != 1)
		return false;
	key = linitial(root->query_pathkeys);
	if (key->pk_opfamily != INTEGER_BTREE_FAM_OID)
		return false;
	foreach (cell, key->pk_eclass->ec_members)
	{
		EquivalenceMember *member = lfirst(cell);

		if (IsA(member->em_expr, Var) && ((Var *) member->em_expr)->varno == rel->relid &&
			((Var *) member->em_expr)->varattno == MESSAGES_SEQ + 1)
		{
			*backward = compat_is_descending(key);
			return true;
		}
	}
	return false;
}

static void
add_scan(PlannerInfo *root, RelOptInfo *rel, const RelationEstimate *scan, List *pathkeys,
		 Relids outer, int order)
{
	add_path(rel, (Path *) compat_create_foreignscan_path(root, rel, scan->rows, scan->startup_cost,
														  scan->total_cost, pathkeys, outer,
														  list_make1_int(order)));
}

/* A path for each process to read a part, where the scan is of all rows. */
static void
add_partial(PlannerInfo *root, RelOptInfo *rel, const RelationEstimate *scan)
{
	PathState *state = rel->fdw_private;
	double pages =
		state->kind == RELATION_MESSAGES ? state->sizes.message_pages : state->sizes.heap_pages;
	int workers = compute_parallel_worker(rel, pages, -1, max_parallel_workers_per_gather);
	ForeignPath *path;
	double divisor;

	if (workers <= 0)
		return;
	divisor = workers;
	if (parallel_leader_participation && workers < 4)
		divisor += 1.0 - 0.3 * workers;
	path = compat_create_foreignscan_path(root, rel, clamp_row_est(scan->rows / divisor),
										  scan->startup_cost, scan->total_cost / divisor, NIL, NULL,
										  list_make1_int(ORDER_NONE));
	path->path.parallel_aware = true;
	path->path.parallel_safe = rel->consider_parallel;
	path->path.parallel_workers = workers;
	add_partial_path(rel, (Path *) path);
}

/* Which column's equivalences are asked for. */
typedef struct JoinColumn
{
	AttrNumber attribute;
} JoinColumn;

static bool
is_join_column(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *class,
			   EquivalenceMember *member, void *arg)
{
	Node *node = (Node *) member->em_expr;

	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return IsA(node, Var) && ((Var *) node)->varno == rel->relid &&
		   ((Var *) node)->varattno == ((JoinColumn *) arg)->attribute;
}

/* The relations whose values a join condition gives to this one; NULL: it is none of use. */
static Relids
outer_of(RelOptInfo *rel, RestrictInfo *info)
{
	PathState *state = rel->fdw_private;
	RelationKey key;

	if (!join_clause_is_movable_to(info, rel) ||
		!key_match(state->kind, rel->relid, info->clause, &key) || key.kind > KEY_ACCOUNT_ANY)
		return NULL;
	return bms_del_member(bms_union(info->clause_relids, rel->lateral_relids), rel->relid);
}

/* Adds a set to a list of sets, unless it is there. */
static List *
add_set(List *sets, Relids set)
{
	ListCell *cell;

	if (bms_is_empty(set) || list_length(sets) == MAX_PARAMETERIZATIONS)
		return sets;
	foreach (cell, sets)
		if (bms_equal(lfirst(cell), set))
			return sets;
	return lappend(sets, set);
}

/* All sets of relations that can give keys by joins. */
static List *
parameterizations(PlannerInfo *root, RelOptInfo *rel)
{
	List *sets = NIL;
	List *pairs = NIL;
	ListCell *cell;
	ListCell *other;

	foreach (cell, rel->joininfo)
		sets = add_set(sets, outer_of(rel, lfirst(cell)));
	for (int column = 0; rel->has_eclass_joins && column < 2; column++)
	{
		JoinColumn wanted = {column == 0 ? MESSAGES_CONVERSATION_ID + 1 : MESSAGES_ACCOUNT_ID + 1};
		List *clauses = generate_implied_equalities_for_column(root, rel, is_join_column, &wanted,
															   rel->lateral_referencers);

		foreach (cell, clauses)
			sets = add_set(sets, outer_of(rel, lfirst(cell)));
	}
	foreach (cell, sets)
		for_each_cell(other, sets, lnext(sets, cell)) pairs =
			add_set(pairs, bms_union(lfirst(cell), lfirst(other)));
	foreach (cell, pairs)
		sets = add_set(sets, lfirst(cell));
	return sets;
}

static void
add_parameterized(PlannerInfo *root, RelOptInfo *rel, Relids outer)
{
	ParamPathInfo *parameters = get_baserel_parampathinfo(root, rel, outer);
	RelationEstimate scan;
	List *keys;

	estimate(root, rel, list_concat_copy(parameters->ppi_clauses, rel->baserestrictinfo), &scan,
			 &keys);
	parameters->ppi_rows = scan.rows;
	add_scan(root, rel, &scan, NIL, outer, ORDER_NONE);
}

/*
 * paths_add
 *		Adds the relation's paths, as GetForeignPaths does.
 */
void
paths_add(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	PathState *state = rel->fdw_private;
	RelationEstimate scan = {0};
	bool backward;
	ListCell *cell;
	List *keys = NIL;

	if (state->kind == RELATION_INTAKE)
	{
		add_scan(root, rel, &scan, NIL, rel->lateral_relids, ORDER_NONE);
		return;
	}
	estimate(root, rel, rel->baserestrictinfo, &scan, &keys);
	add_scan(root, rel, &scan, NIL, rel->lateral_relids, ORDER_NONE);
	if (state->kind == RELATION_MESSAGES && key_find(keys, KEY_CONVERSATION) != NULL &&
		order_of_use(root, rel, &backward))
		add_scan(root, rel, &scan, root->query_pathkeys, rel->lateral_relids,
				 backward ? ORDER_BACKWARD : ORDER_FORWARD);
	if (rel->consider_parallel && bms_is_empty(rel->lateral_relids) &&
		key_find(keys, KEY_CONVERSATION) == NULL && key_find(keys, KEY_CONVERSATION_ANY) == NULL &&
		key_find(keys, KEY_ACCOUNT) == NULL && key_find(keys, KEY_ACCOUNT_ANY) == NULL &&
		account_confined() == NULL)
		add_partial(root, rel, &scan);
	foreach (cell, parameterizations(root, rel))
		add_parameterized(root, rel, lfirst(cell));
}

/* ---- plan ---- */

/*
 * paths_plan
 *		The plan of a path, as GetForeignPlan makes it: conditions that the scan
 *		fulfils exactly are taken from the filter.
 */
ForeignScan *
paths_plan(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignPath *path, List *targets,
		   List *clauses, Plan *outer)
{
	PathState *state = rel->fdw_private;
	List *conditions = extract_actual_clauses(clauses, false);
	List *keys =
		state->kind == RELATION_INTAKE ? NIL : key_choose(state->kind, rel->relid, conditions);
	uint32 columns = wanted_columns(rel, conditions, keys);
	List *kinds = NIL;
	List *values = NIL;
	List *exact = NIL;
	ListCell *cell;

	foreach (cell, keys)
	{
		RelationKey *key = lfirst(cell);

		kinds = lappend_int(kinds, key->kind);
		values = lappend(values, key->value);
		if (key->exact)
		{
			exact = lappend(exact, key->clause);
			conditions = list_delete_ptr(conditions, key->clause);
		}
	}
	return make_foreignscan(targets, conditions, rel->relid, values,
							list_make2(kinds, list_make3_int(state->kind, (int) columns,
															 linitial_int(path->fdw_private))),
							NIL, exact, outer);
}
