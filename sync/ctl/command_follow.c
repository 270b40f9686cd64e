/* zctl logs and events: what comes line by line, also for as long as it does.
 *
 * The bytes of logs are an application's own. A pipe gets them as they are; a
 * terminal gets no control but colours, tabs and new lines, so that no log can
 * move its cursor or change its title. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ask.h"
#include "base/log.h"
#include "base/span.h"
#include "base/stamp.h"
#include "show.h"

enum { EVENT_LINE_MAX = 16 << 10, LINES_UNSAID = 100, LINES_ALL = 100000 };

/* ---- events ---- */

struct events {
	const struct ctl *ctl;
	char line[EVENT_LINE_MAX];
	size_t used;
	bool too_long;
};

/* Where: node and app, as far as there are any. */
static void place_put(yyjson_val *event, char *out, size_t size)
{
	const char *node = text_of(event, "node"), *app = text_of(event, "app");

	snprintf(out, size, "%s%s%s", node, node[0] && app[0] ? "/" : "", app);
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}

/* A line for a person: "2026-11-23 06:00:00  n1/web  running". */
static void event_show(yyjson_val *event)
{
	int64_t at = time_read(yyjson_obj_get(event, "at"));
	const char *text = text_of(event, "text"), *by = text_of(event, "by");
	time_t then = (time_t)at;
	char when[32] = "-", place[160], what[320];
	struct tm tm;

	if (at >= 0 && localtime_r(&then, &tm))
		strftime(when, sizeof(when), "%F %T", &tm);
	place_put(event, place, sizeof(place));
	snprintf(what, sizeof(what), "%s%s%s%s%s", text_of(event, "what"),
		 text[0] ? ": " : "", text, by[0] ? " by " : "", by);
	for (char *p = what; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	printf("%-8lld %-19s  %-24s %s\n",
	       (long long)number_of(event, "revision", 0), when, place, what);
}

static void event_line(struct events *e)
{
	yyjson_doc *doc;

	if (e->ctl->json) {
		fwrite(e->line, 1, e->used, stdout);
		putchar('\n');
		return;
	}
	doc = yyjson_read(e->line, e->used, 0);
	if (doc)
		event_show(yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
}

static bool events_bytes(void *user, struct span bytes)
{
	struct events *e = user;

	for (size_t i = 0; i < bytes.size; i++) {
		if (bytes.data[i] != '\n') {
			if (e->used < sizeof(e->line))
				e->line[e->used++] = bytes.data[i];
			else
				e->too_long = true;
			continue;
		}
		if (!e->too_long)
			event_line(e);
		e->used = 0;
		e->too_long = false;
	}
	return fflush(stdout) == 0;
}

int command_events(struct ctl *ctl)
{
	struct events *e = calloc(1, sizeof(*e));
	struct ask ask = { 0 };
	char path[80];
	struct ask_stream stream = { .path = path,
				     .object = "events",
				     .bytes = events_bytes,
				     .user = e };
	int code = e ? ask_open(&ask, ctl) : EXIT_FAILED;

	if (!e)
		return code;
	e->ctl = ctl;
	snprintf(path, sizeof(path), "/v1/events?since=%llu%s",
		 (unsigned long long)ctl->since, ctl->follow ? "&watch=1" : "");
	if (!code)
		code = ask_stream(&ask, &stream);
	ask_close(&ask);
	free(e);
	return code;
}

/* ---- logs ---- */

/* Where a byte stands within an escape sequence. */
struct filter {
	bool on;
	enum { FILTER_TEXT, FILTER_ESCAPE, FILTER_COLOR } state;
	char held[32];
	size_t n;
};

/* ESC [ digits and ; m: a colour. All else that begins so is dropped. */
static void filter_escape(struct filter *f, char c)
{
	if (f->state == FILTER_ESCAPE) {
		f->state = c == '[' ? FILTER_COLOR : FILTER_TEXT;
		f->held[f->n++] = c;
		return;
	}
	if (f->n < sizeof(f->held) - 1 &&
	    ((c >= '0' && c <= '9') || c == ';' || c == 'm')) {
		f->held[f->n++] = c;
		if (c != 'm')
			return;
		fwrite(f->held, 1, f->n, stdout);
	}
	f->state = FILTER_TEXT;
}

static void filter_byte(struct filter *f, char c)
{
	if (f->state != FILTER_TEXT) {
		filter_escape(f, c);
	} else if (c == '\033') {
		f->state = FILTER_ESCAPE;
		f->held[0] = c;
		f->n = 1;
	} else if ((unsigned char)c >= ' ' ? c != 0x7f
					   : c == '\n' || c == '\t') {
		putchar(c);
	}
}

static bool logs_bytes(void *user, struct span bytes)
{
	struct filter *f = user;

	if (f->on)
		for (size_t i = 0; i < bytes.size; i++)
			filter_byte(f, bytes.data[i]);
	else
		fwrite(bytes.data, 1, bytes.size, stdout);
	return fflush(stdout) == 0;
}

/* The only node on which the app runs. */
static int node_find(struct ask *ask, const char *app, char node[64])
{
	yyjson_doc *doc;
	yyjson_val *rows, *row;
	yyjson_arr_iter iter;
	unsigned n = 0;
	int code = ask_list(ask, "/v1/ps", "rows", &doc, &rows);

	if (code)
		return code;
	yyjson_arr_iter_init(rows, &iter);
	while ((row = yyjson_arr_iter_next(&iter)))
		if (!strcmp(text_of(row, "name"), app)) {
			text_copy(node, 64, text_of(row, "node"));
			n++;
		}
	yyjson_doc_free(doc);
	if (n == 1)
		return EXIT_DONE;
	if (n)
		log_error(app, "is on %u nodes; say which: NODE/%s", n, app);
	else
		log_error(app, "no app of that name; see zctl ps -a");
	return EXIT_FAILED;
}

/* NODE/APP; of APP alone node is "". */
static int target_read(const char *text, char node[64], char app[64])
{
	struct span rest = span_of(text), first;

	span_cut(&rest, '/', &first);
	if (!id_valid(first) || (rest.data && !id_valid(rest))) {
		log_error(text, "want NODE/APP, or APP");
		return EXIT_USAGE;
	}
	span_copy(app, 64, rest.data ? rest : first);
	span_copy(node, 64, rest.data ? first : (struct span){ "", 0 });
	return EXIT_DONE;
}

/* Who says since when, and not how many, gets all. */
static uint64_t lines_wanted(const struct ctl *ctl)
{
	if (ctl->lines != CTL_LINES_UNSAID)
		return ctl->lines;
	return ctl->since_time ? LINES_ALL : LINES_UNSAID;
}

static int logs(struct ask *ask, const struct ctl *ctl, char node[64],
		const char *app)
{
	char path[400];
	struct filter filter = { .on = isatty(STDOUT_FILENO) };
	struct ask_stream stream = { .path = path,
				     .object = ctl->argv[0],
				     .bytes = logs_bytes,
				     .user = &filter };
	int code = node[0] ? EXIT_DONE : node_find(ask, app, node);

	if (code)
		return code;
	snprintf(path, sizeof(path), "/v1/nodes/%s/logs/%s?lines=%llu%s%s",
		 node, app, (unsigned long long)lines_wanted(ctl),
		 ctl->follow ? "&follow=1" : "",
		 ctl->since_time ? "&since=" : "");
	if (ctl->since_time)
		ask_path_add(path, sizeof(path), ctl->since_time);
	return ask_stream(ask, &stream);
}

/* With the hub, about the app that the first argument names. */
static int target_act(const struct ctl *ctl,
		      int (*act)(struct ask *, const struct ctl *,
				 char node[64], const char *app))
{
	char node[64], app[64];
	struct ask ask = { 0 };
	int code = target_read(ctl->argv[0], node, app);

	if (code)
		return code;
	code = ask_open(&ask, ctl);
	if (!code)
		code = act(&ask, ctl, node, app);
	ask_close(&ask);
	return code;
}

/* The node reads it again, by its own clock. */
int command_logs(struct ctl *ctl)
{
	uint64_t ms;

	if (ctl->since_time &&
	    since_read(span_of(ctl->since_time), (uint64_t)time(NULL) * 1000,
		       &ms) < 0) {
		log_error("--since", "want " SINCE_WANT);
		return EXIT_USAGE;
	}
	return target_act(ctl, logs);
}

/* ---- freeze, thaw, sleep, wake ---- */

static int wish(struct ask *ask, const struct ctl *ctl, char node[64],
		const char *app)
{
	char path[256];
	yyjson_doc *reply = NULL;
	int code = node[0] ? EXIT_DONE : node_find(ask, app, node);

	if (code)
		return code;
	snprintf(path, sizeof(path), "/v1/nodes/%s/wish/%s?verb=%s", node, app,
		 ctl->command->name);
	code = ask_json(ask,
			&(struct ask_request){ .method = "POST",
					       .path = path,
					       .object = ctl->argv[0] },
			&reply);
	if (!code && ctl->json)
		code = show_json(yyjson_doc_get_root(reply));
	else if (!code)
		printf("%s/%s %s\n", node, app,
		       text_of(yyjson_doc_get_root(reply), "state"));
	yyjson_doc_free(reply);
	return code;
}

int command_wish(struct ctl *ctl)
{
	return target_act(ctl, wish);
}
