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
static struct net_route route_of(const struct app *app,
				 const struct app_port *p)
{
	struct net_route route = {
		.magic = NET_ROUTE_MAGIC,
		.state = NET_ROUTE_HOLD,
		.port = p->container,
	};

	route.address[10] = route.address[11] = 0xff;
	inet_pton(AF_INET, app->address, route.address + 12);
	if (app->state != ZNODE_RUNNING)
		return route;
	route.state = NET_ROUTE_OPEN;
	text_copy(route.container, sizeof(route.container), app->id);
	return route;
}

static void remember(struct app_port *p, const struct net_route *route)
{
	p->bound = true;
	p->state = route->state;
	text_copy(p->to, sizeof(p->to), route->container);
}

static void port_fail(struct app *app, const struct app_port *p, int code)
{
	log_error(app->name, "port %u: %s%s", p->host, strerror(-code),
		  code == -EADDRINUSE ? ": another application or interface "
					"has it"
				      : "");
	timer_set(app->host->loop, &app->rebind, REBIND_MS);
}

static void port_publish(struct app *app, struct app_port *p)
{
	struct net_route route = route_of(app, p);
	struct init_key key = key_of(app, p);
	int r;

	if (p->bound && p->state == route.state &&
	    strcmp(p->to, route.container) == 0)
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
}

/* While a container is on its way, clients wait in the listen queue; of one
 * that will not come they are refused. */
void app_ports(struct app *app)
{
	bool publish = app_should_run(app);

	for (unsigned i = 0; i < app->n_ports; i++) {
		if (publish)
			port_publish(app, &app->port[i]);
		else
			port_withdraw(app, &app->port[i]);
	}
}

void app_listener(struct app *app, const struct init_event *event)
{
	struct net_route route;

	memcpy(&route, event->note, sizeof(route));
	route.container[sizeof(route.container) - 1] = '\0';
	for (unsigned i = 0; i < app->n_ports; i++)
		if (app->port[i].host == event->key.n)
			remember(&app->port[i], &route);
}
