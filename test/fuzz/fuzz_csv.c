/*
 * fuzz_csv.c
 *		libFuzzer's target for the records of CSV: src/transfer/csv_cut.c,
 *		without PostgreSQL.
 *
 * An input's first byte chooses the lengths of the pieces in which the rest is
 * given to the cutter.  However it is given, its records are those that
 * find_records, which knows nothing of pieces, finds in it; and so are the
 * records behind any of them, for who begins there.  Each piece makes a buffer
 * of its own with exactly the bytes so far, so the sanitizer sees the first
 * byte past its end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/csv_cut.h"

/* Longer inputs are not cut at every byte. */
#define MAX_CUT_ANYWHERE 128

#define require(condition)                                                                         \
	do                                                                                             \
	{                                                                                              \
		if (!(condition))                                                                          \
		{                                                                                          \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
			abort();                                                                               \
		}                                                                                          \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a record must be. */
typedef struct Expected
{
	size_t offset;
	size_t length;
	size_t next; /* where the next one begins */
	uint64_t line;
	bool ended; /* by a line's end, not by the input's */
} Expected;

typedef struct Input
{
	const char *text;
	size_t length;
	size_t mark; /* bytes of a byte order mark */
	Expected *records;
	size_t count;
} Input;

static void *
allocate(size_t size)
{
	void *result = malloc(size > 0 ? size : 1);

	require(result != NULL);
	return result;
}

/* ---------- what is right ---------- */

/* The first LF behind an even number of quotes, or the input's end. */
static size_t
find_end(const Input *input, size_t begin)
{
	size_t quotes = 0;
	size_t at;

	for (at = begin; at < input->length; at++)
	{
		if (input->text[at] == '\n' && quotes % 2 == 0)
			break;
		quotes += input->text[at] == '"';
	}
	return at;
}

static void
find_records(Input *input)
{
	uint64_t line = 1;
	size_t begin;
	size_t at;

	input->mark = input->length >= 3 && memcmp(input->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	input->records = allocate((input->length + 1) * sizeof(Expected));
	input->count = 0;
	for (begin = input->mark; begin < input->length;)
	{
		Expected *record = &input->records[input->count++];
		size_t end = find_end(input, begin);

		record->offset = begin;
		record->length = end - begin;
		if (end > begin && input->text[end - 1] == '\r')
			record->length--;
		record->ended = end < input->length;
		record->next = record->ended ? end + 1 : end;
		record->line = line;
		for (at = begin; at < record->next; at++)
			line += input->text[at] == '\n';
		begin = record->next;
	}
}

/* ---------- what the cutter says ---------- */

/*
 * A cutter somewhere in the input: its buffer's first byte is at from, and next
 * is the record that comes.
 */
typedef struct Cutting
{
	const Input *input;
	size_t from;
	size_t next;
	CsvCutter cutter;
} Cutting;

static Cutting
begin_cutting(const Input *input, size_t record)
{
	Cutting cutting = {.input = input, .next = record, .cutter.line = 1};

	if (record > 0)
	{
		cutting.from = input->records[record - 1].next;
		if (record < input->count)
			cutting.cutter.line = input->records[record].line;
	}
	return cutting;
}

/* Gives it the bytes before to, and takes what it finds. */
static void
cut_to(Cutting *cutting, size_t to, bool end)
{
	const Input *input = cutting->input;
	size_t length = to - cutting->from;
	char *buffer = allocate(length);
	CsvRecord record;

	memcpy(buffer, input->text + cutting->from, length);
	if (cutting->from == 0)
		csv_skip_mark(&cutting->cutter, buffer, length);
	while (csv_cut(&cutting->cutter, buffer, length, end, &record))
	{
		const Expected *expected = &input->records[cutting->next];

		require(cutting->next < input->count);
		require(expected->next <= to && (expected->ended || end));
		require(record.data == buffer + record.offset);
		require(cutting->from + record.offset == expected->offset);
		require(record.length == expected->length);
		require(record.line == expected->line);
		require(cutting->from + cutting->cutter.begin == expected->next);
		cutting->next++;
	}
	require(cutting->cutter.begin <= length && cutting->cutter.scanned == length);
	if (end)
		require(cutting->next == input->count);
	else if (cutting->next < input->count)
	{
		const Expected *expected = &input->records[cutting->next];

		require(expected->next > to || !expected->ended);
	}
	free(buffer);
}

/* ---------- pieces ---------- */

static size_t
piece_length(uint32_t *random)
{
	*random = *random * 1664525 + 1013904223;
	return 1 + (*random >> 24) % ((*random >> 8) % 61 + 1);
}

static void
cut_in_pieces(const Input *input, uint32_t random)
{
	Cutting cutting = begin_cutting(input, 0);
	size_t to = 0;

	while (to < input->length)
	{
		size_t piece = piece_length(&random);

		to = piece < input->length - to ? to + piece : input->length;
		cut_to(&cutting, to, false);
	}
	cut_to(&cutting, input->length, true);
}

/* In two pieces, each way that there is. */
static void
cut_anywhere(const Input *input)
{
	size_t to;

	for (to = 0; to <= input->length; to++)
	{
		Cutting cutting = begin_cutting(input, 0);

		cut_to(&cutting, to, false);
		cut_to(&cutting, input->length, true);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input input;
	size_t record;

	if (size < 1)
		return 0;
	input.text = (const char *) data + 1;
	input.length = size - 1;
	find_records(&input);
	cut_in_pieces(&input, data[0]);
	if (input.length <= MAX_CUT_ANYWHERE)
		cut_anywhere(&input);
	for (record = 0; record <= input.count; record += 1 + input.count / 16)
	{
		Cutting cutting = begin_cutting(&input, record);

		cut_to(&cutting, input.length, true);
	}
	free(input.records);
	return 0;
}
