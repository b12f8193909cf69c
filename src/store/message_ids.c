/*
 * message_ids.c
 *		A message_id is unique within its conversation: filters of segments, and
 *		looking an id up.
 *
 * A segment's row has a Bloom filter over the message_ids inside, so that an id
 * is looked for in those segments only that perhaps have it; the tail's rows
 * are compared one by one.  The filter is on disk
 * (memory_store.segments.message_ids), NULL where no message has an id:
 *
 *	FILTER_BYTES_PER_ID bytes for each message with an id, the lowest bit of the
 *	first byte being bit 0.  Each id sets FILTER_HASHES of the bits.  Their
 *	numbers come from the id's CRC-32C (port/pg_crc32c.h; the checksum of WAL,
 *	the same on every platform) by MurmurHash3's finalizer (murmurhash32 of
 *	common/hashfn.h, which is plain arithmetic) and enhanced double hashing, as
 *	lib/bloomfilter.c does it.  With sixteen bits an id and eleven hashes a filter
 *	says "perhaps" to one id in about 1700 that is not there.
 *
 * The database is UTF-8, so that an id has the same bytes wherever a dump is
 * loaded.  memory_store.message_ids() makes a transcript's filter anew;
 * memory.verify() compares it with the row's.
 *
 * The caller holds the account's lock, which makes the answer exact: nobody
 * else writes to the conversation until the transaction ends.  All functions
 * need an SPI connection, but for those of the filter.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "store.h"

#define FILTER_BYTES_PER_ID 2
#define FILTER_HASHES 11

/* ---- filters ---- */

static bool
same_bytes(const char *a, uint32 a_length, const char *b, uint32 b_length)
{
	return a_length == b_length && memcmp(a, b, a_length) == 0;
}

bool
store_same_id(const TranscriptMessage *a, const TranscriptMessage *b)
{
	return a->message_id != NULL && b->message_id != NULL &&
		   same_bytes(a->message_id, a->message_id_len, b->message_id, b->message_id_len);
}

/* The numbers of an id's bits: where they begin, and the first step, for any size of filter. */
StoreIdHash
store_hash_id(const TranscriptMessage *message)
{
	StoreIdHash hash;
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, message->message_id, message->message_id_len);
	FIN_CRC32C(crc);
	hash.first = murmurhash32(crc);
	hash.step = murmurhash32(crc ^ 0x9e3779b9);
	return hash;
}

/* Sets the id's bits; false in *all when one of them was not set. */
static void
visit_bits(uint8 *bits, uint32 nbits, StoreIdHash hash, bool set, bool *all)
{
	uint32 bit = hash.first % nbits;
	uint32 step = hash.step % nbits;

	*all = true;
	for (uint32 i = 1; i <= FILTER_HASHES; i++)
	{
		uint8 mask = (uint8) (1 << (bit % 8));

		if ((bits[bit / 8] & mask) == 0)
		{
			*all = false;
			if (!set)
				return;
			bits[bit / 8] |= mask;
		}
		bit = (bit + step) % nbits;
		step = (step + i) % nbits;
	}
}

/* The filter of n messages, in the current memory context; NULL: none of them has an id. */
bytea *
store_filter_ids(const TranscriptMessage *messages, uint32 n)
{
	uint32 count = 0;
	bytea *filter;
	uint32 size;
	bool known;

	for (uint32 i = 0; i < n; i++)
		count += messages[i].message_id != NULL;
	if (count == 0)
		return NULL;
	size = count * FILTER_BYTES_PER_ID; /* a transcript has at most TRANSCRIPT_MAX_MESSAGES */
	filter = palloc0(VARHDRSZ + size);
	SET_VARSIZE(filter, VARHDRSZ + size);
	for (uint32 i = 0; i < n; i++)
		if (messages[i].message_id != NULL)
			visit_bits((uint8 *) VARDATA(filter), size * 8, store_hash_id(&messages[i]), true,
					   &known);
	return filter;
}

/* Whether a segment with this filter, detoasted, may have the id. */
bool
store_filter_has(const bytea *filter, StoreIdHash hash)
{
	uint32 size = VARSIZE_ANY_EXHDR(filter);
	bool known;

	if (size == 0)
		return true; /* nobody writes such a filter: verify() has more to say */
	visit_bits((uint8 *) VARDATA_ANY(unconstify(bytea *, filter)), size * 8, hash, false, &known);
	return known;
}

/* The filter as a statement's parameter: the value at n, and its place in nulls. */
void
store_filter_datum(const bytea *filter, Datum *values, char *nulls, int n)
{
	values[n] = PointerGetDatum(filter);
	nulls[n] = filter == NULL ? 'n' : ' ';
}

/* The message of a transcript that has the id of another one; NULL: none. */
TranscriptMessage *
store_find_id(TranscriptMessage *messages, uint32 n, const TranscriptMessage *wanted)
{
	for (uint32 i = 0; i < n; i++)
		if (store_same_id(&messages[i], wanted))
			return &messages[i];
	return NULL;
}

PG_FUNCTION_INFO_V1(memory_message_ids);

/*
 * memory_message_ids(body transcript) → bytea
 *		The filter that a segment of this body has; NULL: no message has an id.
 */
Datum
memory_message_ids(PG_FUNCTION_ARGS)
{
	Transcript *transcript = transcript_open(PG_GETARG_DATUM(0));
	bytea *filter = store_filter_ids(transcript->messages, transcript->count);

	transcript_close(transcript);
	if (filter == NULL)
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(filter);
}

/* ---- a message that is there already ---- */

/*
 * store_check_repeated
 *		Whether a message repeats the stored one that has its message_id: role
 *		and content are compared, and seq if it has one.  Error: 23505.
 */
void
store_check_repeated(const pg_uuid_t *id, const TranscriptMessage *message,
					 const TranscriptMessage *stored)
{
	const char *detail = NULL;

	if (message->seq != 0 && message->seq != stored->seq)
		detail = psprintf("It was given the seq " INT64_FORMAT ".", message->seq);
	else if (!same_bytes(message->role, message->role_len, stored->role, stored->role_len))
		detail = "Their roles differ.";
	else if (!same_bytes(message->content, message->content_len, stored->content,
						 stored->content_len))
		detail = "Their contents differ.";
	if (detail == NULL)
		return;
	ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
					errmsg("message_id \"%.*s\" is already used by message " INT64_FORMAT
						   " of conversation %s",
						   (int) message->message_id_len, message->message_id, stored->seq,
						   store_uuid_string(id)),
					errdetail_internal("%s", detail),
					errhint("Use another message_id for a new message, or UPDATE or "
							"memory.edit_message to change this one.")));
}

/* ---- ids of one conversation, for statements with many messages ---- */

typedef struct KnownId
{
	uint64 hash; /* of the id: the key */
	int64 seq;   /* that a statement has given to a message of its own; 0: not known */
	char status;
} KnownId;

#define SH_PREFIX known_ids
#define SH_ELEMENT_TYPE KnownId
#define SH_KEY_TYPE uint64
#define SH_KEY hash
#define SH_HASH_KEY(table, key) ((uint32) (key))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A segment as it was when the filters were read. */
typedef struct FilteredSegment
{
	int64 first_seq;
	bytea *filter;
} FilteredSegment;

/*
 * What a statement knows of a conversation's ids.  An id that is neither in the
 * table nor, by their filters, in a segment is new, without a look at the store:
 * the table has those of the tail as it was, and those that came since.  What
 * the statement has written or changed itself makes the segments stale, which
 * matters only when an id seems to be there.
 */
struct StoreIds
{
	MemoryContext context; /* owns all of it */
	pg_uuid_t id;
	text *account_id;
	known_ids_hash *known;
	FilteredSegment *segments;
	uint64 nsegments;
	bool stale;
	MemoryContext opened_context; /* the segment that was opened last; NULL: none was */
	Transcript *opened;           /* NULL: none is */
};

static uint64
hash_of(const TranscriptMessage *message)
{
	return hash_bytes_extended((const unsigned char *) message->message_id,
							   (int) message->message_id_len, 0);
}

static KnownId *
note_id(StoreIds *ids, const TranscriptMessage *message, int64 seq)
{
	bool found;
	KnownId *known = known_ids_insert(ids->known, hash_of(message), &found);

	if (!found || seq != 0)
		known->seq = seq;
	return known;
}

static void
read_filters(StoreIds *ids)
{
	Datum values[2] = {UUIDPGetDatum(&ids->id), PointerGetDatum(ids->account_id)};
	uint64 n = store_execute(STORE_SEGMENTS_IDS, values, NULL, false);
	MemoryContext old = MemoryContextSwitchTo(ids->context);
	bool isnull;

	for (uint64 i = 0; i < ids->nsegments; i++)
		pfree(ids->segments[i].filter);
	if (ids->segments != NULL)
		pfree(ids->segments);
	ids->nsegments = 0;
	ids->segments =
		MemoryContextAllocHuge(ids->context, mul_size(Max(n, 1), sizeof(FilteredSegment)));
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		ids->segments[i].first_seq = DatumGetInt64(store_column(i, 1, &isnull));
		ids->segments[i].filter = DatumGetByteaPCopy(store_column(i, 2, &isnull));
		ids->nsegments++;
	}
	MemoryContextSwitchTo(old);
	ids->opened = NULL;
	ids->stale = false;
}

/*
 * store_ids_create
 *		What is known of a conversation's ids, in the current memory context.
 *		has_tail, has_segments: whether it has messages there.
 */
StoreIds *
store_ids_create(const pg_uuid_t *id, text *account_id, bool has_tail, bool has_segments)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext ids", ALLOCSET_SMALL_SIZES);
	StoreIds *ids = MemoryContextAllocZero(context, sizeof(StoreIds));
	Datum values[3] = {UUIDPGetDatum(&ids->id), (Datum) 0, Int64GetDatum(1)};
	uint64 rows;

	ids->context = context;
	ids->id = *id;
	ids->account_id = (text *) MemoryContextAlloc(context, VARSIZE_ANY(account_id));
	memcpy(ids->account_id, account_id, VARSIZE_ANY(account_id));
	ids->known = known_ids_create(context, 8, NULL);
	if (has_segments)
		read_filters(ids);
	if (!has_tail)
		return ids;
	values[1] = PointerGetDatum(ids->account_id);
	rows = store_execute(STORE_TAIL_READ, values, NULL, false);
	for (uint64 i = 0; i < rows; i++)
	{
		TranscriptMessage message;

		store_tail_row(i, &message);
		if (message.message_id != NULL)
			(void) note_id(ids, &message, 0);
	}
	return ids;
}

void
store_ids_free(StoreIds *ids)
{
	MemoryContextDelete(ids->context);
}

/* The statement has written segments, or changed messages. */
void
store_ids_changed(StoreIds *ids)
{
	if (ids != NULL)
		ids->stale = true;
}

static bool
may_have(const StoreIds *ids, const TranscriptMessage *message, KnownId **known)
{
	StoreIdHash hash;

	*known = known_ids_lookup(ids->known, hash_of(message));
	if (*known != NULL)
		return true;
	hash = store_hash_id(message);
	for (uint64 i = 0; i < ids->nsegments; i++)
		if (store_filter_has(ids->segments[i].filter, hash))
			return true;
	return false;
}

/* Opens the segment that begins there, instead of the one that was opened last. */
static void
open_segment(StoreIds *ids, int64 first_seq)
{
	StoreSegment segment;
	MemoryContext old;

	ids->opened = NULL;
	if (ids->opened_context == NULL)
		ids->opened_context = AllocSetContextCreate(ids->context, "memory_ext segment of ids",
													ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(ids->opened_context);
	old = MemoryContextSwitchTo(ids->opened_context);
	if (store_segment_before(&ids->id, ids->account_id, first_seq + 1, false, &segment))
		ids->opened = store_open_segment(&segment);
	MemoryContextSwitchTo(old);
}

/* The message of the segment that was opened last. */
static const TranscriptMessage *
find_opened(const StoreIds *ids, const TranscriptMessage *message)
{
	return ids->opened == NULL ? NULL
							   : store_find_id(ids->opened->messages, ids->opened->count, message);
}

static const TranscriptMessage *
find_in_segments(StoreIds *ids, const TranscriptMessage *message)
{
	StoreIdHash hash = store_hash_id(message);
	const TranscriptMessage *found;

	if (ids->stale)
		read_filters(ids);
	found = find_opened(ids, message);
	for (uint64 i = 0; found == NULL && i < ids->nsegments; i++)
	{
		if (!store_filter_has(ids->segments[i].filter, hash))
			continue;
		CHECK_FOR_INTERRUPTS();
		open_segment(ids, ids->segments[i].first_seq);
		found = find_opened(ids, message);
	}
	return found;
}

/*
 * Looks in the store.  The texts of what is found are valid until the next
 * statement, or the next segment that is opened.
 */
static bool
find_written(StoreIds *ids, const TranscriptMessage *message, TranscriptMessage *found)
{
	Datum values[3] = {UUIDPGetDatum(&ids->id), PointerGetDatum(ids->account_id)};
	const TranscriptMessage *sealed = find_in_segments(ids, message);

	if (sealed != NULL)
	{
		*found = *sealed;
		return true;
	}
	values[2] =
		PointerGetDatum(cstring_to_text_with_len(message->message_id, message->message_id_len));
	if (store_execute(STORE_TAIL_ID, values, NULL, false) == 0)
		return false;
	store_tail_row(0, found);
	return true;
}

/*
 * store_ids_number
 *		For a statement that gives numbers before it writes: the seq of the
 *		stored message that has this one's id, or the one that an earlier row
 *		with the id was given, or next_seq, which is the id's from now on.  Two
 *		ids of one hash, of 64 bits, would be given one number; then the
 *		statement fails when it writes.  Error: 23505 the stored one differs.
 */
int64
store_ids_number(StoreIds *ids, const TranscriptMessage *message, int64 next_seq)
{
	TranscriptMessage found;
	KnownId *known;

	if (may_have(ids, message, &known))
	{
		if (known != NULL && known->seq > 0)
			return known->seq;
		if (find_written(ids, message, &found))
		{
			store_check_repeated(&ids->id, message, &found);
			return found.seq;
		}
	}
	(void) note_id(ids, message, next_seq);
	return next_seq;
}

/* What is known of the conversation's ids, which lives as long as it. */
static StoreIds *
ids_of(StoreConversation *conversation)
{
	if (conversation->ids == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(conversation));

		conversation->ids =
			store_ids_create(&conversation->id, conversation->account_id,
							 conversation->tail_count > 0,
							 conversation->message_count > conversation->tail_count);
		MemoryContextSwitchTo(old);
	}
	return conversation->ids;
}

/* The same as find_written, also of what the statement still has in memory. */
static bool
find_message(StoreConversation *conversation, const TranscriptMessage *message,
			 TranscriptMessage *found)
{
	StoreRun *runs[] = {&conversation->run, &conversation->held};

	for (int i = 0; i < lengthof(runs); i++)
	{
		TranscriptMessage *waiting = store_find_id(runs[i]->messages, runs[i]->count, message);

		if (waiting != NULL)
		{
			*found = *waiting;
			return true;
		}
	}
	store_queue_write(conversation->queue);
	return find_written(conversation->ids, message, found);
}

/*
 * store_known_message
 *		The seq of the conversation's message that has this one's message_id; 0:
 *		there is none, or it has no id.  It is known from now on: the caller
 *		adds it.  Error: 23505 role, content or seq differ.
 */
int64
store_known_message(StoreConversation *conversation, const TranscriptMessage *message)
{
	TranscriptMessage found;
	KnownId *known;

	if (message->message_id == NULL || conversation->ids_are_new)
		return 0;
	if (may_have(ids_of(conversation), message, &known) &&
		find_message(conversation, message, &found))
	{
		store_check_repeated(&conversation->id, message, &found);
		return found.seq;
	}
	(void) note_id(conversation->ids, message, 0);
	return 0;
}

/* Whether the conversation has a message with this one's message_id, whatever else it has. */
bool
store_has_message_id(StoreConversation *conversation, const TranscriptMessage *message)
{
	TranscriptMessage found;
	KnownId *known;

	return message->message_id != NULL && may_have(ids_of(conversation), message, &known) &&
		   find_message(conversation, message, &found);
}

/* ---- ids that an UPDATE gives ---- */

static bool
gives_id(const StoreChange *change)
{
	return change->set_message_id && !change->remove && change->message.message_id != NULL;
}

static int
compare_ids(const void *a, const void *b)
{
	const TranscriptMessage *left = &(*(const StoreChange *const *) a)->message;
	const TranscriptMessage *right = &(*(const StoreChange *const *) b)->message;

	if (left->message_id_len != right->message_id_len)
		return left->message_id_len < right->message_id_len ? -1 : 1;
	return memcmp(left->message_id, right->message_id, left->message_id_len);
}

static void
refuse_id(StoreConversation *conversation, const StoreChange *change, int64 other)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("message_id \"%.*s\" is already used by message " INT64_FORMAT
					" of conversation %s",
					(int) change->message.message_id_len, change->message.message_id, other,
					store_uuid_string(&conversation->id)),
			 errdetail("It cannot be used for message " INT64_FORMAT " as well.", change->seq),
			 errhint("A message_id is unique within its conversation.")));
}

static int
compare_seqs(const void *a, const void *b)
{
	int64 left = ((const StoreChange *) a)->seq;
	int64 right = ((const StoreChange *) b)->seq;

	return left < right ? -1 : left > right;
}

/* Whether the message, which has an id now, loses it by one of the changes, in order of seq. */
static bool
loses_id(const StoreChange *changes, int n, const TranscriptMessage *message)
{
	StoreChange key = {.seq = message->seq};
	const StoreChange *change = bsearch(&key, changes, n, sizeof(StoreChange), compare_seqs);

	return change != NULL && (change->remove || (change->set_message_id &&
												 !store_same_id(&change->message, message)));
}

/*
 * store_check_new_ids
 *		Refuses changes, in order of seq, that would give an id to two messages;
 *		what the messages have when all are applied is what counts.  Error:
 *		23505.
 */
void
store_check_new_ids(StoreConversation *conversation, const StoreChange *changes, int n)
{
	const StoreChange **given;
	TranscriptMessage found;
	KnownId *known;
	int count = 0;

	for (int i = 0; i < n; i++)
		count += gives_id(&changes[i]);
	if (count == 0)
		return;
	given = palloc(mul_size(count, sizeof(*given)));
	count = 0;
	for (int i = 0; i < n; i++)
		if (gives_id(&changes[i]))
			given[count++] = &changes[i];
	qsort(given, count, sizeof(*given), compare_ids);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i > 0 && compare_ids(&given[i - 1], &given[i]) == 0)
			refuse_id(conversation, given[i], given[i - 1]->seq);
		if (may_have(ids_of(conversation), &given[i]->message, &known) &&
			find_message(conversation, &given[i]->message, &found) && found.seq != given[i]->seq &&
			!loses_id(changes, n, &found))
			refuse_id(conversation, given[i], found.seq);
	}
	for (int i = 0; i < count; i++)
		(void) note_id(conversation->ids, &given[i]->message, 0);
	pfree(given);
}
