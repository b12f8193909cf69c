/*
 * redis_scan.c
 *		The sessions of a live Redis server: SCAN, and a pipeline of reads for
 *		each batch of keys.
 *
 * SCAN may name a key twice while the server resizes its table; importing a
 * session twice changes nothing, so nothing is remembered of it here.  A long
 * list is read in pages, counted from its oldest end: what is pushed meanwhile
 * moves no page.
 *
 * Each batch has a memory context; replies belong to the connection and are
 * forgotten with the batch.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "redis.h"

/* Keys that SCAN looks at, and at most so many are read at once. */
#define SCAN_COUNT 500
#define BATCH_KEYS 100
/* Items of a page. */
#define PAGE_ITEMS 1000
/* <ULID> at the end of a JSON document's key. */
#define ULID_LENGTH 26

typedef struct Scan
{
	RedisConnection *connection;
	const RedisKeys *keys;
	RedisSink sink;
	void *arg;
	MemoryContext batch;
} Scan;

static RespText
text_of(const RedisReply *reply)
{
	RespText text = {reply->data, reply->length};

	return text;
}

static bool
ends_with(RespText text, const char *suffix)
{
	Size length = strlen(suffix);

	return text.length >= length && memcmp(text.data + text.length - length, suffix, length) == 0;
}

static bool
begins_with(RespText text, const char *prefix)
{
	Size length = strlen(prefix);

	return text.length >= length && memcmp(text.data, prefix, length) == 0;
}

/* The session's id is the key without the layout's prefix and suffix. */
static RespText
session_id(const Scan *scan, RespText key)
{
	RespText id = key;

	if (begins_with(id, scan->keys->prefix))
	{
		id.data += strlen(scan->keys->prefix);
		id.length -= strlen(scan->keys->prefix);
	}
	if (ends_with(id, scan->keys->layout->suffix))
		id.length -= strlen(scan->keys->layout->suffix);
	return id;
}

/* From what PTTL has just said: a scan may take longer than a key lives. */
static int64
expiry(int64 ttl)
{
	if (ttl < 0)
		return 0;
	return GetCurrentTimestamp() / 1000 + REDIS_EPOCH_MS + ttl;
}

static void
send_range(Scan *scan, RespText key, int64 page)
{
	bool newest_first = scan->keys->layout->kind == REDIS_LANGCHAIN;
	int64 first = page * PAGE_ITEMS;
	int64 last = first + PAGE_ITEMS - 1;
	char *from = psprintf(INT64_FORMAT, newest_first ? -last - 1 : first);
	char *to = psprintf(INT64_FORMAT, newest_first ? -first - 1 : last);
	const char *args[4] = {"LRANGE", key.data, from, to};
	Size lengths[4] = {6, key.length, strlen(from), strlen(to)};

	redis_send(scan->connection, 4, args, lengths);
}

static void
send_key(Scan *scan, const char *command, RespText key)
{
	const char *args[2] = {command, key.data};
	Size lengths[2] = {strlen(command), key.length};

	redis_send(scan->connection, 2, args, lengths);
}

/* Appends a page to the session's items, oldest first; the page's count. */
static int64
take_page(Scan *scan, RedisSession *session, Size *capacity)
{
	RedisReply *reply = redis_expect(scan->connection, REDIS_ARRAY, "LRANGE");
	bool newest_first = scan->keys->layout->kind == REDIS_LANGCHAIN;

	if (session->count + reply->count > *capacity)
	{
		*capacity = Max(*capacity * 2, session->count + reply->count);
		session->items =
			session->items == NULL
				? palloc_extended(mul_size(*capacity, sizeof(RespText)), MCXT_ALLOC_HUGE)
				: repalloc_huge(session->items, mul_size(*capacity, sizeof(RespText)));
	}
	for (Size i = 0; i < reply->count; i++)
	{
		RedisReply *item = reply->elements[newest_first ? reply->count - 1 - i : i];

		if (item == NULL || item->type != REDIS_STRING)
			ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
							errmsg("an element of a Redis list is not a string")));
		session->items[session->count++] = text_of(item);
	}
	return (int64) reply->count;
}

static void
take_fields(Scan *scan, RedisSession *session)
{
	RedisReply *reply = redis_receive(scan->connection);

	/* somebody may have deleted it, or made something else of it */
	if (reply->type != REDIS_ARRAY)
		return;
	session->fields = palloc(mul_size(Max(reply->count, 1), sizeof(RespText)));
	for (Size i = 0; i < reply->count; i++)
		if (reply->elements[i] != NULL && reply->elements[i]->type == REDIS_STRING)
			session->fields[session->nfields++] = text_of(reply->elements[i]);
	session->nfields -= session->nfields % 2;
}

/* The hash of an Agents session stands beside its list. */
static RespText
hash_key(const Scan *scan, RespText key)
{
	if (ends_with(key, scan->keys->layout->suffix))
		key.length -= strlen(scan->keys->layout->suffix);
	return key;
}

/* Reads and hands over the sessions of some lists. */
static void
read_lists(Scan *scan, const RespText *keys, int count)
{
	RedisSession *sessions = palloc0(mul_size(count, sizeof(RedisSession)));
	Size *rooms = palloc0(mul_size(count, sizeof(Size)));
	int64 *pages = palloc0(mul_size(count, sizeof(int64)));
	bool hashes = scan->keys->layout->kind == REDIS_AGENTS;

	for (int i = 0; i < count; i++)
	{
		send_range(scan, keys[i], 0);
		send_key(scan, "PTTL", keys[i]);
		if (hashes)
			send_key(scan, "HGETALL", hash_key(scan, keys[i]));
	}
	for (int i = 0; i < count; i++)
	{
		sessions[i].key = keys[i];
		sessions[i].id = session_id(scan, keys[i]);
		pages[i] = take_page(scan, &sessions[i], &rooms[i]);
		sessions[i].expires_at =
			expiry(redis_expect(scan->connection, REDIS_INTEGER, "PTTL")->integer);
		if (hashes)
			take_fields(scan, &sessions[i]);
	}
	for (int i = 0; i < count; i++)
	{
		for (int64 page = 1; pages[i] == PAGE_ITEMS; page++)
		{
			CHECK_FOR_INTERRUPTS();
			send_range(scan, keys[i], page);
			pages[i] = take_page(scan, &sessions[i], &rooms[i]);
		}
		/* an empty one is gone since SCAN named it */
		if (sessions[i].count > 0)
			scan->sink(&sessions[i], scan->arg);
	}
}

/* One call of SCAN; false at the end.  The keys live until the replies are forgotten. */
static bool
scan_keys(Scan *scan, char **cursor, RespText **keys, Size *count)
{
	const char *type = scan->keys->layout->kind == REDIS_LANGCHAIN_JSON ? "ReJSON-RL" : "list";
	const char *args[8] = {"SCAN",  *cursor,
						   "MATCH", scan->keys->match,
						   "COUNT", psprintf("%d", SCAN_COUNT),
						   "TYPE",  type};
	RedisReply *reply;
	RedisReply *names;

	redis_send(scan->connection, 8, args, NULL);
	reply = redis_expect(scan->connection, REDIS_ARRAY, "SCAN");
	if (reply->count != 2 || reply->elements[0] == NULL || reply->elements[1] == NULL ||
		reply->elements[0]->type != REDIS_STRING || reply->elements[1]->type != REDIS_ARRAY ||
		reply->elements[0]->length > 20)
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("Redis answered SCAN with something other than keys")));
	names = reply->elements[1];
	*keys = palloc(mul_size(Max(names->count, 1), sizeof(RespText)));
	*count = 0;
	for (Size i = 0; i < names->count; i++)
		if (names->elements[i] != NULL && names->elements[i]->type == REDIS_STRING)
			(*keys)[(*count)++] = text_of(names->elements[i]);
	*cursor = MemoryContextStrdup(GetMemoryChunkContext(*cursor), reply->elements[0]->data);
	return strcmp(*cursor, "0") != 0;
}

static void
scan_lists(Scan *scan)
{
	char *cursor = pstrdup("0");
	bool more;

	do
	{
		MemoryContext old = MemoryContextSwitchTo(scan->batch);
		RespText *keys;
		Size count;

		more = scan_keys(scan, &cursor, &keys, &count);
		for (Size i = 0; i < count; i += BATCH_KEYS)
			read_lists(scan, keys + i, (int) Min(BATCH_KEYS, count - i));
		MemoryContextSwitchTo(old);
		MemoryContextReset(scan->batch);
		redis_forget_replies(scan->connection);
	} while (more);
}

/* ---------- RedisJSON: a document a message ---------- */

static int
compare_texts(const void *a, const void *b)
{
	const RespText *left = a;
	const RespText *right = b;
	int order = memcmp(left->data, right->data, Min(left->length, right->length));

	return order != 0                      ? order
		   : left->length == right->length ? 0
		   : left->length < right->length  ? -1
										   : 1;
}

/* The part of a document's key that is its session's; its ULID is cut off. */
static RespText
session_key(RespText key)
{
	if (key.length > ULID_LENGTH + 1 && key.data[key.length - ULID_LENGTH - 1] == ':')
		key.length -= ULID_LENGTH + 1;
	return key;
}

/* SCAN finds nothing where the module is missing: ask for it. */
static void
require_json(Scan *scan)
{
	RedisReply *reply;
	RespText key = {scan->keys->prefix, strlen(scan->keys->prefix)};

	send_key(scan, "JSON.GET", key);
	reply = redis_receive(scan->connection);
	if (reply->type == REDIS_ERROR && strstr(reply->data, "unknown command") != NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("the Redis server has no RedisJSON, which layout "
							   "\"langchain-redis\" needs"),
						errhint("Load the module, or name the layout of the existing keys.")));
	redis_forget_replies(scan->connection);
}

/* Some documents of one session, appended; keys are in order. */
static void
take_documents(Scan *scan, RedisSession *session, const RespText *keys, Size count)
{
	for (Size i = 0; i < count; i++)
		send_key(scan, "JSON.GET", keys[i]);
	send_key(scan, "PTTL", keys[count - 1]);
	for (Size i = 0; i < count; i++)
	{
		RedisReply *reply = redis_receive(scan->connection);

		if (reply->type == REDIS_STRING)
			session->items[session->count++] = text_of(reply);
		else if (reply->type != REDIS_NIL)
			ereport(ERROR,
					(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("Redis refuses JSON.GET"),
					 errdetail_internal("%s", reply->data != NULL ? reply->data : "")));
	}
	session->expires_at = expiry(redis_expect(scan->connection, REDIS_INTEGER, "PTTL")->integer);
}

/* All keys, in order, each once: SCAN has no order, and may name one twice. */
static Size
collect_keys(Scan *scan, RespText **collected)
{
	char *cursor = pstrdup("0");
	RespText *keys = NULL;
	Size count = 0;
	Size capacity = 0;
	Size kept = 0;
	bool more;

	do
	{
		RespText *found;
		Size n;

		more = scan_keys(scan, &cursor, &found, &n);
		if (count + n > capacity)
		{
			capacity = Max(capacity * 2, count + n);
			keys = keys == NULL
					   ? palloc_extended(mul_size(capacity, sizeof(RespText)), MCXT_ALLOC_HUGE)
					   : repalloc_huge(keys, mul_size(capacity, sizeof(RespText)));
		}
		for (Size i = 0; i < n; i++)
		{
			char *copy = palloc(found[i].length + 1);

			memcpy(copy, found[i].data, found[i].length);
			copy[found[i].length] = '\0';
			keys[count].data = copy;
			keys[count++].length = found[i].length;
		}
		pfree(found);
		redis_forget_replies(scan->connection);
	} while (more);

	if (count > 0)
		qsort(keys, count, sizeof(RespText), compare_texts);
	for (Size i = 0; i < count; i++)
		if (kept == 0 || compare_texts(&keys[i], &keys[kept - 1]) != 0)
			keys[kept++] = keys[i];
	*collected = keys;
	return kept;
}

/* The n > 0 documents of one session. */
static void
scan_session(Scan *scan, RespText mine, const RespText *keys, Size n)
{
	RedisSession session = {0};

	session.key = mine;
	session.id = session_id(scan, mine);
	session.items = palloc_extended(mul_size(n, sizeof(RespText)), MCXT_ALLOC_HUGE);
	for (Size i = 0; i < n; i += PAGE_ITEMS)
	{
		CHECK_FOR_INTERRUPTS();
		take_documents(scan, &session, keys + i, Min(PAGE_ITEMS, n - i));
	}
	if (session.count > 0)
		scan->sink(&session, scan->arg);
}

/* All keys first: sorted, a session's stand together. */
static void
scan_documents(Scan *scan)
{
	RespText *keys;
	Size count;

	require_json(scan);
	count = collect_keys(scan, &keys);
	for (Size from = 0, to; from < count; from = to)
	{
		MemoryContext old = MemoryContextSwitchTo(scan->batch);
		RespText mine = session_key(keys[from]);

		for (to = from + 1; to < count; to++)
		{
			RespText next = session_key(keys[to]);

			if (compare_texts(&mine, &next) != 0)
				break;
		}
		scan_session(scan, mine, keys + from, to - from);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scan->batch);
		redis_forget_replies(scan->connection);
	}
}

/* A node of a cluster has some of the keys only, and SCAN says nothing of the others. */
void
redis_refuse_cluster(RedisConnection *connection)
{
	const char *args[2] = {"INFO", "cluster"};
	RedisReply *reply;

	redis_send(connection, 2, args, NULL);
	reply = redis_receive(connection);
	if (reply->type == REDIS_STRING && strstr(reply->data, "cluster_enabled:1") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the Redis server is a node of a cluster"),
				 errdetail("It has only some of the keys, and may move them to other nodes."),
				 errhint(
					 "Connect to a server that is not part of a cluster, or to a proxy that has "
					 "all keys.")));
	redis_forget_replies(connection);
}

void
redis_scan(RedisConnection *connection, const RedisKeys *keys, RedisSink sink, void *arg)
{
	Scan scan = {connection, keys, sink, arg, NULL};

	scan.batch = AllocSetContextCreate(CurrentMemoryContext, "memory_ext redis batch",
									   ALLOCSET_DEFAULT_SIZES);
	if (keys->layout->kind == REDIS_LANGCHAIN_JSON)
		scan_documents(&scan);
	else
		scan_lists(&scan);
	MemoryContextDelete(scan.batch);
}
