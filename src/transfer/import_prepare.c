/*
 * import_prepare.c
 *		The new conversations of a batch, made ready before any lock is taken.
 *
 * Matching, numbering and compressing take most of a batch's time.  For a
 * conversation that is not there yet none of it needs the account's lock: only
 * its revision and its rows do (the store's bulk.c).  What was found without
 * the lock is looked up again under it: a conversation that somebody else has
 * stored meanwhile is matched anew.
 *
 * What is not new, and what a lock-free look cannot number, goes the usual way
 * through the views (import_write.c).
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "import_private.h"
#include "sampler.h"

/* Whether the rows are numbered 1, 2, 3 …, so that the store need not be asked. */
static bool
is_plain(const ImportGroup *group)
{
	for (int32 i = 0; i < group->nrows; i++)
		if (group->rows[i].seq != i + 1 || group->rows[i].parent_seq > i)
			return false;
	return true;
}

/* A message as the store takes it; its metadata's text is in the current context. */
static void
set_message(const ImportRow *row, TranscriptMessage *message)
{
	const TransferMessage *from = row->message;

	memset(message, 0, sizeof(*message));
	message->seq = row->seq;
	message->parent_seq = row->parent_seq < 0 ? row->seq - 1 : row->parent_seq;
	message->role = from->role.data;
	message->role_len = from->role.length;
	message->content = from->content.data;
	message->content_len = from->content.length;
	message->model = from->model.data;
	message->model_len = from->model.length;
	message->message_id = from->message_id.data;
	message->message_id_len = from->message_id.length;
	message->tokens = from->tokens;
	message->has_created_at = from->has_row_time;
	message->created_at = from->row_time;
	if (from->metadata != NULL)
	{
		message->metadata = JsonbToCString(NULL, &from->metadata->root, VARSIZE(from->metadata));
		message->metadata_len = strlen(message->metadata);
	}
	store_check_message(message);
}

/* The conversation's own columns, before its messages: as an INSERT into the view. */
static void
set_fields(StoreConversation *to, const ImportGroup *group)
{
	const TransferConversation *from = &group->documents[0]->conversation;
	TimestampTz first = 0;
	TimestampTz last = 0;
	bool has_times = import_message_times(group, &first, &last);
	TimestampTz now = GetCurrentStatementStartTimestamp();

	if (from->title.data != NULL)
		to->title = cstring_to_text_with_len(from->title.data, from->title.length);
	to->metadata = from->metadata;
	to->archived = from->archived;
	to->created_at = from->has_created_at ? from->created_at : has_times ? first : now;
	to->updated_at = from->has_updated_at ? from->updated_at : has_times ? last : to->created_at;
	to->has_times = true;
	if (group->new_head > 0)
	{
		to->head_seq = group->new_head;
		to->pinned = true;
	}
}

/* Compresses a new conversation, in the current context. */
static void
prepare_group(ImportGroup *group, MemoryContext scratch)
{
	ImportDocument *first = group->documents[0];
	StoreConversation *to = store_prepare_conversation(first->account_id, &first->id);
	TimestampTz created_at;
	TimestampTz earliest;
	TimestampTz latest;

	set_fields(to, group);
	created_at = to->created_at;
	for (int32 i = 0; i < group->nrows; i++)
	{
		TranscriptMessage message;
		MemoryContext old = MemoryContextSwitchTo(scratch);

		CHECK_FOR_INTERRUPTS();
		set_message(&group->rows[i], &message);
		MemoryContextSwitchTo(old);
		store_add_message(to, &message);
		MemoryContextReset(scratch);
	}
	store_prepared_end(to);

	/* the document's times count, also where its messages' say something else */
	to->created_at = created_at;
	if (first->conversation.has_updated_at && import_message_times(group, &earliest, &latest) &&
		latest > first->conversation.updated_at)
		to->updated_at = first->conversation.updated_at;
	group->ready = to;
}

/* Which of the groups are new; returns how many messages they have. */
static int64
find_new(ImportGroup *groups, int32 n)
{
	int64 messages = 0;

	for (int32 i = 0; i < n; i++)
	{
		groups[i].new = !groups[i].exists;
		for (int32 j = 0; groups[i].new &&j < groups[i].ndocuments; j++)
			messages += groups[i].documents[j]->conversation.count;
	}
	return messages;
}

/* As a bulk load through the view would: the first dictionary may come of the new texts. */
static void
train_first(const ImportGroup *groups, int32 n)
{
	StoreSampler *sampler = sampler_create(CurrentMemoryContext);

	for (int32 i = 0; sampler != NULL && i < n; i++)
		for (int32 j = 0; groups[i].new &&j < groups[i].ndocuments; j++)
		{
			const ImportDocument *document = groups[i].documents[j];

			for (int32 k = 0; k < document->conversation.count; k++)
			{
				const TransferText *content = &document->conversation.messages[k].content;

				sampler_add(sampler, document->account_id, &document->id, content->data,
							content->length);
			}
		}
	if (sampler != NULL)
		sampler_train(sampler);
}

/*
 * import_prepare
 *		Makes the new conversations of n groups ready, in the current context.
 *		Errors: those of import_reject.
 */
void
import_prepare(Import *import, ImportGroup *groups, int32 n)
{
	MemoryContext scratch;

	/* as in a statement: what is smaller goes to the tail */
	if (find_new(groups, n) <= store_segment_messages)
		return;
	train_first(groups, n);
	scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext message", ALLOCSET_DEFAULT_SIZES);
	for (int32 i = 0; i < n; i++)
	{
		ImportGroup *group = &groups[i];

		CHECK_FOR_INTERRUPTS();
		if (!group->new)
			continue;
		import_match(import, group);
		if ((group->nrows > 0 || !group->documents[0]->conversation.partial) && is_plain(group))
			prepare_group(group, scratch);
	}
	MemoryContextDelete(scratch);
}
