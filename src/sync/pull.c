/*
 * pull.c
 *		memory.pull and its relatives: what has changed, as documents or rows.
 *
 * A checkpoint says how far a device has come: up to a conversation, by its
 * revision, and to a message of it.  Beside that it has two revisions.  base is
 * the account's at the end of the last round: a message that is no later is
 * known.  Within a round that must not move, because a conversation that was not
 * reached yet may have been changed meanwhile and is found at its new revision
 * only, with all that is later than base.  floor is the account's revision when
 * the copy was last known to have nothing that a purged tombstone would have to
 * take away: base, or for a first round its beginning.
 *
 * Everything is read under the statement's own snapshot; no lock is taken.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "audit.h"
#include "sql_text.h"
#include "statement.h"
#include "sync.h"

typedef struct Checkpoint
{
	bool given;
	char *epoch;
	int64 revision; /* of the last conversation */
	bool has_id;    /* false: all of the revision is known */
	pg_uuid_t id;
	int64 seq; /* of its last message; 0: all of it is known */
	int64 base;
	int64 floor;
} Checkpoint;

typedef struct Pull
{
	text *account_id;
	SyncCollection collection;
	int64 max_documents;
	Size max_bytes;
	bool has_since;
	TimestampTz since;
	int64 max_conversations; /* 0: all */
	StoreAccountState account;
	Checkpoint at;
	StoreFeed *feed;
	SyncDocuments documents;
	bool full;
} Pull;

/* ---- checkpoints ---- */

static void
bad_checkpoint(void)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("checkpoint is not one that memory.pull() has returned"),
					errhint("Give back the checkpoint of the last answer as it was, or null to "
							"begin anew.")));
}

static int64
checkpoint_number(JsonbContainer *object, const char *key)
{
	JsonbValue value;
	int64 number;

	if (!sync_get(object, key, &value) || value.type != jbvNumeric)
		bad_checkpoint();
	number = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
	if (number < 0)
		bad_checkpoint();
	return number;
}

/* Reads what write_checkpoint wrote; null is the beginning.  Error: 22023. */
static void
read_checkpoint(Jsonb *jsonb, Checkpoint *checkpoint)
{
	JsonbValue value;

	memset(checkpoint, 0, sizeof(*checkpoint));
	if (jsonb == NULL)
		return;
	if (JB_ROOT_IS_SCALAR(jsonb) && JsonbExtractScalar(&jsonb->root, &value) &&
		value.type == jbvNull)
		return;
	if (!JB_ROOT_IS_OBJECT(jsonb) || !sync_get(&jsonb->root, "epoch", &value) ||
		value.type != jbvString)
		bad_checkpoint();
	checkpoint->given = true;
	checkpoint->epoch = pnstrdup(value.val.string.val, value.val.string.len);
	checkpoint->revision = checkpoint_number(&jsonb->root, "revision");
	checkpoint->seq = checkpoint_number(&jsonb->root, "seq");
	checkpoint->base = checkpoint_number(&jsonb->root, "base");
	checkpoint->floor = checkpoint_number(&jsonb->root, "floor");
	if (!sync_get(&jsonb->root, "conversation_id", &value) ||
		(value.type != jbvNull && value.type != jbvString))
		bad_checkpoint();
	checkpoint->has_id = value.type == jbvString;
	if (checkpoint->has_id &&
		!sync_read_uuid(value.val.string.val, value.val.string.len, &checkpoint->id))
		bad_checkpoint();
	if (checkpoint->base > checkpoint->revision || (checkpoint->seq > 0 && !checkpoint->has_id))
		bad_checkpoint();
}

/* Every key is always there: clients that merge checkpoints must not keep an old one. */
static void
write_checkpoint(JsonbParseState **state, const Checkpoint *checkpoint)
{
	if (!checkpoint->given)
	{
		sync_put_null(state, "checkpoint");
		return;
	}
	sync_put_key(state, "checkpoint");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	sync_put_string(state, "epoch", checkpoint->epoch, strlen(checkpoint->epoch));
	sync_put_number(state, "revision", checkpoint->revision);
	if (checkpoint->has_id)
		sync_put_uuid(state, "conversation_id", &checkpoint->id);
	else
		sync_put_null(state, "conversation_id");
	sync_put_number(state, "seq", checkpoint->seq);
	sync_put_number(state, "base", checkpoint->base);
	sync_put_number(state, "floor", checkpoint->floor);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static void
expired(const char *detail)
{
	ereport(ERROR, (errcode(MX010), errmsg("checkpoint expired"), errdetail("%s", detail),
					errhint("Begin anew with a null checkpoint: drop the copy except for what has "
							"not been pushed, and pull everything.")));
}

/* Whether the account can be continued from the checkpoint.  Error: MX010. */
static void
check_checkpoint(const Checkpoint *checkpoint, bool exists, const StoreAccountState *account)
{
	if (!checkpoint->given)
		return;
	if (!exists || strcmp(checkpoint->epoch, account->epoch) != 0)
		expired("It is of another epoch: the account was forgotten, or the server was restored "
				"from a backup.");
	if (checkpoint->revision > account->revision || checkpoint->floor > account->revision)
		expired("It is from the future: the server was restored from an older backup.");
	if (checkpoint->floor < account->purged)
		expired("It is older than the deletions that maintenance has removed for good.");
}

static void
move_to(Pull *pull, const StoreChanged *conversation, int64 seq)
{
	pull->at.revision = conversation->revision;
	pull->at.has_id = true;
	pull->at.id = conversation->id;
	pull->at.seq = seq;
}

/* The round has come to its end: the device knows all that the snapshot has. */
static void
finish_round(Checkpoint *checkpoint, const StoreAccountState *account)
{
	checkpoint->revision = checkpoint->base = checkpoint->floor = account->revision;
	checkpoint->has_id = false;
	checkpoint->seq = 0;
}

/* ---- a page ---- */

/* Whether a document of so many bytes is one too many. */
static bool
is_full(Pull *pull, Size bytes)
{
	pull->full = pull->documents.count >= pull->max_documents ||
				 (pull->documents.count > 0 && pull->documents.bytes + bytes > pull->max_bytes);
	return pull->full;
}

static bool
is_wanted(const Pull *pull, const StoreChanged *conversation)
{
	return conversation->deleted || !pull->has_since || conversation->updated_at >= pull->since;
}

static void
pull_conversations(Pull *pull)
{
	StoreChanged conversation;

	while (!pull->full && store_feed_next(pull->feed, &conversation))
	{
		CHECK_FOR_INTERRUPTS();
		if (is_wanted(pull, &conversation))
		{
			if (is_full(pull, sync_conversation_bytes(&conversation)))
				return;
			sync_add_conversation(&pull->documents, &conversation);
		}
		move_to(pull, &conversation, 0);
	}
}

/* Adds the messages of a conversation from the checkpoint on, up to a full page. */
static void
add_messages(Pull *pull, const StoreChanged *conversation)
{
	bool begun = pull->at.seq > 0 && pull->at.revision == conversation->revision &&
				 memcmp(&pull->at.id, &conversation->id, UUID_LEN) == 0;
	StoreChangedMessage message;

	store_feed_messages(pull->feed, &conversation->id, begun ? pull->at.seq : 0, pull->at.base);
	while (store_feed_next_message(pull->feed, &message))
	{
		CHECK_FOR_INTERRUPTS();
		if (is_full(pull, sync_message_bytes(&message.message)))
			return;
		sync_add_message(&pull->documents, &conversation->id, &message, false);
		move_to(pull, conversation, message.message.seq);
	}
}

static void
pull_messages(Pull *pull)
{
	StoreChanged conversation;

	while (!pull->full && store_feed_next(pull->feed, &conversation))
	{
		CHECK_FOR_INTERRUPTS();
		if (!conversation.deleted && is_wanted(pull, &conversation))
			add_messages(pull, &conversation);
		if (!pull->full)
			move_to(pull, &conversation, 0);
	}
}

/* Where the feed begins: behind the checkpoint, or at the newest that are wanted. */
static void
start_feed(Pull *pull)
{
	Checkpoint *at = &pull->at;
	int64 revision;
	pg_uuid_t id;

	if (!at->given && pull->max_conversations > 0 &&
		store_feed_newest(pull->feed, pull->max_conversations, &revision, &id))
		store_feed_start(pull->feed, revision, &id, true);
	else
		store_feed_start(pull->feed, at->revision, at->has_id ? &at->id : NULL, at->seq > 0);
}

/* Reads a page into the documents, and moves the checkpoint behind it. */
static void
read_page(Pull *pull, JsonbParseState *state)
{
	bool exists = store_account_state(pull->account_id, &pull->account);

	check_checkpoint(&pull->at, exists, &pull->account);
	pull->feed = NULL;
	if (!exists || (pull->at.given && pull->at.base == pull->account.revision))
	{
		sync_begin_documents(&pull->documents, state, NULL);
		return; /* nothing is new */
	}
	pull->feed = store_feed_open(pull->account_id, GetActiveSnapshot());
	sync_begin_documents(&pull->documents, state, pull->feed);
	start_feed(pull);
	if (!pull->at.given)
	{
		pull->at.given = true;
		pull->at.epoch = pstrdup(pull->account.epoch);
		pull->at.floor = pull->account.revision;
	}
	if (pull->collection == SYNC_CONVERSATIONS)
		pull_conversations(pull);
	else
		pull_messages(pull);
	if (!pull->full)
		finish_round(&pull->at, &pull->account);
}

/* ---- functions ---- */

/* A number from 1 to most; usual stands for NULL.  Error: 22023. */
static int64
number_argument(FunctionCallInfo fcinfo, int n, const char *name, int64 usual, int64 most)
{
	return argument_within(name, PG_ARGISNULL(n) ? usual : PG_GETARG_INT32(n), 1, most);
}

PG_FUNCTION_INFO_V1(memory_pull);

/*
 * memory_pull(account_id text, collection text, checkpoint jsonb,
 *			   max_documents integer, max_bytes integer, since timestamptz,
 *			   max_conversations integer) → jsonb
 *		A page of documents that have changed since the checkpoint (NULL: all),
 *		with the next one.  It has max_documents unless there are no more, or
 *		unless max_bytes are reached, which more tells.  since: only
 *		conversations that were changed since; max_conversations: a first round
 *		has only the newest so many; NULL: all.  Errors: 22004, 22023, 42501,
 *		MX010 the checkpoint cannot be continued from.
 */
Datum
memory_pull(PG_FUNCTION_ARGS)
{
	Pull pull = {0};
	JsonbParseState *state = NULL;

	pull.account_id = argument_account(fcinfo, 0);
	pull.collection = sync_collection(fcinfo, 1);
	read_checkpoint(PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2), &pull.at);
	pull.max_documents = number_argument(fcinfo, 3, "max_documents", 100, SYNC_MAX_DOCUMENTS);
	pull.max_bytes = number_argument(fcinfo, 4, "max_bytes", SYNC_PAGE_BYTES, SYNC_MAX_PAGE_BYTES);
	pull.has_since = !PG_ARGISNULL(5);
	if (pull.has_since)
		pull.since = PG_GETARG_TIMESTAMPTZ(5);
	if (!PG_ARGISNULL(6))
		pull.max_conversations = number_argument(fcinfo, 6, "max_conversations", 1, INT_MAX);

	audit_access(AUDIT_CONVERSATIONS, ACL_SELECT);
	audit_access(AUDIT_MESSAGES, ACL_SELECT);
	sync_begin_answer();
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	sync_put_key(&state, "documents");
	read_page(&pull, state);
	state = sync_end_documents(&pull.documents);
	if (pull.feed != NULL)
		store_feed_close(pull.feed);
	write_checkpoint(&state, &pull.at);
	sync_put_bool(&state, "more", pull.full);
	return sync_end_answer(&state);
}

/* Adds the messages behind after_seq; returns where the next page begins, 0: there is none. */
static int64
read_conversation(Pull *pull, const StoreChanged *conversation, int64 after_seq)
{
	StoreChangedMessage message;
	int64 last = after_seq;

	store_feed_messages(pull->feed, &conversation->id, after_seq, 0);
	while (store_feed_next_message(pull->feed, &message))
	{
		CHECK_FOR_INTERRUPTS();
		if (message.deleted)
			continue;
		if (is_full(pull, sync_message_bytes(&message.message)))
			return last;
		sync_add_message(&pull->documents, &conversation->id, &message, false);
		last = message.message.seq;
	}
	return 0;
}

PG_FUNCTION_INFO_V1(memory_pull_conversation);

/*
 * memory_pull_conversation(account_id text, conversation_id uuid,
 *							after_seq bigint, max_documents integer,
 *							max_bytes integer) → jsonb
 *		A page of the messages of one conversation, whenever they were changed,
 *		with the conversation's own document, and after_seq of the next page
 *		(null: there is none).  Errors: P0002 unknown conversation, 22004,
 *		22023, 42501.
 */
Datum
memory_pull_conversation(PG_FUNCTION_ARGS)
{
	Pull pull = {0};
	JsonbParseState *state = NULL;
	SyncDocuments conversations;
	StoreChanged conversation;
	int64 after_seq = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2);
	pg_uuid_t *id;

	store_conversation_arguments(fcinfo, &pull.account_id, &id);
	argument_check_limit("after_seq", after_seq);
	pull.max_documents = number_argument(fcinfo, 3, "max_documents", 1000, SYNC_MAX_DOCUMENTS);
	pull.max_bytes = number_argument(fcinfo, 4, "max_bytes", SYNC_PAGE_BYTES, SYNC_MAX_PAGE_BYTES);

	audit_access(AUDIT_CONVERSATIONS, ACL_SELECT);
	audit_access(AUDIT_MESSAGES, ACL_SELECT);
	sync_begin_answer();
	pull.feed = store_feed_open(pull.account_id, GetActiveSnapshot());
	if (!store_feed_conversation(pull.feed, id, &conversation))
		store_unknown_conversation(id, pull.account_id);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	sync_put_key(&state, "conversations");
	sync_begin_documents(&conversations, state, pull.feed);
	sync_add_conversation(&conversations, &conversation);
	state = sync_end_documents(&conversations);
	sync_put_key(&state, "messages");
	sync_begin_documents(&pull.documents, state, pull.feed);
	after_seq = conversation.deleted ? 0 : read_conversation(&pull, &conversation, after_seq);
	state = sync_end_documents(&pull.documents);
	store_feed_close(pull.feed);
	if (after_seq > 0)
		sync_put_number(&state, "after_seq", after_seq);
	else
		sync_put_null(&state, "after_seq");
	return sync_end_answer(&state);
}

PG_FUNCTION_INFO_V1(memory_current_revision);

/*
 * memory_current_revision(account_id text) → bigint
 *		The account's last revision; 0 when there is no such account.  Errors:
 *		22004, 22023, 42501.
 */
Datum
memory_current_revision(PG_FUNCTION_ARGS)
{
	text *account_id = argument_account(fcinfo, 0);
	StoreAccountState state = {0};

	SPI_connect();
	(void) store_account_state(account_id, &state);
	SPI_finish();
	PG_RETURN_INT64(state.revision);
}

#define CHANGES_COLUMNS 9

/* A row of memory.changes. */
static void
put_change(ReturnSetInfo *result, const StoreChanged *conversation)
{
	Datum values[CHANGES_COLUMNS] = {0};
	bool nulls[CHANGES_COLUMNS] = {0};
	int n = 0;

	values[n++] = Int64GetDatum(conversation->revision);
	values[n++] = UUIDPGetDatum(&conversation->id);
	values[n++] = BoolGetDatum(conversation->deleted);
	memset(nulls + n, conversation->deleted, CHANGES_COLUMNS - n);
	nulls[n] |= conversation->title == NULL;
	values[n++] = PointerGetDatum(conversation->title);
	values[n++] = BoolGetDatum(conversation->archived);
	nulls[n] |= conversation->head_seq == 0;
	values[n++] = Int64GetDatum(conversation->head_seq);
	values[n++] = Int64GetDatum(conversation->message_count);
	values[n++] = TimestampTzGetDatum(conversation->created_at);
	values[n++] = TimestampTzGetDatum(conversation->updated_at);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(memory_changes);

/*
 * memory_changes(account_id text, after_revision bigint, max_rows integer)
 *		→ setof record
 *		The conversations that were changed after a revision (NULL: 0), deleted
 *		ones too, each once, in order of revision.  At least max_rows, if there
 *		are so many, up to the end of a revision: the last row's goes on from
 *		there.  Errors: 22004, 22023, 42501, MX010 the revision is from the
 *		future, or older than what was purged.
 */
Datum
memory_changes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	text *account_id = argument_account(fcinfo, 0);
	int64 after = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);
	int64 limit = number_argument(fcinfo, 2, "max_rows", 1000, INT_MAX);
	StoreAccountState account = {0};
	StoreChanged conversation;
	StoreFeed *feed;
	int64 last = 0;

	argument_check_limit("after_revision", after);
	InitMaterializedSRF(fcinfo, 0);
	audit_access(AUDIT_CONVERSATIONS, ACL_SELECT);
	SPI_connect();
	(void) store_account_state(account_id, &account);
	if (after > account.revision)
		expired("The revision is from the future: the account was forgotten, or the server was "
				"restored from an older backup.");
	if (after > 0 && after < account.purged)
		expired("The revision is older than the deletions that maintenance has removed for good.");
	if (after < account.revision)
	{
		feed = store_feed_open(account_id, GetActiveSnapshot());
		store_feed_start(feed, after, NULL, false);
		while (store_feed_next(feed, &conversation))
		{
			CHECK_FOR_INTERRUPTS();
			if (limit <= 0 && conversation.revision != last)
				break;
			put_change(result, &conversation);
			last = conversation.revision;
			limit--;
		}
		store_feed_close(feed);
	}
	SPI_finish();
	return (Datum) 0;
}

/* clang-format off */
static PlanStatement epoch_renew_statement = {
	"WITH d AS (DELETE FROM memory_store.epochs)"
	" INSERT INTO memory_store.epochs (epoch, renewed_at)"
	" VALUES ($1, pg_catalog.clock_timestamp())",
	1,
	{UUIDOID},
};
/* clang-format on */

PG_FUNCTION_INFO_V1(memory_renew_epoch);

/*
 * memory_renew_epoch() → uuid
 *		Begins a new epoch of every account: all checkpoints are refused from now
 *		on.  Error: 42501 the session is confined.
 */
Datum
memory_renew_epoch(PG_FUNCTION_ARGS)
{
	pg_uuid_t *epoch = store_new_uuid();
	Datum values[1] = {UUIDPGetDatum(epoch)};

	account_check_unconfined();
	SPI_connect();
	plan_execute(&epoch_renew_statement, values, NULL, false);
	SPI_finish();
	PG_RETURN_UUID_P(epoch);
}
