/*
 * resp.c
 *		Redis commands as text, the protocol that clients speak (RESP, see
 *		redis.io/docs/latest/develop/reference/protocol-spec): an array of
 *		strings, each with its length.
 *
 *		*3\r\n$5\r\nRPUSH\r\n$3\r\nkey\r\n$5\r\nvalue\r\n
 *
 * This is what `redis-cli --pipe` sends and an append-only file holds.  Empty
 * lines between commands are skipped, as the server does.  The reader points
 * into the text and allocates nothing but its array of arguments; every length
 * is compared with what is left.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "redis.h"

void
resp_begin(StringInfo out, int64 count)
{
	appendStringInfo(out, "*" INT64_FORMAT "\r\n", count);
}

/* Appends one argument of a command that resp_begin has opened. */
void
resp_argument(StringInfo out, const char *data, Size length)
{
	appendStringInfo(out, "$%zu\r\n", length);
	appendBinaryStringInfo(out, data, (int) length);
	appendBinaryStringInfo(out, "\r\n", 2);
}

void
resp_append(StringInfo out, int count, const char *const *args, const Size *lengths)
{
	resp_begin(out, count);
	for (int i = 0; i < count; i++)
		resp_argument(out, args[i], lengths != NULL ? lengths[i] : strlen(args[i]));
}

/*
 * Begins to read commands from a text, which must live as long as the reader;
 * its arguments refer to it.
 */
void
resp_open(RespReader *reader, const char *text, Size length)
{
	memset(reader, 0, sizeof(*reader));
	reader->start = reader->at = text;
	reader->end = text + length;
	reader->capacity = 16;
	reader->args = palloc(reader->capacity * sizeof(RespText));
}

static void
refuse_text(RespReader *reader, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_BAD_COPY_FILE_FORMAT), errmsg("invalid Redis commands: %s", what),
			 errdetail("At byte %zu, in command " INT64_FORMAT ".",
					   (Size) (reader->at - reader->start), reader->commands + 1)));
}

/* A line such as *3 or $5: its number. */
static int64
read_count(RespReader *reader, char sign, int64 limit)
{
	int64 value = 0;
	bool digits = false;

	if (reader->at == reader->end || *reader->at != sign)
		refuse_text(reader, psprintf("a line that begins with %c was expected", sign));
	for (reader->at++; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9';
		 reader->at++)
	{
		value = value * 10 + (*reader->at - '0');
		digits = true;
		if (value > limit)
			refuse_text(reader, psprintf("a length is over " INT64_FORMAT, limit));
	}
	if (!digits)
		refuse_text(reader, "a length is not a number");
	if (reader->end - reader->at < 2 || reader->at[0] != '\r' || reader->at[1] != '\n')
		refuse_text(reader, "a line does not end with CR LF");
	reader->at += 2;
	return value;
}

static void
read_argument(RespReader *reader, RespText *argument)
{
	int64 length = read_count(reader, '$', REDIS_MAX_STRING);

	if (reader->end - reader->at < length + 2)
		refuse_text(reader, "it ends within an argument");
	argument->data = reader->at;
	argument->length = (Size) length;
	reader->at += length;
	if (reader->at[0] != '\r' || reader->at[1] != '\n')
		refuse_text(reader, "an argument is longer than its length says");
	reader->at += 2;
}

bool
resp_next(RespReader *reader)
{
	int64 count;

	while (reader->at < reader->end && (*reader->at == '\n' || *reader->at == '\r'))
		reader->at++;
	if (reader->at == reader->end)
		return false;

	count = read_count(reader, '*', REDIS_MAX_ELEMENTS);
	if (count == 0)
		refuse_text(reader, "a command has no name");
	/* an argument takes six bytes at least: so few bytes cannot claim much */
	if (count > (reader->end - reader->at) / 6 + 1)
		refuse_text(reader, "it ends within a command");
	if (count > reader->capacity)
	{
		reader->capacity = (int) count;
		reader->args = repalloc_huge(reader->args, mul_size(reader->capacity, sizeof(RespText)));
	}
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		read_argument(reader, &reader->args[i]);
	}
	reader->count = (int) count;
	reader->commands++;
	return true;
}
