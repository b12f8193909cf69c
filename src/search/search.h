/*
 * search.h
 *		Search: what other rooms call.
 */
#ifndef SEARCH_H
#define SEARCH_H

/* Defines the room's settings; called once, from _PG_init. */
extern void search_init(void);

#endif /* SEARCH_H */
