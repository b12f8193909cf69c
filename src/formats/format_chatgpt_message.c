/*
 * format_chatgpt_message.c
 *		A message of a ChatGPT export: {"id", "author": {"role", "name"},
 *		"create_time", "content": {"content_type", …}, "metadata": {"model_slug"},
 *		"status", "recipient", …}.
 *
 * The content column is the texts among content.parts, else the text of the key
 * that the content type has one in.  Of types that hold several texts or none
 * (thoughts, user_editable_context, unknown ones) the whole content is kept, and
 * a note by which an edit is seen; an edited message becomes one of type text.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "document.h"
#include "format_chatgpt.h"
#include "memory_limits.h"

static const DocumentRole roles[] = {{"user", "user"},
									 {"assistant", "assistant"},
									 {"system", "system"},
									 {"tool", "tool"}};

static const DocumentField fields[] = {
	MESSAGE_TEXT("id", message_id, MEMORY_MAX_MESSAGE_ID_BYTES),
	MESSAGE_TIME("create_time", FIELD_EPOCH, true),
};

const DocumentField chatgpt_order_fields[] = {MESSAGE_TIME("create_time", FIELD_EPOCH, true)};
const int chatgpt_norder_fields = lengthof(chatgpt_order_fields);

static const DocumentPartKind part_kinds[] = {
	{"audio_transcription", "text"},
};

static const DocumentPartRules parts = {.type_key = "content_type",
										.kinds = part_kinds,
										.nkinds = lengthof(part_kinds),
										.strings = true};

/* Keys of a content that hold all of its text. */
static const char *const text_keys[] = {"text", "content", "result"};

/* ---- reading ---- */

/* The text of a content type that holds several: for reading and searching. */
static TransferText
gathered_text(const JsonbValue *content)
{
	StringInfoData joined;
	JsonbValue thoughts;
	DocumentWalk walk;
	TransferText text;

	initStringInfo(&joined);
	if (document_get(content, "thoughts", &thoughts))
	{
		document_walk(&walk, &thoughts);
		while (document_next(&walk))
		{
			document_add_paragraph(&joined, document_get_text(&walk.value, "summary"));
			document_add_paragraph(&joined, document_get_text(&walk.value, "content"));
		}
	}
	document_add_paragraph(&joined, document_get_text(content, "user_profile"));
	document_add_paragraph(&joined, document_get_text(content, "user_instructions"));
	text.data = joined.data;
	text.length = (uint32) joined.len;
	return text;
}

static bool
is_reasoning(TransferText type)
{
	return document_text_is(type, "thoughts") || document_text_is(type, "reasoning_recap");
}

/* Puts the rest of a content in its place; or nothing, if it is what is written for its text. */
static bool
keep_content(const JsonbValue *content, const DocumentExtras *inner, bool plain,
			 DocumentExtras *extras, const DocumentPlace *place)
{
	JsonbValue kept;
	bool any;

	if (plain)
	{
		document_skip(extras, "content");
		return true;
	}
	if (!document_extras(content, inner, true, place, &kept, &any))
		return false;
	document_replace(extras, "content", &kept);
	return true;
}

static bool
read_parts(const JsonbValue *content, const JsonbValue *array, TransferMessage *message,
		   DocumentExtras *extras, const DocumentPlace *place)
{
	DocumentPlace at = document_at_key(place, "parts");
	DocumentExtras inner = {0};
	DocumentContent read;
	bool plain;

	if (!document_read_parts(array, &parts, &read, NULL, &at))
		return false;
	message->content = read.text;
	plain = read.plain && document_count(content) == 2 &&
			document_text_is(document_get_text(content, "content_type"), "text");
	document_replace(&inner, "parts", &read.kept);
	return keep_content(content, &inner, plain, extras, place);
}

static bool
read_content(const JsonbValue *content, TransferMessage *message, DocumentExtras *extras,
			 const DocumentPlace *place)
{
	DocumentExtras inner = {0};
	JsonbValue value;
	JsonbValue note;

	if (document_get(content, "parts", &value) && document_is_array(&value))
		return read_parts(content, &value, message, extras, place);
	for (int i = 0; i < lengthof(text_keys); i++)
		if (document_get(content, text_keys[i], &value) && value.type == jbvString)
		{
			JsonbValue key = document_string(document_literal(text_keys[i]));

			message->content = document_text(&value);
			document_skip(&inner, text_keys[i]);
			document_replace(&inner, "~in", &key);
			return keep_content(content, &inner, false, extras, place);
		}
	message->content = gathered_text(content);
	note = document_text_note(message->content);
	document_replace(&inner, "~text", &note);
	return keep_content(content, &inner, false, extras, place);
}

static bool
read_author(const JsonbValue *object, TransferMessage *message, DocumentTools *tools,
			DocumentExtras *extras, const DocumentPlace *place)
{
	DocumentPlace at = document_at_key(place, "author");
	DocumentExtras inner = {0};
	JsonbValue author;
	JsonbValue metadata;
	JsonbValue kept;
	bool any;

	if (!document_get(object, "author", &author))
		return document_refuse(&at, TRANSFER_BAD_ROLE, "there is no author");
	if (!document_is_object(&author))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an object");
	if (!document_read_role(&author, "role", roles, lengthof(roles), &message->role, &inner, &at))
		return false;
	tools->name = document_get_text(&author, "name");

	/* {"role", "name": null, "metadata": {}} is what is written */
	if (document_count(&author) == 3 && tools->name.data == NULL &&
		document_get(&author, "name", &kept) && kept.type == jbvNull &&
		document_get(&author, "metadata", &metadata) && document_is_object(&metadata) &&
		document_count(&metadata) == 0)
	{
		document_skip(extras, "author");
		return true;
	}
	if (tools->name.data != NULL)
		document_skip(&inner, "name");
	if (!document_extras(&author, &inner, true, &at, &kept, &any))
		return false;
	document_replace(extras, "author", &kept);
	return true;
}

static bool
is_model(TransferText text)
{
	return text.length > 0 && text.length <= MEMORY_MAX_MODEL_BYTES;
}

/* The message of a node; rest takes notes about the node. */
bool
chatgpt_read_message(const JsonbValue *object, TransferMessage *message, DocumentExtras *extras,
					 DocumentTools *tools, const DocumentPlace *place)
{
	DocumentPlace at = document_at_key(place, "content");
	JsonbValue content = document_null();
	JsonbValue metadata;
	bool there = document_get(object, "content", &content);

	if (!document_read_fields(object, fields, lengthof(fields), message, extras, place) ||
		!read_author(object, message, tools, extras, place))
		return false;
	message->content = document_literal("");
	if (!there)
		document_absent(extras, "content");
	if (content.type != jbvNull)
	{
		if (!document_is_object(&content))
			return document_refuse(&at, TRANSFER_BAD_VALUE, "not an object");
		if (!read_content(&content, message, extras, &at))
			return false;
		tools->reasoning = is_reasoning(document_get_text(&content, "content_type"));
	}
	if (document_get(object, "metadata", &metadata))
	{
		TransferText model = document_get_text(&metadata, "model_slug");

		/* written so for messages that come from elsewhere */
		document_take_tools(&metadata, tools);

		if (is_model(model))
			message->model = model;
	}
	return true;
}

/* ---- writing ---- */

static void
put_plain_content(DocumentOut *out, TransferText text)
{
	document_begin_object(out);
	document_key(out, "content_type");
	document_put_string(out, "text");
	document_key(out, "parts");
	document_write_parts(out, NULL, &parts, text, NULL);
	document_end(out);
}

/* The content that was kept, with the text in its place. */
static void
put_kept_content(DocumentOut *out, const JsonbValue *kept, TransferText text)
{
	JsonbValue value;

	if (document_kept(kept, "parts", &value) && document_is_array(&value))
	{
		document_begin_object(out);
		document_put_extras(out, kept);
		document_key(out, "parts");
		document_write_parts(out, &value, &parts, text, NULL);
		document_end(out);
	}
	else if (document_kept(kept, "~in", &value) && value.type == jbvString)
	{
		document_begin_object(out);
		document_put_extras(out, kept);
		document_key_text(out, document_text(&value));
		document_put_text(out, text);
		document_end(out);
	}
	else if (document_text_noted(kept, "~text", text))
	{
		document_begin_object(out);
		document_put_extras(out, kept);
		document_end(out);
	}
	else
		put_plain_content(out, text);
}

static void
write_content(DocumentOut *out, const TransferMessage *message, const DocumentTools *tools,
			  const JsonbValue *own)
{
	JsonbValue kept;
	bool is_kept = document_kept(own, "content", &kept);

	if (message->content.length == 0 &&
		((is_kept && kept.type == jbvNull) || document_was_absent(own, "content")))
		return;
	document_key(out, "content");
	if (is_kept && document_is_object(&kept))
		put_kept_content(out, &kept, message->content);
	else if (own == NULL && document_is_thought(message, tools))
	{
		document_begin_object(out);
		document_key(out, "content_type");
		document_put_string(out, "reasoning_recap");
		document_key(out, "content");
		document_put_text(out, message->content);
		document_end(out);
	}
	else
		put_plain_content(out, message->content);
}

static void
write_author(DocumentOut *out, const TransferMessage *message, const DocumentTools *tools,
			 const JsonbValue *own)
{
	JsonbValue author;
	bool is_kept = document_kept(own, "author", &author) && document_is_object(&author);
	JsonbValue *kept = is_kept ? &author : NULL;

	document_key(out, "author");
	document_begin_object(out);
	if (is_kept)
		document_put_extras(out, kept);
	else
	{
		document_key(out, "metadata");
		document_begin_object(out);
		document_end(out);
	}
	document_key(out, "role");
	document_put_text(out, document_role_word(roles, lengthof(roles), message->role, kept, "role"));
	if (!is_kept || tools->name.data != NULL)
	{
		document_key(out, "name");
		document_put_text(out, tools->name);
	}
	document_end(out);
}

static TransferText
kept_model(const JsonbValue *own)
{
	TransferText none = {NULL, 0};
	JsonbValue metadata;
	TransferText model;

	if (!document_kept(own, "metadata", &metadata))
		return none;
	model = document_get_text(&metadata, "model_slug");
	return is_model(model) ? model : none;
}

/* The conversation's default model is that of answers that name none; the document says it once. */
void
chatgpt_default_model(TransferConversation *conversation, TransferText model)
{
	if (!is_model(model) || document_text_is(model, "auto"))
		return;
	for (int32 i = 0; i < conversation->count; i++)
		if (document_text_is(conversation->messages[i].role, "assistant") &&
			conversation->messages[i].model.data == NULL)
			conversation->messages[i].model = model;
}

/* metadata, for the model; tools of another format have no other place. */
static void
write_metadata(DocumentOut *out, const TransferMessage *message, const DocumentTools *tools,
			   const JsonbValue *own, TransferText default_model)
{
	JsonbValue kept;
	bool is_kept = document_kept(own, "metadata", &kept);

	if (own != NULL &&
		(document_same_text(message->model, kept_model(own)) ||
		 (kept_model(own).data == NULL && document_same_text(message->model, default_model))))
		return;
	document_key(out, "metadata");
	document_begin_object(out);
	if (is_kept && document_is_object(&kept))
		document_put_pairs(out, &kept);
	if (message->model.data != NULL)
	{
		document_key(out, "model_slug");
		document_put_text(out, message->model);
	}
	if (own == NULL)
		document_put_tools(out, tools);
	document_end(out);
}

/* Writes a node's message; own is what the format kept of it. */
void
chatgpt_write_message(DocumentOut *out, const TransferMessage *message, TransferText id,
					  const JsonbValue *own, TransferText default_model)
{
	DocumentTools tools = document_tools(message->metadata);

	document_begin_object(out);
	document_put_extras(out, own);
	document_write_fields(out, fields, lengthof(fields), message, own);
	write_author(out, message, &tools, own);
	write_content(out, message, &tools, own);
	write_metadata(out, message, &tools, own, default_model);
	if (own == NULL)
	{
		document_key(out, "id");
		document_put_text(out, id);
		document_key(out, "status");
		document_put_string(out, "finished_successfully");
		document_key(out, "weight");
		document_put_integer(out, 1);
		document_key(out, "recipient");
		document_put_string(out, "all");
		document_key(out, "end_turn");
		document_put_null(out);
		document_key(out, "update_time");
		document_put_null(out);
	}
	document_end(out);
}
