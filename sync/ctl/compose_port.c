/* A service of a Compose file: ports. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
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
		if (s->port[i].host == port.host &&
		    s->port[i].udp == port.udp) {
			if (s->port[i].container == port.container &&
			    s->port[i].proxy_protocol == port.proxy_protocol &&
			    memcmp(s->port[i].address, port.address,
				   sizeof(port.address)) == 0)
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

	if (s.size && s.data[0] == '-')
		return port_number(w, line, s, &range->host);
	span_cut(&s, '-', &first);
	if (port_number(w, line, first, &range->host) < 0)
		return -EINVAL;
	range->container = range->host;
	return s.data ? port_number(w, line, s, &range->container) : 0;
}

/* Ranges of host and container, `host` of each being its first port,
 * `container` its last; and where the host listens. */
struct port_said {
	struct desired_port range[2];
	uint8_t address[16];
	bool udp;
	uint64_t proxy_protocol;
};

/* Two ranges of the same length are so many ports. */
static void ranges_add(struct walk *w, struct service *s, unsigned line,
		       const struct port_said *said)
{
	const struct desired_port *range = said->range;
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
	for (unsigned i = 0; i <= n; i++) {
		struct desired_port port = {
			.host = (uint16_t)(range[0].host + i),
			.container = (uint16_t)(range[1].host + i),
			.udp = said->udp,
			.proxy_protocol = (uint8_t)said->proxy_protocol,
		};

		memcpy(port.address, said->address, sizeof(port.address));
		port_add(w, s, line, port);
	}
}

static int address_read(struct walk *w, unsigned line, struct span text,
			uint8_t address[16])
{
	if (text.size > 1 && text.data[0] == '[' &&
	    text.data[text.size - 1] == ']')
		text = (struct span){ text.data + 1, text.size - 2 };
	if (desired_address(text, address) == 0)
		return 0;
	walk_fail(w, line, "\"%.*s\": want an address of the node in digits",
		  (int)(text.size < 40 ? text.size : 40), text.data);
	return -EINVAL;
}

/* Takes "ADDRESS:" off what has more than HOST:CONTAINER. */
static int address_take(struct walk *w, unsigned line, struct span *ports,
			uint8_t address[16])
{
	const char *last = memrchr(ports->data, ':', ports->size);
	const char *end = last > ports->data
				  ? memrchr(ports->data, ':',
					    (size_t)(last - ports->data))
				  : NULL;
	struct span text = *ports;

	if (!end)
		return 0;
	text.size = (size_t)(end - ports->data);
	ports->data += text.size + 1;
	ports->size -= text.size + 1;
	return address_read(w, line, text, address);
}

/* False: neither tcp nor udp. */
static bool protocol_take(struct span text, bool *udp)
{
	*udp = span_is(text, "udp");
	return *udp || span_is(text, "tcp");
}

/* A port of the container alone, where others of its application reach it
 * anyway. */
static void only_inside(struct walk *w, unsigned line, struct span port)
{
	struct desired_port range;

	if (range_read(w, line, port, &range) == 0)
		walk_notice(w, line,
			    "is not published: no free port of the node is "
			    "chosen; say HOST:%.*s",
			    (int)port.size, port.data);
}

/* [ADDRESS:]HOST:CONTAINER[/tcp|/udp]. */
static void port_short(struct walk *w, struct service *s, unsigned line,
		       const char *text)
{
	struct span rest = span_of(text), ports, protocol, host;
	struct port_said said = { 0 };

	span_cut(&rest, '/', &ports);
	protocol = rest;
	if (protocol.data && !protocol_take(protocol, &said.udp))
		walk_fail(w, line, "\"%.40s\": want tcp or udp", text);
	else if (ports.size && !memchr(ports.data, ':', ports.size))
		only_inside(w, line, ports);
	else if (address_take(w, line, &ports, said.address) == 0) {
		span_cut(&ports, ':', &host);
		if (range_read(w, line, host, &said.range[0]) == 0 &&
		    range_read(w, line, ports, &said.range[1]) == 0)
			ranges_add(w, s, line, &said);
	}
}

static void target_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	struct port_said *port = into;
	const char *text = walk_text(w, value, "a port");

	if (text)
		range_read(w, value->line, span_of(text), &port->range[1]);
}

static void published_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	struct port_said *port = into;
	const char *text = walk_text(w, value, "a port");

	if (text)
		range_read(w, value->line, span_of(text), &port->range[0]);
}

static void protocol_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	const char *text = walk_text(w, value, "tcp or udp");
	struct port_said *port = into;

	if (text && !protocol_take(span_of(text), &port->udp))
		walk_fail(w, value->line, "\"%.20s\": want tcp or udp", text);
}

static void host_ip_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	struct port_said *port = into;
	const char *text = walk_text(w, value, "an address");

	if (text)
		address_read(w, value->line, span_of(text), port->address);
}

/* Nodes have no ingress of a cluster: both words mean the node's own port. */
static void mode_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	const char *text = walk_text(w, value, "host or ingress");

	(void)into;
	if (text && strcmp(text, "host") != 0 && strcmp(text, "ingress") != 0)
		walk_fail(w, value->line, "\"%.20s\": want host or ingress",
			  text);
}

static void proxy_protocol_read(struct walk *w,
				const struct compose_node *value, void *into)
{
	struct port_said *port = into;

	if (value_number(w, value, UINT32_MAX, &port->proxy_protocol) &&
	    port->proxy_protocol != 2)
		walk_fail(w, value->line, "want 2, or no such key");
}

static void zooid_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	static const struct walk_key keys[] = {
		{ "proxy_protocol", proxy_protocol_read },
	};

	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, into);
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
		{ "host_ip", host_ip_read },
		{ "mode", mode_read },
		{ "x-zooid", zooid_read },
	};
	struct port_said port = { 0 };
	unsigned before = w->n_problems;

	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, &port);
	if (w->n_problems > before)
		return;
	if (!port.range[1].host)
		walk_fail(w, value->line, "want target");
	else if (!port.range[0].host)
		walk_notice(w, value->line,
			    "is not published: no free port of the node is "
			    "chosen; say published:");
	else if (port.udp && port.proxy_protocol)
		walk_fail(w, value->line, "want tcp with proxy_protocol");
	else
		ranges_add(w, s, value->line, &port);
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

static void address_write(const struct service *s, yyjson_mut_val *port,
			  const uint8_t address[16])
{
	static const uint8_t any[16];
	struct in6_addr a;
	char text[INET6_ADDRSTRLEN];

	if (memcmp(address, any, sizeof(any)) == 0)
		return;
	memcpy(&a, address, sizeof(a));
	if (IN6_IS_ADDR_V4MAPPED(&a))
		inet_ntop(AF_INET, address + 12, text, sizeof(text));
	else
		inet_ntop(AF_INET6, address, text, sizeof(text));
	yyjson_mut_obj_add_strcpy(s->doc, port, "address", text);
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
		address_write(s, port, s->port[i].address);
		if (s->port[i].udp)
			yyjson_mut_obj_add_str(s->doc, port, "protocol", "udp");
		if (s->port[i].proxy_protocol)
			yyjson_mut_obj_add_uint(s->doc, port, "proxy_protocol",
						s->port[i].proxy_protocol);
	}
}
