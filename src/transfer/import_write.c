/*
 * import_write.c
 *		A batch into the store: new conversations as import_prepare.c has made
 *		them ready, all else by the views.
 *
 * The documents are taken in order of account and conversation, the order of
 * the store's locks.  Documents of one conversation are stored one behind the
 * other, in rounds, each of which compares with what the ones before stored;
 * those that are one message each go together.
 *
 * Everything of a round lives in a context of its own.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "account.h"
#include "arguments.h"
#include "import_private.h"
#include "sql_text.h"
#include "statement.h"

/* ---- rows of a statement, as arrays ---- */

#define ROWS_MAX_COLUMNS 12

typedef struct Rows
{
	int ncolumns;
	const Oid *types;
	int32 count;
	int32 capacity;
	Datum *values[ROWS_MAX_COLUMNS];
	bool *nulls[ROWS_MAX_COLUMNS];
} Rows;

static void
rows_add(Rows *rows, const Datum *values, const bool *nulls)
{
	if (rows->count == rows->capacity)
	{
		int32 capacity = rows->capacity == 0 ? 256 : rows->capacity * 2;

		for (int i = 0; i < rows->ncolumns; i++)
		{
			Size size = mul_size(capacity, sizeof(Datum));

			rows->values[i] = rows->capacity == 0 ? palloc(size) : repalloc(rows->values[i], size);
			rows->nulls[i] =
				rows->capacity == 0 ? palloc(capacity) : repalloc(rows->nulls[i], capacity);
		}
		rows->capacity = capacity;
	}
	for (int i = 0; i < rows->ncolumns; i++)
	{
		rows->values[i][rows->count] = values[i];
		rows->nulls[i][rows->count] = nulls[i];
	}
	rows->count++;
}

/* The columns as arrays, for unnest. */
static void
rows_arrays(const Rows *rows, Datum *arrays)
{
	for (int i = 0; i < rows->ncolumns; i++)
		arrays[i] = array_datum(rows->types[i], rows->values[i], rows->nulls[i], rows->count);
}

/* Runs a statement that takes the columns as its parameters. */
static void
rows_execute(const Rows *rows, PlanStatement *statement)
{
	Datum arrays[ROWS_MAX_COLUMNS];

	if (rows->count == 0)
		return;
	rows_arrays(rows, arrays);
	(void) plan_execute(statement, arrays, NULL, false);
}

static Datum
text_datum(const TransferText *text, bool *isnull)
{
	*isnull = text->data == NULL;
	return *isnull ? (Datum) 0
				   : PointerGetDatum(cstring_to_text_with_len(text->data, text->length));
}

/* ---- what cannot be stored, and the locks ---- */

static void
reject_group(Import *import, ImportGroup *group, TransferReason reason, const char *what)
{
	for (int32 i = 0; i < group->ndocuments; i++)
	{
		ImportDocument *document = group->documents[i];

		transfer_refuse(&document->problem, reason, "$", "conversation %s %s",
						store_uuid_string(&document->id), what);
		import_reject(import, document);
	}
}

/* Rejects the groups that cannot be stored; n becomes the number of the others. */
static void
reject_groups(Import *import, ImportGroup *groups, int32 *n)
{
	int32 left = 0;

	for (int32 i = 0; i < *n; i++)
	{
		ImportGroup *group = &groups[i];

		if (group->exists && group->deleted)
			reject_group(import, group, TRANSFER_DELETED, "has been deleted");
		else
			groups[left++] = *group;
	}
	*n = left;
}

/*
 * Locks what the batch writes to before it is compared: subscriptions, then
 * accounts, each in key order.  Accounts that are new are made.  Returns them in
 * order, behind the last one an empty one.
 */
static StoreCharge *
lock_accounts(ImportGroup *groups, int32 n)
{
	StoreCharge *accounts = palloc0(mul_size(n + 1, sizeof(StoreCharge)));
	int32 naccounts = 0;

	for (int32 i = 0; i < n; i++)
	{
		text *account_id = groups[i].documents[0]->account_id;

		if (naccounts == 0 || !account_same(accounts[naccounts - 1].account_id, account_id))
			accounts[naccounts++].account_id = account_id;
	}
	store_lock_charges(accounts, (uint64) naccounts);
	for (int32 i = 0; i < naccounts; i++)
		if (!store_hold_account(accounts[i].account_id))
			(void) store_lock_account(accounts[i].account_id, accounts[i].subscription_id, true);
	return accounts;
}

/* ---- rows ---- */

/* clang-format off */
enum
{
	CONVERSATION_ID, CONVERSATION_ACCOUNT, CONVERSATION_TITLE, CONVERSATION_METADATA,
	CONVERSATION_ARCHIVED, CONVERSATION_HEAD_SEQ, CONVERSATION_CREATED_AT,
	CONVERSATION_UPDATED_AT, CONVERSATION_COLUMNS
};
static const Oid conversation_types[CONVERSATION_COLUMNS] = {
	UUIDOID, TEXTOID, TEXTOID, JSONBOID, BOOLOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
static PlanStatement insert_conversations = {
	"INSERT INTO memory.conversations (conversation_id, account_id, title, metadata, archived,"
	"     head_seq, created_at, updated_at)"
	" SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)",
	CONVERSATION_COLUMNS,
	{UUIDARRAYOID, TEXTARRAYOID, TEXTARRAYOID, JSONBARRAYOID, BOOLARRAYOID, INT8ARRAYOID,
	 TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID}};
/* clang-format on */

static void
add_conversation(Rows *rows, ImportGroup *group)
{
	ImportDocument *document = group->documents[0];
	const TransferConversation *conversation = &document->conversation;
	TimestampTz first = 0;
	TimestampTz last = 0;
	bool has_times = import_message_times(group, &first, &last);
	Datum values[CONVERSATION_COLUMNS];
	bool nulls[CONVERSATION_COLUMNS] = {0};

	if (conversation->has_created_at)
		first = conversation->created_at;
	if (conversation->has_updated_at)
		last = conversation->updated_at;
	values[CONVERSATION_ID] = UUIDPGetDatum(&document->id);
	values[CONVERSATION_ACCOUNT] = PointerGetDatum(document->account_id);
	values[CONVERSATION_TITLE] = text_datum(&conversation->title, &nulls[CONVERSATION_TITLE]);
	values[CONVERSATION_METADATA] = PointerGetDatum(conversation->metadata);
	nulls[CONVERSATION_METADATA] = conversation->metadata == NULL;
	values[CONVERSATION_ARCHIVED] = BoolGetDatum(conversation->archived);
	values[CONVERSATION_HEAD_SEQ] = Int64GetDatum(group->new_head);
	nulls[CONVERSATION_HEAD_SEQ] = group->new_head == 0;
	values[CONVERSATION_CREATED_AT] = TimestampTzGetDatum(first);
	nulls[CONVERSATION_CREATED_AT] = !has_times && !conversation->has_created_at;
	values[CONVERSATION_UPDATED_AT] = TimestampTzGetDatum(last);
	nulls[CONVERSATION_UPDATED_AT] = !has_times && !conversation->has_updated_at;
	rows_add(rows, values, nulls);
}

/*
 * A message may be later than its document says that it was changed last; the
 * store takes the later time over, and is told the document's.
 */
/* clang-format off */
enum { TIMES_ID, TIMES_ACCOUNT, TIMES_UPDATED_AT, TIMES_COLUMNS };
static const Oid time_types[TIMES_COLUMNS] = {UUIDOID, TEXTOID, TIMESTAMPTZOID};
static PlanStatement restore_times = {
	"UPDATE memory.conversations c SET updated_at = t.updated_at"
	" FROM unnest($1, $2, $3) t (conversation_id, account_id, updated_at)"
	" WHERE c.conversation_id" OP(=) "t.conversation_id AND c.account_id" OP(=) "t.account_id"
	" AND c.updated_at" OP(<>) "t.updated_at",
	TIMES_COLUMNS, {UUIDARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID}};
/* clang-format on */

/* A new conversation whose messages would change its updated_at. */
static void
add_times(Rows *rows, const ImportGroup *group)
{
	const ImportDocument *document = group->documents[0];
	TimestampTz first;
	TimestampTz last;
	Datum values[TIMES_COLUMNS];
	bool nulls[TIMES_COLUMNS] = {0};

	if (!document->conversation.has_updated_at || !import_message_times(group, &first, &last) ||
		last <= document->conversation.updated_at)
		return;
	values[TIMES_ID] = UUIDPGetDatum(&document->id);
	values[TIMES_ACCOUNT] = PointerGetDatum(document->account_id);
	values[TIMES_UPDATED_AT] = TimestampTzGetDatum(document->conversation.updated_at);
	rows_add(rows, values, nulls);
}

/* clang-format off */
enum
{
	ROW_CONVERSATION, ROW_ACCOUNT, ROW_SEQ, ROW_PARENT_SEQ, ROW_ROLE,
	ROW_CONTENT, ROW_MODEL, ROW_TOKENS, ROW_CREATED_AT, ROW_MESSAGE_ID,
	ROW_METADATA, ROW_COLUMNS
};
static const Oid message_types[ROW_COLUMNS] = {
	UUIDOID, TEXTOID, INT8OID, INT8OID, TEXTOID, TEXTOID,
	TEXTOID, INT4OID, TIMESTAMPTZOID, TEXTOID, JSONBOID};
static PlanStatement insert_messages = {
	"INSERT INTO memory.messages (conversation_id, account_id, seq, parent_seq, role, content,"
	"     model, tokens, created_at, message_id, metadata)"
	" SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
	ROW_COLUMNS,
	{UUIDARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	 TEXTARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, JSONBARRAYOID}};
/* clang-format on */

static void
add_message(Rows *rows, const ImportRow *row)
{
	const ImportDocument *document = row->document;
	const TransferMessage *message = row->message;
	Datum values[ROW_COLUMNS];
	bool nulls[ROW_COLUMNS] = {0};

	values[ROW_CONVERSATION] = UUIDPGetDatum(&document->id);
	values[ROW_ACCOUNT] = PointerGetDatum(document->account_id);
	values[ROW_SEQ] = Int64GetDatum(row->seq);
	values[ROW_PARENT_SEQ] = Int64GetDatum(row->parent_seq);
	nulls[ROW_PARENT_SEQ] = row->parent_seq < 0;
	values[ROW_ROLE] = text_datum(&message->role, &nulls[ROW_ROLE]);
	values[ROW_CONTENT] = text_datum(&message->content, &nulls[ROW_CONTENT]);
	values[ROW_MODEL] = text_datum(&message->model, &nulls[ROW_MODEL]);
	values[ROW_TOKENS] = Int32GetDatum(message->tokens);
	nulls[ROW_TOKENS] = message->tokens < 0;
	values[ROW_CREATED_AT] = TimestampTzGetDatum(message->row_time);
	nulls[ROW_CREATED_AT] = !message->has_row_time; /* then it is the time of the import */
	values[ROW_MESSAGE_ID] = text_datum(&message->message_id, &nulls[ROW_MESSAGE_ID]);
	values[ROW_METADATA] = PointerGetDatum(message->metadata);
	nulls[ROW_METADATA] = message->metadata == NULL;
	rows_add(rows, values, nulls);
}

/* Messages that take the place of stored ones; tokens are estimated where none are given. */
/* clang-format off */
enum
{
	CHANGE_CONVERSATION, CHANGE_ACCOUNT, CHANGE_SEQ, CHANGE_ROLE, CHANGE_CONTENT, CHANGE_MODEL,
	CHANGE_TOKENS, CHANGE_METADATA, CHANGE_COLUMNS
};
static const Oid change_types[CHANGE_COLUMNS] = {
	UUIDOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT4OID, JSONBOID};
static PlanStatement change_messages = {
	"UPDATE memory.messages m"
	" SET role = u.role, content = u.content, model = u.model,"
	"     tokens = COALESCE(u.tokens, m.tokens), metadata = u.metadata"
	" FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)"
	"     u (conversation_id, account_id, seq, role, content, model, tokens, metadata)"
	" WHERE m.conversation_id" OP(=) "u.conversation_id AND m.account_id" OP(=) "u.account_id"
	" AND m.seq" OP(=) "u.seq",
	CHANGE_COLUMNS,
	{UUIDARRAYOID, TEXTARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	 INT4ARRAYOID, JSONBARRAYOID}};
/* clang-format on */

static void
add_change(Rows *rows, const ImportRow *row)
{
	const TransferMessage *message = row->message;
	Datum values[CHANGE_COLUMNS];
	bool nulls[CHANGE_COLUMNS] = {0};

	values[CHANGE_CONVERSATION] = UUIDPGetDatum(&row->document->id);
	values[CHANGE_ACCOUNT] = PointerGetDatum(row->document->account_id);
	values[CHANGE_SEQ] = Int64GetDatum(row->seq);
	values[CHANGE_ROLE] = text_datum(&message->role, &nulls[CHANGE_ROLE]);
	values[CHANGE_CONTENT] = text_datum(&message->content, &nulls[CHANGE_CONTENT]);
	values[CHANGE_MODEL] = text_datum(&message->model, &nulls[CHANGE_MODEL]);
	values[CHANGE_TOKENS] = Int32GetDatum(message->tokens);
	nulls[CHANGE_TOKENS] = message->tokens < 0;
	values[CHANGE_METADATA] = PointerGetDatum(message->metadata);
	nulls[CHANGE_METADATA] = message->metadata == NULL;
	rows_add(rows, values, nulls);
}

static int
compare_changes(const void *a, const void *b)
{
	const ImportRow *left = a;
	const ImportRow *right = b;

	if (left->seq != right->seq)
		return left->seq < right->seq ? -1 : 1;
	return left->document < right->document ? -1 : left->document > right->document;
}

/* What takes the place of stored messages; of several for one the last counts. */
static void
write_changes(ImportGroup *groups, int32 n)
{
	Rows changes = {.ncolumns = CHANGE_COLUMNS, .types = change_types};

	for (int32 i = 0; i < n; i++)
	{
		ImportGroup *group = &groups[i];

		if (group->nchanges > 1)
			qsort(group->changes, group->nchanges, sizeof(ImportRow), compare_changes);
		for (int32 j = 0; j < group->nchanges; j++)
			if (j == group->nchanges - 1 || group->changes[j + 1].seq != group->changes[j].seq)
				add_change(&changes, &group->changes[j]);
	}
	rows_execute(&changes, &change_messages);
}

/* The part of a document's metadata that its format keeps, as an object; NULL: there is none. */
static Jsonb *
format_metadata(const ImportDocument *document)
{
	Jsonb *metadata = document->conversation.metadata;
	JsonbParseState *state = NULL;
	JsonbValue key = {.type = jbvString};
	JsonbValue value;

	key.val.string.val = unconstify(char *, document->format->name);
	key.val.string.len = strlen(document->format->name);
	if (metadata == NULL || getKeyJsonValueFromContainer(&metadata->root, key.val.string.val,
														 key.val.string.len, &value) == NULL)
		return NULL;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &key);
	pushJsonbValue(&state, WJB_VALUE, &value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * What a document that has grown says of its conversation: the head, what its
 * format keeps in metadata, and the title if there is none.  $4 is
 * {"format": …}, $5 the format.
 */
/* clang-format off */
enum
{
	EXTEND_ID, EXTEND_ACCOUNT, EXTEND_HEAD_SEQ, EXTEND_METADATA, EXTEND_FORMAT, EXTEND_TITLE,
	EXTEND_UPDATED_AT, EXTEND_PARAMETERS
};
static PlanStatement update_conversation = {
	"UPDATE memory.conversations"
	" SET head_seq = COALESCE($3, head_seq),"
	"     metadata = CASE WHEN $4 IS NULL THEN metadata"
	"         ELSE COALESCE(metadata, '{}')" OP(||) "$4 END,"
	"     title = COALESCE(title, $6), updated_at = GREATEST(updated_at, $7)"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" AND (head_seq" OP(<>) "$3"
	"     OR ($6 IS NOT NULL AND title IS NULL)"
	"     OR COALESCE((metadata" OP(->) "$5)" OP(<>) "($4" OP(->) "$5), $4 IS NOT NULL)"
	"     OR updated_at" OP(<) "$7)",
	EXTEND_PARAMETERS,
	{UUIDOID, TEXTOID, INT8OID, JSONBOID, TEXTOID, TEXTOID, TIMESTAMPTZOID}};
/* clang-format on */

/* A conversation that a whole document has extended. */
static void
extend_conversation(const ImportGroup *group)
{
	const ImportDocument *document = group->documents[0];
	Jsonb *metadata = format_metadata(document);
	Datum values[EXTEND_PARAMETERS];
	char nulls[EXTEND_PARAMETERS];
	bool no_title;

	memset(nulls, ' ', sizeof(nulls));
	values[EXTEND_ID] = UUIDPGetDatum(&document->id);
	values[EXTEND_ACCOUNT] = PointerGetDatum(document->account_id);
	values[EXTEND_HEAD_SEQ] = Int64GetDatum(group->new_head);
	nulls[EXTEND_HEAD_SEQ] = group->new_head == 0 ? 'n' : ' ';
	values[EXTEND_METADATA] = PointerGetDatum(metadata);
	nulls[EXTEND_METADATA] = metadata == NULL ? 'n' : ' ';
	values[EXTEND_FORMAT] = CStringGetTextDatum(document->format->name);
	values[EXTEND_TITLE] = text_datum(&document->conversation.title, &no_title);
	nulls[EXTEND_TITLE] = no_title ? 'n' : ' ';
	values[EXTEND_UPDATED_AT] = TimestampTzGetDatum(document->conversation.updated_at);
	nulls[EXTEND_UPDATED_AT] = document->conversation.has_updated_at ? ' ' : 'n';
	(void) plan_execute(&update_conversation, values, nulls, false);
}

static void
write_groups(Import *import, ImportGroup *groups, int32 n)
{
	Rows conversations = {.ncolumns = CONVERSATION_COLUMNS, .types = conversation_types};
	Rows messages = {.ncolumns = ROW_COLUMNS, .types = message_types};
	Rows times = {.ncolumns = TIMES_COLUMNS, .types = time_types};

	for (int32 i = 0; i < n; i++)
	{
		ImportGroup *group = &groups[i];

		CHECK_FOR_INTERRUPTS();
		if (group->ready != NULL)
			continue;
		import_match(import, group);
		if (group->nrows == 0 && group->documents[0]->conversation.partial)
			continue;
		if (!group->exists)
		{
			add_conversation(&conversations, group);
			add_times(&times, group);
		}
		for (int32 j = 0; j < group->nrows; j++)
			add_message(&messages, &group->rows[j]);
	}
	rows_execute(&conversations, &insert_conversations);
	rows_execute(&messages, &insert_messages);
	rows_execute(&times, &restore_times);
	for (int32 i = 0; i < n; i++)
		if (groups[i].exists && groups[i].documents[0]->state == IMPORT_EXTENDED &&
			!groups[i].documents[0]->conversation.partial)
			extend_conversation(&groups[i]);
}

/* ---- what was made ready ---- */

/*
 * Queues the ready conversations of n groups of one account, and writes what
 * they used.  NULL: there are none.
 */
static StoreAccount *
write_account(ImportGroup *groups, int32 n, const StoreCharge *locked, StoreQueue *queue)
{
	StoreAccount *account = NULL;
	MeteringBatch *usage = NULL;

	for (int32 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (groups[i].ready == NULL)
			continue;
		if (account == NULL)
		{
			account = store_lock_account(locked->account_id, locked->subscription_id, true);
			usage = metering_batch_create(locked->account_id);
		}
		store_prepared_write(groups[i].ready, account, usage, queue);
	}
	metering_batch_end(usage);
	return account;
}

/* The same for all accounts, which are locked. */
static void
write_ready(ImportGroup *groups, int32 n, const StoreCharge *locked)
{
	StoreQueue *queue = store_queue_create();
	List *accounts = NIL;
	ListCell *cell;

	for (int32 i = 0; i < n;)
	{
		text *account_id = groups[i].documents[0]->account_id;
		StoreAccount *account;
		int32 first = i;

		while (!account_same(locked->account_id, account_id))
			locked++; /* its groups have been rejected */
		while (i < n && account_same(groups[i].documents[0]->account_id, account_id))
			i++;
		account = write_account(groups + first, i - first, locked, queue);
		if (account != NULL)
			accounts = lappend(accounts, account);
	}
	store_queue_write(queue);
	foreach (cell, accounts)
		store_end_account(lfirst(cell));
}

/* ---- rejects, and the whole ---- */

/* What is told of a document that was rejected, or mended. */
static const char *
problem_message(const TransferProblem *problem)
{
	if (problem->mended <= 1)
		return problem->message;
	return psprintf("%s (and %d more like this)", problem->message, problem->mended - 1);
}

/* clang-format off */
/* The columns of $3 and the parameters behind it. */
enum
{
	ERROR_DOCUMENT, ERROR_LINE, ERROR_OFFSET, ERROR_ACCOUNT, ERROR_CONVERSATION, ERROR_REASON,
	ERROR_PATH, ERROR_MESSAGE, ERROR_EXCERPT, ERROR_REJECTED, ERROR_COLUMNS
};
enum { ERRORS_JOB, ERRORS_PART, ERRORS_ROWS, ERRORS_PARAMETERS = ERRORS_ROWS + ERROR_COLUMNS };
static const Oid error_types[ERROR_COLUMNS] = {
	INT8OID, INT8OID, INT8OID, TEXTOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID};
static PlanStatement insert_errors = {
	"INSERT INTO memory_store.job_errors (job_id, part, document, line, byte_offset, account_id,"
	"     conversation_id, reason, path, message, excerpt, rejected, rejected_at)"
	" SELECT $1, $2, e.*, pg_catalog.clock_timestamp()"
	" FROM unnest($3, $4, $5, $6, $7, $8, $9, $10, $11, $12) e",
	ERRORS_PARAMETERS,
	{INT8OID, INT4OID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, UUIDARRAYOID,
	 TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLARRAYOID}};
/* clang-format on */

static void
add_error(Rows *rows, const ImportDocument *document)
{
	Datum values[ERROR_COLUMNS];
	bool nulls[ERROR_COLUMNS] = {0};

	values[ERROR_DOCUMENT] = Int64GetDatum((int64) document->number);
	values[ERROR_LINE] = Int64GetDatum((int64) document->line);
	values[ERROR_OFFSET] = Int64GetDatum((int64) document->offset);
	values[ERROR_ACCOUNT] = PointerGetDatum(document->account_id);
	nulls[ERROR_ACCOUNT] = document->account_id == NULL;
	values[ERROR_CONVERSATION] = UUIDPGetDatum(&document->id);
	nulls[ERROR_CONVERSATION] = !document->has_id;
	values[ERROR_REASON] = CStringGetTextDatum(transfer_reason_name(document->problem.reason));
	values[ERROR_PATH] = CStringGetTextDatum(document->problem.path);
	values[ERROR_MESSAGE] = CStringGetTextDatum(problem_message(&document->problem));
	values[ERROR_EXCERPT] = CStringGetTextDatum(document->excerpt);
	values[ERROR_REJECTED] = BoolGetDatum(document->state == IMPORT_REJECTED);
	rows_add(rows, values, nulls);
}

static void
write_errors(Import *import)
{
	Rows errors = {.ncolumns = ERROR_COLUMNS, .types = error_types};
	Datum values[ERRORS_PARAMETERS];

	for (int32 i = 0; i < import->ndocuments; i++)
		if (import->documents[i].state == IMPORT_REJECTED ||
			import->documents[i].problem.mended > 0)
			add_error(&errors, &import->documents[i]);
	if (errors.count == 0 || import->options.job_id == 0)
		return;
	values[ERRORS_JOB] = Int64GetDatum(import->options.job_id);
	values[ERRORS_PART] = Int32GetDatum(import->options.part);
	rows_arrays(&errors, values + ERRORS_ROWS);
	(void) plan_execute(&insert_errors, values, NULL, false);
}

static void
count_documents(Import *import)
{
	ImportCounts *counts = &import->counts;

	for (int32 i = 0; i < import->ndocuments; i++)
	{
		const ImportDocument *document = &import->documents[i];

		counts->documents++;
		counts->messages += document->added;
		counts->imported += document->state == IMPORT_IMPORTED;
		counts->extended += document->state == IMPORT_EXTENDED;
		counts->unchanged += document->state == IMPORT_UNCHANGED;
		counts->rejected += document->state == IMPORT_REJECTED;
	}
}

/*
 * Stores the groups of a round, in the current context.  They are looked up
 * twice: what is not there yet is made ready without a lock, and what nobody may
 * store takes none; under the lock nothing changes.
 */
static void
write_round(Import *import, ImportGroup *groups, int32 n)
{
	StoreCharge *locked;

	import_look_up(groups, n);
	reject_groups(import, groups, &n);
	import_prepare(import, groups, n);
	if (import->options.before_lock != NULL && import_is_partial(import))
		import->options.before_lock(import->options.before_lock_arg);
	locked = lock_accounts(groups, n);
	import_look_up(groups, n);
	if (import->options.places)
		import_read_places(import, groups, n);
	reject_groups(import, groups, &n);
	write_ready(groups, n, locked);
	write_groups(import, groups, n);
	write_changes(groups, n);
	if (import->options.places)
		import_write_places(import, groups, n);
}

/*
 * import_write
 *		Stores the batch.  Its documents stay readable until the next one is
 *		gathered.  Errors: those of import_reject and of the store.
 */
void
import_write(Import *import)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context =
		AllocSetContextCreate(import->context, "memory_ext round", ALLOCSET_DEFAULT_SIZES);
	ImportDocument **sorted;
	int32 n;

	SPI_connect();
	MemoryContextSwitchTo(import->batch_context);
	sorted = import_sort_documents(import, &n);
	while (n > 0)
	{
		ImportGroup *groups;
		int32 ngroups;

		MemoryContextSwitchTo(import->batch_context);
		groups = import_take_groups(sorted, &n, &ngroups);
		MemoryContextSwitchTo(context);
		write_round(import, groups, ngroups);
		MemoryContextReset(context);
		MemoryContextSwitchTo(import->batch_context);
		import_take_copies(import, sorted, &n);
	}
	write_errors(import);
	count_documents(import);
	SPI_finish();
	import->ndocuments = 0;
	import->batch_bytes = 0;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
