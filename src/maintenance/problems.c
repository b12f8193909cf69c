/*
 * problems.c
 *		Conversations that maintenance could not deal with: skipped, noted in
 *		memory_store.maintenance_problems, and shown by a view.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "attempt.h"
#include "problems.h"
#include "sql_text.h"
#include "statement.h"
#include "store.h"

/* clang-format off */
enum
{
	NOTE_ACCOUNT_ID,
	NOTE_CONVERSATION_ID,
	NOTE_STEP,
	NOTE_SQLSTATE,
	NOTE_MESSAGE,
	NOTE_NPARAMETERS
};

static PlanStatement note = {
	"INSERT INTO memory_store.maintenance_problems AS p"
	" (account_id, conversation_id, step, sqlstate, message, noted_at)"
	" VALUES ($1, $2, $3, $4, $5, pg_catalog.clock_timestamp())"
	" ON CONFLICT (account_id, conversation_id, step) DO UPDATE"
	" SET sqlstate = excluded.sqlstate, message = excluded.message,"
	"   noted_at = excluded.noted_at, attempts = p.attempts" OP(+) "1",
	NOTE_NPARAMETERS,
	{TEXTOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID},
};

static PlanStatement solve = {
	"DELETE FROM memory_store.maintenance_problems"
	" WHERE account_id" OP(=) "$1 AND conversation_id" OP(=) "$2 AND step" OP(=) "$3",
	3,
	{TEXTOID, UUIDOID, TEXTOID},
};

static PlanStatement exist = {
	"SELECT FROM memory_store.maintenance_problems LIMIT 1",
};

static PlanStatement forget = {
	"DELETE FROM memory_store.maintenance_problems WHERE account_id" OP(=) "$1",
	1,
	{TEXTOID},
};
/* clang-format on */

/* Whether an error is of this one conversation, and will be there again. */
static bool
is_its_own(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		case ERRCODE_INSUFFICIENT_RESOURCES:
			return error->sqlerrcode == ERRCODE_OUT_OF_MEMORY;
		default:
			return error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

void
problem_survive(ErrorData *error)
{
	if (!is_its_own(error))
		ReThrowError(error);
}

bool
problem_attempt(const char *step, text *account_id, const pg_uuid_t *id, void (*act)(void *),
				void *arg)
{
	ErrorData *error = attempt_run(act, arg);
	Datum values[NOTE_NPARAMETERS];

	if (error == NULL)
		return true;
	problem_survive(error);
	values[NOTE_ACCOUNT_ID] = PointerGetDatum(account_id);
	values[NOTE_CONVERSATION_ID] = UUIDPGetDatum(id);
	values[NOTE_STEP] = CStringGetTextDatum(step);
	values[NOTE_SQLSTATE] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
	values[NOTE_MESSAGE] = CStringGetTextDatum(error->message);
	plan_execute(&note, values, NULL, false);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("conversation %s of account \"%s\" cannot be %sed: %s", store_uuid_string(id),
					text_to_cstring(account_id), step, error->message),
			 errhint("See memory.verify() for what is wrong with it.")));
	return false;
}

bool
problems_exist(void)
{
	return plan_execute(&exist, NULL, NULL, false) > 0;
}

void
problem_solved(const char *step, text *account_id, const pg_uuid_t *id)
{
	Datum values[3] = {PointerGetDatum(account_id), UUIDPGetDatum(id), CStringGetTextDatum(step)};

	plan_execute(&solve, values, NULL, false);
}

void
problems_forget(text *account_id)
{
	Datum values[1] = {PointerGetDatum(account_id)};

	plan_execute(&forget, values, NULL, false);
}
