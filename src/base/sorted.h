/*
 * sorted.h
 *		Finding a key in a sorted array, which may be NULL where it has no elements.
 *
 * compare gets the key and an element, and says how the key compares with it.
 * Plain C, and inline, so that compare is.
 */
#ifndef MEMORY_SORTED_H
#define MEMORY_SORTED_H

#include <stddef.h>

typedef int (*SortedCompare)(const void *key, const void *element);

/* The number of the first of count elements that is not before the key; count: all are. */
static inline size_t
sorted_place(const void *key, const void *elements, size_t count, size_t size,
			 SortedCompare compare)
{
	size_t low = 0;
	size_t high = count;

	while (low < high)
	{
		size_t middle = low + (high - low) / 2;

		if (compare(key, (const char *) elements + middle * size) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The first element that the key compares equal with, NULL: there is none. */
static inline void *
sorted_find(const void *key, const void *elements, size_t count, size_t size, SortedCompare compare)
{
	size_t place = sorted_place(key, elements, count, size, compare);
	const char *element;

	if (place == count)
		return NULL;
	element = (const char *) elements + place * size;
	return compare(key, element) == 0 ? (void *) element : NULL;
}

#endif /* MEMORY_SORTED_H */
