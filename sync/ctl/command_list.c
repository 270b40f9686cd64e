/* The commands that only show one list of the hub. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ask.h"
#include "base/log.h"
#include "base/span.h"
#include "show.h"
#include "table.h"

struct listing {
	const char *path, *key, *titles;
	void (*add)(struct table *t, yyjson_val *row);
};

static int name_compare(const void *a, const void *b)
{
	yyjson_val *const *x = a, *const *y = b;

	return strcmp(text_of(*x, "name"), text_of(*y, "name"));
}

/* The rows as the hub has them, those with a name by it. */
static void rows_show(const struct listing *l, yyjson_val *rows)
{
	yyjson_val **sorted = calloc(yyjson_arr_size(rows) + 1,
				     sizeof(yyjson_val *));
	bool by_name = yyjson_obj_get(yyjson_arr_get_first(rows), "name");
	yyjson_arr_iter iter;
	yyjson_val *row;
	struct table t;
	size_t n = 0;

	if (!sorted)
		return;
	yyjson_arr_iter_init(rows, &iter);
	while ((row = yyjson_arr_iter_next(&iter)))
		sorted[n++] = row;
	if (by_name)
		qsort(sorted, n, sizeof(yyjson_val *), name_compare);
	table_begin(&t, l->titles);
	for (size_t i = 0; i < n; i++)
		l->add(&t, sorted[i]);
	table_print(&t);
	free(sorted);
}

static int list(const struct ctl *ctl, const struct listing *l)
{
	struct ask ask = { 0 };
	yyjson_doc *doc = NULL;
	yyjson_val *rows;
	int code = ask_open(&ask, ctl);

	if (!code)
		code = ask_list(&ask, l->path, l->key, &doc, &rows);
	if (!code && ctl->json)
		code = show_json(yyjson_doc_get_root(doc));
	else if (!code)
		rows_show(l, rows);
	yyjson_doc_free(doc);
	ask_close(&ask);
	return code;
}

static void text_add(struct table *t, const char *text)
{
	table_add(t, "%s", text[0] ? text : "-");
}

static void since_add(struct table *t, yyjson_val *at)
{
	int64_t then = time_read(at), age = (int64_t)time(NULL) - then;
	char text[SHOW_SIZE];

	table_add(t, "%s", show_age(then < 0 ? -1 : age < 0 ? 0 : age, text));
}

/* ---- nodes ---- */

/* "site=a,rack=3". */
static void labels_add(struct table *t, yyjson_val *labels)
{
	char text[256] = "";
	size_t used = 0;
	yyjson_obj_iter iter;
	yyjson_val *key;

	yyjson_obj_iter_init(labels, &iter);
	while ((key = yyjson_obj_iter_next(&iter)) && used < sizeof(text)) {
		const char *value =
			yyjson_get_str(yyjson_obj_iter_get_val(key));

		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "%s%s=%s", used ? "," : "",
					 yyjson_get_str(key),
					 value ? value : "");
	}
	text_add(t, text);
}

/* Whether it has what was last wanted of it. */
static const char *progress(yyjson_val *row)
{
	yyjson_val *want = yyjson_obj_get(row, "desired");
	yyjson_val *have = yyjson_obj_get(row, "acknowledged");

	if (!want)
		return "-";
	return have && yyjson_equals(want, have) ? "yes" : "no";
}

static void node_add(struct table *t, yyjson_val *row)
{
	const char *state = text_of(row, "state");
	char age[SHOW_SIZE];

	table_add(t, "%s", text_of(row, "name"));
	table_add(t, "%s", state);
	table_color(t, !strcmp(state, "ready")	   ? COLOR_GOOD
		       : !strcmp(state, "revoked") ? COLOR_BAD
						   : COLOR_DOUBT);
	table_add(t, "%s", show_age(number_of(row, "silent_s", -1), age));
	table_add(t, "%s", progress(row));
	text_add(t, text_of(row, "place"));
	text_add(t, text_of(row, "board"));
	labels_add(t, yyjson_obj_get(row, "labels"));
	table_add(t, "%s", text_of(row, "id"));
}

int command_nodes(struct ctl *ctl)
{
	return list(ctl,
		    &(struct listing){
			    "/v1/nodes", "nodes",
			    "NAME STATE >SEEN CURRENT PLACE BOARD LABELS ID",
			    node_add });
}

/* ---- images ---- */

static void image_add(struct table *t, yyjson_val *row)
{
	char size[SHOW_SIZE];

	table_add(t, "hub/%s", text_of(row, "repository"));
	table_add(t, "%s", text_of(row, "tag"));
	table_add(t, "%.19s", text_of(row, "digest"));
	table_add(t, "%s",
		  show_bytes((uint64_t)number_of(row, "size", 0), size));
	since_add(t, yyjson_obj_get(row, "pushed"));
}

int command_images(struct ctl *ctl)
{
	return list(ctl, &(struct listing){ "/v1/images", "images",
					    "NAME TAG DIGEST >SIZE >PUSHED",
					    image_add });
}

/* ---- tokens ---- */

static void token_add(struct table *t, yyjson_val *row)
{
	int64_t left = number_of(row, "expires", 0) - (int64_t)time(NULL);
	char text[SHOW_SIZE];

	table_add(t, "%s", text_of(row, "id"));
	table_add(t, "%s", text_of(row, "kind"));
	table_add(t, "%lld", (long long)number_of(row, "uses", 0));
	table_add(t, "%s", left > 0 ? show_age(left, text) : "expired");
	text_add(t, text_of(row, "place"));
	labels_add(t, yyjson_obj_get(row, "labels"));
	table_add(t, "%s", text_of(row, "by"));
}

int command_token_ls(struct ctl *ctl)
{
	return list(ctl,
		    &(struct listing){ "/v1/tokens", "tokens",
				       "ID KIND >USES >EXPIRES PLACE LABELS BY",
				       token_add });
}

/* ---- applications ---- */

/* The strings of an array, or the names of its objects: "a,b". */
static void names_add(struct table *t, yyjson_val *array)
{
	char text[256] = "";
	size_t used = 0;
	yyjson_arr_iter iter;
	yyjson_val *v;

	yyjson_arr_iter_init(array, &iter);
	while ((v = yyjson_arr_iter_next(&iter)) && used < sizeof(text))
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "%s%s", used ? "," : "",
					 yyjson_is_str(v) ? yyjson_get_str(v)
							  : text_of(v, "name"));
	text_add(t, text);
}

static void application_add(struct table *t, yyjson_val *row)
{
	table_add(t, "%s", text_of(row, "name"));
	names_add(t, yyjson_obj_get(row, "nodes"));
	names_add(t, yyjson_obj_get(row, "apps"));
	since_add(t, yyjson_obj_get(row, "at"));
	table_add(t, "%s", text_of(row, "by"));
}

/* One application: the file it came from, or all that the hub keeps. */
static int application_show(const struct ctl *ctl)
{
	char path[256] = "/v1/apps/";
	struct ask ask = { 0 };
	yyjson_doc *doc = NULL;
	int code = ask_open(&ask, ctl);

	ask_path_add(path, sizeof(path), ctl->argv[0]);
	if (!code)
		code = ask_json(&ask,
				&(struct ask_request){ .method = "GET",
						       .path = path,
						       .object = ctl->argv[0] },
				&doc);
	if (!code && ctl->json)
		code = show_json(yyjson_doc_get_root(doc));
	else if (!code)
		fputs(text_of(yyjson_doc_get_root(doc), "source"), stdout);
	yyjson_doc_free(doc);
	ask_close(&ask);
	return code;
}

int command_apps(struct ctl *ctl)
{
	if (ctl->argc)
		return application_show(ctl);
	return list(ctl,
		    &(struct listing){ "/v1/apps", "apps",
				       "APPLICATION NODES APPS >APPLIED BY",
				       application_add });
}

/* ---- devices ---- */

static void device_add(struct table *t, yyjson_val *row)
{
	text_add(t, text_of(row, "device"));
	text_add(t, text_of(row, "by_id"));
	text_add(t, text_of(row, "by_path"));
}

int command_devices(struct ctl *ctl)
{
	char path[256];
	const struct listing devices = { .path = path,
					 .key = "devices",
					 .titles = "DEVICE BY-ID BY-PATH",
					 .add = device_add };

	if (!id_valid(span_of(ctl->argv[0]))) {
		log_error(ctl->argv[0], "want a node; see zctl nodes");
		return EXIT_USAGE;
	}
	snprintf(path, sizeof(path), "/v1/nodes/%.63s/devices", ctl->argv[0]);
	return list(ctl, &devices);
}
