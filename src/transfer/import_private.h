/*
 * import_private.h
 *		What the files of the import share.
 */
#ifndef TRANSFER_IMPORT_PRIVATE_H
#define TRANSFER_IMPORT_PRIVATE_H

#include "utils/hsearch.h"

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
	const char *origin; /* of Redis: the key; else NULL */
	const char *text;   /* of a row: what the excerpt is made of, when it is needed */
	Size text_length;
	const TransferFormat *format;
	text *account_id; /* NULL: not known */
	pg_uuid_t id;
	bool has_id;
	TransferConversation conversation;
	ImportState state;
	int64 added;             /* messages that are to be stored */
	TransferProblem problem; /* of IMPORT_REJECTED; or what was mended */
	TransferProblem read;    /* what was mended when it was read */
	pg_uuid_t original;      /* of a copy: the conversation that it contradicts */
	int32 copies;            /* how many conversations it contradicts; 0: it is no copy */
	bool again;              /* it is to be stored as the next copy */
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
	const char *origin;
	text *last_account; /* of the document before, in the batch's context; NULL: none */
	ImportCounts counts;
};

/* ---- import_batch.c: the batch's documents, and what is rejected ---- */

extern text *import_default_account(const Import *import);
extern ImportDocument *import_next_document(Import *import);
extern const char *import_excerpt(const char *data, Size length, Size at);

/* Notes the rejection in the document, or raises it. */
extern void import_reject(Import *import, ImportDocument *document);
extern void
import_mend(Import *import, ImportDocument *document, TransferReason reason, const char *message);

/* ---- import_read.c: text to conversation ---- */

/* False: problem, line, offset and excerpt say why.  In the batch's context. */
extern bool import_read(Import *import, ImportDocument *document, const char *data, Size length,
						TransferText source_id);
extern bool import_accept(Import *import, ImportDocument *document, Jsonb *parsed);
extern bool import_is_input_error(const ErrorData *error);
extern void import_name_copy(ImportDocument *document);
extern bool import_array_is_document(void *import, const char *first, Size length);

/* ---- import_groups.c: the batch by conversation ---- */

/* A row that is to be inserted into memory.messages. */
typedef struct ImportRow
{
	const ImportDocument *document;
	const TransferMessage *message;
	int64 seq;
	int64 parent_seq; /* -1: of a row, the store's default */
} ImportRow;

/* Documents of one conversation that are stored together, and what that has already. */
typedef struct ImportGroup
{
	ImportDocument **documents; /* several: each is one message of the conversation */
	int32 ndocuments;
	bool exists;
	bool deleted;
	int64 next_seq;
	int64 head_seq;
	ImportRow *rows; /* to be stored */
	int32 nrows;
	Size rows_size;     /* bytes that fit into rows */
	ImportRow *changes; /* to take the place of what is stored; as many as rows at most */
	int32 nchanges;
	int64 new_head;           /* 0: the last row's */
	int64 place;              /* of rows: how many of the conversation came in batches before */
	int64 places;             /* and how many in this one */
	bool new;                 /* import_prepare's own */
	StoreConversation *ready; /* made ready before the lock; else NULL */
} ImportGroup;

extern ImportDocument **import_sort_documents(Import *import, int32 *n);
extern void import_take_copies(Import *import, ImportDocument **sorted, int32 *n);
extern ImportGroup *import_take_groups(ImportDocument **sorted, int32 *n, int32 *ngroups);
extern void import_look_up(ImportGroup *groups, int32 n);
extern void import_key_arrays(const ImportGroup *groups, int32 n, Datum *arrays);
extern ImportGroup *
import_find_group(ImportGroup *groups, int32 n, const pg_uuid_t *id, text *account_id);
extern bool import_message_times(const ImportGroup *group, TimestampTz *first, TimestampTz *last);

/* ---- import_known.c: messages by their ids ---- */

/* A message that is stored, by its id; seq 0: it was deleted. */
typedef struct ImportKnown
{
	TransferText id; /* the key */
	int64 seq;
	TransferText role;
	TransferText content;
} ImportKnown;

extern HTAB *
import_known_messages(const ImportDocument *document, const TranscriptMessage *stored, int32 n);
extern HTAB *import_know_stored(const TranscriptMessage *stored, int32 n);
extern HTAB *import_create_known(int32 n);
extern ImportKnown *
import_know_text(HTAB *table, TransferText id, int64 seq, TransferText role, TransferText content);
extern ImportKnown *import_know(HTAB *table, const TransferMessage *message, int64 seq);
extern bool import_same_text(TransferText left, TransferText right);
extern TransferText import_text_of(const char *data, uint32 length);
extern bool import_refuse_id(ImportDocument *document, int32 index, int64 seq);

/* A message that is known, of the same role and content or not. */
typedef struct ImportDifference
{
	ImportDocument *document;
	int32 index; /* of the document's message */
	int64 seq;   /* of the one that is known */
	TransferText role;
	TransferText content;
} ImportDifference;

/* False: they differ, and the document's problem says so; true: nothing is to be rejected. */
extern bool import_compare(Import *import, ImportGroup *group, const ImportDifference *difference);
extern void import_compare_part(Import *import, ImportGroup *group, ImportDocument *document,
								const ImportKnown *known);

/* ---- import_rows.c: the same of rows, which come one by one ---- */
extern void import_match_rows(Import *import, ImportGroup *group);
extern void import_read_places(const Import *import, ImportGroup *groups, int32 n);
extern void import_write_places(const Import *import, const ImportGroup *groups, int32 n);

/* ---- import_match.c: what of a document is new ---- */

/* Fills in rows and the documents' states, in the current context. */
extern void import_match(Import *import, ImportGroup *group);

/* ---- import_prepare.c: what can be done before a lock ---- */
extern void import_prepare(Import *import, ImportGroup *groups, int32 n);

#endif /* TRANSFER_IMPORT_PRIVATE_H */
