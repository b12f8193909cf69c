/*
 * import_rows.c
 *		What of rows is new: messages that come one by one and name their number,
 *		or their id, or neither.
 *
 * A row is known by its seq; where it has none by its message_id; else by its
 * place among the rows of its conversation, as a message of a document is.  The
 * conversation's rows may lie in several batches, which are stored in order;
 * how many came before is kept in memory_store.job_places.
 *
 * A known row must have the same role and content, or on_conflict says what
 * becomes of it.  A message that was deleted here does not come back.  A number
 * that was passed over may come later.  A new row must not have the id of
 * another.
 *
 * Called with an SPI connection, under the account's lock or for what is new.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "account.h"
#include "arguments.h"
#include "import_private.h"
#include "sorted.h"
#include "sql_text.h"
#include "statement.h"
#include "stored.h"

/* ---- which message a row is ---- */

typedef struct RowMatch
{
	Import *import;
	ImportGroup *group;
	StoredMessages stored; /* empty where no row needs it */
	HTAB *known;           /* by id; NULL: no row needs it */
	int64 next_seq;        /* for the next row without a number */
} RowMatch;

static bool
is_by_id(const TransferMessage *message)
{
	return message->seq == 0 && message->message_id.data != NULL;
}

/* Whether rows must be compared with what is stored; by_id: some of them have an id. */
static bool
needs_stored(const ImportGroup *group, bool *by_id)
{
	bool needs = false;

	*by_id = false;
	for (int32 i = 0; i < group->ndocuments; i++)
	{
		const TransferMessage *message = group->documents[i]->conversation.messages;

		if (message->message_id.data != NULL)
			*by_id = needs = true;
		else if ((message->seq > 0 ? message->seq : group->place + i + 1) < group->next_seq ||
				 (message->parent_seq > 0 && message->parent_seq < group->next_seq &&
				  message->parent_seq != group->head_seq))
			needs = true;
	}
	return needs && group->exists;
}

/* clang-format off */
static PlanStatement is_deleted = {
	"SELECT FROM memory_store.tombstones"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2 AND seq" OP(=) "$3",
	3, {UUIDOID, TEXTOID, INT8OID}};
/* clang-format on */

static bool
was_deleted(const ImportDocument *document, int64 seq)
{
	Datum values[3] = {UUIDPGetDatum(&document->id), PointerGetDatum(document->account_id),
					   Int64GetDatum(seq)};

	return plan_execute(&is_deleted, values, NULL, false) > 0;
}

/* It is there: is it the same? */
static void
compare_row(RowMatch *match, ImportDocument *document, int64 seq, TransferText role,
			TransferText content)
{
	ImportKnown known = {.seq = seq, .role = role, .content = content};

	import_compare_part(match->import, match->group, document, &known);
}

/* A row with a number, its own or its place.  False: it is new. */
static bool
match_number(RowMatch *match, ImportDocument *document, int64 seq, bool own)
{
	const TranscriptMessage *found;

	if (seq >= match->group->next_seq)
		return false;
	found = store_find_message(match->stored.messages, match->stored.count, seq);
	if (found != NULL)
	{
		compare_row(match, document, seq, import_text_of(found->role, found->role_len),
					import_text_of(found->content, found->content_len));
		return true;
	}
	document->state = IMPORT_UNCHANGED;
	return !own || was_deleted(document, seq);
}

/* A row with an id.  False: it is new, and known from now on under this number. */
static bool
match_id(RowMatch *match, ImportDocument *document, int64 seq)
{
	const TransferMessage *message = document->conversation.messages;
	ImportKnown *known = hash_search(match->known, &message->message_id, HASH_FIND, NULL);

	if (known == NULL)
	{
		(void) import_know(match->known, message, seq);
		return false;
	}
	document->state = IMPORT_UNCHANGED;
	if (known->seq > 0)
		compare_row(match, document, known->seq, known->role, known->content);
	return true;
}

/* A row that is new by its number: has another the same id?  It is known from now on. */
static bool
has_other_id(RowMatch *match, ImportDocument *document, int64 seq)
{
	const TransferMessage *message = document->conversation.messages;
	ImportKnown *known;

	if (message->message_id.data == NULL)
		return false;
	known = import_know(match->known, message, seq);
	if (known->seq == 0)
	{
		/* it was that of a deleted message */
		known->seq = seq;
		known->role = message->role;
		known->content = message->content;
	}
	if (known->seq == seq)
		return false;
	(void) import_refuse_id(document, 0, known->seq);
	import_reject(match->import, document);
	return true;
}

/* Takes the row among those that are to be stored, or says what it is. */
static void
match_row(RowMatch *match, ImportDocument *document, int64 place)
{
	const TransferMessage *message = document->conversation.messages;
	ImportGroup *group = match->group;
	int64 seq = message->seq > 0 ? message->seq : match->next_seq;
	bool there;
	ImportRow *row;

	if (message->seq > 0)
		there = match_number(match, document, seq, true) || has_other_id(match, document, seq);
	else if (is_by_id(message))
		there = match_id(match, document, seq);
	else
		there = match_number(match, document, place, false);
	if (there)
		return;
	match->next_seq = Max(match->next_seq, seq + 1);
	row = &group->rows[group->nrows++];
	row->document = document;
	row->message = message;
	row->seq = seq;
	row->parent_seq = message->parent_seq;
	document->state = IMPORT_EXTENDED;
	document->added = 1;
}

/* ---- the new ones together ---- */

static int
compare_rows(const void *a, const void *b)
{
	const ImportRow *left = a;
	const ImportRow *right = b;

	if (left->seq != right->seq)
		return left->seq < right->seq ? -1 : 1;
	return left->document < right->document ? -1 : left->document > right->document;
}

/* Of rows with one number the first counts. */
static bool
is_repeated(RowMatch *match, const ImportRow *before, const ImportRow *row)
{
	if (before == NULL || before->seq != row->seq)
		return false;
	unconstify(ImportDocument *, row->document)->added = 0;
	compare_row(match, unconstify(ImportDocument *, row->document), row->seq, before->message->role,
				before->message->content);
	return true;
}

static int
compare_with_row(const void *seq, const void *row)
{
	int64 left = *(const int64 *) seq;
	int64 right = ((const ImportRow *) row)->seq;

	return left < right ? -1 : left > right;
}

/* Whether the message that a row answers is stored, or is one of the n rows before it. */
static bool
has_parent(const RowMatch *match, const ImportRow *row, int32 n)
{
	const ImportGroup *group = match->group;

	if (row->parent_seq <= 0)
		return true;
	if (group->exists && row->parent_seq < group->next_seq &&
		(row->parent_seq == group->head_seq ||
		 store_find_message(match->stored.messages, match->stored.count, row->parent_seq) != NULL))
		return row->parent_seq < row->seq;
	return sorted_find(&row->parent_seq, group->rows, n, sizeof(ImportRow), compare_with_row) !=
		   NULL;
}

/*
 * A row that answers a message that is not there becomes a root; one that answers
 * itself or a later one is rejected.
 */
static bool
mend_parent(RowMatch *match, ImportRow *row)
{
	ImportDocument *document = unconstify(ImportDocument *, row->document);

	if (row->parent_seq >= row->seq)
	{
		transfer_refuse(&document->problem, TRANSFER_BAD_PARENT, "parent_seq",
						"parent_seq " INT64_FORMAT " of message " INT64_FORMAT
						" is not an earlier message",
						row->parent_seq, row->seq);
		import_reject(match->import, document);
		match->group->places--;
		return false;
	}
	import_mend(match->import, document, TRANSFER_BAD_PARENT,
				psprintf("parent_seq " INT64_FORMAT " of message " INT64_FORMAT
						 " does not exist in conversation %s; it became a root",
						 row->parent_seq, row->seq, store_uuid_string(&document->id)));
	row->parent_seq = 0;
	return true;
}

/* Puts the rows in order of seq, and rejects those that cannot be stored. */
static void
settle_rows(RowMatch *match)
{
	ImportGroup *group = match->group;
	int32 kept = 0;

	qsort(group->rows, group->nrows, sizeof(ImportRow), compare_rows);
	for (int32 i = 0; i < group->nrows; i++)
	{
		ImportRow row = group->rows[i];

		CHECK_FOR_INTERRUPTS();
		if (is_repeated(match, kept > 0 ? &group->rows[kept - 1] : NULL, &row))
			continue;
		if (!has_parent(match, &row, kept) && !mend_parent(match, &row))
			continue;
		group->rows[kept++] = row;
	}
	group->nrows = kept;
	if (kept > 0 && !group->exists)
		unconstify(ImportDocument *, group->rows[0].document)->state = IMPORT_IMPORTED;
}

/*
 * import_match_rows
 *		import_match, of rows.  Errors: those of import_reject.
 */
void
import_match_rows(Import *import, ImportGroup *group)
{
	ImportDocument *first = group->documents[0];
	RowMatch match = {import, group};
	bool by_id;

	if (needs_stored(group, &by_id))
		stored_read(&match.stored, &first->id, first->account_id, false);
	if (by_id)
		match.known = import_known_messages(first, match.stored.messages, match.stored.count);
	match.next_seq = group->next_seq;
	group->places = group->ndocuments;
	for (int32 i = 0; i < group->ndocuments; i++)
	{
		CHECK_FOR_INTERRUPTS();
		match_row(&match, group->documents[i], group->place + i + 1);
	}
	settle_rows(&match);
}

/* ---- places ---- */

/* clang-format off */
enum { READ_PLACES_JOB, READ_PLACES_KEYS, READ_PLACES_PARAMETERS = READ_PLACES_KEYS + 2 };
enum { PLACE_CONVERSATION_ID = 1, PLACE_ACCOUNT_ID, PLACE_ROWS };
static PlanStatement read_places = {
	"SELECT p.conversation_id, p.account_id, p.rows"
	" FROM unnest($2, $3) u (id, account)"
	" CROSS JOIN LATERAL ("
	"   SELECT * FROM memory_store.job_places"
	"   WHERE job_id" OP(=) "$1"
	"   AND conversation_id" OP(=) "u.id AND account_id" OP(=) "u.account"
	"   OFFSET 0) p",
	READ_PLACES_PARAMETERS, {INT8OID, UUIDARRAYOID, TEXTARRAYOID}};
/* clang-format on */

/* How many rows of the conversations came in the job's batches before. */
void
import_read_places(const Import *import, ImportGroup *groups, int32 n)
{
	Datum values[READ_PLACES_PARAMETERS];
	uint64 rows;

	values[READ_PLACES_JOB] = Int64GetDatum(import->options.job_id);
	import_key_arrays(groups, n, &values[READ_PLACES_KEYS]);
	rows = plan_execute(&read_places, values, NULL, false);
	for (uint64 i = 0; i < rows; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		bool isnull;
		pg_uuid_t *id = DatumGetUUIDP(
			SPI_getbinval(tuple, SPI_tuptable->tupdesc, PLACE_CONVERSATION_ID, &isnull));
		text *account_id =
			DatumGetTextPP(SPI_getbinval(tuple, SPI_tuptable->tupdesc, PLACE_ACCOUNT_ID, &isnull));
		ImportGroup *group = import_find_group(groups, n, id, account_id);

		if (group == NULL)
			elog(ERROR, "places of a conversation that was not asked for");
		group->place =
			DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, PLACE_ROWS, &isnull));
	}
}

/* clang-format off */
enum
{
	ADD_PLACES_JOB, ADD_PLACES_IDS, ADD_PLACES_ACCOUNTS, ADD_PLACES_ROWS, ADD_PLACES_PARAMETERS
};
static PlanStatement add_places = {
	"INSERT INTO memory_store.job_places AS p (job_id, conversation_id, account_id, rows)"
	" SELECT $1, u.* FROM unnest($2, $3, $4) u"
	" ON CONFLICT (job_id, conversation_id, account_id)"
	" DO UPDATE SET rows = p.rows" OP(+) "excluded.rows",
	ADD_PLACES_PARAMETERS, {INT8OID, UUIDARRAYOID, TEXTARRAYOID, INT8ARRAYOID}};
/* clang-format on */

/* And how many with this one. */
void
import_write_places(const Import *import, const ImportGroup *groups, int32 n)
{
	Datum *ids = palloc(mul_size(Max(n, 1), sizeof(Datum)));
	Datum *accounts = palloc(mul_size(Max(n, 1), sizeof(Datum)));
	Datum *rows = palloc(mul_size(Max(n, 1), sizeof(Datum)));
	Datum values[ADD_PLACES_PARAMETERS];
	int count = 0;

	for (int32 i = 0; i < n; i++)
	{
		if (groups[i].places == 0)
			continue;
		ids[count] = UUIDPGetDatum(&groups[i].documents[0]->id);
		accounts[count] = PointerGetDatum(groups[i].documents[0]->account_id);
		rows[count++] = Int64GetDatum(groups[i].places);
	}
	if (count == 0)
		return;
	values[ADD_PLACES_JOB] = Int64GetDatum(import->options.job_id);
	values[ADD_PLACES_IDS] = array_datum(UUIDOID, ids, NULL, count);
	values[ADD_PLACES_ACCOUNTS] = array_datum(TEXTOID, accounts, NULL, count);
	values[ADD_PLACES_ROWS] = array_datum(INT8OID, rows, NULL, count);
	(void) plan_execute(&add_places, values, NULL, false);
}
