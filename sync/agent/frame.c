#include "frame.h"

#include <errno.h>
#include <stdlib.h>

static void take(void *to, struct span *from, size_t n)
{
	memcpy(to, from->data, n);
	from->data += n;
	from->size -= n;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The head is there: makes room for what it announces. */
static int body_begin(struct frame_reader *r)
{
	r->size = (size_t)r->head[0] << 24 | (size_t)r->head[1] << 16 |
		  (size_t)r->head[2] << 8 | r->head[3];
	r->got = 0;
	if (r->size > FRAME_SIZE_MAX)
		return -E2BIG;
	r->data = malloc(r->size + 1);
	return r->data ? 0 : -ENOMEM;
}

int frame_read(struct frame_reader *r, struct span *bytes, struct frame *frame)
{
	size_t n = least(sizeof(r->head) - r->n_head, bytes->size);
	int err;

	if (r->data && r->got == r->size) { /* was given the last time */
		frame_reset(r);
		n = least(sizeof(r->head), bytes->size);
	}
	if (n) {
		take(r->head + r->n_head, bytes, n);
		r->n_head = (uint8_t)(r->n_head + n);
	}
	if (r->n_head < sizeof(r->head))
		return 0;
	err = r->data ? 0 : body_begin(r);
	if (err < 0)
		return err;
	n = least(r->size - r->got, bytes->size);
	if (n)
		take(r->data + r->got, bytes, n);
	r->got += n;
	if (r->got < r->size)
		return 0;
	r->data[r->size] = '\0';
	frame->type = r->head[4];
	frame->bytes = (struct span){ r->data, r->size };
	return 1;
}

void frame_reset(struct frame_reader *r)
{
	free(r->data);
	*r = (struct frame_reader){ .data = NULL };
}
