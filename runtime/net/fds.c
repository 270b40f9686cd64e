#include "fds.h"

#include <assert.h>
#include <stddef.h>

enum { KEPT_PART = 4 }; /* of all, for the holders together */

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
static struct fds_holder *holders;
static unsigned int n_holders;
static unsigned int kept; /* for each holder, */
static unsigned int left; /* of that, what they have not taken, together */

void fds_init(unsigned int n, void (*given)(void))
{
	total = n;
	on_given = given;
}

static unsigned int left_of(const struct fds_holder *h)
{
	return h && h->prevp && h->used < kept ? kept - h->used : 0;
}

static void keep_anew(void)
{
	kept = FDS_KEPT_MAX;
	if (n_holders && total / KEPT_PART / n_holders < kept)
		kept = total / KEPT_PART / n_holders;
	left = 0;
	for (const struct fds_holder *h = holders; h; h = h->next)
		left += left_of(h);
}

void fds_enter(struct fds_holder *h)
{
	h->next = holders;
	h->prevp = &holders;
	if (holders)
		holders->prevp = &h->next;
	holders = h;
	n_holders++;
	keep_anew();
}

void fds_leave(struct fds_holder *h)
{
	if (!h->prevp)
		return;
	*h->prevp = h->next;
	if (h->next)
		h->next->prevp = h->prevp;
	h->prevp = NULL;
	n_holders--;
	keep_anew();
}

/* What it has, or what is kept for it. */
static unsigned int claim(enum fds_kind kind)
{
	unsigned int own = total / part[kind];

	return used[kind] > own ? used[kind] : own;
}

static unsigned int rest(unsigned int taken)
{
	return taken < total ? total - taken : 0;
}

/* Who has not taken what is kept for it can: all others have left that, and the
 * parts of the kinds do not count then. */
unsigned int fds_free(enum fds_kind kind, const struct fds_holder *h)
{
	unsigned int own = left_of(h), others = left - own;
	unsigned int claimed = used[kind] + others;
	unsigned int taken = claim(FDS_HELD) - used[FDS_HELD] + others;

	for (enum fds_kind k = 0; k < FDS_KINDS; k++) {
		claimed += k == kind ? 0 : claim(k);
		taken += used[k];
	}
	if (rest(taken) < own)
		own = rest(taken);
	return rest(claimed) > own ? rest(claimed) : own;
}

static void count(struct fds_holder *h, unsigned int n)
{
	if (!h)
		return;
	left -= left_of(h);
	h->used += n;
	left += left_of(h);
}

void fds_take(enum fds_kind kind, unsigned int n, struct fds_holder *h)
{
	used[kind] += n;
	count(h, n);
}

void fds_give(enum fds_kind kind, unsigned int n, struct fds_holder *h)
{
	assert(used[kind] >= n && (!h || h->used >= n));
	used[kind] -= n;
	count(h, -n);
	if (on_given)
		on_given();
}
