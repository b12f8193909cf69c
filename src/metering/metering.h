#ifndef METERING_H
#define METERING_H
#include "postgres.h"
extern void metering_emit(const char *type, const char *subscription_id, const char *account_id, const char *data);
#endif
