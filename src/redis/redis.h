/*
 * redis.h
 *		Conversations in Redis: the address, the wire, and the layouts of keys.
 *		What the files redis*.c share.
 *
 * redis.c (what SQL calls) → redis_scan.c and redis_replay.c (sessions of a
 * live server, and of commands as text) → redis_layout.c (keys) →
 * redis_connection.c (hiredis) and resp.c (the commands' text); redis_url.c
 * stands beside.
 */
#ifndef TRANSFER_REDIS_H
#define TRANSFER_REDIS_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Caps on what a server or a file may send; checked as it comes. */
#define REDIS_MAX_STRING (128 * 1024 * 1024)  /* one value */
#define REDIS_MAX_ELEMENTS (1024 * 1024)      /* of one array, arguments of one command */
#define REDIS_MAX_PENDING (256 * 1024 * 1024) /* bytes received that are not yet a reply */

/* 2000-01-01 in milliseconds since 1970. */
#define REDIS_EPOCH_MS INT64CONST(946684800000)

/* ---- redis_server.c ---- */

/* Defines memory_ext.redis_hosts; called once, from _PG_init. */
extern void redis_init(void);

/* ---- redis_url.c ---- */

typedef struct RedisUrl
{
	char *path; /* of a Unix socket; NULL: host and port */
	char *host;
	int port;
	char *user;     /* NULL: the default one */
	char *password; /* NULL: no AUTH */
	int database;
} RedisUrl;

/*
 * redis_server.c: the server that an address without a password, or a name of
 * memory.redis_servers, stands for.  Errors: 22023, 42501 it is not to be
 * connected to, 42704 no such name.
 */
extern RedisUrl *redis_server(const char *address);

/*
 * redis://[user:password@]host[:port][/database] or
 * unix://[user:password@]/path[?db=database]; palloc'd.  Errors, which never
 * repeat the password: 22023, 0A000 for TLS.
 */
extern RedisUrl *redis_parse_url(const char *url);

/* The address without user and password, for logs, errors and views. */
extern char *redis_masked_url(const RedisUrl *url);

/* ---- redis_connection.c ---- */

typedef struct RedisConnection RedisConnection;

typedef enum RedisReplyType
{
	REDIS_STRING,
	REDIS_ARRAY,
	REDIS_INTEGER,
	REDIS_NIL,
	REDIS_STATUS,
	REDIS_ERROR
} RedisReplyType;

/* Lives until redis_forget_replies. */
typedef struct RedisReply
{
	RedisReplyType type;
	int64 integer;
	char *data; /* of strings, states and errors; terminated, but may have NULs */
	Size length;
	struct RedisReply **elements;
	Size count;
} RedisReply;

/*
 * Connects, authenticates, selects the database.  timeout_ms bounds the
 * connecting, and later each wait for the server.  The connection belongs to
 * the current memory context and closes with it.  Errors: 0A000 built without
 * hiredis, 08001, 28P01.
 */
extern RedisConnection *redis_open(const RedisUrl *url, int timeout_ms);
extern void redis_close(RedisConnection *connection);

/* Puts a command into the pipeline; lengths NULL: the arguments are terminated. */
extern void
redis_send(RedisConnection *connection, int count, const char *const *args, const Size *lengths);

/* The same for commands that are RESP text already. */
extern void redis_send_text(RedisConnection *connection, const char *text, Size length, int count);

/* The next reply, in the order of the commands.  Errors: 08006, 08P01, 54000. */
extern RedisReply *redis_receive(RedisConnection *connection);

/* The same, but an error reply is an error, 38000, that names what was asked. */
extern RedisReply *redis_expect(RedisConnection *connection, RedisReplyType type, const char *what);

/* Frees all replies received so far. */
extern void redis_forget_replies(RedisConnection *connection);

/* ---- resp.c ---- */

/* An argument of a command in RESP text; points into the text. */
typedef struct RespText
{
	const char *data;
	Size length;
} RespText;

/* Reads commands one after the other. */
typedef struct RespReader
{
	const char *start;
	const char *at;
	const char *end;
	int64 commands; /* read so far */
	RespText *args; /* of the last one */
	int count;
	int capacity;
} RespReader;

extern void resp_open(RespReader *reader, const char *text, Size length);

/* The next command; false at the end.  Error: 22P04, with the place. */
extern bool resp_next(RespReader *reader);

/* Appends a command; lengths NULL: the arguments are terminated. */
extern void resp_append(StringInfo out, int count, const char *const *args, const Size *lengths);

/* Appends the opening of a command of so many arguments, and one argument. */
extern void resp_begin(StringInfo out, int64 count);
extern void resp_argument(StringInfo out, const char *data, Size length);

/* ---- redis_layout.c ---- */

typedef enum RedisLayoutKind
{
	REDIS_LANGCHAIN,      /* a list of messages, newest first */
	REDIS_LANGCHAIN_JSON, /* a RedisJSON document a message */
	REDIS_AGENTS          /* a hash, and a list of items, oldest first */
} RedisLayoutKind;

typedef struct RedisLayout
{
	const char *name;
	const char *prefix; /* what keys begin with, unless the caller says otherwise */
	const char *suffix; /* and end with */
	const char *format; /* of the items: see formats.h */
	RedisLayoutKind kind;
} RedisLayout;

/* Which keys of which layout. */
typedef struct RedisKeys
{
	const RedisLayout *layout;
	const char *prefix;
	const char *match; /* as SCAN takes it */
} RedisKeys;

/* Error: 22023, with the names of the layouts that there are. */
extern RedisKeys redis_keys(const char *layout, const char *prefix, const char *match);

/* A conversation as Redis has it.  Texts live until the sink returns. */
typedef struct RedisSession
{
	RespText key; /* where its messages are; of JSON documents, without the last part */
	RespText id;
	RespText *items; /* JSON, oldest first */
	int64 count;
	RespText *fields; /* of the hash: names and values in turn */
	int nfields;
	int64 expires_at; /* milliseconds since 1970, UTC; 0: never */
} RedisSession;

typedef void (*RedisSink)(const RedisSession *session, void *arg);

/* redis_scan.c.  Error: 0A000 the server is a node of a cluster. */
extern void redis_refuse_cluster(RedisConnection *connection);

/* redis_scan.c: hands over every session of a live server. */
extern void
redis_scan(RedisConnection *connection, const RedisKeys *keys, RedisSink sink, void *arg);

/* redis_replay.c: the same of commands as text.  Errors: 22P04, 0A000. */
extern void
redis_replay(const char *text, Size length, const RedisKeys *keys, RedisSink sink, void *arg);

/* ---- redis_write.c ---- */

/* What becomes of a conversation: the commands that make it. */
typedef struct RedisOutput
{
	RespText key;     /* whose existence decides */
	const char *name; /* the same as a text */
	bool is_text;     /* it is a text */
	StringInfoData commands;
	int count; /* of commands */
	int64 messages;
	bool expired; /* its time is over: there are no commands */
} RedisOutput;

typedef struct RedisWriter RedisWriter;

/* The conversations, one after the other; needs SPI.  replace: keys are deleted before. */
extern RedisWriter *redis_write_begin(const RedisKeys *keys, text *account_id, pg_uuid_t *id,
									  TimestampTz since, bool replace, bool transaction);
/* In the current context; false: there are no more. */
extern bool redis_write_next(RedisWriter *writer, RedisOutput *output);

/* A notice with what the layout's format could not hold, if there was such. */
extern void redis_write_end(const RedisWriter *writer);

#endif /* TRANSFER_REDIS_H */
