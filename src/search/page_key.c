/*
 * page_key.c
 *		Where a page of results ends, as text: the next page is asked for with it.
 *
 * Results are in an order of their own, so the next page is what comes behind
 * the last row, however many messages have come before it meanwhile.  Where
 * they are ranked, the key also has what the first page's scores were made from.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "search_private.h"

#define KEY_NEWEST "n1"
#define KEY_RANKED "r1"

static void
put_double(StringInfo key, double value)
{
	uint64 bits;

	memcpy(&bits, &value, sizeof(bits));
	appendStringInfo(key, ":%llx", (unsigned long long) bits);
}

/* The key as text, in the current memory context. */
text *
search_page_write(const SearchPage *page)
{
	StringInfoData key;

	initStringInfo(&key);
	appendStringInfo(&key, "%s:" INT64_FORMAT ":%s:" INT64_FORMAT,
					 page->ranked ? KEY_RANKED : KEY_NEWEST, page->last.created_at,
					 store_uuid_string(&page->last.id), page->last.seq);
	if (page->ranked)
	{
		put_double(&key, page->last.score);
		appendStringInfo(&key, ":" INT64_FORMAT, page->up_to_revision);
		put_double(&key, page->average_length);
		appendStringInfo(&key, ":%d", page->nterms);
		for (int i = 0; i < page->nterms; i++)
			put_double(&key, page->weights[i]);
	}
	appendStringInfoChar(&key, ':');
	appendBinaryStringInfo(&key, VARDATA_ANY(page->last.account_id),
						   VARSIZE_ANY_EXHDR(page->last.account_id));
	return cstring_to_text_with_len(key.data, key.len);
}

static void
bad_key(void)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("page_key is not valid"),
					errhint("Give the page_key of the last row of the page before, with the same "
							"query and order_by.")));
}

/* The next field of the key, which is cut off. */
static char *
next_field(char **rest)
{
	char *field = *rest;
	char *end = strchr(field, ':');

	if (end == NULL)
		bad_key();
	*end = '\0';
	*rest = end + 1;
	return field;
}

static int64
next_integer(char **rest)
{
	char *field = next_field(rest);
	char *end;
	int64 value;

	errno = 0;
	value = strtoi64(field, &end, 10);
	if (errno != 0 || end == field || *end != '\0')
		bad_key();
	return value;
}

static double
next_double(char **rest)
{
	char *field = next_field(rest);
	double value;
	uint64 bits;
	char *end;

	errno = 0;
	bits = strtou64(field, &end, 16);
	if (errno != 0 || end == field || *end != '\0')
		bad_key();
	memcpy(&value, &bits, sizeof(value));
	if (isnan(value) || isinf(value))
		bad_key();
	return value;
}

static void
next_uuid(char **rest, pg_uuid_t *id)
{
	const char *field = next_field(rest);
	int digits = 0;

	memset(id, 0, sizeof(*id));
	for (; *field != '\0'; field++)
	{
		const char *hex = "0123456789abcdef";
		const char *digit = strchr(hex, *field);

		if (*field == '-')
			continue;
		if (digit == NULL || digits == 2 * UUID_LEN)
			bad_key();
		id->data[digits / 2] |= (digit - hex) << (digits % 2 == 0 ? 4 : 0);
		digits++;
	}
	if (digits != 2 * UUID_LEN)
		bad_key();
}

/* Reads a key that search_page_write has made.  Error: 22023. */
void
search_page_read(const text *key, SearchPage *page)
{
	char *rest = text_to_cstring(key);
	char *kind = next_field(&rest);

	memset(page, 0, sizeof(*page));
	page->ranked = strcmp(kind, KEY_RANKED) == 0;
	if (!page->ranked && strcmp(kind, KEY_NEWEST) != 0)
		bad_key();
	page->last.created_at = next_integer(&rest);
	next_uuid(&rest, &page->last.id);
	page->last.seq = next_integer(&rest);
	if (page->ranked)
	{
		int64 nterms;

		page->last.score = next_double(&rest);
		page->up_to_revision = next_integer(&rest);
		page->average_length = next_double(&rest);
		nterms = next_integer(&rest);
		if (nterms < 0 || nterms > SEARCH_MAX_TERMS || page->up_to_revision < 0 ||
			page->average_length < 1)
			bad_key();
		page->nterms = (int) nterms;
		for (int i = 0; i < page->nterms; i++)
			page->weights[i] = next_double(&rest);
	}
	page->last.account_id = cstring_to_text(rest);
}
