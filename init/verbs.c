/* The verbs of init.sock, and who may use which.
 *
 * Whoever can open the socket chose every byte of a request. It must not name
 * what is not his, hold what he has no quota for, or make init wait: what
 * stops him is the table of verbs by uid, the checked key, the owner of each
 * entry, and that no verb does more than a bounded number of system calls that
 * do not block. */
#define _GNU_SOURCE
#include "verbs.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <netinet/in.h>

#include "base/fd.h"
#include "base/service.h"
#include "base/span.h"
#include "boot.h"
#include "names.h"
#include "reaper.h"
#include "server.h"
#include "store.h"
#include "svc.h"

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

int verb_allowed(uid_t uid, enum init_verb verb, uint32_t kind)
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
	case INIT_CLOCK:
		allowed = uid == UID_ZAGENT;
		break;
	case INIT_NAMES:
		allowed = uid == UID_ZNET;
		break;
	case INIT_NAME:
		break;
	}
	return allowed ? 0 : -EPERM;
}

static bool owns(uid_t uid, const struct store_entry *e)
{
	return uid == 0 || uid == geteuid() || uid == e->owner;
}

/* What zrun puts is znode's to note and to drop, where it may watch it: not a
 * network, which says where its container may go. */
static bool may_change(uid_t uid, const struct store_entry *e)
{
	return !e->builtin &&
	       (owns(uid, e) ||
		(uid == UID_ZNODE && kinds_watched(uid) & 1u << e->key.kind));
}

static int keep(struct store_new *new, struct store_entry **e)
{
	int err = store_put(new, e);

	if (err == -ENOSPC && server_laggards_end())
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

static int verb_put(struct verb_call *call)
{
	const struct init_key *key = &call->request->key;
	struct store_new new = {
		.key = key,
		.note = call->request->note,
		.owner = call->uid,
		.from = call->from,
	};
	struct store_entry *e;
	bool is_process = key->kind == INIT_KIND_PIDFD ||
			  key->kind == INIT_KIND_BUD;
	int err;

	if (call->fds->n != 1)
		return -EINVAL;
	if (is_process) {
		err = child_check(call->fds->fd[0], &new.pid);
		if (err < 0)
			return err;
	}
	new.fd = ipc_fds_take(call->fds, 0);
	err = keep(&new, &e);
	if (err < 0)
		return err;
	call->reply->pid = new.pid;
	if (is_process)
		reaper_watch(e);
	return 0;
}

/* One of the two. */
static int output_put(struct verb_call *call, uint32_t n,
		      struct store_entry **e)
{
	struct init_key key = call->request->key;
	struct store_new new = {
		.key = &key,
		.note = call->request->note,
		.owner = call->uid,
		.fd = ipc_fds_take(call->fds, (int)n - 1),
	};

	key.kind = INIT_KIND_OUTPUT;
	key.n = n;
	return keep(&new, e);
}

static int verb_name(struct verb_call *call)
{
	struct init_key bud = { INIT_KIND_BUD, call->request->key.n,
				INIT_BUDS };
	struct init_key key = call->request->key;
	struct store_entry *e = store_find(&bud), *output[2] = { NULL };
	int err = 0;

	if (call->fds->n != 2)
		return -EINVAL;
	if (!e || !e->from)
		return -ENOENT;
	for (uint32_t n = 1; err == 0 && n <= 2; n++)
		err = output_put(call, n, &output[n - 1]);
	key.kind = INIT_KIND_PIDFD;
	key.n = 0;
	if (err == 0)
		err = store_rename(e, &key, call->request->note);
	for (int i = 0; err < 0 && i < 2; i++)
		if (output[i])
			store_drop(output[i]);
	return err;
}

static int listener_make(const struct init_bind *bind_to, int type)
{
	struct sockaddr_in6 address = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(bind_to->port),
	};
	int backlog = bind_to->backlog ? bind_to->backlog : 4096;
	int on = 1, off = 0;
	autoclose int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK,
				  0);

	if (fd < 0)
		return -errno;
	memcpy(&address.sin6_addr, bind_to->address, 16);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	/* Of UDP it would let others take the port. */
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* The address may come later, from DHCP. */
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, backlog) < 0))
		return -errno;
	return fd_take(&fd);
}

static int verb_bind(struct verb_call *call)
{
	struct store_new bound = {
		.key = &call->request->key,
		.note = call->request->note,
		.owner = call->uid,
	};
	struct store_entry *e;

	if (bound.key->kind != INIT_KIND_LISTEN || !call->request->bind.port)
		return -EINVAL;
	if (store_find(bound.key))
		return -EEXIST;
	bool udp = bound.key->n & INIT_LISTEN_UDP;

	bound.fd = listener_make(&call->request->bind,
				 udp ? SOCK_DGRAM : SOCK_STREAM);
	if (bound.fd < 0)
		return bound.fd;
	return keep(&bound, &e);
}

static int verb_note(struct verb_call *call)
{
	struct store_entry *e = store_find(&call->request->key);

	if (!e)
		return -ENOENT;
	if (!may_change(call->uid, e))
		return -EPERM;
	store_note_set(e, call->request->note);
	return 0;
}

static int verb_get(struct verb_call *call)
{
	struct store_entry *e = store_find(&call->request->key);

	if (!e)
		return -ENOENT;
	memcpy(call->reply->note, e->note, sizeof(call->reply->note));
	call->reply->pid = e->pid;
	if (call->uid != UID_ZNODE)
		call->reply_fd = e->fd;
	return 0;
}

static int verb_drop(struct verb_call *call)
{
	struct store_entry *e = store_find(&call->request->key);

	if (!e)
		return -ENOENT;
	if (!may_change(call->uid, e))
		return -EPERM;
	if (e->key.kind == INIT_KIND_PIDFD && e->state == STORE_HELD)
		reaper_look(e);
	if (e->key.kind == INIT_KIND_PIDFD && e->state == STORE_HELD)
		return -EBUSY;
	if (e->key.kind == INIT_KIND_BUD)
		reaper_drop(e);
	else
		store_drop(e);
	return 0;
}

static int verb_watch(struct verb_call *call)
{
	call->watch = true;
	return 0;
}

static int verb_service(struct verb_call *call)
{
	struct init_service row;
	int err = svc_describe(call->request->key.n, &row);

	if (err == 0)
		memcpy(call->reply->note, &row, sizeof(row));
	return err;
}

static int verb_clock(struct verb_call *call)
{
	return boot_clock_set(call->request->clock);
}

static int verb_names(struct verb_call *call)
{
	/* Kept until the next one: it is sent after we return. */
	static int names = -1;

	fd_close(&names);
	names = names_open();
	if (names < 0)
		return names;
	call->reply_fd = names;
	return 0;
}

/* Comes after the reply; see server.c. */
static int verb_end(struct verb_call *call)
{
	(void)call;
	return 0;
}

static int (*const verbs[])(struct verb_call *) = {
	[INIT_PUT] = verb_put,	       [INIT_BIND] = verb_bind,
	[INIT_NOTE] = verb_note,       [INIT_GET] = verb_get,
	[INIT_DROP] = verb_drop,       [INIT_WATCH] = verb_watch,
	[INIT_SERVICE] = verb_service, [INIT_POWEROFF] = verb_end,
	[INIT_REBOOT] = verb_end,      [INIT_CLOCK] = verb_clock,
	[INIT_NAMES] = verb_names,     [INIT_NAME] = verb_name,
};

static bool has_key(uint32_t verb)
{
	return verb <= INIT_DROP || verb == INIT_NAME;
}

static int request_check(uid_t uid, const struct init_request *r)
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
	return verb_allowed(uid, verb, key->kind);
}

int verb_serve(struct verb_call *call)
{
	int err = request_check(call->uid, call->request);

	return err < 0 ? err : verbs[call->request->head.verb](call);
}
