/*
 * write.c
 *		The one write path: lock the account, open a conversation, add messages,
 *		close it.
 *
 * Every statement that changes an account takes the account's next revision
 * under the lock of its row, held to commit: revisions appear in commit order,
 * and whoever holds the lock is the account's only writer, so the rows of its
 * conversations need no lock of their own.  Locks are taken parent first and,
 * where there are several, in key order.
 *
 * Added messages wait in a run.  When run and tail together reach the size of
 * a segment, both are sealed; what is left at the close goes to the tail, or,
 * for a bulk statement's new conversation, to a segment of its own, which is
 * filled from the one before: see hold_run.
 *
 * All functions need an SPI connection.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "memory_limits.h"
#include "store.h"

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
	if (locked != NULL ? strcmp(locked, account->subscription_id) != 0
					   : quota_active() && quota_exists(account->subscription_id))
		quota_moved(text_to_cstring(account_id));
	return account;
}

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

	if (store_execute(STORE_ACCOUNT_BUMP, values, NULL, false) == 0)
	{
		if (!make)
		{
			if (locked != NULL)
				quota_drop_unused(locked);
			return NULL;
		}
		values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
		store_execute(STORE_ACCOUNT_CREATE, values, NULL, false);
	}
	return store_found_account(account_id, DatumGetInt64(store_column(0, 1, &isnull)),
							   TextDatumGetCString(store_column(0, 2, &isnull)), locked);
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
 * store_end_account
 *		Charges what the statement used; all of it is written by now.  Error:
 *		MX001, which takes the whole statement back.
 */
void
store_end_account(StoreAccount *account)
{
	static const QuotaAmounts nothing = {{0}};
	char *name;

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

/*
 * The same lock without a revision, for work that moves data and changes
 * none.  False: there is no such account.
 */
bool
store_hold_account(text *account_id)
{
	Datum values[1];

	values[0] = PointerGetDatum(account_id);
	return store_execute(STORE_ACCOUNT_HOLD, values, NULL, false) == 1;
}

/* Makes the account if it does not exist, and takes the same lock. */
void
store_know_account(text *account_id)
{
	Datum values[2] = {PointerGetDatum(account_id)};

	while (!store_hold_account(account_id))
	{
		CHECK_FOR_INTERRUPTS();
		values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
		store_execute(STORE_ACCOUNT_KNOW, values, NULL, false);
	}
}

void
store_unknown_conversation(const pg_uuid_t *id, const text *account_id)
{
	ereport(ERROR, (errcode(ERRCODE_NO_DATA),
					errmsg("conversation %s of account \"%s\" does not exist",
						   store_uuid_string(id), text_to_cstring(account_id)),
					errhint("See memory.conversations for the conversations of the account.")));
}

/*
 * store_owner_of
 *		The account of a row that names none, in the current memory context: the
 *		session's, else that of the only conversation of this id.  Error: 22004.
 */
text *
store_owner_of(const pg_uuid_t *id)
{
	Datum values[1] = {UUIDPGetDatum(id)};
	bool isnull;
	uint64 owners;

	if (account_confined() != NULL)
		return account_check(NULL);
	owners = store_execute(STORE_CONVERSATION_OWNERS, values, NULL, false);
	if (owners != 1)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("account_id must not be null"),
				 owners == 0
					 ? errdetail("Conversation %s does not exist.", store_uuid_string(id))
					 : errdetail("Several accounts have a conversation %s.", store_uuid_string(id)),
				 errhint("Name the account; it can be left out only for an existing "
						 "conversation.")));
	return DatumGetTextPCopy(store_column(0, 1, &isnull));
}

/*
 * store_seen_revision
 *		The conversation's revision as the statement saw it, by its snapshot,
 *		which is the active one; 0: it did not see it.  An UPDATE's new values
 *		were made from what it saw, so a message that has a later revision must
 *		not take them: the other change would be lost.
 */
int64
store_seen_revision(StoreConversation *conversation)
{
	Datum values[2] = {UUIDPGetDatum(&conversation->id), PointerGetDatum(conversation->account_id)};
	bool isnull;

	if (store_execute(STORE_CONVERSATION_READ, values, NULL, true) != 1)
		return 0;
	return DatumGetInt64(store_column(0, 12, &isnull));
}

/* The largest seq that the conversation has on disk; 0: it has none. */
int64
store_last_message(StoreConversation *conversation)
{
	Datum values[2];
	Datum last;
	bool isnull;

	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	store_execute(STORE_LAST_MESSAGE, values, NULL, false);
	last = store_column(0, 1, &isnull);
	return isnull ? 0 : DatumGetInt64(last);
}

/* An empty conversation that the store does not know; its run is in the current context. */
void
store_init_conversation(StoreConversation *conversation, StoreAccount *account, const pg_uuid_t *id)
{
	memset(conversation, 0, sizeof(*conversation));
	conversation->id = *id;
	conversation->account = account;
	conversation->account_id = account->account_id;
	conversation->revision = account->revision;
	ItemPointerSetInvalid(&conversation->place);
	conversation->next_seq = 1;
	conversation->last_seq = -1;
	conversation->fresh = true;
	store_run_init(&conversation->run);
}

static StoreConversation *
new_conversation(StoreAccount *account, const pg_uuid_t *id)
{
	StoreConversation *conversation = palloc(sizeof(StoreConversation));

	store_init_conversation(conversation, account, id);
	return conversation;
}

/* Takes over the columns of STORE_CONVERSATION_READ.  Error: 55000 deleted. */
static void
take_row(StoreConversation *conversation, HeapTuple row, TupleDesc descriptor)
{
	Datum values[STORE_CONVERSATION_READ_COLUMNS];
	bool nulls[STORE_CONVERSATION_READ_COLUMNS];

	heap_deform_tuple(row, descriptor, values, nulls);
	if (!nulls[10])
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("conversation %s has been deleted", store_uuid_string(&conversation->id)),
				 errhint("Choose a new conversation_id.")));
	conversation->next_seq = DatumGetInt64(values[0]);
	conversation->head_seq = DatumGetInt64(values[1]);
	conversation->message_count = DatumGetInt64(values[2]);
	conversation->token_count = DatumGetInt64(values[3]);
	conversation->content_bytes = DatumGetInt64(values[4]);
	conversation->tail_bytes = DatumGetInt64(values[5]);
	conversation->tail_count = DatumGetInt32(values[6]);
	conversation->branched = conversation->message_count > 0 && DatumGetBool(values[7]);
	conversation->created_at = DatumGetTimestampTz(values[8]);
	conversation->updated_at = DatumGetTimestampTz(values[9]);
	conversation->has_times = true;
	conversation->exists = true;
	conversation->place = *(ItemPointer) DatumGetPointer(values[14]);
	conversation->fresh = conversation->message_count == 0;
	conversation->charged_bytes = conversation->content_bytes;

	conversation->pinned = conversation->head_seq >= conversation->next_seq;
	if (!conversation->pinned)
		conversation->leaf = conversation->head_seq;
	else if (!conversation->fresh)
		conversation->leaf = store_last_message(conversation);
}

/*
 * store_open_conversation
 *		The conversation as a statement of this revision works on it, in the
 *		current memory context; the account's lock is held.  What other accounts
 *		have under this id is not looked at.  Errors: 02000 unknown, 55000
 *		deleted.
 */
StoreConversation *
store_open_conversation(StoreAccount *account, const pg_uuid_t *id, StoreOpenMode mode)
{
	StoreConversation *conversation = new_conversation(account, id);
	Datum values[2] = {UUIDPGetDatum(id), PointerGetDatum(account->account_id)};
	bool living;

	if (store_execute(STORE_CONVERSATION_READ, values, NULL, false) > 0)
	{
		(void) store_column(0, 11, &living);
		if (mode == STORE_PROBE && !living)
			return NULL;
		take_row(conversation, SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
		return conversation;
	}
	if (mode == STORE_PROBE)
		return NULL;
	if (mode == STORE_EXISTING)
		store_unknown_conversation(id, account->account_id);
	return conversation;
}

/*
 * The keys of n conversations as two arrays, in the current memory context:
 * the statements that look conversations up by their whole key take them so.
 */
void
store_key_arrays(const StoreKey *keys, int n, Datum *arrays)
{
	Datum *ids = palloc(mul_size(Max(n, 1), sizeof(Datum)));
	Datum *accounts = palloc(mul_size(Max(n, 1), sizeof(Datum)));

	for (int i = 0; i < n; i++)
	{
		ids[i] = UUIDPGetDatum(&keys[i].id);
		accounts[i] = PointerGetDatum(keys[i].account_id);
	}
	arrays[0] = PointerGetDatum(construct_array(ids, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	arrays[1] = PointerGetDatum(construct_array(accounts, n, TEXTOID, -1, false, TYPALIGN_INT));
	pfree(ids);
	pfree(accounts);
}

/*
 * store_read_known
 *		Reads the rows of n conversations, of those that there are.  The caller
 *		holds the locks of their accounts, and frees the rows with
 *		SPI_freetuptable.
 */
void
store_read_known(const StoreKey *keys, int n, StoreKnown *known)
{
	Datum values[2];

	store_key_arrays(keys, n, values);
	known->count = store_execute(STORE_CONVERSATIONS_READ, values, NULL, false);
	known->rows = SPI_tuptable;
	SPI_tuptable = NULL; /* kept while others come and go */
}

/* The order of the rows: that of the store's locks. */
static int
compare_known(const StoreKnown *known, uint64 row, const pg_uuid_t *id, const text *account_id)
{
	HeapTuple tuple = known->rows->vals[row];
	TupleDesc descriptor = known->rows->tupdesc;
	bool isnull;
	Datum owner = SPI_getbinval(tuple, descriptor, STORE_CONVERSATION_READ_COLUMNS - 2, &isnull);
	Datum have = SPI_getbinval(tuple, descriptor, STORE_CONVERSATION_READ_COLUMNS - 1, &isnull);
	int order = account_compare(DatumGetTextPP(owner), account_id);

	return order != 0 ? order : memcmp(DatumGetUUIDP(have), id, UUID_LEN);
}

/* store_open_conversation, for a conversation that store_read_known has looked up, or made. */
StoreConversation *
store_open_known(StoreAccount *account, const pg_uuid_t *id, const StoreKnown *known)
{
	StoreConversation *conversation = new_conversation(account, id);
	uint64 low = 0;
	uint64 high = known->count;

	while (low < high)
	{
		uint64 middle = low + (high - low) / 2;

		if (compare_known(known, middle, id, account->account_id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < known->count && compare_known(known, low, id, account->account_id) == 0)
		take_row(conversation, known->rows->vals[low], known->rows->tupdesc);
	return conversation;
}

/* What a message takes of store_segment_bytes. */
static uint64
segment_bytes_of(const TranscriptMessage *message)
{
	return (uint64) message->content_len + message->metadata_len;
}

/* How many of n > 0 messages the next segment takes. */
uint32
store_segment_share(const TranscriptMessage *messages, uint32 n)
{
	uint64 bytes = 0;
	uint32 taken = 0;

	while (taken < n && taken < (uint32) store_segment_messages &&
		   bytes < (uint64) store_segment_bytes * 1024)
	{
		bytes += segment_bytes_of(&messages[taken]);
		taken++;
	}
	return taken;
}

/* Writes messages as segments: one, as a rule; more where metadata is large or a tail long. */
static void
seal_messages(StoreConversation *conversation, TranscriptMessage *messages, uint32 n)
{
	while (n > 0)
	{
		uint32 share = store_segment_share(messages, n);

		store_usage_taken(conversation, messages, share);
		store_insert_segment(conversation, messages, share);
		messages += share;
		n -= share;
	}
}

/* ---- what a new conversation holds back ---- */

/* Writes what is held as a segment; nothing is held then, but the texts are still there. */
static void
seal_held(StoreConversation *conversation)
{
	StoreRun *held = &conversation->held;
	MemoryContext scratch;
	MemoryContext old;

	if (held->count == 0)
		return;
	scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext held", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	seal_messages(conversation, held->messages, held->count);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	held->count = 0;
}

/*
 * The run, which is a full segment, waits for what follows it.  Who reads a
 * conversation wants its newest messages: when a bulk statement has come to its
 * end, the last segment is filled from this one, so that they are in one
 * segment rather than in two.
 */
static void
hold_run(StoreConversation *conversation)
{
	StoreRun full = conversation->run;

	seal_held(conversation);
	conversation->run = conversation->held;
	conversation->held = full;
	if (conversation->run.context != NULL)
		store_run_reset(&conversation->run);
	else
	{
		MemoryContext old = MemoryContextSwitchTo(MemoryContextGetParent(full.context));

		store_run_init(&conversation->run);
		MemoryContextSwitchTo(old);
	}
}

/* Moves the newest of the messages that are held to the run, as far as a segment takes them. */
static void
fill_run(StoreConversation *conversation)
{
	StoreRun *run = &conversation->run;
	StoreRun *held = &conversation->held;
	uint32 room = (uint32) store_segment_messages - run->count;
	uint64 bytes = 0;
	uint32 moved = 0;
	TranscriptMessage *messages;

	if (run->count == 0 || held->count == 0)
		return;
	for (uint32 i = 0; i < run->count; i++)
		bytes += segment_bytes_of(&run->messages[i]);
	while (moved < room && moved < held->count - 1)
	{
		bytes += segment_bytes_of(&held->messages[held->count - 1 - moved]);
		if (bytes > (uint64) store_segment_bytes * 1024)
			break;
		moved++;
	}
	messages =
		MemoryContextAlloc(run->context, mul_size(run->count + moved, sizeof(TranscriptMessage)));
	memcpy(messages, held->messages + held->count - moved, moved * sizeof(TranscriptMessage));
	memcpy(messages + moved, run->messages, run->count * sizeof(TranscriptMessage));
	run->messages = messages; /* some of their texts are in the other's context, which stays */
	run->count += moved;
	run->space = run->count;
	held->count -= moved;
}

static void
write_run_to_tail(StoreConversation *conversation)
{
	StoreRun *run = &conversation->run;

	seal_held(conversation);
	for (uint32 i = 0; i < run->count; i++)
		store_insert_tail(conversation, &run->messages[i]);
	conversation->tail_count += run->count;
	conversation->tail_bytes += run->bytes;
	store_run_reset(run);
}

/*
 * Whether a number belongs between others, or is one of them.  Below next_seq
 * it does not where the last messages were deleted, and come back.
 */
static bool
comes_late(StoreConversation *conversation, int64 seq)
{
	if (seq >= conversation->next_seq)
		return false;
	if (conversation->last_seq < 0)
		conversation->last_seq = conversation->fresh ? 0 : store_last_message(conversation);
	return seq <= conversation->last_seq;
}

/* The message before a number that was passed over; 0: there is none. */
static int64
message_before(StoreConversation *conversation, int64 seq)
{
	Datum values[3];
	Datum before;
	bool isnull;

	if (store_message_exists(conversation, seq - 1))
		return seq - 1;
	write_run_to_tail(conversation);
	store_queue_write(conversation->queue);
	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	values[2] = Int64GetDatum(seq);
	store_execute(STORE_MESSAGE_BEFORE, values, NULL, false);
	before = store_column(0, 1, &isnull);
	return isnull ? 0 : DatumGetInt64(before);
}

/*
 * store_check_parent
 *		-1 becomes the default, the message before; 0 is a root; any other must
 *		be an earlier message that exists.  Error: 22023.
 */
void
store_check_parent(StoreConversation *conversation, int64 seq, int64 *parent_seq)
{
	if (*parent_seq == -1)
		*parent_seq =
			comes_late(conversation, seq) ? message_before(conversation, seq) : conversation->leaf;
	else if (*parent_seq != 0 &&
			 (*parent_seq >= seq || !store_message_exists(conversation, *parent_seq)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parent_seq " INT64_FORMAT " of message " INT64_FORMAT
							   " does not exist in conversation %s",
							   *parent_seq, seq, store_uuid_string(&conversation->id)),
						errhint("A message answers an earlier one of its conversation; leave "
								"parent_seq out for the one before, or give 0 for a new root.")));
}

/* What a number that the caller gives must fulfil.  Error: 22023. */
void
store_check_seq(int64 seq)
{
	if (seq < 1 || seq > MEMORY_MAX_SEQ)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("seq " INT64_FORMAT " is out of range", seq),
				 errhint("Messages are numbered from 1 to " INT64_FORMAT "; leave seq out to have "
						 "the next number assigned.",
						 MEMORY_MAX_SEQ)));
}

/* A parent that the caller gives, not to be taken for the default, -1.  Error: 22023. */
void
store_check_parent_given(int64 parent_seq)
{
	if (parent_seq < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parent_seq " INT64_FORMAT " is out of range", parent_seq),
						errhint("A message answers an earlier one of its conversation; leave "
								"parent_seq out for the one before, or give 0 for a new root.")));
}

/* Gives the message its number and parent, or refuses the ones it came with. */
static void
place_message(StoreConversation *conversation, TranscriptMessage *message)
{
	if (message->seq == 0)
		message->seq = conversation->next_seq;
	store_check_seq(message->seq);

	store_check_parent(conversation, message->seq, &message->parent_seq);
}

static int
compare_seq(const void *a, const void *b)
{
	int64 left = ((const TranscriptMessage *) a)->seq;
	int64 right = ((const TranscriptMessage *) b)->seq;

	return left < right ? -1 : left > right;
}

/*
 * Moves the tail's rows into memory, in order of seq, followed by the run's
 * messages.  The rows' texts live in SPI_tuptable or the current context.
 */
static TranscriptMessage *
take_tail(StoreConversation *conversation, uint32 *n)
{
	StoreRun *run = &conversation->run;
	TranscriptMessage *messages;
	Datum values[2];
	uint64 taken;

	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	taken = store_execute(STORE_TAIL_TAKE, values, NULL, false);

	messages = palloc(mul_size(taken + run->count, sizeof(TranscriptMessage)));
	for (uint64 i = 0; i < taken; i++)
		store_tail_row(i, &messages[i]);
	qsort(messages, taken, sizeof(TranscriptMessage), compare_seq);
	if (run->count > 0)
		memcpy(messages + taken, run->messages, run->count * sizeof(TranscriptMessage));
	*n = taken + run->count;
	return messages;
}

/* Writes tail and run as segments; both are empty then.  Nothing is held where there is a tail. */
void
store_seal_tail(StoreConversation *conversation)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext seal", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	TranscriptMessage *messages = conversation->run.messages;
	uint32 n = conversation->run.count;
	SPITupleTable *rows = NULL;

	if (conversation->tail_count > 0)
	{
		messages = take_tail(conversation, &n);
		rows = SPI_tuptable; /* has the messages' texts: must outlive the next statement */
		SPI_tuptable = NULL;
	}
	seal_messages(conversation, messages, n);
	SPI_freetuptable(rows);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	store_run_reset(&conversation->run);
	conversation->tail_count = 0;
	conversation->tail_bytes = 0;
}

static void
count_message(StoreConversation *conversation, const TranscriptMessage *message)
{
	QuotaAmounts *amounts = &conversation->account->amounts;

	/* one of long ago is an import: stored, but not used in this period */
	if (metering_classify(message->created_at) != METERING_IMPORTED)
	{
		amounts->by_meter[QUOTA_MESSAGES]++;
		amounts->by_meter[QUOTA_TOKENS] += message->tokens;
	}
	conversation->message_count++;
	conversation->token_count += message->tokens;
	conversation->content_bytes += message->content_len;
	if (!conversation->has_times)
	{
		conversation->created_at = message->created_at;
		conversation->updated_at = message->created_at;
		conversation->has_times = true;
	}
	else
	{
		if (!conversation->exists && message->created_at < conversation->created_at)
			conversation->created_at = message->created_at;
		if (message->created_at > conversation->updated_at)
			conversation->updated_at = message->created_at;
	}
}

/* A message with a number of before is there: it may have been deleted once. */
static void
remove_tombstone(StoreConversation *conversation, int64 seq)
{
	Datum values[3];

	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	values[2] = Int64GetDatum(seq);
	store_execute(STORE_TOMBSTONE_DELETE, values, NULL, false);
}

/* A number that was passed over and comes now: it goes between the others. */
static void
add_late_message(StoreConversation *conversation, const TranscriptMessage *message)
{
	StoreChange change;

	if (store_message_exists(conversation, message->seq))
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("message " INT64_FORMAT " of conversation %s exists already",
							   message->seq, store_uuid_string(&conversation->id)),
						errhint("Use UPDATE or memory.edit_message to change a message.")));

	write_run_to_tail(conversation);
	store_queue_write(conversation->queue);
	memset(&change, 0, sizeof(change));
	change.seq = message->seq;
	change.insert = true;
	change.message = *message;
	store_apply_changes(conversation, &change, 1);
	conversation->branched = true;
}

/*
 * store_add_message
 *		Adds a checked message (store_check_message); seq 0 is assigned, as is
 *		parent_seq -1; a missing created_at is now.  The message is copied.
 *		Returns its seq.  One whose message_id is there already is not added:
 *		see store_check_repeated.  Errors: 22023 seq or parent_seq, 23505 seq or
 *		message_id is taken.
 */
int64
store_add_message(StoreConversation *conversation, const TranscriptMessage *message)
{
	StoreRun *run = &conversation->run;
	TranscriptMessage added = *message;
	int64 stored = store_known_message(conversation, message);
	bool late;

	if (stored > 0)
	{
		conversation->repeated = true;
		return stored;
	}
	conversation->changed = true;
	place_message(conversation, &added);
	added.revision = conversation->revision;
	if (!added.has_created_at)
	{
		added.created_at = GetCurrentStatementStartTimestamp();
		added.has_created_at = true;
	}

	if (added.seq < conversation->next_seq)
		remove_tombstone(conversation, added.seq);
	late = comes_late(conversation, added.seq);
	store_usage_added(conversation, &added, late);
	if (late)
	{
		add_late_message(conversation, &added);
		count_message(conversation, &added);
		return added.seq;
	}

	count_message(conversation, &added);
	conversation->branched |= added.parent_seq != conversation->leaf;
	conversation->next_seq = Max(conversation->next_seq, added.seq + 1);
	conversation->last_seq = added.seq;
	conversation->leaf = added.seq;
	if (!conversation->pinned)
		conversation->head_seq = added.seq;

	store_run_push(run, &added);
	if (run->count + (uint32) conversation->tail_count < (uint32) store_segment_messages &&
		run->bytes + conversation->tail_bytes < (uint64) store_segment_bytes * 1024)
		return added.seq;
	if (conversation->fresh && conversation->tail_count == 0)
		hold_run(conversation);
	else
		store_seal_tail(conversation);
	return added.seq;
}

/* The parameters of STORE_CONVERSATION_INSERT; the first of them are those of UPDATE. */
static void
conversation_parameters(StoreConversation *conversation, Datum *values, char *nulls)
{
	memset(nulls, ' ', STORE_CONVERSATION_COLUMNS);
	values[0] = UUIDPGetDatum(&conversation->id);
	values[1] = PointerGetDatum(conversation->account_id);
	values[2] = Int64GetDatum(conversation->next_seq);
	values[3] = Int64GetDatum(conversation->head_seq);
	values[4] = Int64GetDatum(conversation->message_count);
	values[5] = Int64GetDatum(conversation->token_count);
	values[6] = Int64GetDatum(conversation->content_bytes);
	values[7] = Int64GetDatum(conversation->tail_bytes);
	values[8] = Int32GetDatum(conversation->tail_count);
	values[9] = BoolGetDatum(conversation->branched);
	values[10] = TimestampTzGetDatum(conversation->created_at);
	values[11] = TimestampTzGetDatum(conversation->updated_at);
	values[12] = Int64GetDatum(conversation->revision);
	values[13] = PointerGetDatum(conversation->title);
	nulls[13] = conversation->title == NULL ? 'n' : ' ';
	values[14] = PointerGetDatum(conversation->metadata);
	nulls[14] = conversation->metadata == NULL ? 'n' : ' ';
	values[15] = BoolGetDatum(conversation->archived);
}

/* Writes the conversation's row; title, metadata and archived only when it is new. */
void
store_save_conversation(StoreConversation *conversation)
{
	Datum values[STORE_CONVERSATION_COLUMNS];
	char nulls[STORE_CONVERSATION_COLUMNS + 1] = {0};

	if (!conversation->has_times)
	{
		conversation->created_at = GetCurrentStatementStartTimestamp();
		conversation->updated_at = conversation->created_at;
		conversation->has_times = true;
	}

	if (!conversation->exists)
		conversation->account->amounts.by_meter[QUOTA_CONVERSATIONS]++;
	conversation->account->amounts.by_meter[QUOTA_CONTENT_BYTES] +=
		conversation->content_bytes - conversation->charged_bytes;
	conversation->charged_bytes = conversation->content_bytes;

	conversation_parameters(conversation, values, nulls);
	if (conversation->queue != NULL)
		store_queue_conversation(conversation->queue, values, nulls, conversation->exists,
								 &conversation->place);
	else if (conversation->exists)
		store_execute(STORE_CONVERSATION_UPDATE, values, nulls, false);
	else
		store_execute(STORE_CONVERSATION_INSERT, values, nulls, false);
	conversation->exists = true;
}

/* A restore's promised head has come, or it has turned out to be missing. */
static void
settle_head(StoreConversation *conversation)
{
	if (!conversation->pinned || conversation->head_seq >= conversation->next_seq)
		return;
	if (!store_message_exists(conversation, conversation->head_seq))
		conversation->head_seq = conversation->leaf;
	else if (conversation->head_seq != conversation->leaf)
		conversation->branched = true;
}

/*
 * store_finish_messages
 *		Writes what is still in the run, which ends.  bulk: a conversation that
 *		was empty is sealed to its end.
 */
void
store_finish_messages(StoreConversation *conversation, bool bulk)
{
	if (bulk && conversation->fresh)
	{
		fill_run(conversation);
		seal_held(conversation);
		store_seal_tail(conversation);
	}
	else
		write_run_to_tail(conversation);
	settle_head(conversation);
	if (conversation->ids != NULL)
		store_ids_free(conversation->ids);
	conversation->ids = NULL;
	MemoryContextDelete(conversation->run.context);
	if (conversation->held.context != NULL)
		MemoryContextDelete(conversation->held.context);
}

/*
 * store_close_conversation
 *		The same, then its row and what it used; neither if all that came was
 *		there already.
 */
void
store_close_conversation(StoreConversation *conversation, bool bulk)
{
	store_finish_messages(conversation, bulk);
	if (conversation->repeated && !conversation->changed)
		return;
	store_save_conversation(conversation);
	store_usage_write(conversation);
}
