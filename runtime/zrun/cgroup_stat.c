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
#include "base/span.h"

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

/* The text after `key`, to the next blank. sscanf(3) would bring all of the C
 * library's number reading into the program. */
static int field(const char *line, const char *key, char *out, size_t size)
{
	const char *at = strstr(line, key);
	size_t n = at ? strcspn(at + strlen(key), " \n") : 0;

	if (n == 0 || n >= size)
		return -ENOENT;
	return span_copy(out, size, (struct span){ at + strlen(key), n });
}

int cgroup_pressure(const struct cgroup *cg, const char *file, const char *line,
		    struct cgroup_pressure *out)
{
	autofree char *text = NULL;
	char total[24];
	size_t size;
	int r = file_read(cg->dir, file, STAT_SIZE_MAX, &text, &size);

	if (r < 0)
		return r;
	const char *at = strstr(text, line);

	if (!at || field(at, " avg10=", out->avg10, sizeof(out->avg10)) < 0 ||
	    field(at, " avg60=", out->avg60, sizeof(out->avg60)) < 0 ||
	    field(at, " avg300=", out->avg300, sizeof(out->avg300)) < 0 ||
	    field(at, " total=", total, sizeof(total)) < 0)
		return -ENOENT;
	out->total_us = strtoull(total, NULL, 10);
	return 0;
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
