/*
 * redis_url.c
 *		Addresses of Redis servers, and what may be shown of them.
 *
 * No error and no log line repeats user or password, not even where the
 * address is not understood.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "redis.h"

#define REDIS_PORT 6379
#define REDIS_MAX_DATABASE 1000000
#define URL_HINT                                                                                   \
	"Use redis://[user:password@]host[:port][/database] or unix://[user:password@]/path[?db=N]."

static void
refuse_url(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid Redis URL: %s", what),
					errhint(URL_HINT)));
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A part of the URL with %XX decoded; what names it in an error. */
static char *
decode_part(const char *from, const char *to, const char *what)
{
	char *result = palloc(to - from + 1);
	char *out = result;

	for (const char *at = from; at < to; at++)
	{
		if (*at != '%')
		{
			*out++ = *at;
			continue;
		}
		if (to - at < 3 || hex_digit(at[1]) < 0 || hex_digit(at[2]) < 0 ||
			(at[1] == '0' && at[2] == '0'))
			refuse_url(psprintf("%s has a %% without two hexadecimal digits", what));
		*out++ = (char) (hex_digit(at[1]) * 16 + hex_digit(at[2]));
		at += 2;
	}
	*out = '\0';
	return result;
}

/* A decimal number up to a limit, all of the text. */
static int
parse_number(const char *from, const char *to, int limit, const char *what)
{
	int64 value = 0;

	if (from == to)
		refuse_url(psprintf("%s is empty", what));
	for (const char *at = from; at < to; at++)
	{
		if (*at < '0' || *at > '9' || value > limit)
			refuse_url(psprintf("%s is not a number from 0 to %d", what, limit));
		value = value * 10 + (*at - '0');
	}
	if (value > limit)
		refuse_url(psprintf("%s is not a number from 0 to %d", what, limit));
	return (int) value;
}

/* [user][:password]@ before the place; returns what follows. */
static const char *
parse_credentials(RedisUrl *url, const char *from, const char *end)
{
	const char *at = NULL;
	const char *colon;

	if (from < end && *from == '/') /* the path of a socket */
		return from;
	/* the last one: a password may have an @ that nobody encoded */
	for (const char *c = from; c < end; c++)
		if (*c == '@')
			at = c;
	if (at == NULL)
		return from;
	colon = memchr(from, ':', at - from);
	if (colon == NULL)
		refuse_url("user and password are separated by a colon");
	if (colon > from)
		url->user = decode_part(from, colon, "the user");
	url->password = decode_part(colon + 1, at, "the password");
	return at + 1;
}

static void
parse_host(RedisUrl *url, const char *from, const char *end)
{
	const char *close = NULL;
	const char *port;

	if (from < end && *from == '[')
	{
		close = memchr(from, ']', end - from);
		if (close == NULL)
			refuse_url("the address in brackets has no end");
		url->host = pnstrdup(from + 1, close - from - 1);
		port = close + 1;
		if (port < end && *port != ':')
			refuse_url("something follows the address in brackets");
	}
	else
	{
		port = memchr(from, ':', end - from);
		if (port == NULL)
			port = end;
		url->host = decode_part(from, port, "the host");
	}
	if (url->host[0] == '\0')
		refuse_url("it names no host");
	url->port = port < end ? parse_number(port + 1, end, 65535, "the port") : REDIS_PORT;
}

RedisUrl *
redis_parse_url(const char *text)
{
	RedisUrl *url = palloc0(sizeof(RedisUrl));
	const char *end = text + strlen(text);
	const char *query = strchr(text, '?');
	const char *place;
	const char *slash;

	if (strncmp(text, "rediss://", 9) == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("TLS connections to Redis are not supported"),
						errhint("Use a local proxy, such as stunnel, for TLS.")));
	if (strncmp(text, "unix://", 7) == 0)
	{
		slash = strchr(text + 7, '/');
		/* a / in the password is not one of the path if an @ follows */
		place = parse_credentials(url, text + 7, query != NULL ? query : end);
		if (slash == NULL || *place != '/')
			refuse_url("the path of the socket does not begin with a slash");
		url->path = decode_part(place, query != NULL ? query : end, "the path");
		if (query != NULL && strncmp(query, "?db=", 4) != 0)
			refuse_url("the only parameter is db");
		if (query != NULL)
			url->database = parse_number(query + 4, end, REDIS_MAX_DATABASE, "the database");
		return url;
	}
	if (strncmp(text, "redis://", 8) != 0)
		refuse_url("it begins neither with redis:// nor with unix://");

	place = parse_credentials(url, text + 8, end);
	slash = strchr(place, '/');
	parse_host(url, place, slash != NULL ? slash : end);
	if (slash != NULL && slash + 1 < end)
		url->database = parse_number(slash + 1, end, REDIS_MAX_DATABASE, "the database");
	return url;
}

char *
redis_masked_url(const RedisUrl *url)
{
	const char *secret = url->password != NULL ? "***@" : "";

	if (url->path != NULL)
		return psprintf("unix://%s%s?db=%d", secret, url->path, url->database);
	return psprintf(strchr(url->host, ':') != NULL ? "redis://%s[%s]:%d/%d" : "redis://%s%s:%d/%d",
					secret, url->host, url->port, url->database);
}
