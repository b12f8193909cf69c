/*
 * export.h
 *		Conversations of the store as documents, for memory.export and for jobs.
 */
#ifndef TRANSFER_EXPORT_H
#define TRANSFER_EXPORT_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "census.h"
#include "formats.h"

/* A conversation's place in the order of exports. */
typedef struct ExportKey
{
	pg_uuid_t conversation_id;
	const text *account_id;
} ExportKey;

/* Which conversations; what is NULL or false does not matter. */
typedef struct ExportScope
{
	const TransferFormat *format;
	const text *account_id;
	const pg_uuid_t *conversation_id;
	bool has_since;
	TimestampTz since;      /* changed then or later */
	const ExportKey *after; /* not this one, nor one before it */
	const ExportKey *last;  /* none behind this one */
} ExportScope;

typedef struct Export Export;

/*
 * Begins an export that lives in the current context; what the scope points to
 * must live as long.  All of it is read under the snapshot that is active now.
 * Error: 42501.
 */
extern Export *export_begin(const ExportScope *scope);

/* Appends the next document, without a NUL behind it; false: there is none left. */
extern bool export_next(Export *export, StringInfo out);

/* A notice with what the format could not hold until now, if there was such. */
extern void export_tell_lost(const Export *export);

/* The same, counted; until export_end. */
extern const Census *export_lost(const Export *export);

/* How many there were until now. */
extern int64 export_conversations(const Export *export);
extern int64 export_messages(const Export *export);

/* Closes what is open in the executor; its memory goes with the context. */
extern void export_end(Export *export);

/* ---- export_read.c ---- */

typedef struct ExportReader ExportReader;

extern ExportReader *export_read_begin(const ExportScope *scope);

/* The next conversation, in the current context, good until the next call; false: none is left. */
extern bool export_read(ExportReader *reader, TransferConversation *conversation);
extern void export_read_end(ExportReader *reader);

#endif /* TRANSFER_EXPORT_H */
