/* Theory of operation. A container's TCP connection to the resolver is ended as
 * any other (out_tcp.c), but led into a socket pair instead of a socket of the
 * node; on its other end questions are read here, one at a time: the next is
 * looked at when the one before it was answered. So a stream has one question
 * with the resolver at most, and who asks much waits for himself only.
 *
 * Who chose the bytes: a container. It must not keep room for nothing (a stream
 * ends when nothing was asked for a while), nor be waited for: one that does
 * not take its answers loses its stream. */
#define _GNU_SOURCE
#include "name_stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "resolver.h"
#include "traffic.h"
#include "tun.h"

/* #syscalls: socketpair recvfrom sendmsg close */

enum {
	STREAM_MAX = 64,
	IDLE_MS = 20000,
	SIZE_BYTES = 2,
};

struct name_stream {
	struct tun *tun; /* NULL: free */
	int fd;
	bool asked; /* the first one in `data`, and not answered yet */
	struct watch watch;
	struct timer idle;
	size_t used;
	uint8_t data[SIZE_BYTES + RESOLVER_QUERY_MAX];
};

static struct loop *loop;
static struct name_stream streams[STREAM_MAX];
static unsigned int n_used;

static void stream_close(struct name_stream *s)
{
	resolver_forget(s);
	watch_del(loop, &s->watch);
	timer_cancel(&s->idle);
	fd_close(&s->fd);
	s->tun->name_streams--;
	s->tun = NULL;
	n_used--;
}

static size_t question_size(const struct name_stream *s)
{
	return (size_t)s->data[0] << 8 | s->data[1];
}

/* Asks what is whole; false when the stream is gone. */
static bool stream_ask(struct name_stream *s)
{
	const struct asker asker = { .tun = s->tun, .stream = s };

	while (!s->asked && s->used >= SIZE_BYTES) {
		size_t size = question_size(s);

		if (size > RESOLVER_QUERY_MAX) {
			s->tun->counts.malformed++;
			stream_close(s);
			return false;
		}
		if (s->used < SIZE_BYTES + size)
			break;
		/* May be answered at once, and then lets go of it. */
		s->asked = true;
		if (resolver_ask(&asker, s->data + SIZE_BYTES, size) < 0) {
			stream_close(s);
			return false;
		}
		if (!s->tun)
			return false;
	}
	/* Who asks on before he is answered is not listened to. */
	watch_events(loop, &s->watch, s->asked ? 0 : EPOLLIN);
	return true;
}

static void question_done(struct name_stream *s)
{
	size_t size = SIZE_BYTES + question_size(s);

	s->used -= size;
	memmove(s->data, s->data + size, s->used);
	s->asked = false;
	timer_set(loop, &s->idle, IDLE_MS);
}

void name_stream_reply(struct name_stream *s, const uint8_t *answer,
		       size_t size)
{
	uint8_t prefix[SIZE_BYTES] = { (uint8_t)(size >> 8), (uint8_t)size };
	struct iovec iov[2] = { { prefix, sizeof(prefix) },
				{ (void *)answer, size } };
	const struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t sent = sendmsg(s->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent != (ssize_t)(sizeof(prefix) + size)) {
		s->tun->counts.dropped++;
		stream_close(s);
		return;
	}
	question_done(s);
	/* The next one is seen to by whoever waits for this: see stream_ask(),
	 * or the loop. */
	watch_events(loop, &s->watch, EPOLLIN | EPOLLOUT);
}

static void stream_ready(struct watch *w, uint32_t events)
{
	struct name_stream *s = container_of(w, struct name_stream, watch);
	ssize_t n;

	if (!s->asked && events & EPOLLOUT && !stream_ask(s))
		return;
	if (s->asked && !(events & (EPOLLHUP | EPOLLERR)))
		return;
	n = recv(s->fd, s->data + s->used, sizeof(s->data) - s->used, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* He has ended, maybe after his last question. */
		if (!s->asked || events & (EPOLLHUP | EPOLLERR))
			stream_close(s);
		return;
	}
	s->used += (size_t)n;
	stream_ask(s);
}

static void idle_fire(struct timer *t)
{
	stream_close(container_of(t, struct name_stream, idle));
}

static struct name_stream *stream_new(struct tun *t)
{
	struct name_stream *s = streams;

	/* One that opens ever more finds less and less room. */
	if (t->name_streams >= STREAM_MAX - n_used)
		return NULL;
	while (s < streams + STREAM_MAX && s->tun)
		s++;
	return s < streams + STREAM_MAX ? s : NULL;
}

int name_stream_open(struct tun *t)
{
	struct name_stream *s = stream_new(t);
	int pair[2], error;

	if (!s)
		return -ENOBUFS;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		       pair) < 0)
		return -errno;
	s->watch = (struct watch){ .fd = -1,
				   .ready = stream_ready,
				   .share = traffic_share(t->traffic) };
	error = watch_add(loop, &s->watch, pair[0], EPOLLIN);
	if (error < 0) {
		close(pair[0]);
		close(pair[1]);
		return error;
	}
	s->tun = t;
	s->fd = pair[0];
	s->asked = false;
	s->used = 0;
	s->idle.fire = idle_fire;
	timer_set(loop, &s->idle, IDLE_MS);
	t->name_streams++;
	n_used++;
	return pair[1];
}

void name_stream_end(struct tun *t)
{
	for (struct name_stream *s = streams; s < streams + STREAM_MAX; s++) {
		if (s->tun == t)
			stream_close(s);
	}
}

void name_stream_init(struct loop *on)
{
	loop = on;
}
