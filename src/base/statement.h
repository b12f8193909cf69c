/*
 * statement.h
 *		Running prepared statements, for every room.
 */
#ifndef MEMORY_STATEMENT_H
#define MEMORY_STATEMENT_H

#include "postgres.h"

#include "executor/spi.h"

#define PLAN_MAX_ARGS 26

/*
 * A statement of a room, prepared at its first use in a backend.  Its
 * parameters are of built-in types, so that the plan outlives DROP EXTENSION
 * and CREATE EXTENSION.
 */
typedef struct PlanStatement
{
	const char *sql;
	int nargs;
	Oid argtypes[PLAN_MAX_ARGS];
	SPIPlanPtr plan; /* NULL: not prepared yet */
	bool latest;     /* reads what is committed now, whatever the transaction's snapshot */
	bool ordered;    /* a batch of a walk by key: planned without sorts and hash tables */
} PlanStatement;

/* How a plan is run: as the fields of a statement say. */
typedef struct PlanManner
{
	bool read_only;
	bool latest;
	bool ordered;
} PlanManner;

extern SPIPlanPtr plan_prepare(const char *sql, int nargs, Oid *argtypes);
extern uint64 plan_run(SPIPlanPtr plan, Datum *values, const char *nulls, PlanManner manner);
extern uint64
plan_execute(PlanStatement *statement, Datum *values, const char *nulls, bool read_only);

/* The type memory.transcript.  Error: 42704 the extension is not there. */
extern Oid statement_transcript_type(void);

/* A cursor on the statement, under the caller's snapshot; it lives to the transaction's end. */
extern Portal plan_open(PlanStatement *statement, Datum *values, const char *nulls);

#endif /* MEMORY_STATEMENT_H */
