#define _GNU_SOURCE
#include "confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fd.h"
#include "log.h"

/* Every access to files that Landlock knows at ABI 5; 6 and 7 add none. */
#define FILES_ALL_ABI1 ((UINT64_C(1) << 13) - 1)
#define FILES_READ     (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FILES_REFER    (UINT64_C(1) << 13) /* ABI 2 */
#define FILES_TRUNCATE (UINT64_C(1) << 14) /* ABI 3 */
#define FILES_IOCTL    (UINT64_C(1) << 15) /* ABI 5 */

static int fail(const char *what)
{
	int error = errno;

	log_error("confine", "%s: %m", what);
	return -error;
}

static uint64_t files_known(int abi)
{
	return FILES_ALL_ABI1 | (abi >= 2 ? FILES_REFER : 0) |
	       (abi >= 3 ? FILES_TRUNCATE : 0) | (abi >= 5 ? FILES_IOCTL : 0);
}

static int ruleset_allow(int ruleset, uint64_t access, int dir)
{
	struct landlock_path_beneath_attr beneath = {
		.allowed_access = access,
		.parent_fd = dir,
	};

	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH,
		    &beneath, 0) < 0)
		return fail("Landlock rule for a directory");
	return 0;
}

int confine_files(const int *dirs, size_t n)
{
	return confine_files_reading(dirs, n, NULL, 0);
}

int confine_files_reading(const int *dirs, size_t n, const int *read_dirs,
			  size_t n_read)
{
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
			       LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t access = files_known(abi); /* all of the oldest attribute */
	autoclose int ruleset = -1;

	if (abi < 0)
		return fail("Landlock: enable it in the kernel (lsm=)");
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &access,
			       sizeof(access), 0);
	if (ruleset < 0)
		return fail("Landlock ruleset");
	for (size_t i = 0; i < n + n_read; i++) {
		int error = i < n ? ruleset_allow(ruleset, access, dirs[i])
				  : ruleset_allow(ruleset, FILES_READ,
						  read_dirs[i - n]);

		if (error < 0)
			return error;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return fail("Landlock");
	return 0;
}

/* The bounding set goes first, because that takes CAP_SETPCAP; without it the
 * set is of no use either, for no_new_privs keeps execve from granting. */
static int capabilities_keep(uint64_t kept)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct sets[2] = {
		{ .effective = (uint32_t)kept, .permitted = (uint32_t)kept },
		{ .effective = (uint32_t)(kept >> 32),
		  .permitted = (uint32_t)(kept >> 32) },
	};

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		if (kept >> cap & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
			return fail("bounding set");
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    syscall(SYS_capset, &head, sets) < 0)
		return fail("capabilities");
	return 0;
}

int confine_keeping(uint64_t kept, const struct sock_filter *filter, size_t n)
{
	struct sock_fprog program = {
		.len = (unsigned short)n,
		.filter = (struct sock_filter *)filter,
	};
	const struct rlimit no_core = { 0, 0 };
	int error;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail("no_new_privs");
	error = capabilities_keep(kept);
	if (error < 0)
		return error;
	if (setrlimit(RLIMIT_CORE, &no_core) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return fail("core files");
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return fail("seccomp filter");
	return 0;
}

int confine(const struct sock_filter *filter, size_t n)
{
	return confine_keeping(0, filter, n);
}

#ifdef __SANITIZE_ADDRESS__
/* Of the tests' flavour alone: looking for leaks at the end takes calls that a
 * confined program does not have, and then waits for ever. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-*): the sanitizer's name */
int __lsan_is_turned_off(void);
/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-*): the sanitizer's name */
int __lsan_is_turned_off(void)
{
	return 1;
}
#endif
