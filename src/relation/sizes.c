/*
 * sizes.c
 *		How many rows a scan gives and what it costs, as the planner asks.
 *
 * From the sizes of the store's tables, the counters of their rows and, for
 * account_id and message_count, their statistics; never from samples of texts.
 * A confined session's estimates are those of its own account: no other's sizes
 * show in them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/stratnum.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/plancat.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "account.h"
#include "relation_private.h"
#include "tables.h"

/* Where nothing is known. */
#define DEFAULT_MESSAGES 20.0       /* in a conversation */
#define DEFAULT_CONVERSATIONS 10.0  /* of an account */
#define DEFAULT_RANGE 0.33          /* of a conversation within a range of seq */
#define PAGES_OF_CONVERSATION 2.0   /* index and heap of its row, mostly cached */
#define PAGES_OF_MESSAGES 2.0       /* the same of its segment or tail */
#define COST_OF_KB 0.03             /* to decompress, in the planner's units */
#define CONVERSATIONS_LOOKED_AT 100 /* of a confined session's account */

/* What pg_statistic has of a column of memory_store.conversations; NULL: nothing. */
static HeapTuple
column_statistics(int column)
{
	Oid table = get_relname_relid("conversations", get_namespace_oid("memory_store", false));

	return SearchSysCache3(STATRELATTINH, ObjectIdGetDatum(table), Int16GetDatum(column + 1),
						   BoolGetDatum(false));
}

/* The mean of message_count; 0: it is not known. */
static double
mean_messages(void)
{
	HeapTuple statistics = column_statistics(CONVERSATION_MESSAGE_COUNT);
	AttStatsSlot slot;
	double mean = 0;
	double rest = 1;

	if (!HeapTupleIsValid(statistics))
		return 0;
	if (get_attstatsslot(&slot, statistics, STATISTIC_KIND_MCV, InvalidOid,
						 ATTSTATSSLOT_VALUES | ATTSTATSSLOT_NUMBERS))
	{
		for (int i = 0; i < Min(slot.nvalues, slot.nnumbers); i++)
		{
			mean += DatumGetInt64(slot.values[i]) * slot.numbers[i];
			rest -= slot.numbers[i];
		}
		free_attstatsslot(&slot);
	}
	if (get_attstatsslot(&slot, statistics, STATISTIC_KIND_HISTOGRAM, InvalidOid,
						 ATTSTATSSLOT_VALUES))
	{
		double sum = 0;

		for (int i = 0; i < slot.nvalues; i++)
			sum += DatumGetInt64(slot.values[i]);
		if (slot.nvalues > 0)
			mean += Max(rest, 0) * sum / slot.nvalues;
		free_attstatsslot(&slot);
	}
	ReleaseSysCache(statistics);
	return mean;
}

/* The share of the conversations that an account has; account_id NULL: any account. */
static double
account_share(const RelationSizes *sizes, const text *account_id)
{
	HeapTuple statistics = column_statistics(CONVERSATION_ACCOUNT_ID);
	double share = DEFAULT_CONVERSATIONS / Max(sizes->conversations, DEFAULT_CONVERSATIONS);
	AttStatsSlot slot;
	double distinct;
	double common = 0;
	int ncommon = 0;

	if (!HeapTupleIsValid(statistics))
		return share;
	distinct = ((Form_pg_statistic) GETSTRUCT(statistics))->stadistinct;
	if (distinct < 0)
		distinct = -distinct * sizes->conversations;
	if (account_id == NULL)
		share = 1 / Max(distinct, 1);
	else
	{
		bool found = false;

		if (get_attstatsslot(&slot, statistics, STATISTIC_KIND_MCV, InvalidOid,
							 ATTSTATSSLOT_VALUES | ATTSTATSSLOT_NUMBERS))
		{
			ncommon = Min(slot.nvalues, slot.nnumbers);
			for (int i = 0; i < ncommon && !found; i++)
			{
				found = account_same(account_id, DatumGetTextPP(slot.values[i]));
				share = found ? slot.numbers[i] : share;
				common += slot.numbers[i];
			}
			free_attstatsslot(&slot);
		}
		if (!found)
			share = Max(1 - common, 0) / Max(distinct - ncommon, 1);
	}
	ReleaseSysCache(statistics);
	return Min(share, 1);
}

/* A table's rows and pages as they are now; out-of-line storage is added to the pages. */
static void
table_size(DirectTable *table, double *rows, double *pages)
{
	Oid oid = get_relname_relid(table->name, get_namespace_oid("memory_store", false));
	Relation relation = table_open(oid, AccessShareLock);
	BlockNumber blocks;
	double visible;

	estimate_rel_size(relation, NULL, &blocks, rows, &visible);
	*pages = blocks;
	if (OidIsValid(relation->rd_rel->reltoastrelid))
	{
		Relation toast = table_open(relation->rd_rel->reltoastrelid, AccessShareLock);

		*pages += RelationGetNumberOfBlocks(toast);
		table_close(toast, NoLock);
	}
	table_close(relation, NoLock);
}

/* What the store's tables amount to. */
static void
read_size(RelationSizes *sizes)
{
	double segments;
	double segment_pages;
	double tail;
	double tail_pages;

	table_size(&store_conversations, &sizes->conversations, &sizes->heap_pages);
	table_size(&store_segments, &segments, &segment_pages);
	table_size(&store_tail, &tail, &tail_pages);
	sizes->message_pages = segment_pages + tail_pages;
	sizes->messages = mean_messages();
	if (sizes->messages <= 0)
		sizes->messages =
			segments + tail > 0
				? Max((segments * DEFAULT_MESSAGES + tail) / Max(sizes->conversations, 1), 1)
				: DEFAULT_MESSAGES;
	/* compressed to a quarter, as a rule */
	sizes->content_kb = sizes->message_pages * (BLCKSZ / 1024) * 4 / Max(sizes->conversations, 1);
}

/*
 * What the account that the session is confined to has, by a look at its latest
 * conversations.
 */
static void
read_own_size(const char *account_id, RelationSizes *sizes)
{
	static const int recent[] = {CONVERSATION_ACCOUNT_ID, CONVERSATION_REVISION_BUCKET};
	double messages = 0;
	double bytes = 0;
	int seen = 0;
	DirectRows rows;
	ScanKeyData key;

	direct_open_reading(&rows, &store_conversations, GetActiveSnapshot(), recent, lengthof(recent));
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(account_id));
	direct_find(&rows, &key, 1);
	while (seen < CONVERSATIONS_LOOKED_AT && direct_next(&rows, BackwardScanDirection))
	{
		messages += DatumGetInt64(rows.slot->tts_values[CONVERSATION_MESSAGE_COUNT]);
		bytes += DatumGetInt64(rows.slot->tts_values[CONVERSATION_CONTENT_BYTES]);
		seen++;
	}
	direct_close(&rows);
	/* where there are more, nobody has counted them */
	sizes->conversations = seen < CONVERSATIONS_LOOKED_AT ? seen : 10.0 * seen;
	sizes->messages = seen > 0 ? Max(messages / seen, 1) : 1;
	sizes->content_kb = seen > 0 ? bytes / seen / 1024 : 1;
	sizes->heap_pages = sizes->conversations;
	sizes->message_pages = sizes->conversations * 2;
}

/*
 * size_read
 *		What the store's tables amount to; in a confined session, its account.
 */
void
size_read(RelationSizes *sizes)
{
	sizes->is_own = account_confined() != NULL && ActiveSnapshotSet();
	if (sizes->is_own)
		read_own_size(account_confined(), sizes);
	else
		read_size(sizes);
}

/* A key's value where it is known already: a constant. */
static Const *
known_value(PlannerInfo *root, const RelationKey *key)
{
	Node *value = key == NULL ? NULL : estimate_expression_value(root, (Node *) key->value);

	return value != NULL && IsA(value, Const) && !((Const *) value)->constisnull ? (Const *) value
																				 : NULL;
}

/* How many elements the array of an = ANY has, about. */
static double
array_elements(PlannerInfo *root, const RelationKey *key)
{
	Const *value = known_value(root, key);

	if (value != NULL)
	{
		ArrayType *array = DatumGetArrayTypeP(value->constvalue);

		return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	}
	return 10;
}

/* The counters of one conversation of which all is known; false: it has none, or is not visible. */
static bool
conversation_counters(const Const *conversation, const Const *account, double *messages)
{
	DirectRows rows;
	ScanKeyData keys[2];
	bool found;

	if (!ActiveSnapshotSet() || !account_visible(DatumGetTextPP(account->constvalue)))
		return false;
	direct_open_reading(&rows, &store_conversations, GetActiveSnapshot(), NULL, 0);
	store_conversation_keys(keys, DatumGetUUIDP(conversation->constvalue),
							DatumGetTextPP(account->constvalue));
	direct_find(&rows, keys, 2);
	found = direct_next(&rows, ForwardScanDirection);
	if (found)
		*messages = DatumGetInt64(rows.slot->tts_values[CONVERSATION_MESSAGE_COUNT]);
	direct_close(&rows);
	return found;
}

/* The account that all rows have, where it is known: the query's, or the session's. */
static Const *
known_account(PlannerInfo *root, List *keys)
{
	Const *account = known_value(root, key_find(keys, KEY_ACCOUNT));

	if (account == NULL && account_confined() != NULL)
		account = makeConst(TEXTOID, -1, C_COLLATION_OID, -1,
							CStringGetTextDatum(account_confined()), false, false);
	return account;
}

/* Conversations that the keys lead to, and the messages in each. */
static void
estimate_conversations(PlannerInfo *root, const RelationSizes *sizes, List *keys,
					   double *conversations, double *messages)
{
	const RelationKey *one = key_find(keys, KEY_CONVERSATION);
	const RelationKey *any = key_find(keys, KEY_CONVERSATION_ANY);
	const RelationKey *accounts = key_find(keys, KEY_ACCOUNT_ANY);
	Const *account = known_account(root, keys);
	Const *id = known_value(root, one);

	*messages = sizes->messages;
	if (one != NULL || any != NULL)
	{
		*conversations = one != NULL ? 1 : array_elements(root, any);
		if (id != NULL && account != NULL && !conversation_counters(id, account, messages))
			*messages = 1;
	}
	else if (sizes->is_own)
		*conversations = account == NULL || account_visible(DatumGetTextPP(account->constvalue))
							 ? sizes->conversations
							 : 1;
	else if (account != NULL)
		*conversations =
			account_visible(DatumGetTextPP(account->constvalue))
				? sizes->conversations * account_share(sizes, DatumGetTextPP(account->constvalue))
				: 1;
	else if (key_find(keys, KEY_ACCOUNT) != NULL)
		*conversations = sizes->conversations * account_share(sizes, NULL);
	else if (accounts != NULL)
		*conversations = sizes->conversations *
						 Min(account_share(sizes, NULL) * array_elements(root, accounts), 1);
	else
		*conversations = sizes->conversations;
	*conversations = clamp_row_est(*conversations);
}

/* The share of a conversation's messages that the keys' ranges of seq leave. */
static double
range_share(PlannerInfo *root, List *keys, double messages)
{
	double first = 1;
	double last = messages;
	bool known = true;
	bool any = false;
	ListCell *cell;

	foreach (cell, keys)
	{
		const RelationKey *key = lfirst(cell);
		Const *value;

		if (key->kind < KEY_SEQ_BELOW || key->kind > KEY_SEQ_ABOVE)
			continue;
		any = true;
		if (key->kind == KEY_SEQ_EQUAL)
			return 1 / Max(messages, 1);
		value = known_value(root, key);
		if (value == NULL)
			known = false;
		else if (key->kind == KEY_SEQ_BELOW || key->kind == KEY_SEQ_AT_MOST)
			last = Min(last, (double) DatumGetInt64(value->constvalue));
		else
			first = Max(first, (double) DatumGetInt64(value->constvalue));
	}
	if (!any)
		return 1;
	if (!known)
		return DEFAULT_RANGE;
	return Min(Max(last - first + 1, 1) / Max(messages, 1), 1);
}

/*
 * size_estimate
 *		What a scan by these keys gives and costs; columns: those that are wanted.
 */
void
size_estimate(PlannerInfo *root, RelationKind kind, const RelationSizes *sizes, List *keys,
			  uint32 columns, RelationEstimate *estimate)
{
	bool whole = key_find(keys, KEY_CONVERSATION) == NULL &&
				 key_find(keys, KEY_CONVERSATION_ANY) == NULL &&
				 key_find(keys, KEY_ACCOUNT) == NULL && key_find(keys, KEY_ACCOUNT_ANY) == NULL &&
				 account_confined() == NULL;
	bool opens =
		kind == RELATION_MESSAGES &&
		(columns & ~(COLUMN_BIT(MESSAGES_CONVERSATION_ID) | COLUMN_BIT(MESSAGES_ACCOUNT_ID))) != 0;
	double conversations;
	double messages;
	double share = 1;
	Cost cost;

	estimate_conversations(root, sizes, keys, &conversations, &messages);
	if (kind == RELATION_MESSAGES)
		share = range_share(root, keys, messages);
	estimate->conversations = conversations;
	estimate->rows =
		clamp_row_est(kind == RELATION_MESSAGES ? conversations * messages * share : conversations);
	estimate->startup_cost = 0;
	if (whole)
		cost = seq_page_cost * (opens ? sizes->message_pages : sizes->heap_pages);
	else
		cost = conversations * random_page_cost * 0.5 *
			   (PAGES_OF_CONVERSATION + (opens ? PAGES_OF_MESSAGES : 0));
	if (opens)
		cost += conversations * (COST_OF_KB * sizes->content_kb * Max(share, 0.1) +
								 (messages * share) * cpu_tuple_cost);
	estimate->total_cost = cost + cpu_tuple_cost * estimate->rows;
}
