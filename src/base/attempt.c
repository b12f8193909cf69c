/*
 * attempt.c
 *		How memory.verify() and maintenance go on behind a corrupt segment, and
 *		imports behind a bad document.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "format.h"
#include "store.h"

/*
 * Runs act(arg) in a subtransaction, in the current memory context.  Returns
 * what it raised, in that context, with all it did undone; NULL: nothing.
 */
ErrorData *
store_attempt(void (*act)(void *), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		act(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/* The same, where only a corrupt transcript, or one of an unknown version, is to be survived. */
ErrorData *
store_attempt_reading(void (*act)(void *), void *arg)
{
	ErrorData *error = store_attempt(act, arg);

	if (error != NULL && error->sqlerrcode != ERRCODE_DATA_CORRUPTED &&
		error->sqlerrcode != ERRCODE_FEATURE_NOT_SUPPORTED)
		ReThrowError(error);
	return error;
}

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
	ErrorData *error = store_attempt(verify_segment, &body);

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
