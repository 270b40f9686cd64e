#define _GNU_SOURCE
#include "status.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/peer.h"
#include "base/service.h"
#include "flow.h"
#include "listener.h"
#include "traffic.h"
#include "tun.h"
#include "znet.h"

/* One of anybody more than these is closed at once: to ask is cheap, and to
 * ask again too. The last row is left for znode, whom a crowd must not keep
 * out. */
enum { CLIENT_MAX = 9, ANSWER_MS = 5000 };

static struct loop *loop;
static struct watch listen_watch;
static struct peer clients[CLIENT_MAX];

static void client_close(struct peer *c)
{
	traffic_peer_gone(c);
	peer_close(c, loop);
}

static bool is_znode(const struct peer *c)
{
	return c->uid == UID_ZNODE || c->uid == 0;
}

static bool answer_make(const struct znet_request *q, struct znet_reply *reply)
{
	reply->head.verb = q->head.verb;
	switch ((enum znet_verb)q->head.verb) {
	case ZNET_STATUS:
		flow_counts(&reply->counts);
		listener_describe(q->row, &reply->listener);
		return true;
	case ZNET_OUTLET:
		tun_describe(q->row, &reply->outlet);
		return true;
	case ZNET_RULE:
		tun_rule_describe(q->container, q->row, &reply->rule);
		return true;
	case ZNET_WATCH:
	case ZNET_FREEZE:
	case ZNET_THAW:
	case ZNET_FORGET:
	case ZNET_CLOSE:
	case ZNET_KNOCKS:
	case ZNET_DRAIN:
		break;
	}
	return false;
}

static void client_ready(struct watch *w, uint32_t events)
{
	struct peer *c = container_of(w, struct peer, watch);
	struct znet_reply reply = { .head = { .size = sizeof(reply) } };
	struct znet_request request;
	struct ipc_fds fds = { 0 };
	int n = ipc_recv(c->fd, &request, sizeof(request), &fds);
	bool taken = n == 1 && is_znode(c) &&
		     traffic_request(c, &request, &fds);

	(void)events;
	ipc_fds_close(&fds);
	if (n == -EAGAIN || taken)
		return;
	if (n != 1 || !answer_make(&request, &reply)) {
		client_close(c);
		return;
	}
	if (ipc_send(c->fd, &reply, sizeof(reply), NULL, 0) < 0)
		client_close(c);
}

static void listen_ready(struct watch *w, uint32_t events)
{
	struct peer *c = clients;

	(void)events;
	while (c < clients + CLIENT_MAX && c->fd >= 0)
		c++;
	if (peer_accept(c < clients + CLIENT_MAX ? c : NULL, loop, w->fd,
			client_ready) == 0 &&
	    c == clients + CLIENT_MAX - 1 && !is_znode(c))
		client_close(c);
}

int status_init(struct loop *on, int listen_fd)
{
	loop = on;
	traffic_init(on, client_close);
	for (int i = 0; i < CLIENT_MAX; i++)
		peer_init(&clients[i]);
	listen_watch.ready = listen_ready;
	return watch_add(loop, &listen_watch, listen_fd, EPOLLIN);
}

static int ask(int sock, enum znet_verb verb, uint32_t row,
	       struct znet_reply *reply)
{
	struct znet_request request = {
		.head = { sizeof(request), verb },
		.row = row,
	};

	return ipc_call(sock, &request, sizeof(request), NULL, 0, reply,
			sizeof(*reply), NULL, ANSWER_MS);
}

static void counts_print(const struct znet_counts *c)
{
	printf("connections %" PRIu32 " of %" PRIu32 ", accepted %" PRIu64
	       ", refused %" PRIu64 ", reset %" PRIu64 "\n"
	       "bytes in %" PRIu64 ", out %" PRIu64 ", pipes in use %" PRIu32
	       " of %" PRIu32 "\n",
	       c->open, c->open_max, c->accepted, c->refused, c->reset,
	       c->bytes_in, c->bytes_out, c->pipes, c->pipes_max);
}

static void listener_print(const struct znet_listener *l)
{
	char text[INET6_ADDRSTRLEN] = "-";
	const char *udp = l->protocol == IPPROTO_UDP ? "/udp" : "";
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };

	if (l->state != NET_ROUTE_OPEN) {
		printf("%5" PRIu32 "%s  %-20s held, %" PRIu32 " open\n",
		       l->port, udp, l->app, l->open);
		return;
	}
	if (!memcmp(l->target, mapped, sizeof(mapped)))
		inet_ntop(AF_INET, l->target + 12, text, sizeof(text));
	else
		inet_ntop(AF_INET6, l->target, text, sizeof(text));
	printf("%5" PRIu32 "%s  %-20s to %s port %" PRIu32 " of %s, %" PRIu32
	       " open, %" PRIu32 " in stock\n",
	       l->port, udp, l->app, text, l->target_port, l->container,
	       udp[0] ? l->datagrams : l->open, udp[0] ? 0 : l->stock);
}

static void outlet_print(const struct znet_outlet *o)
{
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, o->address + 12, text, sizeof(text));
	printf("%s of %s: connections %" PRIu32 ", datagrams %" PRIu32
	       ", out %" PRIu64 " packets %" PRIu64 " bytes, in %" PRIu64
	       " packets %" PRIu64 " bytes, denied %" PRIu64
	       ", spoofed %" PRIu64 ", malformed %" PRIu64
	       ", unsupported %" PRIu64 ", dropped %" PRIu64
	       ", limited %" PRIu64 "\n",
	       text, o->container, o->connections, o->datagrams, o->packets_out,
	       o->bytes_out, o->packets_in, o->bytes_in, o->denied, o->spoofed,
	       o->malformed, o->unsupported, o->dropped, o->limited);
}

int status_print(void)
{
	autoclose int sock = ipc_connect("znet");
	struct znet_reply reply;
	int error = sock < 0 ? sock : ask(sock, ZNET_STATUS, 0, &reply);

	if (error == 0)
		counts_print(&reply.counts);
	for (uint32_t row = 0; error == 0 && reply.listener.error == 0;) {
		listener_print(&reply.listener);
		error = ask(sock, ZNET_STATUS, ++row, &reply);
	}
	for (uint32_t row = 0; error == 0; row++) {
		error = ask(sock, ZNET_OUTLET, row, &reply);
		if (error < 0 || reply.outlet.error < 0)
			break;
		outlet_print(&reply.outlet);
	}
	if (error < 0)
		log_error("znet.sock", "%s; is znet running?",
			  strerror(-error));
	return error < 0;
}
