#include "runtime_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/span.h"
#include "runtime_parts.h"

#define HOST_NAME_MAX_BYTES 64

static int at_version(struct json_read *in, const struct at *at, void *out)
{
	int r = at_text(in, at, out);

	if (r < 0)
		return r;
	const char *version = *(const char **)out;

	if (strncmp(version, "1.", 2) != 0 || version[2] < '0' ||
	    version[2] > '9')
		return at_error(in, at, "\"%.40s\" is not a version 1.*",
				version);
	return 0;
}

static int at_host_name(struct json_read *in, const struct at *at, void *out)
{
	int r = at_text(in, at, out);

	if (r == 0 && strlen(*(const char **)out) > HOST_NAME_MAX_BYTES)
		return at_error(in, at, "longer than %d bytes",
				HOST_NAME_MAX_BYTES);
	return r;
}

static int at_root(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "path", at_text, offsetof(struct runtime_config, root_path) },
		{ "readonly", at_bool,
		  offsetof(struct runtime_config, root_readonly) },
	};
	struct runtime_config *config = out;
	int r = at_object(in, at, fields, N_OF(fields), config);

	if (r == 0 && (!config->root_path || !config->root_path[0]))
		return at_error(in, at, "path is missing");
	return r;
}

static int at_has_process(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_config *config = out;

	config->has_process = true;
	return at_process(in, at, &config->process);
}

#define AT(name) offsetof(struct runtime_config, name)

static const struct field config_fields[] = {
	{ "ociVersion", at_version, AT(version) },
	{ "root", at_root, 0 },
	{ "mounts", at_mounts, 0 },
	{ "process", at_has_process, 0 },
	{ "hostname", at_host_name, AT(hostname) },
	{ "domainname", at_host_name, AT(domainname) },
	{ "annotations", at_text_map, AT(annotations) },
	{ "linux", at_linux, 0 },
	{ "hooks", at_hooks, AT(hooks) },
	{ "vm", at_refuse, 0 },
	{ "zos", at_refuse, 0 },
};

/* What would change mounts that are not the container's. */
static int check_mounts(struct json_read *in, const struct at *top,
			const struct runtime_config *config)
{
	const struct runtime_namespace_use *ns =
		&config->namespace[RUNTIME_NS_MOUNT];
	const char *what = NULL;

	if (ns->set && !ns->path)
		return 0;
	if (config->rootfs_propagation)
		what = "linux.rootfsPropagation";
	else if (config->root_readonly && ns->set)
		what = "root.readonly";
	return what ? at_error(in, top, "%s: needs a new mount namespace", what)
		    : 0;
}

/* What concerns several properties at once. */
static int config_check(struct json_read *in, const struct at *top,
			const struct runtime_config *config)
{
	const struct runtime_namespace_use *ns = config->namespace;

	if (!config->version)
		return at_error(in, top, "ociVersion: missing");
	if (!config->root_path)
		return at_error(in, top, "root: missing");
	if (config->hostname && !ns[RUNTIME_NS_UTS].set)
		return at_error(in, top, "hostname: needs a uts namespace");
	if (config->domainname && !ns[RUNTIME_NS_UTS].set)
		return at_error(in, top, "domainname: needs a uts namespace");
	if (config->n_net_device && !ns[RUNTIME_NS_NETWORK].set)
		return at_error(in, top,
				"linux.netDevices: need a network namespace");
	bool new_time = ns[RUNTIME_NS_TIME].set && !ns[RUNTIME_NS_TIME].path;

	for (int i = 0; !new_time && i < RUNTIME_CLOCK_COUNT; i++) {
		if (config->time_offset[i].set)
			return at_error(
				in, top,
				"linux.timeOffsets.%s: needs a new "
				"time namespace",
				runtime_clock_name((enum runtime_clock)i));
	}
	bool mapped = config->uid_maps.n || config->gid_maps.n;
	bool user = ns[RUNTIME_NS_USER].set && !ns[RUNTIME_NS_USER].path;

	/* With one that is joined they say what it already has. */
	if (mapped && !ns[RUNTIME_NS_USER].set)
		return at_error(in, top,
				"linux.uidMappings: need a user namespace");
	if (user && (!config->uid_maps.n || !config->gid_maps.n))
		return at_error(in, top,
				"linux.uidMappings: a new user "
				"namespace needs uidMappings and gidMappings");
	return check_mounts(in, top, config);
}

static void warnings_move(struct runtime_config *config,
			  const struct json_read *in)
{
	memcpy(config->warning, in->warning, sizeof(in->warning));
	config->n_warning = in->n_warning;
	config->arena = in->arena;
}

static int read_config(struct json_read *in, const struct at *top, void *out)
{
	int r = at_object(in, top, config_fields, N_OF(config_fields), out);

	return r < 0 ? r : config_check(in, top, out);
}

static int read_process(struct json_read *in, const struct at *top, void *out)
{
	struct runtime_config *config = out;

	config->has_process = true;
	return at_process(in, top, &config->process);
}

static int read_resources(struct json_read *in, const struct at *top, void *out)
{
	struct runtime_config *config = out;

	return at_resources(in, top, &config->resources);
}

static int document_parse(struct runtime_config *config, struct span text,
			  char error[RUNTIME_ERROR_SIZE],
			  int (*read)(struct json_read *in,
				      const struct at *top, void *config))
{
	struct json_read in = { .error = error,
				.error_size = RUNTIME_ERROR_SIZE };
	struct at top;

	memset(config, 0, sizeof(*config));
	int r = runtime_json_open(&in, text.data, text.size,
				  RUNTIME_CONFIG_SIZE_MAX, &top);

	if (r < 0)
		return r;
	r = read(&in, &top, config);
	if (r < 0) {
		arena_free(&in.arena);
		return r;
	}
	warnings_move(config, &in);
	return 0;
}

int runtime_config_parse(struct runtime_config *config, const void *text,
			 size_t size, char error[RUNTIME_ERROR_SIZE])
{
	return document_parse(config, (struct span){ text, size }, error,
			      read_config);
}

int runtime_process_parse(struct runtime_config *config, const void *text,
			  size_t size, char error[RUNTIME_ERROR_SIZE])
{
	return document_parse(config, (struct span){ text, size }, error,
			      read_process);
}

int runtime_resources_parse(struct runtime_config *config, const void *text,
			    size_t size, char error[RUNTIME_ERROR_SIZE])
{
	return document_parse(config, (struct span){ text, size }, error,
			      read_resources);
}

int runtime_mounts_parse(struct runtime_config *config, const void *text,
			 size_t size, char error[RUNTIME_ERROR_SIZE])
{
	return document_parse(config, (struct span){ text, size }, error,
			      at_mounts);
}

void runtime_config_free(struct runtime_config *config)
{
	arena_free(&config->arena);
}
