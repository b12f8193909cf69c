/*
 * worker_private.h
 *		What the launcher and its workers share.
 */
#ifndef MEMORY_WORKER_PRIVATE_H
#define MEMORY_WORKER_PRIVATE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/lwlock.h"

#include "memory_limits.h"

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

extern void worker_shared_init(void);
extern Size worker_shared_bytes(void);
extern void worker_shared_start(LWLock *lock);

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

/* ---- pokes.c: the accounts whose listeners are to be told ---- */

/* An account that was changed; in shared memory until its database's listeners are told. */
typedef struct PokeKey
{
	Oid database;
	char account_id[MEMORY_MAX_ACCOUNT_ID_BYTES + 1]; /* filled up with zeros */
} PokeKey;

typedef struct PokeAccount
{
	PokeKey key;
	int64 revision; /* 0: it was forgotten */
} PokeAccount;

extern int poke_delay_ms;

/* Called once each, by worker_shared.c: settings and hooks, space, and its initial state. */
extern void poke_init(void);
extern Size poke_shared_bytes(void);
extern void poke_start_shared_memory(LWLock *lock);

/* Whether commits mark the accounts that they have changed. */
extern bool poke_is_on(void);

/* Each account of this database, or (InvalidOid) of all known ones, may have changed. */
extern void poke_mark_all(Oid database);

/* For the launcher: drops what belongs to databases that are gone. */
extern void poke_forget_others(List *existing);

/*
 * For the launcher: a database of the list in which something is marked and that
 * no worker serves, with paused_too even if none may be started; InvalidOid: none.
 */
extern Oid poke_find_due(List *databases, bool paused_too);

/* For the launcher: no worker of the database is started again before the pause is over. */
extern void poke_pause(Oid database);

/* For the worker: it serves its database from now on, or does so no more. */
extern void poke_attach(void);
extern void poke_detach(bool unsent);

/* For the worker: whether something is marked. */
extern bool poke_is_due(void);

/*
 * For the worker: takes the marks of its database away, as an array in the
 * current memory context; -1: each account may have changed.
 */
extern int poke_take(PokeAccount **accounts);

/* ---- progress.c ---- */

/* Whether the worker of this database has been told to end; false in any other process. */
extern bool worker_must_stop(void);

/* This process is the worker of its database. */
extern void worker_begin_visit(void);

/* Whether no visit of this database has come to its end since the server started. */
extern bool worker_is_first_visit(void);

/* When this session's database is visited next; DT_NOEND: it is not. */
extern TimestampTz worker_next_run(void);

#endif /* MEMORY_WORKER_PRIVATE_H */
