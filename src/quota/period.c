/*
 * period.c
 *		Billing periods: anchor + k × unit in local time, half-open.
 *
 * Always counted from the anchor, never from the period before: 31 January + 1
 * month is 28 February, + 2 months is 31 March again.  Hours are hours of real
 * time; days and months are days and months of the time zone, so that a day of
 * the change to summer time has 23 hours.
 */
#include "postgres.h"

#include "common/int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "quota_private.h"

/* The wall clock's reading of a moment. */
static Timestamp
to_local(const char *time_zone, TimestampTz moment)
{
	return DatumGetTimestamp(DirectFunctionCall2(timestamptz_zone, CStringGetTextDatum(time_zone),
												 TimestampTzGetDatum(moment)));
}

/* The moment of a reading; one that summer time skips lies after the gap. */
static TimestampTz
to_moment(const char *time_zone, Timestamp local)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamp_zone, CStringGetTextDatum(time_zone),
												   TimestampGetDatum(local)));
}

/* Where period number k begins; an hour's never depends on the clock. */
static TimestampTz
boundary(QuotaPeriod period, TimestampTz anchor, Timestamp local_anchor, const char *time_zone,
		 int32 k)
{
	Interval span = {0};

	/* the anchor's own reading may occur twice, when summer time ends */
	if (k == 0)
		return anchor;
	if (period == QUOTA_DAY)
		span.day = k;
	else
		span.month = k;
	return to_moment(time_zone,
					 DatumGetTimestamp(DirectFunctionCall2(timestamp_pl_interval,
														   TimestampGetDatum(local_anchor),
														   IntervalPGetDatum(&span))));
}

static void
out_of_range(void)
{
	ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					errmsg("the period is out of the range of timestamps")));
}

static void
hour_bounds(TimestampTz anchor, TimestampTz moment, int64 distance, TimestampTz *start,
			TimestampTz *end)
{
	int64 into = distance % USECS_PER_HOUR;

	if (into < 0)
		into += USECS_PER_HOUR;
	*start = moment - into;
	*end = *start + USECS_PER_HOUR;
	if (!IS_VALID_TIMESTAMP(*start) || !IS_VALID_TIMESTAMP(*end))
		out_of_range();
}

void
quota_period_bounds(QuotaPeriod period, TimestampTz anchor, const char *time_zone,
					TimestampTz moment, TimestampTz *start, TimestampTz *end)
{
	Timestamp local_anchor = to_local(time_zone, anchor);
	int64 unit = period == QUOTA_DAY ? USECS_PER_DAY : 30 * USECS_PER_DAY + USECS_PER_DAY * 7 / 16;
	int64 distance;
	int32 k;

	if (pg_sub_s64_overflow(moment, anchor, &distance))
		out_of_range();
	if (period == QUOTA_HOUR)
	{
		hour_bounds(anchor, moment, distance, start, end);
		return;
	}

	/* near the period that holds the moment; 30 7/16 days are a mean month */
	k = (int32) (distance / unit);
	*start = boundary(period, anchor, local_anchor, time_zone, k);
	while (*start > moment)
	{
		CHECK_FOR_INTERRUPTS();
		*start = boundary(period, anchor, local_anchor, time_zone, --k);
	}
	*end = boundary(period, anchor, local_anchor, time_zone, k + 1);
	while (*end <= moment)
	{
		CHECK_FOR_INTERRUPTS();
		*start = *end;
		*end = boundary(period, anchor, local_anchor, time_zone, ++k + 1);
	}
}
