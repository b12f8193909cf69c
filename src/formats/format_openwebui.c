/*
 * format_openwebui.c
 *		Open WebUI: a row of the table chat, {"id", "user_id", "title", "chat": blob,
 *		"created_at", "updated_at", "archived"}, or the blob alone, {"title",
 *		"history": {"currentId", "messages": {id: {"id", PARENT, "childrenIds",
 *		"role", "content", "model", "timestamp"}}}, "messages": […]}.
 *
 * The tree in history is read; the blob's own list of messages repeats the
 * current branch, and is kept only where it does not.  Messages are in order of
 * time, as far as parents come first.  Where history holds none, as in old
 * versions, the list is the conversation.
 *
 *	conversation	~row: what the row has around the blob; ~head: the head, if currentId
 *					does not say it; ~history: what else history has; ~list: the list was read
 *	message			~key: the key in history, if it is not the message's id
 *
 * Source: Open WebUI's backend/open_webui/models/chats.py and its exports.
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "document.h"
#include "formats_private.h"
#include "memory_limits.h"
#include "order.h"

#define FORMAT FORMAT_OPENWEBUI

static const DocumentRole roles[] = {
	{"user", "user"},
	{"assistant", "assistant"},
	{"system", "system"},
	{"tool", "tool"},
};

#define PARENT "parentId"

static const DocumentField row_fields[] = {
	CONVERSATION_TEXT("id", source_id, 0),
	CONVERSATION_TEXT("title", title, 0),
	CONVERSATION_FLAG("archived", archived),
	CONVERSATION_TIME("created_at", FIELD_EPOCH_WHOLE, created_at),
	CONVERSATION_UPDATED("updated_at", FIELD_EPOCH_WHOLE),
};

/* Of a blob without a row. */
static const DocumentField blob_fields[] = {
	CONVERSATION_TEXT("title", title, 0),
	CONVERSATION_TIME("timestamp", FIELD_EPOCH_MILLIS, created_at),
};

static const DocumentField message_fields[] = {
	MESSAGE_TEXT("id", message_id, MEMORY_MAX_MESSAGE_ID_BYTES),
	MESSAGE_TEXT("model", model, MEMORY_MAX_MODEL_BYTES),
	MESSAGE_TIME("timestamp", FIELD_EPOCH_WHOLE, false),
};

static const DocumentPartKind part_kinds[] = {{"text", "text"}};

static const DocumentPartRules parts = {.type_key = "type",
										.kinds = part_kinds,
										.nkinds = lengthof(part_kinds)};

/* ---- detecting ---- */

static bool
is_blob(const JsonbValue *value)
{
	JsonbValue history;

	return document_get(value, "history", &history) && document_has_object(&history, "messages");
}

static bool
openwebui_detect(Jsonb *document)
{
	JsonbValue root = document_root(document);
	JsonbValue chat;

	if (!document_get(&root, "chat", &chat))
		return is_blob(&root);
	return is_blob(&chat) || document_has_array(&chat, "messages");
}

/* ---- reading ---- */

typedef struct Reading
{
	TransferConversation *conversation;
	int32 count;
	JsonbValue *objects; /* by message, in order */
	TransferText *keys;
	DocumentChildren children;
} Reading;

/* All of a message but its place in a tree. */
static bool
read_columns(const JsonbValue *object, TransferMessage *message, DocumentTools *tools,
			 DocumentExtras *extras, const DocumentPlace *place)
{
	document_take_tools(object, tools);
	return document_read_role(object, "role", roles, lengthof(roles), &message->role, extras,
							  place) &&
		   document_read_fields(object, message_fields, lengthof(message_fields), message, extras,
								place) &&
		   document_read_content(object, "content", &parts, false, &message->content, tools, extras,
								 place);
}

/* A message of the list that stands in for an empty history. */
static bool
read_listed(const JsonbValue *object, TransferMessage *message, const DocumentPlace *place)
{
	DocumentExtras extras = {0};
	DocumentTools tools = {0};
	JsonbValue value;

	if (!document_is_object(object))
		return document_refuse(place, TRANSFER_BAD_VALUE, "not an object");
	if (!read_columns(object, message, &tools, &extras, place))
		return false;
	if (!document_get(object, PARENT, &value))
		document_absent(&extras, PARENT);
	if (!document_get(object, "childrenIds", &value))
		document_absent(&extras, "childrenIds");
	return document_metadata(FORMAT, object, &extras, &tools, true, place, &message->metadata);
}

static bool
read_message(Reading *reading, int32 index, const DocumentPlace *place)
{
	TransferMessage *message = &reading->conversation->messages[index];
	const JsonbValue *object = &reading->objects[index];
	DocumentExtras extras = {0};
	DocumentTools tools = {0};
	JsonbValue value;
	JsonbValue key = document_string(reading->keys[index]);

	if (!read_columns(object, message, &tools, &extras, place))
		return false;
	if (!document_same_text(message->message_id, reading->keys[index]))
		document_replace(&extras, "~key", &key);
	if (!document_get(object, PARENT, &value))
		document_absent(&extras, PARENT);
	else
	{
		int32 parent = document_parent(reading->conversation, index);
		TransferText none = {NULL, 0};

		if (document_same_text(document_text(&value), parent >= 0 ? reading->keys[parent] : none))
			document_skip(&extras, PARENT);
	}
	if (!document_get(object, "childrenIds", &value))
		document_absent(&extras, "childrenIds");
	else if (document_same_children(&value, &reading->children, index, reading->keys))
		document_skip(&extras, "childrenIds");
	return document_metadata(FORMAT, object, &extras, &tools, true, place, &message->metadata);
}

/* Looks the parents up: by key, as the tree has it. */
static bool
find_parents(const JsonbValue *objects, const TransferText *keys, int32 count, int32 *parents,
			 const DocumentPlace *place)
{
	int32 *order = palloc(mul_size(Max(count, 1), sizeof(int32)));
	DocumentIds ids;
	int32 duplicate;
	int32 cycle;

	/* keys of an object are never the same */
	(void) document_ids(&ids, keys, count, &duplicate);
	for (int32 i = 0; i < count; i++)
	{
		DocumentPlace at = document_at_text(place, keys[i]);
		JsonbValue value = document_null();

		parents[i] = -1;
		if (document_get(&objects[i], PARENT, &value) && value.type != jbvString &&
			value.type != jbvNull)
			return document_refuse_key(&at, PARENT, TRANSFER_BAD_PARENT, "not a string");
		if (value.type != jbvString)
			continue;
		parents[i] = document_find(&ids, document_text(&value));
		if (parents[i] < 0)
			document_mend_key(
				&at, PARENT, TRANSFER_BAD_PARENT,
				"there is no such message; the message that answers it became a root");
	}
	if (!order_parents_first(count, parents, order, &cycle))
	{
		DocumentPlace at = document_at_text(place, keys[cycle]);

		return document_refuse_key(&at, PARENT, TRANSFER_BAD_PARENT,
								   "the message is its own ancestor");
	}
	pfree(order);
	return true;
}

/* Puts objects and keys in the messages' order, and collects the children. */
static void
arrange(Reading *reading, const JsonbValue *objects, const TransferText *keys, const int32 *order)
{
	int32 count = reading->count;
	int32 *named = palloc(mul_size(Max(count, 1), sizeof(int32)));

	reading->objects = palloc(mul_size(Max(count, 1), sizeof(JsonbValue)));
	reading->keys = palloc(mul_size(Max(count, 1), sizeof(TransferText)));
	for (int32 i = 0; i < count; i++)
	{
		reading->objects[i] = objects[order[i]];
		reading->keys[i] = keys[order[i]];
		named[i] = document_parent(reading->conversation, i);
	}
	reading->children = document_children(count, named);
	pfree(named);
}

static bool
read_tree(const JsonbValue *messages, Reading *reading, const DocumentPlace *place)
{
	int32 count = reading->count = document_count(messages);
	JsonbValue *objects = palloc(mul_size(Max(count, 1), sizeof(JsonbValue)));
	TransferText *keys = palloc(mul_size(Max(count, 1), sizeof(TransferText)));
	int32 *parents = palloc(mul_size(Max(count, 1), sizeof(int32)));
	int32 *order;
	DocumentWalk walk;

	if (!document_messages(reading->conversation, count, place))
		return false;
	document_walk(&walk, messages);
	while (document_next(&walk))
	{
		DocumentPlace at = document_at_text(place, walk.key);
		DocumentExtras ignored = {0};

		objects[walk.index] = walk.value;
		keys[walk.index] = walk.key;
		if (!document_is_object(&walk.value))
			return document_refuse(&at, TRANSFER_BAD_VALUE, "not an object");
		/* the times decide the order */
		if (!document_read_fields(&walk.value, message_fields, lengthof(message_fields),
								  &reading->conversation->messages[walk.index], &ignored, &at))
			return false;
	}
	if (!find_parents(objects, keys, count, parents, place) ||
		!document_arrange(reading->conversation, parents, true, &order, place))
		return false;
	arrange(reading, objects, keys, order);
	for (int32 i = 0; i < count; i++)
	{
		DocumentPlace at = document_at_text(place, reading->keys[i]);

		if (!read_message(reading, i, &at))
			return false;
	}
	return true;
}

/* The head, and what else history has. */
static bool
read_history(const JsonbValue *history, Reading *reading, DocumentExtras *extras,
			 const DocumentPlace *place)
{
	DocumentPlace at = document_at_key(place, "messages");
	DocumentExtras inner = {0};
	JsonbValue messages;
	JsonbValue value = document_null();
	JsonbValue kept;
	int32 count;
	bool any;

	if (!document_get(history, "messages", &messages) || !document_is_object(&messages))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an object");
	if (!read_tree(&messages, reading, &at))
		return false;
	count = reading->conversation->count;
	reading->conversation->head = count - 1;
	if (!document_get(history, "currentId", &value))
		document_absent(&inner, "currentId");
	else if (value.type != jbvString && value.type != jbvNull)
		return document_refuse_key(place, "currentId", TRANSFER_BAD_VALUE, "not a string");
	for (int32 i = 0; value.type == jbvString && i < count; i++)
		if (document_same_text(document_text(&value), reading->keys[i]))
		{
			reading->conversation->head = i;
			document_skip(&inner, "currentId");
		}
	if (inner.nskipped == 0 && count > 0)
	{
		kept = document_string(reading->keys[reading->conversation->head]);
		document_replace(&inner, "~head", &kept);
	}
	document_skip(&inner, "messages");
	if (!document_extras(history, &inner, false, place, &kept, &any))
		return false;
	document_skip(extras, "history");
	if (any)
		document_replace(extras, "~history", &kept);
	return true;
}

/* ---- reading: the list that repeats the branch ---- */

/* Whether the list is the branch, message for message. */
static bool
is_branch(const JsonbValue *list, const Reading *reading)
{
	int32 length;
	int32 *branch = document_branch(reading->conversation, &length);
	DocumentWalk walk;
	bool same = document_is_array(list) && document_count(list) == length;

	document_walk(&walk, list);
	while (same && document_next(&walk))
		same = document_equal(&walk.value, &reading->objects[branch[walk.index]]);
	return same;
}

/* A list that is not: messages that are the tree's by their key, others without its text. */
static bool
keep_list(const JsonbValue *list, const Reading *reading, DocumentExtras *extras,
		  const DocumentPlace *place)
{
	DocumentOut out = {0};
	DocumentIds ids;
	int32 duplicate;
	DocumentWalk walk;

	if (!document_shallow(list))
		return document_refuse(place, TRANSFER_TOO_LARGE, "nested deeper than %d levels",
							   DOCUMENT_MAX_DEPTH);
	(void) document_ids(&ids, reading->keys, reading->count, &duplicate);
	document_begin_array(&out);
	document_walk(&walk, list);
	while (document_next(&walk))
	{
		int32 index = document_find(&ids, document_get_text(&walk.value, "id"));
		JsonbValue text = document_null();
		DocumentExtras inner = {0};

		if (index >= 0 && document_equal(&walk.value, &reading->objects[index]))
		{
			document_put_text(&out, reading->keys[index]);
			continue;
		}
		if (walk.value.type == jbvString)
			return document_refuse(place, TRANSFER_BAD_VALUE, "a string where a message belongs");
		if (index < 0 || !document_get(&walk.value, "content", &text) ||
			!document_same_text(document_text(&text),
								reading->conversation->messages[index].content))
		{
			document_begin_object(&out);
			document_key(&out, "~whole");
			document_put(&out, &walk.value);
			document_end(&out);
			continue;
		}
		document_skip(&inner, "content");
		document_put_object_extras(&out, &walk.value, &inner);
	}
	document_end(&out);
	document_replace(extras, "messages", out.result);
	return true;
}

static bool
read_list(const JsonbValue *blob, const Reading *reading, DocumentExtras *extras,
		  const DocumentPlace *place)
{
	DocumentPlace at = document_at_key(place, "messages");
	JsonbValue list;

	if (!document_get(blob, "messages", &list))
	{
		document_absent(extras, "messages");
		return true;
	}
	if (is_branch(&list, reading))
	{
		document_skip(extras, "messages");
		return true;
	}
	return !document_is_array(&list) || keep_list(&list, reading, extras, &at);
}

/* ---- reading: the conversation ---- */

/* The title in the blob repeats the row's. */
static bool
read_row(const JsonbValue *row, const JsonbValue *blob, TransferConversation *conversation,
		 DocumentExtras *extras, const DocumentPlace *place)
{
	DocumentExtras outer = {0};
	JsonbValue kept;
	JsonbValue title;
	bool any;

	if (!document_read_fields(row, row_fields, lengthof(row_fields), conversation, &outer, place))
		return false;
	document_skip(&outer, "chat");
	if (!document_extras(row, &outer, true, place, &kept, &any))
		return false;
	document_replace(extras, "~row", &kept);
	if (!document_get(blob, "title", &title))
		document_absent(extras, "title");
	else if (conversation->title.data != NULL &&
			 document_same_text(document_text(&title), conversation->title))
		document_skip(extras, "title");
	return true;
}

/* The list instead of the tree. */
static bool
read_only_list(const JsonbValue *list, TransferConversation *conversation, DocumentExtras *extras,
			   const DocumentPlace *place)
{
	DocumentPlace at = document_at_key(place, "messages");

	conversation->head = -1;
	document_skip(extras, "messages");
	document_note(extras, "~list");
	return document_read_messages(list, read_listed, conversation, &at);
}

/* The messages of a blob: the tree, or, where that is empty, the list. */
static bool
read_blob(const JsonbValue *blob, Reading *reading, DocumentExtras *extras,
		  const DocumentPlace *place)
{
	DocumentPlace at = document_at_key(place, "history");
	JsonbValue history;
	JsonbValue messages;
	JsonbValue first;
	bool has_history = document_get(blob, "history", &history);

	if (!(has_history && document_get(&history, "messages", &messages) &&
		  document_is_object(&messages) && document_count(&messages) > 0) &&
		document_get(blob, "messages", &messages) && document_first(&messages, &first))
		return read_only_list(&messages, reading->conversation, extras, place);
	if (!has_history)
		return document_refuse(place, TRANSFER_NO_MESSAGES, "there is no key \"history\"");
	if (!document_is_object(&history))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an object");
	return read_history(&history, reading, extras, &at) && read_list(blob, reading, extras, place);
}

static bool
openwebui_read(Jsonb *document, TransferConversation *conversation, TransferProblem *problem)
{
	JsonbValue root = document_root(document);
	DocumentPlace place = document_place(problem);
	DocumentPlace chat = document_at_key(&place, "chat");
	Reading reading = {.conversation = conversation};
	DocumentExtras extras = {0};
	JsonbValue blob;
	bool has_row = document_get(&root, "chat", &blob);
	const DocumentPlace *at = has_row ? &chat : &place;

	if (!has_row)
		blob = root;
	if (!read_blob(&blob, &reading, &extras, at))
		return false;
	if (has_row ? !read_row(&root, &blob, conversation, &extras, &place)
				: !document_read_fields(&blob, blob_fields, lengthof(blob_fields), conversation,
										&extras, at))
		return false;
	return document_metadata(FORMAT, &blob, &extras, NULL, true, at, &conversation->metadata);
}

/* ---- writing ---- */

typedef struct Writing
{
	const TransferConversation *conversation;
	TransferText *keys;
	bool *is_own;
	DocumentChildren children;
	DocumentOut out;
} Writing;

static void
prepare(Writing *writing)
{
	int32 count = writing->conversation->count;
	int32 *named = palloc(mul_size(Max(count, 1), sizeof(int32)));

	writing->keys = document_message_ids(writing->conversation, FORMAT, "~key");
	writing->is_own = palloc(Max(count, 1));
	for (int32 i = 0; i < count; i++)
	{
		JsonbValue own;

		named[i] = document_parent(writing->conversation, i);
		writing->is_own[i] =
			document_own(writing->conversation->messages[i].metadata, FORMAT, &own);
	}
	writing->children = document_children(count, named);
	pfree(named);
}

/* Images and files of a message from elsewhere. */
static void
put_files(DocumentOut *out, const TransferMessage *message, const DocumentTools *tools)
{
	DocumentSteps steps = document_steps(message, tools, FORMAT);
	bool any = false;

	for (int32 i = 0; i < steps.count; i++)
	{
		const DocumentMedia *media = &steps.steps[i].media;

		if (steps.steps[i].kind != DOCUMENT_STEP_MEDIA || media->url.data == NULL)
			continue;
		if (!any)
		{
			document_key(out, "files");
			document_begin_array(out);
		}
		any = true;
		document_begin_object(out);
		document_put_pair(out, "type",
						  document_literal(media->kind == DOCUMENT_IMAGE ? "image" : "file"));
		document_put_pair(out, "url", media->url);
		if (media->name.data != NULL)
			document_put_pair(out, "name", media->name);
		document_end(out);
	}
	if (any)
		document_end(out);
}

static void
write_message(Writing *writing, int32 index)
{
	DocumentOut *out = &writing->out;
	TransferMessage message = writing->conversation->messages[index];
	DocumentTools tools = document_tools(message.metadata);
	int32 parent = document_parent(writing->conversation, index);
	TransferText none = {NULL, 0};
	JsonbValue kept;
	JsonbValue kept_parent;
	JsonbValue *own = document_own(message.metadata, FORMAT, &kept) ? &kept : NULL;

	if (own == NULL)
		message.message_id = writing->keys[index];
	document_begin_object(out);
	document_put_extras(out, own);
	document_write_fields(out, message_fields, lengthof(message_fields), &message, own);
	document_key(out, "role");
	document_put_text(out, document_role_word(roles, lengthof(roles), message.role, own, "role"));
	document_write_content(out, "content", &parts, false, message.content, &tools, own);
	if (!document_kept(own, PARENT, &kept_parent) && !document_was_absent(own, PARENT))
	{
		document_key(out, PARENT);
		document_put_text(out, parent >= 0 ? writing->keys[parent] : none);
	}
	document_write_children(out, "childrenIds", &writing->children, index, writing->keys,
							writing->is_own, own);
	if (own == NULL)
	{
		document_put_tools(out, &tools);
		put_files(out, &message, &tools);
	}
	document_end(out);
}

/* An element of the list that was kept. */
static void
write_kept(Writing *writing, const DocumentIds *ids, const JsonbValue *kept)
{
	JsonbValue whole;
	int32 index;

	if (kept->type == jbvString)
	{
		index = document_find(ids, document_text(kept));
		if (index >= 0)
			write_message(writing, index);
		return;
	}
	if (document_get(kept, "~whole", &whole))
	{
		document_put(&writing->out, &whole);
		return;
	}
	index = document_find(ids, document_get_text(kept, "id"));
	document_begin_object(&writing->out);
	document_put_extras(&writing->out, kept);
	if (index >= 0)
	{
		document_key(&writing->out, "content");
		document_put_text(&writing->out, writing->conversation->messages[index].content);
	}
	document_end(&writing->out);
}

/* Whether all messages are on the current branch. */
static bool
is_list(const TransferConversation *conversation)
{
	int32 length;
	int32 *branch = document_branch(conversation, &length);

	pfree(branch);
	return length == conversation->count;
}

static void
put_branch(Writing *writing)
{
	int32 length;
	int32 *branch = document_branch(writing->conversation, &length);

	document_key(&writing->out, "messages");
	document_begin_array(&writing->out);
	for (int32 i = 0; i < length; i++)
		write_message(writing, branch[i]);
	document_end(&writing->out);
	pfree(branch);
}

static void
write_list(Writing *writing, const JsonbValue *own)
{
	JsonbValue kept;
	bool is_kept = document_kept(own, "messages", &kept);
	DocumentIds ids;
	DocumentWalk walk;
	int32 duplicate;

	if (!is_kept && !document_was_absent(own, "messages"))
	{
		put_branch(writing);
		return;
	}
	if (document_was_absent(own, "messages") || (is_kept && !document_is_array(&kept)))
		return;
	document_key(&writing->out, "messages");
	document_begin_array(&writing->out);
	(void) document_ids(&ids, writing->keys, writing->conversation->count, &duplicate);
	document_walk(&walk, &kept);
	while (document_next(&walk))
		write_kept(writing, &ids, &walk.value);
	document_end(&writing->out);
}

static void
write_history(Writing *writing, const JsonbValue *own)
{
	DocumentOut *out = &writing->out;
	JsonbValue kept;
	JsonbValue noted;
	JsonbValue *history = document_kept(own, "~history", &kept) ? &kept : NULL;
	int32 head = document_head(writing->conversation);

	document_key(out, "history");
	document_begin_object(out);
	document_put_extras(out, history);
	if (head < 0 ? history == NULL
				 : !(document_kept(history, "~head", &noted) &&
					 document_same_text(document_text(&noted), writing->keys[head])))
	{
		document_key(out, "currentId");
		if (head >= 0)
			document_put_text(out, writing->keys[head]);
		else
			document_put_null(out);
	}
	document_key(out, "messages");
	document_begin_object(out);
	for (int32 i = 0; i < writing->conversation->count; i++)
	{
		document_key_text(out, writing->keys[i]);
		write_message(writing, i);
	}
	document_end(out);
	document_end(out);
}

/* The model that answered first. */
static void
put_models(Writing *writing)
{
	TransferText first = {NULL, 0};

	document_key(&writing->out, "models");
	document_begin_array(&writing->out);
	for (int32 i = 0; i < writing->conversation->count && first.data == NULL; i++)
		first = writing->conversation->messages[i].model;
	if (first.data != NULL)
		document_put_text(&writing->out, first);
	document_end(&writing->out);
}

static void
write_blob(Writing *writing, const JsonbValue *own, bool has_row)
{
	DocumentOut *out = &writing->out;
	JsonbValue kept;

	document_begin_object(out);
	if (own == NULL)
		put_models(writing);
	document_put_extras(out, own);
	if (!has_row)
		document_write_fields(out, blob_fields, lengthof(blob_fields), writing->conversation, own);
	else if (!document_kept(own, "title", &kept) && !document_was_absent(own, "title"))
	{
		document_key(out, "title");
		document_put_text(out, writing->conversation->title);
	}
	/* a list that has branches by now needs the tree */
	if (document_noted(own, "~list") && is_list(writing->conversation))
		put_branch(writing);
	else
	{
		write_history(writing, own);
		write_list(writing, own);
	}
	document_end(out);
}

static Jsonb *
openwebui_write(const TransferConversation *conversation, bool *many)
{
	TransferConversation written = *conversation;
	Writing writing = {.conversation = conversation};
	JsonbValue kept;
	JsonbValue outer;
	JsonbValue *own = document_own(conversation->metadata, FORMAT, &kept) ? &kept : NULL;
	JsonbValue *row = document_kept(own, "~row", &outer) ? &outer : NULL;
	bool has_row = own == NULL || row != NULL;

	prepare(&writing);
	if (has_row)
	{
		document_begin_object(&writing.out);
		document_put_extras(&writing.out, row);
		document_restore_updated_at(&written, FORMAT, row_fields, lengthof(row_fields), row);
		document_write_fields(&writing.out, row_fields, lengthof(row_fields), &written, row);
		document_key(&writing.out, "chat");
	}
	write_blob(&writing, own, has_row);
	if (has_row)
		document_end(&writing.out);
	*many = false;
	return document_done(&writing.out);
}

const TransferFormat transfer_openwebui = {.name = FORMAT,
										   .label = "Open WebUI",
										   .detect = openwebui_detect,
										   .read = openwebui_read,
										   .write = openwebui_write,
										   .branches = true};
