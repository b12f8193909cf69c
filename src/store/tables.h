/*
 * tables.h
 *		The store's tables, for access without statements (direct.h): columns in
 *		the order of store_tables.sql.
 */
#ifndef STORE_TABLES_H
#define STORE_TABLES_H

#include "postgres.h"

#include "utils/uuid.h"

#include "direct.h"
#include "transcript.h"

enum
{
	ACCOUNT_ID,
	ACCOUNT_SUBSCRIPTION_ID,
	ACCOUNT_REVISION,
	ACCOUNT_CREATED_AT,
	ACCOUNT_NCOLUMNS
};

enum
{
	CONVERSATION_ID,
	CONVERSATION_NEXT_SEQ,
	CONVERSATION_HEAD_SEQ,
	CONVERSATION_MESSAGE_COUNT,
	CONVERSATION_TOKEN_COUNT,
	CONVERSATION_CONTENT_BYTES,
	CONVERSATION_TAIL_BYTES,
	CONVERSATION_CREATED_AT,
	CONVERSATION_UPDATED_AT,
	CONVERSATION_REVISION,
	CONVERSATION_REVISION_BUCKET,
	CONVERSATION_TAIL_COUNT,
	CONVERSATION_BRANCHED,
	CONVERSATION_ARCHIVED,
	CONVERSATION_ACCOUNT_ID,
	CONVERSATION_TITLE,
	CONVERSATION_METADATA,
	CONVERSATION_DELETED_AT,
	CONVERSATION_NCOLUMNS
};

enum
{
	SEGMENT_CONVERSATION_ID,
	SEGMENT_FIRST_SEQ,
	SEGMENT_LAST_SEQ,
	SEGMENT_REVISION,
	SEGMENT_ACCOUNT_ID,
	SEGMENT_BODY,
	SEGMENT_MESSAGE_IDS,
	SEGMENT_COMPACT,
	SEGMENT_NCOLUMNS
};

enum
{
	TAIL_CONVERSATION_ID,
	TAIL_SEQ,
	TAIL_PARENT_SEQ,
	TAIL_REVISION,
	TAIL_CREATED_AT,
	TAIL_TOKENS,
	TAIL_ACCOUNT_ID,
	TAIL_ROLE,
	TAIL_CONTENT,
	TAIL_MODEL,
	TAIL_MESSAGE_ID,
	TAIL_METADATA,
	TAIL_COUNTED,
	TAIL_NCOLUMNS
};

enum
{
	TOMBSTONE_CONVERSATION_ID,
	TOMBSTONE_SEQ,
	TOMBSTONE_REVISION,
	TOMBSTONE_DELETED_AT,
	TOMBSTONE_ACCOUNT_ID,
	TOMBSTONE_MESSAGE_ID,
	TOMBSTONE_NCOLUMNS
};

/*
 * The columns of a new row, which are also the parameters of the statements that
 * write rows: column n is $(n + 1).  The columns behind them are NULL then.
 */
#define STORE_CONVERSATION_COLUMNS CONVERSATION_DELETED_AT
#define STORE_SEGMENT_COLUMNS SEGMENT_COMPACT

/* CONVERSATION_REVISION_BUCKET, which the statements on conversations have in SQL as well. */
#define CONVERSATION_BUCKET(revision) ((int32) ((revision) >> 10))
#define CONVERSATION_BUCKET_END(revision) ((revision) | 1023)

extern DirectTable store_accounts;
extern DirectTable store_conversations;
extern DirectTable store_segments;
extern DirectTable store_tail;
extern DirectTable store_tombstones;

/* fast.c: the tail's row at hand, as a message whose texts are the row's. */
extern void fast_tail_row(const DirectRows *rows, TranscriptMessage *message);

/* The first two columns of every key but the accounts'. */
extern void store_conversation_keys(ScanKeyData *keys, const pg_uuid_t *id, text *account_id);

#endif /* STORE_TABLES_H */
