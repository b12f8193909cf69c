/*
 * open.c
 *		Opening a conversation: its row as a statement works on it.
 *
 * The caller holds the account's lock and an SPI connection.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "arguments.h"
#include "sorted.h"
#include "sql_text.h"
#include "statement.h"
#include "store_private.h"

/* Columns of STORE_CONVERSATION(S)_READ: the last are the owner, the id and the row's place. */
/* The columns of the statements that look conversations up; the first ones in the table's order. */
enum
{
	READ_CONVERSATION_ID,
	READ_NEXT_SEQ,
	READ_HEAD_SEQ,
	READ_MESSAGE_COUNT,
	READ_TOKEN_COUNT,
	READ_CONTENT_BYTES,
	READ_TAIL_BYTES,
	READ_CREATED_AT,
	READ_UPDATED_AT,
	READ_REVISION,
	READ_TAIL_COUNT,
	READ_BRANCHED,
	READ_ACCOUNT_ID,
	READ_DELETED_AT,
	READ_CTID,
	READ_NCOLUMNS
};

/* A column as plan_column and SPI_getbinval count. */
#define COLUMN(read) ((read) + 1)

void
store_unknown_conversation(const pg_uuid_t *id, const text *account_id)
{
	ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
					errmsg("conversation %s of account \"%s\" does not exist",
						   store_uuid_string(id), text_to_cstring(account_id)),
					errhint("See memory.conversations for the conversations of the account.")));
}

/* for a call that names no account: two are as many as all */
/* clang-format off */
static PlanStatement conversation_owners_statement = {
	"SELECT account_id"
	" FROM memory_store.conversations"
	" WHERE conversation_id" OP(=) "$1 LIMIT 2",
	1,
	{UUIDOID},
};
/* clang-format on */

/*
 * store_owner_of
 *		The account of a row that names none, in the current memory context: the
 *		session's, else that of the only conversation of this id.  Error: 22004.
 */
text *
store_owner_of(const pg_uuid_t *id)
{
	Datum values[1] = {UUIDPGetDatum(id)};
	bool isnull;
	uint64 owners;

	if (account_confined() != NULL)
		return account_check(NULL);
	owners = plan_execute(&conversation_owners_statement, values, NULL, false);
	if (owners != 1)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("account_id must not be null"),
				 owners == 0
					 ? errdetail("Conversation %s does not exist.", store_uuid_string(id))
					 : errdetail("Several accounts have a conversation %s.", store_uuid_string(id)),
				 errhint("Name the account; it can be left out only for an existing "
						 "conversation.")));
	return DatumGetTextPCopy(plan_column(0, 1, &isnull));
}

/* clang-format off */
static PlanStatement conversation_read_statement = {
	"SELECT conversation_id, next_seq, head_seq, message_count, token_count, content_bytes,"
	"   tail_bytes, created_at, updated_at, revision, tail_count, branched, account_id,"
	"   deleted_at, ctid"
	" FROM memory_store.conversations"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2",
	2,
	{UUIDOID, TEXTOID},
};
/* clang-format on */

/*
 * store_seen_revision
 *		The conversation's revision as the statement saw it, by its snapshot,
 *		which is the active one; 0: it did not see it.  An UPDATE's new values
 *		were made from what it saw, so a message that has a later revision must
 *		not take them: the other change would be lost.
 */
int64
store_seen_revision(StoreConversation *conversation)
{
	Datum values[2] = {UUIDPGetDatum(&conversation->id), PointerGetDatum(conversation->account_id)};

	if (plan_execute(&conversation_read_statement, values, NULL, true) != 1)
		return 0;
	return plan_int64(0, COLUMN(READ_REVISION));
}

/* An empty conversation that the store does not know; its run is in the current context. */
void
store_init_conversation(StoreConversation *conversation, StoreAccount *account, const pg_uuid_t *id)
{
	memset(conversation, 0, sizeof(*conversation));
	conversation->id = *id;
	conversation->account = account;
	conversation->account_id = account->account_id;
	conversation->revision = store_next_revision(account);
	ItemPointerSetInvalid(&conversation->place);
	conversation->next_seq = 1;
	conversation->last_seq = -1;
	conversation->fresh = true;
	store_run_init(&conversation->run);
}

static StoreConversation *
new_conversation(StoreAccount *account, const pg_uuid_t *id)
{
	StoreConversation *conversation = palloc(sizeof(StoreConversation));

	store_init_conversation(conversation, account, id);
	return conversation;
}

/* Whether the account has a conversation of this id, or had one; its lock is held. */
StoreStanding
store_conversation_standing(text *account_id, const pg_uuid_t *id)
{
	Datum values[2] = {UUIDPGetDatum(id), PointerGetDatum(account_id)};
	bool living;

	if (plan_execute(&conversation_read_statement, values, NULL, false) == 0)
		return STORE_UNKNOWN;
	(void) plan_column(0, COLUMN(READ_DELETED_AT), &living);
	return living ? STORE_LIVING : STORE_DELETED;
}

/* Takes over the columns of conversation_read_statement.  Error: 55000 deleted. */
static void
take_row(StoreConversation *conversation, HeapTuple row, TupleDesc descriptor)
{
	Datum values[READ_NCOLUMNS];
	bool nulls[READ_NCOLUMNS];

	heap_deform_tuple(row, descriptor, values, nulls);
	if (!nulls[READ_DELETED_AT])
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("conversation %s has been deleted", store_uuid_string(&conversation->id)),
				 errhint("Choose a new conversation_id.")));
	conversation->next_seq = DatumGetInt64(values[READ_NEXT_SEQ]);
	conversation->head_seq = DatumGetInt64(values[READ_HEAD_SEQ]);
	conversation->message_count = DatumGetInt64(values[READ_MESSAGE_COUNT]);
	conversation->token_count = DatumGetInt64(values[READ_TOKEN_COUNT]);
	conversation->content_bytes = DatumGetInt64(values[READ_CONTENT_BYTES]);
	conversation->tail_bytes = DatumGetInt64(values[READ_TAIL_BYTES]);
	conversation->tail_count = DatumGetInt32(values[READ_TAIL_COUNT]);
	conversation->branched = conversation->message_count > 0 && DatumGetBool(values[READ_BRANCHED]);
	conversation->created_at = DatumGetTimestampTz(values[READ_CREATED_AT]);
	conversation->updated_at = DatumGetTimestampTz(values[READ_UPDATED_AT]);
	conversation->has_times = true;
	conversation->exists = true;
	conversation->place = *(ItemPointer) DatumGetPointer(values[READ_CTID]);
	conversation->fresh = conversation->message_count == 0;
	conversation->charged_bytes = conversation->content_bytes;

	conversation->pinned = conversation->head_seq >= conversation->next_seq;
	if (!conversation->pinned)
		conversation->leaf = conversation->head_seq;
	else if (!conversation->fresh)
		conversation->leaf = store_last_message(conversation);
}

/*
 * store_open_conversation
 *		The conversation as a statement of this revision works on it, in the
 *		current memory context; the account's lock is held.  What other accounts
 *		have under this id is not looked at.  Errors: P0002 unknown, 55000
 *		deleted.
 */
StoreConversation *
store_open_conversation(StoreAccount *account, const pg_uuid_t *id, StoreOpenMode mode)
{
	StoreConversation *conversation = new_conversation(account, id);
	Datum values[2] = {UUIDPGetDatum(id), PointerGetDatum(account->account_id)};
	bool living;

	if (plan_execute(&conversation_read_statement, values, NULL, false) > 0)
	{
		(void) plan_column(0, COLUMN(READ_DELETED_AT), &living);
		if (mode == STORE_PROBE && !living)
			return NULL;
		take_row(conversation, SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
		return conversation;
	}
	if (mode == STORE_PROBE)
		return NULL;
	if (mode == STORE_EXISTING)
		store_unknown_conversation(id, account->account_id);
	return conversation;
}

/*
 * The keys of n conversations as two arrays, in the current memory context:
 * the statements that look conversations up by their whole key take them so.
 */
void
store_key_arrays(const StoreKey *keys, int n, Datum *arrays)
{
	Datum *ids = palloc(mul_size(Max(n, 1), sizeof(Datum)));
	Datum *accounts = palloc(mul_size(Max(n, 1), sizeof(Datum)));

	for (int i = 0; i < n; i++)
	{
		ids[i] = UUIDPGetDatum(&keys[i].id);
		accounts[i] = PointerGetDatum(keys[i].account_id);
	}
	arrays[0] = array_datum(UUIDOID, ids, NULL, n);
	arrays[1] = array_datum(TEXTOID, accounts, NULL, n);
	pfree(ids);
	pfree(accounts);
}

/* each by its key: OFFSET keeps the planner from reading other accounts' rows for a hash join */
/* clang-format off */
static PlanStatement conversations_read_statement = {
	"SELECT c.conversation_id, c.next_seq, c.head_seq, c.message_count, c.token_count,"
	"   c.content_bytes, c.tail_bytes, c.created_at, c.updated_at, c.revision, c.tail_count,"
	"   c.branched, c.account_id, c.deleted_at, c.ctid"
	" FROM unnest($1, $2) u (id, account)"
	" CROSS JOIN LATERAL (SELECT *, ctid"
	" FROM memory_store.conversations"
	" WHERE conversation_id" OP(=) "u.id AND account_id" OP(=) "u.account OFFSET 0) c"
	" ORDER BY c.account_id, c.conversation_id",
	2,
	{UUIDARRAYOID, TEXTARRAYOID},
};
/* clang-format on */

/*
 * store_read_existing
 *		Reads the rows of n conversations, of those that there are.  The caller
 *		holds the locks of their accounts, and frees the rows with
 *		SPI_freetuptable.
 */
void
store_read_existing(const StoreKey *keys, int n, ExistingConversations *existing)
{
	Datum values[2];

	store_key_arrays(keys, n, values);
	existing->count = plan_execute(&conversations_read_statement, values, NULL, false);
	existing->rows = SPI_tuptable;
	SPI_tuptable = NULL; /* kept while others come and go */
}

/* A key, and the description of the rows that it is compared with. */
typedef struct ExistingKey
{
	const pg_uuid_t *id;
	const text *account_id;
	TupleDesc descriptor;
} ExistingKey;

/* The order of the rows: that of the store's locks. */
static int
compare_existing(const void *key, const void *row)
{
	const ExistingKey *wanted = key;
	HeapTuple tuple = *(const HeapTuple *) row;
	bool isnull;
	Datum owner = SPI_getbinval(tuple, wanted->descriptor, COLUMN(READ_ACCOUNT_ID), &isnull);
	Datum id = SPI_getbinval(tuple, wanted->descriptor, COLUMN(READ_CONVERSATION_ID), &isnull);
	int order = account_compare(wanted->account_id, DatumGetTextPP(owner));

	return order != 0 ? order : memcmp(wanted->id, DatumGetUUIDP(id), UUID_LEN);
}

/* store_open_conversation, for a conversation that store_read_existing has looked up, or made. */
StoreConversation *
store_open_existing(StoreAccount *account, const pg_uuid_t *id,
					const ExistingConversations *existing)
{
	StoreConversation *conversation = new_conversation(account, id);
	TupleDesc descriptor = existing->rows->tupdesc;
	ExistingKey key = {id, account->account_id, descriptor};
	const HeapTuple *row = sorted_find(&key, existing->rows->vals, existing->count,
									   sizeof(HeapTuple), compare_existing);

	if (row != NULL)
		take_row(conversation, *row, descriptor);
	return conversation;
}
