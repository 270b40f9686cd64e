#define _GNU_SOURCE
#include "create.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/span.h"
#include "kernel.h"
#include "option.h"
#include "resctrl.h"
#include "root_mount.h"
#include "seccomp_filter.h"
#include "seccomp_listener.h"
#include "state_json.h"
#include "terminal.h"

/* The text of config.json: exec needs it too, and the bundle may change. Set
 * aside; pages are only used when touched. */
static char config_text[RUNTIME_CONFIG_SIZE_MAX + 1];
static size_t config_size;

/* Of the one container that this process makes. */
static struct made made;

static int read_text(struct create *c, struct fault *fault)
{
	if (!c->config_file)
		c->config_file = "config.json";
	autoclose int fd = openat(AT_FDCWD, c->config_file,
				  O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno
			   : fd_read(fd, config_text, sizeof(config_text));

	if (n < 0)
		return fault_set(fault, (int)n, "%.100s in %.200s",
				 c->config_file, c->container.state.bundle);
	config_size = (size_t)n;
	return 0;
}

static int read_config(struct create *c, struct fault *fault)
{
	struct state *state = &c->container.state;
	char error[RUNTIME_ERROR_SIZE];

	/* Relative sources of mounts start from the bundle. */
	if (c->bundle && chdir(c->bundle) < 0)
		return fault_set(fault, -errno, "bundle %s", c->bundle);
	if (!getcwd(state->bundle, sizeof(state->bundle)))
		return fault_set(fault, -errno, "bundle");
	int r = read_text(c, fault);

	if (r < 0)
		return r;
	r = runtime_config_parse(&c->config, config_text, config_size, error);
	if (r < 0)
		return fault_set(fault, 0, "config.json: %s", error);
	if (!c->config.has_process)
		return fault_set(fault, 0, "config.json: process: missing");
	return 0;
}

static int find_root(struct create *c, struct fault *fault)
{
	char *root = c->container.state.rootfs;

	_Static_assert(sizeof(c->container.state.rootfs) >= PATH_MAX,
		       "any path");
	if (!realpath(c->config.root_path, root))
		return fault_set(fault, -errno, "root.path (%.200s)",
				 c->config.root_path);
	if (strcmp(root, "/") == 0)
		return fault_set(fault, 0, "root.path: is the host's own root");
	return 0;
}

static int make_state(struct create *c, struct fault *fault)
{
	struct container *container = &c->container;
	struct state *state = &container->state;

	text_copy(state->id, sizeof(state->id), c->id);
	state->created = kernel_time();
	container->dir = state_make(container->root, c->id, fault);
	if (container->dir < 0)
		return container->dir;
	/* Whoever finds half of it finds no state and no cgroup either. */
	autoclose int file = openat(
		container->dir, "config.json",
		O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = file < 0 ? -errno : fd_write(file, config_text, config_size);

	return r < 0 ? fault_set(fault, r, "keep its state") : 0;
}

static bool wants_limits(const struct runtime_resources *resources)
{
	static const struct runtime_resources none;
	struct runtime_resources r;

	/* All but the rules for devices, which most configs have. */
	memcpy(&r, resources, sizeof(r));
	r.device = NULL;
	r.n_device = 0;
	/* Padding too is zero: the parser begins with a config of zeroes. */
	/* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
	return memcmp(&r, &none, sizeof(r)) != 0;
}

/* Which cgroup, below the tree's root, into the state. */
static int name_cgroup(struct create *c, struct fault *fault)
{
	struct state *state = &c->container.state;
	const char *path = c->config.cgroups_path;
	char standard[STATE_ID_SIZE + 8];

	if (cli.systemd_cgroup)
		return scope_make(&c->scope, path, c->id,
				  c->container.cgroup.root, state->cgroup,
				  sizeof(state->cgroup), fault);
	snprintf(standard, sizeof(standard), "zrun/%s", c->id);
	if (!path || !path[0])
		path = standard;
	if (strchr(path, ':') && !strchr(path, '/'))
		return fault_set(fault, 0,
				 "linux.cgroupsPath (%.80s): the form "
				 "slice:prefix:name needs --systemd-cgroup",
				 path);
	while (*path == '/')
		path++;
	text_copy(state->cgroup, sizeof(state->cgroup), path);
	return 0;
}

/* Somebody without privilege may have no cgroup to make one in: that is only
 * an error when limits were asked for. */
static int make_cgroup(struct create *c, struct fault *fault)
{
	struct container *container = &c->container;
	const struct runtime_config *config = &c->config;
	struct cgroup *cg = &container->cgroup;

	if (cli.no_cgroup && wants_limits(&config->resources))
		return fault_set(fault, 0,
				 "linux.resources: limits need a cgroup, and "
				 "--cgroup-manager is disabled");
	if (cli.no_cgroup)
		return 0;
	int found = cgroup_find(cg, fault);
	int r = found == 0 || !cli.systemd_cgroup ? name_cgroup(c, fault)
						  : found;

	if (r < 0)
		return r;
	/* Noted first, so that it is found after a cut. */
	autoclose int file = state_create(container->dir);

	r = file < 0 ? file : state_put(file, &container->state);
	if (r < 0)
		return fault_set(fault, r, "keep its state");
	r = found;
	if (r == 0)
		r = cgroup_make(cg, container->state.cgroup, fault);
	if (r < 0 && r != -EBUSY && geteuid() != 0 &&
	    !wants_limits(&config->resources)) {
		fd_close(&cg->dir);
		container->state.cgroup[0] = '\0';
		return 0;
	}
	if (r < 0)
		return r;
	return cgroup_limit(cg, &config->resources, fault);
}

static int make_resctrl(struct create *c, struct fault *fault)
{
	const struct runtime_intel_rdt *rdt = &c->config.intel_rdt;
	autoclose int root = rdt->set ? resctrl_find(fault) : -1;

	if (!rdt->set)
		return 0;
	c->launch.resctrl = root < 0 ? root
				     : resctrl_make(root, c->container.dir, rdt,
						    c->id, fault);
	return c->launch.resctrl < 0 ? c->launch.resctrl : 0;
}

int create_devices(const struct create *c, struct fault *fault)
{
	const struct cgroup *cg = &c->container.cgroup;
	int r = cg->dir < 0 ? 0
			    : cgroup_devices(cg, &c->config.resources, fault);

	/* No right to load BPF: no device to open either. */
	return r == -EPERM && geteuid() != 0 ? 0 : r;
}

/* "/proc/self/fd/7" means the descriptor itself: what a pidfd leads to cannot
 * be opened anew, but it can be joined. */
static int open_namespace(const char *path)
{
	static const char own[] = "/proc/self/fd/";
	const char *number = path + sizeof(own) - 1;
	uint64_t n;
	bool held = strncmp(path, own, sizeof(own) - 1) == 0 &&
		    span_u64(span_of(number), INT_MAX, &n) == 0;
	int fd = held ? fcntl((int)n, F_DUPFD_CLOEXEC, 3)
		      : open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int open_namespaces(struct create *c, struct plan_setting *setting,
			   struct fault *fault)
{
	struct runtime_namespace_use *user =
		&c->config.namespace[RUNTIME_NS_USER];
	bool any = false;

	for (int i = 0; i < RUNTIME_NS_COUNT; i++) {
		const struct runtime_namespace_use *ns =
			&c->config.namespace[i];

		if (!ns->set || !ns->path)
			continue;
		int fd = open_namespace(ns->path);

		if (fd < 0)
			return fault_set(fault, fd,
					 "linux.namespaces: %s (%.200s)",
					 runtime_namespace_name(
						 (enum runtime_namespace)i),
					 ns->path);
		c->join.fd[i] = fd;
		any = true;
	}
	/* The one that we are in: nothing to join, nor another's rights. */
	if (user->path &&
	    join_is_ours(c->join.fd[RUNTIME_NS_USER], RUNTIME_NS_USER)) {
		fd_close(&c->join.fd[RUNTIME_NS_USER]);
		user->set = false;
	}
	join_setting(&c->join, setting, &c->launch);
	if (any && user->set) {
		setting->joins_ahead = true;
		c->launch.join_fd = c->join.fd;
	}
	return 0;
}

static int open_console(struct create *c, struct plan_setting *setting,
			struct fault *fault)
{
	if (!c->config.process.terminal) {
		if (c->console_socket)
			return fault_set(fault, 0,
					 "--console-socket: "
					 "process.terminal is false");
		return 0;
	}
	setting->has_console = true;
	if (!c->console_socket && !c->foreground)
		return fault_set(fault, 0,
				 "process.terminal: needs "
				 "--console-socket");
	return console_open(c->console_socket, &c->launch.child.console_socket,
			    &c->terminal, fault);
}

void create_warnings(const struct runtime_config *config, uint64_t grantable)
{
	uint64_t missing = 0;
	char line[120];

	for (size_t i = 0; i < config->n_warning; i++)
		cli_warning(config->warning[i]);
	for (int i = 0; i < RUNTIME_CAP_SET_COUNT; i++)
		missing |= config->process.capability[i] & ~grantable;
	for (unsigned i = 0; i < 64; i++) {
		if (!(missing >> i & 1))
			continue;
		snprintf(line, sizeof(line),
			 "process.capabilities: CAP_%s "
			 "cannot be granted here; left out",
			 capability_name(i));
		cli_warning(line);
	}
}

static int open_hook_states(struct create *c, struct plan_setting *setting,
			    struct fault *fault)
{
	const struct runtime_hooks *hooks = c->config.hooks;
	struct child *child = &c->launch.child;
	int r = 0;

	if (hooks[RUNTIME_HOOK_CREATE_CONTAINER].n)
		r = child->creating_state = hook_state_open();
	if (r >= 0 && hooks[RUNTIME_HOOK_START_CONTAINER].n) {
		r = child->created_state = hook_state_open();
		setting->start_hooks = &hooks[RUNTIME_HOOK_START_CONTAINER];
	}
	return r < 0 ? fault_set(fault, r, "hooks") : 0;
}

/* What the child needs by the end of its plan. */
static int prepare_late(struct create *c, struct fault *fault)
{
	struct launch *l = &c->launch;
	int r = create_devices(c, fault);

	if (r == 0 && c->config.seccomp.set)
		r = seccomp_compile(&c->config.seccomp, &l->child.filter,
				    fault);
	return r;
}

/* Whether nobody is told about the process before it executes its program. */
static bool may_go_early(const struct create *c)
{
	const struct child *child = &c->launch.child;

	return !c->wait_start && !c->pid_file && !c->pidfd_socket &&
	       c->terminal < 0 && child->console_socket < 0 &&
	       child->listener < 0;
}

static int stage(struct create *c, struct fault *fault)
{
	struct state *state = &c->container.state;

	state->pid = c->launch.pid;
	state->start_time = process_start_time(state->pid);
	c->poststop_due = true;
	int r = state_stage(c->container.dir, state);

	if (r < 0)
		return fault_set(fault, r, "keep its state");
	/* One that has failed meanwhile tells so by itself. */
	(void)launch_go(&c->launch);
	return 0;
}

/* The child and we are at work at the same time from here on. */
static int make_child(struct create *c, struct fault *fault)
{
	struct launch *l = &c->launch;
	bool early = may_go_early(c) && launch_early(l, c->container.dir);
	int r = early ? 0 : prepare_late(c, fault);

	if (r == 0)
		r = launch_clone(l, fault);
	if (r == 0 && early)
		r = launch_network(l, fault);
	if (r == 0 && early)
		r = prepare_late(c, fault);
	return r == 0 && early ? stage(c, fault) : r;
}

int create_execute(struct create *c, struct fault *fault)
{
	int r = c->launch.early ? 0 : launch_go(&c->launch);

	while (r == 0) {
		r = launch_receive(&c->launch, fault);
		if (r != CHILD_AGAIN)
			break;
		r = launch_network(&c->launch, fault);
		if (r == 0)
			r = stage(c, fault);
	}
	scope_end(&c->scope, c->container.cgroup.root);
	return r;
}

static int prepare(struct create *c, struct fault *fault)
{
	struct plan_setting setting = {
		.root_path = c->container.state.rootfs,
		.wait_start = c->wait_start,
		.seccomp = c->config.seccomp.set,
		.no_pivot = c->no_pivot,
		.new_keyring = !c->no_new_keyring,
	};
	struct launch *l = &c->launch;
	char cgroup_path[1200];
	const struct runtime_namespace_use *user =
		&c->config.namespace[RUNTIME_NS_USER];

	if (c->container.cgroup.mount[0] && c->container.cgroup.dir >= 0) {
		snprintf(cgroup_path, sizeof(cgroup_path), "%s/%s",
			 c->container.cgroup.mount, c->container.cgroup.path);
		setting.cgroup_path = cgroup_path;
	}
	l->cgroup_dir = c->container.cgroup.dir;
	l->alone = true;
	l->child.preserve_fds = c->preserve_fds;
	int r = open_namespaces(c, &setting, fault);

	l->child.new_user_namespace = user->set && !user->path;
	l->child.grantable = launch_grantable(user->set);
	create_warnings(&c->config, l->child.grantable);

	if (r == 0)
		r = mount_sources_open(&c->sources, &c->config,
				       setting.join_fd[RUNTIME_NS_USER], fault);
	if (r == 0)
		mount_sources_root(&c->sources, &c->config, setting.root_path);
	setting.mount_fd = c->sources.fd;
	setting.root_fd = c->sources.root;
	l->child.filter_flags = c->config.seccomp.flags;
	if (r == 0)
		r = seccomp_listener_open(&l->child, &c->config.seccomp, fault);
	if (r == 0)
		r = open_console(c, &setting, fault);
	if (r == 0 && c->wait_start) {
		r = start_listen(c->container.dir);
		l->child.start_listener = r;
		if (r < 0)
			return fault_set(fault, r, "socket for start");
	}
	if (r >= 0 && environment_home(&c->config, &setting.home) < 0)
		return fault_set(fault, -ENOMEM, "process.env");
	if (r >= 0)
		r = open_hook_states(c, &setting, fault);
	if (r >= 0)
		r = plan_container(&l->plan, &c->config, &setting, fault);
	if (r >= 0 && root_mount_wanted(&c->config))
		r = root_mount_make(c->container.dir, setting.root_path, fault);
	/* The list points at cgroup_path, so the child is made here. */
	return r == 0 ? make_child(c, fault) : r;
}

/* The child stands before its pivot. */
static int hooks_create(struct create *c, struct fault *fault)
{
	const struct runtime_config *config = &c->config;
	struct state *state = &c->container.state;
	int fd = c->launch.child.creating_state;
	int r = 0;

	c->poststop_due = true;
	state->pid = c->launch.pid;
	if (fd >= 0)
		r = state_fill(fd, state, STATUS_CREATING,
			       &config->annotations);
	if (r < 0)
		return fault_set(fault, r, "hooks.createContainer");
	r = state_hooks(config, RUNTIME_HOOK_PRESTART, state, STATUS_CREATING,
			fault);
	if (r == 0)
		r = state_hooks(config, RUNTIME_HOOK_CREATE_RUNTIME, state,
				STATUS_CREATING, fault);
	return r < 0 ? r : launch_go(&c->launch);
}

static int wait_ready(struct create *c, struct fault *fault)
{
	struct state *state = &c->container.state;
	int r = launch_receive(&c->launch, fault);

	if (r == CHILD_HOOKS) {
		r = hooks_create(c, fault);
		if (r == 0)
			r = launch_receive(&c->launch, fault);
	}
	if (r == 0)
		return fault_set(fault, -ECHILD,
				 "the first process was "
				 "killed");
	if (r < 0)
		return r;
	state->pid = c->launch.pid;
	state->start_time = process_start_time(state->pid);
	c->poststop_due = true;
	r = state_write(c->container.dir, state);
	if (r < 0)
		return fault_set(fault, r, "keep its state");
	if (c->launch.child.created_state >= 0)
		r = state_fill(c->launch.child.created_state, state,
			       STATUS_CREATED, &c->config.annotations);
	if (r < 0)
		return fault_set(fault, r, "hooks.startContainer");
	r = seccomp_listener_tell(&c->launch.child, state->pid, state,
				  STATUS_CREATING, fault);
	if (r == 0 && c->pidfd_socket)
		r = pidfd_send(c->pidfd_socket, c->launch.pidfd, fault);
	if (r == 0 && c->pid_file)
		r = pid_file_write(c->pid_file, state->pid, fault);
	return r;
}

int create_begin(struct create *c, struct fault *fault)
{
	struct container *container = &c->container;

	container->root = container->dir = -1;
	container->cgroup = CGROUP_NONE;
	c->terminal = -1;
	c->sources = (struct mount_sources)MOUNT_SOURCES_NONE;
	join_init(&c->join);
	launch_init(&c->launch, c->id, &c->config);
	c->launch.exe = cli.exe;
	c->launch.child.made = &made;
	/* The caller may name files from its own directory. */
	container->root = state_root(cli.root, true, fault);
	int r = container->root < 0 ? container->root : read_config(c, fault);

	if (r == 0)
		r = environment_listen(&c->config, &c->preserve_fds, fault);
	if (r == 0)
		r = find_root(c, fault);
	if (r == 0)
		r = make_state(c, fault);
	if (r == 0)
		r = make_cgroup(c, fault);
	if (r == 0)
		r = make_resctrl(c, fault);
	if (r < 0) {
		create_undo(c);
		create_close(c);
	}
	return r;
}

int create_container(struct create *c, struct fault *fault)
{
	int r = create_begin(c, fault);

	if (r < 0)
		return r;
	r = prepare(c, fault);
	if (r == 0 && !c->launch.early) {
		r = wait_ready(c, fault);
		scope_end(&c->scope, c->container.cgroup.root);
	}
	if (r < 0) {
		create_undo(c);
		create_close(c);
	}
	return r;
}

void create_undo(struct create *c)
{
	launch_kill(&c->launch);
	if (c->container.cgroup.dir >= 0)
		cgroup_remove(&c->container.cgroup);
	if (c->container.dir >= 0) {
		if (c->config.intel_rdt.set)
			resctrl_undo(c->container.dir);
		root_mount_remove(c->container.dir);
		made_remove(c->launch.child.made, c->container.state.rootfs);
		state_remove(c->container.root, c->id);
	}
	if (c->poststop_due)
		container_poststop(&c->container.state, &c->config);
}

void create_close(struct create *c)
{
	scope_end(&c->scope, c->container.cgroup.root);
	launch_close(&c->launch);
	mount_sources_close(&c->sources);
	join_close(&c->join);
	fd_close(&c->launch.child.console_socket);
	fd_close(&c->terminal);
	container_close(&c->container);
	runtime_config_free(&c->config);
}
