/*
 * rank.c
 *		How well a message fits a query: BM25 (Robertson, Zaragoza 2009).
 *
 * A term weighs the more the fewer entries of the account's blocks may have it.
 * Of alternatives the best counts.  All words in a row, and words in the
 * conversation's title, add to the score.
 */
#include "postgres.h"

#include <math.h>

#include "search_private.h"

#define BM25_K1 1.2
#define BM25_B 0.75
#define PHRASE_BOOST 0.5
#define TITLE_BOOST 0.5
/* A term that is there more often than this is there often. */
#define MAX_COUNT 100

/* All words in a row, where there are several and none has alternatives. */
static void
make_phrase(SearchRanking *ranking)
{
	const SearchQuery *query = ranking->query;
	int npieces = 0;
	int nterms = 0;

	for (int i = 0; i < query->nterms; i++)
	{
		const SearchTerm *term = &query->terms[i];

		if (term->group < 0)
			continue;
		if (term->group != nterms++)
			return;
		memcpy(&ranking->pieces[npieces], term->pieces, term->npieces * sizeof(SearchPiece));
		if (npieces > 0)
			ranking->pieces[npieces].spaced = true;
		else
			ranking->phrase.anchored = term->anchored;
		npieces += term->npieces;
	}
	if (nterms < 2)
		return;
	ranking->phrase.pieces = ranking->pieces;
	ranking->phrase.npieces = npieces;
}

/* Terms weigh alike, and a message is as long as any, until more is known. */
void
search_ranking_init(SearchRanking *ranking, const SearchQuery *query)
{
	memset(ranking, 0, sizeof(*ranking));
	ranking->query = query;
	ranking->average_length = 1;
	for (int i = 0; i < query->nterms; i++)
		ranking->weights[i] = 1;
	make_phrase(ranking);
}

/* Weighs the terms by how many entries have let them pass. */
void
search_ranking_weigh(SearchRanking *ranking, const SearchGather *gather)
{
	if (gather->entries == 0)
		return;
	for (int i = 0; i < ranking->query->nterms; i++)
	{
		double all = gather->entries;
		double having = gather->passed[i];

		ranking->weights[i] = log(1 + (all - having + 0.5) / (having + 0.5));
	}
}

/* The positive terms that a conversation's title has, as bits. */
uint32
search_titled(const SearchRanking *ranking, const char *title, size_t length)
{
	char *folded = palloc(SEARCH_FOLD_SPACE(length));
	size_t folded_length = search_fold(title, length, folded);
	uint32 titled = 0;
	SearchPlace place;

	for (int i = 0; i < ranking->query->nterms; i++)
		if (ranking->query->terms[i].group >= 0 &&
			search_find_term(&ranking->query->terms[i], folded, folded_length, 0, &place))
			titled |= UINT32_C(1) << i;
	pfree(folded);
	return titled;
}

/*
 * Counts how often each term occurs in a message that was found; titled: bits
 * of the terms that the title has.
 */
void
search_count(const SearchRanking *ranking, const SearchFound *found, uint32 titled,
			 SearchCounts *counts)
{
	SearchPlace place;

	memset(counts, 0, sizeof(*counts));
	counts->titled = titled;
	counts->length = found->message->content_len;
	for (int i = 0; i < ranking->query->nterms; i++)
	{
		size_t from = 0;

		if (ranking->query->terms[i].group < 0)
			continue;
		while (
			counts->counts[i] < MAX_COUNT && from < found->length &&
			search_find_term(&ranking->query->terms[i], found->folded, found->length, from, &place))
		{
			counts->counts[i]++;
			from = place.end;
		}
	}
	counts->phrase = ranking->phrase.npieces > 0 &&
					 search_find_term(&ranking->phrase, found->folded, found->length, 0, &place);
}

/*
 * The score of a message by its counts, after BM25, higher where the title has
 * a term or the message the query as a phrase.
 */
double
search_score(const SearchRanking *ranking, const SearchCounts *counts)
{
	double length = (1 - BM25_B) + BM25_B * counts->length / ranking->average_length;
	double best[SEARCH_MAX_TERMS] = {0};
	double score = 0;
	double weights = 0;

	for (int i = 0; i < ranking->query->nterms; i++)
	{
		int group = ranking->query->terms[i].group;
		double weight = ranking->weights[i];
		double count = counts->counts[i];
		double here;

		if (group < 0)
			continue;
		here = weight * count * (BM25_K1 + 1) / (count + BM25_K1 * length);
		if (counts->titled >> i & 1)
			here += TITLE_BOOST * weight;
		best[group] = Max(best[group], here);
		weights += weight;
	}
	for (int i = 0; i < ranking->query->ngroups; i++)
		score += best[i];
	return counts->phrase ? score + PHRASE_BOOST * weights : score;
}
