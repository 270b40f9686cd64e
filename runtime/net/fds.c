#include "fds.h"

#include <assert.h>

/* Of n descriptors each kind has n / part for itself. */
static const unsigned int part[] = {
	[FDS_HELD] = 16,
	[FDS_FLOWS] = 4,
	[FDS_OUT] = 40,
	[FDS_DATAGRAMS] = 160,
};

_Static_assert(sizeof(part) / sizeof(part[0]) == FDS_KINDS, "one each");

static unsigned int total, used[FDS_KINDS];
static void (*on_given)(void);

void fds_init(unsigned int n, void (*given)(void))
{
	total = n;
	on_given = given;
}

/* What it has, or what is kept for it. */
static unsigned int claim(enum fds_kind kind)
{
	unsigned int own = total / part[kind];

	return used[kind] > own ? used[kind] : own;
}

unsigned int fds_free(enum fds_kind kind)
{
	unsigned int taken = used[kind];

	for (enum fds_kind other = 0; other < FDS_KINDS; other++)
		taken += other == kind ? 0 : claim(other);
	return taken < total ? total - taken : 0;
}

void fds_take(enum fds_kind kind, unsigned int n)
{
	used[kind] += n;
}

void fds_give(enum fds_kind kind, unsigned int n)
{
	assert(used[kind] >= n);
	used[kind] -= n;
	if (on_given)
		on_given();
}
