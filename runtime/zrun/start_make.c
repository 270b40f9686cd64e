#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "grants.h"
#include "image_root.h"
#include "kernel.h"
#include "policy.h"
#include "start.h"

static const char *application_of(const struct runtime_config *config)
{
	const char *name = text_map_find(&config->annotations,
					 ZRUN_ANNOTATION_APPLICATION);

	return name ? name : "";
}

/* The application is what znode said when each was started: a captured one can
 * lie about it, but only of containers, into each of which it may send a
 * process by ZRUN_EXEC anyway. */
static struct resident_container *container_of_pid(pid_t pid)
{
	struct resident_container *c = NULL;

	while ((c = container_next(c)) &&
	       (c->phase != PHASE_RUNNING || c->pid != pid))
		;
	return c;
}

static int may_join(const struct runtime_config *config, pid_t pid)
{
	const struct resident_container *c = container_of_pid(pid);

	if (!c)
		return -ESRCH;
	/* The node's own are for whom they were granted. */
	if (c->capabilities & POLICY_HOSTS)
		return -EPERM;
	return strcmp(c->application, application_of(config)) == 0 ? 0 : -EPERM;
}

/* Those of the one container that the config names. */
static int open_joined(struct start *s)
{
	pid_t pid = 0;

	for (int i = 0; i < RUNTIME_NS_COUNT; i++) {
		pid_t other = policy_joined(&s->config,
					    (enum runtime_namespace)i);

		if (pid && other && other != pid)
			return fault_set(&s->fault, 0,
					 "linux.namespaces: want those of one "
					 "container");
		pid = pid ? pid : other;
	}
	if (!pid)
		return 0;
	int r = join_open(&s->join, pid, NULL, &s->fault);

	if (r < 0)
		return r;
	for (int i = 0; i < RUNTIME_NS_COUNT; i++) {
		enum runtime_namespace ns = (enum runtime_namespace)i;

		if (!policy_joined(&s->config, ns))
			fd_close(&s->join.fd[i]);
		else if (s->join.fd[i] < 0)
			return fault_set(&s->fault, -ESRCH,
					 "linux.namespaces: %s",
					 runtime_namespace_name(ns));
	}
	/* While the pidfd says that it lives, the number was its own. */
	r = kernel_pidfd_signal(container_of_pid(pid)->pidfd, 0);
	return r < 0 ? fault_set(&s->fault, r,
				 "whose namespaces it joins "
				 "ended")
		     : 0;
}

static int check_network(const struct start *s, const struct asked *asked,
			 const struct grants *granted, char *refusal)
{
	pid_t pid = policy_joined(&s->config, RUNTIME_NS_NETWORK);
	const struct network_asked wanted = {
		.config = &s->config,
		.id = asked->request->id,
		.image = asked->request->digest,
		.app = grants_app(&s->config),
		.joined = pid ? container_of_pid(pid)->id : NULL,
	};

	return grants_network(&wanted, granted, refusal);
}

static int read_config(struct start *s, const struct asked *asked)
{
	autofree char *text = NULL;
	char error[RUNTIME_ERROR_SIZE], refusal[POLICY_TEXT_SIZE];
	size_t size;

	if (asked->fds->n != 1)
		return fault_set(&s->fault, 0,
				 "want the config, and nothing "
				 "else, with the message");
	s->config_fd = ipc_fds_take(asked->fds, 0);
	int r = memfd_read(s->config_fd, ZRUN_CONFIG_MAX, &text, &size);

	if (r < 0)
		return fault_set(&s->fault, r, "config");
	r = runtime_config_parse(&s->config, text, size, error);
	if (r < 0)
		return fault_set(&s->fault, 0, "config: %s", error);
	struct grants granted;

	grants_find(&s->config, asked->request->digest, &granted);
	s->container->capabilities = granted.policy.capabilities;
	r = policy_container(&s->config, asked->request->id, &granted.policy,
			     may_join, refusal);
	if (r == 0)
		r = check_network(s, asked, &granted, refusal);
	grants_free(&granted);
	if (r < 0) {
		fault_set(&s->fault, 0, "refused: %s", refusal);
		return r;
	}
	bool is_privileged = s->container->capabilities & POLICY_PRIVILEGED;

	r = policy_complete(&s->config, is_privileged);
	if (r < 0)
		return fault_set(&s->fault, r, "config");
	r = grants_devices(&s->config, is_privileged, &s->devices, &s->fault);
	if (r < 0)
		return r;
	text_copy(s->container->application, sizeof(s->container->application),
		  application_of(&s->config));
	return open_joined(s);
}

/* The address that the config names: of the containers' own range, and nobody
 * else's. */
static int read_address(struct start *s)
{
	const char *text = text_map_find(&s->config.annotations,
					 ZRUN_ANNOTATION_ADDRESS);
	struct in_addr address;

	if (!text)
		return 0;
	if (inet_pton(AF_INET, text, &address) != 1 ||
	    ntohl(address.s_addr) >> 16 != (10 << 8 | 64))
		return fault_set(&s->fault, 0,
				 "annotations." ZRUN_ANNOTATION_ADDRESS
				 ": want 10.64.x.y");
	s->container->address = ntohl(address.s_addr);
	for (struct resident_container *c = NULL; (c = container_next(c));) {
		if (c != s->container &&
		    (c->phase == PHASE_RUNNING || c->phase == PHASE_STARTING) &&
		    c->address == s->container->address) {
			fault_set(&s->fault, -EADDRINUSE,
				  "annotations." ZRUN_ANNOTATION_ADDRESS
				  ": %s has it",
				  c->id);
			return -EADDRINUSE;
		}
	}
	return 0;
}

static int find_image(struct start *s, const struct asked *asked)
{
	const char *digest = asked->request->digest;

	text_copy(s->state.digest, sizeof(s->state.digest), digest);
	text_copy(s->container->digest, sizeof(s->container->digest), digest);
	return image_root_find(digest, &s->fault);
}

int start_read(struct start *s, const struct asked *asked)
{
	int r = read_config(s, asked);

	if (r == 0)
		r = read_address(s);
	return r == 0 ? find_image(s, asked) : r;
}

/* It exists from here on, as a directory that does not say which process it
 * is: should serve be killed, that is removed. */
int start_state(struct start *s)
{
	struct state *state = &s->state;
	const char *id = s->container->id;

	text_copy(state->id, sizeof(state->id), id);
	state->created = (uint64_t)time(NULL);
	state->address = s->container->address;
	text_copy(state->application, sizeof(state->application),
		  s->container->application);
	state->capabilities = s->container->capabilities;
	s->state_dir = state_make(resident.state, id, &s->fault);
	if (s->state_dir < 0)
		return s->state_dir;
	int r = devices_note(s->container, s->state_dir, s->devices);

	return r < 0 ? fault_set(&s->fault, r, "note its devices") : 0;
}

/* Whichever kind of process will be the container: a bud is given the root as
 * a mount, any other makes it from directories. */
static int make_root(struct start *s)
{
	const char *id = s->container->id;
	/* What is made ahead (it has a name before) has fitted already. */
	bool bud = s->before.id[0] || pool_fits(&s->config, s->config_fd);
	int r;

	if (bud) {
		s->root = image_root_shared(s->state.digest, &s->config);
		if (s->root >= 0)
			return 0;
	}
	r = container_layer_make(id);
	if (r < 0)
		return fault_set(&s->fault, r, "make its writable layer");
	s->has_layer = true;
	if (bud)
		r = s->root = image_root_own(s->state.digest, id, &s->fault);
	return r < 0 ? r : 0;
}

static int note_cgroup(struct start *s, const char *name)
{
	int r = container_cgroup_set(s->container, name);

	snprintf(s->state.cgroup, sizeof(s->state.cgroup), "zooid/%s", name);
	s->cgroup.skip_absent = resident.cgroups.skip_absent;
	return r < 0 ? fault_set(&s->fault, r, "link its cgroup") : 0;
}

/* Limits it. What runs has no swap unless it asks for some, which it does with
 * a number (serve_reclaim.c). */
static int limit(struct start *s)
{
	const struct runtime_memory *memory = &s->config.resources.memory;

	if (!memory->swap.set)
		(void)file_put(s->cgroup.dir, "memory.swap.max", "0");
	return cgroup_limit(&s->cgroup, &s->config.resources, &s->fault);
}

int start_cgroup(struct start *s)
{
	int r = note_cgroup(s, s->container->id);

	if (r < 0)
		return r;
	s->cgroup.root = fcntl(resident.cgroups.root, F_DUPFD_CLOEXEC, 3);
	if (s->cgroup.root < 0)
		return fault_set(&s->fault, -errno, "cgroup");
	r = cgroup_make(&s->cgroup, s->state.cgroup, &s->fault);
	if (r == 0)
		r = limit(s);
	if (r == 0)
		r = cgroup_devices(&s->cgroup, &s->config.resources, &s->fault);
	return r;
}

int start_cgroup_limit(struct start *s)
{
	s->cgroup.skip_absent = resident.cgroups.skip_absent;
	snprintf(s->state.cgroup, sizeof(s->state.cgroup), "zooid/%s",
		 s->bud.cgroup);
	text_copy(s->cgroup.path, sizeof(s->cgroup.path), s->state.cgroup);
	return limit(s);
}

int start_cgroup_name(struct start *s)
{
	int r = container_cgroup_set(s->container, s->bud.cgroup);

	return r < 0 ? fault_set(&s->fault, r, "link its cgroup") : 0;
}

/* Of a granted one no link is followed: a daemon could have put it there. */
static int open_source(const char *source)
{
	const char *volume = policy_volume(source);

	return volume ? path_open_beneath(resident.volumes, volume, O_PATH, 0)
		      : path_open_plain(source, O_PATH);
}

/* Sources of bind mounts, beneath the volumes whatever links lie there; held
 * as detached mounts, so that nothing can be swapped afterwards. */
static int open_volumes(struct start *s)
{
	size_t n = s->config.n_mount;

	s->mount_fd = malloc((n + 1) * sizeof(*s->mount_fd));
	if (!s->mount_fd)
		return fault_set(&s->fault, -ENOMEM, "mounts");
	for (size_t i = 0; i < n; i++)
		s->mount_fd[i] = -1;
	for (size_t i = 0; i < n; i++) {
		const struct runtime_mount *m = &s->config.mount[i];

		if (!m->bind)
			continue;
		autoclose int fd = open_source(m->source);
		int tree = fd < 0 ? fd
				  : kernel_open_tree(
					    fd, "",
					    OPEN_TREE_CLONE | AT_EMPTY_PATH |
						    (m->recursive ? AT_RECURSIVE
								  : 0));

		if (tree < 0)
			return fault_set(&s->fault, tree,
					 "mounts[%zu].source "
					 "(%.80s)",
					 i, m->source);
		s->mount_fd[i] = tree;
	}
	return 0;
}

/* A pipe that is its own other end never ends. */
static int open_silence(void)
{
	char path[40];
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", pair[0]);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int r = fd < 0 ? -errno : fd;

	close(pair[0]);
	close(pair[1]);
	return r;
}

static int open_input(const struct runtime_config *config)
{
	if (text_map_find(&config->annotations, ZRUN_ANNOTATION_STDIN))
		return open_silence();
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int open_output(struct start *s)
{
	struct child *child = &s->launch.child;
	int input = open_input(&s->config);

	if (input < 0)
		return fault_set(&s->fault, input, "its standard input");
	child->stdio[0] = input;
	for (int i = 0; i < 2; i++) {
		int pair[2];

		if (pipe2(pair, O_CLOEXEC) < 0)
			return fault_set(&s->fault, -errno, "output pipe");
		s->output[i] = pair[0];
		child->stdio[i + 1] = pair[1];
		/* init and zlog must not wait; the program may. */
		fcntl(pair[0], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

/* The writable layer is there already, if it has one. */
static int make_root_again(struct start *s)
{
	const char *id = s->container->id;

	s->has_layer = faccessat(resident.containers, id, F_OK, 0) == 0;
	s->root = s->has_layer ? image_root_own(s->state.digest, id, &s->fault)
			       : image_root_shared(s->state.digest, &s->config);
	if (s->root == -ENOTSUP)
		fault_set(&s->fault, s->root, "its root");
	return s->root < 0 ? s->root : 0;
}

int start_make_again(struct start *s)
{
	s->made = true;
	int r = make_root_again(s);

	if (r == 0)
		r = open_volumes(s);
	return r == 0 ? open_output(s) : r;
}

int start_make(struct start *s)
{
	s->made = true;
	int r = make_root(s);

	if (r == 0)
		r = open_volumes(s);
	return r == 0 ? open_output(s) : r;
}
