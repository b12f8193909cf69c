/*
 * json_text.c
 *		JSON as text: strings, numbers, times.
 *
 * PostgreSQL's escape_json looks at one byte after the other and takes strings
 * that a NUL ends; here eight bytes are looked at and copied at a time.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "json_text.h"

#define EACH_BYTE(value) (UINT64CONST(0x0101010101010101) * (value))

/* What one byte becomes at most: \u00xx */
#define ESCAPE_BYTES 6

/*
 * Whether one of eight bytes has to be escaped in a JSON string: a quote, a
 * backslash, a control character.  (Subtracting borrows from the next byte only
 * where one was found already.)
 */
static inline bool
needs_escape(uint64 bytes)
{
	uint64 quotes = bytes ^ EACH_BYTE('"');
	uint64 backslashes = bytes ^ EACH_BYTE('\\');

	return (((quotes - EACH_BYTE(1)) & ~quotes) | ((backslashes - EACH_BYTE(1)) & ~backslashes) |
			((bytes - EACH_BYTE(0x20)) & ~bytes)) &
		   EACH_BYTE(0x80);
}

/* Writes at most ESCAPE_BYTES bytes; returns where they end. */
static char *
put_escape(char *to, char c)
{
	static const char digits[] = "0123456789abcdef";

	*to++ = '\\';
	switch (c)
	{
		case '"':
		case '\\':
			*to++ = c;
			break;
		case '\n':
			*to++ = 'n';
			break;
		case '\t':
			*to++ = 't';
			break;
		case '\r':
			*to++ = 'r';
			break;
		case '\b':
			*to++ = 'b';
			break;
		case '\f':
			*to++ = 'f';
			break;
		default:
			memcpy(to, "u00", 3);
			to[3] = digits[(unsigned char) c >> 4];
			to[4] = digits[c & 0x0f];
			to += 5;
	}
	return to;
}

/*
 * Copies to the first byte that has to be escaped, or to the end; returns where
 * that is.  At to there is space for as many bytes as are left, and eight more.
 */
static inline const char *
copy_plain(const char *data, const char *end, char **to)
{
	char *p = *to;
	uint64 bytes;

	for (; end - data >= (ptrdiff_t) sizeof(bytes); data += sizeof(bytes), p += sizeof(bytes))
	{
		memcpy(&bytes, data, sizeof(bytes));
		if (needs_escape(bytes))
			break;
		memcpy(p, &bytes, sizeof(bytes));
	}
	while (data < end && *data != '"' && *data != '\\' && (unsigned char) *data >= 0x20)
		*p++ = *data++;
	*to = p;
	return data;
}

/* A JSON string, in quotes. */
void
json_put_string(StringInfo out, const char *data, uint32 length)
{
	const char *end = data + length;

	json_put_char(out, '"');
	while (data < end)
	{
		/* the rest as it is, and what is escaped next */
		Size needed = (Size) (end - data) + ESCAPE_BYTES + sizeof(uint64);
		char *to;

		/* a text is at most 128 MiB long */
		if ((Size) (out->maxlen - out->len) <= needed)
			enlargeStringInfo(out, (int) needed);
		to = out->data + out->len;
		data = copy_plain(data, end, &to);
		if (data < end)
			to = put_escape(to, *data++);
		out->len = (int) (to - out->data);
	}
	json_put_char(out, '"');
}

/* Numbers without printf, which takes as long as all the rest. */
void
json_put_integer(StringInfo out, int64 number)
{
	char digits[24];

	json_put_bytes(out, digits, pg_lltoa(number, digits));
}

/* In quotes, as transfer_time_string has it. */
void
json_put_time(StringInfo out, TimestampTz time, JsonTime *last)
{
	if (last->text == NULL || last->time != time)
	{
		if (last->text != NULL)
			pfree(last->text);
		last->time = time;
		last->text = transfer_time_string(time);
		last->length = (int) strlen(last->text);
	}
	json_put_char(out, '"');
	json_put_bytes(out, last->text, last->length);
	json_put_char(out, '"');
}
