/*
 * account_lock.c
 *		The lock of an account's row, and what is charged under it.
 *
 * Every statement that changes an account takes the account's next revision
 * under the lock of its row, held to commit: revisions appear in commit order,
 * and whoever holds the lock is the account's only writer, so the rows of its
 * conversations need no lock of their own.  Locks are taken parent first
 * (subscription, account, conversation) and, where there are several, in key
 * order.
 *
 * All functions need an SPI connection.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "sql_text.h"
#include "statement.h"
#include "store_private.h"
#include "tables.h"

/*
 * store_found_account
 *		The account with what its row had when its lock was taken.  locked: its
 *		subscription, which is locked; NULL: it has no plan.  Error: 40001 this
 *		has changed before the lock was ours.  To lock the other subscription
 *		now, after the account, could be a deadlock.
 */
StoreAccount *
store_found_account(text *account_id, int64 revision, char *subscription_id, const char *locked)
{
	StoreAccount *account = palloc0(sizeof(StoreAccount));

	account->account_id = account_id;
	account->context = CurrentMemoryContext;
	account->charged = locked != NULL;
	account->revision = revision;
	account->subscription_id = subscription_id;
	store_mark_changed(account_id, revision);
	if (locked != NULL ? strcmp(locked, account->subscription_id) != 0
					   : quota_active() && quota_exists(account->subscription_id))
		quota_moved(text_to_cstring(account_id));
	return account;
}

/* clang-format off */
static PlanStatement account_bump_statement = {
	"UPDATE memory_store.accounts"
	" SET revision = revision" OP(+) "1"
	" WHERE account_id" OP(=) "$1"
	" RETURNING revision, subscription_id",
	1,
	{TEXTOID},
};

static PlanStatement account_create_statement = {
	"INSERT INTO memory_store.accounts AS a (account_id, subscription_id, revision,"
	" created_at)"
	" VALUES ($1, $1, 1, $2)"
	" ON CONFLICT (account_id) DO UPDATE"
	" SET revision = a.revision" OP(+) "1"
	" RETURNING revision, subscription_id",
	2,
	{TEXTOID, TIMESTAMPTZOID},
};
/* clang-format on */

/*
 * store_lock_account
 *		Locks the account until the transaction ends and takes its next revision.
 *		One that does not exist is made, or else the result is NULL: who only
 *		changes what is there must not bring back an account that was forgotten.
 *		locked and error: see store_found_account.
 */
StoreAccount *
store_lock_account(text *account_id, const char *locked, bool make)
{
	Datum values[2] = {PointerGetDatum(account_id)};
	bool isnull;

	if (plan_execute(&account_bump_statement, values, NULL, false) == 0)
	{
		if (!make)
		{
			if (locked != NULL)
				quota_drop_unused(locked);
			return NULL;
		}
		values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
		plan_execute(&account_create_statement, values, NULL, false);
	}
	return store_found_account(account_id, DatumGetInt64(plan_column(0, 1, &isnull)),
							   TextDatumGetCString(plan_column(0, 2, &isnull)), locked);
}

/*
 * store_begin_account
 *		The same for a statement on one account: takes both locks, parent first.
 */
StoreAccount *
store_begin_account(text *account_id, bool make)
{
	QuotaHold *hold = quota_active() ? quota_begin(text_to_cstring(account_id)) : NULL;
	StoreAccount *account =
		store_lock_account(account_id, hold != NULL ? hold->subscription_id : NULL, make);

	if (account != NULL)
		account->hold = hold;
	return account;
}

/*
 * store_next_revision
 *		The revision of the next conversation that the statement opens.  Revisions
 *		are found by the thousand, in buckets, which whoever follows the changes
 *		reads as a whole.  So that none is large, a statement goes on to the next
 *		bucket behind each STORE_BUCKET_CONVERSATIONS, and one of many
 *		conversations leaves the rest of its last one unused: see
 *		store_end_account.
 */
int64
store_next_revision(StoreAccount *account)
{
	if (account->opened > 0 && account->opened % STORE_BUCKET_CONVERSATIONS == 0)
	{
		account->revision = CONVERSATION_BUCKET_END(account->revision) + 1;
		account->advanced = true;
	}
	account->opened++;
	return account->revision;
}

/* clang-format off */
/* What a statement in between has taken stays taken. */
static PlanStatement account_advance_statement = {
	"UPDATE memory_store.accounts"
	" SET revision = GREATEST(revision, $2)"
	" WHERE account_id" OP(=) "$1",
	2,
	{TEXTOID, INT8OID},
};
/* clang-format on */

/* Writes the last revision that the statement has taken, which others wait for. */
void
store_save_revision(StoreAccount *account)
{
	Datum values[2] = {PointerGetDatum(account->account_id), Int64GetDatum(account->revision)};

	plan_execute(&account_advance_statement, values, NULL, false);
	store_mark_changed(account->account_id, account->revision);
	account->advanced = false;
}

/*
 * store_end_account
 *		Charges what the statement used; all of it is written by now.  Error:
 *		MX001, which takes the whole statement back.
 */
void
store_end_account(StoreAccount *account)
{
	static const QuotaAmounts nothing = {{0}};
	char *name;

	if (account->opened > STORE_MANY_CONVERSATIONS &&
		account->revision != CONVERSATION_BUCKET_END(account->revision))
	{
		account->revision = CONVERSATION_BUCKET_END(account->revision);
		account->advanced = true;
	}
	if (account->advanced)
		store_save_revision(account);
	store_erase_noted(account);
	if (!account->charged)
		return;
	if (memcmp(&account->amounts, &nothing, sizeof(nothing)) == 0 &&
		(account->hold == NULL || !account->hold->ahead))
		return;
	name = text_to_cstring(account->account_id);
	if (account->hold == NULL)
		account->hold = quota_begin_on(account->subscription_id, name);
	if (account->hold == NULL)
		return;
	quota_consume(account->hold, name, &account->amounts);
	if (!account->shared)
		quota_save(account->hold);
}

/* clang-format off */
static PlanStatement account_hold_statement = {
	"SELECT revision, subscription_id"
	" FROM memory_store.accounts"
	" WHERE account_id" OP(=) "$1 FOR NO KEY UPDATE",
	1,
	{TEXTOID},
};
/* clang-format on */

/*
 * The same lock without a revision, for work that moves data and changes
 * none.  False: there is no such account.
 */
bool
store_hold_account(text *account_id)
{
	Datum values[1];

	values[0] = PointerGetDatum(account_id);
	return plan_execute(&account_hold_statement, values, NULL, false) == 1;
}

/* clang-format off */
PlanStatement store_account_know_statement = {
	"INSERT INTO memory_store.accounts (account_id, subscription_id, revision,"
	" created_at)"
	" VALUES ($1, $1, 0, $2)"
	" ON CONFLICT (account_id) DO NOTHING",
	2,
	{TEXTOID, TIMESTAMPTZOID},
};
/* clang-format on */

/* Makes the account if it does not exist, and takes the same lock. */
void
store_know_account(text *account_id)
{
	Datum values[2] = {PointerGetDatum(account_id)};

	while (!store_hold_account(account_id))
	{
		CHECK_FOR_INTERRUPTS();
		values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
		plan_execute(&store_account_know_statement, values, NULL, false);
	}
}

/*
 * store_hold_for_change
 *		The locks of a statement that does not know yet whether it changes
 *		anything, parent first; the account is made if it does not exist.  Its
 *		revision is the one that the statement takes by store_save_revision, once
 *		it has changed something.
 */
StoreAccount *
store_hold_for_change(text *account_id)
{
	StoreAccount *account = palloc0(sizeof(StoreAccount));
	bool isnull;

	account->hold = quota_active() ? quota_begin(text_to_cstring(account_id)) : NULL;
	store_know_account(account_id);
	account->account_id = account_id;
	account->context = CurrentMemoryContext;
	account->revision = DatumGetInt64(plan_column(0, 1, &isnull)) + 1;
	account->subscription_id = TextDatumGetCString(plan_column(0, 2, &isnull));
	account->charged = account->hold != NULL;
	if (account->charged ? strcmp(account->hold->subscription_id, account->subscription_id) != 0
						 : quota_active() && quota_exists(account->subscription_id))
		quota_moved(text_to_cstring(account_id));
	return account;
}
