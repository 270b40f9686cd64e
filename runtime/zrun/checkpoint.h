/* Checkpoints that containers are started from (ZRUN_CHECKPOINT, ZRUN_RESTORE):
 * what was of a container when it first listened.
 *
 * Each is a directory /data/checkpoints/@NAME, which no container can be named,
 * with criu's images, the writable layer (`layer`) if there is one, and `key`:
 * what it is of. It is put there by a rename once all is on stable storage, so
 * a power cut leaves the one before, or none. Of another key it is of no use:
 * then memory and files, kernel and program would not be of one kind. */
#ifndef ZRUN_CHECKPOINT_H
#define ZRUN_CHECKPOINT_H

#include "fault.h"
#include "start.h"

enum { CHECKPOINT_NAME_SIZE = ZRUN_ID_SIZE + 1 };

#define CHECKPOINT_LAYER "layer"

/* Whether a directory of that name in /data/checkpoints is one, and whole. */
bool checkpoint_is_kept(const char *name);
/* The directory's name for request->path. 0, or -EINVAL with a text. */
int checkpoint_name(const struct asked *asked, struct zrun_reply *reply,
		    char name[static CHECKPOINT_NAME_SIZE]);
/* Removes a directory of that name in /data/checkpoints, whatever lies there.
 */
int checkpoint_remove(const char *name);

/* checkpoint_key.c: what a checkpoint of that image and that sealed config is
 * of, to be freed; NULL without memory or config. A line each:
 *	image sha256:...
 *	config HEX	of all but the address, which is made anew
 *	machine HEX	kernel, processor, and the zrun that wrote it */
char *checkpoint_key(const char *digest, int config);
/* 0 when the checkpoint in that directory is of that key; -ESTALE with which
 * line differs as the fault. */
int checkpoint_key_check(int dir, const char *key, struct fault *fault);
int checkpoint_key_write(int dir, const char *key);

/* checkpoint_layer.c: of the writable layer of container id, where it has one,
 * to the checkpoint in dir; and back. 0 or -errno. */
int checkpoint_layer_keep(int dir, const char *id);
int checkpoint_layer_make(int dir, const char *id);
int checkpoint_layer_remove(int dir);

/* serve_wake.c: what criu has restored for s becomes its container, and goes
 * on. 0 or -errno with the fault set. */
int start_restored(struct start *s);

#endif
