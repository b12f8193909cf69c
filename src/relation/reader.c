/*
 * reader.c
 *		The messages of one conversation, in order of seq or backwards; and
 *		those of a segment or a row of the tail, whosever they are.
 *
 * Segments come before the tail.  One whose range of seq or of created_at is
 * outside the bounds is not opened; where no column of the messages is wanted
 * none is, the counters of the conversation are enough.
 *
 * The reader owns a context for the conversation's keys and one for the
 * segment at hand.  What a message of the tail points to is in the page, which
 * is pinned until the next call, or in the context of the row that is asked for
 * (where the reader keeps messages, in that of the conversation).  Scans of
 * indexes live in the current context, which is the query's.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"

#include "relation_private.h"
#include "tables.h"

enum
{
	READING_SEGMENTS,
	READING_TAIL,
	READING_NOTHING
};

/* Columns that come with the conversation, whichever message it is. */
#define COLUMNS_OF_CONVERSATION                                                                    \
	(COLUMN_BIT(MESSAGES_CONVERSATION_ID) | COLUMN_BIT(MESSAGES_ACCOUNT_ID))

/*
 * reader_init
 *		Prepares a reader in the current memory context, where its own ones are
 *		made once; columns: bits of those of memory.messages that are wanted.
 */
void
reader_init(MessageReader *reader, const RelationBounds *bounds, uint32 columns, bool backward,
			Snapshot snapshot, ReaderCounters *counters)
{
	memset(reader, 0, sizeof(*reader));
	reader->bounds = bounds;
	reader->columns = columns;
	reader->backward = backward;
	reader->snapshot = snapshot;
	reader->counters = counters;
	reader->phase = READING_NOTHING;
	reader->conversation_context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext conversation",
							  ALLOCSET_SMALL_SIZES);
	reader->segment_context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext segment", ALLOCSET_DEFAULT_SIZES);
}

static void
open_tables(MessageReader *reader)
{
	if (reader->open)
		return;
	direct_open_reading(&reader->segments, &store_segments, reader->snapshot, NULL, 0);
	direct_open_reading(&reader->tail, &store_tail, reader->snapshot, NULL, 0);
	reader->open = true;
}

static void
forget_segment(MessageReader *reader)
{
	MemoryContextReset(reader->segment_context);
	reader->messages = NULL;
	reader->count = 0;
	reader->next = 0;
	reader->blank = 0;
}

/* Leaves the conversation at hand, to begin with another. */
void
reader_reset(MessageReader *reader)
{
	forget_segment(reader);
	MemoryContextReset(reader->conversation_context);
	reader->phase = READING_NOTHING;
	reader->searching = false;
}

/* Whether every message from first_seq to last_seq is within the bounds. */
static bool
is_inside(const RelationBounds *bounds, int64 first_seq, int64 last_seq)
{
	return first_seq >= bounds->first_seq && last_seq <= bounds->last_seq;
}

/*
 * reader_start
 *		Begins with the conversation whose row of memory_store.conversations is
 *		given; it is copied.
 */
void
reader_start(MessageReader *reader, TupleTableSlot *conversation)
{
	const Datum *values = conversation->tts_values;
	int64 message_count = DatumGetInt64(values[CONVERSATION_MESSAGE_COUNT]);
	int64 tail_count = DatumGetInt32(values[CONVERSATION_TAIL_COUNT]);
	const RelationBounds *bounds = reader->bounds;
	MemoryContext old;

	forget_segment(reader);
	MemoryContextReset(reader->conversation_context);
	old = MemoryContextSwitchTo(reader->conversation_context);
	reader->id = *DatumGetUUIDP(values[CONVERSATION_ID]);
	reader->account_id = DatumGetTextPCopy(values[CONVERSATION_ACCOUNT_ID]);
	MemoryContextSwitchTo(old);

	reader->counters->conversations++;
	reader->has_segments = message_count > tail_count;
	reader->has_tail = tail_count > 0;
	reader->searching = false;
	reader->phase = reader->backward ? READING_TAIL : READING_SEGMENTS;
	if ((reader->columns & ~COLUMNS_OF_CONVERSATION) == 0 && bounds->first_seq <= 1 &&
		bounds->last_seq >= DatumGetInt64(values[CONVERSATION_NEXT_SEQ]) - 1)
	{
		reader->blank = message_count;
		reader->phase = READING_NOTHING;
	}
	else if (bounds->last_seq < 1 || message_count == 0)
		reader->phase = READING_NOTHING;
}

/* ---- one segment ---- */

/* Whether the segment's times, as its header tells them, are outside the bounds. */
static bool
is_untimely(const RelationBounds *bounds, const TranscriptHeader *header)
{
	return header->has_times &&
		   (header->first_at > bounds->last_at || header->last_at < bounds->first_at);
}

/* Sets the position to the first message within the bounds, in the direction of reading. */
static void
skip_to_bounds(MessageReader *reader)
{
	const RelationBounds *bounds = reader->bounds;
	int64 first = 0;
	int64 end = reader->count;

	while (first < end && reader->messages[first].seq < bounds->first_seq)
		first++;
	while (end > first && reader->messages[end - 1].seq > bounds->last_seq)
		end--;
	/* backward: next counts down to first */
	reader->messages += first;
	reader->count = end - first;
	reader->next = reader->backward ? reader->count : 0;
}

/*
 * reader_open_body
 *		Opens a segment, whose messages reader_next_in_segment gives then.  False:
 *		none is within the bounds.
 */
bool
reader_open_body(MessageReader *reader, Datum body, int64 first_seq, int64 last_seq)
{
	const RelationBounds *bounds = reader->bounds;
	bool timed = bounds->first_at != DT_NOBEGIN || bounds->last_at != DT_NOEND;
	bool is_blank = (reader->columns & ~COLUMNS_OF_CONVERSATION) == 0;
	TranscriptHeader header;
	Transcript *transcript;
	MemoryContext old;

	forget_segment(reader);
	if (last_seq < bounds->first_seq || first_seq > bounds->last_seq)
	{
		reader->counters->segments_skipped++;
		return false;
	}
	old = MemoryContextSwitchTo(reader->segment_context);
	if (timed || (is_blank && is_inside(bounds, first_seq, last_seq)))
	{
		transcript_read_header(body, &header);
		if (timed && is_untimely(bounds, &header))
		{
			reader->counters->segments_skipped++;
			MemoryContextSwitchTo(old);
			return false;
		}
		if (is_blank && is_inside(bounds, first_seq, last_seq))
		{
			reader->counters->segments_skipped++;
			reader->blank = header.message_count;
			MemoryContextSwitchTo(old);
			return true;
		}
	}
	transcript = transcript_open(body);
	reader->counters->segments_opened++;
	reader->counters->bytes_decompressed += transcript->header.raw_size;
	reader->messages = transcript->messages;
	reader->count = transcript->count;
	skip_to_bounds(reader);
	MemoryContextSwitchTo(old);
	return reader->count > 0;
}

/* The next message of the segment that was opened, until the next call; NULL: there are no more. */
const TranscriptMessage *
reader_next_in_segment(MessageReader *reader)
{
	static const TranscriptMessage nothing;

	if (reader->blank > 0)
	{
		reader->blank--;
		return &nothing;
	}
	if (reader->backward)
		return reader->next > 0 ? &reader->messages[--reader->next] : NULL;
	return reader->next < reader->count ? &reader->messages[reader->next++] : NULL;
}

/* ---- a row of the tail ---- */

static const char *
wanted_bytes(const MessageReader *reader, TupleTableSlot *row, int from, int column, uint32 *length)
{
	bool isnull = row->tts_isnull[from] || (reader->columns & COLUMN_BIT(column)) == 0;

	return transcript_text_bytes(row->tts_values[from], isnull, length);
}

/* A row of memory_store.tail as a message, with the texts that are wanted; until the next call. */
const TranscriptMessage *
reader_tail_message(MessageReader *reader, TupleTableSlot *row)
{
	TranscriptMessage *message = &reader->message;
	const Datum *values = row->tts_values;
	MemoryContext old =
		MemoryContextSwitchTo(reader->keeps ? reader->conversation_context : reader->row_context);

	memset(message, 0, sizeof(*message));
	message->seq = DatumGetInt64(values[TAIL_SEQ]);
	message->parent_seq = DatumGetInt64(values[TAIL_PARENT_SEQ]);
	message->created_at = DatumGetTimestampTz(values[TAIL_CREATED_AT]);
	message->has_created_at = true;
	message->tokens = DatumGetInt32(values[TAIL_TOKENS]);
	message->role = wanted_bytes(reader, row, TAIL_ROLE, MESSAGES_ROLE, &message->role_len);
	message->content =
		wanted_bytes(reader, row, TAIL_CONTENT, MESSAGES_CONTENT, &message->content_len);
	message->model = wanted_bytes(reader, row, TAIL_MODEL, MESSAGES_MODEL, &message->model_len);
	message->message_id =
		wanted_bytes(reader, row, TAIL_MESSAGE_ID, MESSAGES_MESSAGE_ID, &message->message_id_len);
	message->metadata =
		wanted_bytes(reader, row, TAIL_METADATA, MESSAGES_METADATA, &message->metadata_len);
	MemoryContextSwitchTo(old);
	return message;
}

/* ---- a conversation ---- */

/*
 * The first segment that may have messages within the bounds begins at or
 * before first_seq: its own first_seq, or that bound where there is none such.
 */
static int64
first_segment(MessageReader *reader)
{
	const RelationBounds *bounds = reader->bounds;
	ScanKeyData keys[3];

	if (bounds->first_seq <= 1)
		return 1;
	store_conversation_keys(keys, &reader->id, reader->account_id);
	ScanKeyInit(&keys[2], 3, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(bounds->first_seq));
	direct_find(&reader->segments, keys, 3);
	if (direct_next(&reader->segments, BackwardScanDirection) &&
		DatumGetInt64(reader->segments.slot->tts_values[SEGMENT_LAST_SEQ]) >= bounds->first_seq)
		return DatumGetInt64(reader->segments.slot->tts_values[SEGMENT_FIRST_SEQ]);
	return bounds->first_seq;
}

static void
find_segments(MessageReader *reader)
{
	int64 from = reader->backward ? 1 : first_segment(reader);
	ScanKeyData keys[4];

	store_conversation_keys(keys, &reader->id, reader->account_id);
	ScanKeyInit(&keys[2], 3, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
	ScanKeyInit(&keys[3], 3, BTLessEqualStrategyNumber, F_INT8LE,
				Int64GetDatum(reader->bounds->last_seq));
	direct_find(&reader->segments, keys, 4);
}

/* Opens the next segment that has messages within the bounds; false: there is none. */
static bool
next_segment(MessageReader *reader)
{
	ScanDirection direction = reader->backward ? BackwardScanDirection : ForwardScanDirection;

	if (!reader->searching)
		find_segments(reader);
	reader->searching = true;
	while (direct_next(&reader->segments, direction))
	{
		const Datum *values = reader->segments.slot->tts_values;
		int64 last_seq = DatumGetInt64(values[SEGMENT_LAST_SEQ]);

		CHECK_FOR_INTERRUPTS();
		if (reader->backward && last_seq < reader->bounds->first_seq)
			return false;
		if (reader_open_body(reader, values[SEGMENT_BODY], DatumGetInt64(values[SEGMENT_FIRST_SEQ]),
							 last_seq))
			return true;
	}
	return false;
}

static const TranscriptMessage *
next_of_tail(MessageReader *reader)
{
	ScanDirection direction = reader->backward ? BackwardScanDirection : ForwardScanDirection;

	if (!reader->searching)
	{
		ScanKeyData keys[4];

		store_conversation_keys(keys, &reader->id, reader->account_id);
		ScanKeyInit(&keys[2], 3, BTGreaterEqualStrategyNumber, F_INT8GE,
					Int64GetDatum(reader->bounds->first_seq));
		ScanKeyInit(&keys[3], 3, BTLessEqualStrategyNumber, F_INT8LE,
					Int64GetDatum(reader->bounds->last_seq));
		direct_find(&reader->tail, keys, 4);
		reader->searching = true;
	}
	if (!direct_next(&reader->tail, direction))
		return NULL;
	return reader_tail_message(reader, reader->tail.slot);
}

/* Goes on from segments to tail, or from tail to segments, or to the end. */
static void
next_phase(MessageReader *reader)
{
	int last = reader->backward ? READING_SEGMENTS : READING_TAIL;

	reader->searching = false;
	if (reader->phase == last)
		reader->phase = READING_NOTHING;
	else
		reader->phase = last;
}

/* The conversation's next message within the bounds; valid until the next call.  NULL: none. */
const TranscriptMessage *
reader_next(MessageReader *reader)
{
	const TranscriptMessage *message;

	for (;;)
	{
		message = reader_next_in_segment(reader);
		if (message != NULL)
			return message;
		if (reader->phase == READING_NOTHING)
			return NULL;
		open_tables(reader);
		if (reader->phase == READING_SEGMENTS)
		{
			if (!reader->has_segments || !next_segment(reader))
				next_phase(reader);
		}
		else
		{
			message = reader->has_tail ? next_of_tail(reader) : NULL;
			if (message != NULL)
				return message;
			next_phase(reader);
		}
	}
}

/* Closes what is open; the locks of the tables are kept to the transaction's end. */
void
reader_end(MessageReader *reader)
{
	if (reader->open)
	{
		direct_close(&reader->segments);
		direct_close(&reader->tail);
	}
	reader->open = false;
	MemoryContextDelete(reader->segment_context);
	MemoryContextDelete(reader->conversation_context);
}
