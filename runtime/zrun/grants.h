/* What the signed document grants beyond the default (oci/grant.h), as serve
 * learned it from zgrant, never from znode. */
#ifndef ZRUN_GRANTS_H
#define ZRUN_GRANTS_H

#include "fault.h"
#include "oci/runtime_config.h"
#include "policy.h"

struct grants {
	struct policy_grants policy;
	/* private */
	char *text;
	struct grant *device;
};

/* Those of the app that the config names as its service, if `image` is the
 * app's; else none. Free them with grants_free() when the policy was asked. */
void grants_find(const struct runtime_config *config, const char *image,
		 struct grants *grants);
void grants_free(struct grants *grants);

/* Turns the mounts of type "device", which the policy has passed, into devices
 * of the config, with the numbers and the mode that they have on the node now.
 * 0 or -errno with fault set. */
int grants_devices(struct runtime_config *config, struct fault *fault);

#endif
