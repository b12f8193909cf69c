/*
 * lookahead.c
 *		Reading ahead in the rows of a bulk INSERT.
 *
 * To look up each row's conversation by itself costs more than the row.  So the
 * rows are taken from the buffer a window at a time, in their runs: their
 * accounts are locked, in key order as ever, then one statement reads the
 * conversations that are there already.  What it read holds until the window's
 * end, because nobody else writes to an account that is locked.
 *
 * A lookahead owns a context, emptied with each window: the runs of the window
 * live there; what was read for them is SPI's, and freed then, too.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "relation_private.h"

#define WINDOW_CONVERSATIONS 256
#define WINDOW_RUNS 4096
#define WINDOW_BYTES (2 * 1024 * 1024)

struct Lookahead
{
	RowBuffer *buffer;
	RowSort *sort;     /* the buffer's; NULL: it has no rows */
	StoreQueue *queue; /* written before a window's conversations are read */
	MemoryContext context;
	RowRun *runs; /* the window's, their rows in context */
	int nruns;
	int next;                            /* the run whose rows are given out */
	StoreKey keys[WINDOW_CONVERSATIONS]; /* their account ids are the buffer's */
	int nkeys;
	ExistingConversations existing;
};

/* A lookahead in the current memory context, where it lives as long as its rows are read. */
Lookahead *
lookahead_create(RowBuffer *buffer, StoreQueue *queue)
{
	Lookahead *ahead = palloc0(sizeof(Lookahead));

	ahead->buffer = buffer;
	ahead->sort = row_buffer_sort(buffer);
	ahead->queue = queue;
	ahead->context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext lookahead", ALLOCSET_DEFAULT_SIZES);
	ahead->runs = palloc(WINDOW_RUNS * sizeof(RowRun));
	return ahead;
}

/* Takes the run's conversation into the window, and locks its account.  False: it is full. */
static bool
add_conversation(Lookahead *ahead, const pg_uuid_t *id, text *account_id)
{
	StoreKey *last = ahead->nkeys > 0 ? &ahead->keys[ahead->nkeys - 1] : NULL;
	bool same_account = last != NULL && account_same(account_id, last->account_id);
	StoreKey *next;

	if (same_account && memcmp(&last->id, id, UUID_LEN) == 0)
		return true;
	if (ahead->nkeys == WINDOW_CONVERSATIONS)
		return false;
	next = &ahead->keys[ahead->nkeys++];
	next->id = *id;
	next->account_id = same_account
						   ? last->account_id
						   : row_buffer_lock_account(ahead->buffer, account_id, true)->account_id;
	return true;
}

/* Fills the window; locks its accounts. */
static void
read_runs(Lookahead *ahead)
{
	text *account_id;
	pg_uuid_t id;
	Size bytes = 0;

	while (ahead->sort != NULL && ahead->nruns < WINDOW_RUNS && bytes < WINDOW_BYTES &&
		   row_sort_peek(ahead->sort, &account_id, &id))
	{
		RowRun *run = &ahead->runs[ahead->nruns];

		CHECK_FOR_INTERRUPTS();
		if (!add_conversation(ahead, &id, account_id))
			break;
		row_sort_take(ahead->sort, run);
		bytes += run->size;
		ahead->nruns++;
	}
}

static void
next_window(Lookahead *ahead)
{
	MemoryContext old;

	store_queue_write(ahead->queue);
	SPI_freetuptable(ahead->existing.rows);
	ahead->existing.rows = NULL;
	MemoryContextReset(ahead->context);
	ahead->nruns = 0;
	ahead->next = 0;
	ahead->nkeys = 0;
	old = MemoryContextSwitchTo(ahead->context);
	read_runs(ahead);
	store_read_existing(ahead->keys, ahead->nkeys, &ahead->existing);
	MemoryContextSwitchTo(old);
}

/*
 * The next row in order of account, conversation, seq, until the next call;
 * false at the end.  Needs an SPI connection.
 */
bool
lookahead_next(Lookahead *ahead, TupleTableSlot **row)
{
	while (ahead->next < ahead->nruns)
	{
		if (row_sort_next_of(ahead->sort, &ahead->runs[ahead->next], row))
			return true;
		ahead->next++;
	}
	next_window(ahead);
	return ahead->nruns > 0 && row_sort_next_of(ahead->sort, &ahead->runs[0], row);
}

/* What was read of the conversations of the row at hand. */
const ExistingConversations *
lookahead_existing(const Lookahead *ahead)
{
	return &ahead->existing;
}

/* Frees the window and the rows that it has read ahead. */
void
lookahead_end(Lookahead *ahead)
{
	SPI_freetuptable(ahead->existing.rows);
	MemoryContextDelete(ahead->context);
	pfree(ahead->runs);
	pfree(ahead);
}
