/*
 * plan_cache.c
 *		Plans and their limits, as DBAs have written them, cached.
 *
 * The cache lives as long as the backend.  Rows of memory.plans and
 * memory.plan_limits may come without their triggers: by logical replication,
 * by a restore, under session_replication_role.  So each use compares the LSNs
 * of the tables' few pages with those that the cache was read at, and what was
 * read while a row's transaction was under way is not kept: its end leaves the
 * pages as they are.
 *
 * An account that is given another subscription sends the invalidation that a
 * change of the table memory.plans itself would send: which one it has is
 * remembered, too.  That is no more than a hint: whoever uses it looks again
 * once its locks are held.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "memory_limits.h"
#include "owner.h"
#include "quota_private.h"
#include "sql_text.h"
#include "statement.h"

static const char *const meter_names[QUOTA_NMETERS] = {"conversations", "messages", "tokens",
													   "content_bytes"};
static const char *const period_names[QUOTA_NPERIODS] = {"hour", "day", "month", "lifetime",
														 "current"};

/* Accounts whose subscription is remembered; all are forgotten when there are more. */
#define MAX_HINTS 1024

typedef struct PlanCacheEntry
{
	QuotaPlan plan;
	struct PlanCacheEntry *next;
} PlanCacheEntry;

/* What tells whether the tables have been written to since. */
typedef struct PlansVersion
{
	BlockNumber blocks; /* of both tables */
	XLogRecPtr lsn;     /* the latest of their pages */
} PlansVersion;

static MemoryContext cache_context = NULL;
static PlanCacheEntry *cached_plans = NULL;
static Oid plans_relation = InvalidOid;
static Oid limits_relation = InvalidOid;
static uint64 changes = 0;          /* counts invalidations: what was read across one is not kept */
static PlansVersion cached_version; /* of what is cached */
static bool state_known = false;
static bool any_plan = false;
static char *default_plan = NULL; /* in cache_context */
static bool any_shared = false;
static HTAB *hints = NULL; /* likewise */

const char *
quota_meter_name(QuotaMeter meter)
{
	return meter_names[meter];
}

/* A period's name as SQL has it: hour, day, month, lifetime or current. */
const char *
quota_period_name(QuotaPeriod period)
{
	return period_names[period];
}

QuotaMeter
quota_meter_by_name(const char *name)
{
	for (int i = 0; i < QUOTA_NMETERS; i++)
		if (strcmp(name, meter_names[i]) == 0)
			return (QuotaMeter) i;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown meter \"%s\"", name),
					errhint("The meters are conversations, messages, tokens and content_bytes.")));
	return QUOTA_NMETERS; /* keep compilers quiet */
}

QuotaMeter
quota_standing_meter(int i)
{
	return i == 0 ? QUOTA_CONVERSATIONS : QUOTA_CONTENT_BYTES;
}

/* messages by period, tokens by period, conversations, content_bytes */
int
quota_slot(QuotaMeter meter, QuotaPeriod period)
{
	switch (meter)
	{
		case QUOTA_MESSAGES:
			return (int) period;
		case QUOTA_TOKENS:
			return QUOTA_CURRENT + (int) period;
		case QUOTA_CONVERSATIONS:
			return QUOTA_NSLOTS - 2;
		default:
			return QUOTA_NSLOTS - 1;
	}
}

/* Has plans read anew, here. */
void
quota_forget_plans(void)
{
	if (cache_context != NULL)
		MemoryContextReset(cache_context);
	cached_plans = NULL;
	default_plan = NULL;
	hints = NULL;
	state_known = false;
	changes++;
}

static void
plans_invalidated(Datum arg, Oid relation)
{
	/* of an unknown table, any may be the one */
	if (OidIsValid(relation) && OidIsValid(plans_relation) && relation != plans_relation)
		return;
	quota_forget_plans();
	plans_relation = limits_relation = InvalidOid; /* dropped, perhaps, and made anew */
}

/* Called once, from _PG_init. */
void
quota_init(void)
{
	CacheRegisterRelcacheCallback(plans_invalidated, (Datum) 0);
}

static Oid
find_plans(void)
{
	if (!OidIsValid(plans_relation))
		plans_relation = get_relname_relid("plans", get_namespace_oid("memory", false));
	return plans_relation;
}

static Oid
find_limits(void)
{
	if (!OidIsValid(limits_relation))
		limits_relation = get_relname_relid("plan_limits", get_namespace_oid("memory", false));
	return limits_relation;
}

static void
add_version(PlansVersion *version, Oid table)
{
	Relation relation = table_open(table, AccessShareLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(relation);

	for (BlockNumber block = 0; block < blocks; block++)
	{
		Buffer buffer = ReadBuffer(relation, block);

		version->lsn = Max(version->lsn, BufferGetLSNAtomic(buffer));
		ReleaseBuffer(buffer);
	}
	version->blocks += blocks;
	table_close(relation, AccessShareLock);
}

static PlansVersion
read_version(void)
{
	PlansVersion version = {0};

	add_version(&version, find_plans());
	add_version(&version, find_limits());
	return version;
}

/* Whether a transaction that has written the row may still change what it says. */
static bool
row_is_open(HeapTupleHeader row)
{
	if (!HeapTupleHeaderXminCommitted(row) &&
		TransactionIdIsInProgress(HeapTupleHeaderGetXmin(row)))
		return true;
	return (row->t_infomask & HEAP_XMAX_INVALID) == 0 &&
		   !HEAP_XMAX_IS_LOCKED_ONLY(row->t_infomask) &&
		   TransactionIdIsInProgress(HeapTupleHeaderGetUpdateXid(row));
}

/* Whether a row of the table was written by a transaction that has not ended; also by this one. */
static bool
is_being_written(Oid table)
{
	Relation relation = table_open(table, AccessShareLock);
	TableScanDesc scan = table_beginscan(relation, SnapshotAny, 0, NULL);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	bool open = false;

	while (!open && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool own;
		HeapTuple row = ExecFetchSlotHeapTuple(slot, false, &own);

		CHECK_FOR_INTERRUPTS();
		open = row_is_open(row->t_data);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	return open;
}

/*
 * Forgets what was read of tables that have been written to since.  True: what
 * is read from now on may be kept, for the version.
 */
static bool
refresh_version(void)
{
	PlansVersion now = read_version();

	if (now.blocks != cached_version.blocks || now.lsn != cached_version.lsn)
		quota_forget_plans();
	cached_version = now;
	return state_known || !(is_being_written(find_plans()) || is_being_written(find_limits()));
}

/* Has all backends read plans anew: this one at once, the others when it has committed. */
void
quota_changed(void)
{
	CacheInvalidateRelcacheByRelid(find_plans());
	quota_forget_plans();
}

/* clang-format off */
static PlanStatement plan_missing_statement = {
	"SELECT u.plan_id, u.subscription_id"
	" FROM ("
	"   SELECT plan_id, subscription_id FROM memory_store.subscriptions"
	"   UNION ALL"
	"   SELECT next_plan_id, subscription_id FROM memory_store.subscriptions) u"
	" WHERE u.plan_id IS NOT NULL"
	" AND NOT EXISTS (SELECT FROM memory.plans p WHERE p.plan_id" OP(=) "u.plan_id)"
	" ORDER BY u.subscription_id, u.plan_id LIMIT 1",
};

#define WITHOUT_PLAN \
	"NOT EXISTS (SELECT FROM memory.plans p WHERE p.plan_id" OP(=) "l.plan_id)"

/* while there is no plan at all, a restore may be under way */
static PlanStatement limit_missing_statement = {
	"SELECT l.plan_id FROM memory.plan_limits l"
	" WHERE " WITHOUT_PLAN " AND EXISTS (SELECT FROM memory.plans)"
	" ORDER BY l.plan_id LIMIT 1",
};

static PlanStatement delete_limits_statement = {
	"DELETE FROM memory.plan_limits l WHERE " WITHOUT_PLAN,
};
/* clang-format on */

/* A plan that a subscription is on, or will be, must not go: its limits would. */
static void
check_plans_in_use(void)
{
	if (plan_execute(&plan_missing_statement, NULL, NULL, false) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			 errmsg("plan \"%s\" is in use by subscription \"%s\"", plan_string(0, 1),
					plan_string(0, 2)),
			 errhint(
				 "Assign its subscriptions another plan with memory.change_plan, or set offered to "
				 "false.")));
}

/* A limit that is written for a misspelled plan would limit nobody. */
static void
check_limits_have_plans(void)
{
	if (plan_execute(&limit_missing_statement, NULL, NULL, false) > 0)
		ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
						errmsg("plan \"%s\" does not exist", plan_string(0, 1)),
						errdetail("memory.plan_limits has limits for it."),
						errhint("Insert the plan into memory.plans first.")));
}

PG_FUNCTION_INFO_V1(memory_plans_changed);

/*
 * memory_plans_changed() → trigger
 *		AFTER STATEMENT on memory.plans and memory.plan_limits: tells all
 *		backends, at commit, to read plans anew.  Stands for the foreign keys:
 *		with a plan go its limits.  Error: 23503 a plan in use is deleted or
 *		renamed, a limit is of no plan.
 */
Datum
memory_plans_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TriggerEvent event;
	OwnerScope scope;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("plans_changed can only be called as a trigger")));
	event = trigger->tg_event;
	quota_changed();

	SPI_connect();
	owner_enter(&scope);
	if (RelationGetRelid(trigger->tg_relation) == find_plans() && !TRIGGER_FIRED_BY_INSERT(event))
	{
		check_plans_in_use();
		if (!TRIGGER_FIRED_BY_UPDATE(event))
			plan_execute(&delete_limits_statement, NULL, NULL, false);
	}
	if (TRIGGER_FIRED_BY_INSERT(event) || TRIGGER_FIRED_BY_UPDATE(event))
		check_limits_have_plans();
	owner_leave(&scope);
	SPI_finish();
	PG_RETURN_POINTER(NULL);
}

static void
make_cache(void)
{
	if (cache_context == NULL)
		cache_context =
			AllocSetContextCreate(TopMemoryContext, "memory_ext plans", ALLOCSET_DEFAULT_SIZES);
}

/*
 * What is cached beyond the transaction is read with the latest snapshot: a
 * transaction may see an older state, which it must not leave to the next.
 */
/* clang-format off */
enum
{
	STATE_ANY_PLAN = 1,
	STATE_DEFAULT_PLAN,
	STATE_ANY_SHARED
};

/* what subscriptions have is counted on where all plans are deleted: they may come back */
static PlanStatement state_statement = {
	"SELECT EXISTS (SELECT FROM memory.plans)"
	"     OR EXISTS (SELECT FROM memory_store.subscriptions),"
	"   (SELECT plan_id FROM memory.plans WHERE is_default),"
	"   EXISTS (SELECT FROM memory_store.accounts"
	"     WHERE subscription_id" OP(<>) "account_id)",
	.latest = true,
};
/* clang-format on */

/* Has the state read, if it is not known.  look: whether it has changed, to begin with. */
static void
read_state(bool look)
{
	uint64 before;
	bool isnull;
	bool keep = true;
	char *name;

	/* what others have committed in the middle of a transaction of ours, too */
	AcceptInvalidationMessages();
	if (look || !state_known)
		keep = refresh_version();
	if (state_known)
		return;
	if (!keep)
		quota_forget_plans(); /* also plans that were read in the meantime */
	before = changes;
	make_cache();
	(void) find_plans();
	plan_execute(&state_statement, NULL, NULL, true);
	any_plan = DatumGetBool(plan_column(0, STATE_ANY_PLAN, &isnull));
	name = plan_string(0, STATE_DEFAULT_PLAN);
	any_shared = DatumGetBool(plan_column(0, STATE_ANY_SHARED, &isnull));
	default_plan = name == NULL ? NULL : MemoryContextStrdup(cache_context, name);
	state_known = keep && before == changes;
}

bool
quota_active(void)
{
	read_state(true);
	return any_plan;
}

/* A subscription that an account was seen under. */
typedef struct SubscriptionHint
{
	char account[MEMORY_MAX_ACCOUNT_ID_BYTES + 1]; /* hash key */
	char subscription[MEMORY_MAX_ACCOUNT_ID_BYTES + 1];
} SubscriptionHint;

const char *
quota_subscription_hint(const char *account_id)
{
	SubscriptionHint *hint;

	read_state(false);
	if (!any_shared)
		return account_id;
	if (hints == NULL)
		return NULL;
	hint = hash_search(hints, account_id, HASH_FIND, NULL);
	return hint == NULL ? NULL : hint->subscription;
}

/*
 * Remembers which subscription an account was seen under, for
 * quota_subscription_hint; does nothing while no account shares one.
 */
void
quota_remember_subscription(const char *account_id, const char *subscription_id)
{
	SubscriptionHint *hint;

	if (!state_known || !any_shared)
		return;
	if (hints != NULL && hash_get_num_entries(hints) >= MAX_HINTS)
	{
		hash_destroy(hints);
		hints = NULL;
	}
	if (hints == NULL)
	{
		HASHCTL control = {0};

		control.keysize = sizeof(hint->account);
		control.entrysize = sizeof(SubscriptionHint);
		control.hcxt = cache_context;
		hints = hash_create("memory_ext subscriptions", 64, &control,
							HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	hint = hash_search(hints, account_id, HASH_ENTER, NULL);
	strlcpy(hint->subscription, subscription_id, sizeof(hint->subscription));
}

char *
quota_default_plan(void)
{
	read_state(false);
	return default_plan == NULL ? NULL : pstrdup(default_plan);
}

static QuotaPeriod
period_by_name(const char *name)
{
	for (int i = 0; i < QUOTA_NPERIODS; i++)
		if (strcmp(name, period_names[i]) == 0)
			return (QuotaPeriod) i;
	elog(ERROR, "unknown period \"%s\"", name);
	return QUOTA_NPERIODS; /* keep compilers quiet */
}

static void
read_thresholds(Datum value, QuotaLimit *limit)
{
	Datum *elements;
	bool *nulls;
	int n;

	deconstruct_array(DatumGetArrayTypeP(value), NUMERICOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	for (int i = 0; i < n && limit->nthresholds < lengthof(limit->thresholds); i++)
		if (!nulls[i])
			limit->thresholds[limit->nthresholds++] =
				DatumGetFloat8(DirectFunctionCall1(numeric_float8, elements[i]));
}

/* clang-format off */
enum
{
	LIMIT_METER = 1,
	LIMIT_PERIOD,
	LIMIT_VALUE,
	LIMIT_ENFORCEMENT,
	LIMIT_THRESHOLDS
};

static PlanStatement limits_statement = {
	"SELECT meter, period, limit_value, enforcement, thresholds FROM memory.plan_limits"
	" WHERE plan_id" OP(=) "$1 AND limit_value IS NOT NULL"
	" ORDER BY meter, period",
	1,
	{TEXTOID},
	.latest = true,
};
/* clang-format on */

static void
read_plan(const char *plan_id, QuotaPlan *plan)
{
	Datum values[] = {CStringGetTextDatum(plan_id)};
	uint64 n = plan_execute(&limits_statement, values, NULL, true);

	for (uint64 i = 0; i < n && plan->nlimits < QUOTA_NSLOTS; i++)
	{
		QuotaLimit *limit = &plan->limits[plan->nlimits++];
		bool isnull;

		limit->meter = quota_meter_by_name(plan_string(i, LIMIT_METER));
		limit->period = period_by_name(plan_string(i, LIMIT_PERIOD));
		limit->slot = quota_slot(limit->meter, limit->period);
		limit->limit = plan_int64(i, LIMIT_VALUE);
		limit->hard = strcmp(plan_string(i, LIMIT_ENFORCEMENT), "hard") == 0;
		read_thresholds(plan_column(i, LIMIT_THRESHOLDS, &isnull), limit);
	}
}

/* Fills in a copy: the cache may be emptied at any time. */
void
quota_read_plan(const char *plan_id, QuotaPlan *plan)
{
	PlanCacheEntry *cached;
	uint64 before;

	for (cached = cached_plans; cached != NULL; cached = cached->next)
		if (strcmp(cached->plan.plan_id, plan_id) == 0)
			break;

	memset(plan, 0, sizeof(*plan));
	if (cached != NULL)
		*plan = cached->plan;
	else
	{
		before = changes;
		make_cache();
		(void) find_plans();
		read_plan(plan_id, plan);
		if (state_known && before == changes)
		{
			cached = MemoryContextAlloc(cache_context, sizeof(PlanCacheEntry));
			cached->plan = *plan;
			cached->plan.plan_id = MemoryContextStrdup(cache_context, plan_id);
			cached->next = cached_plans;
			cached_plans = cached;
		}
	}
	plan->plan_id = pstrdup(plan_id);
}
