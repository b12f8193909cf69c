/*
 * export_read.c
 *		The conversations of an export, from the store.
 *
 * Two cursors in the same order, one over conversations and one over segments,
 * are merged here: PostgreSQL's join would carry every body through a sort, and
 * a statement a conversation would cost more than its messages.  A range of
 * conversation_id bounds every table by its primary key; accounts and keys within
 * the range are compared here.
 *
 * Rows are fetched some at a time, each batch into a context of its own that
 * the next one resets.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "account.h"
#include "export.h"
#include "sql_text.h"
#include "statement.h"
#include "stored.h"

/* At most so many; their bodies are inline only when they are small. */
#define ROWS_AT_ONCE 50

/* clang-format off */
enum { FIRST_ID, LAST_ID, CHANGED_SINCE, OF_ACCOUNT, READ_PARAMETERS };

#define CONVERSATIONS \
	"SELECT c.conversation_id, c.account_id, c.title, c.metadata, c.archived, c.head_seq," \
	"       c.created_at, c.updated_at, c.tail_count" \
	" FROM memory_store.conversations c" \
	" WHERE c.deleted_at IS NULL AND " IN_RANGE("c")
#define SEGMENTS \
	"SELECT s.conversation_id, s.account_id, s.body" \
	" FROM memory_store.segments s"
#define SEGMENTS_OF_CONVERSATIONS \
	SEGMENTS " JOIN memory_store.conversations c" \
	" ON c.conversation_id" OP(=) "s.conversation_id AND c.account_id" OP(=) "s.account_id" \
	" WHERE c.deleted_at IS NULL AND " IN_RANGE("s") " AND " IN_RANGE("c")
#define IN_RANGE(name) \
	name ".conversation_id" OP(>=) "$1 AND " name ".conversation_id" OP(<=) "$2"
#define SINCE " AND ($3 IS NULL OR c.updated_at" OP(>=) "$3)"
#define ACCOUNT " AND c.account_id" OP(=) "$4"
#define IN_ORDER(name) " ORDER BY " name ".conversation_id, " name ".account_id"

/* A statement for conversations, and one for their segments in the same order. */
typedef struct ReadStatements
{
	PlanStatement conversations;
	PlanStatement segments;
} ReadStatements;

static ReadStatements read_all = {
	{CONVERSATIONS IN_ORDER("c"),
	 LAST_ID + 1, {UUIDOID, UUIDOID}},
	{SEGMENTS " WHERE " IN_RANGE("s") IN_ORDER("s") ", s.first_seq",
	 LAST_ID + 1, {UUIDOID, UUIDOID}}};

static ReadStatements read_changed = {
	{CONVERSATIONS SINCE IN_ORDER("c"),
	 CHANGED_SINCE + 1, {UUIDOID, UUIDOID, TIMESTAMPTZOID}},
	{SEGMENTS_OF_CONVERSATIONS SINCE IN_ORDER("s") ", s.first_seq",
	 CHANGED_SINCE + 1, {UUIDOID, UUIDOID, TIMESTAMPTZOID}}};

static ReadStatements read_account = {
	{CONVERSATIONS SINCE ACCOUNT IN_ORDER("c"),
	 OF_ACCOUNT + 1, {UUIDOID, UUIDOID, TIMESTAMPTZOID, TEXTOID}},
	{SEGMENTS_OF_CONVERSATIONS SINCE ACCOUNT IN_ORDER("s") ", s.first_seq",
	 OF_ACCOUNT + 1, {UUIDOID, UUIDOID, TIMESTAMPTZOID, TEXTOID}}};
/* clang-format on */

/* The columns of both cursors. */
enum
{
	COLUMN_CONVERSATION_ID,
	COLUMN_ACCOUNT_ID,
	COLUMN_TITLE,
	COLUMN_METADATA,
	COLUMN_ARCHIVED,
	COLUMN_HEAD_SEQ,
	COLUMN_CREATED_AT,
	COLUMN_UPDATED_AT,
	COLUMN_TAIL_COUNT,
	NCOLUMNS,
	COLUMN_BODY = COLUMN_TITLE
};

typedef struct RowCursor
{
	const char *name;
	MemoryContext context; /* of the rows that are fetched */
	TupleDesc descriptor;
	HeapTuple rows[ROWS_AT_ONCE];
	int count;
	int next;
	bool ended;
	bool ready; /* the row at hand is in values */
	Datum values[NCOLUMNS];
	bool nulls[NCOLUMNS];
} RowCursor;

struct ExportReader
{
	ExportScope scope;
	RowCursor conversations;
	RowCursor segments;
};

/* ---- cursors ---- */

static void
cursor_open(RowCursor *cursor, PlanStatement *statement, Datum *values, const char *nulls)
{
	MemoryContext context = CurrentMemoryContext;

	cursor->context = AllocSetContextCreate(context, "memory_ext rows", ALLOCSET_DEFAULT_SIZES);
	SPI_connect();
	cursor->name = MemoryContextStrdup(context, plan_open(statement, values, nulls)->name);
	SPI_finish();
}

static void
cursor_close(RowCursor *cursor)
{
	Portal portal = SPI_cursor_find(cursor->name);

	if (portal != NULL)
		SPI_cursor_close(portal);
}

static void
cursor_fetch(RowCursor *cursor)
{
	Portal portal = SPI_cursor_find(cursor->name);

	if (portal == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_CURSOR_STATE),
				 errmsg("the export cannot go on: it began in a savepoint that was rolled back"),
				 errhint("Fetch the first row of a cursor before the savepoint, or declare the "
						 "cursor anew.")));
	SPI_connect();
	SPI_cursor_fetch(portal, true, ROWS_AT_ONCE);
	if (cursor->descriptor == NULL)
	{
		MemoryContextSwitchTo(GetMemoryChunkContext(unconstify(char *, cursor->name)));
		cursor->descriptor = CreateTupleDescCopy(SPI_tuptable->tupdesc);
	}
	MemoryContextSwitchTo(cursor->context);
	MemoryContextReset(cursor->context);
	cursor->count = (int) SPI_processed;
	cursor->next = 0;
	cursor->ended = cursor->count == 0;
	for (int i = 0; i < cursor->count; i++)
		cursor->rows[i] = heap_copytuple(SPI_tuptable->vals[i]);
	SPI_finish();
}

/* Has the row at hand in values, until cursor_pass; false: there is none left. */
static bool
cursor_look(RowCursor *cursor)
{
	if (cursor->ready)
		return true;
	if (cursor->next >= cursor->count && !cursor->ended)
		cursor_fetch(cursor);
	if (cursor->ended)
		return false;
	heap_deform_tuple(cursor->rows[cursor->next], cursor->descriptor, cursor->values,
					  cursor->nulls);
	cursor->ready = true;
	return true;
}

/* The row stays in memory until the next one is looked at. */
static void
cursor_pass(RowCursor *cursor)
{
	cursor->next++;
	cursor->ready = false;
}

/* ---- keys ---- */

static int
compare_keys(const pg_uuid_t *a_id, const text *a_account, const pg_uuid_t *b_id,
			 const text *b_account)
{
	int order = memcmp(a_id, b_id, UUID_LEN);

	return order != 0 ? order : account_compare(a_account, b_account);
}

/* account_ids are short, so they are never stored elsewhere or compressed. */
static const text *
account_of(const RowCursor *cursor)
{
	return DatumGetTextPP(cursor->values[COLUMN_ACCOUNT_ID]);
}

static const pg_uuid_t *
id_of(const RowCursor *cursor)
{
	return DatumGetUUIDP(cursor->values[COLUMN_CONVERSATION_ID]);
}

static int
compare_with_key(const RowCursor *cursor, const ExportKey *key)
{
	return compare_keys(id_of(cursor), account_of(cursor), &key->conversation_id, key->account_id);
}

/* What the statement's range has not left out. */
static bool
in_scope(const RowCursor *cursor, const ExportScope *scope)
{
	return (scope->after == NULL || compare_with_key(cursor, scope->after) > 0) &&
		   (scope->account_id == NULL || account_same(account_of(cursor), scope->account_id)) &&
		   (!scope->has_since ||
			DatumGetTimestampTz(cursor->values[COLUMN_UPDATED_AT]) >= scope->since);
}

/* ---- one conversation ---- */

static TransferText
text_of(const char *data, uint32 length)
{
	TransferText result = {data, length};

	return result;
}

static TransferText
column_text(const RowCursor *cursor, int column)
{
	text *bytes;

	if (cursor->nulls[column])
		return text_of(NULL, 0);
	bytes = DatumGetTextPP(cursor->values[column]);
	return text_of(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
}

static void
read_columns(const RowCursor *cursor, TransferConversation *conversation)
{
	const Datum *values = cursor->values;
	const char *name = store_uuid_string(id_of(cursor));

	memset(conversation, 0, sizeof(*conversation));
	conversation->source_id = text_of(name, strlen(name));
	conversation->account_id = column_text(cursor, COLUMN_ACCOUNT_ID);
	conversation->title = column_text(cursor, COLUMN_TITLE);
	if (!cursor->nulls[COLUMN_METADATA])
		conversation->metadata = DatumGetJsonbP(values[COLUMN_METADATA]);
	conversation->archived = DatumGetBool(values[COLUMN_ARCHIVED]);
	conversation->created_at = DatumGetTimestampTz(values[COLUMN_CREATED_AT]);
	conversation->updated_at = DatumGetTimestampTz(values[COLUMN_UPDATED_AT]);
	conversation->has_created_at = conversation->has_updated_at = true;
}

static void
take_messages(const TransferFormat *format, TransferConversation *conversation,
			  const StoredMessages *all)
{
	TranscriptMessage *stored = all->messages;
	int32 n = all->count;

	conversation->count = n;
	conversation->messages =
		MemoryContextAllocHuge(CurrentMemoryContext, mul_size(Max(n, 1), sizeof(TransferMessage)));
	for (int32 i = 0; i < n; i++)
	{
		const TranscriptMessage *from = &stored[i];
		TransferMessage *to = &conversation->messages[i];
		const TranscriptMessage *parent = NULL;

		CHECK_FOR_INTERRUPTS();
		memset(to, 0, sizeof(*to));
		to->seq = from->seq;
		if (i > 0 && stored[i - 1].seq == from->parent_seq)
			parent = &stored[i - 1];
		else if (from->parent_seq > 0)
			parent = store_find_message(stored, i, from->parent_seq);
		to->parent = parent == NULL ? TRANSFER_PARENT_ROOT : (int32) (parent - stored);
		to->tokens = from->tokens;
		to->role = text_of(from->role, from->role_len);
		to->content = text_of(from->content, from->content_len);
		to->model = text_of(from->model, from->model_len);
		to->message_id = text_of(from->message_id, from->message_id_len);
		to->created_at = from->created_at;
		to->has_created_at = from->has_created_at;
		to->metadata_text = text_of(from->metadata, from->metadata_len);
		if (from->metadata != NULL && !format->metadata_as_text)
			to->metadata = DatumGetJsonbP(
				DirectFunctionCall1(jsonb_in,
									CStringGetDatum(pnstrdup(from->metadata, from->metadata_len))));
	}
}

static void
add_tail(StoredMessages *stored, const RowCursor *conversation)
{
	MemoryContext context = CurrentMemoryContext;

	SPI_connect();
	MemoryContextSwitchTo(context);
	stored_add_tail(stored, id_of(conversation), unconstify(text *, account_of(conversation)),
					true);
	SPI_finish();
}

static void
read_messages(ExportReader *reader, TransferConversation *conversation)
{
	RowCursor *row = &reader->conversations;
	RowCursor *segment = &reader->segments;
	int64 head_seq = DatumGetInt64(row->values[COLUMN_HEAD_SEQ]);
	StoredMessages stored = {0};
	TranscriptMessage *head;

	/* segments of conversations that are passed over come first */
	while (cursor_look(segment))
	{
		int order = compare_keys(id_of(segment), account_of(segment), id_of(row), account_of(row));

		CHECK_FOR_INTERRUPTS();
		if (order > 0)
			break;
		if (order == 0)
			stored_add_segment(&stored, segment->values[COLUMN_BODY]);
		cursor_pass(segment);
	}
	if (DatumGetInt32(row->values[COLUMN_TAIL_COUNT]) > 0)
		add_tail(&stored, row);

	take_messages(reader->scope.format, conversation, &stored);
	head = stored.count > 0 ? store_find_message(stored.messages, stored.count, head_seq) : NULL;
	conversation->head = head == NULL ? -1 : (int32) (head - stored.messages);
}

/* ---- what export.c calls ---- */

/*
 * Begins to read the conversations of the scope, under the active snapshot; the
 * reader is in the current memory context.
 */
ExportReader *
export_read_begin(const ExportScope *scope)
{
	ExportReader *reader = palloc0(sizeof(ExportReader));
	pg_uuid_t first = {{0}};
	pg_uuid_t last;
	Datum values[READ_PARAMETERS];
	char nulls[READ_PARAMETERS];
	ReadStatements *statements;

	reader->scope = *scope;
	memset(nulls, ' ', sizeof(nulls));
	memset(&last, 0xFF, sizeof(last));
	if (scope->after != NULL)
		first = scope->after->conversation_id;
	if (scope->last != NULL)
		last = scope->last->conversation_id;
	if (scope->conversation_id != NULL)
		first = last = *scope->conversation_id;
	values[FIRST_ID] = UUIDPGetDatum(&first);
	values[LAST_ID] = UUIDPGetDatum(&last);
	values[CHANGED_SINCE] = TimestampTzGetDatum(scope->since);
	nulls[CHANGED_SINCE] = scope->has_since ? ' ' : 'n';
	values[OF_ACCOUNT] = PointerGetDatum(scope->account_id);

	/* of one conversation, whose range is exact, the rest is compared here */
	if (scope->conversation_id != NULL)
		statements = &read_all;
	else if (scope->account_id != NULL)
		statements = &read_account;
	else
		statements = scope->has_since ? &read_changed : &read_all;
	cursor_open(&reader->conversations, &statements->conversations, values, nulls);
	cursor_open(&reader->segments, &statements->segments, values, nulls);
	return reader;
}

/* The next conversation, in the current context; false: there are no more. */
bool
export_read(ExportReader *reader, TransferConversation *conversation)
{
	RowCursor *row = &reader->conversations;

	for (; cursor_look(row); cursor_pass(row))
	{
		CHECK_FOR_INTERRUPTS();
		if (reader->scope.last != NULL && compare_with_key(row, reader->scope.last) > 0)
			return false;
		if (!in_scope(row, &reader->scope))
			continue;
		read_columns(row, conversation);
		read_messages(reader, conversation);
		cursor_pass(row);
		return true;
	}
	return false;
}

/* Closes the cursors. */
void
export_read_end(ExportReader *reader)
{
	cursor_close(&reader->conversations);
	cursor_close(&reader->segments);
}
