/*
 * tables.c
 *		The store's tables, for access without statements.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "utils/fmgroids.h"

#include "tables.h"

static const char *const account_columns[ACCOUNT_NCOLUMNS] = {"account_id", "subscription_id",
															  "revision", "created_at"};

static const char *const conversation_columns[CONVERSATION_NCOLUMNS] =
	{"conversation_id", "next_seq",   "head_seq",   "message_count", "token_count",
	 "content_bytes",   "tail_bytes", "created_at", "updated_at",    "revision",
	 "revision_bucket", "tail_count", "branched",   "archived",      "account_id",
	 "title",           "metadata",   "deleted_at"};

static const char *const segment_columns[SEGMENT_NCOLUMNS] = {"conversation_id", "first_seq",
															  "last_seq",        "revision",
															  "account_id",      "body",
															  "message_ids",     "compact"};

static const char *const tail_columns[TAIL_NCOLUMNS] = {"conversation_id", "seq",
														"parent_seq",      "revision",
														"created_at",      "tokens",
														"account_id",      "role",
														"content",         "model",
														"message_id",      "metadata",
														"counted"};

static const char *const tombstone_columns[TOMBSTONE_NCOLUMNS] = {"conversation_id", "seq",
																  "revision",        "deleted_at",
																  "account_id",      "message_id"};

DirectTable store_accounts = {"accounts", ACCOUNT_NCOLUMNS, account_columns,
							  1,          {ACCOUNT_ID},     InvalidOid};

DirectTable store_conversations = {"conversations",
								   CONVERSATION_NCOLUMNS,
								   conversation_columns,
								   2,
								   {CONVERSATION_ID, CONVERSATION_ACCOUNT_ID},
								   InvalidOid};

DirectTable store_segments = {"segments",
							  SEGMENT_NCOLUMNS,
							  segment_columns,
							  3,
							  {SEGMENT_CONVERSATION_ID, SEGMENT_ACCOUNT_ID, SEGMENT_FIRST_SEQ},
							  InvalidOid};

DirectTable store_tail = {"tail",
						  TAIL_NCOLUMNS,
						  tail_columns,
						  3,
						  {TAIL_CONVERSATION_ID, TAIL_ACCOUNT_ID, TAIL_SEQ},
						  InvalidOid};

DirectTable store_tombstones = {"tombstones",
								TOMBSTONE_NCOLUMNS,
								tombstone_columns,
								3,
								{TOMBSTONE_CONVERSATION_ID, TOMBSTONE_ACCOUNT_ID, TOMBSTONE_SEQ},
								InvalidOid};

void
store_conversation_keys(ScanKeyData *keys, const pg_uuid_t *id, text *account_id)
{
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(account_id));
}
