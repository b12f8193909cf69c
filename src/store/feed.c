/*
 * feed.c
 *		What an account has changed since a revision, under one snapshot.
 *
 * Revisions appear in commit order, because the account's lock is held from
 * the moment one is taken to the commit: a snapshot that has a revision has all
 * before it.  So a reader that keeps the last revision it has seen misses
 * nothing.
 *
 * Conversations come in order of (revision, conversation_id).  The index that
 * finds them knows revisions by the thousand, in buckets: a bucket is read as a
 * whole and sorted here, a few bytes a conversation; store_next_revision sees to
 * it that it is not large.  The messages of a conversation come in order of seq:
 * segments of no later revision are passed over without a look inside.
 *
 * Everything is read past the executor (direct.h) and locks nothing.  A feed
 * owns a memory context; what it gives is valid until it is asked for the next.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"

#include "sql_text.h"
#include "statement.h"
#include "store_private.h"
#include "tables.h"

/* A conversation of a bucket, before its row is read. */
typedef struct FeedEntry
{
	int64 revision;
	pg_uuid_t id;
	ItemPointerData place;
} FeedEntry;

struct StoreFeed
{
	MemoryContext context; /* owns all of it */
	MemoryContext row_context;
	MemoryContext segment_context;
	MemoryContext tombstone_context;
	MemoryContext looked_context;
	text *account_id;
	Snapshot snapshot;

	/* conversations */
	DirectRows recent; /* by account and bucket */
	TupleTableSlot *row;
	bool ahead; /* the slot of recent has the first row of the next bucket */
	bool ended;
	int64 after_revision; /* what was given already: up to this, and of this one ... */
	bool has_after_id;
	pg_uuid_t after_id; /* ... up to this conversation */
	bool inclusive;     /* which is given once more */
	FeedEntry *entries; /* of the bucket at hand, in order */
	uint64 count;
	uint64 space;
	uint64 next;

	/* messages of one conversation; the relations are open from the first one on */
	bool has_messages;
	DirectRows segments;
	DirectRows tail;
	DirectRows tombstones;
	pg_uuid_t id;
	int64 after_seq;
	int64 message_after_revision;
	Transcript *transcript; /* NULL: none is open */
	uint32 next_message;
	bool segments_ended;
	bool tail_ended;
	bool tombstones_ended;
	bool has_living; /* read, not yet given */
	bool has_deleted;
	TranscriptMessage living;
	TranscriptMessage deleted;

	/* single messages, by seq */
	bool has_looking;
	DirectRows looking_segments;
	DirectRows looking_tail;
	Transcript *looked; /* the segment that was opened last; NULL: none */
	pg_uuid_t looked_id;
	int64 looked_first;
	int64 looked_last;
};

/* clang-format off */
static PlanStatement account_state_statement = {
	"SELECT a.revision, a.created_at, p.revision, e.epoch"
	" FROM memory_store.accounts a"
	" LEFT JOIN memory_store.purged p ON p.account_id" OP(=) "a.account_id"
	" LEFT JOIN memory_store.epochs e ON true"
	" WHERE a.account_id" OP(=) "$1"
	" ORDER BY e.renewed_at DESC LIMIT 1",
	1,
	{TEXTOID},
};
/* clang-format on */

/*
 * store_account_state
 *		What a checkpoint is compared with.  False: there is no such account.
 *		Needs an SPI connection; reads under the active snapshot.
 */
bool
store_account_state(text *account_id, StoreAccountState *state)
{
	Datum values[1] = {PointerGetDatum(account_id)};
	TimestampTz created_at;
	Datum epoch;
	bool isnull;

	if (plan_execute(&account_state_statement, values, NULL, true) == 0)
		return false;
	state->revision = DatumGetInt64(plan_column(0, 1, &isnull));
	created_at = DatumGetTimestampTz(plan_column(0, 2, &isnull));
	state->purged = DatumGetInt64(plan_column(0, 3, &isnull));
	if (isnull)
		state->purged = 0;
	epoch = plan_column(0, 4, &isnull);
	state->epoch = psprintf("%s" UINT64_FORMAT,
							isnull ? "" : psprintf("%s.", store_uuid_string(DatumGetUUIDP(epoch))),
							(uint64) created_at);
	return true;
}

/* A feed of the account's changes; nothing is given before store_feed_start. */
StoreFeed *
store_feed_open(text *account_id, Snapshot snapshot)
{
	static const int keys[] = {CONVERSATION_ACCOUNT_ID, CONVERSATION_REVISION_BUCKET};
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext feed", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	StoreFeed *feed = palloc0(sizeof(StoreFeed));

	feed->context = context;
	feed->row_context =
		AllocSetContextCreate(context, "memory_ext feed row", ALLOCSET_DEFAULT_SIZES);
	feed->segment_context =
		AllocSetContextCreate(context, "memory_ext feed segment", ALLOCSET_DEFAULT_SIZES);
	feed->tombstone_context =
		AllocSetContextCreate(context, "memory_ext feed tombstone", ALLOCSET_SMALL_SIZES);
	feed->looked_context =
		AllocSetContextCreate(context, "memory_ext feed look-up", ALLOCSET_SMALL_SIZES);
	feed->account_id = account_id;
	feed->snapshot = snapshot;
	feed->ended = true;
	direct_open_reading(&feed->recent, &store_conversations, snapshot, keys, lengthof(keys));
	feed->row = table_slot_create(feed->recent.table, NULL);
	MemoryContextSwitchTo(old);
	return feed;
}

/* Closes the feed's tables and frees what it has read. */
void
store_feed_close(StoreFeed *feed)
{
	if (feed->has_looking)
	{
		direct_close(&feed->looking_segments);
		direct_close(&feed->looking_tail);
	}
	if (feed->has_messages)
	{
		direct_close(&feed->segments);
		direct_close(&feed->tail);
		direct_close(&feed->tombstones);
	}
	ExecDropSingleTupleTableSlot(feed->row);
	direct_close(&feed->recent);
	MemoryContextDelete(feed->context);
}

/* ---- conversations ---- */

static int
compare_entries(const void *a, const void *b)
{
	const FeedEntry *left = a;
	const FeedEntry *right = b;

	if (left->revision != right->revision)
		return left->revision < right->revision ? -1 : 1;
	return memcmp(&left->id, &right->id, UUID_LEN);
}

static void
find_buckets(StoreFeed *feed, int64 revision)
{
	ScanKeyData keys[2];
	MemoryContext old = MemoryContextSwitchTo(feed->context);

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(feed->account_id));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT4GE,
				Int32GetDatum(CONVERSATION_BUCKET(revision)));
	direct_find(&feed->recent, keys, 2);
	MemoryContextSwitchTo(old);
	feed->ahead = false;
	feed->ended = false;
	feed->count = feed->next = 0;
}

static void
add_entry(StoreFeed *feed)
{
	const Datum *values = feed->recent.slot->tts_values;
	FeedEntry *entry;

	if (feed->count == feed->space)
	{
		uint64 space = Max(feed->space * 2, 256);
		Size size = mul_size(space, sizeof(FeedEntry));

		feed->entries = feed->entries == NULL ? MemoryContextAllocHuge(feed->context, size)
											  : repalloc_huge(feed->entries, size);
		feed->space = space;
	}
	entry = &feed->entries[feed->count++];
	entry->revision = DatumGetInt64(values[CONVERSATION_REVISION]);
	entry->id = *DatumGetUUIDP(values[CONVERSATION_ID]);
	entry->place = feed->recent.slot->tts_tid;
}

/* Whether the row at hand is behind what was given. */
static bool
is_behind(const StoreFeed *feed)
{
	const Datum *values = feed->recent.slot->tts_values;
	int64 revision = DatumGetInt64(values[CONVERSATION_REVISION]);
	int order;

	if (revision != feed->after_revision || !feed->has_after_id)
		return revision > feed->after_revision;
	order = memcmp(DatumGetUUIDP(values[CONVERSATION_ID]), &feed->after_id, UUID_LEN);
	return order > 0 || (order == 0 && feed->inclusive);
}

/* Reads the next bucket that the direction leads to; false: there is none. */
static bool
read_bucket(StoreFeed *feed, ScanDirection direction)
{
	int32 bucket;

	feed->count = feed->next = 0;
	if (feed->ended || (!feed->ahead && !direct_next(&feed->recent, direction)))
	{
		feed->ended = true;
		return false;
	}
	bucket = DatumGetInt32(feed->recent.slot->tts_values[CONVERSATION_REVISION_BUCKET]);
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (direction == ForwardScanDirection
				? is_behind(feed)
				: feed->recent.slot->tts_isnull[CONVERSATION_DELETED_AT])
			add_entry(feed);
		feed->ahead = direct_next(&feed->recent, direction);
	} while (feed->ahead &&
			 DatumGetInt32(feed->recent.slot->tts_values[CONVERSATION_REVISION_BUCKET]) == bucket);
	feed->ended = !feed->ahead;
	if (feed->count > 1)
		qsort(feed->entries, feed->count, sizeof(FeedEntry), compare_entries);
	return true;
}

/*
 * store_feed_newest
 *		Where the n (> 0) conversations begin that were changed last and live;
 *		false: the account has no more than n.
 */
bool
store_feed_newest(StoreFeed *feed, int64 n, int64 *revision, pg_uuid_t *id)
{
	find_buckets(feed, 0);
	while (read_bucket(feed, BackwardScanDirection))
	{
		if (feed->count > (uint64) n)
		{
			const FeedEntry *first = &feed->entries[feed->count - n];

			*revision = first->revision;
			*id = first->id;
			return true;
		}
		n -= feed->count;
		if (n == 0 && feed->ahead)
		{
			*revision = feed->entries[0].revision;
			*id = feed->entries[0].id;
			return true;
		}
	}
	return false;
}

/*
 * store_feed_start
 *		Lets the feed begin behind a revision, or within it behind a conversation
 *		(inclusive: at it); id NULL: behind all of the revision.
 */
void
store_feed_start(StoreFeed *feed, int64 revision, const pg_uuid_t *id, bool inclusive)
{
	feed->after_revision = revision;
	feed->has_after_id = id != NULL;
	if (id != NULL)
		feed->after_id = *id;
	feed->inclusive = inclusive;
	find_buckets(feed, id != NULL ? revision : revision + 1);
}

static void
take_conversation(StoreFeed *feed, TupleTableSlot *slot, StoreChanged *changed)
{
	const Datum *values = slot->tts_values;
	const bool *nulls = slot->tts_isnull;
	MemoryContext old;

	MemoryContextReset(feed->row_context);
	old = MemoryContextSwitchTo(feed->row_context);
	memset(changed, 0, sizeof(*changed));
	changed->id = *DatumGetUUIDP(values[CONVERSATION_ID]);
	changed->revision = DatumGetInt64(values[CONVERSATION_REVISION]);
	changed->head_seq = DatumGetInt64(values[CONVERSATION_HEAD_SEQ]);
	if (changed->head_seq >= DatumGetInt64(values[CONVERSATION_NEXT_SEQ]))
		changed->head_seq = 0; /* a restore has promised it */
	changed->message_count = DatumGetInt64(values[CONVERSATION_MESSAGE_COUNT]);
	changed->token_count = DatumGetInt64(values[CONVERSATION_TOKEN_COUNT]);
	changed->content_bytes = DatumGetInt64(values[CONVERSATION_CONTENT_BYTES]);
	changed->created_at = DatumGetTimestampTz(values[CONVERSATION_CREATED_AT]);
	changed->updated_at = DatumGetTimestampTz(values[CONVERSATION_UPDATED_AT]);
	changed->archived = DatumGetBool(values[CONVERSATION_ARCHIVED]);
	changed->deleted = !nulls[CONVERSATION_DELETED_AT];
	if (!nulls[CONVERSATION_TITLE])
		changed->title = DatumGetTextPCopy(values[CONVERSATION_TITLE]);
	if (!nulls[CONVERSATION_METADATA])
		changed->metadata = DatumGetJsonbPCopy(values[CONVERSATION_METADATA]);
	MemoryContextSwitchTo(old);
}

/* The next conversation that has changed, in order of (revision, id); false: there is none. */
bool
store_feed_next(StoreFeed *feed, StoreChanged *changed)
{
	FeedEntry *entry;

	while (feed->next == feed->count)
		if (!read_bucket(feed, ForwardScanDirection))
			return false;
	entry = &feed->entries[feed->next++];
	if (!table_tuple_fetch_row_version(feed->recent.table, &entry->place, feed->snapshot,
									   feed->row))
		elog(ERROR, "a conversation that the snapshot has is gone");
	slot_getallattrs(feed->row);
	take_conversation(feed, feed->row, changed);
	ExecClearTuple(feed->row);
	return true;
}

/* One conversation of the account, deleted or not; false: it has none of this id. */
bool
store_feed_conversation(StoreFeed *feed, const pg_uuid_t *id, StoreChanged *changed)
{
	MemoryContext old = MemoryContextSwitchTo(feed->context);
	ScanKeyData keys[2];
	DirectRows rows;
	bool found;

	direct_open_reading(&rows, &store_conversations, feed->snapshot, NULL, 0);
	store_conversation_keys(keys, id, feed->account_id);
	direct_find(&rows, keys, 2);
	found = direct_next(&rows, ForwardScanDirection);
	if (found)
		take_conversation(feed, rows.slot, changed);
	direct_close(&rows);
	MemoryContextSwitchTo(old);
	return found;
}

/* ---- messages ---- */

static void
open_messages(StoreFeed *feed)
{
	if (feed->has_messages)
		return;
	direct_open_reading(&feed->segments, &store_segments, feed->snapshot, NULL, 0);
	direct_open_reading(&feed->tail, &store_tail, feed->snapshot, NULL, 0);
	direct_open_reading(&feed->tombstones, &store_tombstones, feed->snapshot, NULL, 0);
	feed->has_messages = true;
}

/* Rows of a conversation whose third key column compares so with seq. */
static void
find_rows(StoreFeed *feed, DirectRows *rows, const pg_uuid_t *id, StrategyNumber strategy,
		  RegProcedure operator, int64 seq)
{
	ScanKeyData keys[3];

	store_conversation_keys(keys, id, feed->account_id);
	ScanKeyInit(&keys[2], 3, strategy, operator, Int64GetDatum(seq));
	direct_find(rows, keys, 3);
}

/*
 * store_feed_messages
 *		Lets the feed give the messages of a conversation that are behind
 *		after_seq and later than after_revision.
 */
void
store_feed_messages(StoreFeed *feed, const pg_uuid_t *id, int64 after_seq, int64 after_revision)
{
	MemoryContext old = MemoryContextSwitchTo(feed->context);
	int64 first = 0;

	open_messages(feed);
	MemoryContextReset(feed->segment_context);
	feed->id = *id;
	feed->after_seq = after_seq;
	feed->message_after_revision = after_revision;
	feed->transcript = NULL;
	feed->segments_ended = feed->tail_ended = feed->tombstones_ended = false;
	feed->has_living = feed->has_deleted = false;
	if (after_seq > 0)
	{
		/* the segment that the next message is in, or would be */
		find_rows(feed, &feed->segments, &feed->id, BTLessEqualStrategyNumber, F_INT8LE, after_seq);
		if (direct_next(&feed->segments, BackwardScanDirection))
			first = DatumGetInt64(feed->segments.slot->tts_values[SEGMENT_FIRST_SEQ]);
	}
	find_rows(feed, &feed->segments, &feed->id, BTGreaterEqualStrategyNumber, F_INT8GE, first);
	find_rows(feed, &feed->tail, &feed->id, BTGreaterStrategyNumber, F_INT8GT, after_seq);
	find_rows(feed, &feed->tombstones, &feed->id, BTGreaterStrategyNumber, F_INT8GT, after_seq);
	MemoryContextSwitchTo(old);
}

/* Opens the next segment that has something to give; false: there is none. */
static bool
open_next_segment(StoreFeed *feed)
{
	const Datum *values;
	StoreSegment segment;
	MemoryContext old;

	feed->transcript = NULL;
	MemoryContextReset(feed->segment_context);
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (feed->segments_ended || !direct_next(&feed->segments, ForwardScanDirection))
		{
			feed->segments_ended = true;
			return false;
		}
		values = feed->segments.slot->tts_values;
	} while (DatumGetInt64(values[SEGMENT_LAST_SEQ]) <= feed->after_seq ||
			 DatumGetInt64(values[SEGMENT_REVISION]) <= feed->message_after_revision);

	segment.first_seq = DatumGetInt64(values[SEGMENT_FIRST_SEQ]);
	segment.last_seq = DatumGetInt64(values[SEGMENT_LAST_SEQ]);
	segment.revision = DatumGetInt64(values[SEGMENT_REVISION]);
	segment.body = values[SEGMENT_BODY];
	old = MemoryContextSwitchTo(feed->segment_context);
	feed->transcript = store_open_segment(&segment);
	MemoryContextSwitchTo(old);
	feed->next_message = 0;
	return true;
}

static bool
next_of_tail(StoreFeed *feed)
{
	while (!feed->tail_ended && direct_next(&feed->tail, ForwardScanDirection))
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (DatumGetInt64(feed->tail.slot->tts_values[TAIL_REVISION]) <=
			feed->message_after_revision)
			continue;
		MemoryContextReset(feed->segment_context); /* which no segment needs any more */
		old = MemoryContextSwitchTo(feed->segment_context);
		fast_tail_row(&feed->tail, &feed->living);
		MemoryContextSwitchTo(old);
		return true;
	}
	feed->tail_ended = true;
	return false;
}

/* The next message that lives. */
static bool
next_living(StoreFeed *feed)
{
	do
	{
		while (feed->transcript != NULL && feed->next_message < feed->transcript->count)
		{
			const TranscriptMessage *message = &feed->transcript->messages[feed->next_message++];

			if (message->seq > feed->after_seq && message->revision > feed->message_after_revision)
			{
				feed->living = *message;
				return true;
			}
		}
	} while (open_next_segment(feed));
	return next_of_tail(feed);
}

/* The next one that was deleted. */
static bool
next_deleted(StoreFeed *feed)
{
	const DirectRows *rows = &feed->tombstones;
	MemoryContext old;

	do
	{
		CHECK_FOR_INTERRUPTS();
		if (feed->tombstones_ended || !direct_next(&feed->tombstones, ForwardScanDirection))
		{
			feed->tombstones_ended = true;
			return false;
		}
	} while (DatumGetInt64(rows->slot->tts_values[TOMBSTONE_REVISION]) <=
			 feed->message_after_revision);

	MemoryContextReset(feed->tombstone_context);
	old = MemoryContextSwitchTo(feed->tombstone_context);
	memset(&feed->deleted, 0, sizeof(feed->deleted));
	feed->deleted.seq = DatumGetInt64(rows->slot->tts_values[TOMBSTONE_SEQ]);
	feed->deleted.revision = DatumGetInt64(rows->slot->tts_values[TOMBSTONE_REVISION]);
	feed->deleted.message_id = transcript_text_bytes(rows->slot->tts_values[TOMBSTONE_MESSAGE_ID],
													 rows->slot->tts_isnull[TOMBSTONE_MESSAGE_ID],
													 &feed->deleted.message_id_len);
	if (feed->deleted.message_id != NULL)
		feed->deleted.message_id = pnstrdup(feed->deleted.message_id, feed->deleted.message_id_len);
	MemoryContextSwitchTo(old);
	return true;
}

/* The conversation's next message that has changed, in order of seq; false: there is none. */
bool
store_feed_next_message(StoreFeed *feed, StoreChangedMessage *message)
{
	if (!feed->has_living)
		feed->has_living = next_living(feed);
	if (!feed->has_deleted)
		feed->has_deleted = next_deleted(feed);
	message->deleted =
		feed->has_deleted && (!feed->has_living || feed->deleted.seq <= feed->living.seq);
	if (message->deleted)
	{
		feed->has_deleted = false;
		message->message = feed->deleted;
		return true;
	}
	if (!feed->has_living)
		return false;
	feed->has_living = false;
	message->message = feed->living;
	return true;
}

/* ---- one message ---- */

static void
open_looking(StoreFeed *feed)
{
	if (feed->has_looking)
		return;
	direct_open_reading(&feed->looking_segments, &store_segments, feed->snapshot, NULL, 0);
	direct_open_reading(&feed->looking_tail, &store_tail, feed->snapshot, NULL, 0);
	feed->has_looking = true;
}

/*
 * Opens the segment that the message would be in.  False: there is none, or
 * none of its messages has an id.
 */
static bool
look_into_segment(StoreFeed *feed, const pg_uuid_t *id, int64 seq)
{
	const DirectRows *rows = &feed->looking_segments;
	StoreSegment segment;
	MemoryContext old;

	if (feed->looked != NULL && memcmp(&feed->looked_id, id, UUID_LEN) == 0 &&
		seq >= feed->looked_first && seq <= feed->looked_last)
		return true;
	find_rows(feed, &feed->looking_segments, id, BTLessEqualStrategyNumber, F_INT8LE, seq);
	if (!direct_next(&feed->looking_segments, BackwardScanDirection) ||
		rows->slot->tts_isnull[SEGMENT_MESSAGE_IDS])
		return false;
	segment.first_seq = DatumGetInt64(rows->slot->tts_values[SEGMENT_FIRST_SEQ]);
	segment.last_seq = DatumGetInt64(rows->slot->tts_values[SEGMENT_LAST_SEQ]);
	segment.revision = DatumGetInt64(rows->slot->tts_values[SEGMENT_REVISION]);
	segment.body = rows->slot->tts_values[SEGMENT_BODY];
	feed->looked = NULL;
	MemoryContextReset(feed->looked_context);
	old = MemoryContextSwitchTo(feed->looked_context);
	feed->looked = store_open_segment(&segment);
	MemoryContextSwitchTo(old);
	feed->looked_id = *id;
	feed->looked_first = segment.first_seq;
	feed->looked_last = segment.last_seq;
	return true;
}

/*
 * store_feed_message_id
 *		The message_id of a message that exists, in the current memory context;
 *		false: it has none.
 */
bool
store_feed_message_id(StoreFeed *feed, const pg_uuid_t *id, int64 seq, char **message_id)
{
	MemoryContext old = MemoryContextSwitchTo(feed->context);
	TupleTableSlot *slot;
	TranscriptMessage *found;

	open_looking(feed);
	find_rows(feed, &feed->looking_tail, id, BTEqualStrategyNumber, F_INT8EQ, seq);
	if (direct_next(&feed->looking_tail, ForwardScanDirection))
	{
		MemoryContextSwitchTo(old);
		slot = feed->looking_tail.slot;
		if (slot->tts_isnull[TAIL_MESSAGE_ID])
			return false;
		*message_id = TextDatumGetCString(slot->tts_values[TAIL_MESSAGE_ID]);
		return true;
	}
	found = look_into_segment(feed, id, seq)
				? store_find_message(feed->looked->messages, feed->looked->count, seq)
				: NULL;
	MemoryContextSwitchTo(old);
	if (found == NULL || found->message_id == NULL)
		return false;
	*message_id = pnstrdup(found->message_id, found->message_id_len);
	return true;
}
