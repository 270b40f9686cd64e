/* A connection that sends something that is not a request is closed; so is one
 * that does not read its replies. A stream that falls behind is only ended
 * when the tombstones it holds back are needed for new entries. */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/path.h"
#include "base/service.h"
#include "reaper.h"
#include "store.h"
#include "stream.h"
#include "verbs.h"

struct conn {
	struct watch watch; /* .fd < 0: free */
	uid_t uid;
	pid_t pid;
	struct stream stream;
};

static struct loop *loop;
static struct watch listener;
static struct timer pump; /* streams have something to tell */
static uint32_t pump_kinds;
static struct conn conns[SERVER_CONNECTIONS];
static struct conn *const conns_end = conns + SERVER_CONNECTIONS;
static void (*on_end)(enum init_verb);
static uint64_t complained_ms;

static void trim(uint32_t kind)
{
	uint64_t passed = UINT64_MAX;

	for (struct conn *c = conns; c < conns_end; c++)
		if (c->watch.fd >= 0 && c->stream.on &&
		    c->stream.kind == kind && c->stream.told < passed)
			passed = c->stream.told;
	store_trim(kind, passed);
}

/* Nobody is left who could say whose it is, though it may run already. */
static void bud_drop(struct store_entry *e)
{
	if (e->state == STORE_HELD)
		syscall(SYS_pidfd_send_signal, e->fd, SIGKILL, NULL, 0);
	reaper_drop(e);
}

static void conn_close(struct conn *c)
{
	int fd = c->watch.fd;
	bool streamed = c->stream.on;

	watch_del(loop, &c->watch);
	fd_close(&fd);
	c->stream.on = false;
	if (streamed)
		trim(c->stream.kind);
	store_buds(c, bud_drop);
}

static void conn_refuse(struct conn *c, const char *why)
{
	uint64_t now = clock_ms();

	/* Anyone can make this happen as fast as he likes. */
	if (!complained_ms || now - complained_ms >= 1000) {
		complained_ms = now;
		log_warning("init.sock", "uid %u, pid %d: %s; closed", c->uid,
			    c->pid, why);
	}
	conn_close(c);
}

static void conn_pump(struct conn *c)
{
	switch (stream_pump(&c->stream, c->watch.fd)) {
	case STREAM_IDLE:
		watch_events(loop, &c->watch, EPOLLIN);
		break;
	case STREAM_FULL:
		watch_events(loop, &c->watch, EPOLLIN | EPOLLOUT);
		break;
	case STREAM_BROKEN:
		conn_close(c);
		return;
	}
	trim(c->stream.kind);
}

/* Changes come in the middle of other work (a request, a reaped child), so
 * they are told from the loop. */
void server_changed(uint32_t kind)
{
	pump_kinds |= 1u << kind;
	if (loop && !pump.deadline_ms)
		timer_set(loop, &pump, 0);
}

static void pump_fire(struct timer *t)
{
	uint32_t kinds = pump_kinds;

	(void)t;
	pump_kinds = 0;
	for (uint32_t kind = 0; kind < INIT_KIND_COUNT; kind++)
		if (kinds & 1u << kind)
			trim(kind);
	for (struct conn *c = conns; c < conns_end; c++)
		if (c->watch.fd >= 0 && c->stream.on &&
		    kinds & 1u << c->stream.kind)
			conn_pump(c);
}

bool server_laggards_end(void)
{
	bool any = false;

	for (struct conn *c = conns; c < conns_end; c++) {
		if (c->watch.fd < 0 || !c->stream.on ||
		    !store_next(c->stream.kind, c->stream.told))
			continue;
		any = true;
		conn_refuse(c, "reads its events too slowly");
	}
	return any;
}

static void request_serve(struct conn *c, const struct init_request *request,
			  struct ipc_fds *fds)
{
	struct init_reply reply = {
		.head = { sizeof(reply), request->head.verb },
	};
	struct verb_call call = { .uid = c->uid,
				  .request = request,
				  .fds = fds,
				  .reply = &reply,
				  .from = c,
				  .reply_fd = -1 };
	uint32_t verb = request->head.verb;
	int err;

	reply.error = verb_serve(&call);
	if (c->watch.fd < 0)
		return; /* a laggard that made room for itself */
	if (call.watch) {
		stream_begin(&c->stream, request->key.kind,
			     c->uid != UID_ZNODE);
		conn_pump(c);
		return; /* from now on it only carries events */
	}
	err = ipc_send(c->watch.fd, &reply, sizeof(reply), &call.reply_fd,
		       call.reply_fd >= 0);
	if (err < 0)
		conn_refuse(c, "does not read its replies");
	if (reply.error == 0 && (verb == INIT_POWEROFF || verb == INIT_REBOOT))
		on_end(verb);
}

static void conn_ready(struct watch *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, watch);
	struct init_request request;
	struct ipc_fds fds = { 0 };
	int n;

	if (c->stream.on && events & EPOLLOUT) {
		conn_pump(c);
		if (c->watch.fd < 0 || !(events & (EPOLLIN | EPOLLHUP)))
			return;
	}
	n = ipc_recv(w->fd, &request, sizeof(request), &fds);
	if (n == -EAGAIN)
		return;
	if (n == 0 || n == -ECONNRESET)
		conn_close(c);
	else if (n < 0)
		conn_refuse(c, "sent what is not a request");
	else if (c->stream.on)
		conn_refuse(c, "spoke on a connection of events");
	else
		request_serve(c, &request, &fds);
	ipc_fds_close(&fds);
}

static struct conn *conn_room(uid_t uid)
{
	struct conn *room = NULL;
	int n = 0;

	for (struct conn *c = conns; c < conns_end; c++) {
		if (c->watch.fd < 0)
			room = c;
		else if (c->uid == uid)
			n++;
	}
	return uid != 0 && n >= SERVER_PER_UID ? NULL : room;
}

static void listener_ready(struct watch *w, uint32_t events)
{
	uid_t uid = 0;
	pid_t pid = 0;
	struct conn *c;
	int fd = ipc_accept(w->fd, &uid, &pid);

	(void)events;
	if (fd < 0)
		return;
	c = conn_room(uid);
	if (!c) {
		fd_close(&fd);
		return;
	}
	c->uid = uid;
	c->pid = pid;
	c->stream = (struct stream){ 0 };
	c->watch.ready = conn_ready;
	if (watch_add(loop, &c->watch, fd, EPOLLIN) < 0)
		fd_close(&fd);
}

int server_init(struct loop *l, void (*end)(enum init_verb))
{
	char path[108];
	int fd;

	loop = l;
	on_end = end;
	pump.fire = pump_fire;
	for (struct conn *c = conns; c < conns_end; c++)
		c->watch.fd = -1;
	snprintf(path, sizeof(path), "%s/init.sock", path_run());
	fd = ipc_listen(path, 0666, (uid_t)-1);
	if (fd < 0) {
		log_error(path, "cannot listen: %s", strerror(-fd));
		return fd;
	}
	listener.ready = listener_ready;
	return watch_add(loop, &listener, fd, EPOLLIN);
}
