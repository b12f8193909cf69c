/*
 * worker_private.h
 *		What the launcher and its workers share.
 */
#ifndef MEMORY_WORKER_PRIVATE_H
#define MEMORY_WORKER_PRIVATE_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* How many databases are looked after; those beyond are left to memory.maintain(). */
#define WORKER_MAX_DATABASES 1024

/* How a visit ended. */
typedef enum WorkerResult
{
	WORKER_UNKNOWN, /* it is going on, or the worker died before it could tell */
	WORKER_ABSENT,  /* the database does not have the extension */
	WORKER_DONE,
	WORKER_FAILED /* one phase at least; memory.maintenance shows which */
} WorkerResult;

/* A database that is looked after.  Everything in it is protected by the lock. */
typedef struct WorkerDatabase
{
	Oid database; /* InvalidOid: the slot is free */
	WorkerResult result;
	bool stop;    /* the worker is in somebody's way and has to end */
	bool visited; /* a visit has come to its end since the server started */
	TimestampTz last_start;
	TimestampTz next_start; /* DT_NOEND: not before somebody installs the extension */
	int failures;           /* visits in a row that died */
} WorkerDatabase;

/* ---- worker_shared.c ---- */

extern bool worker_enabled;
extern int worker_naptime_seconds;
extern int worker_max_workers;
extern int worker_delay_ms;
extern char *worker_databases;

/* Whether there is shared memory: memory_ext was preloaded. */
extern bool worker_is_preloaded(void);

/*
 * The database's slot, and with create a new one if it has none and one is
 * free; NULL: none.  The caller holds the lock, exclusively if it writes.
 */
extern WorkerDatabase *worker_find_database(Oid database, bool create);
extern WorkerDatabase *worker_nth_database(int n);
extern void worker_lock(bool exclusive);
extern void worker_unlock(void);

/* The launcher's process, which is told by its latch when a database is due at once. */
extern void worker_set_launcher(bool here);
extern void worker_wake_launcher(void);

/* ---- progress.c ---- */

/* Whether the worker of this database has been told to end; false in any other process. */
extern bool worker_must_stop(void);

/* This process is the worker of its database. */
extern void worker_begin_visit(void);

/* When this session's database is visited next; DT_NOEND: it is not. */
extern TimestampTz worker_next_run(void);

#endif /* MEMORY_WORKER_PRIVATE_H */
