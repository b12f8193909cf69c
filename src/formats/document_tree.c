/*
 * document_tree.c
 *		Messages that name what they answer: ids, parents, order, branches.
 *
 * Everything is at most n log n, and nothing recurses per message.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/shmem.h"

#include "document.h"
#include "order.h"
#include "sorted.h"

/* ---- ids ---- */

static int
compare_texts(TransferText a, TransferText b)
{
	if (a.length != b.length)
		return a.length < b.length ? -1 : 1;
	return memcmp(a.data, b.data, a.length);
}

static int
compare_ids(const void *a, const void *b)
{
	const struct DocumentId *left = a;
	const struct DocumentId *right = b;
	int order = compare_texts(left->id, right->id);

	if (order != 0)
		return order;
	return left->index < right->index ? -1 : left->index > right->index;
}

/* Sorts ids; those without text are left out.  False: two are the same, and which. */
bool
document_ids(DocumentIds *ids, const TransferText *texts, int32 count, int32 *duplicate)
{
	ids->count = 0;
	ids->ids = palloc(mul_size(Max(count, 1), sizeof(struct DocumentId)));
	for (int32 i = 0; i < count; i++)
		if (texts[i].data != NULL)
		{
			ids->ids[ids->count].id = texts[i];
			ids->ids[ids->count++].index = i;
		}
	qsort(ids->ids, ids->count, sizeof(struct DocumentId), compare_ids);
	for (int32 i = 1; i < ids->count; i++)
		if (document_same_text(ids->ids[i - 1].id, ids->ids[i].id))
		{
			*duplicate = ids->ids[i].index;
			return false;
		}
	return true;
}

static int
compare_with_id(const void *id, const void *element)
{
	return compare_texts(*(const TransferText *) id, ((const struct DocumentId *) element)->id);
}

/* The index of an id, or -1. */
int32
document_find(const DocumentIds *ids, TransferText id)
{
	const struct DocumentId *found;

	if (id.data == NULL)
		return -1;
	found = sorted_find(&id, ids->ids, ids->count, sizeof(struct DocumentId), compare_with_id);
	return found == NULL ? -1 : found->index;
}

/* ---- order ---- */

/* Sorts by time, as far as parents still come first. */
static void
sort_messages(const TransferConversation *conversation, const int32 *parents, int32 *order)
{
	TimestampTz *times = palloc(mul_size(Max(conversation->count, 1), sizeof(TimestampTz)));

	for (int32 i = 0; i < conversation->count; i++)
	{
		const TransferMessage *message = &conversation->messages[i];

		times[i] = message->has_created_at ? message->created_at : DT_NOBEGIN;
	}
	order_by_time(conversation->count, parents, times, order);
	pfree(times);
}

/*
 * document_arrange
 *		Puts the messages of a document in an order in which parents come first:
 *		that of the document, or by time.  parents are indexes into the messages
 *		as they are now, -1: none.  Gives the order: what each message's index
 *		was before.  False: there is a cycle.
 */
bool
document_arrange(TransferConversation *conversation, const int32 *parents, bool by_time,
				 int32 **order, const DocumentPlace *place)
{
	int32 count = conversation->count;
	int32 *positions = palloc(mul_size(Max(count, 1), sizeof(int32)));
	TransferMessage *arranged = palloc(mul_size(Max(count, 1), sizeof(TransferMessage)));
	int32 cycle;

	*order = palloc(mul_size(Max(count, 1), sizeof(int32)));
	if (!order_parents_first(count, parents, *order, &cycle))
	{
		DocumentPlace at = document_at_index(place, cycle);

		return document_refuse(&at, TRANSFER_BAD_PARENT, "the message is its own ancestor");
	}
	if (by_time)
		sort_messages(conversation, parents, *order);
	for (int32 i = 0; i < count; i++)
		positions[(*order)[i]] = i;
	for (int32 i = 0; i < count; i++)
	{
		int32 parent = parents[(*order)[i]];

		arranged[i] = conversation->messages[(*order)[i]];
		if (parent < 0)
			arranged[i].parent = i == 0 ? TRANSFER_PARENT_BEFORE : TRANSFER_PARENT_ROOT;
		else
			arranged[i].parent =
				positions[parent] == i - 1 ? TRANSFER_PARENT_BEFORE : positions[parent];
	}
	pfree(positions);
	pfree(conversation->messages);
	conversation->messages = arranged;
	return true;
}

/* ---- messages that name their parent ---- */

/* Whether what a message names as its parent says that it has none. */
bool
document_is_root(const DocumentTree *tree, TransferText parent)
{
	return parent.data == NULL || (tree->root != NULL && document_text_is(parent, tree->root));
}

/*
 * document_read_parents
 *		Looks up the parents of an array of objects: index, or -1 for a root.  One
 *		that names none (not even null) answers the one before it; one whose parent
 *		is not there becomes a root.  above (or NULL): by object, what it stands
 *		below, whatever it names; -1: nothing.  False: an id is there twice.
 */
bool
document_read_parents(const DocumentTree *tree, const JsonbValue *objects, const int32 *above,
					  int32 count, int32 *parents, const DocumentPlace *place)
{
	TransferText *texts = palloc(mul_size(Max(count, 1), sizeof(TransferText)));
	DocumentIds ids;
	int32 duplicate;

	for (int32 i = 0; i < count; i++)
		texts[i] = document_get_text(&objects[i], tree->id_key);
	if (!document_ids(&ids, texts, count, &duplicate))
	{
		DocumentPlace at = document_at_index(place, duplicate);

		return document_refuse_key(&at, tree->id_key, TRANSFER_BAD_VALUE,
								   "another message has the same");
	}
	for (int32 i = 0; i < count; i++)
	{
		DocumentPlace at = document_at_index(place, i);
		JsonbValue value;

		CHECK_FOR_INTERRUPTS();
		parents[i] = i - 1;
		if (!document_get(&objects[i], tree->parent_key, &value))
			continue;
		if (value.type != jbvString && value.type != jbvNull)
			return document_refuse_key(&at, tree->parent_key, TRANSFER_BAD_PARENT, "not a string");
		parents[i] = document_find(&ids, document_text(&value));
		if (parents[i] < 0 && !document_is_root(tree, document_text(&value)) &&
			(above == NULL || above[i] < 0))
			document_mend_key(
				&at, tree->parent_key, TRANSFER_BAD_PARENT,
				"there is no such message; the message that answers it became a root");
	}
	for (int32 i = 0; above != NULL && i < count; i++)
		if (above[i] >= 0)
			parents[i] = above[i];
	pfree(texts);
	pfree(ids.ids);
	return true;
}

/* What is written for a message's parent; null for a root without a word for it. */
static TransferText
parent_word(const DocumentTree *tree, const TransferText *ids, int32 parent)
{
	TransferText none = {NULL, 0};

	if (parent >= 0)
		return ids[parent];
	return tree->root != NULL ? document_literal(tree->root) : none;
}

/* Once the message is in its place: whether its parent's key is what is written. */
void
document_keep_parent(const DocumentTree *tree, const JsonbValue *object,
					 const TransferConversation *conversation, int32 index, DocumentExtras *extras)
{
	int32 parent = document_parent(conversation, index);
	TransferText none = {NULL, 0};
	TransferText written =
		parent >= 0 ? conversation->messages[parent].message_id : parent_word(tree, &none, -1);
	JsonbValue value;

	if (!document_get(object, tree->parent_key, &value))
		document_absent(extras, tree->parent_key);
	else if (document_same_text(document_text(&value), written) &&
			 (parent < 0 || written.data != NULL))
		document_skip(extras, tree->parent_key);
}

/*
 * Writes the key that names a message's parent, or what the document had in the
 * place of a root.
 */
void
document_write_parent(DocumentOut *out, const DocumentTree *tree, const TransferText *ids,
					  int32 parent, const JsonbValue *own)
{
	JsonbValue kept;

	if (document_kept(own, tree->parent_key, &kept) || document_was_absent(own, tree->parent_key))
		return;
	document_key(out, tree->parent_key);
	document_put_text(out, parent_word(tree, ids, parent));
}

/* Where the message was in the document, if its number does not say it. */
void
document_keep_position(DocumentExtras *extras, int32 at, int32 index)
{
	JsonbValue position = document_integer(at);

	if (at != index)
		document_replace(extras, "~at", &position);
}

/* ---- the head ---- */

/*
 * document_read_head
 *		The head, by the key that names it; without one, or if it names no
 *		message, the last message, and a note of which that is.  False: the key is
 *		no string.
 */
bool
document_read_head(const JsonbValue *object, const char *key, TransferConversation *conversation,
				   DocumentExtras *extras, const DocumentPlace *place)
{
	JsonbValue value = document_null();
	JsonbValue noted;
	TransferText text;

	conversation->head = conversation->count - 1;
	if (!document_get(object, key, &value))
		document_absent(extras, key);
	else if (value.type != jbvString && value.type != jbvNull)
		return document_refuse_key(place, key, TRANSFER_BAD_VALUE, "not a string");
	text = document_text(&value);
	if (text.data != NULL)
		for (int32 i = conversation->count - 1; i >= 0; i--)
			if (document_same_text(conversation->messages[i].message_id, text))
			{
				conversation->head = i;
				document_skip(extras, key);
				return true;
			}
	if (conversation->count == 0)
		return true;
	noted = document_string(conversation->messages[conversation->head].message_id);
	document_replace(extras, "~head", &noted);
	return true;
}

/* What is written for the head; nothing when it is the one that the document did not name. */
void
document_write_head(DocumentOut *out, const char *key, const TransferConversation *conversation,
					const TransferText *ids, const JsonbValue *own)
{
	int32 head = document_head(conversation);
	JsonbValue noted;

	if (head < 0)
		return;
	if (document_kept(own, "~head", &noted) &&
		(noted.type == jbvNull || document_same_text(document_text(&noted), ids[head])))
		return;
	document_key(out, key);
	document_put_text(out, ids[head]);
}

/* ---- children ---- */

/* The messages that each message is named as parent of, in order; named: by message, -1: none. */
DocumentChildren
document_children(int32 count, const int32 *named)
{
	DocumentChildren children;

	children.first = palloc(mul_size(Max(count, 1), sizeof(int32)));
	children.next = palloc(mul_size(Max(count, 1), sizeof(int32)));
	for (int32 i = 0; i < count; i++)
		children.first[i] = -1;
	for (int32 i = count - 1; i >= 0; i--)
	{
		children.next[i] = -1;
		if (named[i] >= 0)
		{
			children.next[i] = children.first[named[i]];
			children.first[named[i]] = i;
		}
	}
	return children;
}

/* Whether an array holds the ids of a message's children, in order. */
bool
document_same_children(const JsonbValue *array, const DocumentChildren *children, int32 index,
					   const TransferText *ids)
{
	int32 at = children->first[index];
	DocumentWalk walk;
	bool same = document_is_array(array);

	document_walk(&walk, array);
	while (document_next(&walk))
	{
		same = same && at >= 0 && document_same_text(document_text(&walk.value), ids[at]);
		if (at >= 0)
			at = children->next[at];
	}
	return same && at < 0;
}

/* Writes the children: those that were kept, and those that are new (not own); or all. */
void
document_write_children(DocumentOut *out, const char *key, const DocumentChildren *children,
						int32 index, const TransferText *ids, const bool *is_own,
						const JsonbValue *own)
{
	JsonbValue kept;
	bool is_kept = document_kept(own, key, &kept);
	DocumentWalk walk;

	if (document_was_absent(own, key) || (is_kept && !document_is_array(&kept)))
		return;
	document_key(out, key);
	document_begin_array(out);
	if (is_kept)
	{
		document_walk(&walk, &kept);
		while (document_next(&walk))
			document_put(out, &walk.value);
	}
	for (int32 i = children->first[index]; i >= 0; i = children->next[i])
		if (!is_kept || !is_own[i])
			document_put_text(out, ids[i]);
	document_end(out);
}

/* ---- for writers ---- */

/* The index of a message's parent, or -1. */
int32
document_parent(const TransferConversation *conversation, int32 index)
{
	int32 parent = conversation->messages[index].parent;

	if (parent == TRANSFER_PARENT_BEFORE)
		return index - 1;
	return parent >= 0 && parent < index ? parent : -1;
}

/* The index of the current leaf: the last message where none is given, -1 where there are none. */
int32
document_head(const TransferConversation *conversation)
{
	return conversation->head >= 0 && conversation->head < conversation->count
			   ? conversation->head
			   : conversation->count - 1;
}

/* The messages from the root to the head, for formats that are lists. */
int32 *
document_branch(const TransferConversation *conversation, int32 *count)
{
	int32 *branch = palloc(mul_size(Max(conversation->count, 1), sizeof(int32)));
	int32 length = 0;

	for (int32 at = document_head(conversation); at >= 0; at = document_parent(conversation, at))
		branch[length++] = at;
	for (int32 i = 0; i < length / 2; i++)
	{
		int32 swapped = branch[i];

		branch[i] = branch[length - 1 - i];
		branch[length - 1 - i] = swapped;
	}
	*count = length;
	return branch;
}

typedef struct Position
{
	int32 at;
	int32 index;
} Position;

static int
compare_positions(const void *a, const void *b)
{
	const Position *left = a;
	const Position *right = b;

	if (left->at != right->at)
		return left->at < right->at ? -1 : 1;
	return left->index < right->index ? -1 : left->index > right->index;
}

/* The order in which the document had its messages: the note "~at" where it was another one. */
int32 *
document_positions(const TransferConversation *conversation, const char *format)
{
	int32 count = conversation->count;
	Position *positions = palloc(mul_size(Max(count, 1), sizeof(Position)));
	int32 *order = palloc(mul_size(Max(count, 1), sizeof(int32)));

	for (int32 i = 0; i < count; i++)
	{
		JsonbValue own;
		JsonbValue at;

		positions[i].at = i;
		positions[i].index = i;
		if (document_own(conversation->messages[i].metadata, format, &own) &&
			document_kept(&own, "~at", &at))
			(void) document_number(&at, &positions[i].at);
	}
	qsort(positions, count, sizeof(Position), compare_positions);
	for (int32 i = 0; i < count; i++)
		order[i] = positions[i].index;
	pfree(positions);
	return order;
}

/*
 * A uuid made of the conversation's id and the message's number: the same each
 * time.
 */
static TransferText
made_id(const TransferConversation *conversation, int32 index)
{
	int64 seq =
		conversation->messages[index].seq > 0 ? conversation->messages[index].seq : index + 1;
	TransferText source = conversation->source_id;
	uint64 high;
	uint64 low;

	if (source.data == NULL)
		source = document_literal("");
	high = DatumGetUInt64(
		hash_any_extended((const unsigned char *) source.data, (int) source.length, (uint64) seq));
	low = hash_combine64(high, (uint64) seq);
	return document_literal(psprintf("%08x-%04x-8%03x-%04x-%012llx", (uint32) (high >> 32),
									 (uint32) (high >> 16) & 0xffff, (uint32) high & 0xfff,
									 (uint32) ((low >> 48) & 0x3fff) | 0x8000,
									 (unsigned long long) (low & UINT64CONST(0xffffffffffff))));
}

/*
 * What the format calls each message: what it kept under a note (or NULL), else
 * the message's id; one that has none, or another message's, gets one.
 */
TransferText *
document_message_ids(const TransferConversation *conversation, const char *format, const char *note)
{
	int32 count = conversation->count;
	TransferText *texts = palloc(mul_size(Max(count, 1), sizeof(TransferText)));
	DocumentIds ids;
	int32 duplicate;

	for (int32 i = 0; i < count; i++)
	{
		JsonbValue own;
		JsonbValue kept;

		if (note != NULL && document_own(conversation->messages[i].metadata, format, &own) &&
			document_kept(&own, note, &kept) && kept.type == jbvString)
			texts[i] = document_text(&kept);
		else if (conversation->messages[i].message_id.data != NULL)
			texts[i] = conversation->messages[i].message_id;
		else
			texts[i] = made_id(conversation, i);
	}
	if (document_ids(&ids, texts, count, &duplicate))
		return texts;
	for (int32 i = 1; i < ids.count; i++)
		if (document_same_text(ids.ids[i - 1].id, ids.ids[i].id))
			texts[ids.ids[i].index] = made_id(conversation, ids.ids[i].index);
	return texts;
}
