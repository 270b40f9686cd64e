#include "ring.h"

static char at(const struct ring *r, uint64_t place)
{
	return r->data[place % RING_SIZE];
}

uint64_t ring_oldest(const struct ring *r)
{
	if (r->end > r->begin + RING_SIZE)
		return r->end - RING_SIZE;
	return r->begin;
}

void ring_clear(struct ring *r)
{
	r->begin = r->end = r->written = RING_HISTORY;
	r->lost = 0;
}

void ring_put(struct ring *r, struct span text)
{
	size_t start = r->end % RING_SIZE;
	size_t first = RING_SIZE - start;

	if (first > text.size)
		first = text.size;
	memcpy(r->data + start, text.data, first);
	memcpy(r->data, text.data + first, text.size - first);
	r->end += text.size;
}

void ring_put_before(struct ring *r, struct span text)
{
	uint64_t least = r->end > RING_SIZE ? r->end - RING_SIZE : 0;
	size_t room = r->begin > least ? (size_t)(r->begin - least) : 0;
	const char *from = text.data, *end = text.data + text.size;

	if (text.size > room) {
		from = memchr(end - room, '\n', room);
		from = from ? from + 1 : end;
	}
	/* [0, RING_HISTORY) lies in one piece. */
	r->begin -= (uint64_t)(end - from);
	memcpy(r->data + r->begin, from, (size_t)(end - from));
}

struct span ring_at(const struct ring *r, uint64_t *place)
{
	size_t start, size;

	if (*place < ring_oldest(r)) {
		*place = ring_oldest(r);
		while (*place > r->begin && *place < r->end &&
		       at(r, (*place)++) != '\n')
			;
	}
	start = *place % RING_SIZE;
	size = (size_t)(r->end - *place);
	if (size > RING_SIZE - start)
		size = RING_SIZE - start;
	return (struct span){ r->data + start, size };
}

size_t ring_unwritten(struct ring *r, struct span pieces[2])
{
	uint64_t place = r->written, second;

	pieces[0] = ring_at(r, &place);
	r->lost += place - r->written;
	r->written = place;
	second = place + pieces[0].size;
	pieces[1] = ring_at(r, &second);
	return pieces[0].size + pieces[1].size;
}

uint64_t ring_last_lines(const struct ring *r, unsigned int n)
{
	uint64_t place = r->end, oldest = ring_oldest(r);

	while (place > oldest) {
		if (at(r, place - 1) == '\n' && place != r->end && --n == 0)
			return place;
		if (n == 0)
			return r->end;
		place--;
	}
	/* The oldest line is whole only when nothing was overwritten. */
	while (oldest > r->begin && place < r->end && at(r, place++) != '\n')
		;
	return place;
}

static bool is_before(const struct ring *r, uint64_t place, struct span stamp)
{
	for (size_t i = 0; i < stamp.size && place + i < r->end; i++)
		if (at(r, place + i) != stamp.data[i])
			return at(r, place + i) < stamp.data[i];
	return false;
}

uint64_t ring_since(const struct ring *r, uint64_t place, struct span stamp)
{
	while (place < r->end && is_before(r, place, stamp))
		while (place < r->end && at(r, place++) != '\n')
			;
	return place;
}
