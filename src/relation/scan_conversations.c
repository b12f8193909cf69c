/*
 * scan_conversations.c
 *		Scans of memory.conversations: the rows of a walk, without what only the
 *		store needs.
 */
#include "postgres.h"

#include "relation_private.h"
#include "tables.h"

/* Fills the slot with the next row, which points into the page; false: there are no more. */
bool
conversations_scan_next(RelationScan *scan, TupleTableSlot *slot)
{
	/* the columns of memory_store.conversations in the order of the relation's */
	static const int columns[CONVERSATIONS_NCOLUMNS] = {
		[CONVERSATIONS_CONVERSATION_ID] = CONVERSATION_ID,
		[CONVERSATIONS_ACCOUNT_ID] = CONVERSATION_ACCOUNT_ID,
		[CONVERSATIONS_TITLE] = CONVERSATION_TITLE,
		[CONVERSATIONS_METADATA] = CONVERSATION_METADATA,
		[CONVERSATIONS_ARCHIVED] = CONVERSATION_ARCHIVED,
		[CONVERSATIONS_HEAD_SEQ] = CONVERSATION_HEAD_SEQ,
		[CONVERSATIONS_CREATED_AT] = CONVERSATION_CREATED_AT,
		[CONVERSATIONS_UPDATED_AT] = CONVERSATION_UPDATED_AT,
		[CONVERSATIONS_MESSAGE_COUNT] = CONVERSATION_MESSAGE_COUNT,
		[CONVERSATIONS_TOKEN_COUNT] = CONVERSATION_TOKEN_COUNT,
		[CONVERSATIONS_CONTENT_BYTES] = CONVERSATION_CONTENT_BYTES,
	};
	TupleTableSlot *row = walk_next(&scan->walk);

	if (row == NULL)
		return false;
	scan->counters.conversations++;
	for (int i = 0; i < CONVERSATIONS_NCOLUMNS; i++)
	{
		slot->tts_values[i] = row->tts_values[columns[i]];
		slot->tts_isnull[i] = row->tts_isnull[columns[i]];
	}
	if (DatumGetInt64(slot->tts_values[CONVERSATIONS_HEAD_SEQ]) == 0)
		slot->tts_isnull[CONVERSATIONS_HEAD_SEQ] = true;
	ExecStoreVirtualTuple(slot);
	return true;
}
