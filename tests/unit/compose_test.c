/* Compose files: what becomes of them, by hand from the Compose Specification
 * (compose-spec.io) and sync.5; what is refused, and the line that says so. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "compose_json.h"
#include "ctl/compose.h"
#include "tap.h"

#define DIGEST    \
	"sha256:" \
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
/* A file of one service with these lines, and the app it becomes. */
#define WEB(lines)   "services:\n  web:\n    image: hub/web:1\n" lines
#define APP(members) "[{\"name\":\"web\",\"image\":\"hub/web:1\"" members "}]"

static char *variable(const char *name)
{
	static char set[] = "value", empty[] = "", bad[] = "a\xff",
		    secret[] = "s3cret";

	return !strcmp(name, "SET")	 ? set
	       : !strcmp(name, "EMPTY")	 ? empty
	       : !strcmp(name, "BAD")	 ? bad
	       : !strcmp(name, "SECRET") ? secret
					 : NULL;
}

static const struct compose_config config = { .variable = variable };

static int read_one(struct span text, struct compose *c)
{
	const struct compose_file file = { "f", text };

	return compose_read(&file, 1, &config, c);
}

/* ---- what is read ---- */

static const struct {
	const char *name, *yaml, *json;
} good[] = {
	{ "an image alone", WEB(""), APP("") },
	{ "flow style, one line", "services: {web: {image: hub/web:1}}",
	  APP("") },
	{ "extensions are ignored",
	  "x-a: {b: [c]}\n" WEB("    x-more: [1, 2]\n"), APP("") },
	{ "version is ignored", "version: '3.9'\n" WEB(""), APP("") },
	{ "a byte order mark", "\xef\xbb\xbf" WEB(""), APP("") },
	{ "document markers", "---\n" WEB("") "...\n", APP("") },
	{ "CRLF", "services:\r\n  web:\r\n    image: hub/web:1\r\n", APP("") },
	{ "two services", WEB("") "  db:\n    image: hub/db\n",
	  "[{\"name\":\"web\",\"image\":\"hub/web:1\"},"
	  "{\"name\":\"db\",\"image\":\"hub/db\"}]" },
	{ "an image with a digest",
	  "services: {web: {image: \"hub/web:1@" DIGEST "\"}}",
	  APP(",\"digest\":\"" DIGEST "\"") },
	/* command */
	{ "command as a list", WEB("    command: [sh, -c, \"a && b\"]\n"),
	  APP(",\"command\":[\"sh\",\"-c\",\"a && b\"]") },
	{ "numbers in a list are text", WEB("    command: [sleep, 010, 1e3]\n"),
	  APP(",\"command\":[\"sleep\",\"010\",\"1e3\"]") },
	{ "command as text", WEB("    command: httpd  -f\t-h /www\n"),
	  APP(",\"command\":[\"httpd\",\"-f\",\"-h\",\"/www\"]") },
	{ "quotes group words",
	  WEB("    command: sh -c 'echo \"a  b\"; c' \"d 'e'\"\n"),
	  APP(",\"command\":[\"sh\",\"-c\",\"echo \\\"a  b\\\"; c\","
	      "\"d 'e'\"]") },
	{ "a backslash takes the next as it is",
	  WEB("    command: a\\ b \\\"c '\\d' \"\\e\"\n"),
	  APP(",\"command\":[\"a b\",\"\\\"c\",\"\\\\d\",\"e\"]") },
	{ "an empty word", WEB("    command: a '' b\n"),
	  APP(",\"command\":[\"a\",\"\",\"b\"]") },
	{ "quotes within a word", WEB("    command: a'b c'd\n"),
	  APP(",\"command\":[\"ab cd\"]") },
	{ "a folded block is one line of words",
	  WEB("    command: >\n      httpd\n      -f\n"),
	  APP(",\"command\":[\"httpd\",\"-f\"]") },
	{ "null is the image's command", WEB("    command:\n"), APP("") },
	/* environment */
	{ "environment as a map",
	  WEB("    environment:\n      A: b c\n      E: \"\"\n      N: 1.10\n"
	      "      Y: yes\n      T: true\n"),
	  APP(",\"environment\":{\"A\":\"b c\",\"E\":\"\",\"N\":\"1.10\","
	      "\"Y\":\"yes\",\"T\":\"true\"}") },
	{ "environment as a list",
	  WEB("    environment: [\"A=b=c\", E=, \"S= x\"]\n"),
	  APP(",\"environment\":{\"A\":\"b=c\",\"E\":\"\",\"S\":\" x\"}") },
	{ "without a value it is that of the shell",
	  WEB("    environment:\n      SET:\n      NOT:\n      EMPTY: ~\n"),
	  APP(",\"environment\":{\"SET\":\"value\",\"EMPTY\":\"\"}") },
	{ "the same in a list", WEB("    environment: [SET, NOT, EMPTY]\n"),
	  APP(",\"environment\":{\"SET\":\"value\",\"EMPTY\":\"\"}") },
	{ "quoted null is text",
	  WEB("    environment: {A: \"null\", B: '~'}\n"),
	  APP(",\"environment\":{\"A\":\"null\",\"B\":\"~\"}") },
	{ "the last of a list stands",
	  WEB("    environment: [A=1, B=2, A=3]\n"),
	  APP(",\"environment\":{\"A\":\"3\",\"B\":\"2\"}") },
	/* interpolation */
	{ "variables",
	  WEB("    environment: [\"A=$SET-${SET}!\", \"B=${NOT}\"]\n"),
	  APP(",\"environment\":{\"A\":\"value-value!\",\"B\":\"\"}") },
	{ "defaults",
	  WEB("    command: [\"${NOT:-d}\", \"${EMPTY:-d}\", \"${EMPTY-d}\", "
	      "\"${SET:-d}\", \"${NOT-}\"]\n"),
	  APP(",\"command\":[\"d\",\"d\",\"\",\"value\",\"\"]") },
	{ "replacements",
	  WEB("    command: [\"${SET:+r}\", \"${EMPTY:+r}\", \"${EMPTY+r}\", "
	      "\"x${NOT+r}\"]\n"),
	  APP(",\"command\":[\"r\",\"\",\"r\",\"x\"]") },
	{ "what is needed and there", WEB("    command: [\"${SET:?no}\"]\n"),
	  APP(",\"command\":[\"value\"]") },
	{ "nested",
	  WEB("    command: [\"${NOT:-${ALSO:-$SET}}\", "
	      "\"${NOT:-a${SET}b}c\"]\n"),
	  APP(",\"command\":[\"value\",\"avaluebc\"]") },
	{ "two dollars are one", WEB("    command: [\"$$SET\", \"$${SET}\"]\n"),
	  APP(",\"command\":[\"$SET\",\"${SET}\"]") },
	{ "a dollar before no name stays",
	  WEB("    command: [\"$1\", \"a$\", \"$ b\"]\n"),
	  APP(",\"command\":[\"$1\",\"a$\",\"$ b\"]") },
	{ "in single quotes too", WEB("    command: ['$SET']\n"),
	  APP(",\"command\":[\"value\"]") },
	{ "keys are not touched", WEB("    environment: {$SET: x}\n"),
	  APP(",\"environment\":{\"$SET\":\"x\"}") },
	{ "a port from a variable", WEB("    ports: [\"${NOT:-8080}:80\"]\n"),
	  APP(",\"ports\":[{\"host\":8080,\"container\":80}]") },
	/* ports */
	{ "ports",
	  WEB("    ports:\n      - \"8080:80\"\n      - 443:443/tcp\n"),
	  APP(",\"ports\":[{\"host\":8080,\"container\":80},"
	      "{\"host\":443,\"container\":443}]") },
	{ "no number of base 60", WEB("    ports: [22:22, 59:59]\n"),
	  APP(",\"ports\":[{\"host\":22,\"container\":22},"
	      "{\"host\":59,\"container\":59}]") },
	{ "ports in long form",
	  WEB("    ports:\n      - target: 80\n        published: \"8080\"\n"
	      "        protocol: tcp\n"),
	  APP(",\"ports\":[{\"host\":8080,\"container\":80}]") },
	{ "TCP and UDP of one number",
	  WEB("    ports: [\"53:53\", \"53:53/udp\"]\n"),
	  APP(",\"ports\":[{\"host\":53,\"container\":53},"
	      "{\"host\":53,\"container\":53,\"protocol\":\"udp\"}]") },
	{ "a range of UDP",
	  WEB("    ports: [{target: 5-6, published: 7-8, protocol: udp}]\n"),
	  APP(",\"ports\":[{\"host\":7,\"container\":5,\"protocol\":"
	      "\"udp\"},{\"host\":8,\"container\":6,\"protocol\":"
	      "\"udp\"}]") },
	{ "the PROXY protocol",
	  WEB("    ports: [{target: 5, published: 7, x-zooid: "
	      "{proxy_protocol: 2}}]\n"),
	  APP(",\"ports\":[{\"host\":7,\"container\":5,"
	      "\"proxy_protocol\":2}]") },
	/* restart, read_only */
	{ "restart: no is no boolean", WEB("    restart: no\n"),
	  APP(",\"restart\":\"no\"") },
	{ "restart always", WEB("    restart: always\n"),
	  APP(",\"restart\":\"always\"") },
	{ "restart on-failure", WEB("    restart: on-failure\n"),
	  APP(",\"restart\":\"on-failure\"") },
	{ "restart unless-stopped", WEB("    restart: \"unless-stopped\"\n"),
	  APP(",\"restart\":\"unless-stopped\"") },
	{ "read_only", WEB("    read_only: true\n"),
	  APP(",\"read_only\":true") },
	{ "read_only: yes", WEB("    read_only: yes\n"),
	  APP(",\"read_only\":true") },
	{ "read_only: off", WEB("    read_only: off\n"), APP("") },
	/* limits */
	{ "limits of a service",
	  WEB("    mem_limit: 64m\n    cpus: 0.5\n    pids_limit: 100\n"),
	  APP(",\"memory\":67108864,\"cpus\":0.5,\"pids\":100") },
	{ "limits of deploy",
	  WEB("    deploy:\n      resources:\n        limits:\n"
	      "          memory: 50M\n          cpus: '0.250'\n"
	      "          pids: 10\n"),
	  APP(",\"memory\":52428800,\"cpus\":0.25,\"pids\":10") },
	{ "the same limit twice",
	  WEB("    mem_limit: 1g\n    deploy: {resources: {limits: "
	      "{memory: 1024mb}}}\n"),
	  APP(",\"memory\":1073741824") },
	{ "bytes alone", WEB("    mem_limit: 1048576\n"),
	  APP(",\"memory\":1048576") },
	{ "bytes with b", WEB("    mem_limit: 600000b\n"),
	  APP(",\"memory\":600000") },
	{ "kilobytes", WEB("    mem_limit: 600Kb\n"),
	  APP(",\"memory\":614400") },
	{ "half a gigabyte more", WEB("    mem_limit: 1.5gb\n"),
	  APP(",\"memory\":1610612736") },
	{ "whole and thousandth CPUs", WEB("    cpus: \"1.125\"\n"),
	  APP(",\"cpus\":1.125") },
	{ "two CPUs", WEB("    cpus: 2\n"), APP(",\"cpus\":2") },
	{ "a CPU without a zero", WEB("    cpus: .5\n"), APP(",\"cpus\":0.5") },
	{ "pids without a limit", WEB("    pids_limit: -1\n"), APP("") },
	/* anchors, merge keys */
	{ "an alias", "x-env: &env {A: b}\n" WEB("    environment: *env\n"),
	  APP(",\"environment\":{\"A\":\"b\"}") },
	{ "a merge key; its own stands",
	  "x-base: &base\n  image: hub/base\n  restart: always\n"
	  "services:\n  web:\n    <<: *base\n    image: hub/web:1\n",
	  APP(",\"restart\":\"always\"") },
	{ "its own stands also when it is first",
	  "x-base: &base\n  image: hub/base\n  restart: always\n"
	  "services:\n  web:\n    image: hub/web:1\n    <<: *base\n",
	  APP(",\"restart\":\"always\"") },
	{ "of a list of merges the first stands",
	  "x-a: &a {restart: always}\nx-b: &b {restart: no, cpus: 1}\n" WEB(
		  "    <<: [*a, *b]\n"),
	  APP(",\"restart\":\"always\",\"cpus\":1") },
	{ "merges of merges",
	  "x-a: &a {cpus: 1}\nx-b: &b\n  <<: *a\n  restart: always\n" WEB(
		  "    <<: *b\n"),
	  APP(",\"restart\":\"always\",\"cpus\":1") },
	{ "an alias to text", "x-i: &i hub/web:1\nservices: {web: {image: *i}}",
	  APP("") },
	{ "the latest anchor of a name",
	  "x-1: &i hub/old\nx-2: &i hub/web:1\nservices: {web: {image: *i}}",
	  APP("") },
	{ "a tag for text", WEB("    environment: {A: !!str 1, B: !!str }\n"),
	  APP(",\"environment\":{\"A\":\"1\",\"B\":\"\"}") },
};

static void good_test(void)
{
	struct compose *c = calloc(1, sizeof(*c));

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		int err = read_one(span_of(good[i].yaml), c);

		if (err)
			printf("# %s\n", c->problems.line[0]);
		ok(err == 0 && json_is(c->apps, good[i].json), "%s",
		   good[i].name);
		compose_end(c);
	}
	free(c);
}

/* ---- what is refused ---- */

static const struct {
	const char *name, *yaml, *line;
} bad[] = {
	/* the file */
	{ "nothing", "", "f:1: is empty; want services:" },
	{ "only a comment", "# x\n", "f:1: is empty; want services:" },
	{ "text", "hello", "f:1: want a map with services:" },
	{ "no services", "name: a\n", "f:1: services: is missing" },
	{ "services empty", "services: {}\n",
	  "f:1: services: want at least one service" },
	{ "services null", "services:\n",
	  "f:1: services: want at least one service" },
	{ "a list of services", "services: [web]\n",
	  "f:1: services: want at least one service" },
	{ "two documents", WEB("") "---\nservices: {}\n",
	  "f:4: a second document: want one a file" },
	{ "a tab indents", "services:\n\tweb:\n",
	  "f:2: found character that cannot start any token while scanning "
	  "for the next token" },
	{ "not closed", "services: {web: {image: a}\n",
	  "f:2: did not find expected ',' or '}' while parsing a flow "
	  "mapping" },
	{ "no UTF-8", "services: {web: {image: \"\xff\"}}",
	  "f:1: invalid leading UTF-8 octet" },
	{ "a control character", "a: \x01\n",
	  "f:1: control characters are not allowed" },
	{ "a NUL that is escaped", WEB("    command: [\"a\\0b\"]\n"),
	  "f:4: text with a NUL byte" },
	{ "a key twice", WEB("    image: hub/web:2\n"),
	  "f:4: image: is there twice" },
	{ "a service twice", WEB("") "  web:\n    image: a\n",
	  "f:4: web: is there twice" },
	{ "a key that is a map", "services: {{a: b}: c}",
	  "f:1: want text for a key" },
	{ "an alias to nothing", WEB("    environment: *env\n"),
	  "f:4: *env: there is no such anchor above" },
	{ "an alias within itself", "services: &s {web: *s}",
	  "f:1: *s lies within itself" },
	{ "a merge of text", WEB("    <<: text\n"),
	  "f:4: <<: want a map or a list of maps" },
	{ "a tag of others", WEB("    environment: !vault {}\n"),
	  "f:4: tag !vault: not supported yet" },
	/* the top level */
	{ "a misspelt key", "servces: {}\n" WEB(""),
	  "f:1: servces: no such key" },
	{ "a bad name", "name: My Shop\n" WEB(""),
	  "f:1: name: \"My Shop\": want 1 to 63 of a-z, 0-9, - and _" },
	/* a service */
	{ "a bad name of a service", "services: {Web!1: {image: a}}",
	  "f:1: services.Web!1: want 1 to 63 of A-Z, a-z, 0-9, -, _ and . for "
	  "a name" },
	{ "two services of one name",
	  "services: {Web_1: {image: a}, web-1: {image: a}}",
	  "f:1: services.web-1: is called web-1 on nodes, as services.Web_1 "
	  "is" },
	{ "no image", "services:\n  web:\n    restart: always\n",
	  "f:2: services.web: image: is missing" },
	{ "a service that is text", "services: {web: hub/web}",
	  "f:1: services.web: want a map" },
	{ "build", "services:\n  web:\n    build: .\n",
	  "f:3: services.web.build: nothing is built here; build it, send it "
	  "with zctl push, and say image:" },
	{ "x-zooid", WEB("    x-zooid: {class: microvm}\n"),
	  "f:4: services.web.x-zooid.class: \"microvm\": only process is "
	  "supported yet" },
	{ "network, a rule of port 0",
	  WEB("    x-zooid: {network: {rules: [allow any tcp 0]}}\n"),
	  "f:4: services.web.x-zooid.network.rules[0]: \"0\": want a port, 1 "
	  "to 65535, or a range, as 8000-8999" },
	{ "network, another default",
	  WEB("    x-zooid: {network: {default: maybe}}\n"),
	  "f:4: services.web.x-zooid.network.default: \"maybe\": want allow or "
	  "deny" },
	{ "network, slower than a packet",
	  WEB("    x-zooid: {network: {down: 1k}}\n"),
	  "f:4: services.web.x-zooid.network.down: want 64k to 1t a second" },
	{ "network, no connections",
	  WEB("    x-zooid: {network: {connections: 0}}\n"),
	  "f:4: services.web.x-zooid.network.connections: want at least 1 a "
	  "second" },
	{ "reactive, a key that is none",
	  WEB("    x-zooid: {reactive: {freeze: 5m}}\n"),
	  "f:4: services.web.x-zooid.reactive.freeze: no such key" },
	{ "reactive, too soon",
	  WEB("    x-zooid: {reactive: {freeze_after: 99ms}}\n"),
	  "f:4: services.web.x-zooid.reactive.freeze_after: want 100ms to "
	  "24h" },
	{ "image only, with nobody to start it",
	  WEB("    x-zooid: {reactive: {image_after: 1h}}\n"),
	  "f:4: services.web: want ports with image_after: nothing else would "
	  "start it" },
	{ "asleep, with nobody to wake it",
	  WEB("    x-zooid: {reactive: {sleep_after: 1h}}\n"),
	  "f:4: services.web: want ports with sleep_after: nothing else would "
	  "wake it" },
	{ "several instances that nobody could reach",
	  WEB("    x-zooid: {reactive: {concurrency: 20, max: 4}}\n"),
	  "f:4: services.web: want ports with max: only their clients are "
	  "spread" },
	{ "several instances without a reason",
	  WEB("    x-zooid: {reactive: {max: 4}}\n"),
	  "f:4: services.web.x-zooid.reactive: want max with concurrency, and "
	  "the other way round" },
	{ "too many instances",
	  WEB("    x-zooid: {reactive: {max: 11, concurrency: 1}}\n    ports: "
	      "[\"80:80\"]\n"),
	  "f:4: services.web.x-zooid.reactive.max: want 1 to 10" },
	{ "a lifetime that nothing could live",
	  WEB("    x-zooid: {reactive: {lifetime: 999ms}}\n"),
	  "f:4: services.web.x-zooid.reactive.lifetime: want 1s to 24h" },
	{ "a checkpoint at another moment",
	  WEB("    x-zooid: {reactive: {checkpoint: start}}\n"),
	  "f:4: services.web.x-zooid.reactive.checkpoint: \"start\": want "
	  "listen" },
	{ "reactive, another wake",
	  WEB("    x-zooid: {reactive: {wake: never}}\n"),
	  "f:4: services.web.x-zooid.reactive.wake: \"never\": want connect "
	  "or byte" },
	{ "a misspelt key of a service", WEB("    enviroment: {}\n"),
	  "f:4: services.web.enviroment: no such key" },
	{ "a key merged from elsewhere",
	  "x-a: &a\n  gpus: all\n" WEB("    <<: *a\n"),
	  "f:2: services.web.gpus: no GPU is given by this yet: one "
	  "that is a device of the node is, by devices:" },
	{ "image null", "services: {web: {image: }}",
	  "f:1: services.web.image: want the name of an image" },
	{ "an image with a space", "services: {web: {image: a b}}",
	  "f:1: services.web.image: want a name without spaces" },
	{ "a short digest", "services: {web: {image: \"a@sha256:12\"}}",
	  "f:1: services.web.image: want @sha256: and 64 hex digits for a "
	  "digest" },
	/* command */
	{ "nothing left to run", WEB("    entrypoint: []\n"),
	  "f:2: services.web: entrypoint: is empty, which leaves out the "
	  "image's command too; want command:" },
	{ "nothing left to run, both empty",
	  WEB("    entrypoint: ''\n    command: []\n"),
	  "f:2: services.web: entrypoint: is empty, which leaves out the "
	  "image's command too; want command:" },
	{ "what needs a shell", WEB("    command: a && b\n"),
	  "f:4: services.web.command: \"&\" needs a shell: write [sh, -c, "
	  "\"...\"], or quote it" },
	{ "an open quote", WEB("    command: a 'b\n"),
	  "f:4: services.web.command: a quote is not closed" },
	{ "a last backslash", WEB("    command: a \\\n"),
	  "f:4: services.web.command: ends with a backslash" },
	{ "a command that is a map", WEB("    command: {a: b}\n"),
	  "f:4: services.web.command: want text or a list" },
	{ "a word that is a list", WEB("    command: [a, [b]]\n"),
	  "f:4: services.web.command[1]: want text" },
	/* environment */
	{ "environment as text", WEB("    environment: A=b\n"),
	  "f:4: services.web.environment: want a map or a list" },
	{ "a value that is a list", WEB("    environment: {A: [1]}\n"),
	  "f:4: services.web.environment.A: want text" },
	{ "no name", WEB("    environment: [\"=a\"]\n"),
	  "f:4: services.web.environment[0]: want a name" },
	{ "a name with =", WEB("    environment: {A=B: c}\n"),
	  "f:4: services.web.environment.A=B: want a name without \"=\"" },
	{ "a value that is no text", WEB("    environment: [BAD]\n"),
	  "f:4: services.web.environment[0]: the variable BAD is no UTF-8" },
	/* interpolation */
	{ "an open brace", WEB("    command: [\"${SET\"]\n"),
	  "f:4: services.web.command[0]: ${ without }; a $ itself is written "
	  "$$" },
	{ "no name in braces", WEB("    command: [\"${1}\"]\n"),
	  "f:4: services.web.command[0]: want a variable's name within ${}; a "
	  "$ itself is written $$" },
	{ "an operator of a shell", WEB("    command: [\"${SET/a/b}\"]\n"),
	  "f:4: services.web.command[0]: want ${NAME}, or ${NAME:-WORD} with "
	  "one of :- - :? ? :+ +" },
	{ "what is needed", WEB("    command: [\"${EMPTY:?set it}\"]\n"),
	  "f:4: services.web.command[0]: the variable EMPTY is needed: set "
	  "it" },
	{ "what is needed, without a word", WEB("    command: [\"${NOT?}\"]\n"),
	  "f:4: services.web.command[0]: the variable NOT is needed" },
	{ "nested too deep",
	  WEB("    command: [\"${A:-${A:-${A:-${A:-${A:-${A:-${A:-${A:-"
	      "${A:-${A:-x}}}}}}}}}}\"]\n"),
	  "f:4: services.web.command[0]: variables are nested too deep" },
	/* ports */
	{ "ports that are no list", WEB("    ports: 80:80\n"),
	  "f:4: services.web.ports: want a list" },
	{ "a port alone that is none", WEB("    ports: [http]\n"),
	  "f:4: services.web.ports[0]: \"http\": want a port, 1 to 65535" },
	{ "an address of a name", WEB("    ports: [\"lan:80:80\"]\n"),
	  "f:4: services.web.ports[0]: \"lan\": want an address of the node in "
	  "digits" },
	{ "an address without brackets",
	  WEB("    ports: [\"fe80::x:80:80\"]\n"),
	  "f:4: services.web.ports[0]: \"fe80::x\": want an address of the "
	  "node "
	  "in digits" },
	{ "SCTP", WEB("    ports: [\"53:53/sctp\"]\n"),
	  "f:4: services.web.ports[0]: \"53:53/sctp\": want tcp or udp" },
	{ "a UDP port twice", WEB("    ports: [\"53:1/udp\", \"53:2/udp\"]\n"),
	  "f:4: services.web.ports[1]: host port 53 is there twice" },
	{ "ranges that differ", WEB("    ports: [\"80-81:80\"]\n"),
	  "f:4: services.web.ports[0]: want as many host ports as ports of "
	  "the container" },
	{ "a range that is too long", WEB("    ports: [\"80-180:80-180\"]\n"),
	  "f:4: services.web.ports[0]: want at most 32 ports" },
	{ "port 0", WEB("    ports: [\"0:80\"]\n"),
	  "f:4: services.web.ports[0]: \"0\": want a port, 1 to 65535" },
	{ "port 65536", WEB("    ports: [\"80:65536\"]\n"),
	  "f:4: services.web.ports[0]: \"65536\": want a port, 1 to 65535" },
	{ "a host port twice", WEB("    ports: [\"80:1\", \"80:2\"]\n"),
	  "f:4: services.web.ports[1]: host port 80 is there twice" },
	{ "long without target", WEB("    ports: [{published: 80}]\n"),
	  "f:4: services.web.ports[0]: want target" },
	{ "long with more",
	  WEB("    ports: [{target: 80, published: 80, host_ip: any}]\n"),
	  "f:4: services.web.ports[0].host_ip: \"any\": want an address of the "
	  "node in digits" },
	{ "long with SCTP",
	  WEB("    ports: [{target: 80, published: 80, protocol: sctp}]\n"),
	  "f:4: services.web.ports[0].protocol: \"sctp\": want tcp or udp" },
	{ "another version of the PROXY protocol",
	  WEB("    ports: [{target: 5, published: 7, x-zooid: "
	      "{proxy_protocol: 1}}]\n"),
	  "f:4: services.web.ports[0].x-zooid.proxy_protocol: want 2, or no "
	  "such key" },
	{ "the PROXY protocol over UDP",
	  WEB("    ports: [{target: 5, published: 7, protocol: udp, x-zooid: "
	      "{proxy_protocol: 2}}]\n"),
	  "f:4: services.web.ports[0]: want tcp with proxy_protocol" },
	{ "a port with and without the PROXY protocol",
	  WEB("    ports: [{target: 5, published: 7}, {target: 5, published: "
	      "7, x-zooid: {proxy_protocol: 2}}]\n"),
	  "f:4: services.web.ports[1]: host port 7 is there twice" },
	/* the rest */
	{ "restart with no number", WEB("    restart: on-failure:x\n"),
	  "f:4: services.web.restart: \"on-failure:x\": want no, always, "
	  "on-failure or unless-stopped" },
	{ "restart of another kind", WEB("    restart: never\n"),
	  "f:4: services.web.restart: \"never\": want no, always, on-failure "
	  "or unless-stopped" },
	{ "read_only: maybe", WEB("    read_only: maybe\n"),
	  "f:4: services.web.read_only: \"maybe\": want true or false" },
	{ "memory that is no number", WEB("    mem_limit: lots\n"),
	  "f:4: services.web.mem_limit: \"lots\": want bytes, as 64m" },
	{ "memory below 0", WEB("    mem_limit: -1\n"),
	  "f:4: services.web.mem_limit: \"-1\": want bytes, as 64m" },
	{ "memory beyond all", WEB("    mem_limit: 99999999999999999999g\n"),
	  "f:4: services.web.mem_limit: \"99999999999999999999g\": want "
	  "bytes, as 64m" },
	{ "a unit alone", WEB("    mem_limit: m\n"),
	  "f:4: services.web.mem_limit: \"m\": want bytes, as 64m" },
	{ "CPUs too fine", WEB("    cpus: 0.0001\n"),
	  "f:4: services.web.cpus: \"0.0001\": want 0 to 4096 with at most 3 "
	  "decimals" },
	{ "two limits",
	  WEB("    cpus: 1\n    deploy:\n      resources:\n"
	      "        limits: {cpus: 2}\n"),
	  "f:7: services.web.deploy.resources.limits.cpus: differs from line "
	  "4" },
	{ "replicas without end", WEB("    deploy: {replicas: 65}\n"),
	  "f:4: services.web.deploy.replicas: want 1 to 64" },
	{ "devices of a kind",
	  WEB("    deploy: {resources: {reservations: {devices: []}}}\n"),
	  "f:4: services.web.deploy.resources.reservations.devices: no GPU is "
	  "given by this yet: one that is a device of the node is, by "
	  "devices:" },
	{ "memory kept, twice",
	  WEB("    mem_reservation: 1m\n    deploy: {resources: {reservations: "
	      "{memory: 2m}}}\n"),
	  "f:5: services.web.deploy.resources.reservations.memory: differs "
	  "from line 4" },
	{ "memory in which nothing runs", WEB("    mem_limit: 1\n"),
	  "f:4: services.web.mem_limit: 1 bytes: nothing runs in less than 512 "
	  "KB" },
	{ "no signal", WEB("    stop_signal: SIGFOO\n"),
	  "f:4: services.web.stop_signal: \"SIGFOO\": want a signal as "
	  "SIGTERM" },
	{ "a signal beyond the last", WEB("    stop_signal: \"99\"\n"),
	  "f:4: services.web.stop_signal: \"99\": want a signal as SIGTERM" },
	{ "an address beyond the last",
	  WEB("    extra_hosts: [\"a:256.1.1.1\"]\n"),
	  "f:4: services.web.extra_hosts: a: want NAME=ADDRESS, the address in "
	  "digits, or host-gateway" },
	{ "a host's name of marks", WEB("    hostname: -.-\n"),
	  "f:4: services.web.hostname: \"-.-\": want at most 63 of A-Z, a-z, "
	  "0-9, - and ." },
	{ "a user below 0", WEB("    user: \"-1\"\n"),
	  "f:4: services.web.user: \"-1\": want USER or USER:GROUP" },
	{ "a port below 0", WEB("    ports: [\"-1:80\"]\n"),
	  "f:4: services.web.ports[0]: \"-1\": want a port, 1 to 65535" },
	{ "swap without a limit", WEB("    memswap_limit: 1m\n"),
	  "f:4: services.web: want mem_limit, and no less than that" },
	{ "less swap than memory",
	  WEB("    mem_limit: 2m\n    memswap_limit: 1m\n"),
	  "f:5: services.web: want mem_limit, and no less than that" },
	{ "processors that are none", WEB("    cpuset: 1-\n"),
	  "f:4: services.web.cpuset: \"1-\": want processors, as 0-3,7" },
	{ "one that is spared", WEB("    oom_score_adj: -500\n"),
	  "f:4: services.web.oom_score_adj: \"-500\": want 0 to 1000; none is "
	  "spared before others" },
	{ "part of a processor, said twice",
	  WEB("    cpus: 1\n    cpu_quota: 50000\n"),
	  "f:5: services.web: differs from line 4" },
	{ "more than there are processors",
	  WEB("    cpu_quota: 900000000\n    cpu_period: 1000\n"),
	  "f:4: services.web: want at most 4096 times cpu_period" },
	{ "an alias that is none",
	  WEB("    networks: {default: {aliases: [a b]}}\n"),
	  "f:4: services.web.networks.default.aliases[0]: \"a b\": want 1 to "
	  "63 of a-z, 0-9, -, _ and ." },
	{ "more aliases than have room",
	  WEB("    networks: {default: {aliases: "
	      "[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	      "aaaaa, b, cccccccccccc]}}\n"),
	  "f:4: services.web.networks.default.aliases[2]: want at most 48 "
	  "bytes "
	  "of other names" },
};

static void bad_test(void)
{
	struct compose *c = calloc(1, sizeof(*c));

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int err = read_one(span_of(bad[i].yaml), c);
		bool fits = err == -EINVAL && c->problems.n == 1 &&
			    !strcmp(c->problems.line[0], bad[i].line);

		if (!fits)
			printf("# %d, %u problems\n# got  %s\n# want %s\n", err,
			       c->problems.n, c->problems.line[0], bad[i].line);
		ok(fits, "refused: %s", bad[i].name);
		compose_end(c);
	}
	free(c);
}

/* ---- many faults, large files ---- */

static void many_test(void)
{
	struct compose *c = calloc(1, sizeof(*c));
	char text[4096] = "services:\n";
	size_t n = strlen(text);

	for (int i = 0; i < 30; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      "  s%d: {image: a, gpus: all}\n", i);
	ok(read_one(span_of(text), c) == -EINVAL &&
		   c->problems.n == COMPOSE_PROBLEMS_MAX &&
		   c->problems.more == 10 &&
		   !strcmp(c->problems.line[19],
			   "f:21: services.s19.gpus: no GPU is given by this "
			   "yet: one "
			   "that is a device of the node is, by devices:"),
	   "thirty faults: twenty are told, ten counted");
	compose_end(c);
	ok(read_one(span_of("version: '3'\n" WEB("    command: [$NOT]\n")),
		    c) == 0 &&
		   c->notices.n == 2 &&
		   !strcmp(c->notices.line[0],
			   "f:1: version: is obsolete and ignored") &&
		   !strcmp(c->notices.line[1],
			   "f:5: services.web.command[0]: the variable NOT is "
			   "not set, so it is empty"),
	   "notices");
	compose_end(c);
	ok(read_one(span_of("name: shop\n" WEB("")), c) == 0 &&
		   !strcmp(c->name, "shop"),
	   "the name");
	compose_end(c);
	free(c);
}

static void secret_test(void)
{
	static const char *const files[] = {
		WEB("    environment: {A: \"${SECRET}${\"}\n"),
		WEB("    environment: [\"A=${SECRET}\", SECRET]\n    tty: 1\n"),
		WEB("    environment: {A: \"${NOT:?${SECRET:+x}}\"}\n"),
	};
	struct compose *c = calloc(1, sizeof(*c));

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		ok(read_one(span_of(files[i]), c) == -EINVAL &&
			   c->problems.n == 1 &&
			   !strstr(c->problems.line[0], "s3cret"),
		   "no value of the environment is told");
		compose_end(c);
	}
	free(c);
}

/* Small files that would become large, or take long. */
static void bomb_test(void)
{
	struct compose *c = calloc(1, sizeof(*c));
	size_t size = 1 << 20, n;
	char *text = malloc(size);

	n = (size_t)snprintf(text, size, "x-0: &a0 [x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 30; i++)
		n += (size_t)snprintf(text + n, size - n,
				      "x-%d: &a%d [*a%d, *a%d, *a%d, *a%d, "
				      "*a%d, *a%d]\n",
				      i, i, i - 1, i - 1, i - 1, i - 1, i - 1,
				      i - 1);
	snprintf(text + n, size - n, WEB("    command: *a29\n"));
	ok(read_one(span_of(text), c) == -EINVAL && c->problems.n == 6 &&
		   strstr(c->problems.line[0],
			  "services.web.command[0]: want text"),
	   "a billion laughs are six faults: %s", c->problems.line[0]);
	compose_end(c);

	n = (size_t)snprintf(text, size, "x-m: &m {");
	for (int i = 0; i < 1000; i++)
		n += (size_t)snprintf(text + n, size - n, "k%d: 1, ", i);
	n += (size_t)snprintf(text + n, size - n, "z: 1}\nx-l: [");
	for (int i = 0; i < 100; i++)
		n += (size_t)snprintf(text + n, size - n, "{<<: *m}, ");
	snprintf(text + n, size - n, "1]\n" WEB(""));
	ok(read_one(span_of(text), c) == -EINVAL && c->problems.n == 1 &&
		   strstr(c->problems.line[0], "<<: merges too much"),
	   "merges by the hundred: %s", c->problems.line[0]);
	compose_end(c);

	memset(text, '[', 100000);
	ok(read_one((struct span){ text, 100000 }, c) == -EINVAL &&
		   c->problems.n == 1 &&
		   !strcmp(c->problems.line[0], "f:1: nested deeper than 32"),
	   "deep: %s", c->problems.line[0]);
	compose_end(c);

	n = (size_t)snprintf(text, size, "x-l: [");
	memset(text + n, '1', 1);
	for (int i = 0; i < 100000; i++)
		memcpy(text + n + 2 * (size_t)i, "1,", 2);
	ok(read_one((struct span){ text, 200000 }, c) == -EINVAL &&
		   strstr(c->problems.line[0], "more than 2048 members"),
	   "many members: %s", c->problems.line[0]);
	compose_end(c);

	memset(text, ' ', size);
	ok(read_one((struct span){ text, COMPOSE_SOURCE_MAX + 1 }, c) ==
			   -EINVAL &&
		   !strcmp(c->problems.line[0], "f:1: is larger than 256 KB"),
	   "too large: %s", c->problems.line[0]);
	compose_end(c);
	free(text);
	free(c);
}

int main(void)
{
	good_test();
	bad_test();
	many_test();
	secret_test();
	bomb_test();
	return tap_done();
}
