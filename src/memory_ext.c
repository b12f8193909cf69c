/*
 * memory_ext.c
 *		The module: magic block, settings, and the check that CREATE EXTENSION
 *		makes of its database.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/guc.h"

#include "access.h"
#include "account.h"
#include "explain.h"
#include "import.h"
#include "job.h"
#include "metering.h"
#include "quota.h"
#include "redis.h"
#include "search.h"
#include "store.h"
#include "transcript.h"
#include "worker.h"

PG_MODULE_MAGIC;

void _PG_init(void);

/* Called when the library is loaded: each room defines its settings and hooks, lowest first. */
void
_PG_init(void)
{
	account_init();
	explain_init();
	access_init();
	transcript_init();
	quota_init();
	metering_init();
	store_init();
	subscription_init();
	search_init();
	transfer_init();
	job_init();
	redis_init();
	worker_init();

	MarkGUCPrefixReserved("memory_ext");
}

PG_FUNCTION_INFO_V1(memory_ext_check_database);

/*
 * memory_ext_check_database() → void
 *		Refuses a database that is not UTF8: the formats are defined in UTF-8
 *		and a conversation may hold any character.  Error: 0A000.
 */
Datum
memory_ext_check_database(PG_FUNCTION_ARGS)
{
	if (GetDatabaseEncoding() != PG_UTF8)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("memory_ext needs a database with encoding UTF8, this one has %s",
							   GetDatabaseEncodingName()),
						errhint("Create a database with ENCODING 'UTF8' TEMPLATE template0.")));
	worker_note_installation();
	PG_RETURN_VOID();
}
