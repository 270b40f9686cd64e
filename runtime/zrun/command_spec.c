/* zrun spec: a config.json to begin with. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <yyjson.h>

#include "base/fd.h"
#include "cli.h"
#include "json_put.h"
#include "option.h"

static const char spec_text[] =
#include "spec_json.inc"
	;

static bool has_type(yyjson_mut_val *object, const char *type)
{
	return yyjson_mut_equals_str(yyjson_mut_obj_get(object, "type"), type);
}

/* Removes what is of this type from an array of objects. */
static void drop_type(yyjson_mut_val *array, const char *type)
{
	yyjson_mut_arr_iter iter = yyjson_mut_arr_iter_with(array);

	for (yyjson_mut_val *v; (v = yyjson_mut_arr_iter_next(&iter));) {
		if (has_type(v, type))
			yyjson_mut_arr_iter_remove(&iter);
	}
}

/* "gid=5" is a group that somebody without privilege does not map. */
static void drop_group_options(yyjson_mut_val *mounts)
{
	yyjson_mut_arr_iter each = yyjson_mut_arr_iter_with(mounts);

	for (yyjson_mut_val *m; (m = yyjson_mut_arr_iter_next(&each));) {
		yyjson_mut_arr_iter iter = yyjson_mut_arr_iter_with(
			yyjson_mut_obj_get(m, "options"));

		for (yyjson_mut_val *v;
		     (v = yyjson_mut_arr_iter_next(&iter));) {
			if (strncmp(yyjson_mut_get_str(v), "gid=", 4) == 0)
				yyjson_mut_arr_iter_remove(&iter);
		}
	}
}

static void add_map(yyjson_mut_doc *doc, const char *name, uint32_t id)
{
	yyjson_mut_val *linux_part =
		yyjson_mut_obj_get(yyjson_mut_doc_get_root(doc), "linux");
	yyjson_mut_val *maps = yyjson_mut_arr(doc);
	yyjson_mut_val *one = yyjson_mut_arr_add_obj(doc, maps);

	json_put_number(doc, one, "containerID", 0);
	json_put_number(doc, one, "hostID", id);
	json_put_number(doc, one, "size", 1);
	json_put(doc, linux_part, name, maps);
}

/* A user namespace in which one is root oneself, without a network or a cgroup
 * of one's own: the sysfs of a host's network may only be bound. */
static char *rootless_text(size_t *size)
{
	yyjson_doc *read = yyjson_read(spec_text, sizeof(spec_text) - 1, 0);
	yyjson_mut_doc *doc = yyjson_doc_mut_copy(read, NULL);
	yyjson_mut_val *top = yyjson_mut_doc_get_root(doc);
	yyjson_mut_val *linux_part = yyjson_mut_obj_get(top, "linux");
	yyjson_mut_val *spaces = yyjson_mut_obj_get(linux_part, "namespaces");
	yyjson_mut_val *mounts = yyjson_mut_obj_get(top, "mounts");

	drop_type(spaces, "network");
	json_put_text(doc, yyjson_mut_arr_add_obj(doc, spaces), "type", "user");
	yyjson_mut_obj_remove_key(linux_part, "resources");
	drop_type(mounts, "cgroup");
	drop_group_options(mounts);
	drop_type(mounts, "sysfs");
	yyjson_mut_val *sys = yyjson_mut_arr_add_obj(doc, mounts);
	yyjson_mut_val *options = yyjson_mut_arr(doc);

	json_put_text(doc, sys, "destination", "/sys");
	json_put_text(doc, sys, "type", "none");
	json_put_text(doc, sys, "source", "/sys");
	json_append_text(doc, options, "rbind");
	json_append_text(doc, options, "nosuid");
	json_append_text(doc, options, "noexec");
	json_append_text(doc, options, "nodev");
	json_append_text(doc, options, "ro");
	json_put(doc, sys, "options", options);
	add_map(doc, "uidMappings", geteuid());
	add_map(doc, "gidMappings", getegid());
	char *text = yyjson_mut_write(doc,
				      YYJSON_WRITE_PRETTY_TWO_SPACES |
					      YYJSON_WRITE_NEWLINE_AT_END,
				      size);

	yyjson_mut_doc_free(doc);
	yyjson_doc_free(read);
	return text;
}

static int write_config(const char *bundle, const char *text, size_t size)
{
	struct fault fault = { "" };
	autoclose int dir = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoclose int fd =
		dir < 0 ? dir
			: openat(dir, "config.json",
				 O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	int r = fd < 0 ? -errno : fd_write(fd, text, size);

	if (r < 0) {
		fault_set(&fault, r, "config.json in %.200s", bundle);
		cli_error(fault.text);
	}
	return r < 0;
}

int command_spec(int argc, char **argv)
{
	static const struct option options[] = {
		{ "bundle", required_argument, NULL, 'b' },
		{ "rootless", no_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	const char *bundle = ".";
	bool rootless = false;
	int option;

	while ((option = option_next(argc, argv, "b:", options, NULL)) >= 0) {
		if (option == '?')
			return 1;
		if (option == 'b')
			bundle = optarg;
		else
			rootless = true;
	}
	if (!rootless)
		return write_config(bundle, spec_text, sizeof(spec_text) - 1);
	size_t size = 0;
	autofree char *text = rootless_text(&size);

	return text ? write_config(bundle, text, size) : 1;
}
