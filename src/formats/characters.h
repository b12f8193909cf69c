/*
 * characters.h
 *		Escapes in the text of JSON that stand for no character of PostgreSQL's:
 *		the one with code 0, and halves of surrogate pairs.
 */
#ifndef CHARACTERS_H
#define CHARACTERS_H

#include "formats.h"

/* The next \u0000 in a text that ends with a NUL, or NULL. */
extern char *characters_find_nul(char *text);

/* The next half of a pair that stands alone, an escape or three bytes, or NULL. */
extern char *characters_find_surrogate(char *text);

/*
 * Replaces both, in place, by U+FFFD, as far as the problem's flags ask for it.
 * False: one is there that is not to be replaced; *at is where, *reason which.
 * *changed: something has been replaced.
 */
extern bool characters_replace(const TransferProblem *problem, char *text, bool *changed, char **at,
							   TransferReason *reason);

#endif /* CHARACTERS_H */
