/*
 * json.c
 *		Messages as JSON: the text form in and out, and jsonb.
 *
 * The text form is split into its array's elements here and each element is
 * parsed on its own by PostgreSQL's jsonb parser.  Parsing the whole array at
 * once would take a jsonb of up to 256 MiB, which a transcript of the largest
 * size exceeds: its dump could not be restored.
 *
 * Takes no locks.  Each element is parsed in a context of its own that is reset
 * before the next; what the messages keep is copied to the caller's.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "json_limits.h"
#include "transcript.h"
#include "transcript_private.h"

#define FIRST_CAPACITY 16

/* The keys of the text form, by MessageColumn. */
static const char *const message_keys[MESSAGE_NCOLUMNS] = {"seq",        "parent_seq", "role",
														   "content",    "model",      "tokens",
														   "created_at", "message_id", "metadata",
														   "revision"};

/* Messages being collected; the array lives in `context`. */
typedef struct MessageList
{
	MemoryContext context; /* of the messages and their texts */
	MemoryContext scratch; /* reset for each message */
	bool number_messages;
	uint32 count;
	uint32 capacity;
	TranscriptMessage *messages;
	int key; /* being read, or -1; for the error context */
} MessageList;

/* ---------- errors ---------- */

/* Adds where we are to errors of the jsonb parser and of timestamptz, and what to do. */
static void
list_error_context(void *arg)
{
	MessageList *list = arg;

	if (geterrcode() == ERRCODE_INVALID_TEXT_REPRESENTATION)
		errhint("Write [{\"role\": \"user\", \"content\": \"...\"}, ...].");
	if (list->key >= 0)
		errcontext("message %u of the transcript, key \"%s\"", list->count + 1,
				   message_keys[list->key]);
	else
		errcontext("message %u of the transcript", list->count + 1);
}

static const char *
kind_of(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return "null";
		case jbvString:
			return "a string";
		case jbvNumeric:
			return "a number";
		case jbvBool:
			return "a boolean";
		default:
			return JsonContainerIsObject(value->val.binary.data) ? "an object" : "an array";
	}
}

static void
bad_value(const MessageList *list, const char *what, const JsonbValue *value)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("message %u: %s must be %s, not %s", list->count + 1,
						   message_keys[list->key], what, kind_of(value)),
					errhint(TRANSCRIPT_MESSAGE_HINT)));
}

static void
missing(const MessageList *list)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("message %u: %s is missing", list->count + 1, message_keys[list->key]),
					errhint(TRANSCRIPT_MESSAGE_HINT)));
}

static void
not_an_array(void)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("a transcript is a JSON array of messages"),
					errhint("Write [{\"role\": \"user\", \"content\": \"...\"}, ...].")));
}

static void
not_an_object(const MessageList *list)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("message %u: it is not a JSON object", list->count + 1),
					errhint(TRANSCRIPT_MESSAGE_HINT)));
}

/* ---------- metadata ---------- */

static Jsonb *
parse_jsonb(const char *text, uint32 len)
{
	char *terminated = pnstrdup(text, len);
	Datum value = DirectFunctionCall1(jsonb_in, CStringGetDatum(terminated));

	pfree(terminated);
	return DatumGetJsonbP(value);
}

Jsonb *
transcript_metadata_jsonb(const char *text, uint32 len, uint32 position, bool corrupt)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext scratch =
		AllocSetContextCreate(context, "transcript metadata", ALLOCSET_SMALL_SIZES);
	Jsonb *parsed;
	Jsonb *volatile result = NULL;

	/* the parser's error is never swallowed, only given another SQLSTATE */
	PG_TRY();
	{
		/* the parser leaves much behind, and callers have many messages */
		MemoryContextSwitchTo(scratch);
		parsed = parse_jsonb(text, len);
		MemoryContextSwitchTo(context);
		result = palloc(VARSIZE(parsed));
		memcpy(result, parsed, VARSIZE(parsed));
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (!corrupt || ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("transcript is corrupt"),
				 errdetail("message %u: metadata is not JSON: %s.", position, error->message),
				 errhint(TRANSCRIPT_CORRUPT_HINT)));
	}
	PG_END_TRY();
	MemoryContextDelete(scratch);

	if (!JB_ROOT_IS_OBJECT(result))
	{
		if (corrupt)
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("transcript is corrupt"),
							errdetail("message %u: metadata is not a JSON object.", position),
							errhint(TRANSCRIPT_CORRUPT_HINT)));
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("message %u: metadata is not a JSON object", position),
						errhint(TRANSCRIPT_MESSAGE_HINT)));
	}
	return result;
}

char *
transcript_metadata_text(Jsonb *metadata, uint32 position, uint32 *len)
{
	const char *excess;
	char *text;

	if (!JB_ROOT_IS_OBJECT(metadata))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("message %u: metadata is not a JSON object", position),
						errhint(TRANSCRIPT_MESSAGE_HINT)));
	excess = json_excess(metadata);
	if (excess != NULL)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("message %u: metadata %s", position, excess)));
	text = JsonbToCString(NULL, &metadata->root, VARSIZE(metadata));
	*len = (uint32) strlen(text);
	return text;
}

/* ---------- one value ---------- */

static const char *
list_text(MessageList *list, const JsonbValue *value, uint32 *len)
{
	char *copy;

	if (value->type != jbvString)
		bad_value(list, "a string", value);
	*len = (uint32) value->val.string.len;
	copy = MemoryContextAlloc(list->context, (Size) *len + 1);
	memcpy(copy, value->val.string.val, *len);
	copy[*len] = '\0';
	return copy;
}

/* An integer between min and max; JSON numbers such as 1e2 are integers too. */
static int64
list_integer(MessageList *list, const JsonbValue *value, int64 min, int64 max)
{
	char *text;
	char *end;
	int64 result = 0;

	if (value->type != jbvNumeric)
		bad_value(list, "an integer", value);
	text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	errno = 0;
	result = strtoll(text, &end, 10);
	if (errno == ERANGE || (*end == '\0' && (result < min || result > max)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("message %u: %s must be between " INT64_FORMAT " and " INT64_FORMAT
							   ", not %s",
							   list->count + 1, message_keys[list->key], min, max, text),
						errhint("Leave %s out for the default.", message_keys[list->key])));
	if (*end != '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("message %u: %s must be an integer, not %s", list->count + 1,
							   message_keys[list->key], text),
						errhint(TRANSCRIPT_MESSAGE_HINT)));
	return result;
}

static TimestampTz
list_time(MessageList *list, const JsonbValue *value)
{
	char *text;

	if (value->type != jbvString)
		bad_value(list, "a string with a time", value);
	text = pnstrdup(value->val.string.val, value->val.string.len);
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(text),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1)));
}

static const char *
list_metadata(MessageList *list, JsonbValue *value, uint32 *len)
{
	char *text;
	char *copy;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		bad_value(list, "a JSON object", value);
	text = transcript_metadata_text(JsonbValueToJsonb(value), list->count + 1, len);
	copy = MemoryContextAlloc(list->context, (Size) *len + 1);
	memcpy(copy, text, (Size) *len + 1);
	return copy;
}

static void
list_value(MessageList *list, JsonbValue *value, TranscriptMessage *message)
{
	/* null is the same as an absent key, except where it is wrong */
	if (value->type == jbvNull && list->key != MESSAGE_ROLE && list->key != MESSAGE_CONTENT)
		return;

	switch (list->key)
	{
		case MESSAGE_SEQ:
			message->seq = list_integer(list, value, 1, PG_INT64_MAX);
			break;
		case MESSAGE_PARENT_SEQ:
			message->parent_seq = list_integer(list, value, 0, PG_INT64_MAX);
			break;
		case MESSAGE_ROLE:
			message->role = list_text(list, value, &message->role_len);
			break;
		case MESSAGE_CONTENT:
			message->content = list_text(list, value, &message->content_len);
			break;
		case MESSAGE_MODEL:
			message->model = list_text(list, value, &message->model_len);
			break;
		case MESSAGE_TOKENS:
			message->tokens = (int32) list_integer(list, value, 0, PG_INT32_MAX);
			break;
		case MESSAGE_CREATED_AT:
			message->created_at = list_time(list, value);
			message->has_created_at = true;
			break;
		case MESSAGE_MESSAGE_ID:
			message->message_id = list_text(list, value, &message->message_id_len);
			break;
		case MESSAGE_METADATA:
			message->metadata = list_metadata(list, value, &message->metadata_len);
			break;
		case MESSAGE_REVISION:
			message->revision = list_integer(list, value, 1, PG_INT64_MAX);
			break;
	}
}

static int
find_key(const MessageList *list, const JsonbValue *key)
{
	int i;

	for (i = 0; i < MESSAGE_NCOLUMNS; i++)
		if (strlen(message_keys[i]) == key->val.string.len &&
			memcmp(message_keys[i], key->val.string.val, key->val.string.len) == 0)
			return i;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("message %u: unknown key \"%.*s\"", list->count + 1,
						   pg_mbcliplen(key->val.string.val, key->val.string.len, 100),
						   key->val.string.val),
					errhint("Put fields that have no column of their own into \"metadata\".")));
	return -1; /* keep compilers quiet */
}

/* ---------- one message ---------- */

static void
list_grow(MessageList *list)
{
	if (list->count >= TRANSCRIPT_MAX_MESSAGES)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("transcript has more than %u messages", TRANSCRIPT_MAX_MESSAGES),
						errhint("Split it into several transcripts.")));
	if (list->count < list->capacity)
		return;
	/* the capacity stays below 2 * TRANSCRIPT_MAX_MESSAGES: no overflow */
	list->capacity *= 2;
	list->messages = repalloc(list->messages, list->capacity * sizeof(TranscriptMessage));
}

static void
list_finish_message(MessageList *list, TranscriptMessage *message)
{
	const TranscriptMessage *before = list->count > 0 ? message - 1 : NULL;

	list->key = MESSAGE_ROLE;
	if (message->role == NULL)
		missing(list);
	list->key = MESSAGE_CONTENT;
	if (message->content == NULL)
		missing(list);
	list->key = -1;
	transcript_check_message(message, list->count + 1);
	if (!list->number_messages)
		return;
	if (message->seq == 0)
	{
		if (before != NULL && before->seq == PG_INT64_MAX)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("message %u: seq is out of range", list->count + 1),
							errhint("The message before it has the largest possible number.")));
		message->seq = before != NULL ? before->seq + 1 : 1;
	}
	if (message->parent_seq == TRANSCRIPT_PARENT_DEFAULT)
		message->parent_seq = transcript_default_parent(message->seq, before);
}

/* Appends the message that a JSON object describes. */
static void
list_add(MessageList *list, JsonbContainer *object)
{
	TranscriptMessage *message;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue value;

	CHECK_FOR_INTERRUPTS();
	list_grow(list);
	message = &list->messages[list->count];
	memset(message, 0, sizeof(*message));
	message->tokens = -1;
	message->parent_seq = TRANSCRIPT_PARENT_DEFAULT;

	iterator = JsonbIteratorInit(object);
	token = JsonbIteratorNext(&iterator, &value, true);
	if (token != WJB_BEGIN_OBJECT)
		not_an_object(list);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			list->key = find_key(list, &value);
		else if (token == WJB_VALUE)
		{
			list_value(list, &value, message);
			list->key = -1;
		}
	}
	list_finish_message(list, message);
	list->count++;
}

static void
list_begin(MessageList *list, bool number_messages, ErrorContextCallback *callback)
{
	list->context = CurrentMemoryContext;
	list->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "transcript message", ALLOCSET_DEFAULT_SIZES);
	list->number_messages = number_messages;
	list->count = 0;
	list->capacity = FIRST_CAPACITY;
	list->messages = palloc(FIRST_CAPACITY * sizeof(TranscriptMessage));
	list->key = -1;

	callback->callback = list_error_context;
	callback->arg = list;
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

static TranscriptMessage *
list_end(MessageList *list, ErrorContextCallback *callback, uint32 *n)
{
	error_context_stack = callback->previous;
	MemoryContextDelete(list->scratch);
	*n = list->count;
	return list->messages;
}

/* ---------- jsonb ---------- */

TranscriptMessage *
transcript_messages_from_jsonb(Jsonb *array, bool number_messages, uint32 *n)
{
	MessageList list;
	ErrorContextCallback callback;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue value;

	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
		not_an_array();
	list_begin(&list, number_messages, &callback);
	iterator = JsonbIteratorInit(&array->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		MemoryContext old;

		if (token != WJB_ELEM)
			continue;
		if (value.type != jbvBinary)
			not_an_object(&list);
		old = MemoryContextSwitchTo(list.scratch);
		list_add(&list, value.val.binary.data);
		MemoryContextSwitchTo(old);
		MemoryContextReset(list.scratch);
	}
	return list_end(&list, &callback, n);
}

/* ---------- text in ---------- */

static const char *
skip_space(const char *p)
{
	while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')
		p++;
	return p;
}

/*
 * The end of the array element that begins at p: the comma or bracket behind
 * it, or the text's end if there is none.  Knows strings and nesting only; what
 * is between is for the parser to judge.
 */
static const char *
element_end(const char *p)
{
	int depth = 0;

	for (; *p != '\0'; p++)
	{
		switch (*p)
		{
			case '"':
				for (p++; *p != '"'; p++)
				{
					if (*p == '\\' && p[1] != '\0')
						p++;
					if (*p == '\0')
						return p;
				}
				break;
			case '{':
			case '[':
				depth++;
				break;
			case '}':
			case ']':
				if (depth == 0)
					return p;
				depth--;
				break;
			case ',':
				if (depth == 0)
					return p;
				break;
		}
	}
	return p;
}

/* The text is not a list of elements: let PostgreSQL's parser say why. */
static void
malformed(const char *text)
{
	(void) DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
	not_an_array();
}

/* Reads the elements behind the opening bracket; returns what follows the closing one, or NULL. */
static const char *
list_elements(MessageList *list, const char *p)
{
	p = skip_space(p);
	if (*p == ']')
		return p + 1;
	for (;;)
	{
		const char *end;
		MemoryContext old;
		Jsonb *element;

		p = skip_space(p);
		end = element_end(p);
		if (end == p || (*end != ',' && *end != ']'))
			return NULL;
		old = MemoryContextSwitchTo(list->scratch);
		element = parse_jsonb(p, (uint32) (end - p));
		if (!JB_ROOT_IS_OBJECT(element))
			not_an_object(list);
		list_add(list, &element->root);
		MemoryContextSwitchTo(old);
		MemoryContextReset(list->scratch);
		p = end + 1;
		if (*end == ']')
			return p;
	}
}

TranscriptMessage *
transcript_messages_from_text(const char *text, uint32 *n)
{
	MessageList list;
	ErrorContextCallback callback;
	const char *p = skip_space(text);

	if (*p != '[')
		malformed(text);
	list_begin(&list, true, &callback);
	p = list_elements(&list, p + 1);
	error_context_stack = callback.previous;
	if (p == NULL || *skip_space(p) != '\0')
		malformed(text);
	return list_end(&list, &callback, n);
}

/* ---------- text out ---------- */

/*
 * Writes a text of an opened transcript as a JSON string.  escape_json wants a
 * terminator: it is put over the byte behind the text, which belongs to the
 * transcript's raw buffer (one byte longer than the payload), and taken back.
 */
static void
put_json_text(StringInfo out, const Transcript *t, const char *text, uint32 len)
{
	char *writable;
	char kept;

	if (text < t->raw || text > t->raw + t->header.raw_size)
	{
		/* one of the well-known roles: a literal of the program */
		char *copy = pnstrdup(text, len);

		escape_json(out, copy);
		pfree(copy);
		return;
	}
	writable = t->raw + (text - t->raw);
	kept = writable[len];
	writable[len] = '\0';
	escape_json(out, writable);
	writable[len] = kept;
}

/* ISO 8601 in UTC, whatever DateStyle and TimeZone are. */
static void
put_json_time(StringInfo out, TimestampTz time)
{
	char buffer[MAXDATELEN + 1];
	struct pg_tm tm;
	fsec_t fsec;

	if (TIMESTAMP_IS_NOBEGIN(time))
		strlcpy(buffer, "-infinity", sizeof(buffer));
	else if (TIMESTAMP_IS_NOEND(time))
		strlcpy(buffer, "infinity", sizeof(buffer));
	else if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) == 0)
	{
		tm.tm_isdst = 0; /* negative would leave the offset out */
		EncodeDateTime(&tm, fsec, true, 0, NULL, USE_XSD_DATES, buffer);
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	appendStringInfo(out, "\"%s\"", buffer);
}

static void
put_json_message(StringInfo out, const Transcript *t, uint32 i)
{
	const TranscriptMessage *message = &t->messages[i];
	const TranscriptMessage *before = i > 0 ? message - 1 : NULL;

	appendStringInfoChar(out, '{');
	if (message->seq != (before != NULL ? before->seq + 1 : 1))
		appendStringInfo(out, "\"seq\":" INT64_FORMAT ",", (int64) message->seq);
	if (message->parent_seq != transcript_default_parent(message->seq, before))
		appendStringInfo(out, "\"parent_seq\":" INT64_FORMAT ",", (int64) message->parent_seq);
	appendStringInfoString(out, "\"role\":");
	put_json_text(out, t, message->role, message->role_len);
	appendStringInfoString(out, ",\"content\":");
	put_json_text(out, t, message->content, message->content_len);
	if (message->model != NULL)
	{
		appendStringInfoString(out, ",\"model\":");
		put_json_text(out, t, message->model, message->model_len);
	}
	if (message->tokens >= 0)
		appendStringInfo(out, ",\"tokens\":%d", (int) message->tokens);
	if (message->has_created_at)
	{
		appendStringInfoString(out, ",\"created_at\":");
		put_json_time(out, message->created_at);
	}
	if (message->message_id != NULL)
	{
		appendStringInfoString(out, ",\"message_id\":");
		put_json_text(out, t, message->message_id, message->message_id_len);
	}
	if (message->metadata != NULL)
	{
		appendStringInfoString(out, ",\"metadata\":");
		appendBinaryStringInfo(out, message->metadata, (int) message->metadata_len);
	}
	if (message->revision != 0)
		appendStringInfo(out, ",\"revision\":" INT64_FORMAT, (int64) message->revision);
	appendStringInfoChar(out, '}');
}

/* Appends the text form of a decoded transcript: a JSON array of its messages. */
void
transcript_messages_to_text(StringInfo out, const Transcript *t)
{
	uint32 i;

	appendStringInfoChar(out, '[');
	for (i = 0; i < t->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i > 0)
			appendStringInfoChar(out, ',');
		put_json_message(out, t, i);
	}
	appendStringInfoChar(out, ']');
}
