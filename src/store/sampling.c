/*
 * sampling.c
 *		Training a dictionary from samples, whatever they are taken from: the
 *		rows of a bulk load (sampler.c), or the store's segments (maintenance).
 *
 * One in SAMPLING_HOLDOUT of the samples is held out.  Dictionaries of several
 * sizes are trained from the rest; the smallest is chosen with which payloads,
 * scaled up to the whole store, and the dictionary itself take about the least,
 * and kept if the held-out payloads shrink by a settable share.
 *
 * The samples live in the context that was current at sampling_init.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "arguments.h"
#include "common_text.h"
#include "sampling.h"
#include "statement.h"
#include "store_private.h"

/* of the held-out payloads, which are compressed once for each size */
#define MAX_HOLDOUT_BYTES (1024 * 1024)
#define MAX_SAMPLES 200000
/* fewer samples than this make no useful dictionary */
#define MIN_SAMPLES 100
/* A larger one must make it and the store together smaller by this factor. */
#define WORTH_ITS_SIZE 1.03
/* nor less than so many times its size */
#define TRAINING_FACTOR 6

static void
samples_init(DictionarySamples *samples, size_t space)
{
	samples->data = MemoryContextAllocHuge(CurrentMemoryContext, space);
	samples->sizes = palloc(MAX_SAMPLES * sizeof(size_t));
	samples->owners = palloc(MAX_SAMPLES * sizeof(uint32));
	samples->count = 0;
	samples->bytes = 0;
}

/* Memory for space bytes to train from, in the current memory context. */
void
sampling_init(Sampling *sampling, size_t space)
{
	memset(sampling, 0, sizeof(*sampling));
	sampling->space = space;
	samples_init(&sampling->training, space);
	sampling->holdout_space =
		Min(space / (SAMPLING_HOLDOUT - 1) + SAMPLING_MAX_SAMPLE_BYTES, MAX_HOLDOUT_BYTES);
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

/* The entry of the account in a table of sampled accounts, made with 0 bytes if it is new. */
SampledAccount *
sampled_account(HTAB *accounts, const text *account_id)
{
	char name[MEMORY_MAX_ACCOUNT_ID_BYTES + 1];
	SampledAccount *account;
	bool found;

	text_to_cstring_buffer(account_id, name, sizeof(name));
	account = hash_search(accounts, name, HASH_ENTER, &found);
	if (!found)
	{
		account->number = (uint32) hash_get_num_entries(accounts) - 1;
		account->bytes = 0;
	}
	return account;
}

static bool
samples_add(DictionarySamples *samples, size_t space, uint32 owner, const char *payload,
			size_t size)
{
	if (samples->count == MAX_SAMPLES || samples->bytes + size > space)
		return false;
	memcpy(samples->data + samples->bytes, payload, size);
	samples->bytes += size;
	samples->owners[samples->count] = owner;
	samples->sizes[samples->count++] = size;
	return true;
}

/*
 * Copies a sample, to be trained from or held out; false: it does not fit.
 * owner is the number of its account.
 */
bool
sampling_put(Sampling *sampling, uint32 owner, const char *sample, size_t size)
{
	if ((sampling->training.count + sampling->holdout.count) % SAMPLING_HOLDOUT ==
			SAMPLING_HOLDOUT - 1 &&
		samples_add(&sampling->holdout, sampling->holdout_space, owner, sample, size))
		return true;
	return samples_add(&sampling->training, sampling->space, owner, sample, size);
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
 * Trains a dictionary of this size; false: there is not enough to train from.
 * only: there is no other to compare it with.
 */
static bool
try_size(const Sampling *sampling, const CommonText *common, size_t size, int level, bool only,
		 Candidate *candidate)
{
	/* zstd's advice is a hundred times as much to learn from; what it gains is measured */
	if (sampling->training.bytes < TRAINING_FACTOR * size)
		return false;
	candidate->bytes = palloc(size);
	candidate->size = dictionary_train(&sampling->training, common, candidate->bytes, size);
	CHECK_FOR_INTERRUPTS();
	if (candidate->size == 0)
		return false;
	candidate->holdout_after =
		dictionary_measure(&sampling->holdout, candidate->bytes, candidate->size, level);
	candidate->cost = only ? 0 : store_cost(sampling, candidate, level);
	return true;
}

/*
 * Tries the sizes, which ascend, until one costs more than the one before.
 * Returns the smallest whose cost is at most WORTH_ITS_SIZE that of the best,
 * because each session that reads holds it in memory; NULL: none was made.
 */
static const Candidate *
best_candidate(const Sampling *sampling, const CommonText *common, const size_t *sizes, int nsizes,
			   int level)
{
	Candidate *candidates = palloc0(mul_size(Max(nsizes, 1), sizeof(Candidate)));
	int n = 0;
	double least = 0;

	for (; n < nsizes && sizes[n] <= (size_t) store_dictionary_max_kb * 1024; n++)
	{
		if (!try_size(sampling, common, sizes[n], level, nsizes == 1, &candidates[n]))
			break;
		if (n > 0 && candidates[n].cost >= least)
			break;
		least = candidates[n].cost;
	}
	for (int i = 0; i < n; i++)
		if (candidates[i].cost <= least * WORTH_ITS_SIZE)
			return &candidates[i];
	return NULL;
}

/* clang-format off */
static PlanStatement dictionary_accounts_statement = {
	"INSERT INTO memory_store.dictionary_accounts (dictionary_id, account_id)"
	" SELECT $1, pg_catalog.unnest($2)"
	" ON CONFLICT DO NOTHING",
	2,
	{INT8OID, TEXTARRAYOID},
};
/* clang-format on */

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
	values[1] = array_datum(TEXTOID, accounts, NULL, i);
	plan_execute(&dictionary_accounts_statement, values, NULL, false);
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
	const Candidate *best;
	DictionaryReport report = {0};
	CommonText common;

	memset(training, 0, sizeof(*training));
	training->samples = sampling->training.count;
	training->accounts = hash_get_num_entries(sampling->accounts);
	if (sampling->training.count < MIN_SAMPLES ||
		training->accounts < store_dictionary_min_accounts)
		return;
	common_text_find(&sampling->training, store_dictionary_min_accounts, &common);

	report.samples = sampling->training.count;
	report.sample_bytes = sampling->training.bytes;
	report.holdout_before =
		dictionary_measure_with(&sampling->holdout, dictionary_current(), level);
	best = best_candidate(sampling, &common, sizes, nsizes, level);
	if (best == NULL)
		return;

	report.holdout_after = best->holdout_after;
	training->measured = true;
	training->gain = 100.0 * (1.0 - (double) report.holdout_after / (double) report.holdout_before);
	if (training->gain < min_gain)
		return;
	training->dictionary_id = dictionary_keep(best->bytes, best->size, &report);
	training->size = best->size;
	if (store_dictionary_min_accounts == 1)
		note_accounts(sampling, training->dictionary_id);
}
