/*
 * trigger.c
 *		memory.quota_trigger: limits on anybody's own tables.
 *
 * A statement trigger with transition tables, because a row trigger on 20,000
 * rows of one subscription makes 20,000 versions of one counter.  Amounts are
 * summed by account in one query over the transition tables, then charged in
 * order of subscription.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/int.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "account.h"
#include "owner.h"
#include "quota_private.h"
#include "sql_text.h"

/* What one account did in the statement. */
typedef struct Charge
{
	char *subscription_id;
	char *account_id;
	int64 amount;
} Charge;

static int
compare_subscription(const void *a, const void *b)
{
	return strcmp(((const Charge *) a)->subscription_id, ((const Charge *) b)->subscription_id);
}

/*
 * One side of the sum: rows that came count, rows that went count back.  In
 * bigint where that is exact, else in numeric.
 */
static void
add_side(StringInfo query, const char *table, const char *sign, const char *account,
		 const char *amount, const char *type)
{
	if (query->len > 0)
		appendStringInfoString(query, " UNION ALL ");
	appendStringInfo(query,
					 "SELECT %s::pg_catalog.text COLLATE pg_catalog.\"C\" AS account_id, "
					 "%sCOALESCE(%s, 0)::pg_catalog.%s AS amount FROM %s",
					 account, sign, amount != NULL ? amount : "1", type, quote_identifier(table));
}

/*
 * The query over the transition tables.  Of what flows (messages, tokens)
 * deleting gives nothing back, so that an UPDATE counts only what was added.
 */
static char *
sum_query(TriggerData *trigger, const char *account, const char *amount)
{
	StringInfoData sides;
	const char *type = "int8";

	if (amount != NULL)
	{
		TupleDesc columns = RelationGetDescr(trigger->tg_relation);
		Oid column = SPI_gettypeid(columns, SPI_fnumber(columns, trigger->tg_trigger->tgargs[2]));

		if (column != INT2OID && column != INT4OID && column != INT8OID)
			type = "numeric";
	}
	initStringInfo(&sides);
	if (trigger->tg_newtable != NULL)
		add_side(&sides, trigger->tg_trigger->tgnewtable, "", account, amount, type);
	if (trigger->tg_oldtable != NULL)
		add_side(&sides, trigger->tg_trigger->tgoldtable, "0" OP(-), account, amount, type);
	/* clang-format off */
	return psprintf(
		"SELECT s.account_id, pg_catalog.sum(s.amount)::pg_catalog.int8 FROM (%s) s"
		" WHERE s.account_id IS NOT NULL GROUP BY 1"
		" HAVING pg_catalog.sum(s.amount)" OP(<>) "0",
		sides.data);
	/* clang-format on */
}

static void
check_fired(TriggerData *trigger, const FunctionCallInfo fcinfo)
{
	const char *problem = NULL;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("quota_trigger can only be called as a trigger")));
	if (!TRIGGER_FIRED_AFTER(trigger->tg_event) || !TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		problem = "it must be AFTER … FOR EACH STATEMENT";
	else if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		problem = "TRUNCATE has no transition tables";
	else if ((!TRIGGER_FIRED_BY_DELETE(trigger->tg_event) && trigger->tg_newtable == NULL) ||
			 (!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) && trigger->tg_oldtable == NULL))
		problem = "it needs its transition tables";
	else if (trigger->tg_trigger->tgnargs < 2 || trigger->tg_trigger->tgnargs > 3)
		problem = "its arguments are meter, account column and, if wanted, amount column";
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("trigger \"%s\" cannot enforce quotas: %s", trigger->tg_trigger->tgname,
						problem),
				 errhint("CREATE TRIGGER … AFTER INSERT ON … REFERENCING NEW TABLE AS new_rows "
						 "FOR EACH STATEMENT EXECUTE FUNCTION "
						 "memory.quota_trigger('messages', 'account_id').")));
}

static const char *
column_argument(TriggerData *trigger, int n)
{
	const char *name;

	if (n >= trigger->tg_trigger->tgnargs)
		return NULL;
	name = trigger->tg_trigger->tgargs[n];
	if (SPI_fnumber(RelationGetDescr(trigger->tg_relation), name) <= 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not exist", name,
							   RelationGetRelationName(trigger->tg_relation)),
						errhint("The arguments of quota_trigger are meter, account column and, if "
								"wanted, amount column.")));
	return quote_identifier(name);
}

static Charge *
read_charges(SPITupleTable *rows, uint64 n)
{
	Charge *charges = palloc(mul_size(Max(n, 1), sizeof(Charge)));
	bool isnull;

	for (uint64 i = 0; i < n; i++)
	{
		Datum account = SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull);

		/* another's account is as little to be charged as to be written */
		charges[i].account_id = text_to_cstring(account_check(DatumGetTextPP(account)));
		charges[i].amount = DatumGetInt64(SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull));
	}
	return charges;
}

/*
 * Locks the subscription of charges first to next - 1.  What flows is known in
 * advance: then lock, read and write are one statement.
 */
static QuotaHold *
begin_run(const Charge *charges, uint64 first, uint64 next, QuotaMeter meter)
{
	const Charge *charge = &charges[first];
	QuotaAmounts total = {{0}};
	bool known = meter == QUOTA_MESSAGES || meter == QUOTA_TOKENS;

	for (uint64 i = first; i < next && known; i++)
		known = !pg_add_s64_overflow(total.by_meter[meter], Max(charges[i].amount, 0),
									 &total.by_meter[meter]);
	return known ? quota_begin_on_expecting(charge->subscription_id, charge->account_id, &total)
				 : quota_begin_on(charge->subscription_id, charge->account_id);
}

/*
 * Accounts may have been given another subscription while the lock of theirs was
 * waited for.  To lock the other one now could be a deadlock.  Error: 40001.
 */
static void
check_unmoved(const Charge *charges, uint64 n)
{
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (strcmp(quota_subscription_of(charges[i].account_id, false),
				   charges[i].subscription_id) != 0)
			quota_moved(charges[i].account_id);
	}
}

/*
 * Charges in order of subscription.  Each subscription's row is read and
 * written once, however many accounts share it.
 */
static void
charge_all(Charge *charges, uint64 n, QuotaMeter meter)
{
	for (uint64 i = 0; i < n; i++)
		charges[i].subscription_id = quota_subscription_of(charges[i].account_id, false);
	qsort(charges, n, sizeof(Charge), compare_subscription);

	for (uint64 first = 0, next; first < n; first = next)
	{
		QuotaHold *hold;

		CHECK_FOR_INTERRUPTS();
		for (next = first + 1; next < n; next++)
			if (compare_subscription(&charges[first], &charges[next]) != 0)
				break;
		hold = begin_run(charges, first, next, meter);
		if (hold != NULL)
			check_unmoved(&charges[first], next - first);
		for (uint64 i = first; i < next && hold != NULL; i++)
		{
			QuotaAmounts amounts = {{0}};

			amounts.by_meter[meter] = charges[i].amount;
			amounts.outside = true;
			quota_consume(hold, charges[i].account_id, &amounts);
		}
		if (hold != NULL)
			quota_save(hold);
	}
}

PG_FUNCTION_INFO_V1(memory_quota_trigger);

/*
 * memory_quota_trigger(meter, account column [, amount column]) → trigger
 *		Charges what a statement on the table adds, 1 a row or a column's value:
 *		INSERT with NEW TABLE, DELETE with OLD TABLE, UPDATE with both.  Errors:
 *		MX001, 40001 an account was given another subscription meanwhile, 22023
 *		unknown meter, 42703 unknown column, 42P17 attached in another way, 42501
 *		not the session's account.
 */
Datum
memory_quota_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	QuotaMeter meter;
	Charge *charges;
	char *query;
	SPITupleTable *rows;
	OwnerScope scope;
	uint64 n;

	check_fired(trigger, fcinfo);
	meter = quota_meter_by_name(trigger->tg_trigger->tgargs[0]);
	query = sum_query(trigger, column_argument(trigger, 1), column_argument(trigger, 2));

	SPI_connect();
	if (SPI_register_trigger_data(trigger) != SPI_OK_TD_REGISTER)
		elog(ERROR, "could not register the transition tables");
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not sum the transition tables");
	n = SPI_processed;
	rows = SPI_tuptable;
	SPI_tuptable = NULL; /* kept while others come and go */
	charges = read_charges(rows, n);

	/* the sum ran the table's own casts: as the caller, not as the owner */
	owner_enter(&scope);
	charge_all(charges, n, meter);
	owner_leave(&scope);
	SPI_finish();
	PG_RETURN_POINTER(NULL);
}
