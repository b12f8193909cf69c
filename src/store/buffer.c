/*
 * buffer.c
 *		Rows of one statement on a view, gathered and sorted.
 *
 * The row triggers of memory.messages and memory.conversations only buffer;
 * the statement's end writes, in order of account, conversation and seq: so
 * locks are taken in key order, interleaved conversations are packed well, and
 * memory is bounded (row_sort.c).
 *
 * A buffer belongs to one statement.  The BEFORE STATEMENT trigger pushes it,
 * the AFTER STATEMENT trigger pops it.  Statements nest: a function called in
 * an INSERT may insert too, and its statement begins and ends inside.  The
 * executor fires one pair of statement triggers for a relation and command at
 * each query level, so the topmost buffer with the trigger's relation and
 * command is the statement's own.  A subtransaction that aborts takes the
 * buffers along that were pushed in it.
 *
 * Each buffer owns a memory context below TopTransactionContext.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/copy.h"
#include "commands/copyfrom_internal.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "buffer.h"
#include "memory_ext.h"
#include "store.h"

typedef struct BufferAccount
{
	char account[MEMORY_MAX_ACCOUNT_ID_BYTES + 1]; /* hash key */
	char *subscription_id;                         /* NULL: not asked for yet */
	bool locked;                                   /* the subscription is, so it has a plan */
	QuotaHold *hold;     /* of a subscription that several accounts share */
	StoreAccount *state; /* NULL: not locked yet */
} BufferAccount;

struct StatementBuffer
{
	slist_node node;
	Oid relation;
	TriggerEvent command;
	SubTransactionId subtransaction;
	MemoryContext context;
	RowSort *sort; /* NULL: no row has come */
	int64 rows;
	HTAB *accounts;              /* those of the buffered rows */
	BufferAccount *last_account; /* of the last row */
	HTAB *conversations;         /* numbered by row triggers */
	List *holds;                 /* those of the accounts, to be saved at the end */
	void *data;                  /* the view's own */
};

static slist_head buffers = SLIST_STATIC_INIT(buffers);

/* Rows that were buffered but never written must not be committed away. */
static void
buffer_at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (!slist_is_empty(&buffers))
				elog(ERROR, "rows of an unfinished statement are still buffered");
			break;
		case XACT_EVENT_ABORT:
			slist_init(&buffers); /* the contexts go with the transaction's */
			break;
		default:
			break;
	}
}

static void
buffer_at_subtransaction_end(SubXactEvent event, SubTransactionId id, SubTransactionId parent,
							 void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (!slist_is_empty(&buffers))
	{
		StatementBuffer *top = slist_head_element(StatementBuffer, node, &buffers);

		if (top->subtransaction < id)
			break;
		slist_pop_head_node(&buffers);
		/* its temporary files went with the subtransaction's resources */
		MemoryContextDelete(top->context);
	}
}

void
buffer_init(void)
{
	RegisterXactCallback(buffer_at_transaction_end, NULL);
	RegisterSubXactCallback(buffer_at_subtransaction_end, NULL);
}

/*
 * What has fired a trigger of a view, whose rows have so many columns; 0: a
 * statement trigger.  Error: 39P01 the function is not called by such a trigger.
 */
TriggerData *
buffer_trigger(FunctionCallInfo fcinfo, int ncolumns)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		(ncolumns > 0 && (!TRIGGER_FIRED_INSTEAD(trigger->tg_event) ||
						  RelationGetDescr(trigger->tg_relation)->natts != ncolumns)))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("only the triggers of memory_ext's views can call this function")));
	return trigger;
}

void
buffer_push(TriggerData *trigger)
{
	MemoryContext context = AllocSetContextCreate(TopTransactionContext, "memory_ext statement",
												  ALLOCSET_DEFAULT_SIZES);
	StatementBuffer *buffer = MemoryContextAllocZero(context, sizeof(StatementBuffer));

	buffer->relation = RelationGetRelid(trigger->tg_relation);
	buffer->command = trigger->tg_event & TRIGGER_EVENT_OPMASK;
	buffer->subtransaction = GetCurrentSubTransactionId();
	buffer->context = context;
	slist_push_head(&buffers, &buffer->node);
}

/* The buffer of the statement that fires the trigger. */
StatementBuffer *
buffer_find(TriggerData *trigger)
{
	slist_iter iter;

	slist_foreach (iter, &buffers)
	{
		StatementBuffer *buffer = slist_container(StatementBuffer, node, iter.cur);

		if (buffer->relation == RelationGetRelid(trigger->tg_relation) &&
			buffer->command == (trigger->tg_event & TRIGGER_EVENT_OPMASK))
			return buffer;
	}
	ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
					errmsg("the statement triggers of view \"%s\" did not fire",
						   RelationGetRelationName(trigger->tg_relation)),
					errhint("Enable all triggers of the view, or none.")));
	return NULL; /* keep compilers quiet */
}

/* Takes the statement's buffer off the stack; the caller frees it. */
StatementBuffer *
buffer_pop(TriggerData *trigger)
{
	StatementBuffer *buffer = buffer_find(trigger);
	slist_mutable_iter iter;

	slist_foreach_modify (iter, &buffers)
	{
		if (iter.cur == &buffer->node)
			slist_delete_current(&iter);
	}
	return buffer;
}

void
buffer_free(StatementBuffer *buffer)
{
	if (buffer->sort != NULL)
		row_sort_end(buffer->sort);
	MemoryContextDelete(buffer->context);
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

static void note_account(StatementBuffer *buffer, const text *account_id);

/*
 * Adds a row: the caller fills in account, conversation, seq, changed and the
 * payload.  describe() gives the row's columns, at the first row.
 */
void
buffer_put(StatementBuffer *buffer, TupleDesc (*describe)(void), Datum *values, bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(buffer->context);
	int64 line;

	if (buffer->sort == NULL)
		buffer->sort = row_sort_begin(describe(), buffer->command == TRIGGER_EVENT_INSERT);

	buffer->rows++;
	values[BUFFER_ORDINAL] = Int64GetDatum(buffer->rows);
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
buffer_next(StatementBuffer *buffer, TupleTableSlot **slot)
{
	return buffer->sort != NULL && row_sort_next(buffer->sort, slot);
}

/* The rows, for who wants them run by run; NULL: there are none. */
RowSort *
buffer_sort(StatementBuffer *buffer)
{
	return buffer->sort;
}

/* For the views of other rooms, whose statements nest as these do: the buffer's context, */
MemoryContext
buffer_context(StatementBuffer *buffer)
{
	return buffer->context;
}

/* and something in it, NULL at first. */
void **
buffer_data(StatementBuffer *buffer)
{
	return &buffer->data;
}

int64
buffer_rows(StatementBuffer *buffer)
{
	return buffer->rows;
}

/* Whether the row at hand comes from COPY, so that nobody asks for RETURNING. */
bool
buffer_copying(void)
{
	int64 line;

	return copy_line(&line);
}

/* The statement's entry of an account; its state is NULL until it is locked. */
static BufferAccount *
account_entry(StatementBuffer *buffer, const text *account_id)
{
	char name[MEMORY_MAX_ACCOUNT_ID_BYTES + 1];
	BufferAccount *account;
	bool found;

	if (buffer->accounts == NULL)
	{
		HASHCTL control = {0};

		control.keysize = sizeof(name);
		control.entrysize = sizeof(BufferAccount);
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
note_account(StatementBuffer *buffer, const text *account_id)
{
	Size length = VARSIZE_ANY_EXHDR(account_id);
	BufferAccount *last = buffer->last_account;

	if (last == NULL || strlen(last->account) != length ||
		memcmp(last->account, VARDATA_ANY(account_id), length) != 0)
		buffer->last_account = account_entry(buffer, account_id);
}

static int
compare_subscription(const void *a, const void *b)
{
	return strcmp((*(BufferAccount *const *) a)->subscription_id,
				  (*(BufferAccount *const *) b)->subscription_id);
}

/*
 * Locks the subscription of n > 0 accounts.  Where they are several its counters
 * are read once and saved once, at the end: each version of a row that one
 * transaction writes makes the next one dearer.
 */
static void
lock_subscription(StatementBuffer *buffer, BufferAccount **accounts, int n)
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
buffer_lock_subscriptions(StatementBuffer *buffer)
{
	HASH_SEQ_STATUS scan;
	BufferAccount *account;
	BufferAccount **accounts;
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
														 sizeof(BufferAccount *)));
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
	qsort(accounts, n, sizeof(BufferAccount *), compare_subscription);
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
buffer_save_subscriptions(StatementBuffer *buffer)
{
	ListCell *cell;

	foreach (cell, buffer->holds)
		if (((QuotaHold *) lfirst(cell))->changed)
			quota_save((QuotaHold *) lfirst(cell));
}

/*
 * The statement's hold on the account; locks the account when this is the
 * statement's first use of it, its subscription before it.  Lives as long as
 * the buffer.  NULL: it does not exist, and was not to be made.  Needs an SPI
 * connection.
 */
StoreAccount *
buffer_lock_account(StatementBuffer *buffer, text *account_id, bool make)
{
	BufferAccount *account = account_entry(buffer, account_id);

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
	/* a row trigger may have locked the account before the statement's end began the hold */
	if (account->state->charged && account->hold != NULL)
	{
		account->state->hold = account->hold;
		account->state->shared = true;
	}
	return account->state;
}

static uint32
hash_conversation(const void *key, Size size)
{
	const StoreKey *conversation = key;

	return hash_combine(hash_bytes(conversation->id.data, UUID_LEN),
						hash_bytes((const unsigned char *) VARDATA_ANY(conversation->account_id),
								   (int) VARSIZE_ANY_EXHDR(conversation->account_id)));
}

static int
compare_conversations(const void *a, const void *b, Size size)
{
	const StoreKey *left = a;
	const StoreKey *right = b;
	int order = memcmp(&left->id, &right->id, UUID_LEN);

	return order != 0 ? order : account_compare(left->account_id, right->account_id);
}

/* The statement's numbering of a conversation. */
BufferNumbering *
buffer_numbering(StatementBuffer *buffer, const pg_uuid_t *id, text *account_id)
{
	StoreKey key = {*id, account_id};
	BufferNumbering *numbering;
	bool found;

	if (buffer->conversations == NULL)
	{
		HASHCTL control = {0};

		control.keysize = sizeof(StoreKey);
		control.entrysize = sizeof(BufferNumbering);
		control.hash = hash_conversation;
		control.match = compare_conversations;
		control.hcxt = buffer->context;
		buffer->conversations =
			hash_create("memory_ext numbering", 64, &control,
						HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	}
	numbering = hash_search(buffer->conversations, &key, HASH_ENTER, &found);
	if (!found)
	{
		MemoryContext old = MemoryContextSwitchTo(buffer->context);

		numbering->key.account_id =
			(text *) DatumGetPointer(datumCopy(PointerGetDatum(account_id), false, -1));
		MemoryContextSwitchTo(old);
		numbering->counted = false;
		numbering->has_tail = numbering->has_segments = false;
		numbering->next_seq = 1;
		numbering->leaf = 0;
		numbering->ids = NULL;
	}
	return numbering;
}

/* Bit n of the result: column n differs between the old and the new row. */
int32
buffer_changed_columns(TupleDesc descriptor, const Datum *old, const bool *old_nulls,
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
buffer_error_context(void *arg)
{
	BufferErrorContext *where = (BufferErrorContext *) arg;

	if (where->line > 0)
		errcontext("COPY %s, line " INT64_FORMAT, where->view, where->line);
	else if (where->ordinal > 0)
		errcontext("row " INT64_FORMAT " of the statement on memory.%s", where->ordinal,
				   where->view);
}

/* From here on errors tell the place of the row that buffer_locate names. */
void
buffer_push_error_context(BufferErrorContext *where, const char *view)
{
	where->view = view;
	where->ordinal = 0;
	where->line = 0;
	where->callback.callback = buffer_error_context;
	where->callback.arg = where;
	where->callback.previous = error_context_stack;
	error_context_stack = &where->callback;
}

void
buffer_locate(BufferErrorContext *where, TupleTableSlot *slot)
{
	where->ordinal = DatumGetInt64(slot->tts_values[BUFFER_ORDINAL]);
	where->line = slot->tts_isnull[BUFFER_LINE] ? 0 : DatumGetInt64(slot->tts_values[BUFFER_LINE]);
}

void
buffer_pop_error_context(BufferErrorContext *where)
{
	error_context_stack = where->callback.previous;
}
