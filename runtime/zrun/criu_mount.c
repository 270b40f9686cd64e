/* Which mounts criu gets told about, and what is kept of them.
 *
 * The image directory's file `mounts` has a line for each, as mountinfo spells
 * paths, without white space:
 *	null /proc/kcore                  a masked file
 *	tree /dev tmpfs rw,nosuid mode=755,size=9k
 *	                                  a tmpfs, its source, the options of
 *	                                  the mount and its own; what it held
 *	                                  is in mounts.d/0, and so on
 * Whoever can write it chooses what a restored container sees, as with every
 * other file of an image; it leads to nothing on the host. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/span.h"
#include "criu_mount.h"
#include "kernel.h"
#include "tree_copy.h"

#define LIST	  "mounts"
#define NULL_FILE "null" /* on the stage */

enum { MOUNTINFO_SIZE_MAX = 4 << 20 };

/* Fields of proc_pid_mountinfo(5). */
struct line {
	struct span root, point, options, type, source, data;
};

static bool line_cut(struct span *text, struct line *line)
{
	struct span row, token;

	if (!span_cut(text, '\n', &row))
		return false;
	memset(line, 0, sizeof(*line));
	for (int i = 0; i < 6 && span_cut(&row, ' ', &token); i++) {
		if (i == 3)
			line->root = token;
		if (i == 4)
			line->point = token;
		line->options = token;
	}
	/* Optional fields end at a hyphen. */
	while (span_cut(&row, ' ', &token) && !span_is(token, "-"))
		;
	span_cut(&row, ' ', &line->type);
	span_cut(&row, ' ', &line->source);
	line->data = row;
	return true;
}

/* "\040" and the like, in place. */
static void unescape(char *path)
{
	char *to = path;

	for (const char *p = path; *p; p++) {
		if (*p == '\\' && strspn(p + 1, "01234567") >= 3) {
			*to++ = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 +
				       p[3] - '0');
			p += 3;
		} else {
			*to++ = *p;
		}
	}
	*to = '\0';
}

/* It comes from the config again: a bind mount, or a file (child_file.c). */
static bool is_given(const struct runtime_mount *m)
{
	return m->bind || (m->type && strcmp(m->type, "file") == 0);
}

static bool is_given_at(const struct runtime_config *config, const char *point)
{
	for (size_t i = 0; i < config->n_mount; i++) {
		const struct runtime_mount *m = &config->mount[i];

		if (is_given(m) && strcmp(m->destination, point) == 0)
			return true;
	}
	return false;
}

struct dump {
	struct criu_command *command;
	const struct runtime_config *config;
	pid_t pid;
	int image_dir, trees;
	unsigned n;
	FILE *list;
};

/* The mount of the container at point: the kernel follows its links in there,
 * so what is opened is looked at before it is used. */
static int open_mounted(const struct dump *d, const char *point, int flags)
{
	char root[32];

	snprintf(root, sizeof(root), "/proc/%d/root", (int)d->pid);
	autoclose int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? -errno : path_open_in_root(dir, point, flags, 0);
}

static bool is_null_device(const struct dump *d, const char *point)
{
	struct stat st;
	autoclose int fd = open_mounted(d, point, O_PATH);

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
	       st.st_rdev == makedev(1, 3);
}

static int keep_tree(struct dump *d, const char *point)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", d->n);
	if (mkdirat(d->trees, name, 0700) < 0)
		return -errno;
	autoclose int from = open_mounted(d, point, O_RDONLY | O_DIRECTORY);
	autoclose int to = openat(d->trees, name,
				  O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (from < 0)
		return from;
	return to < 0 ? -errno : tree_copy(from, to);
}

static int dump_line(struct dump *d, const struct line *line)
{
	char point[4096];
	const char *kind = NULL;
	int r = span_copy(point, sizeof(point), line->point);

	if (r < 0)
		return r;
	unescape(point);
	if (strcmp(point, "/") == 0)
		return 0;
	if (is_given_at(d->config, point))
		kind = "";
	else if (span_is(line->type, "tmpfs") && span_is(line->root, "/"))
		kind = "tree";
	else if (is_null_device(d, point))
		kind = "null";
	if (!kind)
		return 0;
	criu_add(d->command, "--external");
	criu_add(d->command, "mnt[%s]:%s", point, point);
	if (strcmp(kind, "null") == 0)
		fprintf(d->list, "null %.*s\n", (int)line->point.size,
			line->point.data);
	if (strcmp(kind, "tree") != 0)
		return 0;
	fprintf(d->list, "tree %.*s %.*s %.*s %.*s\n", (int)line->point.size,
		line->point.data, (int)line->source.size, line->source.data,
		(int)line->options.size, line->options.data,
		(int)line->data.size, line->data.data);
	r = keep_tree(d, point);
	d->n++;
	return r;
}

static int dump_lines(struct dump *d, struct fault *fault)
{
	autofree char *text = NULL;
	char path[40];
	size_t size;
	struct line line;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)d->pid);
	int r = file_read(AT_FDCWD, path, MOUNTINFO_SIZE_MAX, &text, &size);

	if (r < 0)
		return fault_set(fault, r, "%s", path);
	for (struct span rest = { text, size }; line_cut(&rest, &line);) {
		r = dump_line(d, &line);
		if (r < 0)
			return fault_set(fault, r, "keep the tmpfs at %.*s",
					 (int)line.point.size, line.point.data);
	}
	return 0;
}

static int open_trees(struct dump *d)
{
	int r = path_remove_tree(d->image_dir, CRIU_MOUNT_TREES);

	if (r == 0 && mkdirat(d->image_dir, CRIU_MOUNT_TREES, 0700) < 0)
		r = -errno;
	if (r < 0)
		return r;
	d->trees = openat(d->image_dir, CRIU_MOUNT_TREES,
			  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return d->trees < 0 ? -errno : 0;
}

int criu_mount_dump(struct criu_command *command,
		    const struct runtime_config *config, pid_t pid,
		    int image_dir, struct fault *fault)
{
	autofree char *list = NULL;
	size_t size = 0;
	struct dump d = { command, config, pid, image_dir, -1, 0, NULL };
	int r = open_trees(&d);

	if (r == 0)
		d.list = open_memstream(&list, &size);
	if (r == 0 && !d.list)
		r = -ENOMEM;
	if (r < 0) {
		fd_close(&d.trees);
		return fault_set(fault, r, CRIU_MOUNT_TREES);
	}
	r = dump_lines(&d, fault);
	fd_close(&d.trees);
	if (fclose(d.list) != 0 && r == 0)
		r = fault_set(fault, -ENOMEM, LIST);
	if (r < 0)
		return r;
	r = file_replace(image_dir, LIST, 0600, list, size);
	return r < 0 ? fault_set(fault, r, LIST) : 0;
}

/* A line of the list, its fields cut apart. */
struct kept {
	const char *kind;
	char *point, *source, *options, *data;
};

static bool kept_cut(char **rest, struct kept *k)
{
	char *row = strsep(rest, "\n");

	if (!row || !*row)
		return false;
	k->kind = strsep(&row, " ");
	k->point = row ? strsep(&row, " ") : NULL;
	k->source = row ? strsep(&row, " ") : NULL;
	k->options = row ? strsep(&row, " ") : NULL;
	k->data = row;
	return true;
}

/* Leaves out what mountinfo shows and mount(2) does not take, and that it was
 * read-only, for it is filled first. */
static void data_clean(char *data)
{
	char *start = data, *to = data;

	for (char *option; (option = strsep(&data, ","));) {
		size_t n = strlen(option);

		if (strcmp(option, "ro") == 0 || strcmp(option, "rw") == 0 ||
		    strcmp(option, "seclabel") == 0)
			continue;
		if (to != start)
			*to++ = ',';
		memmove(to, option, n);
		to += n;
	}
	*to = '\0';
}

/* What the options of a mount, as mountinfo shows them, say beside "rw". */
static uint64_t attributes(char *options)
{
	static const struct {
		const char *name;
		uint64_t attr;
	} names[] = {
		{ "ro", MOUNT_ATTR_RDONLY },
		{ "nosuid", MOUNT_ATTR_NOSUID },
		{ "nodev", MOUNT_ATTR_NODEV },
		{ "noexec", MOUNT_ATTR_NOEXEC },
		{ "nosymfollow", MOUNT_ATTR_NOSYMFOLLOW },
	};
	uint64_t attr = 0;

	for (char *option; (option = strsep(&options, ","));)
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strcmp(option, names[i].name) == 0)
				attr |= names[i].attr;
	return attr;
}

struct stage {
	int trees; /* what is kept; the stage is mounted over its name */
	const char *path;
	unsigned n;
};

static int stage_tree(struct stage *s, const struct kept *k)
{
	char name[16], path[4096];

	data_clean(k->data);
	snprintf(name, sizeof(name), "%u", s->n++);
	snprintf(path, sizeof(path), "%s/%s", s->path, name);
	if (mkdir(path, 0700) < 0)
		return -errno;
	unescape(k->source);
	int r = kernel_mount(k->source, path, "tmpfs", 0, k->data);

	if (r < 0)
		return r;
	autoclose int from = openat(s->trees, name,
				    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoclose int to = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (from < 0 || to < 0)
		return -errno;
	struct mount_attr attr = { .attr_set = attributes(k->options) };

	r = tree_copy(from, to);
	return r < 0 ? r : kernel_mount_setattr(to, 0, &attr);
}

/* What lies over masked files. Read-only, for root of a container may change
 * the mode of what it can write to, and this is the host's. */
static int stage_null(const struct stage *s)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	char path[4096];

	snprintf(path, sizeof(path), "%s/" NULL_FILE, s->path);
	autoclose int onto = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	autoclose int tree = kernel_open_tree(AT_FDCWD, "/dev/null",
					      OPEN_TREE_CLONE);

	if (onto < 0 || tree < 0)
		return onto < 0 ? -errno : tree;
	int r = kernel_mount_setattr(tree, 0, &attr);

	return r < 0 ? r : kernel_attach(tree, onto);
}

static int list_read(const char *image_path, char **text)
{
	autoclose int dir = open(image_path,
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t size;

	return dir < 0 ? -errno
		       : file_read(dir, LIST, MOUNTINFO_SIZE_MAX, text, &size);
}

int criu_mount_stage(const char *image_path)
{
	autofree char *text = NULL;
	char path[4096 - 16];
	struct kept k;
	int r = list_read(image_path, &text);

	if (r < 0)
		return r == -ENOENT ? 0 : r; /* another runtime's image */
	snprintf(path, sizeof(path), "%s/" CRIU_MOUNT_TREES, image_path);
	autoclose int trees = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stage s = { trees, path, 0 };

	r = trees < 0 ? -errno
		      : kernel_mount("tmpfs", path, "tmpfs",
				     MS_NOSUID | MS_NODEV, NULL);
	if (r == 0)
		r = stage_null(&s);
	for (char *rest = text; r == 0 && kept_cut(&rest, &k);) {
		if (strcmp(k.kind, "tree") == 0)
			r = k.data ? stage_tree(&s, &k) : -EBADMSG;
	}
	return r;
}

int criu_mount_restore(struct criu_command *command,
		       const struct runtime_config *config,
		       const char *image_path, struct fault *fault)
{
	autofree char *text = NULL;
	struct kept k;
	unsigned n = 0;
	int r = list_read(image_path, &text);

	if (r < 0 && r != -ENOENT)
		return fault_set(fault, r, "%.200s/" LIST, image_path);
	for (size_t i = 0; i < config->n_mount; i++) {
		const struct runtime_mount *m = &config->mount[i];

		if (!is_given(m))
			continue;
		criu_add(command, "--external");
		criu_add(command, "mnt[%s]:%s", m->destination, m->source);
	}
	for (char *rest = text; kept_cut(&rest, &k);) {
		if (!k.point)
			return fault_set(fault, -EBADMSG, "%.200s/" LIST,
					 image_path);
		unescape(k.point);
		criu_add(command, "--external");
		if (strcmp(k.kind, "tree") == 0)
			criu_add(command, "mnt[%s]:%s/" CRIU_MOUNT_TREES "/%u",
				 k.point, image_path, n++);
		else
			criu_add(command,
				 "mnt[%s]:%s/" CRIU_MOUNT_TREES "/" NULL_FILE,
				 k.point, image_path);
	}
	return 0;
}
