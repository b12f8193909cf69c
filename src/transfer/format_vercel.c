/*
 * format_vercel.c
 *		UI messages of Vercel's AI SDK: {"id", "role", "parts": […], "metadata"};
 *		alone, as an array, as {"id", "title", "messages": […]}, or as rows of the
 *		ai-chatbot template's Message_v2 with chatId, attachments and createdAt.
 *
 * The content column is the text parts.  Parts of tools (tool-NAME and
 * dynamic-tool), which hold input and output, are what all formats share; the
 * others (reasoning, file, source-url, step-start, data-…) are kept.  A row is
 * part of its chat's conversation.
 *
 *	conversation	~rows, ~array, ~single
 *	part			~result: the key of the tool's result, output or errorText
 *
 * Source: the AI SDK's UIMessage, versions 4 and 5 (packages/ai/src/ui), and
 * ai-chatbot's lib/db/schema.ts.
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "../memory_ext.h"
#include "document.h"
#include "formats.h"

#define FORMAT "vercel"

static const DocumentRole roles[] = {{"user", "user"},
									 {"assistant", "assistant"},
									 {"system", "system"},
									 {"data", "system"}};

static const DocumentField fields[] = {
	CONVERSATION_TEXT("id", source_id, 0),
	CONVERSATION_TEXT("title", title, 0),
	CONVERSATION_TIME("createdAt", FIELD_ISO_MILLIS, created_at),
};

static const DocumentField message_fields[] = {
	MESSAGE_TEXT("id", message_id, MEMORY_MAX_MESSAGE_ID_BYTES),
	MESSAGE_TIME("createdAt", FIELD_ISO_MILLIS, false),
};

/* ---- parts ---- */

/* The tool that a part is of; none: it is no tool's. */
static TransferText
tool_of(const JsonbValue *part)
{
	TransferText type = document_get_text(part, "type");
	TransferText none = {NULL, 0};

	if (document_text_is(type, "dynamic-tool"))
		return document_get_text(part, "toolName");
	if (type.length <= 5 || memcmp(type.data, "tool-", 5) != 0)
		return none;
	type.data += 5;
	type.length -= 5;
	return type;
}

static bool
read_part(const JsonbValue *part, DocumentOut *kept, DocumentTools *tools)
{
	DocumentRest rest = {0};
	TransferText none = {NULL, 0};
	TransferText name = tool_of(part);
	TransferText id = document_get_text(part, "toolCallId");
	const char *key = "output";
	JsonbValue input;
	JsonbValue result;
	JsonbValue noted;

	if (name.data == NULL || id.data == NULL || !document_get(part, "input", &input))
		return false;
	document_add_call(tools, id, name, &input);
	document_skip(&rest, "toolCallId");
	document_skip(&rest, "input");
	if (!document_get(part, key, &result))
		key = "errorText";
	if (document_get(part, key, &result))
	{
		document_add_result(tools, id, none, &result, strcmp(key, "errorText") == 0);
		document_skip(&rest, key);
		noted = document_string(document_literal(key));
		document_replace(&rest, "~result", &noted);
	}
	document_note(&rest, "~call");
	document_put_object_rest(kept, part, &rest);
	return true;
}

static void
write_part(const JsonbValue *kept, DocumentOut *out, const DocumentTools *tools,
		   DocumentWritten *written)
{
	const DocumentCall *call;
	JsonbValue value;

	if (written->calls >= tools->ncalls)
		return;
	call = &tools->calls[written->calls++];
	document_begin_object(out);
	document_put_rest(out, kept);
	document_key(out, "toolCallId");
	document_put_text(out, call->id);
	document_key(out, "input");
	document_put(out, &call->arguments);
	if (document_kept(kept, "~result", &value) && value.type == jbvString &&
		written->results < tools->nresults)
	{
		document_key_text(out, document_text(&value));
		document_put(out, &tools->results[written->results++].content);
	}
	document_end(out);
}

static void
append_tool(DocumentOut *out, TransferText name, TransferText id, const JsonbValue *input,
			const DocumentResult *result)
{
	document_begin_object(out);
	document_key(out, "type");
	document_put_string(out, "dynamic-tool");
	document_key(out, "toolName");
	document_put_text(out, name.data != NULL ? name : document_literal("tool"));
	document_key(out, "toolCallId");
	document_put_text(out, id.data != NULL ? id : document_literal(""));
	document_key(out, "input");
	document_put(out, input);
	document_key(out, "state");
	if (result == NULL)
		document_put_string(out, "input-available");
	else if (result->error)
	{
		document_put_string(out, "output-error");
		document_key(out, "errorText");
		document_put_text(out, document_result_text(&result->content));
	}
	else
	{
		document_put_string(out, "output-available");
		document_key(out, "output");
		document_put(out, &result->content);
	}
	document_end(out);
}

static void
append_parts(DocumentOut *out, const DocumentTools *tools, const DocumentWritten *written)
{
	bool *paired;
	int32 *pairs = document_pairs(tools, written, &paired);
	JsonbValue empty = document_null();

	empty = document_arguments_object(&empty);
	for (int32 i = written->calls; i < tools->ncalls; i++)
	{
		const DocumentCall *call = &tools->calls[i];
		JsonbValue input = document_arguments_object(&call->arguments);

		append_tool(out, call->name, call->id, &input,
					pairs[i] >= 0 ? &tools->results[pairs[i]] : NULL);
	}
	for (int32 i = written->results; i < tools->nresults; i++)
		if (!paired[i])
			append_tool(out, tools->results[i].name, tools->results[i].id, &empty,
						&tools->results[i]);
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

/* Version 4 has the text in content, too. */
static const DocumentBoth content = {.text_key = "content",
									 .parts_key = "parts",
									 .has_parts = true,
									 .rules = &parts};

/* ---- reading ---- */

static bool
is_message(const JsonbValue *value)
{
	return document_has_string(value, "role") && document_has_array(value, "parts");
}

static bool
vercel_detect(Jsonb *document)
{
	JsonbValue root = document_root(document);
	JsonbValue messages;
	JsonbValue first;

	if (document_get(&root, "messages", &messages))
		return document_first(&messages, &first) && is_message(&first);
	return is_message(document_first(&root, &first) ? &first : &root);
}

static bool
read_message(const JsonbValue *object, TransferMessage *message, const DocumentPlace *place)
{
	DocumentRest rest = {0};
	DocumentTools tools = {0};

	if (!document_is_object(object))
		return document_refuse(place, TRANSFER_BAD_VALUE, "not an object");
	return document_read_role(object, "role", roles, lengthof(roles), &message->role, &rest,
							  place) &&
		   document_read_fields(object, message_fields, lengthof(message_fields), message, &rest,
								place) &&
		   document_read_both(object, &content, &message->content, &tools, &rest, place) &&
		   document_metadata(FORMAT, object, &rest, &tools, true, place, &message->metadata);
}

static bool
read_single(const JsonbValue *root, TransferConversation *conversation, const DocumentPlace *place)
{
	JsonbValue chat;

	conversation->partial = document_get(root, "chatId", &chat);
	if (conversation->partial)
		conversation->source_id = document_text(&chat);
	if (conversation->partial && conversation->source_id.data == NULL)
		return document_refuse_key(place, "chatId", TRANSFER_BAD_VALUE, "not a string");
	return document_messages(conversation, 1, place) &&
		   read_message(root, &conversation->messages[0], place) &&
		   document_note_metadata(FORMAT, conversation->partial ? "~rows" : "~single",
								  &conversation->metadata);
}

static bool
vercel_read(Jsonb *document, TransferConversation *conversation, TransferProblem *problem)
{
	JsonbValue root = document_root(document);
	DocumentPlace place = document_place(problem);
	DocumentPlace at = document_at_key(&place, "messages");
	DocumentRest rest = {0};
	JsonbValue messages;

	conversation->head = -1;
	if (document_is_array(&root))
		return document_read_messages(&root, read_message, conversation, &place) &&
			   document_note_metadata(FORMAT, "~array", &conversation->metadata);
	if (!document_get(&root, "messages", &messages))
		return read_single(&root, conversation, &place);
	if (!document_is_array(&messages))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an array");
	document_skip(&rest, "messages");
	return document_read_messages(&messages, read_message, conversation, &at) &&
		   document_read_fields(&root, fields, lengthof(fields), conversation, &rest, &place) &&
		   document_metadata(FORMAT, &root, &rest, NULL, true, &place, &conversation->metadata);
}

/* ---- writing ---- */

typedef struct Writing
{
	const TransferConversation *conversation;
	TransferText *ids;
	bool rows;
	int32 *branch;
	int32 length;
	bool *taken; /* by position in the branch: a result that its call's message has */
	DocumentOut out;
} Writing;

static bool
is_own_message(const TransferMessage *message)
{
	JsonbValue own;

	return document_own(message->metadata, FORMAT, &own);
}

/* Takes the results from the tools' messages behind a message with calls. */
static void
take_results(Writing *writing, int32 position, DocumentTools *tools)
{
	TransferText *texts = palloc(mul_size(Max(tools->ncalls, 1), sizeof(TransferText)));
	DocumentIds ids;
	int32 duplicate;

	for (int32 i = 0; i < tools->ncalls; i++)
		texts[i] = tools->calls[i].id;
	(void) document_ids(&ids, texts, tools->ncalls, &duplicate);
	for (int32 i = position + 1; i < writing->length; i++)
	{
		const TransferMessage *message = &writing->conversation->messages[writing->branch[i]];
		DocumentTools result;
		JsonbValue text;

		if (!document_text_is(message->role, "tool") || is_own_message(message))
			break;
		result = document_tools(message->metadata);
		if (document_find(&ids, result.call_id) < 0)
			continue;
		text = document_string(message->content);
		document_add_result(tools, result.call_id, result.name, &text, false);
		writing->taken[i] = true;
	}
	pfree(texts);
	pfree(ids.ids);
}

static void
put_thought(DocumentOut *out, TransferText text)
{
	document_key(out, "parts");
	document_begin_array(out);
	document_begin_object(out);
	document_key(out, "type");
	document_put_string(out, "reasoning");
	document_key(out, "text");
	document_put_text(out, text);
	document_end(out);
	document_end(out);
}

/* What a new row has besides. */
static void
put_row(Writing *writing)
{
	DocumentOut *out = &writing->out;

	document_key(out, "chatId");
	document_put_text(out, writing->conversation->source_id);
	document_key(out, "attachments");
	document_begin_array(out);
	document_end(out);
}

static void
write_message(Writing *writing, int32 position)
{
	int32 index = writing->branch[position];
	TransferMessage message = writing->conversation->messages[index];
	DocumentTools tools = document_tools(message.metadata);
	DocumentOut *out = &writing->out;
	JsonbValue kept;
	JsonbValue *own = document_own(message.metadata, FORMAT, &kept) ? &kept : NULL;

	if (writing->taken[position] || (own == NULL && document_is_silent(&message, &tools, FORMAT) &&
									 !document_is_thought(&message, &tools)))
		return;
	document_begin_object(out);
	document_put_rest(out, own);
	if (own == NULL)
	{
		message.message_id = writing->ids[index];
		if (document_text_is(message.role, "tool"))
			document_as_result(&message, &tools);
		else if (tools.ncalls > 0)
			take_results(writing, position, &tools);
		if (writing->rows)
			put_row(writing);
	}
	document_write_fields(out, message_fields, lengthof(message_fields), &message, own);
	document_key(out, "role");
	document_put_text(out, document_role_word(roles, lengthof(roles), message.role, own, "role"));
	if (own == NULL && document_is_thought(&message, &tools))
		put_thought(out, message.content);
	else
		document_write_both(out, &content, message.content, &tools, own);
	document_end(out);
}

static Jsonb *
vercel_write(const TransferConversation *conversation, bool *many)
{
	JsonbValue kept;
	JsonbValue *own = document_own(conversation->metadata, FORMAT, &kept) ? &kept : NULL;
	Writing writing = {.conversation = conversation, .rows = document_noted(own, "~rows")};
	bool single = document_noted(own, "~single") && conversation->count == 1;
	bool object = !single && !writing.rows && !document_noted(own, "~array");

	writing.ids = document_message_ids(conversation, FORMAT, NULL);
	writing.branch = document_branch(conversation, &writing.length);
	writing.taken = palloc0(Max(writing.length, 1));
	if (object)
	{
		document_begin_object(&writing.out);
		document_put_rest(&writing.out, own);
		document_write_fields(&writing.out, fields, lengthof(fields), conversation, own);
		document_key(&writing.out, "messages");
	}
	if (!single)
		document_begin_array(&writing.out);
	for (int32 i = 0; i < writing.length; i++)
		write_message(&writing, i);
	if (!single)
		document_end(&writing.out);
	if (object)
		document_end(&writing.out);
	*many = writing.rows;
	return document_done(&writing.out);
}

const TransferFormat transfer_vercel = {FORMAT, "Vercel AI SDK UI messages", vercel_detect,
										vercel_read, vercel_write};
