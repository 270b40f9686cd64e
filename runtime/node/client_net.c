/* znode net: what containers send and where their rules let them, as znet
 * counts it: for people, as JSON, and as metrics (the text format of
 * Prometheus). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "base/fd.h"
#include "base/span.h"
#include "net/znet.h"

#include "client.h"

enum { ANSWER_MS = 5000 };

/* How one kind of output says a container, each of its rules, and the end. */
struct form {
	void (*container)(const struct znet_outlet *o);
	void (*rule)(const struct znet_outlet *o, const struct znet_rule *r);
	int (*end)(void);
};

static const struct {
	const char *name, *help;
	size_t at; /* of a uint64_t in struct znet_outlet */
} counters[] = {
#define COUNTER(name, help) #name, help, offsetof(struct znet_outlet, name)
	{ COUNTER(packets_out, "Packets from the container.") },
	{ COUNTER(bytes_out, "Bytes from the container.") },
	{ COUNTER(packets_in, "Packets to the container.") },
	{ COUNTER(bytes_in, "Bytes to the container.") },
	{ COUNTER(denied, "Flows denied by policy.") },
	{ COUNTER(limited, "Flows and datagrams over the rate.") },
	{ COUNTER(dropped, "Packets dropped for want of room.") },
	{ COUNTER(spoofed, "Packets from an address that is not its own.") },
	{ COUNTER(malformed, "Packets that are none.") },
	{ COUNTER(unsupported, "Packets of a kind that is not supported.") },
#undef COUNTER
};

enum { N_COUNTERS = sizeof(counters) / sizeof(*counters) };

static unsigned long long counter(const struct znet_outlet *o, int i)
{
	uint64_t value;

	memcpy(&value, (const char *)o + counters[i].at, sizeof(value));
	return value;
}

/* ---- for people ---- */

static void table_container(const struct znet_outlet *o)
{
	char address[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, o->address + 12, address, sizeof(address));
	printf("%-24s %-15s %6u %9.1f %9.1f %8llu %8llu %8llu\n", o->container,
	       address, o->connections + o->datagrams,
	       (double)o->bytes_out / 1e6, (double)o->bytes_in / 1e6,
	       (unsigned long long)o->denied, (unsigned long long)o->limited,
	       (unsigned long long)o->dropped);
}

static void table_rule(const struct znet_outlet *o, const struct znet_rule *r)
{
	(void)o;
	printf("  %12llu  %s\n", (unsigned long long)r->flows, r->text);
}

static int table_end(void)
{
	return 0;
}

static const struct form table = { table_container, table_rule, table_end };

/* ---- JSON ---- */

static yyjson_mut_doc *json;
static yyjson_mut_val *json_rules;

static void json_container(const struct znet_outlet *o)
{
	yyjson_mut_val *object =
		yyjson_mut_arr_add_obj(json, yyjson_mut_doc_get_root(json));
	char address[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, o->address + 12, address, sizeof(address));
	yyjson_mut_obj_add_strcpy(json, object, "container", o->container);
	yyjson_mut_obj_add_strcpy(json, object, "address", address);
	yyjson_mut_obj_add_uint(json, object, "connections", o->connections);
	yyjson_mut_obj_add_uint(json, object, "datagrams", o->datagrams);
	for (int i = 0; i < N_COUNTERS; i++)
		yyjson_mut_obj_add_uint(json, object, counters[i].name,
					counter(o, i));
	json_rules = yyjson_mut_obj_add_arr(json, object, "rules");
}

static void json_rule(const struct znet_outlet *o, const struct znet_rule *r)
{
	yyjson_mut_val *object = yyjson_mut_arr_add_obj(json, json_rules);

	(void)o;
	yyjson_mut_obj_add_strcpy(json, object, "rule", r->text);
	yyjson_mut_obj_add_uint(json, object, "flows", r->flows);
}

static int json_end(void)
{
	autofree char *text =
		yyjson_mut_write(json, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL);

	yyjson_mut_doc_free(json);
	if (!text)
		return client_complain("net", "out of memory");
	puts(text);
	return 0;
}

static const struct form json_form = { json_container, json_rule, json_end };

/* ---- metrics: no name or rule has a character that would have to be escaped,
 * and a rule's text is unique but for repeated rules, so its number is told
 * too ---- */

static unsigned rule_number;

static void metrics_container(const struct znet_outlet *o)
{
	rule_number = 0;
	printf("zooid_net_flows{container=\"%s\"} %u\n", o->container,
	       o->connections + o->datagrams);
	for (int i = 0; i < N_COUNTERS; i++)
		printf("zooid_net_%s_total{container=\"%s\"} %llu\n",
		       counters[i].name, o->container, counter(o, i));
}

static void metrics_rule(const struct znet_outlet *o, const struct znet_rule *r)
{
	printf("zooid_net_rule_flows_total{container=\"%s\",number=\"%u\","
	       "rule=\"%s\"} %llu\n",
	       o->container, ++rule_number, r->text,
	       (unsigned long long)r->flows);
}

static const struct form metrics = { metrics_container, metrics_rule,
				     table_end };

static void metrics_begin(void)
{
	puts("# HELP zooid_net_flows Flows of a container into the world now.\n"
	     "# TYPE zooid_net_flows gauge\n"
	     "# HELP zooid_net_rule_flows_total Flows that a rule has judged.\n"
	     "# TYPE zooid_net_rule_flows_total counter");
	for (int i = 0; i < N_COUNTERS; i++)
		printf("# HELP zooid_net_%s_total %s\n"
		       "# TYPE zooid_net_%s_total counter\n",
		       counters[i].name, counters[i].help, counters[i].name);
}

/* ---- znet ---- */

static int ask(int sock, struct znet_request *request, struct znet_reply *reply)
{
	int r;

	request->head.size = sizeof(*request);
	r = ipc_call(sock, request, sizeof(*request), NULL, 0, reply,
		     sizeof(*reply), NULL, ANSWER_MS);
	reply->outlet.container[sizeof(reply->outlet.container) - 1] = '\0';
	reply->rule.text[sizeof(reply->rule.text) - 1] = '\0';
	return r;
}

static int rules_show(int sock, const struct form *form,
		      const struct znet_outlet *o)
{
	struct znet_request request = { .head.verb = ZNET_RULE };
	struct znet_reply reply;
	int r = 0;

	text_copy(request.container, sizeof(request.container), o->container);
	for (; r == 0; request.row++) {
		r = ask(sock, &request, &reply);
		if (r < 0 || reply.rule.error < 0)
			break;
		form->rule(o, &reply.rule);
	}
	return r;
}

static int containers_show(int sock, const struct form *form)
{
	struct znet_request request = { .head.verb = ZNET_OUTLET };
	struct znet_reply reply;
	int r = 0;

	for (; r == 0; request.row++) {
		r = ask(sock, &request, &reply);
		if (r < 0 || reply.outlet.error < 0)
			break;
		form->container(&reply.outlet);
		r = rules_show(sock, form, &reply.outlet);
	}
	return r;
}

static const struct form *form_of(int argc, char **argv)
{
	if (argc == 1) {
		printf("%-24s %-15s %6s %9s %9s %8s %8s %8s\n", "CONTAINER",
		       "ADDRESS", "FLOWS", "MB OUT", "MB IN", "DENIED",
		       "LIMITED", "DROPPED");
		return &table;
	}
	if (argc != 3 || strcmp(argv[1], "-o") != 0)
		return NULL;
	if (!strcmp(argv[2], "json")) {
		json = yyjson_mut_doc_new(NULL);
		yyjson_mut_doc_set_root(json, yyjson_mut_arr(json));
		return &json_form;
	}
	if (strcmp(argv[2], "metrics") != 0)
		return NULL;
	metrics_begin();
	return &metrics;
}

int client_net(int argc, char **argv)
{
	autoclose int sock = ipc_connect("znet");
	const struct form *form;
	int r;

	if (sock < 0)
		return client_complain("znet.sock", strerror(-sock));
	form = form_of(argc, argv);
	if (!form)
		return 2;
	r = containers_show(sock, form);
	if (r < 0)
		return client_complain("znet.sock", strerror(-r));
	return form->end();
}
