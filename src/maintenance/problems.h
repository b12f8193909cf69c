/*
 * problems.h
 *		Conversations that maintenance could not deal with.
 */
#ifndef MEMORY_PROBLEMS_H
#define MEMORY_PROBLEMS_H

#include "postgres.h"

#include "utils/uuid.h"

/*
 * Runs act(arg) in a subtransaction of its own, in the current memory context,
 * for a step ("seal", "compact") with one conversation.  What goes wrong with
 * it is undone, noted in memory.maintenance_problems and told as a warning, and
 * false returned; so that it does not keep the others from maintenance.  What
 * would go wrong with the others as well, or only this time (a cancel, a full
 * disk, a deadlock), is raised again.  The caller holds an SPI connection.
 */
extern bool problem_attempt(const char *step, text *account_id, const pg_uuid_t *id,
							void (*act)(void *), void *arg);

/* Raises an error again, unless it is of one conversation and will be there the next time, too. */
extern void problem_survive(ErrorData *error);

/* Whether any are noted; so that a step that has worked need not look for each conversation. */
extern bool problems_exist(void);

/* The step has worked with the conversation: what was noted of it is removed. */
extern void problem_solved(const char *step, text *account_id, const pg_uuid_t *id);

/* Removes what is noted of an account. */
extern void problems_forget(text *account_id);

#endif /* MEMORY_PROBLEMS_H */
