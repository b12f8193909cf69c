/*
 * redis_replay.c
 *		The sessions that Redis commands would make: an append-only file, or
 *		what was written for `redis-cli --pipe`, replayed in memory.
 *
 * Only keys that belong to the layout are kept.  A command that changes one of
 * them and is not known here is an error, since the sessions would be wrong;
 * commands on other keys are passed over.
 *
 * Values point into the text, which the caller keeps.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "redis.h"

#define ULID_LENGTH 26
/* A session's hash has three. */
#define MAX_FIELDS 1000

/* A key, by name; the hash table's key is the RespText. */
typedef struct ReplayKey
{
	RespText name;
	int64 order;      /* of its first command: sessions come in this order */
	bool deleted;     /* or expired */
	RespText *values; /* list: head to tail between head and tail; hash: pairs; JSON: one */
	int64 capacity;
	int64 head;
	int64 tail;
	int64 expires_at; /* milliseconds since 1970; 0: never */
} ReplayKey;

typedef struct Replay
{
	const RedisKeys *keys;
	RespReader reader;
	HTAB *table;
	int64 now;
	int64 order;
	bool told; /* that the beginning is missing */
} Replay;

static uint32
hash_text(const void *key, Size size)
{
	const RespText *text = key;

	return DatumGetUInt32(hash_any((const unsigned char *) text->data, (int) text->length));
}

static int
match_text(const void *a, const void *b, Size size)
{
	const RespText *left = a;
	const RespText *right = b;

	return left->length != right->length || memcmp(left->data, right->data, left->length) != 0;
}

static bool
text_is(RespText text, const char *word)
{
	return strlen(word) == text.length && pg_strncasecmp(text.data, word, text.length) == 0;
}

/* ---------- patterns, as Redis has them ---------- */

/* One [...] of a pattern, from behind the bracket; pattern moves behind its end. */
static bool
matches_set(const char **pattern, char c)
{
	const char *p = *pattern;
	bool negated = *p == '^';
	bool found = false;

	if (negated)
		p++;
	for (; *p != '\0' && *p != ']'; p++)
	{
		if (*p == '\\' && p[1] != '\0')
			found |= *++p == c;
		else if (p[1] == '-' && p[2] != '\0' && p[2] != ']')
		{
			found |= (unsigned char) c >= (unsigned char) Min(p[0], p[2]) &&
					 (unsigned char) c <= (unsigned char) Max(p[0], p[2]);
			p += 2;
		}
		else
			found |= *p == c;
	}
	*pattern = *p == ']' ? p + 1 : p;
	return found != negated;
}

/* Backtracks to the last * only, so that no pattern takes long. */
static bool
matches(const char *pattern, RespText text)
{
	const char *at = text.data;
	const char *end = text.data + text.length;
	const char *star = NULL;
	const char *resume = NULL;

	while (at < end)
	{
		const char *next = pattern + 1;
		bool same = false;

		if (*pattern == '*')
		{
			star = next;
			resume = at;
			pattern = next;
			continue;
		}
		if (*pattern == '?')
			same = true;
		else if (*pattern == '[')
			same = matches_set(&next, *at);
		else if (*pattern == '\\' && *next != '\0')
			same = *next++ == *at;
		else if (*pattern != '\0')
			same = *pattern == *at;
		if (same)
		{
			pattern = next;
			at++;
		}
		else if (star != NULL)
		{
			pattern = star;
			at = ++resume;
		}
		else
			return false;
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

/* ---------- keys ---------- */

static bool
ends_with(RespText text, const char *suffix)
{
	Size length = strlen(suffix);

	return text.length >= length && memcmp(text.data + text.length - length, suffix, length) == 0;
}

/* Whether a key is a session's: its list, or, of agents, the hash beside it. */
static bool
is_ours(Replay *replay, RespText key)
{
	if (matches(replay->keys->match, key))
		return true;
	if (replay->keys->layout->kind == REDIS_AGENTS && !ends_with(key, ":counter"))
	{
		RespText list;
		char *name = palloc(key.length + strlen(replay->keys->layout->suffix) + 1);
		bool result;

		memcpy(name, key.data, key.length);
		strcpy(name + key.length, replay->keys->layout->suffix);
		list.data = name;
		list.length = key.length + strlen(replay->keys->layout->suffix);
		result = matches(replay->keys->match, list);
		pfree(name);
		return result;
	}
	return false;
}

static void
forget_values(ReplayKey *key)
{
	key->head = key->tail = 0;
	key->capacity = 0;
	key->expires_at = 0;
	if (key->values != NULL)
		pfree(key->values);
	key->values = NULL;
}

/* The key as it is now; made if it is not there and make is true, else NULL. */
static ReplayKey *
find_key(Replay *replay, RespText name, bool make)
{
	bool found;
	ReplayKey *key = hash_search(replay->table, &name, make ? HASH_ENTER : HASH_FIND, &found);

	if (!found && make)
	{
		memset((char *) key + sizeof(RespText), 0, sizeof(ReplayKey) - sizeof(RespText));
		key->order = replay->order++;
	}
	if (key != NULL && key->deleted)
	{
		if (!make)
			return NULL;
		key->deleted = false;
		key->order = replay->order++;
	}
	return key;
}

/* Makes space for one more value on the side that grows. */
static void
make_room(ReplayKey *key, bool at_head)
{
	int64 count = key->tail - key->head;
	int64 capacity = Max(16, count * 3);
	RespText *values;
	int64 head;

	if (at_head ? key->head > 0 : key->tail < key->capacity)
		return;
	values = palloc_extended(mul_size(capacity, sizeof(RespText)), MCXT_ALLOC_HUGE);
	head = at_head ? capacity - count - count / 2 - 1 : count / 2;
	if (count > 0)
		memcpy(values + head, key->values + key->head, count * sizeof(RespText));
	if (key->values != NULL)
		pfree(key->values);
	key->values = values;
	key->capacity = capacity;
	key->head = head;
	key->tail = head + count;
}

static void
push(ReplayKey *key, RespText value, bool at_head)
{
	make_room(key, at_head);
	if (at_head)
		key->values[--key->head] = value;
	else
		key->values[key->tail++] = value;
}

/* ---------- commands ---------- */

static void
refuse_command(Replay *replay, const char *why)
{
	RespText *args = replay->reader.args;

	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("Redis command \"%s\" %s", pnstrdup(args[0].data, Min(args[0].length, 32)),
					why),
			 errdetail("It is command " INT64_FORMAT ".", replay->reader.commands),
			 errhint("Import from the live server, or write the keys anew as RPUSH, HSET, JSON.SET "
					 "and PEXPIREAT.")));
}

static int64
integer_argument(Replay *replay, int n)
{
	RespText text = n < replay->reader.count ? replay->reader.args[n] : (RespText){"", 0};
	bool negative = text.length > 0 && text.data[0] == '-';
	int64 value = 0;

	if (text.length <= negative || text.length > 18)
		refuse_command(replay, "lacks a number");
	for (Size i = negative; i < text.length; i++)
	{
		if (text.data[i] < '0' || text.data[i] > '9')
			refuse_command(replay, "lacks a number");
		value = value * 10 + (text.data[i] - '0');
	}
	return negative ? -value : value;
}

/*
 * A key that a command takes for granted, and no command before has made: the
 * text does not begin where the keys did.
 */
static ReplayKey *
known_key(Replay *replay, RespText name)
{
	ReplayKey *key = find_key(replay, name, false);

	if (key == NULL && !replay->told && hash_search(replay->table, &name, HASH_FIND, NULL) == NULL)
	{
		replay->told = true;
		ereport(WARNING,
				(errmsg("the commands change a key that they have not created"),
				 errdetail("Command " INT64_FORMAT
						   " changes a key that no earlier command has created.",
						   replay->reader.commands),
				 errhint("Redis 7 splits the append-only file: pass the base file followed by the "
						 "incremental ones, or import from the live server.")));
	}
	return key;
}

static void
set_expiry(Replay *replay, ReplayKey *key, int64 at)
{
	/* NX, XX, GT and LT */
	if (replay->reader.count > 3)
		refuse_command(replay, "with a condition is not supported");
	if (key != NULL)
		key->expires_at = at;
}

/* LTRIM key from to, with numbers from the end. */
static void
trim(ReplayKey *key, int64 from, int64 to)
{
	int64 count = key->tail - key->head;

	from = from < 0 ? Max(from + count, 0) : Min(from, count);
	to = to < 0 ? to + count : Min(to, count - 1);
	if (from > to)
	{
		forget_values(key);
		key->deleted = true;
		return;
	}
	key->tail = key->head + to + 1;
	key->head += from;
}

static void
set_field(Replay *replay, ReplayKey *key, RespText field, RespText value)
{
	if (key->tail - key->head > MAX_FIELDS * 2)
		refuse_command(replay, "makes a hash of too many fields");
	for (int64 i = key->head; i < key->tail; i += 2)
		if (match_text(&key->values[i], &field, 0) == 0)
		{
			key->values[i + 1] = value;
			return;
		}
	push(key, field, false);
	push(key, value, false);
}

static void
set_document(Replay *replay, RespText name, RespText path, RespText value)
{
	ReplayKey *key;

	if (!text_is(path, "$") && !text_is(path, "."))
		refuse_command(replay, "on a part of a document is not supported");
	key = find_key(replay, name, true);
	key->head = key->tail = 0;
	push(key, value, false);
}

/* A command on a key of ours; false: it is not known here. */
static bool
replay_on_key(Replay *replay, RespText name)
{
	RespText *args = replay->reader.args;
	int count = replay->reader.count;
	bool left = text_is(args[0], "LPUSH") || text_is(args[0], "LPUSHX");
	ReplayKey *key;

	if (left || text_is(args[0], "RPUSH") || text_is(args[0], "RPUSHX"))
	{
		key = find_key(replay, name, args[0].length == 5);
		for (int i = 2; key != NULL && i < count; i++)
			push(key, args[i], left);
	}
	else if (text_is(args[0], "HSET") || text_is(args[0], "HMSET"))
	{
		key = find_key(replay, name, true);
		for (int i = 2; i + 1 < count; i += 2)
			set_field(replay, key, args[i], args[i + 1]);
	}
	else if (text_is(args[0], "JSON.SET") && count == 4)
		set_document(replay, name, args[2], args[3]);
	else if (text_is(args[0], "LTRIM"))
	{
		if ((key = known_key(replay, name)) != NULL)
			trim(key, integer_argument(replay, 2), integer_argument(replay, 3));
	}
	else if (text_is(args[0], "RPOP") || text_is(args[0], "LPOP"))
	{
		if ((key = known_key(replay, name)) != NULL)
		{
			int64 n = count > 2 ? integer_argument(replay, 2) : 1;

			trim(key, text_is(args[0], "LPOP") ? n : 0, text_is(args[0], "LPOP") ? -1 : -1 - n);
		}
	}
	else if (text_is(args[0], "EXPIRE"))
		set_expiry(replay, known_key(replay, name),
				   replay->now + integer_argument(replay, 2) * 1000);
	else if (text_is(args[0], "PEXPIRE"))
		set_expiry(replay, known_key(replay, name), replay->now + integer_argument(replay, 2));
	else if (text_is(args[0], "EXPIREAT"))
		set_expiry(replay, known_key(replay, name), integer_argument(replay, 2) * 1000);
	else if (text_is(args[0], "PEXPIREAT"))
		set_expiry(replay, known_key(replay, name), integer_argument(replay, 2));
	else if (text_is(args[0], "PERSIST"))
		set_expiry(replay, known_key(replay, name), 0);
	else
		return false;
	return true;
}

static void
delete_keys(Replay *replay)
{
	for (int i = 1; i < replay->reader.count; i++)
	{
		ReplayKey *key = find_key(replay, replay->reader.args[i], false);

		if (key != NULL)
		{
			forget_values(key);
			key->deleted = true;
		}
	}
}

static void
replay_command(Replay *replay)
{
	RespText *args = replay->reader.args;
	int count = replay->reader.count;

	if (count == 1 || text_is(args[0], "SELECT"))
		return; /* MULTI, EXEC, PING and the like touch no key */
	if (text_is(args[0], "DEL") || text_is(args[0], "UNLINK"))
		delete_keys(replay);
	else if (text_is(args[0], "RENAME") || text_is(args[0], "COPY") || text_is(args[0], "RESTORE"))
	{
		for (int i = 1; i < Min(count, 3); i++)
			if (is_ours(replay, args[i]))
				refuse_command(replay, "is not supported");
	}
	else if (is_ours(replay, args[1]) && !replay_on_key(replay, args[1]))
		refuse_command(replay, "is not supported");
}

/* ---------- sessions ---------- */

static int
compare_order(const void *a, const void *b)
{
	const ReplayKey *left = *(ReplayKey *const *) a;
	const ReplayKey *right = *(ReplayKey *const *) b;

	return left->order < right->order ? -1 : left->order > right->order;
}

static int
compare_names(const void *a, const void *b)
{
	const RespText *left = &(*(ReplayKey *const *) a)->name;
	const RespText *right = &(*(ReplayKey *const *) b)->name;
	int order = memcmp(left->data, right->data, Min(left->length, right->length));

	return order != 0 ? order : left->length < right->length ? -1 : left->length > right->length;
}

/* The living keys that messages are in: in order of appearance, documents in order of name. */
static ReplayKey **
living_keys(Replay *replay, int64 *count)
{
	ReplayKey **result =
		palloc_extended(mul_size(Max(hash_get_num_entries(replay->table), 1), sizeof(ReplayKey *)),
						MCXT_ALLOC_HUGE);
	HASH_SEQ_STATUS status;
	ReplayKey *key;

	*count = 0;
	hash_seq_init(&status, replay->table);
	while ((key = hash_seq_search(&status)) != NULL)
		if (!key->deleted && key->tail > key->head &&
			(key->expires_at == 0 || key->expires_at > replay->now) &&
			matches(replay->keys->match, key->name))
			result[(*count)++] = key;
	qsort(result, *count, sizeof(ReplayKey *),
		  replay->keys->layout->kind == REDIS_LANGCHAIN_JSON ? compare_names : compare_order);
	return result;
}

static void
name_session(Replay *replay, RedisSession *session, RespText name)
{
	Size prefix = strlen(replay->keys->prefix);

	if (replay->keys->layout->kind == REDIS_LANGCHAIN_JSON && name.length > ULID_LENGTH + 1 &&
		name.data[name.length - ULID_LENGTH - 1] == ':')
		name.length -= ULID_LENGTH + 1;
	session->key = name;
	session->id = name;
	if (name.length >= prefix && memcmp(name.data, replay->keys->prefix, prefix) == 0)
	{
		session->id.data += prefix;
		session->id.length -= prefix;
	}
	if (ends_with(session->id, replay->keys->layout->suffix))
		session->id.length -= strlen(replay->keys->layout->suffix);
}

/* The hash of an Agents session. */
static void
add_fields(Replay *replay, RedisSession *session)
{
	RespText name = session->key;
	ReplayKey *key;

	name.length -= strlen(replay->keys->layout->suffix);
	key = find_key(replay, name, false);
	if (key == NULL)
		return;
	session->fields = key->values + key->head;
	session->nfields = (int) Min(key->tail - key->head, PG_INT16_MAX - 1);
}

static void
hand_over(Replay *replay, ReplayKey **keys, int64 count, RedisSink sink, void *arg)
{
	for (int64 i = 0; i < count; i++)
	{
		RedisSession session = {0};
		ReplayKey *key = keys[i];

		CHECK_FOR_INTERRUPTS();
		name_session(replay, &session, key->name);
		session.expires_at = key->expires_at;
		session.count = key->tail - key->head;
		session.items = key->values + key->head;
		if (replay->keys->layout->kind == REDIS_LANGCHAIN)
			for (int64 left = 0, right = session.count - 1; left < right; left++, right--)
			{
				RespText swap = session.items[left];

				session.items[left] = session.items[right];
				session.items[right] = swap;
			}
		else if (replay->keys->layout->kind == REDIS_AGENTS)
			add_fields(replay, &session);
		else
		{
			RedisSession next = {0};

			session.items = palloc_extended(mul_size(count - i, sizeof(RespText)), MCXT_ALLOC_HUGE);
			session.items[0] = key->values[key->head];
			session.count = 1;
			for (; i + 1 < count; i++)
			{
				name_session(replay, &next, keys[i + 1]->name);
				if (match_text(&next.key, &session.key, 0) != 0)
					break;
				session.items[session.count++] = keys[i + 1]->values[keys[i + 1]->head];
				session.expires_at = keys[i + 1]->expires_at;
			}
		}
		sink(&session, arg);
	}
}

void
redis_replay(const char *text, Size length, const RedisKeys *keys, RedisSink sink, void *arg)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "memory_ext redis replay",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Replay replay = {keys};
	HASHCTL control = {0};
	ReplayKey **living;
	int64 count;

	control.keysize = sizeof(RespText);
	control.entrysize = sizeof(ReplayKey);
	control.hash = hash_text;
	control.match = match_text;
	control.hcxt = context;
	replay.table = hash_create("memory_ext redis keys", 1024, &control,
							   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	replay.now = GetCurrentTimestamp() / 1000 + REDIS_EPOCH_MS;

	if (length >= 5 && memcmp(text, "REDIS", 5) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
				 errmsg("the text begins with a snapshot (RDB), not with commands"),
				 errhint("Redis writes one when it rewrites its append-only file: set "
						 "aof-use-rdb-preamble to no and run BGREWRITEAOF, or import from the live "
						 "server.")));
	resp_open(&replay.reader, text, length);
	while (resp_next(&replay.reader))
	{
		CHECK_FOR_INTERRUPTS();
		replay_command(&replay);
	}
	living = living_keys(&replay, &count);
	hand_over(&replay, living, count, sink, arg);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
