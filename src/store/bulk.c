/*
 * bulk.c
 *		New conversations made ready before any lock: what a bulk load does
 *		while other writers of the account go on.
 *
 *	conversation = store_ready_begin(account_id, id);	title, head and times are the caller's
 *	store_add_message(conversation, &message) for each message
 *	store_ready_end(conversation);
 *	...the account is locked; the conversation still does not exist...
 *	store_ready_write(conversation, account, usage, queue);
 *
 * The revision is known under the lock only.  It is in the rows, not in the
 * compressed segments: see store_fold_revisions.  An account of the same name
 * but without a lock stands in until then; what the messages use gathers there.
 *
 * Messages are numbered 1, 2, 3 and so on, parents are given, and message_ids
 * differ, so that nothing needs to be looked up in the store.
 *
 * A conversation lives in the memory context that was current at
 * store_ready_begin, and so must the account's name and the messages' models.
 */
#include "postgres.h"

#include "utils/datum.h"
#include "utils/memutils.h"

#include "store.h"

/* A compressed segment that waits for its revision. */
typedef struct ReadySegment
{
	int64 first_seq;
	int64 last_seq;
	Datum body;
	Datum message_ids;
	bool has_ids;
} ReadySegment;

typedef struct ReadyUsage
{
	MeteringMessage message;
	MeteringKind kind;
} ReadyUsage;

struct StoreReady
{
	StoreConversation conversation;
	MemoryContext context;
	StoreAccount account; /* stands in */
	ReadySegment *segments;
	uint32 nsegments;
	uint32 segment_space;
	ReadyUsage *usage;
	uint32 nusage;
	uint32 usage_space;
};

/* A new conversation, to which messages are added. */
StoreConversation *
store_ready_begin(text *account_id, const pg_uuid_t *id)
{
	StoreReady *ready = palloc0(sizeof(StoreReady));

	ready->context = CurrentMemoryContext;
	ready->account.account_id = account_id;
	store_init_conversation(&ready->conversation, &ready->account, id);
	ready->conversation.ready = ready;
	ready->conversation.ids_are_new = true;
	return &ready->conversation;
}

/* Room for one more element of an array. */
static void *
make_room(StoreReady *ready, void *array, uint32 count, uint32 *space, Size size)
{
	if (count < *space)
		return array;
	*space = *space == 0 ? 16 : *space * 2;
	return array == NULL ? MemoryContextAlloc(ready->context, mul_size(*space, size))
						 : repalloc_huge(array, mul_size(*space, size));
}

/* In the place of a segment's row: the parameters of STORE_SEGMENT_INSERT; they are copied. */
void
store_ready_segment(StoreReady *ready, const Datum *values, const char *nulls)
{
	ReadySegment *segment;
	MemoryContext old;

	ready->segments = make_room(ready, ready->segments, ready->nsegments, &ready->segment_space,
								sizeof(ReadySegment));
	segment = &ready->segments[ready->nsegments++];
	segment->first_seq = DatumGetInt64(values[2]);
	segment->last_seq = DatumGetInt64(values[3]);
	segment->has_ids = nulls[6] != 'n';
	old = MemoryContextSwitchTo(ready->context);
	segment->body = datumCopy(values[5], false, -1);
	segment->message_ids = segment->has_ids ? datumCopy(values[6], false, -1) : (Datum) 0;
	MemoryContextSwitchTo(old);
}

/* In the place of a metering batch. */
void
store_ready_usage(StoreReady *ready, const MeteringMessage *message, MeteringKind kind)
{
	ready->usage =
		make_room(ready, ready->usage, ready->nusage, &ready->usage_space, sizeof(ReadyUsage));
	ready->usage[ready->nusage].message = *message;
	ready->usage[ready->nusage++].kind = kind;
}

/* All messages have been added: they are compressed to the last one. */
void
store_ready_end(StoreConversation *conversation)
{
	store_finish_messages(conversation, true);
}

/*
 * store_ready_write
 *		Queues the rows, and adds what the messages use to the account and the
 *		batch.  The account's lock is held, and the conversation does not exist.
 *		The caller writes the queue and the batch, then ends the account.
 */
void
store_ready_write(StoreConversation *conversation, StoreAccount *account, MeteringBatch *usage,
				  StoreQueue *queue)
{
	StoreReady *ready = conversation->ready;
	Datum values[STORE_SEGMENT_COLUMNS];
	char nulls[] = "       ";

	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(account->account_id);
	conversation->revision = store_next_revision(account);
	values[4] = Int64GetDatum(conversation->revision);
	for (uint32 i = 0; i < ready->nsegments; i++)
	{
		values[2] = Int64GetDatum(ready->segments[i].first_seq);
		values[3] = Int64GetDatum(ready->segments[i].last_seq);
		values[5] = ready->segments[i].body;
		values[6] = ready->segments[i].message_ids;
		nulls[6] = ready->segments[i].has_ids ? ' ' : 'n';
		store_queue_segment(queue, values, nulls);
	}
	for (uint32 i = 0; i < ready->nusage; i++)
		metering_batch_message(usage, &ready->usage[i].message, ready->usage[i].kind);
	for (int i = 0; i < QUOTA_NMETERS; i++)
		account->amounts.by_meter[i] += ready->account.amounts.by_meter[i];
	conversation->account = account;
	conversation->account_id = account->account_id;
	conversation->queue = queue;
	store_save_conversation(conversation);
}
