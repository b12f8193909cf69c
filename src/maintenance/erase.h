/*
 * erase.h
 *		Erasing an account: what rooms above this one have of it.
 */
#ifndef MAINTENANCE_ERASE_H
#define MAINTENANCE_ERASE_H

#include "postgres.h"

/* Erases what a room keeps of the account, within memory.forget's SPI connection. */
typedef void (*EraseElsewhere)(text *account_id);

/* Sets the function that memory.forget calls besides; called once, from _PG_init. */
extern void erase_set_elsewhere(EraseElsewhere forget);

#endif /* MAINTENANCE_ERASE_H */
