/* From "host:port" to a connecting socket.
 *
 * Resolving a name waits for other machines, and the C library offers no other
 * way: a child process does it and writes the addresses into a pipe. It shares
 * the confinement of its parent, reads /etc/resolv.conf and /etc/hosts, and can
 * be killed at any moment.
 *
 * #syscalls: socket connect setsockopt pipe2 kill
 * #syscalls: clone wait4 set_robust_list set_tid_address
 * #syscalls: bind openat lseek fstat newfstatat ioctl
 * #syscalls[x86_64]: fork open
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "http_client_conn.h"

static bool literal(struct dial *dial)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_port = htons(dial->port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons(dial->port) };

	if (inet_pton(AF_INET, dial->host, &v4.sin_addr) == 1)
		memcpy(&dial->address[0], &v4, sizeof(v4));
	else if (inet_pton(AF_INET6, dial->host, &v6.sin6_addr) == 1)
		memcpy(&dial->address[0], &v6, sizeof(v6));
	else
		return false;
	dial->n = 1;
	return true;
}

int dial_parse(struct dial *dial, const char *address)
{
	const char *colon = strrchr(address, ':');
	struct span host;
	uint64_t port;

	*dial = (struct dial){ .pipe = -1 };
	if (!colon)
		return -EINVAL;
	host = (struct span){ address, (size_t)(colon - address) };
	if (host.size > 2 && host.data[0] == '[' &&
	    host.data[host.size - 1] == ']') {
		host.data++;
		host.size -= 2;
	} else if (memchr(host.data, ':', host.size)) {
		return -EINVAL;
	}
	if (host.size == 0 ||
	    span_copy(dial->host, sizeof(dial->host), host) < 0 ||
	    span_u64(span_of(colon + 1), 65535, &port) < 0 || port == 0)
		return -EINVAL;
	dial->port = (uint16_t)port;
	literal(dial);
	return 0;
}

__attribute__((noreturn)) static void resolver(const struct dial *dial, int to)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_ADDRCONFIG },
			*list, *a;
	char port[8];
	int n = 0;

	snprintf(port, sizeof(port), "%u", dial->port);
	if (getaddrinfo(dial->host, port, &hints, &list) != 0)
		_exit(1);
	for (a = list; a && n < DIAL_ADDRESSES_MAX; a = a->ai_next, n++) {
		struct sockaddr_storage s = { 0 };

		memcpy(&s, a->ai_addr, a->ai_addrlen);
		if (fd_write(to, &s, sizeof(s)) < 0)
			_exit(1);
	}
	_exit(0);
}

int dial_resolve(struct dial *dial)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	dial->pid = fork();
	if (dial->pid == 0)
		resolver(dial, ends[1]);
	close(ends[1]);
	if (dial->pid < 0) {
		close(ends[0]);
		dial->pid = 0;
		return -EAGAIN;
	}
	dial->pipe = ends[0];
	dial->got = 0;
	return 0;
}

int dial_answer(struct dial *dial)
{
	ssize_t n = read(dial->pipe, (char *)dial->address + dial->got,
			 sizeof(dial->address) - dial->got);

	if (n > 0)
		dial->got += (size_t)n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (n > 0 && dial->got < sizeof(dial->address))
		return -EAGAIN;
	dial->n = (int)(dial->got / sizeof(dial->address[0]));
	dial_stop(dial);
	return 1;
}

void dial_stop(struct dial *dial)
{
	fd_close(&dial->pipe);
	if (dial->pid > 0) {
		kill(dial->pid, SIGKILL);
		waitpid(dial->pid, NULL, 0);
	}
	dial->pid = 0;
}

int dial_connect(struct dial *dial)
{
	const struct sockaddr_storage *a = &dial->address[dial->next];
	autoclose int fd = -1;
	int one = 1;

	if (dial->next == dial->n)
		return -ENOENT;
	dial->next++;
	fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (const void *)a,
		    a->ss_family == AF_INET
			    ? sizeof(struct sockaddr_in)
			    : sizeof(struct sockaddr_in6)) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return fd_take(&fd);
}
