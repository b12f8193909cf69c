/*
 * stored.c
 *		A conversation's messages as the store has them.
 *
 * Segments are read one by one and decoded here: through the view each message
 * would become a row, and its metadata jsonb, first.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "statement.h"
#include "stored.h"

static TranscriptMessage *
extend(StoredMessages *stored, uint32 n)
{
	int64 needed = (int64) stored->count + n;

	if (needed > stored->space)
	{
		int64 space = Max(Max((int64) stored->space * 2, needed), 16);
		Size size = mul_size(space, sizeof(TranscriptMessage));

		if (space > PG_INT32_MAX / 2)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("the conversation has too many messages to read at once")));
		stored->messages = stored->messages == NULL
							   ? MemoryContextAllocHuge(CurrentMemoryContext, size)
							   : repalloc_huge(stored->messages, size);
		stored->space = (int32) space;
	}
	stored->count += n;
	return stored->messages + needed - n;
}

void
stored_add_segment(StoredMessages *stored, Datum body)
{
	Transcript *transcript = transcript_open(body);

	if (transcript->count > 0)
		memcpy(extend(stored, transcript->count), transcript->messages,
			   transcript->count * sizeof(TranscriptMessage));
}

static const char *
copy_bytes(const char *data, uint32 length)
{
	return data == NULL ? NULL : pnstrdup(data, length);
}

/*
 * Adds the messages of the conversation's tail, copied into the caller's memory
 * context.  Needs an SPI connection.
 */
void
stored_add_tail(StoredMessages *stored, const pg_uuid_t *id, text *account_id, bool read_only)
{
	MemoryContext caller = CurrentMemoryContext; /* SPI leaves its own behind */
	Datum values[3];
	uint64 rows;

	values[0] = UUIDPGetDatum(id);
	values[1] = PointerGetDatum(account_id);
	values[2] = Int64GetDatum(1);
	rows = plan_execute(&store_tail_read_statement, values, NULL, read_only);
	MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < rows; i++)
	{
		TranscriptMessage *message = extend(stored, 1);

		/* the texts are SPI's, which frees them with the next statement */
		store_tail_row(i, message);
		message->role = copy_bytes(message->role, message->role_len);
		message->content = copy_bytes(message->content, message->content_len);
		message->model = copy_bytes(message->model, message->model_len);
		message->message_id = copy_bytes(message->message_id, message->message_id_len);
		message->metadata = copy_bytes(message->metadata, message->metadata_len);
	}
}

void
stored_read(StoredMessages *stored, const pg_uuid_t *id, text *account_id, bool read_only)
{
	StoreSegment segment;
	int64 from_seq = 1;

	memset(stored, 0, sizeof(*stored));
	while (store_segment_after(id, account_id, from_seq, read_only, &segment))
	{
		CHECK_FOR_INTERRUPTS();
		from_seq = segment.last_seq + 1;
		stored_add_segment(stored, segment.body);
	}
	stored_add_tail(stored, id, account_id, read_only);
}
