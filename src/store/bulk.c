/*
 * bulk.c
 *		New conversations prepared before any lock: what a bulk load does
 *		while other writers of the account go on.
 *
 *	conversation = store_prepare_conversation(account_id, id);
 *	... the caller sets title, head and times ...
 *	store_add_message(conversation, &message) for each message
 *	store_prepared_end(conversation);
 *	...the account is locked; the conversation still does not exist...
 *	store_prepared_write(conversation, account, usage, queue);
 *
 * The revision is known under the lock only.  It is in the rows, not in the
 * compressed segments: see store_fold_revisions.  An account of the same name
 * but without a lock stands in until then; what the messages use gathers there.
 *
 * Messages are numbered 1, 2, 3 and so on, parents are given, and message_ids
 * differ, so that nothing needs to be looked up in the store.
 *
 * A conversation lives in the memory context that was current at
 * store_prepare_conversation, and so must the account's name and the messages' models.
 */
#include "postgres.h"

#include "store_private.h"
#include "tables.h"

/* A new conversation, to which messages are added. */
StoreConversation *
store_prepare_conversation(text *account_id, const pg_uuid_t *id)
{
	PreparedConversation *prepared = palloc0(sizeof(PreparedConversation));

	prepared->context = CurrentMemoryContext;
	prepared->account.account_id = account_id;
	store_init_conversation(&prepared->conversation, &prepared->account, id);
	prepared->conversation.prepared = prepared;
	prepared->conversation.ids_are_new = true;
	return &prepared->conversation;
}

/* All messages have been added: they are compressed to the last one. */
void
store_prepared_end(StoreConversation *conversation)
{
	store_finish_messages(conversation, true);
}

/*
 * store_prepared_write
 *		Queues the rows, and adds what the messages use to the account and the
 *		batch.  The account's lock is held, and the conversation does not exist.
 *		The caller writes the queue and the batch, then ends the account.
 */
void
store_prepared_write(StoreConversation *conversation, StoreAccount *account, MeteringBatch *usage,
					 StoreQueue *queue)
{
	PreparedConversation *prepared = conversation->prepared;
	Datum values[STORE_SEGMENT_COLUMNS];
	char nulls[] = "       ";

	values[SEGMENT_CONVERSATION_ID] = UUIDPGetDatum(&conversation->id);
	values[SEGMENT_ACCOUNT_ID] = PointerGetDatum(account->account_id);
	conversation->revision = store_next_revision(account);
	values[SEGMENT_REVISION] = Int64GetDatum(conversation->revision);
	for (uint32 i = 0; i < prepared->nsegments; i++)
	{
		values[SEGMENT_FIRST_SEQ] = Int64GetDatum(prepared->segments[i].first_seq);
		values[SEGMENT_LAST_SEQ] = Int64GetDatum(prepared->segments[i].last_seq);
		values[SEGMENT_BODY] = prepared->segments[i].body;
		values[SEGMENT_MESSAGE_IDS] = prepared->segments[i].message_ids;
		nulls[SEGMENT_MESSAGE_IDS] = prepared->segments[i].has_ids ? ' ' : 'n';
		store_queue_segment(queue, values, nulls);
	}
	for (uint32 i = 0; i < prepared->nusage; i++)
		metering_batch_message(usage, &prepared->usage[i].message, prepared->usage[i].kind);
	for (int i = 0; i < QUOTA_NMETERS; i++)
		account->amounts.by_meter[i] += prepared->account.amounts.by_meter[i];
	conversation->account = account;
	conversation->account_id = account->account_id;
	conversation->queue = queue;
	conversation->usage = usage;
	store_save_conversation(conversation);
}
