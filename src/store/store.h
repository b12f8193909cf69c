/*
 * store.h
 *		The store: accounts, conversations, segments and tail.
 *
 * Calls inside the room go downward: SQL functions (append.c, conversation.c,
 * seal.c, read.c) → write.c and edit.c → message_ids.c → rows.c and queue.c →
 * live.c and store_statements.c; usage.c stands beside rows.c.  What message_ids.c
 * knows of filters and of single messages needs nothing of the store, and is
 * everybody's.  The relations memory.messages and memory.conversations are a
 * room above, src/relation.
 */
#ifndef STORE_H
#define STORE_H

#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "storage/itemptr.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "account.h"
#include "quota.h"
#include "metering.h"
#include "transcript.h"

/* ---- settings (store.c) ---- */
extern int store_segment_messages;       /* a tail of so many messages is sealed */
extern int store_segment_bytes;          /* or of so many bytes of content */
extern int store_buffer_kb;              /* -1: work_mem */
extern int store_seal_after;             /* seconds; an idle tail is sealed then */
extern int store_compact_after;          /* seconds; a resting conversation is compacted then */
extern int store_compact_kb;             /* raw size that segments are merged up to */
extern int store_purge_after;            /* seconds; tombstones are kept so long */
extern int store_dictionary_min_kb;      /* content that a dictionary is trained for */
extern int store_dictionary_max_kb;      /* its largest size */
extern double store_dictionary_min_gain; /* percent that a dictionary must save */
extern bool store_auto_dictionary;
extern TranscriptCompression store_compact_compression(void);

/* Defines the room's settings; called once, from _PG_init. */
extern void store_init(void);

/* ---- store_statements.c: every SQL statement of the room, prepared once ---- */
typedef enum StoreStatement
{
	STORE_ACCOUNT_BUMP,
	STORE_ACCOUNT_CREATE,
	STORE_ACCOUNT_HOLD,
	STORE_ACCOUNT_KNOW,
	STORE_CONVERSATION_READ,
	STORE_CONVERSATIONS_READ,
	STORE_CONVERSATION_OWNERS,
	STORE_CONVERSATION_INSERT,
	STORE_CONVERSATIONS_INSERT,
	STORE_CONVERSATION_UPDATE,
	STORE_CONVERSATIONS_UPDATE,
	STORE_CONVERSATION_SET,
	STORE_CONVERSATION_TEXTS,
	STORE_CONVERSATION_BURY,
	STORE_CONVERSATION_SEALED,
	STORE_CONVERSATION_TOUCH,
	STORE_CONVERSATIONS_RECENT,
	STORE_APPEND,
	STORE_TAIL_INSERT,
	STORE_TAIL_UPDATE,
	STORE_TAIL_DELETE,
	STORE_TAIL_TAKE,
	STORE_TAIL_READ,
	STORE_TAIL_ONE,
	STORE_TAIL_ID,
	STORE_TAIL_NEWEST,
	STORE_BRANCH_OPEN,
	STORE_TAIL_IDLE,
	STORE_TAIL_ALL,
	STORE_SEGMENT_INSERT,
	STORE_SEGMENTS_INSERT,
	STORE_SEGMENT_DELETE,
	STORE_SEGMENT_BEFORE,
	STORE_SEGMENT_AFTER,
	STORE_SEGMENTS_DELETE,
	STORE_SEGMENTS_IDS,
	STORE_SEGMENTS_LYING,
	STORE_SEGMENTS_TOASTED,
	STORE_SEGMENT_RETOAST,
	STORE_SEGMENT_MOVE,
	STORE_CONVERSATIONS_LYING,
	STORE_CONVERSATION_MOVE,
	STORE_TOMBSTONE_INSERT,
	STORE_TOMBSTONE_DELETE,
	STORE_TOMBSTONES_DELETE,
	STORE_LAST_MESSAGE,
	STORE_MESSAGE_BEFORE,
	STORE_CONTENT_BYTES,
	STORE_SEGMENTS_PLAN,
	STORE_COMPACT_FRESH,
	STORE_COMPACT_RESTING,
	STORE_COMPACT_UNMARK,
	STORE_COMPACTION_READ,
	STORE_COMPACTION_CLEAR,
	STORE_COMPACTION_NOTE,
	STORE_SEGMENT_INSERT_COMPACT,
	STORE_SEGMENTS_MARK,
	STORE_COMPACT_STALE,
	STORE_DICTIONARY_ACCOUNTS,
	STORE_DICTIONARIES_STALE,
	STORE_DICTIONARIES_DROPPABLE,
	STORE_DICTIONARY_USED,
	STORE_SEGMENTS_UNREADABLE,
	STORE_DICTIONARY_DROP,
	STORE_TRAINING_DUE,
	STORE_TRAINING_NOTE,
	STORE_TRAINING_TRIED,
	STORE_TRAINING_CLEAR,
	STORE_FORGET_COUNTS,
	STORE_SUBSCRIPTION_ACCOUNTS,
	STORE_ACCOUNT_SUBSCRIBE,
	STORE_FORGET_LEDGER,
	STORE_FORGET_SEEN,
	STORE_FORGET_SEGMENTS,
	STORE_FORGET_TAIL,
	STORE_FORGET_TOMBSTONES,
	STORE_FORGET_CONVERSATIONS,
	STORE_FORGET_RETENTION,
	STORE_FORGET_ACCOUNT,
	STORE_RETENTION_SET,
	STORE_RETENTION_CLEAR,
	STORE_RETENTION_DUE,
	STORE_ERASURE_NOTE,
	STORE_ERASURES_DONE,
	STORE_PURGE_TOMBSTONES,
	STORE_PURGE_CONVERSATIONS,
	STORE_NSTATEMENTS
} StoreStatement;

/*
 * Runs a prepared statement inside SPI; nulls as SPI takes them, or NULL.
 * Returns SPI_processed; rows are in SPI_tuptable until the next call.
 */
extern uint64 store_execute(StoreStatement id, Datum *values, const char *nulls, bool read_only);

/* Parameters of STORE_SEGMENT_INSERT and STORE_CONVERSATION_INSERT; 0: memory.transcript. */
#define STORE_SEGMENT_COLUMNS 7
#define STORE_CONVERSATION_COLUMNS 16
#define STORE_CONVERSATION_CHANGING 13 /* those of STORE_CONVERSATION_UPDATE come first */
extern const Oid store_segment_types[STORE_SEGMENT_COLUMNS];
extern const Oid store_conversation_types[STORE_CONVERSATION_COLUMNS];

/* Column of a row of SPI_tuptable. */
extern Datum store_column(uint64 row, int column, bool *isnull);

/* ---- store.c: arguments ---- */

extern void store_check_message(TranscriptMessage *message);
extern Oid store_type_oid(const char *name);
extern pg_uuid_t *store_new_uuid(void);
extern char *store_uuid_string(const pg_uuid_t *id);
extern void store_check_limit(const char *name, int64 limit);
extern void store_check_metadata(Jsonb *metadata, const char *what);
extern int32 store_estimate_tokens(const char *text, size_t len);
extern void estimate_init(void);

/* ---- queue.c: rows of a bulk statement, inserted many at a time ---- */
typedef struct StoreQueue StoreQueue;
extern StoreQueue *store_queue_create(void);
extern void store_queue_segment(StoreQueue *queue, const Datum *values, const char *nulls);
extern void store_queue_conversation(StoreQueue *queue, const Datum *values, const char *nulls,
									 bool exists, const ItemPointerData *place);
extern bool store_queue_holds(const StoreQueue *queue, const pg_uuid_t *id, const text *account_id);
extern void store_queue_write(StoreQueue *queue);

/* ---- bulk.c: new conversations made ready before the lock ---- */
typedef struct StoreReady StoreReady;

/* ---- message_ids.c: what a statement knows of a conversation's message_ids ---- */
typedef struct StoreIds StoreIds;

/* ---- write.c: the one write path ---- */
typedef struct StoreRun
{
	MemoryContext context; /* owns messages and their texts */
	TranscriptMessage *messages;
	uint32 count;
	uint32 space;
	uint64 bytes; /* of content */
} StoreRun;

/* An account that a statement changes: its locks are held, its usage gathers. */
typedef struct StoreAccount
{
	text *account_id;
	int64 revision;        /* the statement's */
	char *subscription_id; /* when there are plans */
	bool charged;          /* usage is charged to the subscription, which is locked */
	QuotaHold *hold;       /* NULL: begun when the amounts are known */
	bool shared;           /* the hold is other accounts', too: who began it saves it */
	QuotaAmounts amounts;
	MemoryContext context;        /* that it lives in */
	struct StoreErasure *erasure; /* NULL: nothing was erased */
} StoreAccount;

/* The conversations row that a statement works on, under its account's lock. */
typedef struct StoreConversation
{
	pg_uuid_t id;
	StoreAccount *account;
	text *account_id;      /* the account's */
	int64 revision;        /* the statement's */
	bool exists;           /* has a row */
	ItemPointerData place; /* of the row, when it was read; invalid: it was not */
	bool fresh;            /* had no message when it was opened */
	bool pinned;           /* head_seq was promised by a restore: appends leave it */
	bool branched;
	int64 next_seq;
	int64 head_seq;
	int64 leaf;     /* the message that the next one answers by default */
	int64 last_seq; /* the largest seq that it has; -1: not looked up yet */
	int64 message_count;
	int64 token_count;
	int64 content_bytes;
	int64 tail_bytes;
	int32 tail_count;
	TimestampTz created_at;
	TimestampTz updated_at;
	text *title;          /* of a new conversation, until its row is written; NULL: none */
	Jsonb *metadata;      /* likewise */
	bool archived;        /* likewise */
	bool has_times;       /* created_at and updated_at are set */
	StoreRun run;         /* added, not yet written */
	StoreRun held;        /* likewise, before the run: a full segment; see hold_run */
	StoreQueue *queue;    /* where new rows gather; NULL: each is inserted at once */
	StoreReady *ready;    /* made ready before the lock is taken; else NULL */
	StoreIds *ids;        /* NULL: no message with a message_id has come */
	bool ids_are_new;     /* the caller has seen to it, under the lock: they are not looked up */
	bool repeated;        /* a message came that is there already */
	bool changed;         /* something else was done */
	MeteringBatch *usage; /* NULL: made when needed */
	bool owns_usage;
	int64 charged_bytes; /* content that is in the account's amounts already */
} StoreConversation;

typedef enum StoreOpenMode
{
	STORE_EXISTING, /* error when unknown */
	STORE_CREATE,   /* made when unknown */
	STORE_PROBE     /* NULL when unknown or deleted */
} StoreOpenMode;

extern StoreAccount *store_begin_account(text *account_id, bool make);
extern StoreAccount *
store_found_account(text *account_id, int64 revision, char *subscription_id, const char *locked);
extern StoreAccount *store_lock_account(text *account_id, const char *locked, bool make);
extern void store_end_account(StoreAccount *account);
extern bool store_hold_account(text *account_id);
extern void store_know_account(text *account_id);
extern StoreConversation *
store_open_conversation(StoreAccount *account, const pg_uuid_t *id, StoreOpenMode mode);

/* What tells conversations apart: an id is unique within its account only. */
typedef struct StoreKey
{
	pg_uuid_t id;
	text *account_id;
} StoreKey;

/* Rows of conversations that a batch of rows is for, in order of account and id. */
typedef struct StoreKnown
{
	SPITupleTable *rows;
	uint64 count;
} StoreKnown;

/* Columns of STORE_CONVERSATION(S)_READ: the last are the owner, the id and the row's place. */
#define STORE_CONVERSATION_READ_COLUMNS 15

extern void store_key_arrays(const StoreKey *keys, int n, Datum *arrays);
extern void store_read_known(const StoreKey *keys, int n, StoreKnown *known);
extern StoreConversation *
store_open_known(StoreAccount *account, const pg_uuid_t *id, const StoreKnown *known);
extern int64 store_add_message(StoreConversation *conversation, const TranscriptMessage *message);
extern void store_init_conversation(StoreConversation *conversation, StoreAccount *account,
									const pg_uuid_t *id);
extern void store_finish_messages(StoreConversation *conversation, bool bulk);
extern void store_close_conversation(StoreConversation *conversation, bool bulk);

extern void store_check_seq(int64 seq);
extern void store_check_parent_given(int64 parent_seq);
extern void store_save_conversation(StoreConversation *conversation);
extern uint32 store_segment_share(const TranscriptMessage *messages, uint32 n);
extern void store_seal_tail(StoreConversation *conversation);
extern void store_check_parent(StoreConversation *conversation, int64 seq, int64 *parent_seq);
extern int64 store_last_message(StoreConversation *conversation);
extern void store_unknown_conversation(const pg_uuid_t *id, const text *account_id);
extern text *store_owner_of(const pg_uuid_t *id);
extern int64 store_seen_revision(StoreConversation *conversation);

/* ---- conversation.c: the fields that people set ---- */
typedef enum StoreField
{
	STORE_TITLE = 1 << 0,
	STORE_METADATA = 1 << 1,
	STORE_ARCHIVED = 1 << 2,
	STORE_HEAD_SEQ = 1 << 3,
	STORE_CREATED_AT = 1 << 4,
	STORE_UPDATED_AT = 1 << 5
} StoreField;

typedef struct StoreFields
{
	int32 given;     /* bits of StoreField */
	text *title;     /* NULL: none */
	Jsonb *metadata; /* NULL: none */
	bool archived;
	int64 head_seq;
	TimestampTz created_at;
	TimestampTz updated_at;
} StoreFields;

extern void store_check_fields(const StoreFields *fields);
extern void store_create_conversation(StoreConversation *conversation, const StoreFields *fields);
extern void store_set_fields(StoreConversation *conversation, const StoreFields *fields);
extern void store_check_unchanged(StoreConversation *conversation, int32 given);

/* ---- bulk.c ---- */
extern StoreConversation *store_ready_begin(text *account_id, const pg_uuid_t *id);
extern void store_ready_segment(StoreReady *ready, const Datum *values, const char *nulls);
extern void store_ready_usage(StoreReady *ready, const MeteringMessage *message, MeteringKind kind);
extern void store_ready_end(StoreConversation *conversation);
extern void store_ready_write(StoreConversation *conversation, StoreAccount *account,
							  MeteringBatch *usage, StoreQueue *queue);

/* ---- append.c: what functions on one conversation begin with ---- */
extern void
store_conversation_arguments(FunctionCallInfo fcinfo, text **account_id, pg_uuid_t **id);
extern StoreConversation *store_begin(text *account_id, const pg_uuid_t *id, StoreOpenMode mode);

/* ---- rows.c: segments and tail rows to messages and back ---- */
typedef struct StoreSegment
{
	int64 first_seq;
	int64 last_seq;
	int64 revision; /* the messages' without one of their own, and the largest */
	Datum body;     /* gone with the next statement where SPI_tuptable holds it */
} StoreSegment;

extern void store_run_init(StoreRun *run);
extern void store_run_reset(StoreRun *run);
extern TranscriptMessage *store_run_push(StoreRun *run, const TranscriptMessage *message);
extern StoreAccount *
store_append_simple(text *account_id, const pg_uuid_t *id, const TranscriptMessage *message,
					QuotaHold *hold, int64 *seq);
extern StoreAccount *
store_append_statement(text *account_id, const pg_uuid_t *id, const TranscriptMessage *message,
					   QuotaHold *hold, int64 *seq);
extern void store_insert_tail(StoreConversation *conversation, const TranscriptMessage *message);
extern void
store_insert_segment(StoreConversation *conversation, const TranscriptMessage *messages, uint32 n);
extern void store_tail_row(uint64 row, TranscriptMessage *message);
extern void store_update_tail(StoreConversation *conversation, const TranscriptMessage *message);
extern bool store_segment_before(const pg_uuid_t *id, text *account_id, int64 seq, bool read_only,
								 StoreSegment *segment);
extern bool store_segment_after(const pg_uuid_t *id, text *account_id, int64 seq, bool read_only,
								StoreSegment *segment);
extern Transcript *store_open_segment(const StoreSegment *segment);
extern int64 store_fold_revisions(TranscriptMessage *messages, uint32 n);
extern void store_delete_segment(const pg_uuid_t *id, text *account_id, int64 first_seq);
extern TranscriptMessage *store_find_message(TranscriptMessage *messages, uint32 n, int64 seq);
extern bool store_read_message(const pg_uuid_t *id, text *account_id, int64 seq, bool read_only,
							   TranscriptMessage *message);
extern bool store_message_exists(StoreConversation *conversation, int64 seq);

/*
 * ---- live.c: without the executor ----
 * false: not possible now, and nothing is changed; a statement is to do it.
 */
typedef struct LiveAppended
{
	int64 revision; /* the account's */
	char *subscription_id;
	int64 seq;     /* 0: there is more to be done, nothing but the account is changed */
	bool repeated; /* it is there already, as message seq: nothing is changed */
} LiveAppended;

typedef struct StoreBranchStart
{
	bool found; /* false: unknown or deleted, and nothing else is set */
	int64 next_seq;
	int64 head_seq;
	int32 tail_count;
	bool branched;        /* and there are messages */
	bool has_segment;     /* the last segment that the branch may reach into */
	StoreSegment segment; /* its body is in the current memory context */
} StoreBranchStart;

extern bool live_append(text *account_id, const pg_uuid_t *id, const TranscriptMessage *message,
						LiveAppended *appended);
extern bool
live_branch_start(const pg_uuid_t *id, text *account_id, int64 before_seq, StoreBranchStart *start);
extern bool live_tail_before(const pg_uuid_t *id, text *account_id, int64 seq, int64 limit,
							 uint32 expected, TranscriptMessage **messages, uint32 *count);
extern bool live_segment_before(const pg_uuid_t *id, text *account_id, int64 seq,
								StoreSegment *segment, bool *found);

/* ---- edit.c: changes to messages that are there ---- */
typedef struct StoreChange
{
	int64 seq;
	bool remove;
	bool insert;   /* a message before next_seq that was missing */
	bool set_role; /* which fields of message are to be taken */
	bool set_content;
	bool set_model;
	bool set_tokens;
	bool set_created_at;
	bool set_message_id;
	bool set_metadata;
	bool set_parent;
	bool done;           /* applied (false: the message is gone) */
	int64 seen_revision; /* refused when the message has a later one; 0: never */
	TranscriptMessage message;
} StoreChange;

extern int64 store_apply_changes(StoreConversation *conversation, StoreChange *changes, int n);
extern void store_delete_conversation(StoreConversation *conversation);

/* ---- message_ids.c: a message_id is unique within its conversation ---- */
typedef struct StoreIdHash
{
	uint32 first;
	uint32 step;
} StoreIdHash;

extern bool store_same_id(const TranscriptMessage *a, const TranscriptMessage *b);
extern StoreIdHash store_hash_id(const TranscriptMessage *message);
extern bytea *store_filter_ids(const TranscriptMessage *messages, uint32 n);
extern bool store_filter_has(const bytea *filter, StoreIdHash hash);
extern void store_filter_datum(const bytea *filter, Datum *values, char *nulls, int n);
extern TranscriptMessage *
store_find_id(TranscriptMessage *messages, uint32 n, const TranscriptMessage *wanted);
extern void store_check_repeated(const pg_uuid_t *id, const TranscriptMessage *message,
								 const TranscriptMessage *stored);
extern StoreIds *
store_ids_create(const pg_uuid_t *id, text *account_id, bool has_tail, bool has_segments);
extern void store_ids_free(StoreIds *ids);
extern void store_ids_changed(StoreIds *ids);
extern int64 store_ids_number(StoreIds *ids, const TranscriptMessage *message, int64 next_seq);
extern bool store_has_message_id(StoreConversation *conversation, const TranscriptMessage *message);
extern int64 store_known_message(StoreConversation *conversation, const TranscriptMessage *message);
extern void store_check_new_ids(StoreConversation *conversation, const StoreChange *changes, int n);

/* ---- subscription.c: what stands, for the quota room; locks ---- */
extern void subscription_init(void);

/* An account that is to be written to, and what it is charged to. */
typedef struct StoreCharge
{
	text *account_id;
	char *subscription_id; /* locked; NULL: there is no plan, nothing is charged */
} StoreCharge;

extern void store_lock_charges(StoreCharge *charges, uint64 n);

/* ---- usage.c: what metering is told ---- */
extern void
store_usage_added(StoreConversation *conversation, TranscriptMessage *message, bool late);
extern void
store_usage_taken(StoreConversation *conversation, TranscriptMessage *messages, uint32 n);
extern void store_usage_edited(StoreConversation *conversation, TranscriptMessage *before,
							   TranscriptMessage *after, bool in_tail);
extern void
store_usage_removed(StoreConversation *conversation, TranscriptMessage *message, bool in_tail);
extern void store_usage_deleted(StoreConversation *conversation);
extern void store_usage_write(StoreConversation *conversation);

/* ---- erase.c: what else memory.forget erases, for rooms above this one ---- */
typedef void (*StoreForget)(text *account_id);
extern void store_set_forget(StoreForget forget);

/*
 * ---- erasure.c: texts that a statement has erased ----
 * For rooms above that keep something derived from them.
 */
typedef struct StoreErased
{
	pg_uuid_t id;
	int64 seq; /* of the message; 0: the conversation's title; -1: all that it had */
} StoreErased;

typedef void (*StoreErase)(text *account_id, const StoreErased *erased, int n);
extern void store_set_erase(StoreErase erase);
extern void store_note_erased(StoreConversation *conversation, int64 seq);
extern void store_erase_noted(StoreAccount *account);

/* ---- account_scan.c: all that accounts have, for rooms that look through it ---- */
typedef struct StoreScan StoreScan;

/* A conversation as it is listed; title and metadata until the next one is. */
typedef struct StoreListed
{
	pg_uuid_t id;
	int64 next_seq;
	int64 head_seq;
	int64 message_count;
	int64 token_count;
	int64 content_bytes;
	int64 revision;
	TimestampTz created_at;
	TimestampTz updated_at;
	bool branched;
	bool archived;
	bool has_title;
	bool has_metadata;
	Datum title;
	Datum metadata;
} StoreListed;

/* Which messages of a conversation are wanted. */
typedef struct StoreRange
{
	int64 first_seq;
	int64 last_seq;
	int64 after_revision; /* only those with a later one; -1: all */
	TimestampTz first_at; /* segments without any of this time are passed over */
	TimestampTz last_at;
} StoreRange;

typedef struct StoreMessages
{
	TranscriptMessage *messages;
	uint32 count;
} StoreMessages;

extern StoreScan *store_scan_begin(bool careful);
extern int64 store_scan_unreadable(const StoreScan *scan);
extern void store_scan_end(StoreScan *scan);
extern bool store_scan_account(StoreScan *scan, text *account_id, int64 *revision);
extern void store_scan_accounts(StoreScan *scan, text *after);
extern bool store_scan_next_account(StoreScan *scan, text **account_id, int64 *revision);
extern void store_scan_conversations(StoreScan *scan, text *account_id, int64 after_revision);
extern bool store_scan_next_conversation(StoreScan *scan, StoreListed *listed);
extern bool store_scan_conversation(StoreScan *scan, text *account_id, const pg_uuid_t *id,
									StoreListed *listed);
extern void store_scan_messages(StoreScan *scan, text *account_id, const pg_uuid_t *id,
								const StoreRange *range);
extern bool store_scan_next_messages(StoreScan *scan, StoreMessages *messages);

/* ---- branch.c: reading along the current branch ---- */
typedef struct BranchReader BranchReader;
extern BranchReader *
branch_open(const pg_uuid_t *id, text *account_id, int64 before_seq, int64 max_messages);
extern const TranscriptMessage *branch_next(BranchReader *reader);
extern bool branch_is_linear(BranchReader *reader);

#endif /* STORE_H */
