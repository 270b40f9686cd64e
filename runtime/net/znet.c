/* znet: leads connections to published ports into containers.
 *
 * What it holds: listeners and their routes from init's store, sockets of
 * containers from zrun serve. What it is allowed: descriptors, sockets, no
 * file, no capability. When it dies the connections through it break; the
 * listeners, with the clients that wait in them, live on in init. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/confine.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/service.h"
#include "fds.h"
#include "flow.h"
#include "key.h"
#include "listener.h"
#include "out_datagram.h"
#include "out_tcp.h"
#include "pipe.h"
#include "resolver.h"
#include "status.h"
#include "traffic.h"
#include "tun.h"
#include "znet.h"
#include "znet_filter.h"

/* Descriptors that nobody counts (fds.h): status clients, questions to name
 * servers, the loop. Above FDS_MAX the tables are full first. */
enum { FDS_OTHER = 256, FDS_MAX = 65536, FDS_PIPES = 16, FDS_STOCK = 40 };

enum { POLL_US = 100 }; /* #syscalls: sched_yield */

static int usage(FILE *out)
{
	fputs("usage: znet            serve, as init starts it\n"
	      "       znet status     print connections and listeners\n"
	      "       znet --help\n",
	      out);
	return out == stdout ? 0 : 2;
}

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* The soft limit becomes the hard one; of that, pipes get a part, and all else
 * that is counted what is left. */
static void fds_share(void)
{
	struct rlimit limit = { 1024, 1024 };
	unsigned int fds, pipes;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	fds = limit.rlim_cur < FDS_MAX ? (unsigned int)limit.rlim_cur : FDS_MAX;
	pipes = least(fds / FDS_PIPES, PIPE_MAX);
	pipe_limit(pipes);
	stock_limit(fds / FDS_STOCK);
	fds_init(fds - 2 * pipes - FDS_OTHER, listeners_room);
}

static void seed_set(void)
{
	uint64_t seed = 0;

	if (getrandom(&seed, sizeof(seed), 0) == sizeof(seed))
		key_seed_set(seed);
}

static int serve(void)
{
	static struct loop loop;
	int listen_fd, error;

	listen_fd = service_open("znet", 0666);
	if (listen_fd < 0) {
		log_error("znet.sock", "cannot listen: %s",
			  strerror(-listen_fd));
		return 1;
	}
	error = loop_init(&loop);
	loop_poll(&loop, POLL_US);
	seed_set();
	fds_share();
	out_tcp_init(&loop);
	out_datagram_init(&loop);
	resolver_init(&loop);
	flow_init(&loop);
	if (error == 0)
		error = confine_files(NULL, 0);
	if (error == 0)
		error = confine(seccomp_filter,
				sizeof(seccomp_filter) /
					sizeof(seccomp_filter[0]));
	if (error == 0)
		error = status_init(&loop, listen_fd);
	if (error == 0)
		error = listener_init(&loop);
	if (error == 0)
		error = tun_init(&loop);
	if (error < 0) {
		log_error(NULL, "cannot start: %s", strerror(-error));
		return 1;
	}
	service_ready(&loop);
	return loop_run(&loop) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	log_open("znet");
	/* Without what runs at exit, the leak check of a test build above all:
	 * confined, it would wait for ever. */
	if (argc == 1)
		_exit(serve());
	if (argc == 2 && !strcmp(argv[1], "status"))
		return status_print();
	if (argc == 2 && !strcmp(argv[1], "--help"))
		return usage(stdout);
	return usage(stderr);
}
