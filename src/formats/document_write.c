/*
 * document_write.c
 *		Building jsonb.
 *
 * Values and texts are not copied before the document is done; they must live
 * that long.  Of two values of one key the later one stays.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/numeric.h"

#include "document.h"

static bool
in_array(const DocumentOut *out)
{
	return out->state->contVal.type == jbvArray;
}

/* Begins an object, as a value of its own or of the key or array at hand. */
void
document_begin_object(DocumentOut *out)
{
	out->result = pushJsonbValue(&out->state, WJB_BEGIN_OBJECT, NULL);
}

/* Begins an array, as a value of its own or of the key or array at hand. */
void
document_begin_array(DocumentOut *out)
{
	out->result = pushJsonbValue(&out->state, WJB_BEGIN_ARRAY, NULL);
}

/* Ends the innermost container. */
void
document_end(DocumentOut *out)
{
	out->result = pushJsonbValue(&out->state, in_array(out) ? WJB_END_ARRAY : WJB_END_OBJECT, NULL);
}

/* The key of the next value. */
void
document_key_text(DocumentOut *out, TransferText key)
{
	JsonbValue value = document_string(key);

	out->result = pushJsonbValue(&out->state, WJB_KEY, &value);
}

/* The key of the next value, which ends with NUL. */
void
document_key(DocumentOut *out, const char *key)
{
	document_key_text(out, document_literal(key));
}

/* The value of the key before it, or the next element. */
void
document_put(DocumentOut *out, const JsonbValue *value)
{
	out->result = pushJsonbValue(&out->state, in_array(out) ? WJB_ELEM : WJB_VALUE,
								 unconstify(JsonbValue *, value));
}

/* The value null. */
JsonbValue
document_null(void)
{
	JsonbValue value = {.type = jbvNull};

	return value;
}

/* A number, as a value in the current context. */
JsonbValue
document_integer(int64 number)
{
	JsonbValue value = {.type = jbvNumeric};

	value.val.numeric = int64_to_numeric(number);
	return value;
}

/* Puts a string; of no text, null. */
void
document_put_text(DocumentOut *out, TransferText text)
{
	JsonbValue value = document_string(text);

	document_put(out, &value);
}

/* Puts a string that ends with NUL. */
void
document_put_string(DocumentOut *out, const char *string)
{
	document_put_text(out, document_literal(string));
}

/* Puts a number. */
void
document_put_integer(DocumentOut *out, int64 number)
{
	JsonbValue value = document_integer(number);

	document_put(out, &value);
}

/* Puts true or false. */
void
document_put_bool(DocumentOut *out, bool value)
{
	JsonbValue boolean = {.type = jbvBool};

	boolean.val.boolean = value;
	document_put(out, &boolean);
}

/* Puts null. */
void
document_put_null(DocumentOut *out)
{
	JsonbValue value = document_null();

	document_put(out, &value);
}

/* All keys of an object, into one that has begun. */
void
document_put_pairs(DocumentOut *out, const JsonbValue *object)
{
	DocumentWalk walk;

	document_walk(&walk, object);
	while (document_next(&walk))
	{
		document_key_text(out, walk.key);
		document_put(out, &walk.value);
	}
}

/* The outermost container, which has ended. */
Jsonb *
document_done(DocumentOut *out)
{
	Assert(out->state == NULL);
	return JsonbValueToJsonb(out->result);
}
