/* Confinement, on the real kernel: each case is a child that tries what it
 * must not. Run as root, so that there is something to lose. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/confine.h"
#include "tap.h"

/* Everything but getppid. */
static const struct sock_filter no_getppid[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static int confine_all(void)
{
	return confine(no_getppid, sizeof(no_getppid) / sizeof(no_getppid[0]));
}

static int call_listed(void)
{
	return confine_all() < 0 || getpid() <= 0;
}

static int call_unlisted(void)
{
	if (confine_all() < 0)
		return 1;
	return syscall(SYS_getppid) != 0;
}

static int capability_left(void)
{
	if (confine_all() < 0)
		return 1;
	if (getuid() != 0)
		return 0;
	return chroot("/") == 0 || errno != EPERM ||
	       prctl(PR_CAPBSET_READ, 0, 0, 0, 0) != 0;
}

static int core_and_ptrace(void)
{
	struct rlimit core;

	if (confine_all() < 0 || getrlimit(RLIMIT_CORE, &core) < 0)
		return 1;
	return core.rlim_max != 0 || prctl(PR_GET_DUMPABLE) != 0 ||
	       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

static int file_none(void)
{
	if (confine_files(NULL, 0) < 0)
		return 1;
	return open("/proc/self/status", O_RDONLY) >= 0 || errno != EACCES;
}

static char directory[] = "/tmp/confine_test.XXXXXX";

static int file_beneath(void)
{
	int dir = open(directory, O_DIRECTORY | O_PATH), bad = 1;

	if (confine_files(&dir, 1) == 0 &&
	    openat(dir, "a", O_CREAT | O_RDWR, 0600) >= 0 &&
	    renameat(dir, "a", dir, "b") == 0 &&
	    openat(dir, "../", O_RDONLY) < 0 && errno == EACCES &&
	    open("/proc/self/status", O_RDONLY) < 0)
		bad = 0;
	unlinkat(dir, "b", 0);
	return bad;
}

static int file_reading(void)
{
	int etc = open("/etc", O_DIRECTORY | O_PATH);

	if (confine_files_reading(NULL, 0, &etc, 1) < 0)
		return 1;
	return open("/etc/passwd", O_RDONLY) < 0 ||
	       open("/etc/passwd", O_WRONLY) >= 0 ||
	       open("/proc/self/status", O_RDONLY) >= 0;
}

static int status_of(int (*f)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(f());
	waitpid(pid, &status, 0);
	return status;
}

int main(void)
{
	int status = status_of(call_unlisted);

	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
	   "a call that is not listed kills");
	ok(status_of(call_listed) == 0, "a call that is listed works");
	ok(status_of(capability_left) == 0, "no capability is left");
	ok(status_of(core_and_ptrace) == 0, "no core, no ptrace, no new "
					    "privileges");
	ok(status_of(file_none) == 0, "no file can be opened");
	ok(mkdtemp(directory) && status_of(file_beneath) == 0,
	   "only files beneath the directory");
	ok(status_of(file_reading) == 0,
	   "files beneath another may only be read");
	rmdir(directory);
	return tap_done();
}
