/*
 * codec.c
 *		zstd, lz4 and none, as one table of functions.
 *
 * The zstd contexts are kept for the backend's life, because making one costs
 * more than compressing a short segment; their memory is zstd's own (malloc).
 * One that has grown past CONTEXT_KEEP_BYTES is freed after use.  An error
 * thrown between two chunks leaves a context in mid-frame: each use therefore
 * begins with a reset.
 */
#include "postgres.h"

#include <lz4.h>
/* for ZSTD_decompressBegin, which the library exports */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#include "miscadmin.h"

#include "codec.h"

/* Past this size, compress in chunks so that a query can be cancelled. */
#define CHUNK_BYTES ((size_t) 1024 * 1024)

#define CONTEXT_KEEP_BYTES ((size_t) 16 * 1024 * 1024)

/* lz4 cannot expand a byte to more than this. */
#define LZ4_MAX_EXPANSION 255

static ZSTD_CCtx *zstd_compressor = NULL;
static ZSTD_DCtx *zstd_decompressor = NULL;

/* ---------- none ---------- */

static size_t
none_bound(size_t raw_size)
{
	return raw_size;
}

static size_t
none_compress(const char *raw, size_t raw_size, char *out, size_t out_size, int level,
			  const Dictionary *dictionary)
{
	Assert(out_size >= raw_size);
	memcpy(out, raw, raw_size);
	return raw_size;
}

static bool
none_plausible(const char *in, size_t in_size, size_t raw_size)
{
	return in_size == raw_size;
}

static bool
none_decompress(const char *in, size_t in_size, char *out, size_t raw_size,
				const Dictionary *dictionary)
{
	if (in_size != raw_size)
		return false;
	memcpy(out, in, raw_size);
	return true;
}

/* ---------- lz4 ---------- */

static size_t
lz4_bound(size_t raw_size)
{
	return (size_t) LZ4_compressBound((int) raw_size);
}

static size_t
lz4_compress(const char *raw, size_t raw_size, char *out, size_t out_size, int level,
			 const Dictionary *dictionary)
{
	int size = LZ4_compress_default(raw, out, (int) raw_size, (int) out_size);

	/* the buffer is as large as the bound: nothing else can be missing */
	if (size <= 0)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
						errdetail("lz4 could not allocate its memory for %zu bytes.", raw_size)));
	return (size_t) size;
}

static bool
lz4_plausible(const char *in, size_t in_size, size_t raw_size)
{
	return in_size <= lz4_bound(TRANSCRIPT_MAX_RAW) && raw_size / LZ4_MAX_EXPANSION <= in_size;
}

static bool
lz4_decompress(const char *in, size_t in_size, char *out, size_t raw_size,
			   const Dictionary *dictionary)
{
	int size = LZ4_decompress_safe(in, out, (int) in_size, (int) raw_size);

	return size >= 0 && (size_t) size == raw_size;
}

/* ---------- zstd ---------- */

static size_t
zstd_bound(size_t raw_size)
{
	return ZSTD_compressBound(raw_size);
}

/* A compressor at the start of a frame of raw_size bytes. */
static ZSTD_CCtx *
zstd_begin(size_t raw_size, int level, const Dictionary *dictionary)
{
	if (zstd_compressor == NULL)
		zstd_compressor = ZSTD_createCCtx();
	if (zstd_compressor == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory for a zstd context")));
	codec_check_zstd(ZSTD_CCtx_reset(zstd_compressor, ZSTD_reset_session_and_parameters));
	codec_check_zstd(ZSTD_CCtx_setParameter(zstd_compressor, ZSTD_c_compressionLevel, level));
	if (dictionary != NULL)
	{
		/* the header names it; the frame need not */
		codec_check_zstd(ZSTD_CCtx_setParameter(zstd_compressor, ZSTD_c_dictIDFlag, 0));
		codec_check_zstd(
			ZSTD_CCtx_refCDict(zstd_compressor, dictionary_compressor(dictionary, level)));
	}
	codec_check_zstd(ZSTD_CCtx_setPledgedSrcSize(zstd_compressor, raw_size));
	return zstd_compressor;
}

static size_t
zstd_compress(const char *raw, size_t raw_size, char *out, size_t out_size, int level,
			  const Dictionary *dictionary)
{
	ZSTD_CCtx *context = zstd_begin(raw_size, level, dictionary);
	ZSTD_inBuffer input = {raw, 0, 0};
	ZSTD_outBuffer output = {out, out_size, 0};
	size_t left;

	if (raw_size <= CHUNK_BYTES)
		output.pos = codec_check_zstd(ZSTD_compress2(context, out, out_size, raw, raw_size));
	else
	{
		do
		{
			size_t chunk = Min(raw_size - input.size, CHUNK_BYTES);

			CHECK_FOR_INTERRUPTS();
			input.size += chunk;
			left = codec_check_zstd(
				ZSTD_compressStream2(context, &output, &input,
									 input.size == raw_size ? ZSTD_e_end : ZSTD_e_continue));
			if (input.pos != input.size)
				elog(ERROR, "zstd left input behind");
		} while (input.size < raw_size);
		if (left != 0)
			elog(ERROR, "zstd needs a larger buffer than it said");
	}

	if (ZSTD_sizeof_CCtx(context) > CONTEXT_KEEP_BYTES)
	{
		zstd_compressor = NULL;
		ZSTD_freeCCtx(context);
	}
	return output.pos;
}

static bool
zstd_plausible(const char *in, size_t in_size, size_t raw_size)
{
	unsigned long long size = ZSTD_getFrameContentSize(in, in_size);

	/* the two error values are larger than any raw_size */
	return size == (unsigned long long) raw_size;
}

static bool
zstd_decompress(const char *in, size_t in_size, char *out, size_t raw_size,
				const Dictionary *dictionary)
{
	size_t size;

	if (zstd_decompressor == NULL)
		zstd_decompressor = ZSTD_createDCtx();
	if (zstd_decompressor == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory for a zstd context")));
	if (dictionary != NULL)
	{
		/*
		 * Forgets that this dictionary was used before: zstd takes it for cold
		 * then, and fetches ahead what it copies from it.  It is out of the
		 * caches when anything else was done in between; even where it is not,
		 * this is the faster way for segments.
		 */
		(void) ZSTD_decompressBegin(zstd_decompressor);
		size = ZSTD_decompress_usingDDict(zstd_decompressor, out, raw_size, in, in_size,
										  dictionary_decompressor(dictionary));
	}
	else
		size = ZSTD_decompressDCtx(zstd_decompressor, out, raw_size, in, in_size);
	if (ZSTD_isError(size) && ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation)
		codec_check_zstd(size);
	return !ZSTD_isError(size) && size == raw_size;
}

/* ---------- the table, by codec number ---------- */

static const CodecMethods codecs[] = {
	{.codec = TRANSCRIPT_NONE,
	 .name = "none",
	 .bound = none_bound,
	 .compress = none_compress,
	 .plausible = none_plausible,
	 .decompress = none_decompress},
	{.codec = TRANSCRIPT_LZ4,
	 .name = "lz4",
	 .bound = lz4_bound,
	 .compress = lz4_compress,
	 .plausible = lz4_plausible,
	 .decompress = lz4_decompress},
	{.codec = TRANSCRIPT_ZSTD,
	 .name = "zstd",
	 .has_level = true,
	 .takes_dictionary = true,
	 .min_level = 1,
	 .max_level = 22,
	 .default_level = 3,
	 .bound = zstd_bound,
	 .compress = zstd_compress,
	 .plausible = zstd_plausible,
	 .decompress = zstd_decompress},
};

const CodecMethods *
codec_by_number(int codec)
{
	if (codec < 0 || codec >= (int) lengthof(codecs))
		return NULL;
	return &codecs[codec];
}

/* The codec of this name, in any case; NULL: there is none. */
const CodecMethods *
codec_by_name(const char *name, size_t len)
{
	int i;

	for (i = 0; i < (int) lengthof(codecs); i++)
		if (strlen(codecs[i].name) == len && pg_strncasecmp(codecs[i].name, name, len) == 0)
			return &codecs[i];
	return NULL;
}
