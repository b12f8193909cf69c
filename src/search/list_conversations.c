/*
 * list_conversations.c
 *		memory.list_conversations: an account's conversations by what is known of
 *		them: words of the title, who spoke, how large they are, when.
 *
 * Their rows are gone through once; messages are read only where roles or models
 * are asked for, in the order of the list until the page is full.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "audit.h"
#include "memory_limits.h"
#include "search_private.h"

#define MAX_CONVERSATIONS 1000

enum
{
	ARGUMENT_ACCOUNT_ID,
	ARGUMENT_TITLE,
	ARGUMENT_ROLES,
	ARGUMENT_MODELS,
	ARGUMENT_MIN_TOKENS,
	ARGUMENT_MAX_TOKENS,
	ARGUMENT_UPDATED_FROM,
	ARGUMENT_UPDATED_TO,
	ARGUMENT_ARCHIVED,
	ARGUMENT_METADATA,
	ARGUMENT_ORDER_BY,
	ARGUMENT_MAX_CONVERSATIONS,
	ARGUMENT_PAGE_KEY
};

enum
{
	RESULT_CONVERSATION_ID,
	RESULT_TITLE,
	RESULT_METADATA,
	RESULT_ARCHIVED,
	RESULT_HEAD_SEQ,
	RESULT_MESSAGE_COUNT,
	RESULT_TOKEN_COUNT,
	RESULT_CONTENT_BYTES,
	RESULT_CREATED_AT,
	RESULT_UPDATED_AT,
	RESULT_REVISION,
	RESULT_PAGE_KEY,
	RESULT_NCOLUMNS
};

/* By what the list is sorted; the largest first, but titles from a to z. */
typedef enum ListOrder
{
	ORDER_CHANGED,
	ORDER_CREATED,
	ORDER_TITLE,
	ORDER_SIZE
} ListOrder;

static const char *const order_names[] = {"changed", "created", "title", "size"};

/* A row of the list: what it is sorted by. */
typedef struct ListRow
{
	pg_uuid_t id;
	int64 number;
	const char *title; /* folded; NULL: it is sorted by the number */
	uint32 length;
} ListRow;

typedef struct ConversationList
{
	text *account_id;
	SearchQuery *title;
	SearchFilter filter; /* of messages */
	int64 min_tokens;
	int64 max_tokens;
	TimestampTz from;
	TimestampTz to;
	bool by_archived;
	bool archived;
	Jsonb *metadata;
	ListOrder order;
	int limit;
	bool paged;
	ListRow last;
	StoreScan *scan;
	ListRow *rows;
	int64 count;
	int64 space;
} ConversationList;

/* ---- order ---- */

static int
compare_rows(const void *a, const void *b)
{
	const ListRow *left = a;
	const ListRow *right = b;
	int order;

	if (left->number != right->number)
		return left->number > right->number ? -1 : 1;
	if (left->title != NULL && right->title != NULL)
	{
		order = memcmp(left->title, right->title, Min(left->length, right->length));
		if (order != 0)
			return order;
		if (left->length != right->length)
			return left->length < right->length ? -1 : 1;
	}
	return memcmp(&right->id, &left->id, UUID_LEN);
}

/* What a conversation is sorted by, in the current memory context; one without a title is last. */
static void
sort_key(const ConversationList *list, const StoreListed *listed, ListRow *row)
{
	memset(row, 0, sizeof(*row));
	row->id = listed->id;
	switch (list->order)
	{
		case ORDER_CHANGED:
			row->number = listed->updated_at;
			break;
		case ORDER_CREATED:
			row->number = listed->created_at;
			break;
		case ORDER_SIZE:
			row->number = listed->content_bytes;
			break;
		case ORDER_TITLE:
			row->number = listed->has_title ? 1 : 0;
			row->title = "";
			if (listed->has_title)
			{
				text *title = DatumGetTextPP(listed->title);
				char *folded = palloc(SEARCH_FOLD_SPACE(VARSIZE_ANY_EXHDR(title)));

				row->length = search_fold(VARDATA_ANY(title), VARSIZE_ANY_EXHDR(title), folded);
				row->title = folded;
			}
			break;
	}
}

/* ---- page keys: the order's name, the number, the id, and the folded title ---- */

static text *
write_key(const ConversationList *list, const ListRow *row)
{
	StringInfoData key;

	initStringInfo(&key);
	appendStringInfo(&key, "%s:" INT64_FORMAT ":%s:", order_names[list->order], row->number,
					 store_uuid_string(&row->id));
	if (row->length > 0)
		appendBinaryStringInfo(&key, row->title, row->length);
	return cstring_to_text_with_len(key.data, key.len);
}

static void
read_key(ConversationList *list, const text *key)
{
	char *rest = text_to_cstring(key);
	char *name = strsep(&rest, ":");
	char *number = rest != NULL ? strsep(&rest, ":") : NULL;
	char *id = rest != NULL ? strsep(&rest, ":") : NULL;
	char *end = NULL;

	errno = 0;
	if (number != NULL)
		list->last.number = strtoi64(number, &end, 10);
	if (rest == NULL || strcmp(name, order_names[list->order]) != 0 || errno != 0 ||
		end == number || *end != '\0' || strlen(id) != 36 || strspn(id, "0123456789abcdef-") != 36)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("page_key is not valid"),
				 errhint("Give the page_key of the last row of the page before, with the same "
						 "order_by.")));
	list->last.id = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(id)));
	if (list->order == ORDER_TITLE)
	{
		list->last.title = rest;
		list->last.length = strlen(rest);
	}
	list->paged = true;
}

/* ---- which conversations ---- */

static bool
has_title(const ConversationList *list, const StoreListed *listed)
{
	text *title;
	char *folded;
	bool matches;

	if (list->title == NULL)
		return true;
	if (!listed->has_title)
		return false;
	title = DatumGetTextPP(listed->title);
	folded = palloc(SEARCH_FOLD_SPACE(VARSIZE_ANY_EXHDR(title)));
	matches = search_matches(list->title, folded,
							 search_fold(VARDATA_ANY(title), VARSIZE_ANY_EXHDR(title), folded));
	pfree(folded);
	return matches;
}

static bool
is_listed(const ConversationList *list, const StoreListed *listed)
{
	if (listed->token_count < list->min_tokens || listed->token_count > list->max_tokens ||
		listed->updated_at < list->from ||
		(listed->updated_at >= list->to && list->to != DT_NOEND) ||
		(list->by_archived && listed->archived != list->archived))
		return false;
	if (list->metadata != NULL &&
		(!listed->has_metadata ||
		 !DatumGetBool(DirectFunctionCall2(jsonb_contains, listed->metadata,
										   JsonbPGetDatum(list->metadata)))))
		return false;
	return has_title(list, listed);
}

/* Adds a row; without a filter of messages only as many as a page has are kept. */
static void
add_row(ConversationList *list, const ListRow *row)
{
	bool limited = !list->filter.by_role && !list->filter.by_model;

	if (list->paged && compare_rows(row, &list->last) <= 0)
		return;
	if (list->count == list->space)
	{
		if (limited && list->count >= 2 * list->limit)
		{
			qsort(list->rows, list->count, sizeof(ListRow), compare_rows);
			list->count = list->limit;
		}
		else
		{
			list->space *= 2;
			list->rows = repalloc_huge(list->rows, mul_size(list->space, sizeof(ListRow)));
		}
	}
	list->rows[list->count++] = *row;
}

static void
list_rows(ConversationList *list)
{
	StoreListed listed;
	ListRow row;

	list->space = 64;
	list->rows = palloc(list->space * sizeof(ListRow));
	store_scan_conversations(list->scan, list->account_id, -1);
	while (store_scan_next_conversation(list->scan, &listed))
		if (is_listed(list, &listed))
		{
			sort_key(list, &listed, &row);
			add_row(list, &row);
		}
	qsort(list->rows, list->count, sizeof(ListRow), compare_rows);
}

/* Whether the conversation has a message of the roles and models that are wanted. */
static bool
has_message(ConversationList *list, SearchVerifier *verifier, const ListRow *row)
{
	SearchCandidate whole = {.account_id = list->account_id,
							 .id = row->id,
							 .first_seq = 1,
							 .last_seq = MEMORY_MAX_SEQ,
							 .revision = -1,
							 .newer = true};
	SearchFound found;

	if (!list->filter.by_role && !list->filter.by_model)
		return true;
	search_verify(verifier, &whole);
	return search_verify_next(verifier, &found);
}

static void
put_row(ConversationList *list, const ListRow *row, ReturnSetInfo *result)
{
	Datum values[RESULT_NCOLUMNS];
	bool nulls[RESULT_NCOLUMNS] = {0};
	StoreListed listed;

	if (!store_scan_conversation(list->scan, list->account_id, &row->id, &listed))
		elog(ERROR, "conversation %s is gone", store_uuid_string(&row->id));
	values[RESULT_CONVERSATION_ID] = UUIDPGetDatum(&listed.id);
	values[RESULT_TITLE] = listed.title;
	nulls[RESULT_TITLE] = !listed.has_title;
	values[RESULT_METADATA] = listed.metadata;
	nulls[RESULT_METADATA] = !listed.has_metadata;
	values[RESULT_ARCHIVED] = BoolGetDatum(listed.archived);
	values[RESULT_HEAD_SEQ] = Int64GetDatum(listed.head_seq);
	nulls[RESULT_HEAD_SEQ] = listed.head_seq == 0;
	values[RESULT_MESSAGE_COUNT] = Int64GetDatum(listed.message_count);
	values[RESULT_TOKEN_COUNT] = Int64GetDatum(listed.token_count);
	values[RESULT_CONTENT_BYTES] = Int64GetDatum(listed.content_bytes);
	values[RESULT_CREATED_AT] = TimestampTzGetDatum(listed.created_at);
	values[RESULT_UPDATED_AT] = TimestampTzGetDatum(listed.updated_at);
	values[RESULT_REVISION] = Int64GetDatum(listed.revision);
	values[RESULT_PAGE_KEY] = PointerGetDatum(write_key(list, row));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* ---- a call ---- */

static ListOrder
order_argument(const text *order_by)
{
	char *name = text_to_cstring(order_by);

	for (int i = 0; i < lengthof(order_names); i++)
		if (strcmp(name, order_names[i]) == 0)
			return (ListOrder) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown order_by \"%s\"", name),
			 errhint("Use \"changed\", \"created\", \"title\" or \"size\".")));
	return ORDER_CHANGED; /* keep compilers quiet */
}

static void
take_arguments(FunctionCallInfo fcinfo, ConversationList *list)
{
	SearchFilter *filter = &list->filter;

	memset(list, 0, sizeof(*list));
	list->account_id = argument_account(fcinfo, ARGUMENT_ACCOUNT_ID);
	list->title = search_query_argument(
		PG_ARGISNULL(ARGUMENT_TITLE) ? NULL : PG_GETARG_TEXT_PP(ARGUMENT_TITLE));
	filter->by_role = !PG_ARGISNULL(ARGUMENT_ROLES);
	if (filter->by_role)
		filter->roles =
			search_names_argument(PG_GETARG_ARRAYTYPE_P(ARGUMENT_ROLES), "roles", &filter->nroles);
	filter->by_model = !PG_ARGISNULL(ARGUMENT_MODELS);
	if (filter->by_model)
		filter->models = search_names_argument(PG_GETARG_ARRAYTYPE_P(ARGUMENT_MODELS), "models",
											   &filter->nmodels);
	filter->from = DT_NOBEGIN;
	filter->to = DT_NOEND;
	filter->include_archived = filter->all_branches = true;
	list->min_tokens =
		PG_ARGISNULL(ARGUMENT_MIN_TOKENS) ? PG_INT64_MIN : PG_GETARG_INT64(ARGUMENT_MIN_TOKENS);
	list->max_tokens =
		PG_ARGISNULL(ARGUMENT_MAX_TOKENS) ? PG_INT64_MAX : PG_GETARG_INT64(ARGUMENT_MAX_TOKENS);
	list->from = PG_ARGISNULL(ARGUMENT_UPDATED_FROM) ? DT_NOBEGIN
													 : PG_GETARG_TIMESTAMPTZ(ARGUMENT_UPDATED_FROM);
	list->to =
		PG_ARGISNULL(ARGUMENT_UPDATED_TO) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(ARGUMENT_UPDATED_TO);
	list->by_archived = !PG_ARGISNULL(ARGUMENT_ARCHIVED);
	list->archived = list->by_archived && PG_GETARG_BOOL(ARGUMENT_ARCHIVED);
	list->metadata = PG_ARGISNULL(ARGUMENT_METADATA) ? NULL : PG_GETARG_JSONB_P(ARGUMENT_METADATA);
	list->order = PG_ARGISNULL(ARGUMENT_ORDER_BY)
					  ? ORDER_CHANGED
					  : order_argument(PG_GETARG_TEXT_PP(ARGUMENT_ORDER_BY));
	list->limit = argument_within("max_conversations",
								  PG_ARGISNULL(ARGUMENT_MAX_CONVERSATIONS)
									  ? 50
									  : PG_GETARG_INT32(ARGUMENT_MAX_CONVERSATIONS),
								  1, MAX_CONVERSATIONS);
	if (!PG_ARGISNULL(ARGUMENT_PAGE_KEY))
		read_key(list, PG_GETARG_TEXT_PP(ARGUMENT_PAGE_KEY));
}

PG_FUNCTION_INFO_V1(memory_list_conversations);

/*
 * memory_list_conversations(account_id text, title text, roles text[],
 *							 models text[], min_tokens bigint, max_tokens bigint,
 *							 updated_from timestamptz, updated_to timestamptz,
 *							 archived boolean, metadata jsonb, order_by text,
 *							 max_conversations integer, page_key text)
 *		→ setof record
 *		The account's conversations that fulfil all filters which are not NULL:
 *		words of the title, a message of one of the roles and models, tokens,
 *		time of the last change, archived or not, what the metadata contains.
 *		Errors: 22004, 22023, 42501.
 */
Datum
memory_list_conversations(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ConversationList *list = palloc(sizeof(ConversationList));
	SearchVerifier *verifier;
	int rows = 0;

	InitMaterializedSRF(fcinfo, 0);
	take_arguments(fcinfo, list);
	audit_access(AUDIT_CONVERSATIONS, ACL_SELECT);
	list->scan = store_scan_begin(list->filter.by_role || list->filter.by_model);
	verifier = search_verifier(list->scan, &list->filter);
	list_rows(list);
	for (int64 i = 0; i < list->count && rows < list->limit; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!has_message(list, verifier, &list->rows[i]))
			continue;
		put_row(list, &list->rows[i], result);
		rows++;
	}
	store_scan_end(list->scan);
	return (Datum) 0;
}
