/*
 * quota_statements.h
 *		The SQL statements of the quota room, prepared once a backend.
 */
#ifndef QUOTA_STATEMENTS_H
#define QUOTA_STATEMENTS_H

#include "postgres.h"

typedef enum QuotaStatement
{
	QUOTA_STATE,
	QUOTA_SUBSCRIPTION_OF,
	QUOTA_PLAN_LIMITS,
	QUOTA_PLAN_EXISTS,
	QUOTA_PLANS_BY_PRICE,
	QUOTA_PLAN_MISSING,
	QUOTA_LIMIT_MISSING,
	QUOTA_LIMITS_CLEAN,
	QUOTA_SUBSCRIPTION_READ,
	QUOTA_ACCOUNT_READ,
	QUOTA_ACCOUNT_LOCK,
	QUOTA_SUBSCRIPTION_LOCK,
	QUOTA_SUBSCRIPTION_CHARGE,
	QUOTA_SUBSCRIPTION_CREATE,
	QUOTA_SUBSCRIPTION_SAVE,
	QUOTA_PERIODS_ENDED,
	QUOTA_HISTORY_CLEAR,
	QUOTA_HISTORY_NOTE,
	QUOTA_FORGET_HISTORY,
	QUOTA_RESERVATION_EXPIRE,
	QUOTA_RESERVATION_EXPIRED,
	QUOTA_RESERVATION_READ,
	QUOTA_RESERVATION_INSERT,
	QUOTA_RESERVATION_END,
	QUOTA_RESERVATION_PURGE,
	QUOTA_RESERVATION_MOVE,
	QUOTA_FORGET_RESERVATIONS,
	QUOTA_FORGET_SUBSCRIPTION,
	QUOTA_DROP_UNUSED,
	QUOTA_NSTATEMENTS
} QuotaStatement;

/* Runs a statement inside SPI; rows are in SPI_tuptable until the next one. */
extern uint64 quota_execute(QuotaStatement id, Datum *values, const char *nulls, bool read_only);
extern Datum quota_column(uint64 row, int column, bool *isnull);

/* A text column as a C string, NULL for NULL. */
extern char *quota_string(uint64 row, int column);

#endif /* QUOTA_STATEMENTS_H */
