/*
 * codec_error.c
 *		What zstd's results mean, for the codecs and for dictionaries.
 */
#include "postgres.h"

#include <zstd.h>
#include <zstd_errors.h>

#include "codec.h"

size_t
codec_check_zstd(size_t result)
{
	if (!ZSTD_isError(result))
		return result;
	if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
						errdetail("zstd could not allocate its working memory."),
						errhint("Lower levels of compression need less of it.")));
	elog(ERROR, "zstd failed: %s", ZSTD_getErrorName(result));
	return 0; /* keep compilers quiet */
}
