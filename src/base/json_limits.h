/*
 * json_limits.h
 *		What jsonb that goes in must fulfil to come out again as text.
 */
#ifndef MEMORY_JSON_LIMITS_H
#define MEMORY_JSON_LIMITS_H

#include "postgres.h"

#include "utils/jsonb.h"

/*
 * Says, for a message, which limit of memory_limits.h metadata exceeds, palloc'd:
 * "is nested deeper than 500 levels".  NULL: none.
 */
extern const char *json_excess(Jsonb *metadata);

#endif /* MEMORY_JSON_LIMITS_H */
