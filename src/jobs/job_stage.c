/*
 * job_stage.c
 *		Staged lines: what a client has copied into memory.import_stage, read as
 *		the file that they came from.
 *
 * The lines that one role has staged, in order, each with a line's end, are the
 * input.  Where it goes on is a line and a place in it.  A batch deletes the
 * lines that lie in it as a whole; one that two batches share stays until the
 * job is finished, since the other batch may have to read it again.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "job.h"
#include "sql_text.h"
#include "statement.h"

/* Lines that are read at once. */
#define PAGE_LINES 1000

/*
 * The lines that one role has staged while confined to one account ('': to
 * none), up to those that were there when the job was made.  STAGE_FIRST is used
 * by the statements that begin at a line.
 */
/* clang-format off */
enum { STAGE_ROLE, STAGE_ACCOUNT, STAGE_LAST, STAGE_FIRST, STAGE_LIMIT };
#define MINE "staged_by" OP(=) "$1 AND account_id" OP(=) "$2 AND line_id" OP(<=) "$3"

static PlanStatement measure_lines = {
	"SELECT pg_catalog.max(line_id),"
	"       pg_catalog.sum(pg_catalog.octet_length(line)" OP(+) "1)::pg_catalog.int8"
	" FROM memory.import_stage"
	" WHERE " MINE,
	STAGE_LAST + 1, {OIDOID, TEXTOID, INT8OID}};

static PlanStatement read_lines = {
	"SELECT line_id, line"
	" FROM memory.import_stage"
	" WHERE " MINE " AND line_id" OP(>=) "$4"
	" ORDER BY staged_by, account_id, line_id"
	" LIMIT $5",
	STAGE_LIMIT + 1, {OIDOID, TEXTOID, INT8OID, INT8OID, INT8OID}};

static PlanStatement delete_lines = {
	"DELETE FROM memory.import_stage"
	" WHERE " MINE " AND line_id" OP(>=) "$4",
	STAGE_FIRST + 1, {OIDOID, TEXTOID, INT8OID, INT8OID}};
/* clang-format on */

static void
set_owner(const Job *job, Datum *values)
{
	values[STAGE_ROLE] = ObjectIdGetDatum(job->role);
	values[STAGE_ACCOUNT] = CStringGetTextDatum(job->confined != NULL ? job->confined : "");
	values[STAGE_LAST] = Int64GetDatum(job->last_row);
}

/* How much there is; total_bytes 0: nothing. */
void
job_stage_measure(Job *job)
{
	Datum values[STAGE_LAST + 1];
	bool isnull;

	job->last_row = PG_INT64_MAX;
	set_owner(job, values);
	plan_execute(&measure_lines, values, NULL, false);
	job->last_row =
		DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	job->total_bytes = isnull ? 0
							  : DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
															SPI_tuptable->tupdesc, 2, &isnull));
}

static void
note_line(JobStagePosition *position, int64 row, uint64 offset, Size length)
{
	if (position->count == position->capacity)
	{
		position->capacity = Max(position->capacity * 2, PAGE_LINES);
		position->lines = position->lines == NULL
							  ? palloc(mul_size(position->capacity, sizeof(JobStageLine)))
							  : repalloc_huge(position->lines,
											  mul_size(position->capacity, sizeof(JobStageLine)));
	}
	position->lines[position->count].row = row;
	position->lines[position->count].offset = offset;
	position->lines[position->count++].length = length;
	position->next_row = row + 1;
}

/*
 * Appends the next page of lines; false: there are no more.  *offset is where
 * the bytes end in the input.
 */
bool
job_stage_read(const Job *job, JobClaim *claim, StringInfo bytes, uint64 *offset,
			   JobStagePosition *position)
{
	Datum values[STAGE_LIMIT + 1];
	uint64 rows;
	SPITupleTable *table;

	set_owner(job, values);
	values[STAGE_FIRST] =
		Int64GetDatum(position->count == 0 ? claim->from_row : position->next_row);
	values[STAGE_LIMIT] = Int64GetDatum(PAGE_LINES);
	rows = plan_execute(&read_lines, values, NULL, false);
	table = SPI_tuptable;
	for (uint64 i = 0; i < rows; i++)
	{
		bool isnull;
		int64 row = DatumGetInt64(SPI_getbinval(table->vals[i], table->tupdesc, 1, &isnull));
		text *line = DatumGetTextPP(SPI_getbinval(table->vals[i], table->tupdesc, 2, &isnull));
		Size length = VARSIZE_ANY_EXHDR(line);
		Size skip = 0;

		CHECK_FOR_INTERRUPTS();
		if (position->count == 0 && claim->from_skip < 0)
		{
			appendStringInfoChar(bytes, '\n');
			(*offset)++;
		}
		else if (position->count == 0)
			skip = Min((Size) claim->from_skip, length);
		note_line(position, row, *offset - skip, length);
		appendBinaryStringInfo(bytes, VARDATA_ANY(line) + skip, (int) (length - skip));
		appendStringInfoChar(bytes, '\n');
		*offset += length - skip + 1;
	}
	return rows > 0;
}

/* The line and the place in it where claim->to lies. */
void
job_stage_locate(JobClaim *claim, const JobStagePosition *position)
{
	int64 i = position->count - 1;

	while (i > 0 && position->lines[i].offset > claim->to.offset)
		i--;
	claim->to_row = position->lines[i].row;
	claim->to_skip = (int64) (claim->to.offset - position->lines[i].offset);
	if (claim->to_skip >= (int64) position->lines[i].length)
	{
		/* only the line's end is left of it */
		claim->to_row++;
		claim->to_skip = -1;
	}
}

/* The lines that are the batch's alone, in its transaction. */
void
job_stage_delete(const Job *job, const JobClaim *claim)
{
	Datum values[STAGE_FIRST + 1];
	int64 first = claim->from_row + (claim->from_skip > 0 ? 1 : 0);
	int64 last = claim->end ? job->last_row : claim->to_row - 1;

	set_owner(job, values);
	values[STAGE_LAST] = Int64GetDatum(last);
	values[STAGE_FIRST] = Int64GetDatum(first);
	plan_execute(&delete_lines, values, NULL, false);
}

/* What is left when the job is finished; how many lines that were. */
uint64
job_stage_clear(const Job *job)
{
	Datum values[STAGE_FIRST + 1];

	set_owner(job, values);
	values[STAGE_FIRST] = Int64GetDatum(0);
	return plan_execute(&delete_lines, values, NULL, false);
}
