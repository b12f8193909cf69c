/*
 * native.c
 *		The native format: a conversation as the two views show it, lossless.
 *
 *	{"conversation_id": "…", "account_id": "…", "title": "…", "metadata": {…},
 *	 "archived": false, "head_seq": 2, "created_at": "…", "updated_at": "…",
 *	 "messages": [{"seq": 1, "parent_seq": 0, "role": "user", "content": "…",
 *		"model": "…", "tokens": 3, "created_at": "…", "message_id": "…",
 *		"metadata": {…}}, …]}
 *
 * Keys may be left out, except for messages, role and content; null is the
 * same.  A message's seq is the one before plus 1 where it is left out, its
 * parent_seq the message before it; one that is not there makes a root.  A key
 * that is not known is refused: it would be lost.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "formats_private.h"
#include "json_text.h"
#include "sorted.h"

typedef enum ConversationKey
{
	KEY_CONVERSATION_ID,
	KEY_ACCOUNT_ID,
	KEY_TITLE,
	KEY_METADATA,
	KEY_ARCHIVED,
	KEY_HEAD_SEQ,
	KEY_CREATED_AT,
	KEY_UPDATED_AT,
	KEY_MESSAGES,
	KEY_MESSAGE_COUNT, /* the view's derived columns are not looked at */
	KEY_TOKEN_COUNT,
	KEY_CONTENT_BYTES,
	CONVERSATION_NKEYS
} ConversationKey;

typedef enum MessageKey
{
	KEY_SEQ,
	KEY_PARENT_SEQ,
	KEY_ROLE,
	KEY_CONTENT,
	KEY_MODEL,
	KEY_TOKENS,
	KEY_MESSAGE_CREATED_AT,
	KEY_MESSAGE_ID,
	KEY_MESSAGE_METADATA,
	MESSAGE_NKEYS
} MessageKey;

static const char *const conversation_keys[CONVERSATION_NKEYS] =
	{"conversation_id", "account_id", "title",    "metadata",      "archived",    "head_seq",
	 "created_at",      "updated_at", "messages", "message_count", "token_count", "content_bytes"};

static const char *const message_keys[MESSAGE_NKEYS] = {"seq",        "parent_seq", "role",
														"content",    "model",      "tokens",
														"created_at", "message_id", "metadata"};

/* What a document says of a message, before its parent is looked for. */
typedef struct NativeMessage
{
	int64 parent_seq; /* -1: not said */
} NativeMessage;

typedef struct NativeReader
{
	TransferProblem *problem;
	TransferConversation *conversation;
	NativeMessage *parents;
	int64 head_seq; /* 0: not said */
} NativeReader;

static int
find_key(const char *const *keys, int nkeys, const JsonbValue *key)
{
	for (int i = 0; i < nkeys; i++)
		if (strlen(keys[i]) == key->val.string.len &&
			memcmp(keys[i], key->val.string.val, key->val.string.len) == 0)
			return i;
	return -1;
}

/* Whether an object has no keys but these. */
static bool
has_only(JsonbContainer *object, const char *const *keys, int nkeys)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue value;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		if (token == WJB_KEY && find_key(keys, nkeys, &value) < 0)
			return false;
	return true;
}

static JsonbContainer *
container_of(const JsonbValue *value, bool array)
{
	if (value == NULL || value->type != jbvBinary ||
		JsonContainerIsArray(value->val.binary.data) != array)
		return NULL;
	return value->val.binary.data;
}

/* Whether an object has one of these keys. */
static bool
has_any(JsonbContainer *object, const char *const *keys, int nkeys)
{
	JsonbValue value;

	for (int i = 0; i < nkeys; i++)
		if (getKeyJsonValueFromContainer(object, keys[i], (int) strlen(keys[i]), &value) != NULL)
			return true;
	return false;
}

/*
 * A document with an array of messages and a key that other formats do not
 * have, and none that is not ours, in it or in its first message.
 */
static bool
native_detect(Jsonb *document)
{
	static const char *const own_keys[] = {"conversation_id", "account_id", "title",
										   "archived",        "head_seq",   "created_at",
										   "updated_at",      "token_count"};
	static const char *const own_message_keys[] = {"seq",        "parent_seq", "tokens",
												   "created_at", "message_id", "model"};
	JsonbContainer *root = &document->root;
	JsonbContainer *messages;
	JsonbValue value;
	JsonbValue *first;
	bool found;

	if (!JsonContainerIsObject(root))
		return false;
	found = has_any(root, own_keys, lengthof(own_keys));
	messages = container_of(getKeyJsonValueFromContainer(root, "messages", 8, &value), true);
	if (messages == NULL || !has_only(root, conversation_keys, CONVERSATION_NKEYS))
		return false;
	if (JsonContainerSize(messages) == 0)
		return found;
	first = getIthJsonbValueFromContainer(messages, 0);
	return container_of(first, false) != NULL &&
		   (found ||
			has_any(first->val.binary.data, own_message_keys, lengthof(own_message_keys))) &&
		   has_only(first->val.binary.data, message_keys, MESSAGE_NKEYS);
}

/* ---- reading ---- */

static bool
take_text(const JsonbValue *value, TransferText *text)
{
	if (value->type != jbvString)
		return false;
	text->data = value->val.string.val;
	text->length = value->val.string.len;
	return true;
}

static bool
take_integer(const JsonbValue *value, int64 min, int64 max, int64 *number)
{
	char *digits;
	char *end;

	if (value->type != jbvNumeric || numeric_is_nan(value->val.numeric))
		return false;
	digits = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	errno = 0;
	*number = strtoll(digits, &end, 10);
	return errno == 0 && *end == '\0' && *number >= min && *number <= max;
}

static bool
take_object(const JsonbValue *value, Jsonb **object)
{
	if (container_of(value, false) == NULL)
		return false;
	*object = JsonbValueToJsonb(unconstify(JsonbValue *, value));
	return true;
}

static bool
take_time(const JsonbValue *value, TimestampTz *time, bool *has_time)
{
	*has_time = value->type == jbvString &&
				transfer_parse_time(value->val.string.val, value->val.string.len, time);
	return *has_time;
}

static bool
refuse_key(NativeReader *reader, TransferReason reason, const char *prefix, const char *key,
		   const char *what)
{
	return transfer_refuse(reader->problem, reason, psprintf("%s.%s", prefix, key), "%s %s", key,
						   what);
}

static bool
refuse_unknown(NativeReader *reader, const char *prefix, const JsonbValue *key)
{
	char *name = pnstrdup(key->val.string.val, Min(key->val.string.len, 100));

	return transfer_refuse(reader->problem, TRANSFER_BAD_VALUE, psprintf("%s.%s", prefix, name),
						   "unknown key \"%s\"", name);
}

static bool
read_message_key(NativeReader *reader, const char *prefix, MessageKey key, const JsonbValue *value,
				 TransferMessage *message, NativeMessage *parent)
{
	const char *name = message_keys[key];
	int64 number = 0;

	switch (key)
	{
		case KEY_SEQ:
			if (!take_integer(value, 1, PG_INT64_MAX, &message->seq))
				return refuse_key(reader, TRANSFER_BAD_VALUE, prefix, name,
								  "is not a whole number from 1");
			return true;
		case KEY_PARENT_SEQ:
			if (!take_integer(value, 0, PG_INT64_MAX, &parent->parent_seq))
				return refuse_key(reader, TRANSFER_BAD_PARENT, prefix, name,
								  "is not a whole number from 0");
			return true;
		case KEY_ROLE:
			if (!take_text(value, &message->role))
				return refuse_key(reader, TRANSFER_BAD_ROLE, prefix, name, "is not a string");
			return true;
		case KEY_TOKENS:
			if (!take_integer(value, 0, PG_INT32_MAX, &number))
				return refuse_key(reader, TRANSFER_BAD_VALUE, prefix, name,
								  "is not a whole number from 0");
			message->tokens = (int32) number;
			return true;
		case KEY_MESSAGE_CREATED_AT:
			if (!take_time(value, &message->created_at, &message->has_created_at))
				return refuse_key(reader, TRANSFER_BAD_TIME, prefix, name,
								  "is not a time such as 2024-05-01T12:00:00Z");
			return true;
		case KEY_MESSAGE_METADATA:
			if (!take_object(value, &message->metadata))
				return refuse_key(reader, TRANSFER_BAD_VALUE, prefix, name, "is not an object");
			return true;
		case KEY_CONTENT:
		case KEY_MODEL:
		case KEY_MESSAGE_ID:
			if (!take_text(value, key == KEY_CONTENT ? &message->content
								  : key == KEY_MODEL ? &message->model
													 : &message->message_id))
				return refuse_key(reader, TRANSFER_BAD_VALUE, prefix, name, "is not a string");
			return true;
		case MESSAGE_NKEYS:
			break;
	}
	return false;
}

static bool
read_message(NativeReader *reader, int32 index, const JsonbValue *element)
{
	TransferMessage *message = &reader->conversation->messages[index];
	NativeMessage *parent = &reader->parents[index];
	const char *prefix = psprintf("$.messages[%d]", index);
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue value;
	int key = -1;

	if (container_of(element, false) == NULL)
		return transfer_refuse(reader->problem, TRANSFER_BAD_VALUE, prefix,
							   "a message is not an object");
	message->tokens = -1;
	parent->parent_seq = -1;
	iterator = JsonbIteratorInit(element->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			key = find_key(message_keys, MESSAGE_NKEYS, &value);
			if (key < 0)
				return refuse_unknown(reader, prefix, &value);
		}
		else if (token == WJB_VALUE && value.type != jbvNull &&
				 !read_message_key(reader, prefix, key, &value, message, parent))
			return false;
	}
	if (message->role.data == NULL)
		return refuse_key(reader, TRANSFER_BAD_ROLE, prefix, "role", "is missing");
	if (message->content.data == NULL)
		return refuse_key(reader, TRANSFER_BAD_VALUE, prefix, "content", "is missing");
	return true;
}

static int
compare_with_seq(const void *seq, const void *message)
{
	int64 left = *(const int64 *) seq;
	int64 right = ((const TransferMessage *) message)->seq;

	return left < right ? -1 : left > right;
}

/* The index of a message among the first n, by its number; -1: there is none. */
static int32
find_seq(const TransferConversation *conversation, int32 n, int64 seq)
{
	const TransferMessage *found =
		sorted_find(&seq, conversation->messages, n, sizeof(TransferMessage), compare_with_seq);

	return found == NULL ? -1 : (int32) (found - conversation->messages);
}

/* Numbers the message, and finds the one that it answers. */
static bool
place_message(NativeReader *reader, int32 index)
{
	TransferConversation *conversation = reader->conversation;
	TransferMessage *message = &conversation->messages[index];
	int64 before = index > 0 ? message[-1].seq : 0;
	int64 parent_seq = reader->parents[index].parent_seq;

	if (message->seq == 0)
	{
		if (before == PG_INT64_MAX)
			return transfer_refuse(reader->problem, TRANSFER_BAD_VALUE,
								   psprintf("$.messages[%d]", index), "seq is out of range");
		message->seq = before + 1;
	}
	if (message->seq <= before)
		return transfer_refuse(reader->problem, TRANSFER_BAD_VALUE,
							   psprintf("$.messages[%d].seq", index),
							   "seq " INT64_FORMAT " is not larger than the one before",
							   message->seq);
	message->parent = TRANSFER_PARENT_BEFORE;
	if (parent_seq == 0)
		message->parent = TRANSFER_PARENT_ROOT;
	else if (parent_seq > 0)
	{
		message->parent = find_seq(conversation, index, parent_seq);
		if (parent_seq >= message->seq)
			return transfer_refuse(reader->problem, TRANSFER_BAD_PARENT,
								   psprintf("$.messages[%d].parent_seq", index),
								   "parent_seq " INT64_FORMAT " is not an earlier message",
								   parent_seq);
		if (message->parent < 0)
		{
			message->parent = TRANSFER_PARENT_ROOT;
			transfer_mend(reader->problem, TRANSFER_BAD_PARENT,
						  psprintf("$.messages[%d].parent_seq", index),
						  "parent_seq " INT64_FORMAT
						  " is not a message before it; the message became a root",
						  parent_seq);
		}
	}
	return true;
}

static bool
read_messages(NativeReader *reader, const JsonbValue *value)
{
	TransferConversation *conversation = reader->conversation;
	JsonbContainer *array = container_of(value, true);
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue element;
	int32 index = 0;

	if (array == NULL)
		return transfer_refuse(reader->problem, TRANSFER_BAD_VALUE, "$.messages",
							   "messages is not an array");
	conversation->count = JsonContainerSize(array);
	conversation->messages =
		palloc0(mul_size(Max(conversation->count, 1), sizeof(TransferMessage)));
	reader->parents = palloc(mul_size(Max(conversation->count, 1), sizeof(NativeMessage)));
	iterator = JsonbIteratorInit(array);
	(void) JsonbIteratorNext(&iterator, &element, true);
	while ((token = JsonbIteratorNext(&iterator, &element, true)) == WJB_ELEM)
	{
		CHECK_FOR_INTERRUPTS();
		if (!read_message(reader, index, &element) || !place_message(reader, index))
			return false;
		index++;
	}
	return true;
}

static bool
read_key(NativeReader *reader, ConversationKey key, const JsonbValue *value)
{
	TransferConversation *conversation = reader->conversation;
	const char *name = conversation_keys[key];

	switch (key)
	{
		case KEY_CONVERSATION_ID:
		case KEY_ACCOUNT_ID:
		case KEY_TITLE:
			if (!take_text(value, key == KEY_CONVERSATION_ID ? &conversation->source_id
								  : key == KEY_ACCOUNT_ID    ? &conversation->account_id
															 : &conversation->title))
				return refuse_key(reader, TRANSFER_BAD_VALUE, "$", name, "is not a string");
			return true;
		case KEY_METADATA:
			if (!take_object(value, &conversation->metadata))
				return refuse_key(reader, TRANSFER_BAD_VALUE, "$", name, "is not an object");
			return true;
		case KEY_ARCHIVED:
			if (value->type != jbvBool)
				return refuse_key(reader, TRANSFER_BAD_VALUE, "$", name,
								  "is neither true nor false");
			conversation->archived = value->val.boolean;
			return true;
		case KEY_HEAD_SEQ:
			if (!take_integer(value, 1, PG_INT64_MAX, &reader->head_seq))
				return refuse_key(reader, TRANSFER_BAD_VALUE, "$", name,
								  "is not a whole number from 1");
			return true;
		case KEY_CREATED_AT:
			if (!take_time(value, &conversation->created_at, &conversation->has_created_at))
				return refuse_key(reader, TRANSFER_BAD_TIME, "$", name,
								  "is not a time such as 2024-05-01T12:00:00Z");
			return true;
		case KEY_UPDATED_AT:
			if (!take_time(value, &conversation->updated_at, &conversation->has_updated_at))
				return refuse_key(reader, TRANSFER_BAD_TIME, "$", name,
								  "is not a time such as 2024-05-01T12:00:00Z");
			return true;
		case KEY_MESSAGES:
			return read_messages(reader, value);
		case KEY_MESSAGE_COUNT:
		case KEY_TOKEN_COUNT:
		case KEY_CONTENT_BYTES:
			return true;
		case CONVERSATION_NKEYS:
			break;
	}
	return false;
}

static bool
native_read(Jsonb *document, TransferConversation *conversation, TransferProblem *problem)
{
	NativeReader reader = {0};
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue value;
	int key = -1;

	memset(conversation, 0, sizeof(*conversation));
	conversation->head = -1;
	reader.problem = problem;
	reader.conversation = conversation;
	if (!JsonContainerIsObject(&document->root))
		return transfer_refuse(problem, TRANSFER_BAD_VALUE, "$", "a conversation is not an object");

	iterator = JsonbIteratorInit(&document->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			key = find_key(conversation_keys, CONVERSATION_NKEYS, &value);
			if (key < 0)
				return refuse_unknown(&reader, "$", &value);
		}
		else if (token == WJB_VALUE && value.type != jbvNull && !read_key(&reader, key, &value))
			return false;
	}
	if (conversation->messages == NULL)
		return transfer_refuse(problem, TRANSFER_NO_MESSAGES, "$.messages", "messages is missing");
	if (reader.head_seq > 0)
	{
		conversation->head = find_seq(conversation, conversation->count, reader.head_seq);
		if (conversation->head < 0)
			transfer_mend(problem, TRANSFER_BAD_PARENT, "$.head_seq",
						  "head_seq " INT64_FORMAT " does not exist; the last message is the head",
						  reader.head_seq);
	}
	return true;
}

/* ---- writing ---- */

static void
put_key(JsonbParseState **state, const char *name)
{
	JsonbValue key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &key);
}

/* A key with a text, if there is one. */
static void
put_text(JsonbParseState **state, const char *name, const TransferText *text)
{
	JsonbValue value;

	if (text->data == NULL)
		return;
	put_key(state, name);
	value.type = jbvString;
	value.val.string.val = unconstify(char *, text->data);
	value.val.string.len = text->length;
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
put_integer(JsonbParseState **state, const char *name, int64 number)
{
	JsonbValue value;

	put_key(state, name);
	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(number);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
put_time(JsonbParseState **state, const char *name, bool has_time, TimestampTz time)
{
	TransferText text;

	if (!has_time)
		return;
	text.data = transfer_time_string(time);
	text.length = strlen(text.data);
	put_text(state, name, &text);
}

static void
put_object(JsonbParseState **state, const char *name, Jsonb *object)
{
	JsonbValue value;

	if (object == NULL)
		return;
	put_key(state, name);
	value.type = jbvBinary;
	value.val.binary.data = &object->root;
	value.val.binary.len = VARSIZE(object) - VARHDRSZ;
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* The number of a message: its own, or, in a document of another format, its place. */
static int64
seq_of(const TransferConversation *conversation, int32 index)
{
	int64 seq = conversation->messages[index].seq;

	return seq > 0 ? seq : index + 1;
}

static int64
parent_seq_of(const TransferConversation *conversation, int32 index)
{
	int32 parent = conversation->messages[index].parent;

	if (parent == TRANSFER_PARENT_BEFORE)
		parent = index - 1;
	return parent < 0 ? 0 : seq_of(conversation, parent);
}

static Jsonb *
native_write(const TransferConversation *conversation, bool *many)
{
	JsonbParseState *state = NULL;
	JsonbValue archived = {.type = jbvBool, .val.boolean = conversation->archived};
	int32 head = conversation->head < 0 ? conversation->count - 1 : conversation->head;

	*many = false;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	put_text(&state, "conversation_id", &conversation->source_id);
	put_text(&state, "account_id", &conversation->account_id);
	put_text(&state, "title", &conversation->title);
	put_object(&state, "metadata", conversation->metadata);
	put_key(&state, "archived");
	pushJsonbValue(&state, WJB_VALUE, &archived);
	if (head >= 0)
		put_integer(&state, "head_seq", seq_of(conversation, head));
	put_time(&state, "created_at", conversation->has_created_at, conversation->created_at);
	put_time(&state, "updated_at", conversation->has_updated_at, conversation->updated_at);
	put_key(&state, "messages");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int32 i = 0; i < conversation->count; i++)
	{
		const TransferMessage *message = &conversation->messages[i];

		CHECK_FOR_INTERRUPTS();
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		put_integer(&state, "seq", seq_of(conversation, i));
		put_integer(&state, "parent_seq", parent_seq_of(conversation, i));
		put_text(&state, "role", &message->role);
		put_text(&state, "content", &message->content);
		put_text(&state, "model", &message->model);
		if (message->tokens >= 0)
			put_integer(&state, "tokens", message->tokens);
		put_time(&state, "created_at", message->has_created_at, message->created_at);
		put_text(&state, "message_id", &message->message_id);
		put_object(&state, "metadata", message->metadata);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* ---- writing text, which exports do ---- */

static void
text_string(StringInfo out, const TransferText *text)
{
	json_put_string(out, text->data, text->length);
}

static void
text_message(StringInfo out, const TransferConversation *conversation, int32 index, JsonTime *last)
{
	const TransferMessage *message = &conversation->messages[index];

	JSON_PUT(out, "{\"seq\":");
	json_put_integer(out, seq_of(conversation, index));
	JSON_PUT(out, ",\"parent_seq\":");
	json_put_integer(out, parent_seq_of(conversation, index));
	JSON_PUT(out, ",\"role\":");
	text_string(out, &message->role);
	JSON_PUT(out, ",\"content\":");
	text_string(out, &message->content);
	if (message->model.data != NULL)
	{
		JSON_PUT(out, ",\"model\":");
		text_string(out, &message->model);
	}
	if (message->tokens >= 0)
	{
		JSON_PUT(out, ",\"tokens\":");
		json_put_integer(out, message->tokens);
	}
	if (message->has_created_at)
	{
		JSON_PUT(out, ",\"created_at\":");
		json_put_time(out, message->created_at, last);
	}
	if (message->message_id.data != NULL)
	{
		JSON_PUT(out, ",\"message_id\":");
		text_string(out, &message->message_id);
	}
	if (message->metadata_text.data != NULL)
	{
		JSON_PUT(out, ",\"metadata\":");
		json_put_bytes(out, message->metadata_text.data, (int) message->metadata_text.length);
	}
	json_put_char(out, '}');
}

/* All but the messages; what is exported has an id, an account and both times. */
static void
text_columns(StringInfo out, const TransferConversation *conversation, JsonTime *last)
{
	int32 head = conversation->head < 0 ? conversation->count - 1 : conversation->head;

	JSON_PUT(out, "{\"conversation_id\":");
	text_string(out, &conversation->source_id);
	JSON_PUT(out, ",\"account_id\":");
	text_string(out, &conversation->account_id);
	if (conversation->title.data != NULL)
	{
		JSON_PUT(out, ",\"title\":");
		text_string(out, &conversation->title);
	}
	if (conversation->metadata != NULL)
	{
		JSON_PUT(out, ",\"metadata\":");
		(void) JsonbToCString(out, &conversation->metadata->root, VARSIZE(conversation->metadata));
	}
	JSON_PUT(out, ",\"archived\":");
	if (conversation->archived)
		JSON_PUT(out, "true");
	else
		JSON_PUT(out, "false");
	if (head >= 0)
	{
		JSON_PUT(out, ",\"head_seq\":");
		json_put_integer(out, seq_of(conversation, head));
	}
	JSON_PUT(out, ",\"created_at\":");
	json_put_time(out, conversation->created_at, last);
	JSON_PUT(out, ",\"updated_at\":");
	json_put_time(out, conversation->updated_at, last);
}

static void
native_write_text(const TransferConversation *conversation, StringInfo out)
{
	JsonTime last = {0};
	int64 bytes = 0;

	/* most of it fits at once; what is escaped makes it grow */
	for (int32 i = 0; i < conversation->count; i++)
		bytes += conversation->messages[i].content.length + 160;
	enlargeStringInfo(out, (int) Min(bytes, MaxAllocSize / 2));

	text_columns(out, conversation, &last);
	JSON_PUT(out, ",\"messages\":[");
	for (int32 i = 0; i < conversation->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i > 0)
			json_put_char(out, ',');
		text_message(out, conversation, i, &last);
	}
	JSON_PUT(out, "]}");
}

const TransferFormat transfer_native = {.name = FORMAT_NATIVE,
										.label = "memory_ext's own",
										.detect = native_detect,
										.read = native_read,
										.write = native_write,
										.write_text = native_write_text,
										.metadata_as_text = true,
										.branches = true};
