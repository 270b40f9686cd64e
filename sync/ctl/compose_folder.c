/* A service of a Compose file: a folder that lies beside the file. The node has
 * it not. What is in one that is only read goes with the file, each of its
 * files as a config does; one that is empty, or not there yet, is for the
 * service to fill: a volume. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compose_service.h"

enum { DEPTH_MAX = 8, PATH_SIZE = 1024 };

struct folder {
	struct walk *w;
	struct service *s;
	unsigned line, n;
	const char *names[DESIRED_MOUNTS_MAX];
};

static int name_keep(const char *name, void *arg)
{
	struct folder *f = arg;

	if (f->n == DESIRED_MOUNTS_MAX)
		return -E2BIG;
	f->names[f->n] = walk_keep(f->w, f->line, span_of(name));
	return f->names[f->n++] ? 0 : -ENOMEM;
}

static int names_read(struct walk *w, const char *path, struct folder *f)
{
	return w->config->list ? w->config->list(path, name_keep, f) : -EISDIR;
}

static bool files_send(struct folder *f, const char *path, const char *target,
		       unsigned depth);

static bool file_send(struct folder *f, const char *path, const char *target,
		      unsigned depth)
{
	struct desired_mount m = { .target = walk_keep(f->w, f->line,
						       span_of(target)) };
	int err = m.target ? bind_file(f->w, f->s, f->line, path, &m) : -ENOMEM;

	if (err == -EISDIR && depth < DEPTH_MAX)
		return files_send(f, path, target, depth + 1);
	if (err == -EISDIR)
		walk_fail(f->w, f->line, "\"%.60s\" is too deep", path);
	return err == 0;
}

static bool files_send(struct folder *f, const char *path, const char *target,
		       unsigned depth)
{
	struct folder here = { .w = f->w, .s = f->s, .line = f->line };
	char from[PATH_SIZE], to[PATH_SIZE];
	int err = names_read(f->w, path, &here);

	if (err < 0) {
		walk_fail(f->w, f->line, "\"%.60s\": %s", path,
			  err == -E2BIG ? "has too many files to send"
					: strerror(-err));
		return false;
	}
	for (unsigned i = 0; i < here.n; i++) {
		int n = snprintf(from, sizeof(from), "%s/%s", path,
				 here.names[i]);
		int k = snprintf(to, sizeof(to), "%s/%s", target,
				 here.names[i]);

		if (n >= PATH_SIZE || k >= PATH_SIZE) {
			walk_fail(f->w, f->line,
				  "\"%.60s\": its name is too long", path);
			return false;
		}
		if (!file_send(f, from, to, depth))
			return false;
		f->n++;
	}
	return true;
}

/* Two services that name the same folder have the same volume. */
static void volume_make(struct walk *w, struct service *s, unsigned line,
			const char *path, struct desired_mount m)
{
	char name[PATH_SIZE], id[64], what[PATH_SIZE + 2];
	size_t n = strlen(path);

	while (n && path[n - 1] == '/')
		n--;
	snprintf(what, sizeof(what), "./%.*s", (int)n, path);
	text_copy(name, sizeof(name), what + strspn(what, "./"));
	for (char *p = name; *p; p++)
		if (*p == '/')
			*p = '-';
	if (!name_id(name, id)) {
		walk_fail(w, line,
			  "\"%.60s\" is a folder of this machine, which is not "
			  "on the node; use a volume with a name",
			  path);
		return;
	}
	m.type = DESIRED_MOUNT_VOLUME;
	m.source = volume_claim(w, line, id, what);
	if (!m.source)
		return;
	walk_notice(w, line, "is volume %s of the node, empty at first", id);
	mount_add(w, s, line, m);
}

void folder_read(struct walk *w, struct service *s, unsigned line,
		 const char *path, struct desired_mount m)
{
	struct folder f = { .w = w, .s = s, .line = line };
	int err = names_read(w, path, &f);
	unsigned n = f.n;

	if (err == -ENOENT && m.read_only) {
		walk_fail(w, line, "\"%.60s\": %s", path, strerror(-err));
	} else if ((err == 0 && !n) || err == -ENOENT) {
		volume_make(w, s, line, path, m);
	} else if (!m.read_only) {
		walk_fail(w, line,
			  "\"%.60s\" is a folder of this machine, which is not "
			  "on the node; use a volume with a name, or say :ro "
			  "to send its files",
			  path);
	} else {
		f.n = 0;
		if (files_send(&f, path, m.target, 0))
			walk_notice(w, line,
				    "its files are sent as they are now");
	}
}
