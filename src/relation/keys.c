/*
 * keys.c
 *		The conditions that a scan works by: found in a query by the planner,
 *		given their values by the executor.
 *
 * Conditions on conversation_id and account_id lead to rows by an index;
 * those on seq are ranges of it.  All of these the scan fulfils exactly, so that
 * the executor need not look again.  Those on created_at only let it pass over
 * segments: they remain filters.
 */
#include "postgres.h"

#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "account.h"
#include "memory_limits.h"
#include "relation_private.h"

/* ---- in the planner ---- */

/* The column that an expression is; -1: it is none of this relation's. */
static int
column_of(Node *node, Index relid)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	if (node == NULL || !IsA(node, Var))
		return -1;
	return ((Var *) node)->varno == relid && ((Var *) node)->varlevelsup == 0 &&
				   ((Var *) node)->varattno > 0
			   ? ((Var *) node)->varattno - 1
			   : -1;
}

/* Whether an expression has one value for each start of the scan. */
static bool
is_value(Node *node, Index relid)
{
	return !contain_volatile_functions(node) && !bms_is_member(relid, pull_varnos(NULL, node));
}

/* The kind of key that equality with a column is; false: it is none. */
static bool
equality_kind(int column, Oid function, Oid collation, bool any, RelationKeyKind *kind)
{
	if (column == MESSAGES_CONVERSATION_ID && function == F_UUID_EQ)
		*kind = any ? KEY_CONVERSATION_ANY : KEY_CONVERSATION;
	else if (column == MESSAGES_ACCOUNT_ID && function == F_TEXTEQ && OidIsValid(collation) &&
			 get_collation_isdeterministic(collation))
		*kind = any ? KEY_ACCOUNT_ANY : KEY_ACCOUNT;
	else
		return false;
	return true;
}

/* The value of a comparison with seq as a bigint; NULL: it is of another type. */
static Expr *
seq_value(Node *value)
{
	switch (exprType(value))
	{
		case INT8OID:
			return (Expr *) value;
		case INT4OID:
			return (Expr *) makeFuncExpr(F_INT8_INT4, INT8OID, list_make1(value), InvalidOid,
										 InvalidOid, COERCE_IMPLICIT_CAST);
		case INT2OID:
			return (Expr *) makeFuncExpr(F_INT8_INT2, INT8OID, list_make1(value), InvalidOid,
										 InvalidOid, COERCE_IMPLICIT_CAST);
		default:
			return NULL;
	}
}

static bool
match_seq(Oid operator, Node * value, RelationKey *key)
{
	static const RelationKeyKind kinds[] = {KEY_SEQ_BELOW, KEY_SEQ_AT_MOST, KEY_SEQ_EQUAL,
											KEY_SEQ_AT_LEAST, KEY_SEQ_ABOVE};
	int strategy = get_op_opfamily_strategy(operator, INTEGER_BTREE_FAM_OID);

	if (strategy < 1 || strategy > (int) lengthof(kinds))
		return false;
	key->kind = kinds[strategy - 1];
	key->value = seq_value(value);
	return key->value != NULL;
}

static bool
match_time(Oid function, Node *value, RelationKey *key)
{
	if (function == F_TIMESTAMPTZ_LT || function == F_TIMESTAMPTZ_LE)
		key->kind = KEY_TIME_AT_MOST;
	else if (function == F_TIMESTAMPTZ_GT || function == F_TIMESTAMPTZ_GE)
		key->kind = KEY_TIME_AT_LEAST;
	else
		return false;
	key->value = (Expr *) value;
	key->exact = false;
	return true;
}

/* column operator value */
static bool
match_operator(RelationKind kind, int column, Oid operator, Oid collation, Node *value,
			   RelationKey *key)
{
	Oid function = get_opcode(operator);

	key->exact = true;
	key->value = (Expr *) value;
	if (equality_kind(column, function, collation, false, &key->kind))
		return true;
	if (kind != RELATION_MESSAGES)
		return false;
	if (column == MESSAGES_SEQ)
		return match_seq(operator, value, key);
	return column == MESSAGES_CREATED_AT && match_time(function, value, key);
}

/*
 * key_match
 *		Whether a condition of a query is one that a scan of the relation can
 *		work by; fills in *key.  The value may have columns of other relations.
 */
bool
key_match(RelationKind kind, Index relid, Expr *clause, RelationKey *key)
{
	memset(key, 0, sizeof(*key));
	key->clause = clause;
	if (IsA(clause, OpExpr) && list_length(((OpExpr *) clause)->args) == 2)
	{
		OpExpr *op = (OpExpr *) clause;
		Node *left = linitial(op->args);
		Node *right = lsecond(op->args);
		int column = column_of(left, relid);

		if (column >= 0 && is_value(right, relid))
			return match_operator(kind, column, op->opno, op->inputcollid, right, key);
		column = column_of(right, relid);
		if (column >= 0 && is_value(left, relid) && OidIsValid(get_commutator(op->opno)))
			return match_operator(kind, column, get_commutator(op->opno), op->inputcollid, left,
								  key);
	}
	else if (IsA(clause, ScalarArrayOpExpr) && ((ScalarArrayOpExpr *) clause)->useOr)
	{
		ScalarArrayOpExpr *op = (ScalarArrayOpExpr *) clause;
		Node *array = lsecond(op->args);

		key->exact = true;
		key->value = (Expr *) array;
		return is_value(array, relid) &&
			   equality_kind(column_of(linitial(op->args), relid), get_opcode(op->opno),
							 op->inputcollid, true, &key->kind);
	}
	return false;
}

/* The first key of this kind; NULL: there is none. */
const RelationKey *
key_find(List *keys, RelationKeyKind kind)
{
	ListCell *cell;

	foreach (cell, keys)
		if (((RelationKey *) lfirst(cell))->kind == kind)
			return lfirst(cell);
	return NULL;
}

/* Whether there is a key of one column already, which another may only replace if it is better. */
static bool
is_taken(List **keys, const RelationKey *key, RelationKeyKind one, RelationKeyKind any)
{
	const RelationKey *before = key_find(*keys, any);

	if (key->kind != one && key->kind != any)
		return false;
	if (key_find(*keys, one) != NULL)
		return true;
	if (before == NULL)
		return false;
	if (key->kind == any)
		return true;
	*keys = list_delete_ptr(*keys, (void *) before);
	return false;
}

/*
 * key_choose
 *		The keys among clauses (expressions): of each column one that names the
 *		rows, = rather than = ANY, and all ranges.  A list of RelationKey.
 */
List *
key_choose(RelationKind kind, Index relid, List *clauses)
{
	List *keys = NIL;
	ListCell *cell;

	foreach (cell, clauses)
	{
		RelationKey key;
		RelationKey *kept;

		if (!key_match(kind, relid, lfirst(cell), &key) ||
			is_taken(&keys, &key, KEY_CONVERSATION, KEY_CONVERSATION_ANY) ||
			is_taken(&keys, &key, KEY_ACCOUNT, KEY_ACCOUNT_ANY))
			continue;
		kept = palloc(sizeof(RelationKey));
		*kept = key;
		keys = lappend(keys, kept);
	}
	return keys;
}

/* ---- in the executor ---- */

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

static int
compare_accounts(const void *a, const void *b)
{
	return account_compare(*(text *const *) a, *(text *const *) b);
}

/* Adds a conversation that is wanted; sorted and made unique by sort_bounds. */
static void
set_conversations(RelationBounds *bounds, const Datum *values, const bool *nulls, int n)
{
	bounds->has_conversations = true;
	bounds->conversations = palloc(mul_size(Max(n, 1), sizeof(pg_uuid_t)));
	for (int i = 0; i < n; i++)
		if (nulls == NULL || !nulls[i])
			bounds->conversations[bounds->nconversations++] = *DatumGetUUIDP(values[i]);
}

static void
set_accounts(RelationBounds *bounds, const Datum *values, const bool *nulls, int n)
{
	bounds->has_accounts = true;
	bounds->accounts = palloc(mul_size(Max(n, 1), sizeof(text *)));
	for (int i = 0; i < n; i++)
		if (nulls == NULL || !nulls[i])
		{
			text *account_id = DatumGetTextPP(values[i]);

			/* longer ones are nobody's, and no key of an index */
			if (VARSIZE_ANY_EXHDR(account_id) <= MEMORY_MAX_ACCOUNT_ID_BYTES)
				bounds->accounts[bounds->naccounts++] = account_id;
		}
}

static void
set_array(RelationBounds *bounds, RelationKeyKind kind, Datum value)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	bool is_conversations = kind == KEY_CONVERSATION_ANY;
	Datum *elements;
	bool *nulls;
	int n;

	if (is_conversations)
		deconstruct_array(array, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &elements, &nulls, &n);
	else
		deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_INT, &elements, &nulls,
						  &n);
	if (is_conversations)
		set_conversations(bounds, elements, nulls, n);
	else
		set_accounts(bounds, elements, nulls, n);
}

static void
set_bound(RelationBounds *bounds, RelationKeyKind kind, Datum value)
{
	switch (kind)
	{
		case KEY_CONVERSATION:
			set_conversations(bounds, &value, NULL, 1);
			break;
		case KEY_ACCOUNT:
			set_accounts(bounds, &value, NULL, 1);
			break;
		case KEY_CONVERSATION_ANY:
		case KEY_ACCOUNT_ANY:
			set_array(bounds, kind, value);
			break;
		case KEY_SEQ_BELOW:
			if (DatumGetInt64(value) == PG_INT64_MIN)
				bounds->nothing = true;
			else
				bounds->last_seq = Min(bounds->last_seq, DatumGetInt64(value) - 1);
			break;
		case KEY_SEQ_AT_MOST:
			bounds->last_seq = Min(bounds->last_seq, DatumGetInt64(value));
			break;
		case KEY_SEQ_EQUAL:
			bounds->first_seq = Max(bounds->first_seq, DatumGetInt64(value));
			bounds->last_seq = Min(bounds->last_seq, DatumGetInt64(value));
			break;
		case KEY_SEQ_AT_LEAST:
			bounds->first_seq = Max(bounds->first_seq, DatumGetInt64(value));
			break;
		case KEY_SEQ_ABOVE:
			if (DatumGetInt64(value) == PG_INT64_MAX)
				bounds->nothing = true;
			else
				bounds->first_seq = Max(bounds->first_seq, DatumGetInt64(value) + 1);
			break;
		case KEY_TIME_AT_MOST:
			bounds->last_at = Min(bounds->last_at, DatumGetTimestampTz(value));
			break;
		case KEY_TIME_AT_LEAST:
			bounds->first_at = Max(bounds->first_at, DatumGetTimestampTz(value));
			break;
	}
}

/* A confined session's rows are those of its account, whatever the query says. */
static void
confine_bounds(RelationBounds *bounds)
{
	const char *confined = account_confined();
	int kept = 0;

	if (confined == NULL)
		return;
	if (!bounds->has_accounts)
	{
		Datum account = CStringGetTextDatum(confined);

		set_accounts(bounds, &account, NULL, 1);
		return;
	}
	for (int i = 0; i < bounds->naccounts; i++)
		if (account_visible(bounds->accounts[i]))
			bounds->accounts[kept++] = bounds->accounts[i];
	bounds->naccounts = kept;
}

static void
sort_bounds(RelationBounds *bounds)
{
	int kept = 0;

	if (bounds->nconversations > 1)
	{
		qsort(bounds->conversations, bounds->nconversations, sizeof(pg_uuid_t), compare_ids);
		for (int i = 0; i < bounds->nconversations; i++)
			if (i == 0 ||
				compare_ids(&bounds->conversations[i], &bounds->conversations[kept - 1]) != 0)
				bounds->conversations[kept++] = bounds->conversations[i];
		bounds->nconversations = kept;
	}
	if (bounds->naccounts > 1)
	{
		kept = 0;
		qsort(bounds->accounts, bounds->naccounts, sizeof(text *), compare_accounts);
		for (int i = 0; i < bounds->naccounts; i++)
			if (i == 0 || !account_same(bounds->accounts[i], bounds->accounts[kept - 1]))
				bounds->accounts[kept++] = bounds->accounts[i];
		bounds->naccounts = kept;
	}
}

/*
 * key_bounds
 *		What the keys amount to: kinds are RelationKeyKind as integers, values
 *		the ExprStates beside them.  The bounds, and what they point to, are in
 *		the current memory context.
 */
void
key_bounds(List *kinds, List *values, ExprContext *context, RelationBounds *bounds)
{
	ListCell *kind;
	ListCell *value;

	memset(bounds, 0, sizeof(*bounds));
	bounds->first_seq = 1;
	bounds->last_seq = PG_INT64_MAX;
	bounds->first_at = DT_NOBEGIN;
	bounds->last_at = DT_NOEND;
	forboth (kind, kinds, value, values)
	{
		bool isnull;
		Datum datum = ExecEvalExpr((ExprState *) lfirst(value), context, &isnull);

		if (isnull)
			bounds->nothing = true;
		else
			set_bound(bounds, (RelationKeyKind) lfirst_int(kind), datum);
	}
	confine_bounds(bounds);
	sort_bounds(bounds);
	if ((bounds->has_conversations && bounds->nconversations == 0) ||
		(bounds->has_accounts && bounds->naccounts == 0) || bounds->first_seq > bounds->last_seq ||
		bounds->first_at > bounds->last_at)
		bounds->nothing = true;
}
