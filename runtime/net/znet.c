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
#include "flow.h"
#include "key.h"
#include "listener.h"
#include "out_datagram.h"
#include "out_tcp.h"
#include "pipe.h"
#include "resolver.h"
#include "status.h"
#include "tun.h"
#include "znet.h"
#include "znet_filter.h"

/* Descriptors that are neither of flows, pipes nor stock: listeners, status
 * clients, questions to name servers, the loop. Above FDS_MAX the tables are
 * full first. */
enum { FDS_OTHER = 128, FDS_MAX = 65536 };

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

/* The soft limit becomes the hard one; of that, each kind of descriptor gets a
 * part, and connections of clients what is left. */
static void fds_share(struct loop *loop)
{
	struct rlimit limit = { 1024, 1024 };
	unsigned int fds, pipes, stock, connections, datagrams, others;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	fds = limit.rlim_cur < FDS_MAX ? (unsigned int)limit.rlim_cur : FDS_MAX;
	pipes = least(fds / 16, PIPE_MAX);
	stock = fds / 16;
	connections = least(fds / 20, OUT_TCP_MAX);
	datagrams = least(fds / 80, OUT_DATAGRAM_MAX);
	others = FDS_OTHER + least(fds / 8, TUN_MAX);
	pipe_limit(pipes);
	stock_limit(stock);
	out_tcp_init(loop, connections);
	out_datagram_init(loop, datagrams);
	resolver_init(loop);
	flow_init(loop,
		  fds - 2 * pipes - stock - connections - datagrams - others);
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
	seed_set();
	fds_share(&loop);
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
