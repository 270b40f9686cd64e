/* Reading a JSON document into structs, driven by tables of fields.
 *
 * Every value is visited as a struct at, which knows the way back to the top,
 * so that an error names the place: `linux.resources.memory.limit: want an
 * integer`. A struct is described by a table of struct field; an object's
 * unknown keys are skipped (the runtime specification demands it), a known key
 * given twice is refused, null counts as absent.
 *
 * All memory comes from one arena, which also holds the text and the tree, so
 * strings are used in place and one call frees everything. */
#ifndef OCI_RUNTIME_JSON_H
#define OCI_RUNTIME_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <yyjson.h>

struct text_list {
	const char **item; /* item[n] is NULL */
	size_t n;
};

struct text_pair {
	const char *key, *value;
};

struct text_map {
	struct text_pair *item;
	size_t n;
};

/* The value of the first pair with that key; NULL when there is none. */
const char *text_map_find(const struct text_map *map, const char *key);

struct u32_list {
	uint32_t *item;
	size_t n;
};

/* A number that may be absent. */
struct maybe_i64 {
	bool set;
	int64_t value;
};

struct maybe_u64 {
	bool set;
	uint64_t value;
};

struct maybe_u32 {
	bool set;
	uint32_t value;
};

/* Address space set aside in one mapping; pages are only used when touched. */
struct arena {
	char *base;
	size_t size, used;
};

#define JSON_WARNINGS_MAX 16

struct json_read {
	struct arena arena;
	char *error;
	size_t error_size;
	char *warning[JSON_WARNINGS_MAX]; /* in the arena */
	size_t n_warning;
};

struct at {
	yyjson_val *val;
	const struct at *up;
	const char *key; /* NULL in an array */
	size_t index;
};

struct field {
	const char *key;
	int (*read)(struct json_read *in, const struct at *at, void *out);
	size_t offset;
};

/* Parses size bytes of text and sets *top. On success the caller owns
 * in->arena (arena_free). -EINVAL with a line in `error`, -EFBIG above
 * max_bytes, -ENOMEM; nothing is left to free then. */
int runtime_json_open(struct json_read *in, const void *text, size_t size,
		      size_t max_bytes, struct at *top);
/* Zeroed memory, aligned for any type; NULL when the arena is used up, which
 * only a document made for that purpose achieves. */
void *arena_take(struct arena *arena, size_t size);
void arena_free(struct arena *arena);

/* Writes "PATH: message" to in->error; returns -EINVAL. */
__attribute__((format(printf, 3, 4))) int at_error(struct json_read *in,
						   const struct at *at,
						   const char *fmt, ...);

/* Keeps "PATH: message" as a warning; those above JSON_WARNINGS_MAX are lost.
 */
__attribute__((format(printf, 3, 4))) void at_warning(struct json_read *in,
						      const struct at *at,
						      const char *fmt, ...);

/* Fills the struct at `out` from an object. */
int at_object(struct json_read *in, const struct at *at,
	      const struct field *fields, size_t n_fields, void *out);
/* Reads each element of an array into a new array of n structs of size bytes.
 */
int at_array(struct json_read *in, const struct at *at, size_t size,
	     int (*read)(struct json_read *, const struct at *, void *),
	     void *items, size_t *n);

/* The same for the values of an object, whatever their keys. */
int at_map(struct json_read *in, const struct at *at, size_t size,
	   int (*read)(struct json_read *, const struct at *, void *),
	   void *items, size_t *n);

/* Index of the text in names[n]; -1 when at is another text or not one. */
int at_word(const struct at *at, const char *const *names, size_t n);

/* Readers for tables; the type of *out follows the name. */
int at_text(struct json_read *in, const struct at *at, void *out);
int at_path(struct json_read *in, const struct at *at, void *out);
int at_bool(struct json_read *in, const struct at *at, void *out);
int at_u32(struct json_read *in, const struct at *at, void *out);
int at_i64(struct json_read *in, const struct at *at, void *out);
int at_u64(struct json_read *in, const struct at *at, void *out);
int at_maybe_i64(struct json_read *in, const struct at *at, void *out);
int at_maybe_u64(struct json_read *in, const struct at *at, void *out);
int at_maybe_u32(struct json_read *in, const struct at *at, void *out);
int at_text_list(struct json_read *in, const struct at *at, void *out);
int at_text_map(struct json_read *in, const struct at *at, void *out);
int at_u32_list(struct json_read *in, const struct at *at, void *out);

/* For what zrun does not carry out: an error unless the value is empty (false,
 * 0, "", [] or {}), which asks for nothing. */
int at_refuse(struct json_read *in, const struct at *at, void *out);

#endif
