/*
 * order.c
 *		Putting messages that name their parents in order.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"

#include "order.h"

bool
order_parents_first(int32 count, const int32 *parents, int32 *order, int32 *cycle)
{
	enum
	{
		NOT_SEEN,
		ON_THE_WAY,
		PLACED
	};
	char *states = palloc0(Max(count, 1));
	int32 *chain = palloc(mul_size(Max(count, 1), sizeof(int32)));
	int32 placed = 0;

	for (int32 i = 0; i < count; i++)
	{
		int32 length = 0;
		int32 at = i;

		CHECK_FOR_INTERRUPTS();
		while (at >= 0 && states[at] == NOT_SEEN)
		{
			states[at] = ON_THE_WAY;
			chain[length++] = at;
			at = parents[at];
		}
		if (at >= 0 && states[at] == ON_THE_WAY)
		{
			*cycle = at;
			return false;
		}
		while (length > 0)
		{
			at = chain[--length];
			states[at] = PLACED;
			order[placed++] = at;
		}
	}
	pfree(chain);
	pfree(states);
	return true;
}

typedef struct TimedMessage
{
	TimestampTz time; /* not before its parent's */
	int32 position;   /* by order_parents_first */
	int32 index;
} TimedMessage;

static int
compare_timed(const void *a, const void *b)
{
	const TimedMessage *left = a;
	const TimedMessage *right = b;

	if (left->time != right->time)
		return left->time < right->time ? -1 : 1;
	return left->position < right->position ? -1 : left->position > right->position;
}

void
order_by_time(int32 count, const int32 *parents, TimestampTz *times, int32 *order)
{
	TimedMessage *timed = palloc(mul_size(Max(count, 1), sizeof(TimedMessage)));

	for (int32 i = 0; i < count; i++)
	{
		int32 index = order[i];
		TimestampTz parent = parents[index] >= 0 ? times[parents[index]] : DT_NOBEGIN;

		times[index] = Max(times[index], parent);
		timed[i].time = times[index];
		timed[i].position = i;
		timed[i].index = index;
	}
	qsort(timed, count, sizeof(TimedMessage), compare_timed);
	for (int32 i = 0; i < count; i++)
		order[i] = timed[i].index;
	pfree(timed);
}
