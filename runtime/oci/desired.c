/* Reads the document by tables of its keys. Two blocks of memory hold the texts
 * of it, which together are shorter than the document, and the lists of
 * pointers to them, of which each takes at least three bytes there; arrays of
 * an app have blocks of their own. */
#include "desired.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fd.h"
#include "desired_read.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct desired_block {
	struct desired_block *next;
	max_align_t data[];
};

/* ---- values ---- */

const char *desired_text_keep(struct json_walk *w, struct span a,
			      const struct span *b)
{
	char *kept = desired_reader(w)->text, *p = kept;

	memcpy(p, a.data, a.size);
	p += a.size;
	if (b) {
		*p++ = '=';
		memcpy(p, b->data, b->size);
		p += b->size;
	}
	*p++ = '\0';
	desired_reader(w)->text = p;
	return kept;
}

int desired_text_read(struct json_walk *w, yyjson_val *v, char *out,
		      size_t size)
{
	struct span s;
	int err = json_string(w, v, "want a string", &s);

	if (err < 0)
		return err;
	for (size_t i = 0; i < s.size; i++)
		if (s.data[i] <= ' ' || s.data[i] > '~')
			return json_fail(w, "want text without spaces");
	if (span_copy(out, size, s) < 0)
		return json_fail(w, "want at most %zu bytes", size - 1);
	return 0;
}

int desired_id_read(struct json_walk *w, yyjson_val *v, char out[64])
{
	static const char want[] = "want 1 to 63 of a-z, 0-9 and -";
	struct span s;
	int err = json_string(w, v, want, &s);

	if (err < 0)
		return err;
	return id_valid(s) ? span_copy(out, 64, s)
			   : json_fail_value(w, v, want);
}

int desired_number_read(struct json_walk *w, yyjson_val *v, uint64_t max,
			uint64_t *number)
{
	if (!yyjson_is_raw(v) || span_u64(json_text(v), max, number) < 0)
		return json_fail_value(w, v, "want a whole number in range");
	return 0;
}

int desired_bool_read(struct json_walk *w, yyjson_val *v, bool *value)
{
	if (!yyjson_is_bool(v))
		return json_fail_value(w, v, "want true or false");
	*value = yyjson_get_bool(v);
	return 0;
}

int desired_string_read(struct json_walk *w, yyjson_val *v, const char **text)
{
	struct span s;
	int err = json_string(w, v, "want a string", &s);

	if (err == 0 && !s.size)
		err = json_fail(w, "want a string that is not empty");
	if (err == 0)
		*text = desired_text_keep(w, s, NULL);
	return err;
}

int desired_word_read(struct json_walk *w, yyjson_val *v,
		      const char *const *words, size_t n, const char *want)
{
	struct span s;
	int err = json_string(w, v, want, &s);

	if (err < 0)
		return err;
	for (size_t i = 0; i < n; i++)
		if (span_is(s, words[i]))
			return (int)i;
	return json_fail_value(w, v, want);
}

static int item_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_list *list = into;
	struct span s;
	int err = json_string(w, v, "want a string", &s);

	if (err == 0) {
		*desired_reader(w)->list++ = desired_text_keep(w, s, NULL);
		list->n++;
	}
	return err;
}

static int pair_read(struct json_walk *w, yyjson_val *key, void *into)
{
	struct desired_list *list = into;
	struct span name = json_text(key), value;
	int err;

	if (!name.size || memchr(name.data, '=', name.size) ||
	    memchr(name.data, '\0', name.size))
		return json_fail(w, "want a name without \"=\"");
	/* What it is instead is not told: it may be a secret. */
	if (!yyjson_is_str(yyjson_obj_iter_get_val(key)))
		return json_fail(w, "want a string");
	err = json_string(w, yyjson_obj_iter_get_val(key), "want a string",
			  &value);
	if (err < 0)
		return err;
	for (unsigned i = 0; i < list->n; i++)
		if (!strncmp(list->item[i], name.data, name.size) &&
		    list->item[i][name.size] == '=')
			return json_fail(w, "given twice: want it once");
	*desired_reader(w)->list++ = desired_text_keep(w, name, &value);
	list->n++;
	return 0;
}

static int list_end(struct json_walk *w, struct desired_list *list, int err)
{
	if (err < 0)
		return err;
	*desired_reader(w)->list++ = NULL;
	if (!list->n)
		list->item = NULL;
	return 0;
}

int desired_list_read(struct json_walk *w, yyjson_val *v,
		      struct desired_list *list, size_t max)
{
	list->item = desired_reader(w)->list;
	return list_end(w, list, json_array(w, v, max, item_read, list));
}

int desired_pairs_read(struct json_walk *w, yyjson_val *v,
		       struct desired_list *list, size_t max)
{
	list->item = desired_reader(w)->list;
	return list_end(w, list, json_members(w, v, max, pair_read, list));
}

void *desired_array(struct json_walk *w, size_t n, size_t size)
{
	struct desired *d = desired_reader(w)->desired;
	struct desired_block *block = calloc(1, sizeof(*block) + n * size);

	if (!block) {
		json_fail(w, "out of memory");
		return NULL;
	}
	block->next = d->blocks;
	d->blocks = block;
	return block->data;
}

/* ---- the document ---- */

static int apps_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired *d = into;

	if (yyjson_is_arr(v) && yyjson_arr_size(v) &&
	    yyjson_arr_size(v) <= DESIRED_APPS_MAX) {
		d->app = calloc(yyjson_arr_size(v), sizeof(*d->app));
		if (!d->app)
			return json_fail(w, "out of memory");
	}
	int err = json_array(w, v, DESIRED_APPS_MAX, desired_app_read, into);

	return err < 0 ? err : desired_pods_check(w, d);
}

static int node_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired *d = into;

	return desired_id_read(w, v, d->node);
}

static int name_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired *d = into;

	return desired_id_read(w, v, d->name);
}

static int registry_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired *d = into;

	return desired_id_read(w, v, d->registry);
}

static int epoch_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired *d = into;

	return desired_number_read(w, v, INT64_MAX, &d->epoch);
}

static int revision_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired *d = into;

	return desired_number_read(w, v, INT64_MAX, &d->revision);
}

static int document_read(struct json_walk *w, yyjson_val *root,
			 struct desired *d)
{
	static const struct json_key keys[] = {
		{ "node", node_read, true },
		{ "name", name_read, true },
		{ "epoch", epoch_read, true },
		{ "revision", revision_read, true },
		{ "registry", registry_read, true },
		{ "apps", apps_read, true },
	};

	if (!desired_reader(w)->is_apps)
		return json_object(w, root, keys, ARRAY_SIZE(keys), d);
	w->path_used = text_copy(w->path, sizeof(w->path), "apps");
	return apps_read(w, root, d);
}

static int parse(struct span text, struct desired *d, bool is_apps,
		 char error[DESIRED_ERROR_SIZE])
{
	size_t scratch_size = 16 * text.size + 8192;
	struct desired_reader r = { .desired = d, .is_apps = is_apps };
	struct json_walk w = { .file = is_apps ? "application" : "desired",
			       .text = text,
			       .error = error,
			       .error_size = DESIRED_ERROR_SIZE,
			       .whole = &r };
	autofree void *scratch = NULL;
	yyjson_val *root;
	int err;

	*d = (struct desired){ 0 };
	error[0] = '\0';
	if (text.size > DESIRED_SIZE_MAX) {
		text_copy(error, DESIRED_ERROR_SIZE,
			  "desired: longer than 512 KB");
		return -E2BIG;
	}
	scratch = malloc(scratch_size);
	d->memory[0] = r.text = malloc(text.size + 1);
	/* A string and its comma take three bytes, a list's end too. */
	d->memory[1] = r.list = calloc(text.size / 2 + 2, sizeof(char *));
	if (!scratch || !r.text || !r.list) {
		text_copy(error, DESIRED_ERROR_SIZE, "desired: out of memory");
		desired_free(d);
		return -ENOMEM;
	}
	err = json_open(&w, scratch, scratch_size, &root);
	if (err == 0)
		err = document_read(&w, root, d);
	if (err < 0)
		desired_free(d);
	return err;
}

int desired_parse(struct span text, struct desired *desired,
		  char error[DESIRED_ERROR_SIZE])
{
	return parse(text, desired, false, error);
}

int desired_parse_apps(struct span text, struct desired *desired,
		       char error[DESIRED_ERROR_SIZE])
{
	return parse(text, desired, true, error);
}

void desired_free(struct desired *d)
{
	while (d->blocks) {
		struct desired_block *block = d->blocks;

		d->blocks = block->next;
		free(block);
	}
	free(d->app);
	free(d->memory[0]);
	free(d->memory[1]);
	*d = (struct desired){ 0 };
}
