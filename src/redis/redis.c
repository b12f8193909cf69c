/*
 * redis.c
 *		What SQL calls to move conversations out of Redis and into it: live, or
 *		by way of commands as text.
 *
 * Only for operators, and not for sessions that are confined to an account: a
 * Redis holds everybody's keys, and whoever names an address makes the server
 * connect to it.
 *
 * A password in an address is kept out of what this server shows: while the
 * function runs, the statement that log lines and pg_stat_activity quote is
 * replaced by one without it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "account.h"
#include "arguments.h"
#include "audit.h"
#include "import.h"
#include "redis.h"
#include "statement.h"

#define MAX_TIMEOUT_MS (24 * 60 * 60 * 1000)

/* An import in progress. */
typedef struct RedisImport
{
	Import *import;
	ImportOptions options;
	MemoryContext document;
	int64 job_id;
	TimestampTz started_at;
	int64 number;
} RedisImport;

/* ---------- import ---------- */

/* A key may be any bytes; where they are no text, those that are not ASCII become %XX. */
static RespText
key_text(RespText key)
{
	static const char digits[] = "0123456789abcdef";
	RespText result;
	char *out;

	if (pg_verify_mbstr(PG_UTF8, key.data, (int) key.length, true))
		return key;
	out = palloc(mul_size(Max(key.length, 1), 3));
	result.data = out;
	for (Size i = 0; i < key.length; i++)
	{
		unsigned char c = (unsigned char) key.data[i];

		if (c > 0 && c < 0x80)
			*out++ = (char) c;
		else
		{
			*out++ = '%';
			*out++ = digits[c >> 4];
			*out++ = digits[c & 15];
		}
	}
	result.length = out - result.data;
	return result;
}

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, RespText text)
{
	JsonbValue value = {.type = jbvString};

	text = key_text(text);
	value.val.string.val = unconstify(char *, text.data);
	value.val.string.len = (int) text.length;
	pushJsonbValue(state, token, &value);
}

/* A key and bytes in hexadecimal. */
static void
push_bytes(JsonbParseState **state, const char *name, RespText bytes)
{
	JsonbValue value = {.type = jbvString};
	char *hex = palloc(mul_size(Max(bytes.length, 1), 2));

	value.val.string.val = unconstify(char *, name);
	value.val.string.len = (int) strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
	value.val.string.val = hex;
	value.val.string.len = (int) hex_encode(bytes.data, bytes.length, hex);
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* {"redis": {"key", "id_bytes", "expires_at", "fields"}}: what the metadata say of the key. */
static Jsonb *
origin_of(const RedisSession *session)
{
	JsonbParseState *state = NULL;
	JsonbValue value = {.type = jbvString};

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	value.val.string.val = "redis";
	value.val.string.len = 5;
	pushJsonbValue(&state, WJB_KEY, &value);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	value.val.string.val = "key";
	value.val.string.len = 3;
	pushJsonbValue(&state, WJB_KEY, &value);
	push_text(&state, WJB_VALUE, session->key);
	if (key_text(session->id).data != session->id.data)
		push_bytes(&state, "id_bytes", session->id);
	if (session->expires_at != 0)
	{
		value.val.string.val = "expires_at";
		value.val.string.len = 10;
		pushJsonbValue(&state, WJB_KEY, &value);
		value.val.string.val =
			transfer_time_string((TimestampTz) (session->expires_at - REDIS_EPOCH_MS) * 1000);
		value.val.string.len = strlen(value.val.string.val);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	if (session->nfields > 0)
	{
		value.val.string.val = "fields";
		value.val.string.len = 6;
		pushJsonbValue(&state, WJB_KEY, &value);
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		for (int i = 0; i + 1 < session->nfields; i += 2)
		{
			push_text(&state, WJB_KEY, session->fields[i]);
			push_text(&state, WJB_VALUE, session->fields[i + 1]);
		}
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* The items of a session as one document: an array, oldest first. */
static void
import_session(const RedisSession *session, void *arg)
{
	RedisImport *state = arg;
	MemoryContext old = MemoryContextSwitchTo(state->document);
	StringInfoData document;
	RespText id = key_text(session->id);
	RespText key;
	TransferText source_id = {id.data, (uint32) id.length};
	Size size = 3;

	CHECK_FOR_INTERRUPTS();
	for (int64 i = 0; i < session->count; i++)
		size = add_size(size, add_size(session->items[i].length, 1));
	if (size >= MaxAllocSize / 2)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the items of Redis key \"%s\" have %zu bytes together",
							   pnstrdup(id.data, Min(id.length, 200)), size)));
	initStringInfo(&document);
	enlargeStringInfo(&document, (int) size);
	appendStringInfoChar(&document, '[');
	for (int64 i = 0; i < session->count; i++)
	{
		if (i > 0)
			appendStringInfoChar(&document, ',');
		appendBinaryStringInfo(&document, session->items[i].data, (int) session->items[i].length);
	}
	appendStringInfoChar(&document, ']');

	key = key_text(session->key);
	import_note(state->import, origin_of(session),
				psprintf("Redis key \"%s\"", pnstrdup(key.data, Min(key.length, 1000))));
	state->number++;
	if (import_add(state->import, document.data, document.len, state->number, 0, source_id))
		import_write(state->import);
	import_note(state->import, NULL, NULL);
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->document);
}

/* clang-format off */
static PlanStatement next_job = {
	"SELECT pg_catalog.nextval('memory_store.job_ids')",
	0, {InvalidOid}};
/* clang-format on */

static void
begin_import(RedisImport *state, const RedisKeys *keys, text *account_id, const char *on_error,
			 const char *on_conflict)
{
	ImportOptions options;
	bool isnull;

	import_options(&options);
	import_arguments(&options, on_error, on_conflict);
	options.account_id = account_id;
	options.format = transfer_format_argument(keys->layout->format, false);
	options.part = 0;
	options.arguments = true;
	(void) plan_execute(&next_job, NULL, NULL, false);
	options.job_id =
		DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));

	memset(state, 0, sizeof(*state));
	state->job_id = options.job_id;
	state->options = options;
	state->started_at = GetCurrentTimestamp();
	state->import = import_begin(&options);
	state->document = AllocSetContextCreate(CurrentMemoryContext, "memory_ext redis session",
											ALLOCSET_DEFAULT_SIZES);
}

/* clang-format off */
enum
{
	JOB_ID, JOB_FORMAT, JOB_ACCOUNT, JOB_TARGET, JOB_LAYOUT, JOB_MATCH, JOB_ON_ERROR, JOB_ROLE,
	JOB_STARTED_AT, JOB_ON_CONFLICT, JOB_PARAMETERS
};
static PlanStatement insert_job = {
	"INSERT INTO memory_store.jobs (job_id, kind, source, format, account_id, target, options,"
	"     state, started_by, created_at, started_at, finished_at)"
	" VALUES ($1, 'import', 'redis', $2, $3, $4,"
	"     pg_catalog.jsonb_build_object('layout', $5, 'match', $6, 'on_error', $7,"
	"         'on_conflict', $10),"
	"     'finished', $8, $9, $9, pg_catalog.clock_timestamp())",
	JOB_PARAMETERS,
	{INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, OIDOID, TIMESTAMPTZOID,
	 TEXTOID}};
/* clang-format on */

/* The columns of memory.redis_import's result. */
enum
{
	RESULT_JOB,
	RESULT_IMPORTED,
	RESULT_EXTENDED,
	RESULT_UNCHANGED,
	RESULT_REJECTED,
	RESULT_MESSAGES,
	RESULT_COLUMNS
};

/* The job's row, and the function's result. */
static Datum
end_import(FunctionCallInfo fcinfo, RedisImport *state, const RedisKeys *keys, text *account_id,
		   const char *target)
{
	const ImportCounts *counts;
	TupleDesc descriptor;
	Datum job[JOB_PARAMETERS] = {
		[JOB_ID] = Int64GetDatum(state->job_id),
		[JOB_FORMAT] = CStringGetTextDatum(keys->layout->format),
		[JOB_ACCOUNT] = PointerGetDatum(account_id),
		[JOB_TARGET] = CStringGetTextDatum(target),
		[JOB_LAYOUT] = CStringGetTextDatum(keys->layout->name),
		[JOB_MATCH] = CStringGetTextDatum(keys->match),
		[JOB_ON_ERROR] = CStringGetTextDatum(state->options.skip ? "skip" : "stop"),
		[JOB_ROLE] = ObjectIdGetDatum(GetOuterUserId()),
		[JOB_STARTED_AT] = TimestampTzGetDatum(state->started_at),
		[JOB_ON_CONFLICT] = CStringGetTextDatum(import_conflict_name(state->options.on_conflict)),
	};
	Datum values[RESULT_COLUMNS];
	bool nulls[RESULT_COLUMNS] = {0};

	import_write(state->import);
	counts = import_counts(state->import);
	(void) plan_execute(&insert_job, job, NULL, false);
	import_note_part(state->job_id, counts);

	values[RESULT_JOB] = Int64GetDatum(state->job_id);
	values[RESULT_IMPORTED] = Int64GetDatum(counts->imported);
	values[RESULT_EXTENDED] = Int64GetDatum(counts->extended);
	values[RESULT_UNCHANGED] = Int64GetDatum(counts->unchanged);
	values[RESULT_REJECTED] = Int64GetDatum(counts->rejected);
	values[RESULT_MESSAGES] = Int64GetDatum(counts->messages);
	SPI_finish();
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "a Redis import must return a row");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

PG_FUNCTION_INFO_V1(memory_redis_import);

/*
 * memory.redis_import(url text, layout text, account_id text, match text,
 * prefix text, on_error text, on_conflict text, timeout_ms integer) → record
 *		Imports the sessions of a live Redis, each as a conversation of the
 *		account, in one transaction.  NULL match: all keys of the layout; NULL
 *		prefix: the layout's.  Not strict.  Errors: 0A000 built without hiredis,
 *		or the server lacks RedisJSON; 08001, 08006, 08P01, 22004, 22023, 28P01,
 *		38000, 42501, 54000, those of an import.
 */
Datum
memory_redis_import(PG_FUNCTION_ARGS)
{
	RedisUrl *url = redis_server(argument_string(fcinfo, 0, "url"));
	RedisKeys keys =
		redis_keys(argument_string(fcinfo, 1, "layout"), argument_optional_string(fcinfo, 4),
				   argument_optional_string(fcinfo, 3));
	char *on_error = argument_optional_string(fcinfo, 5);
	char *on_conflict = argument_optional_string(fcinfo, 6);
	int timeout = argument_int32(fcinfo, 7, "timeout_ms", 1, MAX_TIMEOUT_MS);
	RedisImport state;
	RedisConnection *connection;
	text *account_id;

	account_check_unconfined();
	account_id = argument_account(fcinfo, 2);
	SPI_connect();
	begin_import(&state, &keys, account_id, on_error, on_conflict);
	connection = redis_open(url, timeout);
	redis_scan(connection, &keys, import_session, &state);
	redis_refuse_cluster(connection); /* then nothing of this is stored */
	redis_close(connection);
	return end_import(fcinfo, &state, &keys, account_id, redis_masked_url(url));
}

PG_FUNCTION_INFO_V1(memory_redis_import_commands);

/*
 * memory.redis_import_commands(commands bytea, layout text, account_id text,
 * match text, prefix text, on_error text, on_conflict text) → record
 *		The same of commands as text.  Errors: 0A000 a command on a key of the
 *		layout that is not known, 22P04 not the protocol.
 */
Datum
memory_redis_import_commands(PG_FUNCTION_ARGS)
{
	RedisKeys keys =
		redis_keys(argument_string(fcinfo, 1, "layout"), argument_optional_string(fcinfo, 4),
				   argument_optional_string(fcinfo, 3));
	char *on_error = argument_optional_string(fcinfo, 5);
	char *on_conflict = argument_optional_string(fcinfo, 6);
	RedisImport state;
	bytea *commands;
	text *account_id;

	argument_require(fcinfo, 0, "commands", NULL);
	account_check_unconfined();
	account_id = argument_account(fcinfo, 2);
	commands = PG_GETARG_BYTEA_PP(0);
	SPI_connect();
	begin_import(&state, &keys, account_id, on_error, on_conflict);
	redis_replay(VARDATA_ANY(commands), VARSIZE_ANY_EXHDR(commands), &keys, import_session, &state);
	return end_import(fcinfo, &state, &keys, account_id, "commands");
}

/* ---------- export ---------- */

/* Conversations of which a pipeline is made. */
#define BATCH_CONVERSATIONS 100
#define BATCH_BYTES (4 * 1024 * 1024)

typedef struct RedisExport
{
	RedisConnection *connection;
	bool replace;
	int64 exported;
	int64 skipped;
	int64 expired;
	int64 messages;
} RedisExport;

/* Sends a batch; unless they are replaced, keys that are there are left alone. */
static void
send_batch(RedisExport *state, RedisOutput *batch, int count)
{
	bool *there = palloc0(Max(count, 1));

	for (int i = 0; i < count && !state->replace; i++)
	{
		const char *args[2] = {"EXISTS", batch[i].key.data};
		Size lengths[2] = {6, batch[i].key.length};

		redis_send(state->connection, 2, args, lengths);
	}
	for (int i = 0; i < count && !state->replace; i++)
		there[i] = redis_expect(state->connection, REDIS_INTEGER, "EXISTS")->integer != 0;
	for (int i = 0; i < count; i++)
		if (!there[i])
			redis_send_text(state->connection, batch[i].commands.data, batch[i].commands.len,
							batch[i].count);
	for (int i = 0; i < count; i++)
	{
		if (there[i])
		{
			state->skipped++;
			continue;
		}
		for (int n = 0; n < batch[i].count; n++)
		{
			RedisReply *reply = redis_receive(state->connection);

			if (reply->type == REDIS_ERROR)
				ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
								errmsg("Redis refuses to write key \"%s\"", batch[i].name),
								errdetail_internal("%s", reply->data)));
		}
		state->exported++;
		state->messages += batch[i].messages;
	}
	redis_forget_replies(state->connection);
}

static void
export_all(RedisExport *state, RedisWriter *writer)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "memory_ext redis batch",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	RedisOutput *batch = palloc(BATCH_CONVERSATIONS * sizeof(RedisOutput));
	Size bytes = 0;
	int count = 0;

	while (redis_write_next(writer, &batch[count]))
	{
		CHECK_FOR_INTERRUPTS();
		if (batch[count].expired)
			state->expired++;
		else if (batch[count].count > 0)
		{
			bytes += batch[count].commands.len;
			count++;
		}
		if (count < BATCH_CONVERSATIONS && bytes < BATCH_BYTES)
			continue;
		send_batch(state, batch, count);
		MemoryContextReset(context);
		batch = palloc(BATCH_CONVERSATIONS * sizeof(RedisOutput));
		count = 0;
		bytes = 0;
	}
	send_batch(state, batch, count);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* account_id, conversation_id and since are three arguments from n on. */
static RedisWriter *
begin_export(FunctionCallInfo fcinfo, int n, const RedisKeys *keys, bool replace, bool transaction)
{
	audit_access(AUDIT_CONVERSATIONS, ACL_SELECT);
	audit_access(AUDIT_MESSAGES, ACL_SELECT);
	return redis_write_begin(keys, PG_ARGISNULL(n) ? NULL : account_check(PG_GETARG_TEXT_PP(n)),
							 PG_ARGISNULL(n + 1) ? NULL : PG_GETARG_UUID_P(n + 1),
							 PG_ARGISNULL(n + 2) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(n + 2),
							 replace, transaction);
}

PG_FUNCTION_INFO_V1(memory_redis_export);

/*
 * memory.redis_export(url text, layout text, account_id text, conversation_id
 * uuid, since timestamptz, prefix text, if_exists text, timeout_ms integer)
 * → record
 *		Writes conversations into a live Redis, each in a transaction of Redis.
 *		NULL account_id, conversation_id or since: all.  Not strict.  Errors as
 *		redis_import's.
 */
Datum
memory_redis_export(PG_FUNCTION_ARGS)
{
	RedisUrl *url = redis_server(argument_string(fcinfo, 0, "url"));
	RedisKeys keys =
		redis_keys(argument_string(fcinfo, 1, "layout"), argument_optional_string(fcinfo, 5), NULL);
	char *if_exists = argument_string(fcinfo, 6, "if_exists");
	int timeout = argument_int32(fcinfo, 7, "timeout_ms", 1, MAX_TIMEOUT_MS);
	RedisExport state = {0};
	RedisWriter *writer;
	TupleDesc descriptor;
	Datum values[4];
	bool nulls[4] = {0};

	account_check_unconfined();
	if (strcmp(if_exists, "skip") != 0 && strcmp(if_exists, "replace") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unrecognized if_exists \"%s\"", if_exists),
						errhint("Use \"skip\" or \"replace\".")));
	state.replace = strcmp(if_exists, "replace") == 0;
	SPI_connect();
	state.connection = redis_open(url, timeout);
	redis_refuse_cluster(state.connection);
	writer = begin_export(fcinfo, 2, &keys, state.replace, true);
	export_all(&state, writer);
	redis_close(state.connection);
	redis_write_end(writer);
	SPI_finish();

	values[0] = Int64GetDatum(state.exported);
	values[1] = Int64GetDatum(state.skipped);
	values[2] = Int64GetDatum(state.expired);
	values[3] = Int64GetDatum(state.messages);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "a Redis export must return a row");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

/* A key of other bytes cannot be in a text: its conversation is named and left out. */
static bool
commands_are_text(const RedisOutput *output)
{
	if (!output->is_text)
		ereport(WARNING, (errmsg("Redis key \"%s\" is left out: it is not a text", output->name),
						  errhint("memory.redis_export writes keys of any bytes.")));
	return output->is_text;
}

PG_FUNCTION_INFO_V1(memory_redis_commands);

/*
 * memory.redis_commands(layout text, account_id text, conversation_id uuid,
 * since timestamptz, prefix text) → setof text
 *		The commands that make each conversation, as redis-cli --pipe takes them.
 *		In a SELECT list it holds one conversation at a time.  Errors: 22004,
 *		22023, 42501.
 */
Datum
memory_redis_commands(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	RedisOutput output;

	if (SRF_IS_FIRSTCALL())
	{
		RedisKeys *keys;
		MemoryContext old;

		account_check_unconfined();
		call = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		keys = palloc(sizeof(RedisKeys));
		*keys = redis_keys(argument_string(fcinfo, 0, "layout"),
						   argument_optional_string(fcinfo, 4), NULL);
		SPI_connect();
		MemoryContextSwitchTo(call->multi_call_memory_ctx);
		call->user_fctx = begin_export(fcinfo, 1, keys, false, false);
		SPI_finish();
		MemoryContextSwitchTo(old);
	}
	call = SRF_PERCALL_SETUP();
	{
		MemoryContext caller = CurrentMemoryContext;
		bool more;

		SPI_connect();
		MemoryContextSwitchTo(caller);
		do
			more = redis_write_next(call->user_fctx, &output);
		while (more && (output.count == 0 || !commands_are_text(&output)));
		if (!more)
			redis_write_end(call->user_fctx);
		SPI_finish();
		MemoryContextSwitchTo(caller);
		if (more)
			SRF_RETURN_NEXT(call, PointerGetDatum(cstring_to_text_with_len(output.commands.data,
																		   output.commands.len)));
	}
	SRF_RETURN_DONE(call);
}
