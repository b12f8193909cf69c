/*
 * conversation.c
 *		Making, changing and deleting conversations.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "arguments.h"
#include "audit.h"
#include "memory_limits.h"
#include "sql_text.h"
#include "statement.h"
#include "store_private.h"

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
	if (head_seq >= conversation->next_seq && head_seq <= MEMORY_MAX_SEQ && conversation->fresh)
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

/* clang-format off */
static PlanStatement conversation_set_statement = {
	"UPDATE memory_store.conversations"
	" SET title = CASE WHEN $3 THEN $4 ELSE title END, metadata = CASE WHEN $5"
	" THEN $6 ELSE metadata END, archived = COALESCE($7, archived)"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2",
	7,
	{UUIDOID, TEXTOID, BOOLOID, TEXTOID, BOOLOID, JSONBOID, BOOLOID},
};
/* clang-format on */

/* clang-format off */
static PlanStatement conversation_texts_statement = {
	"SELECT title, metadata, revision"
	" FROM memory_store.conversations"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2",
	2,
	{UUIDOID, TEXTOID},
};
/* clang-format on */

/* What the row has under the title and metadata that are given leaves the bytes; they come. */
static void
count_fields(StoreConversation *conversation, const StoreFields *fields)
{
	bool titled = (fields->given & STORE_TITLE) != 0;
	bool described = (fields->given & STORE_METADATA) != 0;
	Datum values[2] = {UUIDPGetDatum(&conversation->id), PointerGetDatum(conversation->account_id)};
	text *title = NULL;
	Jsonb *metadata = NULL;
	int64 before;
	int64 after;
	Datum value;
	bool isnull;

	if ((!titled && !described) ||
		plan_execute(&conversation_texts_statement, values, NULL, false) == 0)
		return;
	value = plan_column(0, 1, &isnull);
	if (titled && !isnull)
		title = DatumGetTextPP(value);
	value = plan_column(0, 2, &isnull);
	if (described && !isnull)
		metadata = DatumGetJsonbP(value);
	before = store_fields_bytes(title, metadata);
	after = store_fields_bytes(titled ? fields->title : NULL, described ? fields->metadata : NULL);
	conversation->content_bytes += after - before;
	store_usage_fields_changed(conversation, before, after);
}

/* Sets title, metadata and archived of a conversation that has a row. */
static void
set_texts(StoreConversation *conversation, const StoreFields *fields)
{
	Datum values[7];
	char nulls[] = "       ";

	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	values[2] = BoolGetDatum((fields->given & STORE_TITLE) != 0);
	values[3] = PointerGetDatum(fields->title);
	nulls[3] = fields->title == NULL ? 'n' : ' ';
	values[4] = BoolGetDatum((fields->given & STORE_METADATA) != 0);
	values[5] = PointerGetDatum(fields->metadata);
	nulls[5] = fields->metadata == NULL ? 'n' : ' ';
	values[6] = BoolGetDatum(fields->archived);
	nulls[6] = (fields->given & STORE_ARCHIVED) != 0 ? ' ' : 'n';
	plan_execute(&conversation_set_statement, values, nulls, false);
	if ((fields->given & STORE_TITLE) != 0)
		store_note_erased(conversation, 0);
}

/* Takes the given fields over, and writes the row and what it used. */
void
store_set_fields(StoreConversation *conversation, const StoreFields *fields)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();

	if (!conversation->has_times)
		conversation->created_at = now;
	if (fields->given & STORE_CREATED_AT)
		conversation->created_at = fields->created_at;
	if (fields->given & STORE_UPDATED_AT)
		conversation->updated_at = fields->updated_at;
	else
		conversation->updated_at = conversation->exists ? now : conversation->created_at;
	conversation->has_times = true;
	if (fields->given & STORE_HEAD_SEQ)
		set_head(conversation, fields->head_seq);

	if (!conversation->exists)
	{
		conversation->title = fields->title;
		conversation->metadata = fields->metadata;
		conversation->archived = fields->archived;
		store_save_conversation(conversation);
	}
	else
	{
		count_fields(conversation, fields);
		store_save_conversation(conversation);
		if ((fields->given & (STORE_TITLE | STORE_METADATA | STORE_ARCHIVED)) != 0)
			set_texts(conversation, fields);
	}
	store_usage_write(conversation);
}

/* Error: 23505 it exists. */
void
store_create_conversation(StoreConversation *conversation, const StoreFields *fields)
{
	if (conversation->exists)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("conversation %s already exists", store_uuid_string(&conversation->id)),
				 errhint("Use UPDATE or memory.update_conversation to change a conversation.")));
	store_set_fields(conversation, fields);
}

/* Error: 22023 a time is infinite. */
void
store_check_fields(const StoreFields *fields)
{
	if (((fields->given & STORE_CREATED_AT) && TIMESTAMP_NOT_FINITE(fields->created_at)) ||
		((fields->given & STORE_UPDATED_AT) && TIMESTAMP_NOT_FINITE(fields->updated_at)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("times of a conversation must be finite"),
						errhint("Leave them out to have them set from the messages.")));
}

/*
 * store_check_unchanged
 *		An UPDATE's new title and metadata were made from what the statement saw, by
 *		the active snapshot.  Error: 40001 another transaction has changed one that
 *		is given since, and its change would be lost.
 */
void
store_check_unchanged(StoreConversation *conversation, int32 given)
{
	Datum values[2] = {UUIDPGetDatum(&conversation->id), PointerGetDatum(conversation->account_id)};
	char *seen[2];
	bool isnull;

	/* read-only: under the snapshot of the statement itself */
	if (plan_execute(&conversation_texts_statement, values, NULL, true) == 0)
		return;
	for (int i = 0; i < 2; i++)
		seen[i] = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1);
	plan_execute(&conversation_texts_statement, values, NULL, false);
	if (DatumGetInt64(plan_column(0, 3, &isnull)) == conversation->revision)
		return; /* a join gave the row twice */
	for (int i = 0; i < 2; i++)
	{
		char *now = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1);

		if ((given & STORE_TITLE << i) != 0 &&
			(seen[i] == NULL || now == NULL ? seen[i] != now : strcmp(seen[i], now) != 0))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent update"),
					 errdetail("The %s of conversation %s has been changed since the "
							   "statement began.",
							   i == 0 ? "title" : "metadata", store_uuid_string(&conversation->id)),
					 errhint("Retry the statement.")));
	}
}

/* ---- functions ---- */

static void
argument_fields(FunctionCallInfo fcinfo, int title, int metadata, StoreFields *fields)
{
	if (!PG_ARGISNULL(title))
	{
		fields->given |= STORE_TITLE;
		fields->title = PG_GETARG_TEXT_PP(title);
		store_check_title(fields->title);
	}
	if (!PG_ARGISNULL(metadata))
	{
		fields->given |= STORE_METADATA;
		fields->metadata = PG_GETARG_JSONB_P(metadata);
		store_check_metadata(fields->metadata, "conversation");
	}
}

/* The arguments of functions that change a conversation, from the third on. */
static void
argument_changes(FunctionCallInfo fcinfo, StoreFields *fields)
{
	argument_fields(fcinfo, 2, 3, fields);
	if (!PG_ARGISNULL(4))
	{
		fields->given |= STORE_ARCHIVED;
		fields->archived = PG_GETARG_BOOL(4);
	}
	if (!PG_ARGISNULL(5))
	{
		fields->given |= STORE_HEAD_SEQ;
		fields->head_seq = PG_GETARG_INT64(5);
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
	text *account_id = argument_account(fcinfo, 0);
	pg_uuid_t *id = PG_ARGISNULL(1) ? store_new_uuid() : PG_GETARG_UUID_P(1);
	StoreFields fields = {0};
	StoreAccount *account;

	argument_fields(fcinfo, 2, 3, &fields);
	if (!PG_ARGISNULL(4))
	{
		fields.given |= STORE_CREATED_AT;
		fields.created_at = PG_GETARG_TIMESTAMPTZ(4);
	}
	store_check_fields(&fields);

	audit_access(AUDIT_CONVERSATIONS, ACL_INSERT);
	SPI_connect();
	account = store_begin_account(account_id, true);
	store_create_conversation(store_open_conversation(account, id, STORE_CREATE), &fields);
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
 *		revision.  Errors: P0002 unknown, 22023 head_seq does not exist.
 */
Datum
memory_update_conversation(PG_FUNCTION_ARGS)
{
	StoreFields fields = {0};
	StoreConversation *conversation;
	text *account_id;
	pg_uuid_t *id;
	int64 revision;

	store_conversation_arguments(fcinfo, &account_id, &id);
	argument_changes(fcinfo, &fields);

	audit_access(AUDIT_CONVERSATIONS, ACL_UPDATE);
	SPI_connect();
	conversation = store_begin(account_id, id, STORE_EXISTING);
	revision = conversation->revision;
	store_set_fields(conversation, &fields);
	store_end_account(conversation->account);
	SPI_finish();
	PG_RETURN_INT64(revision);
}

PG_FUNCTION_INFO_V1(memory_upsert_conversation);

/*
 * memory_upsert_conversation(account_id text, conversation_id uuid, title text,
 *							  metadata jsonb, archived boolean, head_seq bigint)
 *		→ boolean
 *		Makes the conversation, or sets the fields that are not NULL where it
 *		exists.  Returns whether it was made.  Errors: 55000 it was deleted,
 *		22023 head_seq does not exist.
 */
Datum
memory_upsert_conversation(PG_FUNCTION_ARGS)
{
	StoreFields fields = {0};
	StoreConversation *conversation;
	text *account_id;
	pg_uuid_t *id;
	bool made;

	store_conversation_arguments(fcinfo, &account_id, &id);
	argument_changes(fcinfo, &fields);

	audit_access(AUDIT_CONVERSATIONS, ACL_INSERT | ACL_UPDATE);
	SPI_connect();
	conversation = store_begin(account_id, id, STORE_CREATE);
	made = !conversation->exists;
	store_set_fields(conversation, &fields);
	store_end_account(conversation->account);
	SPI_finish();
	PG_RETURN_BOOL(made);
}

PG_FUNCTION_INFO_V1(memory_delete_conversation);

/*
 * memory_delete_conversation(account_id text, conversation_id uuid) → bigint
 *		Deletes a conversation with all its messages and returns the account's
 *		new revision; a tombstone stays.  Errors: P0002 unknown, 55000 deleted
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
	audit_access(AUDIT_CONVERSATIONS, ACL_DELETE);
	SPI_connect();
	conversation = store_begin(account_id, id, STORE_EXISTING);
	revision = conversation->revision;
	store_delete_conversation(conversation);
	store_end_account(conversation->account);
	SPI_finish();
	PG_RETURN_INT64(revision);
}
