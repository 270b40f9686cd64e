/* What the tests of the HTTP server have in common: where it listens, and the
 * two ends of TLS for the parties of wire_pki.h. */
#ifndef UNIT_WIRE_SERVER_H
#define UNIT_WIRE_SERVER_H

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "wire/tls.h"
#include "wire_pki.h"

/* A listening socket on a free port of the loopback. */
static int listen_loopback(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (bind(fd, (void *)&a, sizeof(a)) || listen(fd, 128))
		abort();
	getsockname(fd, (void *)&a, &size);
	*port = ntohs(a.sin_port);
	return fd;
}

/* The hub, and its node as a client. The caller frees both. */
static void tls_ends(const struct pki *pki, struct tls **server,
		     struct tls **client)
{
	char ca[2 * CERT_PEM_SIZE];
	struct tls_server_config s = { .chain = span_of(pki->server_chain),
				       .key = pki->server.key,
				       .alpn = "h2 http/1.1" };
	struct tls_client_config c = { .chain = span_of(pki->node.chain),
				       .key = pki->node.key,
				       .alpn = "h2" };

	pki_join(ca, sizeof(ca), pki->hub_ca.pem, pki->root.pem);
	s.client_ca = span_of(ca);
	memcpy(s.pin, pki->pin, sizeof(s.pin));
	memcpy(c.pin, pki->pin, sizeof(c.pin));
	if (tls_server_new(&s, server) || tls_client_new(&c, client))
		abort();
}

#endif
