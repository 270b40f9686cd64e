/* A service of a Compose file: volumes, tmpfs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compose_service.h"

void mount_add(struct walk *w, struct service *s, unsigned line,
	       struct desired_mount m)
{
	unsigned i = 0;

	if (!desired_path_valid(span_of(m.target))) {
		walk_fail(w, line,
			  "\"%.60s\": want an absolute path without ..",
			  m.target);
		return;
	}
	while (i < s->n_mounts && strcmp(s->mount[i].target, m.target) != 0)
		i++;
	if (i == DESIRED_MOUNTS_MAX) {
		walk_fail(w, line, "want at most %u mounts",
			  DESIRED_MOUNTS_MAX);
		return;
	}
	if (i == s->n_mounts)
		s->n_mounts++;
	s->mount[i] = m;
}

/* ---- volumes ---- */

static void size_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct desired_mount *m = into;

	value_bytes(w, value, &m->size_bytes);
}

static void zooid_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	static const struct walk_key keys[] = { { "size", size_read } };

	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, into);
}

static void driver_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	const char *text = walk_text(w, value, "local");

	(void)into;
	if (text && strcmp(text, "local") != 0)
		walk_fail(w, value->line,
			  "\"%.40s\": only local is supported yet", text);
}

/* As the file calls it, in place of its key. */
static void name_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct desired_mount *m = into;
	const char *text = walk_text(w, value, "a name");

	if (text)
		m->source = text;
}

static void external_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct desired_mount *m = into;

	/* {name: NAME}, as it was said once */
	if (value->kind == COMPOSE_MAP) {
		static const struct walk_key keys[] = { { "name", name_read } };

		walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, m);
		m->external = true;
	} else {
		value_bool(w, value, &m->external);
	}
}

/* One of another application, or of none, by the name that the node has for it:
 * whether it is there the node finds out. */
static bool volume_external(struct walk *w, unsigned line,
			    const struct desired_mount *m)
{
	if (!desired_volume_valid(m->source)) {
		walk_fail(w, line,
			  "\"%.60s\": external: want the volume as nodes call "
			  "it (znode volumes): APPLICATION.NAME",
			  m->source);
		return false;
	}
	if (m->size_bytes)
		walk_fail(w, line, "%.60s: external: want no size", m->source);
	else
		walk_notice(w, line,
			    "the volume %.127s is not this application's alone",
			    m->source);
	return !m->size_bytes;
}

/* What the top level says of the volume. */
static bool volume_find(struct walk *w, unsigned line, struct desired_mount *m)
{
	static const struct walk_key keys[] = { { "driver", driver_read },
						{ "labels", walk_ignore },
						{ "name", name_read },
						{ "external", external_read },
						{ "x-zooid", zooid_read } };
	static const char *const others[] = { "driver_opts", NULL };
	const struct compose_node *all = walk_member(w->root, "volumes");
	const struct compose_node *node = walk_member(all, m->source);
	unsigned before = w->n_problems;
	char id[64];

	if (!node) {
		walk_fail(w, line,
			  "there is no volume %s in volumes:", m->source);
		return false;
	}
	if (!compose_is_null(node)) {
		char path[WALK_PATH_SIZE];
		size_t used = w->path_used;

		memcpy(path, w->path, sizeof(path));
		walk_back(w, 0);
		walk_key(w, "volumes");
		walk_key(w, m->source);
		walk_map(w, node, keys, ARRAY_SIZE(keys), others, m);
		memcpy(w->path, path, sizeof(path));
		w->path_used = used;
	}
	if (w->n_problems != before)
		return false;
	if (m->external)
		return volume_external(w, line, m);
	if (!name_id(m->source, id)) {
		walk_fail(w, line,
			  "\"%.60s\": want 1 to 63 of A-Z, a-z, 0-9, -, _ and "
			  ". for the name of a volume",
			  m->source);
		return false;
	}
	m->source = volume_claim(w, line, id, m->source);
	return m->source;
}

/* A volume that nobody named is the service's, called by where it lies. */
static bool volume_unnamed(struct walk *w, unsigned line,
			   const struct service *s, struct desired_mount *m)
{
	char name[160], id[64];

	snprintf(name, sizeof(name), "%.63s%.90s", s->seen->id, m->target);
	for (char *p = name; *p; p++)
		if (*p == '/')
			*p = '-';
	if (!name_id(name, id)) {
		walk_fail(w, line,
			  "\"%.60s\": no name can be made of it; want "
			  "NAME:PATH",
			  m->target);
		return false;
	}
	snprintf(name, sizeof(name), "%.63s:%.90s", s->seen->name, m->target);
	m->source = volume_claim(w, line, id, name);
	if (!m->source)
		return false;
	walk_notice(w, line, "is volume %s", id);
	return true;
}

static bool is_path(const char *source)
{
	return strchr("./~\\", source[0]) || strchr(source, '/');
}

/* What asks for nothing here: rw is the default, labels there are none. */
static bool is_idle(struct span option, const struct desired_mount *m)
{
	static const char *const any[] = {
		"rw", "z", "Z", "cached", "delegated", "consistent"
	};

	for (size_t i = 0; i < ARRAY_SIZE(any); i++)
		if (span_is(option, any[i]))
			return true;
	return m->source[0] == '/' && bind_option_idle(option);
}

static bool options_read(struct walk *w, unsigned line, struct span options,
			 struct desired_mount *m)
{
	struct span option;

	while (span_cut(&options, ',', &option)) {
		if (span_is(option, "ro"))
			m->read_only = true;
		else if (span_is(option, "nocopy"))
			m->nocopy = true;
		else if (!is_idle(option, m)) {
			walk_fail(w, line, "option \"%.*s\": not supported yet",
				  (int)(option.size < 40 ? option.size : 40),
				  option.data);
			return false;
		}
	}
	return true;
}

/* SOURCE:TARGET[:OPTION,...]. */
static void volume_short(struct walk *w, const struct compose_node *value,
			 struct service *s)
{
	struct desired_mount m = { .type = DESIRED_MOUNT_VOLUME };
	const char *text = walk_text(w, value, "VOLUME:PATH");
	struct span rest = span_of(text ? text : ""), source, target;

	if (!text)
		return;
	span_cut(&rest, ':', &source);
	if (!rest.data) {
		m.target = text;
		if (!desired_path_valid(span_of(text)) ||
		    volume_unnamed(w, value->line, s, &m))
			mount_add(w, s, value->line, m);
		return;
	}
	span_cut(&rest, ':', &target);
	m.source = walk_keep(w, value->line, source);
	m.target = walk_keep(w, value->line, target);
	if (!m.source || !m.target)
		return;
	if (!m.source[0])
		walk_fail(w, value->line, "\"%.60s\": want NAME:PATH", text);
	else if (!options_read(w, value->line, rest, &m))
		return;
	else if (is_path(m.source))
		bind_read(w, s, value, m);
	else if (volume_find(w, value->line, &m))
		mount_add(w, s, value->line, m);
}

/* A mount in long form. */
struct mount_long {
	const char *type;
	struct desired_mount m;
	uint64_t mode;
};

static void type_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	static const char want[] = "volume, bind or tmpfs";
	struct mount_long *l = into;

	l->type = walk_text(w, value, want);
	if (l->type && strcmp(l->type, "volume") != 0 &&
	    strcmp(l->type, "bind") != 0 && strcmp(l->type, "tmpfs") != 0)
		walk_fail(w, value->line, "\"%.20s\": want %s", l->type, want);
}

static void source_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	struct mount_long *l = into;

	l->m.source = walk_text(w, value, "the name of a volume");
}

static void target_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	struct mount_long *l = into;

	l->m.target = walk_text(w, value, "a path");
}

static void read_only_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	struct mount_long *l = into;

	value_bool(w, value, &l->m.read_only);
}

static void nocopy_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	struct mount_long *l = into;

	value_bool(w, value, &l->m.nocopy);
}

static void volume_options(struct walk *w, const struct compose_node *value,
			   void *into)
{
	static const struct walk_key keys[] = { { "nocopy", nocopy_read } };
	static const char *const others[] = { "subpath", "labels", NULL };

	walk_map(w, value, keys, ARRAY_SIZE(keys), others, into);
}

static void tmpfs_size(struct walk *w, const struct compose_node *value,
		       void *into)
{
	struct mount_long *l = into;

	value_bytes(w, value, &l->m.size_bytes);
}

static void mode_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct mount_long *l = into;

	value_mode(w, value, &l->mode);
}

static void tmpfs_options(struct walk *w, const struct compose_node *value,
			  void *into)
{
	static const struct walk_key keys[] = { { "size", tmpfs_size },
						{ "mode", mode_read } };

	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, into);
}

static void volume_long(struct walk *w, const struct compose_node *value,
			struct service *s)
{
	static const struct walk_key keys[] = {
		{ "type", type_read },	      { "source", source_read },
		{ "target", target_read },    { "read_only", read_only_read },
		{ "volume", volume_options }, { "tmpfs", tmpfs_options },
		{ "bind", bind_options },     { "consistency", walk_ignore },
	};
	static const char *const others[] = { "image", NULL };
	struct mount_long l = { 0 };
	unsigned before = w->n_problems;
	bool is_tmpfs;

	walk_map(w, value, keys, ARRAY_SIZE(keys), others, &l);
	if (w->n_problems != before)
		return;
	is_tmpfs = l.type && !strcmp(l.type, "tmpfs");
	bool is_unnamed = l.type && !strcmp(l.type, "volume") && !l.m.source;

	if (!l.type || !l.m.target ||
	    (!l.m.source != is_tmpfs && !is_unnamed)) {
		walk_fail(w, value->line,
			  "want type, target, and source of a volume");
		return;
	}
	if (l.m.source && !strcmp(l.type, "bind")) {
		bind_read(w, s, value, l.m);
		return;
	}
	l.m.type = is_tmpfs ? DESIRED_MOUNT_TMPFS : DESIRED_MOUNT_VOLUME;
	l.m.mode = is_tmpfs ? (uint32_t)l.mode : 0;
	if (is_tmpfs || (is_unnamed ? volume_unnamed(w, value->line, s, &l.m)
				    : volume_find(w, value->line, &l.m)))
		mount_add(w, s, value->line, l.m);
}

static void volume_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	if (value->kind == COMPOSE_MAP)
		volume_long(w, value, into);
	else
		volume_short(w, value, into);
}

void volumes_read(struct walk *w, const struct compose_node *value, void *into)
{
	walk_list(w, value, volume_read, into);
}

/* ---- tmpfs ---- */

static int tmpfs_option(struct desired_mount *m, struct span option)
{
	static const char *const fixed[] = { "rw", "nosuid", "nodev",
					     "noexec" };
	char text[40], *end;

	if (span_copy(text, sizeof(text), option) < 0)
		return -EINVAL;
	if (!strcmp(text, "ro")) {
		m->read_only = true;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (!strcmp(text, fixed[i]))
			return 0;
	if (!strncmp(text, "size=", 5))
		return value_bytes_of(text + 5, &m->size_bytes);
	if (strncmp(text, "mode=", 5) != 0)
		return -EINVAL;
	m->mode = (uint32_t)strtoul(text + 5, &end, 8);
	return end > text + 5 && !*end && m->mode <= 01777 ? 0 : -EINVAL;
}

/* PATH[:OPTION,...]. */
static void tmpfs_one(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct desired_mount m = { .type = DESIRED_MOUNT_TMPFS };
	const char *text = walk_text(w, value, "PATH");
	struct span rest = span_of(text ? text : ""), target, option;

	if (!text)
		return;
	span_cut(&rest, ':', &target);
	m.target = walk_keep(w, value->line, target);
	while (rest.data && span_cut(&rest, ',', &option))
		if (tmpfs_option(&m, option) < 0) {
			walk_fail(w, value->line,
				  "\"%.60s\": want options size=, mode=, ro, "
				  "nosuid, nodev, noexec",
				  text);
			return;
		}
	if (m.target)
		mount_add(w, into, value->line, m);
}

void tmpfs_read(struct walk *w, const struct compose_node *value, void *into)
{
	if (value->kind == COMPOSE_LIST)
		walk_list(w, value, tmpfs_one, into);
	else
		tmpfs_one(w, value, into);
}

/* ---- what is sent ---- */

static void number_write(yyjson_mut_doc *doc, yyjson_mut_val *object,
			 const char *key, uint64_t n)
{
	if (n)
		yyjson_mut_obj_add_uint(doc, object, key, n);
}

/* Of a secret 0 is not the default. */
static void owner_write(yyjson_mut_doc *doc, yyjson_mut_val *object,
			const struct desired_mount *m)
{
	bool all = m->type == DESIRED_MOUNT_SECRET && m->has_owner;

	if (m->uid || all)
		yyjson_mut_obj_add_uint(doc, object, "uid", m->uid);
	if (m->gid || all)
		yyjson_mut_obj_add_uint(doc, object, "gid", m->gid);
}

void mounts_write(const struct service *s)
{
	static const char *const types[] = {
		[DESIRED_MOUNT_VOLUME] = "volume",
		[DESIRED_MOUNT_TMPFS] = "tmpfs",
		[DESIRED_MOUNT_FILE] = "file",
		[DESIRED_MOUNT_SECRET] = "secret",
	};
	yyjson_mut_val *list = NULL, *o;

	for (unsigned i = 0; i < s->n_mounts; i++) {
		const struct desired_mount *m = &s->mount[i];

		if (!list)
			list = yyjson_mut_obj_add_arr(s->doc, s->app, "mounts");
		o = yyjson_mut_arr_add_obj(s->doc, list);
		yyjson_mut_obj_add_str(s->doc, o, "type", types[m->type]);
		yyjson_mut_obj_add_strcpy(s->doc, o, "target", m->target);
		if (m->source)
			yyjson_mut_obj_add_strcpy(s->doc, o, "source",
						  m->source);
		if (m->content)
			yyjson_mut_obj_add_strcpy(s->doc, o, "content",
						  m->content);
		if (m->read_only)
			yyjson_mut_obj_add_bool(s->doc, o, "read_only", true);
		if (m->nocopy)
			yyjson_mut_obj_add_bool(s->doc, o, "nocopy", true);
		if (m->external)
			yyjson_mut_obj_add_bool(s->doc, o, "external", true);
		number_write(s->doc, o, "size", m->size_bytes);
		number_write(s->doc, o, "mode", m->mode);
		owner_write(s->doc, o, m);
	}
}
