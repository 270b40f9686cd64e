/* A client of a UDP port who is on the node's own loopback. An address of that
 * cannot come out of a TUN, and what is sent there does not go into one: it is
 * every machine's own. So what he sends goes out of a socket inside, which has
 * his address, and his port if that is free, and the answers come in to it. */
#ifndef NET_IN_LOCAL_H
#define NET_IN_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tun;

struct in_local {
	struct tun *tun; /* where the socket is */
	int fd;		 /* -1: none */
	bool v6;
};

/* Whether an address (16 bytes, v4 mapped) is of the loopback. */
bool in_local_is(const uint8_t address[16]);

/* Opens one for the client that has `port`: by IPv6 if he comes by that and it
 * is not known that nobody listens there, else as 127.0.0.1. Its descriptor is
 * counted as l->tun's (FDS_DATAGRAMS). 0; -EAGAIN: not before the stock has
 * answered; or another -errno. */
int in_local_open(struct in_local *l, const uint8_t client[16], uint16_t port);
void in_local_close(struct in_local *l);

/* Sends to `port`. 0; -ECONNREFUSED: nobody listens by IPv6, and one that is
 * opened in the next time is of IPv4; or another -errno. */
int in_local_send(struct in_local *l, uint16_t port, const uint8_t *bytes,
		  size_t size);
/* Takes an answer of `port`: its size; -EBADMSG: it was another port's; or
 * another -errno, where all but -EAGAIN leave a socket that is of no use. */
ssize_t in_local_take(struct in_local *l, uint16_t port, uint8_t *room,
		      size_t size);

#endif
