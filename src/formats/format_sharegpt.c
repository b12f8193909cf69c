/*
 * format_sharegpt.c
 *		ShareGPT: {"id", "conversations": [{"from": "human", "value": "…"}]}, and
 *		its variants with keys system and tools and more roles.
 *
 * function_call, whose value is the call as JSON ({"name", "arguments"}), is an
 * assistant's message without content, with a tool call; observation and
 * function_response are the tool's.
 *
 * Sources: FastChat's data/dummy_conversation.json, LLaMA-Factory's
 * data/README.md.
 */
#include "postgres.h"

#include "document.h"
#include "formats_private.h"

#define FORMAT FORMAT_SHAREGPT

static const DocumentRole roles[] = {
	{"human", "user"},
	{"gpt", "assistant"},
	{"system", "system"},
	{"observation", "tool"},
	{"function_call", "assistant"},
	{"tool", "tool"},
	{"function_response", "tool"},
	{"function-response", "tool"},
	{"function-call", "assistant"},
	{"tool_call", "assistant"},
	{"tool_response", "tool"},
	{"user", "user"},
	{"assistant", "assistant"},
	{"chatgpt", "assistant"},
	{"bing", "assistant"},
	{"bard", "assistant"},
	{"model", "assistant"},
};

static bool
sharegpt_detect(Jsonb *document)
{
	JsonbValue root = document_root(document);

	return document_has_array(&root, "conversations");
}

/* ---- reading ---- */

/* The call in the value of a function_call; false when there is none. */
static bool
read_call(const JsonbValue *object, TransferText value, DocumentTools *tools)
{
	TransferText from = document_get_text(object, "from");
	TransferText none = {NULL, 0};
	JsonbValue call;
	JsonbValue arguments;
	TransferText name;

	if (!document_text_is(from, "function_call") && !document_text_is(from, "function-call") &&
		!document_text_is(from, "tool_call"))
		return false;
	if (!document_parse(value, &call, NULL))
		return false;
	name = document_get_text(&call, "name");
	if (name.data == NULL || !document_get(&call, "arguments", &arguments))
		return false;
	document_add_call(tools, none, name, &arguments);
	return true;
}

static bool
read_message(const JsonbValue *object, TransferMessage *message, const DocumentPlace *place)
{
	DocumentExtras extras = {0};
	DocumentTools tools = {0};
	JsonbValue value;

	if (!document_is_object(object))
		return document_refuse(place, TRANSFER_BAD_VALUE, "not an object");
	if (!document_read_role(object, "from", roles, lengthof(roles), &message->role, &extras, place))
		return false;
	if (!document_get(object, "value", &value))
		return document_refuse_key(place, "value", TRANSFER_BAD_VALUE, "there is no value");
	if (value.type != jbvString && value.type != jbvNull)
		return document_refuse_key(place, "value", TRANSFER_BAD_VALUE, "not a string");
	message->content = value.type == jbvString ? document_text(&value) : document_literal("");
	if (read_call(object, message->content, &tools))
		message->content = document_literal("");
	else if (value.type == jbvString)
		document_skip(&extras, "value");
	return document_metadata(FORMAT, object, &extras, &tools, false, place, &message->metadata);
}

static bool
sharegpt_read(Jsonb *document, TransferConversation *conversation, TransferProblem *problem)
{
	JsonbValue root = document_root(document);
	JsonbValue messages;
	DocumentPlace place = document_place(problem);
	DocumentPlace at = document_at_key(&place, "conversations");
	DocumentExtras extras = {0};

	conversation->head = -1;
	if (!document_get(&root, "conversations", &messages))
		return document_refuse(&place, TRANSFER_NO_MESSAGES, "there is no key \"conversations\"");
	if (!document_is_array(&messages))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an array");
	if (!document_read_messages(&messages, read_message, conversation, &at))
		return false;
	conversation->source_id = document_get_text(&root, "id");
	document_skip(&extras, "conversations");
	return document_metadata(FORMAT, &root, &extras, NULL, true, &place, &conversation->metadata);
}

/* ---- writing ---- */

/* The value of a function_call for calls that come from elsewhere. */
static TransferText
call_value(const DocumentTools *tools)
{
	DocumentOut out = {0};
	JsonbValue arguments = document_arguments_object(&tools->calls[0].arguments);

	document_begin_object(&out);
	document_key(&out, "name");
	document_put_text(&out, tools->calls[0].name);
	document_key(&out, "arguments");
	document_put(&out, &arguments);
	document_end(&out);
	return document_print(out.result);
}

static void
put_message(DocumentOut *out, const char *from, TransferText value)
{
	document_begin_object(out);
	document_key(out, "from");
	document_put_string(out, from);
	document_key(out, "value");
	document_put_text(out, value);
	document_end(out);
}

/* The format has one call a message: the text before them, and each call, are messages. */
static void
write_calls(DocumentOut *out, const DocumentTurn *turn)
{
	DocumentTools call = turn->tools;

	if (turn->content.length > 0)
		put_message(out, "gpt", turn->content);
	for (; call.ncalls > 0; call.ncalls--, call.calls++)
		put_message(out, "function_call", call_value(&call));
}

static void
write_turn(DocumentOut *out, const DocumentTurn *turn)
{
	const JsonbValue *own = turn->is_own ? &turn->own : NULL;
	JsonbValue kept;

	if (own == NULL && turn->tools.ncalls > 0)
	{
		write_calls(out, turn);
		return;
	}
	document_begin_object(out);
	document_put_extras(out, own);
	document_key(out, "from");
	document_put_text(out, document_role_word(roles, lengthof(roles), turn->role, own, "from"));
	if (turn->content.length > 0 || !document_kept(own, "value", &kept))
	{
		document_key(out, "value");
		document_put_text(out, turn->content);
	}
	document_end(out);
}

static Jsonb *
sharegpt_write(const TransferConversation *conversation, bool *many)
{
	DocumentTurns turns = document_turns(conversation, FORMAT, false);
	DocumentOut out = {0};
	JsonbValue own;
	bool is_own = document_own(conversation->metadata, FORMAT, &own);

	document_begin_object(&out);
	document_put_extras(&out, is_own ? &own : NULL);
	if (!is_own && conversation->source_id.data != NULL)
	{
		document_key(&out, "id");
		document_put_text(&out, conversation->source_id);
	}
	document_key(&out, "conversations");
	document_begin_array(&out);
	for (int32 i = 0; i < turns.count; i++)
		write_turn(&out, &turns.turns[i]);
	document_end(&out);
	document_end(&out);
	*many = false;
	return document_done(&out);
}

const TransferFormat transfer_sharegpt = {FORMAT, "ShareGPT", sharegpt_detect, sharegpt_read,
										  sharegpt_write};
