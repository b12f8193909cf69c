/*
 * import_batch.c
 *		The documents of a batch, and what is said of those that are rejected.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "account.h"
#include "import_private.h"

/* ---- documents ---- */

/* Whose a document is that names no account: the import's, else the session's; NULL: not known. */
text *
import_default_account(const Import *import)
{
	if (import->options.account_id == NULL && account_confined() != NULL)
		return account_check(NULL);
	return import->options.account_id;
}

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

/* Whether the batch has documents that are one message each: their order matters. */
bool
import_is_partial(const Import *import)
{
	for (int32 i = 0; i < import->ndocuments; i++)
		if (import->documents[i].conversation.partial)
			return true;
	return false;
}

/* ---- excerpts ---- */

/*
 * import_excerpt
 *		A piece of the text, for notes: from a bit before `at`, on one line,
 *		valid UTF-8 whatever the text is.
 */
const char *
import_excerpt(const char *data, Size length, Size at)
{
	Size begin = at > IMPORT_EXCERPT_BYTES / 2 ? at - IMPORT_EXCERPT_BYTES / 2 : 0;
	char *excerpt = palloc(IMPORT_EXCERPT_BYTES + 1);
	Size used = 0;

	while (begin < length && begin > 0 && ((unsigned char) data[begin] & 0xc0) == 0x80)
		begin++;
	while (begin < length && used < IMPORT_EXCERPT_BYTES)
	{
		const char *p = data + begin;
		int size = pg_utf_mblen((const unsigned char *) p);

		if (size > length - begin || used + size > IMPORT_EXCERPT_BYTES)
			break;
		if (!pg_utf8_islegal((const unsigned char *) p, size))
		{
			excerpt[used++] = '?';
			begin++;
			continue;
		}
		memcpy(excerpt + used, p, size);
		if ((unsigned char) *p < 0x20)
			excerpt[used] = ' ';
		used += size;
		begin += size;
	}
	excerpt[used] = '\0';
	return excerpt;
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
