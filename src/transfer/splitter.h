/*
 * splitter.h
 *		JSON documents out of a stream of bytes.
 *
 *	splitter_feed(s, chunk, length);
 *	while ((result = splitter_next(s, &document)) != SPLITTER_MORE)
 *		…
 *
 * and at the input's end splitter_finish(s) instead of the feed.
 */
#ifndef TRANSFER_SPLITTER_H
#define TRANSFER_SPLITTER_H

#include "postgres.h"

typedef enum SplitterResult
{
	SPLITTER_MORE,     /* the chunk is used up (after splitter_finish: the input) */
	SPLITTER_DOCUMENT, /* a document, which may still be bad JSON inside */
	SPLITTER_BROKEN,   /* something that is no document; problem says why */
	SPLITTER_TOO_LARGE /* a document over the limit, of which only the beginning is kept */
} SplitterResult;

/* What splitter_next found; the text is gone with the next call. */
typedef struct SplitterDocument
{
	const char *data; /* followed by a NUL */
	Size length;
	uint64 number;       /* its place in the input, from 1 */
	uint64 line;         /* where it began, from 1 */
	uint64 offset;       /* likewise, in bytes */
	uint64 bytes;        /* how many it takes of the input */
	const char *problem; /* of SPLITTER_BROKEN: a static text */
	uint64 problem_line;
	uint64 problem_offset;
} SplitterDocument;

/*
 * Where an input can be taken up again: behind the document that was returned
 * last.  The rest of the input, from this offset on, is fed to a splitter that
 * splitter_resume has set up.
 */
typedef struct SplitterMark
{
	uint64 offset;
	uint64 line;
	uint64 documents;
	bool in_array;   /* in an array whose elements are documents */
	bool value_next; /* there: a value comes, not a comma */
	bool lines;      /* the document before was a line of its own */
	int32 column;    /* of the array's elements, where they begin lines; -1: they do not */
	int32 indent;    /* white space since the line's begin; -1: something else, too */
} SplitterMark;

/*
 * Whether an array, of which this is the first element, is a document itself
 * (a list of messages), not a list of documents.
 */
typedef bool (*SplitterArrayTest)(void *arg, const char *first, Size length);

typedef struct Splitter Splitter;

/* Lives in the current memory context; memory: one document of at most max_document bytes. */
extern Splitter *splitter_create(Size max_document, SplitterArrayTest test, void *arg);
extern void splitter_resume(Splitter *splitter, const SplitterMark *mark);

/* The chunk must stay until splitter_next has returned SPLITTER_MORE. */
extern void splitter_feed(Splitter *splitter, const char *data, Size length);
extern void splitter_finish(Splitter *splitter);
extern SplitterResult splitter_next(Splitter *splitter, SplitterDocument *document);
extern void splitter_mark(const Splitter *splitter, SplitterMark *mark);

#endif /* TRANSFER_SPLITTER_H */
