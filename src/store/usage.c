/*
 * usage.c
 *		What the write path tells metering.
 *
 * A tail row that is not counted is the ledger of its own usage, so an append
 * costs metering nothing; whatever takes the row away or changes what it says
 * counts it first: sealing, deleting, some edits.  Counted at once, and marked
 * so, are messages that the ledger could not tell apart later: backdated ones,
 * ones of the future, and ones whose number was passed over.
 *
 * Usage never goes down: an edit counts what it adds, a deletion is noted
 * beside the usage.  A conversation gathers in a batch of its own, written when
 * the statement is done with it, or in one that the statement gave it.
 *
 * The caller holds the account's lock and an SPI connection.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "arguments.h"
#include "memory_limits.h"
#include "statement.h"
#include "store_private.h"

static MeteringBatch *
usage_batch(StoreConversation *conversation)
{
	if (conversation->usage == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(conversation));

		conversation->usage = metering_batch_create(conversation->account_id);
		conversation->owns_usage = true;
		MemoryContextSwitchTo(old);
	}
	return conversation->usage;
}

static MeteringMessage
usage_of(const TranscriptMessage *message)
{
	MeteringMessage usage = {0};

	usage.created_at = message->created_at;
	usage.model = message->model;
	usage.model_len = message->model_len;
	usage.output =
		message->role_len == strlen("assistant") && memcmp(message->role, "assistant", 9) == 0;
	usage.tokens = message->tokens;
	usage.bytes = (int64) store_message_bytes(message);
	return usage;
}

static void
count_as(StoreConversation *conversation, TranscriptMessage *message, MeteringKind kind)
{
	MeteringMessage usage = usage_of(message);

	if (conversation->prepared != NULL)
		store_prepared_usage(conversation->prepared, &usage, kind);
	else
		metering_batch_message(usage_batch(conversation), &usage, kind);
	message->counted = true;
}

/*
 * How what a statement adds counts: by its time, or as used today
 * where the time is a device's word, which would otherwise decide what is paid.
 */
static MeteringKind
usage_kind(const StoreConversation *conversation, TimestampTz created_at)
{
	MeteringKind kind = metering_classify(created_at);

	return conversation->used_now && kind == METERING_IMPORTED ? METERING_FLOW_NOW : kind;
}

MeteringKind
store_usage_kind(const StoreConversation *conversation, const TranscriptMessage *message)
{
	return usage_kind(conversation, message->created_at);
}

/* A message that a statement adds, which counts as that kind; late: its number was passed over. */
void
store_usage_added(StoreConversation *conversation, TranscriptMessage *message, MeteringKind kind,
				  bool late)
{
	message->counted = false;
	/* what is prepared has its texts from the caller now, and in a run later */
	if (late || kind != METERING_FLOW || conversation->prepared != NULL)
		count_as(conversation, message, kind);
}

/* Messages that leave the ledger, to become a segment or to be deleted. */
void
store_usage_taken(StoreConversation *conversation, TranscriptMessage *messages, uint32 n)
{
	for (uint32 i = 0; i < n; i++)
		if (!messages[i].counted)
			count_as(conversation, &messages[i], METERING_FLOW);
}

/* May an uncounted tail row go on as the ledger, saying what it says after an edit? */
static bool
ledger_holds(const MeteringMessage *before, const MeteringMessage *after)
{
	if (metering_day(before->created_at) != metering_day(after->created_at) ||
		after->tokens < before->tokens || after->bytes < before->bytes)
		return false;
	/* a placeholder, to be filled when the model has answered, has used nothing */
	if (before->tokens == 0 && before->bytes == 0)
		return true;
	return before->output == after->output && before->model_len == after->model_len &&
		   (before->model_len == 0 || memcmp(before->model, after->model, before->model_len) == 0);
}

/*
 * An edit.  What it adds is used today, under the new model; what it takes
 * away is noted as removed.
 */
void
store_usage_edited(StoreConversation *conversation, TranscriptMessage *before,
				   TranscriptMessage *after, bool in_tail)
{
	MeteringMessage old = usage_of(before);
	MeteringMessage new = usage_of(after);
	int64 tokens = new.tokens - old.tokens;
	int64 bytes = new.bytes - old.bytes;

	after->counted = before->counted || !in_tail;
	if (!after->counted)
	{
		if (ledger_holds(&old, &new))
			return;
		count_as(conversation, before, METERING_FLOW);
		after->counted = true;
	}
	if (tokens == 0 && bytes == 0)
		return;
	new.tokens = Max(tokens, 0);
	new.bytes = Max(bytes, 0);
	metering_batch_growth(usage_batch(conversation), &new);
	metering_batch_removed(usage_batch(conversation), 0, Max(-tokens, 0), Max(-bytes, 0));
}

/* A message that is deleted; one of the tail leaves the ledger, too. */
void
store_usage_removed(StoreConversation *conversation, TranscriptMessage *message, bool in_tail)
{
	if (in_tail)
		store_usage_taken(conversation, message, 1);
	metering_batch_removed(usage_batch(conversation), 1, message->tokens,
						   (int64) store_message_bytes(message));
}

/* A conversation that is deleted, its tail's messages having left the ledger. */
void
store_usage_deleted(StoreConversation *conversation)
{
	metering_batch_removed(usage_batch(conversation), conversation->message_count,
						   conversation->token_count, conversation->content_bytes);
}

/* Title and metadata of a new conversation, whose times are set. */
void
store_usage_fields_added(StoreConversation *conversation, int64 bytes)
{
	if (bytes > 0)
		metering_batch_bytes(usage_batch(conversation), conversation->created_at, bytes,
							 usage_kind(conversation, conversation->created_at));
}

/* A title or metadata that has changed: what it has more is used today. */
void
store_usage_fields_changed(StoreConversation *conversation, int64 old_bytes, int64 new_bytes)
{
	MeteringBatch *batch;

	if (old_bytes == new_bytes)
		return;
	batch = usage_batch(conversation);
	metering_batch_bytes(batch, 0, Max(new_bytes - old_bytes, 0), METERING_FLOW_NOW);
	metering_batch_removed(batch, 0, 0, Max(old_bytes - new_bytes, 0));
}

/* Writes the conversation's own batch; a statement's is left to it. */
void
store_usage_write(StoreConversation *conversation)
{
	if (!conversation->owns_usage)
		return;
	metering_batch_end(conversation->usage);
	conversation->usage = NULL;
	conversation->owns_usage = false;
}

/* ---- functions ---- */

/* A text argument of up to so many bytes; NULL when it is null.  Errors: 22023, 54000. */
static text *
argument_name(FunctionCallInfo fcinfo, int n, const char *name, uint32 limit)
{
	text *value;

	if (PG_ARGISNULL(n))
		return NULL;
	value = PG_GETARG_TEXT_PP(n);
	if (VARSIZE_ANY_EXHDR(value) > limit)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("%s has %zu bytes, more than the limit of %u", name,
							   (Size) VARSIZE_ANY_EXHDR(value), limit)));
	return value;
}

PG_FUNCTION_INFO_V1(memory_record_usage);

/*
 * memory_record_usage(account_id text, model text, input_tokens bigint,
 *					   cached_input_tokens bigint, output_tokens bigint,
 *					   cache_creation_tokens bigint, request_id text,
 *					   occurred_at timestamptz) → boolean
 *		Records a call of a model that stores no message.  False: the request_id
 *		was recorded before, and nothing is counted.  NULL account_id: the
 *		session's; NULL model: none; NULL numbers: 0; NULL request_id: always
 *		counted; NULL occurred_at: now.  Errors: 22004, 22023, 42501, 54000.
 */
Datum
memory_record_usage(PG_FUNCTION_ARGS)
{
	text *account_id = argument_account(fcinfo, 0);
	text *model = argument_name(fcinfo, 1, "model", MEMORY_MAX_MODEL_BYTES);
	text *request_id = argument_name(fcinfo, 6, "request_id", MEMORY_MAX_MESSAGE_ID_BYTES);
	TimestampTz now = GetCurrentStatementStartTimestamp();
	Datum values[2] = {PointerGetDatum(account_id), TimestampTzGetDatum(now)};
	MeteringCall call;
	bool recorded;

	call.input_tokens = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2);
	call.cached_input_tokens = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3);
	call.output_tokens = PG_ARGISNULL(4) ? 0 : PG_GETARG_INT64(4);
	call.cache_creation_tokens = PG_ARGISNULL(5) ? 0 : PG_GETARG_INT64(5);
	call.occurred_at = PG_ARGISNULL(7) ? now : PG_GETARG_TIMESTAMPTZ(7);
	if (TIMESTAMP_NOT_FINITE(call.occurred_at))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("occurred_at must be a finite time")));

	SPI_connect();
	/* who makes an account holds its subscription before */
	if (!quota_account_exists(text_to_cstring(account_id)))
	{
		(void) quota_lock(text_to_cstring(account_id));
		plan_execute(&store_account_know_statement, values, NULL, false);
	}
	recorded = metering_record_call(account_id, model != NULL ? model : cstring_to_text(""), &call,
									request_id);
	SPI_finish();
	PG_RETURN_BOOL(recorded);
}

PG_FUNCTION_INFO_V1(memory_roll_up_usage);

/*
 * memory_roll_up_usage(max_accounts integer) → bigint
 *		Rolls up the recorded calls of so many (NULL: all) accounts; returns how
 *		many had some.  A batch of maintain().  Error: 22023.
 */
Datum
memory_roll_up_usage(PG_FUNCTION_ARGS)
{
	int64 limit = argument_limit(fcinfo, 0, "max_accounts");
	text **accounts;
	uint64 n;

	SPI_connect();
	n = metering_list_calls(limit);
	accounts = palloc(mul_size(Max(n, 1), sizeof(text *)));
	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;
		Datum account = datumCopy(plan_column(i, 1, &isnull), false, -1);

		accounts[i] = (text *) DatumGetPointer(account);
	}
	store_lock_before_moving(accounts, n, true);
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) store_hold_account(accounts[i]);
		metering_roll_up_calls(accounts[i]);
	}
	SPI_finish();
	PG_RETURN_INT64((int64) n);
}
