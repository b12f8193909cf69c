/*
 * job_export.c
 *		An export's batches: some conversations, in order of their ids, become
 *		the next piece of the file.
 *
 * A range of keys is claimed in one transaction and written in the next, as
 * imports do it (see job.h): whoever claims holds the cursor's row.  A batch is
 * made into text in memory, so workers do that at the same time; then each
 * waits until the claims before its own are done, and appends.  So the file is
 * in order whatever the number of workers.  A batch that becomes large waits
 * with what it has, and writes as it goes from then on.
 *
 * The file is written under the name <path>.part and gets its own name when it
 * is complete.  What a batch wrote is on disk before its end is committed, with
 * the file's new length; what is behind that length was written by a batch that
 * did not commit, and is cut off by the next.
 *
 * Each batch has a snapshot of its own: a conversation is as it is when the
 * export reaches it.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

#include "export.h"
#include "job.h"
#include "sql_text.h"
#include "statement.h"

/* Written at once, by the worker whose turn it is. */
#define WRITE_BYTES (1024 * 1024)
/* Kept in memory until it is. */
#define HOLD_BYTES (16 * 1024 * 1024)

#define TURN_MILLISECONDS 2

/* Part 0: how far the export is claimed and written. */
typedef struct ExportCursor
{
	bool begun;
	int64 claims; /* so many claims were made */
	int64 offset; /* the file's length */
	ExportKey last;
} ExportCursor;

/* The keys of a batch. */
typedef struct ExportClaim
{
	int64 number; /* from 1 */
	bool has_after;
	ExportKey after;
	ExportKey last;
} ExportClaim;

/* The batch at hand, and the file once it is its turn. */
typedef struct Turn
{
	StringInfoData out; /* not yet written */
	File file;          /* 0: not yet */
	int64 from;
	int64 offset;
} Turn;

/* A worker's export, and the batch at hand. */
struct JobExport
{
	const Job *job;
	MemoryContext context; /* of the batch; the next claim resets it */
	ExportClaim claimed;
};

/* clang-format off */
/* What a part's checkpoint, an object, has under a key. */
#define FIELD(key) "checkpoint" OP(->>) "'" key "'"
#define NUMBER(key) "(" FIELD(key) ")::pg_catalog.int8"
/* A conversation's key: two columns, as key_columns reads them. */
#define KEY(prefix) "(" FIELD(prefix "_id") ")::pg_catalog.uuid, " FIELD(prefix "_account")
#define KEY_COLUMNS 2

enum { PART_JOB, PART_NUMBER, PART_PARAMETERS };
#define THIS_PART " WHERE job_id" OP(=) "$1 AND part" OP(=) "$2"

enum { CURSOR_CLAIMS = 1, CURSOR_OFFSET, CURSOR_LAST };
static PlanStatement read_cursor = {
	"SELECT " NUMBER("claims") ", " NUMBER("offset") ", " KEY("last")
	" FROM memory_store.job_parts" THIS_PART,
	PART_PARAMETERS, {INT8OID, INT4OID}, .latest = true};

/* Who claims and who writes have each their own keys of it. */
enum
{
	MOVE_CLAIMS = PART_PARAMETERS, MOVE_LAST_ID, MOVE_LAST_ACCOUNT, MOVE_PARAMETERS
};
static PlanStatement move_cursor = {
	"UPDATE memory_store.job_parts"
	" SET checkpoint = COALESCE(checkpoint, '{}')" OP(||)
	"     pg_catalog.jsonb_build_object('claims', $3, 'last_id', $4, 'last_account', $5)"
	THIS_PART,
	MOVE_PARAMETERS, {INT8OID, INT4OID, INT8OID, UUIDOID, TEXTOID}};

enum { LENGTH_OFFSET = PART_PARAMETERS, LENGTH_PARAMETERS };
static PlanStatement note_length = {
	"UPDATE memory_store.job_parts"
	" SET checkpoint = checkpoint" OP(||) "pg_catalog.jsonb_build_object('offset', $3)"
	THIS_PART,
	LENGTH_PARAMETERS, {INT8OID, INT4OID, INT8OID}};

/* Adds to what the job has left out until now. */
enum { LEFT_JOB, LEFT_OUT, LEFT_PARAMETERS };
static PlanStatement note_left_out = {
	"UPDATE memory_store.jobs"
	" SET options = options" OP(||) "pg_catalog.jsonb_build_object('left_out', ("
	"     SELECT pg_catalog.jsonb_object_agg(s.kind, s.number) FROM ("
	"         SELECT b.kind, pg_catalog.sum(b.number::pg_catalog.int8) AS number FROM ("
	"             SELECT * FROM pg_catalog.jsonb_each_text("
	"                 COALESCE(options" OP(->) "'left_out', '{}'))"
	"             UNION ALL SELECT * FROM pg_catalog.jsonb_each_text($2)) b (kind, number)"
	"         GROUP BY b.kind) s))"
	" WHERE job_id" OP(=) "$1",
	LEFT_PARAMETERS, {INT8OID, JSONBOID}};

enum
{
	CLAIM_NUMBER = PART_PARAMETERS, CLAIM_AFTER_ID, CLAIM_AFTER_ACCOUNT, CLAIM_LAST_ID,
	CLAIM_LAST_ACCOUNT, CLAIM_PARAMETERS
};
static PlanStatement write_claim = {
	"UPDATE memory_store.job_parts"
	" SET checkpoint = pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object("
	"     'claim', $3, 'after_id', $4, 'after_account', $5, 'last_id', $6, 'last_account', $7))"
	THIS_PART,
	CLAIM_PARAMETERS, {INT8OID, INT4OID, INT8OID, UUIDOID, TEXTOID, UUIDOID, TEXTOID}};

/* A claim whose worker is gone; it becomes part $2's. */
enum
{
	ORPHAN_PART = 1, ORPHAN_NUMBER, ORPHAN_AFTER, ORPHAN_LAST = ORPHAN_AFTER + KEY_COLUMNS
};
static PlanStatement find_orphan = {
	"SELECT part, " NUMBER("claim") ", " KEY("after") ", " KEY("last")
	" FROM memory_store.job_parts"
	" WHERE job_id" OP(=) "$1 AND part" OP(>) "0 AND checkpoint IS NOT NULL"
	" AND (state" OP(=) "'queued' OR part" OP(=) "$2)"
	" ORDER BY " NUMBER("claim")
	" LIMIT 1",
	PART_PARAMETERS, {INT8OID, INT4OID}};

/* Claims before number $3 of other parts that are not done. */
enum { EARLIER_NUMBER = PART_PARAMETERS, EARLIER_PARAMETERS };
static PlanStatement find_earlier = {
	"SELECT pid FROM memory_store.job_parts"
	" WHERE job_id" OP(=) "$1 AND part" OP(>) "0 AND part" OP(<>) "$2"
	" AND " NUMBER("claim") OP(<) "$3"
	" LIMIT 1",
	EARLIER_PARAMETERS, {INT8OID, INT4OID, INT8OID}, .latest = true};

/* The last of the next so many keys. */
enum
{
	BATCH_ACCOUNT, BATCH_SINCE, BATCH_AFTER_ID, BATCH_AFTER_ACCOUNT, BATCH_SIZE,
	BATCH_PARAMETERS
};
static PlanStatement find_batch = {
	"SELECT k.conversation_id, k.account_id FROM ("
	"   SELECT c.conversation_id, c.account_id"
	"   FROM memory_store.conversations c"
	"   WHERE c.deleted_at IS NULL AND ($1 IS NULL OR c.account_id" OP(=) "$1)"
	"   AND ($2 IS NULL OR c.updated_at" OP(>=) "$2::pg_catalog.timestamptz)"
	"   AND ROW(c.conversation_id, c.account_id)" OP(>) "ROW($3, $4)"
	"   ORDER BY c.conversation_id, c.account_id"
	"   LIMIT $5) k"
	" ORDER BY k.conversation_id DESC, k.account_id DESC"
	" LIMIT 1",
	BATCH_PARAMETERS, {TEXTOID, TEXTOID, UUIDOID, TEXTOID, INT8OID}, .ordered = true};
/* clang-format on */

static char *
part_path(const Job *job)
{
	return psprintf("%s.part", job->target);
}

static void
report_file(const char *what, const char *path)
{
	ereport(ERROR, (errcode_for_file_access(), errmsg("could not %s file \"%s\": %m", what, path)));
}

/* ---------- cursor and claims ---------- */

static int64
number_column(int column)
{
	bool isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* A key from two columns, in the current context; false: there is none. */
static bool
key_columns(int column, ExportKey *key)
{
	HeapTuple row = SPI_tuptable->vals[0];
	TupleDesc descriptor = SPI_tuptable->tupdesc;
	bool isnull;
	Datum id = SPI_getbinval(row, descriptor, column, &isnull);

	if (isnull)
		return false;
	key->conversation_id = *DatumGetUUIDP(id);
	key->account_id = DatumGetTextPCopy(SPI_getbinval(row, descriptor, column + 1, &isnull));
	return true;
}

static void
get_cursor(const Job *job, ExportCursor *cursor)
{
	Datum values[PART_PARAMETERS] =
		{[PART_JOB] = Int64GetDatum(job->id), [PART_NUMBER] = Int32GetDatum(0)};

	memset(cursor, 0, sizeof(*cursor));
	if (plan_execute(&read_cursor, values, NULL, false) == 0)
		elog(ERROR, "an export has lost its cursor");
	cursor->claims = number_column(CURSOR_CLAIMS);
	cursor->offset = number_column(CURSOR_OFFSET);
	cursor->begun = key_columns(CURSOR_LAST, &cursor->last);
}

/* Takes over a claim whose worker is gone; the cursor is locked. */
static bool
adopt(JobExport *batch)
{
	const Job *job = batch->job;
	ExportClaim *claimed = &batch->claimed;
	Datum values[PART_PARAMETERS] =
		{[PART_JOB] = Int64GetDatum(job->id), [PART_NUMBER] = Int32GetDatum(job->part)};
	bool isnull;
	int32 part;

	if (plan_execute(&find_orphan, values, NULL, false) == 0)
		return false;
	part = DatumGetInt32(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, ORPHAN_PART, &isnull));
	claimed->number = number_column(ORPHAN_NUMBER);
	claimed->has_after = key_columns(ORPHAN_AFTER, &claimed->after);
	(void) key_columns(ORPHAN_LAST, &claimed->last);
	job_give_claim(job, part);
	return true;
}

/* The keys of the next batch; false: none is left. */
static bool
find_next(JobExport *batch, const ExportCursor *cursor)
{
	const Job *job = batch->job;
	ExportClaim *claimed = &batch->claimed;
	pg_uuid_t nil = {{0}};
	Datum batch_values[BATCH_PARAMETERS] = {
		[BATCH_ACCOUNT] = PointerGetDatum(job->account_id),
		[BATCH_SINCE] = job->since != NULL ? CStringGetTextDatum(job->since) : (Datum) 0,
		[BATCH_AFTER_ID] = UUIDPGetDatum(cursor->begun ? &cursor->last.conversation_id : &nil),
		/* no account_id is empty: behind this one are all */
		[BATCH_AFTER_ACCOUNT] =
			cursor->begun ? PointerGetDatum(cursor->last.account_id) : CStringGetTextDatum(""),
		[BATCH_SIZE] = Int64GetDatum(job->batch_size),
	};
	char nulls[BATCH_PARAMETERS];
	Datum move_values[MOVE_PARAMETERS];

	memset(nulls, ' ', sizeof(nulls));
	nulls[BATCH_ACCOUNT] = job->account_id == NULL ? 'n' : ' ';
	nulls[BATCH_SINCE] = job->since == NULL ? 'n' : ' ';
	if (plan_execute(&find_batch, batch_values, nulls, false) == 0)
		return false;
	claimed->number = cursor->claims + 1;
	claimed->has_after = cursor->begun;
	claimed->after = cursor->last;
	(void) key_columns(1, &claimed->last);

	move_values[PART_JOB] = Int64GetDatum(job->id);
	move_values[PART_NUMBER] = Int32GetDatum(0);
	move_values[MOVE_CLAIMS] = Int64GetDatum(claimed->number);
	move_values[MOVE_LAST_ID] = UUIDPGetDatum(&claimed->last.conversation_id);
	move_values[MOVE_LAST_ACCOUNT] = PointerGetDatum(claimed->last.account_id);
	plan_execute(&move_cursor, move_values, NULL, false);
	return true;
}

static void
note_claim(const JobExport *batch)
{
	const Job *job = batch->job;
	const ExportClaim *claimed = &batch->claimed;
	Datum values[CLAIM_PARAMETERS] = {
		[PART_JOB] = Int64GetDatum(job->id),
		[PART_NUMBER] = Int32GetDatum(job->part),
		[CLAIM_NUMBER] = Int64GetDatum(claimed->number),
		[CLAIM_AFTER_ID] = UUIDPGetDatum(&claimed->after.conversation_id),
		[CLAIM_AFTER_ACCOUNT] = PointerGetDatum(claimed->after.account_id),
		[CLAIM_LAST_ID] = UUIDPGetDatum(&claimed->last.conversation_id),
		[CLAIM_LAST_ACCOUNT] = PointerGetDatum(claimed->last.account_id),
	};
	char nulls[CLAIM_PARAMETERS];

	memset(nulls, ' ', sizeof(nulls));
	if (!claimed->has_after)
		nulls[CLAIM_AFTER_ID] = nulls[CLAIM_AFTER_ACCOUNT] = 'n';
	plan_execute(&write_claim, values, nulls, false);
}

/* Whether a claim before number is not done, and which process has it; 0: none. */
static bool
earlier_claim(const Job *job, int64 number, int32 *pid)
{
	Datum values[EARLIER_PARAMETERS] = {
		[PART_JOB] = Int64GetDatum(job->id),
		[PART_NUMBER] = Int32GetDatum(job->part),
		[EARLIER_NUMBER] = Int64GetDatum(number),
	};
	bool isnull;

	if (plan_execute(&find_earlier, values, NULL, false) == 0)
		return false;
	*pid = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (isnull)
		*pid = 0;
	return true;
}

static bool
earlier_than_claimed(void *arg, int32 *pid)
{
	const JobExport *batch = arg;

	return earlier_claim(batch->job, batch->claimed.number, pid);
}

/* ---------- the file ---------- */

/* The unfinished file, cut off behind the place. */
static File
open_part(const Job *job, int64 offset)
{
	char *path = part_path(job);
	File file = PathNameOpenFilePerm(path, O_RDWR | O_CREAT | PG_BINARY,
									 S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH);
	off_t size;

	if (file < 0)
		report_file("open", path);
	size = FileSize(file);
	if (size < 0)
		report_file("stat", path);
	if (size < offset)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("file \"%s\" has changed since the job wrote it", path),
				 errdetail("It has " INT64_FORMAT " bytes, but " INT64_FORMAT " were written.",
						   (int64) size, offset),
				 errhint("Start a new export.")));
	if (size > offset && FileTruncate(file, offset, PG_WAIT_EXTENSION) != 0)
		report_file("truncate", path);
	return file;
}

/* Writes out what has gathered. */
static void
flush(const Job *job, Turn *turn)
{
	StringInfo out = &turn->out;

	if (out->len > 0)
	{
		errno = 0;
		if (FileWrite(turn->file, out->data, out->len, (off_t) turn->offset, PG_WAIT_EXTENSION) !=
			out->len)
		{
			/* if write didn't set errno, assume the disk is full */
			if (errno == 0)
				errno = ENOSPC;
			report_file("write", part_path(job));
		}
	}
	turn->offset += out->len;
	resetStringInfo(out);
}

/* Gives the complete file its name. */
static void
finish_file(const Job *job, const ExportCursor *cursor)
{
	struct stat status;

	/* it may have it already, if the server was killed right behind, or another worker was here */
	if (stat(part_path(job), &status) != 0 && errno == ENOENT && cursor->begun &&
		stat(job->target, &status) == 0 && status.st_size == cursor->offset)
		return;
	FileClose(open_part(job, cursor->offset));
	(void) durable_rename(part_path(job), job->target, ERROR);
}

/* ---------- both transactions ---------- */

/* A worker's export, in the current context; the job must live as long. */
JobExport *
job_export_begin(const Job *job)
{
	JobExport *batch = palloc0(sizeof(JobExport));

	batch->job = job;
	batch->context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext job batch", ALLOCSET_DEFAULT_SIZES);
	return batch;
}

/*
 * The next batch is claimed, in the caller's transaction.  False: nothing is
 * left, and the file is complete unless others are still at it; or the export
 * is not to go on.
 */
bool
job_export_claim(JobExport *batch)
{
	const Job *job = batch->job;
	MemoryContext old = CurrentMemoryContext;
	JobClaim locked;
	ExportCursor cursor;
	int32 pid;
	bool found;

	MemoryContextReset(batch->context);
	if (!job_lock_cursor(job, &locked))
		return false;
	MemoryContextSwitchTo(batch->context);
	get_cursor(job, &cursor);
	found = adopt(batch) || find_next(batch, &cursor);
	if (found)
		note_claim(batch);
	else if (!earlier_claim(job, PG_INT64_MAX, &pid))
		finish_file(job, &cursor);
	MemoryContextSwitchTo(old);
	return found;
}

/* Waits until the claims before this one are done, and opens the file at its end. */
static void
take_turn(JobExport *batch, Turn *turn)
{
	const Job *job = batch->job;
	ExportCursor cursor;

	job_wait_for_turn(job, earlier_than_claimed, batch, TURN_MILLISECONDS);
	get_cursor(job, &cursor);
	turn->from = turn->offset = cursor.offset;
	turn->file = open_part(job, cursor.offset);
}

/* What the format could not hold is noted with the job; others' turns come later. */
static void
note_lost(const Job *job, const Export *export)
{
	Jsonb *lost = census_object(export_lost(export));
	Datum values[LEFT_PARAMETERS] = {
		[LEFT_JOB] = Int64GetDatum(job->id),
		[LEFT_OUT] = PointerGetDatum(lost),
	};

	if (lost != NULL)
		plan_execute(&note_left_out, values, NULL, false);
}

/* Writes the claimed batch, with its counts and the claim's end. */
void
job_export_write(JobExport *batch)
{
	const Job *job = batch->job;
	const ExportClaim *claimed = &batch->claimed;
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	ImportCounts counts = {0};
	ExportScope scope = {0};
	Turn turn = {.file = 0};
	Export *export;
	Datum values[LENGTH_PARAMETERS];

	scope.format = transfer_format_argument(job->format, true);
	scope.account_id = job->account_id;
	scope.has_since = job->since != NULL;
	if (scope.has_since && !transfer_parse_time(job->since, strlen(job->since), &scope.since))
		elog(ERROR, "an export's time cannot be read: %s", job->since);
	scope.after = claimed->has_after ? &claimed->after : NULL;
	scope.last = &claimed->last;
	initStringInfo(&turn.out);
	export = export_begin(&scope);
	while (export_next(export, &turn.out))
	{
		appendStringInfoChar(&turn.out, '\n');
		if (turn.file == 0 && turn.out.len >= HOLD_BYTES)
			take_turn(batch, &turn);
		if (turn.file != 0 && turn.out.len >= WRITE_BYTES)
			flush(job, &turn);
	}
	export_end(export);
	if (turn.file == 0)
		take_turn(batch, &turn);
	flush(job, &turn);
	if (FileSync(turn.file, PG_WAIT_EXTENSION) != 0)
		report_file("fsync", part_path(job));
	FileClose(turn.file);

	values[PART_JOB] = Int64GetDatum(job->id);
	values[PART_NUMBER] = Int32GetDatum(0);
	values[LENGTH_OFFSET] = Int64GetDatum(turn.offset);
	plan_execute(&note_length, values, NULL, false);
	counts.documents = export_conversations(export);
	counts.messages = export_messages(export);
	counts.bytes = turn.offset - turn.from;
	note_lost(job, export);
	job_done(job, &counts);
	MemoryContextSwitchTo(old);
}
