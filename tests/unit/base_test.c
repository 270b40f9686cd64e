/* init/base: spans, files, paths, the loop, local sockets - on the real
 * kernel, in a directory of its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/fd.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/path.h"
#include "base/span.h"
#include "base/stamp.h"
#include "tap.h"

static void numbers_test(void)
{
	static const struct {
		const char *text;
		uint64_t max;
		int err;
		uint64_t value;
	} rows[] = {
		{ "0", 10, 0, 0 },
		{ "10", 10, 0, 10 },
		{ "11", 10, -ERANGE, 0 },
		{ "", 10, -EINVAL, 0 },
		{ "-1", 10, -EINVAL, 0 },
		{ " 1", 10, -EINVAL, 0 },
		{ "1x", 10, -EINVAL, 0 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t v = 0;
		int err = span_u64(span_of(rows[i].text), rows[i].max, &v);

		ok(err == rows[i].err && v == rows[i].value,
		   "number \"%s\" up to %llu", rows[i].text,
		   (unsigned long long)rows[i].max);
	}
}

static void seconds_test(void)
{
	static const struct {
		const char *text;
		int err;
		uint64_t value;
	} rows[] = {
		{ "90", 0, 90 },	 { "90s", 0, 90 },
		{ "15m", 0, 900 },	 { "24h", 0, 86400 },
		{ "366d", 0, 31622400 }, { "0s", 0, 0 },
		{ "367d", -ERANGE, 0 },	 { "", -EINVAL, 0 },
		{ "d", -EINVAL, 0 },	 { "-1s", -EINVAL, 0 },
		{ "1.5h", -EINVAL, 0 },	 { "5w", -EINVAL, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t v = 0;
		int err = span_seconds(span_of(rows[i].text), &v);

		ok(err == rows[i].err && (err || v == rows[i].value),
		   "time \"%s\"", rows[i].text);
	}
}

/* Now is 2026-11-26T19:00:00Z. */
static void since_test(void)
{
	static const struct {
		const char *text;
		uint64_t ms; /* 0: none */
	} rows[] = {
		{ "90", 1795719510000 },
		{ "10m", 1795719000000 },
		{ "1h30m", 1795714200000 },
		{ "1d1h1m1s", 1795629539000 },
		{ "2026-11-26T18:50:00Z", 1795719000000 },
		{ "2026-11-26T18:50:00.25Z", 1795719000250 },
		{ "2026-11-26T18:50:00.123456789z", 1795719000123 },
		{ "2026-11-26T20:50:00+02:00", 1795719000000 },
		{ "2026-11-26T13:20:00-05:30", 1795719000000 },
		{ "1970-01-01T00:00:01Z", 1000 },
		{ "2016-12-31T23:59:60Z", 1483228800000 },
		{ "2024-02-29T00:00:00Z", 1709164800000 },
		{ "9999-12-31T23:59:59.999Z", 253402300799999 },
		{ "366d366d366d366d366d366d366d366d366d366d", 1479495600000 },
		{ "9999-12-31T23:59:59-00:01", 0 },
		{ "0000-01-01T00:00:00Z", 0 },
		{ "1970-01-01T00:00:00+00:01", 0 },
		{ "367d", 0 },
		{ "18446744073709551616", 0 },
		{ "nan", 0 },
		{ "0x10", 0 },
		{ "1e3", 0 },
		{ "1m-1s", 0 },
		{ "", 0 },
		{ "m", 0 },
		{ "1h30", 0 },
		{ "30m1", 0 },
		{ "1w", 0 },
		{ "-1m", 0 },
		{ "yesterday", 0 },
		{ "2026-11-26", 0 },
		{ "2026-11-26T18:50:00", 0 },
		{ "2026-13-26T18:50:00Z", 0 },
		{ "2026-00-26T18:50:00Z", 0 },
		{ "2026-11-31T18:50:00Z", 0 },
		{ "2026-02-29T18:50:00Z", 0 },
		{ "2026-11-00T18:50:00Z", 0 },
		{ "2026-11-26T18:60:00Z", 0 },
		{ "2026-11-26T18:50:61Z", 0 },
		{ "2026-11-26T24:50:00Z", 0 },
		{ "2026-11-26T18:50:00.Z", 0 },
		{ "2026-11-26T18:50:00Zz", 0 },
		{ "2026-11-26T18:50:00+2:00", 0 },
		{ "1969-12-31T23:59:59Z", 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t ms = 0;
		int r = since_read(span_of(rows[i].text), 1795719600000, &ms);

		ok(rows[i].ms ? r == 0 && ms == rows[i].ms : r == -EINVAL,
		   "since \"%s\": %llu", rows[i].text, (unsigned long long)ms);
	}
}

static void ids_test(void)
{
	static const struct {
		const char *text;
		bool valid;
	} rows[] = {
		{ "web", true },  { "web-1", true }, { "", false },
		{ "Web", false }, { "a/b", false },  { "..", false },
		{ "a_b", false },
	};
	char longest[65] = "";

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		ok(id_valid(span_of(rows[i].text)) == rows[i].valid,
		   "id \"%s\"", rows[i].text);
	memset(longest, 'a', 63);
	ok(id_valid(span_of(longest)), "id of 63 bytes");
	memset(longest, 'a', 64);
	ok(!id_valid(span_of(longest)), "id of 64 bytes is too long");
}

static void cut_test(void)
{
	struct span rest = span_of("a,,b"), token;
	char small[2];

	ok(span_cut(&rest, ',', &token) && span_is(token, "a"), "cut first");
	ok(span_cut(&rest, ',', &token) && token.size == 0, "cut empty");
	ok(span_cut(&rest, ',', &token) && span_is(token, "b"), "cut last");
	ok(!span_cut(&rest, ',', &token), "cut used up");
	ok(span_copy(small, sizeof(small), span_of("ab")) == -ENAMETOOLONG &&
		   small[0] == '\0',
	   "copy that does not fit leaves nothing");
	ok(span_copy(small, sizeof(small), (struct span){ "\0", 1 }) == -EINVAL,
	   "copy of a NUL byte is refused");
	ok(text_copy(small, sizeof(small), "xyz") == 3 && !strcmp(small, "x"),
	   "text is cut and terminated");
}

static bool file_is(int dir, const char *name, const char *want)
{
	autofree char *data = NULL;
	size_t n;

	return file_read(dir, name, 100, &data, &n) == 0 && n == strlen(want) &&
	       !memcmp(data, want, n);
}

static void files_test(int dir)
{
	autofree char *data = NULL;
	struct stat st;
	size_t n;

	ok(file_replace(dir, "f", 0640, "one", 3) == 0 &&
		   file_is(dir, "f", "one"),
	   "file made");
	ok(file_replace(dir, "f", 0640, "two", 3) == 0 &&
		   file_is(dir, "f", "two"),
	   "file replaced");
	ok(fstatat(dir, "f", &st, 0) == 0 && (st.st_mode & 07777) == 0640,
	   "mode set whatever the umask");
	ok(mkdirat(dir, "sub", 0755) == 0 &&
		   file_replace(dir, "sub/g", 0600, "", 0) == 0 &&
		   file_is(dir, "sub/g", ""),
	   "empty file in a folder");
	ok(file_replace(dir, "none/g", 0600, "", 0) == -ENOENT,
	   "no folder, no file");
	ok(file_read(dir, "f", 2, &data, &n) == -EFBIG, "file above the bound");
	ok(file_read(dir, "absent", 2, &data, &n) == -ENOENT, "absent file");
}

static void full_disk_test(int dir)
{
	autoclose int fd = openat(dir, "/dev/full", O_WRONLY | O_CLOEXEC);

	ok(fd_write(fd, "x", 1) == -ENOSPC, "a full device is told");
}

static void memfd_test(void)
{
	autofree char *data = NULL;
	size_t n = 0;
	autoclose int sealed = memfd_sealed("t", "abc", 3);
	autoclose int open = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ok(memfd_read(sealed, 3, &data, &n) == 0 && n == 3 &&
		   !memcmp(data, "abc", 4),
	   "sealed memfd read, terminated");
	ok(write(sealed, "x", 1) < 0 && errno == EPERM,
	   "sealed memfd cannot be written");
	free(ptr_take(&data));
	ok(memfd_read(sealed, 2, &data, &n) == -EFBIG, "memfd above the bound");
	ok(memfd_read(open, 9, &data, &n) == -EPERM, "unsealed memfd refused");
	ok(memfd_read(STDIN_FILENO, 9, &data, &n) == -EPERM,
	   "what is no memfd is refused");
}

static bool opens(int dir, const char *path, int want)
{
	int fd = path_open_beneath(dir, path, O_RDONLY, 0);
	int err = fd < 0 ? fd : 0;

	fd_close(&fd);
	return err == want;
}

/* A directory "deep" of as many levels, each with a file and, in the way of
 * what removal does, a second directory. */
static int nest(int dir, int levels)
{
	autoclose int fd = fcntl(dir, F_DUPFD_CLOEXEC, 0);

	for (int i = 0; i < levels; i++) {
		const char *name = i ? "level" : "deep";
		int next;

		if (mkdirat(fd, name, 0700) < 0 ||
		    mknodat(fd, i ? "file" : "deep.file", S_IFREG, 0) < 0 ||
		    (i && mkdirat(fd, ".removed.0", 0700) < 0))
			return -errno;
		next = openat(fd, name, O_RDONLY | O_DIRECTORY);
		if (next < 0)
			return -errno;
		fd_close(&fd);
		fd = next;
	}
	return 0;
}

static void paths_test(int dir)
{
	ok(path_mkdirs(dir, "a/b/c", 0755) == 0 &&
		   path_mkdirs(dir, "a/b/c", 0755) == 0,
	   "mkdirs twice");
	symlinkat("/etc", dir, "abs");
	symlinkat("../..", dir, "a/up");
	symlinkat("b", dir, "a/in");
	ok(opens(dir, "a/b", 0), "beneath");
	ok(opens(dir, "a/in/c", 0), "link that stays beneath");
	ok(opens(dir, "abs/passwd", -EXDEV), "absolute link refused");
	ok(opens(dir, "a/up", -EXDEV), "link upwards refused");
	ok(opens(dir, "../x", -EXDEV), "dot-dot refused");
	ok(opens(dir, "/etc", -EXDEV), "absolute path refused");
	ok(path_remove_tree(dir, "a") == 0 && faccessat(dir, "a", F_OK, 0) < 0,
	   "tree removed");
	ok(path_remove_tree(dir, "a") == 0, "absent tree is removed");
	ok(path_remove_tree(dir, "abs") == 0 && access("/etc", F_OK) == 0,
	   "a link is removed, not followed");
	ok(nest(dir, 1100) == 0 && path_remove_tree(dir, "deep") == 0 &&
		   faccessat(dir, "deep", F_OK, 0) < 0,
	   "a tree deeper than descriptors reach is removed");
}

struct pair {
	struct watch watch[2];
	struct loop loop;
	int n_delivered;
};

static struct pair pair;

static void delete_other(struct watch *w, uint32_t events)
{
	(void)events;
	pair.n_delivered++;
	watch_del(&pair.loop, w == pair.watch ? w + 1 : w - 1);
	watch_del(&pair.loop, w);
}

static char fired[8];

static void fire_a(struct timer *t)
{
	(void)t;
	strcat(fired, "a");
}

static void fire_b(struct timer *t)
{
	(void)t;
	strcat(fired, "b");
}

static void loop_test(void)
{
	struct timer a = { .fire = fire_a }, b = { .fire = fire_b };
	int fds[2][2];

	ok(loop_init(&pair.loop) == 0, "loop made");
	for (int i = 0; i < 2; i++) {
		if (pipe2(fds[i], O_CLOEXEC) < 0 ||
		    write(fds[i][1], "x", 1) < 0)
			return;
		pair.watch[i].ready = delete_other;
		watch_add(&pair.loop, &pair.watch[i], fds[i][0], EPOLLIN);
	}
	loop_once(&pair.loop, 0);
	ok(pair.n_delivered == 1,
	   "a watch deleted in the same round is not delivered");
	for (int i = 0; i < 2; i++)
		watch_add(&pair.loop, &pair.watch[i], fds[i][0], EPOLLIN);
	pair.loop.has_left = true; /* it begins with the second */
	pair.loop.turn = 0;
	loop_once(&pair.loop, 0);
	ok(pair.n_delivered == 2, "nor one before it");
	timer_set(&pair.loop, &b, 20);
	timer_set(&pair.loop, &a, 5);
	while (b.deadline_ms)
		loop_once(&pair.loop, -1);
	ok(!strcmp(fired, "ab"), "timers fire by deadline");
	timer_set(&pair.loop, &a, 0);
	timer_cancel(&a);
	loop_once(&pair.loop, 0);
	ok(!strcmp(fired, "ab"), "a cancelled timer does not fire");
	for (int i = 0; i < 4; i++)
		close(fds[i / 2][i % 2]);
	close(pair.loop.epoll_fd);
}

static void timer_read(struct watch *w, uint32_t events)
{
	uint64_t n;

	(void)events;
	if (read(w->fd, &n, sizeof(n)) < 0)
		perror("timerfd");
}

/* How often this program sleeps until an event that comes in 300 us. */
static long slept(struct loop *loop, struct watch *w)
{
	const struct itimerspec soon = { .it_value.tv_nsec = 300000 };
	struct rusage before, after;

	getrusage(RUSAGE_SELF, &before);
	timerfd_settime(w->fd, 0, &soon, NULL);
	loop_once(loop, -1);
	getrusage(RUSAGE_SELF, &after);
	return after.ru_nvcsw - before.ru_nvcsw;
}

/* Of TRIES waits of 300 us those that it slept in. When others want the
 * processor the event may be there before it waits, or it sleeps while it would
 * be awake; not always. */
enum { TRIES = 200 };

static int asleep(struct loop *loop, struct watch *w, unsigned int poll_us)
{
	int n = 0;

	for (int i = 0; i < TRIES; i++) {
		loop_poll(loop, poll_us);
		n += slept(loop, w) > 0;
	}
	return n;
}

static void loop_poll_test(void)
{
	struct watch w = { .ready = timer_read };
	struct loop loop;

	loop_init(&loop);
	watch_add(&loop, &w, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC),
		  EPOLLIN);
	ok(asleep(&loop, &w, 0) > TRIES / 2, "it sleeps until an event");
	ok(asleep(&loop, &w, 500) > TRIES / 2, "events come seldom: it sleeps");
	ok(asleep(&loop, &w, 5000) < TRIES,
	   "events come often: it waits awake");
	close(w.fd);
	close(loop.epoll_fd);
}

enum { SHARERS = 3 };

static struct loop_share share;
static struct watch shared[SHARERS + 1]; /* the last is of none */
static int n_ready[SHARERS + 1];

static unsigned int share_takes_us;

static void take_long(struct watch *w, uint32_t events)
{
	(void)events;
	n_ready[w - shared]++;
	if (w->share && share_takes_us)
		usleep(share_takes_us);
}

static void loop_share_test(void)
{
	struct loop loop;
	bool all_at_once = false;
	int fds[2], turn;

	loop_init(&loop);
	share_takes_us = 2 * LOOP_SHARE_US;
	for (int i = 0; i <= SHARERS; i++) {
		if (pipe2(fds, O_CLOEXEC) < 0 || write(fds[1], "x", 1) < 0)
			return;
		shared[i] = (struct watch){ .ready = take_long };
		if (i < SHARERS)
			shared[i].share = &share;
		watch_add(&loop, &shared[i], fds[0], EPOLLIN);
	}
	loop_once(&loop, 0);
	ok(n_ready[0] + n_ready[1] + n_ready[2] == 1,
	   "one event takes the whole share, its others are left");
	ok(n_ready[SHARERS] == 1, "who shares with nobody is not");
	for (turn = 1; turn <= 2 * SHARERS; turn++)
		loop_once(&loop, 0);
	ok(n_ready[0] && n_ready[1] && n_ready[2],
	   "which is left changes: none is for ever");
	ok(n_ready[SHARERS] == turn, "the others are met each turn");
	/* When others want the processor it may take long all the same. */
	share_takes_us = 0;
	for (int i = 0; i < 100 && !all_at_once; i++) {
		int before = n_ready[0] + n_ready[1] + n_ready[2];

		loop_once(&loop, 0);
		all_at_once = n_ready[0] + n_ready[1] + n_ready[2] ==
			      before + SHARERS;
	}
	ok(all_at_once, "those that take no time are all met in one");
	close(loop.epoll_fd);
}

struct message {
	struct ipc_head head;
	char text[16];
};

static const struct message hello = {
	.head = { sizeof(struct message), 7 },
	.text = "hello",
};

static void messages_test(void)
{
	struct message got;
	struct ipc_fds fds = { 0 };
	struct message wrong = hello;
	int s[2], before, after;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0, s) < 0)
		return;
	ok(ipc_recv(s[1], &got, sizeof(got), NULL) == -EAGAIN, "nothing yet");
	ok(ipc_send(s[0], &hello, sizeof(hello), (int[]){ 0, 1 }, 2) == 0 &&
		   ipc_recv(s[1], &got, sizeof(got), &fds) == 1 && fds.n == 2 &&
		   !memcmp(&got, &hello, sizeof(got)),
	   "message with descriptors");
	ok(fcntl(fds.fd[0], F_GETFD) == FD_CLOEXEC, "they are CLOEXEC");
	ok(ipc_fds_take(&fds, 5) == -1, "no descriptor 5");
	ipc_fds_close(&fds);
	before = dup(0);
	close(before);
	ipc_send(s[0], &hello, sizeof(hello), (int[]){ 0 }, 1);
	ok(ipc_recv(s[1], &got, sizeof(got), NULL) == -EBADMSG,
	   "unwanted descriptors refused");
	after = dup(0);
	close(after);
	ok(after == before, "and closed");
	ipc_send(s[0], &hello, sizeof(hello) - 1, NULL, 0);
	ok(ipc_recv(s[1], &got, sizeof(got), NULL) == -EBADMSG, "short");
	wrong.head.size--;
	ipc_send(s[0], &wrong, sizeof(wrong), NULL, 0);
	ok(ipc_recv(s[1], &got, sizeof(got), NULL) == -EBADMSG,
	   "a head that states another size");
	ok(ipc_call(s[0], &hello, sizeof(hello), NULL, 0, &got, sizeof(got),
		    NULL, 20) == -ETIMEDOUT,
	   "call without answer times out");
	close(s[1]);
	ok(ipc_call(s[0], &hello, sizeof(hello), NULL, 0, &got, sizeof(got),
		    NULL, 1000) == -ECONNRESET,
	   "call to a peer that left");
	close(s[0]);
}

static void socket_test(const char *dir)
{
	char path[200];
	uid_t uid = (uid_t)-1;
	pid_t pid = 0;
	autoclose int server = -1, again = -1, client = -1, peer = -1;

	snprintf(path, sizeof(path), "%s/t.sock", dir);
	server = ipc_listen(path, 0666, (uid_t)-1);
	again = ipc_listen(path, 0666, (uid_t)-1);
	ok(again >= 0, "a stale socket file is replaced");
	client = ipc_connect("t");
	peer = ipc_accept(again, &uid, &pid);
	ok(client >= 0 && peer >= 0 && uid == getuid() && pid == getpid(),
	   "the kernel names the peer");
	ok(ipc_accept(again, &uid, &pid) == -EAGAIN, "no second one waits");
	ok(ipc_connect("absent") == -ENOENT, "absent socket");
}

static void log_test(void)
{
	char got[2000] = "";
	int fds[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	if (saved < 0 || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	dup2(fds[1], STDERR_FILENO);
	log_open("t");
	log_error("a\nb", "%s", "c\033d");
	dup2(saved, STDERR_FILENO);
	n = read(fds[0], got, sizeof(got) - 1);
	ok(n > 0 && !strcmp(got, "t: a?b: c?d\n"), "control bytes are masked");
	close(fds[0]);
	close(fds[1]);
	close(saved);
}

static void test_base64(void)
{
	/* RFC 4648, 10, and what it calls non-canonical. */
	static const struct {
		const char *text, *bytes;
	} cases[] = {
		{ "", "" },
		{ "Zg==", "f" },
		{ "Zm8=", "fo" },
		{ "Zm9v", "foo" },
		{ "Zm9vYg==", "foob" },
		{ "Zm9vYmE=", "fooba" },
		{ "Zm9vYmFy", "foobar" },
		{ "Zm9vYg", "foob" },
		{ "Pz8_", "???" },
		{ "Pz8/", "???" },
		{ "Zh==", NULL },
		{ "Z", NULL },
		{ "Zg=", NULL },
		{ "Z===", NULL },
		{ "Zm 9v", NULL },
		{ "Zm9v\n", NULL },
	};
	char out[16];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ssize_t n = base64_decode(span_of(cases[i].text), out,
					  sizeof(out));

		ok(cases[i].bytes
			   ? n == (ssize_t)strlen(cases[i].bytes) &&
				     !memcmp(out, cases[i].bytes, (size_t)n)
			   : n == -EINVAL,
		   "base64 '%s'", cases[i].text);
	}
	ok(base64_decode(span_of("Zm9vYg"), out, 3) == -EINVAL &&
		   base64_decode(span_of("Zm9vYg"), out, 4) == 4,
	   "no more than there is room for");
	base64url_encode("\xff\xfe???f", 6, out);
	ok(!strcmp(out, "__4_Pz9m"), "base64url: %s", out);
	base64url_encode("foob", 4, out);
	ok(!strcmp(out, "Zm9vYg"), "base64url without padding: %s", out);
}

int main(void)
{
	char dir[] = "/tmp/base_test.XXXXXX";
	int fd;

	if (!mkdtemp(dir))
		return 1;
	setenv("ZOOID_RUN", dir, 1);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	numbers_test();
	seconds_test();
	since_test();
	ids_test();
	cut_test();
	files_test(fd);
	full_disk_test(fd);
	memfd_test();
	paths_test(fd);
	loop_test();
	loop_poll_test();
	loop_share_test();
	messages_test();
	socket_test(dir);
	log_test();
	ok(path_remove_tree(AT_FDCWD, dir) == 0, "cleaned up");
	close(fd);
	test_base64();
	return tap_done();
}
