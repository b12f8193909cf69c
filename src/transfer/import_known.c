/*
 * import_known.c
 *		Messages that are known by their ids, and what becomes of one that
 *		differs from the one that is known.
 *
 * Called with an SPI connection.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/hsearch.h"

#include "import_private.h"
#include "sql_text.h"
#include "statement.h"

/* ---- messages by id ---- */

static uint32
hash_text(const void *key, Size size)
{
	const TransferText *text = key;

	return hash_bytes((const unsigned char *) text->data, (int) text->length);
}

static int
compare_texts(const void *a, const void *b, Size size)
{
	const TransferText *left = a;
	const TransferText *right = b;

	if (left->length != right->length)
		return 1;
	return memcmp(left->data, right->data, left->length);
}

/* An empty table of messages by id, in the current context, for about so many. */
HTAB *
import_create_known(int32 n)
{
	HASHCTL control = {0};

	control.keysize = sizeof(TransferText);
	control.entrysize = sizeof(ImportKnown);
	control.hash = hash_text;
	control.match = compare_texts;
	control.hcxt = CurrentMemoryContext;
	return hash_create("memory_ext messages by id", Max(n, 16), &control,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

/* A message becomes known under an id; what is known under it already stays. */
ImportKnown *
import_know_text(HTAB *table, TransferText id, int64 seq, TransferText role, TransferText content)
{
	bool found;
	ImportKnown *known = hash_search(table, &id, HASH_ENTER, &found);

	if (found)
		return known;
	known->seq = seq;
	known->role = role;
	known->content = content;
	return known;
}

/* Bytes as a text of a document, not copied. */
TransferText
import_text_of(const char *data, uint32 length)
{
	TransferText result = {data, length};

	return result;
}

/* What the conversation has, of n stored messages: those with an id. */
HTAB *
import_know_stored(const TranscriptMessage *stored, int32 n)
{
	HTAB *table = import_create_known(n);

	for (int32 i = 0; i < n; i++)
		if (stored[i].message_id != NULL)
			(void) import_know_text(table,
									import_text_of(stored[i].message_id, stored[i].message_id_len),
									stored[i].seq,
									import_text_of(stored[i].role, stored[i].role_len),
									import_text_of(stored[i].content, stored[i].content_len));
	return table;
}

/* clang-format off */
/* The ids of a conversation's messages that were deleted. */
static PlanStatement deleted_ids = {
	"SELECT t.message_id FROM memory_store.tombstones t"
	" WHERE t.conversation_id" OP(=) "$1 AND t.account_id" OP(=) "$2"
	" AND t.message_id IS NOT NULL",
	2, {UUIDOID, TEXTOID}};
/* clang-format on */

/*
 * The messages that the conversation has, and had, by their ids; a deleted one
 * has seq 0.  The texts of the n stored ones are not copied.
 */
HTAB *
import_known_messages(const ImportDocument *document, const TranscriptMessage *stored, int32 n)
{
	HTAB *table = import_know_stored(stored, n);
	TransferText nothing = {NULL, 0};
	Datum values[2] = {UUIDPGetDatum(&document->id), PointerGetDatum(document->account_id)};
	uint64 deleted = plan_execute(&deleted_ids, values, NULL, false);

	for (uint64 i = 0; i < deleted; i++)
	{
		bool isnull;
		text *id =
			DatumGetTextPP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));

		(void) import_know_text(table,
								import_text_of(pnstrdup(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id)),
											   VARSIZE_ANY_EXHDR(id)),
								0, nothing, nothing);
	}
	return table;
}

/* A message that is about to be stored under its id; what is known already stays. */
ImportKnown *
import_know(HTAB *table, const TransferMessage *message, int64 seq)
{
	return import_know_text(table, message->message_id, seq, message->role, message->content);
}

/* ---- comparing ---- */

/* Whether two texts have the same bytes. */
bool
import_same_text(TransferText left, TransferText right)
{
	return left.length == right.length && memcmp(left.data, right.data, left.length) == 0;
}

/* A message with a number of its own has the id of another. */
bool
import_refuse_id(ImportDocument *document, int32 index, int64 seq)
{
	return transfer_refuse(&document->problem, TRANSFER_CONFLICT, "$",
						   "message %d has the message_id of message " INT64_FORMAT
						   " of conversation %s",
						   index + 1, seq, store_uuid_string(&document->id));
}

static void
add_change(ImportGroup *group, const ImportDifference *difference)
{
	ImportRow *change;

	if (group->changes == NULL)
		group->changes = MemoryContextAllocHuge(CurrentMemoryContext, group->rows_size);
	change = &group->changes[group->nchanges++];
	change->document = difference->document;
	change->message = &difference->document->conversation.messages[difference->index];
	change->seq = difference->seq;
	change->parent_seq = 0;
}

/* "the content of message 2 differs from that of message 3 of conversation …" */
static char *
difference_text(const ImportDifference *difference)
{
	const TransferMessage *message =
		&difference->document->conversation.messages[difference->index];

	return psprintf("the %s of message %d differs from that of message " INT64_FORMAT
					" of conversation %s, which is stored already",
					import_same_text(difference->role, message->role) ? "content" : "role",
					difference->index + 1, difference->seq,
					store_uuid_string(&difference->document->id));
}

/* Compares a message with the known one; false: they differ, and the document is refused. */
bool
import_compare(Import *import, ImportGroup *group, const ImportDifference *difference)
{
	ImportDocument *document = difference->document;
	const TransferMessage *message = &document->conversation.messages[difference->index];

	if (import_same_text(difference->role, message->role) &&
		import_same_text(difference->content, message->content))
		return true;
	switch (import->options.on_conflict)
	{
		case IMPORT_CONFLICT_KEEP:
			import_mend(import, document, TRANSFER_CONFLICT,
						psprintf("%s; the stored one was kept", difference_text(difference)));
			return true;
		case IMPORT_CONFLICT_REPLACE:
			add_change(group, difference);
			import_mend(import, document, TRANSFER_CONFLICT,
						psprintf("%s; it took the place of the stored one",
								 difference_text(difference)));
			return true;
		case IMPORT_CONFLICT_COPY:
			document->again = !document->conversation.partial;
			break;
		case IMPORT_CONFLICT_ERROR:
			break;
	}
	return transfer_refuse(&document->problem, TRANSFER_CONFLICT, "$", "%s%s",
						   difference_text(difference),
						   import->options.on_conflict == IMPORT_CONFLICT_COPY &&
								   document->conversation.partial
							   ? "; a message that comes by itself cannot be copied"
							   : "");
}

/* The same of a document that is one message: it may be replaced, or rejected. */
void
import_compare_part(Import *import, ImportGroup *group, ImportDocument *document,
					const ImportKnown *known)
{
	ImportDifference difference = {document, 0, known->seq, known->role, known->content};
	int32 changes = group->nchanges;

	document->state = IMPORT_UNCHANGED;
	if (!import_compare(import, group, &difference))
		import_reject(import, document);
	else if (group->nchanges > changes)
		document->state = IMPORT_EXTENDED;
}
