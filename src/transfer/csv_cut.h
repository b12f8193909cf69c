/*
 * csv_cut.h
 *		Records of CSV out of bytes.
 *
 * Pure C: no PostgreSQL header, no allocation, no global state, so that a
 * fuzzer can drive it.
 */
#ifndef TRANSFER_CSV_CUT_H
#define TRANSFER_CSV_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where the records of a buffer that grows are: it is set to zero, and line to
 * that of the buffer's beginning.
 */
typedef struct CsvCutter
{
	size_t begin;   /* of the record at hand */
	size_t scanned; /* how far it has been looked at */
	bool quoted;    /* there: inside quotes */
	uint64_t line;  /* that it begins in, from 1 */
	uint64_t lines; /* that have ended in it so far */
} CsvCutter;

typedef struct CsvRecord
{
	const char *data; /* in the buffer, without the line's end */
	size_t length;    /* 0: an empty line, which is no record */
	size_t offset;    /* in the buffer */
	uint64_t line;
} CsvRecord;

/* The next record; false: its end is not in the buffer.  end: nothing comes behind the buffer. */
extern bool
csv_cut(CsvCutter *cutter, const char *data, size_t length, bool end, CsvRecord *record);

/*
 * Passes over a byte order mark at an input's beginning, which the buffer is
 * at; may be called again when it has grown.
 */
extern void csv_skip_mark(CsvCutter *cutter, const char *data, size_t length);

#endif /* TRANSFER_CSV_CUT_H */
