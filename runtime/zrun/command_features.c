/* zrun features: what this runtime can do, as the specification's features.md
 * and features-linux.md lay it out. Engines read it before they use any of it,
 * so a word stands here only when it is carried out. */
#define _GNU_SOURCE
#include <stdio.h>

#include <yyjson.h>

#include "cli.h"

static yyjson_mut_val *texts(yyjson_mut_doc *doc, const char *const *names)
{
	yyjson_mut_val *array = yyjson_mut_arr(doc);

	for (; *names; names++)
		yyjson_mut_arr_add_str(doc, array, *names);
	return array;
}

static yyjson_mut_val *enabled(yyjson_mut_doc *doc, bool on)
{
	yyjson_mut_val *object = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_bool(doc, object, "enabled", on);
	return object;
}

static yyjson_mut_val *seccomp_features(yyjson_mut_doc *doc)
{
	static const char *const actions[] = {
		"SCMP_ACT_ALLOW",	"SCMP_ACT_ERRNO",
		"SCMP_ACT_KILL",	"SCMP_ACT_KILL_PROCESS",
		"SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
		"SCMP_ACT_NOTIFY",	"SCMP_ACT_TRACE",
		"SCMP_ACT_TRAP",	NULL,
	};
	static const char *const operators[] = {
		"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
		"SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
		"SCMP_CMP_NE", NULL,
	};
	static const char *const arches[] = {
		"SCMP_ARCH_AARCH64",   "SCMP_ARCH_ARM",
		"SCMP_ARCH_MIPS",      "SCMP_ARCH_MIPS64",
		"SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL",
		"SCMP_ARCH_MIPSEL64",  "SCMP_ARCH_MIPSEL64N32",
		"SCMP_ARCH_PPC",       "SCMP_ARCH_PPC64",
		"SCMP_ARCH_PPC64LE",   "SCMP_ARCH_RISCV64",
		"SCMP_ARCH_S390",      "SCMP_ARCH_S390X",
		"SCMP_ARCH_X32",       "SCMP_ARCH_X86",
		"SCMP_ARCH_X86_64",    NULL,
	};
	static const char *const flags[] = {
		"SECCOMP_FILTER_FLAG_LOG",
		"SECCOMP_FILTER_FLAG_SPEC_ALLOW",
		"SECCOMP_FILTER_FLAG_TSYNC",
		"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
		NULL,
	};
	yyjson_mut_val *object = enabled(doc, true);

	yyjson_mut_obj_add_val(doc, object, "actions", texts(doc, actions));
	yyjson_mut_obj_add_val(doc, object, "operators", texts(doc, operators));
	yyjson_mut_obj_add_val(doc, object, "archs", texts(doc, arches));
	yyjson_mut_obj_add_val(doc, object, "knownFlags", texts(doc, flags));
	yyjson_mut_obj_add_val(doc, object, "supportedFlags",
			       texts(doc, flags));
	return object;
}

static yyjson_mut_val *memory_features(yyjson_mut_doc *doc)
{
	yyjson_mut_val *object = yyjson_mut_obj(doc);
	yyjson_mut_val *modes = yyjson_mut_arr(doc);
	yyjson_mut_val *flags = yyjson_mut_arr(doc);

	for (size_t i = 0; runtime_memory_mode(i); i++)
		yyjson_mut_arr_add_str(doc, modes, runtime_memory_mode(i));
	for (size_t i = 0; runtime_memory_flag(i); i++)
		yyjson_mut_arr_add_str(doc, flags, runtime_memory_flag(i));
	yyjson_mut_obj_add_val(doc, object, "modes", modes);
	yyjson_mut_obj_add_val(doc, object, "flags", flags);
	return object;
}

static yyjson_mut_val *linux_features(yyjson_mut_doc *doc)
{
	yyjson_mut_val *object = yyjson_mut_obj(doc);
	yyjson_mut_val *spaces = yyjson_mut_arr(doc);
	yyjson_mut_val *caps = yyjson_mut_arr(doc);
	yyjson_mut_val *cgroup = yyjson_mut_obj(doc);
	yyjson_mut_val *mounts = yyjson_mut_obj(doc);

	for (int i = 0; i < RUNTIME_NS_COUNT; i++)
		yyjson_mut_arr_add_str(
			doc, spaces,
			runtime_namespace_name((enum runtime_namespace)i));
	for (unsigned i = 0; capability_name(i); i++) {
		char name[40];

		snprintf(name, sizeof(name), "CAP_%s", capability_name(i));
		yyjson_mut_arr_add_strcpy(doc, caps, name);
	}
	yyjson_mut_obj_add_bool(doc, cgroup, "v1", false);
	yyjson_mut_obj_add_bool(doc, cgroup, "v2", true);
	yyjson_mut_obj_add_bool(doc, cgroup, "systemd", false);
	yyjson_mut_obj_add_bool(doc, cgroup, "systemdUser", false);
	yyjson_mut_obj_add_bool(doc, cgroup, "rdma", true);
	yyjson_mut_obj_add_val(doc, mounts, "idmap", enabled(doc, true));
	yyjson_mut_obj_add_val(doc, object, "namespaces", spaces);
	yyjson_mut_obj_add_val(doc, object, "capabilities", caps);
	yyjson_mut_obj_add_val(doc, object, "cgroup", cgroup);
	yyjson_mut_obj_add_val(doc, object, "seccomp", seccomp_features(doc));
	yyjson_mut_obj_add_val(doc, object, "apparmor", enabled(doc, true));
	yyjson_mut_obj_add_val(doc, object, "selinux", enabled(doc, true));
	yyjson_mut_obj_add_val(doc, object, "netDevices", enabled(doc, true));
	yyjson_mut_obj_add_val(doc, object, "memoryPolicy",
			       memory_features(doc));
	yyjson_mut_obj_add_val(doc, object, "intelRdt", enabled(doc, false));
	yyjson_mut_obj_add_val(doc, object, "mountExtensions", mounts);
	return object;
}

int command_features(int argc, char **argv)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *top = yyjson_mut_obj(doc);
	yyjson_mut_val *words = yyjson_mut_arr(doc);
	yyjson_mut_val *hooks = yyjson_mut_arr(doc);

	(void)argc;
	(void)argv;
	for (size_t i = 0; runtime_mount_word(i); i++)
		yyjson_mut_arr_add_str(doc, words, runtime_mount_word(i));
	yyjson_mut_obj_add_str(doc, top, "ociVersionMin", "1.0.0");
	yyjson_mut_obj_add_str(doc, top, "ociVersionMax", OCI_VERSION);
	for (int i = 0; i < RUNTIME_HOOK_COUNT; i++)
		yyjson_mut_arr_add_str(
			doc, hooks,
			runtime_hook_name((enum runtime_hook_kind)i));
	yyjson_mut_obj_add_val(doc, top, "hooks", hooks);
	yyjson_mut_obj_add_val(doc, top, "mountOptions", words);
	yyjson_mut_obj_add_val(doc, top, "linux", linux_features(doc));
	yyjson_mut_doc_set_root(doc, top);
	cli_print_json(doc);
	return 0;
}
