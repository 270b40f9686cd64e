/* Other registries, and how this hub may reach them. A name in /v2 whose first
 * part has a dot or a colon, or is "localhost", is of such a one:
 * registry.example/library/nginx, 10.0.0.5:5000/web. */
#ifndef HUB_UPSTREAM_H
#define HUB_UPSTREAM_H

#include "hub.h"
#include "registry/remote.h"

struct upstream;

enum { UPSTREAM_WHY_SIZE = REMOTE_TEXT_SIZE };

/* 0 or -errno after one log line. Before the hub is confined. */
int upstreams_open(struct hub *hub);
/* Once nothing is held. */
void upstreams_close(struct hub *hub);
/* Folders that are read when names are resolved: descriptors in dirs; how many.
 * They stay upstream's. */
size_t upstreams_folders(struct hub *hub, const int **dirs);

/* Whether repo is of another registry, and if so, well-formed. */
bool upstream_named(struct span repo);
bool upstream_repo_valid(struct span repo);

/* Holds the upstream of repo. 0; -EPERM when this hub does not pull from there;
 * -errno. why is one line then. */
int upstream_hold(struct hub *hub, const char *repo, struct upstream **upstream,
		  char why[UPSTREAM_WHY_SIZE]);
struct remote *upstream_remote(struct upstream *upstream);
void upstream_release(struct upstream *upstream);

/* What went on, for /metrics. */
struct upstream_stats {
	uint64_t requests, failed, bytes, served_stale;
};
struct upstream_stats *upstream_stats(struct hub *hub);

#endif
