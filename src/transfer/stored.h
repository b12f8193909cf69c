/*
 * stored.h
 *		A conversation's messages as the store has them, for imports to compare
 *		with and exports to write.
 */
#ifndef TRANSFER_STORED_H
#define TRANSFER_STORED_H

#include "postgres.h"

#include "store.h"

/* Messages that are being read, in the current context. */
typedef struct StoredMessages
{
	TranscriptMessage *messages;
	int32 count;
	int32 space;
} StoredMessages;

/*
 * All messages in order of seq.  read_only: under the caller's snapshot, else
 * as they are now.  Needs an SPI connection, as all here do.
 */
extern void
stored_read(StoredMessages *stored, const pg_uuid_t *id, text *account_id, bool read_only);

/* The same in parts: a segment's body, the tail. */
extern void stored_add_segment(StoredMessages *stored, Datum body);
extern void
stored_add_tail(StoredMessages *stored, const pg_uuid_t *id, text *account_id, bool read_only);

#endif /* TRANSFER_STORED_H */
