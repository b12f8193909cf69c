/*
 * phases.h
 *		The phases of maintenance, batch by batch.
 */
#ifndef MEMORY_PHASES_H
#define MEMORY_PHASES_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * What a background worker does before each batch, before any lock is taken:
 * it shows the phase and how many items are done, waits, or raises 57014 when
 * it is to stop.  NULL in every other process.
 */
typedef void (*PhasePause)(const char *phase, int64 done);
extern PhasePause phase_pause;

/*
 * When a worker begins with this database next; DT_NOEND: no worker does.  NULL
 * where memory_ext was not preloaded.
 */
typedef TimestampTz (*PhaseNextRun)(void);
extern PhaseNextRun phase_next_run;

/*
 * Whether the beginning of a phase is flushed to disk before its first batch, so
 * that it is known even after a crash in the next moment.  A worker sets it on
 * its first visit since the server started; an idle visit later need not wait for
 * the disk.
 */
extern bool phase_begins_durably;

#endif /* MEMORY_PHASES_H */
