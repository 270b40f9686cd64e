/* Compose files (compose-spec.io, as far as zctl.1 says) become the apps of
 * PUT /v1/apps/NAME (sync.5).
 *
 * What is not supported is refused by name and line; all that is wrong with a
 * file is said at once, up to COMPOSE_PROBLEMS_MAX lines:
 *	compose.yaml:12: services.web.build: not supported yet
 * Values of the environment are never in such a line. No I/O but by the
 * caller's functions. */
#ifndef CTL_COMPOSE_H
#define CTL_COMPOSE_H

#include <yyjson.h>

#include "base/span.h"

enum {
	COMPOSE_PROBLEMS_MAX = 20,
	COMPOSE_LINE_SIZE = 480,
	COMPOSE_SOURCE_MAX = 256 << 10,
	COMPOSE_FILES_MAX = 32, /* those of extends: too */
};

struct compose_lines {
	unsigned n, more; /* more: those that found no room */
	char line[COMPOSE_PROBLEMS_MAX][COMPOSE_LINE_SIZE];
};

struct compose_file {
	const char *name; /* that lines start with */
	struct span text;
};

struct compose_config {
	/* The value of a variable, or NULL: getenv(3). */
	char *(*variable)(const char *name);
	/* Reads what a file names, a path relative to the first file's folder,
	 * as file_read() does. NULL: nothing can be read. */
	int (*read)(const char *path, size_t max, char **text, size_t *size);
	/* Calls each for every name in the folder at such a path, but . and ..,
	 * in order, until it returns other than 0, and returns that; or
	 * -errno. NULL: there is none. */
	int (*list)(const char *path, int (*each)(const char *name, void *arg),
		    void *arg);
	/* Of variables that the environment lacks: the text of .env. */
	struct span dotenv;
	/* Those that are on, ends with NULL; NULL: none but what the variable
	 * COMPOSE_PROFILES says. */
	const char *const *profile;
	/* What the operator grants (oci/grant.h), ends with NULL; or NULL. */
	const char *const *grant;
};

struct compose {
	char name[64];	      /* what the file calls the application, or "" */
	yyjson_mut_doc *apps; /* its root is the array */
	struct compose_lines problems, notices;
};

/* Reads n files, each over what those before it say. 0, and the caller frees
 * it with compose_end(); -EINVAL with problems (compose_end() is allowed);
 * -ENOMEM. */
int compose_read(const struct compose_file *files, size_t n,
		 const struct compose_config *config, struct compose *compose);
void compose_end(struct compose *compose);

#endif
