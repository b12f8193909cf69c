/*
 * order.h
 *		Putting messages that name their parents in order; used by the formats and
 *		by imports of messages that come one by one.
 *
 * parents are indexes into the same array, -1: none.  Everything is at most
 * n log n, and nothing recurses per message.
 */
#ifndef ORDER_H
#define ORDER_H

#include "postgres.h"

#include "utils/timestamp.h"

/*
 * Puts parents before their answers, and keeps the order otherwise.  False: a
 * message is its own ancestor; *cycle is one of the loop.
 */
extern bool order_parents_first(int32 count, const int32 *parents, int32 *order, int32 *cycle);

/*
 * Sorts what order_parents_first has put in order by time, as far as parents
 * still come first.  times: by message, DT_NOBEGIN: it has none; each becomes at
 * least its parent's.
 */
extern void order_by_time(int32 count, const int32 *parents, TimestampTz *times, int32 *order);

#endif /* ORDER_H */
