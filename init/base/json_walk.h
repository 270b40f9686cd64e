/* Walks a JSON file that a person wrote, by tables of its keys; the first
 * mistake ends the walk with one line that names file, line and path:
 *	node.json:12: apps[0].ports[1]: "80:x": want HOST:CONTAINER
 *
 * Rule of use: json_open(), then json_object() on the root with the table of
 * its keys; each key's function reads one value into what its object fills and
 * returns 0 or what json_fail() returned. No heap, no recursion of its own.
 * Private to the readers of such files. */
#ifndef BASE_JSON_WALK_H
#define BASE_JSON_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <yyjson.h>

#include "span.h"

enum { JSON_QUOTE_MAX = 40, JSON_PATH_SIZE = 96 };

struct json_walk {
	const char *file;  /* the name that lines start with */
	struct span text;  /* as written, to count lines in */
	const char *copy;  /* the same bytes, where the tree points into */
	const char *place; /* in copy: what was read last */
	char *error;	   /* the line; error_size bytes */
	size_t error_size;
	void *whole; /* what the file as a whole fills */
	size_t path_used;
	char path[JSON_PATH_SIZE]; /* apps[0].ports[1] */
};

/* Reads one value (of an object by its key, of an array) into *into. */
typedef int (*json_read)(struct json_walk *w, yyjson_val *v, void *into);

struct json_key {
	const char *name;
	json_read read;
	bool required;
};

/* Makes the tree of w->text in the scratch (16 bytes a byte of text plus
 * 4 KB). All fields before path_used but copy and place are set by the caller.
 * 0, or -EINVAL with the line in error. */
int json_open(struct json_walk *w, void *scratch, size_t scratch_size,
	      yyjson_val **root);

/* Writes the one line of error; returns -EINVAL to be passed up. */
__attribute__((format(printf, 2, 3))) int json_fail(struct json_walk *w,
						    const char *fmt, ...);

/* The same for value v: a string is quoted, of others the type is named. */
int json_fail_value(struct json_walk *w, yyjson_val *v, const char *want);

/* Reads object v by the n keys of its table (at most 64): each at most once,
 * none that is not in the table, the required ones all there. */
int json_object(struct json_walk *w, yyjson_val *v, const struct json_key *keys,
		size_t n, void *into);

/* Calls read for each element of array v; at most max of them. */
int json_array(struct json_walk *w, yyjson_val *v, size_t max, json_read read,
	       void *into);

/* Calls read with each key of object v, at most max of them, where the keys
 * are free; the value is yyjson_obj_iter_get_val(key). Duplicates are the
 * callback's to refuse. */
int json_members(struct json_walk *w, yyjson_val *v, size_t max, json_read read,
		 void *into);

/* The text of string v in *s; a string with a NUL byte, which would end early
 * wherever it is used, is refused. `want` says what kind of string. */
int json_string(struct json_walk *w, yyjson_val *v, const char *want,
		struct span *s);

/* The bytes of a string, key or number as written. */
struct span json_text(yyjson_val *v);

/* The line to report from now on is that of v. */
void json_place(struct json_walk *w, yyjson_val *v);

#endif
