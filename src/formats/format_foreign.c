/*
 * format_foreign.c
 *		Documents of applications that are not read here, though they resemble
 *		those that are: they are refused by name.
 */
#include "postgres.h"

#include "document.h"

/* DeepSeek: a mapping as ChatGPT's, whose messages are made of fragments. */
static bool
is_deepseek(const JsonbValue *root)
{
	JsonbValue mapping;
	JsonbValue message;
	DocumentWalk walk;
	bool found = false;

	if (!document_get(root, "mapping", &mapping) || !document_is_object(&mapping))
		return false;
	document_walk(&walk, &mapping);
	while (document_next(&walk))
		found = found || (document_get(&walk.value, "message", &message) &&
						  document_has_array(&message, "fragments"));
	return found;
}

/* Grok: {"conversations": [{"conversation": {…}, "responses": […]}]}, or an element. */
static bool
is_grok(const JsonbValue *root)
{
	JsonbValue conversations;
	JsonbValue first;

	if (document_has_object(root, "conversation") && document_has_array(root, "responses"))
		return true;
	return document_get(root, "conversations", &conversations) &&
		   document_first(&conversations, &first) && document_has_array(&first, "responses");
}

/* Gemini: contents of its API, prompts of AI Studio, activities of Takeout. */
static bool
is_gemini(const JsonbValue *root)
{
	JsonbValue contents;
	JsonbValue first;

	if (document_has_object(root, "chunkedPrompt") ||
		document_text_is(document_get_text(root, "header"), "Gemini Apps"))
		return true;
	return document_get(root, "contents", &contents) && document_first(&contents, &first) &&
		   document_has_array(&first, "parts");
}

/* Cursor: composers made of bubbles. */
static bool
is_cursor(const JsonbValue *root)
{
	JsonbValue bubbles;
	JsonbValue first;

	return document_has_string(root, "composerId") || document_has_string(root, "bubbleId") ||
		   (document_get(root, "conversation", &bubbles) && document_first(&bubbles, &first) &&
			document_has_string(&first, "bubbleId"));
}

/* Whose document it is, of those that are not read here; NULL: of none that is known. */
const char *
transfer_foreign_name(Jsonb *document)
{
	JsonbValue root = document_root(document);

	if (is_deepseek(&root))
		return "DeepSeek";
	if (is_grok(&root))
		return "Grok";
	if (is_gemini(&root))
		return "Gemini";
	return is_cursor(&root) ? "Cursor" : NULL;
}
