#define _GNU_SOURCE
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <net/if.h>

#include "base/fd.h"
#include "base/gateway.h"
#include "base/log.h"
#include "base/path.h"
#include "base/span.h"
#include "rtnl.h"

enum mount_flags { OPTIONAL = 1, MAKE_DIR = 2 };

struct boot_mount {
	const char *target, *type, *options;
	unsigned long flags;
	int how; /* enum mount_flags */
};

#define QUIET (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* securityfs and debugfs are left out: nothing here needs them. */
static const struct boot_mount mounts[] = {
	{ "/dev/pts", "devpts", "gid=5,mode=0620,ptmxmode=0666",
	  MS_NOSUID | MS_NOEXEC, MAKE_DIR },
	{ "/dev/shm", "tmpfs", "mode=1777", MS_NOSUID | MS_NODEV, MAKE_DIR },
	{ "/dev/mqueue", "mqueue", NULL, QUIET, MAKE_DIR },
	{ "/run", "tmpfs", "mode=0755,size=25%", MS_NOSUID | MS_NODEV, 0 },
	{ "/tmp", "tmpfs", "mode=1777,size=25%", MS_NOSUID | MS_NODEV, 0 },
	/* favordynmods: without it moving a process into a cgroup, as every
	 * start does, waits for an RCU grace period, 5 to 14 ms. */
	{ "/sys/fs/cgroup", "cgroup2",
	  "nsdelegate,memory_recursiveprot,favordynmods", QUIET, 0 },
	{ "/sys/fs/bpf", "bpf", "mode=0700", QUIET, OPTIONAL },
	{ "/sys/firmware/efi/efivars", "efivarfs", NULL, QUIET, OPTIONAL },
};

struct setting {
	const char *name, *value;
};

static const struct setting settings[] = {
	/* No line is dropped because there were ten before. */
	{ "kernel/printk_devkmsg", "on\n" }, /* not without the newline */
	/* And must be seen: the console is where a node says what it does. */
	{ "kernel/printk", "7" },
	{ "kernel/pid_max", "4194304" },
	{ "kernel/kptr_restrict", "1" },
	{ "kernel/dmesg_restrict", "1" },
	{ "kernel/sysrq", "0" },
	{ "kernel/core_pattern", "/dev/null" },
	{ "kernel/unprivileged_bpf_disabled", "1" },
	/* znet sends the echo requests of containers. */
	{ "net/ipv4/ping_group_range", "103 103" },
	{ "fs/protected_hardlinks", "1" },
	{ "fs/protected_symlinks", "1" },
	{ "fs/protected_fifos", "1" },
	{ "fs/protected_regular", "2" },
	{ "fs/inotify/max_user_instances", "8192" },
	{ "fs/inotify/max_user_watches", "524288" },
	{ "vm/max_map_count", "262144" },
	{ "vm/panic_on_oom", "0" },
	/* Each CPU may keep 1/512 of the memory free for itself; the kernel
	 * lets it have an eighth, which nobody else sees as free. */
	{ "vm/percpu_pagelist_high_fraction", "512" },
	{ "net/core/somaxconn", "4096" },
	/* Of a container they are the kernel's, whatever is set here. */
	{ "net/core/devconf_inherit_init_net", "2" },
	{ "net/ipv4/tcp_syncookies", "1" },
	{ "net/ipv6/conf/all/accept_ra", "1" },
	{ "net/ipv6/conf/default/accept_ra", "1" },
};

static void mount_one(const struct boot_mount *m)
{
	if (m->how & MAKE_DIR)
		mkdir(m->target, 0755);
	if (mount(m->type, m->target, m->type, m->flags, m->options) == 0)
		return;
	if (m->how & OPTIONAL && (errno == ENOENT || errno == ENODEV))
		return;
	log_error(m->target, "cannot mount %s: %s", m->type, strerror(errno));
}

void boot_mounts(void)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(*mounts); i++)
		mount_one(&mounts[i]);
	mkdir(path_run(), 0755);
}

void boot_data_in_memory(void)
{
	if (mount("tmpfs", path_data(), "tmpfs", MS_NOSUID | MS_NODEV,
		  "mode=0755,size=50%") < 0)
		log_error(path_data(), "cannot mount tmpfs: %s",
			  strerror(errno));
}

static void files_limit_raise(void)
{
	struct rlimit limit = { 1 << 20, 1 << 20 };

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_error("limit of open files", "%s", strerror(errno));
}

void boot_settings(void)
{
	autoclose int dir = open("/proc/sys",
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	files_limit_raise();
	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		const struct setting *s = &settings[i];
		int err = file_put(dir, s->name, s->value);

		if (err < 0 && err != -ENOENT)
			log_warning(s->name, "%s", strerror(-err));
	}
}

void boot_loopback(void)
{
	struct ifreq request = { .ifr_name = "lo",
				 .ifr_flags = IFF_UP | IFF_RUNNING };
	struct node_address gateway = { .prefix = 32 };
	autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		log_error("lo", "cannot be brought up: %s", strerror(errno));
	memcpy(gateway.bytes, gateway_address, sizeof(gateway.bytes));
	int err = rtnl_address_add(RTNL_LO, &gateway);

	if (err < 0)
		log_error("lo", "cannot be given " GATEWAY_TEXT ": %s",
			  strerror(-err));
}

static bool is_wanted(struct span name, const char *const *wanted)
{
	for (; wanted && *wanted; wanted++)
		if (span_is(name, *wanted))
			return true;
	return !wanted;
}

/* Each controller by itself: one that cannot be enabled (cpu, while a
 * real-time process runs) must not take the others along. */
static void controllers_enable(int dir, const char *const *wanted)
{
	char text[256], order[40];
	struct span rest, name;
	autoclose int fd = openat(dir, "cgroup.controllers",
				  O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : fd_read(fd, text, sizeof(text));

	if (n <= 0)
		return;
	rest = (struct span){ text, (size_t)n };
	if (rest.data[n - 1] == '\n')
		rest.size--;
	while (span_cut(&rest, ' ', &name)) {
		int err;

		if (!is_wanted(name, wanted))
			continue;
		snprintf(order, sizeof(order), "+%.*s", (int)name.size,
			 name.data);
		err = file_put(dir, "cgroup.subtree_control", order);
		if (err < 0)
			log_warning(order + 1, "controller not enabled: %s",
				    strerror(-err));
	}
}

static int cgroup_open(int root, const char *name, const char *const *wanted)
{
	int dir;

	if (mkdirat(root, name, 0755) < 0 && errno != EEXIST)
		log_error(name, "cgroup: %s", strerror(errno));
	dir = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		controllers_enable(dir, wanted);
	return dir;
}

struct boot_cgroups boot_cgroups_make(void)
{
	/* Each more costs time and memory for every service and container. */
	static const char *const of_services[] = { "cpu", "memory", "pids",
						   NULL };
	static const char *const of_containers[] = { "cpu", "memory", "pids",
						     "io", NULL };
	struct boot_cgroups made = { -1, -1 };
	autoclose int root = open("/sys/fs/cgroup",
				  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoclose int containers = -1;

	if (root < 0 || faccessat(root, "cgroup.controllers", R_OK, 0) < 0)
		return made;
	controllers_enable(root, NULL);
	made.service = cgroup_open(root, "service", of_services);
	containers = cgroup_open(root, "zooid", of_containers);
	if (containers >= 0)
		made.containers_kill = openat(containers, "cgroup.kill",
					      O_WRONLY | O_CLOEXEC);
	return made;
}

static time_t build_time(void)
{
	char text[32];
	uint64_t seconds;
	struct stat image;
	autoclose int fd = open("/etc/build-time", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : fd_read(fd, text, sizeof(text));

	if (n > 0) {
		struct span s = { text, (size_t)n };

		if (s.data[n - 1] == '\n')
			s.size--;
		if (span_u64(s, INT64_MAX, &seconds) == 0)
			return (time_t)seconds;
	}
	return stat("/", &image) == 0 ? image.st_mtime : 0;
}

/* 0 on an ordinary host, whose clock is not ours. */
static struct timespec clock_floor;

void boot_clock_floor(void)
{
	clock_floor.tv_sec = build_time();
	if (time(NULL) >= clock_floor.tv_sec)
		return;
	if (clock_settime(CLOCK_REALTIME, &clock_floor) < 0)
		log_error("clock", "%s", strerror(errno));
	else
		log_notice("clock", "set to when the image was built");
}

int boot_clock_set(int64_t seconds)
{
	struct timespec now = { .tv_sec = seconds };

	if (!clock_floor.tv_sec)
		return -ENOTSUP;
	if (seconds < clock_floor.tv_sec)
		return -EINVAL;
	return clock_settime(CLOCK_REALTIME, &now) < 0 ? -errno : 0;
}
