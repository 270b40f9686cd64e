/* From "host:port" to a connecting socket.
 *
 * #syscalls: socket connect setsockopt
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/fd.h"
#include "http_client_conn.h"

int dial_parse(struct dial *dial, const char *address)
{
	const char *colon = strrchr(address, ':');
	struct span host;
	uint64_t port;

	*dial = (struct dial){ .resolve.pipe = -1 };
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
	resolve_literal(&dial->resolve, dial->host, dial->port);
	return 0;
}

int dial_resolve(struct dial *dial)
{
	return resolve_start(&dial->resolve, dial->host, dial->port);
}

int dial_connect(struct dial *dial)
{
	const struct sockaddr_storage *a = &dial->resolve.address[dial->next];
	autoclose int fd = -1;
	int one = 1;

	if (dial->next == dial->resolve.n)
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
