/*
 * sampler.c
 *		The first dictionary, from the texts of a bulk load.
 *
 * A load into a database that has no dictionary yet would compress all of its
 * segments without one.  So while the rows of a bulk INSERT or COPY on
 * memory.messages are gathered, some of their texts are set aside; if there is
 * enough content at the statement's end, a small dictionary is trained from
 * them before the first segment is written.  It takes less time than its
 * segments save.  It belongs to the statement's transaction, and goes with it
 * if that fails; maintain() trains a larger one later.
 *
 * A sampler lives in the statement's context.  It takes runs of rows, evenly
 * spread: when its space is full, every second sample is dropped, and from then
 * on half as many are taken.  An account whose samples were all dropped stays
 * noted, which is one recompression more when it is forgotten.
 *
 * The lock of training is only tried: where somebody else trains, or erases an
 * account, the load goes on without a dictionary, and waits for nobody.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "dictionary.h"
#include "sampler.h"
#include "sampling.h"
#include "statement.h"
#include "store_private.h"

#define SPACE ((size_t) 2 * 1024 * 1024)
#define FIRST_SPACE ((size_t) 64 * 1024)
#define MAX_SAMPLES (64 * 1024)
/* So many rows follow each other in a sample, as they do in a segment. */
#define RUN_ROWS 16

/* A larger one saves more, but not the time that it takes. */
static const size_t candidate_sizes[] = {110 * 1024};

struct StoreSampler
{
	MemoryContext context;
	HTAB *accounts;
	DictionarySamples samples;
	size_t space;
	int64 seen; /* bytes of content */
	int64 rows;
	int64 stride; /* one run of so many is taken */
	pg_uuid_t last;
	bool open; /* the last sample can go on */
};

/* A sampler in this context; NULL: the database has a dictionary, or shall have none. */
StoreSampler *
sampler_create(MemoryContext context)
{
	MemoryContext old;
	StoreSampler *sampler;

	if (!store_auto_dictionary || !dictionary_enabled() || account_confined() != NULL ||
		transcript_default_compression().codec != TRANSCRIPT_ZSTD || dictionary_current() != 0)
		return NULL;
	old = MemoryContextSwitchTo(context);
	sampler = palloc0(sizeof(StoreSampler));
	sampler->context = context;
	sampler->accounts = sampled_accounts_create();
	sampler->space = FIRST_SPACE;
	sampler->samples.data = palloc(sampler->space);
	sampler->samples.sizes = palloc(MAX_SAMPLES * sizeof(size_t));
	sampler->samples.owners = palloc(MAX_SAMPLES * sizeof(uint32));
	sampler->stride = 1;
	MemoryContextSwitchTo(old);
	return sampler;
}

/* Drops every second sample. */
static void
thin_out(StoreSampler *sampler)
{
	DictionarySamples *samples = &sampler->samples;
	size_t from = 0;
	size_t to = 0;
	uint32 kept = 0;

	for (uint32 i = 0; i < samples->count; i++)
	{
		size_t size = samples->sizes[i];

		if (i % 2 == 0)
		{
			memmove(samples->data + to, samples->data + from, size);
			to += size;
			samples->owners[kept] = samples->owners[i];
			samples->sizes[kept++] = size;
		}
		from += size;
	}
	samples->count = kept;
	samples->bytes = to;
	sampler->stride *= 2;
	sampler->open = false;
}

/* Whether so many bytes more fit, as a sample of their own. */
static bool
make_room(StoreSampler *sampler, size_t size)
{
	while (sampler->samples.bytes + size > sampler->space && sampler->space < SPACE)
	{
		sampler->space *= 2;
		sampler->samples.data = repalloc(sampler->samples.data, sampler->space);
	}
	return sampler->samples.bytes + size <= sampler->space && sampler->samples.count < MAX_SAMPLES;
}

/* Shows the sampler the next row's content. */
void
sampler_add(StoreSampler *sampler, const text *account_id, const pg_uuid_t *id, const char *content,
			uint32 length)
{
	DictionarySamples *samples = &sampler->samples;
	size_t size = Min(length, SAMPLING_MAX_SAMPLE_BYTES);
	bool taken = sampler->rows / RUN_ROWS % sampler->stride == 0;

	sampler->rows++;
	sampler->seen += length;
	if (!taken || size == 0)
	{
		sampler->open &= taken;
		return;
	}
	if (!make_room(sampler, size))
	{
		thin_out(sampler);
		if ((sampler->rows - 1) / RUN_ROWS % sampler->stride != 0 || !make_room(sampler, size))
			return;
	}

	memcpy(samples->data + samples->bytes, content, size);
	samples->bytes += size;
	if (sampler->open && memcmp(&sampler->last, id, UUID_LEN) == 0 &&
		samples->sizes[samples->count - 1] + size <= SAMPLING_MAX_SAMPLE_BYTES)
		samples->sizes[samples->count - 1] += size;
	else
	{
		samples->owners[samples->count] = sampled_account(sampler->accounts, account_id)->number;
		samples->sizes[samples->count++] = size;
	}
	sampler->last = *id;
	sampler->open = true;
}

/* clang-format off */
static PlanStatement training_tried_statement = {
	"SELECT"
	" FROM memory_store.trainings LIMIT 1",
	0,
	{0},
};
/* clang-format on */

/*
 * Trains a dictionary if there is enough to train from and still none.  Called
 * before the statement writes its first segment.  Needs an SPI connection.
 */
void
sampler_train(StoreSampler *sampler)
{
	DictionarySamples *samples = &sampler->samples;
	MemoryContext scratch;
	MemoryContext old;
	Sampling sampling;
	Training training;
	size_t offset = 0;

	if (sampler->seen < (int64) store_dictionary_min_kb * 1024 || !dictionary_try_lock_training())
		return;
	/* somebody else's may have been committed by now; or one was tried, and saved too little */
	dictionary_changed();
	if (dictionary_current() != 0 || plan_execute(&training_tried_statement, NULL, NULL, false) > 0)
		return;

	scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext training", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	sampling_init(&sampling, samples->bytes);
	for (uint32 i = 0; i < samples->count; i++)
	{
		(void) sampling_put(&sampling, samples->owners[i], samples->data + offset,
							samples->sizes[i]);
		offset += samples->sizes[i];
	}
	sampling.accounts = sampler->accounts;
	sampling.seen = sampler->seen;
	sampling_train(&sampling, candidate_sizes, lengthof(candidate_sizes),
				   transcript_default_compression().level, store_dictionary_min_gain, &training);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}
