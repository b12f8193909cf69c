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

#include "utils/memutils.h"

#include "store.h"

struct BranchReader
{
	pg_uuid_t id;
	text *account_id;
	bool linear;
	bool tail_read;
	int64 want;                  /* the next message is the last one with seq <= want */
	TranscriptMessage *messages; /* the block, in order of seq */
	uint32 count;
	MemoryContext block_context;
};

/*
 * branch_open
 *		A reader at the head of the branch, in the current memory context.
 *		Needs an SPI connection.  Error: 02000 unknown conversation, or deleted.
 */
BranchReader *
branch_open(const pg_uuid_t *id, text *account_id)
{
	BranchReader *reader = palloc0(sizeof(BranchReader));
	Datum values[2];
	bool isnull;
	int64 next_seq;

	values[0] = UUIDPGetDatum(id);
	values[1] = PointerGetDatum(account_id);
	if (store_execute(STORE_CONVERSATION_READ, values, NULL, true) == 0)
		store_unknown_conversation(id, account_id);
	(void) store_column(0, 11, &isnull);
	if (!isnull)
		store_unknown_conversation(id, account_id);

	reader->id = *id;
	reader->account_id = account_id;
	next_seq = DatumGetInt64(store_column(0, 1, &isnull));
	reader->want = Min(DatumGetInt64(store_column(0, 2, &isnull)), next_seq - 1);
	reader->linear = !DatumGetBool(store_column(0, 8, &isnull));
	reader->tail_read = DatumGetInt32(store_column(0, 7, &isnull)) == 0;
	reader->block_context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext block", ALLOCSET_DEFAULT_SIZES);
	return reader;
}

bool
branch_is_linear(BranchReader *reader)
{
	return reader->linear;
}

/* Goes on with messages before before_seq; the reader is new and linear. */
void
branch_skip_to(BranchReader *reader, int64 before_seq)
{
	Assert(reader->linear);
	reader->want = Min(reader->want, before_seq - 1);
}

static void
load_tail(BranchReader *reader)
{
	Datum values[3];
	uint64 rows;

	values[0] = UUIDPGetDatum(&reader->id);
	values[1] = PointerGetDatum(reader->account_id);
	values[2] = Int64GetDatum(reader->want + 1);
	rows = store_execute(STORE_TAIL_NEWEST, values, NULL, true);
	reader->messages = palloc(mul_size(Max(rows, 1), sizeof(TranscriptMessage)));
	reader->count = rows;
	for (uint64 i = 0; i < rows; i++)
		store_tail_row(i, &reader->messages[rows - 1 - i]);
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
	else if (store_segment_before(&reader->id, reader->account_id, reader->want + 1, true,
								  &segment))
	{
		Transcript *transcript = transcript_open(segment.body);

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
