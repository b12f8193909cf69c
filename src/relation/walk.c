/*
 * walk.c
 *		The conversations that a scan's keys lead to, one row of
 *		memory_store.conversations after the other.
 *
 * By conversation_id, with or without accounts, through the primary key; by
 * account through the index of its recent conversations; else all, in the order
 * of the file.  Deleted ones are passed over.  The bounds keep a confined
 * session to its own account: no row of another's is ever looked at, so that
 * neither counts nor times tell of them.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"

#include "relation_private.h"
#include "tables.h"

/*
 * walk_init
 *		Prepares a walk; nothing is opened before the first walk_next.  parallel:
 *		the shared state of a walk over all rows, or NULL.
 */
void
walk_init(ConversationWalk *walk, const RelationBounds *bounds, Snapshot snapshot,
		  ParallelTableScanDesc parallel)
{
	walk->bounds = bounds;
	walk->rows.snapshot = snapshot;
	walk->searching = false;
	walk->next_conversation = 0;
	walk->next_account = 0;
	walk->parallel = parallel;
	if (walk->heap != NULL)
		table_endscan(walk->heap);
	walk->heap = NULL;
	if (walk->open && walk->by_recent != (!bounds->has_conversations && bounds->has_accounts))
		walk_end(walk);
}

static void
open_rows(ConversationWalk *walk)
{
	static const int recent[] = {CONVERSATION_ACCOUNT_ID, CONVERSATION_REVISION_BUCKET};
	Snapshot snapshot = walk->rows.snapshot;

	walk->by_recent = !walk->bounds->has_conversations && walk->bounds->has_accounts;
	direct_open_reading(&walk->rows, &store_conversations, snapshot, recent,
						walk->by_recent ? (int) lengthof(recent) : 0);
	walk->rows.slot = table_slot_create(walk->rows.table, NULL);
	walk->open = true;
}

/* Sets the search to the next keys; false: there are no more. */
static bool
next_keys(ConversationWalk *walk)
{
	const RelationBounds *bounds = walk->bounds;
	ScanKeyData keys[2];

	if (bounds->has_conversations)
	{
		if (walk->next_conversation == bounds->nconversations)
			return false;
		ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum(&bounds->conversations[walk->next_conversation]));
		if (!bounds->has_accounts)
		{
			walk->next_conversation++;
			direct_find(&walk->rows, keys, 1);
			return true;
		}
		ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ,
					PointerGetDatum(bounds->accounts[walk->next_account]));
		if (++walk->next_account == bounds->naccounts)
		{
			walk->next_account = 0;
			walk->next_conversation++;
		}
		direct_find(&walk->rows, keys, 2);
		return true;
	}
	if (walk->next_account == bounds->naccounts)
		return false;
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(bounds->accounts[walk->next_account++]));
	direct_find(&walk->rows, keys, 1);
	return true;
}

static bool
next_of_all(ConversationWalk *walk)
{
	if (walk->heap == NULL)
		walk->heap = walk->parallel != NULL
						 ? table_beginscan_parallel(walk->rows.table, walk->parallel)
						 : table_beginscan(walk->rows.table, walk->rows.snapshot, 0, NULL);
	if (!table_scan_getnextslot(walk->heap, ForwardScanDirection, walk->rows.slot))
		return false;
	slot_getallattrs(walk->rows.slot);
	return true;
}

/* The next row, a deleted one too. */
static bool
next_row(ConversationWalk *walk)
{
	if (!walk->bounds->has_conversations && !walk->bounds->has_accounts)
		return next_of_all(walk);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (walk->searching && direct_next(&walk->rows, ForwardScanDirection))
			return true;
		walk->searching = next_keys(walk);
		if (!walk->searching)
			return false;
	}
}

/*
 * walk_next
 *		The next conversation's row, with the columns of tables.h, until the next
 *		call; NULL: there are no more.
 */
TupleTableSlot *
walk_next(ConversationWalk *walk)
{
	if (walk->bounds->nothing)
		return NULL;
	if (!walk->open)
		open_rows(walk);
	while (next_row(walk))
	{
		CHECK_FOR_INTERRUPTS();
		if (walk->rows.slot->tts_isnull[CONVERSATION_DELETED_AT])
			return walk->rows.slot;
	}
	return NULL;
}

/* Closes what is open; the lock of the table is kept to the transaction's end. */
void
walk_end(ConversationWalk *walk)
{
	Snapshot snapshot = walk->rows.snapshot;

	if (walk->heap != NULL)
		table_endscan(walk->heap);
	walk->heap = NULL;
	if (walk->open)
		direct_close(&walk->rows);
	memset(&walk->rows, 0, sizeof(walk->rows));
	walk->rows.snapshot = snapshot;
	walk->open = false;
	walk->searching = false;
}
