/* GET /v1/status: the hub itself, for zhub status. */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "api.h"
#include "base/stamp.h"
#include "handlers.h"
#include "metrics.h"
#include "node.h"

struct counts {
	unsigned n[NODE_REVOKED + 1];
};

static int node_count(void *context, struct node *node)
{
	struct counts *counts = context;
	int64_t seen;

	counts->n[node_state(node, &seen)]++;
	return 0;
}

static void add_nodes(yyjson_mut_doc *doc, yyjson_mut_val *root,
		      struct hub *hub)
{
	yyjson_mut_val *nodes = yyjson_mut_obj_add_obj(doc, root, "nodes");
	struct counts counts = { { 0 } };

	nodes_each(hub, node_count, &counts);
	for (unsigned i = 0; i <= NODE_REVOKED; i++)
		yyjson_mut_obj_add_uint(doc, nodes,
					node_state_name((enum node_state)i),
					counts.n[i]);
}

void status_handle(struct api_call *call)
{
	struct hub *hub = call->hub;
	const struct http_stats *http = http_server_stats(hub->server);
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	char started[STAMP_SIZE];
	struct statvfs disk;

	stamp_make(hub->started, started);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "name", hub->config.name);
	yyjson_mut_obj_add_str(doc, root, "listen", hub->config.listen);
	yyjson_mut_obj_add_str(doc, root, "pin", hub->ca.pin_text);
	yyjson_mut_obj_add_strcpy(doc, root, "started", started);
	yyjson_mut_obj_add_uint(doc, root, "epoch", store_epoch(hub->store));
	yyjson_mut_obj_add_uint(doc, root, "revision",
				store_revision(hub->store));
	add_nodes(doc, root, hub);
	yyjson_mut_obj_add_uint(doc, root, "connections", http->connections);
	yyjson_mut_obj_add_uint(doc, root, "requests", http->requests);
	yyjson_mut_obj_add_uint(doc, root, "resident_bytes",
				metrics_resident_bytes(hub));
	if (fstatvfs(hub->dir, &disk) == 0)
		yyjson_mut_obj_add_uint(doc, root, "disk_free_bytes",
					(uint64_t)disk.f_bavail *
						disk.f_frsize);
	api_reply(call, 200, doc);
}
