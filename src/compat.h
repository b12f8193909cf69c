/*
 * compat.h
 *		Differences between the supported PostgreSQL versions (15 to 18).
 *
 * Nothing else in the source tests PG_VERSION_NUM.
 */
#ifndef MEMORY_COMPAT_H
#define MEMORY_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "memory_ext needs PostgreSQL 15 or newer"
#endif

/* 16 moved varlena's macros out of postgres.h */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#endif /* MEMORY_COMPAT_H */
