/*
 * document.h
 *		What the formats share, and only they need: reading jsonb that may hold
 *		anything, writing it, and the parts that chat formats have in common.  The
 *		room's public header is formats.h.
 *
 * Nothing here throws because of what a document holds: whatever is wrong is
 * refused, with its place.  What a format reads goes to the columns; the rest
 * of the object goes to metadata under the format's name.  README.md has the
 * rules.
 *
 *	document_read.c		values, places, walking, text that holds JSON
 *	document_write.c	building jsonb
 *	document_fields.c	keys that are columns: titles, ids, models, times, tokens, roles
 *	document_extras.c	metadata: what has no column
 *	document_content.c	content that is a string or an array of parts
 *	document_tools.c	tool calls and results, in the shape that all formats share
 *	document_tree.c		ids, parents, order, branches
 *	document_steps.c	what a message of another format says, in order
 *	document_turns.c	a conversation as a list
 *
 * Memory: the current context, as formats.h says.
 */
#ifndef DOCUMENT_H
#define DOCUMENT_H

#include "formats.h"

/* How deep metadata may be nested; the document may be deeper elsewhere. */
#define DOCUMENT_MAX_DEPTH 512

/* What one document may hold. */
#define DOCUMENT_MAX_MESSAGES 1000000

/* ---- places (document_read.c) ---- */

/* A step of a path; lives on the reader's stack. */
typedef struct DocumentPlace
{
	const struct DocumentPlace *up; /* NULL: the document itself */
	TransferProblem *problem;
	TransferText key; /* or, without data, index */
	int32 index;
} DocumentPlace;

extern DocumentPlace document_place(TransferProblem *problem);
extern DocumentPlace document_at_key(const DocumentPlace *up, const char *key);
extern DocumentPlace document_at_text(const DocumentPlace *up, TransferText key);
extern DocumentPlace document_at_index(const DocumentPlace *up, int32 index);

/* Refuses the document at a place, or at a key of it; false, for the caller to return. */
extern bool document_refuse(const DocumentPlace *place, TransferReason reason, const char *format,
							...) pg_attribute_printf(3, 4);
extern bool document_refuse_key(const DocumentPlace *place, const char *key, TransferReason reason,
								const char *format, ...) pg_attribute_printf(4, 5);

extern void document_mend_key(const DocumentPlace *place, const char *key, TransferReason reason,
							  const char *message);

/* ---- document_read.c ---- */

extern JsonbValue document_root(Jsonb *document);
extern bool document_get(const JsonbValue *object, const char *key, JsonbValue *value);
extern bool document_is_object(const JsonbValue *value);
extern bool document_is_array(const JsonbValue *value);
extern int32 document_count(const JsonbValue *container);
extern bool document_first(const JsonbValue *array, JsonbValue *value);
extern bool document_has_string(const JsonbValue *object, const char *key);
extern bool document_has_object(const JsonbValue *object, const char *key);
extern bool document_has_array(const JsonbValue *object, const char *key);
extern bool document_is_word(const JsonbValue *value, const char *word);
extern TransferText document_text(const JsonbValue *value);
extern TransferText document_get_text(const JsonbValue *object, const char *key);
extern JsonbValue document_string(TransferText text);
extern bool document_equal(const JsonbValue *a, const JsonbValue *b);
extern bool document_shallow(const JsonbValue *value);
extern bool document_number(const JsonbValue *value, int32 *number);

/* The elements of an array or the pairs of an object, one after the other. */
typedef struct DocumentWalk
{
	JsonbIterator *iterator;
	bool object;
	int32 index;
	TransferText key;
	JsonbValue value;
} DocumentWalk;

extern void document_walk(DocumentWalk *walk, const JsonbValue *container);
extern bool document_next(DocumentWalk *walk);

extern JsonbValue *document_elements(const JsonbValue *array);
extern bool document_parse(TransferText text, JsonbValue *value, TransferReason *reason);
extern bool document_parse_mended(TransferText text, JsonbValue *value,
								  const TransferProblem *problem, TransferReason *reason);
extern TransferText document_print(const JsonbValue *value);

extern bool document_text_is(TransferText text, const char *word);
extern bool document_same_text(TransferText a, TransferText b);
extern TransferText document_literal(const char *string);
extern bool
document_messages(TransferConversation *conversation, int32 count, const DocumentPlace *place);

/* Reads one message, which is not filled in yet; false: refused. */
typedef bool (*DocumentReadMessage)(const JsonbValue *value, TransferMessage *message,
									const DocumentPlace *place);

extern bool document_read_messages(const JsonbValue *array, DocumentReadMessage read,
								   TransferConversation *conversation, const DocumentPlace *place);

/* ---- document_write.c ---- */

typedef struct DocumentOut
{
	JsonbParseState *state;
	JsonbValue *result; /* once the outermost container has ended */
} DocumentOut;

extern void document_begin_object(DocumentOut *out);
extern void document_begin_array(DocumentOut *out);
extern void document_end(DocumentOut *out);
extern void document_key(DocumentOut *out, const char *key);
extern void document_key_text(DocumentOut *out, TransferText key);
extern void document_put(DocumentOut *out, const JsonbValue *value);
extern void document_put_text(DocumentOut *out, TransferText text);
extern void document_put_string(DocumentOut *out, const char *string);
extern void document_put_integer(DocumentOut *out, int64 number);
extern void document_put_bool(DocumentOut *out, bool value);
extern void document_put_null(DocumentOut *out);
extern void document_put_pairs(DocumentOut *out, const JsonbValue *object);
extern Jsonb *document_done(DocumentOut *out);
extern JsonbValue document_integer(int64 number);
extern JsonbValue document_null(void);

/* ---- document_extras.c: what has no column ---- */

#define DOCUMENT_MAX_EXTRAS 24

/* What happens to the keys of an object that is put away. */
typedef struct DocumentExtras
{
	int32 nskipped;
	const char *skipped[DOCUMENT_MAX_EXTRAS]; /* the columns say it */
	int32 nabsent;
	const char *absent[DOCUMENT_MAX_EXTRAS]; /* not there, though a column may say something */
	int32 nput;
	struct
	{
		const char *key;
		JsonbValue value;
	} put[DOCUMENT_MAX_EXTRAS]; /* in the place of what was there; "~key": a note of ours */
} DocumentExtras;

extern void document_skip(DocumentExtras *extras, const char *key);
extern void document_absent(DocumentExtras *extras, const char *key);
extern void document_replace(DocumentExtras *extras, const char *key, const JsonbValue *value);
extern bool document_extras(const JsonbValue *object, const DocumentExtras *extras, bool always,
							const DocumentPlace *place, JsonbValue *result, bool *any);

extern void document_put_object_extras(DocumentOut *out, const JsonbValue *object,
									   const DocumentExtras *extras);

/* Notes that are true. */
extern bool document_note_metadata(const char *format, const char *note, Jsonb **metadata);
extern bool document_noted(const JsonbValue *own, const char *note);
extern void document_note(DocumentExtras *extras, const char *note);

/* A value that a document may hold as text of JSON. */
extern bool
document_read_wrapped(const JsonbValue *object, const char *key, const char *note,
					  JsonbValue *value, DocumentExtras *extras, const DocumentPlace *place);
extern void document_write_wrapped(DocumentOut *out, const char *key, const char *note,
								   const JsonbValue *value, const JsonbValue *own);

extern void
document_read_row_id(const JsonbValue *row, TransferMessage *message, DocumentExtras *extras);

/* The object under the format's name, or nothing; and how to write it back. */
extern bool document_own(const Jsonb *metadata, const char *format, JsonbValue *own);
extern void document_put_extras(DocumentOut *out, const JsonbValue *own);
extern void document_put_extras_text(StringInfo out, const JsonbValue *own, const char *but);
extern bool document_foreign_own(const TransferMessage *message, const char *format,
								 JsonbValue *own, const char **name);
extern bool document_was_absent(const JsonbValue *own, const char *key);
extern bool document_kept(const JsonbValue *own, const char *key, JsonbValue *value);

/* ---- document_tools.c: what all formats share ---- */

typedef struct DocumentCall
{
	TransferText id;
	TransferText name;
	JsonbValue arguments; /* a string of JSON, or JSON */
} DocumentCall;

typedef struct DocumentResult
{
	TransferText id;
	TransferText name;
	JsonbValue content; /* text, or JSON */
	bool error;
} DocumentResult;

typedef struct DocumentTools
{
	int32 ncalls;
	int32 nresults;
	DocumentCall *calls;
	DocumentResult *results;
	TransferText call_id; /* what this message is the result of */
	TransferText name;    /* who speaks: a person, a tool */
	bool reasoning;       /* the content is what the model thought, not what it said */
	bool content_is_call; /* the content is the arguments of a call (document_link) */
	bool has_verbatim;
	JsonbValue verbatim; /* in: tool_calls as they are to be stored, in place of calls */
} DocumentTools;

/* How many calls and results of a message have been written. */
typedef struct DocumentWritten
{
	int32 calls;
	int32 results;
} DocumentWritten;

extern void document_add_call(DocumentTools *tools, TransferText id, TransferText name,
							  const JsonbValue *arguments);
extern void document_add_result(DocumentTools *tools, TransferText id, TransferText name,
								const JsonbValue *content, bool error);
extern DocumentTools document_tools(const Jsonb *metadata);
extern void document_take_tools(const JsonbValue *object, DocumentTools *tools);
extern bool document_is_thought(const TransferMessage *message, const DocumentTools *tools);
extern TransferText document_arguments_text(const JsonbValue *arguments);
extern JsonbValue document_arguments_object(const JsonbValue *arguments);
extern void document_add_paragraph(StringInfo joined, TransferText text);
extern TransferText document_buffer(const StringInfoData *text);
extern TransferText document_result_text(const JsonbValue *content);
extern void document_as_result(TransferMessage *message, DocumentTools *tools);
extern int32 *
document_pairs(const DocumentTools *tools, const DocumentWritten *written, bool **paired);
extern void document_put_tools(DocumentOut *out, const DocumentTools *tools);
extern void document_put_calls(DocumentOut *out, const DocumentTools *tools);

/* metadata of a message: the tools, and the rest under the format's name; NULL: nothing. */
extern bool document_metadata(const char *format, const JsonbValue *object,
							  const DocumentExtras *extras, const DocumentTools *tools, bool always,
							  const DocumentPlace *place, Jsonb **metadata);

/* ---- document_fields.c ---- */

typedef enum DocumentFieldKind
{
	FIELD_TEXT,         /* TransferText */
	FIELD_FLAG,         /* bool */
	FIELD_TOKENS,       /* int32, -1: not known */
	FIELD_EPOCH,        /* TimestampTz; seconds with a fraction */
	FIELD_EPOCH_WHOLE,  /* seconds */
	FIELD_EPOCH_MILLIS, /* milliseconds */
	FIELD_ISO,          /* as PostgreSQL writes it into JSON, 2025-01-31T10:00:00.5+00:00 */
	FIELD_ISO_MICROS,   /* 2025-01-31T10:00:00.500000Z */
	FIELD_ISO_MILLIS    /* 2025-01-31T10:00:00.500Z */
} DocumentFieldKind;

/* A key that is a column of a TransferMessage or TransferConversation. */
typedef struct DocumentField
{
	const char *key;
	DocumentFieldKind kind;
	Size offset;
	Size has;     /* of the flag that says a time is there */
	uint32 limit; /* FIELD_TEXT: a longer one stays in metadata */
	bool always;  /* written as null when there is nothing */
	bool latest;  /* kept in any case, for document_restore_updated_at */
} DocumentField;

extern bool document_read_fields(const JsonbValue *object, const DocumentField *fields, int nfields,
								 void *target, DocumentExtras *extras, const DocumentPlace *place);
extern void document_write_fields(DocumentOut *out, const DocumentField *fields, int nfields,
								  const void *source, const JsonbValue *own);

#define MESSAGE_TEXT(key, column, limit)                                                           \
	{                                                                                              \
		key, FIELD_TEXT, offsetof(TransferMessage, column), 0, limit, false, false                 \
	}
#define MESSAGE_TOKENS(key)                                                                        \
	{                                                                                              \
		key, FIELD_TOKENS, offsetof(TransferMessage, tokens), 0, 0, false                          \
	}
#define MESSAGE_TIME(key, kind, always)                                                            \
	{                                                                                              \
		key, kind, offsetof(TransferMessage, created_at),                                          \
			offsetof(TransferMessage, has_created_at), 0, always                                   \
	}
#define CONVERSATION_TEXT(key, column, limit)                                                      \
	{                                                                                              \
		key, FIELD_TEXT, offsetof(TransferConversation, column), 0, limit, false                   \
	}
#define CONVERSATION_FLAG(key, column)                                                             \
	{                                                                                              \
		key, FIELD_FLAG, offsetof(TransferConversation, column), 0, 0, false                       \
	}
#define CONVERSATION_UPDATED(key, kind)                                                            \
	{                                                                                              \
		key, kind, offsetof(TransferConversation, updated_at),                                     \
			offsetof(TransferConversation, has_updated_at), 0, false, true                         \
	}
#define CONVERSATION_TIME(key, kind, column)                                                       \
	{                                                                                              \
		key, kind, offsetof(TransferConversation, column),                                         \
			offsetof(TransferConversation, has_##column), 0, false                                 \
	}

extern void
document_restore_updated_at(TransferConversation *conversation, const char *format,
							const DocumentField *fields, int nfields, const JsonbValue *own);

/* A format's own word for a role; the first entry of a role is the word that is written. */
typedef struct DocumentRole
{
	const char *word;
	const char *role;
} DocumentRole;

extern bool
document_read_role(const JsonbValue *object, const char *key, const DocumentRole *roles, int nroles,
				   TransferText *role, DocumentExtras *extras, const DocumentPlace *place);
extern TransferText document_role_word(const DocumentRole *roles, int nroles, TransferText role,
									   const JsonbValue *own, const char *key);

/* ---- document_content.c ---- */

/* Parts of a content that have text: {type_key: type, text_key: "text"}. */
typedef struct DocumentPartKind
{
	const char *type;
	const char *text_key;
} DocumentPartKind;

/*
 * Takes a part that no kind names into tools, and puts what is left of it with
 * the note ~call; false: it is kept whole.
 */
typedef bool (*DocumentPartRead)(const JsonbValue *part, DocumentOut *kept, DocumentTools *tools);

/* Puts such a part together again, or nothing, if its call is no longer there. */
typedef void (*DocumentPartWrite)(const JsonbValue *kept, DocumentOut *out,
								  const DocumentTools *tools, DocumentWritten *written);

/* Puts parts for the calls and results that are not yet written. */
typedef void (*DocumentPartAppend)(DocumentOut *out, const DocumentTools *tools,
								   const DocumentWritten *written);

typedef struct DocumentPartRules
{
	const char *type_key;
	const DocumentPartKind *kinds; /* the first one is written */
	int nkinds;
	bool strings;          /* a part may be a string, and is written as one */
	DocumentPartRead read; /* these may be NULL */
	DocumentPartWrite write;
	DocumentPartAppend append;
} DocumentPartRules;

/* What was read from parts. */
typedef struct DocumentContent
{
	TransferText text; /* the texts, joined by an empty line */
	bool plain;        /* the parts are what is written for the text */
	JsonbValue kept;   /* the parts, with lengths in the place of texts */
} DocumentContent;

extern bool
document_read_parts(const JsonbValue *parts, const DocumentPartRules *rules,
					DocumentContent *content, DocumentTools *tools, const DocumentPlace *place);
extern void
document_write_parts(DocumentOut *out, const JsonbValue *kept, const DocumentPartRules *rules,
					 TransferText text, const DocumentTools *tools);

/* A key that holds a string, or parts, or null. */
extern bool
document_read_content(const JsonbValue *object, const char *key, const DocumentPartRules *rules,
					  bool null_if_empty, TransferText *text, DocumentTools *tools,
					  DocumentExtras *extras, const DocumentPlace *place);
extern void
document_write_content(DocumentOut *out, const char *key, const DocumentPartRules *rules,
					   bool null_if_empty, TransferText text, const DocumentTools *tools,
					   const JsonbValue *own);

/* Two keys: one with the text, one with parts that say it in detail. */
typedef struct DocumentBoth
{
	const char *text_key;
	const char *parts_key;
	bool has_text; /* both, or one, are written for a message that comes from elsewhere */
	bool has_parts;
	const DocumentPartRules *rules;
} DocumentBoth;

extern bool
document_read_both(const JsonbValue *object, const DocumentBoth *both, TransferText *text,
				   DocumentTools *tools, DocumentExtras *extras, const DocumentPlace *place);
extern void document_write_both(DocumentOut *out, const DocumentBoth *both, TransferText text,
								const DocumentTools *tools, const JsonbValue *own);

/* Whether a text is the one that a note was made of. */
extern JsonbValue document_text_note(TransferText text);
extern bool document_text_noted(const JsonbValue *own, const char *note, TransferText text);

/* ---- document_tree.c ---- */

/* Ids of a document's nodes, sorted. */
typedef struct DocumentIds
{
	int32 count;
	struct DocumentId
	{
		TransferText id;
		int32 index;
	} * ids;
} DocumentIds;

extern bool
document_ids(DocumentIds *ids, const TransferText *texts, int32 count, int32 *duplicate);
extern int32 document_find(const DocumentIds *ids, TransferText id);

/* A tree whose parents have been looked up. */
extern bool document_arrange(TransferConversation *conversation, const int32 *parents, bool by_time,
							 int32 **order, const DocumentPlace *place);
/* How messages name what they answer. */
typedef struct DocumentTree
{
	const char *id_key;
	const char *parent_key;
	const char *root; /* what names no parent, besides null; NULL: nothing else */
} DocumentTree;

extern bool document_is_root(const DocumentTree *tree, TransferText parent);
extern bool
document_read_parents(const DocumentTree *tree, const JsonbValue *objects, const int32 *above,
					  int32 count, int32 *parents, const DocumentPlace *place);
extern void
document_keep_parent(const DocumentTree *tree, const JsonbValue *object,
					 const TransferConversation *conversation, int32 index, DocumentExtras *extras);
extern void document_write_parent(DocumentOut *out, const DocumentTree *tree,
								  const TransferText *ids, int32 parent, const JsonbValue *own);
extern void document_keep_position(DocumentExtras *extras, int32 at, int32 index);
extern bool
document_read_head(const JsonbValue *object, const char *key, TransferConversation *conversation,
				   DocumentExtras *extras, const DocumentPlace *place);
extern void
document_write_head(DocumentOut *out, const char *key, const TransferConversation *conversation,
					const TransferText *ids, const JsonbValue *own);
/* Lists of children: by message, -1: none. */
typedef struct DocumentChildren
{
	int32 *first;
	int32 *next;
} DocumentChildren;

extern DocumentChildren document_children(int32 count, const int32 *named);
extern bool document_same_children(const JsonbValue *array, const DocumentChildren *children,
								   int32 index, const TransferText *ids);
extern void
document_write_children(DocumentOut *out, const char *key, const DocumentChildren *children,
						int32 index, const TransferText *ids, const bool *is_own,
						const JsonbValue *own);
extern int32 document_parent(const TransferConversation *conversation, int32 index);
extern int32 document_head(const TransferConversation *conversation);
extern int32 *document_branch(const TransferConversation *conversation, int32 *count);
extern int32 *document_positions(const TransferConversation *conversation, const char *format);
extern TransferText *document_message_ids(const TransferConversation *conversation,
										  const char *format, const char *note);

/* ---- document_steps.c ---- */

typedef enum DocumentMediaKind
{
	DOCUMENT_IMAGE,
	DOCUMENT_FILE /* audio and others, too */
} DocumentMediaKind;

typedef struct DocumentMedia
{
	DocumentMediaKind kind;
	TransferText url;        /* also a data URL; none: the document does not have it */
	TransferText media_type; /* these two may be missing */
	TransferText name;
} DocumentMedia;

extern TransferText document_url_data(TransferText url);

typedef enum DocumentStepKind
{
	DOCUMENT_STEP_TEXT,
	DOCUMENT_STEP_THOUGHT,
	DOCUMENT_STEP_CALL,
	DOCUMENT_STEP_RESULT,
	DOCUMENT_STEP_MEDIA,
	DOCUMENT_STEP_OTHER /* a part that no other format has; text: its type */
} DocumentStepKind;

typedef struct DocumentStep
{
	DocumentStepKind kind;
	TransferText text;
	int32 index; /* of the call or result */
	DocumentMedia media;
} DocumentStep;

typedef struct DocumentSteps
{
	int32 count;
	int32 capacity;
	DocumentStep *steps;
} DocumentSteps;

/* The tools of all messages, and by message the one with the call that it answers, -1: none. */
typedef struct DocumentLinks
{
	DocumentTools *tools;
	int32 *caller;
} DocumentLinks;

extern DocumentSteps
document_steps(const TransferMessage *message, const DocumentTools *tools, const char *format);
extern DocumentLinks document_link(const TransferConversation *conversation, const char *format);
extern TransferText document_steps_text(const DocumentSteps *steps);

/* How a format writes the steps of messages from elsewhere as parts; NULL: it has no such part. */
typedef struct DocumentStepWrite
{
	void (*text)(DocumentOut *out, TransferText text);
	void (*thought)(DocumentOut *out, TransferText text);
	/* with its result, if it has one and the format has both in one */
	void (*call)(DocumentOut *out, const DocumentCall *call, const DocumentResult *result);
	void (*result)(DocumentOut *out, const DocumentResult *result);
	void (*media)(DocumentOut *out, const DocumentMedia *media);
	bool together; /* calls and results in one part */
} DocumentStepWrite;

extern void document_put_steps(DocumentOut *out, const DocumentSteps *steps,
							   const DocumentTools *tools, const DocumentStepWrite *write);
extern bool document_only_text(const DocumentSteps *steps);
extern void document_put_pair(DocumentOut *out, const char *key, TransferText text);
extern void document_take_results(const TransferConversation *conversation,
								  const DocumentLinks *links, const char *format, bool *taken);

/* ---- document_turns.c ---- */

/* What a format without branches writes as one message. */
typedef struct DocumentTurn
{
	const TransferMessage *message;
	int32 index;
	TransferText role;
	TransferText content;
	TransferText thought; /* what the model thought before; none: nothing */
	DocumentTools tools;
	int32 nmedia;
	DocumentMedia *media;
	bool is_own; /* own is what the format kept */
	JsonbValue own;
} DocumentTurn;

typedef struct DocumentTurns
{
	int32 count;
	int32 capacity;
	DocumentTurn *turns;
} DocumentTurns;

extern DocumentTurns
document_turns(const TransferConversation *conversation, const char *format, bool thoughts);
extern int32 document_last_row(const DocumentTurns *turns, const char *under);
extern bool
document_is_silent(const TransferMessage *message, const DocumentTools *tools, const char *format);

#endif /* DOCUMENT_H */
