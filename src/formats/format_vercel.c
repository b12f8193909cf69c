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
 *	message			~invocations: its calls are in toolInvocations, as in version 4
 *	part			~result: the key of the tool's result, output, errorText or result
 *
 * Source: the AI SDK's UIMessage, versions 4 and 5 (packages/ai/src/ui), and
 * ai-chatbot's lib/db/schema.ts.
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "document.h"
#include "formats_private.h"
#include "memory_limits.h"

#define FORMAT FORMAT_VERCEL
#define INVOCATIONS "toolInvocations"

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

/*
 * Version 4: {"state", "toolCallId", "toolName", "args", "result"}.  Takes the
 * call, and its result; what is left is put, or nothing is: it is none.
 */
static bool
read_invocation(const JsonbValue *invocation, DocumentOut *kept, DocumentTools *tools)
{
	DocumentExtras extras = {0};
	TransferText none = {NULL, 0};
	TransferText id = document_get_text(invocation, "toolCallId");
	TransferText name = document_get_text(invocation, "toolName");
	JsonbValue args;
	JsonbValue result;
	JsonbValue noted = document_string(document_literal("result"));

	if (id.data == NULL || name.data == NULL || !document_get(invocation, "args", &args))
		return false;
	document_add_call(tools, id, name, &args);
	document_skip(&extras, "toolCallId");
	document_skip(&extras, "toolName");
	document_skip(&extras, "args");
	if (document_get(invocation, "result", &result))
	{
		document_add_result(tools, id, none, &result, false);
		document_skip(&extras, "result");
		document_replace(&extras, "~result", &noted);
	}
	document_put_object_extras(kept, invocation, &extras);
	return true;
}

/* The same in a part: {"type": "tool-invocation", "toolInvocation": …}. */
static bool
read_invocation_part(const JsonbValue *part, DocumentOut *kept, DocumentTools *tools)
{
	DocumentExtras outer = {0};
	DocumentOut inner = {0};
	JsonbValue invocation;

	if (!document_get(part, "toolInvocation", &invocation) ||
		!read_invocation(&invocation, &inner, tools))
		return false;
	document_replace(&outer, "toolInvocation", inner.result);
	document_note(&outer, "~call");
	document_put_object_extras(kept, part, &outer);
	return true;
}

static void
put_invocation(DocumentOut *out, const JsonbValue *kept, const DocumentTools *tools,
			   DocumentWritten *written)
{
	const DocumentCall *call = &tools->calls[written->calls++];
	JsonbValue value;

	document_begin_object(out);
	document_put_extras(out, kept);
	document_put_pair(out, "toolCallId", call->id);
	document_put_pair(out, "toolName", call->name);
	document_key(out, "args");
	document_put(out, &call->arguments);
	if (document_kept(kept, "~result", &value) && written->results < tools->nresults)
	{
		document_key(out, "result");
		document_put(out, &tools->results[written->results++].content);
	}
	document_end(out);
}

/* The list beside the content, before there were parts; one that is not so is kept. */
static bool
read_invocations(const JsonbValue *object, DocumentTools *tools, DocumentExtras *extras,
				 const DocumentPlace *place)
{
	DocumentTools read = {0};
	DocumentOut kept = {0};
	JsonbValue invocations;
	DocumentWalk walk;

	if (tools->ncalls > 0 || !document_get(object, INVOCATIONS, &invocations) ||
		!document_is_array(&invocations) || document_count(&invocations) == 0)
		return true;
	if (!document_shallow(&invocations))
		return document_refuse_key(place, INVOCATIONS, TRANSFER_TOO_LARGE,
								   "nested deeper than %d levels", DOCUMENT_MAX_DEPTH);
	document_begin_array(&kept);
	document_walk(&walk, &invocations);
	while (document_next(&walk))
		if (!read_invocation(&walk.value, &kept, &read))
			return true;
	document_end(&kept);
	*tools = read;
	document_replace(extras, INVOCATIONS, kept.result);
	document_note(extras, "~invocations");
	return true;
}

static void
write_invocations(DocumentOut *out, const DocumentTools *tools, const JsonbValue *own)
{
	DocumentWritten written = {0};
	JsonbValue kept;
	DocumentWalk walk;

	if (!document_noted(own, "~invocations") || !document_kept(own, INVOCATIONS, &kept))
		return;
	document_key(out, INVOCATIONS);
	document_begin_array(out);
	document_walk(&walk, &kept);
	while (document_next(&walk))
		if (written.calls < tools->ncalls)
			put_invocation(out, &walk.value, tools, &written);
	document_end(out);
}

static bool
read_part(const JsonbValue *part, DocumentOut *kept, DocumentTools *tools)
{
	DocumentExtras extras = {0};
	TransferText none = {NULL, 0};
	TransferText name = tool_of(part);
	TransferText id = document_get_text(part, "toolCallId");
	const char *key = "output";
	JsonbValue input;
	JsonbValue result;
	JsonbValue noted;

	if (document_text_is(document_get_text(part, "type"), "tool-invocation"))
		return read_invocation_part(part, kept, tools);
	if (name.data == NULL || id.data == NULL || !document_get(part, "input", &input))
		return false;
	document_add_call(tools, id, name, &input);
	document_skip(&extras, "toolCallId");
	document_skip(&extras, "input");
	if (!document_get(part, key, &result))
		key = "errorText";
	if (document_get(part, key, &result))
	{
		document_add_result(tools, id, none, &result, strcmp(key, "errorText") == 0);
		document_skip(&extras, key);
		noted = document_string(document_literal(key));
		document_replace(&extras, "~result", &noted);
	}
	document_note(&extras, "~call");
	document_put_object_extras(kept, part, &extras);
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
	if (document_get(kept, "toolInvocation", &value))
	{
		document_begin_object(out);
		document_put_extras(out, kept);
		document_key(out, "toolInvocation");
		put_invocation(out, &value, tools, written);
		document_end(out);
		return;
	}
	call = &tools->calls[written->calls++];
	document_begin_object(out);
	document_put_extras(out, kept);
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
append_call(DocumentOut *out, const DocumentCall *call, const DocumentResult *result)
{
	JsonbValue input = document_arguments_object(&call->arguments);

	append_tool(out, call->name, call->id, &input, result);
}

/* A result without its call. */
static void
append_result(DocumentOut *out, const DocumentResult *result)
{
	JsonbValue empty = document_null();

	empty = document_arguments_object(&empty);
	append_tool(out, result->name, result->id, &empty, result);
}

static void
append_parts(DocumentOut *out, const DocumentTools *tools, const DocumentWritten *written)
{
	bool *paired;
	int32 *pairs = document_pairs(tools, written, &paired);

	for (int32 i = written->calls; i < tools->ncalls; i++)
		append_call(out, &tools->calls[i], pairs[i] >= 0 ? &tools->results[pairs[i]] : NULL);
	for (int32 i = written->results; i < tools->nresults; i++)
		if (!paired[i])
			append_result(out, &tools->results[i]);
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

/* Version 4 has no parts at first; its messages have an id and a time. */
static bool
is_message(const JsonbValue *value)
{
	JsonbValue time;

	return document_has_string(value, "role") &&
		   (document_has_array(value, "parts") || document_has_array(value, INVOCATIONS) ||
			document_has_array(value, "experimental_attachments") ||
			(document_has_string(value, "id") && document_has_string(value, "content") &&
			 document_get(value, "createdAt", &time)));
}

static bool
has_message(const JsonbValue *array)
{
	DocumentWalk walk;
	bool found = false;

	document_walk(&walk, array);
	while (document_next(&walk))
		found = found || is_message(&walk.value);
	return found;
}

static bool
vercel_detect(Jsonb *document)
{
	JsonbValue root = document_root(document);
	JsonbValue messages;

	if (document_get(&root, "messages", &messages))
		return document_is_array(&messages) && has_message(&messages);
	return document_is_array(&root) ? has_message(&root) : is_message(&root);
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
		   document_read_fields(object, message_fields, lengthof(message_fields), message, &extras,
								place) &&
		   document_read_both(object, &content, &message->content, &tools, &extras, place) &&
		   read_invocations(object, &tools, &extras, place) &&
		   document_metadata(FORMAT, object, &extras, &tools, true, place, &message->metadata);
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
	DocumentExtras extras = {0};
	JsonbValue messages;

	conversation->head = -1;
	if (document_is_array(&root))
		return document_read_messages(&root, read_message, conversation, &place) &&
			   document_note_metadata(FORMAT, "~array", &conversation->metadata);
	if (!document_get(&root, "messages", &messages))
		return read_single(&root, conversation, &place);
	if (!document_is_array(&messages))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an array");
	document_skip(&extras, "messages");
	return document_read_messages(&messages, read_message, conversation, &at) &&
		   document_read_fields(&root, fields, lengthof(fields), conversation, &extras, &place) &&
		   document_metadata(FORMAT, &root, &extras, NULL, true, &place, &conversation->metadata);
}

/* ---- writing ---- */

typedef struct Writing
{
	const TransferConversation *conversation;
	TransferText *ids;
	bool rows;
	int32 *branch;
	int32 length;
	DocumentLinks links;
	bool *taken; /* by message: a result that its call's message has */
	DocumentOut out;
} Writing;

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
	document_put_pair(out, "type", document_literal("reasoning"));
	document_put_pair(out, "text", text);
	document_end(out);
}

/* One without an address has no place here. */
static void
put_media(DocumentOut *out, const DocumentMedia *media)
{
	TransferText type = media->media_type;

	if (media->url.data == NULL)
		return;
	if (type.data == NULL)
		type = document_literal(media->kind == DOCUMENT_IMAGE ? "image/*"
															  : "application/octet-stream");
	document_begin_object(out);
	document_put_pair(out, "type", document_literal("file"));
	document_put_pair(out, "mediaType", type);
	document_put_pair(out, "url", media->url);
	if (media->name.data != NULL)
		document_put_pair(out, "filename", media->name);
	document_end(out);
}

static const DocumentStepWrite step_write = {.text = put_text,
											 .thought = put_thought,
											 .call = append_call,
											 .result = append_result,
											 .media = put_media,
											 .together = true};

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
	DocumentTools tools = writing->links.tools[index];
	DocumentOut *out = &writing->out;
	DocumentSteps steps;
	JsonbValue kept;
	JsonbValue *own = document_own(message.metadata, FORMAT, &kept) ? &kept : NULL;

	if (own == NULL)
	{
		if (document_text_is(message.role, "tool"))
			document_as_result(&message, &tools);
		steps = document_steps(&message, &tools, FORMAT);
	}
	if (writing->taken[index] || (own == NULL && document_is_silent(&message, &tools, FORMAT) &&
								  !document_is_thought(&message, &tools)))
		return;
	document_begin_object(out);
	document_put_extras(out, own);
	if (own == NULL)
	{
		message.message_id = writing->ids[index];
		if (writing->rows)
			put_row(writing);
	}
	document_write_fields(out, message_fields, lengthof(message_fields), &message, own);
	document_key(out, "role");
	document_put_text(out, document_role_word(roles, lengthof(roles), message.role, own, "role"));
	if (own == NULL && !document_only_text(&steps))
	{
		document_key(out, "parts");
		document_begin_array(out);
		document_put_steps(out, &steps, &tools, &step_write);
		document_end(out);
	}
	else
		document_write_both(out, &content, message.content,
							document_noted(own, "~invocations") ? &(DocumentTools){0} : &tools,
							own);
	write_invocations(out, &tools, own);
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
	writing.links = document_link(conversation, FORMAT);
	writing.taken = palloc0(Max(conversation->count, 1));
	document_take_results(conversation, &writing.links, FORMAT, writing.taken);
	if (object)
	{
		document_begin_object(&writing.out);
		document_put_extras(&writing.out, own);
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
