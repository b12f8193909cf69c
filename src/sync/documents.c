/*
 * documents.c
 *		What the store has as documents, as the manual's chapter on sync names
 *		their fields.
 *
 * A document is built in the array's memory context, texts copied: what the
 * feed gave is gone when it gives the next.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "sync.h"

/* What a document's names and small fields take, about. */
#define DOCUMENT_BYTES 400

/* So many messages' ids are kept for those that answer them. */
#define KNOWN_IDS 65536

typedef struct KnownMessage
{
	int64 seq;
	char *id;
} KnownMessage;

/* state: NULL, or the object whose next value the array is. */
void
sync_begin_documents(SyncDocuments *documents, JsonbParseState *state, StoreFeed *feed)
{
	memset(documents, 0, sizeof(*documents));
	documents->context = CurrentMemoryContext;
	documents->state = state;
	documents->feed = feed;
	pushJsonbValue(&documents->state, WJB_BEGIN_ARRAY, NULL);
}

/* The object that the array is in. */
JsonbParseState *
sync_end_documents(SyncDocuments *documents)
{
	pushJsonbValue(&documents->state, WJB_END_ARRAY, NULL);
	return documents->state;
}

/* What a document takes of a page's bytes. */
Size
sync_conversation_bytes(const StoreChanged *conversation)
{
	Size bytes = DOCUMENT_BYTES;

	if (conversation->title != NULL)
		bytes += VARSIZE_ANY_EXHDR(conversation->title);
	if (conversation->metadata != NULL)
		bytes += VARSIZE(conversation->metadata);
	return bytes;
}

/* About how many bytes the message's document takes, which max_bytes of memory.pull counts. */
Size
sync_message_bytes(const TranscriptMessage *message)
{
	return DOCUMENT_BYTES + (Size) message->content_len + message->metadata_len;
}

static char *
document_id(const pg_uuid_t *conversation_id, const TranscriptMessage *message)
{
	return message->message_id != NULL ? pnstrdup(message->message_id, message->message_id_len)
									   : sync_numbered_id(conversation_id, message->seq);
}

/* The document's id of a message that exists. */
char *
sync_message_document_id(StoreFeed *feed, const pg_uuid_t *conversation_id, int64 seq)
{
	char *id;

	return store_feed_message_id(feed, conversation_id, seq, &id)
			   ? id
			   : sync_numbered_id(conversation_id, seq);
}

/* ---- ids of the messages that came by ---- */

static void
forget_known(SyncDocuments *documents)
{
	if (documents->known != NULL)
		hash_destroy(documents->known);
	documents->known = NULL;
}

static HTAB *
known_of(SyncDocuments *documents, const pg_uuid_t *conversation_id)
{
	HASHCTL control = {0};

	if (documents->known != NULL && (memcmp(&documents->known_of, conversation_id, UUID_LEN) != 0 ||
									 hash_get_num_entries(documents->known) >= KNOWN_IDS))
		forget_known(documents);
	if (documents->known != NULL)
		return documents->known;
	documents->known_of = *conversation_id;
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(KnownMessage);
	control.hcxt = documents->context;
	documents->known =
		hash_create("memory_ext known ids", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return documents->known;
}

/* The id of the message's parent, from those that came by or from the store; NULL: it has none. */
static const char *
parent_id(SyncDocuments *documents, const pg_uuid_t *conversation_id, int64 parent_seq)
{
	KnownMessage *known;
	bool found;

	if (parent_seq <= 0)
		return NULL;
	known = hash_search(known_of(documents, conversation_id), &parent_seq, HASH_ENTER, &found);
	if (!found)
	{
		known->id = NULL;
		known->id = sync_message_document_id(documents->feed, conversation_id, parent_seq);
	}
	return known->id;
}

static void
note_id(SyncDocuments *documents, const pg_uuid_t *conversation_id, int64 seq, char *id)
{
	KnownMessage *known = hash_search(known_of(documents, conversation_id), &seq, HASH_ENTER, NULL);

	known->id = id;
}

/* ---- documents ---- */

static void
begin_document(SyncDocuments *documents)
{
	pushJsonbValue(&documents->state, WJB_BEGIN_OBJECT, NULL);
}

static void
end_document(SyncDocuments *documents, Size bytes)
{
	pushJsonbValue(&documents->state, WJB_END_OBJECT, NULL);
	documents->count++;
	documents->bytes += bytes;
}

/*
 * sync_add_conversation
 *		A conversation's document.  head is the id of a message; a deleted
 *		conversation has no more than its id and revision.
 */
void
sync_add_conversation(SyncDocuments *documents, const StoreChanged *conversation)
{
	MemoryContext old = MemoryContextSwitchTo(documents->context);
	JsonbParseState **state = &documents->state;

	begin_document(documents);
	sync_put_uuid(state, "id", &conversation->id);
	sync_put_number(state, "revision", conversation->revision);
	sync_put_bool(state, "_deleted", conversation->deleted);
	if (!conversation->deleted)
	{
		sync_put_text(state, "title", conversation->title);
		sync_put_bool(state, "archived", conversation->archived);
		sync_put_jsonb(state, "metadata", conversation->metadata);
		if (conversation->head_seq > 0)
		{
			char *head = sync_message_document_id(documents->feed, &conversation->id,
												  conversation->head_seq);

			sync_put_string(state, "head", head, strlen(head));
		}
		else
			sync_put_null(state, "head");
		sync_put_number(state, "message_count", conversation->message_count);
		sync_put_time(state, "created_at", conversation->created_at);
		sync_put_time(state, "updated_at", conversation->updated_at);
	}
	end_document(documents, sync_conversation_bytes(conversation));
	MemoryContextSwitchTo(old);
}

static void
put_message(SyncDocuments *documents, const pg_uuid_t *conversation_id,
			const TranscriptMessage *message, bool brief)
{
	JsonbParseState **state = &documents->state;
	const char *parent = parent_id(documents, conversation_id, message->parent_seq);

	sync_put_string(state, "parent", parent, parent == NULL ? 0 : strlen(parent));
	sync_put_number(state, "tokens", message->tokens);
	sync_put_time(state, "created_at", message->created_at);
	if (brief)
		return;
	sync_put_string(state, "role", message->role, message->role_len);
	sync_put_string(state, "content", message->content, message->content_len);
	sync_put_string(state, "model", message->model, message->model_len);
	sync_put_jsonb(state, "metadata",
				   message->metadata == NULL ? NULL
											 : DatumGetJsonbP(transcript_metadata_datum(message)));
}

/*
 * sync_add_message
 *		A message's document.  parent is the id of a message, null for a root; a
 *		deleted message has no more than its ids, seq and revision.  brief: only
 *		what the server sets.
 */
void
sync_add_message(SyncDocuments *documents, const pg_uuid_t *conversation_id,
				 const StoreChangedMessage *message, bool brief)
{
	MemoryContext old = MemoryContextSwitchTo(documents->context);
	JsonbParseState **state = &documents->state;
	char *id = document_id(conversation_id, &message->message);

	begin_document(documents);
	sync_put_string(state, "id", id, strlen(id));
	sync_put_uuid(state, "conversation_id", conversation_id);
	sync_put_number(state, "seq", message->message.seq);
	sync_put_number(state, "revision", message->message.revision);
	sync_put_bool(state, "_deleted", message->deleted);
	if (!message->deleted)
	{
		put_message(documents, conversation_id, &message->message, brief);
		note_id(documents, conversation_id, message->message.seq, id);
	}
	end_document(documents, brief ? DOCUMENT_BYTES : sync_message_bytes(&message->message));
	MemoryContextSwitchTo(old);
}

/* A document that the store has not, or no more; conversation_id NULL: it is a conversation. */
void
sync_add_deleted(SyncDocuments *documents, const pg_uuid_t *conversation_id, const char *id)
{
	MemoryContext old = MemoryContextSwitchTo(documents->context);

	begin_document(documents);
	sync_put_string(&documents->state, "id", id, strlen(id));
	if (conversation_id != NULL)
		sync_put_uuid(&documents->state, "conversation_id", conversation_id);
	sync_put_bool(&documents->state, "_deleted", true);
	end_document(documents, DOCUMENT_BYTES);
	MemoryContextSwitchTo(old);
}
