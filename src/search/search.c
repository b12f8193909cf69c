/*
 * search.c
 *		memory.search: the messages of an account that hold words.
 *
 * Candidates are gone through latest first until no other can be among the
 * results.  Only where a message is, and when, is kept of what was found; the
 * rows are made from the messages of the page in the end.
 *
 * All is read under the caller's snapshot, and takes no lock.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "audit.h"
#include "compat.h"
#include "memory_limits.h"
#include "search.h"
#include "search_private.h"

#define MAX_RESULTS 1000

int search_candidates = 2000;

enum
{
	ARGUMENT_ACCOUNT_ID,
	ARGUMENT_QUERY,
	ARGUMENT_MAX_RESULTS,
	ARGUMENT_CONVERSATION_ID,
	ARGUMENT_ROLES,
	ARGUMENT_MODELS,
	ARGUMENT_CREATED_FROM,
	ARGUMENT_CREATED_TO,
	ARGUMENT_INCLUDE_ARCHIVED,
	ARGUMENT_ORDER_BY,
	ARGUMENT_PAGE_KEY,
	ARGUMENT_PER_CONVERSATION,
	ARGUMENT_SNIPPET_LENGTH,
	ARGUMENT_ALL_BRANCHES
};

enum
{
	RESULT_ACCOUNT_ID,
	RESULT_CONVERSATION_ID,
	RESULT_SEQ,
	RESULT_ROLE,
	RESULT_MODEL,
	RESULT_CREATED_AT,
	RESULT_TITLE,
	RESULT_SCORE,
	RESULT_SNIPPET,
	RESULT_HIGHLIGHTS,
	RESULT_PAGE_KEY,
	RESULT_NCOLUMNS
};

/* One call of memory.search. */
typedef struct Search
{
	text *account_id; /* NULL: all */
	SearchQuery *query;
	SearchFilter filter;
	const pg_uuid_t *id; /* of the only conversation, or NULL */
	int limit;
	int per_conversation; /* 0: any number */
	int snippet_length;
	bool ranked;
	bool paged; /* page.last is the last hit of the page before */
	SearchPage page;

	SearchBlocks blocks;
	StoreScan *scan;
	SearchGather gather;
	SearchVerifier *verifier;
	SearchRanking ranking;
	SearchHits hits;
	HTAB *conversations; /* that were gone through, where their hits are limited */
} Search;

void
search_init(void)
{
	DefineCustomIntVariable("memory_ext.search_candidates",
							"The newest so many messages that match are ranked by relevance.", NULL,
							&search_candidates, 2000, 1, 100000, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("memory_ext.search_blocks",
							 "Searches use the blocks that maintain() builds.",
							 "Off: every message is read. The results are the same.",
							 &search_use_blocks, true, PGC_USERSET, 0, NULL, NULL, NULL);
	search_erase_init();
}

/* ---- arguments ---- */

static void
take_filter(FunctionCallInfo fcinfo, SearchFilter *filter)
{
	memset(filter, 0, sizeof(*filter));
	filter->from = PG_ARGISNULL(ARGUMENT_CREATED_FROM)
					   ? DT_NOBEGIN
					   : PG_GETARG_TIMESTAMPTZ(ARGUMENT_CREATED_FROM);
	filter->to =
		PG_ARGISNULL(ARGUMENT_CREATED_TO) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(ARGUMENT_CREATED_TO);
	filter->by_role = !PG_ARGISNULL(ARGUMENT_ROLES);
	if (filter->by_role)
		filter->roles =
			search_names_argument(PG_GETARG_ARRAYTYPE_P(ARGUMENT_ROLES), "roles", &filter->nroles);
	filter->by_model = !PG_ARGISNULL(ARGUMENT_MODELS);
	if (filter->by_model)
		filter->models = search_names_argument(PG_GETARG_ARRAYTYPE_P(ARGUMENT_MODELS), "models",
											   &filter->nmodels);
	filter->include_archived =
		!PG_ARGISNULL(ARGUMENT_INCLUDE_ARCHIVED) && PG_GETARG_BOOL(ARGUMENT_INCLUDE_ARCHIVED);
	filter->all_branches =
		!PG_ARGISNULL(ARGUMENT_ALL_BRANCHES) && PG_GETARG_BOOL(ARGUMENT_ALL_BRANCHES);
}

static void
take_page_key(FunctionCallInfo fcinfo, Search *search)
{
	search->paged = !PG_ARGISNULL(ARGUMENT_PAGE_KEY);
	if (!search->paged)
		return;
	search_page_read(PG_GETARG_TEXT_PP(ARGUMENT_PAGE_KEY), &search->page);
	if (search->page.ranked != search->ranked ||
		(search->ranked && search->page.nterms != search->query->nterms))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("page_key is of another search"),
				 errhint("Give it with the same query and order_by.")));
}

/* Everything that the call says, checked. */
static void
take_arguments(FunctionCallInfo fcinfo, Search *search)
{
	text *query = PG_ARGISNULL(ARGUMENT_QUERY) ? NULL : PG_GETARG_TEXT_PP(ARGUMENT_QUERY);

	memset(search, 0, sizeof(*search));
	search->account_id = search_account_argument(
		PG_ARGISNULL(ARGUMENT_ACCOUNT_ID) ? NULL : PG_GETARG_TEXT_PP(ARGUMENT_ACCOUNT_ID));
	search->query = search_query_argument(query);
	search->limit = argument_int32(fcinfo, ARGUMENT_MAX_RESULTS, "max_results", 1, MAX_RESULTS);
	search->id =
		PG_ARGISNULL(ARGUMENT_CONVERSATION_ID) ? NULL : PG_GETARG_UUID_P(ARGUMENT_CONVERSATION_ID);
	take_filter(fcinfo, &search->filter);
	search->filter.query = search->query;
	argument_require(fcinfo, ARGUMENT_ORDER_BY, "order_by", "Leave it out for the default.");
	/* without words there is nothing to rank by */
	search->ranked =
		search_order_argument(PG_GETARG_TEXT_PP(ARGUMENT_ORDER_BY)) && search->query != NULL;
	if (!PG_ARGISNULL(ARGUMENT_PER_CONVERSATION))
		search->per_conversation =
			argument_int32(fcinfo, ARGUMENT_PER_CONVERSATION, "per_conversation", 1, MAX_RESULTS);
	search->snippet_length = argument_int32(fcinfo, ARGUMENT_SNIPPET_LENGTH, "snippet_length", 1,
											SNIPPET_MAX_CHARACTERS);
	take_page_key(fcinfo, search);
}

/* ---- finding ---- */

/* A conversation that was gone through; the account by its hash, which is enough beside the id. */
typedef struct ConversationKey
{
	pg_uuid_t id;
	uint64 account;
} ConversationKey;

static void
open_search(Search *search, bool careful)
{
	search_blocks_open(&search->blocks);
	search->scan = store_scan_begin(careful);
	search->verifier = search_verifier(search->scan, &search->filter);
	search->gather.blocks = &search->blocks;
	search->gather.scan = search->scan;
	search->gather.account_id = search->account_id;
	search->gather.probe = search->query != NULL ? search_probe(search->query) : NULL;
	search->gather.id = search->id;
	search->gather.first_at = search->filter.from;
	search->gather.counts_terms = search->ranked && !search->paged;
	if (search->per_conversation > 0)
	{
		HASHCTL control = {.keysize = sizeof(ConversationKey),
						   .entrysize = sizeof(ConversationKey),
						   .hcxt = CurrentMemoryContext};

		search->conversations = hash_create("memory_ext conversations", 256, &control,
											HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
}

static void
close_search(Search *search)
{
	store_scan_end(search->scan);
	search_blocks_close(&search->blocks);
}

static bool
is_behind_page(const Search *search, const SearchHit *hit)
{
	return !search->paged || search_compare_hits(hit, &search->page.last) > 0;
}

static void
hit_of(const SearchCandidate *candidate, const SearchFound *found, SearchHit *hit)
{
	hit->account_id = candidate->account_id;
	hit->id = candidate->id;
	hit->seq = found->message->seq;
	hit->created_at = found->created_at;
	hit->score = 0;
	hit->counts = NULL;
}

/* The hits of one candidate, into hits. */
static void
find_in_candidate(Search *search, const SearchCandidate *candidate, SearchHits *hits, bool all)
{
	SearchFound found;
	SearchHit hit;

	search_verify(search->verifier, candidate);
	while (search_verify_next(search->verifier, &found))
	{
		hit_of(candidate, &found, &hit);
		if (all || is_behind_page(search, &hit))
			(void) search_hits_add(hits, &hit);
	}
}

/* The newest hits of a candidate's conversation, as many as it may have, unless they are known. */
static void
find_in_conversation(Search *search, const SearchCandidate *candidate)
{
	SearchCandidate whole = *candidate;
	ConversationKey key = {candidate->id,
						   hash_bytes_extended((unsigned char *) VARDATA_ANY(candidate->account_id),
											   VARSIZE_ANY_EXHDR(candidate->account_id), 0)};
	SearchHits newest;
	bool known;

	(void) hash_search(search->conversations, &key, HASH_ENTER, &known);
	if (known)
		return;
	whole.first_seq = 1;
	whole.last_seq = MEMORY_MAX_SEQ;
	whole.revision = -1;
	whole.newer = true;
	search_hits_init(&newest, search->per_conversation);
	find_in_candidate(search, &whole, &newest, true);
	for (int i = 0; i < newest.count; i++)
		if (is_behind_page(search, &newest.hits[i]))
			(void) search_hits_add(&search->hits, &newest.hits[i]);
	pfree(newest.hits);
}

/* Whether no message of this candidate, or of those behind it, can be a result. */
static bool
is_too_late(const Search *search, const SearchCandidate *candidate)
{
	return search->hits.count == search->hits.space &&
		   candidate->last_at < search->hits.hits[search->hits.count - 1].created_at;
}

typedef void (*VisitCandidate)(Search *search, const SearchCandidate *candidate);

/* Goes through the candidates, latest first, as long as there may be results. */
static void
visit_candidates(Search *search, VisitCandidate visit)
{
	SearchGather *gather = &search->gather;

	do
	{
		search_gather(gather);
		for (int i = 0; i < gather->count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (is_too_late(search, &gather->candidates[i]))
				return;
			visit(search, &gather->candidates[i]);
		}
		if (gather->count > 0)
			gather->behind = gather->candidates[gather->count - 1];
		gather->resumed = true;
	} while (gather->more);
}

static void
visit_newest(Search *search, const SearchCandidate *candidate)
{
	if (search->per_conversation > 0)
		find_in_conversation(search, candidate);
	else
		find_in_candidate(search, candidate, &search->hits, false);
}

static void
find_newest(Search *search)
{
	/* what is later than the page before needs no reading */
	if (search->paged && search->per_conversation == 0 &&
		search->page.last.created_at < search->filter.to)
		search->filter.to = search->page.last.created_at + 1;
	search_hits_init(&search->hits, search->limit);
	visit_candidates(search, visit_newest);
}

/* ---- ranking ---- */

static void
visit_ranked(Search *search, const SearchCandidate *candidate)
{
	SearchHits *hits = &search->hits;
	bool known = false;
	uint32 titled = 0;
	SearchFound found;

	search_verify(search->verifier, candidate);
	while (search_verify_next(search->verifier, &found))
	{
		SearchCounts *dropped =
			hits->count == hits->space ? hits->hits[hits->count - 1].counts : NULL;
		const StoreListed *listed = search_verify_conversation(search->verifier);
		SearchHit hit;

		if (!known && listed->has_title)
		{
			text *title = DatumGetTextPP(listed->title);

			titled = search_titled(&search->ranking, VARDATA_ANY(title), VARSIZE_ANY_EXHDR(title));
		}
		known = true;
		hit_of(candidate, &found, &hit);
		hit.counts = palloc(sizeof(SearchCounts));
		search_count(&search->ranking, &found, titled, hit.counts);
		if (!search_hits_add(hits, &hit))
			pfree(hit.counts);
		else if (dropped != NULL)
			pfree(dropped);
	}
}

/* What scores are made from: as it was for the first page, or by what was found. */
static void
weigh(Search *search)
{
	SearchRanking *ranking = &search->ranking;
	double bytes = 0;

	if (search->paged)
	{
		memcpy(ranking->weights, search->page.weights, sizeof(ranking->weights));
		ranking->average_length = search->page.average_length;
		return;
	}
	search_ranking_weigh(ranking, &search->gather);
	for (int i = 0; i < search->hits.count; i++)
		bytes += search->hits.hits[i].counts->length;
	ranking->average_length = Max(1, bytes / Max(1, search->hits.count));
	search->page.average_length = ranking->average_length;
	search->page.nterms = search->query->nterms;
	memcpy(search->page.weights, ranking->weights, sizeof(ranking->weights));
}

/* Whether the conversation has as many results as it may; counts one more. */
static bool
is_exhausted(Search *search, const SearchHit *hits, int n)
{
	int same = 0;

	for (int i = 0; i < n && search->per_conversation > 0; i++)
		same += memcmp(&hits[i].id, &hits[n].id, UUID_LEN) == 0 &&
				account_same(hits[i].account_id, hits[n].account_id);
	return search->per_conversation > 0 && same >= search->per_conversation;
}

/* The page's hits of those that are in order, from the first. */
static void
take_ranked_page(Search *search)
{
	SearchHits *hits = &search->hits;
	SearchHits page;

	search_hits_init(&page, search->limit);
	for (int i = 0; i < hits->count && page.count < search->limit; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_behind_page(search, &hits->hits[i]) && !is_exhausted(search, hits->hits, i))
			page.hits[page.count++] = hits->hits[i];
	}
	*hits = page;
}

/*
 * The newest messages that match, ranked.  Later pages are of the same messages
 * as the first one: what has changed since is passed over.
 */
static void
find_ranked(Search *search)
{
	int64 revision;

	if (search->paged)
		search->filter.up_to_revision = search->page.up_to_revision;
	else if (search->account_id != NULL &&
			 store_scan_account(search->scan, search->account_id, &revision))
		search->page.up_to_revision = revision;
	search_ranking_init(&search->ranking, search->query);
	search_hits_init(&search->hits, search_candidates);
	visit_candidates(search, visit_ranked);
	weigh(search);
	for (int i = 0; i < search->hits.count; i++)
		search->hits.hits[i].score = search_score(&search->ranking, search->hits.hits[i].counts);
	qsort(search->hits.hits, search->hits.count, sizeof(SearchHit), search_compare_hits);
	take_ranked_page(search);
}

/* ---- rows ---- */

/* What rows are made with. */
typedef struct RowMaker
{
	Search *search;
	ReturnSetInfo *result;
	MemoryContext context; /* of one row */
	SnippetSpace *space;
	Snippet *snippet;
} RowMaker;

/* Finds a message again, until another is read. */
static const TranscriptMessage *
find_message(StoreScan *scan, const SearchHit *hit)
{
	StoreRange range = {.first_seq = hit->seq,
						.last_seq = hit->seq,
						.after_revision = -1,
						.first_at = DT_NOBEGIN,
						.last_at = DT_NOEND};
	StoreMessages messages;

	store_scan_messages(scan, hit->account_id, &hit->id, &range);
	while (store_scan_next_messages(scan, &messages))
	{
		const TranscriptMessage *message =
			store_find_message(messages.messages, messages.count, hit->seq);

		if (message != NULL)
			return message;
	}
	elog(ERROR, "message " INT64_FORMAT " of conversation %s is gone", hit->seq,
		 store_uuid_string(&hit->id));
	return NULL;
}

static void
set_bytes(Datum *values, bool *nulls, int column, const char *bytes, size_t length)
{
	nulls[column] = bytes == NULL;
	if (bytes != NULL)
		values[column] = PointerGetDatum(cstring_to_text_with_len(bytes, length));
}

static void
put_row(RowMaker *maker, const SearchHit *hit)
{
	Search *search = maker->search;
	const TranscriptMessage *message = find_message(search->scan, hit);
	Datum values[RESULT_NCOLUMNS];
	bool nulls[RESULT_NCOLUMNS] = {0};
	StoreListed listed;

	if (!store_scan_conversation(search->scan, hit->account_id, &hit->id, &listed))
		elog(ERROR, "conversation %s is gone", store_uuid_string(&hit->id));
	snippet_make(search->query, message->content, message->content_len, search->snippet_length,
				 maker->space, maker->snippet);
	values[RESULT_ACCOUNT_ID] = PointerGetDatum(hit->account_id);
	values[RESULT_CONVERSATION_ID] = UUIDPGetDatum(&hit->id);
	values[RESULT_SEQ] = Int64GetDatum(hit->seq);
	set_bytes(values, nulls, RESULT_ROLE, message->role, message->role_len);
	set_bytes(values, nulls, RESULT_MODEL, message->model, message->model_len);
	values[RESULT_CREATED_AT] = TimestampTzGetDatum(message->created_at);
	nulls[RESULT_CREATED_AT] = !message->has_created_at;
	values[RESULT_TITLE] = listed.title;
	nulls[RESULT_TITLE] = !listed.has_title;
	values[RESULT_SCORE] = Float8GetDatum(hit->score);
	nulls[RESULT_SCORE] = !search->ranked;
	set_bytes(values, nulls, RESULT_SNIPPET, maker->snippet->text, maker->snippet->length);
	values[RESULT_HIGHLIGHTS] = search_highlights(maker->snippet);
	search->page.ranked = search->ranked;
	search->page.last = *hit;
	values[RESULT_PAGE_KEY] = PointerGetDatum(search_page_write(&search->page));
	tuplestore_putvalues(maker->result->setResult, maker->result->setDesc, values, nulls);
}

static void
put_rows(Search *search, ReturnSetInfo *result)
{
	RowMaker maker = {.search = search, .result = result};

	maker.context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext row", ALLOCSET_DEFAULT_SIZES);
	maker.space = palloc(sizeof(SnippetSpace));
	maker.snippet = palloc(sizeof(Snippet));
	for (int i = 0; i < search->hits.count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(maker.context);

		CHECK_FOR_INTERRUPTS();
		put_row(&maker, &search->hits.hits[i]);
		MemoryContextSwitchTo(old);
		MemoryContextReset(maker.context);
	}
}

typedef struct SearchCall
{
	FunctionCallInfo fcinfo;
	ReturnSetInfo *result;
} SearchCall;

/* Does what memory_search says. */
static void
run_search(void *arg, bool careful)
{
	SearchCall *call = arg;
	Search *search;

	SPI_connect(); /* for branches */
	search = palloc(sizeof(Search));
	take_arguments(call->fcinfo, search);
	open_search(search, careful);
	if (search->ranked)
		find_ranked(search);
	else
		find_newest(search);
	put_rows(search, call->result);
	close_search(search);
	SPI_finish();
}

PG_FUNCTION_INFO_V1(memory_search);

/*
 * memory_search(account_id text, query text, max_results integer,
 *				 conversation_id uuid, roles text[], models text[],
 *				 created_from timestamptz, created_to timestamptz,
 *				 include_archived boolean, order_by text, page_key text,
 *				 per_conversation integer, snippet_length integer,
 *				 all_branches boolean) → setof record
 *		The messages that hold the query's words: the newest first, or those that
 *		fit best.  NULL account_id: of all accounts, for operators.  NULL query:
 *		whatever their words.  NULL filters: any.  Errors: 22004, 22023, 42501.
 */
Datum
memory_search(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	SearchCall call = {fcinfo, result};

	InitMaterializedSRF(fcinfo, 0);
	audit_access(AUDIT_MESSAGES, ACL_SELECT);
	search_attempt(run_search, &call, result->setResult);
	return (Datum) 0;
}
