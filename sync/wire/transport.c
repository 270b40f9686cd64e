#include "transport.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"

static ssize_t tls_result(struct transport *t, ssize_t n)
{
	if (n == -EAGAIN)
		t->events = tls_events(t->tls);
	return n;
}

ssize_t transport_read(struct transport *t, void *buf, size_t size)
{
	ssize_t n;

	if (t->tls)
		return tls_result(t, tls_read(t->tls, buf, size));
	n = recv(t->fd, buf, size, 0);
	t->events = EPOLLIN;
	if (n >= 0)
		return n;
	return errno == EINTR ? -EAGAIN : -errno;
}

static int flush_plain(struct transport *t)
{
	ssize_t n;

	if (!t->rest)
		return 0;
	n = send(t->fd, t->rest, t->rest_size, MSG_NOSIGNAL);
	t->events = EPOLLOUT;
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if ((size_t)n < t->rest_size) {
		memmove(t->rest, t->rest + n, t->rest_size - (size_t)n);
		t->rest_size -= (size_t)n;
		return -EAGAIN;
	}
	free(ptr_take(&t->rest));
	return 0;
}

int transport_flush(struct transport *t)
{
	return t->tls ? (int)tls_result(t, tls_flush(t->tls)) : flush_plain(t);
}

static int write_plain(struct transport *t, const void *buf, size_t size)
{
	ssize_t n;
	int err = flush_plain(t);

	if (err)
		return err;
	n = send(t->fd, buf, size, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return -errno;
	if (n < 0)
		n = 0;
	if ((size_t)n == size)
		return 0;
	t->rest_size = size - (size_t)n;
	t->rest = malloc(t->rest_size);
	if (!t->rest)
		return -ENOMEM;
	memcpy(t->rest, (const char *)buf + n, t->rest_size);
	return 0;
}

int transport_write(struct transport *t, const void *buf, size_t size)
{
	ssize_t n;

	if (!t->tls)
		return write_plain(t, buf, size);
	n = tls_result(t, tls_write(t->tls, buf, size));
	if (n < 0)
		return (int)n;
	return (size_t)n == size ? 0 : -EMSGSIZE;
}

void transport_idle(struct transport *t)
{
	if (t->tls)
		tls_idle(t->tls);
}

const char *transport_error(const struct transport *t)
{
	return t->tls ? tls_error(t->tls) : "the connection was lost";
}

void transport_close(struct transport *t)
{
	if (t->tls)
		tls_shut(t->tls);
	tls_conn_free(t->tls);
	t->tls = NULL;
	free(ptr_take(&t->rest));
	fd_close(&t->fd);
}
