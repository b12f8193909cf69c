/*
 * import_settings.c
 *		How an import is asked for: the settings, the relation
 *		memory.import_documents, and memory.import_document.
 *
 * A row that is put into the relation is a line of the input; the statement's
 * end writes what is left and notes the job.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "account.h"
#include "arguments.h"
#include "audit.h"
#include "import_private.h"
#include "relation.h"
#include "statement.h"

#define BATCH_DOCUMENTS 1000
#define BATCH_BYTES (8 * 1024 * 1024)

typedef enum OnError
{
	ON_ERROR_STOP,
	ON_ERROR_SKIP
} OnError;

typedef enum OnNul
{
	ON_NUL_ERROR,
	ON_NUL_REPLACE
} OnNul;

static const struct config_enum_entry on_error_options[] = {{"stop", ON_ERROR_STOP, false},
															{"skip", ON_ERROR_SKIP, false},
															{NULL, 0, false}};
static const struct config_enum_entry on_nul_options[] = {{"error", ON_NUL_ERROR, false},
														  {"replace", ON_NUL_REPLACE, false},
														  {NULL, 0, false}};
static const struct config_enum_entry on_conflict_options[] =
	{{"error", IMPORT_CONFLICT_ERROR, false},
	 {"keep", IMPORT_CONFLICT_KEEP, false},
	 {"replace", IMPORT_CONFLICT_REPLACE, false},
	 {"copy", IMPORT_CONFLICT_COPY, false},
	 {NULL, 0, false}};

static char *account_setting = NULL;
static char *format_setting = NULL;
static int on_error_setting = ON_ERROR_STOP;
static int on_nul_setting = ON_NUL_ERROR;
static int on_surrogate_setting = ON_NUL_ERROR;
static int on_conflict_setting = IMPORT_CONFLICT_ERROR;
static bool as_history_setting = false;
static char *csv_delimiter_setting = NULL;
static char *csv_encoding_setting = NULL;
static int max_document_kb = 64 * 1024;

static const RelationIntake lines_intake;

static bool
check_format_setting(char **newval, void **extra, GucSource source)
{
	StringInfoData known;

	if (strcmp(*newval, "auto") == 0 || transfer_format_named(*newval) != NULL)
		return true;
	initStringInfo(&known);
	for (int i = 0; i < transfer_nformats; i++)
		appendStringInfo(&known, ", %s", transfer_formats[i]->name);
	GUC_check_errhint("Formats: auto%s.", known.data);
	return false;
}

static bool
check_csv_delimiter(char **newval, void **extra, GucSource source)
{
	unsigned char c = (unsigned char) (*newval)[0];

	if (strlen(*newval) == 1 && c < 0x80 &&
		strchr("\"\r\n\\.abcdefghijklmnopqrstuvwxyz0123456789", c) == NULL)
		return true;
	GUC_check_errdetail("It must be one ASCII character, and none that COPY refuses.");
	return false;
}

static bool
check_csv_encoding(char **newval, void **extra, GucSource source)
{
	if (pg_valid_client_encoding(*newval) >= 0)
		return true;
	GUC_check_errdetail("There is no such encoding.");
	return false;
}

/* Defines the settings of the room. */
void
transfer_init(void)
{
	relation_register_intake(&lines_intake);
	DefineCustomStringVariable("memory_ext.import_account",
							   "The account that imported documents belong to.",
							   "Empty: the one that a document names, or the session's.",
							   &account_setting, "", PGC_USERSET, 0, account_check_setting, NULL,
							   NULL);
	DefineCustomStringVariable("memory_ext.import_format", "The format of imported documents.",
							   "auto: detected for each document.", &format_setting, "auto",
							   PGC_USERSET, 0, check_format_setting, NULL, NULL);
	DefineCustomEnumVariable("memory_ext.import_on_error",
							 "What an import does with a document that cannot be stored.",
							 "stop: nothing is stored. skip: it is noted in memory.job_errors.",
							 &on_error_setting, ON_ERROR_STOP, on_error_options, PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomEnumVariable(
		"memory_ext.import_on_nul", "What an import does with the character with code 0.",
		"error: the document is rejected. replace: the character becomes U+FFFD.", &on_nul_setting,
		ON_NUL_ERROR, on_nul_options, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable(
		"memory_ext.import_on_surrogate", "What an import does with half of a surrogate pair.",
		"error: the document is rejected. replace: the character becomes U+FFFD.",
		&on_surrogate_setting, ON_NUL_ERROR, on_nul_options, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable(
		"memory_ext.import_on_conflict",
		"What an import does with a message that differs from the stored one.",
		"error: the document is rejected. keep: the stored one stays. replace: it is replaced. "
		"copy: the document becomes another conversation.",
		&on_conflict_setting, IMPORT_CONFLICT_ERROR, on_conflict_options, PGC_USERSET, 0, NULL,
		NULL, NULL);
	DefineCustomBoolVariable("memory_ext.import_as_history",
							 "Imported messages without a known time are history, not usage.",
							 "Their time is before memory_ext.backdated_after, instead of now.",
							 &as_history_setting, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("memory_ext.import_csv_delimiter", "The delimiter of imported CSV.",
							   NULL, &csv_delimiter_setting, ",", PGC_USERSET, 0,
							   check_csv_delimiter, NULL, NULL);
	DefineCustomStringVariable("memory_ext.import_csv_encoding", "The encoding of imported CSV.",
							   NULL, &csv_encoding_setting, "UTF8", PGC_USERSET, 0,
							   check_csv_encoding, NULL, NULL);
	DefineCustomIntVariable("memory_ext.import_max_document",
							"The largest size of an imported document.", NULL, &max_document_kb,
							64 * 1024, 1, 255 * 1024, PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

/* What users call a way of treating conflicts. */
const char *
import_conflict_name(ImportConflict on_conflict)
{
	return on_conflict_options[on_conflict].name;
}

/* The settings memory_ext.import_*, as options.  Errors: 22023, 42501. */
void
import_options(ImportOptions *options)
{
	memset(options, 0, sizeof(*options));
	if (account_setting[0] != '\0')
		options->account_id = account_check(cstring_to_text(account_setting));
	options->format = transfer_format_argument(format_setting, false);
	options->skip = on_error_setting == ON_ERROR_SKIP;
	options->replace_nul = on_nul_setting == ON_NUL_REPLACE;
	options->replace_surrogates = on_surrogate_setting == ON_NUL_REPLACE;
	options->on_conflict = (ImportConflict) on_conflict_setting;
	options->as_history = as_history_setting;
	options->csv_delimiter = csv_delimiter_setting[0];
	options->csv_encoding = pg_valid_client_encoding(csv_encoding_setting);
	options->max_document = (Size) max_document_kb * 1024;
	options->batch_documents = BATCH_DOCUMENTS;
	options->batch_bytes = BATCH_BYTES;
}

static int
named_option(const struct config_enum_entry *entries, const char *argument, const char *name)
{
	StringInfoData known;

	for (int i = 0; entries[i].name != NULL; i++)
		if (strcmp(entries[i].name, name) == 0)
			return entries[i].val;
	initStringInfo(&known);
	for (int i = 0; entries[i].name != NULL; i++)
		appendStringInfo(&known, "%s%s", i > 0 ? ", " : "", entries[i].name);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unrecognized %s \"%s\"", argument, name),
					errhint("Valid values: %s.", known.data)));
	return 0; /* keep compilers quiet */
}

/* Arguments take the place of settings; NULL: the settings count.  Error: 22023. */
void
import_arguments(ImportOptions *options, const char *on_error, const char *on_conflict)
{
	if (on_error != NULL)
		options->skip = named_option(on_error_options, "on_error", on_error) == ON_ERROR_SKIP;
	if (on_conflict != NULL)
		options->on_conflict =
			(ImportConflict) named_option(on_conflict_options, "on_conflict", on_conflict);
}

/* ---- memory.import_documents ---- */

/* What a statement that puts lines in has: lives in its context. */
typedef struct LineImport
{
	Import *import;
	TimestampTz started_at;
} LineImport;

/* clang-format off */
static PlanStatement next_job = {
	"SELECT pg_catalog.nextval('memory_store.job_ids'::pg_catalog.regclass)",
	0, {0}};
/* clang-format on */

/* Begins an import of lines, in the current memory context. */
static void *
begin_lines(void)
{
	LineImport *lines = palloc0(sizeof(LineImport));
	MemoryContext context = CurrentMemoryContext;
	ImportOptions options;
	bool isnull;

	lines->started_at = GetCurrentTimestamp();
	import_options(&options);
	SPI_connect();
	(void) plan_execute(&next_job, NULL, NULL, false);
	options.job_id =
		DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();

	MemoryContextSwitchTo(context);
	lines->import = import_begin(&options);
	return lines;
}

/* Reads and stores all that the chunk completes. */
static void
take_chunk(Import *import, const char *data, Size length)
{
	import_feed(import, data, length);
	while (import_gather(import))
		import_write(import);
}

/*
 * A line of the input, whose end it has lost; NULL is an empty one.  Errors: those
 * of the import.
 */
static void
put_line(void *state, TupleTableSlot *row)
{
	LineImport *lines = state;

	if (!row->tts_isnull[0])
	{
		text *line = DatumGetTextPP(row->tts_values[0]);

		take_chunk(lines->import, VARDATA_ANY(line), VARSIZE_ANY_EXHDR(line));
		if ((Pointer) line != DatumGetPointer(row->tts_values[0]))
			pfree(line);
	}
	take_chunk(lines->import, "\n", 1);
}

/* clang-format off */
enum
{
	PART_JOB, PART_BYTES, PART_DOCUMENTS, PART_IMPORTED, PART_EXTENDED, PART_UNCHANGED,
	PART_REJECTED, PART_MESSAGES, PART_PARAMETERS
};
static PlanStatement insert_part = {
	"INSERT INTO memory_store.job_parts (job_id, part, state, bytes, documents, imported,"
	"     extended, unchanged, rejected, messages, updated_at)"
	" VALUES ($1, 0, 'finished', $2, $3, $4, $5, $6, $7, $8, pg_catalog.clock_timestamp())",
	PART_PARAMETERS,
	{INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID}};
/* clang-format on */

/* The counts of a job of one part, which is finished.  Needs SPI. */
void
import_note_part(int64 job_id, const ImportCounts *counts)
{
	Datum values[PART_PARAMETERS] = {
		[PART_JOB] = Int64GetDatum(job_id),
		[PART_BYTES] = Int64GetDatum(counts->bytes),
		[PART_DOCUMENTS] = Int64GetDatum(counts->documents),
		[PART_IMPORTED] = Int64GetDatum(counts->imported),
		[PART_EXTENDED] = Int64GetDatum(counts->extended),
		[PART_UNCHANGED] = Int64GetDatum(counts->unchanged),
		[PART_REJECTED] = Int64GetDatum(counts->rejected),
		[PART_MESSAGES] = Int64GetDatum(counts->messages),
	};

	(void) plan_execute(&insert_part, values, NULL, false);
}

/* clang-format off */
enum
{
	JOB_ID, JOB_FORMAT, JOB_ACCOUNT, JOB_ON_ERROR, JOB_ON_NUL, JOB_ROLE, JOB_STARTED_AT,
	JOB_BYTES, JOB_ON_CONFLICT, JOB_PARAMETERS
};
static PlanStatement insert_job = {
	"INSERT INTO memory_store.jobs (job_id, kind, source, format, account_id, options, state,"
	"     started_by, created_at, started_at, finished_at, total_bytes)"
	" VALUES ($1, 'import', 'copy', $2, $3,"
	"     pg_catalog.jsonb_build_object('on_error', $4, 'on_nul', $5, 'on_conflict', $9),"
	"     'finished', $6, $7, $7, pg_catalog.clock_timestamp(), $8)",
	JOB_PARAMETERS,
	{INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, OIDOID, TIMESTAMPTZOID, INT8OID, TEXTOID}};
/* clang-format on */

static void
note_job(const LineImport *lines, const ImportOptions *options, const ImportCounts *counts)
{
	text *account_id = import_default_account(lines->import);
	const char *format = options->format == NULL ? "auto" : options->format->name;
	Datum values[JOB_PARAMETERS] = {
		[JOB_ID] = Int64GetDatum(options->job_id),
		[JOB_FORMAT] = CStringGetTextDatum(format),
		[JOB_ACCOUNT] = PointerGetDatum(account_id),
		[JOB_ON_ERROR] = CStringGetTextDatum(options->skip ? "skip" : "stop"),
		[JOB_ON_NUL] = CStringGetTextDatum(options->replace_nul ? "replace" : "error"),
		[JOB_ROLE] = ObjectIdGetDatum(GetOuterUserId()),
		[JOB_STARTED_AT] = TimestampTzGetDatum(lines->started_at),
		[JOB_BYTES] = Int64GetDatum(counts->bytes),
		[JOB_ON_CONFLICT] = CStringGetTextDatum(import_conflict_name(options->on_conflict)),
	};
	char nulls[JOB_PARAMETERS];

	memset(nulls, ' ', sizeof(nulls));
	nulls[JOB_ACCOUNT] = account_id == NULL ? 'n' : ' ';
	(void) plan_execute(&insert_job, values, nulls, false);
	import_note_part(options->job_id, counts);
}

/* Stores what is left, notes the job, and tells the counts.  Errors: those of the import. */
static void
end_lines(void *state)
{
	LineImport *lines = state;
	const ImportCounts *counts = import_counts(lines->import);

	import_finish(lines->import);
	while (import_gather(lines->import))
		import_write(lines->import);
	import_write(lines->import);
	SPI_connect();
	note_job(lines, &lines->import->options, counts);
	SPI_finish();
	ereport(NOTICE,
			(errmsg(INT64_FORMAT " documents: " INT64_FORMAT " imported, " INT64_FORMAT
								 " extended, " INT64_FORMAT " unchanged, " INT64_FORMAT
								 " rejected; " INT64_FORMAT " messages stored (job " INT64_FORMAT
								 ")",
					counts->documents, counts->imported, counts->extended, counts->unchanged,
					counts->rejected, counts->messages, lines->import->options.job_id)));
}

static const RelationIntake lines_intake = {"import_documents", begin_lines, put_line, end_lines};

/* ---- one document ---- */

PG_FUNCTION_INFO_V1(memory_import_document);

/*
 * memory_import_document(account_id text, document text, format text)
 *		→ (conversation_id uuid, state text, messages bigint, reason text,
 *		path text, message text)
 *		Imports one document; a rejection is a result, not an error, and so is a
 *		defect that was mended (with another state).  NULL
 *		account_id: the one that the document names, else the session's.
 *		Errors: 22004 document or format is NULL, 22023 unknown format.
 */
Datum
memory_import_document(PG_FUNCTION_ARGS)
{
	ImportOptions options;
	ImportResult result;
	TupleDesc descriptor;
	Datum values[6];
	bool nulls[6] = {0};
	char *document;

	argument_require(fcinfo, 1, "document", NULL);
	argument_require(fcinfo, 2, "format", NULL);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "memory.import_document does not return a row");
	import_options(&options);
	options.account_id = PG_ARGISNULL(0) ? NULL : account_check(PG_GETARG_TEXT_PP(0));
	options.format = transfer_format_argument(text_to_cstring(PG_GETARG_TEXT_PP(2)), false);
	options.skip = true;
	document = text_to_cstring(PG_GETARG_TEXT_PP(1));
	audit_access(AUDIT_CONVERSATIONS, ACL_INSERT | ACL_UPDATE);
	audit_access(AUDIT_MESSAGES, ACL_INSERT | ACL_UPDATE);
	import_one(&options, document, strlen(document), &result);

	values[0] = UUIDPGetDatum(&result.conversation_id);
	nulls[0] = !result.has_conversation;
	values[1] = CStringGetTextDatum(import_state_name(result.state));
	values[2] = Int64GetDatum(result.messages);
	nulls[3] = nulls[4] = nulls[5] = result.problem.reason == TRANSFER_OK;
	if (result.problem.reason != TRANSFER_OK)
	{
		values[3] = CStringGetTextDatum(transfer_reason_name(result.problem.reason));
		values[4] = CStringGetTextDatum(result.problem.path);
		values[5] = CStringGetTextDatum(result.problem.message);
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}
