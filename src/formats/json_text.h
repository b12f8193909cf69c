/*
 * json_text.h
 *		JSON as text, for formats that write it without jsonb in between.
 *
 * Everything is appended to a StringInfo; no NUL ends it.
 */
#ifndef JSON_TEXT_H
#define JSON_TEXT_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "formats.h"

static inline void
json_put_bytes(StringInfo out, const char *data, int length)
{
	if (unlikely(out->maxlen - out->len <= length))
		enlargeStringInfo(out, length);
	memcpy(out->data + out->len, data, length);
	out->len += length;
}

static inline void
json_put_char(StringInfo out, char c)
{
	json_put_bytes(out, &c, 1);
}

/* A literal, whose length is known. */
#define JSON_PUT(out, literal) json_put_bytes(out, "" literal, sizeof(literal) - 1)

/* The last time that was written: messages often have the one of those before. */
typedef struct JsonTime
{
	TimestampTz time;
	char *text; /* NULL: none yet */
	int length;
} JsonTime;

extern void json_put_string(StringInfo out, const char *data, uint32 length);
extern void json_put_integer(StringInfo out, int64 number);
extern void json_put_time(StringInfo out, TimestampTz time, JsonTime *last);

#endif /* JSON_TEXT_H */
