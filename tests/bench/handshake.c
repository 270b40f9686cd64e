/* CPU of the hub's side of a mutual TLS handshake, full and resumed, against
 * the sum of the primitives that it cannot do without, measured in the same
 * run. Both ends are in this process over a socket pair; only the server's
 * steps are timed, by thread CPU time. Prints one JSON object.
 *
 * full		one exchange (key pair and shared secret on P-256), one
 *		signature, two verifications: of the client's certificate by the
 *		hub's intermediate, which is an anchor, and of its possession
 * resumed	one exchange
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <mbedtls/ecdh.h>
#include <mbedtls/pk.h>
#include <psa/crypto.h>

#include "../unit/wire_pki.h"
#include "wire/key.h"
#include "wire/tls.h"

/* Minima of single runs, taken in turn: what others do on the machine meanwhile
 * slows all of them alike or is left out. */
enum { ROUNDS = 200 };

static struct pki pki;
static struct tls *server, *client;
static char session[TLS_SESSION_MAX];
static size_t session_size;

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- the primitives, as the library's TLS uses them ---- */

static void exchange(void)
{
	psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
	static uint8_t peer[65];
	uint8_t own[65], secret[32];
	psa_key_id_t key;
	size_t n;

	psa_set_key_usage_flags(&a, PSA_KEY_USAGE_DERIVE);
	psa_set_key_algorithm(&a, PSA_ALG_ECDH);
	psa_set_key_type(&a, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
	psa_set_key_bits(&a, 256);
	if (psa_generate_key(&a, &key) != PSA_SUCCESS ||
	    psa_export_public_key(key, own, sizeof(own), &n) != PSA_SUCCESS)
		abort();
	if (!peer[0])
		memcpy(peer, own, sizeof(peer));
	if (psa_raw_key_agreement(PSA_ALG_ECDH, key, peer, sizeof(peer), secret,
				  sizeof(secret), &n) != PSA_SUCCESS)
		abort();
	psa_destroy_key(key);
}

static uint8_t sig[80], hash[32];
static size_t sig_size;

static void sign(void)
{
	mbedtls_pk_sign(key_pk(pki.server.key), MBEDTLS_MD_SHA256, hash, 32,
			sig, sizeof(sig), &sig_size, wire_rng, NULL);
}

static void verify(void)
{
	if (mbedtls_pk_verify(key_pk(pki.server.key), MBEDTLS_MD_SHA256, hash,
			      32, sig, sig_size) != 0)
		abort();
}

static double time_of(void (*what)(void))
{
	double start = cpu_us();

	what();
	return cpu_us() - start;
}

/* ---- handshakes ---- */

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

/* CPU of the server in one handshake, its memory set up and freed. */
static double handshake(struct span resume)
{
	struct tls_conn *s, *c;
	int fd[2], s_end = 0, c_end = 0;
	double start, used = 0;
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) < 0)
		abort();
	start = cpu_us();
	tls_open(server, fd[0], NULL, &s);
	used += cpu_us() - start;
	tls_open(client, fd[1], "localhost", &c);
	tls_session_offer(c, resume);
	for (int i = 0; i < 10 && !(s_end && c_end); i++) {
		step(c, &c_end);
		start = cpu_us();
		step(s, &s_end);
		used += cpu_us() - start;
	}
	if (s_end != 1 || c_end != 1 || !tls_peer(s)->present ||
	    tls_peer(s)->resumed != (resume.size > 0))
		abort();
	(void)tls_read(c, &byte, 1);
	if (!resume.size)
		session_size = tls_session_take(c, session);
	start = cpu_us();
	tls_conn_free(s);
	used += cpu_us() - start;
	tls_conn_free(c);
	close(fd[0]);
	close(fd[1]);
	return used;
}

static void least(double *min, double now)
{
	if (*min == 0 || now < *min)
		*min = now;
}

static void set_up(void)
{
	char ca[2 * CERT_PEM_SIZE];
	struct tls_server_config s = { .chain = span_of(pki.server_chain),
				       .key = pki.server.key };
	struct tls_client_config c = { .chain = span_of(pki.node.chain),
				       .key = pki.node.key };

	pki_join(ca, sizeof(ca), pki.hub_ca.pem, pki.root.pem);
	s.client_ca = span_of(ca);
	memcpy(s.pin, pki.pin, sizeof(s.pin));
	memcpy(c.pin, pki.pin, sizeof(c.pin));
	if (tls_server_new(&s, &server) || tls_client_new(&c, &client))
		abort();
}

int main(void)
{
	double x = 0, s = 0, v = 0, full = 0, resumed = 0;

	wire_init();
	pki_make(&pki);
	set_up();
	sign();
	for (int i = 0; i < ROUNDS; i++) {
		least(&x, time_of(exchange));
		least(&s, time_of(sign));
		least(&v, time_of(verify));
		least(&full, handshake((struct span){ NULL, 0 }));
		least(&resumed,
		      handshake((struct span){ session, session_size }));
	}
	printf("{\"exchange_us\":%.0f,\"sign_us\":%.0f,\"verify_us\":%.0f,"
	       "\"full_us\":%.0f,\"full_ratio\":%.3f,"
	       "\"resumed_us\":%.0f,\"resumed_ratio\":%.3f}\n",
	       x, s, v, full, full / (x + s + 2 * v), resumed, resumed / x);
	return 0;
}
