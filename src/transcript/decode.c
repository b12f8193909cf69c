/*
 * decode.c
 *		Reads a transcript's payload into messages, and trusts nothing.
 *
 * Each column is read through a reader that cannot pass the column's end;
 * every length is compared with what is left before it is used.
 *
 * Owns no memory and takes no locks; the messages' texts point into the
 * caller's payload.
 */
#include "format.h"

#include "format_private.h"

/* The counterpart of put_delta. */
static bool
get_delta(Reader *reader, int64_t before, bool *present, int64_t *value)
{
	uint64_t code;

	if (reader->end - reader->next >= WIDE_BYTES &&
		memcmp(reader->next, wide_varint, WIDE_BYTES) == 0)
	{
		reader->next += WIDE_BYTES;
		*present = true;
		*value = zigzag_apply(UINT64_MAX, before);
		return true;
	}
	if (!get_varint(reader, &code))
		return false;
	*present = code != 0;
	*value = *present ? zigzag_apply(code - 1, before) : 0;
	return true;
}

/* `len` bytes of text within the column. */
static bool
get_text(Reader *reader, uint64_t len, const char **text)
{
	if (len > (uint64_t) (reader->end - reader->next))
		return false;
	*text = (const char *) reader->next;
	reader->next += len;
	return true;
}

/* A string of a role or model column; *text is NULL for CODE_NULL. */
static bool
get_string(Reader *reader, StringTable *table, const char **text, uint32_t *len)
{
	uint64_t code;
	uint64_t length;

	*text = NULL;
	*len = 0;
	if (!get_varint(reader, &code))
		return false;
	if (code == CODE_NULL)
		return true;
	if (code == CODE_LITERAL)
	{
		if (!get_varint(reader, &length) || length > TRANSCRIPT_MAX_RAW ||
			!get_text(reader, length, text))
			return false;
		*len = (uint32_t) length;
		table_enter(table, *text, *len);
		return true;
	}
	if (code - CODE_TABLE >= table->count)
		return false;
	*text = table->text[code - CODE_TABLE];
	*len = table->len[code - CODE_TABLE];
	return true;
}

static bool
get_roles(Reader *reader, TranscriptMessage *messages, uint32_t n, TranscriptProblem *problem)
{
	StringTable table;
	uint32_t i;

	table_init_roles(&table);
	for (i = 0; i < n; i++)
	{
		if (!get_string(reader, &table, &messages[i].role, &messages[i].role_len))
			return corrupt(problem, i + 1, "role cannot be read");
		if (messages[i].role == NULL || messages[i].role_len < 1 ||
			messages[i].role_len > MEMORY_MAX_ROLE_BYTES)
			return corrupt(problem, i + 1, "role has an impossible length");
	}
	return true;
}

static bool
get_models(Reader *reader, TranscriptMessage *messages, uint32_t n, TranscriptProblem *problem)
{
	StringTable table;
	uint32_t i;

	table.count = 0;
	for (i = 0; i < n; i++)
	{
		if (!get_string(reader, &table, &messages[i].model, &messages[i].model_len))
			return corrupt(problem, i + 1, "model cannot be read");
		if (messages[i].model_len > MEMORY_MAX_MODEL_BYTES)
			return corrupt(problem, i + 1, "model has an impossible length");
	}
	return true;
}

/* reader is NULL where the column is absent: 1, 2, 3 … */
static bool
get_seqs(Reader *reader, TranscriptMessage *messages, uint32_t n, TranscriptProblem *problem)
{
	uint64_t seq = 0;
	bool dense = true;
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		uint64_t number = 0;

		if (reader != NULL && (i == 0 || !dense))
		{
			if (!get_varint(reader, &number))
				return corrupt(problem, i + 1, "seq cannot be read");
			if (i == 0)
			{
				if (number == 0)
					return corrupt(problem, i + 1, "seq is smaller than 1");
				number--; /* the first is the seq itself, not a gap */
				dense = reader->next == reader->end;
			}
		}
		if (number > (uint64_t) INT64_MAX - 1 || seq > (uint64_t) INT64_MAX - 1 - number)
			return corrupt(problem, i + 1, "seq is out of range");
		seq += number + 1;
		messages[i].seq = (int64_t) seq;
	}
	return true;
}

static bool
get_parents(Reader *reader, TranscriptMessage *messages, uint32_t n, TranscriptProblem *problem)
{
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		uint64_t distance;

		if (reader == NULL)
		{
			messages[i].parent_seq =
				transcript_default_parent(messages[i].seq, i > 0 ? &messages[i - 1] : NULL);
			continue;
		}
		if (!get_varint(reader, &distance))
			return corrupt(problem, i + 1, "parent_seq cannot be read");
		if (distance >= (uint64_t) messages[i].seq)
			return corrupt(problem, i + 1, "parent_seq is out of range");
		messages[i].parent_seq = distance == 0 ? 0 : messages[i].seq - (int64_t) distance;
	}
	return true;
}

static bool
get_times(Reader *reader, TranscriptMessage *messages, uint32_t n, TranscriptProblem *problem)
{
	int64_t before = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		if (!get_delta(reader, before, &messages[i].has_created_at, &messages[i].created_at))
			return corrupt(problem, i + 1, "created_at cannot be read");
		if (messages[i].has_created_at)
			before = messages[i].created_at;
	}
	return true;
}

static bool
get_tokens(Reader *reader, TranscriptMessage *messages, uint32_t n, TranscriptProblem *problem)
{
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		uint64_t code = 0;

		if (reader != NULL && !get_varint(reader, &code))
			return corrupt(problem, i + 1, "tokens cannot be read");
		if (code > (uint64_t) INT32_MAX + 1)
			return corrupt(problem, i + 1, "tokens are out of range");
		messages[i].tokens = (int32_t) ((int64_t) code - 1);
	}
	return true;
}

static bool
get_revisions(Reader *reader, TranscriptMessage *messages, uint32_t n, TranscriptProblem *problem)
{
	int64_t before = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		uint64_t zigzag;

		if (!get_varint(reader, &zigzag))
			return corrupt(problem, i + 1, "revision cannot be read");
		messages[i].revision = zigzag_apply(zigzag, before);
		if (messages[i].revision < 0)
			return corrupt(problem, i + 1, "revision is out of range");
		before = messages[i].revision;
	}
	return true;
}

static bool
get_message_ids(Reader *reader, TranscriptMessage *messages, uint32_t n, TranscriptProblem *problem)
{
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		uint64_t code;

		if (!get_varint(reader, &code))
			return corrupt(problem, i + 1, "message_id cannot be read");
		if (code == 0)
			continue;
		if (code - 1 > MEMORY_MAX_MESSAGE_ID_BYTES ||
			!get_text(reader, code - 1, &messages[i].message_id))
			return corrupt(problem, i + 1, "message_id has an impossible length");
		messages[i].message_id_len = (uint32_t) (code - 1);
	}
	return true;
}

static bool
get_contents(Reader *lengths, Reader *contents, TranscriptMessage *messages, uint32_t n,
			 TranscriptProblem *problem)
{
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		uint64_t len;

		if (!get_varint(lengths, &len))
			return corrupt(problem, i + 1, "the length of content cannot be read");
		if (len > MEMORY_MAX_CONTENT_BYTES || !get_text(contents, len, &messages[i].content))
			return corrupt(problem, i + 1, "content has an impossible length");
		messages[i].content_len = (uint32_t) len;
	}
	return true;
}

static bool
get_metadata(Reader *lengths, Reader *texts, TranscriptMessage *messages, uint32_t n,
			 TranscriptProblem *problem)
{
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		uint64_t code;

		if (!get_varint(lengths, &code))
			return corrupt(problem, i + 1, "the length of metadata cannot be read");
		if (code == 0)
			continue;
		if (code - 1 > TRANSCRIPT_MAX_RAW || !get_text(texts, code - 1, &messages[i].metadata))
			return corrupt(problem, i + 1, "metadata has an impossible length");
		messages[i].metadata_len = (uint32_t) (code - 1);
	}
	return true;
}

/* Finds the columns' bounds; their lengths must add up to the payload. */
static bool
find_columns(const TranscriptHeader *header, const uint8_t *raw, Reader *columns,
			 TranscriptProblem *problem)
{
	Reader reader = {raw, raw + header->raw_size};
	uint64_t bytes[TRANSCRIPT_NCOLUMNS];
	int column;

	for (column = 0; column < TRANSCRIPT_NCOLUMNS; column++)
	{
		bytes[column] = 0;
		if (column_present(header->flags, column) && !get_varint(&reader, &bytes[column]))
			return corrupt(problem, 0, "the payload ends within its column lengths");
	}
	for (column = 0; column < TRANSCRIPT_NCOLUMNS; column++)
	{
		if (bytes[column] > (uint64_t) (reader.end - reader.next))
			return corrupt(problem, 0, "a column is longer than what is left of the payload");
		columns[column].next = reader.next;
		reader.next += bytes[column];
		columns[column].end = reader.next;
	}
	if (reader.next != reader.end)
		return corrupt(problem, 0, "the payload has bytes after its last column");
	return true;
}

static bool
check_totals(const TranscriptHeader *header, const TranscriptMessage *messages,
			 TranscriptProblem *problem)
{
	int64_t tokens = 0;
	int64_t first_at = 0;
	int64_t last_at = 0;
	uint64_t content = 0;
	bool has_times = false;
	bool instructed = false;
	uint32_t i;

	for (i = 0; i < header->message_count; i++)
	{
		const TranscriptMessage *message = &messages[i];

		content += message->content_len;
		if (message->tokens > 0)
			tokens += message->tokens;
		if (!message->has_created_at)
			continue;
		if (!has_times || message->created_at < first_at)
			first_at = message->created_at;
		if (!has_times || message->created_at > last_at)
			last_at = message->created_at;
		has_times = true;
	}
	if (header->message_count > 0)
		instructed = transcript_is_instruction(messages[0].role, messages[0].role_len);
	if (instructed != ((header->flags & TRANSCRIPT_FLAG_INSTRUCTED) != 0))
		return corrupt(problem, header->message_count > 0 ? 1 : 0,
					   "role does not agree with the header");
	if (content != header->content_bytes)
		return corrupt(problem, 0, "the contents' size differs from the header's");
	if (tokens != header->token_total)
		return corrupt(problem, 0, "the sum of tokens differs from the header's");
	if (has_times != header->has_times || first_at != header->first_at ||
		last_at != header->last_at)
		return corrupt(problem, 0, "the first or last time differs from the header's");
	return true;
}

bool
transcript_payload_decode(const TranscriptHeader *header, const uint8_t *raw,
						  TranscriptMessage *messages, TranscriptProblem *problem)
{
	Reader columns[TRANSCRIPT_NCOLUMNS];
	uint32_t n = header->message_count;
	uint32_t flags = header->flags;
	int column;

	if (!find_columns(header, raw, columns, problem))
		return false;
	memset(messages, 0, sizeof(TranscriptMessage) * n);

	if (!get_roles(&columns[TRANSCRIPT_COLUMN_ROLE], messages, n, problem) ||
		!get_seqs((flags & TRANSCRIPT_FLAG_SEQ) ? &columns[TRANSCRIPT_COLUMN_SEQ] : NULL, messages,
				  n, problem) ||
		!get_parents((flags & TRANSCRIPT_FLAG_PARENT) ? &columns[TRANSCRIPT_COLUMN_PARENT] : NULL,
					 messages, n, problem) ||
		!get_tokens((flags & TRANSCRIPT_FLAG_TOKENS) ? &columns[TRANSCRIPT_COLUMN_TOKENS] : NULL,
					messages, n, problem) ||
		!get_contents(&columns[TRANSCRIPT_COLUMN_CONTENT_LENGTH],
					  &columns[TRANSCRIPT_COLUMN_CONTENT], messages, n, problem))
		return false;
	if ((flags & TRANSCRIPT_FLAG_TIME) &&
		!get_times(&columns[TRANSCRIPT_COLUMN_TIME], messages, n, problem))
		return false;
	if ((flags & TRANSCRIPT_FLAG_MODEL) &&
		!get_models(&columns[TRANSCRIPT_COLUMN_MODEL], messages, n, problem))
		return false;
	if ((flags & TRANSCRIPT_FLAG_MESSAGE_ID) &&
		!get_message_ids(&columns[TRANSCRIPT_COLUMN_MESSAGE_ID], messages, n, problem))
		return false;
	if ((flags & TRANSCRIPT_FLAG_REVISION) &&
		!get_revisions(&columns[TRANSCRIPT_COLUMN_REVISION], messages, n, problem))
		return false;
	if ((flags & TRANSCRIPT_FLAG_METADATA) &&
		!get_metadata(&columns[TRANSCRIPT_COLUMN_METADATA_LENGTH],
					  &columns[TRANSCRIPT_COLUMN_METADATA], messages, n, problem))
		return false;

	for (column = 0; column < TRANSCRIPT_NCOLUMNS; column++)
		if (columns[column].next != columns[column].end)
			return corrupt(problem, 0, "a column has bytes after its last value");
	return check_totals(header, messages, problem);
}
