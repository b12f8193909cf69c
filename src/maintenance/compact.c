/*
 * compact.c
 *		Compaction: the segments of resting conversations become few, large and
 *		harder compressed.
 *
 * Adjacent segments are merged into groups of up to compact_size; a group is
 * written anew when it has several segments, or one that is not compressed as
 * it should be by now (level, dictionary).  A segment that was compacted before
 * is merged with later ones only once these amount to half of it, so that a
 * conversation that is resumed again and again is not rewritten each time.  The
 * newest messages of a long conversation stay apart.
 *
 * What has to be looked at is known by segments.compact, and by an index on what
 * is not marked: whatever writes a segment leaves it unmarked, compaction marks
 * what it has written or found to be in order.  The marks hold for one way of
 * compressing, which memory_store.compaction names.  Where another is wanted
 * (another level, or a new dictionary), everything is walked through once: what
 * rests is compacted, what does not loses its mark, to be found when it rests.
 *
 * The new segments of a whole batch are built without any lock; then the
 * accounts' locks are taken, in key order, the old segments are compared with
 * what was read (first_seq and xmin), and replaced if nothing has changed.  So
 * nobody waits while others' conversations are compressed.  Compaction changes
 * no message and takes no revision; that it writes the conversation's row anew
 * tells writers with an old snapshot that the segments they see are gone.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "dictionary.h"
#include "format.h"
#include "problems.h"
#include "sql_text.h"
#include "statement.h"
#include "store.h"
#include "tables.h"

#define COMPACT_STEP "compact"

/* Larger payloads gain nothing from a dictionary. */
#define DICTIONARY_USEFUL_BYTES (256 * 1024)
/* A batch ends when its new segments take so much memory. */
#define BATCH_BYTES ((Size) 32 * 1024 * 1024)

/* A segment as the plan sees it. */
typedef struct PlannedSegment
{
	int64 first_seq;
	TransactionId xmin;
	int64 raw_bytes;
	uint32 messages;
	bool compact; /* compressed as it should be */
	bool marked;
} PlannedSegment;

/* One group's new body, built before the lock is taken. */
typedef struct NewSegment
{
	uint64 from; /* the segments from..to of the plan are replaced */
	uint64 to;
	int64 first_seq;
	int64 last_seq;
	int64 revision;
	struct varlena *body;
	bytea *filter; /* NULL: no message has an id */
} NewSegment;

typedef struct CompactPlan
{
	const pg_uuid_t *id;
	text *account_id;
	PlannedSegment *segments;
	uint64 count;
	uint64 newest; /* groups end before this segment: see find_newest */
	NewSegment *groups;
	uint64 ngroups;
	bool unmarked; /* a segment that stays has no mark yet */
} CompactPlan;

/* How a payload of this size should be compressed by now. */
static TranscriptCompression
wanted_compression(int64 raw_bytes, uint32 current_dictionary)
{
	TranscriptCompression wanted = store_compact_compression();

	if (wanted.codec == TRANSCRIPT_ZSTD && raw_bytes <= DICTIONARY_USEFUL_BYTES)
		wanted.dictionary_id = current_dictionary;
	return wanted;
}

static bool
is_compact(const TranscriptHeader *header, uint32 current_dictionary)
{
	TranscriptCompression wanted = wanted_compression(header->raw_size, current_dictionary);

	if (header->level != wanted.level)
		return false;
	return header->codec == TRANSCRIPT_NONE ||
		   (header->codec == wanted.codec && header->dictionary_id == wanted.dictionary_id);
}

PG_FUNCTION_INFO_V1(memory_is_compact);

/*
 * memory_is_compact(body transcript) → boolean
 *		Whether maintenance would leave a segment's compression as it is; reads
 *		the header only.  Likewise one whose header is corrupt, which is for
 *		memory.verify() to report.
 */
Datum
memory_is_compact(PG_FUNCTION_ARGS)
{
	struct varlena *slice = PG_DETOAST_DATUM_SLICE(PG_GETARG_DATUM(0), 0, TRANSCRIPT_HEADER_MAX);
	TranscriptHeader header;
	TranscriptProblem problem;

	if (!transcript_header_decode((const uint8 *) VARDATA_ANY(slice), VARSIZE_ANY_EXHDR(slice),
								  &header, &problem))
		PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(is_compact(&header, dictionary_current()));
}

/*
 * The newest messages are read the most, and a large segment is slow to read:
 * in a long conversation they keep a segment of their own.
 */
static void
find_newest(CompactPlan *plan)
{
	int64 raw_bytes = 0;
	uint32 messages = 0;

	for (uint64 i = 0; i < plan->count; i++)
		raw_bytes += plan->segments[i].raw_bytes;
	plan->newest = 0;
	if (raw_bytes <= (int64) store_segment_kb * 1024)
		return; /* it is short */
	plan->newest = plan->count;
	while (plan->newest > 0 && messages < (uint32) store_segment_messages)
		messages += plan->segments[--plan->newest].messages;
}

/* clang-format off */
static PlanStatement segments_plan_statement = {
	"SELECT first_seq, xmin, body, compact IS NOT NULL"
	" FROM memory_store.segments"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2"
	" ORDER BY first_seq",
	2,
	{UUIDOID, TEXTOID},
};
/* clang-format on */

static void
read_plan(CompactPlan *plan)
{
	uint32 current = dictionary_current();
	Datum values[2];
	bool isnull;

	values[0] = UUIDPGetDatum(plan->id);
	values[1] = PointerGetDatum(plan->account_id);
	plan->count = plan_execute(&segments_plan_statement, values, NULL, false);
	plan->segments = palloc(mul_size(Max(plan->count, 1), sizeof(PlannedSegment)));
	for (uint64 i = 0; i < plan->count; i++)
	{
		TranscriptHeader header;

		transcript_read_header(plan_column(i, 3, &isnull), &header);
		plan->segments[i].first_seq = DatumGetInt64(plan_column(i, 1, &isnull));
		plan->segments[i].xmin = DatumGetTransactionId(plan_column(i, 2, &isnull));
		plan->segments[i].raw_bytes = header.raw_size;
		plan->segments[i].messages = header.message_count;
		plan->segments[i].compact = is_compact(&header, current);
		plan->segments[i].marked = DatumGetBool(plan_column(i, 4, &isnull));
	}
	find_newest(plan);
}

/* The end of the group that begins at from. */
static uint64
group_end(const CompactPlan *plan, uint64 from)
{
	int64 limit = (int64) store_compact_kb * 1024;
	int64 bytes = plan->segments[from].raw_bytes;
	uint64 end = from + 1;
	int64 later = 0;
	uint32 messages = plan->segments[from].messages;

	while (end < plan->count && end != plan->newest &&
		   bytes + plan->segments[end].raw_bytes <= limit &&
		   messages + plan->segments[end].messages <= TRANSCRIPT_MAX_MESSAGES)
	{
		messages += plan->segments[end].messages;
		bytes += plan->segments[end].raw_bytes;
		later += plan->segments[end].raw_bytes;
		end++;
	}
	if (plan->segments[from].compact && later < plan->segments[from].raw_bytes / 2)
		return from + 1;
	return end;
}

/* Reads a group's messages and compresses them anew; lives in the current context. */
static void
build_group(const CompactPlan *plan, NewSegment *new)
{
	MemoryContext result_context = CurrentMemoryContext;
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext group", ALLOCSET_DEFAULT_SIZES);
	TranscriptMessage *messages = NULL;
	TranscriptCompression compression;
	uint32 count = 0;
	int64 raw_bytes = 0;

	MemoryContextSwitchTo(scratch);
	for (uint64 i = new->from; i < new->to; i++)
	{
		Transcript *part;
		StoreSegment segment;
		Size size;

		CHECK_FOR_INTERRUPTS();
		if (!store_segment_after(plan->id, plan->account_id, plan->segments[i].first_seq, false,
								 &segment) ||
			segment.first_seq != plan->segments[i].first_seq)
		{
			count = 0; /* somebody else has replaced it */
			break;
		}
		part = store_open_segment(&segment);
		size = mul_size(add_size(count, part->count), sizeof(TranscriptMessage));
		messages = messages == NULL ? palloc(size) : repalloc_huge(messages, size);
		memcpy(messages + count, part->messages, part->count * sizeof(TranscriptMessage));
		count += part->count;
		raw_bytes += part->header.raw_size;
	}

	new->body = NULL;
	if (count > 0)
	{
		compression = wanted_compression(raw_bytes, dictionary_current());
		new->first_seq = messages[0].seq;
		new->last_seq = messages[count - 1].seq;
		new->revision = store_fold_revisions(messages, count);
		MemoryContextSwitchTo(result_context);
		new->body = transcript_build(messages, count, &compression);
		new->filter = store_filter_ids(messages, count);
	}
	MemoryContextSwitchTo(result_context);
	MemoryContextDelete(scratch);
}

/* Are the conversation's segments still those of the plan? */
static bool
plan_holds(const CompactPlan *plan)
{
	Datum values[2];
	bool isnull;

	values[0] = UUIDPGetDatum(plan->id);
	values[1] = PointerGetDatum(plan->account_id);
	if (plan_execute(&segments_plan_statement, values, NULL, false) != plan->count)
		return false;
	for (uint64 i = 0; i < plan->count; i++)
		if (DatumGetInt64(plan_column(i, 1, &isnull)) != plan->segments[i].first_seq ||
			DatumGetTransactionId(plan_column(i, 2, &isnull)) != plan->segments[i].xmin)
			return false;
	return true;
}

/* clang-format off */
static PlanStatement segment_insert_compact_statement = {
	"INSERT INTO memory_store.segments"
	" (conversation_id, first_seq, last_seq, revision, account_id, body, message_ids, compact)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, true)",
	STORE_SEGMENT_COLUMNS,
	{UUIDOID, INT8OID, INT8OID, INT8OID, TEXTOID, STATEMENT_TRANSCRIPT, BYTEAOID},
};
/* clang-format on */

static void
replace_group(const CompactPlan *plan, const NewSegment *new)
{
	Datum values[STORE_SEGMENT_COLUMNS];
	char nulls[] = "       ";

	for (uint64 i = new->from; i < new->to; i++)
		store_delete_segment(plan->id, plan->account_id, plan->segments[i].first_seq);
	values[SEGMENT_CONVERSATION_ID] = UUIDPGetDatum(plan->id);
	values[SEGMENT_FIRST_SEQ] = Int64GetDatum(new->first_seq);
	values[SEGMENT_LAST_SEQ] = Int64GetDatum(new->last_seq);
	values[SEGMENT_REVISION] = Int64GetDatum(new->revision);
	values[SEGMENT_ACCOUNT_ID] = PointerGetDatum(plan->account_id);
	values[SEGMENT_BODY] = PointerGetDatum(new->body);
	store_filter_datum(new->filter, values, nulls, SEGMENT_MESSAGE_IDS);
	plan_execute(&segment_insert_compact_statement, values, nulls, false);
}

/*
 * Plans one conversation and builds what is to be written, in the current
 * memory context.  False: there is nothing to do, or somebody else is at work.
 */
static bool
prepare(CompactPlan *plan)
{
	read_plan(plan);
	plan->groups = palloc(mul_size(Max(plan->count, 1), sizeof(NewSegment)));
	plan->ngroups = 0;
	plan->unmarked = false;
	for (uint64 from = 0; from < plan->count;)
	{
		uint64 to = group_end(plan, from);

		if (to > from + 1 || !plan->segments[from].compact)
		{
			NewSegment *new = &plan->groups[plan->ngroups++];

			new->from = from;
			new->to = to;
			build_group(plan, new);
			if (new->body == NULL)
				return false;
		}
		else if (!plan->segments[from].marked)
			plan->unmarked = true;
		from = to;
	}
	return plan->ngroups > 0 || plan->unmarked;
}

typedef struct Preparation
{
	CompactPlan *plan;
	bool prepared;
} Preparation;

static void
prepare_attempt(void *arg)
{
	Preparation *preparation = arg;

	preparation->prepared = prepare(preparation->plan);
}

/*
 * The same, but a segment that cannot be read does not keep all others from
 * maintenance: its conversation is left as it is.
 */
static bool
prepare_or_skip(CompactPlan *plan)
{
	Preparation preparation = {plan, false};

	return problem_attempt(COMPACT_STEP, plan->account_id, plan->id, prepare_attempt,
						   &preparation) &&
		   preparation.prepared;
}

/* clang-format off */
static PlanStatement conversation_touch_statement = {
	"UPDATE memory_store.conversations"
	" SET tail_count = tail_count"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2",
	2,
	{UUIDOID, TEXTOID},
};

static PlanStatement segments_mark_statement = {
	"UPDATE memory_store.segments"
	" SET compact = true"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2 AND compact IS NULL",
	2,
	{UUIDOID, TEXTOID},
};
/* clang-format on */

/* A plan to be carried out, and how many segments that has replaced. */
typedef struct Application
{
	CompactPlan *plan;
	bool insist;
	int64 replaced;
} Application;

/*
 * Replaces the segments under the account's lock.  Where they have changed
 * since, insist says to plan anew: under the lock it stays.
 */
static void
apply_attempt(void *arg)
{
	Application *application = arg;
	CompactPlan *plan = application->plan;
	Datum values[2];

	if (!store_hold_account(plan->account_id))
		return;
	if (!plan_holds(plan) && (!application->insist || !prepare(plan)))
		return;
	values[0] = UUIDPGetDatum(plan->id);
	values[1] = PointerGetDatum(plan->account_id);
	if (plan->unmarked)
		plan_execute(&segments_mark_statement, values, NULL, false);
	if (plan->ngroups > 0)
		plan_execute(&conversation_touch_statement, values, NULL, false);
	for (uint64 i = 0; i < plan->ngroups; i++)
	{
		replace_group(plan, &plan->groups[i]);
		application->replaced += plan->groups[i].to - plan->groups[i].from;
	}
}

/* The same, or nothing where that fails; returns how many segments were replaced. */
static int64
apply(CompactPlan *plan, bool insist, bool solved)
{
	Application application = {plan, insist, 0};

	if (!problem_attempt(COMPACT_STEP, plan->account_id, plan->id, apply_attempt, &application))
		return 0;
	if (solved)
		problem_solved(COMPACT_STEP, plan->account_id, plan->id);
	return application.replaced;
}

/* The order in which accounts are locked: that of their keys. */
static int
compare_accounts(const void *a, const void *b)
{
	return account_compare(((const CompactPlan *) a)->account_id,
						   ((const CompactPlan *) b)->account_id);
}

/* The way that segments are to be compressed by now, as memory_store.compaction names it. */
static text *
wanted_name(void)
{
	TranscriptCompression wanted = wanted_compression(0, dictionary_current());

	return cstring_to_text(
		psprintf("%d:%d@%u", (int) wanted.codec, wanted.level, wanted.dictionary_id));
}

/* clang-format off */
static PlanStatement compaction_read_statement = {
	"SELECT"
	" FROM memory_store.compaction"
	" WHERE compression" OP(=) "$1 FOR KEY SHARE",
	1,
	{TEXTOID},
};
/* clang-format on */

/*
 * Do the marks hold for what is wanted by now?  Then they go on to do so until
 * the transaction's end: the row is locked, who wants something else waits.  A
 * row that names another way is not locked, since this transaction may delete it
 * and another one, too.
 */
static bool
marks_hold(const text *wanted)
{
	Datum values[1] = {PointerGetDatum(wanted)};

	return plan_execute(&compaction_read_statement, values, NULL, false) == 1;
}

PG_FUNCTION_INFO_V1(memory_compact_begin);

/*
 * memory_compact_begin() → text
 *		How segments are to be compressed by now, for memory_compact_end.  A step
 *		of maintain().  Error: 42501 the session is confined.
 */
Datum
memory_compact_begin(PG_FUNCTION_ARGS)
{
	account_check_unconfined();
	PG_RETURN_TEXT_P(wanted_name());
}

PG_FUNCTION_INFO_V1(memory_compact_end);

/* clang-format off */
static PlanStatement compaction_note_statement = {
	"WITH d AS (DELETE"
	" FROM memory_store.compaction"
	" WHERE compression" OP(<>) "$1)"
	" INSERT INTO memory_store.compaction"
	" VALUES ($1)"
	" ON CONFLICT DO NOTHING",
	1,
	{TEXTOID},
};
/* clang-format on */

/*
 * memory_compact_end(compression text) → void
 *		Notes that all that rests is compressed as memory_compact_begin has said,
 *		unless something else is wanted by now.  For a caller that has walked
 *		through all conversations since.  Error: 42501 the session is confined.
 */
Datum
memory_compact_end(PG_FUNCTION_ARGS)
{
	text *wanted = wanted_name();
	Datum values[1] = {PointerGetDatum(wanted)};

	account_check_unconfined();
	SPI_connect();
	if (account_same(wanted, PG_GETARG_TEXT_PP(0)) && !marks_hold(wanted))
		plan_execute(&compaction_note_statement, values, NULL, false);
	SPI_finish();
	PG_RETURN_VOID();
}

/* Where a batch was, and what it is to do. */
typedef struct CompactBatch
{
	Datum after[2]; /* the key that it begins behind */
	Datum last[2];  /* the last one that it has looked at */
	bool found;     /* there is a last one */
	CompactPlan *plans;
	uint64 nplans;
} CompactBatch;

/* Plans the conversations that a statement has found, until there is enough to write. */
static void
prepare_found(CompactBatch *batch, uint64 n)
{
	SPITupleTable *found = SPI_tuptable;
	Size bytes = 0;
	bool isnull;

	SPI_tuptable = NULL; /* kept while others come and go */
	batch->plans = palloc(mul_size(Max(n, 1), sizeof(CompactPlan)));
	for (uint64 i = 0; i < n && bytes < BATCH_BYTES; i++)
	{
		CompactPlan *plan = &batch->plans[batch->nplans];

		for (int k = 0; k < 2; k++)
			batch->last[k] = SPI_getbinval(found->vals[i], found->tupdesc, k + 1, &isnull);
		batch->found = true;
		CHECK_FOR_INTERRUPTS();
		plan->id = DatumGetUUIDP(batch->last[0]);
		plan->account_id = DatumGetTextPP(batch->last[1]);
		if (!prepare_or_skip(plan))
			continue;
		for (uint64 k = 0; k < plan->ngroups; k++)
			bytes += VARSIZE(plan->groups[k].body);
		batch->nplans++;
	}
}

/* Locks the subscriptions of the plans' accounts, which are in order, where that is needed. */
static void
lock_subscriptions(const CompactBatch *batch)
{
	text **accounts = palloc(mul_size(Max(batch->nplans, 1), sizeof(text *)));

	for (uint64 i = 0; i < batch->nplans; i++)
		accounts[i] = batch->plans[i].account_id;
	store_lock_before_moving(accounts, batch->nplans, true);
	pfree(accounts);
}

/* what somebody is at work on will be fresh anyway */
/* clang-format off */
static PlanStatement compact_unmark_statement = {
	"UPDATE memory_store.segments s"
	" SET compact = NULL"
	" FROM (SELECT w.conversation_id, w.account_id, w.first_seq"
	" FROM memory_store.segments w"
	" WHERE (w.conversation_id, w.account_id)" OP(>) "($1, $2)"
	" AND ($3 IS NULL OR (w.conversation_id, w.account_id)" OP(<=) "($3, $4))"
	" AND w.compact AND NOT memory_store.is_compact(w.body) FOR UPDATE SKIP LOCKED) w"
	" WHERE s.conversation_id" OP(=) "w.conversation_id"
	" AND s.account_id" OP(=) "w.account_id AND s.first_seq" OP(=) "w.first_seq",
	4,
	{UUIDOID, TEXTOID, UUIDOID, TEXTOID},
};
/* clang-format on */

/* What a batch that looks at everything has left as it was, whyever, loses its mark. */
static void
unmark_rest(const CompactBatch *batch)
{
	Datum values[4] = {batch->after[0], batch->after[1], batch->last[0], batch->last[1]};

	plan_execute(&compact_unmark_statement, values, batch->found ? NULL : "  nn", false);
}

PG_FUNCTION_INFO_V1(memory_compact_batch);

/* the conversation by its key, whatever the planner knows of either table */
/* clang-format off */
static PlanStatement compact_fresh_statement = {
	"SELECT w.conversation_id, w.account_id"
	" FROM (SELECT DISTINCT s.conversation_id, s.account_id"
	" FROM memory_store.segments s"
	" WHERE s.compact IS NULL"
	" AND (s.conversation_id, s.account_id)" OP(>) "($1, $2)) w"
	" WHERE (SELECT c.updated_at"
	" FROM memory_store.conversations c"
	" WHERE c.conversation_id" OP(=) "w.conversation_id"
	" AND c.account_id" OP(=) "w.account_id)" OP(<) "$3"
	" ORDER BY w.conversation_id, w.account_id LIMIT $4",
	4,
	{UUIDOID, TEXTOID, TIMESTAMPTZOID, INT8OID},
	.ordered = true,
};

static PlanStatement compaction_clear_statement = {
	"DELETE"
	" FROM memory_store.compaction",
	0,
	{0},
};
/* clang-format on */

/* either table's key is bounded, whatever they are joined by */
/* clang-format off */
static PlanStatement compact_resting_statement = {
	"SELECT s.conversation_id, s.account_id"
	" FROM memory_store.segments s JOIN memory_store.conversations c ON"
	" c.conversation_id" OP(=) "s.conversation_id"
	" AND c.account_id" OP(=) "s.account_id"
	" WHERE (s.conversation_id, s.account_id)" OP(>) "($1, $2)"
	" AND (c.conversation_id, c.account_id)" OP(>) "($1, $2)"
	" AND c.updated_at" OP(<) "$3"
	" GROUP BY s.conversation_id,"
	" s.account_id HAVING NOT pg_catalog.bool_and(s.compact IS TRUE"
	" AND memory_store.is_compact(s.body))"
	" ORDER BY s.conversation_id, s.account_id LIMIT $4",
	4,
	{UUIDOID, TEXTOID, TIMESTAMPTZOID, INT8OID},
	.ordered = true,
};

static PlanStatement compact_stale_statement = {
	"SELECT DISTINCT s.conversation_id, s.account_id"
	" FROM memory_store.segments s"
	" WHERE (s.conversation_id, s.account_id)" OP(>) "($1, $2) AND EXISTS (SELECT"
	" FROM memory_store.dictionaries"
	" WHERE stale_at IS NOT NULL) AND $3 IS NOT NULL AND EXISTS (SELECT"
	" FROM memory_store.dictionaries d"
	" WHERE d.stale_at IS NOT NULL"
	" AND d.dictionary_id" OP(=) "memory_store.needed_dictionary(s.body))"
	" ORDER BY s.conversation_id, s.account_id LIMIT $4",
	4,
	{UUIDOID, TEXTOID, TIMESTAMPTZOID, INT8OID},
	.ordered = true,
};
/* clang-format on */

/*
 * memory_compact_batch(after_conversation_id uuid, after_account_id text,
 *						max_conversations integer, only_stale boolean) → record
 *		Compacts the next resting conversations in order of their key behind
 *		the given one; with only_stale those that use a stale dictionary,
 *		resting or not, also if somebody changes them meanwhile.  Returns the
 *		key to go on behind (NULL: nothing is left), and how many segments were
 *		replaced.  A batch of maintain().
 *		Errors: 22023, 42501 the session is confined.
 */
Datum
memory_compact_batch(PG_FUNCTION_ARGS)
{
	TupleDesc descriptor;
	MemoryContext result_context = CurrentMemoryContext;
	bool only_stale = PG_GETARG_BOOL(3);
	CompactBatch batch = {.after = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)}};
	enum
	{
		BEHIND_CONVERSATION_ID,
		BEHIND_ACCOUNT_ID,
		BEFORE,
		LIMIT,
		NPARAMETERS
	};
	enum
	{
		LAST_CONVERSATION_ID,
		LAST_ACCOUNT_ID,
		SEGMENTS,
		NCOLUMNS
	};
	Datum values[NPARAMETERS];
	Datum result[NCOLUMNS] = {0};
	bool nulls[NCOLUMNS] = {true, true, false};
	int64 replaced = 0;
	bool marks;
	bool solved;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "memory_store.compact_batch returns no record");
	descriptor = BlessTupleDesc(descriptor);
	account_check_unconfined();
	(void) argument_limit(fcinfo, 2, "max_conversations");

	values[BEHIND_CONVERSATION_ID] = batch.after[0];
	values[BEHIND_ACCOUNT_ID] = batch.after[1];
	values[BEFORE] =
		TimestampTzGetDatum(GetCurrentTimestamp() - store_compact_after * INT64CONST(1000) * 1000);
	values[LIMIT] = Int64GetDatum(PG_GETARG_INT32(2));

	SPI_connect();
	marks = only_stale || marks_hold(wanted_name());
	if (!marks)
		plan_execute(&compaction_clear_statement, NULL, NULL, false); /* until all are looked at */
	prepare_found(&batch, plan_execute(only_stale ? &compact_stale_statement
									   : marks    ? &compact_fresh_statement
												  : &compact_resting_statement,
									   values, NULL, false));
	if (batch.found)
	{
		MemoryContext old = MemoryContextSwitchTo(result_context);

		result[LAST_CONVERSATION_ID] = datumCopy(batch.last[0], false, UUID_LEN);
		result[LAST_ACCOUNT_ID] = datumCopy(batch.last[1], false, -1);
		nulls[LAST_CONVERSATION_ID] = nulls[LAST_ACCOUNT_ID] = false;
		MemoryContextSwitchTo(old);
	}

	solved = batch.nplans > 0 && problems_exist();
	qsort(batch.plans, batch.nplans, sizeof(CompactPlan), compare_accounts);
	lock_subscriptions(&batch);
	for (uint64 i = 0; i < batch.nplans; i++)
	{
		CHECK_FOR_INTERRUPTS();
		replaced += apply(&batch.plans[i], only_stale, solved);
	}
	if (!marks)
		unmark_rest(&batch);
	SPI_finish();
	result[SEGMENTS] = Int64GetDatum(replaced);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, result, nulls)));
}
