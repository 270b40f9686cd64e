#define _GNU_SOURCE
#include "half.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pipe.h"

/* #syscalls: recvfrom sendto splice shutdown write */

enum {
	SMALL_SIZE = PIPE_SIZE_MIN,
	ROUNDS = 4, /* reads for one event: others wait meanwhile */
};

void half_drop(struct half *h)
{
	if (!h->pipe)
		return;
	pipe_put(h->pipe, h->in_pipe);
	h->pipe = NULL;
	h->in_pipe = 0;
}

/* Sends on what is in the pipe. */
static int half_push(struct half *h, int to)
{
	while (h->in_pipe) {
		ssize_t n = splice(h->pipe->fd[0], NULL, to, NULL, h->in_pipe,
				   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		h->in_pipe -= (size_t)n;
	}
	half_drop(h);
	return 0;
}

static char buffer[SMALL_SIZE];

/* Sends from the buffer. Returns how much the receiver took, maybe nothing. */
static ssize_t buffer_send(int to, size_t size)
{
	ssize_t n = send(to, buffer, size, MSG_NOSIGNAL);

	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* Reads at most SMALL_SIZE bytes and sends them; the pipe at hand takes what
 * is not sent. Returns the bytes read; 0 at the end. */
static ssize_t half_copy(struct half *h, int from, int to)
{
	ssize_t n = recv(from, buffer, sizeof(buffer), 0);
	ssize_t sent;

	if (n <= 0)
		return n < 0 ? -errno : 0;
	sent = buffer_send(to, (size_t)n);
	if (sent < 0)
		return sent;
	if (sent < n) {
		size_t rest = (size_t)(n - sent);

		/* Cannot be short: the pipe is empty and takes SMALL_SIZE. */
		if (write(h->pipe->fd[1], buffer + sent, rest) != (ssize_t)rest)
			return -EIO;
		h->in_pipe = rest;
	}
	return n;
}

/* The same without a pipe. Returns the bytes that were carried over. */
static ssize_t half_peek(struct half *h, int from, int to)
{
	ssize_t n = recv(from, buffer, sizeof(buffer), MSG_PEEK);
	ssize_t sent;

	if (n <= 0)
		return n < 0 ? -errno : 0;
	sent = buffer_send(to, (size_t)n);
	if (sent < 0)
		return sent;
	h->blocked = sent < n;
	if (sent == 0)
		return -EAGAIN;
	/* Of TCP, this discards. */
	n = recv(from, NULL, (size_t)sent, MSG_TRUNC);
	return n < 0 ? -errno : n;
}

/* Moves bytes without touching them. Returns how many; 0 at the end. */
static ssize_t half_splice(struct half *h, int from, int to)
{
	ssize_t n = splice(from, NULL, h->pipe->fd[1], NULL, h->pipe->size,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	int error;

	if (n <= 0)
		return n < 0 ? -errno : 0;
	h->in_pipe = (size_t)n;
	error = half_push(h, to);
	return error < 0 ? error : n;
}

/* One read. Returns 1 when more may be had at once, 0 when not, -errno. */
static int half_read(struct half *h, int from, int to, uint64_t *bytes)
{
	ssize_t n;

	if (!h->pipe)
		h->pipe = pipe_take();
	if (!h->pipe)
		n = half_peek(h, from, to);
	else if (h->bulk)
		n = half_splice(h, from, to);
	else
		n = half_copy(h, from, to);
	if (n < 0)
		return n == -EAGAIN || n == -EINTR ? 0 : (int)n;
	if (n == 0)
		h->eof = true;
	*bytes += (uint64_t)n;
	h->bulk = n >= SMALL_SIZE;
	return h->bulk && !half_wants_output(h);
}

int half_run(struct half *h, int from, int to, uint64_t *bytes)
{
	int more = half_push(h, to);

	h->blocked = false;
	if (more == 0 && half_wants_input(h))
		more = 1;
	for (int i = 0; i < ROUNDS && more > 0; i++)
		more = half_read(h, from, to, bytes);
	if (more < 0)
		return more;
	if (!h->in_pipe)
		half_drop(h);
	if (h->eof && !half_wants_output(h) && !h->shut) {
		h->shut = true;
		if (shutdown(to, SHUT_WR) < 0)
			return -errno;
	}
	return 0;
}
