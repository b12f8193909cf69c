/*
 * direct.c
 *		Rows of the store by primary key, without the executor.
 *
 * To set a statement up costs more than to touch the few rows that an append,
 * or a look at the newest messages, is about.  These two therefore go straight
 * to the access methods of table and index, as a statement would: same
 * snapshots, same locks, same order.
 *
 * Only tables that are as tables.sql made them are touched so.  One with a
 * trigger, a rule, a check, row security or other columns (one that another
 * extension distributes has a trigger) is left to the statements, which every
 * caller has as well; so are conflicts with other writers.  The functions say
 * so by false, and have changed nothing then.
 *
 * Relations are locked to the transaction's end.  What is read is copied to
 * the current memory context.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "common/int.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "../compat.h"
#include "store.h"

/* ---- the tables, in the order of their columns ---- */

enum
{
	ACCOUNT_ID,
	ACCOUNT_SUBSCRIPTION_ID,
	ACCOUNT_REVISION,
	ACCOUNT_CREATED_AT,
	ACCOUNT_NCOLUMNS
};
static const char *const account_columns[ACCOUNT_NCOLUMNS] = {"account_id", "subscription_id",
															  "revision", "created_at"};

enum
{
	CONVERSATION_ID,
	CONVERSATION_NEXT_SEQ,
	CONVERSATION_HEAD_SEQ,
	CONVERSATION_MESSAGE_COUNT,
	CONVERSATION_TOKEN_COUNT,
	CONVERSATION_CONTENT_BYTES,
	CONVERSATION_TAIL_BYTES,
	CONVERSATION_CREATED_AT,
	CONVERSATION_UPDATED_AT,
	CONVERSATION_REVISION,
	CONVERSATION_REVISION_BUCKET,
	CONVERSATION_TAIL_COUNT,
	CONVERSATION_BRANCHED,
	CONVERSATION_ARCHIVED,
	CONVERSATION_ACCOUNT_ID,
	CONVERSATION_TITLE,
	CONVERSATION_METADATA,
	CONVERSATION_DELETED_AT,
	CONVERSATION_NCOLUMNS
};
static const char *const conversation_columns[CONVERSATION_NCOLUMNS] =
	{"conversation_id", "next_seq",   "head_seq",   "message_count", "token_count",
	 "content_bytes",   "tail_bytes", "created_at", "updated_at",    "revision",
	 "revision_bucket", "tail_count", "branched",   "archived",      "account_id",
	 "title",           "metadata",   "deleted_at"};

enum
{
	SEGMENT_CONVERSATION_ID,
	SEGMENT_FIRST_SEQ,
	SEGMENT_LAST_SEQ,
	SEGMENT_REVISION,
	SEGMENT_ACCOUNT_ID,
	SEGMENT_BODY,
	SEGMENT_NCOLUMNS
};
static const char *const segment_columns[SEGMENT_NCOLUMNS] = {"conversation_id", "first_seq",
															  "last_seq",        "revision",
															  "account_id",      "body"};

enum
{
	TAIL_CONVERSATION_ID,
	TAIL_SEQ,
	TAIL_PARENT_SEQ,
	TAIL_REVISION,
	TAIL_CREATED_AT,
	TAIL_TOKENS,
	TAIL_ACCOUNT_ID,
	TAIL_ROLE,
	TAIL_CONTENT,
	TAIL_MODEL,
	TAIL_MESSAGE_ID,
	TAIL_METADATA,
	TAIL_COUNTED,
	TAIL_NCOLUMNS
};
static const char *const tail_columns[TAIL_NCOLUMNS] = {"conversation_id", "seq",
														"parent_seq",      "revision",
														"created_at",      "tokens",
														"account_id",      "role",
														"content",         "model",
														"message_id",      "metadata",
														"counted"};

#define MAX_KEYS 3

typedef struct DirectTable
{
	const char *name;
	int ncolumns;
	const char *const *columns;
	int nkeys;
	int keys[MAX_KEYS]; /* the primary key's columns */
	Oid known;          /* this table was found to have just these columns */
} DirectTable;

static DirectTable accounts = {"accounts", ACCOUNT_NCOLUMNS, account_columns,
							   1,          {ACCOUNT_ID},     InvalidOid};
static DirectTable conversations = {"conversations",
									CONVERSATION_NCOLUMNS,
									conversation_columns,
									2,
									{CONVERSATION_ID, CONVERSATION_ACCOUNT_ID},
									InvalidOid};
static DirectTable segments = {"segments",
							   SEGMENT_NCOLUMNS,
							   segment_columns,
							   3,
							   {SEGMENT_CONVERSATION_ID, SEGMENT_ACCOUNT_ID, SEGMENT_FIRST_SEQ},
							   InvalidOid};
static DirectTable tail = {"tail",
						   TAIL_NCOLUMNS,
						   tail_columns,
						   3,
						   {TAIL_CONVERSATION_ID, TAIL_ACCOUNT_ID, TAIL_SEQ},
						   InvalidOid};

/* ---- opening, finding, writing ---- */

/* An open table; its row at hand is in the slot. */
typedef struct DirectRows
{
	Relation table;
	Relation index;
	IndexScanDesc scan; /* NULL: none has begun */
	TupleTableSlot *slot;
} DirectRows;

static bool
has_columns(Relation relation, DirectTable *table)
{
	TupleDesc descriptor = RelationGetDescr(relation);

	if (descriptor->natts != table->ncolumns)
		return false;
	if (table->known == RelationGetRelid(relation))
		return true;
	for (int i = 0; i < table->ncolumns; i++)
		if (strcmp(NameStr(TupleDescAttr(descriptor, i)->attname), table->columns[i]) != 0)
			return false;
	table->known = RelationGetRelid(relation);
	return true;
}

/* Nothing about the table would make the executor do more than is done here. */
static bool
is_plain(Relation relation)
{
	TupleConstr *constraints = RelationGetDescr(relation)->constr;

	return relation->rd_rel->relkind == RELKIND_RELATION && relation->trigdesc == NULL &&
		   relation->rd_rules == NULL && !relation->rd_rel->relrowsecurity &&
		   !relation->rd_rel->relhassubclass &&
		   (constraints == NULL ||
			(constraints->num_check == 0 && !constraints->has_generated_stored));
}

static bool
has_key(Relation index, const DirectTable *table)
{
	if (index->rd_index->indnkeyatts != table->nkeys)
		return false;
	for (int i = 0; i < table->nkeys; i++)
		if (index->rd_index->indkey.values[i] != table->keys[i] + 1)
			return false;
	return true;
}

static void
direct_close(DirectRows *rows)
{
	if (rows->scan != NULL)
	{
		index_endscan(rows->scan);
		ExecDropSingleTupleTableSlot(rows->slot);
	}
	if (rows->index != NULL)
		index_close(rows->index, NoLock);
	table_close(rows->table, NoLock);
}

/* false: the table is not to be touched so, and is not open. */
static bool
direct_open(DirectRows *rows, DirectTable *table, LOCKMODE lock)
{
	Oid oid = get_relname_relid(table->name, get_namespace_oid("memory_store", false));

	memset(rows, 0, sizeof(*rows));
	rows->table = table_open(oid, lock);
	if (is_plain(rows->table) && has_columns(rows->table, table))
	{
		if (!rows->table->rd_indexvalid)
			list_free(RelationGetIndexList(rows->table));
		if (OidIsValid(rows->table->rd_pkindex))
			rows->index = index_open(rows->table->rd_pkindex, lock);
		if (rows->index != NULL && has_key(rows->index, table))
			return true;
	}
	direct_close(rows);
	return false;
}

/* The first two columns of every key but the accounts'. */
static void
conversation_keys(ScanKeyData *keys, const pg_uuid_t *id, text *account_id)
{
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(account_id));
}

/* Rows with these keys, seen by the active snapshot; direct_next fetches them. */
static void
direct_find(DirectRows *rows, ScanKeyData *keys, int nkeys)
{
	rows->slot = table_slot_create(rows->table, NULL);
	rows->scan = compat_index_beginscan(rows->table, rows->index, GetActiveSnapshot(), nkeys);
	index_rescan(rows->scan, keys, nkeys, NULL, 0);
}

static bool
direct_next(DirectRows *rows, ScanDirection direction)
{
	if (!index_getnext_slot(rows->scan, direction, rows->slot))
		return false;
	slot_getallattrs(rows->slot);
	return true;
}

/* A new row, empty. */
static TupleTableSlot *
new_row(const DirectRows *rows)
{
	return MakeSingleTupleTableSlot(RelationGetDescr(rows->table), &TTSOpsVirtual);
}

/* A new version of the row at hand, to be changed. */
static TupleTableSlot *
new_version(const DirectRows *rows)
{
	TupleTableSlot *row = new_row(rows);
	int ncolumns = RelationGetDescr(rows->table)->natts;

	memcpy(row->tts_values, rows->slot->tts_values, ncolumns * sizeof(Datum));
	memcpy(row->tts_isnull, rows->slot->tts_isnull, ncolumns * sizeof(bool));
	return ExecStoreVirtualTuple(row);
}

static void
index_row(Relation table, TupleTableSlot *row, bool update, bool only_summarizing)
{
	EState *state = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);

	InitResultRelInfo(result, table, 0, NULL, 0);
	ExecOpenIndices(result, false);
	compat_insert_index_tuples(result, row, state, update, only_summarizing);
	ExecCloseIndices(result);
	FreeExecutorState(state);
}

/*
 * Writes the new version of the row at hand.  Waits for another who is writing
 * it; false: he did, or has since the snapshot was taken.
 */
static bool
direct_update(DirectRows *rows, TupleTableSlot *row)
{
	TM_FailureData failure;
	LockTupleMode mode;
	bool indexes;
	bool only_summarizing;
	TM_Result result =
		compat_tuple_update(rows->table, &rows->slot->tts_tid, row, GetCurrentCommandId(true),
							GetActiveSnapshot(), &failure, &mode, &indexes, &only_summarizing);

	if (result == TM_Ok && indexes)
		index_row(rows->table, row, true, only_summarizing);
	ExecDropSingleTupleTableSlot(row);
	if (result != TM_Ok && result != TM_Updated && result != TM_Deleted)
		elog(ERROR, "unexpected result %d of an update of \"%s\"", (int) result,
			 RelationGetRelationName(rows->table));
	return result == TM_Ok;
}

static void
direct_insert(DirectRows *rows, TupleTableSlot *row)
{
	ExecStoreVirtualTuple(row);
	table_tuple_insert(rows->table, row, GetCurrentCommandId(true), 0, NULL);
	index_row(rows->table, row, false, false);
	ExecDropSingleTupleTableSlot(row);
}

/* ---- appending ---- */

/* Takes the account's next revision; false: no such account, or a conflict. */
static bool
bump_account(DirectRows *rows, text *account_id, DirectAppended *appended)
{
	TupleTableSlot *row;
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(account_id));
	direct_find(rows, &key, 1);
	if (!direct_next(rows, ForwardScanDirection))
		return false;
	row = new_version(rows);
	appended->revision = DatumGetInt64(row->tts_values[ACCOUNT_REVISION]) + 1;
	appended->subscription_id = TextDatumGetCString(row->tts_values[ACCOUNT_SUBSCRIPTION_ID]);
	row->tts_values[ACCOUNT_REVISION] = Int64GetDatum(appended->revision);
	return direct_update(rows, row);
}

/* Adds to a counter; false: it would overflow. */
static bool
count_up(TupleTableSlot *row, int column, int64 amount)
{
	int64 sum;

	if (pg_add_s64_overflow(DatumGetInt64(row->tts_values[column]), amount, &sum))
		return false;
	row->tts_values[column] = Int64GetDatum(sum);
	return true;
}

/* Whether a message behind the last one is all there is to be done: STORE_APPEND's conditions. */
static bool
is_open(const TupleTableSlot *row, const TranscriptMessage *message)
{
	const Datum *values = row->tts_values;

	return row->tts_isnull[CONVERSATION_DELETED_AT] &&
		   DatumGetInt64(values[CONVERSATION_HEAD_SEQ]) ==
			   DatumGetInt64(values[CONVERSATION_NEXT_SEQ]) - 1 &&
		   DatumGetInt64(values[CONVERSATION_MESSAGE_COUNT]) > 0 &&
		   DatumGetInt32(values[CONVERSATION_TAIL_COUNT]) < store_segment_messages - 1 &&
		   DatumGetInt64(values[CONVERSATION_TAIL_BYTES]) + message->content_len <
			   (int64) store_segment_bytes * 1024;
}

/* The conversation's next number for the message; 0: see is_open, or a conflict. */
static int64
take_number(DirectRows *rows, const pg_uuid_t *id, text *account_id,
			const TranscriptMessage *message, int64 revision)
{
	TupleTableSlot *row;
	ScanKeyData keys[2];
	TimestampTz updated_at;
	int64 seq;

	conversation_keys(keys, id, account_id);
	direct_find(rows, keys, 2);
	if (!direct_next(rows, ForwardScanDirection) || !is_open(rows->slot, message))
		return 0;

	row = new_version(rows);
	seq = DatumGetInt64(row->tts_values[CONVERSATION_NEXT_SEQ]);
	updated_at = DatumGetTimestampTz(row->tts_values[CONVERSATION_UPDATED_AT]);
	row->tts_values[CONVERSATION_HEAD_SEQ] = Int64GetDatum(seq);
	row->tts_values[CONVERSATION_TAIL_COUNT] =
		Int32GetDatum(DatumGetInt32(row->tts_values[CONVERSATION_TAIL_COUNT]) + 1);
	row->tts_values[CONVERSATION_UPDATED_AT] =
		TimestampTzGetDatum(Max(updated_at, message->created_at));
	row->tts_values[CONVERSATION_REVISION] = Int64GetDatum(revision);
	row->tts_values[CONVERSATION_REVISION_BUCKET] = Int32GetDatum((int32) (revision >> 10));
	if (!count_up(row, CONVERSATION_NEXT_SEQ, 1) || !count_up(row, CONVERSATION_MESSAGE_COUNT, 1) ||
		!count_up(row, CONVERSATION_TOKEN_COUNT, message->tokens) ||
		!count_up(row, CONVERSATION_CONTENT_BYTES, message->content_len) ||
		!count_up(row, CONVERSATION_TAIL_BYTES, message->content_len))
	{
		ExecDropSingleTupleTableSlot(row);
		return 0;
	}
	return direct_update(rows, row) ? seq : 0;
}

static void
set_text(TupleTableSlot *row, int column, const char *data, uint32 length)
{
	row->tts_isnull[column] = data == NULL;
	row->tts_values[column] =
		data == NULL ? (Datum) 0 : PointerGetDatum(cstring_to_text_with_len(data, length));
}

static void
insert_message(DirectRows *rows, const pg_uuid_t *id, text *account_id,
			   const TranscriptMessage *message, const DirectAppended *appended)
{
	TupleTableSlot *row = new_row(rows);
	Datum *values = row->tts_values;

	memset(row->tts_isnull, 0, TAIL_NCOLUMNS * sizeof(bool));
	values[TAIL_CONVERSATION_ID] = UUIDPGetDatum(id);
	values[TAIL_SEQ] = Int64GetDatum(appended->seq);
	values[TAIL_PARENT_SEQ] = Int64GetDatum(appended->seq - 1);
	values[TAIL_REVISION] = Int64GetDatum(appended->revision);
	values[TAIL_CREATED_AT] = TimestampTzGetDatum(message->created_at);
	values[TAIL_TOKENS] = Int32GetDatum(message->tokens);
	values[TAIL_ACCOUNT_ID] = PointerGetDatum(account_id);
	set_text(row, TAIL_ROLE, message->role, message->role_len);
	set_text(row, TAIL_CONTENT, message->content, message->content_len);
	set_text(row, TAIL_MODEL, message->model, message->model_len);
	set_text(row, TAIL_MESSAGE_ID, message->message_id, message->message_id_len);
	set_text(row, TAIL_METADATA, message->metadata, message->metadata_len);
	values[TAIL_COUNTED] = BoolGetDatum(false);
	direct_insert(rows, row);
}

/*
 * direct_append
 *		What STORE_APPEND does: takes the account's next revision, its row's lock
 *		with it, and puts the message behind the conversation's last one.
 *		appended->seq 0: that is not all there is to be done, and nothing but the
 *		account is changed.  false: nothing is, STORE_APPEND is to say why.
 */
bool
direct_append(text *account_id, const pg_uuid_t *id, const TranscriptMessage *message,
			  DirectAppended *appended)
{
	DirectTable *const wanted[] = {&accounts, &conversations, &tail};
	DirectRows rows[lengthof(wanted)];
	int open = 0;
	bool done = false;

	memset(appended, 0, sizeof(*appended));
	if (XactReadOnly || IsInParallelMode())
		return false;
	while (open < (int) lengthof(wanted) &&
		   direct_open(&rows[open], wanted[open], RowExclusiveLock))
		open++;
	if (open == (int) lengthof(wanted))
	{
		/* as SPI does before each statement that writes */
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
		done = bump_account(&rows[0], account_id, appended);
		if (done)
			appended->seq = take_number(&rows[1], id, account_id, message, appended->revision);
		if (appended->seq > 0)
			insert_message(&rows[2], id, account_id, message, appended);
		PopActiveSnapshot();
	}
	while (open > 0)
		direct_close(&rows[--open]);
	return done;
}

/* ---- reading ---- */

/* The last segment that begins before seq: see store_segment_before. */
bool
direct_segment_before(const pg_uuid_t *id, text *account_id, int64 seq, StoreSegment *segment,
					  bool *found)
{
	DirectRows rows;
	ScanKeyData keys[3];

	if (!direct_open(&rows, &segments, AccessShareLock))
		return false;
	conversation_keys(keys, id, account_id);
	ScanKeyInit(&keys[2], 3, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(seq));
	direct_find(&rows, keys, 3);
	*found = direct_next(&rows, BackwardScanDirection);
	if (*found)
	{
		segment->first_seq = DatumGetInt64(rows.slot->tts_values[SEGMENT_FIRST_SEQ]);
		segment->last_seq = DatumGetInt64(rows.slot->tts_values[SEGMENT_LAST_SEQ]);
		segment->revision = DatumGetInt64(rows.slot->tts_values[SEGMENT_REVISION]);
		segment->body = datumCopy(rows.slot->tts_values[SEGMENT_BODY], false, -1);
	}
	direct_close(&rows);
	return true;
}

/* What a branch's reader begins with: see STORE_BRANCH_OPEN. */
bool
direct_branch_start(const pg_uuid_t *id, text *account_id, int64 before_seq,
					StoreBranchStart *start)
{
	DirectRows rows;
	ScanKeyData keys[2];

	memset(start, 0, sizeof(*start));
	if (!direct_open(&rows, &conversations, AccessShareLock))
		return false;
	conversation_keys(keys, id, account_id);
	direct_find(&rows, keys, 2);
	start->found =
		direct_next(&rows, ForwardScanDirection) && rows.slot->tts_isnull[CONVERSATION_DELETED_AT];
	if (start->found)
	{
		Datum *values = rows.slot->tts_values;

		start->next_seq = DatumGetInt64(values[CONVERSATION_NEXT_SEQ]);
		start->head_seq = DatumGetInt64(values[CONVERSATION_HEAD_SEQ]);
		start->tail_count = DatumGetInt32(values[CONVERSATION_TAIL_COUNT]);
		start->branched = DatumGetBool(values[CONVERSATION_BRANCHED]) &&
						  DatumGetInt64(values[CONVERSATION_MESSAGE_COUNT]) > 0;
	}
	direct_close(&rows);
	if (!start->found)
		return true;
	return direct_segment_before(id, account_id,
								 start->branched ? start->head_seq + 1
												 : Min(start->head_seq + 1, before_seq),
								 &start->segment, &start->has_segment);
}
