/*
 * export.c
 *		memory.export: conversations as documents, one after the other.
 *
 * A set-returning function of one value per call, so that in a SELECT list (and
 * so in COPY) it holds one conversation at a time, whatever the number.  All is
 * read under the snapshot of the calling statement.
 *
 * The call's context lives as long as the set; below it there is one for the
 * conversation at hand, reset for the next.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "account.h"
#include "arguments.h"
#include "audit.h"
#include "census.h"
#include "export.h"

/* A document's buffer that has grown over this is not kept for the next. */
#define BUFFER_KEEP_BYTES (1024 * 1024)

struct Export
{
	ExportScope scope;
	ExportReader *reader;
	MemoryContext context; /* of the conversation at hand */
	int64 conversations;
	int64 messages;
	Census lost; /* what the format could not hold */
	Jsonb *many; /* the documents of a conversation that is several */
	uint32 nmany;
	uint32 next_many;
};

/* Begins an export of what is in scope, in the current context, which must outlive it. */
Export *
export_begin(const ExportScope *scope)
{
	Export *export = palloc0(sizeof(Export));

	export->scope = *scope;
	if (scope->account_id != NULL || account_confined() != NULL)
		export->scope.account_id = account_check(unconstify(text *, scope->account_id));
	export->context = AllocSetContextCreate(CurrentMemoryContext, "memory_ext conversation",
											ALLOCSET_DEFAULT_SIZES);
	export->reader = export_read_begin(&export->scope);
	return export;
}

/* Closes the export's cursors. */
void
export_end(Export *export)
{
	export_read_end(export->reader);
}

/* A notice of what the format could not hold, if it was counted and there is any. */
void
export_tell_lost(const Export *export)
{
	census_tell(&export->lost, export->scope.format);
}

/* What the format could not hold, by kind. */
const Census *
export_lost(const Export *export)
{
	return &export->lost;
}

/* How many conversations have been exported. */
int64
export_conversations(const Export *export)
{
	return export->conversations;
}

/* How many messages have been exported. */
int64
export_messages(const Export *export)
{
	return export->messages;
}

/* ---- one conversation ---- */

/* What the conversation's document of this format had as its id; see formats.h. */
static void
take_origin(const TransferFormat *format, TransferConversation *conversation)
{
	JsonbValue origin;
	JsonbValue value;

	if (conversation->metadata == NULL ||
		getKeyJsonValueFromContainer(&conversation->metadata->root, "import", 6, &origin) == NULL ||
		origin.type != jbvBinary || !JsonContainerIsObject(origin.val.binary.data) ||
		getKeyJsonValueFromContainer(origin.val.binary.data, "format", 6, &value) == NULL ||
		value.type != jbvString || value.val.string.len != strlen(format->name) ||
		memcmp(value.val.string.val, format->name, value.val.string.len) != 0)
		return;
	if (getKeyJsonValueFromContainer(origin.val.binary.data, "source_id", 9, &value) != NULL &&
		value.type == jbvString)
	{
		conversation->source_id.data = value.val.string.val;
		conversation->source_id.length = value.val.string.len;
	}
	else
		memset(&conversation->source_id, 0, sizeof(conversation->source_id));
}

/* The next of the documents that one conversation is. */
static void
write_next_of_many(Export *export, StringInfo out)
{
	JsonbValue *value = getIthJsonbValueFromContainer(&export->many->root, export->next_many++);
	Jsonb *document = JsonbValueToJsonb(value);

	(void) JsonbToCString(out, &document->root, VARSIZE(document));
}

/* Appends the conversation; false: it is no document in this format. */
static bool
write_conversation(Export *export, const TransferConversation *conversation, StringInfo out)
{
	const TransferFormat *format = export->scope.format;
	bool many = false;
	Jsonb *document;

	if (format->write_text != NULL &&
		(format->metadata_as_text || census_is_plain(conversation, format)))
	{
		format->write_text(conversation, out);
		return true;
	}
	document = format->write(conversation, &many);
	census_add_lost(&export->lost, conversation, NULL, format, document, many);
	if (!many)
	{
		(void) JsonbToCString(out, &document->root, VARSIZE(document));
		return true;
	}
	export->many = document;
	export->nmany = JsonContainerSize(&document->root);
	export->next_many = 0;
	if (export->nmany == 0)
		return false;
	write_next_of_many(export, out);
	return true;
}

/* Reads and writes the next conversation that is a document, in the export's context. */
static bool
next_conversation(Export *export, StringInfo out)
{
	const TransferFormat *format = export->scope.format;
	TransferConversation conversation;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(export->context);
		export->nmany = export->next_many = 0;
		if (!export_read(export->reader, &conversation))
			return false;
		export->conversations++;
		export->messages += conversation.count;
		/* another format's documents name no account, and the native one's id is the real one */
		if (format != transfer_format_named("native"))
			take_origin(format, &conversation);
		if (write_conversation(export, &conversation, out))
			return true;
	}
}

/* Appends the next document; false: there are no more. */
bool
export_next(Export *export, StringInfo out)
{
	MemoryContext old = MemoryContextSwitchTo(export->context);
	bool more = true;

	if (export->next_many < export->nmany)
		write_next_of_many(export, out);
	else
		more = next_conversation(export, out);
	MemoryContextSwitchTo(old);
	return more;
}

/* ---- memory.export ---- */

typedef struct ExportCall
{
	Export *export;
	StringInfoData out; /* a text, of which the caller is done with when it asks for the next */
} ExportCall;

static ExportCall *
begin_call(FunctionCallInfo fcinfo)
{
	ExportCall *call = palloc0(sizeof(ExportCall));
	ExportScope scope = {0};

	scope.format = transfer_format_argument(argument_string(fcinfo, 0, "format"), true);
	if (!PG_ARGISNULL(1))
		scope.account_id = PG_GETARG_TEXT_P_COPY(1);
	if (!PG_ARGISNULL(2))
	{
		pg_uuid_t *id = palloc(sizeof(pg_uuid_t));

		*id = *PG_GETARG_UUID_P(2);
		scope.conversation_id = id;
	}
	if (!PG_ARGISNULL(3))
	{
		scope.has_since = true;
		scope.since = PG_GETARG_TIMESTAMPTZ(3);
	}
	call->export = export_begin(&scope);
	initStringInfo(&call->out);
	return call;
}

/* An empty buffer that becomes a text without being copied. */
static void
reset_buffer(StringInfo out)
{
	if (out->maxlen > BUFFER_KEEP_BYTES)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(out->data));

		pfree(out->data);
		initStringInfo(out);
		MemoryContextSwitchTo(old);
	}
	resetStringInfo(out);
	appendStringInfoSpaces(out, VARHDRSZ);
}

/* The set is not always read to its end. */
static void
end_call(Datum arg)
{
	export_end(((ExportCall *) DatumGetPointer(arg))->export);
}

PG_FUNCTION_INFO_V1(memory_export);

/*
 * memory_export(format text, account_id text, conversation_id uuid,
 *				 since timestamptz) → setof text
 *		Conversations as documents of a format, in order of conversation_id;
 *		NULL: of all accounts, all conversations, whenever they changed.  A notice
 *		at the end counts what the format cannot hold.
 *		Errors: 22004, 22023 unknown format, or one that is only read, 42501.
 */
Datum
memory_export(PG_FUNCTION_ARGS)
{
	ExprContext *context = ((ReturnSetInfo *) fcinfo->resultinfo)->econtext;
	FuncCallContext *set;
	ExportCall *call;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;

		audit_access(AUDIT_CONVERSATIONS, ACL_SELECT);
		audit_access(AUDIT_MESSAGES, ACL_SELECT);
		set = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(set->multi_call_memory_ctx);
		set->user_fctx = begin_call(fcinfo);
		MemoryContextSwitchTo(old);
		RegisterExprContextCallback(context, end_call, PointerGetDatum(set->user_fctx));
	}
	set = SRF_PERCALL_SETUP();
	call = set->user_fctx;

	reset_buffer(&call->out);
	if (export_next(call->export, &call->out))
	{
		SET_VARSIZE(call->out.data, call->out.len);
		SRF_RETURN_NEXT(set, PointerGetDatum(call->out.data)); /* stays until the next call */
	}
	export_tell_lost(call->export);
	end_call(PointerGetDatum(call));
	UnregisterExprContextCallback(context, end_call, PointerGetDatum(call));
	SRF_RETURN_DONE(set);
}
