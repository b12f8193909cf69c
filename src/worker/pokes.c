/*
 * pokes.c
 *		The accounts whose listeners are to be told, in shared memory.
 *
 * A transaction that has been committed marks the accounts that it has changed;
 * the database's poke worker takes the marks away and notifies.  The table has a
 * fixed size: when it is full, the database as a whole is marked, which says
 * that each of its accounts may have changed.  The same is said once after the
 * server has started, because a crash loses the marks; and after a COMMIT
 * PREPARED, whose session does not know what the prepared one has changed.
 *
 * A mark is made after the commit is visible, so that whoever is told finds the
 * change.  All is protected by one lock, which is held for some hundred
 * nanoseconds by a commit.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "tcop/utility.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "store.h"
#include "worker_private.h"

#define POKE_ACCOUNTS 4096
/* How long no worker is started after one that did not come up, doubled each time. */
#define POKE_FIRST_PAUSE_SECONDS 1
#define POKE_LONGEST_PAUSE_DOUBLINGS 6

/* A database in which something was marked since the server started. */
typedef struct PokeDatabase
{
	Oid database;  /* InvalidOid: the slot is free */
	bool due;      /* something is marked, and whoever is to act on it has been woken */
	bool all;      /* each account may have changed; its accounts may be in the table, too */
	Latch *worker; /* NULL: none serves it */
	int failures;  /* workers in a row that did not come up */
	TimestampTz not_before; /* no worker is started before */
} PokeDatabase;

typedef struct PokeShared
{
	LWLock *lock;
	PokeDatabase databases[WORKER_MAX_DATABASES];
} PokeShared;

int poke_delay_ms = 50;

static PokeShared *shared = NULL;
static HTAB *marked = NULL; /* of PokeAccount */
static ProcessUtility_hook_type previous_utility_hook = NULL;

bool
poke_is_on(void)
{
	return worker_enabled && poke_delay_ms >= 0;
}

/* The slot of a database, and with create a new one; NULL: none.  The lock is held. */
static PokeDatabase *
find_database(Oid database, bool create)
{
	static int last = 0; /* a session's database does not change */
	PokeDatabase *free_slot = NULL;

	if (shared->databases[last].database == database)
		return &shared->databases[last];
	for (int i = 0; i < WORKER_MAX_DATABASES; i++)
	{
		PokeDatabase *slot = &shared->databases[i];

		if (slot->database == database)
		{
			last = i;
			return slot;
		}
		if (free_slot == NULL && slot->database == InvalidOid)
			free_slot = slot;
	}
	if (!create || free_slot == NULL)
		return NULL;
	memset(free_slot, 0, sizeof(*free_slot));
	free_slot->database = database;
	return free_slot;
}

/*
 * Notes that something is marked; the lock is held.  True: the caller calls wake
 * with the latch when it has given the lock back.
 */
static bool
set_due(PokeDatabase *slot, Latch **latch)
{
	bool first = !slot->due;

	slot->due = true;
	*latch = slot->worker;
	return first;
}

/* Latches are in shared memory for ever; one that has changed hands is woken for nothing. */
static void
wake(Latch *latch)
{
	if (latch != NULL)
		SetLatch(latch);
	else
		worker_wake_launcher();
}

/* Marks an account, or the database if there is no space; the lock is held. */
static void
mark(PokeDatabase *slot, const char *account_id, int64 revision)
{
	PokeKey key = {0};
	PokeAccount *account;
	bool found;

	if (slot->all)
		return;
	key.database = slot->database;
	strlcpy(key.account_id, account_id, sizeof(key.account_id));
	account = hash_search(marked, &key, HASH_ENTER_NULL, &found);
	if (account == NULL)
		slot->all = true;
	else if (!found)
		account->revision = revision;
	else if (account->revision != 0)
		/* commits may come here in another order; that it was forgotten is not to be lost */
		account->revision = revision == 0 ? 0 : Max(account->revision, revision);
}

/* The sink of store_set_changed_sink: raises no error, reads nothing. */
static void
mark_account(const char *account_id, int64 revision)
{
	PokeDatabase *slot;
	Latch *latch = NULL;
	bool first = false;

	if (!poke_is_on())
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_database(MyDatabaseId, true);
	if (slot != NULL)
	{
		mark(slot, account_id, revision);
		first = set_due(slot, &latch);
	}
	LWLockRelease(shared->lock);
	if (first)
		wake(latch);
}

void
poke_mark_all(Oid database)
{
	if (OidIsValid(database))
	{
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		(void) find_database(database, true);
		LWLockRelease(shared->lock);
	}
	for (int i = 0; i < WORKER_MAX_DATABASES; i++)
	{
		PokeDatabase *slot = &shared->databases[i];
		Latch *latch = NULL;
		bool first = false;

		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		if (OidIsValid(slot->database) && (!OidIsValid(database) || slot->database == database))
		{
			slot->all = true;
			first = set_due(slot, &latch) && poke_is_on();
		}
		LWLockRelease(shared->lock);
		if (first)
			wake(latch);
	}
}

/* After COMMIT PREPARED it is not known which accounts have changed. */
static void
poke_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
			 ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
			 DestReceiver *receiver, QueryCompletion *completion)
{
	bool committed =
		IsA(statement->utilityStmt, TransactionStmt) &&
		((TransactionStmt *) statement->utilityStmt)->kind == TRANS_STMT_COMMIT_PREPARED;

	if (previous_utility_hook != NULL)
		previous_utility_hook(statement, query, read_only_tree, context, params, environment,
							  receiver, completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context, params, environment,
								receiver, completion);
	if (committed && poke_is_on())
		poke_mark_all(MyDatabaseId);
}

/* ---------- for the launcher ---------- */

void
poke_forget_others(List *existing)
{
	HASH_SEQ_STATUS status;
	PokeAccount *account;
	bool gone = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < WORKER_MAX_DATABASES; i++)
	{
		PokeDatabase *slot = &shared->databases[i];

		if (!OidIsValid(slot->database) || slot->worker != NULL ||
			list_member_oid(existing, slot->database))
			continue;
		slot->database = InvalidOid;
		gone = true;
	}
	if (gone)
	{
		hash_seq_init(&status, marked);
		while ((account = hash_seq_search(&status)) != NULL)
			if (!list_member_oid(existing, account->key.database))
				(void) hash_search(marked, &account->key, HASH_REMOVE, NULL);
	}
	LWLockRelease(shared->lock);
}

Oid
poke_find_due(List *databases, bool paused_too)
{
	TimestampTz now = GetCurrentTimestamp();
	Oid due = InvalidOid;
	ListCell *cell;

	LWLockAcquire(shared->lock, LW_SHARED);
	foreach (cell, databases)
	{
		PokeDatabase *slot = find_database(lfirst_oid(cell), false);

		if (slot != NULL && slot->due && slot->worker == NULL &&
			(paused_too || slot->not_before <= now))
		{
			due = slot->database;
			break;
		}
	}
	LWLockRelease(shared->lock);
	return due;
}

void
poke_pause(Oid database)
{
	PokeDatabase *slot;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_database(database, false);
	if (slot != NULL)
	{
		slot->not_before = GetCurrentTimestamp() + (int64) POKE_FIRST_PAUSE_SECONDS *
													   USECS_PER_SEC *
													   ((int64) 1 << slot->failures);
		slot->failures = Min(slot->failures + 1, POKE_LONGEST_PAUSE_DOUBLINGS);
	}
	LWLockRelease(shared->lock);
}

/* ---------- for the worker ---------- */

void
poke_attach(void)
{
	PokeDatabase *slot;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_database(MyDatabaseId, true);
	if (slot != NULL)
	{
		slot->worker = MyLatch;
		slot->failures = 0;
		slot->not_before = 0;
	}
	LWLockRelease(shared->lock);
}

/* With unsent it has taken marks of which nobody was told. */
void
poke_detach(bool unsent)
{
	PokeDatabase *slot;
	bool due = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_database(MyDatabaseId, false);
	if (slot != NULL)
	{
		slot->worker = NULL;
		slot->all = slot->all || unsent;
		slot->due = slot->due || unsent;
		due = slot->due;
	}
	LWLockRelease(shared->lock);
	if (due)
		worker_wake_launcher();
}

bool
poke_is_due(void)
{
	PokeDatabase *slot;
	bool due;

	LWLockAcquire(shared->lock, LW_SHARED);
	slot = find_database(MyDatabaseId, false);
	due = slot != NULL && slot->due;
	LWLockRelease(shared->lock);
	return due;
}

int
poke_take(PokeAccount **accounts)
{
	PokeDatabase *slot;
	PokeAccount *account;
	HASH_SEQ_STATUS status;
	bool all = false;
	int n = 0;

	*accounts = palloc(POKE_ACCOUNTS * sizeof(PokeAccount));
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_database(MyDatabaseId, false);
	if (slot != NULL)
	{
		all = slot->all;
		slot->all = false;
		slot->due = false;
		hash_seq_init(&status, marked);
		while ((account = hash_seq_search(&status)) != NULL)
		{
			if (account->key.database != MyDatabaseId)
				continue;
			(*accounts)[n++] = *account;
			(void) hash_search(marked, &account->key, HASH_REMOVE, NULL);
		}
	}
	LWLockRelease(shared->lock);
	return all ? -1 : n;
}

/* ---------- start ---------- */

Size
poke_shared_bytes(void)
{
	return add_size(MAXALIGN(sizeof(PokeShared)),
					hash_estimate_size(POKE_ACCOUNTS, sizeof(PokeAccount)));
}

void
poke_start_shared_memory(LWLock *lock)
{
	HASHCTL control = {0};
	bool found;

	shared = ShmemInitStruct("memory_ext pokes", sizeof(PokeShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(*shared));
		shared->lock = lock;
	}
	control.keysize = sizeof(PokeKey);
	control.entrysize = sizeof(PokeAccount);
	marked = ShmemInitHash("memory_ext changed accounts", POKE_ACCOUNTS, POKE_ACCOUNTS, &control,
						   HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

void
poke_init(void)
{
	store_set_changed_sink(mark_account);
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = poke_utility;
}
