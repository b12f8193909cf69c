/*
 * erase_blocks.c
 *		What is erased from the store is erased from the blocks, in the same
 *		transaction.
 */
#include "postgres.h"

#include "search_private.h"

void
search_erase_init(void)
{
}
