/*
 * search.h
 *		Search: what memory.search and its like find.  No room calls another
 *		function of this one than search_init.
 */
#ifndef SEARCH_H
#define SEARCH_H

/* Defines the settings, and has what is erased erased from blocks (erase_blocks.c). */
extern void search_erase_init(void);

#endif /* SEARCH_H */
