/*
 * search_private.h
 *		What the files of this room share with each other only.
 *
 * Calls go downward: search.c, search_conversations.c → search_verify.c, rank.c →
 * candidates.c → blocks.c → block.c, snippet.c, filter.c → query.c → fold.c.
 * build.c → entries.c and erase_blocks.c stand beside candidates.c; hits.c, page_key.c,
 * attempts.c and search_arguments.c beside search_verify.c.
 */
#ifndef SEARCH_PRIVATE_H
#define SEARCH_PRIVATE_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/array.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "direct.h"
#include "store.h"

#include "block.h"
#include "snippet.h"

/* ---- settings (search.c) ---- */
extern int search_candidates; /* messages that are ranked */
extern bool search_use_blocks;

/* ---- blocks.c: the rows of blocks, read under the active snapshot ---- */
typedef struct SearchBlocks
{
	DirectRows accounts;
	DirectRows blocks;
	MemoryContext context;
	MemoryContext body_context; /* of the block at hand */
} SearchBlocks;

/* What memory_store.search_accounts has of an account. */
typedef struct SearchCover
{
	int64 revision;
	int32 blocks;
	int32 next_block;
	int64 version;
	bool building;
	int64 building_revision;
	pg_uuid_t building_after;
} SearchCover;

/* A block's row, without its body. */
typedef struct SearchBlockRow
{
	int32 number;
	int32 entries;
	int32 erased;
	Size bytes; /* of the body */
	pg_uuid_t first_id;
	pg_uuid_t last_id;
} SearchBlockRow;

extern void search_blocks_open(SearchBlocks *blocks);
extern void search_blocks_close(SearchBlocks *blocks);
extern bool search_blocks_cover(SearchBlocks *blocks, text *account_id, SearchCover *cover);
extern void search_blocks_find(SearchBlocks *blocks, text *account_id);
extern bool search_blocks_next(SearchBlocks *blocks, SearchBlockRow *row);
extern bool search_blocks_read(SearchBlocks *blocks, SearchBlockReader *reader);

/* ---- entries.c: entries made from messages ---- */
typedef struct SearchEntryBuilder SearchEntryBuilder;
extern SearchEntryBuilder *search_entry_builder(StoreScan *scan);
extern void search_entry_carry(SearchEntryBuilder *builder, const SearchEntry *entry);
extern void search_entry_build(SearchEntryBuilder *builder, text *account_id,
							   const StoreListed *listed, int64 first_seq, int64 last_seq);
extern SearchEntry *search_entries(SearchEntryBuilder *builder, int *count);
extern Size search_entry_content(const SearchEntryBuilder *builder);

/* ---- erase_blocks.c ---- */
extern void search_erase_init(void);

/* ---- candidates.c: ranges of messages that may hold what is searched ---- */

/* The elements of each term of a query. */
typedef struct SearchProbe
{
	int nterms;
	int ngroups;
	int group[SEARCH_MAX_TERMS];
	int first[SEARCH_MAX_TERMS + 1]; /* of each term, in elements */
	uint64 *elements;
} SearchProbe;

typedef struct SearchCandidate
{
	text *account_id;
	pg_uuid_t id;
	int64 first_seq;
	int64 last_seq;
	TimestampTz last_at; /* no message in the range is later */
	int64 revision;
	bool newer; /* messages later than the revision; else those up to it */
} SearchCandidate;

/* What candidates are looked for by, and those that were found. */
typedef struct SearchGather
{
	SearchBlocks *blocks;
	StoreScan *scan;
	text *account_id;         /* NULL: of every account */
	const SearchProbe *probe; /* NULL: any words */
	const pg_uuid_t *id;      /* NULL: any conversation */
	TimestampTz first_at;     /* nothing before it is wanted */
	List *distrusted;         /* accounts whose blocks cannot be relied on */
	bool resumed;             /* only those that come behind one in order */
	SearchCandidate behind;   /* that one */

	SearchCandidate *candidates; /* when it is done, in order: latest first */
	int count;
	int space;
	bool more; /* others, which come behind them, did not fit */

	bool counts_terms;
	int64 entries;                  /* that were looked at, if it counts terms */
	int64 passed[SEARCH_MAX_TERMS]; /* of them, those that may have the term */
} SearchGather;

extern SearchProbe *search_probe(const SearchQuery *query);
extern uint64 search_probe_terms(const SearchProbe *probe, const SearchEntry *entry);
extern bool search_probe_passes(const SearchProbe *probe, uint64 terms);
extern int search_compare_candidates(const void *a, const void *b);
extern void search_gather(SearchGather *gather);

/* ---- search_verify.c: the messages of a candidate that are meant ---- */

/* A text of a list: a role, a model. */
typedef struct SearchName
{
	const char *text;
	uint32 length;
} SearchName;

typedef struct SearchFilter
{
	const SearchQuery *query; /* NULL: any words */
	bool any_group;           /* one group of the query is enough */
	bool by_role;
	SearchName *roles;
	int nroles;
	bool by_model;
	SearchName *models;
	int nmodels;
	TimestampTz from; /* created_at is in [from, to) */
	TimestampTz to;
	bool include_archived;
	bool all_branches;
	int64 up_to_revision; /* later messages are not looked at; 0: all are */
} SearchFilter;

/* A message that is meant; it is valid until the next one is asked for. */
typedef struct SearchFound
{
	const TranscriptMessage *message;
	TimestampTz created_at; /* DT_NOBEGIN: not known */
	const char *folded;     /* NULL without a query */
	size_t length;
} SearchFound;

typedef struct SearchVerifier SearchVerifier;
extern SearchVerifier *search_verifier(StoreScan *scan, const SearchFilter *filter);
extern void search_verify(SearchVerifier *verifier, const SearchCandidate *candidate);
extern bool search_verify_next(SearchVerifier *verifier, SearchFound *found);
extern const StoreListed *search_verify_conversation(SearchVerifier *verifier);

/* ---- hits.c: the best of what was found ---- */

/* What is known of a message before the average length is. */
typedef struct SearchCounts
{
	uint16 counts[SEARCH_MAX_TERMS]; /* how often each term is in it */
	bool phrase;
	uint32 titled; /* terms that the title has, as bits */
	uint32 length;
} SearchCounts;

/* A message that was found, without its text. */
typedef struct SearchHit
{
	text *account_id;
	pg_uuid_t id;
	int64 seq;
	TimestampTz created_at; /* DT_NOBEGIN: not known */
	double score;           /* 0 until they are ranked */
	SearchCounts *counts;   /* NULL where they are not */
} SearchHit;

/* At most so many, in order: the highest score first, then the latest. */
typedef struct SearchHits
{
	SearchHit *hits;
	int count;
	int space;
} SearchHits;

extern int search_compare_hits(const void *a, const void *b);
extern void search_hits_init(SearchHits *hits, int space);
extern bool search_hits_add(SearchHits *hits, const SearchHit *hit);

/* ---- page_key.c: where a page of results ends ---- */
typedef struct SearchPage
{
	bool ranked;
	SearchHit last; /* the hit that the next page begins behind */
	int64 up_to_revision;
	double average_length;
	int nterms;
	double weights[SEARCH_MAX_TERMS];
} SearchPage;

extern text *search_page_write(const SearchPage *page);
extern void search_page_read(const text *key, SearchPage *page);

/* ---- rank.c: how well a message fits ---- */
typedef struct SearchRanking
{
	const SearchQuery *query;
	double weights[SEARCH_MAX_TERMS]; /* the rarer a term, the larger */
	double average_length;            /* of messages, in bytes */
	SearchTerm phrase;                /* all words in a row; no pieces: there is none */
	SearchPiece pieces[SEARCH_MAX_PIECES];
} SearchRanking;

extern void search_ranking_init(SearchRanking *ranking, const SearchQuery *query);
extern void search_ranking_weigh(SearchRanking *ranking, const SearchGather *gather);
extern uint32 search_titled(const SearchRanking *ranking, const char *title, size_t length);
extern void search_count(const SearchRanking *ranking, const SearchFound *found, uint32 titled,
						 SearchCounts *counts);
extern double search_score(const SearchRanking *ranking, const SearchCounts *counts);

/* ---- attempts.c: going on behind segments that cannot be read ---- */
typedef void (*SearchAct)(void *arg, bool careful);
extern void search_attempt(SearchAct act, void *arg, Tuplestorestate *rows);

/* ---- search_arguments.c: what the functions of this room are given ---- */
extern SearchQuery *search_query_argument(const text *query);
extern SearchName *search_names_argument(ArrayType *array, const char *name, int *n);
extern text *search_account_argument(text *account_id);
extern bool search_order_argument(const text *order_by);
extern Datum search_highlights(const Snippet *snippet);

#endif /* SEARCH_PRIVATE_H */
