/*
 * append.c
 *		memory.append and the other functions that write messages of one
 *		conversation.
 *
 * Each call is one statement: it takes the account's lock and next revision,
 * and holds the lock to commit.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "arguments.h"
#include "audit.h"
#include "memory_limits.h"
#include "sql_text.h"
#include "statement.h"
#include "store_private.h"

/* Arguments of memory.append, memory.edit_message by position. */
static void
argument_text(FunctionCallInfo fcinfo, int n, const char **data, uint32 *length)
{
	*data = transcript_text_bytes(PG_ARGISNULL(n) ? (Datum) 0 : PG_GETARG_DATUM(n), PG_ARGISNULL(n),
								  length);
}

static void
argument_metadata(FunctionCallInfo fcinfo, int n, TranscriptMessage *message)
{
	Jsonb *metadata;

	if (PG_ARGISNULL(n))
		return;
	metadata = PG_GETARG_JSONB_P(n);
	store_check_metadata(metadata, "message");
	message->metadata = JsonbToCString(NULL, &metadata->root, VARSIZE(metadata));
	message->metadata_len = strlen(message->metadata);
}

static int32
argument_tokens(FunctionCallInfo fcinfo, int n)
{
	int32 tokens;

	if (PG_ARGISNULL(n))
		return -1;
	tokens = PG_GETARG_INT32(n);
	if (tokens < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("tokens must not be negative, it is %d", tokens),
						errhint("Leave tokens out to have them estimated.")));
	return tokens;
}

/* The first two arguments of every function here. */
void
store_conversation_arguments(FunctionCallInfo fcinfo, text **account_id, pg_uuid_t **id)
{
	*account_id = argument_account(fcinfo, 0);
	argument_require(fcinfo, 1, "conversation_id",
					 "Name a conversation; memory.create_conversation creates a new one.");
	*id = PG_GETARG_UUID_P(1);
}

/* The number of a message. */
int64
store_seq_argument(FunctionCallInfo fcinfo, int n)
{
	argument_require(fcinfo, n, "seq",
					 "Name the message; see memory.messages for those of the conversation.");
	return PG_GETARG_INT64(n);
}

/* Begins a statement on one conversation.  Needs an SPI connection. */
StoreConversation *
store_begin(text *account_id, const pg_uuid_t *id, StoreOpenMode mode)
{
	StoreAccount *account = store_begin_account(account_id, mode != STORE_PROBE);

	return account == NULL ? NULL : store_open_conversation(account, id, mode);
}

/* Whether the message has no wishes as to its place, and is used now. */
static bool
is_simple(const TranscriptMessage *message)
{
	return message->seq == 0 && message->parent_seq == -1 &&
		   metering_classify(message->created_at) == METERING_FLOW;
}

/*
 * The seq of the message that has this one's message_id, if it has one, in the
 * conversation as it is stored, looked up before the account is changed: it is
 * made, without a revision, where it does not exist, and locked.  0: there is
 * none.  Error: 23505 they differ.
 */
static int64
find_repeated(text *account_id, const pg_uuid_t *id, const TranscriptMessage *message)
{
	StoreAccount account = {.account_id = account_id};
	StoreConversation *conversation;

	if (message->message_id == NULL)
		return 0;
	store_know_account(account_id);
	conversation = store_open_conversation(&account, id, STORE_PROBE);
	return conversation == NULL ? 0 : store_known_message(conversation, message);
}

/* What an append in one step has left: the account, and the message's seq; 0: not written. */
static StoreAccount *
take_appended(text *account_id, const TranscriptMessage *message, const FastAppended *appended,
			  QuotaHold *hold, int64 *seq)
{
	StoreAccount *account =
		store_found_account(account_id, appended->revision, appended->subscription_id,
							hold == NULL ? NULL : hold->subscription_id);

	account->hold = hold;
	*seq = appended->seq;
	if (*seq > 0)
	{
		account->amounts.by_meter[QUOTA_MESSAGES] = 1;
		account->amounts.by_meter[QUOTA_TOKENS] = message->tokens;
		account->amounts.by_meter[QUOTA_CONTENT_BYTES] = (int64) store_message_bytes(message);
	}
	return account;
}

/*
 * append_directly
 *		Appends a message in one step, where nothing else is to be done.  seq 0:
 *		it is not the case, and nothing but the account is changed.  NULL with a
 *		seq: the conversation has the message already; NULL without: it was not
 *		possible, store_append_statement is to do it.  Either way nothing is
 *		changed.  Error: 23505 its message_id is another one's.
 */
static StoreAccount *
append_directly(text *account_id, const pg_uuid_t *id, const TranscriptMessage *message,
				QuotaHold *hold, int64 *seq)
{
	FastAppended appended;

	*seq = 0;
	if (!fast_append(account_id, id, message, &appended))
		return NULL;
	*seq = appended.seq;
	return appended.repeated ? NULL : take_appended(account_id, message, &appended, hold, seq);
}

/*
 * A message behind the last one, where nothing else is to be done: the
 * conversation lives and is not full, and its head is its last message.
 * Otherwise seq is null, and only the account has changed.
 */
/* clang-format off */
enum
{
	APPEND_CONVERSATION_ID,
	APPEND_ACCOUNT_ID,
	APPEND_CREATED_AT,
	APPEND_TOKENS,
	APPEND_ROLE,
	APPEND_CONTENT,
	APPEND_MODEL,
	APPEND_MESSAGE_ID,
	APPEND_METADATA,
	APPEND_CONTENT_BYTES, /* what the conversation's counter takes */
	APPEND_TAIL_BYTES,    /* and the tail's */
	APPEND_MAX_MESSAGES,  /* of a segment */
	APPEND_MAX_BYTES,
	APPEND_NPARAMETERS
};

enum
{
	APPENDED_REVISION = 1,
	APPENDED_SUBSCRIPTION_ID,
	APPENDED_SEQ
};

static PlanStatement append_statement = {
	"WITH a AS ("
	"   UPDATE memory_store.accounts SET revision = revision" OP(+) "1"
	"   WHERE account_id" OP(=) "$2"
	"   RETURNING revision, subscription_id"
	" ), c AS ("
	"   UPDATE memory_store.conversations c"
	"   SET next_seq = c.next_seq" OP(+) "1, head_seq = c.next_seq,"
	"     message_count = c.message_count" OP(+) "1,"
	"     token_count = c.token_count" OP(+) "$4,"
	"     content_bytes = c.content_bytes" OP(+) "$10,"
	"     tail_bytes = c.tail_bytes" OP(+) "$11,"
	"     updated_at = GREATEST(c.updated_at, $3),"
	"     revision = a.revision,"
	"     revision_bucket = (a.revision" OP(>>) "10)::pg_catalog.int4,"
	"     tail_count = c.tail_count" OP(+) "1"
	"   FROM a"
	"   WHERE c.conversation_id" OP(=) "$1 AND c.account_id" OP(=) "$2"
	"   AND c.deleted_at IS NULL"
	"   AND c.head_seq" OP(=) "(c.next_seq" OP(-) "1) AND c.message_count" OP(>) "0"
	"   AND c.tail_count" OP(<) "($12" OP(-) "1)"
	"   AND (c.tail_bytes" OP(+) "$11)" OP(<) "$13"
	"   RETURNING c.head_seq AS seq, a.revision"
	" ), t AS ("
	"   INSERT INTO memory_store.tail (conversation_id, seq, parent_seq, revision, created_at,"
	"     tokens, account_id, role, content, model, message_id, metadata, counted)"
	"   SELECT $1, c.seq, c.seq" OP(-) "1, c.revision, $3, $4, $2, $5, $6, $7, $8, $9, false"
	"   FROM c"
	" )"
	" SELECT a.revision, a.subscription_id, c.seq FROM a LEFT JOIN c ON true",
	APPEND_NPARAMETERS,
	{UUIDOID, TEXTOID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	 INT8OID, INT8OID, INT4OID, INT8OID},
};
/* clang-format on */

/*
 * append_by_statement
 *		The same with append_statement, for a message that the conversation is known
 *		not to have; NULL: there is no such account.
 */
static StoreAccount *
append_by_statement(text *account_id, const pg_uuid_t *id, const TranscriptMessage *message,
					QuotaHold *hold, int64 *seq)
{
	FastAppended appended = {0};
	Datum values[APPEND_NPARAMETERS];
	char nulls[APPEND_NPARAMETERS];
	Datum number;
	bool isnull;

	*seq = 0;
	memset(nulls, ' ', sizeof(nulls));
	values[APPEND_CONVERSATION_ID] = UUIDPGetDatum(id);
	values[APPEND_ACCOUNT_ID] = PointerGetDatum(account_id);
	values[APPEND_CREATED_AT] = TimestampTzGetDatum(message->created_at);
	values[APPEND_TOKENS] = Int32GetDatum(message->tokens);
	values[APPEND_ROLE] = store_bytes_datum(message->role, message->role_len, &nulls[APPEND_ROLE]);
	values[APPEND_CONTENT] =
		store_bytes_datum(message->content, message->content_len, &nulls[APPEND_CONTENT]);
	values[APPEND_MODEL] =
		store_bytes_datum(message->model, message->model_len, &nulls[APPEND_MODEL]);
	values[APPEND_MESSAGE_ID] =
		store_bytes_datum(message->message_id, message->message_id_len, &nulls[APPEND_MESSAGE_ID]);
	values[APPEND_METADATA] =
		store_bytes_datum(message->metadata, message->metadata_len, &nulls[APPEND_METADATA]);
	values[APPEND_CONTENT_BYTES] = Int64GetDatum((int64) store_message_bytes(message));
	values[APPEND_TAIL_BYTES] = Int64GetDatum(message->content_len);
	values[APPEND_MAX_MESSAGES] = Int32GetDatum(store_segment_messages);
	values[APPEND_MAX_BYTES] = Int64GetDatum((int64) store_segment_kb * 1024);
	if (plan_execute(&append_statement, values, nulls, false) == 0)
		return NULL;
	appended.revision = plan_int64(0, APPENDED_REVISION);
	appended.subscription_id = plan_string(0, APPENDED_SUBSCRIPTION_ID);
	number = plan_column(0, APPENDED_SEQ, &isnull);
	appended.seq = isnull ? 0 : DatumGetInt64(number);
	return take_appended(account_id, message, &appended, hold, seq);
}

/* Appends in one step, if nothing else is to be done; the results are those of the two. */
static StoreAccount *
append_simple(text *account_id, const pg_uuid_t *id, const TranscriptMessage *message,
			  QuotaHold *hold, int64 *seq)
{
	StoreAccount *account = append_directly(account_id, id, message, hold, seq);

	if (account != NULL || *seq > 0)
		return account;
	*seq = find_repeated(account_id, id, message);
	return *seq > 0 ? NULL : append_by_statement(account_id, id, message, hold, seq);
}

/* The hold on what the message is charged to: NULL, there is no plan. */
static QuotaHold *
begin_quota(char *name, const TranscriptMessage *message, bool simple)
{
	QuotaAmounts expected = {{0}};

	if (!simple)
		return quota_begin(name);
	expected.by_meter[QUOTA_MESSAGES] = 1;
	expected.by_meter[QUOTA_TOKENS] = message->tokens;
	expected.by_meter[QUOTA_CONTENT_BYTES] = (int64) store_message_bytes(message);
	return quota_begin_expecting(name, &expected);
}

/* Appends one message as a statement of its own; returns its seq. */
static int64
append_message(text *account_id, const pg_uuid_t *id, TranscriptMessage *message)
{
	StoreAccount *account = NULL;
	QuotaHold *hold;
	int64 seq = 0;
	bool simple;

	if (!message->has_created_at)
	{
		message->created_at = GetCurrentStatementStartTimestamp();
		message->has_created_at = true;
	}
	simple = is_simple(message);
	hold = begin_quota(text_to_cstring(account_id), message, simple);
	if (simple)
		account = append_simple(account_id, id, message, hold, &seq);
	else
		seq = find_repeated(account_id, id, message);
	if (account == NULL && seq > 0)
	{
		/* it is there already: what it was charged ahead is given back */
		if (hold != NULL && hold->ahead)
			quota_save(hold);
		return seq;
	}
	if (account == NULL)
	{
		account = store_lock_account(account_id, hold == NULL ? NULL : hold->subscription_id, true);
		account->hold = hold;
	}
	if (seq == 0)
	{
		StoreConversation *conversation = store_open_conversation(account, id, STORE_CREATE);

		conversation->ids_are_new = true; /* the message's was looked up above */
		seq = store_add_message(conversation, message);
		store_close_conversation(conversation, false);
	}
	store_check_seq(seq); /* the next one there is, given by whichever way */
	store_end_account(account);
	return seq;
}

PG_FUNCTION_INFO_V1(memory_append);

/*
 * memory_append(account_id text, conversation_id uuid, role text, content text,
 *				 model text, tokens integer, metadata jsonb, message_id text,
 *				 parent_seq bigint, created_at timestamptz) → bigint
 *		Appends one message and returns its seq; if the conversation has one
 *		with this message_id, role and content, that one's, and changes nothing.
 *		Unknown accounts and conversations are created.  NULL account_id: the account the session is
 *		confined to; NULL tokens are estimated; NULL parent_seq: the current
 *		leaf, 0: a new root; NULL created_at: now.  Errors: 22004, 22023, 42501
 *		not the session's account, 23505 another message has the message_id,
 *		54000 too large, 55000 deleted conversation.
 */
Datum
memory_append(PG_FUNCTION_ARGS)
{
	TranscriptMessage message = {0};
	text *account_id;
	pg_uuid_t *id;
	int64 seq;

	store_conversation_arguments(fcinfo, &account_id, &id);
	argument_text(fcinfo, 2, &message.role, &message.role_len);
	argument_text(fcinfo, 3, &message.content, &message.content_len);
	argument_text(fcinfo, 4, &message.model, &message.model_len);
	message.tokens = argument_tokens(fcinfo, 5);
	argument_metadata(fcinfo, 6, &message);
	argument_text(fcinfo, 7, &message.message_id, &message.message_id_len);
	message.parent_seq = PG_ARGISNULL(8) ? -1 : PG_GETARG_INT64(8);
	if (!PG_ARGISNULL(8))
		store_check_parent_given(message.parent_seq);
	message.has_created_at = !PG_ARGISNULL(9);
	if (message.has_created_at)
		message.created_at = PG_GETARG_TIMESTAMPTZ(9);
	store_check_message(&message);

	/* the statement, being a SELECT, would be called one that only reads */
	PreventCommandIfReadOnly("memory.append()");
	audit_access(AUDIT_MESSAGES, ACL_INSERT);
	SPI_connect();
	seq = append_message(account_id, id, &message);
	SPI_finish();
	PG_RETURN_INT64(seq);
}

/* Errors name the message of the array, from 1. */
static void
batch_error_context(void *arg)
{
	errcontext("message %u of the array", *(uint32 *) arg + 1);
}

/*
 * Whether the conversation has all n > 0 messages by their message_ids; then it
 * is left as it is.  The account's locks are taken, parent first.  at: the
 * message at hand.  Needs an SPI connection.
 */
static bool
find_all_repeated(text *account_id, const pg_uuid_t *id, const TranscriptMessage *messages,
				  uint32 n, uint32 *at, Datum *seqs)
{
	StoreAccount account = {.account_id = account_id};
	StoreConversation *conversation;

	if (messages[0].message_id == NULL)
		return false;
	if (quota_active())
		(void) quota_begin(text_to_cstring(account_id));
	store_know_account(account_id);
	conversation = store_open_conversation(&account, id, STORE_PROBE);
	if (conversation == NULL)
		return false;
	for (*at = 0; *at < n; (*at)++)
	{
		int64 seq = store_known_message(conversation, &messages[*at]);

		CHECK_FOR_INTERRUPTS();
		if (seq == 0)
			return false;
		seqs[*at] = Int64GetDatum(seq);
	}
	return true;
}

/*
 * Appends n > 0 messages as one statement; where is batch_error_context's.
 * Needs an SPI connection.
 */
static void
append_messages(text *account_id, const pg_uuid_t *id, const TranscriptMessage *messages, uint32 n,
				ErrorContextCallback *where, Datum *seqs)
{
	StoreConversation *conversation = store_begin(account_id, id, STORE_CREATE);
	uint32 *at = where->arg;

	error_context_stack = where;
	for (*at = 0; *at < n; (*at)++)
	{
		CHECK_FOR_INTERRUPTS();
		seqs[*at] = Int64GetDatum(store_add_message(conversation, &messages[*at]));
	}
	error_context_stack = where->previous;
	store_close_conversation(conversation, n > (uint32) store_segment_messages);
	store_end_account(conversation->account);
}

PG_FUNCTION_INFO_V1(memory_append_batch);

/*
 * memory_append_batch(account_id text, conversation_id uuid, messages jsonb)
 *		→ bigint[]
 *		Appends a JSON array of messages as one statement and returns their
 *		seqs.  Those that are there already are left out, as in memory_append.
 *		Errors: those of memory_append, with the bad message's position.
 */
Datum
memory_append_batch(PG_FUNCTION_ARGS)
{
	TranscriptMessage *messages;
	text *account_id;
	pg_uuid_t *id;
	uint32 n;
	uint32 i;
	Datum *seqs;
	ErrorContextCallback where = {error_context_stack, batch_error_context, &i};

	store_conversation_arguments(fcinfo, &account_id, &id);
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("messages must not be null"),
				 errhint(
					 "Pass a JSON array such as [{\"role\": \"user\", \"content\": \"hi\"}].")));
	if (JB_ROOT_COUNT(PG_GETARG_JSONB_P(2)) > MEMORY_MAX_BATCH_MESSAGES)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("%u messages at once are more than the limit of %d",
							   JB_ROOT_COUNT(PG_GETARG_JSONB_P(2)), MEMORY_MAX_BATCH_MESSAGES),
						errhint("Append them in several calls, or COPY them into "
								"memory.messages.")));
	messages = transcript_messages_from_jsonb(PG_GETARG_JSONB_P(2), false, &n);
	error_context_stack = &where;
	for (i = 0; i < n; i++)
		store_check_message(&messages[i]);
	error_context_stack = where.previous;

	audit_access(AUDIT_MESSAGES, ACL_INSERT);
	seqs = palloc(mul_size(Max(n, 1), sizeof(Datum)));
	if (n > 0)
	{
		bool repeated;

		SPI_connect();
		error_context_stack = &where;
		repeated = find_all_repeated(account_id, id, messages, n, &i, seqs);
		error_context_stack = where.previous;
		if (!repeated)
			append_messages(account_id, id, messages, n, &where, seqs);
		SPI_finish();
	}
	PG_RETURN_DATUM(array_datum(INT8OID, seqs, NULL, n));
}

static void
unknown_message(const pg_uuid_t *id, int64 seq)
{
	ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
					errmsg("message " INT64_FORMAT " of conversation %s does not exist", seq,
						   store_uuid_string(id)),
					errhint("See memory.messages for the messages of the conversation.")));
}

/* Applies one change as a statement of its own; returns the revision. */
static int64
change_one(text *account_id, const pg_uuid_t *id, StoreChange *change)
{
	StoreConversation *conversation;
	int64 revision;

	SPI_connect();
	conversation = store_begin(account_id, id, STORE_EXISTING);
	revision = conversation->revision;
	if (store_apply_changes(conversation, change, 1) == 0)
		unknown_message(id, change->seq);
	store_close_conversation(conversation, false);
	store_end_account(conversation->account);
	SPI_finish();
	return revision;
}

PG_FUNCTION_INFO_V1(memory_edit_message);

/*
 * memory_edit_message(account_id text, conversation_id uuid, seq bigint,
 *					   content text, role text, model text, tokens integer,
 *					   metadata jsonb) → bigint
 *		Changes the fields that are not NULL and returns the account's new
 *		revision.  New content without tokens is estimated anew.  Errors: P0002
 *		unknown conversation or message, and those of memory_append.
 */
Datum
memory_edit_message(PG_FUNCTION_ARGS)
{
	StoreChange change = {0};
	TranscriptMessage *message = &change.message;
	text *account_id;
	pg_uuid_t *id;

	store_conversation_arguments(fcinfo, &account_id, &id);
	change.seq = store_seq_argument(fcinfo, 2);
	argument_text(fcinfo, 3, &message->content, &message->content_len);
	argument_text(fcinfo, 4, &message->role, &message->role_len);
	argument_text(fcinfo, 5, &message->model, &message->model_len);
	message->tokens = argument_tokens(fcinfo, 6);
	argument_metadata(fcinfo, 7, message);
	change.set_content = message->content != NULL;
	change.set_role = message->role != NULL;
	change.set_model = message->model != NULL;
	change.set_tokens = message->tokens >= 0;
	change.set_metadata = message->metadata != NULL;
	audit_access(AUDIT_MESSAGES, ACL_UPDATE);
	PG_RETURN_INT64(change_one(account_id, id, &change));
}

PG_FUNCTION_INFO_V1(memory_delete_message);

/*
 * memory_delete_message(account_id text, conversation_id uuid, seq bigint) → bigint
 *		Deletes a message and returns the account's new revision; its answers
 *		answer its parent from then on.  Error: P0002.
 */
Datum
memory_delete_message(PG_FUNCTION_ARGS)
{
	StoreChange change = {0};
	text *account_id;
	pg_uuid_t *id;

	store_conversation_arguments(fcinfo, &account_id, &id);
	change.seq = store_seq_argument(fcinfo, 2);
	change.remove = true;
	audit_access(AUDIT_MESSAGES, ACL_DELETE);
	PG_RETURN_INT64(change_one(account_id, id, &change));
}
