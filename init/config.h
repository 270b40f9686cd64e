/* What init's own parts need of node.json, read once by the job `mount-zooid`
 * and kept in memory, in path_run()/config: nobody else parses the file, and
 * nothing of init needs the medium again. */
#ifndef INIT_CONFIG_H
#define INIT_CONFIG_H

#include "base/node_json.h"

struct config {
	char name[64];
	char password[128];	     /* crypt(3) hash, "" when open */
	char error[NODE_ERROR_SIZE]; /* what is wrong with node.json */
	uint32_t n_interface;
	struct node_interface interface[NODE_INTERFACES_MAX];
};

/* The defaults when there is none. */
void config_load(struct config *config);

/* The job: mounts the partition ZOOID read-only, reads node.json, keeps the
 * result and sets the host name. The exit code. */
int zooid_main(int argc, char **argv);

#endif
