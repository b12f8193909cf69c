/*
 * estimate.c
 *		How many LLM tokens a text has, about.
 *
 * A heuristic for when the caller does not say: it cuts a text into runs
 * where byte-pair tokenizers cut it, and charges each run by its kind, in
 * 1/256 of a token (est_cost below):
 *
 *	word		capitals, then small letters (camelCase is two words), with the
 *				one space before it: a price for up to 5 letters, one for each
 *				letter from 6 to 9, one for each more.  Dearer when joined to
 *				punctuation or digits, all in capitals, or FOREIGN: an accented
 *				letter marks its word and the 15 after it as not English.
 *				Letters beyond Latin-1 cost extra (FAR).
 *	Cyrillic, Arabic (with Hebrew), Indic, other alphabets: a price for the
 *				word and one for each letter
 *	Han, kana, Hangul, wide punctuation, symbols, emoji: each character;
 *				Han costs more near kana
 *	digits		one token for each three
 *	punctuation	a run, and each change of character in it; a single mark
 *				before a letter (LEAD) costs less
 *	newlines	a run of white space up to its last newline; less behind
 *				punctuation (JOINED).  An indent is free, a space before digits
 *				is not, and each 64 bytes of white space cost a token.
 *
 * The prices (but for CAPS and DIGITS, set by hand) were fitted to o200k_base
 * on half of the conversations of eight public collections (of the three
 * largest, a sample) and on half of the Universal Declaration of Human Rights
 * in 27 languages, for scripts that the chats lack.  On the other half, in
 * percent: error of the total, median error of one message; and the same
 * against cl100k_base, an older vocabulary that is poor outside English.
 *
 *										o200k_base		cl100k_base
 *	coding assistant, English			-3.3	2.7		 -4.5	 2.9
 *	LLMs in long talk, English			-0.7	3.3		 -2.2	 2.4
 *	dialogues, English					+0.1	2.7		 -1.5	 1.9
 *	airline agent with tools (JSON)		+1.0	3.1		 +0.5	 2.2
 *	SQL and shell agents, tiny messages	-2.7	6.7		 -0.9	 6.7
 *	long answers: English				+1.1	2.7		 +0.4	 2.5
 *				  German				-1.9	6.5		-17.1	18.3
 *				  French				+2.4	4.2		 -9.3	10.3
 *				  Russian				-1.8	6.3		-40.6	41.6
 *				  Japanese				-0.1	4.1		-22.8	22.6
 *				  Chinese				-0.2	5.2		-26.2	27.5
 *	human-written, 32 languages			-2.2	4.3		-14.5	 9.5
 *	counselling, Chinese				+1.5	5.9		-37.6	37.7
 *
 * The Declaration (o200k_base, total): Arabic +4, Hindi +3, Korean -2,
 * Spanish +6, Portuguese 0, Italian -15, Ukrainian -20, Indonesian -28.  What
 * is written without accents passes for English, and all Cyrillic for Russian;
 * so other languages of these alphabets come out too low.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "store_private.h"

#define EST_ONE 256              /* the cost of one token */
#define EST_BREATH (1024 * 1024) /* bytes between two checks for interrupts */
#define EST_FOREIGN_WORDS 16     /* words that one accented word marks */
#define EST_KANA_CHARS 24        /* characters that one kana marks */

/* What costs something. */
typedef enum EstUnit
{
	/* words of Latin letters: three prices each, see est_word_cost() */
	EST_PLAIN,
	EST_FOREIGN = EST_PLAIN + 3,
	EST_JOINED = EST_FOREIGN + 3,
	EST_CAPS = EST_JOINED + 3,
	EST_FAR = EST_CAPS + 3,
	/* words of other alphabets: the word, and each of its letters */
	EST_CYRILLIC,
	EST_ARABIC = EST_CYRILLIC + 2,
	EST_INDIC = EST_ARABIC + 2,
	EST_OTHER = EST_INDIC + 2,
	/* each character */
	EST_HAN = EST_OTHER + 2,
	EST_HAN_KANA,
	EST_KANA,
	EST_HANGUL,
	EST_WIDE,
	EST_SYMBOL,
	EST_EMOJI,
	/* the rest of ASCII */
	EST_DIGITS,
	EST_PUNCT,
	EST_PUNCT_LEAD,
	EST_PUNCT_CHANGE,
	EST_PUNCT_MORE,
	EST_NEWLINE,
	EST_NEWLINE_JOINED,
	EST_SPACE,
	EST_UNITS,
	EST_LATIN = EST_UNITS /* a class of characters, without a price */
} EstUnit;

/* In 1/256 of a token. */
/* clang-format off */
static const uint16 est_cost[EST_UNITS] = {
	[EST_PLAIN] = 249, 0, 71,
	[EST_FOREIGN] = 234, 59, 69,
	[EST_JOINED] = 251, 50, 49,
	[EST_CAPS] = 250, 45, 110,
	[EST_FAR] = 393,
	[EST_CYRILLIC] = 241, 28,
	[EST_ARABIC] = 220, 49,
	[EST_INDIC] = 22, 90,
	[EST_OTHER] = 0, 106,
	[EST_HAN] = 199, [EST_HAN_KANA] = 283, [EST_KANA] = 158, [EST_HANGUL] = 190,
	[EST_WIDE] = 97, [EST_SYMBOL] = 180, [EST_EMOJI] = 669,
	[EST_DIGITS] = 256,
	[EST_PUNCT] = 266, [EST_PUNCT_LEAD] = 75, [EST_PUNCT_CHANGE] = 89, [EST_PUNCT_MORE] = 89,
	[EST_NEWLINE] = 438, [EST_NEWLINE_JOINED] = 151, [EST_SPACE] = 230,
};
/* clang-format on */

typedef struct Estimate
{
	const unsigned char *at;
	const unsigned char *end;
	uint64 cost;
	int foreign; /* words left that count as not English */
	int kana;    /* characters left that count as Japanese */
	bool spaced; /* white space, or the beginning, comes before */
	bool punct;  /* punctuation comes before */
} Estimate;

#define is_upper(c) ((c) >= 'A' && (c) <= 'Z')
#define is_lower(c) ((c) >= 'a' && (c) <= 'z')
#define is_letter(c) (is_upper(c) || is_lower(c))
#define is_digit(c) ((c) >= '0' && (c) <= '9')
#define is_space(c) ((c) == ' ' || (c) == '\t' || (c) == '\n' || (c) == '\r')
#define is_punct(c) ((c) < 0x80 && !is_letter(c) && !is_digit(c) && !is_space(c))

/* Charge a unit n times. */
static inline void
est_charge(Estimate *est, int unit, uint64 n)
{
	est->cost += n * est_cost[unit];
}

/* The character at p and its length; what is cut short is one byte long. */
static inline uint32
est_char(const unsigned char *p, const unsigned char *end, int *len)
{
	uint32 c = *p;
	int n = c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;

	if (n > end - p)
		n = 1;
	*len = n;
	if (n == 1)
		return c;
	c &= 0x7F >> n;
	for (int i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3F);
	return c;
}

/* First character of each range, and what the range is. */
static const struct
{
	uint32 first;
	EstUnit unit;
} est_ranges[] = {
	{0x80, EST_SYMBOL},   {0xC0, EST_LATIN},    {0x370, EST_OTHER},   {0x400, EST_CYRILLIC},
	{0x530, EST_OTHER},   {0x590, EST_ARABIC},  {0x780, EST_OTHER},   {0x900, EST_INDIC},
	{0xE00, EST_OTHER},   {0x1100, EST_HANGUL}, {0x1200, EST_OTHER},  {0x1E00, EST_LATIN},
	{0x1F00, EST_OTHER},  {0x2000, EST_SYMBOL}, {0x2600, EST_EMOJI},  {0x27C0, EST_SYMBOL},
	{0x3000, EST_WIDE},   {0x3040, EST_KANA},   {0x3130, EST_HANGUL}, {0x3190, EST_WIDE},
	{0x3400, EST_HAN},    {0xA000, EST_OTHER},  {0xAC00, EST_HANGUL}, {0xD800, EST_OTHER},
	{0xF900, EST_HAN},    {0xFB00, EST_ARABIC}, {0xFE00, EST_EMOJI},  {0xFE10, EST_WIDE},
	{0xFE70, EST_ARABIC}, {0xFF00, EST_WIDE},   {0x10000, EST_EMOJI},
};

/* The unit of each 16 characters up to U+FFFF: every range begins at a multiple of 16. */
static uint8 est_blocks[0x10000 / 16];

/* Called once, from _PG_init. */
void
estimate_init(void)
{
	memset(est_blocks, EST_SYMBOL, sizeof(est_blocks));
	for (int i = 0; i < lengthof(est_ranges) - 1; i++)
		memset(est_blocks + est_ranges[i].first / 16, est_ranges[i].unit,
			   (est_ranges[i + 1].first - est_ranges[i].first) / 16);
}

static inline EstUnit
est_class(uint32 c)
{
	return c < 0x10000 ? est_blocks[c / 16] : EST_EMOJI;
}

/* A word costs its first price; letters 6 to 9 the second, more the third. */
static void
est_word_cost(Estimate *est, EstUnit kind, int64 letters)
{
	est_charge(est, kind, 1);
	if (letters > 5)
		est_charge(est, kind + 1, Min(letters, 9) - 5);
	if (letters > 9)
		est_charge(est, kind + 2, letters - 9);
}

/* Latin letters: capitals, then small ones, as tokenizers cut camelCase. */
static void
est_latin(Estimate *est)
{
	const unsigned char *p = est->at;
	int64 upper = 0;
	int64 lower = 0;
	int64 far = 0;
	bool accent = false;

	while (p < est->end)
	{
		uint32 c;
		int len = 1;

		if (is_lower(*p))
			lower++;
		else if (is_upper(*p) && lower == 0)
			upper++;
		else if (*p >= 0xC0 && est_class(c = est_char(p, est->end, &len)) == EST_LATIN)
		{
			lower++;
			far += c >= 0x100;
			accent = true;
		}
		else
			break;
		p += len;
	}
	est->at = p;
	est_charge(est, EST_FAR, far);
	if (accent)
		est->foreign = EST_FOREIGN_WORDS;

	if (lower == 0 && upper > 1)
		est_word_cost(est, EST_CAPS, upper);
	else if (est->foreign > 0)
		est_word_cost(est, EST_FOREIGN, upper + lower);
	else
		est_word_cost(est, est->spaced ? EST_PLAIN : EST_JOINED, upper + lower);
	if (est->foreign > 0)
		est->foreign--;
}

/* A run of digits: one token for each three. */
static void
est_digits(Estimate *est)
{
	const unsigned char *p = est->at;

	while (p < est->end && is_digit(*p))
		p++;
	est_charge(est, EST_DIGITS, (p - est->at + 2) / 3);
	est->at = p;
}

/* ASCII punctuation: one mark joins the word after it, a run is cut where it changes. */
static void
est_punct(Estimate *est)
{
	const unsigned char *p = est->at + 1;
	uint64 changes = 0;

	while (p < est->end && is_punct(*p))
	{
		changes += *p != p[-1];
		p++;
	}
	if (p - est->at == 1 && p < est->end && is_letter(*p))
		est_charge(est, EST_PUNCT_LEAD, 1);
	else
	{
		est_charge(est, EST_PUNCT, 1);
		est_charge(est, EST_PUNCT_CHANGE, changes);
		est_charge(est, EST_PUNCT_MORE, (p - est->at) / 8);
	}
	est->at = p;
}

/* White space: up to the last newline; then an indent, whose last space joins what follows. */
static void
est_white(Estimate *est)
{
	const unsigned char *p = est->at;
	const unsigned char *after = p; /* behind the last newline */

	for (; p < est->end && is_space(*p); p++)
		if (*p == '\n' || *p == '\r')
			after = p + 1;
	if (after > est->at)
		est_charge(est, est->punct ? EST_NEWLINE_JOINED : EST_NEWLINE, 1);
	est->cost += (p - est->at) / 64 * EST_ONE;
	if (p > after && p < est->end && is_digit(*p))
		est_charge(est, EST_SPACE, 1);
	est->at = p;
}

/* Letters of one other alphabet, up to anything else. */
static void
est_alphabet(Estimate *est, EstUnit unit)
{
	int len;

	est_charge(est, unit, 1);
	do
	{
		est_char(est->at, est->end, &len);
		est_charge(est, unit + 1, 1);
		est->at += len;
	} while (est->at < est->end && *est->at >= 0x80 &&
			 est_class(est_char(est->at, est->end, &len)) == unit);
}

/* Whether p is the first byte of one of the most frequent Han, U+4E00 to U+9FFF. */
static inline bool
is_han(const unsigned char *p)
{
	return *p >= 0xE4 && *p <= 0xE9 && (*p > 0xE4 || p[1] >= 0xB8);
}

/* Han come in long runs: those that may be near kana, then the others. */
static void
est_han(Estimate *est)
{
	const unsigned char *p = est->at;
	int64 near;
	int64 n;

	while (est->end - p >= 3 && is_han(p))
		p += 3;
	n = (p - est->at) / 3;
	near = Min(n, Max(est->kana - 1, 0));
	est->kana -= Min(n, est->kana);
	est_charge(est, EST_HAN_KANA, near);
	est_charge(est, EST_HAN, n - near);
	est->at = p;
}

/* Anything outside ASCII. */
static void
est_high(Estimate *est)
{
	int len;
	EstUnit unit;

	if (est->end - est->at >= 3 && is_han(est->at))
	{
		est_han(est);
		return;
	}
	unit = est_class(est_char(est->at, est->end, &len));
	if (unit == EST_LATIN)
		est_latin(est);
	else if (unit >= EST_CYRILLIC && unit < EST_HAN)
		est_alphabet(est, unit);
	else
	{
		if (unit == EST_KANA)
			est->kana = EST_KANA_CHARS;
		else if (est->kana > 0)
			est->kana--;
		est_charge(est, unit == EST_HAN && est->kana > 0 ? EST_HAN_KANA : unit, 1);
		est->at += len;
	}
}

/* One run after the other, to the end of the chunk. */
static void
est_chunk(Estimate *est)
{
	while (est->at < est->end)
	{
		unsigned char c = *est->at;
		bool white = is_space(c);
		bool punct = is_punct(c);

		if (c >= 0x80)
			est_high(est);
		else if (is_letter(c))
			est_latin(est);
		else if (white)
			est_white(est);
		else if (is_digit(c))
			est_digits(est);
		else
			est_punct(est);
		est->spaced = white;
		est->punct = punct;
	}
}

/* Estimated tokens of a UTF-8 text; at least 1 unless it is empty. */
int32
store_estimate_tokens(const char *text, size_t len)
{
	Estimate est = {.at = (const unsigned char *) text, .spaced = true};
	const unsigned char *end = est.at + len;
	uint64 tokens;

	while (est.at < end)
	{
		est.end = est.at + Min(end - est.at, EST_BREATH);
		est_chunk(&est);
		CHECK_FOR_INTERRUPTS();
	}
	tokens = (est.cost + EST_ONE / 2) / EST_ONE;
	return (int32) Min(Max(tokens, len > 0), PG_INT32_MAX);
}

/* The keys of metadata whose values go to a model with the content (formats/README.md). */
static const char *const sent_keys[] = {"tool_calls", "tool_results", "function_call", "parts"};

/* Whether one of the keys may be there: most metadata has none, and is not parsed. */
static bool
may_be_sent(const char *metadata, uint32 length)
{
	for (int i = 0; i < lengthof(sent_keys); i++)
		if (memmem(metadata, length, sent_keys[i], strlen(sent_keys[i])) != NULL)
			return true;
	return false;
}

int32
store_estimate_sent(const char *metadata, uint32 length)
{
	uint64 tokens = 0;
	char *text;
	Jsonb *parsed;

	if (metadata == NULL || !may_be_sent(metadata, length))
		return 0;
	text = pnstrdup(metadata, length);
	parsed = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	for (int i = 0; i < lengthof(sent_keys); i++)
	{
		JsonbValue value;
		Jsonb *sent;
		char *sent_text;

		if (getKeyJsonValueFromContainer(&parsed->root, sent_keys[i], strlen(sent_keys[i]),
										 &value) == NULL ||
			value.type == jbvNull)
			continue;
		sent = JsonbValueToJsonb(&value);
		sent_text = JsonbToCString(NULL, &sent->root, VARSIZE(sent));
		tokens += store_estimate_tokens(sent_text, strlen(sent_text));
		pfree(sent_text);
		pfree(sent);
	}
	pfree(parsed);
	pfree(text);
	return (int32) Min(tokens, PG_INT32_MAX);
}

int32
store_estimate_message(const TranscriptMessage *message)
{
	int64 tokens = (int64) store_estimate_tokens(message->content, message->content_len) +
				   store_estimate_sent(message->metadata, message->metadata_len);

	return (int32) Min(tokens, PG_INT32_MAX);
}

PG_FUNCTION_INFO_V1(memory_estimate_tokens);

/* memory.estimate_tokens(text) → integer: see the top of this file. */
Datum
memory_estimate_tokens(PG_FUNCTION_ARGS)
{
	text *content = PG_GETARG_TEXT_PP(0);
	int32 tokens = store_estimate_tokens(VARDATA_ANY(content), VARSIZE_ANY_EXHDR(content));

	PG_FREE_IF_COPY(content, 0);
	PG_RETURN_INT32(tokens);
}
