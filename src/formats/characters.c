/*
 * characters.c
 *		Escapes in the text of JSON that stand for no character of PostgreSQL's.
 *
 * An even number of backslashes before a "u" is no escape.  Halves of surrogate
 * pairs also occur as the three bytes that UTF-8 would have for them, which
 * UTF-8 forbids.
 */
#include "postgres.h"

#include "characters.h"

char *
characters_find_nul(char *text)
{
	while ((text = strchr(text, '\\')) != NULL)
	{
		if (strncmp(text, "\\u0000", 6) == 0)
			return text;
		text += text[1] != '\0' ? 2 : 1;
	}
	return NULL;
}

/* The code of an escape \uXXXX; -1: it is none. */
static int
escaped_code(const char *text)
{
	int code = 0;

	if (text[0] != '\\' || text[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++)
	{
		char c = text[i];

		if (c >= '0' && c <= '9')
			code = code * 16 + (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			code = code * 16 + ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return code;
}

static bool
is_surrogate_bytes(const unsigned char *text)
{
	return text[0] == 0xed && text[1] >= 0xa0 && text[1] <= 0xbf && text[2] >= 0x80 &&
		   text[2] <= 0xbf;
}

char *
characters_find_surrogate(char *text)
{
	for (; *text != '\0'; text++)
	{
		int code;

		if (is_surrogate_bytes((const unsigned char *) text))
			return text;
		if (*text != '\\')
			continue;
		code = escaped_code(text);
		if (code >= 0xd800 && code <= 0xdbff)
		{
			int second = escaped_code(text + 6);

			if (second < 0xdc00 || second > 0xdfff)
				return text;
			text += 11;
		}
		else if (code >= 0xdc00 && code <= 0xdfff)
			return text;
		else if (text[1] != '\0')
			text++;
	}
	return NULL;
}

bool
characters_replace(const TransferProblem *problem, char *text, bool *changed, char **at,
				   TransferReason *reason)
{
	*changed = false;
	*reason = TRANSFER_NUL;
	for (*at = text; (*at = characters_find_nul(*at)) != NULL;)
	{
		if (!problem->replace_nul)
			return false;
		memcpy(*at, "\\ufffd", 6);
		*changed = true;
	}
	*reason = TRANSFER_SURROGATE;
	for (*at = text; (*at = characters_find_surrogate(*at)) != NULL;)
	{
		if (!problem->replace_surrogates)
			return false;
		if (**at == '\\')
			memcpy(*at, "\\ufffd", 6);
		else
			memcpy(*at, "\xef\xbf\xbd", 3);
		*changed = true;
	}
	return true;
}
