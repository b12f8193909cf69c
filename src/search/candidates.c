/*
 * candidates.c
 *		Ranges of messages that may hold what is searched.
 *
 * They come from an account's blocks, where the filters of an entry let the
 * query through; and from its conversations that have changed since the
 * revision that the blocks go to, whose later messages are in no entry yet.  So
 * nothing is passed over: an entry has all words of the messages in its range
 * up to that revision.  Where the blocks are not complete, whyever, every
 * conversation is a candidate.
 *
 * Candidates are found in the order of blocks and needed latest first.  As
 * many are kept as a part of work_mem holds; the others are looked for anew when
 * these have been gone through.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "search_private.h"

/* memory_ext.search_blocks */
bool search_use_blocks = true;

#define MIN_CANDIDATES 1024

/* ---- filters ---- */

typedef struct ElementList
{
	uint64 *elements;
	int count;
	int space;
} ElementList;

static void
add_element(void *arg, uint64_t element)
{
	ElementList *list = arg;

	if (list->count == list->space)
	{
		list->space *= 2;
		list->elements = repalloc(list->elements, mul_size(list->space, sizeof(uint64)));
	}
	list->elements[list->count++] = element;
}

/* What the query's terms are looked for by, in the current memory context. */
SearchProbe *
search_probe(const SearchQuery *query)
{
	SearchProbe *probe = palloc0(sizeof(SearchProbe));
	ElementList list = {palloc(64 * sizeof(uint64)), 0, 64};

	probe->nterms = query->nterms;
	probe->ngroups = query->ngroups;
	for (int i = 0; i < query->nterms; i++)
	{
		probe->group[i] = query->terms[i].group;
		probe->first[i] = list.count;
		if (query->terms[i].group >= 0)
			search_term_elements(&query->terms[i], add_element, &list);
	}
	probe->first[query->nterms] = list.count;
	probe->elements = list.elements;
	return probe;
}

static bool
may_have_term(const SearchProbe *probe, int term, const SearchEntry *entry)
{
	for (int i = probe->first[term]; i < probe->first[term + 1]; i++)
		if (!search_filter_has(entry->filter, entry->filter_bytes, entry->extra,
							   probe->elements[i]))
			return false;
	return true;
}

/* The positive terms that the entry's range may have, as bits. */
uint64
search_probe_terms(const SearchProbe *probe, const SearchEntry *entry)
{
	uint64 terms = 0;

	for (int i = 0; i < probe->nterms; i++)
		if (probe->group[i] >= 0 &&
			((entry->flags & SEARCH_ENTRY_ERASED) != 0 || may_have_term(probe, i, entry)))
			terms |= UINT64CONST(1) << i;
	return terms;
}

/* Whether these terms have one of each group. */
bool
search_probe_passes(const SearchProbe *probe, uint64 terms)
{
	int found = -1;

	for (int i = 0; i < probe->nterms; i++)
		if (probe->group[i] == found + 1 && (terms >> i & 1) != 0)
			found++;
	return found == probe->ngroups - 1;
}

/* The same as both, without looking at more than it takes. */
static bool
passes(const SearchProbe *probe, const SearchEntry *entry)
{
	int found = -1;

	if ((entry->flags & SEARCH_ENTRY_ERASED) != 0)
		return true;
	for (int i = 0; i < probe->nterms; i++)
	{
		if (probe->group[i] > found + 1)
			return false;
		if (probe->group[i] == found + 1 && may_have_term(probe, i, entry))
			found++;
	}
	return found == probe->ngroups - 1;
}

/* ---- the candidates that are kept ---- */

/* The order in which candidates are gone through: latest first, and each its place. */
int
search_compare_candidates(const void *a, const void *b)
{
	const SearchCandidate *left = a;
	const SearchCandidate *right = b;
	int order;

	if (left->last_at != right->last_at)
		return left->last_at > right->last_at ? -1 : 1;
	order = memcmp(&left->id, &right->id, UUID_LEN);
	if (order != 0)
		return order;
	if (left->first_seq != right->first_seq)
		return left->first_seq < right->first_seq ? -1 : 1;
	if (left->newer != right->newer)
		return left->newer ? -1 : 1;
	return account_compare(left->account_id, right->account_id);
}

/* The heap's first is the one that has to go. */
static void
sift_down(SearchGather *gather, int at)
{
	SearchCandidate *heap = gather->candidates;

	for (;;)
	{
		int child = 2 * at + 1;
		SearchCandidate swapped;

		if (child >= gather->count)
			return;
		if (child + 1 < gather->count &&
			search_compare_candidates(&heap[child + 1], &heap[child]) > 0)
			child++;
		if (search_compare_candidates(&heap[at], &heap[child]) >= 0)
			return;
		swapped = heap[at];
		heap[at] = heap[child];
		heap[child] = swapped;
		at = child;
	}
}

static int
most_candidates(void)
{
	return Max(MIN_CANDIDATES, work_mem * (Size) 512 / sizeof(SearchCandidate));
}

static void
keep(SearchGather *gather, const SearchCandidate *candidate)
{
	if (gather->resumed && search_compare_candidates(candidate, &gather->behind) <= 0)
		return;
	if (gather->count < gather->space)
	{
		gather->candidates[gather->count++] = *candidate;
		return;
	}
	if (gather->space < most_candidates())
	{
		gather->space = Min(gather->space * 2, most_candidates());
		gather->candidates =
			repalloc(gather->candidates, mul_size(gather->space, sizeof(SearchCandidate)));
		gather->candidates[gather->count++] = *candidate;
		return;
	}
	if (!gather->more)
		for (int i = gather->count / 2 - 1; i >= 0; i--)
			sift_down(gather, i);
	gather->more = true;
	if (search_compare_candidates(candidate, &gather->candidates[0]) > 0)
		return;
	gather->candidates[0] = *candidate;
	sift_down(gather, 0);
}

/* ---- an account ---- */

static void
count_terms(SearchGather *gather, const SearchEntry *entry)
{
	uint64 terms = search_probe_terms(gather->probe, entry);

	gather->entries++;
	for (int i = 0; i < gather->probe->nterms; i++)
		gather->passed[i] += terms >> i & 1;
}

static void
take_entry(SearchGather *gather, const SearchEntry *entry, SearchCandidate *candidate)
{
	if (gather->counts_terms && gather->probe != NULL)
		count_terms(gather, entry);
	if (entry->last_seq < entry->first_seq || entry->last_at < gather->first_at)
		return;
	if (gather->id != NULL && memcmp(entry->id, gather->id, UUID_LEN) != 0)
		return;
	if (gather->probe != NULL && !passes(gather->probe, entry))
		return;
	memcpy(&candidate->id, entry->id, UUID_LEN);
	candidate->first_seq = entry->first_seq;
	candidate->last_seq = entry->last_seq;
	candidate->last_at = entry->last_at;
	keep(gather, candidate);
}

static bool
has_id(const SearchBlockRow *row, const pg_uuid_t *id)
{
	return memcmp(&row->first_id, id, UUID_LEN) <= 0 && memcmp(&row->last_id, id, UUID_LEN) >= 0;
}

/* The entries of all blocks of an account; false: they cannot be relied on. */
static bool
gather_blocks(SearchGather *gather, text *account_id, const SearchCover *cover)
{
	SearchCandidate candidate = {.account_id = account_id, .revision = cover->revision};
	int32 blocks = 0;
	SearchBlockReader reader;
	SearchBlockRow row;
	SearchEntry entry;

	search_blocks_find(gather->blocks, account_id);
	while (search_blocks_next(gather->blocks, &row))
	{
		CHECK_FOR_INTERRUPTS();
		blocks++;
		if (gather->id != NULL && !has_id(&row, gather->id))
			continue;
		if (!search_blocks_read(gather->blocks, &reader))
			return false;
		while (search_block_next(&reader, &entry))
			take_entry(gather, &entry, &candidate);
		if (reader.left > 0)
			return false;
	}
	return blocks == cover->blocks;
}

/* The conversations that have changed since, or (-1) all. */
static void
gather_changed(SearchGather *gather, text *account_id, int64 revision)
{
	SearchCandidate candidate = {.account_id = account_id,
								 .revision = revision,
								 .newer = true,
								 .first_seq = 1,
								 .last_at = DT_NOEND};
	StoreListed listed;

	if (gather->id != NULL)
	{
		if (!store_scan_conversation(gather->scan, account_id, gather->id, &listed) ||
			listed.revision <= revision)
			return;
		candidate.id = *gather->id;
		candidate.last_seq = listed.next_seq - 1;
		keep(gather, &candidate);
		return;
	}
	store_scan_conversations(gather->scan, account_id, revision);
	while (store_scan_next_conversation(gather->scan, &listed))
	{
		if (listed.message_count == 0)
			continue;
		candidate.id = listed.id;
		candidate.last_seq = listed.next_seq - 1;
		keep(gather, &candidate);
	}
}

static bool
is_distrusted(const SearchGather *gather, const text *account_id)
{
	ListCell *cell;

	foreach (cell, gather->distrusted)
		if (account_same(lfirst(cell), account_id))
			return true;
	return false;
}

/*
 * Everything that an account has; false: begin anew, its blocks are not to be
 * relied on.  account_id stays as long as the candidates.
 */
static bool
gather_account(SearchGather *gather, text *account_id, int64 revision)
{
	SearchCover cover;

	if (!search_use_blocks || is_distrusted(gather, account_id) ||
		!search_blocks_cover(gather->blocks, account_id, &cover) || cover.revision > revision ||
		cover.revision < 0)
	{
		gather_changed(gather, account_id, -1);
		return true;
	}
	if (!gather_blocks(gather, account_id, &cover))
	{
		gather->distrusted = lappend(gather->distrusted, account_id);
		return false;
	}
	if (revision > cover.revision)
		gather_changed(gather, account_id, cover.revision);
	return true;
}

/* All accounts; false as above. */
static bool
gather_accounts(SearchGather *gather)
{
	text *account_id = NULL;
	text *next;
	int64 revision;

	store_scan_accounts(gather->scan, cstring_to_text(""));
	while (store_scan_next_account(gather->scan, &next, &revision))
	{
		int before = gather->count;
		bool more = gather->more;

		/* freed unless a candidate or the list above has it */
		account_id = DatumGetTextPCopy(PointerGetDatum(next));
		if (!gather_account(gather, account_id, revision))
			return false;
		if (gather->count == before && gather->more == more && !gather->more)
			pfree(account_id);
	}
	return true;
}

/*
 * search_gather
 *		Fills in the candidates, in the current memory context, latest first.
 */
void
search_gather(SearchGather *gather)
{
	bool complete = false;
	int64 revision;

	if (gather->candidates == NULL)
	{
		gather->space = 256;
		gather->candidates = palloc(gather->space * sizeof(SearchCandidate));
	}
	while (!complete)
	{
		gather->count = 0;
		gather->more = false;
		gather->entries = 0;
		memset(gather->passed, 0, sizeof(gather->passed));
		if (gather->account_id == NULL)
			complete = gather_accounts(gather);
		else
			complete = !store_scan_account(gather->scan, gather->account_id, &revision) ||
					   gather_account(gather, gather->account_id, revision);
	}
	qsort(gather->candidates, gather->count, sizeof(SearchCandidate), search_compare_candidates);
}
