/*
 * blocks.c
 *		The tables of blocks, read without statements under the active snapshot.
 *
 * A block's body lives in a context of its own until the next one is read.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/stratnum.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "search_private.h"

enum
{
	COVER_ACCOUNT_ID,
	COVER_REVISION,
	COVER_BLOCKS,
	COVER_NEXT_BLOCK,
	COVER_VERSION,
	COVER_BUILDING_REVISION,
	COVER_BUILDING_AFTER,
	COVER_NCOLUMNS
};

enum
{
	BLOCK_ACCOUNT_ID,
	BLOCK_NUMBER,
	BLOCK_ENTRIES,
	BLOCK_ERASED,
	BLOCK_FIRST_ID,
	BLOCK_LAST_ID,
	BLOCK_BODY,
	BLOCK_NCOLUMNS
};

static const char *const cover_columns[COVER_NCOLUMNS] = {"account_id",    "revision",
														  "blocks",        "next_block",
														  "version",       "building_revision",
														  "building_after"};
static const char *const block_columns[BLOCK_NCOLUMNS] = {"account_id", "block_no", "entries",
														  "erased",     "first_id", "last_id",
														  "body"};

static DirectTable covers = {"search_accounts",  COVER_NCOLUMNS, cover_columns, 1,
							 {COVER_ACCOUNT_ID}, InvalidOid};
static DirectTable block_rows = {"search_blocks",
								 BLOCK_NCOLUMNS,
								 block_columns,
								 2,
								 {BLOCK_ACCOUNT_ID, BLOCK_NUMBER},
								 InvalidOid};

/* Scans of indexes live as long as the tables are open. */
static void
find(SearchBlocks *blocks, DirectRows *rows, text *account_id)
{
	MemoryContext old = MemoryContextSwitchTo(blocks->context);
	ScanKeyData keys[1];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(account_id));
	direct_find(rows, keys, 1);
	MemoryContextSwitchTo(old);
}

/* What a scan of an index keeps between rows lives there, too. */
static bool
next_row(SearchBlocks *blocks, DirectRows *rows)
{
	MemoryContext old = MemoryContextSwitchTo(blocks->context);
	bool found = direct_next(rows, ForwardScanDirection);

	MemoryContextSwitchTo(old);
	return found;
}

/* Opens both tables; they live in the current memory context. */
void
search_blocks_open(SearchBlocks *blocks)
{
	direct_open_reading(&blocks->accounts, &covers, GetActiveSnapshot(), NULL, 0);
	direct_open_reading(&blocks->blocks, &block_rows, GetActiveSnapshot(), NULL, 0);
	blocks->context = CurrentMemoryContext;
	blocks->body_context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext block", ALLOCSET_DEFAULT_SIZES);
}

/* Closes the tables of search_blocks_open and frees the last block's body. */
void
search_blocks_close(SearchBlocks *blocks)
{
	direct_close(&blocks->accounts);
	direct_close(&blocks->blocks);
	MemoryContextDelete(blocks->body_context);
}

/* How far the account's blocks go; false: it has no row. */
bool
search_blocks_cover(SearchBlocks *blocks, text *account_id, SearchCover *cover)
{
	const Datum *values;
	const bool *nulls;

	find(blocks, &blocks->accounts, account_id);
	if (!next_row(blocks, &blocks->accounts))
		return false;
	values = blocks->accounts.slot->tts_values;
	nulls = blocks->accounts.slot->tts_isnull;
	cover->revision = DatumGetInt64(values[COVER_REVISION]);
	cover->blocks = DatumGetInt32(values[COVER_BLOCKS]);
	cover->next_block = DatumGetInt32(values[COVER_NEXT_BLOCK]);
	cover->version = DatumGetInt64(values[COVER_VERSION]);
	cover->building = !nulls[COVER_BUILDING_REVISION] && !nulls[COVER_BUILDING_AFTER];
	if (cover->building)
	{
		cover->building_revision = DatumGetInt64(values[COVER_BUILDING_REVISION]);
		cover->building_after = *DatumGetUUIDP(values[COVER_BUILDING_AFTER]);
	}
	return true;
}

/* Begins with the account's blocks, in order of their numbers. */
void
search_blocks_find(SearchBlocks *blocks, text *account_id)
{
	find(blocks, &blocks->blocks, account_id);
}

/* Fills in the next block of the account, without its body; false: there is no other. */
bool
search_blocks_next(SearchBlocks *blocks, SearchBlockRow *row)
{
	const Datum *values;

	if (!next_row(blocks, &blocks->blocks))
		return false;
	values = blocks->blocks.slot->tts_values;
	row->number = DatumGetInt32(values[BLOCK_NUMBER]);
	row->entries = DatumGetInt32(values[BLOCK_ENTRIES]);
	row->erased = DatumGetInt32(values[BLOCK_ERASED]);
	row->bytes = toast_raw_datum_size(values[BLOCK_BODY]);
	row->first_id = *DatumGetUUIDP(values[BLOCK_FIRST_ID]);
	row->last_id = *DatumGetUUIDP(values[BLOCK_LAST_ID]);
	return true;
}

/* Opens the body of the block at hand; false: it is not one. */
bool
search_blocks_read(SearchBlocks *blocks, SearchBlockReader *reader)
{
	MemoryContext old;
	bytea *body;

	MemoryContextReset(blocks->body_context);
	old = MemoryContextSwitchTo(blocks->body_context);
	body = DatumGetByteaPP(blocks->blocks.slot->tts_values[BLOCK_BODY]);
	MemoryContextSwitchTo(old);
	return search_block_open(reader, (const uint8 *) VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body));
}
