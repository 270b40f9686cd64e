#include "buffer.h"

#include <string.h>

static struct buffer large[BUFFER_LARGE_MAX], small[BUFFER_SMALL_MAX];
static _Alignas(64) uint8_t large_room[BUFFER_LARGE_MAX][BUFFER_LARGE_SIZE];
static _Alignas(64) uint8_t small_room[BUFFER_SMALL_MAX][BUFFER_SMALL_SIZE];
static struct buffer *free_large, *free_small;
static unsigned int large_fresh, small_fresh, large_used, small_used;

struct buffer *buffer_large(void)
{
	struct buffer *b = free_large;

	if (b) {
		free_large = b->next;
	} else if (large_fresh < BUFFER_LARGE_MAX) {
		b = &large[large_fresh];
		b->room = large_room[large_fresh++];
		b->is_large = true;
	} else {
		return NULL;
	}
	large_used++;
	b->data = b->room;
	b->size = 0;
	b->next = NULL;
	return b;
}

struct buffer *buffer_small(void)
{
	struct buffer *b = free_small;

	if (b) {
		free_small = b->next;
	} else if (small_fresh < BUFFER_SMALL_MAX) {
		b = &small[small_fresh];
		b->room = small_room[small_fresh++];
	} else {
		return NULL;
	}
	small_used++;
	b->data = b->room;
	b->size = 0;
	b->next = NULL;
	return b;
}

void buffer_free(struct buffer *b)
{
	struct buffer **list = b->is_large ? &free_large : &free_small;

	if (b->is_large)
		large_used--;
	else
		small_used--;
	b->next = *list;
	*list = b;
}

struct buffer *buffer_compact(struct buffer *b)
{
	struct buffer *to = NULL;

	if (b->is_large && b->size <= BUFFER_SMALL_SIZE)
		to = buffer_small();
	if (!to)
		return b;
	memcpy(to->data, b->data, b->size);
	to->size = b->size;
	buffer_free(b);
	return to;
}

bool buffer_fair(struct buffer_held held)
{
	unsigned int n = BUFFER_LARGE_MAX - large_used;

	if (n <= held.container + BUFFER_LARGE_PASSING)
		return false;
	return held.flow <= (n - held.container - BUFFER_LARGE_PASSING) / 2;
}

bool buffer_container_fair(unsigned int held)
{
	return held < BUFFER_LARGE_MAX - large_used;
}

bool buffer_small_plenty(void)
{
	return small_used < BUFFER_SMALL_MAX - BUFFER_SMALL_FEW;
}

bool buffer_large_plenty(void)
{
	return large_used < BUFFER_LARGE_MAX / 2;
}

static void pbuf_freed(struct pbuf *p)
{
	buffer_free(buffer_of(p));
}

struct pbuf *buffer_pbuf(struct buffer *b, uint8_t *data, uint16_t size)
{
	b->pbuf.custom_free_function = pbuf_freed;
	return pbuf_alloced_custom(PBUF_RAW, size, PBUF_REF, &b->pbuf, data,
				   size);
}

struct buffer *buffer_of(struct pbuf *p)
{
	_Static_assert(offsetof(struct buffer, pbuf) == 0, "p is the buffer");
	return (struct buffer *)p;
}
