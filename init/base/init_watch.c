#define _GNU_SOURCE
#include "init_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fd.h"
#include "log.h"

enum { EVENT_BATCH = 64, AGAIN_MS = 100 };

static void lost(struct init_watch *w, int code)
{
	int fd = w->watch.fd;

	log_warning("init.sock", "the stream of events ended: %s",
		    code < 0 ? strerror(-code) : "closed by init");
	watch_del(w->loop, &w->watch);
	fd_close(&fd);
	w->lost(w);
}

static void events_ready(struct watch *watch, uint32_t events)
{
	struct init_watch *w = container_of(watch, struct init_watch, watch);

	(void)events;
	for (int i = 0; i < EVENT_BATCH && watch->fd >= 0; i++) {
		struct ipc_fds fds = { 0 };
		struct init_event e;
		int n = ipc_recv(watch->fd, &e, sizeof(e), &fds);

		if (n == -EAGAIN)
			return;
		if (n != 1) {
			lost(w, n);
			return;
		}
		e.key.container[sizeof(e.key.container) - 1] = '\0';
		w->event(w, &e, &fds);
		ipc_fds_close(&fds);
	}
}

static int stream_open(struct init_watch *w)
{
	struct init_request request = {
		.head = { sizeof(request), INIT_WATCH },
		.key.kind = w->kind,
	};
	int fd = ipc_connect("init");
	int error;

	if (fd < 0)
		return fd;
	error = ipc_send(fd, &request, sizeof(request), NULL, 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (error == 0)
		error = watch_add(w->loop, &w->watch, fd, EPOLLIN);
	if (error < 0)
		fd_close(&fd);
	return error;
}

static void again_fire(struct timer *t)
{
	struct init_watch *w = container_of(t, struct init_watch, again);

	if (stream_open(w) < 0)
		init_watch_again(w);
}

void init_watch_again(struct init_watch *w)
{
	timer_set(w->loop, &w->again, AGAIN_MS);
}

int init_watch_open(struct init_watch *w, struct loop *loop)
{
	w->loop = loop;
	w->watch = (struct watch){ .fd = -1, .ready = events_ready };
	w->again = (struct timer){ .fire = again_fire };
	return stream_open(w);
}
