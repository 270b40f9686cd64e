#include "heap.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
	ARENA_SIZE = 8 << 20,
	CLASSES = 4,
	CLASS_FIRST = 64, /* header included; each is twice the one before */
	HEADER_SIZE = MEM_ALIGNMENT,
};

struct block {
	union {
		uint32_t class; /* while it is taken */
		struct block *next;
	};
};

_Static_assert(sizeof(struct block) <= HEADER_SIZE, "fits before a block");

static _Alignas(MEM_ALIGNMENT) uint8_t arena[ARENA_SIZE];
static size_t arena_used;
static struct block *given[CLASSES];

void *heap_take(unsigned long size)
{
	uint32_t class = 0;
	struct block *b;

	while (class < CLASSES &&
	       (size_t)CLASS_FIRST << class < size + HEADER_SIZE)
		class ++;
	if (class == CLASSES)
		return NULL;
	b = given[class];
	if (b) {
		given[class] = b->next;
	} else {
		if (ARENA_SIZE - arena_used < (size_t)CLASS_FIRST << class)
			return NULL;
		b = (struct block *)(arena + arena_used);
		arena_used += (size_t)CLASS_FIRST << class;
	}
	b->class = class;
	return (uint8_t *)b + HEADER_SIZE;
}

void *heap_take_zeroed(unsigned long n, unsigned long size)
{
	size_t total;
	void *block = NULL;

	if (!__builtin_mul_overflow(n, size, &total))
		block = heap_take(total);
	if (block)
		memset(block, 0, total);
	return block;
}

void heap_give(void *data)
{
	struct block *b = (struct block *)((uint8_t *)data - HEADER_SIZE);
	uint32_t class = b->class;

	b->next = given[class];
	given[class] = b;
}
