/* New file systems by mount(2), which takes one call where fsopen(2) takes some
 * ten. It knows the place by name only, so that is the child's own working
 * directory, or a directory made just now in a tmpfs that nobody else reaches.
 * It says nothing about a refusal, so that is left to the longer way. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "child.h"
#include "kernel.h"

/* Those that are the same in both: read-only would be the file system, not the
 * mount, and one about access times changes what was there before. */
#define SHARED (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
/* NOLINTNEXTLINE(misc-redundant-expression): it is what is asserted */
_Static_assert(SHARED == (MS_NOSUID | MS_NODEV | MS_NOEXEC), "as they are");

/* False: an option is more than a word of the list, or there is no room. */
static bool options_of(const struct runtime_mount *m, char *out, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < m->data.n; i++) {
		const char *option = m->data.item[i];
		size_t n = strlen(option);

		if (strchr(option, ',') || used + n + 2 > size)
			return false;
		if (i)
			out[used++] = ',';
		memcpy(out + used, option, n);
		used += n;
	}
	out[used] = '\0';
	return true;
}

/* A source that is looked up later from where zrun was called. */
static bool has_relative_source(const struct runtime_config *config)
{
	for (size_t i = 0; i < config->n_mount; i++) {
		const struct runtime_mount *m = &config->mount[i];

		if (m->bind && m->source && m->source[0] != '/')
			return true;
	}
	return false;
}

/* Goes to where the mount is to be named from; NULL: it is not there yet, or
 * it is for others to be kept. */
static const char *go_to(struct child *c, const struct runtime_mount *m)
{
	const char *name = strrchr(m->destination, '/');
	size_t n = name ? (size_t)(name - m->destination) : 0;

	if (n > 0 && child_is_fresh(c, m->destination, n)) {
		name++;
		if (!*name || name[0] == '.' ||
		    mkdirat(c->fresh, name, 0755) < 0 ||
		    child_go(c, c->fresh) < 0)
			return NULL;
		return name;
	}
	if (strcmp(m->type, "tmpfs") == 0)
		return NULL; /* what is mounted next may lie in it */
	autoleave int onto = child_open(c, m->destination,
					O_PATH | O_DIRECTORY);

	c->here = -1;
	return onto >= 0 && fchdir(onto) == 0 ? "." : NULL;
}

bool child_plain(struct child *c, const struct runtime_mount *m)
{
	char options[512];

	if ((m->attr_set & ~(uint64_t)SHARED) || m->attr_clear || m->sb_set ||
	    m->tree_attr_clear || m->destination_nofollow ||
	    c->config->mount_label ||
	    !options_of(m, options, sizeof(options)) ||
	    has_relative_source(c->config))
		return false;
	const char *target = go_to(c, m);

	return target && kernel_mount(m->source, target, m->type, m->attr_set,
				      options) == 0;
}
