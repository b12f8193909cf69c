/*
 * memory_ext.h
 *		What every room of the extension shares: the module's entry points
 *		and the limits that the documentation promises.
 */
#ifndef MEMORY_EXT_H
#define MEMORY_EXT_H

/* Limits that are part of the interface (README.md, "Limits"). */
#define MEMORY_MAX_ACCOUNT_ID_BYTES 255
#define MEMORY_MAX_ROLE_BYTES 64
#define MEMORY_MAX_MODEL_BYTES 255
#define MEMORY_MAX_MESSAGE_ID_BYTES 255
#define MEMORY_MAX_CONTENT_BYTES (64 * 1024 * 1024)
#define MEMORY_MAX_METADATA_BYTES (16 * 1024 * 1024)
/* Keeps arithmetic on seq away from overflow; nobody counts so far. */
#define MEMORY_MAX_SEQ (PG_INT64_MAX / 2)

/* Each room defines its own settings; called once, from _PG_init. */
extern void account_init(void);
extern void transcript_init(void);
extern void quota_init(void);
extern void metering_init(void);
extern void store_init(void);
extern void search_init(void);
extern void transfer_init(void);
extern void job_init(void);

#endif /* MEMORY_EXT_H */
