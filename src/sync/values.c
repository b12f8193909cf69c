/*
 * values.c
 *		jsonb in and out, and the ids of documents.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "arguments.h"
#include "memory_limits.h"
#include "sync.h"

#define UUID_TEXT_LENGTH 36

/* The collection that an argument names.  Errors: 22004, 22023. */
SyncCollection
sync_collection(FunctionCallInfo fcinfo, int n)
{
	char *name;

	argument_require(fcinfo, n, "collection",
					 "The collections are \"conversations\" and \"messages\".");
	name = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (strcmp(name, "conversations") == 0)
		return SYNC_CONVERSATIONS;
	if (strcmp(name, "messages") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown collection \"%s\"", name),
						errhint("The collections are \"conversations\" and \"messages\".")));
	return SYNC_MESSAGES;
}

bool
sync_get(JsonbContainer *object, const char *key, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(object, key, strlen(key), value) != NULL;
}

/* Whether objects and arrays are nested deeper than this. */
bool
sync_depth_exceeds(JsonbContainer *container, int depth)
{
	JsonbIterator *iterator = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue value;
	int reached = 0;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		if (token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT)
			reached++;
		else if (token == WJB_END_ARRAY || token == WJB_END_OBJECT)
			reached--;
		if (reached > depth)
			return true;
	}
	return false;
}

/* A UUID in its usual form; false: it is none. */
bool
sync_read_uuid(const char *data, int length, pg_uuid_t *id)
{
	if (length != UUID_TEXT_LENGTH)
		return false;
	for (int i = 0; i < length; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? data[i] != '-'
													: !isxdigit((unsigned char) data[i]))
			return false;
	*id = *DatumGetUUIDP(
		DirectFunctionCall1(uuid_in, CStringGetDatum(pnstrdup(data, UUID_TEXT_LENGTH))));
	return true;
}

/* ---- members of objects ---- */

void
sync_put_key(JsonbParseState **state, const char *key)
{
	JsonbValue name;

	name.type = jbvString;
	name.val.string.val = unconstify(char *, key);
	name.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &name);
}

static void
put(JsonbParseState **state, const char *key, JsonbValue *value)
{
	sync_put_key(state, key);
	pushJsonbValue(state, WJB_VALUE, value);
}

/* Adds a member that is null to the object that is being built. */
void
sync_put_null(JsonbParseState **state, const char *key)
{
	JsonbValue value;

	value.type = jbvNull;
	put(state, key, &value);
}

/* Adds a boolean member. */
void
sync_put_bool(JsonbParseState **state, const char *key, bool given)
{
	JsonbValue value;

	value.type = jbvBool;
	value.val.boolean = given;
	put(state, key, &value);
}

/* Adds a member that is an integer. */
void
sync_put_number(JsonbParseState **state, const char *key, int64 number)
{
	JsonbValue value;

	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(number);
	put(state, key, &value);
}

/* The bytes are copied; NULL: null. */
void
sync_put_string(JsonbParseState **state, const char *key, const char *data, int length)
{
	JsonbValue value;

	if (data == NULL)
	{
		sync_put_null(state, key);
		return;
	}
	value.type = jbvString;
	value.val.string.val = pnstrdup(data, length);
	value.val.string.len = length;
	put(state, key, &value);
}

/* Adds a member that is a string; NULL: null. */
void
sync_put_text(JsonbParseState **state, const char *key, const text *value)
{
	if (value == NULL)
		sync_put_null(state, key);
	else
		sync_put_string(state, key, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* Adds an id as a string. */
void
sync_put_uuid(JsonbParseState **state, const char *key, const pg_uuid_t *id)
{
	sync_put_string(state, key, store_uuid_string(id), UUID_TEXT_LENGTH);
}

/* A time in UTC, whatever the session's time zone: the same document everywhere. */
void
sync_put_time(JsonbParseState **state, const char *key, TimestampTz time)
{
	static const int utc = 0;
	char buffer[MAXDATELEN + 1];

	JsonEncodeDateTime(buffer, TimestampTzGetDatum(time), TIMESTAMPTZOID, &utc);
	sync_put_string(state, key, buffer, strlen(buffer));
}

/* The object is copied; NULL: null. */
void
sync_put_jsonb(JsonbParseState **state, const char *key, Jsonb *object)
{
	Jsonb *copy;
	JsonbValue value;

	if (object == NULL)
	{
		sync_put_null(state, key);
		return;
	}
	copy = palloc(VARSIZE(object));
	memcpy(copy, object, VARSIZE(object));
	value.type = jbvBinary;
	value.val.binary.data = &copy->root;
	value.val.binary.len = VARSIZE(copy) - VARHDRSZ;
	put(state, key, &value);
}

/* ---- answers ---- */

/* An answer is made in here; between two calls the backend keeps this much. */
#define ANSWER_KEPT_BYTES (4 * 1024 * 1024)

static MemoryContext answer_context = NULL;

/*
 * sync_begin_answer
 *		Begins an SPI connection, and makes the context of answers the current one.
 *		It is the backend's, because memory that is new to a process costs more
 *		than all that is done with it here: a page is some megabytes.
 */
void
sync_begin_answer(void)
{
	if (answer_context == NULL)
		answer_context =
			AllocSetContextCreate(TopMemoryContext, "memory_ext answer", ANSWER_KEPT_BYTES,
								  ALLOCSET_DEFAULT_INITSIZE, ALLOCSET_DEFAULT_MAXSIZE);
	MemoryContextReset(answer_context); /* what an error has left */
	SPI_connect();
	MemoryContextSwitchTo(answer_context);
}

/* The object that was built, as a datum of the caller's; the SPI connection ends. */
Datum
sync_end_answer(JsonbParseState **state)
{
	JsonbValue *object = pushJsonbValue(state, WJB_END_OBJECT, NULL);
	Jsonb *answer;

	SPI_finish(); /* the caller's context is the current one again */
	answer = JsonbValueToJsonb(object);
	MemoryContextReset(answer_context);
	return JsonbPGetDatum(answer);
}

/* ---- ids of messages that have none ---- */

char *
sync_numbered_id(const pg_uuid_t *conversation_id, int64 seq)
{
	return psprintf("%s:" INT64_FORMAT, store_uuid_string(conversation_id), seq);
}

/* Whether an id has the form of those that the server makes. */
bool
sync_is_numbered_id(const char *id, int length)
{
	pg_uuid_t conversation_id;

	if (length <= UUID_TEXT_LENGTH + 1 || id[UUID_TEXT_LENGTH] != ':' ||
		!sync_read_uuid(id, UUID_TEXT_LENGTH, &conversation_id))
		return false;
	for (int i = UUID_TEXT_LENGTH + 1; i < length; i++)
		if (!isdigit((unsigned char) id[i]))
			return false;
	return true;
}

/* seq is 0 where it is none that a message can have. */
bool
sync_read_numbered_id(const char *id, int length, const pg_uuid_t *conversation_id, int64 *seq)
{
	pg_uuid_t named;

	if (!sync_is_numbered_id(id, length))
		return false;
	(void) sync_read_uuid(id, UUID_TEXT_LENGTH, &named);
	if (memcmp(&named, conversation_id, UUID_LEN) != 0)
		return false;
	*seq = 0;
	for (int i = UUID_TEXT_LENGTH + 1; i < length; i++)
	{
		*seq = *seq * 10 + (id[i] - '0');
		if (*seq > MEMORY_MAX_SEQ / 10)
		{
			*seq = 0;
			return true;
		}
	}
	return true;
}
