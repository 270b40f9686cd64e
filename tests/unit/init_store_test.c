/* init's descriptor store, through its socket: puts, quotas, watchers, exits,
 * garbage; and no heap after the start. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ipc.h"
#include "base/path.h"
#include "base/service.h"
#include "init/reaper.h"
#include "init/server.h"
#include "init/store.h"
#include "init/svc.h"
#include "init/verbs.h"
#include "tap.h"

int __sanitizer_install_malloc_and_free_hooks(
	void (*malloc_hook)(const volatile void *, size_t),
	void (*free_hook)(const volatile void *));

static struct loop loop;
static int n_allocations;
static bool serving;
static enum init_verb ended;

static void allocated(const volatile void *p, size_t size)
{
	(void)p;
	(void)size;
	n_allocations += serving;
}

static void freed(const volatile void *p)
{
	(void)p;
}

static void end(enum init_verb how)
{
	ended = how;
}

static void serve(void)
{
	serving = true;
	for (int i = 0; i < 4; i++)
		loop_once(&loop, 0);
	serving = false;
}

/* The reply, with its descriptors in fds. */
static struct init_reply ask(int sock, const struct init_request *request,
			     const int *send_fd, struct ipc_fds *fds)
{
	struct init_reply reply = { .error = -ETIMEDOUT };

	if (ipc_send(sock, request, sizeof(*request), send_fd, !!send_fd) < 0)
		return reply;
	serve();
	if (ipc_recv(sock, &reply, sizeof(reply), fds) != 1)
		reply.error = -ECONNRESET;
	return reply;
}

static struct init_request request_of(enum init_verb verb, enum init_kind kind,
				      const char *container, uint32_t n)
{
	struct init_request r = { .head = { sizeof(r), verb },
				  .key = { .kind = kind, .n = n } };

	snprintf(r.key.container, sizeof(r.key.container), "%s", container);
	return r;
}

static int verb(int sock, enum init_verb v, enum init_kind kind,
		const char *container, uint32_t n)
{
	struct init_request r = request_of(v, kind, container, n);
	struct ipc_fds fds = { 0 };
	int null = v == INIT_PUT ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
	struct init_reply reply = ask(sock, &r, null < 0 ? NULL : &null, &fds);

	ipc_fds_close(&fds);
	if (null >= 0)
		close(null);
	return reply.error;
}

static int connect_nonblocking(void)
{
	int sock = ipc_connect("init");

	fcntl(sock, F_SETFL, O_NONBLOCK);
	serve();
	return sock;
}

static int event_next(int sock, struct init_event *event)
{
	struct ipc_fds fds = { 0 };
	int n;

	serve();
	n = ipc_recv(sock, event, sizeof(*event), &fds);
	ipc_fds_close(&fds);
	return n == 1 ? (int)event->head.verb : n;
}

static void put_get_drop_test(int sock)
{
	struct init_request get = request_of(INIT_GET, INIT_KIND_NETNS, "a", 0);
	struct init_request put = request_of(INIT_PUT, INIT_KIND_NETNS, "a", 0);
	struct ipc_fds fds = { 0 };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct init_reply reply;

	memcpy(put.note, "hello", 6);
	ok(ask(sock, &put, &null, NULL).error == 0, "put");
	ok(verb(sock, INIT_PUT, INIT_KIND_NETNS, "a", 0) == -EEXIST,
	   "the same key again");
	reply = ask(sock, &get, NULL, &fds);
	ok(reply.error == 0 && fds.n == 1 &&
		   !strcmp((char *)reply.note, "hello"),
	   "get gives descriptor and note");
	ipc_fds_close(&fds);
	ok(verb(sock, INIT_DROP, INIT_KIND_NETNS, "a", 0) == 0, "drop");
	ok(verb(sock, INIT_DROP, INIT_KIND_NETNS, "a", 0) == -ENOENT,
	   "and it is gone");
	close(null);
}

static void bad_requests_test(int sock)
{
	struct init_request r = request_of(INIT_PUT, INIT_KIND_NETNS, "a", 0);

	ok(ask(sock, &r, NULL, NULL).error == -EINVAL, "put of nothing");
	ok(verb(sock, INIT_PUT, INIT_KIND_NETNS, "../a", 0) == -EINVAL,
	   "a container that is no id");
	ok(verb(sock, INIT_PUT, 99, "a", 0) == -EINVAL, "no such kind");
	ok(verb(sock, 99, INIT_KIND_TUN, "a", 0) == -ENOSYS, "no such verb");
	ok(verb(sock, 0, INIT_KIND_TUN, "a", 0) == -ENOSYS, "verb 0");
	ok(verb(sock, INIT_PUT, INIT_KIND_PIDFD, "a", 0) == -EBADF,
	   "a pidfd that is none");
	memset(r.key.container, 'a', sizeof(r.key.container));
	ok(ask(sock, &r, NULL, NULL).error == -EINVAL, "a key without end");
}

static void garbage_test(void)
{
	char junk[sizeof(struct init_request)];
	struct ipc_head head = { sizeof(junk), INIT_DROP };
	bool well = true;

	memset(junk, 0xff, sizeof(junk));
	for (size_t size = 1; size < 600; size += 7) {
		int sock = connect_nonblocking();
		char reply[1024];

		send(sock, junk, size < sizeof(junk) ? size : 1, MSG_NOSIGNAL);
		serve();
		well = well && recv(sock, reply, sizeof(reply), 0) == 0;
		close(sock);
	}
	ok(well, "what is not a request ends its connection");
	memcpy(junk, &head, sizeof(head));
	int sock = connect_nonblocking();

	for (int i = 0; i < 3; i++)
		send(sock, junk, sizeof(junk), MSG_NOSIGNAL);
	serve();
	ok(verb(sock, INIT_SERVICE, 0, "", 0) != -ECONNRESET,
	   "a request of nonsense is answered");
	close(sock);
	serve();
}

static void listen_test(int sock)
{
	struct init_request r = request_of(INIT_BIND, INIT_KIND_LISTEN, "w", 1);
	struct init_request get = request_of(INIT_GET, INIT_KIND_LISTEN, "w",
					     1);
	struct ipc_fds fds = { 0 };
	int on = 0;
	socklen_t size = sizeof(on);

	r.bind.address[10] = r.bind.address[11] = 0xff;
	r.bind.address[12] = 127;
	r.bind.address[15] = 1;
	ok(ask(sock, &r, NULL, NULL).error == -EINVAL, "bind to port 0");
	for (r.bind.port = 42000; r.bind.port < 42100; r.bind.port++)
		if (ask(sock, &r, NULL, NULL).error == 0)
			break;
	ok(r.bind.port < 42100, "bind");
	ok(ask(sock, &get, NULL, &fds).error == 0 && fds.n == 1 &&
		   getsockopt(fds.fd[0], SOL_SOCKET, SO_ACCEPTCONN, &on,
			      &size) == 0 &&
		   on,
	   "what is kept listens");
	ipc_fds_close(&fds);
	r.key.n = 2;
	ok(ask(sock, &r, NULL, NULL).error == -EADDRINUSE, "the port is taken");
	verb(sock, INIT_DROP, INIT_KIND_LISTEN, "w", 1);
}

static void watch_test(int sock)
{
	struct init_request w = request_of(INIT_WATCH, INIT_KIND_TUN, "", 0);
	struct init_event event;
	int watcher = connect_nonblocking();

	verb(sock, INIT_PUT, INIT_KIND_TUN, "one", 0);
	ipc_send(watcher, &w, sizeof(w), NULL, 0);
	ok(event_next(watcher, &event) == INIT_EVENT_ADDED &&
		   !strcmp(event.key.container, "one"),
	   "what exists is told");
	ok(event_next(watcher, &event) == INIT_EVENT_SYNCED, "then synced");
	ok(event_next(watcher, &event) == -EAGAIN, "then nothing");
	verb(sock, INIT_PUT, INIT_KIND_TUN, "two", 0);
	verb(sock, INIT_PUT, INIT_KIND_NETNS, "two", 0);
	ok(event_next(watcher, &event) == INIT_EVENT_ADDED &&
		   !strcmp(event.key.container, "two"),
	   "what comes is told");
	verb(sock, INIT_DROP, INIT_KIND_TUN, "one", 0);
	ok(event_next(watcher, &event) == INIT_EVENT_GONE &&
		   !strcmp(event.key.container, "one"),
	   "what goes is told");
	ok(event_next(watcher, &event) == -EAGAIN, "other kinds are not");
	verb(sock, INIT_DROP, INIT_KIND_TUN, "two", 0);
	verb(sock, INIT_DROP, INIT_KIND_NETNS, "two", 0);
	close(watcher);
	serve();
}

/* A watcher that does not read while more changes come than its socket can
 * hold: others work on, and when it reads it ends at the latest state. */
static void slow_watcher_test(int sock)
{
	struct init_request w = request_of(INIT_WATCH, INIT_KIND_TUN, "", 0);
	struct init_request note = request_of(INIT_NOTE, INIT_KIND_TUN, "k", 0);
	struct init_event event = { 0 };
	int watcher = connect_nonblocking();
	bool well = true;
	uint32_t last = 0;

	verb(sock, INIT_PUT, INIT_KIND_TUN, "k", 0);
	ipc_send(watcher, &w, sizeof(w), NULL, 0);
	for (uint32_t i = 1; i <= 3000; i++) {
		memcpy(note.note, &i, sizeof(i));
		well = well && ask(sock, &note, NULL, NULL).error == 0;
	}
	ok(well, "3000 changes beside a watcher that sleeps");
	while (event_next(watcher, &event) > 0)
		if (event.head.verb == INIT_EVENT_ADDED)
			memcpy(&last, event.note, sizeof(last));
	ok(last == 3000, "it ends at the latest (%u)", last);
	for (int i = 0; i < 2 * STORE_ENTRIES && well; i++)
		well = verb(sock, INIT_PUT, INIT_KIND_TUN, "t", 0) == 0 &&
		       verb(sock, INIT_DROP, INIT_KIND_TUN, "t", 0) == 0;
	ok(well, "nor do its tombstones fill the table");
	close(watcher);
	serve();
	verb(sock, INIT_DROP, INIT_KIND_TUN, "k", 0);
}

static void quota_test(int sock)
{
	int n = 0, err;

	while ((err = verb(sock, INIT_PUT, INIT_KIND_NETNS, "q",
			   (uint32_t)n)) == 0)
		n++;
	ok(err == -EDQUOT && n <= STORE_QUOTA_ROOT, "%d entries, then no more",
	   n);
	while (n-- > 0)
		verb(sock, INIT_DROP, INIT_KIND_NETNS, "q", (uint32_t)n);
}

/* As zrun serve makes it: no signal when it ends. */
static pid_t container_make(int *pidfd, int *release)
{
	struct {
		uint64_t flags, pidfd, child_tid, parent_tid, exit_signal,
			stack, stack_size, tls;
	} args = { 0 };
	int pipe_fds[2];
	pid_t pid;

	if (pipe(pipe_fds) < 0)
		return -1;
	args.flags = CLONE_PIDFD;
	args.pidfd = (uint64_t)(uintptr_t)pidfd;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		char c;

		close(pipe_fds[1]);
		_exit(read(pipe_fds[0], &c, 1) == 1 ? 7 : 8);
	}
	close(pipe_fds[0]);
	*release = pipe_fds[1];
	return pid;
}

static void exit_test(int sock)
{
	struct init_request w = request_of(INIT_WATCH, INIT_KIND_PIDFD, "", 0);
	struct init_request put = request_of(INIT_PUT, INIT_KIND_PIDFD, "c", 0);
	struct init_event event;
	struct init_reply reply;
	int pidfd = -1, release = -1, watcher = connect_nonblocking();
	pid_t pid = container_make(&pidfd, &release);

	reply = ask(sock, &put, &pidfd, NULL);
	ok(reply.error == 0 && reply.pid == (uint32_t)pid, "pidfd is kept");
	ok(verb(sock, INIT_DROP, INIT_KIND_PIDFD, "c", 0) == -EBUSY,
	   "a running process cannot be dropped");
	ipc_send(watcher, &w, sizeof(w), NULL, 0);
	ok(event_next(watcher, &event) == INIT_EVENT_ADDED, "it is told");
	event_next(watcher, &event);
	if (write(release, "x", 1) != 1)
		return;
	poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 5000);
	ok(event_next(watcher, &event) == INIT_EVENT_EXITED &&
		   event.exit_code == CLD_EXITED && event.exit_status == 7 &&
		   event.pid == (uint32_t)pid,
	   "its end is told");
	ok(ask(sock, &put, &pidfd, NULL).error == -ESRCH,
	   "what has ended is not kept again");
	ok(verb(sock, INIT_DROP, INIT_KIND_PIDFD, "c", 0) == 0,
	   "the record stays until it is dropped");
	close(pidfd);
	close(release);
	close(watcher);
	serve();
}

static int name(int sock, const char *container, pid_t pid, int n_fds)
{
	struct init_request r = request_of(INIT_NAME, INIT_KIND_PIDFD,
					   container, (uint32_t)pid);
	struct init_reply reply = { 0 };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	ipc_send(sock, &r, sizeof(r), (int[]){ null, null }, n_fds);
	serve();
	ipc_recv(sock, &reply, sizeof(reply), NULL);
	close(null);
	return reply.error;
}

/* A process that ended while it had no name, before init was told the name:
 * how it ended is told all the same. */
static void name_test(int sock)
{
	struct init_request w = request_of(INIT_WATCH, INIT_KIND_PIDFD, "", 0);
	struct init_request put = request_of(INIT_PUT, INIT_KIND_BUD, INIT_BUDS,
					     0);
	struct init_event event;
	int pidfd = -1, release = -1, watcher = connect_nonblocking();
	int putter = connect_nonblocking();
	pid_t pid = container_make(&pidfd, &release);

	put.key.n = (uint32_t)pid;
	ipc_send(watcher, &w, sizeof(w), NULL, 0);
	event_next(watcher, &event);
	ok(ask(putter, &put, &pidfd, NULL).error == 0, "a bud is kept");
	ok(event_next(watcher, &event) == -EAGAIN, "and not told");
	ok(name(putter, "c", pid + 1, 2) == -ENOENT, "no such bud");
	ok(name(putter, "c", pid, 1) == -EINVAL, "no output");
	ok(name(putter, "../c", pid, 2) == -EINVAL, "no id");
	verb(sock, INIT_PUT, INIT_KIND_OUTPUT, "c", 2);
	ok(name(putter, "c", pid, 2) == -EEXIST, "the name is taken");
	ok(verb(sock, INIT_DROP, INIT_KIND_OUTPUT, "c", 1) == -ENOENT,
	   "nothing is left of what failed");
	verb(sock, INIT_DROP, INIT_KIND_OUTPUT, "c", 2);
	ok(write(release, "x", 1) == 1, "it ends");
	poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 5000);
	serve();
	ok(name(putter, "c", pid, 2) == 0, "it gets a name");
	ok(event_next(watcher, &event) == INIT_EVENT_EXITED &&
		   !strcmp(event.key.container, "c") && event.key.n == 0 &&
		   event.exit_code == CLD_EXITED && event.exit_status == 7 &&
		   event.pid == (uint32_t)pid,
	   "its end is told");
	for (uint32_t n = 1; n <= 2; n++)
		ok(verb(sock, INIT_DROP, INIT_KIND_OUTPUT, "c", n) == 0,
		   "output %u was kept", n);
	close(putter);
	serve();
	ok(verb(sock, INIT_DROP, INIT_KIND_PIDFD, "c", 0) == 0,
	   "a named one outlives the connection");
	close(pidfd);
	close(release);
	close(watcher);
	serve();
}

static void bud_end_test(int sock)
{
	struct init_request put = request_of(INIT_PUT, INIT_KIND_BUD, INIT_BUDS,
					     7);
	int pidfd = -1, release = -1;

	pid_t pid = container_make(&pidfd, &release);
	int putter = connect_nonblocking();

	ask(putter, &put, &pidfd, NULL);
	close(putter);
	serve();
	ok(poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 5000) ==
		   1,
	   "a bud is killed when the connection ends that put it");
	serve();
	ok(verb(sock, INIT_DROP, INIT_KIND_BUD, INIT_BUDS, 7) == -ENOENT,
	   "and forgotten");
	ok(waitpid(pid, NULL, WNOHANG | __WALL) < 0 && errno == ECHILD,
	   "and reaped");
	close(release);
	close(pidfd);
	serve();
}

static void orphans_test(void)
{
	int n = 300;

	for (int i = 0; i < n; i++)
		if (fork() == 0)
			_exit(0);
	for (int i = 0; i < 200; i++)
		loop_once(&loop, 10);
	ok(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD,
	   "%d orphans are reaped", n);
}

static void permissions_test(void)
{
	static const struct {
		uid_t uid;
		enum init_verb verb;
		uint32_t kind;
		int err;
	} rows[] = {
		{ 0, INIT_PUT, INIT_KIND_PIDFD, 0 },
		{ UID_ZNODE, INIT_PUT, INIT_KIND_PIDFD, -EPERM },
		{ 0, INIT_NAME, INIT_KIND_PIDFD, 0 },
		{ UID_ZNODE, INIT_NAME, INIT_KIND_PIDFD, -EPERM },
		{ UID_ZNODE, INIT_BIND, INIT_KIND_LISTEN, 0 },
		{ UID_ZNODE, INIT_WATCH, INIT_KIND_PIDFD, 0 },
		{ UID_ZNODE, INIT_WATCH, INIT_KIND_OUTPUT, -EPERM },
		{ UID_ZNODE, INIT_POWEROFF, 0, 0 },
		{ UID_ZNET, INIT_PUT, INIT_KIND_TUN, 0 },
		{ UID_ZNET, INIT_PUT, INIT_KIND_NETNS, -EPERM },
		{ UID_ZNET, INIT_WATCH, INIT_KIND_LISTEN, 0 },
		{ UID_ZNET, INIT_WATCH, INIT_KIND_PIDFD, -EPERM },
		{ UID_ZNET, INIT_BIND, INIT_KIND_LISTEN, -EPERM },
		{ UID_ZNET, INIT_REBOOT, 0, -EPERM },
		{ UID_ZLOG, INIT_WATCH, INIT_KIND_OUTPUT, 0 },
		{ UID_ZLOG, INIT_GET, INIT_KIND_LISTEN, -EPERM },
		{ UID_ZLOG, INIT_DROP, INIT_KIND_OUTPUT, -EPERM },
		{ 1000, INIT_SERVICE, 0, 0 },
		{ 1000, INIT_WATCH, INIT_KIND_LISTEN, -EPERM },
		{ 1000, INIT_WATCH, 4000000000u, -EPERM },
		{ 1000, INIT_POWEROFF, 0, -EPERM },
		{ 1000, INIT_PUT, INIT_KIND_TUN, -EPERM },
	};

	if (geteuid() != 0)
		return;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		ok(verb_allowed(rows[i].uid, rows[i].verb, rows[i].kind) ==
			   rows[i].err,
		   "uid %u, verb %d, kind %u", rows[i].uid, rows[i].verb,
		   rows[i].kind);
}

int main(void)
{
	static const struct svc_row rows[] = {
		{ .name = "none", .argv = { "/nonexistent" } },
	};
	struct svc_setup setup = {
		.loop = &loop, .rows = rows, .n = 1, .cgroup = -1, .kmsg = 2
	};
	char dir[] = "/tmp/zooid-store-XXXXXX";
	int sock;

	if (!mkdtemp(dir))
		return 1;
	setenv("ZOOID_RUN", dir, 1);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	__sanitizer_install_malloc_and_free_hooks(allocated, freed);
	loop_init(&loop);
	store_init(server_changed);
	ok(reaper_init(&loop) == 0 && server_init(&loop, end) == 0 &&
		   svc_init(&setup) == 0,
	   "init's parts start");
	sock = connect_nonblocking();
	put_get_drop_test(sock);
	bad_requests_test(sock);
	garbage_test();
	listen_test(sock);
	watch_test(sock);
	slow_watcher_test(sock);
	quota_test(sock);
	exit_test(sock);
	name_test(sock);
	bud_end_test(sock);
	orphans_test();
	permissions_test();
	ok(verb(sock, INIT_REBOOT, 0, "", 0) == 0 && ended == INIT_REBOOT,
	   "an end is asked for");
	ok(n_allocations == 0, "no heap was used (%d)", n_allocations);
	close(sock);
	path_remove_tree(AT_FDCWD, dir);
	return tap_done();
}
