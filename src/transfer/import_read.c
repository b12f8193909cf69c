/*
 * import_read.c
 *		A document's text to a conversation that the store will take: JSON, the
 *		format, the store's limits, account and id.
 *
 * PostgreSQL's JSON parser, and what formats call, report some errors by
 * throwing them.  So each document is read in a subtransaction: bad input is
 * turned into a rejection, every other error goes on.  Nothing is written in
 * it, so it costs no transaction id.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "account.h"
#include "attempt.h"
#include "characters.h"
#include "compat.h"
#include "import_private.h"
#include "json_limits.h"
#include "memory_limits.h"
#include "metering.h"

/* PostgreSQL's parser takes 2^23 pairs of one object. */
#define MAX_VALUES 8000000

/* ---- JSON ---- */

/* Moves the document's line and offset to a place in its text. */
static void
locate(ImportDocument *document, const char *data, Size length, Size at)
{
	document->offset += at;
	for (Size i = 0; i < at; i++)
		if (data[i] == '\n')
			document->line++;
	document->excerpt = import_excerpt(data, length, at);
}

/*
 * Whether the text has more values than PostgreSQL's parser may be able to take.
 * It would fail with an internal error, which says nothing of the input.
 */
static bool
has_too_many_values(const char *data, Size length)
{
	int64 commas = 0;
	bool quoted = false;

	/* a value and its comma are two bytes at least */
	for (Size i = 0; length / 2 > MAX_VALUES && i < length; i++)
	{
		if (data[i] == '"')
			quoted = !quoted;
		else if (data[i] == '\\' && quoted)
			i++;
		else if (data[i] == ',' && !quoted && ++commas == MAX_VALUES)
			return true;
	}
	return false;
}

/* Says where and why the text is not JSON; false. */
static bool
refuse_json(ImportDocument *document, char *data, Size length)
{
	JsonLexContext *lexer = compat_json_lexer(data, (int) length);
	JsonParseErrorType error = pg_parse_json(lexer, &nullSemAction);
	char *message;
	Size at;

	if (error == JSON_SUCCESS)
		return true;
	message = pstrdup(json_errdetail(error, lexer)); /* it may be a constant */
	if (message[0] != '\0' && message[strlen(message) - 1] == '.')
		message[strlen(message) - 1] = '\0';
	at = lexer->token_start != NULL ? (Size) (lexer->token_start - data) : 0;
	locate(document, data, length, Min(at, length));
	return transfer_refuse(&document->problem, TRANSFER_BAD_JSON, "$", "the JSON is not valid: %s",
						   message);
}

/* Replaces what is no character of PostgreSQL's; false: refused.  *changed: something was. */
static bool
replace_characters(ImportDocument *document, char *data, Size length, bool *changed)
{
	TransferReason reason;
	char *at;

	if (characters_replace(&document->problem, data, changed, &at, &reason))
		return true;
	locate(document, data, length, at - data);
	return transfer_refuse(&document->problem, reason, "$",
						   reason == TRANSFER_NUL
							   ? "the document contains the character \\u0000"
							   : "the document contains half of a surrogate pair, which is no "
								 "character");
}

/*
 * The text as jsonb in the batch's context; the parser's garbage goes with the
 * scratch context.
 */
static Jsonb *
parse(Import *import, char *data)
{
	MemoryContext old = MemoryContextSwitchTo(import->scratch);
	Jsonb *parsed = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(data)));
	Jsonb *kept = MemoryContextAlloc(old, VARSIZE(parsed));

	memcpy(kept, parsed, VARSIZE(parsed));
	MemoryContextSwitchTo(old);
	return kept;
}

/* ---- what the store demands of a conversation ---- */

static bool
refuse_long(TransferProblem *problem, int32 index, const char *what, uint32 length, uint32 limit)
{
	return transfer_refuse(problem, TRANSFER_TOO_LARGE, "$",
						   "%s of message %d has %u bytes, more than the limit of %u", what,
						   index + 1, length, limit);
}

/* what: whose metadata it is. */
static bool
check_metadata(TransferProblem *problem, const char *what, Jsonb *metadata)
{
	const char *excess = metadata == NULL ? NULL : json_excess(metadata);

	if (excess == NULL)
		return true;
	return transfer_refuse(problem, TRANSFER_TOO_LARGE, "$", "metadata of %s %s", what, excess);
}

/* A title that is too long loses its end: that costs less than the conversation. */
static void
shorten_title(TransferText *title, TransferProblem *problem)
{
	if (title->data == NULL || title->length <= MEMORY_MAX_TITLE_BYTES)
		return;
	transfer_mend(problem, TRANSFER_TOO_LARGE, "$.title",
				  "the title has %u bytes, of which %d are kept", title->length,
				  MEMORY_MAX_TITLE_BYTES);
	title->length = pg_mbcliplen(title->data, title->length, MEMORY_MAX_TITLE_BYTES);
}

static bool
check_message(const TransferConversation *conversation, int32 index, TransferProblem *problem)
{
	TransferMessage *message = &conversation->messages[index];

	if (message->role.data == NULL || message->role.length == 0)
		return transfer_refuse(problem, TRANSFER_BAD_ROLE, "$", "message %d has no role",
							   index + 1);
	if (message->role.length > MEMORY_MAX_ROLE_BYTES)
		return transfer_refuse(problem, TRANSFER_BAD_ROLE, "$",
							   "the role of message %d has %u bytes, more than the limit of %d",
							   index + 1, message->role.length, MEMORY_MAX_ROLE_BYTES);
	if (message->content.data == NULL)
		message->content.data = "";
	if (message->content.length > MEMORY_MAX_CONTENT_BYTES)
		return refuse_long(problem, index, "content", message->content.length,
						   MEMORY_MAX_CONTENT_BYTES);
	if (message->model.length > MEMORY_MAX_MODEL_BYTES)
		return refuse_long(problem, index, "model", message->model.length, MEMORY_MAX_MODEL_BYTES);
	if (message->message_id.length > MEMORY_MAX_MESSAGE_ID_BYTES)
		return refuse_long(problem, index, "the id", message->message_id.length,
						   MEMORY_MAX_MESSAGE_ID_BYTES);
	if (message->parent < TRANSFER_PARENT_ROOT || message->parent >= index)
		return transfer_refuse(problem, TRANSFER_BAD_PARENT, "$",
							   "message %d does not answer an earlier one", index + 1);
	if (message->seq < 0 || message->seq > MEMORY_MAX_SEQ)
		return transfer_refuse(problem, TRANSFER_BAD_VALUE, "$",
							   "seq of message %d is out of range", index + 1);
	if (message->has_created_at &&
		(TIMESTAMP_NOT_FINITE(message->created_at) || !IS_VALID_TIMESTAMP(message->created_at)))
		return transfer_refuse(problem, TRANSFER_BAD_TIME, "$",
							   "the time of message %d is out of range", index + 1);
	return check_metadata(problem, psprintf("message %d", index + 1), message->metadata);
}

static bool
check_conversation(TransferConversation *conversation, TransferProblem *problem)
{
	shorten_title(&conversation->title, problem);
	if (!check_metadata(problem, "the conversation", conversation->metadata))
		return false;
	if ((conversation->has_created_at && !IS_VALID_TIMESTAMP(conversation->created_at)) ||
		(conversation->has_updated_at && !IS_VALID_TIMESTAMP(conversation->updated_at)))
		return transfer_refuse(problem, TRANSFER_BAD_TIME, "$",
							   "a time of the conversation is out of range");
	if (conversation->partial && !conversation->row &&
		(conversation->source_id.data == NULL || conversation->count != 1 ||
		 conversation->messages[0].message_id.data == NULL))
		return transfer_refuse(problem, TRANSFER_BAD_VALUE, "$",
							   "a message that comes by itself needs an id, and its "
							   "conversation's");
	for (int32 i = 0; i < conversation->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!check_message(conversation, i, problem))
			return false;
	}
	return true;
}

/* ---- whose, and which ---- */

static bool
find_account(Import *import, ImportDocument *document)
{
	const TransferText *named = &document->conversation.account_id;
	text *account_id;

	if (import->options.account_id != NULL || (named->data == NULL && document->account_id != NULL))
		return true; /* the import's, or the session's */
	if (named->data == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("document " UINT64_FORMAT " names no account, and none is set",
						document->number),
				 errhint(
					 "Set memory_ext.import_account to the account that the conversations belong "
					 "to.")));
	if (named->length == 0 || named->length > MEMORY_MAX_ACCOUNT_ID_BYTES)
		return transfer_refuse(&document->problem, TRANSFER_BAD_VALUE, "$.account_id",
							   "account_id has %u bytes, not 1 to %d", named->length,
							   MEMORY_MAX_ACCOUNT_ID_BYTES);
	if (import->last_account != NULL && VARSIZE_ANY_EXHDR(import->last_account) == named->length &&
		memcmp(VARDATA_ANY(import->last_account), named->data, named->length) == 0)
	{
		document->account_id = import->last_account;
		return true;
	}
	account_id = cstring_to_text_with_len(named->data, named->length);
	if (!account_visible(account_id))
		return transfer_refuse(&document->problem, TRANSFER_BAD_VALUE, "$.account_id",
							   "account \"%s\" is not available in this session",
							   text_to_cstring(account_id));
	document->account_id = import->last_account = account_id;
	return true;
}

/* The canonical form with hyphens, as documents write it; others are names. */
static bool
is_uuid(const TransferText *text, pg_uuid_t *id)
{
	int digits = 0;

	if (text->data == NULL || text->length != 36)
		return false;
	memset(id, 0, sizeof(*id));
	for (int i = 0; i < 36; i++)
	{
		char c = text->data[i];
		int value;

		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (c != '-')
				return false;
			continue;
		}
		if (c >= '0' && c <= '9')
			value = c - '0';
		else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
			value = (c | 0x20) - 'a' + 10;
		else
			return false;
		id->data[digits / 2] |= value << (digits % 2 == 0 ? 4 : 0);
		digits++;
	}
	return true;
}

static void
hash_part(pg_cryptohash_ctx *hash, const char *data, Size length)
{
	uint64 size = length;
	uint8 bytes[8];

	/* the length first, so that no two lists of parts are the same bytes */
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8) (size >> (56 - 8 * i));
	if (pg_cryptohash_update(hash, bytes, sizeof(bytes)) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) data, length) < 0)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a hash")));
}

/* The id of the digest: a UUID of version 8. */
static void
set_id(ImportDocument *document, pg_cryptohash_ctx *hash)
{
	uint8 digest[PG_SHA256_DIGEST_LENGTH];

	if (pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a hash")));
	pg_cryptohash_free(hash);
	memcpy(document->id.data, digest, UUID_LEN);
	document->id.data[6] = (document->id.data[6] & 0x0f) | 0x80;
	document->id.data[8] = (document->id.data[8] & 0x3f) | 0x80;
}

static pg_cryptohash_ctx *
begin_hash(void)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

	if (hash == NULL || pg_cryptohash_init(hash) < 0)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a hash")));
	return hash;
}

/*
 * A UUID of version 8 (RFC 9562, section 5.8) from SHA-256 over account, format
 * and either the document's id or the document.
 */
static void
hash_id(ImportDocument *document, Jsonb *parsed)
{
	const TransferText *source_id = &document->conversation.source_id;
	pg_cryptohash_ctx *hash = begin_hash();

	hash_part(hash, VARDATA_ANY(document->account_id), VARSIZE_ANY_EXHDR(document->account_id));
	hash_part(hash, document->format->name, strlen(document->format->name));
	if (source_id->data != NULL)
	{
		hash_part(hash, "id", 2);
		hash_part(hash, source_id->data, source_id->length);
	}
	else
	{
		char *text = JsonbToCString(NULL, &parsed->root, VARSIZE(parsed));

		hash_part(hash, "document", 8);
		hash_part(hash, text, strlen(text));
		pfree(text);
	}
	set_id(document, hash);
}

/* Adds what a text of JSON says to the conversation's metadata. */
static void
add_metadata(TransferConversation *conversation, const char *json)
{
	Datum added = DirectFunctionCall1(jsonb_in, CStringGetDatum(json));

	if (conversation->metadata != NULL)
		added = DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(conversation->metadata), added);
	conversation->metadata = DatumGetJsonbP(added);
}

/*
 * import_name_copy
 *		The document becomes the next copy of the conversation that it
 *		contradicts: the same id each time.  In the batch's context.
 */
void
import_name_copy(ImportDocument *document)
{
	pg_cryptohash_ctx *hash = begin_hash();
	TransferConversation *conversation = &document->conversation;
	const char *number = psprintf("%d", ++document->copies);

	if (document->copies == 1)
		document->original = document->id;
	hash_part(hash, (const char *) document->original.data, UUID_LEN);
	hash_part(hash, "copy", 4);
	hash_part(hash, number, strlen(number));
	set_id(document, hash);
	if (document->copies == 1)
		add_metadata(conversation,
					 psprintf("{\"copy_of\": \"%s\"}", store_uuid_string(&document->original)));
}

/* What the conversation's metadata say of where it comes from; see formats.h. */
static void
note_origin(ImportDocument *document)
{
	TransferConversation *conversation = &document->conversation;
	JsonbParseState *state = NULL;
	JsonbValue key = {.type = jbvString};
	JsonbValue value = {.type = jbvString};
	Jsonb *origin;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	key.val.string.val = "import";
	key.val.string.len = 6;
	pushJsonbValue(&state, WJB_KEY, &key);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	key.val.string.val = "format";
	pushJsonbValue(&state, WJB_KEY, &key);
	value.val.string.val = unconstify(char *, document->format->name);
	value.val.string.len = strlen(document->format->name);
	pushJsonbValue(&state, WJB_VALUE, &value);
	if (conversation->source_id.data != NULL)
	{
		key.val.string.val = "source_id";
		key.val.string.len = 9;
		pushJsonbValue(&state, WJB_KEY, &key);
		value.val.string.val = unconstify(char *, conversation->source_id.data);
		value.val.string.len = conversation->source_id.length;
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	origin = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	if (conversation->metadata != NULL)
		origin =
			DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(conversation->metadata),
											   JsonbPGetDatum(origin)));
	conversation->metadata = origin;
}

/* Metadata that the caller knows besides. */
static void
add_note(const Import *import, ImportDocument *document)
{
	Jsonb **metadata = &document->conversation.metadata;

	if (import->note == NULL)
		return;
	if (*metadata == NULL)
		*metadata = DatumGetJsonbPCopy(JsonbPGetDatum(import->note));
	else
		*metadata = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(*metadata),
													   JsonbPGetDatum(import->note)));
}

/*
 * The times that messages are stored with: one that has none has that of the
 * message before, else of its conversation; memory_ext.import_as_history says
 * which where none is known.
 */
static void
set_row_times(const Import *import, TransferConversation *conversation)
{
	bool known = conversation->has_created_at || conversation->has_updated_at;
	TimestampTz time =
		conversation->has_created_at ? conversation->created_at : conversation->updated_at;

	if (import->options.as_history && !known)
	{
		/* the one before the first message that has a time, too */
		time = metering_backdated_time(GetCurrentTransactionStartTimestamp());
		conversation->created_at = time;
		conversation->has_created_at = known = true;
	}
	for (int32 i = 0; i < conversation->count; i++)
	{
		TransferMessage *message = &conversation->messages[i];

		if (message->has_created_at)
		{
			time = message->created_at;
			known = true;
		}
		message->row_time = time;
		message->has_row_time = known;
	}
}

/* ---- a document ---- */

/*
 * import_accept
 *		What was read of a document is what the store takes, and it is known
 *		whose and which it is.  parsed: the document, for one without an id.
 */
bool
import_accept(Import *import, ImportDocument *document, Jsonb *parsed)
{
	bool own_id;

	if (!find_account(import, document) ||
		!check_conversation(&document->conversation, &document->problem))
		return false;

	own_id = is_uuid(&document->conversation.source_id, &document->id);
	if (!own_id)
		hash_id(document, parsed);
	document->has_id = true;
	/* native metadata are what they were, unless an id would be lost; rows have none */
	if ((document->format != transfer_format_named("native") && !document->conversation.row) ||
		(!own_id && document->conversation.source_id.data != NULL))
		note_origin(document);
	add_note(import, document);
	set_row_times(import, &document->conversation);
	document->read = document->problem;
	return true;
}

/* Reads the text; errors that bad input makes may be thrown. */
static bool
read_document(Import *import, ImportDocument *document, char *data, TransferText source_id)
{
	TransferProblem *problem = &document->problem;
	Jsonb *parsed = parse(import, data);

	document->format = import->options.format;
	if (document->format == NULL)
		document->format = transfer_format_of(parsed);
	if (document->format == NULL && transfer_foreign_name(parsed) != NULL)
		return transfer_refuse(problem, TRANSFER_UNKNOWN_FORMAT, "$",
							   "exports of %s are not supported", transfer_foreign_name(parsed));
	if (document->format == NULL)
		return transfer_refuse(problem, TRANSFER_UNKNOWN_FORMAT, "$",
							   "the document has no known format");
	if (!document->format->read(parsed, &document->conversation, problem))
		return false;
	if (source_id.data != NULL)
		document->conversation.source_id = source_id;
	return import_accept(import, document, parsed);
}

/* Whether an error is about the input, and its message, for the problem. */
bool
import_is_input_error(const ErrorData *error)
{
	int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	/* the one error of class 22 that is ours and about the call, not the input */
	if (error->sqlerrcode == ERRCODE_NULL_VALUE_NOT_ALLOWED)
		return false;
	return category == ERRCODE_DATA_EXCEPTION || category == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

typedef struct DocumentAttempt
{
	Import *import;
	ImportDocument *document;
	char *data;
	TransferText source_id;
	bool accepted;
} DocumentAttempt;

static void
attempt_document(void *arg)
{
	DocumentAttempt *attempt = arg;

	/* what an attempt before has read of it, up to what it could not */
	memset(&attempt->document->conversation, 0, sizeof(TransferConversation));
	attempt->document->problem.mended = 0;
	attempt->accepted =
		read_document(attempt->import, attempt->document, attempt->data, attempt->source_id);
}

/* read_document in a subtransaction; an error about the input is returned, else NULL. */
static ErrorData *
try_document(Import *import, ImportDocument *document, char *data, TransferText source_id,
			 bool *accepted)
{
	DocumentAttempt attempt = {import, document, data, source_id, false};
	ErrorData *error = attempt_run(attempt_document, &attempt);

	if (error != NULL && !import_is_input_error(error))
		ReThrowError(error);
	*accepted = attempt.accepted;
	return error;
}

/*
 * import_read
 *		Reads a document's text, which a NUL follows and which may be changed,
 *		into the current context.
 */
bool
import_read(Import *import, ImportDocument *document, const char *data, Size length,
			TransferText source_id)
{
	char *text = unconstify(char *, data);
	ErrorData *error;
	bool accepted = false;
	bool changed;
	Size valid;

	document->account_id = import_default_account(import);
	document->excerpt = import_excerpt(data, Min(length, IMPORT_EXCERPT_BYTES), 0);
	document->problem.replace_nul = import->options.replace_nul;
	document->problem.replace_surrogates = import->options.replace_surrogates;
	valid = pg_encoding_verifymbstr(PG_UTF8, data, (int) length);
	if (valid < length && characters_find_surrogate(text + valid) == text + valid)
	{
		if (!replace_characters(document, text, length, &changed))
			return false;
		valid = pg_encoding_verifymbstr(PG_UTF8, data, (int) length);
	}
	if (valid < length)
	{
		locate(document, data, length, valid);
		return transfer_refuse(&document->problem,
							   data[valid] == '\0' ? TRANSFER_NUL : TRANSFER_BAD_JSON, "$",
							   "a byte 0x%02x is not valid here", (unsigned char) data[valid]);
	}
	if (has_too_many_values(data, length))
		return transfer_refuse(&document->problem, TRANSFER_TOO_LARGE, "$",
							   "the document has more than %d values", MAX_VALUES);

	error = try_document(import, document, text, source_id, &accepted);
	if (error != NULL && (error->sqlerrcode == ERRCODE_UNTRANSLATABLE_CHARACTER ||
						  error->sqlerrcode == ERRCODE_INVALID_TEXT_REPRESENTATION))
	{
		if (!replace_characters(document, text, length, &changed))
			return false;
		if (changed)
			error = try_document(import, document, text, source_id, &accepted);
	}
	if (error == NULL)
		return accepted;
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_PROGRAM_LIMIT_EXCEEDED)
		return transfer_refuse(&document->problem, TRANSFER_TOO_LARGE, "$", "%s", error->message);
	if (!refuse_json(document, text, length))
		return false;
	return transfer_refuse(&document->problem, TRANSFER_BAD_VALUE, "$", "%s", error->message);
}

/* The parsed array has one element: is it a document of its own, or the array one? */
static bool
array_is_document(const ImportOptions *options, Jsonb *array)
{
	const TransferFormat *format = options->format;
	TransferConversation conversation = {0};
	TransferProblem problem = {0};
	Jsonb *element = JsonbValueToJsonb(getIthJsonbValueFromContainer(&array->root, 0));

	if (format != NULL ? !format->detect(array) : transfer_format_of(array) == NULL)
		return false;
	/* a message that names its conversation is a document, also among others */
	if (format == NULL)
		format = transfer_format_of(element);
	return format == NULL || !format->read(element, &conversation, &problem) ||
		   !conversation.partial;
}

typedef struct ArrayAttempt
{
	const ImportOptions *options;
	char *array;
	bool is_document;
} ArrayAttempt;

static void
attempt_array(void *arg)
{
	ArrayAttempt *attempt = arg;
	Jsonb *parsed = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(attempt->array)));

	attempt->is_document = array_is_document(attempt->options, parsed);
}

/*
 * import_array_is_document
 *		Whether an array with this first element is a document, not a list of
 *		documents: a format knows it.  What cannot be parsed is none.
 */
bool
import_array_is_document(void *arg, const char *first, Size length)
{
	Import *import = arg;
	MemoryContext old;
	ArrayAttempt attempt = {&import->options, NULL, false};
	TransferProblem all = {.replace_nul = true, .replace_surrogates = true};
	TransferReason reason;
	ErrorData *error;
	bool changed;
	char *at;

	if (has_too_many_values(first, length))
		return false;
	old = MemoryContextSwitchTo(import->scratch);
	attempt.array = palloc(length + 3);
	attempt.array[0] = '[';
	memcpy(attempt.array + 1, first, length);
	memcpy(attempt.array + 1 + length, "]", 2);
	(void) characters_replace(&all, attempt.array, &changed, &at, &reason);
	error = attempt_run(attempt_array, &attempt);
	if (error != NULL && !import_is_input_error(error))
		ReThrowError(error);
	MemoryContextSwitchTo(old);
	MemoryContextReset(import->scratch);
	return attempt.is_document;
}
