/* A Compose file (compose-spec.io, the subset of zctl.1) becomes the apps of
 * PUT /v1/apps/NAME (sync.5).
 *
 * What is not supported is refused by name and line; all that is wrong with a
 * file is said at once, up to COMPOSE_PROBLEMS_MAX lines:
 *	compose.yaml:12: services.web.volumes: not supported yet
 * Values of the environment are never in such a line. No I/O. */
#ifndef CTL_COMPOSE_H
#define CTL_COMPOSE_H

#include <yyjson.h>

#include "base/span.h"

enum {
	COMPOSE_PROBLEMS_MAX = 20,
	COMPOSE_LINE_SIZE = 480,
	COMPOSE_SOURCE_MAX = 256 << 10,
};

struct compose_lines {
	unsigned n, more; /* more: those that found no room */
	char line[COMPOSE_PROBLEMS_MAX][COMPOSE_LINE_SIZE];
};

struct compose_config {
	const char *file; /* the name that lines start with */
	/* The value of a variable, or NULL: getenv(3). */
	char *(*variable)(const char *name);
};

struct compose {
	char name[64];	      /* what the file calls the application, or "" */
	yyjson_mut_doc *apps; /* its root is the array */
	struct compose_lines problems, notices;
};

/* Reads the file. 0, and the caller frees it with compose_end(); -EINVAL with
 * problems (compose_end() is allowed); -ENOMEM. */
int compose_read(struct span text, const struct compose_config *config,
		 struct compose *compose);
void compose_end(struct compose *compose);

#endif
