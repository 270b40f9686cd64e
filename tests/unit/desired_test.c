/* The desired document: what is read, what is refused and how it is said. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "oci/desired.h"
#include "tap.h"

#define DIGEST    \
	"sha256:" \
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define HEAD                                                             \
	"{\"node\":\"n-1\",\"name\":\"n1\",\"epoch\":1,\"revision\":42," \
	"\"registry\":\"hub\",\"apps\":["
#define WEB "\"name\":\"web\",\"image\":\"hub/web:1\",\"digest\":\"" DIGEST "\""

#define VOLUME                                                 \
	",\"mounts\":[{\"type\":\"volume\",\"target\":\"/v\"," \
	"\"source\":\"db\"}]"

#define NAMED(name) \
	"\"name\":\"" name "\",\"image\":\"a\",\"digest\":\"" DIGEST "\""
#define DB NAMED("db")
#define X  NAMED("x")
#define POD(app) \
	",\"pod\":{\"app\":\"" app "\",\"shares\":[\"network\",\"ipc\"]}"

static char error[DESIRED_ERROR_SIZE];

static bool same(const char *a, const char *b);

static void whole_test(void)
{
	static const char text[] = HEAD
		"{" WEB ",\"command\":[\"httpd\",\"-f\"],"
		"\"environment\":{\"A\":\"1\",\"B\":\"\"},"
		"\"ports\":[{\"host\":8080,\"container\":80}],"
		"\"restart\":\"unless-stopped\",\"memory\":67108864,"
		"\"cpus\":0.5,\"pids\":100,\"read_only\":true,"
		"\"reactive\":{\"checkpoint\":\"listen\"},"
		"\"origin\":{\"application\":\"shop\",\"by\":\"alice\","
		"\"at\":\"2026-11-23T06:00:00Z\"}}]}";
	struct desired d;
	const struct desired_app *a;

	if (!ok(desired_parse(span_of(text), &d, error) == 0,
		"a whole document is read: %s", error))
		return;
	a = d.app;
	ok(!strcmp(d.node, "n-1") && d.epoch == 1 && d.revision == 42 &&
		   d.n_apps == 1 && !strcmp(a->image, "hub/web:1"),
	   "its head");
	ok(a->command.n == 2 && !strcmp(a->command.item[1], "-f") &&
		   !a->command.item[2] && a->environment.n == 2 &&
		   !strcmp(a->environment.item[0], "A=1") &&
		   !strcmp(a->environment.item[1], "B=") &&
		   !a->environment.item[2],
	   "command and environment");
	ok(a->n_ports == 1 && a->port[0].host == 8080 &&
		   a->port[0].container == 80 &&
		   a->restart == DESIRED_RESTART_UNLESS_STOPPED &&
		   a->memory_bytes == 64 << 20 && a->cpus_milli == 500 &&
		   a->pids == 100 && a->read_only && a->reactive.checkpoints &&
		   !strcmp(a->application, "shop") && !strcmp(a->by, "alice"),
	   "ports, restart, limits, origin");
	desired_free(&d);
}

static void parts_test(void)
{
	static const char text[] =
		"[{" WEB ",\"entrypoint\":[\"/run\"],\"user\":\"www:adm\","
		"\"group_add\":[\"20\"],\"working_dir\":\"/srv\","
		"\"hostname\":\"box\",\"network\":\"none\","
		"\"extra_hosts\":{\"a\":\"10.0.0.1\"},\"mounts\":["
		"{\"type\":\"volume\",\"target\":\"/v\",\"source\":\"db\","
		"\"size\":1048576},{\"type\":\"file\",\"target\":\"/f\","
		"\"content\":\"\",\"mode\":292}],\"depends_on\":["
		"{\"app\":\"db\",\"condition\":\"healthy\"}],\"health\":{"
		"\"test\":[\"probe\"],\"retries\":5},\"restart_max\":3,"
		"\"stop_signal\":\"SIGQUIT\",\"stop_grace_ms\":1500,"
		"\"service\":\"web_1\",\"aliases\":[\"www\",\"a.b\"],"
		"\"domainname\":\"example.com\",\"stdin_open\":true,"
		"\"memory\":4096,\"memory_swap\":-1,\"memory_reserved\":1,"
		"\"cpu_shares\":2,\"cpuset\":\"0-1,3\",\"oom_score\":1000,"
		"\"shm_size\":4096,\"ulimits\":[{\"type\":"
		"\"RLIMIT_NOFILE\",\"soft\":1,\"hard\":2}],"
		"\"grants\":[\"capability:SYS_NICE\"],"
		"\"cap_drop\":[\"NET_RAW\"],\"labels\":{\"a\":\"b\"},"
		"\"sysctls\":{\"net.a\":\"1\"},"
		"\"reactive\":{\"lifetime_ms\":1000,\"wake\":\"byte\"}}]";
	struct desired d;
	const struct desired_app *a;
	char names[DESIRED_NAMES_SIZE];

	if (!ok(desired_parse_apps(span_of(text), &d, error) == 0,
		"all keys are read: %s", error))
		return;
	a = d.app;
	ok(a->entrypoint.n == 1 && !strcmp(a->user, "www:adm") &&
		   !strcmp(a->group_add.item[0], "20") &&
		   !strcmp(a->working_dir, "/srv") && a->no_network &&
		   !strcmp(a->hostname, "box") &&
		   !strcmp(a->extra_hosts.item[0], "a=10.0.0.1"),
	   "who and where it is");
	ok(a->n_mounts == 2 && a->mount[0].type == DESIRED_MOUNT_VOLUME &&
		   !strcmp(a->mount[0].source, "db") &&
		   a->mount[0].size_bytes == 1 << 20 &&
		   a->mount[1].mode == 0444 && !a->mount[1].content[0],
	   "mounts");
	ok(a->n_depends == 1 && !strcmp(a->depends_on[0].app, "db") &&
		   a->depends_on[0].condition == DESIRED_HEALTHY &&
		   a->health.test.n == 1 && a->health.retries == 5 &&
		   a->health.interval == 0 && a->restart_max == 3,
	   "order and health");
	ok(!strcmp(a->stop_signal, "SIGQUIT") && a->stop_grace_ms == 1500 &&
		   a->shm_bytes == 4096 && a->n_ulimits == 1 &&
		   a->ulimit[0].hard == 2 && a->cap_drop == 1 << 13 &&
		   !strcmp(a->labels.item[0], "a=b") &&
		   !strcmp(a->sysctls.item[0], "net.a=1"),
	   "limits, rights, labels");
	desired_names(a, names);
	ok(!strcmp(names, "web_1 www a.b") &&
		   !strcmp(a->domainname, "example.com") && a->stdin_open &&
		   a->memory_swap_bytes == UINT64_MAX &&
		   a->memory_reserved_bytes == 1 && a->cpu_shares == 2 &&
		   !strcmp(a->cpuset, "0-1,3") && a->oom_score == 1000,
	   "what it is called, and what it has against others");
	ok(a->reactive.is_on && a->reactive.wakes_at_byte &&
		   a->reactive.lifetime_ms == 1000 &&
		   a->reactive.freeze_after_ms == 30000,
	   "reactive, 30 s unless said");
	desired_free(&d);
}

static void address_test(void)
{
	static const struct {
		const char *text;
		uint8_t address[16];
	} rows[] = {
		{ "127.0.0.1",
		  { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1 } },
		{ "::1", { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 } },
		{ "fd00::2",
		  { 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2 } },
		{ "0.0.0.0", { 0 } },
		{ "::", { 0 } },
	};
	static const char *const none[] = { "",	     "1",	  "1.2.3",
					    "[::1]", "fe80::1%a", "1.2.3.4:5" };
	uint8_t address[16];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		ok(desired_address(span_of(rows[i].text), address) == 0 &&
			   !memcmp(address, rows[i].address, 16),
		   "address %s", rows[i].text);
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		ok(desired_address(span_of(none[i]), address) == -EINVAL,
		   "no address: \"%s\"", none[i]);
	ok(!same(",\"ports\":[{\"host\":1,\"container\":2}]",
		 ",\"ports\":[{\"host\":1,\"container\":2,\"address\":"
		 "\"127.0.0.1\"}]") &&
		   same(",\"ports\":[{\"host\":1,\"container\":2}]",
			",\"ports\":[{\"host\":1,\"container\":2,"
			"\"address\":\"0.0.0.0\"}]"),
	   "the address counts");
	ok(!same(",\"ports\":[{\"host\":1,\"container\":2}]",
		 ",\"ports\":[{\"host\":1,\"container\":2,\"protocol\":"
		 "\"udp\"}]") &&
		   same(",\"ports\":[{\"host\":1,\"container\":2}]",
			",\"ports\":[{\"host\":1,\"container\":2,"
			"\"protocol\":\"tcp\"}]"),
	   "the protocol counts");
	ok(!same(",\"ports\":[{\"host\":1,\"container\":2}]",
		 ",\"ports\":[{\"host\":1,\"container\":2,"
		 "\"proxy_protocol\":2}]"),
	   "the PROXY protocol counts");
	ok(!same(",\"dns_search\":[\"a\"]", ",\"dns_opt\":[\"a\"]") &&
		   !same("", ",\"dns_search\":[\"a\"]"),
	   "what the resolver is told counts");
	ok(!same(",\"mounts\":[{\"type\":\"volume\",\"target\":\"/a\","
		 "\"source\":\"a\"}]",
		 ",\"mounts\":[{\"type\":\"volume\",\"target\":\"/a\","
		 "\"source\":\"a\",\"external\":true}]"),
	   "whose volume it is counts");
	ok(!same("", ",\"dns\":[\"192.0.2.1\"]") &&
		   !same(",\"dns\":[\"192.0.2.1\"]",
			 ",\"dns\":[\"192.0.2.2\"]"),
	   "whom it asks for names counts");
	ok(!same("", ",\"command\":[]") && !same("", ",\"entrypoint\":[]") &&
		   !same(",\"command\":[]", ",\"entrypoint\":[]"),
	   "a command that is empty counts");
}

static void pod_test(void)
{
	static const char text[] = HEAD
		"{" WEB POD("db") ",\"init\":true,\"health\":{\"off\":"
				  "true}},{" DB ",\"network\":\"none\"}]}";
	struct desired d;

	if (!ok(desired_parse(span_of(text), &d, error) == 0,
		"a pod is read, whoever comes first: %s", error))
		return;
	ok(!strcmp(d.app[0].pod.on.app, "db") &&
		   d.app[0].pod.shares ==
			   (DESIRED_POD_NETWORK | DESIRED_POD_IPC) &&
		   !d.app[1].pod.on.app,
	   "whose namespaces, and which");
	ok(d.app[0].init && d.app[0].health.off && !d.app[1].init,
	   "who reaps, health that is off");
	desired_free(&d);
}

static const struct {
	const char *name, *text, *error;
} refused[] = {
	{ "no JSON", "{", "not JSON" },
	{ "an array", "[]", "want an object" },
	{ "an unknown key", HEAD "{" WEB ",\"x\":1}]}",
	  "apps[0].x: unknown key" },
	{ "a rule with a bad prefix",
	  HEAD "{" WEB ",\"policy\":{\"rules\":[\"allow any\","
	       "\"allow 10.0.0.0/33\"]}}]}",
	  "apps[0].policy.rules: rule 2: \"10.0.0.0/33\": want a "
	  "prefix of 0 to 32 bits" },
	{ "a rule of port 70000",
	  HEAD "{" WEB ",\"policy\":{\"rules\":["
	       "\"allow any tcp 70000\"]}}]}",
	  "apps[0].policy.rules: rule 1: \"70000\": want a port" },
	{ "a name with a NUL",
	  HEAD "{" WEB ",\"policy\":{\"rules\":["
	       "\"allow a\\u0000b\"]}}]}",
	  "apps[0].policy.rules[0]" },
	{ "too slow a network", HEAD "{" WEB ",\"policy\":{\"up\":1}}]}",
	  "apps[0].policy.up: want at least 65536 a second" },
	{ "a policy for no network",
	  HEAD "{" WEB ",\"network\":\"none\",\"policy\":{}}]}",
	  "apps[0]: want a network of its own with a policy" },
	{ "a policy for the node's network",
	  HEAD "{" WEB ",\"policy\":{},\"grants\":[\"network:host\"]}]}",
	  "apps[0]: want a network of its own with a policy" },
	{ "ports of the node's network",
	  HEAD "{" WEB ",\"grants\":[\"network:host\"],\"ports\":[{\"host\":1,"
	       "\"container\":1}]}]}",
	  "apps[0]: want no ports, network nor reactive with the node's "
	  "network" },
	{ "who shares the node's network and is reactive",
	  HEAD "{" WEB ",\"grants\":[\"network:host\"],\"reactive\":{}}]}",
	  "apps[0]: want no ports, network nor reactive with the node's "
	  "network" },
	{ "a pod with who has the node's processes",
	  HEAD "{" WEB ",\"pod\":{\"app\":\"db\",\"shares\":[\"ipc\"]}},"
	       "{\"name\":\"db\",\"image\":\"db\",\"digest\":\"sha256:"
	       "1589b6a587fcf5c5f29c15ae4b7d76570c8b05115569167b8a02b9917ac6"
	       "1ea9\",\"grants\":[\"pid:host\"]}]}",
	  "apps: web shares namespaces with db, which has some of the node: "
	  "want a grant of its own" },
	{ "no digest", HEAD "{\"name\":\"a\",\"image\":\"b\"}]}",
	  "apps[0]: want the key \"digest\" too" },
	{ "a wrong digest",
	  HEAD "{\"name\":\"a\",\"image\":\"b\","
	       "\"digest\":\"md5:1\"}]}",
	  "apps[0].digest: \"md5:1\"" },
	{ "a name with a slash", HEAD "{\"name\":\"a/b\"}]}", "apps[0].name" },
	{ "two of a name", HEAD "{" WEB "},{" WEB "}]}",
	  "apps[1].name: \"web\": two apps of that name" },
	{ "port 0",
	  HEAD "{" WEB ",\"ports\":[{\"host\":0,"
	       "\"container\":80}]}]}",
	  "apps[0].ports[0].host: 0" },
	{ "port 65536",
	  HEAD "{" WEB ",\"ports\":[{\"host\":65536,"
	       "\"container\":80}]}]}",
	  "apps[0].ports[0].host" },
	{ "a port given twice",
	  HEAD "{" WEB ",\"ports\":["
	       "{\"host\":1,\"container\":80},{\"host\":1,\"container\":81}]"
	       "}]}",
	  "apps[0].ports[1]: host port 1 given twice" },
	{ "a UDP port given twice",
	  HEAD "{" WEB ",\"ports\":["
	       "{\"host\":1,\"container\":80},"
	       "{\"host\":1,\"container\":80,\"protocol\":\"udp\"},"
	       "{\"host\":1,\"container\":80,\"protocol\":\"udp\"}"
	       "]}]}",
	  "apps[0].ports[2]: host port 1 given twice" },
	{ "a protocol that is none",
	  HEAD "{" WEB ",\"ports\":[{\"host\":1,\"container\":80,"
	       "\"protocol\":\"sctp\"}]}]}",
	  "apps[0].ports[0].protocol: \"sctp\": want tcp or udp" },
	{ "a name server that no container reaches",
	  HEAD "{" WEB ",\"dns\":[\"169.254.169.254\"]}]}",
	  "apps[0].dns: want addresses of name servers" },
	{ "a name server that its policy could not say",
	  HEAD "{" WEB ",\"dns\":[\"::ffff:192.0.2.1\"]}]}",
	  "apps[0].dns: want addresses of name servers" },
	{ "a name server that ends its line",
	  HEAD "{" WEB ",\"dns\":[\"192.0.2.1\\ndns 192.0.2.2\"]}]}",
	  "apps[0].dns: want addresses of name servers" },
	{ "a volume of another application that is not external",
	  HEAD "{" WEB ",\"mounts\":[{\"type\":\"volume\",\"target\":\"/a\","
	       "\"source\":\"shop.a\"}]}]}",
	  "apps[0].mounts[0]: want external for a volume of another "
	  "application" },
	{ "an external volume outside the volumes",
	  HEAD "{" WEB ",\"mounts\":[{\"type\":\"volume\",\"target\":\"/a\","
	       "\"external\":true,\"source\":\"a..b\"}]}]}",
	  "apps[0].mounts[0].source: \"a..b\": want 1 to 63 of a-z, 0-9 and "
	  "-" },
	{ "an external volume with a size",
	  HEAD "{" WEB ",\"mounts\":[{\"type\":\"volume\",\"target\":\"/a\","
	       "\"external\":true,\"source\":\"a\",\"size\":1048576}]}]}",
	  "apps[0].mounts[0]: want external of a volume, without size" },
	{ "a search domain that ends its line",
	  HEAD "{" WEB ",\"dns_search\":[\"a\\nb\"]}]}",
	  "apps[0].dns_search: want words of resolv.conf" },
	{ "a version of the PROXY protocol",
	  HEAD "{" WEB ",\"ports\":[{\"host\":1,\"container\":80,"
	       "\"proxy_protocol\":1}]}]}",
	  "apps[0].ports[0].proxy_protocol: 1: want 2, or no such key" },
	{ "the PROXY protocol over UDP",
	  HEAD "{" WEB ",\"ports\":[{\"host\":1,\"container\":80,"
	       "\"protocol\":\"udp\",\"proxy_protocol\":2}]}]}",
	  "apps[0].ports[0]: want tcp with proxy_protocol" },
	{ "an address that is none",
	  HEAD "{" WEB ",\"ports\":[{\"host\":1,\"container\":80,"
	       "\"address\":\"lan\"}]}]}",
	  "apps[0].ports[0].address: \"lan\": want an address" },
	{ "a NUL in a command",
	  HEAD "{" WEB ",\"command\":[\"\\u0000\"]}"
	       "]}",
	  "apps[0].command[0]" },
	{ "negative memory", HEAD "{" WEB ",\"memory\":-1}]}",
	  "apps[0].memory: -1" },
	{ "a name in capitals", HEAD "{" WEB ",\"service\":\"Web\"}]}",
	  "apps[0].service" },
	{ "an alias with a space", HEAD "{" WEB ",\"aliases\":[\"a b\"]}]}",
	  "apps[0].aliases" },
	{ "an alias that ends with a dot",
	  HEAD "{" WEB ",\"aliases\":[\"a.\"]}]}", "apps[0].aliases" },
	{ "too many aliases",
	  HEAD "{" WEB ",\"aliases\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	       "aaaaa\",\"bbbbbb\"]}]}",
	  "apps[0]: aliases: want at most 48 bytes of them" },
	{ "less swap than memory",
	  HEAD "{" WEB ",\"memory\":2,\"memory_swap\":1}]}",
	  "want memory_swap no less than memory" },
	{ "swap without a limit", HEAD "{" WEB ",\"memory_swap\":-1}]}",
	  "want memory_swap no less than memory" },
	{ "processors that are none", HEAD "{" WEB ",\"cpuset\":\"0,\"}]}",
	  "apps[0].cpuset" },
	{ "one share", HEAD "{" WEB ",\"cpu_shares\":1}]}",
	  "apps[0].cpu_shares" },
	{ "a score below 0", HEAD "{" WEB ",\"oom_score\":-1}]}",
	  "apps[0].oom_score" },
	{ "exponents in cpus", HEAD "{" WEB ",\"cpus\":1e3}]}",
	  "apps[0].cpus" },
	{ "a restart unknown", HEAD "{" WEB ",\"restart\":\"maybe\"}]}",
	  "apps[0].restart: \"maybe\": want always" },
	{ "a number as environment",
	  HEAD "{" WEB ",\"environment\":{\"SECRET\":1}}]}",
	  "apps[0].environment.SECRET: want a string" },
	{ "\"=\" in a name",
	  HEAD "{" WEB ",\"environment\":{\"A=B\":\"s3cret\"}}]}",
	  "want a name without" },
	{ "a volume without a name",
	  HEAD "{" WEB ",\"mounts\":[{\"type\":\"volume\","
	       "\"target\":\"/v\"}]}]}",
	  "apps[0].mounts[0]: want the key \"source\"" },
	{ "a volume that is a path",
	  HEAD "{" WEB ",\"mounts\":[{\"type\":\"volume\","
	       "\"target\":\"/v\",\"source\":\"../etc\"}]}]}",
	  "apps[0].mounts[0].source: \"../etc\"" },
	{ "a target that climbs",
	  HEAD "{" WEB ",\"mounts\":[{\"type\":\"tmpfs\","
	       "\"target\":\"/a/../b\"}]}]}",
	  "apps[0].mounts[0].target: \"/a/../b\"" },
	{ "content that is no text",
	  HEAD "{" WEB ",\"mounts\":[{\"type\":\"file\","
	       "\"target\":\"/f\",\"content\":1}]}]}",
	  "apps[0].mounts[0].content: want a string" },
	{ "a group that is none",
	  HEAD "{" WEB ",\"group_add\":[\"1,\\\"x\\\":1\"]}]}",
	  "apps[0].group_add: want numbers" },
	{ "a capability beyond the default",
	  HEAD "{" WEB ",\"cap_drop\":[\"SYS_ADMIN\"]}]}",
	  "apps[0].cap_drop[0]: \"SYS_ADMIN\"" },
	{ "a grant of something else",
	  HEAD "{" WEB ",\"grants\":[\"everything\"]}]}",
	  "apps[0].grants: want capability:NAME" },
	{ "an interval of 0",
	  HEAD "{" WEB ",\"health\":{\"test\":[\"a\"],"
	       "\"interval_ms\":0}}]}",
	  "apps[0].health.interval_ms: want more than 0" },
	{ "health that is off and has a test",
	  HEAD "{" WEB ",\"health\":{\"off\":true,\"test\":[\"a\"]}}]}",
	  "apps[0].health: want the key \"test\" or \"off\"" },
	{ "a namespace that is not shared",
	  HEAD "{" WEB ",\"pod\":{\"app\":\"db\",\"shares\":"
	       "[\"mount\"]}}]}",
	  "apps[0].pod.shares[0]: \"mount\": want network, pid" },
	{ "a pod that shares nothing",
	  HEAD "{" WEB ",\"pod\":{\"app\":\"db\",\"shares\":[]}}]}",
	  "apps[0].pod.shares: want network" },
	{ "a pod of nobody", HEAD "{" WEB POD("db") "}]}",
	  "web shares namespaces with db: want another app of its "
	  "application" },
	{ "a pod of itself", HEAD "{" WEB POD("web") "}]}",
	  "web shares namespaces with web: want another app" },
	{ "a pod with an app of another application",
	  HEAD "{" WEB POD("db") "},{" DB ",\"origin\":{"
				 "\"application\":\"shop\"}}]}",
	  "web shares namespaces with db: want another app of its "
	  "application" },
	{ "a pod in a pod",
	  HEAD "{" WEB POD("db") "},{" DB POD("x") "},{" X "}]}",
	  "web shares namespaces with db, which has them of x" },
	{ "a pod with ports of its own",
	  HEAD "{" WEB POD("db") ",\"ports\":[{\"host\":1,"
				 "\"container\":80}]},{" DB "}]}",
	  "web has the network of db: its ports" },
	{ "a pod with name servers of its own",
	  HEAD "{" WEB POD("db") ",\"dns\":[\"192.0.2.1\"]},{" DB "}]}",
	  "web has the network of db: its ports, policy and dns" },
	{ "a pod that freezes",
	  HEAD "{" WEB POD("db") ",\"reactive\":{}},{" DB "}]}",
	  "web has the network of db: neither can be reactive" },
	{ "a pod with one that freezes",
	  HEAD "{" WEB POD("db") "},{" DB ",\"reactive\":{}}]}",
	  "web has the network of db: neither can be reactive" },
	{ "a pod with no network",
	  HEAD "{" WEB POD("db") ",\"network\":\"none\"},{" DB "}]}",
	  "web has the network of db: its ports" },
	{ "a condition unknown",
	  HEAD "{" WEB ",\"depends_on\":[{\"app\":\"a\","
	       "\"condition\":\"maybe\"}]}]}",
	  "apps[0].depends_on[0].condition: \"maybe\"" },
	{ "a freezing that would never end",
	  HEAD "{" WEB ",\"reactive\":{\"freeze_after_ms\":99}}]}",
	  "apps[0].reactive.freeze_after_ms: 99: want 100 ms" },
	{ "image only, with nobody to start it",
	  HEAD "{" WEB ",\"reactive\":{\"image_after_ms\":1000}}]}",
	  "apps[0]: want ports with image_after_ms" },
	{ "asleep, with nobody to wake it",
	  HEAD "{" WEB ",\"reactive\":{\"sleep_after_ms\":1000}}]}",
	  "apps[0]: want ports with sleep_after_ms" },
	{ "several instances without a reason",
	  HEAD "{" WEB ",\"reactive\":{\"max\":2}}]}",
	  "apps[0]: want max with concurrency" },
	{ "several instances of a volume",
	  HEAD "{" WEB ",\"ports\":[{\"host\":80,\"container\":80}],"
	       "\"mounts\":[{\"type\":\"volume\",\"target\":\"/d\","
	       "\"source\":\"d\"}],"
	       "\"reactive\":{\"max\":2,\"concurrency\":1}}]}",
	  "apps[0]: want ports with max, no volume that it may write" },
	{ "too many instances", HEAD "{" WEB ",\"reactive\":{\"max\":11}}]}",
	  "apps[0].reactive.max: 11: want 1 to 10" },
	{ "a concurrency of nobody",
	  HEAD "{" WEB ",\"reactive\":{\"concurrency\":0}}]}",
	  "apps[0].reactive.concurrency: 0: want 1 to 10000" },
	{ "a lifetime that nothing could live",
	  HEAD "{" WEB ",\"reactive\":{\"lifetime_ms\":999}}]}",
	  "apps[0].reactive.lifetime_ms: 999: want 1000 ms" },
	{ "a checkpoint of what writes a volume",
	  HEAD "{" WEB ",\"mounts\":[{\"type\":\"volume\",\"target\":"
	       "\"/d\",\"source\":\"d\"}],"
	       "\"reactive\":{\"checkpoint\":\"listen\"}}]}",
	  "apps[0]: want no volume that it may write with checkpoint" },
	{ "a checkpoint with an init",
	  HEAD "{" WEB ",\"init\":true,"
	       "\"reactive\":{\"checkpoint\":\"listen\"}}]}",
	  "apps[0]: want no volume that it may write with checkpoint" },
	{ "a checkpoint at another moment",
	  HEAD "{" WEB ",\"reactive\":{\"checkpoint\":\"start\"}}]}",
	  "apps[0].reactive.checkpoint: \"start\"" },
	{ "a wake unknown", HEAD "{" WEB ",\"reactive\":{\"wake\":\"no\"}}]}",
	  "apps[0].reactive.wake: \"no\"" },
	{ "no revision",
	  "{\"node\":\"n\",\"name\":\"n\",\"epoch\":1,"
	  "\"registry\":\"hub\",\"apps\":[]}",
	  "want the key \"revision\" too" },
};

static void refused_test(void)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		struct desired d;
		int err = desired_parse(span_of(refused[i].text), &d, error);

		ok(err == -EINVAL && strstr(error, refused[i].error) &&
			   !strstr(error, "s3cret"),
		   "%s is refused: %s", refused[i].name, error);
	}
}

/* Whether two apps are the same, by their content. */
static bool same(const char *a, const char *b)
{
	char text[1024];
	struct desired one, two;
	bool equal;

	snprintf(text, sizeof(text), "[{" WEB "%s}]", a);
	if (desired_parse_apps(span_of(text), &one, error) < 0)
		return false;
	snprintf(text, sizeof(text), "[{" WEB "%s}]", b);
	if (desired_parse_apps(span_of(text), &two, error) < 0) {
		desired_free(&one);
		return false;
	}
	equal = digest_equal(&one.app->content, &two.app->content);
	desired_free(&one);
	desired_free(&two);
	return equal;
}

static void content_test(void)
{
	ok(same("", ",\"restart\":\"no\",\"memory\":0"),
	   "what is left out is the same as its default");
	ok(same(",\"origin\":{\"application\":\"a\"}",
		",\"origin\":{\"application\":\"b\"}"),
	   "the origin does not count");
	ok(same(",\"reactive\":{}", ""),
	   "nor how it follows access: nothing restarts for that");
	ok(same(",\"cpus\":0.5", ",\"cpus\":0.500") &&
		   !same(",\"cpus\":0.5", ",\"cpus\":0.05"),
	   "cpus by value");
	ok(!same(",\"command\":[\"a\",\"b\"]", ",\"command\":[\"ab\"]"),
	   "arguments do not run together");
	ok(!same(",\"user\":\"a\"", "") &&
		   !same(",\"health\":{\"test\":[\"a\"]}", "") &&
		   !same(",\"depends_on\":[{\"app\":\"a\"}]", "") &&
		   !same(",\"labels\":{\"a\":\"b\"}", "") &&
		   !same(",\"init\":true", "") &&
		   !same(",\"stdin_open\":true", "") &&
		   !same(",\"aliases\":[\"a\"]", "") &&
		   !same(",\"cpu_shares\":2", ",\"oom_score\":2") &&
		   !same(",\"cpuset\":\"1\"", ",\"domainname\":\"1\"") &&
		   !same(",\"health\":{\"off\":true}", "") &&
		   !same(",\"mounts\":[{\"type\":\"tmpfs\",\"target\":"
			 "\"/a\"}]",
			 ",\"mounts\":[{\"type\":\"tmpfs\",\"target\":"
			 "\"/b\"}]"),
	   "every key counts");
	ok(!same(VOLUME ",\"origin\":{\"application\":\"a\"}",
		 VOLUME ",\"origin\":{\"application\":\"b\"}"),
	   "with a volume the application counts, whose it is");
	ok(!same(",\"environment\":{\"A\":\"1\"}",
		 ",\"environment\":{\"A\":\"2\"}"),
	   "the environment counts");
}

static void order_test(void)
{
	ok(desired_is_newer(2, 1, 1, 9) && desired_is_newer(1, 2, 1, 1) &&
		   !desired_is_newer(1, 1, 1, 1) &&
		   !desired_is_newer(1, 9, 2, 1),
	   "the epoch counts first");
}

int main(void)
{
	whole_test();
	parts_test();
	pod_test();
	address_test();
	refused_test();
	content_test();
	order_test();
	return tap_done();
}
