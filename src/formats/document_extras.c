/*
 * document_extras.c
 *		What has no column: the rest of an object, in metadata under the format's
 *		name, and back.
 *
 * The rest holds the keys that the columns do not say, with their values as
 * they were.  Notes of ours are keys that begin with "~"; a document's own key
 * that begins so gets another "~" in front.
 *
 *	~absent		keys that were not there, though the store fills in their columns
 *	~array		true: the document is an array of messages
 *	~rows		true: each message is a document of its own
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "document.h"
#include "format_names.h"
#include "json_text.h"
#include "memory_limits.h"

static void
add_name(const char **names, int32 *count, const char *name)
{
	if (*count >= DOCUMENT_MAX_EXTRAS)
		elog(ERROR, "too many keys for the rest of an object");
	names[(*count)++] = name;
}

/* A key that columns or others say. */
void
document_skip(DocumentExtras *extras, const char *key)
{
	add_name(extras->skipped, &extras->nskipped, key);
}

/* A key that was not there and is not to be written. */
void
document_absent(DocumentExtras *extras, const char *key)
{
	add_name(extras->absent, &extras->nabsent, key);
}

/* A value in the place of the key's own, or a note; of two for a key the later one stays. */
void
document_replace(DocumentExtras *extras, const char *key, const JsonbValue *value)
{
	for (int32 i = 0; i < extras->nput; i++)
		if (strcmp(extras->put[i].key, key) == 0)
		{
			extras->put[i].value = *value;
			return;
		}
	if (extras->nput >= DOCUMENT_MAX_EXTRAS)
		elog(ERROR, "too many keys for the rest of an object");
	extras->put[extras->nput].key = key;
	extras->put[extras->nput++].value = *value;
}

static bool
is_handled(const DocumentExtras *extras, TransferText key)
{
	for (int32 i = 0; i < extras->nskipped; i++)
		if (document_text_is(key, extras->skipped[i]))
			return true;
	/* a key of the document's is never a note: it gets another "~" */
	for (int32 i = 0; i < extras->nput; i++)
		if (extras->put[i].key[0] != '~' && document_text_is(key, extras->put[i].key))
			return true;
	return false;
}

/* The document's own key with another "~" in front. */
static TransferText
escaped(TransferText key)
{
	char *data;
	TransferText result;

	if (key.length == 0 || key.data[0] != '~')
		return key;
	data = palloc(add_size(key.length, 1));
	data[0] = '~';
	memcpy(data + 1, key.data, key.length);
	result.data = data;
	result.length = key.length + 1;
	return result;
}

/*
 * Builds the rest of an object.  Sets *any when there is something, or always;
 * otherwise there is no result.  False: it is nested too deep.
 */
bool
document_extras(const JsonbValue *object, const DocumentExtras *extras, bool always,
				const DocumentPlace *place, JsonbValue *result, bool *any)
{
	DocumentOut out = {0};
	DocumentWalk walk;

	/* the usual case: the columns say it all */
	*any = always || extras->nput > 0 || extras->nabsent > 0 ||
		   document_count(object) > extras->nskipped;
	if (!*any)
		return true;
	document_begin_object(&out);
	document_walk(&walk, object);
	while (document_next(&walk))
	{
		if (is_handled(extras, walk.key))
			continue;
		if (!document_shallow(&walk.value))
		{
			DocumentPlace at = document_at_text(place, walk.key);

			return document_refuse(&at, TRANSFER_TOO_LARGE, "nested deeper than %d levels",
								   DOCUMENT_MAX_DEPTH);
		}
		document_key_text(&out, escaped(walk.key));
		document_put(&out, &walk.value);
	}
	for (int32 i = 0; i < extras->nput; i++)
	{
		document_key(&out, extras->put[i].key);
		document_put(&out, &extras->put[i].value);
	}
	if (extras->nabsent > 0)
	{
		document_key(&out, "~absent");
		document_begin_array(&out);
		for (int32 i = 0; i < extras->nabsent; i++)
			document_put_string(&out, extras->absent[i]);
		document_end(&out);
	}
	document_end(&out);
	*result = *out.result;
	*any = always || result->val.object.nPairs > 0;
	return true;
}

/* Writes the rest of a part, whose depth has been looked at. */
void
document_put_object_extras(DocumentOut *out, const JsonbValue *object, const DocumentExtras *extras)
{
	DocumentWalk walk;

	document_begin_object(out);
	document_walk(&walk, object);
	while (document_next(&walk))
		if (!is_handled(extras, walk.key))
		{
			document_key_text(out, escaped(walk.key));
			document_put(out, &walk.value);
		}
	for (int32 i = 0; i < extras->nput; i++)
	{
		document_key(out, extras->put[i].key);
		document_put(out, &extras->put[i].value);
	}
	document_end(out);
}

/* What the format kept; false when the message or conversation is not from it. */
bool
document_own(const Jsonb *metadata, const char *format, JsonbValue *own)
{
	JsonbValue root;

	if (metadata == NULL)
		return false;
	root = document_root(unconstify(Jsonb *, metadata));
	return document_get(&root, format, own) && document_is_object(own);
}

/*
 * What another format than this one has kept of the message, and that format's
 * name; false: no other has kept anything.
 */
bool
document_foreign_own(const TransferMessage *message, const char *format, JsonbValue *own,
					 const char **name)
{
	static const char *const names[] = {FORMAT_NAMES};

	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(names[i], format) != 0 && document_own(message->metadata, names[i], own))
		{
			*name = names[i];
			return true;
		}
	return false;
}

/* A key of the rest as the document had it; false: it is a note. */
static bool
unescape(TransferText *key)
{
	if (key->length == 0 || key->data[0] != '~')
		return true;
	if (key->length < 2 || key->data[1] != '~')
		return false;
	key->data++;
	key->length--;
	return true;
}

/* The document's own keys, into an object that has begun. */
void
document_put_extras(DocumentOut *out, const JsonbValue *own)
{
	DocumentWalk walk;

	if (own == NULL)
		return;
	document_walk(&walk, own);
	while (document_next(&walk))
	{
		if (!unescape(&walk.key))
			continue;
		document_key_text(out, walk.key);
		document_put(out, &walk.value);
	}
}

/* The same as text, each pair with a comma behind it, but for one key, which the caller writes. */
void
document_put_extras_text(StringInfo out, const JsonbValue *own, const char *but)
{
	DocumentWalk walk;

	if (own == NULL)
		return;
	document_walk(&walk, own);
	while (document_next(&walk))
	{
		TransferText value;

		if (!unescape(&walk.key) || document_text_is(walk.key, but))
			continue;
		json_put_string(out, walk.key.data, walk.key.length);
		JSON_PUT(out, ": ");
		value = document_print(&walk.value);
		json_put_bytes(out, value.data, (int) value.length);
		JSON_PUT(out, ", ");
	}
}

/* Whether a key was not in the document; own may be NULL. */
bool
document_was_absent(const JsonbValue *own, const char *key)
{
	JsonbValue absent;
	DocumentWalk walk;
	bool found = false;

	if (own == NULL || !document_get(own, "~absent", &absent))
		return false;
	document_walk(&walk, &absent);
	while (document_next(&walk))
		if (document_is_word(&walk.value, key))
			found = true;
	return found;
}

/* A key's value as the document had it, or what replaced it; own may be NULL. */
bool
document_kept(const JsonbValue *own, const char *key, JsonbValue *value)
{
	return own != NULL && document_get(own, key, value);
}

/* Metadata of a conversation of which only a note is kept; true, for the caller to return. */
bool
document_note_metadata(const char *format, const char *note, Jsonb **metadata)
{
	DocumentOut out = {0};

	document_begin_object(&out);
	document_key(&out, format);
	document_begin_object(&out);
	document_key(&out, note);
	document_put_bool(&out, true);
	document_end(&out);
	document_end(&out);
	*metadata = document_done(&out);
	return true;
}

/* Puts a note, which is true, among what is kept. */
void
document_note(DocumentExtras *extras, const char *note)
{
	JsonbValue value = {.type = jbvBool};

	value.val.boolean = true;
	document_replace(extras, note, &value);
}

/* own may be NULL */
bool
document_noted(const JsonbValue *own, const char *note)
{
	JsonbValue value;

	return document_kept(own, note, &value) && value.type == jbvBool && value.val.boolean;
}

/* ---- JSON in text ---- */

/*
 * Reads an object that is there as JSON or as text of JSON.  The note tells
 * text: true, or the text itself where it is not laid out as jsonb prints it.
 */
bool
document_read_wrapped(const JsonbValue *object, const char *key, const char *note,
					  JsonbValue *value, DocumentExtras *extras, const DocumentPlace *place)
{
	TransferReason reason = TRANSFER_BAD_JSON;
	JsonbValue text;

	if (!document_get(object, key, &text))
		return document_refuse(place, TRANSFER_BAD_VALUE, "there is no key \"%s\"", key);
	*value = text;
	if (text.type == jbvString &&
		!document_parse_mended(document_text(&text), value, place->problem, &reason))
		return document_refuse_key(place, key, reason, "%s",
								   reason == TRANSFER_NUL ? "the text has a NUL character"
								   : reason == TRANSFER_SURROGATE
									   ? "the text has half of a surrogate pair"
									   : "the text is not JSON");
	if (!document_is_object(value))
		return document_refuse_key(place, key, TRANSFER_BAD_VALUE, "not an object");
	if (text.type == jbvString)
	{
		if (document_same_text(document_print(value), document_text(&text)))
			document_note(extras, note);
		else
			document_replace(extras, note, &text);
	}
	return true;
}

/* Writes it back: as the text that was there for as long as that says the same. */
void
document_write_wrapped(DocumentOut *out, const char *key, const char *note, const JsonbValue *value,
					   const JsonbValue *own)
{
	TransferProblem all = {.replace_nul = true, .replace_surrogates = true};
	TransferReason reason;
	JsonbValue kept;
	JsonbValue parsed;

	document_key(out, key);
	if (!document_kept(own, note, &kept))
		document_put(out, value);
	else if (kept.type == jbvString &&
			 document_parse_mended(document_text(&kept), &parsed, &all, &reason) &&
			 document_equal(&parsed, value))
		document_put(out, &kept);
	else
		document_put_text(out, document_print(value));
}

/* A row's id, a string or a number, for a message that has none; with a note that it is. */
void
document_read_row_id(const JsonbValue *row, TransferMessage *message, DocumentExtras *extras)
{
	JsonbValue id;
	TransferText text;

	if (message->message_id.data != NULL || !document_get(row, "id", &id) ||
		(id.type != jbvString && id.type != jbvNumeric))
		return;
	text = id.type == jbvString ? document_text(&id) : document_print(&id);
	if (text.length == 0 || text.length > MEMORY_MAX_MESSAGE_ID_BYTES)
		return;
	message->message_id = text;
	document_note(extras, "~id");
}
