#define _GNU_SOURCE
#include "cgroup_stat.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"

#define STAT_SIZE_MAX (64 << 10)

static int64_t number(const char *text)
{
	return strncmp(text, "max", 3) == 0 ? CGROUP_NUMBER_MAX
					    : strtoll(text, NULL, 10);
}

int64_t cgroup_number(const struct cgroup *cg, const char *file)
{
	autofree char *text = NULL;
	size_t size;
	int r = file_read(cg->dir, file, STAT_SIZE_MAX, &text, &size);

	return r < 0 ? r : number(text);
}

int64_t cgroup_key(const struct cgroup *cg, const char *file, const char *key)
{
	autofree char *text = NULL;
	size_t size, n = strlen(key);
	int r = file_read(cg->dir, file, STAT_SIZE_MAX, &text, &size);

	if (r < 0)
		return r;
	for (char *line = text; *line; line = strchrnul(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, n) == 0 && line[n] == ' ')
			return number(line + n + 1);
	}
	return -ENOENT;
}

static void visit_procs(int dir, void (*visit)(pid_t pid, void *arg), void *arg)
{
	autoclose int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "re");
	char line[32];

	if (f)
		(void)fd_take(&fd);
	while (f && fgets(line, sizeof(line), f))
		visit((pid_t)strtol(line, NULL, 10), arg);
	if (f)
		fclose(f);
}

static void visit_tree(int dir, void (*visit)(pid_t pid, void *arg), void *arg)
{
	DIR *list = path_list(dir, ".");

	visit_procs(dir, visit, arg);
	for (struct dirent *e; list && (e = readdir(list));) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		autoclose int below = openat(
			dir, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (below >= 0)
			visit_tree(below, visit, arg);
	}
	if (list)
		closedir(list);
}

void cgroup_processes(const struct cgroup *cg,
		      void (*visit)(pid_t pid, void *arg), void *arg)
{
	visit_tree(cg->dir, visit, arg);
}
