/* The OCI runtime config of an application: the image's defaults, overridden
 * by what node.json or the document says, with default privileges always:
 * node.json is unsigned, and the document cannot ask for more. */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include "oci/desired.h"
#include "oci/image_config.h"

enum { NODE_CONFIG_ERROR_SIZE = 256 };

struct node_config {
	const struct desired_app *app;
	const struct image_config *image;
	const char *id;	  /* of the container */
	char address[16]; /* "10.64.0.2" */
	uint32_t pod_pid; /* of whom it shares namespaces with */
	/* resolv.conf(5) of the node, for who has its network. */
	const char *name_servers;
	/* By mount; NULL: they are not shown. */
	const char *const *secret;
};

/* Writes the config into a new string that the caller frees. 0; -EINVAL when
 * neither says what to run; -ENOMEM; `error` then holds one line. */
int node_config_write(const struct node_config *config, char **text,
		      size_t *size, char error[NODE_CONFIG_ERROR_SIZE]);

/* The same of the process that probes its health, an OCI process object. */
int node_config_probe(const struct node_config *config, char **text,
		      size_t *size, char error[NODE_CONFIG_ERROR_SIZE]);

/* The number of signal name "SIGTERM", "TERM" or "15"; SIGTERM for "" and for
 * what is no signal. */
int node_signal(const char *name);

#endif
