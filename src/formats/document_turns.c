/*
 * document_turns.c
 *		A conversation as a list of turns, for formats without branches.
 *
 * The list is the branch that ends at the head.  A message of another format
 * that holds calls together with their results becomes several turns, in the
 * order of its parts.  Messages without text, tools and thoughts are left out
 * when they come from another format.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"

#include "document.h"

/* Whether a message says nothing in this format. */
bool
document_is_silent(const TransferMessage *message, const DocumentTools *tools, const char *format)
{
	bool empty = message->content.length == 0 && tools->ncalls == 0 && tools->nresults == 0 &&
				 tools->call_id.data == NULL;
	const char *name;
	JsonbValue own;

	return (empty || document_is_thought(message, tools)) &&
		   document_foreign_own(message, format, &own, &name);
}

static DocumentTurn *
add_turn(DocumentTurns *turns, const TransferMessage *message, int32 index)
{
	DocumentTurn *turn;

	if (turns->count >= turns->capacity)
	{
		turns->capacity = Max(64, turns->capacity * 2);
		turns->turns =
			turns->turns == NULL
				? palloc(mul_size(turns->capacity, sizeof(DocumentTurn)))
				: repalloc_huge(turns->turns, mul_size(turns->capacity, sizeof(DocumentTurn)));
	}
	turn = &turns->turns[turns->count++];
	memset(turn, 0, sizeof(DocumentTurn));
	turn->message = message;
	turn->index = index;
	turn->role = message->role;
	turn->content = message->content;
	return turn;
}

/* The turn that is being put together, of the message's role. */
static DocumentTurn *
open_turn(DocumentTurns *turns, const TransferMessage *message, int32 index, bool *is_open)
{
	DocumentTurn *turn;

	if (*is_open)
		return &turns->turns[turns->count - 1];
	turn = add_turn(turns, message, index);
	turn->content = document_literal("");
	*is_open = true;
	return turn;
}

static void
add_text(TransferText *to, TransferText text)
{
	StringInfoData joined;

	if (to->length == 0)
	{
		*to = text;
		return;
	}
	initStringInfo(&joined);
	document_add_paragraph(&joined, *to);
	document_add_paragraph(&joined, text);
	*to = document_buffer(&joined);
}

static void
add_media(DocumentTurn *turn, const DocumentMedia *media)
{
	Size size = mul_size(turn->nmedia + 1, sizeof(DocumentMedia));

	turn->media = turn->media == NULL ? palloc(size) : repalloc(turn->media, size);
	turn->media[turn->nmedia++] = *media;
}

static void
add_result(DocumentTurns *turns, const TransferMessage *message, int32 index,
		   const DocumentResult *result)
{
	DocumentTurn *turn = add_turn(turns, message, index);

	turn->role = document_literal("tool");
	turn->content = document_result_text(&result->content);
	turn->tools.call_id = result->id;
	turn->tools.name = result->name;
}

/*
 * The Agents SDK has each call as an item of its own: what the assistant says and
 * calls in a row is one turn.
 */
static bool
joins_turn(DocumentTurns *turns, const TransferMessage *message, const char *format)
{
	DocumentTurn *last = turns->count > 0 ? &turns->turns[turns->count - 1] : NULL;
	JsonbValue own;
	const char *name;

	if (last == NULL || last->is_own || !document_text_is(last->role, "assistant") ||
		!document_text_is(message->role, "assistant") || message->content.length > 0 ||
		!document_foreign_own(message, format, &own, &name) || strcmp(name, "agents") != 0)
		return false;
	last->tools.has_verbatim = false;
	return true;
}

/*
 * A message of another format: a turn, or several around the results of its
 * calls.  False: it says nothing here.
 */
static bool
add_steps(DocumentTurns *turns, const TransferMessage *message, int32 index,
		  const DocumentTools *tools, const char *format, bool thoughts)
{
	DocumentSteps steps = document_steps(message, tools, format);
	int32 before = turns->count;
	bool is_open = steps.count > 0 && steps.steps[0].kind == DOCUMENT_STEP_CALL &&
				   joins_turn(turns, message, format);

	for (int32 i = 0; i < steps.count; i++)
	{
		const DocumentStep *step = &steps.steps[i];
		const DocumentCall *call;

		switch (step->kind)
		{
			case DOCUMENT_STEP_TEXT:
				add_text(&open_turn(turns, message, index, &is_open)->content, step->text);
				break;
			case DOCUMENT_STEP_THOUGHT:
				if (thoughts)
					add_text(&open_turn(turns, message, index, &is_open)->thought, step->text);
				break;
			case DOCUMENT_STEP_CALL:
				call = &tools->calls[step->index];
				document_add_call(&open_turn(turns, message, index, &is_open)->tools, call->id,
								  call->name, &call->arguments);
				break;
			case DOCUMENT_STEP_RESULT:
				add_result(turns, message, index, &tools->results[step->index]);
				is_open = false;
				break;
			case DOCUMENT_STEP_MEDIA:
				add_media(open_turn(turns, message, index, &is_open), &step->media);
				break;
			case DOCUMENT_STEP_OTHER:
				break;
		}
		if (is_open)
			turns->turns[turns->count - 1].tools.name = tools->name;
	}
	/* all calls in one: as they were given */
	if (is_open && turns->turns[turns->count - 1].tools.ncalls == tools->ncalls)
	{
		turns->turns[turns->count - 1].tools.has_verbatim = tools->has_verbatim;
		turns->turns[turns->count - 1].tools.verbatim = tools->verbatim;
	}
	return is_open || turns->count > before;
}

/* A tool's message that answers no call that is there: the call that it must have had. */
static void
add_missing_call(DocumentTurns *turns, const TransferMessage *message, int32 index,
				 DocumentTools *tools)
{
	DocumentTurn *turn = add_turn(turns, message, index);
	JsonbValue nothing = document_string(document_literal("{}"));

	if (tools->call_id.length == 0)
		tools->call_id = document_literal(
			psprintf("call_" INT64_FORMAT, message->seq > 0 ? message->seq : index + 1));
	turn->role = document_literal("assistant");
	turn->content = document_literal("");
	document_add_call(&turn->tools, tools->call_id,
					  tools->name.data != NULL ? tools->name : document_literal("tool"), &nothing);
}

/* A turn as it is: of this format, or plain. */
static void
add_whole(DocumentTurns *turns, const TransferMessage *message, int32 index,
		  const DocumentTools *tools)
{
	add_turn(turns, message, index)->tools = *tools;
}

/* The turns of a conversation for a format; thoughts: it has a place for them. */
DocumentTurns
document_turns(const TransferConversation *conversation, const char *format, bool thoughts)
{
	DocumentTurns turns = {0};
	DocumentLinks links = document_link(conversation, format);
	int32 length;
	int32 *branch = document_branch(conversation, &length);

	for (int32 i = 0; i < length; i++)
	{
		int32 index = branch[i];
		const TransferMessage *message = &conversation->messages[index];
		DocumentTools *tools = &links.tools[index];
		int32 before = turns.count;
		JsonbValue own;

		CHECK_FOR_INTERRUPTS();
		if (document_own(message->metadata, format, &own))
		{
			add_whole(&turns, message, index, tools);
			turns.turns[before].own = own;
			turns.turns[before].is_own = true;
		}
		else if (message->metadata == NULL ||
				 (strcmp(format, "openai") == 0 && tools->nresults == 0 &&
				  !document_foreign_own(message, format, &own, &(const char *){NULL})))
			add_whole(&turns, message, index, tools);
		else if (document_text_is(message->role, "tool") && tools->nresults == 0)
		{
			if (links.caller[index] < 0 && tools->call_id.length == 0 &&
				document_foreign_own(message, format, &own, &(const char *){NULL}))
				add_missing_call(&turns, message, index, tools);
			if (!add_steps(&turns, message, index, tools, format, thoughts))
				add_whole(&turns, message, index, tools);
			turns.turns[turns.count - 1].tools.call_id = tools->call_id;
			turns.turns[turns.count - 1].tools.name = tools->name;
		}
		else
		{
			/* an empty message that no format has kept is a turn, too */
			if (!add_steps(&turns, message, index, tools, format, thoughts) &&
				!document_is_silent(message, tools, format))
				add_whole(&turns, message, index, tools);
		}
	}
	pfree(branch);
	return turns;
}

/*
 * The largest number that the rows of a conversation have for an id, 0 if none
 * has one; under is the note that the rest of the row is in, or NULL.
 */
int32
document_last_row(const DocumentTurns *turns, const char *under)
{
	int32 last = 0;

	for (int32 i = 0; i < turns->count; i++)
	{
		JsonbValue row = turns->turns[i].own;
		JsonbValue id;
		int32 number;

		if (turns->turns[i].is_own && (under == NULL || document_kept(&row, under, &row)) &&
			document_get(&row, "id", &id) && document_number(&id, &number) &&
			number < PG_INT32_MAX / 2)
			last = Max(last, number);
	}
	return last;
}
