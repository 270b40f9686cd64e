/* What the files of the Compose reader share: the place in the file, problems,
 * text with its variables put in. Private to compose*.c. */
#ifndef CTL_COMPOSE_WALK_H
#define CTL_COMPOSE_WALK_H

#include "compose.h"
#include "compose_tree.h"

enum { WALK_PATH_SIZE = 160 };

struct walk {
	struct compose *compose;
	const struct compose_config *config;
	struct compose_arena arena;
	size_t path_used;
	char path[WALK_PATH_SIZE]; /* services.web.ports[1] */
	unsigned n_problems;	   /* so far, told or not */
};

/* Goes one step down; returns what walk_back() takes to undo it. */
size_t walk_key(struct walk *w, const char *key);
size_t walk_item(struct walk *w, unsigned i);
void walk_back(struct walk *w, size_t used);

__attribute__((format(printf, 3, 4))) void walk_fail(struct walk *w,
						     unsigned line,
						     const char *fmt, ...);
__attribute__((format(printf, 3, 4))) void walk_notice(struct walk *w,
						       unsigned line,
						       const char *fmt, ...);

/* A key of a map that is understood. */
struct walk_key {
	const char *name;
	void (*read)(struct walk *w, const struct compose_node *value,
		     void *into);
};

/* Calls read for each member of a map by the n keys of its table. Others are
 * refused: as not supported yet when they are in `others` (ends with NULL). */
void walk_map(struct walk *w, const struct compose_node *map,
	      const struct walk_key *keys, size_t n, const char *const *others,
	      void *into);

/* The text of a scalar with its variables put in; NUL-terminated, lives as
 * long as the walk. NULL after a problem was told: `want` says what should be
 * there instead of a list or a map. */
const char *walk_text(struct walk *w, const struct compose_node *node,
		      const char *want);

/* ---- compose_text.c ---- */

/* The value of a variable, or NULL; also after a problem. */
const char *text_variable(struct walk *w, unsigned line, const char *name);

/* Puts the values of variables into text, as Compose does. NULL after a
 * problem. */
const char *text_interpolate(struct walk *w, unsigned line, struct span text);

/* Splits a command as Compose does into words that live as long as the walk.
 * Their number, or -1 after a problem. */
int text_split(struct walk *w, unsigned line, const char *text,
	       const char **word, unsigned max);

/* ---- compose_service.c ---- */

/* Reads one service into the array of apps. */
void service_read(struct walk *w, const char *name, unsigned line,
		  const struct compose_node *node);

#endif
