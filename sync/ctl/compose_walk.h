/* What the files of the Compose reader share: the place in the file, problems,
 * text with its variables put in. Private to compose*.c.
 *
 * A `line` is a place everywhere: compose_place(). */
#ifndef CTL_COMPOSE_WALK_H
#define CTL_COMPOSE_WALK_H

#include "compose.h"
#include "compose_tree.h"

enum { WALK_PATH_SIZE = 160 };

struct walk_variable {
	const char *name, *value;
};

struct walk {
	struct compose *compose;
	const struct compose_config *config;
	struct compose_arena arena;
	const char *file[COMPOSE_FILES_MAX]; /* names, by number */
	unsigned n_files;
	struct walk_variable *dotenv;
	unsigned n_dotenv;
	const struct compose_node *root;
	struct walk_volume *volumes;	/* compose_name.c */
	struct walk_address *addresses; /* compose_network.c */
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
/* Calls read for each item of a list, or for what is none. */
void walk_list(struct walk *w, const struct compose_node *list,
	       void (*read)(struct walk *w, const struct compose_node *value,
			    void *into),
	       void *into);
/* For a key that changes nothing here. */
void walk_ignore(struct walk *w, const struct compose_node *value, void *into);
/* The value of a key, or NULL; also when map is NULL or none. */
const struct compose_node *walk_member(const struct compose_node *map,
				       const char *key);

/* The text of a scalar with its variables put in; NUL-terminated, lives as
 * long as the walk. NULL after a problem was told: `want` says what should be
 * there instead of a list or a map. */
const char *walk_text(struct walk *w, const struct compose_node *node,
		      const char *want);
/* A copy that lives as long as the walk; NULL after a problem. */
const char *walk_keep(struct walk *w, unsigned line, struct span text);
/* A file that `node` names. NULL after a problem; the caller frees it. */
char *walk_file(struct walk *w, const struct compose_node *node,
		size_t max_bytes);
bool walk_file_exists(struct walk *w, const struct compose_node *node);

/* ---- compose_value.c: values of a kind; false after a problem ---- */

/* Booleans as YAML 1.1 spells them, since Compose takes them. */
bool value_bool(struct walk *w, const struct compose_node *value, bool *is);
bool value_number(struct walk *w, const struct compose_node *value,
		  uint64_t max, uint64_t *number);
/* Bytes, as 64m. */
bool value_bytes(struct walk *w, const struct compose_node *value,
		 uint64_t *bytes);
/* A time as 1m30s; in ms. */
bool value_duration(struct walk *w, const struct compose_node *value,
		    uint64_t *ms);
/* Permissions in octal digits, as 0440. */
bool value_mode(struct walk *w, const struct compose_node *value,
		uint64_t *mode);
/* Thousandths of a decimal number without sign or exponent; `max` is of whole
 * ones. 0 or -EINVAL. */
int value_milli(struct span text, uint64_t max, uint64_t *milli);
/* 0 or -EINVAL. */
int value_bytes_of(const char *text, uint64_t *bytes);

/* ---- compose_text.c ---- */

/* The value of a variable, or NULL; also after a problem. */
const char *text_variable(struct walk *w, unsigned line, const char *name);

/* Puts the values of variables into text, as Compose does. NULL after a
 * problem. */
const char *text_interpolate(struct walk *w, unsigned line, struct span text);

/* Whether it is UTF-8 without a NUL. */
bool text_is_utf8(struct span text);

/* Splits a command as Compose does into words that live as long as the walk.
 * Their number, or -1 after a problem. */
int text_split(struct walk *w, unsigned line, const char *text,
	       const char **word, unsigned max);

/* ---- compose_env.c ---- */

struct env_text {
	struct span text;
	unsigned line; /* that problems are told of */
};

/* Calls each for the lines NAME=VALUE of a file as .env. */
void env_read(struct walk *w, const struct env_text *file,
	      void (*each)(struct walk *w, unsigned line,
			   const struct walk_variable *v, void *into),
	      void *into);

/* ---- compose_merge.c ---- */

/* What `over` says on top of `base`; NULL after a problem. Neither is
 * changed. */
struct compose_node *merge_nodes(struct walk *w,
				 const struct compose_node *base,
				 const struct compose_node *over,
				 const char *key);
/* The service with what it extends; NULL after a problem. */
const struct compose_node *merge_extends(struct walk *w,
					 const struct compose_node *services,
					 const char *name);
/* Makes the tree of one more file. NULL after a problem, and when it is
 * empty. */
struct compose_node *merge_file_read(struct walk *w, const char *name,
				     struct span text);

/* ---- compose_service.c ---- */

struct service_seen;

/* Reads service seen->name into the array of apps. */
void service_read(struct walk *w, struct service_seen *seen,
		  const struct compose_node *node);
/* Whether its profiles are on. */
bool service_is_on(struct walk *w, const struct compose_node *node);

#endif
