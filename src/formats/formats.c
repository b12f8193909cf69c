/*
 * formats.c
 *		The table of formats, and which one a document is of.
 */
#include "postgres.h"

#include "formats_private.h"

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
