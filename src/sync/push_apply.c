/*
 * push_apply.c
 *		What the rows of a push do to the store: conversations are merged field
 *		by field, messages are added, edited and deleted.
 *
 * The rules, of which the manual has a table.  The base of a merge is the
 * document that the device assumed to be stored; without one, an empty
 * conversation or no message.  A field that only the device has changed is
 * taken, one that only the store has changed is kept, one that both have changed
 * to different values is a conflict.  A field that a document does not have is
 * not changed.  Deleting is final.
 *
 * A row that cannot be stored is refused: here, where it can be told, or by an
 * error of the store, which push.c turns into a refusal.  The account's locks
 * are held; everything here needs an SPI connection.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"

#include "memory_limits.h"
#include "sync.h"

#define PARENT_HINT "Push the parent before it, or name another one, or null for a new root."

/* The row is not stored.  The texts are constants, or in the push's context. */
void
push_refuse(Push *push, PushRow *row, int sqlstate, const char *message, const char *detail,
			const char *hint)
{
	PushRefusal *refusal = MemoryContextAlloc(push->context, sizeof(PushRefusal));

	refusal->sqlstate = sqlstate;
	refusal->message = message;
	refusal->detail = detail;
	refusal->hint = hint;
	row->refusal = refusal;
}

/* ---- fields of documents ---- */

static const char *
kind_name(enum jbvType type)
{
	return type == jbvString    ? "a string"
		   : type == jbvBool    ? "a boolean"
		   : type == jbvNumeric ? "a number"
								: "a JSON object";
}

/*
 * The field of a document, palloc'd; NULL: it is null, or (present false) there
 * is none.  Error: 22023 it has another type.
 */
static JsonbValue *
read_field(JsonbContainer *document, const char *field, enum jbvType type, bool *present)
{
	JsonbValue *value = palloc(sizeof(JsonbValue));

	*present = document != NULL && sync_get(document, field, value);
	if (!*present || value->type == jbvNull)
		return NULL;
	if (value->type != type ||
		(type == jbvBinary && !JsonContainerIsObject(value->val.binary.data)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("field \"%s\" must be %s", field, kind_name(type)),
						errhint("Leave it out, or give it a value of that type.")));
	return value;
}

static JsonbValue *
string_value(const char *data, int length)
{
	JsonbValue *value;

	if (data == NULL)
		return NULL;
	value = palloc(sizeof(JsonbValue));
	value->type = jbvString;
	value->val.string.val = unconstify(char *, data);
	value->val.string.len = length;
	return value;
}

static JsonbValue *
object_value(Jsonb *object)
{
	JsonbValue *value;

	if (object == NULL)
		return NULL;
	value = palloc(sizeof(JsonbValue));
	value->type = jbvBinary;
	value->val.binary.data = &object->root;
	value->val.binary.len = VARSIZE(object) - VARHDRSZ;
	return value;
}

/* Of values that read_field has checked, or that were made above; NULL is null. */
static bool
is_same(const JsonbValue *a, const JsonbValue *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (a->type != b->type)
		return false;
	if (a->type == jbvBinary)
		return compareJsonbContainers(a->val.binary.data, b->val.binary.data) == 0;
	return a->val.string.len == b->val.string.len &&
		   memcmp(a->val.string.val, b->val.string.val, a->val.string.len) == 0;
}

/*
 * Merges a field three ways: true, the device's new value is to be taken, which
 * may be null.  has_base false: the device knew of no stored document.
 */
static bool
merge_field(PushRow *row, const char *field, const JsonbValue *stored, enum jbvType type,
			bool has_base, JsonbValue **taken)
{
	bool present;
	JsonbValue *new = read_field(row->document, field, type, &present);
	JsonbValue *base;

	if (!present || is_same(new, stored))
		return false;
	base = read_field(row->assumed, field, type, &present);
	if (has_base && is_same(new, base))
		return false;
	if (!has_base || !is_same(base, stored))
	{
		row->conflict = true;
		return false;
	}
	*taken = new;
	return true;
}

static text *
text_of(const JsonbValue *value)
{
	return value == NULL ? NULL
						 : cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

/* A time of the document's; one that is yet to come, by a device's clock, is taken for now. */
static bool
read_time(const PushRow *row, const char *field, TimestampTz *time)
{
	bool present;
	JsonbValue *value = read_field(row->document, field, jbvString, &present);
	TimestampTz now = GetCurrentStatementStartTimestamp();

	if (value == NULL)
		return false;
	*time = DatumGetTimestampTz(
		DirectFunctionCall3(timestamptz_in,
							CStringGetDatum(pnstrdup(value->val.string.val, value->val.string.len)),
							ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	*time = Min(*time, now);
	return true;
}

/* ---- reading what is stored ---- */

/* A feed of what the transaction sees now, its own changes too. */
StoreFeed *
push_open_feed(Push *push)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	return store_feed_open(push->account_id, GetActiveSnapshot());
}

/* Closes a feed of push_open_feed, and takes back its snapshot. */
void
push_close_feed(StoreFeed *feed)
{
	store_feed_close(feed);
	PopActiveSnapshot();
}

/* The conversation's message that a document's id names: as store_get_message_by_id. */
static bool
find_stored(StoreConversation *conversation, const char *id, int length, TranscriptMessage *found)
{
	TranscriptMessage wanted = {0};
	int64 seq;

	if (sync_read_numbered_id(id, length, &conversation->id, &seq))
		return store_read_message(&conversation->id, conversation->account_id, seq, false, found) &&
			   found->message_id == NULL;
	if (length > MEMORY_MAX_MESSAGE_ID_BYTES)
		return false;
	wanted.message_id = id;
	wanted.message_id_len = length;
	return store_get_message_by_id(conversation, &wanted, found);
}

/* ---- conversations ---- */

static text *
title_of(const JsonbValue *value)
{
	if (value != NULL && value->val.string.len > SYNC_MAX_TITLE_BYTES)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("title has %d bytes, more than the limit of %d",
							   value->val.string.len, SYNC_MAX_TITLE_BYTES),
						errhint("Shorten it.")));
	return text_of(value);
}

static Jsonb *
metadata_of(const JsonbValue *value)
{
	Jsonb *metadata = value == NULL ? NULL : JsonbValueToJsonb(unconstify(JsonbValue *, value));

	if (metadata != NULL && VARSIZE(metadata) > MEMORY_MAX_METADATA_BYTES)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("metadata has %u bytes, more than the limit of %u",
							   (unsigned) VARSIZE(metadata), (unsigned) MEMORY_MAX_METADATA_BYTES),
						errhint("Keep a part of it elsewhere.")));
	return metadata;
}

/* The fields of a conversation that is new to the store. */
static void
create_conversation(Push *push, PushRow *row)
{
	StoreFields fields = {.given = STORE_TITLE | STORE_METADATA | STORE_ARCHIVED};
	StoreConversation *conversation;
	JsonbValue *archived;
	bool present;

	fields.title = title_of(read_field(row->document, "title", jbvString, &present));
	fields.metadata = metadata_of(read_field(row->document, "metadata", jbvBinary, &present));
	archived = read_field(row->document, "archived", jbvBool, &present);
	fields.archived = archived != NULL && archived->val.boolean;
	if (read_time(row, "created_at", &fields.created_at))
		fields.given |= STORE_CREATED_AT;
	store_check_fields(&fields);
	/* its messages are still to come: what it is to be is told by the conflict */
	if (read_field(row->document, "head", jbvString, &present) != NULL)
		row->conflict = true;
	conversation = store_open_conversation(push->account, &row->conversation_id, STORE_CREATE);
	conversation->used_now = true;
	store_create_conversation(conversation, &fields);
	row->stored = true;
	push->changed = true;
}

/* Merges archived, whose null is false. */
static bool
merge_archived(PushRow *row, bool stored, bool *archived)
{
	bool present;
	JsonbValue *new = read_field(row->document, "archived", jbvBool, &present);
	JsonbValue *base;

	if (new == NULL || new->val.boolean == stored)
		return false;
	base = read_field(row->assumed, "archived", jbvBool, &present);
	/* of two values, one that both have changed is the same */
	if ((base != NULL && base->val.boolean) == new->val.boolean)
		return false;
	*archived = new->val.boolean;
	return true;
}

/* Merges head, which names a message; one that is not there (yet) is a conflict. */
static void
merge_head(Push *push, PushRow *row, const StoreChanged *stored, const char *stored_head,
		   StoreFields *fields)
{
	JsonbValue *head = NULL;
	StoreConversation *conversation;
	TranscriptMessage found;

	if (!merge_field(row, "head",
					 string_value(stored_head, stored_head == NULL ? 0 : strlen(stored_head)),
					 jbvString, true, &head))
		return;
	conversation = store_open_conversation(push->account, &row->conversation_id, STORE_EXISTING);
	if (head == NULL ||
		!find_stored(conversation, head->val.string.val, head->val.string.len, &found))
	{
		row->conflict = true;
		return;
	}
	fields->given |= STORE_HEAD_SEQ;
	fields->head_seq = found.seq;
}

/* Merges a conversation that lives. */
static void
merge_conversation(Push *push, PushRow *row)
{
	StoreFeed *feed = push_open_feed(push);
	StoreFields fields = {0};
	StoreChanged stored;
	JsonbValue *taken;
	char *head = NULL;

	if (!store_feed_conversation(feed, &row->conversation_id, &stored))
		elog(ERROR, "conversation %s is gone", store_uuid_string(&row->conversation_id));
	if (stored.head_seq > 0)
		head = sync_message_document_id(feed, &stored.id, stored.head_seq);
	if (merge_field(row, "title",
					stored.title == NULL
						? NULL
						: string_value(VARDATA_ANY(stored.title), VARSIZE_ANY_EXHDR(stored.title)),
					jbvString, true, &taken))
	{
		fields.given |= STORE_TITLE;
		fields.title = title_of(taken);
	}
	if (merge_field(row, "metadata", object_value(stored.metadata), jbvBinary, true, &taken))
	{
		fields.given |= STORE_METADATA;
		fields.metadata = metadata_of(taken);
	}
	if (merge_archived(row, stored.archived, &fields.archived))
		fields.given |= STORE_ARCHIVED;
	push_close_feed(feed);
	merge_head(push, row, &stored, head, &fields);
	row->stored = true;
	if (fields.given == 0)
		return;
	store_set_fields(store_open_conversation(push->account, &row->conversation_id, STORE_EXISTING),
					 &fields);
	push->changed = true;
}

static void
delete_conversation(Push *push, PushRow *row)
{
	store_delete_conversation(
		store_open_conversation(push->account, &row->conversation_id, STORE_EXISTING));
	push->changed = true;
}

static void
apply_conversation(Push *push, PushRow *row)
{
	StoreStanding standing = store_conversation_standing(push->account_id, &row->conversation_id);

	if (standing == STORE_LIVING)
	{
		if (row->deleted)
			delete_conversation(push, row);
		else
			merge_conversation(push, row);
	}
	else if (row->deleted)
		return; /* it is not there already */
	else if (standing == STORE_DELETED || row->assumed != NULL)
		row->conflict = true; /* deleted, and perhaps purged: that is final */
	else
		create_conversation(push, row);
}

/* ---- messages ---- */

/* The changes of a group's rows to messages that are there; they are applied in order of seq. */
typedef struct Changes
{
	StoreChange *changes;
	int count;
} Changes;

static void
take_string(const JsonbValue *value, const char **data, uint32 *length)
{
	*data = value == NULL ? NULL : value->val.string.val;
	*length = value == NULL ? 0 : value->val.string.len;
}

static void
take_metadata(const JsonbValue *value, TranscriptMessage *message)
{
	message->metadata = NULL;
	message->metadata_len = 0;
	if (value == NULL)
		return;
	message->metadata = JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
	message->metadata_len = strlen(message->metadata);
}

/* -1: it is to be estimated.  Errors: 22003, 22023. */
static int32
read_tokens(JsonbContainer *document)
{
	bool present;
	JsonbValue *value = read_field(document, "tokens", jbvNumeric, &present);
	int32 tokens;

	if (value == NULL)
		return -1;
	tokens = DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(value->val.numeric)));
	if (tokens < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("tokens must not be negative, it is %d", tokens),
						errhint("Leave tokens out to have them estimated.")));
	return tokens;
}

/*
 * The parent of a new message, as store_add_message takes it.  One that was
 * deleted is replaced by what is before it, as its other answers were.  False:
 * there is no such message, the row is refused.
 */
static bool
read_parent(Push *push, PushRow *row, StoreConversation *conversation, int64 *parent_seq)
{
	bool present;
	JsonbValue *parent = read_field(row->document, "parent", jbvString, &present);
	TranscriptMessage found;
	int64 buried = 0;

	*parent_seq = present ? 0 : TRANSCRIPT_PARENT_DEFAULT;
	if (parent == NULL)
		return true;
	if (find_stored(conversation, parent->val.string.val, parent->val.string.len, &found))
	{
		*parent_seq = found.seq;
		return true;
	}
	if (sync_read_numbered_id(parent->val.string.val, parent->val.string.len, &conversation->id,
							  &buried))
		buried = buried < conversation->next_seq ? buried : 0;
	else if (conversation->exists)
		buried = store_buried_message(conversation,
									  pnstrdup(parent->val.string.val, parent->val.string.len));
	if (buried == 0)
	{
		push_refuse(push, row, ERRCODE_FOREIGN_KEY_VIOLATION,
					"the message's parent does not exist in its conversation", NULL, PARENT_HINT);
		return false;
	}
	*parent_seq = store_message_before(conversation, buried);
	return true;
}

/* Adds a message that the conversation does not have. */
static void
add_message(Push *push, PushRow *row, StoreConversation *conversation)
{
	TranscriptMessage message = {0};
	bool present;

	take_string(read_field(row->document, "role", jbvString, &present), &message.role,
				&message.role_len);
	take_string(read_field(row->document, "content", jbvString, &present), &message.content,
				&message.content_len);
	take_string(read_field(row->document, "model", jbvString, &present), &message.model,
				&message.model_len);
	take_metadata(read_field(row->document, "metadata", jbvBinary, &present), &message);
	message.message_id = row->id;
	message.message_id_len = row->id_length;
	message.tokens = read_tokens(row->document);
	message.has_created_at = read_time(row, "created_at", &message.created_at);
	store_check_message(&message);
	if (!read_parent(push, row, conversation, &message.parent_seq))
		return;
	(void) store_add_message(conversation, &message);
	row->stored = row->added = true;
}

/* Merges a message that is there; what is to be changed is noted. */
static void
merge_message(PushRow *row, const TranscriptMessage *stored, Changes *changes)
{
	StoreChange *change = &changes->changes[changes->count];
	TranscriptMessage *message = &change->message;
	bool has_base = row->assumed != NULL;
	JsonbValue *taken;

	memset(change, 0, sizeof(*change));
	change->seq = stored->seq;
	change->remove = row->deleted;
	if (row->deleted)
	{
		changes->count++;
		return;
	}
	row->stored = true;
	change->set_role = merge_field(row, "role", string_value(stored->role, stored->role_len),
								   jbvString, has_base, &taken);
	if (change->set_role)
		take_string(taken, &message->role, &message->role_len);
	change->set_content =
		merge_field(row, "content", string_value(stored->content, stored->content_len), jbvString,
					has_base, &taken);
	if (change->set_content)
		take_string(taken, &message->content, &message->content_len);
	change->set_model = merge_field(row, "model", string_value(stored->model, stored->model_len),
									jbvString, has_base, &taken);
	if (change->set_model)
		take_string(taken, &message->model, &message->model_len);
	change->set_metadata =
		merge_field(row, "metadata",
					stored->metadata == NULL
						? NULL
						: object_value(DatumGetJsonbP(transcript_metadata_datum(stored))),
					jbvBinary, has_base, &taken);
	if (change->set_metadata)
		take_metadata(taken, message);
	if (!change->set_role && !change->set_content && !change->set_model && !change->set_metadata)
		return;
	/* a count that came with the new content; else it is estimated */
	message->tokens = read_tokens(row->document);
	change->set_tokens =
		change->set_content && message->tokens >= 0 && message->tokens != read_tokens(row->assumed);
	changes->count++;
}

/* What a row does that names a message which is not there. */
static void
apply_missing(Push *push, PushRow *row, StoreConversation *conversation)
{
	if (row->deleted)
		return;
	if (row->assumed != NULL ||
		(conversation->exists && store_buried_message(conversation, row->id) > 0))
		row->conflict = true; /* deleted, and perhaps purged: that is final */
	else if (sync_is_numbered_id(row->id, row->id_length))
		push_refuse(push, row, ERRCODE_INVALID_PARAMETER_VALUE,
					"ids of this form are made by the server", NULL,
					"Choose another id, such as a UUID.");
	else
		add_message(push, row, conversation);
}

static int
compare_changes(const void *a, const void *b)
{
	int64 left = ((const StoreChange *) a)->seq;
	int64 right = ((const StoreChange *) b)->seq;

	return left < right ? -1 : left > right;
}

/* Applies what was noted; of two changes to one message the first counts. */
static void
apply_changes(Push *push, const pg_uuid_t *id, Changes *changes)
{
	StoreConversation *conversation;
	int kept = 0;

	if (changes->count == 0)
		return;
	qsort(changes->changes, changes->count, sizeof(StoreChange), compare_changes);
	for (int i = 0; i < changes->count; i++)
		if (kept == 0 || changes->changes[kept - 1].seq != changes->changes[i].seq)
			changes->changes[kept++] = changes->changes[i];
	conversation = store_open_conversation(push->account, id, STORE_EXISTING);
	store_apply_changes(conversation, changes->changes, kept);
	store_close_conversation(conversation, false);
	push->changed = true;
}

/* The rows of one conversation that is not deleted, each behind its parent. */
static void
apply_messages(Push *push, PushRow **rows, int32 n)
{
	const pg_uuid_t *id = &rows[0]->conversation_id;
	StoreConversation *conversation = store_open_conversation(push->account, id, STORE_CREATE);
	Changes changes = {palloc(mul_size(n, sizeof(StoreChange))), 0};

	conversation->used_now = true;
	for (int32 i = 0; i < n; i++)
	{
		TranscriptMessage stored;

		CHECK_FOR_INTERRUPTS();
		if (find_stored(conversation, rows[i]->id, rows[i]->id_length, &stored))
			merge_message(rows[i], &stored, &changes);
		else
			apply_missing(push, rows[i], conversation);
	}
	if (conversation->changed)
	{
		store_close_conversation(conversation, n > store_segment_messages);
		push->changed = true;
	}
	apply_changes(push, id, &changes);
}

/* Rows of one conversation: one row, where they are conversations. */
static void
apply_group(Push *push, PushRow **rows, int32 n)
{
	if (push->collection == SYNC_CONVERSATIONS)
		for (int32 i = 0; i < n; i++)
			apply_conversation(push, rows[i]);
	else if (store_conversation_standing(push->account_id, &rows[0]->conversation_id) ==
			 STORE_DELETED)
		for (int32 i = 0; i < n; i++)
			rows[i]->conflict = !rows[i]->deleted;
	else
		apply_messages(push, rows, n);
}

/*
 * push_apply
 *		Applies n rows in the push's order.  Errors: whatever the store raises;
 *		then nothing of it counts, and the caller's subtransaction has ended.
 */
void
push_apply(Push *push, PushRow **rows, int32 n)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext push", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	for (int32 i = 0; i < n;)
	{
		int32 first = i++;

		CHECK_FOR_INTERRUPTS();
		while (i < n &&
			   memcmp(&rows[i]->conversation_id, &rows[first]->conversation_id, UUID_LEN) == 0)
			i++;
		apply_group(push, rows + first, i - first);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* ---- the answer ---- */

/* Adds the stored document of a row; one that is not there is a deleted one. */
void
push_add_stored(Push *push, PushRow *row, SyncDocuments *documents)
{
	StoreChangedMessage message = {0};
	StoreChanged stored;

	if (push->collection == SYNC_CONVERSATIONS)
	{
		if (store_feed_conversation(documents->feed, &row->conversation_id, &stored))
			sync_add_conversation(documents, &stored);
		else
			sync_add_deleted(documents, NULL, row->id);
		return;
	}
	if (push->answered == NULL || memcmp(&push->answered->id, &row->conversation_id, UUID_LEN) != 0)
		push->answered = store_open_conversation(push->account, &row->conversation_id, STORE_PROBE);
	if (push->answered != NULL &&
		find_stored(push->answered, row->id, row->id_length, &message.message))
		sync_add_message(documents, &row->conversation_id, &message, row->added);
	else
		sync_add_deleted(documents, &row->conversation_id, row->id);
}
