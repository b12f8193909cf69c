/*
 * row_sort.h
 *		A statement's rows, sorted by account, conversation, seq and place.
 */
#ifndef RELATION_ROW_SORT_H
#define RELATION_ROW_SORT_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/uuid.h"

/* The columns that every row begins with, and is sorted by. */
typedef enum RowSortColumn
{
	ROW_ACCOUNT,
	ROW_CONVERSATION,
	ROW_SEQ,     /* null: to be assigned; behind the others */
	ROW_ORDINAL, /* the row's place in the statement */
	ROW_SORT_COLUMNS
} RowSortColumn;

/* Rows of one conversation that follow each other, once taken. */
typedef struct RowRun
{
	char *rows; /* minimal tuples, each begins aligned */
	Size size;
	Size next; /* where the row begins that is given out next */
} RowRun;

typedef struct RowSort RowSort;

extern RowSort *row_sort_begin(TupleDesc row, bool bundled);
extern void row_sort_put(RowSort *sort, const Datum *values, const bool *nulls);
extern bool row_sort_next(RowSort *sort, TupleTableSlot **slot);
extern void row_sort_end(RowSort *sort);

/* The same rows, run by run. */
extern bool row_sort_peek(RowSort *sort, text **account_id, pg_uuid_t *id);
extern void row_sort_take(RowSort *sort, RowRun *run);
extern bool row_sort_next_of(RowSort *sort, RowRun *run, TupleTableSlot **slot);

#endif /* RELATION_ROW_SORT_H */
