/*
 * dictionary_train.c
 *		A zstd dictionary made from the text that accounts have in common.
 *
 * The text is chosen as COVER does (Liao et al., "Effective Construction of
 * Relative Lempel-Ziv Dictionaries", 2016; zstd's own trainer is of this kind):
 * how many samples have each piece of DMER bytes is counted in a table of
 * hashes; in each of a few rounds every part of the text gives the segment whose
 * pieces, each counted once, occur in the most samples for its length; and the
 * pieces of a segment that was taken count no more.  Beside zstd's, a segment
 * never goes beyond the run of common text that it is in, so that it says
 * nothing about what stood next to it.
 *
 * zstd adds the tables of its entropy coders, which come from the frequencies
 * of bytes, lengths and distances over all samples.
 */
#include "postgres.h"

#define ZDICT_STATIC_LINKING_ONLY
#include <zdict.h>
#include <zstd_errors.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "common_text.h"
#include "dictionary.h"

#define DMER 8
/* bytes of a segment, and the logarithm of the number of counters */
#define SEGMENT 400
#define HASH_LOG 20
/* of so little text, fewer are as good */
#define SMALL_TEXT (4 * 1024 * 1024)
#define SMALL_HASH_LOG 18
/* A dictionary so large packs better of long segments, counted more exactly. */
#define LARGE_DICTIONARY (1024 * 1024)
#define LARGE_SEGMENT 1400
#define LARGE_HASH_LOG 23
/* the content is chosen in about so many rounds over the text */
#define ROUNDS 4
/* a part has at least so many segments to choose from */
#define MIN_CHOICE 10
/* what zstd's tables take at most, beside the content */
#define TABLES_BYTES 512

/* What is known while the segments are chosen. */
typedef struct Cover
{
	char *text;       /* all runs, one after another */
	size_t *run_ends; /* in text */
	size_t nruns;
	size_t bytes;
	size_t segment;
	int hash_shift;
	uint32 *counts; /* of samples that have a piece, by its hash; 0 once it was taken */
	uint16 *window; /* how often the window that is looked at has it */
} Cover;

/* A stretch of text, and what it is worth. */
typedef struct Stretch
{
	size_t begin;
	size_t end;
	uint64 score;
} Stretch;

static inline uint32
piece_hash(const Cover *cover, size_t offset)
{
	uint64 piece;

	memcpy(&piece, cover->text + offset, sizeof(piece));
	return (uint32) ((piece * UINT64CONST(0xCF1BBCDCB7A56463)) >> cover->hash_shift);
}

/* The number of the run that has this offset. */
static size_t
run_of(const Cover *cover, size_t offset)
{
	size_t low = 0;
	size_t high = cover->nruns;

	while (low < high)
	{
		size_t middle = low + (high - low) / 2;

		if (cover->run_ends[middle] <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Whether a is worth more for its length than b; each costs a match beside its bytes. */
static inline bool
better(const Stretch *a, const Stretch *b)
{
	return (double) a->score * (double) (b->end - b->begin + DMER) >
		   (double) b->score * (double) (a->end - a->begin + DMER);
}

/* The best segment that lies in [begin, end), which is in one run. */
static void
best_in_run(Cover *cover, size_t begin, size_t end, Stretch *best)
{
	Stretch now = {.begin = begin, .end = begin, .score = 0};

	while (now.end + DMER <= end)
	{
		uint32 hash = piece_hash(cover, now.end);

		if (cover->window[hash]++ == 0)
			now.score += cover->counts[hash];
		now.end++;
		/* the window holds whole pieces only */
		if (now.end - now.begin + DMER - 1 > cover->segment)
		{
			hash = piece_hash(cover, now.begin);
			if (--cover->window[hash] == 0)
				now.score -= cover->counts[hash];
			now.begin++;
		}
		if (now.end - now.begin + DMER - 1 == cover->segment || now.end + DMER > end)
		{
			Stretch whole = {now.begin, now.end + DMER - 1, now.score};

			if (better(&whole, best))
				*best = whole;
		}
	}
	for (size_t i = now.begin; i < now.end; i++)
		cover->window[piece_hash(cover, i)] = 0;
}

/* The best segment of a part of the text; score 0: nothing is left there. */
static Stretch
best_of_part(Cover *cover, size_t begin, size_t end)
{
	Stretch best = {.begin = begin, .end = begin, .score = 0};

	for (size_t run = run_of(cover, begin); begin < end; run++)
	{
		size_t run_end = Min(cover->run_ends[run], end);

		best_in_run(cover, begin, run_end, &best);
		begin = run_end;
	}
	return best;
}

/* Cuts off what counts nothing at both ends, and lets the rest count no more. */
static void
take_segment(Cover *cover, Stretch *segment)
{
	size_t last = segment->end - DMER;

	while (segment->begin < last && cover->counts[piece_hash(cover, segment->begin)] == 0)
		segment->begin++;
	while (last > segment->begin && cover->counts[piece_hash(cover, last)] == 0)
		last--;
	segment->end = last + DMER;
	for (size_t i = segment->begin; i <= last; i++)
		cover->counts[piece_hash(cover, i)] = 0;
}

/*
 * Leaves out of the text what counts nothing any more at both ends of a run, so
 * that later rounds have less to read.
 */
static void
drop_taken(Cover *cover)
{
	size_t begin = 0;
	size_t kept_runs = 0;
	size_t kept = 0;

	for (size_t run = 0; run < cover->nruns; run++)
	{
		size_t end = cover->run_ends[run];
		size_t first = begin;
		size_t last = end;

		while (first + DMER <= last && cover->counts[piece_hash(cover, first)] == 0)
			first++;
		while (first + DMER <= last && cover->counts[piece_hash(cover, last - DMER)] == 0)
			last--;
		if (first + DMER <= last)
		{
			memmove(cover->text + kept, cover->text + first, last - first);
			kept += last - first;
			cover->run_ends[kept_runs++] = kept;
		}
		begin = end;
	}
	cover->nruns = kept_runs;
	cover->bytes = kept;
}

/*
 * One round: each part of the text, part_bytes long, puts its best segment before
 * the content that is there.  Returns how many gave one.
 */
static size_t
choose_round(Cover *cover, size_t part_bytes, char *content, size_t *left)
{
	size_t taken = 0;

	for (size_t begin = 0; begin<cover->bytes && * left> 0; begin += part_bytes)
	{
		Stretch best = best_of_part(cover, begin, Min(begin + part_bytes, cover->bytes));
		size_t size;

		CHECK_FOR_INTERRUPTS();
		if (best.score == 0)
			continue;
		take_segment(cover, &best);
		size = Min(best.end - best.begin, *left);
		*left -= size;
		memcpy(content + *left, cover->text + best.begin, size);
		taken++;
	}
	return taken;
}

/*
 * Fills content from its end with the best segments, so that the first chosen
 * have the shortest distances.  Runs can be shorter than a segment; how many
 * parts a round has follows from how long its segments were in the round before.
 * Returns how much was filled.
 */
static size_t
choose_segments(Cover *cover, char *content, size_t size)
{
	size_t left = size;
	size_t usual = Min(cover->bytes / Max(cover->nruns, 1) + 1, cover->segment);
	size_t taken = 1;

	for (int round = 0; left > 0 && taken > 0; round++)
	{
		size_t before = left;
		size_t parts = Max(left / usual / Max(ROUNDS - round, 1), 1);

		taken =
			choose_round(cover, Max(cover->bytes / parts + 1, usual * MIN_CHOICE), content, &left);
		if (taken > 0)
			usual = (before - left) / taken + 1;
		drop_taken(cover);
	}
	memmove(content, content + left, size - left);
	return size - left;
}

static int
counters_log(const DictionarySamples *samples, size_t size)
{
	if (size >= LARGE_DICTIONARY)
		return LARGE_HASH_LOG;
	return samples->bytes <= SMALL_TEXT ? SMALL_HASH_LOG : HASH_LOG;
}

/* Copies the runs together and counts how many samples have each of their pieces. */
static void
cover_init(Cover *cover, const DictionarySamples *samples, const CommonText *common, size_t size)
{
	int hash_log = counters_log(samples, size);
	size_t counters = (size_t) 1 << hash_log;
	char *text = MemoryContextAllocHuge(CurrentMemoryContext, Max(common->bytes, 1));
	size_t *ends = MemoryContextAllocHuge(CurrentMemoryContext,
										  mul_size(Max(common->nruns, 1), sizeof(size_t)));
	uint32 *seen = palloc0(counters * sizeof(uint32));
	size_t sample_end = 0;
	uint32 sample = 0;
	size_t filled = 0;

	cover->segment = size >= LARGE_DICTIONARY ? LARGE_SEGMENT : SEGMENT;
	cover->hash_shift = 64 - hash_log;
	cover->counts = palloc0(counters * sizeof(uint32));
	cover->window = palloc0(counters * sizeof(uint16));
	cover->text = text;
	for (size_t i = 0; i < common->nruns; i++)
	{
		const CommonRun *run = &common->runs[i];

		/* samples are numbered from 1, so that 0 has seen none */
		while (sample_end <= run->offset)
			sample_end += samples->sizes[sample++];
		memcpy(text + filled, samples->data + run->offset, run->size);
		for (size_t j = filled; j + DMER <= filled + run->size; j++)
		{
			uint32 hash = piece_hash(cover, j);

			if (seen[hash] != sample)
			{
				seen[hash] = sample;
				cover->counts[hash]++;
			}
		}
		filled += run->size;
		ends[i] = filled;
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	cover->run_ends = ends;
	cover->nruns = common->nruns;
	cover->bytes = filled;
	pfree(seen);
}

size_t
dictionary_train(const DictionarySamples *samples, const CommonText *common, char *bytes,
				 size_t size)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext training", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	ZDICT_params_t parameters = {0};
	Cover cover;
	char *content;
	size_t filled;
	size_t result = 0;

	cover_init(&cover, samples, common, size);
	content = palloc(size);
	filled = choose_segments(&cover, content, size - TABLES_BYTES);
	if (filled >= ZDICT_CONTENTSIZE_MIN)
	{
		result = ZDICT_finalizeDictionary(bytes, size, content, filled, samples->data,
										  samples->sizes, samples->count, parameters);
		if (ZDICT_isError(result))
		{
			if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
				ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
								errdetail("zstd could not make a dictionary.")));
			result = 0;
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return result;
}
