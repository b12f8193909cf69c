/*
 * push.c
 *		memory.push: what a device has changed, as one statement.
 *
 * The account's locks are taken first, as by every statement, so that what is
 * compared stays as it is.  All rows are applied in one subtransaction, which is
 * what nearly every push needs; where one of them makes the store raise an
 * error, or a limit is exceeded by all of them together, it is taken back and
 * each row gets a subtransaction of its own: what it raises is its refusal.
 * A revision is taken only when something was written, so a push that was stored
 * already, and comes again because its answer was lost, changes nothing.
 *
 * Rows are applied conversation by conversation, and a message behind its
 * parent, whatever their order in the array.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "arguments.h"
#include "attempt.h"
#include "audit.h"
#include "memory_limits.h"
#include "sorted.h"
#include "sync.h"

#define ROW_HINT                                                                                   \
	"A row is {\"assumedMasterState\": document or absent, \"newDocumentState\": document}."
#define ID_HINT "Choose another id; a UUID of version 4 or 7 is best."

/* ---- rows in ---- */

/* An object under a key of the row; false: there is something else. */
static bool
read_document(JsonbContainer *row, const char *key, JsonbContainer **document)
{
	JsonbValue value;

	*document = NULL;
	if (!sync_get(row, key, &value) || value.type == jbvNull)
		return true;
	if (value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
		return false;
	*document = value.val.binary.data;
	return true;
}

/* The id, and the conversation that the document is of, or is; false: refused. */
static bool
read_ids(Push *push, PushRow *row)
{
	const char *key = push->collection == SYNC_CONVERSATIONS ? "id" : "conversation_id";
	JsonbValue value;

	if (!sync_get(row->document, "id", &value) || value.type != jbvString ||
		value.val.string.len == 0)
	{
		push_refuse(push, row, ERRCODE_INVALID_PARAMETER_VALUE,
					"a document's id must be a string that is not empty", NULL, ID_HINT);
		return false;
	}
	row->id = pnstrdup(value.val.string.val, value.val.string.len);
	row->id_length = value.val.string.len;
	if (row->id_length > MEMORY_MAX_MESSAGE_ID_BYTES)
	{
		push_refuse(push, row, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
					psprintf("id has %d bytes, more than the limit of %d", row->id_length,
							 MEMORY_MAX_MESSAGE_ID_BYTES),
					NULL, ID_HINT);
		return false;
	}
	if (!sync_get(row->document, key, &value) || value.type != jbvString ||
		!sync_read_uuid(value.val.string.val, value.val.string.len, &row->conversation_id))
	{
		push_refuse(push, row, ERRCODE_INVALID_TEXT_REPRESENTATION,
					psprintf("%s must be a UUID", key), NULL, ID_HINT);
		return false;
	}
	return true;
}

/* One row; what is wrong with it is its refusal. */
static void
read_row(Push *push, PushRow *row, const JsonbValue *element)
{
	JsonbContainer *object = element->type == jbvBinary ? element->val.binary.data : NULL;
	JsonbValue deleted;

	if (object == NULL || !JsonContainerIsObject(object) ||
		!read_document(object, "newDocumentState", &row->document) ||
		!read_document(object, "assumedMasterState", &row->assumed) || row->document == NULL)
	{
		push_refuse(push, row, ERRCODE_INVALID_PARAMETER_VALUE, "the row has no document", NULL,
					ROW_HINT);
		return;
	}
	if (!read_ids(push, row))
		return;
	if (sync_depth_exceeds(object, SYNC_MAX_DEPTH))
	{
		push_refuse(push, row, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
					psprintf("the row is nested deeper than the limit of %d", SYNC_MAX_DEPTH), NULL,
					"Keep a part of the metadata as text.");
		return;
	}
	if (sync_get(row->document, "_deleted", &deleted))
		row->deleted = deleted.type == jbvBool && deleted.val.boolean;
}

/* The array's rows.  Errors: 22004, 22023, 54000. */
static void
read_rows(Push *push, Jsonb *rows)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue element;
	int32 n = 0;

	if (!JB_ROOT_IS_ARRAY(rows) || JB_ROOT_IS_SCALAR(rows))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("rows must be a JSON array"), errhint(ROW_HINT)));
	if (JB_ROOT_COUNT(rows) > SYNC_MAX_DOCUMENTS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a push has %u rows, more than the limit of %d",
							   (unsigned) JB_ROOT_COUNT(rows), SYNC_MAX_DOCUMENTS),
						errhint("Push them in several parts.")));
	push->rows = palloc0(mul_size(Max(JB_ROOT_COUNT(rows), 1), sizeof(PushRow)));
	iterator = JsonbIteratorInit(&rows->root);
	while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		push->rows[n].number = n;
		read_row(push, &push->rows[n], &element);
		n++;
	}
	push->count = n;
}

/* ---- their order ---- */

static int
compare_ids(const PushRow *a, const char *id, int length)
{
	int order = memcmp(a->id, id, Min(a->id_length, length));

	return order != 0 ? order : a->id_length - length;
}

/* By conversation and id, then as they came. */
static int
compare_rows(const void *a, const void *b)
{
	const PushRow *left = *(PushRow *const *) a;
	const PushRow *right = *(PushRow *const *) b;
	int order = memcmp(&left->conversation_id, &right->conversation_id, UUID_LEN);

	if (order == 0)
		order = compare_ids(left, right->id, right->id_length);
	return order != 0 ? order : left->number - right->number;
}

static int
compare_numbers(const void *a, const void *b)
{
	return (*(PushRow *const *) a)->number - (*(PushRow *const *) b)->number;
}

static int
compare_with_row(const void *id, const void *row)
{
	const JsonbValue *wanted = id;

	return -compare_ids(*(PushRow *const *) row, wanted->val.string.val, wanted->val.string.len);
}

/*
 * The row of the parent, of n rows of one conversation in order of id, the first
 * one if it is pushed several times; NULL: it is not pushed.
 */
static PushRow *
find_parent(PushRow **sorted, int32 n, const PushRow *row)
{
	JsonbValue parent;
	PushRow **found;

	if (row->deleted || !sync_get(row->document, "parent", &parent) || parent.type != jbvString)
		return NULL;
	found = sorted_find(&parent, sorted, n, sizeof(PushRow *), compare_with_row);
	return found == NULL ? NULL : *found;
}

/*
 * Gives the rows of one conversation their places, as they came, but each behind
 * its parent.  A circle is broken somewhere: one of its rows will be refused.
 */
static int32
place_rows(PushRow **sorted, int32 n, PushRow **order)
{
	PushRow **came = palloc(mul_size(n, sizeof(PushRow *)));
	PushRow **waiting = palloc(mul_size(n, sizeof(PushRow *)));
	int32 placed = 0;

	memcpy(came, sorted, n * sizeof(PushRow *));
	qsort(came, n, sizeof(PushRow *), compare_numbers);
	for (int32 i = 0; i < n; i++)
	{
		int32 depth = 0;

		for (PushRow *row = came[i]; row != NULL && !row->visited;
			 row = find_parent(sorted, n, row))
		{
			row->visited = true;
			waiting[depth++] = row;
		}
		while (depth > 0)
			order[placed++] = waiting[--depth];
	}
	pfree(came);
	pfree(waiting);
	return placed;
}

/* Puts the rows that were not refused in the order in which they are applied. */
static int32
order_rows(Push *push)
{
	PushRow **sorted = palloc(mul_size(Max(push->count, 1), sizeof(PushRow *)));
	int32 n = 0;

	push->order = palloc(mul_size(Max(push->count, 1), sizeof(PushRow *)));
	for (int32 i = 0; i < push->count; i++)
		if (push->rows[i].refusal == NULL)
			sorted[n++] = &push->rows[i];
	qsort(sorted, n, sizeof(PushRow *), compare_rows);
	for (int32 i = 0; i < n;)
	{
		int32 first = i++;

		CHECK_FOR_INTERRUPTS();
		while (i < n &&
			   memcmp(&sorted[i]->conversation_id, &sorted[first]->conversation_id, UUID_LEN) == 0)
			i++;
		(void) place_rows(sorted + first, i - first, push->order + first);
	}
	pfree(sorted);
	return n;
}

/* ---- applying them ---- */

/* What a subtransaction works on. */
typedef struct Attempt
{
	Push *push;
	PushRow **rows;
	int32 count;
} Attempt;

static void
apply_all(void *arg)
{
	Attempt *attempt = arg;
	Push *push = attempt->push;

	push_apply(push, attempt->rows, attempt->count);
	push->account->advanced = push->changed;
	store_end_account(push->account);
}

/* The same for one row, whose share of the subscription is saved with all others' in the end. */
static void
apply_one(void *arg)
{
	Attempt *attempt = arg;
	StoreAccount *account = attempt->push->account;

	push_apply(attempt->push, attempt->rows, 1);
	account->advanced = false;
	store_end_account(account);
	memset(&account->amounts, 0, sizeof(account->amounts));
}

/* What concerns the whole statement, rather than a row, ends it. */
static void
rethrow_general(ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:   /* the client repeats it */
		case ERRCODE_INSUFFICIENT_RESOURCES: /* memory, disk */
		case ERRCODE_OPERATOR_INTERVENTION:  /* cancelled, shut down */
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			ReThrowError(error);
	}
}

static void
refuse_with_error(Push *push, PushRow *row, const ErrorData *error)
{
	row->conflict = row->stored = false;
	push_refuse(push, row, error->sqlerrcode, error->message, error->detail, error->hint);
}

/* Each row by itself; those that raise an error are refused. */
static void
apply_each(Push *push, PushRow **rows, int32 n)
{
	StoreAccount *account = push->account;
	bool any = false;

	account->shared = true;
	for (int32 i = 0; i < n; i++)
	{
		QuotaHold hold = {0};
		QuotaAmounts amounts = account->amounts;
		Attempt attempt = {push, rows + i, 1};
		ErrorData *error;

		CHECK_FOR_INTERRUPTS();
		if (account->hold != NULL)
			hold = *account->hold;
		push->changed = false;
		error = attempt_run(apply_one, &attempt);
		if (error == NULL)
		{
			any |= push->changed;
			continue;
		}
		rethrow_general(error);
		refuse_with_error(push, rows[i], error);
		account->amounts = amounts;
		if (account->hold != NULL)
			*account->hold = hold;
	}
	push->changed = any;
	if (any)
		store_save_revision(account);
	if (account->hold != NULL && any)
		quota_save(account->hold);
}

/* Applies all rows that were not refused when they were read. */
static void
apply_rows(Push *push)
{
	int32 n = order_rows(push);
	Attempt attempt = {push, push->order, n};
	QuotaHold hold = {0};
	StoreAccount account;
	ErrorData *error;

	if (n == 0)
		return;
	push->account = store_hold_for_change(push->account_id);
	account = *push->account;
	if (account.hold != NULL)
		hold = *account.hold;
	error = attempt_run(apply_all, &attempt);
	if (error == NULL)
		return;
	rethrow_general(error);

	/* as it was before */
	*push->account = account;
	if (account.hold != NULL)
		*account.hold = hold;
	push->changed = false;
	for (int32 i = 0; i < n; i++)
	{
		push->order[i]->conflict = push->order[i]->stored = push->order[i]->added = false;
		push->order[i]->refusal = NULL;
	}
	if (n == 1)
		refuse_with_error(push, push->order[0], error);
	else
		apply_each(push, push->order, n);
}

/* ---- the answer ---- */

/*
 * What is stored of the rows that are in conflict, or else of those that agree.
 * An answer has its limits: of the latter some may be left out, which come with
 * the next pull.
 */
static void
add_documents(Push *push, JsonbParseState **state, StoreFeed *feed, bool conflicts)
{
	SyncDocuments documents;

	sync_put_key(state, conflicts ? "conflicts" : "stored");
	sync_begin_documents(&documents, *state, feed);
	for (int32 i = 0; i < push->count; i++)
	{
		PushRow *row = &push->rows[i];

		CHECK_FOR_INTERRUPTS();
		if (row->refusal != NULL || !(conflicts ? row->conflict : row->stored && !row->conflict))
			continue;
		if (documents.bytes < SYNC_PAGE_BYTES)
			push_add_stored(push, row, &documents);
		else if (conflicts)
			push_refuse(push, row, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
						"the documents in conflict are more than an answer holds", NULL,
						"Push it again, together with fewer others.");
	}
	*state = sync_end_documents(&documents);
}

static void
put_optional(JsonbParseState **state, const char *key, const char *value)
{
	sync_put_string(state, key, value, value == NULL ? 0 : strlen(value));
}

static void
add_refusals(Push *push, JsonbParseState **state)
{
	sync_put_key(state, "refusals");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int32 i = 0; i < push->count; i++)
	{
		const PushRow *row = &push->rows[i];

		if (row->refusal == NULL)
			continue;
		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		sync_put_number(state, "row", row->number);
		put_optional(state, "id", row->id);
		put_optional(state, "sqlstate", unpack_sql_state(row->refusal->sqlstate));
		put_optional(state, "message", row->refusal->message);
		put_optional(state, "detail", row->refusal->detail);
		put_optional(state, "hint", row->refusal->hint);
		pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

PG_FUNCTION_INFO_V1(memory_push);

/*
 * memory_push(account_id text, collection text, rows jsonb) → jsonb
 *		Stores what a device has changed: rows of {assumedMasterState,
 *		newDocumentState}.  The answer has the stored documents of those rows that
 *		are in conflict with them, those of the others, and what was refused, by
 *		row, with SQLSTATE, message, detail and hint.  Nothing is stored twice.
 *		Errors, of the call as a whole: 22004, 22023 not an array, 42501, 54000
 *		too many rows.
 */
Datum
memory_push(PG_FUNCTION_ARGS)
{
	Push push = {0};
	JsonbParseState *state = NULL;
	StoreFeed *feed;

	push.account_id = argument_account(fcinfo, 0);
	push.collection = sync_collection(fcinfo, 1);
	argument_require(fcinfo, 2, "rows", ROW_HINT);
	/* the statement, being a SELECT, would be called one that only reads */
	PreventCommandIfReadOnly("memory.push()");

	audit_access(AUDIT_CONVERSATIONS, ACL_INSERT | ACL_UPDATE | ACL_DELETE);
	audit_access(AUDIT_MESSAGES, ACL_INSERT | ACL_UPDATE | ACL_DELETE);
	sync_begin_answer();
	push.context = CurrentMemoryContext;
	read_rows(&push, PG_GETARG_JSONB_P(2));
	apply_rows(&push);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	feed = push_open_feed(&push);
	add_documents(&push, &state, feed, true);
	add_documents(&push, &state, feed, false);
	push_close_feed(feed);
	add_refusals(&push, &state);
	return sync_end_answer(&state);
}
