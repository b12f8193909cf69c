/*
 * attempt.h
 *		Going on behind an error: a call in a subtransaction of its own.
 */
#ifndef MEMORY_ATTEMPT_H
#define MEMORY_ATTEMPT_H

#include "postgres.h"

/*
 * Runs act(arg) in a subtransaction, in the current memory context.  Returns
 * what it raised, in that context, with all it did undone; NULL: nothing.
 */
extern ErrorData *attempt_run(void (*act)(void *), void *arg);

/*
 * The same, where only corrupt data, or data of an unknown version, is to be
 * survived: XX001 and 0A000.  Any other error is raised again.
 */
extern ErrorData *attempt_read(void (*act)(void *), void *arg);

#endif /* MEMORY_ATTEMPT_H */
