/* The root file system of a container of a node: the layers of an image, and a
 * writable layer of its own or none.
 *
 * What serve learned of an image is kept for some of them: the names of its
 * layers, and one read-only mount that all containers with a read-only root
 * share. That mount lies in serve's own mount namespace, since a mount can only
 * be cloned from where it is attached, and goes with serve. */
#ifndef ZRUN_IMAGE_ROOT_H
#define ZRUN_IMAGE_ROOT_H

#include "fault.h"
#include "image/store.h"
#include "oci/runtime_config.h"

/* Before the loop, once path_run() is there. 0 or -errno, logged. */
int image_root_init(void);

/* Learns of image `digest`, unless it is known. -ENOENT ... with fault set.
 * What follows is for an image that was found. */
int image_root_find(const char *digest, struct fault *fault);

/* A detached mount of the image that its containers share. -ENOTSUP when the
 * config wants it writable, or something in it that is not there. */
int image_root_shared(const char *digest, const struct runtime_config *config);

/* A detached mount of the layers with the writable layer of container id,
 * which has been made. */
int image_root_own(const char *digest, const char *id, struct fault *fault);

/* The image is about to be removed. */
void image_root_forget(const char *digest);

/* What that is a mount of, valid until the next call. NULL when others pushed
 * the image out meanwhile and it cannot be found again. */
struct overlay;
const struct overlay *image_root_overlay(const char *digest, const char *id,
					 struct fault *fault);

#endif
