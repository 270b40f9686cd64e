/* zpull: images out of registries. See zpull.8.
 *
 * It reads what anybody on the network says, so it has a uid of its own, sees
 * no file but what it fetched, and hands everything on by digest only: who
 * takes it reads and verifies it again (zrun serve). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/confine.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/service.h"

#include "command.h"
#include "pull.h"
#include "server.h"
#include "zpull_filter.h"

static struct loop loop;

static int directory_open(const char *path)
{
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int zpull_confine(const int *dirs, size_t n, int readable)
{
	const int wanted[] = { directory_open("/etc"),
			       directory_open(path_run()), readable,
			       puller.stored };
	int read_dirs[4], r;
	size_t n_read = 0;

	for (size_t i = 0; i < 4; i++)
		if (wanted[i] >= 0)
			read_dirs[n_read++] = wanted[i];
	r = confine_files_reading(dirs, n, read_dirs, n_read);
	return r ? r
		 : confine(seccomp_filter,
			   sizeof(seccomp_filter) / sizeof(*seccomp_filter));
}

static void signal_ready(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	loop_stop(&loop, 0);
}

/* The pull directory, made on an ordinary host. */
static int root_open(void)
{
	autoclose int data = directory_open(path_data());
	int fd;

	if (data < 0) {
		fd = -errno;
		log_error(path_data(), "%s", strerror(-fd));
		return fd;
	}
	if (mkdirat(data, "pull", 0700) < 0 && errno != EEXIST &&
	    errno != EACCES)
		log_warning("pull", "%s", strerror(errno));
	fd = openat(data, "pull", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		puller.stored = openat(data, "images",
				       O_PATH | O_DIRECTORY | O_CLOEXEC);
	else
		log_error("pull", "%s", strerror(errno));
	return fd < 0 ? -errno : fd;
}

static int daemon_open(void)
{
	static const int signals[] = { SIGTERM, SIGINT, 0 };
	static struct watch watch = { .ready = signal_ready };
	int r = loop_init(&loop), fd;

	if (r)
		return r;
	puller.loop = &loop;
	fd = signal_fd(signals);
	r = fd < 0 ? fd : watch_add(&loop, &watch, fd, EPOLLIN);
	if (r)
		return r;
	puller.root = root_open();
	if (puller.root < 0)
		return puller.root;
	fd = service_open("zpull", 0666);
	if (fd < 0)
		return fd;
	return server_open(
		fd, open(path_boot(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int daemon_main(void)
{
	int boot, r = daemon_open();

	if (!r) {
		boot = directory_open(path_boot());
		r = zpull_confine(&puller.root, 1, boot);
		fd_close(&boot);
	}
	if (r) {
		log_error(NULL, "cannot start: %s", strerror(-r));
		return 1;
	}
	service_ready(&loop);
	r = loop_run(&loop);
	return r < 0 ? 1 : r;
}

int main(int argc, char **argv)
{
	log_open("zpull");
	if (argc < 2)
		return daemon_main();
	if (strcmp(argv[1], "fetch") == 0)
		return command_fetch(argc - 1, argv + 1);
	if (strcmp(argv[1], "--help") == 0) {
		fputs(command_usage, stdout);
		return 0;
	}
	fputs(command_usage, stderr);
	return 2;
}
