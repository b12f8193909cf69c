/*
 * modify.c
 *		INSERT, COPY, UPDATE and DELETE on the relations, as the executor calls
 *		them.
 *
 * Rows buffer in the node's state and are written when the node ends, in order
 * of their keys, which is the order of the locks.  The state is the node's:
 * statements that nest, savepoints that are rolled back and errors need no
 * bookkeeping.
 *
 * A table to which somebody has added AFTER triggers has each row written as it
 * comes, since they run before the node ends and are to see it; so has INSERT
 * with ON CONFLICT DO NOTHING, which must know at once whether a row is there.
 *
 * The store is written with the rights of the extension's owner; what the caller
 * has brought, triggers and functions in the statement, runs with his own.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/appendinfo.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "owner.h"
#include "relation_private.h"

/* What a DELETE's plan brings along of the rows, by the names of these columns. */
static const char *const key_names[] = {"memory_conversation_id", "memory_account_id",
										"memory_seq"};

static int
key_count(RelationKind kind)
{
	return kind == RELATION_MESSAGES ? 3 : 2;
}

/*
 * modify_add_targets
 *		What UPDATE and DELETE need of each row besides the columns that they
 *		set: its keys, and all of it where DELETE shows it.
 */
void
modify_add_targets(PlannerInfo *root, Index relid, RangeTblEntry *entry, Relation relation)
{
	RelationKind kind = relation_kind(RelationGetRelid(relation), NULL);

	for (int i = 0; kind != RELATION_INTAKE && i < key_count(kind); i++)
	{
		Form_pg_attribute column = TupleDescAttr(RelationGetDescr(relation), i);
		Var *key =
			makeVar(relid, i + 1, column->atttypid, column->atttypmod, column->attcollation, 0);

		add_row_identity_var(root, key, relid, key_names[i]);
	}
	if (root->parse->returningList != NIL)
		add_row_identity_var(root, makeWholeRowVar(entry, relid, 0, false), relid, "wholerow");
}

/* ---- the node ---- */

/* Whether triggers run after rows were written that are to see them. */
static bool
has_after_triggers(const TriggerDesc *triggers, ModifyCommand command)
{
	if (triggers == NULL)
		return false;
	switch (command)
	{
		case MODIFY_INSERT:
			return triggers->trig_insert_after_row || triggers->trig_insert_after_statement;
		case MODIFY_UPDATE:
			return triggers->trig_update_after_row || triggers->trig_update_after_statement;
		case MODIFY_DELETE:
			return triggers->trig_delete_after_row || triggers->trig_delete_after_statement;
	}
	return false;
}

/*
 * Another node of the statement that inserts into the same relation; NULL: there
 * is none.  The two share their rows: what one is given numbers in, the other
 * goes on with, and the answers that one inserts find the questions of the other.
 */
static RelationModify *
find_partner(EState *state, const RelationModify *modify)
{
	ListCell *cell;

	foreach (cell, state->es_opened_result_relations)
	{
		ResultRelInfo *other = lfirst(cell);
		RelationModify *partner = other->ri_FdwState;

		if (other->ri_FdwRoutine != NULL && other->ri_FdwRoutine->EndForeignModify == modify_end &&
			partner != NULL && partner->command == MODIFY_INSERT && !partner->shares_buffer &&
			RelationGetRelid(partner->relation) == RelationGetRelid(modify->relation))
			return partner;
	}
	return NULL;
}

/* The rows of a node, or those of another that it shares. */
static void
set_buffer(EState *state, RelationModify *modify)
{
	RelationModify *partner = modify->command == MODIFY_INSERT ? find_partner(state, modify) : NULL;

	modify->shares_buffer = partner != NULL;
	if (partner != NULL)
		modify->buffer = partner->buffer;
	else
		modify->buffer =
			row_buffer_create(modify->kind == RELATION_MESSAGES ? messages_buffered()
																: conversations_buffered(),
							  modify->command == MODIFY_INSERT);
}

static RelationModify *
create_modify(EState *state, ResultRelInfo *result, ModifyCommand command)
{
	RelationModify *modify = palloc0(sizeof(RelationModify));

	modify->relation = result->ri_RelationDesc;
	modify->kind = relation_kind(RelationGetRelid(modify->relation), &modify->intake);
	modify->command = command;
	modify->at_once = has_after_triggers(result->ri_TrigDesc, command);
	modify->returns = modify->at_once;
	modify->row_context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext row in", ALLOCSET_DEFAULT_SIZES);
	if (modify->kind != RELATION_INTAKE)
		set_buffer(state, modify);
	modify->state = state;
	modify->snapshot = state->es_snapshot;
	result->ri_FdwState = modify;
	return modify;
}

/* The subplan's rows have the keys under these names. */
static void
find_keys(RelationModify *modify, Plan *subplan)
{
	for (int i = 0; i < key_count(modify->kind); i++)
	{
		modify->keys[i] = ExecFindJunkAttributeInTlist(subplan->targetlist, key_names[i]);
		if (!AttributeNumberIsValid(modify->keys[i]))
			elog(ERROR, "could not find junk column \"%s\"", key_names[i]);
	}
}

/* Makes the state of an INSERT, UPDATE or DELETE of one relation. */
void
modify_begin(ModifyTableState *node, ResultRelInfo *result, List *private, int subplan, int flags)
{
	ModifyTable *plan = (ModifyTable *) node->ps.plan;
	RelationModify *modify;

	if (flags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	modify = create_modify(node->ps.state, result,
						   node->operation == CMD_INSERT   ? MODIFY_INSERT
						   : node->operation == CMD_UPDATE ? MODIFY_UPDATE
														   : MODIFY_DELETE);
	if (node->operation == CMD_DELETE)
		find_keys(modify, outerPlanState(node)->plan);
	modify->skips_conflicts =
		node->operation == CMD_INSERT && plan->onConflictAction == ONCONFLICT_NOTHING;
	modify->at_once |= modify->skips_conflicts;
	/* what reads the row, RETURNING or a view's check, is set up after this */
	modify->returns |= plan->returningLists != NIL || plan->withCheckOptionLists != NIL;
}

/* Makes the state of a COPY. */
void
modify_begin_insert(ModifyTableState *node, ResultRelInfo *result)
{
	create_modify(node->ps.state, result, MODIFY_INSERT);
}

/* Writes what was buffered, with the statement's own snapshot as the active one. */
static void
write_buffered(RelationModify *modify)
{
	OwnerScope scope;

	if (row_buffer_rows(modify->buffer) == 0)
		return;
	owner_enter(&scope);
	if (modify->snapshot != NULL)
		PushActiveSnapshot(modify->snapshot);
	SPI_connect();
	if (modify->kind == RELATION_MESSAGES)
		messages_write(modify);
	else
		conversations_write(modify);
	SPI_finish();
	if (modify->snapshot != NULL)
		PopActiveSnapshot();
	owner_leave(&scope);
	row_buffer_empty(modify->buffer);
}

/* ---- rows ---- */

/* The row as it is stored takes the place of the one that came. */
static void
show_row(EState *state, RelationModify *modify, TupleTableSlot *slot, Datum *values, bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(state));
	HeapTuple row = heap_form_tuple(RelationGetDescr(modify->relation), values, nulls);

	MemoryContextSwitchTo(old);
	ExecForceStoreHeapTuple(row, slot, false);
}

/* Hands a row to the room above that takes it. */
static void
take_in(RelationModify *modify, TupleTableSlot *slot)
{
	OwnerScope scope;

	owner_enter(&scope);
	if (modify->intake_state == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(MemoryContextGetParent(modify->row_context));

		modify->intake_state = modify->intake->begin();
		MemoryContextSwitchTo(old);
	}
	if (slot != NULL)
		modify->intake->put(modify->intake_state, slot);
	owner_leave(&scope);
}

/*
 * Writes what other parts of the statement have buffered, so that a number and a
 * parent are those that come after it.
 */
static void
write_other_parts(RelationModify *modify)
{
	ListCell *cell;

	foreach (cell, modify->state->es_opened_result_relations)
	{
		ResultRelInfo *part = lfirst(cell);
		RelationModify *other = part->ri_FdwState;

		if (part->ri_FdwRoutine != NULL && part->ri_FdwRoutine->EndForeignModify == modify_end &&
			other != NULL && other->kind != RELATION_INTAKE && other->buffer != modify->buffer)
			write_buffered(other);
	}
}

/* Takes one row in; false: it is there already and is skipped. */
static bool
insert_row(RelationModify *modify, Datum *values, bool *nulls)
{
	/* only what may have to ask the store needs its rights */
	bool asks = modify->returns || modify->skips_conflicts || nulls[MESSAGES_ACCOUNT_ID];
	OwnerScope scope;
	bool inserted;

	if (asks && list_length(modify->state->es_opened_result_relations) > 1)
		write_other_parts(modify);
	if (asks)
	{
		owner_enter(&scope);
		SPI_connect();
		MemoryContextSwitchTo(modify->row_context);
	}
	inserted = modify->kind == RELATION_MESSAGES ? messages_insert(modify, values, nulls)
												 : conversations_insert(modify, values, nulls);
	if (asks)
	{
		SPI_finish();
		MemoryContextSwitchTo(modify->row_context);
		owner_leave(&scope);
	}
	return inserted;
}

/* A row of INSERT or COPY; NULL: it is there already. */
TupleTableSlot *
modify_insert(EState *state, ResultRelInfo *result, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	RelationModify *modify = result->ri_FdwState;
	Datum values[CONVERSATIONS_NCOLUMNS];
	bool nulls[CONVERSATIONS_NCOLUMNS];
	MemoryContext old;
	bool inserted;
	int natts = slot->tts_tupleDescriptor->natts;

	StaticAssertStmt((int) MESSAGES_NCOLUMNS <= (int) CONVERSATIONS_NCOLUMNS,
					 "a row of either relation fits");
	MemoryContextReset(modify->row_context);
	old = MemoryContextSwitchTo(modify->row_context);
	slot_getallattrs(slot);
	if (modify->kind == RELATION_INTAKE)
	{
		take_in(modify, slot);
		MemoryContextSwitchTo(old);
		return slot;
	}
	memcpy(values, slot->tts_values, natts * sizeof(Datum));
	memcpy(nulls, slot->tts_isnull, natts * sizeof(bool));
	inserted = insert_row(modify, values, nulls);
	MemoryContextSwitchTo(old);
	if (!inserted)
		return NULL;
	if (modify->returns)
		show_row(state, modify, slot, values, nulls);
	if (modify->at_once)
		write_buffered(modify);
	return slot;
}

/* A row of UPDATE: slot has the new version, the node's old slot what it was. */
TupleTableSlot *
modify_update(EState *state, ResultRelInfo *result, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	RelationModify *modify = result->ri_FdwState;
	TupleTableSlot *before = result->ri_oldTupleSlot;
	Datum values[CONVERSATIONS_NCOLUMNS];
	bool nulls[CONVERSATIONS_NCOLUMNS];
	int natts = slot->tts_tupleDescriptor->natts;
	MemoryContext old;

	MemoryContextReset(modify->row_context);
	old = MemoryContextSwitchTo(modify->row_context);
	slot_getallattrs(slot);
	slot_getallattrs(before);
	memcpy(values, slot->tts_values, natts * sizeof(Datum));
	memcpy(nulls, slot->tts_isnull, natts * sizeof(bool));
	if (modify->kind == RELATION_MESSAGES)
		messages_update(modify, before->tts_values, before->tts_isnull, values, nulls);
	else
		conversations_update(modify, before->tts_values, before->tts_isnull, values, nulls);
	MemoryContextSwitchTo(old);
	if (modify->returns)
		show_row(state, modify, slot, values, nulls);
	if (modify->at_once)
		write_buffered(modify);
	return slot;
}

/* Fills the slot with the row that is deleted, as the plan has read it. */
static void
show_deleted(EState *state, RelationModify *modify, ResultRelInfo *result, TupleTableSlot *slot,
			 TupleTableSlot *plan_slot)
{
	bool isnull;
	Datum row = ExecGetJunkAttribute(plan_slot, result->ri_RowIdAttNo, &isnull);
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(state));
	HeapTupleData tuple;

	if (isnull)
		elog(ERROR, "the whole row of a DELETE is null");
	memset(&tuple, 0, sizeof(tuple));
	tuple.t_data = DatumGetHeapTupleHeader(row);
	tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = RelationGetRelid(modify->relation);
	ExecForceStoreHeapTuple(heap_copytuple(&tuple), slot, false);
	MemoryContextSwitchTo(old);
}

/* A row of DELETE, whose keys the plan brings along. */
TupleTableSlot *
modify_delete(EState *state, ResultRelInfo *result, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	RelationModify *modify = result->ri_FdwState;
	Datum keys[lengthof(modify->keys)];
	MemoryContext old;
	bool isnull;

	MemoryContextReset(modify->row_context);
	old = MemoryContextSwitchTo(modify->row_context);
	for (int i = 0; i < key_count(modify->kind); i++)
	{
		keys[i] = ExecGetJunkAttribute(plan_slot, modify->keys[i], &isnull);
		if (isnull)
			elog(ERROR, "a key of a DELETE is null");
	}
	if (modify->kind == RELATION_MESSAGES)
		messages_delete(modify, keys);
	else
		conversations_delete(modify, keys);
	MemoryContextSwitchTo(old);
	if (modify->returns && AttributeNumberIsValid(result->ri_RowIdAttNo))
		show_deleted(state, modify, result, slot, plan_slot);
	if (modify->at_once)
		write_buffered(modify);
	return slot;
}

/* The node has no more rows. */
static void
finish(RelationModify *modify)
{
	OwnerScope scope;

	if (modify->finished)
		return;
	modify->finished = true;
	if (modify->kind != RELATION_INTAKE)
	{
		write_buffered(modify);
		return;
	}
	take_in(modify, NULL);
	owner_enter(&scope);
	modify->intake->end(modify->intake_state);
	owner_leave(&scope);
}

/*
 * modify_end
 *		When the first node of a statement ends, all have their rows: what is
 *		buffered is written, in the order of the statement's parts.  So a
 *		conversation that WITH inserts is there before its messages are.
 */
void
modify_end(EState *state, ResultRelInfo *result)
{
	ListCell *cell;

	foreach (cell, state->es_opened_result_relations)
	{
		ResultRelInfo *part = lfirst(cell);

		if (part->ri_FdwRoutine != NULL && part->ri_FdwRoutine->EndForeignModify == modify_end &&
			part->ri_FdwState != NULL)
			finish(part->ri_FdwState);
	}
	if (result->ri_FdwState != NULL)
		finish(result->ri_FdwState);
}
