/*
 * redis_server.c
 *		Which servers may be reached, and with which password.
 *
 * A password in a statement is seen by whoever reads the server's log,
 * pg_stat_activity or an error's context.  So an address that a caller gives has
 * none; memory.redis_servers, which only its owner reads, keeps addresses under
 * a name.
 *
 * PostgreSQL's server can reach what an operator cannot.  So it connects to the
 * hosts of memory_ext.redis_hosts only, and a failure does not say why: else an
 * operator could see which ports and sockets there are.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "redis.h"
#include "sql_text.h"
#include "statement.h"

#define REDIS_PORT 6379

static char *allowed_hosts = NULL;

/* host or host:port; what has more colons is an IPv6 address, in brackets where a port follows. */
static bool
entry_allows(const char *entry, const RedisUrl *url)
{
	Size length = strlen(url->host);
	bool bracket = entry[0] == '[';
	const char *rest = entry + bracket + length;

	if (strlen(entry) < bracket + length || pg_strncasecmp(entry + bracket, url->host, length) != 0)
		return false;
	if (bracket && *rest++ != ']')
		return false;
	if (*rest == '\0')
		return url->port == REDIS_PORT;
	return strcmp(rest, psprintf(":%d", url->port)) == 0;
}

static bool
host_allowed(const RedisUrl *url)
{
	List *entries;
	ListCell *cell;

	if (!SplitGUCList(pstrdup(allowed_hosts), ',', &entries))
		return false;
	foreach (cell, entries)
		if (entry_allows(lfirst(cell), url))
			return true;
	return false;
}

static bool
check_hosts(char **newval, void **extra, GucSource source)
{
	List *entries;
	bool valid = SplitGUCList(pstrdup(*newval), ',', &entries);

	if (!valid)
		GUC_check_errdetail("It is a list of host or host:port, separated by commas.");
	list_free(entries);
	return valid;
}

void
redis_init(void)
{
	DefineCustomStringVariable("memory_ext.redis_hosts",
							   "The hosts of Redis that the server may connect to.",
							   "host (port 6379) or host:port, separated by commas; empty: none, "
							   "local sockets only.",
							   &allowed_hosts, "", PGC_SUSET, GUC_LIST_INPUT, check_hosts, NULL,
							   NULL);
}

/* The address that is kept under a name.  Error: 42704. */
static char *
kept_address(const char *name)
{
	/* clang-format off */
	static PlanStatement find = {
		"SELECT url FROM memory.redis_servers WHERE name" OP(=) "$1",
		1,
		{TEXTOID},
	};
	/* clang-format on */
	Datum values[1] = {CStringGetTextDatum(name)};
	char *address = NULL;
	MemoryContext caller = CurrentMemoryContext;

	SPI_connect();
	if (plan_execute(&find, values, NULL, true) == 1)
		address = MemoryContextStrdup(caller, SPI_getvalue(SPI_tuptable->vals[0],
														   SPI_tuptable->tupdesc, 1));
	SPI_finish();
	if (address == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("Redis server \"%s\" is not known", name),
						errhint("Give an address, as unix:///path or redis://host, or a name of "
								"memory.redis_servers.")));
	return address;
}

RedisUrl *
redis_server(const char *address)
{
	RedisUrl *url;

	if (strstr(address, "://") == NULL)
		url = redis_parse_url(kept_address(address));
	else if (strchr(address, '@') != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a Redis URL in a statement must not have a password"),
						errdetail("Statements are logged and shown."),
						errhint("Let the owner of memory.redis_servers keep it there, and give its "
								"name.")));
	else
		url = redis_parse_url(address);
	if (url->path == NULL && !host_allowed(url))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("connections to %s are not allowed", redis_masked_url(url)),
						errhint("A superuser can add the host to memory_ext.redis_hosts.")));
	return url;
}
