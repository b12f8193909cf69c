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

/* Rows of one statement; their values live in the queue's context. */
typedef struct QueueRows
{
	PlanStatement *statement;
	DirectTable *table;
	const int *places; /* the table's column of each of the statement's parameters */
	const Oid *types;
	int ncolumns;
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

static const Oid segment_types[STORE_SEGMENT_COLUMNS] = {UUIDOID, TEXTOID, INT8OID,
														 INT8OID, INT8OID, STATEMENT_TRANSCRIPT,
														 BYTEAOID};
static const Oid conversation_types[STORE_CONVERSATION_COLUMNS] =
	{UUIDOID, TEXTOID, INT8OID,        INT8OID,        INT8OID, INT8OID, INT8OID,  INT8OID,
	 INT4OID, BOOLOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, TEXTOID, JSONBOID, BOOLOID};

static const int segment_places[STORE_SEGMENT_COLUMNS] =
	{SEGMENT_CONVERSATION_ID, SEGMENT_ACCOUNT_ID, SEGMENT_FIRST_SEQ,  SEGMENT_LAST_SEQ,
	 SEGMENT_REVISION,        SEGMENT_BODY,       SEGMENT_MESSAGE_IDS};
static const int conversation_places[STORE_CONVERSATION_COLUMNS] = {CONVERSATION_ID,
																	CONVERSATION_ACCOUNT_ID,
																	CONVERSATION_NEXT_SEQ,
																	CONVERSATION_HEAD_SEQ,
																	CONVERSATION_MESSAGE_COUNT,
																	CONVERSATION_TOKEN_COUNT,
																	CONVERSATION_CONTENT_BYTES,
																	CONVERSATION_TAIL_BYTES,
																	CONVERSATION_TAIL_COUNT,
																	CONVERSATION_BRANCHED,
																	CONVERSATION_CREATED_AT,
																	CONVERSATION_UPDATED_AT,
																	CONVERSATION_REVISION,
																	CONVERSATION_TITLE,
																	CONVERSATION_METADATA,
																	CONVERSATION_ARCHIVED};

static void
init_rows(QueueRows *rows, PlanStatement *statement, DirectTable *table, const int *places,
		  const Oid *types, int ncolumns)
{
	rows->statement = statement;
	rows->table = table;
	rows->places = places;
	rows->types = types;
	rows->ncolumns = ncolumns;
}

/* clang-format off */
static PlanStatement conversations_insert_statement = {
	"INSERT INTO memory_store.conversations (conversation_id, account_id, next_seq,"
	" head_seq, message_count, token_count, content_bytes, tail_bytes, tail_count,"
	" branched, created_at, updated_at, revision, title, metadata, archived,"
	" revision_bucket)"
	" SELECT u.*, (u.revision" OP(>>) "10)::pg_catalog.int4"
	" FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
	" $16) u (conversation_id, account_id, next_seq, head_seq, message_count,"
	" token_count, content_bytes, tail_bytes, tail_count, branched, created_at,"
	" updated_at, revision, title, metadata, archived)",
	16,
	{UUIDARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
	 INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, BOOLARRAYOID, TIMESTAMPTZARRAYOID,
	 TIMESTAMPTZARRAYOID, INT8ARRAYOID, TEXTARRAYOID, JSONBARRAYOID, BOOLARRAYOID},
};

static PlanStatement conversations_update_statement = {
	"UPDATE memory_store.conversations c"
	" SET next_seq = u.next_seq, head_seq = u.head_seq,"
	" message_count = u.message_count, token_count = u.token_count,"
	" content_bytes = u.content_bytes, tail_bytes = u.tail_bytes,"
	" tail_count = u.tail_count, branched = u.branched, created_at = u.created_at,"
	" updated_at = u.updated_at, revision = u.revision,"
	" revision_bucket = (u.revision" OP(>>) "10)::pg_catalog.int4"
	" FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,"
	" $13) u (conversation_id, account_id, next_seq, head_seq, message_count,"
	" token_count, content_bytes, tail_bytes, tail_count, branched, created_at,"
	" updated_at, revision)"
	" WHERE c.conversation_id" OP(=) "u.conversation_id"
	" AND c.account_id" OP(=) "u.account_id",
	13,
	{UUIDARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
	 INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, BOOLARRAYOID, TIMESTAMPTZARRAYOID,
	 TIMESTAMPTZARRAYOID, INT8ARRAYOID},
};

static PlanStatement segments_insert_statement = {
	"INSERT INTO memory_store.segments (conversation_id, account_id, first_seq,"
	" last_seq, revision, body, message_ids)"
	" SELECT u.*"
	" FROM unnest($1, $2, $3, $4, $5, $6, $7) u",
	7,
	{UUIDARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
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
	init_rows(&queue->segments, &segments_insert_statement, &store_segments, segment_places,
			  segment_types, STORE_SEGMENT_COLUMNS);
	init_rows(&queue->inserted, &conversations_insert_statement, &store_conversations,
			  conversation_places, conversation_types, STORE_CONVERSATION_COLUMNS);
	init_rows(&queue->updated, &conversations_update_statement, &store_conversations,
			  conversation_places, conversation_types, STORE_CONVERSATION_CHANGING);
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
		row->tts_values[rows->places[i]] = rows->values[i][number];
		row->tts_isnull[rows->places[i]] = rows->nulls[i][number];
	}
	if (rows->table == &store_conversations)
	{
		int64 revision = DatumGetInt64(row->tts_values[CONVERSATION_REVISION]);

		row->tts_values[CONVERSATION_REVISION_BUCKET] =
			Int32GetDatum(CONVERSATION_BUCKET(revision));
		row->tts_isnull[CONVERSATION_REVISION_BUCKET] = false;
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

		store_conversation_keys(keys, DatumGetUUIDP(rows->values[0][i]),
								DatumGetTextPP(rows->values[1][i]));
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
	if (rows->statement == &conversations_update_statement)
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

	for (int i = 0; i < rows->ncolumns; i++)
	{
		Oid type = rows->types[i];

		if (type == STATEMENT_TRANSCRIPT)
			type = statement_transcript_type();
		values[i] = array_datum(type, rows->values[i], rows->nulls[i], rows->count);
	}
	plan_execute(rows->statement, values, NULL, false);
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

		rows->nulls[i][rows->count] = nulls[i] == 'n';
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
		if (memcmp(DatumGetUUIDP(queue->inserted.values[0][i]), id, UUID_LEN) == 0 &&
			account_same(DatumGetTextPP(queue->inserted.values[1][i]), account_id))
			return true;
	return false;
}
