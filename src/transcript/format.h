/*
 * format.h
 *		The bytes of a transcript: header and payload, encoded and decoded.
 *
 * Pure C: no PostgreSQL header, no allocation, no global state, so that a
 * fuzzer can drive it.  README.md in this folder documents the layout.
 */
#ifndef TRANSCRIPT_FORMAT_H
#define TRANSCRIPT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRANSCRIPT_VERSION 1

/* Caps, checked before anything is allocated. */
#define TRANSCRIPT_MAX_RAW (128u * 1024 * 1024)
#define TRANSCRIPT_MAX_MESSAGES (1u << 20)

/* The longest header, after varlena's length word. */
#define TRANSCRIPT_HEADER_MAX 60

/* Each message takes at least a role code and a content length. */
#define TRANSCRIPT_MIN_MESSAGE_BYTES 2

/* Header flags: which optional columns the payload has. */
#define TRANSCRIPT_FLAG_SEQ 0x0001u
#define TRANSCRIPT_FLAG_PARENT 0x0002u
#define TRANSCRIPT_FLAG_TIME 0x0004u
#define TRANSCRIPT_FLAG_TOKENS 0x0008u
#define TRANSCRIPT_FLAG_MODEL 0x0010u
#define TRANSCRIPT_FLAG_MESSAGE_ID 0x0020u
#define TRANSCRIPT_FLAG_REVISION 0x0040u
#define TRANSCRIPT_FLAG_METADATA 0x0080u
/* And what a reader of the header alone may want to know. */
#define TRANSCRIPT_FLAG_INSTRUCTED 0x0100u /* the first message is an instruction */
#define TRANSCRIPT_FLAGS_KNOWN 0x01FFu

typedef enum TranscriptCodec
{
	TRANSCRIPT_NONE = 0,
	TRANSCRIPT_LZ4 = 1,
	TRANSCRIPT_ZSTD = 2
} TranscriptCodec;

/* The payload's columns, in the order in which they are stored. */
typedef enum TranscriptColumn
{
	TRANSCRIPT_COLUMN_ROLE,
	TRANSCRIPT_COLUMN_SEQ,
	TRANSCRIPT_COLUMN_PARENT,
	TRANSCRIPT_COLUMN_TIME,
	TRANSCRIPT_COLUMN_TOKENS,
	TRANSCRIPT_COLUMN_MODEL,
	TRANSCRIPT_COLUMN_MESSAGE_ID,
	TRANSCRIPT_COLUMN_REVISION,
	TRANSCRIPT_COLUMN_CONTENT_LENGTH,
	TRANSCRIPT_COLUMN_CONTENT,
	TRANSCRIPT_COLUMN_METADATA_LENGTH,
	TRANSCRIPT_COLUMN_METADATA,
	TRANSCRIPT_NCOLUMNS
} TranscriptColumn;

/* The header in memory, as read from a slice. */
typedef struct TranscriptHeader
{
	uint8_t version;
	uint8_t codec;
	int8_t level;
	uint32_t flags;
	uint32_t dictionary_id;
	uint32_t message_count;
	uint32_t raw_size;      /* bytes of the payload before compression */
	uint32_t content_bytes; /* bytes of all contents */
	uint32_t crc;           /* CRC-32C of the raw payload */
	int64_t token_total;    /* sum of the known token counts */
	int64_t first_at;       /* smallest created_at; valid if has_times */
	int64_t last_at;        /* largest created_at; valid if has_times */
	bool has_times;
	uint32_t header_bytes; /* where the payload begins; set when it is decoded */
} TranscriptHeader;

/*
 * One message, as the encoder takes it and the decoder gives it.  Texts are
 * not terminated; the decoder's point into the payload buffer.
 */
typedef struct TranscriptMessage
{
	int64_t seq;        /* >= 1, increasing within a transcript */
	int64_t parent_seq; /* 0: a root; else < seq */
	int64_t revision;   /* 0: none */
	int64_t created_at; /* TimestampTz: microseconds since 2000-01-01 UTC */
	int32_t tokens;     /* -1: not known */
	bool has_created_at;
	bool counted; /* for whoever keeps messages: not a part of the format */
	uint32_t role_len;
	uint32_t content_len;
	uint32_t model_len;
	uint32_t message_id_len;
	uint32_t metadata_len;
	const char *role;
	const char *content;
	const char *model;      /* NULL: none */
	const char *message_id; /* NULL: none */
	const char *metadata;   /* JSON text; NULL: none */
} TranscriptMessage;

typedef enum TranscriptStatus
{
	TRANSCRIPT_OK,
	TRANSCRIPT_CORRUPT,         /* bytes that no writer makes */
	TRANSCRIPT_UNKNOWN_VERSION, /* value: the version */
	TRANSCRIPT_UNKNOWN_CODEC,   /* value: the codec */
	TRANSCRIPT_UNKNOWN_FLAGS,   /* value: the flags not known */
	TRANSCRIPT_TOO_LARGE,       /* value over limit, both in what's unit */
	TRANSCRIPT_INVALID          /* a message that cannot be stored */
} TranscriptStatus;

/* What was wrong; `what` is a static string. */
typedef struct TranscriptProblem
{
	TranscriptStatus status;
	uint32_t message; /* position from 1; 0: not about one message */
	const char *what;
	int64_t value;
	int64_t limit;
} TranscriptProblem;

/* What the encoder will write: made by transcript_plan. */
typedef struct TranscriptPlan
{
	TranscriptHeader header; /* flags, count, sizes, totals; the rest is 0 */
	uint64_t column_bytes[TRANSCRIPT_NCOLUMNS];
} TranscriptPlan;

/* The parent that a message has unless it says otherwise. */
static inline int64_t
transcript_default_parent(int64_t seq, const TranscriptMessage *before)
{
	return before != NULL ? before->seq : seq - 1;
}

/*
 * Every function below returns true, or false with *problem filled in.
 */

/* Writes at most TRANSCRIPT_HEADER_MAX bytes; returns how many. */
extern uint32_t transcript_header_encode(const TranscriptHeader *header, uint8_t *out);

/* Reads and checks a header from the first TRANSCRIPT_HEADER_MAX bytes of a transcript, or all. */
extern bool transcript_header_decode(const uint8_t *in, size_t size, TranscriptHeader *header,
									 TranscriptProblem *problem);

/* Whether a role gives the model instructions: system, or developer. */
extern bool transcript_is_instruction(const char *role, size_t len);

/*
 * Checks one message by itself: the lengths of its texts, its tokens and its
 * revision.  Its seq and parent_seq are not looked at.
 */
extern bool transcript_message_check(const TranscriptMessage *message, TranscriptProblem *problem);

/* Checks all messages and computes the exact size of their payload. */
extern bool transcript_plan(const TranscriptMessage *messages, uint32_t n, TranscriptPlan *plan,
							TranscriptProblem *problem);

/* Writes the payload of exactly plan->header.raw_size bytes. */
extern bool transcript_payload_encode(const TranscriptMessage *messages, const TranscriptPlan *plan,
									  uint8_t *out, TranscriptProblem *problem);

/*
 * Reads header->raw_size bytes into header->message_count messages, checks
 * everything except the encoding of texts, and compares with the header's
 * totals.  Texts point into `raw`.
 */
extern bool transcript_payload_decode(const TranscriptHeader *header, const uint8_t *raw,
									  TranscriptMessage *messages, TranscriptProblem *problem);

#endif /* TRANSCRIPT_FORMAT_H */
