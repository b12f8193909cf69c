/*
 * hits.c
 *		The best of what was found: a list of limited length, in order.
 */
#include "postgres.h"

#include "search_private.h"
#include "sorted.h"

/* The order of results: score, time, then whatever tells them apart. */
int
search_compare_hits(const void *a, const void *b)
{
	const SearchHit *left = a;
	const SearchHit *right = b;
	int order;

	if (left->score != right->score)
		return left->score > right->score ? -1 : 1;
	if (left->created_at != right->created_at)
		return left->created_at > right->created_at ? -1 : 1;
	order = memcmp(&right->id, &left->id, UUID_LEN);
	if (order != 0)
		return order;
	if (left->seq != right->seq)
		return left->seq > right->seq ? -1 : 1;
	return account_compare(right->account_id, left->account_id);
}

/* A list of at most space > 0 hits, in the current memory context. */
void
search_hits_init(SearchHits *hits, int space)
{
	hits->hits = palloc(mul_size(space, sizeof(SearchHit)));
	hits->count = 0;
	hits->space = space;
}

static int
compare_hits(const void *a, const void *b)
{
	return search_compare_hits(a, b);
}

/* Puts a hit in its place; false: the list is full of better ones. */
bool
search_hits_add(SearchHits *hits, const SearchHit *hit)
{
	size_t place;

	if (hits->count == hits->space && search_compare_hits(hit, &hits->hits[hits->count - 1]) > 0)
		return false;
	place = sorted_place(hit, hits->hits, hits->count, sizeof(SearchHit), compare_hits);
	if (hits->count < hits->space)
		hits->count++;
	memmove(&hits->hits[place + 1], &hits->hits[place],
			(hits->count - 1 - place) * sizeof(SearchHit));
	hits->hits[place] = *hit;
	return true;
}
