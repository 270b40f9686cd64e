#define _GNU_SOURCE
#include "report.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/stamp.h"
#include "clock.h"
#include "facts.h"
#include "json.h"

/* znode's words are ours to trust only as far as they can do no harm. */
static void add_text(yyjson_mut_doc *doc, yyjson_mut_val *to, const char *key,
		     const char *text, size_t size)
{
	char clean[ZNODE_TEXT_SIZE + 16];
	size_t n = strnlen(text, size);

	if (n == 0)
		return;
	if (n >= sizeof(clean))
		n = sizeof(clean) - 1;
	for (size_t i = 0; i < n; i++)
		clean[i] = text[i] >= ' ' && text[i] < 127 ? text[i] : '?';
	yyjson_mut_obj_add_strncpy(doc, to, key, clean, n);
}

static void add_ports(yyjson_mut_doc *doc, yyjson_mut_val *to,
		      const struct znode_app *app)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, to, "ports");

	for (unsigned i = 0; i < app->n_ports && i < ZNODE_PORTS_MAX; i++) {
		yyjson_mut_val *port = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_uint(doc, port, "host", app->port[i].host);
		yyjson_mut_obj_add_uint(doc, port, "container",
					app->port[i].container);
		if (app->port[i].udp)
			yyjson_mut_obj_add_str(doc, port, "protocol", "udp");
	}
}

static yyjson_mut_val *add_app(yyjson_mut_doc *doc, yyjson_mut_val *list,
			       const struct znode_app *app)
{
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, list);

	add_text(doc, o, "name", app->name, sizeof(app->name));
	add_text(doc, o, "image", app->image, sizeof(app->image));
	add_text(doc, o, "digest", app->digest, sizeof(app->digest));
	yyjson_mut_obj_add_str(doc, o, "state", znode_state_name(app->state));
	add_text(doc, o, "reason", app->reason, sizeof(app->reason));
	if (app->limit[0])
		add_text(doc, o, "limit", app->limit, sizeof(app->limit));
	add_text(doc, o, "container", app->container, sizeof(app->container));
	yyjson_mut_obj_add_uint(doc, o, "restarts", app->restarts);
	yyjson_mut_obj_add_bool(doc, o, "stopped", app->stopped);
	if (app->rests)
		yyjson_mut_obj_add_bool(doc, o, "rests", true);
	if (app->warm)
		yyjson_mut_obj_add_bool(doc, o, "warm", true);
	if (app->extras)
		yyjson_mut_obj_add_uint(doc, o, "extras", app->extras);
	yyjson_mut_obj_add_bool(doc, o, "outdated", app->outdated);
	yyjson_mut_obj_add_uint(doc, o, "memory_limit", app->memory_bytes);
	add_ports(doc, o, app);
	return o;
}

/* Of one that follows access. */
static void add_wakes(yyjson_mut_doc *doc, yyjson_mut_val *o,
		      const struct znode_app *app)
{
	add_text(doc, o, "why", app->why, sizeof(app->why));
	if (!app->wakes)
		return;
	yyjson_mut_obj_add_uint(doc, o, "wakes", app->wakes);
	yyjson_mut_obj_add_uint(doc, o, "wake_p50_us", app->wake_p50_us);
	yyjson_mut_obj_add_uint(doc, o, "wake_p99_us", app->wake_p99_us);
}

/* What goes along: also when it started, for what is constant there is
 * counted by the kernel's clock and only told by the wall's. */
static void add_counters(yyjson_mut_doc *doc, yyjson_mut_val *o,
			 const struct znode_app *app)
{
	char at[STAMP_SIZE];
	uint64_t now = clock_boot_ms();

	yyjson_mut_obj_add_uint(doc, o, "cpu_ms", app->cpu_ms);
	yyjson_mut_obj_add_uint(doc, o, "memory_bytes", app->memory_used);
	add_wakes(doc, o, app);
	if (!app->started_ms || app->started_ms > now)
		return;
	stamp_make(clock_now() - (int64_t)((now - app->started_ms) / 1000), at);
	yyjson_mut_obj_add_strcpy(doc, o, "started", at);
}

/* The digest is over what was there before the counters came. */
static void change_of(yyjson_mut_doc *doc, const struct report *r,
		      struct digest *change)
{
	struct digest_stream stream;
	size_t size;
	autofree char *json = yyjson_mut_write(doc, 0, &size);

	digest_begin(&stream);
	if (json)
		digest_update(&stream, json, size);
	for (unsigned i = 0; i < r->n; i++)
		digest_update(&stream, &r->rows[i].started_ms,
			      sizeof(r->rows[i].started_ms));
	*change = digest_end(&stream);
}

static void add_desired(yyjson_mut_doc *doc, yyjson_mut_val *root,
			const struct report *r)
{
	yyjson_mut_val *head;

	if (!r->epoch)
		return;
	head = yyjson_mut_obj_add_obj(doc, root, "desired");
	yyjson_mut_obj_add_uint(doc, head, "epoch", r->epoch);
	yyjson_mut_obj_add_uint(doc, head, "revision", r->revision);
}

char *report_make(const struct report *r, size_t *size, struct digest *change)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *facts, *list, *app;
	char *json;

	yyjson_mut_doc_set_root(doc, root);
	facts = yyjson_mut_obj_add_obj(doc, root, "node");
	facts_add(doc, facts);
	add_text(doc, facts, "document_error", r->refusal, ZNODE_TEXT_SIZE);
	add_desired(doc, root, r);
	list = yyjson_mut_obj_add_arr(doc, root, "apps");
	for (unsigned i = 0; i < r->n; i++)
		add_app(doc, list, &r->rows[i]);
	yyjson_mut_obj_add_arr(doc, root, "images");
	change_of(doc, r, change);
	facts_add_counters(doc, facts);
	for (unsigned i = 0; i < r->n; i++) {
		app = yyjson_mut_arr_get(list, i);
		add_counters(doc, app, &r->rows[i]);
	}
	json = yyjson_mut_write(doc, 0, size);
	yyjson_mut_doc_free(doc);
	return json;
}
