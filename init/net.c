/* Interfaces come and go; for each Ethernet one there is either a list of
 * addresses from node.json or a DHCP client, udhcpc of busybox, which is
 * restarted when it ends and told when the cable is plugged in. IPv6 needs no
 * program: the kernel hears the routers and makes the addresses; only the name
 * servers in their advertisements are left to us.
 *
 * The client's script (/etc/udhcpc.script) applies a lease with `ip` and leaves
 * the name servers in path_run()/dns. Nothing here is waited for: the node is
 * ready without an address. */
#define _GNU_SOURCE
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/service.h"
#include "base/span.h"
#include "config.h"
#include "names.h"
#include "rtnl.h"

#define DHCP_CLIENT "/sbin/udhcpc"
#define DHCP_SCRIPT "/etc/udhcpc.script"

enum { INTERFACES_MAX = 16, RESTART_MS = 5000, METRIC_BASE = 100 };

struct interface {
	struct rtnl_link link; /* .index 0: free */
	const struct node_interface *given;
	pid_t client;
	struct timer restart;
};

static struct loop loop;
static struct config config;
static struct interface table[INTERFACES_MAX];
static struct interface *const table_end = table + INTERFACES_MAX;
static struct watch links, signals;

static struct interface *interface_find(int index)
{
	for (struct interface *i = table; i < table_end; i++)
		if (i->link.index == index)
			return i;
	return NULL;
}

static const struct node_interface *given_find(const struct rtnl_link *link)
{
	char mac[18];
	const uint8_t *m = link->mac;

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1],
		 m[2], m[3], m[4], m[5]);
	for (uint32_t i = 0; i < config.n_interface; i++) {
		const struct node_interface *given = &config.interface[i];

		if (strcmp(given->match, link->name) == 0 ||
		    strcmp(given->match, mac) == 0)
			return given;
	}
	return NULL;
}

/* A bridge, a tunnel or one end of a pair is somebody else's work. */
static bool is_hardware(const struct rtnl_link *link)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/class/net/%s/device", link->name);
	return link->ethernet && access(path, F_OK) == 0;
}

__attribute__((noreturn)) static void client_exec(const char *const *argv)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	sigset_t none;

	/* It tells of every packet; what matters, its script says. */
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	/* link_event() may send this before the client catches it. */
	signal(SIGUSR1, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(argv[0], (char *const *)argv);
	dup2(log_fd, STDERR_FILENO);
	log_error(argv[0], "%s", strerror(errno));
	_exit(127);
}

static void client_start(struct interface *i)
{
	char host[80];
	const char *argv[] = { DHCP_CLIENT, "-f",	 "-i", i->link.name,
			       "-s",	    DHCP_SCRIPT, "-t", "4",
			       "-T",	    "2",	 "-A", "10",
			       "-R",	    "-x",	 host, NULL };
	pid_t pid;

	snprintf(host, sizeof(host), "hostname:%s", config.name);
	pid = fork();
	if (pid == 0) {
		client_exec(argv);
	}
	if (pid > 0)
		i->client = pid;
	else
		timer_set(&loop, &i->restart, RESTART_MS);
}

static void restart_fire(struct timer *t)
{
	client_start(container_of(t, struct interface, restart));
}

static void report(const struct interface *i, const char *what, int err)
{
	if (err < 0 && err != -EEXIST)
		log_error(i->link.name, "%s of node.json: %s", what,
			  strerror(-err));
}

static void addresses_set(const struct interface *i)
{
	const struct node_interface *given = i->given;
	int index = i->link.index;
	uint8_t dns[NODE_ADDRESSES_MAX][16];

	for (int n = 0; n < given->n_address; n++)
		report(i, "address",
		       rtnl_address_add(index, &given->address[n]));
	for (int n = 0; n < given->n_gateway; n++)
		report(i, "gateway",
		       rtnl_gateway_add(index, &given->gateway[n],
					METRIC_BASE + (uint32_t)index));
	for (int n = 0; n < given->n_dns; n++)
		memcpy(dns[n], given->dns[n].bytes, 16);
	names_set(i->link.name, "static", (const uint8_t(*)[16])dns,
		  given->n_dns);
}

static void interface_begin(const struct rtnl_link *link)
{
	struct interface *i = interface_find(0);
	int err;

	if (!i) {
		log_warning(link->name, "more than %d interfaces; left alone",
			    INTERFACES_MAX);
		return;
	}
	*i = (struct interface){ .link = *link,
				 .given = given_find(link),
				 .restart.fire = restart_fire };
	err = rtnl_link_up(link->index, i->given ? i->given->mtu : 0);
	if (err < 0)
		log_error(link->name, "cannot be brought up: %s",
			  strerror(-err));
	if (i->given && i->given->n_address)
		addresses_set(i);
	else
		client_start(i);
}

static void interface_end(struct interface *i)
{
	timer_cancel(&i->restart);
	if (i->client)
		kill(i->client, SIGTERM);
	i->link.index = 0;
	i->client = 0;
}

static void link_event(const struct rtnl_link *link)
{
	struct interface *i = link->index ? interface_find(link->index) : NULL;

	if (!i) {
		if (!link->gone && is_hardware(link))
			interface_begin(link);
		return;
	}
	if (link->gone) {
		interface_end(i);
		return;
	}
	/* A new cable may be a new network: ask again now. */
	if (link->running && !i->link.running) {
		log_info(link->name, "link is up");
		if (i->client)
			kill(i->client, SIGUSR1);
	}
	i->link.running = link->running;
}

static void dns_event(int index, const uint8_t (*address)[16], int n)
{
	const struct interface *i = interface_find(index);

	if (i)
		names_set(i->link.name, "ra", address, n);
}

static void links_ready(struct watch *w, uint32_t events)
{
	static const struct rtnl_events callbacks = { link_event, dns_event };

	(void)events;
	if (rtnl_receive(w->fd, &callbacks) == -ENOBUFS)
		rtnl_links_ask(w->fd);
}

static void clients_reap(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		for (struct interface *i = table; i < table_end; i++)
			if (i->link.index && i->client == pid) {
				i->client = 0;
				timer_set(&loop, &i->restart, RESTART_MS);
			}
}

static void signals_ready(struct watch *w, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	while (read(w->fd, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo == SIGTERM)
			loop_stop(&loop, EXIT_SUCCESS);
	clients_reap();
}

int net_main(int argc, char **argv)
{
	static const int list[] = { SIGCHLD, SIGTERM, 0 };
	int fd, err;

	(void)argc;
	(void)argv;
	config_load(&config);
	err = loop_init(&loop);
	if (err == 0)
		err = names_init(&loop);
	fd = signal_fd(list);
	signals.ready = signals_ready;
	if (err == 0)
		err = fd < 0 ? fd : watch_add(&loop, &signals, fd, EPOLLIN);
	fd = rtnl_open();
	links.ready = links_ready;
	if (err == 0)
		err = fd < 0 ? fd : watch_add(&loop, &links, fd, EPOLLIN);
	if (err < 0) {
		log_error("network", "%s", strerror(-err));
		return EXIT_FAILURE;
	}
	service_ready(&loop);
	err = loop_run(&loop);
	for (struct interface *i = table; i < table_end; i++)
		if (i->link.index)
			interface_end(i);
	return err;
}
