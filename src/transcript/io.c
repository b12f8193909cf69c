/*
 * io.c
 *		The type's text and binary forms.
 *
 * Binary form, in network order: int32 format version (1), int32 message
 * count, then for each message the ten columns of memory.message in order,
 * each an int32 length (-1: NULL) and so many bytes: seq, parent_seq, revision
 * as int64, tokens as int32, created_at as int64 microseconds since
 * 2000-01-01 UTC, texts in the client's encoding, metadata as JSON text.
 *
 * Takes no locks.  Everything lives in the caller's memory context.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "transcript.h"
#include "transcript_private.h"

#define BINARY_VERSION 1

/* Ten lengths: the least that a message takes in the binary form. */
#define BINARY_MIN_MESSAGE_BYTES (4 * MESSAGE_NCOLUMNS)

PG_FUNCTION_INFO_V1(memory_transcript_in);
PG_FUNCTION_INFO_V1(memory_transcript_out);
PG_FUNCTION_INFO_V1(memory_transcript_recv);
PG_FUNCTION_INFO_V1(memory_transcript_send);

/*
 * transcript_in(cstring) → transcript
 *		A JSON array of messages, compressed as memory_ext.compression says.
 *		Errors: 22P02 not JSON, 22023 not messages, 22007 not a time, 54000
 *		over a limit.
 */
Datum
memory_transcript_in(PG_FUNCTION_ARGS)
{
	TranscriptCompression compression = transcript_default_compression();
	TranscriptMessage *messages;
	uint32 n;

	messages = transcript_messages_from_text(PG_GETARG_CSTRING(0), &n);
	PG_RETURN_POINTER(transcript_build(messages, n, &compression));
}

/*
 * transcript_out(transcript) → cstring
 *		The JSON array; the same text whatever DateStyle and TimeZone are.
 *		Errors: XX001, 0A000 as transcript_open's.
 */
Datum
memory_transcript_out(PG_FUNCTION_ARGS)
{
	Transcript *t = transcript_open(PG_GETARG_DATUM(0));
	StringInfoData out;

	initStringInfo(&out);
	transcript_messages_to_text(&out, t);
	transcript_close(t);
	PG_RETURN_CSTRING(out.data);
}

/* ---------- binary out ---------- */

static void
send_null(StringInfo out)
{
	pq_sendint32(out, (uint32) -1);
}

static void
send_int64(StringInfo out, int64 value)
{
	pq_sendint32(out, sizeof(int64));
	pq_sendint64(out, (uint64) value);
}

static void
send_text(StringInfo out, const char *text, uint32 len)
{
	char *converted;

	if (text == NULL)
	{
		send_null(out);
		return;
	}
	/* returns its argument where there is nothing to convert */
	converted = pg_server_to_client(text, (int) len);
	if (converted != text)
		len = (uint32) strlen(converted);
	pq_sendint32(out, len);
	pq_sendbytes(out, converted, (int) len);
	if (converted != text)
		pfree(converted);
}

static void
send_message(StringInfo out, const TranscriptMessage *message)
{
	send_int64(out, message->seq);
	send_int64(out, message->parent_seq);
	send_text(out, message->role, message->role_len);
	send_text(out, message->content, message->content_len);
	send_text(out, message->model, message->model_len);
	if (message->tokens < 0)
		send_null(out);
	else
	{
		pq_sendint32(out, sizeof(int32));
		pq_sendint32(out, (uint32) message->tokens);
	}
	if (message->has_created_at)
		send_int64(out, message->created_at);
	else
		send_null(out);
	send_text(out, message->message_id, message->message_id_len);
	send_text(out, message->metadata, message->metadata_len);
	if (message->revision != 0)
		send_int64(out, message->revision);
	else
		send_null(out);
}

/*
 * transcript_send(transcript) → bytea
 *		The binary form.  Errors: XX001, 0A000 as transcript_open's.
 */
Datum
memory_transcript_send(PG_FUNCTION_ARGS)
{
	Transcript *t = transcript_open(PG_GETARG_DATUM(0));
	StringInfoData out;
	uint32 i;

	pq_begintypsend(&out);
	pq_sendint32(&out, BINARY_VERSION);
	pq_sendint32(&out, t->count);
	for (i = 0; i < t->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		send_message(&out, &t->messages[i]);
	}
	transcript_close(t);
	PG_RETURN_BYTEA_P(pq_endtypsend(&out));
}

/* ---------- binary in ---------- */

static void
bad_binary(uint32 position, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION), errmsg("invalid binary transcript"),
			 position > 0 ? errdetail("message %u: %s.", position, what) : errdetail("%s.", what),
			 errhint("Send the whole binary form, or the text form.")));
}

/* The next column's length, compared with what is left; false if NULL. */
static bool
recv_length(StringInfo in, uint32 position, int *len)
{
	if (in->len - in->cursor < 4)
		bad_binary(position, "it ends within a length");
	*len = (int) pq_getmsgint(in, 4);
	if (*len == -1)
		return false;
	if (*len < 0 || *len > in->len - in->cursor)
		bad_binary(position, "a length is greater than what is left");
	return true;
}

static bool
recv_int64(StringInfo in, uint32 position, int64 *value)
{
	int len;

	if (!recv_length(in, position, &len))
		return false;
	if (len != sizeof(int64))
		bad_binary(position, "a number does not have 8 bytes");
	*value = pq_getmsgint64(in);
	return true;
}

/* NULL, or a text of this database's encoding, palloc'd and terminated. */
static const char *
recv_text(StringInfo in, uint32 position, uint32 *text_len)
{
	int len;
	int bytes;
	char *text;

	*text_len = 0;
	if (!recv_length(in, position, &len))
		return NULL;
	text = pq_getmsgtext(in, len, &bytes);
	*text_len = (uint32) bytes;
	return text;
}

static void
recv_tokens(StringInfo in, uint32 position, int32 *tokens)
{
	int len;

	*tokens = -1;
	if (!recv_length(in, position, &len))
		return;
	if (len != sizeof(int32))
		bad_binary(position, "tokens do not have 4 bytes");
	*tokens = (int32) pq_getmsgint(in, 4);
	if (*tokens < 0)
		transcript_bad_number(position, "tokens must not be negative", *tokens);
}

static void
recv_metadata(StringInfo in, uint32 position, TranscriptMessage *message)
{
	const char *text = recv_text(in, position, &message->metadata_len);
	Jsonb *metadata;

	if (text == NULL)
		return;
	/* through jsonb, so that a transcript never holds JSON that is not */
	metadata = transcript_metadata_jsonb(text, message->metadata_len, position, false);
	message->metadata = transcript_metadata_text(metadata, position, &message->metadata_len);
	pfree(metadata);
}

static void
recv_message(StringInfo in, uint32 position, TranscriptMessage *message)
{
	memset(message, 0, sizeof(*message));
	if (recv_int64(in, position, &message->seq) && message->seq < 1)
		transcript_bad_number(position, "seq must be at least 1", message->seq);
	if (!recv_int64(in, position, &message->parent_seq))
		message->parent_seq = TRANSCRIPT_PARENT_DEFAULT;
	else if (message->parent_seq < 0)
		transcript_bad_number(position, "parent_seq must not be negative", message->parent_seq);
	message->role = recv_text(in, position, &message->role_len);
	message->content = recv_text(in, position, &message->content_len);
	message->model = recv_text(in, position, &message->model_len);
	recv_tokens(in, position, &message->tokens);
	message->has_created_at = recv_int64(in, position, &message->created_at);
	if (message->has_created_at && !IS_VALID_TIMESTAMP(message->created_at) &&
		!TIMESTAMP_NOT_FINITE(message->created_at))
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("message %u: created_at is out of range", position),
						errhint("It counts microseconds since 2000-01-01 UTC.")));
	message->message_id = recv_text(in, position, &message->message_id_len);
	recv_metadata(in, position, message);
	(void) recv_int64(in, position, &message->revision);
	transcript_check_message(message, position);
}

/*
 * transcript_recv(internal) → transcript
 *		Reads the binary form and compresses it as memory_ext.compression says.
 *		NULL seq and parent_seq take their defaults.  Errors: 22P03 not the
 *		binary form, 22023 not messages, 22P02 metadata that is not JSON, 54000
 *		over a limit.
 */
Datum
memory_transcript_recv(PG_FUNCTION_ARGS)
{
	StringInfo in = (StringInfo) PG_GETARG_POINTER(0);
	TranscriptCompression compression = transcript_default_compression();
	TranscriptMessage *messages;
	uint32 version;
	uint32 count;
	uint32 i;

	if (in->len - in->cursor < 8)
		bad_binary(0, "it ends within its header");
	version = pq_getmsgint(in, 4);
	if (version != BINARY_VERSION)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg(
				 "binary transcript has version %u, which this version of memory_ext does not know",
				 version),
			 errhint("Upgrade memory_ext, or send the text form.")));
	count = pq_getmsgint(in, 4);
	if (count > TRANSCRIPT_MAX_MESSAGES ||
		(uint64) count * BINARY_MIN_MESSAGE_BYTES > (uint64) (in->len - in->cursor))
		bad_binary(0, "it counts more messages than it holds");

	messages = palloc(Max(count, 1) * sizeof(TranscriptMessage));
	for (i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		recv_message(in, i + 1, &messages[i]);
	}
	if (in->cursor != in->len)
		bad_binary(0, "it has bytes after its last message");
	transcript_number_messages(messages, count);
	PG_RETURN_POINTER(transcript_build(messages, count, &compression));
}
