/*
 * fold.c
 *		Folding: what makes "Élan" and "elan" one word to search.
 *
 * Each character is replaced by what fold_table.h says: nothing, itself, or up
 * to three others.  Marks that stay (of Kana, Hangul, Indic scripts) are put in
 * canonical order and composed with the character before them, so that text is
 * folded alike in whichever normal form it comes.  Most text needs none of
 * that: runs of ASCII and of ideographs are copied.
 *
 * Owns no memory and takes no locks.
 */
#include <string.h>

#include "fold.h"
#include "fold_table.h"
#include "sorted.h"

/* Marks behind one character that are looked at; more of them stay as they come. */
#define MAX_MARKS 30

#define KIND_MASK 3
#define KIND_JOINS 4

#define NOT_UTF8 0xFFFD

/* Hangul is composed by computation (The Unicode Standard, section 3.12). */
#define HANGUL_FIRST 0xAC00
#define HANGUL_COUNT 11172
#define LEADING_FIRST 0x1100
#define LEADING_COUNT 19
#define VOWEL_FIRST 0x1161
#define VOWEL_COUNT 21
#define TRAILING_FIRST 0x11A7
#define TRAILING_COUNT 28

const char *
search_unicode_version(void)
{
	return FOLD_UNICODE_VERSION;
}

static bool
is_continuation(char byte)
{
	return ((unsigned char) byte & 0xC0) == 0x80;
}

int
search_decode(const char *text, const char *end, uint32_t *character)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first = (unsigned char) *text;
	int length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
	uint32_t code = first;
	int i;

	*character = first;
	if (length == 1)
		return 1;
	*character = NOT_UTF8;
	if (length == 0 || first > 0xF4 || end - text < length)
		return 1;
	code &= 0xFFu >> (length + 1);
	for (i = 1; i < length; i++)
	{
		if (!is_continuation(text[i]))
			return 1;
		code = code << 6 | ((unsigned char) text[i] & 0x3F);
	}
	if (code < smallest[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
		return 1;
	*character = code;
	return length;
}

int
search_encode(uint32_t character, char *out)
{
	if (character < 0x80)
	{
		out[0] = (char) character;
		return 1;
	}
	if (character < 0x800)
	{
		out[0] = (char) (0xC0 | character >> 6);
		out[1] = (char) (0x80 | (character & 0x3F));
		return 2;
	}
	if (character < 0x10000)
	{
		out[0] = (char) (0xE0 | character >> 12);
		out[1] = (char) (0x80 | (character >> 6 & 0x3F));
		out[2] = (char) (0x80 | (character & 0x3F));
		return 3;
	}
	out[0] = (char) (0xF0 | character >> 18);
	out[1] = (char) (0x80 | (character >> 12 & 0x3F));
	out[2] = (char) (0x80 | (character >> 6 & 0x3F));
	out[3] = (char) (0x80 | (character & 0x3F));
	return 4;
}

static uint8_t
kind_bits(uint32_t character)
{
	/* ideographs of planes 2 and 3; behind them are private use and tags */
	if (character >= FOLD_END)
		return character < 0x40000 ? SEARCH_SIGN : SEARCH_SEPARATOR;
	return kind_code[kind_page[character >> 8]][character & 0xFF];
}

SearchKind
search_kind(uint32_t character)
{
	return (SearchKind) (kind_bits(character) & KIND_MASK);
}

/* ---- marks ---- */

static int
compare_with_mark(const void *character, const void *mark)
{
	uint32_t wanted = *(const uint32_t *) character;

	if (wanted < ((const struct FoldMark *) mark)->first)
		return -1;
	return wanted > ((const struct FoldMark *) mark)->last;
}

static uint32_t
mark_order(uint32_t character)
{
	const struct FoldMark *mark =
		sorted_find(&character, fold_marks, sizeof(fold_marks) / sizeof(fold_marks[0]),
					sizeof(fold_marks[0]), compare_with_mark);

	return mark == NULL ? 0 : mark->order;
}

static int
compare_pairs(const void *wanted, const void *pair)
{
	const struct FoldPair *left = wanted;
	const struct FoldPair *right = pair;

	if (left->first != right->first)
		return left->first < right->first ? -1 : 1;
	return left->second < right->second ? -1 : left->second > right->second;
}

/* The one character that two make; 0: none. */
static uint32_t
compose(uint32_t first, uint32_t second)
{
	struct FoldPair wanted = {first, second, 0};
	const struct FoldPair *pair;

	if (first - LEADING_FIRST < LEADING_COUNT && second - VOWEL_FIRST < VOWEL_COUNT)
		return HANGUL_FIRST +
			   ((first - LEADING_FIRST) * VOWEL_COUNT + (second - VOWEL_FIRST)) * TRAILING_COUNT;
	if (first - HANGUL_FIRST < HANGUL_COUNT && (first - HANGUL_FIRST) % TRAILING_COUNT == 0 &&
		second - TRAILING_FIRST - 1 < TRAILING_COUNT - 1)
		return first + (second - TRAILING_FIRST);
	pair = sorted_find(&wanted, fold_pairs, sizeof(fold_pairs) / sizeof(fold_pairs[0]),
					   sizeof(fold_pairs[0]), compare_pairs);
	return pair == NULL ? 0 : pair->result;
}

/*
 * A starter and the marks behind it: the last of these goes where its order
 * belongs, then each that can is composed with the starter.
 */
static int
join_marks(uint32_t *characters, int count)
{
	uint32_t last = characters[count - 1];
	uint32_t order = mark_order(last);
	uint32_t before = 0; /* the order of the last mark that was kept */
	int at = count - 1;
	int kept = 1;
	int i;

	while (order > 0 && at > 1 && mark_order(characters[at - 1]) > order)
	{
		characters[at] = characters[at - 1];
		at--;
	}
	characters[at] = last;
	for (i = 1; i < count; i++)
	{
		uint32_t here = mark_order(characters[i]);
		uint32_t composed = compose(characters[0], characters[i]);

		/* a mark is blocked by one before it of its own order, or by a character */
		if (composed != 0 && (kept == 1 || (before < here && before > 0)))
			characters[0] = composed;
		else
		{
			characters[kept++] = characters[i];
			before = here;
		}
	}
	return kept;
}

/*
 * Puts a character that may join those before it behind the text from begin to
 * out; returns the new end.  *starter: where what it joined begins.
 */
static char *
put_joining(char *begin, char *out, uint32_t character, char **starter)
{
	uint32_t characters[MAX_MARKS + 2];
	char *places[MAX_MARKS + 2];
	char *at = out;
	int count = 0;
	int i;

	/* backwards to the starter */
	while (at > begin && count <= MAX_MARKS)
	{
		do
			at--;
		while (at > begin && is_continuation(*at));
		(void) search_decode(at, out, &characters[count]);
		places[count++] = at;
		if (mark_order(characters[count - 1]) == 0)
			break;
	}
	*starter = out;
	if (count == 0 || count > MAX_MARKS || mark_order(characters[count - 1]) != 0)
		return out + search_encode(character, out);
	for (i = 0; i < count / 2; i++)
	{
		uint32_t swapped = characters[i];

		characters[i] = characters[count - 1 - i];
		characters[count - 1 - i] = swapped;
	}
	out = places[count - 1];
	*starter = out;
	characters[count++] = character;
	count = join_marks(characters, count);
	for (i = 0; i < count; i++)
		out += search_encode(characters[i], out);
	return out;
}

/* ---- text ---- */

/* Where folding is: the end of what is written, and for search_fold_mapped the origins of it. */
typedef struct Folding
{
	char *begin;
	char *out;
	uint32_t *origin; /* NULL: not wanted */
} Folding;

static void
put_origin(Folding *folding, const char *from, const char *to, uint32_t origin)
{
	if (folding->origin != NULL)
		for (; from < to; from++)
			folding->origin[from - folding->begin] = origin;
}

/* Writes one character, at origin in the text, as it is folded. */
static void
fold_character(Folding *folding, uint32_t character, uint32_t origin)
{
	uint16_t code =
		character < FOLD_END ? fold_code[fold_page[character >> 8]][character & 0xFF] : 0;
	const uint32_t *characters = code == 0 ? &character : &fold_sequence[code + 1];
	uint32_t count = code == 0 ? 1 : fold_sequence[code];
	uint32_t i;

	for (i = 0; i < count; i++)
	{
		char *before = folding->out;
		char *starter = before;

		if (kind_bits(characters[i]) & KIND_JOINS)
		{
			folding->out = put_joining(folding->begin, before, characters[i], &starter);
			/* what was joined is where its first character was */
			if (starter < before && folding->origin != NULL)
				origin = folding->origin[starter - folding->begin];
			put_origin(folding, starter, folding->out, origin);
		}
		else
		{
			folding->out += search_encode(characters[i], before);
			put_origin(folding, before, folding->out, origin);
		}
	}
}

static bool
is_ascii16(const char *text)
{
	uint64_t words[2];

	memcpy(words, text, sizeof(words));
	return ((words[0] | words[1]) & UINT64_C(0x8080808080808080)) == 0;
}

/* Copies ASCII, in pieces of 16 bytes, as far as it goes; returns how many bytes. */
static size_t
fold_ascii(const char *text, size_t length, char *out)
{
	size_t done = 0;
	int i;

	while (length - done >= 16 && is_ascii16(text + done))
	{
		for (i = 0; i < 16; i++)
		{
			unsigned char byte = (unsigned char) text[done + i];

			out[done + i] = (char) (byte + ((unsigned char) (byte - 'A') < 26) * 32);
		}
		done += 16;
	}
	return done;
}

/* U+4000 to U+9FFF are folded to themselves. */
static bool
is_ideograph(const char *text, const char *end)
{
	unsigned char first = (unsigned char) *text;

	return first >= 0xE4 && first <= 0xE9 && end - text >= 3 && is_continuation(text[1]) &&
		   is_continuation(text[2]);
}

size_t
search_fold(const char *text, size_t length, char *out)
{
	Folding folding = {out, out, NULL};
	const char *end = text + length;

	while (text < end)
	{
		size_t copied = fold_ascii(text, end - text, folding.out);
		uint32_t character;

		text += copied;
		folding.out += copied;
		while (text < end && is_ideograph(text, end))
		{
			memcpy(folding.out, text, 3);
			text += 3;
			folding.out += 3;
		}
		if (text == end)
			break;
		text += search_decode(text, end, &character);
		if (character < 0x80)
			*folding.out++ =
				(char) (character >= 'A' && character <= 'Z' ? character + 32 : character);
		else
			fold_character(&folding, character, 0);
	}
	return folding.out - out;
}

size_t
search_fold_mapped(const char *text, size_t length, char *out, uint32_t *origin)
{
	Folding folding = {out, out, origin};
	const char *at = text;
	const char *end = text + length;

	while (at < end)
	{
		uint32_t character;
		int bytes = search_decode(at, end, &character);

		fold_character(&folding, character, (uint32_t) (at - text));
		at += bytes;
	}
	origin[folding.out - out] = (uint32_t) length;
	return folding.out - out;
}
