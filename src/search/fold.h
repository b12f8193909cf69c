/*
 * fold.h
 *		How search sees text: letters without case, accents and width.
 *
 * Pure C: no PostgreSQL header, no allocation, no global state, so that a
 * fuzzer can drive it.  The rules come from a table of one version of Unicode,
 * which make_fold_table writes.
 */
#ifndef SEARCH_FOLD_H
#define SEARCH_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a folded character is. */
typedef enum SearchKind
{
	SEARCH_SEPARATOR = 0, /* between words */
	SEARCH_LETTER = 1,    /* of a word, which is found by how it begins */
	SEARCH_SIGN = 2       /* of a script without spaces, or a symbol: found anywhere */
} SearchKind;

/* Space for the folded form of so many bytes. */
#define SEARCH_FOLD_SPACE(length) ((length) *3 + 16)

/* Folds length bytes of UTF-8 into out, which has SEARCH_FOLD_SPACE(length); returns how many. */
extern size_t search_fold(const char *text, size_t length, char *out);

/*
 * The same where it is to be known where each folded byte comes from: origin
 * gets, for each of them and the end, the offset in text of the character that
 * it was made of.  It has space for SEARCH_FOLD_SPACE(length) + 1 numbers.
 */
extern size_t search_fold_mapped(const char *text, size_t length, char *out, uint32_t *origin);

/*
 * Reads the character at text, which ends before end; returns its length.
 * Bytes that are not UTF-8 are one character each, U+FFFD.
 */
extern int search_decode(const char *text, const char *end, uint32_t *character);

/* Writes a character, in at most four bytes; returns their number. */
extern int search_encode(uint32_t character, char *out);

/* The kind of a character that search_fold has written. */
extern SearchKind search_kind(uint32_t character);

/* The version of Unicode that folding goes by. */
extern const char *search_unicode_version(void);

#endif /* SEARCH_FOLD_H */
