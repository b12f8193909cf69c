/*
 * attempts.c
 *		Going on behind segments that cannot be read.
 *
 * One corrupt conversation must not keep an account from being searched.  To be
 * ready for it at every segment costs as much as reading a short one, so that is
 * done only when a search has failed because of one.
 */
#include "postgres.h"

#include "attempt.h"
#include "search_private.h"

typedef struct Attempt
{
	SearchAct act;
	void *arg;
} Attempt;

static void
run(void *arg)
{
	Attempt *attempt = arg;

	attempt->act(attempt->arg, false);
}

/*
 * search_attempt
 *		Runs act, which puts rows into a tuplestore; once more, and carefully, if
 *		it comes to a segment that cannot be read.
 */
void
search_attempt(SearchAct act, void *arg, Tuplestorestate *rows)
{
	Attempt attempt = {act, arg};
	ErrorData *error = attempt_read(run, &attempt);

	if (error == NULL)
		return;
	FreeErrorData(error);
	tuplestore_clear(rows);
	act(arg, true);
}
