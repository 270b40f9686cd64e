#define _GNU_SOURCE
#include "store_later.h"

#include <errno.h>
#include <string.h>

#include "ahead.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/span.h"

enum { ASKED_MAX = 64 };

static struct watch watch = { .fd = -1 };
/* A ring of those that wait; NULL: does not any more. */
static struct init_later *asked[ASKED_MAX];
static unsigned first, n_asked;

static void answer(int error)
{
	struct init_later *later = asked[first];

	first = (first + 1) % ASKED_MAX;
	n_asked--;
	if (later)
		later->done(later, error);
}

static void lost(int error)
{
	int fd = watch.fd;

	log_error("init", "connection: %s", strerror(-error));
	watch_del(&resident.loop, &watch);
	fd_close(&fd);
	while (n_asked > 0)
		answer(error);
	ahead_forget(NULL);
}

static void reply_ready(struct watch *w, uint32_t events)
{
	struct init_reply reply;

	(void)w;
	(void)events;
	int r = ipc_recv(watch.fd, &reply, sizeof(reply), NULL);

	if (r != 1 || n_asked == 0)
		lost(r < 0 ? r : -ECONNRESET);
	else
		answer(reply.error);
}

static int begin(void)
{
	if (watch.fd >= 0)
		return 0;
	autoclose int sock = ipc_connect("init");

	if (sock < 0)
		return sock;
	watch.ready = reply_ready;
	int r = watch_add(&resident.loop, &watch, sock, EPOLLIN);

	if (r == 0)
		fd_take(&sock);
	return r;
}

static int send_later(const struct init_request *request, const int *fds,
		      int n_fds, struct init_later *later)
{
	int r = n_asked < ASKED_MAX ? begin() : -EAGAIN;

	if (r == 0)
		r = ipc_send(watch.fd, request, sizeof(*request), fds, n_fds);
	if (r == 0)
		asked[(first + n_asked++) % ASKED_MAX] = later;
	return r;
}

int init_bud_put(uint32_t pid, int pidfd, struct init_later *later)
{
	struct init_request request = {
		.head = { sizeof(request), INIT_PUT },
		.key = { INIT_KIND_BUD, pid, INIT_BUDS },
	};

	return send_later(&request, &pidfd, 1, later);
}

int init_name(const char *container, const uint8_t note[INIT_NOTE_SIZE],
	      uint32_t pid, const int output[2], struct init_later *later)
{
	struct init_request request = {
		.head = { sizeof(request), INIT_NAME },
		.key = { INIT_KIND_PIDFD, pid, "" },
	};

	text_copy(request.key.container, sizeof(request.key.container),
		  container);
	memcpy(request.note, note, sizeof(request.note));
	return send_later(&request, output, 2, later);
}

void init_later_end(const struct init_later *later)
{
	for (int i = 0; i < ASKED_MAX; i++) {
		if (asked[i] == later)
			asked[i] = NULL;
	}
}
