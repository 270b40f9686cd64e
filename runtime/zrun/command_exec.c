/* zrun exec: a further process in a container. It joins what the container's
 * first process has, and nothing else of the host follows it in. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "create.h"
#include "join.h"
#include "option.h"
#include "resctrl.h"
#include "seccomp_filter.h"
#include "seccomp_listener.h"
#include "terminal.h"

#define ERROR_EXIT 255 /* as runc: the program's own codes stay apart */
#define ID_MAX	   (UINT32_MAX - 1) /* (uid_t)-1 is nobody's */

struct exec {
	const char *id, *process_file, *pid_file, *console_socket, *cwd;
	const char *user, *cgroup, *apparmor, *label, *pidfd_socket;
	const char **env, **caps;
	uint32_t *gids;
	size_t n_env, n_caps, n_gids;
	char **args;
	size_t n_args;
	unsigned preserve_fds;
	bool detach, tty, no_new_privs, ignore_paused;

	struct container container;
	struct runtime_config config;  /* the container's */
	struct runtime_config process; /* of --process */
	struct launch launch;
	struct join join;
	int terminal;
};

enum {
	OPTION_CWD = 256,
	OPTION_NNP,
	OPTION_PID_FILE,
	OPTION_CONSOLE,
	OPTION_PRESERVE,
	OPTION_CGROUP,
	OPTION_APPARMOR,
	OPTION_LABEL,
	OPTION_PIDFD,
	OPTION_IGNORE_PAUSED,
	OPTION_IGNORED
};

static const struct option options[] = {
	{ "process", required_argument, NULL, 'p' },
	{ "detach", no_argument, NULL, 'd' },
	{ "tty", optional_argument, NULL, 't' },
	{ "env", required_argument, NULL, 'e' },
	{ "user", required_argument, NULL, 'u' },
	{ "additional-gids", required_argument, NULL, 'g' },
	{ "cap", required_argument, NULL, 'c' },
	{ "cwd", required_argument, NULL, OPTION_CWD },
	{ "no-new-privs", no_argument, NULL, OPTION_NNP },
	{ "pid-file", required_argument, NULL, OPTION_PID_FILE },
	{ "console-socket", required_argument, NULL, OPTION_CONSOLE },
	{ "preserve-fds", required_argument, NULL, OPTION_PRESERVE },
	{ "cgroup", required_argument, NULL, OPTION_CGROUP },
	{ "apparmor", required_argument, NULL, OPTION_APPARMOR },
	{ "process-label", required_argument, NULL, OPTION_LABEL },
	{ "pidfd-socket", required_argument, NULL, OPTION_PIDFD },
	{ "ignore-paused", no_argument, NULL, OPTION_IGNORE_PAUSED },
	{ "no-subreaper", no_argument, NULL, OPTION_IGNORED },
	{ NULL, 0, NULL, 0 },
};

static int read_gid(struct exec *e, struct fault *fault)
{
	uint64_t gid;

	if (span_u64(span_of(optarg), ID_MAX, &gid) < 0)
		return fault_set(fault, 0,
				 "--additional-gids %.20s: want a number",
				 optarg);
	e->gids[e->n_gids++] = (uint32_t)gid;
	return 0;
}

static int read_option(struct exec *e, int option, struct fault *fault)
{
	switch (option) {
	case 'p':
		e->process_file = optarg;
		return 0;
	case 'd':
		e->detach = true;
		return 0;
	case 't':
		e->tty = !optarg || strcmp(optarg, "false") != 0;
		return 0;
	case 'e':
		e->env[e->n_env++] = optarg;
		return 0;
	case 'u':
		e->user = optarg;
		return 0;
	case 'g':
		return read_gid(e, fault);
	case 'c':
		e->caps[e->n_caps++] = optarg;
		return 0;
	case OPTION_CWD:
		e->cwd = optarg;
		return 0;
	case OPTION_NNP:
		e->no_new_privs = true;
		return 0;
	case OPTION_PID_FILE:
		e->pid_file = optarg;
		return 0;
	case OPTION_CONSOLE:
		e->console_socket = optarg;
		return 0;
	case OPTION_PRESERVE:
		return option_preserve_fds(optarg, &e->preserve_fds, fault);
	case OPTION_CGROUP:
		e->cgroup = optarg;
		return 0;
	case OPTION_APPARMOR:
		e->apparmor = optarg;
		return 0;
	case OPTION_LABEL:
		e->label = optarg;
		return 0;
	case OPTION_PIDFD:
		e->pidfd_socket = optarg;
		return 0;
	case OPTION_IGNORE_PAUSED:
		e->ignore_paused = true;
		return 0;
	case OPTION_IGNORED:
		return 0;
	}
	return -EINVAL;
}

static int read_options(int argc, char **argv, struct exec *e)
{
	struct fault fault = { "" };
	int option;

	/* No option is given more often than there are words. */
	e->env = calloc((size_t)argc + 1, sizeof(*e->env));
	e->caps = calloc((size_t)argc + 1, sizeof(*e->caps));
	e->gids = calloc((size_t)argc + 1, sizeof(*e->gids));
	if (!e->env || !e->caps || !e->gids)
		return -ENOMEM;
	while ((option = option_next(argc, argv, "+p:dte:u:g:c:", options,
				     NULL)) >= 0) {
		if (read_option(e, option, &fault) == 0)
			continue;
		if (fault.text[0])
			cli_error(fault.text);
		return -EINVAL;
	}
	if (optind == argc || (optind + 1 == argc && !e->process_file)) {
		cli_error("want a container id and a command; see --help");
		return -EINVAL;
	}
	e->id = cli.container = argv[optind];
	e->args = argv + optind + 1;
	e->n_args = (size_t)(argc - optind - 1);
	return 0;
}

static int parse_file(int dir, const char *name, struct runtime_config *config,
		      int (*parse)(struct runtime_config *, const void *,
				   size_t, char *),
		      struct fault *fault)
{
	autofree char *text = NULL;
	char error[RUNTIME_ERROR_SIZE];
	size_t size;
	int r = file_read(dir, name, RUNTIME_CONFIG_SIZE_MAX, &text, &size);

	if (r < 0)
		return fault_set(fault, r, "%.200s", name);
	r = parse(config, text, size, error);
	return r < 0 ? fault_set(fault, 0, "%.100s: %s", name, error) : 0;
}

static int set_user(struct exec *e, struct runtime_process *process,
		    struct fault *fault)
{
	uint64_t uid, gid = process->user.gid;
	struct span rest = span_of(e->user), s;

	span_cut(&rest, ':', &s);
	if (span_u64(s, ID_MAX, &uid) < 0 ||
	    (rest.data && span_u64(rest, ID_MAX, &gid) < 0))
		return fault_set(fault, 0, "--user %.60s: want UID or UID:GID",
				 e->user);
	process->user.uid = (uint32_t)uid;
	process->user.gid = (uint32_t)gid;
	return 0;
}

static int add_gids(struct exec *e, struct u32_list *gids, struct fault *fault)
{
	size_t n = gids->n + e->n_gids;
	uint32_t *all = arena_take(&e->config.arena, n * sizeof(*all));

	if (!all)
		return fault_set(fault, -ENOMEM, "--additional-gids");
	if (gids->n)
		memcpy(all, gids->item, gids->n * sizeof(*all));
	memcpy(all + gids->n, e->gids, e->n_gids * sizeof(*all));
	*gids = (struct u32_list){ all, n };
	return 0;
}

static int set_capabilities(struct exec *e, struct runtime_process *process,
			    struct fault *fault)
{
	for (size_t i = 0; i < e->n_caps; i++) {
		int number = capability_number(e->caps[i]);

		if (number < 0)
			return fault_set(fault, 0, "--cap %.40s: not known",
					 e->caps[i]);
		uint64_t bit = UINT64_C(1) << number;

		process->has_capabilities = true;
		process->capability[RUNTIME_CAP_BOUNDING] |= bit;
		process->capability[RUNTIME_CAP_EFFECTIVE] |= bit;
		process->capability[RUNTIME_CAP_PERMITTED] |= bit;
	}
	return 0;
}

/* Without --process: the container's own process, changed by the options. */
static int change_process(struct exec *e, struct fault *fault)
{
	struct runtime_process *process = &e->config.process;
	int r = 0;

	process->args.item = (const char **)e->args;
	process->args.n = e->n_args;
	process->terminal = e->tty;
	process->oom_score_adj.set = false;
	if (e->cwd)
		process->cwd = e->cwd;
	if (e->no_new_privs)
		process->no_new_privileges = true;
	if (e->apparmor)
		process->apparmor_profile = e->apparmor;
	if (e->label)
		process->selinux_label = e->label;
	if (process->cwd[0] != '/')
		return fault_set(fault, 0, "--cwd: not absolute");
	for (size_t i = 0; i < e->n_env; i++) {
		if (!strchr(e->env[i], '='))
			return fault_set(fault, 0,
					 "--env %.60s: want "
					 "NAME=VALUE",
					 e->env[i]);
	}
	if (e->user)
		r = set_user(e, process, fault);
	if (r == 0)
		r = add_gids(e, &process->user.additional_gids, fault);
	if (r == 0)
		r = set_capabilities(e, process, fault);
	if (r == 0 && environment_add(&e->config, e->env, e->n_env) < 0)
		r = fault_set(fault, -ENOMEM, "environment");
	return r;
}

static int read_process(struct exec *e, struct fault *fault)
{
	int r = parse_file(e->container.dir, "config.json", &e->config,
			   runtime_config_parse, fault);

	if (r < 0)
		return r;
	if (!e->process_file)
		return change_process(e, fault);
	r = parse_file(AT_FDCWD, option_file(e->process_file), &e->process,
		       runtime_process_parse, fault);
	if (r < 0)
		return r;
	if (e->tty)
		e->process.process.terminal = true;
	e->config.process = e->process.process;
	return 0;
}

static int open_console(struct exec *e, struct plan_setting *setting,
			struct fault *fault)
{
	if (!e->config.process.terminal)
		return 0;
	setting->has_console = true;
	if (!e->console_socket && e->detach)
		return fault_set(fault, 0,
				 "a detached terminal needs "
				 "--console-socket");
	return console_open(e->console_socket, &e->launch.child.console_socket,
			    &e->terminal, fault);
}

static int check_status(const struct exec *e, struct fault *fault)
{
	const struct container *c = &e->container;
	enum status status = state_status(c->dir, &c->state);

	if (status == STATUS_RUNNING || status == STATUS_CREATED ||
	    (status == STATUS_PAUSED && e->ignore_paused))
		return 0;
	if (status == STATUS_PAUSED)
		return fault_set(fault, 0,
				 "cannot exec in a container that is paused "
				 "(see --ignore-paused)");
	return fault_set(fault, 0, "cannot exec in a container that is %s",
			 status_name(status));
}

/* Its processes are in a cgroup of the container's, or one below. */
static int open_cgroup(struct exec *e, struct fault *fault)
{
	int dir = e->container.cgroup.dir;
	const char *path = e->cgroup;

	e->launch.cgroup_dir = dir;
	if (!path)
		return 0;
	const char *colon = strchr(path, ':');

	if (colon && colon != path)
		return fault_set(fault, 0,
				 "--cgroup %.60s: cgroup v2 has one tree for "
				 "all controllers",
				 path);
	path += colon != NULL;
	path += strspn(path, "/");
	if (dir < 0)
		return fault_set(fault, 0, "--cgroup: has no cgroup");
	dir = path_open_beneath(dir, *path ? path : ".", O_RDONLY | O_DIRECTORY,
				0);
	if (dir < 0)
		return fault_set(fault, dir, "--cgroup %.200s", e->cgroup);
	e->launch.cgroup_dir = dir;
	return 0;
}

static int open_resctrl(struct exec *e, struct fault *fault)
{
	const struct runtime_intel_rdt *rdt = &e->config.intel_rdt;
	autoclose int root = rdt->set ? resctrl_find(fault) : -1;

	if (!rdt->set)
		return 0;
	int group = root < 0 ? root
			     : resctrl_open(root, rdt, e->container.state.id,
					    fault);

	e->launch.resctrl = group;
	return group < 0 ? group : 0;
}

/* Of a container whose mount namespace is not its own. */
static int open_root(struct exec *e, struct plan_setting *setting,
		     struct fault *fault)
{
	const struct runtime_namespace_use *ns =
		&e->config.namespace[RUNTIME_NS_MOUNT];
	char path[40];

	if (ns->set && !ns->path)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/root",
		 (int)e->container.state.pid);
	setting->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	setting->enters_root = true;
	return setting->root_fd < 0 ? fault_set(fault, -errno, "%s", path) : 0;
}

static int compile(struct exec *e, struct fault *fault)
{
	const struct runtime_seccomp *seccomp = &e->config.seccomp;

	return seccomp->set ? seccomp_compile(seccomp, &e->launch.child.filter,
					      fault)
			    : 0;
}

/* Whether nobody is told about the process before it executes its program. */
static bool may_go_early(const struct exec *e)
{
	return !e->pid_file && !e->pidfd_socket && e->terminal < 0 &&
	       e->launch.child.console_socket < 0 &&
	       e->launch.child.listener < 0;
}

/* Until it is ready; where it goes early, until it executes. */
static int make_child(struct exec *e, struct fault *fault)
{
	struct launch *l = &e->launch;
	bool early = may_go_early(e) && launch_early(l, -1);
	int r = early ? 0 : compile(e, fault);

	if (r == 0)
		r = launch_clone(l, fault);
	/* The child is at work on what comes before its filter. */
	if (r == 0 && early)
		r = compile(e, fault);
	while (r == 0) {
		if (early)
			launch_go(l);
		r = launch_receive(l, fault);
		if (early && r == 0)
			return 0;
		if (r == 0)
			r = fault_set(fault, -ECHILD, "the process was killed");
		if (r == CHILD_AGAIN)
			r = 0;
	}
	return r;
}

static int launch(struct exec *e, struct fault *fault)
{
	struct plan_setting setting = { .new_keyring = true };
	struct launch *l = &e->launch;
	int r = check_status(e, fault);

	if (r == 0)
		r = read_process(e, fault);
	if (r == 0)
		r = open_cgroup(e, fault);
	if (r == 0)
		r = open_resctrl(e, fault);
	if (r == 0)
		r = join_open(&e->join, e->container.state.pid, &e->config,
			      fault);
	if (r < 0)
		return r;
	setting.seccomp = e->config.seccomp.set;
	join_setting(&e->join, &setting, l);
	l->exec = l->alone = true;
	l->child.preserve_fds = e->preserve_fds;
	l->child.filter_flags = e->config.seccomp.flags;
	l->child.grantable =
		launch_grantable(setting.join_fd[RUNTIME_NS_USER] >= 0);
	create_warnings(e->process_file ? &e->process : &e->config,
			l->child.grantable);
	r = seccomp_listener_open(&l->child, &e->config.seccomp, fault);
	if (r == 0)
		r = open_console(e, &setting, fault);
	if (r == 0 && environment_home(&e->config, &setting.home) < 0)
		r = fault_set(fault, -ENOMEM, "process.env");
	if (r == 0)
		r = open_root(e, &setting, fault);
	if (r == 0)
		r = plan_exec(&l->plan, &e->config, &setting, fault);
	return r == 0 ? make_child(e, fault) : r;
}

static int exec(struct exec *e, struct fault *fault)
{
	autoclose int master = -1;
	int r = launch(e, fault);

	if (r >= 0 && e->terminal >= 0)
		r = master = terminal_receive(e->terminal, fault);
	if (r >= 0 && e->pidfd_socket)
		r = pidfd_send(e->pidfd_socket, e->launch.pidfd, fault);
	if (r >= 0 && e->pid_file)
		r = pid_file_write(e->pid_file, e->launch.pid, fault);
	if (r >= 0)
		r = seccomp_listener_tell(&e->launch.child, e->launch.pid,
					  &e->container.state, STATUS_RUNNING,
					  fault);
	if (r >= 0 && !e->launch.early) {
		launch_go(&e->launch);
		r = launch_receive(&e->launch, fault);
	}
	if (r < 0) {
		launch_kill(&e->launch);
		return r;
	}
	if (e->detach)
		return 0;
	return foreground_wait(e->launch.pid, e->launch.pidfd, master);
}

int command_exec(int argc, char **argv)
{
	static struct exec e;
	struct fault fault = { "" };

	e.terminal = -1;
	launch_init(&e.launch, NULL, &e.config);
	join_init(&e.join);
	if (read_options(argc, argv, &e) < 0 ||
	    container_open(&e.container, e.id) < 0)
		return ERROR_EXIT;
	e.launch.exe = cli.exe;
	if (!e.detach)
		foreground_block();
	int r = exec(&e, &fault);

	if (r < 0)
		cli_error(fault.text);
	/* The process ends; the kernel frees all else. */
	return r < 0 ? ERROR_EXIT : r;
}
