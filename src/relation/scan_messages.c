/*
 * scan_messages.c
 *		Scans of memory.messages.
 *
 * With keys, or in a confined session: conversation by conversation, as the
 * walk finds them.  In an ordered scan conversations of several accounts that
 * have the same id are merged by seq.  Without keys: all segments and then all
 * tails, in the order of the files, which the processes of a parallel scan
 * divide among them; or, where no column of the messages is wanted, the
 * counters of all conversations.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "relation_private.h"
#include "tables.h"

/* A text that many rows have: made again only when it differs from the row's before. */
typedef struct RepeatedText
{
	text *value;
	uint32 capacity;
} RepeatedText;

typedef struct MessagesScan
{
	Snapshot snapshot;
	MemoryContext context; /* of the node: readers and repeated texts */
	bool by_file;          /* all segments, then all tails */
	MessageReader *readers;
	int nreaders;
	int nopen;                            /* readers that have a conversation */
	const TranscriptMessage **candidates; /* of an ordered scan: each reader's next */
	bool merging;
	TableScanDesc heap; /* by_file */
	Relation table;
	TupleTableSlot *row;
	int file; /* 1: segments, 2: tail, 3: end */
	RepeatedText role;
	RepeatedText model;
} MessagesScan;

static Datum
repeated_datum(MessagesScan *state, RepeatedText *repeated, const char *data, uint32 length)
{
	text *value = repeated->value;

	if (value != NULL && VARSIZE(value) - VARHDRSZ == length &&
		memcmp(VARDATA(value), data, length) == 0)
		return PointerGetDatum(value);
	if (value == NULL || repeated->capacity < length)
	{
		repeated->capacity = Max(length, 64);
		repeated->value = value = MemoryContextAlloc(state->context, VARHDRSZ + repeated->capacity);
	}
	SET_VARSIZE(value, VARHDRSZ + length);
	memcpy(VARDATA(value), data, length);
	return PointerGetDatum(value);
}

/* ---- rows ---- */

static Datum
text_datum(const char *data, uint32 length, bool *isnull)
{
	*isnull = data == NULL;
	return data == NULL ? (Datum) 0 : PointerGetDatum(cstring_to_text_with_len(data, length));
}

/* Fills in the wanted columns of a message; texts are made in the current memory context. */
static void
fill_message(RelationScan *scan, const TranscriptMessage *message, TupleTableSlot *slot)
{
	MessagesScan *state = scan->messages;
	Datum *values = slot->tts_values;
	bool *nulls = slot->tts_isnull;
	uint32 columns = scan->columns;

	values[MESSAGES_SEQ] = Int64GetDatum(message->seq);
	values[MESSAGES_PARENT_SEQ] = Int64GetDatum(message->parent_seq);
	values[MESSAGES_TOKENS] = Int32GetDatum(message->tokens);
	values[MESSAGES_CREATED_AT] = TimestampTzGetDatum(message->created_at);
	nulls[MESSAGES_SEQ] = nulls[MESSAGES_PARENT_SEQ] = false;
	nulls[MESSAGES_TOKENS] = message->tokens < 0;
	nulls[MESSAGES_CREATED_AT] = !message->has_created_at;
	if (columns & COLUMN_BIT(MESSAGES_ROLE))
	{
		nulls[MESSAGES_ROLE] = message->role == NULL;
		if (message->role != NULL)
			values[MESSAGES_ROLE] =
				repeated_datum(state, &state->role, message->role, message->role_len);
	}
	if (columns & COLUMN_BIT(MESSAGES_CONTENT))
		values[MESSAGES_CONTENT] =
			text_datum(message->content, message->content_len, &nulls[MESSAGES_CONTENT]);
	if (columns & COLUMN_BIT(MESSAGES_MODEL))
	{
		nulls[MESSAGES_MODEL] = message->model == NULL;
		if (message->model != NULL)
			values[MESSAGES_MODEL] =
				repeated_datum(state, &state->model, message->model, message->model_len);
	}
	if (columns & COLUMN_BIT(MESSAGES_MESSAGE_ID))
		values[MESSAGES_MESSAGE_ID] =
			text_datum(message->message_id, message->message_id_len, &nulls[MESSAGES_MESSAGE_ID]);
	if ((columns & COLUMN_BIT(MESSAGES_METADATA)) && message->metadata != NULL)
	{
		values[MESSAGES_METADATA] = transcript_metadata_datum(message);
		nulls[MESSAGES_METADATA] = false;
	}
}

static void
fill_row(RelationScan *scan, Datum conversation_id, Datum account_id,
		 const TranscriptMessage *message, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(scan->row_context);

	memset(slot->tts_isnull, true, MESSAGES_NCOLUMNS * sizeof(bool));
	slot->tts_values[MESSAGES_CONVERSATION_ID] = conversation_id;
	slot->tts_isnull[MESSAGES_CONVERSATION_ID] = false;
	slot->tts_values[MESSAGES_ACCOUNT_ID] = account_id;
	slot->tts_isnull[MESSAGES_ACCOUNT_ID] = false;
	if (scan->columns & ~(COLUMN_BIT(MESSAGES_CONVERSATION_ID) | COLUMN_BIT(MESSAGES_ACCOUNT_ID)))
		fill_message(scan, message, slot);
	ExecStoreVirtualTuple(slot);
	MemoryContextSwitchTo(old);
}

/* ---- conversation by conversation ---- */

static MessageReader *
reader_at(RelationScan *scan, int n)
{
	MessagesScan *state = scan->messages;
	MemoryContext old = MemoryContextSwitchTo(state->context);

	if (n == state->nreaders)
	{
		Size readers = mul_size(n + 1, sizeof(MessageReader));
		Size candidates = mul_size(n + 1, sizeof(TranscriptMessage *));

		state->readers = n == 0 ? palloc(readers) : repalloc(state->readers, readers);
		state->candidates = n == 0 ? palloc(candidates) : repalloc(state->candidates, candidates);
		reader_init(&state->readers[n], &scan->bounds, scan->columns, scan->backward,
					state->snapshot, &scan->counters);
		state->nreaders++;
	}
	MemoryContextSwitchTo(old);
	state->readers[n].row_context = scan->row_context;
	return &state->readers[n];
}

/* Begins with the next conversation, or, in an ordered scan, with all there are. */
static bool
start_readers(RelationScan *scan)
{
	MessagesScan *state = scan->messages;
	TupleTableSlot *row;

	state->nopen = 0;
	while ((state->nopen == 0 || scan->ordered) && (row = walk_next(&scan->walk)) != NULL)
		reader_start(reader_at(scan, state->nopen++), row);
	state->merging = state->nopen > 1;
	for (int i = 0; state->merging && i < state->nopen; i++)
	{
		state->readers[i].keeps = true;
		state->candidates[i] = reader_next(&state->readers[i]);
	}
	return state->nopen > 0;
}

/* Of an ordered scan of several conversations: the reader whose message is next; -1: none. */
static int
next_in_order(const RelationScan *scan)
{
	const MessagesScan *state = scan->messages;
	int best = -1;

	for (int i = 0; i < state->nopen; i++)
	{
		const TranscriptMessage *message = state->candidates[i];

		if (message != NULL &&
			(best < 0 || (scan->backward ? message->seq > state->candidates[best]->seq
										 : message->seq < state->candidates[best]->seq)))
			best = i;
	}
	return best;
}

static bool
emit_from(RelationScan *scan, MessageReader *reader, const TranscriptMessage *message,
		  TupleTableSlot *slot)
{
	fill_row(scan, UUIDPGetDatum(&reader->id), PointerGetDatum(reader->account_id), message, slot);
	return true;
}

/* Gives the row before the reader goes on: its texts are copied into the slot's row by then. */
static bool
next_merged(RelationScan *scan, TupleTableSlot *slot)
{
	MessagesScan *state = scan->messages;
	int best = next_in_order(scan);
	MessageReader *reader;

	if (best < 0)
		return false;
	reader = &state->readers[best];
	(void) emit_from(scan, reader, state->candidates[best], slot);
	ExecMaterializeSlot(slot);
	state->candidates[best] = reader_next(reader);
	return true;
}

static bool
next_by_conversation(RelationScan *scan, TupleTableSlot *slot)
{
	MessagesScan *state = scan->messages;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (state->merging)
			return next_merged(scan, slot);
		if (state->nopen > 0)
		{
			MessageReader *reader = reader_at(scan, 0);
			const TranscriptMessage *message = reader_next(reader);

			if (message != NULL)
				return emit_from(scan, reader, message, slot);
			if (scan->ordered)
				return false;
		}
		if (!start_readers(scan))
			return false;
	}
}

/* ---- all, in the order of the files ---- */

static void
close_file(MessagesScan *state)
{
	if (state->heap != NULL)
	{
		table_endscan(state->heap);
		ExecDropSingleTupleTableSlot(state->row);
		table_close(state->table, NoLock);
	}
	state->heap = NULL;
}

static void
open_file(RelationScan *scan)
{
	MessagesScan *state = scan->messages;
	ParallelTableScanDesc shared = scan_shared(scan, state->file);
	MemoryContext old = MemoryContextSwitchTo(state->context);
	DirectRows rows;

	direct_open_reading(&rows, state->file == 1 ? &store_segments : &store_tail, state->snapshot,
						NULL, 0);
	index_close(rows.index, NoLock);
	state->table = rows.table;
	state->row = table_slot_create(state->table, NULL);
	state->heap = shared != NULL ? table_beginscan_parallel(state->table, shared)
								 : table_beginscan(state->table, state->snapshot, 0, NULL);
	MemoryContextSwitchTo(old);
}

/* The next row of the files; false: there are no more. */
static bool
next_file_row(RelationScan *scan)
{
	MessagesScan *state = scan->messages;

	for (; state->file <= 2; state->file++)
	{
		if (state->heap == NULL)
			open_file(scan);
		if (table_scan_getnextslot(state->heap, ForwardScanDirection, state->row))
		{
			slot_getallattrs(state->row);
			return true;
		}
		close_file(state);
	}
	return false;
}

static bool
next_by_file(RelationScan *scan, TupleTableSlot *slot)
{
	MessagesScan *state = scan->messages;
	MessageReader *reader = reader_at(scan, 0);
	const TranscriptMessage *message;

	for (;;)
	{
		const Datum *values;

		CHECK_FOR_INTERRUPTS();
		message = reader_next_in_segment(reader);
		if (message != NULL)
		{
			values = state->row->tts_values;
			fill_row(scan, values[SEGMENT_CONVERSATION_ID], values[SEGMENT_ACCOUNT_ID], message,
					 slot);
			return true;
		}
		if (!next_file_row(scan))
			return false;
		values = state->row->tts_values;
		if (state->file == 1)
			(void) reader_open_body(reader, values[SEGMENT_BODY],
									DatumGetInt64(values[SEGMENT_FIRST_SEQ]),
									DatumGetInt64(values[SEGMENT_LAST_SEQ]));
		else
		{
			int64 seq = DatumGetInt64(values[TAIL_SEQ]);

			if (seq < scan->bounds.first_seq || seq > scan->bounds.last_seq)
				continue;
			message = reader_tail_message(reader, state->row);
			fill_row(scan, values[TAIL_CONVERSATION_ID], values[TAIL_ACCOUNT_ID], message, slot);
			return true;
		}
	}
}

/* ---- the scan ---- */

/*
 * messages_scan_init
 *		Prepares the scan, at its beginning and at each rescan; the bounds are
 *		known.
 */
void
messages_scan_init(RelationScan *scan, Snapshot snapshot)
{
	MessagesScan *state = scan->messages;
	const RelationBounds *bounds = &scan->bounds;
	bool is_whole = bounds->first_seq <= 1 && bounds->last_seq == PG_INT64_MAX;

	if (state == NULL)
	{
		state = scan->messages = palloc0(sizeof(MessagesScan));
		state->context = CurrentMemoryContext;
		state->snapshot = snapshot;
	}
	close_file(state);
	state->nopen = 0;
	state->merging = false;
	state->file = 1;
	state->by_file = !bounds->has_conversations && !bounds->has_accounts &&
					 !((scan->columns & ~(COLUMN_BIT(MESSAGES_CONVERSATION_ID) |
										  COLUMN_BIT(MESSAGES_ACCOUNT_ID))) == 0 &&
					   is_whole);
	for (int i = 0; i < state->nreaders; i++)
		reader_reset(&state->readers[i]);
}

/* Fills the slot with the next row; false: there are no more. */
bool
messages_scan_next(RelationScan *scan, TupleTableSlot *slot)
{
	if (scan->bounds.nothing)
		return false;
	return scan->messages->by_file ? next_by_file(scan, slot) : next_by_conversation(scan, slot);
}

/* Closes the file that is being read. */
void
messages_scan_close(RelationScan *scan)
{
	if (scan->messages != NULL)
		close_file(scan->messages);
}

/*
 * Closes the temporary file and the readers of a scan of messages; a scan that
 * has not begun has none.
 */
void
messages_scan_end(RelationScan *scan)
{
	MessagesScan *state = scan->messages;

	if (state == NULL)
		return;
	close_file(state);
	for (int i = 0; i < state->nreaders; i++)
		reader_end(&state->readers[i]);
	state->nreaders = 0;
}
