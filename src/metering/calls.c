/*
 * calls.c
 *		Calls of models that store no message: recorded one by one, without a
 *		lock, and rolled up by maintenance.
 *
 * Needs an SPI connection.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "memory_limits.h"
#include "metering.h"
#include "sql_text.h"
#include "statement.h"

/* clang-format off */
#define CALL_COLUMNS \
	"account_id, day, model," \
	" input_tokens, cached_input_tokens, cache_creation_tokens, output_tokens"

enum
{
	CALL_ACCOUNT_ID,
	CALL_DAY,
	CALL_MODEL,
	CALL_INPUT_TOKENS,
	CALL_CACHED_INPUT_TOKENS,
	CALL_CACHE_CREATION_TOKENS,
	CALL_OUTPUT_TOKENS,
	CALL_NCOLUMNS,
	REQUEST_ID = CALL_NCOLUMNS,
	REQUEST_RECORDED_AT,
	REQUEST_NPARAMETERS
};

static PlanStatement insert_call = {
	"INSERT INTO memory_store.usage_calls (" CALL_COLUMNS ")"
	" VALUES ($1, $2, $3, $4, $5, $6, $7)",
	CALL_NCOLUMNS,
	{TEXTOID, DATEOID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID},
};

static PlanStatement insert_request = {
	"WITH r AS ("
	"   INSERT INTO memory_store.usage_requests (account_id, request_id, recorded_at)"
	"   VALUES ($1, $8, $9)"
	"   ON CONFLICT (account_id, request_id) DO NOTHING RETURNING account_id)"
	" INSERT INTO memory_store.usage_calls (" CALL_COLUMNS ")"
	" SELECT account_id, $2, $3, $4, $5, $6, $7 FROM r",
	REQUEST_NPARAMETERS,
	{TEXTOID, DATEOID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID},
};

/* Counts stop at the largest bigint: an error would keep the calls from ever being rolled up. */
#define SATURATED(sum) "LEAST(" sum ", 9223372036854775807)::pg_catalog.int8"
#define SUM(column) SATURATED("pg_catalog.sum(" #column ")")
#define ADD(column) \
	#column " = " SATURATED("u." #column "::pg_catalog.numeric" OP(+) "excluded." #column)

/* What is taken from the ledger is added by the same statement: no reader sees it twice. */
static PlanStatement roll_up = {
	"WITH c AS ("
	"   DELETE FROM memory_store.usage_calls WHERE account_id" OP(=) "$1"
	"   RETURNING " CALL_COLUMNS ")"
	" INSERT INTO memory_store.usage_daily AS u (account_id, day, model, requests,"
	"   request_input_tokens, request_cached_input_tokens, request_cache_creation_tokens,"
	"   request_output_tokens)"
	" SELECT account_id, day, model, pg_catalog.count(*),"
	"   " SUM(input_tokens) ","
	"   " SUM(cached_input_tokens) ","
	"   " SUM(cache_creation_tokens) ","
	"   " SUM(output_tokens)
	" FROM c GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
	" ON CONFLICT (account_id, day, model) DO UPDATE SET"
	"   " ADD(requests) ","
	"   " ADD(request_input_tokens) ","
	"   " ADD(request_cached_input_tokens) ","
	"   " ADD(request_cache_creation_tokens) ","
	"   " ADD(request_output_tokens),
	1,
	{TEXTOID},
};
/* clang-format on */

/* A number of a call: not negative, and one that a call can have.  Error: 22023. */
static void
check_tokens(const char *name, int64 tokens)
{
	if (tokens < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must not be negative, it is " INT64_FORMAT, name, tokens),
						errhint("The counts of a call are disjoint: input_tokens without those "
								"that were cached.")));
	if (tokens > MEMORY_MAX_CALL_TOKENS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s is " INT64_FORMAT ", more than the limit of " INT64_FORMAT, name,
							   tokens, MEMORY_MAX_CALL_TOKENS)));
}

/*
 * metering_record_call
 *		Records a call; false: its request_id (NULL: none) was recorded before.
 *		A call counts on the day it was made, or today when that is too far off:
 *		usage of a closed day stays as it is.  Errors: 22023 negative numbers.
 */
bool
metering_record_call(text *account_id, text *model, const MeteringCall *call, text *request_id)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();
	bool near = metering_classify(call->occurred_at) == METERING_FLOW;
	Datum values[REQUEST_NPARAMETERS];

	check_tokens("input_tokens", call->input_tokens);
	check_tokens("cached_input_tokens", call->cached_input_tokens);
	check_tokens("cache_creation_tokens", call->cache_creation_tokens);
	check_tokens("output_tokens", call->output_tokens);
	values[CALL_ACCOUNT_ID] = PointerGetDatum(account_id);
	values[CALL_DAY] = DateADTGetDatum(metering_day(near ? call->occurred_at : now));
	values[CALL_MODEL] = PointerGetDatum(model);
	values[CALL_INPUT_TOKENS] = Int64GetDatum(call->input_tokens);
	values[CALL_CACHED_INPUT_TOKENS] = Int64GetDatum(call->cached_input_tokens);
	values[CALL_CACHE_CREATION_TOKENS] = Int64GetDatum(call->cache_creation_tokens);
	values[CALL_OUTPUT_TOKENS] = Int64GetDatum(call->output_tokens);
	values[REQUEST_ID] = PointerGetDatum(request_id);
	values[REQUEST_RECORDED_AT] = TimestampTzGetDatum(now);
	return plan_execute(request_id == NULL ? &insert_call : &insert_request, values, NULL, false) ==
		   1;
}

/* The first accounts with calls to roll up, as column 1 of SPI_tuptable; returns how many. */
uint64
metering_list_calls(int64 limit)
{
	static PlanStatement list =
		{"SELECT DISTINCT account_id FROM memory_store.usage_calls ORDER BY 1 LIMIT $1",
		 1,
		 {INT8OID},
		 .ordered = true};
	Datum values[1] = {Int64GetDatum(limit)};

	return plan_execute(&list, values, NULL, false);
}

/* Rolls up an account's calls; the caller holds its lock. */
void
metering_roll_up_calls(text *account_id)
{
	Datum values[1] = {PointerGetDatum(account_id)};

	plan_execute(&roll_up, values, NULL, false);
}
