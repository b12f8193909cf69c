/*
 * common_text.c
 *		What may enter a dictionary: text that several accounts have in common.
 *
 * All accounts of a database compress with one dictionary.  If it held text of
 * one account, others could find that text out by how well a guess compresses
 * with it, and erasing the account would leave the text behind.  So the samples
 * are cut into windows of COMMON_WINDOW bytes, one at each offset, and only
 * those windows pass that occur in the samples of enough accounts.  Windows
 * that overlap are joined to runs.
 *
 * Windows are counted by a hash of 64 bits in a table of a fixed size.  If
 * there are more windows than it has room for, the samples are read several
 * times, and each pass counts the windows of one part of the hash's range.  The
 * hash has a random seed, so that nobody can make up a text whose windows
 * collide with another's.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "common_text.h"

/*
 * An entry of the table is one number: 0 for an empty place, or from above TAG_BITS
 * of the window's hash, the last account that has it, and how many have it.
 * Accounts' numbers that are too large are cut, so that two accounts can be taken
 * for one; a window then counts as less common than it is.
 */
#define TAG_BITS 38
#define OWNER_BITS 20
#define COUNT_BITS 6
#define TAG_MASK (~UINT64CONST(0) << (64 - TAG_BITS))
#define OWNER_MASK (((UINT64CONST(1) << OWNER_BITS) - 1) << COUNT_BITS)
#define COUNT_MASK ((UINT64CONST(1) << COUNT_BITS) - 1)

/* the table's entries: 16 MB for little text, else 32 MB */
#define SMALL_ENTRIES ((uint64) 1 << 21)
#define SMALL_TEXT ((size_t) 4 * 1024 * 1024)
#define LARGE_ENTRIES ((uint64) 1 << 22)
/* of which so many, in hundred, are used on average, and at most */
#define USUAL_LOAD 60
#define MOST_LOAD 85
/* windows that are looked up together */
#define BATCH 64

typedef struct Window
{
	uint64 hash;
	size_t offset; /* in the samples' data */
} Window;

typedef struct WindowSearch
{
	const DictionarySamples *samples;
	uint32 *order;  /* the samples, those of one account together */
	size_t *starts; /* of the samples in data */
	uint32 min_accounts;
	uint64 seeds[2];
	uint32 passes;
	uint64 *table;
	uint64 mask;   /* entries of the table, less one */
	uint64 used;   /* entries that are used */
	uint8 *common; /* a bit for each byte of data: a window that begins here is common */
} WindowSearch;

static inline uint64
window_hash(const WindowSearch *search, const char *window)
{
	uint64 first;
	uint64 second;
	uint64 hash;

	memcpy(&first, window, sizeof(first));
	memcpy(&second, window + sizeof(first), sizeof(second));
	hash = first * search->seeds[0];
	hash = (hash ^ (hash >> 32) ^ second) * search->seeds[1];
	hash ^= hash >> 29;
	hash *= UINT64CONST(0xD6E8FEB86659FD93);
	hash ^= hash >> 32;
	/* an entry, which has the upper bits, is not 0 */
	return hash | (UINT64CONST(1) << 63);
}

/* The pass that counts windows with this hash. */
static inline uint32
window_pass(const WindowSearch *search, uint64 hash)
{
	return (uint32) ((((hash >> 31) & PG_UINT32_MAX) * search->passes) >> 32);
}

/* The window's entry, or the empty place where it belongs. */
static inline uint64 *
window_entry(const WindowSearch *search, uint64 hash)
{
	uint64 place = hash & search->mask;

	while (search->table[place] != 0 && ((search->table[place] ^ hash) & TAG_MASK) != 0)
		place = (place + 1) & search->mask;
	return &search->table[place];
}

/* Counts one more account for a window, once for each account. */
static inline void
count_window(WindowSearch *search, uint64 hash, uint32 owner)
{
	uint64 *entry = window_entry(search, hash);
	uint64 owner_bits = ((uint64) owner << COUNT_BITS) & OWNER_MASK;

	if (*entry == 0)
	{
		/* A full table would be searched for ever: what has no room counts as not common. */
		if (search->used >= search->mask / 100 * MOST_LOAD)
			return;
		search->used++;
		*entry = (hash & TAG_MASK) | owner_bits | 1;
	}
	else if ((*entry & OWNER_MASK) != owner_bits)
	{
		uint64 count = Min((*entry & COUNT_MASK) + 1, COUNT_MASK);

		*entry = (hash & TAG_MASK) | owner_bits | count;
	}
}

/*
 * The windows of a sample that this pass looks at, BATCH at a time: their places
 * in the table, which is larger than the processor's caches, are fetched while
 * the hashes of the next ones are computed.  Returns how many; *offset is where
 * to go on.
 */
static int
next_windows(const WindowSearch *search, uint32 sample, uint32 pass, size_t *offset,
			 Window *windows)
{
	size_t start = search->starts[sample];
	const char *data = search->samples->data + start;
	size_t size = search->samples->sizes[sample];
	size_t i = *offset;
	int n = 0;

	for (; n < BATCH && i + COMMON_WINDOW <= size; i++)
	{
		uint64 hash = window_hash(search, data + i);

		/* without a branch, which could not be predicted: the next one takes the place if not */
		windows[n].hash = hash;
		windows[n].offset = start + i;
		n += window_pass(search, hash) == pass;
	}
	for (int j = 0; j < n; j++)
		__builtin_prefetch(&search->table[windows[j].hash & search->mask]);
	*offset = i;
	return n;
}

static void
count_sample(WindowSearch *search, uint32 sample, uint32 pass)
{
	Window windows[BATCH];
	size_t offset = 0;
	int n;

	while ((n = next_windows(search, sample, pass, &offset, windows)) > 0)
		for (int i = 0; i < n; i++)
			count_window(search, windows[i].hash, search->samples->owners[sample]);
}

static void
mark_sample(WindowSearch *search, uint32 sample, uint32 pass)
{
	Window windows[BATCH];
	size_t offset = 0;
	int n;

	while ((n = next_windows(search, sample, pass, &offset, windows)) > 0)
		for (int i = 0; i < n; i++)
			if ((*window_entry(search, windows[i].hash) & COUNT_MASK) >= search->min_accounts)
				search->common[windows[i].offset / 8] |= 1 << (windows[i].offset % 8);
}

/* One part of the windows: all are counted before the first is marked. */
static void
search_pass(WindowSearch *search, uint32 pass)
{
	memset(search->table, 0, (search->mask + 1) * sizeof(uint64));
	search->used = 0;
	for (uint32 i = 0; i < search->samples->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		count_sample(search, search->order[i], pass);
	}
	for (uint32 i = 0; i < search->samples->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		mark_sample(search, i, pass);
	}
}

static int
compare_owners(const void *a, const void *b, void *arg)
{
	const uint32 *owners = arg;
	uint32 x = owners[*(const uint32 *) a];
	uint32 y = owners[*(const uint32 *) b];

	return x < y ? -1 : x > y;
}

/* The samples' places, and their order by account, so that each account is counted once. */
static void
search_init(WindowSearch *search, const DictionarySamples *samples, uint32 min_accounts)
{
	size_t start = 0;
	uint64 entries = samples->bytes <= SMALL_TEXT ? SMALL_ENTRIES : LARGE_ENTRIES;

	search->samples = samples;
	search->min_accounts = min_accounts;
	search->order = palloc(mul_size(Max(samples->count, 1), sizeof(uint32)));
	search->starts = palloc(mul_size(Max(samples->count, 1), sizeof(size_t)));
	for (uint32 i = 0; i < samples->count; i++)
	{
		search->order[i] = i;
		search->starts[i] = start;
		start += samples->sizes[i];
	}
	qsort_arg(search->order, samples->count, sizeof(uint32), compare_owners, samples->owners);
	if (!pg_strong_random(search->seeds, sizeof(search->seeds)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random bits")));
	search->seeds[0] |= 1;
	search->seeds[1] |= 1;

	search->mask = entries - 1;
	search->passes = (uint32) (samples->bytes / (entries / 100 * USUAL_LOAD)) + 1;
	search->table = MemoryContextAllocHuge(CurrentMemoryContext, entries * sizeof(uint64));
	search->common = MemoryContextAllocHuge(CurrentMemoryContext, samples->bytes / 8 + 1);
	memset(search->common, 0, samples->bytes / 8 + 1);
}

static inline bool
is_common(const WindowSearch *search, size_t offset)
{
	return (search->common[offset / 8] >> (offset % 8) & 1) != 0;
}

static void
add_run(CommonText *common, size_t *space, size_t offset, size_t size)
{
	if (common->nruns == *space)
	{
		*space = *space == 0 ? 1024 : *space * 2;
		common->runs = common->runs == NULL
						   ? palloc(mul_size(*space, sizeof(CommonRun)))
						   : repalloc_huge(common->runs, mul_size(*space, sizeof(CommonRun)));
	}
	common->runs[common->nruns].offset = offset;
	common->runs[common->nruns].size = size;
	common->nruns++;
	common->bytes += size;
}

/* Joins common windows that follow each other. */
static void
join_windows(const WindowSearch *search, CommonText *common)
{
	size_t space = 0;

	for (uint32 i = 0; i < search->samples->count; i++)
	{
		size_t offset = search->starts[i];
		size_t end = offset + search->samples->sizes[i];

		CHECK_FOR_INTERRUPTS();
		while (offset < end)
		{
			size_t first = offset;

			while (offset < end && is_common(search, offset))
				offset++;
			if (offset > first)
				add_run(common, &space, first, offset - first + COMMON_WINDOW - 1);
			offset++;
		}
	}
}

/* Each sample as a whole. */
static void
take_all(const DictionarySamples *samples, CommonText *common)
{
	size_t space = 0;
	size_t offset = 0;

	for (uint32 i = 0; i < samples->count; i++)
	{
		add_run(common, &space, offset, samples->sizes[i]);
		offset += samples->sizes[i];
	}
}

void
common_text_find(const DictionarySamples *samples, uint32 min_accounts, CommonText *common)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext scratch;
	WindowSearch search;

	memset(common, 0, sizeof(*common));
	if (min_accounts <= 1)
	{
		take_all(samples, common);
		return;
	}
	scratch = AllocSetContextCreate(old, "memory_ext common text", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);
	search_init(&search, samples, min_accounts);
	for (uint32 pass = 0; pass < search.passes; pass++)
		search_pass(&search, pass);
	MemoryContextSwitchTo(old);
	join_windows(&search, common);
	MemoryContextDelete(scratch);
}
