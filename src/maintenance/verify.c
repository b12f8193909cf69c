/*
 * verify.c
 *		What memory.verify() and maintenance ask of a stored segment's bytes.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "attempt.h"
#include "format.h"
#include "transcript.h"

static void
verify_segment(void *arg)
{
	transcript_verify(*(Datum *) arg);
}

PG_FUNCTION_INFO_V1(memory_segment_problem);

/*
 * memory_segment_problem(body transcript) → text
 *		What opening the transcript would raise; NULL when it is sound.  A
 *		cancel goes through.
 */
Datum
memory_segment_problem(PG_FUNCTION_ARGS)
{
	Datum body = PG_GETARG_DATUM(0);
	ErrorData *error = attempt_run(verify_segment, &body);

	if (error == NULL)
		PG_RETURN_NULL();
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	PG_RETURN_TEXT_P(cstring_to_text(error->detail != NULL
										 ? psprintf("%s: %s", error->message, error->detail)
										 : error->message));
}

PG_FUNCTION_INFO_V1(memory_needed_dictionary);

/*
 * memory_needed_dictionary(body transcript) → bigint
 *		As memory.dictionary_id, but a header that cannot be read gives 0, which
 *		is no dictionary's id: it may need any.
 */
Datum
memory_needed_dictionary(PG_FUNCTION_ARGS)
{
	struct varlena *slice = PG_DETOAST_DATUM_SLICE(PG_GETARG_DATUM(0), 0, TRANSCRIPT_HEADER_MAX);
	TranscriptHeader header;
	TranscriptProblem problem;

	if (!transcript_header_decode((const uint8 *) VARDATA_ANY(slice), VARSIZE_ANY_EXHDR(slice),
								  &header, &problem))
		PG_RETURN_INT64(0);
	if (header.dictionary_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(header.dictionary_id);
}
