/*
 * erasure.c
 *		Texts that a statement has erased: a room above, which keeps something
 *		derived from texts, is told of them when the statement is done with the
 *		account, under its lock and in the same transaction.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "store.h"

/* Lives in the context in which it is told what the first one is: the account's. */
typedef struct StoreErasure
{
	StoreErased *erased;
	int count;
	int space;
} StoreErasure;

static StoreErase erase_elsewhere = NULL;

/* Who is told; called once, when the library is loaded. */
void
store_set_erase(StoreErase erase)
{
	erase_elsewhere = erase;
}

/* Notes a message, a title (seq 0) or a whole conversation (-1). */
void
store_note_erased(StoreConversation *conversation, int64 seq)
{
	StoreAccount *account = conversation->account;
	MemoryContext old;
	StoreErasure *erasure;

	if (erase_elsewhere == NULL || !conversation->exists)
		return;
	old = MemoryContextSwitchTo(account->context);
	if (account->erasure == NULL)
	{
		account->erasure = palloc(sizeof(StoreErasure));
		account->erasure->count = 0;
		account->erasure->space = 16;
		account->erasure->erased = palloc(16 * sizeof(StoreErased));
	}
	erasure = account->erasure;
	if (erasure->count == erasure->space)
	{
		erasure->space *= 2;
		erasure->erased =
			repalloc_huge(erasure->erased, mul_size(erasure->space, sizeof(StoreErased)));
	}
	erasure->erased[erasure->count].id = conversation->id;
	erasure->erased[erasure->count++].seq = seq;
	MemoryContextSwitchTo(old);
}

/* Tells what was noted since the last time. */
void
store_erase_noted(StoreAccount *account)
{
	StoreErasure *erasure = account->erasure;

	if (erasure == NULL || erasure->count == 0)
		return;
	erase_elsewhere(account->account_id, erasure->erased, erasure->count);
	erasure->count = 0;
}
