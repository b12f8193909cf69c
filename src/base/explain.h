/*
 * explain.h
 *		What EXPLAIN shows to a session that is confined to one account.
 */
#ifndef MEMORY_EXPLAIN_H
#define MEMORY_EXPLAIN_H

#include "postgres.h"

/* Sets the hook that refuses some plans; called once, from _PG_init. */
extern void explain_init(void);

#endif /* MEMORY_EXPLAIN_H */
