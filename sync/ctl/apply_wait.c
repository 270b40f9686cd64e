/* The hub tells when a state changes (/v1/events); what it is then, and whether
 * it is that of the new document, is asked anew (/v1/ps): the old container of
 * a changed app may still be running. */
#include "apply_wait.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "show.h"

/* That a state is of a newer document is no event, so the hub is asked this
 * often beside. */
enum { ASK_AGAIN_MS = 500, LINE_SIZE = 320 };

struct wait {
	struct ask *ask;
	const char *name;
	bool changed, on_terminal;
	unsigned n_good, n_bad, n_silent, n_open;
	char open[LINE_SIZE];	  /* an app that is on its way */
	char last[2 * LINE_SIZE]; /* what was told last */
};

static bool event_came(void *user, struct span bytes)
{
	struct wait *w = user;

	(void)bytes;
	w->changed = true;
	return true;
}

/* ---- how it stands ---- */

static bool is_good(yyjson_val *row)
{
	const char *state = text_of(row, "state");

	return !strcmp(state, "running") || !strcmp(state, "frozen") ||
	       !strcmp(state, "asleep") ||
	       (!strcmp(state, "image") &&
		yyjson_get_bool(yyjson_obj_get(row, "rests")));
}

/* What is not of the newest document may be the state of the container that is
 * about to go. */
static void row_judge(struct wait *w, yyjson_val *row)
{
	const char *state = text_of(row, "state");
	const char *node = text_of(row, "node");

	if (strcmp(text_of(row, "application"), w->name) != 0)
		return;
	if (strcmp(text_of(row, "node_state"), "ready") != 0) {
		w->n_silent++;
	} else if (!yyjson_get_bool(yyjson_obj_get(row, "current"))) {
		w->n_open++;
		/* Why the one before failed is no news of this one. */
		const char *reason = strcmp(state, "failed")
					     ? text_of(row, "reason")
					     : "";

		snprintf(w->open, LINE_SIZE, "%.63s on %.63s: %.180s",
			 text_of(row, "name"), node,
			 *reason ? reason : "being told");
	} else if (is_good(row)) {
		w->n_good++;
	} else if (!strcmp(state, "failed")) {
		w->n_bad++;
	} else {
		w->n_open++;
		snprintf(w->open, LINE_SIZE, "%.63s on %.63s: %.20s",
			 text_of(row, "name"), node, state);
	}
}

static int judge(struct wait *w)
{
	yyjson_doc *doc = NULL;
	yyjson_val *rows, *row;
	yyjson_arr_iter iter;
	int code;

	w->changed = false;
	code = ask_list(w->ask, "/v1/ps?fresh=0", "rows", &doc, &rows);
	if (code)
		return code;
	w->n_good = w->n_bad = w->n_silent = w->n_open = 0;
	yyjson_arr_iter_init(rows, &iter);
	while ((row = yyjson_arr_iter_next(&iter)))
		row_judge(w, row);
	yyjson_doc_free(doc);
	return EXIT_DONE;
}

/* ---- what is told ---- */

static void progress(struct wait *w)
{
	char line[2 * LINE_SIZE], silent[40] = "";

	if (w->n_silent)
		snprintf(silent, sizeof(silent), ", %u on silent nodes",
			 w->n_silent);
	snprintf(line, sizeof(line), "%s: %u of %u run%s%s%s", w->name,
		 w->n_good, w->n_good + w->n_bad + w->n_open, silent,
		 w->n_open ? "; " : "", w->n_open ? w->open : "");
	if (!strcmp(line, w->last))
		return;
	text_copy(w->last, sizeof(w->last), line);
	if (w->on_terminal)
		fprintf(stderr, "\r\033[K%s%s", line, w->n_open ? "" : "\n");
	else
		fprintf(stderr, "zctl: %s\n", line);
}

static void line_end(const struct wait *w)
{
	if (w->on_terminal && w->n_open)
		fputc('\n', stderr);
}

static int failed_report(struct wait *w)
{
	yyjson_doc *ps = NULL;
	yyjson_val *rows, *row;
	yyjson_arr_iter iter;
	int code = ask_list(w->ask, "/v1/ps?fresh=0", "rows", &ps, &rows);

	if (code)
		return code;
	yyjson_arr_iter_init(rows, &iter);
	while ((row = yyjson_arr_iter_next(&iter)))
		if (!strcmp(text_of(row, "application"), w->name) &&
		    !strcmp(text_of(row, "state"), "failed"))
			log_error(w->name,
				  "%s on %s failed: %s; see zctl "
				  "logs %s/%s",
				  text_of(row, "name"), text_of(row, "node"),
				  text_of(row, "reason"), text_of(row, "node"),
				  text_of(row, "name"));
	yyjson_doc_free(ps);
	return EXIT_FAILED;
}

/* A node that cannot obey says why. */
static void refusals_report(struct wait *w)
{
	yyjson_doc *doc = NULL;
	yyjson_val *nodes, *node;
	yyjson_arr_iter iter;

	if (ask_list(w->ask, "/v1/nodes", "nodes", &doc, &nodes))
		return;
	yyjson_arr_iter_init(nodes, &iter);
	while ((node = yyjson_arr_iter_next(&iter))) {
		const char *why = text_of(yyjson_obj_get(node, "facts"),
					  "document_error");

		if (why[0])
			log_error(text_of(node, "name"),
				  "refuses what is wanted of it: %s", why);
	}
	yyjson_doc_free(doc);
}

/* ---- the wait ---- */

static int settled(struct wait *w)
{
	if (w->n_bad)
		return failed_report(w);
	if (w->n_silent)
		log_warning(w->name,
			    "%u apps are on nodes that are silent: they start "
			    "when those come back",
			    w->n_silent);
	return EXIT_DONE;
}

static int wait_until(struct wait *w, uint64_t deadline_ms)
{
	for (;;) {
		int code = judge(w);
		uint64_t again = clock_ms() + ASK_AGAIN_MS;

		if (code) {
			line_end(w);
			return code;
		}
		progress(w);
		if (!w->n_open)
			return settled(w);
		while (!w->changed && clock_ms() < again &&
		       clock_ms() < deadline_ms && !w->ask->interrupted)
			loop_once(&w->ask->loop, (int)(again - clock_ms() + 1));
		if (w->ask->interrupted) {
			line_end(w);
			return EXIT_INTERRUPTED;
		}
		if (clock_ms() >= deadline_ms) {
			line_end(w);
			refusals_report(w);
			log_error(w->name,
				  "%s: not within the time; it goes "
				  "on without zctl",
				  w->open);
			return EXIT_AGAIN;
		}
	}
}

int apply_wait(struct ask *ask, const struct ctl *ctl, const char *name,
	       yyjson_val *reply)
{
	char path[80];
	struct wait w = { .ask = ask,
			  .name = name,
			  .on_terminal = isatty(STDERR_FILENO) };
	struct ask_stream events = { .path = path,
				     .object = "events",
				     .bytes = event_came,
				     .user = &w };
	struct http_call *call;
	int code;

	if (!ctl->wait_s || (!ctl->has_wait && !isatty(STDOUT_FILENO)))
		return EXIT_DONE;
	snprintf(path, sizeof(path), "/v1/events?since=%lld&watch=1",
		 (long long)number_of(reply, "revision", 0));
	code = ask_stream_start(ask, &events, &call);
	if (code)
		return code;
	code = wait_until(&w, clock_ms() + 1000 * ctl->wait_s);
	if (!events.over)
		http_call_cancel(call);
	return code;
}
