/* TLS over a socket pair, both ends in one process: who is accepted as whom,
 * what a ticket carries, what is left of memory when idle. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"
#include "wire/tls.h"
#include "wire_pki.h"

static struct pki pki, other;

struct pair {
	int fd[2];
	struct tls_conn *server, *client;
	int server_end, client_end; /* 1 or -errno */
};

static struct tls *server_tls(bool allow_expired)
{
	char ca[2 * CERT_PEM_SIZE];
	struct tls_server_config config = {
		.chain = span_of(pki.server_chain),
		.key = pki.server.key,
		.allow_expired = allow_expired,
		.alpn = "h2 http/1.1",
	};
	struct tls *tls;

	pki_join(ca, sizeof(ca), pki.hub_ca.pem, pki.root.pem);
	config.client_ca = span_of(ca);
	memcpy(config.pin, pki.pin, sizeof(pki.pin));
	return tls_server_new(&config, &tls) ? NULL : tls;
}

static struct tls *client_tls(const struct party *who, const uint8_t *pin,
			      bool allow_expired)
{
	struct tls_client_config config = { .alpn = "h2",
					    .allow_expired = allow_expired };
	struct tls *tls;

	if (who) {
		config.chain = span_of(who->chain);
		config.key = who->key;
	}
	memcpy(config.pin, pin, sizeof(config.pin));
	return tls_client_new(&config, &tls) ? NULL : tls;
}

static void step(struct tls_conn *conn, int *end)
{
	int n;

	if (*end)
		return;
	do
		n = tls_handshake(conn);
	while (n == 0);
	if (n != -EAGAIN)
		*end = n;
}

static void shake(struct pair *p, struct tls *server, struct tls *client,
		  const char *name, struct span session)
{
	memset(p, 0, sizeof(*p));
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		   p->fd);
	tls_open(server, p->fd[0], NULL, &p->server);
	tls_open(client, p->fd[1], name, &p->client);
	tls_session_offer(p->client, session);
	for (int i = 0; i < 20 && !(p->server_end && p->client_end); i++) {
		step(p->client, &p->client_end);
		step(p->server, &p->server_end);
	}
}

static void part(struct pair *p)
{
	tls_conn_free(p->server);
	tls_conn_free(p->client);
	close(p->fd[0]);
	close(p->fd[1]);
}

/* Bytes there and back. */
static bool talk(struct pair *p)
{
	char buf[64];

	return tls_write(p->client, "question", 8) == 8 &&
	       tls_read(p->server, buf, sizeof(buf)) == 8 &&
	       tls_write(p->server, "answer", 6) == 6 &&
	       tls_read(p->client, buf, sizeof(buf)) == 6 &&
	       memcmp(buf, "answer", 6) == 0;
}

static void test_mutual(void)
{
	struct tls *server = server_tls(false);
	struct tls *client = client_tls(&pki.node, pki.pin, false);
	struct span none = { NULL, 0 };
	char session[TLS_SESSION_MAX];
	struct pair p;
	size_t n;

	shake(&p, server, client, "localhost", none);
	ok(p.server_end == 1 && p.client_end == 1, "mutual: %s / %s",
	   tls_error(p.server), tls_error(p.client));
	ok(tls_peer(p.server)->present &&
		   strcmp(tls_peer(p.server)->name, "n-0123456789abcd") == 0 &&
		   strcmp(tls_peer(p.server)->uri, "zooid:///n1") == 0,
	   "the server knows the node");
	ok(!tls_peer(p.server)->resumed, "not resumed");
	ok(strcmp(tls_alpn(p.server), "h2") == 0, "ALPN h2");
	ok(talk(&p), "bytes both ways");
	n = tls_session_take(p.client, session);
	ok(n > 0, "a session of %zu bytes", n);
	for (int i = 0; i < 3; i++) {
		tls_idle(p.server);
		tls_idle(p.client);
		ok(talk(&p), "bytes after idling");
	}
	part(&p);

	shake(&p, server, client, "localhost", (struct span){ session, n });
	ok(p.server_end == 1 && p.client_end == 1, "again: %s / %s",
	   tls_error(p.server), tls_error(p.client));
	ok(tls_peer(p.server)->resumed && tls_peer(p.server)->present &&
		   strcmp(tls_peer(p.server)->name, "n-0123456789abcd") == 0,
	   "resumed, and the server still knows the node");
	ok(talk(&p), "bytes both ways");
	part(&p);

	/* Another server without the key of the ticket. */
	tls_free(server);
	server = server_tls(false);
	shake(&p, server, client, "localhost", (struct span){ session, n });
	ok(p.server_end == 1 && !tls_peer(p.server)->resumed &&
		   tls_peer(p.server)->present,
	   "a foreign ticket makes a full handshake");
	part(&p);
	tls_free(server);
	tls_free(client);
}

static void test_refusals(void)
{
	int64_t now = time(NULL), day = 86400;
	static const char *const node[] = { "uri:zooid:///n1", NULL };
	static const char *const server_names[] = { "dns:localhost", NULL };
	struct party expired = { 0 }, foreign = { 0 }, old_server = { 0 };
	struct party kept = pki.server;
	struct span none = { NULL, 0 };
	struct {
		const char *what;
		const struct party *who;
		const uint8_t *pin;
		const char *name;
		bool server_lax, client_lax;
		int server, client;
		bool present, peer_expired;
	} cases[] = {
		{ "no certificate", NULL, pki.pin, "localhost", false, false, 1,
		  1, false, false },
		{ "by address", &pki.node, pki.pin, "127.0.0.1", false, false,
		  1, 1, true, false },
		{ "wrong name", &pki.node, pki.pin, "hub.example", false, false,
		  -EPROTO, -EKEYREJECTED, false, false },
		{ "wrong pin", &pki.node, other.pin, "localhost", false, false,
		  -EPROTO, -EKEYREJECTED, false, false },
		{ "foreign node", &foreign, pki.pin, "localhost", false, false,
		  -EKEYREJECTED, 1, false, false },
		{ "server's certificate as client's", &pki.server, pki.pin,
		  "localhost", false, false, -EKEYREJECTED, 1, false, false },
		{ "signer's certificate as client's", &pki.signer, pki.pin,
		  "localhost", false, false, -EKEYREJECTED, 1, false, false },
		{ "expired node", &expired, pki.pin, "localhost", false, false,
		  -EKEYEXPIRED, 1, false, false },
		{ "expired node, for renewal", &expired, pki.pin, "localhost",
		  true, false, 1, 1, true, true },
	};

	pki_issue(&expired, &pki.hub_ca, CHAIN_USE_CLIENT, "n-old", node,
		  now - 500 * day, now - 400 * day);
	pki_issue(&foreign, &other.hub_ca, CHAIN_USE_CLIENT, "n-foreign", node,
		  now - day, now + day);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tls *server = server_tls(cases[i].server_lax);
		struct tls *client = client_tls(cases[i].who, cases[i].pin,
						cases[i].client_lax);
		struct pair p;

		shake(&p, server, client, cases[i].name, none);
		/* A refusal may reach the other side as an alert or late. */
		ok((p.server_end == cases[i].server ||
		    (cases[i].server < 0 && p.server_end < 0)) &&
			   p.client_end == cases[i].client,
		   "%s: %d %s / %d %s", cases[i].what, p.server_end,
		   tls_error(p.server), p.client_end, tls_error(p.client));
		if (p.server_end == 1)
			ok(tls_peer(p.server)->present == cases[i].present &&
				   tls_peer(p.server)->expired ==
					   cases[i].peer_expired,
			   "%s: known as such", cases[i].what);
		else if (p.client_end == 1) {
			char c;

			ok(tls_read(p.client, &c, 1) == -EACCES, "%s: %s",
			   cases[i].what, tls_error(p.client));
		}
		part(&p);
		tls_free(server);
		tls_free(client);
	}
	/* A server whose certificate is out of date. */
	pki_issue(&old_server, &pki.hub_ca, CHAIN_USE_SERVER, "server",
		  server_names, now - 500 * day, now - 400 * day);
	pki.server = old_server;
	pki_join(pki.server_chain, sizeof(pki.server_chain), old_server.chain,
		 pki.root.pem);
	for (int lax = 0; lax < 2; lax++) {
		struct tls *server = server_tls(true);
		struct tls *client = client_tls(&expired, pki.pin, lax);
		struct pair p;
		char buf[TLS_SESSION_MAX];

		shake(&p, server, client, "localhost", none);
		ok(p.client_end == (lax ? 1 : -EKEYEXPIRED),
		   "expired server, %s: %d %s", lax ? "renewing" : "else",
		   p.client_end, tls_error(p.client));
		if (lax)
			ok(talk(&p) && tls_session_take(p.client, buf) == 0,
			   "its session is not kept");
		part(&p);
		tls_free(server);
		tls_free(client);
	}
	pki.server = kept;
	cert_key_free(old_server.key);
	cert_key_free(expired.key);
	cert_key_free(foreign.key);
}

int main(void)
{
	wire_init();
	pki_make(&pki);
	pki_make(&other);
	test_mutual();
	test_refusals();
	pki_free(&pki);
	pki_free(&other);
	return tap_done();
}
