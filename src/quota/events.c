/*
 * events.c
 *		What refusals and events say: JSON that is a stable interface.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "metering.h"
#include "quota_private.h"

#define MX001 MAKE_SQLSTATE('M', 'X', '0', '0', '1')

static void
add_json_text(StringInfo json, const char *key, const char *value)
{
	appendStringInfo(json, "%s\"%s\": ", json->len > 1 ? ", " : "", key);
	if (value == NULL)
		appendStringInfoString(json, "null");
	else
		escape_json(json, value);
}

static void
add_json_time(StringInfo json, const char *key, TimestampTz value)
{
	add_json_text(json, key,
				  value == DT_NOEND
					  ? NULL
					  : TextDatumGetCString(
							DirectFunctionCall2(timestamp_to_char,
												DirectFunctionCall2(timestamptz_zone,
																	CStringGetTextDatum("UTC"),
																	TimestampTzGetDatum(value)),
												CStringGetTextDatum(
													"YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\""))));
}

/* What the event of a month's end says. */
char *
quota_closed_json(const QuotaHold *hold)
{
	char *plan_id = hold->plan_id != NULL ? hold->plan_id : quota_default_plan();
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	add_json_text(&json, "subscription_id", hold->subscription_id);
	add_json_text(&json, "plan_id", plan_id);
	add_json_time(&json, "period_start", hold->period_start[QUOTA_MONTH]);
	add_json_time(&json, "period_end", hold->period_end[QUOTA_MONTH]);
	appendStringInfo(&json, ", \"messages\": " INT64_FORMAT ", \"tokens\": " INT64_FORMAT "}",
					 hold->used[quota_slot(QUOTA_MESSAGES, QUOTA_MONTH)],
					 hold->used[quota_slot(QUOTA_TOKENS, QUOTA_MONTH)]);
	return json.data;
}

void
quota_tell_change(const QuotaHold *hold, const char *plan_id, TimestampTz from)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	add_json_text(&json, "subscription_id", hold->subscription_id);
	add_json_text(&json, "previous_plan_id", hold->plan.plan_id);
	add_json_text(&json, "plan_id", plan_id);
	add_json_time(&json, "effective_at", from);
	appendStringInfoChar(&json, '}');
	metering_emit("plan.changed", hold->subscription_id, hold->subscription_id, json.data);
}

/* What a refusal and an event say of a limit: a stable interface. */
static StringInfo
limit_json(const QuotaHold *hold, const char *account_id, const QuotaLimit *limit, int64 requested)
{
	TimestampTz end = limit->period < QUOTA_NBOUNDS ? hold->period_end[limit->period] : DT_NOEND;
	StringInfo json = makeStringInfo();

	appendStringInfoChar(json, '{');
	add_json_text(json, "subscription_id", hold->subscription_id);
	add_json_text(json, "account_id", account_id);
	add_json_text(json, "plan_id", hold->plan.plan_id);
	add_json_text(json, "meter", quota_meter_name(limit->meter));
	add_json_text(json, "period", quota_period_name(limit->period));
	appendStringInfo(json,
					 ", \"limit\": " INT64_FORMAT ", \"used\": " INT64_FORMAT
					 ", \"reserved\": " INT64_FORMAT ", \"requested\": " INT64_FORMAT,
					 limit->limit, hold->used[limit->slot], hold->reserved[limit->meter],
					 requested);
	add_json_time(json, "period_end", end);
	return json;
}

/* What one of a meter is called in a sentence, and several. */
static const char *const units[QUOTA_NMETERS][2] = {
	[QUOTA_CONVERSATIONS] = {"conversation", "conversations"},
	[QUOTA_MESSAGES] = {"message", "messages"},
	[QUOTA_TOKENS] = {"token", "tokens"},
	[QUOTA_CONTENT_BYTES] = {"byte of content", "bytes of content"},
};

/* A sequence counts what is about to be rolled back; where nothing can be written it does not. */
static void
count_refusal(void)
{
	Oid counter = get_relname_relid("quota_refusals", get_namespace_oid("memory_store", false));

	if (OidIsValid(counter) && !XactReadOnly && !IsInParallelMode())
		(void) nextval_internal(counter, false);
}

void
quota_refuse(const QuotaHold *hold, const char *account_id, const QuotaLimit *limit,
			 const QuotaAmounts *amounts)
{
	char *upgrade = quota_upgrade_for(hold, amounts);
	int64 requested = amounts->by_meter[limit->meter];
	StringInfo json = limit_json(hold, account_id, limit, requested);

	add_json_text(json, "upgrade_to", upgrade);
	appendStringInfoChar(json, '}');
	count_refusal();
	ereport(ERROR, (errcode(MX001),
					errmsg("quota exceeded for account \"%s\": " INT64_FORMAT
						   " %s requested, " INT64_FORMAT " of " INT64_FORMAT " left",
						   account_id, requested, units[limit->meter][requested != 1],
						   quota_remaining(hold, limit), limit->limit),
					errdetail_internal("%s", json->data),
					upgrade != NULL
						? errhint("Plan \"%s\" would allow it: see memory.change_plan.", upgrade)
						: errhint("No plan that is offered would allow it.")));
}

/* An event of a limit; threshold 0: none was passed. */
void
quota_tell_limit(const char *type, const QuotaHold *hold, const char *account_id,
				 const QuotaLimit *limit, int64 amount, double threshold)
{
	StringInfo json = limit_json(hold, account_id, limit, amount);

	if (threshold > 0)
		appendStringInfo(json, ", \"threshold\": %.15g", threshold);
	appendStringInfoChar(json, '}');
	metering_emit(type, hold->subscription_id, account_id, json->data);
}
