/* Datagrams to published UDP ports, and what containers answer. See
 * in_datagram.c. */
#ifndef NET_IN_DATAGRAM_H
#define NET_IN_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"

struct listener;
struct packet;
struct tun;

enum { IN_DATAGRAM_MAX = 4096 };

void in_datagram_init(struct loop *loop);

/* Of a published socket: what is to be told of each datagram. 0 or -errno. */
int in_datagram_options(int fd);

/* Whether a container of l takes datagrams now. */
bool in_datagram_open(struct listener *l);
/* Leads what has come to l into its container. */
void in_datagram_ready(struct listener *l);

/* A stock of sockets inside a container was filled, or not. */
void in_datagram_retry(void);

/* Sends p, which is UDP, to the client that it answers; false: it answers
 * none. */
bool in_datagram_answer(struct tun *t, const struct packet *p);

/* p, which t has sent, may say that nobody listens where a datagram of a client
 * was led to. False: it does not. */
bool in_datagram_refused(struct tun *t, const struct packet *p);

/* l leads elsewhere: flows to targets that are left go on. */
void in_datagram_moved(struct listener *l);
/* l, or the TUN, is gone. */
void in_datagram_forget(struct listener *l);
void in_datagram_end(const struct tun *t);

#endif
