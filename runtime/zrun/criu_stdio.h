/* Descriptors 0 to 2 of a container that criu(8) saves: pipes lead out of it,
 * and others take their place when it is restored. */
#ifndef ZRUN_CRIU_STDIO_H
#define ZRUN_CRIU_STDIO_H

#include <sys/types.h>

#include "criu.h"

/* Writes down in image_dir which they are of process pid, as runc does: a JSON
 * array of three names in descriptors.json. 0 or -errno. */
int criu_stdio_keep(int image_dir, pid_t pid);

/* Tells `criu restore` that descriptors 0 to 2, as they will be when it is
 * executed, take the place of those that were pipes. */
void criu_stdio_inherit(struct criu_command *command, const char *image_path);

#endif
