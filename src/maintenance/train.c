/*
 * train.c
 *		memory.train_dictionary: a zstd dictionary from the store's segments, whose
 *		payloads are sampled over the accounts.
 *
 * The samples live in one context of the call.  Held to the end of the
 * transaction are the lock of training, which keeps memory.forget out, and
 * share locks on the old and the new dictionary.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "attempt.h"
#include "dictionary.h"
#include "sampling.h"
#include "sql_text.h"
#include "statement.h"
#include "store.h"

/* no account gives more than this share of the samples, if others have enough */
#define ACCOUNT_SHARE 16
#define DEFAULT_SAMPLE_BYTES (64 * 1024 * 1024)
/* a new dictionary is tried when the store has grown by this factor */
#define GROWTH 8

/* up to memory_ext.dictionary_max_size */
static const size_t candidate_sizes[] = {110 * 1024,  256 * 1024,  512 * 1024, 1024 * 1024,
										 2048 * 1024, 4096 * 1024, 8192 * 1024};

/* A segment whose payload is read. */
typedef struct SampledSegment
{
	Datum body;
	TranscriptHeader header;
	char *payload;
} SampledSegment;

static void
read_payload(void *arg)
{
	SampledSegment *segment = arg;

	segment->payload = transcript_unpack_payload(segment->body, &segment->header);
}

/*
 * Takes one segment's payload; false when there are enough.  A corrupt segment
 * gives none: it must not keep the others from having a dictionary.
 */
static bool
sampling_add(Sampling *sampling, text *account_id, Datum body)
{
	SampledSegment segment = {.body = body};
	SampledAccount *account = sampled_account(sampling->accounts, account_id);
	size_t size;

	if (account->bytes > (int64) (sampling->space / ACCOUNT_SHARE))
		return true;

	if (attempt_read(read_payload, &segment) != NULL)
	{
		sampling->corrupt++;
		return true;
	}
	size = Min(segment.header.raw_size, SAMPLING_MAX_SAMPLE_BYTES);
	account->bytes += size;
	return sampling_put(sampling, account->number, segment.payload, size);
}

/* clang-format off */
static PlanStatement content_bytes_statement = {
	"SELECT COALESCE(pg_catalog.sum(content_bytes), 0)::pg_catalog.int8"
	" FROM memory_store.conversations",
	0,
	{0},
};
/* clang-format on */

/*
 * Reads payloads until there are enough: a sample of the table's pages, so
 * that the whole table gives somewhat more than is taken; in any order, because
 * the pages themselves come oldest first.  The snapshot is of this moment: an
 * account that was forgotten since the statement began is not to be sampled.
 */
static void
gather_samples(Sampling *sampling)
{
	static const char query[] =
		"SELECT account_id, body FROM memory_store.segments TABLESAMPLE SYSTEM ($1)"
		" ORDER BY pg_catalog.random()";
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext sample", ALLOCSET_DEFAULT_SIZES);
	Oid types[] = {FLOAT4OID};
	Datum values[1];
	bool isnull;
	int64 total;
	Portal portal;
	bool more = true;

	plan_execute(&content_bytes_statement, NULL, NULL, true);
	total = DatumGetInt64(plan_column(0, 1, &isnull));
	sampling->seen = total;
	values[0] = Float4GetDatum(
		total == 0 ? 100 : Min(100.0, 100.0 * 4 * (double) sampling->space / (double) total));

	PushActiveSnapshot(GetLatestSnapshot());
	portal = SPI_cursor_open_with_args(NULL, query, 1, types, values, NULL, true, 0);
	while (more)
	{
		SPI_cursor_fetch(portal, true, 64);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed && more; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(scratch);

			CHECK_FOR_INTERRUPTS();
			more = sampling_add(sampling, DatumGetTextPP(plan_column(i, 1, &isnull)),
								plan_column(i, 2, &isnull));
			MemoryContextSwitchTo(old);
			MemoryContextReset(scratch);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	PopActiveSnapshot();
	MemoryContextDelete(scratch);
	if (sampling->corrupt > 0)
		ereport(WARNING, (errcode(ERRCODE_DATA_CORRUPTED),
						  errmsg("corrupt segments were left out of the training: " INT64_FORMAT,
								 sampling->corrupt),
						  errhint("See memory.verify() for what is wrong with them.")));
}

/* Trains from at most space bytes of the store's segments.  Needs an SPI connection. */
static void
train(int64 space, double min_gain, Training *training)
{
	Sampling sampling;

	dictionary_lock_training(true);
	sampling_init(&sampling, space);
	gather_samples(&sampling);
	sampling_train(&sampling, candidate_sizes, lengthof(candidate_sizes),
				   store_compact_compression().level, min_gain, training);
}

PG_FUNCTION_INFO_V1(memory_train_dictionary);

/*
 * memory_train_dictionary(max_sample_bytes bigint, min_gain real) → record
 *		Trains a dictionary from the sealed segments and makes it the current
 *		one if the hold-out shrinks by at least min_gain percent (NULL:
 *		memory_ext.dictionary_min_gain).  Returns dictionary_id (NULL: not
 *		kept), its size, how many payloads and accounts it was trained on, and
 *		the gain in percent.  Errors: 22023, 42501 the session is confined.
 */
Datum
memory_train_dictionary(PG_FUNCTION_ARGS)
{
	int64 space = PG_ARGISNULL(0) ? DEFAULT_SAMPLE_BYTES : PG_GETARG_INT64(0);
	double min_gain = PG_ARGISNULL(1) ? store_dictionary_min_gain : PG_GETARG_FLOAT4(1);
	TupleDesc descriptor;
	Training training;
	enum
	{
		DICTIONARY_ID,
		DICTIONARY_BYTES,
		SAMPLES,
		ACCOUNTS,
		GAIN,
		NCOLUMNS
	};
	Datum values[NCOLUMNS];
	bool nulls[NCOLUMNS] = {0};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "memory.train_dictionary returns no record");
	descriptor = BlessTupleDesc(descriptor);
	if (space < 1024 * 1024 || space > INT64CONST(1024) * 1024 * 1024)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("max_sample_bytes must be from 1 MiB to 1 GiB, it is " INT64_FORMAT,
							   space)));
	account_check_unconfined();

	SPI_connect();
	train(space, min_gain, &training);
	SPI_finish();

	nulls[DICTIONARY_ID] = nulls[DICTIONARY_BYTES] = training.dictionary_id == 0;
	values[DICTIONARY_ID] = Int64GetDatum(training.dictionary_id);
	values[DICTIONARY_BYTES] = Int64GetDatum((int64) training.size);
	values[SAMPLES] = Int64GetDatum(training.samples);
	values[ACCOUNTS] = Int64GetDatum(training.accounts);
	nulls[GAIN] = !training.measured;
	values[GAIN] = Float4GetDatum((float4) training.gain);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}

/*
 * Exactly in a small store; of a large one some pages tell.  The quotients need
 * their parentheses: all operators that name their schema have one precedence.
 */
/* clang-format off */
static PlanStatement training_due_statement = {
	"SELECT total" OP(>=) "$1 AND (last IS NULL OR total" OP(>=) "(last" OP(*) "$2))"
	" AND accounts" OP(>=) "$3"
	" FROM ("
	"SELECT COALESCE(pg_catalog.sum(content_bytes),"
	" 0)" OP(*) "100" OP(/) "LEAST(100.0,"
	" 51200.0" OP(/) "(1" OP(+)
	" (pg_catalog.pg_relation_size('memory_store.conversations')" OP(/)
	" 8192)))::pg_catalog.numeric AS total"
	" FROM memory_store.conversations TABLESAMPLE SYSTEM (LEAST(100.0,"
	" 51200.0" OP(/) "(1" OP(+)
	" (pg_catalog.pg_relation_size('memory_store.conversations')" OP(/) "8192))))) t, ("
	"SELECT pg_catalog.max(content_bytes) AS last"
	" FROM memory_store.trainings) l, ("
	"SELECT pg_catalog.count(*) AS accounts"
	" FROM (SELECT FROM memory_store.accounts LIMIT $3) a) a",
	3,
	{INT8OID, INT8OID, INT8OID},
};
/* clang-format on */

static bool
training_is_due(void)
{
	Datum values[3] = {Int64GetDatum((int64) store_dictionary_min_kb * 1024), Int64GetDatum(GROWTH),
					   Int64GetDatum(store_dictionary_min_accounts)};
	bool isnull;

	plan_execute(&training_due_statement, values, NULL, false);
	return DatumGetBool(plan_column(0, 1, &isnull));
}

PG_FUNCTION_INFO_V1(memory_train_if_due);

/* clang-format off */
static PlanStatement training_note_statement = {
	"INSERT INTO memory_store.trainings (trained_at, content_bytes)"
	" SELECT pg_catalog.clock_timestamp(),"
	" pg_catalog.sum(content_bytes)::pg_catalog.int8"
	" FROM memory_store.conversations",
	0,
	{0},
};
/* clang-format on */

/*
 * memory_train_if_due() → bigint
 *		Trains when memory_ext.auto_dictionary is on and enough has gathered:
 *		dictionary_min_size of content, or GROWTH times as much as at the last
 *		training.  Returns the new dictionary's id, NULL when none was kept.  A
 *		step of maintain().  Error: 42501 the session is confined.
 */
Datum
memory_train_if_due(PG_FUNCTION_ARGS)
{
	Training training = {0};

	account_check_unconfined();
	if (!store_auto_dictionary)
		PG_RETURN_NULL();
	SPI_connect();
	if (training_is_due())
	{
		/* somebody else may train, and decide that nothing is due any more */
		dictionary_lock_training(true);
		if (training_is_due())
		{
			train(DEFAULT_SAMPLE_BYTES, store_dictionary_min_gain, &training);
			plan_execute(&training_note_statement, NULL, NULL, false);
		}
	}
	SPI_finish();
	if (training.dictionary_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(training.dictionary_id);
}
