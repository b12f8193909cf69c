/*
 * document_turns.c
 *		A conversation as a list of turns, for formats without branches.
 *
 * The list is the branch that ends at the head.  A message of another format
 * that holds calls together with their results becomes several turns: the
 * calls, each result, the text.  What the model only thought, and messages
 * without text or tools, are left out when they come from another format.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"

#include "document.h"

/* Whether another format than this one has kept something in metadata. */
static bool
is_foreign(const TransferMessage *message, const char *format)
{
	JsonbValue own;

	for (int i = 0; i < transfer_nformats; i++)
		if (strcmp(transfer_formats[i]->name, format) != 0 &&
			document_own(message->metadata, transfer_formats[i]->name, &own))
			return true;
	return false;
}

/* Whether the content is what the model only thought. */
bool
document_is_thought(const TransferMessage *message, const DocumentTools *tools)
{
	return tools->reasoning && document_text_is(message->role, "assistant");
}

/* Whether a message says nothing in this format. */
bool
document_is_silent(const TransferMessage *message, const DocumentTools *tools, const char *format)
{
	bool empty = message->content.length == 0 && tools->ncalls == 0 && tools->nresults == 0 &&
				 tools->call_id.data == NULL;

	return (empty || document_is_thought(message, tools)) && is_foreign(message, format);
}

static DocumentTurn *
add_turn(DocumentTurns *turns, const TransferMessage *message, int32 index)
{
	DocumentTurn *turn;

	if (turns->count >= turns->room)
	{
		turns->room = Max(64, turns->room * 2);
		turns->turns =
			turns->turns == NULL
				? palloc(mul_size(turns->room, sizeof(DocumentTurn)))
				: repalloc_huge(turns->turns, mul_size(turns->room, sizeof(DocumentTurn)));
	}
	turn = &turns->turns[turns->count++];
	memset(turn, 0, sizeof(DocumentTurn));
	turn->message = message;
	turn->index = index;
	turn->role = message->role;
	turn->content = message->content;
	return turn;
}

/* A message with calls and results as a turn each. */
static void
add_apart(DocumentTurns *turns, const TransferMessage *message, int32 index,
		  const DocumentTools *tools)
{
	if (tools->ncalls > 0)
	{
		DocumentTurn *calls = add_turn(turns, message, index);

		calls->tools = *tools;
		calls->tools.nresults = 0;
		calls->content = document_literal("");
	}
	for (int32 i = 0; i < tools->nresults; i++)
	{
		DocumentTurn *result = add_turn(turns, message, index);

		result->role = document_literal("tool");
		result->content = document_result_text(&tools->results[i].content);
		result->tools.call_id = tools->results[i].id;
		result->tools.name = tools->results[i].name;
	}
	if (message->content.length > 0)
		(void) add_turn(turns, message, index);
}

/* The turns of a conversation for a format. */
DocumentTurns
document_turns(const TransferConversation *conversation, const char *format)
{
	DocumentTurns turns = {0};
	int32 length;
	int32 *branch = document_branch(conversation, &length);

	for (int32 i = 0; i < length; i++)
	{
		const TransferMessage *message = &conversation->messages[branch[i]];
		DocumentTools tools = document_tools(message->metadata);
		JsonbValue own;
		bool is_own = document_own(message->metadata, format, &own);

		CHECK_FOR_INTERRUPTS();
		if (!is_own && document_is_silent(message, &tools, format))
			continue;
		if (!is_own && tools.nresults > 0)
		{
			add_apart(&turns, message, branch[i], &tools);
			continue;
		}
		(void) add_turn(&turns, message, branch[i]);
		turns.turns[turns.count - 1].tools = tools;
		turns.turns[turns.count - 1].own = own;
		turns.turns[turns.count - 1].is_own = is_own;
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
