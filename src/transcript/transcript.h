/*
 * transcript.h
 *		The type memory.transcript: a compressed, ordered run of messages.
 *		What other rooms may call.
 */
#ifndef TRANSCRIPT_H
#define TRANSCRIPT_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/jsonb.h"

#include "format.h"

/* How to compress; parsed from 'zstd', 'zstd:19', 'lz4', 'none'. */
typedef struct TranscriptCompression
{
	TranscriptCodec codec;
	int level;            /* zstd only; 0 for the others */
	uint32 dictionary_id; /* 0: no dictionary */
} TranscriptCompression;

/* A transcript opened for reading: everything lives in one memory context. */
typedef struct Transcript
{
	TranscriptHeader header;
	uint32 count;
	TranscriptMessage *messages; /* texts point into raw */
	char *raw;                   /* the uncompressed payload */
} Transcript;

/* What to do about messages that were given, and about bytes that were stored. */
#define TRANSCRIPT_MESSAGE_HINT                                                                    \
	"A message has a role and a content, both strings; the rest may be left out."
#define TRANSCRIPT_CORRUPT_HINT                                                                    \
	"Restore it from a backup; memory.verify() lists the damaged conversations of the store."

/* parent_seq of a message that says nothing about its parent; 0 is a root's. */
#define TRANSCRIPT_PARENT_DEFAULT (-1)

/* Columns of the composite type memory.message, in order. */
typedef enum MessageColumn
{
	MESSAGE_SEQ,
	MESSAGE_PARENT_SEQ,
	MESSAGE_ROLE,
	MESSAGE_CONTENT,
	MESSAGE_MODEL,
	MESSAGE_TOKENS,
	MESSAGE_CREATED_AT,
	MESSAGE_MESSAGE_ID,
	MESSAGE_METADATA,
	MESSAGE_REVISION,
	MESSAGE_NCOLUMNS
} MessageColumn;

/* Defines the room's settings; called once, from _PG_init. */
extern void transcript_init(void);

/* zstd:19, lz4, none: the name that transcript_parse_compression reads; palloc'd */
extern char *transcript_compression_name(const TranscriptCompression *compression);

/* The setting memory_ext.compression. */
extern TranscriptCompression transcript_default_compression(void);

/* Whether a setting may have this value: no dictionary is named. */
extern bool transcript_compression_valid(const char *name);

/*
 * 'zstd[:level]', 'lz4' or 'none'; error 22023 that names the allowed ones.
 */
extern TranscriptCompression transcript_parse_compression(const char *name);

/*
 * Compresses n messages (n may be 0) into a new varlena in the current memory
 * context.  Messages must be in order of seq.  A payload that would grow is
 * stored as 'none'.  Errors: 54000 over a limit, 22023 seq or parent_seq out
 * of order.
 */
extern struct varlena *transcript_build(const TranscriptMessage *messages, uint32 n,
										const TranscriptCompression *compression);

/*
 * Detoasts, decompresses, checks and decodes; the result and all its texts
 * live in the current memory context.  Error: XX001 on anything that is not a
 * transcript, 0A000 on a version or codec that this build does not know.
 */
extern Transcript *transcript_open(Datum value);

/*
 * Gives the default seq and parent_seq to each message whose seq is 0 or whose
 * parent_seq is TRANSCRIPT_PARENT_DEFAULT.  Checks nothing.
 */
extern void transcript_number_messages(TranscriptMessage *messages, uint32 n);

/*
 * Checks one message's texts, tokens and revision (not seq and parent_seq).
 * position counts from 1 and is named in the error.  Errors: 22023, 54000.
 */
extern void transcript_check_message(const TranscriptMessage *message, uint32 position);

/* What is wrong with a number of the message at position, and the number.  Error: 22023. */
extern void transcript_bad_number(uint32 position, const char *what, int64 value);

/* Frees what transcript_open made, for callers without a context to reset. */
extern void transcript_close(Transcript *t);

/*
 * Header and raw payload, its CRC checked but not decoded; palloc'd.  Errors
 * as transcript_open's.
 */
extern char *transcript_unpack_payload(Datum value, TranscriptHeader *header);

/* Checks all that can be checked; errors as transcript_open's. */
extern void transcript_verify(Datum value);

/* Reads the header from a slice; the payload is not fetched. */
extern void transcript_read_header(Datum value, TranscriptHeader *header);

/*
 * A JSON array of messages, as in the text form, to messages in the current
 * memory context.  Where seq is absent it is 0 if number_messages is false
 * (the caller numbers them), else the one before plus 1; likewise parent_seq
 * is -1 where absent if number_messages is false.  Errors: 22P02, 22023,
 * which name the message by position and the key.
 */
extern TranscriptMessage *
transcript_messages_from_jsonb(Jsonb *array, bool number_messages, uint32 *n);

/*
 * One message as the columns of memory.message.  Datums are allocated in the
 * current memory context.  parent_seq is 0 for a root; revision is NULL where
 * it is 0.  Error: XX001 if the metadata is not JSON.
 */
extern void transcript_message_datums(const TranscriptMessage *message, Datum *values, bool *nulls);

/* The metadata of a message that has some, as a jsonb.  Error: XX001 if it is not JSON. */
extern Datum transcript_metadata_datum(const TranscriptMessage *message);

/* A text's bytes where they are or, detoasted, in the current memory context; NULL for NULL. */
extern const char *transcript_text_bytes(Datum value, bool isnull, uint32 *len);

#endif /* TRANSCRIPT_H */
