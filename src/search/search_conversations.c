/*
 * search_conversations.c
 *		memory.search_conversations: the conversations whose messages and title
 *		hold words together.
 *
 * A conversation is a candidate when its entries together may have the words,
 * or when it has changed since the revision that the blocks go to.  Candidates
 * are read as a whole, last changed first, until the page is full.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "audit.h"
#include "memory_limits.h"
#include "search_private.h"

#define MAX_RESULTS 1000

enum
{
	ARGUMENT_ACCOUNT_ID,
	ARGUMENT_QUERY,
	ARGUMENT_MAX_RESULTS,
	ARGUMENT_INCLUDE_ARCHIVED,
	ARGUMENT_PAGE_KEY,
	ARGUMENT_SNIPPET_LENGTH,
	ARGUMENT_ALL_BRANCHES
};

enum
{
	RESULT_CONVERSATION_ID,
	RESULT_TITLE,
	RESULT_TITLE_HIGHLIGHTS,
	RESULT_UPDATED_AT,
	RESULT_MESSAGE_COUNT,
	RESULT_HITS,
	RESULT_SEQ,
	RESULT_ROLE,
	RESULT_CREATED_AT,
	RESULT_SNIPPET,
	RESULT_HIGHLIGHTS,
	RESULT_PAGE_KEY,
	RESULT_NCOLUMNS
};

/* A conversation that may be meant. */
typedef struct Candidate
{
	pg_uuid_t id;
	TimestampTz updated_at;
	uint64 terms; /* that it may have */
} Candidate;

/* One call. */
typedef struct ConversationSearch
{
	text *account_id;
	SearchQuery *query;
	SearchProbe *probe;
	SearchFilter filter;
	int limit;
	int snippet_length;
	bool paged;
	SearchPage page;
	SearchBlocks blocks;
	StoreScan *scan;
	SearchVerifier *verifier;
	Candidate *candidates;
	int64 count;
	int64 space;
	SnippetSpace *snippet_space;
	Snippet *best; /* of the message with most different words */
	Snippet *snippet;
} ConversationSearch;

/* What a conversation was found to have. */
typedef struct Found
{
	uint64 terms;
	int64 hits;
	int best_groups;
	int64 seq;
	TimestampTz created_at;
	text *role;
} Found;

/* ---- candidates ---- */

static void
add_candidate(ConversationSearch *search, const void *id, TimestampTz updated_at, uint64 terms)
{
	if (search->count == search->space)
	{
		search->space *= 2;
		search->candidates =
			repalloc_huge(search->candidates, mul_size(search->space, sizeof(Candidate)));
	}
	memcpy(&search->candidates[search->count].id, id, UUID_LEN);
	search->candidates[search->count].updated_at = updated_at;
	search->candidates[search->count++].terms = terms;
}

/* Entries that may have any of the words; false: the blocks cannot be relied on. */
static bool
add_entries(ConversationSearch *search, const SearchCover *cover)
{
	int32 blocks = 0;
	SearchBlockReader reader;
	SearchBlockRow row;
	SearchEntry entry;

	search_blocks_find(&search->blocks, search->account_id);
	while (search_blocks_next(&search->blocks, &row))
	{
		CHECK_FOR_INTERRUPTS();
		blocks++;
		if (!search_blocks_read(&search->blocks, &reader))
			return false;
		while (search_block_next(&reader, &entry))
		{
			uint64 terms = search_probe_terms(search->probe, &entry);

			if (terms != 0)
				add_candidate(search, entry.id, entry.updated_at, terms);
		}
		if (reader.left > 0)
			return false;
	}
	return blocks == cover->blocks;
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(&((const Candidate *) a)->id, &((const Candidate *) b)->id, UUID_LEN);
}

static int
compare_candidates(const void *a, const void *b)
{
	const Candidate *left = a;
	const Candidate *right = b;

	if (left->updated_at != right->updated_at)
		return left->updated_at > right->updated_at ? -1 : 1;
	return memcmp(&right->id, &left->id, UUID_LEN);
}

/* Makes one of the candidates of a conversation, and leaves out what cannot have all words. */
static void
merge_candidates(ConversationSearch *search)
{
	Candidate *candidates = search->candidates;
	int64 kept = 0;

	qsort(candidates, search->count, sizeof(Candidate), compare_ids);
	for (int64 i = 0; i < search->count;)
	{
		Candidate merged = candidates[i++];

		for (; i < search->count && compare_ids(&merged, &candidates[i]) == 0; i++)
		{
			merged.terms |= candidates[i].terms;
			/* one that has changed since is listed by its row, which is later */
			merged.updated_at = Max(merged.updated_at, candidates[i].updated_at);
		}
		if (search_probe_passes(search->probe, merged.terms))
			candidates[kept++] = merged;
	}
	search->count = kept;
	qsort(candidates, kept, sizeof(Candidate), compare_candidates);
}

static void
gather(ConversationSearch *search)
{
	SearchCover cover = {.revision = -1};
	StoreListed listed;
	int64 revision;

	search->space = 256;
	search->candidates = palloc(search->space * sizeof(Candidate));
	if (!store_scan_account(search->scan, search->account_id, &revision))
		return;
	if (!search_use_blocks || !search_blocks_cover(&search->blocks, search->account_id, &cover) ||
		cover.revision > revision || cover.revision < 0 || !add_entries(search, &cover))
	{
		search->count = 0;
		cover.revision = -1;
	}
	if (revision > cover.revision)
	{
		store_scan_conversations(search->scan, search->account_id, cover.revision);
		while (store_scan_next_conversation(search->scan, &listed))
			add_candidate(search, &listed.id, listed.updated_at, ~UINT64CONST(0));
	}
	merge_candidates(search);
}

/* ---- one conversation ---- */

static uint64
terms_of(const SearchQuery *query, const char *folded, size_t length)
{
	uint64 terms = 0;
	SearchPlace place;

	for (int i = 0; i < query->nterms; i++)
		if (search_find_term(&query->terms[i], folded, length, 0, &place))
			terms |= UINT64CONST(1) << i;
	return terms;
}

/* Terms that must not be there. */
static uint64
unwanted_terms(const SearchQuery *query)
{
	uint64 terms = 0;

	for (int i = 0; i < query->nterms; i++)
		if (query->terms[i].group < 0)
			terms |= UINT64CONST(1) << i;
	return terms;
}

static int
count_groups(const SearchQuery *query, uint64 terms)
{
	int last = -1;
	int count = 0;

	for (int i = 0; i < query->nterms; i++)
		if ((terms >> i & 1) != 0 && query->terms[i].group > last)
		{
			last = query->terms[i].group;
			count++;
		}
	return count;
}

static void
take_message(ConversationSearch *search, const SearchFound *message, Found *found)
{
	uint64 terms = terms_of(search->query, message->folded, message->length);
	int groups = count_groups(search->query, terms);

	found->terms |= terms;
	if (groups == 0)
		return;
	found->hits++;
	if (groups < found->best_groups)
		return;
	found->best_groups = groups;
	found->seq = message->message->seq;
	found->created_at = message->created_at;
	found->role = cstring_to_text_with_len(message->message->role, message->message->role_len);
	snippet_make(search->query, message->message->content, message->message->content_len,
				 search->snippet_length, search->snippet_space, search->best);
}

/* Reads a conversation; false: it is not meant. */
static bool
read_conversation(ConversationSearch *search, const Candidate *candidate, StoreListed *listed,
				  Found *found)
{
	SearchCandidate whole = {.account_id = search->account_id,
							 .id = candidate->id,
							 .first_seq = 1,
							 .last_seq = MEMORY_MAX_SEQ,
							 .revision = -1,
							 .newer = true};
	SearchFound message;

	memset(found, 0, sizeof(*found));
	search_verify(search->verifier, &whole);
	while (search_verify_next(search->verifier, &message))
		take_message(search, &message, found);
	if (!store_scan_conversation(search->scan, search->account_id, &candidate->id, listed) ||
		(listed->archived && !search->filter.include_archived))
		return false;
	if (listed->has_title)
	{
		text *title = DatumGetTextPP(listed->title);
		char *folded = palloc(SEARCH_FOLD_SPACE(VARSIZE_ANY_EXHDR(title)));
		size_t length = search_fold(VARDATA_ANY(title), VARSIZE_ANY_EXHDR(title), folded);

		found->terms |= terms_of(search->query, folded, length);
	}
	return (found->terms & unwanted_terms(search->query)) == 0 &&
		   count_groups(search->query, found->terms) == search->query->ngroups;
}

static void
put_row(ConversationSearch *search, const StoreListed *listed, const Found *found,
		ReturnSetInfo *result)
{
	Datum values[RESULT_NCOLUMNS];
	bool nulls[RESULT_NCOLUMNS] = {0};

	values[RESULT_CONVERSATION_ID] = UUIDPGetDatum(&listed->id);
	nulls[RESULT_TITLE] = nulls[RESULT_TITLE_HIGHLIGHTS] = !listed->has_title;
	if (listed->has_title)
	{
		text *title = DatumGetTextPP(listed->title);

		values[RESULT_TITLE] = listed->title;
		snippet_make(search->query, VARDATA_ANY(title), VARSIZE_ANY_EXHDR(title),
					 SNIPPET_MAX_CHARACTERS, search->snippet_space, search->snippet);
		values[RESULT_TITLE_HIGHLIGHTS] = search_highlights(search->snippet);
	}
	values[RESULT_UPDATED_AT] = TimestampTzGetDatum(listed->updated_at);
	values[RESULT_MESSAGE_COUNT] = Int64GetDatum(listed->message_count);
	values[RESULT_HITS] = Int64GetDatum(found->hits);
	nulls[RESULT_SEQ] = nulls[RESULT_ROLE] = nulls[RESULT_CREATED_AT] = nulls[RESULT_SNIPPET] =
		nulls[RESULT_HIGHLIGHTS] = found->hits == 0;
	if (found->hits > 0)
	{
		values[RESULT_SEQ] = Int64GetDatum(found->seq);
		values[RESULT_ROLE] = PointerGetDatum(found->role);
		values[RESULT_CREATED_AT] = TimestampTzGetDatum(found->created_at);
		nulls[RESULT_CREATED_AT] = found->created_at == DT_NOBEGIN;
		values[RESULT_SNIPPET] =
			PointerGetDatum(cstring_to_text_with_len(search->best->text, search->best->length));
		values[RESULT_HIGHLIGHTS] = search_highlights(search->best);
	}
	search->page.last.account_id = search->account_id;
	search->page.last.id = listed->id;
	search->page.last.created_at = listed->updated_at;
	values[RESULT_PAGE_KEY] = PointerGetDatum(search_page_write(&search->page));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* ---- a call ---- */

static void
take_arguments(FunctionCallInfo fcinfo, ConversationSearch *search)
{
	memset(search, 0, sizeof(*search));
	search->account_id = argument_account(fcinfo, ARGUMENT_ACCOUNT_ID);
	argument_require(fcinfo, ARGUMENT_QUERY, "query",
					 "See memory.list_conversations for a list without a query.");
	search->query = search_query_argument(PG_GETARG_TEXT_PP(ARGUMENT_QUERY));
	search->limit =
		argument_within("max_results",
						PG_ARGISNULL(ARGUMENT_MAX_RESULTS) ? 20
														   : PG_GETARG_INT32(ARGUMENT_MAX_RESULTS),
						1, MAX_RESULTS);
	search->snippet_length = argument_within("snippet_length",
											 PG_ARGISNULL(ARGUMENT_SNIPPET_LENGTH)
												 ? 160
												 : PG_GETARG_INT32(ARGUMENT_SNIPPET_LENGTH),
											 1, SNIPPET_MAX_CHARACTERS);
	search->filter.query = search->query;
	search->filter.any_group = true;
	search->filter.from = DT_NOBEGIN;
	search->filter.to = DT_NOEND;
	search->filter.include_archived =
		!PG_ARGISNULL(ARGUMENT_INCLUDE_ARCHIVED) && PG_GETARG_BOOL(ARGUMENT_INCLUDE_ARCHIVED);
	search->filter.all_branches =
		!PG_ARGISNULL(ARGUMENT_ALL_BRANCHES) && PG_GETARG_BOOL(ARGUMENT_ALL_BRANCHES);
	search->paged = !PG_ARGISNULL(ARGUMENT_PAGE_KEY);
	if (search->paged)
		search_page_read(PG_GETARG_TEXT_PP(ARGUMENT_PAGE_KEY), &search->page);
}

static bool
is_behind_page(const ConversationSearch *search, const Candidate *candidate)
{
	Candidate last = {.id = search->page.last.id, .updated_at = search->page.last.created_at};

	return !search->paged || compare_candidates(candidate, &last) > 0;
}

static void
put_page(ConversationSearch *search, ReturnSetInfo *result)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext row", ALLOCSET_DEFAULT_SIZES);
	int rows = 0;

	for (int64 i = 0; i < search->count && rows < search->limit; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		StoreListed listed;
		Found found;

		CHECK_FOR_INTERRUPTS();
		if (is_behind_page(search, &search->candidates[i]) &&
			read_conversation(search, &search->candidates[i], &listed, &found))
		{
			put_row(search, &listed, &found, result);
			rows++;
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
}

typedef struct SearchCall
{
	FunctionCallInfo fcinfo;
	ReturnSetInfo *result;
} SearchCall;

/* Does what memory_search_conversations says. */
static void
run_search(void *arg, bool careful)
{
	SearchCall *call = arg;
	ConversationSearch *search;

	SPI_connect(); /* for branches */
	search = palloc(sizeof(ConversationSearch));
	take_arguments(call->fcinfo, search);
	search->probe = search_probe(search->query);
	search_blocks_open(&search->blocks);
	search->scan = store_scan_begin(careful);
	search->verifier = search_verifier(search->scan, &search->filter);
	search->snippet_space = palloc(sizeof(SnippetSpace));
	search->best = palloc(sizeof(Snippet));
	search->snippet = palloc(sizeof(Snippet));
	gather(search);
	put_page(search, call->result);
	store_scan_end(search->scan);
	search_blocks_close(&search->blocks);
	SPI_finish();
}

PG_FUNCTION_INFO_V1(memory_search_conversations);

/*
 * memory_search_conversations(account_id text, query text, max_results integer,
 *							   include_archived boolean, page_key text,
 *							   snippet_length integer, all_branches boolean)
 *		→ setof record
 *		The conversations whose messages and title together hold the query's
 *		words, last changed first, each with how many of its messages hold any,
 *		and the message that holds most of them.  Errors: 22004, 22023, 42501.
 */
Datum
memory_search_conversations(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	SearchCall call = {fcinfo, result};

	InitMaterializedSRF(fcinfo, 0);
	audit_access(AUDIT_MESSAGES, ACL_SELECT);
	search_attempt(run_search, &call, result->setResult);
	return (Datum) 0;
}
