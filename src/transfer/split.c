/*
 * split.c
 *		memory_store.split_documents: what the splitter makes of a text, chunk by
 *		chunk, for tests and for looking at a file that was rejected.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "splitter.h"

/* An array is a document when its first element has a role. */
static bool
has_role(void *arg, const char *first, Size length)
{
	return strstr(first, "\"role\"") != NULL;
}

static void
put_document(ReturnSetInfo *result, SplitterResult kind, const SplitterDocument *document)
{
	static const char *const kinds[] = {"more", "document", "broken", "too large"};
	Datum values[6];
	bool nulls[6] = {0};

	values[0] = CStringGetTextDatum(kinds[kind]);
	values[1] = PointerGetDatum(cstring_to_text_with_len(document->data, document->length));
	values[2] = Int64GetDatum((int64) document->line);
	values[3] = Int64GetDatum((int64) document->offset);
	values[4] = Int64GetDatum((int64) document->bytes);
	nulls[5] = document->problem == NULL;
	values[5] = nulls[5] ? (Datum) 0 : CStringGetTextDatum(document->problem);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(memory_split_documents);

/*
 * memory_split_documents(input text, chunk integer, max_document integer,
 *						  resume boolean) → setof record
 *		The documents of the input, fed in chunks of so many bytes.  resume:
 *		with a new splitter behind each document, as a job that is stopped there
 *		goes on.
 */
Datum
memory_split_documents(PG_FUNCTION_ARGS)
{
	text *input = PG_GETARG_TEXT_PP(0);
	const char *data = VARDATA_ANY(input);
	Size length = VARSIZE_ANY_EXHDR(input);
	Size chunk = Max(PG_GETARG_INT32(1), 1);
	Size max_document = Max(PG_GETARG_INT32(2), 1);
	bool resume = PG_GETARG_BOOL(3);
	Splitter *splitter = splitter_create(max_document, has_role, NULL);
	SplitterDocument document;
	SplitterMark mark;
	Size at = 0;
	bool finished = false;

	InitMaterializedSRF(fcinfo, 0);
	for (;;)
	{
		SplitterResult kind = splitter_next(splitter, &document);

		CHECK_FOR_INTERRUPTS();
		if (kind != SPLITTER_MORE)
		{
			put_document((ReturnSetInfo *) fcinfo->resultinfo, kind, &document);
			if (!resume || finished)
				continue;
			splitter_mark(splitter, &mark);
			splitter = splitter_create(max_document, has_role, NULL);
			splitter_resume(splitter, &mark);
			at = mark.offset;
		}
		else if (finished)
			break;
		else if (at < length)
		{
			splitter_feed(splitter, data + at, Min(chunk, length - at));
			at += Min(chunk, length - at);
		}
		else
		{
			splitter_finish(splitter);
			finished = true;
		}
	}
	return (Datum) 0;
}
