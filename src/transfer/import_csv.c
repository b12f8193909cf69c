/*
 * import_csv.c
 *		Rows of CSV into a batch: PostgreSQL's COPY cuts them into fields.
 *
 * COPY asks for bytes and is given record after record, each with a line's end.
 * It and the values' input functions throw errors, so all of it is in a
 * subtransaction; the row at hand is rejected, and COPY begins anew behind it.
 *
 * A row is a document that is one message (import_rows.c matches them).
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "commands/copy.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "attempt.h"
#include "csv.h"
#include "import_private.h"

/* What COPY reads: the records from next on; it has no argument to pass it by. */
typedef struct CsvSource
{
	Import *import;
	const CsvColumns *columns;
	CsvRecord *records;
	int32 count;
	text *default_account; /* whose a row is that does not say */
	uint64 before;         /* records of the input before these */
	uint64 offset;         /* of the buffer in the input */
	int32 next;            /* the record that is parsed next */
	int32 given;           /* the record that COPY is given next, */
	Size position;         /* and where in it */
	bool begun;            /* something has been given */
	volatile CsvColumn at; /* whose value is read; CSV_NCOLUMNS: none */
	volatile bool raising; /* an error is the rejection itself */
} CsvSource;

static CsvSource *source = NULL;

static int
give_bytes(void *buffer, int minimum, int maximum)
{
	CsvSource *s = source;
	char *out = buffer;
	int given = 0;

	/* an empty line first: by its end COPY knows how lines end */
	if (!s->begun)
		out[given++] = '\n';
	s->begun = true;
	while (given < maximum && s->given < s->count)
	{
		CsvRecord *record = &s->records[s->given];
		Size left = Min(record->length - s->position, (Size) (maximum - given));

		memcpy(out + given, record->data + s->position, left);
		given += (int) left;
		s->position += left;
		if (s->position == record->length && given < maximum)
		{
			out[given++] = '\n';
			s->given++;
			s->position = 0;
		}
	}
	return given;
}

/* ---- a row into the batch ---- */

static ImportDocument *
next_row(CsvSource *s)
{
	const CsvRecord *record = &s->records[s->next];
	ImportDocument *document = import_next_document(s->import);

	document->number = s->before + s->next + 1;
	document->line = record->line;
	document->offset = s->offset + record->offset;
	document->format = &csv_format;
	document->text = record->data;
	document->text_length = record->length;
	document->account_id = s->default_account;
	return document;
}

static void
end_row(CsvSource *s, ImportDocument *document, bool accepted)
{
	if (!accepted)
	{
		s->raising = !s->import->options.skip;
		import_reject(s->import, document);
	}
	s->import->ndocuments++;
	s->next++;
}

/* A row whose account_id is null, and nobody else says whose it is. */
static bool
lacks_account(CsvSource *s, ImportDocument *document)
{
	return document->account_id == NULL && document->conversation.account_id.data == NULL &&
		   s->columns->field_of[CSV_ACCOUNT_ID] >= 0 &&
		   transfer_refuse(&document->problem, TRANSFER_BAD_VALUE, "account_id",
						   "account_id is null") == false;
}

static void
add_row(CsvSource *s, char **fields, int nfields)
{
	ImportDocument *document = next_row(s);
	MemoryContext old = MemoryContextSwitchTo(s->import->batch_context);
	bool accepted = csv_read(s->columns, fields, nfields, &document->conversation,
							 &document->problem, &s->at) &&
					!lacks_account(s, document) && import_accept(s->import, document, NULL);

	end_row(s, document, accepted);
	MemoryContextSwitchTo(old);
}

/* What COPY would not take, or would take for the input's end, it is not given. */
static bool
is_for_copy(const CsvSource *s, const CsvRecord *record)
{
	return record->length <= s->import->options.max_document &&
		   !(record->length == 2 && memcmp(record->data, "\\.", 2) == 0) &&
		   pg_encoding_verifymbstr(s->import->options.csv_encoding, record->data,
								   (int) record->length) == record->length;
}

/* Rejects the next record, which is not for COPY. */
static void
refuse_record(CsvSource *s)
{
	const CsvRecord *record = &s->records[s->next];
	ImportDocument *document = next_row(s);
	TransferProblem *problem = &document->problem;
	Size valid;

	if (record->length > s->import->options.max_document)
		transfer_refuse(problem, TRANSFER_TOO_LARGE, "$",
						"the row has %zu bytes, more than the limit of %zu", record->length,
						s->import->options.max_document);
	else if ((valid = pg_encoding_verifymbstr(s->import->options.csv_encoding, record->data,
											  (int) record->length)) < record->length)
		transfer_refuse(problem, record->data[valid] == '\0' ? TRANSFER_NUL : TRANSFER_BAD_VALUE,
						"$", "a byte 0x%02x is not valid here",
						(unsigned char) record->data[valid]);
	else
		transfer_refuse(problem, TRANSFER_BAD_VALUE, "$", "the line is not a row");
	end_row(s, document, false);
}

/* ---- COPY ---- */

static List *
copy_options(const CsvSource *s)
{
	const ImportOptions *options = &s->import->options;
	const char *encoding = pg_encoding_to_char(options->csv_encoding);

	return list_make3(makeDefElem("format", (Node *) makeString("csv"), -1),
					  makeDefElem("encoding", (Node *) makeString(pstrdup(encoding)), -1),
					  makeDefElem("delimiter",
								  (Node *) makeString(psprintf("%c", options->csv_delimiter)), -1));
}

/* Gives COPY the records from next to last - 1; they are valid. */
static void
copy_records(CsvSource *s, Relation relation, int32 last)
{
	CopyFromState copy;
	char **fields;
	int nfields;
	int32 all = s->count;

	s->count = last; /* give_bytes ends there */
	s->given = s->next;
	s->position = 0;
	s->begun = false;
	s->at = CSV_NCOLUMNS;
	copy = BeginCopyFrom(NULL, relation, NULL, NULL, false, give_bytes, NIL, copy_options(s));
	(void) NextCopyFromRawFields(copy, &fields, &nfields); /* the empty line */
	while (NextCopyFromRawFields(copy, &fields, &nfields))
	{
		CHECK_FOR_INTERRUPTS();
		if (s->next == last)
			elog(ERROR, "COPY found more rows than there are");
		add_row(s, fields, nfields);
	}
	if (s->next < last)
		elog(ERROR, "COPY found fewer rows than there are");
	EndCopyFrom(copy);
	s->count = all;
}

typedef struct RecordsAttempt
{
	CsvSource *source;
	Relation relation;
	int32 last;
	MemoryContext scratch; /* an error leaves COPY's buffers behind */
} RecordsAttempt;

static void
attempt_records(void *arg)
{
	RecordsAttempt *attempt = arg;

	MemoryContextSwitchTo(attempt->scratch);
	copy_records(attempt->source, attempt->relation, attempt->last);
}

/* The same in a subtransaction; an error about the input is returned, else NULL. */
static ErrorData *
try_records(CsvSource *s, Relation relation, int32 last)
{
	RecordsAttempt attempt = {s, relation, last, NULL};
	int32 all = s->count;
	ErrorData *error;

	attempt.scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext copy", ALLOCSET_DEFAULT_SIZES);
	error = attempt_run(attempt_records, &attempt);
	s->count = all;
	MemoryContextDelete(attempt.scratch);
	if (error != NULL && (s->raising || !import_is_input_error(error)))
		ReThrowError(error);
	return error;
}

static TransferReason
reason_of(const ErrorData *error)
{
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_PROGRAM_LIMIT_EXCEEDED)
		return TRANSFER_TOO_LARGE;
	if (error->sqlerrcode == ERRCODE_UNTRANSLATABLE_CHARACTER)
		return TRANSFER_NUL;
	if (error->sqlerrcode == ERRCODE_INVALID_DATETIME_FORMAT ||
		error->sqlerrcode == ERRCODE_DATETIME_FIELD_OVERFLOW)
		return TRANSFER_BAD_TIME;
	return TRANSFER_BAD_VALUE;
}

static void
read_records(CsvSource *s, Relation relation)
{
	while (s->next < s->count)
	{
		int32 last = s->next;
		ErrorData *error;

		while (last < s->count && is_for_copy(s, &s->records[last]))
			last++;
		if (last == s->next)
		{
			refuse_record(s);
			continue;
		}
		error = try_records(s, relation, last);
		if (error != NULL)
		{
			ImportDocument *document = next_row(s);

			transfer_refuse(&document->problem, reason_of(error),
							s->at < CSV_NCOLUMNS ? csv_column_name(s->at) : "$", "%s",
							error->message);
			end_row(s, document, false);
		}
	}
}

/* The records of the bytes, but for the header and empty lines. */
static void
cut_records(CsvSource *s, const char *data, Size length, const SplitterMark *mark)
{
	CsvCutter cutter = {.line = mark->line};
	bool header = mark->offset == 0;
	int32 space = 1024;
	CsvRecord record;

	s->records = palloc(space * sizeof(CsvRecord));
	if (header)
		csv_skip_mark(&cutter, data, length);
	while (csv_cut(&cutter, data, length, true, &record))
	{
		if (record.length == 0 || header)
		{
			header = header && record.length == 0;
			continue;
		}
		if (s->count == space)
		{
			space *= 2;
			s->records = repalloc_huge(s->records, mul_size(space, sizeof(CsvRecord)));
		}
		s->records[s->count++] = record;
	}
}

/*
 * import_add_csv
 *		Rows into the batch.  Errors: those of import_reject; 22004 whose they
 *		are is not known.
 */
void
import_add_csv(Import *import, const CsvColumns *columns, const char *data, Size length,
			   const SplitterMark *mark)
{
	MemoryContext old = MemoryContextSwitchTo(import->context);
	CsvSource s = {import, columns};
	/* COPY wants a relation, for its columns, which are of no use here */
	Relation relation =
		relation_open(get_relname_relid("import_documents", get_namespace_oid("memory", false)),
					  AccessShareLock);

	s.before = mark->documents;
	s.offset = mark->offset;
	s.default_account = import_default_account(import);
	import->counts.bytes += length;
	cut_records(&s, data, length, mark);
	source = &s;
	read_records(&s, relation);
	source = NULL;
	relation_close(relation, NoLock);
	pfree(s.records);
	MemoryContextSwitchTo(old);
}
