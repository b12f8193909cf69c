/*
 * rows.c
 *		Messages to rows and back: tail rows, segments, and the runs of messages
 *		that wait in memory.
 *
 * A run owns a memory context; everything else lives in the caller's context.
 * Callers hold an SPI connection and the account's lock where they write.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "dictionary.h"
#include "sql_text.h"
#include "statement.h"
#include "store_private.h"
#include "tables.h"

/* Bytes as a text parameter; is_null: its place among the nulls, as SPI takes them. */
Datum
store_bytes_datum(const char *data, uint32 length, char *is_null)
{
	*is_null = data == NULL ? 'n' : ' ';
	return data == NULL ? (Datum) 0 : PointerGetDatum(cstring_to_text_with_len(data, length));
}

/* The parameters of tail_insert_statement and tail_update_statement: the table's columns. */
static void
tail_parameters(StoreConversation *conversation, const TranscriptMessage *message, Datum *values,
				char *nulls)
{
	memset(nulls, ' ', TAIL_NCOLUMNS);
	values[TAIL_CONVERSATION_ID] = UUIDPGetDatum(&conversation->id);
	values[TAIL_SEQ] = Int64GetDatum(message->seq);
	values[TAIL_PARENT_SEQ] = Int64GetDatum(message->parent_seq);
	values[TAIL_REVISION] = Int64GetDatum(message->revision);
	values[TAIL_CREATED_AT] = TimestampTzGetDatum(message->created_at);
	values[TAIL_TOKENS] = Int32GetDatum(message->tokens);
	values[TAIL_ACCOUNT_ID] = PointerGetDatum(conversation->account_id);
	values[TAIL_ROLE] = store_bytes_datum(message->role, message->role_len, &nulls[TAIL_ROLE]);
	values[TAIL_CONTENT] =
		store_bytes_datum(message->content, message->content_len, &nulls[TAIL_CONTENT]);
	values[TAIL_MODEL] = store_bytes_datum(message->model, message->model_len, &nulls[TAIL_MODEL]);
	values[TAIL_MESSAGE_ID] =
		store_bytes_datum(message->message_id, message->message_id_len, &nulls[TAIL_MESSAGE_ID]);
	values[TAIL_METADATA] =
		store_bytes_datum(message->metadata, message->metadata_len, &nulls[TAIL_METADATA]);
	values[TAIL_COUNTED] = BoolGetDatum(message->counted);
}

/* clang-format off */
#define TAIL_TYPES \
	{UUIDOID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, \
	 TEXTOID, TEXTOID, TEXTOID, BOOLOID}

static PlanStatement tail_insert_statement = {
	"INSERT INTO memory_store.tail (conversation_id, seq, parent_seq, revision, created_at,"
	"   tokens, account_id, role, content, model, message_id, metadata, counted)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
	TAIL_NCOLUMNS,
	TAIL_TYPES,
};
/* clang-format on */

void
store_insert_tail(StoreConversation *conversation, const TranscriptMessage *message)
{
	Datum values[TAIL_NCOLUMNS];
	char nulls[TAIL_NCOLUMNS];

	tail_parameters(conversation, message, values, nulls);
	plan_execute(&tail_insert_statement, values, nulls, false);
}

/* clang-format off */
static PlanStatement tail_update_statement = {
	"UPDATE memory_store.tail"
	" SET parent_seq = $3, revision = $4, created_at = $5, tokens = $6,"
	"   role = $8, content = $9, model = $10, message_id = $11, metadata = $12, counted = $13"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$7 AND seq" OP(=) "$2",
	TAIL_NCOLUMNS,
	TAIL_TYPES,
};
/* clang-format on */

void
store_update_tail(StoreConversation *conversation, const TranscriptMessage *message)
{
	Datum values[TAIL_NCOLUMNS];
	char nulls[TAIL_NCOLUMNS];

	tail_parameters(conversation, message, values, nulls);
	if (plan_execute(&tail_update_statement, values, nulls, false) != 1)
		elog(ERROR, "message " INT64_FORMAT " is not in the tail", message->seq);
}

/* How many of n > 0 messages the next segment takes. */
uint32
store_segment_share(const TranscriptMessage *messages, uint32 n)
{
	uint64 bytes = 0;
	uint32 taken = 0;

	while (taken < n && taken < (uint32) store_segment_messages &&
		   bytes < (uint64) store_segment_kb * 1024)
	{
		bytes += store_message_bytes(&messages[taken]);
		taken++;
	}
	return taken;
}

/* The setting, with the database's current dictionary. */
static TranscriptCompression
seal_compression(void)
{
	TranscriptCompression compression = transcript_default_compression();

	if (compression.codec == TRANSCRIPT_ZSTD)
		compression.dictionary_id = dictionary_current();
	return compression;
}

/*
 * store_fold_revisions
 *		The revision of a segment of n > 0 messages, which is the largest one of
 *		theirs.  Where all have the same, the row alone keeps it: they lose their
 *		own.  See store_open_segment.
 */
int64
store_fold_revisions(TranscriptMessage *messages, uint32 n)
{
	int64 revision = messages[0].revision;
	bool same = true;

	for (uint32 i = 1; i < n; i++)
	{
		same &= messages[i].revision == messages[0].revision;
		revision = Max(revision, messages[i].revision);
	}
	for (uint32 i = 0; same && i < n; i++)
		messages[i].revision = 0;
	return revision;
}

/* A segment's messages, each with its revision, in the current memory context. */
Transcript *
store_open_segment(const StoreSegment *segment)
{
	Transcript *transcript = transcript_open(segment->body);

	for (uint32 i = 0; i < transcript->count; i++)
		if (transcript->messages[i].revision == 0)
			transcript->messages[i].revision = segment->revision;
	return transcript;
}

/* clang-format off */
static PlanStatement segment_insert_statement = {
	"INSERT INTO memory_store.segments"
	" (conversation_id, first_seq, last_seq, revision, account_id, body, message_ids)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7)",
	STORE_SEGMENT_COLUMNS,
	{UUIDOID, INT8OID, INT8OID, INT8OID, TEXTOID, STATEMENT_TRANSCRIPT, BYTEAOID},
};
/* clang-format on */

/* Compresses n > 0 messages, in order of seq, into a new segment. */
void
store_insert_segment(StoreConversation *conversation, const TranscriptMessage *messages, uint32 n)
{
	TranscriptCompression compression = seal_compression();
	Size size = mul_size(n, sizeof(TranscriptMessage));
	TranscriptMessage *folded = palloc(size);
	Datum values[STORE_SEGMENT_COLUMNS];
	char nulls[] = "       ";
	struct varlena *body;
	bytea *filter;
	int64 revision;

	memcpy(folded, messages, size);
	revision = store_fold_revisions(folded, n);
	body = transcript_build(folded, n, &compression);
	filter = store_filter_ids(messages, n);
	pfree(folded);

	values[SEGMENT_CONVERSATION_ID] = UUIDPGetDatum(&conversation->id);
	values[SEGMENT_FIRST_SEQ] = Int64GetDatum(messages[0].seq);
	values[SEGMENT_LAST_SEQ] = Int64GetDatum(messages[n - 1].seq);
	values[SEGMENT_REVISION] = Int64GetDatum(revision);
	values[SEGMENT_ACCOUNT_ID] = PointerGetDatum(conversation->account_id);
	values[SEGMENT_BODY] = PointerGetDatum(body);
	store_filter_datum(filter, values, nulls, SEGMENT_MESSAGE_IDS);
	if (conversation->prepared != NULL)
		store_prepared_segment(conversation->prepared, values, nulls);
	else if (conversation->queue != NULL)
		store_queue_segment(conversation->queue, values, nulls);
	else
		plan_execute(&segment_insert_statement, values, nulls, false);
	conversation->segments_changed = true;
	pfree(body);
	if (filter != NULL)
		pfree(filter);
}

static const char *
column_bytes(uint64 row, int column, uint32 *length)
{
	bool isnull;
	Datum value = plan_column(row, column, &isnull);

	return transcript_text_bytes(value, isnull, length);
}

/* The columns of STORE_TAIL_MESSAGE. */
enum
{
	ROW_SEQ = 1,
	ROW_PARENT_SEQ,
	ROW_REVISION,
	ROW_CREATED_AT,
	ROW_TOKENS,
	ROW_ROLE,
	ROW_CONTENT,
	ROW_MODEL,
	ROW_MESSAGE_ID,
	ROW_METADATA,
	ROW_COUNTED
};

/*
 * A row of STORE_TAIL_MESSAGE as a message.  Its texts point into SPI_tuptable
 * (or, detoasted, into the current memory context).
 */
void
store_tail_row(uint64 row, TranscriptMessage *message)
{
	bool isnull;

	memset(message, 0, sizeof(*message));
	message->seq = plan_int64(row, ROW_SEQ);
	message->parent_seq = plan_int64(row, ROW_PARENT_SEQ);
	message->revision = plan_int64(row, ROW_REVISION);
	message->created_at = DatumGetTimestampTz(plan_column(row, ROW_CREATED_AT, &isnull));
	message->has_created_at = true;
	message->tokens = DatumGetInt32(plan_column(row, ROW_TOKENS, &isnull));
	message->role = column_bytes(row, ROW_ROLE, &message->role_len);
	message->content = column_bytes(row, ROW_CONTENT, &message->content_len);
	message->model = column_bytes(row, ROW_MODEL, &message->model_len);
	message->message_id = column_bytes(row, ROW_MESSAGE_ID, &message->message_id_len);
	message->metadata = column_bytes(row, ROW_METADATA, &message->metadata_len);
	message->counted = DatumGetBool(plan_column(row, ROW_COUNTED, &isnull));
}

/* The columns of the statements that read a segment. */
enum
{
	FOUND_FIRST_SEQ = 1,
	FOUND_LAST_SEQ,
	FOUND_REVISION,
	FOUND_BODY
};

static bool
segment_read(PlanStatement *statement, const pg_uuid_t *conversation_id, text *account_id,
			 int64 seq, bool read_only, StoreSegment *segment)
{
	Datum values[3];
	bool isnull;

	values[0] = UUIDPGetDatum(conversation_id);
	values[1] = PointerGetDatum(account_id);
	values[2] = Int64GetDatum(seq);
	if (plan_execute(statement, values, NULL, read_only) == 0)
		return false;
	segment->first_seq = plan_int64(0, FOUND_FIRST_SEQ);
	segment->last_seq = plan_int64(0, FOUND_LAST_SEQ);
	segment->revision = plan_int64(0, FOUND_REVISION);
	segment->body = plan_column(0, FOUND_BODY, &isnull);
	return true;
}

/* clang-format off */
static PlanStatement segment_before_statement = {
	"SELECT first_seq, last_seq, revision, body"
	" FROM memory_store.segments"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" AND first_seq" OP(<) "$3"
	" ORDER BY first_seq DESC LIMIT 1",
	3,
	{UUIDOID, TEXTOID, INT8OID},
};
/* clang-format on */

/* The last segment that begins before seq. */
bool
store_segment_before(const pg_uuid_t *id, text *account_id, int64 seq, bool read_only,
					 StoreSegment *segment)
{
	bool found;

	if (read_only && fast_segment_before(id, account_id, seq, segment, &found))
		return found;
	return segment_read(&segment_before_statement, id, account_id, seq, read_only, segment);
}

/* clang-format off */
static PlanStatement segment_after_statement = {
	"SELECT first_seq, last_seq, revision, body"
	" FROM memory_store.segments"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" AND first_seq" OP(>=) "$3"
	" ORDER BY first_seq LIMIT 1",
	3,
	{UUIDOID, TEXTOID, INT8OID},
};
/* clang-format on */

/* The first segment that begins at seq or later. */
bool
store_segment_after(const pg_uuid_t *id, text *account_id, int64 seq, bool read_only,
					StoreSegment *segment)
{
	return segment_read(&segment_after_statement, id, account_id, seq, read_only, segment);
}

/* clang-format off */
static PlanStatement segment_delete_statement = {
	"DELETE"
	" FROM memory_store.segments"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" AND first_seq" OP(=) "$3",
	3,
	{UUIDOID, TEXTOID, INT8OID},
};
/* clang-format on */

/* Deletes the segment that begins at first_seq. */
void
store_delete_segment(const pg_uuid_t *id, text *account_id, int64 first_seq)
{
	Datum values[3];

	values[0] = UUIDPGetDatum(id);
	values[1] = PointerGetDatum(account_id);
	values[2] = Int64GetDatum(first_seq);
	if (plan_execute(&segment_delete_statement, values, NULL, false) != 1)
		elog(ERROR, "segment at " INT64_FORMAT " is gone", first_seq);
}

/* clang-format off */
PlanStatement store_tail_one_statement = {
	"SELECT " STORE_TAIL_MESSAGE
	" FROM memory_store.tail"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2 AND seq" OP(=) "$3",
	3,
	{UUIDOID, TEXTOID, INT8OID},
};
/* clang-format on */

/*
 * Finds one written message.  Its texts live in the current memory context or
 * in SPI_tuptable.
 */
bool
store_read_message(const pg_uuid_t *id, text *account_id, int64 seq, bool read_only,
				   TranscriptMessage *message)
{
	StoreSegment segment;
	Datum values[3];

	if (seq < 1 || seq == PG_INT64_MAX)
		return false;

	values[0] = UUIDPGetDatum(id);
	values[1] = PointerGetDatum(account_id);
	values[2] = Int64GetDatum(seq);
	if (plan_execute(&store_tail_one_statement, values, NULL, read_only) == 1)
	{
		store_tail_row(0, message);
		return true;
	}
	if (store_segment_before(id, account_id, seq + 1, read_only, &segment) &&
		segment.last_seq >= seq)
	{
		Transcript *transcript = store_open_segment(&segment);
		TranscriptMessage *found = store_find_message(transcript->messages, transcript->count, seq);

		if (found != NULL)
			*message = *found;
		return found != NULL;
	}
	return false;
}

/*
 * Whether the conversation has the message, written or waiting in memory.
 * Where no number was ever left out or deleted, none needs to be looked up.
 */
bool
store_message_exists(StoreConversation *conversation, int64 seq)
{
	TranscriptMessage message;
	MemoryContext scratch;
	MemoryContext old;
	bool found;

	if (seq < 1 || seq >= conversation->next_seq)
		return false;
	if (conversation->message_count == conversation->next_seq - 1)
		return true;
	if (store_find_message(conversation->run.messages, conversation->run.count, seq) != NULL ||
		store_find_message(conversation->held.messages, conversation->held.count, seq) != NULL)
		return true;

	store_queue_write(conversation->queue);
	scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext look-up", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	found = store_read_message(&conversation->id, conversation->account_id, seq, false, &message);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return found;
}

/* clang-format off */
PlanStatement store_tail_take_statement = {
	"DELETE"
	" FROM memory_store.tail"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" RETURNING " STORE_TAIL_MESSAGE,
	2,
	{UUIDOID, TEXTOID},
};

PlanStatement store_tail_read_statement = {
	"SELECT " STORE_TAIL_MESSAGE
	" FROM memory_store.tail"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2 AND seq" OP(>=) "$3"
	" ORDER BY seq",
	3,
	{UUIDOID, TEXTOID, INT8OID},
};

static PlanStatement last_message_statement = {
	"SELECT pg_catalog.max(s.last)"
	" FROM ((SELECT last_seq AS last"
	" FROM memory_store.segments"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" ORDER BY first_seq DESC LIMIT 1)"
	" UNION ALL (SELECT seq"
	" FROM memory_store.tail"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" ORDER BY seq DESC LIMIT 1)) s",
	2,
	{UUIDOID, TEXTOID},
};
/* clang-format on */

/* The largest seq that the conversation has on disk; 0: it has none. */
int64
store_last_message(StoreConversation *conversation)
{
	Datum values[2];
	Datum last;
	bool isnull;

	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	plan_execute(&last_message_statement, values, NULL, false);
	last = plan_column(0, 1, &isnull);
	return isnull ? 0 : DatumGetInt64(last);
}
