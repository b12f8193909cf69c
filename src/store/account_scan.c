/*
 * account_scan.c
 *		All that accounts have, conversation by conversation and message by
 *		message, for rooms that look through it.
 *
 * Everything is read under the snapshot that was active when the scan began,
 * without statements (direct.h) and without any lock but those of the tables.
 * What a call gives is valid until the next call of the same function.  A scan
 * lives in the memory context it was begun in; messages live in one of its own.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "attempt.h"
#include "store.h"
#include "tables.h"

enum
{
	SCANNING_SEGMENTS,
	SCANNING_TAIL,
	SCANNING_NOTHING
};

struct StoreScan
{
	MemoryContext context;
	MemoryContext message_context;
	Snapshot snapshot;
	DirectRows accounts;
	DirectRows recent;        /* conversations by account and revision */
	DirectRows conversations; /* by their key */
	DirectRows segments;
	DirectRows tail;
	int64 after_revision; /* of the conversations that are listed */
	bool careful;
	int64 unreadable; /* segments that were passed over */

	/* the messages that are read */
	pg_uuid_t id;
	text *account_id;
	StoreRange range;
	int phase;
	bool searching;
};

/*
 * store_scan_begin
 *		Begins a scan under the active snapshot.  careful: a segment that cannot
 *		be read is passed over with a warning; else it is an error, which is
 *		faster.
 */
StoreScan *
store_scan_begin(bool careful)
{
	static const int by_recent[] = {CONVERSATION_ACCOUNT_ID, CONVERSATION_REVISION_BUCKET};
	StoreScan *scan = palloc0(sizeof(StoreScan));

	scan->context = CurrentMemoryContext;
	scan->message_context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext messages", ALLOCSET_DEFAULT_SIZES);
	scan->snapshot = GetActiveSnapshot();
	scan->careful = careful;
	scan->phase = SCANNING_NOTHING;
	direct_open_reading(&scan->accounts, &store_accounts, scan->snapshot, NULL, 0);
	direct_open_reading(&scan->recent, &store_conversations, scan->snapshot, by_recent, 2);
	direct_open_reading(&scan->conversations, &store_conversations, scan->snapshot, NULL, 0);
	direct_open_reading(&scan->segments, &store_segments, scan->snapshot, NULL, 0);
	direct_open_reading(&scan->tail, &store_tail, scan->snapshot, NULL, 0);
	return scan;
}

/* How many segments a careful scan has passed over so far. */
int64
store_scan_unreadable(const StoreScan *scan)
{
	return scan->unreadable;
}

/* Closes the scan's tables and frees it. */
void
store_scan_end(StoreScan *scan)
{
	direct_close(&scan->accounts);
	direct_close(&scan->recent);
	direct_close(&scan->conversations);
	direct_close(&scan->segments);
	direct_close(&scan->tail);
	MemoryContextDelete(scan->message_context);
	pfree(scan);
}

/* Scans of indexes live as long as the scan. */
static void
find(StoreScan *scan, DirectRows *rows, ScanKeyData *keys, int nkeys)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);

	direct_find(rows, keys, nkeys);
	MemoryContextSwitchTo(old);
}

/* What they keep between rows, too. */
static bool
next(StoreScan *scan, DirectRows *rows, ScanDirection direction)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);
	bool found = direct_next(rows, direction);

	MemoryContextSwitchTo(old);
	return found;
}

/* ---- accounts ---- */

/* The account's revision; false: there is no such account. */
bool
store_scan_account(StoreScan *scan, text *account_id, int64 *revision)
{
	ScanKeyData keys[1];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(account_id));
	find(scan, &scan->accounts, keys, 1);
	if (!next(scan, &scan->accounts, ForwardScanDirection))
		return false;
	*revision = DatumGetInt64(scan->accounts.slot->tts_values[ACCOUNT_REVISION]);
	return true;
}

/* Begins with the accounts behind one, in order of account_id. */
void
store_scan_accounts(StoreScan *scan, text *after)
{
	ScanKeyData keys[1];

	ScanKeyInit(&keys[0], 1, BTGreaterStrategyNumber, F_TEXT_GT, PointerGetDatum(after));
	find(scan, &scan->accounts, keys, 1);
}

/* The next of them; false: there is none. */
bool
store_scan_next_account(StoreScan *scan, text **account_id, int64 *revision)
{
	CHECK_FOR_INTERRUPTS();
	if (!next(scan, &scan->accounts, ForwardScanDirection))
		return false;
	*account_id = DatumGetTextPP(scan->accounts.slot->tts_values[ACCOUNT_ID]);
	*revision = DatumGetInt64(scan->accounts.slot->tts_values[ACCOUNT_REVISION]);
	return true;
}

/* ---- conversations ---- */

static void
take_listed(TupleTableSlot *row, StoreListed *listed)
{
	const Datum *values = row->tts_values;

	listed->id = *DatumGetUUIDP(values[CONVERSATION_ID]);
	listed->next_seq = DatumGetInt64(values[CONVERSATION_NEXT_SEQ]);
	listed->head_seq = DatumGetInt64(values[CONVERSATION_HEAD_SEQ]);
	listed->message_count = DatumGetInt64(values[CONVERSATION_MESSAGE_COUNT]);
	listed->token_count = DatumGetInt64(values[CONVERSATION_TOKEN_COUNT]);
	listed->content_bytes = DatumGetInt64(values[CONVERSATION_CONTENT_BYTES]);
	listed->revision = DatumGetInt64(values[CONVERSATION_REVISION]);
	listed->created_at = DatumGetTimestampTz(values[CONVERSATION_CREATED_AT]);
	listed->updated_at = DatumGetTimestampTz(values[CONVERSATION_UPDATED_AT]);
	listed->branched = listed->message_count > 0 && DatumGetBool(values[CONVERSATION_BRANCHED]);
	listed->archived = DatumGetBool(values[CONVERSATION_ARCHIVED]);
	listed->title = values[CONVERSATION_TITLE];
	listed->has_title = !row->tts_isnull[CONVERSATION_TITLE];
	listed->metadata = values[CONVERSATION_METADATA];
	listed->has_metadata = !row->tts_isnull[CONVERSATION_METADATA];
}

/* Begins with the account's conversations whose revision is later than one; -1: all. */
void
store_scan_conversations(StoreScan *scan, text *account_id, int64 after_revision)
{
	ScanKeyData keys[2];

	scan->after_revision = after_revision;
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(account_id));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT4GE,
				Int32GetDatum(CONVERSATION_BUCKET(Max(after_revision, -1) + 1)));
	find(scan, &scan->recent, keys, 2);
}

/* The next of them that is not deleted; false: there is none. */
bool
store_scan_next_conversation(StoreScan *scan, StoreListed *listed)
{
	while (next(scan, &scan->recent, ForwardScanDirection))
	{
		TupleTableSlot *row = scan->recent.slot;

		CHECK_FOR_INTERRUPTS();
		if (!row->tts_isnull[CONVERSATION_DELETED_AT] ||
			DatumGetInt64(row->tts_values[CONVERSATION_REVISION]) <= scan->after_revision)
			continue;
		take_listed(row, listed);
		return true;
	}
	return false;
}

/* One conversation; false: there is none, or it is deleted. */
bool
store_scan_conversation(StoreScan *scan, text *account_id, const pg_uuid_t *id, StoreListed *listed)
{
	ScanKeyData keys[2];

	store_conversation_keys(keys, id, account_id);
	find(scan, &scan->conversations, keys, 2);
	if (!next(scan, &scan->conversations, ForwardScanDirection) ||
		!scan->conversations.slot->tts_isnull[CONVERSATION_DELETED_AT])
		return false;
	take_listed(scan->conversations.slot, listed);
	return true;
}

/* ---- messages ---- */

/*
 * Begins with the messages of a conversation that are in the range.  id and
 * account_id are to stay as they are while these are read.
 */
void
store_scan_messages(StoreScan *scan, text *account_id, const pg_uuid_t *id, const StoreRange *range)
{
	scan->id = *id;
	scan->account_id = account_id;
	scan->range = *range;
	scan->phase = range->last_seq < range->first_seq ? SCANNING_NOTHING : SCANNING_SEGMENTS;
	scan->searching = false;
}

/* Keys of the messages' conversation, and of rows from a seq to the range's end. */
static void
range_keys(StoreScan *scan, ScanKeyData *keys, int64 from)
{
	store_conversation_keys(keys, &scan->id, scan->account_id);
	ScanKeyInit(&keys[2], 3, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
	ScanKeyInit(&keys[3], 3, BTLessEqualStrategyNumber, F_INT8LE,
				Int64GetDatum(scan->range.last_seq));
}

/* The first segment of the range may begin before it. */
static int64
first_segment(StoreScan *scan)
{
	int64 first_seq = scan->range.first_seq;
	ScanKeyData keys[3];
	const Datum *values;

	if (first_seq <= 1)
		return 1;
	store_conversation_keys(keys, &scan->id, scan->account_id);
	ScanKeyInit(&keys[2], 3, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(first_seq));
	find(scan, &scan->segments, keys, 3);
	if (!next(scan, &scan->segments, BackwardScanDirection))
		return first_seq;
	values = scan->segments.slot->tts_values;
	return DatumGetInt64(values[SEGMENT_LAST_SEQ]) >= first_seq
			   ? DatumGetInt64(values[SEGMENT_FIRST_SEQ])
			   : first_seq;
}

/* Whether a segment has nothing in the range, as its row and its header say. */
static bool
is_outside(const StoreRange *range, const Datum *values)
{
	TranscriptHeader header;

	if (DatumGetInt64(values[SEGMENT_REVISION]) <= range->after_revision)
		return true;
	if (range->first_at == DT_NOBEGIN && range->last_at == DT_NOEND)
		return false;
	transcript_read_header(values[SEGMENT_BODY], &header);
	return header.has_times &&
		   (header.first_at > range->last_at || header.last_at < range->first_at);
}

/* The segment at hand, opened; transcript NULL: nothing of it is in the range. */
typedef struct OpenedSegment
{
	StoreScan *scan;
	Transcript *transcript;
} OpenedSegment;

static void
open_segment(void *arg)
{
	OpenedSegment *opened = arg;
	const Datum *values = opened->scan->segments.slot->tts_values;
	StoreSegment segment = {.body = values[SEGMENT_BODY],
							.revision = DatumGetInt64(values[SEGMENT_REVISION])};

	if (!is_outside(&opened->scan->range, values))
		opened->transcript = store_open_segment(&segment);
}

static void
open_carefully(OpenedSegment *opened)
{
	StoreScan *scan = opened->scan;
	ErrorData *error = attempt_read(open_segment, opened);

	if (error == NULL)
		return;
	scan->unreadable++;
	ereport(WARNING, (errcode(error->sqlerrcode),
					  errmsg("messages of conversation %s of account \"%s\" cannot be searched: %s",
							 store_uuid_string(&scan->id), text_to_cstring(scan->account_id),
							 error->message),
					  errhint("See memory.verify() for what is wrong with it.")));
	FreeErrorData(error);
}

static bool
next_segment(StoreScan *scan, StoreMessages *messages)
{
	if (!scan->searching)
	{
		ScanKeyData keys[4];

		range_keys(scan, keys, first_segment(scan));
		find(scan, &scan->segments, keys, 4);
		scan->searching = true;
	}
	while (next(scan, &scan->segments, ForwardScanDirection))
	{
		OpenedSegment opened = {scan, NULL};

		CHECK_FOR_INTERRUPTS();
		if (scan->careful)
			open_carefully(&opened);
		else
			open_segment(&opened);
		if (opened.transcript == NULL)
			continue;
		messages->messages = opened.transcript->messages;
		messages->count = opened.transcript->count;
		return true;
	}
	return false;
}

static const char *
copy_text(Datum value, bool isnull, uint32 *length)
{
	const char *bytes = transcript_text_bytes(value, isnull, length);
	char *copy;

	if (bytes == NULL)
		return NULL;
	copy = palloc(*length + 1);
	memcpy(copy, bytes, *length);
	return copy;
}

static void
take_tail_row(TupleTableSlot *row, TranscriptMessage *message)
{
	const Datum *values = row->tts_values;
	const bool *nulls = row->tts_isnull;

	memset(message, 0, sizeof(*message));
	message->seq = DatumGetInt64(values[TAIL_SEQ]);
	message->parent_seq = DatumGetInt64(values[TAIL_PARENT_SEQ]);
	message->revision = DatumGetInt64(values[TAIL_REVISION]);
	message->created_at = DatumGetTimestampTz(values[TAIL_CREATED_AT]);
	message->has_created_at = true;
	message->tokens = DatumGetInt32(values[TAIL_TOKENS]);
	message->role = copy_text(values[TAIL_ROLE], nulls[TAIL_ROLE], &message->role_len);
	message->content = copy_text(values[TAIL_CONTENT], nulls[TAIL_CONTENT], &message->content_len);
	message->model = copy_text(values[TAIL_MODEL], nulls[TAIL_MODEL], &message->model_len);
}

/* All rows of the tail that are in the range; false: there are none. */
static bool
read_tail(StoreScan *scan, StoreMessages *messages)
{
	uint32 space = 64;
	ScanKeyData keys[4];

	messages->messages = palloc(space * sizeof(TranscriptMessage));
	messages->count = 0;
	range_keys(scan, keys, scan->range.first_seq);
	find(scan, &scan->tail, keys, 4);
	while (next(scan, &scan->tail, ForwardScanDirection))
	{
		TupleTableSlot *row = scan->tail.slot;

		CHECK_FOR_INTERRUPTS();
		if (DatumGetInt64(row->tts_values[TAIL_REVISION]) <= scan->range.after_revision)
			continue;
		if (messages->count == space)
		{
			space *= 2;
			messages->messages =
				repalloc(messages->messages, mul_size(space, sizeof(TranscriptMessage)));
		}
		take_tail_row(row, &messages->messages[messages->count++]);
	}
	return messages->count > 0;
}

/*
 * store_scan_next_messages
 *		The next segment's messages, in order of seq, or all of the tail's at the
 *		end; false: there are no more.  Some may be outside the range: whole
 *		segments are given.  The tail's have no message_id and no metadata.
 */
bool
store_scan_next_messages(StoreScan *scan, StoreMessages *messages)
{
	MemoryContext old;
	bool found = false;

	MemoryContextReset(scan->message_context);
	old = MemoryContextSwitchTo(scan->message_context);
	if (scan->phase == SCANNING_SEGMENTS)
	{
		found = next_segment(scan, messages);
		if (!found)
			scan->phase = SCANNING_TAIL;
	}
	if (scan->phase == SCANNING_TAIL)
	{
		found = read_tail(scan, messages);
		scan->phase = SCANNING_NOTHING;
	}
	MemoryContextSwitchTo(old);
	return found;
}
