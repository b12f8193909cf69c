/*
 * document_content.c
 *		Content that is a string or an array of parts.
 *
 * The column holds the texts of the parts that are text, joined by an empty
 * line.  The rest keeps the parts, with the length of each text in its place,
 * so that no text is stored twice and the column is what is written: as long as
 * the lengths fit, the column is cut up again; after an edit the whole of it
 * takes the place of the first text, and the other texts go.
 *
 *	~call	true: of a part's call and result the rest is kept
 *	~whole	a part as it is, which has a key that looks like a note
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "port/pg_crc32c.h"

#include "document.h"

#define JOINT "\n\n"
#define JOINT_BYTES 2

/* ---- where a part has its text ---- */

static const DocumentPartKind *
kind_of(const JsonbValue *part, const DocumentPartRules *rules)
{
	TransferText type = document_get_text(part, rules->type_key);

	for (int i = 0; i < rules->nkinds; i++)
		if (document_text_is(type, rules->kinds[i].type))
			return &rules->kinds[i];
	return NULL;
}

/* The value of a part's text; nested: it is the "value" of the text's key. */
static bool
text_value(const JsonbValue *part, const DocumentPartRules *rules, JsonbValue *value,
		   const DocumentPartKind **kind, bool *nested)
{
	JsonbValue inner;

	*kind = NULL;
	*nested = false;
	if (!document_is_object(part))
	{
		*value = *part;
		return rules->strings;
	}
	*kind = kind_of(part, rules);
	if (*kind == NULL || !document_get(part, (*kind)->text_key, value))
		return false;
	if (document_get(value, "value", &inner))
	{
		*nested = true;
		*value = inner;
	}
	return true;
}

/* The part with something else in the place of its text. */
static void
put_part(DocumentOut *out, const JsonbValue *part, const DocumentPartKind *kind, bool nested,
		 const JsonbValue *text)
{
	JsonbValue inner;

	if (kind == NULL)
	{
		document_put(out, text);
		return;
	}
	document_begin_object(out);
	document_put_pairs(out, part);
	document_key(out, kind->text_key);
	if (nested && document_get(part, kind->text_key, &inner))
	{
		document_begin_object(out);
		document_put_pairs(out, &inner);
		document_key(out, "value");
		document_put(out, text);
		document_end(out);
	}
	else
		document_put(out, text);
	document_end(out);
}

/* ---- reading ---- */

typedef struct Joined
{
	int32 texts; /* that are not empty */
	TransferText first;
	StringInfoData all; /* from the second on */
} Joined;

static void
join_text(Joined *joined, TransferText text)
{
	if (text.length == 0)
		return;
	joined->texts++;
	if (joined->texts == 1)
	{
		joined->first = text;
		return;
	}
	if (joined->texts == 2)
	{
		initStringInfo(&joined->all);
		appendBinaryStringInfo(&joined->all, joined->first.data, joined->first.length);
	}
	appendBinaryStringInfo(&joined->all, JOINT, JOINT_BYTES);
	appendBinaryStringInfo(&joined->all, text.data, text.length);
}

static TransferText
joined_text(const Joined *joined)
{
	TransferText text = joined->first;

	if (joined->texts == 0)
		return document_literal("");
	if (joined->texts > 1)
	{
		text.data = joined->all.data;
		text.length = (uint32) joined->all.len;
	}
	return text;
}

/* A part as it is; one that could be taken for a note of ours is wrapped. */
static void
put_whole(DocumentOut *kept, const JsonbValue *part)
{
	DocumentWalk walk;
	bool wrap = false;

	if (document_is_object(part))
	{
		document_walk(&walk, part);
		while (document_next(&walk))
			wrap = wrap || (walk.key.length > 0 && walk.key.data[0] == '~');
	}
	if (!wrap)
	{
		document_put(kept, part);
		return;
	}
	document_begin_object(kept);
	document_key(kept, "~whole");
	document_put(kept, part);
	document_end(kept);
}

static bool
read_part(const JsonbValue *part, const DocumentPartRules *rules, Joined *joined, DocumentOut *kept,
		  DocumentTools *tools, const DocumentPlace *place)
{
	const DocumentPartKind *kind;
	JsonbValue value;
	bool nested;

	if (text_value(part, rules, &value, &kind, &nested))
	{
		if (value.type == jbvString)
		{
			JsonbValue length = document_integer(value.val.string.len);

			join_text(joined, document_text(&value));
			put_part(kept, part, kind, nested, &length);
			return true;
		}
		if (value.type == jbvNumeric)
			return document_refuse(place, TRANSFER_BAD_VALUE, "a number where a text belongs");
	}
	if (rules->read == NULL || !document_is_object(part) || !rules->read(part, kept, tools))
		put_whole(kept, part);
	return true;
}

/*
 * Whether parts are what is written for their text: one part of the first kind
 * with nothing but its text, or none for no text; or one string.
 */
static bool
is_plain(const JsonbValue *parts, const DocumentPartRules *rules, int32 texts)
{
	const DocumentPartKind *kind;
	JsonbValue first;
	JsonbValue value;
	bool nested;

	if (document_count(parts) == 0)
		return !rules->strings;
	if (document_count(parts) > 1 || !document_first(parts, &first) ||
		!text_value(&first, rules, &value, &kind, &nested))
		return false;
	if (rules->strings)
		return first.type == jbvString;
	return texts == 1 && !nested && kind == &rules->kinds[0] && document_count(&first) == 2;
}

/* Reads an array of parts.  False: a part is not the format's. */
bool
document_read_parts(const JsonbValue *parts, const DocumentPartRules *rules,
					DocumentContent *content, DocumentTools *tools, const DocumentPlace *place)
{
	DocumentOut kept = {0};
	Joined joined = {0};
	DocumentWalk walk;

	if (!document_shallow(parts))
		return document_refuse(place, TRANSFER_TOO_LARGE, "nested deeper than %d levels",
							   DOCUMENT_MAX_DEPTH);
	document_begin_array(&kept);
	document_walk(&walk, parts);
	while (document_next(&walk))
	{
		DocumentPlace at = document_at_index(place, walk.index);

		if (!read_part(&walk.value, rules, &joined, &kept, tools, &at))
			return false;
	}
	document_end(&kept);
	content->kept = *kept.result;
	content->text = joined_text(&joined);

	content->plain = is_plain(parts, rules, joined.texts);
	return true;
}

/* ---- writing ---- */

/* How the column is cut up. */
typedef struct Cutting
{
	TransferText text;
	uint32 position;
	bool fits;    /* the lengths are those of the text's pieces */
	bool used;    /* a piece, or after an edit all of it, has been written */
	int32 places; /* that held a text */
} Cutting;

/* The next piece of a length; false when the text is not made of such pieces. */
static bool
cut(Cutting *cutting, int32 length, TransferText *piece)
{
	uint32 from = cutting->position;

	piece->data = "";
	piece->length = 0;
	if (length == 0)
		return true;
	if (cutting->used)
	{
		if (cutting->text.length - from < JOINT_BYTES ||
			memcmp(cutting->text.data + from, JOINT, JOINT_BYTES) != 0)
			return false;
		from += JOINT_BYTES;
	}
	if (cutting->text.length - from < (uint32) length)
		return false;
	piece->data = cutting->text.data + from;
	piece->length = (uint32) length;
	cutting->position = from + (uint32) length;
	cutting->used = true;
	return true;
}

/* The length in the place of a part's text; false when it has none. */
static bool
kept_length(const JsonbValue *part, const DocumentPartRules *rules, int32 *length,
			const DocumentPartKind **kind, bool *nested)
{
	JsonbValue value;

	return text_value(part, rules, &value, kind, nested) && document_number(&value, length);
}

/* Tries whether the lengths fit, and counts the places of texts. */
static Cutting
measure(const JsonbValue *kept, const DocumentPartRules *rules, TransferText text)
{
	Cutting cutting = {.text = text, .fits = true};
	DocumentWalk walk;
	TransferText piece;
	const DocumentPartKind *kind;
	bool nested;
	int32 length;

	document_walk(&walk, kept);
	while (document_next(&walk))
		if (kept_length(&walk.value, rules, &length, &kind, &nested))
		{
			cutting.places += length > 0 ? 1 : 0;
			cutting.fits = cutting.fits && cut(&cutting, length, &piece);
		}
	cutting.fits = cutting.fits && cutting.position == text.length;
	cutting.position = 0;
	cutting.used = false;
	return cutting;
}

static void
put_text_part(DocumentOut *out, const DocumentPartRules *rules, TransferText text)
{
	if (rules->strings)
	{
		document_put_text(out, text);
		return;
	}
	document_begin_object(out);
	document_key(out, rules->type_key);
	document_put_string(out, rules->kinds[0].type);
	document_key(out, rules->kinds[0].text_key);
	document_put_text(out, text);
	document_end(out);
}

/* A part that held a text of a length. */
static void
put_piece(DocumentOut *out, const JsonbValue *part, const DocumentPartKind *kind, bool nested,
		  int32 length, Cutting *cutting)
{
	TransferText piece = document_literal("");
	JsonbValue value;

	if (cutting->fits)
		(void) cut(cutting, length, &piece);
	else if (length > 0)
	{
		if (cutting->used)
			return;
		piece = cutting->text;
		cutting->used = true;
	}
	value = document_string(piece);
	put_part(out, part, kind, nested, &value);
}

/*
 * document_write_parts
 *		Writes an array: the parts that were kept, with the text in its places;
 *		or, if kept is NULL, a part for the text and parts for the tools.
 */
void
document_write_parts(DocumentOut *out, const JsonbValue *kept, const DocumentPartRules *rules,
					 TransferText text, const DocumentTools *tools)
{
	DocumentWritten written = {0};
	Cutting cutting = {.fits = true};
	DocumentWalk walk;
	JsonbValue whole;
	const DocumentPartKind *kind;
	bool nested;
	int32 length;

	document_begin_array(out);
	if (kept != NULL)
		cutting = measure(kept, rules, text);
	if (kept == NULL ? text.length > 0 || rules->strings : text.length > 0 && cutting.places == 0)
		put_text_part(out, rules, text);
	if (kept != NULL)
	{
		document_walk(&walk, kept);
		while (document_next(&walk))
		{
			if (kept_length(&walk.value, rules, &length, &kind, &nested))
				put_piece(out, &walk.value, kind, nested, length, &cutting);
			else if (document_get(&walk.value, "~whole", &whole))
				document_put(out, &whole);
			else if (rules->write != NULL && document_noted(&walk.value, "~call"))
				rules->write(&walk.value, out, tools, &written);
			else
				document_put(out, &walk.value);
		}
	}
	if (rules->append != NULL && tools != NULL)
		rules->append(out, tools, &written);
	document_end(out);
}

/* ---- a key that holds a string, or parts, or null ---- */

/* null_if_empty: an empty text is written as null. */
bool
document_read_content(const JsonbValue *object, const char *key, const DocumentPartRules *rules,
					  bool null_if_empty, TransferText *text, DocumentTools *tools,
					  DocumentExtras *extras, const DocumentPlace *place)
{
	JsonbValue value;
	DocumentContent content;
	DocumentPlace at;

	*text = document_literal("");
	if (!document_get(object, key, &value))
	{
		document_absent(extras, key);
		return true;
	}
	if (document_is_array(&value))
	{
		at = document_at_key(place, key);
		if (!document_read_parts(&value, rules, &content, tools, &at))
			return false;
		*text = content.text;
		document_replace(extras, key, &content.kept);
		return true;
	}
	if (value.type != jbvString && value.type != jbvNull)
		return document_refuse_key(place, key, TRANSFER_BAD_VALUE,
								   "neither a string nor an array of parts");
	if (value.type == jbvString)
		*text = document_text(&value);
	if (text->length > 0 || null_if_empty == (value.type == jbvNull))
		document_skip(extras, key);
	return true;
}

/*
 * Writes the key of a message's content: the string, or the parts that were read,
 * around the text as it is now.
 */
void
document_write_content(DocumentOut *out, const char *key, const DocumentPartRules *rules,
					   bool null_if_empty, TransferText text, const DocumentTools *tools,
					   const JsonbValue *own)
{
	JsonbValue kept;
	bool is_kept = document_kept(own, key, &kept);

	if (text.length == 0 &&
		(document_was_absent(own, key) || (is_kept && !document_is_array(&kept))))
		return;
	document_key(out, key);
	if (is_kept && document_is_array(&kept))
		document_write_parts(out, &kept, rules, text, tools);
	else if (text.length == 0 && null_if_empty)
		document_put_null(out);
	else
		document_put_text(out, text);
}

/* ---- a key with the text beside one with parts ---- */

/* A note that recognizes a text. */
JsonbValue
document_text_note(TransferText text)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, text.data, text.length);
	FIN_CRC32C(crc);
	return document_integer((int64) crc);
}

/* Whether the text is still the one that the note was made of; own is what the format kept. */
bool
document_text_noted(const JsonbValue *own, const char *note, TransferText text)
{
	JsonbValue kept;
	JsonbValue now = document_text_note(text);

	return document_kept(own, note, &kept) && document_equal(&kept, &now);
}

static void
keep_parts(const DocumentBoth *both, const DocumentContent *content, bool there,
		   DocumentExtras *extras)
{
	if (there && content->plain && both->has_parts)
		document_skip(extras, both->parts_key);
	else if (there)
		document_replace(extras, both->parts_key, &content->kept);
}

/* The text's key: says the same as the parts, or something else, which a note tells apart. */
static void
keep_text(const DocumentBoth *both, const JsonbValue *value, TransferText text,
		  DocumentExtras *extras)
{
	JsonbValue note;

	if (value->type != jbvString)
		return;
	if (document_same_text(document_text(value), text))
	{
		note = document_integer(text.length);
		if (both->has_text)
			document_skip(extras, both->text_key);
		else
			document_replace(extras, both->text_key, &note);
		return;
	}
	note = document_text_note(text);
	document_replace(extras, "~text", &note);
}

/* The texts of the parts, or, if they have none, the text's key. */
bool
document_read_both(const JsonbValue *object, const DocumentBoth *both, TransferText *text,
				   DocumentTools *tools, DocumentExtras *extras, const DocumentPlace *place)
{
	JsonbValue parts;
	JsonbValue value;
	bool has_parts = document_get(object, both->parts_key, &parts);
	bool has_text = document_get(object, both->text_key, &value);
	DocumentContent content = {.text = document_literal("")};
	DocumentPlace at = document_at_key(place, both->parts_key);

	if (has_text && value.type != jbvString && value.type != jbvNull)
		return document_refuse_key(place, both->text_key, TRANSFER_BAD_VALUE, "not a string");
	if (has_parts && parts.type != jbvNull && !document_is_array(&parts))
		return document_refuse(&at, TRANSFER_BAD_VALUE, "not an array");
	if (has_parts && document_is_array(&parts))
	{
		if (!document_read_parts(&parts, both->rules, &content, tools, &at))
			return false;
	}
	*text = content.text.length == 0 && has_text && value.type == jbvString ? document_text(&value)
																			: content.text;
	if (!has_parts && both->has_parts)
		document_absent(extras, both->parts_key);
	keep_parts(both, &content, has_parts && document_is_array(&parts), extras);
	if (!has_text && both->has_text)
		document_absent(extras, both->text_key);
	if (has_text)
		keep_text(both, &value, *text, extras);

	/* an empty array beside a text is not what is written for the text */
	if (has_parts && document_is_array(&parts) && document_count(&parts) == 0 && text->length > 0)
		document_replace(extras, both->parts_key, &content.kept);
	return true;
}

/* Writes both keys of a message's text, or the one that a message from elsewhere gets. */
void
document_write_both(DocumentOut *out, const DocumentBoth *both, TransferText text,
					const DocumentTools *tools, const JsonbValue *own)
{
	JsonbValue parts;
	JsonbValue value;
	bool parts_kept = document_kept(own, both->parts_key, &parts);
	bool text_kept = document_kept(own, both->text_key, &value);
	bool text_there = both->has_text ? !document_was_absent(own, both->text_key) : text_kept;
	bool text_null = text_kept && value.type == jbvNull;
	bool in_parts = true; /* the parts hold the text */

	if (parts_kept && document_is_array(&parts))
	{
		Cutting cutting = measure(&parts, both->rules, text);

		in_parts = cutting.places > 0 || !text_there || text_null;
		document_key(out, both->parts_key);
		document_write_parts(out, &parts, both->rules, in_parts ? text : document_literal(""),
							 tools);
	}
	else if (parts_kept || document_was_absent(own, both->parts_key))
		in_parts = false;
	else if (both->has_parts || (own == NULL && (tools->ncalls > 0 || tools->nresults > 0)))
	{
		document_key(out, both->parts_key);
		document_write_parts(out, NULL, both->rules, text, own == NULL ? tools : NULL);
	}
	else
		in_parts = false;

	if (in_parts && (!text_there || text_null))
		return;
	if (text_kept && value.type == jbvString && document_text_noted(own, "~text", text))
		return;
	if (text.length == 0 && (!text_there || text_null))
		return;
	document_key(out, both->text_key);
	document_put_text(out, text);
}
