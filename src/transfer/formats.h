/*
 * formats.h
 *		The formats, a file each; format.c has the table.
 */
#ifndef TRANSFER_FORMATS_H
#define TRANSFER_FORMATS_H

#include "transfer.h"

extern const TransferFormat transfer_native; /* native.c */

#endif /* TRANSFER_FORMATS_H */
