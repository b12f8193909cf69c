/*
 * format_claude.c
 *		A conversation of a Claude export's conversations.json: {"uuid", "name",
 *		"created_at", "chat_messages": [{"uuid", "sender", "text", "content",
 *		"created_at", "parent_message_uuid", "attachments", "files"}]}.
 *
 * The content column is the text blocks of content, else text, and behind it
 * what was pasted: the extracted_content of attachments, which was part of the
 * prompt.  tool_use and tool_result blocks are what all formats share; other
 * blocks (thinking …) are kept, as are files.  Exports without
 * parent_message_uuid are lists.  There is no model.
 *
 *	message			~pasted: CRC-32C of what was pasted; attachments have lengths in its place
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "document.h"
#include "format_claude.h"
#include "formats_private.h"
#include "memory_limits.h"

#define FORMAT FORMAT_CLAUDE
#define PASTED "extracted_content"
#define JOINT_BYTES 2 /* of document_add_paragraph's empty line */

static const DocumentRole roles[] = {
	{"human", "user"},
	{"assistant", "assistant"},
};

static const DocumentTree tree = {.id_key = "uuid",
								  .parent_key = "parent_message_uuid",
								  .root = "00000000-0000-4000-8000-000000000000"};

static const DocumentField fields[] = {
	CONVERSATION_TEXT("uuid", source_id, 0),
	{"name", FIELD_TEXT, offsetof(TransferConversation, title), 0, 0, true},
	CONVERSATION_TIME("created_at", FIELD_ISO_MICROS, created_at),
	CONVERSATION_UPDATED("updated_at", FIELD_ISO_MICROS),
};

static const DocumentField message_fields[] = {
	MESSAGE_TEXT("uuid", message_id, MEMORY_MAX_MESSAGE_ID_BYTES),
	MESSAGE_TIME("created_at", FIELD_ISO_MICROS, false),
};

/* ---- blocks ---- */

static bool
read_tool_use(const JsonbValue *block, DocumentOut *kept, DocumentTools *tools)
{
	DocumentExtras extras = {0};
	TransferText id = document_get_text(block, "id");
	TransferText name = document_get_text(block, "name");
	JsonbValue input;

	if (name.data == NULL || !document_get(block, "input", &input))
		return false;
	document_add_call(tools, id, name, &input);
	document_skip(&extras, "name");
	document_skip(&extras, "input");
	if (id.data != NULL)
		document_skip(&extras, "id");
	document_note(&extras, "~call");
	document_put_object_extras(kept, block, &extras);
	return true;
}

static bool
read_tool_result(const JsonbValue *block, DocumentOut *kept, DocumentTools *tools)
{
	DocumentExtras extras = {0};
	TransferText id = document_get_text(block, "tool_use_id");
	TransferText name = document_get_text(block, "name");
	JsonbValue content;
	JsonbValue error = document_null();

	if (!document_get(block, "content", &content))
		return false;
	(void) document_get(block, "is_error", &error);
	document_add_result(tools, id, name, &content, error.type == jbvBool && error.val.boolean);
	document_skip(&extras, "content");
	if (id.data != NULL)
		document_skip(&extras, "tool_use_id");
	if (name.data != NULL)
		document_skip(&extras, "name");
	document_note(&extras, "~call");
	document_put_object_extras(kept, block, &extras);
	return true;
}

static bool
read_block(const JsonbValue *block, DocumentOut *kept, DocumentTools *tools)
{
	TransferText type = document_get_text(block, "type");

	if (document_text_is(type, "tool_use"))
		return read_tool_use(block, kept, tools);
	return document_text_is(type, "tool_result") && read_tool_result(block, kept, tools);
}

/* The keys of a call that a block does not keep. */
static void
put_call(DocumentOut *out, const DocumentCall *call, bool as_object)
{
	JsonbValue input = as_object ? document_arguments_object(&call->arguments) : call->arguments;

	if (call->id.data != NULL)
	{
		document_key(out, "id");
		document_put_text(out, call->id);
	}
	document_key(out, "name");
	document_put_text(out, call->name);
	document_key(out, "input");
	document_put(out, &input);
}

static void
put_result(DocumentOut *out, const DocumentResult *result)
{
	if (result->id.data != NULL)
	{
		document_key(out, "tool_use_id");
		document_put_text(out, result->id);
	}
	if (result->name.data != NULL)
	{
		document_key(out, "name");
		document_put_text(out, result->name);
	}
	document_key(out, "content");
	document_put(out, &result->content);
}

static void
write_block(const JsonbValue *kept, DocumentOut *out, const DocumentTools *tools,
			DocumentWritten *written)
{
	bool call = document_text_is(document_get_text(kept, "type"), "tool_use");

	if (call ? written->calls >= tools->ncalls : written->results >= tools->nresults)
		return;
	document_begin_object(out);
	document_put_extras(out, kept);
	if (call)
		put_call(out, &tools->calls[written->calls++], false);
	else
		put_result(out, &tools->results[written->results++]);
	document_end(out);
}

/* The content of a result that is no block yet. */
static JsonbValue
result_content(const DocumentResult *result)
{
	DocumentOut out = {0};

	if (document_is_array(&result->content))
		return result->content;
	document_begin_array(&out);
	document_begin_object(&out);
	document_key(&out, "type");
	document_put_string(&out, "text");
	document_key(&out, "text");
	document_put_text(&out, document_result_text(&result->content));
	document_end(&out);
	document_end(&out);
	return *out.result;
}

/* Results are blocks of their own. */
static void
append_call(DocumentOut *out, const DocumentCall *call, const DocumentResult *ignored)
{
	document_begin_object(out);
	document_key(out, "type");
	document_put_string(out, "tool_use");
	put_call(out, call, true);
	document_end(out);
}

static void
append_result(DocumentOut *out, const DocumentResult *from)
{
	DocumentResult result = *from;

	result.content = result_content(&result);
	document_begin_object(out);
	document_key(out, "type");
	document_put_string(out, "tool_result");
	put_result(out, &result);
	document_key(out, "is_error");
	document_put_bool(out, result.error);
	document_end(out);
}

static void
append_blocks(DocumentOut *out, const DocumentTools *tools, const DocumentWritten *written)
{
	for (int32 i = written->calls; i < tools->ncalls; i++)
		append_call(out, &tools->calls[i], NULL);
	for (int32 i = written->results; i < tools->nresults; i++)
		append_result(out, &tools->results[i]);
}

static const DocumentPartKind block_kinds[] = {{"text", "text"}};

const DocumentPartRules claude_blocks = {.type_key = "type",
										 .kinds = block_kinds,
										 .nkinds = lengthof(block_kinds),
										 .read = read_block,
										 .write = write_block,
										 .append = append_blocks};

static const DocumentBoth content = {.text_key = "text",
									 .parts_key = "content",
									 .has_text = true,
									 .has_parts = true,
									 .rules = &claude_blocks};

/* ---- reading ---- */

static bool
claude_detect(Jsonb *document)
{
	JsonbValue root = document_root(document);
	JsonbValue value;

	return document_get(&root, "chat_messages", &value);
}

/* An attachment with something else in the place of its text. */
static void
put_attachment(DocumentOut *out, const JsonbValue *attachment, const JsonbValue *text)
{
	document_begin_object(out);
	document_put_pairs(out, attachment);
	document_key(out, PASTED);
	document_put(out, text);
	document_end(out);
}

/* Puts what was pasted behind the content, and its lengths in its place. */
static bool
read_attachments(const JsonbValue *object, TransferText *content, DocumentExtras *extras,
				 const DocumentPlace *place)
{
	DocumentPlace at = document_at_key(place, "attachments");
	DocumentOut kept = {0};
	StringInfoData pasted;
	StringInfoData whole;
	JsonbValue attachments;
	JsonbValue note;
	DocumentWalk walk;

	if (!document_get(object, "attachments", &attachments) || !document_is_array(&attachments) ||
		document_count(&attachments) == 0)
		return true;
	if (!document_shallow(&attachments))
		return document_refuse(&at, TRANSFER_TOO_LARGE, "nested deeper than %d levels",
							   DOCUMENT_MAX_DEPTH);
	initStringInfo(&pasted);
	document_begin_array(&kept);
	document_walk(&walk, &attachments);
	while (document_next(&walk))
	{
		JsonbValue text = document_null();

		(void) document_get(&walk.value, PASTED, &text);
		if (text.type == jbvNumeric)
			return document_refuse(&at, TRANSFER_BAD_VALUE, "a number where a text belongs");
		if (document_text(&text).length == 0)
		{
			document_put(&kept, &walk.value);
			continue;
		}
		document_add_paragraph(&pasted, document_text(&text));
		text = document_integer(text.val.string.len);
		put_attachment(&kept, &walk.value, &text);
	}
	document_end(&kept);
	if (pasted.len == 0)
		return true;
	note = document_text_note(document_buffer(&pasted));
	document_replace(extras, "~pasted", &note);
	document_replace(extras, "attachments", kept.result);
	initStringInfo(&whole);
	document_add_paragraph(&whole, *content);
	document_add_paragraph(&whole, document_buffer(&pasted));
	*content = document_buffer(&whole);
	return true;
}

static bool
read_message(const JsonbValue *object, TransferConversation *conversation, int32 index, int32 at,
			 const DocumentPlace *place)
{
	TransferMessage *message = &conversation->messages[index];
	DocumentExtras extras = {0};
	DocumentTools tools = {0};

	if (!document_read_role(object, "sender", roles, lengthof(roles), &message->role, &extras,
							place) ||
		!document_read_fields(object, message_fields, lengthof(message_fields), message, &extras,
							  place) ||
		!document_read_both(object, &content, &message->content, &tools, &extras, place) ||
		!read_attachments(object, &message->content, &extras, place))
		return false;
	document_keep_parent(&tree, object, conversation, index, &extras);
	document_keep_position(&extras, at, index);
	return document_metadata(FORMAT, object, &extras, &tools, true, place, &message->metadata);
}

/* The ids are needed before the messages are read: a message's parent may come later. */
static bool
read_messages(const JsonbValue *array, TransferConversation *conversation,
			  const DocumentPlace *place)
{
	int32 count = document_count(array);
	JsonbValue *objects = document_elements(array);
	int32 *parents = palloc(mul_size(Max(count, 1), sizeof(int32)));
	int32 *order;

	if (!document_messages(conversation, count, place))
		return false;
	for (int32 i = 0; i < count; i++)
	{
		DocumentPlace at = document_at_index(place, i);
		TransferText id = document_get_text(&objects[i], tree.id_key);

		if (!document_is_object(&objects[i]))
			return document_refuse(&at, TRANSFER_BAD_VALUE, "not an object");
		if (id.length > 0 && id.length <= MEMORY_MAX_MESSAGE_ID_BYTES)
			conversation->messages[i].message_id = id;
	}
	if (!document_read_parents(&tree, objects, NULL, count, parents, place) ||
		!document_arrange(conversation, parents, false, &order, place))
		return false;
	for (int32 i = 0; i < count; i++)
	{
		DocumentPlace at = document_at_index(place, order[i]);

		if (!read_message(&objects[order[i]], conversation, i, order[i], &at))
			return false;
	}
	return true;
}

static bool
claude_read(Jsonb *document, TransferConversation *conversation, TransferProblem *problem)
{
	JsonbValue root = document_root(document);
	DocumentPlace place = document_place(problem);
	DocumentPlace at = document_at_key(&place, "chat_messages");
	DocumentExtras extras = {0};
	JsonbValue messages;

	if (!document_get(&root, "chat_messages", &messages))
		return document_refuse(&place, TRANSFER_NO_MESSAGES, "there is no key \"chat_messages\"");
	if (!document_is_array(&messages))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an array");
	document_skip(&extras, "chat_messages");
	return read_messages(&messages, conversation, &at) &&
		   document_read_fields(&root, fields, lengthof(fields), conversation, &extras, &place) &&
		   document_read_head(&root, "current_leaf_message_uuid", conversation, &extras, &place) &&
		   document_metadata(FORMAT, &root, &extras, NULL, true, &place, &conversation->metadata);
}

/* ---- writing ---- */

static void
put_text(DocumentOut *out, TransferText text)
{
	document_begin_object(out);
	document_put_pair(out, "type", document_literal("text"));
	document_put_pair(out, "text", text);
	document_end(out);
}

static void
put_thinking(DocumentOut *out, TransferText text)
{
	document_begin_object(out);
	document_put_pair(out, "type", document_literal("thinking"));
	document_put_pair(out, "thinking", text);
	document_end(out);
}

const DocumentStepWrite claude_steps = {.text = put_text,
										.thought = put_thinking,
										.call = append_call,
										.result = append_result};

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
	document_put_pair(out, "text", document_steps_text(&steps));
	document_key(out, "content");
	document_begin_array(out);
	document_put_steps(out, &steps, tools, &claude_steps);
	document_end(out);
}

/* Keys that an export always has. */
static void
put_usual(DocumentOut *out, const TransferMessage *message)
{
	if (message->has_created_at)
	{
		DocumentField field = MESSAGE_TIME("updated_at", FIELD_ISO_MICROS, false);

		document_write_fields(out, &field, 1, message, NULL);
	}
	document_key(out, "attachments");
	document_begin_array(out);
	document_end(out);
	document_key(out, "files");
	document_begin_array(out);
	document_end(out);
}

/* How long what was pasted is, with empty lines between. */
static uint64
pasted_length(const JsonbValue *attachments)
{
	uint64 length = 0;
	DocumentWalk walk;

	document_walk(&walk, attachments);
	while (document_next(&walk))
	{
		JsonbValue text;
		int32 number;

		if (document_get(&walk.value, PASTED, &text) && document_number(&text, &number) &&
			number > 0)
			length += (uint64) number + (length > 0 ? JOINT_BYTES : 0);
	}
	return length;
}

/*
 * Writes the attachments with what was pasted, and takes that off the content's
 * end.  If it is no longer there, after an edit, the content is all the text.
 */
static void
write_attachments(DocumentOut *out, TransferText *content, const JsonbValue *own)
{
	JsonbValue attachments;
	JsonbValue note;
	DocumentWalk walk;
	TransferText pasted = {"", 0};
	uint64 length;

	if (!document_kept(own, "~pasted", &note) || !document_kept(own, "attachments", &attachments))
		return;
	length = pasted_length(&attachments);
	if (length > 0 && length <= content->length)
	{
		pasted.data = content->data + content->length - length;
		pasted.length = (uint32) length;
	}
	if (document_text_noted(own, "~pasted", pasted))
	{
		content->length -= pasted.length;
		content->length -= Min(content->length, JOINT_BYTES);
	}
	else
		pasted.data = NULL;
	document_key(out, "attachments");
	document_begin_array(out);
	document_walk(&walk, &attachments);
	while (document_next(&walk))
	{
		JsonbValue text;
		int32 number;

		if (!document_get(&walk.value, PASTED, &text) || !document_number(&text, &number))
		{
			document_put(out, &walk.value);
			continue;
		}
		text = document_string(document_literal(""));
		if (pasted.data != NULL)
		{
			TransferText piece = {pasted.data, (uint32) number};

			text = document_string(piece);
			pasted.data += number > 0 ? number + JOINT_BYTES : 0;
		}
		put_attachment(out, &walk.value, &text);
	}
	document_end(out);
}

static void
write_message(DocumentOut *out, const TransferConversation *conversation, int32 index,
			  const TransferText *ids, const DocumentLinks *links)
{
	TransferMessage message = conversation->messages[index];
	DocumentTools tools = links->tools[index];
	JsonbValue kept;
	JsonbValue *own = document_own(message.metadata, FORMAT, &kept) ? &kept : NULL;

	if (own == NULL && document_text_is(message.role, "tool"))
		document_as_result(&message, &tools);
	document_begin_object(out);
	if (own == NULL)
		put_usual(out, &message);
	document_put_extras(out, own);
	write_attachments(out, &message.content, own);
	if (message.message_id.data == NULL && own == NULL)
		message.message_id = ids[index];
	document_write_fields(out, message_fields, lengthof(message_fields), &message, own);
	document_key(out, "sender");
	document_put_text(out, document_role_word(roles, lengthof(roles), message.role, own, "sender"));
	document_write_parent(out, &tree, ids, document_parent(conversation, index), own);
	if (own == NULL)
		put_foreign(out, &message, &tools);
	else
		document_write_both(out, &content, message.content, &tools, own);
	document_end(out);
}

static Jsonb *
claude_write(const TransferConversation *conversation, bool *many)
{
	TransferConversation written = *conversation;
	int32 *order = document_positions(conversation, FORMAT);
	TransferText *ids = document_message_ids(conversation, FORMAT, NULL);
	DocumentLinks links = document_link(conversation, FORMAT);
	DocumentOut out = {0};
	JsonbValue kept;
	JsonbValue *own = document_own(conversation->metadata, FORMAT, &kept) ? &kept : NULL;

	document_begin_object(&out);
	document_put_extras(&out, own);
	document_restore_updated_at(&written, FORMAT, fields, lengthof(fields), own);
	document_write_fields(&out, fields, lengthof(fields), &written, own);
	document_write_head(&out, "current_leaf_message_uuid", conversation, ids, own);
	document_key(&out, "chat_messages");
	document_begin_array(&out);
	for (int32 i = 0; i < conversation->count; i++)
		write_message(&out, conversation, order[i], ids, &links);
	document_end(&out);
	document_end(&out);
	*many = false;
	return document_done(&out);
}

const TransferFormat transfer_claude = {.name = FORMAT,
										.label = "Claude export",
										.detect = claude_detect,
										.read = claude_read,
										.write = claude_write,
										.branches = true};
