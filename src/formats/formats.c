/*
 * formats.c
 *		The table of formats, and what all of them say when they refuse a
 *		document.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "formats.h"
#include "transfer.h"

/*
 * In the order in which they are asked whether a document is theirs: those
 * with marks of their own come before those that resemble others.
 */
const TransferFormat *const transfer_formats[] = {
	&transfer_native,    &transfer_chatgpt,  &transfer_claude,    &transfer_openwebui,
	&transfer_librechat, &transfer_sharegpt, &transfer_langchain, &transfer_agents,
	&transfer_anthropic, &transfer_vercel,   &transfer_openai,
};

const int transfer_nformats = lengthof(transfer_formats);

/* The format of this name, or NULL. */
const TransferFormat *
transfer_format_named(const char *name)
{
	for (int i = 0; i < transfer_nformats; i++)
		if (strcmp(transfer_formats[i]->name, name) == 0)
			return transfer_formats[i];
	return NULL;
}

/* The format that a document looks like, or NULL. */
const TransferFormat *
transfer_format_of(Jsonb *document)
{
	if (transfer_foreign_name(document) != NULL)
		return NULL;
	for (int i = 0; i < transfer_nformats; i++)
		if (transfer_formats[i]->detect(document))
			return transfer_formats[i];
	return NULL;
}

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
