/* A connection that sends something that is not a request is closed; so is one
 * that does not read its replies. A stream that falls behind is only ended
 * when the tombstones it holds back are needed for new entries. */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/fd.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/path.h"
#include "base/service.h"
#include "base/span.h"
#include "reaper.h"
#include "store.h"
#include "stream.h"
#include "svc.h"

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
static void (*on_end)(enum init_verb);
static uint64_t complained_ms;

#define for_each_conn(c) \
	for (struct conn *c = conns; c < conns + SERVER_CONNECTIONS; c++)

/* ------------------------------------------------------------ permission */

static uint32_t kinds_watched(uid_t uid)
{
	switch (uid) {
	case UID_ZLOG:
		return 1u << INIT_KIND_OUTPUT;
	case UID_ZNODE:
		return 1u << INIT_KIND_PIDFD | 1u << INIT_KIND_LISTEN;
	case UID_ZNET:
		return 1u << INIT_KIND_LISTEN | 1u << INIT_KIND_TUN;
	default:
		return 0;
	}
}

int server_allowed(uid_t uid, enum init_verb verb, uint32_t kind)
{
	bool allowed = false;

	if (uid == 0 || uid == geteuid())
		return 0;
	switch (verb) {
	case INIT_PUT:
		allowed = uid == UID_ZNET && kind == INIT_KIND_TUN;
		break;
	case INIT_BIND:
		allowed = uid == UID_ZNODE && kind == INIT_KIND_LISTEN;
		break;
	case INIT_GET:
	case INIT_WATCH:
		allowed = kind < 32 && kinds_watched(uid) & 1u << kind;
		break;
	case INIT_NOTE: /* the entry's owner is checked later */
	case INIT_DROP:
		allowed = uid == UID_ZNODE || uid == UID_ZNET;
		break;
	case INIT_SERVICE:
		allowed = true;
		break;
	case INIT_POWEROFF:
	case INIT_REBOOT:
		allowed = uid == UID_ZNODE;
		break;
	}
	return allowed ? 0 : -EPERM;
}

static bool owns(uid_t uid, const struct store_entry *e)
{
	return uid == 0 || uid == geteuid() || uid == e->owner;
}

/* What zrun puts is znode's to note and to drop. */
static bool may_change(uid_t uid, const struct store_entry *e)
{
	return !e->builtin && (owns(uid, e) || uid == UID_ZNODE);
}

/* ---------------------------------------------------------- connections */

static void trim(uint32_t kind)
{
	uint64_t passed = UINT64_MAX;

	for_each_conn(c)
		if (c->watch.fd >= 0 && c->stream.on &&
		    c->stream.kind == kind && c->stream.told < passed)
			passed = c->stream.told;
	store_trim(kind, passed);
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
}

static void conn_refuse(struct conn *c, const char *why)
{
	uint64_t now = clock_ms();

	/* Anyone can make this happen as fast as he likes. */
	if (!complained_ms || now - complained_ms >= 1000) {
		complained_ms = now;
		log_warning("init.sock", "uid %u, pid %d: %s; closed",
			    c->uid, c->pid, why);
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
	for_each_conn(c)
		if (c->watch.fd >= 0 && c->stream.on &&
		    kinds & 1u << c->stream.kind)
			conn_pump(c);
}

/* Ends the streams that hold tombstones back; true if there was one. */
static bool laggards_end(void)
{
	bool any = false;

	for_each_conn(c) {
		if (c->watch.fd < 0 || !c->stream.on ||
		    !store_next(c->stream.kind, c->stream.told))
			continue;
		any = true;
		conn_refuse(c, "reads its events too slowly");
	}
	return any;
}

/* ---------------------------------------------------------------- verbs */

struct call {
	struct conn *conn;
	const struct init_request *request;
	struct ipc_fds *fds;
	struct init_reply *reply;
	int reply_fd; /* not owned; -1: none */
};

static int keep(struct store_new *new, struct store_entry **e)
{
	int err = store_put(new, e);

	if (err == -ENOSPC && laggards_end())
		err = store_put(new, e);
	if (err < 0)
		fd_close(&new->fd);
	return err;
}

/* Only a child of ours that still runs may be kept: of any other process we
 * would never learn how it ended. */
static int child_check(int pidfd, uint32_t *pid)
{
	siginfo_t info = { 0 };
	int n = pidfd_pid(pidfd);

	if (n < 0)
		return n;
	*pid = (uint32_t)n;
	if (waitid(P_PIDFD, (id_t)pidfd, &info,
		   WEXITED | WNOHANG | WNOWAIT | __WALL) < 0)
		return errno == ECHILD ? -ECHILD : -errno;
	return info.si_pid ? -ESRCH : 0;
}

static int verb_put(struct call *call)
{
	const struct init_key *key = &call->request->key;
	struct store_new new = {
		.key = key,
		.note = call->request->note,
		.owner = call->conn->uid,
	};
	struct store_entry *e;
	int err;

	if (call->fds->n != 1)
		return -EINVAL;
	if (key->kind == INIT_KIND_PIDFD) {
		err = child_check(call->fds->fd[0], &new.pid);
		if (err < 0)
			return err;
	}
	new.fd = ipc_fds_take(call->fds, 0);
	err = keep(&new, &e);
	if (err < 0)
		return err;
	call->reply->pid = new.pid;
	if (key->kind == INIT_KIND_PIDFD)
		reaper_watch(e);
	return 0;
}

static int listener_make(const struct init_bind *bind_to)
{
	struct sockaddr_in6 address = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(bind_to->port),
	};
	int backlog = bind_to->backlog ? bind_to->backlog : 4096;
	int on = 1, off = 0;
	autoclose int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC |
				  SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	memcpy(&address.sin6_addr, bind_to->address, 16);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* The address may come later, from DHCP. */
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, backlog) < 0)
		return -errno;
	return fd_take(&fd);
}

static int verb_bind(struct call *call)
{
	struct store_new new = {
		.key = &call->request->key,
		.note = call->request->note,
		.owner = call->conn->uid,
	};
	struct store_entry *e;

	if (new.key->kind != INIT_KIND_LISTEN || !call->request->bind.port)
		return -EINVAL;
	if (store_find(new.key))
		return -EEXIST;
	new.fd = listener_make(&call->request->bind);
	if (new.fd < 0)
		return new.fd;
	return keep(&new, &e);
}

static int verb_note(struct call *call)
{
	struct store_entry *e = store_find(&call->request->key);

	if (!e)
		return -ENOENT;
	if (!may_change(call->conn->uid, e))
		return -EPERM;
	store_note_set(e, call->request->note);
	return 0;
}

static int verb_get(struct call *call)
{
	struct store_entry *e = store_find(&call->request->key);

	if (!e)
		return -ENOENT;
	memcpy(call->reply->note, e->note, sizeof(call->reply->note));
	call->reply->pid = e->pid;
	if (call->conn->uid != UID_ZNODE)
		call->reply_fd = e->fd;
	return 0;
}

static int verb_drop(struct call *call)
{
	struct store_entry *e = store_find(&call->request->key);

	if (!e)
		return -ENOENT;
	if (!may_change(call->conn->uid, e))
		return -EPERM;
	if (e->key.kind == INIT_KIND_PIDFD && e->state == STORE_HELD)
		return -EBUSY;
	store_drop(e);
	return 0;
}

static int verb_watch(struct call *call)
{
	struct conn *c = call->conn;

	stream_begin(&c->stream, call->request->key.kind,
		     c->uid != UID_ZNODE);
	conn_pump(c);
	return 0;
}

static int verb_service(struct call *call)
{
	struct init_service row;
	int err = svc_describe(call->request->key.n, &row);

	if (err == 0)
		memcpy(call->reply->note, &row, sizeof(row));
	return err;
}

static int verb_end(struct call *call)
{
	(void)call;
	return 0; /* after the reply */
}

static int (*const verbs[])(struct call *) = {
	[INIT_PUT] = verb_put,	     [INIT_BIND] = verb_bind,
	[INIT_NOTE] = verb_note,     [INIT_GET] = verb_get,
	[INIT_DROP] = verb_drop,     [INIT_WATCH] = verb_watch,
	[INIT_SERVICE] = verb_service, [INIT_POWEROFF] = verb_end,
	[INIT_REBOOT] = verb_end,
};

static bool has_key(uint32_t verb)
{
	return verb <= INIT_DROP;
}

static int request_check(const struct conn *c, const struct init_request *r)
{
	const struct init_key *key = &r->key;
	uint32_t verb = r->head.verb;

	if (verb == 0 || verb >= sizeof(verbs) / sizeof(*verbs))
		return -ENOSYS;
	if (has_key(verb) || verb == INIT_WATCH) {
		if (key->kind >= INIT_KIND_COUNT)
			return -EINVAL;
	}
	if (has_key(verb)) {
		size_t n = strnlen(key->container, sizeof(key->container));

		if (n == sizeof(key->container) ||
		    !id_valid((struct span){ key->container, n }))
			return -EINVAL;
	}
	return server_allowed(c->uid, verb, key->kind);
}

static void request_serve(struct conn *c, const struct init_request *request,
			  struct ipc_fds *fds)
{
	struct init_reply reply = {
		.head = { sizeof(reply), request->head.verb },
	};
	struct call call = { c, request, fds, &reply, -1 };
	uint32_t verb = request->head.verb;
	int err = request_check(c, request);

	if (err == 0)
		err = verbs[verb](&call);
	if (c->stream.on || c->watch.fd < 0)
		return; /* from now on it only carries events */
	reply.error = err;
	err = ipc_send(c->watch.fd, &reply, sizeof(reply), &call.reply_fd,
		       call.reply_fd >= 0);
	if (err < 0)
		conn_refuse(c, "does not read its replies");
	if (reply.error == 0 &&
	    (verb == INIT_POWEROFF || verb == INIT_REBOOT))
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

/* ------------------------------------------------------------- accepting */

static struct conn *conn_room(uid_t uid)
{
	struct conn *room = NULL;
	int n = 0;

	for_each_conn(c) {
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
	for_each_conn(c)
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
