/* The steps, each entered once and left by its event or its time-out:
 *
 *	FIRST       znode is down, so nobody starts containers again
 *	CONTAINERS  SIGTERM to each (SIGKILL to those that cannot hear it); the
 *		    last one ended, or cgroup.kill
 *	SERVICES    in reverse order of need, zlog among the last
 *	DISKS       a child syncs and unmounts
 *	FINISH      reboot(2)
 */
#define _GNU_SOURCE
#include "power.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/input.h>

#include "base/fd.h"
#include "base/log.h"
#include "reaper.h"
#include "spawn.h"
#include "store.h"
#include "svc.h"

enum power_step {
	STEP_NONE,
	STEP_FIRST,
	STEP_CONTAINERS,
	STEP_SERVICES,
	STEP_DISKS,
	STEP_FINISH,
	STEP_COUNT,
};

enum { LOOK_MS = 20, BUTTONS_MAX = 4 };

static const uint32_t time_out_ms[STEP_COUNT] = {
	[STEP_FIRST] = 2 * SVC_GRACE_MS,
	[STEP_CONTAINERS] = 10000,
	[STEP_SERVICES] = 4 * SVC_GRACE_MS,
	[STEP_DISKS] = 20000,
	[STEP_FINISH] = 1000,
};

static struct power_setup setup;
static enum power_step step;
static enum init_verb how;
static struct timer time_out, look;
static struct watch signals, buttons[BUTTONS_MAX];

static void enter(enum power_step next);

/* The kernel keeps a signal from the first process of a pid namespace unless
 * it has a handler, and most programs have none for SIGTERM. */
static bool catches_term(uint32_t pid)
{
	char path[32], text[2048];
	const char *caught;
	ssize_t n;
	autoclose int fd = -1;

	snprintf(path, sizeof(path), "/proc/%u/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : fd_read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return true;
	text[n] = '\0';
	caught = strstr(text, "\nSigCgt:");
	return !caught || strtoull(caught + sizeof("\nSigCgt:") - 1, NULL, 16) &
				  1u << (SIGTERM - 1);
}

static void process_kill(struct store_entry *e)
{
	syscall(SYS_pidfd_send_signal, e->fd, SIGKILL, NULL, 0);
}

static void process_term(struct store_entry *e)
{
	if (catches_term(e->pid))
		syscall(SYS_pidfd_send_signal, e->fd, SIGTERM, NULL, 0);
	else
		process_kill(e);
}

static void containers_kill(void)
{
	if (setup.containers_kill >= 0)
		pwrite(setup.containers_kill, "1", 1, 0);
	store_processes(process_kill);
}

static void last_ended(int status)
{
	if (status != 0)
		log_warning("/data", "not unmounted cleanly");
	if (step == STEP_DISKS)
		enter(STEP_FINISH);
}

static void disks_begin(void)
{
	pid_t pid;

	if (!setup.last_child) {
		enter(STEP_FINISH);
		return;
	}
	pid = spawn_call(setup.last_child, NULL);
	if (pid < 0) {
		log_error("/data", "cannot unmount: %s", strerror(-(int)pid));
		enter(STEP_FINISH);
		return;
	}
	reaper_expect(pid, last_ended);
}

static void enter(enum power_step next)
{
	step = next;
	timer_set(setup.loop, &time_out, time_out_ms[next]);
	switch (next) {
	case STEP_NONE:
	case STEP_COUNT:
		break;
	case STEP_FIRST:
		svc_stop_first();
		timer_set(setup.loop, &look, 0);
		break;
	case STEP_CONTAINERS:
		store_processes(process_term);
		timer_set(setup.loop, &look, 0);
		break;
	case STEP_SERVICES:
		containers_kill();
		svc_stop_all();
		break;
	case STEP_DISKS:
		disks_begin();
		break;
	case STEP_FINISH:
		setup.finish(how);
		break;
	}
}

/* Two steps wait for others' work to be done; looking is simpler than being
 * told, and only happens while the node goes down. */
static void look_fire(struct timer *t)
{
	if (step == STEP_FIRST && svc_stop_first())
		enter(STEP_CONTAINERS);
	else if (step == STEP_CONTAINERS && store_processes(NULL) == 0)
		enter(STEP_SERVICES);
	else if (step == STEP_FIRST || step == STEP_CONTAINERS)
		timer_set(setup.loop, t, LOOK_MS);
}

static void time_out_fire(struct timer *t)
{
	static const char *const what[STEP_COUNT] = {
		[STEP_FIRST] = "znode",	      [STEP_CONTAINERS] = "containers",
		[STEP_SERVICES] = "services", [STEP_DISKS] = "disks",
		[STEP_FINISH] = "the kernel",
	};

	(void)t;
	log_warning(what[step], "did not end in time; going on");
	enter(step == STEP_FINISH ? STEP_FINISH : step + 1);
}

void power_services_down(void)
{
	if (step == STEP_SERVICES)
		enter(STEP_DISKS);
}

void power_end(enum init_verb verb)
{
	if (step != STEP_NONE)
		return;
	how = verb;
	log_notice(NULL, verb == INIT_REBOOT ? "rebooting" : "powering off");
	enter(STEP_FIRST);
}

static void signals_ready(struct watch *w, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	while (read(w->fd, &info, sizeof(info)) == sizeof(info))
		power_end(info.ssi_signo == SIGINT ? setup.on_int
						   : setup.on_term);
}

int power_init(const struct power_setup *given)
{
	static const int list[] = { SIGTERM, SIGINT, 0 };
	int fd = signal_fd(list);

	if (fd < 0)
		return fd;
	setup = *given;
	step = STEP_NONE;
	time_out.fire = time_out_fire;
	look.fire = look_fire;
	signals.ready = signals_ready;
	return watch_add(setup.loop, &signals, fd, EPOLLIN);
}

static void button_ready(struct watch *w, uint32_t events)
{
	struct input_event input;
	ssize_t n = read(w->fd, &input, sizeof(input));

	(void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n != sizeof(input)) {
		int fd = w->fd; /* unplugged */

		watch_del(setup.loop, w);
		fd_close(&fd);
		return;
	}
	if (input.type == EV_KEY && input.code == KEY_POWER && input.value == 1)
		power_end(INIT_POWEROFF);
}

static bool has_power_key(int fd)
{
	unsigned char keys[KEY_MAX / 8 + 1] = { 0 };

	return ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 &&
	       keys[KEY_POWER / 8] & 1 << KEY_POWER % 8;
}

void power_buttons(struct loop *loop)
{
	int n = 0;

	for (int i = 0; i < 16 && n < BUTTONS_MAX; i++) {
		char path[32];
		autoclose int fd = -1;

		snprintf(path, sizeof(path), "/dev/input/event%d", i);
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || !has_power_key(fd))
			continue;
		buttons[n].ready = button_ready;
		watch_add(loop, &buttons[n++], fd_take(&fd), EPOLLIN);
	}
}
