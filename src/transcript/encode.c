/*
 * encode.c
 *		Checks messages and writes them as a transcript's payload.
 *
 * Runs twice over the messages: transcript_plan measures each column with a
 * sink that only counts, transcript_payload_encode writes the same bytes into
 * a buffer of that size.
 *
 * Owns no memory and takes no locks; buffers belong to the caller.
 */
#include "format.h"

#include "format_private.h"

typedef struct Sink
{
	uint8_t *out; /* NULL: only count */
	uint64_t size;
	uint64_t bytes;
	bool overflow;
} Sink;

static void
put_bytes(Sink *sink, const void *bytes, uint64_t n)
{
	if (sink->out != NULL && n > 0)
	{
		if (n > sink->size - sink->bytes)
		{
			sink->overflow = true;
			sink->out = NULL;
		}
		else
			memcpy(sink->out + sink->bytes, bytes, n);
	}
	sink->bytes += n;
}

static void
put_varint(Sink *sink, uint64_t value)
{
	uint8_t buffer[WIDE_BYTES];

	put_bytes(sink, buffer, write_varint(buffer, value));
}

/*
 * A nullable delta: 0 is NULL, else zigzag + 1.  The one sum that does not
 * fit in 64 bits, 2^64, is written as the ten-byte varint that it is.
 */
static void
put_delta(Sink *sink, int64_t value, int64_t before)
{
	uint64_t zigzag = zigzag_delta(value, before);

	if (zigzag == UINT64_MAX)
		put_bytes(sink, wide_varint, WIDE_BYTES);
	else
		put_varint(sink, zigzag + 1);
}

static void
put_string(Sink *sink, StringTable *table, const char *text, uint32_t len)
{
	uint32_t index = table_find(table, text, len);

	if (index < table->count)
		put_varint(sink, (uint64_t) CODE_TABLE + index);
	else
	{
		put_varint(sink, CODE_LITERAL);
		put_varint(sink, len);
		put_bytes(sink, text, len);
		table_enter(table, text, len);
	}
}

static void
put_roles(Sink *sink, const TranscriptMessage *messages, uint32_t n)
{
	StringTable table;
	uint32_t i;

	table_init_roles(&table);
	for (i = 0; i < n; i++)
		put_string(sink, &table, messages[i].role, messages[i].role_len);
}

static void
put_models(Sink *sink, const TranscriptMessage *messages, uint32_t n)
{
	StringTable table;
	uint32_t i;

	table.count = 0;
	for (i = 0; i < n; i++)
	{
		if (messages[i].model == NULL)
			put_varint(sink, CODE_NULL);
		else
			put_string(sink, &table, messages[i].model, messages[i].model_len);
	}
}

/* The first seq; then, unless they are dense, the gaps between the others. */
static void
put_seqs(Sink *sink, const TranscriptMessage *messages, uint32_t n)
{
	uint32_t i;

	if (n == 0)
		return;
	put_varint(sink, (uint64_t) messages[0].seq);
	if (messages[n - 1].seq - messages[0].seq == (int64_t) n - 1)
		return;
	for (i = 1; i < n; i++)
		put_varint(sink, (uint64_t) (messages[i].seq - messages[i - 1].seq - 1));
}

static void
put_parents(Sink *sink, const TranscriptMessage *messages, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		put_varint(sink, messages[i].parent_seq == 0
							 ? 0
							 : (uint64_t) (messages[i].seq - messages[i].parent_seq));
}

static void
put_times(Sink *sink, const TranscriptMessage *messages, uint32_t n)
{
	int64_t before = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		if (!messages[i].has_created_at)
			put_varint(sink, 0);
		else
		{
			put_delta(sink, messages[i].created_at, before);
			before = messages[i].created_at;
		}
	}
}

static void
put_revisions(Sink *sink, const TranscriptMessage *messages, uint32_t n)
{
	int64_t before = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		put_varint(sink, zigzag_delta(messages[i].revision, before));
		before = messages[i].revision;
	}
}

static void
put_message_ids(Sink *sink, const TranscriptMessage *messages, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		if (messages[i].message_id == NULL)
			put_varint(sink, 0);
		else
		{
			put_varint(sink, (uint64_t) messages[i].message_id_len + 1);
			put_bytes(sink, messages[i].message_id, messages[i].message_id_len);
		}
	}
}

static void
put_column(Sink *sink, int column, const TranscriptMessage *messages, uint32_t n)
{
	uint32_t i;

	switch (column)
	{
		case TRANSCRIPT_COLUMN_ROLE:
			put_roles(sink, messages, n);
			break;
		case TRANSCRIPT_COLUMN_SEQ:
			put_seqs(sink, messages, n);
			break;
		case TRANSCRIPT_COLUMN_PARENT:
			put_parents(sink, messages, n);
			break;
		case TRANSCRIPT_COLUMN_TIME:
			put_times(sink, messages, n);
			break;
		case TRANSCRIPT_COLUMN_TOKENS:
			for (i = 0; i < n; i++)
				put_varint(sink, (uint64_t) ((int64_t) messages[i].tokens + 1));
			break;
		case TRANSCRIPT_COLUMN_MODEL:
			put_models(sink, messages, n);
			break;
		case TRANSCRIPT_COLUMN_MESSAGE_ID:
			put_message_ids(sink, messages, n);
			break;
		case TRANSCRIPT_COLUMN_REVISION:
			put_revisions(sink, messages, n);
			break;
		case TRANSCRIPT_COLUMN_CONTENT_LENGTH:
			for (i = 0; i < n; i++)
				put_varint(sink, messages[i].content_len);
			break;
		case TRANSCRIPT_COLUMN_CONTENT:
			for (i = 0; i < n; i++)
				put_bytes(sink, messages[i].content, messages[i].content_len);
			break;
		case TRANSCRIPT_COLUMN_METADATA_LENGTH:
			for (i = 0; i < n; i++)
				put_varint(sink, messages[i].metadata == NULL
									 ? 0
									 : (uint64_t) messages[i].metadata_len + 1);
			break;
		case TRANSCRIPT_COLUMN_METADATA:
			for (i = 0; i < n; i++)
				if (messages[i].metadata != NULL)
					put_bytes(sink, messages[i].metadata, messages[i].metadata_len);
			break;
	}
}

/* ---------- checking and planning ---------- */

bool
transcript_message_check(const TranscriptMessage *message, TranscriptProblem *problem)
{
	if (message->role == NULL || message->role_len == 0)
		return fail(problem, TRANSCRIPT_INVALID, 0, "role must not be empty");
	if (message->role_len > MEMORY_MAX_ROLE_BYTES)
		return fail_value(problem, TRANSCRIPT_TOO_LARGE, 0, "role", message->role_len,
						  MEMORY_MAX_ROLE_BYTES);
	if (message->content == NULL)
		return fail(problem, TRANSCRIPT_INVALID, 0, "content must not be null");
	if (message->content_len > MEMORY_MAX_CONTENT_BYTES)
		return fail_value(problem, TRANSCRIPT_TOO_LARGE, 0, "content", message->content_len,
						  MEMORY_MAX_CONTENT_BYTES);
	if (message->model != NULL && message->model_len > MEMORY_MAX_MODEL_BYTES)
		return fail_value(problem, TRANSCRIPT_TOO_LARGE, 0, "model", message->model_len,
						  MEMORY_MAX_MODEL_BYTES);
	if (message->message_id != NULL && message->message_id_len > MEMORY_MAX_MESSAGE_ID_BYTES)
		return fail_value(problem, TRANSCRIPT_TOO_LARGE, 0, "message_id", message->message_id_len,
						  MEMORY_MAX_MESSAGE_ID_BYTES);
	if (message->metadata != NULL && message->metadata_len > TRANSCRIPT_MAX_RAW)
		return fail_value(problem, TRANSCRIPT_TOO_LARGE, 0, "metadata", message->metadata_len,
						  TRANSCRIPT_MAX_RAW);
	if (message->tokens < -1)
		return fail(problem, TRANSCRIPT_INVALID, 0, "tokens must not be negative");
	if (message->revision < 0)
		return fail(problem, TRANSCRIPT_INVALID, 0, "revision must not be negative");
	return true;
}

/* Adds one message's flags and totals to the header. */
static void
plan_message(const TranscriptMessage *message, const TranscriptMessage *before, uint32_t position,
			 TranscriptHeader *header)
{
	if (position == 1 && transcript_is_instruction(message->role, message->role_len))
		header->flags |= TRANSCRIPT_FLAG_INSTRUCTED;
	if (message->seq != (int64_t) position)
		header->flags |= TRANSCRIPT_FLAG_SEQ;
	if (message->parent_seq != transcript_default_parent(message->seq, before))
		header->flags |= TRANSCRIPT_FLAG_PARENT;
	if (message->has_created_at)
	{
		if (!header->has_times || message->created_at < header->first_at)
			header->first_at = message->created_at;
		if (!header->has_times || message->created_at > header->last_at)
			header->last_at = message->created_at;
		header->has_times = true;
		header->flags |= TRANSCRIPT_FLAG_TIME;
	}
	if (message->tokens >= 0)
	{
		header->flags |= TRANSCRIPT_FLAG_TOKENS;
		header->token_total += message->tokens;
	}
	if (message->model != NULL)
		header->flags |= TRANSCRIPT_FLAG_MODEL;
	if (message->message_id != NULL)
		header->flags |= TRANSCRIPT_FLAG_MESSAGE_ID;
	if (message->revision != 0)
		header->flags |= TRANSCRIPT_FLAG_REVISION;
	if (message->metadata != NULL)
		header->flags |= TRANSCRIPT_FLAG_METADATA;
}

/* Order and parent of one message; before is NULL for the first. */
static bool
order_check(const TranscriptMessage *message, const TranscriptMessage *before, uint32_t position,
			TranscriptProblem *problem)
{
	if (message->seq < 1)
		return fail_value(problem, TRANSCRIPT_INVALID, position, "seq is smaller than 1",
						  message->seq, 1);
	if (before != NULL && message->seq <= before->seq)
		return fail_value(problem, TRANSCRIPT_INVALID, position,
						  "seq is not greater than the one before", message->seq, before->seq);
	if (message->parent_seq < 0 || message->parent_seq >= message->seq)
		return fail_value(problem, TRANSCRIPT_INVALID, position,
						  "parent_seq is not between 0 and seq - 1", message->parent_seq,
						  message->seq - 1);
	return true;
}

bool
transcript_plan(const TranscriptMessage *messages, uint32_t n, TranscriptPlan *plan,
				TranscriptProblem *problem)
{
	uint64_t raw_size = 0;
	uint32_t i;
	int column;

	memset(plan, 0, sizeof(*plan));
	plan->header.version = TRANSCRIPT_VERSION;
	plan->header.message_count = n;
	if (n > TRANSCRIPT_MAX_MESSAGES)
		return fail_value(problem, TRANSCRIPT_TOO_LARGE, 0, "message count", n,
						  TRANSCRIPT_MAX_MESSAGES);
	for (i = 0; i < n; i++)
	{
		const TranscriptMessage *before = i > 0 ? &messages[i - 1] : NULL;

		if (!transcript_message_check(&messages[i], problem))
		{
			problem->message = i + 1;
			return false;
		}
		if (!order_check(&messages[i], before, i + 1, problem))
			return false;
		plan_message(&messages[i], before, i + 1, &plan->header);
	}

	for (column = 0; column < TRANSCRIPT_NCOLUMNS; column++)
	{
		Sink sink = {0};

		if (!column_present(plan->header.flags, column))
			continue;
		put_column(&sink, column, messages, n);
		plan->column_bytes[column] = sink.bytes;
		put_varint(&sink, plan->column_bytes[column]);
		raw_size += sink.bytes;
	}
	if (raw_size > TRANSCRIPT_MAX_RAW)
		return fail_value(problem, TRANSCRIPT_TOO_LARGE, 0, "payload", (int64_t) raw_size,
						  TRANSCRIPT_MAX_RAW);
	plan->header.raw_size = (uint32_t) raw_size;
	plan->header.content_bytes = (uint32_t) plan->column_bytes[TRANSCRIPT_COLUMN_CONTENT];
	return true;
}

bool
transcript_payload_encode(const TranscriptMessage *messages, const TranscriptPlan *plan,
						  uint8_t *out, TranscriptProblem *problem)
{
	Sink sink = {0};
	int column;

	sink.out = out;
	sink.size = plan->header.raw_size;
	for (column = 0; column < TRANSCRIPT_NCOLUMNS; column++)
		if (column_present(plan->header.flags, column))
			put_varint(&sink, plan->column_bytes[column]);
	for (column = 0; column < TRANSCRIPT_NCOLUMNS; column++)
		if (column_present(plan->header.flags, column))
			put_column(&sink, column, messages, plan->header.message_count);
	if (sink.overflow || sink.bytes != plan->header.raw_size)
		return corrupt(problem, 0, "the messages changed while they were encoded");
	return true;
}
