/* What the parent does to a child that is ready, before it lets it go on: all
 * that needs the host's privileges, which the child may have given up with its
 * user namespace. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/sched/types.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel.h"
#include "launch.h"
#include "net_device.h"
#include "resctrl.h"

static int set_scheduler(pid_t pid, const struct runtime_scheduler *s)
{
	struct sched_attr attr = {
		.size = sizeof(attr),
		.sched_policy = s->policy.value,
		.sched_flags = s->flags,
		.sched_nice = (int32_t)s->nice,
		.sched_priority = s->priority,
		.sched_runtime = s->runtime,
		.sched_deadline = s->deadline,
		.sched_period = s->period,
	};

	return kernel_result(syscall(SYS_sched_setattr, pid, &attr, 0));
}

static int set_io_priority(pid_t pid, const struct runtime_io_priority *p)
{
	return kernel_result(
		syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid,
			p->class << IOPRIO_CLASS_SHIFT | p->priority));
}

int launch_affinity(pid_t pid, const struct runtime_number_set *cpus)
{
	return kernel_result(syscall(SYS_sched_setaffinity, pid,
				     sizeof(cpus->word), cpus->word));
}

/* What a process in a user namespace may not raise by itself. */
static int raise_limits(pid_t pid, const struct runtime_process *process,
			struct fault *fault)
{
	char path[40], score[24];

	for (size_t i = 0; i < process->n_rlimit; i++) {
		const struct runtime_rlimit *l = &process->rlimit[i];
		struct rlimit want = { l->soft, l->hard };

		if (prlimit(pid, l->resource, &want, NULL) < 0)
			return fault_set(fault, -errno,
					 "process.rlimits[%zu]: limit %llu "
					 "above what zrun may set",
					 i, (unsigned long long)l->hard);
	}
	if (!process->oom_score_adj.set)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	snprintf(score, sizeof(score), "%lld",
		 (long long)process->oom_score_adj.value);
	int r = file_put(AT_FDCWD, path, score);

	return r < 0 ? fault_set(fault, r, "process.oomScoreAdj") : 0;
}

int launch_ready(struct launch *l, struct fault *fault)
{
	const struct runtime_process *process = l->child.process;
	int r = 0;

	if (l->resctrl >= 0)
		r = resctrl_enter(l->resctrl, l->pid, fault);
	if (r == 0 && plan_parent_raises(l->config))
		r = raise_limits(l->pid, process, fault);
	if (r < 0)
		return r;
	if (process->scheduler.policy.set) {
		r = set_scheduler(l->pid, &process->scheduler);
		if (r < 0)
			return fault_set(fault, r, "process.scheduler");
	}
	if (process->io_priority.class) {
		r = set_io_priority(l->pid, &process->io_priority);
		if (r < 0)
			return fault_set(fault, r, "process.ioPriority");
	}
	if (l->exec && process->cpu_affinity.final.set) {
		r = launch_affinity(l->pid, &process->cpu_affinity.final);
		if (r < 0)
			return fault_set(fault, r,
					 "process.execCPUAffinity.final");
	}
	if (!l->exec)
		r = net_devices_move(l->config, l->pid, fault);
	return r;
}
