#define _GNU_SOURCE
#include "store_link.h"

#include <errno.h>
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
