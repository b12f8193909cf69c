/*
 * format_private.h
 *		What the encoder and the decoder share: codes, string tables, deltas.
 *		Included by format.c, encode.c and decode.c only; pure C like them.
 */
#ifndef TRANSCRIPT_FORMAT_PRIVATE_H
#define TRANSCRIPT_FORMAT_PRIVATE_H

#include <string.h>

#include "format.h"
#include "memory_limits.h"

/* Roles and models that one transcript can refer to by number. */
#define TABLE_CAPACITY 64

/* Codes of a string column; from CODE_TABLE on, an index into the table. */
#define CODE_NULL 0
#define CODE_LITERAL 1
#define CODE_TABLE 2

/* The 65-bit number 2^64 as a varint: see put_delta. */
#define WIDE_BYTES 10
static const uint8_t wide_varint[WIDE_BYTES] = {0x80, 0x80, 0x80, 0x80, 0x80,
												0x80, 0x80, 0x80, 0x80, 0x02};

/* Strings that a column can refer to by number. */
typedef struct StringTable
{
	uint32_t count;
	const char *text[TABLE_CAPACITY];
	uint32_t len[TABLE_CAPACITY];
} StringTable;

static inline bool
fail(TranscriptProblem *problem, TranscriptStatus status, uint32_t message, const char *what)
{
	problem->status = status;
	problem->message = message;
	problem->what = what;
	problem->value = 0;
	problem->limit = 0;
	return false;
}

static inline bool
fail_value(TranscriptProblem *problem, TranscriptStatus status, uint32_t message, const char *what,
		   int64_t value, int64_t limit)
{
	fail(problem, status, message, what);
	problem->value = value;
	problem->limit = limit;
	return false;
}

static inline bool
corrupt(TranscriptProblem *problem, uint32_t message, const char *what)
{
	return fail(problem, TRANSCRIPT_CORRUPT, message, what);
}

/* What is left to be read. */
typedef struct Reader
{
	const uint8_t *next;
	const uint8_t *end;
} Reader;

/* A varint of at most 64 bits; false at the reader's end or if it is longer. */
static inline bool
get_varint(Reader *reader, uint64_t *value)
{
	uint64_t result = 0;
	int shift;

	for (shift = 0; shift < 64; shift += 7)
	{
		uint8_t byte;

		if (reader->next == reader->end)
			return false;
		byte = *reader->next++;
		if (shift == 63 && byte > 1)
			return false;
		result |= (uint64_t) (byte & 0x7F) << shift;
		if ((byte & 0x80) == 0)
		{
			*value = result;
			return true;
		}
	}
	return false;
}

/* Writes a varint into at most ten bytes; returns how many. */
static inline int
write_varint(uint8_t *out, uint64_t value)
{
	int n = 0;

	while (value >= 0x80)
	{
		out[n++] = (uint8_t) (value | 0x80);
		value >>= 7;
	}
	out[n++] = (uint8_t) value;
	return n;
}

/* Is the column in a payload with these flags? */
static inline bool
column_present(uint32_t flags, int column)
{
	switch (column)
	{
		case TRANSCRIPT_COLUMN_SEQ:
			return (flags & TRANSCRIPT_FLAG_SEQ) != 0;
		case TRANSCRIPT_COLUMN_PARENT:
			return (flags & TRANSCRIPT_FLAG_PARENT) != 0;
		case TRANSCRIPT_COLUMN_TIME:
			return (flags & TRANSCRIPT_FLAG_TIME) != 0;
		case TRANSCRIPT_COLUMN_TOKENS:
			return (flags & TRANSCRIPT_FLAG_TOKENS) != 0;
		case TRANSCRIPT_COLUMN_MODEL:
			return (flags & TRANSCRIPT_FLAG_MODEL) != 0;
		case TRANSCRIPT_COLUMN_MESSAGE_ID:
			return (flags & TRANSCRIPT_FLAG_MESSAGE_ID) != 0;
		case TRANSCRIPT_COLUMN_REVISION:
			return (flags & TRANSCRIPT_FLAG_REVISION) != 0;
		case TRANSCRIPT_COLUMN_METADATA_LENGTH:
		case TRANSCRIPT_COLUMN_METADATA:
			return (flags & TRANSCRIPT_FLAG_METADATA) != 0;
		default:
			return true;
	}
}

/* Both sides enter strings by this one rule, so their numbers agree. */
static inline void
table_enter(StringTable *table, const char *text, uint32_t len)
{
	if (table->count < TABLE_CAPACITY)
	{
		table->text[table->count] = text;
		table->len[table->count] = len;
		table->count++;
	}
}

static inline void
table_init_roles(StringTable *table)
{
	table->count = 0;
	table_enter(table, "user", 4);
	table_enter(table, "assistant", 9);
	table_enter(table, "system", 6);
	table_enter(table, "tool", 4);
}

/* The string's index, or table->count if it is not entered. */
static inline uint32_t
table_find(const StringTable *table, const char *text, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < table->count; i++)
		if (table->len[i] == len && memcmp(table->text[i], text, len) == 0)
			break;
	return i;
}

/* value - before with wrapping arithmetic, small magnitudes to small numbers */
static inline uint64_t
zigzag_delta(int64_t value, int64_t before)
{
	uint64_t delta = (uint64_t) value - (uint64_t) before;

	return (delta << 1) ^ (0 - (delta >> 63));
}

static inline int64_t
zigzag_apply(uint64_t zigzag, int64_t before)
{
	uint64_t delta = (zigzag >> 1) ^ (0 - (zigzag & 1));

	return (int64_t) ((uint64_t) before + delta);
}

#endif /* TRANSCRIPT_FORMAT_PRIVATE_H */
