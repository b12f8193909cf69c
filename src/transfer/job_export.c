/*
 * job_export.c
 *		An export's batches: some conversations, in order of their ids, appended
 *		to the file in one transaction with the note of how far it has come.
 *
 * The file is written under the name <path>.part and gets its own name when it
 * is complete.  What a batch wrote is on disk before its note is committed; what
 * is behind the note was written by a batch that did not commit, and is cut off
 * when the export is resumed.
 *
 * Each batch has a snapshot of its own: a conversation is as it is when the
 * export reaches it.  There is one worker.
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

#include "job.h"
#include "plan.h"

#define WRITE_BYTES (1024 * 1024)

/* Where the export goes on. */
typedef struct ExportPlace
{
	int64 offset;
	Datum conversation_id; /* of the last one written */
	Datum account_id;
	bool begun;
} ExportPlace;

#define EQUAL " OPERATOR(pg_catalog.=) "

static PlanStatement read_place =
	{"SELECT (checkpoint OPERATOR(pg_catalog.->>) 'offset')::pg_catalog.int8,"
	 " (checkpoint OPERATOR(pg_catalog.->>) 'conversation_id')::pg_catalog.uuid,"
	 " checkpoint OPERATOR(pg_catalog.->>) 'account_id'"
	 " FROM memory_store.job_parts WHERE job_id" EQUAL "$1 AND part" EQUAL "$2",
	 2,
	 {INT8OID, INT4OID},
	 NULL};

static PlanStatement write_place =
	{"UPDATE memory_store.job_parts SET checkpoint = pg_catalog.jsonb_build_object('offset', $3,"
	 " 'conversation_id', $4, 'account_id', $5) WHERE job_id" EQUAL "$1 AND part" EQUAL "$2",
	 5,
	 {INT8OID, INT4OID, INT8OID, UUIDOID, TEXTOID},
	 NULL};

/* The keys of the next batch. */
static PlanStatement next_conversations =
	{"SELECT c.conversation_id, c.account_id, c.message_count FROM memory_store.conversations c"
	 " WHERE c.deleted_at IS NULL AND ($1 IS NULL OR c.account_id" EQUAL "$1)"
	 " AND ($2 IS NULL OR c.updated_at OPERATOR(pg_catalog.>=) $2::pg_catalog.timestamptz)"
	 " AND ($3 IS NULL OR ROW(c.conversation_id, c.account_id) OPERATOR(pg_catalog.>) ROW($3, $4))"
	 " ORDER BY c.conversation_id, c.account_id LIMIT $5",
	 5,
	 {TEXTOID, TEXTOID, UUIDOID, TEXTOID, INT8OID},
	 NULL};

static PlanStatement export_one = {"SELECT memory.export($1, $2, $3)",
								   3,
								   {TEXTOID, TEXTOID, UUIDOID},
								   NULL};

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

/* ---------- the place ---------- */

static void
get_place(const Job *job, ExportPlace *place)
{
	Datum values[2];
	bool isnull;

	values[0] = Int64GetDatum(job->id);
	values[1] = Int32GetDatum(job->part);
	memset(place, 0, sizeof(*place));
	if (plan_execute(&read_place, values, NULL, false) == 0)
		elog(ERROR, "an export has lost its part");
	place->offset =
		DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (isnull)
	{
		place->offset = 0;
		return;
	}
	place->begun = true;
	place->conversation_id =
		UUIDPGetDatum(memcpy(palloc(UUID_LEN),
							 DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[0],
														 SPI_tuptable->tupdesc, 2, &isnull)),
							 UUID_LEN));
	place->account_id = PointerGetDatum(
		DatumGetTextPCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull)));
}

static void
set_place(const Job *job, const ExportPlace *place)
{
	Datum values[5];

	values[0] = Int64GetDatum(job->id);
	values[1] = Int32GetDatum(job->part);
	values[2] = Int64GetDatum(place->offset);
	values[3] = place->conversation_id;
	values[4] = place->account_id;
	plan_execute(&write_place, values, NULL, false);
}

/* ---------- the file ---------- */

/* The unfinished file, cut off behind the place. */
static File
open_part(const Job *job, const ExportPlace *place)
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
	if (size < place->offset)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("file \"%s\" has changed since the job wrote it", path),
				 errdetail("It has " INT64_FORMAT " bytes, but " INT64_FORMAT " were written.",
						   (int64) size, place->offset),
				 errhint("Start a new export.")));
	if (size > place->offset && FileTruncate(file, place->offset, PG_WAIT_EXTENSION) != 0)
		report_file("truncate", path);
	return file;
}

/* Writes out what has gathered; place moves. */
static void
flush(const Job *job, File file, StringInfo out, ExportPlace *place)
{
	if (out->len > 0)
	{
		errno = 0;
		if (FileWrite(file, out->data, out->len, (off_t) place->offset, PG_WAIT_EXTENSION) !=
			out->len)
		{
			/* if write didn't set errno, assume the disk is full */
			if (errno == 0)
				errno = ENOSPC;
			report_file("write", part_path(job));
		}
	}
	place->offset += out->len;
	resetStringInfo(out);
}

/* Gives the complete file its name. */
static void
finish_file(const Job *job, const ExportPlace *place)
{
	struct stat status;

	/* it may have it already, if the server was killed right behind */
	if (stat(part_path(job), &status) != 0 && errno == ENOENT && place->begun &&
		stat(job->target, &status) == 0 && status.st_size == place->offset)
		return;
	FileClose(open_part(job, place));
	(void) durable_rename(part_path(job), job->target, ERROR);
}

/* ---------- a batch ---------- */

/* Appends the documents of a conversation, a line each. */
static void
append_conversation(const Job *job, Datum conversation_id, Datum account_id, StringInfo out)
{
	Datum values[3];
	uint64 documents;
	SPITupleTable *table;

	values[0] = CStringGetTextDatum(job->format);
	values[1] = account_id;
	values[2] = conversation_id;
	documents = plan_execute(&export_one, values, NULL, true);
	table = SPI_tuptable;
	for (uint64 i = 0; i < documents; i++)
	{
		bool isnull;
		text *document = DatumGetTextPP(SPI_getbinval(table->vals[i], table->tupdesc, 1, &isnull));

		appendBinaryStringInfo(out, VARDATA_ANY(document), (int) VARSIZE_ANY_EXHDR(document));
		appendStringInfoChar(out, '\n');
	}
	SPI_freetuptable(table);
}

/* The keys of the next conversations; their number. */
static uint64
find_conversations(const Job *job, const ExportPlace *place, SPITupleTable **keys)
{
	Datum values[5];
	char nulls[] = "     ";
	uint64 count;

	values[0] = PointerGetDatum(job->account_id);
	nulls[0] = job->account_id == NULL ? 'n' : ' ';
	values[1] = job->since != NULL ? CStringGetTextDatum(job->since) : (Datum) 0;
	nulls[1] = job->since == NULL ? 'n' : ' ';
	values[2] = place->conversation_id;
	values[3] = place->account_id;
	nulls[2] = nulls[3] = place->begun ? ' ' : 'n';
	values[4] = Int64GetDatum(job->batch_size);
	count = plan_execute(&next_conversations, values, nulls, false);
	*keys = SPI_tuptable;
	/* the next statement leaves it alone */
	SPI_tuptable = NULL;
	return count;
}

/*
 * The next batch, in the caller's transaction.  False: the file is complete, or
 * the export is not to go on.
 */
bool
job_export_batch(Job *job)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext export", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ImportCounts counts = {0};
	JobClaim cursor;
	ExportPlace place;
	StringInfoData out;
	SPITupleTable *keys;
	uint64 count = 0;
	File file;

	if (!job_lock_cursor(job, &cursor))
	{
		MemoryContextSwitchTo(old);
		return false;
	}
	get_place(job, &place);
	count = find_conversations(job, &place, &keys);
	if (count == 0)
		finish_file(job, &place);
	else
	{
		int64 before = place.offset;

		initStringInfo(&out);
		file = open_part(job, &place);
		for (uint64 i = 0; i < count; i++)
		{
			bool isnull;

			CHECK_FOR_INTERRUPTS();
			place.conversation_id = SPI_getbinval(keys->vals[i], keys->tupdesc, 1, &isnull);
			place.account_id = SPI_getbinval(keys->vals[i], keys->tupdesc, 2, &isnull);
			counts.messages +=
				DatumGetInt64(SPI_getbinval(keys->vals[i], keys->tupdesc, 3, &isnull));
			append_conversation(job, place.conversation_id, place.account_id, &out);
			if (out.len >= WRITE_BYTES)
				flush(job, file, &out, &place);
		}
		flush(job, file, &out, &place);
		if (FileSync(file, PG_WAIT_EXTENSION) != 0)
			report_file("fsync", part_path(job));
		FileClose(file);
		counts.documents = (int64) count;
		counts.bytes = place.offset - before;
		job_done(job, &counts);
		set_place(job, &place);
	}
	SPI_freetuptable(keys);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return count > 0;
}
