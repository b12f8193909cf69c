/*
 * fuzz_text.c
 *		Mutates the text form, the binary form and the stored bytes of
 *		transcripts, inside a server.
 *
 * Never part of the product: test/fuzz/run links it into a memory_ext.so of
 * its own, built with sanitizers and with counters of the code that runs, by
 * which it keeps the inputs that reached something new.
 *
 *	memory_fuzz(seconds float8, seed bigint, current text, seeds text[]) → text
 *
 * `seeds` are text forms; `current` is a file that always holds the input
 * being tried, so that a crash leaves it behind.  A finding is a WARNING with
 * the input in hexadecimal; the result says how many there were.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "../../src/base/compat.h"
#include "../../src/base/memory_limits.h"
#include "../../src/transcript/transcript.h"

#define MAX_INPUT_BYTES (256 * 1024)
#define MAX_POOL 4000
#define MAX_REPORTS 40
#define ROOM 64 /* the file's first line */

typedef enum Kind
{
	KIND_TEXT,
	KIND_BINARY,
	KIND_STORED,
	NKINDS
} Kind;

static const char *const kind_names[NKINDS] = {"text", "binary", "stored"};

typedef struct Sample
{
	Kind kind;
	uint32 len;
	char *bytes;
} Sample;

typedef struct Fuzzer
{
	MemoryContext context; /* of the pool */
	MemoryContext scratch; /* reset for each input */
	uint64 random;
	Sample *pool;
	int npool;
	int nseeds;
	char *current; /* the mapped file */
	char *input;   /* MAX_INPUT_BYTES bytes */
	char *exact;   /* its first len bytes and a terminator, malloc'd */
	uint32 len;
	Kind kind;
	int64 tried[NKINDS];
	int64 accepted[NKINDS];
	int64 findings;
	uint32 nreported;
	char *reported[MAX_REPORTS];
	uint8 *seen; /* which buckets of each counter have been seen */
	size_t nseen;
	int64 covered;
	FmgrInfo in;
	FmgrInfo out;
	FmgrInfo recv;
	FmgrInfo send;
	FmgrInfo verify;
	FmgrInfo to_jsonb;
	FmgrInfo from_jsonb;
	FmgrInfo slice;
	FmgrInfo recompress;
} Fuzzer;

/* ---------- which code ran ---------- */

/* Bounds of the counters; there are none unless clang was asked for them. */
extern uint8
	counters_begin[] __asm__("__start___sancov_cntrs") __attribute__((weak, visibility("hidden")));
extern uint8
	counters_end[] __asm__("__stop___sancov_cntrs") __attribute__((weak, visibility("hidden")));

/* What the instrumented code calls when it is loaded; the bounds above are enough. */
void __sanitizer_cov_8bit_counters_init(uint8 *begin, uint8 *end);

__attribute__((weak, visibility("hidden"))) void
__sanitizer_cov_8bit_counters_init(uint8 *begin, uint8 *end)
{
}

static size_t
counters(void)
{
	return counters_begin != NULL ? (size_t) (counters_end - counters_begin) : 0;
}

static void
coverage_reset(void)
{
	if (counters() > 0)
		memset(counters_begin, 0, counters());
}

/* Did the last input run something for the first time, or markedly more often? */
static bool
coverage_grew(Fuzzer *f)
{
	bool grew = false;
	size_t i;

	for (i = 0; i < Min(counters(), f->nseen); i++)
	{
		uint8 count = counters_begin[i];
		uint8 bucket;

		if (count == 0)
			continue;
		bucket = count < 4    ? 1 << (count - 1)
				 : count < 8  ? 8
				 : count < 16 ? 16
				 : count < 32 ? 32
							  : 64;
		if ((f->seen[i] & bucket) == 0)
		{
			f->covered += f->seen[i] == 0;
			f->seen[i] |= bucket;
			grew = true;
		}
	}
	return grew;
}

/* ---------- randomness ---------- */

static uint32
random_below(Fuzzer *f, uint32 limit)
{
	/* xorshift64* */
	f->random ^= f->random >> 12;
	f->random ^= f->random << 25;
	f->random ^= f->random >> 27;
	return (uint32) ((f->random * UINT64CONST(2685821657736338717)) >> 33) % Max(limit, 1);
}

/* ---------- mutations ---------- */

static const char *const words[] = {"[",
									"]",
									"{",
									"}",
									",",
									":",
									"\"",
									"\\",
									"null",
									"true",
									"false",
									"[]",
									"{}",
									"\"\"",
									" ",
									"\n",
									"\"role\":",
									"\"content\":",
									"\"seq\":",
									"\"parent_seq\":",
									"\"model\":",
									"\"tokens\":",
									"\"created_at\":",
									"\"message_id\":",
									"\"metadata\":",
									"\"revision\":",
									"\"user\"",
									"\"assistant\"",
									"{\"role\":\"user\",\"content\":\"x\"}",
									",{\"role\":\"tool\",\"content\":\"\"}",
									"\\u0000",
									"\\ud83d\\ude00",
									"\\ud83d",
									"\\udc00",
									"\\u00e9",
									"\\\"",
									"\\\\",
									"\\/",
									"\\x",
									"0",
									"-1",
									"1",
									"2147483647",
									"2147483648",
									"9223372036854775807",
									"9223372036854775808",
									"-9223372036854775808",
									"1e2",
									"1.5",
									"1e400",
									"1e-400",
									"1e131071",
									"NaN",
									"Infinity",
									"\"infinity\"",
									"\"-infinity\"",
									"\"2024-02-30T00:00:00Z\"",
									"\"4714-11-24 00:00:00 BC\"",
									"\"294276-12-31T23:59:59.999999Z\"",
									"\"294277-01-01\"",
									"\"now\"",
									"\"epoch\"",
									"\"2000-01-01T00:00:00+15:59\"",
									"\"infinity BC\"",
									"{\"a\":{\"b\":[1,2,{\"c\":null}]}}",
									"\xF0\x9F\x98\x80",
									"\xE4\xBD\xA0",
									"\xC3\xA9",
									"\xEF\xBB\xBF",
									"\x7F",
									"\x01",
									"\t"};

static const int64 numbers[] = {0,
								1,
								-1,
								127,
								128,
								255,
								256,
								65535,
								PG_INT32_MAX,
								PG_INT32_MIN,
								PG_UINT32_MAX,
								PG_INT64_MAX,
								PG_INT64_MIN,
								TRANSCRIPT_MAX_RAW,
								TRANSCRIPT_MAX_MESSAGES,
								MEMORY_MAX_CONTENT_BYTES};

static void
insert_bytes(Fuzzer *f, uint32 at, const char *bytes, uint32 len)
{
	len = Min(len, MAX_INPUT_BYTES - 1 - f->len);
	memmove(f->input + at + len, f->input + at, f->len - at);
	memcpy(f->input + at, bytes, len);
	f->len += len;
}

static void
delete_bytes(Fuzzer *f, uint32 at, uint32 len)
{
	len = Min(len, f->len - at);
	memmove(f->input + at, f->input + at + len, f->len - at - len);
	f->len -= len;
}

/* Replaces the run of digits at or behind a place, if there is one. */
static void
change_number(Fuzzer *f, uint32 at)
{
	uint32 end;
	char text[32];

	while (at < f->len && !(f->input[at] >= '0' && f->input[at] <= '9'))
		at++;
	for (end = at; end < f->len && f->input[end] >= '0' && f->input[end] <= '9';)
		end++;
	if (end == at)
		return;
	delete_bytes(f, at, end - at);
	snprintf(text, sizeof(text), INT64_FORMAT, numbers[random_below(f, lengthof(numbers))]);
	insert_bytes(f, at, text, (uint32) strlen(text));
}

/* The end of the JSON value that begins at a place; strings and nesting only. */
static uint32
value_end(const char *text, uint32 at, uint32 len)
{
	int depth = 0;

	for (; at < len; at++)
	{
		char c = text[at];

		if (c == '"')
		{
			for (at++; at < len && text[at] != '"'; at++)
				at += text[at] == '\\';
		}
		else if (c == '{' || c == '[')
			depth++;
		else if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			break;
		else if (c == '}' || c == ']')
			depth--;
	}
	return Min(at, len);
}

/* The place behind the first colon at or behind a place, or the end. */
static uint32
value_begin(const char *text, uint32 at, uint32 len)
{
	while (at < len && text[at] != ':')
		at++;
	return Min(at + 1, len);
}

/* Replaces a key's value by a word, or by one of another input. */
static void
change_value(Fuzzer *f, uint32 at, const Sample *other, const char *word)
{
	uint32 from;

	at = value_begin(f->input, at, f->len);
	delete_bytes(f, at, value_end(f->input, at, f->len) - at);
	if (other->kind != KIND_TEXT || random_below(f, 3) > 0)
	{
		insert_bytes(f, at, word, (uint32) strlen(word));
		return;
	}
	from = value_begin(other->bytes, random_below(f, other->len + 1), other->len);
	insert_bytes(f, at, other->bytes + from, value_end(other->bytes, from, other->len) - from);
}

/* Writes a number of 1, 2, 4 or 8 bytes, in either order. */
static void
write_number(Fuzzer *f, uint32 at)
{
	uint64 number = (uint64) numbers[random_below(f, lengthof(numbers))];
	uint32 bytes = 1u << random_below(f, 4);
	bool big = random_below(f, 2) == 0;
	uint32 i;

	for (i = 0; i < bytes && at + i < f->len; i++)
		f->input[at + i] = (char) (number >> (8 * (big ? bytes - 1 - i : i)));
}

static void
mutate_once(Fuzzer *f)
{
	uint32 at = random_below(f, f->len + 1);
	uint32 len = 1 + random_below(f, random_below(f, 8) == 0 ? 4000 : 12);
	const Sample *other = &f->pool[random_below(f, f->npool)];
	const char *word = words[random_below(f, lengthof(words))];
	char *copy;
	uint32 from;

	switch (random_below(f, 14))
	{
		case 0: /* a bit */
			if (at < f->len)
				f->input[at] ^= (char) (1 << random_below(f, 8));
			break;
		case 1: /* a byte */
			if (at < f->len)
				f->input[at] = (char) random_below(f, 256);
			break;
		case 2:
			delete_bytes(f, at, len);
			break;
		case 3:
		case 4:
			insert_bytes(f, at, word, (uint32) strlen(word));
			break;
		case 5: /* a word over others */
			delete_bytes(f, at, (uint32) strlen(word));
			insert_bytes(f, Min(at, f->len), word, (uint32) strlen(word));
			break;
		case 6: /* a piece of another input */
			from = random_below(f, other->len + 1);
			insert_bytes(f, at, other->bytes + from, Min(len, other->len - from));
			break;
		case 7: /* a piece of this input, again */
			from = random_below(f, f->len + 1);
			len = Min(len, f->len - from);
			copy = MemoryContextAlloc(f->scratch, len + 1);
			memcpy(copy, f->input + from, len);
			insert_bytes(f, at, copy, len);
			break;
		case 8: /* a word many times */
			if (random_below(f, 20) != 0)
				break;
			from = (uint32) strlen(word);
			len = Min(random_below(f, 20000), 60000 / from) * from;
			copy = MemoryContextAlloc(f->scratch, len + 1);
			for (uint32 i = 0; i < len; i++)
				copy[i] = word[i % from];
			insert_bytes(f, at, copy, len);
			break;
		case 9:
			if (f->kind == KIND_TEXT)
				change_number(f, at);
			else
				write_number(f, at);
			break;
		case 10:
			if (random_below(f, 4) == 0)
				f->len = at;
			break;
		default:
			if (f->kind == KIND_TEXT)
				change_value(f, at, other, word);
			else
				write_number(f, at);
			break;
	}
}

/* As the server makes sure of any text that it takes: UTF-8 without zero bytes. */
static void
make_utf8(Fuzzer *f)
{
	uint32 at = 0;

	while (at < f->len)
	{
		int left = (int) (f->len - at);
		int good = pg_encoding_verifymbstr(PG_UTF8, f->input + at, left);

		if (good >= left)
			break;
		at += (uint32) good;
		f->input[at++] = '?';
	}
}

/*
 * Stored bytes with codec none get the header that their payload wants: its
 * size, checksum and totals.  Now and then they keep what they have.
 */
static void
fit_stored(Fuzzer *f)
{
	uint8 bytes[TRANSCRIPT_HEADER_MAX];
	uint8 *raw;
	uint32 size;
	TranscriptHeader header;
	TranscriptProblem problem;
	TranscriptMessage *messages;
	pg_crc32c crc;
	uint32 i;
	bool any = false;

	if (f->len < 2 || f->input[1] != TRANSCRIPT_NONE || random_below(f, 16) == 0 ||
		!transcript_header_decode((uint8 *) f->input, f->len, &header, &problem))
		return;
	raw = (uint8 *) f->input + header.header_bytes;
	header.raw_size = f->len - header.header_bytes;
	header.message_count = Min(header.message_count, header.raw_size / 2);
	messages = MemoryContextAllocZero(f->scratch,
									  Max(header.message_count, 1) * sizeof(TranscriptMessage));
	(void) transcript_payload_decode(&header, raw, messages, &problem);

	header.content_bytes = 0;
	header.token_total = 0;
	header.first_at = header.last_at = 0;
	for (i = 0; i < header.message_count; i++)
	{
		const TranscriptMessage *message = &messages[i];

		header.content_bytes += message->content_len;
		if (message->tokens > 0)
			header.token_total += message->tokens;
		if (!message->has_created_at)
			continue;
		header.first_at = any ? Min(header.first_at, message->created_at) : message->created_at;
		header.last_at = any ? Max(header.last_at, message->created_at) : message->created_at;
		any = true;
	}
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, raw, header.raw_size);
	FIN_CRC32C(crc);
	header.crc = (uint32) crc;
	size = transcript_header_encode(&header, bytes);
	if (size + header.raw_size > MAX_INPUT_BYTES)
		return;
	memmove(f->input + size, raw, header.raw_size);
	memcpy(f->input, bytes, size);
	f->len = size + header.raw_size;
}

static void
choose_input(Fuzzer *f)
{
	const Sample *base = &f->pool[random_below(f, f->npool)];
	uint32 turns = 1 + random_below(f, 1 + random_below(f, 6));

	f->kind = base->kind;
	f->len = base->len;
	memcpy(f->input, base->bytes, base->len);
	while (turns-- > 0)
		mutate_once(f);
	if (f->kind == KIND_TEXT)
		make_utf8(f);
	else if (f->kind == KIND_STORED)
		fit_stored(f);
}

static void
add_to_pool(Fuzzer *f, Kind kind, const char *bytes, uint32 len)
{
	Sample *item;

	if (len >= MAX_INPUT_BYTES)
		return;
	if (f->npool < MAX_POOL)
		item = &f->pool[f->npool++];
	else
	{
		/* the seeds stay */
		item = &f->pool[f->nseeds + (int) random_below(f, (uint32) (MAX_POOL - f->nseeds))];
		pfree(item->bytes);
	}
	item->kind = kind;
	item->len = len;
	item->bytes = MemoryContextAlloc(f->context, Max(len, 1));
	memcpy(item->bytes, bytes, len);
}

/* ---------- findings ---------- */

/* Each kind of finding is reported twice, however often it comes. */
static void
finding(Fuzzer *f, const char *what)
{
	StringInfoData hex;
	uint32 i;
	int times = 0;

	f->findings++;
	for (i = 0; i < f->nreported; i++)
		times += strncmp(f->reported[i], what, 40) == 0;
	if (times >= 2 || f->nreported >= MAX_REPORTS)
		return;
	f->reported[f->nreported++] = MemoryContextStrdup(f->context, what);
	initStringInfo(&hex);
	for (i = 0; i < Min(f->len, 4000); i++)
		appendStringInfo(&hex, "%02x", (unsigned char) f->input[i]);
	ereport(WARNING, (errmsg("finding, form %s: %s", kind_names[f->kind], what),
					  errdetail("%u bytes: %s", f->len, hex.data)));
	pfree(hex.data);
}

static bool
same_value(Datum a, Datum b)
{
	struct varlena *x = PG_DETOAST_DATUM_PACKED(a);
	struct varlena *y = PG_DETOAST_DATUM_PACKED(b);

	return VARSIZE_ANY_EXHDR(x) == VARSIZE_ANY_EXHDR(y) &&
		   memcmp(VARDATA_ANY(x), VARDATA_ANY(y), VARSIZE_ANY_EXHDR(x)) == 0;
}

/*
 * May a form be refused with this error?  The standard classes for bad values
 * and limits; a stored form also as corrupt or not known; never an internal
 * error.
 */
static bool
error_allowed(Kind kind, const ErrorData *error)
{
	int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	if (category == ERRCODE_PROGRAM_LIMIT_EXCEEDED)
		return true;
	if (kind == KIND_STORED)
		return error->sqlerrcode == ERRCODE_DATA_CORRUPTED ||
			   error->sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED;
	if (category == ERRCODE_DATA_EXCEPTION)
		return true;
	return kind == KIND_BINARY && (error->sqlerrcode == ERRCODE_PROTOCOL_VIOLATION ||
								   error->sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED);
}

/* ---------- one input ---------- */

static char *
jsonb_text(Fuzzer *f, Datum value)
{
	return DatumGetCString(DirectFunctionCall1(jsonb_out, FunctionCall1(&f->to_jsonb, value)));
}

/*
 * Stored bytes that were not written by this program may have metadata that are
 * not printed as jsonb prints them.  Their value is checked after one reading
 * of the text form, which must have the same meaning.
 */
static Datum
normal_value(Fuzzer *f, Datum value)
{
	char *text = OutputFunctionCall(&f->out, value);
	Datum again = InputFunctionCall(&f->in, text, InvalidOid, -1);

	if (strcmp(jsonb_text(f, value), jsonb_text(f, again)) != 0)
		finding(f, "its text form means something else");
	return again;
}

/* What must hold for any value that was accepted. */
static void
check_value(Fuzzer *f, Datum value)
{
	char *text = OutputFunctionCall(&f->out, value);
	Datum again = InputFunctionCall(&f->in, text, InvalidOid, -1);
	char *text_again = OutputFunctionCall(&f->out, again);
	Datum other;
	StringInfoData buffer;
	bytea *sent;

	if (strcmp(text, text_again) != 0)
		finding(f, "its text form changes when it is read again");
	if (!same_value(value, again))
		finding(f, "its bytes change when its text form is read again");
	if (!DatumGetBool(FunctionCall1(&f->verify, value)))
		finding(f, "it is not verified");

	sent = SendFunctionCall(&f->send, value);
	initStringInfo(&buffer);
	appendBinaryStringInfo(&buffer, VARDATA(sent), VARSIZE(sent) - VARHDRSZ);
	other = ReceiveFunctionCall(&f->recv, &buffer, InvalidOid, -1);
	if (strcmp(text, OutputFunctionCall(&f->out, other)) != 0)
		finding(f, "its binary form reads as something else");
	if (buffer.cursor != buffer.len)
		finding(f, "its binary form is not read to its end");

	other = FunctionCall1(&f->from_jsonb, FunctionCall1(&f->to_jsonb, value));
	if (strcmp(text, OutputFunctionCall(&f->out, other)) != 0)
		finding(f, "its jsonb reads as something else");

	(void) FunctionCall3(&f->slice, value, Int64GetDatum(2), Int64GetDatum(3));
	other = FunctionCall2(&f->recompress, value, CStringGetTextDatum("zstd:1"));
	other = FunctionCall2(&f->recompress, other, CStringGetTextDatum("lz4"));
	if (strcmp(text, OutputFunctionCall(&f->out, other)) != 0)
		finding(f, "it is another when compressed differently");
}

static void
try_input(Fuzzer *f)
{
	struct varlena *stored;
	StringInfoData buffer;
	Datum value;

	switch (f->kind)
	{
		case KIND_TEXT:
			/* an allocation of its own, so that the sanitizer sees its end */
			f->exact = malloc((size_t) f->len + 1);
			if (f->exact == NULL)
				elog(ERROR, "out of memory");
			memcpy(f->exact, f->input, f->len);
			f->exact[f->len] = '\0';
			value = InputFunctionCall(&f->in, f->exact, InvalidOid, -1);
			f->accepted[f->kind]++;
			check_value(f, value);
			break;
		case KIND_BINARY:
			initStringInfo(&buffer);
			appendBinaryStringInfo(&buffer, f->input, (int) f->len);
			value = ReceiveFunctionCall(&f->recv, &buffer, InvalidOid, -1);
			f->accepted[f->kind]++;
			check_value(f, value);
			break;
		case KIND_STORED:
			stored = palloc(VARHDRSZ + f->len);
			SET_VARSIZE(stored, VARHDRSZ + f->len);
			memcpy(VARDATA(stored), f->input, f->len);
			value = PointerGetDatum(stored);
			if (!DatumGetBool(FunctionCall1(&f->verify, value)))
				finding(f, "verify is false");
			f->accepted[f->kind]++;
			check_value(f, normal_value(f, value));
			break;
		default:
			break;
	}
}

/* In a subtransaction, so that an error leaves nothing behind. */
static bool
try_safely(Fuzzer *f)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool good = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(f->scratch);
	PG_TRY();
	{
		try_input(f);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(f->scratch);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(f->scratch);
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(error);
		good = false;
		if (!error_allowed(f->kind, error))
			finding(f, psprintf("refused with %s: %s%s%s", unpack_sql_state(error->sqlerrcode),
								error->message, error->detail != NULL ? ": " : "",
								error->detail != NULL ? error->detail : ""));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	free(f->exact);
	f->exact = NULL;
	MemoryContextReset(f->scratch);
	return good;
}

/* ---------- the function ---------- */

static void
look_up(Fuzzer *f, const char *signature, FmgrInfo *info)
{
	Datum procedure = DirectFunctionCall1(regprocedurein, CStringGetDatum(signature));

	fmgr_info_cxt(DatumGetObjectId(procedure), info, f->context);
}

static void
add_seed(Fuzzer *f, const char *text)
{
	static const char *const codecs[] = {"none", "zstd:1", "lz4"};
	Datum value = InputFunctionCall(&f->in, unconstify(char *, text), InvalidOid, -1);
	bytea *sent = SendFunctionCall(&f->send, value);
	int i;

	add_to_pool(f, KIND_TEXT, text, (uint32) strlen(text));
	add_to_pool(f, KIND_BINARY, VARDATA(sent), VARSIZE(sent) - VARHDRSZ);
	for (i = 0; i < (int) lengthof(codecs); i++)
	{
		Datum packed = FunctionCall2(&f->recompress, value, CStringGetTextDatum(codecs[i]));
		struct varlena *bytes = PG_DETOAST_DATUM(packed);

		add_to_pool(f, KIND_STORED, VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ);
	}
}

/* The file that holds the input being tried: a line about it, then its bytes. */
static void
map_current(Fuzzer *f, const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT, 0600);

	if (fd < 0 || ftruncate(fd, ROOM + MAX_INPUT_BYTES) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not make \"%s\": %m", name)));
	f->current = mmap(NULL, ROOM + MAX_INPUT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (f->current == MAP_FAILED)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not map \"%s\": %m", name)));
}

static double
clock_seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}

static char *
summary(Fuzzer *f)
{
	StringInfoData text;
	int kind;

	initStringInfo(&text);
	for (kind = 0; kind < NKINDS; kind++)
		appendStringInfo(&text, "%s " INT64_FORMAT " tried, " INT64_FORMAT " accepted; ",
						 kind_names[kind], f->tried[kind], f->accepted[kind]);
	appendStringInfo(&text,
					 "%d kept, " INT64_FORMAT " of %zu places reached; " INT64_FORMAT " findings",
					 f->npool, f->covered, counters(), f->findings);
	return text.data;
}

PG_FUNCTION_INFO_V1(memory_fuzz);

Datum
memory_fuzz(PG_FUNCTION_ARGS)
{
	double until = clock_seconds() + PG_GETARG_FLOAT8(0);
	Fuzzer *f = palloc0(sizeof(Fuzzer));
	Datum *seeds;
	int nseeds;
	int i;

	f->context = AllocSetContextCreate(CurrentMemoryContext, "fuzz pool", ALLOCSET_DEFAULT_SIZES);
	f->scratch = AllocSetContextCreate(CurrentMemoryContext, "fuzz input", ALLOCSET_DEFAULT_SIZES);
	f->random = (uint64) PG_GETARG_INT64(1) * UINT64CONST(0x9E3779B97F4A7C15) | 1;
	f->pool = palloc0(MAX_POOL * sizeof(Sample));
	f->input = palloc(MAX_INPUT_BYTES);
	f->nseen = counters();
	f->seen = palloc0(Max(f->nseen, 1));
	map_current(f, text_to_cstring(PG_GETARG_TEXT_PP(2)));

	look_up(f, "memory.transcript_in(cstring)", &f->in);
	look_up(f, "memory.transcript_out(memory.transcript)", &f->out);
	look_up(f, "memory.transcript_recv(internal)", &f->recv);
	look_up(f, "memory.transcript_send(memory.transcript)", &f->send);
	look_up(f, "memory.verify(memory.transcript)", &f->verify);
	look_up(f, "memory.to_jsonb(memory.transcript)", &f->to_jsonb);
	look_up(f, "memory.transcript(jsonb)", &f->from_jsonb);
	look_up(f, "memory.slice(memory.transcript,bigint,bigint)", &f->slice);
	look_up(f, "memory.recompress(memory.transcript,text)", &f->recompress);

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, -1, false, TYPALIGN_INT, &seeds, NULL,
					  &nseeds);
	for (i = 0; i < nseeds; i++)
		add_seed(f, TextDatumGetCString(seeds[i]));
	f->nseeds = f->npool;
	if (f->npool == 0)
		ereport(ERROR, (errmsg("there are no seeds")));

	do
	{
		CHECK_FOR_INTERRUPTS();
		choose_input(f);
		snprintf(f->current, ROOM, "%s %u\n", kind_names[f->kind], f->len);
		memcpy(f->current + ROOM, f->input, f->len);
		f->tried[f->kind]++;
		coverage_reset();
		(void) try_safely(f);
		if (coverage_grew(f))
			add_to_pool(f, f->kind, f->input, f->len);
	} while (clock_seconds() < until);
	munmap(f->current, ROOM + MAX_INPUT_BYTES);
	PG_RETURN_TEXT_P(cstring_to_text(summary(f)));
}
