/*
 * dictionary.h
 *		zstd dictionaries: looked up by id, trained from payloads.
 */
#ifndef TRANSCRIPT_DICTIONARY_H
#define TRANSCRIPT_DICTIONARY_H

#include "postgres.h"

#include <zstd.h>

typedef struct Dictionary Dictionary;

/* Payloads to train from, one after another. */
typedef struct DictionarySamples
{
	char *data;
	size_t *sizes;
	uint32 *owners; /* the account of each, as a number */
	uint32 count;
	size_t bytes;
} DictionarySamples;

/* What is known of a new dictionary. */
typedef struct DictionaryReport
{
	int64 samples;
	int64 sample_bytes;
	int64 holdout_before; /* bytes of the held-out payloads without it */
	int64 holdout_after;  /* and with it */
} DictionaryReport;

/* Defines the room's settings for dictionaries; called by transcript_init. */
extern void dictionary_init(void);

/*
 * The id of the dictionary that new segments are compressed with, 0 if there
 * is none; it is locked against being dropped until the transaction ends.
 */
extern uint32 dictionary_current(void);

/* Another dictionary may be the current one now: ask again. */
extern void dictionary_changed(void);

/*
 * Locks a dictionary to the end of the transaction: shared by those who write
 * with it, exclusively by whoever drops it.
 */
extern void dictionary_lock(uint32 id, bool exclusive);

/*
 * Before writing with a dictionary that somebody has named: the shared lock,
 * and that it is still there, which a cache does not say.  Error: XX001.
 */
extern void dictionary_use(uint32 id);

/*
 * To the end of the transaction, one trains, or any number erase accounts: so
 * whoever erases one sees every dictionary that was trained on it, and whoever
 * trains sees none of its text.
 */
extern void dictionary_lock_training(bool trains);

/* The same for one who trains, without waiting; false: somebody else has it. */
extern bool dictionary_try_lock_training(void);

/* Whether new segments may use a dictionary: memory_ext.use_dictionary. */
extern bool dictionary_enabled(void);

/* Bytes of the samples, each compressed alone, without (size 0) or with a dictionary. */
extern size_t
dictionary_measure(const DictionarySamples *samples, const char *bytes, size_t size, int level);

/* The same with a dictionary of the database; id 0: without one. */
extern size_t dictionary_measure_with(const DictionarySamples *samples, uint32 id, int level);

/* What a dictionary takes in its table. */
extern size_t dictionary_stored_bytes(const char *bytes, size_t size);

/*
 * Stores a dictionary, makes it the current one and returns its id.  The same
 * bytes again are the same dictionary.
 */
extern uint32 dictionary_keep(const char *bytes, size_t size, const DictionaryReport *report);

/*
 * The dictionary with this id, which stays valid until the next call.  Error:
 * XX001, which names the id, when it is not in this database.
 */
extern const Dictionary *dictionary_get(uint32 id);

/* Digested forms, made at first use and kept with the dictionary. */
extern const ZSTD_CDict *dictionary_compressor(const Dictionary *dictionary, int level);
extern const ZSTD_DDict *dictionary_decompressor(const Dictionary *dictionary);

#endif /* TRANSCRIPT_DICTIONARY_H */
