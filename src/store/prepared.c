/*
 * prepared.c
 *		What a conversation that is prepared before any lock (bulk.c) gathers in
 *		memory: segments in the place of their rows, and usage in the place of a
 *		metering batch.
 */
#include "postgres.h"

#include "utils/datum.h"
#include "utils/memutils.h"

#include "statement.h"
#include "store_private.h"
#include "tables.h"

/* Makes space for one more element of an array. */
static void *
make_space(PreparedConversation *prepared, void *array, uint32 count, uint32 *capacity, Size size)
{
	if (count < *capacity)
		return array;
	*capacity = *capacity == 0 ? 16 : *capacity * 2;
	return array == NULL ? MemoryContextAlloc(prepared->context, mul_size(*capacity, size))
						 : repalloc_huge(array, mul_size(*capacity, size));
}

/* In the place of a segment's row: the parameters of segment_insert_statement; they are copied. */
void
store_prepared_segment(PreparedConversation *prepared, const Datum *values, const char *nulls)
{
	PreparedSegment *segment;
	MemoryContext old;

	prepared->segments = make_space(prepared, prepared->segments, prepared->nsegments,
									&prepared->segment_capacity, sizeof(PreparedSegment));
	segment = &prepared->segments[prepared->nsegments++];
	segment->first_seq = DatumGetInt64(values[SEGMENT_FIRST_SEQ]);
	segment->last_seq = DatumGetInt64(values[SEGMENT_LAST_SEQ]);
	segment->has_ids = nulls[SEGMENT_MESSAGE_IDS] != 'n';
	old = MemoryContextSwitchTo(prepared->context);
	segment->body = datumCopy(values[SEGMENT_BODY], false, -1);
	segment->message_ids =
		segment->has_ids ? datumCopy(values[SEGMENT_MESSAGE_IDS], false, -1) : (Datum) 0;
	MemoryContextSwitchTo(old);
}

/* In the place of a metering batch. */
void
store_prepared_usage(PreparedConversation *prepared, const MeteringMessage *message,
					 MeteringKind kind)
{
	prepared->usage = make_space(prepared, prepared->usage, prepared->nusage,
								 &prepared->usage_capacity, sizeof(PreparedUsage));
	prepared->usage[prepared->nusage].message = *message;
	prepared->usage[prepared->nusage++].kind = kind;
}
