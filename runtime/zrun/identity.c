#define _GNU_SOURCE
#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"

#define FIELDS_MAX 7
#define HOME_FIELD 5
#define ID_MAX	   (UINT32_MAX - 1) /* the last one means "no change" */

/* Splits the next line into its fields; their number, or -1 at the end. */
static int next_line(struct span *rest, struct span field[FIELDS_MAX])
{
	struct span line;
	int n = 0;

	if (!span_cut(rest, '\n', &line))
		return -1;
	while (n < FIELDS_MAX && span_cut(&line, ':', &field[n]))
		n++;
	return n;
}

static bool span_same(struct span a, struct span b)
{
	return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static bool number(struct span s, uint32_t *value)
{
	uint64_t wide;

	if (span_u64(s, ID_MAX, &wide) < 0)
		return false;
	*value = (uint32_t)wide;
	return true;
}

/* name:password:uid:gid:... ; *name becomes that of the entry. */
static bool find_user(struct span passwd, bool by_number, struct identity *id,
		      struct span *name)
{
	struct span field[FIELDS_MAX];
	uint32_t uid, gid;

	for (int n; (n = next_line(&passwd, field)) >= 0;) {
		if (n < 4 || !number(field[2], &uid) || !number(field[3], &gid))
			continue;
		if (by_number ? uid != id->uid : !span_same(field[0], *name))
			continue;
		id->uid = uid;
		id->gid = gid;
		*name = field[0];
		return true;
	}
	return false;
}

/* name:password:gid:members */
static bool find_group(struct span group, struct span name, uint32_t *gid)
{
	struct span field[FIELDS_MAX];

	for (int n; (n = next_line(&group, field)) >= 0;) {
		if (n >= 3 && span_same(field[0], name) &&
		    number(field[2], gid))
			return true;
	}
	return false;
}

static bool is_member(struct span members, struct span name)
{
	struct span one;

	while (span_cut(&members, ',', &one)) {
		if (span_same(one, name))
			return true;
	}
	return false;
}

static void find_memberships(struct span group, struct span name,
			     struct identity *id)
{
	struct span field[FIELDS_MAX];
	uint32_t gid;

	for (int n; (n = next_line(&group, field)) >= 0;) {
		if (id->n_groups == IDENTITY_GROUPS_MAX)
			return;
		if (n >= 4 && number(field[2], &gid) &&
		    is_member(field[3], name))
			id->group[id->n_groups++] = gid;
	}
}

int identity_find(const char *user, struct span passwd, struct span group,
		  struct identity *id, const char **what)
{
	struct span rest = span_of(user), name, wanted_group;
	bool has_group;

	memset(id, 0, sizeof(*id));
	if (!span_cut(&rest, ':', &name) || name.size == 0) {
		*what = "no user is named";
		return -EINVAL;
	}
	has_group = span_cut(&rest, ':', &wanted_group) && wanted_group.size;
	bool numeric = number(name, &id->uid);
	bool listed = find_user(passwd, numeric, id, &name);

	if (!listed && !numeric) {
		*what = "no such user in the image";
		return -ENOENT;
	}
	*what = "no such group in the image";
	/* A group that is named stands alone, as with other engines. */
	if (has_group) {
		if (!number(wanted_group, &id->gid) &&
		    !find_group(group, wanted_group, &id->gid))
			return -ENOENT;
	} else if (listed) {
		find_memberships(group, name, id);
	}
	while (id->n_groups < IDENTITY_GROUPS_MAX &&
	       span_cut(&rest, ',', &name))
		if (!find_group(group, name, &id->group[id->n_groups++]))
			return -ENOENT;
	return 0;
}

static int read_whole(const char *path, char *text, struct span *out)
{
	autoclose int fd = open(path,
				O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	*out = (struct span){ text, 0 };
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	ssize_t n = fd_read(fd, text, IDENTITY_FILE_MAX);

	if (n < 0)
		return (int)n;
	out->size = (size_t)n;
	return n == IDENTITY_FILE_MAX ? -EFBIG : 0;
}

int identity_resolve(const char *user, struct identity *id, const char **what)
{
	static char passwd_text[IDENTITY_FILE_MAX];
	static char group_text[IDENTITY_FILE_MAX];
	struct span passwd, group;

	*what = "/etc/passwd";
	int r = read_whole("/etc/passwd", passwd_text, &passwd);

	if (r < 0)
		return r;
	*what = "/etc/group";
	r = read_whole("/etc/group", group_text, &group);
	if (r < 0)
		return r;
	return identity_find(user, passwd, group, id, what);
}

void identity_home(uint32_t uid, char *out, size_t size)
{
	static char text[IDENTITY_FILE_MAX];
	struct span passwd, field[FIELDS_MAX];
	uint32_t each;

	snprintf(out, size, "HOME=/");
	if (read_whole("/etc/passwd", text, &passwd) < 0)
		return;
	for (int n; (n = next_line(&passwd, field)) >= 0;) {
		if (n < HOME_FIELD + 1 || !number(field[2], &each) ||
		    each != uid || field[HOME_FIELD].size == 0 ||
		    field[HOME_FIELD].size >= size - sizeof("HOME="))
			continue;
		snprintf(out, size, "HOME=%.*s", (int)field[HOME_FIELD].size,
			 field[HOME_FIELD].data);
		return;
	}
}
