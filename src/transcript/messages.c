/*
 * messages.c
 *		memory.message, the composite type: to and from transcripts.
 *
 * Takes no locks.  The aggregate's state lives in the aggregate's context, each
 * message's texts in one piece; unpack's tuples go to a tuplestore in the
 * per-query context, everything else to the caller's.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "compat.h"
#include "transcript.h"
#include "transcript_private.h"

#define FIRST_CAPACITY 64

/* What unpack is expected to give where the planner cannot see the value. */
#define DEFAULT_ROWS 32

PG_FUNCTION_INFO_V1(memory_transcript_unpack);
PG_FUNCTION_INFO_V1(memory_transcript_unpack_support);
PG_FUNCTION_INFO_V1(memory_transcript_from_messages);
PG_FUNCTION_INFO_V1(memory_transcript_from_text);
PG_FUNCTION_INFO_V1(memory_transcript_agg_message);
PG_FUNCTION_INFO_V1(memory_transcript_agg_text);
PG_FUNCTION_INFO_V1(memory_transcript_agg_final);

/* ---------- message to columns ---------- */

/*
 * A buffer for one message's text, used again for the next: its datum is copied
 * when the tuple is formed.
 */
typedef struct TextBuffer
{
	struct varlena *data;
	Size size;
} TextBuffer;

static Datum
buffered_text(TextBuffer *buffer, const char *text, uint32 len)
{
	Size needed = VARHDRSZ + (Size) len;

	if (needed > buffer->size)
	{
		Size size = Max(needed, 2 * buffer->size);

		if (buffer->data != NULL)
			pfree(buffer->data);
		/* a text is at most TRANSCRIPT_MAX_RAW long */
		buffer->data = palloc(size);
		buffer->size = size;
	}
	SET_VARSIZE(buffer->data, needed);
	memcpy(VARDATA(buffer->data), text, len);
	return PointerGetDatum(buffer->data);
}

static Datum
new_text(const char *text, uint32 len)
{
	return PointerGetDatum(cstring_to_text_with_len(text, (int) len));
}

/* The columns that are passed by value, and which of all are NULL. */
static void
plain_datums(const TranscriptMessage *message, Datum *values, bool *nulls)
{
	values[MESSAGE_SEQ] = Int64GetDatum(message->seq);
	values[MESSAGE_PARENT_SEQ] = Int64GetDatum(message->parent_seq);
	values[MESSAGE_TOKENS] = Int32GetDatum(message->tokens);
	values[MESSAGE_CREATED_AT] = TimestampTzGetDatum(message->created_at);
	values[MESSAGE_REVISION] = Int64GetDatum(message->revision);

	nulls[MESSAGE_SEQ] = false;
	nulls[MESSAGE_PARENT_SEQ] = false;
	nulls[MESSAGE_ROLE] = false;
	nulls[MESSAGE_CONTENT] = false;
	nulls[MESSAGE_MODEL] = message->model == NULL;
	nulls[MESSAGE_TOKENS] = message->tokens < 0;
	nulls[MESSAGE_CREATED_AT] = !message->has_created_at;
	nulls[MESSAGE_MESSAGE_ID] = message->message_id == NULL;
	nulls[MESSAGE_METADATA] = message->metadata == NULL;
	nulls[MESSAGE_REVISION] = message->revision == 0;
}

static Datum
metadata_datum(const TranscriptMessage *message, uint32 position)
{
	return JsonbPGetDatum(
		transcript_metadata_jsonb(message->metadata, message->metadata_len, position, true));
}

Datum
transcript_metadata_datum(const TranscriptMessage *message)
{
	return metadata_datum(message, 1);
}

void
transcript_message_datums(const TranscriptMessage *message, Datum *values, bool *nulls)
{
	plain_datums(message, values, nulls);
	values[MESSAGE_ROLE] = new_text(message->role, message->role_len);
	values[MESSAGE_CONTENT] = new_text(message->content, message->content_len);
	values[MESSAGE_MODEL] =
		message->model != NULL ? new_text(message->model, message->model_len) : (Datum) 0;
	values[MESSAGE_MESSAGE_ID] = message->message_id != NULL
									 ? new_text(message->message_id, message->message_id_len)
									 : (Datum) 0;
	values[MESSAGE_METADATA] = message->metadata != NULL ? metadata_datum(message, 1) : (Datum) 0;
}

/* ---------- unpack ---------- */

/*
 * unpack(transcript) → setof memory.message
 *		Strict.  Materializes: in FROM, where it is meant to be used, the executor
 *		would keep the rows of a value-per-call function too, at the price of one
 *		more copy of each.  parent_seq is 0 for a root.  Errors: XX001, 0A000.
 */
Datum
memory_transcript_unpack(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TextBuffer role = {NULL, 0};
	TextBuffer content = {NULL, 0};
	TextBuffer model = {NULL, 0};
	TextBuffer message_id = {NULL, 0};
	Datum values[MESSAGE_NCOLUMNS];
	bool nulls[MESSAGE_NCOLUMNS];
	Transcript *t;
	uint32 i;

	InitMaterializedSRF(fcinfo, 0);
	if (result->setDesc->natts != MESSAGE_NCOLUMNS)
		elog(ERROR, "memory.message has %d columns, not %d", result->setDesc->natts,
			 MESSAGE_NCOLUMNS);

	t = transcript_open(PG_GETARG_DATUM(0));
	memset(values, 0, sizeof(values));
	for (i = 0; i < t->count; i++)
	{
		const TranscriptMessage *message = &t->messages[i];

		CHECK_FOR_INTERRUPTS();
		plain_datums(message, values, nulls);
		values[MESSAGE_ROLE] = buffered_text(&role, message->role, message->role_len);
		values[MESSAGE_CONTENT] = buffered_text(&content, message->content, message->content_len);
		if (message->model != NULL)
			values[MESSAGE_MODEL] = buffered_text(&model, message->model, message->model_len);
		if (message->message_id != NULL)
			values[MESSAGE_MESSAGE_ID] =
				buffered_text(&message_id, message->message_id, message->message_id_len);
		if (message->metadata != NULL)
			values[MESSAGE_METADATA] = metadata_datum(message, i + 1);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		if (message->metadata != NULL)
			pfree(DatumGetPointer(values[MESSAGE_METADATA]));
	}
	transcript_close(t);
	return (Datum) 0;
}

/*
 * unpack_support(internal) → internal
 *		Tells the planner how many rows unpack gives: what the header of a
 *		constant says, else DEFAULT_ROWS.
 */
Datum
memory_transcript_unpack_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	SupportRequestRows *rows;
	TranscriptHeader header;
	Node *argument;

	if (!IsA(request, SupportRequestRows))
		PG_RETURN_POINTER(NULL);
	rows = (SupportRequestRows *) request;
	if (rows->node == NULL || !is_funcclause(rows->node) ||
		list_length(((FuncExpr *) rows->node)->args) != 1)
		PG_RETURN_POINTER(NULL);

	argument = estimate_expression_value(rows->root, linitial(((FuncExpr *) rows->node)->args));
	if (!IsA(argument, Const))
		rows->rows = DEFAULT_ROWS;
	else if (((Const *) argument)->constisnull)
		rows->rows = 0;
	else
	{
		transcript_read_header(((Const *) argument)->constvalue, &header);
		rows->rows = header.message_count;
	}
	PG_RETURN_POINTER(request);
}

/* ---------- columns to message ---------- */

const char *
transcript_text_bytes(Datum value, bool isnull, uint32 *len)
{
	text *t;

	*len = 0;
	if (isnull)
		return NULL;
	t = DatumGetTextPP(value);
	*len = (uint32) VARSIZE_ANY_EXHDR(t);
	return VARDATA_ANY(t);
}

static void
bad_column(uint32 position, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("message %u: %s", position, what), errhint(TRANSCRIPT_MESSAGE_HINT)));
}

void
transcript_bad_number(uint32 position, const char *what, int64 value)
{
	bad_column(position, psprintf("%s, it is " INT64_FORMAT, what, value));
}

/*
 * The columns of a memory.message as a message; texts point into the values
 * or into palloc'd copies.  NULL seq and parent_seq are left for
 * transcript_number_messages.
 */
static void
message_from_datums(const Datum *values, const bool *nulls, uint32 position,
					TranscriptMessage *message)
{
	memset(message, 0, sizeof(*message));
	if (!nulls[MESSAGE_SEQ])
	{
		message->seq = DatumGetInt64(values[MESSAGE_SEQ]);
		if (message->seq < 1)
			transcript_bad_number(position, "seq must be at least 1", message->seq);
	}
	message->parent_seq = TRANSCRIPT_PARENT_DEFAULT;
	if (!nulls[MESSAGE_PARENT_SEQ])
	{
		message->parent_seq = DatumGetInt64(values[MESSAGE_PARENT_SEQ]);
		if (message->parent_seq < 0)
			transcript_bad_number(position, "parent_seq must not be negative", message->parent_seq);
	}
	message->tokens = -1;
	if (!nulls[MESSAGE_TOKENS])
	{
		message->tokens = DatumGetInt32(values[MESSAGE_TOKENS]);
		if (message->tokens < 0)
			transcript_bad_number(position, "tokens must not be negative", message->tokens);
	}
	message->has_created_at = !nulls[MESSAGE_CREATED_AT];
	if (message->has_created_at)
		message->created_at = DatumGetTimestampTz(values[MESSAGE_CREATED_AT]);
	if (!nulls[MESSAGE_REVISION])
		message->revision = DatumGetInt64(values[MESSAGE_REVISION]);
	if (nulls[MESSAGE_ROLE])
		bad_column(position, "role must not be null");
	if (nulls[MESSAGE_CONTENT])
		bad_column(position, "content must not be null");
	message->role = transcript_text_bytes(values[MESSAGE_ROLE], false, &message->role_len);
	message->content = transcript_text_bytes(values[MESSAGE_CONTENT], false, &message->content_len);
	message->model =
		transcript_text_bytes(values[MESSAGE_MODEL], nulls[MESSAGE_MODEL], &message->model_len);
	message->message_id =
		transcript_text_bytes(values[MESSAGE_MESSAGE_ID], nulls[MESSAGE_MESSAGE_ID],
							  &message->message_id_len);
	if (!nulls[MESSAGE_METADATA])
		message->metadata = transcript_metadata_text(DatumGetJsonbP(values[MESSAGE_METADATA]),
													 position, &message->metadata_len);
	transcript_check_message(message, position);
}

/* A composite datum of type memory.message. */
static void
message_from_record(HeapTupleHeader record, uint32 position, TranscriptMessage *message)
{
	TupleDesc desc =
		lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(record), HeapTupleHeaderGetTypMod(record));
	HeapTupleData tuple;
	Datum values[MESSAGE_NCOLUMNS];
	bool nulls[MESSAGE_NCOLUMNS];

	if (desc->natts != MESSAGE_NCOLUMNS)
		elog(ERROR, "memory.message has %d columns, not %d", desc->natts, MESSAGE_NCOLUMNS);
	tuple.t_len = HeapTupleHeaderGetDatumLength(record);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = record;
	heap_deform_tuple(&tuple, desc, values, nulls);
	ReleaseTupleDesc(desc);
	message_from_datums(values, nulls, position, message);
}

/*
 * transcript(memory.message[]) → transcript
 *		Strict.  NULL seq and parent_seq take their defaults.  Errors: 22023 a
 *		NULL element, role or content, seq or parent_seq out of order; 54000.
 */
Datum
memory_transcript_from_messages(PG_FUNCTION_ARGS)
{
	TranscriptCompression compression = transcript_default_compression();
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	TranscriptMessage *messages;
	Datum *elements;
	bool *nulls;
	int16 typlen;
	bool typbyval;
	char typalign;
	int n;
	int i;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an array of messages has one dimension, this has %d", ARR_NDIM(array))));
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &typlen, &typbyval, &typalign);
	deconstruct_array(array, ARR_ELEMTYPE(array), typlen, typbyval, typalign, &elements, &nulls,
					  &n);
	if (n > (int) TRANSCRIPT_MAX_MESSAGES)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("transcript has more than %u messages", TRANSCRIPT_MAX_MESSAGES),
						errhint("Make several transcripts of it.")));

	messages = palloc(Max(n, 1) * sizeof(TranscriptMessage));
	for (i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			bad_column((uint32) i + 1, "it is null");
		message_from_record(DatumGetHeapTupleHeader(elements[i]), (uint32) i + 1, &messages[i]);
	}
	transcript_number_messages(messages, (uint32) n);
	PG_RETURN_POINTER(transcript_build(messages, (uint32) n, &compression));
}

/*
 * transcript(role text, content text) → transcript
 *		Strict.  One message, seq 1.  Errors: 22023 empty role, 54000.
 */
Datum
memory_transcript_from_text(PG_FUNCTION_ARGS)
{
	TranscriptCompression compression = transcript_default_compression();
	TranscriptMessage message = {0};

	message.seq = 1;
	message.tokens = -1;
	message.role = transcript_text_bytes(PG_GETARG_DATUM(0), false, &message.role_len);
	message.content = transcript_text_bytes(PG_GETARG_DATUM(1), false, &message.content_len);
	PG_RETURN_POINTER(transcript_build(&message, 1, &compression));
}

/* ---------- the aggregates ---------- */

typedef struct MessageAggState
{
	uint32 count;
	uint32 capacity;
	uint64 bytes; /* of all texts, bounded like the payload that they make */
	TranscriptMessage *messages;
} MessageAggState;

/* The state, made at the first row, in the aggregate's context. */
static MessageAggState *
agg_state(FunctionCallInfo fcinfo, MemoryContext *context)
{
	MessageAggState *state;

	if (!AggCheckCallContext(fcinfo, context))
		elog(ERROR, "transcript_agg was called outside an aggregate");
	if (!PG_ARGISNULL(0))
		return (MessageAggState *) PG_GETARG_POINTER(0);
	state = MemoryContextAllocZero(*context, sizeof(MessageAggState));
	state->capacity = FIRST_CAPACITY;
	state->messages = MemoryContextAlloc(*context, FIRST_CAPACITY * sizeof(TranscriptMessage));
	return state;
}

static const char *
agg_copy_text(char **next, const char *text, uint32 len)
{
	char *copy = *next;

	if (text == NULL)
		return NULL;
	memcpy(copy, text, len);
	*next += len;
	return copy;
}

/* Keeps a copy of the message, its texts in one piece. */
static void
agg_add(MessageAggState *state, MemoryContext context, const TranscriptMessage *source)
{
	Size bytes = (Size) source->role_len + source->content_len + source->model_len +
				 source->message_id_len + source->metadata_len;
	TranscriptMessage *message;
	char *next;

	state->bytes += (Size) source->content_len + source->metadata_len;
	if (state->bytes > TRANSCRIPT_MAX_RAW || state->count >= TRANSCRIPT_MAX_MESSAGES)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the aggregated transcript is too large"),
						errdetail("The limits are %u bytes and %u messages.", TRANSCRIPT_MAX_RAW,
								  TRANSCRIPT_MAX_MESSAGES),
						errhint("Make several transcripts of it.")));
	if (state->count == state->capacity)
	{
		state->capacity *= 2;
		state->messages = repalloc(state->messages, state->capacity * sizeof(TranscriptMessage));
	}
	message = &state->messages[state->count];
	*message = *source;
	next = MemoryContextAlloc(context, Max(bytes, 1));
	message->role = agg_copy_text(&next, source->role, source->role_len);
	message->content = agg_copy_text(&next, source->content, source->content_len);
	message->model = agg_copy_text(&next, source->model, source->model_len);
	message->message_id = agg_copy_text(&next, source->message_id, source->message_id_len);
	message->metadata = agg_copy_text(&next, source->metadata, source->metadata_len);

	if (message->seq != 0 && state->count > 0 && message->seq <= message[-1].seq)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("message %u: seq " INT64_FORMAT " comes after seq " INT64_FORMAT,
						state->count + 1, (int64) message->seq, (int64) message[-1].seq),
				 errhint(
					 "Order the rows within the aggregate: transcript_agg(m ORDER BY m.seq).")));
	/* numbers this one message by the one before it */
	if (state->count == 0)
		transcript_number_messages(message, 1);
	else
		transcript_number_messages(message - 1, 2);
	state->count++;
}

/*
 * transcript_agg_message(internal, memory.message) → internal
 *		Adds a row; NULL rows are skipped.  Errors: 22023, 54000.
 */
Datum
memory_transcript_agg_message(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	MessageAggState *state = agg_state(fcinfo, &context);
	TranscriptMessage message;

	if (!PG_ARGISNULL(1))
	{
		message_from_record(PG_GETARG_HEAPTUPLEHEADER(1), state->count + 1, &message);
		agg_add(state, context, &message);
	}
	PG_RETURN_POINTER(state);
}

/*
 * transcript_agg_text(internal, role text, content text) → internal
 *		Adds a message with the next seq.  Errors: 22023 NULL or empty role, NULL
 *		content; 54000.
 */
Datum
memory_transcript_agg_text(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	MessageAggState *state = agg_state(fcinfo, &context);
	Datum values[MESSAGE_NCOLUMNS] = {0};
	bool nulls[MESSAGE_NCOLUMNS];
	TranscriptMessage message;

	memset(nulls, true, sizeof(nulls));
	nulls[MESSAGE_ROLE] = PG_ARGISNULL(1);
	nulls[MESSAGE_CONTENT] = PG_ARGISNULL(2);
	if (!PG_ARGISNULL(1))
		values[MESSAGE_ROLE] = PG_GETARG_DATUM(1);
	if (!PG_ARGISNULL(2))
		values[MESSAGE_CONTENT] = PG_GETARG_DATUM(2);
	message_from_datums(values, nulls, state->count + 1, &message);
	agg_add(state, context, &message);
	PG_RETURN_POINTER(state);
}

/*
 * transcript_agg_final(internal) → transcript
 *		NULL if there were no rows.  Leaves the state as it is, so that a window
 *		may call it again.  Errors: 54000, 22023.
 */
Datum
memory_transcript_agg_final(PG_FUNCTION_ARGS)
{
	TranscriptCompression compression = transcript_default_compression();
	MessageAggState *state;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (MessageAggState *) PG_GETARG_POINTER(0);
	if (state->count == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(transcript_build(state->messages, state->count, &compression));
}
