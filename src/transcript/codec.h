/*
 * codec.h
 *		The codecs behind one table of functions.
 */
#ifndef TRANSCRIPT_CODEC_H
#define TRANSCRIPT_CODEC_H

#include "postgres.h"

#include "dictionary.h"
#include "format.h"

typedef struct CodecMethods
{
	TranscriptCodec codec;
	const char *name;
	bool has_level;
	bool takes_dictionary;
	int min_level;
	int max_level;
	int default_level;

	/* Size of the buffer that compress needs for raw_size bytes. */
	size_t (*bound)(size_t raw_size);

	/* Returns the compressed size.  A dictionary is NULL or, for zstd, to be used. */
	size_t (*compress)(const char *raw, size_t raw_size, char *out, size_t out_size, int level,
					   const Dictionary *dictionary);

	/*
	 * Could these bytes decompress to exactly raw_size?  Asked before raw_size
	 * bytes are allocated, so that a few bytes cannot claim a large buffer.
	 */
	bool (*plausible)(const char *in, size_t in_size, size_t raw_size);

	/* Fills out with exactly raw_size bytes, or returns false. */
	bool (*decompress)(const char *in, size_t in_size, char *out, size_t raw_size,
					   const Dictionary *dictionary);
} CodecMethods;

/*
 * A result of zstd's, which is a size, or an error to raise: 53200 where memory
 * was missing.
 */
extern size_t codec_check_zstd(size_t result);

/* NULL if there is none. */
extern const CodecMethods *codec_by_number(int codec);
extern const CodecMethods *codec_by_name(const char *name, size_t len);

#endif /* TRANSCRIPT_CODEC_H */
