/*
 * relation_private.h
 *		What the files of this room share with each other only.
 *
 * Calls go downward: handler.c → paths.c, scan.c, modify.c → scan_messages.c,
 * scan_conversations.c, modify_messages.c, modify_conversations.c → reader.c,
 * walk.c, row_buffer.c → sizes.c, keys.c, and the store.
 */
#ifndef RELATION_PRIVATE_H
#define RELATION_PRIVATE_H

#include "postgres.h"

#include "access/relscan.h"
#include "executor/tuptable.h"
#include "foreign/fdwapi.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"
#include "port/atomics.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "direct.h"
#include "relation.h"
#include "row_sort.h"
#include "store.h"
#include "sampler.h"

/* ---- the relations (handler.c) ---- */
typedef enum RelationKind
{
	RELATION_MESSAGES,
	RELATION_CONVERSATIONS,
	RELATION_INTAKE /* takes rows, for a room above */
} RelationKind;

/* Columns of memory.messages. */
enum
{
	MESSAGES_CONVERSATION_ID,
	MESSAGES_ACCOUNT_ID,
	MESSAGES_SEQ,
	MESSAGES_PARENT_SEQ,
	MESSAGES_ROLE,
	MESSAGES_CONTENT,
	MESSAGES_MODEL,
	MESSAGES_TOKENS,
	MESSAGES_CREATED_AT,
	MESSAGES_MESSAGE_ID,
	MESSAGES_METADATA,
	MESSAGES_NCOLUMNS
};

/* Columns of memory.conversations; those behind the writable ones are derived. */
enum
{
	CONVERSATIONS_CONVERSATION_ID,
	CONVERSATIONS_ACCOUNT_ID,
	CONVERSATIONS_TITLE,
	CONVERSATIONS_METADATA,
	CONVERSATIONS_ARCHIVED,
	CONVERSATIONS_HEAD_SEQ,
	CONVERSATIONS_CREATED_AT,
	CONVERSATIONS_UPDATED_AT,
	CONVERSATIONS_NWRITABLE,
	CONVERSATIONS_MESSAGE_COUNT = CONVERSATIONS_NWRITABLE,
	CONVERSATIONS_TOKEN_COUNT,
	CONVERSATIONS_CONTENT_BYTES,
	CONVERSATIONS_NCOLUMNS
};

/* Bit of a column in a mask, and of all columns. */
#define COLUMN_BIT(column) (1u << (column))
#define ALL_COLUMNS (~0u)

/* ---- kind.c: which relation a foreign table is ---- */

/* The foreign table's option that names its relation. */
#define OPTION_RELATION "relation"

/* The kind that the option's value names, and what takes its rows, or NULL; false: none. */
extern bool relation_find_kind(const char *name, RelationKind *kind, const RelationIntake **intake);

/* That of a foreign table; intake may be NULL.  Error: 42809 it is none of the extension's. */
extern RelationKind relation_kind(Oid relid, const RelationIntake **intake);

/* ---- keys.c: conditions that a scan works by ---- */
typedef enum RelationKeyKind
{
	KEY_CONVERSATION,     /* conversation_id = value */
	KEY_CONVERSATION_ANY, /* conversation_id = ANY (value) */
	KEY_ACCOUNT,
	KEY_ACCOUNT_ANY,
	KEY_SEQ_BELOW,
	KEY_SEQ_AT_MOST,
	KEY_SEQ_EQUAL,
	KEY_SEQ_AT_LEAST,
	KEY_SEQ_ABOVE,
	KEY_TIME_AT_MOST, /* created_at <= or < value: rows are filtered all the same */
	KEY_TIME_AT_LEAST
} RelationKeyKind;

/* A condition on a column of the relation, and the expression that it is compared with. */
typedef struct RelationKey
{
	RelationKeyKind kind;
	bool exact; /* the scan gives no row that does not fulfil it */
	Expr *clause;
	Expr *value; /* has no column of the relation, and is not volatile */
} RelationKey;

extern bool key_match(RelationKind kind, Index relid, Expr *clause, RelationKey *key);
extern List *key_choose(RelationKind kind, Index relid, List *clauses);
extern const RelationKey *key_find(List *keys, RelationKeyKind kind);

/* What the keys of a scan amount to once their values are known. */
typedef struct RelationBounds
{
	bool has_conversations;
	pg_uuid_t *conversations; /* sorted, each once */
	int nconversations;
	bool has_accounts; /* false: every account's, which a confined session never has */
	text **accounts;   /* likewise */
	int naccounts;
	int64 first_seq; /* of the messages wanted */
	int64 last_seq;
	TimestampTz first_at; /* messages before it need not be given */
	TimestampTz last_at;
	bool nothing; /* no row can fulfil them */
} RelationBounds;

extern void key_bounds(List *kinds, List *values, ExprContext *context, RelationBounds *bounds);

/* ---- sizes.c: estimates ---- */
typedef struct RelationSizes
{
	bool is_own;          /* of a confined session's account only */
	double conversations; /* rows of memory_store.conversations */
	double messages;      /* in each, on average */
	double heap_pages;    /* of conversations */
	double message_pages; /* of segments, with what is out of line, and tail */
	double content_kb;    /* to decompress for each conversation, about */
} RelationSizes;

typedef struct RelationEstimate
{
	double conversations; /* that the keys lead to */
	double rows;          /* before other conditions are applied */
	Cost startup_cost;
	Cost total_cost;
} RelationEstimate;

extern void size_read(RelationSizes *sizes);
extern void size_estimate(PlannerInfo *root, RelationKind kind, const RelationSizes *sizes,
						  List *keys, uint32 columns, RelationEstimate *estimate);

/* ---- walk.c: the conversations that a scan's keys lead to ---- */
typedef struct ConversationWalk
{
	const RelationBounds *bounds;
	DirectRows rows; /* the row at hand is in rows.slot */
	bool by_recent;  /* rows.index is that of accounts */
	bool open;
	bool searching; /* rows.scan gives rows for the present keys */
	int next_conversation;
	int next_account;
	TableScanDesc heap;             /* every row, in the order of the file */
	ParallelTableScanDesc parallel; /* shared by the processes of a parallel scan, or NULL */
} ConversationWalk;

extern void walk_init(ConversationWalk *walk, const RelationBounds *bounds, Snapshot snapshot,
					  ParallelTableScanDesc parallel);
extern TupleTableSlot *walk_next(ConversationWalk *walk);
extern void walk_end(ConversationWalk *walk);

/* ---- reader.c: the messages of one conversation, or of all ---- */
typedef struct ReaderCounters
{
	uint64 conversations;
	uint64 segments_opened;
	uint64 segments_skipped;
	uint64 bytes_decompressed;
} ReaderCounters;

typedef struct MessageReader
{
	const RelationBounds *bounds;
	Snapshot snapshot;
	ReaderCounters *counters;
	uint32 columns; /* of memory.messages that are wanted */
	bool backward;
	bool keeps;                /* a message is used after row_context was reset */
	MemoryContext row_context; /* of the row that is asked for */
	bool open;
	DirectRows segments;
	DirectRows tail;

	/* the conversation at hand */
	MemoryContext conversation_context;
	pg_uuid_t id;
	text *account_id; /* in conversation_context */
	bool has_segments;
	bool has_tail;
	int phase;
	bool searching;

	/* the segment at hand */
	MemoryContext segment_context;
	TranscriptMessage *messages;
	int64 count;
	int64 next;
	int64 blank; /* rows of which no column of the message is wanted */

	TranscriptMessage message; /* of a row of the tail */
} MessageReader;

extern void reader_init(MessageReader *reader, const RelationBounds *bounds, uint32 columns,
						bool backward, Snapshot snapshot, ReaderCounters *counters);
extern void reader_start(MessageReader *reader, TupleTableSlot *conversation);
extern const TranscriptMessage *reader_next(MessageReader *reader);
extern bool reader_open_body(MessageReader *reader, Datum body, int64 first_seq, int64 last_seq);
extern const TranscriptMessage *reader_next_in_segment(MessageReader *reader);
extern const TranscriptMessage *reader_tail_message(MessageReader *reader, TupleTableSlot *row);
extern void reader_reset(MessageReader *reader);
extern void reader_end(MessageReader *reader);

/* ---- scan.c: what the executor calls, of either relation ---- */

/* What the processes of a parallel scan share; scans of the tables follow it. */
typedef struct RelationParallel
{
	pg_atomic_flag confined; /* a session that is confined has one process do it all */
	pg_atomic_uint64 counters[4];
	Size offsets[3]; /* of the scans of conversations, segments, tail; 0: none */
} RelationParallel;

typedef struct RelationScan
{
	RelationKind kind;
	List *key_kinds;  /* RelationKeyKind, as integers */
	List *key_values; /* ExprState */
	uint32 columns;
	bool ordered;
	bool backward;
	bool started;
	bool idle;                 /* another process does what there is to do */
	MemoryContext context;     /* of the bounds; emptied at each rescan */
	MemoryContext row_context; /* of the row that is asked for; set at each call */
	RelationBounds bounds;
	ReaderCounters counters;
	RelationParallel *parallel;
	ConversationWalk walk;
	struct MessagesScan *messages;
} RelationScan;

/* The shared scan of conversations (0), segments (1) or tail (2); NULL: not a parallel scan. */
static inline ParallelTableScanDesc
scan_shared(const RelationScan *scan, int table)
{
	return scan->parallel == NULL
			   ? NULL
			   : (ParallelTableScanDesc) ((char *) scan->parallel + scan->parallel->offsets[table]);
}

extern void scan_begin(ForeignScanState *node, int flags);
extern TupleTableSlot *scan_iterate(ForeignScanState *node);
extern void scan_rescan(ForeignScanState *node);
extern void scan_end(ForeignScanState *node);
extern void scan_explain(ForeignScanState *node, struct ExplainState *es);
extern Size scan_estimate_dsm(ForeignScanState *node, ParallelContext *context);
extern void scan_initialize_dsm(ForeignScanState *node, ParallelContext *context, void *coordinate);
extern void
scan_reinitialize_dsm(ForeignScanState *node, ParallelContext *context, void *coordinate);
extern void scan_initialize_worker(ForeignScanState *node, shm_toc *toc, void *coordinate);
extern void scan_shutdown(ForeignScanState *node);

/* ---- scan_messages.c, scan_conversations.c ---- */
extern void messages_scan_init(RelationScan *scan, Snapshot snapshot);
extern bool messages_scan_next(RelationScan *scan, TupleTableSlot *slot);
extern void messages_scan_close(RelationScan *scan);
extern void messages_scan_end(RelationScan *scan);
extern bool conversations_scan_next(RelationScan *scan, TupleTableSlot *slot);

/* ---- paths.c: what the planner calls ---- */
extern void paths_size(PlannerInfo *root, RelOptInfo *rel, Oid relid);
extern void paths_add(PlannerInfo *root, RelOptInfo *rel, Oid relid);
extern ForeignScan *paths_plan(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignPath *path,
							   List *targets, List *clauses, Plan *outer);

/* ---- row_buffer.c: the rows of a statement that writes, until they are written ---- */

/* The columns that every buffered row begins with; it is sorted by the first of them. */
typedef enum RowBufferColumn
{
	BUFFER_ACCOUNT = ROW_ACCOUNT,
	BUFFER_CONVERSATION = ROW_CONVERSATION,
	BUFFER_SEQ = ROW_SEQ,         /* null: to be assigned */
	BUFFER_ORDINAL = ROW_ORDINAL, /* the row's place in the statement, from 1 */
	BUFFER_LINE,                  /* of COPY's input; null: not a COPY */
	BUFFER_CHANGED,               /* bit n: column n of the relation was changed */
	BUFFER_PAYLOAD                /* the first column of the row's own */
} RowBufferColumn;

/* A conversation that a statement has given numbers in. */
typedef struct RowNumbering
{
	bool counted; /* next_seq and leaf come from the store, and the next two */
	bool has_tail;
	bool has_segments;
	int64 next_seq;
	int64 leaf;
	StoreIds *ids; /* NULL: no row with a message_id was given a number */
} RowNumbering;

typedef struct RowBuffer RowBuffer;

/* Where an error at the statement's end belongs: COPY's line or the row's place. */
typedef struct RowErrorContext
{
	ErrorContextCallback callback;
	const char *relation;
	int64 ordinal;
	int64 line;
} RowErrorContext;

extern RowBuffer *row_buffer_create(TupleDesc row, bool bundled);
extern void row_buffer_put(RowBuffer *buffer, Datum *values, bool *nulls);
extern bool row_buffer_next(RowBuffer *buffer, TupleTableSlot **slot);
extern RowSort *row_buffer_sort(RowBuffer *buffer);
extern int64 row_buffer_rows(const RowBuffer *buffer);
extern MemoryContext row_buffer_context(const RowBuffer *buffer);
extern void row_buffer_empty(RowBuffer *buffer);
extern StoreAccount *row_buffer_lock_account(RowBuffer *buffer, text *account_id, bool make);
extern void row_buffer_lock_subscriptions(RowBuffer *buffer);
extern void row_buffer_save_subscriptions(RowBuffer *buffer);
extern RowNumbering *
row_buffer_numbering(RowBuffer *buffer, const pg_uuid_t *id, const text *account_id);
extern int32
row_buffer_changed_columns(TupleDesc descriptor, const Datum *old, const bool *old_nulls,
						   const Datum *values, const bool *nulls);
extern void row_buffer_push_error_context(RowErrorContext *where, const char *relation);
extern void row_buffer_locate(RowErrorContext *where, TupleTableSlot *slot);
extern void row_buffer_pop_error_context(RowErrorContext *where);

/* ---- lookahead.c: the same rows, with the conversations that are there already ---- */
typedef struct Lookahead Lookahead;
extern Lookahead *lookahead_create(RowBuffer *buffer, StoreQueue *queue);
extern bool lookahead_next(Lookahead *ahead, TupleTableSlot **row);
extern const ExistingConversations *lookahead_existing(const Lookahead *ahead);
extern void lookahead_end(Lookahead *ahead);

/* ---- modify.c: statements that write, as the executor calls them ---- */
typedef enum ModifyCommand
{
	MODIFY_INSERT,
	MODIFY_UPDATE,
	MODIFY_DELETE
} ModifyCommand;

/* The state of a node that writes to one relation; lives in the query's context. */
typedef struct RelationModify
{
	RelationKind kind;
	ModifyCommand command;
	EState *state; /* the statement's */
	Relation relation;
	Snapshot snapshot;    /* the statement's */
	bool at_once;         /* rows are written as they come: somebody's triggers are to see them */
	bool returns;         /* somebody wants to see what was filled in */
	bool skips_conflicts; /* ON CONFLICT DO NOTHING */
	bool finished;        /* the statement has ended, and all is written */
	AttrNumber keys[3];   /* of DELETE: conversation_id, account_id, seq in the plan's rows */
	MemoryContext row_context; /* emptied before each row */
	RowBuffer *buffer;
	bool shares_buffer;    /* it is another node's, which writes it */
	StoreSampler *sampler; /* of a bulk load without a dictionary; else NULL */
	const RelationIntake *intake;
	void *intake_state;
} RelationModify;

extern void
modify_begin(ModifyTableState *node, ResultRelInfo *result, List *private, int subplan, int flags);
extern void modify_begin_insert(ModifyTableState *node, ResultRelInfo *result);
extern TupleTableSlot *modify_insert(EState *state, ResultRelInfo *result, TupleTableSlot *slot,
									 TupleTableSlot *plan_slot);
extern TupleTableSlot *modify_update(EState *state, ResultRelInfo *result, TupleTableSlot *slot,
									 TupleTableSlot *plan_slot);
extern TupleTableSlot *modify_delete(EState *state, ResultRelInfo *result, TupleTableSlot *slot,
									 TupleTableSlot *plan_slot);
extern void modify_end(EState *state, ResultRelInfo *result);
extern void
modify_add_targets(PlannerInfo *root, Index relid, RangeTblEntry *entry, Relation relation);

/*
 * ---- modify_messages.c, modify_conversations.c: one row in, all rows out ----
 * A row's values are those of the relation's columns, and are changed to what
 * is stored.  insert returns false where the row is there already and is to be
 * skipped.  All need an SPI connection and the rights of the owner.
 */
extern TupleDesc messages_buffered(void);
extern bool messages_insert(RelationModify *modify, Datum *values, bool *nulls);
extern void messages_update(RelationModify *modify, const Datum *old, const bool *old_nulls,
							Datum *values, bool *nulls);
extern void messages_delete(RelationModify *modify, const Datum *keys);
extern void messages_write(RelationModify *modify);
extern TupleDesc conversations_buffered(void);
extern bool conversations_insert(RelationModify *modify, Datum *values, bool *nulls);
extern void conversations_update(RelationModify *modify, const Datum *old, const bool *old_nulls,
								 Datum *values, bool *nulls);
extern void conversations_delete(RelationModify *modify, const Datum *keys);
extern void conversations_write(RelationModify *modify);

#endif /* RELATION_PRIVATE_H */
