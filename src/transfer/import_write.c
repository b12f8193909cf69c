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
#include "import_private.h"
#include "statement.h"

/* ---- rows of a statement, as arrays ---- */

#define ROWS_MAX_COLUMNS 12

typedef struct Rows
{
	int ncolumns;
	const Oid *types;
	int32 count;
	int32 space;
	Datum *values[ROWS_MAX_COLUMNS];
	bool *nulls[ROWS_MAX_COLUMNS];
} Rows;

static void
rows_add(Rows *rows, const Datum *values, const bool *nulls)
{
	if (rows->count == rows->space)
	{
		int32 space = rows->space == 0 ? 256 : rows->space * 2;

		for (int i = 0; i < rows->ncolumns; i++)
		{
			Size size = mul_size(space, sizeof(Datum));

			rows->values[i] = rows->space == 0 ? palloc(size) : repalloc(rows->values[i], size);
			rows->nulls[i] = rows->space == 0 ? palloc(space) : repalloc(rows->nulls[i], space);
		}
		rows->space = space;
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
	int dimensions[1] = {rows->count};
	int bounds[1] = {1};

	for (int i = 0; i < rows->ncolumns; i++)
	{
		int16 length;
		bool by_value;
		char align;

		get_typlenbyvalalign(rows->types[i], &length, &by_value, &align);
		arrays[i] =
			PointerGetDatum(construct_md_array(rows->values[i], rows->nulls[i], 1, dimensions,
											   bounds, rows->types[i], length, by_value, align));
	}
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

static const Oid conversation_types[] = {UUIDOID, TEXTOID, TEXTOID,        JSONBOID,
										 BOOLOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
static PlanStatement insert_conversations =
	{"INSERT INTO memory.conversations (conversation_id, account_id, title, metadata, archived,"
	 " head_seq, created_at, updated_at) SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)",
	 8,
	 {UUIDARRAYOID, TEXTARRAYOID, TEXTARRAYOID, JSONBARRAYOID, BOOLARRAYOID, INT8ARRAYOID,
	  TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID}};

static const Oid message_types[] = {UUIDOID, TEXTOID, INT8OID,        INT8OID, TEXTOID, TEXTOID,
									TEXTOID, INT4OID, TIMESTAMPTZOID, TEXTOID, JSONBOID};
static PlanStatement insert_messages =
	{"INSERT INTO memory.messages (conversation_id, account_id, seq, parent_seq, role, content,"
	 " model, tokens, created_at, message_id, metadata)"
	 " SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
	 11,
	 {UUIDARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	  TEXTARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, JSONBARRAYOID}};

/*
 * What a document that has grown says of its conversation: the head, what its
 * format keeps in metadata, and the title if there is none.  $4 is
 * {"format": …}, $5 the format.
 */
static PlanStatement update_conversation =
	{"UPDATE memory.conversations SET head_seq = COALESCE($3, head_seq),"
	 " metadata = CASE WHEN $4 IS NULL THEN metadata"
	 " ELSE COALESCE(metadata, '{}') OPERATOR(pg_catalog.||) $4 END,"
	 " title = COALESCE(title, $6), updated_at = GREATEST(updated_at, $7)"
	 " WHERE conversation_id OPERATOR(pg_catalog.=) $1 AND account_id OPERATOR(pg_catalog.=) $2"
	 " AND (head_seq OPERATOR(pg_catalog.<>) $3 OR ($6 IS NOT NULL AND title IS NULL)"
	 " OR COALESCE((metadata OPERATOR(pg_catalog.->) $5) OPERATOR(pg_catalog.<>)"
	 " ($4 OPERATOR(pg_catalog.->) $5), $4 IS NOT NULL) OR updated_at OPERATOR(pg_catalog.<) $7)",
	 7,
	 {UUIDOID, TEXTOID, INT8OID, JSONBOID, TEXTOID, TEXTOID, TIMESTAMPTZOID}};

/* Messages that take the place of stored ones; tokens are estimated where none are given. */
static const Oid change_types[] = {UUIDOID, TEXTOID, INT8OID, TEXTOID,
								   TEXTOID, TEXTOID, INT4OID, JSONBOID};
static PlanStatement change_messages =
	{"UPDATE memory.messages m SET role = u.role, content = u.content, model = u.model,"
	 " tokens = COALESCE(u.tokens, m.tokens), metadata = u.metadata"
	 " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)"
	 " u (conversation_id, account_id, seq, role, content, model, tokens, metadata)"
	 " WHERE m.conversation_id OPERATOR(pg_catalog.=) u.conversation_id"
	 " AND m.account_id OPERATOR(pg_catalog.=) u.account_id"
	 " AND m.seq OPERATOR(pg_catalog.=) u.seq",
	 8,
	 {UUIDARRAYOID, TEXTARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	  INT4ARRAYOID, JSONBARRAYOID}};

/*
 * A message may be later than its document says that it was changed last; the
 * store takes the later time over, and is told the document's.
 */
static const Oid time_types[] = {UUIDOID, TEXTOID, TIMESTAMPTZOID};
static PlanStatement restore_times =
	{"UPDATE memory.conversations c SET updated_at = t.updated_at"
	 " FROM unnest($1, $2, $3) t (conversation_id, account_id, updated_at)"
	 " WHERE c.conversation_id OPERATOR(pg_catalog.=) t.conversation_id"
	 " AND c.account_id OPERATOR(pg_catalog.=) t.account_id"
	 " AND c.updated_at OPERATOR(pg_catalog.<>) t.updated_at",
	 3,
	 {UUIDARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID}};

/* What the store knows of conversations; OFFSET as in STORE_CONVERSATIONS_READ. */
static PlanStatement look_up =
	{"SELECT c.conversation_id, c.account_id, c.next_seq, c.head_seq, c.deleted_at IS NOT NULL"
	 " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) u (id, account)"
	 " CROSS JOIN LATERAL (SELECT * FROM memory_store.conversations"
	 " WHERE conversation_id OPERATOR(pg_catalog.=) u.id"
	 " AND account_id OPERATOR(pg_catalog.=) u.account OFFSET 0) c",
	 2,
	 {UUIDARRAYOID, TEXTARRAYOID}};

static const Oid error_types[] = {INT8OID, INT8OID, INT8OID, TEXTOID, UUIDOID,
								  TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID};
static PlanStatement insert_errors =
	{"INSERT INTO memory_store.job_errors (job_id, part, document, line, byte_offset, account_id,"
	 " conversation_id, reason, path, message, excerpt, rejected, rejected_at)"
	 " SELECT $1, $2, e.*, pg_catalog.clock_timestamp()"
	 " FROM unnest($3, $4, $5, $6, $7, $8, $9, $10, $11, $12) e",
	 12,
	 {INT8OID, INT4OID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, UUIDARRAYOID,
	  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLARRAYOID}};

/* ---- the batch in order ---- */

static int
compare_conversations(const ImportDocument *left, const ImportDocument *right)
{
	int order = account_compare(left->account_id, right->account_id);

	return order != 0 ? order : memcmp(&left->id, &right->id, UUID_LEN);
}

static int
compare_documents(const void *a, const void *b)
{
	const ImportDocument *left = *(ImportDocument *const *) a;
	const ImportDocument *right = *(ImportDocument *const *) b;
	int order = compare_conversations(left, right);

	return order != 0 ? order : (left > right) - (left < right);
}

/* The batch's documents that are to be stored, in order. */
static ImportDocument **
sort_documents(Import *import, int32 *n)
{
	ImportDocument **sorted = palloc(mul_size(Max(import->ndocuments, 1), sizeof(*sorted)));

	*n = 0;
	for (int32 i = 0; i < import->ndocuments; i++)
		if (import->documents[i].state != IMPORT_REJECTED)
			sorted[(*n)++] = &import->documents[i];
	qsort(sorted, *n, sizeof(*sorted), compare_documents);
	return sorted;
}

/*
 * The groups of a round: of each conversation the first document that is left,
 * or as many as are one message each.  What is left moves to the front of the
 * array, and n becomes its number.
 */
static ImportGroup *
take_groups(ImportDocument **sorted, int32 *n, int32 *ngroups)
{
	ImportGroup *groups = palloc0(mul_size(*n, sizeof(ImportGroup)));
	ImportDocument **taken = palloc(mul_size(*n, sizeof(*taken)));
	int32 left = 0;

	*ngroups = 0;
	for (int32 i = 0; i < *n;)
	{
		ImportGroup *group = &groups[(*ngroups)++];
		ImportDocument *first = sorted[i];

		group->documents = &taken[i];
		for (; i < *n && compare_conversations(first, sorted[i]) == 0; i++)
		{
			bool together = first->conversation.partial && sorted[i]->conversation.partial &&
							&taken[i] == group->documents + group->ndocuments;

			if (sorted[i] == first || together)
				group->documents[group->ndocuments++] = sorted[i];
			else
				sorted[left++] = sorted[i];
		}
	}
	*n = left;
	return groups;
}

/* ---- what is there already ---- */

/* The keys of the groups' conversations, as arrays. */
void
import_key_arrays(const ImportGroup *groups, int32 n, Datum *arrays)
{
	StoreKey *keys = palloc(mul_size(Max(n, 1), sizeof(StoreKey)));

	for (int32 i = 0; i < n; i++)
	{
		keys[i].id = groups[i].documents[0]->id;
		keys[i].account_id = groups[i].documents[0]->account_id;
	}
	store_key_arrays(keys, n, arrays);
	pfree(keys);
}

/* The group of a conversation, of groups in order of account and conversation; NULL: none. */
ImportGroup *
import_find_group(ImportGroup *groups, int32 n, const pg_uuid_t *id, const text *account_id)
{
	int32 low = 0;
	int32 high = n;

	while (low < high)
	{
		int32 middle = low + (high - low) / 2;
		const ImportDocument *document = groups[middle].documents[0];
		int order = account_compare(document->account_id, account_id);

		if (order == 0)
			order = memcmp(&document->id, id, UUID_LEN);
		if (order == 0)
			return &groups[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Takes a row of look_up over into the group of its conversation. */
static void
take_stored(ImportGroup *groups, int32 n, uint64 row)
{
	HeapTuple tuple = SPI_tuptable->vals[row];
	TupleDesc descriptor = SPI_tuptable->tupdesc;
	bool isnull;
	pg_uuid_t *id = DatumGetUUIDP(SPI_getbinval(tuple, descriptor, 1, &isnull));
	text *account_id = DatumGetTextPP(SPI_getbinval(tuple, descriptor, 2, &isnull));
	ImportGroup *group = import_find_group(groups, n, id, account_id);

	if (group == NULL)
		elog(ERROR, "a conversation that was not asked for");
	group->exists = true;
	group->next_seq = DatumGetInt64(SPI_getbinval(tuple, descriptor, 3, &isnull));
	group->head_seq = DatumGetInt64(SPI_getbinval(tuple, descriptor, 4, &isnull));
	group->deleted = DatumGetBool(SPI_getbinval(tuple, descriptor, 5, &isnull));
}

/*
 * Asks the store for the conversations of n groups, which are in order of
 * account and conversation.  What was made ready of one that is there by now is
 * not used.
 */
static void
look_up_groups(ImportGroup *groups, int32 n)
{
	Datum keys[2];
	uint64 rows;

	if (n == 0)
		return;
	for (int32 i = 0; i < n; i++)
	{
		groups[i].exists = groups[i].deleted = false;
		groups[i].next_seq = 1;
		groups[i].head_seq = 0;
	}
	import_key_arrays(groups, n, keys);
	rows = plan_execute(&look_up, keys, NULL, false);
	for (uint64 i = 0; i < rows; i++)
		take_stored(groups, n, i);
	for (int32 i = 0; i < n; i++)
		if (groups[i].exists)
			groups[i].ready = NULL;
}

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

/* Earliest and latest time of the messages that are to be stored; false: none has one. */
bool
import_message_times(const ImportGroup *group, TimestampTz *first, TimestampTz *last)
{
	bool any = false;

	for (int32 i = 0; i < group->nrows; i++)
	{
		const TransferMessage *message = group->rows[i].message;

		if (!message->has_created_at)
			continue;
		*first = any ? Min(*first, message->created_at) : message->created_at;
		*last = any ? Max(*last, message->created_at) : message->created_at;
		any = true;
	}
	return any;
}

static void
add_conversation(Rows *rows, ImportGroup *group)
{
	ImportDocument *document = group->documents[0];
	const TransferConversation *conversation = &document->conversation;
	TimestampTz first = 0;
	TimestampTz last = 0;
	bool has_times = import_message_times(group, &first, &last);
	Datum values[8];
	bool nulls[8] = {0};

	if (conversation->has_created_at)
		first = conversation->created_at;
	if (conversation->has_updated_at)
		last = conversation->updated_at;
	values[0] = UUIDPGetDatum(&document->id);
	values[1] = PointerGetDatum(document->account_id);
	values[2] = text_datum(&conversation->title, &nulls[2]);
	values[3] = PointerGetDatum(conversation->metadata);
	nulls[3] = conversation->metadata == NULL;
	values[4] = BoolGetDatum(conversation->archived);
	values[5] = Int64GetDatum(group->new_head);
	nulls[5] = group->new_head == 0;
	values[6] = TimestampTzGetDatum(first);
	nulls[6] = !has_times && !conversation->has_created_at;
	values[7] = TimestampTzGetDatum(last);
	nulls[7] = !has_times && !conversation->has_updated_at;
	rows_add(rows, values, nulls);
}

/* A new conversation whose messages would change its updated_at. */
static void
add_times(Rows *rows, const ImportGroup *group)
{
	const ImportDocument *document = group->documents[0];
	TimestampTz first;
	TimestampTz last;
	Datum values[3];
	bool nulls[3] = {0};

	if (!document->conversation.has_updated_at || !import_message_times(group, &first, &last) ||
		last <= document->conversation.updated_at)
		return;
	values[0] = UUIDPGetDatum(&document->id);
	values[1] = PointerGetDatum(document->account_id);
	values[2] = TimestampTzGetDatum(document->conversation.updated_at);
	rows_add(rows, values, nulls);
}

static void
add_message(Rows *rows, const ImportRow *row)
{
	const ImportDocument *document = row->document;
	const TransferMessage *message = row->message;
	Datum values[11];
	bool nulls[11] = {0};

	values[0] = UUIDPGetDatum(&document->id);
	values[1] = PointerGetDatum(document->account_id);
	values[2] = Int64GetDatum(row->seq);
	values[3] = Int64GetDatum(row->parent_seq);
	nulls[3] = row->parent_seq < 0;
	values[4] = text_datum(&message->role, &nulls[4]);
	values[5] = text_datum(&message->content, &nulls[5]);
	values[6] = text_datum(&message->model, &nulls[6]);
	values[7] = Int32GetDatum(message->tokens);
	nulls[7] = message->tokens < 0;
	values[8] = TimestampTzGetDatum(message->row_time);
	nulls[8] = !message->has_row_time; /* then it is the time of the import */
	values[9] = text_datum(&message->message_id, &nulls[9]);
	values[10] = PointerGetDatum(message->metadata);
	nulls[10] = message->metadata == NULL;
	rows_add(rows, values, nulls);
}

static void
add_change(Rows *rows, const ImportRow *row)
{
	const TransferMessage *message = row->message;
	Datum values[8];
	bool nulls[8] = {0};

	values[0] = UUIDPGetDatum(&row->document->id);
	values[1] = PointerGetDatum(row->document->account_id);
	values[2] = Int64GetDatum(row->seq);
	values[3] = text_datum(&message->role, &nulls[3]);
	values[4] = text_datum(&message->content, &nulls[4]);
	values[5] = text_datum(&message->model, &nulls[5]);
	values[6] = Int32GetDatum(message->tokens);
	nulls[6] = message->tokens < 0;
	values[7] = PointerGetDatum(message->metadata);
	nulls[7] = message->metadata == NULL;
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
	Rows changes = {.ncolumns = 8, .types = change_types};

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

/* A conversation that a whole document has extended. */
static void
extend_conversation(const ImportGroup *group)
{
	const ImportDocument *document = group->documents[0];
	Jsonb *metadata = format_metadata(document);
	Datum values[7];
	char nulls[] = "       ";
	bool no_title;

	values[0] = UUIDPGetDatum(&document->id);
	values[1] = PointerGetDatum(document->account_id);
	values[2] = Int64GetDatum(group->new_head);
	nulls[2] = group->new_head == 0 ? 'n' : ' ';
	values[3] = PointerGetDatum(metadata);
	nulls[3] = metadata == NULL ? 'n' : ' ';
	values[4] = CStringGetTextDatum(document->format->name);
	values[5] = text_datum(&document->conversation.title, &no_title);
	nulls[5] = no_title ? 'n' : ' ';
	values[6] = TimestampTzGetDatum(document->conversation.updated_at);
	nulls[6] = document->conversation.has_updated_at ? ' ' : 'n';
	(void) plan_execute(&update_conversation, values, nulls, false);
}

static void
write_groups(Import *import, ImportGroup *groups, int32 n)
{
	Rows conversations = {.ncolumns = 8, .types = conversation_types};
	Rows messages = {.ncolumns = 11, .types = message_types};
	Rows times = {.ncolumns = 3, .types = time_types};

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

static void
add_error(Rows *rows, const ImportDocument *document)
{
	Datum values[10];
	bool nulls[10] = {0};

	values[0] = Int64GetDatum((int64) document->number);
	values[1] = Int64GetDatum((int64) document->line);
	values[2] = Int64GetDatum((int64) document->offset);
	values[3] = PointerGetDatum(document->account_id);
	nulls[3] = document->account_id == NULL;
	values[4] = UUIDPGetDatum(&document->id);
	nulls[4] = !document->has_id;
	values[5] = CStringGetTextDatum(transfer_reason_name(document->problem.reason));
	values[6] = CStringGetTextDatum(document->problem.path);
	values[7] = CStringGetTextDatum(problem_message(&document->problem));
	values[8] = CStringGetTextDatum(document->excerpt);
	values[9] = BoolGetDatum(document->state == IMPORT_REJECTED);
	rows_add(rows, values, nulls);
}

static void
write_errors(Import *import)
{
	Rows errors = {.ncolumns = lengthof(error_types), .types = error_types};
	Datum values[2 + lengthof(error_types)];

	for (int32 i = 0; i < import->ndocuments; i++)
		if (import->documents[i].state == IMPORT_REJECTED ||
			import->documents[i].problem.mended > 0)
			add_error(&errors, &import->documents[i]);
	if (errors.count == 0 || import->options.job_id == 0)
		return;
	values[0] = Int64GetDatum(import->options.job_id);
	values[1] = Int32GetDatum(import->options.part);
	rows_arrays(&errors, values + 2);
	(void) plan_execute(&insert_errors, values, NULL, false);
}

/* The documents that are to be stored as copies, behind those that are left. */
static void
take_copies(Import *import, ImportDocument **sorted, int32 *n)
{
	for (int32 i = 0; i < import->ndocuments; i++)
	{
		ImportDocument *document = &import->documents[i];

		if (!document->again)
			continue;
		document->again = false;
		import_name_copy(document);
		sorted[(*n)++] = document;
	}
	qsort(sorted, *n, sizeof(*sorted), compare_documents);
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

	look_up_groups(groups, n);
	reject_groups(import, groups, &n);
	import_prepare(import, groups, n);
	if (import->options.before_lock != NULL && import_is_partial(import))
		import->options.before_lock(import->options.before_lock_arg);
	locked = lock_accounts(groups, n);
	look_up_groups(groups, n);
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
	sorted = sort_documents(import, &n);
	while (n > 0)
	{
		ImportGroup *groups;
		int32 ngroups;

		MemoryContextSwitchTo(import->batch_context);
		groups = take_groups(sorted, &n, &ngroups);
		MemoryContextSwitchTo(context);
		write_round(import, groups, ngroups);
		MemoryContextReset(context);
		MemoryContextSwitchTo(import->batch_context);
		take_copies(import, sorted, &n);
	}
	write_errors(import);
	count_documents(import);
	SPI_finish();
	import->ndocuments = 0;
	import->batch_bytes = 0;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
