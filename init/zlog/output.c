#define _GNU_SOURCE
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "init/init.h"
#include "reader.h"
#include "source.h"

/* #syscalls: socket connect */

enum { EVENT_BATCH = 16, RECONNECT_MS = 100, ANSWER_MS = 5000 };

static struct loop *loop;
static int init_sock = -1;
static struct watch init_watch = { .fd = -1 };
static struct timer reconnect;

static void event_take(struct init_event *e, struct ipc_fds *fds)
{
	e->key.container[sizeof(e->key.container) - 1] = '\0';
	if (e->head.verb == INIT_EVENT_ADDED && fds->n)
		reader_add(e->key.container, e->key.n, ipc_fds_take(fds, 0));
	else if (e->head.verb == INIT_EVENT_GONE)
		reader_remove(e->key.container, e->key.n);
}

static void init_ready(struct watch *w, uint32_t events)
{
	(void)events;
	for (int i = 0; i < EVENT_BATCH; i++) {
		struct ipc_fds fds = { 0 };
		struct init_event e;
		int n = ipc_recv(w->fd, &e, sizeof(e), &fds);

		if (n == -EAGAIN)
			return;
		if (n != 1) {
			log_warning("init.sock", "connection lost: %s",
				    n ? strerror(-n) : "closed by init");
			watch_del(loop, &init_watch);
			fd_close(&init_sock);
			timer_set(loop, &reconnect, RECONNECT_MS);
			return;
		}
		event_take(&e, &fds);
		ipc_fds_close(&fds);
	}
}

/* Row n of init's services; false past the last. */
static bool service_ask(int sock, uint32_t n)
{
	struct init_request request = {
		.head = { sizeof(request), INIT_SERVICE },
		.key.n = n,
	};
	struct init_service service;
	struct init_reply reply;

	if (ipc_call(sock, &request, sizeof(request), NULL, 0, &reply,
		     sizeof(reply), NULL, ANSWER_MS) < 0 ||
	    reply.error < 0)
		return false;
	memcpy(&service, reply.note, sizeof(service));
	service.name[sizeof(service.name) - 1] = '\0';
	source_service_add(service.name);
	return true;
}

static int init_connect(void)
{
	struct init_request request = {
		.head = { sizeof(request), INIT_WATCH },
		.key.kind = INIT_KIND_OUTPUT,
	};
	int error;

	init_sock = ipc_connect("init");
	if (init_sock < 0)
		return init_sock;
	error = ipc_send(init_sock, &request, sizeof(request), NULL, 0);
	fcntl(init_sock, F_SETFL, O_NONBLOCK);
	init_watch.ready = init_ready;
	if (error == 0)
		error = watch_add(loop, &init_watch, init_sock, EPOLLIN);
	if (error < 0)
		fd_close(&init_sock);
	return error;
}

static void reconnect_fire(struct timer *t)
{
	if (init_connect() < 0)
		timer_set(loop, t, RECONNECT_MS);
}

static void services_learn(void)
{
	autoclose int sock = ipc_connect("init");
	uint32_t n = 0;

	while (sock >= 0 && service_ask(sock, n))
		n++;
}

int output_init(struct loop *on)
{
	int error;

	loop = on;
	reconnect.fire = reconnect_fire;
	services_learn();
	error = init_connect();
	if (error < 0)
		log_error("init.sock",
			  "%s: zlog runs under init, or "
			  "init --supervise",
			  strerror(-error));
	return error;
}
