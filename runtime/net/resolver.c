/* Theory of operation. A query is answered from the cache, or asked on: to the
 * name servers of the node in turn, each time from a new socket (so that its
 * port is one that nobody guesses) under an identifier drawn anew. What comes
 * back counts only when it answers that question. It is kept for as long as its
 * records say, for all containers.
 *
 * A name of one label that is a service of the asker's application leads to
 * that service's container.
 *
 * Queries by TCP are not looked into: such a connection is led to the first
 * name server as it is (out_tcp.c). That is how an asker gets what is too large
 * for his datagrams. */
#define _GNU_SOURCE
#include "resolver.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "dns.h"
#include "node_address.h"
#include "out_datagram.h"
#include "outlet.h"
#include "upstream.h"

/* #syscalls: socket connect sendto recvfrom close getrandom */

enum {
	PORT = 53,
	PENDING_MAX = 256,
	QUERY_MAX = 1024,
	ANSWER_MAX = 4096,
	TRY_MS = 1500,
	TRIES = 4, /* over all name servers */
	CACHE_SETS = 128,
	CACHE_WAYS = 4,
	CACHE_BYTES = 1232, /* larger ones are not kept */
	SHARE = 2,	    /* a container may have this part of what is free */
};

struct pending {
	bool used;
	struct tun *tun;
	struct key key;
	struct dns_query query;
	uint16_t id; /* towards the name server */
	uint16_t size;
	uint8_t message[QUERY_MAX];
	unsigned int tries;
	int fd;
	struct watch watch;
	struct timer timer;
};

/* used_ms 0: free. */
struct cached {
	uint64_t kept_ms, ends_ms, used_ms;
	uint16_t flags, question_size, size;
	uint8_t question[DNS_QUESTION_MAX];
	uint8_t answer[CACHE_BYTES];
};

static struct loop *loop;
static struct pending pending[PENDING_MAX];
static unsigned int n_pending;
static struct cached cache[CACHE_SETS][CACHE_WAYS];

bool resolver_is(const struct key *key)
{
	uint8_t v4[16] = { [10] = 0xff, 0xff, 10, 64, 0, 1 }, v6[16];

	_Static_assert(NET_RESOLVER == 0x0a400001, "as in v4");
	net_address6(NET_RESOLVER, v6);
	return key->outside_port == PORT &&
	       (!memcmp(key->outside, v4, 16) || !memcmp(key->outside, v6, 16));
}

int resolver_server(uint8_t address[16])
{
	const struct upstream *u = upstream_get();

	if (!u->n)
		return -EHOSTUNREACH;
	memcpy(address, u->address[0], 16);
	return 0;
}

/* The cache */

static struct cached *cache_set(const struct dns_query *q)
{
	uint32_t hash = 2166136261u ^ q->flags;

	for (size_t i = 0; i < q->question_size; i++)
		hash = (hash ^ q->question[i]) * 16777619u;
	return cache[(hash >> 16) % CACHE_SETS];
}

static struct cached *cache_find(const struct dns_query *q)
{
	struct cached *set = cache_set(q);
	uint64_t now = clock_ms();

	for (struct cached *c = set; c < set + CACHE_WAYS; c++) {
		if (c->used_ms && c->ends_ms > now && c->flags == q->flags &&
		    c->question_size == q->question_size &&
		    !memcmp(c->question, q->question, q->question_size)) {
			c->used_ms = now;
			return c;
		}
	}
	return NULL;
}

static void cache_keep(const struct dns_query *q, const uint8_t *answer,
		       size_t size)
{
	struct cached *set = cache_set(q), *oldest = set;
	int ttl = dns_ttl(answer, size);

	if (ttl <= 0 || size > CACHE_BYTES)
		return;
	for (struct cached *c = set; c < set + CACHE_WAYS; c++) {
		if (c->used_ms < oldest->used_ms)
			oldest = c;
	}
	*oldest = (struct cached){
		.kept_ms = clock_ms(),
		.used_ms = clock_ms(),
		.flags = q->flags,
		.question_size = q->question_size,
		.size = (uint16_t)size,
	};
	oldest->ends_ms = oldest->kept_ms + (uint64_t)ttl * 1000;
	memcpy(oldest->question, q->question, q->question_size);
	memcpy(oldest->answer, answer, size);
}

/* Answers */

static void answer_send(struct tun *t, const struct key *key,
			const struct dns_query *q, const uint8_t *answer,
			size_t size)
{
	uint8_t empty[DNS_HEADER_SIZE + DNS_QUESTION_MAX];

	if (size > q->answer_max) {
		size = dns_empty(empty, q, DNS_OK, DNS_TRUNCATED);
		answer = empty;
	}
	out_datagram_reply(t, key, answer, size);
}

static void error_answer(struct tun *t, const struct key *key,
			 const struct dns_query *q, enum dns_code code)
{
	uint8_t empty[DNS_HEADER_SIZE + DNS_QUESTION_MAX];
	size_t size = dns_empty(empty, q, code, DNS_WHOLE);

	out_datagram_reply(t, key, empty, size);
}

static bool cache_answer(struct tun *t, const struct key *key,
			 const struct dns_query *q)
{
	const struct cached *c = cache_find(q);
	uint8_t answer[CACHE_BYTES];

	if (!c)
		return false;
	memcpy(answer, c->answer, c->size);
	dns_id_set(answer, q->id);
	dns_age(answer, c->size, (uint32_t)((clock_ms() - c->kept_ms) / 1000));
	answer_send(t, key, q, answer, c->size);
	return true;
}

/* A service of the asker's own application. */
static bool service_answer(struct tun *t, const struct key *key,
			   const struct dns_query *q)
{
	uint8_t answer[DNS_ADDRESS_MAX];
	const struct tun *to;
	char name[64];
	size_t size = 0;

	to = dns_label(q, name) ? tun_service(t, name) : NULL;
	if (!to)
		return false;
	switch (dns_kind(q)) {
	case DNS_ADDRESS4:
		size = dns_address(answer, q, to->address + 12, 4);
		break;
	case DNS_ADDRESS6:
		size = dns_address(answer, q, to->address6, 16);
		break;
	case DNS_OTHER:
		size = dns_empty(answer, q, DNS_OK, DNS_WHOLE);
		break;
	}
	out_datagram_reply(t, key, answer, size);
	return true;
}

/* Asking on */

static void pending_close(struct pending *p)
{
	watch_del(loop, &p->watch);
	fd_close(&p->fd);
	timer_cancel(&p->timer);
}

static void pending_end(struct pending *p)
{
	pending_close(p);
	p->used = false;
	p->tun->queries--;
	n_pending--;
}

static int server_ask(struct pending *p, const uint8_t server[16])
{
	union node_address to;
	socklen_t size = node_address(&to, server, PORT);

	p->fd = socket(to.any.sa_family,
		       SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || connect(p->fd, &to.any, size) < 0 ||
	    getrandom(&p->id, sizeof(p->id), 0) != sizeof(p->id))
		return -errno;
	dns_id_set(p->message, p->id);
	if (send(p->fd, p->message, p->size, MSG_NOSIGNAL) < 0)
		return -errno;
	return watch_add(loop, &p->watch, p->fd, EPOLLIN);
}

/* Asks the next name server, or gives up. */
static void pending_try(struct pending *p)
{
	const struct upstream *u = upstream_get();
	int error = -EHOSTUNREACH;

	pending_close(p);
	while (error < 0 && u->n && p->tries < TRIES) {
		fd_close(&p->fd);
		error = server_ask(p, u->address[p->tries++ % u->n]);
	}
	if (error == 0) {
		timer_set(loop, &p->timer, TRY_MS);
		return;
	}
	error_answer(p->tun, &p->key, &p->query, DNS_SERVER_FAILURE);
	pending_end(p);
}

static void try_late(struct timer *t)
{
	pending_try(container_of(t, struct pending, timer));
}

/* A server that fails, or does not want to, is not the last word. */
static bool is_last_word(const struct pending *p, const uint8_t *answer)
{
	enum dns_code code = dns_code(answer);

	return code == DNS_OK || code == DNS_NO_NAME || p->tries >= TRIES;
}

static void server_ready(struct watch *w, uint32_t events)
{
	static uint8_t answer[ANSWER_MAX];
	struct pending *p = container_of(w, struct pending, watch);
	ssize_t n = recv(p->fd, answer, sizeof(answer), 0);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n >= 0 && !dns_answers(&p->query, p->id, answer, (size_t)n))
		return; /* forged, or late: the true one may come */
	if (n < 0 || !is_last_word(p, answer)) {
		pending_try(p);
		return;
	}
	dns_id_set(answer, p->query.id);
	cache_keep(&p->query, answer, (size_t)n);
	answer_send(p->tun, &p->key, &p->query, answer, (size_t)n);
	pending_end(p);
}

/* Whether the same asker waits for the same answer: he asked again. */
static bool is_asked(const struct key *key, const struct dns_query *q)
{
	for (struct pending *p = pending; p < pending + PENDING_MAX; p++) {
		if (p->used && p->query.id == q->id &&
		    !memcmp(&p->key, key, sizeof(*key)))
			return true;
	}
	return false;
}

static struct pending *pending_new(struct tun *t)
{
	struct pending *p = pending;

	if (t->queries >= (PENDING_MAX - n_pending) * SHARE)
		return NULL;
	while (p < pending + PENDING_MAX && p->used)
		p++;
	if (p == pending + PENDING_MAX)
		return NULL;
	p->used = true;
	p->tun = t;
	p->tries = 0;
	p->fd = -1;
	p->watch = (struct watch){ .fd = -1, .ready = server_ready };
	p->timer.fire = try_late;
	t->queries++;
	n_pending++;
	return p;
}

void resolver_input(struct tun *t, const struct packet *packet)
{
	const uint8_t *message = packet->transport + PACKET_UDP_HEADER;
	size_t size = packet->size - PACKET_UDP_HEADER;
	struct dns_query q;
	struct pending *p;

	if (size > QUERY_MAX || dns_query_read(&q, message, size) < 0) {
		t->counts.malformed++;
		return;
	}
	if (service_answer(t, &packet->key, &q) ||
	    cache_answer(t, &packet->key, &q) || is_asked(&packet->key, &q))
		return;
	p = pending_new(t);
	if (!p) {
		t->counts.dropped++;
		return;
	}
	p->key = packet->key;
	p->query = q;
	p->size = (uint16_t)size;
	memcpy(p->message, message, size);
	pending_try(p);
}

void resolver_end(struct tun *t)
{
	for (struct pending *p = pending; p < pending + PENDING_MAX; p++) {
		if (p->used && p->tun == t)
			pending_end(p);
	}
}

void resolver_init(struct loop *on)
{
	loop = on;
}
