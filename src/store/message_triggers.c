/*
 * message_triggers.c
 *		INSERT, COPY, UPDATE and DELETE on the view memory.messages.
 *
 * The INSTEAD OF row triggers check and buffer (buffer.c); the AFTER STATEMENT
 * trigger writes the rows, account by account and conversation by
 * conversation.  Only an INSERT's row that leaves seq out takes its account's
 * lock at once, because RETURNING must show the number: a COPY never does.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "buffer.h"
#include "memory_ext.h"
#include "store.h"
#include "train.h"

/* Columns of the view memory.messages. */
enum
{
	VIEW_CONVERSATION_ID,
	VIEW_ACCOUNT_ID,
	VIEW_SEQ,
	VIEW_PARENT_SEQ,
	VIEW_ROLE,
	VIEW_CONTENT,
	VIEW_MODEL,
	VIEW_TOKENS,
	VIEW_CREATED_AT,
	VIEW_MESSAGE_ID,
	VIEW_METADATA,
	VIEW_NCOLUMNS
};

/* Columns of a buffered message behind the common ones. */
enum
{
	ROW_PARENT_SEQ = BUFFER_PAYLOAD,
	ROW_ROLE,
	ROW_CONTENT,
	ROW_MODEL,
	ROW_TOKENS,
	ROW_CREATED_AT,
	ROW_MESSAGE_ID,
	ROW_METADATA,
	ROW_NCOLUMNS
};

#define CHANGED(mask, column) (((mask) & (1 << (column))) != 0)

/* An UPDATE or DELETE works through a conversation in pieces of this size. */
#define CHANGES_AT_ONCE 4096
#define CHANGED_BYTES_AT_ONCE (16 * 1024 * 1024)

/* Shorter statements train no dictionary. */
#define SAMPLED_FROM 1024

static TupleDesc
describe_row(void)
{
	static const Oid types[ROW_NCOLUMNS] = {TEXTOID, UUIDOID,        INT8OID, INT8OID, INT8OID,
											INT4OID, INT8OID,        TEXTOID, TEXTOID, TEXTOID,
											INT4OID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	TupleDesc descriptor = CreateTemplateTupleDesc(ROW_NCOLUMNS);

	for (int i = 0; i < ROW_NCOLUMNS; i++)
		TupleDescInitEntry(descriptor, i + 1, "column", types[i], -1, 0);
	return descriptor;
}

/* ---- rows in ---- */

/* A text column's bytes; the datum itself becomes the detoasted one. */
static void
take_text(Datum *value, bool isnull, const char **data, uint32 *length)
{
	*data = NULL;
	*length = 0;
	if (!isnull)
	{
		text *bytes = DatumGetTextPP(*value);

		*value = PointerGetDatum(bytes);
		*data = VARDATA_ANY(bytes);
		*length = VARSIZE_ANY_EXHDR(bytes);
	}
}

/* Checks a row of the view, but for its place, and fills in what was left out. */
static void
check_row(Datum *values, bool *nulls, TranscriptMessage *message)
{
	memset(message, 0, sizeof(*message));
	take_text(&values[VIEW_ROLE], nulls[VIEW_ROLE], &message->role, &message->role_len);
	take_text(&values[VIEW_CONTENT], nulls[VIEW_CONTENT], &message->content, &message->content_len);
	take_text(&values[VIEW_MODEL], nulls[VIEW_MODEL], &message->model, &message->model_len);
	take_text(&values[VIEW_MESSAGE_ID], nulls[VIEW_MESSAGE_ID], &message->message_id,
			  &message->message_id_len);
	if (!nulls[VIEW_METADATA])
	{
		Jsonb *metadata = DatumGetJsonbP(values[VIEW_METADATA]);

		store_check_metadata(metadata, "message");
		message->metadata = JsonbToCString(NULL, &metadata->root, VARSIZE(metadata));
		message->metadata_len = strlen(message->metadata);
	}
	if (!nulls[VIEW_PARENT_SEQ])
		store_check_parent_given(DatumGetInt64(values[VIEW_PARENT_SEQ]));
	message->tokens = -1;
	if (!nulls[VIEW_TOKENS])
	{
		message->tokens = DatumGetInt32(values[VIEW_TOKENS]);
		if (message->tokens < 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("tokens must not be negative, it is %d", message->tokens),
							errhint("Leave tokens out to have them estimated.")));
	}
	message->has_created_at = !nulls[VIEW_CREATED_AT];
	message->created_at = message->has_created_at ? DatumGetTimestampTz(values[VIEW_CREATED_AT])
												  : GetCurrentStatementStartTimestamp();
	message->has_created_at = true;
	store_check_message(message);

	nulls[VIEW_TOKENS] = false;
	values[VIEW_TOKENS] = Int32GetDatum(message->tokens);
	nulls[VIEW_CREATED_AT] = false;
	values[VIEW_CREATED_AT] = TimestampTzGetDatum(message->created_at);
}

/* Buffers a checked row; message holds its metadata as text. */
static void
put_row(StatementBuffer *buffer, const Datum *view, const bool *view_nulls,
		const TranscriptMessage *message, int32 changed)
{
	/* the view's columns in the order of the buffer's */
	static const int view_columns[ROW_NCOLUMNS - BUFFER_PAYLOAD] =
		{VIEW_PARENT_SEQ, VIEW_ROLE,       VIEW_CONTENT,    VIEW_MODEL,
		 VIEW_TOKENS,     VIEW_CREATED_AT, VIEW_MESSAGE_ID, VIEW_METADATA};
	Datum values[ROW_NCOLUMNS];
	bool nulls[ROW_NCOLUMNS] = {0};

	values[BUFFER_ACCOUNT] = PointerGetDatum(DatumGetTextPP(view[VIEW_ACCOUNT_ID]));
	values[BUFFER_CONVERSATION] = view[VIEW_CONVERSATION_ID];
	values[BUFFER_SEQ] = view[VIEW_SEQ];
	nulls[BUFFER_SEQ] = view_nulls[VIEW_SEQ];
	values[BUFFER_CHANGED] = Int32GetDatum(changed);
	for (int i = 0; i < lengthof(view_columns); i++)
	{
		values[BUFFER_PAYLOAD + i] = view[view_columns[i]];
		nulls[BUFFER_PAYLOAD + i] = view_nulls[view_columns[i]];
	}
	if (message->metadata != NULL)
		values[ROW_METADATA] =
			PointerGetDatum(cstring_to_text_with_len(message->metadata, message->metadata_len));
	buffer_put(buffer, describe_row, values, nulls);
}

/*
 * The account of a row that names none: the session's, else the owner of the
 * existing conversation.  Needs an SPI connection.
 */
static text *
owner_of(const pg_uuid_t *id)
{
	Datum values[1];
	bool isnull;
	uint64 owners;

	if (account_confined() != NULL)
		return account_check(NULL);

	values[0] = UUIDPGetDatum(id);
	owners = store_execute(STORE_CONVERSATION_OWNERS, values, NULL, false);
	if (owners != 1)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("account_id must not be null"),
				 owners == 0
					 ? errdetail("Conversation %s does not exist.", store_uuid_string(id))
					 : errdetail("Several accounts have a conversation %s.", store_uuid_string(id)),
				 errhint("Name the account; it can be left out only for an existing "
						 "conversation.")));
	return (text *) DatumGetPointer(store_column(0, 1, &isnull));
}

/* Reads next_seq and leaf under the account's lock. */
static void
count_conversation(StatementBuffer *buffer, BufferNumbering *numbering, text *account_id)
{
	StoreAccount *account = buffer_lock_account(buffer, account_id, true);
	StoreConversation *conversation =
		store_open_conversation(account, &numbering->key.id, STORE_CREATE);

	if (conversation->next_seq > numbering->next_seq)
	{
		numbering->next_seq = conversation->next_seq;
		numbering->leaf = conversation->leaf;
	}
	numbering->has_tail = conversation->tail_count > 0;
	numbering->has_segments = conversation->message_count > conversation->tail_count;
	numbering->counted = true;
}

/* The next number, or that of the message that has the row's message_id already. */
static int64
next_number(StatementBuffer *buffer, BufferNumbering *numbering, const TranscriptMessage *message)
{
	if (message->message_id == NULL)
		return numbering->next_seq;
	if (numbering->ids == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(buffer_context(buffer));

		numbering->ids = store_ids_create(&numbering->key.id, numbering->key.account_id,
										  numbering->has_tail, numbering->has_segments);
		MemoryContextSwitchTo(old);
	}
	return store_ids_number(numbering->ids, message, numbering->next_seq);
}

/* Gives an INSERT's row its number and parent.  Needs an SPI connection. */
static void
number_row(StatementBuffer *buffer, const TranscriptMessage *message, Datum *values, bool *nulls)
{
	text *account_id = DatumGetTextPP(values[VIEW_ACCOUNT_ID]);
	BufferNumbering *numbering =
		buffer_numbering(buffer, DatumGetUUIDP(values[VIEW_CONVERSATION_ID]), account_id);

	if (nulls[VIEW_SEQ])
	{
		if (!numbering->counted)
			count_conversation(buffer, numbering, account_id);
		values[VIEW_SEQ] = Int64GetDatum(next_number(buffer, numbering, message));
		nulls[VIEW_SEQ] = false;
	}
	if (DatumGetInt64(values[VIEW_SEQ]) < numbering->next_seq)
		return;
	if (nulls[VIEW_PARENT_SEQ] && numbering->counted)
	{
		values[VIEW_PARENT_SEQ] = Int64GetDatum(numbering->leaf);
		nulls[VIEW_PARENT_SEQ] = false;
	}
	numbering->leaf = DatumGetInt64(values[VIEW_SEQ]);
	numbering->next_seq = numbering->leaf + 1;
}

/* What the view keeps in a statement's buffer; lives in its context. */
typedef struct MessagesStatement
{
	StoreSampler *sampler; /* NULL: no dictionary is to be trained */
	HeapTuple copied_row;
} MessagesStatement;

static MessagesStatement *
statement_data(StatementBuffer *buffer)
{
	void **data = buffer_data(buffer);

	if (*data == NULL)
		*data = MemoryContextAllocZero(buffer_context(buffer), sizeof(MessagesStatement));
	return *data;
}

/* Sets text aside for the first dictionary: see sampler.c. */
static void
sample_row(StatementBuffer *buffer, const Datum *values, const TranscriptMessage *message)
{
	MessagesStatement *statement = statement_data(buffer);

	if (buffer_rows(buffer) == SAMPLED_FROM)
		statement->sampler = sampler_create(buffer_context(buffer));
	if (statement->sampler != NULL)
		sampler_add(statement->sampler, DatumGetTextPP(values[VIEW_ACCOUNT_ID]),
					DatumGetUUIDP(values[VIEW_CONVERSATION_ID]), message->content,
					message->content_len);
}

/*
 * What a COPY's row trigger returns.  The executor frees its own tuple only
 * when it gets another one back, and reads nothing of that but to hand it to
 * the next trigger; so, where there is none, an empty row does.
 */
static HeapTuple
copied_row(StatementBuffer *buffer, const TriggerData *trigger)
{
	const TriggerDesc *triggers = trigger->tg_relation->trigdesc;
	TupleDesc descriptor = RelationGetDescr(trigger->tg_relation);
	MessagesStatement *statement = statement_data(buffer);
	Datum values[VIEW_NCOLUMNS] = {0};
	bool nulls[VIEW_NCOLUMNS];
	MemoryContext old;
	int inserting = 0;

	if (statement->copied_row != NULL)
		return statement->copied_row;
	for (int i = 0; i < triggers->numtriggers; i++)
		if (TRIGGER_TYPE_MATCHES(triggers->triggers[i].tgtype, TRIGGER_TYPE_ROW,
								 TRIGGER_TYPE_INSTEAD, TRIGGER_TYPE_INSERT))
			inserting++;
	if (inserting > 1)
		return heap_copytuple(trigger->tg_trigtuple);
	old = MemoryContextSwitchTo(buffer_context(buffer));
	memset(nulls, true, sizeof(nulls));
	statement->copied_row = heap_form_tuple(descriptor, values, nulls);
	MemoryContextSwitchTo(old);
	return statement->copied_row;
}

PG_FUNCTION_INFO_V1(memory_messages_insert);

/*
 * memory_messages_insert() → trigger
 *		INSTEAD OF INSERT on memory.messages.  Errors: those of
 *		account_check, store_check_seq and store_check_message; 22004 no
 *		conversation_id.
 */
Datum
memory_messages_insert(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = buffer_trigger(fcinfo, VIEW_NCOLUMNS);
	TupleDesc descriptor = RelationGetDescr(trigger->tg_relation);
	StatementBuffer *buffer = buffer_find(trigger);
	Datum values[VIEW_NCOLUMNS];
	bool nulls[VIEW_NCOLUMNS];
	TranscriptMessage message;
	bool copying = buffer_copying();
	MemoryContext row_context = CurrentMemoryContext;
	bool ask_store;

	heap_deform_tuple(trigger->tg_trigtuple, descriptor, values, nulls);
	if (nulls[VIEW_CONVERSATION_ID])
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("conversation_id must not be null"),
				 errhint("Name a conversation; memory.create_conversation makes a new one.")));
	if (!nulls[VIEW_ACCOUNT_ID])
		account_check(DatumGetTextPP(values[VIEW_ACCOUNT_ID]));
	if (!nulls[VIEW_SEQ])
		store_check_seq(DatumGetInt64(values[VIEW_SEQ]));
	check_row(values, nulls, &message);

	ask_store = nulls[VIEW_ACCOUNT_ID] || !copying;
	if (ask_store)
	{
		SPI_connect();
		if (nulls[VIEW_ACCOUNT_ID])
		{
			text *owner = owner_of(DatumGetUUIDP(values[VIEW_CONVERSATION_ID]));
			MemoryContext old = MemoryContextSwitchTo(row_context);

			values[VIEW_ACCOUNT_ID] = datumCopy(PointerGetDatum(owner), false, -1);
			nulls[VIEW_ACCOUNT_ID] = false;
			MemoryContextSwitchTo(old);
		}
		if (!copying)
			number_row(buffer, &message, values, nulls);
		SPI_finish();
	}
	put_row(buffer, values, nulls, &message, 0);
	sample_row(buffer, values, &message);

	if (copying)
		return PointerGetDatum(copied_row(buffer, trigger));
	return PointerGetDatum(heap_form_tuple(descriptor, values, nulls));
}

static void
refuse_key_change(TupleDesc descriptor, int32 changed)
{
	for (int i = VIEW_CONVERSATION_ID; i <= VIEW_SEQ; i++)
		if (CHANGED(changed, i))
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("column \"%s\" of a message cannot be changed",
								   NameStr(TupleDescAttr(descriptor, i)->attname)),
							errhint("Delete the message and append it where it belongs.")));
}

PG_FUNCTION_INFO_V1(memory_messages_update);

/*
 * memory_messages_update() → trigger
 *		INSTEAD OF UPDATE on memory.messages: the columns that differ are taken
 *		over at the statement's end.  Errors: 0A000 a key is changed, those of
 *		store_check_message.
 */
Datum
memory_messages_update(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = buffer_trigger(fcinfo, VIEW_NCOLUMNS);
	TupleDesc descriptor = RelationGetDescr(trigger->tg_relation);
	Datum old[VIEW_NCOLUMNS];
	bool old_nulls[VIEW_NCOLUMNS];
	Datum values[VIEW_NCOLUMNS];
	bool nulls[VIEW_NCOLUMNS];
	TranscriptMessage message;
	int32 changed;

	heap_deform_tuple(trigger->tg_trigtuple, descriptor, old, old_nulls);
	heap_deform_tuple(trigger->tg_newtuple, descriptor, values, nulls);
	changed = buffer_changed_columns(descriptor, old, old_nulls, values, nulls);
	refuse_key_change(descriptor, changed);
	if (CHANGED(changed, VIEW_CONTENT) && !CHANGED(changed, VIEW_TOKENS))
		nulls[VIEW_TOKENS] = true; /* the old count belongs to the old content */
	check_row(values, nulls, &message);
	account_check(DatumGetTextPP(values[VIEW_ACCOUNT_ID]));
	put_row(buffer_find(trigger), values, nulls, &message, changed);
	return PointerGetDatum(heap_form_tuple(descriptor, values, nulls));
}

PG_FUNCTION_INFO_V1(memory_messages_delete);

/*
 * memory_messages_delete() → trigger
 *		INSTEAD OF DELETE on memory.messages.
 */
Datum
memory_messages_delete(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = buffer_trigger(fcinfo, VIEW_NCOLUMNS);
	Datum values[VIEW_NCOLUMNS];
	bool nulls[VIEW_NCOLUMNS];
	TranscriptMessage nothing = {0};

	heap_deform_tuple(trigger->tg_trigtuple, RelationGetDescr(trigger->tg_relation), values, nulls);
	account_check(DatumGetTextPP(values[VIEW_ACCOUNT_ID]));
	for (int i = VIEW_PARENT_SEQ; i < VIEW_NCOLUMNS; i++)
		nulls[i] = true; /* the keys are enough */
	put_row(buffer_find(trigger), values, nulls, &nothing, 0);
	return PointerGetDatum(trigger->tg_trigtuple);
}

/* ---- rows out, at the statement's end ---- */

/* Where the rows stand, and the contexts that hold a conversation's and a row's part. */
typedef struct Flush
{
	StatementBuffer *buffer;
	bool bulk;
	StoreQueue *queue;     /* of a bulk INSERT; else NULL */
	StoreLookahead *ahead; /* likewise */
	MeteringBatch *usage;  /* of the account; in the statement's context */
	MemoryContext context; /* the statement's */
	MemoryContext conversation_context;
	MemoryContext row_context;
	MemoryContext change_context;    /* the texts of the changes at hand */
	StoreAccount *account;           /* the buffer's; NULL: it was forgotten meanwhile */
	StoreConversation *conversation; /* in conversation_context */
	int64 seen_revision;             /* see seen_revision(); -1: not looked up yet */
	StoreChange *changes;            /* of UPDATE and DELETE; likewise */
	int nchanges;
	Size changed_bytes;
} Flush;

static const char *
slot_bytes(TupleTableSlot *slot, int column, uint32 *length)
{
	const char *data;

	take_text(&slot->tts_values[column], slot->tts_isnull[column], &data, length);
	return data;
}

/* A buffered row as a message; its texts point into the slot. */
static void
row_message(TupleTableSlot *slot, TranscriptMessage *message)
{
	Datum *values = slot->tts_values;
	bool *nulls = slot->tts_isnull;

	memset(message, 0, sizeof(*message));
	message->seq = nulls[BUFFER_SEQ] ? 0 : DatumGetInt64(values[BUFFER_SEQ]);
	message->parent_seq = nulls[ROW_PARENT_SEQ] ? -1 : DatumGetInt64(values[ROW_PARENT_SEQ]);
	message->role = slot_bytes(slot, ROW_ROLE, &message->role_len);
	message->content = slot_bytes(slot, ROW_CONTENT, &message->content_len);
	message->model = slot_bytes(slot, ROW_MODEL, &message->model_len);
	message->message_id = slot_bytes(slot, ROW_MESSAGE_ID, &message->message_id_len);
	message->metadata = slot_bytes(slot, ROW_METADATA, &message->metadata_len);
	message->tokens = DatumGetInt32(values[ROW_TOKENS]);
	message->created_at = DatumGetTimestampTz(values[ROW_CREATED_AT]);
	message->has_created_at = true;
}

static void
apply_changes(Flush *flush)
{
	if (flush->nchanges > 0)
		store_apply_changes(flush->conversation, flush->changes, flush->nchanges);
	flush->nchanges = 0;
	flush->changed_bytes = 0;
	MemoryContextReset(flush->change_context);
}

static void
close_conversation(Flush *flush)
{
	MemoryContext old = MemoryContextSwitchTo(flush->conversation_context);

	if (flush->conversation != NULL)
	{
		apply_changes(flush);
		store_close_conversation(flush->conversation, flush->bulk);
	}
	flush->conversation = NULL;
	flush->changes = NULL;
	MemoryContextSwitchTo(old);
	MemoryContextReset(flush->conversation_context);
}

/* Charges what the statement used of the account it leaves. */
static void
end_account(Flush *flush)
{
	MemoryContext old = MemoryContextSwitchTo(flush->row_context);

	if (flush->account != NULL)
		store_end_account(flush->account);
	flush->account = NULL;
	MemoryContextSwitchTo(old);
}

static StoreConversation *
open_conversation(Flush *flush, const pg_uuid_t *id, StoreOpenMode mode)
{
	if (flush->ahead == NULL)
		return store_open_conversation(flush->account, id, mode);
	return store_open_known(flush->account, id, lookahead_known(flush->ahead));
}

/* Goes on to the row's account and conversation, in key order. */
static void
follow_row(Flush *flush, TupleTableSlot *slot, StoreOpenMode mode)
{
	text *account_id = DatumGetTextPP(slot->tts_values[BUFFER_ACCOUNT]);
	pg_uuid_t *id = DatumGetUUIDP(slot->tts_values[BUFFER_CONVERSATION]);
	bool same_account =
		flush->account != NULL && account_same(account_id, flush->account->account_id);

	if (same_account && flush->conversation != NULL &&
		memcmp(id, &flush->conversation->id, UUID_LEN) == 0)
		return;

	close_conversation(flush);
	if (!same_account)
	{
		end_account(flush);
		MemoryContextSwitchTo(flush->context);
		flush->usage = metering_batch_follow(flush->usage, account_id);
		flush->account = buffer_lock_account(flush->buffer, account_id, mode == STORE_CREATE);
	}
	MemoryContextSwitchTo(flush->conversation_context);
	flush->conversation = flush->account == NULL ? NULL : open_conversation(flush, id, mode);
	flush->seen_revision = -1;
	if (flush->conversation != NULL)
	{
		flush->conversation->queue = flush->queue;
		flush->conversation->usage = flush->usage;
	}
}

/*
 * The conversation's revision as the statement saw it.  An UPDATE's new values
 * were made from what it saw, so a message that has a later revision must not
 * take them: the other change would be lost.
 */
static int64
seen_revision(Flush *flush)
{
	Datum values[2];
	bool isnull;

	if (flush->seen_revision >= 0)
		return flush->seen_revision;
	flush->seen_revision = 0;
	values[0] = UUIDPGetDatum(&flush->conversation->id);
	values[1] = PointerGetDatum(flush->account->account_id);
	/* read-only: under the snapshot of the statement itself */
	if (store_execute(STORE_CONVERSATION_READ, values, NULL, true) == 1)
		flush->seen_revision = DatumGetInt64(store_column(0, 12, &isnull));
	return flush->seen_revision;
}

static void
flush_insert(Flush *flush, TupleTableSlot *slot)
{
	TranscriptMessage message;

	follow_row(flush, slot, STORE_CREATE);
	MemoryContextSwitchTo(flush->row_context);
	row_message(slot, &message);
	store_add_message(flush->conversation, &message);
}

static StoreChange *
next_change(Flush *flush, TupleTableSlot *slot)
{
	StoreChange *change;

	follow_row(flush, slot, STORE_PROBE);
	if (flush->conversation == NULL)
		return NULL; /* deleted since the statement saw it */

	MemoryContextSwitchTo(flush->conversation_context);
	if (flush->nchanges == CHANGES_AT_ONCE || flush->changed_bytes > CHANGED_BYTES_AT_ONCE)
		apply_changes(flush);
	if (flush->changes == NULL)
		flush->changes = palloc(CHANGES_AT_ONCE * sizeof(StoreChange));
	change = &flush->changes[flush->nchanges];
	memset(change, 0, sizeof(*change));
	change->seq = DatumGetInt64(slot->tts_values[BUFFER_SEQ]);
	if (flush->nchanges > 0 && change[-1].seq == change->seq)
		return NULL; /* a join gave the same row twice: the first counts, as in a table */
	flush->nchanges++;
	return change;
}

static void
flush_delete(Flush *flush, TupleTableSlot *slot)
{
	StoreChange *change = next_change(flush, slot);

	if (change != NULL)
		change->remove = true;
}

static const char *
keep_bytes(const char *data, uint32 length)
{
	return data == NULL ? NULL : pnstrdup(data, length);
}

static void
flush_update(Flush *flush, TupleTableSlot *slot)
{
	StoreChange *change = next_change(flush, slot);
	int32 changed = DatumGetInt32(slot->tts_values[BUFFER_CHANGED]);
	TranscriptMessage *message;

	if (change == NULL)
		return;
	message = &change->message;
	change->seen_revision = seen_revision(flush);
	row_message(slot, message);
	MemoryContextSwitchTo(flush->change_context);
	message->role = keep_bytes(message->role, message->role_len);
	message->content = keep_bytes(message->content, message->content_len);
	message->model = keep_bytes(message->model, message->model_len);
	message->message_id = keep_bytes(message->message_id, message->message_id_len);
	message->metadata = keep_bytes(message->metadata, message->metadata_len);
	flush->changed_bytes += message->content_len + message->metadata_len;

	change->set_role = CHANGED(changed, VIEW_ROLE);
	change->set_content = CHANGED(changed, VIEW_CONTENT);
	change->set_model = CHANGED(changed, VIEW_MODEL);
	change->set_tokens = CHANGED(changed, VIEW_TOKENS);
	change->set_created_at = CHANGED(changed, VIEW_CREATED_AT);
	change->set_message_id = CHANGED(changed, VIEW_MESSAGE_ID);
	change->set_metadata = CHANGED(changed, VIEW_METADATA);
	change->set_parent = CHANGED(changed, VIEW_PARENT_SEQ);
	MemoryContextSwitchTo(flush->conversation_context);
	if (change->set_parent)
	{
		store_check_parent(flush->conversation, change->seq, &message->parent_seq);
		flush->conversation->branched = true;
	}
}

static void
flush_rows(StatementBuffer *buffer, void (*write_row)(Flush *, TupleTableSlot *))
{
	Flush flush = {0};
	TupleTableSlot *slot;
	BufferErrorContext where;
	MemoryContext old = CurrentMemoryContext;

	flush.buffer = buffer;
	flush.context = old;
	flush.bulk = buffer_rows(buffer) > store_segment_messages;
	flush.conversation_context =
		AllocSetContextCreate(old, "memory_ext conversation", ALLOCSET_DEFAULT_SIZES);
	flush.row_context = AllocSetContextCreate(old, "memory_ext row", ALLOCSET_DEFAULT_SIZES);
	flush.change_context = AllocSetContextCreate(old, "memory_ext change", ALLOCSET_DEFAULT_SIZES);

	buffer_push_error_context(&where, "messages");
	buffer_lock_subscriptions(buffer);
	if (flush.bulk && write_row == flush_insert)
	{
		flush.queue = store_queue_create();
		flush.ahead = lookahead_create(buffer, flush.queue);
	}
	while (flush.ahead != NULL ? lookahead_next(flush.ahead, &slot) : buffer_next(buffer, &slot))
	{
		CHECK_FOR_INTERRUPTS();
		buffer_locate(&where, slot);
		write_row(&flush, slot);
		MemoryContextReset(flush.row_context);
	}
	close_conversation(&flush);
	end_account(&flush);
	buffer_save_subscriptions(buffer);
	if (flush.ahead != NULL)
		lookahead_end(flush.ahead);
	store_queue_write(flush.queue);
	metering_batch_end(flush.usage);

	buffer_pop_error_context(&where);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(flush.change_context);
	MemoryContextDelete(flush.row_context);
	MemoryContextDelete(flush.conversation_context);
}

PG_FUNCTION_INFO_V1(memory_statement_begin);

/*
 * memory_statement_begin() → trigger
 *		BEFORE STATEMENT on the store's views: a new buffer for the statement.
 */
Datum
memory_statement_begin(PG_FUNCTION_ARGS)
{
	buffer_push(buffer_trigger(fcinfo, 0));
	PG_RETURN_POINTER(NULL);
}

PG_FUNCTION_INFO_V1(memory_messages_end);

/*
 * memory_messages_end() → trigger
 *		AFTER STATEMENT on memory.messages: writes the buffered rows.  Errors:
 *		those of store_open_conversation and store_add_message, with the row's
 *		place in the statement as context.
 */
Datum
memory_messages_end(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = buffer_trigger(fcinfo, 0);
	StatementBuffer *buffer = buffer_pop(trigger);

	SPI_connect();
	if (statement_data(buffer)->sampler != NULL)
		sampler_train(statement_data(buffer)->sampler);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		flush_rows(buffer, flush_insert);
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		flush_rows(buffer, flush_update);
	else
		flush_rows(buffer, flush_delete);
	SPI_finish();
	buffer_free(buffer);
	PG_RETURN_POINTER(NULL);
}
