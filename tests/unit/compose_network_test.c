/* Compose files: networks, addresses, the node, and what is other
 * applications'. Expected values are by hand from the Compose Specification,
 * sync.5 and zctl.1. */
#include "compose_read.h"
#include "tap.h"

#define DB	   "  db: {image: a, networks: [back]}\n"
#define INNER	   "networks: {back: {internal: true}, front: {}}\n"
#define NEIGHBOURS "\"allow 10.64.0.0/16\",\"allow fd7a:6f6f:6964::/96\""
#define DENY	   ",\"policy\":{\"default\":\"deny\",\"rules\":[" NEIGHBOURS "]}"

static const struct {
	const char *name, *yaml[3], *json, *notice; /* the only one, or NULL */
} good[] = {
	{ "on internal networks alone",
	  { WEB("    networks: [back]\n") INNER },
	  APP(DENY),
	  NULL },
	{ "on another one as well",
	  { WEB("    networks: [back, front]\n") INNER },
	  APP(""),
	  NULL },
	{ "a default network that is internal",
	  { WEB("    ports: [\"80:80\"]\n") "networks: {default: {internal: "
					    "true}}\n" },
	  APP(DENY),
	  "f:2: services.web: its ports are not published: the networks that "
	  "it "
	  "is on are internal" },
	{ "a default network that is internal, of who names none",
	  { WEB("    networks: []\n") "networks: {default: {internal: "
				      "true}}\n" },
	  APP(DENY),
	  NULL },
	{ "a default network that is internal, of who leaves it open",
	  { WEB("    networks:\n") "networks: {default: {internal: true}}\n" },
	  APP(DENY),
	  NULL },
	{ "an internal network that is not",
	  { WEB("    networks: [back]\n") "networks: {back: {internal: "
					  "false}}\n" },
	  APP(""),
	  NULL },
	{ "rules, on an internal network",
	  { WEB("    networks: [back]\n    x-zooid: {network: {rules: [allow "
		"192.0.2.1]}}\n") INNER },
	  APP(",\"policy\":{\"default\":\"deny\",\"rules\":[\"allow "
	      "192.0.2.1\"," NEIGHBOURS "]}"),
	  NULL },
	{ "the node",
	  { WEB("    extra_hosts: [\"host.docker.internal:host-gateway\"]\n") },
	  APP(",\"extra_hosts\":{\"host.docker.internal\":\"host-gateway\"}"),
	  NULL },
	{ "the node, that a rule denies",
	  { WEB("    extra_hosts: {node: host-gateway}\n    x-zooid: "
		"{network: {rules: [deny 192.0.0.0/24, allow any]}}\n") },
	  APP(",\"extra_hosts\":{\"node\":\"host-gateway\"},\"policy\":{"
	      "\"rules\":[\"deny 192.0.0.0/24\",\"allow any\"]}"),
	  "f:4: services.web: extra_hosts: host-gateway is 192.0.0.8, where "
	  "its "
	  "network's rules do not let it go" },
	{ "the node, that a rule allows",
	  { WEB("    extra_hosts: {node: host-gateway}\n    x-zooid: "
		"{network: {default: deny, rules: [deny any udp, allow "
		"192.0.0.8 tcp 80]}}\n") },
	  APP(",\"extra_hosts\":{\"node\":\"host-gateway\"},\"policy\":{"
	      "\"default\":\"deny\",\"rules\":[\"deny any udp\",\"allow "
	      "192.0.0.8 tcp 80\"]}"),
	  NULL },
	{ "the node, from an internal network",
	  { WEB("    networks: [back]\n    extra_hosts: {node: "
		"host-gateway}\n") INNER },
	  APP(",\"extra_hosts\":{\"node\":\"host-gateway\"}" DENY),
	  "f:5: services.web: extra_hosts: host-gateway is 192.0.0.8, where "
	  "its "
	  "network's rules do not let it go" },
	{ "an address that nothing depends on",
	  { WEB("    networks: {front: {ipv4_address: 172.20.0.5}}\n"
		"    environment: [A=172.20.0.50, B=1172.20.0.5]\n") INNER },
	  APP(",\"environment\":{\"A\":\"172.20.0.50\",\"B\":"
	      "\"1172.20.0.5\"}"),
	  "f:4: services.web.networks.front.ipv4_address: is not used: the "
	  "node gives each container its address, to which the service's name "
	  "leads" },
	{ "an address of a link",
	  { WEB("    mac_address: 02:42:ac:11:00:02\n") },
	  APP(""),
	  "f:4: services.web.mac_address: is not used: a container has no link "
	  "of that kind" },
	{ "where it is placed",
	  { WEB("    deploy: {placement: {constraints: [node.role == manager], "
		"max_replicas_per_node: 1}}\n") },
	  APP(""),
	  "f:4: services.web.deploy.placement: is not used: --node says on "
	  "which nodes all of it runs" },
	{ "a volume of another application",
	  { WEB("    volumes: [a:/b]\n") "volumes: {a: {external: true, name: "
					 "shop.data}}\n" },
	  APP(",\"mounts\":[{\"type\":\"volume\",\"target\":\"/b\","
	      "\"source\":\"shop.data\",\"external\":true}]"),
	  "f:4: services.web.volumes[0]: the volume shop.data is not this "
	  "application's alone" },
	{ "a volume of none",
	  { WEB("    volumes: [a:/b:ro]\n") "volumes: {a: {external: "
					    "true}}\n" },
	  APP(",\"mounts\":[{\"type\":\"volume\",\"target\":\"/b\","
	      "\"source\":\"a\",\"read_only\":true,\"external\":true}]"),
	  "f:4: services.web.volumes[0]: the volume a is not this "
	  "application's alone" },
	{ "its own volume",
	  { WEB("    volumes: [a:/b]\n") "volumes: {a: {external: false}}\n" },
	  APP(",\"mounts\":[{\"type\":\"volume\",\"target\":\"/b\","
	      "\"source\":\"a\"}]"),
	  NULL },
};

#define FIXED4 "    networks: {front: {ipv4_address: 172.20.0.5}}\n"
#define OTHER4 \
	"  b: {image: a, environment: {URL: \"http://172.20.0.5:80/\"}}\n"
#define FIXED6 "    networks: {front: {ipv6_address: \"2001:db8::5\"}}\n"
#define OTHER6 "  b: {image: a, command: [ping, \"2001:db8::5\"]}\n"

static const struct {
	const char *name, *yaml[3], *line;
} bad[] = {
	{ "an internal network and rules that allow all",
	  { WEB("    networks: [back]\n    x-zooid: {network: {default: "
		"allow}}\n") INNER },
	  "f:5: services.web: the networks that it is on are internal: want "
	  "default: deny" },
	{ "an address that another one's environment has",
	  { WEB(FIXED4) OTHER4 INNER },
	  "f:4: services.b says 172.20.0.5 in its environment: "
	  "containers get their addresses from the node; want the service's "
	  "name there" },
	{ "an address that another one's command has",
	  { WEB(FIXED6) OTHER6 INNER },
	  "f:4: services.b says 2001:db8::5 in its command: "
	  "containers get their addresses from the node; want the service's "
	  "name there" },
	{ "an address that is none",
	  { WEB("    networks: {front: {ipv4_address: front}}\n") INNER },
	  "f:4: services.web.networks.front.ipv4_address: \"front\": want an "
	  "address in digits" },
	{ "where it is placed, in other words",
	  { WEB("    deploy: {placement: {zone: a}}\n") },
	  "f:4: services.web.deploy.placement.zone: no such key" },
	{ "a GPU",
	  { WEB("    deploy: {resources: {reservations: {devices: [{driver: "
		"nvidia}]}}}\n") },
	  "f:4: services.web.deploy.resources.reservations.devices: no GPU is "
	  "given by this yet: one that is a device of the node is, by "
	  "devices:" },
	{ "another runtime",
	  { WEB("    runtime: nvidia\n") },
	  "f:4: services.web.runtime: \"nvidia\": every container is run by "
	  "zrun; want no such key" },
	{ "a volume by Docker's name for it",
	  { WEB("    volumes: [a:/b]\n") "volumes: {a: {external: true, name: "
					 "shop_data}}\n" },
	  "f:4: services.web.volumes[0]: \"shop_data\": external: want the "
	  "volume as nodes call it (znode volumes): APPLICATION.NAME" },
	{ "a volume of others with a size",
	  { WEB("    volumes: [a:/b]\n") "volumes: {a: {external: true, "
					 "x-zooid: {size: 1m}}}\n" },
	  "f:4: services.web.volumes[0]: a: external: want no size" },
};

static void notices(const char *name, const char *const *yaml,
		    const char *notice)
{
	struct compose *c = calloc(1, sizeof(*c));
	int err = read_files(yaml, c);

	if (c->notices.n)
		printf("# %s\n", c->notices.line[0]);
	ok(err == 0 && c->notices.n == (notice ? 1 : 0) &&
		   (!notice || !strcmp(c->notices.line[0], notice)),
	   "what is told: %s", name);
	compose_end(c);
	free(c);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		becomes(good[i].name, good[i].yaml, good[i].json);
		notices(good[i].name, good[i].yaml, good[i].notice);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refuses(bad[i].name, bad[i].yaml, bad[i].line);
	return tap_done();
}
