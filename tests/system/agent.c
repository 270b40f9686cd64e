/* Hands for the system tests inside a node (see README.md).
 *
 * Started as /init of a test boot it forks itself and execs the real init as
 * PID 1. The child listens on a virtio-serial port for requests:
 *
 *	request: uint32_t size, then that many bytes: words that end with NUL
 *	reply:   uint32_t size, then "ok" or "error" NUL, then bytes
 *
 * Little endian, one request at a time, each carried out by a child inside
 * the mount namespace and root of PID 1. Test code: it trusts its peer, and
 * a failure of its own set-up ends it with a line on the console. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/netlink.h>

enum { REQUEST_MAX = 1 << 20, REPLY_MAX = 4 << 20, WORDS_MAX = 64 };

static void die(const char *what)
{
	dprintf(2, "agent: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void write_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			_exit(1);
		p += n;
		size -= (size_t)n;
	}
}

/* False when the other side closed the port. */
static bool read_all(int fd, void *data, size_t size)
{
	char *p = data;

	while (size > 0) {
		ssize_t n = read(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		size -= (size_t)n;
	}
	return true;
}

/* What a verb says: its output, then _exit(0) for "ok", else for "error". */
static int fail(const char *what)
{
	dprintf(1, "%s: %s", what, strerror(errno));
	return 1;
}

static int verb_kill(char **word)
{
	if (kill(atoi(word[1]), atoi(word[2])) < 0)
		return fail("kill");
	return 0;
}

static int verb_read(char **word)
{
	char buf[65536];
	int fd = open(word[1], O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return fail(word[1]);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		write_all(1, buf, (size_t)n);
	return n < 0 ? fail(word[1]) : 0;
}

static int verb_write(char **word)
{
	int fd = open(word[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return fail(word[1]);
	if (write(fd, word[2], strlen(word[2])) < 0 || fsync(fd) < 0)
		return fail(word[1]);
	return 0;
}

/* Fills the file system of word[1] to the last block, and says with how many
 * bytes. */
static int verb_fill(char **word)
{
	static char block[1 << 20];
	unsigned long long total = 0;
	size_t size = sizeof(block);
	int fd = open(word[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail(word[1]);
	/* Zeros would be compressed away. */
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)(random() >> 8);
	while (size >= 512) {
		ssize_t n = write(fd, block, size);

		if (n > 0)
			total += (unsigned long long)n;
		else if (errno == ENOSPC || errno == EDQUOT)
			size /= 2;
		else
			return fail(word[1]);
		if (size == sizeof(block) && fdatasync(fd) < 0)
			size /= 2;
	}
	fsync(fd);
	printf("%llu", total);
	fflush(stdout);
	return 0;
}

/* Puts this program, which ends at once when started as a service, in the
 * place of the program word[1]. */
static int verb_break(char **word)
{
	char buf[65536];
	const char *copy = "/run/zooid-test-broken";
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int to = open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	ssize_t n;

	if (from < 0 || to < 0)
		return fail(copy);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		write_all(to, buf, (size_t)n);
	close(to);
	if (mount(copy, word[1], NULL, MS_BIND, NULL) < 0)
		return fail(word[1]);
	return 0;
}

static int verb_mend(char **word)
{
	return umount2(word[1], MNT_DETACH) < 0 ? fail(word[1]) : 0;
}

static int verb_remove(char **word)
{
	return unlink(word[1]) < 0 ? fail(word[1]) : 0;
}

static int verb_list(char **word)
{
	DIR *dir = opendir(word[1]);
	struct dirent *entry;

	if (!dir)
		return fail(word[1]);
	while ((entry = readdir(dir)))
		printf("%s\n", entry->d_name);
	closedir(dir);
	return fflush(stdout);
}

static int verb_time(char **word)
{
	(void)word;
	printf("%lld", (long long)time(NULL));
	return fflush(stdout);
}

static int verb_exec(char **word)
{
	execv(word[1], word + 1);
	return fail(word[1]);
}

/* Leaves word[1] processes without a parent to PID 1, some of them dead, some
 * still living for a moment, a hundred at a time. */
static int verb_orphans(char **word)
{
	for (int left = atoi(word[1]); left > 0; left -= 100) {
		pid_t pid = fork();
		int status;

		for (int i = 0; pid == 0 && i < 100; i++) {
			pid_t orphan = fork();

			if (orphan <= 0)
				_exit(orphan < 0);
		}
		if (pid == 0)
			_exit(0);
		if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
			return fail("orphan");
	}
	return 0;
}

/* Sends word[3] messages of garbage to the seqpacket socket word[1] as uid
 * word[4] (root could rightly switch the node off), of sizes up to 64 KB
 * drawn from seed word[2], every other one of size word[5], some with a
 * descriptor, on fresh connections now and then. Being refused is fine. */
static int verb_garbage(char **word)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	static char data[65536];
	int sock = -1;

	strncpy(to.sun_path, word[1], sizeof(to.sun_path) - 1);
	srandom((unsigned)atoi(word[2]));
	if (setuid((uid_t)atoi(word[4])) < 0)
		return fail("setuid");
	for (int i = atoi(word[3]); i > 0; i--) {
		if (sock < 0 || random() % 8 == 0) {
			if (sock >= 0)
				close(sock);
			sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
				      0);
			if (connect(sock, (void *)&to, sizeof(to)) < 0)
				return fail(word[1]);
		}
		size_t size = random() % 2   ? (size_t)atoi(word[5])
			      : random() % 2 ? (size_t)random() % 600
					     : (size_t)random() % sizeof(data);
		uint32_t head[2] = { (uint32_t)size, (uint32_t)random() % 16 };
		union {
			struct cmsghdr head;
			char space[CMSG_SPACE(sizeof(int))];
		} control = { 0 };
		struct iovec part = { data, size };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

		for (size_t j = 0; j < size; j++)
			data[j] = (char)(random() >> 8);
		if (size >= sizeof(head) && random() % 2)
			memcpy(data, head, sizeof(head));
		if (random() % 8 == 0) {
			int fd = 0;

			message.msg_control = &control;
			message.msg_controllen = sizeof(control);
			control.head.cmsg_level = SOL_SOCKET;
			control.head.cmsg_type = SCM_RIGHTS;
			control.head.cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
		}
		/* Never wait for a server that does not read. */
		if (sendmsg(sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
			close(sock);
			sock = -1;
		}
	}
	return 0;
}

static const struct verb {
	const char *name;
	int n_words; /* itself included; at least */
	int (*run)(char **word);
} verbs[] = {
	{ "kill", 3, verb_kill },     /* PID SIGNAL */
	{ "read", 2, verb_read },     /* PATH */
	{ "write", 3, verb_write },   /* PATH TEXT */
	{ "fill", 2, verb_fill },     /* PATH */
	{ "remove", 2, verb_remove }, /* FILE */
	{ "list", 2, verb_list },     /* DIRECTORY */
	{ "time", 1, verb_time },
	{ "break", 2, verb_break },	/* PROGRAM */
	{ "mend", 2, verb_mend },	/* PROGRAM */
	{ "exec", 2, verb_exec },	/* PROGRAM ARGUMENT... */
	{ "orphans", 2, verb_orphans }, /* COUNT */
	{ "garbage", 6, verb_garbage }, /* SOCKET SEED COUNT UID SIZE */
};

/* Enters what PID 1 sees; the child of a request only. */
static void enter_node(void)
{
	int ns = open("/test/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
	int root = open("/test/proc/1/root", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (ns < 0 || root < 0 || setns(ns, CLONE_NEWNS) < 0 ||
	    fchdir(root) < 0 || chroot(".") < 0)
		die("enter node");
}

static int verb_run(char **word, int n_words)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].name, word[0]) == 0 &&
		    n_words >= verbs[i].n_words)
			return verbs[i].run(word);
	printf("unknown verb, or words are missing: %s", word[0]);
	fflush(stdout);
	return 1;
}

static void reply(int port, bool ok, const char *data, size_t size)
{
	const char *state = ok ? "ok" : "error";
	uint32_t total = (uint32_t)(strlen(state) + 1 + size);

	write_all(port, &total, sizeof(total));
	write_all(port, state, strlen(state) + 1);
	write_all(port, data, size);
}

/* Carries out one request in a child and sends back all it wrote. */
static void serve(int port, char *request, size_t size)
{
	static char output[REPLY_MAX];
	char *word[WORDS_MAX + 1] = { 0 };
	size_t used = 0;
	int n_words = 0, status, pipe_fd[2];

	for (char *p = request; p < request + size && n_words < WORDS_MAX;
	     p += strlen(p) + 1)
		word[n_words++] = p;
	if (n_words == 0 || pipe2(pipe_fd, O_CLOEXEC) < 0)
		die("request");
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		dup2(pipe_fd[1], 1);
		dup2(pipe_fd[1], 2);
		enter_node();
		_exit(verb_run(word, n_words));
	}
	close(pipe_fd[1]);
	for (;;) {
		ssize_t n = read(pipe_fd[0], output + used,
				 sizeof(output) - used);

		if (n <= 0)
			break;
		used += (size_t)n;
	}
	close(pipe_fd[0]);
	waitpid(pid, &status, 0);
	reply(port, status == 0, output, used);
}

/* Opens the only virtio-serial port: vportDpN, D being the number of its
 * device among all of virtio. -1 while it is not there. */
static int port_find(void)
{
	DIR *dir = opendir("/test/dev");
	struct dirent *entry;
	int port = -1;

	while (dir && port < 0 && (entry = readdir(dir)))
		if (strncmp(entry->d_name, "vport", 5) == 0)
			port = openat(dirfd(dir), entry->d_name,
				      O_RDWR | O_CLOEXEC);
	if (dir)
		closedir(dir);
	return port;
}

/* The port appears a moment after its bus; waits for the kernel's word. */
static int port_open(void)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
			    NETLINK_KOBJECT_UEVENT);
	char event[4096];
	int port;

	if (events < 0 || bind(events, (void *)&kernel, sizeof(kernel)) < 0)
		die("uevents");
	while ((port = port_find()) < 0)
		if (recv(events, event, sizeof(event), 0) < 0)
			die("uevents");
	close(events);
	return port;
}

static void agent(void)
{
	static char request[REQUEST_MAX + 1];
	uint32_t size;

	if (unshare(CLONE_NEWNS) < 0)
		die("unshare");
	mkdir("/test/proc", 0755);
	mkdir("/test/dev", 0755);
	if (mount("proc", "/test/proc", "proc", 0, NULL) < 0 ||
	    mount("dev", "/test/dev", "devtmpfs", 0, NULL) < 0)
		die("mount");
	int port = port_open();

	write_all(port, "zooid-agent\n", 12);
	while (read_all(port, &size, sizeof(size)) && size <= REQUEST_MAX &&
	       read_all(port, request, size)) {
		request[size] = '\0';
		serve(port, request, size);
	}
	die("port");
}

int main(int argc, char **argv)
{
	(void)argc;
	if (getenv("ZOOID_SERVICE"))
		return 1; /* verb_break */
	pid_t pid = fork();

	if (pid == 0) {
		setsid();
		agent();
	}
	execv("/test/init", argv);
	die("/test/init");
}
