/*
 * redis_connection.c
 *		A pipelined connection to a live Redis, through hiredis.
 *
 * The socket does not block: whoever waits, waits on the process's latch too,
 * so that a cancel or a shutdown is obeyed between any two bytes, and no wait
 * is longer than the timeout.  While a long pipeline is sent, replies are read,
 * so that neither side waits for the other for ever.
 *
 * The server is not trusted: values, arrays and what is received but no reply
 * yet are capped.  hiredis' parser makes its objects through functions of this
 * file, in a memory context of the connection's.  They must not raise errors,
 * which would jump over hiredis' own frames: they return NULL instead.
 *
 * hiredis allocates its buffers with malloc; they and the socket are freed when
 * the memory context that the connection was opened in goes away.
 */
#include "postgres.h"

#include "redis.h"

#ifdef HAVE_HIREDIS

#include <hiredis/hiredis.h>
#include <sys/socket.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* So much of a pipeline is gathered before it is sent. */
#define SEND_BYTES (256 * 1024)

struct RedisConnection
{
	redisContext *link;
	MemoryContext context; /* this struct */
	MemoryContext replies;
	MemoryContextCallback cleanup;
	StringInfoData pending; /* commands not handed to hiredis yet */
	int64 awaited;          /* replies that will come */
	int timeout_ms;
	const char *place; /* the masked address */
	bool too_large;    /* why a reply could not be made */
};

/* ---------- objects of replies ---------- */

#if HIREDIS_MAJOR >= 1
typedef size_t ReplyCount;
#else
typedef int ReplyCount;
#endif

static RedisReply *
reply_create(const redisReadTask *task, RedisReplyType type, Size extra)
{
	RedisConnection *connection = task->privdata;
	RedisReply *reply;

	reply = MemoryContextAllocExtended(connection->replies, MAXALIGN(sizeof(RedisReply)) + extra,
									   MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE);
	if (reply == NULL)
		return NULL;
	memset(reply, 0, sizeof(RedisReply));
	reply->type = type;
	return reply;
}

/* The object belongs into the array that is being read, if there is one. */
static void *
reply_place(const redisReadTask *task, RedisReply *reply)
{
	if (reply != NULL && task->parent != NULL && task->parent->obj != NULL)
	{
		RedisReply *parent = task->parent->obj;

		if (task->idx < 0 || (Size) task->idx >= parent->count)
			return NULL;
		parent->elements[task->idx] = reply;
	}
	return reply;
}

static void *
make_string(const redisReadTask *task, char *data, size_t length)
{
	RedisReplyType type = task->type == REDIS_REPLY_ERROR    ? REDIS_ERROR
						  : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
															 : REDIS_STRING;
	RedisReply *reply;

	if (length > REDIS_MAX_STRING)
	{
		((RedisConnection *) task->privdata)->too_large = true;
		return NULL;
	}
	reply = reply_create(task, type, length + 1);
	if (reply == NULL)
		return NULL;
	reply->data = (char *) reply + MAXALIGN(sizeof(RedisReply));
	memcpy(reply->data, data, length);
	reply->data[length] = '\0';
	reply->length = length;
	return reply_place(task, reply);
}

static void *
make_array(const redisReadTask *task, ReplyCount count)
{
	RedisReply *reply;

	if (count > REDIS_MAX_ELEMENTS)
	{
		((RedisConnection *) task->privdata)->too_large = true;
		return NULL;
	}
	reply = reply_create(task, REDIS_ARRAY, (Size) count * sizeof(RedisReply *));
	if (reply == NULL)
		return NULL;
	reply->elements = (RedisReply **) ((char *) reply + MAXALIGN(sizeof(RedisReply)));
	memset(reply->elements, 0, (Size) count * sizeof(RedisReply *));
	reply->count = (Size) count;
	return reply_place(task, reply);
}

static void *
make_integer(const redisReadTask *task, long long value)
{
	RedisReply *reply = reply_create(task, REDIS_INTEGER, 0);

	if (reply != NULL)
		reply->integer = (int64) value;
	return reply_place(task, reply);
}

static void *
make_nil(const redisReadTask *task)
{
	return reply_place(task, reply_create(task, REDIS_NIL, 0));
}

/* They belong to the memory context. */
static void
free_nothing(void *object)
{
}

#if HIREDIS_MAJOR >= 1
/* The protocol's version 3 was not asked for. */
static void *
refuse_double(const redisReadTask *task, double value, char *text, size_t length)
{
	return NULL;
}

static void *
refuse_bool(const redisReadTask *task, int value)
{
	return NULL;
}
#endif

static redisReplyObjectFunctions reply_functions = {
	.createString = make_string,
	.createArray = make_array,
	.createInteger = make_integer,
	.createNil = make_nil,
#if HIREDIS_MAJOR >= 1
	.createDouble = refuse_double,
	.createBool = refuse_bool,
#endif
	.freeObject = free_nothing,
};

/* ---------- waiting ---------- */

static void
report_lost(RedisConnection *connection)
{
	char *what = pstrdup(connection->link->errstr);

	switch (connection->link->err)
	{
		case REDIS_ERR_OOM:
			if (connection->too_large)
				ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
								errmsg("a reply of %s is too large", connection->place),
								errdetail("A value may have %d bytes, an array %d elements.",
										  REDIS_MAX_STRING, REDIS_MAX_ELEMENTS)));
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY),
							errmsg("out of memory for a reply of %s", connection->place)));
			break;
		case REDIS_ERR_PROTOCOL:
			ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
							errmsg("%s does not speak the Redis protocol", connection->place),
							errdetail_internal("%s", what)));
			break;
		default:
			ereport(ERROR, (errcode(ERRCODE_CONNECTION_FAILURE),
							errmsg("the connection to %s was lost", connection->place),
							errdetail_internal("%s", what)));
	}
}

/* Until the socket is ready; obeys interrupts.  False: the time is over. */
static bool
wait_socket(RedisConnection *connection, int events)
{
	TimestampTz start = GetCurrentTimestamp();

	for (;;)
	{
		long left =
			connection->timeout_ms - TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());
		int happened;

		if (left <= 0)
			return false;
		happened =
			WaitLatchOrSocket(MyLatch, events | WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							  connection->link->fd, left, PG_WAIT_EXTENSION);
		if (happened & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
		if (happened & events)
			return true;
	}
}

static void
report_timeout(RedisConnection *connection)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("no answer from %s for %d ms", connection->place, connection->timeout_ms)));
}

/* Takes what has come; false if there was nothing. */
static bool
read_some(RedisConnection *connection)
{
	redisReader *reader = connection->link->reader;
	size_t before = reader->len - reader->pos;

	if (before > REDIS_MAX_PENDING)
	{
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a reply of %s is too large", connection->place),
						errdetail("More than %d bytes were received without a complete reply.",
								  REDIS_MAX_PENDING)));
	}
	if (redisBufferRead(connection->link) != REDIS_OK)
		report_lost(connection);
	return reader->len - reader->pos > before;
}

/* Sends all that is pending, reading meanwhile. */
static void
flush_commands(RedisConnection *connection)
{
	int done = 0;

	if (connection->pending.len > 0)
	{
		if (redisAppendFormattedCommand(connection->link, connection->pending.data,
										connection->pending.len) != REDIS_OK)
			report_lost(connection);
		resetStringInfo(&connection->pending);
	}
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (redisBufferWrite(connection->link, &done) != REDIS_OK)
			report_lost(connection);
		if (done)
			return;
		if (!wait_socket(connection, WL_SOCKET_READABLE | WL_SOCKET_WRITEABLE))
			report_timeout(connection);
		read_some(connection);
	}
}

/* ---------- opening ---------- */

static void
close_link(void *arg)
{
	RedisConnection *connection = arg;

	if (connection->link != NULL)
		redisFree(connection->link);
	connection->link = NULL;
}

/*
 * The caller is not told why: that would say which sockets and ports there are.
 * A protocol error does not name what has answered either.
 */
static void
report_unreachable(RedisConnection *connection, const char *why)
{
	ereport(LOG, (errmsg("could not connect to %s: %s", connection->place, why), errhidestmt(true),
				  errhidecontext(true)));
	ereport(ERROR, (errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
					errmsg("could not connect to %s", connection->place),
					errhint("The server's log says why.")));
}

static void
connect_link(RedisConnection *connection, const RedisUrl *url)
{
	int failure = 0;
	socklen_t size = sizeof(failure);

	connection->link = url->path != NULL ? redisConnectUnixNonBlock(url->path)
										 : redisConnectNonBlock(url->host, url->port);
	if (connection->link == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY),
						errmsg("out of memory for a connection to %s", connection->place)));
	if (connection->link->err != 0)
		report_unreachable(connection, pstrdup(connection->link->errstr));
	if (!wait_socket(connection, WL_SOCKET_WRITEABLE))
		report_unreachable(connection, "It does not answer.");
	if (getsockopt(connection->link->fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0)
		failure = errno;
	if (failure != 0)
		report_unreachable(connection, pstrdup(strerror(failure)));
	connection->link->flags |= REDIS_CONNECTED;
	connection->link->reader->fn = &reply_functions;
	connection->link->reader->privdata = connection;
}

static void
authenticate(RedisConnection *connection, const RedisUrl *url)
{
	const char *args[3] = {"AUTH", url->user != NULL ? url->user : url->password, url->password};
	RedisReply *reply;

	redis_send(connection, url->user != NULL ? 3 : 2, args, NULL);
	reply = redis_receive(connection);
	/* what the server says is not repeated: it might repeat the password */
	if (reply->type == REDIS_ERROR)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PASSWORD),
						errmsg("%s refuses the user or the password", connection->place)));
}

RedisConnection *
redis_open(const RedisUrl *url, int timeout_ms)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "memory_ext redis", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	RedisConnection *connection = palloc0(sizeof(RedisConnection));

	connection->context = context;
	connection->replies =
		AllocSetContextCreate(context, "memory_ext redis replies", ALLOCSET_DEFAULT_SIZES);
	connection->timeout_ms = timeout_ms;
	connection->place = redis_masked_url(url);
	initStringInfo(&connection->pending);
	connection->cleanup.func = close_link;
	connection->cleanup.arg = connection;
	MemoryContextRegisterResetCallback(context, &connection->cleanup);

	connect_link(connection, url);
	if (url->password != NULL)
		authenticate(connection, url);
	if (url->database != 0)
	{
		const char *args[2] = {"SELECT", psprintf("%d", url->database)};

		redis_send(connection, 2, args, NULL);
		redis_expect(connection, REDIS_STATUS, "SELECT");
	}
	redis_forget_replies(connection);
	MemoryContextSwitchTo(old);
	return connection;
}

/* Closes the connection and frees what was read from it. */
void
redis_close(RedisConnection *connection)
{
	MemoryContextDelete(connection->context);
}

/* ---------- commands and replies ---------- */

void
redis_send(RedisConnection *connection, int count, const char *const *args, const Size *lengths)
{
	resp_append(&connection->pending, count, args, lengths);
	connection->awaited++;
	if (connection->pending.len >= SEND_BYTES)
		flush_commands(connection);
}

void
redis_send_text(RedisConnection *connection, const char *text, Size length, int count)
{
	appendBinaryStringInfo(&connection->pending, text, (int) length);
	connection->awaited += count;
	if (connection->pending.len >= SEND_BYTES)
		flush_commands(connection);
}

RedisReply *
redis_receive(RedisConnection *connection)
{
	void *reply = NULL;

	if (connection->awaited == 0)
		elog(ERROR, "no reply is awaited from Redis");
	for (;;)
	{
		if (redisReaderGetReply(connection->link->reader, &reply) != REDIS_OK)
		{
			connection->link->err = connection->link->reader->err;
			strlcpy(connection->link->errstr, connection->link->reader->errstr,
					sizeof(connection->link->errstr));
			report_lost(connection);
		}
		if (reply != NULL)
			break;
		flush_commands(connection);
		if (!read_some(connection))
		{
			if (!wait_socket(connection, WL_SOCKET_READABLE))
				report_timeout(connection);
			read_some(connection);
		}
		CHECK_FOR_INTERRUPTS();
	}
	connection->awaited--;
	return reply;
}

RedisReply *
redis_expect(RedisConnection *connection, RedisReplyType type, const char *what)
{
	RedisReply *reply = redis_receive(connection);

	if (reply->type == REDIS_ERROR)
		ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
						errmsg("%s refuses %s", connection->place, what),
						errdetail_internal("%s", reply->data)));
	if (reply->type != type)
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("%s answered %s with a reply of an unexpected type",
							   connection->place, what)));
	return reply;
}

void
redis_forget_replies(RedisConnection *connection)
{
	MemoryContextReset(connection->replies);
}

#else /* !HAVE_HIREDIS */

RedisConnection *
redis_open(const RedisUrl *url, int timeout_ms)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("this build of memory_ext cannot connect to Redis"),
			 errdetail("It was built without hiredis."),
			 errhint("Build it with libhiredis-dev installed, or transfer the commands as text: "
					 "memory.redis_commands and memory.redis_import_commands.")));
	return NULL; /* keep compilers quiet */
}

/* Closes the connection and frees what was read from it. */
void
redis_close(RedisConnection *connection)
{
}

void
redis_send(RedisConnection *connection, int count, const char *const *args, const Size *lengths)
{
}

void
redis_send_text(RedisConnection *connection, const char *text, Size length, int count)
{
}

RedisReply *
redis_receive(RedisConnection *connection)
{
	return NULL;
}

RedisReply *
redis_expect(RedisConnection *connection, RedisReplyType type, const char *what)
{
	return NULL;
}

void
redis_forget_replies(RedisConnection *connection)
{
}

#endif /* HAVE_HIREDIS */
