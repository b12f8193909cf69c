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

static MemoryContext batch_context = NULL;
static ExportClaim claimed;

#define EQUAL " OPERATOR(pg_catalog.=) "
#define LESS " OPERATOR(pg_catalog.<) "
#define GREATER " OPERATOR(pg_catalog.>) "
#define FIELD(key) "checkpoint OPERATOR(pg_catalog.->>) '" key "'"
#define NUMBER(key) "(" FIELD(key) ")::pg_catalog.int8"
#define KEY(prefix) "(" FIELD(prefix "_id") ")::pg_catalog.uuid, " FIELD(prefix "_account")
#define THIS_PART " WHERE job_id" EQUAL "$1 AND part" EQUAL "$2"

static PlanStatement read_cursor = {"SELECT " NUMBER("claims") ", " NUMBER("offset") ", " KEY(
										"last") " FROM memory_store.job_parts" THIS_PART,
									2,
									{INT8OID, INT4OID},
									NULL,
									true};

/* Who claims and who writes have each their own keys of it. */
static PlanStatement move_cursor =
	{"UPDATE memory_store.job_parts SET checkpoint = COALESCE(checkpoint, '{}')"
	 " OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('claims', $3, 'last_id', $4,"
	 " 'last_account', $5)" THIS_PART,
	 5,
	 {INT8OID, INT4OID, INT8OID, UUIDOID, TEXTOID},
	 NULL};

static PlanStatement note_length =
	{"UPDATE memory_store.job_parts SET checkpoint = checkpoint OPERATOR(pg_catalog.||)"
	 " pg_catalog.jsonb_build_object('offset', $3)" THIS_PART,
	 3,
	 {INT8OID, INT4OID, INT8OID},
	 NULL};

static PlanStatement write_claim = {
	"UPDATE memory_store.job_parts SET checkpoint = pg_catalog.jsonb_strip_nulls("
	"pg_catalog.jsonb_build_object('claim', $3, 'after_id', $4, 'after_account', $5, 'last_id', $6,"
	" 'last_account', $7))" THIS_PART,
	7,
	{INT8OID, INT4OID, INT8OID, UUIDOID, TEXTOID, UUIDOID, TEXTOID},
	NULL};

/* A claim whose worker is gone; it becomes part $2's. */
static PlanStatement find_orphan = {"SELECT part, " NUMBER("claim") ", " KEY("after") ", " KEY(
										"last") " FROM memory_store.job_parts"
												" WHERE job_id" EQUAL "$1 AND part" GREATER
												"0 AND checkpoint IS NOT NULL"
												" AND (state" EQUAL "'queued' OR part" EQUAL
												"$2) ORDER BY " NUMBER("claim") " LIMIT 1",
									2,
									{INT8OID, INT4OID},
									NULL};

/* Claims before number $3 that are not done. */
static PlanStatement find_earlier = {"SELECT pid FROM memory_store.job_parts WHERE job_id" EQUAL
									 "$1 AND part" GREATER "0"
									 " AND part OPERATOR(pg_catalog.<>) $2 AND " NUMBER("claim")
										 LESS "$3 LIMIT 1",
									 3,
									 {INT8OID, INT4OID, INT8OID},
									 NULL,
									 true};

/* The last of the next so many keys. */
static PlanStatement find_batch =
	{"SELECT k.conversation_id, k.account_id FROM (SELECT c.conversation_id, c.account_id"
	 " FROM memory_store.conversations c"
	 " WHERE c.deleted_at IS NULL AND ($1 IS NULL OR c.account_id" EQUAL "$1)"
	 " AND ($2 IS NULL OR c.updated_at OPERATOR(pg_catalog.>=) $2::pg_catalog.timestamptz)"
	 " AND ROW(c.conversation_id, c.account_id)" GREATER "ROW($3, $4)"
	 " ORDER BY c.conversation_id, c.account_id LIMIT $5) k"
	 " ORDER BY k.conversation_id DESC, k.account_id DESC LIMIT 1",
	 5,
	 {TEXTOID, TEXTOID, UUIDOID, TEXTOID, INT8OID},
	 .ordered = true};

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
	Datum values[2] = {Int64GetDatum(job->id), Int32GetDatum(0)};

	memset(cursor, 0, sizeof(*cursor));
	if (plan_execute(&read_cursor, values, NULL, false) == 0)
		elog(ERROR, "an export has lost its cursor");
	cursor->claims = number_column(1);
	cursor->offset = number_column(2);
	cursor->begun = key_columns(3, &cursor->last);
}

/* Takes over a claim whose worker is gone; the cursor is locked. */
static bool
adopt(const Job *job)
{
	Datum values[2] = {Int64GetDatum(job->id), Int32GetDatum(job->part)};
	bool isnull;
	int32 part;

	if (plan_execute(&find_orphan, values, NULL, false) == 0)
		return false;
	part = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	claimed.number = number_column(2);
	claimed.has_after = key_columns(3, &claimed.after);
	(void) key_columns(5, &claimed.last);
	job_give_claim(job, part);
	return true;
}

/* The keys of the next batch; false: none is left. */
static bool
find_next(const Job *job, const ExportCursor *cursor)
{
	pg_uuid_t nil = {{0}};
	Datum values[5];
	char nulls[] = "     ";

	/* no account_id is empty: behind this one are all */
	values[0] = PointerGetDatum(job->account_id);
	nulls[0] = job->account_id == NULL ? 'n' : ' ';
	values[1] = job->since != NULL ? CStringGetTextDatum(job->since) : (Datum) 0;
	nulls[1] = job->since == NULL ? 'n' : ' ';
	values[2] = UUIDPGetDatum(cursor->begun ? &cursor->last.conversation_id : &nil);
	values[3] = cursor->begun ? PointerGetDatum(cursor->last.account_id) : CStringGetTextDatum("");
	values[4] = Int64GetDatum(job->batch_size);
	if (plan_execute(&find_batch, values, nulls, false) == 0)
		return false;
	claimed.number = cursor->claims + 1;
	claimed.has_after = cursor->begun;
	claimed.after = cursor->last;
	(void) key_columns(1, &claimed.last);

	values[0] = Int64GetDatum(job->id);
	values[1] = Int32GetDatum(0);
	values[2] = Int64GetDatum(claimed.number);
	values[3] = UUIDPGetDatum(&claimed.last.conversation_id);
	values[4] = PointerGetDatum(claimed.last.account_id);
	plan_execute(&move_cursor, values, NULL, false);
	return true;
}

static void
note_claim(const Job *job)
{
	Datum values[7];
	char nulls[] = "       ";

	values[0] = Int64GetDatum(job->id);
	values[1] = Int32GetDatum(job->part);
	values[2] = Int64GetDatum(claimed.number);
	values[3] = UUIDPGetDatum(&claimed.after.conversation_id);
	values[4] = PointerGetDatum(claimed.after.account_id);
	nulls[3] = nulls[4] = claimed.has_after ? ' ' : 'n';
	values[5] = UUIDPGetDatum(&claimed.last.conversation_id);
	values[6] = PointerGetDatum(claimed.last.account_id);
	plan_execute(&write_claim, values, nulls, false);
}

/* Whether a claim before number is not done, and which process has it; 0: none. */
static bool
earlier_claim(const Job *job, int64 number, int32 *pid)
{
	Datum values[3];
	bool isnull;

	values[0] = Int64GetDatum(job->id);
	values[1] = Int32GetDatum(job->part);
	values[2] = Int64GetDatum(number);
	if (plan_execute(&find_earlier, values, NULL, false) == 0)
		return false;
	*pid = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (isnull)
		*pid = 0;
	return true;
}

static bool
earlier_than_claimed(const Job *job, int32 *pid)
{
	return earlier_claim(job, claimed.number, pid);
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

/*
 * The next batch is claimed, in the caller's transaction.  False: nothing is
 * left, and the file is complete unless others are still at it; or the export
 * is not to go on.
 */
bool
job_export_claim(Job *job)
{
	MemoryContext old = CurrentMemoryContext;
	JobClaim locked;
	ExportCursor cursor;
	int32 pid;
	bool found;

	if (batch_context == NULL)
		batch_context =
			AllocSetContextCreate(TopMemoryContext, "memory_ext job batch", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(batch_context);
	if (!job_lock_cursor(job, &locked))
		return false;
	MemoryContextSwitchTo(batch_context);
	get_cursor(job, &cursor);
	found = adopt(job) || find_next(job, &cursor);
	if (found)
		note_claim(job);
	else if (!earlier_claim(job, PG_INT64_MAX, &pid))
		finish_file(job, &cursor);
	MemoryContextSwitchTo(old);
	return found;
}

/* Waits until the claims before this one are done, and opens the file at its end. */
static void
take_turn(const Job *job, Turn *turn)
{
	ExportCursor cursor;

	job_wait_for_turn(job, earlier_than_claimed, TURN_MILLISECONDS);
	get_cursor(job, &cursor);
	turn->from = turn->offset = cursor.offset;
	turn->file = open_part(job, cursor.offset);
}

/* Writes the claimed batch, with its counts and the claim's end. */
void
job_export_write(Job *job)
{
	MemoryContext old = MemoryContextSwitchTo(batch_context);
	ImportCounts counts = {0};
	ExportScope scope = {0};
	Turn turn = {.file = 0};
	Export *export;
	Datum values[3];

	scope.format = transfer_format_argument(job->format, true);
	scope.account_id = job->account_id;
	scope.has_since = job->since != NULL;
	if (scope.has_since && !transfer_parse_time(job->since, strlen(job->since), &scope.since))
		elog(ERROR, "an export's time cannot be read: %s", job->since);
	scope.after = claimed.has_after ? &claimed.after : NULL;
	scope.last = &claimed.last;
	initStringInfo(&turn.out);
	export = export_begin(&scope);
	while (export_next(export, &turn.out))
	{
		appendStringInfoChar(&turn.out, '\n');
		if (turn.file == 0 && turn.out.len >= HOLD_BYTES)
			take_turn(job, &turn);
		if (turn.file != 0 && turn.out.len >= WRITE_BYTES)
			flush(job, &turn);
	}
	export_end(export);
	if (turn.file == 0)
		take_turn(job, &turn);
	flush(job, &turn);
	if (FileSync(turn.file, PG_WAIT_EXTENSION) != 0)
		report_file("fsync", part_path(job));
	FileClose(turn.file);

	values[0] = Int64GetDatum(job->id);
	values[1] = Int32GetDatum(0);
	values[2] = Int64GetDatum(turn.offset);
	plan_execute(&note_length, values, NULL, false);
	counts.documents = export_conversations(export);
	counts.messages = export_messages(export);
	counts.bytes = turn.offset - turn.from;
	job_done(job, &counts);
	MemoryContextSwitchTo(old);
}
