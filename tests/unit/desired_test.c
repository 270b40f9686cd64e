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

static char error[DESIRED_ERROR_SIZE];

static void whole_test(void)
{
	static const char text[] = HEAD
		"{" WEB ",\"command\":[\"httpd\",\"-f\"],"
		"\"environment\":{\"A\":\"1\",\"B\":\"\"},"
		"\"ports\":[{\"host\":8080,\"container\":80}],"
		"\"restart\":\"unless-stopped\",\"memory\":67108864,"
		"\"cpus\":0.5,\"pids\":100,\"read_only\":true,"
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
	ok(a->n_command == 2 && !strcmp(a->command[1], "-f") &&
		   !a->command[2] && a->n_environment == 2 &&
		   !strcmp(a->environment[0], "A=1") &&
		   !strcmp(a->environment[1], "B=") && !a->environment[2],
	   "command and environment");
	ok(a->n_ports == 1 && a->port[0].host == 8080 &&
		   a->port[0].container == 80 &&
		   a->restart == DESIRED_RESTART_UNLESS_STOPPED &&
		   a->memory_bytes == 64 << 20 && a->cpus_milli == 500 &&
		   a->pids == 100 && a->read_only &&
		   !strcmp(a->application, "shop") && !strcmp(a->by, "alice"),
	   "ports, restart, limits, origin");
	desired_free(&d);
}

static void refused_test(void)
{
	static const struct {
		const char *name, *text, *error;
	} rows[] = {
		{ "no JSON", "{", "not JSON" },
		{ "an array", "[]", "want an object" },
		{ "an unknown key", HEAD "{" WEB ",\"x\":1}]}",
		  "apps[0].x: unknown key" },
		{ "no digest", HEAD "{\"name\":\"a\",\"image\":\"b\"}]}",
		  "apps[0]: want the key \"digest\" too" },
		{ "a wrong digest",
		  HEAD "{\"name\":\"a\",\"image\":\"b\","
		       "\"digest\":\"md5:1\"}]}",
		  "apps[0].digest: \"md5:1\"" },
		{ "a name with a slash", HEAD "{\"name\":\"a/b\"}]}",
		  "apps[0].name" },
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
		  HEAD
		  "{" WEB ",\"ports\":["
		  "{\"host\":1,\"container\":80},{\"host\":1,\"container\":81}]"
		  "}]}",
		  "apps[0].ports[1]: host port 1 given twice" },
		{ "an empty command", HEAD "{" WEB ",\"command\":[]}]}",
		  "apps[0].command: want a program" },
		{ "a NUL in a command",
		  HEAD "{" WEB ",\"command\":[\"\\u0000\"]}"
		       "]}",
		  "apps[0].command[0]" },
		{ "negative memory", HEAD "{" WEB ",\"memory\":-1}]}",
		  "apps[0].memory: -1" },
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
		{ "no revision",
		  "{\"node\":\"n\",\"name\":\"n\",\"epoch\":1,"
		  "\"registry\":\"hub\",\"apps\":[]}",
		  "want the key \"revision\" too" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct desired d;
		int err = desired_parse(span_of(rows[i].text), &d, error);

		ok(err == -EINVAL && strstr(error, rows[i].error) &&
			   !strstr(error, "s3cret"),
		   "%s is refused: %s", rows[i].name, error);
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
	ok(same(",\"cpus\":0.5", ",\"cpus\":0.500") &&
		   !same(",\"cpus\":0.5", ",\"cpus\":0.05"),
	   "cpus by value");
	ok(!same(",\"command\":[\"a\",\"b\"]", ",\"command\":[\"ab\"]"),
	   "arguments do not run together");
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
	refused_test();
	content_test();
	order_test();
	return tap_done();
}
