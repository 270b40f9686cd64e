/* The published ports of an application: listeners that init holds, and the
 * notes by which znet leads their connections. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/span.h"

#include "app.h"

enum { REBIND_MS = 5000 };

static struct init_key key_of(const struct app *app, const struct app_port *p)
{
	struct init_key key = { .kind = INIT_KIND_LISTEN, .n = p->host };

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
	};

	route.address[10] = route.address[11] = 0xff;
	app_address(to, address);
	inet_pton(AF_INET, address, route.address + 12);
	if (app->state != ZNODE_RUNNING && !app->old)
		return route;
	route.state = NET_ROUTE_OPEN;
	text_copy(route.container, sizeof(route.container), to->id);
	return route;
}

/* The number of the instance that the clients are led to, 0 for none. */
static uint32_t instance_of(const struct net_route *route)
{
	const char *dash = strrchr(route->container, '-');
	uint64_t number = 0;

	if (dash)
		span_u64(span_of(dash + 1), UINT32_MAX, &number);
	return (uint32_t)number;
}

static void remember(struct app_port *p, const struct net_route *route)
{
	p->bound = true;
	p->error = 0;
	p->state = route->state;
	p->to = instance_of(route);
}

/* Said once, however often it is tried. */
static void port_fail(struct app *app, struct app_port *p, int code)
{
	if (p->error != code)
		log_error(app->name, "port %u: %s%s", p->host, strerror(-code),
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

	if (p->bound && p->state == route.state && p->to == instance_of(&route))
		return;
	if (!p->bound && app->rebind.deadline_ms)
		return;
	if (p->bound)
		r = link_call(&app->host->link, INIT_NOTE, &key, &route,
			      sizeof(route));
	else
		r = link_bind(&app->host->link, &key, &route, sizeof(route));
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

	if (app->kept)
		return;
	for (unsigned i = 0; i < app->n_ports; i++) {
		if (publish)
			port_publish(app, &app->port[i]);
		else
			port_withdraw(app, &app->port[i]);
	}
}

static struct app_port *port_find(struct app *app, uint16_t host)
{
	for (unsigned i = 0; i < app->n_ports; i++)
		if (app->port[i].host == host)
			return &app->port[i];
	return NULL;
}

static bool is_wanted(const struct app *app, const struct app_port *p)
{
	for (unsigned i = 0; i < app->want->n_ports; i++)
		if (app->want->port[i].host == p->host)
			return true;
	return false;
}

/* The same table before and after a replacement: a port that both have stays
 * bound, so no client is refused. */
void app_ports_want(struct app *app)
{
	unsigned n = 0;

	if (!app->want || app->refused)
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
		struct app_port *p = port_find(app, want->host);

		if (!p) {
			p = &app->port[app->n_ports++];
			*p = (struct app_port){ .host = want->host };
		}
		p->container = want->container;
	}
}

/* Which of them are wanted is seen later, in app_adopt(). */
void app_listener(struct app *app, const struct init_event *event)
{
	struct app_port *p = port_find(app, (uint16_t)event->key.n);
	struct net_route route;

	memcpy(&route, event->note, sizeof(route));
	route.container[sizeof(route.container) - 1] = '\0';
	if (!p && app->n_ports == DESIRED_PORTS_MAX)
		return;
	if (!p)
		p = &app->port[app->n_ports++];
	p->host = (uint16_t)event->key.n;
	p->container = route.port;
	remember(p, &route);
}
