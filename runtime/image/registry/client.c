/* libcurl's sockets and timers on the loop of base. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "exchange.h"
#include "remote.h"

enum { CONNECTIONS_KEPT = 6, NAME_KEEP_MS = 60000 };

static unsigned n_clients;

struct client_socket {
	struct watch watch;
	struct remote_client *client;
	curl_socket_t fd;
};

static void client_free(struct remote_client *client)
{
	curl_multi_cleanup(client->multi);
	timer_cancel(&client->timer);
	free(client);
	if (--n_clients == 0)
		curl_global_cleanup();
}

/* Tells the ends of exchanges. In each the client may be closed. */
static void reap(struct remote_client *client)
{
	CURLMsg *message;
	int left;

	client->reaping = true;
	while (!client->closed &&
	       (message = curl_multi_info_read(client->multi, &left))) {
		CURLcode code = message->data.result;
		struct exchange *e;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &e);
		exchange_finished(e, code);
	}
	client->reaping = false;
	if (client->closed)
		client_free(client);
}

static void act(struct remote_client *client, curl_socket_t fd, int events)
{
	int running;

	curl_multi_socket_action(client->multi, fd, events, &running);
	reap(client);
}

static void socket_ready(struct watch *w, uint32_t events)
{
	/* Not looked at afterwards: libcurl may be done with it. */
	struct client_socket *s = container_of(w, struct client_socket, watch);

	act(s->client, s->fd,
	    (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
		    (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		    (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0));
}

static struct client_socket *socket_new(struct remote_client *client,
					curl_socket_t fd, uint32_t events)
{
	struct client_socket *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->client = client;
	s->fd = fd;
	s->watch.ready = socket_ready;
	if (watch_add(client->loop, &s->watch, fd, events) < 0 ||
	    curl_multi_assign(client->multi, fd, s) != CURLM_OK) {
		watch_del(client->loop, &s->watch);
		free(s);
		return NULL;
	}
	return s;
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *user,
			 void *assigned)
{
	struct remote_client *client = user;
	struct client_socket *s = assigned;
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) |
			  (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s)
			watch_del(client->loop, &s->watch);
		free(s);
		return 0;
	}
	if (!s)
		return socket_new(client, fd, events) ? 0 : -1;
	return watch_events(client->loop, &s->watch, events) < 0 ? -1 : 0;
}

static void timer_fire(struct timer *t)
{
	act(container_of(t, struct remote_client, timer), CURL_SOCKET_TIMEOUT,
	    0);
}

static int timer_wanted(CURLM *multi, long timeout_ms, void *user)
{
	struct remote_client *client = user;

	(void)multi;
	if (timeout_ms < 0)
		timer_cancel(&client->timer);
	else
		timer_set(client->loop, &client->timer, (uint64_t)timeout_ms);
	return 0;
}

int remote_client_open(struct loop *loop, struct remote_client **out)
{
	struct remote_client *client = calloc(1, sizeof(*client));

	if (!client)
		return -ENOMEM;
	if (n_clients == 0 && curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
		free(client);
		return -ENOMEM;
	}
	n_clients++;
	client->loop = loop;
	client->timer.fire = timer_fire;
	client->multi = curl_multi_init();
	if (!client->multi) {
		remote_client_close(client);
		return -ENOMEM;
	}
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION,
			  socket_wanted);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS,
			  (long)CONNECTIONS_KEPT);
	*out = client;
	return 0;
}

void remote_client_close(struct remote_client *client)
{
	if (!client)
		return;
	client->closed = true;
	if (!client->reaping)
		client_free(client);
}

/* Names: libcurl is always told what a name is, so that it never asks, which
 * would block. */

static size_t address_write(const struct sockaddr_storage *a, char *text,
			    size_t size)
{
	char number[INET6_ADDRSTRLEN];
	int n;

	if (a->ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr,
			  number, sizeof(number));
	else
		inet_ntop(AF_INET6,
			  &((const struct sockaddr_in6 *)a)->sin6_addr, number,
			  sizeof(number));
	n = snprintf(text, size, a->ss_family == AF_INET ? "%s" : "[%s]",
		     number);
	return n < 0 ? 0 : (size_t)n;
}

void client_name_keep(struct remote_client *client, const char *host,
		      uint16_t port, const struct resolve *resolve)
{
	struct remote_name *name = &client->names[0];
	size_t n;

	for (int i = 1; i < NAMES_KEPT; i++)
		if (client->names[i].until_ms < name->until_ms)
			name = &client->names[i];
	text_copy(name->host, sizeof(name->host), host);
	name->port = port;
	name->until_ms = clock_ms() + NAME_KEEP_MS;
	n = (size_t)snprintf(name->entry, sizeof(name->entry), "%s:%u:", host,
			     port);
	for (int i = 0; i < resolve->n; i++) {
		if (i > 0)
			name->entry[n++] = ',';
		n += address_write(&resolve->address[i], name->entry + n,
				   sizeof(name->entry) - n);
	}
}

const char *client_name_find(struct remote_client *client, const char *host,
			     uint16_t port)
{
	for (int i = 0; i < NAMES_KEPT; i++) {
		struct remote_name *name = &client->names[i];

		if (name->until_ms > clock_ms() && name->port == port &&
		    strcmp(name->host, host) == 0)
			return name->entry;
	}
	return NULL;
}
