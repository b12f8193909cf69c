/*
 * job_import.c
 *		An import's batches: a range of the input is claimed in one transaction,
 *		its documents are stored in the next.
 *
 * Whoever claims holds the cursor's row and passes over a batch of documents,
 * or rows of CSV, to find its end, without reading what is in them; the bytes stay in memory
 * for the transaction that stores them.  A claim that was left behind is read
 * anew from where it begins.
 *
 * The batch has a memory context of its own, which the next claim resets.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "job.h"

#define CHUNK_BYTES (256 * 1024)
/* A claim ends behind the document that brings it over this. */
#define CLAIM_BYTES (16 * 1024 * 1024)

#define TURN_MILLISECONDS 10

/* A worker's import, and the batch at hand. */
struct JobImport
{
	const Job *job;
	MemoryContext context; /* of the batch; the next claim resets it */
	JobClaim claimed;
	StringInfoData bytes; /* of the input from claimed.from to claimed.to */
	ImportOptions options;
	bool is_rows; /* of CSV, with these columns; else documents */
	CsvColumns columns;
};

/* ---------- the file ---------- */

/* Appends the next chunk of the input; false: it has ended. */
static bool
read_chunk(JobImport *batch, File file, uint64 offset)
{
	StringInfo bytes = &batch->bytes;
	int got;

	/* a document may be as large as the setting allows, the chunk before it is in here too */
	enlargeStringInfo(bytes, CHUNK_BYTES);
	got = FileRead(file, bytes->data + bytes->len, CHUNK_BYTES, (off_t) offset, PG_WAIT_EXTENSION);
	if (got < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read file \"%s\": %m", batch->job->target)));
	bytes->len += got;
	bytes->data[bytes->len] = '\0';
	return got > 0;
}

/* It must be the file that the job began with. */
static void
check_size(const Job *job, File file)
{
	off_t size = FileSize(file);

	if (size < 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", job->target)));
	if (job->total_bytes >= 0 && size != job->total_bytes)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("file \"%s\" has changed since the job began", job->target),
						errdetail("It had " INT64_FORMAT " bytes and has " INT64_FORMAT ".",
								  job->total_bytes, (int64) size),
						errhint("Start a new import: what is stored already is left alone.")));
}

static File
open_file(const Job *job)
{
	File file = PathNameOpenFile(job->target, O_RDONLY | PG_BINARY);

	if (file < 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not open file \"%s\": %m", job->target)));
	return file;
}

/* The next piece of the input, behind those that are in bytes; false: it has ended. */
static bool
read_more(JobImport *batch, File file, uint64 *offset, JobStagePosition *position)
{
	int before = batch->bytes.len;

	if (file < 0)
		return job_stage_read(batch->job, &batch->claimed, &batch->bytes, offset, position);
	if (!read_chunk(batch, file, *offset))
		return false;
	*offset += batch->bytes.len - before;
	return true;
}

/*
 * The same for rows: only their ends are looked for.  Up to claimed.to for
 * rows 0.
 */
static void
read_rows_claim(JobImport *batch, int32 rows)
{
	const Job *job = batch->job;
	JobClaim *claimed = &batch->claimed;
	StringInfo bytes = &batch->bytes;
	bool staged = strcmp(job->source, "staged") == 0;
	JobStagePosition position = {0};
	File file = staged ? -1 : open_file(job);
	CsvCutter cutter = {.line = claimed->from.line};
	uint64 offset = claimed->from.offset;
	bool header = claimed->from.offset == 0;
	bool ended = false;
	CsvRecord record;
	int32 n = 0;

	if (!staged)
		check_size(job, file);
	while (rows > 0 || offset < claimed->to.offset)
	{
		CHECK_FOR_INTERRUPTS();
		if (claimed->from.offset == 0)
			csv_skip_mark(&cutter, bytes->data, bytes->len);
		while (n < rows && csv_cut(&cutter, bytes->data, bytes->len, ended, &record))
		{
			if (record.length > 0 && !header)
				n++;
			header &= record.length == 0;
		}
		if (ended || (rows > 0 && (n == rows || (n > 0 && bytes->len >= CLAIM_BYTES))))
			break;
		ended = !read_more(batch, file, &offset, &position);
	}
	if (!staged)
		FileClose(file);

	if (rows > 0)
	{
		claimed->end = ended && n < rows;
		claimed->to = claimed->from;
		claimed->to.offset += cutter.begin;
		claimed->to.line = cutter.line;
		claimed->to.documents += n;
		if (staged && !claimed->end && position.count > 0)
			job_stage_locate(claimed, &position);
	}
	bytes->len = (int) (claimed->to.offset - claimed->from.offset);
}

/*
 * Reads from claimed.from until so many documents have been passed, and notes
 * where that is.  documents 0: up to claimed.to.
 */
static void
read_claim(JobImport *batch, int32 documents)
{
	const Job *job = batch->job;
	JobClaim *claimed = &batch->claimed;
	StringInfo bytes = &batch->bytes;
	bool staged = strcmp(job->source, "staged") == 0;
	JobStagePosition position = {0};
	File file = staged ? -1 : open_file(job);
	Import *skim = import_begin(&batch->options);
	uint64 offset = claimed->from.offset;

	if (!staged)
		check_size(job, file);
	import_resume(skim, &claimed->from);
	for (;;)
	{
		int before = bytes->len;

		CHECK_FOR_INTERRUPTS();
		if (documents == 0 && offset >= claimed->to.offset)
			break;
		if (!read_more(batch, file, &offset, &position))
		{
			claimed->end = true;
			break;
		}
		if (documents == 0)
			continue;
		import_feed(skim, bytes->data + before, bytes->len - before);
		if (import_pass(skim, documents) || (bytes->len >= CLAIM_BYTES && import_passed(skim) > 0))
			break;
	}
	if (!staged)
		FileClose(file);

	if (documents > 0)
	{
		import_mark(skim, &claimed->to);
		if (claimed->end)
			claimed->to.offset = offset;
		else if (staged)
			job_stage_locate(claimed, &position);
	}
	if (claimed->to.offset < offset)
		bytes->len -= (int) (offset - claimed->to.offset);
}

/* ---------- both transactions ---------- */

/* A worker's import, in the current context; the job must live as long. */
JobImport *
job_import_begin(const Job *job)
{
	JobImport *batch = palloc0(sizeof(JobImport));

	batch->job = job;
	batch->context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext job batch", ALLOCSET_DEFAULT_SIZES);
	return batch;
}

static void
begin_batch(JobImport *batch)
{
	const Job *job = batch->job;
	ImportOptions *options = &batch->options;

	MemoryContextReset(batch->context);
	MemoryContextSwitchTo(batch->context);
	memset(&batch->claimed, 0, sizeof(batch->claimed));
	initStringInfo(&batch->bytes);

	batch->is_rows = job->columns != NULL;
	import_options(options);
	options->account_id = job->account_id;
	options->format = batch->is_rows ? &csv_format : transfer_format_argument(job->format, false);
	options->skip = job->skip;
	import_arguments(options, NULL, job->on_conflict);
	options->arguments = true;
	options->job_id = job->id;
	options->part = job->part;
	/* one write a claim: in several, locks would not be taken in order */
	options->batch_documents = job->batch_size + 2;
	options->batch_bytes = MaxAllocHugeSize;
	if (batch->is_rows)
		csv_columns(job->columns, &batch->columns);
	options->places = batch->is_rows && batch->columns.field_of[CSV_SEQ] < 0;
}

/* Reads what is claimed; limit: the batch's end is looked for, 0: it is known. */
static void
read_batch(JobImport *batch, int32 limit)
{
	if (batch->is_rows)
		read_rows_claim(batch, limit);
	else
		read_claim(batch, limit);
}

/* The next batch is claimed and read, in the caller's transaction; false: nothing is left. */
bool
job_import_claim(JobImport *batch)
{
	const Job *job = batch->job;
	JobClaim *claimed = &batch->claimed;
	MemoryContext old = CurrentMemoryContext;
	JobClaim cursor;
	bool found = job_lock_cursor(job, &cursor);

	/* if this is lost in a crash, so is all that comes after */
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	begin_batch(batch);
	if (found && job_adopt(job, claimed))
		read_batch(batch, 0);
	else if (found && !cursor.end)
	{
		claimed->from = cursor.to;
		claimed->from_row = cursor.to_row;
		claimed->from_skip = cursor.to_skip;
		read_batch(batch, job->batch_size);
		job_move_cursor(job, claimed);
	}
	else
		found = false;
	if (found)
		job_claim(job, claimed);
	MemoryContextSwitchTo(old);
	return found;
}

static bool
earlier_than_claimed(void *arg, int32 *pid)
{
	const JobImport *batch = arg;

	return job_earlier_claim(batch->job, &batch->claimed, pid);
}

/*
 * Messages that come one by one are numbered as they are stored: such a batch
 * waits until those before it in the input are done.  No account's lock is held
 * meanwhile.
 */
static void
wait_for_turn(void *arg)
{
	JobImport *batch = arg;

	job_wait_for_turn(batch->job, earlier_than_claimed, batch, TURN_MILLISECONDS);
}

static void
add_documents(Import *import, const JobImport *batch)
{
	import_resume(import, &batch->claimed.from);
	import_feed(import, batch->bytes.data, batch->bytes.len);
	if (import_gather(import))
		elog(ERROR, "a claim has more documents than were counted");
	if (batch->claimed.end)
	{
		import_finish(import);
		if (import_gather(import))
			elog(ERROR, "a claim has more documents than were counted");
	}
}

/* Stores the claimed batch, with its counts and the claim's end. */
void
job_import_write(JobImport *batch)
{
	const Job *job = batch->job;
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	Import *import;

	batch->options.before_lock = wait_for_turn;
	batch->options.before_lock_arg = batch;
	import = import_begin(&batch->options);
	if (batch->is_rows)
		import_add_csv(import, &batch->columns, batch->bytes.data, batch->bytes.len,
					   &batch->claimed.from);
	else
		add_documents(import, batch);
	import_write(import);
	if (strcmp(job->source, "staged") == 0)
		job_stage_delete(job, &batch->claimed);
	job_done(job, import_counts(import));
	MemoryContextSwitchTo(old);
}

/* ---------- the header line of rows ---------- */

/*
 * Of CSV: job->columns becomes those of the header line.  Needs SPI, and the
 * owner's rights if lines are staged.  Error: 22023 there is none.
 */
void
job_import_header(Job *job)
{
	JobImport batch = {.job = job};
	StringInfo bytes = &batch.bytes;
	bool staged = strcmp(job->source, "staged") == 0;
	JobStagePosition position = {0};
	File file = staged ? -1 : open_file(job);
	CsvCutter cutter = {.line = 1};
	CsvRecord record = {0};
	uint64 offset = 0;
	bool ended = false;

	initStringInfo(bytes);
	while (record.length == 0 && !ended && bytes->len < CLAIM_BYTES)
	{
		CHECK_FOR_INTERRUPTS();
		ended = !read_more(&batch, file, &offset, &position);
		csv_skip_mark(&cutter, bytes->data, bytes->len);
		while (record.length == 0 && csv_cut(&cutter, bytes->data, bytes->len, ended, &record))
			;
	}
	if (!staged)
		FileClose(file);
	if (record.length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the input has no header line"),
				 errhint("The first line of CSV names the columns.")));
	import_options(&batch.options);
	job->columns = csv_header(&record, batch.options.csv_delimiter, batch.options.csv_encoding);
	pfree(bytes->data);
}
