/*
 * transcript_functions.c
 *		What SQL calls: what the header says, and a transcript made from others.
 *
 * Takes no locks.  Everything lives in the caller's memory context.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "account.h"
#include "compat.h"
#include "dictionary.h"
#include "transcript.h"
#include "transcript_private.h"

PG_FUNCTION_INFO_V1(memory_transcript_message_count);
PG_FUNCTION_INFO_V1(memory_transcript_token_count);
PG_FUNCTION_INFO_V1(memory_transcript_raw_bytes);
PG_FUNCTION_INFO_V1(memory_transcript_content_bytes);
PG_FUNCTION_INFO_V1(memory_transcript_stored_bytes);
PG_FUNCTION_INFO_V1(memory_transcript_compression);
PG_FUNCTION_INFO_V1(memory_transcript_dictionary_id);
PG_FUNCTION_INFO_V1(memory_transcript_first_at);
PG_FUNCTION_INFO_V1(memory_transcript_last_at);
PG_FUNCTION_INFO_V1(memory_transcript_verify);
PG_FUNCTION_INFO_V1(memory_transcript_from_jsonb);
PG_FUNCTION_INFO_V1(memory_transcript_to_jsonb);
PG_FUNCTION_INFO_V1(memory_transcript_recompress);
PG_FUNCTION_INFO_V1(memory_transcript_concat);
PG_FUNCTION_INFO_V1(memory_transcript_slice);

/* ---------- the header ---------- */

/*
 * message_count(transcript) → integer
 *		Strict, as all functions here.  Reads the header only.  Errors: XX001,
 *		0A000.
 */
Datum
memory_transcript_message_count(PG_FUNCTION_ARGS)
{
	TranscriptHeader header;

	transcript_read_header(PG_GETARG_DATUM(0), &header);
	PG_RETURN_INT32((int32) header.message_count);
}

/*
 * token_count(transcript) → bigint
 *		The sum of the known token counts, from the header.
 */
Datum
memory_transcript_token_count(PG_FUNCTION_ARGS)
{
	TranscriptHeader header;

	transcript_read_header(PG_GETARG_DATUM(0), &header);
	PG_RETURN_INT64(header.token_total);
}

/*
 * raw_bytes(transcript) → bigint
 *		Bytes of the payload before compression, from the header.
 */
Datum
memory_transcript_raw_bytes(PG_FUNCTION_ARGS)
{
	TranscriptHeader header;

	transcript_read_header(PG_GETARG_DATUM(0), &header);
	PG_RETURN_INT64(header.raw_size);
}

/*
 * content_bytes(transcript) → bigint
 *		Bytes of all contents, from the header.
 */
Datum
memory_transcript_content_bytes(PG_FUNCTION_ARGS)
{
	TranscriptHeader header;

	transcript_read_header(PG_GETARG_DATUM(0), &header);
	PG_RETURN_INT64(header.content_bytes);
}

/*
 * stored_bytes(transcript) → bigint
 *		Bytes that the value takes where it is stored, as pg_column_size counts
 *		them.  Reads nothing of it.
 */
Datum
memory_transcript_stored_bytes(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) toast_datum_size(PG_GETARG_DATUM(0)));
}

/*
 * compression(transcript) → text
 *		How the payload is compressed, as recompress takes it, from the header.
 */
Datum
memory_transcript_compression(PG_FUNCTION_ARGS)
{
	TranscriptHeader header;
	TranscriptCompression compression;

	transcript_read_header(PG_GETARG_DATUM(0), &header);
	compression.codec = (TranscriptCodec) header.codec;
	compression.level = header.level;
	compression.dictionary_id = header.dictionary_id;
	PG_RETURN_TEXT_P(cstring_to_text(transcript_compression_name(&compression)));
}

/*
 * dictionary_id(transcript) → bigint
 *		The dictionary that the payload needs, from the header; NULL for none.
 */
Datum
memory_transcript_dictionary_id(PG_FUNCTION_ARGS)
{
	TranscriptHeader header;

	transcript_read_header(PG_GETARG_DATUM(0), &header);
	if (header.dictionary_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(header.dictionary_id);
}

/*
 * first_at(transcript) → timestamptz
 *		The smallest created_at, from the header; NULL if no message has one.
 */
Datum
memory_transcript_first_at(PG_FUNCTION_ARGS)
{
	TranscriptHeader header;

	transcript_read_header(PG_GETARG_DATUM(0), &header);
	if (!header.has_times)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(header.first_at);
}

/*
 * last_at(transcript) → timestamptz
 *		The largest created_at, from the header; NULL if no message has one.
 */
Datum
memory_transcript_last_at(PG_FUNCTION_ARGS)
{
	TranscriptHeader header;

	transcript_read_header(PG_GETARG_DATUM(0), &header);
	if (!header.has_times)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(header.last_at);
}

/* ---------- the payload ---------- */

void
transcript_verify(Datum value)
{
	Transcript *t = transcript_open(value);
	uint32 i;

	for (i = 0; i < t->count; i++)
	{
		const TranscriptMessage *message = &t->messages[i];

		CHECK_FOR_INTERRUPTS();
		if (message->metadata != NULL)
			pfree(transcript_metadata_jsonb(message->metadata, message->metadata_len, i + 1, true));
		if (message->has_created_at && !IS_VALID_TIMESTAMP(message->created_at) &&
			!TIMESTAMP_NOT_FINITE(message->created_at))
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("transcript is corrupt"),
							errdetail("message %u: created_at is out of range.", i + 1),
							errhint(TRANSCRIPT_CORRUPT_HINT)));
	}
	transcript_close(t);
}

/*
 * verify(transcript) → boolean
 *		True, or the error that says what is wrong: decompresses, compares the
 *		checksum and the header's totals, decodes every column, checks that texts
 *		are UTF-8 and metadata JSON objects.  Errors: XX001, 0A000.
 */
Datum
memory_transcript_verify(PG_FUNCTION_ARGS)
{
	transcript_verify(PG_GETARG_DATUM(0));
	PG_RETURN_BOOL(true);
}

/*
 * transcript(jsonb) → transcript
 *		The cast: a JSON array as in the text form.  Errors: 22023, 22007, 54000.
 */
Datum
memory_transcript_from_jsonb(PG_FUNCTION_ARGS)
{
	TranscriptCompression compression = transcript_default_compression();
	TranscriptMessage *messages;
	uint32 n;

	messages = transcript_messages_from_jsonb(PG_GETARG_JSONB_P(0), true, &n);
	PG_RETURN_POINTER(transcript_build(messages, n, &compression));
}

/*
 * to_jsonb(transcript) → jsonb
 *		The cast: the text form as jsonb.  Errors: XX001, 0A000; 54000 if the
 *		array is larger than a jsonb can be.
 */
Datum
memory_transcript_to_jsonb(PG_FUNCTION_ARGS)
{
	Transcript *t = transcript_open(PG_GETARG_DATUM(0));
	StringInfoData text;
	Datum result;

	initStringInfo(&text);
	transcript_messages_to_text(&text, t);
	transcript_close(t);
	result = DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data));
	pfree(text.data);
	PG_RETURN_DATUM(result);
}

/*
 * How well a text compresses with a dictionary says what is in the dictionary.
 * Since text of one account may be in one that was trained under
 * memory_ext.dictionary_min_accounts = 1, only operators may try.
 */
static void
check_may_name_dictionary(void)
{
	account_check_unconfined();
	if (!account_is_operator())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to compress with a named dictionary"),
						errdetail("Only operators may name one."),
						errhint("Leave out the @ and the dictionary's id.")));
}

/*
 * recompress(transcript, compression text) → transcript
 *		The same payload, compressed otherwise.  Errors: 22023 unknown
 *		compression; 42501 a dictionary is named by someone who is no operator,
 *		or is confined; XX001, 0A000.
 */
Datum
memory_transcript_recompress(PG_FUNCTION_ARGS)
{
	TranscriptCompression compression =
		transcript_parse_compression(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	TranscriptHeader header;
	char *raw = transcript_unpack_payload(PG_GETARG_DATUM(0), &header);

	if (compression.dictionary_id != 0)
	{
		check_may_name_dictionary();
		dictionary_use(compression.dictionary_id);
	}
	PG_RETURN_POINTER(transcript_pack(&header, raw, &compression));
}

/*
 * Moves b's messages behind a seq.  A parent within b moves along; a message
 * whose parent is not in b (a root, or one that was sliced off) answers the
 * message before b.
 */
static void
renumber(TranscriptMessage *messages, uint32 n, int64 last_seq)
{
	int64 first = messages[0].seq;
	uint32 i;

	if (messages[n - 1].seq - first > PG_INT64_MAX - 1 - last_seq)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("seq is out of range"),
				 errdetail("The second transcript cannot be numbered after " INT64_FORMAT ".",
						   last_seq)));
	for (i = 0; i < n; i++)
	{
		messages[i].parent_seq = messages[i].parent_seq < first
									 ? last_seq
									 : messages[i].parent_seq - first + last_seq + 1;
		messages[i].seq = messages[i].seq - first + last_seq + 1;
	}
}

/*
 * transcript || transcript → transcript
 *		b behind a, compressed as memory_ext.compression says.  b keeps its seq if
 *		they are greater than a's last, else it is renumbered to follow a.
 *		Errors: 54000 too large together, 22023 out of numbers; XX001, 0A000.
 */
Datum
memory_transcript_concat(PG_FUNCTION_ARGS)
{
	TranscriptCompression compression = transcript_default_compression();
	Transcript *a = transcript_open(PG_GETARG_DATUM(0));
	Transcript *b = transcript_open(PG_GETARG_DATUM(1));
	TranscriptMessage *messages;
	uint32 n = a->count + b->count; /* each at most TRANSCRIPT_MAX_MESSAGES */

	messages = palloc(Max(n, 1) * sizeof(TranscriptMessage));
	memcpy(messages, a->messages, a->count * sizeof(TranscriptMessage));
	memcpy(messages + a->count, b->messages, b->count * sizeof(TranscriptMessage));
	if (a->count > 0 && b->count > 0)
	{
		int64 last_seq = a->messages[a->count - 1].seq;

		if (b->messages[0].seq <= last_seq)
			renumber(messages + a->count, b->count, last_seq);
	}
	PG_RETURN_POINTER(transcript_build(messages, n, &compression));
}

/*
 * slice(transcript, from_seq bigint, to_seq bigint) → transcript
 *		The messages whose seq is between the two, both included, with the numbers
 *		that they have; compressed as memory_ext.compression says.  Errors:
 *		XX001, 0A000.
 */
Datum
memory_transcript_slice(PG_FUNCTION_ARGS)
{
	TranscriptCompression compression = transcript_default_compression();
	Transcript *t = transcript_open(PG_GETARG_DATUM(0));
	int64 from_seq = PG_GETARG_INT64(1);
	int64 to_seq = PG_GETARG_INT64(2);
	uint32 first = 0;
	uint32 end;

	while (first < t->count && t->messages[first].seq < from_seq)
		first++;
	end = first;
	while (end < t->count && t->messages[end].seq <= to_seq)
		end++;
	PG_RETURN_POINTER(transcript_build(t->messages + first, end - first, &compression));
}
