/* A service of a Compose file: what lies at a path. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compose_service.h"

enum { BIND_MAX = 64 << 10 };

/* Docker makes a folder of what is not there; a name with a dot was to be a
 * file. */
static bool may_be_folder(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !strchr(slash ? slash + 1 : path, '.');
}

int bind_file(struct walk *w, struct service *s, unsigned line,
	      const char *path, struct desired_mount *m)
{
	char *text = NULL;
	size_t size;
	int err = w->config->read
			  ? w->config->read(path, BIND_MAX, &text, &size)
			  : -ENOENT;

	if (err == -EISDIR || (err == -ENOENT && may_be_folder(path)))
		return -EISDIR;
	if (err == -EFBIG) {
		walk_fail(w, line,
			  "\"%.60s\" is larger than %u KB; put it into the "
			  "image or a volume",
			  path, BIND_MAX >> 10);
	} else if (err < 0) {
		walk_fail(w, line, "\"%.60s\": %s", path, strerror(-err));
	} else if (!text_is_utf8((struct span){ text, size })) {
		walk_fail(w, line, "\"%.60s\" is no text in UTF-8", path);
		err = -EINVAL;
	} else {
		m->type = DESIRED_MOUNT_FILE;
		m->source = NULL;
		/* A script that is to be run. */
		m->mode = strncmp(text, "#!", 2) == 0 ? 0555 : 0444;
		m->content = walk_keep(w, line, span_of(text));
		m->read_only = false;
		if (m->content)
			mount_add(w, s, line, *m);
		err = m->content ? 0 : -ENOMEM;
	}
	free(text);
	return err;
}

/* Of what files mount that runs without: why it is not on a node; else NULL. */
static const char *node_lacks(const char *path)
{
	static const char utc[] = "nodes keep UTC; set the variable TZ where "
				  "the image knows time zones";
	static const char dbus[] = "there is no D-Bus on a node";
	static const struct {
		const char *path, *why;
	} all[] = {
		{ "/etc/localtime", utc },
		{ "/etc/timezone", utc },
		{ "/run/dbus", dbus },
		{ "/var/run/dbus", dbus },
		{ "/run/udev", "there is no udev on a node" },
		{ "/lib/modules", "the kernel of a node has no modules" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (!strcmp(path, all[i].path))
			return all[i].why;
	return NULL;
}

/* Without slashes at its end, but of "/" itself. */
static int path_size(const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	return (int)n;
}

/* What lies on the node. */
static void bind_node(struct walk *w, struct service *s, unsigned line,
		      const struct desired_mount *m)
{
	/* A path that is cut here is none that grant_parse() takes. */
	char text[2200];

	const char *lacks = node_lacks(m->source);

	if (lacks) {
		walk_notice(w, line, "is not mounted: %s", lacks);
		return;
	}
	if (!strcmp(m->source, "/var/run/docker.sock") ||
	    !strcmp(m->source, "/run/docker.sock")) {
		walk_fail(w, line, "\"%.60s\": there is no Docker on a node",
			  m->source);
		return;
	}
	if (!desired_path_valid(span_of(m->target))) {
		walk_fail(w, line,
			  "\"%.60s\": want an absolute path without ..",
			  m->target);
		return;
	}
	int from = path_size(m->source), to = path_size(m->target);
	bool moves = from != to ||
		     memcmp(m->source, m->target, (size_t)to) != 0;

	snprintf(text, sizeof(text), "bind:%.*s%s%s%.*s", from, m->source,
		 m->read_only ? ":ro"
		 : moves      ? ":rw"
			      : "",
		 moves ? ":" : "", moves ? to : 0, m->target);
	grant_wanted(w, line, s, text, "");
}

void bind_read(struct walk *w, struct service *s,
	       const struct compose_node *value, struct desired_mount m)
{
	const char *said = m.source, *path = said;
	bool read_only = m.read_only;

	if (path[0] == '/') {
		bind_node(w, s, value->line, &m);
		return;
	}
	if (path[0] == '~' || path[0] == '\\') {
		walk_fail(w, value->line,
			  "\"%.60s\": want a path from the folder of the file, "
			  "or a volume with a name",
			  path);
		return;
	}
	path += strncmp(path, "./", 2) ? 0 : 2;
	int err = bind_file(w, s, value->line, path, &m);

	if (err == -EISDIR)
		folder_read(w, s, value->line, path, m);
	else if (err == 0 && !read_only)
		walk_notice(w, value->line,
			    "%.60s is sent as it is now, and read-only in the "
			    "container",
			    said);
}

/* ---- options ---- */

bool bind_option_idle(struct span option)
{
	static const char *const words[] = { "rbind", "rslave", "rprivate",
					     "slave", "private" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (span_is(option, words[i]))
			return true;
	return false;
}

static void create_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	bool is = true;

	(void)into;
	if (value_bool(w, value, &is) && !is)
		walk_notice(w, value->line,
			    "is not used: a folder that is not there is a "
			    "volume");
}

static void propagation_read(struct walk *w, const struct compose_node *value,
			     void *into)
{
	const char *text = walk_text(w, value, "rprivate");

	(void)into;
	if (text && !bind_option_idle(span_of(text)))
		walk_fail(w, value->line, "\"%.40s\": not supported yet", text);
}

void bind_options(struct walk *w, const struct compose_node *value, void *into)
{
	static const struct walk_key keys[] = {
		{ "create_host_path", create_read },
		{ "propagation", propagation_read },
		{ "selinux", walk_ignore },
	};
	static const char *const others[] = { "recursive", NULL };

	walk_map(w, value, keys, ARRAY_SIZE(keys), others, into);
}
