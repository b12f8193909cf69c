/*
 * export.c
 *		memory.export: conversations as documents, one after the other.
 *
 * A set-returning function of one value per call, so that in a SELECT list (and
 * so in COPY) it holds one conversation at a time, whatever the number.  The
 * list of conversations is a cursor; that and all messages are read under the
 * snapshot of the calling statement.
 *
 * The call's context lives as long as the set; below it there is one for the
 * conversation at hand, reset for the next.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "account.h"
#include "plan.h"
#include "stored.h"
#include "transfer.h"

#define ROWS_AT_ONCE 20

/* A row for each segment, or one without: a statement a conversation would cost more than its messages. */
#define EXPORTED                                                                                   \
	"SELECT c.conversation_id, c.account_id, c.title, c.metadata, c.archived, c.head_seq,"         \
	" c.created_at, c.updated_at, c.tail_count, s.body"                                            \
	" FROM memory_store.conversations c LEFT JOIN memory_store.segments s"                         \
	" ON s.conversation_id OPERATOR(pg_catalog.=) c.conversation_id"                               \
	" AND s.account_id OPERATOR(pg_catalog.=) c.account_id"                                        \
	" WHERE c.deleted_at IS NULL AND ($1 IS NULL OR c.updated_at OPERATOR(pg_catalog.>=) $1)"
#define BY_ACCOUNT " AND c.account_id OPERATOR(pg_catalog.=) $2"
#define BY_CONVERSATION " AND c.conversation_id OPERATOR(pg_catalog.=) $3"
#define IN_ORDER " ORDER BY c.conversation_id, c.account_id, s.first_seq"

static PlanStatement export_all = {EXPORTED IN_ORDER, 1, {TIMESTAMPTZOID}};
static PlanStatement export_account = {EXPORTED BY_ACCOUNT IN_ORDER, 2, {TIMESTAMPTZOID, TEXTOID}};
static PlanStatement export_conversation =
	{EXPORTED
	 " AND ($2 IS NULL OR c.account_id OPERATOR(pg_catalog.=) $2)" BY_CONVERSATION IN_ORDER,
	 3,
	 {TIMESTAMPTZOID, TEXTOID, UUIDOID}};

typedef struct Export
{
	const TransferFormat *format;
	const char *cursor;
	HeapTuple *rows; /* fetched, not yet written; in rows_context */
	TupleDesc descriptor;
	uint64 count;
	uint64 next;
	MemoryContext rows_context;
	MemoryContext context; /* of the conversation at hand */
	Jsonb *many;           /* the documents of a conversation that is several */
	uint32 nmany;
	uint32 next_many;
} Export;

/* ---- conversations ---- */

static Export *
begin_export(FunctionCallInfo fcinfo, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Export *export = palloc0(sizeof(Export));
	text *account_id = PG_ARGISNULL(1) ? NULL : account_check(PG_GETARG_TEXT_PP(1));
	PlanStatement *statement;
	Datum values[3];
	char nulls[] = "   ";

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("format must not be null")));
	if (account_id == NULL && account_confined() != NULL)
		account_id = account_check(NULL);
	export->format = transfer_format_argument(text_to_cstring(PG_GETARG_TEXT_PP(0)), true);
	export->rows_context =
		AllocSetContextCreate(context, "memory_ext rows", ALLOCSET_DEFAULT_SIZES);
	export->context =
		AllocSetContextCreate(context, "memory_ext conversation", ALLOCSET_DEFAULT_SIZES);

	statement = !PG_ARGISNULL(2)     ? &export_conversation
				: account_id != NULL ? &export_account
									 : &export_all;
	nulls[0] = PG_ARGISNULL(3) ? 'n' : ' ';
	values[0] = PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3);
	nulls[1] = account_id == NULL ? 'n' : ' ';
	values[1] = PointerGetDatum(account_id);
	nulls[2] = PG_ARGISNULL(2) ? 'n' : ' ';
	values[2] = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	SPI_connect();
	export->cursor = MemoryContextStrdup(context, plan_open(statement, values, nulls)->name);
	SPI_finish();
	MemoryContextSwitchTo(old);
	return export;
}

/* The row at hand; NULL: there is none left. */
static HeapTuple
current_row(Export *export)
{
	MemoryContext caller = CurrentMemoryContext; /* SPI leaves its own behind */
	Portal portal;

	if (export->next < export->count)
		return export->rows[export->next];
	portal = SPI_cursor_find(export->cursor);
	if (portal == NULL)
		elog(ERROR, "the cursor of an export is gone");
	SPI_cursor_fetch(portal, true, ROWS_AT_ONCE);
	MemoryContextSwitchTo(export->rows_context);
	MemoryContextReset(export->rows_context);
	export->count = SPI_processed;
	export->next = 0;
	export->rows = palloc(Max(export->count, 1) * sizeof(HeapTuple));
	for (uint64 i = 0; i < export->count; i++)
		export->rows[i] = heap_copytuple(SPI_tuptable->vals[i]);
	if (export->descriptor == NULL)
	{
		MemoryContextSwitchTo(GetMemoryChunkContext(export));
		export->descriptor = CreateTupleDescCopy(SPI_tuptable->tupdesc);
	}
	SPI_freetuptable(SPI_tuptable);
	MemoryContextSwitchTo(caller);
	return export->count > 0 ? export->rows[0] : NULL;
}

/* ---- one conversation ---- */

static TransferText
text_of(const char *data, uint32 length)
{
	TransferText result = {data, length};

	return result;
}

static void
take_messages(const Export *export, TransferConversation *conversation, const StoredMessages *all)
{
	TranscriptMessage *stored = all->messages;
	int32 n = all->count;

	conversation->count = n;
	conversation->messages =
		MemoryContextAllocHuge(CurrentMemoryContext, mul_size(Max(n, 1), sizeof(TransferMessage)));
	for (int32 i = 0; i < n; i++)
	{
		const TranscriptMessage *from = &stored[i];
		TransferMessage *to = &conversation->messages[i];
		const TranscriptMessage *parent = NULL;

		CHECK_FOR_INTERRUPTS();
		memset(to, 0, sizeof(*to));
		to->seq = from->seq;
		if (i > 0 && stored[i - 1].seq == from->parent_seq)
			parent = &stored[i - 1];
		else if (from->parent_seq > 0)
			parent = store_find_message(stored, i, from->parent_seq);
		to->parent = parent == NULL ? TRANSFER_PARENT_ROOT : (int32) (parent - stored);
		to->tokens = from->tokens;
		to->role = text_of(from->role, from->role_len);
		to->content = text_of(from->content, from->content_len);
		to->model = text_of(from->model, from->model_len);
		to->message_id = text_of(from->message_id, from->message_id_len);
		to->created_at = from->created_at;
		to->has_created_at = from->has_created_at;
		to->metadata_text = text_of(from->metadata, from->metadata_len);
		if (from->metadata != NULL && export->format->write_text == NULL)
			to->metadata = DatumGetJsonbP(
				DirectFunctionCall1(jsonb_in,
									CStringGetDatum(pnstrdup(from->metadata, from->metadata_len))));
	}
}

/* What the conversation's document of this format had as its id; see transfer.h. */
static void
take_origin(const Export *export, TransferConversation *conversation)
{
	JsonbValue origin;
	JsonbValue value;

	if (conversation->metadata == NULL ||
		getKeyJsonValueFromContainer(&conversation->metadata->root, "import", 6, &origin) == NULL ||
		origin.type != jbvBinary || !JsonContainerIsObject(origin.val.binary.data) ||
		getKeyJsonValueFromContainer(origin.val.binary.data, "format", 6, &value) == NULL ||
		value.type != jbvString || value.val.string.len != strlen(export->format->name) ||
		memcmp(value.val.string.val, export->format->name, value.val.string.len) != 0)
		return;
	if (getKeyJsonValueFromContainer(origin.val.binary.data, "source_id", 9, &value) != NULL &&
		value.type == jbvString)
		conversation->source_id = text_of(value.val.string.val, value.val.string.len);
	else
		conversation->source_id = text_of(NULL, 0);
}

static TransferText
column_text(HeapTuple row, TupleDesc descriptor, int column)
{
	bool isnull;
	Datum value = SPI_getbinval(row, descriptor, column, &isnull);
	text *bytes = isnull ? NULL : DatumGetTextPP(value);

	return isnull ? text_of(NULL, 0) : text_of(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
}

/* The conversation's own columns, from its first row. */
static void
read_columns(const Export *export, HeapTuple row, TransferConversation *conversation)
{
	TupleDesc descriptor = export->descriptor;
	Datum metadata;
	const char *name;
	bool isnull;

	memset(conversation, 0, sizeof(*conversation));
	name = store_uuid_string(DatumGetUUIDP(SPI_getbinval(row, descriptor, 1, &isnull)));
	conversation->source_id = text_of(name, strlen(name));
	conversation->account_id = column_text(row, descriptor, 2);
	conversation->title = column_text(row, descriptor, 3);
	metadata = SPI_getbinval(row, descriptor, 4, &isnull);
	conversation->metadata = isnull ? NULL : DatumGetJsonbP(metadata);
	conversation->archived = DatumGetBool(SPI_getbinval(row, descriptor, 5, &isnull));
	conversation->created_at = DatumGetTimestampTz(SPI_getbinval(row, descriptor, 7, &isnull));
	conversation->updated_at = DatumGetTimestampTz(SPI_getbinval(row, descriptor, 8, &isnull));
	conversation->has_created_at = conversation->has_updated_at = true;
}

static bool
same_conversation(const TransferConversation *conversation, const pg_uuid_t *id, HeapTuple row,
				  TupleDesc descriptor)
{
	bool isnull;
	TransferText account;

	if (memcmp(DatumGetUUIDP(SPI_getbinval(row, descriptor, 1, &isnull)), id, UUID_LEN) != 0)
		return false;
	account = column_text(row, descriptor, 2);
	return account.length == conversation->account_id.length &&
		   memcmp(account.data, conversation->account_id.data, account.length) == 0;
}

/* Reads all rows of the conversation that is next, in the export's context; false: none is left. */
static bool
read_conversation(Export *export, TransferConversation *conversation)
{
	HeapTuple row = current_row(export);
	TupleDesc descriptor = export->descriptor;
	StoredMessages stored = {0};
	TranscriptMessage *head;
	pg_uuid_t id;
	int64 head_seq;
	int32 tail_count;
	bool isnull;

	if (row == NULL)
		return false;
	row = heap_copytuple(row); /* the rows that are fetched change meanwhile */
	read_columns(export, row, conversation);
	id = *DatumGetUUIDP(SPI_getbinval(row, descriptor, 1, &isnull));
	head_seq = DatumGetInt64(SPI_getbinval(row, descriptor, 6, &isnull));
	tail_count = DatumGetInt32(SPI_getbinval(row, descriptor, 9, &isnull));
	do
	{
		Datum body = SPI_getbinval(row, descriptor, 10, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (!isnull)
			stored_add_segment(&stored, body);
		export->next++;
		row = current_row(export);
	} while (row != NULL && same_conversation(conversation, &id, row, descriptor));
	if (tail_count > 0)
		stored_add_tail(&stored, &id,
						cstring_to_text_with_len(conversation->account_id.data,
												 conversation->account_id.length),
						true);

	take_messages(export, conversation, &stored);
	head = stored.count > 0 ? store_find_message(stored.messages, stored.count, head_seq) : NULL;
	conversation->head = head == NULL ? -1 : (int32) (head - stored.messages);
	/* another format's documents name no account, and the native one's id is the real one */
	if (export->format != transfer_format_named("native"))
		take_origin(export, conversation);
	return true;
}

/* A buffer that becomes a text without being copied. */
static void
begin_text(StringInfo out)
{
	initStringInfo(out);
	appendStringInfoSpaces(out, VARHDRSZ);
}

static text *
end_text(StringInfo out)
{
	SET_VARSIZE(out->data, out->len);
	return (text *) out->data;
}

static text *
jsonb_text(JsonbContainer *container, int size)
{
	StringInfoData out;

	begin_text(&out);
	(void) JsonbToCString(&out, container, size);
	return end_text(&out);
}

/* The next of the documents that one conversation is. */
static text *
next_of_many(Export *export)
{
	JsonbValue *value = getIthJsonbValueFromContainer(&export->many->root, export->next_many++);
	Jsonb *document = JsonbValueToJsonb(value);

	return jsonb_text(&document->root, VARSIZE(document));
}

/* The conversation as text; NULL: it is no document in this format. */
static text *
write_conversation(Export *export, const TransferConversation *conversation)
{
	bool many = false;
	Jsonb *document;

	if (export->format->write_text != NULL)
	{
		StringInfoData out;

		begin_text(&out);
		export->format->write_text(conversation, &out);
		return end_text(&out);
	}
	document = export->format->write(conversation, &many);
	if (!many)
		return jsonb_text(&document->root, VARSIZE(document));
	export->many = document;
	export->nmany = JsonContainerSize(&document->root);
	export->next_many = 0;
	return export->nmany == 0 ? NULL : next_of_many(export);
}

/* The next document, in the export's context; NULL: there is none left.  Needs SPI. */
static text *
next_document(Export *export)
{
	MemoryContext old;
	text *document = NULL;
	bool more;

	while (document == NULL)
	{
		TransferConversation conversation;

		CHECK_FOR_INTERRUPTS();
		if (export->next_many < export->nmany)
		{
			old = MemoryContextSwitchTo(export->context);
			document = next_of_many(export);
			MemoryContextSwitchTo(old);
			break;
		}
		MemoryContextReset(export->context);
		export->nmany = export->next_many = 0;
		old = MemoryContextSwitchTo(export->context);
		more = read_conversation(export, &conversation);
		if (more)
			document = write_conversation(export, &conversation);
		MemoryContextSwitchTo(old);
		if (!more)
			return NULL;
	}
	return document;
}

/* The set is not always read to its end. */
static void
end_export(Datum arg)
{
	Portal portal = SPI_cursor_find(((Export *) DatumGetPointer(arg))->cursor);

	if (portal != NULL)
		SPI_cursor_close(portal);
}

PG_FUNCTION_INFO_V1(memory_export);

/*
 * memory_export(format text, account_id text, conversation_id uuid,
 *				 since timestamptz) → setof text
 *		Conversations as documents of a format, in order of conversation_id;
 *		NULL: of all accounts, all conversations, whenever they changed.
 *		Errors: 22004, 22023 unknown format, or one that is only read, 42501.
 */
Datum
memory_export(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	text *document;

	if (SRF_IS_FIRSTCALL())
	{
		call = SRF_FIRSTCALL_INIT();
		call->user_fctx = begin_export(fcinfo, call->multi_call_memory_ctx);
		RegisterExprContextCallback(((ReturnSetInfo *) fcinfo->resultinfo)->econtext, end_export,
									PointerGetDatum(call->user_fctx));
	}
	call = SRF_PERCALL_SETUP();

	SPI_connect();
	document = next_document(call->user_fctx);
	SPI_finish();
	if (document != NULL)
		SRF_RETURN_NEXT(call, PointerGetDatum(document)); /* stays until the next call */
	end_export(PointerGetDatum(call->user_fctx));
	UnregisterExprContextCallback(((ReturnSetInfo *) fcinfo->resultinfo)->econtext, end_export,
								  PointerGetDatum(call->user_fctx));
	SRF_RETURN_DONE(call);
}
