/*
 * dictionary.c
 *		zstd dictionaries: kept in memory_store.dictionaries, cached in each
 *		backend, and locked while a transaction writes with one.
 *
 * A dictionary's id is taken from the SHA-256 of its bytes, and the bytes never
 * change: what is cached is right for as long as the backend lives.  The cache
 * holds the bytes, and digested forms that refer to them, in memory of its own
 * (malloc, as zstd's); the least recently used of CACHE_SIZE is replaced.  In the table they
 * are one zstd frame, to a third of their size.
 *
 * Whoever compresses with a dictionary holds a share lock on it to the end of
 * the transaction (an object lock: class memory_store.dictionaries, object its
 * id).  Whoever drops one takes the exclusive lock first and then looks whether
 * anything uses it: so no transcript is ever committed without its dictionary.
 *
 * The table is read with the rights of its owner, because callers have none in
 * memory_store.
 */
#include "postgres.h"

/* for digested forms that do not copy the bytes */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "owner.h"
#include "codec.h"
#include "dictionary.h"
#include "sql_text.h"
#include "transcript.h"

#define CACHE_SIZE 8
#define CACHE_LEVELS 4

/* How the table's bytes are compressed: a load that trains a small one does not want to wait. */
#define PACK_LEVEL_SMALL 9
#define PACK_LEVEL 19
#define PACK_SMALL_BYTES (256 * 1024)
#define MAX_DICTIONARY_BYTES (64 * 1024 * 1024)

struct Dictionary
{
	uint32 id; /* 0: an empty place */
	uint64 used;
	char *bytes;
	size_t size;
	ZSTD_DDict *decompressor;
	int levels[CACHE_LEVELS];
	ZSTD_CDict *compressors[CACHE_LEVELS];
	int next_level; /* the place to be used next, in turn */
};

static Dictionary cache[CACHE_SIZE];
static uint64 cache_clock = 0;

static bool use_dictionary = true;

/* The dictionary that this transaction compresses with, once it has asked. */
static uint32 current_id = 0;
static bool current_known = false;

/* ---------- reading the table ---------- */

static Oid
dictionaries_relation(void)
{
	Oid relation = get_relname_relid("dictionaries", get_namespace_oid("memory_store", true));

	if (!OidIsValid(relation))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table memory_store.dictionaries does not exist"),
						errhint("Run CREATE EXTENSION memory_ext in this database.")));
	return relation;
}

static void
owner_begin(OwnerScope *scope)
{
	owner_enter(scope);
	SPI_connect();
}

static void
owner_end(const OwnerScope *scope)
{
	SPI_finish();
	owner_leave(scope);
}

static void
run(const char *sql, int nargs, Oid *types, Datum *values, bool read_only, int expected)
{
	int result = SPI_execute_with_args(sql, nargs, types, values, NULL, read_only, 0);

	if (result != expected)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
}

static Datum
first_column(int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, isnull);
}

/* ---------- the cache ---------- */

static void
forget(Dictionary *dictionary)
{
	for (int i = 0; i < CACHE_LEVELS; i++)
		ZSTD_freeCDict(dictionary->compressors[i]);
	ZSTD_freeDDict(dictionary->decompressor);
	free(dictionary->bytes);
	memset(dictionary, 0, sizeof(*dictionary));
}

static void
out_of_memory(void)
{
	ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory for a zstd dictionary")));
}

/* Looks a dictionary up with the active snapshot; false: it is not there. */
static bool
find(uint32 id)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};

	run("SELECT body, raw_bytes FROM memory_store.dictionaries WHERE dictionary_id" OP(=) "$1", 1,
		types, values, true, SPI_OK_SELECT);
	return SPI_processed > 0;
}

/*
 * The same with what is committed by now.  It is the catalogs' snapshot, because
 * a parallel worker can have no other new one.
 */
static bool
find_committed(uint32 id)
{
	bool found;

	PushActiveSnapshot(GetCatalogSnapshot(dictionaries_relation()));
	found = find(id);
	PopActiveSnapshot();
	return found;
}

static void
report_corrupt(uint32 id)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED), errmsg("dictionary %u is corrupt", id),
			 errhint(
				 "Restore table memory_store.dictionaries from a backup; data that was compressed "
				 "with it cannot be read without it.")));
}

static void
report_missing(uint32 id)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("transcript needs dictionary %u, which is not in this database", id),
					errhint("Transcripts move between databases in their text form; their stored "
							"bytes need the dictionary they were written with.")));
}

/* Copies the bytes of the row that was found, unpacked, into memory of malloc's. */
static char *
unpack(uint32 id, size_t *size)
{
	bool packed;
	bool isnull;
	int64 raw_bytes = DatumGetInt64(first_column(2, &packed));
	bytea *body = DatumGetByteaPP(first_column(1, &isnull));
	size_t body_size = VARSIZE_ANY_EXHDR(body);
	char *bytes;

	packed = !packed;
	*size = packed ? (size_t) raw_bytes : body_size;
	if (packed && (raw_bytes < 1 || raw_bytes > MAX_DICTIONARY_BYTES))
		report_corrupt(id);
	bytes = malloc(Max(*size, 1));
	if (bytes == NULL)
		out_of_memory();
	if (!packed)
		memcpy(bytes, VARDATA_ANY(body), body_size);
	else
	{
		size_t unpacked = ZSTD_decompress(bytes, *size, VARDATA_ANY(body), body_size);

		if (unpacked != *size)
		{
			free(bytes);
			if (ZSTD_isError(unpacked) &&
				ZSTD_getErrorCode(unpacked) == ZSTD_error_memory_allocation)
				out_of_memory();
			report_corrupt(id);
		}
	}
	return bytes;
}

/*
 * Reads a dictionary into an empty place of the cache.  An old snapshot finds
 * what has been dropped since, for segments that it still sees; but whoever
 * waited for a lock, or writes with an old snapshot, has segments and
 * dictionaries that are newer than it.  A snapshot of logical decoding is for
 * catalogs alone.
 */
static void
load(Dictionary *place, uint32 id)
{
	OwnerScope scope;

	if (HistoricSnapshotActive())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("logical decoding cannot read dictionary %u, which a transcript needs", id),
				 errhint("Leave the tables of memory_store out of the publication.")));
	owner_begin(&scope);
	if (!find(id) && !find_committed(id))
		report_missing(id);
	place->bytes = unpack(id, &place->size);
	owner_end(&scope);
	place->id = id;
}

const Dictionary *
dictionary_get(uint32 id)
{
	Dictionary *oldest = &cache[0];

	for (int i = 0; i < CACHE_SIZE; i++)
	{
		if (cache[i].id == id)
		{
			cache[i].used = ++cache_clock;
			return &cache[i];
		}
		if (cache[i].used < oldest->used)
			oldest = &cache[i];
	}
	forget(oldest);
	load(oldest, id);
	oldest->used = ++cache_clock;
	return oldest;
}

const ZSTD_CDict *
dictionary_compressor(const Dictionary *dictionary, int level)
{
	Dictionary *place = unconstify(Dictionary *, dictionary);
	int next = place->next_level;

	for (int i = 0; i < CACHE_LEVELS; i++)
		if (place->compressors[i] != NULL && place->levels[i] == level)
			return place->compressors[i];

	ZSTD_freeCDict(place->compressors[next]);
	place->compressors[next] = ZSTD_createCDict_byReference(place->bytes, place->size, level);
	if (place->compressors[next] == NULL)
		out_of_memory();
	place->levels[next] = level;
	place->next_level = (next + 1) % CACHE_LEVELS;
	return place->compressors[next];
}

/* The dictionary's digested form for decompression, made at its first use.  Error: 53200. */
const ZSTD_DDict *
dictionary_decompressor(const Dictionary *dictionary)
{
	Dictionary *place = unconstify(Dictionary *, dictionary);

	if (place->decompressor == NULL)
		place->decompressor = ZSTD_createDDict_byReference(place->bytes, place->size);
	if (place->decompressor == NULL)
		out_of_memory();
	return place->decompressor;
}

/* ---------- the current dictionary ---------- */

static void
forget_current(XactEvent event, void *arg)
{
	current_known = false;
}

static void
forget_current_in_subtransaction(SubXactEvent event, SubTransactionId id, SubTransactionId parent,
								 void *arg)
{
	/* its share lock went with the subtransaction */
	if (event == SUBXACT_EVENT_ABORT_SUB)
		current_known = false;
}

/* Called once, from transcript_init. */
void
dictionary_init(void)
{
	DefineCustomBoolVariable(
		"memory_ext.use_dictionary",
		"New segments are compressed with the current dictionary of the database.", NULL,
		&use_dictionary, true, PGC_USERSET, 0, NULL, NULL, NULL);
	RegisterXactCallback(forget_current, NULL);
	RegisterSubXactCallback(forget_current_in_subtransaction, NULL);
}

/* The id in the table at this moment, whatever the transaction's snapshot. */
static uint32
read_current(void)
{
	OwnerScope scope;
	uint32 id = 0;
	bool isnull;

	owner_begin(&scope);
	PushActiveSnapshot(GetLatestSnapshot());
	run("SELECT dictionary_id FROM memory_store.dictionaries WHERE is_current", 0, NULL, NULL, true,
		SPI_OK_SELECT);
	if (SPI_processed > 0)
		id = (uint32) DatumGetInt64(first_column(1, &isnull));
	PopActiveSnapshot();
	owner_end(&scope);
	return id;
}

uint32
dictionary_current(void)
{
	uint32 id;

	if (!use_dictionary)
		return 0;
	if (current_known)
		return current_id;

	id = read_current();
	while (id != 0)
	{
		uint32 now;

		dictionary_lock(id, false);
		now = read_current();
		if (now == id)
			break;
		id = now; /* replaced while the lock was waited for */
	}
	current_id = id;
	current_known = true;
	return id;
}

void
dictionary_changed(void)
{
	current_known = false;
}

void
dictionary_use(uint32 id)
{
	OwnerScope scope;

	dictionary_lock(id, false);
	owner_begin(&scope);
	if (!find_committed(id))
		report_missing(id);
	owner_end(&scope);
}

void
dictionary_lock_training(bool trains)
{
	/* no dictionary has the id 0 */
	LockDatabaseObject(dictionaries_relation(), 0, 0,
					   trains ? ShareRowExclusiveLock : RowExclusiveLock);
}

bool
dictionary_try_lock_training(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, dictionaries_relation(), 0, 0);
	if (LockAcquire(&tag, ShareRowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	AcceptInvalidationMessages();
	return true;
}

bool
dictionary_enabled(void)
{
	return use_dictionary;
}

void
dictionary_lock(uint32 id, bool exclusive)
{
	LockDatabaseObject(dictionaries_relation(), id, 0,
					   exclusive ? AccessExclusiveLock : AccessShareLock);
}

/* ---------- measuring and keeping ---------- */

static uint32
dictionary_id_of(const char *bytes, size_t size)
{
	uint8 digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (const uint8 *) bytes, size) < 0 ||
		pg_cryptohash_final(context, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a SHA-256");
	pg_cryptohash_free(context);
	/* 0 says "none" */
	return Max(((uint32) digest[0] << 24) | ((uint32) digest[1] << 16) | ((uint32) digest[2] << 8) |
				   digest[3],
			   1);
}

/* The dictionary's bytes as the table holds them. */
static bytea *
pack(const char *bytes, size_t size)
{
	size_t bound = ZSTD_compressBound(size);
	bytea *body = palloc(VARHDRSZ + bound);
	size_t packed = ZSTD_compress(VARDATA(body), bound, bytes, size,
								  size <= PACK_SMALL_BYTES ? PACK_LEVEL_SMALL : PACK_LEVEL);

	SET_VARSIZE(body, VARHDRSZ + codec_check_zstd(packed));
	return body;
}

size_t
dictionary_stored_bytes(const char *bytes, size_t size)
{
	bytea *body = pack(bytes, size);
	size_t stored = VARSIZE(body);

	pfree(body);
	return stored;
}

size_t
dictionary_measure(const DictionarySamples *samples, const char *bytes, size_t size, int level)
{
	ZSTD_CDict *compressor = size > 0 ? ZSTD_createCDict(bytes, size, level) : NULL;
	ZSTD_CCtx *context = ZSTD_createCCtx();
	const char *sample = samples->data;
	size_t total = 0;
	char *out = NULL;
	size_t space = 0;

	if ((size > 0 && compressor == NULL) || context == NULL)
		out_of_memory();
	PG_TRY();
	{
		for (uint32 i = 0; i < samples->count; i++)
		{
			size_t bound = ZSTD_compressBound(samples->sizes[i]);
			size_t packed;

			CHECK_FOR_INTERRUPTS();
			if (bound > space)
			{
				out = out == NULL ? palloc(bound) : repalloc(out, bound);
				space = bound;
			}
			packed = compressor != NULL
						 ? ZSTD_compress_usingCDict(context, out, space, sample, samples->sizes[i],
													compressor)
						 : ZSTD_compressCCtx(context, out, space, sample, samples->sizes[i], level);
			total += Min(codec_check_zstd(packed), samples->sizes[i]);
			sample += samples->sizes[i];
		}
	}
	PG_FINALLY();
	{
		ZSTD_freeCDict(compressor);
		ZSTD_freeCCtx(context);
	}
	PG_END_TRY();
	return total;
}

size_t
dictionary_measure_with(const DictionarySamples *samples, uint32 id, int level)
{
	const Dictionary *dictionary = id != 0 ? dictionary_get(id) : NULL;

	return dictionary_measure(samples, dictionary != NULL ? dictionary->bytes : NULL,
							  dictionary != NULL ? dictionary->size : 0, level);
}

uint32
dictionary_keep(const char *bytes, size_t size, const DictionaryReport *report)
{
	uint32 id = dictionary_id_of(bytes, size);
	Oid types[] = {INT8OID, BYTEAOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID};
	bytea *body = pack(bytes, size);
	Datum values[] = {Int64GetDatum(id),
					  PointerGetDatum(body),
					  Int64GetDatum(report->samples),
					  Int64GetDatum(report->sample_bytes),
					  Int64GetDatum(report->holdout_before),
					  Int64GetDatum(report->holdout_after),
					  Int64GetDatum((int64) size)};
	OwnerScope scope;
	size_t kept_size;
	char *kept;
	bool same;

	dictionary_lock(id, false);
	owner_begin(&scope);
	run("UPDATE memory_store.dictionaries SET is_current = false WHERE is_current", 0, NULL, NULL,
		false, SPI_OK_UPDATE);
	run("INSERT INTO memory_store.dictionaries AS d (dictionary_id, body, created_at, is_current,"
		" samples, sample_bytes, holdout_before, holdout_after, raw_bytes)"
		" VALUES ($1, $2, pg_catalog.clock_timestamp(), true, $3, $4, $5, $6, $7)"
		" ON CONFLICT (dictionary_id) DO UPDATE SET is_current = true, stale_at = NULL"
		" RETURNING body, raw_bytes",
		7, types, values, false, SPI_OK_INSERT_RETURNING);
	kept = unpack(id, &kept_size);
	same = kept_size == size && memcmp(kept, bytes, size) == 0;
	free(kept);
	if (!same)
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("a different dictionary with id %u already exists", id),
						errhint("Train again with other samples.")));
	owner_end(&scope);
	pfree(body);
	current_known = false;
	return id;
}

PG_FUNCTION_INFO_V1(memory_dictionary_content);

/*
 * memory_dictionary_content(dictionary_id bigint) → bytea
 *		The bytes of a dictionary, as zstd uses them.  Errors: 22023 not an id,
 *		XX001 it is not in this database.
 */
Datum
memory_dictionary_content(PG_FUNCTION_ARGS)
{
	int64 id = PG_GETARG_INT64(0);
	const Dictionary *dictionary;
	bytea *content;

	if (id < 1 || id > PG_UINT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown dictionary " INT64_FORMAT, id)));
	dictionary = dictionary_get((uint32) id);
	content = palloc(add_size(VARHDRSZ, dictionary->size));
	SET_VARSIZE(content, VARHDRSZ + dictionary->size);
	memcpy(VARDATA(content), dictionary->bytes, dictionary->size);
	PG_RETURN_BYTEA_P(content);
}
