/*
 * job.h
 *		Imports and exports by background workers: what the files job_*.c share.
 *
 * job_call.c (what SQL calls: procedures, which commit) → job_worker.c (the
 * workers) → job_import.c and job_export.c (a batch: two transactions) →
 * job_stage.c (staged lines), job_lock.c (who works, whose turn it is),
 * job_rights.c and job_table.c (the rows that say what is to be done and what is
 * done).  job_erase.c stands by itself.
 *
 * A job's part 0 is the cursor: where the input goes on that nobody has claimed
 * yet.  Part n is the n-th worker's: the batch that it has claimed and not
 * finished, and its counts.  A claim moves the cursor and writes down the range
 * in one transaction; the batch's rows, its counts and the claim's end are
 * another one.  So whatever dies, each document is in a range that is done, in
 * one that is claimed, or behind the cursor, and nothing is lost or done twice.
 */
#ifndef JOB_H
#define JOB_H

#include "postgres.h"

#include "import.h"
#include "lib/stringinfo.h"
#include "owner.h"
#include "utils/timestamp.h"

#define JOB_MAX_WORKERS 64

/* Settings: so many workers has a job at most, and all jobs of the server together. */
extern int job_max_workers_per_job;
extern int job_max_workers;

/* What a worker is started with; copied into its bgw_extra. */
typedef struct JobWorkerArgs
{
	Oid database;
	Oid session_user; /* who logs in */
	int64 job_id;
} JobWorkerArgs;

/* A row of memory_store.jobs; texts live where job_read was called. */
typedef struct Job
{
	int64 id;
	char *kind;   /* import, export */
	char *source; /* file, staged */
	char *format;
	text *account_id; /* NULL: the documents name theirs; all accounts */
	char *target;     /* a path; of staged lines, who has staged them */
	char *state;
	Oid role;       /* the job's own; it may be gone */
	char *since;    /* of an export: conversations that changed then or later; NULL: all */
	char *confined; /* the account that its session was confined to, or NULL */
	char *settings; /* jsonb's text: memory_ext's settings of that session */
	bool cancel_requested;
	int32 batch_size;
	int64 last_row;    /* of staged lines: those that were there when the job was made */
	int64 total_bytes; /* -1: not known */
	bool skip;         /* on_error */
	char *on_conflict; /* NULL: as the settings say */
	char *columns;     /* of CSV: their names, as csv_header gives them; NULL: documents */
	Datum options;     /* jsonb */
	int32 part;        /* of the worker that asks */
} Job;

/* A range of the input; behind the last document of to there is nothing when end is true. */
typedef struct JobClaim
{
	SplitterMark from;
	SplitterMark to;
	int64 from_row;  /* of staged lines: the line that the mark lies in, */
	int64 from_skip; /* and where in it; -1: before the line's end of the one before */
	int64 to_row;
	int64 to_skip;
	bool end; /* the input ends here */
} JobClaim;

/* Where the lines that were read begin in the input. */
typedef struct JobStageLine
{
	int64 row;
	uint64 offset; /* of its first byte */
	Size length;   /* without the line's end */
} JobStageLine;

typedef struct JobStagePosition
{
	JobStageLine *lines;
	int64 count;
	int64 capacity;
	int64 next_row;
} JobStagePosition;

/*
 * ---- job_table.c; all need SPI and the owner's rights ----
 * The job tables belong to the extension's owner, the job to its role.
 */
extern int64 job_create(const Job *job, int32 workers);
extern bool job_read(int64 job_id, Job *job);
extern bool job_take_part(Job *job);
extern bool job_lock_cursor(const Job *job, JobClaim *cursor);
extern void job_move_cursor(const Job *job, const JobClaim *cursor);
extern void job_give_claim(const Job *job, int32 part);
extern bool job_adopt(const Job *job, JobClaim *claim);
extern void job_claim(const Job *job, const JobClaim *claim);
extern bool job_earlier_claim(const Job *job, const JobClaim *claim, int32 *pid);
extern void job_done(const Job *job, const ImportCounts *counts);
extern void job_leave_part(const Job *job, const char *state);
extern void job_refuse(int64 job_id, const char *sqlstate, const char *message);
extern void job_fail(int64 job_id, int32 part, const char *sqlstate, const char *message);
extern bool job_cancel(int64 job_id, bool idle);
extern bool job_reopen(int64 job_id, int32 *workers);
extern void job_set_options(int64 job_id, const char *on_error, const char *on_conflict);
extern void job_clear_places(int64 job_id);

/* ---- job_rights.c ---- */
extern char *job_role_name(const Job *job);
extern void job_check_files(const Job *job, Oid role);
extern void job_check_owner(const Job *job);

/* ---- job_lock.c ---- */

/* Whether a claim before the batch's own is not done, and which process has it; 0: none. */
typedef bool (*JobEarlier)(void *batch, int32 *pid);

extern bool job_idle(int64 job_id, bool hold);
extern void job_hold(int64 job_id);
extern int job_free_slots(void);
extern void job_take_slot(void);
extern void job_wait_for_turn(const Job *job, JobEarlier earlier, void *batch, long milliseconds);

/* ---- job_import.c and job_export.c: batch after batch, each in two transactions ---- */

typedef struct JobImport JobImport;
typedef struct JobExport JobExport;

extern JobImport *job_import_begin(const Job *job);
extern bool job_import_claim(JobImport *batch);
extern void job_import_write(JobImport *batch);
extern void job_import_header(Job *job);

extern JobExport *job_export_begin(const Job *job);
extern bool job_export_claim(JobExport *batch);
extern void job_export_write(JobExport *batch);

/* ---- job_stage.c: staged lines in the place of a file ---- */
extern void job_stage_measure(Job *job);
extern bool job_stage_read(const Job *job, JobClaim *claim, StringInfo bytes, uint64 *offset,
						   JobStagePosition *position);
extern void job_stage_locate(JobClaim *claim, const JobStagePosition *position);
extern void job_stage_delete(const Job *job, const JobClaim *claim);
extern uint64 job_stage_clear(const Job *job);

/* ---- job_worker.c ---- */
/* Defines the room's settings; called once, from _PG_init. */
extern void job_init(void);

extern int job_launch(int64 job_id, int workers, bool keep);
extern int job_running_workers(void);

/* ---- job_erase.c: what of jobs goes with an account, or with time ---- */
extern void job_erase_init(void);

#endif /* JOB_H */
