#include "in_local.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "fds.h"
#include "key.h"
#include "node_address.h"
#include "tun.h"

/* #syscalls: bind setsockopt getsockopt sendto recvfrom close */

static const uint8_t loopback4[16] = { [10] = 0xff, 0xff, 127, [15] = 1 };
static const uint8_t loopback6[16] = { [15] = 1 };

bool in_local_is(const uint8_t address[16])
{
	return address_is_mapped(address) ? address[12] == 127
					  : !memcmp(address, loopback6, 16);
}

static int socket_bind(int fd, const uint8_t address[16], uint16_t port)
{
	union node_address a;
	socklen_t size = node_address(&a, address, port);

	if (bind(fd, &a.any, size) == 0)
		return 0;
	/* Taken inside. */
	size = node_address(&a, address, 0);
	return bind(fd, &a.any, size) < 0 ? -errno : 0;
}

static int socket_take(struct tun *t, unsigned int kind)
{
	struct stock *stock = tun_stock(t, kind);
	int fd = stock && fds_free(FDS_DATAGRAMS, &t->fds) ? stock_take(stock)
							   : -1;

	if (fd < 0)
		return stock && stock_is_coming(stock) ? -EAGAIN : -EMFILE;
	return fd;
}

int in_local_open(struct in_local *l, const uint8_t client[16], uint16_t port)
{
	const uint8_t *from = address_is_mapped(client) ? client : loopback4;
	const int on = 1;
	autoclose int fd = -1;
	int error;

	l->v6 = !address_is_mapped(client) && tun_takes6(l->tun);
	fd = socket_take(l->tun, STOCK_UDP | (l->v6 ? STOCK_V6 : 0));
	if (fd < 0)
		return fd;
	error = socket_bind(fd, l->v6 ? loopback6 : from, port);
	if (error < 0)
		return error;
	/* It has no peer, as the answers come from ::1 and not from where was
	 * asked; such a one is told only so that nobody listens. */
	if (l->v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
	fds_take(FDS_DATAGRAMS, 1, &l->tun->fds);
	l->fd = fd_take(&fd);
	return 0;
}

void in_local_close(struct in_local *l)
{
	if (l->fd < 0)
		return;
	fd_close(&l->fd);
	fds_give(FDS_DATAGRAMS, 1, &l->tun->fds);
}

int in_local_send(struct in_local *l, uint16_t port, const uint8_t *bytes,
		  size_t size)
{
	union node_address to;
	socklen_t to_size = node_address(
		&to, l->v6 ? l->tun->address6 : l->tun->address, port);
	socklen_t error_size = sizeof(int);
	int error = 0;

	if (sendto(l->fd, bytes, size, MSG_NOSIGNAL, &to.any, to_size) < 0)
		error = errno;
	/* Inside it has arrived by now. */
	else if (l->v6)
		getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
	if (error == ECONNREFUSED)
		tun_refused6(l->tun);
	return -error;
}

ssize_t in_local_take(struct in_local *l, uint16_t port, uint8_t *room,
		      size_t size)
{
	union node_address from;
	socklen_t from_size = sizeof(from);
	ssize_t n = recvfrom(l->fd, room, size, 0, &from.any, &from_size);
	uint8_t address[16];
	uint16_t from_port;

	if (n < 0) {
		n = -errno;
		if (n == -ECONNREFUSED)
			tun_refused6(l->tun);
		return n;
	}
	node_address_read(&from, address, &from_port);
	return from_port == port ? n : -EBADMSG;
}
