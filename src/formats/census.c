/*
 * census.c
 *		What a format could not hold.
 *
 * Nothing is asked of the formats: what a conversation holds is counted before
 * it is written, and what is written is read again and counted likewise, so that
 * the difference is what is missing, whatever the reason.  Only the messages of
 * other branches are known beforehand.
 *
 * Ids, times and numbers of tokens are not counted: the store makes them for
 * every message, and most formats have no place for them.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"

#include "census.h"
#include "document.h"

/* Singular and plural. */
static const char *const names[CENSUS_NKINDS][2] = {{"message of another branch",
													 "messages of other branches"},
													{"image", "images"},
													{"file", "files"},
													{"tool call", "tool calls"},
													{"tool result", "tool results"},
													{"thought", "thoughts"},
													{"other part", "other parts"},
													{"system message", "system messages"},
													{"name of a speaker", "names of speakers"},
													{"title", "titles"},
													{"model of a message", "models of messages"},
													{"conversation without messages",
													 "conversations without messages"}};

static void
count_steps(Census *census, const TransferMessage *message, const DocumentTools *tools)
{
	DocumentSteps steps = document_steps(message, tools, "");

	for (int32 i = 0; i < steps.count; i++)
		switch (steps.steps[i].kind)
		{
			case DOCUMENT_STEP_CALL:
				census->counts[CENSUS_CALLS]++;
				break;
			case DOCUMENT_STEP_RESULT:
				census->counts[CENSUS_RESULTS]++;
				break;
			case DOCUMENT_STEP_THOUGHT:
				census->counts[CENSUS_THOUGHTS]++;
				break;
			case DOCUMENT_STEP_MEDIA:
				census->counts[steps.steps[i].media.kind == DOCUMENT_IMAGE ? CENSUS_IMAGES
																		   : CENSUS_FILES]++;
				break;
			case DOCUMENT_STEP_OTHER:
				census->counts[CENSUS_OTHER]++;
				break;
			case DOCUMENT_STEP_TEXT:
				break;
		}
}

static void
count(Census *census, const TransferConversation *conversation, const bool *counted)
{
	DocumentLinks links = document_link(conversation, "");

	census->counts[CENSUS_TITLES] += conversation->title.length > 0 ? 1 : 0;
	for (int32 i = 0; i < conversation->count; i++)
	{
		const TransferMessage *message = &conversation->messages[i];
		bool tool = document_text_is(message->role, "tool");

		CHECK_FOR_INTERRUPTS();
		if (counted != NULL && !counted[i])
			continue;
		census->counts[CENSUS_MODELS] += message->model.data != NULL ? 1 : 0;
		census->counts[CENSUS_SYSTEM] += document_text_is(message->role, "system") ? 1 : 0;
		census->counts[CENSUS_NAMES] += !tool && links.tools[i].name.data != NULL ? 1 : 0;
		census->counts[CENSUS_RESULTS] += tool && links.tools[i].nresults == 0 ? 1 : 0;
		if (message->metadata != NULL)
			count_steps(census, message, &links.tools[i]);
	}
}

/* Adds what is counted of what was written; several documents, an array, are read as one. */
static void
count_written(Census *census, const TransferFormat *format, Jsonb *written)
{
	TransferConversation conversation = {0};
	TransferProblem problem = {0};

	if (format->read(written, &conversation, &problem))
		count(census, &conversation, NULL);
}

/* Which messages are on the current branch. */
static bool *
on_branch(const TransferConversation *conversation, int32 *length)
{
	int32 *branch = document_branch(conversation, length);
	bool *result = palloc0(Max(conversation->count, 1));

	for (int32 i = 0; i < *length; i++)
		result[branch[i]] = true;
	pfree(branch);
	return result;
}

bool
census_is_plain(const TransferConversation *conversation, const TransferFormat *to)
{
	int32 length;
	JsonbValue own;

	if (strcmp(to->name, "native") == 0)
		return true;
	/* what it was read from holds it, but for branches that were made here */
	if (!to->branches)
		pfree(document_branch(conversation, &length));
	else
		length = conversation->count;
	if (length < conversation->count || conversation->count == 0)
		return false;
	if (conversation->title.length > 0 && !document_own(conversation->metadata, to->name, &own))
		return false;
	for (int32 i = 0; i < conversation->count; i++)
	{
		const TransferMessage *message = &conversation->messages[i];

		if (document_own(message->metadata, to->name, &own))
			continue;
		if (message->metadata != NULL || message->model.data != NULL ||
			document_text_is(message->role, "system") || document_text_is(message->role, "tool"))
			return false;
	}
	return true;
}

void
census_add_lost(Census *lost, const TransferConversation *conversation, const TransferFormat *from,
				const TransferFormat *to, Jsonb *written, bool many)
{
	Census before = {{0}};
	Census after = {{0}};
	int32 length = conversation->count;
	bool any = false;
	bool *counted = to->branches ? NULL : on_branch(conversation, &length);

	if (from == to || census_is_plain(conversation, to))
		return;
	lost->counts[CENSUS_BRANCHES] += conversation->count - length;
	if (many && conversation->count == 0)
		lost->counts[CENSUS_CONVERSATIONS]++;
	count(&before, conversation, counted);
	for (int i = 0; i < CENSUS_NKINDS; i++)
		any = any || before.counts[i] > 0;
	if (!any)
		return; /* texts only: there is nothing to miss */
	count_written(&after, to, written);
	for (int i = 0; i < CENSUS_NKINDS; i++)
		lost->counts[i] += Max(before.counts[i] - after.counts[i], 0);
}

void
census_add(Census *census, const Census *other)
{
	for (int i = 0; i < CENSUS_NKINDS; i++)
		census->counts[i] += other->counts[i];
}

Jsonb *
census_object(const Census *lost)
{
	StringInfoData object;

	initStringInfo(&object);
	for (int i = 0; i < CENSUS_NKINDS; i++)
		if (lost->counts[i] > 0)
			appendStringInfo(&object, "%s\"%s\": " INT64_FORMAT, object.len > 0 ? ", " : "{",
							 names[i][1], lost->counts[i]);
	if (object.len == 0)
		return NULL;
	appendStringInfoChar(&object, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(object.data)));
}

void
census_tell(const Census *lost, const TransferFormat *to)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < CENSUS_NKINDS; i++)
		if (lost->counts[i] > 0)
			appendStringInfo(&list, "%s" INT64_FORMAT " %s", list.len > 0 ? ", " : "",
							 lost->counts[i], names[i][lost->counts[i] == 1 ? 0 : 1]);
	if (list.len > 0)
		ereport(NOTICE, (errmsg("format \"%s\" cannot hold everything; left out: %s", to->name,
								list.data)));
	pfree(list.data);
}
