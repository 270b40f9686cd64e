#include "pool.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/platform.h>

enum { KEPT_MAX = 32 }; /* of a size; at most 113 KB in all */

static const size_t sizes[] = { 16,  32,  48,  64,  96,	 128,
				192, 256, 384, 512, 768, 1024 };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

struct block {
	struct block *next;
};

static struct {
	struct block *first;
	unsigned n;
} kept[SIZES];

static void *pool_calloc(size_t n, size_t size)
{
	unsigned i = 0;
	struct block *b;
	size_t all;

	if (__builtin_mul_overflow(n, size, &all))
		return NULL;
	while (i < SIZES && sizes[i] < all)
		i++;
	if (i == SIZES)
		return calloc(1, all);
	b = kept[i].first;
	if (!b)
		return calloc(1, sizes[i]);
	kept[i].first = b->next;
	kept[i].n--;
	return memset(b, 0, sizes[i]);
}

/* Into the list of the largest size that the block has room for. */
static void pool_free(void *p)
{
	size_t room = p ? malloc_usable_size(p) : 0;
	unsigned i = SIZES;
	struct block *b = p;

	if (room >= sizes[0] && room < 2 * sizes[SIZES - 1])
		while (sizes[--i] > room)
			;
	if (i == SIZES || kept[i].n == KEPT_MAX) {
		free(p);
		return;
	}
	b->next = kept[i].first;
	kept[i].first = b;
	kept[i].n++;
}

void pool_start(void)
{
	mbedtls_platform_set_calloc_free(pool_calloc, pool_free);
}
