#define _GNU_SOURCE
#include "pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"

/* #syscalls: pipe2 */

static struct pipe pipes[PIPE_MAX];
static struct pipe *kept; /* open and empty */
static struct pipe *kept_large;
static struct pipe *closed; /* slots given back without descriptors */
static unsigned int n_kept, n_large, n_fresh, n_used, n_max = PIPE_MAX;

/* A slot without descriptors; those never used come last, so that memory is
 * only touched when it is needed. */
static struct pipe *slot_take(void)
{
	struct pipe *p = closed;

	if (p)
		closed = p->next;
	else if (n_fresh < n_max)
		p = &pipes[n_fresh++];
	return p;
}

static void slot_put(struct pipe *p)
{
	p->next = closed;
	closed = p;
}

static void pipe_close(struct pipe *p)
{
	n_large -= p->size == PIPE_LARGE_SIZE;
	fd_close(&p->fd[0]);
	fd_close(&p->fd[1]);
	slot_put(p);
}

static struct pipe *pipe_open(void)
{
	struct pipe *p = slot_take();
	int size;

	if (!p)
		return NULL;
	if (pipe2(p->fd, O_NONBLOCK | O_CLOEXEC) < 0) {
		slot_put(p);
		return NULL;
	}
	if (n_large < PIPE_LARGE_MAX)
		fcntl(p->fd[1], F_SETPIPE_SZ, PIPE_LARGE_SIZE);
	size = fcntl(p->fd[1], F_GETPIPE_SZ);
	p->size = size < 0 ? 0 : (size_t)size;
	n_large += p->size == PIPE_LARGE_SIZE;
	if (p->size < PIPE_SIZE_MIN) {
		pipe_close(p);
		return NULL;
	}
	return p;
}

static struct pipe *kept_take(struct pipe **list)
{
	struct pipe *p = *list;

	if (p) {
		*list = p->next;
		n_kept--;
	}
	return p;
}

static void kept_put(struct pipe **list, struct pipe *p)
{
	p->next = *list;
	*list = p;
	n_kept++;
}

struct pipe *pipe_take(void)
{
	struct pipe *p = kept_take(&kept_large);

	if (!p)
		p = kept_take(&kept);
	if (!p)
		p = pipe_open();
	n_used += p != NULL;
	return p;
}

void pipe_put(struct pipe *p, size_t left)
{
	n_used--;
	if (left || n_kept == PIPE_KEEP)
		pipe_close(p);
	else
		kept_put(p->size == PIPE_LARGE_SIZE ? &kept_large : &kept, p);
}

void pipe_limit(unsigned int n)
{
	n_max = n < PIPE_MAX ? n : PIPE_MAX;
}

unsigned int pipe_used(void)
{
	return n_used;
}

unsigned int pipe_max(void)
{
	return n_max;
}
