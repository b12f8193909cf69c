/*
 * import_match.c
 *		What of a document is new, beside the conversation that is stored.
 *
 * A message is known by its number in native documents, by its id where all
 * messages of the document have one, else by its place.  A known message must
 * have the same role and content, or the document contradicts what is stored,
 * and the import's option on_conflict says what becomes of it.
 * A message that was deleted here does not come back; what answers it answers
 * its parent.
 *
 * An id is unique within a conversation, however messages are known.  One that
 * seems to be new but has the id of another repeats it, or contradicts it.
 *
 * Called with an SPI connection, under the account's lock, or (import_prepare.c)
 * before it for what is not stored yet.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/hsearch.h"

#include "import_private.h"
#include "order.h"
#include "stored.h"

/* So many conversations are compared with a document of which each is a copy. */
#define MAX_COPIES 100

static void
add_row(ImportGroup *group, const ImportDocument *document, const TransferMessage *message,
		int64 seq, int64 parent_seq)
{
	ImportRow *row = &group->rows[group->nrows++];

	row->document = document;
	row->message = message;
	row->seq = seq;
	row->parent_seq = parent_seq;
}

/* ---- a document that is a conversation ---- */

typedef enum MatchBy
{
	BY_PLACE,
	BY_SEQ,
	BY_ID
} MatchBy;

static MatchBy
match_by(const TransferConversation *conversation)
{
	HTAB *ids;

	if (conversation->count == 0)
		return BY_PLACE;
	if (conversation->messages[0].seq > 0)
		return BY_SEQ;
	ids = import_create_known(conversation->count);
	for (int32 i = 0; i < conversation->count; i++)
	{
		const TransferMessage *message = &conversation->messages[i];
		bool found;

		if (message->message_id.data == NULL)
			return BY_PLACE;
		(void) hash_search(ids, &message->message_id, HASH_ENTER, &found);
		if (found)
			return BY_PLACE;
	}
	return BY_ID;
}

typedef struct Matching
{
	Import *import;
	ImportGroup *group;
	ImportDocument *document;
	MatchBy by;
	const TranscriptMessage *stored;
	int32 nstored;
	HTAB *known; /* by id; BY_ID: also those that were deleted */
	int64 *seqs; /* of the document's messages; of a deleted one: its parent's; 0: none */
} Matching;

/*
 * The message that is stored for one of the document's: its seq; 0: it is new;
 * -1: it was deleted.  Role and content are those that are stored.
 */
static int64
find_stored(Matching *matching, int32 index, int64 seq, TransferText *role, TransferText *content)
{
	const TransferMessage *message = &matching->document->conversation.messages[index];
	const TranscriptMessage *found;

	if (!matching->group->exists)
		return 0;
	if (matching->by == BY_ID)
	{
		ImportKnown *known = hash_search(matching->known, &message->message_id, HASH_FIND, NULL);

		if (known == NULL)
			return 0;
		*role = known->role;
		*content = known->content;
		return known->seq == 0 ? -1 : known->seq;
	}
	found = store_find_message(unconstify(TranscriptMessage *, matching->stored), matching->nstored,
							   seq);
	if (found == NULL)
		return seq < matching->group->next_seq ? -1 : 0;
	*role = import_text_of(found->role, found->role_len);
	*content = import_text_of(found->content, found->content_len);
	return seq;
}

/*
 * The message that has the id of one that seems to be new: its seq, its role
 * and its content; 0: there is none, the id is the new one's.
 */
static int64
find_same_id(Matching *matching, const TransferMessage *message, int64 seq, TransferText *role,
			 TransferText *content)
{
	ImportKnown *known;

	if (message->message_id.data == NULL)
		return 0;
	if (matching->known == NULL)
		matching->known = import_know_stored(matching->stored, matching->nstored);
	known = hash_search(matching->known, &message->message_id, HASH_FIND, NULL);
	if (known == NULL)
	{
		(void) import_know(matching->known, message, seq);
		return 0;
	}
	*role = known->role;
	*content = known->content;
	return known->seq;
}

/* Places one message; false: it contradicts what is stored, or another one. */
static bool
match_message(Matching *matching, int32 index, int64 *next_seq)
{
	const TransferMessage *message = &matching->document->conversation.messages[index];
	int64 seq = matching->by == BY_SEQ  ? message->seq
				: matching->by == BY_ID ? *next_seq
										: index + 1;
	int32 parent = message->parent == TRANSFER_PARENT_BEFORE ? index - 1 : message->parent;
	int64 parent_seq = parent < 0 ? 0 : matching->seqs[parent];
	TransferText role;
	TransferText content;
	int64 stored = find_stored(matching, index, seq, &role, &content);

	if (stored == 0 && matching->by != BY_ID)
	{
		stored = find_same_id(matching, message, seq, &role, &content);
		if (stored > 0 && matching->by == BY_SEQ)
			return import_refuse_id(matching->document, index, stored);
	}
	if (stored == -1)
		matching->seqs[index] = parent_seq;
	else if (stored == 0)
	{
		matching->seqs[index] = seq;
		add_row(matching->group, matching->document, message, seq, parent_seq);
		*next_seq = seq + 1;
	}
	else
	{
		ImportDifference difference = {matching->document, index, stored, role, content};

		matching->seqs[index] = stored;
		return import_compare(matching->import, matching->group, &difference);
	}
	return true;
}

/*
 * A document that contradicts what is stored: rejected, or, after as many others
 * as it contradicts, a conversation of its own.
 */
static void
leave_contradiction(Import *import, ImportGroup *group)
{
	ImportDocument *document = group->documents[0];

	group->nrows = 0;
	group->nchanges = 0;
	if (document->again && document->copies < MAX_COPIES)
	{
		document->problem = document->read;
		document->state = IMPORT_UNCHANGED;
		return;
	}
	document->again = false;
	import_reject(import, document);
}

static void
match_whole(Import *import, ImportGroup *group, const TranscriptMessage *stored, int32 nstored)
{
	ImportDocument *document = group->documents[0];
	const TransferConversation *conversation = &document->conversation;
	Matching matching = {import, group, document, match_by(conversation), stored, nstored};
	int64 next_seq = group->next_seq;

	matching.seqs = palloc(mul_size(Max(conversation->count, 1), sizeof(int64)));
	if (matching.by == BY_ID && group->exists)
		matching.known = import_known_messages(document, stored, nstored);
	for (int32 i = 0; i < conversation->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!match_message(&matching, i, &next_seq))
		{
			leave_contradiction(import, group);
			return;
		}
	}
	document->added = group->nrows;
	document->state = !group->exists                              ? IMPORT_IMPORTED
					  : group->nrows == 0 && group->nchanges == 0 ? IMPORT_UNCHANGED
																  : IMPORT_EXTENDED;
	if (document->copies > 0)
		import_mend(import, document, TRANSFER_CONFLICT,
					psprintf("it contradicts conversation %s and is stored as conversation %s",
							 store_uuid_string(&document->original),
							 store_uuid_string(&document->id)));
	if (conversation->head >= 0 && group->nrows > 0 &&
		matching.seqs[conversation->head] != group->rows[group->nrows - 1].seq)
		group->new_head = matching.seqs[conversation->head];
}

/* ---- documents that are a message each ---- */

/* What such a document answers, by its id: the index of another one of the group, or -1. */
static int32 *
find_parents(const ImportGroup *group)
{
	HTAB *ids = import_create_known(group->ndocuments);
	int32 *parents = palloc(mul_size(group->ndocuments, sizeof(int32)));
	TransferText nothing = {NULL, 0};

	for (int32 i = 0; i < group->ndocuments; i++)
		(void) import_know_text(ids, group->documents[i]->conversation.messages->message_id, i,
								nothing, nothing);
	for (int32 i = 0; i < group->ndocuments; i++)
	{
		const TransferMessage *message = group->documents[i]->conversation.messages;
		ImportKnown *parent = NULL;

		if (message->parent_id.data != NULL)
			parent = hash_search(ids, &message->parent_id, HASH_FIND, NULL);
		parents[i] = parent == NULL ? -1 : (int32) parent->seq;
	}
	hash_destroy(ids);
	return parents;
}

/*
 * Puts the documents of a group in order of what they answer and of their
 * times, where they say what they answer; others stay in the order of the input.
 * False: one is its own ancestor, which is rejected, and no longer in the group.
 */
static bool
arrange_parts(Import *import, ImportGroup *group)
{
	int32 *parents = find_parents(group);
	int32 *order = palloc(mul_size(group->ndocuments, sizeof(int32)));
	TimestampTz *times = palloc(mul_size(group->ndocuments, sizeof(TimestampTz)));
	ImportDocument **arranged = palloc(mul_size(group->ndocuments, sizeof(ImportDocument *)));
	int32 cycle;

	if (!order_parents_first(group->ndocuments, parents, order, &cycle))
	{
		ImportDocument *document = group->documents[cycle];

		transfer_refuse(&document->problem, TRANSFER_BAD_PARENT, "$",
						"the message is its own ancestor");
		import_reject(import, document);
		group->ndocuments--;
		memmove(&group->documents[cycle], &group->documents[cycle + 1],
				(group->ndocuments - cycle) * sizeof(ImportDocument *));
		return false;
	}
	for (int32 i = 0; i < group->ndocuments; i++)
	{
		const TransferMessage *message = group->documents[i]->conversation.messages;

		times[i] = message->has_created_at ? message->created_at : DT_NOBEGIN;
	}
	order_by_time(group->ndocuments, parents, times, order);
	for (int32 i = 0; i < group->ndocuments; i++)
		arranged[i] = group->documents[order[i]];
	memcpy(group->documents, arranged, group->ndocuments * sizeof(ImportDocument *));
	return true;
}

/* Whether some documents of the group say what they answer. */
static bool
names_parents(const ImportGroup *group)
{
	for (int32 i = 0; i < group->ndocuments; i++)
	{
		const TransferMessage *message = group->documents[i]->conversation.messages;

		if (message->parent_id.data != NULL || message->parent == TRANSFER_PARENT_ROOT)
			return true;
	}
	return false;
}

/*
 * The number of what a document's message answers.  One that is not there makes
 * it a root; of one that was deleted here nothing is known but its id.
 */
static int64
parent_of_part(Import *import, HTAB *known, ImportDocument *document, int64 leaf)
{
	const TransferMessage *message = document->conversation.messages;
	ImportKnown *parent;

	if (message->parent == TRANSFER_PARENT_ROOT)
		return 0;
	if (message->parent_id.data == NULL)
		return leaf;
	parent = hash_search(known, &message->parent_id, HASH_FIND, NULL);
	if (parent != NULL && parent->seq > 0)
		return parent->seq;
	import_mend(import, document, TRANSFER_BAD_PARENT,
				psprintf("the message answers \"%.*s\", which is %s; it became a root",
						 pg_mbcliplen(message->parent_id.data, (int) message->parent_id.length,
									  IMPORT_EXCERPT_BYTES / 2),
						 message->parent_id.data,
						 parent != NULL ? "deleted" : "neither stored nor in this batch"));
	return 0;
}

/* A document whose message is stored, or was; true: nothing is to be done. */
static bool
match_part(Import *import, ImportGroup *group, ImportDocument *document, HTAB *known)
{
	const TransferMessage *message = document->conversation.messages;
	ImportKnown *found = hash_search(known, &message->message_id, HASH_FIND, NULL);

	if (found == NULL)
		return false;
	document->state = IMPORT_UNCHANGED;
	if (found->seq > 0)
		import_compare_part(import, group, document, found);
	return true;
}

static void
match_parts(Import *import, ImportGroup *group, const TranscriptMessage *stored, int32 nstored)
{
	HTAB *known = group->exists ? import_known_messages(group->documents[0], stored, nstored)
								: import_create_known(group->ndocuments);
	int64 leaf = group->head_seq;
	int64 next_seq = group->next_seq;

	if (names_parents(group))
		while (!arrange_parts(import, group))
			CHECK_FOR_INTERRUPTS();
	for (int32 i = 0; i < group->ndocuments; i++)
	{
		ImportDocument *document = group->documents[i];
		const TransferMessage *message = document->conversation.messages;

		CHECK_FOR_INTERRUPTS();
		if (match_part(import, group, document, known))
			continue;
		document->state = !group->exists && group->nrows == 0 ? IMPORT_IMPORTED : IMPORT_EXTENDED;
		document->added = 1;
		add_row(group, document, message, next_seq, parent_of_part(import, known, document, leaf));
		(void) import_know_text(known, message->message_id, next_seq, message->role,
								message->content);
		leaf = next_seq++;
	}
}

/*
 * import_match
 *		What is to be stored of a group's documents, and what becomes of them.
 *		Errors: those of import_reject.
 */
void
import_match(Import *import, ImportGroup *group)
{
	ImportDocument *first = group->documents[0];
	StoredMessages stored = {0};
	int64 messages = 0;

	for (int32 i = 0; i < group->ndocuments; i++)
	{
		messages += group->documents[i]->conversation.count;
		group->documents[i]->added = 0;
		group->documents[i]->problem = group->documents[i]->read;
	}
	group->nrows = 0;
	group->changes = NULL;
	group->nchanges = 0;
	group->new_head = 0;
	group->places = 0;
	group->rows_size = mul_size(Max(messages, 1), sizeof(ImportRow));
	group->rows = MemoryContextAllocHuge(CurrentMemoryContext, group->rows_size);
	if (first->conversation.row)
	{
		import_match_rows(import, group);
		return;
	}
	if (group->exists)
		stored_read(&stored, &first->id, first->account_id, false);
	if (first->conversation.partial)
		match_parts(import, group, stored.messages, stored.count);
	else
		match_whole(import, group, stored.messages, stored.count);
}
