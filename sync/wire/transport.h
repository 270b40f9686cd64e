/* Bytes in and out of one descriptor, under TLS or plain: what the server's
 * and the client's connections share. */
#ifndef WIRE_TRANSPORT_H
#define WIRE_TRANSPORT_H

#include <sys/types.h>

#include "tls.h"

enum {
	TRANSPORT_READ_SIZE = 16 << 10,
	TRANSPORT_WRITE_SIZE = TLS_RECORD_SIZE,
};

struct transport {
	int fd;		      /* owned */
	struct tls_conn *tls; /* owned; NULL: plain */
	char *rest;	      /* plain: what the kernel did not take yet */
	size_t rest_size;
	uint32_t events; /* EPOLLIN or EPOLLOUT that the last -EAGAIN awaits */
};

/* As tls_read(). */
ssize_t transport_read(struct transport *t, void *buf, size_t size);
/* Takes all of it, at most TRANSPORT_WRITE_SIZE, or -EAGAIN and nothing. */
int transport_write(struct transport *t, const void *buf, size_t size);
int transport_flush(struct transport *t);
void transport_idle(struct transport *t);
const char *transport_error(const struct transport *t);
/* Tells the other side that this is the end, and closes. */
void transport_close(struct transport *t);

#endif
