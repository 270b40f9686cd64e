#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/mount.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/span.h"
#include "disk.h"
#include "job.h"
#include "mounted.h"

#define LABEL	  "ZOOID"
#define FILE_NAME "node.json"

/* What the child that touches the disk leaves. */
struct work {
	struct config config;
	bool mounted;
};

static int find(void *arg)
{
	int err = disk_find(LABEL, arg);

	return err == -ENODEV ? disk_find_fat(LABEL, arg) : err;
}

static int zooid_mount(void)
{
	static const struct mount_option options[] = {
		{ "ro", NULL },
		{ NULL, NULL },
	};
	struct disk_part part;
	char device[80];
	int err = disk_await(find, &part, 5000);

	if (err < 0)
		return err;
	snprintf(device, sizeof(device), "/dev/%s", part.name);
	return mount_device("vfat", device, path_boot(), options,
			    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
				    MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

static int node_read(struct node_json *node, char *error)
{
	autoclose int dir = open(path_boot(),
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofree char *text = NULL;
	autofree void *scratch = NULL;
	size_t size = 0;
	int err = dir < 0 ? -errno
			  : file_read(dir, FILE_NAME, NODE_JSON_SIZE_MAX, &text,
				      &size);

	if (err == 0) {
		scratch = malloc(NODE_SCRATCH_SIZE(size));
		err = scratch ? 0 : -ENOMEM;
	}
	if (err < 0) {
		snprintf(error, NODE_ERROR_SIZE, FILE_NAME ": %s",
			 strerror(-err));
		return err;
	}
	return node_json_parse(text, size, scratch, NODE_SCRATCH_SIZE(size),
			       node, error);
}

static int step_read(void *arg)
{
	struct work *work = arg;
	struct config *config = &work->config;
	struct node_json *node = job_memory(sizeof(*node));
	int err = zooid_mount();

	if (err < 0)
		return err;
	work->mounted = true;
	err = node ? node_read(node, config->error) : -ENOMEM;
	if (err < 0)
		return err;
	text_copy(config->name, sizeof(config->name), node->name);
	text_copy(config->password, sizeof(config->password), node->password);
	memcpy(config->interface, node->interface, sizeof(node->interface));
	config->n_interface = node->n_interface;
	return 0;
}

static void keep(const struct config *config)
{
	autoclose int dir = open(path_run(),
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = dir < 0 ? -errno
			  : file_replace(dir, "config", 0600, config,
					 sizeof(*config));

	if (err < 0)
		log_error(path_run(), "config: %s", strerror(-err));
}

void config_load(struct config *config)
{
	autoclose int dir = open(path_run(),
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofree char *data = NULL;
	size_t size = 0;

	*config = (struct config){ .name = "zooid" };
	if (dir >= 0 &&
	    file_read(dir, "config", sizeof(*config), &data, &size) == 0 &&
	    size == sizeof(*config))
		memcpy(config, data, size);
}

int zooid_main(int argc, char **argv)
{
	struct work *work = job_memory(sizeof(*work));
	struct config *config;
	int err;

	(void)argc;
	(void)argv;
	if (!work)
		return EXIT_FAILURE;
	config = &work->config;
	text_copy(config->name, sizeof(config->name), "zooid");
	err = job_step(FILE_NAME " of " LABEL, step_read, work, 50000);
	if (!work->mounted) {
		log_warning(path_boot(),
			    err == -ENODEV ? "no partition " LABEL
					     ": all defaults"
					   : "cannot mount: %s",
			    strerror(-err));
	} else if (err == -ENOENT) {
		log_notice(FILE_NAME, "not there: all defaults");
		config->error[0] = '\0';
	} else if (config->error[0]) {
		log_error(NULL, "%s", config->error);
	}
	sethostname(config->name, strlen(config->name));
	keep(config);
	return EXIT_SUCCESS;
}
