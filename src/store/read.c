/*
 * read.c
 *		What applications read of one conversation or account: history, context
 *		window, one message, recent conversations.
 *
 * All read under the caller's snapshot and take no lock.  Results are built in
 * a tuplestore in the executor's per-query context; everything else belongs to
 * the call's SPI context.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "audit.h"
#include "sql_text.h"
#include "statement.h"
#include "store_private.h"

/* Messages in the order they were read, as rows of memory.message. */
typedef struct MessageList
{
	TupleDesc descriptor;
	HeapTuple *tuples;
	uint64 count;
	uint64 space;
	MemoryContext row_context;
} MessageList;

static void
list_init(MessageList *list, TupleDesc descriptor)
{
	list->descriptor = descriptor;
	list->count = 0;
	list->space = 64;
	list->tuples = palloc(list->space * sizeof(HeapTuple));
	list->row_context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext row", ALLOCSET_DEFAULT_SIZES);
}

static void
list_add(MessageList *list, const TranscriptMessage *message)
{
	Datum values[MESSAGE_NCOLUMNS];
	bool nulls[MESSAGE_NCOLUMNS];
	MemoryContext old;

	if (list->count == list->space)
	{
		list->space *= 2;
		list->tuples = repalloc_huge(list->tuples, mul_size(list->space, sizeof(HeapTuple)));
	}
	old = MemoryContextSwitchTo(list->row_context);
	transcript_message_datums(message, values, nulls);
	MemoryContextSwitchTo(old);
	list->tuples[list->count++] = heap_form_tuple(list->descriptor, values, nulls);
	MemoryContextReset(list->row_context);
}

/* Puts the messages out oldest first; they were read newest first. */
static void
list_put_reversed(const MessageList *list, Tuplestorestate *store)
{
	for (uint64 i = list->count; i > 0; i--)
		tuplestore_puttuple(store, list->tuples[i - 1]);
}

PG_FUNCTION_INFO_V1(memory_history);

/*
 * memory_history(account_id text, conversation_id uuid, before_seq bigint,
 *				  max_messages integer) → setof memory.message
 *		The newest messages of the current branch, oldest first.  before_seq:
 *		only those before it (NULL: from the head), for paging; NULL
 *		max_messages: all.  Of an unknown conversation: none.  Error: 22023.
 */
Datum
memory_history(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64 before_seq = PG_ARGISNULL(2) ? PG_INT64_MAX : PG_GETARG_INT64(2);
	int64 limit = argument_limit(fcinfo, 3, "max_messages");
	const TranscriptMessage *message;
	BranchReader *reader;
	MessageList list;
	text *account_id;
	pg_uuid_t *id;

	store_conversation_arguments(fcinfo, &account_id, &id);
	InitMaterializedSRF(fcinfo, 0);

	audit_access(AUDIT_MESSAGES, ACL_SELECT);
	SPI_connect();
	reader = branch_open(id, account_id, before_seq, limit);
	list_init(&list, result->setDesc);
	while (reader != NULL && (int64) list.count < limit && (message = branch_next(reader)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (message->seq < before_seq)
			list_add(&list, message);
	}
	list_put_reversed(&list, result->setResult);
	SPI_finish();
	return (Datum) 0;
}

/* ---- context window ---- */

static bool
role_is(const TranscriptMessage *message, const char *role)
{
	return message->role_len == strlen(role) && memcmp(message->role, role, message->role_len) == 0;
}

static bool
is_instruction(const TranscriptMessage *message)
{
	return transcript_is_instruction(message->role, message->role_len);
}

/* An answer to a call that an earlier message made. */
static bool
is_tool_result(const TranscriptMessage *message)
{
	return role_is(message, "tool") || role_is(message, "function") ||
		   role_is(message, "observation") || role_is(message, "function_call_output") ||
		   role_is(message, "tool_result");
}

typedef struct Instructions
{
	MessageList list; /* newest first, as the window */
	int64 last_seq;
	int64 tokens;
} Instructions;

static void
add_instruction(Instructions *instructions, const TranscriptMessage *message)
{
	instructions->last_seq = Max(instructions->last_seq, message->seq);
	list_add(&instructions->list, message);
	instructions->tokens += message->tokens;
}

/* Adds the system messages at the beginning of a block, in order; true: it has no others. */
static bool
add_leading(Instructions *instructions, const TranscriptMessage *messages, uint64 n)
{
	uint64 leading = 0;

	while (leading < n && is_instruction(&messages[leading]))
		add_instruction(instructions, &messages[leading++]);
	return leading == n;
}

/* A linear conversation's system messages: those it begins with, oldest first. */
static void
read_leading(const pg_uuid_t *id, text *account_id, Instructions *instructions)
{
	StoreSegment segment;
	TranscriptMessage *messages;
	Datum values[3];
	uint64 rows;
	int64 from_seq = 1;

	while (store_segment_after(id, account_id, from_seq, true, &segment))
	{
		TranscriptHeader header;
		Transcript *transcript;

		transcript_read_header(segment.body, &header);
		if ((header.flags & TRANSCRIPT_FLAG_INSTRUCTED) == 0)
			return;
		transcript = store_open_segment(&segment);
		if (!add_leading(instructions, transcript->messages, transcript->count))
			return;
		from_seq = segment.last_seq + 1;
	}
	values[0] = UUIDPGetDatum(id);
	values[1] = PointerGetDatum(account_id);
	values[2] = Int64GetDatum(1);
	rows = plan_execute(&store_tail_read_statement, values, NULL, true);
	messages = palloc(mul_size(Max(rows, 1), sizeof(TranscriptMessage)));
	for (uint64 i = 0; i < rows; i++)
		store_tail_row(i, &messages[i]);
	(void) add_leading(instructions, messages, rows);
}

/* The same, newest first. */
static void
read_first_instructions(const pg_uuid_t *id, text *account_id, Instructions *instructions)
{
	MessageList *list = &instructions->list;

	read_leading(id, account_id, instructions);
	for (uint64 i = 0; i < list->count / 2; i++)
	{
		HeapTuple swapped = list->tuples[i];

		list->tuples[i] = list->tuples[list->count - 1 - i];
		list->tuples[list->count - 1 - i] = swapped;
	}
}

/* A branch's system messages: those that its walk to the root ends with. */
static void
read_root_instructions(const pg_uuid_t *id, text *account_id, Instructions *instructions)
{
	BranchReader *reader = branch_open(id, account_id, PG_INT64_MAX, PG_INT64_MAX);
	const TranscriptMessage *message;

	while (reader != NULL && (message = branch_next(reader)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_instruction(message))
			add_instruction(instructions, message);
		else
		{
			instructions->list.count = 0;
			instructions->tokens = 0;
			instructions->last_seq = 0;
		}
	}
}

/*
 * The newest messages behind the instructions that fit into the budget.  A
 * tool's result is not shown without the call it answers: results that the
 * window would begin with are left out.
 */
static void
read_window(BranchReader *reader, int64 after_seq, int64 max_tokens, int64 max_messages,
			MessageList *window)
{
	const TranscriptMessage *message;
	int64 tokens = 0;
	uint64 complete = 0; /* messages up to the last one that may begin a window */

	while ((int64) window->count < max_messages && (message = branch_next(reader)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (message->seq <= after_seq)
			break;
		tokens += message->tokens;
		if (tokens > max_tokens)
			break;
		list_add(window, message);
		if (!is_tool_result(message))
			complete = window->count;
	}
	window->count = complete;
}

PG_FUNCTION_INFO_V1(memory_context);

/*
 * memory_context(account_id text, conversation_id uuid, max_tokens integer,
 *				  max_messages integer, include_system boolean)
 *		→ setof memory.message
 *		The context window for the next call of a model, oldest message first:
 *		the system messages that the current branch begins with, then its
 *		newest messages as far as all fit max_tokens (NULL: no limit).  Only
 *		the system messages may exceed it; include_system false leaves them
 *		out.  Of an unknown conversation: none.  Error: 22023.
 */
Datum
memory_context(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64 max_tokens = argument_limit(fcinfo, 2, "max_tokens");
	int64 max_messages = argument_limit(fcinfo, 3, "max_messages");
	bool include_system = PG_ARGISNULL(4) || PG_GETARG_BOOL(4);
	Instructions instructions = {0};
	BranchReader *reader;
	MessageList window;
	text *account_id;
	pg_uuid_t *id;

	store_conversation_arguments(fcinfo, &account_id, &id);
	InitMaterializedSRF(fcinfo, 0);

	audit_access(AUDIT_MESSAGES, ACL_SELECT);
	SPI_connect();
	reader = branch_open(id, account_id, PG_INT64_MAX, max_messages);
	if (reader == NULL)
	{
		SPI_finish();
		return (Datum) 0;
	}
	list_init(&instructions.list, result->setDesc);
	list_init(&window, result->setDesc);
	if (branch_is_linear(reader))
		read_first_instructions(id, account_id, &instructions);
	else
		read_root_instructions(id, account_id, &instructions);
	if (!include_system)
	{
		instructions.list.count = 0;
		instructions.tokens = 0;
	}

	read_window(reader, instructions.last_seq, max_tokens - Min(instructions.tokens, max_tokens),
				max_messages, &window);
	list_put_reversed(&instructions.list, result->setResult);
	list_put_reversed(&window, result->setResult);
	SPI_finish();
	return (Datum) 0;
}

/* ---- one message, recent conversations ---- */

PG_FUNCTION_INFO_V1(memory_message);

/*
 * memory_message(account_id text, conversation_id uuid, seq bigint) → memory.message
 *		One message of any branch.  Error: P0002 unknown.
 */
Datum
memory_message(PG_FUNCTION_ARGS)
{
	TranscriptMessage message;
	TupleDesc descriptor;
	Datum values[MESSAGE_NCOLUMNS];
	bool nulls[MESSAGE_NCOLUMNS];
	text *account_id;
	pg_uuid_t *id;
	HeapTuple tuple;

	store_conversation_arguments(fcinfo, &account_id, &id);
	(void) store_seq_argument(fcinfo, 2);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "memory.message is not a composite type");

	audit_access(AUDIT_MESSAGES, ACL_SELECT);
	SPI_connect();
	if (branch_open(id, account_id, PG_INT64_MAX, 0) == NULL)
		store_unknown_conversation(id, account_id);
	if (!store_read_message(id, account_id, PG_GETARG_INT64(2), true, &message))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("message " INT64_FORMAT " of conversation %s does not exist",
							   PG_GETARG_INT64(2), store_uuid_string(id)),
						errhint("See memory.messages for the messages of the conversation.")));
	transcript_message_datums(&message, values, nulls);
	tuple = SPI_copytuple(heap_form_tuple(descriptor, values, nulls));
	SPI_finish();
	PG_RETURN_DATUM(heap_copy_tuple_as_datum(tuple, BlessTupleDesc(descriptor)));
}

PG_FUNCTION_INFO_V1(memory_recent_conversations);

/* clang-format off */
static PlanStatement conversations_recent_statement = {
	"SELECT conversation_id, title, metadata, archived, CASE WHEN head_seq" OP(=) "0"
	" THEN NULL ELSE head_seq END, message_count, token_count, content_bytes,"
	" created_at, updated_at, revision"
	" FROM memory_store.conversations"
	" WHERE account_id" OP(=) "$1 AND deleted_at IS NULL AND ($6 OR NOT archived)"
	" AND revision_bucket" OP(<=) "($2" OP(>>) "10)"
	" AND (revision, updated_at, conversation_id)" OP(<) "($2, $3, $4)"
	" ORDER BY account_id, revision_bucket DESC, revision DESC, updated_at DESC,"
	" conversation_id DESC"
	" LIMIT $5",
	6,
	{TEXTOID, INT8OID, TIMESTAMPTZOID, UUIDOID, INT8OID, BOOLOID},
};
/* clang-format on */

/*
 * memory_recent_conversations(account_id text, before_revision bigint,
 *							   before_updated_at timestamptz,
 *							   before_conversation_id uuid,
 *							   max_conversations integer, include_archived boolean)
 *		→ setof record
 *		An account's conversations, last changed first; those that one statement
 *		changed, a bulk load's for example, in order of updated_at.  The page
 *		begins behind (before_revision, before_updated_at,
 *		before_conversation_id), the last row of the page before; NULL
 *		before_revision: the first page.  Error: 22023.
 */
Datum
memory_recent_conversations(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	text *account_id = argument_account(fcinfo, 0);
	int64 limit = argument_limit(fcinfo, 4, "max_conversations");
	pg_uuid_t nil = {{0}};
	Datum values[6];
	uint64 rows;

	values[0] = PointerGetDatum(account_id);
	values[1] = Int64GetDatum(PG_ARGISNULL(1) ? PG_INT64_MAX : PG_GETARG_INT64(1));
	values[2] = TimestampTzGetDatum(PG_ARGISNULL(2) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(2));
	values[3] = PG_ARGISNULL(3) ? UUIDPGetDatum(&nil) : PG_GETARG_DATUM(3);
	values[4] = Int64GetDatum(limit);
	values[5] = BoolGetDatum(!PG_ARGISNULL(5) && PG_GETARG_BOOL(5));
	InitMaterializedSRF(fcinfo, 0);

	audit_access(AUDIT_CONVERSATIONS, ACL_SELECT);
	SPI_connect();
	rows = plan_execute(&conversations_recent_statement, values, NULL, true);
	for (uint64 i = 0; i < rows; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
	return (Datum) 0;
}
