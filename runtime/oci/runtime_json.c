#include "runtime_json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_ALIGN	16
#define ARENA_SPARE_MAX (512 << 10)
/* The smallest element that fills a struct is "{}," and the largest struct it
 * can fill has some 100 bytes; what needs more is not a config. */
#define ARENA_STRUCT_FACTOR 32
#define ARENA_STRUCT_MIN    (64 << 10)

void *arena_take(struct arena *arena, size_t size)
{
	size_t need;

	if (__builtin_add_overflow(size, ARENA_ALIGN - 1, &need))
		return NULL;
	need &= ~(size_t)(ARENA_ALIGN - 1);
	if (need > arena->size - arena->used)
		return NULL;
	void *p = arena->base + arena->used;

	arena->used += need;
	return p;
}

/* The last one that was freed, whose pages are there already: most of what a
 * small document costs is the kernel's work to give them. */
static struct arena spare;

void arena_free(struct arena *arena)
{
	if (arena->base && !spare.base && arena->size <= ARENA_SPARE_MAX) {
		memset(arena->base, 0, arena->used);
		spare = (struct arena){ arena->base, arena->size, 0 };
	} else if (arena->base) {
		munmap(arena->base, arena->size);
	}
	arena->base = NULL;
	arena->size = arena->used = 0;
}

static int arena_reserve(struct arena *arena, size_t size)
{
	if (spare.size >= size) {
		*arena = spare;
		spare = (struct arena){ NULL, 0, 0 };
		return 0;
	}
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	*arena = (struct arena){ .base = p, .size = size };
	return 0;
}

static unsigned line_of(const char *text, size_t pos)
{
	unsigned line = 1;

	for (size_t i = 0; i < pos; i++)
		line += text[i] == '\n';
	return line;
}

int runtime_json_open(struct json_read *in, const void *text, size_t size,
		      size_t max_bytes, struct at *top)
{
	yyjson_read_flag flags = YYJSON_READ_INSITU;
	yyjson_read_err err;
	yyjson_alc pool;

	in->error[0] = '\0';
	if (size > max_bytes) {
		snprintf(in->error, in->error_size,
			 "%zu bytes are more than the %zu allowed", size,
			 max_bytes);
		return -EFBIG;
	}
	size_t pool_size = yyjson_read_max_memory_usage(size, flags);
	size_t total = size + YYJSON_PADDING_SIZE + pool_size +
		       size * ARENA_STRUCT_FACTOR + ARENA_STRUCT_MIN;
	int r = arena_reserve(&in->arena, total);

	if (r < 0) {
		snprintf(in->error, in->error_size, "out of memory");
		return r;
	}
	char *copy = arena_take(&in->arena, size + YYJSON_PADDING_SIZE);

	memcpy(copy, text, size);
	yyjson_alc_pool_init(&pool, arena_take(&in->arena, pool_size),
			     pool_size);
	yyjson_doc *doc = yyjson_read_opts(copy, size, flags, &pool, &err);

	if (!doc) {
		snprintf(in->error, in->error_size, "line %u: %s",
			 line_of(text, err.pos < size ? err.pos : size),
			 err.msg);
		arena_free(&in->arena);
		return -EINVAL;
	}
	*top = (struct at){ .val = yyjson_doc_get_root(doc) };
	return 0;
}

/* Writes the way from the top to `at`, such as "mounts[2].options"; a key that
 * is not plain is shown with '?' for its odd bytes. */
static size_t path_print(const struct at *at, char *out, size_t size)
{
	if (!at->up)
		return 0;
	size_t n = path_print(at->up, out, size);

	if (n >= size)
		return n;
	if (!at->key)
		return n +
		       (size_t)snprintf(out + n, size - n, "[%zu]", at->index);
	size_t start = n;

	n += (size_t)snprintf(out + n, size - n, "%s%.60s", n ? "." : "",
			      at->key);
	for (size_t i = start; i < n && i < size && out[i]; i++) {
		if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
			out[i] = '?';
	}
	return n;
}

static void line_print(char *out, size_t size, const struct at *at,
		       const char *fmt, va_list args)
{
	size_t n = path_print(at, out, size);

	if (n > 0 && n < size)
		n += (size_t)snprintf(out + n, size - n, ": ");
	if (n < size)
		vsnprintf(out + n, size - n, fmt, args);
}

int at_error(struct json_read *in, const struct at *at, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	line_print(in->error, in->error_size, at, fmt, args);
	va_end(args);
	return -EINVAL;
}

void at_warning(struct json_read *in, const struct at *at, const char *fmt, ...)
{
	enum { LINE_SIZE = 160 };
	char *line = arena_take(&in->arena, LINE_SIZE);
	va_list args;

	if (!line || in->n_warning == JSON_WARNINGS_MAX)
		return;
	va_start(args, fmt);
	line_print(line, LINE_SIZE, at, fmt, args);
	va_end(args);
	in->warning[in->n_warning++] = line;
}

static int no_room(struct json_read *in, const struct at *at)
{
	at_error(in, at, "the document is too large");
	return -ENOMEM;
}

static const struct field *field_find(const struct field *fields, size_t n,
				      const char *key, size_t key_size)
{
	for (size_t i = 0; i < n; i++) {
		if (strncmp(fields[i].key, key, key_size) == 0 &&
		    fields[i].key[key_size] == '\0')
			return &fields[i];
	}
	return NULL;
}

int at_object(struct json_read *in, const struct at *at,
	      const struct field *fields, size_t n_fields, void *out)
{
	yyjson_obj_iter iter;
	uint64_t seen = 0;
	yyjson_val *key;

	if (!yyjson_obj_iter_init(at->val, &iter))
		return at_error(in, at, "want an object");
	while ((key = yyjson_obj_iter_next(&iter))) {
		const struct field *f = field_find(fields, n_fields,
						   yyjson_get_str(key),
						   yyjson_get_len(key));
		struct at child = { .val = yyjson_obj_iter_get_val(key),
				    .up = at };

		if (!f)
			continue;
		child.key = f->key;
		uint64_t bit = UINT64_C(1) << (f - fields);

		if (seen & bit)
			return at_error(in, &child, "given twice");
		seen |= bit;
		if (yyjson_is_null(child.val))
			continue;
		int r = f->read(in, &child, (char *)out + f->offset);

		if (r < 0)
			return r;
	}
	return 0;
}

int at_array(struct json_read *in, const struct at *at, size_t size,
	     int (*read)(struct json_read *, const struct at *, void *),
	     void *items, size_t *n)
{
	size_t count = yyjson_arr_size(at->val), bytes;
	yyjson_arr_iter iter;

	if (!yyjson_arr_iter_init(at->val, &iter))
		return at_error(in, at, "want an array");
	/* One zeroed element more, so that a list of strings ends in NULL. */
	if (__builtin_mul_overflow(count + 1, size, &bytes))
		return no_room(in, at);
	char *base = arena_take(&in->arena, bytes);

	if (!base)
		return no_room(in, at);
	for (size_t i = 0; i < count; i++) {
		struct at child = { .val = yyjson_arr_iter_next(&iter),
				    .up = at,
				    .index = i };
		int r = read(in, &child, base + i * size);

		if (r < 0)
			return r;
	}
	*(void **)items = base;
	*n = count;
	return 0;
}

int at_map(struct json_read *in, const struct at *at, size_t size,
	   int (*read)(struct json_read *, const struct at *, void *),
	   void *items, size_t *n)
{
	yyjson_obj_iter iter;
	yyjson_val *key;
	size_t bytes;

	if (!yyjson_obj_iter_init(at->val, &iter))
		return at_error(in, at, "want an object");
	if (__builtin_mul_overflow(yyjson_obj_size(at->val), size, &bytes))
		return no_room(in, at);
	char *base = arena_take(&in->arena, bytes);

	if (!base)
		return no_room(in, at);
	for (*n = 0; (key = yyjson_obj_iter_next(&iter)); ++*n) {
		struct at child = { .val = yyjson_obj_iter_get_val(key),
				    .up = at,
				    .key = yyjson_get_str(key) };

		if (strlen(child.key) != yyjson_get_len(key))
			return at_error(in, at, "holds an odd key");
		int r = read(in, &child, base + *n * size);

		if (r < 0)
			return r;
	}
	*(void **)items = base;
	return 0;
}

int at_word(const struct at *at, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (yyjson_equals_str(at->val, names[i]))
			return (int)i;
	}
	return -1;
}

int at_text(struct json_read *in, const struct at *at, void *out)
{
	const char *text = yyjson_get_str(at->val);

	if (!text)
		return at_error(in, at, "want a string");
	/* "\u0000" would cut the string short for every system call. */
	if (strlen(text) != yyjson_get_len(at->val))
		return at_error(in, at, "holds a NUL byte");
	*(const char **)out = text;
	return 0;
}

int at_path(struct json_read *in, const struct at *at, void *out)
{
	int r = at_text(in, at, out);

	if (r < 0)
		return r;
	const char *path = *(const char **)out;

	if (path[0] != '/')
		return at_error(in, at, "\"%.80s\" is not an absolute path",
				path);
	if (strlen(path) >= 4096)
		return at_error(in, at, "longer than 4095 bytes");
	return 0;
}

int at_bool(struct json_read *in, const struct at *at, void *out)
{
	if (!yyjson_is_bool(at->val))
		return at_error(in, at, "want true or false");
	*(bool *)out = yyjson_get_bool(at->val);
	return 0;
}

int at_u64(struct json_read *in, const struct at *at, void *out)
{
	if (!yyjson_is_uint(at->val))
		return at_error(in, at, "want an integer from 0");
	*(uint64_t *)out = yyjson_get_uint(at->val);
	return 0;
}

int at_u32(struct json_read *in, const struct at *at, void *out)
{
	if (!yyjson_is_uint(at->val) || yyjson_get_uint(at->val) > UINT32_MAX)
		return at_error(in, at, "want an integer from 0 to 4294967295");
	*(uint32_t *)out = (uint32_t)yyjson_get_uint(at->val);
	return 0;
}

int at_i64(struct json_read *in, const struct at *at, void *out)
{
	if (!yyjson_is_int(at->val) ||
	    (yyjson_is_uint(at->val) && yyjson_get_uint(at->val) > INT64_MAX))
		return at_error(in, at, "want an integer");
	*(int64_t *)out = yyjson_get_sint(at->val);
	return 0;
}

int at_maybe_i64(struct json_read *in, const struct at *at, void *out)
{
	struct maybe_i64 *m = out;

	m->set = true;
	return at_i64(in, at, &m->value);
}

int at_maybe_u64(struct json_read *in, const struct at *at, void *out)
{
	struct maybe_u64 *m = out;

	m->set = true;
	return at_u64(in, at, &m->value);
}

int at_maybe_u32(struct json_read *in, const struct at *at, void *out)
{
	struct maybe_u32 *m = out;

	m->set = true;
	return at_u32(in, at, &m->value);
}

int at_text_list(struct json_read *in, const struct at *at, void *out)
{
	struct text_list *list = out;

	return at_array(in, at, sizeof(*list->item), at_text, &list->item,
			&list->n);
}

int at_u32_list(struct json_read *in, const struct at *at, void *out)
{
	struct u32_list *list = out;

	return at_array(in, at, sizeof(*list->item), at_u32, &list->item,
			&list->n);
}

const char *text_map_find(const struct text_map *map, const char *key)
{
	for (size_t i = 0; i < map->n; i++) {
		if (strcmp(map->item[i].key, key) == 0)
			return map->item[i].value;
	}
	return NULL;
}

int at_text_map(struct json_read *in, const struct at *at, void *out)
{
	struct text_map *map = out;
	yyjson_obj_iter iter;
	yyjson_val *key;

	if (!yyjson_obj_iter_init(at->val, &iter))
		return at_error(in, at, "want an object of strings");
	map->item = arena_take(&in->arena,
			       yyjson_obj_size(at->val) * sizeof(*map->item));
	if (!map->item)
		return no_room(in, at);
	while ((key = yyjson_obj_iter_next(&iter))) {
		struct at child = { .val = yyjson_obj_iter_get_val(key),
				    .up = at,
				    .key = yyjson_get_str(key) };
		struct text_pair *pair = &map->item[map->n];

		pair->key = child.key;
		if (pair->key[0] == '\0' ||
		    strlen(pair->key) != yyjson_get_len(key))
			return at_error(in, at, "holds an empty or odd key");
		int r = at_text(in, &child, &pair->value);

		if (r < 0)
			return r;
		map->n++;
	}
	return 0;
}

static bool asks_nothing(yyjson_val *val)
{
	if (yyjson_is_bool(val))
		return !yyjson_get_bool(val);
	if (yyjson_is_uint(val))
		return yyjson_get_uint(val) == 0;
	if (yyjson_is_str(val))
		return yyjson_get_len(val) == 0;
	return yyjson_is_ctn(val) && yyjson_get_len(val) == 0;
}

int at_refuse(struct json_read *in, const struct at *at, void *out)
{
	(void)out;
	if (asks_nothing(at->val))
		return 0;
	return at_error(in, at, "not supported by this version of zrun");
}
