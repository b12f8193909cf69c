/*
 * highlight.c
 *		memory.highlight: a snippet as HTML, or with any other marks.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* The offsets of an int[].  Errors: 22004, 22023 they do not rise. */
static int32 *
take_offsets(ArrayType *array, int *n)
{
	Datum *values;
	bool *nulls;
	int32 *offsets;

	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT, &values, &nulls, n);
	offsets = palloc(mul_size(Max(*n, 1), sizeof(int32)));
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("highlights must not hold NULL")));
		offsets[i] = DatumGetInt32(values[i]);
		if (*n % 2 != 0 || offsets[i] < 0 || (i > 0 && offsets[i] < offsets[i - 1]))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("highlights must be pairs of offsets that rise"),
							errhint("Give the highlights that came with the snippet.")));
	}
	return offsets;
}

/* Adds a character, as HTML writes it where that is wanted. */
static void
put_character(StringInfo out, const char *character, int length, bool escape)
{
	const char *written = NULL;

	if (escape && length == 1)
		switch (*character)
		{
			case '&':
				written = "&amp;";
				break;
			case '<':
				written = "&lt;";
				break;
			case '>':
				written = "&gt;";
				break;
			case '"':
				written = "&quot;";
				break;
			case '\'':
				written = "&#39;";
				break;
		}
	if (written != NULL)
		appendStringInfoString(out, written);
	else
		appendBinaryStringInfo(out, character, length);
}

PG_FUNCTION_INFO_V1(memory_highlight);

/*
 * memory_highlight(snippet text, highlights integer[], start text, stop text,
 *					escape_html boolean) → text
 *		The snippet with start before and stop behind each highlighted part.
 *		escape_html: what HTML would take for markup is written as text, except
 *		start and stop.  Strict.  Errors: 22004, 22023.
 */
Datum
memory_highlight(PG_FUNCTION_ARGS)
{
	text *snippet = PG_GETARG_TEXT_PP(0);
	text *start = PG_GETARG_TEXT_PP(2);
	text *stop = PG_GETARG_TEXT_PP(3);
	bool escape = PG_GETARG_BOOL(4);
	const char *at = VARDATA_ANY(snippet);
	const char *end = at + VARSIZE_ANY_EXHDR(snippet);
	StringInfoData out;
	int n;
	int32 *offsets = take_offsets(PG_GETARG_ARRAYTYPE_P(1), &n);
	int next = 0;
	int32 character = 0;

	initStringInfo(&out);
	for (;; character++)
	{
		int length;

		/* what is empty is not marked */
		while (next + 1 < n && next % 2 == 0 && offsets[next] == offsets[next + 1])
			next += 2;
		if (next < n && next % 2 == 1 && (offsets[next] <= character || at == end))
		{
			appendBinaryStringInfo(&out, VARDATA_ANY(stop), VARSIZE_ANY_EXHDR(stop));
			next++;
		}
		while (next + 1 < n && next % 2 == 0 && offsets[next] == offsets[next + 1])
			next += 2;
		if (at == end)
			break;
		if (next < n && next % 2 == 0 && offsets[next] <= character)
		{
			appendBinaryStringInfo(&out, VARDATA_ANY(start), VARSIZE_ANY_EXHDR(start));
			next++;
		}
		length = Min(pg_mblen(at), end - at);
		put_character(&out, at, length, escape);
		at += length;
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
