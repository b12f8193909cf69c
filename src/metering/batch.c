/*
 * batch.c
 *		What a statement adds to memory_store.usage_daily, gathered in memory and
 *		written once.
 *
 * Many versions of one row in one transaction are quadratic, so a statement
 * sums up by day and model and writes each row once, in order of the key.  A
 * batch belongs to one account, whose lock its writer holds; so no two writers
 * of the same rows wait for each other in a circle.
 *
 * A batch owns a memory context below the one that was current when it was
 * made.  Writing needs an SPI connection.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "account.h"
#include "arguments.h"
#include "memory_limits.h"
#include "metering.h"
#include "sql_text.h"
#include "statement.h"

typedef struct UsageKey
{
	DateADT day;
	uint32 model_len;
	char model[MEMORY_MAX_MODEL_BYTES + 1]; /* the rest is zero */
} UsageKey;

typedef struct UsageRow
{
	UsageKey key;
	int64 counts[METERING_NCOLUMNS];
} UsageRow;

struct MeteringBatch
{
	MemoryContext context;
	text *account_id;
	HTAB *rows;
	UsageRow *last; /* messages of a day and model come in runs */
};

/* clang-format off */
#define ADD(column) \
	#column " = LEAST(u." #column "::pg_catalog.numeric" OP(+) "excluded." #column \
	"::pg_catalog.numeric, 9223372036854775807)::pg_catalog.int8"
/* clang-format on */

/* clang-format off */
static PlanStatement upsert_statement = {
	"INSERT INTO memory_store.usage_daily AS u (account_id, day, model,"
	" messages, input_tokens, output_tokens, content_bytes,"
	" imported_messages, imported_tokens, imported_bytes,"
	" removed_messages, removed_tokens, removed_bytes)"
	" SELECT $1, v.*"
	" FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) v"
	" ON CONFLICT (account_id, day, model) DO UPDATE SET "
	ADD(messages) ", " ADD(input_tokens) ", " ADD(output_tokens) ", " ADD(content_bytes) ", "
	ADD(imported_messages) ", " ADD(imported_tokens) ", " ADD(imported_bytes) ", "
	ADD(removed_messages) ", " ADD(removed_tokens) ", " ADD(removed_bytes),
	13,
	{TEXTOID, DATEARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
	 INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID},
};
/* clang-format on */

/* An empty batch of the account, in the current memory context. */
MeteringBatch *
metering_batch_create(const text *account_id)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext usage", ALLOCSET_SMALL_SIZES);
	MeteringBatch *batch = MemoryContextAllocZero(context, sizeof(MeteringBatch));
	MemoryContext old = MemoryContextSwitchTo(context);

	batch->context = context;
	batch->account_id = (text *) DatumGetPointer(datumCopy(PointerGetDatum(account_id), false, -1));
	MemoryContextSwitchTo(old);
	return batch;
}

/*
 * The batch for the next piece of a statement that goes from account to
 * account: the same one, or (the other is written) a new one in the current
 * memory context.  NULL: there was none yet.
 */
MeteringBatch *
metering_batch_follow(MeteringBatch *batch, const text *account_id)
{
	if (batch != NULL && account_same(batch->account_id, account_id))
		return batch;
	metering_batch_end(batch);
	return metering_batch_create(account_id);
}

/* The counts of a day and model. */
static int64 *
batch_row(MeteringBatch *batch, DateADT day, const char *model, uint32 model_len)
{
	UsageKey key = {0};
	bool found;

	if (batch->last != NULL && batch->last->key.day == day &&
		batch->last->key.model_len == model_len &&
		(model_len == 0 || memcmp(batch->last->key.model, model, model_len) == 0))
		return batch->last->counts;

	if (batch->rows == NULL)
	{
		HASHCTL control = {0};

		control.keysize = sizeof(UsageKey);
		control.entrysize = sizeof(UsageRow);
		control.hcxt = batch->context;
		batch->rows =
			hash_create("memory_ext usage", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	Assert(model_len <= MEMORY_MAX_MODEL_BYTES);
	key.day = day;
	key.model_len = model_len;
	if (model_len > 0)
		memcpy(key.model, model, model_len);
	batch->last = hash_search(batch->rows, &key, HASH_ENTER, &found);
	if (!found)
		memset(batch->last->counts, 0, sizeof(batch->last->counts));
	return batch->last->counts;
}

static DateADT
today(void)
{
	return metering_day(GetCurrentStatementStartTimestamp());
}

/* Counts a message that was added. */
void
metering_batch_message(MeteringBatch *batch, const MeteringMessage *message, MeteringKind kind)
{
	DateADT day = kind == METERING_FLOW_NOW ? today() : metering_day(message->created_at);
	int64 *counts = batch_row(batch, day, message->model, message->model_len);

	if (kind == METERING_IMPORTED)
	{
		counts[METERING_IMPORTED_MESSAGES]++;
		counts[METERING_IMPORTED_TOKENS] += message->tokens;
		counts[METERING_IMPORTED_BYTES] += message->bytes;
		return;
	}
	counts[METERING_MESSAGES]++;
	counts[message->output ? METERING_OUTPUT_TOKENS : METERING_INPUT_TOKENS] += message->tokens;
	counts[METERING_CONTENT_BYTES] += message->bytes;
}

/* Counts what an edit has added to a message: tokens and bytes, from 0; today's usage. */
void
metering_batch_growth(MeteringBatch *batch, const MeteringMessage *message)
{
	int64 *counts;

	if (message->tokens == 0 && message->bytes == 0)
		return;
	counts = batch_row(batch, today(), message->model, message->model_len);
	counts[message->output ? METERING_OUTPUT_TOKENS : METERING_INPUT_TOKENS] += message->tokens;
	counts[METERING_CONTENT_BYTES] += message->bytes;
}

/* Counts bytes that are no message's: title and metadata of a conversation that was added. */
void
metering_batch_bytes(MeteringBatch *batch, TimestampTz created_at, int64 bytes, MeteringKind kind)
{
	DateADT day = kind == METERING_FLOW_NOW ? today() : metering_day(created_at);

	if (bytes == 0)
		return;
	batch_row(batch, day, NULL,
			  0)[kind == METERING_IMPORTED ? METERING_IMPORTED_BYTES : METERING_CONTENT_BYTES] +=
		bytes;
}

/*
 * Notes what is no longer stored.  No usage is taken back: with these columns,
 * what was ever counted can be compared with what is there.
 */
void
metering_batch_removed(MeteringBatch *batch, int64 messages, int64 tokens, int64 bytes)
{
	int64 *counts;

	if (messages == 0 && tokens == 0 && bytes == 0)
		return;
	counts = batch_row(batch, today(), NULL, 0);
	counts[METERING_REMOVED_MESSAGES] += messages;
	counts[METERING_REMOVED_TOKENS] += tokens;
	counts[METERING_REMOVED_BYTES] += bytes;
}

static int
compare_rows(const void *a, const void *b)
{
	const UsageKey *left = &(*(UsageRow *const *) a)->key;
	const UsageKey *right = &(*(UsageRow *const *) b)->key;

	if (left->day != right->day)
		return left->day < right->day ? -1 : 1;
	return strcmp(left->model, right->model);
}

static UsageRow **
sorted_rows(MeteringBatch *batch, int *n)
{
	UsageRow **rows = palloc(mul_size(hash_get_num_entries(batch->rows), sizeof(UsageRow *)));
	HASH_SEQ_STATUS scan;
	UsageRow *row;

	*n = 0;
	hash_seq_init(&scan, batch->rows);
	while ((row = hash_seq_search(&scan)) != NULL)
		rows[(*n)++] = row;
	qsort(rows, *n, sizeof(UsageRow *), compare_rows);
	return rows;
}

/* Adds what was gathered to the table. */
static void
write_rows(MeteringBatch *batch)
{
	MemoryContext scratch;
	MemoryContext old;
	Datum values[3 + METERING_NCOLUMNS];
	Datum *column;
	UsageRow **rows;
	int n;

	if (batch->rows == NULL)
		return;
	scratch = AllocSetContextCreate(batch->context, "memory_ext upsert", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	rows = sorted_rows(batch, &n);
	column = palloc(mul_size(n, sizeof(Datum)));

	values[0] = PointerGetDatum(batch->account_id);
	for (int i = 0; i < n; i++)
		column[i] = DateADTGetDatum(rows[i]->key.day);
	values[1] = array_datum(DATEOID, column, NULL, n);
	for (int i = 0; i < n; i++)
		column[i] =
			PointerGetDatum(cstring_to_text_with_len(rows[i]->key.model, rows[i]->key.model_len));
	values[2] = array_datum(TEXTOID, column, NULL, n);
	for (int c = 0; c < METERING_NCOLUMNS; c++)
	{
		for (int i = 0; i < n; i++)
			column[i] = Int64GetDatum(rows[i]->counts[c]);
		values[3 + c] = array_datum(INT8OID, column, NULL, n);
	}
	plan_execute(&upsert_statement, values, NULL, false);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	hash_destroy(batch->rows);
	batch->rows = NULL;
	batch->last = NULL;
}

/* Writes the batch, whose account is locked, and frees it; NULL is an empty one. */
void
metering_batch_end(MeteringBatch *batch)
{
	if (batch == NULL)
		return;
	write_rows(batch);
	MemoryContextDelete(batch->context);
}

/*
 * metering_forget
 *		Erases what is recorded of the account, its events included.  Needs an
 *		SPI connection.
 */
void
metering_forget(text *account_id)
{
	/* clang-format off */
	static PlanStatement statements[] = {
		{"DELETE FROM memory_store.usage_daily WHERE account_id" OP(=) "$1", 1, {TEXTOID}},
		{"DELETE FROM memory_store.usage_calls WHERE account_id" OP(=) "$1", 1, {TEXTOID}},
		{"DELETE FROM memory_store.usage_requests WHERE account_id" OP(=) "$1", 1, {TEXTOID}},
		{"DELETE FROM memory_store.outbox WHERE account_id" OP(=) "$1", 1, {TEXTOID}},
		/* the usage of a day may have been reported just so far: on from the one before */
		{"UPDATE memory_store.usage_reported SET account_id = COALESCE("
		 "   (SELECT pg_catalog.max(a.account_id) FROM memory_store.accounts a"
		 "    WHERE a.account_id" OP(<) "$1), '')"
		 " WHERE account_id" OP(=) "$1",
		 1,
		 {TEXTOID}},
	};
	/* clang-format on */
	Datum values[1] = {PointerGetDatum(account_id)};

	for (int i = 0; i < lengthof(statements); i++)
		plan_execute(&statements[i], values, NULL, false);
}
