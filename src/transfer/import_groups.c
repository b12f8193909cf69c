/*
 * import_groups.c
 *		A batch's documents by conversation, in the order of the store's locks,
 *		and what the store has of these conversations.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "account.h"
#include "import_private.h"
#include "sorted.h"
#include "sql_text.h"
#include "statement.h"

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
ImportDocument **
import_sort_documents(Import *import, int32 *n)
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
ImportGroup *
import_take_groups(ImportDocument **sorted, int32 *n, int32 *ngroups)
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

/* The documents that are to be stored as copies, behind those that are left. */
void
import_take_copies(Import *import, ImportDocument **sorted, int32 *n)
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

static int
compare_with_group(const void *key, const void *group)
{
	const StoreKey *wanted = key;
	const ImportDocument *document = ((const ImportGroup *) group)->documents[0];
	int order = account_compare(wanted->account_id, document->account_id);

	return order != 0 ? order : memcmp(&wanted->id, &document->id, UUID_LEN);
}

/* The group of a conversation, of groups in order of account and conversation; NULL: none. */
ImportGroup *
import_find_group(ImportGroup *groups, int32 n, const pg_uuid_t *id, text *account_id)
{
	StoreKey key;

	key.id = *id;
	key.account_id = account_id;
	return sorted_find(&key, groups, n, sizeof(ImportGroup), compare_with_group);
}

/*
 * What the store knows of conversations; OFFSET keeps the planner from turning
 * the look at each one into a join.
 */
/* clang-format off */
enum
{
	LOOK_CONVERSATION_ID = 1, LOOK_ACCOUNT_ID, LOOK_NEXT_SEQ, LOOK_HEAD_SEQ, LOOK_DELETED
};
static PlanStatement look_up = {
	"SELECT c.conversation_id, c.account_id, c.next_seq, c.head_seq, c.deleted_at IS NOT NULL"
	" FROM unnest($1, $2) u (id, account)"
	" CROSS JOIN LATERAL ("
	"   SELECT * FROM memory_store.conversations"
	"   WHERE conversation_id" OP(=) "u.id AND account_id" OP(=) "u.account"
	"   OFFSET 0) c",
	2, {UUIDARRAYOID, TEXTARRAYOID}};
/* clang-format on */

/* Takes a row of look_up over into the group of its conversation. */
static void
take_stored(ImportGroup *groups, int32 n, uint64 row)
{
	HeapTuple tuple = SPI_tuptable->vals[row];
	TupleDesc descriptor = SPI_tuptable->tupdesc;
	bool isnull;
	pg_uuid_t *id = DatumGetUUIDP(SPI_getbinval(tuple, descriptor, LOOK_CONVERSATION_ID, &isnull));
	text *account_id = DatumGetTextPP(SPI_getbinval(tuple, descriptor, LOOK_ACCOUNT_ID, &isnull));
	ImportGroup *group = import_find_group(groups, n, id, account_id);

	if (group == NULL)
		elog(ERROR, "a conversation that was not asked for");
	group->exists = true;
	group->next_seq = DatumGetInt64(SPI_getbinval(tuple, descriptor, LOOK_NEXT_SEQ, &isnull));
	group->head_seq = DatumGetInt64(SPI_getbinval(tuple, descriptor, LOOK_HEAD_SEQ, &isnull));
	group->deleted = DatumGetBool(SPI_getbinval(tuple, descriptor, LOOK_DELETED, &isnull));
}

/*
 * Asks the store for the conversations of n groups, which are in order of
 * account and conversation.  What was made ready of one that is there by now is
 * not used.
 */
void
import_look_up(ImportGroup *groups, int32 n)
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
