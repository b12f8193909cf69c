/*
 * import.c
 *		An import: documents gathered into batches.
 *
 * Calls go import_settings.c, import_csv.c → import.c → import_write.c →
 * import_prepare.c → import_match.c → import_rows.c → import_groups.c →
 * import_read.c, import_known.c → import_batch.c; splitter.c, csv.c, csv_cut.c
 * and the formats are below all.
 *
 * Memory contexts: the import's own has the splitter with its buffer; below it
 * one for the batch, reset when that is written, and one for the text at hand,
 * reset for each document.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "import_private.h"

/* Begins an import, which lives in the current memory context. */
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

/* What has been written so far; the import keeps it. */
const ImportCounts *
import_counts(const Import *import)
{
	return &import->counts;
}

/* The place behind the last document that was gathered. */
void
import_mark(const Import *import, SplitterMark *mark)
{
	splitter_mark(import->splitter, mark);
}

/* What users call a state. */
const char *
import_state_name(ImportState state)
{
	static const char *const names[] = {"imported", "extended", "unchanged", "rejected"};

	return names[state];
}

/* ---- documents into the batch ---- */

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

/* Takes documents from the chunk into the batch; true: the batch is full. */
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

/* Passes over documents, without reading them; false: the chunk is used up first. */
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

/* How many documents import_pass has passed. */
int32
import_passed(const Import *import)
{
	return import->passed;
}

/* Adds a whole document, which is followed by a NUL; true: the batch is full. */
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

/* What the next conversations' metadata and rejections hold besides; NULL: nothing. */
void
import_note(Import *import, Jsonb *metadata, const char *origin)
{
	import->note = metadata;
	import->origin = origin;
}

/* Imports one document, in the caller's transaction, and tells what became of it. */
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
