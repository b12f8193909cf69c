/*
 * changed.c
 *		Which accounts a transaction has changed, for those who wait to be told.
 *
 * Whoever takes a revision marks its account.  At commit the marks go to one of
 * two: with memory_ext.notify = transaction this transaction itself notifies
 * channel memory_changes, once an account; a sink, where one is set, gets them
 * once the transaction has been committed.  With neither a mark costs a test of
 * two variables.
 *
 * A poke is a hint: it may name a revision that a savepoint took back.  A prepared
 * transaction marks nothing here; see worker/pokes.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "memory_limits.h"
#include "store_private.h"

#define CHANGES_CHANNEL "memory_changes"

/* A notification is shorter: NOTIFY_PAYLOAD_MAX_LENGTH of async.c, with space for one more. */
#define PAYLOAD_BYTES 6000

/* Of more accounts than this it is said that any may have changed. */
#define NOTIFIED_ACCOUNTS 4096

typedef enum ChangedNotify
{
	NOTIFY_OFF,
	NOTIFY_TRANSACTION
} ChangedNotify;

static const struct config_enum_entry notify_values[] = {{"off", NOTIFY_OFF, false},
														 {"transaction", NOTIFY_TRANSACTION, false},
														 {NULL, 0, false}};

typedef struct ChangedAccount
{
	char account_id[MEMORY_MAX_ACCOUNT_ID_BYTES + 1]; /* the key */
	int64 revision;
} ChangedAccount;

static int notify = NOTIFY_OFF;
static StoreChangedSink changed_sink = NULL;

/* Of this transaction, in its context; NULL: none is marked. */
static HTAB *changed_accounts = NULL;

/*
 * Names the function that is told of changed accounts; called once, from the
 * room that wants to know.
 */
void
store_set_changed_sink(StoreChangedSink sink)
{
	changed_sink = sink;
}

/*
 * store_notify_account
 *		Adds an account to the payload, which begins empty; notifies and empties
 *		it when it is full.  The transaction sends the notifications when it
 *		commits.  Account ids are valid UTF-8, as every text of the database.
 */
void
store_notify_account(StringInfo payload, const char *account_id, int64 revision)
{
	if (payload->len >= PAYLOAD_BYTES)
		store_notify_rest(payload);
	appendStringInfoString(payload,
						   payload->len == 0 ? "[{\"account_id\": " : ", {\"account_id\": ");
	escape_json(payload, account_id);
	appendStringInfo(payload, ", \"revision\": " INT64_FORMAT "}", revision);
}

/*
 * store_notify_rest
 *		Notifies of the accounts in the payload and empties it; without any it
 *		says that each account of the database may have changed.
 */
void
store_notify_rest(StringInfo payload)
{
	if (payload->len == 0)
		appendStringInfoChar(payload, '[');
	appendStringInfoChar(payload, ']');
	Async_Notify(CHANGES_CHANNEL, payload->data);
	resetStringInfo(payload);
}

/* Notifies of all that are marked; an empty list says that any account may have changed. */
static void
notify_changed(void)
{
	StringInfoData payload;
	HASH_SEQ_STATUS status;
	ChangedAccount *account;

	initStringInfo(&payload);
	if (hash_get_num_entries(changed_accounts) <= NOTIFIED_ACCOUNTS)
	{
		hash_seq_init(&status, changed_accounts);
		while ((account = hash_seq_search(&status)) != NULL)
			store_notify_account(&payload, account->account_id, account->revision);
	}
	store_notify_rest(&payload);
	pfree(payload.data);
}

static void
tell_sink(void)
{
	HASH_SEQ_STATUS status;
	ChangedAccount *account;

	hash_seq_init(&status, changed_accounts);
	while ((account = hash_seq_search(&status)) != NULL)
		changed_sink(account->account_id, account->revision);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (changed_accounts == NULL)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (notify == NOTIFY_TRANSACTION)
				notify_changed();
			return;
		case XACT_EVENT_COMMIT:
			if (changed_sink != NULL)
				tell_sink();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			break;
		default:
			return;
	}
	changed_accounts = NULL; /* its memory goes with the transaction's */
}

static void
create_table(void)
{
	static bool registered = false;
	HASHCTL control = {0};

	if (!registered)
		RegisterXactCallback(at_transaction_end, NULL);
	registered = true;
	control.keysize = MEMORY_MAX_ACCOUNT_ID_BYTES + 1;
	control.entrysize = sizeof(ChangedAccount);
	control.hcxt = TopTransactionContext;
	changed_accounts =
		hash_create("memory_ext changed", 16, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/*
 * store_mark_changed
 *		The transaction has taken this revision of the account; 0: it has
 *		forgotten it.
 */
void
store_mark_changed(const text *account_id, int64 revision)
{
	char name[MEMORY_MAX_ACCOUNT_ID_BYTES + 1];
	ChangedAccount *account;
	bool found;

	if (notify == NOTIFY_OFF && changed_sink == NULL)
		return;
	if (changed_accounts == NULL)
		create_table();
	text_to_cstring_buffer(account_id, name, sizeof(name));
	account = hash_search(changed_accounts, name, HASH_ENTER, &found);
	account->revision = !found || revision == 0 ? revision : Max(account->revision, revision);
}

/* Called once, from store_init. */
void
store_changed_init(void)
{
	DefineCustomEnumVariable("memory_ext.notify",
							 "Who notifies channel memory_changes of accounts that have changed.",
							 "off: nobody. transaction: each transaction, once an account, when it "
							 "commits.",
							 &notify, NOTIFY_OFF, notify_values, PGC_SUSET, 0, NULL, NULL, NULL);
}
