/*
 * format.c
 *		A transcript's header: a few fixed numbers, little-endian, not aligned, and
 *		varints.
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

/* Version, codec, level, a reserved byte, flags, dictionary_id, crc. */
#define FIXED_BYTES 16

uint32_t
transcript_header_encode(const TranscriptHeader *header, uint8_t *out)
{
	uint8_t *next = out + FIXED_BYTES;

	out[0] = header->version;
	out[1] = header->codec;
	out[2] = (uint8_t) header->level;
	out[3] = 0;
	write_u32(out + 4, header->flags);
	write_u32(out + 8, header->dictionary_id);
	write_u32(out + 12, header->crc);
	next += write_varint(next, header->message_count);
	next += write_varint(next, header->raw_size);
	next += write_varint(next, header->content_bytes);
	next += write_varint(next, (uint64_t) header->token_total);
	if ((header->flags & TRANSCRIPT_FLAG_TIME) != 0)
	{
		write_u64(next, (uint64_t) header->first_at);
		next += 8;
		next += write_varint(next, (uint64_t) header->last_at - (uint64_t) header->first_at);
	}
	return (uint32_t) (next - out);
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
	return true;
}

/* A varint of the header that fits into 32 bits. */
static bool
get_u32(Reader *reader, uint32_t *value)
{
	uint64_t wide;

	if (!get_varint(reader, &wide) || wide > UINT32_MAX)
		return false;
	*value = (uint32_t) wide;
	return true;
}

/* The part of the header that is not fixed; false: it ends too early, or a number is too large. */
static bool
get_numbers(Reader *reader, TranscriptHeader *header)
{
	uint64_t tokens;
	uint64_t duration;

	if (!get_u32(reader, &header->message_count) || !get_u32(reader, &header->raw_size) ||
		!get_u32(reader, &header->content_bytes) || !get_varint(reader, &tokens))
		return false;
	header->token_total = (int64_t) tokens;
	if (!header->has_times)
		return true;
	if (reader->end - reader->next < 8)
		return false;
	header->first_at = (int64_t) read_u64(reader->next);
	reader->next += 8;
	if (!get_varint(reader, &duration))
		return false;
	header->last_at = (int64_t) ((uint64_t) header->first_at + duration);
	return true;
}

bool
transcript_header_decode(const uint8_t *in, size_t size, TranscriptHeader *header,
						 TranscriptProblem *problem)
{
	Reader reader;

	memset(header, 0, sizeof(*header));
	if (size < 1)
		return corrupt(problem, 0, "it ends within the header");
	header->version = in[0];
	if (header->version != TRANSCRIPT_VERSION)
		return fail_value(problem, TRANSCRIPT_UNKNOWN_VERSION, 0, "version", header->version, 0);
	if (size < FIXED_BYTES)
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
	header->crc = read_u32(in + 12);
	header->has_times = (header->flags & TRANSCRIPT_FLAG_TIME) != 0;
	reader.next = in + FIXED_BYTES;
	reader.end = in + size;
	if (!get_numbers(&reader, header))
		return corrupt(problem, 0, "it ends within the header, or a number there is too large");
	header->header_bytes = (uint32_t) (reader.next - in);
	return header_check(header, problem);
}

bool
transcript_is_instruction(const char *role, size_t len)
{
	return (len == 6 && memcmp(role, "system", 6) == 0) ||
		   (len == 9 && memcmp(role, "developer", 9) == 0);
}
