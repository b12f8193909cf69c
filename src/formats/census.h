/*
 * census.h
 *		What a conversation holds besides texts, counted by kind: to tell what a
 *		format could not hold.
 */
#ifndef CENSUS_H
#define CENSUS_H

#include "formats.h"

typedef enum CensusKind
{
	CENSUS_BRANCHES, /* messages that are not on the current branch */
	CENSUS_IMAGES,
	CENSUS_FILES,
	CENSUS_CALLS,
	CENSUS_RESULTS,
	CENSUS_THOUGHTS,
	CENSUS_OTHER, /* parts that are none of these */
	CENSUS_SYSTEM,
	CENSUS_NAMES,
	CENSUS_TITLES,
	CENSUS_MODELS,
	CENSUS_CONVERSATIONS, /* without messages, of formats that are made of these */
	CENSUS_NKINDS
} CensusKind;

typedef struct Census
{
	int64 counts[CENSUS_NKINDS];
} Census;

/* Adds what is lost when the conversation, of the format from (NULL: the store's), is written. */
extern void
census_add_lost(Census *lost, const TransferConversation *conversation, const TransferFormat *from,
				const TransferFormat *to, Jsonb *written, bool many);

/* Adds what another has counted. */
extern void census_add(Census *census, const Census *other);

/* Whether the conversation needs no look: it is all texts, or of the format itself. */
extern bool census_is_plain(const TransferConversation *conversation, const TransferFormat *to);

/* What was lost as an object, {"files": 2}, in the current context; NULL: nothing was. */
extern Jsonb *census_object(const Census *lost);

/* A notice with what was lost, if anything was. */
extern void census_tell(const Census *lost, const TransferFormat *to);

#endif /* CENSUS_H */
