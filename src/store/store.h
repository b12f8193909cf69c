/*
 * store.h
 *		The store: accounts, conversations, segments and tail.  What other rooms
 *		call; what only the store's files share is in store_private.h.
 *
 * Calls inside the room go downward, from the SQL functions to the tables:
 *
 *	append.c, conversation.c, read.c, subscription.c	SQL functions
 *	bulk.c							new conversations, prepared before any lock
 *	write.c							the one write path
 *	edit.c							changes to messages that are there
 *	branch.c, open.c				reading a branch, opening a conversation
 *	message_ids.c, usage.c			unique message_ids; what metering is told
 *	rows.c							messages to rows and back
 *	account_lock.c, prepared.c, queue.c, fast.c, run.c
 *	id_filter.c, tables.c, store.c	filters, tables, settings and checks
 *
 * sampler.h has the first dictionary of a bulk load.  The relations
 * memory.messages and memory.conversations are a room above, src/relation.
 * Functions need an SPI connection unless they say otherwise.
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
#include "statement.h"
#include "transcript.h"

/* ---- settings (store.c) ---- */
extern int store_segment_messages;        /* a tail of so many messages is sealed */
extern int store_segment_kb;              /* or of so many bytes of content */
extern int store_buffer_kb;               /* -1: work_mem */
extern int store_seal_after;              /* seconds; an idle tail is sealed then */
extern int store_compact_after;           /* seconds; a resting conversation is compacted then */
extern int store_compact_kb;              /* raw size that segments are merged up to */
extern int store_purge_after;             /* seconds; tombstones are kept so long */
extern int store_dictionary_min_kb;       /* content that a dictionary is trained for */
extern int store_dictionary_max_kb;       /* its largest size */
extern int store_dictionary_min_accounts; /* that its text must have in common */
extern double store_dictionary_min_gain;  /* percent that a dictionary must save */
extern bool store_auto_dictionary;
extern TranscriptCompression store_compact_compression(void);

/* Defines the room's settings; called once, from _PG_init. */
extern void store_init(void);

/* ---- store.c: checks of arguments ---- */

/*
 * What every message must fulfil, whichever way it comes; fills in an estimate
 * for tokens left out.  Needs no SPI connection.  Errors: 22004, 22023, 54000.
 */
extern void store_check_message(TranscriptMessage *message);

/* metadata of a "what" is an object, so that tools can add keys to it.  Error: 22023. */
extern void store_check_metadata(Jsonb *metadata, const char *what);

/* A title is one line in a list.  Error: 54000. */
extern void store_check_title(const text *title);

/* The bytes of a message that count: of its content, and of its metadata in its text form. */
extern uint64 store_message_bytes(const TranscriptMessage *message);

/* The bytes of a title and of metadata in its text form, either may be NULL. */
extern int64 store_fields_bytes(const text *title, Jsonb *metadata);

/* A new conversation_id: a version 7 UUID of the current time, palloc'd. */
extern pg_uuid_t *store_new_uuid(void);

/* A UUID's text form, palloc'd. */
extern char *store_uuid_string(const pg_uuid_t *id);

/* ---- queue.c: rows of a bulk statement, inserted many at a time ---- */
typedef struct StoreQueue StoreQueue;

/* A new queue in the current memory context. */
extern StoreQueue *store_queue_create(void);

/* Whether the row of this conversation, a new one, waits here; NULL is an empty queue. */
extern bool store_queue_holds(const StoreQueue *queue, const pg_uuid_t *id, const text *account_id);

/* Writes what is queued; NULL is an empty queue. */
extern void store_queue_write(StoreQueue *queue);

/* ---- what a statement works on ---- */

/* A new conversation, prepared before the lock is taken: see bulk.c. */
typedef struct PreparedConversation PreparedConversation;

/* What a statement knows of a conversation's message_ids: see message_ids.c. */
typedef struct StoreIds StoreIds;

/* Messages that wait in memory, in order of seq. */
typedef struct StoreRun
{
	MemoryContext context; /* owns messages and their texts */
	TranscriptMessage *messages;
	uint32 count;
	uint32 capacity;
	uint64 bytes; /* of content */
} StoreRun;

/* Conversations that one statement gives revisions of one bucket, and what are many of them. */
#define STORE_BUCKET_CONVERSATIONS 4096
#define STORE_MANY_CONVERSATIONS 64

/* An account that a statement changes: its locks are held, its usage gathers. */
typedef struct StoreAccount
{
	text *account_id;
	int64 revision;        /* the statement's */
	char *subscription_id; /* when there are plans */
	bool charged;          /* usage is charged to the subscription, which is locked */
	QuotaHold *hold;       /* NULL: begun when the amounts are known */
	bool shared;           /* the hold is other accounts', too: who began it saves it */
	bool advanced;         /* the statement has taken more revisions than its row says */
	int64 opened;          /* conversations, in this statement */
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
	text *title;       /* of a new conversation, until its row is written; NULL: none */
	Jsonb *metadata;   /* likewise */
	bool archived;     /* likewise */
	bool has_times;    /* created_at and updated_at are set */
	StoreRun run;      /* added, not yet written */
	StoreRun held;     /* likewise, before the run: a full segment; see hold_run */
	StoreQueue *queue; /* where new rows gather; NULL: each is inserted at once */
	PreparedConversation *prepared; /* prepared before the lock is taken; else NULL */
	StoreIds *ids;                  /* NULL: no message with a message_id has come */
	bool segments_changed;          /* a segment was written or changed since ids were read */
	bool ids_are_new;     /* the caller has seen to it, under the lock: they are not looked up */
	bool used_now;        /* messages count as used today, however old they say they are */
	bool repeated;        /* a message came that is there already */
	bool changed;         /* something else was done */
	MeteringBatch *usage; /* NULL: made when needed */
	bool owns_usage;
	int64 charged_bytes; /* of content_bytes, what is in the account's amounts already */
} StoreConversation;

/* ---- account_lock.c: the account's lock, and what is charged under it ---- */

/*
 * Locks the account until the transaction ends and takes its next revision.
 * One that does not exist is made, or else the result is NULL: who only changes
 * what is there must not bring back an account that was forgotten.  locked: the
 * account's subscription, which is locked; NULL: it has no plan.  Error: 40001
 * this has changed before the lock was ours.
 */
extern StoreAccount *store_lock_account(text *account_id, const char *locked, bool make);

/*
 * Charges what the statement used; all of it is written by now.  Error: MX001,
 * which takes the whole statement back.
 */
extern void store_end_account(StoreAccount *account);

/*
 * The lock without a revision, for work that moves data and changes none.
 * false: there is no such account.
 */
extern bool store_hold_account(text *account_id);

/*
 * The locks of a statement that does not know yet whether it changes anything,
 * parent first; the account is made if it does not exist.  Once something was
 * changed store_save_revision takes the revision that it has.  Error: 40001.
 */
extern StoreAccount *store_hold_for_change(text *account_id);

/* Writes the last revision that the statement has taken, which others wait for. */
extern void store_save_revision(StoreAccount *account);
/* Makes the account $1 at $2, without a revision, if it does not exist. */
extern PlanStatement store_account_know_statement;

/* ---- open.c: conversations as a statement works on them ---- */
typedef enum StoreStanding
{
	STORE_UNKNOWN,
	STORE_LIVING,
	STORE_DELETED /* and its tombstone is still there */
} StoreStanding;

/* Whether the account has a conversation of this id, or had one; its lock is held. */
extern StoreStanding store_conversation_standing(text *account_id, const pg_uuid_t *id);

/* Error: P0002. */
extern void store_unknown_conversation(const pg_uuid_t *id, const text *account_id);

typedef enum StoreOpenMode
{
	STORE_EXISTING, /* error when unknown */
	STORE_CREATE,   /* made when unknown */
	STORE_PROBE     /* NULL when unknown or deleted */
} StoreOpenMode;

/*
 * The conversation as a statement of the account's revision works on it, in the
 * current memory context; the account's lock is held.  What other accounts have
 * under this id is not looked at.  Errors: P0002 unknown, 55000 deleted.
 */
extern StoreConversation *
store_open_conversation(StoreAccount *account, const pg_uuid_t *id, StoreOpenMode mode);

/* What tells conversations apart: an id is unique within its account only. */
typedef struct StoreKey
{
	pg_uuid_t id;
	text *account_id;
} StoreKey;

/* The rows of those conversations that exist, in order of account and id. */
typedef struct ExistingConversations
{
	SPITupleTable *rows;
	uint64 count;
} ExistingConversations;

/*
 * The keys of n conversations as two arrays, in the current memory context: the
 * statements that look conversations up by their whole key take them so.
 */
extern void store_key_arrays(const StoreKey *keys, int n, Datum *arrays);

/*
 * Reads the rows of n conversations, of those that there are.  The caller holds
 * the locks of their accounts, and frees the rows with SPI_freetuptable.
 */
extern void store_read_existing(const StoreKey *keys, int n, ExistingConversations *existing);

/* store_open_conversation, for one that store_read_existing has looked up: else it is new. */
extern StoreConversation *store_open_existing(StoreAccount *account, const pg_uuid_t *id,
											  const ExistingConversations *existing);

/*
 * The account of a row that names none, in the current memory context: the
 * session's, else that of the only conversation of this id.  Error: 22004.
 */
extern text *store_owner_of(const pg_uuid_t *id);

/*
 * The conversation's revision as the active snapshot sees it; 0: it does not.
 * An UPDATE's new values were made from what it saw, so a message that has a
 * later revision must not take them: the other change would be lost.
 */
extern int64 store_seen_revision(StoreConversation *conversation);

/* ---- write.c: the one write path ---- */

/*
 * Adds a checked message (store_check_message); seq 0 is assigned, as is
 * parent_seq -1; a missing created_at is now.  The message is copied.  Returns
 * its seq.  One whose message_id is there already is not added: see
 * store_check_repeated.  Errors: 22023 seq or parent_seq, 23505 seq or
 * message_id is taken.
 */
extern int64 store_add_message(StoreConversation *conversation, const TranscriptMessage *message);

/*
 * Writes what is still in memory, the conversation's row, and what it used;
 * nothing if all that came was there already.  bulk: a conversation that was
 * empty is sealed to its end.
 */
extern void store_close_conversation(StoreConversation *conversation, bool bulk);

/* Refuses a number that the caller gives and that no message can have.  Error: 22023. */
extern void store_check_seq(int64 seq);

/* A parent that the caller gives, not to be taken for the default, -1.  Error: 22023. */
extern void store_check_parent_given(int64 parent_seq);

/*
 * The parent of the message with this seq: -1 becomes the default, the message
 * before; 0 is a root; any other must be an earlier message that exists.
 * Error: 22023.
 */
extern void store_check_parent(StoreConversation *conversation, int64 seq, int64 *parent_seq);

/* The last message before a number; 0: there is none. */
extern int64 store_message_before(StoreConversation *conversation, int64 seq);

/* Writes tail and run as segments; both are empty then. */
extern void store_seal_tail(StoreConversation *conversation);

/* ---- changed.c: which accounts a transaction has changed ---- */

/*
 * To be told of the accounts that a transaction has changed, once it has been
 * committed: one call an account, with its last revision (0: it was forgotten).
 * Called where no error may be raised and nothing be read.
 */
typedef void (*StoreChangedSink)(const char *account_id, int64 revision);
extern void store_set_changed_sink(StoreChangedSink sink);
extern void store_mark_changed(const text *account_id, int64 revision);
extern void store_notify_account(StringInfo payload, const char *account_id, int64 revision);
extern void store_notify_rest(StringInfo payload);
extern void store_changed_init(void);

/* ---- feed.c: what has changed since a revision, under one snapshot ---- */
typedef struct StoreAccountState
{
	int64 revision;
	int64 purged;      /* the last revision of a tombstone that was removed; 0: none was */
	const char *epoch; /* palloc'd */
} StoreAccountState;

/* A conversation as the feed gives it; its texts are in the feed's row context. */
typedef struct StoreChanged
{
	pg_uuid_t id;
	int64 revision;
	int64 head_seq; /* 0: there is no message */
	int64 message_count;
	int64 token_count;
	int64 content_bytes;
	TimestampTz created_at;
	TimestampTz updated_at;
	bool archived;
	bool deleted;
	text *title;     /* NULL: none */
	Jsonb *metadata; /* NULL: none */
} StoreChanged;

typedef struct StoreChangedMessage
{
	bool deleted; /* of the message there are seq, message_id and revision then */
	TranscriptMessage message;
} StoreChangedMessage;

typedef struct StoreFeed StoreFeed;

extern bool store_account_state(text *account_id, StoreAccountState *state);
extern StoreFeed *store_feed_open(text *account_id, Snapshot snapshot);
extern void store_feed_close(StoreFeed *feed);
extern bool store_feed_newest(StoreFeed *feed, int64 n, int64 *revision, pg_uuid_t *id);
extern void store_feed_start(StoreFeed *feed, int64 revision, const pg_uuid_t *id, bool inclusive);
extern bool store_feed_next(StoreFeed *feed, StoreChanged *changed);
extern bool store_feed_conversation(StoreFeed *feed, const pg_uuid_t *id, StoreChanged *changed);
extern void
store_feed_messages(StoreFeed *feed, const pg_uuid_t *id, int64 after_seq, int64 after_revision);
extern bool store_feed_next_message(StoreFeed *feed, StoreChangedMessage *message);
extern bool
store_feed_message_id(StoreFeed *feed, const pg_uuid_t *id, int64 seq, char **message_id);

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

/* Refuses infinite times.  Error: 22023. */
extern void store_check_fields(const StoreFields *fields);

/* store_set_fields for a conversation that must be new.  Error: 23505 it exists. */
extern void store_create_conversation(StoreConversation *conversation, const StoreFields *fields);

/* Takes the given fields over and writes the row. */
extern void store_set_fields(StoreConversation *conversation, const StoreFields *fields);

/*
 * An UPDATE's new title and metadata were made from what the active snapshot
 * sees.  given: bits of StoreField.  Error: 40001 another transaction has
 * changed one that is given since, and its change would be lost.
 */
extern void store_check_unchanged(StoreConversation *conversation, int32 given);

/* ---- append.c: what functions on one conversation begin with ---- */

/* The first two arguments: account_id and conversation_id.  Errors: see account_check; 22004. */
extern void
store_conversation_arguments(FunctionCallInfo fcinfo, text **account_id, pg_uuid_t **id);

/* ---- bulk.c: new conversations, prepared before any lock ---- */

/* A new conversation, to which messages are added, in the current memory context. */
extern StoreConversation *store_prepare_conversation(text *account_id, const pg_uuid_t *id);

/* All messages have been added: they are compressed to the last one. */
extern void store_prepared_end(StoreConversation *conversation);

/*
 * Queues the rows, and adds what the messages use to the account and the batch.
 * The account's lock is held, and the conversation does not exist.  The caller
 * writes the queue and the batch, then ends the account.
 */
extern void store_prepared_write(StoreConversation *conversation, StoreAccount *account,
								 MeteringBatch *usage, StoreQueue *queue);

/* ---- rows.c: segments and tail rows to messages and back ---- */
typedef struct StoreSegment
{
	int64 first_seq;
	int64 last_seq;
	int64 revision; /* the messages' without one of their own, and the largest */
	Datum body;     /* gone with the next statement where SPI_tuptable holds it */
} StoreSegment;

/*
 * The first segment that begins at seq or later; false: there is none.
 * read_only: as the active snapshot sees it.
 */
extern bool store_segment_after(const pg_uuid_t *id, text *account_id, int64 seq, bool read_only,
								StoreSegment *segment);

/* A segment's messages, each with its revision, in the current memory context.  No SPI. */
extern Transcript *store_open_segment(const StoreSegment *segment);

/*
 * The revision of a segment of n > 0 messages, which is the largest one of
 * theirs.  Where all have the same, the row alone keeps it: they lose their own.
 * See store_open_segment.  Needs no SPI connection.
 */
extern int64 store_fold_revisions(TranscriptMessage *messages, uint32 n);

/* Finds one written message; its texts are in the current memory context or in SPI_tuptable. */
extern bool store_read_message(const pg_uuid_t *id, text *account_id, int64 seq, bool read_only,
							   TranscriptMessage *message);

/* Deletes the segment that begins at first_seq. */
extern void store_delete_segment(const pg_uuid_t *id, text *account_id, int64 first_seq);

/* What store_tail_row reads, in the order of the table. */
#define STORE_TAIL_MESSAGE                                                                         \
	"seq, parent_seq, revision, created_at, tokens, role, content, model, message_id, metadata,"   \
	" counted"

/*
 * A row of STORE_TAIL_MESSAGE in SPI_tuptable as a
 * message.  Its texts point into SPI_tuptable (or, detoasted, into the current
 * memory context).
 */
extern void store_tail_row(uint64 row, TranscriptMessage *message);

/*
 * The tail's rows of a conversation ($1, of account $2) from seq $3, in order of
 * seq, for store_tail_row.
 */
extern PlanStatement store_tail_read_statement;

/* Whether the conversation has the message, written or waiting in memory. */
extern bool store_message_exists(StoreConversation *conversation, int64 seq);

/* The largest seq that the conversation has on disk; 0: it has none. */
extern int64 store_last_message(StoreConversation *conversation);

/* ---- run.c ---- */

/* The message with this seq among n that are in order of seq, or NULL.  No SPI. */
extern TranscriptMessage *store_find_message(TranscriptMessage *messages, uint32 n, int64 seq);

/* ---- id_filter.c: filters over message_ids; no SPI ---- */

/* The filter of n messages, in the current memory context; NULL: none of them has an id. */
extern bytea *store_filter_ids(const TranscriptMessage *messages, uint32 n);

/* The filter as a statement's parameter: the value at n, and its place in nulls. */
extern void store_filter_datum(const bytea *filter, Datum *values, char *nulls, int n);

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

/*
 * Applies n changes, in order of seq, each seq once; a change whose message is
 * gone is left undone.  Returns how many were applied.  The caller saves the
 * conversation afterwards.  Errors: 23505 a message_id is given to a second
 * message, 40001 a message has changed since its seen_revision.
 */
extern int64 store_apply_changes(StoreConversation *conversation, StoreChange *changes, int n);

/* The seq that a deleted message of this message_id had; 0: its tombstone is not there. */
extern int64 store_buried_message(const StoreConversation *conversation, const char *message_id);

/* Deletes all that the conversation holds; its row stays as a tombstone. */
extern void store_delete_conversation(StoreConversation *conversation);

/* ---- message_ids.c: a message_id is unique within its conversation ---- */

/*
 * What is known of a conversation's ids, in the current memory context.
 * has_tail, has_segments: whether it has messages there.
 */
extern StoreIds *
store_ids_create(const pg_uuid_t *id, text *account_id, bool has_tail, bool has_segments);

/*
 * For a statement that gives numbers before it writes: the seq of the message
 * that has this one's id, stored or earlier in the statement, or else next_seq,
 * which is the id's from now on.  Error: 23505 the stored one differs.
 */
extern int64 store_ids_number(StoreIds *ids, const TranscriptMessage *message, int64 next_seq);

/* Whether the conversation has a message with this one's message_id, whatever else it has. */
extern bool store_has_message_id(StoreConversation *conversation, const TranscriptMessage *message);

/*
 * The same, with the message: its texts are valid until the next statement, or
 * the next message that is looked for.
 */
extern bool store_get_message_by_id(StoreConversation *conversation,
									const TranscriptMessage *wanted, TranscriptMessage *found);

/* ---- subscription.c: what an account is charged to ---- */

/* Tells the quota room how to count what an account has; called once, from _PG_init. */
extern void subscription_init(void);

/* An account that is to be written to, and what it is charged to. */
typedef struct StoreCharge
{
	text *account_id;
	char *subscription_id; /* locked; NULL: there is no plan, nothing is charged */
} StoreCharge;

/*
 * Locks the subscriptions of n accounts, in key order, before the first account
 * is locked.  Those that have no plan become NULL.
 */
extern void store_lock_charges(StoreCharge *charges, uint64 n);
extern void store_lock_before_moving(text **accounts, uint64 n, bool step);

/* What stands in the accounts of a subscription, and forgetting an account's row: see there. */
extern PlanStatement store_forget_counts_statement;
extern PlanStatement store_forget_account_statement;

/* ---- usage.c: what metering is told ---- */

/* Messages that leave the ledger, to become a segment or to be deleted. */
extern void
store_usage_taken(StoreConversation *conversation, TranscriptMessage *messages, uint32 n);

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

/* ---- branch.c: reading along the current branch, newest message first ---- */
typedef struct BranchReader BranchReader;

/*
 * A reader at the head of the branch, in the current memory context.
 * before_seq: it begins with messages before that, if the conversation is
 * linear.  max_messages: it is asked for no more.  NULL: unknown, or
 * deleted.
 */
extern BranchReader *
branch_open(const pg_uuid_t *id, text *account_id, int64 before_seq, int64 max_messages);

/*
 * The next older message of the branch, or NULL at its root.  It is valid until
 * the next call or the next statement of the store.
 */
extern const TranscriptMessage *branch_next(BranchReader *reader);

/* Whether the conversation has never branched. */
extern bool branch_is_linear(BranchReader *reader);

#endif /* STORE_H */
