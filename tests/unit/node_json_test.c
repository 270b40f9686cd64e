/* node.json: what is taken, and the line that each kind of mistake gets. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/node_json.h"
#include "tap.h"

static struct node_json node;
static char error[NODE_ERROR_SIZE];

static int parse(const char *text, size_t size)
{
	size_t scratch_size = NODE_SCRATCH_SIZE(size);
	void *scratch = malloc(scratch_size);
	/* An exact copy, so that the sanitizer sees a read past the end. */
	char *exact = malloc(size ? size : 1);
	int result;

	memcpy(exact, text, size);
	result = node_json_parse(exact, size, scratch, scratch_size, &node,
				 error);
	free(scratch);
	free(exact);
	return result;
}

#define APP(rest) "{\"apps\": [{\"name\": \"a\", \"image\": \"i\"" rest "}]}"
#define NIC(rest) "{\"interfaces\": [{\"match\": \"eth0\"" rest "}]}"
#define REGISTRY(host, rest) \
	"{\"registries\": [{\"host\": \"" host "\"" rest "}]}"
#define HOST "want a registry such as registry.example or 10.0.2.2:5000"
#define TEN  "aaaaaaaaaa"

static const struct mistake {
	const char *name, *text, *line;
} mistakes[] = {
	{ "an empty file", "", "node.json:1: not JSON: input length is 0" },
	{ "only white space", " \n \n",
	  "node.json:1: not JSON: input data is empty" },
	{ "cut off", "{\n\"name\": \"a\"",
	  "node.json:2: not JSON: unexpected end of data" },
	{ "comma at the end", "{\n\"name\": \"a\",\n}",
	  "node.json:2: not JSON: trailing comma is not allowed" },
	{ "two texts", "{}\n{}",
	  "node.json:2: not JSON: unexpected content after document" },
	{ "not UTF-8", "{\"name\": \"\xff\"}",
	  "node.json:1: not JSON: invalid UTF-8 encoding in string" },
	{ "an array", "[]", "node.json:1: array: want an object {...}" },
	{ "a number", "12", "node.json:1: 12: want an object {...}" },
	{ "a string", "\"x\"", "node.json:1: \"x\": want an object {...}" },
	{ "unknown key", "{\n\"nmae\": \"a\"}",
	  "node.json:2: nmae: unknown key: want one of name, console, hub, "
	  "registries, interfaces, apps" },
	{ "key with control bytes", "{\"a\\u001b[1m\": 1}",
	  "node.json:1: a?[1m: unknown key: want one of name, console, hub, "
	  "registries, interfaces, apps" },
	{ "key twice", "{\"name\": \"a\",\n\n\"name\": \"a\"}",
	  "node.json:3: name: given twice: want it once" },
	{ "key twice by escapes", "{\"name\": \"a\", \"n\\u0061me\": \"a\"}",
	  "node.json:1: name: given twice: want it once" },
	{ "name of wrong type", "{\"name\":\n7}",
	  "node.json:2: name: 7: want 1 to 63 of a-z, 0-9 and -" },
	{ "name null", "{\"name\":\nnull}",
	  "node.json:1: name: null: want 1 to 63 of a-z, 0-9 and -" },
	{ "name empty", "{\"name\": \"\"}",
	  "node.json:1: name: \"\": want 1 to 63 of a-z, 0-9 and -" },
	{ "name of wrong letters", "{\"name\": \"Node_1\"}",
	  "node.json:1: name: \"Node_1\": want 1 to 63 of a-z, 0-9 and -" },
	{ "name too long", "{\"name\": \"" TEN TEN TEN TEN TEN TEN "aaaa\"}",
	  "node.json:1: name: \"" TEN TEN TEN TEN "...\": "
	  "want 1 to 63 of a-z, 0-9 and -" },
	{ "name with NUL", "{\"name\": \"a\\u0000b\"}",
	  "node.json:1: name: holds \\u0000: want text without it" },
	{ "line after an escaped line end",
	  "{\"console\": {}, \"name\": \"\\n\",\n\"x\": 1}",
	  "node.json:1: name: \"?\": want 1 to 63 of a-z, 0-9 and -" },

	{ "console not an object", "{\"console\": true}",
	  "node.json:1: console: true: want an object {...}" },
	{ "console unknown key", "{\"console\": {\"user\": \"a\"}}",
	  "node.json:1: console.user: unknown key: want one of password" },
	{ "password in clear is not shown",
	  "{\"console\": {\n\"password\": \"hunter2\"}}",
	  "node.json:2: console.password: not a password hash: want a crypt "
	  "hash such as $6$..., as `mkpasswd -m sha512crypt` prints" },
	{ "password empty", "{\"console\": {\"password\": \"\"}}",
	  "node.json:1: console.password: not a password hash: want a crypt "
	  "hash such as $6$..., as `mkpasswd -m sha512crypt` prints" },
	{ "password a number is not shown",
	  "{\"console\": {\"password\": 1234}}",
	  "node.json:1: console.password: not a password hash: want a crypt "
	  "hash such as $6$..., as `mkpasswd -m sha512crypt` prints" },

	{ "hub a token", "{\"hub\": \"zooid1.secret\"}",
	  "node.json:1: hub: \"zooid1.secret\": want an object {...}" },
	{ "hub heartbeat too quick", "{\"hub\": {\n\"heartbeat\": 29}}",
	  "node.json:2: hub.heartbeat: 29: want seconds, 30 to 300" },
	{ "hub without token", "{\n\"hub\": {}}",
	  "node.json:2: hub: want the key \"token\" too" },
	{ "token that is none is not shown",
	  "{\"hub\": {\n\"token\": \"zooid1.c2VjcmV0\"}}",
	  "node.json:2: hub.token: not an enrolment token: want one such as "
	  "zooid1.eyJ..., as `zhub token` prints" },

	{ "registry without a host", "{\"registries\": [{\"http\": true}]}",
	  "node.json:1: registries[0]: want the key \"host\" too" },
	{ "registry with a path", REGISTRY("a.example/b", ""),
	  "node.json:1: registries[0].host: \"a.example/b\": " HOST },
	{ "registry with a scheme", REGISTRY("http://a.example", ""),
	  "node.json:1: registries[0].host: \"http://a.example\": " HOST },
	{ "registry with port 0", REGISTRY("a.example:0", ""),
	  "node.json:1: registries[0].host: \"a.example:0\": " HOST },
	{ "registry with an open bracket", REGISTRY("[fe80::1", ""),
	  "node.json:1: registries[0].host: \"[fe80::1\": " HOST },
	{ "registry with IPv4 in brackets", REGISTRY("[10.0.0.1]:80", ""),
	  "node.json:1: registries[0].host: \"[10.0.0.1]:80\": " HOST },
	{ "registry empty", REGISTRY("", ""),
	  "node.json:1: registries[0].host: \"\": " HOST },
	{ "registry only a port", REGISTRY(":80", ""),
	  "node.json:1: registries[0].host: \":80\": " HOST },
	{ "registry: http a string", REGISTRY("a", ", \"http\": \"yes\""),
	  "node.json:1: registries[0].http: \"yes\": want true or false" },
	{ "registry: ca outside the partition",
	  REGISTRY("a", ", \"ca\": \"../ca.pem\""),
	  "node.json:1: registries[0].ca: \"../ca.pem\": want a relative path "
	  "such as registry.pem" },
	{ "registry: http and ca",
	  REGISTRY("a", ", \"http\": true, \"ca\": \"ca.pem\""),
	  "node.json:1: registries[0]: both http and ca: want one of them" },
	{ "registry: a user without password",
	  REGISTRY("a", ", \"user\": \"me\""),
	  "node.json:1: registries[0]: want user and password, or neither" },
	{ "registry: a user with a colon is not shown",
	  REGISTRY("a", ", \"user\": \"me:secret\", \"password\": \"x\""),
	  "node.json:1: registries[0].user: want a line of text, a user "
	  "without \":\"" },
	{ "registry: a password of two lines is not shown",
	  REGISTRY("a", ", \"user\": \"me\", \"password\": \"se\\ncret\""),
	  "node.json:1: registries[0].password: want a line of text, a user "
	  "without \":\"" },
	{ "registry: a mirror with a path",
	  REGISTRY("a", ", \"mirrors\": [\"b.example/c\"]"),
	  "node.json:1: registries[0].mirrors[0]: \"b.example/c\": " HOST },
	{ "registry: four mirrors",
	  REGISTRY("a", ", \"mirrors\": [\"b\", \"c\", \"d\", \"e\"]"),
	  "node.json:1: registries[0].mirrors: 4 elements: want at most 3" },
	{ "registry: a proxy without scheme is not shown",
	  REGISTRY("a", ", \"proxy\": \"me:secret@b:3128\""),
	  "node.json:1: registries[0].proxy: want http://HOST:PORT" },
	{ "registry: http of all", REGISTRY("*", ", \"http\": true"),
	  "node.json:1: registries[0]: of \"*\" only ca and proxy can be said: "
	  "name the host" },
	{ "registry: two defaults",
	  "{\"registries\": [{\"host\": \"a\", \"default\": true},\n"
	  "{\"host\": \"b\", \"default\": true}]}",
	  "node.json:2: registries[1].default: a registry before it is the "
	  "default: want one of them" },
	{ "registry twice",
	  "{\"registries\": [{\"host\": \"a\"},\n{\"host\": \"a\"}]}",
	  "node.json:2: registries[1].host: \"a\": is the host of a registry "
	  "before it: want another" },

	{ "interfaces an object", "{\"interfaces\": {}}",
	  "node.json:1: interfaces: object: want an array [...]" },
	{ "interface a string", "{\"interfaces\": [\n\"eth0\"]}",
	  "node.json:2: interfaces[0]: \"eth0\": want an object {...}" },
	{ "too many interfaces", "{\"interfaces\": [1,2,3,4,5,6,7,8,9]}",
	  "node.json:1: interfaces: 9 elements: want at most 8" },
	{ "interface without match",
	  "{\"interfaces\": [{},\n{\n\"mtu\": "
	  "1500,\n\"dns\": []}]}",
	  "node.json:1: interfaces[0]: want the key \"match\" too" },
	{ "match missing, line of its object",
	  "{\"interfaces\": [\n{\n\"mtu\": 1500,\n\"dns\": []}]}",
	  "node.json:3: interfaces[0]: want the key \"match\" too" },
	{ "match too long",
	  "{\"interfaces\": [{\"match\": \"abcdefghijklmnop"
	  "\"}]}",
	  "node.json:1: interfaces[0].match: \"abcdefghijklmnop\": want an "
	  "interface name (eth0) or MAC address (52:54:00:12:34:56)" },
	{ "match a path", "{\"interfaces\": [{\"match\": \"../eth0\"}]}",
	  "node.json:1: interfaces[0].match: \"../eth0\": want an "
	  "interface name (eth0) or MAC address (52:54:00:12:34:56)" },
	{ "match half a MAC", "{\"interfaces\": [{\"match\": \"52:54:00\"}]}",
	  "node.json:1: interfaces[0].match: \"52:54:00\": want an "
	  "interface name (eth0) or MAC address (52:54:00:12:34:56)" },
	{ "match twice, case apart",
	  "{\"interfaces\": [{\"match\": \"52:54:00:aa:bb:cc\"},\n"
	  "{\"match\": \"52:54:00:AA:BB:CC\"}]}",
	  "node.json:2: interfaces[1].match: \"52:54:00:AA:BB:CC\": is taken "
	  "by an interface before it: want another" },
	{ "address a string", NIC(", \"address\": \"192.0.2.7/24\""),
	  "node.json:1: interfaces[0].address: \"192.0.2.7/24\": want an "
	  "array [...]" },
	{ "address without prefix", NIC(", \"address\": [\"192.0.2.7\"]"),
	  "node.json:1: interfaces[0].address[0]: \"192.0.2.7\": want an "
	  "address with prefix such as 192.0.2.7/24" },
	{ "prefix too long", NIC(", \"address\": [\"192.0.2.7/33\"]"),
	  "node.json:1: interfaces[0].address[0]: \"192.0.2.7/33\": want an "
	  "address with prefix such as 192.0.2.7/24" },
	{ "prefix 0", NIC(", \"address\": [\"192.0.2.7/0\"]"),
	  "node.json:1: interfaces[0].address[0]: \"192.0.2.7/0\": want an "
	  "address with prefix such as 192.0.2.7/24" },
	{ "address of five parts", NIC(", \"address\": [\"1.2.3.4.5/24\"]"),
	  "node.json:1: interfaces[0].address[0]: \"1.2.3.4.5/24\": want an "
	  "address with prefix such as 192.0.2.7/24" },
	{ "loopback as address",
	  NIC(", \"address\": [\"192.0.2.7/24\",\n\"::1/128\"]"),
	  "node.json:2: interfaces[0].address[1]: \"::1/128\": want an "
	  "address with prefix such as 192.0.2.7/24" },
	{ "multicast as address", NIC(", \"address\": [\"224.0.0.1/24\"]"),
	  "node.json:1: interfaces[0].address[0]: \"224.0.0.1/24\": want an "
	  "address with prefix such as 192.0.2.7/24" },
	{ "five addresses", NIC(", \"address\": [1, 2, 3, 4, 5]"),
	  "node.json:1: interfaces[0].address: 5 elements: want at most 4" },
	{ "gateway without address", NIC(",\n \"gateway\": [\"192.0.2.1\"]"),
	  "node.json:1: interfaces[0]: gateway without an address of its "
	  "family: want both, or neither for DHCP" },
	{ "gateway of another family",
	  NIC(", \"address\": [\"192.0.2.7/24\"],\n"
	      "\"gateway\": [\"2001:db8::1\"]"),
	  "node.json:1: interfaces[0]: gateway without an address of its "
	  "family: want both, or neither for DHCP" },
	{ "gateway with prefix", NIC(", \"gateway\": [\"192.0.2.1/24\"]"),
	  "node.json:1: interfaces[0].gateway[0]: \"192.0.2.1/24\": want an "
	  "address such as 192.0.2.1 or 2001:db8::1" },
	{ "two gateways of a family",
	  NIC(", \"gateway\": [\"192.0.2.1\", \"192.0.2.2\"]"),
	  "node.json:1: interfaces[0].gateway[1]: \"192.0.2.2\": is the second "
	  "of its family: want at most one IPv4 and one IPv6" },
	{ "dns a name", NIC(", \"dns\": [\"dns.example\"]"),
	  "node.json:1: interfaces[0].dns[0]: \"dns.example\": want an address "
	  "such as 192.0.2.1 or 2001:db8::1" },
	{ "dns a number", NIC(", \"dns\": [\n1]"),
	  "node.json:2: interfaces[0].dns[0]: 1: want an address "
	  "such as 192.0.2.1 or 2001:db8::1" },
	{ "mtu a string", NIC(", \"mtu\": \"1500\""),
	  "node.json:1: interfaces[0].mtu: \"1500\": want a number from 1280 "
	  "to 65535" },
	{ "mtu too small", NIC(", \"mtu\": 1279"),
	  "node.json:1: interfaces[0].mtu: 1279: want a number from 1280 to "
	  "65535" },
	{ "mtu too large", NIC(",\n \"mtu\": 65536"),
	  "node.json:2: interfaces[0].mtu: 65536: want a number from 1280 to "
	  "65535" },
	{ "mtu of 30 digits", NIC(", \"mtu\": 150000000000000000000000000000"),
	  "node.json:1: interfaces[0].mtu: 150000000000000000000000000000: "
	  "want a number from 1280 to 65535" },
	{ "mtu negative", NIC(", \"mtu\": -1500"),
	  "node.json:1: interfaces[0].mtu: -1500: want a number from 1280 to "
	  "65535" },
	{ "mtu a fraction", NIC(", \"mtu\": 1500.0"),
	  "node.json:1: interfaces[0].mtu: 1500.0: want a number from 1280 to "
	  "65535" },

	{ "apps a string", "{\"apps\": \"web\"}",
	  "node.json:1: apps: \"web\": want an array [...]" },
	{ "app without name", "{\"apps\": [\n{\n\"image\": \"i\"}]}",
	  "node.json:3: apps[0]: want the key \"name\" too" },
	{ "app without image", "{\"apps\": [\n{\n\"name\": \"i\"}]}",
	  "node.json:3: apps[0]: want the key \"image\" too" },
	{ "app empty", "{\n\"apps\": [\n{}]}",
	  "node.json:2: apps[0]: want the key \"name\" too" },
	{ "app unknown key", APP(",\n\"privileged\": true"),
	  "node.json:2: apps[0].privileged: unknown key: want one of name, "
	  "image, command, environment, ports, memory, restart" },
	{ "app name twice",
	  "{\"apps\": [{\"name\": \"a\", \"image\": \"i\"},\n"
	  "{\"name\": \"a\", \"image\": \"i\"}]}",
	  "node.json:2: apps[1].name: \"a\": is the name of an app before it: "
	  "want another" },
	{ "app name a path", "{\"apps\": [{\"name\": \"../a\"}]}",
	  "node.json:1: apps[0].name: \"../a\": want 1 to 63 of a-z, 0-9 and "
	  "-" },
	{ "image absolute", "{\"apps\": [{\"image\": \"/etc\"}]}",
	  "node.json:1: apps[0].image: \"/etc\": want a relative path such as "
	  "images/web or images/web:tag" },
	{ "image climbs", "{\"apps\": [{\"image\": \"images/../../etc\"}]}",
	  "node.json:1: apps[0].image: \"images/../../etc\": want a relative "
	  "path such as images/web or images/web:tag" },
	{ "image with ./", "{\"apps\": [{\"image\": \"./web\"}]}",
	  "node.json:1: apps[0].image: \"./web\": want a relative path such as "
	  "images/web or images/web:tag" },
	{ "image empty", "{\"apps\": [{\"image\": \"\"}]}",
	  "node.json:1: apps[0].image: \"\": want a relative path such as "
	  "images/web or images/web:tag" },
	{ "image with slash at its end", "{\"apps\": [{\"image\": \"web/\"}]}",
	  "node.json:1: apps[0].image: \"web/\": want a relative path such as "
	  "images/web or images/web:tag" },
	{ "image tag empty", "{\"apps\": [{\"image\": \"web:\"}]}",
	  "node.json:1: apps[0].image: \"web:\": want a relative path such as "
	  "images/web or images/web:tag" },
	{ "image from a registry",
	  "{\"apps\": [{\"image\": \"host:5000/web:1\"}]}",
	  "node.json:1: apps[0].image: \"host:5000/web:1\": want a relative "
	  "path such as images/web or images/web:tag" },
	{ "command a string", APP(", \"command\": \"httpd -f\""),
	  "node.json:1: apps[0].command: \"httpd -f\": want an array [...]" },
	{ "command empty", APP(", \"command\": []"),
	  "node.json:1: apps[0].command: empty: want a program, or no such key "
	  "for the image's own" },
	{ "program empty", APP(", \"command\": [\"\"]"),
	  "node.json:1: apps[0].command[0]: \"\": want the name of a program" },
	{ "argument a number", APP(", \"command\": [\"a\",\n8080]"),
	  "node.json:2: apps[0].command[1]: 8080: want a string \"...\"" },
	{ "argument with NUL", APP(", \"command\": [\"a\", \"b\\u0000\"]"),
	  "node.json:1: apps[0].command[1]: holds \\u0000: want text without "
	  "it" },
	{ "environment an array", APP(", \"environment\": [\"A=b\"]"),
	  "node.json:1: apps[0].environment: array: want an object {...}" },
	{ "environment number", APP(", \"environment\": {\"A\":\n1}"),
	  "node.json:2: apps[0].environment.A: 1: want a string \"...\"" },
	{ "environment name with =", APP(", \"environment\": {\"A=B\": \"\"}"),
	  "node.json:1: apps[0].environment.A=B: want a name without spaces, = "
	  "and control characters" },
	{ "environment name empty", APP(", \"environment\": {\"\": \"\"}"),
	  "node.json:1: apps[0].environment.: want a name without spaces, = "
	  "and control characters" },
	{ "environment name twice",
	  APP(", \"environment\": {\"A\": \"\",\n\"A\": \"x\"}"),
	  "node.json:2: apps[0].environment.A: given twice: want it once" },
	{ "ports numbers", APP(", \"ports\": [80]"),
	  "node.json:1: apps[0].ports[0]: 80: want HOST:CONTAINER, both 1 to "
	  "65535" },
	{ "port alone", APP(", \"ports\": [\"80\"]"),
	  "node.json:1: apps[0].ports[0]: \"80\": want HOST:CONTAINER, both 1 "
	  "to 65535" },
	{ "port not a number", APP(", \"ports\": [\"8080:80\",\n\"80:x\"]"),
	  "node.json:2: apps[0].ports[1]: \"80:x\": want HOST:CONTAINER, both "
	  "1 to 65535" },
	{ "port 0", APP(", \"ports\": [\"0:80\"]"),
	  "node.json:1: apps[0].ports[0]: \"0:80\": want HOST:CONTAINER, both "
	  "1 to 65535" },
	{ "port 65536", APP(", \"ports\": [\"80:65536\"]"),
	  "node.json:1: apps[0].ports[0]: \"80:65536\": want HOST:CONTAINER, "
	  "both 1 to 65535" },
	{ "port of three", APP(", \"ports\": [\"127.0.0.1:80:80\"]"),
	  "node.json:1: apps[0].ports[0]: \"127.0.0.1:80:80\": want "
	  "HOST:CONTAINER, both 1 to 65535" },
	{ "host port twice in an app",
	  APP(", \"ports\": [\"80:80\",\n\"80:81\"]"),
	  "node.json:2: apps[0].ports[1]: \"80:81\": host port is taken by a "
	  "port before it: want another" },
	{ "host port twice in two apps",
	  "{\"apps\": [{\"name\": \"a\", \"image\": \"i\", \"ports\": "
	  "[\"80:80\"]},\n{\"name\": \"b\", \"image\": \"i\", \"ports\": "
	  "[\"80:81\"]}]}",
	  "node.json:2: apps[1].ports[0]: \"80:81\": host port is taken by a "
	  "port before it: want another" },
	{ "memory a number", APP(", \"memory\": 64"),
	  "node.json:1: apps[0].memory: 64: want a size from 1m to 1024g such "
	  "as 64m" },
	{ "memory too small", APP(", \"memory\": \"64\""),
	  "node.json:1: apps[0].memory: \"64\": want a size from 1m to 1024g "
	  "such as 64m" },
	{ "memory overflows", APP(", \"memory\": \"17179869185g\""),
	  "node.json:1: apps[0].memory: \"17179869185g\": want a size from 1m "
	  "to 1024g such as 64m" },
	{ "memory of another unit", APP(", \"memory\": \"64MiB\""),
	  "node.json:1: apps[0].memory: \"64MiB\": want a size from 1m to "
	  "1024g such as 64m" },
	{ "restart of another word", APP(", \"restart\": \"unless-stopped\""),
	  "node.json:1: apps[0].restart: \"unless-stopped\": want always, "
	  "on-failure or no" },
	{ "restart false", APP(", \"restart\": false"),
	  "node.json:1: apps[0].restart: false: want always, on-failure or "
	  "no" },
};

static bool is_default(void)
{
	return !strcmp(node.name, "zooid") && !node.password[0] &&
	       !node.n_interface && !node.n_app;
}

static void test_mistakes(void)
{
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		const struct mistake *m = &mistakes[i];
		int result = parse(m->text, strlen(m->text));

		if (!ok(result == -EINVAL && !strcmp(error, m->line) &&
				is_default(),
			"refused: %s", m->name))
			printf("# %d\n# got  %s\n# want %s\n", result, error,
			       m->line);
	}
}

static const char whole[] =
	"\xef\xbb\xbf{\r\n"
	"  \"name\": \"n1\",\r\n"
	"  \"console\": {\"password\": \"$6$salt$hash\"},\r\n"
	"  \"registries\": [\r\n"
	"    {\"host\": \"10.0.2.2:5000\", \"http\": true},\r\n"
	"    {\"ca\": \"keys/ca.pem\", \"host\": \"[2001:db8::1]\",\r\n"
	"     \"user\": \"me\", \"password\": \"p:w\", \"default\": true,\r\n"
	"     \"proxy\": \"http://p.example:3128\",\r\n"
	"     \"mirrors\": [\"10.0.2.2:5000\", \"m.example\"]}],\r\n"
	"  \"interfaces\": [\r\n"
	"    {\"match\": \"52:54:00:AB:CD:EF\",\r\n"
	"     \"address\": [\"192.0.2.7/24\", \"2001:db8::7/64\"],\r\n"
	"     \"gateway\": [\"192.0.2.1\", \"fe80::1\"],\r\n"
	"     \"dns\": [\"192.0.2.53\"], \"mtu\": 9000},\r\n"
	"    {\"match\": \"eth0\"}],\r\n"
	"  \"apps\": [\r\n"
	"    {\"name\": \"web\", \"image\": \"images/httpd:1.0\",\r\n"
	"     \"command\": [\"httpd\", \"-f\", \"\"],\r\n"
	"     \"environment\": {\"KEY\": \"v=a l\", \"KEY2\": \"\"},\r\n"
	"     \"ports\": [\"8080:80\", \"65535:1\"],\r\n"
	"     \"memory\": \"64m\", \"restart\": \"no\"},\r\n"
	"    {\"restart\": \"on-failure\", \"image\": \"x\", \"name\": \"b\"}]"
	"\r\n}\r\n";

static void test_interfaces(void)
{
	static const uint8_t v4[16] = { [10] = 0xff, 0xff, 192, 0, 2, 7 };
	static const uint8_t v6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 7 };
	const struct node_interface *i = &node.interface[0];

	ok(node.n_interface == 2 && !strcmp(i->match, "52:54:00:ab:cd:ef") &&
		   !strcmp(i[1].match, "eth0"),
	   "interfaces by MAC, in lower case, and by name");
	ok(i->n_address == 2 && !memcmp(i->address[0].bytes, v4, 16) &&
		   i->address[0].prefix == 24 &&
		   !memcmp(i->address[1].bytes, v6, 16) &&
		   i->address[1].prefix == 64,
	   "addresses of both families");
	ok(i->n_gateway == 2 && i->gateway[0].prefix == 32 &&
		   i->gateway[0].bytes[15] == 1 &&
		   i->gateway[1].prefix == 128 &&
		   i->gateway[1].bytes[0] == 0xfe,
	   "gateways of both families");
	ok(i->n_dns == 1 && i->dns[0].bytes[15] == 53 && i->mtu == 9000 &&
		   i[1].mtu == 0 && i[1].n_address == 0,
	   "dns, mtu and their defaults");
}

static void test_registries(void)
{
	const struct node_registry *r = node.registry;

	ok(node.n_registry == 2 && !strcmp(r->host, "10.0.2.2:5000") &&
		   r->http && !r->ca[0] &&
		   !strcmp(r[1].host, "[2001:db8::1]") && !r[1].http &&
		   !strcmp(r[1].ca, "keys/ca.pem"),
	   "registries");
	ok(!r->user && !r->password && r->n_mirror == 0 && !r->is_default &&
		   !strcmp(r[1].user, "me") && !strcmp(r[1].password, "p:w") &&
		   !strcmp(r[1].proxy, "http://p.example:3128") && !r->proxy &&
		   r[1].is_default && r[1].n_mirror == 2 &&
		   !strcmp(r[1].mirror[0], "10.0.2.2:5000") &&
		   !strcmp(r[1].mirror[1], "m.example"),
	   "credentials, mirrors and the default");
}

static void test_apps(void)
{
	const struct node_app *a = &node.app[0];

	ok(node.n_app == 2 && !strcmp(a->name, "web") &&
		   !strcmp(a->image, "images/httpd") && !strcmp(a->tag, "1.0"),
	   "app with image and tag");
	ok(a->n_command == 3 && !strcmp(a->command[0], "httpd") &&
		   !strcmp(a->command[1], "-f") && !a->command[2][0] &&
		   !a->command[3],
	   "command ends with NULL");
	ok(a->n_environment == 2 && !strcmp(a->environment[0], "KEY=v=a l") &&
		   !strcmp(a->environment[1], "KEY2=") && !a->environment[2],
	   "environment as KEY=value");
	ok(a->n_port == 2 && a->port[0].host == 8080 &&
		   a->port[0].container == 80 && a->port[1].host == 65535 &&
		   a->port[1].container == 1,
	   "ports");
	ok(a->memory_bytes == 67108864 && a->restart == NODE_RESTART_NO &&
		   a[1].memory_bytes == 0 &&
		   a[1].restart == NODE_RESTART_ON_FAILURE && !a[1].tag[0] &&
		   !a[1].command[0],
	   "memory, restart and their defaults");
}

static void test_limits(void)
{
	size_t size = NODE_JSON_SIZE_MAX + 1;
	char *large = malloc(size);
	int n;

	memset(large, ' ', size);
	large[0] = '{';
	large[1] = '}';
	ok(parse(large, size - 1) == 0 && is_default(), "the largest file");
	ok(parse(large, size) == -E2BIG &&
		   !strcmp(error,
			   "node.json:1: 262145 bytes: want at most 262144"),
	   "one byte more: %s", error);

	n = sprintf(large, "{\"apps\": [{\"command\": [\"a\",\n\"");
	memset(large + n, 'b', 40000);
	strcpy(large + n + 40000, "\"]}]}");
	ok(parse(large, strlen(large)) == -EINVAL &&
		   !strcmp(error, "node.json:2: apps[0].command[1]: commands "
				  "and environments longer than 32 KB: want "
				  "less"),
	   "room for texts: %s", error);

	memset(large, '[', 100000);
	ok(parse(large, 100000) == -EINVAL, "deep nesting: %s", error);
	ok(node_json_parse("{}", 2, large, 100, &node, error) == -EINVAL &&
		   !strcmp(error, "node.json:1: 100 bytes of scratch are too "
				  "few"),
	   "no room for the tree: %s", error);
	free(large);
}

int main(void)
{
	test_mistakes();
	ok(parse("{}", 2) == 0 && is_default() && !error[0], "empty object");
	ok(parse(whole, sizeof(whole) - 1) == 0 && !strcmp(node.name, "n1") &&
		   !strcmp(node.password, "$6$salt$hash"),
	   "a file with every key, byte order mark and CR LF: %s", error);
	test_interfaces();
	test_registries();
	test_apps();
	test_limits();
	return tap_done();
}
