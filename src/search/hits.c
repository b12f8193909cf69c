/*
 * hits.c
 *		The best of what was found: a list of limited length, in order.
 */
#include "postgres.h"

#include "search_private.h"

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

/* Puts a hit in its place; false: the list is full of better ones. */
bool
search_hits_add(SearchHits *hits, const SearchHit *hit)
{
	int low = 0;
	int high = hits->count;

	if (hits->count == hits->space && search_compare_hits(hit, &hits->hits[hits->count - 1]) > 0)
		return false;
	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (search_compare_hits(&hits->hits[middle], hit) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (hits->count < hits->space)
		hits->count++;
	memmove(&hits->hits[low + 1], &hits->hits[low], (hits->count - 1 - low) * sizeof(SearchHit));
	hits->hits[low] = *hit;
	return true;
}
