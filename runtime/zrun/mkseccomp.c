/* mkseccomp: the default seccomp profile of containers, as ready BPF.
 *
 *	mkseccomp ARCH > seccomp_default.h		(x86_64 or aarch64)
 *
 * A program of the build, on the host; needs libseccomp, only for the numbers
 * of the calls. The profile is the one that other engines give every container
 * with the default capabilities, so that what runs there runs here:
 *
 *	- calls in `allowed` are allowed, three of them by an argument;
 *	- calls from before Linux 5.1 that are not are refused with EPERM, as a
 *	  program without privilege would see them;
 *	- all others, newer ones and those of no Linux yet, do not exist
 *	  (ENOSYS), so that a library falls back to what it did before. clone3
 *is among them: its flags lie in memory, out of a filter's sight;
 *	- another architecture is killed. The x32 calls of x86_64 have numbers
 *	  above all others: ENOSYS.
 *
 * The numbers form ranges of one verdict; the filter is a search tree over the
 * ranges, some eight comparisons deep. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_MAX	 1024 /* greater than any number */
#define FIRST_NEW_CALL	 424  /* Linux 5.1: since then one number everywhere */
#define CLONE_NAMESPACES 0x7e020000u /* CLONE_NEW*, but for NEWTIME */
#define AF_VSOCK_NUMBER	 40

static const char *const allowed[] = {
	"accept",
	"accept4",
	"access",
	"adjtimex",
	"alarm",
	"arch_prctl",
	"bind",
	"brk",
	"cachestat",
	"capget",
	"capset",
	"chdir",
	"chmod",
	"chown",
	"chroot",
	"clock_adjtime",
	"clock_getres",
	"clock_gettime",
	"clock_nanosleep",
	"close",
	"close_range",
	"connect",
	"copy_file_range",
	"creat",
	"dup",
	"dup2",
	"dup3",
	"epoll_create",
	"epoll_create1",
	"epoll_ctl",
	"epoll_ctl_old",
	"epoll_pwait",
	"epoll_pwait2",
	"epoll_wait",
	"epoll_wait_old",
	"eventfd",
	"eventfd2",
	"execve",
	"execveat",
	"exit",
	"exit_group",
	"faccessat",
	"faccessat2",
	"fadvise64",
	"fallocate",
	"fanotify_mark",
	"fchdir",
	"fchmod",
	"fchmodat",
	"fchmodat2",
	"fchown",
	"fchownat",
	"fcntl",
	"fdatasync",
	"fgetxattr",
	"flistxattr",
	"flock",
	"fork",
	"fremovexattr",
	"fsetxattr",
	"fstat",
	"fstatfs",
	"fsync",
	"ftruncate",
	"futex",
	"futex_requeue",
	"futex_wait",
	"futex_waitv",
	"futex_wake",
	"futimesat",
	"getcpu",
	"getcwd",
	"getdents",
	"getdents64",
	"getegid",
	"geteuid",
	"getgid",
	"getgroups",
	"getitimer",
	"getpeername",
	"getpgid",
	"getpgrp",
	"getpid",
	"getppid",
	"getpriority",
	"getrandom",
	"getresgid",
	"getresuid",
	"getrlimit",
	"get_robust_list",
	"getrusage",
	"getsid",
	"getsockname",
	"getsockopt",
	"get_thread_area",
	"gettid",
	"gettimeofday",
	"getuid",
	"getxattr",
	"getxattrat",
	"inotify_add_watch",
	"inotify_init",
	"inotify_init1",
	"inotify_rm_watch",
	"io_cancel",
	"ioctl",
	"io_destroy",
	"io_getevents",
	"io_pgetevents",
	"ioprio_get",
	"ioprio_set",
	"io_setup",
	"io_submit",
	"kill",
	"landlock_add_rule",
	"landlock_create_ruleset",
	"landlock_restrict_self",
	"lchown",
	"lgetxattr",
	"link",
	"linkat",
	"listen",
	"listmount",
	"listxattr",
	"listxattrat",
	"llistxattr",
	"lremovexattr",
	"lseek",
	"lsetxattr",
	"lstat",
	"madvise",
	"map_shadow_stack",
	"membarrier",
	"memfd_create",
	"memfd_secret",
	"mincore",
	"mkdir",
	"mkdirat",
	"mknod",
	"mknodat",
	"mlock",
	"mlock2",
	"mlockall",
	"mmap",
	"modify_ldt",
	"mprotect",
	"mq_getsetattr",
	"mq_notify",
	"mq_open",
	"mq_timedreceive",
	"mq_timedsend",
	"mq_unlink",
	"mremap",
	"mseal",
	"msgctl",
	"msgget",
	"msgrcv",
	"msgsnd",
	"msync",
	"munlock",
	"munlockall",
	"munmap",
	"name_to_handle_at",
	"nanosleep",
	"newfstatat",
	"open",
	"openat",
	"openat2",
	"pause",
	"pidfd_open",
	"pidfd_send_signal",
	"pipe",
	"pipe2",
	"pkey_alloc",
	"pkey_free",
	"pkey_mprotect",
	"poll",
	"ppoll",
	"prctl",
	"pread64",
	"preadv",
	"preadv2",
	"prlimit64",
	"process_mrelease",
	"process_vm_readv",
	"process_vm_writev",
	"pselect6",
	"ptrace",
	"pwrite64",
	"pwritev",
	"pwritev2",
	"read",
	"readahead",
	"readlink",
	"readlinkat",
	"readv",
	"recvfrom",
	"recvmmsg",
	"recvmsg",
	"remap_file_pages",
	"removexattr",
	"removexattrat",
	"rename",
	"renameat",
	"renameat2",
	"restart_syscall",
	"rmdir",
	"rseq",
	"rt_sigaction",
	"rt_sigpending",
	"rt_sigprocmask",
	"rt_sigqueueinfo",
	"rt_sigreturn",
	"rt_sigsuspend",
	"rt_sigtimedwait",
	"rt_tgsigqueueinfo",
	"sched_getaffinity",
	"sched_getattr",
	"sched_getparam",
	"sched_get_priority_max",
	"sched_get_priority_min",
	"sched_getscheduler",
	"sched_rr_get_interval",
	"sched_setaffinity",
	"sched_setattr",
	"sched_setparam",
	"sched_setscheduler",
	"sched_yield",
	"seccomp",
	"select",
	"semctl",
	"semget",
	"semop",
	"semtimedop",
	"sendfile",
	"sendmmsg",
	"sendmsg",
	"sendto",
	"setfsgid",
	"setfsuid",
	"setgid",
	"setgroups",
	"setitimer",
	"setpgid",
	"setpriority",
	"setregid",
	"setresgid",
	"setresuid",
	"setreuid",
	"setrlimit",
	"set_robust_list",
	"setsid",
	"setsockopt",
	"set_thread_area",
	"set_tid_address",
	"setuid",
	"setxattr",
	"setxattrat",
	"shmat",
	"shmctl",
	"shmdt",
	"shmget",
	"shutdown",
	"sigaltstack",
	"signalfd",
	"signalfd4",
	"socketpair",
	"splice",
	"stat",
	"statfs",
	"statmount",
	"statx",
	"symlink",
	"symlinkat",
	"sync",
	"sync_file_range",
	"syncfs",
	"sysinfo",
	"tee",
	"tgkill",
	"time",
	"timer_create",
	"timer_delete",
	"timer_getoverrun",
	"timer_gettime",
	"timer_settime",
	"timerfd_create",
	"timerfd_gettime",
	"timerfd_settime",
	"times",
	"tkill",
	"truncate",
	"umask",
	"uname",
	"unlink",
	"unlinkat",
	"uretprobe",
	"utime",
	"utimensat",
	"utimes",
	"vfork",
	"vmsplice",
	"wait4",
	"waitid",
	"write",
	"writev",
};

/* What personality(2) may be asked for: Linux, 32 bit, UNAME26, both, and the
 * question itself. */
static const uint32_t personalities[] = { 0, 8, 0x20000, 0x20008, 0xffffffff };

enum verdict { MISSING, DENIED, ALLOWED, BY_SOCKET, BY_CLONE, BY_PERSONALITY };

static const struct arch {
	const char *name;
	uint32_t token, audit;
} archs[] = {
	{ "x86_64", SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64 },
	{ "aarch64", SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64 },
};

static struct sock_filter code[BPF_MAXINSNS];
static size_t n_code;

static size_t emit(struct sock_filter instruction)
{
	if (n_code == BPF_MAXINSNS)
		abort();
	code[n_code] = instruction;
	return n_code++;
}

static void emit_return(uint32_t action)
{
	emit((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* The low half of the first argument, which is all that the kernel uses of an
 * int; both architectures are little endian. */
static void emit_load_argument(void)
{
	emit((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					  offsetof(struct seccomp_data, args)));
}

/* Jumps over `over` instructions when the accumulator equals value. */
static void emit_skip_if_equal(uint32_t value, uint8_t over)
{
	emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value,
					  over, 0));
}

static void emit_personality(void)
{
	size_t n = sizeof(personalities) / sizeof(personalities[0]);

	emit_load_argument();
	for (size_t i = 0; i < n; i++)
		emit_skip_if_equal(personalities[i], (uint8_t)(n - i));
	emit_return(SECCOMP_RET_ERRNO | EPERM);
	emit_return(SECCOMP_RET_ALLOW);
}

static void emit_verdict(enum verdict verdict)
{
	switch (verdict) {
	case MISSING:
		emit_return(SECCOMP_RET_ERRNO | ENOSYS);
		break;
	case DENIED:
		emit_return(SECCOMP_RET_ERRNO | EPERM);
		break;
	case ALLOWED:
		emit_return(SECCOMP_RET_ALLOW);
		break;
	case BY_SOCKET: /* vsock would reach the hypervisor */
		emit_load_argument();
		emit_skip_if_equal(AF_VSOCK_NUMBER, 1);
		emit_return(SECCOMP_RET_ALLOW);
		emit_return(SECCOMP_RET_ERRNO | EPERM);
		break;
	case BY_CLONE: /* no new namespaces */
		emit_load_argument();
		emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K,
						  CLONE_NAMESPACES, 1, 0));
		emit_return(SECCOMP_RET_ALLOW);
		emit_return(SECCOMP_RET_ERRNO | EPERM);
		break;
	case BY_PERSONALITY:
		emit_personality();
		break;
	}
}

struct range {
	uint32_t first;
	enum verdict verdict;
};

static void emit_tree(const struct range *ranges, size_t n)
{
	if (n == 1) {
		emit_verdict(ranges[0].verdict);
		return;
	}
	size_t middle = n / 2;
	size_t at = emit((struct sock_filter)BPF_JUMP(
		BPF_JMP | BPF_JGE | BPF_K, ranges[middle].first, 0, 0));

	emit_tree(ranges, middle);
	size_t distance = n_code - at - 1;

	if (distance <= UINT8_MAX) {
		code[at].jt = (uint8_t)distance;
		emit_tree(ranges + middle, n - middle);
		return;
	}
	fprintf(stderr, "mkseccomp: the tree is too wide for its jumps\n");
	exit(1);
}

static void set(enum verdict *calls, uint32_t arch, const char *name,
		enum verdict verdict)
{
	int number = seccomp_syscall_resolve_name_arch((uint32_t)arch, name);

	if (number >= 0 && number < CALL_MAX)
		calls[number] = verdict;
}

static size_t make_ranges(const struct arch *arch, struct range *ranges)
{
	static enum verdict calls[CALL_MAX];
	size_t n = 0;

	for (int i = 0; i < FIRST_NEW_CALL; i++) {
		char *name = seccomp_syscall_resolve_num_arch(arch->token, i);

		calls[i] = name ? DENIED : MISSING;
		free(name);
	}
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		set(calls, arch->token, allowed[i], ALLOWED);
	set(calls, arch->token, "socket", BY_SOCKET);
	set(calls, arch->token, "clone", BY_CLONE);
	set(calls, arch->token, "personality", BY_PERSONALITY);
	for (uint32_t i = 0; i < CALL_MAX; i++) {
		if (i == 0 || calls[i] != calls[i - 1])
			ranges[n++] = (struct range){ i, calls[i] };
	}
	return n;
}

static void print_code(const struct arch *arch)
{
	printf("/* Made by mkseccomp for %s: %zu instructions. */\n"
	       "static const struct sock_filter seccomp_default_code[] = {\n",
	       arch->name, n_code);
	for (size_t i = 0; i < n_code; i++)
		printf("\t{ 0x%02x, %u, %u, 0x%08x },\n", code[i].code,
		       code[i].jt, code[i].jf, code[i].k);
	printf("};\n");
}

int main(int argc, char **argv)
{
	static struct range ranges[CALL_MAX];
	const struct arch *arch = NULL;

	for (size_t i = 0; argc == 2 && i < sizeof(archs) / sizeof(archs[0]);
	     i++) {
		if (strcmp(argv[1], archs[i].name) == 0)
			arch = &archs[i];
	}
	if (!arch) {
		fprintf(stderr, "usage: mkseccomp x86_64|aarch64\n");
		return 2;
	}
	size_t n = make_ranges(arch, ranges);

	emit((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					  offsetof(struct seccomp_data, arch)));
	emit_skip_if_equal(arch->audit, 1);
	emit_return(SECCOMP_RET_KILL_PROCESS);
	emit((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					  offsetof(struct seccomp_data, nr)));
	emit_tree(ranges, n);
	print_code(arch);
	return 0;
}
