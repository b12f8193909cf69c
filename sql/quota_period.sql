-- Billing periods: anchor + k units of local time, half-open, contiguous.
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA quota_period_test;
SET search_path = quota_period_test, public;

-- The starts of n periods from the one that holds a moment on, in local time.
CREATE FUNCTION starts(period text, anchor timestamptz, zone text, moment timestamptz, n integer) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	b record;
	list text[];
BEGIN
	FOR i IN 1 .. n LOOP
		b := memory.period_bounds(period, anchor, zone, moment);
		list := list || to_char(b.period_start AT TIME ZONE zone, 'YYYY-MM-DD HH24:MI:SS');
		moment := b.period_end;
	END LOOP;
	RETURN array_to_string(list, E'\n');
END $$;

--
-- Month ends: always counted from the anchor, so that a short month does not
-- shorten the next one
--
SELECT starts('month', '2023-01-31 10:00+00', 'UTC', '2023-01-31 10:00+00', 15);
SELECT starts('month', '2024-01-30 10:00+00', 'UTC', '2024-01-30 10:00+00', 4);
SELECT starts('month', '2024-01-29 10:00+00', 'UTC', '2024-01-29 10:00+00', 3);
SELECT starts('month', '2023-01-29 10:00+00', 'UTC', '2023-01-29 10:00+00', 3);
SELECT starts('month', '2024-02-29 23:59:59.5+00', 'UTC', '2025-01-31 00:00+00', 4);
SELECT starts('month', '2024-02-29 10:00+00', 'UTC', '2028-02-01 00:00+00', 3);
-- before the anchor
SELECT starts('month', '2024-03-31 10:00+00', 'UTC', '2023-12-31 09:00+00', 5);
SELECT starts('day', '2024-03-31 10:00+00', 'UTC', '2024-03-29 09:00+00', 3);
SELECT starts('hour', '2024-03-31 10:30+00', 'UTC', '2024-03-31 08:00+00', 3);
-- the time zone's day, not UTC's: the anchor is the 1st in Kathmandu (+05:45), the 31st in UTC
SELECT starts('month', '2024-01-31 20:00+00', 'Asia/Kathmandu', '2024-01-31 20:00+00', 3);
SELECT starts('month', '2024-01-31 20:00+00', 'UTC', '2024-01-31 20:00+00', 3);

--
-- Changes of the clock: what a moment's day is, its start and length
--
SELECT concat_ws(' | ', zone, b.period_start AT TIME ZONE zone, b.period_start, b.period_end - b.period_start)
FROM (VALUES
	-- 31 March 2024 at 02:00 and 27 October 2024 at 03:00
	('Europe/Berlin', timestamptz '2024-01-31 00:00+01', timestamptz '2024-03-31 12:00+02'),
	('Europe/Berlin', '2024-01-31 00:00+01', '2024-10-27 12:00+01'),
	-- the anchor's reading is skipped: the day begins when the clock has been put on
	('Europe/Berlin', '2024-01-31 02:30+01', '2024-03-31 12:00+02'),
	('Europe/Berlin', '2024-01-31 02:30+01', '2024-03-31 03:29+02'),
	-- the anchor's reading comes twice: the second is taken, as by PostgreSQL
	('Europe/Berlin', '2024-01-31 02:30+01', '2024-10-27 02:40+02'),
	('Europe/Berlin', '2024-01-31 02:30+01', '2024-10-27 02:40+01'),
	-- the anchor itself is one of the two
	('Europe/Berlin', '2024-10-27 02:30+02', '2024-10-27 02:30+02'),
	('Europe/Berlin', '2024-10-27 02:30+02', '2024-10-27 02:29:59+02'),
	('Europe/Berlin', '2024-10-27 02:30+01', '2024-10-27 02:30+01'),
	('Europe/Berlin', '2024-10-27 02:30+01', '2024-10-27 02:29:59+01'),
	('America/New_York', '2024-01-01 00:00-05', '2024-03-10 12:00-04'),
	('America/New_York', '2024-01-01 00:00-05', '2024-11-03 12:00-05'),
	('America/New_York', '2024-01-01 02:15-05', '2024-03-10 12:00-04'),
	('Asia/Kathmandu', '2024-01-01 00:00+05:45', '2024-03-10 12:00+05:45'),
	-- midnight is skipped
	('America/Santiago', '2024-01-01 00:00-03', '2024-09-08 12:00-03'),
	('America/Santiago', '2024-01-01 00:00-03', '2024-09-07 12:00-04'),
	('Africa/Cairo', '2024-01-01 00:00+02', '2024-04-26 12:00+03'),
	-- the hour before midnight comes twice
	('America/Santiago', '2024-01-01 23:30-03', '2024-04-06 23:45-03'),
	('America/Santiago', '2024-01-01 23:30-03', '2024-04-06 23:45-04'),
	('Africa/Cairo', '2024-01-01 00:00+02', '2024-10-31 12:00+03'),
	-- a whole day is skipped
	('Pacific/Apia', '2011-01-01 10:00-11', '2011-12-30 09:00-10'),
	('Pacific/Apia', '2011-01-01 10:00-11', '2011-12-31 10:00+14')
) v (zone, anchor, moment), memory.period_bounds('day', anchor, zone, moment) b;
-- an hour is an hour
SELECT concat_ws(' | ', b.period_start AT TIME ZONE zone, b.period_end - b.period_start)
FROM (VALUES ('Europe/Berlin', timestamptz '2024-01-31 00:20+01', timestamptz '2024-03-31 01:10+00'),
	('Europe/Berlin', '2024-01-31 00:20+01', '2024-10-27 00:10+00'), ('Europe/Berlin', '2024-01-31 00:20+01', '2024-10-27 01:10+00'),
	('Asia/Kathmandu', '2024-01-31 00:00+05:45', '2024-03-31 01:10+00')
) v (zone, anchor, moment), memory.period_bounds('hour', anchor, zone, moment) b;

--
-- Over 500 periods of each kind, anchor and zone: each holds its moment, and
-- ends where the next begins; so do those before the anchor
--
CREATE FUNCTION problems(period text, anchor timestamptz, zone text, first timestamptz) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
	moment timestamptz := first;
	b record;
	last_end timestamptz := NULL;
	inside record;
BEGIN
	FOR i IN 1 .. 500 LOOP
		b := memory.period_bounds(period, anchor, zone, moment);
		IF NOT (b.period_start <= moment AND moment < b.period_end) THEN
			RETURN NEXT format('%s of %s in %s: %s is not in %s', period, anchor, zone, moment, b);
		END IF;
		IF b.period_start <> last_end THEN
			RETURN NEXT format('%s of %s in %s: %s does not begin at %s', period, anchor, zone, b, last_end);
		END IF;
		-- any moment inside has the same bounds
		FOR inside IN SELECT memory.period_bounds(period, anchor, zone, m) AS b, m FROM unnest(ARRAY[b.period_start,
				b.period_start + (b.period_end - b.period_start) / 2, b.period_end - interval '1 microsecond']) m LOOP
			IF inside.b IS DISTINCT FROM b THEN
				RETURN NEXT format('%s of %s in %s: %s is in %s, not %s', period, anchor, zone, inside.m, inside.b, b);
			END IF;
		END LOOP;
		last_end := b.period_end;
		moment := b.period_end;
	END LOOP;
END $$;
SELECT count(*) AS combinations, string_agg(problem, E'\n')
FROM unnest('{hour,day,month}'::text[]) period,
	unnest('{2024-01-29 00:00+00,2024-01-30 12:34:56.789+00,2024-01-31 23:30+00,2024-02-29 04:00+00,2024-10-27 00:30+00,2024-10-27 01:30+00,2023-09-03 04:00+00}'::timestamptz[]) anchor,
	unnest('{Europe/Berlin,America/New_York,Asia/Kathmandu,America/Santiago,Africa/Cairo,Australia/Lord_Howe,UTC}'::text[]) zone,
	LATERAL (SELECT CASE period WHEN 'hour' THEN '2024-10-20 00:00+00' WHEN 'day' THEN '2023-06-01 00:00+00' ELSE '1990-01-01 00:00+00' END::timestamptz) f (first)
	LEFT JOIN LATERAL problems(period, anchor, zone, first) problem ON true;
-- the anchor is always a boundary
SELECT count(*) FILTER (WHERE b.period_start <> anchor) AS not_at_the_anchor
FROM unnest('{hour,day,month}'::text[]) period, unnest('{2024-10-27 00:30+00,2024-10-27 01:30+00,2024-03-31 01:00+00}'::timestamptz[]) anchor,
	unnest('{Europe/Berlin,America/New_York,America/Santiago}'::text[]) zone, memory.period_bounds(period, anchor, zone, anchor) b;

-- far away, at once
SELECT memory.period_bounds('hour', '0001-01-01 00:30+00', 'UTC', '200000-01-01 00:00+00');
SELECT memory.period_bounds('day', '0001-01-01 00:30+00', 'UTC', '200000-01-01 00:00+00');
SELECT memory.period_bounds('month', '0001-01-31 00:30+00', 'UTC', '200000-01-01 00:00+00');
\set VERBOSITY sqlstate
SELECT memory.period_bounds('hour', '4713-01-01 00:00+00 BC', 'UTC', '294276-12-31 23:59+00');
SELECT memory.period_bounds('month', '4713-01-01 00:00+00 BC', 'UTC', '294276-12-31 23:59+00');
\set VERBOSITY default
SELECT memory.period_bounds('week', now(), 'UTC', now());
SELECT memory.period_bounds('current', now(), 'UTC', now());
SELECT memory.period_bounds('day', now(), 'Mars/Olympus', now());
SELECT memory.period_bounds('day', 'infinity', 'UTC', now());
SELECT memory.period_bounds('day', now(), 'UTC', '-infinity');
SELECT memory.period_bounds('day', NULL, 'UTC', now()) IS NULL;

SET client_min_messages = warning;
DROP SCHEMA quota_period_test CASCADE;
