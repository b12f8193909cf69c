/*
 * message_ids.c
 *		A message_id is unique within its conversation: looking an id up.
 *
 * A segment's row has a filter over the message_ids inside (id_filter.c), so that
 * an id is looked for in those segments only that perhaps have it; the tail's
 * rows are compared one by one.
 *
 * The caller holds the account's lock, which makes the answer exact: nobody
 * else writes to the conversation until the transaction ends.  All functions
 * need an SPI connection.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "sorted.h"
#include "sql_text.h"
#include "statement.h"
#include "store_private.h"

/* ---- ids of one conversation, for statements with many messages ---- */

typedef struct KnownId
{
	uint64 hash; /* of the id: the key */
	int64 seq;   /* that a statement has given to a message of its own; 0: not known */
	char status;
} KnownId;

#define SH_PREFIX known_ids
#define SH_ELEMENT_TYPE KnownId
#define SH_KEY_TYPE uint64
#define SH_KEY hash
#define SH_HASH_KEY(table, key) ((uint32) (key))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A segment as it was when the filters were read. */
typedef struct FilteredSegment
{
	int64 first_seq;
	bytea *filter;
} FilteredSegment;

/*
 * What a statement knows of a conversation's ids.  An id that is neither in the
 * table nor, by their filters, in a segment is new, without a look at the store:
 * the table has those of the tail as it was, and those that came since.  What
 * the statement has written or changed itself makes the segments stale, which
 * matters only when an id seems to be there.
 */
struct StoreIds
{
	MemoryContext context; /* owns all of it */
	pg_uuid_t id;
	text *account_id;
	known_ids_hash *known;
	FilteredSegment *segments;
	uint64 nsegments;
	bool stale;
	MemoryContext opened_context; /* the segment that was opened last; NULL: none was */
	Transcript *opened;           /* NULL: none is */
};

static uint64
hash_of(const TranscriptMessage *message)
{
	return hash_bytes_extended((const unsigned char *) message->message_id,
							   (int) message->message_id_len, 0);
}

static KnownId *
note_id(StoreIds *ids, const TranscriptMessage *message, int64 seq)
{
	bool found;
	KnownId *known = known_ids_insert(ids->known, hash_of(message), &found);

	if (!found || seq != 0)
		known->seq = seq;
	return known;
}

/* clang-format off */
static PlanStatement segments_ids_statement = {
	"SELECT first_seq, message_ids"
	" FROM memory_store.segments"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" AND message_ids IS NOT NULL"
	" ORDER BY first_seq",
	2,
	{UUIDOID, TEXTOID},
};
/* clang-format on */

static void
read_filters(StoreIds *ids)
{
	Datum values[2] = {UUIDPGetDatum(&ids->id), PointerGetDatum(ids->account_id)};
	uint64 n = plan_execute(&segments_ids_statement, values, NULL, false);
	MemoryContext old = MemoryContextSwitchTo(ids->context);
	bool isnull;

	for (uint64 i = 0; i < ids->nsegments; i++)
		pfree(ids->segments[i].filter);
	if (ids->segments != NULL)
		pfree(ids->segments);
	ids->nsegments = 0;
	ids->segments =
		MemoryContextAllocHuge(ids->context, mul_size(Max(n, 1), sizeof(FilteredSegment)));
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		ids->segments[i].first_seq = DatumGetInt64(plan_column(i, 1, &isnull));
		ids->segments[i].filter = DatumGetByteaPCopy(plan_column(i, 2, &isnull));
		ids->nsegments++;
	}
	MemoryContextSwitchTo(old);
	ids->opened = NULL;
	ids->stale = false;
}

/*
 * store_ids_create
 *		What is known of a conversation's ids, in the current memory context.
 *		has_tail, has_segments: whether it has messages there.
 */
StoreIds *
store_ids_create(const pg_uuid_t *id, text *account_id, bool has_tail, bool has_segments)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext ids", ALLOCSET_SMALL_SIZES);
	StoreIds *ids = MemoryContextAllocZero(context, sizeof(StoreIds));
	Datum values[3] = {UUIDPGetDatum(&ids->id), (Datum) 0, Int64GetDatum(1)};
	uint64 rows;

	ids->context = context;
	ids->id = *id;
	ids->account_id = (text *) MemoryContextAlloc(context, VARSIZE_ANY(account_id));
	memcpy(ids->account_id, account_id, VARSIZE_ANY(account_id));
	ids->known = known_ids_create(context, 8, NULL);
	if (has_segments)
		read_filters(ids);
	if (!has_tail)
		return ids;
	values[1] = PointerGetDatum(ids->account_id);
	rows = plan_execute(&store_tail_read_statement, values, NULL, false);
	for (uint64 i = 0; i < rows; i++)
	{
		TranscriptMessage message;

		store_tail_row(i, &message);
		if (message.message_id != NULL)
			(void) note_id(ids, &message, 0);
	}
	return ids;
}

void
store_ids_free(StoreIds *ids)
{
	MemoryContextDelete(ids->context);
}

static bool
may_have(const StoreIds *ids, const TranscriptMessage *message, KnownId **known)
{
	StoreIdHash hash;

	*known = known_ids_lookup(ids->known, hash_of(message));
	if (*known != NULL)
		return true;
	hash = store_hash_id(message);
	for (uint64 i = 0; i < ids->nsegments; i++)
		if (store_filter_has(ids->segments[i].filter, hash))
			return true;
	return false;
}

/* Opens the segment that begins there, instead of the one that was opened last. */
static void
open_segment(StoreIds *ids, int64 first_seq)
{
	StoreSegment segment;
	MemoryContext old;

	ids->opened = NULL;
	if (ids->opened_context == NULL)
		ids->opened_context = AllocSetContextCreate(ids->context, "memory_ext segment of ids",
													ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(ids->opened_context);
	old = MemoryContextSwitchTo(ids->opened_context);
	if (store_segment_before(&ids->id, ids->account_id, first_seq + 1, false, &segment))
		ids->opened = store_open_segment(&segment);
	MemoryContextSwitchTo(old);
}

/* The message of the segment that was opened last. */
static const TranscriptMessage *
find_opened(const StoreIds *ids, const TranscriptMessage *message)
{
	return ids->opened == NULL ? NULL
							   : store_find_id(ids->opened->messages, ids->opened->count, message);
}

static const TranscriptMessage *
find_in_segments(StoreIds *ids, const TranscriptMessage *message)
{
	StoreIdHash hash = store_hash_id(message);
	const TranscriptMessage *found;

	if (ids->stale)
		read_filters(ids);
	found = find_opened(ids, message);
	for (uint64 i = 0; found == NULL && i < ids->nsegments; i++)
	{
		if (!store_filter_has(ids->segments[i].filter, hash))
			continue;
		CHECK_FOR_INTERRUPTS();
		open_segment(ids, ids->segments[i].first_seq);
		found = find_opened(ids, message);
	}
	return found;
}

/* clang-format off */
static PlanStatement tail_id_statement = {
	"SELECT " STORE_TAIL_MESSAGE
	" FROM memory_store.tail"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" AND message_id" OP(=) "$3",
	3,
	{UUIDOID, TEXTOID, TEXTOID},
};
/* clang-format on */

/*
 * Looks in the store.  The texts of what is found are valid until the next
 * statement, or the next segment that is opened.
 */
static bool
find_written(StoreIds *ids, const TranscriptMessage *message, TranscriptMessage *found)
{
	Datum values[3] = {UUIDPGetDatum(&ids->id), PointerGetDatum(ids->account_id)};
	const TranscriptMessage *sealed = find_in_segments(ids, message);

	if (sealed != NULL)
	{
		*found = *sealed;
		return true;
	}
	values[2] =
		PointerGetDatum(cstring_to_text_with_len(message->message_id, message->message_id_len));
	if (plan_execute(&tail_id_statement, values, NULL, false) == 0)
		return false;
	store_tail_row(0, found);
	return true;
}

/*
 * store_ids_number
 *		For a statement that gives numbers before it writes: the seq of the
 *		stored message that has this one's id, or the one that an earlier row
 *		with the id was given, or next_seq, which is the id's from now on.  Two
 *		ids of one hash, of 64 bits, would be given one number; then the
 *		statement fails when it writes.  Error: 23505 the stored one differs.
 */
int64
store_ids_number(StoreIds *ids, const TranscriptMessage *message, int64 next_seq)
{
	TranscriptMessage found;
	KnownId *known;

	if (may_have(ids, message, &known))
	{
		if (known != NULL && known->seq > 0)
			return known->seq;
		if (find_written(ids, message, &found))
		{
			store_check_repeated(&ids->id, message, &found);
			return found.seq;
		}
	}
	(void) note_id(ids, message, next_seq);
	return next_seq;
}

/* What is known of the conversation's ids, which lives as long as it. */
static StoreIds *
ids_of(StoreConversation *conversation)
{
	if (conversation->ids == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(conversation));

		conversation->ids =
			store_ids_create(&conversation->id, conversation->account_id,
							 conversation->tail_count > 0,
							 conversation->message_count > conversation->tail_count);
		MemoryContextSwitchTo(old);
	}
	else
		conversation->ids->stale |= conversation->segments_changed;
	conversation->segments_changed = false;
	return conversation->ids;
}

/* The same as find_written, also of what the statement still has in memory. */
static bool
find_message(StoreConversation *conversation, const TranscriptMessage *message,
			 TranscriptMessage *found)
{
	StoreRun *runs[] = {&conversation->run, &conversation->held};

	for (int i = 0; i < lengthof(runs); i++)
	{
		TranscriptMessage *waiting = store_find_id(runs[i]->messages, runs[i]->count, message);

		if (waiting != NULL)
		{
			*found = *waiting;
			return true;
		}
	}
	store_queue_write(conversation->queue);
	return find_written(conversation->ids, message, found);
}

/*
 * store_known_message
 *		The seq of the conversation's message that has this one's message_id; 0:
 *		there is none, or it has no id.  It is known from now on: the caller
 *		adds it.  Error: 23505 role, content or seq differ.
 */
int64
store_known_message(StoreConversation *conversation, const TranscriptMessage *message)
{
	TranscriptMessage found;
	KnownId *known;

	if (message->message_id == NULL || conversation->ids_are_new)
		return 0;
	if (may_have(ids_of(conversation), message, &known) &&
		find_message(conversation, message, &found))
	{
		store_check_repeated(&conversation->id, message, &found);
		return found.seq;
	}
	(void) note_id(conversation->ids, message, 0);
	return 0;
}

/* Whether the conversation has a message with this one's message_id, whatever else it has. */
bool
store_has_message_id(StoreConversation *conversation, const TranscriptMessage *message)
{
	TranscriptMessage found;
	KnownId *known;

	return message->message_id != NULL && may_have(ids_of(conversation), message, &known) &&
		   find_message(conversation, message, &found);
}

/*
 * The same, with the message: its texts are valid until the next statement, or
 * the next message that is looked for.
 */
bool
store_get_message_by_id(StoreConversation *conversation, const TranscriptMessage *wanted,
						TranscriptMessage *found)
{
	KnownId *known;

	return wanted->message_id != NULL && may_have(ids_of(conversation), wanted, &known) &&
		   find_message(conversation, wanted, found);
}

/* ---- ids that an UPDATE gives ---- */

static bool
gives_id(const StoreChange *change)
{
	return change->set_message_id && !change->remove && change->message.message_id != NULL;
}

static int
compare_ids(const void *a, const void *b)
{
	const TranscriptMessage *left = &(*(const StoreChange *const *) a)->message;
	const TranscriptMessage *right = &(*(const StoreChange *const *) b)->message;

	if (left->message_id_len != right->message_id_len)
		return left->message_id_len < right->message_id_len ? -1 : 1;
	return memcmp(left->message_id, right->message_id, left->message_id_len);
}

static void
refuse_id(StoreConversation *conversation, const StoreChange *change, int64 other)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("message_id \"%.*s\" is already used by message " INT64_FORMAT
					" of conversation %s",
					(int) change->message.message_id_len, change->message.message_id, other,
					store_uuid_string(&conversation->id)),
			 errdetail("It cannot be used for message " INT64_FORMAT " as well.", change->seq),
			 errhint("A message_id is unique within its conversation.")));
}

static int
compare_seqs(const void *a, const void *b)
{
	int64 left = ((const StoreChange *) a)->seq;
	int64 right = ((const StoreChange *) b)->seq;

	return left < right ? -1 : left > right;
}

/* Whether the message, which has an id now, loses it by one of the changes, in order of seq. */
static bool
loses_id(const StoreChange *changes, int n, const TranscriptMessage *message)
{
	StoreChange key = {.seq = message->seq};
	const StoreChange *change = sorted_find(&key, changes, n, sizeof(StoreChange), compare_seqs);

	return change != NULL && (change->remove || (change->set_message_id &&
												 !store_same_id(&change->message, message)));
}

/*
 * store_check_new_ids
 *		Refuses changes, in order of seq, that would give an id to two messages;
 *		what the messages have when all are applied is what counts.  Error:
 *		23505.
 */
void
store_check_new_ids(StoreConversation *conversation, const StoreChange *changes, int n)
{
	const StoreChange **given;
	TranscriptMessage found;
	KnownId *known;
	int count = 0;

	for (int i = 0; i < n; i++)
		count += gives_id(&changes[i]);
	if (count == 0)
		return;
	given = palloc(mul_size(count, sizeof(*given)));
	count = 0;
	for (int i = 0; i < n; i++)
		if (gives_id(&changes[i]))
			given[count++] = &changes[i];
	qsort(given, count, sizeof(*given), compare_ids);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i > 0 && compare_ids(&given[i - 1], &given[i]) == 0)
			refuse_id(conversation, given[i], given[i - 1]->seq);
		if (may_have(ids_of(conversation), &given[i]->message, &known) &&
			find_message(conversation, &given[i]->message, &found) && found.seq != given[i]->seq &&
			!loses_id(changes, n, &found))
			refuse_id(conversation, given[i], found.seq);
	}
	for (int i = 0; i < count; i++)
		(void) note_id(conversation->ids, &given[i]->message, 0);
	pfree(given);
}
