/* A pipe is read whenever it has something, also while its source floods: a
 * container writes to a pipe that makes it wait, and must not stand still for
 * its log. Only then there is a pause after each read, so that it cannot take
 * the processor either. */
#define _GNU_SOURCE
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "line.h"
#include "source.h"

/* #syscalls: read */

enum {
	READ_SIZE = 16 * 1024,
	FLOOD_MS = 10,	 /* the pause */
	REMAINDER = 128, /* reads; more than a pipe holds */
};

struct reader {
	int fd;
	uint32_t n;
	char name[ZLOG_NAME_SIZE];
	struct watch watch;
	struct source *source; /* NULL: not in use */
	struct line_part part;
};

static struct loop *loop;
static struct reader readers[READER_MAX];
/* Apart, so that only what is used of them takes memory. */
static char rooms[READER_MAX][LINE_MAX_SIZE];
static struct timer flood_timer;

/* A service says itself who it is. */
static const char *tag_of(const struct reader *r)
{
	return r->source->service ? "" : r->name;
}

static void reader_release(struct reader *r)
{
	struct source *s = r->source;

	watch_del(loop, &r->watch);
	fd_close(&r->fd);
	r->source = NULL;
	if (--s->readers == 0)
		source_end(s);
}

static void reader_end(struct reader *r)
{
	struct span line;

	if (line_rest(&r->part, &line))
		source_line(r->source, tag_of(r), line);
	source_grown(r->source);
	reader_release(r);
}

/* One read. Returns the bytes; 0 when the pipe has ended, or -errno. */
static ssize_t reader_read(struct reader *r)
{
	static char buffer[READ_SIZE];
	ssize_t n = read(r->fd, buffer, sizeof(buffer));
	struct span input = { buffer, n > 0 ? (size_t)n : 0 }, line;

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	while (line_cut(&r->part, &input, &line))
		source_line(r->source, tag_of(r), line);
	source_grown(r->source);
	return n;
}

static void reader_ready(struct watch *w, uint32_t events)
{
	struct reader *r = container_of(w, struct reader, watch);
	ssize_t n = reader_read(r);

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		reader_end(r);
		return;
	}
	if (!source_floods(r->source))
		return;
	watch_events(loop, w, 0);
	if (!flood_timer.deadline_ms)
		timer_set(loop, &flood_timer, FLOOD_MS);
}

static void flood_fire(struct timer *t)
{
	for (struct reader *r = readers; r < readers + READER_MAX; r++) {
		if (r->fd >= 0)
			watch_events(loop, &r->watch, EPOLLIN);
	}
}

static struct reader *reader_find(const char *name, uint32_t n)
{
	for (struct reader *r = readers; r < readers + READER_MAX; r++) {
		if (r->source && r->n == n && strcmp(r->name, name) == 0)
			return r;
	}
	return NULL;
}

static struct reader *reader_make(const char *name, uint32_t n,
				  const struct zlog_keep *keep)
{
	struct reader *r = readers;

	while (r < readers + READER_MAX && r->source)
		r++;
	if (r == readers + READER_MAX)
		return NULL;
	r->source = source_of_output(name, keep);
	if (!r->source)
		return NULL;
	r->source->readers++;
	text_copy(r->name, sizeof(r->name), name);
	r->n = n;
	r->part.size = 0;
	return r;
}

void reader_add(const char *name, uint32_t n, int fd,
		const struct zlog_keep *keep)
{
	struct reader *r = reader_find(name, n);
	int error;

	/* It is there already when init's connection was made anew. */
	if (!r)
		r = reader_make(name, n, keep);
	if (!r) {
		log_warning(name, "output %u is not kept: too many", n);
		fd_close(&fd);
		return;
	}
	watch_del(loop, &r->watch);
	fd_close(&r->fd);
	r->fd = fd;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	error = watch_add(loop, &r->watch, fd, EPOLLIN);
	if (error < 0) {
		log_warning(name, "output %u cannot be watched: %s", n,
			    strerror(-error));
		reader_release(r);
	}
}

void reader_remove(const char *name, uint32_t n)
{
	struct reader *r = reader_find(name, n);

	if (!r)
		return;
	for (int i = 0; i < REMAINDER && reader_read(r) > 0; i++)
		;
	reader_end(r);
}

void reader_init(struct loop *on)
{
	loop = on;
	flood_timer.fire = flood_fire;
	for (struct reader *r = readers; r < readers + READER_MAX; r++) {
		r->fd = r->watch.fd = -1;
		r->watch.ready = reader_ready;
		r->part.data = rooms[r - readers];
	}
}
