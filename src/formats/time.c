/*
 * time.c
 *		Times as documents write them: ISO 8601 (as RFC 3339 profiles it) and
 *		seconds since 1970.
 *
 * PostgreSQL's own input function depends on DateStyle and TimeZone and knows
 * words such as "now"; a document means the same everywhere.  A time without a
 * zone is UTC.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "formats.h"

/* Reads min to max digits; false when there are others. */
static bool
take_number(const char **p, const char *end, int min, int max, int *number)
{
	int digits = 0;

	*number = 0;
	while (*p < end && **p >= '0' && **p <= '9' && digits < max)
	{
		*number = *number * 10 + (*(*p)++ - '0');
		digits++;
	}
	return digits >= min && (*p == end || **p < '0' || **p > '9');
}

static bool
take_char(const char **p, const char *end, char c)
{
	if (*p == end || **p != c)
		return false;
	(*p)++;
	return true;
}

/* Digits behind the second's point, as microseconds, rounded. */
static bool
take_fraction(const char **p, const char *end, int *microseconds)
{
	int scale = 100000;
	const char *begin = *p;

	*microseconds = 0;
	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++)
	{
		if (scale > 0)
			*microseconds += (**p - '0') * scale;
		else if (*p - begin == 6 && **p >= '5')
			(*microseconds)++;
		scale /= 10;
	}
	return *p > begin;
}

/* Z, +hh, +hhmm, +hh:mm, or +hh:mm:ss as PostgreSQL writes old ones; nothing is UTC. */
static bool
take_zone(const char **p, const char *end, int *seconds_east)
{
	int sign;
	int hours;
	int minutes = 0;
	int seconds = 0;

	*seconds_east = 0;
	if (*p == end || take_char(p, end, 'Z') || take_char(p, end, 'z'))
		return true;
	if (take_char(p, end, '+'))
		sign = 1;
	else if (take_char(p, end, '-'))
		sign = -1;
	else
		return false;

	if (end - *p == 4 && memchr(*p, ':', 4) == NULL)
	{
		if (!take_number(p, end, 4, 4, &hours))
			return false;
		minutes = hours % 100;
		hours /= 100;
	}
	else if (!take_number(p, end, 2, 2, &hours) ||
			 (take_char(p, end, ':') && !take_number(p, end, 2, 2, &minutes)) ||
			 (take_char(p, end, ':') && !take_number(p, end, 2, 2, &seconds)))
		return false;
	if (hours > 15 || minutes > 59 || seconds > 59)
		return false;
	*seconds_east = sign * (hours * 3600 + minutes * 60 + seconds);
	return true;
}

static bool
take_clock(const char **p, const char *end, struct pg_tm *tm, fsec_t *fsec)
{
	if (!take_number(p, end, 2, 2, &tm->tm_hour) || !take_char(p, end, ':') ||
		!take_number(p, end, 2, 2, &tm->tm_min))
		return false;
	if (take_char(p, end, ':'))
	{
		if (!take_number(p, end, 2, 2, &tm->tm_sec))
			return false;
		if ((take_char(p, end, '.') || take_char(p, end, ',')) && !take_fraction(p, end, fsec))
			return false;
	}
	/* 60 is a leap second, which becomes the next one */
	return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

/*
 * transfer_parse_time
 *		Reads a date, or a date and a time of day; false when it is none, or out
 *		of PostgreSQL's range.  A year may have more than four digits, and " BC"
 *		may follow, as PostgreSQL writes them.
 */
bool
transfer_parse_time(const char *data, uint32 length, TimestampTz *time)
{
	const char *p = data;
	const char *end = data + length;
	struct pg_tm tm = {0};
	fsec_t fsec = 0;
	int zone = 0;
	bool before_christ = length > 3 && memcmp(end - 3, " BC", 3) == 0;

	if (before_christ)
		end -= 3;
	if (!take_number(&p, end, 4, 6, &tm.tm_year) || !take_char(&p, end, '-') ||
		!take_number(&p, end, 2, 2, &tm.tm_mon) || !take_char(&p, end, '-') ||
		!take_number(&p, end, 2, 2, &tm.tm_mday))
		return false;
	if (take_char(&p, end, 'T') || take_char(&p, end, 't') || take_char(&p, end, ' '))
	{
		if (!take_clock(&p, end, &tm, &fsec))
			return false;
		(void) take_char(&p, end, ' ');
		if (!take_zone(&p, end, &zone))
			return false;
	}
	if (p != end || tm.tm_year == 0)
		return false;
	if (before_christ)
		tm.tm_year = 1 - tm.tm_year;
	if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
		tm.tm_mday > day_tab[isleap(tm.tm_year)][tm.tm_mon - 1])
		return false;
	zone = -zone; /* PostgreSQL counts seconds west */
	return tm2timestamp(&tm, fsec, &zone, time) == 0;
}

/* Seconds since 1970, with a fraction; false when out of range. */
bool
transfer_epoch_time(double seconds, TimestampTz *time)
{
	double since_2000;

	if (isnan(seconds) || isinf(seconds))
		return false;
	since_2000 =
		rint((seconds - (double) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY) *
			 USECS_PER_SEC);
	if (since_2000 < (double) MIN_TIMESTAMP || since_2000 >= (double) END_TIMESTAMP)
		return false;
	*time = (TimestampTz) since_2000;
	return IS_VALID_TIMESTAMP(*time);
}

/* ISO 8601 in UTC; palloc'd.  The time is finite. */
char *
transfer_time_string(TimestampTz time)
{
	char buffer[MAXDATELEN + 1];
	struct pg_tm tm;
	fsec_t fsec;

	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	tm.tm_isdst = 0; /* negative would leave the offset out */
	EncodeDateTime(&tm, fsec, true, 0, NULL, USE_XSD_DATES, buffer);
	return pstrdup(buffer);
}
