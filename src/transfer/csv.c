/*
 * csv.c
 *		Messages as rows of CSV: columns and values.
 */
#include "postgres.h"

#include <errno.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "csv.h"
#include "memory_limits.h"

const TransferFormat csv_format = {.name = "csv", .label = "CSV"};

static const char *const names[CSV_NCOLUMNS] = {"conversation_id", "account_id", "seq",
												"parent_seq",      "role",       "content",
												"model",           "tokens",     "created_at",
												"message_id",      "metadata"};

/* ---- columns ---- */

/* The name of a column as a header has it. */
const char *
csv_column_name(CsvColumn column)
{
	return names[column];
}

/* The column of a name, which may be quoted; spaces around it do not count. */
static CsvColumn
find_column(const char *name, Size length)
{
	while (length > 0 && *name == ' ')
		name++, length--;
	while (length > 0 && name[length - 1] == ' ')
		length--;
	if (length >= 2 && name[0] == '"' && name[length - 1] == '"')
		name++, length -= 2;
	for (int i = 0; i < CSV_NCOLUMNS; i++)
		if (strlen(names[i]) == length && pg_strncasecmp(names[i], name, length) == 0)
			return i;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("\"%.*s\" in the header line is not a column of memory.messages",
						   pg_mbcliplen(name, (int) Min(length, 100), 63), name),
					errhint("The first line names the columns: conversation_id, role and content, "
							"and any of account_id, seq, parent_seq, model, tokens, created_at, "
							"message_id and metadata.")));
	return CSV_NCOLUMNS; /* keep compilers quiet */
}

/* Takes a list of names between delimiters. */
static void
set_columns(const char *list, Size length, char delimiter, CsvColumns *columns)
{
	static const CsvColumn needed[] = {CSV_CONVERSATION_ID, CSV_ROLE, CSV_CONTENT};
	const char *end = list + length;

	columns->count = 0;
	for (int i = 0; i < CSV_NCOLUMNS; i++)
		columns->field_of[i] = -1;
	while (list <= end)
	{
		const char *comma = memchr(list, delimiter, end - list);
		CsvColumn column = find_column(list, (comma != NULL ? comma : end) - list);

		if (columns->field_of[column] >= 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the header line names column \"%s\" twice", names[column])));
		columns->of[columns->count] = column;
		columns->field_of[column] = columns->count++;
		list = comma != NULL ? comma + 1 : end + 1;
	}
	for (int i = 0; i < lengthof(needed); i++)
		if (columns->field_of[needed[i]] < 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the header line does not name column \"%s\"", names[needed[i]]),
							errhint("conversation_id, role and content are required.")));
}

/*
 * Which columns a list of names, separated by commas, says that records have.
 * Error: 22023 an unknown or repeated name.
 */
void
csv_columns(const char *list, CsvColumns *columns)
{
	set_columns(list, strlen(list), ',', columns);
}

char *
csv_header(const CsvRecord *record, char delimiter, int encoding)
{
	CsvColumns columns;
	StringInfoData list;

	(void) pg_verify_mbstr(encoding, record->data, (int) record->length, false);
	set_columns(record->data, record->length, delimiter, &columns);
	initStringInfo(&list);
	for (int i = 0; i < columns.count; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? "," : "", names[columns.of[i]]);
	return list.data;
}

/* ---- values ---- */

static const char *
field(const CsvColumns *columns, char **fields, CsvColumn column)
{
	return columns->field_of[column] < 0 ? NULL : fields[columns->field_of[column]];
}

static bool
refuse_missing(TransferProblem *problem, CsvColumn column)
{
	return transfer_refuse(problem, TRANSFER_BAD_VALUE, names[column], "%s is null", names[column]);
}

/* A number that is not negative; of a null it stays what it is. */
static bool
read_number(const char *text, CsvColumn column, int64 low, int64 high, int64 *value,
			TransferProblem *problem)
{
	char *end;

	if (text == NULL)
		return true;
	errno = 0;
	*value = strtoi64(text, &end, 10);
	while (*end == ' ')
		end++;
	if (end == text || *end != '\0' || errno != 0 || *value < low || *value > high)
		return transfer_refuse(problem, TRANSFER_BAD_VALUE, names[column],
							   "%s is not a whole number from " INT64_FORMAT, names[column], low);
	return true;
}

static bool
read_numbers(const CsvColumns *columns, char **fields, TransferMessage *message,
			 TransferProblem *problem)
{
	int64 tokens = -1;

	message->parent_seq = -1;
	if (!read_number(field(columns, fields, CSV_SEQ), CSV_SEQ, 1, MEMORY_MAX_SEQ, &message->seq,
					 problem) ||
		!read_number(field(columns, fields, CSV_PARENT_SEQ), CSV_PARENT_SEQ, 0, MEMORY_MAX_SEQ,
					 &message->parent_seq, problem) ||
		!read_number(field(columns, fields, CSV_TOKENS), CSV_TOKENS, 0, PG_INT32_MAX, &tokens,
					 problem))
		return false;
	message->tokens = (int32) tokens;
	if (columns->field_of[CSV_SEQ] >= 0 && message->seq == 0 &&
		field(columns, fields, CSV_MESSAGE_ID) == NULL)
		return transfer_refuse(problem, TRANSFER_BAD_VALUE, names[CSV_SEQ],
							   "neither seq nor message_id is given");
	return true;
}

static bool
read_metadata(const char *text, TransferMessage *message, TransferProblem *problem)
{
	if (text == NULL)
		return true;
	message->metadata =
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(unconstify(char *, text))));
	if (!JB_ROOT_IS_OBJECT(message->metadata))
		return transfer_refuse(problem, TRANSFER_BAD_VALUE, names[CSV_METADATA],
							   "metadata is not an object");
	return true;
}

/* Where the bytes of a field are kept. */
typedef struct Texts
{
	char *next;
} Texts;

static TransferText
keep_text(Texts *texts, const char *text)
{
	TransferText result = {NULL, 0};

	if (text == NULL)
		return result;
	result.length = strlen(text);
	result.data = texts->next;
	memcpy(texts->next, text, result.length);
	texts->next += result.length;
	return result;
}

/* Words for roles, in whatever case; any other text is a role as it is. */
static TransferText
role_of(TransferText word)
{
	static const char *const words[][2] = {{"human", "user"},    {"user", "user"},
										   {"ai", "assistant"},  {"assistant", "assistant"},
										   {"bot", "assistant"}, {"system", "system"},
										   {"tool", "tool"}};

	for (int i = 0; word.data != NULL && i < lengthof(words); i++)
		if (word.length == strlen(words[i][0]) &&
			pg_strncasecmp(word.data, words[i][0], word.length) == 0)
		{
			word.data = words[i][1];
			word.length = (uint32) strlen(words[i][1]);
			break;
		}
	return word;
}

/* Copies all texts, which COPY's next record takes the place of. */
static void
keep_texts(const CsvColumns *columns, char **fields, TransferConversation *conversation)
{
	static const CsvColumn kept[] = {CSV_CONVERSATION_ID, CSV_ACCOUNT_ID, CSV_ROLE,
									 CSV_CONTENT,         CSV_MODEL,      CSV_MESSAGE_ID};
	TransferMessage *message = conversation->messages;
	TransferText values[lengthof(kept)];
	Size size = 1;
	Texts texts;

	for (int i = 0; i < lengthof(kept); i++)
	{
		const char *text = field(columns, fields, kept[i]);

		size = add_size(size, text != NULL ? strlen(text) : 0);
	}
	texts.next = palloc(size);
	for (int i = 0; i < lengthof(kept); i++)
		values[i] = keep_text(&texts, field(columns, fields, kept[i]));
	conversation->source_id = values[0];
	conversation->account_id = values[1];
	message->role = role_of(values[2]);
	message->content = values[3];
	message->model = values[4];
	message->message_id = values[5];
}

bool
csv_read(const CsvColumns *columns, char **fields, int nfields, TransferConversation *conversation,
		 TransferProblem *problem, volatile CsvColumn *at)
{
	TransferMessage *message;
	const char *created_at;

	memset(conversation, 0, sizeof(*conversation));
	conversation->partial = true;
	conversation->row = true;
	conversation->head = -1;
	*at = CSV_NCOLUMNS;
	if (nfields != columns->count)
		return transfer_refuse(problem, TRANSFER_BAD_VALUE, "$",
							   "the line has %d fields, the header line %d", nfields,
							   columns->count);
	if (field(columns, fields, CSV_CONVERSATION_ID) == NULL)
		return refuse_missing(problem, CSV_CONVERSATION_ID);
	if (field(columns, fields, CSV_CONTENT) == NULL)
		return refuse_missing(problem, CSV_CONTENT);

	message = conversation->messages = palloc0(sizeof(TransferMessage));
	conversation->count = 1;
	message->parent = TRANSFER_PARENT_BEFORE;
	if (!read_numbers(columns, fields, message, problem))
		return false;
	*at = CSV_CREATED_AT;
	created_at = field(columns, fields, CSV_CREATED_AT);
	message->has_created_at = created_at != NULL;
	if (created_at != NULL)
		message->created_at = DatumGetTimestampTz(
			DirectFunctionCall3(timestamptz_in, CStringGetDatum(unconstify(char *, created_at)),
								ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	*at = CSV_METADATA;
	if (!read_metadata(field(columns, fields, CSV_METADATA), message, problem))
		return false;
	*at = CSV_NCOLUMNS;
	keep_texts(columns, fields, conversation);
	return true;
}
