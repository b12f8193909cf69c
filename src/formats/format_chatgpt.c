/*
 * format_chatgpt.c
 *		An entry of a ChatGPT export's conversations.json: {"title", "create_time",
 *		"mapping": {node: {"id", "message", "parent", "children"}}, "current_node"}.
 *
 * Every node with a message is a message of the conversation, whatever branch it
 * is on; what it answers is the next node above it that has a message.  Messages
 * are in order of time, as far as parents come first.
 *
 * There is no official schema.  Exports have nodes without message, several
 * roots, children that their parents do not list, parents that only the list of
 * their children names, and parents that are not in the mapping, which makes
 * roots; all of these are read.
 *
 *	conversation	~nodes: the nodes without message; ~head: the node that the head was read from
 *	message			~key: the node's key, if it is not the message's id; ~node: what else the
 *					node has, and its parent and children where they are not as written
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "document.h"
#include "format_chatgpt.h"
#include "formats_private.h"
#include "order.h"

#define FORMAT FORMAT_CHATGPT
#define NEW_ROOT "client-created-root"

static const DocumentField fields[] = {
	{"title", FIELD_TEXT, offsetof(TransferConversation, title), 0, 0, true},
	CONVERSATION_TIME("create_time", FIELD_EPOCH, created_at),
	CONVERSATION_UPDATED("update_time", FIELD_EPOCH),
	CONVERSATION_FLAG("is_archived", archived),
};

static bool
chatgpt_detect(Jsonb *document)
{
	JsonbValue root = document_root(document);
	JsonbValue value;

	return document_get(&root, "mapping", &value) || document_get(&root, "current_node", &value) ||
		   (document_get(&root, "create_time", &value) &&
			document_get(&root, "update_time", &value));
}

/* ---- reading: the nodes ---- */

typedef struct Node
{
	TransferText key;
	JsonbValue value;
	JsonbValue message; /* if has_message */
	bool has_message;
	TransferText parent; /* as it says itself; none: it says nothing */
	int32 parent_node;   /* index, -1: a root */
	int32 message_index; /* before the messages are arranged; -1: it has none */
	int32 above;         /* index of the message above it, -1: none */
} Node;

typedef struct Mapping
{
	int32 count;
	int32 messages;
	Node *nodes;
	DocumentIds ids;
} Mapping;

static bool
read_node(Node *node, const DocumentPlace *place)
{
	JsonbValue value;

	if (!document_is_object(&node->value))
		return document_refuse(place, TRANSFER_BAD_VALUE, "not an object");
	if (document_get(&node->value, "message", &node->message) && node->message.type != jbvNull)
	{
		if (!document_is_object(&node->message))
			return document_refuse_key(place, "message", TRANSFER_BAD_VALUE, "not an object");
		node->has_message = true;
	}
	if (document_get(&node->value, "parent", &value) && value.type != jbvNull)
	{
		if (value.type != jbvString)
			return document_refuse_key(place, "parent", TRANSFER_BAD_PARENT, "not a string");
		node->parent = document_text(&value);
	}
	if (document_get(&node->value, "children", &value) && value.type != jbvNull &&
		!document_is_array(&value))
		return document_refuse_key(place, "children", TRANSFER_BAD_VALUE, "not an array");
	return true;
}

static bool
read_nodes(const JsonbValue *object, Mapping *mapping, const DocumentPlace *place)
{
	DocumentWalk walk;
	TransferText *keys;
	int32 duplicate;

	mapping->count = document_count(object);
	mapping->nodes = palloc0(mul_size(Max(mapping->count, 1), sizeof(Node)));
	keys = palloc(mul_size(Max(mapping->count, 1), sizeof(TransferText)));
	document_walk(&walk, object);
	while (document_next(&walk))
	{
		Node *node = &mapping->nodes[walk.index];
		DocumentPlace at = document_at_text(place, walk.key);

		node->key = keys[walk.index] = walk.key;
		node->value = walk.value;
		node->parent_node = -1;
		if (!read_node(node, &at))
			return false;
		node->message_index = node->has_message ? mapping->messages++ : -1;
	}
	/* keys of an object are never the same */
	(void) document_ids(&mapping->ids, keys, mapping->count, &duplicate);
	return true;
}

/* Nodes that name no parent, or one that is not there, have the one that lists them. */
static void
link_by_children(Mapping *mapping)
{
	for (int32 i = 0; i < mapping->count; i++)
	{
		JsonbValue children;
		DocumentWalk walk;

		if (!document_get(&mapping->nodes[i].value, "children", &children))
			continue;
		document_walk(&walk, &children);
		while (document_next(&walk))
		{
			int32 child = document_find(&mapping->ids, document_text(&walk.value));

			if (child >= 0 && mapping->nodes[child].parent_node < 0)
				mapping->nodes[child].parent_node = i;
		}
	}
}

static bool
link_nodes(Mapping *mapping, const DocumentPlace *place)
{
	int32 *parents = palloc(mul_size(Max(mapping->count, 1), sizeof(int32)));
	int32 *order = palloc(mul_size(Max(mapping->count, 1), sizeof(int32)));
	int32 cycle;

	for (int32 i = 0; i < mapping->count; i++)
		mapping->nodes[i].parent_node = document_find(&mapping->ids, mapping->nodes[i].parent);
	link_by_children(mapping);
	for (int32 i = 0; i < mapping->count; i++)
	{
		Node *node = &mapping->nodes[i];
		DocumentPlace at = document_at_text(place, node->key);

		if (node->parent.data != NULL && node->parent_node < 0)
			document_mend_key(&at, "parent", TRANSFER_BAD_PARENT,
							  "there is no such node; the message that answers it became a root");
		parents[i] = node->parent_node;
	}
	if (!order_parents_first(mapping->count, parents, order, &cycle))
	{
		DocumentPlace at = document_at_text(place, mapping->nodes[cycle].key);

		return document_refuse_key(&at, "parent", TRANSFER_BAD_PARENT,
								   "the node is its own ancestor");
	}
	for (int32 i = 0; i < mapping->count; i++)
	{
		Node *node = &mapping->nodes[order[i]];
		Node *parent = node->parent_node >= 0 ? &mapping->nodes[node->parent_node] : NULL;

		node->above = parent == NULL        ? -1
					  : parent->has_message ? parent->message_index
											: parent->above;
	}
	return true;
}

/* ---- reading: what is written for a node ---- */

/* Notes what a node has that is not written for its message; nothing when that is all. */
static bool
keep_node(const Node *node, bool parent_written, bool children_written, DocumentExtras *extras,
		  const DocumentPlace *place)
{
	DocumentExtras inner = {0};
	JsonbValue value;
	JsonbValue kept;
	bool any;

	document_skip(&inner, "message");
	if (!document_get(&node->value, "id", &value))
		document_absent(&inner, "id");
	else if (document_same_text(document_text(&value), node->key))
		document_skip(&inner, "id");
	if (!document_get(&node->value, "parent", &value))
		document_absent(&inner, "parent");
	else if (parent_written)
		document_skip(&inner, "parent");
	if (!document_get(&node->value, "children", &value))
		document_absent(&inner, "children");
	else if (children_written)
		document_skip(&inner, "children");
	if (!document_extras(&node->value, &inner, false, place, &kept, &any))
		return false;
	if (any)
		document_replace(extras, "~node", &kept);
	return true;
}

/* ---- reading: messages ---- */

/* Everything that is needed to read the messages in their order. */
typedef struct Reading
{
	Mapping *mapping;
	TransferConversation *conversation;
	int32 *node_of;     /* by message in order */
	TransferText *keys; /* likewise: the node's key */
	int32 *named;       /* the message whose node is named as parent, or -1 */
	DocumentChildren children;
} Reading;

/* The times decide the order, so they are read first. */
static bool
order_messages(Reading *reading, const DocumentPlace *place)
{
	Mapping *mapping = reading->mapping;
	TransferConversation *conversation = reading->conversation;
	int32 *parents = palloc(mul_size(Max(mapping->messages, 1), sizeof(int32)));
	int32 *node_of = palloc(mul_size(Max(mapping->messages, 1), sizeof(int32)));
	int32 *order;

	for (int32 i = 0; i < mapping->count; i++)
	{
		Node *node = &mapping->nodes[i];
		DocumentPlace at_node = document_at_text(place, node->key);
		DocumentPlace at = document_at_key(&at_node, "message");
		DocumentExtras ignored = {0};

		if (!node->has_message)
			continue;
		parents[node->message_index] = node->above;
		if (!document_read_fields(&node->message, chatgpt_order_fields, chatgpt_norder_fields,
								  &conversation->messages[node->message_index], &ignored, &at))
			return false;
		node_of[node->message_index] = i;
	}
	if (!document_arrange(conversation, parents, true, &order, place))
		return false;
	reading->node_of = palloc(mul_size(Max(conversation->count, 1), sizeof(int32)));
	for (int32 i = 0; i < conversation->count; i++)
		reading->node_of[i] = node_of[order[i]];
	pfree(parents);
	pfree(node_of);
	return true;
}

/* Whether what a node names as its parent is a node with a message. */
static bool
names_message(const Mapping *mapping, const Node *node)
{
	return node->parent.data != NULL && node->parent_node >= 0 &&
		   document_same_text(mapping->nodes[node->parent_node].key, node->parent) &&
		   mapping->nodes[node->parent_node].has_message;
}

static void
find_nodes(Reading *reading)
{
	Mapping *mapping = reading->mapping;
	int32 count = reading->conversation->count;
	int32 *position = palloc(mul_size(Max(mapping->count, 1), sizeof(int32)));

	reading->keys = palloc(mul_size(Max(count, 1), sizeof(TransferText)));
	reading->named = palloc(mul_size(Max(count, 1), sizeof(int32)));
	for (int32 i = 0; i < count; i++)
	{
		reading->keys[i] = mapping->nodes[reading->node_of[i]].key;
		position[reading->node_of[i]] = i;
	}
	for (int32 i = 0; i < count; i++)
	{
		const Node *node = &mapping->nodes[reading->node_of[i]];
		bool named = names_message(mapping, node);

		reading->named[i] = named ? position[node->parent_node] : -1;
	}
	reading->children = document_children(count, reading->named);
	pfree(position);
}

static bool
read_message(Reading *reading, int32 index, const DocumentPlace *place)
{
	const Node *node = &reading->mapping->nodes[reading->node_of[index]];
	TransferMessage *message = &reading->conversation->messages[index];
	DocumentPlace at_node = document_at_text(place, node->key);
	DocumentPlace at = document_at_key(&at_node, "message");
	DocumentExtras extras = {0};
	DocumentTools tools = {0};
	JsonbValue children;
	JsonbValue key = document_string(node->key);
	bool parent_written;
	bool children_written;

	if (!chatgpt_read_message(&node->message, message, &extras, &tools, &at))
		return false;
	if (!document_same_text(message->message_id, node->key))
		document_replace(&extras, "~key", &key);

	/* a root's null is written too */
	parent_written =
		node->parent.data == NULL ? node->parent_node < 0 : names_message(reading->mapping, node);
	children_written = document_get(&node->value, "children", &children) &&
					   document_same_children(&children, &reading->children, index, reading->keys);
	return keep_node(node, parent_written, children_written, &extras, &at_node) &&
		   document_metadata(FORMAT, &node->message, &extras, &tools, true, &at,
							 &message->metadata);
}

/* ---- reading: the conversation ---- */

/* The nodes without message, as they are. */
static bool
keep_nodes(const Mapping *mapping, DocumentExtras *extras, const DocumentPlace *place)
{
	DocumentOut out = {0};

	if (mapping->messages == mapping->count)
		return true;
	document_begin_object(&out);
	for (int32 i = 0; i < mapping->count; i++)
	{
		const Node *node = &mapping->nodes[i];
		DocumentPlace at = document_at_text(place, node->key);

		if (node->has_message)
			continue;
		if (!document_shallow(&node->value))
			return document_refuse(&at, TRANSFER_TOO_LARGE, "nested deeper than %d levels",
								   DOCUMENT_MAX_DEPTH);
		document_key_text(&out, node->key);
		document_put(&out, &node->value);
	}
	document_end(&out);
	document_replace(extras, "~nodes", out.result);
	return true;
}

/* The head is what current_node is, or what is above it; without one the last message. */
static bool
read_head(const JsonbValue *root, Reading *reading, DocumentExtras *extras,
		  const DocumentPlace *place)
{
	TransferConversation *conversation = reading->conversation;
	JsonbValue value;
	JsonbValue head;
	int32 node = -1;

	if (!document_get(root, "current_node", &value))
		document_absent(extras, "current_node");
	else if (value.type == jbvString)
		node = document_find(&reading->mapping->ids, document_text(&value));
	else if (value.type != jbvNull)
		return document_refuse_key(place, "current_node", TRANSFER_BAD_VALUE, "not a string");
	while (node >= 0 && !reading->mapping->nodes[node].has_message)
		node = reading->mapping->nodes[node].parent_node;

	conversation->head = conversation->count - 1;
	for (int32 i = 0; node >= 0 && i < conversation->count; i++)
		if (reading->node_of[i] == node)
			conversation->head = i;
	if (node >= 0 && document_same_text(document_text(&value), reading->keys[conversation->head]))
		document_skip(extras, "current_node");
	else if (conversation->count > 0)
	{
		head = document_string(reading->keys[conversation->head]);
		document_replace(extras, "~head", &head);
	}
	return true;
}

static bool
chatgpt_read(Jsonb *document, TransferConversation *conversation, TransferProblem *problem)
{
	JsonbValue root = document_root(document);
	DocumentPlace place = document_place(problem);
	DocumentPlace at = document_at_key(&place, "mapping");
	Mapping mapping = {0};
	Reading reading = {.mapping = &mapping, .conversation = conversation};
	DocumentExtras extras = {0};
	JsonbValue object;

	if (!document_get(&root, "mapping", &object))
		return document_refuse(&place, TRANSFER_NO_MESSAGES, "there is no key \"mapping\"");
	if (!document_is_object(&object))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an object");
	if (!read_nodes(&object, &mapping, &at) ||
		!document_messages(conversation, mapping.messages, &at) || !link_nodes(&mapping, &at) ||
		!order_messages(&reading, &at))
		return false;
	find_nodes(&reading);
	for (int32 i = 0; i < conversation->count; i++)
		if (!read_message(&reading, i, &at))
			return false;

	chatgpt_default_model(conversation, document_get_text(&root, "default_model_slug"));
	document_skip(&extras, "mapping");
	conversation->source_id = document_get_text(&root, "conversation_id");
	if (conversation->source_id.data == NULL)
		conversation->source_id = document_get_text(&root, "id");
	return document_read_fields(&root, fields, lengthof(fields), conversation, &extras, &place) &&
		   read_head(&root, &reading, &extras, &place) && keep_nodes(&mapping, &extras, &at) &&
		   document_metadata(FORMAT, &root, &extras, NULL, true, &place, &conversation->metadata);
}

/* ---- writing ---- */

typedef struct Writing
{
	const TransferConversation *conversation;
	const JsonbValue *own;
	TransferText *keys;
	JsonbValue *message_own;
	bool *is_own;
	JsonbValue *nodes; /* ~node, if has_node */
	bool *has_node;
	DocumentChildren children;
	DocumentOut out;
} Writing;

/* The message whose node a node names as its parent, or -1. */
static int32
named_parent(const Writing *writing, const DocumentIds *ids, int32 index)
{
	JsonbValue parent;

	if (writing->has_node[index])
	{
		if (document_was_absent(&writing->nodes[index], "parent"))
			return -1;
		if (document_kept(&writing->nodes[index], "parent", &parent))
			return document_find(ids, document_text(&parent));
	}
	return document_parent(writing->conversation, index);
}

static void
prepare(Writing *writing)
{
	int32 count = writing->conversation->count;
	int32 *named = palloc(mul_size(Max(count, 1), sizeof(int32)));
	DocumentIds ids;
	int32 duplicate;

	writing->keys = document_message_ids(writing->conversation, FORMAT, "~key");
	(void) document_ids(&ids, writing->keys, count, &duplicate);
	writing->message_own = palloc(mul_size(Max(count, 1), sizeof(JsonbValue)));
	writing->is_own = palloc(Max(count, 1));
	writing->nodes = palloc(mul_size(Max(count, 1), sizeof(JsonbValue)));
	writing->has_node = palloc(Max(count, 1));
	for (int32 i = 0; i < count; i++)
	{
		writing->is_own[i] = document_own(writing->conversation->messages[i].metadata, FORMAT,
										  &writing->message_own[i]);
		writing->has_node[i] = writing->is_own[i] &&
							   document_kept(&writing->message_own[i], "~node", &writing->nodes[i]);
		named[i] = named_parent(writing, &ids, i);
	}
	writing->children = document_children(count, named);
	pfree(named);
}

static void
write_parent(Writing *writing, int32 index)
{
	int32 parent = document_parent(writing->conversation, index);

	if (parent >= 0)
		document_put_text(&writing->out, writing->keys[parent]);
	else if (writing->own == NULL)
		document_put_string(&writing->out, NEW_ROOT);
	else
		document_put_null(&writing->out);
}

static void
write_node(Writing *writing, int32 index)
{
	DocumentOut *out = &writing->out;
	const JsonbValue *node = writing->has_node[index] ? &writing->nodes[index] : NULL;
	JsonbValue value;

	document_key_text(out, writing->keys[index]);
	document_begin_object(out);
	document_put_extras(out, node);
	if (!document_kept(node, "id", &value) && !document_was_absent(node, "id"))
	{
		document_key(out, "id");
		document_put_text(out, writing->keys[index]);
	}
	if (!document_kept(node, "parent", &value) && !document_was_absent(node, "parent"))
	{
		document_key(out, "parent");
		write_parent(writing, index);
	}
	document_write_children(out, "children", &writing->children, index, writing->keys,
							writing->is_own, node);
	document_key(out, "message");
	chatgpt_write_message(out, &writing->conversation->messages[index], writing->keys[index],
						  writing->is_own[index] ? &writing->message_own[index] : NULL,
						  writing->own != NULL
							  ? document_get_text(writing->own, "default_model_slug")
							  : (TransferText){NULL, 0});
	document_end(out);
}

/* Nodes without message: those of the document, or a root. */
static void
write_nodes(Writing *writing)
{
	DocumentOut *out = &writing->out;
	JsonbValue nodes;

	if (writing->own != NULL)
	{
		if (document_kept(writing->own, "~nodes", &nodes))
			document_put_pairs(out, &nodes);
		return;
	}
	document_key(out, NEW_ROOT);
	document_begin_object(out);
	document_key(out, "id");
	document_put_string(out, NEW_ROOT);
	document_key(out, "message");
	document_put_null(out);
	document_key(out, "parent");
	document_put_null(out);
	document_key(out, "children");
	document_begin_array(out);
	for (int32 i = 0; i < writing->conversation->count; i++)
		if (document_parent(writing->conversation, i) < 0)
			document_put_text(out, writing->keys[i]);
	document_end(out);
	document_end(out);
}

static void
write_head(Writing *writing)
{
	int32 head = document_head(writing->conversation);
	JsonbValue noted;

	if (head < 0)
		return;
	if (document_kept(writing->own, "~head", &noted) &&
		document_same_text(document_text(&noted), writing->keys[head]))
		return;
	document_key(&writing->out, "current_node");
	document_put_text(&writing->out, writing->keys[head]);
}

static Jsonb *
chatgpt_write(const TransferConversation *conversation, bool *many)
{
	TransferConversation written = *conversation;
	JsonbValue own;
	bool is_own = document_own(conversation->metadata, FORMAT, &own);
	Writing writing = {.conversation = conversation, .own = is_own ? &own : NULL};
	DocumentOut *out = &writing.out;

	prepare(&writing);
	document_begin_object(out);
	document_put_extras(out, writing.own);
	document_restore_updated_at(&written, FORMAT, fields, lengthof(fields), writing.own);
	document_write_fields(out, fields, lengthof(fields), &written, writing.own);
	if (!is_own && conversation->source_id.data != NULL)
	{
		document_key(out, "id");
		document_put_text(out, conversation->source_id);
		document_key(out, "conversation_id");
		document_put_text(out, conversation->source_id);
	}
	write_head(&writing);
	document_key(out, "mapping");
	document_begin_object(out);
	write_nodes(&writing);
	for (int32 i = 0; i < conversation->count; i++)
		write_node(&writing, i);
	document_end(out);
	document_end(out);
	*many = false;
	return document_done(out);
}

const TransferFormat transfer_chatgpt = {.name = FORMAT,
										 .label = "ChatGPT export",
										 .detect = chatgpt_detect,
										 .read = chatgpt_read,
										 .write = chatgpt_write,
										 .branches = true};
