/* The key "reactive" of an app: how it follows access. Times that are not said
 * have their default here, so that nobody else knows one. */
#include "desired_read.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static int lifetime_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_reactive *r = into;
	uint64_t ms;
	int err = desired_number_read(w, v, DESIRED_TIME_MAX_MS, &ms);

	if (err == 0 && ms < DESIRED_LIFETIME_MIN_MS)
		return json_fail_value(w, v, "want 1000 ms to 24 hours");
	if (err == 0)
		r->lifetime_ms = (uint32_t)ms;
	return err;
}

static int time_read(struct json_walk *w, yyjson_val *v, uint32_t *out)
{
	uint64_t ms;
	int err = desired_number_read(w, v, DESIRED_TIME_MAX_MS, &ms);

	if (err == 0 && ms < DESIRED_FREEZE_MIN_MS)
		return json_fail_value(w, v, "want 100 ms to 24 hours");
	if (err == 0)
		*out = (uint32_t)ms;
	return err;
}

static int freeze_after_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_reactive *r = into;

	return time_read(w, v, &r->freeze_after_ms);
}

static int image_after_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_reactive *r = into;

	return time_read(w, v, &r->image_after_ms);
}

static int sleep_after_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_reactive *r = into;

	return time_read(w, v, &r->sleep_after_ms);
}

static int concurrency_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_reactive *r = into;
	uint64_t n;
	int err = desired_number_read(w, v, UINT32_MAX, &n);

	if (err == 0 && (n < 1 || n > DESIRED_CONCURRENCY_MAX))
		return json_fail_value(w, v, "want 1 to 10000");
	if (err == 0)
		r->concurrency = (uint32_t)n;
	return err;
}

static int max_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_reactive *r = into;
	uint64_t n;
	int err = desired_number_read(w, v, UINT32_MAX, &n);

	if (err == 0 && (n < 1 || n > DESIRED_INSTANCES_MAX))
		return json_fail_value(w, v, "want 1 to 10");
	if (err == 0)
		r->max = (uint32_t)n;
	return err;
}

static int wake_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char *const words[] = { "connect", "byte" };
	struct desired_reactive *r = into;
	int n = desired_word_read(w, v, words, ARRAY_SIZE(words),
				  "want connect or byte");

	r->wakes_at_byte = n == 1;
	return n < 0 ? n : 0;
}

static int checkpoint_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char *const words[] = { "listen" };
	struct desired_reactive *r = into;
	int n = desired_word_read(w, v, words, ARRAY_SIZE(words),
				  "want listen");

	r->checkpoints = n == 0;
	return n < 0 ? n : 0;
}

int desired_reactive_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "freeze_after_ms", freeze_after_read, false },
		{ "image_after_ms", image_after_read, false },
		{ "sleep_after_ms", sleep_after_read, false },
		{ "lifetime_ms", lifetime_read, false },
		{ "concurrency", concurrency_read, false },
		{ "max", max_read, false },
		{ "wake", wake_read, false },
		{ "checkpoint", checkpoint_read, false },
	};
	struct desired_app *app = into;

	app->reactive = (struct desired_reactive){
		.is_on = true,
		.freeze_after_ms = DESIRED_FREEZE_AFTER_MS,
	};
	return json_object(w, v, keys, ARRAY_SIZE(keys), &app->reactive);
}

static bool writes_volume(const struct desired_app *app)
{
	for (unsigned i = 0; i < app->n_mounts; i++)
		if (app->mount[i].type == DESIRED_MOUNT_VOLUME &&
		    !app->mount[i].read_only)
			return true;
	return false;
}

/* Instances run side by side, and only clients of ports are spread. */
static bool can_be_several(const struct desired_app *app)
{
	return app->n_ports && !app->pod.on.app && !writes_volume(app);
}

/* What it has read of a volume before it listened would be older than what it
 * has written since, and could be written over that. And criu takes no init
 * from outside the root. */
static bool can_be_restored(const struct desired_app *app)
{
	return !writes_volume(app) && !app->pod.on.app && !app->init;
}

int desired_reactive_check(struct json_walk *w, const struct desired_app *app)
{
	const struct desired_reactive *r = &app->reactive;

	if (r->image_after_ms && !app->n_ports)
		return json_fail(w, "want ports with image_after_ms: nothing "
				    "else would start it");
	if (r->sleep_after_ms && !app->n_ports)
		return json_fail(w, "want ports with sleep_after_ms: nothing "
				    "else would wake it");
	if (!r->concurrency != !r->max)
		return json_fail(w, "want max with concurrency, and the other "
				    "way round");
	if (r->max > 1 && !can_be_several(app))
		return json_fail(w, "want ports with max, no volume that it "
				    "may write, and no pod");
	if (r->checkpoints && !can_be_restored(app))
		return json_fail(w, "want no volume that it may write with "
				    "checkpoint, no pod, and no init");
	return 0;
}
