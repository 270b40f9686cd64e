/* PID 1 of a node, once it stands in its root.
 *
 * The order: mounts and settings (nothing runs yet), then everything that init
 * will ever need (descriptors, memory), then the point of no return, then the
 * loop. From that point on dying is forbidden: no allocation can fail because
 * none is made, no disk can stop us because none is opened, and a fatal signal
 * only costs the callback that caused it. */
#define _GNU_SOURCE
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "boot.h"
#include "console.h"
#include "keep.h"
#include "power.h"
#include "reaper.h"
#include "server.h"
#include "spawn.h"
#include "store.h"
#include "svc.h"
#include "table.h"
#include "watchdog.h"

enum {
	KEEP_MS = 24 * 3600 * 1000, /* flash wears out */
	TELL_MS = 5,		    /* until the console takes more */
	TELLS_MAX = 1000,
	CONSOLES_MAX = ROW_COUNT - ROW_CONSOLE_0,
};

static struct loop loop;
static struct timer keep_again, tell_again;
static uint64_t started_ms;
static char ready_line[80];
static const char *ready_rest = ready_line;
static int console = -1;

/* Descriptors 0 to 2 and the log: the kernel's, which never blocks and is
 * there before any file system. */
static void output_open(void)
{
	static char as_service[] = "ZOOID_SERVICE=init";
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	/* Before the kernel's own descriptors of it go: its last close shuts
	 * the port down, and the next open tries it out anew. Non-blocking: a
	 * terminal that is stopped must not stop us. */
	console = open("/dev/console",
		       O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	if (kmsg >= 0) {
		dup2(kmsg, STDOUT_FILENO);
		dup2(kmsg, STDERR_FILENO);
		putenv(as_service); /* lines carry their level */
	}
	if (null > 2)
		close(null);
	if (kmsg > 2)
		close(kmsg);
	log_open("init");
}

static void keep_again_fire(struct timer *t)
{
	svc_again(ROW_KEEP);
	timer_set(&loop, t, KEEP_MS);
}

/* The terminal refuses what does not fit, and all while somebody else is in the
 * middle of writing to it. */
static void tell_fire(struct timer *t)
{
	static int n_tells;
	ssize_t n = write(console, ready_rest, strlen(ready_rest));

	if (n > 0)
		ready_rest += n;
	if (*ready_rest && ++n_tells < TELLS_MAX)
		timer_set(&loop, t, TELL_MS);
}

static void node_ready(void)
{
	snprintf(ready_line, sizeof(ready_line),
		 "zooid: ready in %llu ms, kernel %llu ms\n",
		 (unsigned long long)(clock_boot_ms() - started_ms),
		 (unsigned long long)started_ms);
	log_info(NULL, "ready");
	tell_again.fire = tell_fire;
	if (console >= 0)
		tell_fire(&tell_again);
}

/* In a pid namespace, where the tests run us, reboot(2) ends the namespace. */
static void node_finish(enum init_verb how)
{
	reboot(how == INIT_REBOOT ? RB_AUTOBOOT : RB_POWER_OFF);
	log_error("reboot", "%s", strerror(errno));
}

/* After this no page of ours is ever missing and no heap can grow: what would
 * allocate fails here and now, in every test, instead of one day. */
static void memory_seal(void)
{
	struct rlimit limit;

	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		log_warning("memory", "not locked: %s", strerror(errno));
	if (getrlimit(RLIMIT_DATA, &limit) < 0)
		return;
	limit.rlim_cur = 0;
	if (setrlimit(RLIMIT_DATA, &limit) < 0)
		log_warning("memory", "not sealed: %s", strerror(errno));
}

static void loop_forever(void)
{
	for (;;)
		loop_once(&loop, -1);
}

/* A fault of our own: what was being done is given up, and so is the
 * descriptor that led there, or it would lead there again at once. The handler
 * never returns; the frames below it are lost, which FAULTS_MAX bounds. */
static void fault(int sig, siginfo_t *info, void *context)
{
	enum { FAULTS_MAX = 100 };
	static int n_faults;

	(void)context;
	if (info->si_code <= 0) {
		log_warning("signal", "%d from pid %d ignored", sig,
			    info->si_pid);
		return;
	}
	log_error("fault", "signal %d at %p; that event is given up", sig,
		  info->si_addr);
	if (++n_faults >= FAULTS_MAX)
		reboot(RB_AUTOBOOT);
	if (loop.n_batch > 0) {
		struct watch *w = loop.batch[loop.at_batch].data.ptr;

		if (w)
			watch_del(&loop, w);
	}
	loop_forever();
}

static void faults_catch(void)
{
	static const int list[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE,
				    SIGABRT, SIGSYS, SIGTRAP };
	static const int ignored[] = { SIGPIPE, SIGHUP,	 SIGQUIT, SIGUSR1,
				       SIGUSR2, SIGALRM, SIGXCPU, SIGXFSZ };
	struct sigaction action = {
		.sa_sigaction = fault,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		sigaction(list[i], &action, NULL);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
}

/* A part that fails is missed, but the others may still do their work. */
static void report(const char *part, int err)
{
	if (err < 0)
		log_error(part, "%s", strerror(-err));
}

static void parts_start(void)
{
	struct boot_cgroups cgroups = boot_cgroups_make();
	int consoles = console_count();
	struct power_setup power = {
		.loop = &loop,
		.containers_kill = cgroups.containers_kill,
		.last_child = keep_and_unmount,
		.finish = node_finish,
		.on_term = INIT_POWEROFF,
		.on_int = INIT_REBOOT,
	};
	struct svc_setup services = {
		.loop = &loop,
		.rows = table_rows,
		.n = consoles < CONSOLES_MAX ? ROW_CONSOLE_0 + consoles
					     : ROW_COUNT,
		.cgroup = cgroups.service,
		.kmsg = STDERR_FILENO,
		.settled = node_ready,
		.stopped = power_services_down,
	};

	report("event loop", loop_init(&loop));
	store_init(server_changed);
	report("/dev/null", spawn_init());
	report("reaper", reaper_init(&loop));
	report("init.sock", server_init(&loop, power_end));
	report("signals", power_init(&power));
	power_buttons(&loop);
	watchdog_init(&loop);
	report("services", svc_init(&services));
}

void node_run(uint64_t since_ms)
{
	started_ms = since_ms;
	umask(022);
	output_open();
	boot_mounts();
	boot_settings();
	boot_clock_floor();
	boot_loopback();
	sethostname("zooid", 5);
	reboot(RB_DISABLE_CAD); /* Ctrl-Alt-Del is SIGINT */
	parts_start();
	faults_catch();
	memory_seal();
	/* From here on dying is forbidden. */
	keep_again.fire = keep_again_fire;
	timer_set(&loop, &keep_again, KEEP_MS);
	svc_begin();
	for (;;)
		loop_forever();
}
