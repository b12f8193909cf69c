/*
 * statement.h
 *		Running prepared statements, for every room.
 */
#ifndef MEMORY_STATEMENT_H
#define MEMORY_STATEMENT_H

#include "postgres.h"

#include "executor/spi.h"

#define PLAN_MAX_ARGS 28

/* Parameters of the type memory.transcript, and of its array, whose OIDs each database has. */
#define STATEMENT_TRANSCRIPT ((Oid) 1)
#define STATEMENT_TRANSCRIPT_ARRAY ((Oid) 2)

/*
 * A statement of a room, prepared at its first use in a backend.  Its
 * parameters are of built-in types, so that the plan outlives DROP EXTENSION
 * and CREATE EXTENSION; one with a parameter of ours is prepared anew when that
 * type has another OID.
 */
typedef struct PlanStatement
{
	const char *sql;
	int nargs;
	Oid argtypes[PLAN_MAX_ARGS];
	SPIPlanPtr plan; /* NULL: not prepared yet */
	Oid transcript;  /* the type that the plan was made for, if a parameter is of it */
	bool latest;     /* reads what is committed now, whatever the transaction's snapshot */
	bool ordered;    /* a batch of a walk by key: planned without sorts and hash tables */
} PlanStatement;

/*
 * Runs the statement inside SPI, prepared when it is new to the backend; nulls
 * as SPI takes them, or NULL.  Returns SPI_processed; rows are in SPI_tuptable
 * until the next call.
 */
extern uint64
plan_execute(PlanStatement *statement, Datum *values, const char *nulls, bool read_only);

/* A column, counted from 1, of a row of SPI_tuptable. */
extern Datum plan_column(uint64 row, int column, bool *isnull);

/* The same of a text column as a C string, palloc'd; NULL for NULL. */
extern char *plan_string(uint64 row, int column);

/* The same of a bigint column that is never NULL. */
extern int64 plan_int64(uint64 row, int column);

/* The type memory.transcript.  Error: 42704 the extension is not there. */
extern Oid statement_transcript_type(void);

/* A cursor on the statement, under the caller's snapshot; it lives to the transaction's end. */
extern Portal plan_open(PlanStatement *statement, Datum *values, const char *nulls);

#endif /* MEMORY_STATEMENT_H */
