/* How a service lives:
 *
 *	WAITING -> STARTING -> READY
 *	   ^           \________/ |  ends, or says nothing for too long
 *	   |                      v
 *	BACKOFF <------------ STOPPING
 *
 * The first new start is at once; the delay before the next ones doubles from
 * 100 ms to 30 s and starts anew after a minute of health. Whatever a service
 * leaves behind when it ends dies with its cgroup. Its socket and its output
 * pipe belong to init and outlive it: who connects or writes meanwhile waits
 * instead of failing.
 *
 * Jobs are rows with SVC_ONCE; what the node can live without (a disk, a
 * node.json) has SVC_GIVE_UP, so that it can end badly, or not at all, and
 * hold nothing up for longer than its time-out. */
#define _GNU_SOURCE
#include "svc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/path.h"
#include "base/service.h"
#include "base/span.h"
#include "spawn.h"
#include "store.h"

struct svc {
	const struct svc_row *row;
	enum init_service_state state;
	pid_t pid;	       /* and session; 0: not running */
	int procs_fd, kill_fd; /* of its cgroup; -1: none */
	int socket;
	int output; /* write end, the same for every start */
	struct watch status;
	struct timer timer;
	uint32_t starts, backoff_ms;
	uint64_t since_ms;
	char reason[96];
};

static struct svc table[SVC_MAX];
static struct svc_setup setup;
static bool ending, first_ending, settled;

#define S(state) INIT_SERVICE_##state

/* What is not listed changes nothing. */
static const struct svc_move moves[S(STATE_COUNT)][SVC_EVENT_COUNT] = {
	[S(WAITING)] = {
		[SVC_NEEDS_MET] = { S(STARTING), SVC_START },
		[SVC_STOP] = { S(DONE), SVC_SETTLE },
	},
	[S(STARTING)] = {
		[SVC_IS_READY] = { S(READY), SVC_SETTLE },
		[SVC_ENDED_WELL] = { S(DONE), SVC_SETTLE },
		[SVC_ENDED] = { S(BACKOFF), SVC_DELAY },
		[SVC_FAILED] = { S(DONE), SVC_SETTLE },
		[SVC_TIME_UP] = { S(STOPPING), SVC_KILL },
		[SVC_STOP] = { S(STOPPING), SVC_TERM },
	},
	[S(READY)] = {
		[SVC_ENDED_WELL] = { S(DONE), SVC_SETTLE },
		[SVC_ENDED] = { S(BACKOFF), SVC_DELAY },
		[SVC_FAILED] = { S(DONE), SVC_SETTLE },
		[SVC_TIME_UP] = { S(STOPPING), SVC_KILL },
		[SVC_STOP] = { S(STOPPING), SVC_TERM },
	},
	[S(BACKOFF)] = {
		[SVC_TIME_UP] = { S(WAITING), SVC_RECHECK },
		[SVC_STOP] = { S(DONE), SVC_SETTLE },
	},
	[S(STOPPING)] = {
		[SVC_ENDED_WELL] = { S(DONE), SVC_SETTLE },
		[SVC_ENDED] = { S(BACKOFF), SVC_DELAY },
		[SVC_FAILED] = { S(DONE), SVC_SETTLE },
		[SVC_TIME_UP] = { S(STOPPING), SVC_KILL },
	},
	[S(DONE)] = {
		[SVC_AGAIN] = { S(WAITING), SVC_RECHECK },
	},
};

static void step(struct svc *s, enum svc_event event);

struct svc_move svc_next(enum init_service_state state, enum svc_event event)
{
	struct svc_move move = moves[state][event];

	if (move.action == SVC_NOTHING)
		move.next = (uint8_t)state;
	return move;
}

static struct svc *svc_end(void)
{
	return table + setup.n;
}

static bool is_down(const struct svc *s)
{
	return s->state == S(DONE);
}

static bool is_unwanted(const struct svc *s)
{
	return ending || (first_ending && s->row->flags & SVC_FIRST_DOWN);
}

static bool is_settled(const struct svc *s)
{
	return s->state == S(READY) || s->state == S(DONE);
}

static bool needs_met(const struct svc *s)
{
	for (int i = 0; i < setup.n; i++)
		if (s->row->needs & (1u << i) && !is_settled(&table[i]))
			return false;
	return true;
}

static bool is_needed(const struct svc *s)
{
	uint32_t bit = 1u << (s - table);

	for (const struct svc *t = table; t < svc_end(); t++)
		if (t->row->needs & bit && !is_down(t))
			return true;
	return false;
}

static void start_waiting(void)
{
	for (struct svc *s = table; s < svc_end(); s++)
		if (s->state == S(WAITING) && needs_met(s))
			step(s, SVC_NEEDS_MET);
}

static void stop_unneeded(void)
{
	bool all_down = true;

	for (struct svc *s = table; s < svc_end(); s++)
		if (!is_down(s) && !is_needed(s))
			step(s, SVC_STOP);
	for (struct svc *s = table; s < svc_end(); s++)
		all_down = all_down && is_down(s);
	if (all_down && setup.stopped)
		setup.stopped();
}

static void tell_settled(void)
{
	for (struct svc *s = table; s < svc_end(); s++)
		if (!(s->row->flags & SVC_UNCOUNTED) && !is_settled(s))
			return;
	settled = true;
	if (setup.settled)
		setup.settled();
}

static void others_look(void)
{
	if (ending) {
		stop_unneeded();
		return;
	}
	start_waiting();
	if (!settled)
		tell_settled();
}

static void svc_kill(struct svc *s)
{
	/* The cgroup has all that it left behind, its session not. */
	if (s->kill_fd >= 0 && pwrite(s->kill_fd, "1", 1, 0) == 1)
		return;
	if (s->pid > 0) {
		kill(-s->pid, SIGKILL);
	}
}

static void status_close(struct svc *s)
{
	int fd = s->status.fd;

	watch_del(setup.loop, &s->status);
	fd_close(&fd);
}

static void status_ready(struct watch *w, uint32_t events)
{
	struct svc *s = container_of(w, struct svc, status);
	char bytes[64];
	ssize_t n = read(w->fd, bytes, sizeof(bytes));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* Closed by a service that goes on is silence. */
		status_close(s);
		return;
	}
	if (s->state != S(STARTING) && s->state != S(READY))
		return;
	timer_set(setup.loop, &s->timer, SERVICE_STALL_MS);
	if (memchr(bytes, 'R', (size_t)n))
		step(s, SVC_IS_READY);
}

static void svc_gone(struct svc *s, enum svc_event event);

static enum svc_event bad_end(const struct svc *s)
{
	return s->row->flags & SVC_GIVE_UP ? SVC_FAILED : SVC_ENDED;
}

static void cannot_start(struct svc *s, const char *what, int err)
{
	snprintf(s->reason, sizeof(s->reason), "%s: %s", what, strerror(err));
	svc_gone(s, bad_end(s));
}

static void svc_start(struct svc *s)
{
	const struct svc_row *row = s->row;
	int pipe_fds[2] = { -1, -1 };
	struct spawn spawn = {
		.name = row->name,
		.argv = row->argv,
		.run = row->run,
		.uid = geteuid() == 0 ? row->uid : geteuid(),
		.listen_fd = s->socket,
		.output_fd = s->output,
		.cgroup_procs = s->procs_fd,
		.oom_score_adj = row->oom_score_adj,
		.open_files = row->open_files ? row->open_files : 1024,
	};
	bool silent = row->flags & SVC_SILENT;

	s->starts++;
	if (!silent && pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		cannot_start(s, "pipe", errno);
		return;
	}
	spawn.status_fd = pipe_fds[1];
	s->pid = spawn_start(&spawn);
	fd_close(&pipe_fds[1]);
	if (s->pid < 0) {
		fd_close(&pipe_fds[0]);
		cannot_start(s, "fork", -s->pid);
		return;
	}
	if (!silent)
		watch_add(setup.loop, &s->status, pipe_fds[0], EPOLLIN);
	if (!silent || row->start_ms)
		timer_set(setup.loop, &s->timer,
			  row->start_ms ? row->start_ms : SVC_START_MS);
	if (silent && !row->start_ms)
		step(s, SVC_IS_READY);
}

static void svc_delay(struct svc *s)
{
	if (is_unwanted(s)) {
		step(s, SVC_STOP);
		return;
	}
	timer_set(setup.loop, &s->timer, s->backoff_ms);
	log_warning(s->row->name, "%s; starts again in %u ms", s->reason,
		    s->backoff_ms);
}

static void act(struct svc *s, enum svc_action action)
{
	switch (action) {
	case SVC_NOTHING:
		break;
	case SVC_START:
		svc_start(s);
		break;
	case SVC_SETTLE:
		if (s->row->flags & SVC_SILENT || is_down(s))
			timer_cancel(&s->timer);
		if (!is_down(s) && !(s->row->flags & SVC_SILENT))
			log_info(s->row->name, "ready");
		others_look();
		break;
	case SVC_DELAY:
		svc_delay(s);
		break;
	case SVC_RECHECK:
		others_look();
		break;
	case SVC_TERM:
		kill(s->pid, SIGTERM);
		timer_set(setup.loop, &s->timer, SVC_GRACE_MS);
		break;
	case SVC_KILL:
		svc_kill(s);
		timer_set(setup.loop, &s->timer, SVC_GRACE_MS);
		break;
	}
}

/* The one function that changes a state. The back-off is counted here, before
 * the state that it depends on is overwritten. */
static void step(struct svc *s, enum svc_event event)
{
	struct svc_move move = svc_next(s->state, event);
	uint64_t now = clock_boot_ms();

	if (move.action == SVC_NOTHING)
		return;
	if (move.action == SVC_DELAY) {
		bool healthy = s->state == S(READY) &&
			       now - s->since_ms >= SVC_HEALTHY_MS;

		/* Who dies for once is missed for as short as can be. */
		if (healthy || !s->backoff_ms)
			s->backoff_ms = SVC_BACKOFF_FIRST_MS;
		else if (s->backoff_ms == SVC_BACKOFF_FIRST_MS)
			s->backoff_ms = SVC_BACKOFF_MIN_MS;
		else if (s->backoff_ms < SVC_BACKOFF_MAX_MS / 2)
			s->backoff_ms *= 2;
		else
			s->backoff_ms = SVC_BACKOFF_MAX_MS;
	}
	if (move.next != s->state)
		s->since_ms = now;
	s->state = move.next;
	act(s, move.action);
}

static void svc_gone(struct svc *s, enum svc_event event)
{
	status_close(s);
	timer_cancel(&s->timer);
	svc_kill(s); /* what it left behind */
	s->pid = 0;
	if (event == SVC_FAILED && !is_unwanted(s)) {
		log_error(s->row->name, "%s; going on without it", s->reason);
		if (s->row->gave_up)
			s->row->gave_up();
	}
	step(s, event);
}

static void time_up(struct timer *t)
{
	struct svc *s = container_of(t, struct svc, timer);

	if (s->state == S(STARTING))
		snprintf(s->reason, sizeof(s->reason), "not %s in time",
			 s->row->flags & SVC_ONCE ? "done" : "ready");
	else if (s->state == S(READY))
		snprintf(s->reason, sizeof(s->reason), "silent for %d s",
			 SERVICE_STALL_MS / 1000);
	/* Killed and still there: it hangs in the kernel, on a disk that does
	 * not answer. init goes on; the reaper gets it one day. */
	if (s->state == S(STOPPING) && s->row->flags & SVC_GIVE_UP)
		svc_gone(s, SVC_FAILED);
	else
		step(s, SVC_TIME_UP);
}

static void reason_set(struct svc *s, int32_t code, int32_t status)
{
	/* Why it was killed says more than that it was. */
	if (s->state == S(STOPPING) && s->reason[0] && !ending)
		return;
	if (code == CLD_EXITED)
		snprintf(s->reason, sizeof(s->reason),
			 status == 127 ? "could not be run (status %d)"
				       : "exited with status %d",
			 status);
	else
		snprintf(s->reason, sizeof(s->reason), "killed by signal %d",
			 status);
}

bool svc_reaped(pid_t pid, int32_t code, int32_t status)
{
	struct svc *s = table;

	while (s < svc_end() && s->pid != pid)
		s++;
	if (s == svc_end())
		return false;
	if (s->row->flags & SVC_ONCE && code == CLD_EXITED && status == 0) {
		s->reason[0] = '\0';
		svc_gone(s, SVC_ENDED_WELL);
		return true;
	}
	reason_set(s, code, status);
	svc_gone(s, bad_end(s));
	return true;
}

static void limit_set(int cgroup, const char *name, uint32_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%u", value);
	file_put(cgroup, name, text);
}

static void cgroup_make(struct svc *s)
{
	const char *name = s->row->name;
	autoclose int dir = -1;

	s->procs_fd = s->kill_fd = -1;
	if (setup.cgroup < 0)
		return;
	if (mkdirat(setup.cgroup, name, 0755) < 0 && errno != EEXIST) {
		log_error(name, "cgroup: %s", strerror(errno));
		return;
	}
	dir = openat(setup.cgroup, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return;
	s->procs_fd = openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	s->kill_fd = openat(dir, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	if (s->row->memory_mb)
		limit_set(dir, "memory.max", s->row->memory_mb << 20);
	if (s->row->cpu_weight)
		limit_set(dir, "cpu.weight", s->row->cpu_weight);
}

static void socket_make(struct svc *s)
{
	const struct svc_row *row = s->row;
	char path[108];

	s->socket = -1;
	if (!row->socket_mode)
		return;
	snprintf(path, sizeof(path), "%s/%s.sock", path_run(), row->name);
	s->socket = ipc_listen(path, row->socket_mode,
			       geteuid() == 0 ? row->uid : (uid_t)-1);
	if (s->socket < 0)
		log_error(path, "cannot listen: %s", strerror(-s->socket));
}

/* The write end is non-blocking: a service never waits for zlog. */
static int output_make(struct svc *s)
{
	struct init_key key = { .kind = INIT_KIND_OUTPUT, .n = 1 };
	struct store_new new = { .key = &key, .builtin = true };
	struct store_entry *e;
	int fds[2];
	int err;

	if (s->row->flags & SVC_KMSG) {
		s->output = setup.kmsg >= 0 ? setup.kmsg : STDERR_FILENO;
		return 0;
	}
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	s->output = fds[1];
	new.fd = fds[0];
	text_copy(key.container, sizeof(key.container), s->row->name);
	err = store_put(&new, &e);
	if (err < 0)
		fd_close(&fds[0]);
	return err;
}

/* An image under development may lack a program; the node runs without. */
static void program_check(struct svc *s)
{
	if (s->row->run || access(s->row->argv[0], X_OK) == 0)
		return;
	snprintf(s->reason, sizeof(s->reason), "%s: %s", s->row->argv[0],
		 strerror(errno));
	log_error(s->row->name, "%s; left out", s->reason);
	s->state = S(DONE);
}

int svc_init(const struct svc_setup *given)
{
	setup = *given;
	ending = first_ending = settled = false;
	if (setup.n > SVC_MAX)
		return -E2BIG;
	for (int i = 0; i < setup.n; i++) {
		struct svc *s = &table[i];
		int err;

		*s = (struct svc){ .row = &setup.rows[i] };
		s->status = (struct watch){ .fd = -1, .ready = status_ready };
		s->timer.fire = time_up;
		s->since_ms = clock_boot_ms();
		program_check(s);
		cgroup_make(s);
		socket_make(s);
		err = output_make(s);
		if (err < 0)
			return err;
	}
	return 0;
}

void svc_begin(void)
{
	others_look();
}

void svc_again(int row)
{
	if (!ending && table[row].starts > 0)
		step(&table[row], SVC_AGAIN);
}

bool svc_stop_first(void)
{
	bool all_down = true;

	first_ending = true;
	for (struct svc *s = table; s < svc_end(); s++) {
		if (!(s->row->flags & SVC_FIRST_DOWN))
			continue;
		step(s, SVC_STOP);
		all_down = all_down && is_down(s);
	}
	return all_down;
}

void svc_stop_all(void)
{
	ending = true;
	stop_unneeded();
}

int svc_describe(uint32_t i, struct init_service *out)
{
	const struct svc *s;

	if (i >= (uint32_t)setup.n)
		return -ENOENT;
	s = &table[i];
	*out = (struct init_service){
		.state = (uint32_t)s->state,
		.pid = (uint32_t)s->pid,
		.starts = s->starts,
		.backoff_ms = s->state == S(BACKOFF) ? s->backoff_ms : 0,
		.since_ms = s->since_ms,
	};
	text_copy(out->name, sizeof(out->name), s->row->name);
	text_copy(out->reason, sizeof(out->reason), s->reason);
	return 0;
}

int svc_row_find(const struct svc_row *rows, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(rows[i].name, name) == 0)
			return i;
	return -1;
}
