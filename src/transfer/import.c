/*
 * import.c
 *		An import: documents gathered into batches, what is rejected.
 *
 * Calls go import_settings.c, import_csv.c → import.c → import_read.c,
 * import_write.c → import_prepare.c → import_match.c, import_rows.c;
 * splitter.c, csv.c, csv_cut.c and the formats are below all.
 *
 * Memory contexts: the import's own has the splitter with its buffer; below it
 * one for the batch, reset when that is written, and one for the text at hand,
 * reset for each document.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "import_private.h"

Import *
import_begin(const ImportOptions *options)
{
	Import *import = palloc0(sizeof(Import));

	import->options = *options;
	import->context = CurrentMemoryContext;
	import->batch_context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext batch", ALLOCSET_DEFAULT_SIZES);
	import->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext document", ALLOCSET_DEFAULT_SIZES);
	import->splitter = splitter_create(options->max_document, import_array_is_document, import);
	return import;
}

/* Goes on where an import of the same input left off, with the rest of the input. */
void
import_resume(Import *import, const SplitterMark *mark)
{
	splitter_resume(import->splitter, mark);
}

/* The chunk must stay until import_gather has returned false. */
void
import_feed(Import *import, const char *data, Size length)
{
	import->counts.bytes += length;
	splitter_feed(import->splitter, data, length);
}

/* Nothing more comes. */
void
import_finish(Import *import)
{
	splitter_finish(import->splitter);
}

const ImportCounts *
import_counts(const Import *import)
{
	return &import->counts;
}

void
import_mark(const Import *import, SplitterMark *mark)
{
	splitter_mark(import->splitter, mark);
}

const char *
import_state_name(ImportState state)
{
	static const char *const names[] = {"imported", "extended", "unchanged", "rejected"};

	return names[state];
}

/* Whose a document is that names no account: the import's, else the session's; NULL: not known. */
text *
import_default_account(const Import *import)
{
	if (import->options.account_id == NULL && account_confined() != NULL)
		return account_check(NULL);
	return import->options.account_id;
}

/* ---- what is rejected ---- */

static int
reason_sqlstate(TransferReason reason)
{
	switch (reason)
	{
		case TRANSFER_BAD_JSON:
			return ERRCODE_INVALID_TEXT_REPRESENTATION;
		case TRANSFER_BAD_TIME:
			return ERRCODE_INVALID_DATETIME_FORMAT;
		case TRANSFER_NUL:
		case TRANSFER_SURROGATE:
			return ERRCODE_UNTRANSLATABLE_CHARACTER;
		case TRANSFER_TOO_LARGE:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case TRANSFER_CONFLICT:
			return ERRCODE_UNIQUE_VIOLATION;
		case TRANSFER_DELETED:
			return ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
		default:
			return ERRCODE_INVALID_PARAMETER_VALUE;
	}
}

/* What leaves such documents out: a setting, or the argument that the caller has. */
static const char *
skip_hint(const ImportOptions *options)
{
	return options->arguments
			   ? "on_error => 'skip' leaves such documents out; memory.job_errors then has them."
			   : "Set memory_ext.import_on_error to skip to leave such documents out; "
				 "memory.job_errors then has them.";
}

static const char *
reason_hint(const ImportOptions *options, TransferReason reason)
{
	switch (reason)
	{
		case TRANSFER_NUL:
			return psprintf("Set memory_ext.import_on_nul to replace. %s", skip_hint(options));
		case TRANSFER_SURROGATE:
			return psprintf("Set memory_ext.import_on_surrogate to replace. %s",
							skip_hint(options));
		case TRANSFER_CONFLICT:
			return options->arguments
					   ? "on_conflict says what becomes of messages that differ: 'keep', 'replace' "
						 "or 'copy'."
					   : "memory_ext.import_on_conflict says what becomes of messages that differ: "
						 "keep, replace or copy.";
		case TRANSFER_TOO_LARGE:
			return psprintf("See memory_ext.import_max_document. %s", skip_hint(options));
		case TRANSFER_UNKNOWN_FORMAT:
			return options->arguments ? "Name the format by the argument."
									  : "Name the format by setting memory_ext.import_format.";
		default:
			return skip_hint(options);
	}
}

/* Of what comes from Redis: its key. */
static void
name_origin(ImportDocument *document)
{
	if (document->origin != NULL)
		document->problem.message =
			psprintf("%s (%s)", document->problem.message, document->origin);
}

/*
 * import_reject
 *		The document, whose problem is filled in, is not stored: an error, or a
 *		note that import_write writes.
 */
void
import_reject(Import *import, ImportDocument *document)
{
	TransferProblem *problem = &document->problem;

	document->state = IMPORT_REJECTED;
	document->added = 0;
	name_origin(document);
	/* noted with the batch, whatever context it was found in */
	problem->path = MemoryContextStrdup(import->batch_context, problem->path);
	problem->message = MemoryContextStrdup(import->batch_context, problem->message);
	if (document->excerpt == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(import->batch_context);

		document->excerpt = import_excerpt(document->text, document->text_length, 0);
		MemoryContextSwitchTo(old);
	}
	if (import->options.skip)
		return;
	ereport(ERROR,
			(errcode(reason_sqlstate(problem->reason)),
			 errmsg("document " UINT64_FORMAT " is rejected: %s", document->number,
					problem->message),
			 errdetail("Reason %s, at %s, line " UINT64_FORMAT ", byte " UINT64_FORMAT ": %s",
					   transfer_reason_name(problem->reason), problem->path, document->line,
					   document->offset, document->excerpt),
			 errhint("%s", reason_hint(&import->options, problem->reason))));
}

/*
 * import_mend
 *		Notes, for import_write, a defect of a document that is stored all the
 *		same; the message says what became of it.
 */
void
import_mend(Import *import, ImportDocument *document, TransferReason reason, const char *message)
{
	MemoryContext old = MemoryContextSwitchTo(import->batch_context);

	transfer_mend(&document->problem, reason, "$", "%s", message);
	if (document->problem.mended == 1)
		name_origin(document);
	if (document->excerpt == NULL)
		document->excerpt = import_excerpt(document->text, document->text_length, 0);
	MemoryContextSwitchTo(old);
}

/* ---- documents into the batch ---- */

/* The batch's next document, empty; it counts once ndocuments does. */
ImportDocument *
import_next_document(Import *import)
{
	ImportDocument *document;

	if (import->ndocuments == 0)
	{
		MemoryContextReset(import->batch_context); /* the batch before is written */
		import->last_account = NULL;
	}
	if (import->documents == NULL)
		import->documents =
			MemoryContextAlloc(import->context,
							   mul_size(import->options.batch_documents, sizeof(ImportDocument)));
	document = &import->documents[import->ndocuments];
	memset(document, 0, sizeof(*document));
	return document;
}

static bool
batch_is_full(const Import *import)
{
	return import->ndocuments >= import->options.batch_documents ||
		   import->batch_bytes >= import->options.batch_bytes;
}

/* A document's text, into the batch. */
static void
add_document(Import *import, const SplitterDocument *found, TransferText source_id)
{
	ImportDocument *document = import_next_document(import);
	MemoryContext old = MemoryContextSwitchTo(import->batch_context);

	document->number = found->number;
	document->line = found->line;
	document->offset = found->offset;
	document->origin = import->origin != NULL ? pstrdup(import->origin) : NULL;
	if (!import_read(import, document, found->data, found->length, source_id))
		import_reject(import, document);
	import->ndocuments++;
	import->batch_bytes += found->length;
	MemoryContextSwitchTo(old);
	MemoryContextReset(import->scratch);
}

/* What the splitter itself refuses. */
static void
add_refused(Import *import, const SplitterDocument *found, SplitterResult why)
{
	ImportDocument *document = import_next_document(import);
	MemoryContext old = MemoryContextSwitchTo(import->batch_context);

	document->number = found->number;
	document->line = found->line;
	document->offset = found->offset;
	document->origin = import->origin != NULL ? pstrdup(import->origin) : NULL;
	if (why == SPLITTER_TOO_LARGE)
		transfer_refuse(&document->problem, TRANSFER_TOO_LARGE, "$",
						"the document has " UINT64_FORMAT " bytes, more than the limit of %zu",
						found->bytes, import->options.max_document);
	else
	{
		document->line = found->problem_line;
		document->offset = found->problem_offset;
		transfer_refuse(&document->problem, TRANSFER_BAD_JSON, "$", "%s", found->problem);
	}
	document->account_id = import_default_account(import);
	document->excerpt = import_excerpt(found->data, found->length, 0);
	import_reject(import, document);
	import->ndocuments++;
	MemoryContextSwitchTo(old);
}

bool
import_gather(Import *import)
{
	static const TransferText own = {NULL, 0};
	SplitterDocument found;
	SplitterResult result;

	while (!batch_is_full(import))
	{
		CHECK_FOR_INTERRUPTS();
		result = splitter_next(import->splitter, &found);
		if (result == SPLITTER_MORE)
			return false;
		if (result == SPLITTER_DOCUMENT)
			add_document(import, &found, own);
		else
			add_refused(import, &found, result);
	}
	return true;
}

bool
import_is_partial(const Import *import)
{
	for (int32 i = 0; i < import->ndocuments; i++)
		if (import->documents[i].conversation.partial)
			return true;
	return false;
}

bool
import_pass(Import *import, int32 documents)
{
	SplitterDocument found;

	while (import->passed < documents)
	{
		if (import->passed % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if (splitter_next(import->splitter, &found) == SPLITTER_MORE)
			return false;
		import->passed++;
	}
	return true;
}

int32
import_passed(const Import *import)
{
	return import->passed;
}

bool
import_add(Import *import, const char *data, Size length, uint64 line, uint64 offset,
		   TransferText source_id)
{
	SplitterDocument found = {0};

	found.data = data;
	found.length = length;
	found.bytes = length;
	found.number = ++import->added;
	found.line = line;
	found.offset = offset;
	import->counts.bytes += length;
	if (length > import->options.max_document)
	{
		found.length = Min(length, 2 * IMPORT_EXCERPT_BYTES);
		add_refused(import, &found, SPLITTER_TOO_LARGE);
	}
	else
		add_document(import, &found, source_id);
	return batch_is_full(import);
}

void
import_note(Import *import, Jsonb *metadata, const char *origin)
{
	import->note = metadata;
	import->origin = origin;
}

void
import_one(const ImportOptions *options, const char *data, Size length, ImportResult *result)
{
	ImportOptions alone = *options;
	Import *import;
	TransferText own = {NULL, 0};
	ImportDocument *document;

	alone.batch_documents = 1;
	import = import_begin(&alone);
	import_add(import, data, length, 0, 0, own);
	document = &import->documents[0];
	import_write(import);
	result->state = document->state;
	result->conversation_id = document->id;
	result->has_conversation = document->has_id;
	result->messages = document->added;
	result->problem = document->problem;
}
