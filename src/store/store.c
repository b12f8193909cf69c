/*
 * store.c
 *		The store's settings, and the checks every call makes of its arguments.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "common_text.h"
#include "json_limits.h"
#include "memory_limits.h"
#include "store_private.h"

int store_segment_messages = 64;
int store_segment_kb = 64;
int store_buffer_kb = -1;
int store_seal_after = 300;
int store_compact_after = 3600;
int store_compact_kb = 1024;
int store_purge_after = 30 * 86400;
int store_dictionary_min_kb = 8 * 1024;
int store_dictionary_max_kb = 1024;
int store_dictionary_min_accounts = 3;
double store_dictionary_min_gain = 5.0;
bool store_auto_dictionary = true;

static char *compact_setting = NULL;

/* One name of a compression, as memory_ext.compression takes it. */
static bool
check_compact_setting(char **newval, void **extra, GucSource source)
{
	if (transcript_compression_valid(*newval))
		return true;
	GUC_check_errhint("Use zstd, zstd:1 to zstd:22, lz4, or none.");
	return false;
}

/* How maintenance is to compress segments, as memory_ext.compact_compression says. */
TranscriptCompression
store_compact_compression(void)
{
	return transcript_parse_compression(compact_setting);
}

static void
define_maintenance_settings(void)
{
	DefineCustomStringVariable("memory_ext.compact_compression",
							   "How maintain() compresses the segments of idle conversations.",
							   NULL, &compact_setting, "zstd:17", PGC_USERSET, 0,
							   check_compact_setting, NULL, NULL);
	DefineCustomIntVariable("memory_ext.compact_after",
							"maintain() compacts a conversation that has been idle for this time.",
							NULL, &store_compact_after, 3600, 0, INT_MAX, PGC_USERSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("memory_ext.compact_size",
							"Compaction merges segments up to this size before compression.", NULL,
							&store_compact_kb, 1024, 64, 32 * 1024, PGC_USERSET, GUC_UNIT_KB, NULL,
							NULL, NULL);
	DefineCustomIntVariable("memory_ext.purge_after",
							"maintain() removes tombstones that are older than this.",
							"Devices that were offline for longer must fetch everything again.",
							&store_purge_after, 30 * 86400, 0, INT_MAX, PGC_USERSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"memory_ext.auto_dictionary",
		"maintain() and bulk loads train a dictionary when there is enough content.", NULL,
		&store_auto_dictionary, true, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("memory_ext.dictionary_min_size",
							"How much content must exist before a dictionary is trained.", NULL,
							&store_dictionary_min_kb, 8 * 1024, 1024, MAX_KILOBYTES, PGC_USERSET,
							GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("memory_ext.dictionary_max_size",
							"The largest size of a dictionary that is trained.",
							"Each session that reads with a dictionary holds it in memory.",
							&store_dictionary_max_kb, 1024, 110, 8 * 1024, PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("memory_ext.dictionary_min_accounts",
							"A dictionary holds only text that so many accounts have in common.",
							"Of fewer accounts no dictionary is trained. With 1, text of one "
							"account can be found out through how well others' text compresses.",
							&store_dictionary_min_accounts, 3, 1, COMMON_MAX_ACCOUNTS, PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomRealVariable(
		"memory_ext.dictionary_min_gain",
		"Percent that a new dictionary must save on held-out samples to be kept.", NULL,
		&store_dictionary_min_gain, 5.0, 0.0, 99.0, PGC_USERSET, 0, NULL, NULL, NULL);
}

void
store_init(void)
{
	define_maintenance_settings();
	store_changed_init();
	DefineCustomIntVariable("memory_ext.segment_messages",
							"A conversation's tail is sealed when it has this many messages.", NULL,
							&store_segment_messages, 64, 1, 65536, PGC_USERSET, 0, NULL, NULL,
							NULL);
	DefineCustomIntVariable("memory_ext.segment_size",
							"A conversation's tail is sealed when its contents reach this size.",
							NULL, &store_segment_kb, 64, 1, 32 * 1024, PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable(
		"memory_ext.buffer_size",
		"Memory in which a statement's rows are collected and sorted before they are written.",
		"-1: work_mem. Larger statements use temporary files.", &store_buffer_kb, -1, -1,
		MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("memory_ext.seal_after",
							"maintain() seals a tail that has been idle for this time.", NULL,
							&store_seal_after, 300, 0, INT_MAX, PGC_USERSET, GUC_UNIT_S, NULL, NULL,
							NULL);
	estimate_init();
}

static void
check_length(const char *what, uint32 length, uint32 limit)
{
	if (length > limit)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s has %u bytes, more than the limit of %u", what, length, limit),
				 errhint("Shorten it, split it into several messages, or keep it elsewhere.")));
}

/*
 * store_check_message
 *		What every message must fulfil, whichever way it comes; fills in an
 *		estimate for tokens left out.  Errors: 22004, 22023, 54000.
 */
void
store_check_message(TranscriptMessage *message)
{
	if (message->role == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("role must not be null"),
				 errhint("Usual roles are \"user\", \"assistant\", \"system\" and \"tool\".")));
	if (message->role_len == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("role must not be empty"),
						errhint("A role is any text of 1 to %d bytes, such as \"user\".",
								MEMORY_MAX_ROLE_BYTES)));
	if (message->role_len > MEMORY_MAX_ROLE_BYTES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("role \"%.*s...\" has %u bytes",
							   pg_mbcliplen(message->role, message->role_len, 32), message->role,
							   message->role_len),
						errhint("A role is any text of 1 to %d bytes, such as \"user\".",
								MEMORY_MAX_ROLE_BYTES)));
	if (message->content == NULL)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("content must not be null"),
						errhint("A message without text has the empty string as its content.")));
	check_length("content", message->content_len, MEMORY_MAX_CONTENT_BYTES);
	check_length("model", message->model_len, MEMORY_MAX_MODEL_BYTES);
	check_length("message_id", message->message_id_len, MEMORY_MAX_MESSAGE_ID_BYTES);
	check_length("metadata", message->metadata_len, MEMORY_MAX_METADATA_BYTES);

	if (message->has_created_at && TIMESTAMP_NOT_FINITE(message->created_at))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("created_at must be a finite time, not %sinfinity",
							   message->created_at == DT_NOBEGIN ? "-" : ""),
						errhint("Leave created_at out for the time of the statement.")));
	if (message->tokens < 0)
		message->tokens = store_estimate_message(message);
}

/*
 * metadata is an object, so that tools can add keys to it, and its text can be
 * read again.  Errors: 22023, 54000.
 */
void
store_check_metadata(Jsonb *metadata, const char *what)
{
	const char *excess;

	if (!JB_ROOT_IS_OBJECT(metadata))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("metadata of a %s must be a JSON object", what),
				 errdetail("It is %s.", JB_ROOT_IS_SCALAR(metadata) ? "a scalar" : "an array"),
				 errhint("Put it under a key: {\"key\": ...}.")));
	excess = json_excess(metadata);
	if (excess != NULL)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("metadata of a %s %s", what, excess),
						errhint("Keep it elsewhere, or as a string.")));
}

/* The bytes of a message that count: content, and metadata in its text form. */
uint64
store_message_bytes(const TranscriptMessage *message)
{
	return (uint64) message->content_len + message->metadata_len;
}

int64
store_fields_bytes(const text *title, Jsonb *metadata)
{
	int64 bytes = title == NULL ? 0 : (int64) VARSIZE_ANY_EXHDR(title);

	if (metadata != NULL)
	{
		char *form = JsonbToCString(NULL, &metadata->root, VARSIZE(metadata));

		bytes += (int64) strlen(form);
		pfree(form);
	}
	return bytes;
}

/* A title is one line in a list.  Error: 54000. */
void
store_check_title(const text *title)
{
	if (VARSIZE_ANY_EXHDR(title) > MEMORY_MAX_TITLE_BYTES)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("title has %zu bytes, more than the limit of %d",
							   (Size) VARSIZE_ANY_EXHDR(title), MEMORY_MAX_TITLE_BYTES),
						errhint("Shorten it, or keep the whole text in metadata.")));
}

/*
 * A UUID of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds since
 * 1970, then random bits.
 */
pg_uuid_t *
store_new_uuid(void)
{
	pg_uuid_t *uuid = palloc(sizeof(pg_uuid_t));
	uint64 milliseconds =
		(uint64) (GetCurrentTimestamp() / 1000) +
		(uint64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * UINT64CONST(1000);

	if (!pg_strong_random(uuid->data + 6, UUID_LEN - 6))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random bits")));
	for (int i = 0; i < 6; i++)
		uuid->data[i] = (unsigned char) (milliseconds >> (40 - 8 * i));
	uuid->data[6] = (uuid->data[6] & 0x0f) | 0x70;
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
	return uuid;
}

char *
store_uuid_string(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

PG_FUNCTION_INFO_V1(memory_uuid_v7);

/*
 * memory_uuid_v7() → uuid
 *		A new conversation_id: a version 7 UUID of the current time.
 */
Datum
memory_uuid_v7(PG_FUNCTION_ARGS)
{
	PG_RETURN_UUID_P(store_new_uuid());
}
