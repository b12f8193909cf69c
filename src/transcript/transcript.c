/*
 * transcript.c
 *		Builds and opens transcripts: the layers between the bytes (format.h),
 *		the codecs (codec.h) and PostgreSQL's values.
 *
 * Takes no locks.  Results live in the caller's memory context; scratch
 * buffers are freed before the functions return.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/guc.h"

#include "codec.h"
#include "compat.h"
#include "dictionary.h"
#include "transcript.h"
#include "transcript_private.h"

#define DEFAULT_COMPRESSION "zstd:3"
#define COMPRESSION_HINT "Use zstd, zstd:1 to zstd:22, lz4, or none."
#define DICTIONARY_HINT                                                                            \
	"Use zstd, zstd:1 to zstd:22 (also with @ and the id of a dictionary), lz4, or none."

/* The setting's text, and what it means. */
static char *compression_setting = NULL;
static TranscriptCompression default_compression = {TRANSCRIPT_ZSTD, 3, 0};

/* ---------- compression names ---------- */

/* A number of digits only, up to the terminator. */
static bool
parse_number(const char *digits, char terminator, unsigned long limit, unsigned long *number)
{
	char *end;

	if (digits[0] < '0' || digits[0] > '9')
		return false;
	errno = 0;
	*number = strtoul(digits, &end, 10);
	return errno == 0 && *end == terminator && *number <= limit;
}

/* codec[:level][@dictionary]; false if it is not one */
static bool
parse_compression(const char *name, TranscriptCompression *result)
{
	const char *at = strchr(name, '@');
	const char *colon = strchr(name, ':');
	const CodecMethods *codec = codec_by_name(name, strcspn(name, ":@"));
	unsigned long level = 0;
	unsigned long dictionary = 0;

	if (codec == NULL || (at != NULL && colon != NULL && at < colon))
		return false;
	if (at != NULL &&
		(!codec->takes_dictionary || !parse_number(at + 1, '\0', PG_UINT32_MAX, &dictionary)))
		return false;
	if (colon == NULL)
		level = codec->default_level;
	else if (!codec->has_level ||
			 !parse_number(colon + 1, at != NULL ? '@' : '\0', codec->max_level, &level) ||
			 level < (unsigned long) codec->min_level)
		return false;

	result->codec = codec->codec;
	result->level = (int) level;
	result->dictionary_id = (uint32) dictionary;
	return true;
}

TranscriptCompression
transcript_parse_compression(const char *name)
{
	TranscriptCompression result;

	if (!parse_compression(name, &result))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("compression \"%s\" is not known", name), errhint(DICTIONARY_HINT)));
	return result;
}

char *
transcript_compression_name(const TranscriptCompression *compression)
{
	const CodecMethods *codec = codec_by_number(compression->codec);

	if (codec == NULL)
		elog(ERROR, "unknown codec %d", (int) compression->codec);
	if (compression->dictionary_id != 0)
		return psprintf("%s:%d@%u", codec->name, compression->level, compression->dictionary_id);
	if (codec->has_level)
		return psprintf("%s:%d", codec->name, compression->level);
	return pstrdup(codec->name);
}

TranscriptCompression
transcript_default_compression(void)
{
	return default_compression;
}

/* Which dictionary is the current one is not for a setting to say. */
bool
transcript_compression_valid(const char *name)
{
	TranscriptCompression compression;

	return name != NULL && parse_compression(name, &compression) && compression.dictionary_id == 0;
}

static bool
compression_check(char **newval, void **extra, GucSource source)
{
	if (transcript_compression_valid(*newval))
		return true;
	GUC_check_errhint(COMPRESSION_HINT);
	return false;
}

/* The value passed the check, so this cannot fail, as an assign hook must not. */
static void
compression_assign(const char *newval, void *extra)
{
	(void) parse_compression(newval, &default_compression);
}

/* Defines the setting; called once, from _PG_init. */
void
transcript_init(void)
{
	DefineCustomStringVariable("memory_ext.compression",
							   "How new transcripts are compressed: zstd[:level], lz4 or none.",
							   "zstd levels go from 1 (fast) to 22 (small).", &compression_setting,
							   DEFAULT_COMPRESSION, PGC_USERSET, 0, compression_check,
							   compression_assign, NULL);
	dictionary_init();
}

/* ---------- problems to errors ---------- */

/* What was wrong, with the message's position in front. */
static char *
describe_problem(const TranscriptProblem *problem)
{
	if (problem->message > 0)
		return psprintf("message %u: %s", problem->message, problem->what);
	return pstrdup(problem->what);
}

/* Reports a problem of bytes that were read. */
static void
report_unreadable(const TranscriptProblem *problem)
{
	switch (problem->status)
	{
		case TRANSCRIPT_UNKNOWN_VERSION:
		case TRANSCRIPT_UNKNOWN_CODEC:
		case TRANSCRIPT_UNKNOWN_FLAGS:
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("transcript has %s " INT64_FORMAT
								   ", which this version of memory_ext does not know",
								   problem->what, (int64) problem->value),
							errhint("Upgrade memory_ext.")));
			break;
		default:
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("transcript is corrupt"),
							errdetail("%s.", describe_problem(problem)),
							errhint(TRANSCRIPT_CORRUPT_HINT)));
	}
}

/* Reports a problem of messages that were given. */
static void
report_unwritable(const TranscriptProblem *problem)
{
	const char *unit;

	if (problem->status == TRANSCRIPT_TOO_LARGE)
	{
		unit = strcmp(problem->what, "message count") == 0 ? "" : " bytes";
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 problem->message > 0
					 ? errmsg("message %u: %s is " INT64_FORMAT "%s, the limit is " INT64_FORMAT,
							  problem->message, problem->what, (int64) problem->value, unit,
							  (int64) problem->limit)
					 : errmsg("%s of the transcript is " INT64_FORMAT
							  "%s, the limit is " INT64_FORMAT,
							  problem->what, (int64) problem->value, unit, (int64) problem->limit),
				 problem->message > 0 ? errhint("Shorten it, or keep it elsewhere.")
									  : errhint("Make several transcripts of it.")));
	}
	else if (problem->value != 0 || problem->limit != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", describe_problem(problem)),
				 errdetail("It is " INT64_FORMAT ", compared with " INT64_FORMAT ".",
						   (int64) problem->value, (int64) problem->limit),
				 errhint(TRANSCRIPT_MESSAGE_HINT)));
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s", describe_problem(problem)), errhint(TRANSCRIPT_MESSAGE_HINT)));
}

static void
report_corrupt(const char *what)
{
	TranscriptProblem problem = {TRANSCRIPT_CORRUPT, 0, what, 0, 0};

	report_unreadable(&problem);
}

/* ---------- building ---------- */

static uint32
payload_crc(const char *raw, size_t size)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, raw, size);
	FIN_CRC32C(crc);
	return (uint32) crc;
}

/*
 * Compresses a raw payload and puts the header, completed with codec, level
 * and CRC, in front of it.  The result is palloc'd.
 */
struct varlena *
transcript_pack(const TranscriptHeader *source, const char *raw,
				const TranscriptCompression *compression)
{
	const CodecMethods *codec = codec_by_number(compression->codec);
	TranscriptHeader header = *source;
	struct varlena *result;
	const Dictionary *dictionary = NULL;
	uint8 header_bytes[TRANSCRIPT_HEADER_MAX];
	uint32 header_size;
	char *packed = NULL;
	size_t packed_size = header.raw_size;

	if (codec == NULL)
		elog(ERROR, "unknown codec %d", (int) compression->codec);
	if (compression->dictionary_id != 0 && codec->takes_dictionary)
		dictionary = dictionary_get(compression->dictionary_id);

	if (compression->codec != TRANSCRIPT_NONE)
	{
		/* raw_size is at most TRANSCRIPT_MAX_RAW, so the bound fits an allocation */
		size_t bound = codec->bound(header.raw_size);

		packed = palloc(bound);
		packed_size =
			codec->compress(raw, header.raw_size, packed, bound, compression->level, dictionary);
	}
	if (packed == NULL || packed_size >= header.raw_size)
	{
		/* the level that was tried, so that maintenance need not try it again */
		header.codec = TRANSCRIPT_NONE;
		header.level = (int8) compression->level;
		header.dictionary_id = 0;
		packed_size = header.raw_size;
	}
	else
	{
		header.codec = (uint8) compression->codec;
		header.level = (int8) compression->level;
		header.dictionary_id = dictionary != NULL ? compression->dictionary_id : 0;
	}
	header.crc = payload_crc(raw, header.raw_size);

	header_size = transcript_header_encode(&header, header_bytes);
	result = palloc(VARHDRSZ + header_size + packed_size);
	SET_VARSIZE(result, VARHDRSZ + header_size + packed_size);
	memcpy(VARDATA(result), header_bytes, header_size);
	memcpy(VARDATA(result) + header_size, header.codec == TRANSCRIPT_NONE ? raw : packed,
		   packed_size);
	if (packed != NULL)
		pfree(packed);
	return result;
}

struct varlena *
transcript_build(const TranscriptMessage *messages, uint32 n,
				 const TranscriptCompression *compression)
{
	TranscriptPlan plan;
	TranscriptProblem problem;
	struct varlena *result;
	char *raw;

	if (!transcript_plan(messages, n, &plan, &problem))
		report_unwritable(&problem);
	raw = palloc(plan.header.raw_size);
	if (!transcript_payload_encode(messages, &plan, (uint8 *) raw, &problem))
		elog(ERROR, "transcript could not be encoded: %s", problem.what);
	result = transcript_pack(&plan.header, raw, compression);
	pfree(raw);
	return result;
}

void
transcript_check_message(const TranscriptMessage *message, uint32 position)
{
	TranscriptProblem problem;

	if (!transcript_message_check(message, &problem))
	{
		problem.message = position;
		report_unwritable(&problem);
	}
}

void
transcript_number_messages(TranscriptMessage *messages, uint32 n)
{
	uint32 i;

	for (i = 0; i < n; i++)
	{
		const TranscriptMessage *before = i > 0 ? &messages[i - 1] : NULL;

		if (messages[i].seq == 0)
		{
			if (before != NULL && before->seq == PG_INT64_MAX)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("message %u: seq is out of range", i + 1),
								errhint("The message before has the largest number there is.")));
			messages[i].seq = before != NULL ? before->seq + 1 : 1;
		}
		if (messages[i].parent_seq == TRANSCRIPT_PARENT_DEFAULT)
			messages[i].parent_seq = transcript_default_parent(messages[i].seq, before);
	}
}

/* ---------- opening ---------- */

static void
decode_header(const char *data, size_t size, TranscriptHeader *header)
{
	TranscriptProblem problem;

	if (!transcript_header_decode((const uint8 *) data, size, header, &problem))
		report_unreadable(&problem);
}

void
transcript_read_header(Datum value, TranscriptHeader *header)
{
	struct varlena *slice = PG_DETOAST_DATUM_SLICE(value, 0, TRANSCRIPT_HEADER_MAX);

	decode_header(VARDATA_ANY(slice), VARSIZE_ANY_EXHDR(slice), header);
	if ((Pointer) slice != DatumGetPointer(value))
		pfree(slice);
}

/* Decompresses the bytes after the header and compares their CRC. */
static char *
decompress_payload(const TranscriptHeader *header, const char *packed, size_t packed_size)
{
	const CodecMethods *codec = codec_by_number(header->codec);
	const Dictionary *dictionary = NULL;
	char *raw;

	if (codec == NULL)
		elog(ERROR, "unknown codec %d", (int) header->codec);
	if (header->dictionary_id != 0)
	{
		if (!codec->takes_dictionary)
			report_corrupt("the header names a dictionary that its codec does not take");
		dictionary = dictionary_get(header->dictionary_id);
	}
	if (codec->has_level && (header->level < codec->min_level || header->level > codec->max_level))
		report_corrupt("the header names a level that its codec does not have");
	if (!codec->plausible(packed, packed_size, header->raw_size))
		report_corrupt("the payload's size differs from the header's");

	/* one byte more: writers of text put a terminator behind the last text */
	raw = palloc((Size) header->raw_size + 1);
	raw[header->raw_size] = '\0';
	if (!codec->decompress(packed, packed_size, raw, header->raw_size, dictionary))
		report_corrupt("the payload cannot be decompressed");
	if (payload_crc(raw, header->raw_size) != header->crc)
		report_corrupt("the payload's checksum differs from the header's");
	return raw;
}

/* Header and raw payload, CRC checked but not decoded; raw is palloc'd. */
char *
transcript_unpack_payload(Datum value, TranscriptHeader *header)
{
	struct varlena *detoasted = PG_DETOAST_DATUM_PACKED(value);
	const char *data = VARDATA_ANY(detoasted);
	size_t size = VARSIZE_ANY_EXHDR(detoasted);
	char *raw;

	decode_header(data, size, header);
	raw = decompress_payload(header, data + header->header_bytes, size - header->header_bytes);
	if ((Pointer) detoasted != DatumGetPointer(value))
		pfree(detoasted);
	return raw;
}

static void
check_text(const char *text, size_t len, uint32 position, const char *what)
{
	if (len > 0 && !pg_verify_mbstr(PG_UTF8, text, (int) len, true))
	{
		TranscriptProblem problem = {TRANSCRIPT_CORRUPT, position, what, 0, 0};

		report_unreadable(&problem);
	}
}

/* Does a text begin in the middle of a UTF-8 character? */
static inline bool
starts_inside_character(const char *text, uint32 len)
{
	return len > 0 && ((unsigned char) text[0] & 0xC0) == 0x80;
}

/*
 * All texts must be UTF-8.  The contents lie side by side, as do the metadata:
 * such a run is checked as a whole, and that no text begins inside a character.
 */
static void
check_texts(const Transcript *t)
{
	const char *content = NULL;
	const char *metadata = NULL;
	size_t metadata_bytes = 0;
	uint32 i;

	for (i = 0; i < t->count; i++)
	{
		const TranscriptMessage *message = &t->messages[i];

		if (content == NULL)
			content = message->content;
		if (metadata == NULL)
			metadata = message->metadata;
		metadata_bytes += message->metadata_len;
		if (starts_inside_character(message->content, message->content_len))
			check_text(message->content, message->content_len, i + 1, "content is not UTF-8");
		if (starts_inside_character(message->metadata, message->metadata_len))
			check_text(message->metadata, message->metadata_len, i + 1, "metadata is not UTF-8");
		if (i > 0 && message->role == message[-1].role && message->model == message[-1].model &&
			message->message_id == NULL)
			continue;
		check_text(message->role, message->role_len, i + 1, "role is not UTF-8");
		check_text(message->model, message->model_len, i + 1, "model is not UTF-8");
		check_text(message->message_id, message->message_id_len, i + 1, "message_id is not UTF-8");
	}
	check_text(content, t->header.content_bytes, 0, "content is not UTF-8");
	check_text(metadata, metadata_bytes, 0, "metadata is not UTF-8");
}

Transcript *
transcript_open(Datum value)
{
	Transcript *t = palloc(sizeof(Transcript));
	TranscriptProblem problem;

	t->raw = transcript_unpack_payload(value, &t->header);
	t->count = t->header.message_count;
	/* the header's check bounds the count by the caps and by raw_size */
	t->messages = palloc(Max(t->count, 1) * sizeof(TranscriptMessage));
	if (!transcript_payload_decode(&t->header, (const uint8 *) t->raw, t->messages, &problem))
		report_unreadable(&problem);
	check_texts(t);
	return t;
}

void
transcript_close(Transcript *t)
{
	pfree(t->messages);
	pfree(t->raw);
	pfree(t);
}
