/* Its file is the node's, and executed by descriptor: the container could open
 * it for writing through /proc/1/exe, so it is reached through a read-only
 * mount of its own (see exe_guard.c). */
#define _GNU_SOURCE
#include "reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "cli.h"
#include "kernel.h"
#include "serve.h"

#define PROGRAM "zreap"

bool reaper_wanted(const struct runtime_config *config)
{
	const char *value = text_map_find(&config->annotations,
					  ZRUN_ANNOTATION_INIT);

	return value && strcmp(value, "true") == 0;
}

static int program_open(void)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	char path[4096];

	cli_beside(PROGRAM, path);
	autoclose int tree = kernel_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE);

	if (tree < 0)
		return tree;
	int r = kernel_mount_setattr(tree, 0, &attr);

	return r < 0 ? r : fd_take(&tree);
}

int reaper_give(struct launch *l, struct fault *fault)
{
	const struct text_list *args = &l->config->process.args;
	const char **words = arena_take(&l->config->arena,
					(args->n + 3) * sizeof(*words));

	if (!words)
		return fault_set(fault, -ENOMEM, PROGRAM);
	l->child.reaper = program_open();
	if (l->child.reaper < 0)
		return fault_set(fault, l->child.reaper, PROGRAM);
	words[0] = PROGRAM;
	words[1] = l->child.program;
	for (size_t i = 0; i <= args->n; i++)
		words[2 + i] = args->item[i];
	l->child.reaper_args = words;
	return 0;
}
