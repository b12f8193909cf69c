/*
 * import.h
 *		Importing: bytes in, conversations stored, in batches.
 *
 *	import = import_begin(&options);
 *	for each chunk:
 *		import_feed(import, chunk, length);
 *		while (import_gather(import))
 *			import_write(import);         -- the batch is full
 *	import_finish(import);
 *	while (import_gather(import))
 *		import_write(import);
 *	import_write(import);                 -- what is left
 *
 * A batch is written by one import_write, in whatever transaction the caller
 * has; a job commits after it, together with import_mark's place, from which
 * import_resume goes on.  The import lives in the memory context that was
 * current at import_begin, and so outlives transactions if that does.
 */
#ifndef TRANSFER_IMPORT_H
#define TRANSFER_IMPORT_H

#include "postgres.h"

#include "utils/uuid.h"

#include "csv.h"
#include "splitter.h"
#include "formats.h"

typedef enum ImportState
{
	IMPORT_IMPORTED,  /* the conversation is new */
	IMPORT_EXTENDED,  /* it has new messages, or replaced ones */
	IMPORT_UNCHANGED, /* it is there already */
	IMPORT_REJECTED
} ImportState;

/* What is done about a message that differs from the one that is stored. */
typedef enum ImportConflict
{
	IMPORT_CONFLICT_ERROR,   /* its document is rejected */
	IMPORT_CONFLICT_KEEP,    /* the stored one stays */
	IMPORT_CONFLICT_REPLACE, /* it takes the place of the stored one */
	IMPORT_CONFLICT_COPY     /* its document becomes another conversation */
} ImportConflict;

typedef struct ImportOptions
{
	text *account_id;             /* NULL: the documents name theirs */
	const TransferFormat *format; /* NULL: told apart */
	bool skip;                    /* what is rejected is noted; else it is an error */
	bool replace_nul;             /* \u0000 becomes U+FFFD; else the document is rejected */
	bool replace_surrogates;      /* likewise half of a surrogate pair */
	ImportConflict on_conflict;
	bool as_history;   /* messages of which no time is known are no usage of today */
	Size max_document; /* bytes of one document's text */
	int32 batch_documents;
	Size batch_bytes;
	int64 job_id; /* under which rejects are noted; 0: nowhere */
	int32 part;
	char csv_delimiter;
	int csv_encoding;
	bool arguments; /* on_error and on_conflict are arguments, which hints name */
	bool places;    /* rows are known by their place, too: it is kept under the job */
	void (*before_lock)(void *arg); /* called when all is ready that can be without a lock */
	void *before_lock_arg;
} ImportOptions;

typedef struct ImportCounts
{
	int64 bytes;
	int64 documents; /* = imported + extended + unchanged + rejected */
	int64 imported;
	int64 extended;
	int64 unchanged;
	int64 rejected;
	int64 messages; /* stored */
} ImportCounts;

/* What became of one document. */
typedef struct ImportResult
{
	ImportState state;
	pg_uuid_t conversation_id;
	bool has_conversation;
	int64 messages;
	TransferProblem problem; /* of IMPORT_REJECTED, or mended; else TRANSFER_OK */
} ImportResult;

typedef struct Import Import;

/* Defines the room's settings; called once, from _PG_init. */
extern void transfer_init(void);

extern const char *import_conflict_name(ImportConflict on_conflict);

/*
 * What a caller names in the place of the settings memory_ext.import_on_error and
 * memory_ext.import_on_conflict; NULL: these count.  Errors: 22023.
 */
extern void import_arguments(ImportOptions *options, const char *on_error, const char *on_conflict);

/* The settings memory_ext.import_*; job_id and part are 0.  Errors: 22023, 42501. */
extern void import_options(ImportOptions *options);

extern Import *import_begin(const ImportOptions *options);
extern void import_resume(Import *import, const SplitterMark *mark);
extern void import_feed(Import *import, const char *data, Size length);
extern void import_finish(Import *import);

/* True: a batch is full; false: the chunk is used up, and may be freed. */
extern bool import_gather(Import *import);

/* Whether the batch has documents that are one message each: their order matters. */
extern bool import_is_partial(const Import *import);

/* Stores the batch.  Adds to import_counts. */
extern void import_write(Import *import);
extern const ImportCounts *import_counts(const Import *import);
extern void import_note_part(int64 job_id, const ImportCounts *counts);
extern void import_mark(const Import *import, SplitterMark *mark);

/*
 * Instead of import_gather: passes over documents and reads nothing of them,
 * until so many have been passed since import_begin.  False: the chunk is used
 * up first.
 */
extern bool import_pass(Import *import, int32 documents);
extern int32 import_passed(const Import *import);

/*
 * A document that the caller has as a whole, followed by a NUL, instead of a
 * feed; line and offset are what its rejection tells.  source_id: the conversation's id, where the
 * caller knows it and the document does not (data NULL: the document's own).
 * True: the batch is full.
 */
extern bool import_add(Import *import, const char *data, Size length, uint64 line, uint64 offset,
					   TransferText source_id);

/*
 * Rows of CSV, as many records as the bytes have; they stay until import_write.
 * mark: where the bytes begin; documents are the rows before.
 */
extern void import_add_csv(Import *import, const CsvColumns *columns, const char *data, Size length,
						   const SplitterMark *mark);

/*
 * What the metadata of the next conversations hold besides, and what their
 * rejections say of where they come from; NULL: nothing.  The caller keeps both.
 */
extern void import_note(Import *import, Jsonb *metadata, const char *origin);

/* One document by itself, and what became of it. */
extern void
import_one(const ImportOptions *options, const char *data, Size length, ImportResult *result);
extern const char *import_state_name(ImportState state);

/* Defines the settings of imports; called once, from _PG_init. */
extern void transfer_init(void);

#endif /* TRANSFER_IMPORT_H */
