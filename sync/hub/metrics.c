#define _GNU_SOURCE
#include "metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "api.h"
#include "node.h"
#include "observe.h"
#include "upstream.h"

enum { TEXT_SIZE = 16 << 10 };

struct text {
	size_t used;
	char bytes[TEXT_SIZE];
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t,
						      const char *fmt, ...)
{
	size_t room = sizeof(t->bytes) - t->used;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(t->bytes + t->used, room, fmt, args);
	va_end(args);
	if (n > 0 && (size_t)n < room)
		t->used += (size_t)n;
}

static void add_metric(struct text *t, const char *type, const char *name,
		       const char *help, uint64_t value)
{
	add(t,
	    "# HELP zooid_hub_%s %s\n# TYPE zooid_hub_%s %s\n"
	    "zooid_hub_%s %llu\n",
	    name, help, name, type, name, (unsigned long long)value);
}

static int count_state(void *context, struct node *node)
{
	unsigned *n = context;
	int64_t seen;

	n[node_state(node, &seen)]++;
	return 0;
}

static void add_nodes(struct text *t, struct hub *hub)
{
	unsigned n[NODE_REVOKED + 1] = { 0 };

	nodes_each(hub, count_state, n);
	add(t, "# HELP zooid_hub_nodes Nodes that are enrolled.\n"
	       "# TYPE zooid_hub_nodes gauge\n");
	for (unsigned i = 0; i <= NODE_REVOKED; i++)
		add(t, "zooid_hub_nodes{state=\"%s\"} %u\n",
		    node_state_name((enum node_state)i), n[i]);
}

/* As the nodes told last; the wakes of one that was started anew begin at 0, so
 * that is no counter. */
static void add_apps(struct text *t, struct hub *hub)
{
	struct observe_counts c;

	observe_count(hub, &c);
	add(t, "# HELP zooid_apps Apps of all nodes, by state.\n"
	       "# TYPE zooid_apps gauge\n");
	for (unsigned i = 0; i < ZNODE_STATE_COUNT; i++)
		add(t, "zooid_apps{state=\"%s\"} %llu\n", znode_state_name(i),
		    (unsigned long long)c.apps[i]);
	add_metric(t, "gauge", "apps_extra_instances",
		   "Instances beside the first of an app.", c.extras);
	add_metric(t, "gauge", "apps_wakes",
		   "How often apps were woken, as nodes count.", c.wakes);
	add(t,
	    "# HELP zooid_hub_apps_slowest_wake_p99_seconds Of the app that "
	    "takes longest.\n"
	    "# TYPE zooid_hub_apps_slowest_wake_p99_seconds gauge\n"
	    "zooid_hub_apps_slowest_wake_p99_seconds %.6f\n",
	    (double)c.wake_p99_us / 1e6);
}

static void add_http(struct text *t, const struct http_stats *s)
{
	const struct {
		const char *type, *name, *help;
		uint64_t value;
	} rows[] = {
		{ "gauge", "connections", "Open connections.", s->connections },
		{ "gauge", "requests", "Requests in hand.", s->requests },
		{ "counter", "accepted_total", "Connections accepted.",
		  s->accepted },
		{ "counter", "requests_done_total", "Requests answered.",
		  s->requests_done },
		{ "counter", "refused_limits_total",
		  "Clients that went beyond a limit.", s->refused_limits },
		{ "counter", "refused_floods_total", "Clients that flooded.",
		  s->refused_floods },
		{ "counter", "timed_out_total", "Clients that were too slow.",
		  s->timed_out },
		{ "counter", "received_bytes_total", "Bytes received.",
		  s->bytes_in },
		{ "counter", "sent_bytes_total", "Bytes sent.", s->bytes_out },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		add_metric(t, rows[i].type, rows[i].name, rows[i].help,
			   rows[i].value);
	add(t,
	    "# HELP zooid_hub_handshakes_total TLS handshakes.\n"
	    "# TYPE zooid_hub_handshakes_total counter\n"
	    "zooid_hub_handshakes_total{kind=\"full\"} %llu\n"
	    "zooid_hub_handshakes_total{kind=\"resumed\"} %llu\n"
	    "zooid_hub_handshakes_total{kind=\"failed\"} %llu\n",
	    (unsigned long long)s->handshakes_full,
	    (unsigned long long)s->handshakes_resumed,
	    (unsigned long long)s->handshakes_failed);
}

static void add_store(struct text *t, const struct store_stats *s)
{
	add_metric(t, "counter", "store_changes_total",
		   "Keys of the store that were set or deleted.", s->changes);
	add_metric(t, "counter", "store_notes_total",
		   "Values that nodes told and that were noted.", s->notes);
	add_metric(t, "counter", "store_commits_total",
		   "Transactions, each one fdatasync.", s->commits);
	add_metric(t, "counter", "store_failed_total",
		   "Transactions that the disk did not take.", s->failed);
}

static void add_upstream(struct text *t, const struct upstream_stats *s)
{
	add_metric(t, "counter", "upstream_requests_total",
		   "Questions to other registries.", s->requests);
	add_metric(t, "counter", "upstream_failed_total",
		   "Those that were not answered.", s->failed);
	add_metric(t, "counter", "upstream_bytes_total",
		   "Bytes of blobs that came from other registries.", s->bytes);
	add_metric(t, "counter", "upstream_stale_total",
		   "Tags given as they were known, since nobody answered.",
		   s->served_stale);
}

uint64_t metrics_resident_bytes(const struct hub *hub)
{
	char text[128] = "";
	unsigned long pages = 0;

	if (pread(hub->statm_fd, text, sizeof(text) - 1, 0) > 0)
		sscanf(text, "%*u %lu", &pages);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void add_hub(struct text *t, struct hub *hub)
{
	struct statvfs s;

	add_metric(t, "gauge", "epoch", "Epoch of the store.",
		   store_epoch(hub->store));
	add_metric(t, "gauge", "revision", "Revision of the store.",
		   store_revision(hub->store));
	add_metric(t, "gauge", "resident_memory_bytes",
		   "Resident memory of the hub.", metrics_resident_bytes(hub));
	if (fstatvfs(hub->dir, &s) == 0)
		add_metric(t, "gauge", "disk_free_bytes",
			   "Room on the hub's disk.",
			   (uint64_t)s.f_bavail * s.f_frsize);
}

static bool from_loopback(const struct http_request *request)
{
	return !strncmp(request->remote, "127.", 4) ||
	       !strcmp(request->remote, "::1") ||
	       !strcmp(request->remote, "::ffff:127.0.0.1") ||
	       !request->remote[0];
}

void metrics_request(struct hub *hub, struct http_request *request)
{
	struct api_caller caller;
	struct text *t;

	if (!api_caller(hub, request, false, &caller))
		return;
	if (caller.role != ROLE_OPERATOR && caller.role != ROLE_VIEWER &&
	    !from_loopback(request)) {
		api_refuse(request, 401,
			   "the certificate of an operator or "
			   "viewer is needed");
		return;
	}
	t = calloc(1, sizeof(*t));
	if (!t) {
		api_refuse(request, 503, "out of memory");
		return;
	}
	add_hub(t, hub);
	add_store(t, store_stats(hub->store));
	add_upstream(t, upstream_stats(hub));
	add_nodes(t, hub);
	add_apps(t, hub);
	add_http(t, http_server_stats(hub->server));
	http_reply_bytes(request, 200, "text/plain; version=0.0.4",
			 (struct span){ t->bytes, t->used });
	free(t);
}
