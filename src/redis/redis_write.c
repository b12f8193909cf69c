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
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "census.h"
#include "export.h"
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
	int64 now;   /* milliseconds since 1970 */
	Census lost; /* what the format could not hold */
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
	RespText raw_id;  /* the same as the key has it: any bytes */
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
	LISTED_CREATED_AT, LISTED_UPDATED_AT, LISTED_ID_BYTES
};
static const char list_conversations[] =
	"SELECT conversation_id, account_id,"
	"       metadata" OP(#>>) "'{import,source_id}',"
	"       (metadata" OP(#>>) "'{redis,expires_at}')::pg_catalog.timestamptz,"
	"       metadata" OP(#>) "'{redis,fields}',"
	"       created_at, updated_at,"
	"       pg_catalog.decode(metadata" OP(#>>) "'{redis,id_bytes}', 'hex')"
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
append_expiry(RedisOutput *output, const Session *session, RespText key)
{
	const char *args[3] = {"PEXPIREAT", key.data, psprintf(INT64_FORMAT, session->expires_at)};
	Size lengths[3] = {strlen(args[0]), key.length, strlen(args[2])};

	if (session->expires_at != 0)
		append_command(output, 3, args, lengths);
}

/* The prefix, the session's id and more. */
static RespText
key_of(const Session *session, const char *more)
{
	StringInfoData name;
	RespText key;

	initStringInfo(&name);
	appendStringInfoString(&name, session->keys->prefix);
	appendBinaryStringInfo(&name, session->raw_id.data, (int) session->raw_id.length);
	appendStringInfoString(&name, more);
	key.data = name.data;
	key.length = name.len;
	return key;
}

/* A list whose head is the item `from`, step by step. */
static void
append_list(RedisOutput *output, const Session *session, RespText key, bool newest_first)
{
	for (int64 at = 0; at < session->count; at += PUSH_ITEMS)
	{
		int64 share = Min(PUSH_ITEMS, session->count - at);

		CHECK_FOR_INTERRUPTS();
		resp_begin(&output->commands, share + 2);
		resp_argument(&output->commands, "RPUSH", 5);
		resp_argument(&output->commands, key.data, key.length);
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
append_hash(RedisOutput *output, const Session *session, RespText key)
{
	const char *args[8] = {"HSET",       key.data, "session_id", session->raw_id.data,
						   "created_at", NULL,     "updated_at", NULL};
	Size lengths[8];

	args[5] = psprintf(INT64_FORMAT, session->created_at);
	args[7] = psprintf(INT64_FORMAT, session->updated_at);
	for (int i = 0; i < lengthof(args); i++)
		lengths[i] = strlen(args[i]);
	lengths[1] = key.length;
	lengths[3] = session->raw_id.length;
	append_command(output, 8, args, lengths);
	if (session->fields != NULL && JB_ROOT_IS_OBJECT(session->fields) &&
		JB_ROOT_COUNT(session->fields) > 0)
	{
		JsonbIterator *iterator = JsonbIteratorInit(&session->fields->root);
		JsonbValue value;
		JsonbIteratorToken token;

		/* as it was, over what was put together here */
		resp_begin(&output->commands, 2 + 2 * (int64) JB_ROOT_COUNT(session->fields));
		resp_argument(&output->commands, "HSET", 4);
		resp_argument(&output->commands, key.data, key.length);
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
		RespText key;
		char *ulid;

		CHECK_FOR_INTERRUPTS();
		/* keys are in order, whatever the times are */
		if (item->has_time)
			milliseconds = Max(milliseconds, item->time / 1000 + REDIS_EPOCH_MS);
		ulid = make_ulid(Max(milliseconds, 0), (uint32) i, session->hash);
		document = json_document(session, item, ulid, milliseconds);
		key = key_of(session, psprintf(":%s", ulid));
		args[1] = key.data;
		lengths[1] = key.length;
		args[3] = document.data;
		lengths[3] = document.length;
		append_command(output, 4, args, lengths);
		append_expiry(output, session, key);
		if (i == 0)
		{
			output->key = key;
			output->name = psprintf("%s%s:%s", session->keys->prefix, session->id, ulid);
		}
	}
}

static void
append_session(RedisWriter *writer, RedisOutput *output, const Session *session)
{
	const RedisLayout *layout = writer->keys->layout;
	const char *multi[1] = {"MULTI"};
	const char *exec[1] = {"EXEC"};
	RespText base = key_of(session, "");
	RespText key = key_of(session, layout->suffix);
	const char *deletion[3] = {"DEL", key.data, base.data};
	Size lengths[3] = {3, key.length, base.length};

	output->key = key;
	output->name = psprintf("%s%s%s", writer->keys->prefix, session->id, layout->suffix);
	output->is_text = session->raw_id.data == session->id;
	if (writer->transaction)
		append_command(output, 1, multi, NULL);
	if (writer->replace && layout->kind != REDIS_LANGCHAIN_JSON)
	{
		append_command(output, layout->kind == REDIS_AGENTS ? 3 : 2, deletion, lengths);
	}
	switch (layout->kind)
	{
		case REDIS_LANGCHAIN:
			append_list(output, session, key, true);
			break;
		case REDIS_AGENTS:
			append_hash(output, session, base);
			append_list(output, session, key, false);
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

/* The conversation of a row of the cursor; its documents are not read yet. */
static void
take_conversation(RedisWriter *writer, Session *session, ExportScope *scope)
{
	HeapTuple row = SPI_tuptable->vals[0];
	TupleDesc descriptor = SPI_tuptable->tupdesc;
	bool isnull;
	Datum value;

	memset(session, 0, sizeof(*session));
	session->keys = writer->keys;
	memset(scope, 0, sizeof(*scope));
	scope->format = transfer_format_argument(writer->keys->layout->format, true);
	scope->account_id = DatumGetTextPCopy(SPI_getbinval(row, descriptor, LISTED_ACCOUNT, &isnull));
	value = SPI_getbinval(row, descriptor, LISTED_ID, &isnull);
	scope->conversation_id = memcpy(palloc(UUID_LEN), DatumGetUUIDP(value), UUID_LEN);
	session->hash = hash_bytes_extended((const unsigned char *) DatumGetUUIDP(value), UUID_LEN, 0);
	session->id = SPI_getvalue(row, descriptor, LISTED_SOURCE_ID);
	if (session->id == NULL)
		session->id = SPI_getvalue(row, descriptor, LISTED_ID);
	session->raw_id.data = session->id;
	session->raw_id.length = strlen(session->id);
	value = SPI_getbinval(row, descriptor, LISTED_ID_BYTES, &isnull);
	if (!isnull)
	{
		bytea *bytes = DatumGetByteaPCopy(value);

		session->raw_id.data = VARDATA(bytes);
		session->raw_id.length = VARSIZE(bytes) - VARHDRSZ;
	}
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

/* The items of the conversation's documents. */
static void
take_documents(RedisWriter *writer, Session *session, const ExportScope *scope)
{
	Export *export = export_begin(scope);
	StringInfoData document;

	initStringInfo(&document);
	while (export_next(export, &document))
	{
		CHECK_FOR_INTERRUPTS();
		appendStringInfoChar(&document, '\0');
		add_document(session,
					 DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(document.data))));
		resetStringInfo(&document);
	}
	census_add(&writer->lost, export_lost(export));
	export_end(export);
}

/* A notice with what the layout's format could not hold, if there was such. */
void
redis_write_end(const RedisWriter *writer)
{
	census_tell(&writer->lost, transfer_format_argument(writer->keys->layout->format, true));
}

bool
redis_write_next(RedisWriter *writer, RedisOutput *output)
{
	MemoryContext context = CurrentMemoryContext;
	Portal portal = SPI_cursor_find(writer->cursor);
	Session session;
	ExportScope scope;

	if (portal == NULL)
		elog(ERROR, "the cursor of an export is gone");
	SPI_cursor_fetch(portal, true, 1);
	MemoryContextSwitchTo(context);
	if (SPI_processed == 0)
		return false;
	memset(output, 0, sizeof(*output));
	initStringInfo(&output->commands);
	take_conversation(writer, &session, &scope);
	SPI_freetuptable(SPI_tuptable);
	if (session.expires_at != 0 && session.expires_at <= writer->now)
	{
		output->expired = true;
		return true;
	}

	take_documents(writer, &session, &scope);
	if (session.count > 0)
		append_session(writer, output, &session);
	return true;
}
