/*
 * sync.h
 *		Copies of an account's conversations that devices keep: what they pull,
 *		what they push, and a feed of changes for services.
 *
 * Calls inside the room go downward: SQL functions (pull.c, push.c) →
 * push_apply.c → documents.c → values.c.  Nothing here touches a table: what has
 * changed comes from the store's feed.c, what is pushed goes through its write
 * path.  Nobody above calls anything here.
 */
#ifndef SYNC_H
#define SYNC_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"
#include "store.h"

/* A checkpoint that cannot be continued from. */
#define MX010 MAKE_SQLSTATE('M', 'X', '0', '1', '0')

#define SYNC_MAX_DOCUMENTS 10000                /* of a page, and rows of a push */
#define SYNC_PAGE_BYTES (16 * 1024 * 1024)      /* of a page, unless it says otherwise */
#define SYNC_MAX_PAGE_BYTES (128 * 1024 * 1024) /* a jsonb has at most 256 MB */
#define SYNC_MAX_DEPTH 100                      /* of a document that is pushed */
#define SYNC_MAX_TITLE_BYTES (16 * 1024)

typedef enum SyncCollection
{
	SYNC_CONVERSATIONS,
	SYNC_MESSAGES
} SyncCollection;

/* ---- values.c: jsonb in and out, and the ids of documents ---- */
extern SyncCollection sync_collection(FunctionCallInfo fcinfo, int n);

/* A key of an object that is given; false: it has no such key. */
extern bool sync_get(JsonbContainer *object, const char *key, JsonbValue *value);
extern bool sync_depth_exceeds(JsonbContainer *container, int depth);
extern bool sync_read_uuid(const char *data, int length, pg_uuid_t *id);

/* Members of the object that is being built. */
extern void sync_put_key(JsonbParseState **state, const char *key);
extern void sync_put_null(JsonbParseState **state, const char *key);
extern void sync_put_bool(JsonbParseState **state, const char *key, bool value);
extern void sync_put_number(JsonbParseState **state, const char *key, int64 number);
extern void sync_put_string(JsonbParseState **state, const char *key, const char *data, int length);
extern void sync_put_text(JsonbParseState **state, const char *key, const text *value);
extern void sync_put_uuid(JsonbParseState **state, const char *key, const pg_uuid_t *id);
extern void sync_put_time(JsonbParseState **state, const char *key, TimestampTz time);
extern void sync_put_jsonb(JsonbParseState **state, const char *key, Jsonb *value);
extern void sync_begin_answer(void);
extern Datum sync_end_answer(JsonbParseState **state);

/*
 * The id of a message's document: its message_id, else CONVERSATION:SEQ.  The
 * first is palloc'd; the second reads such an id, false: it is of the other kind,
 * or of another conversation.
 */
extern char *sync_numbered_id(const pg_uuid_t *conversation_id, int64 seq);
extern bool sync_is_numbered_id(const char *id, int length);
extern bool
sync_read_numbered_id(const char *id, int length, const pg_uuid_t *conversation_id, int64 *seq);

/* ---- documents.c: what the store has as documents ---- */

/* An array of documents that grows; in the memory context that it was begun in. */
typedef struct SyncDocuments
{
	MemoryContext context;
	JsonbParseState *state;
	StoreFeed *feed; /* where the ids of other messages are looked up */
	int32 count;
	Size bytes;         /* about */
	pg_uuid_t known_of; /* a conversation, and the ids of its messages that came by */
	HTAB *known;        /* NULL: none has */
} SyncDocuments;

extern void sync_begin_documents(SyncDocuments *documents, JsonbParseState *state, StoreFeed *feed);
extern JsonbParseState *sync_end_documents(SyncDocuments *documents);
extern Size sync_conversation_bytes(const StoreChanged *conversation);
extern Size sync_message_bytes(const TranscriptMessage *message);
extern void sync_add_conversation(SyncDocuments *documents, const StoreChanged *conversation);
extern void sync_add_message(SyncDocuments *documents, const pg_uuid_t *conversation_id,
							 const StoreChangedMessage *message, bool brief);
extern void
sync_add_deleted(SyncDocuments *documents, const pg_uuid_t *conversation_id, const char *id);
extern char *sync_message_document_id(StoreFeed *feed, const pg_uuid_t *conversation_id, int64 seq);

/* ---- push_apply.c: rows of a push, on the account that is locked ---- */
typedef struct PushRefusal
{
	int sqlstate;
	const char *message;
	const char *detail; /* NULL: none */
	const char *hint;   /* likewise */
} PushRefusal;

typedef struct PushRow
{
	int32 number;             /* in the array, from 0 */
	JsonbContainer *document; /* newDocumentState */
	JsonbContainer *assumed;  /* assumedMasterState; NULL: none */
	char *id;                 /* NULL: none that can be told of */
	int id_length;
	pg_uuid_t conversation_id;
	bool deleted;  /* the document says so */
	bool conflict; /* the answer has the document that is stored, among the conflicts */
	bool stored;   /* the same, among those that agree: it was added, merged, or there already */
	bool added;    /* of that only what the server has set */
	bool placed;   /* it has its place behind its parent's */
	bool visited;
	PushRefusal *refusal; /* NULL: none */
} PushRow;

typedef struct Push
{
	MemoryContext context; /* what the answer needs */
	text *account_id;
	StoreAccount *account;
	SyncCollection collection;
	PushRow *rows;
	PushRow **order; /* by conversation, each behind its parent */
	int32 count;
	bool changed;                /* something was written */
	StoreConversation *answered; /* the last one that the answer had a message of; NULL: none */
} Push;

extern void push_refuse(Push *push, PushRow *row, int sqlstate, const char *message,
						const char *detail, const char *hint);
extern void push_apply(Push *push, PushRow **rows, int32 n);
extern StoreFeed *push_open_feed(Push *push);
extern void push_close_feed(StoreFeed *feed);
extern void push_add_stored(Push *push, PushRow *row, SyncDocuments *documents);

#endif /* SYNC_H */
