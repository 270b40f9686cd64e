/* znode: desired applications of this node, and what becomes of them.
 *
 * It needs no privilege: init holds listeners and processes, zrun does what
 * takes a hand. It writes to /data/desired alone, and reads the ZOOID
 * partition, zrun's image store, and the counters of cgroups. Beside what base
 * needs it makes these system calls:
 *
 * #syscalls: socket connect openat openat2 fstat newfstatat lseek pread64
 * #syscalls: memfd_create ftruncate getrandom mprotect setsockopt pipe2
 * #syscalls[x86_64]: open
 *
 * and to replace and remove what it stores:
 *
 * #syscalls: fchmod fdatasync fsync renameat unlinkat getdents64
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
#include "devices.h"
#include "floods.h"
#include "limits.h"
#include "storage.h"
#include "node.h"
#include "server.h"
#include "sweep.h"
#include "usage.h"
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

static int directory_open(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void directories_open(void)
{
	char images[4096];

	node.host.boot = directory_open(path_boot());
	if (node.host.boot < 0)
		log_error(path_boot(),
			  "%s: no application of node.json is "
			  "started",
			  strerror(errno));
	snprintf(images, sizeof(images), "%s/images", path_data());
	node.host.images = directory_open(images);
	if (node.host.images < 0)
		log_notice(images,
			   "%s: no application of a document is "
			   "started",
			   strerror(errno));
	node.host.run = directory_open(path_run());
	node.host.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	document_open(&node.host.document);
	usage_open();
	limits_open(&node.loop);
	floods_open(&node.loop);
	devices_open(&node.loop);
}

/* Those that there are, in front. */
static size_t present(int *dirs, size_t n)
{
	size_t left = 0;

	for (size_t i = 0; i < n; i++)
		if (dirs[i] >= 0)
			dirs[left++] = dirs[i];
	return left;
}

/* From here on foreign bytes may be read. */
static int daemon_confine(void)
{
	int written[] = { node.host.document.dir };
	int read[] = { node.host.boot, node.host.images, node.host.run,
		       usage_directory() };
	size_t n = present(written, 1), n_read = present(read, 4);
	int r = confine_files_reading(written, n, read, n_read);

	return r ? r
		 : confine(seccomp_filter,
			   sizeof(seccomp_filter) / sizeof(*seccomp_filter));
}

/* Containers need no znode to go on, so it ends without touching any. */
static int daemon_main(void)
{
	int r = daemon_open();

	if (!r) {
		directories_open();
		r = daemon_confine();
	}
	if (r) {
		log_error(NULL, "cannot start: %s", strerror(-r));
		return 1;
	}
	node.host.changed = app_changed;
	storage_begin();
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
