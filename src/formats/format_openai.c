/*
 * format_openai.c
 *		OpenAI chat messages: {"messages": [{"role", "content", …}], "tools", …},
 *		which is also a line of a fine-tuning file; the same list under the key
 *		"conversation", as LMSYS-Chat and WildChat have it; or the array alone.
 *
 * A message {"role", "content"} needs no metadata.  tool_calls, tool_call_id
 * and name are what all formats share, and so is function_call, a call without
 * an id; the rest (weight, refusal, audio …) is kept.  content may be parts; null
 * is written beside tool calls.
 *
 * A model at the top is that of the assistant's messages.
 *
 *	conversation	~conversation: the list has that key
 *	message			~function: its call is a function_call
 *
 * Source: the reference of Chat Completions and of fine-tuning's chat format,
 * platform.openai.com/docs.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "document.h"
#include "formats_private.h"
#include "json_text.h"
#include "memory_limits.h"

#define FORMAT FORMAT_OPENAI
#define LIST "conversation" /* the other key that the messages are in */

static const DocumentRole roles[] = {
	{"user", "user"},        {"assistant", "assistant"}, {"system", "system"}, {"tool", "tool"},
	{"developer", "system"}, {"function", "tool"},       {"human", "user"},    {"ai", "assistant"},
	{"model", "assistant"},  {"Human", "user"},          {"AI", "assistant"},  {"gpt", "assistant"},
};

static const DocumentPartKind part_kinds[] = {
	{"text", "text"},
	{"input_text", "text"},
	{"output_text", "text"},
};

static const DocumentPartRules parts = {.type_key = "type",
										.kinds = part_kinds,
										.nkinds = lengthof(part_kinds)};

static bool
openai_detect(Jsonb *document)
{
	JsonbValue root = document_root(document);
	JsonbValue messages;
	JsonbValue first;

	if (document_get(&root, LIST, &messages) && document_first(&messages, &first) &&
		document_has_string(&first, "role"))
		return true;
	return document_has_array(&root, "messages") ||
		   (document_first(&root, &first) && document_has_string(&first, "role"));
}

/* ---- reading ---- */

/* Whether a call is as this format writes it. */
static bool
is_written_so(const JsonbValue *call)
{
	JsonbValue function;

	return document_get(call, "function", &function) && document_has_string(&function, "name") &&
		   document_has_string(&function, "arguments");
}

static bool
all_written_so(const JsonbValue *calls)
{
	DocumentWalk walk;
	bool all = true;

	document_walk(&walk, calls);
	while (document_next(&walk))
		all = all && is_written_so(&walk.value);
	return all;
}

static bool
read_text_key(const JsonbValue *object, const char *key, TransferText *text, DocumentExtras *extras,
			  const DocumentPlace *place)
{
	JsonbValue value;

	if (!document_get(object, key, &value) || value.type == jbvNull)
		return true;
	if (value.type != jbvString)
		return document_refuse_key(place, key, TRANSFER_BAD_VALUE, "not a string");
	*text = document_text(&value);
	document_skip(extras, key);
	return true;
}

/* The older {"function_call": {"name", "arguments"}}; one that is not so is kept. */
static void
read_function_call(const JsonbValue *object, DocumentTools *tools, DocumentExtras *extras)
{
	TransferText none = {NULL, 0};
	JsonbValue call;
	JsonbValue arguments;

	if (!document_get(object, "function_call", &call) || !document_has_string(&call, "name") ||
		!document_get(&call, "arguments", &arguments) || arguments.type != jbvString ||
		document_count(&call) != 2)
		return;
	document_add_call(tools, none, document_get_text(&call, "name"), &arguments);
	document_skip(extras, "function_call");
	document_note(extras, "~function");
}

static bool
read_tools(const JsonbValue *object, DocumentTools *tools, DocumentExtras *extras,
		   const DocumentPlace *place)
{
	JsonbValue calls;

	if (!read_text_key(object, "name", &tools->name, extras, place) ||
		!read_text_key(object, "tool_call_id", &tools->call_id, extras, place))
		return false;
	if (!document_get(object, "tool_calls", &calls) || calls.type == jbvNull)
	{
		read_function_call(object, tools, extras);
		return true;
	}
	if (!document_is_array(&calls))
		return document_refuse_key(place, "tool_calls", TRANSFER_BAD_VALUE, "not an array");
	tools->verbatim = calls;
	tools->has_verbatim = true;
	if (all_written_so(&calls))
		document_skip(extras, "tool_calls");
	return true;
}

static bool
has_calls(const DocumentTools *tools)
{
	return tools->ncalls > 0 || (tools->has_verbatim && document_count(&tools->verbatim) > 0);
}

static bool
read_message(const JsonbValue *object, TransferMessage *message, const DocumentPlace *place)
{
	DocumentExtras extras = {0};
	DocumentTools tools = {0};

	if (!document_is_object(object))
		return document_refuse(place, TRANSFER_BAD_VALUE, "not an object");
	return document_read_role(object, "role", roles, lengthof(roles), &message->role, &extras,
							  place) &&
		   read_tools(object, &tools, &extras, place) &&
		   document_read_content(object, "content", &parts, has_calls(&tools), &message->content,
								 &tools, &extras, place) &&
		   document_metadata(FORMAT, object, &extras, &tools, false, place, &message->metadata);
}

/* The model of the request, or of the data set's row, for the assistant's messages. */
static void
set_models(TransferConversation *conversation, TransferText model)
{
	if (model.length == 0 || model.length > MEMORY_MAX_MODEL_BYTES)
		return;
	for (int32 i = 0; i < conversation->count; i++)
		if (document_text_is(conversation->messages[i].role, "assistant"))
			conversation->messages[i].model = model;
}

static bool
openai_read(Jsonb *document, TransferConversation *conversation, TransferProblem *problem)
{
	JsonbValue root = document_root(document);
	JsonbValue messages;
	DocumentPlace place = document_place(problem);
	DocumentPlace at = document_at_key(&place, "messages");
	DocumentExtras extras = {0};
	bool is_list = false;

	conversation->head = -1;
	if (document_is_array(&root))
		return document_note_metadata(FORMAT, "~array", &conversation->metadata) &&
			   document_read_messages(&root, read_message, conversation, &place);
	if (!document_get(&root, "messages", &messages))
	{
		is_list = document_get(&root, LIST, &messages);
		at = document_at_key(&place, LIST);
	}
	if (!is_list && !document_get(&root, "messages", &messages))
		return document_refuse(&place, TRANSFER_NO_MESSAGES, "there is no key \"messages\"");
	if (!document_is_array(&messages))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an array");

	/* the id stays in the rest: conversations from elsewhere are written without one */
	conversation->source_id = document_get_text(&root, "id");
	if (is_list && conversation->source_id.data == NULL)
		conversation->source_id = document_get_text(&root, "conversation_id");
	document_skip(&extras, is_list ? LIST : "messages");
	if (is_list)
		document_note(&extras, "~conversation");
	if (!document_read_messages(&messages, read_message, conversation, &at))
		return false;
	set_models(conversation, document_get_text(&root, "model"));
	return document_metadata(FORMAT, &root, &extras, NULL, false, &place, &conversation->metadata);
}

/* ---- writing ---- */

static void
put_calls(DocumentOut *out, DocumentTools *tools)
{
	if (tools->has_verbatim && all_written_so(&tools->verbatim))
	{
		document_put(out, &tools->verbatim);
		return;
	}
	for (int32 i = 0; i < tools->ncalls; i++)
		tools->calls[i].arguments =
			document_string(document_arguments_text(&tools->calls[i].arguments));
	document_put_calls(out, tools);
}

static void
put_function_call(DocumentOut *out, const DocumentCall *call)
{
	document_key(out, "function_call");
	document_begin_object(out);
	document_put_pair(out, "name", call->name);
	document_key(out, "arguments");
	document_put(out, &call->arguments);
	document_end(out);
}

/* An image by its address, a file by its bytes; others have no place here. */
static bool
is_media_part(const DocumentMedia *media)
{
	return media->url.data != NULL &&
		   (media->kind == DOCUMENT_IMAGE || document_url_data(media->url).data != NULL);
}

static void
put_media(DocumentOut *out, const DocumentMedia *media)
{
	bool image = media->kind == DOCUMENT_IMAGE;

	document_begin_object(out);
	document_put_pair(out, "type", document_literal(image ? "image_url" : "file"));
	document_key(out, image ? "image_url" : "file");
	document_begin_object(out);
	document_put_pair(out, image ? "url" : "file_data", media->url);
	if (!image && media->name.data != NULL)
		document_put_pair(out, "filename", media->name);
	document_end(out);
	document_end(out);
}

/* The content of a turn from elsewhere that has images or files; false: it has none. */
static bool
write_media_content(DocumentOut *out, const DocumentTurn *turn)
{
	int32 parts_count = 0;

	for (int32 i = 0; i < turn->nmedia; i++)
		parts_count += is_media_part(&turn->media[i]) ? 1 : 0;
	if (parts_count == 0)
		return false;
	document_key(out, "content");
	document_begin_array(out);
	if (turn->content.length > 0)
	{
		document_begin_object(out);
		document_put_pair(out, "type", document_literal("text"));
		document_put_pair(out, "text", turn->content);
		document_end(out);
	}
	for (int32 i = 0; i < turn->nmedia; i++)
		if (is_media_part(&turn->media[i]))
			put_media(out, &turn->media[i]);
	document_end(out);
	return true;
}

static void
write_turn(DocumentOut *out, DocumentTurn *turn)
{
	const JsonbValue *own = turn->is_own ? &turn->own : NULL;
	JsonbValue kept;
	bool function = document_noted(own, "~function");

	document_begin_object(out);
	document_put_extras(out, own);
	document_key(out, "role");
	document_put_text(out, document_role_word(roles, lengthof(roles), turn->role, own, "role"));
	if (own != NULL || !write_media_content(out, turn))
		document_write_content(out, "content", &parts, has_calls(&turn->tools), turn->content,
							   &turn->tools, own);
	if (function && turn->tools.ncalls > 0)
		put_function_call(out, &turn->tools.calls[0]);
	if (!function && (turn->tools.has_verbatim || turn->tools.ncalls > 0) &&
		!document_kept(own, "tool_calls", &kept))
	{
		document_key(out, "tool_calls");
		put_calls(out, &turn->tools);
	}
	if (turn->tools.call_id.data != NULL)
	{
		document_key(out, "tool_call_id");
		document_put_text(out, turn->tools.call_id);
	}
	if (turn->tools.name.data != NULL)
	{
		document_key(out, "name");
		document_put_text(out, turn->tools.name);
	}
	document_end(out);
}

static Jsonb *
openai_write(const TransferConversation *conversation, bool *many)
{
	DocumentTurns turns = document_turns(conversation, FORMAT, false);
	DocumentOut out = {0};
	JsonbValue own;
	bool is_own = document_own(conversation->metadata, FORMAT, &own);
	bool array = is_own && document_noted(&own, "~array");

	if (!array)
	{
		document_begin_object(&out);
		document_put_extras(&out, is_own ? &own : NULL);
		document_key(&out, is_own && document_noted(&own, "~conversation") ? LIST : "messages");
	}
	document_begin_array(&out);
	for (int32 i = 0; i < turns.count; i++)
		write_turn(&out, &turns.turns[i]);
	document_end(&out);
	if (!array)
		document_end(&out);
	*many = false;
	return document_done(&out);
}

/* ---- writing text, which exports do ---- */

/* A message without metadata. */
static void
put_plain(StringInfo out, TransferText role, TransferText content)
{
	TransferText word = document_role_word(roles, lengthof(roles), role, NULL, "role");

	JSON_PUT(out, "{\"role\": ");
	json_put_string(out, word.data, word.length);
	JSON_PUT(out, ", \"content\": ");
	json_put_string(out, content.data, content.length);
	json_put_char(out, '}');
}

static void
put_separator(StringInfo out, int32 index)
{
	CHECK_FOR_INTERRUPTS();
	if (index > 0)
		JSON_PUT(out, ", ");
}

static void
put_plain_messages(StringInfo out, const TransferConversation *conversation)
{
	int32 length;
	int32 *branch = document_branch(conversation, &length);

	for (int32 i = 0; i < length; i++)
	{
		const TransferMessage *message = &conversation->messages[branch[i]];

		put_separator(out, i);
		put_plain(out, message->role, message->content);
	}
	pfree(branch);
}

/* Messages with metadata go through jsonb. */
static void
put_turns(StringInfo out, const TransferConversation *conversation)
{
	DocumentTurns turns = document_turns(conversation, FORMAT, false);

	for (int32 i = 0; i < turns.count; i++)
	{
		DocumentTurn *turn = &turns.turns[i];
		DocumentOut whole = {0};
		Jsonb *document;

		put_separator(out, i);
		if (turn->message->metadata == NULL && turn->tools.call_id.data == NULL)
		{
			put_plain(out, turn->role, turn->content);
			continue;
		}
		write_turn(&whole, turn);
		document = document_done(&whole);
		(void) JsonbToCString(out, &document->root, VARSIZE(document));
		pfree(document);
	}
}

static void
openai_write_text(const TransferConversation *conversation, StringInfo out)
{
	JsonbValue own;
	bool is_own = document_own(conversation->metadata, FORMAT, &own);
	bool array = is_own && document_noted(&own, "~array");
	bool is_list = is_own && document_noted(&own, "~conversation");
	bool plain = true;

	for (int32 i = 0; plain && i < conversation->count; i++)
		plain = conversation->messages[i].metadata == NULL;
	if (!array)
	{
		json_put_char(out, '{');
		document_put_extras_text(out, is_own ? &own : NULL, is_list ? LIST : "messages");
		if (is_list)
			JSON_PUT(out, "\"conversation\": ");
		else
			JSON_PUT(out, "\"messages\": ");
	}
	json_put_char(out, '[');
	if (plain)
		put_plain_messages(out, conversation);
	else
		put_turns(out, conversation);
	json_put_char(out, ']');
	if (!array)
		json_put_char(out, '}');
}

const TransferFormat transfer_openai = {.name = FORMAT,
										.label = "OpenAI chat messages",
										.detect = openai_detect,
										.read = openai_read,
										.write = openai_write,
										.write_text = openai_write_text};
