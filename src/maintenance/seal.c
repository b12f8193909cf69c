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

#include "arguments.h"
#include "attempt.h"
#include "problems.h"
#include "sql_text.h"
#include "statement.h"
#include "store.h"

#define SEAL_STEP "seal"

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
			(text *) DatumGetPointer(datumCopy(plan_column(i, 1, &isnull), false, -1));
		candidates[i].id = *DatumGetUUIDP(plan_column(i, 2, &isnull));
	}
	return candidates;
}

/* clang-format off */
static PlanStatement conversation_sealed_statement = {
	"UPDATE memory_store.conversations"
	" SET tail_bytes = 0, tail_count = 0"
	" WHERE conversation_id" OP(=) "$1 AND account_id" OP(=) "$2",
	2,
	{UUIDOID, TEXTOID},
};
/* clang-format on */

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
	plan_execute(&conversation_sealed_statement, values, NULL, false);
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

/* Some candidates, in order of their locks, to be sealed. */
typedef struct SealBatch
{
	const Candidate *candidates;
	uint64 n;
	int64 sealed;
} SealBatch;

static void
seal_all(void *arg)
{
	SealBatch *batch = arg;
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext tail", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	MeteringBatch *usage = NULL;

	batch->sealed = 0;
	for (uint64 i = 0; i < batch->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(old);
		usage = metering_batch_follow(usage, batch->candidates[i].account_id);
		MemoryContextSwitchTo(scratch);
		batch->sealed += seal_candidate(&batch->candidates[i], usage);
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(old);
	metering_batch_end(usage);
	MemoryContextDelete(scratch);
}

/*
 * Seals all at once; if one of them cannot be, it is undone, and done one by
 * one, to leave out what cannot be sealed.  Subscriptions are locked before, for
 * both.
 */
static int64
seal_candidates(const Candidate *candidates, uint64 n, bool step)
{
	SealBatch batch = {candidates, n, 0};
	ErrorData *error;
	MemoryContext scratch;
	MemoryContext old;
	int64 sealed = 0;

	if (n == 0)
		return 0;
	lock_subscriptions(candidates, n, step);
	error = attempt_run(seal_all, &batch);
	if (error == NULL)
	{
		bool solved = problems_exist();

		for (uint64 i = 0; solved && i < n; i++)
			problem_solved(SEAL_STEP, candidates[i].account_id, &candidates[i].id);
		return batch.sealed;
	}
	problem_survive(error);
	scratch =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext tail", ALLOCSET_DEFAULT_SIZES);
	for (uint64 i = 0; i < n; i++)
	{
		SealBatch one = {&candidates[i], 1, 0};

		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(scratch);
		if (problem_attempt(SEAL_STEP, candidates[i].account_id, &candidates[i].id, seal_all, &one))
			sealed += one.sealed;
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
	return sealed;
}

PG_FUNCTION_INFO_V1(memory_seal);

/* clang-format off */
static PlanStatement tail_all_statement = {
	"SELECT DISTINCT account_id, conversation_id"
	" FROM memory_store.tail"
	" WHERE ($1 IS NULL OR account_id" OP(=) "$1)"
	" AND ($2 IS NULL OR conversation_id" OP(=) "$2)"
	" ORDER BY 1, 2",
	2,
	{TEXTOID, UUIDOID},
};
/* clang-format on */

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
		values[0] = PointerGetDatum(argument_account(fcinfo, 0));
	else
		nulls[0] = 'n';
	nulls[1] = PG_ARGISNULL(1) ? 'n' : ' ';
	values[1] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);

	SPI_connect();
	n = plan_execute(&tail_all_statement, values, nulls, false);
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

/* from conversation to conversation, whatever the number of their messages */
/* clang-format off */
enum
{
	IDLE_BEHIND_CONVERSATION_ID,
	IDLE_BEHIND_ACCOUNT_ID,
	IDLE_SINCE,
	IDLE_LIMIT,
	IDLE_ACCOUNT_ID, /* of a confined session; NULL: all */
	IDLE_NPARAMETERS
};

static PlanStatement tail_idle_statement = {
	"WITH RECURSIVE w AS ((SELECT t.conversation_id, t.account_id"
	" FROM memory_store.tail t"
	" WHERE (t.conversation_id, t.account_id)" OP(>) "($1, $2)"
	" ORDER BY t.conversation_id, t.account_id LIMIT 1)"
	" UNION ALL"
	" SELECT n.conversation_id, n.account_id"
	" FROM w"
	" CROSS JOIN LATERAL (SELECT t.conversation_id, t.account_id"
	" FROM memory_store.tail t"
	" WHERE (t.conversation_id, t.account_id)" OP(>) "(w.conversation_id,"
	" w.account_id)"
	" ORDER BY t.conversation_id, t.account_id LIMIT 1) n)"
	" SELECT w.account_id, w.conversation_id"
	" FROM w"
	" WHERE ($5 IS NULL OR w.account_id" OP(=) "$5) AND (SELECT t.created_at"
	" FROM memory_store.tail t"
	" WHERE t.conversation_id" OP(=) "w.conversation_id"
	" AND t.account_id" OP(=) "w.account_id"
	" ORDER BY t.seq DESC LIMIT 1)" OP(<) "$3 AND ("
	"SELECT pg_catalog.max(t.created_at)"
	" FROM memory_store.tail t"
	" WHERE t.conversation_id" OP(=) "w.conversation_id"
	" AND t.account_id" OP(=) "w.account_id)" OP(<) "$3 LIMIT $4",
	IDLE_NPARAMETERS,
	{UUIDOID, TEXTOID, TIMESTAMPTZOID, INT8OID, TEXTOID},
	.ordered = true,
};
/* clang-format on */

/*
 * Seals so many idle tails behind a key, and sets last to the last one's, in the
 * caller's context; without account_id when there was none.
 */
static int64
seal_idle_behind(const Candidate *after, int64 limit, Candidate *last)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum values[IDLE_NPARAMETERS];
	char nulls[] = "    n";
	Candidate *candidates;
	int64 sealed;
	uint64 n;

	values[IDLE_BEHIND_CONVERSATION_ID] = UUIDPGetDatum(&after->id);
	values[IDLE_BEHIND_ACCOUNT_ID] = PointerGetDatum(after->account_id);
	values[IDLE_SINCE] =
		TimestampTzGetDatum(GetCurrentTimestamp() - store_seal_after * INT64CONST(1000) * 1000);
	values[IDLE_LIMIT] = Int64GetDatum(limit);
	if (account_confined() != NULL)
	{
		values[IDLE_ACCOUNT_ID] = PointerGetDatum(account_check(NULL));
		nulls[IDLE_ACCOUNT_ID] = ' ';
	}

	SPI_connect();
	n = plan_execute(&tail_idle_statement, values, nulls, false);
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
	int64 limit = argument_limit(fcinfo, 0, "max_conversations");
	Candidate first = {.account_id = cstring_to_text("")};
	Candidate last;

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
	int64 limit = argument_limit(fcinfo, 2, "max_conversations");
	Candidate last;
	TupleDesc descriptor;
	Datum result[3] = {0};
	bool nulls[3] = {0};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "memory_store.seal_batch returns no record");
	descriptor = BlessTupleDesc(descriptor);
	result[2] = Int64GetDatum(seal_idle_behind(&after, limit, &last));
	nulls[0] = nulls[1] = last.account_id == NULL;
	if (last.account_id != NULL)
	{
		result[0] = UUIDPGetDatum(&last.id);
		result[1] = PointerGetDatum(last.account_id);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, result, nulls)));
}
