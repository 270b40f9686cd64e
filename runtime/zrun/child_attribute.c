/* What the child's process has besides its identity: clocks, personality,
 * memory policy, the label of a security module. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/personality.h>

#include "base/fd.h"
#include "child.h"
#include "kernel.h"

/* Offsets can be set only while no process is in the namespace, which clone
 * would put the child into. After unshare it is for what comes later: execve
 * enters it (since Linux 6.1), as children do. */
int child_time_offsets(struct child *c)
{
	if (unshare(CLONE_NEWTIME) < 0)
		return -errno;
	for (int i = 0; i < RUNTIME_CLOCK_COUNT; i++) {
		const struct runtime_time_offset *o =
			&c->config->time_offset[i];
		const char *name = runtime_clock_name((enum runtime_clock)i);
		char text[64];

		if (!o->set)
			continue;
		snprintf(text, sizeof(text), "%s %lld %u", name,
			 (long long)o->secs, o->nanosecs);
		int r = file_put(c->host_proc, "self/timens_offsets", text);

		if (r < 0)
			return child_detail(c, r, "%s", name);
	}
	return 0;
}

int child_personality(uint32_t domain)
{
	return personality(domain) < 0 ? -errno : 0;
}

int child_memory_policy(const struct runtime_memory_policy *policy)
{
	const uint64_t *nodes = policy->nodes.set ? policy->nodes.word : NULL;
	unsigned long size = nodes ? RUNTIME_NUMBER_SET_SIZE + 1 : 0;

	return kernel_result(syscall(SYS_set_mempolicy,
				     policy->mode.value | policy->flags, nodes,
				     size));
}

int child_apparmor(struct child *c, const char *profile)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "exec %s", profile);

	if ((size_t)n >= sizeof(text))
		return -ENAMETOOLONG;
	int r = file_put(c->host_proc, "self/attr/apparmor/exec", text);

	/* Kernels before 5.8 have the one directory for all modules. */
	return r == -ENOENT ? file_put(c->host_proc, "self/attr/exec", text)
			    : r;
}

int child_selinux(struct child *c, const char *label)
{
	return file_put(c->host_proc, "self/attr/exec", label);
}
