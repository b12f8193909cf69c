/*
 * queue.c
 *		Rows of a bulk statement, inserted many at a time.
 *
 * A bulk load writes one segment and one row for each new conversation; a
 * statement for each costs more than the rows themselves.  The queue gathers
 * them into arrays and inserts them with one statement a table.  Whoever reads
 * rows that may be queued writes the queue first.
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

struct StoreQueue
{
	MemoryContext context;
	int nsegments;
	int nconversations;
	Size bytes;
	Datum segments[STORE_SEGMENT_COLUMNS][QUEUE_ROWS];
	Datum conversations[STORE_CONVERSATION_COLUMNS][QUEUE_ROWS];
};

/* A new queue in the current memory context. */
StoreQueue *
store_queue_create(void)
{
	StoreQueue *queue = palloc0(sizeof(StoreQueue));

	queue->context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext queue", ALLOCSET_DEFAULT_SIZES);
	return queue;
}

static Datum
column_array(Datum *values, int n, Oid type)
{
	int16 length;
	bool by_value;
	char alignment;

	get_typlenbyvalalign(type, &length, &by_value, &alignment);
	return PointerGetDatum(construct_array(values, n, type, length, by_value, alignment));
}

static void
insert_rows(StoreStatement id, Datum (*columns)[QUEUE_ROWS], const Oid *types, int ncolumns, int n)
{
	Datum values[STORE_CONVERSATION_COLUMNS];

	for (int i = 0; i < ncolumns; i++)
		values[i] = column_array(columns[i], n,
								 OidIsValid(types[i]) ? types[i] : store_type_oid("transcript"));
	store_execute(id, values, NULL, false);
}

/* Inserts what is queued; NULL is an empty queue.  Needs an SPI connection. */
void
store_queue_write(StoreQueue *queue)
{
	MemoryContext old;

	if (queue == NULL || (queue->nsegments == 0 && queue->nconversations == 0))
		return;
	old = MemoryContextSwitchTo(queue->context);
	if (queue->nsegments > 0)
		insert_rows(STORE_SEGMENTS_INSERT, queue->segments, store_segment_types,
					STORE_SEGMENT_COLUMNS, queue->nsegments);
	if (queue->nconversations > 0)
		insert_rows(STORE_CONVERSATIONS_INSERT, queue->conversations, store_conversation_types,
					STORE_CONVERSATION_COLUMNS, queue->nconversations);
	MemoryContextSwitchTo(old);
	MemoryContextReset(queue->context);
	queue->nsegments = 0;
	queue->nconversations = 0;
	queue->bytes = 0;
}

static void
copy_row(StoreQueue *queue, Datum (*columns)[QUEUE_ROWS], const Oid *types, int ncolumns, int row,
		 const Datum *values)
{
	MemoryContext old = MemoryContextSwitchTo(queue->context);

	for (int i = 0; i < ncolumns; i++)
	{
		int16 length = -1;
		bool by_value = false;

		if (OidIsValid(types[i]))
			get_typlenbyval(types[i], &length, &by_value);
		columns[i][row] = datumCopy(values[i], by_value, length);
		if (length == -1)
			queue->bytes += VARSIZE_ANY(DatumGetPointer(values[i]));
	}
	MemoryContextSwitchTo(old);
}

static void
write_if_full(StoreQueue *queue)
{
	if (queue->nsegments == QUEUE_ROWS || queue->nconversations == QUEUE_ROWS ||
		queue->bytes >= QUEUE_BYTES)
		store_queue_write(queue);
}

/* Queues the parameters of STORE_SEGMENT_INSERT; they are copied. */
void
store_queue_segment(StoreQueue *queue, const Datum *values)
{
	copy_row(queue, queue->segments, store_segment_types, STORE_SEGMENT_COLUMNS, queue->nsegments++,
			 values);
	write_if_full(queue);
}

/* Whether the row of a conversation with this id waits here; NULL is an empty queue. */
bool
store_queue_holds(const StoreQueue *queue, const pg_uuid_t *id)
{
	for (int i = 0; queue != NULL && i < queue->nconversations; i++)
		if (memcmp(DatumGetUUIDP(queue->conversations[0][i]), id, UUID_LEN) == 0)
			return true;
	return false;
}

/* Queues the parameters of STORE_CONVERSATION_INSERT; they are copied. */
void
store_queue_conversation(StoreQueue *queue, const Datum *values)
{
	copy_row(queue, queue->conversations, store_conversation_types, STORE_CONVERSATION_COLUMNS,
			 queue->nconversations++, values);
	write_if_full(queue);
}
