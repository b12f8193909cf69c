/*
 * modify_messages.c
 *		INSERT, COPY, UPDATE and DELETE on memory.messages.
 *
 * Rows are checked as they come, buffered, and written at the statement's end,
 * account by account and conversation by conversation.  Only a row whose number
 * must be known at once, because RETURNING shows it or a trigger is to see it,
 * takes its account's lock before.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "relation_private.h"

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

/* The columns of a buffered row. */
TupleDesc
messages_buffered(void)
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

/* Checks a row, but for its place, and fills in what was left out. */
static void
check_row(Datum *values, bool *nulls, TranscriptMessage *message)
{
	memset(message, 0, sizeof(*message));
	take_text(&values[MESSAGES_ROLE], nulls[MESSAGES_ROLE], &message->role, &message->role_len);
	take_text(&values[MESSAGES_CONTENT], nulls[MESSAGES_CONTENT], &message->content,
			  &message->content_len);
	take_text(&values[MESSAGES_MODEL], nulls[MESSAGES_MODEL], &message->model, &message->model_len);
	take_text(&values[MESSAGES_MESSAGE_ID], nulls[MESSAGES_MESSAGE_ID], &message->message_id,
			  &message->message_id_len);
	if (!nulls[MESSAGES_METADATA])
	{
		Jsonb *metadata = DatumGetJsonbP(values[MESSAGES_METADATA]);

		store_check_metadata(metadata, "message");
		message->metadata = JsonbToCString(NULL, &metadata->root, VARSIZE(metadata));
		message->metadata_len = strlen(message->metadata);
	}
	if (!nulls[MESSAGES_PARENT_SEQ])
		store_check_parent_given(DatumGetInt64(values[MESSAGES_PARENT_SEQ]));
	message->tokens = -1;
	if (!nulls[MESSAGES_TOKENS])
	{
		message->tokens = DatumGetInt32(values[MESSAGES_TOKENS]);
		if (message->tokens < 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("tokens must not be negative, it is %d", message->tokens),
							errhint("Leave tokens out to have them estimated.")));
	}
	message->has_created_at = !nulls[MESSAGES_CREATED_AT];
	message->created_at = message->has_created_at ? DatumGetTimestampTz(values[MESSAGES_CREATED_AT])
												  : GetCurrentStatementStartTimestamp();
	message->has_created_at = true;
	store_check_message(message);

	nulls[MESSAGES_TOKENS] = false;
	values[MESSAGES_TOKENS] = Int32GetDatum(message->tokens);
	nulls[MESSAGES_CREATED_AT] = false;
	values[MESSAGES_CREATED_AT] = TimestampTzGetDatum(message->created_at);
}

/* Gathers a checked row; message holds its metadata as text. */
static void
put_row(RelationModify *modify, const Datum *row, const bool *row_nulls,
		const TranscriptMessage *message, int32 changed)
{
	/* the relation's columns in the order of the buffered row's */
	static const int columns[ROW_NCOLUMNS - BUFFER_PAYLOAD] =
		{MESSAGES_PARENT_SEQ, MESSAGES_ROLE,       MESSAGES_CONTENT,    MESSAGES_MODEL,
		 MESSAGES_TOKENS,     MESSAGES_CREATED_AT, MESSAGES_MESSAGE_ID, MESSAGES_METADATA};
	Datum values[ROW_NCOLUMNS];
	bool nulls[ROW_NCOLUMNS] = {0};

	values[BUFFER_ACCOUNT] = PointerGetDatum(DatumGetTextPP(row[MESSAGES_ACCOUNT_ID]));
	values[BUFFER_CONVERSATION] = row[MESSAGES_CONVERSATION_ID];
	values[BUFFER_SEQ] = row[MESSAGES_SEQ];
	nulls[BUFFER_SEQ] = row_nulls[MESSAGES_SEQ];
	values[BUFFER_CHANGED] = Int32GetDatum(changed);
	for (int i = 0; i < lengthof(columns); i++)
	{
		values[BUFFER_PAYLOAD + i] = row[columns[i]];
		nulls[BUFFER_PAYLOAD + i] = row_nulls[columns[i]];
	}
	if (message->metadata != NULL)
		values[ROW_METADATA] =
			PointerGetDatum(cstring_to_text_with_len(message->metadata, message->metadata_len));
	row_buffer_put(modify->buffer, values, nulls);
}

/* Reads next_seq and leaf under the account's lock. */
static void
count_conversation(RelationModify *modify, RowNumbering *numbering, const pg_uuid_t *id,
				   text *account_id)
{
	StoreAccount *account = row_buffer_lock_account(modify->buffer, account_id, true);
	StoreConversation *conversation = store_open_conversation(account, id, STORE_CREATE);

	/* what the statement has put behind the last message is the leaf by then */
	if (numbering->leaf == 0 || numbering->leaf <= store_last_message(conversation))
		numbering->leaf = conversation->leaf;
	numbering->next_seq = Max(numbering->next_seq, conversation->next_seq);
	numbering->has_tail = conversation->tail_count > 0;
	numbering->has_segments = conversation->message_count > conversation->tail_count;
	numbering->counted = true;
}

/* The next number, or that of the message that has the row's message_id already. */
static int64
next_number(RelationModify *modify, RowNumbering *numbering, const pg_uuid_t *id, text *account_id,
			const TranscriptMessage *message)
{
	if (message->message_id == NULL)
		return numbering->next_seq;
	if (numbering->ids == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(row_buffer_context(modify->buffer));

		numbering->ids =
			store_ids_create(id, account_id, numbering->has_tail, numbering->has_segments);
		MemoryContextSwitchTo(old);
	}
	return store_ids_number(numbering->ids, message, numbering->next_seq);
}

/*
 * Gives an INSERT's row its number, and the parent that follows from it.  The lock of
 * the account is taken only where a number is to be given.
 */
static void
number_row(RelationModify *modify, const TranscriptMessage *message, Datum *values, bool *nulls)
{
	text *account_id = DatumGetTextPP(values[MESSAGES_ACCOUNT_ID]);
	const pg_uuid_t *id = DatumGetUUIDP(values[MESSAGES_CONVERSATION_ID]);
	RowNumbering *numbering = row_buffer_numbering(modify->buffer, id, account_id);

	if (nulls[MESSAGES_SEQ])
	{
		if (!numbering->counted)
			count_conversation(modify, numbering, id, account_id);
		values[MESSAGES_SEQ] =
			Int64GetDatum(next_number(modify, numbering, id, account_id, message));
		nulls[MESSAGES_SEQ] = false;
	}
	if (DatumGetInt64(values[MESSAGES_SEQ]) < numbering->next_seq)
		return;
	if (nulls[MESSAGES_PARENT_SEQ] && numbering->counted)
	{
		values[MESSAGES_PARENT_SEQ] = Int64GetDatum(numbering->leaf);
		nulls[MESSAGES_PARENT_SEQ] = false;
	}
	numbering->leaf = DatumGetInt64(values[MESSAGES_SEQ]);
	numbering->next_seq = numbering->leaf + 1;
}

/* Sets text aside for the first dictionary: see sampler.c. */
static void
sample_row(RelationModify *modify, const Datum *values, const TranscriptMessage *message)
{
	if (modify->shares_buffer)
		return;
	if (row_buffer_rows(modify->buffer) == SAMPLED_FROM)
		modify->sampler = sampler_create(MemoryContextGetParent(modify->row_context));
	if (modify->sampler != NULL)
		sampler_add(modify->sampler, DatumGetTextPP(values[MESSAGES_ACCOUNT_ID]),
					DatumGetUUIDP(values[MESSAGES_CONVERSATION_ID]), message->content,
					message->content_len);
}

/* Whether the row is there already; the account's lock is held from then on. */
static bool
is_there(RelationModify *modify, const TranscriptMessage *message, const Datum *values,
		 const bool *nulls)
{
	text *account_id = DatumGetTextPP(values[MESSAGES_ACCOUNT_ID]);
	StoreAccount *account;
	StoreConversation *conversation;

	if (nulls[MESSAGES_SEQ] && message->message_id == NULL)
		return false;
	account = row_buffer_lock_account(modify->buffer, account_id, true);
	conversation = store_open_conversation(account, DatumGetUUIDP(values[MESSAGES_CONVERSATION_ID]),
										   STORE_CREATE);
	if (!nulls[MESSAGES_SEQ] &&
		store_message_exists(conversation, DatumGetInt64(values[MESSAGES_SEQ])))
		return true;
	return store_has_message_id(conversation, message);
}

/*
 * messages_insert
 *		Takes a row of INSERT or COPY.  Errors: those of account_check,
 *		store_check_seq and store_check_message; 22004 no conversation_id.
 */
bool
messages_insert(RelationModify *modify, Datum *values, bool *nulls)
{
	TranscriptMessage message;

	if (nulls[MESSAGES_CONVERSATION_ID])
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("conversation_id must not be null"),
				 errhint("Name a conversation; memory.create_conversation makes a new one.")));
	if (!nulls[MESSAGES_ACCOUNT_ID])
		account_check(DatumGetTextPP(values[MESSAGES_ACCOUNT_ID]));
	if (!nulls[MESSAGES_SEQ])
		store_check_seq(DatumGetInt64(values[MESSAGES_SEQ]));
	check_row(values, nulls, &message);
	if (nulls[MESSAGES_ACCOUNT_ID])
	{
		values[MESSAGES_ACCOUNT_ID] =
			PointerGetDatum(store_owner_of(DatumGetUUIDP(values[MESSAGES_CONVERSATION_ID])));
		nulls[MESSAGES_ACCOUNT_ID] = false;
	}
	if (modify->skips_conflicts && is_there(modify, &message, values, nulls))
		return false;
	if (modify->returns)
		number_row(modify, &message, values, nulls);
	put_row(modify, values, nulls, &message, 0);
	sample_row(modify, values, &message);
	return true;
}

static void
refuse_key_change(TupleDesc descriptor, int32 changed)
{
	for (int i = MESSAGES_CONVERSATION_ID; i <= MESSAGES_SEQ; i++)
		if (CHANGED(changed, i))
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("column \"%s\" of a message cannot be changed",
								   NameStr(TupleDescAttr(descriptor, i)->attname)),
							errhint("Delete the message and append it where it belongs.")));
}

/*
 * messages_update
 *		Takes the new version of a row: the columns that differ are taken over
 *		at the statement's end.  Errors: 0A000 a key is changed, those of
 *		store_check_message.
 */
void
messages_update(RelationModify *modify, const Datum *old, const bool *old_nulls, Datum *values,
				bool *nulls)
{
	TupleDesc descriptor = RelationGetDescr(modify->relation);
	int32 changed = row_buffer_changed_columns(descriptor, old, old_nulls, values, nulls);
	TranscriptMessage message;

	refuse_key_change(descriptor, changed);
	if (CHANGED(changed, MESSAGES_CONTENT) && !CHANGED(changed, MESSAGES_TOKENS))
		nulls[MESSAGES_TOKENS] = true; /* the old count belongs to the old content */
	check_row(values, nulls, &message);
	account_check(DatumGetTextPP(values[MESSAGES_ACCOUNT_ID]));
	put_row(modify, values, nulls, &message, changed);
}

/* Takes a row to be deleted, of which the keys are enough: conversation_id, account_id, seq. */
void
messages_delete(RelationModify *modify, const Datum *keys)
{
	Datum values[MESSAGES_NCOLUMNS] = {0};
	bool nulls[MESSAGES_NCOLUMNS];
	TranscriptMessage nothing = {0};

	memset(nulls, true, sizeof(nulls));
	for (int i = MESSAGES_CONVERSATION_ID; i <= MESSAGES_SEQ; i++)
	{
		values[i] = keys[i];
		nulls[i] = false;
	}
	account_check(DatumGetTextPP(values[MESSAGES_ACCOUNT_ID]));
	put_row(modify, values, nulls, &nothing, 0);
}

/* ---- rows out, at the statement's end ---- */

/* Where the rows stand, and the contexts that hold a conversation's and a row's part. */
typedef struct Flush
{
	RowBuffer *buffer;
	bool bulk;
	StoreQueue *queue;     /* of a bulk INSERT; else NULL */
	Lookahead *ahead;      /* likewise */
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
	return store_open_existing(flush->account, id, lookahead_existing(flush->ahead));
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
		flush->account = row_buffer_lock_account(flush->buffer, account_id, mode == STORE_CREATE);
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

/* The conversation's revision as the statement saw it: see store_seen_revision. */
static int64
seen_revision(Flush *flush)
{
	if (flush->seen_revision < 0)
		flush->seen_revision = store_seen_revision(flush->conversation);
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

	change->set_role = CHANGED(changed, MESSAGES_ROLE);
	change->set_content = CHANGED(changed, MESSAGES_CONTENT);
	change->set_model = CHANGED(changed, MESSAGES_MODEL);
	change->set_tokens = CHANGED(changed, MESSAGES_TOKENS);
	change->set_created_at = CHANGED(changed, MESSAGES_CREATED_AT);
	change->set_message_id = CHANGED(changed, MESSAGES_MESSAGE_ID);
	change->set_metadata = CHANGED(changed, MESSAGES_METADATA);
	change->set_parent = CHANGED(changed, MESSAGES_PARENT_SEQ);
	MemoryContextSwitchTo(flush->conversation_context);
	if (change->set_parent)
	{
		store_check_parent(flush->conversation, change->seq, &message->parent_seq);
		flush->conversation->branched = true;
	}
}

static void
write_rows(Flush *flush, void (*write_row)(Flush *, TupleTableSlot *))
{
	RowErrorContext where;
	TupleTableSlot *slot;

	row_buffer_push_error_context(&where, "messages");
	row_buffer_lock_subscriptions(flush->buffer);
	if (flush->bulk && write_row == flush_insert)
	{
		flush->queue = store_queue_create();
		flush->ahead = lookahead_create(flush->buffer, flush->queue);
	}
	while (flush->ahead != NULL ? lookahead_next(flush->ahead, &slot)
								: row_buffer_next(flush->buffer, &slot))
	{
		CHECK_FOR_INTERRUPTS();
		row_buffer_locate(&where, slot);
		write_row(flush, slot);
		MemoryContextReset(flush->row_context);
	}
	close_conversation(flush);
	end_account(flush);
	row_buffer_save_subscriptions(flush->buffer);
	if (flush->ahead != NULL)
		lookahead_end(flush->ahead);
	store_queue_write(flush->queue);
	metering_batch_end(flush->usage);
	row_buffer_pop_error_context(&where);
}

/*
 * messages_write
 *		Writes the buffered rows.  Errors: those of store_open_conversation and
 *		store_add_message, with the row's place in the statement as context.
 */
void
messages_write(RelationModify *modify)
{
	static void (*const writers[])(Flush *, TupleTableSlot *) = {flush_insert, flush_update,
																 flush_delete};
	Flush flush = {0};
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext write", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	if (modify->sampler != NULL)
		sampler_train(modify->sampler);
	modify->sampler = NULL;
	flush.buffer = modify->buffer;
	flush.context = context;
	flush.bulk = row_buffer_rows(modify->buffer) > store_segment_messages;
	flush.conversation_context =
		AllocSetContextCreate(context, "memory_ext conversation", ALLOCSET_DEFAULT_SIZES);
	flush.row_context = AllocSetContextCreate(context, "memory_ext row", ALLOCSET_DEFAULT_SIZES);
	flush.change_context =
		AllocSetContextCreate(context, "memory_ext change", ALLOCSET_DEFAULT_SIZES);
	write_rows(&flush, writers[modify->command]);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
