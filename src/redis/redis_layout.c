/*
 * redis_layout.c
 *		How applications lay conversations out in Redis.
 *
 *		langchain       langchain-community, and LangChain for JavaScript with
 *		                prefix '': LIST message_store:<id>, LPUSH, newest first
 *		langchain-redis LangChain's own package: a RedisJSON document a message,
 *		                chat:<id>:<ULID>
 *		agents          OpenAI's Agents SDK: HASH agents:session:<id>, LIST
 *		                agents:session:<id>:messages, RPUSH, oldest first
 */
#include "postgres.h"

#include "redis.h"

static const RedisLayout layouts[] = {
	{"langchain", "message_store:", "", "langchain", REDIS_LANGCHAIN},
	{"langchain-redis", "chat:", "", "langchain", REDIS_LANGCHAIN_JSON},
	{"agents", "agents:session:", ":messages", "agents", REDIS_AGENTS},
};

static const RedisLayout *
layout_named(const char *name)
{
	for (int i = 0; i < lengthof(layouts); i++)
		if (strcmp(layouts[i].name, name) == 0)
			return &layouts[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown Redis layout \"%s\"", name),
			 errhint("The layouts are \"langchain\", \"langchain-redis\" and \"agents\".")));
	return NULL; /* keep compilers quiet */
}

/* A text as a pattern that matches it only. */
static void
append_literal(StringInfo pattern, const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (strchr("*?[]\\^", *text) != NULL)
			appendStringInfoChar(pattern, '\\');
		appendStringInfoChar(pattern, *text);
	}
}

/* prefix NULL: the layout's; match NULL: all keys of the layout. */
RedisKeys
redis_keys(const char *layout, const char *prefix, const char *match)
{
	RedisKeys keys;
	StringInfoData pattern;

	keys.layout = layout_named(layout);
	keys.prefix = prefix != NULL ? prefix : keys.layout->prefix;
	keys.match = match;
	if (match == NULL)
	{
		initStringInfo(&pattern);
		append_literal(&pattern, keys.prefix);
		appendStringInfoChar(&pattern, '*');
		append_literal(&pattern, keys.layout->suffix);
		keys.match = pattern.data;
	}
	return keys;
}
