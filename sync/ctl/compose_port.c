/* A service of a Compose file: ports and networks. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "compose_service.h"

static int port_number(struct walk *w, unsigned line, struct span s,
		       uint16_t *port)
{
	uint64_t n;

	if (span_u64(s, 65535, &n) < 0 || !n) {
		walk_fail(w, line, "\"%.*s\": want a port, 1 to 65535",
			  (int)(s.size < 40 ? s.size : 40), s.data);
		return -EINVAL;
	}
	*port = (uint16_t)n;
	return 0;
}

static void port_add(struct walk *w, struct service *s, unsigned line,
		     struct desired_port port)
{
	for (unsigned i = 0; i < s->n_ports; i++)
		if (s->port[i].host == port.host) {
			if (s->port[i].container == port.container)
				return; /* as when files are merged */
			walk_fail(w, line, "host port %u is there twice",
				  port.host);
			return;
		}
	if (s->n_ports == DESIRED_PORTS_MAX)
		walk_fail(w, line, "want at most %u ports", DESIRED_PORTS_MAX);
	else
		s->port[s->n_ports++] = port;
}

/* "8080" or "8080-8089". */
static int range_read(struct walk *w, unsigned line, struct span s,
		      struct desired_port *range)
{
	struct span first;

	span_cut(&s, '-', &first);
	if (port_number(w, line, first, &range->host) < 0)
		return -EINVAL;
	range->container = range->host;
	return s.data ? port_number(w, line, s, &range->container) : 0;
}

/* Two ranges of the same length are so many ports; here `host` of a range is
 * its first, `container` its last. */
static void ranges_add(struct walk *w, struct service *s, unsigned line,
		       const struct desired_port range[2])
{
	unsigned n = range[0].container - range[0].host;

	if (range[0].container < range[0].host ||
	    range[1].container < range[1].host ||
	    n != (unsigned)(range[1].container - range[1].host)) {
		walk_fail(w, line,
			  "want as many host ports as ports of the "
			  "container");
		return;
	}
	if (n >= DESIRED_PORTS_MAX) {
		walk_fail(w, line, "want at most %u ports", DESIRED_PORTS_MAX);
		return;
	}
	for (unsigned i = 0; i <= n; i++)
		port_add(
			w, s, line,
			(struct desired_port){ (uint16_t)(range[0].host + i),
					       (uint16_t)(range[1].host + i) });
}

/* Takes off what says: every address of the node. */
static void any_address(struct span *ports)
{
	static const char *const any[] = { "0.0.0.0:", "[::]:" };

	for (size_t i = 0; i < ARRAY_SIZE(any); i++) {
		size_t n = strlen(any[i]);

		if (ports->size < n || memcmp(ports->data, any[i], n) != 0)
			continue;
		ports->data += n;
		ports->size -= n;
		return;
	}
}

/* HOST:CONTAINER[/tcp]. */
static void port_short(struct walk *w, struct service *s, unsigned line,
		       const char *text)
{
	struct span rest = span_of(text), ports, protocol, host;
	struct desired_port range[2];

	span_cut(&rest, '/', &ports);
	protocol = rest;
	any_address(&ports);
	if (protocol.data && !span_is(protocol, "tcp"))
		walk_fail(w, line, "\"%.40s\": only tcp is supported yet",
			  text);
	else if (!ports.size || !memchr(ports.data, ':', ports.size))
		walk_fail(w, line,
			  "\"%.40s\": want HOST:CONTAINER; a free host port is "
			  "not chosen yet",
			  text);
	else if (ports.data[0] == '[' ||
		 memchr(ports.data, ':', ports.size) !=
			 memrchr(ports.data, ':', ports.size))
		walk_fail(w, line,
			  "\"%.40s\": an address to listen on is not supported "
			  "yet; want HOST:CONTAINER",
			  text);
	else {
		span_cut(&ports, ':', &host);
		if (range_read(w, line, host, &range[0]) == 0 &&
		    range_read(w, line, ports, &range[1]) == 0)
			ranges_add(w, s, line, range);
	}
}

/* A port in long form: both as ranges. */
struct port_long {
	struct desired_port range[2];
};

static void target_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	struct port_long *port = into;
	const char *text = walk_text(w, value, "a port");

	if (text)
		range_read(w, value->line, span_of(text), &port->range[1]);
}

static void published_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	struct port_long *port = into;
	const char *text = walk_text(w, value, "a port");

	if (text)
		range_read(w, value->line, span_of(text), &port->range[0]);
}

static void protocol_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	const char *text = walk_text(w, value, "tcp");

	(void)into;
	if (text && strcmp(text, "tcp") != 0)
		walk_fail(w, value->line,
			  "\"%.20s\": only tcp is supported yet", text);
}

/* For people. */
static void text_ignore(struct walk *w, const struct compose_node *value,
			void *into)
{
	(void)into;
	walk_text(w, value, "text");
}

static void port_long(struct walk *w, struct service *s,
		      const struct compose_node *value)
{
	static const struct walk_key keys[] = {
		{ "target", target_read },
		{ "published", published_read },
		{ "protocol", protocol_read },
		{ "name", text_ignore },
		{ "app_protocol", text_ignore },
	};
	static const char *const others[] = { "host_ip", "mode", NULL };
	struct port_long port = { 0 };
	unsigned before = w->n_problems;

	walk_map(w, value, keys, ARRAY_SIZE(keys), others, &port);
	if (w->n_problems > before)
		return;
	if (!port.range[0].host || !port.range[1].host)
		walk_fail(w, value->line, "want target and published");
	else
		ranges_add(w, s, value->line, port.range);
}

void ports_read(struct walk *w, const struct compose_node *value, void *into)
{
	if (value->kind != COMPOSE_LIST) {
		walk_fail(w, value->line, "want a list");
		return;
	}
	for (unsigned i = 0; i < value->n; i++) {
		const struct compose_node *item = value->item[i];
		size_t used = walk_item(w, i);
		const char *text;

		if (item->kind == COMPOSE_MAP)
			port_long(w, into, item);
		else if ((text = walk_text(w, item, "HOST:CONTAINER")))
			port_short(w, into, item->line, text);
		walk_back(w, used);
	}
}

static void exposed_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	const char *text = walk_text(w, value, "a port");
	struct span rest = span_of(text ? text : ""), port;
	struct desired_port range;

	(void)into;
	span_cut(&rest, '/', &port);
	if (text)
		range_read(w, value->line, port, &range);
}

/* Other services reach every port of a container anyway. */
void expose_read(struct walk *w, const struct compose_node *value, void *into)
{
	walk_list(w, value, exposed_read, into);
}

/* ---- networks ---- */

static void network_add(struct walk *w, struct service *s,
			const struct compose_node *key)
{
	const struct compose_node *all = walk_member(w->root, "networks");
	const char *name = key->text.data;

	if (!strcmp(name, "default")) {
		s->seen->networks |= 1;
		return;
	}
	for (unsigned i = 0;
	     all && all->kind == COMPOSE_MAP && i < all->n && i < 63; i++)
		if (!strcmp(all->item[2 * i]->text.data, name)) {
			s->seen->networks |= UINT64_C(2) << i;
			return;
		}
	walk_fail(w, key->line, "there is no network %.63s in networks:", name);
}

static void network_name(struct walk *w, const struct compose_node *value,
			 void *into)
{
	if (walk_text(w, value, "the name of a network"))
		network_add(w, into, value);
}

/* Names, or a map whose values say more. */
void networks_read(struct walk *w, const struct compose_node *value, void *into)
{
	static const char *const others[] = {
		"aliases",	  "interface_name",
		"ipv4_address",	  "ipv6_address",
		"link_local_ips", "mac_address",
		"driver_opts",	  "gw_priority",
		"priority",	  NULL
	};
	struct service *s = into;

	s->seen->networks = 0;
	if (value->kind != COMPOSE_MAP) {
		walk_list(w, value, network_name, into);
		return;
	}
	for (unsigned i = 0; i < value->n; i++) {
		const struct compose_node *key = value->item[2 * i];
		size_t used = walk_key(w, key->text.data);

		network_add(w, s, key);
		if (!compose_is_null(value->item[2 * i + 1]))
			walk_map(w, value->item[2 * i + 1], NULL, 0, others,
				 NULL);
		walk_back(w, used);
	}
}

void network_mode_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "bridge or none");

	if (!text || !strcmp(text, "bridge") || !strcmp(text, "default"))
		return;
	if (!strcmp(text, "none"))
		yyjson_mut_obj_add_str(s->doc, s->app, "network", "none");
	else if (!strcmp(text, "host"))
		walk_fail(w, value->line,
			  "the network of the node needs a grant, which is not "
			  "supported yet");
	else
		walk_fail(w, value->line, "\"%.40s\": not supported yet", text);
}

void networks_check(struct walk *w, const struct service_seen *seen, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < i; j++) {
			if (seen[i].networks & seen[j].networks)
				continue;
			walk_notice(
				w, seen[i].line,
				"services.%.63s and services.%.63s share no "
				"network, but reach each other: networks "
				"keep nothing apart yet",
				seen[j].name, seen[i].name);
			return;
		}
}

void ports_write(const struct service *s)
{
	yyjson_mut_val *list = NULL, *port;

	for (unsigned i = 0; i < s->n_ports; i++) {
		if (!list)
			list = yyjson_mut_obj_add_arr(s->doc, s->app, "ports");
		port = yyjson_mut_arr_add_obj(s->doc, list);
		yyjson_mut_obj_add_uint(s->doc, port, "host", s->port[i].host);
		yyjson_mut_obj_add_uint(s->doc, port, "container",
					s->port[i].container);
	}
}
