/*
 * compress.c
 *		memory.compress and memory.decompress: any bytes, with the codecs of the
 *		transcripts, in a frame that says how to read it.
 *
 * The frame; numbers are little-endian and not aligned:
 *
 *		offset  type  field
 *		0       u8[4] magic: 'M' 'X' 'Z' 0xCF
 *		4       u8    version: 1
 *		5       u8    codec: 0 none, 1 lz4 (a block), 2 zstd (a frame with its content size)
 *		6       u16   reserved: 0, anything else is refused
 *		8       u32   bytes of the data before compression, at most 128 MiB
 *		12      u32   CRC-32C of the 12 bytes before and of the payload behind it
 *		16            the compressed payload, up to the end
 *
 * Data that would grow is stored with codec 0.  The checksum covers the bytes
 * as they are stored: no decoder sees a byte that was changed by accident, and
 * every changed byte is noticed, also one that a decoder would overlook.
 *
 * Takes no locks, touches no table; results live in the caller's context.
 */
#include "postgres.h"

#include "fmgr.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"

#include "codec.h"
#include "compat.h"
#include "transcript.h"

#define FRAME_MAGIC "MXZ\xCF"
#define FRAME_MAGIC_BYTES 4
#define FRAME_VERSION 1
#define FRAME_HEADER_BYTES 16

#define OFFSET_VERSION 4
#define OFFSET_CODEC 5
#define OFFSET_RESERVED 6
#define OFFSET_RAW_SIZE 8
#define OFFSET_CRC 12

PG_FUNCTION_INFO_V1(memory_compress);
PG_FUNCTION_INFO_V1(memory_decompress);

static void
put_u32(uint8 *out, uint32 value)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8) (value >> (8 * i));
}

static uint32
get_u32(const uint8 *in)
{
	return (uint32) in[0] | (uint32) in[1] << 8 | (uint32) in[2] << 16 | (uint32) in[3] << 24;
}

/* Over all of the frame but the checksum itself. */
static uint32
frame_crc(const uint8 *frame, size_t size)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, frame, OFFSET_CRC);
	COMP_CRC32C(crc, frame + FRAME_HEADER_BYTES, size - FRAME_HEADER_BYTES);
	FIN_CRC32C(crc);
	return (uint32) crc;
}

static TranscriptCompression
parse_method(const char *name)
{
	/* a dictionary lives in a table, and the frame must be readable anywhere */
	if (!transcript_compression_valid(name))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unrecognized compression \"%s\"", name),
						errhint("Use zstd, zstd:1 to zstd:22, lz4, or none.")));
	return transcript_parse_compression(name);
}

/*
 * memory.compress(data bytea, method text) → bytea
 *		The data in a frame; method as recompress takes it, without dictionary.
 *		Strict.  Errors: 22023 unknown method, 54000 more than 128 MiB.
 */
Datum
memory_compress(PG_FUNCTION_ARGS)
{
	char *method = text_to_cstring(PG_GETARG_TEXT_PP(1));
	TranscriptCompression compression = parse_method(method);
	bytea *data = PG_GETARG_BYTEA_PP(0);
	size_t raw_size = VARSIZE_ANY_EXHDR(data);
	const CodecMethods *codec = codec_by_number(compression.codec);
	bytea *result;
	uint8 *frame;
	size_t bound;
	size_t size;

	if (raw_size > TRANSCRIPT_MAX_RAW)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("data to compress has %zu bytes, the limit is %u", raw_size,
							   TRANSCRIPT_MAX_RAW),
						errhint("Compress it in parts.")));

	/* the bound of 128 MiB fits an allocation */
	bound = Max(codec->bound(raw_size), raw_size);
	result = palloc(VARHDRSZ + FRAME_HEADER_BYTES + bound);
	frame = (uint8 *) VARDATA(result);
	size = codec->compress(VARDATA_ANY(data), raw_size, (char *) frame + FRAME_HEADER_BYTES, bound,
						   compression.level, NULL);
	if (codec->codec != TRANSCRIPT_NONE && size >= raw_size)
	{
		codec = codec_by_number(TRANSCRIPT_NONE);
		memcpy(frame + FRAME_HEADER_BYTES, VARDATA_ANY(data), raw_size);
		size = raw_size;
	}
	size += FRAME_HEADER_BYTES;

	memcpy(frame, FRAME_MAGIC, FRAME_MAGIC_BYTES);
	frame[OFFSET_VERSION] = FRAME_VERSION;
	frame[OFFSET_CODEC] = (uint8) codec->codec;
	memset(frame + OFFSET_RESERVED, 0, OFFSET_RAW_SIZE - OFFSET_RESERVED);
	put_u32(frame + OFFSET_RAW_SIZE, (uint32) raw_size);
	put_u32(frame + OFFSET_CRC, frame_crc(frame, size));
	SET_VARSIZE(result, VARHDRSZ + size);

	PG_FREE_IF_COPY(data, 0);
	PG_RETURN_BYTEA_P(result);
}

static void
refuse_corrupt(const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("compressed data is corrupt"),
					errdetail("%s.", detail)));
}

static void
refuse_unknown(const char *what, int value)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("compressed data has %s %d, which this version of memory_ext does not support",
					what, value),
			 errhint("Upgrade memory_ext.")));
}

/* Checks all that can be checked before anything is allocated; returns the codec. */
static const CodecMethods *
check_frame(const uint8 *frame, size_t size)
{
	const CodecMethods *codec;
	uint32 raw_size;

	if (size < FRAME_MAGIC_BYTES || memcmp(frame, FRAME_MAGIC, FRAME_MAGIC_BYTES) != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("data was not made by memory.compress"),
						errdetail("It does not begin with \\x%02x%02x%02x%02x.", FRAME_MAGIC[0],
								  FRAME_MAGIC[1], FRAME_MAGIC[2], (uint8) FRAME_MAGIC[3])));
	if (size < FRAME_HEADER_BYTES)
		refuse_corrupt("It ends within the header");
	/* a later version may have its checksum elsewhere */
	if (frame[OFFSET_VERSION] != FRAME_VERSION)
		refuse_unknown("version", frame[OFFSET_VERSION]);
	if (frame_crc(frame, size) != get_u32(frame + OFFSET_CRC))
		refuse_corrupt("Its checksum differs from the header's");
	codec = codec_by_number(frame[OFFSET_CODEC]);
	if (codec == NULL)
		refuse_unknown("codec", frame[OFFSET_CODEC]);
	if (frame[OFFSET_RESERVED] != 0 || frame[OFFSET_RESERVED + 1] != 0)
		refuse_unknown("flags", frame[OFFSET_RESERVED] | frame[OFFSET_RESERVED + 1] << 8);
	raw_size = get_u32(frame + OFFSET_RAW_SIZE);
	if (raw_size > TRANSCRIPT_MAX_RAW ||
		!codec->plausible((const char *) frame + FRAME_HEADER_BYTES, size - FRAME_HEADER_BYTES,
						  raw_size))
		refuse_corrupt("The payload's size differs from the header's");
	return codec;
}

/*
 * memory.decompress(data bytea) → bytea
 *		What compress was given.  Strict.  Errors: 22P03 not of compress, XX001
 *		corrupt, 0A000 version, codec or flags of a later build.
 */
Datum
memory_decompress(PG_FUNCTION_ARGS)
{
	bytea *data = PG_GETARG_BYTEA_PP(0);
	const uint8 *frame = (const uint8 *) VARDATA_ANY(data);
	size_t size = VARSIZE_ANY_EXHDR(data);
	const CodecMethods *codec = check_frame(frame, size);
	uint32 raw_size = get_u32(frame + OFFSET_RAW_SIZE);
	bytea *result = palloc(VARHDRSZ + (Size) raw_size);

	if (!codec->decompress((const char *) frame + FRAME_HEADER_BYTES, size - FRAME_HEADER_BYTES,
						   VARDATA(result), raw_size, NULL))
		refuse_corrupt("The payload cannot be decompressed");
	SET_VARSIZE(result, VARHDRSZ + raw_size);

	PG_FREE_IF_COPY(data, 0);
	PG_RETURN_BYTEA_P(result);
}
