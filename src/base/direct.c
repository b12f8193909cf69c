/*
 * direct.c
 *		Rows by primary key without the executor.
 *
 * To set a statement up costs more than to touch the few rows that an append,
 * or a look at the newest messages, is about.  These go straight to the access
 * methods of table and index, as a statement would: same snapshots, same locks.
 *
 * Only tables that are as their room's SQL made them are touched so.  One with a
 * trigger, a rule, a check, row security or other columns (one that another
 * extension distributes has a trigger) is left to the statements, which every
 * caller has as well.
 *
 * Relations are locked to the transaction's end; slots and scans live in the
 * current memory context until direct_close.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "direct.h"

static bool
has_columns(Relation relation, DirectTable *table)
{
	TupleDesc descriptor = RelationGetDescr(relation);

	if (descriptor->natts != table->ncolumns)
		return false;
	if (table->known == RelationGetRelid(relation))
		return true;
	for (int i = 0; i < table->ncolumns; i++)
		if (strcmp(NameStr(TupleDescAttr(descriptor, i)->attname), table->columns[i]) != 0)
			return false;
	table->known = RelationGetRelid(relation);
	return true;
}

/* Nothing about the table would make the executor do more than is done here. */
static bool
is_plain(Relation relation)
{
	TupleConstr *constraints = RelationGetDescr(relation)->constr;

	return relation->rd_rel->relkind == RELKIND_RELATION && relation->trigdesc == NULL &&
		   relation->rd_rules == NULL && !relation->rd_rel->relrowsecurity &&
		   !relation->rd_rel->relhassubclass &&
		   (constraints == NULL ||
			(constraints->num_check == 0 && !constraints->has_generated_stored));
}

static bool
has_key(Relation index, const DirectTable *table)
{
	if (index->rd_index->indnkeyatts != table->nkeys)
		return false;
	for (int i = 0; i < table->nkeys; i++)
		if (index->rd_index->indkey.values[i] != table->keys[i] + 1)
			return false;
	return true;
}

/* Closes what direct_open or direct_open_reading has opened; the table's lock stays. */
void
direct_close(DirectRows *rows)
{
	if (rows->scan != NULL)
		index_endscan(rows->scan);
	if (rows->slot != NULL)
		ExecDropSingleTupleTableSlot(rows->slot);
	if (rows->state != NULL)
	{
		ExecCloseIndices(rows->indexes);
		FreeExecutorState(rows->state);
	}
	if (rows->index != NULL)
		index_close(rows->index, NoLock);
	table_close(rows->table, NoLock);
}

bool
direct_open(DirectRows *rows, DirectTable *table, LOCKMODE lock)
{
	Oid oid = get_relname_relid(table->name, get_namespace_oid("memory_store", false));

	memset(rows, 0, sizeof(*rows));
	rows->table = table_open(oid, lock);
	if (is_plain(rows->table) && has_columns(rows->table, table))
	{
		if (!rows->table->rd_indexvalid)
			list_free(RelationGetIndexList(rows->table));
		if (OidIsValid(rows->table->rd_pkindex))
			rows->index = index_open(rows->table->rd_pkindex, lock);
		if (rows->index != NULL && has_key(rows->index, table))
			return true;
	}
	direct_close(rows);
	return false;
}

/* A valid index on the whole table that begins with these columns; NULL: there is none. */
static Relation
find_index(Relation table, const int *keys, int nkeys)
{
	List *indexes = RelationGetIndexList(table);
	Relation found = NULL;
	ListCell *cell;

	foreach (cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);
		Form_pg_index form = index->rd_index;
		bool fits = form->indisvalid && form->indnkeyatts >= nkeys &&
					index->rd_rel->relam == BTREE_AM_OID && RelationGetIndexPredicate(index) == NIL;

		for (int i = 0; fits && i < nkeys; i++)
			fits = form->indkey.values[i] == keys[i] + 1;
		if (fits)
		{
			found = index;
			break;
		}
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

void
direct_open_reading(DirectRows *rows, DirectTable *table, Snapshot snapshot, const int *keys,
					int nkeys)
{
	Oid oid = get_relname_relid(table->name, get_namespace_oid("memory_store", false));

	memset(rows, 0, sizeof(*rows));
	rows->table = table_open(oid, AccessShareLock);
	rows->snapshot = snapshot;
	if (!has_columns(rows->table, table))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table memory_store.%s has other columns than memory_ext gave it",
							   table->name),
						errhint("Columns cannot be added to or removed from the tables of "
								"schema memory_store.")));
	if (nkeys == 0)
	{
		keys = table->keys;
		nkeys = table->nkeys;
	}
	rows->index = find_index(rows->table, keys, nkeys);
	if (rows->index == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table memory_store.%s has lost an index that begins with \"%s\"",
							   table->name, table->columns[keys[0]]),
						errhint("Create it again, or rebuild it with REINDEX TABLE.")));
}

static void
make_slot(DirectRows *rows)
{
	if (rows->slot == NULL)
		rows->slot = table_slot_create(rows->table, NULL);
}

void
direct_find(DirectRows *rows, ScanKeyData *keys, int nkeys)
{
	Snapshot snapshot = rows->snapshot != NULL ? rows->snapshot : GetActiveSnapshot();

	make_slot(rows);
	if (rows->scan != NULL &&
		(rows->scan->xs_snapshot != snapshot || rows->scan->numberOfKeys != nkeys))
	{
		index_endscan(rows->scan);
		rows->scan = NULL;
	}
	if (rows->scan == NULL)
		rows->scan = compat_index_beginscan(rows->table, rows->index, snapshot, nkeys);
	index_rescan(rows->scan, keys, nkeys, NULL, 0);
}

/*
 * Puts the next row that direct_find looks for into the slot, all of its
 * columns; false: there is no other.
 */
bool
direct_next(DirectRows *rows, ScanDirection direction)
{
	if (!index_getnext_slot(rows->scan, direction, rows->slot))
		return false;
	slot_getallattrs(rows->slot);
	return true;
}

bool
direct_may_write(void)
{
	return !XactReadOnly && !IsInParallelMode();
}

TupleTableSlot *
direct_new_row(const DirectRows *rows)
{
	return MakeSingleTupleTableSlot(RelationGetDescr(rows->table), &TTSOpsVirtual);
}

/* A copy of the row at hand, whose values are the row's own. */
static TupleTableSlot *
new_version(const DirectRows *rows)
{
	TupleTableSlot *row = direct_new_row(rows);
	int ncolumns = RelationGetDescr(rows->table)->natts;

	memcpy(row->tts_values, rows->slot->tts_values, ncolumns * sizeof(Datum));
	memcpy(row->tts_isnull, rows->slot->tts_isnull, ncolumns * sizeof(bool));
	return ExecStoreVirtualTuple(row);
}

static void
open_indexes(DirectRows *rows)
{
	if (rows->state != NULL)
		return;
	rows->state = CreateExecutorState();
	rows->indexes = makeNode(ResultRelInfo);
	InitResultRelInfo(rows->indexes, rows->table, 0, NULL, 0);
	ExecOpenIndices(rows->indexes, false);
}

/* Writes the index entries of a row that is in the table. */
static void
index_row(DirectRows *rows, TupleTableSlot *row, bool update, bool only_summarizing)
{
	open_indexes(rows);
	compat_insert_index_tuples(rows->indexes, row, rows->state, update, only_summarizing);
	ResetPerTupleExprContext(rows->state);
}

/* Writes the new version of the row at hand; waits for another who is writing it. */
static TM_Result
write_version(DirectRows *rows, TupleTableSlot *row)
{
	TM_FailureData failure;
	LockTupleMode mode;
	bool indexes;
	bool only_summarizing;
	TM_Result result =
		compat_tuple_update(rows->table, &rows->slot->tts_tid, row, GetCurrentCommandId(true),
							GetActiveSnapshot(), &failure, &mode, &indexes, &only_summarizing);

	if (result == TM_Ok && indexes)
		index_row(rows, row, true, only_summarizing);
	if (result != TM_Ok && result != TM_Updated && result != TM_Deleted)
		elog(ERROR, "unexpected result %d of an update of \"%s\"", (int) result,
			 RelationGetRelationName(rows->table));
	return result;
}

/* Writes what change makes of the row at hand; *changed false: refused, or somebody was first. */
static TM_Result
change_row(DirectRows *rows, DirectChange change, void *arg, bool *changed)
{
	TM_Result result = TM_Ok;
	TupleTableSlot *row = new_version(rows);

	*changed = false;
	if (change(row, arg))
	{
		result = write_version(rows, row);
		*changed = result == TM_Ok;
	}
	ExecDropSingleTupleTableSlot(row);
	return result;
}

/* A snapshot as SPI takes it before each statement that writes. */
static void
push_snapshot(void)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* Finds the row with these keys and changes it by the given function, as the header says. */
bool
direct_change(DirectRows *rows, ScanKeyData *keys, int nkeys, DirectChange change, void *arg)
{
	TM_Result result;
	bool changed;

	do
	{
		CHECK_FOR_INTERRUPTS();
		result = TM_Ok;
		changed = false;
		push_snapshot();
		direct_find(rows, keys, nkeys);
		if (direct_next(rows, ForwardScanDirection))
			result = change_row(rows, change, arg, &changed);
		PopActiveSnapshot();
	} while (result != TM_Ok && !IsolationUsesXactSnapshot());
	return changed;
}

/* Whether the row at hand has these keys. */
static bool
has_keys(const DirectRows *rows, ScanKeyData *keys, int nkeys)
{
	for (int i = 0; i < nkeys; i++)
	{
		int column = rows->index->rd_index->indkey.values[keys[i].sk_attno - 1] - 1;

		if (!DatumGetBool(FunctionCall2Coll(&keys[i].sk_func, keys[i].sk_collation,
											rows->slot->tts_values[column], keys[i].sk_argument)))
			return false;
	}
	return true;
}

bool
direct_change_at(DirectRows *rows, ItemPointer place, ScanKeyData *keys, int nkeys,
				 DirectChange change, void *arg)
{
	bool changed = false;

	make_slot(rows);
	push_snapshot();
	if (table_tuple_fetch_row_version(rows->table, place, GetActiveSnapshot(), rows->slot))
	{
		slot_getallattrs(rows->slot);
		if (has_keys(rows, keys, nkeys))
			(void) change_row(rows, change, arg, &changed);
	}
	PopActiveSnapshot();
	return changed || direct_change(rows, keys, nkeys, change, arg);
}

/*
 * Inserts a row of direct_new_row, whose columns the caller has filled in, with
 * its index entries, and frees it.
 */
void
direct_insert(DirectRows *rows, TupleTableSlot *row)
{
	ExecStoreVirtualTuple(row);
	table_tuple_insert(rows->table, row, GetCurrentCommandId(true), 0, NULL);
	index_row(rows, row, false, false);
	ExecDropSingleTupleTableSlot(row);
}

void
direct_insert_all(DirectRows *rows, TupleTableSlot **filled, int n)
{
	for (int i = 0; i < n; i++)
		ExecStoreVirtualTuple(filled[i]);
	table_multi_insert(rows->table, filled, n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		index_row(rows, filled[i], false, false);
		ExecDropSingleTupleTableSlot(filled[i]);
	}
}
