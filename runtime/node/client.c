#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yyjson.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/output.h"

#include "app.h"
#include "znode.h"

/* Patience for an answer; a stop may take ten seconds, a first start has to
 * unpack. */
enum { ANSWER_MS = 5000, WISH_MS = 300000, CONFIG_MAX_BYTES = 1 << 20 };

enum output { OUTPUT_TABLE, OUTPUT_JSON };

static const char usage[] =
	"usage: znode                 run the daemon (init does)\n"
	"       znode ps [-o json]    applications and their state\n"
	"       znode react --dry-run what would become of them, and when\n"
	"       znode top             the same with what each uses, until q\n"
	"       znode logs NAME       the last lines that it wrote\n"
	"       znode exec NAME PROGRAM [ARGUMENT]...\n"
	"                             run it in the container, as its own is\n"
	"       znode net [-o json|metrics]\n"
	"                             what containers send, and their rules\n"
	"       znode images [-o json]\n"
	"                             images of the applications\n"
	"       znode inspect NAME    state and OCI config, as JSON\n"
	"       znode stop NAME       stop it until it is started or the node\n"
	"                             boots; unless-stopped: beyond that\n"
	"       znode start NAME      start it now, whatever it failed on\n"
	"       znode restart NAME    stop it, then start it\n"
	"       znode freeze NAME     freeze it now; a request wakes it\n"
	"       znode sleep NAME      write it to disk; a client wakes it\n"
	"       znode wake NAME       let it run on (also: thaw)\n"
	"       znode devices [-o json]\n"
	"                             serial ports and disks by names that "
	"stay\n"
	"       znode volumes [-o json]\n"
	"                             what outlives containers\n"
	"       znode snapshot VOLUME keep it as it is now, read-only\n"
	"       znode volume-rm VOLUME\n"
	"                             remove it and its snapshots for ever\n"
	"The applications are those of node.json on the ZOOID partition, and\n"
	"those that the hub wants here.\n"
	"Exit status: 0 done, 1 failed, 2 usage.\n";

int client_complain(const char *object, const char *text)
{
	fprintf(stderr, "znode: %s: %s\n", object, text);
	return 1;
}

static int connect_daemon(void)
{
	int fd = ipc_connect("znode");

	if (fd < 0)
		client_complain("znode.sock",
				fd == -ENOENT ? "znode does not run here"
					      : strerror(-fd));
	return fd;
}

static int ask(int sock, struct znode_request *request,
	       struct znode_reply *reply, struct ipc_fds *fds)
{
	int timeout = request->head.verb == ZNODE_APP ||
				      request->head.verb == ZNODE_INSPECT
			      ? ANSWER_MS
			      : WISH_MS;
	int r;

	request->head.size = sizeof(*request);
	r = ipc_call(sock, request, sizeof(*request), NULL, 0, reply,
		     sizeof(*reply), fds, timeout);
	if (r) {
		client_complain("znode.sock", strerror(-r));
		return r;
	}
	reply->text[sizeof(reply->text) - 1] = '\0';
	return reply->error;
}

/* ---------------------------------------------------------------- tables */

int client_rows(struct client_rows *rows)
{
	autoclose int sock = connect_daemon();
	struct znode_reply reply;
	int r = sock < 0 ? sock : 0;

	while (!r) {
		struct znode_request request = { .head.verb = ZNODE_APP,
						 .arg = rows->n };
		void *p = reallocarray(rows->app, rows->n + 1,
				       sizeof(*rows->app));

		if (!p)
			return -ENOMEM;
		rows->app = p;
		r = ask(sock, &request, &reply, NULL);
		if (!r)
			rows->app[rows->n++] = reply.app;
	}
	return r == -ENOENT ? 0 : r;
}

/* "17 s", "12 min", "3 h", "9 d" */
static const char *age(uint64_t since_ms, char text[16])
{
	uint64_t now = clock_boot_ms();
	uint64_t s = now > since_ms ? (now - since_ms) / 1000 : 0;

	if (s < 120)
		snprintf(text, 16, "%llu s", (unsigned long long)s);
	else if (s < 120 * 60)
		snprintf(text, 16, "%llu min", (unsigned long long)s / 60);
	else if (s < 48 * 3600)
		snprintf(text, 16, "%llu h", (unsigned long long)s / 3600);
	else
		snprintf(text, 16, "%llu d", (unsigned long long)s / 86400);
	return text;
}

static void print_ports(const struct znode_app *app, char *text, size_t size)
{
	size_t n = 0;

	text_copy(text, size, "-");
	for (unsigned i = 0; i < app->n_ports && i < ZNODE_PORTS_MAX; i++) {
		int k = snprintf(text + n, size - n, "%s%u:%u%s%s",
				 i ? "," : "", app->port[i].host,
				 app->port[i].container,
				 app->port[i].udp ? "/udp" : "",
				 app->port[i].bound ? "" : "(closed)");

		if (k < 0 || (size_t)k >= size - n)
			return;
		n += (size_t)k;
	}
}

static const char *state_of(const struct znode_app *app)
{
	if (app->stopped && app->state != ZNODE_STOPPING)
		return "stopped";
	return znode_state_name(app->state);
}

static const char *health_of(const struct znode_app *app)
{
	static const char *const names[] = {
		[ZNODE_HEALTH_NONE] = "none",
		[ZNODE_HEALTH_STARTING] = "starting",
		[ZNODE_HEALTHY] = "healthy",
		[ZNODE_UNHEALTHY] = "unhealthy",
	};

	_Static_assert(sizeof(names) / sizeof(*names) == ZNODE_HEALTH_COUNT,
		       "a name for each");
	return app->health < ZNODE_HEALTH_COUNT ? names[app->health] : "none";
}

static const char *source_of(const struct znode_app *app)
{
	return app->from_hub ? "hub" : "local";
}

/* Why it is in a state that a person may not expect. */
static void print_note(const struct znode_app *app)
{
	if (app->health != ZNODE_HEALTH_NONE)
		printf("  %s", health_of(app));
	if (app->why[0])
		printf("  %s", app->why);
	if (app->rests)
		printf("  rests until a client comes");
	if (app->warm)
		printf("  has a checkpoint");
	if (app->extras)
		printf("  and %u more for what it has to do", app->extras);
	if (app->wakes)
		printf("  woken %u times", app->wakes);
	if (app->wake_p50_us)
		printf(", p50 %.2f ms, p99 %.2f ms", app->wake_p50_us / 1e3,
		       app->wake_p99_us / 1e3);
	if (app->reason[0])
		printf("  %s", app->reason);
	if (app->limit[0])
		printf("  %s", app->limit);
	if (app->retry_ms)
		printf(" (again in %.1f s)", app->retry_ms / 1000.0);
}

static void ps_table(const struct client_rows *rows)
{
	printf("%-16s %-6s %-9s %-8s %-20s %8s %9s %7s  %s\n", "NAME", "SOURCE",
	       "STATE", "FOR", "PORTS", "RESTARTS", "CPU", "MB", "CONTAINER");
	for (unsigned i = 0; i < rows->n; i++) {
		const struct znode_app *app = &rows->app[i];
		char since[16], ports[512];

		print_ports(app, ports, sizeof(ports));
		printf("%-16s %-6s %-9s %-8s %-20s %8u %7.1f s %7.1f  %s",
		       app->name, source_of(app), state_of(app),
		       age(app->started_ms && app->state != ZNODE_FROZEN
				   ? app->started_ms
				   : app->since_ms,
			   since),
		       ports, app->restarts, (double)app->cpu_ms / 1e3,
		       (double)app->memory_used / 1e6, app->container);
		print_note(app);
		putchar('\n');
	}
}

/* Whether the image of an application is on this node. */
static const char *image_state(const struct znode_app *app)
{
	if (app->state == ZNODE_PULLING)
		return "pulling";
	return app->digest[0] && app->container[0] ? "here" : "absent";
}

static void images_table(const struct client_rows *rows)
{
	printf("%-16s %-28s %-8s %8s  %s\n", "APPLICATION", "IMAGE", "STATE",
	       "MB", "DIGEST");
	for (unsigned i = 0; i < rows->n; i++) {
		const struct znode_app *app = &rows->app[i];
		char size[16] = "-";

		if (app->image_bytes)
			snprintf(size, sizeof(size), "%.1f",
				 (double)app->image_bytes / 1e6);
		printf("%-16s %-28s %-8s %8s  %s\n", app->name, app->image,
		       image_state(app), size,
		       app->digest[0] ? app->digest : "-");
	}
}

/* ------------------------------------------------------------------ JSON */

static yyjson_mut_val *app_json(yyjson_mut_doc *d, const struct znode_app *app)
{
	yyjson_mut_val *o = yyjson_mut_obj(d), *ports;

	yyjson_mut_obj_add_str(d, o, "name", app->name);
	yyjson_mut_obj_add_str(d, o, "state", znode_state_name(app->state));
	yyjson_mut_obj_add_bool(d, o, "stopped", app->stopped);
	yyjson_mut_obj_add_str(d, o, "source", source_of(app));
	yyjson_mut_obj_add_str(d, o, "container", app->container);
	yyjson_mut_obj_add_str(d, o, "image", app->image);
	yyjson_mut_obj_add_str(d, o, "digest", app->digest);
	yyjson_mut_obj_add_uint(d, o, "pid", app->pid);
	yyjson_mut_obj_add_uint(d, o, "restarts", app->restarts);
	yyjson_mut_obj_add_uint(d, o, "since_ms", app->since_ms);
	yyjson_mut_obj_add_uint(d, o, "started_ms", app->started_ms);
	yyjson_mut_obj_add_uint(d, o, "retry_ms", app->retry_ms);
	yyjson_mut_obj_add_uint(d, o, "memory_bytes", app->memory_bytes);
	yyjson_mut_obj_add_uint(d, o, "memory_used", app->memory_used);
	yyjson_mut_obj_add_uint(d, o, "cpu_ms", app->cpu_ms);
	yyjson_mut_obj_add_uint(d, o, "image_bytes", app->image_bytes);
	yyjson_mut_obj_add_str(d, o, "health", health_of(app));
	yyjson_mut_obj_add_bool(d, o, "reactive", app->reactive);
	yyjson_mut_obj_add_bool(d, o, "rests", app->rests);
	yyjson_mut_obj_add_bool(d, o, "warm", app->warm);
	yyjson_mut_obj_add_uint(d, o, "extras", app->extras);
	yyjson_mut_obj_add_str(d, o, "why", app->why);
	yyjson_mut_obj_add_uint(d, o, "wakes", app->wakes);
	yyjson_mut_obj_add_uint(d, o, "wake_p50_us", app->wake_p50_us);
	yyjson_mut_obj_add_uint(d, o, "wake_p99_us", app->wake_p99_us);
	yyjson_mut_obj_add_str(d, o, "reason", app->reason);
	yyjson_mut_obj_add_str(d, o, "limit", app->limit);
	ports = yyjson_mut_obj_add_arr(d, o, "ports");
	for (unsigned i = 0; i < app->n_ports && i < ZNODE_PORTS_MAX; i++) {
		yyjson_mut_val *p = yyjson_mut_arr_add_obj(d, ports);

		yyjson_mut_obj_add_uint(d, p, "host", app->port[i].host);
		yyjson_mut_obj_add_uint(d, p, "container",
					app->port[i].container);
		if (app->port[i].udp)
			yyjson_mut_obj_add_str(d, p, "protocol", "udp");
		yyjson_mut_obj_add_bool(d, p, "bound", app->port[i].bound);
	}
	return o;
}

static int print_json(yyjson_mut_doc *d)
{
	autofree char *text =
		yyjson_mut_write(d, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL);

	if (!text)
		return client_complain("json", "out of memory");
	puts(text);
	return 0;
}

static int rows_json(const struct client_rows *rows)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *list = yyjson_mut_arr(d);
	int status;

	yyjson_mut_doc_set_root(d, list);
	for (unsigned i = 0; i < rows->n; i++)
		yyjson_mut_arr_append(list, app_json(d, &rows->app[i]));
	status = print_json(d);
	yyjson_mut_doc_free(d);
	return status;
}

static int show(int argc, char **argv,
		void (*table)(const struct client_rows *))
{
	enum output output = OUTPUT_TABLE;
	struct client_rows rows = { 0 };
	int status = 0;

	if (argc == 3 && strcmp(argv[1], "-o") == 0 &&
	    strcmp(argv[2], "json") == 0)
		output = OUTPUT_JSON;
	else if (argc != 1) {
		return 2;
	}
	if (client_rows(&rows))
		status = 1;
	else if (output == OUTPUT_JSON)
		status = rows_json(&rows);
	else
		table(&rows);
	free(rows.app);
	return status;
}

static int verb_ps(int argc, char **argv)
{
	return show(argc, argv, ps_table);
}

static int verb_images(int argc, char **argv)
{
	return show(argc, argv, images_table);
}

/* ----------------------------------------------------------------- verbs */

int client_ask(uint32_t verb, const char *name, struct znode_reply *reply,
	       struct ipc_fds *fds)
{
	autoclose int sock = connect_daemon();
	struct znode_request request = { .head.verb = verb };
	int r;

	if (sock < 0)
		return 1;
	if (text_copy(request.name, sizeof(request.name), name) >=
	    sizeof(request.name))
		return client_complain(name, "no such application");
	r = ask(sock, &request, reply, fds);
	if (r == reply->error && r)
		client_complain(name,
				reply->text[0] ? reply->text : strerror(-r));
	return r ? 1 : 0;
}

static int wish(int argc, char **argv, enum znode_verb verb)
{
	struct znode_reply reply = { 0 };
	int status;

	if (argc != 2) {
		return 2;
	}
	status = client_ask(verb, argv[1], &reply, NULL);
	if (!status)
		printf("%s %s\n", reply.app.name, state_of(&reply.app));
	return status;
}

static int verb_stop(int argc, char **argv)
{
	return wish(argc, argv, ZNODE_STOP);
}

static int verb_start(int argc, char **argv)
{
	return wish(argc, argv, ZNODE_START);
}

static int verb_restart(int argc, char **argv)
{
	return wish(argc, argv, ZNODE_RESTART);
}

static int verb_freeze(int argc, char **argv)
{
	return wish(argc, argv, ZNODE_FREEZE);
}

static int verb_thaw(int argc, char **argv)
{
	return wish(argc, argv, ZNODE_THAW);
}

static int verb_sleep(int argc, char **argv)
{
	return wish(argc, argv, ZNODE_SLEEP);
}

/* The state, with the config as its member. */
static int inspect_print(const struct znode_app *app, const char *config,
			 size_t size)
{
	yyjson_doc *parsed = yyjson_read(config, size, 0);
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = app_json(d, app);
	int status;

	yyjson_mut_doc_set_root(d, root);
	yyjson_mut_obj_add_val(
		d, root, "config",
		yyjson_val_mut_copy(d, yyjson_doc_get_root(parsed)));
	status = print_json(d);
	yyjson_mut_doc_free(d);
	yyjson_doc_free(parsed);
	return status;
}

static int verb_inspect(int argc, char **argv)
{
	struct znode_reply reply = { 0 };
	struct ipc_fds fds = { 0 };
	autofree char *config = NULL;
	size_t size;
	int status, r;

	if (argc != 2) {
		return 2;
	}
	status = client_ask(ZNODE_INSPECT, argv[1], &reply, &fds);
	if (status)
		return status;
	r = memfd_read(ipc_fds_take(&fds, 0), CONFIG_MAX_BYTES, &config, &size);
	ipc_fds_close(&fds);
	return r ? client_complain(argv[1], strerror(-r))
		 : inspect_print(&reply.app, config, size);
}

static int verb_help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fputs(usage, stdout);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{ "ps", verb_ps },
	{ "images", verb_images },
	{ "inspect", verb_inspect },
	{ "react", client_react },
	{ "stop", verb_stop },
	{ "start", verb_start },
	{ "restart", verb_restart },
	{ "freeze", verb_freeze },
	{ "thaw", verb_thaw },
	{ "sleep", verb_sleep },
	{ "wake", verb_thaw },
	{ "top", client_top },
	{ "net", client_net },
	{ "logs", client_logs },
	{ "exec", client_exec },
	{ "devices", client_devices },
	{ "volumes", client_volumes },
	{ "snapshot", client_snapshot },
	{ "volume-rm", client_volume_remove },
	{ "help", verb_help },
	{ "--help", verb_help },
	{ "-h", verb_help },
};

/* What was printed and did not get out is a failure, whatever was done. */
static int output_end(int status)
{
	int err = output_flush();

	return err < 0 ? client_complain("standard output", strerror(-err))
		       : status;
}

int client_main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[0], verbs[i].name) == 0) {
			int status = verbs[i].run(argc, argv);

			if (status == 2)
				fputs(usage, stderr);
			return output_end(status);
		}
	fputs(usage, stderr);
	return 2;
}
