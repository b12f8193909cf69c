/*
 * memory_limits.h
 *		The limits that are part of the interface: the documentation promises them.
 *
 * Not limits.h, which would stand before the C library's.
 */
#ifndef MEMORY_LIMITS_H
#define MEMORY_LIMITS_H

#define MEMORY_MAX_ACCOUNT_ID_BYTES 255
#define MEMORY_MAX_ROLE_BYTES 64
#define MEMORY_MAX_MODEL_BYTES 255
#define MEMORY_MAX_MESSAGE_ID_BYTES 255
#define MEMORY_MAX_CONTENT_BYTES (64 * 1024 * 1024)
#define MEMORY_MAX_METADATA_BYTES (16 * 1024 * 1024)
/* A title is one line in a list. */
#define MEMORY_MAX_TITLE_BYTES 1024
/*
 * What goes in must come out: as text, by every client, and out of a dump.  So
 * metadata is nested no deeper than a document that holds it may be (formats/),
 * which PostgreSQL's own parser takes ten times over under the default
 * max_stack_depth, and a number is no longer than a double written out.
 */
#define MEMORY_MAX_METADATA_DEPTH 500
#define MEMORY_MAX_NUMBER_CHARACTERS 1000
/* Messages of one call of memory.append; jsonb limits their bytes. */
#define MEMORY_MAX_BATCH_MESSAGES 100000
/* Tokens of one call of a model: far above any, and far below where sums would not fit. */
#define MEMORY_MAX_CALL_TOKENS INT64CONST(1000000000000)
/* What can be charged or reserved at once, of any meter. */
#define MEMORY_MAX_AMOUNT INT64CONST(1000000000000000)
/* Half of the largest int64, so that seq + n cannot overflow. */
#define MEMORY_MAX_SEQ (PG_INT64_MAX / 2)

#endif /* MEMORY_LIMITS_H */
