/*
 * edit.c
 *		Changes to messages that are written already: edits, deletes, and late
 *		messages whose number was passed over.
 *
 * A sealed message's segment is written anew, so that the old text is gone
 * with the next vacuum.  A deleted message leaves a tombstone; the messages
 * that answered it answer its parent from then on, so that every parent_seq
 * exists at any time.
 *
 * The caller holds the account's lock and an SPI connection.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "sorted.h"
#include "sql_text.h"
#include "statement.h"
#include "store_private.h"
#include "tables.h"

/* A removed message, and the one that its answers fall to. */
typedef struct Removed
{
	int64 seq;
	int64 parent_seq;
} Removed;

static void
take_bytes(const char **to, uint32 *to_length, const char *from, uint32 from_length)
{
	*to = from;
	*to_length = from_length;
}

/* Applies an edit to one message; counters follow. */
static void
edit_message(StoreConversation *conversation, TranscriptMessage *message, StoreChange *change,
			 bool in_tail)
{
	int64 sent = 0; /* tokens that new metadata has more */
	TranscriptMessage before = *message;
	const TranscriptMessage *new = &change->message;

	if (change->seen_revision > 0 && message->revision > change->seen_revision &&
		message->revision != conversation->revision)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update"),
				 errdetail("Message " INT64_FORMAT " of conversation %s has been changed since "
						   "the statement began.",
						   message->seq, store_uuid_string(&conversation->id)),
				 errhint("Retry the statement.")));

	conversation->token_count -= message->tokens;
	conversation->content_bytes -= (int64) store_message_bytes(message);
	if (change->set_role)
		take_bytes(&message->role, &message->role_len, new->role, new->role_len);
	if (change->set_content)
	{
		store_note_erased(conversation, message->seq);
		take_bytes(&message->content, &message->content_len, new->content, new->content_len);
	}
	if (change->set_model)
		take_bytes(&message->model, &message->model_len, new->model, new->model_len);
	if (change->set_created_at)
		message->created_at = new->created_at;
	if (change->set_message_id)
		take_bytes(&message->message_id, &message->message_id_len, new->message_id,
				   new->message_id_len);
	if (change->set_metadata)
	{
		sent = store_estimate_sent(new->metadata, new->metadata_len) -
			   store_estimate_sent(message->metadata, message->metadata_len);
		take_bytes(&message->metadata, &message->metadata_len, new->metadata, new->metadata_len);
	}
	if (change->set_tokens)
		message->tokens = new->tokens;
	else if (change->set_content)
		message->tokens = store_estimate_message(message);
	else
		message->tokens = (int32) Max(Min((int64) message->tokens + sent, PG_INT32_MAX), 0);
	if (change->set_parent)
		message->parent_seq = new->parent_seq;
	message->revision = conversation->revision;
	store_check_message(message);
	conversation->token_count += message->tokens;
	conversation->content_bytes += (int64) store_message_bytes(message);
	store_usage_edited(conversation, &before, message, in_tail);
	change->done = true;
}

/* clang-format off */
static PlanStatement tombstone_insert_statement = {
	"INSERT INTO memory_store.tombstones"
	" (conversation_id, seq, revision, deleted_at, account_id, message_id)"
	" VALUES ($1, $2, $3, $4, $5, $6)"
	" ON CONFLICT (conversation_id, account_id, seq) DO UPDATE"
	" SET revision = excluded.revision, deleted_at = excluded.deleted_at",
	TOMBSTONE_NCOLUMNS,
	{UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID},
};
/* clang-format on */

/* What a removal does besides taking the message out of its place. */
static void
bury_message(StoreConversation *conversation, TranscriptMessage *message, StoreChange *change,
			 bool in_tail)
{
	Datum values[TOMBSTONE_NCOLUMNS];
	char nulls[] = "      ";

	values[TOMBSTONE_CONVERSATION_ID] = UUIDPGetDatum(&conversation->id);
	values[TOMBSTONE_ACCOUNT_ID] = PointerGetDatum(conversation->account_id);
	values[TOMBSTONE_SEQ] = Int64GetDatum(message->seq);
	if (message->message_id == NULL)
		nulls[TOMBSTONE_MESSAGE_ID] = 'n';
	else
		values[TOMBSTONE_MESSAGE_ID] =
			PointerGetDatum(cstring_to_text_with_len(message->message_id, message->message_id_len));
	values[TOMBSTONE_REVISION] = Int64GetDatum(conversation->revision);
	values[TOMBSTONE_DELETED_AT] = TimestampTzGetDatum(GetCurrentStatementStartTimestamp());
	store_usage_removed(conversation, message, in_tail);
	conversation->message_count--;
	conversation->token_count -= message->tokens;
	conversation->content_bytes -= (int64) store_message_bytes(message);
	change->message.parent_seq = message->parent_seq;
	change->done = true;
	plan_execute(&tombstone_insert_statement, values, nulls, false);
	store_note_erased(conversation, message->seq);
}

/*
 * Writes what a rewritten segment holds now.  Late messages let it grow: past
 * twice the usual size it is divided, so that the next ones stay cheap.
 */
static void
write_merged(StoreConversation *conversation, const TranscriptMessage *messages, uint32 n,
			 bool has_grown)
{
	bool divide = has_grown && n > 2 * store_segment_share(messages, n);

	while (n > 0)
	{
		uint32 share = divide ? store_segment_share(messages, n) : n;

		store_insert_segment(conversation, messages, share);
		messages += share;
		n -= share;
	}
}

/*
 * Merges n changes, all within its range, into one segment.  Everything here
 * lives in the caller's scratch context.
 */
static void
rewrite_segment(StoreConversation *conversation, StoreSegment *segment, StoreChange *changes, int n)
{
	Transcript *transcript = store_open_segment(segment);
	TranscriptMessage *messages =
		palloc(mul_size(add_size(transcript->count, n), sizeof(TranscriptMessage)));
	uint32 kept = 0;
	uint32 next = 0;

	for (int i = 0; i < n; i++)
	{
		StoreChange *change = &changes[i];

		while (next < transcript->count && transcript->messages[next].seq < change->seq)
			messages[kept++] = transcript->messages[next++];

		if (change->insert)
		{
			messages[kept++] = change->message;
			change->done = true;
		}
		else if (next < transcript->count && transcript->messages[next].seq == change->seq)
		{
			TranscriptMessage *message = &transcript->messages[next++];

			if (change->remove)
				bury_message(conversation, message, change, false);
			else
			{
				edit_message(conversation, message, change, false);
				messages[kept++] = *message;
			}
		}
	}
	while (next < transcript->count)
		messages[kept++] = transcript->messages[next++];

	store_delete_segment(&conversation->id, conversation->account_id, segment->first_seq);
	write_merged(conversation, messages, kept, kept > transcript->count);
}

/*
 * A late message between the segments: into the one before while it fits, else
 * into a segment of its own; behind the last segment into the tail.
 */
static void
insert_between(StoreConversation *conversation, StoreChange *change)
{
	StoreSegment segment;
	TranscriptHeader header;

	if (!store_segment_after(&conversation->id, conversation->account_id, change->seq, false,
							 &segment))
	{
		store_insert_tail(conversation, &change->message);
		conversation->tail_count++;
		conversation->tail_bytes += change->message.content_len;
		change->done = true;
		return;
	}
	if (store_segment_before(&conversation->id, conversation->account_id, change->seq, false,
							 &segment))
	{
		transcript_read_header(segment.body, &header);
		if (header.message_count < (uint32) store_segment_messages &&
			header.content_bytes < (uint32) store_segment_kb * 1024)
		{
			rewrite_segment(conversation, &segment, change, 1);
			return;
		}
	}
	store_insert_segment(conversation, &change->message, 1);
	change->done = true;
}

/* clang-format off */
static PlanStatement tail_delete_statement = {
	"DELETE"
	" FROM memory_store.tail"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2 AND seq" OP(=) "$3",
	3,
	{UUIDOID, TEXTOID, INT8OID},
};
/* clang-format on */

static void
change_tail_row(StoreConversation *conversation, StoreChange *change)
{
	TranscriptMessage message;
	Datum values[3];

	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	values[2] = Int64GetDatum(change->seq);
	if (plan_execute(&store_tail_one_statement, values, NULL, false) == 0)
		return;
	store_tail_row(0, &message);

	conversation->tail_bytes -= message.content_len;
	if (change->remove)
	{
		conversation->tail_count--;
		bury_message(conversation, &message, change, true);
		plan_execute(&tail_delete_statement, values, NULL, false);
	}
	else
	{
		edit_message(conversation, &message, change, true);
		conversation->tail_bytes += message.content_len;
		store_update_tail(conversation, &message);
	}
}

/* Applies the changes from the first on that lie in one place; returns how many. */
static int
apply_in_one_place(StoreConversation *conversation, StoreChange *changes, int n)
{
	StoreSegment segment;
	int taken = 1;

	if (store_segment_before(&conversation->id, conversation->account_id, changes[0].seq + 1, false,
							 &segment) &&
		segment.last_seq >= changes[0].seq)
	{
		while (taken < n && changes[taken].seq <= segment.last_seq)
			taken++;
		rewrite_segment(conversation, &segment, changes, taken);
	}
	else if (changes[0].insert)
		insert_between(conversation, &changes[0]);
	else
		change_tail_row(conversation, &changes[0]);
	return taken;
}

static int64
apply_all(StoreConversation *conversation, StoreChange *changes, int n)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext edit", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	int64 done = 0;

	for (int i = 0; i < n;)
	{
		CHECK_FOR_INTERRUPTS();
		i += apply_in_one_place(conversation, changes + i, n - i);
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);

	for (int i = 0; i < n; i++)
		done += changes[i].done;
	return done;
}

static int
compare_with_removed(const void *seq, const void *removed)
{
	int64 left = *(const int64 *) seq;
	int64 right = ((const Removed *) removed)->seq;

	return left < right ? -1 : left > right;
}

/* Where an answer to a removed message falls: the nearest ancestor kept. */
static int64
surviving_parent(const Removed *removed, int n, int64 seq)
{
	const Removed *found;

	while ((found = sorted_find(&seq, removed, n, sizeof(Removed), compare_with_removed)) != NULL)
		seq = found->parent_seq;
	return seq;
}

/* The orphans found so far, as changes to their parents. */
typedef struct Orphans
{
	const Removed *removed;
	int nremoved;
	StoreChange *changes;
	int count;
	int space;
} Orphans;

static void
note_orphan(Orphans *orphans, const TranscriptMessage *message)
{
	int64 parent = surviving_parent(orphans->removed, orphans->nremoved, message->parent_seq);
	StoreChange *change;

	if (parent == message->parent_seq)
		return;
	if (orphans->count == orphans->space)
	{
		orphans->space *= 2;
		orphans->changes =
			repalloc(orphans->changes, mul_size(orphans->space, sizeof(StoreChange)));
	}
	change = &orphans->changes[orphans->count++];
	memset(change, 0, sizeof(*change));
	change->seq = message->seq;
	change->set_parent = true;
	change->message.parent_seq = parent;
}

/*
 * Looks through the messages after the first removed one for answers to
 * removed ones.  Without branches only the message after each removed one can
 * be an answer, so that the search ends behind the last removed one.
 */
static void
find_orphans(StoreConversation *conversation, Orphans *orphans)
{
	int64 first = orphans->removed[0].seq;
	int64 last = orphans->removed[orphans->nremoved - 1].seq;
	StoreSegment segment;
	bool more;
	Datum values[3];
	uint64 rows;

	more =
		store_segment_before(&conversation->id, conversation->account_id, first, false, &segment) ||
		store_segment_after(&conversation->id, conversation->account_id, first, false, &segment);
	while (more)
	{
		Transcript *transcript = transcript_open(segment.body);

		CHECK_FOR_INTERRUPTS();
		for (uint32 i = 0; i < transcript->count; i++)
			note_orphan(orphans, &transcript->messages[i]);
		if (!conversation->branched && transcript->messages[transcript->count - 1].seq > last)
			return;
		more = store_segment_after(&conversation->id, conversation->account_id,
								   segment.last_seq + 1, false, &segment);
		pfree(transcript->messages);
		pfree(transcript->raw);
	}

	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	values[2] = Int64GetDatum(first);
	rows = plan_execute(&store_tail_read_statement, values, NULL, false);
	for (uint64 i = 0; i < rows; i++)
	{
		TranscriptMessage message;

		store_tail_row(i, &message);
		note_orphan(orphans, &message);
	}
}

/* Gives removed messages' answers a new parent and moves head and leaf. */
static void
mend_tree(StoreConversation *conversation, const StoreChange *changes, int n)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext mend", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	Removed *removed = palloc(mul_size(n, sizeof(Removed)));
	Orphans orphans = {0};

	orphans.removed = removed;
	for (int i = 0; i < n; i++)
		if (changes[i].remove && changes[i].done)
		{
			removed[orphans.nremoved].seq = changes[i].seq;
			removed[orphans.nremoved++].parent_seq = changes[i].message.parent_seq;
		}

	if (orphans.nremoved > 0)
	{
		orphans.space = 16;
		orphans.changes = palloc(orphans.space * sizeof(StoreChange));
		find_orphans(conversation, &orphans);
		apply_all(conversation, orphans.changes, orphans.count);
		if (!conversation->pinned)
			conversation->head_seq =
				surviving_parent(removed, orphans.nremoved, conversation->head_seq);
		if (conversation->head_seq == 0 && conversation->message_count > 0)
			conversation->head_seq = store_last_message(conversation);
		conversation->leaf = surviving_parent(removed, orphans.nremoved, conversation->leaf);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

/*
 * store_apply_changes
 *		Applies changes, in order of seq, each seq once; a change whose message
 *		is gone is left undone.  Returns how many were applied.  The caller
 *		saves the conversation afterwards.  Error: 23505 a message_id is given
 *		to a second message.
 */
int64
store_apply_changes(StoreConversation *conversation, StoreChange *changes, int n)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();
	int64 done;

	store_check_new_ids(conversation, changes, n);
	done = apply_all(conversation, changes, n);
	mend_tree(conversation, changes, n);
	conversation->segments_changed = true;
	conversation->changed = true;
	for (int i = 0; i < n; i++)
		if (changes[i].done && !changes[i].insert)
			conversation->updated_at = Max(conversation->updated_at, now);
	return done;
}

/* clang-format off */
static PlanStatement tombstone_id_statement = {
	"SELECT seq"
	" FROM memory_store.tombstones"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2 AND message_id" OP(=) "$3",
	3,
	{UUIDOID, TEXTOID, TEXTOID},
};
/* clang-format on */

/* The seq that a deleted message of this message_id had; 0: its tombstone is not there. */
int64
store_buried_message(const StoreConversation *conversation, const char *message_id)
{
	Datum values[3] = {UUIDPGetDatum(&conversation->id), PointerGetDatum(conversation->account_id),
					   CStringGetTextDatum(message_id)};
	bool isnull;

	if (plan_execute(&tombstone_id_statement, values, NULL, false) == 0)
		return 0;
	return DatumGetInt64(plan_column(0, 1, &isnull));
}

/* The rows of a tail that was taken leave the ledger. */
static void
count_tail(StoreConversation *conversation, uint64 rows)
{
	for (uint64 i = 0; i < rows; i++)
	{
		TranscriptMessage message;

		store_tail_row(i, &message);
		store_usage_taken(conversation, &message, 1);
	}
}

/* clang-format off */
static PlanStatement conversation_bury_statement = {
	"UPDATE memory_store.conversations"
	" SET deleted_at = $4, revision = $3,"
	" revision_bucket = ($3" OP(>>) "10)::pg_catalog.int4, title = NULL,"
	" metadata = NULL, head_seq = 0, message_count = 0, token_count = 0,"
	" content_bytes = 0, tail_bytes = 0, tail_count = 0"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2",
	4,
	{UUIDOID, TEXTOID, INT8OID, TIMESTAMPTZOID},
};

static PlanStatement segments_delete_statement = {
	"DELETE"
	" FROM memory_store.segments"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2",
	2,
	{UUIDOID, TEXTOID},
};

static PlanStatement tombstones_delete_statement = {
	"DELETE"
	" FROM memory_store.tombstones"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2",
	2,
	{UUIDOID, TEXTOID},
};
/* clang-format on */

/* Deletes all that the conversation holds; its row stays as a tombstone. */
void
store_delete_conversation(StoreConversation *conversation)
{
	Datum values[4];

	conversation->account->amounts.by_meter[QUOTA_CONVERSATIONS]--;
	conversation->account->amounts.by_meter[QUOTA_CONTENT_BYTES] -= conversation->charged_bytes;
	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	values[2] = Int64GetDatum(conversation->revision);
	values[3] = TimestampTzGetDatum(GetCurrentStatementStartTimestamp());
	plan_execute(&segments_delete_statement, values, NULL, false);
	count_tail(conversation, plan_execute(&store_tail_take_statement, values, NULL, false));
	store_usage_deleted(conversation);
	plan_execute(&tombstones_delete_statement, values, NULL, false);
	plan_execute(&conversation_bury_statement, values, NULL, false);
	store_note_erased(conversation, -1);
	store_usage_write(conversation);
}
