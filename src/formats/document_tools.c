/*
 * document_tools.c
 *		Tool calls, tool results and names, in the shape that all formats share.
 *
 * They lie in a message's metadata beside what the format itself kept:
 *
 *	tool_calls		[{"id", "type": "function", "function": {"name", "arguments"}}], as OpenAI's
 *					chat messages have them; arguments is a string of JSON, or the JSON
 *	tool_results	[{"tool_call_id", "name", "content", "is_error"}], of formats whose messages
 *					hold calls and their results together
 *	tool_call_id	the call whose result the message's content is
 *	name			who speaks
 *	reasoning		true: the content is what the model thought
 *
 * Metadata may be anybody's: what is not of this shape is not there.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "storage/shmem.h"

#include "document.h"

/* ---- collecting ---- */

/* Makes space for one more; arrays grow by doubling. */
static void *
grown(void *array, int32 count, Size size)
{
	if (array == NULL)
		return palloc(mul_size(4, size));
	if (count >= 4 && (count & (count - 1)) == 0)
		return repalloc(array, mul_size(mul_size(count, 2), size));
	return array;
}

/* Adds a call to a message's tools; what its texts and arguments point to is not copied. */
void
document_add_call(DocumentTools *tools, TransferText id, TransferText name,
				  const JsonbValue *arguments)
{
	DocumentCall *call;

	tools->calls = grown(tools->calls, tools->ncalls, sizeof(DocumentCall));
	call = &tools->calls[tools->ncalls++];
	call->id = id;
	call->name = name;
	call->arguments = *arguments;
}

/* Adds the result of a call to a message's tools; what it points to is not copied. */
void
document_add_result(DocumentTools *tools, TransferText id, TransferText name,
					const JsonbValue *content, bool error)
{
	DocumentResult *result;

	tools->results = grown(tools->results, tools->nresults, sizeof(DocumentResult));
	result = &tools->results[tools->nresults++];
	result->id = id;
	result->name = name;
	result->content = *content;
	result->error = error;
}

/* ---- from metadata ---- */

/* A call as OpenAI's chat messages have it, or with its keys side by side. */
static void
take_call(DocumentTools *tools, const JsonbValue *call)
{
	JsonbValue function;
	JsonbValue arguments;
	TransferText name;

	if (!document_get(call, "function", &function))
		function = *call;
	name = document_get_text(&function, "name");
	if (name.data == NULL)
		return;
	if (!document_get(&function, "arguments", &arguments) &&
		!document_get(&function, "args", &arguments) &&
		!document_get(&function, "input", &arguments))
		arguments = document_string(document_literal("{}"));
	document_add_call(tools, document_get_text(call, "id"), name, &arguments);
}

static void
take_result(DocumentTools *tools, const JsonbValue *result)
{
	JsonbValue content;
	JsonbValue error;

	if (!document_is_object(result))
		return;
	if (!document_get(result, "content", &content))
		content = document_null();
	if (!document_get(result, "is_error", &error))
		error = document_null();
	document_add_result(tools, document_get_text(result, "tool_call_id"),
						document_get_text(result, "name"), &content,
						error.type == jbvBool && error.val.boolean);
}

/* Takes what an object's keys say about tools, in the shape that all formats share. */
void
document_take_tools(const JsonbValue *object, DocumentTools *tools)
{
	JsonbValue value;
	DocumentWalk walk;

	if (document_get(object, "tool_calls", &value))
	{
		if (document_is_array(&value))
		{
			tools->verbatim = value;
			tools->has_verbatim = true;
		}
		document_walk(&walk, &value);
		while (document_next(&walk))
			take_call(tools, &walk.value);
	}
	if (document_get(object, "tool_results", &value))
	{
		document_walk(&walk, &value);
		while (document_next(&walk))
			take_result(tools, &walk.value);
	}
	tools->call_id = document_get_text(object, "tool_call_id");
	if (tools->name.data == NULL)
		tools->name = document_get_text(object, "name");
}

/* What a message's metadata says about tools; metadata may be NULL. */
DocumentTools
document_tools(const Jsonb *metadata)
{
	DocumentTools tools = {0};
	JsonbValue root;
	JsonbValue value;

	if (metadata == NULL)
		return tools;
	root = document_root(unconstify(Jsonb *, metadata));
	document_take_tools(&root, &tools);
	tools.reasoning =
		document_get(&root, "reasoning", &value) && value.type == jbvBool && value.val.boolean;
	return tools;
}

/* ---- into metadata ---- */

/* tool_calls, as the value of a key or an element. */
void
document_put_calls(DocumentOut *out, const DocumentTools *tools)
{
	document_begin_array(out);
	for (int32 i = 0; i < tools->ncalls; i++)
	{
		const DocumentCall *call = &tools->calls[i];

		document_begin_object(out);
		document_key(out, "id");
		document_put_text(out, call->id);
		document_key(out, "type");
		document_put_string(out, "function");
		document_key(out, "function");
		document_begin_object(out);
		document_key(out, "name");
		document_put_text(out, call->name);
		document_key(out, "arguments");
		document_put(out, &call->arguments);
		document_end(out);
		document_end(out);
	}
	document_end(out);
}

static void
put_results(DocumentOut *out, const DocumentTools *tools)
{
	document_begin_array(out);
	for (int32 i = 0; i < tools->nresults; i++)
	{
		const DocumentResult *result = &tools->results[i];

		document_begin_object(out);
		document_key(out, "tool_call_id");
		document_put_text(out, result->id);
		if (result->name.data != NULL)
		{
			document_key(out, "name");
			document_put_text(out, result->name);
		}
		document_key(out, "content");
		document_put(out, &result->content);
		if (result->error)
		{
			document_key(out, "is_error");
			document_put_bool(out, true);
		}
		document_end(out);
	}
	document_end(out);
}

static bool
all_shallow(const DocumentTools *tools)
{
	for (int32 i = 0; i < tools->ncalls; i++)
		if (!document_shallow(&tools->calls[i].arguments))
			return false;
	for (int32 i = 0; i < tools->nresults; i++)
		if (!document_shallow(&tools->results[i].content))
			return false;
	return !tools->has_verbatim || document_shallow(&tools->verbatim);
}

/* All of it, as keys of an object that has begun. */
void
document_put_tools(DocumentOut *out, const DocumentTools *tools)
{
	if (tools->has_verbatim || tools->ncalls > 0)
	{
		document_key(out, "tool_calls");
		if (tools->has_verbatim)
			document_put(out, &tools->verbatim);
		else
			document_put_calls(out, tools);
	}
	if (tools->nresults > 0)
	{
		document_key(out, "tool_results");
		put_results(out, tools);
	}
	if (tools->call_id.data != NULL)
	{
		document_key(out, "tool_call_id");
		document_put_text(out, tools->call_id);
	}
	if (tools->name.data != NULL)
	{
		document_key(out, "name");
		document_put_text(out, tools->name);
	}
	if (tools->reasoning)
	{
		document_key(out, "reasoning");
		document_put_bool(out, true);
	}
}

/*
 * document_metadata
 *		Builds metadata: the tools (or NULL), and the rest of the object under
 *		the format's name, always or when there is a rest.  NULL when there is
 *		nothing.  False: it is nested too deep.
 */
bool
document_metadata(const char *format, const JsonbValue *object, const DocumentExtras *extras,
				  const DocumentTools *tools, bool always, const DocumentPlace *place,
				  Jsonb **metadata)
{
	DocumentOut out = {0};
	JsonbValue own;
	bool any_own;
	bool any_tools = tools != NULL &&
					 (tools->has_verbatim || tools->ncalls > 0 || tools->nresults > 0 ||
					  tools->call_id.data != NULL || tools->name.data != NULL || tools->reasoning);

	*metadata = NULL;
	if (!document_extras(object, extras, always, place, &own, &any_own))
		return false;
	if (!any_own && !any_tools)
		return true;
	if (any_tools && !all_shallow(tools))
		return document_refuse(place, TRANSFER_TOO_LARGE, "tool calls nested deeper than %d levels",
							   DOCUMENT_MAX_DEPTH);
	document_begin_object(&out);
	if (any_tools)
		document_put_tools(&out, tools);
	if (any_own)
	{
		document_key(&out, format);
		document_put(&out, &own);
	}
	document_end(&out);
	*metadata = document_done(&out);
	return true;
}

/* ---- for writers ---- */

/* Arguments as a string of JSON. */
TransferText
document_arguments_text(const JsonbValue *arguments)
{
	if (arguments->type == jbvString)
		return document_text(arguments);
	if (arguments->type == jbvNull)
		return document_literal("{}");
	return document_print(arguments);
}

/* Arguments as an object; a string that is none is the value of the key "input". */
JsonbValue
document_arguments_object(const JsonbValue *arguments)
{
	DocumentOut out = {0};
	JsonbValue parsed = *arguments;

	if (arguments->type == jbvString && !document_parse(document_text(arguments), &parsed, NULL))
		parsed = *arguments;
	if (document_is_object(&parsed))
		return parsed;
	document_begin_object(&out);
	if (parsed.type != jbvNull && !(parsed.type == jbvString && parsed.val.string.len == 0))
	{
		document_key(&out, "input");
		document_put(&out, &parsed);
	}
	document_end(&out);
	return *out.result;
}

/*
 * A tool's message, for formats that have results only beside calls: the
 * assistant's, without text, with the result.
 */
void
document_as_result(TransferMessage *message, DocumentTools *tools)
{
	JsonbValue text = document_string(message->content);

	document_add_result(tools, tools->call_id, tools->name, &text, false);
	message->content = document_literal("");
	message->role = document_literal("assistant");
}

/*
 * The results of the calls that are not yet written, by call (-1: it has none),
 * and which results have a call.
 */
int32 *
document_pairs(const DocumentTools *tools, const DocumentWritten *written, bool **paired)
{
	int32 *pairs = palloc(mul_size(Max(tools->ncalls, 1), sizeof(int32)));
	TransferText *texts = palloc(mul_size(Max(tools->nresults, 1), sizeof(TransferText)));
	DocumentIds ids;
	int32 duplicate;

	*paired = palloc0(Max(tools->nresults, 1));
	for (int32 i = 0; i < tools->nresults; i++)
		texts[i] = tools->results[i].id;
	(void) document_ids(&ids, texts, tools->nresults, &duplicate);
	for (int32 i = written->calls; i < tools->ncalls; i++)
	{
		pairs[i] = document_find(&ids, tools->calls[i].id);
		if (pairs[i] >= 0 && (pairs[i] < written->results || (*paired)[pairs[i]]))
			pairs[i] = -1;
		if (pairs[i] >= 0)
			(*paired)[pairs[i]] = true;
	}
	pfree(texts);
	pfree(ids.ids);
	return pairs;
}

/* Adds a text, and an empty line between it and what stands there. */
void
document_add_paragraph(StringInfo joined, TransferText text)
{
	if (text.data == NULL || text.length == 0)
		return;
	if (joined->len > 0)
		appendStringInfoString(joined, "\n\n");
	appendBinaryStringInfo(joined, text.data, text.length);
}

/* What a buffer holds, as a text that lives as long as it. */
TransferText
document_buffer(const StringInfoData *text)
{
	TransferText result = {text->data, (uint32) text->len};

	return result;
}

/* A result as text: a string, the texts of parts, else the JSON itself. */
TransferText
document_result_text(const JsonbValue *content)
{
	StringInfoData joined;
	DocumentWalk walk;
	TransferText result;

	if (content->type == jbvString)
		return document_text(content);
	if (content->type == jbvNull)
		return document_literal("");
	if (!document_is_array(content))
		return document_print(content);
	initStringInfo(&joined);
	document_walk(&walk, content);
	while (document_next(&walk))
	{
		TransferText text = document_get_text(&walk.value, "text");

		if (text.data == NULL && walk.value.type != jbvString)
			return document_print(content);
		document_add_paragraph(&joined, text.data != NULL ? text : document_text(&walk.value));
	}
	result.data = joined.data;
	result.length = (uint32) joined.len;
	return result;
}

/* Whether the content of a message with these tools is what the model only thought. */
bool
document_is_thought(const TransferMessage *message, const DocumentTools *tools)
{
	return tools->reasoning && document_text_is(message->role, "assistant");
}
