/* What the files of TLS share; private to them. */
#ifndef WIRE_TLS_CONN_H
#define WIRE_TLS_CONN_H

#include <mbedtls/ssl.h>

#include "tls.h"

enum { TLS_ALPN_MAX = 3, TLS_WHY_SIZE = 200 };

/* Certificate and key of one moment; connections that began with it keep it
 * when the next one comes. */
struct tls_own {
	unsigned refs;
	mbedtls_ssl_config config;
	struct chain *chain;
	struct cert_key *key;
};

struct tls_ticket_key {
	uint8_t name[16], key[32];
};

struct tls {
	unsigned refs;
	bool server, allow_expired;
	uint8_t pin[CHAIN_PIN_SIZE];
	struct chain *client_ca;
	struct tls_own *own;
	size_t n_ticket_keys;
	struct tls_ticket_key ticket_keys[TLS_TICKET_KEYS_MAX];
	char alpn_text[32];
	const char *alpn[TLS_ALPN_MAX + 1];
};

struct tls_conn {
	struct tls *tls;
	struct tls_own *own;
	int fd;
	uint32_t events;
	/* Resumed until a certificate is asked for or shown. */
	bool full, done;
	bool parked;	       /* without record buffers */
	uint8_t in_counter[8]; /* lives in the input buffer when not parked */
	/* A certificate on its way through the checks; NULL after. */
	struct chain_walk *walk;
	bool walked;
	uint8_t *session; /* a client's new one */
	size_t session_size;
	struct tls_peer peer;
	mbedtls_ssl_context ssl;
	char *why; /* the error's line, once there is one */
};

struct tls *tls_ref(struct tls *tls);
void tls_own_free(struct tls_own *own);

/* Which connection the library is working for: its ticket callbacks get only
 * what connections share. One thread, so one at a time. */
extern struct tls_conn *tls_current;

int tls_ticket_write(void *unused, const mbedtls_ssl_session *session,
		     unsigned char *start, const unsigned char *end,
		     size_t *size, uint32_t *life_s);
int tls_ticket_parse(void *unused, mbedtls_ssl_session *session,
		     unsigned char *ticket, size_t size);

#endif
