/*
 * problem.c
 *		What formats and imports say of a document that they refuse, or read
 *		although it has defects.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "formats.h"

/* What memory.job_errors calls a reason. */
const char *
transfer_reason_name(TransferReason reason)
{
	switch (reason)
	{
		case TRANSFER_OK:
			return "ok";
		case TRANSFER_BAD_JSON:
			return "bad_json";
		case TRANSFER_UNKNOWN_FORMAT:
			return "unknown_format";
		case TRANSFER_NO_MESSAGES:
			return "no_messages";
		case TRANSFER_BAD_ROLE:
			return "bad_role";
		case TRANSFER_BAD_PARENT:
			return "bad_parent";
		case TRANSFER_BAD_TIME:
			return "bad_time";
		case TRANSFER_BAD_VALUE:
			return "bad_value";
		case TRANSFER_NUL:
			return "nul";
		case TRANSFER_SURROGATE:
			return "surrogate";
		case TRANSFER_TOO_LARGE:
			return "too_large";
		case TRANSFER_CONFLICT:
			return "conflict";
		case TRANSFER_DELETED:
			return "deleted";
	}
	elog(ERROR, "unknown reason %d", (int) reason);
	return NULL; /* keep compilers quiet */
}

static void set_problem(TransferProblem *problem, TransferReason reason, const char *path,
						const char *format, va_list args) pg_attribute_printf(4, 0);

/* path may be NULL: the document as a whole. */
static void
set_problem(TransferProblem *problem, TransferReason reason, const char *path, const char *format,
			va_list args)
{
	StringInfoData message;

	initStringInfo(&message);
	for (;;)
	{
		va_list copy;
		int needed;

		va_copy(copy, args);
		needed = appendStringInfoVA(&message, format, copy);
		va_end(copy);
		if (needed == 0)
			break;
		enlargeStringInfo(&message, needed);
	}
	problem->reason = reason;
	problem->path = path != NULL ? pstrdup(path) : "$";
	problem->message = message.data;
}

/*
 * Fills in a problem, whose message is made from the format; false, for the
 * caller to return.  path may be NULL: the document as a whole.
 */
bool
transfer_refuse(TransferProblem *problem, TransferReason reason, const char *path,
				const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_problem(problem, reason, path, format, args);
	va_end(args);
	problem->mended = 0;
	return false;
}

/*
 * Notes a defect that costs the document nothing but what the message says; the
 * first one is told, the others are counted.
 */
void
transfer_mend(TransferProblem *problem, TransferReason reason, const char *path, const char *format,
			  ...)
{
	va_list args;

	if (problem->mended++ > 0)
		return;
	va_start(args, format);
	set_problem(problem, reason, path, format, args);
	va_end(args);
}
