/*
 * outbox.c
 *		Writing billing events, in the transaction that causes them.
 *
 * An event is a plain row, without a place in the order of delivery: that is
 * given when it is first read, after its commit (memory.outbox_read), so that
 * one that commits late is never behind a consumer's offset.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "account.h"
#include "arguments.h"
#include "memory_limits.h"
#include "metering.h"
#include "statement.h"

static PlanStatement insert_event =
	{"INSERT INTO memory_store.outbox (type, subscription_id, account_id, data)"
	 " VALUES ($1, $2, $3, $4)",
	 4,
	 {TEXTOID, TEXTOID, TEXTOID, JSONBOID},
	 NULL};

/*
 * metering_emit
 *		Puts an event into the outbox.  NULL subscription_id or account_id: the
 *		event belongs to none; data is the text of a JSON object.  Needs an SPI
 *		connection.  Error: 22P02 data is no JSON.
 */
void
metering_emit(const char *type, const char *subscription_id, const char *account_id,
			  const char *data)
{
	Datum values[4];
	char nulls[] = "    ";

	values[0] = PointerGetDatum(cstring_to_text(type));
	values[1] = subscription_id == NULL ? (Datum) 0 : CStringGetTextDatum(subscription_id);
	nulls[1] = subscription_id == NULL ? 'n' : ' ';
	values[2] = account_id == NULL ? (Datum) 0 : CStringGetTextDatum(account_id);
	nulls[2] = account_id == NULL ? 'n' : ' ';
	values[3] = DirectFunctionCall1(jsonb_in, CStringGetDatum(data));
	plan_execute(&insert_event, values, nulls, false);
}

PG_FUNCTION_INFO_V1(memory_outbox_check_consumer);

/*
 * memory_outbox_check_consumer(consumer text) → text
 *		The name of a consumer, checked.  Errors: 22004 NULL, 22023 empty, 54000
 *		too long, 42501 the session is confined to one account.
 */
Datum
memory_outbox_check_consumer(PG_FUNCTION_ARGS)
{
	Size length;

	account_check_unconfined();
	argument_require(fcinfo, 0, "consumer", "A consumer can have any name, such as \"billing\".");
	length = VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0));
	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("consumer must not be empty"),
				 errhint("A consumer can have any name, such as \"billing\".")));
	if (length > MEMORY_MAX_ACCOUNT_ID_BYTES)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("consumer has %zu bytes, more than the limit of %d", length,
							   MEMORY_MAX_ACCOUNT_ID_BYTES)));
	PG_RETURN_TEXT_P(PG_GETARG_TEXT_PP(0));
}
