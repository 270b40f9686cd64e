/* linux.resources, whose units are cgroup v1's, as files of cgroup v2. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "cgroup.h"
#include "cgroup_stat.h"

#define CPU_SHARES_DEFAULT 1024

struct limit {
	const struct cgroup *cg;
	struct fault *fault;
};

/* A file may be missing because few limits need its controller, so that
 * cgroup_make() did not enable it. */
static int open_file(const struct cgroup *cg, const char *file)
{
	int fd = openat(cg->dir, file, O_WRONLY | O_CLOEXEC);

	if (fd >= 0 || errno != ENOENT)
		return fd < 0 ? -errno : fd;
	if (cgroup_enable(cg, file) < 0)
		return -ENOENT;
	fd = openat(cg->dir, file, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Writes one file; `path` is what the config calls it. */
__attribute__((format(printf, 4, 5))) static int put(const struct limit *to,
						     const char *file,
						     const char *path,
						     const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, args);

	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(text))
		return fault_set(to->fault, -E2BIG, "linux.resources.%s", path);
	autoclose int fd = open_file(to->cg, file);

	if (fd == -ENOENT && to->cg->skip_absent) {
		log_warning(to->cg->path,
			    "linux.resources.%s is not carried "
			    "out: this host's cgroup v2 tree has no %s",
			    path, file);
		return 0;
	}
	if (fd == -ENOENT)
		return fault_set(to->fault, 0,
				 "linux.resources.%s: the cgroup "
				 "v2 tree has no %s here (is its controller "
				 "enabled, or kept by cgroup v1?)",
				 path, file);
	int r = fd < 0 ? fd : fd_write(fd, text, (size_t)n);

	return r < 0 ? fault_set(to->fault, r, "linux.resources.%s: write %s",
				 path, file)
		     : 0;
}

/* A number of which -1 means no limit and 0 means not given. */
static int put_max(const struct limit *to, const char *file, const char *path,
		   struct maybe_i64 value)
{
	if (!value.set || value.value == 0)
		return 0;
	if (value.value < 0)
		return put(to, file, path, "max");
	return put(to, file, path, "%lld", (long long)value.value);
}

/* [2, 262144] to [1, 10000], as all runtimes do it. */
static int limit_cpu_shares(const struct limit *to, uint64_t shares)
{
	/* The default, which engines write when nobody asked for a weight:
	 * without a controller nothing is lost. */
	if (shares == CPU_SHARES_DEFAULT &&
	    faccessat(to->cg->dir, "cpu.weight", F_OK, 0) < 0)
		return 0;
	if (shares < 2)
		shares = 2;
	if (shares > 262144)
		shares = 262144;
	unsigned long long weight = 1 + (shares - 2) * 9999 / 262142;

	return put(to, "cpu.weight", "cpu.shares", "%llu", weight);
}

static int limit_cpu_burst(const struct limit *to,
			   const struct runtime_cpu *cpu)
{
	if (!cpu->burst.set)
		return 0;
	return put(to, "cpu.max.burst", "cpu.burst", "%llu",
		   (unsigned long long)cpu->burst.value);
}

static int limit_cpu_max(const struct limit *to, const struct runtime_cpu *cpu)
{
	bool quota = cpu->quota.set && cpu->quota.value != 0;
	char text[32] = "max";
	int r;

	if (!quota && !cpu->period.value)
		return limit_cpu_burst(to, cpu);
	/* No quota may fall below the burst that holds. */
	if (cpu->burst.set) {
		r = file_put(to->cg->dir, "cpu.max.burst", "0");
		if (r < 0 && r != -ENOENT)
			return fault_set(to->fault, r,
					 "linux.resources.cpu.burst");
	}
	if (quota && cpu->quota.value > 0)
		snprintf(text, sizeof(text), "%lld",
			 (long long)cpu->quota.value);
	if (cpu->period.value)
		r = put(to, "cpu.max", "cpu.quota", "%s %llu", text,
			(unsigned long long)cpu->period.value);
	else
		r = put(to, "cpu.max", "cpu.quota", "%s", text);
	return r < 0 ? r : limit_cpu_burst(to, cpu);
}

static int limit_cpu(const struct limit *to, const struct runtime_cpu *cpu)
{
	bool idle = cpu->idle.value != 0;
	int r = 0;

	/* An idle cgroup takes no weight. */
	if (cpu->idle.set && !idle)
		r = put(to, "cpu.idle", "cpu.idle", "0");
	if (r == 0 && cpu->shares.value)
		r = limit_cpu_shares(to, cpu->shares.value);
	if (r == 0)
		r = limit_cpu_max(to, cpu);
	if (r == 0 && idle)
		r = put(to, "cpu.idle", "cpu.idle", "%lld",
			(long long)cpu->idle.value);
	if (r == 0 && cpu->cpus && cpu->cpus[0])
		r = put(to, "cpuset.cpus", "cpu.cpus", "%s", cpu->cpus);
	if (r == 0 && cpu->mems && cpu->mems[0])
		r = put(to, "cpuset.mems", "cpu.mems", "%s", cpu->mems);
	return r;
}

/* checkBeforeUpdate: rather than have the kernel kill for it. */
static int check_use(const struct limit *to,
		     const struct runtime_memory *memory)
{
	if (!memory->check_before_update || memory->limit.value <= 0)
		return 0;
	int64_t used = cgroup_number(to->cg, "memory.current");

	if (used <= memory->limit.value)
		return 0;
	return fault_set(to->fault, 0,
			 "linux.resources.memory.limit: %lld is below the %lld "
			 "bytes in use",
			 (long long)memory->limit.value, (long long)used);
}

/* swap counts memory in, memory.swap.max does not. */
static int limit_memory(const struct limit *to,
			const struct runtime_memory *memory)
{
	struct maybe_i64 swap = memory->swap;
	int r = check_use(to, memory);

	if (r == 0)
		r = put_max(to, "memory.max", "memory.limit", memory->limit);

	if (r == 0)
		r = put_max(to, "memory.low", "memory.reservation",
			    memory->reservation);
	if (r < 0)
		return r;
	/* Memory without a limit and swap with the one before would be odd. */
	if (memory->limit.set && memory->limit.value < 0 && !swap.value) {
		r = file_put(to->cg->dir, "memory.swap.max", "max");
		return r == -ENOENT ? 0 : r;
	}
	if (!swap.set || swap.value == 0)
		return r;
	if (swap.value < 0)
		return put(to, "memory.swap.max", "memory.swap", "max");
	if (memory->limit.value < 0)
		return fault_set(to->fault, 0,
				 "linux.resources.memory.swap: "
				 "a limit, while memory.limit is none");
	return put(to, "memory.swap.max", "memory.swap", "%lld",
		   (long long)(swap.value - memory->limit.value));
}

static int limit_throttles(const struct limit *to, const char *key,
			   const char *path,
			   const struct runtime_throttles *list)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < list->n; i++) {
		const struct runtime_throttle *t = &list->item[i];
		char rate[24] = "max";

		if (t->rate)
			snprintf(rate, sizeof(rate), "%llu",
				 (unsigned long long)t->rate);
		r = put(to, "io.max", path, "%u:%u %s=%s", t->major, t->minor,
			key, rate);
	}
	return r;
}

/* [10, 1000] to [1, 10000]; the BFQ scheduler's file keeps the old range. */
static int limit_io_weight(const struct limit *to,
			   const struct runtime_block_io *io)
{
	int r = 0;

	if (!io->weight.set && !io->n_weight_device)
		return 0;
	bool bfq = faccessat(to->cg->dir, "io.bfq.weight", W_OK, 0) == 0;
	const char *file = bfq ? "io.bfq.weight" : "io.weight";

	if (io->weight.set) {
		uint32_t w = io->weight.value;

		r = put(to, file, "blockIO.weight", "%u",
			bfq ? w : 1 + (w - 10) * 9999 / 990);
	}
	for (size_t i = 0; r == 0 && i < io->n_weight_device; i++) {
		const struct runtime_weight_device *d = &io->weight_device[i];

		r = put(to, file, "blockIO.weightDevice", "%u:%u %u", d->major,
			d->minor,
			bfq ? d->weight : 1 + (d->weight - 10) * 9999 / 990);
	}
	return r;
}

static int limit_io(const struct limit *to, const struct runtime_block_io *io)
{
	int r = limit_io_weight(to, io);

	if (r == 0)
		r = limit_throttles(to, "rbps", "blockIO.throttleReadBpsDevice",
				    &io->read_bps);
	if (r == 0)
		r = limit_throttles(to, "wbps",
				    "blockIO.throttleWriteBpsDevice",
				    &io->write_bps);
	if (r == 0)
		r = limit_throttles(to, "riops",
				    "blockIO.throttleReadIOPSDevice",
				    &io->read_iops);
	if (r == 0)
		r = limit_throttles(to, "wiops",
				    "blockIO.throttleWriteIOPSDevice",
				    &io->write_iops);
	return r;
}

/* What is reserved counts as used, where the kernel can tell. */
static int limit_hugepages(const struct limit *to,
			   const struct runtime_hugepage *page)
{
	char file[48], bytes[24];

	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)page->limit);
	snprintf(file, sizeof(file), "hugetlb.%s.max", page->page_size);
	int r = put(to, file, "hugepageLimits", "%s", bytes);

	if (r < 0)
		return r;
	snprintf(file, sizeof(file), "hugetlb.%s.rsvd.max", page->page_size);
	r = file_put(to->cg->dir, file, bytes);
	return r < 0 && r != -ENOENT
		       ? fault_set(to->fault, r,
				   "linux.resources.hugepageLimits: write %s",
				   file)
		       : 0;
}

static int limit_rdma(const struct limit *to, const struct runtime_rdma *rdma)
{
	char handles[32] = "", objects[32] = "";

	if (rdma->handles.set)
		snprintf(handles, sizeof(handles), " hca_handle=%u",
			 rdma->handles.value);
	if (rdma->objects.set)
		snprintf(objects, sizeof(objects), " hca_object=%u",
			 rdma->objects.value);
	return put(to, "rdma.max", "rdma", "%s%s%s", rdma->device, handles,
		   objects);
}

int cgroup_limit(const struct cgroup *cg,
		 const struct runtime_resources *resources, struct fault *fault)
{
	struct limit to = { cg, fault };
	int r = limit_cpu(&to, &resources->cpu);

	if (r == 0)
		r = limit_memory(&to, &resources->memory);
	if (r == 0)
		r = put_max(&to, "pids.max", "pids.limit",
			    resources->pids_limit);
	if (r == 0)
		r = limit_io(&to, &resources->block_io);
	for (size_t i = 0; r == 0 && i < resources->n_hugepage; i++)
		r = limit_hugepages(&to, &resources->hugepage[i]);
	for (size_t i = 0; r == 0 && i < resources->n_rdma; i++)
		r = limit_rdma(&to, &resources->rdma[i]);
	for (size_t i = 0; r == 0 && i < resources->unified.n; i++) {
		const struct text_pair *pair = &resources->unified.item[i];

		r = put(&to, pair->key, "unified", "%s", pair->value);
	}
	return r;
}
