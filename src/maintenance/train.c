/*
 * train.c
 *		memory.train_dictionary: a zstd dictionary from the store's segments; and
 *		what it shares with the first one, from a bulk load (sampler.c).
 *
 * Payloads of segments are sampled over the accounts, one in HOLDOUT of them
 * held out.  Dictionaries of several sizes are trained from the rest; the one
 * is chosen with which payloads, scaled up to the whole store, and the
 * dictionary itself take the least, and kept if the held-out payloads shrink by
 * a settable share.
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
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "dictionary.h"
#include "store.h"
#include "train.h"

/* of the held-out payloads, which are compressed once for each size */
#define MAX_HOLDOUT_BYTES (1024 * 1024)
#define MAX_SAMPLE_BYTES (32 * 1024)
#define MAX_SAMPLES 200000
/* no account gives more than this share of the samples, if others have enough */
#define ACCOUNT_SHARE 16
/* fewer samples than this make no useful dictionary */
#define MIN_SAMPLES 100
/* nor less than so many times its size */
#define TRAINING_FACTOR 6
#define DEFAULT_SAMPLE_BYTES (64 * 1024 * 1024)
/* a new dictionary is tried when the store has grown by this factor */
#define GROWTH 8

/* up to memory_ext.dictionary_max_size */
static const size_t candidate_sizes[] = {110 * 1024,  256 * 1024,  512 * 1024, 1024 * 1024,
										 2048 * 1024, 4096 * 1024, 8192 * 1024};

static void
samples_init(DictionarySamples *samples, size_t space)
{
	samples->data = MemoryContextAllocHuge(CurrentMemoryContext, space);
	samples->sizes = palloc(MAX_SAMPLES * sizeof(size_t));
	samples->count = 0;
	samples->bytes = 0;
}

/* Room for space bytes to train from, in the current memory context. */
void
sampling_init(Sampling *sampling, size_t space)
{
	memset(sampling, 0, sizeof(*sampling));
	sampling->space = space;
	samples_init(&sampling->training, space);
	sampling->holdout_space = Min(space / (HOLDOUT - 1) + MAX_SAMPLE_BYTES, MAX_HOLDOUT_BYTES);
	samples_init(&sampling->holdout, sampling->holdout_space);
	sampling->accounts = sampled_accounts_create();
}

/* The accounts that gave samples, in the current memory context. */
HTAB *
sampled_accounts_create(void)
{
	HASHCTL control = {0};

	control.keysize = MEMORY_MAX_ACCOUNT_ID_BYTES + 1;
	control.entrysize = sizeof(SampledAccount);
	control.hcxt = CurrentMemoryContext;
	return hash_create("memory_ext samples", 64, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

SampledAccount *
sampled_account(HTAB *accounts, const text *account_id)
{
	char name[MEMORY_MAX_ACCOUNT_ID_BYTES + 1];
	SampledAccount *account;
	bool found;

	text_to_cstring_buffer(account_id, name, sizeof(name));
	account = hash_search(accounts, name, HASH_ENTER, &found);
	if (!found)
		account->bytes = 0;
	return account;
}

static bool
samples_add(DictionarySamples *samples, size_t space, const char *payload, size_t size)
{
	if (samples->count == MAX_SAMPLES || samples->bytes + size > space)
		return false;
	memcpy(samples->data + samples->bytes, payload, size);
	samples->bytes += size;
	samples->sizes[samples->count++] = size;
	return true;
}

/* Copies a sample, to be trained from or held out; false: there is no more room. */
bool
sampling_put(Sampling *sampling, const char *sample, size_t size)
{
	if ((sampling->training.count + sampling->holdout.count) % HOLDOUT == HOLDOUT - 1 &&
		samples_add(&sampling->holdout, sampling->holdout_space, sample, size))
		return true;
	return samples_add(&sampling->training, sampling->space, sample, size);
}

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

	if (store_attempt_reading(read_payload, &segment) != NULL)
	{
		sampling->corrupt++;
		return true;
	}
	size = Min(segment.header.raw_size, MAX_SAMPLE_BYTES);
	account->bytes += size;
	return sampling_put(sampling, segment.payload, size);
}

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

	store_execute(STORE_CONTENT_BYTES, NULL, NULL, true);
	total = DatumGetInt64(store_column(0, 1, &isnull));
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
			more = sampling_add(sampling, DatumGetTextPP(store_column(i, 1, &isnull)),
								store_column(i, 2, &isnull));
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

/* A dictionary that was tried. */
typedef struct Candidate
{
	char *bytes;
	size_t size;
	size_t holdout_after;
	double cost; /* bytes that the store and the dictionary would take */
} Candidate;

/* The first samples that were trained from, as many as are held out. */
static DictionarySamples
first_samples(const Sampling *sampling)
{
	DictionarySamples first = sampling->training;

	first.bytes = 0;
	for (first.count = 0; first.count < sampling->training.count; first.count++)
	{
		size_t size = first.sizes[first.count];

		if (first.bytes + size > sampling->holdout.bytes)
			break;
		first.bytes += size;
	}
	return first;
}

/*
 * What the store would take with the candidate, which is packed better by what
 * it was trained on than by what was held out; that is all of a small store, and
 * little of a large one.
 */
static double
store_cost(const Sampling *sampling, const Candidate *candidate, int level)
{
	DictionarySamples first = first_samples(sampling);
	double known = Min((double) sampling->training.bytes / (double) sampling->seen, 1.0);
	double unknown_ratio = (double) candidate->holdout_after / (double) sampling->holdout.bytes;
	double known_ratio = unknown_ratio;

	if (first.bytes > 0)
		known_ratio =
			(double) dictionary_measure(&first, candidate->bytes, candidate->size, level) /
			(double) first.bytes;
	return (known * known_ratio + (1 - known) * unknown_ratio) * (double) sampling->seen +
		   (double) dictionary_stored_bytes(candidate->bytes, candidate->size);
}

/*
 * Trains a dictionary of this size; false: it is no better than the best so far.
 * only: there is no other to compare it with.
 */
static bool
try_size(const Sampling *sampling, size_t size, int level, bool only, Candidate *best)
{
	Candidate candidate;

	/* zstd's advice is a hundred times as much to learn from; what it gains is measured */
	if (sampling->training.bytes < TRAINING_FACTOR * size)
		return false;
	candidate.bytes = palloc(size);
	candidate.size = dictionary_train(&sampling->training, candidate.bytes, size);
	CHECK_FOR_INTERRUPTS();
	if (candidate.size == 0)
		return false;
	candidate.holdout_after =
		dictionary_measure(&sampling->holdout, candidate.bytes, candidate.size, level);
	candidate.cost = only ? 0 : store_cost(sampling, &candidate, level);
	if (best->bytes != NULL && candidate.cost >= best->cost)
	{
		pfree(candidate.bytes);
		return false;
	}
	if (best->bytes != NULL)
		pfree(best->bytes);
	*best = candidate;
	return true;
}

/* Notes who the dictionary was trained on: see memory.forget. */
static void
note_accounts(const Sampling *sampling, uint32 dictionary_id)
{
	Size n = hash_get_num_entries(sampling->accounts);
	Datum *accounts = palloc(mul_size(Max(n, 1), sizeof(Datum)));
	HASH_SEQ_STATUS scan;
	SampledAccount *account;
	Datum values[2];
	int i = 0;

	hash_seq_init(&scan, sampling->accounts);
	while ((account = hash_seq_search(&scan)) != NULL)
		accounts[i++] = CStringGetTextDatum(account->account);
	values[0] = Int64GetDatum(dictionary_id);
	values[1] = PointerGetDatum(construct_array(accounts, i, TEXTOID, -1, false, TYPALIGN_INT));
	store_execute(STORE_DICTIONARY_ACCOUNTS, values, NULL, false);
}

/*
 * Trains a dictionary of each of the sizes, for segments of this level, and
 * keeps the best one if it saves min_gain percent.  The lock of training is
 * held.  Needs an SPI connection.
 */
void
sampling_train(const Sampling *sampling, const size_t *sizes, int nsizes, int level,
			   double min_gain, Training *training)
{
	Candidate best = {0};
	DictionaryReport report = {0};

	memset(training, 0, sizeof(*training));
	training->samples = sampling->training.count;
	training->accounts = hash_get_num_entries(sampling->accounts);
	if (sampling->training.count < MIN_SAMPLES)
		return;

	report.samples = sampling->training.count;
	report.sample_bytes = sampling->training.bytes;
	report.holdout_before =
		dictionary_measure_with(&sampling->holdout, dictionary_current(), level);
	for (int i = 0; i < nsizes && sizes[i] <= (size_t) store_dictionary_max_kb * 1024; i++)
		if (!try_size(sampling, sizes[i], level, nsizes == 1, &best))
			break;
	if (best.bytes == NULL)
		return;

	report.holdout_after = best.holdout_after;
	training->measured = true;
	training->gain = 100.0 * (1.0 - (double) report.holdout_after / (double) report.holdout_before);
	if (training->gain < min_gain)
		return;
	training->dictionary_id = dictionary_keep(best.bytes, best.size, &report);
	training->size = best.size;
	note_accounts(sampling, training->dictionary_id);
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
	Datum values[5];
	bool nulls[5] = {0};

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

	nulls[0] = nulls[1] = training.dictionary_id == 0;
	values[0] = Int64GetDatum(training.dictionary_id);
	values[1] = Int64GetDatum((int64) training.size);
	values[2] = Int64GetDatum(training.samples);
	values[3] = Int64GetDatum(training.accounts);
	nulls[4] = !training.measured;
	values[4] = Float4GetDatum((float4) training.gain);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}

static bool
training_is_due(void)
{
	Datum values[2] = {Int64GetDatum((int64) store_dictionary_min_kb * 1024),
					   Int64GetDatum(GROWTH)};
	bool isnull;

	store_execute(STORE_TRAINING_DUE, values, NULL, false);
	return DatumGetBool(store_column(0, 1, &isnull));
}

PG_FUNCTION_INFO_V1(memory_train_if_due);

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
			train(DEFAULT_SAMPLE_BYTES, store_dictionary_min_gain, &training);
		if (training.measured)
			store_execute(STORE_TRAINING_NOTE, NULL, NULL, false);
	}
	SPI_finish();
	if (training.dictionary_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(training.dictionary_id);
}
