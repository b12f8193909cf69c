/*
 * store_private.h
 *		What the store's files share; see store.h for what calls what.
 */
#ifndef STORE_PRIVATE_H
#define STORE_PRIVATE_H

#include "store.h"

/* ---- estimate.c ---- */

/* Estimated tokens of a UTF-8 text; at least 1 unless it is empty.  No SPI. */
extern int32 store_estimate_tokens(const char *text, size_t len);
/* The same of what metadata has for a model: tool calls, their results, parts.  NULL: 0. */
extern int32 store_estimate_sent(const char *metadata, uint32 length);
/* Both, of a message: what is sent to a model. */
extern int32 store_estimate_message(const TranscriptMessage *message);

/* Makes the tables of the estimate; called once, from store_init. */
extern void estimate_init(void);

/* ---- run.c: messages that wait in memory; no SPI ---- */

/* An empty run, whose memory context is below the current one. */
extern void store_run_init(StoreRun *run);

/* Forgets the run's messages and frees their texts. */
extern void store_run_reset(StoreRun *run);

/* Adds a copy of the message to the run and returns the copy. */
extern TranscriptMessage *store_run_push(StoreRun *run, const TranscriptMessage *message);

/* ---- id_filter.c: no SPI ---- */

/* The numbers of an id's bits: where they begin, and the first step. */
typedef struct StoreIdHash
{
	uint32 first;
	uint32 step;
} StoreIdHash;

/* Whether both have an id, and the same. */
extern bool store_same_id(const TranscriptMessage *a, const TranscriptMessage *b);

/* The numbers of the bits of a message's id, for any size of filter. */
extern StoreIdHash store_hash_id(const TranscriptMessage *message);

/* Whether a segment with this filter, detoasted, may have the id. */
extern bool store_filter_has(const bytea *filter, StoreIdHash hash);

/* The message of a transcript that has the id of another one; NULL: none. */
extern TranscriptMessage *
store_find_id(TranscriptMessage *messages, uint32 n, const TranscriptMessage *wanted);

/*
 * Whether a message repeats the stored one that has its message_id: role and
 * content are compared, and seq if it has one.  Error: 23505.
 */
extern void store_check_repeated(const pg_uuid_t *id, const TranscriptMessage *message,
								 const TranscriptMessage *stored);

/* ---- queue.c ---- */

/* Queues the parameters of an INSERT into segments; they are copied. */
extern void store_queue_segment(StoreQueue *queue, const Datum *values, const char *nulls);

/*
 * Queues the parameters of an INSERT into conversations, or of an UPDATE if it
 * exists, with the row's place if that is known; they are copied.
 */
extern void store_queue_conversation(StoreQueue *queue, const Datum *values, const char *nulls,
									 bool exists, const ItemPointerData *place);

/* ---- prepared.c: what a prepared conversation gathers; no SPI ---- */

/* A compressed segment that waits for its revision. */
typedef struct PreparedSegment
{
	int64 first_seq;
	int64 last_seq;
	Datum body;
	Datum message_ids;
	bool has_ids;
} PreparedSegment;

typedef struct PreparedUsage
{
	MeteringMessage message;
	MeteringKind kind;
} PreparedUsage;

struct PreparedConversation
{
	StoreConversation conversation;
	MemoryContext context;
	StoreAccount account; /* stands in */
	PreparedSegment *segments;
	uint32 nsegments;
	uint32 segment_capacity;
	PreparedUsage *usage;
	uint32 nusage;
	uint32 usage_capacity;
};

/* In the place of a segment's row: the parameters of its INSERT; they are copied. */
extern void
store_prepared_segment(PreparedConversation *prepared, const Datum *values, const char *nulls);

/* In the place of a metering batch. */
extern void store_prepared_usage(PreparedConversation *prepared, const MeteringMessage *message,
								 MeteringKind kind);

/*
 * ---- fast.c: without the executor ----
 * false: not possible now, and nothing is changed; a statement is to do it.
 */
typedef struct FastAppended
{
	int64 revision; /* the account's */
	char *subscription_id;
	int64 seq;     /* 0: there is more to be done, nothing but the account is changed */
	bool repeated; /* it is there already, as message seq: nothing is changed */
} FastAppended;

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

/* Appends a message where nothing else is to be done.  Error: 23505 its id is another one's. */
extern bool fast_append(text *account_id, const pg_uuid_t *id, const TranscriptMessage *message,
						FastAppended *appended);

/* The conversation, and the segment that a reader of messages before before_seq begins with. */
extern bool
fast_branch_start(const pg_uuid_t *id, text *account_id, int64 before_seq, StoreBranchStart *start);

/*
 * The newest messages of the tail before seq, at most limit, in order of seq, in
 * the current memory context; expected: how many there may be.
 */
extern bool fast_tail_before(const pg_uuid_t *id, text *account_id, int64 seq, int64 limit,
							 uint32 expected, TranscriptMessage **messages, uint32 *count);

/* The last segment that begins before seq; *found: there is one. */
extern bool fast_segment_before(const pg_uuid_t *id, text *account_id, int64 seq,
								StoreSegment *segment, bool *found);

/* ---- account_lock.c ---- */

/*
 * The account with what its row had when its lock was taken.  locked: its
 * subscription, which is locked; NULL: it has no plan.  Error: 40001 this has
 * changed before the lock was ours.
 */
extern StoreAccount *
store_found_account(text *account_id, int64 revision, char *subscription_id, const char *locked);

/* store_lock_account for a statement on one account: takes both locks, parent first. */
extern StoreAccount *store_begin_account(text *account_id, bool make);

/* The revision of the next conversation that the statement opens. */
extern int64 store_next_revision(StoreAccount *account);

/* Makes the account if it does not exist, and takes its lock without a revision. */
extern void store_know_account(text *account_id);

/* ---- rows.c ---- */

/* Deletes the tail's rows of a conversation and returns them; and one row, by its seq. */
extern PlanStatement store_tail_take_statement;
extern PlanStatement store_tail_one_statement;


/* Bytes as a text parameter; is_null: its place among the nulls, as SPI takes them. */
extern Datum store_bytes_datum(const char *data, uint32 length, char *is_null);

/* Writes a message as a row of the tail. */
extern void store_insert_tail(StoreConversation *conversation, const TranscriptMessage *message);

/* Changes the tail's row of the message. */
extern void store_update_tail(StoreConversation *conversation, const TranscriptMessage *message);

/* Compresses n > 0 messages, in order of seq, into a new segment. */
extern void
store_insert_segment(StoreConversation *conversation, const TranscriptMessage *messages, uint32 n);

/* The last segment that begins before seq; see store_segment_after. */
extern bool store_segment_before(const pg_uuid_t *id, text *account_id, int64 seq, bool read_only,
								 StoreSegment *segment);

/* How many of n > 0 messages the next segment takes. */
extern uint32 store_segment_share(const TranscriptMessage *messages, uint32 n);

/* ---- message_ids.c ---- */

/* Frees what is known of a conversation's ids. */
extern void store_ids_free(StoreIds *ids);

/*
 * The seq of the conversation's message that has this one's message_id; 0: there
 * is none, or it has no id.  It is known from now on: the caller adds it.
 * Error: 23505 role, content or seq differ.
 */
extern int64 store_known_message(StoreConversation *conversation, const TranscriptMessage *message);

/*
 * Refuses changes, in order of seq, that would give an id to two messages; what
 * the messages have when all are applied is what counts.  Error: 23505.
 */
extern void store_check_new_ids(StoreConversation *conversation, const StoreChange *changes, int n);

/* ---- usage.c ---- */

/*
 * How a message that a statement adds counts: by its time, or as used today where
 * the conversation says so.
 */
extern MeteringKind
store_usage_kind(const StoreConversation *conversation, const TranscriptMessage *message);

/* A message that a statement adds, which counts as that kind; late: its number was passed over. */
extern void store_usage_added(StoreConversation *conversation, TranscriptMessage *message,
							  MeteringKind kind, bool late);

/* An edit: what it adds is used today, what it takes away is noted as removed. */
extern void store_usage_edited(StoreConversation *conversation, TranscriptMessage *before,
							   TranscriptMessage *after, bool in_tail);

/* The message is removed; in_tail: it was a row of the tail. */
extern void
store_usage_removed(StoreConversation *conversation, TranscriptMessage *message, bool in_tail);

/* A conversation that is deleted, its tail's messages having left the ledger. */
extern void store_usage_deleted(StoreConversation *conversation);

/* Writes the conversation's own batch; a statement's is left to it. */
extern void store_usage_write(StoreConversation *conversation);

/* What title and metadata of a conversation add, in bytes of store_fields_bytes. */
extern void store_usage_fields_added(StoreConversation *conversation, int64 bytes);
extern void
store_usage_fields_changed(StoreConversation *conversation, int64 old_bytes, int64 new_bytes);

/* ---- open.c ---- */

/* An empty conversation that the store does not know; its run is in the current context. */
extern void store_init_conversation(StoreConversation *conversation, StoreAccount *account,
									const pg_uuid_t *id);

/* ---- write.c ---- */

/*
 * Writes what is still in the run, which ends.  bulk: a conversation that was
 * empty is sealed to its end.
 */
extern void store_finish_messages(StoreConversation *conversation, bool bulk);

/* Writes the conversation's row; title, metadata and archived only when it is new. */
extern void store_save_conversation(StoreConversation *conversation);

/* ---- append.c: what functions on one conversation begin with ---- */

/* An argument that names a message.  Error: 22004. */
extern int64 store_seq_argument(FunctionCallInfo fcinfo, int n);

/* Begins a statement on one conversation; NULL: STORE_PROBE, and there is no such account. */
extern StoreConversation *store_begin(text *account_id, const pg_uuid_t *id, StoreOpenMode mode);

#endif /* STORE_PRIVATE_H */
