/* Datagrams and echo requests (ping) that containers send into the world, and
 * what comes back. See out_datagram.c. */
#ifndef NET_OUT_DATAGRAM_H
#define NET_OUT_DATAGRAM_H

#include "base/loop.h"
#include "packet.h"
#include "tun.h"

enum { OUT_DATAGRAM_MAX = 2048 };

void out_datagram_init(struct loop *loop);

/* A UDP datagram or an echo request from container t. */
void out_datagram_input(struct tun *t, const struct packet *p);

/* t is gone: its flows end. */
void out_datagram_end(struct tun *t);

/* Answers the datagram of key with `size` bytes of data. */
void out_datagram_reply(struct tun *t, const struct key *key,
			const uint8_t *data, size_t size);

#endif
