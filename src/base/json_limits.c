/*
 * json_limits.c
 *		What jsonb that goes in must fulfil to come out again as text.
 *
 * jsonb keeps 1e131000 in a dozen bytes, and its text has 131,001; it can be
 * built deeper by functions than its own parser reads.  Such a value would be
 * stored without complaint, and then no query, and no dump, could read the
 * table that it is in.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "json_limits.h"
#include "memory_limits.h"

/* Characters of a number, which is written out without an exponent. */
static Size
number_length(Numeric number)
{
	char *text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
	Size length = strlen(text);

	pfree(text);
	return length;
}

/* Bytes of a string with quotes, and escaped as jsonb's output does. */
static Size
string_length(const char *text, int length)
{
	Size bytes = 2;

	for (int i = 0; i < length; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (c == '"' || c == '\\' || c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t')
			bytes += 2;
		else
			bytes += c < ' ' ? 6 : 1;
	}
	return bytes;
}

/* Bytes of a key or value with what separates it from the next; -1: its number is too long. */
static int64
item_length(JsonbIteratorToken token, const JsonbValue *item)
{
	Size length;

	if (token != WJB_KEY && token != WJB_VALUE && token != WJB_ELEM)
		return 1; /* a bracket */
	switch (item->type)
	{
		case jbvString:
			return string_length(item->val.string.val, item->val.string.len) + 2;
		case jbvNumeric:
			length = number_length(item->val.numeric);
			return length > MEMORY_MAX_NUMBER_CHARACTERS ? -1 : (int64) length + 2;
		default:
			return 7; /* false and a separator */
	}
}

const char *
json_excess(Jsonb *metadata)
{
	JsonbIterator *iterator = JsonbIteratorInit(&metadata->root);
	JsonbIteratorToken token;
	JsonbValue item;
	int depth = 0;
	int64 bytes = 0;

	while ((token = JsonbIteratorNext(&iterator, &item, false)) != WJB_DONE)
	{
		int64 length = item_length(token, &item);

		CHECK_FOR_INTERRUPTS();
		if (length < 0)
			return psprintf("has a number of more than %d digits", MEMORY_MAX_NUMBER_CHARACTERS);
		bytes += length;
		if (bytes > MEMORY_MAX_METADATA_BYTES)
			return psprintf("has more than %d bytes as text", MEMORY_MAX_METADATA_BYTES);
		if (token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT)
		{
			if (++depth > MEMORY_MAX_METADATA_DEPTH)
				return psprintf("is nested deeper than %d levels", MEMORY_MAX_METADATA_DEPTH);
		}
		else if (token == WJB_END_ARRAY || token == WJB_END_OBJECT)
			depth--;
	}
	return NULL;
}
