/* What the signed document grants beyond the default (oci/grant.h), as serve
 * learned it from zgrant, never from znode. */
#ifndef ZRUN_GRANTS_H
#define ZRUN_GRANTS_H

#include <sys/stat.h>

#include "fault.h"
#include "oci/runtime_config.h"
#include "policy.h"

struct grants {
	struct policy_grants policy;
	/* private */
	char *text;
	struct grant *place;
	bool is_bound;	     /* the document says who has a network */
	bool is_listed;	     /* it has the app, with that image, and */
	struct span network; /* its lines on the network */
	struct span local;   /* those on the applications of node.json */
};

/* Those of the app that the config names as its service, if `image` is the
 * app's; else none. Free them with grants_free() when the policy was asked. */
void grants_find(const struct runtime_config *config, const char *image,
		 struct grants *grants);
void grants_free(struct grants *grants);

/* The app that the config says it is of; "" for none. */
const char *grants_app(const struct runtime_config *config);

/* What wants a network. */
struct network_asked {
	const struct runtime_config *config;
	const char *id, *image, *app;
	const char *joined; /* the container whose network it joins; NULL */
};

/* Refuses a network that is not as the document says (grants_network.c). 0 or
 * -EPERM. */
int grants_network(const struct network_asked *asked,
		   const struct grants *grants, char refusal[POLICY_TEXT_SIZE]);

/* Cuts a line that begins with `word` off the front of what zgrant says: *line
 * is what is behind it. */
bool grants_line(struct span *rest, const char *word, struct span *line);

/* Learns what is signed, where nothing was learned since the machine was
 * started. Before the loop. */
void grants_boot(void);

/* Turns the mounts of type "device", which the policy has passed, into devices
 * of the config, with the numbers and the mode that they have on the node now;
 * who is privileged gets all that the node has, and may use all that it will
 * have. *lines is, in the config's memory, a line of the document for each of
 * those mounts, or NULL. 0 or -errno with fault set. */
int grants_devices(struct runtime_config *config, bool is_privileged,
		   const char **lines, struct fault *fault);

/* By which a container may use the device that is st. */
struct runtime_device_rule device_rule(const struct stat *st, uint8_t access);

#endif
