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
/* Half of the largest int64, so that seq + n cannot overflow. */
#define MEMORY_MAX_SEQ (PG_INT64_MAX / 2)

#endif /* MEMORY_LIMITS_H */
