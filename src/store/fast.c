/*
 * fast.c
 *		What applications do at each turn: append a message, and read the newest
 *		ones; without the executor (direct.h).
 *
 * Each function here has a statement that does the same, for when it returns
 * false: then nothing is changed.  What is read is copied to the current memory
 * context.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "common/int.h"
#include "miscadmin.h"
#include "statement.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"

#include "direct.h"
#include "store_private.h"
#include "tables.h"

/* ---- appending ---- */

typedef struct Appending
{
	const pg_uuid_t *id;
	text *account_id;
	const TranscriptMessage *message;
	FastAppended *appended;
	DirectRows *tail;     /* open */
	DirectRows *segments; /* open if the message has an id */
} Appending;

/* Checks a message that has the id of the one that comes. */
static void
take_repeated(Appending *appending, const TranscriptMessage *stored)
{
	store_check_repeated(appending->id, appending->message, stored);
	appending->appended->repeated = true;
	appending->appended->seq = stored->seq;
}

/* Looks for the message's id in the tail, whose rows are compared one by one. */
static void
find_in_tail(Appending *appending, ScanKeyData *keys)
{
	const TranscriptMessage *message = appending->message;
	DirectRows *rows = appending->tail;

	direct_find(rows, keys, 2);
	while (direct_next(rows, BackwardScanDirection))
	{
		TranscriptMessage stored = {0};

		CHECK_FOR_INTERRUPTS();
		stored.message_id =
			transcript_text_bytes(rows->slot->tts_values[TAIL_MESSAGE_ID],
								  rows->slot->tts_isnull[TAIL_MESSAGE_ID], &stored.message_id_len);
		if (!store_same_id(message, &stored))
			continue;
		fast_tail_row(rows, &stored);
		take_repeated(appending, &stored);
		return;
	}
}

/* And in the segments whose filter says that it may be there. */
static void
find_in_segments(Appending *appending, ScanKeyData *keys)
{
	StoreIdHash hash = store_hash_id(appending->message);
	DirectRows *rows = appending->segments;

	direct_find(rows, keys, 2);
	while (direct_next(rows, BackwardScanDirection))
	{
		Datum *values = rows->slot->tts_values;
		bytea *filter;
		Transcript *transcript;
		TranscriptMessage *stored;

		CHECK_FOR_INTERRUPTS();
		if (rows->slot->tts_isnull[SEGMENT_MESSAGE_IDS])
			continue;
		filter = DatumGetByteaPP(values[SEGMENT_MESSAGE_IDS]);
		if (!store_filter_has(filter, hash))
			continue;
		transcript = transcript_open(values[SEGMENT_BODY]);
		stored = store_find_id(transcript->messages, transcript->count, appending->message);
		if (stored != NULL)
		{
			take_repeated(appending, stored);
			return;
		}
		transcript_close(transcript);
	}
}

/*
 * Takes the account's next revision, unless the conversation has the message.
 * That is looked up under the snapshot that the row was found with: the row can
 * only be changed if nobody has since, and who adds a message changes it.  So it
 * is as exact as under the lock, and a message that is there locks nothing.
 */
static bool
bump_account(TupleTableSlot *row, void *arg)
{
	Appending *appending = arg;
	FastAppended *appended = appending->appended;

	if (appending->message->message_id != NULL)
	{
		ScanKeyData keys[2];

		store_conversation_keys(keys, appending->id, appending->account_id);
		find_in_tail(appending, keys);
		if (!appended->repeated)
			find_in_segments(appending, keys);
		if (appended->repeated)
			return false;
	}
	appended->revision = DatumGetInt64(row->tts_values[ACCOUNT_REVISION]) + 1;
	appended->subscription_id = TextDatumGetCString(row->tts_values[ACCOUNT_SUBSCRIPTION_ID]);
	row->tts_values[ACCOUNT_REVISION] = Int64GetDatum(appended->revision);
	return true;
}

/* Adds to a counter; false: it would overflow. */
static bool
count_up(TupleTableSlot *row, int column, int64 amount)
{
	int64 sum;

	if (pg_add_s64_overflow(DatumGetInt64(row->tts_values[column]), amount, &sum))
		return false;
	row->tts_values[column] = Int64GetDatum(sum);
	return true;
}

/* Whether nothing is to be done but to add a message: the conditions of append_statement. */
static bool
is_open(const TupleTableSlot *row, const TranscriptMessage *message)
{
	const Datum *values = row->tts_values;

	return row->tts_isnull[CONVERSATION_DELETED_AT] &&
		   DatumGetInt64(values[CONVERSATION_HEAD_SEQ]) ==
			   DatumGetInt64(values[CONVERSATION_NEXT_SEQ]) - 1 &&
		   DatumGetInt64(values[CONVERSATION_MESSAGE_COUNT]) > 0 &&
		   DatumGetInt32(values[CONVERSATION_TAIL_COUNT]) < store_segment_messages - 1 &&
		   DatumGetInt64(values[CONVERSATION_TAIL_BYTES]) + message->content_len <
			   (int64) store_segment_kb * 1024;
}

/* Takes the conversation's next number for the message. */
static bool
take_number(TupleTableSlot *row, void *arg)
{
	const TranscriptMessage *message = ((Appending *) arg)->message;
	FastAppended *appended = ((Appending *) arg)->appended;
	Datum *values = row->tts_values;
	TimestampTz updated_at = DatumGetTimestampTz(values[CONVERSATION_UPDATED_AT]);

	if (!is_open(row, message))
		return false;
	appended->seq = DatumGetInt64(values[CONVERSATION_NEXT_SEQ]);
	values[CONVERSATION_HEAD_SEQ] = Int64GetDatum(appended->seq);
	values[CONVERSATION_TAIL_COUNT] =
		Int32GetDatum(DatumGetInt32(values[CONVERSATION_TAIL_COUNT]) + 1);
	values[CONVERSATION_UPDATED_AT] = TimestampTzGetDatum(Max(updated_at, message->created_at));
	values[CONVERSATION_REVISION] = Int64GetDatum(appended->revision);
	values[CONVERSATION_REVISION_BUCKET] = Int32GetDatum(CONVERSATION_BUCKET(appended->revision));
	return count_up(row, CONVERSATION_NEXT_SEQ, 1) &&
		   count_up(row, CONVERSATION_MESSAGE_COUNT, 1) &&
		   count_up(row, CONVERSATION_TOKEN_COUNT, message->tokens) &&
		   count_up(row, CONVERSATION_CONTENT_BYTES, (int64) store_message_bytes(message)) &&
		   count_up(row, CONVERSATION_TAIL_BYTES, message->content_len);
}

static void
set_text(TupleTableSlot *row, int column, const char *data, uint32 length)
{
	row->tts_isnull[column] = data == NULL;
	row->tts_values[column] =
		data == NULL ? (Datum) 0 : PointerGetDatum(cstring_to_text_with_len(data, length));
}

static void
insert_message(DirectRows *rows, const pg_uuid_t *id, text *account_id,
			   const TranscriptMessage *message, const FastAppended *appended)
{
	TupleTableSlot *row = direct_new_row(rows);
	Datum *values = row->tts_values;

	memset(row->tts_isnull, 0, TAIL_NCOLUMNS * sizeof(bool));
	values[TAIL_CONVERSATION_ID] = UUIDPGetDatum(id);
	values[TAIL_SEQ] = Int64GetDatum(appended->seq);
	values[TAIL_PARENT_SEQ] = Int64GetDatum(appended->seq - 1);
	values[TAIL_REVISION] = Int64GetDatum(appended->revision);
	values[TAIL_CREATED_AT] = TimestampTzGetDatum(message->created_at);
	values[TAIL_TOKENS] = Int32GetDatum(message->tokens);
	values[TAIL_ACCOUNT_ID] = PointerGetDatum(account_id);
	set_text(row, TAIL_ROLE, message->role, message->role_len);
	set_text(row, TAIL_CONTENT, message->content, message->content_len);
	set_text(row, TAIL_MODEL, message->model, message->model_len);
	set_text(row, TAIL_MESSAGE_ID, message->message_id, message->message_id_len);
	set_text(row, TAIL_METADATA, message->metadata, message->metadata_len);
	values[TAIL_COUNTED] = BoolGetDatum(false);
	direct_insert(rows, row);
}

/* The writes themselves; false: no such account, or another was first. */
static bool
append(DirectRows *rows, Appending *appending)
{
	FastAppended *appended = appending->appended;
	const pg_uuid_t *id = appending->id;
	text *account_id = appending->account_id;
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(account_id));
	if (!direct_change(&rows[0], keys, 1, bump_account, appending))
		return appended->repeated;
	store_conversation_keys(keys, id, account_id);
	if (direct_change(&rows[1], keys, 2, take_number, appending))
		insert_message(&rows[2], id, account_id, appending->message, appended);
	else
		appended->seq = 0;
	return true;
}

/*
 * fast_append
 *		What append_statement does: takes the account's next revision, its row's lock
 *		with it, and puts the message behind the conversation's last one.
 *		appended->seq 0: that is not all there is to be done, and nothing but the
 *		account is changed; appended->repeated: the conversation has the message
 *		already, and nothing is.  false: nothing is, append_statement is to say why.
 *		Error: 23505 see store_check_repeated.
 */
bool
fast_append(text *account_id, const pg_uuid_t *id, const TranscriptMessage *message,
			FastAppended *appended)
{
	DirectTable *const tables[] = {&store_accounts, &store_conversations, &store_tail,
								   &store_segments};
	DirectRows rows[lengthof(tables)];
	Appending appending = {id, account_id, message, appended, &rows[2], &rows[3]};
	int wanted = message->message_id == NULL ? 3 : 4;
	int open = 0;
	bool done;

	memset(appended, 0, sizeof(*appended));
	if (!direct_may_write())
		return false;
	while (open < wanted &&
		   direct_open(&rows[open], tables[open], open < 3 ? RowExclusiveLock : AccessShareLock))
		open++;
	done = open == wanted && append(rows, &appending);
	while (open > 0)
		direct_close(&rows[--open]);
	return done;
}

/* ---- reading ---- */

/* The last segment that begins before seq: see store_segment_before. */
bool
fast_segment_before(const pg_uuid_t *id, text *account_id, int64 seq, StoreSegment *segment,
					bool *found)
{
	DirectRows rows;
	ScanKeyData keys[3];

	if (!direct_open(&rows, &store_segments, AccessShareLock))
		return false;
	store_conversation_keys(keys, id, account_id);
	ScanKeyInit(&keys[2], 3, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(seq));
	direct_find(&rows, keys, 3);
	*found = direct_next(&rows, BackwardScanDirection);
	if (*found)
	{
		segment->first_seq = DatumGetInt64(rows.slot->tts_values[SEGMENT_FIRST_SEQ]);
		segment->last_seq = DatumGetInt64(rows.slot->tts_values[SEGMENT_LAST_SEQ]);
		segment->revision = DatumGetInt64(rows.slot->tts_values[SEGMENT_REVISION]);
		segment->body = datumCopy(rows.slot->tts_values[SEGMENT_BODY], false, -1);
	}
	direct_close(&rows);
	return true;
}

/* A copy of the tail's row at hand as a message, in the current memory context. */
void
fast_tail_row(const DirectRows *rows, TranscriptMessage *message)
{
	HeapTuple copy = ExecCopySlotHeapTuple(rows->slot);
	Datum values[TAIL_NCOLUMNS];
	bool nulls[TAIL_NCOLUMNS];

	heap_deform_tuple(copy, RelationGetDescr(rows->table), values, nulls);
	memset(message, 0, sizeof(*message));
	message->seq = DatumGetInt64(values[TAIL_SEQ]);
	message->parent_seq = DatumGetInt64(values[TAIL_PARENT_SEQ]);
	message->revision = DatumGetInt64(values[TAIL_REVISION]);
	message->created_at = DatumGetTimestampTz(values[TAIL_CREATED_AT]);
	message->has_created_at = true;
	message->tokens = DatumGetInt32(values[TAIL_TOKENS]);
	message->role = transcript_text_bytes(values[TAIL_ROLE], nulls[TAIL_ROLE], &message->role_len);
	message->content =
		transcript_text_bytes(values[TAIL_CONTENT], nulls[TAIL_CONTENT], &message->content_len);
	message->model =
		transcript_text_bytes(values[TAIL_MODEL], nulls[TAIL_MODEL], &message->model_len);
	message->message_id = transcript_text_bytes(values[TAIL_MESSAGE_ID], nulls[TAIL_MESSAGE_ID],
												&message->message_id_len);
	message->metadata =
		transcript_text_bytes(values[TAIL_METADATA], nulls[TAIL_METADATA], &message->metadata_len);
	message->counted = DatumGetBool(values[TAIL_COUNTED]);
}

static void
reverse(TranscriptMessage *messages, uint32 n)
{
	for (uint32 i = 0; i < n / 2; i++)
	{
		TranscriptMessage swapped = messages[i];

		messages[i] = messages[n - 1 - i];
		messages[n - 1 - i] = swapped;
	}
}

/*
 * fast_tail_before
 *		The newest messages of the tail before seq, at most limit, in order of
 *		seq.  expected: how many there may be; there may be more.
 */
bool
fast_tail_before(const pg_uuid_t *id, text *account_id, int64 seq, int64 limit, uint32 expected,
				 TranscriptMessage **messages, uint32 *count)
{
	uint32 space = Max(expected, 1);
	ScanKeyData keys[3];
	DirectRows rows;

	if (!direct_open(&rows, &store_tail, AccessShareLock))
		return false;
	*messages = palloc(mul_size(space, sizeof(TranscriptMessage)));
	*count = 0;
	store_conversation_keys(keys, id, account_id);
	ScanKeyInit(&keys[2], 3, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(seq));
	direct_find(&rows, keys, 3);
	while (*count < limit && direct_next(&rows, BackwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (*count == space)
		{
			space = Min(space, PG_UINT32_MAX / 2) * 2;
			*messages = repalloc_huge(*messages, mul_size(space, sizeof(TranscriptMessage)));
		}
		fast_tail_row(&rows, &(*messages)[(*count)++]);
	}
	direct_close(&rows);
	reverse(*messages, *count);
	return true;
}

/* What a branch's reader begins with: see branch_open_statement. */
bool
fast_branch_start(const pg_uuid_t *id, text *account_id, int64 before_seq, StoreBranchStart *start)
{
	DirectRows rows;
	ScanKeyData keys[2];

	memset(start, 0, sizeof(*start));
	if (!direct_open(&rows, &store_conversations, AccessShareLock))
		return false;
	store_conversation_keys(keys, id, account_id);
	direct_find(&rows, keys, 2);
	start->found =
		direct_next(&rows, ForwardScanDirection) && rows.slot->tts_isnull[CONVERSATION_DELETED_AT];
	if (start->found)
	{
		Datum *values = rows.slot->tts_values;

		start->next_seq = DatumGetInt64(values[CONVERSATION_NEXT_SEQ]);
		start->head_seq = DatumGetInt64(values[CONVERSATION_HEAD_SEQ]);
		start->tail_count = DatumGetInt32(values[CONVERSATION_TAIL_COUNT]);
		start->branched = DatumGetBool(values[CONVERSATION_BRANCHED]) &&
						  DatumGetInt64(values[CONVERSATION_MESSAGE_COUNT]) > 0;
	}
	direct_close(&rows);
	if (!start->found)
		return true;
	return fast_segment_before(id, account_id,
							   start->branched ? start->head_seq + 1
											   : Min(start->head_seq + 1, before_seq),
							   &start->segment, &start->has_segment);
}
