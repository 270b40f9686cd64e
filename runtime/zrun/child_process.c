/* The child's last steps: who it is, what it may do, what it runs. */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "kernel.h"

extern char **environ;

static const char default_path[] =
	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* getcwd(2) tells when the directory lies outside the root: a descriptor that
 * leaked in could be reached by /proc/self/fd/N as cwd (CVE-2024-21626). */
int child_cwd(struct child *c, const char *path)
{
	char here[4096];

	if (chdir(path) < 0)
		return -errno;
	if (strcmp(path, "/") == 0)
		return 0;
	long n = syscall(SYS_getcwd, here, sizeof(here));

	if (n < 0)
		return -errno;
	if (here[0] != '/')
		return child_detail(c, -EPERM, "lies outside the root");
	return 0;
}

static int drop_bounding(uint64_t keep)
{
	for (unsigned i = 0; i < 64; i++) {
		if (keep >> i & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			return errno == EINVAL ? 0 : -errno; /* past the last */
	}
	return 0;
}

/* Those that the config names beside what /etc/group says. */
static int groups_add(struct child *c)
{
	const struct u32_list *more = &c->process->user.additional_gids;
	struct identity *id = &c->identity;

	if (more->n > IDENTITY_GROUPS_MAX - id->n_groups)
		return child_detail(c, -E2BIG, "more than %d groups",
				    IDENTITY_GROUPS_MAX);
	for (size_t i = 0; i < more->n; i++)
		id->group[id->n_groups++] = more->item[i];
	return 0;
}

int child_user_name(struct child *c, const char *name)
{
	const char *what = "";
	int r = identity_resolve(name, &c->identity, &what);

	if (r < 0)
		return child_detail(c, r, "%.60s: %s", name, what);
	c->has_identity = true;
	return groups_add(c);
}

static int set_groups(const struct child *c, size_t n, const uint32_t *gids)
{
	if (syscall(SYS_setgroups, n, gids) == 0)
		return 0;
	/* In a user namespace made without privilege there are none to drop,
	 * and none may be set. */
	bool unprivileged = c->new_user_namespace || c->user_joined;

	return errno == EPERM && unprivileged && n == 0 ? 0 : -errno;
}

int child_user(struct child *c)
{
	const struct runtime_user *user = &c->process->user;
	const struct identity *found = c->has_identity ? &c->identity : NULL;
	uint64_t bounding = c->process->capability[RUNTIME_CAP_BOUNDING];
	uint32_t uid = found ? found->uid : user->uid;
	uint32_t gid = found ? found->gid : user->gid;
	int r = drop_bounding(bounding & c->grantable);

	if (r < 0)
		return child_detail(c, r, "capability bounding set");
	if (uid != 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	r = found ? set_groups(c, found->n_groups, found->group)
		  : set_groups(c, user->additional_gids.n,
			       user->additional_gids.item);
	if (r < 0)
		return child_detail(c, r, "additionalGids");
	/* One thread: not by way of the C library, which asks all of them. */
	if (syscall(SYS_setresgid, gid, gid, gid) < 0)
		return child_detail(c, -errno, "gid %u", gid);
	if (syscall(SYS_setresuid, uid, uid, uid) < 0)
		return child_detail(c, -errno, "uid %u", uid);
	umask(user->umask.set ? (mode_t)user->umask.value : 0022);
	return 0;
}

static int set_capabilities(uint64_t effective, uint64_t permitted,
			    uint64_t inheritable)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)effective, (uint32_t)permitted,
		  (uint32_t)inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(permitted >> 32),
		  (uint32_t)(inheritable >> 32) },
	};

	return kernel_result(syscall(SYS_capset, &head, data));
}

int child_capabilities_raise(struct child *c)
{
	return set_capabilities(c->grantable, c->grantable, 0);
}

/* What cannot be granted was already told as a warning (launch.c); here the
 * sets are only made consistent with each other, as the kernel demands. */
int child_capabilities(struct child *c)
{
	const uint64_t *want = c->process->capability;
	uint64_t permitted = want[RUNTIME_CAP_PERMITTED] & c->grantable;
	uint64_t effective = want[RUNTIME_CAP_EFFECTIVE] & permitted;
	uint64_t inheritable = want[RUNTIME_CAP_INHERITABLE] & c->grantable &
			       (want[RUNTIME_CAP_BOUNDING] | permitted);
	uint64_t ambient = want[RUNTIME_CAP_AMBIENT] & permitted & inheritable;
	int r = set_capabilities(effective, permitted, inheritable);

	if (r < 0)
		return r;
	/* The kernel takes out what is not both permitted and inheritable. */
	if (permitted & inheritable)
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned i = 0; i < 64; i++) {
		if ((ambient >> i & 1) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
			return child_detail(c, -errno, "ambient set");
	}
	return 0;
}

static int is_program(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

static const char *search_path(const struct text_list *env)
{
	const char *found = default_path;

	for (size_t i = 0; i < env->n; i++) {
		if (strncmp(env->item[i], "PATH=", 5) == 0)
			found = env->item[i] + 5;
	}
	return found;
}

int child_lookup(struct child *c)
{
	const char *name = c->process->args.item[0];
	int r, last = -ENOENT;

	if (strchr(name, '/')) {
		snprintf(c->program, sizeof(c->program), "%s", name);
		r = is_program(name);
		return r < 0 ? child_detail(c, r, "exec %.90s", name) : 0;
	}
	for (const char *dir = search_path(&c->process->env); dir;) {
		const char *colon = strchrnul(dir, ':');
		int n = (int)(colon - dir);

		n = snprintf(c->program, sizeof(c->program), "%.*s/%s",
			     n ? n : 1, n ? dir : ".", name);
		r = (size_t)n < sizeof(c->program) ? is_program(c->program)
						   : -ENAMETOOLONG;
		if (r == 0)
			return 0;
		if (r == -EACCES)
			last = r;
		dir = *colon ? colon + 1 : NULL;
	}
	if (last == -EACCES)
		return child_detail(c, last, "exec %.90s", name);
	return child_detail(c, last,
			    "executable file `%.50s` not found in "
			    "$PATH",
			    name);
}

/* Whatever leaked into zrun must not leak into the container; the channel
 * closes by the same means when execve succeeds. */
int child_descriptors(struct child *c)
{
	const struct runtime_rlimit *l = c->files_limit;
	struct rlimit files = { l ? l->soft : 0, l ? l->hard : 0 };

	if (l && setrlimit(RLIMIT_NOFILE, &files) < 0)
		return child_detail(c, -errno, "RLIMIT_NOFILE");
	return kernel_close_range(3 + c->preserve_fds, ~0u,
				  CLOSE_RANGE_CLOEXEC);
}

int child_exec(struct child *c)
{
	char **args = (char **)c->process->args.item;
	char **env = (char **)c->process->env.item;
	static char *const none[] = { NULL };

	c->executes = true;
	if (c->reaper >= 0)
		syscall(SYS_execveat, c->reaper, "", c->reaper_args,
			env ? env : (char **)none, AT_EMPTY_PATH);
	else
		execve(c->program, args, env ? env : (char **)none);
	return child_detail(c, -errno, "exec %.90s", c->program);
}
