/* Many connections at a time, for the system tests, in a node:
 *
 *	crowd serve PORT	in a container: repeats what comes, on each
 *	crowd connect PORT N	opens N to the node's own PORT, asks on each,
 *				prints "done N"; a child keeps them and obeys
 *	crowd tell ask		a byte there and back on each: "answered N"
 *	crowd tell close
 *
 * Test code: a failure ends it with a line. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, PATIENCE_S = 120, BATCH = 64, FILES = 16384 };

static const struct sockaddr_un meeting = { .sun_family = AF_UNIX,
					    .sun_path = "\0crowd" };

static _Noreturn void die(const char *what)
{
	printf("crowd: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in port_of(const char *text, in_addr_t address)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)atoi(text)),
				     .sin_addr.s_addr = htonl(address) };
}

static int repeat(int fd)
{
	char data[4096];
	ssize_t n = read(fd, data, sizeof(data));

	return n > 0 && write(fd, data, (size_t)n) == n ? 0 : -1;
}

static void serve(const char *port)
{
	struct sockaddr_in at = port_of(port, INADDR_ANY);
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	int poll = epoll_create1(0);
	struct epoll_event event[BATCH] = { { .events = EPOLLIN } };

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	event[0].data.fd = listener;
	if (bind(listener, (void *)&at, sizeof(at)) < 0 ||
	    listen(listener, BACKLOG) < 0 ||
	    epoll_ctl(poll, EPOLL_CTL_ADD, listener, event) < 0)
		die(port);
	for (;;) {
		int n = epoll_wait(poll, event, BATCH, -1);

		for (int i = 0; i < n; i++) {
			int fd = event[i].data.fd;
			struct epoll_event more = { .events = EPOLLIN };

			if (fd != listener) {
				if (repeat(fd) < 0)
					close(fd);
				continue;
			}
			more.data.fd = accept(listener, NULL, NULL);
			if (more.data.fd < 0 ||
			    epoll_ctl(poll, EPOLL_CTL_ADD, more.data.fd,
				      &more) < 0)
				die("accept");
		}
	}
}

static int ask(int fd)
{
	char c = '?';

	return write(fd, &c, 1) == 1 && read(fd, &c, 1) == 1 && c == '?';
}

static int open_one(const struct sockaddr_in *to)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (const void *)to, sizeof(*to)) < 0)
		die("connect");
	return fd;
}

/* Until it is told to close them. */
static void keep(int listener, const int *fd, int n)
{
	char word[16], answer[32];

	for (;;) {
		int asker = accept(listener, NULL, NULL), good = 0;
		ssize_t size = read(asker, word, sizeof(word) - 1);

		word[size > 0 ? size : 0] = '\0';
		for (int i = 0; i < n && !strcmp(word, "ask"); i++)
			good += ask(fd[i]);
		snprintf(answer, sizeof(answer), "answered %d\n", good);
		(void)!write(asker, answer, strlen(answer));
		close(asker);
		if (!strcmp(word, "close"))
			exit(0);
	}
}

static void connect_all(const char *port, int n)
{
	struct sockaddr_in to = port_of(port, INADDR_LOOPBACK);
	int *fd = calloc((size_t)n, sizeof(*fd)), good = 0;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);

	if (bind(listener, (const void *)&meeting, sizeof(meeting)) < 0 ||
	    listen(listener, 1) < 0)
		die("meeting");
	for (int i = 0; i < n; i++)
		fd[i] = open_one(&to);
	for (int i = 0; i < n; i++)
		good += ask(fd[i]);
	printf("done %d\n", good);
	fflush(stdout);
	if (fork() != 0)
		exit(0);
	setsid();
	for (int i = 0; i < 3; i++)
		close(i);
	keep(listener, fd, n);
}

static void tell(const char *word)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char answer[64];
	ssize_t n;

	if (connect(fd, (const void *)&meeting, sizeof(meeting)) < 0 ||
	    write(fd, word, strlen(word)) < 0)
		die("tell");
	while ((n = read(fd, answer, sizeof(answer))) > 0)
		fwrite(answer, 1, (size_t)n, stdout);
}

/* As much as one may. */
static void descriptors(void)
{
	struct rlimit limit = { FILES, FILES };

	if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
		return;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	descriptors();
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(argv[2]);
	else if (argc == 4 && !strcmp(argv[1], "connect"))
		connect_all(argv[2], atoi(argv[3]));
	else if (argc == 3 && !strcmp(argv[1], "tell"))
		tell(argv[2]);
	return argc < 3 ? 2 : 0;
}
