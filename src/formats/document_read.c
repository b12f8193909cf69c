/*
 * document_read.c
 *		Reading jsonb that may hold anything: places for errors, values by key,
 *		walking through containers, text that holds JSON.
 *
 * Texts point into the document.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "characters.h"
#include "document.h"

/* ---- places ---- */

/* The place of a whole document; problem notes what is wrong with it. */
DocumentPlace
document_place(TransferProblem *problem)
{
	DocumentPlace place = {.up = NULL, .problem = problem};

	return place;
}

/* The place of a key, in the place of an object; the text must live as long. */
DocumentPlace
document_at_text(const DocumentPlace *up, TransferText key)
{
	DocumentPlace place = {.up = up, .problem = up->problem, .key = key};

	return place;
}

/* The place of a key, which ends with NUL, in the place of an object. */
DocumentPlace
document_at_key(const DocumentPlace *up, const char *key)
{
	return document_at_text(up, document_literal(key));
}

/* The place of an element, counted from 0, in the place of an array. */
DocumentPlace
document_at_index(const DocumentPlace *up, int32 index)
{
	DocumentPlace place = {.up = up, .problem = up->problem, .index = index};

	return place;
}

/* Whether jsonpath takes a key without quotes. */
static bool
is_plain_key(TransferText key)
{
	for (uint32 i = 0; i < key.length; i++)
	{
		char c = key.data[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
			  (i > 0 && c >= '0' && c <= '9')))
			return false;
	}
	return key.length > 0;
}

static void
append_path(StringInfo path, const DocumentPlace *place)
{
	const DocumentPlace *steps[16];
	int n = 0;

	/* places are as deep as the formats' code, not as the document */
	for (; place->up != NULL && n < lengthof(steps); place = place->up)
		steps[n++] = place;
	appendStringInfoChar(path, '$');
	while (n > 0)
	{
		place = steps[--n];
		if (place->key.data == NULL)
			appendStringInfo(path, "[%d]", place->index);
		else if (is_plain_key(place->key))
		{
			appendStringInfoChar(path, '.');
			appendBinaryStringInfo(path, place->key.data, place->key.length);
		}
		else
		{
			JsonbValue key = document_string(place->key);
			TransferText quoted = document_print(&key);

			appendStringInfoChar(path, '.');
			appendBinaryStringInfo(path, quoted.data, quoted.length);
		}
	}
}

static bool refuse(const DocumentPlace *place, TransferReason reason, const char *format,
				   va_list args) pg_attribute_printf(3, 0);

static bool
refuse(const DocumentPlace *place, TransferReason reason, const char *format, va_list args)
{
	StringInfoData path;
	char message[1024];

	initStringInfo(&path);
	append_path(&path, place);
	vsnprintf(message, sizeof(message), format, args);
	message[pg_mbcliplen(message, (int) strlen(message), sizeof(message) - 1)] = '\0';
	return transfer_refuse(place->problem, reason, path.data, "%s", message);
}

/* Refuses the document for what is at the place; false, for the caller to return. */
bool
document_refuse(const DocumentPlace *place, TransferReason reason, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void) refuse(place, reason, format, args);
	va_end(args);
	return false;
}

/* Refuses the document for what is under a key of the place; false, for the caller to return. */
bool
document_refuse_key(const DocumentPlace *place, const char *key, TransferReason reason,
					const char *format, ...)
{
	DocumentPlace at = document_at_key(place, key);
	va_list args;

	va_start(args, format);
	(void) refuse(&at, reason, format, args);
	va_end(args);
	return false;
}

/* Notes a defect at a key of a place; the document is read all the same. */
void
document_mend_key(const DocumentPlace *place, const char *key, TransferReason reason,
				  const char *message)
{
	DocumentPlace at = document_at_key(place, key);
	StringInfoData path;

	if (place->problem->mended > 0)
	{
		place->problem->mended++;
		return;
	}
	initStringInfo(&path);
	append_path(&path, &at);
	transfer_mend(place->problem, reason, path.data, "%s", message);
}

/* ---- texts ---- */

/* A terminated string as a text, which refers to it. */
TransferText
document_literal(const char *string)
{
	TransferText text = {string, (uint32) strlen(string)};

	return text;
}

/* Whether the text is the word; no text is none. */
bool
document_text_is(TransferText text, const char *word)
{
	return text.data != NULL && text.length == strlen(word) &&
		   memcmp(text.data, word, text.length) == 0;
}

/* No text is the same as no text. */
bool
document_same_text(TransferText a, TransferText b)
{
	if (a.data == NULL || b.data == NULL)
		return a.data == b.data;
	return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

/* ---- values ---- */

/* The document as a value. */
JsonbValue
document_root(Jsonb *document)
{
	JsonbValue value;

	if (JB_ROOT_IS_SCALAR(document))
	{
		(void) JsonbExtractScalar(&document->root, &value);
		return value;
	}
	value.type = jbvBinary;
	value.val.binary.data = &document->root;
	value.val.binary.len = VARSIZE_ANY_EXHDR(document);
	return value;
}

/* Whether the value is an object, in whichever form jsonb has it. */
bool
document_is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

/* Whether the value is an array, in whichever form jsonb has it. */
bool
document_is_array(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) &&
		   !JsonContainerIsScalar(value->val.binary.data);
}

/* Elements of an array, pairs of an object. */
int32
document_count(const JsonbValue *container)
{
	return (int32) JsonContainerSize(container->val.binary.data);
}

/* The value of a key; false when there is none, or the value is no object. */
bool
document_get(const JsonbValue *object, const char *key, JsonbValue *value)
{
	return document_is_object(object) &&
		   getKeyJsonValueFromContainer(object->val.binary.data, key, (int) strlen(key), value) !=
			   NULL;
}

/* The first element; false when there is none, or the value is no array. */
bool
document_first(const JsonbValue *array, JsonbValue *value)
{
	JsonbValue *first;

	if (!document_is_array(array) || document_count(array) == 0)
		return false;
	first = getIthJsonbValueFromContainer(array->val.binary.data, 0);
	*value = *first;
	pfree(first);
	return true;
}

/* Whether the object has a string under the key. */
bool
document_has_string(const JsonbValue *object, const char *key)
{
	JsonbValue value;

	return document_get(object, key, &value) && value.type == jbvString;
}

/* Whether the object has an object under the key. */
bool
document_has_object(const JsonbValue *object, const char *key)
{
	JsonbValue value;

	return document_get(object, key, &value) && document_is_object(&value);
}

/* Whether the object has an array under the key. */
bool
document_has_array(const JsonbValue *object, const char *key)
{
	JsonbValue value;

	return document_get(object, key, &value) && document_is_array(&value);
}

/* No text when the value is no string. */
TransferText
document_text(const JsonbValue *value)
{
	TransferText text = {NULL, 0};

	if (value->type == jbvString)
	{
		/* an empty string may come without an address */
		text.data = value->val.string.len > 0 ? value->val.string.val : "";
		text.length = (uint32) value->val.string.len;
	}
	return text;
}

/* The value of a text: a string; of no text, null. */
JsonbValue
document_string(TransferText text)
{
	JsonbValue value = {.type = jbvNull};

	if (text.data != NULL)
	{
		value.type = jbvString;
		value.val.string.val = unconstify(char *, text.data);
		value.val.string.len = (int) text.length;
	}
	return value;
}

/* Whether the value is a string that is the word. */
bool
document_is_word(const JsonbValue *value, const char *word)
{
	return document_text_is(document_text(value), word);
}

/* The string under a key of an object; no text where there is none. */
TransferText
document_get_text(const JsonbValue *object, const char *key)
{
	JsonbValue value;
	TransferText none = {NULL, 0};

	return document_get(object, key, &value) ? document_text(&value) : none;
}

/* A value that was built here, as it would be when read. */
static JsonbValue
serialized(const JsonbValue *value)
{
	if (value->type == jbvObject || value->type == jbvArray)
		return document_root(JsonbValueToJsonb(unconstify(JsonbValue *, value)));
	return *value;
}

/* As jsonb's = operator. */
bool
document_equal(const JsonbValue *a, const JsonbValue *b)
{
	JsonbValue left = serialized(a);
	JsonbValue right = serialized(b);

	if (left.type != right.type)
		return false;
	switch (left.type)
	{
		case jbvNull:
			return true;
		case jbvString:
			return document_same_text(document_text(&left), document_text(&right));
		case jbvNumeric:
			return DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(left.val.numeric),
													NumericGetDatum(right.val.numeric)));
		case jbvBool:
			return left.val.boolean == right.val.boolean;
		case jbvBinary:
			return compareJsonbContainers(left.val.binary.data, right.val.binary.data) == 0;
		default:
			elog(ERROR, "unknown type %d of a jsonb value", (int) left.type);
	}
	return false; /* keep compilers quiet */
}

/* A whole number from 0 to 2³¹-1; false when it is none. */
bool
document_number(const JsonbValue *value, int32 *number)
{
	char *digits;
	char *end;
	long result;

	if (value->type != jbvNumeric)
		return false;
	digits = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	errno = 0;
	result = strtol(digits, &end, 10);
	if (errno != 0 || *end != '\0' || result < 0 || result > PG_INT32_MAX)
		return false;
	*number = (int32) result;
	return true;
}

/* Whether a value is nested no deeper than metadata may be. */
bool
document_shallow(const JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue item;
	int depth = 0;

	if (value->type != jbvBinary)
		return true;
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &item, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT)
		{
			if (++depth > DOCUMENT_MAX_DEPTH)
				return false;
		}
		else if (token == WJB_END_ARRAY || token == WJB_END_OBJECT)
			depth--;
	}
	return true;
}

/* ---- walking ---- */

/* Begins a walk; what is no container has nothing in it. */
void
document_walk(DocumentWalk *walk, const JsonbValue *container)
{
	memset(walk, 0, sizeof(DocumentWalk));
	walk->index = -1;
	walk->object = document_is_object(container);
	if (walk->object || document_is_array(container))
	{
		JsonbValue ignored;

		walk->iterator = JsonbIteratorInit(container->val.binary.data);
		(void) JsonbIteratorNext(&walk->iterator, &ignored, true);
	}
}

/* The next pair or element; false at the end, which frees what the walk took. */
bool
document_next(DocumentWalk *walk)
{
	JsonbIteratorToken token;

	if (walk->iterator == NULL)
		return false;
	CHECK_FOR_INTERRUPTS();
	token = JsonbIteratorNext(&walk->iterator, &walk->value, true);
	if (token == WJB_KEY)
	{
		walk->key = document_text(&walk->value);
		token = JsonbIteratorNext(&walk->iterator, &walk->value, true);
	}
	if (token != WJB_VALUE && token != WJB_ELEM)
	{
		(void) JsonbIteratorNext(&walk->iterator, &walk->value, true);
		walk->iterator = NULL;
		return false;
	}
	walk->index++;
	return true;
}

/* The elements of an array, in an array of ours. */
JsonbValue *
document_elements(const JsonbValue *array)
{
	JsonbValue *elements = palloc(mul_size(Max(document_count(array), 1), sizeof(JsonbValue)));
	DocumentWalk walk;

	document_walk(&walk, array);
	while (document_next(&walk))
		elements[walk.index] = walk.value;
	return elements;
}

/* ---- JSON in text ---- */

/*
 * Reads JSON that a document holds as text; false when it is none, and why
 * (reason may be NULL): bad JSON, or an escaped NUL.  The parser
 * takes no lock and opens nothing, so its errors need no subtransaction; of
 * those only the ones that the text causes are caught.
 */
bool
document_parse(TransferText text, JsonbValue *value, TransferReason *reason)
{
	MemoryContext context = CurrentMemoryContext;
	char *terminated;
	volatile bool good = false;

	if (text.data == NULL)
		return false;
	terminated = pnstrdup(text.data, text.length);
	PG_TRY();
	{
		Datum parsed = DirectFunctionCall1(jsonb_in, CStringGetDatum(terminated));

		*value = document_root(DatumGetJsonbP(parsed));
		good = true;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION &&
			ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		FlushErrorState();
		if (reason != NULL)
			*reason = error->sqlerrcode == ERRCODE_UNTRANSLATABLE_CHARACTER ? TRANSFER_NUL
																			: TRANSFER_BAD_JSON;
		FreeErrorData(error);
	}
	PG_END_TRY();
	pfree(terminated);
	return good;
}

/* The same; what is no character is replaced as the problem says, or why it is not. */
bool
document_parse_mended(TransferText text, JsonbValue *value, const TransferProblem *problem,
					  TransferReason *reason)
{
	char *copy;
	char *at;
	TransferReason character;
	TransferText mended = {NULL, text.length};
	bool changed;

	if (document_parse(text, value, reason))
		return true;
	copy = pnstrdup(text.data, text.length);
	if (!characters_replace(problem, copy, &changed, &at, &character))
	{
		*reason = character;
		return false;
	}
	mended.data = copy;
	return changed && document_parse(mended, value, reason);
}

/* A value as text, in jsonb's own layout. */
TransferText
document_print(const JsonbValue *value)
{
	JsonbValue copy = *value;
	Jsonb *jsonb = JsonbValueToJsonb(&copy);
	TransferText text;
	StringInfoData printed;

	initStringInfo(&printed);
	(void) JsonbToCString(&printed, &jsonb->root, VARSIZE(jsonb));
	text.data = printed.data;
	text.length = (uint32) printed.len;
	return text;
}

/* ---- messages ---- */

/* Space for the messages of a document, which may be none; none of them is filled in. */
bool
document_messages(TransferConversation *conversation, int32 count, const DocumentPlace *place)
{
	if (count > DOCUMENT_MAX_MESSAGES)
		return document_refuse(place, TRANSFER_TOO_LARGE, "%d messages, more than the limit of %d",
							   count, DOCUMENT_MAX_MESSAGES);
	conversation->messages = palloc0(mul_size(sizeof(TransferMessage), Max(count, 1)));
	conversation->count = count;
	for (int32 i = 0; i < count; i++)
	{
		conversation->messages[i].parent = TRANSFER_PARENT_BEFORE;
		conversation->messages[i].tokens = -1;
	}
	return true;
}

/* The messages of an array, each of which read reads. */
bool
document_read_messages(const JsonbValue *array, DocumentReadMessage read,
					   TransferConversation *conversation, const DocumentPlace *place)
{
	DocumentWalk walk;

	if (!document_messages(conversation, document_count(array), place))
		return false;
	document_walk(&walk, array);
	while (document_next(&walk))
	{
		DocumentPlace at = document_at_index(place, walk.index);

		if (!read(&walk.value, &conversation->messages[walk.index], &at))
			return false;
	}
	return true;
}
