/* How a value finds its line. yyjson keeps no positions, but it unescapes
 * strings in place, and a string only shrinks: the pointer to a string is the
 * place where it starts in the text. Numbers are read as raw text for the same
 * reason. Everything else (an object, true, a key that is missing) is placed
 * at the last string that was met before it, mostly its own key. The tree is
 * made from a copy in the scratch, so that line ends can be counted in a text
 * that has none of its escapes resolved. */
#include "json_walk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* The line of p, a place in the text, counted from 1. */
static unsigned int line_of(struct span text, size_t offset)
{
	unsigned int line = 1;

	for (size_t i = 0; i < offset && i < text.size; i++)
		line += text.data[i] == '\n';
	return line;
}

static bool is_text(yyjson_val *v)
{
	return yyjson_is_str(v) || yyjson_is_raw(v);
}

struct span json_text(yyjson_val *v)
{
	const char *data = yyjson_is_raw(v) ? yyjson_get_raw(v)
					    : yyjson_get_str(v);

	return (struct span){ data, yyjson_get_len(v) };
}

void json_place(struct json_walk *w, yyjson_val *v)
{
	if (is_text(v))
		w->place = json_text(v).data;
}

/* Foreign bytes, cut and without what a terminal would act upon. */
static void quote(char out[JSON_QUOTE_MAX + 4], struct span s)
{
	size_t n = s.size < JSON_QUOTE_MAX ? s.size : JSON_QUOTE_MAX;

	for (size_t i = 0; i < n; i++)
		out[i] = s.data[i] >= ' ' && s.data[i] < 127 ? s.data[i] : '?';
	text_copy(out + n, 4, s.size > n ? "..." : "");
}

int json_fail(struct json_walk *w, const char *fmt, ...)
{
	unsigned int line = line_of(w->text, (size_t)(w->place - w->copy));
	va_list ap;
	int n;

	n = snprintf(w->error, w->error_size, "%s:%u: %s%s", w->file, line,
		     w->path, w->path_used ? ": " : "");
	if (n < 0 || (size_t)n >= w->error_size)
		return -EINVAL;
	va_start(ap, fmt);
	vsnprintf(w->error + n, w->error_size - (size_t)n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int json_fail_value(struct json_walk *w, yyjson_val *v, const char *want)
{
	const char *mark = yyjson_is_str(v) ? "\"" : "";
	char quoted[JSON_QUOTE_MAX + 4];

	if (!is_text(v))
		return json_fail(w, "%s: %s", yyjson_get_type_desc(v), want);
	quote(quoted, json_text(v));
	return json_fail(w, "%s%s%s: %s", mark, quoted, mark, want);
}

/* Lengthens the path; returns the mark that path_pop takes it back to. */
__attribute__((format(printf, 2, 3))) static size_t path_push(
	struct json_walk *w, const char *fmt, ...)
{
	size_t mark = w->path_used, room = sizeof(w->path) - mark;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(w->path + mark, room, fmt, ap);
	va_end(ap);
	w->path_used += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
	return mark;
}

static size_t path_push_key(struct json_walk *w, yyjson_val *key)
{
	char quoted[JSON_QUOTE_MAX + 4];

	quote(quoted, json_text(key));
	return path_push(w, "%s%s", w->path_used ? "." : "", quoted);
}

static void path_pop(struct json_walk *w, size_t mark)
{
	w->path_used = mark;
	w->path[mark] = '\0';
}

static int fail_unknown(struct json_walk *w, const struct json_key *keys,
			size_t n)
{
	char names[120] = "";
	size_t used = 0;

	for (size_t i = 0; i < n && used < sizeof(names); i++)
		used += (size_t)snprintf(names + used, sizeof(names) - used,
					 "%s%s", i ? ", " : "", keys[i].name);
	return json_fail(w, "unknown key: want one of %s", names);
}

/* Reads the value of one key; *seen has a bit for each key met so far. */
static int key_read(struct json_walk *w, yyjson_val *key,
		    const struct json_key *keys, size_t n, uint64_t *seen,
		    void *into)
{
	struct span name = json_text(key);
	size_t i = 0;

	while (i < n && !span_is(name, keys[i].name))
		i++;
	if (i == n)
		return fail_unknown(w, keys, n);
	if (*seen & UINT64_C(1) << i)
		return json_fail(w, "given twice: want it once");
	*seen |= UINT64_C(1) << i;
	json_place(w, yyjson_obj_iter_get_val(key));
	return keys[i].read(w, yyjson_obj_iter_get_val(key), into);
}

int json_object(struct json_walk *w, yyjson_val *v, const struct json_key *keys,
		size_t n, void *into)
{
	const char *first = NULL;
	yyjson_obj_iter iter;
	uint64_t seen = 0;
	yyjson_val *key;

	if (!yyjson_obj_iter_init(v, &iter))
		return json_fail_value(w, v, "want an object {...}");
	while ((key = yyjson_obj_iter_next(&iter))) {
		size_t mark = path_push_key(w, key);
		int error;

		json_place(w, key);
		if (!first)
			first = w->place;
		error = key_read(w, key, keys, n, &seen, into);
		if (error < 0)
			return error;
		path_pop(w, mark);
	}
	if (first)
		w->place = first;
	for (size_t i = 0; i < n; i++) {
		if (keys[i].required && !(seen & UINT64_C(1) << i))
			return json_fail(w, "want the key \"%s\" too",
					 keys[i].name);
	}
	return 0;
}

int json_array(struct json_walk *w, yyjson_val *v, size_t max, json_read read,
	       void *into)
{
	yyjson_arr_iter iter;
	yyjson_val *element;
	size_t i = 0;

	if (!yyjson_arr_iter_init(v, &iter))
		return json_fail_value(w, v, "want an array [...]");
	if (yyjson_arr_size(v) > max)
		return json_fail(w, "%zu elements: want at most %zu",
				 yyjson_arr_size(v), max);
	while ((element = yyjson_arr_iter_next(&iter))) {
		size_t mark = path_push(w, "[%zu]", i++);
		int error;

		json_place(w, element);
		error = read(w, element, into);
		if (error < 0)
			return error;
		path_pop(w, mark);
	}
	return 0;
}

int json_members(struct json_walk *w, yyjson_val *v, size_t max, json_read read,
		 void *into)
{
	yyjson_obj_iter iter;
	yyjson_val *key;

	if (!yyjson_obj_iter_init(v, &iter))
		return json_fail_value(w, v, "want an object {...}");
	if (yyjson_obj_size(v) > max)
		return json_fail(w, "%zu keys: want at most %zu",
				 yyjson_obj_size(v), max);
	while ((key = yyjson_obj_iter_next(&iter))) {
		size_t mark = path_push_key(w, key);
		int error;

		json_place(w, key);
		error = read(w, key, into);
		if (error < 0)
			return error;
		path_pop(w, mark);
	}
	return 0;
}

int json_string(struct json_walk *w, yyjson_val *v, const char *want,
		struct span *s)
{
	if (!yyjson_is_str(v))
		return json_fail_value(w, v, want);
	*s = json_text(v);
	if (memchr(s->data, '\0', s->size))
		return json_fail(w, "holds \\u0000: want text without it");
	return 0;
}

/* What an editor on another system puts before the text. */
static bool has_byte_order_mark(struct span text)
{
	return text.size >= 3 && !memcmp(text.data, "\xef\xbb\xbf", 3);
}

int json_open(struct json_walk *w, void *scratch, size_t scratch_size,
	      yyjson_val **root)
{
	const yyjson_read_flag flags = YYJSON_READ_INSITU |
				       YYJSON_READ_NUMBER_AS_RAW;
	size_t copied = w->text.size + YYJSON_PADDING_SIZE;
	size_t tree = yyjson_read_max_memory_usage(w->text.size, flags);
	yyjson_read_err error = { 0 };
	char *copy = scratch;
	yyjson_alc pool;
	yyjson_doc *doc;

	w->copy = w->place = copy;
	path_pop(w, 0);
	if (copied + tree > scratch_size ||
	    !yyjson_alc_pool_init(&pool, copy + copied, scratch_size - copied))
		return json_fail(w, "%zu bytes of scratch are too few",
				 scratch_size);
	memcpy(copy, w->text.data, w->text.size);
	memset(copy + w->text.size, 0, YYJSON_PADDING_SIZE);
	if (has_byte_order_mark(w->text))
		memset(copy, ' ', 3);
	doc = yyjson_read_opts(copy, w->text.size, flags, &pool, &error);
	if (!doc) {
		w->place = copy + error.pos;
		return json_fail(w, "not JSON: %s", error.msg);
	}
	*root = yyjson_doc_get_root(doc);
	return 0;
}
