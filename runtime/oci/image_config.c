#include "image_config.h"

#include <errno.h>
#include <stdio.h>

#include "image_json.h"

/* The strings of array `key` of object. */
static int parse_strings(const struct image_json *j, yyjson_val *object,
			 const char *key, struct image_strings *strings)
{
	yyjson_val *list, *v;
	size_t i, n;
	int r = image_json_array(j, object, key, &list);

	if (r || !list)
		return r;
	if (yyjson_arr_size(list) > IMAGE_STRINGS_MAX)
		return image_json_fail(j, -E2BIG, key, "more than %d strings",
				       IMAGE_STRINGS_MAX);
	yyjson_arr_foreach(list, i, n, v)
	{
		if (!image_json_is_text(v))
			return image_json_fail(j, -EINVAL, key,
					       "[%zu]: want a string "
					       "without NUL",
					       i);
		strings->item[strings->n++] = yyjson_get_str(v);
	}
	return 0;
}

static int check_environment(const struct image_json *j,
			     const struct image_strings *environment)
{
	for (unsigned i = 0; i < environment->n; i++) {
		const char *s = environment->item[i];
		const char *equals = strchr(s, '=');

		if (!equals || equals == s)
			return image_json_fail(j, -EINVAL, "config.Env",
					       "[%u]: want NAME=value", i);
	}
	return 0;
}

/* Volumes is a set, written as an object whose values mean nothing. */
static int parse_volumes(const struct image_json *j, yyjson_val *object,
			 struct image_strings *volumes)
{
	yyjson_val *set, *key, *unused;
	size_t i, n;
	int r = image_json_object(j, object, "Volumes", &set);

	if (r || !set)
		return r;
	if (yyjson_obj_size(set) > IMAGE_STRINGS_MAX)
		return image_json_fail(j, -E2BIG, "config.Volumes",
				       "more than %d", IMAGE_STRINGS_MAX);
	yyjson_obj_foreach(set, i, n, key, unused)
	{
		(void)unused;
		if (!image_json_is_text(key) || yyjson_get_str(key)[0] != '/')
			return image_json_fail(j, -EINVAL, "config.Volumes",
					       "want absolute paths");
		volumes->item[volumes->n++] = yyjson_get_str(key);
	}
	return 0;
}

/* "80", "80/tcp", "53/udp" */
static int parse_port(struct span text, struct image_port *port)
{
	struct span number;
	uint64_t value;

	if (!span_cut(&text, '/', &number) || span_u64(number, 65535, &value) ||
	    value == 0)
		return -EINVAL;
	port->port = (uint16_t)value;
	port->protocol = IMAGE_TCP;
	if (!text.data || span_is(text, "tcp"))
		return 0;
	port->protocol = span_is(text, "udp") ? IMAGE_UDP : IMAGE_SCTP;
	return port->protocol == IMAGE_UDP || span_is(text, "sctp") ? 0
								    : -EINVAL;
}

static int parse_ports(const struct image_json *j, yyjson_val *object,
		       struct image_config *config)
{
	yyjson_val *set, *key, *unused;
	size_t i, n;
	int r = image_json_object(j, object, "ExposedPorts", &set);

	if (r || !set)
		return r;
	if (yyjson_obj_size(set) > IMAGE_PORTS_MAX)
		return image_json_fail(j, -E2BIG, "config.ExposedPorts",
				       "more than %d", IMAGE_PORTS_MAX);
	yyjson_obj_foreach(set, i, n, key, unused)
	{
		struct span text = { yyjson_get_str(key), yyjson_get_len(key) };

		(void)unused;
		if (parse_port(text, &config->port[config->n_ports]))
			return image_json_fail(j, -EINVAL,
					       "config.ExposedPorts",
					       "want PORT/PROTOCOL");
		config->n_ports++;
	}
	return 0;
}

static int parse_labels(const struct image_json *j, yyjson_val *object,
			struct image_config *config)
{
	yyjson_val *set, *key, *value;
	size_t i, n;
	int r = image_json_object(j, object, "Labels", &set);

	if (r || !set)
		return r;
	if (yyjson_obj_size(set) > IMAGE_LABELS_MAX)
		return image_json_fail(j, -E2BIG, "config.Labels",
				       "more than %d", IMAGE_LABELS_MAX);
	yyjson_obj_foreach(set, i, n, key, value)
	{
		struct image_label *label = &config->label[config->n_labels++];

		if (!image_json_is_text(key) || !image_json_is_text(value))
			return image_json_fail(j, -EINVAL, "config.Labels",
					       "want strings without NUL");
		label->key = yyjson_get_str(key);
		label->value = yyjson_get_str(value);
	}
	return 0;
}

/* [], [NONE], [CMD, PROGRAM, ...] or [CMD-SHELL, TEXT]. */
static int check_test(const struct image_json *j, struct image_health *health)
{
	struct image_strings *test = &health->test;
	const char *kind = test->n ? test->item[0] : "";

	if (!test->n)
		return 0;
	if (!strcmp(kind, "NONE")) {
		health->off = true;
		test->n = 0;
	} else if (!strcmp(kind, "CMD") && test->n > 1) {
		memmove(test->item, test->item + 1,
			test->n * sizeof(*test->item));
		test->n--;
	} else if (!strcmp(kind, "CMD-SHELL") && test->n == 2) {
		test->item[2] = test->item[1];
		test->item[0] = "/bin/sh";
		test->item[1] = "-c";
		test->item[++test->n] = NULL;
	} else {
		return image_json_fail(j, -EINVAL, "config.Healthcheck.Test",
				       "want CMD, CMD-SHELL or NONE first");
	}
	return 0;
}

/* A time in ns, or a number of times; what has no room is as good as never. */
static int parse_number(const struct image_json *j, yyjson_val *object,
			const char *key, uint64_t unit, uint32_t *number)
{
	yyjson_val *v = yyjson_obj_get(object, key);
	uint64_t n = yyjson_get_uint(v) / unit;

	if (v && !yyjson_is_null(v) && !yyjson_is_uint(v))
		return image_json_fail(j, -EINVAL, key,
				       "want a whole number, not below 0");
	*number = n > INT32_MAX ? INT32_MAX : (uint32_t)n;
	/* Less than a unit is not nothing. */
	if (!*number && yyjson_get_uint(v))
		*number = 1;
	return 0;
}

static int parse_health(const struct image_json *j, yyjson_val *object,
			struct image_health *health)
{
	enum { NS_PER_MS = 1000000 };
	yyjson_val *o;
	int r = image_json_object(j, object, "Healthcheck", &o);

	if (r || !o)
		return r;
	r = parse_strings(j, o, "Test", &health->test);
	if (!r)
		r = check_test(j, health);
	if (!r)
		r = parse_number(j, o, "Interval", NS_PER_MS,
				 &health->interval);
	if (!r)
		r = parse_number(j, o, "Timeout", NS_PER_MS, &health->timeout);
	if (!r)
		r = parse_number(j, o, "StartPeriod", NS_PER_MS,
				 &health->start_period);
	if (!r)
		r = parse_number(j, o, "StartInterval", NS_PER_MS,
				 &health->start_interval);
	return r ? r : parse_number(j, o, "Retries", 1, &health->retries);
}

static int parse_process(const struct image_json *j, yyjson_val *object,
			 struct image_config *config)
{
	int r = parse_strings(j, object, "Entrypoint", &config->entrypoint);

	if (!r)
		r = parse_strings(j, object, "Cmd", &config->command);
	if (!r)
		r = parse_strings(j, object, "Env", &config->environment);
	if (!r)
		r = check_environment(j, &config->environment);
	if (!r)
		r = image_json_string(j, object, "User", &config->user);
	if (!r)
		r = image_json_string(j, object, "StopSignal",
				      &config->stop_signal);
	if (!r)
		r = image_json_string(j, object, "WorkingDir",
				      &config->working_dir);
	if (!r && *config->working_dir && config->working_dir[0] != '/')
		r = image_json_fail(j, -EINVAL, "config.WorkingDir",
				    "want an absolute path");
	return r;
}

static int parse_diff_ids(const struct image_json *j, yyjson_val *root,
			  struct image_config *config)
{
	yyjson_val *rootfs, *list = NULL, *v;
	size_t i, n;
	int r = image_json_object(j, root, "rootfs", &rootfs);

	if (!r)
		r = image_json_array(j, rootfs, "diff_ids", &list);
	if (r)
		return r;
	if (yyjson_arr_size(list) == 0)
		return image_json_fail(j, -EINVAL, "rootfs.diff_ids",
				       "want at least one");
	if (yyjson_arr_size(list) > IMAGE_LAYERS_MAX)
		return image_json_fail(j, -E2BIG, "rootfs.diff_ids",
				       "more than %d", IMAGE_LAYERS_MAX);
	yyjson_arr_foreach(list, i, n, v)
	{
		struct span text = { yyjson_get_str(v), yyjson_get_len(v) };

		if (!yyjson_is_str(v) ||
		    digest_parse(text, &config->diff_id[i]))
			return image_json_fail(j, -EINVAL, "rootfs.diff_ids",
					       "[%zu]: want \"sha256:\" and 64 "
					       "hex digits",
					       i);
		config->n_diff_ids++;
	}
	return 0;
}

static int parse_root(const struct image_json *j, yyjson_val *root,
		      struct image_config *config)
{
	yyjson_val *object;
	int r = image_json_platform(j, root, &config->platform);

	if (!r && !*config->platform.os)
		r = image_json_fail(j, -EINVAL, "os", "missing");
	if (!r && !*config->platform.architecture)
		r = image_json_fail(j, -EINVAL, "architecture", "missing");
	if (!r)
		r = image_json_object(j, root, "config", &object);
	if (!r)
		r = parse_process(j, object, config);
	if (!r)
		r = parse_health(j, object, &config->health);
	if (!r)
		r = parse_volumes(j, object, &config->volumes);
	if (!r)
		r = parse_ports(j, object, config);
	if (!r)
		r = parse_labels(j, object, config);
	return r ? r : parse_diff_ids(j, root, config);
}

int image_config_parse(struct span text, struct image_config *config,
		       char error[IMAGE_ERROR_SIZE])
{
	const struct image_json j = { "image config", error };
	yyjson_doc *doc;
	int r;

	memset(config, 0, sizeof(*config));
	config->user = config->working_dir = config->stop_signal = "";
	r = image_json_open(&j, text, IMAGE_CONFIG_MAX, &doc);
	if (r)
		return r;
	config->document = doc;
	return parse_root(&j, yyjson_doc_get_root(doc), config);
}

void image_config_free(struct image_config *config)
{
	yyjson_doc_free(config->document);
	config->document = NULL;
}
