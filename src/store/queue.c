/*
 * queue.c
 *		Rows of a bulk statement, written many at a time.
 *
 * A bulk load writes one segment and one row for each conversation; a statement
 * for each costs more than the rows themselves.  The queue gathers them into
 * arrays and writes them past the executor (direct.h), or, where a table is not
 * as it was made, with one statement a kind.  Whoever reads rows that may be
 * queued writes the queue first.
 *
 * The queue owns a context, emptied at each write.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "arguments.h"
#include "direct.h"
#include "sql_text.h"
#include "statement.h"
#include "store_private.h"
#include "tables.h"

#define QUEUE_ROWS 256
#define QUEUE_BYTES (4 * 1024 * 1024)

/*
 * Rows of one table; their values live in the queue's context.  The statement's
 * parameters are the table's first columns, as arrays.
 */
typedef struct QueueRows
{
	PlanStatement *statement;
	DirectTable *table;
	const Oid *types;
	int ncolumns;
	bool update; /* rows that exist, whose columns of a new row only stay */
	int count;
	Datum values[STORE_CONVERSATION_COLUMNS][QUEUE_ROWS];
	bool nulls[STORE_CONVERSATION_COLUMNS][QUEUE_ROWS];
	ItemPointerData row_places[QUEUE_ROWS]; /* where the rows to be updated were read */
} QueueRows;

struct StoreQueue
{
	MemoryContext context;
	Size bytes;
	QueueRows segments;
	QueueRows inserted; /* conversations */
	QueueRows updated;  /* likewise */
};

static const Oid segment_types[STORE_SEGMENT_COLUMNS] =
	{[SEGMENT_CONVERSATION_ID] = UUIDOID, [SEGMENT_FIRST_SEQ] = INT8OID,
	 [SEGMENT_LAST_SEQ] = INT8OID,        [SEGMENT_REVISION] = INT8OID,
	 [SEGMENT_ACCOUNT_ID] = TEXTOID,      [SEGMENT_BODY] = STATEMENT_TRANSCRIPT,
	 [SEGMENT_MESSAGE_IDS] = BYTEAOID};

static const Oid conversation_types[STORE_CONVERSATION_COLUMNS] =
	{[CONVERSATION_ID] = UUIDOID,
	 [CONVERSATION_NEXT_SEQ] = INT8OID,
	 [CONVERSATION_HEAD_SEQ] = INT8OID,
	 [CONVERSATION_MESSAGE_COUNT] = INT8OID,
	 [CONVERSATION_TOKEN_COUNT] = INT8OID,
	 [CONVERSATION_CONTENT_BYTES] = INT8OID,
	 [CONVERSATION_TAIL_BYTES] = INT8OID,
	 [CONVERSATION_CREATED_AT] = TIMESTAMPTZOID,
	 [CONVERSATION_UPDATED_AT] = TIMESTAMPTZOID,
	 [CONVERSATION_REVISION] = INT8OID,
	 [CONVERSATION_REVISION_BUCKET] = INT4OID,
	 [CONVERSATION_TAIL_COUNT] = INT4OID,
	 [CONVERSATION_BRANCHED] = BOOLOID,
	 [CONVERSATION_ARCHIVED] = BOOLOID,
	 [CONVERSATION_ACCOUNT_ID] = TEXTOID,
	 [CONVERSATION_TITLE] = TEXTOID,
	 [CONVERSATION_METADATA] = JSONBOID};

/* Whether the column of a conversation is written when it is new, and then by others only. */
static bool
stays(const QueueRows *rows, int column)
{
	return rows->update && (column == CONVERSATION_ARCHIVED || column == CONVERSATION_TITLE ||
							column == CONVERSATION_METADATA);
}

static void
init_rows(QueueRows *rows, PlanStatement *statement, DirectTable *table, const Oid *types,
		  int ncolumns, bool update)
{
	rows->statement = statement;
	rows->table = table;
	rows->types = types;
	rows->ncolumns = ncolumns;
	rows->update = update;
}

/* clang-format off */
#define CONVERSATION_ARRAYS \
	{UUIDARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, \
	 INT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID, INT4ARRAYOID, \
	 INT4ARRAYOID, BOOLARRAYOID, BOOLARRAYOID, TEXTARRAYOID, TEXTARRAYOID, JSONBARRAYOID}

static PlanStatement conversations_insert_statement = {
	"INSERT INTO memory_store.conversations (conversation_id, next_seq, head_seq,"
	"   message_count, token_count, content_bytes, tail_bytes, created_at, updated_at,"
	"   revision, revision_bucket, tail_count, branched, archived, account_id, title, metadata)"
	" SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
	"   $16, $17)",
	STORE_CONVERSATION_COLUMNS,
	CONVERSATION_ARRAYS,
};

/* archived, title and metadata, $14, $16 and $17, stay what they are */
static PlanStatement conversations_update_statement = {
	"UPDATE memory_store.conversations c"
	" SET next_seq = u.next_seq, head_seq = u.head_seq, message_count = u.message_count,"
	"   token_count = u.token_count, content_bytes = u.content_bytes,"
	"   tail_bytes = u.tail_bytes, created_at = u.created_at, updated_at = u.updated_at,"
	"   revision = u.revision, revision_bucket = u.revision_bucket,"
	"   tail_count = u.tail_count, branched = u.branched"
	" FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $15)"
	"   u (conversation_id, next_seq, head_seq, message_count, token_count, content_bytes,"
	"     tail_bytes, created_at, updated_at, revision, revision_bucket, tail_count,"
	"     branched, account_id)"
	" WHERE c.conversation_id" OP(=) "u.conversation_id"
	" AND c.account_id" OP(=) "u.account_id",
	STORE_CONVERSATION_COLUMNS,
	CONVERSATION_ARRAYS,
};

static PlanStatement segments_insert_statement = {
	"INSERT INTO memory_store.segments"
	" (conversation_id, first_seq, last_seq, revision, account_id, body, message_ids)"
	" SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)",
	STORE_SEGMENT_COLUMNS,
	{UUIDARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID,
	 STATEMENT_TRANSCRIPT_ARRAY, BYTEAARRAYOID},
};
/* clang-format on */

/* A new queue in the current memory context. */
StoreQueue *
store_queue_create(void)
{
	StoreQueue *queue = palloc0(sizeof(StoreQueue));

	queue->context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext queue", ALLOCSET_DEFAULT_SIZES);
	init_rows(&queue->segments, &segments_insert_statement, &store_segments, segment_types,
			  STORE_SEGMENT_COLUMNS, false);
	init_rows(&queue->inserted, &conversations_insert_statement, &store_conversations,
			  conversation_types, STORE_CONVERSATION_COLUMNS, false);
	init_rows(&queue->updated, &conversations_update_statement, &store_conversations,
			  conversation_types, STORE_CONVERSATION_COLUMNS, true);
	return queue;
}

/* A queued row: where it is, for fill_row. */
typedef struct QueuedRow
{
	const QueueRows *rows;
	int number;
} QueuedRow;

/* Puts what is queued of a row into its columns. */
static bool
fill_row(TupleTableSlot *row, void *arg)
{
	const QueueRows *rows = ((QueuedRow *) arg)->rows;
	int number = ((QueuedRow *) arg)->number;

	for (int i = 0; i < rows->ncolumns; i++)
	{
		if (stays(rows, i))
			continue;
		row->tts_values[i] = rows->values[i][number];
		row->tts_isnull[i] = rows->nulls[i][number];
	}
	return true;
}

static void
insert_rows(DirectRows *direct, const QueueRows *rows)
{
	TupleTableSlot *filled[QUEUE_ROWS];

	for (int i = 0; i < rows->count; i++)
	{
		QueuedRow row = {rows, i};

		filled[i] = direct_new_row(direct);
		memset(filled[i]->tts_isnull, true, rows->table->ncolumns * sizeof(bool));
		(void) fill_row(filled[i], &row);
	}
	direct_insert_all(direct, filled, rows->count);
}

static bool
update_rows(DirectRows *direct, QueueRows *rows)
{
	for (int i = 0; i < rows->count; i++)
	{
		QueuedRow row = {rows, i};
		ScanKeyData keys[2];

		store_conversation_keys(keys, DatumGetUUIDP(rows->values[CONVERSATION_ID][i]),
								DatumGetTextPP(rows->values[CONVERSATION_ACCOUNT_ID][i]));
		if (!(ItemPointerIsValid(&rows->row_places[i])
				  ? direct_change_at(direct, &rows->row_places[i], keys, 2, fill_row, &row)
				  : direct_change(direct, keys, 2, fill_row, &row)))
			return false;
	}
	return true;
}

/* false: the statement is to write the rows, those too that have been written. */
static bool
write_directly(QueueRows *rows)
{
	DirectRows direct;
	bool done = true;

	if (!direct_may_write() || !direct_open(&direct, rows->table, RowExclusiveLock))
		return false;
	if (rows->update)
		done = update_rows(&direct, rows);
	else
		insert_rows(&direct, rows);
	direct_close(&direct);
	CommandCounterIncrement(); /* as SPI does behind each statement that writes */
	return done;
}

static void
write_with_statement(QueueRows *rows)
{
	Datum values[STORE_CONVERSATION_COLUMNS];
	char nulls[STORE_CONVERSATION_COLUMNS];

	for (int i = 0; i < rows->ncolumns; i++)
	{
		Oid type = rows->types[i];

		nulls[i] = stays(rows, i) ? 'n' : ' ';
		if (stays(rows, i))
			continue;
		if (type == STATEMENT_TRANSCRIPT)
			type = statement_transcript_type();
		values[i] = array_datum(type, rows->values[i], rows->nulls[i], rows->count);
	}
	plan_execute(rows->statement, values, nulls, false);
}

static void
write_rows(QueueRows *rows)
{
	if (rows->count > 0 && !write_directly(rows))
		write_with_statement(rows);
	rows->count = 0;
}

/* Writes what is queued; NULL is an empty queue.  Needs an SPI connection. */
void
store_queue_write(StoreQueue *queue)
{
	MemoryContext old;

	if (queue == NULL || queue->segments.count + queue->inserted.count + queue->updated.count == 0)
		return;
	old = MemoryContextSwitchTo(queue->context);
	write_rows(&queue->segments);
	write_rows(&queue->inserted);
	write_rows(&queue->updated);
	MemoryContextSwitchTo(old);
	MemoryContextReset(queue->context);
	queue->bytes = 0;
}

/* Copies a statement's parameters; nulls as SPI takes them. */
static void
put_row(StoreQueue *queue, QueueRows *rows, const Datum *values, const char *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(queue->context);

	for (int i = 0; i < rows->ncolumns; i++)
	{
		int16 length = -1;
		bool by_value = false;

		rows->nulls[i][rows->count] = nulls[i] == 'n' || stays(rows, i);
		rows->values[i][rows->count] = (Datum) 0;
		if (rows->nulls[i][rows->count])
			continue;
		if (rows->types[i] != STATEMENT_TRANSCRIPT)
			get_typlenbyval(rows->types[i], &length, &by_value);
		rows->values[i][rows->count] = datumCopy(values[i], by_value, length);
		if (length == -1)
			queue->bytes += VARSIZE_ANY(DatumGetPointer(values[i]));
	}
	rows->count++;
	MemoryContextSwitchTo(old);
	if (rows->count == QUEUE_ROWS || queue->bytes >= QUEUE_BYTES)
		store_queue_write(queue);
}

/* Queues the parameters of segment_insert_statement; they are copied. */
void
store_queue_segment(StoreQueue *queue, const Datum *values, const char *nulls)
{
	put_row(queue, &queue->segments, values, nulls);
}

/*
 * Queues the parameters of conversation_insert_statement, or of UPDATE if it exists,
 * with the row's place if that is known; they are copied.
 */
void
store_queue_conversation(StoreQueue *queue, const Datum *values, const char *nulls, bool exists,
						 const ItemPointerData *place)
{
	QueueRows *rows = exists ? &queue->updated : &queue->inserted;

	rows->row_places[rows->count] = *place;
	put_row(queue, rows, values, nulls);
}

/* Whether the row of this conversation, a new one, waits here; NULL is an empty queue. */
bool
store_queue_holds(const StoreQueue *queue, const pg_uuid_t *id, const text *account_id)
{
	for (int i = 0; queue != NULL && i < queue->inserted.count; i++)
		if (memcmp(DatumGetUUIDP(queue->inserted.values[CONVERSATION_ID][i]), id, UUID_LEN) == 0 &&
			account_same(DatumGetTextPP(queue->inserted.values[CONVERSATION_ACCOUNT_ID][i]),
						 account_id))
			return true;
	return false;
}
