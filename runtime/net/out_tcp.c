/* A connection that a container opens is ended here (conn.h) and opened again
 * as the node's own.
 *
 * Theory of operation. The SYN is held, unanswered, while the node connects.
 * When that succeeded lwIP gets the SYN and answers it; when it failed the
 * container gets a reset or an ICMP error, whichever the node got: so a
 * connection inside exists exactly when one outside does.
 *
 *	container -> TUN -> conn -> writev() to the socket    (no copy)
 *	socket -> read() into a buffer -> conn -> TUN         (no copy; the
 *buffer is kept until the container has acknowledged it)
 *
 * What the socket does not take waits in the connection, whose window then
 * closes. What the container does not take stays in the socket once the
 * connection has no room: that is the back-pressure, in both directions.
 *
 * Invariants
 * 1. A flow is in the table and in its TUN's list exactly while its state is
 *    not OUT_FREE.
 * 2. sent holds, oldest first, the bytes that lwIP may still send, acked_at
 *    bytes of its head being acknowledged; they are freed only when lwIP has
 *    let go of them.
 * 3. A flow holds at most a fair part of the large buffers (buffer.h). Of one
 *    that has its part, the socket is read in small pieces or not at all, and
 *    the container's data is lost, which its TCP repeats. */
#define _GNU_SOURCE
#include "out_tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "conn.h"
#include "fds.h"
#include "name_stream.h"
#include "node_address.h"
#include "resolver.h"
#include "stock.h"
#include "traffic.h"

/* #syscalls: socket bind connect setsockopt getsockopt readv writev shutdown
 * close
 */

enum {
	SYN_MAX = 60 + 60, /* IP header and TCP header with all options */
	ROUNDS = 4,	   /* reads for one event: others wait meanwhile */
	READ_BATCH = 4,	   /* buffers for one read */
	WRITE_BATCH = 32,
	SHARE = 2, /* a container may have this part of what is free */
	FRUITLESS_PER_S = 500, /* see invariant 4 */
};

enum out_state {
	OUT_FREE,
	OUT_WAITING,	/* for a socket, the SYN is held */
	OUT_CONNECTING, /* so it is now */
	OUT_OPENING,	/* the container has our SYN */
	OUT_OPEN,
};

struct out_tcp {
	struct key_entry entry; /* first */
	enum out_state state;
	bool ended; /* the world has ended its stream */
	bool told;  /* the world was told that the container has */
	bool full;  /* the socket took less than there was */
	bool fruit; /* see bears_fruit() */
	uint8_t syn_size;
	uint8_t syn[SYN_MAX];
	int fd;
	uint32_t acked_at;
	struct watch watch;
	struct conn conn;
	struct buffer *sent, **sent_end;
	unsigned int sent_large; /* large buffers among them, */
	unsigned int large;	 /* and with those of conn, as tun counts */
	struct tun *tun;
	struct traffic_flow traffic;   /* of the neighbour that it leads to */
	struct out_tcp *next, **prevp; /* of the same TUN; next when free */
};

static struct loop *loop;
static struct out_tcp flows[OUT_TCP_MAX];
static struct key_table table;
static struct out_tcp *free_flows;
static unsigned int n_fresh, n_used;
static struct timer tick;

/* The table */

/* How many more there may be of t's. */
static unsigned int room(const struct tun *t)
{
	unsigned int n = fds_free(FDS_OUT, &t->fds);

	return n < OUT_TCP_MAX - n_used ? n : OUT_TCP_MAX - n_used;
}

static struct out_tcp *flow_new(struct tun *t, const struct key *key)
{
	struct out_tcp *f = free_flows;

	/* One that opens ever more finds less and less room. */
	if (t->counts.connections >= room(t) * SHARE)
		return NULL;
	if (f)
		free_flows = f->next;
	else
		f = &flows[n_fresh++];
	*f = (struct out_tcp){
		.entry.key = *key,
		.fd = -1,
		.watch.fd = -1,
		.tun = t,
		.next = t->connections,
		.prevp = &t->connections,
	};
	f->sent_end = &f->sent;
	if (f->next)
		f->next->prevp = &f->next;
	t->connections = f;
	t->counts.connections++;
	n_used++;
	fds_take(FDS_OUT, 1, &t->fds);
	key_add(&table, &f->entry);
	return f;
}

/* The connection inside was left or reset. */
static void flow_free(struct out_tcp *f)
{
	struct buffer *b;

	while ((b = f->sent)) {
		f->sent = b->next;
		buffer_free(b);
	}
	traffic_end(&f->traffic);
	watch_del(loop, &f->watch);
	fd_close(&f->fd);
	key_del(&table, &f->entry);
	*f->prevp = f->next;
	if (f->next)
		f->next->prevp = f->prevp;
	f->tun->counts.connections--;
	f->tun->large -= f->large;
	f->state = OUT_FREE;
	f->next = free_flows;
	free_flows = f;
	n_used--;
	fds_give(FDS_OUT, 1, &f->tun->fds);
}

static void flow_reset(struct out_tcp *f)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	if (f->fd >= 0)
		setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (f->state >= OUT_OPENING)
		conn_reset(&f->conn);
	flow_free(f);
}

/* Packets to containers */

static void packet_send(const struct conn_packet *p)
{
	struct tun *t = tun_find(p->destination);
	const struct tun_offload offload = {
		.sum_at = (uint16_t)p->ip_size,
		.sum_offset = 16,
		.header_size = (uint16_t)(p->ip_size + p->tcp_size),
		.segment_size = (uint16_t)p->segment_size,
		.v6 = p->ip_size == 40,
	};

	if (t)
		tun_send(t, p->iov, p->n, &offload);
}

static void reset_send(struct tun *t, const struct packet *p)
{
	uint8_t bytes[PACKET_HEADER_MAX];
	struct iovec iov = { bytes, packet_reset(bytes, p) };
	const struct tun_offload offload = {
		.sum_at = (uint16_t)p->ip_size,
		.sum_offset = 16,
	};

	tun_send(t, &iov, 1, &offload);
}

/* Answers the SYN p as the world did. */
static void refuse(struct tun *t, const struct packet *p, int error)
{
	uint8_t bytes[PACKET_ERROR_MAX];
	struct iovec iov = { bytes, 0 };

	if (error == -ECONNREFUSED || error == -ECONNRESET) {
		reset_send(t, p);
		return;
	}
	iov.iov_len = packet_error(bytes, &p->key, error, p->transport);
	tun_send(t, &iov, 1, &(const struct tun_offload){ 0 });
}

/* A byte of data was carried. */
static void bears_fruit(struct out_tcp *f)
{
	if (!f->fruit)
		rate_give(&f->tun->fruitless, 1);
	f->fruit = true;
}

/* From the container to the world */

/* 0, or -errno when the connection outside is broken. */
static int world_write(struct out_tcp *f)
{
	struct conn *c = &f->conn;
	struct iovec iov[WRITE_BATCH];

	f->full = false;
	while (c->in_size && !f->full) {
		int n = conn_peek(c, iov, WRITE_BATCH);
		size_t size = 0;
		ssize_t sent = writev(f->fd, iov, n);

		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++)
			size += iov[i].iov_len;
		if (sent > 0) {
			conn_take(c, (size_t)sent);
			traffic_use(f->tun->traffic);
			traffic_in(&f->traffic);
			bears_fruit(f);
		}
		f->full = sent < 0 || (size_t)sent < size;
	}
	if (f->full && c->in_large)
		conn_compact(c);
	if (c->finished && !c->in_size && !f->told) {
		f->told = true;
		if (shutdown(f->fd, SHUT_WR) < 0)
			return -errno;
	}
	return 0;
}

/* From the world to the container */

static void sent_free(struct out_tcp *f)
{
	size_t acked = f->acked_at + conn_acked(&f->conn);
	struct buffer *b;

	while ((b = f->sent) && acked >= b->size) {
		acked -= b->size;
		f->sent = b->next;
		f->sent_large -= b->is_large;
		buffer_free(b);
	}
	if (!f->sent)
		f->sent_end = &f->sent;
	f->acked_at = (uint32_t)acked;
}

static void held_update(struct out_tcp *f)
{
	unsigned int large = f->sent_large + f->conn.in_large;

	f->tun->large += large - f->large;
	f->large = large;
}

static bool large_fair(const struct out_tcp *f, unsigned int more)
{
	struct buffer_held held = { f->large + more, f->tun->large + more };

	return buffer_fair(held);
}

/* A flow without anything on its way gets on, however little is left. */
static bool small_fair(const struct out_tcp *f)
{
	return !f->sent || buffer_small_plenty();
}

static bool world_wanted(const struct out_tcp *f)
{
	return f->state == OUT_OPEN && !f->ended && tun_down_open(f->tun) &&
	       conn_room(&f->conn) >= conn_piece(&f->conn) &&
	       (large_fair(f, 0) || small_fair(f));
}

static struct buffer *read_buffer(struct out_tcp *f, unsigned int n)
{
	if (large_fair(f, n))
		return buffer_large();
	return n == 0 && small_fair(f) ? buffer_small() : NULL;
}

/* Buffers for one read, each of one piece; how many bytes they take. */
static size_t read_prepare(struct out_tcp *f, struct buffer *b[READ_BATCH],
			   struct iovec iov[READ_BATCH], int *n)
{
	size_t piece = conn_piece(&f->conn), room = conn_room(&f->conn);
	size_t total = 0;

	for (*n = 0; *n < READ_BATCH && room - total >= piece; ++*n) {
		b[*n] = read_buffer(f, (unsigned int)*n);
		if (!b[*n])
			break;
		if (!b[*n]->is_large && piece > BUFFER_SMALL_SIZE)
			piece = BUFFER_SMALL_SIZE;
		iov[*n] = (struct iovec){ b[*n]->room, piece };
		total += piece;
	}
	return total;
}

/* Hands over what was read into b; 0 or -ENOMEM, then b is the caller's. */
static int piece_send(struct out_tcp *f, struct buffer *b)
{
	int error;

	b = buffer_compact(b);
	error = conn_send(&f->conn, b->data, b->size);
	if (error < 0) {
		buffer_free(b);
		return error;
	}
	b->next = NULL;
	*f->sent_end = b;
	f->sent_end = &b->next;
	f->sent_large += b->is_large;
	held_update(f);
	return 0;
}

/* One read. 1 when there may be more, 0 when not, or -errno. */
static int world_read(struct out_tcp *f)
{
	struct buffer *b[READ_BATCH];
	struct iovec iov[READ_BATCH];
	int n, error = 0;
	size_t size = read_prepare(f, b, iov, &n);
	ssize_t got = n ? readv(f->fd, iov, n) : -1;
	size_t left = got > 0 ? (size_t)got : 0;

	if (n && got < 0 && errno != EAGAIN && errno != EINTR)
		error = -errno;
	if (got > 0) {
		tun_down_take(f->tun, (size_t)got);
		traffic_use(f->tun->traffic);
		traffic_out(&f->traffic);
		bears_fruit(f);
	}
	for (int i = 0; i < n; i++) {
		b[i]->size = (uint32_t)(left < iov[i].iov_len ? left
							      : iov[i].iov_len);
		left -= b[i]->size;
		/* What was read cannot be put back: a stream with a hole in it
		 * must end. */
		if (b[i]->size && error == 0)
			error = piece_send(f, b[i]);
		else
			buffer_free(b[i]);
	}
	if (error < 0)
		return error;
	if (n && got == 0)
		f->ended = true;
	return got > 0 && (size_t)got == size;
}

static int world_read_all(struct out_tcp *f)
{
	int more = 1;

	for (int i = 0; i < ROUNDS && more > 0 && world_wanted(f); i++)
		more = world_read(f);
	if (more < 0)
		return more;
	conn_flush(&f->conn);
	if (f->ended)
		conn_shut(&f->conn);
	return 0;
}

/* Both */

static int flow_watch(struct out_tcp *f)
{
	uint32_t events = (world_wanted(f) ? EPOLLIN : 0) |
			  (f->full || f->state == OUT_CONNECTING ? EPOLLOUT
								 : 0);

	/* Made silent after a hang-up, or never registered. */
	if (f->watch.fd < 0)
		return events ? watch_add(loop, &f->watch, f->fd, events) : 0;
	return watch_events(loop, &f->watch, events);
}

/* Brings the flow in line with what its two sides have come to. */
static void flow_settle(struct out_tcp *f, int error)
{
	struct conn *c = &f->conn;

	held_update(f);
	if (error == 0 && !c->reset)
		error = flow_watch(f);
	if (error < 0 || c->reset) {
		flow_reset(f);
		return;
	}
	if (c->closed && f->told && f->ended) {
		conn_leave(c);
		flow_free(f);
	}
}

/* Something has happened inside. */
static void inside_changed(struct out_tcp *f)
{
	struct conn *c = &f->conn;
	int error = 0;

	if (f->state == OUT_OPENING && c->opened)
		f->state = OUT_OPEN;
	sent_free(f);
	if (!f->full)
		error = world_write(f);
	conn_ack(c);
	flow_settle(f, error);
}

void out_tcp_carry(void)
{
	struct conn *c;

	while ((c = conn_changed()))
		inside_changed(container_of(c, struct out_tcp, conn));
}

static void tick_fire(struct timer *t)
{
	unsigned int next_ms = conn_tick(clock_ms());

	if (next_ms)
		timer_set(loop, t, next_ms);
	out_tcp_carry();
}

static void tick_need(void)
{
	if (!tick.deadline_ms || tick.deadline_ms > clock_ms() + CONN_TICK_MS)
		timer_set(loop, &tick, CONN_TICK_MS);
}

/* The world has answered: so may we. */
static int flow_open(struct out_tcp *f)
{
	struct buffer *b = buffer_small();
	struct packet p;

	if (!b)
		return -ENOMEM;
	memcpy(b->data, f->syn, f->syn_size);
	packet_parse(&p, b->data, f->syn_size);
	f->state = OUT_OPENING;
	return conn_open(&f->conn, &p, b);
}

static void connect_end(struct out_tcp *f)
{
	socklen_t size = sizeof(int);
	struct packet p;
	int error = 0;

	if (getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error) {
		packet_parse(&p, f->syn, f->syn_size);
		refuse(f->tun, &p, -error);
		flow_free(f);
		return;
	}
	error = flow_open(f);
	flow_settle(f, error);
	out_tcp_carry();
}

static void world_ready(struct watch *w, uint32_t events)
{
	struct out_tcp *f = container_of(w, struct out_tcp, watch);
	uint32_t broken = events & (EPOLLERR | EPOLLHUP);
	int error = 0;

	if (f->state == OUT_CONNECTING) {
		connect_end(f);
		return;
	}
	if (events & EPOLLERR && !world_wanted(f) && !f->full) {
		error = -ECONNRESET;
	} else if (broken && !world_wanted(f) && !f->full) {
		/* Both streams have ended; the container is slow. */
		watch_del(loop, w);
	}
	if (error == 0 && f->full && (events & EPOLLOUT || broken))
		error = world_write(f);
	if (error == 0 && (events & EPOLLIN || broken))
		error = world_read_all(f);
	flow_settle(f, error);
	out_tcp_carry();
}

static const struct {
	int level, name, value;
} options[] = {
	{ IPPROTO_TCP, TCP_NODELAY, 1 },    { SOL_SOCKET, SO_KEEPALIVE, 1 },
	{ IPPROTO_TCP, TCP_KEEPIDLE, 600 }, { IPPROTO_TCP, TCP_KEEPINTVL, 60 },
	{ IPPROTO_TCP, TCP_KEEPCNT, 5 },
};

static void options_set(int fd)
{
	const struct linger none = { 0 };

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		setsockopt(fd, options[i].level, options[i].name,
			   &options[i].value, sizeof(int));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

/* A socket in the namespace of another container of the application, bound to
 * our container's address, whom the other one shall see; -EAGAIN when none is
 * at hand. */
static int neighbour_socket(struct out_tcp *f)
{
	const struct key *key = &f->entry.key;
	struct tun *to = tun_find(key->outside);
	struct stock *stock = NULL;
	union node_address from;
	socklen_t size;
	int fd;

	if (!to)
		return -EHOSTUNREACH;
	if (!tun_meets(f->tun, to))
		return -EACCES;
	stock = tun_stock(to, address_is_mapped(key->outside) ? 0 : STOCK_V6);
	fd = stock ? stock_take(stock) : -1;
	if (fd < 0)
		return -EAGAIN;
	traffic_begin(&f->traffic, to->traffic);
	size = node_address(&from, key->inside, key->inside_port);
	if (bind(fd, &from.any, size) == 0)
		return fd;
	/* Its port is taken there. */
	size = node_address(&from, key->inside, 0);
	(void)bind(fd, &from.any, size);
	return fd;
}

/* The node's own socket, for all that is no neighbour. */
static int node_socket(struct out_tcp *f)
{
	int family = address_is_mapped(f->entry.key.outside) ? AF_INET
							     : AF_INET6;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static int resolver_socket(struct out_tcp *f)
{
	return name_stream_open(f->tun);
}

static bool is_neighbour(const struct key *key)
{
	return tun_in_range(key->outside);
}

static bool is_any(const struct key *key)
{
	(void)key;
	return true;
}

/* Where a destination can be: the first row that it is of. open() gives a
 * stream socket that leads there, or -errno, -EAGAIN when it will be tried
 * again by out_tcp_retry(); a destination on another node is one more row,
 * whose open() gives an end of a socket pair, as the resolver's does. */
static const struct {
	bool (*is)(const struct key *);
	int (*open)(struct out_tcp *);
	bool connects; /* it has to be connected to the destination's address */
} places[] = {
	{ resolver_is, resolver_socket, false },
	{ is_neighbour, neighbour_socket, true },
	{ is_any, node_socket, true },
};

static int world_connect(struct out_tcp *f)
{
	const struct key *key = &f->entry.key;
	union node_address to;
	socklen_t size = node_address(&to, key->outside, key->outside_port);
	size_t i = 0;

	while (!places[i].is(key))
		i++;
	f->fd = places[i].open(f);
	if (f->fd < 0)
		return f->fd;
	if (places[i].connects) {
		options_set(f->fd);
		if (connect(f->fd, &to.any, size) < 0 && errno != EINPROGRESS)
			return -errno;
	}
	f->state = OUT_CONNECTING;
	f->watch.ready = world_ready;
	f->watch.share = traffic_share(f->tun->traffic);
	return watch_add(loop, &f->watch, f->fd, EPOLLOUT);
}

static void flow_dial(struct out_tcp *f)
{
	struct packet p;
	int error = world_connect(f);

	if (error == 0)
		return;
	if (error == -EAGAIN) {
		f->state = OUT_WAITING;
		return;
	}
	f->tun->counts.denied += error == -EACCES;
	packet_parse(&p, f->syn, f->syn_size);
	refuse(f->tun, &p, error);
	flow_free(f);
}

void out_tcp_retry(void)
{
	for (struct out_tcp *f = flows; f < flows + n_fresh; f++) {
		if (f->state == OUT_WAITING)
			flow_dial(f);
	}
}

static void flow_begin(struct tun *t, struct packet *p)
{
	struct out_tcp *f;
	int error = resolver_is(&p->key) ? 0 : tun_judge(t, &p->key);

	if (error < 0) {
		/* What is dropped comes again in a second. */
		if (error != -EAGAIN)
			refuse(t, p, error);
		return;
	}
	if (rate_wait(&t->fruitless, clock_ms())) {
		tun_useless(t, &t->counts.limited);
		return;
	}
	/* A SYN that carries data is sent again without. */
	f = p->ip_size + p->header_size <= SYN_MAX ? flow_new(t, &p->key)
						   : NULL;
	if (!f) {
		t->counts.dropped++;
		return;
	}
	rate_take(&t->fruitless, 1);
	f->syn_size = (uint8_t)(p->ip_size + p->header_size);
	memcpy(f->syn, p->ip, f->syn_size);
	packet_cut(f->syn, f->syn_size);
	flow_dial(f);
}

static struct buffer *held_input(struct out_tcp *f, const struct packet *p,
				 struct buffer *b)
{
	if (p->tcp_flags & PACKET_TCP_RST)
		flow_free(f);
	return b;
}

/* Whether there is room for data of the container, should the socket not take
 * it. */
static bool may_wait(const struct out_tcp *f)
{
	return f->full ? large_fair(f, 0)
		       : buffer_container_fair(f->tun->large);
}

/* The TUN keeps the order, so what comes ahead of it does so after a loss, or
 * because somebody tries how much is kept for him: only while there is plenty,
 * and a small piece in a small buffer. */
static bool ahead_fits(struct packet *p, struct buffer **b)
{
	if ((*b)->size > BUFFER_SMALL_SIZE)
		return buffer_large_plenty();
	if (!buffer_small_plenty())
		return false;
	*b = buffer_compact(*b);
	return packet_parse(p, (*b)->data, (*b)->size) == 0;
}

/* Whether there is room for data of the container in *b, which may become
 * another buffer. */
static bool data_fits(const struct out_tcp *f, struct packet *p,
		      struct buffer **b)
{
	if (!conn_in_order(&f->conn, p))
		return ahead_fits(p, b);
	return p->size - p->header_size <= BUFFER_SMALL_SIZE || may_wait(f);
}

struct buffer *out_tcp_input(struct tun *t, struct packet *p, struct buffer *b)
{
	bool begins = (p->tcp_flags & (PACKET_TCP_SYN | PACKET_TCP_ACK)) ==
		      PACKET_TCP_SYN;
	struct key_entry *e;
	struct out_tcp *f;

	/* The one before it between the same two may have ended. */
	if (begins)
		out_tcp_carry();
	e = key_find(&table, &p->key);
	f = e ? container_of(e, struct out_tcp, entry) : NULL;
	if (!f && begins) {
		flow_begin(t, p);
		return b;
	}
	if (f && f->state <= OUT_CONNECTING)
		return held_input(f, p, b);
	if (f && p->size > p->header_size && !data_fits(f, p, &b)) {
		t->counts.dropped++;
		return b;
	}
	conn_input(f ? &f->conn : NULL, p, b);
	if (f)
		held_update(f);
	return NULL;
}

void out_tcp_resume(struct tun *t)
{
	struct out_tcp *f, *next;

	for (f = t->connections; f; f = next) {
		next = f->next;
		if (f->state == OUT_OPEN)
			flow_settle(f, 0);
	}
}

void out_tcp_begin(struct tun *t)
{
	rate_init(&t->fruitless, FRUITLESS_PER_S, OUT_TCP_MAX, clock_ms());
}

void out_tcp_end(struct tun *t)
{
	struct out_tcp *f, *next;

	for (f = t->connections; f; f = next) {
		next = f->next;
		flow_reset(f);
	}
}

void out_tcp_init(struct loop *on)
{
	loop = on;
	tick.fire = tick_fire;
	conn_init(packet_send, tick_need);
}
