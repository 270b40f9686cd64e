/* zlog: the output of services and containers, into bounded files.
 *
 * The pipes are init's, so that nothing is lost while zlog is replaced. What
 * is read from them was written by any program at all: it is cut, stamped,
 * bounded and kept, nothing else. Files are the business of a process of their
 * own (writer.h): a disk that hangs must not keep the pipes from being read. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/confine.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/service.h"
#include "disk.h"
#include "file.h"
#include "output.h"
#include "reader.h"
#include "source.h"
#include "tail.h"
#include "zlog_filter.h"

static struct loop loop;

static void stop(void)
{
	loop_stop(&loop, 0);
}

static void stop_ready(struct watch *w, uint32_t events)
{
	(void)events;
	watch_del(&loop, w);
	disk_finish(stop);
}

static int usage(FILE *out)
{
	fputs("usage: zlog                            serve, as init starts "
	      "it\n"
	      "       zlog tail [-n LINES] [-f] [--since TIME] NAME\n"
	      "                                       the last lines of a "
	      "service,\n"
	      "                                       container or "
	      "application\n"
	      "       zlog --help\n",
	      out);
	return out == stdout ? 0 : 2;
}

static int confine_to(int dir)
{
	int error = confine_files(&dir, dir >= 0);

	if (error < 0)
		return error;
	return confine(seccomp_filter,
		       sizeof(seccomp_filter) / sizeof(seccomp_filter[0]));
}

static int serve(void)
{
	static const int signal_list[] = { SIGTERM, SIGINT, 0 };
	static struct watch stop_watch = { .ready = stop_ready };
	int listen_fd = service_open("zlog", 0600);
	int signals = signal_fd(signal_list), error = loop_init(&loop);
	struct source_setup sources = { .loop = &loop,
					.grown = tail_grown,
					.dropped = tail_dropped };
	struct disk_setup disk = { .loop = &loop, .loaded = tail_grown };

	if (listen_fd < 0 || signals < 0 || error < 0) {
		log_error("zlog.sock", "cannot serve: %s",
			  strerror(listen_fd < 0 ? -listen_fd : -error));
		return 1;
	}
	disk.dir = file_dir_open();
	signal(SIGCHLD, SIG_IGN); /* writers are reaped by the kernel */
	error = confine_to(disk.dir);
	if (error == 0)
		error = watch_add(&loop, &stop_watch, signals, EPOLLIN);
	if (error == 0)
		error = tail_init(&loop, listen_fd);
	source_init(&sources);
	reader_init(&loop);
	if (error == 0) {
		disk_init(&disk);
		error = output_init(&loop);
	}
	if (error < 0) {
		log_error(NULL, "cannot start: %s", strerror(-error));
		return 1;
	}
	service_ready(&loop);
	return loop_run(&loop) != 0;
}

int main(int argc, char **argv)
{
	log_open("zlog");
	/* Without what runs at exit, the leak check of a test build above all:
	 * confined, it would wait for ever. */
	if (argc == 1)
		_exit(serve());
	if (!strcmp(argv[1], "tail"))
		return tail_print(argc - 1, argv + 1);
	if (argc == 2 && !strcmp(argv[1], "--help"))
		return usage(stdout);
	return usage(stderr);
}
