/*
 * conversation.c
 *		Making, changing and deleting conversations: the functions, and
 *		INSERT, COPY, UPDATE and DELETE on the view memory.conversations.
 *
 * The view's row triggers buffer, the statement's end writes (buffer.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "buffer.h"
#include "store.h"

/* Columns of the view memory.conversations; the others are derived. */
enum
{
	VIEW_CONVERSATION_ID,
	VIEW_ACCOUNT_ID,
	VIEW_TITLE,
	VIEW_METADATA,
	VIEW_ARCHIVED,
	VIEW_HEAD_SEQ,
	VIEW_CREATED_AT,
	VIEW_UPDATED_AT,
	VIEW_NWRITABLE,
	VIEW_NCOLUMNS = VIEW_NWRITABLE + 3
};

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

#define BIT(column) (1 << (column))

/* What a statement sets: bit n of given for column n of the view. */
typedef struct ConversationFields
{
	int32 given;
	text *title;     /* NULL: none */
	Jsonb *metadata; /* NULL: none */
	bool archived;
	int64 head_seq;
	TimestampTz created_at;
	TimestampTz updated_at;
} ConversationFields;

static TupleDesc
describe_row(void)
{
	static const Oid types[ROW_NCOLUMNS] = {TEXTOID, UUIDOID, INT8OID,        INT8OID,
											INT8OID, INT4OID, TEXTOID,        JSONBOID,
											BOOLOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	TupleDesc descriptor = CreateTemplateTupleDesc(ROW_NCOLUMNS);

	for (int i = 0; i < ROW_NCOLUMNS; i++)
		TupleDescInitEntry(descriptor, i + 1, "column", types[i], -1, 0);
	return descriptor;
}

/* ---- one conversation ---- */

static void
set_head(StoreConversation *conversation, int64 head_seq)
{
	if (head_seq == 0 && conversation->message_count == 0)
	{
		conversation->head_seq = 0;
		return;
	}
	/* a number still to come is a restore's promise, for an empty conversation */
	if (head_seq >= conversation->next_seq && head_seq <= STORE_MAX_SEQ && conversation->fresh)
	{
		conversation->head_seq = head_seq;
		return;
	}
	if (!store_message_exists(conversation, head_seq))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("head_seq " INT64_FORMAT " does not exist in conversation %s",
							   head_seq, store_uuid_string(&conversation->id)),
						errhint("head_seq names the message that the next one answers.")));
	if (head_seq != store_last_message(conversation))
		conversation->branched = true;
	conversation->head_seq = head_seq;
}

/* Sets title, metadata and archived of a conversation that has a row. */
static void
set_texts(StoreConversation *conversation, const ConversationFields *fields)
{
	Datum values[7];
	char nulls[] = "       ";

	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	values[2] = BoolGetDatum((fields->given & BIT(VIEW_TITLE)) != 0);
	values[3] = PointerGetDatum(fields->title);
	nulls[3] = fields->title == NULL ? 'n' : ' ';
	values[4] = BoolGetDatum((fields->given & BIT(VIEW_METADATA)) != 0);
	values[5] = PointerGetDatum(fields->metadata);
	nulls[5] = fields->metadata == NULL ? 'n' : ' ';
	values[6] = BoolGetDatum(fields->archived);
	nulls[6] = (fields->given & BIT(VIEW_ARCHIVED)) != 0 ? ' ' : 'n';
	store_execute(STORE_CONVERSATION_SET, values, nulls, false);
}

/* Takes the given fields over and writes the row. */
static void
save_fields(StoreConversation *conversation, const ConversationFields *fields)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();

	if (!conversation->has_times)
		conversation->created_at = now;
	if (fields->given & BIT(VIEW_CREATED_AT))
		conversation->created_at = fields->created_at;
	if (fields->given & BIT(VIEW_UPDATED_AT))
		conversation->updated_at = fields->updated_at;
	else
		conversation->updated_at = conversation->exists ? now : conversation->created_at;
	conversation->has_times = true;
	if (fields->given & BIT(VIEW_HEAD_SEQ))
		set_head(conversation, fields->head_seq);

	if (!conversation->exists)
	{
		conversation->title = fields->title;
		conversation->metadata = fields->metadata;
		conversation->archived = fields->archived;
		store_save_conversation(conversation);
		return;
	}
	store_save_conversation(conversation);
	if ((fields->given & (BIT(VIEW_TITLE) | BIT(VIEW_METADATA) | BIT(VIEW_ARCHIVED))) != 0)
		set_texts(conversation, fields);
}

/* Error: 23505 it exists. */
static void
create_conversation(StoreConversation *conversation, const ConversationFields *fields)
{
	if (conversation->exists)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("conversation %s exists already", store_uuid_string(&conversation->id)),
				 errhint("Use UPDATE or memory.update_conversation to change a conversation.")));
	save_fields(conversation, fields);
}

static void
check_times(const ConversationFields *fields)
{
	if (((fields->given & BIT(VIEW_CREATED_AT)) && TIMESTAMP_NOT_FINITE(fields->created_at)) ||
		((fields->given & BIT(VIEW_UPDATED_AT)) && TIMESTAMP_NOT_FINITE(fields->updated_at)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("times of a conversation must be finite"),
						errhint("Leave them out to have them set from the messages.")));
}

/* ---- functions ---- */

static void
argument_fields(FunctionCallInfo fcinfo, int title, int metadata, ConversationFields *fields)
{
	if (!PG_ARGISNULL(title))
	{
		fields->given |= BIT(VIEW_TITLE);
		fields->title = PG_GETARG_TEXT_PP(title);
	}
	if (!PG_ARGISNULL(metadata))
	{
		fields->given |= BIT(VIEW_METADATA);
		fields->metadata = PG_GETARG_JSONB_P(metadata);
		store_check_metadata(fields->metadata, "conversation");
	}
}

PG_FUNCTION_INFO_V1(memory_create_conversation);

/*
 * memory_create_conversation(account_id text, conversation_id uuid, title text,
 *							  metadata jsonb, created_at timestamptz) → uuid
 *		Makes an empty conversation and returns its id; NULL conversation_id: a
 *		new version 7 UUID.  Errors: 23505 the account has it, 55000 it was
 *		deleted.
 */
Datum
memory_create_conversation(PG_FUNCTION_ARGS)
{
	text *account_id = account_check(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));
	pg_uuid_t *id = PG_ARGISNULL(1) ? store_new_uuid() : PG_GETARG_UUID_P(1);
	ConversationFields fields = {0};
	StoreAccount *account;

	argument_fields(fcinfo, 2, 3, &fields);
	if (!PG_ARGISNULL(4))
	{
		fields.given |= BIT(VIEW_CREATED_AT);
		fields.created_at = PG_GETARG_TIMESTAMPTZ(4);
	}
	check_times(&fields);

	SPI_connect();
	account = store_begin_account(account_id, true);
	create_conversation(store_open_conversation(account, id, STORE_CREATE), &fields);
	store_end_account(account);
	SPI_finish();
	PG_RETURN_UUID_P(id);
}

PG_FUNCTION_INFO_V1(memory_update_conversation);

/*
 * memory_update_conversation(account_id text, conversation_id uuid, title text,
 *							  metadata jsonb, archived boolean, head_seq bigint)
 *		→ bigint
 *		Sets the fields that are not NULL and returns the account's new
 *		revision.  Errors: 02000 unknown, 22023 head_seq does not exist.
 */
Datum
memory_update_conversation(PG_FUNCTION_ARGS)
{
	ConversationFields fields = {0};
	StoreConversation *conversation;
	text *account_id;
	pg_uuid_t *id;
	int64 revision;

	store_conversation_arguments(fcinfo, &account_id, &id);
	argument_fields(fcinfo, 2, 3, &fields);
	if (!PG_ARGISNULL(4))
	{
		fields.given |= BIT(VIEW_ARCHIVED);
		fields.archived = PG_GETARG_BOOL(4);
	}
	if (!PG_ARGISNULL(5))
	{
		fields.given |= BIT(VIEW_HEAD_SEQ);
		fields.head_seq = PG_GETARG_INT64(5);
	}

	SPI_connect();
	conversation = store_begin(account_id, id, STORE_EXISTING);
	revision = conversation->revision;
	save_fields(conversation, &fields);
	SPI_finish();
	PG_RETURN_INT64(revision);
}

PG_FUNCTION_INFO_V1(memory_delete_conversation);

/*
 * memory_delete_conversation(account_id text, conversation_id uuid) → bigint
 *		Deletes a conversation with all its messages and returns the account's
 *		new revision; a tombstone stays.  Errors: 02000 unknown, 55000 deleted
 *		already.
 */
Datum
memory_delete_conversation(PG_FUNCTION_ARGS)
{
	StoreConversation *conversation;
	text *account_id;
	pg_uuid_t *id;
	int64 revision;

	store_conversation_arguments(fcinfo, &account_id, &id);
	SPI_connect();
	conversation = store_begin(account_id, id, STORE_EXISTING);
	revision = conversation->revision;
	store_delete_conversation(conversation);
	store_end_account(conversation->account);
	SPI_finish();
	PG_RETURN_INT64(revision);
}

/* ---- the view's triggers ---- */

static void
put_row(TriggerData *trigger, const Datum *view, const bool *view_nulls, int32 changed)
{
	Datum values[ROW_NCOLUMNS];
	bool nulls[ROW_NCOLUMNS] = {0};

	values[BUFFER_ACCOUNT] = PointerGetDatum(DatumGetTextPP(view[VIEW_ACCOUNT_ID]));
	values[BUFFER_CONVERSATION] = view[VIEW_CONVERSATION_ID];
	nulls[BUFFER_SEQ] = true;
	values[BUFFER_CHANGED] = Int32GetDatum(changed);
	for (int i = VIEW_TITLE; i < VIEW_NWRITABLE; i++)
	{
		nulls[ROW_TITLE + i - VIEW_TITLE] = view_nulls[i];
		values[ROW_TITLE + i - VIEW_TITLE] = view[i];
	}
	if (!nulls[ROW_TITLE])
		values[ROW_TITLE] = PointerGetDatum(DatumGetTextPP(values[ROW_TITLE]));
	if (!nulls[ROW_METADATA])
		values[ROW_METADATA] = PointerGetDatum(DatumGetJsonbP(values[ROW_METADATA]));
	buffer_put(buffer_find(trigger), describe_row, values, nulls);
}

static void
check_row(Datum *values, bool *nulls)
{
	ConversationFields fields = {0};

	if (!nulls[VIEW_METADATA])
		store_check_metadata(DatumGetJsonbP(values[VIEW_METADATA]), "conversation");
	if (!nulls[VIEW_CREATED_AT])
	{
		fields.given |= BIT(VIEW_CREATED_AT);
		fields.created_at = DatumGetTimestampTz(values[VIEW_CREATED_AT]);
	}
	if (!nulls[VIEW_UPDATED_AT])
	{
		fields.given |= BIT(VIEW_UPDATED_AT);
		fields.updated_at = DatumGetTimestampTz(values[VIEW_UPDATED_AT]);
	}
	check_times(&fields);
}

/* What RETURNING shows of a new conversation's times and counters. */
static void
fill_times(Datum *values, bool *nulls)
{
	if (nulls[VIEW_CREATED_AT])
		values[VIEW_CREATED_AT] = TimestampTzGetDatum(GetCurrentStatementStartTimestamp());
	if (nulls[VIEW_UPDATED_AT])
		values[VIEW_UPDATED_AT] = values[VIEW_CREATED_AT];
	nulls[VIEW_CREATED_AT] = nulls[VIEW_UPDATED_AT] = false;
	for (int i = VIEW_NWRITABLE; i < VIEW_NCOLUMNS; i++)
	{
		values[i] = Int64GetDatum(0);
		nulls[i] = false;
	}
}

PG_FUNCTION_INFO_V1(memory_conversations_insert);

/*
 * memory_conversations_insert() → trigger
 *		INSTEAD OF INSERT on memory.conversations.  A missing conversation_id is
 *		a new version 7 UUID, a missing account_id the session's; derived
 *		columns are not looked at, so that a dump can be loaded as it is.
 */
Datum
memory_conversations_insert(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = buffer_trigger(fcinfo, VIEW_NCOLUMNS);
	TupleDesc descriptor = RelationGetDescr(trigger->tg_relation);
	Datum values[VIEW_NCOLUMNS];
	bool nulls[VIEW_NCOLUMNS];
	int32 given = 0;

	heap_deform_tuple(trigger->tg_trigtuple, descriptor, values, nulls);
	values[VIEW_ACCOUNT_ID] = PointerGetDatum(
		account_check(nulls[VIEW_ACCOUNT_ID] ? NULL : DatumGetTextPP(values[VIEW_ACCOUNT_ID])));
	nulls[VIEW_ACCOUNT_ID] = false;
	if (nulls[VIEW_CONVERSATION_ID])
		values[VIEW_CONVERSATION_ID] = UUIDPGetDatum(store_new_uuid());
	nulls[VIEW_CONVERSATION_ID] = false;
	if (nulls[VIEW_ARCHIVED])
		values[VIEW_ARCHIVED] = BoolGetDatum(false);
	nulls[VIEW_ARCHIVED] = false;
	fill_times(values, nulls);
	check_row(values, nulls);

	for (int i = VIEW_TITLE; i < VIEW_NWRITABLE; i++)
		given |= nulls[i] ? 0 : BIT(i);
	if (!DatumGetBool(values[VIEW_ARCHIVED]))
		given &= ~BIT(VIEW_ARCHIVED);
	put_row(trigger, values, nulls, given);
	return PointerGetDatum(heap_form_tuple(descriptor, values, nulls));
}

PG_FUNCTION_INFO_V1(memory_conversations_update);

/*
 * memory_conversations_update() → trigger
 *		INSTEAD OF UPDATE on memory.conversations.  Error: 0A000 when a key or a
 *		derived column is changed.
 */
Datum
memory_conversations_update(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = buffer_trigger(fcinfo, VIEW_NCOLUMNS);
	TupleDesc descriptor = RelationGetDescr(trigger->tg_relation);
	Datum old[VIEW_NCOLUMNS];
	bool old_nulls[VIEW_NCOLUMNS];
	Datum values[VIEW_NCOLUMNS];
	bool nulls[VIEW_NCOLUMNS];
	int32 changed;

	heap_deform_tuple(trigger->tg_trigtuple, descriptor, old, old_nulls);
	heap_deform_tuple(trigger->tg_newtuple, descriptor, values, nulls);
	changed = buffer_changed_columns(descriptor, old, old_nulls, values, nulls);
	for (int i = 0; i < VIEW_NCOLUMNS; i++)
	{
		bool fixed = i < VIEW_TITLE || i >= VIEW_NWRITABLE;
		bool needed = i > VIEW_METADATA && i < VIEW_NWRITABLE && i != VIEW_HEAD_SEQ;

		if ((changed & BIT(i)) != 0 && (fixed || ((needed || i == VIEW_HEAD_SEQ) && nulls[i])))
			ereport(ERROR,
					(errcode(fixed ? ERRCODE_FEATURE_NOT_SUPPORTED
								   : ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg(fixed ? "column \"%s\" of a conversation cannot be changed"
								  : "column \"%s\" of a conversation must not be null",
							NameStr(TupleDescAttr(descriptor, i)->attname)),
					 errhint("title, metadata, archived, head_seq, created_at and updated_at "
							 "can be set, the first two to NULL.")));
	}
	account_check(DatumGetTextPP(values[VIEW_ACCOUNT_ID]));
	check_row(values, nulls);
	put_row(trigger, values, nulls, changed);
	/* the executor frees its own tuple only when it gets another one back */
	return PointerGetDatum(heap_copytuple(trigger->tg_newtuple));
}

PG_FUNCTION_INFO_V1(memory_conversations_delete);

/*
 * memory_conversations_delete() → trigger
 *		INSTEAD OF DELETE on memory.conversations.
 */
Datum
memory_conversations_delete(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = buffer_trigger(fcinfo, VIEW_NCOLUMNS);
	Datum values[VIEW_NCOLUMNS];
	bool nulls[VIEW_NCOLUMNS];

	heap_deform_tuple(trigger->tg_trigtuple, RelationGetDescr(trigger->tg_relation), values, nulls);
	account_check(DatumGetTextPP(values[VIEW_ACCOUNT_ID]));
	put_row(trigger, values, nulls, 0);
	return PointerGetDatum(trigger->tg_trigtuple);
}

static void
row_fields(TupleTableSlot *slot, ConversationFields *fields)
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

/*
 * An UPDATE's new title and metadata were made from what the statement saw.
 * Where another transaction has changed them since, its change would be lost.
 */
static void
refuse_lost_update(StoreConversation *conversation, int32 given)
{
	Datum values[2] = {UUIDPGetDatum(&conversation->id), PointerGetDatum(conversation->account_id)};
	char *seen[2];
	bool isnull;

	/* read-only: under the snapshot of the statement itself */
	if (store_execute(STORE_CONVERSATION_TEXTS, values, NULL, true) == 0)
		return;
	for (int i = 0; i < 2; i++)
		seen[i] = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1);
	store_execute(STORE_CONVERSATION_TEXTS, values, NULL, false);
	if (DatumGetInt64(store_column(0, 3, &isnull)) == conversation->revision)
		return; /* a join gave the row twice */
	for (int i = 0; i < 2; i++)
	{
		char *now = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1);

		if ((given & BIT(VIEW_TITLE + i)) != 0 &&
			(seen[i] == NULL || now == NULL ? seen[i] != now : strcmp(seen[i], now) != 0))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent update"),
					 errdetail("The %s of conversation %s has been changed since the "
							   "statement began.",
							   i == 0 ? "title" : "metadata", store_uuid_string(&conversation->id)),
					 errhint("Run the statement again.")));
	}
}

/* Where the rows of a statement stand. */
typedef struct Flush
{
	StatementBuffer *buffer;
	MemoryContext context;     /* the statement's */
	MemoryContext row_context; /* emptied after each row */
	StoreAccount *account;     /* NULL: none yet, or it was forgotten meanwhile */
	MeteringBatch *usage;      /* in the statement's context */
	BufferErrorContext where;
} Flush;

/* Goes on to the row's account, in key order. */
static void
follow_row(Flush *flush, TupleTableSlot *slot, bool make)
{
	text *account_id = DatumGetTextPP(slot->tts_values[BUFFER_ACCOUNT]);
	StoreAccount *before = flush->account;

	buffer_locate(&flush->where, slot);
	MemoryContextSwitchTo(flush->context);
	flush->usage = metering_batch_follow(flush->usage, account_id);
	MemoryContextSwitchTo(flush->row_context);
	flush->account = buffer_lock_account(flush->buffer, account_id, make);
	if (before != NULL && before != flush->account)
		store_end_account(before);
}

static void
insert_rows(Flush *flush)
{
	StoreQueue *queue = buffer_rows(flush->buffer) > 1 ? store_queue_create() : NULL;
	StoreLookahead *ahead = lookahead_create(flush->buffer, queue);
	TupleTableSlot *slot;

	while (lookahead_next(ahead, &slot))
	{
		pg_uuid_t *id = DatumGetUUIDP(slot->tts_values[BUFFER_CONVERSATION]);
		StoreConversation *conversation;
		ConversationFields fields;

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
			conversation = store_open_known(flush->account, id, lookahead_known(ahead));
		conversation->queue = queue;
		create_conversation(conversation, &fields);
		MemoryContextSwitchTo(flush->context);
		MemoryContextReset(flush->row_context);
	}
	lookahead_end(ahead);
	store_queue_write(queue);
}

static void
change_row(Flush *flush, TupleTableSlot *slot, TriggerEvent event)
{
	pg_uuid_t *id = DatumGetUUIDP(slot->tts_values[BUFFER_CONVERSATION]);
	StoreConversation *conversation = store_open_conversation(flush->account, id, STORE_PROBE);
	ConversationFields fields;

	if (conversation == NULL)
		return; /* deleted since the statement saw it */
	conversation->usage = flush->usage;
	row_fields(slot, &fields);
	if (TRIGGER_FIRED_BY_UPDATE(event))
	{
		if ((fields.given & (BIT(VIEW_TITLE) | BIT(VIEW_METADATA))) != 0)
			refuse_lost_update(conversation, fields.given);
		save_fields(conversation, &fields);
	}
	else
		store_delete_conversation(conversation);
}

static void
change_rows(Flush *flush, TriggerEvent event)
{
	TupleTableSlot *slot;

	while (buffer_next(flush->buffer, &slot))
	{
		CHECK_FOR_INTERRUPTS();
		follow_row(flush, slot, false);
		if (flush->account != NULL) /* else it was forgotten since the statement saw it */
			change_row(flush, slot, event);
		MemoryContextSwitchTo(flush->context);
		MemoryContextReset(flush->row_context);
	}
}

PG_FUNCTION_INFO_V1(memory_conversations_end);

/*
 * memory_conversations_end() → trigger
 *		AFTER STATEMENT on memory.conversations: writes the buffered rows.
 */
Datum
memory_conversations_end(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = buffer_trigger(fcinfo, 0);
	Flush flush = {buffer_pop(trigger)};

	SPI_connect();
	flush.context = CurrentMemoryContext;
	flush.row_context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext row", ALLOCSET_DEFAULT_SIZES);
	buffer_push_error_context(&flush.where, "conversations");
	buffer_lock_subscriptions(flush.buffer);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		insert_rows(&flush);
	else
		change_rows(&flush, trigger->tg_event);
	if (flush.account != NULL)
		store_end_account(flush.account);
	buffer_save_subscriptions(flush.buffer);
	metering_batch_end(flush.usage);
	buffer_pop_error_context(&flush.where);
	SPI_finish();
	buffer_free(flush.buffer);
	PG_RETURN_POINTER(NULL);
}
