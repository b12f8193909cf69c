/*
 * fuzz_format.c
 *		libFuzzer's target for the bytes of a transcript: src/transcript's
 *		format.c, encode.c and decode.c, without PostgreSQL.
 *
 * An input's first byte chooses:
 *	'B'	a transcript as it is stored, with codec none: header and payload
 *	'P'	the fixed part of a header, a byte for the number of messages, and a
 *		payload: what else the header says of the payload (its size, the
 *		contents' size, the sum of tokens, first and last time) is made to
 *		fit, so that mutations reach the columns
 *	'M'	messages are made of the input, then encoded
 *
 * What decodes must encode again, to bytes that decode to the same messages;
 * what encodes must decode to what it was.  Buffers have exactly the sizes
 * that transcript_open gives them, so the sanitizer sees the first byte past
 * their ends; an allocation over the format's caps aborts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory_limits.h"
#include "transcript/format.h"

#define MAX_MESSAGES_MADE 300
#define FIXED_BYTES 16 /* of a header */

#define require(condition)                                                                         \
	do                                                                                             \
	{                                                                                              \
		if (!(condition))                                                                          \
		{                                                                                          \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
			abort();                                                                               \
		}                                                                                          \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---------- allocation, with the caps that the format promises ---------- */

static void *
allocate(size_t size, size_t cap)
{
	void *result;

	require(size <= cap);
	result = malloc(size > 0 ? size : 1);
	require(result != NULL);
	return result;
}

static TranscriptMessage *
allocate_messages(uint32_t n)
{
	return allocate(n * sizeof(TranscriptMessage),
					(size_t) TRANSCRIPT_MAX_MESSAGES * sizeof(TranscriptMessage));
}

/* ---------- comparing ---------- */

static bool
same_text(const char *a, uint32_t a_len, const char *b, uint32_t b_len)
{
	if (a == NULL || b == NULL)
		return a == b && a_len == b_len;
	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static void
require_same(const TranscriptMessage *a, const TranscriptMessage *b, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		require(a[i].seq == b[i].seq);
		require(a[i].parent_seq == b[i].parent_seq);
		require(a[i].revision == b[i].revision);
		require(a[i].tokens == b[i].tokens);
		require(a[i].has_created_at == b[i].has_created_at);
		require(!a[i].has_created_at || a[i].created_at == b[i].created_at);
		require(same_text(a[i].role, a[i].role_len, b[i].role, b[i].role_len));
		require(same_text(a[i].content, a[i].content_len, b[i].content, b[i].content_len));
		require(same_text(a[i].model, a[i].model_len, b[i].model, b[i].model_len));
		require(
			same_text(a[i].message_id, a[i].message_id_len, b[i].message_id, b[i].message_id_len));
		require(same_text(a[i].metadata, a[i].metadata_len, b[i].metadata, b[i].metadata_len));
	}
}

/* Every byte of a decoded text must be readable. */
static uint8_t
touch(const char *text, uint32_t len)
{
	volatile uint8_t sum = 0;
	uint32_t i;

	require(text != NULL || len == 0);
	for (i = 0; i < len; i++)
		sum ^= (uint8_t) text[i];
	return sum;
}

static void
require_valid(const TranscriptMessage *messages, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
	{
		require(messages[i].seq >= 1);
		require(i == 0 || messages[i].seq > messages[i - 1].seq);
		require(messages[i].parent_seq >= 0 && messages[i].parent_seq < messages[i].seq);
		require(messages[i].role_len >= 1);
		require(messages[i].content != NULL);
		touch(messages[i].role, messages[i].role_len);
		touch(messages[i].content, messages[i].content_len);
		touch(messages[i].model, messages[i].model_len);
		touch(messages[i].message_id, messages[i].message_id_len);
		touch(messages[i].metadata, messages[i].metadata_len);
	}
}

/* ---------- encoding ---------- */

static void
check_header(const TranscriptHeader *header)
{
	uint8_t bytes[TRANSCRIPT_HEADER_MAX];
	uint8_t again[TRANSCRIPT_HEADER_MAX];
	uint32_t size = transcript_header_encode(header, bytes);
	TranscriptHeader decoded;
	TranscriptProblem problem;

	require(size <= sizeof(bytes));
	require(transcript_header_decode(bytes, size, &decoded, &problem));
	require(decoded.header_bytes == size);
	require(transcript_header_encode(&decoded, again) == size);
	require(memcmp(bytes, again, size) == 0);
}

/* Encodes, decodes and compares.  False if the messages cannot be stored. */
static bool
check_round_trip(const TranscriptMessage *messages, uint32_t n)
{
	TranscriptPlan plan;
	TranscriptPlan plan_again;
	TranscriptProblem problem;
	TranscriptMessage *decoded;
	uint8_t *raw;
	uint8_t *raw_again;

	if (!transcript_plan(messages, n, &plan, &problem))
	{
		require(problem.status == TRANSCRIPT_INVALID || problem.status == TRANSCRIPT_TOO_LARGE);
		require(problem.what != NULL && problem.message <= n);
		return false;
	}
	check_header(&plan.header);
	raw = allocate(plan.header.raw_size, TRANSCRIPT_MAX_RAW);
	require(transcript_payload_encode(messages, &plan, raw, &problem));

	decoded = allocate_messages(n);
	require(transcript_payload_decode(&plan.header, raw, decoded, &problem));
	require_same(messages, decoded, n);

	/* there is one encoding only */
	require(transcript_plan(decoded, n, &plan_again, &problem));
	require(plan_again.header.raw_size == plan.header.raw_size);
	raw_again = allocate(plan_again.header.raw_size, TRANSCRIPT_MAX_RAW);
	require(transcript_payload_encode(decoded, &plan_again, raw_again, &problem));
	require(memcmp(raw, raw_again, plan.header.raw_size) == 0);

	free(raw_again);
	free(decoded);
	free(raw);
	return true;
}

/* ---------- bytes ---------- */

/* Makes the header's totals those of messages that were decoded so far. */
static void
fit_totals(TranscriptHeader *header, const TranscriptMessage *messages)
{
	bool has_times = false;
	uint32_t i;

	header->content_bytes = 0;
	header->token_total = 0;
	header->first_at = 0;
	header->last_at = 0;
	for (i = 0; i < header->message_count; i++)
	{
		header->content_bytes += messages[i].content_len;
		if (messages[i].tokens > 0)
			header->token_total += messages[i].tokens;
		if (!messages[i].has_created_at)
			continue;
		if (!has_times || messages[i].created_at < header->first_at)
			header->first_at = messages[i].created_at;
		if (!has_times || messages[i].created_at > header->last_at)
			header->last_at = messages[i].created_at;
		has_times = true;
	}
	header->has_times = has_times;
}

/* A 'P' input's header, without totals; false if it is refused. */
static bool
decode_fitting(const uint8_t *data, size_t size, TranscriptHeader *header,
			   TranscriptProblem *problem)
{
	TranscriptHeader fitting = {0};
	uint8_t bytes[TRANSCRIPT_HEADER_MAX];
	uint32_t length;

	fitting.message_count = data[FIXED_BYTES] & 0x7F;
	fitting.raw_size = (uint32_t) (size - FIXED_BYTES - 1);
	fitting.flags = (uint32_t) data[4] | (uint32_t) data[5] << 8;
	length = transcript_header_encode(&fitting, bytes);
	memcpy(bytes, data, FIXED_BYTES);
	return transcript_header_decode(bytes, length, header, problem);
}

static void
check_bytes(const uint8_t *data, size_t size, bool fit)
{
	uint8_t *input;
	uint8_t *raw;
	size_t begin;
	TranscriptHeader header;
	TranscriptProblem problem;
	TranscriptMessage *messages;
	bool decoded;

	fit = fit && size > FIXED_BYTES;
	input = allocate(size, size);
	memcpy(input, data, size);
	decoded = fit ? decode_fitting(input, size, &header, &problem)
				  : transcript_header_decode(input, size, &header, &problem);
	free(input);
	if (!decoded)
	{
		require(problem.what != NULL && problem.message == 0);
		return;
	}
	check_header(&header);

	/* as codec none does it: the claimed size must be there, before it is allocated */
	begin = fit ? FIXED_BYTES + 1 : header.header_bytes;
	if (header.raw_size != size - begin)
		return;
	raw = allocate(header.raw_size, TRANSCRIPT_MAX_RAW);
	memcpy(raw, data + begin, header.raw_size);
	messages = allocate_messages(header.message_count);
	memset(messages, 0xA5, header.message_count * sizeof(TranscriptMessage));

	decoded = transcript_payload_decode(&header, raw, messages, &problem);
	if (!decoded && fit && strstr(problem.what, "differs from the header's") != NULL)
	{
		bool had_times = header.has_times;

		fit_totals(&header, messages);
		/* the flag TIME without a time is refused, and cannot be made to fit */
		if (had_times == header.has_times)
		{
			decoded = transcript_payload_decode(&header, raw, messages, &problem);
			require(decoded);
		}
	}
	if (decoded)
	{
		require_valid(messages, header.message_count);
		require(check_round_trip(messages, header.message_count));
	}
	else
	{
		require(problem.status == TRANSCRIPT_CORRUPT);
		require(problem.what != NULL && problem.message <= header.message_count);
	}
	free(messages);
	free(raw);
}

/* ---------- messages ---------- */

typedef struct Input
{
	const uint8_t *next;
	const uint8_t *end;
} Input;

static uint8_t
take_byte(Input *input)
{
	return input->next < input->end ? *input->next++ : 0;
}

/* Small numbers mostly, and those at the edges of the types. */
static int64_t
take_number(Input *input)
{
	static const int64_t edges[] =
		{0,          -1,  1,   INT64_MAX, INT64_MIN, INT32_MAX,     INT32_MIN,
		 UINT32_MAX, 127, 128, 16383,     16384,     INT64_MAX - 1, INT64_MIN + 1};
	uint8_t kind = take_byte(input);
	uint64_t value = 0;
	int i;

	if (kind < 128)
		return kind;
	if (kind < 160)
		return edges[kind % (sizeof(edges) / sizeof(edges[0]))];
	if (kind < 200)
		return -(int64_t) take_byte(input);
	for (i = 0; i < 1 + kind % 8; i++)
		value = value << 8 | take_byte(input);
	return (int64_t) value;
}

/* A text of the input, or NULL.  Lengths past a cap come from repeating it. */
static const char *
take_text(Input *input, char **kept, uint32_t *len)
{
	uint8_t kind = take_byte(input);
	uint32_t want = kind < 250 ? kind % 80 : (uint32_t) kind * 40;
	uint32_t i;

	*len = 0;
	if (kind == 255)
		return NULL;
	*kept = allocate(want, want);
	for (i = 0; i < want; i++)
		(*kept)[i] = (char) (input->next < input->end ? *input->next++ : 'a' + i % 7);
	*len = want;
	return *kept;
}

static void
check_messages(const uint8_t *data, size_t size)
{
	static const char *const roles[] = {"user", "assistant", "system", "tool", "critic"};
	Input input = {data, data + size};
	uint32_t n = 0;
	uint32_t nkept = 0;
	TranscriptMessage *messages = allocate_messages(MAX_MESSAGES_MADE);
	char *kept[MAX_MESSAGES_MADE * 5] = {NULL};

	while (input.next < input.end && n < MAX_MESSAGES_MADE)
	{
		TranscriptMessage *message = &messages[n];
		const TranscriptMessage *before = n > 0 ? message - 1 : NULL;
		uint8_t has = take_byte(&input);
		uint8_t role = take_byte(&input);

		memset(message, 0, sizeof(*message));
		message->tokens = -1;
		if (role < 200)
		{
			message->role = roles[role % 5];
			message->role_len = (uint32_t) strlen(message->role);
		}
		else
			message->role = take_text(&input, &kept[nkept++], &message->role_len);
		message->content = take_text(&input, &kept[nkept++], &message->content_len);
		message->seq = before != NULL && before->seq < INT64_MAX ? before->seq + 1 : 1;
		if (has & 0x01)
			message->seq = (int64_t) ((uint64_t) message->seq + (uint64_t) take_number(&input));
		message->parent_seq =
			message->seq == INT64_MIN ? 0 : transcript_default_parent(message->seq, before);
		if (has & 0x02)
			message->parent_seq = take_number(&input);
		if (has & 0x04)
		{
			message->has_created_at = true;
			message->created_at = take_number(&input);
		}
		if (has & 0x08)
			message->tokens = (int32_t) take_number(&input);
		if (has & 0x10)
			message->model = take_text(&input, &kept[nkept++], &message->model_len);
		if (has & 0x20)
			message->message_id = take_text(&input, &kept[nkept++], &message->message_id_len);
		if (has & 0x40)
			message->revision = take_number(&input);
		if (has & 0x80)
			message->metadata = take_text(&input, &kept[nkept++], &message->metadata_len);
		n++;
	}
	(void) check_round_trip(messages, n);
	while (nkept > 0)
		free(kept[--nkept]);
	free(messages);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	switch (data[0])
	{
		case 'B':
			check_bytes(data + 1, size - 1, false);
			break;
		case 'P':
			check_bytes(data + 1, size - 1, true);
			break;
		case 'M':
			check_messages(data + 1, size - 1);
			break;
		default:
			break;
	}
	return 0;
}
