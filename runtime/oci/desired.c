/* Reads the document by tables of its keys. Two blocks of memory hold what it
 * points to: the texts, which together are shorter than the document, and the
 * lists of pointers to them, of which each takes at least three bytes there. */
#include "desired.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/json_walk.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct desired_reader {
	struct desired *desired;
	bool is_apps; /* an operator's, see desired_parse_apps() */
	char *text;
	const char **list;
};

static struct desired_reader *reader(struct json_walk *w)
{
	return w->whole;
}

/* ---- values ---- */

static const char *text_keep(struct json_walk *w, struct span a,
			     const struct span *b)
{
	char *kept = reader(w)->text, *p = kept;

	memcpy(p, a.data, a.size);
	p += a.size;
	if (b) {
		*p++ = '=';
		memcpy(p, b->data, b->size);
		p += b->size;
	}
	*p++ = '\0';
	reader(w)->text = p;
	return kept;
}

static int text_read(struct json_walk *w, yyjson_val *v, char *out, size_t size)
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

static int id_read(struct json_walk *w, yyjson_val *v, char out[64])
{
	static const char want[] = "want 1 to 63 of a-z, 0-9 and -";
	struct span s;
	int err = json_string(w, v, want, &s);

	if (err < 0)
		return err;
	return id_valid(s) ? span_copy(out, 64, s)
			   : json_fail_value(w, v, want);
}

static int number_read(struct json_walk *w, yyjson_val *v, uint64_t max,
		       uint64_t *number)
{
	if (!yyjson_is_raw(v) || span_u64(json_text(v), max, number) < 0)
		return json_fail_value(w, v, "want a whole number in range");
	return 0;
}

static int port_number(struct json_walk *w, yyjson_val *v, uint16_t *port)
{
	uint64_t n;

	if (!yyjson_is_raw(v) || span_u64(json_text(v), 65535, &n) < 0 || !n)
		return json_fail_value(w, v, "want a port, 1 to 65535");
	*port = (uint16_t)n;
	return 0;
}

/* ---- an app ---- */

static int app_name_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	int err = id_read(w, v, app->name);

	for (struct desired_app *a = reader(w)->desired->app;
	     err == 0 && a < app; a++)
		if (!strcmp(a->name, app->name))
			err = json_fail_value(w, v, "two apps of that name");
	return err;
}

static int app_image_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	int err = text_read(w, v, app->image, sizeof(app->image));

	return err == 0 && !app->image[0] ? json_fail(w, "want an image") : err;
}

static int app_digest_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want \"sha256:\" and 64 hex digits";
	struct desired_app *app = into;
	struct span s;
	int err = json_string(w, v, want, &s);

	if (err < 0)
		return err;
	app->has_digest = digest_parse(s, &app->digest) == 0;
	return app->has_digest ? 0 : json_fail_value(w, v, want);
}

static int argument_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	struct span s;
	int err = json_string(w, v, "want a string", &s);

	if (err == 0) {
		*reader(w)->list++ = text_keep(w, s, NULL);
		app->n_command++;
	}
	return err;
}

static int command_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	int err;

	if (yyjson_is_arr(v) && !yyjson_arr_size(v))
		return json_fail(w, "want a program, or no command at all");
	app->command = reader(w)->list;
	err = json_array(w, v, DESIRED_ARGS_MAX, argument_read, into);
	*reader(w)->list++ = NULL;
	return err;
}

static int variable_read(struct json_walk *w, yyjson_val *key, void *into)
{
	struct desired_app *app = into;
	struct span name = json_text(key), value;
	int err;

	if (!name.size || memchr(name.data, '=', name.size) ||
	    memchr(name.data, '\0', name.size))
		return json_fail(w, "want a name without \"=\"");
	if (!yyjson_is_str(yyjson_obj_iter_get_val(key)))
		return json_fail(w, "want a string");
	err = json_string(w, yyjson_obj_iter_get_val(key), "want a string",
			  &value);
	if (err < 0)
		return err;
	for (unsigned i = 0; i < app->n_environment; i++) {
		const char *other = app->environment[i];

		if (!strncmp(other, name.data, name.size) &&
		    other[name.size] == '=')
			return json_fail(w, "given twice: want it once");
	}
	*reader(w)->list++ = text_keep(w, name, &value);
	app->n_environment++;
	return 0;
}

static int environment_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	int err;

	app->environment = reader(w)->list;
	err = json_members(w, v, DESIRED_ENV_MAX, variable_read, into);
	*reader(w)->list++ = NULL;
	return err;
}

static int host_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_port *port = into;

	return port_number(w, v, &port->host);
}

static int container_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_port *port = into;

	return port_number(w, v, &port->container);
}

static int port_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "host", host_read, true },
		{ "container", container_read, true },
	};
	struct desired_app *app = into;
	struct desired_port *port = &app->port[app->n_ports];
	int err = json_object(w, v, keys, ARRAY_SIZE(keys), port);

	if (err < 0)
		return err;
	for (unsigned i = 0; i < app->n_ports; i++)
		if (app->port[i].host == port->host)
			return json_fail(w, "host port %u given twice",
					 port->host);
	app->n_ports++;
	return 0;
}

static int ports_read(struct json_walk *w, yyjson_val *v, void *into)
{
	return json_array(w, v, DESIRED_PORTS_MAX, port_read, into);
}

static const char *const restart_names[] = {
	[DESIRED_RESTART_NO] = "no",
	[DESIRED_RESTART_ON_FAILURE] = "on-failure",
	[DESIRED_RESTART_ALWAYS] = "always",
	[DESIRED_RESTART_UNLESS_STOPPED] = "unless-stopped",
};

const char *desired_restart_name(enum desired_restart restart)
{
	return restart_names[restart];
}

static int restart_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] =
		"want always, unless-stopped, on-failure or no";
	struct desired_app *app = into;
	struct span s;
	int err = json_string(w, v, want, &s);

	if (err < 0)
		return err;
	for (size_t i = 0; i < ARRAY_SIZE(restart_names); i++)
		if (span_is(s, restart_names[i])) {
			app->restart = (enum desired_restart)i;
			return 0;
		}
	return json_fail_value(w, v, want);
}

static int memory_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return number_read(w, v, INT64_MAX, &app->memory_bytes);
}

/* "0.5", "2", "1.125": whole thousandths, no exponent. */
static int cpus_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want 0 to 4096 with at most 3 decimals";
	struct desired_app *app = into;
	struct span rest = json_text(v), whole, part;
	uint64_t milli, fraction = 0;

	if (!yyjson_is_raw(v) || !span_cut(&rest, '.', &whole) ||
	    span_u64(whole, 4096, &milli) < 0)
		return json_fail_value(w, v, want);
	if (span_cut(&rest, '.', &part)) {
		if (part.size > 3 || span_u64(part, 999, &fraction) < 0)
			return json_fail_value(w, v, want);
		for (size_t i = part.size; i < 3; i++)
			fraction *= 10;
	}
	app->cpus_milli = (uint32_t)(milli * 1000 + fraction);
	return 0;
}

static int pids_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	uint64_t n;
	int err = number_read(w, v, 4 << 20, &n);

	if (err == 0)
		app->pids = (uint32_t)n;
	return err;
}

static int read_only_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	if (!yyjson_is_bool(v))
		return json_fail_value(w, v, "want true or false");
	app->read_only = yyjson_get_bool(v);
	return 0;
}

static int application_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return id_read(w, v, app->application);
}

static int by_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return text_read(w, v, app->by, sizeof(app->by));
}

static int at_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return text_read(w, v, app->at, sizeof(app->at));
}

static int origin_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "application", application_read, true },
		{ "by", by_read, false },
		{ "at", at_read, false },
	};

	return json_object(w, v, keys, ARRAY_SIZE(keys), into);
}

/* ---- the content of an app, by which it is the same or another ---- */

static void add_number(struct digest_stream *s, uint64_t n)
{
	uint8_t bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(n >> 8 * i);
	digest_update(s, bytes, sizeof(bytes));
}

static void add_text(struct digest_stream *s, const char *text)
{
	add_number(s, strlen(text));
	digest_update(s, text, strlen(text));
}

static struct digest app_content(const struct desired_app *app)
{
	struct digest_stream s;

	digest_begin(&s);
	add_text(&s, app->name);
	digest_update(&s, app->digest.bytes, DIGEST_SIZE);
	add_number(&s, app->n_command);
	for (unsigned i = 0; i < app->n_command; i++)
		add_text(&s, app->command[i]);
	add_number(&s, app->n_environment);
	for (unsigned i = 0; i < app->n_environment; i++)
		add_text(&s, app->environment[i]);
	add_number(&s, app->n_ports);
	for (unsigned i = 0; i < app->n_ports; i++) {
		add_number(&s, app->port[i].host);
		add_number(&s, app->port[i].container);
	}
	add_number(&s, app->restart);
	add_number(&s, app->memory_bytes);
	add_number(&s, app->cpus_milli);
	add_number(&s, app->pids);
	add_number(&s, app->read_only);
	return digest_end(&s);
}

/* ---- the document ---- */

static int app_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "name", app_name_read, true },
		{ "image", app_image_read, true },
		{ "digest", app_digest_read, false },
		{ "command", command_read, false },
		{ "environment", environment_read, false },
		{ "ports", ports_read, false },
		{ "restart", restart_read, false },
		{ "memory", memory_read, false },
		{ "cpus", cpus_read, false },
		{ "pids", pids_read, false },
		{ "read_only", read_only_read, false },
		{ "origin", origin_read, false },
	};
	struct desired *d = into;
	struct desired_app *app = &d->app[d->n_apps];
	int err = json_object(w, v, keys, ARRAY_SIZE(keys), app);

	if (err < 0)
		return err;
	if (!app->has_digest && !reader(w)->is_apps)
		return json_fail(w, "want the key \"digest\" too");
	app->content = app_content(app);
	d->n_apps++;
	return 0;
}

static int apps_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired *d = into;

	if (yyjson_is_arr(v) && yyjson_arr_size(v) &&
	    yyjson_arr_size(v) <= DESIRED_APPS_MAX) {
		d->app = calloc(yyjson_arr_size(v), sizeof(*d->app));
		if (!d->app)
			return json_fail(w, "out of memory");
	}
	return json_array(w, v, DESIRED_APPS_MAX, app_read, into);
}

static int node_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired *d = into;

	return id_read(w, v, d->node);
}

static int name_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired *d = into;

	return id_read(w, v, d->name);
}

static int registry_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired *d = into;

	return id_read(w, v, d->registry);
}

static int epoch_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired *d = into;

	return number_read(w, v, INT64_MAX, &d->epoch);
}

static int revision_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired *d = into;

	return number_read(w, v, INT64_MAX, &d->revision);
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

	if (!reader(w)->is_apps)
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
			  "desired: longer than 256 KB");
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
	free(d->app);
	free(d->memory[0]);
	free(d->memory[1]);
	*d = (struct desired){ 0 };
}
