/*
 * format_langchain.c
 *		LangChain's stored messages, one a document:
 *
 *	item	{"type": "human", "data": {"content", "name", "id", "tool_calls", …}}, an element
 *			of the classic Redis list
 *	json	the same with message_id, session_id and timestamp: langchain-redis
 *	flat	{"type": "human", "content": …} without data: JavaScript
 *	row		{"id", "session_id", "message": item or flat, or text of it, "created_at"}:
 *			langchain-postgres
 *
 * One with a session_id is part of that conversation; an array, oldest first, is
 * a conversation.  Conversations from elsewhere are written as rows.
 *
 *	conversation	~rows, ~array, ~single; ~shape: one of the above, for new messages
 *	message			~shape; ~message: the row has it as text; ~id: its id is the row's
 *
 * Sources: langchain-core's messages_to_dict, langchain-community's
 * chat_message_histories, langchain-redis, langchain-postgres, LangChain.js.
 */
#include "postgres.h"

#include "document.h"
#include "formats_private.h"
#include "memory_limits.h"

#define FORMAT FORMAT_LANGCHAIN

static const DocumentRole roles[] = {
	{"human", "user"},
	{"ai", "assistant"},
	{"system", "system"},
	{"tool", "tool"},
	{"function", "tool"},
	{"chat", "user"},
	{"generic", "user"},
	{"developer", "system"},
	{"HumanMessageChunk", "user"},
	{"AIMessageChunk", "assistant"},
	{"SystemMessageChunk", "system"},
	{"ToolMessageChunk", "tool"},
	{"FunctionMessageChunk", "tool"},
	{"ChatMessageChunk", "user"},
};

static const DocumentField id_field[] = {
	MESSAGE_TEXT("id", message_id, MEMORY_MAX_MESSAGE_ID_BYTES)};
static const DocumentField json_fields[] = {MESSAGE_TEXT("message_id", message_id,
														 MEMORY_MAX_MESSAGE_ID_BYTES),
											MESSAGE_TIME("timestamp", FIELD_EPOCH, false)};
static const DocumentField row_fields[] = {MESSAGE_TIME("created_at", FIELD_ISO, false)};

static const DocumentPartKind part_kinds[] = {{"text", "text"}};

static const DocumentPartRules parts = {.type_key = "type",
										.kinds = part_kinds,
										.nkinds = lengthof(part_kinds),
										.strings = true};

/* ---- shapes ---- */

typedef enum Shape
{
	SHAPE_NONE,
	SHAPE_ITEM,
	SHAPE_JSON,
	SHAPE_FLAT,
	SHAPE_ROW
} Shape;

static const char *const shape_names[] = {"", "item", "json", "flat", "row"};

static bool
is_role(TransferText word)
{
	for (int i = 0; i < lengthof(roles); i++)
		if (document_text_is(word, roles[i].word))
			return true;
	return false;
}

static Shape
shape_of(const JsonbValue *value)
{
	JsonbValue found;

	if (document_get(value, "session_id", &found) && document_get(value, "message", &found))
		return SHAPE_ROW;
	if (!document_has_string(value, "type"))
		return SHAPE_NONE;
	if (document_has_object(value, "data"))
		return document_get(value, "session_id", &found) ? SHAPE_JSON : SHAPE_ITEM;
	if (!document_get(value, "role", &found) && document_get(value, "content", &found) &&
		is_role(document_get_text(value, "type")))
		return SHAPE_FLAT;
	return SHAPE_NONE;
}

static Shape
shape_named(const JsonbValue *own)
{
	JsonbValue name;

	if (document_kept(own, "~shape", &name))
		for (int i = SHAPE_ITEM; i <= SHAPE_ROW; i++)
			if (document_is_word(&name, shape_names[i]))
				return (Shape) i;
	return SHAPE_NONE;
}

static void
note_shape(DocumentExtras *extras, Shape shape)
{
	JsonbValue name = document_string(document_literal(shape_names[shape]));

	document_replace(extras, "~shape", &name);
}

static bool
langchain_detect(Jsonb *document)
{
	JsonbValue root = document_root(document);
	JsonbValue first;

	return shape_of(document_first(&root, &first) ? &first : &root) != SHAPE_NONE;
}

/* ---- reading ---- */

/* tool_calls, [{"name", "args", "id", "type"}]: the rests of its elements are kept. */
static bool
read_calls(const JsonbValue *data, DocumentTools *tools, DocumentExtras *extras,
		   const DocumentPlace *place)
{
	DocumentOut out = {0};
	DocumentTools read = {0};
	JsonbValue calls;
	DocumentWalk walk;

	if (!document_get(data, "tool_calls", &calls) || calls.type == jbvNull)
		return true;
	if (!document_is_array(&calls))
		return document_refuse_key(place, "tool_calls", TRANSFER_BAD_VALUE, "not an array");
	if (!document_shallow(&calls))
		return document_refuse_key(place, "tool_calls", TRANSFER_TOO_LARGE,
								   "nested deeper than %d levels", DOCUMENT_MAX_DEPTH);
	document_begin_array(&out);
	document_walk(&walk, &calls);
	while (document_next(&walk))
	{
		TransferText id = document_get_text(&walk.value, "id");
		TransferText name = document_get_text(&walk.value, "name");
		DocumentExtras inner = {0};
		JsonbValue args;

		/* what is no call stays as it is, with all others */
		if (name.data == NULL || !document_get(&walk.value, "args", &args))
			return true;
		document_add_call(&read, id, name, &args);
		document_skip(&inner, "name");
		document_skip(&inner, "args");
		if (id.data != NULL)
			document_skip(&inner, "id");
		document_put_object_extras(&out, &walk.value, &inner);
	}
	document_end(&out);
	if (read.ncalls > 0)
	{
		tools->calls = read.calls;
		tools->ncalls = read.ncalls;
		document_replace(extras, "tool_calls", out.result);
	}
	return true;
}

static void
read_text(const JsonbValue *data, const char *key, TransferText *text, DocumentExtras *extras)
{
	*text = document_get_text(data, key);
	if (text->data != NULL)
		document_skip(extras, key);
}

/* Model and tokens stay where they are, too. */
static void
read_usage(const JsonbValue *data, TransferMessage *message)
{
	JsonbValue value;
	JsonbValue number;
	TransferText model;

	if (document_get(data, "usage_metadata", &value) &&
		document_get(&value, "output_tokens", &number))
		(void) document_number(&number, &message->tokens);
	if (!document_get(data, "response_metadata", &value))
		return;
	model = document_get_text(&value, "model_name");
	if (model.data == NULL)
		model = document_get_text(&value, "model");
	if (model.length > 0 && model.length <= MEMORY_MAX_MODEL_BYTES)
		message->model = model;
}

/* What an item has in data, a flat one beside its type. */
static bool
read_data(const JsonbValue *data, TransferMessage *message, DocumentTools *tools,
		  DocumentExtras *extras, bool has_id, const DocumentPlace *place)
{
	JsonbValue id;

	read_text(data, "name", &tools->name, extras);
	read_text(data, "tool_call_id", &tools->call_id, extras);
	read_usage(data, message);

	/* the id is the message's, unless one outside is; numbers occur in JavaScript */
	if (has_id && document_get(data, "id", &id) && id.type == jbvString &&
		!document_read_fields(data, id_field, 1, message, extras, place))
		return false;
	return document_read_content(data, "content", &parts, false, &message->content, tools, extras,
								 place) &&
		   read_calls(data, tools, extras, place);
}

/* An item or a flat message; its rest goes into the rest. */
static bool
read_item(const JsonbValue *item, Shape shape, TransferMessage *message, DocumentTools *tools,
		  DocumentExtras *extras, const DocumentPlace *place)
{
	DocumentPlace at = document_at_key(place, "data");
	DocumentExtras inner = {0};
	JsonbValue data;
	JsonbValue kept;
	bool any;

	if (!document_read_role(item, "type", roles, lengthof(roles), &message->role, extras, place))
		return false;
	if (shape == SHAPE_FLAT)
		return read_data(item, message, tools, extras, true, place);
	if (shape == SHAPE_JSON &&
		!document_read_fields(item, json_fields, lengthof(json_fields), message, extras, place))
		return false;
	if (!document_get(item, "data", &data) || !document_is_object(&data))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an object");
	if (!read_data(&data, message, tools, &inner, shape == SHAPE_ITEM, &at) ||
		!document_extras(&data, &inner, true, &at, &kept, &any))
		return false;
	document_replace(extras, "data", &kept);
	return true;
}

/* A row: the rest of its message is kept in the message's place. */
static bool
read_row(const JsonbValue *row, TransferMessage *message, DocumentTools *tools,
		 DocumentExtras *extras, const DocumentPlace *place)
{
	DocumentPlace at = document_at_key(place, "message");
	DocumentExtras inner = {0};
	JsonbValue item;
	JsonbValue kept;
	Shape shape;
	bool any;

	if (!document_read_wrapped(row, "message", "~message", &item, extras, place) ||
		!document_read_fields(row, row_fields, lengthof(row_fields), message, extras, place))
		return false;
	shape = document_has_object(&item, "data") ? SHAPE_ITEM : SHAPE_FLAT;
	note_shape(&inner, shape);
	if (!read_item(&item, shape, message, tools, &inner, &at))
		return false;
	document_read_row_id(row, message, &inner);
	if (!document_extras(&item, &inner, true, &at, &kept, &any))
		return false;
	document_replace(extras, "message", &kept);
	return true;
}

static bool
read_message(const JsonbValue *value, Shape shape, TransferMessage *message,
			 const DocumentPlace *place)
{
	DocumentExtras extras = {0};
	DocumentTools tools = {0};

	note_shape(&extras, shape);
	if (shape == SHAPE_ROW ? !read_row(value, message, &tools, &extras, place)
						   : !read_item(value, shape, message, &tools, &extras, place))
		return false;
	return document_metadata(FORMAT, value, &extras, &tools, true, place, &message->metadata);
}

/* What a conversation is made of. */
static Jsonb *
conversation_metadata(const char *note, Shape shape)
{
	DocumentOut out = {0};

	document_begin_object(&out);
	document_key(&out, FORMAT);
	document_begin_object(&out);
	document_key(&out, note);
	document_put_bool(&out, true);
	document_key(&out, "~shape");
	document_put_string(&out, shape_names[shape]);
	document_end(&out);
	document_end(&out);
	return document_done(&out);
}

static bool
read_array(const JsonbValue *array, TransferConversation *conversation, const DocumentPlace *place)
{
	Shape shape = SHAPE_NONE;
	DocumentWalk walk;

	if (!document_messages(conversation, document_count(array), place))
		return false;
	document_walk(&walk, array);
	while (document_next(&walk))
	{
		DocumentPlace at = document_at_index(place, walk.index);
		TransferText session = document_get_text(&walk.value, "session_id");

		shape = shape_of(&walk.value);
		if (shape == SHAPE_NONE)
			return document_refuse(&at, TRANSFER_BAD_VALUE, "not a message of LangChain's");
		if (walk.index == 0)
			conversation->source_id = session;
		else if (!document_same_text(conversation->source_id, session))
			return document_refuse_key(&at, "session_id", TRANSFER_BAD_VALUE,
									   "the messages are of several conversations");
		if (!read_message(&walk.value, shape, &conversation->messages[walk.index], &at))
			return false;
	}
	conversation->metadata = conversation_metadata("~array", shape);
	return true;
}

static bool
langchain_read(Jsonb *document, TransferConversation *conversation, TransferProblem *problem)
{
	JsonbValue root = document_root(document);
	DocumentPlace place = document_place(problem);
	Shape shape;

	conversation->head = -1;
	if (document_is_array(&root))
		return read_array(&root, conversation, &place);
	shape = shape_of(&root);
	if (shape == SHAPE_NONE)
		return document_refuse(&place, TRANSFER_BAD_VALUE, "not a message of LangChain's");
	conversation->source_id = document_get_text(&root, "session_id");
	conversation->partial = shape == SHAPE_ROW || shape == SHAPE_JSON;
	if (conversation->partial && conversation->source_id.data == NULL)
		return document_refuse_key(&place, "session_id", TRANSFER_BAD_VALUE, "not a string");
	conversation->metadata =
		conversation_metadata(conversation->partial ? "~rows" : "~single", shape);
	return document_messages(conversation, 1, &place) &&
		   read_message(&root, shape, &conversation->messages[0], &place);
}

/* ---- writing ---- */

static void
put_call(DocumentOut *out, const DocumentCall *call, const JsonbValue *kept)
{
	JsonbValue args = kept != NULL ? call->arguments : document_arguments_object(&call->arguments);

	document_begin_object(out);
	if (kept != NULL)
		document_put_extras(out, kept);
	else
	{
		document_key(out, "type");
		document_put_string(out, "tool_call");
	}
	if (kept == NULL || call->id.data != NULL)
	{
		document_key(out, "id");
		document_put_text(out, call->id);
	}
	document_key(out, "name");
	document_put_text(out, call->name);
	document_key(out, "args");
	document_put(out, &args);
	document_end(out);
}

/* The calls, with the rests of those that were kept. */
static void
write_calls(DocumentOut *out, const DocumentTools *tools, const JsonbValue *own)
{
	JsonbValue kept;
	DocumentWalk walk = {0};

	if (tools->ncalls == 0)
		return;
	if (document_kept(own, "tool_calls", &kept))
		document_walk(&walk, &kept);
	document_key(out, "tool_calls");
	document_begin_array(out);
	for (int32 i = 0; i < tools->ncalls; i++)
		put_call(out, &tools->calls[i], document_next(&walk) ? &walk.value : NULL);
	document_end(out);
}

static void
write_text(DocumentOut *out, const char *key, TransferText text)
{
	if (text.data == NULL)
		return;
	document_key(out, key);
	document_put_text(out, text);
}

static void
write_session(DocumentOut *out, const TransferConversation *conversation)
{
	document_key(out, "session_id");
	document_put_text(out, conversation->source_id);
}

/* What a message that comes from elsewhere has besides. */
static void
put_usual(DocumentOut *out, const DocumentTurn *turn)
{
	document_key(out, "additional_kwargs");
	document_begin_object(out);
	document_end(out);
	document_key(out, "response_metadata");
	document_begin_object(out);
	if (turn->message->model.data != NULL && document_text_is(turn->role, "assistant"))
		write_text(out, "model_name", turn->message->model);
	document_end(out);
}

/* An image or file that has an address; false: it has no place here. */
static bool
put_media(DocumentOut *out, const DocumentMedia *media)
{
	TransferText data = document_url_data(media->url);

	if (media->url.data == NULL)
		return false;
	document_begin_object(out);
	if (media->kind == DOCUMENT_IMAGE)
	{
		document_put_pair(out, "type", document_literal("image_url"));
		document_key(out, "image_url");
		document_begin_object(out);
		document_put_pair(out, "url", media->url);
		document_end(out);
	}
	else
	{
		bool bytes = data.data != NULL;

		document_put_pair(out, "type", document_literal("file"));
		document_put_pair(out, "source_type", document_literal(bytes ? "base64" : "url"));
		document_put_pair(out, bytes ? "data" : "url", bytes ? data : media->url);
		if (media->media_type.data != NULL)
			document_put_pair(out, "mime_type", media->media_type);
		if (media->name.data != NULL)
			document_put_pair(out, "filename", media->name);
	}
	document_end(out);
	return true;
}

/* The content of a message from elsewhere that has images or files. */
static void
write_media_content(DocumentOut *out, const DocumentTurn *turn)
{
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
		(void) put_media(out, &turn->media[i]);
	document_end(out);
}

/* own: the rest of the data; NULL: the message comes from elsewhere. */
static void
write_data(DocumentOut *out, const DocumentTurn *turn, bool has_id, const JsonbValue *own)
{
	if (own == NULL)
		put_usual(out, turn);
	document_put_extras(out, own);
	if (own == NULL && turn->nmedia > 0)
		write_media_content(out, turn);
	else
		document_write_content(out, "content", &parts, false, turn->content, &turn->tools, own);
	write_calls(out, &turn->tools, own);
	write_text(out, "name", turn->tools.name);
	write_text(out, "tool_call_id", turn->tools.call_id);
	if (has_id)
		document_write_fields(out, id_field, 1, turn->message, own);
}

/* own: the rest of the item. */
static void
write_item(DocumentOut *out, const TransferConversation *conversation, const DocumentTurn *turn,
		   Shape shape, const JsonbValue *own)
{
	TransferText type = document_role_word(roles, lengthof(roles), turn->role, own, "type");
	JsonbValue data;
	bool has_data = document_kept(own, "data", &data);
	bool has_id = !document_noted(own, "~id");

	document_begin_object(out);
	document_put_extras(out, own);
	document_key(out, "type");
	document_put_text(out, type);
	if (shape == SHAPE_FLAT)
	{
		write_data(out, turn, has_id, own);
		document_end(out);
		return;
	}
	if (shape == SHAPE_JSON)
	{
		document_write_fields(out, json_fields, lengthof(json_fields), turn->message, own);
		if (own == NULL)
			write_session(out, conversation);
	}
	document_key(out, "data");
	document_begin_object(out);
	if (!has_data)
		write_text(out, "type", type);
	write_data(out, turn, has_id && shape == SHAPE_ITEM, has_data ? &data : NULL);
	document_end(out);
	document_end(out);
}

/* A row that comes from elsewhere takes the next id. */
static void
write_row(DocumentOut *out, const TransferConversation *conversation, const DocumentTurn *turn,
		  int32 *last_id, const JsonbValue *own)
{
	DocumentOut inner = {0};
	JsonbValue message;
	bool has_message = document_kept(own, "message", &message);
	Shape shape = has_message ? shape_named(&message) : SHAPE_ITEM;

	write_item(&inner, conversation, turn, shape, has_message ? &message : NULL);
	document_begin_object(out);
	document_put_extras(out, own);
	document_write_fields(out, row_fields, lengthof(row_fields), turn->message, own);
	document_write_wrapped(out, "message", "~message", inner.result, own);
	if (own == NULL)
	{
		document_key(out, "id");
		document_put_integer(out, ++*last_id);
		write_session(out, conversation);
	}
	document_end(out);
}

static Jsonb *
langchain_write(const TransferConversation *conversation, bool *many)
{
	DocumentTurns turns = document_turns(conversation, FORMAT, false);
	DocumentOut out = {0};
	JsonbValue kept;
	JsonbValue *own = document_own(conversation->metadata, FORMAT, &kept) ? &kept : NULL;
	Shape usual = own != NULL ? shape_named(own) : SHAPE_NONE;
	bool single = document_noted(own, "~single") && turns.count == 1;
	int32 last_id = document_last_row(&turns, NULL);

	if (!single)
		document_begin_array(&out);
	for (int32 i = 0; i < turns.count; i++)
	{
		const JsonbValue *mine = turns.turns[i].is_own ? &turns.turns[i].own : NULL;
		Shape shape = mine != NULL ? shape_named(mine) : usual;

		if (shape == SHAPE_NONE || shape == SHAPE_ROW)
			write_row(&out, conversation, &turns.turns[i], &last_id, mine);
		else
			write_item(&out, conversation, &turns.turns[i], shape, mine);
	}
	if (!single)
		document_end(&out);
	*many = own == NULL || document_noted(own, "~rows");
	return document_done(&out);
}

const TransferFormat transfer_langchain = {FORMAT, "LangChain messages", langchain_detect,
										   langchain_read, langchain_write};
