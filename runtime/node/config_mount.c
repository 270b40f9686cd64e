/* The mounts of an application: those of every container, then what it wants,
 * each after what it may lie in. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/gateway.h"
#include "base/path.h"

#include "config_write.h"
#include "net/outlet.h"
#include "oci/grant.h"
#include "oci/runtime_config.h"
#include "volume.h"

#define SHM "/dev/shm"
#define SYS "/sys"

static const struct mount {
	const char *destination, *type, *source;
	const char *options[8];
} mounts[] = {
	{ "/proc", "proc", "proc", { "nosuid", "noexec", "nodev" } },
	{ "/dev",
	  "tmpfs",
	  "tmpfs",
	  { "nosuid", "strictatime", "mode=755", "size=65536k" } },
	{ "/dev/pts",
	  "devpts",
	  "devpts",
	  { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
	    "gid=5" } },
	{ "/dev/shm",
	  "tmpfs",
	  "shm",
	  { "nosuid", "noexec", "nodev", "mode=1777", "size=65536k" } },
	{ "/dev/mqueue", "mqueue", "mqueue", { "nosuid", "noexec", "nodev" } },
	{ "/sys", "sysfs", "sysfs", { "nosuid", "noexec", "nodev" } },
	{ "/sys/fs/cgroup",
	  "cgroup",
	  "cgroup",
	  { "nosuid", "noexec", "nodev", "relatime" } },
};

static val add_mount(doc d, val array, const struct mount *m)
{
	val object = yyjson_mut_arr_add_obj(d, array), options;

	yyjson_mut_obj_add_str(d, object, "destination", m->destination);
	yyjson_mut_obj_add_str(d, object, "type", m->type);
	yyjson_mut_obj_add_strcpy(d, object, "source", m->source);
	options = yyjson_mut_obj_add_arr(d, object, "options");
	node_config_strings(d, options, m->options);
	return options;
}

__attribute__((format(printf, 3, 4))) static void add_option(doc d, val options,
							     const char *fmt,
							     ...)
{
	autofree char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	if (text)
		yyjson_mut_arr_add_strcpy(d, options, text);
}

static void add_size(doc d, val options, uint64_t bytes)
{
	if (bytes)
		add_option(d, options, "size=%llu", (unsigned long long)bytes);
}

/* The last "size" of a mount counts. */
static void add_defaults(doc d, val array, const struct desired_app *app)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		val options = add_mount(d, array, &mounts[i]);

		if (strcmp(mounts[i].destination, SHM) == 0)
			add_size(d, options, app->shm_bytes);
		/* Of the node, which the privileged may change. */
		if (strncmp(mounts[i].destination, SYS, sizeof(SYS) - 1) == 0 &&
		    !app->privileged)
			yyjson_mut_arr_add_str(d, options, "ro");
	}
}

static void add_volume(doc d, val array, const struct node_config *c,
		       const struct desired_mount *m)
{
	char name[VOLUME_NAME_SIZE], source[4096];
	struct mount mount = {
		m->target, "bind", source, { "bind", "nosuid", "nodev" }
	};
	val options;

	volume_name(c->app, m, name);
	snprintf(source, sizeof(source), "%s/volumes/%s", path_data(), name);
	options = add_mount(d, array, &mount);
	if (m->read_only)
		yyjson_mut_arr_add_str(d, options, "ro");
	if (!m->nocopy)
		yyjson_mut_arr_add_str(d, options, "volume-copy");
}

static void add_tmpfs(doc d, val array, const struct desired_mount *m)
{
	const struct mount mount = {
		m->target, "tmpfs", "tmpfs", { "nosuid", "nodev", "noexec" }
	};
	val options = add_mount(d, array, &mount);

	add_option(d, options, "mode=%o", m->mode ? m->mode : 01777);
	add_size(d, options, m->size_bytes);
	if (m->read_only)
		yyjson_mut_arr_add_str(d, options, "ro");
}

static void add_file(doc d, val array, const struct desired_mount *m)
{
	const struct mount mount = {
		m->target, "file", m->content, { "nosuid", "nodev", "ro" }
	};
	val options = add_mount(d, array, &mount);

	add_option(d, options, "mode=%o", m->mode ? m->mode : 0444);
	add_option(d, options, "uid=%u", m->uid);
	add_option(d, options, "gid=%u", m->gid);
}

/* Only its user can read it, unless the document says who. */
static void add_secret(doc d, val array, const struct node_config *c,
		       const struct desired_mount *m)
{
	const char *text = c->secret ? c->secret[m - c->app->mount] : NULL;
	const struct mount mount = {
		m->target, "file", text ? text : "", { "nosuid", "nodev", "ro" }
	};
	val options = add_mount(d, array, &mount);

	add_option(d, options, "mode=%o", m->mode ? m->mode : 0400);
	if (m->has_owner) {
		add_option(d, options, "uid=%u", m->uid);
		add_option(d, options, "gid=%u", m->gid);
	} else {
		yyjson_mut_arr_add_str(d, options, "owner=user");
	}
}

/* /etc/hosts, where the document adds to it. */
static void add_hosts(doc d, val array, const struct node_config *c)
{
	const struct desired_list *hosts = &c->app->extra_hosts;
	struct desired_mount m = { .target = "/etc/hosts" };
	autofree char *text = NULL;
	size_t size;
	FILE *out = hosts->n ? open_memstream(&text, &size) : NULL;

	if (!out)
		return;
	fprintf(out, "127.0.0.1 localhost\n::1 localhost\n%s %s\n", c->address,
		node_config_hostname(c));
	for (unsigned i = 0; i < hosts->n; i++) {
		const char *equals = strchr(hosts->item[i], '=');
		bool is_node = strcmp(equals + 1, GATEWAY_WORD) == 0;

		fprintf(out, "%s %.*s\n", is_node ? GATEWAY_TEXT : equals + 1,
			(int)(equals - hosts->item[i]), hosts->item[i]);
	}
	fclose(out);
	m.content = text;
	add_file(d, array, &m);
}

static unsigned depth_of(const char *path)
{
	unsigned depth = 0;

	for (; *path; path++)
		depth += *path == '/' && path[1] && path[1] != '/';
	return depth;
}

static void add_wanted(doc d, val array, const struct node_config *c,
		       const struct desired_mount *m)
{
	switch (m->type) {
	case DESIRED_MOUNT_VOLUME:
		add_volume(d, array, c, m);
		break;
	case DESIRED_MOUNT_TMPFS:
		add_tmpfs(d, array, m);
		break;
	case DESIRED_MOUNT_FILE:
		add_file(d, array, m);
		break;
	case DESIRED_MOUNT_SECRET:
		add_secret(d, array, c, m);
		break;
	}
}

static void put_line(FILE *out, const char *key,
		     const struct desired_list *words)
{
	if (!words->n)
		return;
	fputs(key, out);
	for (unsigned i = 0; i < words->n; i++)
		fprintf(out, " %s", words->item[i]);
	fputc('\n', out);
}

/* The resolver that znet is stands for all that lie outside the container; who
 * has the node's network asks them, or those of the node, himself. */
static void put_servers(FILE *out, const struct node_config *c)
{
	static const char resolver[] = "nameserver " NET_RESOLVER_TEXT "\n";
	const struct desired_list *dns = &c->app->dns;
	bool has_resolver = false;

	if (!dns->n)
		fputs(c->name_servers ? c->name_servers : resolver, out);
	for (unsigned i = 0; i < dns->n; i++) {
		if (c->name_servers || desired_dns_own(dns->item[i])) {
			fprintf(out, "nameserver %s\n", dns->item[i]);
		} else if (!has_resolver) {
			fputs(resolver, out);
			has_resolver = true;
		}
	}
}

/* Unless the application brings its own. */
static void add_resolver(doc d, val array, const struct node_config *c)
{
	const struct desired_app *app = c->app;
	struct desired_mount m = { .target = "/etc/resolv.conf", .mode = 0644 };
	autofree char *text = NULL;
	size_t size;
	FILE *out;

	for (unsigned i = 0; i < app->n_mounts; i++)
		if (strcmp(app->mount[i].target, m.target) == 0)
			return;
	out = open_memstream(&text, &size);
	if (!out)
		return;
	put_servers(out, c);
	put_line(out, "search", &app->dns_search);
	put_line(out, "options", &app->dns_opt);
	fclose(out);
	m.content = text;
	add_file(d, array, &m);
}

static val add_place(doc d, val array, const struct grant *g, const char *type)
{
	val object = yyjson_mut_arr_add_obj(d, array);

	yyjson_mut_obj_add_strncpy(d, object, "destination", g->target.data,
				   g->target.size);
	yyjson_mut_obj_add_str(d, object, "type", type);
	yyjson_mut_obj_add_strncpy(d, object, "source", g->path.data,
				   g->path.size);
	return yyjson_mut_obj_add_arr(d, object, "options");
}

/* Which of its numbers it has, serve finds out. */
static void add_device(doc d, val array, const struct grant *g)
{
	static const struct {
		uint8_t bit;
		const char *option;
	} access[] = { { RUNTIME_DEVICE_READ, "read" },
		       { RUNTIME_DEVICE_WRITE, "write" },
		       { RUNTIME_DEVICE_MKNOD, "mknod" } };
	val options = add_place(d, array, g, "device");

	for (size_t k = 0; k < sizeof(access) / sizeof(access[0]); k++)
		if (g->access & access[k].bit)
			yyjson_mut_arr_add_str(d, options, access[k].option);
}

static void add_bind(doc d, val array, const struct grant *g)
{
	val options = add_place(d, array, g, "bind");

	yyjson_mut_arr_add_str(d, options, "rbind");
	if (!(g->access & RUNTIME_DEVICE_WRITE))
		yyjson_mut_arr_add_str(d, options, "rro");
}

static void add_granted(doc d, val array, const struct desired_app *app)
{
	struct grant grant;

	for (unsigned i = 0; i < app->grants.n; i++) {
		if (grant_parse(span_of(app->grants.item[i]), &grant) < 0)
			continue;
		if (grant.kind == GRANT_DEVICE)
			add_device(d, array, &grant);
		else if (grant.kind == GRANT_BIND)
			add_bind(d, array, &grant);
	}
}

void node_config_mounts(doc d, val root, const struct node_config *c)
{
	val array = yyjson_mut_obj_add_arr(d, root, "mounts");
	unsigned deepest = 0;

	add_defaults(d, array, c->app);
	for (unsigned i = 0; i < c->app->n_mounts; i++)
		if (depth_of(c->app->mount[i].target) > deepest)
			deepest = depth_of(c->app->mount[i].target);
	for (unsigned depth = 1; depth <= deepest; depth++)
		for (unsigned i = 0; i < c->app->n_mounts; i++)
			if (depth_of(c->app->mount[i].target) == depth)
				add_wanted(d, array, c, &c->app->mount[i]);
	add_granted(d, array, c->app);
	add_resolver(d, array, c);
	add_hosts(d, array, c);
}
