/*
 * redis_write.c
 *		Conversations to the commands that make them in Redis.
 *
 * memory.export writes a conversation in the layout's format; its items are the
 * elements of the array, or what the rows hold, that this gives.  A key is the
 * id that the conversation had where it came from, or else its conversation_id,
 * between the layout's prefix and suffix.  A time of expiry that an import has
 * noted is set again; a conversation whose time is over is left out.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "formats.h"
#include "redis.h"
#include "sql_text.h"
#include "statement.h"

/* Items of one RPUSH. */
#define PUSH_ITEMS 500
#define ULID_LENGTH 26

struct RedisWriter
{
	const RedisKeys *keys;
	const char *cursor;
	bool replace;
	bool transaction;
	int64 now; /* milliseconds since 1970 */
};

/* An item, and the time of its message. */
typedef struct RedisItem
{
	RespText text;
	TimestampTz time;
	bool has_time;
} RedisItem;

/* A conversation that is being written. */
typedef struct Session
{
	const RedisKeys *keys;
	char *id;
	int64 created_at; /* seconds since 1970 */
	int64 updated_at;
	Jsonb *fields; /* of the hash it was imported from, or NULL */
	int64 expires_at;
	uint64 hash; /* of the conversation */
	RedisItem *items;
	int64 count;
	int64 capacity;
} Session;

/* clang-format off */
/* Read through the relation, which shows only what the session may see. */
enum { LIST_ACCOUNT, LIST_CONVERSATION, LIST_SINCE, LIST_PARAMETERS };
enum
{
	LISTED_ID = 1, LISTED_ACCOUNT, LISTED_SOURCE_ID, LISTED_EXPIRES_AT, LISTED_FIELDS,
	LISTED_CREATED_AT, LISTED_UPDATED_AT
};
static const char list_conversations[] =
	"SELECT conversation_id, account_id,"
	"       metadata" OP(#>>) "'{import,source_id}',"
	"       (metadata" OP(#>>) "'{redis,expires_at}')::pg_catalog.timestamptz,"
	"       metadata" OP(#>) "'{redis,fields}',"
	"       created_at, updated_at"
	" FROM memory.conversations"
	" WHERE ($1 IS NULL OR account_id" OP(=) "$1)"
	" AND ($2 IS NULL OR conversation_id" OP(=) "$2)"
	" AND ($3 IS NULL OR updated_at" OP(>=) "$3)"
	" ORDER BY account_id, conversation_id";
/* clang-format on */

/*
 * Begins to write the conversations of an account, one conversation, or those
 * that changed since then: NULL and DT_NOBEGIN stand for all.  Within the caller's
 * SPI connection; the writer lives in the current context.
 */
RedisWriter *
redis_write_begin(const RedisKeys *keys, text *account_id, pg_uuid_t *id, TimestampTz since,
				  bool replace, bool transaction)
{
	MemoryContext context = CurrentMemoryContext;
	RedisWriter *writer = palloc0(sizeof(RedisWriter));
	Oid types[LIST_PARAMETERS] = {TEXTOID, UUIDOID, TIMESTAMPTZOID};
	Datum values[LIST_PARAMETERS] = {
		[LIST_ACCOUNT] = PointerGetDatum(account_id),
		[LIST_CONVERSATION] = UUIDPGetDatum(id),
		[LIST_SINCE] = TimestampTzGetDatum(since),
	};
	char nulls[LIST_PARAMETERS] = {
		[LIST_ACCOUNT] = account_id == NULL ? 'n' : ' ',
		[LIST_CONVERSATION] = id == NULL ? 'n' : ' ',
		[LIST_SINCE] = TIMESTAMP_IS_NOBEGIN(since) ? 'n' : ' ',
	};
	Portal portal;

	writer->keys = keys;
	writer->replace = replace;
	writer->transaction = transaction;
	writer->now = GetCurrentTimestamp() / 1000 + REDIS_EPOCH_MS;
	portal = SPI_cursor_open_with_args(NULL, list_conversations, LIST_PARAMETERS, types, values,
									   nulls, true, 0);
	MemoryContextSwitchTo(context); /* SPI leaves its own behind, which ends with the call */
	writer->cursor = pstrdup(portal->name);
	return writer;
}

/* ---------- items ---------- */

static RespText
text_of(const JsonbValue *value)
{
	RespText result;
	char *string;

	if (value->type == jbvString)
	{
		result.data = value->val.string.val;
		result.length = value->val.string.len;
		return result;
	}
	if (value->type == jbvBinary)
		string = JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
	else
	{
		Jsonb *scalar = JsonbValueToJsonb(unconstify(JsonbValue *, value));

		string = JsonbToCString(NULL, &scalar->root, VARSIZE(scalar));
	}
	result.data = string;
	result.length = strlen(string);
	return result;
}

static RedisItem *
new_item(Session *session)
{
	if (session->count == session->capacity)
	{
		session->capacity = Max(session->capacity * 2, 16);
		session->items =
			session->items == NULL
				? palloc(mul_size(session->capacity, sizeof(RedisItem)))
				: repalloc_huge(session->items, mul_size(session->capacity, sizeof(RedisItem)));
	}
	memset(&session->items[session->count], 0, sizeof(RedisItem));
	return &session->items[session->count++];
}

/* A row of a table, which holds the item; or an item. */
static void
add_object(Session *session, JsonbContainer *object)
{
	RedisItem *item = new_item(session);
	JsonbValue value;
	JsonbValue *message =
		getKeyJsonValueFromContainer(object, "message_data", strlen("message_data"), NULL);

	if (message == NULL)
		message = getKeyJsonValueFromContainer(object, "message", strlen("message"), NULL);
	if (message == NULL)
	{
		value.type = jbvBinary;
		value.val.binary.data = object;
		value.val.binary.len = 0;
		message = &value;
	}
	item->text = text_of(message);
	if (getKeyJsonValueFromContainer(object, "created_at", strlen("created_at"), &value) != NULL &&
		value.type == jbvString)
		item->has_time =
			transfer_parse_time(value.val.string.val, value.val.string.len, &item->time);
}

static void
add_document(Session *session, Jsonb *document)
{
	JsonbIterator *iterator;
	JsonbValue value;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_ARRAY(document) || JB_ROOT_IS_SCALAR(document))
	{
		add_object(session, &document->root);
		return;
	}
	iterator = JsonbIteratorInit(&document->root);
	(void) JsonbIteratorNext(&iterator, &value, false);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) == WJB_ELEM)
	{
		CHECK_FOR_INTERRUPTS();
		if (value.type == jbvBinary)
			add_object(session, value.val.binary.data);
		else
			new_item(session)->text = text_of(&value);
	}
}

/* ---------- commands ---------- */

static void
append_command(RedisOutput *output, int count, const char *const *args, const Size *lengths)
{
	resp_append(&output->commands, count, args, lengths);
	output->count++;
}

static void
append_expiry(RedisOutput *output, const Session *session, const char *key)
{
	const char *args[3] = {"PEXPIREAT", key, psprintf(INT64_FORMAT, session->expires_at)};

	if (session->expires_at != 0)
		append_command(output, 3, args, NULL);
}

/* A list whose head is the item `from`, step by step. */
static void
append_list(RedisOutput *output, const Session *session, const char *key, bool newest_first)
{
	for (int64 at = 0; at < session->count; at += PUSH_ITEMS)
	{
		int64 share = Min(PUSH_ITEMS, session->count - at);

		CHECK_FOR_INTERRUPTS();
		resp_begin(&output->commands, share + 2);
		resp_argument(&output->commands, "RPUSH", 5);
		resp_argument(&output->commands, key, strlen(key));
		for (int64 i = at; i < at + share; i++)
		{
			const RedisItem *item = &session->items[newest_first ? session->count - 1 - i : i];

			resp_argument(&output->commands, item->text.data, item->text.length);
		}
		output->count++;
	}
	append_expiry(output, session, key);
}

/* The hash beside an Agents session's list. */
static void
append_hash(RedisOutput *output, const Session *session, const char *key)
{
	const char *args[8] = {"HSET",       key,  "session_id", session->id,
						   "created_at", NULL, "updated_at", NULL};

	args[5] = psprintf(INT64_FORMAT, session->created_at);
	args[7] = psprintf(INT64_FORMAT, session->updated_at);
	append_command(output, 8, args, NULL);
	if (session->fields != NULL && JB_ROOT_IS_OBJECT(session->fields) &&
		JB_ROOT_COUNT(session->fields) > 0)
	{
		JsonbIterator *iterator = JsonbIteratorInit(&session->fields->root);
		JsonbValue value;
		JsonbIteratorToken token;

		/* as it was, over what was put together here */
		resp_begin(&output->commands, 2 + 2 * (int64) JB_ROOT_COUNT(session->fields));
		resp_argument(&output->commands, "HSET", 4);
		resp_argument(&output->commands, key, strlen(key));
		(void) JsonbIteratorNext(&iterator, &value, false);
		while ((token = JsonbIteratorNext(&iterator, &value, true)) == WJB_KEY ||
			   token == WJB_VALUE)
		{
			RespText text = text_of(&value);

			resp_argument(&output->commands, text.data, text.length);
		}
		output->count++;
	}
	append_expiry(output, session, key);
}

/* A ULID (github.com/ulid/spec): 48 bits of time, here 32 of order and 48 of a hash. */
static char *
make_ulid(int64 milliseconds, uint32 order, uint64 hash)
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	char *ulid = palloc(ULID_LENGTH + 1);
	/* 128 bits as two halves */
	uint64 high = (uint64) milliseconds << 16 | order >> 16;
	uint64 low = (uint64) (order & 0xffff) << 48 | (hash & INT64CONST(0xffffffffffff));

	for (int i = ULID_LENGTH - 1; i >= 0; i--)
	{
		ulid[i] = digits[low & 31];
		low = low >> 5 | high << 59;
		high >>= 5;
	}
	ulid[ULID_LENGTH] = '\0';
	return ulid;
}

/* {"type", "message_id", "data", "session_id", "timestamp"} of an item {"type", "data"}. */
static RespText
json_document(const Session *session, const RedisItem *item, const char *ulid, int64 milliseconds)
{
	Jsonb *jsonb = DatumGetJsonbP(
		DirectFunctionCall1(jsonb_in,
							CStringGetDatum(pnstrdup(item->text.data, item->text.length))));
	StringInfoData more;
	RespText result;

	if (!JB_ROOT_IS_OBJECT(jsonb) ||
		getKeyJsonValueFromContainer(&jsonb->root, "session_id", strlen("session_id"), NULL) !=
			NULL)
		return item->text;
	initStringInfo(&more);
	appendStringInfo(&more, "{\"message_id\": \"%s\", \"timestamp\": " INT64_FORMAT ".%03d", ulid,
					 milliseconds / 1000, (int) (milliseconds % 1000));
	appendStringInfoString(&more, ", \"session_id\": ");
	escape_json(&more, session->id);
	appendStringInfoChar(&more, '}');
	/* what the item has itself wins */
	jsonb = DatumGetJsonbP(
		DirectFunctionCall2(jsonb_concat, DirectFunctionCall1(jsonb_in, CStringGetDatum(more.data)),
							JsonbPGetDatum(jsonb)));
	result.data = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
	result.length = strlen(result.data);
	return result;
}

static void
append_documents(RedisOutput *output, const Session *session)
{
	int64 milliseconds = session->created_at * 1000;

	for (int64 i = 0; i < session->count; i++)
	{
		const RedisItem *item = &session->items[i];
		const char *args[4] = {"JSON.SET", NULL, "$", NULL};
		Size lengths[4] = {8, 0, 1, 0};
		RespText document;
		char *ulid;

		CHECK_FOR_INTERRUPTS();
		/* keys are in order, whatever the times are */
		if (item->has_time)
			milliseconds = Max(milliseconds, item->time / 1000 + REDIS_EPOCH_MS);
		ulid = make_ulid(Max(milliseconds, 0), (uint32) i, session->hash);
		document = json_document(session, item, ulid, milliseconds);
		args[1] = psprintf("%s%s:%s", session->keys->prefix, session->id, ulid);
		lengths[1] = strlen(args[1]);
		args[3] = document.data;
		lengths[3] = document.length;
		append_command(output, 4, args, lengths);
		append_expiry(output, session, args[1]);
		if (i == 0)
			output->key = pstrdup(args[1]);
	}
}

static void
append_session(RedisWriter *writer, RedisOutput *output, const Session *session)
{
	const RedisLayout *layout = writer->keys->layout;
	const char *multi[1] = {"MULTI"};
	const char *exec[1] = {"EXEC"};
	char *base = psprintf("%s%s", writer->keys->prefix, session->id);
	const char *deletion[3] = {"DEL", NULL, base};

	output->key = psprintf("%s%s", base, layout->suffix);
	if (writer->transaction)
		append_command(output, 1, multi, NULL);
	if (writer->replace && layout->kind != REDIS_LANGCHAIN_JSON)
	{
		deletion[1] = output->key;
		append_command(output, layout->kind == REDIS_AGENTS ? 3 : 2, deletion, NULL);
	}
	switch (layout->kind)
	{
		case REDIS_LANGCHAIN:
			append_list(output, session, output->key, true);
			break;
		case REDIS_AGENTS:
			append_hash(output, session, base);
			append_list(output, session, output->key, false);
			break;
		case REDIS_LANGCHAIN_JSON:
			append_documents(output, session);
			break;
	}
	if (writer->transaction)
		append_command(output, 1, exec, NULL);
	output->messages = session->count;
}

/* ---------- one conversation after the other ---------- */

static int64
seconds(TimestampTz time)
{
	return (time / 1000 + REDIS_EPOCH_MS) / 1000;
}

/* clang-format off */
enum { EXPORT_FORMAT, EXPORT_ACCOUNT, EXPORT_CONVERSATION, EXPORT_PARAMETERS };
static PlanStatement export_documents = {
	"SELECT d::pg_catalog.jsonb FROM memory.export($1, $2, $3) d",
	EXPORT_PARAMETERS, {TEXTOID, TEXTOID, UUIDOID}};
/* clang-format on */

/* The conversation of a row of the cursor; its documents are not read yet. */
static void
take_conversation(RedisWriter *writer, Session *session, Datum *values)
{
	HeapTuple row = SPI_tuptable->vals[0];
	TupleDesc descriptor = SPI_tuptable->tupdesc;
	bool isnull;
	Datum value;

	memset(session, 0, sizeof(*session));
	session->keys = writer->keys;
	values[EXPORT_FORMAT] = CStringGetTextDatum(writer->keys->layout->format);
	values[EXPORT_ACCOUNT] =
		PointerGetDatum(DatumGetTextPCopy(SPI_getbinval(row, descriptor, LISTED_ACCOUNT, &isnull)));
	value = SPI_getbinval(row, descriptor, LISTED_ID, &isnull);
	values[EXPORT_CONVERSATION] =
		UUIDPGetDatum(memcpy(palloc(UUID_LEN), DatumGetUUIDP(value), UUID_LEN));
	session->hash = hash_bytes_extended((const unsigned char *) DatumGetUUIDP(value), UUID_LEN, 0);
	session->id = SPI_getvalue(row, descriptor, LISTED_SOURCE_ID);
	if (session->id == NULL)
		session->id = SPI_getvalue(row, descriptor, LISTED_ID);
	value = SPI_getbinval(row, descriptor, LISTED_EXPIRES_AT, &isnull);
	if (!isnull)
		session->expires_at = DatumGetTimestampTz(value) / 1000 + REDIS_EPOCH_MS;
	value = SPI_getbinval(row, descriptor, LISTED_FIELDS, &isnull);
	session->fields = isnull ? NULL : DatumGetJsonbPCopy(value);
	session->created_at =
		seconds(DatumGetTimestampTz(SPI_getbinval(row, descriptor, LISTED_CREATED_AT, &isnull)));
	session->updated_at =
		seconds(DatumGetTimestampTz(SPI_getbinval(row, descriptor, LISTED_UPDATED_AT, &isnull)));
}

/* Without the notice of what the format cannot hold, which would come for each conversation. */
static uint64
export_quietly(Datum *values)
{
	int nest = NewGUCNestLevel();
	uint64 documents;

	(void) set_config_option("client_min_messages", "warning", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	documents = plan_execute(&export_documents, values, NULL, true);
	AtEOXact_GUC(true, nest);
	return documents;
}

bool
redis_write_next(RedisWriter *writer, RedisOutput *output)
{
	MemoryContext context = CurrentMemoryContext;
	Portal portal = SPI_cursor_find(writer->cursor);
	Session session;
	Datum values[EXPORT_PARAMETERS];
	uint64 documents;
	SPITupleTable *table;

	if (portal == NULL)
		elog(ERROR, "the cursor of an export is gone");
	SPI_cursor_fetch(portal, true, 1);
	MemoryContextSwitchTo(context);
	if (SPI_processed == 0)
		return false;
	memset(output, 0, sizeof(*output));
	initStringInfo(&output->commands);
	take_conversation(writer, &session, values);
	SPI_freetuptable(SPI_tuptable);
	if (session.expires_at != 0 && session.expires_at <= writer->now)
	{
		output->expired = true;
		return true;
	}

	documents = export_quietly(values);
	table = SPI_tuptable;
	for (uint64 i = 0; i < documents; i++)
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		add_document(&session,
					 DatumGetJsonbPCopy(SPI_getbinval(table->vals[i], table->tupdesc, 1, &isnull)));
	}
	SPI_freetuptable(table);
	if (session.count > 0)
		append_session(writer, output, &session);
	return true;
}
