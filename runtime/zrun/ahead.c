#define _GNU_SOURCE
#include "ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "held.h"

enum { CONFIG_MAX = 16 << 10 };

/* A config with its image; size 0: none. */
struct wanted {
	char digest[ZRUN_DIGEST_SIZE];
	size_t size;
	char text[CONFIG_MAX];
};

static struct {
	struct wanted now, last;
	bool failed; /* it cannot be made ahead */
	bool died;   /* one of it has, since it was last started */
	struct start *start[AHEAD_MAX];
	unsigned n_made;
} ahead;

static int config_now = -1; /* sealed; of ahead.now */

/* -EFBIG, -EPERM ... for what is not to be kept. */
static int wanted_read(struct wanted *w, int config_fd, const char *digest)
{
	size_t size;
	int r = memfd_copy(config_fd, w->text, sizeof(w->text), &size);

	if (r < 0)
		return r;
	w->size = size;
	text_copy(w->digest, sizeof(w->digest), digest);
	return 0;
}

static bool wanted_same(const struct wanted *a, const struct wanted *b)
{
	return a->size == b->size && memcmp(a->text, b->text, a->size) == 0 &&
	       strcmp(a->digest, b->digest) == 0;
}

/* A bud whose channel closes exits. */
static void drop(struct start **at)
{
	struct start *s = *at;

	if (s->is_held)
		held_kill(s->launch.pid);
	char layer[ZRUN_ID_SIZE];
	bool has_layer = s->has_layer;

	text_copy(layer, sizeof(layer), s->before.id);
	fd_close(&s->before.mounts);
	start_free(s);
	if (has_layer)
		serve_remove_layer(layer);
	*at = NULL;
}

static void drop_all(void)
{
	for (int i = 0; i < AHEAD_MAX; i++) {
		if (ahead.start[i])
			drop(&ahead.start[i]);
	}
}

int ahead_count(void)
{
	int n = 0;

	for (int i = 0; i < AHEAD_MAX; i++)
		n += ahead.start[i] != NULL;
	return n;
}

static void give_up(struct start *s)
{
	for (int i = 0; i < AHEAD_MAX; i++) {
		if (ahead.start[i] == s)
			drop(&ahead.start[i]);
	}
}

static void kept(struct init_later *later, int error)
{
	struct start *s = container_of(later, struct start, later);

	s->is_bud = error == 0;
	if (error < 0) {
		ahead.failed = true;
		give_up(s);
	}
}

static int hold(struct start *s)
{
	int r = held_begin(s->launch.pid);

	if (r < 0)
		return r;
	s->is_held = s->ready = true;
	return launch_go(&s->launch);
}

static void died(struct watch *w, uint32_t events)
{
	(void)events;
	/* Should its limits allow no more than that, there is no end to it. */
	ahead.died = true;
	give_up(container_of(w, struct start, channel));
}

static int wait_for_death(struct start *s)
{
	watch_del(&resident.loop, &s->channel);
	s->channel.ready = died;
	return watch_add(&resident.loop, &s->channel, s->launch.pidfd, EPOLLIN);
}

/* It is ready, and then within execve; or it says why not, which an ordinary
 * start will say again. */
static void channel_ready(struct watch *w, uint32_t events)
{
	struct start *s = container_of(w, struct start, channel);
	int r = launch_receive(&s->launch, &s->fault);

	(void)events;
	if (r == CHILD_READY && !s->ready && hold(s) == 0)
		return;
	if (r == 0 && s->ready && wait_for_death(s) == 0)
		return;
	ahead.failed = true;
	give_up(s);
}

static bool may_be_taken(struct start *s)
{
	return s && s->is_held && s->is_bud && held_look(s->launch.pid);
}

struct start *ahead_take(const struct asked *asked)
{
	static struct wanted asks;
	struct start *s = NULL;

	if (ahead_count() == 0 || asked->fds->n != 1 ||
	    wanted_read(&asks, asked->fds->fd[0], asked->request->digest) < 0 ||
	    !wanted_same(&asks, &ahead.now))
		return NULL;
	for (int i = 0; i < AHEAD_MAX && !s; i++) {
		if (!may_be_taken(ahead.start[i]))
			continue;
		s = ahead.start[i];
		ahead.start[i] = NULL;
	}
	if (s) {
		watch_del(&resident.loop, &s->channel);
		ahead.died = false;
	}
	return s;
}

/* What is granted beyond the default is not made ahead. */
static bool may_repeat(const struct runtime_config *config)
{
	if (config->n_device)
		return false;
	for (int i = 0; i < RUNTIME_NS_COUNT; i++)
		if (!config->namespace[i].set && i != RUNTIME_NS_USER &&
		    i != RUNTIME_NS_TIME)
			return false;
	for (size_t i = 0; i < config->n_mount; i++) {
		if (config->mount[i].bind)
			return false;
	}
	return !config->cgroups_path;
}

static void turn_to_last(int config_fd)
{
	drop_all();
	fd_close(&config_now);
	ahead.now = ahead.last;
	config_now = fcntl(config_fd, F_DUPFD_CLOEXEC, 3);
	ahead.failed = config_now < 0;
	ahead.died = false;
}

void ahead_note(const struct start *s)
{
	static struct wanted used;

	if (s->state.address || !may_repeat(&s->config) ||
	    wanted_read(&used, s->config_fd, s->state.digest) < 0)
		return;
	if (wanted_same(&used, &ahead.now))
		ahead.died = false;
	else if (wanted_same(&used, &ahead.last))
		turn_to_last(s->config_fd);
	else
		ahead.last = used;
}

static int make(struct start *s)
{
	struct zrun_request request = { 0 };
	struct ipc_fds fds = {
		.n = 1,
		.fd = { fcntl(config_now, F_DUPFD_CLOEXEC, 3) },
	};
	struct asked asked = { .request = &request, .fds = &fds };

	text_copy(request.digest, sizeof(request.digest), ahead.now.digest);
	int r = fds.fd[0] < 0 ? -errno : start_ahead(s, &asked);

	ipc_fds_close(&fds);
	if (r < 0)
		return r;
	s->later.done = kept;
	r = init_bud_put((uint32_t)s->launch.pid, s->launch.pidfd, &s->later);
	if (r < 0)
		return r;
	s->channel.ready = channel_ready;
	return watch_add(&resident.loop, &s->channel, s->launch.channel,
			 EPOLLIN);
}

bool ahead_refill(void)
{
	int free = 0;

	while (free < AHEAD_MAX && ahead.start[free])
		free++;
	if (free == AHEAD_MAX || !ahead.now.size || ahead.failed || ahead.died)
		return false;
	struct start *s = start_new(NULL);

	if (!s)
		return false;
	/* No container can have that name. */
	snprintf(s->before.id, sizeof(s->before.id), "@%u", ahead.n_made++);
	ahead.start[free] = s;
	int r = make(s);

	if (r == 0)
		return true;
	ahead.failed = r != -EAGAIN;
	drop(&ahead.start[free]);
	return false;
}

void ahead_forget(const char *digest)
{
	if (digest && strcmp(digest, ahead.now.digest) != 0)
		return;
	drop_all();
	ahead.now.size = ahead.last.size = 0;
}
