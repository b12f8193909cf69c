/*
 * sampling.h
 *		Training a dictionary from samples, whatever they are taken from.
 */
#ifndef STORE_SAMPLING_H
#define STORE_SAMPLING_H

#include "postgres.h"

#include "utils/hsearch.h"

#include "dictionary.h"
#include "memory_limits.h"

/* One sample of so many is held out, to measure a dictionary by. */
#define SAMPLING_HOLDOUT 10
/* A longer sample is cut. */
#define SAMPLING_MAX_SAMPLE_BYTES (32 * 1024)

typedef struct SampledAccount
{
	char account[MEMORY_MAX_ACCOUNT_ID_BYTES + 1]; /* hash key */
	uint32 number;                                 /* from 0, in the order of coming */
	int64 bytes;
} SampledAccount;

typedef struct Sampling
{
	DictionarySamples training;
	DictionarySamples holdout;
	size_t space; /* of the training's data */
	size_t holdout_space;
	HTAB *accounts; /* of SampledAccount */
	int64 seen;     /* raw bytes of all that is to be compressed */
	int64 corrupt;  /* segments that could not be read */
} Sampling;

/* What came of a training; dictionary_id 0: nothing was kept. */
typedef struct Training
{
	uint32 dictionary_id;
	size_t size;
	uint32 samples;
	int64 accounts;
	bool measured;
	double gain; /* percent; if measured */
} Training;

extern void sampling_init(Sampling *sampling, size_t space);
extern bool sampling_put(Sampling *sampling, uint32 owner, const char *sample, size_t size);
extern HTAB *sampled_accounts_create(void);
extern SampledAccount *sampled_account(HTAB *accounts, const text *account_id);
extern void sampling_train(const Sampling *sampling, const size_t *sizes, int nsizes, int level,
						   double min_gain, Training *training);

#endif /* STORE_SAMPLING_H */
