/*
 * id_filter.c
 *		The filter over the message_ids of a segment, and comparing ids.
 *
 * A segment's row has a Bloom filter over the message_ids inside, in
 * memory_store.segments.message_ids; NULL where no message has an id:
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
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"

#include "store_private.h"

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
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("message_id \"%.*s\" is that of message " INT64_FORMAT " of conversation %s",
					(int) message->message_id_len, message->message_id, stored->seq,
					store_uuid_string(id)),
			 errdetail_internal("%s", detail),
			 errhint("Give another message_id to another message, or use UPDATE or "
					 "memory.edit_message to change this one.")));
}
