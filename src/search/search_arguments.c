/*
 * search_arguments.c
 *		What the functions of this room are given, checked; and highlights as an
 *		array.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "arguments.h"
#include "search_private.h"

/*
 * search_query_argument
 *		The query parsed, in the current memory context; NULL for NULL.  Errors:
 *		22023 there is no word in it, or it is too long.
 */
SearchQuery *
search_query_argument(const text *query)
{
	SearchQuery *parsed;

	if (query == NULL)
		return NULL;
	parsed = palloc(sizeof(SearchQuery));
	switch (search_parse(VARDATA_ANY(query), VARSIZE_ANY_EXHDR(query), parsed))
	{
		case SEARCH_PARSED:
			break;
		case SEARCH_EMPTY:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("query has no word to search for"),
							errhint("Give NULL to list messages whatever their words.")));
			break;
		case SEARCH_TOO_LONG:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("query has %zu bytes", (Size) VARSIZE_ANY_EXHDR(query)),
							errhint("A query has at most %d bytes.", SEARCH_MAX_QUERY_BYTES)));
			break;
		case SEARCH_TOO_MANY:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("query has too many words"),
					 errhint("A query has at most %d words and phrases, with %d words in all.",
							 SEARCH_MAX_TERMS, SEARCH_MAX_PIECES)));
			break;
	}
	return parsed;
}

/* The texts of an array of names, which stay in it.  Error: 22004 one is NULL. */
SearchName *
search_names_argument(ArrayType *array, const char *name, int *n)
{
	Datum *values;
	bool *nulls;
	SearchName *names;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, n);
	names = palloc(mul_size(Max(*n, 1), sizeof(SearchName)));
	for (int i = 0; i < *n; i++)
	{
		text *value;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not hold NULL", name),
					 errhint("Leave %s out for messages of all.", name)));
		value = DatumGetTextPP(values[i]);
		names[i].text = VARDATA_ANY(value);
		names[i].length = VARSIZE_ANY_EXHDR(value);
	}
	return names;
}

/*
 * search_account_argument
 *		The account that is searched; NULL: all, which only operators may in
 *		sessions that are not confined.  Errors: account_check's.
 */
text *
search_account_argument(text *account_id)
{
	if (account_id == NULL && account_confined() == NULL && account_is_operator())
		return NULL;
	return account_check(account_id);
}

/* Whether results are ranked.  Error: 22023 it is neither 'newest' nor 'relevance'. */
bool
search_order_argument(const text *order_by)
{
	char *order = text_to_cstring(order_by);

	if (strcmp(order, "relevance") == 0)
		return true;
	if (strcmp(order, "newest") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown order_by \"%s\"", order),
				 errhint("Use \"newest\" or \"relevance\".")));
	return false;
}

/* A snippet's highlights as int[]: where each begins and ends, in turn. */
Datum
search_highlights(const Snippet *snippet)
{
	Datum offsets[2 * SNIPPET_MAX_HIGHLIGHTS];

	for (int i = 0; i < snippet->nhighlights; i++)
	{
		offsets[2 * i] = Int32GetDatum(snippet->highlights[i].begin);
		offsets[2 * i + 1] = Int32GetDatum(snippet->highlights[i].end);
	}
	return array_datum(INT4OID, offsets, NULL, 2 * snippet->nhighlights);
}
