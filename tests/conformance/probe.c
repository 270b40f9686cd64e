/* What the conformance tests need done inside a container, where busybox has
 * no word for it: `probe VERB [ARGUMENT...]`.
 *
 * A verb prints what it saw; one that is refused prints "-ERRNO". Test code: it
 * trusts who calls it. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ARGS_MAX = 6, EXCHANGE = 2 /* RENAME_EXCHANGE */ };

#if defined(__x86_64__)
static long call_compat(const long *a)
{
	long r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(a[0]), "b"(a[1]), "c"(a[2]), "d"(a[3])
			 : "memory", "r8", "r9", "r10", "r11");
	return r;
}
#else
static long call_compat(const long *a)
{
	(void)a;
	return -ENOSYS;
}
#endif

static long call_native(const long *a)
{
	long r = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);

	return r < 0 ? -errno : r;
}

/* NUMBER ARGUMENT...: numbers, or text where no number. */
static int verb_call(char **word, long (*call)(const long *))
{
	long a[ARGS_MAX + 1] = { 0 };
	char *end;

	for (int i = 0; i <= ARGS_MAX && word[i]; i++) {
		a[i] = (long)strtoul(word[i], &end, 0);
		if (*end)
			a[i] = (long)(uintptr_t)word[i];
	}
	printf("%ld\n", call(a));
	return 0;
}

static int verb_syscall(char **word)
{
	return verb_call(word, call_native);
}

static int verb_int80(char **word)
{
	return verb_call(word, call_compat);
}

/* RESOURCE: soft and hard. */
static int verb_limit(char **word)
{
	struct rlimit limit;

	if (getrlimit(atoi(word[0]), &limit) < 0)
		return printf("-%d\n", errno) < 0;
	printf("%llu %llu\n", (unsigned long long)limit.rlim_cur,
	       (unsigned long long)limit.rlim_max);
	return 0;
}

struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static int verb_scheduler(char **word)
{
	struct attributes a = { .size = sizeof(a) };

	(void)word;
	if (syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) < 0)
		return printf("-%d\n", errno) < 0;
	printf("policy=%u flags=%llu nice=%d priority=%u runtime=%llu "
	       "deadline=%llu period=%llu\n",
	       a.policy, (unsigned long long)a.flags, a.nice, a.priority,
	       (unsigned long long)a.runtime, (unsigned long long)a.deadline,
	       (unsigned long long)a.period);
	return 0;
}

/* Class and level of the I/O priority. */
static int verb_ioprio(char **word)
{
	long r = syscall(SYS_ioprio_get, 1, 0);

	(void)word;
	printf("%ld %ld\n", r >> 13, r & 0x1fff);
	return 0;
}

/* Mode and nodes of the memory policy. */
static int verb_mempolicy(char **word)
{
	unsigned long nodes[16] = { 0 };
	int mode = -1;

	(void)word;
	if (syscall(SYS_get_mempolicy, &mode, nodes, sizeof(nodes) * 8, NULL,
		    0) < 0)
		return printf("-%d\n", errno) < 0;
	printf("%d %lx\n", mode, nodes[0]);
	return 0;
}

/* Names the signal it gets; "handler" tells that it is ready. */
static int verb_signal(char **word)
{
	sigset_t all;
	int number;

	(void)word;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	puts("ready");
	fflush(stdout);
	sigwait(&all, &number);
	printf("%d\n", number);
	return 0;
}

/* A B: exchanges the two names until it is killed. */
static int verb_swap(char **word)
{
	for (;;) {
		if (syscall(SYS_renameat2, AT_FDCWD, word[0], AT_FDCWD, word[1],
			    EXCHANGE) < 0 &&
		    errno != ENOENT)
			return printf("-%d\n", errno) < 0;
	}
}

/* What a process that joins this pid namespace lets others do to it. */
static void spy_on(int pid)
{
	char path[64], target[256];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *list = opendir(path);

	for (struct dirent *e; list && (e = readdir(list));) {
		ssize_t n = readlinkat(dirfd(list), e->d_name, target,
				       sizeof(target) - 1);

		if (n <= 0 || !isdigit((unsigned char)e->d_name[0]))
			continue;
		target[n] = '\0';
		printf("fd %s\n", target);
	}
	if (list)
		closedir(list);
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n > 0)
		printf("exe %.*s\n", (int)n, target);
	fflush(stdout);
}

/* FILE: spies on all but this process and init until FILE exists. */
static int verb_spy(char **word)
{
	int self = getpid();

	puts("ready");
	fflush(stdout);
	while (access(word[0], F_OK) < 0) {
		DIR *list = opendir("/proc");

		for (struct dirent *e; list && (e = readdir(list));) {
			int pid = atoi(e->d_name);

			if (pid > 1 && pid != self)
				spy_on(pid);
		}
		if (list)
			closedir(list);
	}
	return 0;
}

/* Waits; the code with the lowest address lies in memory that is shared. */
static int verb_shared_code(char **word)
{
	const int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	void *low = (void *)0x100000;

	(void)word;
	if (mmap(low, 1 << 16, PROT_READ | PROT_EXEC, flags, -1, 0) != low)
		return printf("-%d\n", errno) < 0;
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

static const struct {
	const char *name;
	int n_words;
	int (*run)(char **word);
} verbs[] = {
	{ "call", 1, verb_syscall }, /* NUMBER ARGUMENT... */
	{ "int80", 1,
	  verb_int80 }, /* NUMBER ARGUMENT..., as a 32-bit program */
	{ "limit", 1, verb_limit }, /* RESOURCE */
	{ "scheduler", 0, verb_scheduler },
	{ "ioprio", 0, verb_ioprio },
	{ "mempolicy", 0, verb_mempolicy },
	{ "signal", 0, verb_signal },
	{ "swap", 2, verb_swap }, /* A B */
	{ "spy", 1, verb_spy },	  /* FILE */
	{ "shared-code", 0, verb_shared_code },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (argc >= 2 + verbs[i].n_words &&
		    strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argv + 2);
	}
	fprintf(stderr, "probe: no such verb, or words are missing\n");
	return 2;
}
