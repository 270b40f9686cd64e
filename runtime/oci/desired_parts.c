/* One app of the document: mounts, limits of a process, what it waits for, how
 * its health is seen. */
#include <errno.h>

#include "desired_read.h"
#include "runtime_config.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* An array of objects, of which `read` fills one. */
struct rows {
	void **array;
	unsigned *n;
	size_t size;
	json_read read;
};

static int row_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct rows *rows = into;
	int err = rows->read(w, v,
			     (char *)*rows->array + *rows->n * rows->size);

	if (err == 0)
		++*rows->n;
	return err;
}

static int rows_read(struct json_walk *w, yyjson_val *v, struct rows *rows)
{
	size_t n = yyjson_arr_size(v);

	if (n && n <= DESIRED_MOUNTS_MAX) {
		*rows->array = desired_array(w, n, rows->size);
		if (!*rows->array)
			return -EINVAL;
	}
	return json_array(w, v, DESIRED_MOUNTS_MAX, row_read, rows);
}

/* ---- mounts ---- */

static int type_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char *const words[] = {
		[DESIRED_MOUNT_VOLUME] = "volume",
		[DESIRED_MOUNT_TMPFS] = "tmpfs",
		[DESIRED_MOUNT_FILE] = "file",
		[DESIRED_MOUNT_SECRET] = "secret",
	};
	struct desired_mount *m = into;
	int n = desired_word_read(w, v, words, ARRAY_SIZE(words),
				  "want volume, tmpfs, file or secret");

	if (n >= 0)
		m->type = (enum desired_mount_type)n;
	return n < 0 ? n : 0;
}

bool desired_path_valid(struct span path)
{
	struct span rest = path, part;

	if (path.size < 2 || path.size > 1024 || path.data[0] != '/')
		return false;
	while (span_cut(&rest, '/', &part))
		if (span_is(part, ".") || span_is(part, ".."))
			return false;
	return true;
}

static int target_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_mount *m = into;
	int err = desired_string_read(w, v, &m->target);

	if (err == 0 && !desired_path_valid(span_of(m->target)))
		err = json_fail_value(w, v, "want an absolute path without ..");
	return err;
}

bool desired_volume_valid(const char *name)
{
	struct span rest = span_of(name), application;

	span_cut(&rest, '.', &application);
	return id_valid(application) && (!rest.data || id_valid(rest));
}

static int source_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_mount *m = into;
	int err = desired_string_read(w, v, &m->source);

	if (err == 0 && !desired_volume_valid(m->source))
		err = json_fail_value(w, v, "want 1 to 63 of a-z, 0-9 and -");
	return err;
}

static int external_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_mount *m = into;

	return desired_bool_read(w, v, &m->external);
}

/* Never told: it may hold what is nobody's business. */
static int content_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_mount *m = into;
	struct span s;

	if (!yyjson_is_str(v))
		return json_fail(w, "want a string");
	if (json_string(w, v, "want a string", &s) < 0)
		return -EINVAL;
	m->content = desired_text_keep(w, s, NULL);
	return 0;
}

static int mount_read_only_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_mount *m = into;

	return desired_bool_read(w, v, &m->read_only);
}

static int nocopy_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_mount *m = into;

	return desired_bool_read(w, v, &m->nocopy);
}

static int size_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_mount *m = into;

	return desired_number_read(w, v, INT64_MAX, &m->size_bytes);
}

static int u32_read(struct json_walk *w, yyjson_val *v, uint32_t max,
		    uint32_t *number)
{
	uint64_t n;
	int err = desired_number_read(w, v, max, &n);

	if (err == 0)
		*number = (uint32_t)n;
	return err;
}

static int mode_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_mount *m = into;

	return u32_read(w, v, 01777, &m->mode);
}

static int uid_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_mount *m = into;

	m->has_owner = true;
	return u32_read(w, v, INT32_MAX, &m->uid);
}

static int gid_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_mount *m = into;

	m->has_owner = true;
	return u32_read(w, v, INT32_MAX, &m->gid);
}

static int mount_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "type", type_read, true },
		{ "target", target_read, true },
		{ "source", source_read, false },
		{ "content", content_read, false },
		{ "read_only", mount_read_only_read, false },
		{ "nocopy", nocopy_read, false },
		{ "external", external_read, false },
		{ "size", size_read, false },
		{ "mode", mode_read, false },
		{ "uid", uid_read, false },
		{ "gid", gid_read, false },
	};
	struct desired_mount *m = into;
	int err = json_object(w, v, keys, ARRAY_SIZE(keys), m);

	if (err < 0)
		return err;
	if (!m->source != (m->type != DESIRED_MOUNT_VOLUME))
		return json_fail(w, "want the key \"source\" for a volume, and "
				    "only there");
	if (!m->content !=
	    (m->type != DESIRED_MOUNT_FILE && m->type != DESIRED_MOUNT_SECRET))
		return json_fail(w, "want the key \"content\" for a file or a "
				    "secret, and only there");
	if (m->external && (!m->source || m->size_bytes))
		return json_fail(w, "want external of a volume, without size");
	if (m->source && !m->external && !id_valid(span_of(m->source)))
		return json_fail(w, "want external for a volume of another "
				    "application");
	return 0;
}

int desired_mounts_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	struct rows rows = { (void **)&app->mount, &app->n_mounts,
			     sizeof(*app->mount), mount_read };

	return rows_read(w, v, &rows);
}

/* ---- ulimits ---- */

static int resource_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_ulimit *u = into;
	char name[32];
	int err = desired_text_read(w, v, name, sizeof(name));

	if (err < 0)
		return err;
	u->resource = rlimit_number(name);
	return u->resource < 0 ? json_fail_value(w, v,
						 "want RLIMIT_NOFILE or "
						 "the like")
			       : 0;
}

static int soft_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_ulimit *u = into;

	return desired_number_read(w, v, UINT64_MAX, &u->soft);
}

static int hard_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_ulimit *u = into;

	return desired_number_read(w, v, UINT64_MAX, &u->hard);
}

static int ulimit_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "type", resource_read, true },
		{ "soft", soft_read, true },
		{ "hard", hard_read, true },
	};
	struct desired_ulimit *u = into;
	int err = json_object(w, v, keys, ARRAY_SIZE(keys), u);

	if (err == 0 && u->soft > u->hard)
		err = json_fail(w, "want soft at most as large as hard");
	return err;
}

int desired_ulimits_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	struct rows rows = { (void **)&app->ulimit, &app->n_ulimits,
			     sizeof(*app->ulimit), ulimit_read };

	return rows_read(w, v, &rows);
}

/* ---- depends_on ---- */

static int depends_app_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_dependency *d = into;
	char name[64];
	int err = desired_id_read(w, v, name);

	if (err == 0)
		d->app = desired_text_keep(w, span_of(name), NULL);
	return err;
}

static int condition_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char *const words[] = {
		[DESIRED_STARTED] = "started",
		[DESIRED_HEALTHY] = "healthy",
		[DESIRED_COMPLETED] = "completed",
	};
	struct desired_dependency *d = into;
	int n = desired_word_read(w, v, words, ARRAY_SIZE(words),
				  "want started, healthy or completed");

	if (n >= 0)
		d->condition = (enum desired_condition)n;
	return n < 0 ? n : 0;
}

static int dependency_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "app", depends_app_read, true },
		{ "condition", condition_read, false },
	};

	return json_object(w, v, keys, ARRAY_SIZE(keys), into);
}

int desired_depends_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	struct rows rows = { (void **)&app->depends_on, &app->n_depends,
			     sizeof(*app->depends_on), dependency_read };

	return rows_read(w, v, &rows);
}

/* ---- pod ---- */

static int shares_one(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char *const words[] = { "network", "pid", "ipc" };
	struct desired_pod *pod = into;
	int n = desired_word_read(w, v, words, ARRAY_SIZE(words),
				  "want network, pid or ipc");

	if (n >= 0)
		pod->shares |= 1u << n;
	return n < 0 ? n : 0;
}

_Static_assert(DESIRED_POD_NETWORK == 1 << 0 && DESIRED_POD_PID == 1 << 1 &&
		       DESIRED_POD_IPC == 1 << 2,
	       "a bit for each word");

static int shares_read(struct json_walk *w, yyjson_val *v, void *into)
{
	if (yyjson_is_arr(v) && !yyjson_arr_size(v))
		return json_fail(w, "want network, pid or ipc");
	return json_array(w, v, DESIRED_LIST_MAX, shares_one, into);
}

static int pod_app_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_pod *pod = into;

	return depends_app_read(w, v, &pod->on);
}

int desired_pod_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "app", pod_app_read, true },
		{ "shares", shares_read, true },
	};
	struct desired_app *app = into;

	return json_object(w, v, keys, ARRAY_SIZE(keys), &app->pod);
}

static const struct desired_app *app_find(const struct desired *d,
					  const char *name)
{
	for (unsigned i = 0; i < d->n_apps; i++)
		if (!strcmp(d->app[i].name, name))
			return &d->app[i];
	return NULL;
}

/* What an app of a pod cannot say is said by the one whose namespaces they
 * are. */
static int pod_check(struct json_walk *w, const struct desired *d,
		     const struct desired_app *app)
{
	const char *name = app->pod.on.app;
	const struct desired_app *on = app_find(d, name);

	if (!on || on == app || strcmp(on->application, app->application) != 0)
		return json_fail(w,
				 "%s shares namespaces with %s: want another "
				 "app of its application",
				 app->name, name);
	if (on->pod.on.app)
		return json_fail(w,
				 "%s shares namespaces with %s, which has them "
				 "of %s: name that",
				 app->name, name, on->pod.on.app);
	if (on->host_shares)
		return json_fail(w,
				 "%s shares namespaces with %s, which has some "
				 "of the node: want a grant of its own",
				 app->name, name);
	if (app->pod.shares & DESIRED_POD_NETWORK &&
	    (app->n_ports || app->no_network || app->policy.is_said ||
	     app->dns.n))
		return json_fail(w,
				 "%s has the network of %s: its ports, policy "
				 "and dns, or to have none, are said there",
				 app->name, name);
	/* Who is frozen is woken by what comes to a network of its own. */
	if (app->pod.shares & DESIRED_POD_NETWORK &&
	    (app->reactive.is_on || on->reactive.is_on))
		return json_fail(w,
				 "%s has the network of %s: neither can be "
				 "reactive yet",
				 app->name, name);
	return 0;
}

int desired_pods_check(struct json_walk *w, const struct desired *d)
{
	int err = 0;

	for (unsigned i = 0; err == 0 && i < d->n_apps; i++)
		if (d->app[i].pod.on.app)
			err = pod_check(w, d, &d->app[i]);
	return err;
}

/* ---- health ---- */

static int test_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_health *h = into;

	if (yyjson_is_arr(v) && !yyjson_arr_size(v))
		return json_fail(w, "want a program");
	return desired_list_read(w, v, &h->test, DESIRED_ARGS_MAX);
}

static int more_than_0(struct json_walk *w, yyjson_val *v, uint32_t max,
		       uint32_t *number)
{
	int err = u32_read(w, v, max, number);

	return err == 0 && !*number ? json_fail(w, "want more than 0") : err;
}

static int interval_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_health *h = into;

	return more_than_0(w, v, DESIRED_TIME_MAX_MS, &h->interval);
}

static int timeout_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_health *h = into;

	return more_than_0(w, v, DESIRED_TIME_MAX_MS, &h->timeout);
}

static int start_period_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_health *h = into;

	return u32_read(w, v, DESIRED_TIME_MAX_MS, &h->start_period);
}

static int start_interval_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_health *h = into;

	return more_than_0(w, v, DESIRED_TIME_MAX_MS, &h->start_interval);
}

static int retries_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_health *h = into;

	return more_than_0(w, v, 1000, &h->retries);
}

static int off_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_health *h = into;

	return desired_bool_read(w, v, &h->off);
}

int desired_health_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "test", test_read, false },
		{ "interval_ms", interval_read, false },
		{ "timeout_ms", timeout_read, false },
		{ "start_period_ms", start_period_read, false },
		{ "start_interval_ms", start_interval_read, false },
		{ "retries", retries_read, false },
		{ "off", off_read, false },
	};
	struct desired_app *app = into;
	int err = json_object(w, v, keys, ARRAY_SIZE(keys), &app->health);

	if (err == 0 && app->health.off && app->health.test.n)
		err = json_fail(w, "want the key \"test\" or \"off\"");
	return err;
}
