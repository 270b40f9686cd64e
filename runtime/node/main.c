/* znode: desired applications of this node, and what becomes of them.
 *
 * It needs no privilege and no directory but the ZOOID partition: init holds
 * listeners and processes, zrun does what takes a hand. Beside what base needs
 * it makes these system calls:
 *
 * #syscalls: socket connect openat openat2 fstat newfstatat lseek pread64
 * #syscalls: memfd_create ftruncate getrandom mprotect
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/confine.h"
#include "base/log.h"
#include "base/path.h"
#include "base/service.h"

#include "client.h"
#include "node.h"
#include "server.h"
#include "sweep.h"
#include "znode_filter.h"

static void ready(void)
{
	service_ready(&node.loop);
}

static void signal_ready(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	loop_stop(&node.loop, 0);
}

static int daemon_open(void)
{
	static const int signals[] = { SIGTERM, SIGINT, 0 };
	static struct watch watch = { .ready = signal_ready };
	int r = loop_init(&node.loop), fd;

	if (r)
		return r;
	fd = signal_fd(signals);
	if (fd < 0)
		return fd;
	r = watch_add(&node.loop, &watch, fd, EPOLLIN);
	if (r)
		return r;
	fd = service_open("znode", 0666);
	if (fd < 0)
		return fd;
	return server_open(fd);
}

static void app_changed(struct app *app)
{
	server_app_changed(app);
	sweep_consider();
}

/* From here on foreign bytes may be read. */
static int daemon_confine(void)
{
	int boot = open(path_boot(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	node.host.boot = boot;
	if (boot < 0)
		log_error(path_boot(), "%s: no application is started",
			  strerror(errno));
	r = confine_files(&boot, boot < 0 ? 0 : 1);
	return r ? r
		 : confine(seccomp_filter,
			   sizeof(seccomp_filter) / sizeof(*seccomp_filter));
}

/* Containers need no znode to go on, so it ends without touching any. */
static int daemon_main(void)
{
	int r = daemon_open();

	if (!r)
		r = daemon_confine();
	if (r) {
		log_error(NULL, "cannot start: %s", strerror(-r));
		return 1;
	}
	node.host.changed = app_changed;
	node_load();
	if (node_open(ready))
		return 1;
	r = loop_run(&node.loop);
	return r < 0 ? 1 : r;
}

int main(int argc, char **argv)
{
	log_open("znode");
	return argc < 2 ? daemon_main() : client_main(argc - 1, argv + 1);
}
