/*
 * format_agents.c
 *		Items of the OpenAI Agents SDK, as its sessions store them:
 *
 *	item	{"role": "user", "content": …}, {"type": "function_call", "call_id", "name",
 *			"arguments"}, {"type": "function_call_output", "call_id", "output"},
 *			{"type": "reasoning", "summary": […]}, others; an encrypted one {"__enc__": 1,
 *			"v", "kid", "payload"} is carried as it is
 *	row		{"id", "session_id", "message_data": item, mostly as text, "created_at"}
 *
 * A row is part of its session's conversation; an array is a conversation.  An
 * item is a message: a call is the assistant's without content, an output the
 * tool's, reasoning the assistant's with the summary.  Conversations from
 * elsewhere are written as rows.
 *
 *	conversation	~rows, ~array, ~single
 *	message			~row: the rest of the row, ~message: it has the item as text; ~id: the
 *					id is the row's; ~role: an item with a role, although its type is not
 *					"message"
 *
 * Source: agents/memory and the Responses API's input items, of the OpenAI
 * Agents SDK for Python.
 */
#include "postgres.h"

#include "document.h"
#include "formats_private.h"
#include "memory_limits.h"

#define FORMAT FORMAT_AGENTS

static const DocumentRole roles[] = {
	{"user", "user"},
	{"assistant", "assistant"},
	{"system", "system"},
	{"developer", "system"},
};

static const DocumentField item_fields[] = {
	MESSAGE_TEXT("id", message_id, MEMORY_MAX_MESSAGE_ID_BYTES)};
static const DocumentField row_fields[] = {MESSAGE_TIME("created_at", FIELD_ISO, false)};

static const DocumentPartKind part_kinds[] = {
	{"input_text", "text"},   {"output_text", "text"},    {"text", "text"},
	{"summary_text", "text"}, {"reasoning_text", "text"},
};

static const DocumentPartRules parts = {.type_key = "type",
										.kinds = part_kinds,
										.nkinds = lengthof(part_kinds)};

static bool
ends_with(TransferText text, const char *end)
{
	uint32 length = (uint32) strlen(end);

	return text.data != NULL && text.length >= length &&
		   memcmp(text.data + text.length - length, end, length) == 0;
}

/* ---- detecting ---- */

static bool
is_item(const JsonbValue *value)
{
	TransferText type = document_get_text(value, "type");
	JsonbValue found;

	if (document_get(value, "__enc__", &found) || document_get(value, "message_data", &found))
		return true;
	return document_text_is(type, "message") || document_text_is(type, "reasoning") ||
		   document_text_is(type, "compaction") || document_text_is(type, "item_reference") ||
		   ends_with(type, "_call") || ends_with(type, "_output");
}

/* Chat messages alone are no items; one item among them is enough. */
static bool
agents_detect(Jsonb *document)
{
	JsonbValue root = document_root(document);
	DocumentWalk walk;
	bool found = false;
	JsonbValue first;
	JsonbValue part;

	if (document_is_object(&root))
		return is_item(&root);
	document_walk(&walk, &root);
	while (document_next(&walk))
		found = found || is_item(&walk.value) ||
				(document_get(&walk.value, "content", &first) && document_first(&first, &part) &&
				 (document_text_is(document_get_text(&part, "type"), "input_text") ||
				  document_text_is(document_get_text(&part, "type"), "output_text")));
	return found;
}

/* ---- reading ---- */

static bool
read_call(const JsonbValue *item, TransferMessage *message, DocumentTools *tools,
		  DocumentExtras *extras, const DocumentPlace *place)
{
	TransferText name = document_get_text(item, "name");
	TransferText id = document_get_text(item, "call_id");
	JsonbValue arguments;

	message->role = document_literal("assistant");
	if (name.data == NULL)
		return document_refuse_key(place, "name", TRANSFER_BAD_VALUE, "not a string");
	if (!document_get(item, "arguments", &arguments))
		return document_refuse_key(place, "arguments", TRANSFER_BAD_VALUE, "there are none");
	document_add_call(tools, id, name, &arguments);
	document_skip(extras, "name");
	document_skip(extras, "arguments");
	if (id.data != NULL)
		document_skip(extras, "call_id");
	return true;
}

/* An output may be a string, parts, or anything else, which then is kept. */
static bool
read_output(const JsonbValue *item, TransferMessage *message, DocumentTools *tools,
			DocumentExtras *extras, const DocumentPlace *place)
{
	JsonbValue output;

	message->role = document_literal("tool");
	tools->call_id = document_get_text(item, "call_id");
	if (tools->call_id.data != NULL)
		document_skip(extras, "call_id");
	if (document_get(item, "output", &output) && output.type != jbvString &&
		!document_is_array(&output))
		return true;
	return document_read_content(item, "output", &parts, false, &message->content, tools, extras,
								 place);
}

static bool
read_item(const JsonbValue *item, TransferMessage *message, DocumentTools *tools,
		  DocumentExtras *extras, const DocumentPlace *place)
{
	TransferText type = document_get_text(item, "type");
	JsonbValue value;

	message->content = document_literal("");
	if (document_get(item, "__enc__", &value))
	{
		message->role = document_literal("assistant");
		return true;
	}
	if (!document_read_fields(item, item_fields, lengthof(item_fields), message, extras, place))
		return false;
	if (document_get(item, "role", &value))
	{
		if (type.data != NULL && !document_text_is(type, "message"))
			document_note(extras, "~role");
		return document_read_role(item, "role", roles, lengthof(roles), &message->role, extras,
								  place) &&
			   document_read_content(item, "content", &parts, false, &message->content, tools,
									 extras, place);
	}
	if (type.data == NULL || document_text_is(type, "message"))
		return document_refuse_key(place, "role", TRANSFER_BAD_ROLE, "there is no role");
	if (document_text_is(type, "function_call"))
		return read_call(item, message, tools, extras, place);
	if (document_text_is(type, "function_call_output"))
		return read_output(item, message, tools, extras, place);
	message->role = document_literal(ends_with(type, "_output") ? "tool" : "assistant");
	if (!document_text_is(type, "reasoning"))
		return true;
	tools->reasoning = true;
	return !document_has_array(item, "summary") ||
		   document_read_content(item, "summary", &parts, false, &message->content, tools, extras,
								 place);
}

static bool
read_message(const JsonbValue *item, DocumentExtras *extras, TransferMessage *message,
			 const DocumentPlace *place)
{
	DocumentTools tools = {0};

	return read_item(item, message, &tools, extras, place) &&
		   document_metadata(FORMAT, item, extras, &tools, true, place, &message->metadata);
}

/* The item is kept as if it came alone, and the rest of the row in a note. */
static bool
read_row(const JsonbValue *row, TransferMessage *message, const DocumentPlace *place)
{
	DocumentPlace at = document_at_key(place, "message_data");
	DocumentExtras outer = {0};
	DocumentExtras extras = {0};
	JsonbValue item;
	JsonbValue kept;
	bool any;

	if (!document_read_wrapped(row, "message_data", "~message", &item, &outer, place) ||
		!document_read_fields(row, row_fields, lengthof(row_fields), message, &outer, place))
		return false;
	document_skip(&outer, "message_data");
	if (!document_extras(row, &outer, true, place, &kept, &any))
		return false;
	document_replace(&extras, "~row", &kept);
	if (document_get_text(&item, "id").data == NULL)
		document_read_row_id(row, message, &extras);
	return read_message(&item, &extras, message, &at);
}

static bool
read_any(const JsonbValue *value, TransferMessage *message, const DocumentPlace *place)
{
	DocumentExtras extras = {0};
	JsonbValue found;

	if (!document_is_object(value))
		return document_refuse(place, TRANSFER_BAD_VALUE, "not an object");
	if (document_get(value, "message_data", &found))
		return read_row(value, message, place);
	return read_message(value, &extras, message, place);
}

static bool
read_array(const JsonbValue *array, TransferConversation *conversation, const DocumentPlace *place)
{
	DocumentWalk walk;

	if (!document_messages(conversation, document_count(array), place))
		return false;
	document_walk(&walk, array);
	while (document_next(&walk))
	{
		DocumentPlace at = document_at_index(place, walk.index);
		TransferText session = document_get_text(&walk.value, "session_id");

		if (walk.index == 0)
			conversation->source_id = session;
		else if (!document_same_text(conversation->source_id, session))
			return document_refuse_key(&at, "session_id", TRANSFER_BAD_VALUE,
									   "the messages are of several conversations");
		if (!read_any(&walk.value, &conversation->messages[walk.index], &at))
			return false;
	}
	return document_note_metadata(FORMAT, "~array", &conversation->metadata);
}

static bool
agents_read(Jsonb *document, TransferConversation *conversation, TransferProblem *problem)
{
	JsonbValue root = document_root(document);
	DocumentPlace place = document_place(problem);
	JsonbValue found;

	conversation->head = -1;
	if (document_is_array(&root))
		return read_array(&root, conversation, &place);
	conversation->partial = document_get(&root, "message_data", &found);
	conversation->source_id = document_get_text(&root, "session_id");
	if (conversation->partial && conversation->source_id.data == NULL)
		return document_refuse_key(&place, "session_id", TRANSFER_BAD_VALUE,
								   "the row does not say which session it is of");
	return document_messages(conversation, 1, &place) &&
		   read_any(&root, &conversation->messages[0], &place) &&
		   document_note_metadata(FORMAT, conversation->partial ? "~rows" : "~single",
								  &conversation->metadata);
}

/* ---- writing ---- */

static void
put_type(DocumentOut *out, const char *type)
{
	document_key(out, "type");
	document_put_string(out, type);
}

static void
put_call(DocumentOut *out, const DocumentCall *call, bool as_text)
{
	JsonbValue text = document_string(document_arguments_text(&call->arguments));

	if (call->id.data != NULL)
	{
		document_key(out, "call_id");
		document_put_text(out, call->id);
	}
	document_key(out, "name");
	document_put_text(out, call->name);
	document_key(out, "arguments");
	document_put(out, as_text ? &text : &call->arguments);
}

/* An item of a session. */
static void
write_own(DocumentOut *out, const DocumentTurn *turn, const JsonbValue *own)
{
	TransferText type = document_get_text(own, "type");
	JsonbValue value;

	document_begin_object(out);
	document_put_extras(out, own);
	if (document_kept(own, "__enc__", &value))
	{
		document_end(out);
		return;
	}
	if (!document_noted(own, "~id"))
		document_write_fields(out, item_fields, lengthof(item_fields), turn->message, own);
	if (type.data == NULL || document_text_is(type, "message") || document_noted(own, "~role"))
	{
		document_key(out, "role");
		document_put_text(out, document_role_word(roles, lengthof(roles), turn->role, own, "role"));
		document_write_content(out, "content", &parts, false, turn->content, &turn->tools, own);
	}
	else if (document_text_is(type, "function_call"))
	{
		if (turn->tools.ncalls > 0)
			put_call(out, &turn->tools.calls[0], false);
	}
	else if (document_text_is(type, "function_call_output"))
	{
		if (turn->tools.call_id.data != NULL)
		{
			document_key(out, "call_id");
			document_put_text(out, turn->tools.call_id);
		}
		document_write_content(out, "output", &parts, false, turn->content, &turn->tools, own);
	}
	else if (document_text_is(type, "reasoning"))
	{
		if (document_kept(own, "summary", &value) && document_is_array(&value))
			document_write_content(out, "summary", &parts, false, turn->content, &turn->tools, own);
	}
	document_end(out);
}

static void
put_output(DocumentOut *out, const DocumentTurn *turn)
{
	document_begin_object(out);
	put_type(out, "function_call_output");
	document_key(out, "call_id");
	document_put_text(out, turn->tools.call_id);
	document_key(out, "output");
	document_put_text(out, turn->content);
	document_end(out);
}

static void
put_media(DocumentOut *out, const DocumentMedia *media)
{
	bool image = media->kind == DOCUMENT_IMAGE;
	bool bytes = document_url_data(media->url).data != NULL;

	if (media->url.data == NULL)
		return;
	document_begin_object(out);
	document_put_pair(out, "type", document_literal(image ? "input_image" : "input_file"));
	document_put_pair(out, image ? "image_url" : bytes ? "file_data" : "file_url", media->url);
	if (image)
		document_put_pair(out, "detail", document_literal("auto"));
	else if (media->name.data != NULL)
		document_put_pair(out, "filename", media->name);
	document_end(out);
}

/* What a person says, with images and files. */
static void
put_media_item(DocumentOut *out, const DocumentTurn *turn)
{
	document_begin_object(out);
	document_put_pair(out, "role", document_literal("user"));
	document_key(out, "content");
	document_begin_array(out);
	if (turn->content.length > 0)
	{
		document_begin_object(out);
		document_put_pair(out, "type", document_literal("input_text"));
		document_put_pair(out, "text", turn->content);
		document_end(out);
	}
	for (int32 i = 0; i < turn->nmedia; i++)
		put_media(out, &turn->media[i]);
	document_end(out);
	document_end(out);
}

static void
put_thought_item(DocumentOut *out, TransferText thought)
{
	document_begin_object(out);
	put_type(out, "reasoning");
	document_key(out, "summary");
	document_begin_array(out);
	document_begin_object(out);
	document_put_pair(out, "type", document_literal("summary_text"));
	document_put_pair(out, "text", thought);
	document_end(out);
	document_end(out);
	document_end(out);
}

static void
put_text_item(DocumentOut *out, const DocumentTurn *turn)
{
	document_begin_object(out);
	document_key(out, "role");
	document_put_text(out, document_role_word(roles, lengthof(roles), turn->role, NULL, "role"));
	document_key(out, "content");
	document_put_text(out, turn->content);
	document_end(out);
}

typedef struct Writing
{
	const TransferConversation *conversation;
	bool rows;
	int32 last_id;
	DocumentOut out;
} Writing;

/* A row around an item; one that comes from elsewhere takes the next id. */
static void
put_row(Writing *writing, const DocumentTurn *turn, const JsonbValue *item, const JsonbValue *row)
{
	DocumentOut *out = &writing->out;

	document_begin_object(out);
	document_put_extras(out, row);
	document_write_fields(out, row_fields, lengthof(row_fields), turn->message, row);
	if (row != NULL)
		document_write_wrapped(out, "message_data", "~message", item, row);
	else
	{
		document_key(out, "id");
		document_put_integer(out, ++writing->last_id);
		document_key(out, "session_id");
		document_put_text(out, writing->conversation->source_id);
		document_key(out, "message_data");
		document_put_text(out, document_print(item));
	}
	document_end(out);
}

/* Puts an item that has been written, in a row if rows are written. */
static void
put_item(Writing *writing, const DocumentTurn *turn, DocumentOut *item)
{
	JsonbValue row;
	bool has_row = turn->is_own && document_kept(&turn->own, "~row", &row);

	if (has_row || (!turn->is_own && writing->rows))
		put_row(writing, turn, item->result, has_row ? &row : NULL);
	else
		document_put(&writing->out, item->result);
}

/* The items of a turn that comes from elsewhere: the text, and each call. */
static void
write_foreign(Writing *writing, const DocumentTurn *turn)
{
	DocumentOut item = {0};

	if (document_text_is(turn->role, "tool"))
	{
		put_output(&item, turn);
		put_item(writing, turn, &item);
		return;
	}
	if (turn->thought.length > 0)
	{
		DocumentOut thought = {0};

		put_thought_item(&thought, turn->thought);
		put_item(writing, turn, &thought);
	}
	if (turn->nmedia > 0 && document_text_is(turn->role, "user"))
	{
		put_media_item(&item, turn);
		put_item(writing, turn, &item);
	}
	else if (turn->content.length > 0 || (turn->tools.ncalls == 0 && turn->thought.length == 0))
	{
		put_text_item(&item, turn);
		put_item(writing, turn, &item);
	}
	for (int32 i = 0; i < turn->tools.ncalls; i++)
	{
		DocumentOut call = {0};

		document_begin_object(&call);
		put_type(&call, "function_call");
		put_call(&call, &turn->tools.calls[i], true);
		document_end(&call);
		put_item(writing, turn, &call);
	}
}

static Jsonb *
agents_write(const TransferConversation *conversation, bool *many)
{
	DocumentTurns turns = document_turns(conversation, FORMAT, true);
	JsonbValue kept;
	JsonbValue *own = document_own(conversation->metadata, FORMAT, &kept) ? &kept : NULL;
	Writing writing = {.conversation = conversation,
					   .rows = own == NULL || document_noted(own, "~rows"),
					   .last_id = document_last_row(&turns, "~row")};

	*many = writing.rows;
	if (document_noted(own, "~single") && turns.count == 1 && turns.turns[0].is_own)
	{
		write_own(&writing.out, &turns.turns[0], &turns.turns[0].own);
		return document_done(&writing.out);
	}
	document_begin_array(&writing.out);
	for (int32 i = 0; i < turns.count; i++)
	{
		DocumentOut item = {0};

		if (!turns.turns[i].is_own)
		{
			write_foreign(&writing, &turns.turns[i]);
			continue;
		}
		write_own(&item, &turns.turns[i], &turns.turns[i].own);
		put_item(&writing, &turns.turns[i], &item);
	}
	document_end(&writing.out);
	return document_done(&writing.out);
}

const TransferFormat transfer_agents = {FORMAT, "OpenAI Agents SDK items", agents_detect,
										agents_read, agents_write};
