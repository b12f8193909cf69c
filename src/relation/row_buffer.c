/*
 * buffer.c
 *		The rows of a statement that writes to a relation, gathered and sorted
 *		until they are written.
 *
 * Rows are written in order of account, conversation and seq: so locks are taken
 * in key order, interleaved conversations are packed well, and memory is bounded
 * (row_sort.c).  What a statement knows of the accounts and conversations that
 * it writes to stands here as well: locks, holds on quotas, numbers given.
 *
 * A buffer belongs to the executor's node and lives in a memory context below
 * the query's; nothing is left to be done when the statement fails.
 */
#include "postgres.h"

#include "commands/copy.h"
#include "commands/copyfrom_internal.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "memory_limits.h"
#include "relation_private.h"

typedef struct BufferedAccount
{
	char account[MEMORY_MAX_ACCOUNT_ID_BYTES + 1]; /* hash key */
	char *subscription_id;                         /* NULL: not asked for yet */
	bool locked;                                   /* the subscription is, so it has a plan */
	QuotaHold *hold;     /* of a subscription that several accounts share */
	StoreAccount *state; /* NULL: not locked yet */
} BufferedAccount;

typedef struct NumberingKey
{
	pg_uuid_t id;
	char account[MEMORY_MAX_ACCOUNT_ID_BYTES + 1]; /* zeros behind its end */
} NumberingKey;

typedef struct NumberingEntry
{
	NumberingKey key;
	RowNumbering numbering;
} NumberingEntry;

/* Lives in the query's context; context holds all that is gone when it is emptied. */
struct RowBuffer
{
	MemoryContext context;
	TupleDesc row;
	bool bundled;
	int64 ordinal;                 /* of the last row in the statement */
	RowSort *sort;                 /* NULL: no row has come */
	int64 rows;                    /* in it */
	HTAB *accounts;                /* those of the buffered rows */
	BufferedAccount *last_account; /* of the last row */
	HTAB *conversations;           /* numbered before they are written */
	List *holds;                   /* those of the accounts, to be saved at the end */
};

/*
 * row_buffer_create
 *		An empty buffer in the current memory context, which is the query's.
 *		row: the columns that its rows have, beginning with those of
 *		RowBufferColumn.  bundled: see row_sort_begin.
 */
RowBuffer *
row_buffer_create(TupleDesc row, bool bundled)
{
	RowBuffer *buffer = palloc0(sizeof(RowBuffer));

	buffer->context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext statement", ALLOCSET_DEFAULT_SIZES);
	buffer->row = row;
	buffer->bundled = bundled;
	return buffer;
}

/* Forgets the rows and what is known of their accounts: all is written, charged and saved. */
void
row_buffer_empty(RowBuffer *buffer)
{
	if (buffer->sort != NULL)
		row_sort_end(buffer->sort);
	MemoryContextReset(buffer->context);
	buffer->sort = NULL;
	buffer->rows = 0;
	buffer->accounts = NULL;
	buffer->last_account = NULL;
	buffer->conversations = NULL;
	buffer->holds = NIL;
}

/*
 * COPY's line, when COPY itself calls the row trigger: then its error
 * callback is the innermost one.
 */
static bool
copy_line(int64 *line)
{
	if (error_context_stack == NULL || error_context_stack->callback != CopyFromErrorCallback)
		return false;
	*line = (int64) ((CopyFromState) error_context_stack->arg)->cur_lineno;
	return true;
}

static void note_account(RowBuffer *buffer, const text *account_id);

/*
 * Adds a row, which is copied: the caller fills in account, conversation, seq,
 * changed and the payload.
 */
void
row_buffer_put(RowBuffer *buffer, Datum *values, bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(buffer->context);
	int64 line;

	if (buffer->sort == NULL)
		buffer->sort = row_sort_begin(buffer->row, buffer->bundled);

	buffer->rows++;
	buffer->ordinal++;
	values[BUFFER_ORDINAL] = Int64GetDatum(buffer->ordinal);
	nulls[BUFFER_ORDINAL] = false;
	nulls[BUFFER_LINE] = !copy_line(&line);
	if (!nulls[BUFFER_LINE])
		values[BUFFER_LINE] = Int64GetDatum(line);

	note_account(buffer, DatumGetTextPP(values[BUFFER_ACCOUNT]));
	row_sort_put(buffer->sort, values, nulls);
	MemoryContextSwitchTo(old);
}

/* The next row in order of account, conversation, seq, until the next call; false at the end. */
bool
row_buffer_next(RowBuffer *buffer, TupleTableSlot **slot)
{
	return buffer->sort != NULL && row_sort_next(buffer->sort, slot);
}

/* The rows, for who wants them run by run; NULL: there are none. */
RowSort *
row_buffer_sort(RowBuffer *buffer)
{
	return buffer->sort;
}

/* How many rows there are. */
int64
row_buffer_rows(const RowBuffer *buffer)
{
	return buffer->rows;
}

/* What lives until the buffer is emptied. */
MemoryContext
row_buffer_context(const RowBuffer *buffer)
{
	return buffer->context;
}

/* The statement's entry of an account; its state is NULL until it is locked. */
static BufferedAccount *
account_entry(RowBuffer *buffer, const text *account_id)
{
	char name[MEMORY_MAX_ACCOUNT_ID_BYTES + 1];
	BufferedAccount *account;
	bool found;

	if (buffer->accounts == NULL)
	{
		HASHCTL control = {0};

		control.keysize = sizeof(name);
		control.entrysize = sizeof(BufferedAccount);
		control.hcxt = buffer->context;
		buffer->accounts = hash_create("memory_ext accounts", 16, &control,
									   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	text_to_cstring_buffer(account_id, name, sizeof(name));
	account = hash_search(buffer->accounts, name, HASH_ENTER, &found);
	if (!found)
	{
		account->state = NULL;
		account->hold = NULL;
		account->locked = false;
		account->subscription_id = NULL;
	}
	return account;
}

/* Notes the account of a buffered row; rows of one account come in runs. */
static void
note_account(RowBuffer *buffer, const text *account_id)
{
	Size length = VARSIZE_ANY_EXHDR(account_id);
	BufferedAccount *last = buffer->last_account;

	if (last == NULL || strlen(last->account) != length ||
		memcmp(last->account, VARDATA_ANY(account_id), length) != 0)
		buffer->last_account = account_entry(buffer, account_id);
}

static int
compare_subscription(const void *a, const void *b)
{
	return strcmp((*(BufferedAccount *const *) a)->subscription_id,
				  (*(BufferedAccount *const *) b)->subscription_id);
}

/*
 * Locks the subscription of n > 0 accounts.  Where they are several its counters
 * are read once and saved once, at the end: each version of a row that one
 * transaction writes makes the next one dearer.
 */
static void
lock_subscription(RowBuffer *buffer, BufferedAccount **accounts, int n)
{
	MemoryContext old;
	QuotaHold *hold;

	if (n == 1)
	{
		accounts[0]->locked = quota_lock(accounts[0]->subscription_id);
		return;
	}
	old = MemoryContextSwitchTo(buffer->context);
	hold = quota_begin_on(accounts[0]->subscription_id, accounts[0]->account);
	if (hold != NULL)
		buffer->holds = lappend(buffer->holds, hold);
	MemoryContextSwitchTo(old);
	for (int i = 0; i < n; i++)
	{
		accounts[i]->hold = hold;
		accounts[i]->locked = hold != NULL;
	}
}

/*
 * Locks the subscriptions of all the statement's accounts, in key order, before
 * the first account: two bulk statements cannot wait for each other.  Needs an
 * SPI connection.
 */
void
row_buffer_lock_subscriptions(RowBuffer *buffer)
{
	HASH_SEQ_STATUS scan;
	BufferedAccount *account;
	BufferedAccount **accounts;
	MemoryContext scratch;
	MemoryContext old;
	int n = 0;

	if (buffer->accounts == NULL || !quota_active())
		return;
	scratch = AllocSetContextCreate(CurrentMemoryContext, "memory_ext subscriptions",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	accounts =
		MemoryContextAllocHuge(buffer->context, mul_size(hash_get_num_entries(buffer->accounts),
														 sizeof(BufferedAccount *)));
	hash_seq_init(&scan, buffer->accounts);
	while ((account = hash_seq_search(&scan)) != NULL)
		accounts[n++] = account;
	for (int i = 0; i < n; i++)
	{
		accounts[i]->subscription_id =
			MemoryContextStrdup(buffer->context,
								quota_subscription_of(accounts[i]->account, false));
		MemoryContextReset(scratch);
	}
	qsort(accounts, n, sizeof(BufferedAccount *), compare_subscription);
	for (int first = 0, next; first < n; first = next)
	{
		CHECK_FOR_INTERRUPTS();
		for (next = first + 1; next < n; next++)
			if (compare_subscription(&accounts[first], &accounts[next]) != 0)
				break;
		lock_subscription(buffer, accounts + first, next - first);
		MemoryContextReset(scratch);
	}
	pfree(accounts);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

/* Writes the counters that several of the statement's accounts have charged. */
void
row_buffer_save_subscriptions(RowBuffer *buffer)
{
	ListCell *cell;

	foreach (cell, buffer->holds)
		if (((QuotaHold *) lfirst(cell))->changed)
			quota_save((QuotaHold *) lfirst(cell));
}

/*
 * The statement's hold on the account; locks the account when this is the
 * statement's first use of it, its subscription before it.  Lives until the
 * buffer is emptied.  NULL: it does not exist, and was not to be made.  Needs an
 * SPI connection.
 */
StoreAccount *
row_buffer_lock_account(RowBuffer *buffer, text *account_id, bool make)
{
	BufferedAccount *account = account_entry(buffer, account_id);

	if (account->state == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(buffer->context);

		if (account->subscription_id == NULL && quota_active())
		{
			account->subscription_id = quota_subscription_of(account->account, false);
			account->locked = quota_lock(account->subscription_id);
		}
		account->state =
			store_lock_account(cstring_to_text(account->account),
							   account->locked ? account->subscription_id : NULL, make);
		MemoryContextSwitchTo(old);
		if (account->state == NULL)
			return NULL;
	}
	/* a row that needed its number may have locked the account before the hold began */
	if (account->state->charged && account->hold != NULL)
	{
		account->state->hold = account->hold;
		account->state->shared = true;
	}
	return account->state;
}

/* The statement's numbering of a conversation, which is new at its first use. */
RowNumbering *
row_buffer_numbering(RowBuffer *buffer, const pg_uuid_t *id, const text *account_id)
{
	NumberingKey key;
	NumberingEntry *entry;
	bool found;

	if (buffer->conversations == NULL)
	{
		HASHCTL control = {0};

		control.keysize = sizeof(NumberingKey);
		control.entrysize = sizeof(NumberingEntry);
		control.hcxt = buffer->context;
		buffer->conversations = hash_create("memory_ext numbering", 64, &control,
											HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	memset(&key, 0, sizeof(key));
	key.id = *id;
	text_to_cstring_buffer(account_id, key.account, sizeof(key.account));
	entry = hash_search(buffer->conversations, &key, HASH_ENTER, &found);
	if (!found)
	{
		memset(&entry->numbering, 0, sizeof(entry->numbering));
		entry->numbering.next_seq = 1;
	}
	return &entry->numbering;
}

/* Bit n of the result: column n differs between the old and the new row. */
int32
row_buffer_changed_columns(TupleDesc descriptor, const Datum *old, const bool *old_nulls,
						   const Datum *values, const bool *nulls)
{
	int32 changed = 0;

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(descriptor, i);

		if (old_nulls[i] != nulls[i] ||
			(!old_nulls[i] && !datum_image_eq(old[i], values[i], column->attbyval, column->attlen)))
			changed |= 1 << i;
	}
	return changed;
}

static void
row_buffer_error_context(void *arg)
{
	RowErrorContext *where = (RowErrorContext *) arg;

	if (where->line > 0)
		errcontext("COPY %s, line " INT64_FORMAT, where->relation, where->line);
	else if (where->ordinal > 0)
		errcontext("row " INT64_FORMAT " of the statement on memory.%s", where->ordinal,
				   where->relation);
}

/* From here on errors tell the place of the row that row_buffer_locate names. */
void
row_buffer_push_error_context(RowErrorContext *where, const char *relation)
{
	where->relation = relation;
	where->ordinal = 0;
	where->line = 0;
	where->callback.callback = row_buffer_error_context;
	where->callback.arg = where;
	where->callback.previous = error_context_stack;
	error_context_stack = &where->callback;
}

/*
 * Notes which row of the statement an error would be of, and its line if COPY
 * gave it one (0: it did not).
 */
void
row_buffer_locate(RowErrorContext *where, TupleTableSlot *slot)
{
	where->ordinal = DatumGetInt64(slot->tts_values[BUFFER_ORDINAL]);
	where->line = slot->tts_isnull[BUFFER_LINE] ? 0 : DatumGetInt64(slot->tts_values[BUFFER_LINE]);
}

/* Takes the context of errors off the stack that row_buffer_push_error_context has put there. */
void
row_buffer_pop_error_context(RowErrorContext *where)
{
	error_context_stack = where->callback.previous;
}
