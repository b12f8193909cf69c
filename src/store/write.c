/*
 * write.c
 *		The one write path: lock the account, open a conversation, add messages,
 *		close it.
 *
 * Every statement that changes an account takes the account's next revision
 * under the lock of its row, held to commit: revisions appear in commit order,
 * and whoever holds the lock is the account's only writer, so the rows of its
 * conversations need no lock of their own.  Locks are taken parent first and,
 * where there are several, in key order.
 *
 * Added messages wait in a run.  When run and tail together reach the size of
 * a segment, both are sealed; what is left at the close goes to the tail, or,
 * for a bulk statement's new conversation, to a segment of its own, which is
 * filled from the one before: see hold_run.
 *
 * All functions need an SPI connection.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "memory_limits.h"
#include "sql_text.h"
#include "statement.h"
#include "store_private.h"
#include "tables.h"

/* Writes messages as segments: one, as a rule; more where metadata is large or a tail long. */
static void
seal_messages(StoreConversation *conversation, TranscriptMessage *messages, uint32 n)
{
	while (n > 0)
	{
		uint32 share = store_segment_share(messages, n);

		store_usage_taken(conversation, messages, share);
		store_insert_segment(conversation, messages, share);
		messages += share;
		n -= share;
	}
}

/* ---- what a new conversation holds back ---- */

/* Writes what is held as a segment; nothing is held then, but the texts are still there. */
static void
seal_held(StoreConversation *conversation)
{
	StoreRun *held = &conversation->held;
	MemoryContext scratch;
	MemoryContext old;

	if (held->count == 0)
		return;
	scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext held", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	seal_messages(conversation, held->messages, held->count);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	held->count = 0;
}

/*
 * The run, which is a full segment, waits for what follows it.  Who reads a
 * conversation wants its newest messages: when a bulk statement has come to its
 * end, the last segment is filled from this one, so that they are in one
 * segment rather than in two.
 */
static void
hold_run(StoreConversation *conversation)
{
	StoreRun full = conversation->run;

	seal_held(conversation);
	conversation->run = conversation->held;
	conversation->held = full;
	if (conversation->run.context != NULL)
		store_run_reset(&conversation->run);
	else
	{
		MemoryContext old = MemoryContextSwitchTo(MemoryContextGetParent(full.context));

		store_run_init(&conversation->run);
		MemoryContextSwitchTo(old);
	}
}

/* Moves the newest of the messages that are held to the run, as far as a segment takes them. */
static void
fill_run(StoreConversation *conversation)
{
	StoreRun *run = &conversation->run;
	StoreRun *held = &conversation->held;
	uint32 left = (uint32) store_segment_messages - run->count;
	uint64 bytes = 0;
	uint32 moved = 0;
	TranscriptMessage *messages;

	if (run->count == 0 || held->count == 0)
		return;
	for (uint32 i = 0; i < run->count; i++)
		bytes += store_message_bytes(&run->messages[i]);
	while (moved < left && moved < held->count - 1)
	{
		bytes += store_message_bytes(&held->messages[held->count - 1 - moved]);
		if (bytes > (uint64) store_segment_kb * 1024)
			break;
		moved++;
	}
	messages =
		MemoryContextAlloc(run->context, mul_size(run->count + moved, sizeof(TranscriptMessage)));
	memcpy(messages, held->messages + held->count - moved, moved * sizeof(TranscriptMessage));
	memcpy(messages + moved, run->messages, run->count * sizeof(TranscriptMessage));
	run->messages = messages; /* some of their texts are in the other's context, which stays */
	run->count += moved;
	run->capacity = run->count;
	held->count -= moved;
}

static void
write_run_to_tail(StoreConversation *conversation)
{
	StoreRun *run = &conversation->run;

	seal_held(conversation);
	for (uint32 i = 0; i < run->count; i++)
		store_insert_tail(conversation, &run->messages[i]);
	conversation->tail_count += run->count;
	conversation->tail_bytes += run->bytes;
	store_run_reset(run);
}

/*
 * Whether a number belongs between others, or is one of them.  Below next_seq
 * it does not where the last messages were deleted, and come back.
 */
static bool
comes_late(StoreConversation *conversation, int64 seq)
{
	if (seq >= conversation->next_seq)
		return false;
	if (conversation->last_seq < 0)
		conversation->last_seq = conversation->fresh ? 0 : store_last_message(conversation);
	return seq <= conversation->last_seq;
}

/* clang-format off */
static PlanStatement message_before_statement = {
	"SELECT pg_catalog.max(s.seq)"
	" FROM (SELECT m.seq"
	" FROM (SELECT body"
	" FROM memory_store.segments"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" AND first_seq" OP(<) "$3"
	" ORDER BY first_seq DESC LIMIT 1) b"
	" CROSS JOIN LATERAL memory.unpack(b.body) m"
	" UNION ALL (SELECT seq"
	" FROM memory_store.tail"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2 AND seq" OP(<) "$3"
	" ORDER BY seq DESC LIMIT 1)) s"
	" WHERE s.seq" OP(<) "$3",
	3,
	{UUIDOID, TEXTOID, INT8OID},
};
/* clang-format on */

/* The last message before a number; 0: there is none. */
int64
store_message_before(StoreConversation *conversation, int64 seq)
{
	Datum values[3];
	Datum before;
	bool isnull;

	if (store_message_exists(conversation, seq - 1))
		return seq - 1;
	write_run_to_tail(conversation);
	store_queue_write(conversation->queue);
	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	values[2] = Int64GetDatum(seq);
	plan_execute(&message_before_statement, values, NULL, false);
	before = plan_column(0, 1, &isnull);
	return isnull ? 0 : DatumGetInt64(before);
}

/*
 * store_check_parent
 *		-1 becomes the default, the message before; 0 is a root; any other must
 *		be an earlier message that exists.  Error: 22023.
 */
void
store_check_parent(StoreConversation *conversation, int64 seq, int64 *parent_seq)
{
	if (*parent_seq == -1)
		*parent_seq = comes_late(conversation, seq) ? store_message_before(conversation, seq)
													: conversation->leaf;
	else if (*parent_seq != 0 &&
			 (*parent_seq >= seq || !store_message_exists(conversation, *parent_seq)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parent_seq " INT64_FORMAT " of message " INT64_FORMAT
							   " does not exist in conversation %s",
							   *parent_seq, seq, store_uuid_string(&conversation->id)),
						errhint("A message answers an earlier one of its conversation; leave "
								"parent_seq out for the one before, or give 0 for a new root.")));
}

/* What a number that the caller gives must fulfil.  Error: 22023. */
void
store_check_seq(int64 seq)
{
	if (seq < 1 || seq > MEMORY_MAX_SEQ)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("seq " INT64_FORMAT " is out of range", seq),
				 errhint("Messages are numbered from 1 to " INT64_FORMAT "; leave seq out to have "
						 "the next number assigned.",
						 MEMORY_MAX_SEQ)));
}

/* A parent that the caller gives, not to be taken for the default, -1.  Error: 22023. */
void
store_check_parent_given(int64 parent_seq)
{
	if (parent_seq < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parent_seq " INT64_FORMAT " is out of range", parent_seq),
						errhint("A message answers an earlier one of its conversation; leave "
								"parent_seq out for the one before, or give 0 for a new root.")));
}

/* Gives the message its number and parent, or refuses the ones it came with. */
static void
place_message(StoreConversation *conversation, TranscriptMessage *message)
{
	if (message->seq == 0)
		message->seq = conversation->next_seq;
	store_check_seq(message->seq);

	store_check_parent(conversation, message->seq, &message->parent_seq);
}

static int
compare_seq(const void *a, const void *b)
{
	int64 left = ((const TranscriptMessage *) a)->seq;
	int64 right = ((const TranscriptMessage *) b)->seq;

	return left < right ? -1 : left > right;
}

/*
 * Moves the tail's rows into memory, in order of seq, followed by the run's
 * messages.  The rows' texts live in SPI_tuptable or the current context.
 */
static TranscriptMessage *
take_tail(StoreConversation *conversation, uint32 *n)
{
	StoreRun *run = &conversation->run;
	TranscriptMessage *messages;
	Datum values[2];
	uint64 taken;

	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	taken = plan_execute(&store_tail_take_statement, values, NULL, false);

	messages = palloc(mul_size(taken + run->count, sizeof(TranscriptMessage)));
	for (uint64 i = 0; i < taken; i++)
		store_tail_row(i, &messages[i]);
	qsort(messages, taken, sizeof(TranscriptMessage), compare_seq);
	if (run->count > 0)
		memcpy(messages + taken, run->messages, run->count * sizeof(TranscriptMessage));
	*n = taken + run->count;
	return messages;
}

/* Writes tail and run as segments; both are empty then.  Nothing is held where there is a tail. */
void
store_seal_tail(StoreConversation *conversation)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext seal", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	TranscriptMessage *messages = conversation->run.messages;
	uint32 n = conversation->run.count;
	SPITupleTable *rows = NULL;

	if (conversation->tail_count > 0)
	{
		messages = take_tail(conversation, &n);
		rows = SPI_tuptable; /* has the messages' texts: must outlive the next statement */
		SPI_tuptable = NULL;
	}
	seal_messages(conversation, messages, n);
	SPI_freetuptable(rows);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	store_run_reset(&conversation->run);
	conversation->tail_count = 0;
	conversation->tail_bytes = 0;
}

static void
count_message(StoreConversation *conversation, const TranscriptMessage *message, MeteringKind kind)
{
	QuotaAmounts *amounts = &conversation->account->amounts;

	/* one of long ago is an import: stored, but not used in this period */
	if (kind != METERING_IMPORTED)
	{
		amounts->by_meter[QUOTA_MESSAGES]++;
		amounts->by_meter[QUOTA_TOKENS] += message->tokens;
	}
	conversation->message_count++;
	conversation->token_count += message->tokens;
	conversation->content_bytes += (int64) store_message_bytes(message);
	if (!conversation->has_times)
	{
		conversation->created_at = message->created_at;
		conversation->updated_at = message->created_at;
		conversation->has_times = true;
	}
	else
	{
		if (!conversation->exists && message->created_at < conversation->created_at)
			conversation->created_at = message->created_at;
		if (message->created_at > conversation->updated_at)
			conversation->updated_at = message->created_at;
	}
}

/* clang-format off */
static PlanStatement tombstone_delete_statement = {
	"DELETE"
	" FROM memory_store.tombstones"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2 AND seq" OP(=) "$3",
	3,
	{UUIDOID, TEXTOID, INT8OID},
};
/* clang-format on */

/* A message with a number of before is there: it may have been deleted once. */
static void
remove_tombstone(StoreConversation *conversation, int64 seq)
{
	Datum values[3];

	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	values[2] = Int64GetDatum(seq);
	plan_execute(&tombstone_delete_statement, values, NULL, false);
}

/* A number that was passed over and comes now: it goes between the others. */
static void
add_late_message(StoreConversation *conversation, const TranscriptMessage *message)
{
	StoreChange change;

	if (store_message_exists(conversation, message->seq))
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("message " INT64_FORMAT " of conversation %s already exists",
							   message->seq, store_uuid_string(&conversation->id)),
						errhint("Use UPDATE or memory.edit_message to change a message.")));

	write_run_to_tail(conversation);
	store_queue_write(conversation->queue);
	memset(&change, 0, sizeof(change));
	change.seq = message->seq;
	change.insert = true;
	change.message = *message;
	store_apply_changes(conversation, &change, 1);
	conversation->branched = true;
}

/*
 * store_add_message
 *		Adds a checked message (store_check_message); seq 0 is assigned, as is
 *		parent_seq -1; a missing created_at is now.  The message is copied.
 *		Returns its seq.  One whose message_id is there already is not added:
 *		see store_check_repeated.  Errors: 22023 seq or parent_seq, 23505 seq or
 *		message_id is taken.
 */
int64
store_add_message(StoreConversation *conversation, const TranscriptMessage *message)
{
	StoreRun *run = &conversation->run;
	TranscriptMessage added = *message;
	int64 stored = store_known_message(conversation, message);
	MeteringKind kind;
	bool late;

	if (stored > 0)
	{
		conversation->repeated = true;
		return stored;
	}
	conversation->changed = true;
	place_message(conversation, &added);
	added.revision = conversation->revision;
	if (!added.has_created_at)
	{
		added.created_at = GetCurrentStatementStartTimestamp();
		added.has_created_at = true;
	}

	if (added.seq < conversation->next_seq)
		remove_tombstone(conversation, added.seq);
	late = comes_late(conversation, added.seq);
	kind = store_usage_kind(conversation, &added);
	store_usage_added(conversation, &added, kind, late);
	if (late)
	{
		add_late_message(conversation, &added);
		count_message(conversation, &added, kind);
		return added.seq;
	}

	count_message(conversation, &added, kind);
	conversation->branched |= added.parent_seq != conversation->leaf;
	conversation->next_seq = Max(conversation->next_seq, added.seq + 1);
	conversation->last_seq = added.seq;
	conversation->leaf = added.seq;
	if (!conversation->pinned)
		conversation->head_seq = added.seq;

	store_run_push(run, &added);
	if (run->count + (uint32) conversation->tail_count < (uint32) store_segment_messages &&
		run->bytes + conversation->tail_bytes < (uint64) store_segment_kb * 1024)
		return added.seq;
	if (conversation->fresh && conversation->tail_count == 0)
		hold_run(conversation);
	else
		store_seal_tail(conversation);
	return added.seq;
}

/* The columns of a conversation's row, which are the parameters of the statements. */
static void
conversation_parameters(StoreConversation *conversation, Datum *values, char *nulls)
{
	memset(nulls, ' ', STORE_CONVERSATION_COLUMNS);
	values[CONVERSATION_ID] = UUIDPGetDatum(&conversation->id);
	values[CONVERSATION_NEXT_SEQ] = Int64GetDatum(conversation->next_seq);
	values[CONVERSATION_HEAD_SEQ] = Int64GetDatum(conversation->head_seq);
	values[CONVERSATION_MESSAGE_COUNT] = Int64GetDatum(conversation->message_count);
	values[CONVERSATION_TOKEN_COUNT] = Int64GetDatum(conversation->token_count);
	values[CONVERSATION_CONTENT_BYTES] = Int64GetDatum(conversation->content_bytes);
	values[CONVERSATION_TAIL_BYTES] = Int64GetDatum(conversation->tail_bytes);
	values[CONVERSATION_CREATED_AT] = TimestampTzGetDatum(conversation->created_at);
	values[CONVERSATION_UPDATED_AT] = TimestampTzGetDatum(conversation->updated_at);
	values[CONVERSATION_REVISION] = Int64GetDatum(conversation->revision);
	values[CONVERSATION_REVISION_BUCKET] =
		Int32GetDatum(CONVERSATION_BUCKET(conversation->revision));
	values[CONVERSATION_TAIL_COUNT] = Int32GetDatum(conversation->tail_count);
	values[CONVERSATION_BRANCHED] = BoolGetDatum(conversation->branched);
	values[CONVERSATION_ARCHIVED] = BoolGetDatum(conversation->archived);
	values[CONVERSATION_ACCOUNT_ID] = PointerGetDatum(conversation->account_id);
	values[CONVERSATION_TITLE] = PointerGetDatum(conversation->title);
	nulls[CONVERSATION_TITLE] = conversation->title == NULL ? 'n' : ' ';
	values[CONVERSATION_METADATA] = PointerGetDatum(conversation->metadata);
	nulls[CONVERSATION_METADATA] = conversation->metadata == NULL ? 'n' : ' ';
}

/* clang-format off */
#define CONVERSATION_TYPES \
	{UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, \
	 TIMESTAMPTZOID, INT8OID, INT4OID, INT4OID, BOOLOID, BOOLOID, TEXTOID, TEXTOID, JSONBOID}

static PlanStatement conversation_insert_statement = {
	"INSERT INTO memory_store.conversations (conversation_id, next_seq, head_seq,"
	"   message_count, token_count, content_bytes, tail_bytes, created_at, updated_at,"
	"   revision, revision_bucket, tail_count, branched, archived, account_id, title, metadata)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
	STORE_CONVERSATION_COLUMNS,
	CONVERSATION_TYPES,
};

/* archived, title and metadata, $14, $16 and $17, stay what they are */
static PlanStatement conversation_update_statement = {
	"UPDATE memory_store.conversations"
	" SET next_seq = $2, head_seq = $3, message_count = $4, token_count = $5,"
	"   content_bytes = $6, tail_bytes = $7, created_at = $8, updated_at = $9,"
	"   revision = $10, revision_bucket = $11, tail_count = $12, branched = $13"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$15",
	STORE_CONVERSATION_COLUMNS,
	CONVERSATION_TYPES,
};
/* clang-format on */

/* Title and metadata of a new conversation are bytes of it, too. */
static void
count_fields(StoreConversation *conversation)
{
	int64 bytes = store_fields_bytes(conversation->title, conversation->metadata);

	conversation->content_bytes += bytes;
	store_usage_fields_added(conversation, bytes);
}

/* Writes the conversation's row; title, metadata and archived only when it is new. */
void
store_save_conversation(StoreConversation *conversation)
{
	Datum values[STORE_CONVERSATION_COLUMNS];
	char nulls[STORE_CONVERSATION_COLUMNS + 1] = {0};

	if (!conversation->has_times)
	{
		conversation->created_at = GetCurrentStatementStartTimestamp();
		conversation->updated_at = conversation->created_at;
		conversation->has_times = true;
	}

	if (!conversation->exists)
	{
		conversation->account->amounts.by_meter[QUOTA_CONVERSATIONS]++;
		count_fields(conversation);
	}
	conversation->account->amounts.by_meter[QUOTA_CONTENT_BYTES] +=
		conversation->content_bytes - conversation->charged_bytes;
	conversation->charged_bytes = conversation->content_bytes;

	conversation_parameters(conversation, values, nulls);
	if (conversation->queue != NULL)
		store_queue_conversation(conversation->queue, values, nulls, conversation->exists,
								 &conversation->place);
	else if (conversation->exists)
		plan_execute(&conversation_update_statement, values, nulls, false);
	else
		plan_execute(&conversation_insert_statement, values, nulls, false);
	conversation->exists = true;
}

/* A restore's promised head has come, or it has turned out to be missing. */
static void
settle_head(StoreConversation *conversation)
{
	if (!conversation->pinned || conversation->head_seq >= conversation->next_seq)
		return;
	if (!store_message_exists(conversation, conversation->head_seq))
		conversation->head_seq = conversation->leaf;
	else if (conversation->head_seq != conversation->leaf)
		conversation->branched = true;
}

/*
 * store_finish_messages
 *		Writes what is still in the run, which ends.  bulk: a conversation that
 *		was empty is sealed to its end.
 */
void
store_finish_messages(StoreConversation *conversation, bool bulk)
{
	if (bulk && conversation->fresh)
	{
		fill_run(conversation);
		seal_held(conversation);
		store_seal_tail(conversation);
	}
	else
		write_run_to_tail(conversation);
	settle_head(conversation);
	if (conversation->ids != NULL)
		store_ids_free(conversation->ids);
	conversation->ids = NULL;
	MemoryContextDelete(conversation->run.context);
	if (conversation->held.context != NULL)
		MemoryContextDelete(conversation->held.context);
}

/*
 * store_close_conversation
 *		The same, then its row and what it used; neither if all that came was
 *		there already.
 */
void
store_close_conversation(StoreConversation *conversation, bool bulk)
{
	store_finish_messages(conversation, bulk);
	if (conversation->repeated && !conversation->changed)
		return;
	store_save_conversation(conversation);
	store_usage_write(conversation);
}
