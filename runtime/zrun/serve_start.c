/* ZRUN_START. What can be done at once is done in the loop: checks, small
 * files, directories, the cgroup, the clone. The mounts and the image's own
 * slowness happen in the child, whose channel the loop watches:
 *
 *	child: mounts ... READY | go | execve (the channel ends)
 *	serve: clone, INIT_PUT  | state.json, go | reply
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "kernel.h"
#include "policy.h"
#include "resident.h"
#include "seccomp_filter.h"
#include "store_link.h"
#include "tun.h"

#define START_TIMEOUT_MS 30000
#define PATH_SIZE	 1024

struct start {
	struct watch channel;
	struct timer timer;
	struct asker asker;
	struct resident_container *container;
	struct runtime_config config;
	struct launch launch;
	struct state state;
	struct cgroup cgroup;
	struct store_layers layers;
	int state_dir;
	int output[2]; /* our ends, until init has them */
	int *mount_fd;
	bool released; /* told to go: the channel's end means execve */
	struct fault fault;
};

static int read_config(struct start *s, const struct asked *asked)
{
	autofree char *text = NULL;
	char error[RUNTIME_ERROR_SIZE], refusal[POLICY_TEXT_SIZE];
	size_t size;

	if (asked->fds->n != 1)
		return fault_set(&s->fault, 0,
				 "want the config, and nothing "
				 "else, with the message");
	int r = memfd_read(asked->fds->fd[0], ZRUN_CONFIG_MAX, &text, &size);

	if (r < 0)
		return fault_set(&s->fault, r, "config");
	r = runtime_config_parse(&s->config, text, size, error);
	if (r < 0)
		return fault_set(&s->fault, 0, "config: %s", error);
	r = policy_container(&s->config, asked->request->id, refusal);
	if (r < 0) {
		fault_set(&s->fault, 0, "refused: %s", refusal);
		return r;
	}
	r = policy_complete(&s->config);
	return r < 0 ? fault_set(&s->fault, r, "config") : 0;
}

/* The address that the config names: of the containers' own range, and nobody
 * else's. */
static int read_address(struct start *s)
{
	const struct text_map *notes = &s->config.annotations;
	struct in_addr address;

	for (size_t i = 0; i < notes->n; i++) {
		if (strcmp(notes->item[i].key, ZRUN_ANNOTATION_ADDRESS) != 0)
			continue;
		if (inet_pton(AF_INET, notes->item[i].value, &address) != 1 ||
		    ntohl(address.s_addr) >> 16 != (10 << 8 | 64))
			return fault_set(&s->fault, 0,
					 "annotations." ZRUN_ANNOTATION_ADDRESS
					 ": want "
					 "10.64.x.y");
		s->container->address = ntohl(address.s_addr);
	}
	for (int i = 0; i < RESIDENT_CONTAINERS_MAX; i++) {
		const struct resident_container *c = &resident.container[i];

		if (c != s->container && s->container->address &&
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

static int find_layers(struct start *s, const struct asked *asked)
{
	char error[STORE_ERROR_SIZE] = "";
	struct digest digest;
	int r = digest_parse(span_of(asked->request->digest), &digest);

	if (r < 0)
		return fault_set(&s->fault, r, "image digest");
	r = store_layers(&resident.store, &digest, &s->layers, error);
	if (r < 0)
		fault_set(&s->fault, 0, "%s", error);
	return r;
}

static int make_state(struct start *s, const struct asked *asked)
{
	struct state *state = &s->state;
	const char *id = s->container->id;

	text_copy(state->id, sizeof(state->id), id);
	text_copy(state->digest, sizeof(state->digest), asked->request->digest);
	text_copy(s->container->digest, sizeof(s->container->digest),
		  asked->request->digest);
	state->created = (uint64_t)time(NULL);
	state->address = s->container->address;
	snprintf(state->cgroup, sizeof(state->cgroup), "zooid/%s", id);
	s->state_dir = state_make(resident.state, id, &s->fault);
	if (s->state_dir < 0)
		return s->state_dir;
	int r = state_write(s->state_dir, state);

	if (r < 0)
		return fault_set(&s->fault, r, "keep its state");
	r = container_layer_make(id);
	return r < 0 ? fault_set(&s->fault, r, "make its writable layer") : 0;
}

static int make_cgroup(struct start *s)
{
	int r;

	s->cgroup.root = fcntl(resident.cgroups.root, F_DUPFD_CLOEXEC, 3);
	if (s->cgroup.root < 0)
		return fault_set(&s->fault, -errno, "cgroup");
	s->cgroup.skip_absent = resident.cgroups.skip_absent;
	r = cgroup_make(&s->cgroup, s->state.cgroup, &s->fault);
	if (r == 0)
		r = cgroup_limit(&s->cgroup, &s->config.resources, &s->fault);
	if (r == 0)
		r = cgroup_devices(&s->cgroup, &s->config.resources, &s->fault);
	return r;
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
		autoclose int fd = path_open_beneath(
			resident.volumes, policy_volume(m->source), O_PATH, 0);
		int tree = fd < 0 ? fd
				  : kernel_open_tree(fd, "",
						     OPEN_TREE_CLONE |
							     AT_EMPTY_PATH);

		if (tree < 0)
			return fault_set(&s->fault, tree,
					 "mounts[%zu].source "
					 "(%.80s)",
					 i, m->source);
		s->mount_fd[i] = tree;
	}
	return 0;
}

static int open_output(struct start *s)
{
	struct child *child = &s->launch.child;

	child->stdio[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (child->stdio[0] < 0)
		return fault_set(&s->fault, -errno, "/dev/null");
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

static int clone_child(struct start *s)
{
	struct launch *l = &s->launch;
	const char *data = path_data();
	char upper[PATH_SIZE], work[PATH_SIZE], root[PATH_SIZE];
	static char layer[STORE_LAYERS_MAX][PATH_SIZE];
	static const char *layers[STORE_LAYERS_MAX];
	struct overlay overlay = {
		layers, s->layers.n, upper, work, root, false
	};
	struct plan_setting setting = {
		.overlay = &overlay,
		.address = s->container->address,
		.seccomp = true,
		.user_name = true,
		.mount_fd = s->mount_fd,
	};
	const char *id = s->container->id;

	for (int i = 0; i < RUNTIME_NS_COUNT; i++)
		setting.join_fd[i] = -1;
	for (unsigned i = 0; i < s->layers.n; i++) {
		snprintf(layer[i], PATH_SIZE, "%s/layers/%s", data,
			 s->layers.name[i]);
		layers[i] = layer[i];
	}
	snprintf(upper, PATH_SIZE, "%s/containers/%s/upper", data, id);
	snprintf(work, PATH_SIZE, "%s/containers/%s/work", data, id);
	snprintf(root, PATH_SIZE, "%s/containers/%s/root", data, id);
	l->parent_is_init = true;
	l->cgroup_dir = s->cgroup.dir;
	l->child.filter = seccomp_default();
	l->child.grantable = launch_grantable(false);
	int r = plan_container(&l->plan, &s->config, &setting, &s->fault);

	return r < 0 ? r : launch_clone(l, &s->fault);
}

/* From here on init is the one that holds them. */
static int hand_to_init(struct start *s, const uint8_t *note)
{
	const char *id = s->container->id;
	int r = init_put(INIT_KIND_PIDFD, id, 0, s->launch.pidfd, note);

	for (uint32_t i = 0; r == 0 && i < 2; i++) {
		r = init_put(INIT_KIND_OUTPUT, id, i + 1, s->output[i], note);
		fd_close(&s->output[i]);
	}
	return r < 0 ? fault_set(&s->fault, r, "hand it to init") : 0;
}

static void start_free(struct start *s)
{
	watch_del(&resident.loop, &s->channel);
	timer_cancel(&s->timer);
	launch_close(&s->launch);
	for (int i = 0; i < 3; i++)
		fd_close(&s->launch.child.stdio[i]);
	for (int i = 0; i < 2; i++)
		fd_close(&s->output[i]);
	for (size_t i = 0; s->mount_fd && i < s->config.n_mount; i++)
		fd_close(&s->mount_fd[i]);
	free(s->mount_fd);
	fd_close(&s->state_dir);
	cgroup_close(&s->cgroup);
	runtime_config_free(&s->config);
	s->container->start = NULL;
	free(s);
}

/* Kills what there is and removes it. The cgroup is new and small, so this is
 * quick enough for the loop. */
static void start_undo(struct start *s)
{
	struct resident_container *c = s->container;
	char id[ZRUN_ID_SIZE], text[ZRUN_TEXT_SIZE];
	bool made = s->state_dir >= 0;

	memcpy(id, c->id, sizeof(id));
	launch_kill(&s->launch);
	start_free(s);
	if (made) {
		if (container_sweep(id, text) < 0)
			log_error(NULL, "%s", text);
		init_drop(INIT_KIND_OUTPUT, id, 1);
		init_drop(INIT_KIND_OUTPUT, id, 2);
		tun_drop(id);
		init_drop(INIT_KIND_PIDFD, id, 0);
	}
	container_free(c);
}

static void start_fail(struct start *s, int error)
{
	struct zrun_reply reply = { .error = error };
	struct asker asker = s->asker;

	memcpy(reply.id, s->container->id, sizeof(reply.id));
	snprintf(reply.text, sizeof(reply.text), "container %.63s: %.180s",
		 s->container->id, s->fault.text);
	start_undo(s);
	serve_answer(&asker, &reply, NULL);
}

static void start_done(struct start *s)
{
	struct resident_container *c = s->container;
	struct zrun_reply reply = { .pid = (uint32_t)c->pid };
	struct asker asker = s->asker;

	memcpy(reply.id, c->id, sizeof(reply.id));
	c->phase = PHASE_RUNNING;
	container_watch(c, fd_take(&s->launch.pidfd));
	start_free(s);
	serve_answer(&asker, &reply, NULL);
}

/* The child is ready: note that it exists, then let it run. */
static int start_release(struct start *s)
{
	s->container->pid = s->state.pid = s->launch.pid;
	s->state.start_time = process_start_time(s->launch.pid);
	int r = state_write(s->state_dir, &s->state);

	if (r < 0)
		return fault_set(&s->fault, r, "keep its state");
	r = s->container->address ? tun_give(s->container->id, s->launch.pidfd,
					     s->container->address)
				  : 0;
	if (r < 0)
		return fault_set(&s->fault, r, "its network");
	s->released = true;
	r = launch_go(&s->launch);
	return r < 0 ? fault_set(&s->fault, r, "it was killed") : 0;
}

static void channel_ready(struct watch *w, uint32_t events)
{
	struct start *s = container_of(w, struct start, channel);
	int r = launch_receive(&s->launch, &s->fault);

	(void)events;
	if (r == CHILD_READY) {
		r = start_release(s);
		if (r < 0)
			start_fail(s, r);
		return;
	}
	if (r == 0 && s->released) {
		start_done(s);
		return;
	}
	if (r == 0)
		r = fault_set(&s->fault, -ECHILD,
			      "it was killed while it "
			      "started");
	start_fail(s, r);
}

static void start_late(struct timer *t)
{
	struct start *s = container_of(t, struct start, timer);

	start_fail(s, fault_set(&s->fault, -ETIMEDOUT, "start"));
}

static int prepare(struct start *s, const struct asked *asked)
{
	int r = read_config(s, asked);

	if (r == 0)
		r = read_address(s);
	if (r == 0)
		r = find_layers(s, asked);
	if (r == 0)
		r = make_state(s, asked);
	if (r == 0)
		r = make_cgroup(s);
	if (r == 0)
		r = open_volumes(s);
	if (r == 0)
		r = open_output(s);
	if (r == 0)
		r = clone_child(s);
	if (r == 0) {
		for (int i = 0; i < 3; i++)
			fd_close(&s->launch.child.stdio[i]);
		r = hand_to_init(s, asked->request->note);
	}
	if (r == 0) {
		s->channel.ready = channel_ready;
		r = watch_add(&resident.loop, &s->channel, s->launch.channel,
			      EPOLLIN);
		if (r < 0)
			fault_set(&s->fault, r, "watch");
	}
	return r;
}

static struct start *start_new(const struct asked *asked)
{
	struct start *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->container = container_new(asked->request->id);
	if (!s->container) {
		free(s);
		return NULL;
	}
	s->container->start = s;
	s->asker = asked->asker;
	s->channel.fd = s->state_dir = s->output[0] = s->output[1] = -1;
	s->cgroup = (struct cgroup)CGROUP_NONE;
	s->timer.fire = start_late;
	launch_init(&s->launch, s->container->id, &s->config);
	return s;
}

int serve_start(const struct asked *asked, struct zrun_reply *reply)
{
	const char *id = asked->request->id;

	if (!id_valid(span_of(id))) {
		snprintf(reply->text, sizeof(reply->text),
			 "id: want 1 to 63 "
			 "of a-z, 0-9 and -");
		return -EINVAL;
	}
	if (container_find(id)) {
		snprintf(reply->text, sizeof(reply->text),
			 "container %s "
			 "exists",
			 id);
		return -EEXIST;
	}
	struct start *s = start_new(asked);

	if (!s) {
		snprintf(reply->text, sizeof(reply->text),
			 "no room for "
			 "another container");
		return -ENOSPC;
	}
	int r = prepare(s, asked);

	if (r < 0) {
		snprintf(reply->text, sizeof(reply->text),
			 "container %.63s: %.180s", id, s->fault.text);
		start_undo(s);
		return r;
	}
	timer_set(&resident.loop, &s->timer, START_TIMEOUT_MS);
	return SERVE_LATER;
}
