/* config.json: linux (resources and seccomp have files of their own) */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/personality.h>

#include "runtime_parts.h"

static const char *const namespace_names[] = {
	[RUNTIME_NS_USER] = "user",	  [RUNTIME_NS_PID] = "pid",
	[RUNTIME_NS_NETWORK] = "network", [RUNTIME_NS_IPC] = "ipc",
	[RUNTIME_NS_UTS] = "uts",	  [RUNTIME_NS_CGROUP] = "cgroup",
	[RUNTIME_NS_TIME] = "time",	  [RUNTIME_NS_MOUNT] = "mount",
};

_Static_assert(N_OF(namespace_names) == RUNTIME_NS_COUNT, "a name for each");

const char *runtime_namespace_name(enum runtime_namespace ns)
{
	return namespace_names[ns];
}

struct namespace_text {
	int type; /* -1 when missing */
	const char *path;
};

static int at_namespace_type(struct json_read *in, const struct at *at,
			     void *out)
{
	int type = at_word(at, namespace_names, RUNTIME_NS_COUNT);

	if (type < 0)
		return at_error(in, at, "is no known namespace");
	*(int *)out = type;
	return 0;
}

static int at_namespace(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "type", at_namespace_type,
		  offsetof(struct namespace_text, type) },
		{ "path", at_text, offsetof(struct namespace_text, path) },
	};
	struct namespace_text *text = out;

	text->type = -1;
	int r = at_object(in, at, fields, N_OF(fields), text);

	if (r < 0)
		return r;
	if (text->type < 0)
		return at_error(in, at, "type is missing");
	if (text->path && !text->path[0])
		text->path = NULL;
	if (text->path && text->path[0] != '/')
		return at_error(in, at, "path is not absolute");
	return 0;
}

static int at_namespaces(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_config *config = out;
	struct namespace_text *list = NULL;
	size_t n = 0;
	int r = at_array(in, at, sizeof(*list), at_namespace, &list, &n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct runtime_namespace_use *use =
			&config->namespace[list[i].type];

		if (use->set)
			return at_error(in, at, "[%zu]: %s is given twice", i,
					namespace_names[list[i].type]);
		use->set = true;
		use->path = list[i].path;
	}
	return r;
}

struct device_text {
	const char *type, *path;
	struct maybe_u32 major, minor, mode, uid, gid;
};

static int device_fill(struct json_read *in, const struct at *at,
		       const struct device_text *text,
		       struct runtime_device *device)
{
	if (!text->type || !text->path)
		return at_error(in, at, "want path and type");
	char type = text->type[0];

	if (!type || text->type[1] || !strchr("cubp", type))
		return at_error(in, at, "type \"%.8s\" is not c, b, u or p",
				text->type);
	if (type != 'p' && (!text->major.set || !text->minor.set))
		return at_error(in, at, "want major and minor");
	if (text->major.value > 0xfff || text->minor.value > 0xfffff)
		return at_error(in, at,
				"major above 4095 or minor above "
				"1048575");
	if (text->mode.value > 07777)
		return at_error(in, at, "fileMode is above 4095 (octal 7777)");
	*device = (struct runtime_device){
		.path = text->path,
		.type = type == 'u' ? 'c' : type,
		.major = text->major.value,
		.minor = text->minor.value,
		.mode = text->mode.set ? text->mode.value : 0666,
		.uid = text->uid.value,
		.gid = text->gid.value,
	};
	return 0;
}

#define DEVICE(name) offsetof(struct device_text, name)

static int at_file_mode(struct json_read *in, const struct at *at, void *out)
{
	struct maybe_u32 *mode = out;
	int r = at_maybe_u32(in, at, mode);

	/* Engines send st_mode whole: the file type says nothing new. */
	mode->value &= 07777;
	return r;
}

static int at_device(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "type", at_text, DEVICE(type) },
		{ "path", at_path, DEVICE(path) },
		{ "major", at_maybe_u32, DEVICE(major) },
		{ "minor", at_maybe_u32, DEVICE(minor) },
		{ "fileMode", at_file_mode, DEVICE(mode) },
		{ "uid", at_maybe_u32, DEVICE(uid) },
		{ "gid", at_maybe_u32, DEVICE(gid) },
	};
	struct device_text text = { 0 };
	int r = at_object(in, at, fields, N_OF(fields), &text);

	return r < 0 ? r : device_fill(in, at, &text, out);
}

static int at_devices(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_config *config = out;

	return at_array(in, at, sizeof(*config->device), at_device,
			&config->device, &config->n_device);
}

static int at_path_list(struct json_read *in, const struct at *at, void *out)
{
	struct text_list *list = out;

	return at_array(in, at, sizeof(*list->item), at_path, &list->item,
			&list->n);
}

static int at_propagation(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_config *config = out;
	const char *word = NULL;
	int r = at_text(in, at, &word);

	if (r < 0 || !word[0])
		return r;
	config->rootfs_propagation =
		propagation_word(word, &config->rootfs_propagation_recursive);
	if (!config->rootfs_propagation)
		return at_error(in, at, "\"%.40s\" is no propagation", word);
	return 0;
}

/* Keys in the dotted or slashed form of sysctl(8). Which of them belong to a
 * namespace of the container is checked where they are written. */
static int at_sysctl(struct json_read *in, const struct at *at, void *out)
{
	struct text_map *map = out;
	int r = at_text_map(in, at, map);

	for (size_t i = 0; r == 0 && i < map->n; i++) {
		const char *key = map->item[i].key;

		if (strstr(key, "..") || key[0] == '/' || key[0] == '.' ||
		    strlen(key) > 200)
			return at_error(in, at, "\"%.60s\" is no sysctl", key);
	}
	return r;
}

static int at_persona(struct json_read *in, const struct at *at, void *out)
{
	static const char *const names[] = { "LINUX", "LINUX32" };
	static const uint32_t domains[] = { PER_LINUX, PER_LINUX32 };
	int i = at_word(at, names, N_OF(names));

	if (i < 0)
		return at_error(in, at, "is neither LINUX nor LINUX32");
	*(struct maybe_u32 *)out = (struct maybe_u32){ true, domains[i] };
	return 0;
}

static int at_personality(struct json_read *in, const struct at *at, void *out)
{
	/* The specification has no flag yet. */
	static const struct field fields[] = {
		{ "domain", at_persona, 0 },
		{ "flags", at_refuse, 0 },
	};
	const struct maybe_u32 *domain = out;
	int r = at_object(in, at, fields, N_OF(fields), out);

	return r == 0 && !domain->set ? at_error(in, at, "domain is missing")
				      : r;
}

static bool is_link_name(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n >= 16 || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return false;
	for (; *name; name++) {
		if (*name <= ' ' || *name == 0x7f || *name == '/' ||
		    *name == ':')
			return false;
	}
	return true;
}

static int at_net_device(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "name", at_text, offsetof(struct runtime_net_device, name) },
	};
	struct runtime_net_device *device = out;
	int r = at_object(in, at, fields, N_OF(fields), device);

	if (r < 0)
		return r;
	device->host_name = at->key;
	if (!device->name || !device->name[0])
		device->name = device->host_name;
	if (!is_link_name(device->host_name) || !is_link_name(device->name))
		return at_error(in, at, "is no name of a network device");
	return 0;
}

static int at_net_devices(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_config *config = out;

	return at_map(in, at, sizeof(*config->net_device), at_net_device,
		      &config->net_device, &config->n_net_device);
}

static const char *const clock_names[] = {
	[RUNTIME_CLOCK_MONOTONIC] = "monotonic",
	[RUNTIME_CLOCK_BOOTTIME] = "boottime",
};

_Static_assert(N_OF(clock_names) == RUNTIME_CLOCK_COUNT, "a name for each");

const char *runtime_clock_name(enum runtime_clock clock)
{
	return clock_names[clock];
}

#define OFFSET(name) offsetof(struct runtime_time_offset, name)

static int at_time_offset(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "secs", at_i64, OFFSET(secs) },
		{ "nanosecs", at_u32, OFFSET(nanosecs) },
	};
	struct runtime_time_offset *offset = out;
	int r = at_object(in, at, fields, N_OF(fields), offset);

	if (r == 0 && offset->nanosecs > 999999999)
		return at_error(in, at, "nanosecs is a second or more");
	offset->set = true;
	return r;
}

static int at_time_offsets(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "monotonic", at_time_offset,
		  RUNTIME_CLOCK_MONOTONIC *
			  sizeof(struct runtime_time_offset) },
		{ "boottime", at_time_offset,
		  RUNTIME_CLOCK_BOOTTIME * sizeof(struct runtime_time_offset) },
	};

	return at_object(in, at, fields, N_OF(fields), out);
}

/* It becomes the name of a directory beside the kernel's own. */
static int at_clos_id(struct json_read *in, const struct at *at, void *out)
{
	static const char *const taken[] = { "",     ".",	   "..",
					     "info", "mon_groups", "mon_data" };
	const char **name = out;
	int r = at_text(in, at, out);

	for (size_t i = 0; r == 0 && i < N_OF(taken); i++) {
		if (strcmp(*name, taken[i]) == 0)
			r = -EINVAL;
	}
	if (r == 0 && (strlen(*name) > NAME_MAX || strpbrk(*name, "/\n")))
		r = -EINVAL;
	return r < 0 ? at_error(in, at, "is no name of a class") : 0;
}

static int at_mem_bw_schema(struct json_read *in, const struct at *at,
			    void *out)
{
	const char **text = out;
	int r = at_text(in, at, out);

	if (r == 0 && **text &&
	    (strncmp(*text, "MB:", 3) != 0 || strchr(*text, '\n')))
		return at_error(in, at, "want one line that starts with MB:");
	return r;
}

#define RDT(name) offsetof(struct runtime_intel_rdt, name)

static int at_intel_rdt(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "closID", at_clos_id, RDT(clos_id) },
		{ "l3CacheSchema", at_text, RDT(l3_cache_schema) },
		{ "memBwSchema", at_mem_bw_schema, RDT(mem_bw_schema) },
		{ "schemata", at_text_list, RDT(schemata) },
		{ "enableCMT", at_bool, RDT(enable_cmt) },
		{ "enableMBM", at_bool, RDT(enable_mbm) },
		{ "enableMonitoring", at_bool, RDT(enable_monitoring) },
	};
	struct runtime_intel_rdt *rdt = out;

	rdt->set = true;
	return at_object(in, at, fields, N_OF(fields), rdt);
}

#define AT(name) offsetof(struct runtime_config, name)

int at_linux(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "namespaces", at_namespaces, 0 },
		{ "uidMappings", at_id_maps, AT(uid_maps) },
		{ "gidMappings", at_id_maps, AT(gid_maps) },
		{ "devices", at_devices, 0 },
		{ "cgroupsPath", at_text, AT(cgroups_path) },
		{ "resources", at_resources, AT(resources) },
		{ "sysctl", at_sysctl, AT(sysctl) },
		{ "seccomp", at_seccomp, AT(seccomp) },
		{ "maskedPaths", at_path_list, AT(masked_paths) },
		{ "readonlyPaths", at_path_list, AT(readonly_paths) },
		{ "rootfsPropagation", at_propagation, 0 },
		{ "personality", at_personality, AT(personality) },
		{ "timeOffsets", at_time_offsets, AT(time_offset) },
		{ "intelRdt", at_intel_rdt, AT(intel_rdt) },
		{ "mountLabel", at_label, AT(mount_label) },
		{ "netDevices", at_net_devices, 0 },
		{ "memoryPolicy", at_memory_policy, AT(memory_policy) },
	};

	return at_object(in, at, fields, N_OF(fields), out);
}
