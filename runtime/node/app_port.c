/* The published ports of an application: listeners that init holds, and the
 * notes by which znet leads their connections. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"

#include "app.h"

enum { REBIND_MS = 5000 };

static struct init_key key_of(const struct app *app, const struct app_port *p)
{
	struct init_key key = { .kind = INIT_KIND_LISTEN,
				.n = p->host | (p->udp ? INIT_LISTEN_UDP : 0) };

	text_copy(key.container, sizeof(key.container), app->name);
	return key;
}

/* Connections are held unless the instance takes them. */
static struct net_route route_of(struct app *app, const struct app_port *p)
{
	struct app *to = app->old ? app->old : app;
	char address[16];
	struct net_route route = {
		.magic = NET_ROUTE_MAGIC,
		.state = NET_ROUTE_HOLD,
		.port = p->container,
		.proxy_protocol = p->proxy_protocol,
	};

	memcpy(route.bound, p->address, sizeof(route.bound));
	route.address[10] = route.address[11] = 0xff;
	/* Before it is asked to end, so that an end which a killed znode has
	 * asked for meets no client. */
	if ((app->reactor.rests || sleep_holds_ports(app)) && !app->old) {
		if (app->state == ZNODE_IMAGE || sleep_holds_ports(app))
			route.state = NET_ROUTE_KNOCK;
		return route;
	}
	app_address(to, address);
	inet_pton(AF_INET, address, route.address + 12);
	if (((app->state == ZNODE_RUNNING || app->state == ZNODE_FROZEN) &&
	     !app->checkpoint.makes) ||
	    app->old) {
		route.state = NET_ROUTE_OPEN;
		text_copy(route.container, sizeof(route.container), to->id);
	}
	scale_route(app, &route);
	return route;
}

static void remember(struct app_port *p, const struct net_route *route)
{
	p->bound = true;
	p->error = 0;
	p->state = route->state;
	p->told = hash_of(route, sizeof(*route));
}

/* Said once, however often it is tried. */
static void port_fail(struct app *app, struct app_port *p, int code)
{
	if (p->error != code)
		log_error(app->name, "port %u%s: %s%s", p->host,
			  p->udp ? "/udp" : "", strerror(-code),
			  code == -EADDRINUSE
				  ? ": another application or interface has it"
				  : "");
	p->error = code;
	timer_set(app->host->loop, &app->rebind, REBIND_MS);
}

static void port_publish(struct app *app, struct app_port *p)
{
	struct net_route route = route_of(app, p);
	struct init_key key = key_of(app, p);
	int r;

	if (p->bound && p->told == hash_of(&route, sizeof(route)))
		return;
	if (!p->bound && app->rebind.deadline_ms)
		return;
	if (p->bound)
		r = link_call(&app->host->link, INIT_NOTE, &key, &route,
			      sizeof(route));
	else
		r = link_bind(&app->host->link, &key, p->address, &route,
			      sizeof(route));
	if (r) {
		p->bound = false;
		port_fail(app, p, r);
	} else {
		remember(p, &route);
	}
}

/* Another application may be waiting for it. */
static void port_withdraw(struct app *app, struct app_port *p)
{
	struct init_key key = key_of(app, p);
	int r;

	if (!p->bound)
		return;
	p->bound = false;
	r = link_call(&app->host->link, INIT_DROP, &key, NULL, 0);
	if (r && r != -ENOENT)
		log_error(app->name, "port %u: %s", p->host, strerror(-r));
	app->host->port_freed();
}

/* While a container is on its way, clients wait in the listen queue; of one
 * that will not come they are refused. */
void app_ports(struct app *app)
{
	bool publish = app_should_run(app) || app->old;

	if (app->extra_of) {
		app_ports(app->extra_of);
		return;
	}
	if (app->kept)
		return;
	for (unsigned i = 0; i < app->n_ports; i++) {
		if (publish)
			port_publish(app, &app->port[i]);
		else
			port_withdraw(app, &app->port[i]);
	}
}

static struct app_port *port_find(struct app *app, uint16_t host, bool udp)
{
	for (unsigned i = 0; i < app->n_ports; i++)
		if (app->port[i].host == host && app->port[i].udp == udp)
			return &app->port[i];
	return NULL;
}

static bool is_wanted(const struct app *app, const struct app_port *p)
{
	for (unsigned i = 0; i < app->want->n_ports; i++)
		if (app->want->port[i].host == p->host &&
		    app->want->port[i].udp == p->udp)
			return true;
	return false;
}

static void address_want(struct app *app, struct app_port *p,
			 const struct desired_port *want)
{
	if (memcmp(p->address, want->address, sizeof(p->address)) != 0)
		port_withdraw(app, p);
	memcpy(p->address, want->address, sizeof(p->address));
}

/* The same table before and after a replacement: a port that both have stays
 * bound, so no client is refused. */
void app_ports_want(struct app *app)
{
	unsigned n = 0;

	if (!app->want || app->refused || app->extra_of)
		return;
	for (unsigned i = 0; i < app->n_ports; i++) {
		if (is_wanted(app, &app->port[i]))
			app->port[n++] = app->port[i];
		else
			port_withdraw(app, &app->port[i]);
	}
	app->n_ports = n;
	for (unsigned i = 0; i < app->want->n_ports; i++) {
		const struct desired_port *want = &app->want->port[i];
		struct app_port *p = port_find(app, want->host, want->udp);

		if (!p) {
			p = &app->port[app->n_ports++];
			*p = (struct app_port){ .host = want->host,
						.udp = want->udp };
		}
		p->container = want->container;
		p->proxy_protocol = want->proxy_protocol;
		address_want(app, p, want);
	}
}

/* Which of them are wanted is seen later, in app_adopt(). */
void app_listener(struct app *app, const struct init_event *event)
{
	bool udp = event->key.n & INIT_LISTEN_UDP;
	struct app_port *p = port_find(app, (uint16_t)event->key.n, udp);
	struct net_route route;

	memcpy(&route, event->note, sizeof(route));
	route.container[sizeof(route.container) - 1] = '\0';
	if (!p && app->n_ports == DESIRED_PORTS_MAX)
		return;
	if (!p)
		p = &app->port[app->n_ports++];
	p->host = (uint16_t)event->key.n;
	p->udp = udp;
	p->container = route.port;
	p->proxy_protocol = (uint8_t)route.proxy_protocol;
	memcpy(p->address, route.bound, sizeof(p->address));
	remember(p, &route);
}
