/*
 * seal.c
 *		Sealing tails on demand and for maintenance.
 *
 * Sealing moves messages and changes none, so it takes the account's lock but
 * no revision.  Locks are taken in order of account.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "store.h"

/* A conversation with a tail, as listed before the first lock was taken. */
typedef struct Candidate
{
	text *account_id;
	pg_uuid_t id;
} Candidate;

static Candidate *
list_candidates(uint64 n)
{
	Candidate *candidates = palloc(mul_size(Max(n, 1), sizeof(Candidate)));
	bool isnull;

	for (uint64 i = 0; i < n; i++)
	{
		candidates[i].account_id =
			(text *) DatumGetPointer(datumCopy(store_column(i, 1, &isnull), false, -1));
		candidates[i].id = *DatumGetUUIDP(store_column(i, 2, &isnull));
	}
	return candidates;
}

/* Seals one tail under its account's lock; false when nothing is left of it. */
static bool
seal_candidate(const Candidate *candidate, MeteringBatch *usage)
{
	StoreAccount account = {.account_id = candidate->account_id};
	StoreConversation *conversation;
	Datum values[2];

	if (!store_hold_account(candidate->account_id))
		return false;
	conversation = store_open_conversation(&account, &candidate->id, STORE_PROBE);
	if (conversation == NULL || conversation->tail_count == 0)
		return false;

	conversation->usage = usage;
	store_seal_tail(conversation);
	values[0] = UUIDPGetDatum(&candidate->id);
	values[1] = PointerGetDatum(candidate->account_id);
	store_execute(STORE_CONVERSATION_SEALED, values, NULL, false);
	return true;
}

/* Locks the subscriptions of the candidates' accounts, which are in order. */
static void
lock_subscriptions(const Candidate *candidates, uint64 n, bool step)
{
	text **accounts = palloc(mul_size(Max(n, 1), sizeof(text *)));

	for (uint64 i = 0; i < n; i++)
		accounts[i] = candidates[i].account_id;
	store_lock_before_moving(accounts, n, step);
	pfree(accounts);
}

static int64
seal_candidates(const Candidate *candidates, uint64 n, bool step)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext tail", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	MeteringBatch *usage = NULL;
	int64 sealed = 0;

	lock_subscriptions(candidates, n, step);
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(old);
		usage = metering_batch_follow(usage, candidates[i].account_id);
		MemoryContextSwitchTo(scratch);
		sealed += seal_candidate(&candidates[i], usage);
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(old);
	metering_batch_end(usage);
	MemoryContextDelete(scratch);
	return sealed;
}

PG_FUNCTION_INFO_V1(memory_seal);

/*
 * memory_seal(account_id text, conversation_id uuid) → bigint
 *		Seals the tails of one conversation, of one account, or (both NULL) of
 *		all; returns how many conversations had one.
 */
Datum
memory_seal(PG_FUNCTION_ARGS)
{
	Datum values[2];
	char nulls[2];
	uint64 n;
	int64 sealed;

	nulls[0] = ' ';
	if (!PG_ARGISNULL(0) || account_confined() != NULL)
		values[0] = PointerGetDatum(account_check(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0)));
	else
		nulls[0] = 'n';
	nulls[1] = PG_ARGISNULL(1) ? 'n' : ' ';
	values[1] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);

	SPI_connect();
	n = store_execute(STORE_TAIL_ALL, values, nulls, false);
	sealed = seal_candidates(list_candidates(n), n, false);
	SPI_finish();
	PG_RETURN_INT64(sealed);
}

/* Locks are taken in this order. */
static int
compare_candidates(const void *a, const void *b)
{
	const Candidate *left = a;
	const Candidate *right = b;
	int order = account_compare(left->account_id, right->account_id);

	return order != 0 ? order : memcmp(&left->id, &right->id, UUID_LEN);
}

/*
 * Seals so many idle tails behind a key, and sets last to the last one's, in the
 * caller's context; without account_id when there was none.
 */
static int64
seal_idle_behind(const Candidate *after, int64 limit, Candidate *last)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum values[5];
	char nulls[] = "    n";
	Candidate *candidates;
	int64 sealed;
	uint64 n;

	values[0] = UUIDPGetDatum(&after->id);
	values[1] = PointerGetDatum(after->account_id);
	values[2] =
		TimestampTzGetDatum(GetCurrentTimestamp() - store_seal_after * INT64CONST(1000) * 1000);
	values[3] = Int64GetDatum(limit);
	if (account_confined() != NULL)
	{
		values[4] = PointerGetDatum(account_check(NULL));
		nulls[4] = ' ';
	}

	SPI_connect();
	n = store_execute(STORE_TAIL_IDLE, values, nulls, false);
	candidates = list_candidates(n);
	last->account_id = NULL;
	if (n > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		last->id = candidates[n - 1].id;
		last->account_id = DatumGetTextPCopy(PointerGetDatum(candidates[n - 1].account_id));
		MemoryContextSwitchTo(old);
	}
	qsort(candidates, n, sizeof(Candidate), compare_candidates);
	sealed = seal_candidates(candidates, n, true);
	SPI_finish();
	return sealed;
}

PG_FUNCTION_INFO_V1(memory_seal_idle);

/*
 * memory_seal_idle(max_conversations integer) → bigint
 *		Seals so many (NULL: all) of the tails whose last message is older than
 *		memory_ext.seal_after; returns how many.  Error: 22023.
 */
Datum
memory_seal_idle(PG_FUNCTION_ARGS)
{
	int64 limit = PG_ARGISNULL(0) ? PG_INT64_MAX : PG_GETARG_INT32(0);
	Candidate first = {.account_id = cstring_to_text("")};
	Candidate last;

	store_check_limit("max_conversations", limit);
	PG_RETURN_INT64(seal_idle_behind(&first, limit, &last));
}

PG_FUNCTION_INFO_V1(memory_seal_batch);

/*
 * memory_seal_batch(after_conversation_id uuid, after_account_id text,
 *					 max_conversations integer) → record
 *		Seals the next so many idle tails in order of their conversations' keys
 *		behind the given one.  Returns the key to go on behind (NULL: nothing is
 *		left), and how many were sealed.  A batch of maintain().  Error: 22023.
 */
Datum
memory_seal_batch(PG_FUNCTION_ARGS)
{
	Candidate after = {PG_GETARG_TEXT_PP(1), *PG_GETARG_UUID_P(0)};
	int64 limit = PG_GETARG_INT32(2);
	Candidate last;
	TupleDesc descriptor;
	Datum result[3] = {0};
	bool nulls[3] = {0};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "memory_store.seal_batch returns no record");
	descriptor = BlessTupleDesc(descriptor);
	store_check_limit("max_conversations", limit);
	result[2] = Int64GetDatum(seal_idle_behind(&after, limit, &last));
	nulls[0] = nulls[1] = last.account_id == NULL;
	if (last.account_id != NULL)
	{
		result[0] = UUIDPGetDatum(&last.id);
		result[1] = PointerGetDatum(last.account_id);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, result, nulls)));
}
