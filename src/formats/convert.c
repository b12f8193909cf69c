/*
 * convert.c
 *		memory.convert: a document of one format as one of another;
 *		memory.document_format: which one it is of.
 *
 * Reads no table and no setting.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "census.h"
#include "formats.h"

/* The format of this name; NULL: detect it.  Error: 22023. */
const TransferFormat *
transfer_format_argument(const char *name, bool to_write)
{
	const TransferFormat *format = transfer_format_named(name);
	StringInfoData known;

	if (format != NULL && (!to_write || format->write != NULL))
		return format;
	if (!to_write && strcmp(name, "auto") == 0)
		return NULL;

	initStringInfo(&known);
	for (int i = 0; i < transfer_nformats; i++)
		if (!to_write || transfer_formats[i]->write != NULL)
			appendStringInfo(&known, ", %s", transfer_formats[i]->name);
	if (format != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("format \"%s\" can be read, but not written", name),
						errhint("Formats that can be written: %s.", known.data + 2)));
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown format \"%s\"", name),
					errhint("Formats: %s%s.", to_write ? "" : "auto, ", known.data + 2)));
	return NULL; /* keep compilers quiet */
}

PG_FUNCTION_INFO_V1(memory_document_format);

/*
 * memory_document_format(document jsonb) → text
 *		The name of the format that the document looks like; NULL: of none.
 */
Datum
memory_document_format(PG_FUNCTION_ARGS)
{
	const TransferFormat *format = transfer_format_of(PG_GETARG_JSONB_P(0));

	if (format == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(format->name));
}

PG_FUNCTION_INFO_V1(memory_convert);

/*
 * memory_convert(document jsonb, from_format text, to_format text) → jsonb
 *		The document in another format; an array where that one stores messages
 *		one by one.  from_format 'auto': detected.  A notice counts what the format
 *		cannot hold, and tells a defect that was mended.  Errors: 22023 unknown
 *		format, or a document that is not of it, with the place.
 */
Datum
memory_convert(PG_FUNCTION_ARGS)
{
	Jsonb *document = PG_GETARG_JSONB_P(0);
	const TransferFormat *from =
		transfer_format_argument(text_to_cstring(PG_GETARG_TEXT_PP(1)), false);
	const TransferFormat *to =
		transfer_format_argument(text_to_cstring(PG_GETARG_TEXT_PP(2)), true);
	TransferConversation conversation = {0};
	TransferProblem problem = {0};
	Census lost = {{0}};
	Jsonb *written;
	bool many = false;

	if (from == NULL)
		from = transfer_format_of(document);
	if (from == NULL && transfer_foreign_name(document) != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the document is of %s, whose exports are not read",
							   transfer_foreign_name(document))));
	if (from == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the document is of no known format"), errhint("Name its format.")));
	if (!from->read(document, &conversation, &problem))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("not a document of format \"%s\": %s", from->name, problem.message),
						errdetail("Reason %s, at %s.", transfer_reason_name(problem.reason),
								  problem.path)));
	if (problem.mended > 0)
		ereport(NOTICE,
				(errmsg("the document has a defect: %s", problem.message),
				 errdetail("Reason %s, at %s; %d in all.", transfer_reason_name(problem.reason),
						   problem.path, problem.mended)));
	written = to->write(&conversation, &many);
	census_add_lost(&lost, &conversation, from, to, written, many);
	census_tell(&lost, to);
	PG_RETURN_JSONB_P(written);
}
