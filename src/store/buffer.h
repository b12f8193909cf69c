/*
 * buffer.h
 *		Rows of one statement on a view, gathered and sorted.
 */
#ifndef STORE_BUFFER_H
#define STORE_BUFFER_H

#include "postgres.h"

#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "utils/uuid.h"

#include "row_sort.h"
#include "store.h"

/* The columns that every buffered row begins with; it is sorted by the first of them. */
typedef enum BufferColumn
{
	BUFFER_ACCOUNT = ROW_ACCOUNT,
	BUFFER_CONVERSATION = ROW_CONVERSATION,
	BUFFER_SEQ = ROW_SEQ,         /* null: to be assigned */
	BUFFER_ORDINAL = ROW_ORDINAL, /* the row's place in the statement, from 1 */
	BUFFER_LINE,                  /* of COPY's input; null: not a COPY */
	BUFFER_CHANGED,               /* bit n: column n of the view was changed */
	BUFFER_PAYLOAD                /* the first column of the row's own */
} BufferColumn;

typedef struct StatementBuffer StatementBuffer;

/* A conversation that a statement has given numbers in; all of it is in the buffer's context. */
typedef struct BufferNumbering
{
	StoreKey key; /* hash key */
	bool counted; /* next_seq and leaf come from the store, and the next two */
	bool has_tail;
	bool has_segments;
	int64 next_seq;
	int64 leaf;
	StoreIds *ids; /* NULL: no row with a message_id was given a number */
} BufferNumbering;

/* Where an error at the statement's end belongs: COPY's line or the row's place. */
typedef struct BufferErrorContext
{
	ErrorContextCallback callback;
	const char *view;
	int64 ordinal;
	int64 line;
} BufferErrorContext;

extern void buffer_init(void);
extern TriggerData *buffer_trigger(FunctionCallInfo fcinfo, int ncolumns);
extern void buffer_push(TriggerData *trigger);
extern StatementBuffer *buffer_pop(TriggerData *trigger);
extern StatementBuffer *buffer_find(TriggerData *trigger);
extern void buffer_free(StatementBuffer *buffer);
extern void
buffer_put(StatementBuffer *buffer, TupleDesc (*describe)(void), Datum *values, bool *nulls);
extern bool buffer_next(StatementBuffer *buffer, TupleTableSlot **slot);
extern RowSort *buffer_sort(StatementBuffer *buffer);
extern MemoryContext buffer_context(StatementBuffer *buffer);
extern void **buffer_data(StatementBuffer *buffer);
extern int64 buffer_rows(StatementBuffer *buffer);
extern bool buffer_copying(void);
extern StoreAccount *buffer_lock_account(StatementBuffer *buffer, text *account_id, bool make);
extern void buffer_lock_subscriptions(StatementBuffer *buffer);
extern void buffer_save_subscriptions(StatementBuffer *buffer);
extern BufferNumbering *
buffer_numbering(StatementBuffer *buffer, const pg_uuid_t *id, text *account_id);
extern int32 buffer_changed_columns(TupleDesc descriptor, const Datum *old, const bool *old_nulls,
									const Datum *values, const bool *nulls);
extern void buffer_push_error_context(BufferErrorContext *where, const char *view);
extern void buffer_locate(BufferErrorContext *where, TupleTableSlot *slot);
extern void buffer_pop_error_context(BufferErrorContext *where);

/* ---- lookahead.c: the same rows, with the conversations that are there already ---- */
typedef struct StoreLookahead StoreLookahead;
extern StoreLookahead *lookahead_create(StatementBuffer *buffer, StoreQueue *queue);
extern bool lookahead_next(StoreLookahead *ahead, TupleTableSlot **row);
extern const StoreKnown *lookahead_known(const StoreLookahead *ahead);
extern void lookahead_end(StoreLookahead *ahead);

#endif /* STORE_BUFFER_H */
