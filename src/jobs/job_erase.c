/*
 * job_erase.c
 *		How long jobs are remembered, and what of them is erased with an account.
 *
 * A rejected document's excerpt is text of somebody.  Of documents that could
 * not be read far enough nobody knows whose; so their texts go with whichever
 * account is forgotten.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "account.h"
#include "erase.h"
#include "job.h"
#include "sql_text.h"
#include "statement.h"
#include "store.h"

static int job_retention = 30 * 86400;

/* Of what is forgotten with an account: $1 is the account. */
/* clang-format off */
static PlanStatement forget_errors = {
	"DELETE FROM memory_store.job_errors"
	" WHERE account_id" OP(=) "$1 OR job_id" OP(=) "ANY ("
	"   SELECT j.job_id FROM memory_store.jobs j WHERE j.account_id" OP(=) "$1)",
	1, {TEXTOID}};

static PlanStatement forget_texts = {
	"UPDATE memory_store.job_errors SET path = '', message = '', excerpt = ''"
	" WHERE account_id IS NULL AND excerpt" OP(<>) "''",
	0, {0}};

static PlanStatement forget_parts = {
	"DELETE FROM memory_store.job_parts p USING memory_store.jobs j"
	" WHERE j.job_id" OP(=) "p.job_id AND j.account_id" OP(=) "$1",
	1, {TEXTOID}};

static PlanStatement forget_jobs = {
	"DELETE FROM memory_store.jobs WHERE account_id" OP(=) "$1",
	1, {TEXTOID}};

static PlanStatement forget_messages = {
	"UPDATE memory_store.jobs SET error = NULL"
	" WHERE account_id IS NULL AND error IS NOT NULL",
	0, {0}};

static PlanStatement forget_places = {
	"DELETE FROM memory_store.job_places WHERE account_id" OP(=) "$1",
	1, {TEXTOID}};

static PlanStatement forget_staged = {
	"DELETE FROM memory.import_stage WHERE account_id" OP(=) "$1",
	1, {TEXTOID}};

/* Of jobs that ended before $1. */
#define ENDED_BEFORE \
	OP(=) "ANY (SELECT j.job_id FROM memory_store.jobs j WHERE j.finished_at" OP(<) "$1)"

static PlanStatement trim_errors = {
	"DELETE FROM memory_store.job_errors WHERE job_id" ENDED_BEFORE,
	1, {TIMESTAMPTZOID}};

static PlanStatement trim_places = {
	"DELETE FROM memory_store.job_places WHERE job_id" ENDED_BEFORE,
	1, {TIMESTAMPTZOID}};

static PlanStatement trim_parts = {
	"DELETE FROM memory_store.job_parts WHERE job_id" ENDED_BEFORE,
	1, {TIMESTAMPTZOID}};

static PlanStatement trim_jobs = {
	"DELETE FROM memory_store.jobs WHERE finished_at" OP(<) "$1",
	1, {TIMESTAMPTZOID}};
/* clang-format on */

/* memory.forget: within its SPI connection, under the account's lock. */
static void
forget_account(text *account_id)
{
	Datum values[1] = {PointerGetDatum(account_id)};

	(void) plan_execute(&forget_errors, values, NULL, false);
	(void) plan_execute(&forget_texts, NULL, NULL, false);
	(void) plan_execute(&forget_parts, values, NULL, false);
	(void) plan_execute(&forget_jobs, values, NULL, false);
	(void) plan_execute(&forget_messages, NULL, NULL, false);
	(void) plan_execute(&forget_places, values, NULL, false);
	(void) plan_execute(&forget_staged, values, NULL, false);
}

/* Defines memory_ext.job_retention, and has memory.forget erase what jobs keep of an account. */
void
job_erase_init(void)
{
	DefineCustomIntVariable("memory_ext.job_retention",
							"maintain() keeps ended jobs and their rejected documents for so long.",
							NULL, &job_retention, 30 * 86400, 0, INT_MAX, PGC_USERSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	erase_set_elsewhere(forget_account);
}

PG_FUNCTION_INFO_V1(memory_trim_jobs);

/*
 * memory_trim_jobs() → bigint
 *		Removes the jobs that ended before memory_ext.job_retention, with what
 *		they rejected; returns how many.  A step of maintain().  Error: 42501
 *		the session is confined.
 */
Datum
memory_trim_jobs(PG_FUNCTION_ARGS)
{
	Datum values[1] = {
		TimestampTzGetDatum(GetCurrentTimestamp() - job_retention * INT64CONST(1000) * 1000)};
	uint64 trimmed;

	account_check_unconfined();
	SPI_connect();
	(void) plan_execute(&trim_errors, values, NULL, false);
	(void) plan_execute(&trim_places, values, NULL, false);
	(void) plan_execute(&trim_parts, values, NULL, false);
	trimmed = plan_execute(&trim_jobs, values, NULL, false);
	SPI_finish();
	PG_RETURN_INT64((int64) trimmed);
}
