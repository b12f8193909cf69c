/*
 * lookahead.c
 *		Reading ahead in the rows of a bulk INSERT.
 *
 * To look up each row's conversation by itself costs more than the row.  So the
 * rows are taken from the buffer a window at a time: their accounts are locked,
 * in key order as ever, then one statement reads the conversations that are
 * there already.  What it read holds until the window's end, because nobody
 * else writes to an account that is locked.
 *
 * A lookahead owns a context, emptied with each window: the rows of the window
 * live there; what was read for them is SPI's, and freed then, too.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "buffer.h"
#include "store.h"

#define WINDOW_CONVERSATIONS 256
#define WINDOW_ROWS 4096
#define WINDOW_BYTES (2 * 1024 * 1024)

struct StoreLookahead
{
	StatementBuffer *buffer;
	StoreQueue *queue; /* written before a window's conversations are read */
	MemoryContext owner;
	MemoryContext context;
	TupleTableSlot *slot;
	MinimalTuple held;    /* a row of the next window, in owner; NULL: none */
	MinimalTuple *tuples; /* the window's, in context */
	int ntuples;
	int next;
	pg_uuid_t ids[WINDOW_CONVERSATIONS];
	int nids;
	StoreKnown known; /* rows in context */
};

/* A lookahead in the current memory context, where it lives as long as its rows are read. */
StoreLookahead *
lookahead_create(StatementBuffer *buffer, StoreQueue *queue)
{
	StoreLookahead *ahead = palloc0(sizeof(StoreLookahead));

	ahead->buffer = buffer;
	ahead->queue = queue;
	ahead->owner = CurrentMemoryContext;
	ahead->context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext lookahead", ALLOCSET_DEFAULT_SIZES);
	return ahead;
}

/*
 * Takes the row's conversation into the window.  False: there is no more room,
 * or the window has the id already, for another account: that one must be
 * written before this one can be refused.
 */
static bool
add_conversation(StoreLookahead *ahead, TupleTableSlot *row, text *account_id, text *last_account)
{
	pg_uuid_t *id = DatumGetUUIDP(row->tts_values[BUFFER_CONVERSATION]);

	if (ahead->nids > 0 && memcmp(&ahead->ids[ahead->nids - 1], id, UUID_LEN) == 0 &&
		account_same(account_id, last_account))
		return true;
	if (ahead->nids == WINDOW_CONVERSATIONS)
		return false;
	for (int i = 0; i < ahead->nids; i++)
		if (memcmp(&ahead->ids[i], id, UUID_LEN) == 0)
			return false;
	ahead->ids[ahead->nids++] = *id;
	return true;
}

/* The next row of the buffer, or the one that did not fit into the last window. */
static bool
next_row(StoreLookahead *ahead, TupleTableSlot **row)
{
	if (ahead->held == NULL)
		return buffer_next(ahead->buffer, row);
	ExecForceStoreMinimalTuple(ahead->held, ahead->slot, false);
	slot_getallattrs(ahead->slot);
	*row = ahead->slot;
	return true;
}

static void
release_held(StoreLookahead *ahead)
{
	if (ahead->held == NULL)
		return;
	ExecClearTuple(ahead->slot);
	pfree(ahead->held);
	ahead->held = NULL;
}

static void
make_slot(StoreLookahead *ahead, TupleDesc descriptor)
{
	MemoryContext old = MemoryContextSwitchTo(ahead->owner);

	ahead->slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsMinimalTuple);
	MemoryContextSwitchTo(old);
}

/* Fills the window; locks its accounts. */
static void
read_rows(StoreLookahead *ahead)
{
	text *last_account = NULL;
	TupleTableSlot *row;
	Size bytes = 0;

	ahead->tuples = palloc(WINDOW_ROWS * sizeof(MinimalTuple));
	while (ahead->ntuples < WINDOW_ROWS && bytes < WINDOW_BYTES && next_row(ahead, &row))
	{
		text *account_id = DatumGetTextPP(row->tts_values[BUFFER_ACCOUNT]);
		MinimalTuple tuple;

		CHECK_FOR_INTERRUPTS();
		if (ahead->slot == NULL)
			make_slot(ahead, row->tts_tupleDescriptor);
		if (!add_conversation(ahead, row, account_id, last_account))
		{
			MemoryContext old = MemoryContextSwitchTo(ahead->owner);

			if (ahead->held == NULL)
				ahead->held = ExecCopySlotMinimalTuple(row);
			MemoryContextSwitchTo(old);
			break;
		}
		if (last_account == NULL || !account_same(account_id, last_account))
			last_account = buffer_lock_account(ahead->buffer, account_id, true)->account_id;
		tuple = ExecCopySlotMinimalTuple(row);
		bytes += tuple->t_len;
		ahead->tuples[ahead->ntuples++] = tuple;
		release_held(ahead);
	}
}

static void
next_window(StoreLookahead *ahead)
{
	MemoryContext old;

	store_queue_write(ahead->queue);
	SPI_freetuptable(ahead->known.rows);
	ahead->known.rows = NULL;
	if (ahead->slot != NULL)
		ExecClearTuple(ahead->slot);
	MemoryContextReset(ahead->context);
	ahead->ntuples = 0;
	ahead->next = 0;
	ahead->nids = 0;
	old = MemoryContextSwitchTo(ahead->context);
	read_rows(ahead);
	store_read_known(ahead->ids, ahead->nids, &ahead->known);
	MemoryContextSwitchTo(old);
}

/*
 * The next row in order of account, conversation, seq, until the next call;
 * false at the end.  Needs an SPI connection.
 */
bool
lookahead_next(StoreLookahead *ahead, TupleTableSlot **row)
{
	if (ahead->next == ahead->ntuples)
		next_window(ahead);
	if (ahead->next == ahead->ntuples)
		return false;
	ExecForceStoreMinimalTuple(ahead->tuples[ahead->next++], ahead->slot, false);
	slot_getallattrs(ahead->slot);
	*row = ahead->slot;
	return true;
}

/* What was read of the conversations of the row at hand. */
const StoreKnown *
lookahead_known(const StoreLookahead *ahead)
{
	return &ahead->known;
}

void
lookahead_end(StoreLookahead *ahead)
{
	if (ahead->slot != NULL)
		ExecDropSingleTupleTableSlot(ahead->slot);
	SPI_freetuptable(ahead->known.rows);
	MemoryContextDelete(ahead->context);
	pfree(ahead);
}
