/*
 * modify_conversations.c
 *		INSERT, COPY, UPDATE and DELETE on memory.conversations.
 *
 * Rows are checked as they come, buffered, and written at the statement's end,
 * in order of account and conversation.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "relation_private.h"

/* Columns of a buffered conversation behind the common ones. */
enum
{
	ROW_TITLE = BUFFER_PAYLOAD,
	ROW_METADATA,
	ROW_ARCHIVED,
	ROW_HEAD_SEQ,
	ROW_CREATED_AT,
	ROW_UPDATED_AT,
	ROW_NCOLUMNS
};

/* A column of the relation as a bit of StoreField; title is the first. */
#define FIELD(column) (1 << ((column) -CONVERSATIONS_TITLE))

/* The columns of a buffered row. */
TupleDesc
conversations_buffered(void)
{
	static const Oid types[ROW_NCOLUMNS] = {TEXTOID, UUIDOID, INT8OID,        INT8OID,
											INT8OID, INT4OID, TEXTOID,        JSONBOID,
											BOOLOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	TupleDesc descriptor = CreateTemplateTupleDesc(ROW_NCOLUMNS);

	for (int i = 0; i < ROW_NCOLUMNS; i++)
		TupleDescInitEntry(descriptor, i + 1, "column", types[i], -1, 0);
	return descriptor;
}

/* ---- rows in ---- */

/* Gathers a row; given: the fields that are set, as StoreField. */
static void
put_row(RelationModify *modify, const Datum *row, const bool *row_nulls, int32 given)
{
	Datum values[ROW_NCOLUMNS];
	bool nulls[ROW_NCOLUMNS] = {0};

	values[BUFFER_ACCOUNT] = PointerGetDatum(DatumGetTextPP(row[CONVERSATIONS_ACCOUNT_ID]));
	values[BUFFER_CONVERSATION] = row[CONVERSATIONS_CONVERSATION_ID];
	nulls[BUFFER_SEQ] = true;
	values[BUFFER_CHANGED] = Int32GetDatum(given);
	for (int i = CONVERSATIONS_TITLE; i < CONVERSATIONS_NWRITABLE; i++)
	{
		nulls[ROW_TITLE + i - CONVERSATIONS_TITLE] = row_nulls[i];
		values[ROW_TITLE + i - CONVERSATIONS_TITLE] = row[i];
	}
	if (!nulls[ROW_TITLE])
		values[ROW_TITLE] = PointerGetDatum(DatumGetTextPP(values[ROW_TITLE]));
	if (!nulls[ROW_METADATA])
		values[ROW_METADATA] = PointerGetDatum(DatumGetJsonbP(values[ROW_METADATA]));
	row_buffer_put(modify->buffer, values, nulls);
}

static void
check_row(Datum *values, bool *nulls)
{
	StoreFields fields = {0};

	if (!nulls[CONVERSATIONS_TITLE])
		store_check_title(DatumGetTextPP(values[CONVERSATIONS_TITLE]));
	if (!nulls[CONVERSATIONS_METADATA])
		store_check_metadata(DatumGetJsonbP(values[CONVERSATIONS_METADATA]), "conversation");
	if (!nulls[CONVERSATIONS_CREATED_AT])
	{
		fields.given |= STORE_CREATED_AT;
		fields.created_at = DatumGetTimestampTz(values[CONVERSATIONS_CREATED_AT]);
	}
	if (!nulls[CONVERSATIONS_UPDATED_AT])
	{
		fields.given |= STORE_UPDATED_AT;
		fields.updated_at = DatumGetTimestampTz(values[CONVERSATIONS_UPDATED_AT]);
	}
	store_check_fields(&fields);
}

/* The bytes of a row's title and metadata. */
static int64
fields_bytes(const Datum *values, const bool *nulls)
{
	return store_fields_bytes(nulls[CONVERSATIONS_TITLE]
								  ? NULL
								  : DatumGetTextPP(values[CONVERSATIONS_TITLE]),
							  nulls[CONVERSATIONS_METADATA]
								  ? NULL
								  : DatumGetJsonbP(values[CONVERSATIONS_METADATA]));
}

/* What RETURNING shows of a new conversation's times and counters. */
static void
fill_times(Datum *values, bool *nulls)
{
	if (nulls[CONVERSATIONS_CREATED_AT])
		values[CONVERSATIONS_CREATED_AT] = TimestampTzGetDatum(GetCurrentStatementStartTimestamp());
	if (nulls[CONVERSATIONS_UPDATED_AT])
		values[CONVERSATIONS_UPDATED_AT] = values[CONVERSATIONS_CREATED_AT];
	nulls[CONVERSATIONS_CREATED_AT] = nulls[CONVERSATIONS_UPDATED_AT] = false;
	for (int i = CONVERSATIONS_NWRITABLE; i < CONVERSATIONS_NCOLUMNS; i++)
	{
		values[i] = Int64GetDatum(0);
		nulls[i] = false;
	}
	values[CONVERSATIONS_CONTENT_BYTES] = Int64GetDatum(fields_bytes(values, nulls));
}

/* Whether the conversation is there already; the account's lock is held from then on. */
static bool
is_there(RelationModify *modify, const Datum *values)
{
	StoreAccount *account =
		row_buffer_lock_account(modify->buffer, DatumGetTextPP(values[CONVERSATIONS_ACCOUNT_ID]),
								true);
	const pg_uuid_t *id = DatumGetUUIDP(values[CONVERSATIONS_CONVERSATION_ID]);

	return store_open_conversation(account, id, STORE_CREATE)->exists;
}

/*
 * conversations_insert
 *		Takes a row of INSERT or COPY.  A missing conversation_id is a new
 *		version 7 UUID, a missing account_id the session's; derived columns are
 *		not looked at, so that a dump can be loaded as it is.
 */
bool
conversations_insert(RelationModify *modify, Datum *values, bool *nulls)
{
	int32 given = 0;

	values[CONVERSATIONS_ACCOUNT_ID] = PointerGetDatum(account_check(
		nulls[CONVERSATIONS_ACCOUNT_ID] ? NULL : DatumGetTextPP(values[CONVERSATIONS_ACCOUNT_ID])));
	nulls[CONVERSATIONS_ACCOUNT_ID] = false;
	if (nulls[CONVERSATIONS_CONVERSATION_ID])
		values[CONVERSATIONS_CONVERSATION_ID] = UUIDPGetDatum(store_new_uuid());
	nulls[CONVERSATIONS_CONVERSATION_ID] = false;
	if (nulls[CONVERSATIONS_ARCHIVED])
		values[CONVERSATIONS_ARCHIVED] = BoolGetDatum(false);
	nulls[CONVERSATIONS_ARCHIVED] = false;
	fill_times(values, nulls);
	check_row(values, nulls);

	for (int i = CONVERSATIONS_TITLE; i < CONVERSATIONS_NWRITABLE; i++)
		given |= nulls[i] ? 0 : FIELD(i);
	if (!DatumGetBool(values[CONVERSATIONS_ARCHIVED]))
		given &= ~STORE_ARCHIVED;
	if (modify->skips_conflicts && is_there(modify, values))
		return false;
	put_row(modify, values, nulls, given);
	return true;
}

/* Refuses what an UPDATE cannot change.  Errors: 0A000 a key or derived, 22004 it needs a value. */
static void
refuse_change(TupleDesc descriptor, int32 changed, const bool *nulls)
{
	for (int i = 0; i < CONVERSATIONS_NCOLUMNS; i++)
	{
		bool fixed = i < CONVERSATIONS_TITLE || i >= CONVERSATIONS_NWRITABLE;
		bool needed = i > CONVERSATIONS_METADATA && i < CONVERSATIONS_NWRITABLE;

		if ((changed & COLUMN_BIT(i)) != 0 && (fixed || (needed && nulls[i])))
			ereport(ERROR,
					(errcode(fixed ? ERRCODE_FEATURE_NOT_SUPPORTED
								   : ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg(fixed ? "column \"%s\" of a conversation cannot be changed"
								  : "column \"%s\" of a conversation must not be null",
							NameStr(TupleDescAttr(descriptor, i)->attname)),
					 errhint("title, metadata, archived, head_seq, created_at and updated_at "
							 "can be set, the first two to NULL.")));
	}
}

/*
 * conversations_update
 *		Takes the new version of a row.  Errors: those of refuse_change and of
 *		check_row.
 */
void
conversations_update(RelationModify *modify, const Datum *old, const bool *old_nulls, Datum *values,
					 bool *nulls)
{
	TupleDesc descriptor = RelationGetDescr(modify->relation);
	int32 changed = row_buffer_changed_columns(descriptor, old, old_nulls, values, nulls);

	refuse_change(descriptor, changed, nulls);
	account_check(DatumGetTextPP(values[CONVERSATIONS_ACCOUNT_ID]));
	check_row(values, nulls);
	put_row(modify, values, nulls, changed >> CONVERSATIONS_TITLE);
	if ((changed & (COLUMN_BIT(CONVERSATIONS_TITLE) | COLUMN_BIT(CONVERSATIONS_METADATA))) != 0 &&
		!nulls[CONVERSATIONS_CONTENT_BYTES])
		values[CONVERSATIONS_CONTENT_BYTES] = /* for RETURNING */
			Int64GetDatum(DatumGetInt64(values[CONVERSATIONS_CONTENT_BYTES]) +
						  fields_bytes(values, nulls) - fields_bytes(old, old_nulls));
}

/* Takes a row to be deleted, of which the keys are enough: conversation_id, account_id. */
void
conversations_delete(RelationModify *modify, const Datum *keys)
{
	Datum values[CONVERSATIONS_NCOLUMNS] = {0};
	bool nulls[CONVERSATIONS_NCOLUMNS];

	memset(nulls, true, sizeof(nulls));
	values[CONVERSATIONS_CONVERSATION_ID] = keys[CONVERSATIONS_CONVERSATION_ID];
	values[CONVERSATIONS_ACCOUNT_ID] = keys[CONVERSATIONS_ACCOUNT_ID];
	account_check(DatumGetTextPP(values[CONVERSATIONS_ACCOUNT_ID]));
	put_row(modify, values, nulls, 0);
}

/* ---- rows out, at the statement's end ---- */

static void
row_fields(TupleTableSlot *slot, StoreFields *fields)
{
	Datum *values = slot->tts_values;
	bool *nulls = slot->tts_isnull;

	memset(fields, 0, sizeof(*fields));
	fields->given = DatumGetInt32(values[BUFFER_CHANGED]);
	fields->title = nulls[ROW_TITLE] ? NULL : DatumGetTextPP(values[ROW_TITLE]);
	fields->metadata = nulls[ROW_METADATA] ? NULL : DatumGetJsonbP(values[ROW_METADATA]);
	fields->archived = !nulls[ROW_ARCHIVED] && DatumGetBool(values[ROW_ARCHIVED]);
	fields->head_seq = nulls[ROW_HEAD_SEQ] ? 0 : DatumGetInt64(values[ROW_HEAD_SEQ]);
	fields->created_at = nulls[ROW_CREATED_AT] ? 0 : DatumGetTimestampTz(values[ROW_CREATED_AT]);
	fields->updated_at = nulls[ROW_UPDATED_AT] ? 0 : DatumGetTimestampTz(values[ROW_UPDATED_AT]);
}

/* Where the rows of a statement stand. */
typedef struct Flush
{
	RowBuffer *buffer;
	MemoryContext context;     /* the statement's */
	MemoryContext row_context; /* emptied after each row */
	StoreAccount *account;     /* NULL: none yet, or it was forgotten meanwhile */
	MeteringBatch *usage;      /* in the statement's context */
	RowErrorContext where;
} Flush;

/* Goes on to the row's account, in key order. */
static void
follow_row(Flush *flush, TupleTableSlot *slot, bool make)
{
	text *account_id = DatumGetTextPP(slot->tts_values[BUFFER_ACCOUNT]);
	StoreAccount *before = flush->account;

	row_buffer_locate(&flush->where, slot);
	MemoryContextSwitchTo(flush->context);
	flush->usage = metering_batch_follow(flush->usage, account_id);
	MemoryContextSwitchTo(flush->row_context);
	flush->account = row_buffer_lock_account(flush->buffer, account_id, make);
	if (before != NULL && before != flush->account)
		store_end_account(before);
}

static void
insert_rows(Flush *flush)
{
	StoreQueue *queue = row_buffer_rows(flush->buffer) > 1 ? store_queue_create() : NULL;
	Lookahead *ahead = lookahead_create(flush->buffer, queue);
	TupleTableSlot *slot;

	while (lookahead_next(ahead, &slot))
	{
		pg_uuid_t *id = DatumGetUUIDP(slot->tts_values[BUFFER_CONVERSATION]);
		StoreConversation *conversation;
		StoreFields fields;

		CHECK_FOR_INTERRUPTS();
		follow_row(flush, slot, true);
		row_fields(slot, &fields);
		if (store_queue_holds(queue, id, flush->account->account_id))
		{
			/* the statement has it twice */
			store_queue_write(queue);
			conversation = store_open_conversation(flush->account, id, STORE_CREATE);
		}
		else
			conversation = store_open_existing(flush->account, id, lookahead_existing(ahead));
		conversation->queue = queue;
		conversation->usage = flush->usage;
		store_create_conversation(conversation, &fields);
		MemoryContextSwitchTo(flush->context);
		MemoryContextReset(flush->row_context);
	}
	lookahead_end(ahead);
	store_queue_write(queue);
}

static void
change_row(Flush *flush, TupleTableSlot *slot, ModifyCommand command)
{
	pg_uuid_t *id = DatumGetUUIDP(slot->tts_values[BUFFER_CONVERSATION]);
	StoreConversation *conversation = store_open_conversation(flush->account, id, STORE_PROBE);
	StoreFields fields;

	if (conversation == NULL)
		return; /* deleted since the statement saw it */
	conversation->usage = flush->usage;
	row_fields(slot, &fields);
	if (command == MODIFY_UPDATE)
	{
		if ((fields.given & (STORE_TITLE | STORE_METADATA)) != 0)
			store_check_unchanged(conversation, fields.given);
		store_set_fields(conversation, &fields);
	}
	else
		store_delete_conversation(conversation);
}

static void
change_rows(Flush *flush, ModifyCommand command)
{
	TupleTableSlot *slot;

	while (row_buffer_next(flush->buffer, &slot))
	{
		CHECK_FOR_INTERRUPTS();
		follow_row(flush, slot, false);
		if (flush->account != NULL) /* else it was forgotten since the statement saw it */
			change_row(flush, slot, command);
		MemoryContextSwitchTo(flush->context);
		MemoryContextReset(flush->row_context);
	}
}

/*
 * conversations_write
 *		Writes the buffered rows.  Errors: 23505 it exists, 55000 it was deleted,
 *		those of store_set_fields, with the row's place in the statement as
 *		context.
 */
void
conversations_write(RelationModify *modify)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext write", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Flush flush = {modify->buffer};

	flush.context = context;
	flush.row_context = AllocSetContextCreate(context, "memory_ext row", ALLOCSET_DEFAULT_SIZES);
	row_buffer_push_error_context(&flush.where, "conversations");
	row_buffer_lock_subscriptions(flush.buffer);
	if (modify->command == MODIFY_INSERT)
		insert_rows(&flush);
	else
		change_rows(&flush, modify->command);
	if (flush.account != NULL)
		store_end_account(flush.account);
	row_buffer_save_subscriptions(flush.buffer);
	metering_batch_end(flush.usage);
	row_buffer_pop_error_context(&flush.where);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
