/*
 * import_private.h
 *		What the files of the import share.
 */
#ifndef TRANSFER_IMPORT_PRIVATE_H
#define TRANSFER_IMPORT_PRIVATE_H

#include "import.h"
#include "store.h"

/* How much of a rejected document its note shows, in bytes. */
#define IMPORT_EXCERPT_BYTES 200

typedef struct ImportDocument
{
	uint64 number; /* its place in the input, from 1 */
	uint64 line;   /* where it begins; of bad JSON: where that is */
	uint64 offset;
	const char *excerpt;
	const TransferFormat *format;
	text *account_id; /* NULL: not known */
	pg_uuid_t id;
	bool has_id;
	TransferConversation conversation;
	ImportState state;
	int64 added; /* messages that are to be stored */
	TransferProblem problem;
} ImportDocument;

struct Import
{
	ImportOptions options;
	MemoryContext context;       /* where the import lives */
	MemoryContext batch_context; /* the documents of the batch */
	MemoryContext scratch;       /* reset for each document */
	Splitter *splitter;
	ImportDocument *documents;
	int32 ndocuments;
	Size batch_bytes;
	uint64 added; /* documents of import_add, for their numbers */
	int32 passed; /* documents of import_pass */
	Jsonb *note;  /* import_note's */
	ImportCounts counts;
};

/* ---- import.c ---- */

extern text *import_default_account(const Import *import);

/* Notes the rejection in the document, or raises it. */
extern void import_reject(Import *import, ImportDocument *document);

/* ---- import_read.c: text to conversation ---- */

/* False: problem, line, offset and excerpt say why.  In the batch's context. */
extern bool import_read(Import *import, ImportDocument *document, const char *data, Size length,
						TransferText source_id);
extern bool import_array_is_document(void *import, const char *first, Size length);
extern const char *import_excerpt(const char *data, Size length, Size at);

/* ---- import_match.c: what of a document is new ---- */

/* A row that is to be inserted into memory.messages. */
typedef struct ImportRow
{
	const ImportDocument *document;
	const TransferMessage *message;
	int64 seq;
	int64 parent_seq;
} ImportRow;

/* Documents of one conversation that are stored together, and what that has already. */
typedef struct ImportGroup
{
	ImportDocument **documents; /* several: each is one message of the conversation */
	int32 ndocuments;
	bool exists;
	bool deleted;
	bool foreign; /* another account has it */
	int64 next_seq;
	int64 head_seq;
	ImportRow *rows; /* to be stored */
	int32 nrows;
	int64 new_head;           /* 0: the last row's */
	bool new;                 /* import_prepare's own */
	StoreConversation *ready; /* made ready before the lock; else NULL */
} ImportGroup;

/* Fills in rows and the documents' states, in the current context. */
extern void import_match(Import *import, ImportGroup *group);

/* ---- import_prepare.c: what can be done before a lock ---- */
extern void import_prepare(Import *import, ImportGroup *groups, ImportGroup *const *by_id, int32 n);

/* ---- import_write.c ---- */
extern bool import_message_times(const ImportGroup *group, TimestampTz *first, TimestampTz *last);
extern bool import_row_time(const TransferConversation *conversation,
							const TransferMessage *message, TimestampTz *time);

#endif /* TRANSFER_IMPORT_PRIVATE_H */
