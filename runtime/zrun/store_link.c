#define _GNU_SOURCE
#include "store_link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/fd.h"
#include "base/span.h"

#define TIMEOUT_MS 5000

static int connection = -1;

static int call_once(const struct init_request *request, int fd,
		     struct init_reply *reply, struct ipc_fds *fds)
{
	if (connection < 0)
		connection = ipc_connect("init");
	if (connection < 0) {
		int r = connection;

		connection = -1;
		return r;
	}
	int r = ipc_call(connection, request, sizeof(*request), &fd, fd >= 0,
			 reply, sizeof(*reply), fds, TIMEOUT_MS);

	/* After a failure a late reply could be taken for the next one's. */
	if (r < 0)
		fd_close(&connection);
	return r;
}

static int call(enum init_verb verb, enum init_kind kind, const char *container,
		uint32_t n, int fd, const uint8_t *note, struct ipc_fds *fds)
{
	struct init_request request = {
		.head = { sizeof(request), verb },
		.key = { .kind = kind, .n = n },
	};
	struct init_reply reply;

	text_copy(request.key.container, sizeof(request.key.container),
		  container);
	if (note)
		memcpy(request.note, note, sizeof(request.note));
	int r = call_once(&request, fd, &reply, fds);

	if (r == -ECONNRESET || r == -EPIPE)
		r = call_once(&request, fd, &reply, fds);
	return r < 0 ? r : reply.error;
}

int init_put(enum init_kind kind, const char *container, uint32_t n, int fd,
	     const uint8_t note[INIT_NOTE_SIZE])
{
	return call(INIT_PUT, kind, container, n, fd, note, NULL);
}

static int put_send(const char *container, const uint8_t *note,
		    const struct init_item *item)
{
	struct init_request request = {
		.head = { sizeof(request), INIT_PUT },
		.key = { .kind = item->kind, .n = item->n },
	};

	text_copy(request.key.container, sizeof(request.key.container),
		  container);
	memcpy(request.note, note, sizeof(request.note));
	return ipc_send(connection, &request, sizeof(request), &item->fd, 1);
}

static int put_reply(void)
{
	struct pollfd p = { .fd = connection, .events = POLLIN };
	struct init_reply reply;

	if (poll(&p, 1, TIMEOUT_MS) != 1)
		return -ETIMEDOUT;
	int r = ipc_recv(connection, &reply, sizeof(reply), NULL);

	return r == 1 ? reply.error : r == 0 ? -ECONNRESET : r;
}

/* All requests are sent before the first reply is waited for. */
int init_put_all(const char *container, const uint8_t note[INIT_NOTE_SIZE],
		 const struct init_item *items, int n)
{
	int r = 0;

	if (connection < 0)
		connection = ipc_connect("init");
	if (connection < 0) {
		r = connection;
		connection = -1;
		return r;
	}
	for (int i = 0; r == 0 && i < n; i++)
		r = put_send(container, note, &items[i]);
	for (int i = 0; r == 0 && i < n; i++)
		r = put_reply();
	/* Replies that were not read would be taken for the next one's. */
	if (r < 0)
		fd_close(&connection);
	return r;
}

int init_get(enum init_kind kind, const char *container, uint32_t n)
{
	struct ipc_fds fds = { 0 };
	int r = call(INIT_GET, kind, container, n, -1, NULL, &fds);

	if (r == 0)
		r = fds.n == 1 ? ipc_fds_take(&fds, 0) : -EBADMSG;
	ipc_fds_close(&fds);
	return r;
}

int init_drop(enum init_kind kind, const char *container, uint32_t n)
{
	return call(INIT_DROP, kind, container, n, -1, NULL, NULL);
}
