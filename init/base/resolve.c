/* #syscalls: socket connect bind setsockopt ioctl pipe2 dup3
 * #syscalls: clone wait4 kill set_robust_list set_tid_address close_range
 * #syscalls: openat lseek fstat newfstatat
 * #syscalls[x86_64]: fork open
 */
#define _GNU_SOURCE
#include "resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fd.h"

bool resolve_literal(struct resolve *resolve, const char *host, uint16_t port)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons(port) };

	*resolve = (struct resolve){ .pipe = -1 };
	if (inet_pton(AF_INET, host, &v4.sin_addr) == 1)
		memcpy(&resolve->address[0], &v4, sizeof(v4));
	else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1)
		memcpy(&resolve->address[0], &v6, sizeof(v6));
	else
		return false;
	resolve->n = 1;
	return true;
}

/* The descriptors of the parent would stay open for as long as this lasts:
 * its clients would not see them close. */
static int descriptors_drop(int kept)
{
	if (dup3(kept, 3, O_CLOEXEC) < 0 && errno != EINVAL)
		return -1;
	syscall(SYS_close_range, 4, ~0U, 0);
	return 3;
}

__attribute__((noreturn)) static void child(const char *host, uint16_t port,
					    int to)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_ADDRCONFIG },
			*list, *a;
	char service[8];
	int n = 0;

	to = descriptors_drop(to);
	snprintf(service, sizeof(service), "%u", port);
	if (to < 0 || getaddrinfo(host, service, &hints, &list) != 0)
		_exit(1);
	for (a = list; a && n < RESOLVE_ADDRESSES_MAX; a = a->ai_next, n++) {
		struct sockaddr_storage s = { 0 };

		memcpy(&s, a->ai_addr, a->ai_addrlen);
		if (fd_write(to, &s, sizeof(s)) < 0)
			_exit(1);
	}
	_exit(0);
}

int resolve_start(struct resolve *resolve, const char *host, uint16_t port)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	resolve->pid = fork();
	if (resolve->pid == 0)
		child(host, port, ends[1]);
	close(ends[1]);
	if (resolve->pid < 0) {
		close(ends[0]);
		resolve->pid = 0;
		return -EAGAIN;
	}
	resolve->pipe = ends[0];
	resolve->got = 0;
	return 0;
}

int resolve_answer(struct resolve *resolve)
{
	ssize_t n = read(resolve->pipe, (char *)resolve->address + resolve->got,
			 sizeof(resolve->address) - resolve->got);

	if (n > 0)
		resolve->got += (size_t)n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (n > 0 && resolve->got < sizeof(resolve->address))
		return -EAGAIN;
	resolve->n = (int)(resolve->got / sizeof(resolve->address[0]));
	resolve_stop(resolve);
	return 1;
}

void resolve_stop(struct resolve *resolve)
{
	fd_close(&resolve->pipe);
	if (resolve->pid > 0) {
		kill(resolve->pid, SIGKILL);
		waitpid(resolve->pid, NULL, 0);
	}
	resolve->pid = 0;
}
