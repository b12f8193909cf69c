/*
 * search_verify.c
 *		The messages of a candidate that are meant.
 *
 * Messages are folded some at a time into one buffer, which is looked through
 * as a whole first: most candidates that the filters let through wrongly end
 * there.  The conversation is looked up when a first message matches, its
 * current branch only where it has several.
 *
 * A verifier owns the buffer, what it knows of the conversation at hand, and a
 * context for the branch; messages belong to the scan until it goes on.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "search_private.h"
#include "sorted.h"

#define GROUP_BYTES (256 * 1024)
/* A buffer that one large message needed is not kept. */
#define KEEP_BYTES (4 * 1024 * 1024)
#define INITIAL_MESSAGES 64

/* A message of the group, and where it is in the buffer. */
typedef struct Grouped
{
	const TranscriptMessage *message;
	size_t begin;
	size_t length;
} Grouped;

typedef struct SeqRange
{
	int64 first;
	int64 last;
} SeqRange;

struct SearchVerifier
{
	StoreScan *scan;
	const SearchFilter *filter;
	const SearchCandidate *candidate;
	MemoryContext context;

	StoreMessages run; /* a segment's messages, or the tail's */
	uint32 next;

	Grouped *grouped;
	int ngrouped;
	int space;
	int at;
	char *folded;
	size_t folded_space;

	bool looked_up; /* listed is the candidate's conversation */
	StoreListed listed;
	MemoryContext branch_context;
	SeqRange *branch; /* latest first; NULL: not read */
	int nbranch;
	int branch_space;
};

/* A verifier in the current memory context. */
SearchVerifier *
search_verifier(StoreScan *scan, const SearchFilter *filter)
{
	SearchVerifier *verifier = palloc0(sizeof(SearchVerifier));

	verifier->scan = scan;
	verifier->filter = filter;
	verifier->context = CurrentMemoryContext;
	verifier->space = INITIAL_MESSAGES;
	verifier->grouped = palloc(INITIAL_MESSAGES * sizeof(Grouped));
	verifier->branch_context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext branch", ALLOCSET_SMALL_SIZES);
	return verifier;
}

/* Begins with a candidate, which is to stay as it is. */
void
search_verify(SearchVerifier *verifier, const SearchCandidate *candidate)
{
	StoreRange range = {.first_seq = candidate->first_seq,
						.last_seq = candidate->last_seq,
						.after_revision = candidate->newer ? candidate->revision : -1,
						.first_at = verifier->filter->from,
						.last_at = verifier->filter->to};

	verifier->candidate = candidate;
	verifier->run.count = verifier->next = 0;
	verifier->ngrouped = verifier->at = 0;
	verifier->looked_up = false;
	verifier->branch = NULL;
	verifier->nbranch = 0;
	MemoryContextReset(verifier->branch_context);
	store_scan_messages(verifier->scan, candidate->account_id, &candidate->id, &range);
}

/* ---- which messages are looked at ---- */

static bool
is_named(const SearchName *names, int n, const char *text, uint32 length)
{
	for (int i = 0; i < n; i++)
		if (text != NULL && names[i].length == length && memcmp(names[i].text, text, length) == 0)
			return true;
	return false;
}

static bool
is_wanted(const SearchVerifier *verifier, const TranscriptMessage *message)
{
	const SearchFilter *filter = verifier->filter;
	const SearchCandidate *candidate = verifier->candidate;
	TimestampTz created_at = message->has_created_at ? message->created_at : DT_NOBEGIN;

	if (message->seq < candidate->first_seq || message->seq > candidate->last_seq ||
		(message->revision > candidate->revision) != candidate->newer)
		return false;
	if (filter->up_to_revision > 0 && message->revision > filter->up_to_revision)
		return false;
	if (created_at < filter->from || (created_at >= filter->to && filter->to != DT_NOEND))
		return false;
	if (filter->by_role &&
		!is_named(filter->roles, filter->nroles, message->role, message->role_len))
		return false;
	return !filter->by_model ||
		   is_named(filter->models, filter->nmodels, message->model, message->model_len);
}

/* ---- groups ---- */

static void
make_room(SearchVerifier *verifier, size_t used, size_t more)
{
	size_t space = used + more;
	char *larger;

	if (verifier->folded != NULL && space <= verifier->folded_space)
		return;
	space = Max(space, SEARCH_FOLD_SPACE(GROUP_BYTES));
	larger = MemoryContextAllocHuge(verifier->context, space);
	if (verifier->folded != NULL)
	{
		memcpy(larger, verifier->folded, used);
		pfree(verifier->folded);
	}
	verifier->folded = larger;
	verifier->folded_space = space;
}

static void
drop_large_buffer(SearchVerifier *verifier)
{
	if (verifier->folded == NULL || verifier->folded_space <= KEEP_BYTES)
		return;
	pfree(verifier->folded);
	verifier->folded = NULL;
}

static void
add_to_group(SearchVerifier *verifier, const TranscriptMessage *message, size_t *used)
{
	Grouped *grouped;

	if (verifier->ngrouped == verifier->space)
	{
		verifier->space *= 2;
		verifier->grouped = repalloc(verifier->grouped, mul_size(verifier->space, sizeof(Grouped)));
	}
	grouped = &verifier->grouped[verifier->ngrouped++];
	grouped->message = message;
	grouped->begin = *used;
	grouped->length = 0;
	if (verifier->filter->query == NULL)
		return;
	make_room(verifier, *used, SEARCH_FOLD_SPACE((size_t) message->content_len));
	grouped->length = search_fold(message->content, message->content_len, verifier->folded + *used);
	*used += grouped->length;
}

/* Takes the next messages that are wanted; false: there are none in what is at hand. */
static bool
fill_group(SearchVerifier *verifier)
{
	const SearchFilter *filter = verifier->filter;
	size_t used = 0;

	drop_large_buffer(verifier);
	verifier->ngrouped = verifier->at = 0;
	while (verifier->next < verifier->run.count && used < GROUP_BYTES)
	{
		const TranscriptMessage *message = &verifier->run.messages[verifier->next++];

		if (is_wanted(verifier, message))
			add_to_group(verifier, message, &used);
	}
	if (filter->query != NULL && !filter->any_group && used > 0 &&
		!search_may_match(filter->query, verifier->folded, used))
		verifier->ngrouped = 0;
	return verifier->ngrouped > 0;
}

/* ---- the conversation ---- */

/* The candidate's conversation, once a message of it was found. */
const StoreListed *
search_verify_conversation(SearchVerifier *verifier)
{
	return &verifier->listed;
}

/* Whether the conversation is there, and wanted. */
static bool
look_up(SearchVerifier *verifier)
{
	const SearchCandidate *candidate = verifier->candidate;

	if (verifier->looked_up)
		return true;
	if (!store_scan_conversation(verifier->scan, candidate->account_id, &candidate->id,
								 &verifier->listed) ||
		(verifier->listed.archived && !verifier->filter->include_archived))
		return false;
	verifier->looked_up = true;
	return true;
}

static void
add_to_branch(SearchVerifier *verifier, int64 seq)
{
	SeqRange *last = verifier->nbranch > 0 ? &verifier->branch[verifier->nbranch - 1] : NULL;

	if (last != NULL && last->first == seq + 1)
	{
		last->first = seq;
		return;
	}
	if (verifier->nbranch == verifier->branch_space || verifier->branch == NULL)
	{
		verifier->branch_space = verifier->branch == NULL ? 16 : verifier->branch_space * 2;
		verifier->branch = verifier->branch == NULL
							   ? palloc(verifier->branch_space * sizeof(SeqRange))
							   : repalloc_huge(verifier->branch,
											   mul_size(verifier->branch_space, sizeof(SeqRange)));
	}
	verifier->branch[verifier->nbranch].first = seq;
	verifier->branch[verifier->nbranch++].last = seq;
}

/* Reads which messages are on the current branch. */
static void
read_branch(SearchVerifier *verifier)
{
	const SearchCandidate *candidate = verifier->candidate;
	MemoryContext scratch =
		AllocSetContextCreate(verifier->context, "memory_ext reader", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	BranchReader *reader =
		branch_open(&candidate->id, candidate->account_id, PG_INT64_MAX, PG_INT64_MAX);
	const TranscriptMessage *message;

	while (reader != NULL && (message = branch_next(reader)) != NULL)
	{
		int64 seq = message->seq;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(verifier->branch_context);
		add_to_branch(verifier, seq);
		MemoryContextSwitchTo(scratch);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

/* Ranges come latest first. */
static int
compare_with_range(const void *seq, const void *range)
{
	int64 wanted = *(const int64 *) seq;

	if (wanted > ((const SeqRange *) range)->last)
		return -1;
	return wanted < ((const SeqRange *) range)->first;
}

static bool
is_on_branch(SearchVerifier *verifier, int64 seq)
{
	if (verifier->filter->all_branches)
		return true;
	if (!verifier->listed.branched)
		return seq <= verifier->listed.head_seq;
	if (verifier->branch == NULL)
		read_branch(verifier);
	return sorted_find(&seq, verifier->branch, verifier->nbranch, sizeof(SeqRange),
					   compare_with_range) != NULL;
}

/* ---- the next one ---- */

static bool
has_any_term(const SearchQuery *query, const char *text, size_t length)
{
	SearchPlace place;

	for (int i = 0; i < query->nterms; i++)
		if (search_find_term(&query->terms[i], text, length, 0, &place))
			return true;
	return false;
}

static bool
is_match(const SearchVerifier *verifier, const Grouped *grouped)
{
	const SearchQuery *query = verifier->filter->query;
	const char *text = verifier->folded + grouped->begin;

	if (query == NULL)
		return true;
	return verifier->filter->any_group ? has_any_term(query, text, grouped->length)
									   : search_matches(query, text, grouped->length);
}

/*
 * search_verify_next
 *		The next message of the candidate that is meant, in order of seq; false:
 *		there are no more.
 */
bool
search_verify_next(SearchVerifier *verifier, SearchFound *found)
{
	for (;;)
	{
		while (verifier->at < verifier->ngrouped)
		{
			const Grouped *grouped = &verifier->grouped[verifier->at++];

			CHECK_FOR_INTERRUPTS();
			if (!is_match(verifier, grouped))
				continue;
			if (!look_up(verifier))
				return false;
			if (!is_on_branch(verifier, grouped->message->seq))
				continue;
			found->message = grouped->message;
			found->created_at =
				grouped->message->has_created_at ? grouped->message->created_at : DT_NOBEGIN;
			found->folded =
				verifier->filter->query != NULL ? verifier->folded + grouped->begin : NULL;
			found->length = grouped->length;
			return true;
		}
		if (fill_group(verifier))
			continue;
		if (verifier->next < verifier->run.count)
			continue;
		verifier->next = 0;
		if (!store_scan_next_messages(verifier->scan, &verifier->run))
		{
			verifier->run.count = 0;
			return false;
		}
	}
}
