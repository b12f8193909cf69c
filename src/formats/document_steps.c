/*
 * document_steps.c
 *		What a message that comes from another format says, in order: texts,
 *		thoughts, calls, their results, images and files.
 *
 * Formats keep their parts each in their own way; here they are told apart by
 * what they are, wherever they lie.  Lengths stand in the place of texts (see
 * document_content.c): as long as they fit the content, its pieces are steps;
 * after an edit the whole of it is one, behind the results.
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "document.h"
#include "format_names.h"

/* ---- images and files ---- */

static TransferText
first_text(const JsonbValue *object, const char *const *keys, int n)
{
	TransferText none = {NULL, 0};

	for (int i = 0; i < n; i++)
	{
		TransferText text = document_get_text(object, keys[i]);

		if (text.length > 0)
			return text;
	}
	return none;
}

static bool
starts_with(TransferText text, const char *start)
{
	return text.data != NULL && text.length >= strlen(start) &&
		   memcmp(text.data, start, strlen(start)) == 0;
}

/* The address of bytes in Base64: a data URL. */
static TransferText
data_url(TransferText media_type, TransferText data)
{
	StringInfoData url;

	if (media_type.data == NULL)
		media_type = document_literal("application/octet-stream");
	initStringInfo(&url);
	appendStringInfoString(&url, "data:");
	appendBinaryStringInfo(&url, media_type.data, (int) media_type.length);
	appendStringInfoString(&url, ";base64,");
	appendBinaryStringInfo(&url, data.data, (int) data.length);
	return document_buffer(&url);
}

/* The type of a data URL; none: it is no such URL. */
static TransferText
url_type(TransferText url)
{
	TransferText type = {NULL, 0};
	const char *end;

	if (!starts_with(url, "data:"))
		return type;
	end = memchr(url.data, ';', url.length);
	if (end == NULL)
		end = memchr(url.data, ',', url.length);
	if (end == NULL || end - url.data <= 5)
		return type;
	type.data = url.data + 5;
	type.length = (uint32) (end - type.data);
	return type;
}

/* The bytes of a data URL in Base64; none: it is no such URL. */
TransferText
document_url_data(TransferText url)
{
	static const char mark[] = ";base64,";
	TransferText data = {NULL, 0};

	if (!starts_with(url, "data:"))
		return data;
	for (uint32 i = 0; i + strlen(mark) <= url.length && i < 256; i++)
		if (memcmp(url.data + i, mark, strlen(mark)) == 0)
		{
			data.data = url.data + i + strlen(mark);
			data.length = url.length - i - (uint32) strlen(mark);
			return data;
		}
	return data;
}

static DocumentMediaKind
kind_of_type(TransferText media_type)
{
	if (starts_with(media_type, "image"))
		return DOCUMENT_IMAGE;
	return DOCUMENT_FILE;
}

/* {"source": {"type": "base64", "media_type", "data"}} or {"type": "url", "url"}: Anthropic. */
static void
read_source(const JsonbValue *source, DocumentMedia *media)
{
	TransferText data = document_get_text(source, "data");

	media->media_type = document_get_text(source, "media_type");
	media->url = document_get_text(source, "url");
	if (media->url.data == NULL && data.data != NULL &&
		document_text_is(document_get_text(source, "type"), "base64"))
		media->url = data_url(media->media_type, data);
}

/*
 * read_media
 *		Whether a part, or an entry of a list of files, is an image or a file; with
 *		its address, as far as the document has it.
 */
static bool
read_media(const JsonbValue *part, DocumentMedia *media)
{
	static const char *const types[] = {"mediaType", "mimeType",  "contentType",
										"mime_type", "file_type", "media_type"};
	static const char *const names[] = {"filename", "file_name", "name", "title"};
	static const char *const urls[] = {"url", "image_url", "file_url", "file_data", "image"};
	TransferText type = document_get_text(part, "type");
	JsonbValue inner;

	memset(media, 0, sizeof(*media));
	if (type.data == NULL)
		type = document_get_text(part, "content_type");
	media->kind = starts_with(type, "image") || starts_with(type, "input_image") ? DOCUMENT_IMAGE
																				 : DOCUMENT_FILE;
	media->media_type = first_text(part, types, lengthof(types));
	media->name = first_text(part, names, lengthof(names));
	media->url = first_text(part, urls, lengthof(urls));
	if (document_get(part, "image_url", &inner) && document_is_object(&inner))
		media->url = document_get_text(&inner, "url");
	if (document_get(part, "file", &inner) && document_is_object(&inner))
	{
		media->url = first_text(&inner, urls, lengthof(urls));
		media->name = first_text(&inner, names, lengthof(names));
	}
	if (document_get(part, "source", &inner) && document_is_object(&inner))
		read_source(&inner, media);
	if (media->url.data == NULL && document_get_text(part, "data").data != NULL &&
		media->media_type.data != NULL)
		media->url = starts_with(document_get_text(part, "data"), "data:")
						 ? document_get_text(part, "data")
						 : data_url(media->media_type, document_get_text(part, "data"));
	if (media->media_type.data == NULL)
		media->media_type = url_type(media->url);
	if (media->kind == DOCUMENT_FILE && media->media_type.data != NULL)
		media->kind = kind_of_type(media->media_type);
	return starts_with(type, "image") || starts_with(type, "input_image") ||
		   document_text_is(type, "file") || document_text_is(type, "input_file") ||
		   document_text_is(type, "document") || document_text_is(type, "input_audio") ||
		   document_text_is(type, "audio") || document_text_is(type, "video") ||
		   document_text_is(type, "audio_asset_pointer") || document_text_is(type, "media") ||
		   (type.data == NULL && (media->url.data != NULL || media->name.data != NULL));
}

/* ---- parts ---- */

/* The text of a part that is a thought; none: it is no thought. */
static TransferText
thought_of(const JsonbValue *part)
{
	TransferText type = document_get_text(part, "type");
	TransferText none = {NULL, 0};

	if (document_text_is(type, "thinking"))
		return document_get_text(part, "thinking");
	if (document_text_is(type, "think"))
		return document_get_text(part, "think");
	if (document_text_is(type, "reasoning"))
		return document_get_text(part, "text").data != NULL ? document_get_text(part, "text")
															: document_get_text(part, "reasoning");
	return none;
}

/* Where a message of another format has its parts. */
static bool
find_parts(const JsonbValue *own, JsonbValue *parts)
{
	static const char *const paths[][3] = {{"parts"},
										   {"content"},
										   {"output"},
										   {"content", "parts"},
										   {"data", "content"},
										   {"message", "data", "content"},
										   {"message", "content"}};

	for (int i = 0; i < lengthof(paths); i++)
	{
		JsonbValue value = *own;
		bool found = true;

		for (int j = 0; found && j < 3 && paths[i][j] != NULL; j++)
			found = document_get(&value, paths[i][j], &value);
		if (found && document_is_array(&value))
		{
			*parts = value;
			return true;
		}
	}
	return false;
}

/* ---- steps ---- */

static DocumentStep *
add_step(DocumentSteps *steps, DocumentStepKind kind)
{
	DocumentStep *step;

	if (steps->count >= steps->capacity)
	{
		steps->capacity = Max(8, steps->capacity * 2);
		steps->steps =
			steps->steps == NULL
				? palloc(mul_size(steps->capacity, sizeof(DocumentStep)))
				: repalloc(steps->steps, mul_size(steps->capacity, sizeof(DocumentStep)));
	}
	step = &steps->steps[steps->count++];
	memset(step, 0, sizeof(*step));
	step->kind = kind;
	return step;
}

/* The length in the place of a part's text. */
static bool
kept_length(const JsonbValue *part, int32 *length)
{
	JsonbValue text = *part;
	JsonbValue inner;

	if (document_is_object(part) && !document_get(part, "text", &text))
		return false;
	if (document_get(&text, "value", &inner))
		text = inner;
	return document_number(&text, length);
}

typedef struct Reading
{
	DocumentSteps *steps;
	const DocumentTools *tools;
	TransferText content;
	uint32 position;
	bool fits;
	int32 calls; /* taken */
	int32 results;
	int32 pending; /* results of parts with their calls: calls side by side come together */
} Reading;

static void
read_pending(Reading *reading)
{
	for (; reading->pending > 0; reading->pending--)
		if (reading->results < reading->tools->nresults)
			add_step(reading->steps, DOCUMENT_STEP_RESULT)->index = reading->results++;
}

static void
read_text(Reading *reading, int32 length)
{
	uint32 from = reading->position;

	if (length == 0 || !reading->fits)
		return;
	if (from > 0)
		from += 2;
	reading->fits = from <= reading->content.length &&
					(uint32) length <= reading->content.length - from &&
					(from == 0 || memcmp(reading->content.data + from - 2, "\n\n", 2) == 0);
	if (!reading->fits)
		return;
	add_step(reading->steps, DOCUMENT_STEP_TEXT)->text =
		(TransferText){reading->content.data + from, (uint32) length};
	reading->position = from + (uint32) length;
}

/* A part whose call or result, or both, are in the tools. */
static void
read_call(Reading *reading, const JsonbValue *part)
{
	TransferText type = document_get_text(part, "type");
	bool only_result = document_text_is(type, "tool_result");
	JsonbValue inner;
	JsonbValue noted;
	bool result =
		only_result || document_get(part, "~result", &noted) ||
		(document_get(part, "tool_call", &inner) && document_noted(&inner, "~output")) ||
		(document_get(part, "toolInvocation", &inner) && document_get(&inner, "~result", &noted));

	if (only_result)
		read_pending(reading);
	else if (reading->calls < reading->tools->ncalls)
		add_step(reading->steps, DOCUMENT_STEP_CALL)->index = reading->calls++;
	if (result && !only_result)
		reading->pending++;
	else if (result && reading->results < reading->tools->nresults)
		add_step(reading->steps, DOCUMENT_STEP_RESULT)->index = reading->results++;
}

static void
read_part(Reading *reading, const JsonbValue *part)
{
	TransferText type = document_get_text(part, "type");
	TransferText thought = thought_of(part);
	DocumentMedia media;
	int32 length;

	if (!document_noted(part, "~call"))
		read_pending(reading);
	if (kept_length(part, &length))
		read_text(reading, length);
	else if (document_noted(part, "~call"))
		read_call(reading, part);
	else if (thought.data != NULL)
		add_step(reading->steps, DOCUMENT_STEP_THOUGHT)->text = thought;
	else if (read_media(part, &media))
		add_step(reading->steps, DOCUMENT_STEP_MEDIA)->media = media;
	else if (!document_text_is(type, "step-start") && !document_text_is(type, "tool_use"))
		add_step(reading->steps, DOCUMENT_STEP_OTHER)->text = type;
}

/* Files that stand beside the parts. */
static void
read_files(DocumentSteps *steps, const JsonbValue *own)
{
	static const char *const keys[] = {"files", "attachments", "experimental_attachments"};

	for (int i = 0; i < lengthof(keys); i++)
	{
		JsonbValue files;
		JsonbValue pasted;
		DocumentWalk walk;
		DocumentMedia media;

		if (!document_kept(own, keys[i], &files))
			continue;
		document_walk(&walk, &files);
		while (document_next(&walk))
			/* what was pasted is content */
			if (document_is_object(&walk.value) &&
				!document_get(&walk.value, "extracted_content", &pasted) &&
				read_media(&walk.value, &media))
				add_step(steps, DOCUMENT_STEP_MEDIA)->media = media;
	}
}

/* What no part has put in its place: calls, then results, then the text. */
static void
read_left(Reading *reading, bool text)
{
	bool results_first = reading->tools->nresults > reading->results;

	if (text && !results_first && reading->content.length > 0)
		add_step(reading->steps, DOCUMENT_STEP_TEXT)->text = reading->content;
	while (reading->calls < reading->tools->ncalls)
		add_step(reading->steps, DOCUMENT_STEP_CALL)->index = reading->calls++;
	while (reading->results < reading->tools->nresults)
		add_step(reading->steps, DOCUMENT_STEP_RESULT)->index = reading->results++;
	if (text && results_first && reading->content.length > 0)
		add_step(reading->steps, DOCUMENT_STEP_TEXT)->text = reading->content;
}

static Reading
read_parts(DocumentSteps *steps, const TransferMessage *message, const DocumentTools *tools,
		   const JsonbValue *parts)
{
	Reading reading = {.steps = steps, .tools = tools, .content = message->content, .fits = true};
	DocumentWalk walk;

	steps->count = 0;
	document_walk(&walk, parts);
	while (document_next(&walk))
		read_part(&reading, &walk.value);
	read_pending(&reading);
	return reading;
}

/* Behind the last piece there is nothing, or what was pasted. */
static void
read_end(Reading *reading, const JsonbValue *own)
{
	JsonbValue pasted;
	uint32 from = reading->position > 0 ? reading->position + 2 : 0;

	if (reading->fits && reading->position < reading->content.length)
	{
		reading->fits = document_kept(own, "~pasted", &pasted) && from <= reading->content.length;
		if (reading->fits)
			add_step(reading->steps, DOCUMENT_STEP_TEXT)->text =
				(TransferText){reading->content.data + from, reading->content.length - from};
	}
}

/*
 * document_steps
 *		The steps of a message for a format that did not keep it.  tools: of
 *		document_link.
 */
DocumentSteps
document_steps(const TransferMessage *message, const DocumentTools *tools, const char *format)
{
	DocumentSteps steps = {0};
	Reading reading = {.steps = &steps, .tools = tools, .content = message->content};
	JsonbValue own;
	JsonbValue parts;
	const char *name;
	bool is_own = document_foreign_own(message, format, &own, &name);

	if (document_is_thought(message, tools))
	{
		add_step(&steps, DOCUMENT_STEP_THOUGHT)->text = message->content;
		return steps;
	}
	if (is_own && !tools->content_is_call && find_parts(&own, &parts))
	{
		reading = read_parts(&steps, message, tools, &parts);
		read_end(&reading, &own);
	}
	if (!reading.fits)
	{
		int32 kept = 0;

		/* without the pieces; calls and results are put in order of their own */
		for (int32 i = 0; i < steps.count; i++)
			if (steps.steps[i].kind == DOCUMENT_STEP_THOUGHT ||
				steps.steps[i].kind == DOCUMENT_STEP_MEDIA ||
				steps.steps[i].kind == DOCUMENT_STEP_OTHER)
				steps.steps[kept++] = steps.steps[i];
		steps.count = kept;
		reading.calls = reading.results = 0;
	}
	read_left(&reading, !reading.fits && !tools->content_is_call);
	if (is_own)
		read_files(&steps, &own);
	return steps;
}

/* ---- calls and the messages that have their results ---- */

/* A name for a call that has none: the same each time. */
static TransferText
made_call_id(const TransferConversation *conversation, int32 index, int32 number)
{
	int64 seq =
		conversation->messages[index].seq > 0 ? conversation->messages[index].seq : index + 1;

	return document_literal(psprintf("call_" INT64_FORMAT "_%d", seq, number + 1));
}

/* ChatGPT's calls: what the assistant says to somebody else than all. */
static void
add_recipient(const TransferMessage *message, DocumentTools *tools, const char *format)
{
	JsonbValue own;
	const char *name;
	TransferText recipient;
	JsonbValue text;

	if (!document_text_is(message->role, "assistant") || tools->ncalls > 0 ||
		!document_foreign_own(message, format, &own, &name) || strcmp(name, FORMAT_CHATGPT) != 0)
		return;
	recipient = document_get_text(&own, "recipient");
	if (recipient.length == 0 || document_text_is(recipient, "all") || tools->reasoning)
		return;
	text = document_string(message->content);
	document_add_call(tools, message->message_id, recipient, &text);
	tools->content_is_call = true;
}

/*
 * Whether a format writes a message as it is.  OpenAI's chat messages may leave
 * nothing that is their own: what no other format has kept is theirs.
 */
static bool
is_own_message(const TransferMessage *message, const char *format)
{
	JsonbValue own;
	const char *name;

	return document_own(message->metadata, format, &own) ||
		   (strcmp(format, "openai") == 0 && !document_foreign_own(message, format, &own, &name));
}

/*
 * document_link
 *		The tools of all messages, for writing them in a format: calls from
 *		elsewhere have ids, and a tool's messages name the call that they answer,
 *		also where their own format leaves that to the order.
 */
DocumentLinks
document_link(const TransferConversation *conversation, const char *format)
{
	int32 count = conversation->count;
	DocumentLinks links;
	int32 *answered = palloc0(mul_size(Max(count, 1), sizeof(int32)));

	links.tools = palloc(mul_size(Max(count, 1), sizeof(DocumentTools)));
	links.caller = palloc(mul_size(Max(count, 1), sizeof(int32)));
	for (int32 i = 0; i < count; i++)
	{
		const TransferMessage *message = &conversation->messages[i];
		DocumentTools *tools = &links.tools[i];
		int32 parent = document_parent(conversation, i);

		*tools = document_tools(message->metadata);
		links.caller[i] = -1;
		if (document_text_is(message->role, "tool") && parent >= 0)
		{
			bool tool = document_text_is(conversation->messages[parent].role, "tool");

			links.caller[i] = tool                             ? links.caller[parent]
							  : links.tools[parent].ncalls > 0 ? parent
															   : -1;
			answered[i] = tool ? answered[parent] + 1 : 0;
		}
		if (is_own_message(message, format))
			continue;
		add_recipient(message, tools, format);
		for (int32 j = 0; j < tools->ncalls; j++)
			if (tools->calls[j].id.length == 0)
			{
				tools->calls[j].id = made_call_id(conversation, i, j);
				tools->has_verbatim = false;
			}
		if (links.caller[i] >= 0 && tools->call_id.length == 0)
		{
			const DocumentTools *calls = &links.tools[links.caller[i]];

			if (answered[i] < calls->ncalls)
				tools->call_id = calls->calls[answered[i]].id;
		}
	}
	pfree(answered);
	return links;
}

/*
 * Which of the tool's messages a message with calls takes the results of, for
 * formats that have both in one: those that answer it, directly or behind one
 * another, each call once.  taken: by message.
 */
void
document_take_results(const TransferConversation *conversation, const DocumentLinks *links,
					  const char *format, bool *taken)
{
	for (int32 i = 0; i < conversation->count; i++)
	{
		const TransferMessage *message = &conversation->messages[i];
		int32 caller = links->caller[i];
		DocumentTools *calls;
		JsonbValue text;
		bool known = false;
		bool done = false;

		if (caller < 0 || is_own_message(message, format) ||
			is_own_message(&conversation->messages[caller], format) ||
			links->tools[i].nresults > 0 || links->tools[i].call_id.length == 0)
			continue;
		calls = &links->tools[caller];
		for (int32 j = 0; j < calls->ncalls; j++)
			known = known || document_same_text(calls->calls[j].id, links->tools[i].call_id);
		for (int32 j = 0; j < calls->nresults; j++)
			done = done || document_same_text(calls->results[j].id, links->tools[i].call_id);
		if (!known || done)
			continue;
		text = document_string(message->content);
		document_add_result(calls, links->tools[i].call_id, links->tools[i].name, &text, false);
		taken[i] = true;
	}
}

/* ---- writing ---- */

/* The texts, joined by an empty line. */
TransferText
document_steps_text(const DocumentSteps *steps)
{
	StringInfoData joined;

	initStringInfo(&joined);
	for (int32 i = 0; i < steps->count; i++)
		if (steps->steps[i].kind == DOCUMENT_STEP_TEXT)
			document_add_paragraph(&joined, steps->steps[i].text);
	return document_buffer(&joined);
}

/* Whether there is nothing but a text, or nothing at all. */
bool
document_only_text(const DocumentSteps *steps)
{
	return steps->count == 0 || (steps->count == 1 && steps->steps[0].kind == DOCUMENT_STEP_TEXT);
}

/* A key with a text. */
void
document_put_pair(DocumentOut *out, const char *key, TransferText text)
{
	document_key(out, key);
	document_put_text(out, text);
}

/* Writes the steps as elements of an array that has begun. */
void
document_put_steps(DocumentOut *out, const DocumentSteps *steps, const DocumentTools *tools,
				   const DocumentStepWrite *write)
{
	DocumentWritten written = {0};
	bool *paired;
	int32 *pairs = document_pairs(tools, &written, &paired);

	for (int32 i = 0; i < steps->count; i++)
	{
		const DocumentStep *step = &steps->steps[i];
		int32 pair;

		if (step->kind == DOCUMENT_STEP_TEXT)
			write->text(out, step->text);
		else if (step->kind == DOCUMENT_STEP_THOUGHT)
			write->thought(out, step->text);
		else if (step->kind == DOCUMENT_STEP_CALL)
		{
			pair = write->together ? pairs[step->index] : -1;
			write->call(out, &tools->calls[step->index], pair >= 0 ? &tools->results[pair] : NULL);
		}
		else if (step->kind == DOCUMENT_STEP_RESULT && !(write->together && paired[step->index]))
			write->result(out, &tools->results[step->index]);
		else if (step->kind == DOCUMENT_STEP_MEDIA && write->media != NULL)
			write->media(out, &step->media);
	}
	pfree(pairs);
	pfree(paired);
}
