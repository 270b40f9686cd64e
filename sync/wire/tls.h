/* TLS 1.3 over non-blocking descriptors; nothing older, no early data.
 *
 * A struct tls is what many connections share: certificate, trust, ticket keys.
 * A struct tls_conn is one connection. http.h drives connections by itself;
 * its users only make the struct tls. Trust is the organism's pin (chain.h).
 *
 * Resumption: a session that was resumed carries no certificate, so the server
 * puts what it knew of the client (struct tls_peer) into the ticket, which it
 * encrypts and authenticates with keys that the caller gives and rotates. A
 * resumed peer therefore looks like the full one. Its certificate may have been
 * revoked since: authorise every request by peer->serial, not connections. */
#ifndef WIRE_TLS_H
#define WIRE_TLS_H

#include <sys/types.h>

#include "cert.h"

/* Who is at the other end, as its certificate said. */
struct tls_peer {
	bool present; /* it showed a certificate that chains to the pin */
	bool expired; /* outside its dates; only with allow_expired */
	bool resumed; /* known from a ticket */
	char name[CHAIN_NAME_SIZE]; /* CN */
	char uri[CHAIN_URI_SIZE];
	uint8_t serial[CHAIN_SERIAL_SIZE];
	uint8_t serial_size;
	int64_t not_after;
};

struct tls;
struct tls_conn;

enum {
	TLS_TICKET_KEY_SIZE = 48, /* 16 random bytes of name, 32 of key */
	TLS_TICKET_KEYS_MAX = 3,  /* the first makes tickets, all open them */
	TLS_TICKET_LIFE_S = 24 * 3600,
	TLS_SESSION_MAX = 2048, /* bytes of a client's saved session */
	TLS_RECORD_SIZE = 8191, /* that we send at most; 16384 are taken */
};

struct tls_server_config {
	/* PEM, leaf first; must end with the root, from whose key clients that
	 * only know the pin start. */
	struct span chain;
	const struct cert_key *key; /* stays the caller's; copied */
	uint8_t pin[CHAIN_PIN_SIZE];
	/* PEM of CA certificates whose clients are taken, such as the hub's own
	 * intermediate (saves one verification a handshake) and the root. */
	struct span client_ca;
	/* Expired client certificates are taken, with peer.expired set, and
	 * the caller refuses all but /v1/renew. */
	bool allow_expired;
	const char *alpn; /* "h2 http/1.1" in order of preference */
};

/* 0, -EINVAL (certificate and key do not fit or do not parse), -ENOMEM. */
int tls_server_new(const struct tls_server_config *config, struct tls **tls);

/* A new certificate for connections from now on (renewal). */
int tls_server_certificate(struct tls *tls, struct span chain,
			   const struct cert_key *key);

/* n keys of TLS_TICKET_KEY_SIZE, newest first; a server without keys makes one
 * of its own, which dies with it. Rotate at least daily, and keep each for
 * TLS_TICKET_LIFE_S after it stopped making tickets. */
int tls_server_ticket_keys(struct tls *tls,
			   const uint8_t (*keys)[TLS_TICKET_KEY_SIZE],
			   size_t n);

struct tls_client_config {
	uint8_t pin[CHAIN_PIN_SIZE];
	/* Own certificate and those above it without the root, and its key;
	 * both empty before enrolment. */
	struct span chain;
	const struct cert_key *key;
	/* Take a server certificate outside its dates: for the connection whose
	 * only requests are renewal and time, or a node without a clock. */
	bool allow_expired;
	const char *alpn; /* "h2" */
};

int tls_client_new(const struct tls_client_config *config, struct tls **tls);

/* Connections keep what they need: free it at any time. */
void tls_free(struct tls *tls);

/* ---- one connection: for http.c, tests, benches ---- */

/* Over fd, which stays the caller's and must be non-blocking. server_name: a
 * client's: the DNS name or address that the certificate must carry; NULL at a
 * server. 0 or -ENOMEM. */
int tls_open(struct tls *tls, int fd, const char *server_name,
	     struct tls_conn **conn);
/* A client offers a session that tls_session_take() gave; one that is broken or
 * too old is ignored. Before the first tls_handshake(). */
void tls_session_offer(struct tls_conn *conn, struct span session);

/* One bounded step; call again when it returns 0 (not finished, more to do at
 * once) or, after -EAGAIN, when tls_events() came. 1 when finished. Otherwise
 * -EKEYREJECTED, -EKEYEXPIRED, -EPROTO, -ECONNRESET, ...; tls_error() says it.
 */
int tls_handshake(struct tls_conn *conn);

/* Bytes read; 0: orderly end; -EAGAIN; -EPROTO; -ECONNRESET; -EACCES when the
 * other side refused our certificate. */
ssize_t tls_read(struct tls_conn *conn, void *buf, size_t size);
/* Bytes taken: at most one record (TLS_RECORD_SIZE), encrypted, perhaps still
 * on their way: see tls_flush(). -EAGAIN when earlier ones are, and so on. */
ssize_t tls_write(struct tls_conn *conn, const void *buf, size_t size);
/* 0 when all that was taken is with the kernel, or -EAGAIN. */
int tls_flush(struct tls_conn *conn);
/* What the last -EAGAIN waits for: EPOLLIN or EPOLLOUT. */
uint32_t tls_events(const struct tls_conn *conn);
/* Whether read has bytes without the descriptor being ready. */
bool tls_pending(const struct tls_conn *conn);

/* Frees the record buffers (26 KB) when nothing is in them; the next read or
 * write makes them again. Worth it before every wait. */
void tls_idle(struct tls_conn *conn);
/* Sends close_notify if that does not block; then tls_conn_free(). */
void tls_shut(struct tls_conn *conn);
void tls_conn_free(struct tls_conn *conn);

const struct tls_peer *tls_peer(const struct tls_conn *conn);
/* "h2", "http/1.1" or "". */
const char *tls_alpn(const struct tls_conn *conn);
/* One line for the log. */
const char *tls_error(const struct tls_conn *conn);
/* A client's newest session ticket; at most TLS_SESSION_MAX bytes are written
 * to buf. Returns the size, or 0 when no new one came. The bytes are secret. */
size_t tls_session_take(struct tls_conn *conn, void *buf);

#endif
