/* zctl ps: a row for each app of each node, as the hub knows them now. A node
 * that is silent is never waited for: its rows tell how old they are. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ask.h"
#include "base/log.h"
#include "rows.h"
#include "show.h"

/* Of an app that is not there, not even as an image being pulled. */
static bool is_idle(const char *state)
{
	return !strcmp(state, "absent") || !strcmp(state, "image");
}

bool row_wanted(const struct ctl *ctl, yyjson_val *row)
{
	if (ctl->argc && strcmp(text_of(row, "node"), ctl->argv[0]) != 0)
		return false;
	return ctl->all || !is_idle(text_of(row, "state")) ||
	       yyjson_get_bool(yyjson_obj_get(row, "rests"));
}

static enum table_color color_of(const char *state, bool is_fresh)
{
	if (!is_fresh)
		return COLOR_DOUBT;
	if (!strcmp(state, "running"))
		return COLOR_GOOD;
	return strcmp(state, "failed") ? COLOR_NONE : COLOR_BAD;
}

/* "running"; "running, 4 m ago" when the node is silent. */
static void state_add(struct table *t, yyjson_val *row)
{
	const char *state = text_of(row, "state");
	int64_t silent = number_of(row, "silent_s",
				   number_of(row, "observed_s", -1));
	bool is_fresh = !strcmp(text_of(row, "node_state"), "ready");
	char age[SHOW_SIZE];

	if (is_fresh)
		table_add(t, "%s", state);
	else if (silent >= 0)
		table_add(t, "%s, %s ago", state, show_age(silent, age));
	else
		table_add(t, "%s, node never seen", state);
	table_color(t, color_of(state, is_fresh));
}

static void age_add(struct table *t, yyjson_val *row)
{
	int64_t started = time_read(yyjson_obj_get(row, "started"));
	int64_t age = (int64_t)time(NULL) - started;
	char text[SHOW_SIZE];

	if (started <= 0)
		table_add(t, "-");
	else
		table_add(t, "%s", show_age(age < 0 ? 0 : age, text));
}

static void usage_add(struct table *t, yyjson_val *row)
{
	int64_t cpu = number_of(row, "cpu_ms", -1);
	int64_t memory = number_of(row, "memory_bytes", -1);
	char text[SHOW_SIZE];

	if (cpu < 0)
		table_add(t, "-");
	else
		table_add(t, "%s", show_cpu((uint64_t)cpu, text));
	if (memory < 0)
		table_add(t, "-");
	else
		table_add(t, "%s", show_bytes((uint64_t)memory, text));
	table_add(t, "%lld", (long long)number_of(row, "restarts", 0));
}

/* "8080:80,53:53/udp". */
static void ports_add(struct table *t, yyjson_val *row)
{
	char text[32 * 16 + 1] = "";
	size_t used = 0;
	yyjson_arr_iter iter;
	yyjson_val *port;

	yyjson_arr_iter_init(yyjson_obj_get(row, "ports"), &iter);
	while ((port = yyjson_arr_iter_next(&iter)) &&
	       used + 17 < sizeof(text)) {
		const char *protocol = text_of(port, "protocol");

		used += (size_t)snprintf(
			text + used, sizeof(text) - used, "%s%u:%u%s",
			used ? "," : "", (uint16_t)number_of(port, "host", 0),
			(uint16_t)number_of(port, "container", 0),
			!strcmp(protocol, "udp") ? "/udp" : "");
	}
	table_add(t, "%s", used ? text : "-");
}

void rows_begin(const struct ctl *ctl, struct table *t)
{
	table_begin(t, ctl->all ? "NODE NAME APPLICATION IMAGE STATE >AGE >CPU "
				  ">MEMORY >RESTARTS PORTS CONTAINER REASON"
				: "NODE NAME IMAGE STATE >AGE >CPU >MEMORY "
				  ">RESTARTS REASON");
}

static void text_add(struct table *t, const char *text)
{
	table_add(t, "%s", text[0] ? text : "-");
}

/* The reason that a node gives, or what limit it ran into; of one that follows
 * access why it is awake, or that its next start is from a checkpoint, and how
 * often it was woken. */
static void note_add(struct table *t, yyjson_val *row)
{
	const char *reason = text_of(row, "reason"), *why = text_of(row, "why");
	int64_t wakes = number_of(row, "wakes", 0);
	int64_t extras = number_of(row, "extras", 0);

	if (!why[0] && yyjson_get_bool(yyjson_obj_get(row, "warm")))
		why = "has a checkpoint";
	if (!reason[0])
		reason = text_of(row, "limit");
	if (extras && !reason[0])
		table_add(t, "%s%sand %lld more for what it has to do", why,
			  why[0] ? "; " : "", (long long)extras);
	else if (reason[0] || !wakes)
		table_add(t, "%s", reason[0] ? reason : why);
	else
		table_add(t, "%s%swoken %lld times, p50 %.1f ms, p99 %.1f ms",
			  why, why[0] ? "; " : "", (long long)wakes,
			  (double)number_of(row, "wake_p50_us", 0) / 1e3,
			  (double)number_of(row, "wake_p99_us", 0) / 1e3);
}

static void row_add(const struct ctl *ctl, struct table *t, yyjson_val *row)
{
	table_add(t, "%s", text_of(row, "node"));
	table_add(t, "%s", text_of(row, "name"));
	if (ctl->all)
		text_add(t, text_of(row, "application"));
	text_add(t, text_of(row, "image"));
	state_add(t, row);
	age_add(t, row);
	usage_add(t, row);
	if (ctl->all) {
		ports_add(t, row);
		text_add(t, text_of(row, "container"));
	}
	note_add(t, row);
}

/* By node, then name. */
static int row_compare(const void *a, const void *b)
{
	yyjson_val *const *x = a, *const *y = b;
	int order = strcmp(text_of(*x, "node"), text_of(*y, "node"));

	return order ? order : strcmp(text_of(*x, "name"), text_of(*y, "name"));
}

void rows_add_all(const struct ctl *ctl, struct table *t, yyjson_val *rows)
{
	yyjson_val **wanted = calloc(yyjson_arr_size(rows) + 1,
				     sizeof(yyjson_val *));
	yyjson_arr_iter iter;
	yyjson_val *row;
	size_t n = 0;

	if (!wanted)
		return;
	yyjson_arr_iter_init(rows, &iter);
	while ((row = yyjson_arr_iter_next(&iter)))
		if (row_wanted(ctl, row))
			wanted[n++] = row;
	qsort(wanted, n, sizeof(yyjson_val *), row_compare);
	for (size_t i = 0; i < n; i++)
		row_add(ctl, t, wanted[i]);
	free(wanted);
}

static int rows_json(const struct ctl *ctl, yyjson_val *rows)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list;
	yyjson_arr_iter iter;
	yyjson_val *row;
	int code;

	yyjson_mut_doc_set_root(doc, root);
	list = yyjson_mut_obj_add_arr(doc, root, "rows");
	yyjson_arr_iter_init(rows, &iter);
	while ((row = yyjson_arr_iter_next(&iter)))
		if (row_wanted(ctl, row))
			yyjson_mut_arr_append(list,
					      yyjson_val_mut_copy(doc, row));
	code = show_json_mut(doc);
	yyjson_mut_doc_free(doc);
	return code;
}

static int rows_table(const struct ctl *ctl, yyjson_val *rows)
{
	struct table t;

	rows_begin(ctl, &t);
	rows_add_all(ctl, &t, rows);
	table_print(&t);
	return EXIT_DONE;
}

int rows_node_check(struct ask *ask, const struct ctl *ctl)
{
	yyjson_doc *doc = NULL;
	yyjson_val *nodes, *node;
	yyjson_arr_iter iter;
	bool is_there = false;
	int code = ctl->argc ? ask_list(ask, "/v1/nodes", "nodes", &doc, &nodes)
			     : EXIT_DONE;

	if (code || !ctl->argc)
		return code;
	yyjson_arr_iter_init(nodes, &iter);
	while (!is_there && (node = yyjson_arr_iter_next(&iter)))
		is_there = !strcmp(text_of(node, "name"), ctl->argv[0]);
	yyjson_doc_free(doc);
	if (is_there)
		return EXIT_DONE;
	log_error(ctl->argv[0], "no such node; see zctl nodes");
	return EXIT_FAILED;
}

int command_ps(struct ctl *ctl)
{
	struct ask ask = { 0 };
	yyjson_doc *doc = NULL;
	yyjson_val *rows;
	int code = ask_open(&ask, ctl);

	if (!code)
		code = rows_node_check(&ask, ctl);
	if (!code)
		code = ask_list(&ask, "/v1/ps", "rows", &doc, &rows);
	if (!code)
		code = ctl->json ? rows_json(ctl, rows) : rows_table(ctl, rows);
	yyjson_doc_free(doc);
	ask_close(&ask);
	return code;
}
