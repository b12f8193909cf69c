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

/* 18 says before a declaration that a function does not return, with C11's word */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/*
 * 16 hides the table of settings behind a hash table.  Where a setting's value
 * comes from:
 */
#include "utils/guc_tables.h"

static inline GucSource
compat_setting_source(const char *name)
{
#if PG_VERSION_NUM >= 160000
	struct config_generic *setting = find_option(name, false, true, ERROR);

	return setting != NULL ? setting->source : PGC_S_DEFAULT;
#else
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
		if (strcmp(settings[i]->name, name) == 0)
			return settings[i]->source;
	return PGC_S_DEFAULT;
#endif
}

/* 17 takes the memory of a lexer of JSON from the caller if that has some. */
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"

static inline JsonLexContext *
compat_json_lexer(char *text, int length)
{
#if PG_VERSION_NUM >= 170000
	return makeJsonLexContextCstringLen(NULL, text, length, PG_UTF8, true);
#else
	return makeJsonLexContextCstringLen(text, length, PG_UTF8, true);
#endif
}

#endif /* MEMORY_COMPAT_H */
