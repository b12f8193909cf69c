/*
 * stored.h
 *		A conversation's messages as the store has them, for imports to compare
 *		with and exports to write.
 */
#ifndef TRANSFER_STORED_H
#define TRANSFER_STORED_H

#include "postgres.h"

#include "store.h"

/*
 * All messages in order of seq, in the current context.  read_only: under the
 * caller's snapshot, else as they are now.  Needs an SPI connection.
 */
extern TranscriptMessage *
stored_messages(const pg_uuid_t *id, text *account_id, bool read_only, int32 *count);

#endif /* TRANSFER_STORED_H */
