/* What a child makes in the container's root before it is one: places to mount
 * on, devices, links. They stay with the root, but not when the container comes
 * to nothing. The child notes them, its parent removes them. */
#ifndef ZRUN_MADE_H
#define ZRUN_MADE_H

enum { MADE_MAX = 32, MADE_PATH_SIZE = 256 };

struct made {
	unsigned n;
	char path[MADE_MAX][MADE_PATH_SIZE]; /* from the root */
};

/* For the child. made may be NULL; what there is no room for is not noted. */
void made_note(struct made *made, const char *path);
/* Once the child is gone: the last first, and nothing that is in use since.
 * Others may change the root meanwhile; it is never left. */
void made_remove(struct made *made, const char *rootfs);

#endif
