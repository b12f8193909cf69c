/*
 * block.c
 *		The bytes of a block.
 *
 *	version			1 byte, SEARCH_BLOCK_VERSION
 *	entries			1 byte, how many
 *	directory		4 bytes, the length of all entries in little-endian order
 *	entry ...		flags and extra (4 bits each), the conversation's id, last_at
 *					(8 bytes); as varints updated_at less last_at (zigzag), first_seq,
 *					last_seq + 1 - first_seq, and the bytes of the filter
 *	filter ...		of each entry in turn
 *
 * Owns no memory and takes no locks.
 */
#include <string.h>

#include "block.h"

#define HEADER_BYTES 6
#define ENTRY_FIXED_BYTES 25
#define MAX_VARINT_BYTES 10
#define MAX_EXTRA 3

/* The largest seq keeps arithmetic away from overflow. */
#define MAX_SEQ (INT64_MAX / 2)

static uint8_t *
put_varint(uint8_t *out, uint64_t value)
{
	while (value >= 0x80)
	{
		*out++ = (uint8_t) (value | 0x80);
		value >>= 7;
	}
	*out++ = (uint8_t) value;
	return out;
}

static const uint8_t *
get_varint(const uint8_t *in, const uint8_t *end, uint64_t *value)
{
	int shift;

	*value = 0;
	for (shift = 0; shift < 64 && in < end; shift += 7)
	{
		*value |= (uint64_t) (*in & 0x7F) << shift;
		if ((*in++ & 0x80) == 0)
			return in;
	}
	return NULL;
}

size_t
search_block_space(const SearchEntry *entries, int n)
{
	size_t space = HEADER_BYTES;
	int i;

	for (i = 0; i < n; i++)
		space += ENTRY_FIXED_BYTES + 4 * MAX_VARINT_BYTES + entries[i].filter_bytes;
	return space;
}

static uint8_t *
put_entry(uint8_t *out, const SearchEntry *entry)
{
	uint64_t difference = (uint64_t) entry->updated_at - (uint64_t) entry->last_at;

	*out++ = (uint8_t) (entry->flags | entry->extra << 4);
	memcpy(out, entry->id, sizeof(entry->id));
	out += sizeof(entry->id);
	memcpy(out, &entry->last_at, sizeof(int64_t));
	out += sizeof(int64_t);
	out = put_varint(out, difference << 1 ^ (difference >> 63 ? UINT64_MAX : 0));
	out = put_varint(out, (uint64_t) entry->first_seq);
	out = put_varint(out, (uint64_t) (entry->last_seq + 1 - entry->first_seq));
	return put_varint(out, entry->filter_bytes);
}

size_t
search_block_write(const SearchEntry *entries, int n, uint8_t *out)
{
	uint8_t *at = out + HEADER_BYTES;
	uint32_t directory;
	int i;

	for (i = 0; i < n; i++)
		at = put_entry(at, &entries[i]);
	directory = (uint32_t) (at - out - HEADER_BYTES);
	out[0] = SEARCH_BLOCK_VERSION;
	out[1] = (uint8_t) n;
	for (i = 0; i < 4; i++)
		out[2 + i] = (uint8_t) (directory >> (8 * i));
	for (i = 0; i < n; i++)
	{
		if (entries[i].filter_bytes > 0)
			memcpy(at, entries[i].filter, entries[i].filter_bytes);
		at += entries[i].filter_bytes;
	}
	return at - out;
}

bool
search_block_open(SearchBlockReader *reader, const uint8_t *data, size_t size)
{
	uint32_t directory;

	if (size < HEADER_BYTES || data[0] != SEARCH_BLOCK_VERSION)
		return false;
	directory =
		data[2] | (uint32_t) data[3] << 8 | (uint32_t) data[4] << 16 | (uint32_t) data[5] << 24;
	if (data[1] < 1 || data[1] > SEARCH_BLOCK_ENTRIES || directory > size - HEADER_BYTES)
		return false;
	reader->left = data[1];
	reader->next = data + HEADER_BYTES;
	reader->filters = reader->next + directory;
	reader->end = data + size;
	return true;
}

bool
search_block_next(SearchBlockReader *reader, SearchEntry *entry)
{
	const uint8_t *in = reader->next;
	uint64_t difference = 0;
	uint64_t first = 0;
	uint64_t count = 0;
	uint64_t bytes = 0;

	if (reader->left == 0 || reader->filters - in < ENTRY_FIXED_BYTES)
		return false;
	entry->flags = *in & 0x0F;
	entry->extra = *in++ >> 4;
	memcpy(entry->id, in, sizeof(entry->id));
	in += sizeof(entry->id);
	memcpy(&entry->last_at, in, sizeof(int64_t));
	in += sizeof(int64_t);
	if ((in = get_varint(in, reader->filters, &difference)) == NULL ||
		(in = get_varint(in, reader->filters, &first)) == NULL ||
		(in = get_varint(in, reader->filters, &count)) == NULL ||
		(in = get_varint(in, reader->filters, &bytes)) == NULL)
		return false;
	if (entry->flags > SEARCH_ENTRY_FLAGS || entry->extra > MAX_EXTRA || first < 1 ||
		first > MAX_SEQ || count > MAX_SEQ || bytes > (uint64_t) (reader->end - reader->filters) ||
		bytes > UINT32_MAX / 8 || (bytes == 0) != ((entry->flags & SEARCH_ENTRY_ERASED) != 0))
		return false;
	entry->updated_at = (int64_t) ((uint64_t) entry->last_at +
								   (difference >> 1 ^ (difference & 1 ? UINT64_MAX : 0)));
	entry->first_seq = (int64_t) first;
	entry->last_seq = (int64_t) (first + count - 1);
	entry->filter_bytes = (uint32_t) bytes;
	entry->filter = reader->filters;
	reader->filters += bytes;
	reader->next = in;
	reader->left--;
	return true;
}
