/* zrun features: what this runtime can do, as the specification's features.md
 * and features-linux.md lay it out. Engines read it before they use any of it,
 * so a word stands here only when it is carried out. */
#define _GNU_SOURCE
#include <stdio.h>

#include "cli.h"
#include "json_put.h"

static void put_texts(yyjson_mut_doc *doc, yyjson_mut_val *object,
		      const char *name, const char *const *texts)
{
	yyjson_mut_val *array = json_put_array(doc, object, name);

	for (; *texts; texts++)
		json_append_text(doc, array, *texts);
}

static void put_enabled(yyjson_mut_doc *doc, yyjson_mut_val *object,
			const char *name, bool on)
{
	json_put_bool(doc, json_put_object(doc, object, name), "enabled", on);
}

static void put_seccomp(yyjson_mut_doc *doc, yyjson_mut_val *to)
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
	yyjson_mut_val *object = json_put_object(doc, to, "seccomp");

	json_put_bool(doc, object, "enabled", true);
	put_texts(doc, object, "actions", actions);
	put_texts(doc, object, "operators", operators);
	put_texts(doc, object, "archs", arches);
	put_texts(doc, object, "knownFlags", flags);
	put_texts(doc, object, "supportedFlags", flags);
}

static void put_memory(yyjson_mut_doc *doc, yyjson_mut_val *to)
{
	yyjson_mut_val *object = json_put_object(doc, to, "memoryPolicy");
	yyjson_mut_val *modes = json_put_array(doc, object, "modes");
	yyjson_mut_val *flags = json_put_array(doc, object, "flags");

	for (size_t i = 0; runtime_memory_mode(i); i++)
		json_append_text(doc, modes, runtime_memory_mode(i));
	for (size_t i = 0; runtime_memory_flag(i); i++)
		json_append_text(doc, flags, runtime_memory_flag(i));
}

static void put_cgroup(yyjson_mut_doc *doc, yyjson_mut_val *to)
{
	yyjson_mut_val *cgroup = json_put_object(doc, to, "cgroup");

	json_put_bool(doc, cgroup, "v1", false);
	json_put_bool(doc, cgroup, "v2", true);
	json_put_bool(doc, cgroup, "systemd", true);
	json_put_bool(doc, cgroup, "systemdUser", true);
	json_put_bool(doc, cgroup, "rdma", true);
}

static void put_intel_rdt(yyjson_mut_doc *doc, yyjson_mut_val *to)
{
	yyjson_mut_val *object = json_put_object(doc, to, "intelRdt");

	json_put_bool(doc, object, "enabled", true);
	json_put_bool(doc, object, "schemata", true);
	json_put_bool(doc, object, "monitoring", true);
}

static void put_linux(yyjson_mut_doc *doc, yyjson_mut_val *to)
{
	yyjson_mut_val *object = json_put_object(doc, to, "linux");
	yyjson_mut_val *spaces = json_put_array(doc, object, "namespaces");
	yyjson_mut_val *caps = json_put_array(doc, object, "capabilities");

	for (int i = 0; i < RUNTIME_NS_COUNT; i++)
		json_append_text(
			doc, spaces,
			runtime_namespace_name((enum runtime_namespace)i));
	for (unsigned i = 0; capability_name(i); i++) {
		char name[40];

		snprintf(name, sizeof(name), "CAP_%s", capability_name(i));
		json_append_text(doc, caps, name);
	}
	put_cgroup(doc, object);
	put_seccomp(doc, object);
	put_enabled(doc, object, "apparmor", true);
	put_enabled(doc, object, "selinux", true);
	put_enabled(doc, object, "netDevices", true);
	put_memory(doc, object);
	put_intel_rdt(doc, object);
	put_enabled(doc, json_put_object(doc, object, "mountExtensions"),
		    "idmap", true);
}

int command_features(int argc, char **argv)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *top = yyjson_mut_obj(doc);

	(void)argc;
	(void)argv;
	yyjson_mut_doc_set_root(doc, top);
	json_put_text(doc, top, "ociVersionMin", "1.0.0");
	json_put_text(doc, top, "ociVersionMax", OCI_VERSION);
	yyjson_mut_val *hooks = json_put_array(doc, top, "hooks");

	for (int i = 0; i < RUNTIME_HOOK_COUNT; i++)
		json_append_text(doc, hooks,
				 runtime_hook_name((enum runtime_hook_kind)i));
	yyjson_mut_val *words = json_put_array(doc, top, "mountOptions");

	for (size_t i = 0; runtime_mount_word(i); i++)
		json_append_text(doc, words, runtime_mount_word(i));
	put_linux(doc, top);
	cli_print_json(doc);
	return 0;
}
