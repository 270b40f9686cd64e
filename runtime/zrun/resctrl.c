/* A group is a directory: `schemata` says what it gets, `tasks` takes
 * processes. One that the config names (closID) may be somebody else's, with
 * other containers in it: then it is checked, never written, and never removed.
 */
#define _GNU_SOURCE
#include "resctrl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/span.h"
#include "state.h"

#define DIRECTORY (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

enum {
	MOUNTS_SIZE_MAX = 4 << 20,
	SCHEMATA_SIZE_MAX = 64 << 10,
	PATH_SIZE = 2 * NAME_MAX + 32,
};

static bool is_resctrl(struct span line)
{
	static const char type[] = " - resctrl ";

	return memmem(line.data, line.size, type, sizeof(type) - 1);
}

/* The fifth field. Nobody mounts it in a path with white space. */
static int open_mount(struct span line)
{
	struct span point = { "", 0 };
	char path[PATH_MAX];

	for (int i = 0; i < 5 && span_cut(&line, ' ', &point); i++)
		;
	int r = span_copy(path, sizeof(path), point);

	if (r < 0)
		return r;
	int fd = open(path, DIRECTORY);

	return fd < 0 ? -errno : fd;
}

int resctrl_find(struct fault *fault)
{
	autofree char *text = NULL;
	struct span rest = { NULL, 0 }, line;
	int r = file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTS_SIZE_MAX,
			  &text, &rest.size);

	if (r < 0)
		return fault_set(fault, r, "linux.intelRdt: mountinfo");
	rest.data = text;
	while (span_cut(&rest, '\n', &line)) {
		if (!is_resctrl(line))
			continue;
		r = open_mount(line);
		return r < 0 ? fault_set(fault, r, "linux.intelRdt: resctrl")
			     : r;
	}
	return fault_set(fault, 0,
			 "linux.intelRdt: no resctrl file system is mounted "
			 "here (mount -t resctrl resctrl /sys/fs/resctrl, on a "
			 "processor that has it)");
}

/* The reason that the kernel keeps of the last refusal, as one line. */
static int refused(int root, int error, const char *what, struct fault *fault)
{
	autofree char *why = NULL;
	size_t size;

	if (file_read(root, "info/last_cmd_status", SCHEMATA_SIZE_MAX, &why,
		      &size) < 0 ||
	    size == 0)
		return fault_set(fault, error, "linux.intelRdt: %s", what);
	why[strcspn(why, "\n")] = '\0';
	return fault_set(fault, error, "linux.intelRdt: %s (%.100s)", what,
			 why);
}

static const char *group_name(const struct runtime_intel_rdt *rdt,
			      const char *id)
{
	return rdt->clos_id ? rdt->clos_id : id;
}

struct text {
	char data[SCHEMATA_SIZE_MAX];
	size_t size;
};

static int add_line(struct text *to, struct span line)
{
	if (line.size >= sizeof(to->data) - to->size)
		return -E2BIG;
	memcpy(to->data + to->size, line.data, line.size);
	to->size += line.size;
	to->data[to->size++] = '\n';
	return 0;
}

/* Lines about memory bandwidth among those about the cache do not count. */
static int add_cache(struct text *to, const char *schema)
{
	struct span rest = span_of(schema ? schema : ""), line;
	int r = 0;

	while (r == 0 && span_cut(&rest, '\n', &line)) {
		if (line.size &&
		    (line.size < 3 || memcmp(line.data, "MB:", 3) != 0))
			r = add_line(to, line);
	}
	return r;
}

/* What is to be written, in one piece; nothing when nothing is asked. */
static int compose(struct text *to, const struct runtime_intel_rdt *rdt)
{
	int r = 0;

	to->size = 0;
	for (size_t i = 0; r == 0 && i < rdt->schemata.n; i++)
		r = add_line(to, span_of(rdt->schemata.item[i]));
	if (rdt->schemata.n)
		return r;
	r = add_cache(to, rdt->l3_cache_schema);
	if (r == 0 && rdt->mem_bw_schema && *rdt->mem_bw_schema)
		r = add_line(to, span_of(rdt->mem_bw_schema));
	return r;
}

static struct span trimmed(struct span s)
{
	while (s.size && *s.data == ' ') {
		s.data++;
		s.size--;
	}
	while (s.size && s.data[s.size - 1] == ' ')
		s.size--;
	return s;
}

static bool is_same(struct span a, struct span b)
{
	return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* The kernel pads with blanks and zeroes. */
static struct span value_of(struct span s)
{
	s = trimmed(s);
	while (s.size > 1 && *s.data == '0') {
		s.data++;
		s.size--;
	}
	return s;
}

/* Whether "0=ff;1=f" among `all` has what "1=f" wants. */
static bool has_domain(struct span all, struct span want)
{
	struct span domain, key, want_key;

	span_cut(&want, '=', &want_key);
	while (span_cut(&all, ';', &domain)) {
		span_cut(&domain, '=', &key);
		if (is_same(trimmed(key), trimmed(want_key)))
			return is_same(value_of(domain), value_of(want));
	}
	return false;
}

/* Whether the lines of `all` say what the line `want` does. */
static bool has_line(struct span all, struct span want)
{
	struct span line, name, want_name, domain;

	span_cut(&want, ':', &want_name);
	while (span_cut(&all, '\n', &line)) {
		span_cut(&line, ':', &name);
		if (!is_same(trimmed(name), trimmed(want_name)))
			continue;
		bool same = true;

		while (same && span_cut(&want, ';', &domain))
			same = trimmed(domain).size == 0 ||
			       has_domain(line, domain);
		return same;
	}
	return false;
}

static int check_schemata(int group, const struct text *want, const char *name,
			  struct fault *fault)
{
	autofree char *text = NULL;
	struct span is = { NULL, 0 }, line;
	struct span rest = { want->data, want->size };
	int r = file_read(group, "schemata", SCHEMATA_SIZE_MAX, &text,
			  &is.size);

	if (r < 0)
		return fault_set(fault, r, "linux.intelRdt.closID (%.80s)",
				 name);
	is.data = text;
	while (span_cut(&rest, '\n', &line)) {
		if (line.size && !has_line(is, line))
			return fault_set(fault, 0,
					 "linux.intelRdt.closID (%.80s): the "
					 "class is there and has no \"%.*s\"",
					 name, (int)line.size, line.data);
	}
	return 0;
}

static int put_schemata(int root, int group, const struct text *text,
			struct fault *fault)
{
	autoclose int file = openat(group, "schemata", O_WRONLY | O_CLOEXEC);
	int r = file < 0 ? -errno : fd_write(file, text->data, text->size);

	return r < 0 ? refused(root, r, "write schemata", fault) : 0;
}

/* Noted first, so that it is found after a cut. */
static int make_noted(int root, int state_dir, const char *path,
		      struct fault *fault)
{
	autoclose int note = openat(state_dir, STATE_RESCTRL,
				    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
				    0600);
	int r = note < 0 ? -errno : fd_write(note, path, strlen(path));

	if (r < 0)
		return fault_set(fault, r, "keep its state");
	if (mkdirat(root, path, 0755) == 0)
		return 0;
	r = refused(root, -errno, "make a group", fault);
	unlinkat(state_dir, STATE_RESCTRL, 0);
	return r;
}

static int open_group(int root, const char *path, struct fault *fault)
{
	int fd = openat(root, path, DIRECTORY | O_NOFOLLOW);

	return fd < 0 ? fault_set(fault, -errno, "linux.intelRdt: group %.200s",
				  path)
		      : fd;
}

/* Where the processes are put: into a monitoring group below, if it has one of
 * its own. */
static void group_path(const struct runtime_intel_rdt *rdt, const char *id,
		       char path[static PATH_SIZE])
{
	const char *name = group_name(rdt, id);

	if (rdt->enable_monitoring)
		snprintf(path, PATH_SIZE, "%s/mon_groups/%s", name, id);
	else
		snprintf(path, PATH_SIZE, "%s", name);
}

int resctrl_open(int root, const struct runtime_intel_rdt *rdt, const char *id,
		 struct fault *fault)
{
	char path[PATH_SIZE];

	group_path(rdt, id, path);
	return open_group(root, path, fault);
}

/* One that is there; *made: it was not, and is now. */
static int find_or_make(int root, int state_dir,
			const struct runtime_intel_rdt *rdt, const char *id,
			bool *made, struct fault *fault)
{
	static struct text want;
	const char *name = group_name(rdt, id);
	int r = compose(&want, rdt);

	if (r < 0)
		return fault_set(fault, r, "linux.intelRdt: schemata");
	bool there = faccessat(root, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

	if (!there && rdt->clos_id && !want.size)
		return fault_set(
			fault, 0,
			"linux.intelRdt.closID (%.80s): no such class, "
			"and no schema to make it with",
			name);
	if (!there) {
		r = make_noted(root, state_dir, name, fault);
		*made = r == 0;
	}
	autoclose int group = r < 0 ? r : open_group(root, name, fault);

	if (group < 0)
		return group;
	if (!want.size)
		return 0;
	return there ? check_schemata(group, &want, name, fault)
		     : put_schemata(root, group, &want, fault);
}

static int check_monitoring(int root, const struct runtime_intel_rdt *rdt,
			    struct fault *fault)
{
	autofree char *features = NULL;
	size_t size;

	if (!rdt->enable_cmt && !rdt->enable_mbm)
		return 0;
	(void)file_read(root, "info/L3_MON/mon_features", SCHEMATA_SIZE_MAX,
			&features, &size);
	if (rdt->enable_cmt &&
	    (!features || !strstr(features, "llc_occupancy")))
		return fault_set(
			fault, 0,
			"linux.intelRdt.enableCMT: this processor does "
			"not count the cache's occupancy");
	if (rdt->enable_mbm && (!features || !strstr(features, "mbm_")))
		return fault_set(
			fault, 0,
			"linux.intelRdt.enableMBM: this processor does "
			"not count memory bandwidth");
	return 0;
}

int resctrl_make(int root, int state_dir, const struct runtime_intel_rdt *rdt,
		 const char *id, struct fault *fault)
{
	bool made = false;
	char path[PATH_SIZE];
	int r = check_monitoring(root, rdt, fault);

	if (r == 0)
		r = find_or_make(root, state_dir, rdt, id, &made, fault);
	if (r == 0 && rdt->enable_monitoring) {
		group_path(rdt, id, path);
		/* Below one of ours it goes with that. */
		if (!made)
			r = make_noted(root, state_dir, path, fault);
		else if (mkdirat(root, path, 0755) < 0)
			r = refused(root, -errno, "make a monitoring group",
				    fault);
	}
	if (r == 0)
		r = resctrl_open(root, rdt, id, fault);
	if (r < 0)
		resctrl_remove(root, state_dir);
	return r;
}

int resctrl_enter(int group, pid_t pid, struct fault *fault)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)pid);
	int r = file_put(group, "tasks", text);

	return r < 0 ? fault_set(fault, r, "linux.intelRdt: write tasks") : 0;
}

int resctrl_write(int root, const struct runtime_intel_rdt *rdt, const char *id,
		  struct fault *fault)
{
	static struct text text;
	int r = compose(&text, rdt);

	if (r < 0)
		return fault_set(fault, r, "linux.intelRdt: schemata");
	autoclose int group = open_group(root, group_name(rdt, id), fault);

	return group < 0 ? group : put_schemata(root, group, &text, fault);
}

void resctrl_remove(int root, int state_dir)
{
	autofree char *path = NULL;
	size_t size;

	if (file_read(state_dir, STATE_RESCTRL, PATH_SIZE, &path, &size) < 0)
		return;
	/* What is half a note was never made. */
	if (size)
		unlinkat(root, path, AT_REMOVEDIR);
	unlinkat(state_dir, STATE_RESCTRL, 0);
}

void resctrl_undo(int state_dir)
{
	struct fault ignored = { "" };

	if (faccessat(state_dir, STATE_RESCTRL, F_OK, 0) < 0)
		return;
	autoclose int root = resctrl_find(&ignored);

	if (root >= 0)
		resctrl_remove(root, state_dir);
}
