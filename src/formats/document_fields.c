/*
 * document_fields.c
 *		Keys that are columns, described by tables: titles, ids, models, flags,
 *		times, tokens; and the words for roles.
 *
 * A key whose value can be written back from its column is not kept.  Another
 * one (a time with more digits, null) stays in the rest, and is what is written
 * for as long as it still says what the column says.  The store fills in times
 * and tokens that a document left out; they are not written back.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "datatype/timestamp.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "document.h"
#include "memory_limits.h"

#define UNIX_EPOCH_USECS                                                                           \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * USECS_PER_SEC)

/* Larger numbers of seconds or milliseconds are of the next smaller unit. */
#define LARGEST_SECONDS 1e11
#define LARGEST_MILLIS 1e14
#define LARGEST_MICROS 1e17

/* A column's value, whatever its kind. */
typedef struct FieldValue
{
	bool there;
	TransferText text;
	bool flag;
	int32 tokens;
	TimestampTz time;
} FieldValue;

static bool
is_time(const DocumentField *field)
{
	return field->kind >= FIELD_EPOCH;
}

/* ---- values of columns ---- */

static FieldValue
column_value(const DocumentField *field, const void *source)
{
	const char *column = (const char *) source + field->offset;
	FieldValue value = {0};

	if (field->kind == FIELD_TEXT)
	{
		value.text = *(const TransferText *) column;
		value.there = value.text.data != NULL;
	}
	else if (field->kind == FIELD_FLAG)
	{
		value.flag = *(const bool *) column;
		value.there = true;
	}
	else if (field->kind == FIELD_TOKENS)
	{
		value.tokens = *(const int32 *) column;
		value.there = value.tokens >= 0;
	}
	else
	{
		value.time = *(const TimestampTz *) column;
		value.there = *((const bool *) ((const char *) source + field->has));
	}
	return value;
}

static void
set_column(const DocumentField *field, void *target, const FieldValue *value)
{
	char *column = (char *) target + field->offset;

	if (field->kind == FIELD_TEXT)
		*(TransferText *) column = value->text;
	else if (field->kind == FIELD_FLAG)
		*(bool *) column = value->flag;
	else if (field->kind == FIELD_TOKENS)
		*(int32 *) column = value->there ? value->tokens : -1;
	else
	{
		*(TimestampTz *) column = value->time;
		*((bool *) ((char *) target + field->has)) = value->there;
	}
}

static bool
same_value(const DocumentField *field, const FieldValue *a, const FieldValue *b)
{
	if (a->there != b->there)
		return false;
	if (!a->there)
		return true;
	if (field->kind == FIELD_TEXT)
		return document_same_text(a->text, b->text);
	if (field->kind == FIELD_FLAG)
		return a->flag == b->flag;
	if (field->kind == FIELD_TOKENS)
		return a->tokens == b->tokens;
	return a->time == b->time;
}

/* ---- times ---- */

static bool
number_time(Numeric number, DocumentFieldKind kind, TimestampTz *time)
{
	double value =
		DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(number)));
	double size = fabs(value);

	if (size >= LARGEST_MICROS)
		value /= 1e9;
	else if (size >= LARGEST_MILLIS)
		value /= 1e6;
	else if (size >= LARGEST_SECONDS || kind == FIELD_EPOCH_MILLIS)
		value /= 1e3;
	return transfer_epoch_time(value, time);
}

/* A string, a number, or {"$date": either} as MongoDB exports it. */
static bool
value_time(const JsonbValue *value, DocumentFieldKind kind, TimestampTz *time)
{
	JsonbValue date;

	if (document_get(value, "$date", &date))
		return !document_is_object(&date) && value_time(&date, FIELD_EPOCH_MILLIS, time);
	if (value->type == jbvString)
	{
		int length = value->val.string.len;

		/* a zone that was cut off behind its sign occurs, too */
		if (length > 0 && value->val.string.val[length - 1] == '+')
			length--;
		return transfer_parse_time(value->val.string.val, (uint32) length, time);
	}
	return value->type == jbvNumeric && number_time(value->val.numeric, kind, time);
}

static JsonbValue
number_value(const char *digits)
{
	JsonbValue value = {.type = jbvNumeric};

	value.val.numeric =
		DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(digits),
											ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	return value;
}

/* Rounds down, also before the epoch. */
static int64
whole(int64 microseconds, int64 unit)
{
	int64 result = microseconds / unit;

	return microseconds % unit < 0 ? result - 1 : result;
}

static JsonbValue
epoch_value(TimestampTz time, DocumentFieldKind kind)
{
	char digits[64];
	int64 microseconds;
	uint64 magnitude;
	int length;

	if (pg_add_s64_overflow(time, UNIX_EPOCH_USECS, &microseconds))
		return document_null();
	if (kind == FIELD_EPOCH_WHOLE)
		return document_integer(whole(microseconds, USECS_PER_SEC));
	if (kind == FIELD_EPOCH_MILLIS)
		return document_integer(whole(microseconds, 1000));

	magnitude = microseconds < 0 ? -(uint64) microseconds : (uint64) microseconds;
	/* seconds with at least one digit behind the point, as Python writes them */
	length =
		snprintf(digits, sizeof(digits), "%s" INT64_FORMAT ".%06d", microseconds < 0 ? "-" : "",
				 (int64) (magnitude / USECS_PER_SEC), (int) (magnitude % USECS_PER_SEC));
	while (digits[length - 1] == '0' && digits[length - 2] != '.')
		digits[--length] = '\0';
	return number_value(digits);
}

static JsonbValue
iso_value(TimestampTz time, DocumentFieldKind kind)
{
	struct pg_tm tm;
	fsec_t fsec;

	if (kind != FIELD_ISO && timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) == 0 &&
		tm.tm_year > 0 && tm.tm_year <= 9999)
	{
		char *clock = psprintf("%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year, tm.tm_mon, tm.tm_mday,
							   tm.tm_hour, tm.tm_min, tm.tm_sec);

		if (kind == FIELD_ISO_MILLIS)
			clock = psprintf("%s.%03dZ", clock, (int) fsec / 1000);
		else
			clock = psprintf("%s.%06dZ", clock, (int) fsec);
		return document_string(document_literal(clock));
	}
	return document_string(document_literal(transfer_time_string(time)));
}

/* ---- documents' values ---- */

/* What the format writes for a column. */
static JsonbValue
written_value(const DocumentField *field, const FieldValue *value)
{
	JsonbValue result = document_null();

	if (!value->there)
		return result;
	switch (field->kind)
	{
		case FIELD_TEXT:
			return document_string(value->text);
		case FIELD_FLAG:
			result.type = jbvBool;
			result.val.boolean = value->flag;
			return result;
		case FIELD_TOKENS:
			return document_integer(value->tokens);
		case FIELD_EPOCH:
		case FIELD_EPOCH_WHOLE:
		case FIELD_EPOCH_MILLIS:
			return epoch_value(value->time, field->kind);
		case FIELD_ISO:
		case FIELD_ISO_MICROS:
		case FIELD_ISO_MILLIS:
			return iso_value(value->time, field->kind);
	}
	return result;
}

/* Reads a value of the document; false with a reason: it is of a wrong type. */
static bool
read_value(const DocumentField *field, const JsonbValue *value, FieldValue *result,
		   TransferReason *reason)
{
	memset(result, 0, sizeof(FieldValue));
	result->there = field->kind == FIELD_FLAG; /* null is false */
	if (value->type == jbvNull)
		return true;

	if (is_time(field))
	{
		*reason = TRANSFER_BAD_TIME;
		result->there = true;
		return value_time(value, field->kind, &result->time);
	}
	*reason = TRANSFER_BAD_VALUE;
	if (field->kind == FIELD_FLAG)
	{
		result->flag = value->type == jbvBool && value->val.boolean;
		return value->type == jbvBool;
	}
	if (field->kind == FIELD_TOKENS)
	{
		result->there = document_number(value, &result->tokens);
		return value->type == jbvNumeric;
	}
	if (value->type != jbvString)
		return false;
	if (value->val.string.len > 0 && (field->limit == 0 || value->val.string.len <= field->limit))
	{
		result->text = document_text(value);
		result->there = true;
	}
	return true;
}

static const char *
field_type(const DocumentField *field)
{
	if (is_time(field))
		return "a time";
	return field->kind == FIELD_TEXT   ? "a string"
		   : field->kind == FIELD_FLAG ? "true or false"
									   : "a number";
}

/*
 * document_read_fields
 *		Reads the keys of a table into the columns of target, a TransferMessage
 *		or a TransferConversation.  False: a value is of a wrong type.
 */
bool
document_read_fields(const JsonbValue *object, const DocumentField *fields, int nfields,
					 void *target, DocumentExtras *extras, const DocumentPlace *place)
{
	for (int i = 0; i < nfields; i++)
	{
		const DocumentField *field = &fields[i];
		JsonbValue value;
		JsonbValue written;
		FieldValue read;
		TransferReason reason;

		if (!document_get(object, field->key, &value))
		{
			if (field->kind != FIELD_TEXT || field->always)
				document_absent(extras, field->key);
			continue;
		}
		if (!read_value(field, &value, &read, &reason))
			return document_refuse_key(place, field->key, reason, "not %s", field_type(field));
		set_column(field, target, &read);
		written = written_value(field, &read);
		if (document_equal(&value, &written) && !field->latest &&
			(value.type != jbvNull || (field->always && field->kind == FIELD_TEXT)))
			document_skip(extras, field->key);
	}
	return true;
}

/*
 * document_write_fields
 *		Writes the keys of a table into an object that has begun, after the rest;
 *		own is that rest, or NULL.
 */
void
document_write_fields(DocumentOut *out, const DocumentField *fields, int nfields,
					  const void *source, const JsonbValue *own)
{
	for (int i = 0; i < nfields; i++)
	{
		const DocumentField *field = &fields[i];
		FieldValue column = column_value(field, source);
		FieldValue read;
		JsonbValue kept;
		JsonbValue written;
		TransferReason reason;

		if (document_was_absent(own, field->key) && !column.flag)
			continue;
		if (document_kept(own, field->key, &kept))
		{
			/* the store fills in times and tokens */
			if (kept.type == jbvNull && (is_time(field) || field->kind == FIELD_TOKENS))
				continue;
			if (read_value(field, &kept, &read, &reason) && same_value(field, &read, &column))
				continue;
		}
		if (!column.there && !field->always)
			continue;
		written = written_value(field, &column);
		document_key(out, field->key);
		document_put(out, &written);
	}
}

/*
 * document_restore_updated_at
 *		The store's updated_at is never before the last message's created_at.
 *		Where it says no more than that, it becomes what the document said, so
 *		that this is written; messages that came later do not count.
 */
void
document_restore_updated_at(TransferConversation *conversation, const char *format,
							const DocumentField *fields, int nfields, const JsonbValue *own)
{
	for (int i = 0; i < nfields; i++)
	{
		JsonbValue kept;
		TimestampTz said;
		TimestampTz last;

		if (!fields[i].latest || !document_kept(own, fields[i].key, &kept) ||
			!value_time(&kept, fields[i].kind, &said))
			continue;
		last = said;
		for (int32 j = 0; j < conversation->count; j++)
		{
			const TransferMessage *message = &conversation->messages[j];
			JsonbValue ignored;

			if (message->has_created_at && document_own(message->metadata, format, &ignored))
				last = Max(last, message->created_at);
		}
		if (conversation->has_updated_at && conversation->updated_at <= last)
			conversation->updated_at = said;
	}
}

/* ---- roles ---- */

static TransferText
role_of_word(const DocumentRole *roles, int nroles, TransferText word)
{
	TransferText none = {NULL, 0};

	for (int i = 0; i < nroles; i++)
		if (document_text_is(word, roles[i].word))
			return document_literal(roles[i].role);
	return none;
}

/*
 * The word that the format writes for a role, which may be one of its words
 * itself; a role that it does not know is the first one's.
 */
static const char *
word_of_role(const DocumentRole *roles, int nroles, TransferText role)
{
	for (int i = 0; i < nroles; i++)
		if (document_text_is(role, roles[i].role))
			return roles[i].word;
	for (int i = 0; i < nroles; i++)
		if (document_text_is(role, roles[i].word))
			return roles[i].word;
	return roles[0].word;
}

/* Reads a role's word; the rest keeps it where the role does not say it. */
bool
document_read_role(const JsonbValue *object, const char *key, const DocumentRole *roles, int nroles,
				   TransferText *role, DocumentExtras *extras, const DocumentPlace *place)
{
	JsonbValue value;
	TransferText word;

	if (!document_get(object, key, &value))
		return document_refuse_key(place, key, TRANSFER_BAD_ROLE, "there is no %s", key);
	word = document_text(&value);
	if (word.data == NULL)
		return document_refuse_key(place, key, TRANSFER_BAD_ROLE, "not a string");
	*role = role_of_word(roles, nroles, word);
	if (role->data == NULL)
		return document_refuse_key(place, key, TRANSFER_BAD_ROLE, "unknown role \"%.*s\"",
								   pg_mbcliplen(word.data, (int) word.length,
												MEMORY_MAX_ROLE_BYTES),
								   word.data);
	if (document_text_is(word, word_of_role(roles, nroles, *role)))
		document_skip(extras, key);
	return true;
}

/* The word to write: the document's own where it still means the role. */
TransferText
document_role_word(const DocumentRole *roles, int nroles, TransferText role, const JsonbValue *own,
				   const char *key)
{
	JsonbValue kept;

	if (document_kept(own, key, &kept) &&
		document_same_text(role_of_word(roles, nroles, document_text(&kept)), role))
		return document_text(&kept);
	return document_literal(word_of_role(roles, nroles, role));
}
