/*
 * common_text.h
 *		The parts of samples that several accounts have in common, and
 *		dictionaries made of them.
 */
#ifndef TRANSCRIPT_COMMON_TEXT_H
#define TRANSCRIPT_COMMON_TEXT_H

#include "postgres.h"

#include "dictionary.h"

/* Text is compared in pieces of so many bytes. */
#define COMMON_WINDOW 16
/* the largest min_accounts */
#define COMMON_MAX_ACCOUNTS 60

/* Text that may enter a dictionary: size bytes of the samples, from an offset. */
typedef struct CommonRun
{
	size_t offset;
	size_t size;
} CommonRun;

typedef struct CommonText
{
	CommonRun *runs; /* in the order of their offsets; they may overlap */
	size_t nruns;
	size_t bytes; /* of all runs */
} CommonText;

/*
 * The parts of the samples of which every COMMON_WINDOW bytes occur in the
 * samples of at least min_accounts accounts; all of them if that is 1.  The
 * result is in the current memory context.  Interruptible.
 */
extern void
common_text_find(const DictionarySamples *samples, uint32 min_accounts, CommonText *common);

/*
 * Makes a dictionary of at most size bytes, which is 1 kB or more, of the
 * samples' common text, in bytes.  Returns its size, 0 when there is not enough
 * text for one.  Interruptible, but for a second or so in zstd.
 */
extern size_t dictionary_train(const DictionarySamples *samples, const CommonText *common,
							   char *bytes, size_t size);

#endif /* TRANSCRIPT_COMMON_TEXT_H */
