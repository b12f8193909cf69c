/*
 * metering.h
 *		What was used, by account, UTC day and model; and the outbox of billing
 *		events.  The room knows numbers, not conversations.
 */
#ifndef METERING_H
#define METERING_H

#include "postgres.h"

#include "utils/date.h"
#include "utils/timestamp.h"

/* ---- settings (settings.c) ---- */
extern bool metering_keep_forgotten; /* usage of an account outlives memory.forget */

/* ---- batch.c: what a statement adds to memory_store.usage_daily ---- */

/* The columns that a batch adds to, in the order of upsert_statement's parameters. */
typedef enum MeteringColumn
{
	METERING_MESSAGES,
	METERING_INPUT_TOKENS,
	METERING_OUTPUT_TOKENS,
	METERING_CONTENT_BYTES,
	METERING_IMPORTED_MESSAGES,
	METERING_IMPORTED_TOKENS,
	METERING_IMPORTED_BYTES,
	METERING_REMOVED_MESSAGES,
	METERING_REMOVED_TOKENS,
	METERING_REMOVED_BYTES,
	METERING_NCOLUMNS
} MeteringColumn;

/* How a message of some created_at counts. */
typedef enum MeteringKind
{
	METERING_FLOW,     /* used on the day of created_at */
	METERING_FLOW_NOW, /* created_at is yet to come: used today */
	METERING_IMPORTED  /* backdated: counts as storage, not as flow */
} MeteringKind;

/* A message, as far as metering is concerned. */
typedef struct MeteringMessage
{
	TimestampTz created_at;
	const char *model; /* NULL: none */
	uint32 model_len;
	bool output; /* written by a model */
	int64 tokens;
	int64 bytes; /* of content and metadata */
} MeteringMessage;

typedef struct MeteringBatch MeteringBatch;

/* Defines the room's settings; called once, from _PG_init. */
extern void metering_init(void);

extern DateADT metering_day(TimestampTz at);
extern MeteringKind metering_classify(TimestampTz created_at);
extern MeteringBatch *metering_batch_create(const text *account_id);
extern MeteringBatch *metering_batch_follow(MeteringBatch *batch, const text *account_id);
extern void
metering_batch_message(MeteringBatch *batch, const MeteringMessage *message, MeteringKind kind);
extern void
metering_batch_bytes(MeteringBatch *batch, TimestampTz created_at, int64 bytes, MeteringKind kind);
extern void metering_batch_growth(MeteringBatch *batch, const MeteringMessage *message);
extern void metering_batch_removed(MeteringBatch *batch, int64 messages, int64 tokens, int64 bytes);
extern void metering_batch_end(MeteringBatch *batch);
extern void metering_forget(text *account_id);

/* ---- calls.c: calls of models that store no message ---- */
typedef struct MeteringCall
{
	TimestampTz occurred_at;
	int64 input_tokens; /* disjoint: neither cached nor written to the cache */
	int64 cached_input_tokens;
	int64 cache_creation_tokens;
	int64 output_tokens;
} MeteringCall;

extern bool
metering_record_call(text *account_id, text *model, const MeteringCall *call, text *request_id);
extern uint64 metering_list_calls(int64 limit);
extern void metering_roll_up_calls(text *account_id);

/* ---- outbox.c ---- */
extern void metering_emit(const char *type, const char *subscription_id, const char *account_id,
						  const char *data);

/* settings.c: a time so long before now that a message of it is an import, not usage. */
extern TimestampTz metering_backdated_time(TimestampTz now);

#endif /* METERING_H */
