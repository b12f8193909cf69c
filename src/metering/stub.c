#include "postgres.h"
#include "metering.h"
void metering_emit(const char *type, const char *subscription_id, const char *account_id, const char *data) { elog(DEBUG1, "event %s %s", type, data); }
