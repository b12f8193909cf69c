/*
 * branch.c
 *		Reading a conversation along its current branch, newest message first.
 *
 * A conversation is a tree; its branch runs from head_seq over each message's
 * parent to a root.  Without branches that is every message in order of seq,
 * so that a reader can begin anywhere; with branches it must follow the
 * parents, yet jumps straight to the segment that holds the next one.
 *
 * A reader owns two contexts below the one it was opened in: its own, and one
 * for the block (tail or segment) at hand.  Reading takes no lock; all
 * statements run under the caller's snapshot.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "sql_text.h"
#include "statement.h"
#include "store_private.h"

struct BranchReader
{
	pg_uuid_t id;
	text *account_id;
	bool linear;
	bool tail_read;
	uint32 tail_count;           /* as the conversation has it */
	int64 max_messages;          /* the caller wants no more */
	int64 want;                  /* the next message is the last one with seq <= want */
	StoreSegment first;          /* read with the conversation, in the reader's context */
	bool has_first;              /* it has not been used yet */
	TranscriptMessage *messages; /* the block, in order of seq */
	uint32 count;
	MemoryContext block_context;
};

/* the conversation, and the segment that a reader begins with */
/* clang-format off */
static PlanStatement branch_open_statement = {
	"SELECT c.next_seq, c.head_seq, c.branched"
	" AND c.message_count" OP(>) "0, c.tail_count, c.deleted_at, s.first_seq,"
	" s.last_seq, s.body, s.revision"
	" FROM memory_store.conversations c"
	" LEFT JOIN LATERAL (SELECT t.first_seq, t.last_seq, t.body, t.revision"
	" FROM memory_store.segments t"
	" WHERE t.conversation_id" OP(=) "$1 AND t.account_id" OP(=) "$2"
	" AND t.first_seq" OP(<) "CASE WHEN c.branched THEN c.head_seq" OP(+) "1"
	" ELSE LEAST(c.head_seq" OP(+) "1, $3) END"
	" ORDER BY t.first_seq DESC LIMIT 1) s ON true"
	" WHERE c.conversation_id" OP(=) "$1 AND c.account_id" OP(=) "$2",
	3,
	{UUIDOID, TEXTOID, INT8OID},
};
/* clang-format on */

/* branch_open_statement, with fast_branch_start's result. */
static void
start_by_statement(const pg_uuid_t *id, text *account_id, int64 before_seq, StoreBranchStart *start)
{
	Datum values[3] = {UUIDPGetDatum(id), PointerGetDatum(account_id), Int64GetDatum(before_seq)};
	Datum body;
	bool isnull;

	memset(start, 0, sizeof(*start));
	if (plan_execute(&branch_open_statement, values, NULL, true) == 0)
		return;
	(void) plan_column(0, 5, &isnull);
	start->found = isnull;
	start->next_seq = DatumGetInt64(plan_column(0, 1, &isnull));
	start->head_seq = DatumGetInt64(plan_column(0, 2, &isnull));
	start->branched = DatumGetBool(plan_column(0, 3, &isnull));
	start->tail_count = DatumGetInt32(plan_column(0, 4, &isnull));
	body = plan_column(0, 8, &isnull);
	start->has_segment = !isnull;
	if (isnull)
		return;
	start->segment.first_seq = DatumGetInt64(plan_column(0, 6, &isnull));
	start->segment.last_seq = DatumGetInt64(plan_column(0, 7, &isnull));
	start->segment.revision = DatumGetInt64(plan_column(0, 9, &isnull));
	start->segment.body = datumCopy(body, false, -1);
}

/*
 * branch_open
 *		A reader at the head of the branch, in the current memory context.
 *		before_seq: it begins with messages before that, if the conversation is
 *		linear.  max_messages: it is asked for no more.  Needs an SPI
 *		connection.  NULL: there is no such conversation, or it is deleted.
 */
BranchReader *
branch_open(const pg_uuid_t *id, text *account_id, int64 before_seq, int64 max_messages)
{
	BranchReader *reader = palloc0(sizeof(BranchReader));
	StoreBranchStart start;

	if (!fast_branch_start(id, account_id, before_seq, &start))
		start_by_statement(id, account_id, before_seq, &start);
	if (!start.found)
		return NULL;

	reader->id = *id;
	reader->account_id = account_id;
	reader->max_messages = max_messages;
	reader->want = Min(start.head_seq, start.next_seq - 1);
	reader->linear = !start.branched;
	reader->tail_read = start.tail_count == 0;
	reader->tail_count = start.tail_count;
	if (reader->linear)
		reader->want = Min(reader->want, before_seq - 1);
	reader->first = start.segment;
	reader->has_first = start.has_segment;
	reader->block_context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext block", ALLOCSET_DEFAULT_SIZES);
	return reader;
}

bool
branch_is_linear(BranchReader *reader)
{
	return reader->linear;
}

/* clang-format off */
static PlanStatement tail_newest_statement = {
	"SELECT " STORE_TAIL_MESSAGE
	" FROM memory_store.tail"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2 AND seq" OP(<) "$3"
	" ORDER BY seq DESC LIMIT $4",
	4,
	{UUIDOID, TEXTOID, INT8OID, INT8OID},
};
/* clang-format on */

static void
load_tail(BranchReader *reader)
{
	/* with branches, not each of them is on the way */
	int64 limit = reader->linear ? reader->max_messages : PG_INT64_MAX;
	Datum values[4];
	uint64 rows;

	if (fast_tail_before(&reader->id, reader->account_id, reader->want + 1, limit,
						 Min(limit, reader->tail_count), &reader->messages, &reader->count))
		return;
	values[0] = UUIDPGetDatum(&reader->id);
	values[1] = PointerGetDatum(reader->account_id);
	values[2] = Int64GetDatum(reader->want + 1);
	values[3] = Int64GetDatum(limit);
	rows = plan_execute(&tail_newest_statement, values, NULL, true);
	reader->messages = palloc(mul_size(Max(rows, 1), sizeof(TranscriptMessage)));
	reader->count = rows;
	for (uint64 i = 0; i < rows; i++)
		store_tail_row(i, &reader->messages[rows - 1 - i]);
}

/* The segment that holds the wanted message, or the one before; false when there is none. */
static bool
find_segment(BranchReader *reader, StoreSegment *segment)
{
	if (reader->has_first && reader->first.first_seq <= reader->want)
	{
		/* no later one begins before what is wanted now, nor did one before it */
		*segment = reader->first;
		reader->has_first = false;
		return true;
	}
	return store_segment_before(&reader->id, reader->account_id, reader->want + 1, true, segment);
}

/* The block that holds the wanted message; false when there is none. */
static bool
load_block(BranchReader *reader)
{
	MemoryContext old = MemoryContextSwitchTo(reader->block_context);
	StoreSegment segment;
	bool loaded = true;

	MemoryContextReset(reader->block_context);
	reader->count = 0;
	if (!reader->tail_read)
	{
		load_tail(reader);
		reader->tail_read = true;
	}
	else if (find_segment(reader, &segment))
	{
		Transcript *transcript = store_open_segment(&segment);

		reader->messages = transcript->messages;
		reader->count = transcript->count;
	}
	else
		loaded = false;
	MemoryContextSwitchTo(old);
	return loaded;
}

/*
 * branch_next
 *		The next older message of the branch, or NULL at its root.  It is valid
 *		until the next call or the next statement of the store.
 */
const TranscriptMessage *
branch_next(BranchReader *reader)
{
	while (reader->want > 0)
	{
		while (reader->count > 0 && reader->messages[reader->count - 1].seq > reader->want)
			reader->count--;
		if (reader->count > 0)
		{
			const TranscriptMessage *message = &reader->messages[--reader->count];

			reader->want = reader->linear ? message->seq - 1 : message->parent_seq;
			return message;
		}
		if (!load_block(reader))
			return NULL;
	}
	return NULL;
}
