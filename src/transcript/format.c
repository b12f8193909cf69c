/*
 * format.c
 *		A transcript's fixed header: 52 bytes, little-endian, not aligned.
 *
 * README.md in this folder documents the layout byte by byte.  encode.c and
 * decode.c hold the payload's two sides.
 *
 * Owns no memory and takes no locks; buffers belong to the caller.
 */
#include "format.h"

#include "format_private.h"

/* ---------- fixed-width numbers, little-endian ---------- */

static void
write_u32(uint8_t *out, uint32_t value)
{
	int i;

	for (i = 0; i < 4; i++)
		out[i] = (uint8_t) (value >> (8 * i));
}

static void
write_u64(uint8_t *out, uint64_t value)
{
	int i;

	for (i = 0; i < 8; i++)
		out[i] = (uint8_t) (value >> (8 * i));
}

static uint32_t
read_u32(const uint8_t *in)
{
	return (uint32_t) in[0] | (uint32_t) in[1] << 8 | (uint32_t) in[2] << 16 |
		   (uint32_t) in[3] << 24;
}

static uint64_t
read_u64(const uint8_t *in)
{
	return (uint64_t) read_u32(in) | (uint64_t) read_u32(in + 4) << 32;
}

/* ---------- header ---------- */

void
transcript_header_encode(const TranscriptHeader *header, uint8_t *out)
{
	out[0] = header->version;
	out[1] = header->codec;
	out[2] = (uint8_t) header->level;
	out[3] = 0;
	write_u32(out + 4, header->flags);
	write_u32(out + 8, header->dictionary_id);
	write_u32(out + 12, header->message_count);
	write_u32(out + 16, header->raw_size);
	write_u32(out + 20, header->content_bytes);
	write_u32(out + 24, header->crc);
	write_u64(out + 28, (uint64_t) header->token_total);
	write_u64(out + 36, (uint64_t) header->first_at);
	write_u64(out + 44, (uint64_t) header->last_at);
}

static bool
header_check(const TranscriptHeader *header, TranscriptProblem *problem)
{
	if (header->message_count > TRANSCRIPT_MAX_MESSAGES)
		return corrupt(problem, 0, "the header counts more messages than a transcript can have");
	if (header->raw_size > TRANSCRIPT_MAX_RAW)
		return corrupt(problem, 0, "the header names a larger payload than a transcript can have");
	if ((uint64_t) header->message_count * TRANSCRIPT_MIN_MESSAGE_BYTES > header->raw_size)
		return corrupt(problem, 0, "the header counts more messages than its payload can hold");
	if (header->content_bytes > header->raw_size)
		return corrupt(problem, 0, "the header counts more content than its payload can hold");
	if (header->token_total < 0)
		return corrupt(problem, 0, "the header's token total is negative");
	if (header->has_times && header->first_at > header->last_at)
		return corrupt(problem, 0, "the header's first time is after its last");
	if (!header->has_times && (header->first_at != 0 || header->last_at != 0))
		return corrupt(problem, 0, "the header has times, its payload none");
	return true;
}

bool
transcript_header_decode(const uint8_t *in, size_t size, TranscriptHeader *header,
						 TranscriptProblem *problem)
{
	memset(header, 0, sizeof(*header));
	if (size < 1)
		return corrupt(problem, 0, "it ends within the header");
	header->version = in[0];
	if (header->version != TRANSCRIPT_VERSION)
		return fail_value(problem, TRANSCRIPT_UNKNOWN_VERSION, 0, "version", header->version, 0);
	if (size < TRANSCRIPT_HEADER_BYTES)
		return corrupt(problem, 0, "it ends within the header");
	header->codec = in[1];
	if (header->codec > TRANSCRIPT_ZSTD)
		return fail_value(problem, TRANSCRIPT_UNKNOWN_CODEC, 0, "codec", header->codec, 0);
	header->level = (int8_t) in[2];
	if (in[3] != 0)
		return corrupt(problem, 0, "the header's reserved byte is not 0");
	header->flags = read_u32(in + 4);
	if ((header->flags & ~TRANSCRIPT_FLAGS_KNOWN) != 0)
		return fail_value(problem, TRANSCRIPT_UNKNOWN_FLAGS, 0, "flags",
						  header->flags & ~TRANSCRIPT_FLAGS_KNOWN, 0);
	header->dictionary_id = read_u32(in + 8);
	header->message_count = read_u32(in + 12);
	header->raw_size = read_u32(in + 16);
	header->content_bytes = read_u32(in + 20);
	header->crc = read_u32(in + 24);
	header->token_total = (int64_t) read_u64(in + 28);
	header->first_at = (int64_t) read_u64(in + 36);
	header->last_at = (int64_t) read_u64(in + 44);
	header->has_times = (header->flags & TRANSCRIPT_FLAG_TIME) != 0;
	return header_check(header, problem);
}

bool
transcript_is_instruction(const char *role, size_t len)
{
	return (len == 6 && memcmp(role, "system", 6) == 0) ||
		   (len == 9 && memcmp(role, "developer", 9) == 0);
}
