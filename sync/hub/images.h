/* The digests of images of other registries, asked for while a PUT of an
 * application waits. */
#ifndef HUB_IMAGES_H
#define HUB_IMAGES_H

#include "api.h"
#include "oci/desired.h"

/* Gives a digest to every app that has none, all of them of other registries.
 * 0; -EINPROGRESS: the call's handler is called again when they are known;
 * -EINVAL with problem and status; -ENOMEM. Uses call->state and call->gone. */
int images_resolve(struct api_call *call, struct desired *apps,
		   char problem[API_ERROR_SIZE], int *status);

#endif
