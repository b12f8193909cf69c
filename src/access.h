/*
 * access.h
 *		Who may use the API, and which of it in a confined session.
 */
#ifndef MEMORY_ACCESS_H
#define MEMORY_ACCESS_H

/* Begins to watch calls of functions for confined sessions; called once, from _PG_init. */
extern void access_init(void);

#endif /* MEMORY_ACCESS_H */
