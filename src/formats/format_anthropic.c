/*
 * format_anthropic.c
 *		A request to Anthropic's Messages API: {"model", "system", "messages":
 *		[{"role", "content"}], "tools", "max_tokens", …}; or the messages alone, as
 *		an array.
 *
 * system, a string or text blocks, is a message before the others.  content is a
 * string or blocks; tool_use and tool_result are what all formats share, the
 * others (thinking, image, document …) are kept.  The request's model is that of
 * the assistant's messages that name none.
 *
 *	conversation	~array
 *	message			~system: it is the request's system
 *
 * Source: the reference of the Messages API, docs.anthropic.com.
 */
#include "postgres.h"

#include "document.h"
#include "format_claude.h"
#include "formats_private.h"
#include "memory_limits.h"

#define FORMAT FORMAT_ANTHROPIC

static const DocumentRole roles[] = {{"user", "user"}, {"assistant", "assistant"}};

static const DocumentField message_fields[] = {
	MESSAGE_TEXT("id", message_id, MEMORY_MAX_MESSAGE_ID_BYTES)};

/* ---- detecting ---- */

/* Whether a content has a block that only this format has. */
static bool
has_block(const JsonbValue *message)
{
	static const char *const types[] = {"tool_use", "tool_result", "thinking", "redacted_thinking"};
	JsonbValue content;
	JsonbValue source;
	DocumentWalk walk;
	bool found = false;

	if (!document_get(message, "content", &content) || !document_is_array(&content))
		return false;
	document_walk(&walk, &content);
	while (document_next(&walk))
	{
		TransferText type = document_get_text(&walk.value, "type");

		for (int i = 0; i < lengthof(types); i++)
			found = found || document_text_is(type, types[i]);
		found = found || (type.data != NULL && document_get(&walk.value, "source", &source) &&
						  document_is_object(&source) && document_has_string(&source, "type"));
	}
	return found;
}

static bool
anthropic_detect(Jsonb *document)
{
	JsonbValue root = document_root(document);
	JsonbValue messages;
	JsonbValue value;
	DocumentWalk walk;
	bool is_object = document_is_object(&root);
	bool found = false;

	messages = root;
	if (is_object && !document_get(&root, "messages", &messages))
		return false;
	if (!document_is_array(&messages) || document_count(&messages) == 0)
		return false;
	if (is_object)
		found = document_has_string(&root, "system") || document_has_array(&root, "system") ||
				document_get(&root, "anthropic_version", &value);
	document_walk(&walk, &messages);
	while (document_next(&walk))
	{
		TransferText role = document_get_text(&walk.value, "role");

		if (!document_text_is(role, "user") && !document_text_is(role, "assistant"))
			return false;
		if (document_has_array(&walk.value, "parts"))
			return false;
		found = found || has_block(&walk.value);
	}
	return found;
}

/* ---- reading ---- */

static bool
read_message(const JsonbValue *object, TransferMessage *message, const DocumentPlace *place)
{
	DocumentExtras extras = {0};
	DocumentTools tools = {0};
	JsonbValue usage;
	JsonbValue number;
	TransferText model = document_get_text(object, "model");

	if (!document_is_object(object))
		return document_refuse(place, TRANSFER_BAD_VALUE, "not an object");
	if (model.length > 0 && model.length <= MEMORY_MAX_MODEL_BYTES)
		message->model = model;
	if (document_get(object, "usage", &usage) && document_get(&usage, "output_tokens", &number))
		(void) document_number(&number, &message->tokens);
	return document_read_role(object, "role", roles, lengthof(roles), &message->role, &extras,
							  place) &&
		   document_read_fields(object, message_fields, lengthof(message_fields), message, &extras,
								place) &&
		   document_read_content(object, "content", &claude_blocks, false, &message->content,
								 &tools, &extras, place) &&
		   document_metadata(FORMAT, object, &extras, &tools, true, place, &message->metadata);
}

/* The request's system as a message; its content is kept as a message's is. */
static bool
read_system(const JsonbValue *root, TransferMessage *message, const DocumentPlace *place)
{
	DocumentExtras extras = {0};
	DocumentTools tools = {0};
	DocumentOut out = {0};
	JsonbValue system;
	JsonbValue alone;
	Jsonb *object;

	(void) document_get(root, "system", &system);
	document_begin_object(&out);
	document_key(&out, "system");
	document_put(&out, &system);
	document_end(&out);
	object = document_done(&out);
	alone = document_root(object);
	message->role = document_literal("system");
	document_note(&extras, "~system");
	return document_read_content(&alone, "system", &claude_blocks, false, &message->content, &tools,
								 &extras, place) &&
		   document_metadata(FORMAT, &alone, &extras, &tools, true, place, &message->metadata);
}

static bool
read_messages(const JsonbValue *array, int32 first, TransferConversation *conversation,
			  const DocumentPlace *place)
{
	DocumentWalk walk;

	document_walk(&walk, array);
	while (document_next(&walk))
	{
		DocumentPlace at = document_at_index(place, walk.index);

		if (!read_message(&walk.value, &conversation->messages[first + walk.index], &at))
			return false;
	}
	return true;
}

static bool
anthropic_read(Jsonb *document, TransferConversation *conversation, TransferProblem *problem)
{
	JsonbValue root = document_root(document);
	DocumentPlace place = document_place(problem);
	DocumentPlace at = document_at_key(&place, "messages");
	DocumentExtras extras = {0};
	JsonbValue messages;
	JsonbValue system = document_null();
	TransferText model;
	int32 first;

	conversation->head = -1;
	if (document_is_array(&root))
		return document_note_metadata(FORMAT, "~array", &conversation->metadata) &&
			   document_read_messages(&root, read_message, conversation, &place);
	if (!document_get(&root, "messages", &messages))
		return document_refuse(&place, TRANSFER_NO_MESSAGES, "there is no key \"messages\"");
	if (!document_is_array(&messages))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an array");
	first = document_get(&root, "system", &system) && system.type != jbvNull ? 1 : 0;
	conversation->source_id = document_get_text(&root, "id");
	model = document_get_text(&root, "model");
	if (!document_messages(conversation, document_count(&messages) + first, &at) ||
		(first > 0 && !read_system(&root, &conversation->messages[0], &place)) ||
		!read_messages(&messages, first, conversation, &at))
		return false;
	for (int32 i = 0; i < conversation->count; i++)
		if (document_text_is(conversation->messages[i].role, "assistant") &&
			conversation->messages[i].model.data == NULL && model.length > 0 &&
			model.length <= MEMORY_MAX_MODEL_BYTES)
			conversation->messages[i].model = model;
	document_skip(&extras, "messages");
	if (first > 0)
		document_skip(&extras, "system");
	return document_metadata(FORMAT, &root, &extras, NULL, true, &place, &conversation->metadata);
}

/* ---- writing ---- */

static void
put_text(DocumentOut *out, TransferText text)
{
	claude_steps.text(out, text);
}

/* An image or file by its bytes or its address; one that has neither has no place here. */
static void
put_media(DocumentOut *out, const DocumentMedia *media)
{
	TransferText data = document_url_data(media->url);
	bool bytes = data.data != NULL;

	if (media->url.data == NULL)
		return;
	document_begin_object(out);
	document_put_pair(out, "type",
					  document_literal(media->kind == DOCUMENT_IMAGE ? "image" : "document"));
	document_key(out, "source");
	document_begin_object(out);
	document_put_pair(out, "type", document_literal(bytes ? "base64" : "url"));
	if (bytes)
		document_put_pair(out, "media_type", media->media_type);
	document_put_pair(out, bytes ? "data" : "url", bytes ? data : media->url);
	document_end(out);
	if (media->kind == DOCUMENT_FILE && media->name.data != NULL)
		document_put_pair(out, "title", media->name);
	document_end(out);
}

/* The blocks of a turn from elsewhere. */
static void
put_blocks(DocumentOut *out, const DocumentTurn *turn)
{
	if (document_text_is(turn->role, "tool"))
	{
		DocumentResult result = {.id = turn->tools.call_id};

		result.content = document_string(turn->content);
		claude_steps.result(out, &result);
		return;
	}
	if (turn->thought.length > 0)
		claude_steps.thought(out, turn->thought);
	if (turn->content.length > 0)
		put_text(out, turn->content);
	for (int32 i = 0; i < turn->nmedia; i++)
		put_media(out, &turn->media[i]);
	for (int32 i = 0; i < turn->tools.ncalls; i++)
		claude_steps.call(out, &turn->tools.calls[i], NULL);
}

static bool
is_system(const DocumentTurn *turn)
{
	return document_text_is(turn->role, "system");
}

/* Results are the user's. */
static const char *
role_of(const DocumentTurn *turn)
{
	return document_text_is(turn->role, "assistant") ? "assistant" : "user";
}

static void
write_own(DocumentOut *out, const DocumentTurn *turn)
{
	document_begin_object(out);
	document_put_extras(out, &turn->own);
	document_put_pair(out, "role",
					  document_role_word(roles, lengthof(roles), turn->role, &turn->own, "role"));
	document_write_fields(out, message_fields, lengthof(message_fields), turn->message, &turn->own);
	document_write_content(out, "content", &claude_blocks, false, turn->content, &turn->tools,
						   &turn->own);
	document_end(out);
}

/* The turns from one on that make a message; returns how many. */
static int32
write_foreign(DocumentOut *out, const DocumentTurns *turns, int32 from)
{
	const DocumentTurn *first = &turns->turns[from];
	int32 to = from + 1;

	/* results belong into one message, with what the user says next */
	while (to < turns->count && !turns->turns[to].is_own &&
		   document_text_is(turns->turns[to - 1].role, "tool") && !is_system(&turns->turns[to]) &&
		   strcmp(role_of(&turns->turns[to]), "user") == 0)
		to++;
	document_begin_object(out);
	document_put_pair(out, "role", document_literal(role_of(first)));
	document_key(out, "content");
	if (to == from + 1 && first->nmedia == 0 && first->tools.ncalls == 0 &&
		first->thought.length == 0 && !document_text_is(first->role, "tool"))
		document_put_text(out, first->content);
	else
	{
		document_begin_array(out);
		for (int32 i = from; i < to; i++)
			put_blocks(out, &turns->turns[i]);
		document_end(out);
	}
	document_end(out);
	return to - from;
}

/* What system messages say, in one place; as it was if it is the request's own. */
static void
write_system(DocumentOut *out, const DocumentTurns *turns)
{
	StringInfoData joined;
	const DocumentTurn *only = NULL;
	int32 count = 0;

	initStringInfo(&joined);
	for (int32 i = 0; i < turns->count; i++)
		if (is_system(&turns->turns[i]))
		{
			only = &turns->turns[i];
			document_add_paragraph(&joined, only->content);
			count++;
		}
	if (count == 1 && only->is_own)
		document_write_content(out, "system", &claude_blocks, false, only->content, &only->tools,
							   &only->own);
	else if (count > 0)
		document_put_pair(out, "system", document_buffer(&joined));
}

static Jsonb *
anthropic_write(const TransferConversation *conversation, bool *many)
{
	DocumentTurns turns = document_turns(conversation, FORMAT, true);
	DocumentOut out = {0};
	JsonbValue kept;
	JsonbValue *own = document_own(conversation->metadata, FORMAT, &kept) ? &kept : NULL;
	bool array = document_noted(own, "~array");
	TransferText model = {NULL, 0};

	for (int32 i = 0; i < turns.count && model.data == NULL; i++)
		model = turns.turns[i].message->model;
	if (!array)
	{
		document_begin_object(&out);
		document_put_extras(&out, own);
		if (own == NULL && model.data != NULL)
			document_put_pair(&out, "model", model);
		write_system(&out, &turns);
		document_key(&out, "messages");
	}
	document_begin_array(&out);
	for (int32 i = 0; i < turns.count;)
	{
		if (is_system(&turns.turns[i]))
			i++;
		else if (turns.turns[i].is_own)
			write_own(&out, &turns.turns[i++]);
		else
			i += write_foreign(&out, &turns, i);
	}
	document_end(&out);
	if (!array)
		document_end(&out);
	*many = false;
	return document_done(&out);
}

const TransferFormat transfer_anthropic = {.name = FORMAT,
										   .label = "Anthropic's Messages API",
										   .detect = anthropic_detect,
										   .read = anthropic_read,
										   .write = anthropic_write};
