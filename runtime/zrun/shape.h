/* What of a container can be made before anybody asked for one.
 *
 * The containers of a node are much alike: the same /proc, /dev and /sys, the
 * same masks over them. That part of a config is its shape; mounts that depend
 * on neither the image nor the volumes are made "ahead", in an
 * empty root, and moved into the image's root when a container starts. All
 * else is done "behind".
 *
 * Which is which is decided here alone, by the text of the paths: whatever is
 * not certain to mean the same in the image's root is left behind, and a config
 * whose order of mounts could make a difference has no shape. */
#ifndef ZRUN_SHAPE_H
#define ZRUN_SHAPE_H

#include <string.h>

#include "plan.h"

enum { SHAPE_SIZE_MAX = 8 << 10 };

/* Two configs with the same bytes have the same part ahead. */
struct shape {
	size_t size; /* 0: none */
	char text[SHAPE_SIZE_MAX];
};

/* -ENOTSUP when nothing of the config can be made ahead. */
int shape_of(const struct runtime_config *config, struct shape *shape);

static inline bool shape_same(const struct shape *a, const struct shape *b)
{
	return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

/* Whether its network namespace is to be prepared for an address; which one is
 * not part of the shape. */
bool shape_has_address(const struct runtime_config *config);

/* Keeps of a container's plan what is done ahead. */
void plan_ahead(struct plan *plan, const struct runtime_config *config);
/* Turns it into what is left to do: root is taken from descriptor root, a
 * detached mount, and what was made ahead is moved into it. 0 or -ENOMEM. */
int plan_behind(struct plan *plan, const struct runtime_config *config,
		int root);

#endif
