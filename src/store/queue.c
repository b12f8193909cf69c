/*
 * queue.c
 *		Rows of a bulk statement, written many at a time.
 *
 * A bulk load writes one segment and one row for each conversation; a statement
 * for each costs more than the rows themselves.  The queue gathers them into
 * arrays and writes them with one statement a kind.  Whoever reads rows that
 * may be queued writes the queue first.
 *
 * The queue owns a context, emptied at each write.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "store.h"

#define QUEUE_ROWS 256
#define QUEUE_BYTES (4 * 1024 * 1024)

/* Rows of one statement; their values live in the queue's context. */
typedef struct QueueRows
{
	StoreStatement statement;
	const Oid *types;
	int ncolumns;
	int count;
	Datum values[STORE_CONVERSATION_COLUMNS][QUEUE_ROWS];
	bool nulls[STORE_CONVERSATION_COLUMNS][QUEUE_ROWS];
} QueueRows;

struct StoreQueue
{
	MemoryContext context;
	Size bytes;
	QueueRows segments;
	QueueRows inserted; /* conversations */
	QueueRows updated;  /* likewise */
};

static void
init_rows(QueueRows *rows, StoreStatement statement, const Oid *types, int ncolumns)
{
	rows->statement = statement;
	rows->types = types;
	rows->ncolumns = ncolumns;
}

/* A new queue in the current memory context. */
StoreQueue *
store_queue_create(void)
{
	StoreQueue *queue = palloc0(sizeof(StoreQueue));

	queue->context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext queue", ALLOCSET_DEFAULT_SIZES);
	init_rows(&queue->segments, STORE_SEGMENTS_INSERT, store_segment_types, STORE_SEGMENT_COLUMNS);
	init_rows(&queue->inserted, STORE_CONVERSATIONS_INSERT, store_conversation_types,
			  STORE_CONVERSATION_COLUMNS);
	init_rows(&queue->updated, STORE_CONVERSATIONS_UPDATE, store_conversation_types,
			  STORE_CONVERSATION_CHANGING);
	return queue;
}

static Datum
column_array(Datum *values, bool *nulls, int n, Oid type)
{
	int16 length;
	bool by_value;
	char alignment;
	int lower = 1;

	get_typlenbyvalalign(type, &length, &by_value, &alignment);
	return PointerGetDatum(
		construct_md_array(values, nulls, 1, &n, &lower, type, length, by_value, alignment));
}

static void
write_rows(QueueRows *rows)
{
	Datum values[STORE_CONVERSATION_COLUMNS];

	if (rows->count == 0)
		return;
	for (int i = 0; i < rows->ncolumns; i++)
		values[i] = column_array(rows->values[i], rows->nulls[i], rows->count,
								 OidIsValid(rows->types[i]) ? rows->types[i]
															: store_type_oid("transcript"));
	store_execute(rows->statement, values, NULL, false);
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

/* Copies a statement's parameters; nulls as SPI takes them, or NULL. */
static void
put_row(StoreQueue *queue, QueueRows *rows, const Datum *values, const char *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(queue->context);

	for (int i = 0; i < rows->ncolumns; i++)
	{
		int16 length = -1;
		bool by_value = false;

		rows->nulls[i][rows->count] = nulls != NULL && nulls[i] == 'n';
		rows->values[i][rows->count] = (Datum) 0;
		if (rows->nulls[i][rows->count])
			continue;
		if (OidIsValid(rows->types[i]))
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

/* Queues the parameters of STORE_SEGMENT_INSERT; they are copied. */
void
store_queue_segment(StoreQueue *queue, const Datum *values)
{
	put_row(queue, &queue->segments, values, NULL);
}

/* Queues the parameters of STORE_CONVERSATION_INSERT, or UPDATE if it exists; they are copied. */
void
store_queue_conversation(StoreQueue *queue, const Datum *values, const char *nulls, bool exists)
{
	put_row(queue, exists ? &queue->updated : &queue->inserted, values, nulls);
}

/* Whether the row of a new conversation with this id waits here; NULL is an empty queue. */
bool
store_queue_holds(const StoreQueue *queue, const pg_uuid_t *id)
{
	for (int i = 0; queue != NULL && i < queue->inserted.count; i++)
		if (memcmp(DatumGetUUIDP(queue->inserted.values[0][i]), id, UUID_LEN) == 0)
			return true;
	return false;
}
