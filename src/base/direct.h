/*
 * direct.h
 *		Rows by primary key without the executor, for every room.
 */
#ifndef MEMORY_DIRECT_H
#define MEMORY_DIRECT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/sdir.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "storage/itemptr.h"
#include "utils/rel.h"

#define DIRECT_MAX_KEYS 3

/* A table of memory_store as its room's SQL makes it. */
typedef struct DirectTable
{
	const char *name;
	int ncolumns;
	const char *const *columns;
	int nkeys;
	int keys[DIRECT_MAX_KEYS]; /* the primary key's columns, counted from 0 */
	Oid known;                 /* this table was found to have just these columns */
} DirectTable;

/* An open table; its row at hand is in the slot, all columns. */
typedef struct DirectRows
{
	Relation table;
	Relation index;
	Snapshot snapshot;  /* what is seen; NULL: the active one, at each direct_find */
	IndexScanDesc scan; /* NULL: none has begun */
	TupleTableSlot *slot;
	EState *state;          /* for all of the table's indexes; NULL: nothing was written yet */
	ResultRelInfo *indexes; /* likewise */
} DirectRows;

/*
 * Opens a table, whose lock is kept to the transaction's end.  false: it is
 * not as it was made, a statement is to do what is to be done; it is not open.
 */
extern bool direct_open(DirectRows *rows, DirectTable *table, LOCKMODE lock);
extern void direct_close(DirectRows *rows);

/*
 * Opens a table that is only read, under the given snapshot: triggers, rules
 * and checks on it do not matter then.  keys and nkeys: the columns, counted
 * from 0, that the index begins with; nkeys 0: the primary key.  Error: 55000
 * the table has other columns than the SQL gives it, or no such index.
 */
extern void direct_open_reading(DirectRows *rows, DirectTable *table, Snapshot snapshot,
								const int *keys, int nkeys);

/* Rows with these keys; direct_next fetches them one by one. */
extern void direct_find(DirectRows *rows, ScanKeyData *keys, int nkeys);
extern bool direct_next(DirectRows *rows, ScanDirection direction);

/* false: the transaction only reads, and a statement would say so. */
extern bool direct_may_write(void);

/*
 * Changes the row with this key as a statement would, under a snapshot of its
 * own: waits for another writer, then begins again with what he left.  change
 * gets the row's columns to change them in place, again each time, and may
 * refuse.  false: no such row, refused, or (where the transaction has one
 * snapshot) another writer was first.
 */
typedef bool (*DirectChange)(TupleTableSlot *row, void *arg);
extern bool
direct_change(DirectRows *rows, ScanKeyData *keys, int nkeys, DirectChange change, void *arg);
/* The same where the row was found before: looked for only if it is there no more. */
extern bool direct_change_at(DirectRows *rows, ItemPointer place, ScanKeyData *keys, int nkeys,
							 DirectChange change, void *arg);

/* A new row, to be filled and inserted, which frees it. */
extern TupleTableSlot *direct_new_row(const DirectRows *rows);
extern void direct_insert(DirectRows *rows, TupleTableSlot *row);
/* The same for n > 0 rows, which are many to a page and to a record of WAL. */
extern void direct_insert_all(DirectRows *rows, TupleTableSlot **filled, int n);

#endif /* MEMORY_DIRECT_H */
