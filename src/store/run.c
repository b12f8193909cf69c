/*
 * run.c
 *		Runs: messages that wait in memory, in order of seq.
 *
 * A run owns a memory context, in which its messages and their texts are.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "sorted.h"
#include "store_private.h"

void
store_run_init(StoreRun *run)
{
	memset(run, 0, sizeof(*run));
	run->context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext run", ALLOCSET_DEFAULT_SIZES);
}

/* Forgets the run's messages and frees their texts. */
void
store_run_reset(StoreRun *run)
{
	MemoryContextReset(run->context);
	run->messages = NULL;
	run->count = 0;
	run->capacity = 0;
	run->bytes = 0;
}

static const char *
copy_bytes(const char *data, uint32 length)
{
	char *copy;

	if (data == NULL)
		return NULL;
	copy = palloc(length + 1);
	memcpy(copy, data, length);
	copy[length] = '\0';
	return copy;
}

/* Adds a copy of the message to the run and returns the copy. */
TranscriptMessage *
store_run_push(StoreRun *run, const TranscriptMessage *message)
{
	MemoryContext old = MemoryContextSwitchTo(run->context);
	TranscriptMessage *copy;

	if (run->count == run->capacity)
	{
		uint32 capacity = run->capacity == 0 ? 8 : run->capacity * 2;
		Size size = mul_size(capacity, sizeof(TranscriptMessage));

		run->messages = run->messages == NULL ? palloc(size) : repalloc(run->messages, size);
		run->capacity = capacity;
	}
	copy = &run->messages[run->count++];
	*copy = *message;
	copy->role = copy_bytes(message->role, message->role_len);
	copy->content = copy_bytes(message->content, message->content_len);
	copy->model = copy_bytes(message->model, message->model_len);
	copy->message_id = copy_bytes(message->message_id, message->message_id_len);
	copy->metadata = copy_bytes(message->metadata, message->metadata_len);
	run->bytes += message->content_len;
	MemoryContextSwitchTo(old);
	return copy;
}

static int
compare_with_seq(const void *seq, const void *message)
{
	int64 left = *(const int64 *) seq;
	int64 right = ((const TranscriptMessage *) message)->seq;

	return left < right ? -1 : left > right;
}

/* The message with this seq in a decoded transcript, or NULL. */
TranscriptMessage *
store_find_message(TranscriptMessage *messages, uint32 n, int64 seq)
{
	return sorted_find(&seq, messages, n, sizeof(TranscriptMessage), compare_with_seq);
}
