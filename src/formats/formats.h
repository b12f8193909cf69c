/*
 * formats.h
 *		The formats room: documents of every chat format, to and from one form.
 *
 * A document is one JSON value of an import: a conversation, or, in formats
 * that store messages one by one, a message that names its conversation.  A
 * format reads a document into a TransferConversation and writes one back.
 * Formats know jsonb and nothing of the store; imports and exports (the room
 * transfer) know the store and nothing of the formats.
 *
 * Everything that a format returns lives in the memory context that was
 * current when it was called; texts may point into the document, which lives
 * longer.
 */
#ifndef FORMATS_H
#define FORMATS_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* What a message answers, where it is not the index of another message. */
#define TRANSFER_PARENT_BEFORE (-1) /* the message before it in the array */
#define TRANSFER_PARENT_ROOT (-2)   /* nothing */

/* A text of a document: not terminated by NUL; data NULL: there is none. */
typedef struct TransferText
{
	const char *data;
	uint32 length;
} TransferText;

typedef struct TransferMessage
{
	int64 seq;        /* out: its number.  In: 0, or the number that a native document gives */
	int32 parent;     /* index into messages, less than its own; or TRANSFER_PARENT_... */
	int64 parent_seq; /* of a row, instead: a number; 0: it answers nothing; -1: not given */
	int32 tokens;     /* -1: not known */
	TransferText role;
	TransferText content;
	TransferText model;
	TransferText message_id;
	TimestampTz row_time;   /* set by the import: its time, or of a message before it, */
	bool has_row_time;      /* or of the conversation; false: none is known */
	TransferText parent_id; /* of a message that comes by itself: the id of what it answers */
	TimestampTz created_at; /* of use if has_created_at */
	bool has_created_at;
	Jsonb *metadata;            /* an object, or NULL; see "What has no column" */
	TransferText metadata_text; /* out: as the store has it, for formats with metadata_as_text */
} TransferMessage;

/*
 * A document's own id and account.
 *
 * In: source_id is the id that the document has for its conversation.  A uuid
 * becomes the conversation_id; of another one, or of the whole document where
 * there is none, the conversation_id is a hash.  The import keeps both format
 * and source_id (in the conversation's metadata, key "import"), so no format
 * has to.  Out: source_id is what the document of this very format had (data
 * NULL: it had none, and none is to be written); for a conversation that comes
 * from elsewhere it is the conversation_id.
 *
 * account_id is set by native documents only; the import's own setting wins.
 */

/*
 * What has no column.  Under the key of the format's name, metadata keeps what
 * a document had besides, so that writing it in the same format gives an
 * equivalent document back (equal as jsonb): {"openai": {"tool_calls": […]}}.
 * A writer of another format ignores it, except for what README.md says all
 * formats share (tool calls, tool results, names).
 */
typedef struct TransferConversation
{
	TransferText source_id;
	TransferText account_id;
	bool partial; /* the document is one message of a conversation: it is added to it */
	bool row;     /* likewise, and a row of a table: it need not have an id */
	TransferText title;
	Jsonb *metadata; /* likewise */
	bool archived;
	bool has_created_at;
	bool has_updated_at;
	TimestampTz created_at;
	TimestampTz updated_at;
	int32 head;                /* index of the current leaf; -1: the last message */
	TransferMessage *messages; /* parents before their answers */
	int32 count;
} TransferConversation;

/* Why a document was refused.  The names are part of the interface (memory.job_errors). */
typedef enum TransferReason
{
	TRANSFER_OK,
	TRANSFER_BAD_JSON,
	TRANSFER_UNKNOWN_FORMAT,
	TRANSFER_NO_MESSAGES,
	TRANSFER_BAD_ROLE,
	TRANSFER_BAD_PARENT, /* missing, or a cycle */
	TRANSFER_BAD_TIME,
	TRANSFER_BAD_VALUE, /* a field of another type than the format's */
	TRANSFER_NUL,
	TRANSFER_SURROGATE, /* half of a pair that stands alone */
	TRANSFER_TOO_LARGE,
	TRANSFER_CONFLICT, /* differs from what is stored under its id */
	TRANSFER_DELETED   /* its conversation has been deleted here */
} TransferReason;

/*
 * Filled in by whoever refuses, or reads the document although it has defects;
 * path is where in the document: $.messages[3].role
 */
typedef struct TransferProblem
{
	TransferReason reason;
	const char *path;
	const char *message; /* primary message style: lower case, no full stop */
	int32 mended;        /* so many defects were mended, and this is the first; 0: refused */

	/* set by the caller: what PostgreSQL's text cannot hold becomes U+FFFD, also in text of JSON */
	bool replace_nul;
	bool replace_surrogates;
} TransferProblem;

typedef struct TransferFormat
{
	const char *name; /* what users call it, and the key in metadata */
	const char *label;

	/* Whether a document looks like this format; cheap; the first that says yes reads it. */
	bool (*detect)(Jsonb *document);

	/* False: refused, and problem says why. */
	bool (*read)(Jsonb *document, TransferConversation *conversation, TransferProblem *problem);

	/*
	 * The conversation in this format: one document, or, for formats that
	 * store messages one by one, an array of them with *many set.  NULL: the
	 * format is only read.
	 */
	Jsonb *(*write)(const TransferConversation *conversation, bool *many);

	/* The same as text, where that is worth a function of its own; may be NULL. */
	void (*write_text)(const TransferConversation *conversation, StringInfo out);

	/* write_text takes the messages' metadata as text; they have none as jsonb. */
	bool metadata_as_text;

	/* Several messages may answer one; else only the current branch is written. */
	bool branches;
} TransferFormat;

/* formats.c: all formats, in the order in which they are asked. */
extern const TransferFormat *const transfer_formats[];
extern const int transfer_nformats;
extern const TransferFormat *transfer_format_named(const char *name);
extern const TransferFormat *transfer_format_of(Jsonb *document);
extern const char *transfer_foreign_name(Jsonb *document);

/* problem.c */
extern const char *transfer_reason_name(TransferReason reason);
extern bool transfer_refuse(TransferProblem *problem, TransferReason reason, const char *path,
							const char *format, ...) pg_attribute_printf(4, 5);
extern void transfer_mend(TransferProblem *problem, TransferReason reason, const char *path,
						  const char *format, ...) pg_attribute_printf(4, 5);

/* convert.c: the format that a caller names; NULL for 'auto'.  Error: 22023. */
extern const TransferFormat *transfer_format_argument(const char *name, bool to_write);

/*
 * time.c: times as documents write them, whatever the session's DateStyle and
 * TimeZone are, so that reading and writing a document is immutable.
 */
extern bool transfer_parse_time(const char *data, uint32 length, TimestampTz *time);
extern bool transfer_epoch_time(double seconds, TimestampTz *time);
extern char *transfer_time_string(TimestampTz time);

#endif /* FORMATS_H */
