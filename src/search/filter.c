/*
 * filter.c
 *		What is entered into Bloom filters, and the filters themselves.
 *
 * Elements are hashes; the lowest three bits say in how many bits each is
 * entered.  A word's beginnings are nested: one of five letters is entered with
 * two, three, four and five, so that a query of five letters tests eight bits.
 *
 * Owns no memory and takes no locks.
 */
#include "block.h"

#define PREFIX_BITS 2
#define SIGN_BITS 2
#define PAIR_BITS 3

/* Hundredths of a bit of filter for each bit that is entered: 144 would fill one by half. */
#define FILTER_SPARSENESS 130

#define COUNT_MASK 7

static uint64_t
mix(uint64_t hash)
{
	hash ^= hash >> 32;
	hash *= UINT64_C(0xD6E8FEB86659FD93);
	hash ^= hash >> 32;
	hash *= UINT64_C(0xD6E8FEB86659FD93);
	return hash ^ hash >> 32;
}

static uint64_t
element(uint64_t hash, uint32_t bits)
{
	return (mix(hash) & ~(uint64_t) COUNT_MASK) | bits;
}

/* A word as far as it was read. */
typedef struct WordHash
{
	uint64_t hash;
	uint32_t letters;
} WordHash;

static bool
is_prefix_length(uint32_t letters)
{
	return (letters >= 2 && letters <= 5) || letters == 7 || letters == 10;
}

static void
word_letter(WordHash *word, uint32_t character, SearchEmit emit, void *arg)
{
	if (word->letters == 0)
		word->hash = UINT64_C(0x9E3779B97F4A7C15);
	word->letters++;
	if (word->letters > 10)
		return;
	word->hash = (word->hash ^ character) * UINT64_C(0x9FB21C651E98DF25);
	word->hash ^= word->hash >> 29;
	if (is_prefix_length(word->letters))
		emit(arg, element(word->hash ^ (uint64_t) word->letters << 8, PREFIX_BITS));
}

static void
sign_elements(uint32_t before, uint32_t character, SearchEmit emit, void *arg)
{
	emit(arg, element(UINT64_C(3) << 60 | character, SIGN_BITS));
	if (before != 0)
		emit(arg, element(UINT64_C(2) << 60 | (uint64_t) before << 21 | character, PAIR_BITS));
}

void
search_elements(const char *text, size_t length, SearchEmit emit, void *arg)
{
	const char *end = text + length;
	WordHash word = {0, 0};
	uint32_t before = 0; /* the sign just before; 0: none */

	while (text < end)
	{
		uint32_t character;
		SearchKind kind;

		text += search_decode(text, end, &character);
		kind = search_kind(character);
		if (kind == SEARCH_LETTER)
			word_letter(&word, character, emit, arg);
		else
			word.letters = 0;
		if (kind == SEARCH_SIGN)
			sign_elements(before, character, emit, arg);
		before = kind == SEARCH_SIGN ? character : 0;
	}
}

/* Pieces that begin a word have its beginnings; what is inside of one has none. */
void
search_term_elements(const SearchTerm *term, SearchEmit emit, void *arg)
{
	int i;

	for (i = 0; i < term->npieces; i++)
		if (i > 0 || term->anchored || term->pieces[i].kind == SEARCH_SIGN)
			search_elements(term->pieces[i].text, term->pieces[i].length, emit, arg);
}

/* ---- filters ---- */

uint32_t
search_filter_bytes(const uint64_t *elements, size_t n, uint32_t extra)
{
	uint64_t bits = 0;
	size_t i;

	for (i = 0; i < n; i++)
		bits += (elements[i] & COUNT_MASK) + extra;
	return (uint32_t) ((bits * FILTER_SPARSENESS / 100 + 7) / 8 + 1);
}

static uint32_t
bit_place(uint64_t element, uint32_t i, uint32_t bits)
{
	uint32_t hash = (uint32_t) (element >> 32) + i * ((uint32_t) element | 1);

	return (uint32_t) ((uint64_t) hash * bits >> 32);
}

void
search_filter_add(uint8_t *filter, uint32_t bytes, uint32_t extra, uint64_t element)
{
	uint32_t count = (uint32_t) (element & COUNT_MASK) + extra;
	uint32_t i;

	for (i = 0; i < count; i++)
	{
		uint32_t place = bit_place(element, i, bytes * 8);

		filter[place >> 3] |= (uint8_t) (1 << (place & 7));
	}
}

bool
search_filter_has(const uint8_t *filter, uint32_t bytes, uint32_t extra, uint64_t element)
{
	uint32_t count = (uint32_t) (element & COUNT_MASK) + extra;
	uint32_t i;

	for (i = 0; i < count; i++)
	{
		uint32_t place = bit_place(element, i, bytes * 8);

		if ((filter[place >> 3] >> (place & 7) & 1) == 0)
			return false;
	}
	return true;
}
