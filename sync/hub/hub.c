#define _GNU_SOURCE
#include "hub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/stamp.h"

bool limit_take(struct limit *limit)
{
	uint64_t now = clock_ms(), full = (uint64_t)limit->burst * 1000;

	if (!limit->at_ms)
		limit->have_milli = full;
	limit->have_milli += (now - limit->at_ms) * limit->rate;
	limit->at_ms = now;
	if (limit->have_milli > full)
		limit->have_milli = full;
	if (limit->have_milli < 1000)
		return false;
	limit->have_milli -= 1000;
	return true;
}

int member_text(yyjson_val *object, const char *key, char *out, size_t size)
{
	yyjson_val *v = yyjson_obj_get(object, key);
	struct span s;

	out[0] = '\0';
	if (!v || yyjson_is_null(v))
		return 0;
	if (!yyjson_is_str(v))
		return -EINVAL;
	s = (struct span){ yyjson_get_str(v), yyjson_get_len(v) };
	return span_copy(out, size, s);
}

uint64_t member_u64(yyjson_val *object, const char *key, uint64_t otherwise)
{
	yyjson_val *v = yyjson_obj_get(object, key);

	return yyjson_is_uint(v) ? yyjson_get_uint(v) : otherwise;
}

yyjson_doc *stored_document(struct store *store, const char *key)
{
	autofree char *text = NULL;
	size_t size;

	if (store_get(store, key, &text, &size, NULL) < 0)
		return NULL;
	return yyjson_read(text, size, 0);
}

int stored_put(struct store *store, const char *key, yyjson_mut_doc *doc,
	       uint64_t if_revision)
{
	size_t size = 0;
	autofree char *text = yyjson_mut_write(doc, 0, &size);

	yyjson_mut_doc_free(doc);
	if (!text)
		return -ENOMEM;
	return store_put(store, key, (struct span){ text, size }, if_revision,
			 NULL);
}

/* ---- events ---- */

static void add_text(yyjson_mut_doc *doc, yyjson_mut_val *object,
		     const char *key, const char *text)
{
	if (text && text[0])
		yyjson_mut_obj_add_strcpy(doc, object, key, text);
}

/* A line of the log, which must not tell what a full disk takes back. */
struct line {
	struct store_wait wait;
	char object[64];
	char *text;
};

static void line_settled(struct store_wait *w, int error)
{
	struct line *line = container_of(w, struct line, wait);

	if (error == 0)
		log_notice(line->object[0] ? line->object : NULL, "%s",
			   line->text);
	free(line->text);
	free(line);
}

static void line_add(struct hub *hub, const struct event *e)
{
	struct line *line = calloc(1, sizeof(*line));
	const char *object = e->node ? e->node : e->app;

	if (!line ||
	    asprintf(&line->text, "%s%s%s%s%s%s%s", e->what,
		     e->node && e->app ? " app " : "",
		     e->node && e->app ? e->app : "",
		     e->by && e->by[0] ? " by " : "", e->by ? e->by : "",
		     e->text && e->text[0] ? ": " : "",
		     e->text ? e->text : "") < 0) {
		free(line);
		return;
	}
	text_copy(line->object, sizeof(line->object), object ? object : "");
	line->wait.done = line_settled;
	store_settled(hub->store, &line->wait);
}

/* The key is the revision that the put will have, so events sort and are
 * unique. */
void event_add(struct hub *hub, const struct event *e)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	uint64_t revision = store_revision(hub->store) + 1;
	char at[STAMP_SIZE], key[32];

	stamp_make(time(NULL), at);
	snprintf(key, sizeof(key), "event/%016llx",
		 (unsigned long long)revision);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_uint(doc, root, "revision", revision);
	add_text(doc, root, "at", at);
	add_text(doc, root, "what", e->what);
	add_text(doc, root, "node", e->node);
	add_text(doc, root, "app", e->app);
	add_text(doc, root, "by", e->by);
	add_text(doc, root, "text", e->text);
	stored_put(hub->store, key, doc, STORE_NEW);
	line_add(hub, e);
}

struct trim {
	struct store *store;
	unsigned n;
};

static int event_drop(void *context, const struct store_entry *e)
{
	struct trim *trim = context;

	if (trim->n == 0)
		return 1;
	trim->n--;
	return store_delete(trim->store, e->key.data, STORE_ANY);
}

static int event_count(void *context, const struct store_entry *e)
{
	struct trim *trim = context;

	(void)e;
	trim->n++;
	return 0;
}

/* A few at a time: it is called again. */
void events_trim(struct hub *hub)
{
	struct trim trim = { .store = hub->store };

	store_range(hub->store, "event/", "", UINT32_MAX, event_count, &trim);
	trim.n = trim.n > EVENTS_MAX ? trim.n - EVENTS_MAX : 0;
	store_range(hub->store, "event/", "", 1000, event_drop, &trim);
}
