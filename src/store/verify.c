/*
 * verify.c
 *		The part of memory.verify() that must go on behind an error.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "store.h"

PG_FUNCTION_INFO_V1(memory_segment_problem);

/*
 * memory_segment_problem(body transcript) → text
 *		What opening the transcript would raise; NULL when it is sound.  A
 *		subtransaction catches the error; a cancel goes through.
 */
Datum
memory_segment_problem(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char *volatile problem = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		transcript_verify(PG_GETARG_DATUM(0));
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		{
			MemoryContextSwitchTo(context);
			CurrentResourceOwner = owner;
			ReThrowError(error);
		}
		problem = error->detail != NULL ? psprintf("%s: %s", error->message, error->detail)
										: pstrdup(error->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;

	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}
