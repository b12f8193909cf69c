/*
 * csv_cut.c
 *		Records of CSV out of bytes.
 *
 * A record ends with LF or CR LF outside of quotes; a quote inside of quotes is
 * doubled, so that every quote turns the state, as it does for COPY.
 */
#include "csv_cut.h"

#include <string.h>

#define MARK "\xef\xbb\xbf"
#define MARK_BYTES (sizeof(MARK) - 1)

bool
csv_cut(CsvCutter *cutter, const char *data, size_t length, bool end, CsvRecord *record)
{
	size_t at = cutter->scanned;
	size_t to;

	for (; at < length; at++)
	{
		if (data[at] == '"')
			cutter->quoted = !cutter->quoted;
		else if (data[at] == '\n')
		{
			cutter->lines++;
			if (!cutter->quoted)
				break;
		}
	}
	cutter->scanned = at;
	if (at == length && (!end || cutter->begin == length))
		return false;

	to = at > cutter->begin && data[at - 1] == '\r' ? at - 1 : at;
	record->data = data + cutter->begin;
	record->length = to - cutter->begin;
	record->offset = cutter->begin;
	record->line = cutter->line;
	cutter->begin = cutter->scanned = at < length ? at + 1 : at;
	cutter->line += cutter->lines;
	cutter->lines = 0;
	cutter->quoted = false;
	return true;
}

void
csv_skip_mark(CsvCutter *cutter, const char *data, size_t length)
{
	if (cutter->begin == 0 && length >= MARK_BYTES && memcmp(data, MARK, MARK_BYTES) == 0)
		cutter->begin = MARK_BYTES;
}
