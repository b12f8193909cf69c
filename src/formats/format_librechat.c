/*
 * format_librechat.c
 *		LibreChat: an export {"conversationId", "title", "endpoint", "options",
 *		"messages": […]}, whose messages are a list or, in a recursive one, nested
 *		by "children"; and rows of the collection of messages, one a document.
 *
 * Messages name their parentMessageId.  The content column is the text parts of
 * content, else text; tool_call parts, which hold call and output, are what all
 * formats share.  isCreatedByUser tells who speaks.
 *
 *	conversation	~nested: the export is recursive
 *	message			~top: of such a one, though it has a parent, it stands at the top
 *
 * Source: LibreChat's packages/data-schemas (schema/message.ts) and its exports.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"

#include "document.h"
#include "formats_private.h"
#include "memory_limits.h"

#define FORMAT FORMAT_LIBRECHAT

/* A deeper conversation is written as a list. */
#define MAX_NESTED 500

static const DocumentTree tree = {.id_key = "messageId",
								  .parent_key = "parentMessageId",
								  .root = "00000000-0000-0000-0000-000000000000"};

static const DocumentField fields[] = {
	CONVERSATION_TEXT("conversationId", source_id, 0),
	{"title", FIELD_TEXT, offsetof(TransferConversation, title), 0, 0, true},
};

static const DocumentField message_fields[] = {
	MESSAGE_TEXT("messageId", message_id, MEMORY_MAX_MESSAGE_ID_BYTES),
	MESSAGE_TEXT("model", model, MEMORY_MAX_MODEL_BYTES),
	MESSAGE_TOKENS("tokenCount"),
	MESSAGE_TIME("createdAt", FIELD_ISO_MILLIS, false),
};

/* ---- parts ---- */

static bool
read_part(const JsonbValue *part, DocumentOut *kept, DocumentTools *tools)
{
	DocumentExtras extras = {0};
	DocumentExtras outer = {0};
	DocumentOut inner = {0};
	JsonbValue call;
	JsonbValue args;
	JsonbValue output;
	TransferText id;
	TransferText name;

	if (!document_text_is(document_get_text(part, "type"), "tool_call") ||
		!document_get(part, "tool_call", &call))
		return false;
	id = document_get_text(&call, "id");
	name = document_get_text(&call, "name");
	if (name.data == NULL || !document_get(&call, "args", &args))
		return false;
	document_add_call(tools, id, name, &args);
	document_skip(&extras, "name");
	document_skip(&extras, "args");
	if (id.data != NULL)
		document_skip(&extras, "id");
	if (document_get(&call, "output", &output) && output.type != jbvNull)
	{
		document_add_result(tools, id, name, &output, false);
		document_skip(&extras, "output");
		document_note(&extras, "~output");
	}
	document_put_object_extras(&inner, &call, &extras);
	document_replace(&outer, "tool_call", inner.result);
	document_note(&outer, "~call");
	document_put_object_extras(kept, part, &outer);
	return true;
}

static void
put_call(DocumentOut *out, const DocumentCall *call, const JsonbValue *args)
{
	if (call->id.data != NULL)
	{
		document_key(out, "id");
		document_put_text(out, call->id);
	}
	document_key(out, "name");
	document_put_text(out, call->name);
	document_key(out, "args");
	document_put(out, args);
}

static void
write_part(const JsonbValue *kept, DocumentOut *out, const DocumentTools *tools,
		   DocumentWritten *written)
{
	JsonbValue call;

	if (written->calls >= tools->ncalls || !document_get(kept, "tool_call", &call))
		return;
	document_begin_object(out);
	document_put_extras(out, kept);
	document_key(out, "tool_call");
	document_begin_object(out);
	document_put_extras(out, &call);
	put_call(out, &tools->calls[written->calls], &tools->calls[written->calls].arguments);
	written->calls++;
	if (document_noted(&call, "~output") && written->results < tools->nresults)
	{
		document_key(out, "output");
		document_put(out, &tools->results[written->results++].content);
	}
	document_end(out);
	document_end(out);
}

static void
append_call(DocumentOut *out, const DocumentCall *call, const DocumentResult *result)
{
	JsonbValue args = document_string(document_arguments_text(&call->arguments));

	document_begin_object(out);
	document_key(out, "type");
	document_put_string(out, "tool_call");
	document_key(out, "tool_call");
	document_begin_object(out);
	document_key(out, "type");
	document_put_string(out, "tool_call");
	put_call(out, call, &args);
	if (result != NULL)
	{
		document_key(out, "output");
		document_put_text(out, document_result_text(&result->content));
	}
	document_end(out);
	document_end(out);
}

static void
append_parts(DocumentOut *out, const DocumentTools *tools, const DocumentWritten *written)
{
	bool *paired;
	int32 *pairs = document_pairs(tools, written, &paired);

	for (int32 i = written->calls; i < tools->ncalls; i++)
		append_call(out, &tools->calls[i], pairs[i] >= 0 ? &tools->results[pairs[i]] : NULL);
	for (int32 i = written->results; i < tools->nresults; i++)
	{
		DocumentCall call = {.id = tools->results[i].id, .name = tools->results[i].name};

		if (paired[i])
			continue;
		if (call.name.data == NULL)
			call.name = document_literal("tool");
		call.arguments = document_string(document_literal(""));
		append_call(out, &call, &tools->results[i]);
	}
	pfree(pairs);
	pfree(paired);
}

static const DocumentPartKind part_kinds[] = {{"text", "text"}};

static const DocumentPartRules parts = {.type_key = "type",
										.kinds = part_kinds,
										.nkinds = lengthof(part_kinds),
										.read = read_part,
										.write = write_part,
										.append = append_parts};

static const DocumentBoth content = {.text_key = "text",
									 .parts_key = "content",
									 .has_text = true,
									 .rules = &parts};

/* ---- who speaks ---- */

/* Senders are names of models or people, but for those that we write ourselves. */
static const char *
role_of(const JsonbValue *object)
{
	TransferText sender = document_get_text(object, "sender");
	JsonbValue by_user = document_null();

	if (document_get(object, "isCreatedByUser", &by_user) && by_user.type == jbvBool &&
		by_user.val.boolean)
		return "user";
	if (by_user.type != jbvBool &&
		(document_text_is(sender, "User") || document_text_is(sender, "user")))
		return "user";
	if (document_text_is(sender, "system"))
		return "system";
	return document_text_is(sender, "tool") ? "tool" : "assistant";
}

/* Both keys stay in the rest. */
static bool
read_role(const JsonbValue *object, TransferText *role, const DocumentPlace *place)
{
	JsonbValue value;

	if (document_get(object, "isCreatedByUser", &value) && value.type != jbvBool &&
		value.type != jbvNull)
		return document_refuse_key(place, "isCreatedByUser", TRANSFER_BAD_ROLE,
								   "not true or false");
	if (document_get(object, "sender", &value) && value.type != jbvString && value.type != jbvNull)
		return document_refuse_key(place, "sender", TRANSFER_BAD_ROLE, "not a string");
	*role = document_literal(role_of(object));
	return true;
}

static void
write_role(DocumentOut *out, TransferText role, const JsonbValue *own)
{
	bool user = document_text_is(role, "user");

	if (own != NULL && document_text_is(role, role_of(own)))
		return;
	document_key(out, "isCreatedByUser");
	document_put_bool(out, user);
	document_key(out, "sender");
	if (user)
		document_put_string(out, "User");
	else if (document_text_is(role, "system") || document_text_is(role, "tool"))
		document_put_text(out, role);
	else
		document_put_string(out, "Assistant");
}

/* ---- reading ---- */

static bool
librechat_detect(Jsonb *document)
{
	JsonbValue root = document_root(document);
	JsonbValue messages;
	JsonbValue first;

	if (document_has_string(&root, "messageId"))
		return true;
	if (!document_get(&root, "messages", &messages))
		messages = root;
	else if (document_has_string(&root, "conversationId"))
		return document_is_array(&messages);
	return document_first(&messages, &first) && document_has_string(&first, "messageId");
}

/* The messages of a document, nested ones behind their parents. */
typedef struct Flat
{
	int32 count;
	int32 capacity;
	JsonbValue *objects;
	int32 *above; /* whose children a message is among, -1: it stands at the top */
	bool nested;
} Flat;

static void
add_flat(Flat *flat, const JsonbValue *object, int32 above)
{
	if (flat->count >= flat->capacity)
	{
		flat->capacity = Max(64, flat->capacity * 2);
		if (flat->objects == NULL)
		{
			flat->objects = palloc(mul_size(flat->capacity, sizeof(JsonbValue)));
			flat->above = palloc(mul_size(flat->capacity, sizeof(int32)));
		}
		else
		{
			flat->objects =
				repalloc_huge(flat->objects, mul_size(flat->capacity, sizeof(JsonbValue)));
			flat->above = repalloc_huge(flat->above, mul_size(flat->capacity, sizeof(int32)));
		}
	}
	flat->objects[flat->count] = *object;
	flat->above[flat->count++] = above;
}

typedef struct Level
{
	DocumentWalk walk;
	int32 above;
	struct Level *up;
} Level;

/* Goes through all levels of children without recursion. */
static bool
flatten(Flat *flat, const JsonbValue *array, const DocumentPlace *place)
{
	Level *level = palloc(sizeof(Level));

	level->up = NULL;
	level->above = -1;
	document_walk(&level->walk, array);
	while (level != NULL)
	{
		DocumentPlace at = document_at_index(place, flat->count);
		JsonbValue children;
		Level *down;

		if (!document_next(&level->walk))
		{
			down = level;
			level = level->up;
			pfree(down);
			continue;
		}
		if (!document_is_object(&level->walk.value))
			return document_refuse(&at, TRANSFER_BAD_VALUE, "not an object");
		if (flat->count >= DOCUMENT_MAX_MESSAGES)
			return document_refuse(&at, TRANSFER_TOO_LARGE, "more than the limit of %d messages",
								   DOCUMENT_MAX_MESSAGES);
		add_flat(flat, &level->walk.value, level->above);
		if (!document_get(&level->walk.value, "children", &children) ||
			!document_is_array(&children))
			continue;
		flat->nested = true;
		down = palloc(sizeof(Level));
		down->up = level;
		down->above = flat->count - 1;
		document_walk(&down->walk, &children);
		level = down;
	}
	return true;
}

static bool
read_message(const JsonbValue *object, TransferConversation *conversation, int32 index,
			 DocumentExtras *extras, const DocumentPlace *place)
{
	TransferMessage *message = &conversation->messages[index];
	DocumentTools tools = {0};

	return read_role(object, &message->role, place) &&
		   document_read_fields(object, message_fields, lengthof(message_fields), message, extras,
								place) &&
		   document_read_both(object, &content, &message->content, &tools, extras, place) &&
		   document_metadata(FORMAT, object, extras, &tools, true, place, &message->metadata);
}

static void
keep_children(const Flat *flat, int32 at, const int32 *parents, DocumentExtras *extras)
{
	JsonbValue children;

	if (!flat->nested)
		return;
	if (!document_get(&flat->objects[at], "children", &children))
		document_absent(extras, "children");
	else if (document_is_array(&children))
		document_skip(extras, "children");
	if (flat->above[at] < 0 && parents[at] >= 0)
		document_note(extras, "~top");
}

static bool
read_messages(const Flat *flat, TransferConversation *conversation, const DocumentPlace *place)
{
	int32 *parents = palloc(mul_size(Max(flat->count, 1), sizeof(int32)));
	int32 *order;

	if (!document_messages(conversation, flat->count, place))
		return false;
	for (int32 i = 0; i < flat->count; i++)
	{
		TransferText id = document_get_text(&flat->objects[i], tree.id_key);

		if (id.length > 0 && id.length <= MEMORY_MAX_MESSAGE_ID_BYTES)
			conversation->messages[i].message_id = id;
	}
	if (!document_read_parents(&tree, flat->objects, flat->above, flat->count, parents, place) ||
		!document_arrange(conversation, parents, false, &order, place))
		return false;
	for (int32 i = 0; i < flat->count; i++)
	{
		DocumentPlace at = document_at_index(place, order[i]);
		DocumentExtras extras = {0};

		keep_children(flat, order[i], parents, &extras);
		document_keep_parent(&tree, &flat->objects[order[i]], conversation, i, &extras);
		document_keep_position(&extras, order[i], i);
		if (!read_message(&flat->objects[order[i]], conversation, i, &extras, &at))
			return false;
	}
	return true;
}

/* A row: what it answers may be in another document. */
static bool
read_row(const JsonbValue *row, TransferConversation *conversation, const DocumentPlace *place)
{
	DocumentExtras extras = {0};
	JsonbValue parent;
	TransferMessage *message;

	conversation->partial = true;
	conversation->source_id = document_get_text(row, "conversationId");
	if (conversation->source_id.data == NULL)
		return document_refuse_key(place, "conversationId", TRANSFER_BAD_VALUE,
								   "the message does not say which conversation it is of");
	if (!document_messages(conversation, 1, place))
		return false;
	message = &conversation->messages[0];
	if (!document_get(row, tree.parent_key, &parent))
		document_absent(&extras, tree.parent_key);
	else if (parent.type != jbvString && parent.type != jbvNull)
		return document_refuse_key(place, tree.parent_key, TRANSFER_BAD_PARENT, "not a string");
	else if (document_is_root(&tree, document_text(&parent)))
		message->parent = TRANSFER_PARENT_ROOT;
	else
		message->parent_id = document_text(&parent);
	return read_message(row, conversation, 0, &extras, place) &&
		   document_note_metadata(FORMAT, "~rows", &conversation->metadata);
}

static bool
librechat_read(Jsonb *document, TransferConversation *conversation, TransferProblem *problem)
{
	JsonbValue root = document_root(document);
	DocumentPlace place = document_place(problem);
	DocumentPlace at = document_at_key(&place, "messages");
	DocumentExtras extras = {0};
	Flat flat = {0};
	JsonbValue messages;

	conversation->head = -1;
	if (document_is_array(&root))
	{
		if (!flatten(&flat, &root, &place) || !read_messages(&flat, conversation, &place))
			return false;
		if (flat.count > 0)
			conversation->source_id = document_get_text(&flat.objects[0], "conversationId");
		return document_note_metadata(FORMAT, "~array", &conversation->metadata);
	}
	if (!document_get(&root, "messages", &messages))
	{
		if (document_get(&root, "messageId", &messages))
			return read_row(&root, conversation, &place);
		return document_refuse(&place, TRANSFER_NO_MESSAGES, "there is no key \"messages\"");
	}
	if (!document_is_array(&messages))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an array");
	if (!flatten(&flat, &messages, &at) || !read_messages(&flat, conversation, &at))
		return false;
	document_skip(&extras, "messages");
	if (flat.nested)
		document_note(&extras, "~nested");
	return document_read_fields(&root, fields, lengthof(fields), conversation, &extras, &place) &&
		   document_metadata(FORMAT, &root, &extras, NULL, true, &place, &conversation->metadata);
}

/* ---- writing ---- */

typedef struct Writing
{
	const TransferConversation *conversation;
	const JsonbValue *own;
	TransferText *ids;
	DocumentLinks links;
	bool *taken; /* by message: a result that its call's message has */
	DocumentOut out;
} Writing;

/* What a message answers, but for those whose result another one has; -1: nothing. */
static int32
parent_of(const Writing *writing, int32 index)
{
	int32 parent = document_parent(writing->conversation, index);

	while (parent >= 0 && writing->taken[parent])
		parent = document_parent(writing->conversation, parent);
	return parent;
}

static void
put_text(DocumentOut *out, TransferText text)
{
	document_begin_object(out);
	document_put_pair(out, "type", document_literal("text"));
	document_put_pair(out, "text", text);
	document_end(out);
}

static void
put_thought(DocumentOut *out, TransferText text)
{
	document_begin_object(out);
	document_put_pair(out, "type", document_literal("think"));
	document_put_pair(out, "think", text);
	document_end(out);
}

/* A result without its call. */
static void
append_result(DocumentOut *out, const DocumentResult *result)
{
	DocumentCall call = {.id = result->id, .name = result->name};

	if (call.name.data == NULL)
		call.name = document_literal("tool");
	call.arguments = document_string(document_literal(""));
	append_call(out, &call, result);
}

/* An image by its address; others have no place here. */
static void
put_media(DocumentOut *out, const DocumentMedia *media)
{
	if (media->kind != DOCUMENT_IMAGE || media->url.data == NULL)
		return;
	document_begin_object(out);
	document_put_pair(out, "type", document_literal("image_url"));
	document_key(out, "image_url");
	document_begin_object(out);
	document_put_pair(out, "url", media->url);
	document_end(out);
	document_end(out);
}

static const DocumentStepWrite step_write = {.text = put_text,
											 .thought = put_thought,
											 .call = append_call,
											 .result = append_result,
											 .media = put_media,
											 .together = true};

/* A message from elsewhere. */
static void
put_foreign(DocumentOut *out, const TransferMessage *message, const DocumentTools *tools)
{
	DocumentSteps steps = document_steps(message, tools, FORMAT);

	if (document_only_text(&steps))
	{
		document_write_both(out, &content, message->content, &(DocumentTools){0}, NULL);
		return;
	}
	document_put_pair(out, "text", document_literal(""));
	document_key(out, "content");
	document_begin_array(out);
	document_put_steps(out, &steps, tools, &step_write);
	document_end(out);
}

/* All of a message but its children, into an object that has begun. */
static void
put_message(Writing *writing, int32 index)
{
	DocumentOut *out = &writing->out;
	TransferMessage message = writing->conversation->messages[index];
	DocumentTools tools = writing->links.tools[index];
	JsonbValue kept;
	JsonbValue *own = document_own(message.metadata, FORMAT, &kept) ? &kept : NULL;

	if (own == NULL && document_text_is(message.role, "tool"))
		document_as_result(&message, &tools);
	document_put_extras(out, own);
	if (own == NULL)
	{
		message.message_id = writing->ids[index];
		document_write_fields(out, fields, 1, writing->conversation, NULL);
	}
	document_write_fields(out, message_fields, lengthof(message_fields), &message, own);
	write_role(out, message.role, own);
	document_write_parent(out, &tree, writing->ids, parent_of(writing, index), own);
	if (own == NULL)
		put_foreign(out, &message, &tools);
	else
		document_write_both(out, &content, message.content, &tools, own);
}

static void
write_list(Writing *writing)
{
	int32 *order = document_positions(writing->conversation, FORMAT);

	document_begin_array(&writing->out);
	for (int32 i = 0; i < writing->conversation->count; i++)
	{
		if (writing->taken[order[i]])
			continue;
		document_begin_object(&writing->out);
		put_message(writing, order[i]);
		document_end(&writing->out);
	}
	document_end(&writing->out);
}

/* ---- writing: nested ---- */

typedef struct Nest
{
	int32 *first; /* child, by message; the last entry: what stands at the top */
	int32 *next;
	int32 *above;
	int32 depth;
} Nest;

static Nest
build_nest(const Writing *writing)
{
	const TransferConversation *conversation = writing->conversation;
	int32 count = conversation->count;
	int32 *depths = palloc(mul_size(add_size(count, 1), sizeof(int32)));
	Nest nest = {0};

	nest.first = palloc(mul_size(add_size(count, 1), sizeof(int32)));
	nest.next = palloc(mul_size(add_size(count, 1), sizeof(int32)));
	nest.above = palloc(mul_size(add_size(count, 1), sizeof(int32)));
	for (int32 i = 0; i < count; i++)
	{
		JsonbValue own;
		int32 parent = parent_of(writing, i);

		if (document_own(conversation->messages[i].metadata, FORMAT, &own) &&
			document_noted(&own, "~top"))
			parent = -1;
		nest.above[i] = parent >= 0 ? parent : count;
		depths[i] = parent >= 0 ? depths[parent] + 1 : 1;
		nest.depth = Max(nest.depth, depths[i]);
	}
	for (int32 i = 0; i <= count; i++)
		nest.first[i] = -1;
	for (int32 i = count - 1; i >= 0; i--)
	{
		if (writing->taken[i])
			continue;
		nest.next[i] = nest.first[nest.above[i]];
		nest.first[nest.above[i]] = i;
	}
	pfree(depths);
	return nest;
}

static bool
writes_children(Writing *writing, const Nest *nest, int32 index)
{
	JsonbValue own;
	JsonbValue kept;

	if (nest->first[index] >= 0)
		return true;
	return !document_own(writing->conversation->messages[index].metadata, FORMAT, &own) ||
		   (!document_was_absent(&own, "children") && !document_kept(&own, "children", &kept));
}

static void
write_nested(Writing *writing, const Nest *nest)
{
	DocumentOut *out = &writing->out;
	int32 top = writing->conversation->count;
	int32 at = nest->first[top];

	document_begin_array(out);
	while (at >= 0)
	{
		bool children = writes_children(writing, nest, at);

		CHECK_FOR_INTERRUPTS();
		document_begin_object(out);
		put_message(writing, at);
		if (children)
		{
			document_key(out, "children");
			document_begin_array(out);
			if (nest->first[at] >= 0)
			{
				at = nest->first[at];
				continue;
			}
			document_end(out);
		}
		document_end(out);
		while (nest->next[at] < 0 && nest->above[at] != top)
		{
			at = nest->above[at];
			document_end(out);
			document_end(out);
		}
		at = nest->next[at];
	}
	document_end(out);
}

static void
write_conversation(Writing *writing)
{
	DocumentOut *out = &writing->out;
	Nest nest = build_nest(writing);
	bool nested = document_noted(writing->own, "~nested");

	document_begin_object(out);
	if (writing->own == NULL)
	{
		document_key(out, "endpoint");
		document_put_string(out, "openAI");
		document_key(out, "branches");
		document_put_bool(out, true);
		document_key(out, "recursive");
		document_put_bool(out, false);
	}
	document_put_extras(out, writing->own);
	document_write_fields(out, fields, lengthof(fields), writing->conversation, writing->own);
	if (nested && nest.depth > MAX_NESTED)
	{
		nested = false;
		document_key(out, "recursive");
		document_put_bool(out, false);
	}
	document_key(out, "messages");
	if (nested)
		write_nested(writing, &nest);
	else
		write_list(writing);
	document_end(out);
}

static Jsonb *
librechat_write(const TransferConversation *conversation, bool *many)
{
	JsonbValue own;
	bool is_own = document_own(conversation->metadata, FORMAT, &own);
	Writing writing = {.conversation = conversation, .own = is_own ? &own : NULL};

	writing.ids = document_message_ids(conversation, FORMAT, NULL);
	writing.links = document_link(conversation, FORMAT);
	writing.taken = palloc0(Max(conversation->count, 1));
	document_take_results(conversation, &writing.links, FORMAT, writing.taken);
	*many = document_noted(writing.own, "~rows");
	if (*many || document_noted(writing.own, "~array"))
		write_list(&writing);
	else
		write_conversation(&writing);
	return document_done(&writing.out);
}

const TransferFormat transfer_librechat = {.name = FORMAT,
										   .label = "LibreChat",
										   .detect = librechat_detect,
										   .read = librechat_read,
										   .write = librechat_write,
										   .branches = true};
