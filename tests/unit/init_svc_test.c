/* init's service table: every transition, then real processes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/path.h"
#include "init/reaper.h"
#include "init/spawn.h"
#include "init/store.h"
#include "init/svc.h"
#include "tap.h"

static struct loop loop;
static bool all_settled, all_stopped;
static int n_gave_up;

#define S(state) INIT_SERVICE_##state

/* What must happen; whatever is not here must change nothing. */
static const struct {
	int state, event, next, action;
} expected[] = {
	{ S(WAITING), SVC_NEEDS_MET, S(STARTING), SVC_START },
	{ S(WAITING), SVC_STOP, S(DONE), SVC_SETTLE },
	{ S(STARTING), SVC_IS_READY, S(READY), SVC_SETTLE },
	{ S(STARTING), SVC_ENDED_WELL, S(DONE), SVC_SETTLE },
	{ S(STARTING), SVC_ENDED, S(BACKOFF), SVC_DELAY },
	{ S(STARTING), SVC_FAILED, S(DONE), SVC_SETTLE },
	{ S(STARTING), SVC_TIME_UP, S(STOPPING), SVC_KILL },
	{ S(STARTING), SVC_STOP, S(STOPPING), SVC_TERM },
	{ S(READY), SVC_ENDED_WELL, S(DONE), SVC_SETTLE },
	{ S(READY), SVC_ENDED, S(BACKOFF), SVC_DELAY },
	{ S(READY), SVC_FAILED, S(DONE), SVC_SETTLE },
	{ S(READY), SVC_TIME_UP, S(STOPPING), SVC_KILL },
	{ S(READY), SVC_STOP, S(STOPPING), SVC_TERM },
	{ S(BACKOFF), SVC_TIME_UP, S(WAITING), SVC_RECHECK },
	{ S(BACKOFF), SVC_STOP, S(DONE), SVC_SETTLE },
	{ S(STOPPING), SVC_ENDED_WELL, S(DONE), SVC_SETTLE },
	{ S(STOPPING), SVC_ENDED, S(BACKOFF), SVC_DELAY },
	{ S(STOPPING), SVC_FAILED, S(DONE), SVC_SETTLE },
	{ S(STOPPING), SVC_TIME_UP, S(STOPPING), SVC_KILL },
	{ S(DONE), SVC_AGAIN, S(WAITING), SVC_RECHECK },
};

static void transitions_test(void)
{
	for (int state = 0; state < S(STATE_COUNT); state++) {
		bool well = true;

		for (int event = 0; event < SVC_EVENT_COUNT; event++) {
			struct svc_move move = svc_next(state, event);
			int next = state, action = SVC_NOTHING;

			for (size_t i = 0;
			     i < sizeof(expected) / sizeof(*expected); i++)
				if (expected[i].state == state &&
				    expected[i].event == event) {
					next = expected[i].next;
					action = expected[i].action;
				}
			well = well && move.next == next &&
			       move.action == action;
		}
		ok(well, "transitions of state %d", state);
	}
}

static void gave_up(void)
{
	n_gave_up++;
}

static void settled(void)
{
	all_settled = true;
}

static void stopped(void)
{
	all_stopped = true;
}

static struct init_service look(const char *name)
{
	struct init_service s;

	for (uint32_t i = 0; svc_describe(i, &s) == 0; i++)
		if (strcmp(s.name, name) == 0)
			return s;
	return (struct init_service){ .state = S(STATE_COUNT) };
}

/* Turns the loop until the service is in that state, at most for wait_ms. */
static bool reaches(const char *name, enum init_service_state state,
		    uint32_t wait_ms)
{
	uint64_t end_ms = clock_ms() + wait_ms;

	while (look(name).state != state && clock_ms() < end_ms)
		loop_once(&loop, 50);
	return look(name).state == state;
}

static bool starts_reach(const char *name, uint32_t n, uint32_t wait_ms)
{
	uint64_t end_ms = clock_ms() + wait_ms;

	while (look(name).starts < n && clock_ms() < end_ms)
		loop_once(&loop, 50);
	return look(name).starts >= n;
}

#define SH(script) "/bin/sh", "-c", script

enum { JOB, HANGS, FAILS, DAEMON, USER, CRASHES, FIRST, N_ROWS };

static const struct svc_row rows[N_ROWS] = {
	[JOB] = { .name = "job",
		  .argv = { SH("exit 0") },
		  .start_ms = 5000,
		  .flags = SVC_ONCE | SVC_SILENT },
	[HANGS] = { .name = "hangs",
		    .argv = { SH("sleep 100 & sleep 100") },
		    .flags = SVC_ONCE | SVC_SILENT | SVC_GIVE_UP,
		    .start_ms = 300,
		    .gave_up = gave_up },
	[FAILS] = { .name = "fails",
		    .argv = { SH("exit 3") },
		    .start_ms = 5000,
		    .flags = SVC_ONCE | SVC_SILENT | SVC_GIVE_UP,
		    .gave_up = gave_up },
	[DAEMON] = { .name = "daemon",
		     .needs = 1 << JOB,
		     .socket_mode = 0600,
		     .argv = { SH("printf R >&4; while :; do sleep 1; "
				  "printf P >&4; done") } },
	[USER] = { .name = "user",
		   .needs = 1 << DAEMON | 1 << HANGS,
		   .argv = { SH("test $ZOOID_SERVICE = user && printf R >&4; "
				"exec sleep 100") } },
	[CRASHES] = { .name = "crashes",
		      .argv = { SH("kill -9 $$") },
		      .flags = SVC_UNCOUNTED },
	[FIRST] = { .name = "first",
		    .flags = SVC_FIRST_DOWN | SVC_SILENT,
		    .argv = { SH("trap '' TERM; sleep 100") } },
};

static void life_test(void)
{
	pid_t pid;

	ok(look("daemon").state == S(WAITING), "what needs a job waits");
	ok(reaches("job", S(DONE), 5000), "a job is done");
	ok(reaches("daemon", S(READY), 5000), "then what needs it gets ready");
	ok(reaches("fails", S(DONE), 5000) &&
		   !strcmp(look("fails").reason, "exited with status 3"),
	   "a job that may fail is done too, with the reason");
	ok(reaches("hangs", S(DONE), 5000) &&
		   !strcmp(look("hangs").reason, "not done in time"),
	   "one that hangs is given up");
	ok(n_gave_up == 2, "and both are told");
	svc_again(JOB);
	ok(starts_reach("job", 2, 5000) && reaches("job", S(DONE), 5000),
	   "a job can be done again");
	ok(reaches("user", S(READY), 5000) && all_settled, "all is ready then");
	pid = (pid_t)look("daemon").pid;
	kill(pid, SIGKILL);
	ok(reaches("daemon", S(BACKOFF), 5000) &&
		   look("daemon").backoff_ms == SVC_BACKOFF_FIRST_MS &&
		   !strcmp(look("daemon").reason, "killed by signal 9"),
	   "a daemon that was killed");
	ok(reaches("daemon", S(READY), 5000) &&
		   (pid_t)look("daemon").pid != pid,
	   "comes back");
	ok(look("user").starts == 1, "without those that need it noticing");
	ok(starts_reach("crashes", 4, 5000) &&
		   look("crashes").backoff_ms <= SVC_BACKOFF_MAX_MS,
	   "what dies at once is tried again");
	ok(reaches("crashes", S(BACKOFF), 5000) &&
		   look("crashes").backoff_ms >= 400,
	   "later each time");
}

static void end_test(void)
{
	uint64_t since_ms = clock_ms();

	while (!svc_stop_first() && clock_ms() - since_ms < 15000)
		loop_once(&loop, 50);
	ok(look("first").state == S(DONE) &&
		   clock_ms() - since_ms >= SVC_GRACE_MS - 100,
	   "what ignores SIGTERM is killed after its grace");
	ok(look("daemon").state == S(READY), "the others run on");
	svc_stop_all();
	ok(look("daemon").state == S(READY), "what is needed stops later");
	while (!all_stopped && clock_ms() - since_ms < 25000)
		loop_once(&loop, 50);
	ok(all_stopped, "then all is down");
	svc_stop_first();
	ok(look("crashes").state == S(DONE) && look("daemon").pid == 0,
	   "and nothing starts again");
}

static void changed(uint32_t kind)
{
	(void)kind;
}

int main(void)
{
	struct svc_setup setup = { .loop = &loop,
				   .rows = rows,
				   .n = N_ROWS,
				   .cgroup = -1,
				   .kmsg = 2,
				   .settled = settled,
				   .stopped = stopped };
	char dir[] = "/tmp/zooid-svc-XXXXXX";

	if (!mkdtemp(dir))
		return 1;
	setenv("ZOOID_RUN", dir, 1);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	transitions_test();
	loop_init(&loop);
	store_init(changed);
	ok(spawn_init() == 0 && reaper_init(&loop) == 0 &&
		   svc_init(&setup) == 0,
	   "init's parts start");
	svc_begin();
	life_test();
	end_test();
	path_remove_tree(AT_FDCWD, dir);
	return tap_done();
}
