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

#include "stored.h"

typedef struct MessageList
{
	TranscriptMessage *messages;
	int32 count;
	int32 space;
} MessageList;

static TranscriptMessage *
list_extend(MessageList *list, uint32 n)
{
	if (n > (uint32) (list->space - list->count))
	{
		int64 space = Max((int64) list->space * 2, (int64) list->count + n);
		Size size = mul_size(Max(space, 16), sizeof(TranscriptMessage));

		if (space > PG_INT32_MAX / 2)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("the conversation has too many messages to be read at once")));
		list->messages = list->messages == NULL ? MemoryContextAllocHuge(CurrentMemoryContext, size)
												: repalloc_huge(list->messages, size);
		list->space = (int32) Max(space, 16);
	}
	list->count += n;
	return list->messages + list->count - n;
}

static const char *
copy_bytes(const char *data, uint32 length)
{
	return data == NULL ? NULL : pnstrdup(data, length);
}

TranscriptMessage *
stored_messages(const pg_uuid_t *id, text *account_id, bool read_only, int32 *count)
{
	MessageList list = {0};
	StoreSegment segment;
	int64 from_seq = 1;
	Datum values[3];
	uint64 rows;

	while (store_segment_after(id, account_id, from_seq, read_only, &segment))
	{
		Transcript *transcript = transcript_open(segment.body);

		CHECK_FOR_INTERRUPTS();
		if (transcript->count > 0)
			memcpy(list_extend(&list, transcript->count), transcript->messages,
				   transcript->count * sizeof(TranscriptMessage));
		from_seq = segment.last_seq + 1;
	}

	values[0] = UUIDPGetDatum(id);
	values[1] = PointerGetDatum(account_id);
	values[2] = Int64GetDatum(from_seq);
	rows = store_execute(STORE_TAIL_READ, values, NULL, read_only);
	for (uint64 i = 0; i < rows; i++)
	{
		TranscriptMessage *message = list_extend(&list, 1);

		/* the texts are SPI's, which frees them with the next statement */
		store_tail_row(i, message);
		message->role = copy_bytes(message->role, message->role_len);
		message->content = copy_bytes(message->content, message->content_len);
		message->model = copy_bytes(message->model, message->model_len);
		message->message_id = copy_bytes(message->message_id, message->message_id_len);
		message->metadata = copy_bytes(message->metadata, message->metadata_len);
	}
	*count = list.count;
	return list.messages;
}
