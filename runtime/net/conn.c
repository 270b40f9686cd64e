#include "conn.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <lwip/init.h>
#include <lwip/ip.h>
#include <lwip/netif.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>

#include "key.h"
#include "outlet.h"

enum {
	KEEPALIVE_IDLE_MS = 600000,
	KEEPALIVE_STEP_MS = 60000,
	KEEPALIVE_COUNT = 5,
	IOV_MAX_PACKET = TCP_SND_QUEUELEN,
	TICKS_WRAP = 256, /* lwIP's counter of timer runs */
	RECVED_MAX = 0xffff,
};

static struct netif netif;
static struct tcp_pcb_listen *listener;
static void (*on_send)(const struct conn_packet *);
static void (*on_timer)(void);
static struct conn *changed, **changed_end = &changed;
static bool is_quiet; /* the next tick is CONN_QUIET_MS away */

/* The lists of lwIP, a pair for each bucket. */
static struct {
	struct tcp_pcb *active, *waiting;
} lists[KEY_BUCKETS];
static unsigned int in_place = KEY_BUCKETS; /* none */

static unsigned int lists_enter(unsigned int bucket)
{
	unsigned int before = in_place;

	if (bucket == before)
		return before;
	if (before < KEY_BUCKETS) {
		lists[before].active = tcp_active_pcbs;
		lists[before].waiting = tcp_tw_pcbs;
	}
	in_place = bucket;
	tcp_active_pcbs = bucket < KEY_BUCKETS ? lists[bucket].active : NULL;
	tcp_tw_pcbs = bucket < KEY_BUCKETS ? lists[bucket].waiting : NULL;
	return before;
}

static void lists_leave(unsigned int before)
{
	lists_enter(before);
}

/* What happens now may need the timers of lwIP soon. */
static void wake(void)
{
	if (!is_quiet)
		return;
	is_quiet = false;
	on_timer();
}

static void conn_change(struct conn *c)
{
	if (c->is_queued)
		return;
	c->is_queued = true;
	c->next = NULL;
	*changed_end = c;
	changed_end = &c->next;
}

static void conn_unqueue(struct conn *c)
{
	struct conn **p = &changed;

	if (!c->is_queued)
		return;
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	if (changed_end == &c->next)
		changed_end = p;
	c->is_queued = false;
}

/* What lwIP calls */

static err_t received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct conn *c = arg;
	struct pbuf *next;

	(void)pcb;
	(void)err;
	conn_change(c);
	if (!p)
		c->finished = true;
	for (; p; p = next) {
		struct buffer *b = buffer_of(p);

		next = p->next;
		p->next = NULL;
		b->data = p->payload;
		b->size = p->len;
		b->next = NULL;
		*c->in_end = b;
		c->in_end = &b->next;
		c->in_size += b->size;
		c->in_large += b->is_large;
	}
	return ERR_OK;
}

static err_t acknowledged(void *arg, struct tcp_pcb *pcb, u16_t size)
{
	struct conn *c = arg;

	(void)pcb;
	c->acked += size;
	c->in_flight -= size;
	conn_change(c);
	return ERR_OK;
}

static void gone(void *arg, err_t err)
{
	struct conn *c = arg;

	c->pcb = NULL;
	if (err == ERR_CLSD)
		c->closed = true;
	else
		c->reset = true;
	conn_change(c);
}

static err_t accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct conn *c = arg;

	(void)err;
	if (!pcb)
		return ERR_VAL;
	c->opened = true;
	conn_change(c);
	return ERR_OK;
}

void tcp_timer_needed(void)
{
	is_quiet = false;
	on_timer();
}

/* That which sends; NULL when its owner has left it. */
static struct conn *sender(const uint8_t *tcp, const uint8_t *destination)
{
	uint16_t outside = (uint16_t)(tcp[0] << 8 | tcp[1]);
	uint16_t inside = (uint16_t)(tcp[2] << 8 | tcp[3]);

	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
		struct conn *c = pcb->callback_arg;
		const void *remote =
			IP_IS_V4_VAL(pcb->remote_ip)
				? (void *)ip_2_ip4(&pcb->remote_ip)
				: (void *)ip_2_ip6(&pcb->remote_ip);

		if (c && pcb->local_port == outside &&
		    pcb->remote_port == inside &&
		    !memcmp(remote, destination,
			    IP_IS_V4_VAL(pcb->remote_ip) ? 4 : 16))
			return c;
	}
	return NULL;
}

static err_t packet_out(struct pbuf *p, size_t ip_size)
{
	static struct iovec iov[IOV_MAX_PACKET];
	uint8_t *ip = p->payload, *tcp = ip + ip_size, destination[16] = { 0 };
	struct conn_packet packet = { .iov = iov, .ip_size = ip_size };
	size_t address_size = ip_size == 40 ? 16 : 4;
	size_t size = p->tot_len - ip_size;
	struct conn *c;

	/* lwIP makes the headers in one piece. */
	if (p->len < ip_size + TCP_HLEN)
		return ERR_BUF;
	for (struct pbuf *q = p; q; q = q->next) {
		if (packet.n == IOV_MAX_PACKET)
			return ERR_BUF;
		iov[packet.n].iov_base = q->payload;
		iov[packet.n++].iov_len = q->len;
	}
	packet_tcp_pseudo(ip, tcp, size);
	packet.tcp_size = (size_t)(tcp[12] >> 4) * 4;
	memcpy(destination, ip + ip_size - address_size, address_size);
	c = sender(tcp, destination);
	if (c) {
		/* Each packet acknowledges. */
		c->owes_ack = false;
		/* Segments for a container with a smaller MSS are handed over
		 * as one packet of many, which its device is told to cut. */
		packet.segment_size = c->mss;
	}
	if (address_size == 4) {
		memcpy(destination + 12, destination, 4);
		memset(destination, 0, 10);
		destination[10] = destination[11] = 0xff;
	}
	if (size - packet.tcp_size <= packet.segment_size)
		packet.segment_size = 0;
	packet.destination = destination;
	on_send(&packet);
	return ERR_OK;
}

static err_t packet_out4(struct netif *n, struct pbuf *p, const ip4_addr_t *to)
{
	(void)n;
	(void)to;
	return packet_out(p, 20);
}

static err_t packet_out6(struct netif *n, struct pbuf *p, const ip6_addr_t *to)
{
	(void)n;
	(void)to;
	return packet_out(p, 40);
}

static err_t netif_ready(struct netif *n)
{
	n->mtu = NET_TUN_MTU;
	n->mtu6 = NET_TUN_MTU;
	n->output = packet_out4;
	n->output_ip6 = packet_out6;
	return ERR_OK;
}

void conn_init(void (*send)(const struct conn_packet *), void (*timer)(void))
{
	const ip4_addr_t own = { lwip_htonl(NET_RESOLVER) };
	struct tcp_pcb *pcb;

	on_send = send;
	on_timer = timer;
	mem_init();
	/* Without an address it would not be routed to. */
	netif_add(&netif, &own, IP4_ADDR_BROADCAST, &own, NULL, netif_ready,
		  NULL);
	netif_set_default(&netif);
	netif_set_up(&netif);
	netif_set_link_up(&netif);
	pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
	ip_set_option(pcb, SOF_KEEPALIVE);
	/* Its port is set for each SYN; any will do. */
	tcp_bind(pcb, IP_ANY_TYPE, 1);
	pcb = tcp_listen(pcb);
	tcp_accept(pcb, accepted);
	listener = (struct tcp_pcb_listen *)pcb;
}

/* Ways in */

static void address_set(ip_addr_t *out, const uint8_t address[16])
{
	if (address_is_mapped(address)) {
		IP_SET_TYPE(out, IPADDR_TYPE_V4);
		memcpy(ip_2_ip4(out), address + 12, 4);
	} else {
		IP_SET_TYPE(out, IPADDR_TYPE_V6);
		memcpy(ip_2_ip6(out), address, 16);
	}
}

/* As ip4_input() would, whose other work packet_parse() has done. */
static void segment_in(struct packet *p, struct buffer *b)
{
	struct pbuf *pbuf = buffer_pbuf(b, p->transport, (uint16_t)p->size);

	ip_data.current_netif = ip_data.current_input_netif = &netif;
	ip_data.current_ip_header_tot_len = (u16_t)p->ip_size;
	address_set(&ip_data.current_iphdr_src, p->key.inside);
	address_set(&ip_data.current_iphdr_dest, p->key.outside);
	tcp_input(pbuf, &netif);
	ip_data.current_netif = ip_data.current_input_netif = NULL;
}

/* What waits for a window that is open, but smaller than its first segment, is
 * cut to it at once: lwIP would do that after its persist timer has run, for
 * every such window. */
static void window_fill(struct conn *c)
{
	struct tcp_pcb *pcb = c->pcb;
	tcpwnd_size_t window;

	if (!pcb || !pcb->persist_backoff || !pcb->snd_wnd || !pcb->unsent)
		return;
	window = pcb->snd_wnd < pcb->mss ? pcb->snd_wnd : pcb->mss;
	if (window > c->mss)
		window -= window % c->mss;
	if (tcp_split_unsent_seg(pcb, (u16_t)window) == ERR_OK)
		tcp_output(pcb);
}

/* Of the segments that come at one time not every second one is acknowledged
 * by itself: each acknowledgement makes the container's TCP run in our time. */
static void ack_put_off(struct conn *c)
{
	if (!c->pcb || !(c->pcb->flags & TF_ACK_DELAY))
		return;
	tcp_clear_flags(c->pcb, TF_ACK_DELAY);
	c->owes_ack = true;
}

void conn_ack(struct conn *c)
{
	unsigned int before;

	if (!c->owes_ack)
		return;
	c->owes_ack = false;
	if (!c->pcb)
		return;
	before = lists_enter(c->bucket);
	tcp_ack_now(c->pcb);
	tcp_output(c->pcb);
	lists_leave(before);
}

void conn_input(struct conn *c, struct packet *p, struct buffer *b)
{
	unsigned int before = lists_enter(key_bucket(&p->key));

	if (c && p->size > p->header_size)
		ack_put_off(c);
	segment_in(p, b);
	if (c)
		window_fill(c);
	lists_leave(before);
	wake();
}

bool conn_in_order(const struct conn *c, const struct packet *p)
{
	u32_t seq;

	memcpy(&seq, p->transport + 4, sizeof(seq));
	return !c->pcb || TCP_SEQ_LEQ(lwip_ntohl(seq), c->pcb->rcv_nxt);
}

/* A connection between the same two that waits for late packets ends now. */
static void waiting_end(const struct key *key)
{
	for (struct tcp_pcb *pcb = tcp_tw_pcbs, *next; pcb; pcb = next) {
		ip_addr_t inside, outside;

		next = pcb->next;
		address_set(&inside, key->inside);
		address_set(&outside, key->outside);
		if (pcb->remote_port == key->inside_port &&
		    pcb->local_port == key->outside_port &&
		    ip_addr_eq(&pcb->remote_ip, &inside) &&
		    ip_addr_eq(&pcb->local_ip, &outside))
			tcp_abort(pcb);
	}
}

/* The pcb that the SYN has made. */
static void conn_adopt(struct conn *c, struct tcp_pcb *pcb)
{
	uint16_t most = IP_IS_V4_VAL(pcb->remote_ip) ? NET_TUN_MTU - 40
						     : NET_TUN_MTU - 60;

	c->pcb = pcb;
	c->mss = pcb->mss;
	pcb->mss = (u16_t)(most / c->mss * c->mss);
	pcb->keep_idle = KEEPALIVE_IDLE_MS;
	pcb->keep_intvl = KEEPALIVE_STEP_MS;
	pcb->keep_cnt = KEEPALIVE_COUNT;
	tcp_nagle_disable(pcb);
	tcp_recv(pcb, received);
	tcp_sent(pcb, acknowledged);
	tcp_err(pcb, gone);
}

int conn_open(struct conn *c, struct packet *p, struct buffer *b)
{
	struct tcp_pcb *first;
	unsigned int before;

	*c = (struct conn){ .bucket = key_bucket(&p->key) };
	c->in_end = &c->in;
	before = lists_enter(c->bucket);
	waiting_end(&p->key);
	first = tcp_active_pcbs;
	listener->local_port = p->key.outside_port;
	listener->callback_arg = c;
	segment_in(p, b);
	if (tcp_active_pcbs != first && tcp_active_pcbs->callback_arg == c)
		conn_adopt(c, tcp_active_pcbs);
	listener->local_port = 0;
	listener->callback_arg = NULL;
	lists_leave(before);
	return c->pcb ? 0 : -ENOMEM;
}

/* Received */

int conn_peek(const struct conn *c, struct iovec *iov, int n)
{
	int i = 0;

	for (struct buffer *b = c->in; b && i < n; b = b->next, i++)
		iov[i] = (struct iovec){ b->data, b->size };
	return i;
}

static void in_pop(struct conn *c)
{
	struct buffer *b = c->in;

	c->in = b->next;
	if (!c->in)
		c->in_end = &c->in;
	c->in_large -= b->is_large;
	buffer_free(b);
}

static void window_open(struct conn *c, size_t size)
{
	unsigned int before = lists_enter(c->bucket);

	while (size) {
		u16_t part = (u16_t)(size < RECVED_MAX ? size : RECVED_MAX);

		tcp_recved(c->pcb, part);
		size -= part;
	}
	lists_leave(before);
}

void conn_take(struct conn *c, size_t size)
{
	size_t left = size;

	c->in_size -= size;
	while (c->in && left >= c->in->size) {
		left -= c->in->size;
		in_pop(c);
	}
	if (left) {
		assert(c->in);
		c->in->data += left;
		c->in->size -= (uint32_t)left;
	}
	if (c->pcb)
		window_open(c, size);
}

void conn_compact(struct conn *c)
{
	for (struct buffer **p = &c->in; *p; p = &(*p)->next) {
		struct buffer *next = (*p)->next, *b = buffer_compact(*p);

		if (b == *p)
			continue;
		c->in_large--;
		b->next = next;
		*p = b;
		if (!next)
			c->in_end = &b->next;
	}
}

/* Sending */

/* lwIP appends to the last segment that it has still to send, a FIN too. While
 * that is one to be sent again, whose successors were sent already, what is
 * appended would end up in the middle of the stream. */
static bool can_append(const struct tcp_pcb *pcb)
{
	const struct tcp_seg *last = pcb->unsent;

	while (last && last->next)
		last = last->next;
	return !last || lwip_ntohl(last->tcphdr->seqno) + TCP_TCPLEN(last) ==
				pcb->snd_lbb;
}

/* As tcp_write() cuts it, with a pbuf for the header of each segment and one
 * for what it holds; tcp_write() wants a segment more than it fills. */
static size_t queue_room(const struct tcp_pcb *pcb, int n_queued)
{
	size_t window = pcb->snd_wnd_max / 2;
	size_t segment = window && window < pcb->mss ? window : pcb->mss;
	int segments = (TCP_SND_QUEUELEN - n_queued) / 2;

	return segments > 1 ? (size_t)(segments - 1) * segment : 0;
}

size_t conn_room(const struct conn *c)
{
	if (!c->pcb || !c->opened || c->shut || !can_append(c->pcb))
		return 0;
	return LWIP_MIN(c->pcb->snd_buf,
			queue_room(c->pcb, c->pcb->snd_queuelen));
}

size_t conn_piece(const struct conn *c)
{
	return LWIP_MIN(c->pcb->mss, queue_room(c->pcb, 0));
}

int conn_send(struct conn *c, const uint8_t *data, size_t size)
{
	unsigned int before = lists_enter(c->bucket);
	err_t err = tcp_write(c->pcb, data, (u16_t)size, 0);

	lists_leave(before);
	if (err != ERR_OK)
		return -ENOMEM;
	c->in_flight += size;
	return 0;
}

void conn_flush(struct conn *c)
{
	unsigned int before = lists_enter(c->bucket);

	if (c->pcb) {
		tcp_output(c->pcb);
		window_fill(c);
	}
	lists_leave(before);
	wake();
}

size_t conn_acked(struct conn *c)
{
	size_t acked = c->acked;

	c->acked = 0;
	return acked;
}

/* Ends */

static void stream_end(struct conn *c)
{
	unsigned int before;

	if (!c->pcb || !can_append(c->pcb))
		return;
	c->ended = true;
	before = lists_enter(c->bucket);
	tcp_shutdown(c->pcb, 0, 1);
	lists_leave(before);
	wake();
}

void conn_shut(struct conn *c)
{
	if (c->shut)
		return;
	c->shut = true;
	stream_end(c);
	conn_change(c);
}

static void conn_forget(struct conn *c)
{
	tcp_arg(c->pcb, NULL);
	tcp_recv(c->pcb, NULL);
	tcp_sent(c->pcb, NULL);
	tcp_err(c->pcb, NULL);
}

/* When nothing is to come and nothing on its way, what is left to do lwIP does
 * alone; it would not tell when it frees the pcb. */
static void conn_close_when_done(struct conn *c)
{
	unsigned int before;

	if (!c->pcb || !c->finished || !c->ended || c->in_flight)
		return;
	before = lists_enter(c->bucket);
	conn_forget(c);
	tcp_close(c->pcb);
	lists_leave(before);
	c->pcb = NULL;
	c->closed = true;
}

struct conn *conn_changed(void)
{
	struct conn *c = changed;

	if (!c)
		return NULL;
	changed = c->next;
	if (!changed)
		changed_end = &changed;
	c->is_queued = false;
	if (c->shut && !c->ended)
		stream_end(c);
	conn_close_when_done(c);
	return c;
}

static void conn_drop(struct conn *c)
{
	while (c->in)
		in_pop(c);
	c->in_size = 0;
	conn_unqueue(c);
	c->pcb = NULL;
}

void conn_leave(struct conn *c)
{
	unsigned int before = lists_enter(c->bucket);

	if (c->pcb) {
		conn_forget(c);
		tcp_close(c->pcb);
	}
	lists_leave(before);
	conn_drop(c);
}

void conn_reset(struct conn *c)
{
	unsigned int before = lists_enter(c->bucket);

	if (c->pcb) {
		conn_forget(c);
		tcp_abort(c->pcb);
	}
	lists_leave(before);
	conn_drop(c);
}

/* Time */

static bool has_lists(unsigned int bucket)
{
	return lists[bucket].active || lists[bucket].waiting;
}

/* Runs lwIP's timer over the lists of every bucket as if they were one. */
static void buckets_run(void (*timer)(void), u32_t ticks_after)
{
	u32_t ticks = tcp_ticks;
	unsigned int n = 0, before;

	for (unsigned int i = 0; i < KEY_BUCKETS; i++) {
		if (!has_lists(i))
			continue;
		before = lists_enter(i);
		tcp_ticks = ticks;
		timer();
		n++;
		lists_leave(before);
	}
	/* A connection tells by lwIP's count of runs, which wraps, whether it
	 * has had this one. */
	if (n % TICKS_WRAP == 0)
		timer();
	tcp_ticks = ticks_after;
}

/* Whether lwIP has nothing to do for it but to see, some day, that it is still
 * there. */
static bool is_quiet_pcb(const struct tcp_pcb *pcb)
{
	return !pcb->unsent && !pcb->unacked && !pcb->ooseq &&
	       !(pcb->flags & (TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND)) &&
	       (pcb->state == ESTABLISHED || pcb->state == CLOSE_WAIT);
}

static unsigned int next_tick_ms(void)
{
	bool any = false;

	for (unsigned int i = 0; i < KEY_BUCKETS; i++) {
		if (lists[i].waiting)
			return CONN_TICK_MS;
		for (const struct tcp_pcb *pcb = lists[i].active; pcb;
		     pcb = pcb->next) {
			if (!is_quiet_pcb(pcb))
				return CONN_TICK_MS;
			any = true;
		}
	}
	return any ? CONN_QUIET_MS : 0;
}

/* How many ticks have passed. While nobody called there was no connection whose
 * time could have run. */
static u32_t ticks_passed(uint64_t now_ms)
{
	static uint64_t last_ms;
	uint64_t passed_ms = now_ms - last_ms;

	if (passed_ms > CONN_QUIET_MS)
		passed_ms = CONN_QUIET_MS;
	passed_ms -= passed_ms % TCP_SLOW_INTERVAL;
	if (passed_ms)
		last_ms = now_ms;
	return (u32_t)(passed_ms / TCP_SLOW_INTERVAL);
}

unsigned int conn_tick(uint64_t now_ms)
{
	u32_t passed = ticks_passed(now_ms), now = tcp_ticks + passed;
	unsigned int next_ms;

	buckets_run(tcp_fasttmr, tcp_ticks);
	if (passed) {
		/* It counts one itself. */
		tcp_ticks = now - 1;
		buckets_run(tcp_slowtmr, now);
	}
	next_ms = next_tick_ms();
	is_quiet = next_ms == CONN_QUIET_MS;
	return next_ms;
}
