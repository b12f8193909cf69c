/*
 * worker.h
 *		What runs by itself when memory_ext is in shared_preload_libraries: a
 *		launcher that visits the databases, as autovacuum's does, and a
 *		short-lived worker in each that has the extension.
 *
 * Files, upper ones call lower ones:
 *
 *	launcher.c			which database is visited next, and whom a worker stands in the way of
 *	database_worker.c	one visit: the phases of maintenance, each by its procedure
 *	progress.c			what memory.maintenance shows, and the pauses between batches
 *	poke_worker.c		notifies channel memory_changes of the accounts that have changed
 *	pokes.c				these accounts, in shared memory
 *	worker_shared.c		the databases in shared memory; settings
 */
#ifndef MEMORY_WORKER_H
#define MEMORY_WORKER_H

/* Defines the settings and, while the server starts, asks for shared memory and the launcher. */
extern void worker_init(void);

/* When this transaction commits, this database is to be visited: it has got the extension. */
extern void worker_note_installation(void);

#endif /* MEMORY_WORKER_H */
