/* Theory of operation. A query is answered from the cache, or asked on: to the
 * name servers of the node in turn, each time from a new socket (so that its
 * port is one that nobody guesses) under an identifier drawn anew. What comes
 * back counts only when it answers that question. It is kept for as long as its
 * records say, for all containers.
 *
 * A name of a service of the asker's application leads to that service's
 * container.
 *
 * A container whose policy names name servers (net_policy.h) is asked for at
 * those, and never at the node's. What they say is for it alone: nothing of it
 * is kept for others, nor is it told what others were.
 *
 * Who asks by TCP (name_stream.c) gets the same answers, whole: where a name
 * server has cut one to fit a datagram it is asked once more, by TCP. So all
 * that a container is told by this resolver is seen here, and rules by name
 * know it (policy.h). */
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
#include "name_stream.h"
#include "node_address.h"
#include "out_datagram.h"
#include "outlet.h"
#include "policy.h"
#include "upstream.h"

_Static_assert((int)NET_SERVERS_MAX == (int)UPSTREAM_MAX, "as many of each");

/* #syscalls: socket connect getsockopt sendto recvfrom close getrandom */

enum {
	PORT = 53,
	PENDING_MAX = 256,
	ANSWER_MAX = 4096,
	TRY_MS = 1500,
	TRIES = 4, /* over all name servers */
	CACHE_SETS = 128,
	CACHE_WAYS = 4,
	CACHE_BYTES = 1232, /* larger ones are not kept */
	SHARE = 2,	    /* a container may have this part of what is free */
	WHOLE_PENDING = 16, /* answers of a name server by TCP */
	SIZE_BYTES = 2,	    /* before a message by TCP */
	FOUND_MAX = 64,	    /* addresses of an answer that rules know */
};

/* An answer by TCP while it comes. */
struct whole {
	bool used;
	size_t got;
	uint8_t data[SIZE_BYTES + DNS_MESSAGE_MAX];
};

struct pending {
	bool used;
	struct asker asker;
	struct dns_query query;
	uint16_t id; /* towards the name server */
	uint16_t size;
	uint8_t message[RESOLVER_QUERY_MAX];
	bool is_own; /* the name servers are those of the asker's policy */
	unsigned int tries;
	struct whole *whole; /* NULL while it is asked by datagram */
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
static struct whole wholes[WHOLE_PENDING];
static struct cached cache[CACHE_SETS][CACHE_WAYS];

bool resolver_is(const struct key *key)
{
	uint8_t v4[16] = { [10] = 0xff, 0xff, 10, 64, 0, 1 }, v6[16];

	_Static_assert(NET_RESOLVER == 0x0a400001, "as in v4");
	net_address6(NET_RESOLVER, v6);
	return key->outside_port == PORT &&
	       (!memcmp(key->outside, v4, 16) || !memcmp(key->outside, v6, 16));
}

/* Whether t's policy, which is at hand, names some. */
static bool servers_own(const struct tun *t)
{
	return t->policy && t->policy->rules.n_servers;
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

static void reply(const struct asker *a, const uint8_t *answer, size_t size)
{
	if (a->stream)
		name_stream_reply(a->stream, answer, size);
	else
		out_datagram_reply(a->tun, &a->key, answer, size);
}

/* Before the asker can use them. */
static void names_tell(struct tun *t, const struct dns_query *q,
		       const uint8_t *answer, size_t size)
{
	struct dns_found found[FOUND_MAX];
	struct policy *policy = tun_policy(t);
	char name[DNS_NAME_SIZE];
	int n;

	if (!policy || !dns_name(q, name))
		return;
	n = dns_addresses(answer, size, found, FOUND_MAX);
	for (int i = 0; i < n; i++)
		policy_give(policy, name, found[i].address, found[i].ttl);
}

static void answer_send(const struct asker *a, const struct dns_query *q,
			const uint8_t *answer, size_t size)
{
	uint8_t empty[DNS_HEADER_SIZE + DNS_QUESTION_MAX];

	if (size > (a->stream ? DNS_MESSAGE_MAX : q->answer_max)) {
		size = dns_empty(empty, q, DNS_OK, DNS_TRUNCATED);
		answer = empty;
	}
	names_tell(a->tun, q, answer, size);
	reply(a, answer, size);
}

static void error_answer(const struct asker *a, const struct dns_query *q,
			 enum dns_code code)
{
	uint8_t empty[DNS_HEADER_SIZE + DNS_QUESTION_MAX];
	size_t size = dns_empty(empty, q, code, DNS_WHOLE);

	reply(a, empty, size);
}

static bool cache_answer(const struct asker *a, const struct dns_query *q)
{
	const struct cached *c = servers_own(a->tun) ? NULL : cache_find(q);
	uint8_t answer[CACHE_BYTES];

	if (!c)
		return false;
	memcpy(answer, c->answer, c->size);
	dns_id_set(answer, q->id);
	dns_age(answer, c->size, (uint32_t)((clock_ms() - c->kept_ms) / 1000));
	answer_send(a, q, answer, c->size);
	return true;
}

/* A service of the asker's own application. */
static bool service_answer(const struct asker *a, const struct dns_query *q)
{
	static unsigned int turn[DNS_OTHER + 1];
	uint8_t answer[DNS_ADDRESS_MAX];
	const struct tun *to;
	char name[DNS_NAME_SIZE];
	size_t size = 0;

	/* Both kinds are asked for together: what each is told takes turns of
	 * its own. */
	to = dns_name(q, name) ? tun_service(a->tun, name, &turn[dns_kind(q)])
			       : NULL;
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
	reply(a, answer, size);
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
	if (p->whole)
		p->whole->used = false;
	p->used = false;
	p->asker.tun->queries--;
	n_pending--;
}

/* The last word: after this, p is free. The asker may ask on meanwhile. */
static void pending_answer(struct pending *p, uint8_t *answer, size_t size)
{
	const struct dns_query query = p->query;
	const struct asker asker = p->asker;
	bool is_own = p->is_own;

	/* Where the answer lies stays as it is until the next is read. */
	pending_end(p);
	if (!size) {
		error_answer(&asker, &query, DNS_SERVER_FAILURE);
		return;
	}
	dns_id_set(answer, query.id);
	if (!is_own)
		cache_keep(&query, answer, size);
	answer_send(&asker, &query, answer, size);
}

/* The policy may have gone, or changed, while they were asked: that makes of
 * a container's own name servers none, but not the node's. */
static const struct upstream *servers_of(const struct pending *p)
{
	static struct upstream own;
	const struct policy *policy = p->asker.tun->policy;
	const struct net_policy *rules;

	if (!p->is_own)
		return upstream_get();
	own = (struct upstream){ 0 };
	if (!policy)
		return &own;
	rules = &policy->rules;
	own.n = rules->n_servers;
	memcpy(own.address, rules->server, sizeof(own.address));
	return &own;
}

static int server_ask(struct pending *p, const struct upstream *u,
		      unsigned int i)
{
	union node_address to;
	socklen_t size = node_address(&to, u->address[i], PORT);
	int kind = p->whole ? SOCK_STREAM : SOCK_DGRAM;

	p->fd = socket(to.any.sa_family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC,
		       0);
	if (to.any.sa_family == AF_INET6)
		node_address_scope(&to, u->scope[i]);
	if (p->fd < 0 || getrandom(&p->id, sizeof(p->id), 0) != sizeof(p->id))
		return -errno;
	dns_id_set(p->message, p->id);
	if (connect(p->fd, &to.any, size) < 0 &&
	    !(p->whole && errno == EINPROGRESS))
		return -errno;
	/* By TCP it is sent once it is connected. */
	if (!p->whole && send(p->fd, p->message, p->size, MSG_NOSIGNAL) < 0)
		return -errno;
	return watch_add(loop, &p->watch, p->fd, p->whole ? EPOLLOUT : EPOLLIN);
}

/* Asks the next name server, or gives up. */
static void pending_try(struct pending *p)
{
	const struct upstream *u = servers_of(p);
	int error = -EHOSTUNREACH;

	pending_close(p);
	if (p->whole)
		p->whole->got = 0;
	while (error < 0 && u->n && p->tries < TRIES) {
		fd_close(&p->fd);
		error = server_ask(p, u, p->tries++ % u->n);
	}
	if (error == 0)
		timer_set(loop, &p->timer, TRY_MS);
	else
		pending_answer(p, NULL, 0);
}

/* The same name server once more, by TCP; false when there is no room. */
static bool pending_whole(struct pending *p)
{
	struct whole *w = wholes;

	while (w < wholes + WHOLE_PENDING && w->used)
		w++;
	if (w == wholes + WHOLE_PENDING)
		return false;
	w->used = true;
	p->whole = w;
	p->tries--;
	pending_try(p);
	return true;
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

/* Who chose the answer: the name server, or who sits between. What is in bad
 * shape is not handed on to resolvers that may be less careful. */
static bool is_good(const uint8_t *answer, size_t size)
{
	return dns_is_cut(answer) || dns_ttl(answer, size) >= 0;
}

static void datagram_ready(struct pending *p)
{
	static uint8_t answer[ANSWER_MAX];
	ssize_t n = recv(p->fd, answer, sizeof(answer), MSG_TRUNC);
	bool is_cut = n > ANSWER_MAX;

	if (is_cut)
		n = ANSWER_MAX;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n >= 0 && !dns_answers(&p->query, p->id, answer, (size_t)n))
		return; /* forged, or late: the true one may come */
	if (is_cut)
		dns_cut_set(answer);
	if (n < 0 || !is_good(answer, (size_t)n) || !is_last_word(p, answer))
		pending_try(p);
	else if (!p->asker.stream || !dns_is_cut(answer) || !pending_whole(p))
		pending_answer(p, answer, (size_t)n);
}

/* 0, or -errno when this server does not answer. */
static int whole_send(struct pending *p)
{
	uint8_t data[SIZE_BYTES + RESOLVER_QUERY_MAX] = {
		(uint8_t)(p->size >> 8), (uint8_t)p->size
	};
	size_t size = SIZE_BYTES + (size_t)p->size;

	memcpy(data + SIZE_BYTES, p->message, p->size);
	/* A new connection takes that much. */
	if (send(p->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
		return -ECONNREFUSED;
	return watch_events(loop, &p->watch, EPOLLIN);
}

/* 1 when the answer is there, 0 when more of it is to come, or -errno. */
static int whole_read(struct pending *p)
{
	struct whole *w = p->whole;
	ssize_t n = recv(p->fd, w->data + w->got, sizeof(w->data) - w->got, 0);
	size_t size;

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR)
			       ? 0
			       : -ECONNRESET;
	w->got += (size_t)n;
	if (w->got < SIZE_BYTES)
		return 0;
	size = (size_t)w->data[0] << 8 | w->data[1];
	if (w->got < SIZE_BYTES + size)
		return 0;
	return dns_answers(&p->query, p->id, w->data + SIZE_BYTES, size) &&
			       is_good(w->data + SIZE_BYTES, size) &&
			       is_last_word(p, w->data + SIZE_BYTES)
		       ? 1
		       : -EBADMSG;
}

static void server_ready(struct watch *w, uint32_t events)
{
	struct pending *p = container_of(w, struct pending, watch);
	struct whole *whole = p->whole;
	int r = 0;

	if (!whole) {
		datagram_ready(p);
		return;
	}
	if (p->watch.events & EPOLLOUT)
		r = events & EPOLLOUT ? whole_send(p) : -ECONNREFUSED;
	else
		r = whole_read(p);
	if (r < 0)
		pending_try(p);
	else if (r > 0)
		pending_answer(p, whole->data + SIZE_BYTES,
			       (size_t)whole->data[0] << 8 | whole->data[1]);
}

/* Whether the same asker waits for the same answer: he asked again. */
static bool is_asked(const struct asker *a, const struct dns_query *q)
{
	for (struct pending *p = pending; p < pending + PENDING_MAX; p++) {
		if (p->used && p->query.id == q->id &&
		    p->asker.stream == a->stream && p->asker.tun == a->tun &&
		    !memcmp(&p->asker.key, &a->key, sizeof(a->key)))
			return true;
	}
	return false;
}

static struct pending *pending_new(const struct asker *a)
{
	struct pending *p = pending;

	if (a->tun->queries >= (PENDING_MAX - n_pending) * SHARE)
		return NULL;
	while (p < pending + PENDING_MAX && p->used)
		p++;
	if (p == pending + PENDING_MAX)
		return NULL;
	p->used = true;
	p->asker = *a;
	p->tries = 0;
	p->whole = NULL;
	p->fd = -1;
	p->watch = (struct watch){ .fd = -1, .ready = server_ready };
	p->timer.fire = try_late;
	a->tun->queries++;
	n_pending++;
	return p;
}

int resolver_ask(const struct asker *a, const uint8_t *message, size_t size)
{
	struct dns_query q;
	struct pending *p;

	if (size > RESOLVER_QUERY_MAX ||
	    dns_query_read(&q, message, size) < 0) {
		a->tun->counts.malformed++;
		return -EBADMSG;
	}
	/* Whom to ask may be in a policy that is not at hand yet. */
	if (a->tun->has_policy && !tun_policy(a->tun)) {
		a->tun->counts.limited++;
		return -ENOBUFS;
	}
	if (service_answer(a, &q) || cache_answer(a, &q) || is_asked(a, &q))
		return 0;
	p = pending_new(a);
	if (!p) {
		a->tun->counts.dropped++;
		return -ENOBUFS;
	}
	p->is_own = servers_own(a->tun);
	p->query = q;
	p->size = (uint16_t)size;
	memcpy(p->message, message, size);
	pending_try(p);
	return 0;
}

void resolver_input(struct tun *t, const struct packet *packet)
{
	const struct asker asker = { .tun = t, .key = packet->key };

	(void)resolver_ask(&asker, packet->transport + PACKET_UDP_HEADER,
			   packet->size - PACKET_UDP_HEADER);
}

void resolver_forget(const struct name_stream *s)
{
	for (struct pending *p = pending; p < pending + PENDING_MAX; p++) {
		if (p->used && p->asker.stream == s)
			pending_end(p);
	}
}

void resolver_end(struct tun *t)
{
	name_stream_end(t);
	for (struct pending *p = pending; p < pending + PENDING_MAX; p++) {
		if (p->used && p->asker.tun == t)
			pending_end(p);
	}
}

void resolver_init(struct loop *on)
{
	loop = on;
	name_stream_init(on);
}
